"""What must stand above a passage that begins inside a list or a table: its lead-in, its caption and header row.

The third bullet under "Do not:" says the opposite of what is meant when it is read without its "Do not:".
"""

import re

LOOK_BEHIND = 3000
"""How many characters before a passage are searched for the beginning of its list or table."""

MAX_LEAD = 300
MAX_ROW = 200
MAX_DEPTH = 3

_ITEM = re.compile(r"(?:[-*+•–—‣▪◦·]|\(?\w{1,4}[.)]|\d+(?:\.\d+)+)[ \t]")
_ITEM_ABOVE = re.compile(r"\n[ \t]*(?:[-*+•–—‣▪◦·]|\(?\w{1,4}[.)]|\d+(?:\.\d+)+)[ \t]|:[ \t]*\n")
_COLUMNS = re.compile(r"[^\s.!?:;](?: {2,}|\t+)\S|\S[ \t]*\|[ \t]*\S|^\|")
_PIPE_RULE = re.compile(r"[\s|:+-]+$")
_SENTENCE = re.compile(r"(?<=[.!?。！？])[\"')\]”’]*\s+")


def lead_in(text: str, floor: int, begin: int) -> str:
    """What a reader must know of the list or table that ``text[begin:]`` begins in; "" if it begins in none.

    Nothing before *floor* (the end of the last heading) is looked at. At most some hundred characters.
    """
    floor = max(floor, begin - LOOK_BEHIND)
    line = max(floor, text.rfind("\n", floor, begin) + 1)
    paragraph = max(floor, text.rfind("\n\n", floor, begin) + 1)
    first = text[line : line + 80].lstrip(" \t")
    if (
        text[line : line + 1] not in (" ", "\t", "|")
        and not _ITEM.match(first)
        and not _COLUMNS.search(first)
        and not _ITEM_ABOVE.search(text, max(floor, paragraph - 1), begin)
        and not text[max(floor, paragraph - 4) : paragraph].rstrip().endswith(":")
    ):
        return ""  # plain prose, as most passages
    newline = text.find("\n", begin, begin + 400)
    lines = text[floor : newline if newline >= 0 else begin + 400].split("\n")
    return _of_table(lines) if _in_table(lines) else _of_list(lines)


def _in_table(lines: list[str]) -> bool:
    if not _COLUMNS.search(lines[-1].strip()):
        return False
    top = _top(lines, len(lines) - 1)
    return (top < len(lines) - 1 and bool(_COLUMNS.search(lines[top].strip()))) or lines[-1][:1] in (" ", "\t", "|")


def _of_table(lines: list[str]) -> str:
    last = len(lines) - 1
    top = _top(lines, last)
    found = []
    above = _up_over_blank(lines, top - 1)
    if above >= 0:
        found.append(_end_of_paragraph(lines, above))
    if top < last and not _PIPE_RULE.match(lines[top]):
        found.append(lines[top].strip()[:MAX_ROW])
    return "\n".join(line for line in found if line)


def _of_list(lines: list[str]) -> str:
    here = _item_of(lines, len(lines) - 1)
    if here is None:
        return _of_plain_lines(lines)
    column = _indent(lines[here])
    found: list[str] = []
    place = here - 1
    below_blank = False
    while place >= 0 and len(found) < MAX_DEPTH:
        line = lines[place]
        if not line.strip():
            below_blank = True
        elif _ITEM.match(line.lstrip()):
            if _indent(line) < column:
                column = _indent(line)
                found.append(_end_of_paragraph(lines, place, item=True))
            below_blank = False
        elif _indent(line) <= column and (owner := _item_of(lines, place)) is None:
            # The paragraph above the list: its lead-in, if it says so or nothing lies between.
            if line.rstrip().endswith(":") or not below_blank:
                found.append(_end_of_paragraph(lines, place))
            break
        elif _indent(line) <= column and owner is not None:
            place = owner + 1
            below_blank = False
        place -= 1
    return "\n".join(reversed(found))


def _of_plain_lines(lines: list[str]) -> str:
    """The lead-in of lines without bullets: above them in their paragraph, or the end of the paragraph before."""
    last = len(lines) - 1
    top = _top(lines, last)
    for place in range(last - 1, top - 1, -1):
        if lines[place].rstrip().endswith(":"):
            return _end_of_paragraph(lines, place)
    above = _up_over_blank(lines, top - 1)
    if above >= 0 and lines[above].rstrip().endswith(":"):
        return _end_of_paragraph(lines, above)
    return ""


def _item_of(lines: list[str], place: int) -> int | None:
    """The line of the list item that line *place* belongs to, if it belongs to one."""
    column = _indent(lines[place])
    line = lines[place]
    while True:
        if _ITEM.match(line.lstrip()) and (_indent(line) <= column):
            return place
        if place == 0:
            return None
        above = lines[place - 1]
        if not above.strip():
            # A paragraph of its own inside an item is indented.
            if not _indent(line) or (place := _up_over_blank(lines, place - 1)) < 0:
                return None
            above = lines[place]
            if _indent(above) >= _indent(line) and not _ITEM.match(above.lstrip()):
                return None
        else:
            place -= 1
            # An unindented line goes on with an item only if that had not ended.
            if not _indent(line) and above.rstrip()[-1] in ".!?:;":
                return None
        line = above
        column = max(column, _indent(line)) if not _ITEM.match(line.lstrip()) else column


def _top(lines: list[str], place: int) -> int:
    """The first line of the block without blank lines that *place* is in."""
    while place > 0 and lines[place - 1].strip():
        place -= 1
    return place


def _up_over_blank(lines: list[str], place: int) -> int:
    """The next line at or above *place* that is not blank, at most three lines up; -1 if there is none."""
    for up in range(place, max(-1, place - 3), -1):
        if lines[up].strip():
            return up
    return -1


def _end_of_paragraph(lines: list[str], place: int, *, item: bool = False) -> str:
    """The sentence that ends with line *place*, or the last words of it; of an item, all up to the next one."""
    top = place
    while top > 0 and lines[top - 1].strip() and not (_ITEM.match(lines[top].lstrip()) or item):
        top -= 1
    bottom = place + 1
    if item:
        while bottom < len(lines) and lines[bottom].strip() and not _ITEM.match(lines[bottom].lstrip()):
            bottom += 1
    said = " ".join(" ".join(lines[top:bottom]).split())
    sentences = _SENTENCE.split(said)
    short = sentences.pop()
    while sentences and len(sentences[-1]) + len(short) < MAX_ROW and not short.endswith(":"):
        short = said[said.rindex(sentences.pop()) :]
    if len(short) > MAX_LEAD:
        short = "… " + short[-MAX_LEAD:].split(" ", 1)[-1]
    return short


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
