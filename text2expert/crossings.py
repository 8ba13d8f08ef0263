"""Which passages belong together: those that refer to one another, or else speak of the same things.

A question that needs both is what a reader of single passages never learns to answer.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from text2expert.records import Chunk, drawn
from text2expert.retrieval import Index, with_context

MOST_PARTNERS = 2
"""Passages that are shown beside one at most."""

_LABEL = r"(?:\d+(?:\.\d+)*|[A-Z]|[IVX]+)"
_BODY = frozenset({"", "section", "clause", "article", "paragraph", "rule"})
"""Words for the numbered parts of a document's body, said for one another; "Schedule 2" is no "Clause 2"."""
_ANNEXED = frozenset({"appendix", "annex", "schedule", "table"})
"""What is numbered beside the body: no bare number in a heading is meant."""
_REFERENCE = re.compile(
    r"(?:\b(?P<word>sections?|appendix|annex|chapters?|clauses?|articles?|schedules?|parts?|paragraphs?|rules?|tables?)\s+|§+\s*)"
    rf"(?-i:(?P<label>{_LABEL}))\b"
    r"|\b(?:see|under)\s+(?P<bare>\d+(?:\.\d+)+)\b",
    re.IGNORECASE,
)
_NUMBERED = re.compile(rf"\W*(?:(?P<word>[A-Za-z]+)\s+)?(?P<label>{_LABEL})\b")
_PARAGRAPH = re.compile(r"^[ \t]*(\d+(?:\.\d+)+)[.)]?[ \t]+(?=[^\W\d_])", re.MULTILINE)
"""A paragraph that has a number of its own: "9.1 Where a record ..."."""


def crossings(chunks: Sequence[Chunk], share: float, seed: int) -> dict[int, tuple[int, ...]]:
    """For that *share* of *chunks* that the seed draws: the places of passages to show with it, itself first.

    Passages that its text refers to ("see Section 4.3") come first; without any, the one of another section that fits
    its words best. Nothing is given for a passage that has no such partner.
    """
    drawn_places = [place for place, chunk in enumerate(chunks) if drawn(seed, f"crossing {chunk.key}", share)]
    if not drawn_places:
        return {}
    places = _Places(chunks)
    index = Index([with_context(chunk) for chunk in chunks])
    groups = {}
    for place in drawn_places:
        scores = index.scores(chunks[place].text)
        apart = (
            [other for other in targets if not _overlap(chunks[place], chunks[other])]
            for targets in places.referred(chunks[place])
        )
        referred = [_best(targets, scores) for targets in apart if targets]
        partners = list(dict.fromkeys(referred))[:MOST_PARTNERS] or _affine(place, chunks, scores)
        if partners:
            groups[place] = (place, *partners)
    return groups


class _Places:
    """Where the passages are that a number names."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._titled: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        """By document and label: by the word before it, the passages under that heading."""
        self._begun: dict[tuple[str, str], list[int]] = defaultdict(list)
        """By document and label: the passages in which such a paragraph begins."""
        self._headings: dict[str, set[str]] = defaultdict(set)
        for place, chunk in enumerate(chunks):
            for heading in chunk.headings:
                self._headings[chunk.document].add(" ".join(heading.split()))
                if found := _NUMBERED.match(heading):
                    self._titled[chunk.document, found["label"]][_singular(found["word"])].append(place)
            for label in _PARAGRAPH.findall(chunk.text):
                self._begun[chunk.document, label].append(place)

    def referred(self, chunk: Chunk) -> Iterator[list[int]]:
        """The passages of each thing that the text of *chunk* refers to; its own headings are no references."""
        headings = self._headings[chunk.document]
        lines = chunk.text.split("\n")
        text = "\n".join(line for line in lines if " ".join(line.split()) not in headings)
        for found in _REFERENCE.finditer(text):
            if places := self._named(chunk.document, _singular(found["word"]), found["label"] or found["bare"]):
                yield places

    def _named(self, document: str, word: str, label: str) -> list[int]:
        """Under a heading of that word and number; else where such a paragraph begins; else where it would be."""
        by_word = self._titled.get((document, label), {})
        if places := by_word.get(word):
            return places
        if label[0].isdigit() and word not in _ANNEXED:
            others = [each for each in by_word if each in _BODY] if word in _BODY else [""]
            if places := [place for each in others for place in by_word.get(each, [])]:
                return places
        if word in _BODY and "." in label:
            return self._begun.get((document, label)) or self._named(document, word, label.rpartition(".")[0])
        return []


def _singular(word: str | None) -> str:
    return (word or "").casefold().removesuffix("s")


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
