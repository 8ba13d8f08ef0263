"""Text units: the sentences, bullets and table rows of a passage, each with its exact place.

Knows line layout (hard-wrapped paragraphs, bullets under a lead-in, numbered paragraphs, headings, fixed-width and pipe
tables) and sentence ends; knows nothing of grammar or questions. Offsets are into the passage's text.
"""

import itertools
import re
from collections.abc import Iterator, Sequence

import attrs

from text2expert.offline.leads import UNKNOWN, Lead, Leads, Mark, announces, bans, leads_in, mark_of


@attrs.frozen(kw_only=True)
class Unit:
    """A sentence, or a bullet's sentence, on one line; ``start`` and ``end`` are its place in the passage."""

    text: str
    start: int
    end: int
    section: str
    """The nearest heading above, as printed."""
    block: int
    """Sentences of one paragraph, bullet or numbered clause share it."""
    bullet: bool = False
    leads: tuple[Lead, ...] = ()
    """The lead-ins of the list that it stands in, the outermost first."""
    joint: bool = False
    """Whether its list's items hold only together ("a; and b")."""
    barred: bool = False
    """Whether a heading above it says what is not to be done ("Prohibited")."""
    topic: str = ""
    """The label that it stands behind in its paragraph."""
    opens: bool = True
    """Whether it begins a line."""
    whole: bool = True
    """False where the passage begins or ends inside it."""

    @property
    def lead(self) -> Lead | None:
        """The line right above the list."""
        return self.leads[-1] if self.leads else None


@attrs.frozen(kw_only=True)
class Row:
    """A table row's cells and its place in the passage."""

    cells: tuple[str, ...]
    start: int
    end: int


@attrs.frozen(kw_only=True)
class Table:
    """Rows of equal width; ``header`` is empty where the table has none."""

    section: str
    header: tuple[str, ...]
    header_span: tuple[int, int] | None
    rows: tuple[Row, ...]


@attrs.frozen(kw_only=True)
class Listing:
    """A whole list: its lead-in and all its items, each with its place in the passage."""

    lead: Lead
    items: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    section: str


@attrs.frozen(kw_only=True)
class Layout:
    """What a passage is made of."""

    units: tuple[Unit, ...]
    tables: tuple[Table, ...]
    listings: tuple[Listing, ...] = ()


@attrs.frozen(kw_only=True)
class _Line:
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text.rstrip())

    @property
    def bare(self) -> str:
        return self.text.strip()


@attrs.frozen(kw_only=True)
class _Block:
    start: int
    end: int
    section: str
    bullet: bool
    whole: bool
    leads: tuple[Lead, ...] = ()
    joint: bool = False
    barred: bool = False
    numbered: bool = False
    example: bool = False
    """Whether it tells a case ("Worked examples"), where sentences need each other."""
    begun: bool = False
    """Whether the passage begins inside its first sentence."""


