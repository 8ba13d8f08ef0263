"""What must stand above a passage that begins inside a list or a table: its lead-in, its caption and header row.

The third bullet under "Do not:" says the opposite of what is meant when it is read without its "Do not:".
"""

import functools
import re

LOOK_BEHIND = 20_000
MAX_LINES = 300
"""How many characters and lines before a passage are searched for the beginning of its list or table."""

MAX_LEAD = 300
MAX_ROW = 200
MAX_TITLE = 80
MAX_DEPTH = 3
MAX_PARAGRAPHS = 2
"""How many paragraphs further down than its bullet a list item is followed."""

_NEAR = 2000
_BULLET = r"[-*+•–—‣▪◦·]|\(?[0-9A-Za-z]{1,4}+(?:[ivxIVX]{1,3}+(?<=[ivxIVX]{5}))?+[.)]|[0-9]++(?:\.[0-9]+)+"
_BULLET_ABOVE = re.compile(rf"\n[ \t]*+(?:{_BULLET})[ \t]")
_LABEL_BEGINS = frozenset("(0123456789ivxIVX")
_LABEL = re.compile(
    r"(?:\((?:[0-9]{1,4}|[0-9]{1,3}[A-Za-z]|[A-Za-z][0-9]{0,3}|([a-z])\1|([A-Z])\2|[ivx]{2,7}|[IVX]{2,7})[.)]"
    r"|(?:[0-9]{1,4}|[0-9]{1,3}[A-Za-z]|[ivx]{3,7}|[IVX]{3,7})[.)]"
    r"|[0-9]++(?:\.[0-9]+)+)[ \t]"
)
_LINE = re.compile(rf"\A([ \t]*+)((?:{_BULLET})[ \t])?(.*+)")
_NUMBERED = re.compile(r"[0-9]+\.[0-9]")
# Written so that the search runs from one blank or bar to the next.
_COLUMNS = re.compile(r"[ \t|](?:(?<= )(?<![\s.!?:;] ) +(?=\S)|(?<=\t)(?<![\s.!?:;]\t)\t*(?=\S)|(?<=\|)[ \t]*(?=\S))")
_RULE = re.compile(r"[\s|:+=-]+$")
_SENTENCE = re.compile(r"[.!?。！？]([\"')\]”’]*\s+)")
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_EMPHASIS = "*_ \t"
_COLON_AT_END = re.compile(r":[*_]* ?\n")
_COUNTED = (("1", re.compile("[0-9]+")), ("a", re.compile("[a-z]+")), ("A", re.compile("[A-Z]+")))


def lead_in(text: str, floor: int, begin: int) -> str:
    """What a reader must know of the list or table that ``text[begin:]`` begins in; "" if it begins in none.

    Nothing before *floor* (the end of the last heading) is looked at. The answer has some hundred characters at most.
    """
    if begin <= floor:
        return ""  # it begins with its heading
    # Most passages are plain prose, and this must not cost them more than a glance.
    near = max(floor, begin - _NEAR)
    line = text.rfind("\n", near, begin) + 1 or near
    alone = text[line - 2 : line] == "\n\n"
    paragraph = line - 1 if alone else text.rfind("\n\n", near, begin) + 1 or near
    before = paragraph - 3 if paragraph > 3 else 0
    if before > 2 and text[before] in "*_":
        before -= 3  # the colon of "**Do not:**"
    above = text[before:line]
    colon = ":" in above and _COLON_AT_END.search(above) is not None
    bullet = _BULLET_ABOVE.search(text, paragraph, begin + 4) is not None
    if not bullet and text[begin] in _LABEL_BEGINS and _LABEL.match(text, begin) is not None:
        # It begins with a longer one: "(viii) ", "10.2.1 ", but not the "file. " that ends a sentence.
        bullet = not text[line:begin].strip()
    if not bullet and text[line] in " \t":
        # Indented, it may be a further paragraph of a list item.
        item = text.rfind("\n\n", near, max(near, text.rfind("\n\n", near, max(near, paragraph - 1))))
        bullet = _BULLET_ABOVE.search(text, max(near, item), paragraph) is not None
    newline = text.find("\n", begin, begin + 80)
    shown = text[line : newline if newline >= 0 else begin + 80].strip()
    tabular = ("  " in shown or "\t" in shown or "|" in shown) and _COLUMNS.search(shown) is not None
    if not (colon or bullet or tabular):
        return ""
    floor = max(floor, begin - LOOK_BEHIND)
    if tabular and (table := _of_table(text, floor, line, shown)) is not None:
        return table
    newline = text.find("\n", begin, begin + 400)
    lines = _Lines(text, floor, line, newline if newline >= 0 else begin + 400)
    here = _item_of(lines) if bullet else None
    if here is not None:
        return _of_list(lines, here)
    return _of_plain_lines(lines) if colon else ""


