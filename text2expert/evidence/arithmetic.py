"""Numbers that follow from others: sums, differences, shares, tolerances, rates, conversions, dates.

Any two numbers of a text make a third, so a result counts only where the pair speaks of computing, and what it is computed
from stands in the question or in the statements that the answer may rest on.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise

from text2expert.evidence.dates import TERMS, clocked, dated
from text2expert.evidence.pair import Pair
from text2expert.evidence.quantities import (
    DIMENSIONS,
    ORDINAL,
    SPANS,
    Quantity,
    Unit,
    same_quantity,
    unit_of,
)
from text2expert.evidence.statements import Statement
from text2expert.evidence.tokens import Figure, Token
from text2expert.evidence.wording import concept, stem, word_set

_TOTALS = word_set("total altogether plus sum together combined overall totals")
"""What a question says that asks for a sum."""
_SUMS = _TOTALS | word_set(
    "minus difference differ differs left remaining remain remains exceed exceeds extra apart additional"
)
"""What it says that asks for a sum or a difference."""
_COMPARED = word_set(
    "longer more later shorter less earlier fewer higher lower larger smaller bigger older younger faster slower sooner "
    "heavier lighter wider narrower deeper warmer colder cheaper dearer greater further farther hotter cooler"
)
"""The same, where no number is compared: "how much longer than by day"."""
_SIGNS = word_set("plus minus altogether divided times multiplied sum total")
"""What an answer says that shows its working."""
_PER = {
    "daily": "day", "weekly": "week", "monthly": "month", "quarterly": "quarter", "yearly": "year", "annually": "year",
    "annual": "year", "hourly": "hour",
}  # fmt: skip
_SPAN_NAMES = word_set("second minute hour day week fortnight month quarter year decade")
_TIME = concept(stem("times"))
_FEW = 12
"""A bare number up to this is too often the ratio of two others."""
_ROUNDED = word_set("about approximately roughly around nearly almost rounded circa approx")


def follows(pair: Pair, quantity: Quantity, here: list[Figure]) -> bool:
    """Whether *quantity*, of the answer, follows from numbers of the question and of the evidence (*here*)."""
    if dated(pair, quantity) or clocked(pair, quantity, here) or _unwritten(pair, quantity):
        return True
    whole = _compound(pair, quantity)
    if whole is not None and (any(same_quantity(whole, f.quantity) for f in here) or follows(pair, whole, here)):
        return True
    return any(_any_is(results, quantity, pair) for results in _ways(pair, quantity, here))


def _ways(pair: Pair, wanted: Quantity, here: list[Figure]) -> Iterator[Iterator[float]]:
    """What the numbers at hand can give, way by way."""
    asked = [f for f in pair.question.figures if not _is_name(f)]
    brought = [
        f.quantity
        for f in asked
        # "which two conditions", or a condition that the evidence states itself
        if not (f.noun and f.noun not in pair.source.stems)
        and not any(_told_alike(f.quantity, other.quantity) for other in here)
    ]
    held = [f.quantity for f in here if not _is_name(f)]
    yield from (_results(a, b, wanted, held) for a in brought for b in held)
    spans = list(_asked_spans(pair.question.tokens)) or list(_own_span(wanted))
    named = [f.quantity for f in (*pair.question.figures, *pair.answer.figures) if f.quantity is not wanted]
    factors, percents = _factors(pair)
    yield _shares(named, percents + factors, wanted)
    for i in pair.pool:
        terms = _terms(pair, i)
        if not wanted.tolerance:
            yield _bounds(terms, [f.quantity for f in asked])
        yield from (_per_span(terms, span, wanted) for span in spans)
        if spans and any(token.text.lower() in ("daily", "day") for token in pair.source.statements[i].tokens):
            yield _often(terms, wanted)
        yield _shares(terms, factors, wanted)
    computes = _computes(pair)
    yield _shown(pair, wanted, sums=bool(computes))
    if computes:
        yield _products([*brought, *spans], held, wanted)
    if computes in ("sum", "total"):
        yield _sums([*held, *(f.quantity for f in asked)], wanted)
    if computes == "total":
        yield _totals(pair, wanted)


def _is_name(figure: Figure) -> bool:
    return bool(figure.label) and figure.quantity.unit is None


def _told_alike(a: Quantity, b: Quantity) -> bool:
    return (a.unit is None) == (b.unit is None) and same_quantity(a, b)


def _computes(pair: Pair) -> str:
    """What the question asks for, or the answer shows being made: "total", "sum" (or difference), "rate", or nothing."""
    asked = [token.text.lower() for token in pair.question.tokens]
    told = pair.answer.tokens
    if not _TOTALS.isdisjoint(asked) or any(pair_ == ("in", "all") for pair_ in pairwise(asked)):
        return "total"
    compared = any(
        word in _COMPARED and following != "than" and before not in ("no", "or", "any", "not", "if")
        for before, word, following in zip(["", *asked], asked, [*asked[1:], ""], strict=False)
    )
    shown = any(
        one.quantity is not None and two.text.lower() in _COMPARED | {"apart"} for one, two in pairwise(told)
    )  # "5 minutes longer"
    signs = any(token.text.lower() in _SIGNS for token in told)
    if (compared and "how" in asked) or shown or signs or not _SUMS.isdisjoint(asked):
        return "sum"
    spans = any(one in ("per", "a", "each", "every") and two in _SPAN_NAMES for one, two in pairwise(asked))
    return "rate" if spans or any(word in _PER for word in asked) else ""


def _unwritten(pair: Pair, quantity: Quantity) -> bool:
    """A span that the evidence names without a number: "every fortnight" is every two weeks, "daily" every 24 hours."""
    if quantity.unit is None or quantity.unit.dimension not in SPANS:
        return False
    for i in pair.pool:
        made = pair.source.statements[i].tokens
        for before, token in pairwise([*made[:1], *made]):
            word = token.text.lower()
            name = _PER.get(word, word if before.text.lower() in ("every", "each", "per", "a", "one") else "")
            unit = unit_of(name) if name in _SPAN_NAMES else None
            if unit is not None and same_quantity(quantity, Quantity(1.0, unit, 0, 0, 0, "1", name)):
                return True
    return False


def _compound(pair: Pair, quantity: Quantity) -> Quantity | None:
    """The whole of which a number of the answer is a part: the 8 and the 15 of "8 hours and 15 minutes"."""
    figures = [f.quantity for f in pair.answer.figures]
    for one, two in pairwise(figures):
        if (
            quantity not in (one, two)
            or one.unit is None
            or two.unit is None
            or one.unit.dimension != two.unit.dimension
        ):
            continue
        if two.start - one.stop <= 5 and two.unit.size < one.unit.size and two.value * two.unit.size < one.unit.size:
            return one._replace(value=one.value + two.value * two.unit.size / one.unit.size, start=-1)
    return None


# --- one number after another -----------------------------------------------------------------------------------------


def _any_is(results: Iterable[float], wanted: Quantity, pair: Pair) -> bool:
    decimals = len(wanted.text.partition(".")[2])
    rounded = decimals > 0 or any(token.text.lower() in _ROUNDED for token in pair.answer.tokens)
    slack = 0.5 * 10.0**-decimals if rounded else 0.0
    return any(abs(result - wanted.value) <= max(slack, 1e-9 * max(1.0, abs(result))) for result in results)


def _sums(terms: Sequence[Quantity], wanted: Quantity) -> Iterator[float]:
    scale = wanted.unit.size if wanted.unit is not None else 1.0
    goal = wanted.unit.dimension if wanted.unit is not None else ""
    alike = [q for q in terms if (q.unit.dimension if q.unit is not None else "") == goal]
    if goal and len(alike) < 2:  # 65 and 24 euros a day
        alike = [q for q in terms if q.unit is not None and q.unit.dimension.startswith(goal + "/")]
        scale = alike[0].unit.size if alike and alike[0].unit is not None else scale
    sizes = list(dict.fromkeys(q.value * (q.unit.size if q.unit is not None else 1.0) / scale for q in alike))
    for one, two in combinations(sizes[:TERMS], 2):
        yield one + two
        yield abs(one - two)


def _results(a: Quantity, b: Quantity, wanted: Quantity, here: Sequence[Quantity]) -> Iterator[float]:
    """What one number of the question and one of the evidence can give in the unit of the wanted number."""
    if a.unit is not None and b.unit is not None and a.unit.dimension == b.unit.dimension:
        one, two = a.value * a.unit.size, b.value * b.unit.size
        if wanted.unit is None and one and two:
            yield one / two
            yield two / one
    elif wanted.unit in (a.unit, b.unit) and any(q.unit is not None and q.unit.name == "%" for q in (a, b)):
        yield a.value * b.value / 100
    else:
        yield from _combined(a, b, wanted)
    counts = a.unit is None or (
        b.unit is not None and a.unit.dimension in SPANS and a.unit.dimension != b.unit.dimension
    )
    if counts and b.unit is not None and b.unit == wanted.unit:
        # 27 days, and one more for each of 2 years
        yield from (c.value + a.value * b.value for c in here if c.unit == b.unit)


def _powers(unit: Unit | None) -> dict[str, int]:
    """A unit's dimensions with their powers: mg/kg/h has no mass left, and time -1; counts are numbers."""
    powers: dict[str, int] = {}
    if unit is None:
        return powers
    for i, part in enumerate(unit.dimension.split("/")):
        if part in DIMENSIONS and part != "count":  # tablets and wasps are counted
            powers[part] = powers.get(part, 0) + (1 if i == 0 else -1)
    return {part: power for part, power in powers.items() if power}


