"""A short procedure that everything can be run on, and the ways in which tests run it."""

from text2expert import Pipeline, Trainer

PUMPS = """1. PURPOSE

1.1 This procedure applies to every pump with a motor of 5 kW or more.

2. LIMITS

2.1 The oil temperature must not exceed 80 °C.
2.2 If the suction pressure falls below 2 bar, stop the pump and call the shift engineer.
2.3 "Cold start" means a start after more than 12 hours of rest.

3. CARE

3.1 The bearings are greased every 6 weeks.
3.2 The filter is replaced within 3 days of an alarm.
"""

QUICK = Trainer(max_steps=6)

DERIVED = (
    "chunks.jsonl",
    "generated_qa_pairs.jsonl",
    "verdicts.jsonl",
    "golden_dataset.jsonl",
    "exam.jsonl",
    "rejected.jsonl",
)


def derived_bytes(folder):
    return {name: (folder / name).read_bytes() for name in DERIVED}


def gold_only(source, out, **settings):
    return Pipeline(**settings).run(source, out=out, fine_tune=False)
