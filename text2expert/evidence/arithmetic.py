"""Numbers that follow from others: sums, differences, shares, tolerances, rates, conversions, dates.

Any two numbers of a text make a third, so a result counts only where the pair speaks of computing, and what it is computed
from stands in the question or in the statements that the answer may rest on.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise

from text2expert.evidence.cues import Computing, computes
from text2expert.evidence.dates import clocked, dated
from text2expert.evidence.pair import Pair
from text2expert.evidence.quantities import Quantity, same_quantity
from text2expert.evidence.rates import (
    SPAN_NAMES,
    SPAN_WORDS,
    TERMS,
    asked_spans,
    combined,
    counted_amounts,
    counts,
    frequencies,
    in_proportion,
    is_percent,
    joined,
    made_of,
    own_span,
    per_span,
    powers,
    shares_of,
    size,
    sums,
)
from text2expert.evidence.statements import Statement
from text2expert.evidence.tokens import Figure, Token
from text2expert.evidence.units import ORDINAL, SPANS, Unit, unit_of
from text2expert.evidence.wording import concept, stem, word_set

_TIME = concept(stem("times"))
_FEW = 12
"""A bare number up to this is too often the ratio of two others."""
_ROUNDED = word_set("about approximately roughly around nearly almost rounded circa approx")


def follows(pair: Pair, quantity: Quantity, here: list[Figure]) -> bool:
    """Whether *quantity*, of the answer, follows from numbers of the question and of the evidence (*here*)."""
    found = any(_follows(pair, reading, here) for reading in _readings(pair, quantity))
    pair.computed = pair.computed or found
    return found


def _readings(pair: Pair, quantity: Quantity) -> Iterator[Quantity]:
    """A number as it is, and in the unit that the question asks for or the answer goes on with: "How many days?" - "35."."""
    yield quantity
    if quantity.unit is not None:  # "1,400 litres" a day, where the question says "a day"
        for span in asked_spans(pair.question.tokens):
            rate = unit_of(f"{quantity.unit.name}/{span.unit.name}") if span.unit is not None else None
            if rate is not None and rate.dimension in pair.source.dimensions:
                yield quantity._replace(unit=rate)
    if quantity.unit is not None or any(f.noun and f.quantity.start == quantity.start for f in pair.answer.figures):
        return
    asked = pair.question.tokens
    units = [
        unit_of(following.text)
        for one, two, following in zip(asked, asked[1:], asked[2:], strict=False)
        if (one.text.lower(), two.text.lower()) in (("how", "many"), ("number", "of")) or two.text.lower() == "in"
    ]
    told = {f.quantity.unit for f in pair.answer.figures if f.quantity.unit is not None}
    units += told if len(told) == 1 else []
    for unit in dict.fromkeys(unit for unit in units if unit is not None and _is_spoken_of(pair, unit)):
        yield quantity._replace(unit=unit, unit_apart=True)


def _is_spoken_of(pair: Pair, unit: Unit) -> bool:
    dimensions = pair.source.dimensions
    return unit.dimension in dimensions or (unit.dimension == "time" and "clock" in dimensions)


def _follows(pair: Pair, quantity: Quantity, here: list[Figure], *, shown: bool = True) -> bool:
    if quantity.unit_apart and any(same_quantity(quantity, f.quantity) for f in here):
        return True
    if dated(pair, quantity) or clocked(pair, quantity, here) or _unwritten(pair, quantity):
        return True
    whole = _compound(pair, quantity)
    if whole is not None and (
        any(same_quantity(whole, f.quantity) for f in here) or _follows(pair, whole, here, shown=False)
    ):
        return True
    if _as_often(pair, quantity) or _is_about(pair, quantity, here):
        return True
    computing = computes(pair)
    if any(_any_is(results, quantity, pair) for results in _ways(pair, quantity, here, computing)):
        return True
    return shown and any(_any_is(results, quantity, pair) for results in _working(pair, quantity, here))


def _ways(pair: Pair, wanted: Quantity, here: list[Figure], computing: Computing) -> Iterator[Iterator[float]]:
    """What the numbers at hand can give, way by way."""
    asked = [f for f in pair.question.figures if not _is_name(f)]
    names = {count.value: count.names for count in counts(pair.question.tokens)}
    brought = [
        f.quantity
        for f in asked
        # "which two conditions", or a condition that the evidence states itself
        if not (f.noun and names.get(f.quantity.value, frozenset((f.noun,))).isdisjoint(pair.source.stems))
        and not any(_told_alike(f.quantity, other.quantity) and f.noun in ("", other.noun) for other in here)
    ]
    held = [f.quantity for f in here if not _is_name(f)]
    yield from (_results(a, b, wanted, held) for a in brought for b in held)
    spans = list(asked_spans(pair.question.tokens)) or list(own_span(wanted))
    named = [f.quantity for f in pair.question.figures]
    named += [f.quantity for f in pair.answer.figures if f.quantity.start != wanted.start]
    factors, percents = _factors(pair)
    yield _shares(named, percents + factors, wanted)
    for i in pair.pool:
        terms = _terms(pair, i)
        if not wanted.tolerance:
            yield _bounds(terms, [f.quantity for f in asked])
        yield from (per_span(terms, span, wanted) for span in spans)
        yield from (_as_often_as(pair, i, span, wanted) for span in spans)
        if spans and any(token.text.lower() in ("daily", "day") for token in pair.source.statements[i].tokens):
            yield _often(terms, wanted)
        yield _shares(terms, factors, wanted)
        yield _percentages(pair, i, wanted)
        yield from (in_proportion(a, terms, wanted) for a in brought)
        yield shares_of(terms if computing.share and not any(map(is_percent, held)) else (), wanted)
    asked_about = pair.asked()
    yield from (
        _percentages(pair, i, wanted)
        for i, statement in enumerate(pair.source.statements)
        if brought and i not in pair.pool and not asked_about.isdisjoint(statement.stems)
    )
    yield _steps(pair, wanted, brought)
    if wanted.unit is not None and wanted.unit.dimension == "points":  # they are differences by nature
        yield sums(held, wanted)
    yield (a.value - b.value for a in brought for b in held if _alike(a, b, wanted))
    yield _for_each(pair, wanted, brought)
    yield _further(pair, wanted)
    if computing.ratio:
        yield _ratios(held, wanted)
    if computing.sum or computing.rate:
        yield _products([*brought, *spans], held, wanted)
    yield (100 - q.value for q in held if computing.sum and is_percent(q) and is_percent(wanted))
    if computing.sum:
        beside = [f.quantity for i in _beside(pair) for f in pair.source.statements[i].figures if not _is_name(f)]
        yield sums([*held, *(f.quantity for f in asked), *beside], wanted)
    if computing.total:
        yield _totals(pair, wanted)


def _beside(pair: Pair) -> list[int]:
    """The neighbours, in their paragraph or table, of the statements that the answer may rest on."""
    held, pool = pair.source.statements, set(pair.pool)
    near = {j for i in pool for j in (i - 1, i + 1) if 0 <= j < len(held) and held[j].block == held[i].block}
    if any(held[i].row for i in pool):
        near |= {i for i, statement in enumerate(held) if statement.row}
    return sorted(near - pool)


def _alike(a: Quantity, b: Quantity, wanted: Quantity) -> bool:
    """Whether three numbers have one unit that is not converted: 9 days, 5 days and 4 days."""
    return a.unit is not None and a.unit == b.unit == wanted.unit


def _is_name(figure: Figure) -> bool:
    return bool(figure.label) and not figure.noun and figure.quantity.unit is None


def _told_alike(a: Quantity, b: Quantity) -> bool:
    return (a.unit is None) == (b.unit is None) and same_quantity(a, b)


def _unwritten(pair: Pair, quantity: Quantity) -> bool:
    """A span that the evidence names without a number: "every fortnight" is every two weeks, "daily" every 24 hours."""
    if quantity.unit is None or quantity.unit.dimension not in SPANS:
        return False
    for i in pair.pool:
        made = pair.source.statements[i].tokens
        for before, token in pairwise([*made[:1], *made]):
            word = token.text.lower()
            every = before.text.lower() in ("every", "each", "per", "a", "one")
            often = before.quantity.value if before.quantity is not None and before.quantity.unit is ORDINAL else 0.0
            name = SPAN_WORDS.get(word, word if every or often else "")
            unit = unit_of(name) if name in SPAN_NAMES else None
            if unit is not None and same_quantity(quantity, Quantity(often or 1.0, unit, 0, 0, 0, "1", name)):
                return True  # "every second day" is every 2 days
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
    """Whether one of *results* is the wanted number: rounded as it is written, where the result has no short form itself."""
    decimals = len(wanted.text.partition(".")[2])
    half = 0.5 * 10.0**-decimals
    for result in results:
        off = abs(result - wanted.value)
        if off > half:
            continue
        about = any(token.text.lower() in _ROUNDED for token in pair.answer.tokens)
        slack = half if about or decimals else 0.0
        exact = 1e-9 * max(1.0, abs(result))
        if off <= exact or (off <= slack and (about or abs(result - round(result, decimals + 2)) > exact)):
            return True
    return False


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
        yield from combined(a, b, wanted)
    counts = a.unit is None or (
        b.unit is not None and a.unit.dimension in SPANS and a.unit.dimension != b.unit.dimension
    )
    if counts and b.unit is not None and b.unit == wanted.unit:
        # 27 days, and one more for each of 2 years
        yield from (c.value + a.value * b.value for c in here if c.unit == b.unit)


def _products(brought: Sequence[Quantity], held: Sequence[Quantity], wanted: Quantity) -> Iterator[float]:
    for a in brought:
        for b in held:
            yield from combined(a, b, wanted)
    for a, b in combinations(held[:TERMS], 2):
        if (a.unit is None) != (b.unit is None) or (
            a.unit is not None and b.unit is not None and a.unit.dimension != b.unit.dimension
        ):
            yield from combined(a, b, wanted)


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


def _often(terms: Sequence[Quantity], wanted: Quantity) -> Iterator[float]:
    """500 mg twice daily is 1 g."""
    for amount, often in combinations(terms[:TERMS], 2):
        if often.unit is None or amount.unit is None:
            yield from combined(amount, often, wanted)


def _as_often_as(pair: Pair, i: int, span: Quantity, wanted: Quantity) -> Iterator[float]:
    """150 mL on three days a week are 450 mL a week."""
    if span.unit is None or wanted.unit is None or "/" in wanted.unit.name:
        return
    often = [
        o.times * span.unit.size
        for o in frequencies(pair.source.statements[i].tokens)
        if o.dimension == span.unit.dimension
    ]
    for amount in _terms(pair, i):
        if amount.unit is not None and amount.unit.dimension == wanted.unit.dimension:
            yield from (size(amount) * times / wanted.unit.size for times in often)


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
        if is_percent(quantity):
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


def _percentages(pair: Pair, i: int, wanted: Quantity) -> Iterator[float]:
    """85 per cent of what the statement, the one before it or the question names; more or less by it where it changes."""
    held = pair.source.statements
    told = {f.quantity.value for f in pair.answer.figures if is_percent(f.quantity)}  # then it is no working
    percents = [q.value / 100 for q in _terms(pair, i) if is_percent(q) and q.value not in told]
    asked = [token.text.lower() for token in pair.question.tokens]
    if not percents or is_percent(wanted) or (wanted.unit is None and ("how", "many") not in pairwise(asked)):
        return
    near = [i, *([i - 1] if i and held[i - 1].block == held[i].block else [])]
    terms = [q for j in near for q in _terms(pair, j)] + [f.quantity for f in pair.question.figures]
    goal, scale = (wanted.unit.dimension, wanted.unit.size) if wanted.unit is not None else (None, 1.0)
    wholes = [size(q) for q in terms if (q.unit and q.unit.dimension) == goal]
    words = {token.stem for token in (*held[i].tokens, *pair.question.tokens)}
    for share in percents:
        shares = (share, 1 - share, 1 + share) if not words.isdisjoint(_CHANGES) else (share,)
        yield from (whole * part / scale for whole in wholes for part in shares)


_CHANGES = frozenset(
    map(
        stem,
        word_set("rise raise increase reduce lower cut discount surcharge add more less left remaining rest without"),
    )
)


def _for_each(pair: Pair, wanted: Quantity, brought: Sequence[Quantity]) -> Iterator[float]:
    """Six nodes of which each handles 250 requests a second; 4 days beyond the fifth at 60 euros for each further day."""
    counted = [count for made in (pair.question.tokens, pair.answer.tokens) for count in counts(made)]
    counted += pair.source.counts
    scale = wanted.unit.size if wanted.unit is not None else 1.0
    for i in pair.pool:  # two pauses of 15 minutes
        for number, amount in counted_amounts(pair.source.statements[i].tokens):
            if (amount.unit and amount.unit.dimension) == (wanted.unit and wanted.unit.dimension):
                yield number * size(amount) / scale
    spans = list(asked_spans(pair.question.tokens))
    asked = frozenset(name for count in counts(pair.question.tokens) for name in count.names)
    for i, names in enumerate(pair.source.held_for_each):
        if i not in pair.pool and names.isdisjoint(asked):
            continue
        if not names:
            continue
        terms = _terms(pair, i)
        many = {count.value for count in counted if not names.isdisjoint(count.names)}
        many |= {
            span.unit.size / unit.size  # so much per month, asked for per year
            for span in spans
            for unit in map(unit_of, names & SPAN_NAMES)
            if span.unit is not None and unit is not None and unit.dimension == span.unit.dimension
        }
        many |= {
            a.value - size(b) / a.unit.size
            for a in brought
            for b in terms
            if a.unit is not None and b.unit is not None and a.unit.dimension == b.unit.dimension and size(a) > size(b)
        }
        for amount in terms:
            alike = (amount.unit and amount.unit.dimension) == (wanted.unit and wanted.unit.dimension)
            if alike:
                yield from (size(amount) * number / scale for number in many)


def _further(pair: Pair, wanted: Quantity) -> Iterator[float]:
    """Within 5 minutes, and after a further 10 minutes: 15 minutes. 16 GB, of which 4 are reserved: 12 GB."""
    held = pair.source.statements
    for i in pair.pool:
        made = held[i].tokens
        words = [token.text.lower() for token in made]
        parts = any(one == "of" and two in ("which", "them", "these", "whom") for one, two in pairwise(words))
        goes_on = any(
            one in _FURTHER or (two.quantity is not None and _FURTHER & set(two.quantity.written.lower().split()))
            for one, two in zip(["", *words], made, strict=False)
            if two.quantity is not None
        )
        if not (parts or goes_on):
            continue
        before = _terms(pair, i - 1) if i and goes_on and held[i - 1].block == held[i].block else []
        yield from sums([*before, *_terms(pair, i)][:6], wanted)


def _steps(pair: Pair, wanted: Quantity, brought: Sequence[Quantity]) -> Iterator[float]:
    """What something comes to that changes by a number: 18 months, extended by 6; 48 %, which may change by 5 points."""
    for i in pair.pool:
        made = pair.source.statements[i].tokens
        for j, token in enumerate(made):
            step = token.quantity
            if (
                step is None
                or step.unit is None
                or not any(before.text.lower() in _STEPS for before in made[max(0, j - 4) : j])
            ):
                continue
            plain = step._replace(unit=Unit("%", "percent", 1.0)) if step.unit.dimension == "points" else step
            for base in (*brought, *(t.quantity for t in made if t.quantity is not None and t is not token)):
                yield from sums((base, plain), wanted)


_STEPS = word_set("by plus minus")
_FURTHER = word_set("further another additional more extra")


def _ratios(held: Sequence[Quantity], wanted: Quantity) -> Iterator[float]:
    """Half as long: 12 months are half of 24."""
    if wanted.unit is None:
        for a, b in combinations(held[:TERMS], 2):
            if (
                a.unit is not None
                and b.unit is not None
                and a.unit.dimension == b.unit.dimension
                and size(a)
                and size(b)
            ):
                yield size(a) / size(b)
                yield size(b) / size(a)


def _as_often(pair: Pair, quantity: Quantity) -> bool:
    """Whether a frequency of the answer is one of the evidence: six times a year is every two months."""
    made = pair.answer.tokens
    place = next(
        (i for i, token in enumerate(made) if token.quantity is not None and token.quantity.start == quantity.start), -1
    )
    if place < 0:
        return False
    own: list[tuple[str, float]] = []
    counted = False  # an interval of the answer follows from a count of the evidence
    if quantity.unit is not None and quantity.unit.dimension in SPANS:
        if place and made[place - 1].text.lower() in ("every", "each") and quantity.value:
            own.append((quantity.unit.dimension, 1 / size(quantity)))
        counted = True
    elif quantity.unit is None or quantity.unit.dimension.startswith("count"):
        asked = [*asked_spans(pair.question.tokens), *asked_spans(made[place : place + 5])]
        own += [(q.unit.dimension, quantity.value / q.unit.size) for q in asked if q.unit is not None]
    told = [often for i in pair.pool for often in frequencies(pair.source.statements[i].tokens)] if own else []
    return any(
        dimension == often.dimension and abs(times - often.times) <= 1e-9 * often.times
        for dimension, times in own
        for often in told
        if often.counted or not counted
    )


def _is_about(pair: Pair, quantity: Quantity, here: list[Figure]) -> bool:
    """Whether a span is roughly one of the evidence: "about 26 weeks" are 6 months, where the pair says that it is rounded."""
    if quantity.unit is None or quantity.unit.dimension not in _DAYS:
        return False
    if _ROUNDED.isdisjoint(token.text.lower() for part in (pair.question, pair.answer) for token in part.tokens):
        return False
    days = size(quantity) * _DAYS[quantity.unit.dimension]
    return any(
        abs(size(f.quantity) * _DAYS[f.quantity.unit.dimension] - days) <= 0.03 * days
        for f in here
        if f.quantity.unit is not None and f.quantity.unit.dimension in _DAYS
    )


_DAYS = {"time": 1 / 86400, "calendar": 365.25 / 12}


def _working(pair: Pair, wanted: Quantity, here: list[Figure]) -> Iterator[Iterator[float]]:
    """What the answer's own numbers make, those that the evidence states or that follow: "480 mg divided by 5 mg/kg is 96 kg"."""
    if _is_listed(pair.answer.tokens, wanted):
        return
    terms: list[Quantity] = []
    counting = {f.quantity.start for f in pair.answer.figures if f.noun or f.label}
    for quantity in [f.quantity for f in pair.answer.figures if f.quantity.start != wanted.start][:8]:
        stated = (*here, *pair.question.figures, *(pair.source.figures if quantity.unit is not None else ()))
        told = [f.quantity for f in stated if same_quantity(quantity, f.quantity)]
        with_unit = next((q for q in told if q.unit is not None), None)
        if told:
            terms.append(with_unit if quantity.unit is None and with_unit is not None else quantity)
            if quantity.unit is None and with_unit is None and quantity.start not in counting:
                terms.append(quantity._replace(unit=wanted.unit))  # "2 of the 5 days"
        elif _follows(pair, quantity, here, shown=False):
            terms.append(quantity)
    own = len(terms)
    terms += [f.quantity for f in pair.question.figures]
    scale = wanted.unit.size if wanted.unit is not None else 1.0
    small = wanted.unit is None and wanted.value.is_integer() and wanted.value <= _FEW
    for a, b in combinations(terms[:8], 2):
        yield sums((a, b), wanted) if small else made_of(a, b, wanted)
    if wanted.unit is None and (wanted.value < 1 or wanted.text.lower() in _MULTIPLES):
        yield _ratios(terms, wanted)
    alike = [
        size(q) / scale for q in terms[:own] if (q.unit and q.unit.dimension) == (wanted.unit and wanted.unit.dimension)
    ]
    if len(alike) >= 3:
        yield iter((sum(alike),))
    ones = sum(token.text.lower() in ("a", "an", "one") for token in pair.answer.tokens)
    if len(alike) >= 2 and wanted.unit is None:  # a supervisor, two welders and five workers
        yield iter((sum(alike) + ones,))


_MULTIPLES = word_set("twice thrice double triple")


def _is_listed(made: Sequence[Token], wanted: Quantity) -> bool:
    """Whether a number stands in a list or range with the next or last one: there it is told for itself."""
    place = next(
        (i for i, token in enumerate(made) if token.quantity is not None and token.quantity.start == wanted.start), -1
    )
    for step in (1, -1):
        joint, other = (made[i] if 0 <= i < len(made) else None for i in (place + step, place + 2 * step))
        if joint is None or other is None or other.quantity is None or joint.text.lower() not in _LISTS:
            continue
        if (other.quantity.unit and other.quantity.unit.dimension) == (wanted.unit and wanted.unit.dimension):
            return True
    return False


_LISTS = frozenset((",", "and", "or", "to", "\u2013", "\u2014"))


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
            product = joined(joined(powers(a.unit), powers(b.unit), 1), powers(c.unit), 1)
            if product == powers(wanted.unit) and any(
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
