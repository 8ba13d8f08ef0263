"""What a run folder holds, read for a report: whatever is there, and what is missing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from text2expert import runfolder
from text2expert.errors import InputError, RunFolderError
from text2expert.examiner import ExamResult
from text2expert.examiner.results import BASE, EXPERT, EXPERT_RAG, RAG, GivenAnswer
from text2expert.legible import percent
from text2expert.records import (
    Chunk,
    ExamQuestion,
    GoldRecord,
    QAPair,
    Verdict,
    digest,
    from_dict,
    read_json_lines,
    read_jsonl,
    to_line,
    wilson,
)

TRAINING_LOG = f"{runfolder.EXPERT}/training_log.jsonl"

R = TypeVar("R")


@attrs.frozen(kw_only=True)
class Share:
    """*right* of *n* questions."""

    right: int
    n: int

    @property
    def percent(self) -> str:
        """As it is written: whole per cent, and 100 % or 0 % only where it is all or none."""
        return percent(self.right / self.n)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share (Wilson), each bound 0 to 1."""
        return wilson(self.right, self.n)

    @property
    def between(self) -> str:
        """The interval as it is written."""
        low, high = self.interval
        return f"{100 * low:.0f}–{100 * high:.0f}\u00a0%"


@attrs.frozen(kw_only=True)
class Findings:
    """A run folder as a report needs it. What is not there is empty or None."""

    name: str
    """Of the folder."""
    receipt: Mapping[str, Any]
    """``run.json``; empty where the run is not finished."""
    chunks: tuple[Chunk, ...] = ()
    sources: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    """Pair id -> ids of the chunks that it was written from."""
    approved: int | None = None
    """Pairs that the verifier approved; None where there are no verdicts."""
    gold: tuple[GoldRecord, ...] = ()
    exam: tuple[ExamQuestion, ...] = ()
    result: ExamResult | None = None
    answers: Mapping[str, Mapping[str, GivenAnswer]] = attrs.field(factory=dict)
    """Question id -> contestant -> answer."""
    log: tuple[Mapping[str, Any], ...] = ()
    """Of the training, a line a step."""
    caveats: tuple[str, ...] = ()
    """What the folder lacks, or has that does not belong together."""

    def unseen(self, contestant: str) -> Share | None:
        """As `ExamResult.of_unseen`."""
        found = self.result.of_unseen(contestant) if self.result else None
        return Share(right=found.right, n=found.n) if found else None

    @property
    def contestants(self) -> tuple[str, ...]:
        """In the order of their columns."""
        return self.result.contestants if self.result else ()


def read(folder: Path | str) -> Findings:
    """What lies in the run folder *folder*.

    Raises:
        RunFolderError: It is not a run folder, or a JSON file in it is damaged.
        RecordError: A line of a JSONL file in it is damaged.
    """
    run = runfolder.RunFolder.existing(folder)
    receipt = _json(run / runfolder.RECEIPT) or {}
    exam = _lines(run / runfolder.EXAM, ExamQuestion)
    result = _result(run / runfolder.EXAM_RESULT)
    caveats = [] if receipt else ["The run is not finished: the same command again goes on, and writes its receipt."]
    if result is not None and receipt and not receipt.get("trained", True):
        result = None
        caveats.append("The exam in this folder is of an earlier expert, not of this dataset: it is not shown.")
    if result is not None:
        result = attrs.evolve(result, contestants=_ordered(result))
    given = _lines(run / runfolder.EXAM_ANSWERS, GivenAnswer) if result else ()
    if result is not None and not given:
        caveats.append("The answers themselves were not kept: examine the expert again to read them here.")
    if result is not None and exam and result.exam_sha256 != digest(*map(to_line, exam)):
        caveats.append("exam.jsonl was changed after the exam: the table is of the questions as they were.")
    known = {question.id for question in exam}
    answers: dict[str, dict[str, GivenAnswer]] = {}
    for answer in given:
        if answer.question in known:
            answers.setdefault(answer.question, {})[answer.contestant] = answer
    verdicts = _lines(run / runfolder.VERDICTS, Verdict)
    return Findings(
        name=run.path.resolve().name,
        receipt=receipt,
        chunks=_lines(run / runfolder.CHUNKS, Chunk),
        sources={pair.qa_id: pair.sources for pair in _lines(run / runfolder.PAIRS, QAPair)},
        approved=sum(verdict.approved for verdict in verdicts) if verdicts else None,
        gold=_lines(run / runfolder.GOLD, GoldRecord),
        exam=exam,
        result=result,
        answers=answers,
        log=_log(run / TRAINING_LOG) if result else (),
        caveats=tuple(caveats),
    )


def _ordered(result: ExamResult) -> tuple[str, ...]:
    """The contestants with those first that decide: on a narrow screen the first columns are seen without scrolling."""
    against = result.economics.against if result.economics else None
    first = [EXPERT, against or RAG, EXPERT_RAG, BASE]
    return tuple(sorted(result.contestants, key=lambda name: first.index(name) if name in first else len(first)))


def _lines(path: Path, kind: type[R]) -> tuple[R, ...]:
    return tuple(read_jsonl(path, kind)) if path.is_file() else ()


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"cannot read {path} ({error}); delete it and run the same command again"
        raise RunFolderError(msg) from error
    if not isinstance(value, dict):
        msg = f"{path} holds {type(value).__name__} instead of an object; delete it and run the same command again"
        raise RunFolderError(msg)
    return value


def _result(path: Path) -> ExamResult | None:
    value = _json(path)
    try:
        return None if value is None else from_dict(value, ExamResult)
    except InputError as error:
        msg = f"cannot read {path} ({error}); delete it and examine the expert again"
        raise RunFolderError(msg) from error


def _log(path: Path) -> tuple[Mapping[str, Any], ...]:
    """The lines that say a step and its loss; other trainers may log more."""
    if not path.is_file():
        return ()
    return tuple(
        line
        for _, line in read_json_lines(path)
        if isinstance(line.get("step"), int) and isinstance(line.get("loss"), int | float)
    )
