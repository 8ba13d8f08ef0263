"""Numbers that follow from others: sums, differences, shares, tolerances, rates, conversions, dates.

Any two numbers of a text make a third, so a result counts only where the pair speaks of computing, and what it is computed
from stands in the question or in the statements that the answer may rest on.
"""

import calendar
import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

from text2expert.evidence.pair import Pair
from text2expert.evidence.quantities import (
    CLOCK,
    DIMENSIONS,
    MONTHS,
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
_TERMS = 40
"""Of so many numbers two are tried together: every two of a long passage would make any number."""
_FEW = 12
"""A bare number up to this is too often the ratio of two others."""
_ROUNDED = word_set("about approximately roughly around nearly almost rounded circa approx")
_DATES_ASKED = word_set("when until till date day deadline expire expires expiry end ends latest earliest by year")


def follows(pair: Pair, quantity: Quantity, here: list[Figure]) -> bool:
    """Whether *quantity*, of the answer, follows from numbers of the question and of the evidence (*here*)."""
    if _dated(pair, quantity) or _clocked(pair, quantity, here) or _unwritten(pair, quantity):
        return True
    whole = _compound(pair, quantity)
    if whole is not None and (
        any(same_quantity(whole, f.quantity) for f in here) or _clocked(pair, whole, here) or follows(pair, whole, here)
    ):
        return True
    asked = [f for f in pair.question.figures if not _is_name(f)]
    brought = [
        f.quantity
        for f in asked
        # "which two conditions", or a condition that the evidence states itself
        if not (f.noun and f.noun not in pair.source.stems)
        and not any(_told_alike(f.quantity, other.quantity) for other in here)
    ]
    held = [f.quantity for f in here if not _is_name(f)]
    if any(_any_is(_results(a, b, quantity, held), quantity, pair) for a in brought for b in held):
        return True
    computes = _computes(pair)
    spans = list(_asked_spans(pair.question.tokens)) or list(_own_span(quantity))
    for i in pair.pool:
        if _any_is(_bounds(_terms(pair, i), [f.quantity for f in asked]), quantity, pair) and not quantity.tolerance:
            return True
        if spans and _any_is(_per_span(pair, i, spans, quantity), quantity, pair):
            return True
    factors, percents = _factors(pair)
    shown = [f.quantity for f in (*pair.question.figures, *pair.answer.figures) if f.quantity is not quantity]
    if _any_is(_shares(shown, percents + factors, quantity), quantity, pair):
        return True  # of a number that the pair names
    if factors and any(_any_is(_shares(_terms(pair, i), factors, quantity), quantity, pair) for i in pair.pool):
        return True
    results = [_shown(pair, quantity, sums=bool(computes))]
    if computes:
        results.append(_products([*brought, *spans], held, quantity))
    if computes in ("sum", "total"):
        results += [_sums([*held, *(f.quantity for f in asked)], quantity)]
    if computes == "total":
        results.append(_totals(pair, quantity))
    return any(_any_is(some, quantity, pair) for some in results)


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
    for one, two in combinations(sizes[:_TERMS], 2):
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
    for a, b in combinations(held[:_TERMS], 2):
        if (a.unit is None) != (b.unit is None) or (
            a.unit is not None and b.unit is not None and a.unit.dimension != b.unit.dimension
        ):
            yield from _combined(a, b, wanted)


# --- tolerances, intervals, shares ------------------------------------------------------------------------------------


def _terms(pair: Pair, i: int) -> list[Quantity]:
    return [figure.quantity for figure in pair.source.statements[i].figures]


def _bounds(terms: Sequence[Quantity], asked: Sequence[Quantity]) -> Iterator[float]:
    """44 ± 0.5 is from 43.5 to 44.5; a percentage is of the value."""
    for value, slack in (*pairwise(terms), *((value, slack) for value in asked for slack in terms if slack.tolerance)):
        alike = value.unit is None or slack.unit is None or value.unit.dimension == slack.unit.dimension
        if slack.tolerance and (alike or slack.unit.name == "%"):
            percent = slack.unit is not None and slack.unit.name == "%" and value.unit != slack.unit
            by = value.value * slack.value / 100 if percent else slack.value
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


def _per_span(pair: Pair, i: int, spans: Sequence[Quantity], wanted: Quantity) -> Iterator[float]:
    """750 mg every 12 hours is 1500 mg a day; 2 tablets three times a day are 6."""
    terms = _terms(pair, i)
    span_terms = [q for q in terms if q.unit is not None and q.unit.dimension in SPANS]
    rates = [q for q in terms if q.unit is not None and "/" in q.unit.dimension]
    scale = wanted.unit.size if wanted.unit is not None else 1.0
    goal = _powers(wanted.unit)
    for span in spans:
        assert span.unit is not None
        length = span.unit.size
        for amount in terms:
            if amount.unit is not None and (amount.unit.dimension in SPANS or "/" in amount.unit.name):
                continue
            size = amount.value * (amount.unit.size if amount.unit is not None else 1.0)
            own, whole = (q.unit.dimension if q.unit is not None else "count" for q in (amount, wanted))
            fits, per = own == whole, f"{own}/{span.unit.dimension}" == whole
            if amount.unit is None and whole.count("/") == 1:  # 2 tablets
                per = whole.endswith("/" + span.unit.dimension)
            if not (fits or per):
                continue
            for each in span_terms:
                assert each.unit is not None
                if each.unit.dimension == span.unit.dimension and each.value:
                    times = length / (each.value * each.unit.size)
                    yield size * times / (scale if fits else scale * length)
            for rate in rates:  # three times a day
                assert rate.unit is not None
                if _powers(rate.unit) == {span.unit.dimension: -1} and rate is not amount:
                    times = rate.value * rate.unit.size * length
                    yield size * times / (scale if fits else scale * length)
        for rate in rates:
            assert rate.unit is not None
            if _joined(_powers(rate.unit), {span.unit.dimension: 1}, 1) == goal:
                yield rate.value * rate.unit.size * length / scale
        for each in span_terms:  # every 8 hours is three times a day
            assert each.unit is not None
            if each.unit.dimension == span.unit.dimension and each.value:
                if not goal:
                    yield length / (each.value * each.unit.size)
                elif goal == {span.unit.dimension: -1}:
                    yield 1 / (each.value * each.unit.size) / scale
    if spans and any(
        token.text.lower() in ("daily", "day") for token in pair.source.statements[i].tokens
    ):  # twice daily
        for amount, often in combinations(terms, 2):
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


# --- dates and times of day -------------------------------------------------------------------------------------------


class _Date(NamedTuple):
    day: Quantity
    year: Quantity | None
    on: dt.date | None


def _dates(made: Sequence[Token]) -> Iterator[_Date]:
    """The dates of a text: a day with its month and the year behind it."""
    for i, token in enumerate(made):
        month = _month(token.quantity)
        if token.quantity is None or not month:
            continue
        after = [t.quantity for t in made[i + 1 : i + 3] if t.quantity is not None]
        year = after[0] if after and after[0].unit is None and 1000 <= after[0].value < 3000 else None
        on = None
        if year is not None and token.quantity.value.is_integer():
            last = calendar.monthrange(int(year.value), month)[1]
            if 1 <= token.quantity.value <= last:
                on = dt.date(int(year.value), month, int(token.quantity.value))
        yield _Date(token.quantity, year, on)


def _month(quantity: Quantity | None) -> int:
    name = quantity.unit.name if quantity is not None and quantity.unit is not None else ""
    return MONTHS.index(name) + 1 if name in MONTHS else 0


def _dated(pair: Pair, quantity: Quantity) -> bool:
    """A date that is a span of the evidence away from one of the evidence or question, or the last day of that span."""
    told = [d for d in _dates(pair.answer.tokens) if d.on and quantity in (d.day, d.year)]
    is_year = quantity.unit is None and 1000 <= quantity.value < 3000 and quantity.value.is_integer()
    if not told and not is_year:
        return False
    made = [pair.question.tokens, *(pair.source.statements[i].tokens for i in pair.pool)]
    bases = [d.on for part in made for d in _dates(part) if d.on]
    figures = [t.quantity for part in made for t in part if t.quantity is not None]
    spans = [q for q in figures if q.unit is not None and q.unit.dimension in ("time", "calendar") and q.value < 1000]
    results = {shifted for base in bases[:_TERMS] for span in spans[:_TERMS] for shifted in _shifted(base, span)}
    if told:
        return any(d.on in results for d in told)
    years = {q.value for q in figures if q.unit is None and 1000 <= q.value < 3000} | {float(b.year) for b in bases}
    lengths = [q.value * q.unit.size / 12 for q in spans if q.unit is not None and q.unit.dimension == "calendar"]
    asked = {token.text.lower() for token in pair.question.tokens}
    return not _DATES_ASKED.isdisjoint(asked) and any(
        quantity.value in (year + length, year - length) for year in years for length in lengths
    )


def _shifted(base: dt.date, span: Quantity) -> Iterator[dt.date]:
    assert span.unit is not None
    for sign in (1, -1):
        try:
            if span.unit.dimension == "calendar":
                months = base.year * 12 + base.month - 1 + sign * round(span.value * span.unit.size)
                year, month = divmod(months, 12)
                day = min(base.day, calendar.monthrange(year, month + 1)[1])
                end = dt.date(year, month + 1, day)
            else:
                end = base + dt.timedelta(seconds=sign * span.value * span.unit.size)
            yield end
            yield end - dt.timedelta(days=1)  # the last day of the span
        except (ValueError, OverflowError):
            continue


def _clocked(pair: Pair, quantity: Quantity, here: list[Figure]) -> bool:
    """A time of day that is a span away from another, or the span between two."""
    terms = [f.quantity for f in (*here, *pair.question.figures)]
    clocks = list(dict.fromkeys(q.value for q in terms if q.unit is CLOCK))[:_TERMS]
    asked = {token.text.lower() for token in pair.question.tokens}
    if not clocks or quantity.unit is None:
        return False
    if quantity.unit is CLOCK:
        if asked.isdisjoint(_CLOCKS_ASKED):
            return False
        spans = [q.value * q.unit.size / 60 for q in terms if q.unit is not None and q.unit.dimension == "time"][
            :_TERMS
        ]
        return any(
            abs((clock + sign * span - quantity.value) % 1440) < 1e-6
            for clock in clocks
            for span in spans
            for sign in (1, -1)
        )
    if quantity.unit.dimension != "time" or asked.isdisjoint(_SPANS_ASKED):
        return False
    wanted = quantity.value * quantity.unit.size / 60
    return any(abs((two - one) % 1440 - wanted) < 1e-6 for one in clocks for two in clocks if one != two)


_CLOCKS_ASKED = word_set("when time latest earliest until till by clock")
_SPANS_ASKED = word_set("long many much hours minutes longer")
