"""The algebra of quantities: what two numbers make in a wanted unit, how often, and for each of what.

Nothing here judges: it only says which values a computation can give.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

from text2expert.evidence.quantities import Quantity
from text2expert.evidence.tokens import Token
from text2expert.evidence.units import DIMENSIONS, SPANS, Unit, unit_of
from text2expert.evidence.wording import concept, stem, word_set

TERMS = 40
"""Of so many numbers two are tried together: every two of a long passage would make any number."""
SPAN_WORDS = {
    "daily": "day", "weekly": "week", "monthly": "month", "quarterly": "quarter", "yearly": "year", "annually": "year",
    "annual": "year", "hourly": "hour", "fortnightly": "fortnight", "nightly": "day",
}  # fmt: skip
"""Adverbs and adjectives with the span that they name."""
SPAN_NAMES = word_set("second minute hour day week fortnight month quarter year decade")
_EACH = word_set("each every per")
_ONE = word_set("a an one")


class Counted(NamedTuple):
    """A number with the words that may name what it counts: "five passenger lifts"."""

    value: float
    names: frozenset[str]


class Often(NamedTuple):
    """How often something happens: so many times in one second or month, by the dimension of the span."""

    dimension: str
    times: float
    counted: bool
    """Told as a number per span, not as the interval between two."""


def size(quantity: Quantity) -> float:
    """The value in the base unit of its dimension."""
    return quantity.value * (quantity.unit.size if quantity.unit is not None else 1.0)


def is_percent(quantity: Quantity) -> bool:
    """Whether a number is a share in per cent, a rate of them ("3 % a year") included."""
    return quantity.unit is not None and quantity.unit.dimension.partition("/")[0] == "percent"


def powers(unit: Unit | None) -> dict[str, int]:
    """A unit's dimensions with their powers: mg/kg/h has no mass left, and time -1; counts are numbers."""
    found: dict[str, int] = {}
    if unit is None:
        return found
    for i, part in enumerate(unit.dimension.split("/")):
        if part in DIMENSIONS and part != "count":  # tablets and wasps are counted
            found[part] = found.get(part, 0) + (1 if i == 0 else -1)
    return {part: power for part, power in found.items() if power}


def joined(one: dict[str, int], two: dict[str, int], sign: int) -> dict[str, int]:
    """The powers of a product (*sign* 1) or quotient (-1)."""
    found = dict(one)
    for part, power in two.items():
        found[part] = found.get(part, 0) + sign * power
    return {part: power for part, power in found.items() if power}


def combined(a: Quantity, b: Quantity, wanted: Quantity) -> Iterator[float]:
    """Product and quotients of two numbers, where they have the wanted dimension."""
    goal = powers(wanted.unit)
    if not goal and wanted.unit is not None and wanted.unit.dimension != "count":
        return  # a percentage or an angle is no bare number here
    a, b = _in_coin(a, wanted), _in_coin(b, wanted)
    one, two = powers(a.unit), powers(b.unit)
    scale = wanted.unit.size if wanted.unit is not None else 1.0
    x, y = size(a), size(b)
    if joined(one, two, 1) == goal or (goal == {"area": 1} and one == two == {"length": 1}):
        yield x * y / scale
    if y and joined(one, two, -1) == goal:
        yield x / y / scale
    if x and joined(two, one, -1) == goal:
        yield y / x / scale


def _in_coin(quantity: Quantity, wanted: Quantity) -> Quantity:
    """Cents as hundredths of the currency that is wanted: they may be of several."""
    unit, coin = quantity.unit, wanted.unit.dimension if wanted.unit is not None else ""
    if unit is None or coin not in ("usd", "eur") or unit.dimension.partition("/")[0] != "cent":
        return quantity
    return quantity._replace(unit=Unit(unit.name, coin + unit.dimension.removeprefix("cent"), unit.size / 100))


def sums(terms: Sequence[Quantity], wanted: Quantity) -> Iterator[float]:
    """Sums and differences of every two numbers in the wanted dimension."""
    scale = wanted.unit.size if wanted.unit is not None else 1.0
    goal = wanted.unit.dimension if wanted.unit is not None else ""
    if goal == "points":  # what lies between two percentages
        goal, scale = "percent", 1.0
    alike = [q for q in terms if (q.unit.dimension if q.unit is not None else "") == goal]
    if goal and len(alike) < 2:  # 65 and 24 euros a day
        alike = [q for q in terms if q.unit is not None and q.unit.dimension.startswith(goal + "/")]
        scale = alike[0].unit.size if alike and alike[0].unit is not None else scale
    sizes = list(dict.fromkeys(size(q) / scale for q in alike))
    for one, two in combinations(sizes[:TERMS], 2):
        yield one + two
        yield abs(one - two)