_Line = tuple[str, str, str]
"""Its indent; its bullet with the space after it, or "" where no list item begins; the rest. A blank one has no rest."""


class _Lines:
    """The lines from a place upwards: 0 is the line of the place, 1 the one above it, and so on."""

    def __init__(self, text: str, floor: int, start: int, end: int) -> None:
        self._text = text
        self._floor = floor
        self._start = start
        self._step = 500
        self._raw = [text[start:end]]
        self._known: list[_Line | None] = [None]

    def get(self, up: int) -> _Line | None:
        """Line *up*; None above the highest."""
        if up >= len(self._raw) and (up > MAX_LINES or not self._read_on()):
            return None
        line = self._known[up]
        if line is None:
            (line,) = _LINE.findall(self._raw[up])
            self._known[up] = line
        return line

    def past(self, up: int, mark: str) -> int:
        """The first line from *up* upwards that is not an item marked with *mark*, as far as lines are at hand."""
        raw = self._raw
        while up < len(raw) and raw[up].startswith(mark) and raw[up] != mark:
            up += 1
        return up

    def out_of(self, up: int, indent: str) -> int:
        """The first line from *up* upwards that is neither blank nor indented by *indent*, as far as lines are at hand."""
        raw = self._raw
        while up < len(raw) and (not raw[up] or raw[up].startswith(indent)):
            up += 1
        return up

    def _read_on(self) -> bool:
        end = self._start - 1
        if end <= self._floor:
            return False
        begin = max(self._floor, end - self._step)
        if begin > self._floor:
            begin = self._text.rfind("\n", self._floor, begin) + 1 or self._floor
        self._raw += reversed(self._text[begin:end].split("\n"))
        self._known += [None] * (len(self._raw) - len(self._known))
        self._start = begin
        self._step *= 2
        return True

    def joined(self, top: int, bottom: int) -> str:
        """The lines from *top* down to *bottom*, which `get` has given before, in one."""
        return " ".join(self._raw[bottom : top + 1][::-1])

    def over_blank(self, up: int) -> int | None:
        """The next line at or above *up* that is not blank, at most three lines up."""
        for place in range(up, up + 3):
            if (line := self.get(place)) and line[2]:
                return place
        return None


def _of_table(text: str, floor: int, line: int, shown: str) -> str | None:
    """Caption and header row of the table that the line at *line*, which says *shown*, is in; None if it is in none."""
    top = text.rfind("\n\n", floor, line) + 2 if line - floor > 1 else line
    top = max(top, floor) if top > 1 else floor
    while text[top] == "\n":
        top += 1
    rows = text[top : max(top, line - 1)].split("\n", 3)
    if not (text[line] in " \t" or shown[0] == "|" or _COLUMNS.search(rows[0])):
        return None
    # The header row may be between two rules.
    header = next((row.strip()[:MAX_ROW] for row in rows if row.strip() and not _RULE.match(row)), "")
    lines = _Lines(text, floor, top, top)
    above = lines.over_blank(1)
    caption = _sentence_at(lines, above) if above is not None else ""
    return "\n".join(line for line in (caption, header) if line)


def _of_list(lines: _Lines, here: int) -> str:
    """The lead-ins of the list whose item begins on line *here*, the outermost first."""
    way = _WayOut(lines, here)
    up: int | None = lines.past(here + 1, way.mark)
    below_blank = False
    while up is not None and (line := lines.get(up)) and len(way.found) < MAX_DEPTH:
        indent, bullet, rest = line
        if not rest:
            below_blank = True
        elif bullet:
            if len(indent) < way.column or (len(indent) == way.column and _kind(bullet) != way.kind):
                way.item(up, line)
            below_blank = False
        elif not indent and _ends_in_colon(rest) and not rest[0].islower():
            way.found.append(_sentence_at(lines, up))
            break
        elif len(indent) < way.column or (len(indent) == way.column and not way.inside):
            up = way.paragraph(up, line, below_blank=below_blank)
            if up is None:
                break
            below_blank = False
        # Most lines are further items of the same list, and need no closer look.
        above = lines.past(up + 1, way.mark) if not way.inside else lines.out_of(up + 1, way.mark)
        below_blank = below_blank and above == up + 1
        up = above
    return "\n".join(reversed(way.found))


