"""Headings in plain text and Markdown, and which of them open a section.

A heading is a line that looks like one and stands where one stands: ``# Title``, an underlined title, ``SECTION 4.
TITLE``, ``Clause 7. Owners``, ``APPENDIX A``, ``3. PURPOSE``, ``4.1 Initial settings``, a line in capitals. A list item,
a numbered paragraph, a table row, a line of a table of contents or a wrapped sentence that begins with "Section 4" is
none. Which kinds of heading are above which is decided once per document, by an `Outline`.

Offsets are into the text that a `Scanner` is given plus its base; everything is decided by a line and its near
surroundings, so that a text can be read through a window.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import attrs

LOOK_AHEAD = 1000
"""Characters that must be there after a line before it can be said whether it is a heading."""

LOOK_BEHIND = 600
"""Characters that are looked at before a line."""

MAX_TITLE = 90
MAX_WORDS = 14

# Kinds. Lower is further up, where the outline does not say otherwise. 0 to 6 are those of markup.
_MARKUP = range(7)
_KEYWORD = 11
_APPENDIX = 14
_CAPITALS = 15
_NUMBERED = 20

_KEYWORDS = {
    11: "part book volume partie parte teil",
    12: "chapter chapitre capítulo capitolo kapitel module unit 章",
    13: "section sección sezione abschnitt 节 節",
    _APPENDIX: "appendix annex annexe anexo anhang anlage allegato schedule exhibit attachment addendum",
    16: "article artículo articolo artikel 条 條",
    17: "clause cláusula klausel rule regulation",
}
_KIND_OF = {word: kind for kind, words in _KEYWORDS.items() for word in words.split()}
_COUNT = "ONE|TWO|THREE|FOUR|FIVE|SIX|SEVEN|EIGHT|NINE|TEN|One|Two|Three|Four|Five|Six|Seven|Eight|Nine|Ten"

# One pass over the lines; the look-ahead turns most of them away at their first character.
_LINE = re.compile(
    rf"""
    \n(?=[\#`~=^*"“A-Z0-9-]|[^\x00-\x7f]|[ \t]+[A-Z]{{2}})[ \t]*
    (?:
      (?P<fence>```|~~~(?!~))
    | (?P<hashes>\#{{1,6}})[ \t]+(?P<marked>[^\s][^\n]*)
    | (?P<rule>[=~^*-]{{3,}})[ \t]*(?=\n|\Z)
    | (?<=\n)(?P<number>(?:[A-Z]\.)?\d{{1,3}}(?:\.\d{{1,3}}){{0,5}}\.?|[IVX]{{1,6}}\.|[A-Z]\.)
      [ \t]+(?P<numbered>["“«]?[^\W\d_][^\n]*)
    | (?:(?P<word>[A-ZÀ-Þ][A-Za-zÀ-ÿ]{{3,10}})[ \t]+(?P<label>\d{{1,4}}(?:\.\d{{1,3}}){{0,3}}|[IVXLC]{{1,7}}|[A-Z]|{_COUNT})\b
        |第(?P<count>[〇一二三四五六七八九十百千\d]{{1,6}})(?P<unit>[章节節条條]))
      (?:[ \t]*[.:)—–-]{{0,2}}(?:[ \t]+(?P<named>[^\s][^\n]*))?)?[ \t]*(?=\n|\Z)
    | (?P<capitals>[A-Z\x80-\uffff][^\na-z]{{3,{MAX_TITLE}}})(?=\n|\Z)
    )""",
    re.VERBOSE,
)
_NEXT_LINE = re.compile(rf"[ \t]*\n(?P<space>\s{{0,{LOOK_AHEAD // 2}}})(?P<line>\S[^\n]{{0,200}})")
# The look-behinds repeat the first character, so that the search runs from one such character to the next.
_CONTENTS_LINE = re.compile(r"[.…](?:(?<=\.)(?:\.{2,}| \. )|(?<=…))\s*\d*\s*$")
_NOT_A_TITLE = re.compile(r"[ \t|.,;!?](?:(?<=\S ) |(?<=\S\t)|(?<=\S\|)|(?<=\S \|)|(?<=[.!?])\s+\S|(?<=[.,;!?])$)")
_RULE = re.compile(r"[=~^*-]{3,}\s*$")
_LONG_WORD = re.compile(r"[^\W\d_]{3}")
_ADMONITION = re.compile(
    r"\W*(?:WARNING|CAUTION|DANGER|NOTE|NOTES|NOTICE|IMPORTANT|ATTENTION|TIP|HINT|EXAMPLE|REMARK)\b[\W\d]*$"
)
_ITEM = re.compile(r"(?:[-*+•–—‣▪◦·]|\(?\w{1,4}[.)])\s")


class Heading(NamedTuple):
    """A heading: where it is (``end`` without its newline), what it says, and what kind it is."""

    start: int
    end: int
    title: str
    kind: int
    number: str
    body: int
    """Where the next line that is not blank begins."""

    # An empty title is that of a numbered paragraph: "4.4 No ship ..." is no heading, but "4.3 Tugs" ends before it.


class Scanner:
    """Finds headings in a text that comes window by window."""

    def __init__(self) -> None:
        self._fenced = False
        self._last_end = -1

    def scan(self, text: str, base: int, begin: int, stop: int) -> list[Heading]:
        """The headings whose line begins in ``text[begin:stop]``; ``text[0]`` has offset *base*.

        Every line is seen after a newline, so a text must be given with one in front. Up to `LOOK_BEHIND` characters
        before *begin* and `LOOK_AHEAD` after *stop* are looked at.
        """
        found: list[Heading] = []
        for match in _LINE.finditer(text, max(0, begin - 1), min(len(text), stop + LOOK_AHEAD)):
            newline = match.start()
            if newline + 1 >= stop:
                break
            group = match.lastgroup
            if group == "fence":
                self._fenced = not self._fenced
                continue
            if self._fenced:
                continue
            if group == "rule":
                heading = _underlined(text, base, match)
            elif group == "marked":
                heading = _marked(text, base, match)
            else:
                heading = _plain(text, base, match, after_heading=newline + base == self._last_end)
            if heading:
                found.append(heading)
                self._last_end = heading.end
        return found


def _marked(text: str, base: int, match: re.Match[str]) -> Heading:
    title = match["marked"].rstrip()
    title = (title.rstrip("#").rstrip() or title)[:MAX_TITLE]
    after = _NEXT_LINE.match(text, match.end())
    body = after.start("line") if after else match.end()
    return Heading(match.start("hashes") + base, match.end() + base, title, len(match["hashes"]), "", body + base)


def _plain(text: str, base: int, match: re.Match[str], *, after_heading: bool) -> Heading | None:
    """The heading that *match* is, if it is one and stands where one stands."""
    kind, number, title = _kind(match)
    if kind < 0:
        return None
    newline, end = match.span()
    if not after_heading:
        before = text[newline - 1 : newline]
        if before in (" ", "\t"):
            before = text[max(0, newline - 80) : newline].rstrip(" \t")[-1:]
        # It stands free, or after the end of a sentence.
        if before not in ("", "\n") and (kind == _CAPITALS or before not in ".!?:;"):
            return None
    start = newline + 1
    while text[start] in " \t":
        start += 1
    line = text[start:end].rstrip()
    if _is_title(kind, number, title) and (line[-1].isalpha() or not _CONTENTS_LINE.search(line)):
        after = _NEXT_LINE.match(text, end)
        # A heading has something under it.
        if after and ("\n" in after[1] or _ends_on_purpose(line, after, kind, capitals=title.isupper())):
            start += base
            return Heading(start, start + len(line), line.rstrip(" .:"), kind, number, after.start(2) + base)
    return Heading(start + base, start + base, "", kind, number, start + base) if kind > _NUMBERED else None


def _kind(match: re.Match[str]) -> tuple[int, str, str]:
    """Kind, number and bare title of a line; a kind below zero if the line is no heading."""
    if match.lastgroup == "numbered":
        number, title = match.group("number", "numbered")
        number = number.rstrip(".")
        if number.isalpha():
            return _NUMBERED + (len(number) == 1 and number not in "IVX"), number, title.strip()
        return _NUMBERED + number.count("."), number, title.strip()
    if match.lastgroup == "capitals":
        title = match["capitals"].strip()
        return _CAPITALS if title.isupper() else -1, "", title
    word, label, count, unit, title = match.group("word", "label", "count", "unit", "named")
    kind = _KIND_OF.get((word or unit).lower(), -1)
    number = label or count
    depth = number.count(".")
    # "Section 1.01" is below "ARTICLE I", whatever the words.
    return _NUMBERED + depth if depth and kind >= 0 else kind, number, (title or "").strip()


def _is_title(kind: int, number: str, title: str) -> bool:
    """Whether the words of a heading of this kind may be *title*."""
    if len(title) > MAX_TITLE or title.count(" ") >= MAX_WORDS:
        return False
    if not title:
        return True  # "APPENDIX A" alone
    if title[0].islower():
        return False
    # Most titles are letters and single spaces, which need no search.
    plain = title.replace(" ", "").isalnum() and "  " not in title
    if not plain and _NOT_A_TITLE.search(title[:-1] if kind < _CAPITALS or kind in (16, 17) else title):
        return False
    if title[-1] == ":" and not title.isupper():
        return False
    if number.isalpha() and kind >= _NUMBERED:
        return title.isupper() and len(title) > 3
    if kind == _CAPITALS:
        return bool(_LONG_WORD.search(title)) and not _ADMONITION.match(title) and not _ITEM.match(title)
    return True


def _ends_on_purpose(line: str, after: re.Match[str], kind: int, *, capitals: bool) -> bool:
    """Whether *line* was ended before a text that follows without a blank line, and not just wrapped.

    It was wrapped when the next word would not have fitted any more.
    """
    following = after["line"]
    if following[0].islower() or (kind >= _NUMBERED and after["space"]) or _RULE.match(following):
        return False  # the sentence goes on, or an indented list item does, or it is an underlined title
    fits = len(line) + 1 + len(following.split(None, 1)[0]) <= max(60, len(following))
    if kind == _CAPITALS:
        return fits and len(following) >= 40 and not following.isupper()
    return fits or capitals


def _underlined(text: str, base: int, match: re.Match[str]) -> Heading | None:
    """The title above a line of ``===`` or ``---`` (Markdown, reStructuredText), if there is one."""
    newline = match.start()
    start = text.rfind("\n", max(0, newline - LOOK_BEHIND), newline) + 1
    title = text[start:newline].rstrip()
    above = text[text.rfind("\n", max(0, start - 1 - LOOK_BEHIND), max(0, start - 1)) + 1 : max(0, start - 1)].strip()
    rule = match["rule"]
    overlined = above and not above.strip(rule[0])
    if (
        not title
        or title[0].isspace()
        or len(title) > MAX_TITLE
        or (above and not overlined)
        or "  " in title
        or len(rule) < len(title) // 2
        or not _LONG_WORD.search(title)
        or (rule[0] == "-" and _ITEM.match(title) and not title[0].isdigit())
    ):
        return None
    after = _NEXT_LINE.match(text, match.end())
    body = after.start("line") if after else match.end()
    if overlined:
        start -= 1 + len(above)
    return Heading(start + base, match.end() + base, title, "*=-~^".index(rule[0]), "", body + base)


@attrs.frozen
class Outline:
    """Which kinds are headings in a document, and how they nest: a section begins at every level up to ``top``."""

    levels: dict[int, int]
    top: int


class Confirmed:
    """Passes headings on, without those that are none in their document after all.

    One that is at once followed by one of its own level or above is a line of a table of contents, of a list, or of a
    title page (Markdown's are explicit, and kept).
    """

    def __init__(self, outline: Outline) -> None:
        self._levels = outline.levels
        self.pending: Heading | None = None
        """A heading of which this cannot be said yet."""
        self._items = 0
        """How many items of what is a list from the second on; two are enough where nothing lies between them."""

    def feed(self, headings: Iterable[Heading], seen: int) -> list[Heading]:
        """Those that are headings among the pending one and *headings*.

        The last stays pending if what follows it, from offset *seen* on, has not been looked at.
        """
        confirmed = []
        levels, pending, items = self._levels, self.pending, self._items
        for heading in headings:
            level = levels.get(heading.kind)
            if level is None:
                continue
            followed = (
                pending is not None
                and pending.body == heading.start
                and pending.title != ""
                and pending.kind not in _MARKUP
                and level <= levels[pending.kind]
            )
            if pending and not followed and items < 2:
                confirmed.append(pending)
            # The last item of a list is not followed by another one, but it goes on with the list.
            if pending and followed and _is_next(pending, heading):
                items = 2 if pending.end + 1 == heading.start else items + 1
            else:
                items = 0
            pending = heading
        if pending and pending.body < seen:
            if items < 2:
                confirmed.append(pending)
            pending, items = None, 0
        self.pending, self._items = pending, items
        return confirmed


def _is_next(heading: Heading, other: Heading) -> bool:
    """Whether *other* has the number after that of *heading*."""
    series, _, last = heading.number.rpartition(".")
    other_series, _, next_ = other.number.rpartition(".")
    return series == other_series and last.isdecimal() and next_.isdecimal() and int(next_) == int(last) + 1


class Survey:
    """Counts the headings of a document, to say what its outline is."""

    def __init__(self) -> None:
        self._order: dict[int, int] = {}
        self._counts: Counter[int] = Counter()
        self._first_again = 0
        self._confirmed = Confirmed(Outline({kind: kind for kind in range(40)}, 0))

    def add(self, headings: Iterable[Heading], seen: int) -> None:
        """Count some more headings of the document, in order; *seen* as for `Confirmed.feed`."""
        for heading in self._confirmed.feed(headings, seen):
            if heading.title:
                self._order.setdefault(heading.kind, len(self._order))
                self._counts[heading.kind] += 1
                self._first_again += heading.kind == _NUMBERED and heading.number in ("1", "I")

    def outline(self) -> Outline:
        """The outline of the document that has been counted."""
        kinds = set(self._counts)
        if sum(self._counts[kind] for kind in _MARKUP) > 1:
            kinds &= set(_MARKUP)  # where headings are marked, "1. ..." is a list item
        nested = sorted(kinds - {_APPENDIX, _CAPITALS}, key=self._place)
        levels = {kind: 2 * place for place, kind in enumerate(nested)}
        titles = 0
        while titles + 1 < len(nested) and self._counts[nested[titles]] == 1:
            titles += 1  # one heading above all others is the document's title
        top = 2 * titles
        if _CAPITALS in kinds:
            above = len(nested) > titles and nested[titles] >= _NUMBERED and self._first_again > 1
            # Capitals above numbers that begin again each time are a level above; else they stand beside.
            levels[_CAPITALS] = top = top - 1 if above else top
        if _APPENDIX in kinds:
            levels[_APPENDIX] = top
        return Outline(levels, top)

    def _place(self, kind: int) -> tuple[int, int]:
        # "Chapter", "Section", "Article" nest differently from country to country: the one that comes first is above.
        return (_KEYWORD, self._order[kind]) if _KEYWORD <= kind < _NUMBERED else (kind, 0)
