"""Numbers: those of the answer must stand in the evidence, with their unit, limit, label and noun, or follow from it."""

from collections.abc import Iterable, Iterator

from text2expert.evidence.pair import Fault, Pair, said
from text2expert.evidence.quantities import SPANS, Quantity, same_quantity, same_value
from text2expert.evidence.statements import Figure
from text2expert.evidence.wording import LIGHT_STEMS, concept, stem, word_set


def faults(pair: Pair) -> Iterator[Fault]:
    """What does not fit about the answer's numbers."""
    here = [figure for i in pair.pool for figure in pair.source.statements[i].figures]
    for clause in pair.clauses:
        denies = clause.stance.explicit
        for figure in clause.figures:
            same = [other for other in here if _agree(pair, figure, other)] or _elsewhere(pair, figure)
            if not same:
                yield from _missing(pair, figure, here)
                continue
            yield from _misnamed(pair, figure, here)
            yield from _misplaced(figure.quantity, same, turned=_is_turned(pair, figure.quantity, denies=denies))


def _is_turned(pair: Pair, quantity: Quantity, *, denies: bool) -> bool:
    """Whether only one side is a denial: "after 5 days without a reply" is "replies within 5 days"."""
    if quantity.unit is None or quantity.unit.dimension not in SPANS:
        return False
    holding = [
        i for i in pair.pool if any(same_quantity(quantity, f.quantity) for f in pair.source.statements[i].figures)
    ]
    return bool(holding) and all(
        pair.source.stance(i).explicit != denies
        and (denies or any(token.stem in _CONDITIONS for token in pair.source.statements[i].tokens))
        for i in holding
    )


_CONDITIONS = word_set("if unless when")


def _agree(pair: Pair, figure: Figure, other: Figure) -> bool:
    """Whether two numbers are one: a bare number takes a unit only where the evidence uses that unit at all."""
    a, b = figure.quantity, other.quantity
    if not same_quantity(a, b):
        return False
    if a.unit is not None and b.unit is None:
        return a.unit.name in pair.source.units and not other.noun
    if a.unit is None and b.unit is not None and figure.noun:
        return figure.noun in pair.source.stems or figure.noun in pair.question.stems
    return True


def _elsewhere(pair: Pair, figure: Figure) -> list[Figure]:
    """A telling number (with a unit or a noun, or broken) may also come from a statement that has any word of the pair."""
    quantity, noun = figure.quantity, figure.noun
    if pair.quoted is not None or (quantity.unit is None and quantity.value.is_integer() and not noun):
        return []
    stems = (pair.answer.stems | pair.question.stems) - LIGHT_STEMS
    return [
        other
        for statement in pair.source.statements
        if stems & statement.stems
        for other in statement.figures
        if other.noun == noun and _told_alike(quantity, other.quantity)
    ]


def _told_alike(a: Quantity, b: Quantity) -> bool:
    """Whether two quantities are one, and both have a unit or neither."""
    return (a.unit is None) == (b.unit is None) and same_quantity(a, b)


def _missing(pair: Pair, figure: Figure, here: list[Figure]) -> Iterator[Fault]:
    quantity = figure.quantity
    if quantity.value == 1 and quantity.text.isalpha() and _may_be_unwritten(pair, figure):
        other = next((f.quantity for f in here if _counts_the_same(figure, f)), None)
        if other is not None:
            yield Fault("contradicted", f"the answer says {said(quantity)}, the evidence {said(other)}")
    elif not any(same_quantity(quantity, f.quantity) for f in pair.question.figures) and not _computed(
        pair, quantity, here
    ):
        other = next((f.quantity for f in here if same_value(quantity, f.quantity)), None)
        if other is None:
            elsewhere = any(same_quantity(quantity, f.quantity) for f in pair.source.figures)
            told = "says of something else" if elsewhere else "does not"
            yield Fault("unfounded", f"the answer says {said(quantity)}, which the evidence {told}")
        else:
            yield Fault("contradicted", f"the answer says {said(quantity)}, the evidence {said(other)}")


def _may_be_unwritten(pair: Pair, figure: Figure) -> bool:
    """A count of one: "one nurse" may be told as "a nurse", and "once a week" as "weekly"; "one week" needs a week in the evidence."""
    if figure.quantity.unit is None:
        return True
    return any(concept(stem(word)) in pair.source.stems for word in figure.quantity.written.split()[1:])


def _counts_the_same(figure: Figure, other: Figure) -> bool:
    mine, theirs = figure.quantity.unit, other.quantity.unit
    if mine is not None:
        return theirs is not None and theirs.dimension == mine.dimension
    return bool(figure.noun) and figure.noun == other.noun