def _combined(a: Quantity, b: Quantity, wanted: Quantity) -> Iterator[float]:
    """Product and quotients of two numbers, where they have the wanted dimension."""
    goal = _powers(wanted.unit)
    if not goal and wanted.unit is not None and wanted.unit.dimension != "count":
        return  # a percentage or an angle is no bare number here
    a, b = _in_coin(a, wanted), _in_coin(b, wanted)
    one, two = _powers(a.unit), _powers(b.unit)
    scale = wanted.unit.size if wanted.unit is not None else 1.0
    x = a.value * (a.unit.size if a.unit else 1.0)
    y = b.value * (b.unit.size if b.unit else 1.0)
    if _joined(one, two, 1) == goal:
        yield x * y / scale
    if y and _joined(one, two, -1) == goal:
        yield x / y / scale
    if x and _joined(two, one, -1) == goal:
        yield y / x / scale


def _in_coin(quantity: Quantity, wanted: Quantity) -> Quantity:
    """Cents as hundredths of the currency that is wanted: they may be of several."""
    unit, coin = quantity.unit, wanted.unit.dimension if wanted.unit is not None else ""
    if unit is None or coin not in ("usd", "eur") or unit.dimension.partition("/")[0] != "cent":
        return quantity
    return quantity._replace(unit=Unit(unit.name, coin + unit.dimension.removeprefix("cent"), unit.size / 100))


