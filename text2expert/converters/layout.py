"""Lines and tables of pages to text: what is printed on every page goes, lines become paragraphs again.

A page says where its lines are and how large their letters, not what they are. Paragraphs are told by the distance of
lines and by their beginnings, headings by larger or bold letters, what belongs to the page and not to the text by standing
in the same place of many pages.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import attrs

EDGE = 0.15
"""Share of a page's height, from above and from below, in which what is printed on every page is looked for."""

REPEATED = 0.4
"""Share of the pages that has to have it: left and right pages may differ, and chapters begin without it."""

SAME_ROW = 2.0
"""Points that the tops of what stands side by side may differ."""

LARGER = 1.12
"""Times the size of the text from which on letters are those of a heading."""

LONGEST_HEADING = 150

SUPERSCRIPTS = str.maketrans(
    "0123456789+-\u2212", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207b"
)
"""How raised figures are written in a line: 10 to the 9th is 10\u2079, and not 109."""

_NUMBER = re.compile(r"[0-9]{1,5}")
_LAST_NUMBER = re.compile(r"(?<![0-9.,])[0-9]{1,5}$")
_ITEM = re.compile(r"(?:[-*•–—‣▪◦·●○■]|\(?(?:[0-9]{1,3}|[a-zA-Z]|[ivxIVX]{1,4})[.)]|[A-Z]?\.?\d+(?:\.\d+)+\.?)\s+\S")
_LOWER = re.compile(r"[^\w]*(?:[a-zß-ÿ]|\d[\d.,]*\s+[a-zß-ÿ])")
"""How a line begins that goes on with a sentence: a small letter, or a number before a unit."""
_BULLET = re.compile(r"[•‣▪◦·●○■]\s*")
_WORDS = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_BROKEN = re.compile(r"([^\W\d_]+)[-\u2010]$")
_HYPHEN = re.compile(r"\w[-\u2010]$")
_OPEN = re.compile(r"[^.!?:;…»”\"')\]]$")
_SENTENCE_END = re.compile(r"[.!?…][»”\"')\]]?$")


@attrs.frozen(kw_only=True)
class Line:
    """A line of text; lengths in points, from the page's upper left corner."""

    text: str
    x0: float
    x1: float
    top: float
    bottom: float
    size: float
    bold: bool = False
    left: float
    """Where its column begins."""
    width: float
    """Of its column, with the margins."""


@attrs.frozen(kw_only=True)
class Table:
    """A table with rules around its cells."""

    rows: tuple[tuple[str, ...], ...]
    x0: float
    x1: float
    top: float
    bottom: float

    @property
    def text(self) -> str:
        """All of it, as a line."""
        return " ".join(cell for row in self.rows for cell in row if cell)


@attrs.frozen(kw_only=True)
class Page:
    """What stands on a page, in the order in which it is read."""

    height: float
    blocks: tuple[Line | Table, ...]


def text_of_pages(pages: Sequence[Page]) -> str:
    """The text of *pages*, as Markdown."""
    pages = without_furniture(pages)
    lines = [block for page in pages for block in page.blocks if isinstance(block, Line)]
    fonts = _Fonts(lines)
    words = Counter(word for line in lines for word in _WORDS.findall(line.text.casefold().replace("\u2010", "-")))
    parts: list[str] = []
    for block in _joined(pages, fonts):
        if isinstance(block, Table):
            parts.append(_markdown(block))
            continue
        level = fonts.level(block)
        text = _as_text(block, fonts, words)
        parts.append(f"{'#' * level} {text.replace(chr(10), ' ')}" if level else text)
    return "\n\n".join(parts) + "\n"


def without_furniture(pages: Sequence[Page]) -> list[Page]:
    """*pages* without running titles and page numbers: what begins or ends many of them at the same height."""
    usual = _usual_size([block for page in pages for block in page.blocks if isinstance(block, Line)])
    edges = [
        [[*_with_places([*_edge(page, above=above)], number, usual)] for above in (True, False)]
        for number, page in enumerate(pages)
    ]
    seen: Counter[tuple[str, int]] = Counter()
    for sides in edges:
        seen.update({place for side in sides for _, places in side for place in places})
    least = max(2, REPEATED * len(pages))
    found = []
    for page, sides in zip(pages, edges, strict=True):
        gone: set[int] = set()
        for side in sides:
            for block, places in side:
                if max(seen[place] for place in places) < least:
                    break  # what is further in is text
                gone.add(id(block))
        found.append(attrs.evolve(page, blocks=tuple(block for block in page.blocks if id(block) not in gone)))
    return found


