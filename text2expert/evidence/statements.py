"""A text as statements: sentences, bullets and table rows, as tokens, with what must be read along with each."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from text2expert.evidence.quantities import NUMBER_STARTS, Bound, Quantity, Unit, number_at, unit_of, with_shared_units
from text2expert.evidence.wording import FUNCTION, NEGATORS, concept, stem


class Token(NamedTuple):
    """A word, a number or a boundary (punctuation), in the order of the text."""

    text: str
    stem: str
    content: bool
    quantity: Quantity | None = None
    boundary: bool = False


class Figure(NamedTuple):
    """A number with the words that say what it numbers or counts."""

    quantity: Quantity
    label: str
    """The word before it: "section" of "Section 4.3", a column's header; empty where there is none."""
    noun: str
    """The word after it, where it has no unit: "nurse" of "two nurses"; empty where there is none."""


class Column(NamedTuple):
    """What a table's header says of the numbers below it."""

    label: str
    unit: Unit | None
    bound: Bound


class Statement(NamedTuple):
    """A sentence, a bullet, a table row or a heading."""

    start: int
    end: int
    tokens: tuple[Token, ...]
    stems: frozenset[str]
    """Its content words, as concepts."""
    figures: tuple[Figure, ...]
    lead: frozenset[str] = frozenset()
    """Content words of a list's lead-in, a table's header row and the heading above."""
    denied: bool = False
    """The lead-in says no: "Do not:"."""
    block: int = 0
    """Equal for the sentences of one paragraph or item."""
    heading: bool = False


_TOKEN = re.compile(
    r"[^\W\d_][^\W_]*(?:['’](?:s|t|re|ll|ve|d)\b)?|[;:.,()\u2014?!](?!\d)|(?<![\w.,])[-\u2212\u2013]?\.?\d|[\u00bd\u00bc\u00be\u2153\u2154]"
    r"|[;:.,()\u2013\u2014?!]"
)
_NAME = re.compile(r"[^\W_]+")  # "3D", where no number is


@lru_cache(maxsize=65536)
def _word(text: str) -> tuple[str, bool]:
    lower = text.lower().replace("’", "'")
    if lower.endswith("n't"):
        return "not", False
    base = lower.removesuffix("'s")
    if base in FUNCTION:
        return base, False
    return stem(base), not base.isdigit() or len(base) > 1


@lru_cache(maxsize=65536)
def _plain(text: str) -> Token | None:
    """The token of a word or a boundary; None where a number may start."""
    if text in _BOUNDARIES:
        return Token(text, text, content=False, boundary=True)
    if text[0].isalpha() and text.lower() not in NUMBER_STARTS:
        return Token(text, *_word(text))
    return None


def tokens(text: str) -> list[Token]:
    """The words, numbers and boundaries of *text*."""
    found: list[Token] = []
    numbers: list[Quantity] = []
    places: list[int] = []
    stop = 0
    for match in _TOKEN.finditer(text):
        start = match.start()
        if start < stop:
            continue
        word = match.group()
        token = _plain(word)
        if token is None:
            quantity = number_at(text, start, word)
            if quantity is not None:
                stop = quantity.stop
                numbers.append(quantity)
                places.append(len(found))
                token = Token(quantity.text, "#", content=False, quantity=quantity)
            else:
                if not word[0].isalpha() and (name := _NAME.match(text, start)):
                    word, stop = name.group(), name.end()
                token = Token(word, *_word(word))
        found.append(token)
    for place, quantity in zip(places, with_shared_units(text, numbers), strict=True):
        if quantity is not found[place].quantity:
            found[place] = found[place]._replace(quantity=quantity)
    return found


_BOUNDARIES = frozenset(";:.,()\u2013\u2014?!")


# --- statements -------------------------------------------------------------------------------------------------------

_ITEM = re.compile(
    r"[ \t]*(?:[-*\u2022\u2013\u2014\u25cf\u25aa]|[(]?(?:[a-z]|[ivx]{1,4}|\d{1,3})[.)]|\d+(?:\.\d+)+\.?)[ \t]+"
)
_ROW = re.compile(r"\S(?: {3,}|\t+)\S|\S {2,}\S.*\S {2,}\S|\|.*\|")
_CELL = re.compile(r"[^\s|](?:[^\t|\n ]| (?! ))*")
_HEADING = re.compile(r"[ \t]*(?:#+ .*|(?:\w+\.?\s)?[\dA-Z]+(?:\.\d+)*\.?\s+\S[^.;:]*|[^a-z]*[A-Z]{3}[^a-z]*)$")
_SENTENCE_END = re.compile(r"[.!?][\"\u201d')\]]*\s+(?=[\"\u201c'(\[]?[A-Z0-9])")
_ABBREVIATION = re.compile(
    r"\b(?:e\.g|i\.e|no|nos|dr|mr|mrs|ms|fig|approx|vs|sec|art|cf|st|para|max|min|resp|incl|ca|[A-Z])\.$", re.IGNORECASE
)
_HEADER_BOUND = re.compile(
    r"\b(?:(?P<low>within|max(?:imum)?|at most|up to|time limit)|(?P<high>min(?:imum)?|at least))\b", re.IGNORECASE
)
_IN_BRACKETS = re.compile(r"[(\[]([^)\]]{1,24})[)\]]")


