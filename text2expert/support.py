"""Which passages hold up an answer, and which sentences of them, looked up after it was given: by words, then by its numbers.

This says whether the text could have led to the answer, not whether the answer is right: the numbers of another rule in
the same passage hold up a wrong one.
"""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from text2expert.evidence.quantities import Quantity, quantities, same_quantity
from text2expert.evidence.statements import Statement, statements
from text2expert.evidence.tokens import content, tokens
from text2expert.evidence.wording import LIGHT_STEMS
from text2expert.records import Chunk, Span, read_jsonl
from text2expert.retrieval import Index, with_context

SEEN = 5
"""Passages that are looked through: those that share most words with question and answer."""

WORDS = 0.6
"""Of the words of an answer without numbers, the share that must stand in one passage for it to be held up."""


class Support(NamedTuple):
    """What holds up an answer."""

    sources: tuple[str, ...]
    """Ids of passages, those that share most with question and answer first."""
    supported: bool | None
    """True: all numbers of the answer stand in `sources`, or most of its words if it has none. False: a number stands in
    none. None: there is nothing to tell it by, as in a bare "no" or an answer in words of its own."""
    evidence: tuple[Span, ...] = ()
    """The sentences, list items and table rows of `sources` that hold it up, with the lead-in of an item and the header of a
    row; in the order of `sources`, then of the text. Empty for a source where headings alone hold it up."""


class Passages:
    """A run's passages, read and indexed when first needed; may be used by several threads."""

    def __init__(self, path: Path) -> None:
        """*path* is a ``chunks.jsonl``, which need not exist."""
        self._path = path
        self._guard = threading.Lock()
        self._read: dict[str, Chunk] | None = None
        self._index: Index | None = None
        self._numbers: dict[str, list[Quantity]] = {}

    def chunks(self, ids: Sequence[str]) -> tuple[Chunk, ...]:
        """Those of *ids* that there are, in this order.

        Raises:
            RecordError: ``chunks.jsonl`` is damaged.
        """
        known = self._loaded()
        return tuple(known[each] for each in ids if each in known)

    def support(self, question: str, answer: str) -> Support:
        """What holds up *answer* to *question*; nothing where there are no passages.

        Raises:
            RecordError: ``chunks.jsonl`` is damaged.
        """
        known = self._loaded()
        if not known or self._index is None or not answer.strip():
            return Support((), None)
        every = list(known.values())
        found = [every[place] for place in self._index.best(f"{question}\n{answer}", SEEN)]
        asked = quantities(question)
        said = [each for each in quantities(answer) if not any(same_quantity(each, other) for other in asked)]
        words = content(tokens(f"{question}\n{answer}")) - LIGHT_STEMS
        return self._by_numbers(said, words, found) if said else _by_words(question, answer, found)

    def _by_numbers(self, said: Sequence[Quantity], words: frozenset[str], found: Sequence[Chunk]) -> Support:
        """The passages that have numbers of the answer that those before them have not."""
        left = list(said)
        sources = []
        evidence: list[Span] = []
        for chunk in sorted(found, key=lambda chunk: -sum(self._has(chunk, each) for each in said)):
            fresh = [each for each in left if self._has(chunk, each)]
            if fresh:
                sources.append(chunk.id)
                evidence += _with_numbers(chunk, fresh, words)
                left = [each for each in left if each not in fresh]
        return Support(tuple(sources), not left, tuple(evidence))

    def _has(self, chunk: Chunk, number: Quantity) -> bool:
        if chunk.id not in self._numbers:
            self._numbers[chunk.id] = quantities(with_context(chunk))
        return any(same_quantity(number, each) for each in self._numbers[chunk.id])

    def _loaded(self) -> dict[str, Chunk]:
        with self._guard:
            if self._read is None:
                every = list(read_jsonl(self._path, Chunk)) if self._path.is_file() else []
                self._index = Index([with_context(chunk) for chunk in every]) if every else None
                self._read = {chunk.id: chunk for chunk in every}
            return self._read


def _by_words(question: str, answer: str, found: Sequence[Chunk]) -> Support:
    words = content(tokens(answer)) - LIGHT_STEMS
    if not words:
        # A bare "no" rests on the passage that the question is about; "the document does not say" on none.
        bare = answer.split(maxsplit=1)[0].strip(".,;:!").casefold() in ("yes", "no")
        if not (bare and found):
            return Support((), None)
        asked = content(tokens(question)) - LIGHT_STEMS
        return Support((found[0].id,), None, _with_words(found[0], asked, frozenset()))
    for chunk in found:
        if len(words & content(tokens(with_context(chunk)))) >= WORDS * len(words):
            asked = content(tokens(question)) - LIGHT_STEMS
            return Support((chunk.id,), True, _with_words(chunk, words, asked))
    return Support((), None)


def _with_numbers(chunk: Chunk, numbers: Iterable[Quantity], words: frozenset[str]) -> tuple[Span, ...]:
    """For each of *numbers* the statement that has it, and of several the one with most of *words*."""
    read = statements(chunk.text)
    chosen = set()
    for number in numbers:
        having = [place for place, each in enumerate(read) if _tells(each, number)]
        if having:
            chosen.add(max(having, key=lambda place: (len(words & (read[place].stems | read[place].lead)), -place)))
    return _spans(chunk, read, chosen)


def _tells(statement: Statement, number: Quantity) -> bool:
    return any(same_quantity(number, each.quantity) for each in statement.figures)


def _with_words(chunk: Chunk, words: frozenset[str], asked: frozenset[str]) -> tuple[Span, ...]:
    """The fewest statements, one after the other, that have the share `WORDS` of *words*; of equals, that with most of *asked*."""
    read = statements(chunk.text)
    chosen: set[int] = set()
    left = set(words)
    while len(left) > (1 - WORDS) * len(words):
        best = max(range(len(read)), default=None, key=lambda place: (*_shared(read[place], left, asked), -place))
        if best is None or not left & read[best].stems:
            break
        chosen.add(best)
        left -= read[best].stems
    return _spans(chunk, read, chosen)


def _shared(statement: Statement, words: set[str], asked: frozenset[str]) -> tuple[int, int]:
    return len(words & statement.stems), len(asked & (statement.stems | statement.lead))


def _spans(chunk: Chunk, read: Sequence[Statement], chosen: Iterable[int]) -> tuple[Span, ...]:
    """The statements at *chosen*, each with its lead-in or the header of its table, as places in the document."""
    shown = set(chosen)
    for place in chosen:
        if read[place].above >= 0:
            shown.add(read[place].above)
        if read[place].row:
            before = place
            while before > 0 and read[before - 1].row:
                before -= 1
            if read[before].header:
                shown.add(before)
    spans = []
    for place in sorted(shown):
        text = chunk.text[read[place].start : read[place].end]
        start = chunk.start + read[place].start + len(text) - len(text.lstrip())
        text = text.strip()
        spans.append(Span(document=chunk.document, start=start, end=start + len(text), text=text))
    return tuple(spans)