class _WayOut:
    """The way from a list item up and outwards: which list it has come to, and the lead-ins found so far."""

    __slots__ = ("_first", "_lines", "column", "found", "inside", "kind", "mark")

    def __init__(self, lines: _Lines, here: int) -> None:
        indent, bullet, _ = lines.get(here) or ("", "", "")
        self._lines = lines
        self._first = bullet
        self.found: list[str] = []
        # Where the items of the list stand, how they are marked, and what the line of one begins with.
        self.column, self.kind, self.mark = len(indent), _kind(bullet), indent + bullet
        # Whether a paragraph at this column leads in: its own lead-in stands further out.
        self.inside = False

    def _enter(self, item: _Line) -> None:
        """Go on in the list of *item*."""
        indent, bullet, _ = item
        self.column, self.kind, self.mark = len(indent), _kind(bullet), indent + bullet
        self.inside = False

    def item(self, up: int, line: _Line) -> None:
        """Look at the item on line *up*, which stands further out than the list or is marked otherwise."""
        further_out = len(line[0]) < self.column
        if self.inside:
            if further_out:
                self.found.append(_opening_at(self._lines, up))
                self._enter(line)
            return
        # In contracts "5.1 The Borrower shall not:" stands no further out than its "(a)".
        said = _item_at(self._lines, up)
        if further_out or _introduces(said):
            self.found.append(said)
            self._enter(line)

    def paragraph(self, up: int, line: _Line, *, below_blank: bool) -> int | None:
        """Look at line *up*, which has no bullet; the line above which to go on, None where the lists end."""
        rest = line[2]
        if _ends_in_colon(rest):
            return self._lead_in(up, line)
        if (below_blank or not rest[0].islower()) and _is_ban_by_itself(rest, self._lines, up):
            self.found.append(" ".join(rest.split()))
            return None
        owner = _item_above(self._lines, up)
        if owner is not None:
            return owner - 1
        # Without a colon, the paragraph above is a lead-in only if nothing lies between. "4.2 " may stand by itself.
        if not (below_blank or self.inside or _NUMBERED.match(self._first)):
            self.found.append(_sentence_at(self._lines, up))
        return None

    def _lead_in(self, up: int, line: _Line) -> int | None:
        """Take the lead-in that ends with line *up*; what it is part of may have one as well, as "Pumps:" has here.

        Do not:
        - move:
          Pumps:
          - the lever
        """
        lines, indent = self._lines, line[0]
        owner = _item_above(lines, up)
        item = lines.get(owner) if owner is not None else None
        if owner is not None and item is not None and _goes_on(lines, item, up):
            said = _sentence_at(lines, up)
            opening = _opening_at(lines, owner)
            self.found += [said, opening] if _introduces(opening) and opening not in said else [said]
            self._enter(item)
            return owner
        if not indent:
            self.found.append(_sentence_at(lines, up))
            return None
        self.found.append(_sentence_at(lines, up) if owner is None else _end(lines.joined(owner - 1, up)))
        self.column, self.mark, self.inside = len(indent), indent, True
        return up


def _goes_on(lines: _Lines, item: _Line, up: int) -> bool:
    """Whether line *up* is still in *item*, the nearest above it in its block."""
    (indent, _, rest), outer = lines.get(up) or ("", "", ""), item[0]
    if len(indent) > len(outer):
        return True
    _, _, before = lines.get(up + 1) or ("", "", "")
    wrapped = rest[:1].islower() and not before.rstrip().endswith((".", "!", "?", ";", ":"))
    return wrapped and len(indent) == len(outer)


@functools.lru_cache(1024)
def _kind(bullet: str) -> str:
    """How a list is marked: ``(a)`` for "(c) " and "(iv) ", ``1.`` for "12. ", ``1.1`` for "5.1.2 ", ``-`` for "- "."""
    kind = _NUMBERS.sub("1.1", bullet.strip())
    for one, letters in _COUNTED:
        kind = letters.sub(one, kind)
    return kind


def _ends_in_colon(line: str) -> bool:
    """Whether a line says by its colon that something follows, whatever its emphasis: "Do not:", "**Do not:**"."""
    line = line.rstrip()
    if not line.endswith(("*", "_")):
        return line.endswith(":")
    bare = line.rstrip("*_")
    marks = line[len(bare) :]
    # Neither "Passphrase: ****" nor "'super':*" is emphasised.
    return bare.endswith(":") and len(marks) <= 3 and (len(marks) > 1 or marks in bare)


