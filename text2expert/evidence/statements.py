"""A text as statements: sentences, bullets and table rows, as tokens, with what must be read along with each."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from text2expert.evidence.leads import Lead, Leads, forbids, is_bare_ban, opens_a_list
from text2expert.evidence.quantities import Bound, Quantity, under_denial
from text2expert.evidence.tokens import Figure, Token, content, figures, tokens
from text2expert.evidence.units import Unit, unit_of
from text2expert.evidence.wording import NEGATORS, concept

__all__ = ["Column", "Figure", "Statement", "Token", "content", "figures", "statements", "tokens"]


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
    """The lead-in or heading forbids it: "Do not:"."""
    block: int = 0
    """Equal for the sentences of one paragraph or item."""
    heading: bool = False
    row: bool = False
    """It is a row of a table."""
    header: bool = False
    """It is the first row of a table, without a number."""
    ranges: tuple[tuple[Quantity, Quantity], ...] = ()
    """The two ends of each "3 to 6"."""
    above: int = -1
    """The place of its lead-in among the statements; -1 where it has none."""


# --- statements -------------------------------------------------------------------------------------------------------

_ITEM = re.compile(
    r"[ \t]*(?:[-*\u2022\u2013\u2014\u25cf\u25aa]|[(]?(?:[a-z]|[ivx]{1,4}|\d{1,3})[.)]|\d+(?:\.\d+)+\.?)[ \t]+"
)
_LETTERED = re.compile(r"[ \t]*[(]?[a-z]{1,4}[.)][ \t]+")
_ROW = re.compile(r"\S(?: {3,}|\t+)\S|\S {2,}\S.*\S {2,}\S|\|.*\|")
_CELL = re.compile(r"[^\s|](?:[^\t|\n ]| (?! ))*")
_HEADING = re.compile(r"[ \t]*(?:#+ .*|(?:\w+\.?\s)?[\dA-Z]+(?:\.\d+)*\.?\s+\S[^.;:]*|[^a-z]*[A-Z]{3}[^a-z]*)$")
_SENTENCE_END = re.compile(r"[.!?][\"\u201d')\]]*\s+(?=[\"\u201c'(\[]?[A-Z0-9])")
_ABBREVIATION = re.compile(
    r"\b(?:e\.g|i\.e|no|nos|dr|mr|mrs|ms|fig|approx|vs|sec|art|cf|st|para|max|min|resp|incl|ca|(?<!\d )(?<![\d\u00b0])[A-Z])\.$",
    re.IGNORECASE,
)
_HEADER_BOUND = re.compile(
    r"\b(?:(?P<low>within|max(?:imum)?|at most|up to|time limit)|(?P<high>min(?:imum)?|at least))\b", re.IGNORECASE
)
_IN_BRACKETS = re.compile(r"[(\[]([^)\]]{1,24})[)\]]")


def statements(text: str) -> tuple[Statement, ...]:
    """The statements of *text*: hard-wrapped lines joined, a list's lead-in and a table's header read with each of theirs."""
    found: list[Statement] = []
    heading: frozenset[str] = frozenset()
    banned = 0  # the depth of the heading that forbids, -1 for one without a depth
    leads = Leads()
    header: list[Column] = []
    header_stems: frozenset[str] = frozenset()
    for block, (kind, start, end) in enumerate(_blocks(text)):
        if kind == "row":
            cells = _CELL.findall(text[start:end])
            made, own = _row(cells, header)
            words = content(made)
            is_header = not header and not own
            found.append(
                Statement(
                    start,
                    end,
                    made,
                    words,
                    own,
                    header_stems | heading,
                    block=block,
                    row=True,
                    header=is_header,
                    ranges=_ranges(made),
                )
            )
            if not header:
                header = [_column(cell) for cell in cells]
                header_stems = words
            continue
        header, header_stems = [], frozenset()
        if kind == "heading":
            made = tuple(tokens(text[start:end]))
            heading = content(made)
            depth = _depth(text[start:end])
            if not (banned and depth > banned > 0):
                banned = (depth or -1) if is_bare_ban(text[start:end]) else 0
            leads.clear()
            found.append(Statement(start, end, made, heading, figures(made), block=block, heading=True))
            continue
        body = text[start:end]
        above = None
        if kind == "paragraph":
            leads.clear()
        else:
            above = leads.above(body)
        lead = found[above.statement].stems if above else frozenset()
        denied = above.denied if above else bool(banned) and kind == "item"
        marker = _LETTERED.match(body) if kind == "item" else None  # its letter is no word
        at = start + marker.end() if marker else start
        first = len(found)
        for stop in (*_ends(text, start, end), end):
            made = tuple(tokens(text[at:stop]))
            if made:
                under = denied and len(found) == first and not any(token.stem in _DENIALS for token in made)
                made = tuple(map(_forbidden, made)) if under else made
                found.append(
                    Statement(
                        at, stop, made, content(made), figures(made), lead | heading, under, block,
                        above=above.statement if above else -1,
                    )
                )  # fmt: skip
            at = stop
        if len(found) > first and (opens_a_list(body) or is_bare_ban(body)):
            own_key = leads.marker(body) if kind == "item" else (-1, "")
            leads.open.append(Lead(own_key, len(found) - 1, forbids(found[-1].tokens) or denied or bool(banned)))
    return tuple(found)


_DENIALS = NEGATORS - {"without"}


def _ranges(made: Sequence[Token]) -> tuple[tuple[Quantity, Quantity], ...]:
    """The ranges of a statement: "3 to 6"."""
    return tuple(
        (one.quantity, two.quantity)
        for one, joint, two in zip(made, made[1:], made[2:], strict=False)
        if one.quantity is not None and two.quantity is not None and joint.text in _TO
    )


_TO = frozenset(("to", "\u2013", "\u2014"))


def _depth(heading: str) -> int:
    """How many number signs a Markdown heading has; 0 for another."""
    bare = heading.lstrip()
    return len(bare) - len(bare.lstrip("#"))


def _forbidden(token: Token) -> Token:
    """A number of something that must not be: "more than 60 litres" is a limit from above there."""
    quantity = token.quantity
    if quantity is None or not quantity.bound:
        return token
    return token._replace(quantity=quantity._replace(bound=under_denial(quantity.bound, quantity.comparator)))


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
        if is_bare_ban(body) and (not going or re.sub(r"[\W_\d]+", "", body)[:1].isupper()):
            kind = "heading" if _HEADING.match(body) else "item" if _ITEM.match(body) else "paragraph"
            blocks.append((kind, start, end))
            going = False
        elif _ROW.search(body.lstrip()):
            blocks.append(("row", start, end))
            going = False
        elif (
            len(body) < 90 and len(body.split()) <= 12 and body[-1] not in ".;,:" and not going and _HEADING.match(body)
        ):
            blocks.append(("heading", start, end))
            going = False
        elif _ITEM.match(body) and (
            not going
            or text[blocks[-1][2] - 1] in ".:;!?"
            or opens_a_list(text[blocks[-1][1] : blocks[-1][2]])
            or not body.lstrip()[0].isalnum()
        ):
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
    marker = _ITEM.match(text, start, end)  # "1. " ends nothing
    return [
        match.end()
        for match in _SENTENCE_END.finditer(text, marker.end() if marker else start, end)
        if not _ABBREVIATION.search(text, max(start, match.start() - 8), match.start() + 1)
    ]


def _column(cell: str) -> Column:
    unit = _IN_BRACKETS.search(cell)
    bound = _HEADER_BOUND.search(cell)
    return Column(
        next((concept(token.stem) for token in tokens(cell) if token.content), ""),
        _column_unit(cell, unit[1]) if unit else None,
        "" if bound is None else "low" if bound["low"] else "high",
    )


def _column_unit(cell: str, unit: str) -> Unit | None:
    """The unit in a header's brackets, by what stands outside of them: "Price per litre (€)"."""
    per = _PER_WHAT.search(cell.replace(unit, ""))
    return (unit_of(f"{unit}/{per[1]}") if per else None) or unit_of(unit)


_PER_WHAT = re.compile(r"\bper ((?:square |cubic )?[^\W\d_]+)")


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