_BULLET = re.compile(
    r"\s*(?:[-*+•‣▪◦·–—]|\(?[a-z]{1,2}\)|\(?[ivx]{1,5}\)|\([A-Z]\)|\(?\d{1,2}\)|\d{1,2}\.(?=\s+[a-z])|[a-z]\.)\s+(?=\S)"
)
_NUMBER = re.compile(r"\s*(?:§\s*)?\d{1,3}(?:\.\d{1,3})*\.?\s+(?=[A-Z\"“'‘(])")
_LETTERED = re.compile(r"\s*[A-Z]\.\d{1,3}\.?\s+(?=\S)")
_NAMED = re.compile(
    r"(?i:section|clause|part|chapter|appendix|annex|schedule|article|step|rule|title|book)\s+(?:\d+|[A-Z]|[IVX]+)\b"
)
_HEADING_NUMBER = re.compile(
    r"^(?:#+\s*)?(?:(?i:section|clause|part|chapter|appendix|annex|schedule|article|rule)\s+(?:[\d.]+|[A-Z]|[IVX]+)\b[.:)]?\s*[-–—]?\s*"
    r"|§\s*\d+[\d.]*\s+|\d+(?:\.\d+)*[.)]?\s+|[A-Z]\.(?:\d+\.?)?\s+|[IVX]+\.\s+)"
)
_FINITE = re.compile(
    r"\b(?:is|are|was|were|must|shall|should|may|can|cannot|will|has|have|does|do|not|never)\b", re.IGNORECASE
)
_RULE = re.compile(r"\s*(?:[-=_*~+|:\s]{3,})\s*$")
_GAP = re.compile(r"\t+|(?<![a-z]{3}[.!?:;])\s{2,}")  # two spaces behind a full stop are a typist's habit
_SENTENCE_END = re.compile(r"[.!?]+[\"”'’)\]]*(?=\s)")
_NEXT_SENTENCE = re.compile(r"\s+[\"“'‘(\[]*[A-Z0-9À-Þ]")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"“])(?:e\.g|i\.e|etc|cf|vs|viz|approx|ca|no|nos|nr|fig|figs|tab|eq|ref|refs|sec|sect|ch|vol|ed|eds|p|pp|par|para|art|cl|"
    r"max|min|temp|resp|incl|excl|dept|st|mr|mrs|ms|dr|prof|inc|ltd|co|corp|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|[A-Z])$",
    re.IGNORECASE,
)
_LABEL_LETTER = re.compile(
    r"(?:appendix|annex|schedule|part|section|category|class|type|grade|group|table|figure|level|ladder|zone|form|option|plan|unit)\s[A-Z]$",
    re.IGNORECASE,
)  # "Appendix A." ends a sentence, "J. Smith" does not
_ENDED = re.compile(r"[.!?;,][\"”'’)\]]*$")


_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3}|_{1,3})(?=[^\s*_])([^*_\n]+?)(?<=\S)\1(?![\w*])")


def unmarked(text: str) -> str:
    """*text* on one line without Markdown's emphasis: "*E. coli*" is "E. coli"."""
    return _EMPHASIS.sub(r"\2", squeeze(text))


def squeeze(text: str) -> str:
    """*text* on one line, runs of white space as one space."""
    return " ".join(text.split())