def _joined(one: dict[str, int], two: dict[str, int], sign: int) -> dict[str, int]:
    powers = dict(one)
    for part, power in two.items():
        powers[part] = powers.get(part, 0) + sign * power
    return {part: power for part, power in powers.items() if power}


def _products(brought: Sequence[Quantity], held: Sequence[Quantity], wanted: Quantity) -> Iterator[float]:
    for a in brought:
        for b in held:
            yield from _combined(a, b, wanted)
    for a, b in combinations(held[:TERMS], 2):
        if (a.unit is None) != (b.unit is None) or (
            a.unit is not None and b.unit is not None and a.unit.dimension != b.unit.dimension
        ):
            yield from _combined(a, b, wanted)


# --- tolerances, intervals, shares ------------------------------------------------------------------------------------


def _terms(pair: Pair, i: int) -> list[Quantity]:
    return [figure.quantity for figure in pair.source.statements[i].figures]


def _bounds(terms: Sequence[Quantity], asked: Sequence[Quantity]) -> Iterator[float]:
    """44 ± 0.5 is from 43.5 to 44.5; a percentage is of the value, and ± 0.5 alone of what is asked about."""
    for value, slack in (*pairwise(terms), *((value, slack) for value in asked for slack in terms)):
        if not slack.tolerance:
            continue
        if slack.unit is None or value.unit is None or value.unit.dimension == slack.unit.dimension:
            by = slack.value
        elif slack.unit.name == "%":
            by = value.value * slack.value / 100
        else:
            continue
        yield value.value - by
        yield value.value + by


