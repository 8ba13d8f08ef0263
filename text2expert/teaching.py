"""From chunks to judged pairs: teacher and verifier at work side by side, results in the order of the text.

A chunk's pairs are judged as soon as they exist, while other chunks are still being taught. What a teacher says about
places is not taken on trust: every span is looked up in its chunk, and a pair whose quote is nowhere there is rejected
before a verifier sees it.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import attrs

from text2expert._progress import bar
from text2expert._tasks import in_order
from text2expert.records import Chunk, QAPair, Span, Verdict

WINDOW = 16
"""Chunks that are taught and judged at a time; their order is kept, so memory is bounded by it. Steps that calculate
instead of waiting do so for a whole window before Ctrl-C gets through."""


class SupportsTeach(Protocol):
    """Writes questions and answers about passages."""

    async def ateach(self, passages: tuple[Chunk, ...], n: int) -> list[QAPair]:
        """At most *n* items (wordings not counted) about *passages*; evidence in document offsets."""
        ...


class SupportsVerify(Protocol):
    """Judges pairs against the passages that they were written from."""

    async def averify(self, pairs: tuple[QAPair, ...], passages: tuple[Chunk, ...]) -> list[Verdict]:
        """Verdicts by ``qa_id``; a pair without a verdict counts as unverified."""
        ...


class Judged(NamedTuple):
    """Pairs and what was said of them."""

    pairs: list[QAPair]
    verdicts: list[Verdict]


async def teach_and_judge(
    chunks: Iterable[Chunk],
    total: int,
    teacher: SupportsTeach,
    verifier: SupportsVerify | None,
    questions: int,
    what: str = "Teaching and judging",
) -> Judged:
    """Pairs about all *chunks* (*total* of them, at most *questions* items each) and verdicts on them.

    *what* is written before the bar. Pairs are numbered ``<chunk id>_qa_<n>``. Whatever a step raises ends the work under way and comes through.
    """
    everything = Judged([], [])
    approved = 0
    with bar(total, what, unit="chunk") as progress:
        async for judged in in_order((_teach(chunk, teacher, verifier, questions) for chunk in chunks), WINDOW):
            everything.pairs.extend(judged.pairs)
            everything.verdicts.extend(judged.verdicts)
            approved += sum(verdict.approved for verdict in judged.verdicts)
            progress.set_postfix(pairs=len(everything.pairs), approved=approved, refresh=False)
            progress.update()
    return everything


async def judge(pairs: Iterable[QAPair], chunks: Iterable[Chunk], verifier: SupportsVerify | None) -> list[Verdict]:
    """Verdicts on pairs that were taught before."""
    of_chunk: dict[str, list[QAPair]] = {}
    for pair in pairs:
        of_chunk.setdefault(pair.sources[0], []).append(pair)
    verdicts: list[Verdict] = []
    with bar(len(of_chunk), "Judging", unit="chunk") as progress:
        async for some in in_order(
            (_judge(of_chunk[chunk.id], chunk, verifier) for chunk in chunks if chunk.id in of_chunk), WINDOW
        ):
            verdicts += some
            progress.update()
    return verdicts


async def _teach(chunk: Chunk, teacher: SupportsTeach, verifier: SupportsVerify | None, questions: int) -> Judged:
    taught = await teacher.ateach((chunk,), questions)
    pairs = [
        attrs.evolve(pair, qa_id=f"{chunk.id}_qa_{number}", sources=(chunk.id,), evidence=_placed(pair.evidence, chunk))
        for number, pair in enumerate(taught)
    ]
    return Judged(pairs, await _judge(pairs, chunk, verifier))


async def _judge(pairs: list[QAPair], chunk: Chunk, verifier: SupportsVerify | None) -> list[Verdict]:
    lost = [_lost(pair) for pair in pairs if not pair.evidence]
    placed = tuple(pair for pair in pairs if pair.evidence)
    if verifier is None or not placed:
        return lost
    return [*lost, *await verifier.averify(placed, (chunk,))]


def _placed(spans: tuple[Span, ...], chunk: Chunk) -> tuple[Span, ...]:
    """*spans* where they really are in *chunk*; none when one of them is nowhere, the whole chunk when none was given."""
    from text2expert import evidence

    whole = Span(document=chunk.document, start=chunk.start, end=chunk.end, text=chunk.text)
    if not spans:
        return (whole,)
    placed = []
    for span in spans:
        start = span.start - chunk.start
        if span.document == chunk.document and start >= 0 and span.text and chunk.text[start:].startswith(span.text):
            placed.append(attrs.evolve(span, end=span.start + len(span.text)))
        elif (found := evidence.locate(span.text, chunk.text)) is not None:
            place = slice(*found)
            placed.append(
                attrs.evolve(
                    whole, start=chunk.start + place.start, end=chunk.start + place.stop, text=chunk.text[place]
                )
            )
        else:
            return ()
    return tuple(placed)


def _lost(pair: QAPair) -> Verdict:
    return Verdict(
        qa_id=pair.qa_id, grounded=False, no_hallucination=False, complete=False, by="text2expert",
        reason="its evidence is nowhere in the passage that it was written from",
    )  # fmt: skip
