"""Reading without a model: the sentence or table row of a few passages that answers a question best, and its asked value.

    question ──▶ what is asked for (an amount and of what, yes or no, a clause)
    passages ──▶ statements ──▶ the one that shares most of the question's words, rare words first
             ──▶ the amount in it that stands nearest to them, or the clause

It knows English and units and no subject. Deterministic, about a millisecond a question. It cannot reason: what two
sentences say together, it does not see.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from text2expert.evidence.quantities import Quantity, same_quantity
from text2expert.evidence.statements import Statement, statements
from text2expert.evidence.tokens import Token, content, tokens
from text2expert.evidence.wording import concept
from text2expert.examiner.verdicts import affirms
from text2expert.examiner.wanted import FREQUENCY, NUMBER, REFERENCES, YEARS, Amount, Wanted, wanted
from text2expert.records import Chunk
from text2expert.retrieval import terms, with_context

UNKNOWN = "The text does not say."
"""What is said where no statement has enough of the question's words."""

LEAST = 0.4
"""Of a question's words, by weight, that a statement must share, with what leads it in. Chosen on questions that the rules
make of a text and near misses of them that it does not answer: ``benchmarks/reading.py``."""

LONGEST_CLAUSE = 38
"""Words of an answer that is no amount; of a longer sentence the part is taken that fits the question best."""

_LED_IN = 0.8
"""What a word counts that stands in the heading or what leads a statement in, not in the statement."""
_BEFORE = 0.6
"""What a word counts that stands in the sentence before, in the same paragraph."""
_NEAR = 4.0
"""Tokens within which an amount belongs to a word: after so many, a word counts 1/e."""
_BESIDE = 0.4
"""What it is worth that all words of the question stand beside an amount, or in its column's header."""
_KIND = 0.2
"""What it is worth that an amount is of the dimension asked for."""
_BOUND = 0.1
"""What it is worth that it is a limit on the side asked for."""
_GIVEN = 0.15
"""What is taken from an amount in the unit of one that the question gives: a condition, most often."""
_UNUSUAL = 0.2
"""What is taken from an amount in another dimension than those in which the text gives what is asked for."""
_IN_WORDS = 0.5
"""What is taken from a clause where an amount is asked for."""
_RARE = 0.07
"""What a shared word adds to the score that no other passage has, however long the question is."""
_LENGTH = 0.001
"""What is taken from a statement for every token: of two that share the same, the short one is meant."""


class Reading(NamedTuple):
    """What was read."""

    text: str
    score: float
    """The share of the question's words, by weight, that stand in the statement or lead it in; 0 to 1."""
    passage: int | None
    """Its place among the passages; None where nothing was found."""


# --- what is read -----------------------------------------------------------------------------------------------------


class _Line(NamedTuple):
    """A statement of a passage with what it is read with."""

    text: str
    statement: Statement
    around: frozenset[str]
    """Words of the headings, the lead-in and the table's header."""
    before: frozenset[str]
    """Words of the sentence before it in its paragraph."""
    header: tuple[str, ...] = ()
    """The cells of the header, where it is a row with as many."""
    after: str = ""
    """The statements behind it."""
    lead: Statement | None = None
    """What leads it in."""


_IN_BRACKETS = re.compile(r"[(\[]([^)\]]{1,24})[)\]]")
_CELL = re.compile(r"[^\s|](?:[^\t|\n ]| (?! ))*")
_BULLET = re.compile(r"^\s*(?:[-*\u2022\u2013\u25cf\u25aa]|[(]?(?:[a-z]|[ivx]{1,4}|\d{1,3})[.)]|\d+(?:\.\d+)+\.?)\s+")


def _lines(chunk: Chunk) -> tuple[_Line, ...]:
    path, _, lead = chunk.context.partition("\n")
    above = content(tokens(path or " ".join(chunk.headings)))
    lead = f"{lead}\n" if lead else ""
    text = lead + chunk.text
    found: list[_Line] = []
    header: tuple[str, ...] = ()
    table, block, before = False, -1, frozenset[str]()
    made = statements(text)
    for each in made:
        body = text[each.start : each.end]
        if each.block != block:
            before = frozenset()
        first = each.row and not table
        table = each.row
        if first:
            header = tuple(_CELL.findall(body))
        if not each.heading and not first and each.start >= len(lead):
            named = header if each.row and len(_CELL.findall(body)) == len(header) else ()
            around = above | each.lead | (content(tokens(" ".join(named))) if named else frozenset())
            shown = body.strip() if each.row else " ".join(body.split())
            after = " ".join(text[each.end :].split()[:LONGEST_CLAUSE])
            found.append(
                _Line(shown, each, around, before, named, after, made[each.above] if each.above >= 0 else None)
            )
        before, block = each.stems, each.block
    return tuple(found)


