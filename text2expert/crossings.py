"""Which passages belong together: those that refer to one another, or else speak of the same things.

A question that needs both is what a reader of single passages never learns to answer.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from text2expert.records import Chunk, drawn
from text2expert.retrieval import Index

MOST_PARTNERS = 2
"""Passages that are shown beside one at most."""

_LABEL = r"(?:\d+(?:\.\d+)*|[A-Z]|[IVX]+)"
_REFERENCE = re.compile(
    r"(?:\b(?P<word>sections?|appendix|annex|chapters?|clauses?|articles?|schedules?|parts?|paragraphs?|rules?|tables?)\s+|§+\s*)"
    rf"(?-i:(?P<label>{_LABEL}))\b",
    re.IGNORECASE,
)
_NUMBERED = re.compile(rf"\W*(?:(?P<word>[A-Za-z]+)\s+)?(?P<label>{_LABEL})\b")


def crossings(chunks: Sequence[Chunk], share: float, seed: int) -> dict[int, tuple[int, ...]]:
    """For that *share* of *chunks* that the seed draws: the places of passages to show with it, itself first.

    Passages that its text refers to ("see Section 4.3") come first; without any, the one of another section that fits
    its words best. Nothing is given for a passage that has no such partner.
    """
    drawn_places = [place for place, chunk in enumerate(chunks) if drawn(seed, f"crossing {chunk.key}", share)]
    if not drawn_places:
        return {}
    titled = _titled(chunks)
    index = Index([f"{' '.join(chunk.headings)} {chunk.text}" for chunk in chunks])
    groups = {}
    for place in drawn_places:
        scores = index.scores(chunks[place].text)
        apart = (
            [other for other in targets if not _overlap(chunks[place], chunks[other])]
            for targets in _referred(chunks[place], titled)
        )
        referred = [_best(targets, scores) for targets in apart if targets]
        partners = list(dict.fromkeys(referred))[:MOST_PARTNERS] or _affine(place, chunks, scores)
        if partners:
            groups[place] = (place, *partners)
    return groups


def _titled(chunks: Sequence[Chunk]) -> Mapping[tuple[str, str], list[int]]:
    """Places of the passages under each numbered heading, by document and label ("4.3", "appendix b")."""
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, chunk in enumerate(chunks):
        for heading in chunk.headings:
            if found := _NUMBERED.match(heading):
                places[chunk.document, _name(found["word"], found["label"])].append(place)
    return places


def _referred(chunk: Chunk, titled: Mapping[tuple[str, str], list[int]]) -> Iterator[list[int]]:
    for found in _REFERENCE.finditer(chunk.text):
        if places := titled.get((chunk.document, _name(found["word"], found["label"]))):
            yield places


def _name(word: str | None, label: str) -> str:
    """A number names its section alone; a letter only together with its word."""
    return label if label[0].isdigit() else f"{(word or '').casefold().rstrip('s')} {label}"


def _affine(place: int, chunks: Sequence[Chunk], scores: Sequence[float]) -> list[int]:
    """The passage of another section of the document that shares the most with the one at *place*."""
    chunk = chunks[place]
    others = [
        other
        for other, each in enumerate(chunks)
        if each.document == chunk.document
        and scores[other] > 0
        and not _overlap(chunk, each)
        and (each.headings[:1] != chunk.headings[:1] or not chunk.headings)
    ]
    return [_best(others, scores)] if others else []


def _best(places: Sequence[int], scores: Sequence[float]) -> int:
    return max(places, key=lambda place: (scores[place], -place))


def _overlap(one: Chunk, other: Chunk) -> bool:
    return one.document == other.document and one.start < other.end and other.start < one.end