def _misnamed(pair: Pair, figure: Figure, here: list[Figure]) -> Iterator[Fault]:
    """A number under another name: "rung 10" where the evidence numbers rungs, and none of them 10; "two doctors" where it counts others."""
    quantity = figure.quantity
    if quantity.unit is not None:
        return
    others = [*here, *pair.question.figures]
    alike = [f.quantity for f in others if figure.label and f.label == figure.label and f.quantity.unit is None]
    counted = [f.quantity for f in others if figure.noun and f.noun == figure.noun] if quantity.value != 1 else []
    for values, name in ((alike, figure.label), (counted, figure.noun)):
        if values and not any(same_value(quantity, value) for value in values):
            yield Fault("contradicted", f"the answer has {name} {said(quantity)}, the evidence {said(values[0])}")


def _misplaced(quantity: Quantity, same: list[Figure], *, turned: bool) -> Iterator[Fault]:
    """The value is the evidence's, and the limit or the order in time is not."""
    bounds = {f.quantity.bound for f in same}
    if quantity.bound and not turned and bounds == {"low" if quantity.bound == "high" else "high"}:
        limit, other = ("an upper", "a lower") if quantity.bound == "low" else ("a lower", "an upper")
        yield Fault("contradicted", f"the answer makes {said(quantity)} {limit} limit, the evidence {other} one")
    relations = {f.quantity.relation for f in same}
    if quantity.relation and "" not in relations and quantity.relation not in relations:
        yield Fault(
            "contradicted", f"the answer says {said(quantity)} {quantity.relation}, the evidence {min(relations)}"
        )


# --- arithmetic -------------------------------------------------------------------------------------------------------


def _computed(pair: Pair, quantity: Quantity, here: list[Figure]) -> bool:
    """Whether the number follows from one that the question brings and one of the evidence, in a step or two.

    Sums and differences only where the pair speaks of one: any two numbers of a text add up to a third.
    """
    for asked in pair.question.figures:
        strange = asked.noun and asked.noun not in pair.source.stems  # "which two conditions"
        if _is_name(asked) or strange or any(_told_alike(asked.quantity, other.quantity) for other in here):
            continue  # "step 4", or a condition that the evidence states itself
        for other in here:
            results = _results(asked.quantity, other.quantity, quantity, here)
            if not _is_name(other) and _any_is(results, quantity):
                return True
    adds = any(token.text.lower() in _SUMS for token in pair.question.tokens)
    adds = adds or any(token.text.lower() in _SIGNS for token in pair.answer.tokens)
    terms = [figure.quantity for figure in (*here, *pair.question.figures) if not _is_name(figure)]
    return adds and _any_is(_sums(terms, quantity), quantity)


_SUMS = word_set(
    "total altogether plus minus sum difference differ differs together combined overall left remaining remain remains "
    "exceed exceeds extra"
)
"""What a question says that asks for a sum or a difference."""
_SIGNS = word_set("plus minus altogether")
"""What an answer says that shows one."""


def _sums(terms: list[Quantity], wanted: Quantity) -> Iterator[float]:
    scale = wanted.unit.size if wanted.unit is not None else 1.0
    alike = [q for q in terms if (q.unit and q.unit.dimension) == (wanted.unit and wanted.unit.dimension)]
    sizes = [q.value * (q.unit.size if q.unit is not None else 1.0) / scale for q in alike]
    for i, one in enumerate(sizes):
        for two in sizes[i + 1 :]:
            yield one + two
            yield abs(one - two)


def _any_is(results: Iterable[float], wanted: Quantity) -> bool:
    return any(abs(result - wanted.value) < 1e-9 * max(1.0, abs(result)) for result in results)


def _is_name(figure: Figure) -> bool:
    return bool(figure.label) and figure.quantity.unit is None


def _results(a: Quantity, b: Quantity, wanted: Quantity, here: list[Figure]) -> Iterator[float]:
    """What one number of the question and one of the evidence can give in the unit of the wanted number."""
    if a.unit is not None and b.unit is not None and a.unit.dimension == b.unit.dimension:
        one, two = a.value * a.unit.size, b.value * b.unit.size
        if wanted.unit is None and one and two:
            yield one / two
            yield two / one
    elif (wanted.unit in (a.unit, b.unit) and None in (a.unit, b.unit)) or _is_rate(a, b, wanted):
        yield a.value * b.value
        if a.value and b.value:
            yield a.value / b.value
            yield b.value / a.value
    elif wanted.unit in (a.unit, b.unit) and any(q.unit is not None and q.unit.name == "%" for q in (a, b)):
        yield a.value * b.value / 100
    counts = a.unit is None or (
        b.unit is not None and a.unit.dimension in SPANS and a.unit.dimension != b.unit.dimension
    )
    if counts and b.unit is not None and b.unit == wanted.unit:
        # 27 days, and one more for each of 2 years
        yield from (c.quantity.value + a.value * b.value for c in here if c.quantity.unit == b.unit)


def _is_rate(a: Quantity, b: Quantity, product: Quantity) -> bool:
    """Whether one of two is a rate whose numerator is the product's unit: mL/kg times kg is mL."""
    if product.unit is None:
        return False
    return any(q.unit is not None and q.unit.dimension.startswith(product.unit.dimension + "/") for q in (a, b))