def _asked_spans(made: Sequence[Token]) -> Iterator[Quantity]:
    """The spans that are asked about: "per day", "daily", "in a week"."""
    for before, token in pairwise([*made[:1], *made]):
        word = token.text.lower()
        name = _PER.get(word, word if before.text.lower() in ("per", "a", "each", "every", "one") else "")
        if name in _SPAN_NAMES and (unit := unit_of(name)) is not None:
            yield Quantity(1.0, unit, 0, 0, 0, "1", name)


def _own_span(quantity: Quantity) -> Iterator[Quantity]:
    """The span that a rate is told for: the day of "1500 mg a day"."""
    if quantity.unit is not None and "/" in quantity.unit.name:
        below = unit_of(quantity.unit.name.rpartition("/")[2])
        if below is not None and below.dimension in SPANS:
            yield Quantity(1.0, below, 0, 0, 0, "1", below.name)


def _per_span(terms: Sequence[Quantity], span: Quantity, wanted: Quantity) -> Iterator[float]:
    """750 mg every 12 hours is 1500 mg a day; every 8 hours is three times a day; 50 L/min is 3000 L an hour."""
    if span.unit is None:
        return
    length = span.unit.size
    scale = wanted.unit.size if wanted.unit is not None else 1.0
    goal = _powers(wanted.unit)
    rates = [
        q.value * q.unit.size
        for q in terms
        if q.unit is not None and "/" in q.unit.dimension and _is_over(q, span, goal)
    ]
    yield from (rate * length / scale for rate in rates)
    times = [often for q in terms if (often := _times(q, span)) is not None]
    if not goal:
        yield from times
    elif goal == {span.unit.dimension: -1}:
        yield from (often / length / scale for often in times)
    for amount in terms:
        size = amount.value * (amount.unit.size if amount.unit is not None else 1.0)
        over = _over(amount, span.unit.dimension, wanted)
        if over is not None:
            yield from (size * often / (scale * (length if over else 1.0)) for often in times)


def _is_over(rate: Quantity, span: Quantity, goal: dict[str, int]) -> bool:
    """Whether a rate times a span has the wanted dimension."""
    return _joined(_powers(rate.unit), _powers(span.unit), 1) == goal


def _times(quantity: Quantity, span: Quantity) -> float | None:
    """How often a span has what is told as "every 8 hours" or "three times a day"."""
    if quantity.unit is None or span.unit is None or not quantity.value:
        return None
    if quantity.unit.dimension == span.unit.dimension:
        return span.unit.size / (quantity.value * quantity.unit.size)
    if _powers(quantity.unit) == {span.unit.dimension: -1}:
        return quantity.value * quantity.unit.size * span.unit.size
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


def _often(terms: Sequence[Quantity], wanted: Quantity) -> Iterator[float]:
    """500 mg twice daily is 1 g."""
    for amount, often in combinations(terms[:TERMS], 2):
        if often.unit is None or amount.unit is None:
            yield from _combined(amount, often, wanted)