def title(heading: str) -> str:
    """A heading without its number: "2.3 Blood gases" -> "Blood gases"; "" where it has only a number."""
    return _HEADING_NUMBER.sub("", squeeze(heading), count=1).strip(" #:.–—-")


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Where the sentences of *text* start and end, white space around them left out."""
    start = 0
    for match in _SENTENCE_END.finditer(text):
        before = text[max(start, match.start() - 8) : match.start()]
        if not _NEXT_SENTENCE.match(text, match.end()):
            continue
        if (
            match.group() == "."
            and _ABBREVIATION.search(before)
            and not _LABEL_LETTER.search(text, max(start, match.start() - 14), match.start())
        ):
            continue
        yield from _trimmed(text, start, match.end())
        start = match.end()
    yield from _trimmed(text, start, len(text))


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    part = text[start:end]
    if bare := part.strip():
        first = start + part.index(bare[0])
        yield first, first + len(bare)


def cells(line: str) -> tuple[str, ...]:
    """The cells of a line, cut at pipes, tabs or two spaces and more; one cell where there are none."""
    bare = line.strip()
    if bare.count("|") > 1 or (bare.startswith("|") and "|" in bare[1:]):
        return tuple(unmarked(cell) for cell in bare.strip("|").split("|"))
    return tuple(unmarked(cell) for cell in _GAP.split(bare) if cell)


def lay_out(text: str, headings: Sequence[str] = (), context: str = "") -> Layout:
    """Find the units and tables of a passage.

    Args:
        text: The passage.
        headings: The heading path above it.
        context: What its reader must see beside it: heading path, a list's lead-in, a table's header.
    """
    lines = _lines(text)
    known = {squeeze(heading) for heading in headings}
    above = " > ".join(squeeze(heading) for heading in headings)
    around = [line for line in context.splitlines() if squeeze(line) and squeeze(line) not in known | {above}]
    path = _Path([squeeze(heading) for heading in headings])
    leads = _leads_above(around, lines, path)
    cut_off = bool(leads.open) and not leads.open[-1].heading
    blocks: list[_Block] = []
    tables: list[Table] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.bare:
            at += 1
            continue
        header = around[-1] if around and not blocks and not tables else ""
        if (stop := _table_end(lines, at, header)) > at:
            tables.append(_table(lines[at:stop], path.section, header, cut=stop == len(lines)))
            at = stop
            leads.clear()
            continue
        if _RULE.match(line.text):
            at += 1
            continue
        if _is_heading(lines, at, known):
            leads.clear()
            path.enter(squeeze(line.bare))
            path.introduce(leads, line.start, line.end)
            at += 1
            continue
        stop = _block_end(lines, at, known)
        path.leave_for(line.bare)
        block = _block(lines[at:stop], path.section, last=stop == len(lines))
        block = attrs.evolve(block, example=path.example, barred=path.barred)
        mark = mark_of(line.text) if block.bullet or block.numbered else None
        block = _led(block, leads, mark, indent=_indent(line), cut_off=cut_off)
        cut_off = False
        blocks.append(block)
        if lead := _lead_in(text, block, lines[stop:]):
            leads.introduce(lead, mark)
        at = stop
    if blocks and not blocks[0].bullet and text[blocks[0].start : blocks[0].start + 1].islower():
        blocks[0] = attrs.evolve(blocks[0], begun=True)
    blocks = _joined(text, blocks)
    units = [unit for number, block in enumerate(blocks) if not block.example for unit in _units(text, block, number)]
    return Layout(units=tuple(units), tables=tuple(tables), listings=tuple(_listings(text, blocks)))


def _leads_above(around: Sequence[str], lines: list[_Line], path: "_Path") -> Leads:
    """The lead-ins of the list that a passage begins in, and the heading that is one."""
    if above := [Lead(text=squeeze(line)) for line in around if len(cells(line)) == 1]:
        return Leads(above)
    leads = Leads()
    path.introduce(leads, -1, -1)
    return leads if leads.open or not _begins_inside(lines) else Leads([UNKNOWN])


def _begins_inside(lines: list[_Line]) -> bool:
    """Whether a passage begins with a list's item that need not be its first, or with the end of one."""
    start = next((at for at, line in enumerate(lines) if line.bare), len(lines))
    above = ""
    for line in lines[start:]:
        mark = mark_of(line.text)
        if mark is not None:
            return mark.kind.count(".") < 2 and (above.endswith(".") or not above) and (bool(above) or mark.number != 1)
        if not line.bare:
            break
        above = line.bare
    return False


def _led(block: _Block, leads: Leads, mark: Mark | None, *, indent: int, cut_off: bool) -> _Block:
    """*block* under the lead-ins that are open at its line."""
    if mark is not None:
        leads.take(mark, numbered=block.numbered)
        if block.numbered and leads.open and leads.open[-1].heading:
            return block
        return attrs.evolve(block, leads=leads.open, bullet=block.bullet or bool(leads.open))
    if leads.open and (cut_off or leads.holds(indent)):
        return attrs.evolve(block, leads=leads.open, bullet=True)  # a listed item goes on
    if leads.waiting and any(bans(lead.text) for lead in leads.open):
        return attrs.evolve(block, barred=True)  # "Do not:" above items without marks
    if leads.waiting:
        block = attrs.evolve(block, leads=leads.open, bullet=True)
    leads.pause()
    return block


def _joined(text: str, blocks: list[_Block]) -> list[_Block]:
    """*blocks*, those of lists whose items hold only together ("a; and b") marked so."""
    joint = {
        (block.leads, block.section)
        for block in blocks
        if block.leads and re.search(r"\band[;,]?$", text[block.start : block.end])
    }
    return [attrs.evolve(block, joint=(block.leads, block.section) in joint) for block in blocks]


