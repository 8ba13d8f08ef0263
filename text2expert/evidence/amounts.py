"""Numbers: those of the answer must stand in the evidence, with their unit, limit, label and noun, or follow from it."""

from collections.abc import Iterator

from text2expert.evidence.arithmetic import follows
from text2expert.evidence.pair import Fault, Pair, said
from text2expert.evidence.quantities import Quantity, same_quantity, same_value
from text2expert.evidence.rates import asked_spans
from text2expert.evidence.statements import Figure
from text2expert.evidence.units import ORDINAL, SPANS, unit_of
from text2expert.evidence.wording import LIGHT_STEMS, concept, stem, word_set


def faults(pair: Pair) -> Iterator[Fault]:
    """What does not fit about the answer's numbers."""
    here = [figure for i in pair.pool for figure in pair.source.statements[i].figures]
    for clause in pair.clauses:
        bans = bool(clause.stance.bans)
        denies = clause.stance.explicit
        for figure in clause.figures:
            same = [other for other in here if _agree(pair, figure, other)] or _elsewhere(pair, figure)
            if not same:
                yield from _missing(pair, figure, here)
                continue
            yield from _misnamed(pair, figure, here)
            yield from _misplaced(
                figure.quantity, same, turned=_is_turned(pair, figure.quantity, denies=denies, bans=bans)
            )


def _is_turned(pair: Pair, quantity: Quantity, *, denies: bool, bans: bool) -> bool:
    """Whether only one side is a denial: "after 5 days without a reply" is "replies within 5 days"."""
    if quantity.unit is None:
        return False
    holding = [
        i for i in pair.pool if any(same_quantity(quantity, f.quantity) for f in pair.source.statements[i].figures)
    ]
    if bans and holding and all(pair.source.statements[i].denied for i in holding):
        return True  # "gifts above 20 euros are forbidden", of a list of what is
    cases = [bool(pair.source.stance(i).cases_of) for i in holding]  # "Do not spray if: it is above 28"
    if cases and all(cases) and not denies and not pair.asks.explicit:
        return True
    span = quantity.unit.dimension in SPANS
    return bool(holding) and all(
        pair.source.stance(i).explicit != denies
        and ((denies and span) or any(token.stem in _CONDITIONS for token in pair.source.statements[i].tokens))
        for i in holding
    )


_CONDITIONS = word_set("if unless when that which who")


def _agree(pair: Pair, figure: Figure, other: Figure) -> bool:
    """Whether two numbers are one: a bare number takes a unit only where the evidence uses that unit at all."""
    a, b = figure.quantity, other.quantity
    if not same_quantity(a, b):
        return _per_named_span(pair, a, b)
    if a.unit is not None and b.unit is None:
        return a.unit.name in pair.source.units and not other.noun
    if b.unit_apart and a.unit is None and other.label:
        return True  # the column's header has the unit
    if a.unit is None and b.unit is not None and figure.noun:
        if figure.noun == concept(stem("times")) and (
            b.unit.dimension.startswith("count/") or b.unit.dimension in SPANS
        ):
            return b.unit.dimension not in SPANS  # three times a day, and never every three hours
        return figure.noun in pair.source.stems or figure.noun in pair.question.stems
    return True


def _per_named_span(pair: Pair, a: Quantity, b: Quantity) -> bool:
    """Whether the two differ only in a span that the pair names apart: "by 3 % each year" is 3 % a year."""
    for one, two in ((a, b), (b, a)):
        if one.unit is None or two.unit is None or not one.unit.name.startswith(two.unit.name + "/"):
            continue
        below = unit_of(one.unit.name.removeprefix(two.unit.name + "/"))
        if below is None or below.dimension not in SPANS or one.value != two.value:
            continue
        parts = [pair.question.tokens, pair.answer.tokens, *(pair.source.statements[i].tokens for i in pair.pool)]
        spans = [span for made in parts for span in asked_spans(made)]
        names = {token.stem for token in (*pair.question.tokens, *pair.answer.tokens)}
        if stem(below.name) in names or any(q.unit == below for q in spans):
            return True
    return False


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
    elif not _is_asked(pair, quantity) and not _counts_on(quantity, here) and not follows(pair, quantity, here):
        other = next((f.quantity for f in here if same_value(quantity, f.quantity)), None)
        if other is None:
            elsewhere = any(same_quantity(quantity, f.quantity) for f in pair.source.figures)
            told = "says of something else" if elsewhere else "does not"
            yield Fault("unfounded", f"the answer says {said(quantity)}, which the evidence {told}")
        else:
            yield Fault("contradicted", f"the answer says {said(quantity)}, the evidence {said(other)}")


def _is_asked(pair: Pair, quantity: Quantity) -> bool:
    """Whether the question has the number; it is no answer by itself where a number is asked for."""
    numbers = [f.quantity for f in pair.question.figures]
    if not any(same_quantity(quantity, number) for number in numbers):
        return False
    opener = next(
        (token.stem for token in pair.question.tokens if token.stem in ("how", "when", "what", "which", "who")), ""
    )
    told = [f.quantity for f in pair.answer.figures]
    return opener not in ("how", "when") or not all(any(same_quantity(q, number) for number in numbers) for q in told)


def _counts_on(quantity: Quantity, here: list[Figure]) -> bool:
    """Whether an ordinal is the end of a span of the evidence: "the days beyond the fifth", where 5 days are told."""
    return quantity.unit is ORDINAL and any(
        f.quantity.value == quantity.value and f.quantity.unit is not None and f.quantity.unit.dimension in SPANS
        for f in here
    )


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
