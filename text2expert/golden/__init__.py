"""The golden dataset: what is trained on, what is asked in the exam, and what was left out and why.

    pairs + verdicts ──gather──▶ Gold(records, exam, rejected, counts)
    golden_dataset.jsonl ──open_dataset──▶ Dataset          several of them ──merge──▶ one, with its exam and texts

An item is one question in its wordings; a fact is items connected by evidence spans that overlap by half. The exam is
split by fact and by wording, never by row: no wording that is asked is trained on, under any item. Every choice is a
function of the seed and of content (`text2expert.records.digest`), so order and concurrency change nothing.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import attrs

from text2expert.errors import InputError
from text2expert.golden.dataset import GOLD, Dataset, load, open_dataset
from text2expert.golden.facts import item_of, repetitions, with_facts
from text2expert.golden.merging import Merged, merge
from text2expert.golden.split import split_records
from text2expert.records import ExamQuestion, GoldRecord, QAPair, Span, Status, Verdict, wording

__all__ = [
    "GOLD",
    "Cause",
    "Counts",
    "Dataset",
    "Gold",
    "Merged",
    "RejectedPair",
    "gather",
    "load",
    "merge",
    "open_dataset",
    "to_gold",
]

Cause = Literal["duplicate", "rejected", "unverified", "exam"]
"""Why a pair is not trained on. ``exam``: the exam asks its fact or its template in other words."""


@attrs.frozen(kw_only=True)
class RejectedPair:
    """A pair that is neither trained on nor asked, and why; its other fields are in ``generated_qa_pairs.jsonl``."""

    qa_id: str
    question: str
    answer: str
    cause: Cause
    reason: str
    evidence: tuple[Span, ...] = ()
    item: str = ""
    kind: str = ""


@attrs.frozen(kw_only=True)
class Counts:
    """What became of the pairs that a teacher wrote. Every pair is in exactly one class."""

    parsed: int
    duplicates: int
    rejected: int
    unverified: int
    exam: int
    """Kept out of training for the exam's sake; not all of them need be asked."""
    gold: int
    items: int
    """Questions (each in its wordings) among the parsed pairs."""
    gold_items: int
    exam_items: int
    facts: int
    """Among gold and exam."""
    questions: Mapping[str, int]
    """Of the exam, by row; those of ``taught`` are gold pairs too."""

    def add_up(self) -> bool:
        """Whether every parsed pair is accounted for, once."""
        return self.parsed == self.duplicates + self.rejected + self.unverified + self.exam + self.gold

    def __str__(self) -> str:
        return (
            f"{self.parsed:,} pairs ({self.items:,} items) = {self.gold:,} to train on ({self.gold_items:,} items) + "
            f"{self.exam:,} kept for the exam + {self.duplicates:,} duplicates + {self.rejected:,} rejected + "
            f"{self.unverified:,} unverified"
        )


@attrs.frozen(kw_only=True)
class Gold:
    """What `gather` makes: the training set, the exam, and what was left out."""

    records: tuple[GoldRecord, ...]
    exam: tuple[ExamQuestion, ...]
    rejected: tuple[RejectedPair, ...]
    counts: Counts
    conflicts: Mapping[tuple[str, ...], int] = attrs.field(factory=dict)
    """Two documents -> how many pairs are left out because they answer the same question differently."""


@attrs.frozen(kw_only=True)
class _Left:
    """A record left out: its place, and why."""

    cause: Cause
    reason: str