def _lead_in(text: str, block: _Block, below: Sequence[_Line]) -> Lead | None:
    """The last sentence of *block*, where it introduces what stands *below*."""
    body = text[block.start : block.end]
    start, end = next(reversed(list(sentences(body))), (0, len(body)))
    if not leads_in(body):
        following = next((line.text for line in below if line.bare), "")
        mark = mark_of(following)
        listed = mark is not None and (_BULLET.match(following) or mark.number == 1)
        listed = listed or _is_ban(squeeze(body[start:end]))
        if block.bullet or not listed or not announces(squeeze(body[start:end])):
            return None
    return Lead(text=squeeze(body[start:end]), start=block.start + start, end=block.start + end)


def _listings(text: str, blocks: list[_Block]) -> Iterator[Listing]:
    """Lists that begin and end in the passage."""
    for leads, group in itertools.groupby(blocks, key=lambda block: block.leads):
        members = list(group)
        if len(leads) != 1 or leads[0].start < 0 or len(members) < 2:
            continue
        items = tuple(unmarked(text[block.start : block.end]) for block in members)
        # The last item of a passage may not be the list's last, unless it alone has the full stop.
        closed = items[-1].endswith(".") and not items[0].endswith(".")
        if members[-1] is blocks[-1] and text[members[-1].end :].strip() == "" and not closed:
            continue
        places = tuple((block.start, block.end) for block in members)
        yield Listing(lead=leads[0], items=items, places=places, section=members[0].section)


def _depth(line: str) -> int:
    """How deep a line's number lies: 0 without one, 1 for "3." or "Clause 3", 2 for "3.1"."""
    if _NAMED.match(line):
        return 1
    number = re.match(r"(?:§\s*)?(\d{1,3}(?:\.\d{1,3})*)\.?\s", line)
    return number.group(1).count(".") + 1 if number else 0


class _Path:
    """The headings above the line that is read."""

    def __init__(self, headings: list[str]) -> None:
        self._headings = headings

    @property
    def section(self) -> str:
        return self._headings[-1] if self._headings else ""

    @property
    def example(self) -> bool:
        """Whether a heading above announces examples."""
        return any(re.search(r"\b(?:examples?|illustrations?)\b", heading, re.IGNORECASE) for heading in self._headings)

    @property
    def barred(self) -> bool:
        """Whether a heading above says what is not to be done."""
        return any(bans(title(heading)) for heading in self._headings)

    def introduce(self, leads: Leads, start: int, end: int) -> None:
        """A heading such as "Do not", at its place in the passage or outside it, introduces what stands below."""
        if self.barred and title(self.section):
            leads.introduce(Lead(text=title(self.section), start=start, end=end, heading=True), None)

    def enter(self, heading: str) -> None:
        """A heading: it ends those of its depth and below."""
        if depth := _depth(heading):
            self._headings = [one for one in self._headings if 0 < _depth(one) < depth]
        self._headings = [*self._headings, heading]

    def leave_for(self, line: str) -> None:
        """A paragraph: a numbered one (3.2) is no longer under a heading of its own depth (3.1)."""
        depth = _depth(line)
        while depth > 1 and self._headings and _depth(self._headings[-1]) >= depth:
            self._headings = self._headings[:-1]


def _lines(text: str) -> list[_Line]:
    start, lines = 0, []
    for line in text.split("\n"):
        lines.append(_Line(text=line, start=start))
        start += len(line) + 1
    return lines


def _opens(line: _Line) -> bool:
    return bool(_BULLET.match(line.text) or _NUMBER.match(line.text) or _LETTERED.match(line.text))