def _introduces(item: str) -> bool:
    """Whether a list item leads in items of another kind at its own indent: "5.1 The Borrower shall not:", "2. Never"."""
    return _ends_in_colon(item) or _is_ban(item)


def _is_ban_by_itself(rest: str, lines: _Lines, up: int) -> bool:
    """Whether *rest*, on line *up*, is a ban and not the end of a sentence: "**Never**" between blank lines."""
    if not rest.lstrip(_EMPHASIS)[:1].isupper() and (above := lines.get(up + 1)) and above[2]:
        return False
    return _is_ban(rest)


@functools.lru_cache(1024)
def _is_ban(line: str) -> bool:
    """Whether a line is nothing but a ban, as the check of evidence sees it: "Do not", "**Prohibited**", "Never"."""
    if len(line) > MAX_TITLE:
        return False
    # Loaded when a short line without a colon stands above a list, and not with the chunker: it takes a tenth of a second.
    from text2expert.evidence.leads import is_bare_ban  # noqa: PLC0415

    return is_bare_ban(line)


def _of_plain_lines(lines: _Lines) -> str:
    """The lead-in of lines without bullets: above them in their paragraph, or the end of the paragraph before."""
    up = 1
    while (line := lines.get(up)) and line[2]:
        if _ends_in_colon(line[2]):
            return _sentence_at(lines, up)
        if line[1]:
            return ""  # what follows a list is not in it
        up += 1
    above = lines.over_blank(up)
    if above is None or not (line := lines.get(above)) or not _ends_in_colon(line[2]):
        return ""
    return _sentence_at(lines, above)


def _item_of(lines: _Lines) -> int | None:
    """The line with the bullet of the list item that the passage begins in, if it begins in one."""
    indent, bullet, _ = lines.get(0) or ("", "", "")
    if bullet:
        return 0
    column = len(indent)
    up = blanks = 0
    ended = False
    while line := lines.get(up := up + 1):
        indent, bullet, rest = line
        if not rest:
            blanks += 1
            if not column or blanks > MAX_PARAGRAPHS:
                return None
        elif len(indent) < column or not column:
            # A line that is not indented goes on with an item only if that had not ended.
            ended = ended or (not column and (rest.rstrip().endswith((".", "!", "?", ";")) or _ends_in_colon(rest)))
            if bullet:
                return None if ended else up
            if column:
                return None
    return None


def _item_above(lines: _Lines, up: int) -> int | None:
    """The nearest list item above line *up* in its block, which that line then goes on with."""
    while (line := lines.get(up := up + 1)) and line[2]:
        if line[1]:
            return up
    return None


def _item_at(lines: _Lines, up: int) -> str:
    """The list item that begins on line *up*, as far as the first line of the list in it."""
    bottom = up
    while bottom > 0 and (below := lines.get(bottom - 1)) and below[2] and not below[1]:
        bottom -= 1
    return _end(lines.joined(up, bottom))


def _opening_at(lines: _Lines, up: int) -> str:
    """The list item that begins on line *up*, as far as its first line that ends in a colon."""
    bottom = up
    while bottom > 0 and (line := lines.get(bottom)) and not _ends_in_colon(line[2]):
        below = lines.get(bottom - 1)
        if below is None or not below[2] or below[1]:
            break
        bottom -= 1
    return _end(lines.joined(up, bottom))


def _sentence_at(lines: _Lines, up: int) -> str:
    """The sentence that ends with line *up*."""
    top = up
    while (line := lines.get(top)) and not line[1] and (above := lines.get(top + 1)) and above[2] and top < up + 8:
        top += 1
    return _end(lines.joined(top, up))


def _end(said: str) -> str:
    """The last sentence of *said*; the ones before as well if all are short and it does not end with a colon."""
    said = " ".join(said.split())
    sentences, begin = [], 0
    for gap in _SENTENCE.finditer(said):
        sentences.append(said[begin : gap.start(1)])
        begin = gap.end()
    end = said[begin:]
    while sentences and len(sentences[-1]) + len(end) < MAX_ROW and not _ends_in_colon(end):
        end = said[said.rindex(sentences.pop()) :]
    return end if len(end) <= MAX_LEAD else "… " + end[-MAX_LEAD:].split(" ", 1)[-1]