def made_of(a: Quantity, b: Quantity, wanted: Quantity) -> Iterator[float]:
    """All that two numbers make in the wanted unit: sum, difference, product, quotient, share, percentage."""
    yield from sums((a, b), wanted)
    yield from combined(a, b, wanted)
    yield from shares_of((a, b), wanted)
    for part, whole in ((a, b), (b, a)):
        if is_percent(part) and not is_percent(whole) and _alike(whole, wanted):
            value = size(whole) / (wanted.unit.size if wanted.unit is not None else 1.0)
            yield from (value * share for share in (part.value / 100, 1 - part.value / 100, 1 + part.value / 100))


def shares_of(terms: Sequence[Quantity], wanted: Quantity) -> Iterator[float]:
    """What one number is of another, in per cent; and what is left."""
    if wanted.unit is None or wanted.unit.name != "%":
        return
    for a, b in combinations(terms[:TERMS], 2):
        if _alike(a, b) and not is_percent(a) and size(a) and size(b):
            less, more = sorted((size(a), size(b)))
            yield 100 * less / more
            yield 100 * (1 - less / more)
            yield 100 * (more / less - 1)


def _alike(a: Quantity, b: Quantity) -> bool:
    return (a.unit.dimension if a.unit is not None else "") == (b.unit.dimension if b.unit is not None else "")


def in_proportion(brought: Quantity, terms: Sequence[Quantity], wanted: Quantity) -> Iterator[float]:
    """The rule of three: where one litre gives 680 litres of gas, 5 litres give 3400.

    Only from one, ten, a hundred of something, or where a statement has one number of each of the two kinds.
    """
    for one in terms:
        rate = one.value in (1, 10, 100, 1000)
        lone = wanted.unit is not None and all(sum(_alike(q, this) for q in terms) == 1 for this in (brought, wanted))
        if not _alike(one, brought) or not (rate or lone) or not one.value:
            continue
        for other in terms:
            if other is not one and _alike(other, wanted):
                scale = wanted.unit.size if wanted.unit is not None else 1.0
                yield size(brought) * size(other) / size(one) / scale


# --- for each ---------------------------------------------------------------------------------------------------------


def held_for_each(made: Sequence[Token]) -> frozenset[str]:
    """The words that may name what the amounts of a statement are told for one of: "each node", "per further day", "weekly"."""
    found: set[str] = set()
    for i, token in enumerate(made):
        if token.text.lower() in SPAN_WORDS:
            found.add(concept(stem(SPAN_WORDS[token.text.lower()])))
        if token.text.lower() in _EACH:
            for following in made[i + 1 : i + 4]:
                if following.boundary or following.quantity is not None:
                    break
                found.add(concept(following.stem))
    return frozenset(found)


def counts(made: Sequence[Token]) -> Iterator[Counted]:
    """The numbers of a text that count something, with what they may count: nouns behind them, or their span."""
    for i, token in enumerate(made):
        quantity = token.quantity
        if quantity is None:
            continue
        if quantity.unit is not None:
            if quantity.unit.dimension in SPANS:
                words = (quantity.unit.name, quantity.written.split()[-1])
                yield Counted(quantity.value, frozenset(concept(stem(word)) for word in words))
            continue
        names: set[str] = set()
        for following in made[i + 1 : i + 4]:
            if not following.content:
                break
            names.add(concept(following.stem))
        if names:
            yield Counted(quantity.value, frozenset(names))


def counted_amounts(made: Sequence[Token]) -> Iterator[tuple[float, Quantity]]:
    """Numbers of things with the amount of each: "two pauses of 15 minutes", "two rows of 12 stalls"."""
    for i, token in enumerate(made):
        if token.quantity is None or token.quantity.unit is not None:
            continue
        behind = made[i + 1 : i + 5]
        for noun, of, amount in zip(behind, behind[1:], behind[2:], strict=False):
            if not noun.content:
                break
            if of.text.lower() == "of" and amount.quantity is not None:
                yield token.quantity.value, amount.quantity
                break


# --- how often --------------------------------------------------------------------------------------------------------


def asked_spans(made: Sequence[Token]) -> Iterator[Quantity]:
    """The spans that are asked about: "per day", "daily", "in a week"."""
    for before, token in pairwise([*made[:1], *made]):
        word = token.text.lower()
        if token.quantity is not None and word in _ONE:  # "in a year"
            word = token.quantity.written.split()[-1].lower()
            name = word if token.quantity.value == 1 else ""
        else:
            name = SPAN_WORDS.get(word, word if before.text.lower() in _EACH | _ONE else "")
        if name in SPAN_NAMES and (unit := unit_of(name)) is not None:
            yield Quantity(1.0, unit, 0, 0, 0, "1", name)