def _is_heading(lines: list[_Line], at: int, known: set[str]) -> bool:
    bare = lines[at].bare
    if squeeze(bare) in known:
        return True
    if bare.startswith("#") and bare.lstrip("#").startswith(" "):
        return True
    if (
        len(bare) > 90
        or re.search(r"\S {3,}\S", bare)
        or bare[-1] in ".:;,!?"
        or not any(letter.isalpha() for letter in bare)
    ):
        return False
    above = lines[at - 1].bare if at else ""
    below = lines[at + 1].bare if at + 1 < len(lines) else ""
    if below and set(below) <= set("=-~") and len(below) >= 3:
        return True
    if bare.isupper() and len(bare) > 3:
        return True
    if _is_numbered(bare) and len(bare) <= 40 and (not below or below[0].isupper() or _opens(lines[at + 1])):
        return True
    if _FINITE.search(bare) or (above and not _ENDED.search(above) and not _is_numbered(above)):
        return False
    opens_below = not below or below[0].isupper() or below[0] in '"“(•*-–' or _opens(lines[at + 1])
    if _is_numbered(bare):
        return len(bare) <= 72 and opens_below and not (len(bare) > 60 and below)
    return not above and not below and len(bare) <= 60 and bare[0].isupper() and at + 1 < len(lines)


def _is_numbered(bare: str) -> bool:
    return bool(_NAMED.match(bare) or _NUMBER.match(bare) or _LETTERED.match(bare))


def _block_end(lines: list[_Line], at: int, known: set[str]) -> int:
    stop = at + 1
    if (
        at > 0
        and stop < len(lines)
        and not _opens(lines[at])
        and _indent(lines[stop]) >= _indent(lines[at]) + 2
        and lines[stop].bare
    ):
        return stop  # a term above its indented explanation
    if stop < len(lines) and _is_ban(lines[at].bare) and not lines[stop].bare[:1].islower():
        return stop
    while stop < len(lines) and lines[stop].bare and not _opens(lines[stop]):
        if _table_end(lines, stop) > stop or squeeze(lines[stop].bare) in known:
            break
        if lines[stop - 1].bare.endswith((".", ":")) and _is_heading(lines, stop, known):
            break
        stop += 1
    return stop


def _is_ban(line: str) -> bool:
    """Whether a line is no more than a lead-in such as "Do not:" or "**Never**"."""
    if not bans(line) or len(line) > 80 or line.endswith((";", ",")):
        return False
    following = re.search(r"\b(?:following|these)\b", line, re.IGNORECASE)
    return bool(following) or leads_in(line) or (len(line.split()) <= 5 and not line.endswith("."))


def _indent(line: _Line) -> int:
    return len(line.text) - len(line.text.lstrip())


def _block(lines: list[_Line], section: str, *, last: bool) -> _Block:
    first = lines[0]
    marker = _BULLET.match(first.text) or _NUMBER.match(first.text) or _LETTERED.match(first.text)
    bullet = bool(_BULLET.match(first.text))
    start = first.start + (marker.end() if marker else len(first.text) - len(first.text.lstrip()))
    whole = not last or bool(_ENDED.search(lines[-1].bare))
    return _Block(
        start=start,
        end=max(start, lines[-1].end),
        section=section,
        bullet=bullet,
        whole=whole,
        numbered=bool(marker) and not bullet,
    )


def _units(text: str, block: _Block, number: int) -> Iterator[Unit]:
    body = text[block.start : block.end]
    section = block.section
    places = list(sentences(body))
    for order, (start, end) in enumerate(places):
        line = unmarked(body[start:end])
        if order == 0 and len(places) > 1 and block.numbered and _is_run_in_title(line):
            section = line.rstrip(".")
            continue
        yield Unit(
            text=line,
            start=block.start + start,
            end=block.start + end,
            section=section,
            block=number,
            bullet=block.bullet,
            leads=block.leads,
            joint=block.joint,
            barred=block.barred,
            opens=not order or not body[body.rfind("\n", 0, start) + 1 : start].strip(),
            whole=(block.whole or order < len(places) - 1) and not (block.begun and order == 0),
        )


def _is_run_in_title(line: str) -> bool:
    """Whether a paragraph's first "sentence" is its title, such as "Night arrivals"."""
    return (
        line.endswith(".")
        and len(line.split()) <= 5
        and not _FINITE.search(line)
        and line[0].isupper()
        and not set(line) & set(",:;")
    )