class Reader:
    """Reads passages of *chunks*; what all of them have in common counts little."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        seen: Counter[str] = Counter()
        for chunk in chunks:
            seen.update({term[1:] for term in terms(with_context(chunk)) if term.startswith("=")})
        count = len(chunks)
        # BM25's weight of a word (Robertson and Zaragoza, 2009).
        self._rarity = {word: math.log(1 + (count - n + 0.5) / (n + 0.5)) for word, n in seen.items()}
        self._unknown = math.log(1 + (count + 0.5) / 0.5)
        self._read: dict[str, tuple[_Line, ...]] = {}

    def read(self, question: str, passages: Sequence[Chunk], least: float = LEAST) -> Reading:
        """The answer to *question* in *passages*, best first; `UNKNOWN` where no statement shares *least* of its words."""
        asked = wanted(question, self._rarity, self._unknown)
        lines = [(place, line) for place, chunk in enumerate(passages) for line in self._lines(chunk)]
        asked = _informed(asked, [line for _, line in lines])
        best: tuple[float, float, int, str | _Line] | None = None
        for place, line in lines:
            share = _share(asked, line)
            for value, text in _answers(asked, line, share):
                fit = value - _LENGTH * len(line.statement.tokens)
                if best is None or fit > best[0]:
                    sure = share + _RARE * _weight(asked, line.statement.stems) / self._unknown
                    best = fit, min(1.0, sure), place, text
        if best is None or best[1] < least:
            return Reading(UNKNOWN, best[1] if best else 0.0, None)
        said = best[3] if isinstance(best[3], str) else _yes_or_no(asked, best[3])
        return Reading(said, best[1], best[2])

    def _lines(self, chunk: Chunk) -> tuple[_Line, ...]:
        if chunk.key not in self._read:
            self._read[chunk.key] = _lines(chunk)
        return self._read[chunk.key]


def _informed(asked: Wanted, lines: Iterable[_Line]) -> Wanted:
    """*asked* as one who has read on: a subject that the passages give in figures ("PEEP 10 cmH2O") asks for an amount."""
    if asked.amount is not None or asked.yes_no or not asked.subject:
        return asked
    figures = [each for line in lines for each in line.statement.figures if each.label in asked.subject]
    return (
        asked._replace(amount=Amount(), usual=frozenset(_dimension(each.quantity) for each in figures))
        if figures
        else asked
    )


def _share(asked: Wanted, line: _Line) -> float:
    """How much of the question, by weight, *line* shares."""
    shared = 0.0
    for word, weight in asked.weights.items():
        if word in line.statement.stems:
            shared += weight
        elif word in line.around:
            shared += _LED_IN * weight
        elif word in line.before:
            shared += _BEFORE * weight
    for number in asked.numbers:
        if any(same_quantity(number, figure.quantity) for figure in line.statement.figures):
            shared += NUMBER
    return shared / asked.total if asked.total else 0.0


def _answers(asked: Wanted, line: _Line, share: float) -> Iterator[tuple[float, str | _Line]]:
    """What *line* may answer, each with how well it fits; to a question for yes or no, itself."""
    if asked.yes_no:
        yield share, line
    elif asked.amount is not None:
        if asked.often:
            yield from _frequencies(asked, line, share)
        yield from _amounts(asked, line, share)
        yield share - _IN_WORDS, _clause(asked, line)  # an amount in words, or none
    elif line.statement.row or line.statement.figures or not line.statement.stems <= asked.weights.keys():
        yield share, _clause(asked, line)  # what says no more than the question answers nothing


# --- amounts ----------------------------------------------------------------------------------------------------------


def _amounts(asked: Wanted, line: _Line, share: float) -> Iterator[tuple[float, str]]:
    made = line.statement.tokens
    marked = 0 if line.statement.row else len(_marker(line))
    for place, token in enumerate(made):
        quantity = token.quantity
        if quantity is None or quantity.start < marked or any(same_quantity(quantity, n) for n in asked.numbers):
            continue
        fits = _fits(asked, quantity, made[place + 1 : place + 4])
        if fits is None or (place and made[place - 1].text.lower() in REFERENCES):
            continue
        limit = _BOUND * (quantity.bound == asked.bound != "")
        yield share + fits + limit + _beside(asked, line, place), _amount_text(line, place, quantity)


def _beside(asked: Wanted, line: _Line, place: int) -> float:
    """How much of the question stands beside the token at *place*, or in the header of its column; 0 to `_BESIDE`."""
    made = line.statement.tokens
    most = sum(asked.weights.values()) or 1.0
    if line.header:
        return _BESIDE * _weight(asked, content(tokens(_column(line, place)))) / most
    return _BESIDE * min(1.0, _nearness(place, made, _matched(asked, made)) / most)


def _column(line: _Line, place: int) -> str:
    """The header above the token at *place*; empty where there is none."""
    cell = sum(token.text == "|" for token in line.statement.tokens[:place])
    return line.header[cell] if cell < len(line.header) else ""


def _matched(asked: Wanted, line: Sequence[Token]) -> dict[int, float]:
    """Where the question's words and numbers stand in *line*, and what they weigh."""
    found: dict[int, float] = {}
    for place, token in enumerate(line):
        quantity = token.quantity
        if quantity is not None:
            if any(same_quantity(quantity, number) for number in asked.numbers):
                found[place] = NUMBER
        elif token.content and (weight := asked.weights.get(concept(token.stem))):
            found[place] = weight
    return found