def statements(text: str) -> tuple[Statement, ...]:
    """The statements of *text*: hard-wrapped lines joined, a list's lead-in and a table's header read with each of theirs."""
    found: list[Statement] = []
    heading: frozenset[str] = frozenset()
    lead: frozenset[str] = frozenset()
    denied = False
    header: list[Column] = []
    header_stems: frozenset[str] = frozenset()
    for block, (kind, start, end) in enumerate(_blocks(text)):
        if kind == "row":
            cells = _CELL.findall(text[start:end])
            made, own = _row(cells, header)
            words = content(made)
            found.append(Statement(start, end, made, words, own, header_stems | heading, block=block))
            if not header:
                header = [_column(cell) for cell in cells]
                header_stems = words
            continue
        header, header_stems = [], frozenset()
        if kind == "heading":
            made = tuple(tokens(text[start:end]))
            heading = content(made)
            lead, denied = frozenset(), False
            found.append(Statement(start, end, made, heading, figures(made), block=block, heading=True))
            continue
        if kind == "paragraph":
            lead, denied = frozenset(), False
        at = start
        for stop in (*_ends(text, start, end), end):
            made = tuple(tokens(text[at:stop]))
            if made:
                found.append(Statement(at, stop, made, content(made), figures(made), lead | heading, denied, block))
            at = stop
        if kind == "paragraph" and found and text[start:end].endswith(":"):
            lead = found[-1].stems
            denied = any(token.stem in NEGATORS for token in found[-1].tokens)
    return tuple(found)


def content(made: Sequence[Token]) -> frozenset[str]:
    """The content words of *made*, as concepts."""
    return frozenset(concept(token.stem) for token in made if token.content)


def figures(made: Sequence[Token]) -> tuple[Figure, ...]:
    """The numbers of *made* with their labels and nouns; a label holds for "5 or 6" as a whole."""
    found = []
    label = ""
    for i, token in enumerate(made):
        if token.quantity is None:
            if token.content or token.boundary:
                label = ""
            continue
        before = made[i - 1] if i else None
        if before is not None and before.text == "(" and _is_enumerator(made, i):
            continue
        if before is not None and before.content:
            label = concept(before.stem)
        after = made[i + 1] if i + 1 < len(made) and token.quantity.unit is None else None
        noun = concept(after.stem) if after is not None and after.content else ""
        found.append(Figure(token.quantity, label, noun))
    return tuple(found)


def _is_enumerator(made: Sequence[Token], i: int) -> bool:
    """The "(2)" that counts the parts of a paragraph."""
    first = i < 2 or made[i - 2].boundary
    return first and i + 1 < len(made) and made[i + 1].text == ")" and made[i].text.isdigit() and len(made[i].text) < 3


def _blocks(text: str) -> list[tuple[str, int, int]]:
    """Paragraphs, items, rows and headings as (kind, start, end)."""
    blocks: list[tuple[str, int, int]] = []
    at = 0
    going = False
    for line in text.splitlines(keepends=True):
        start, at = at, at + len(line)
        body = line.rstrip()
        if not body:
            going = False
            continue
        end = start + len(body)
        if _ROW.search(body.lstrip()):
            blocks.append(("row", start, end))
            going = False
        elif (
            len(body) < 90 and len(body.split()) <= 12 and body[-1] not in ".;,:" and not going and _HEADING.match(body)
        ):
            blocks.append(("heading", start, end))
            going = False
        elif _ITEM.match(body) and (not going or text[blocks[-1][2] - 1] in ".:;!?" or not body.lstrip()[0].isalnum()):
            blocks.append(("item", start, end))
            going = True
        elif going:
            kind, first, _ = blocks[-1]
            blocks[-1] = (kind, first, end)
        else:
            blocks.append(("paragraph", start, end))
            going = True
    return blocks


def _ends(text: str, start: int, end: int) -> list[int]:
    """Where the sentences of a block end, its last one aside."""
    return [
        match.end()
        for match in _SENTENCE_END.finditer(text, start, end)
        if not _ABBREVIATION.search(text, max(start, match.start() - 8), match.start() + 1)
    ]


def _column(cell: str) -> Column:
    unit = _IN_BRACKETS.search(cell)
    bound = _HEADER_BOUND.search(cell)
    return Column(
        next((concept(token.stem) for token in tokens(cell) if token.content), ""),
        unit_of(unit[1]) if unit else None,
        "" if bound is None else "low" if bound["low"] else "high",
    )


def _row(cells: list[str], header: list[Column]) -> tuple[tuple[Token, ...], tuple[Figure, ...]]:
    """A table row's tokens and figures; the header gives numbers the label, unit and bound that they lack."""
    made: list[Token] = []
    own: list[Figure] = []
    for i, cell in enumerate(cells):
        column = header[i] if len(header) == len(cells) else Column("", None, "")
        part = [_told_above(token, column) for token in tokens(cell)]
        own += [figure if figure.label else figure._replace(label=column.label) for figure in figures(part)]
        made += [*part, Token("|", "|", content=False, boundary=True)]
    return tuple(made), tuple(own)


def _told_above(token: Token, column: Column) -> Token:
    quantity = token.quantity
    if quantity is None:
        return token
    if quantity.unit is None and column.unit is not None:
        quantity = quantity._replace(unit=column.unit, unit_apart=True)
    return token._replace(quantity=quantity._replace(bound=quantity.bound or column.bound))