def _table_end(lines: list[_Line], at: int, header: str = "") -> int:
    """The first line after the table that starts at *at*; *at* itself where none does.

    A single line is one where *header*, which stands above the passage, has as many cells.
    """
    stop = at
    while (stop < len(lines) and len(cells(lines[stop].text)) > 1) or (
        stop > at and stop < len(lines) and _is_ruler(lines[stop])
    ):
        stop += 1
    rows = [line for line in lines[at:stop] if not _is_ruler(line)]
    if rows and header and all(len(cells(line.text)) == len(cells(header)) > 1 for line in rows):
        return stop
    if len(rows) < 2:
        return at
    widths = [len(cells(line.text)) for line in rows]
    width = max(set(widths), key=lambda size: (widths.count(size), size))
    if widths.count(width) * 3 < len(widths) * 2 or widths.count(width) < 2:
        return at
    even = [line for line in rows if len(cells(line.text)) == width]
    if "|" in rows[0].text or _aligned(even):
        return stop
    # Two lists may stand one under the other, each with its own columns.
    while len(even) > 2:
        even.pop()
        if _aligned(even):
            return lines.index(even[-1]) + 1
    return at


def _is_ruler(line: _Line) -> bool:
    return bool(line.bare) and bool(_RULE.match(line.text)) and set(line.bare) <= set("-=+|: ")


def _aligned(rows: list[_Line]) -> bool:
    """Whether second cells begin or end in one column: double spaces in running prose do not."""
    starts, ends = [], []
    for row in rows:
        body = row.text.rstrip()
        gap = _GAP.search(body, len(body) - len(body.lstrip()))
        assert gap is not None
        starts.append(gap.end())
        after = _GAP.search(body, gap.end())
        ends.append(after.start() if after else len(body))
    share = max(*(starts.count(column) for column in starts), *(ends.count(column) for column in ends)) / len(rows)
    return share > 0.7 or any("\t" in row.text for row in rows)


def _table(lines: list[_Line], section: str, header: str, *, cut: bool) -> Table:
    """The table in *lines*. Where the passage ends in it, its last row may lack the end of its last cell."""
    if cut and len(lines) > 1 and len(lines[-1].bare) < min(len(line.bare) for line in lines[:-1]):
        lines = lines[:-1]
    ruled = len(lines) > 1 and _is_ruler(lines[1])
    rows = [
        Row(cells=cells(line.text), start=line.start + len(line.text) - len(line.text.lstrip()), end=line.end)
        for line in lines
        if not _is_ruler(line)
    ]
    widths = [len(row.cells) for row in rows]
    width = max(set(widths), key=lambda size: (widths.count(size), size))
    even = [row for row in rows if len(row.cells) == width]
    if rows[0].cells == even[0].cells and (ruled or _is_header(even)):
        return Table(
            section=section, header=even[0].cells, header_span=(even[0].start, even[0].end), rows=tuple(even[1:])
        )
    if len(cells(header)) == width > 1:
        return Table(section=section, header=cells(header), header_span=None, rows=tuple(even))
    return Table(section=section, header=(), header_span=None, rows=tuple(even))


def _is_header(rows: list[Row]) -> bool:
    """Whether the first row names the columns: some column holds numbers below it and not in it."""
    head, body = rows[0], rows[1:]
    if not body:
        return False
    numbered = sum(bool(re.search(r"\d", row.cells[0])) for row in body) * 2 > len(body)
    if numbered and not re.search(r"\d", head.cells[0]):
        return True
    if any(cell[:1].isdigit() for cell in head.cells if cell):
        return False
    for column, name in enumerate(head.cells):
        numbers = sum(bool(re.search(r"\d", row.cells[column])) for row in body)
        begins = sum(row.cells[column][:1].isdigit() for row in body)
        if begins * 2 > len(body) or (numbers * 3 > len(body) * 2 and not re.search(r"\d", name)):
            return True
    return False


def paragraphs(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    """Units grouped by the paragraph, bullet or clause they stand in."""
    for _, group in itertools.groupby(units, key=lambda unit: unit.block):
        yield list(group)
