"""Texts to chunks: passages of at most a given size that begin and end where a reader would, and overlap.

Sections come first (a chunk never crosses one), then deeper headings, paragraphs, sentences, lines, words. Among equally
good places the one is taken whose text sorts last: a choice by content and not by position, so that after an edit the
cuts fall back into step with what they were.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import attrs

from text2expert import documents
from text2expert.chunker import leadins, tokens
from text2expert.chunker.boundaries import Boundaries, Span, skip_space
from text2expert.chunker.headings import LOOK_AHEAD, LOOK_BEHIND, Confirmed, Heading, Outline, Scanner, Survey
from text2expert.errors import InputError
from text2expert.records import Chunk, Document


@attrs.frozen
class Chunker:
    """Cuts texts into chunks.

    Args:
        size: The most a chunk may measure, in *unit*.
        overlap: About how much of a chunk the next one of its section repeats, in *unit*: less than *size*.
        unit: ``"characters"`` or ``"tokens"``.
        encoding: Whose tokens: a tiktoken encoding. It is used if its ranks are in tiktoken's cache and never
            downloaded; `estimator` says what was used.

    Raises:
        InputError: A value is not allowed; the message names it.
    """

    size: int = 800
    overlap: int = 100
    unit: Literal["characters", "tokens"] = attrs.field(default="characters", kw_only=True)
    encoding: str = attrs.field(default="cl100k_base", kw_only=True)
    _ruler: tokens.Ruler | None = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        for name, value, least in (("size", self.size, 1), ("overlap", self.overlap, 0)):
            if type(value) is not int or value < least:
                raise InputError(f"{name}={value!r}: give a whole number of {self.unit}, {least} or more")
        if self.overlap >= self.size:
            raise InputError(
                f"overlap={self.overlap} must be less than size={self.size}: make it smaller, or size greater"
            )
        if self.unit not in ("characters", "tokens"):
            raise InputError(f'unit={self.unit!r}: give "characters" or "tokens"')
        object.__setattr__(self, "_ruler", tokens.ruler(self.encoding) if self.unit == "tokens" else None)

    @property
    def estimator(self) -> str:
        """How sizes are measured: ``characters``, ``tiktoken:cl100k_base``, or ``utf8-bytes/4`` as a stand-in."""
        return self._ruler.name if self._ruler else "characters"

    def split(self, source: str | Document | Sequence[Document], /) -> list[Chunk]:
        """The chunks of a text, of a document, or of several; ids run on over all of them.

        A ``str`` is the text itself, with newlines made line feeds as in `Document.from_text`.

        Raises:
            InputError: The text is empty, or its file cannot be read.
        """
        if isinstance(source, str):
            source = [Document.from_text(source)]
        elif isinstance(source, Document):
            source = [source]
        if not isinstance(source, Iterable):
            raise InputError(f"source is {source!r:.80}: give a text, a Document, or a list of Documents")
        chunks: list[Chunk] = []
        for document in source:
            if not isinstance(document, Document):
                raise InputError(f"source holds {document!r:.80}: give a text, a Document, or a list of Documents")
            text = "\n" + documents.text_of(document)
            found = Scanner().scan(text, -1, 1, len(text))
            survey = Survey()
            survey.add(found, len(text))
            cutter = _Cutter(self, document.id, survey.outline(), len(chunks) + 1)
            chunks += cutter.feed(text, found, final=True)
        return chunks

    def stream(self, source: str | Path | Document, /, *, first: int = 1) -> Iterator[Chunk]:
        """The same chunks one by one, with a few megabytes of memory however long the text is.

        The file is read three times: for its encoding and digest, for its headings, and for the chunks.

        Args:
            source: A path (also as a ``str``), or a document; a folder is read file by file.
            first: The number in the first chunk's id.

        Raises:
            InputError: The file cannot be read, is not text, or holds undecodable bytes.
        """
        if type(first) is not int or first < 0:
            raise InputError(f"first={first!r}: give a whole number, 0 or more")
        for document in [source] if isinstance(source, Document) else documents.scan(source):
            scanner, survey = Scanner(), Survey()
            window = _Window()
            for block, final in _with_last(documents.blocks(document)):
                found = window.scan(scanner, block, final=final)
                survey.add(found, window.seen)
                window.keep(window.scanned - LOOK_BEHIND)
            cutter = _Cutter(self, document.id, survey.outline(), first)
            for block, final in _with_last(documents.blocks(document)):
                yield from cutter.feed(block, None, final=final)
            first = cutter.number


def _with_last(blocks: Iterable[str]) -> Iterator[tuple[str, bool]]:
    held: str | None = None
    for block in blocks:
        if held is not None:
            yield held, False
        held = block
    if held is not None:
        yield held, True


class _Window:
    """The part of a text that is looked at, with a newline in front of the whole text."""

    def __init__(self) -> None:
        self.text = "\n"
        self.base = -1
        self.scanned = 1
        """How far headings have been looked for, as an index into `text`."""

    def scan(self, scanner: Scanner, block: str, *, final: bool) -> list[Heading]:
        """Add *block*; the headings in what can be judged now."""
        self.text += block
        stop = len(self.text) if final else max(self.scanned, len(self.text) - LOOK_AHEAD)
        found = scanner.scan(self.text, self.base, self.scanned, stop)
        self.scanned = stop + final  # after the end there is nothing more to see
        return found

    @property
    def seen(self) -> int:
        """How far headings have been looked for, as an offset."""
        return self.scanned + self.base

    def keep(self, begin: int) -> None:
        """Forget what is before index *begin*."""
        if begin > 0:
            self.text = self.text[begin:]
            self.base += begin
            self.scanned -= begin


class _Cutter:
    """Cuts one document, given in one block or in many."""

    def __init__(self, chunker: Chunker, document: str, outline: Outline, first: int) -> None:
        self.number = first
        """That of the next chunk."""
        self._document = document
        self._size = chunker.size
        self._overlap = chunker.overlap
        self._ruler = chunker._ruler  # noqa: SLF001 - the chunker's other half
        self._outline = outline
        self._scanner = Scanner()
        self._confirmed = Confirmed(outline)
        self._window = _Window()
        self._marks: list[Heading] = []
        """Headings from the one before the present place on, as far as they are known."""
        self._path: list[Heading] = []
        self._at = 0
        """Offset of the next chunk, or of the white space before it."""
        self._covered = 0
        """Offset up to which the chunks so far go; before `_at` in a new section."""
        self._told = -1
        """Offset of the last chunk: the headings up to it are in `_path`."""
        self._floor = 0
        """Offset of the end of the last heading, before which no lead-in is looked for."""

    def feed(self, block: str, found: list[Heading] | None, *, final: bool) -> list[Chunk]:
        """The chunks that can be cut now that *block* is there too.

        With *found*, *block* is the whole text with a newline in front, and these are its headings.
        """
        window = self._window
        if found is None:
            found = window.scan(self._scanner, block, final=final)
        else:
            window.text = block
            window.scanned = len(block) + 1
        marks = self._marks + self._confirmed.feed(found, window.seen)
        pending = self._confirmed.pending
        limit = pending.start if pending else min(window.seen, len(window.text) + window.base)
        top, levels = self._outline.top, self._outline.levels
        chunks: list[Chunk] = []
        begin = 0
        for number, mark in enumerate(marks):
            if mark.title and levels[mark.kind] <= top and mark.start > self._at:
                chunks += self._section(mark.start, marks[begin:number], complete=True)
                begin = number
                self._at = mark.start
        chunks += self._section(limit, marks[begin:], complete=final)
        self._marks = [mark for mark in marks[begin:] if mark.start > self._told or mark.end > self._at]
        window.keep(min(self._at, limit) - leadins.LOOK_BEHIND - LOOK_BEHIND - window.base)
        return chunks

    def _section(self, stop: int, marks: list[Heading], *, complete: bool) -> list[Chunk]:
        """Cut from where we are up to offset *stop*, the end of the section if it is *complete*."""
        text, base = self._window.text, self._window.base
        path, levels = self._path, self._outline.levels
        document, number = self._document, self.number
        heads = [(mark.start - base, mark.end - base) for mark in marks if mark.title]
        chunks: list[Chunk] = []
        place = 0
        coming = marks[0].start if marks else stop
        headings = tuple([mark.title for mark in path])
        above = " > ".join(headings)
        floor = max(1, self._floor - base)
        for start, end in self._cuts(text, stop - base, heads, complete=complete):
            offset = start + base
            if coming <= offset:
                while place < len(marks) and marks[place].start <= offset:
                    _descend(path, marks[place], levels)
                    self._floor = marks[place].end
                    place += 1
                coming = marks[place].start if place < len(marks) else stop
                headings = tuple([mark.title for mark in path])
                above = " > ".join(headings)
                floor = max(1, self._floor - base)
            lead = leadins.lead_in(text, floor, start)
            context = f"{above}\n{lead}" if lead and above else lead or above
            passage = text[start:end]
            chunk = Chunk(
                id=f"chunk_{number:06d}",
                # The length of the context keeps ("ab", "c") and ("a", "bc") apart.
                key=blake2b(f"{len(context)}:{context}{passage}".encode(), digest_size=16).hexdigest(),
                document=document,
                text=passage,
                start=offset,
                end=end + base,
                char_count=end - start,
                headings=headings,
                context=context,
            )
            chunks.append(chunk)
            number += 1
        self.number = number
        if chunks:
            self._told = chunks[-1].start
        for mark in marks[place:] if complete else ():
            _descend(path, mark, levels)
            self._floor = mark.end
        return chunks

    def _cuts(self, text: str, stop: int, heads: list[Span], *, complete: bool) -> list[Span]:
        """The chunks of a section's rest, as spans of *text*; leaves `_at` and `_covered` where to go on."""
        base, size, ruler = self._window.base, self._size, self._ruler
        begin = skip_space(text, max(1, self._at - base), stop)
        covered = min(self._covered - base, begin)
        last = stop
        while complete and last > begin and text[last - 1].isspace():
            last -= 1
        cuts: list[Span] = []
        boundaries = Boundaries(text, begin, stop, heads)
        while begin < last:
            limit = begin + size if ruler is None else max(begin + 1, ruler.reach(text, begin, last, size))
            if limit >= last and complete:
                cuts.append((begin, last))
                begin, covered = stop, last
                break
            span = limit - begin
            if not complete and last - begin < 2 * span + 200:
                break
            if last - limit < span // 5:
                limit = max(last - span // 5, begin + 1)  # leave more than a crumb for the last chunk
            end = boundaries.end_of(begin, limit, covered)
            if not end:
                # Nothing new fits behind so much overlap: begin after what is covered.
                begin = skip_space(text, covered, last)
                continue
            cuts.append((begin, end))
            covered = end
            # An overlap in tokens is as many characters as that share of the chunk.
            overlap = self._overlap if ruler is None else self._overlap * span // size
            begin = boundaries.start_after(begin, end, span, overlap)
        self._at = begin + base
        self._covered = covered + base
        return cuts


def _descend(path: list[Heading], mark: Heading, levels: dict[int, int]) -> None:
    """Make *path* the headings that are above what follows *mark*."""
    level = levels[mark.kind]
    if not mark.title:
        # A numbered paragraph ends the numbered heading that came before it in the same series.
        series = mark.number.rpartition(".")[0]
        if not any(m.kind == mark.kind and m.number.rpartition(".")[0] == series for m in path):
            return
    while path and levels[path[-1].kind] >= level:
        path.pop()
    if mark.title:
        path.append(mark)