def own_span(quantity: Quantity) -> Iterator[Quantity]:
    """The span that a rate is told for: the day of "1500 mg a day"."""
    if quantity.unit is not None and "/" in quantity.unit.name:
        below = unit_of(quantity.unit.name.rpartition("/")[2])
        if below is not None and below.dimension in SPANS:
            yield Quantity(1.0, below, 0, 0, 0, "1", below.name)


def frequencies(made: Sequence[Token]) -> Iterator[Often]:
    """How often a text says that something happens: "every 6 hours", "daily", "each quarter", "six visits a year"."""
    for i, token in enumerate(made):
        word, before = token.text.lower(), made[i - 1].text.lower() if i else ""
        quantity = token.quantity
        if quantity is not None and quantity.unit is not None and quantity.value:
            if quantity.unit.dimension in SPANS and before in ("every", "each"):
                yield Often(quantity.unit.dimension, 1 / size(quantity), counted=False)
            top, _, below = quantity.unit.dimension.partition("/")
            if below in SPANS and top in SPANS:  # "three days a week"
                yield Often(
                    below,
                    quantity.value / (unit_of(quantity.unit.name.partition("/")[2]) or quantity.unit).size,
                    counted=True,
                )
            if below in SPANS and top == "count":
                yield Often(below, size(quantity), counted=True)
            continue
        name = SPAN_WORDS.get(word, word if before in _EACH | _ONE else "")
        if name not in SPAN_NAMES or (span := unit_of(name)) is None:
            continue
        times = next((t.quantity.value for t in reversed(made[max(0, i - 5) : i]) if _counts_times(t)), None)  # type: ignore[union-attr]
        if times is None and any(t.text.lower() == "once" for t in made[max(0, i - 4) : i]):
            times = 1.0
        if times is None and before in _ONE:
            continue  # "a week later"
        yield Often(span.dimension, (times or 1.0) / span.size, counted=times is not None)


def _counts_times(token: Token) -> bool:
    return token.quantity is not None and token.quantity.unit is None and token.quantity.value > 0


def per_span(terms: Sequence[Quantity], span: Quantity, wanted: Quantity) -> Iterator[float]:
    """750 mg every 12 hours is 1500 mg a day; every 8 hours is three times a day; 50 L/min is 3000 L an hour."""
    if span.unit is None:
        return
    length = span.unit.size
    scale = wanted.unit.size if wanted.unit is not None else 1.0
    goal = powers(wanted.unit)
    rates = [size(q) for q in terms if q.unit is not None and "/" in q.unit.dimension and _is_over(q, span, goal)]
    yield from (rate * length / scale for rate in rates)
    times = [often for q in terms if (often := _times(q, span)) is not None]
    if not goal:
        yield from times
    elif goal == {span.unit.dimension: -1}:
        yield from (often / length / scale for often in times)
    for amount in terms:
        over = _over(amount, span.unit.dimension, wanted)
        if over is not None:
            yield from (size(amount) * often / (scale * (length if over else 1.0)) for often in times)


def _is_over(rate: Quantity, span: Quantity, goal: dict[str, int]) -> bool:
    """Whether a rate times a span has the wanted dimension."""
    return joined(powers(rate.unit), powers(span.unit), 1) == goal


def _times(quantity: Quantity, span: Quantity) -> float | None:
    """How often a span has what is told as "every 8 hours" or "three times a day"."""
    if quantity.unit is None or span.unit is None or not quantity.value:
        return None
    if quantity.unit.dimension == span.unit.dimension:
        return span.unit.size / size(quantity)
    if powers(quantity.unit) == {span.unit.dimension: -1}:
        return size(quantity) * span.unit.size
    return None


def _over(amount: Quantity, span: str, wanted: Quantity) -> bool | None:
    """Whether an amount is wanted per span (True) or as it is (False); None: it is no such amount."""
    if amount.unit is not None and (amount.unit.dimension in SPANS or "/" in amount.unit.name):
        return None
    own, whole = (q.unit.dimension if q.unit is not None else "count" for q in (amount, wanted))
    if own == whole:
        return False
    counted = amount.unit is None and whole.count("/") == 1 and whole.endswith(f"/{span}")  # 2 tablets
    return True if counted or whole == f"{own}/{span}" else None
