"""The document's passages: which of them hold a span, and how they read with spans marked."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence

from text2expert.records import Chunk, Span
from text2expert.report.markup import Html, joined, said, tag

MOST_TEXT = 1_500_000
"""Characters of passages that a page lists: a book's. Of a longer document it lists those that matter, see `shelf`."""


class Passages:
    """A run's chunks, numbered from 1 in the order of the text."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.all = chunks
        self._numbers = {chunk.id: number for number, chunk in enumerate(chunks, 1)}
        self._of: dict[str, list[Chunk]] = defaultdict(list)
        for chunk in sorted(chunks, key=lambda chunk: (chunk.start, chunk.end)):
            self._of[chunk.document].append(chunk)
        self._starts = {document: [chunk.start for chunk in mine] for document, mine in self._of.items()}
        self._longest = max((chunk.end - chunk.start for chunk in chunks), default=0)

    def number(self, chunk_id: str) -> int | None:
        """Of a chunk; None for an id that is none of theirs."""
        return self._numbers.get(chunk_id)

    def anchor(self, chunk: Chunk) -> str:
        """The id of the passage's place on the page."""
        return f"p{self._numbers[chunk.id]}"

    def touching(self, span: Span) -> list[Chunk]:
        """The chunks that hold any of *span*."""
        mine, starts = self._of.get(span.document, []), self._starts.get(span.document, [])
        first = bisect_left(starts, span.start - self._longest)
        return [chunk for chunk in mine[first : bisect_left(starts, span.end)] if chunk.end > span.start]

    def holding(self, span: Span) -> list[Chunk]:
        """The chunks that hold at least half of *span*: one, or two where they overlap."""
        half = (span.end - span.start) / 2
        return [each for each in self.touching(span) if min(each.end, span.end) - max(each.start, span.start) >= half]

    def showing(self, spans: Iterable[Span]) -> list[Chunk]:
        """As few chunks as show *spans*, in the order of the text: one for each span that is whole in one."""
        shown: dict[str, Chunk] = {}
        for span in spans:
            touching = self.touching(span)
            whole = [chunk for chunk in touching if chunk.start <= span.start and span.end <= chunk.end]
            if not any(chunk.id in shown for chunk in whole):
                # In the middle of a passage a span has most context around it.
                best = sorted(whole, key=lambda chunk: -min(span.start - chunk.start, chunk.end - span.end))[:1]
                shown |= {chunk.id: chunk for chunk in best or touching}
        return sorted(shown.values(), key=lambda chunk: self._numbers[chunk.id])


def marked(chunk: Chunk, spans: Iterable[Span], note: str = "evidence") -> Html:
    """The passage's text with what lies in *spans* marked."""
    cuts: list[tuple[int, int]] = []
    inside = sorted(
        (max(span.start, chunk.start) - chunk.start, min(span.end, chunk.end) - chunk.start)
        for span in spans
        if span.document == chunk.document
    )
    for start, end in inside:
        if start >= end:
            continue
        if cuts and start <= cuts[-1][1]:
            cuts[-1] = (cuts[-1][0], max(end, cuts[-1][1]))
        else:
            cuts.append((start, end))
    parts, reached = [], 0
    for start, end in cuts:
        parts += [chunk.text[reached:start], tag("mark", chunk.text[start:end], title=note)]
        reached = end
    return tag("div", *parts, chunk.text[reached:], class_="text", dir="auto")


def title(chunk: Chunk, number: int | None) -> Html:
    """The passage's number and the headings that it stands under."""
    return joined(f"Passage {number}" if number else "Passage", *(joined(" › ", said(each)) for each in chunk.headings))
