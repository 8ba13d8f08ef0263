"""Measures chunks: where they begin and end, how much neighbours overlap, what is left out."""

import itertools
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from text2expert.records import Chunk

CLOSING = "\"')]}”’*_`"
RANKS = ("paragraph", "sentence", "line", "word", "inside")


def boundary(text: str, place: int) -> str:
    """What lies at *place*, by the run of white space that touches it (the first of `RANKS` that fits)."""
    before = after = place
    while before > 0 and text[before - 1].isspace():
        before -= 1
    while after < len(text) and text[after].isspace():
        after += 1
    if before == 0 or after == len(text):
        return "paragraph"
    gap = text[before:after]
    if not gap:
        return "inside"
    if gap.count("\n") > 1:
        return "paragraph"
    if text[max(0, before - 5) : before].rstrip(CLOSING)[-1:] in (".", "!", "?"):
        return "sentence"
    return "line" if "\n" in gap else "word"


def at_least(text: str, chunk: Chunk, rank: str) -> bool:
    """Whether both ends of *chunk* lie at a boundary as good as *rank*."""
    worst = max(RANKS.index(boundary(text, place)) for place in (chunk.start, chunk.end))
    return worst <= RANKS.index(rank)


def joints(chunks: Sequence[Chunk]) -> list[int]:
    """The overlaps, in characters, of neighbours of one document and one section; below zero is a gap."""
    return [
        first.end - second.start
        for first, second in itertools.pairwise(chunks)
        if first.document == second.document and first.headings[:1] == second.headings[:1]
    ]


def left_out(text: str, chunks: Iterable[Chunk]) -> str:
    """What of *text* is in none of *chunks*, white space aside."""
    covered = bytearray(len(text))
    for chunk in chunks:
        covered[chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
    return "".join(
        character for character, seen in zip(text, covered, strict=True) if not seen and not character.isspace()
    )


class Quality(NamedTuple):
    """Figures pooled over documents; shares are from 0 to 1."""

    chunks: int
    mean_length: float
    line_or_better: float
    sentence_or_better: float
    joints: int
    overlapping: float
    """Joints inside a section with an overlap of 40 characters or more."""

    median_overlap: float


def measure(documents: Iterable[tuple[str, Sequence[Chunk]]]) -> Quality:
    """The quality of the chunks of some texts, pooled."""
    count = line = sentence = length = 0
    overlaps: list[int] = []
    for text, chunks in documents:
        count += len(chunks)
        length += sum(len(chunk.text) for chunk in chunks)
        line += sum(at_least(text, chunk, "line") for chunk in chunks)
        sentence += sum(at_least(text, chunk, "sentence") for chunk in chunks)
        overlaps += joints(chunks)
    return Quality(
        chunks=count,
        mean_length=length / count,
        line_or_better=line / count,
        sentence_or_better=sentence / count,
        joints=len(overlaps),
        overlapping=sum(overlap >= 40 for overlap in overlaps) / max(1, len(overlaps)),
        median_overlap=statistics.median(overlaps) if overlaps else 0.0,
    )