def _frequencies(asked: Wanted, line: _Line, share: float) -> Iterator[tuple[float, str]]:
    """How often *line* says: "every 6 hours", "twice a year"."""
    for found in FREQUENCY.finditer(line.text):
        place = len(tokens(line.text[: found.start()]))
        yield share + _KIND + _beside(asked, line, place), found.group()


def _marker(line: _Line) -> str:
    """What numbers an item or a paragraph: "- ", "4.2 "."""
    found = _BULLET.match(line.text)
    return found.group() if found else ""


def _dimension(quantity: Quantity) -> str:
    return quantity.unit.dimension if quantity.unit else ""


def _fits(asked: Wanted, quantity: Quantity, behind: Sequence[Token]) -> float | None:
    """How well the kind of an amount is the kind asked for; None where it is another."""
    dimension = _dimension(quantity)
    amount = asked.amount or Amount()
    if amount.dimensions is YEARS:
        return _KIND if not dimension and 1000 <= quantity.value < 3000 and len(quantity.text) == 4 else None
    if amount.dimensions is not None:
        return _KIND if {dimension, dimension.partition("/")[0]} & amount.dimensions else None
    if amount.counted:
        if dimension and not dimension.startswith("count"):
            return None
        return _KIND * any(token.content and concept(token.stem) in amount.counted for token in behind)
    # A condition is given in its own unit ("at 50 °C"), and what is asked for in another.
    given = any(dimension == _dimension(number) for number in asked.numbers)
    return -_GIVEN * given - _UNUSUAL * bool(asked.usual and dimension not in asked.usual)


def _weight(asked: Wanted, words: Iterable[str]) -> float:
    return sum(asked.weights.get(word, 0.0) for word in words)


_JOINTS = frozenset(("and", "or", "but"))


def _nearness(place: int, line: Sequence[Token], matched: Mapping[int, float]) -> float:
    """The weight of the question's words around a place, less the further they are; a boundary is as far as four tokens."""
    total = 0.0
    for other, weight in matched.items():
        first, last = sorted((place, other))
        apart = last - first + 3 * sum(token.boundary or token.text in _JOINTS for token in line[first:last])
        total += weight * math.exp(-apart / _NEAR)
    return total


def _amount_text(line: _Line, place: int, quantity: Quantity) -> str:
    """The amount at *place* as the text writes it, both ends of a range."""
    ends = next((pair for pair in line.statement.ranges if quantity in pair), None) or _between(line, place)
    if ends:
        return f"{ends[0].text} to {ends[1].written}"
    text = quantity.written
    if quantity.unit is not None and quantity.unit_apart and text == quantity.text:
        unit = _IN_BRACKETS.search(_column(line, place))
        text = f"{text} {unit[1] if unit else quantity.unit.symbol}"
    return " ".join(text.split())


def _between(line: _Line, place: int) -> tuple[Quantity, Quantity] | None:
    """The ends of "between 14 and 18 hours", one of which stands at *place*."""
    made = line.statement.tokens
    for first in (place, place - 2):
        if 0 < first < len(made) - 2 and made[first - 1].text.lower() == "between" and made[first + 1].text == "and":
            one, other = made[first].quantity, made[first + 2].quantity
            if one is not None and other is not None:
                return one, other
    return None


# --- clauses ----------------------------------------------------------------------------------------------------------

_JOINT = re.compile(r"(?<=[;:])\s+|,\s+(?=(?:and|but|or|unless|except|while|when|if|which|who|so)\b)")


def _clause(asked: Wanted, line: _Line) -> str:
    """The statement, with what follows if it only leads that in; of a long one the part that shares most."""
    if line.statement.row:
        return _cell(asked, line)
    text = _BULLET.sub("", line.text)
    if text.endswith(":"):
        text = f"{text} {line.after}"
    if len(text.split()) <= LONGEST_CLAUSE:
        return text
    starts = [0, *(found.end() for found in _JOINT.finditer(text))]
    ends = [*starts[1:], len(text)]
    parts = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    first = max(range(len(parts)), key=lambda place: (_weight(asked, content(tokens(parts[place]))), -place))
    taken = text[starts[first] :].split()[:LONGEST_CLAUSE]
    return " ".join(taken).rstrip(",;:")


def _cell(asked: Wanted, line: _Line) -> str:
    """The cell of a row under the header that the question names; else all of it."""
    cells: list[str] = _CELL.findall(line.text)
    if line.header and len(cells) == len(line.header):
        values = [_weight(asked, content(tokens(name))) for name in line.header]
        named = [place for place, value in enumerate(values) if value == max(values) > 0]
        if len(named) == 1 and not _weight(asked, content(tokens(cells[named[0]]))):
            return cells[named[0]]
    return ", ".join(cells)


def _yes_or_no(asked: Wanted, line: _Line) -> str:
    text = _clause(asked, line)
    said = affirms(asked.question, line.statement, line.lead) and text.casefold() not in _NOTHING
    return f"{'Yes' if said else 'No'}. {text}"


_NOTHING = frozenset(("none", "no", "never", "nil", "not allowed", "-", "\u2013", "\u2014"))
"""A table's cell that says no."""
