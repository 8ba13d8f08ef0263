"""Run folders for the tests of the report: a real run without training, and an exam of it with every kind of finding."""

import itertools
import json
from pathlib import Path

import attrs

from text2expert.examiner import statistics
from text2expert.examiner.results import (
    ContestantCost,
    Dropped,
    Economics,
    ExamResult,
    GivenAnswer,
    JudgeReport,
    Probe,
    Recommendation,
)
from text2expert.records import (
    Chunk,
    ExamQuestion,
    digest,
    fraction,
    from_dict,
    read_jsonl,
    to_dict,
    to_line,
    write_jsonl,
)

SKILL = {
    "base": 0.05,
    "expert": 0.7,
    "base + RAG": 0.75,
    "base + right passage": 0.9,
    "expert + RAG": 0.85,
    "lookup": 0.4,
}
"""Contestant -> how likely it is right, 0 to 1."""


def examined(folder, *, exam=None, skill=SKILL, **changes):
    """Put an exam's answers and result into the run folder *folder*; the result.

    Args:
        folder: Of a run without training.
        exam: Its questions; those of the run and some that its text does not answer by default.
        skill: The contestants.
        changes: Fields of the result that are to be other than usual.
    """
    folder = Path(folder)
    exam = exam or [*read_jsonl(folder / "exam.jsonl", ExamQuestion), *UNANSWERABLE]
    write_jsonl(folder / "exam.jsonl", exam)
    chunks = list(read_jsonl(folder / "chunks.jsonl", Chunk))
    answers = [given(question, name, skill[name], chunks) for name in skill for question in exam]
    write_jsonl(folder / "exam_answers.jsonl", answers)
    names = tuple(skill)
    by_passage = statistics.by_passage(
        exam, statistics.grades(exam, answers).get("expert", {}), statistics.Places(chunks)
    )
    pairs = [("expert", name) for name in names if name != "expert"]
    result = ExamResult(
        exam_sha256=digest(*map(to_line, exam)),
        contestants=names,
        scores=statistics.scores(exam, answers),
        unseen=statistics.unseen(exam, answers),
        share_taught=0.5,
        notes=("A note on how to read the table.",),
        dropped=(Dropped(reason="jaccard", n=3), Dropped(reason="same_text", n=1)),
        comparisons=statistics.comparisons(exam, answers, pairs),
        groups=statistics.groups(exam, answers, chunks),
        refusals=statistics.refusals(exam, answers),
        economics=economics(names),
        judge=JudgeReport(
            model="judge/large", judged=len(answers), agree=len(answers) - 5, judge_right_only=3, judge_wrong_only=2,
            probes=(Probe(name="gold", passed=30, asked=30), Probe(name="one_digit", passed=27, asked=30)), usd=0.42,
        ),
        recommendation=Recommendation(
            use="both",
            headline="Use both: the expert answers from memory almost as well as retrieval does, and the two together are best.",
            because=("It knows 70 % of what it was not asked in training; retrieval reaches 75 %.",),
            next=("Write more wordings for the passages that it still fails.",),
            failed=tuple(name for name, each in by_passage.items() if each.failed),
        ),
    )  # fmt: skip
    result = attrs.evolve(result, **changes)
    (folder / "exam_result.json").write_text(json.dumps(to_dict(result)), encoding="utf-8")
    receipt = json.loads((folder / "run.json").read_bytes())
    (folder / "run.json").write_text(json.dumps({**receipt, "trained": True, **PAID}), encoding="utf-8")
    (folder / "expert").mkdir(exist_ok=True)
    log = [{"step": n, "loss": 6 / n**0.5} | ({"validation": n / 250} if n % 40 == 0 else {}) for n in range(1, 201)]
    (folder / "expert" / "training_log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in log), "utf-8")
    return result


UNANSWERABLE = [
    ExamQuestion(id=f"unanswerable_{n}", row="unanswerable", question=f"What does form ZZ-{n} say?", answer=None)
    for n in range(6)
]

PAID = {
    "cost_usd": "23.4512",
    "lost_usd_at_most": "0.02",
    "costs": {
        "teacher": {"settled_usd": "8.1", "lost_usd_at_most": "0.02", "replies": 412},
        "verifier": {"settled_usd": "3.3512", "lost_usd_at_most": "0", "replies": 200},
        "training": {"settled_usd": "12", "lost_usd_at_most": "0", "replies": 1},
    },
}


def given(question, name, skill, chunks):
    """What a contestant of this *skill* answers, a function of the question and its name."""
    luck = fraction(0, f"{name} {question.id}")
    grade = "right" if luck < skill else "refused" if luck < skill + 0.05 and question.answer else "wrong"
    text = (
        (question.answer or "The document does not say.")
        if grade == "right"
        else "It is 17 of them, as far as I can tell."
    )
    reads = "RAG" in name or "passage" in name
    place = int(luck * len(chunks))
    return GivenAnswer(
        question=question.id,
        contestant=name,
        text="I do not know." if grade == "refused" else text,
        grade=grade,
        judged="wrong" if luck > 0.985 - 0.5 and luck < 0.5 and grade == "right" else grade,
        confidence=round(1 - luck / 2, 3),
        seconds=0.9 if reads else 0.12,
        tokens_in=1800 if reads else 24,
        tokens_out=30,
        passages=tuple(chunk.id for chunk in itertools.islice(chunks, place, place + 5)) if reads else (),
    )  # fmt: skip


def economics(names):
    """Costs of contestants, of which those that read passages cost more a question."""
    reads = {name: "RAG" in name or "passage" in name for name in names}
    return Economics(
        costs=tuple(
            ContestantCost(
                contestant=name, seconds_p50=0.9 if reads[name] else 0.12, seconds_p95=1.4 if reads[name] else 0.2,
                tokens_in=1800.0 if reads[name] else 24.0, tokens_out=30.0, usd_per_1000=0.31 if reads[name] else 0.045,
                measured=("seconds of answers asked one at a time",), assumed=("the price of an RTX 4090, $0.35 an hour",),
            )
            for name in names
        ),
        making_usd=23.4512,
        against="base + RAG",
        break_even=88_495.0,
        notes=("Retrieval needs no making, but a search index; that is not counted.",),
    )  # fmt: skip


def without_extra(result):
    """*result* as an older version of the package wrote it."""
    plain = to_dict(result)
    old = {name: plain[name] for name in ("exam_sha256", "contestants", "scores", "share_taught")}
    return from_dict(old, ExamResult)


HOSTILE = (
    "<script>window.hacked=1;alert(1)</script>",
    "</style></title></script><img src=x onerror=alert(2)>",
    "<svg onload=alert(3)><a href='javascript:alert(4)'>x</a></svg>",
    '" onmouseover="alert(5)" x="',
    "' onfocus='alert(6)' autofocus='",
    "<!-- <iframe src=http://192.0.2.1/></iframe> ]]>",
    "a\u202egnp.exe",
    "{{7*7}}${7*7}&lt;b&gt;&amp;",
)
"""Texts that want to be more."""


def poison(folder):
    """Put hostile texts into everything in *folder* that a document, a model or a user could have written."""
    folder = Path(folder)
    evil = itertools.cycle(HOSTILE)

    def spoil(value, *, keep=()):
        """Every text within, but those under the keys *keep*."""
        if isinstance(value, dict):
            return {key: each if key in keep else spoil(each, keep=keep) for key, each in value.items()}
        if isinstance(value, list):
            return [spoil(each, keep=keep) for each in value]
        return f"{next(evil)}{value}" if isinstance(value, str) else value

    names = {}
    result = json.loads((folder / "exam_result.json").read_bytes())
    for name in result["contestants"]:
        names[name] = name if name == "expert" else f"{name}{next(evil)}"
    fixed = (
        "row",
        "by",
        "reason",
        "use",
        "contestant",
        "one",
        "other",
        "against",
        "contestants",
        "exam_sha256",
        "failed",
    )

    def renamed(value):
        if isinstance(value, dict):
            return {
                key: names.get(each, each) if key in ("contestant", "one", "other", "against") else renamed(each)
                for key, each in value.items()
            }
        return (
            [names.get(each, each) if isinstance(each, str) else renamed(each) for each in value]
            if isinstance(value, list)
            else value
        )

    probes = result["judge"].pop("probes")
    result = spoil(renamed(result), keep=fixed)
    result["judge"]["probes"] = probes
    result["contestants"] = list(names.values())
    result["recommendation"]["headline"] = f"{HOSTILE[1]}: {HOSTILE[0]}"
    result["recommendation"]["failed"] += list(HOSTILE)
    (folder / "exam_result.json").write_text(json.dumps(result), encoding="utf-8")
    receipt = json.loads((folder / "run.json").read_bytes())
    for name, each in zip(("documents", "settings", "models", "files", "text2expert"), HOSTILE, strict=False):
        receipt[name] = spoil(receipt[name])
        if isinstance(receipt[name], dict):
            receipt[name][each] = each
    receipt["documents"][0]["title"] = HOSTILE[0]
    (folder / "run.json").write_text(json.dumps(receipt), encoding="utf-8")
    for name, keep in {
        "exam_answers.jsonl": ("question", "grade", "judged", "passages", "contestant"),
        "exam.jsonl": ("id", "row", "document"),
        "chunks.jsonl": ("id", "document"),
        "golden_dataset.jsonl": ("qa_id", "document", "status", "difficulty"),
    }.items():
        lines = [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]
        spoiled = [renamed(spoil(line, keep=keep)) for line in lines]
        (folder / name).write_text("".join(f"{json.dumps(line)}\n" for line in spoiled), encoding="utf-8")