def _edge(page: Page, *, above: bool) -> Iterator[Line | Table]:
    """What stands at the upper or lower edge of *page*, from the edge inwards."""
    if above:
        for block in sorted(page.blocks, key=lambda block: block.top):
            if block.top < EDGE * page.height and block.bottom < 2 * EDGE * page.height:
                yield block
    else:
        for block in sorted(page.blocks, key=lambda block: -block.bottom):
            if block.bottom > (1 - EDGE) * page.height and block.top > (1 - 2 * EDGE) * page.height:
                yield block


def _with_places(
    blocks: Sequence[Line | Table], page: int, usual: float
) -> Iterator[tuple[Line | Table, set[tuple[str, int]]]]:
    """Each of *blocks* with its `_places`, and those of its row: what two columns part is one line on other pages."""
    for block in blocks:
        places = _places(block, page, usual)
        if isinstance(block, Line):
            row = [line for line in blocks if isinstance(line, Line) and abs(line.top - block.top) < SAME_ROW]
            row.sort(key=lambda line: line.x0)
            text, top, size = (
                " ".join(line.text for line in row),
                min(line.top for line in row),
                max(line.size for line in row),
            )
            places |= _places(attrs.evolve(block, text=text, top=top, size=size), page, usual)
        yield block, places


def _places(block: Line | Table, page: int, usual: float) -> set[tuple[str, int]]:
    """What *block* says and where, as it may be on other pages: just so, or with a number that counts with the *page*.

    Large letters that count are headings: one chapter on each page.
    """
    height, text = round(block.top / 4), block.text.casefold()
    places = {(text, height)}
    if isinstance(block, Table) or block.size < LARGER * usual:
        places |= {
            (f"{text[: number.start()]}\0{int(number[0]) - page}{text[number.end() :]}", height)
            for number in _NUMBER.finditer(text)
        }
        # Beside the number of the page the title of a chapter changes.
        places |= {
            (f"\0{side}{int(number[0]) - page}", height)
            for side, number in (("<", _NUMBER.match(text)), (">", _LAST_NUMBER.search(text)))
            if number
        }
    return places


def _usual_size(lines: Sequence[Line]) -> float:
    """Of most letters."""
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[line.size] += len(line.text)
    return max(sizes, key=lambda size: (sizes[size], size)) if sizes else 0.0