def _factors(pair: Pair) -> tuple[list[float], list[float]]:
    """The shares and multiples that the pair speaks of: a quarter, half, twice; and those in per cent."""
    factors: list[float] = []
    percents: list[float] = []
    asked = [*pair.question.figures, *pair.answer.figures]
    about = pair.speaks_of(pair.asked())
    most = max(about, default=0.0)
    telling = [i for i in pair.pool if most and about[i] >= 0.6 * most]
    held = [figure for i in telling for figure in pair.source.statements[i].figures]
    asked += held
    for figure in asked:
        quantity = figure.quantity
        if quantity.unit is not None and quantity.unit.name == "%":
            share = quantity.value / 100
            percents += [share, 1 - share, 1 + share]
        elif (
            quantity.unit is None
            and quantity.text[:1].isalpha()
            and (quantity.value < 1 or quantity.text.lower() in ("twice", "double", "doubled", "triple", "thrice"))
        ):
            factors += [quantity.value, *([1 - quantity.value] if quantity.value < 1 else [])]
        elif quantity.unit is None and figure.noun == _TIME and figure not in held:  # one and a half times
            factors.append(quantity.value)
        elif quantity.unit is ORDINAL and quantity.other_value:
            factors.append(quantity.other_value)
    words = [token.text.lower() for part in (pair.question, pair.answer) for token in part.tokens]
    if "quarter" in words or "quarterly" in words:
        factors.append(0.25)
    if "third" in words:
        factors.append(1 / 3)
    return [factor for factor in factors if factor > 0], percents


def _shares(terms: Sequence[Quantity], factors: Sequence[float], wanted: Quantity) -> Iterator[float]:
    """A share or multiple of a number that has a unit."""
    for q in terms:
        if q.unit is None or wanted.unit is None or q.unit.name == "%":
            continue
        same = q.unit.dimension == wanted.unit.dimension or q.unit.dimension.startswith(wanted.unit.dimension + "/")
        if wanted.unit.dimension.startswith(q.unit.dimension + "/"):  # £21 an hour, of a wage of £14
            yield from (factor * q.value for factor in factors)
        if same:
            size = q.unit.size if q.unit.dimension == wanted.unit.dimension else wanted.unit.size
            yield from (factor * q.value * size / wanted.unit.size for factor in factors)


def _shown(pair: Pair, wanted: Quantity, *, sums: bool) -> Iterator[float]:
    """What the answer's other numbers make, each of which is checked for itself: "480 mg divided by 5 mg/kg is 96 kg"."""
    others = [f.quantity for f in (*pair.answer.figures, *pair.question.figures) if f.quantity is not wanted][:8]
    if sums or wanted.unit is not None or not wanted.value.is_integer() or wanted.value > _FEW:
        for a, b in combinations(others, 2):
            yield from _combined(a, b, wanted)
    if sums:
        yield from _sums(others, wanted)


def _totals(pair: Pair, wanted: Quantity) -> Iterator[float]:
    """The sum over a statement, over the items of a list, over a column of a table."""
    held = pair.source.statements
    groups: dict[object, list[Quantity]] = {}
    for i, statement in enumerate(held):
        for key, figure in _keys(i, statement):
            groups.setdefault(key, []).append(figure.quantity)
    goal = wanted.unit.dimension if wanted.unit is not None else None
    scale = wanted.unit.size if wanted.unit is not None else 1.0
    for terms in groups.values():
        alike = [
            q.value * (q.unit.size if q.unit is not None else 1.0) / scale
            for q in terms
            if (q.unit and q.unit.dimension) == goal
        ]
        if len(alike) >= 3:
            yield sum(alike)
    for i in pair.pool:  # 2 tablets three times a day for 10 days
        for a, b, c in combinations(_terms(pair, i)[:6], 3):
            powers = _joined(_joined(_powers(a.unit), _powers(b.unit), 1), _powers(c.unit), 1)
            if powers == _powers(wanted.unit) and any(
                q.unit is not None and "/" in q.unit.dimension for q in (a, b, c)
            ):
                sizes = [q.value * (q.unit.size if q.unit is not None else 1.0) for q in (a, b, c)]
                yield sizes[0] * sizes[1] * sizes[2] / scale


def _keys(i: int, statement: Statement) -> Iterator[tuple[object, Figure]]:
    for figure in statement.figures:
        yield ("statement", i), figure
        yield ("label", figure.label), figure
        if statement.above >= 0:
            yield ("list", statement.above), figure
