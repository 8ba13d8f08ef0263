"""Dates and times of day that follow from others: seven years from 1 April 2025, 45 minutes after 7:30."""

import calendar
import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from text2expert.evidence.pair import Pair
from text2expert.evidence.quantities import Quantity
from text2expert.evidence.rates import TERMS
from text2expert.evidence.tokens import Figure, Token
from text2expert.evidence.units import CLOCK, MONTHS
from text2expert.evidence.wording import word_set

_DATES_ASKED = word_set("when until till date day deadline expire expires expiry end ends latest earliest by year")


class _Date(NamedTuple):
    day: Quantity
    year: Quantity | None
    on: dt.date | None


_ANY_YEAR = 2001
"""What a day without a year is counted in: a common year."""


def _dates(made: Sequence[Token]) -> Iterator[_Date]:
    """The dates of a text: a day with its month and the year behind it."""
    for i, token in enumerate(made):
        month = _month(token.quantity)
        if token.quantity is None or not month:
            continue
        after = [t.quantity for t in made[i + 1 : i + 3] if t.quantity is not None]
        year = after[0] if after and after[0].unit is None and 1000 <= after[0].value < 3000 else None
        on = None
        if token.quantity.value.is_integer():
            in_year = int(year.value) if year is not None else _ANY_YEAR
            if 1 <= token.quantity.value <= calendar.monthrange(in_year, month)[1]:
                on = dt.date(in_year, month, int(token.quantity.value))
        yield _Date(token.quantity, year, on)


def _month(quantity: Quantity | None) -> int:
    name = quantity.unit.name if quantity is not None and quantity.unit is not None else ""
    return MONTHS.index(name) + 1 if name in MONTHS else 0


def dated(pair: Pair, quantity: Quantity) -> bool:
    """A date that is a span of the evidence away from one of the evidence or question, or the last day of that span."""
    told = [d for d in _dates(pair.answer.tokens) if d.on and quantity in (d.day, d.year)]
    is_year = quantity.unit is None and 1000 <= quantity.value < 3000 and quantity.value.is_integer()
    if not told and not is_year:
        return False
    made = [pair.question.tokens, *(pair.source.statements[i].tokens for i in pair.pool)]
    bases = [d.on for part in made for d in _dates(part) if d.on]
    figures = [t.quantity for part in made for t in part if t.quantity is not None]
    spans = [q for q in figures if _is_span(q)]
    results = {shifted for base in bases[:TERMS] for span in spans[:TERMS] for shifted in _shifted(base, span)}
    if told and not any(d.on in results for d in told):  # a date and its span in one sentence, wherever that stands
        for statement in pair.source.statements:
            results.update(
                shifted
                for date in _dates(statement.tokens)
                for f in statement.figures
                if date.on is not None and _is_span(f.quantity)
                for shifted in _shifted(date.on, f.quantity)
            )
    if told:
        return any(d.on in results for d in told)
    years = {q.value for q in figures if q.unit is None and 1000 <= q.value < 3000} | {float(b.year) for b in bases}
    lengths = [q.value * q.unit.size / 12 for q in spans if q.unit is not None and q.unit.dimension == "calendar"]
    asked = {token.text.lower() for token in pair.question.tokens}
    return not _DATES_ASKED.isdisjoint(asked) and any(
        quantity.value in (year + length, year - length) for year in years for length in lengths
    )


def _is_span(quantity: Quantity) -> bool:
    return quantity.unit is not None and quantity.unit.dimension in ("time", "calendar") and quantity.value < 1000


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


def clocked(pair: Pair, quantity: Quantity, here: list[Figure]) -> bool:
    """A time of day that is a span away from another, or the span between two, or the sum of the spans of a statement."""
    terms = [f.quantity for f in (*here, *pair.question.figures, *pair.answer.figures) if f.quantity != quantity]
    clocks = list(dict.fromkeys(q.value for q in terms if q.unit is CLOCK))[:TERMS]
    asked = {token.text.lower() for token in pair.question.tokens}
    if not clocks or quantity.unit is None:
        return False
    if quantity.unit is CLOCK:
        if asked.isdisjoint(_CLOCKS_ASKED | _SPANS_ASKED):
            return False
        spans = [_minutes(q) for q in terms if q.unit is not None and q.unit.dimension == "time"][:TERMS]
        spans += [_minutes(one) + _minutes(two) for one, two in pairwise(terms) if _goes_on(one, two)]
        return any(
            abs((clock + sign * span - quantity.value) % 1440) < 1e-6
            for clock in clocks
            for span in spans
            for sign in (1, -1)
        )
    if quantity.unit.dimension != "time" or asked.isdisjoint(_SPANS_ASKED):
        return False
    wanted = _minutes(quantity)
    if any(abs((two - one) % 1440 - wanted) < 1e-6 for one in clocks for two in clocks if one != two):
        return True
    return any(abs(_open(pair.source.statements[i].tokens) - wanted) < 1e-6 for i in pair.pool)


def _minutes(quantity: Quantity) -> float:
    return quantity.value * (quantity.unit.size if quantity.unit is not None else 1.0) / 60


def _goes_on(one: Quantity, two: Quantity) -> bool:
    """Whether two spans are one: "3 hours 30 minutes"."""
    if one.unit is None or two.unit is None or one.unit.dimension != "time" or two.unit.dimension != "time":
        return False
    return 0 <= two.start - one.stop <= 5 and two.unit.size < one.unit.size


def _open(made: Sequence[Token]) -> float:
    """The minutes that the times of day of a statement enclose: "from 8:30 to 11:00 and from 13:30 to 16:00"."""
    clocks = [t.quantity.value for t in made if t.quantity is not None and t.quantity.unit is CLOCK]
    return (
        sum((end - start) % 1440 for start, end in zip(clocks[::2], clocks[1::2], strict=False))
        if len(clocks) > 2
        else 0.0
    )


_CLOCKS_ASKED = word_set("when time latest earliest until till by clock")
_SPANS_ASKED = word_set("long many much hours minutes longer window")