class _Fonts:
    """Which letters are the text's, and which are headings'."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.size = _usual_size(lines)
        bold = sum(len(line.text) * line.bold for line in lines)
        self.mostly_bold = bold > 0.5 * sum(len(line.text) for line in lines)
        larger = sorted(
            {line.size for line in lines if line.size >= LARGER * self.size and len(line.text) <= LONGEST_HEADING},
            reverse=True,
        )
        steps: list[float] = []
        for size in larger:
            if not steps or steps[-1] - size > 0.04 * self.size:
                steps.append(size)
        self._steps = steps
        ends: dict[tuple[float, float], list[float]] = defaultdict(list)
        for line in lines:
            ends[line.left, line.width].append(line.x1)
        self._ends = {column: sorted(found)[-1 - len(found) // 10] for column, found in ends.items()}
        self.leading = self._leadings(lines)

    def _leadings(self, lines: Sequence[Line]) -> dict[float, float]:
        """Size -> the usual distance from line to line in it."""
        gaps: dict[float, Counter[float]] = defaultdict(Counter)
        for one, other in pairwise(lines):
            gap = round(other.top - one.top, 0)
            if one.size == other.size and one.left == other.left and 0.9 * one.size <= gap <= 2.2 * one.size:
                gaps[one.size][gap] += 1
        # Of two that are about as frequent the smaller one is that within a paragraph.
        return {
            size: min(gap for gap, n in counts.items() if n >= 0.5 * max(counts.values()))
            for size, counts in gaps.items()
        }

    def is_short(self, line: Line) -> bool:
        """Whether *line* ends long before its column does, so that what follows did not have to begin anew."""
        return line.x1 - line.x0 < 0.6 * (self._ends[line.left, line.width] - line.x0)

    def has_room(self, last: Line, line: Line) -> bool:
        """Whether the first word of *line* would have stood behind *last* too, had it belonged there."""
        word = len(line.text.split()[0]) + 1
        return last.x1 + word * (line.x1 - line.x0) / len(line.text) < self._ends[last.left, last.width]

    def is_heading(self, line: Line) -> bool:
        """By its letters alone."""
        large = line.size >= LARGER * self.size
        bold = line.bold and not self.mostly_bold and line.size >= 0.95 * self.size
        return (large or bold) and len(line.text) <= LONGEST_HEADING

    def level(self, paragraph: Sequence[Line]) -> int:
        """1 to 6 for a heading, the largest letters first; 0 for text."""
        text = " ".join(line.text for line in paragraph)
        first = paragraph[0]
        if not all(self.is_heading(line) for line in paragraph) or len(text) > LONGEST_HEADING:
            return 0
        if not re.search(r"[^\W\d_]", text):
            return 0
        if first.size >= LARGER * self.size:
            step = next(
                (place for place, size in enumerate(self._steps, 1) if first.size >= size - 0.04 * self.size), 1
            )
            return min(step, 5)
        # A bold line may be a remark that is meant to be seen.
        return 0 if re.search(r"[.:;,]$", text) or len(text) > 90 else min(len(self._steps) + 1, 6)


def _joined(pages: Sequence[Page], fonts: _Fonts) -> Iterator[list[Line] | Table]:
    """Paragraphs and tables; both may go on over the end of a page."""
    last: list[Line] | Table | None = None
    for number, page in enumerate(pages):
        for place, block in enumerate(page.blocks):
            joined = _with(last, block, fonts, turned=number > 0 and place == 0)
            if joined is None:
                if last is not None:
                    yield last
                joined = block if isinstance(block, Table) else [block]
            last = joined
    if last is not None:
        yield last


def _with(
    last: list[Line] | Table | None, block: Line | Table, fonts: _Fonts, *, turned: bool
) -> list[Line] | Table | None:
    """*last* with *block*, where they are parts of one; *turned*: a page ended between them."""
    if isinstance(last, Table) and isinstance(block, Table):
        return _continued(last, block) if turned and len(last.rows[0]) == len(block.rows[0]) else None
    if isinstance(last, list) and isinstance(block, Line) and _goes_on(last, block, fonts, turned=turned):
        return [*last, block]
    return None


def _continued(table: Table, rest: Table) -> Table:
    rows = rest.rows[1:] if rest.rows[0] == table.rows[0] else rest.rows
    return attrs.evolve(table, rows=(*table.rows, *rows))


def _goes_on(paragraph: Sequence[Line], line: Line, fonts: _Fonts, *, turned: bool) -> bool:
    """Whether *line* belongs to *paragraph*; *turned*: a page ended between them."""
    last = paragraph[-1]
    if abs(last.size - line.size) > 0.6 or fonts.is_heading(last) != fonts.is_heading(line):
        return False
    follows = _OPEN.search(last.text) is not None and _LOWER.match(line.text) is not None
    # "at least / 1.2 metres" goes on with a sentence, and clause 1.2 does not.
    is_item = _ITEM.match(line.text) is not None and not (follows and line.text[:1].isdigit())
    if turned or last.left != line.left or line.top < last.top:
        return follows and not is_item
    leading = fonts.leading.get(line.size, 1.25 * line.size)
    if line.top - last.top > max(1.25 * leading, leading + 2):
        return False
    if is_item and (_ITEM.match(paragraph[0].text) or _SENTENCE_END.search(last.text) or last.text.endswith(":")):
        return False
    indented = line.x0 - last.x0 > 0.8 * line.size and not _ITEM.match(paragraph[0].text)
    # The first line of a paragraph may be indented, but then it is full. What follows a nested item is an item again.
    outdented = last.x0 - line.x0 > 0.8 * line.size and (len(paragraph) > 1 or fonts.has_room(last, line))
    return not ((indented or outdented) and _SENTENCE_END.search(last.text))


def _as_text(paragraph: Sequence[Line], fonts: "_Fonts", words: Counter[str]) -> str:
    """Its lines as one, but for lines that end early: rows of a table without rules, addresses."""
    text = _BULLET.sub("- ", paragraph[0].text, count=1) if _BULLET.match(paragraph[0].text) else paragraph[0].text
    for last, line in pairwise(paragraph):
        broken = _BROKEN.search(text)
        if text.endswith("\xad"):
            text = text[:-1] + line.text
        elif broken and line.text[:1].islower():
            text = _mended(text, broken[1], line.text, words)
        elif _HYPHEN.search(text) and not fonts.is_short(last):
            text += line.text
        elif fonts.is_short(last):
            text += "\n" + line.text
        else:
            text += " " + line.text
    return text.replace("\xad", "")


def _mended(text: str, left: str, rest: str, words: Counter[str]) -> str:
    """A word that was parted at the end of a line: with its hyphen, where that is how it is written."""
    right = match[0] if (match := re.match(r"[^\W\d_]+", rest)) else ""
    whole, parted = (left + right).casefold(), f"{left}-{right}".casefold()
    keeps = words[parted] > 0 or (words[whole] == 0 and words[left.casefold()] > 0 and words[right.casefold()] > 1)
    return text + rest if keeps else text[:-1] + rest


def _markdown(table: Table) -> str:
    columns = max(len(row) for row in table.rows)
    rows = [[cell.replace("|", "\\|") for cell in (*row, *[""] * (columns - len(row)))] for row in table.rows]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * columns}", *lines[1:]])