def gather(
    pairs: Iterable[QAPair],
    verdicts: Iterable[Verdict],
    *,
    status: Status = "evidence",
    include_unverified: bool = False,
    seed: int = 0,
    deduplicate: bool = True,
    held_out: float = 1.0,
    never_asked: float = 0.05,
    questions: int = 100,
) -> Gold:
    """Make the golden dataset and its exam from judged pairs.

    A pair is taken when every verdict on it approves. Without a verdict it is unverified and left out, unless *status*
    says that nothing was verified. Two different answers to one question are both left out. The result does not depend
    on the order of the arguments, and may be empty: it is the caller who knows what to advise then.

    Args:
        pairs: With unique ``qa_id`` s.
        verdicts: By ``qa_id``.
        status: What approved pairs become; ``unverified`` takes pairs that have no verdict.
        include_unverified: Take pairs without a verdict as well, with the status ``unverified``.
        seed: Decides what is asked; see `split_records`.
        deduplicate: Remove repeated questions, and near-duplicates between items.
        held_out: See `split_records`.
        never_asked: See `split_records`.
        questions: See `split_records`.

    Raises:
        InputError: Two pairs have one ``qa_id``, or an argument is out of its range.
    """
    ordered = sorted(pairs, key=_pair_order)
    ids = Counter(pair.qa_id for pair in ordered)
    if repeated := [qa_id for qa_id, count in ids.items() if count > 1]:
        msg = f"{len(repeated)} qa_ids are used by several pairs, {repeated[0]!r} first: number the pairs anew"
        raise InputError(msg)
    verdicts = list(verdicts)
    refusals = _refusals(ordered, verdicts, include_unverified=include_unverified or status == "unverified")
    judged = {verdict.qa_id for verdict in verdicts}
    taken = [pair for pair in ordered if pair.qa_id not in refusals]
    records = with_facts([to_gold(pair, status if pair.qa_id in judged else "unverified") for pair in taken])
    repetitive = list(repetitions(records, duplicates=deduplicate))
    left = {
        each.record.qa_id: _Left(cause="duplicate" if each.cause == "duplicate" else "rejected", reason=each.reason)
        for each in repetitive
    }
    split = split_records(
        [record for record in records if record.qa_id not in left],
        seed=seed,
        held_out=held_out,
        never_asked=never_asked,
        questions=questions,
    )
    back = _Left(cause="exam", reason="kept out of training: the exam asks its fact or its template in other words")
    left |= refusals | {record.qa_id: back for record in split.kept_back}
    rejected = tuple(_rejected(pair, left[pair.qa_id]) for pair in ordered if pair.qa_id in left)
    causes = Counter(each.cause for each in rejected)
    asked = [each for each in split.exam if each.row != "taught"]
    return Gold(
        records=split.records,
        exam=split.exam,
        rejected=rejected,
        counts=Counts(
            parsed=len(ordered),
            duplicates=causes["duplicate"],
            rejected=causes["rejected"],
            unverified=causes["unverified"],
            exam=causes["exam"] + len(asked),
            gold=len(split.records),
            items=len({item_of(to_gold(pair, status)) for pair in ordered}),
            gold_items=len({record.item for record in split.records}),
            exam_items=len({each.item for each in split.exam}),
            facts=len({record.fact for record in split.records} | {each.fact for each in split.exam}),
            questions=dict(Counter(each.row for each in split.exam)),
        ),
        conflicts=dict(sorted(Counter(each.between for each in repetitive if each.between).items())),
    )


def to_gold(pair: QAPair, status: Status) -> GoldRecord:
    """The training example that *pair* makes."""
    return GoldRecord(
        instruction=pair.question,
        output=pair.answer,
        short_answer=pair.short_answer,
        reasoning=pair.reasoning,
        difficulty=pair.difficulty,
        qa_id=pair.qa_id,
        item=pair.item,
        fact=pair.fact,
        kind=pair.kind,
        document=pair.evidence[0].document if pair.evidence else "",
        evidence=pair.evidence,
        status=status,
    )


def _refusals(pairs: Sequence[QAPair], verdicts: Iterable[Verdict], *, include_unverified: bool) -> dict[str, _Left]:
    """Why pairs are not taken, by ``qa_id``, as far as blanks and verdicts say so."""
    judged: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        judged[verdict.qa_id].append(verdict)
    left = {}
    for pair in pairs:
        against = [verdict for verdict in judged[pair.qa_id] if not verdict.approved]
        if not wording(pair.question) or not pair.answer.strip():
            left[pair.qa_id] = _Left(cause="rejected", reason="question or answer is blank")
        elif against:
            reasons = sorted({verdict.reason or "not approved by its verifier" for verdict in against})
            left[pair.qa_id] = _Left(cause="rejected", reason="; ".join(reasons))
        elif not judged[pair.qa_id] and not include_unverified:
            left[pair.qa_id] = _Left(cause="unverified", reason="no verdict: its verifier did not judge it")
    return left


def _rejected(pair: QAPair, left: _Left) -> RejectedPair:
    return RejectedPair(
        qa_id=pair.qa_id,
        question=pair.question,
        answer=pair.answer,
        cause=left.cause,
        reason=left.reason,
        evidence=pair.evidence,
        item=pair.item,
        kind=pair.kind,
    )


def _natural(text: str) -> tuple[tuple[str, int, str], ...]:
    """A sort key that puts ``_qa_2`` before ``_qa_10``."""
    parts = ((word, number.lstrip("0")) for word, number in re.findall(r"([^0-9]*)([0-9]*)", text))
    return tuple((word, len(number), number) for word, number in parts)


def _pair_order(pair: QAPair) -> tuple[object, ...]:
    return _natural(pair.qa_id), pair.qa_id
