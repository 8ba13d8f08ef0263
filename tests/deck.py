"""A small ship: eight facts in three wordings each, for what trains and for what only plans to."""

import json

from text2expert.records import ExamQuestion, GoldRecord, write_jsonl
from text2expert.trainer import Trainer

THINGS = ("bilge pump", "main anchor", "stern line", "fire door", "life raft", "deck crane", "radar mast", "fuel valve")
WORDINGS = ("How often is the {} checked?", "At what interval is the {} inspected?", "The {} is checked how often?")


def gold():
    """Eight facts in three wordings each."""
    return [
        GoldRecord(
            instruction=wording.format(thing),
            output=f"every {3 * number + 2} hours",
            item=thing,
            fact=thing,
            document="deck",
        )
        for number, thing in enumerate(THINGS)
        for wording in WORDINGS
    ]


def text():
    return "\n".join(f"The {thing} is inspected every {3 * n + 2} hours by the mate." for n, thing in enumerate(THINGS))


def exam():
    return [
        ExamQuestion(id=f"q{n}", row="taught", question=record.instruction, answer=record.output)
        for n, record in enumerate(gold())
    ]


def job_of(folder, records=None, *, questions=(), texts=(), prompts=(), **settings):
    """The job that a trainer writes, with its stages' settings."""
    folder.mkdir(exist_ok=True)
    write_jsonl(folder / "golden_dataset.jsonl", gold() if records is None else records)
    job = Trainer(**settings).job(folder, folder / "golden_dataset.jsonl", texts, questions, prompts)
    return job, {s.name: json.loads((folder / "stages" / s.name / "job.json").read_bytes()) for s in job.stages}
