"""Words: the answer must bring nothing new, be of the kind that was asked, and come from what the question is about."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from text2expert.evidence.arithmetic import follows
from text2expert.evidence.cues import computes
from text2expert.evidence.pair import Clause, Fault, Pair, said, shared
from text2expert.evidence.quantities import Quantity, same_quantity
from text2expert.evidence.statements import Statement
from text2expert.evidence.tokens import Figure, Token
from text2expert.evidence.units import DIMENSIONS, SPANS, Unit
from text2expert.evidence.wording import LIGHT_STEMS, OF_BANS, concept, word_set

NEW = 0.5
"""A clause with more than this share of new content words, and at least two of them, brings something new."""
KNOWN = 0.3
"""The share of the question's content words that must occur in the evidence."""
ABOUT = 0.12
"""The share of the question's weight that must lie in the statements that carry the answer."""
BELONGS = 0.25
"""The same, of the most that any statement has."""
TOLD = 0.3
"""What some statement must have of the question's weight, before it counts that the answer comes from another."""
SAYS = 0.8
"""A statement with this share of the question's weight says what the question asks."""
ELSEWHERE = 0.6
"""An answer is another statement's when this share of its own words stands there."""
CARRIED = 0.7
"""A statement carries a clause of the answer when it holds this share of what the best one holds."""
CARRIES = 0.3
"""What a statement must hold at least to carry anything, in words that occur once."""


def faults(pair: Pair) -> Iterator[Fault]:
    """What the answer adds, and where it answers something else."""
    for clause in pair.clauses:
        yield from _new(pair, clause)
    yield from _added(pair)
    yield from _beside_the_quote(pair)
    yield from _about_something_else(pair)
    yield from _of_another_statement(pair)
    yield from _of_another_part(pair)


def _new(pair: Pair, clause: Clause) -> Iterator[Fault]:
    told = clause.stems - LIGHT_STEMS
    new = told - pair.source.stems - pair.question.stems
    if len(new) >= 2 and len(new) > NEW * len(told):
        yield Fault("unfounded", f"the evidence has nothing of {clause.shown(new)}")


def _added(pair: Pair) -> Iterator[Fault]:
    """What stands behind "and", "then" or "plus" is judged by itself: what comes before may be as true as it likes."""
    known = pair.source.stems | pair.question.stems | LIGHT_STEMS
    for clause in pair.clauses:
        for part in _conjuncts(clause.tokens):
            told = [token for token in part if token.content and concept(token.stem) not in LIGHT_STEMS]
            new = {concept(token.stem) for token in told if concept(token.stem) not in known}
            alone = len(told) == sum(token.content or token.quantity is not None for token in part) == 1
            named = bool(told) and _is_named(part) and concept(told[0].stem) in new and len(new) >= NEW * len(told)
            if named or (len(new) > NEW * len(told) and len(new) >= (1 if alone else 2)):
                yield Fault("unfounded", f"the evidence has nothing of {clause.shown(new)}")


def _is_named(part: Sequence[Token]) -> bool:
    """Whether a conjunct is a noun with its article: "and the relatives of the hirer"."""
    return part[0].text.lower() in _ARTICLES if part else False


def _conjuncts(made: Sequence[Token]) -> list[list[Token]]:
    """The parts behind each "and" or "then", as far as the next or a comma."""
    parts: list[list[Token]] = []
    going = False
    for token, following in pairwise([*made, *made[-1:]]):
        if token.boundary:
            going = False
        elif token.stem in _JOINS or (token.stem in _BY and following.text.lower() in _ARTICLES):
            parts.append([])
            going = True
        elif going:
            parts[-1].append(token)
    return parts


_BY = word_set("by with")
_ARTICLES = word_set("the a an two three another")
_JOINS = word_set("and then plus besides also afterwards")


def _beside_the_quote(pair: Pair) -> Iterator[Fault]:
    own = pair.answer.stems - pair.question.stems
    if pair.quoted is None or not (own - LIGHT_STEMS or pair.answer.figures):
        return
    held = [pair.source.statements[i] for i in pair.quoted]
    if not any(own & (s.stems | s.lead) or shared(pair.answer.figures, s.figures) for s in held):
        yield Fault("unfounded", "the quote has nothing of what the answer says")


def _about_something_else(pair: Pair) -> Iterator[Fault]:
    """The question must be about what the evidence speaks of, and about those statements that carry the answer."""
    asked, numbers = pair.asked(), pair.question.figures
    if not asked and not numbers:
        return
    new = asked - pair.source.stems - pair.answer.stems
    known = len(asked - new) + sum(
        any(_same_kind(f.quantity.unit, n.quantity.unit) for f in pair.source.figures)
        or shared([n], pair.source.figures)
        for n in numbers
    )  # a number need not be that of the evidence: it may lie beyond a limit
    if len(new) >= 2 and known < KNOWN * (len(asked) + len(numbers)):
        yield Fault("misplaced", f"the question asks about {pair.question.shown(new)}, and the evidence does not")
    here = _carriers(pair)
    if not here or _is_computed(pair):
        return
    whole = pair.source.weigh(asked) + pair.source.rare * len(numbers)
    about = pair.speaks_of(asked)
    most = max(about[i] for i in here)
    if max(about) >= TOLD * whole and (most < ABOUT * whole or most < BELONGS * max(about)):
        yield Fault("misplaced", "the answer comes from a statement that is not about what the question asks")


def _is_computed(pair: Pair) -> bool:
    """Whether a number of the answer stands nowhere: then it was found to follow, from numbers that were weighed there."""
    return pair.computed or any(
        not (f.noun or f.label) and not _stands(f.quantity, pair.source.figures) for f in pair.answer.figures
    )


def _carriers(pair: Pair) -> set[int]:
    """The statements that the answer's own words and numbers come from, and their neighbours in the paragraph."""
    weigh, rare = pair.source.weigh, pair.source.rare
    held = pair.source.statements
    here: set[int] = set()
    for clause in pair.clauses:
        own = clause.stems - pair.question.stems - OF_BANS
        if not own - LIGHT_STEMS and any(
            not _stands(figure.quantity, pair.source.figures) for figure in clause.figures
        ):
            continue  # a computed number stands nowhere
        carried = [0.0 if s.heading else weigh(own & s.stems) + rare * shared(clause.figures, s.figures) for s in held]
        most = max(carried, default=0.0)
        if most > CARRIES * rare:
            here.update(i for i, score in enumerate(carried) if score >= CARRIED * most)
    listed = {i for i, s in enumerate(held) if s.above in here} | {held[i].above for i in here if held[i].above >= 0}
    before = {i - 1 for i in here if i and _goes_on(held[i - 1], held[i], explains=bool(pair.verdict))}
    after = {i + 1 for i in here if pair.verdict and i + 1 < len(held) and held[i].block == held[i + 1].block}
    return here | before | after | listed


def _stands(quantity: Quantity, figures: Sequence[Figure]) -> bool:
    return any(
        (f.quantity.unit is None) == (quantity.unit is None) and same_quantity(f.quantity, quantity) for f in figures
    )


def _goes_on(before: Statement, statement: Statement, *, explains: bool) -> bool:
    """Whether a sentence speaks of what the one before it was about: it has "it" or "these", or a word of it.

    *explains*: after a yes or no, any sentence of the paragraph may be the explanation.
    """
    if before.block != statement.block:
        return False
    return (
        explains
        or not before.stems.isdisjoint(statement.stems)
        or any(token.stem in _ANAPHORS for token in statement.tokens[:6])
    )


_ANAPHORS = word_set(
    "it its this that these those they them their then here there such he she his her otherwise both one same"
)


def _of_another_statement(pair: Pair) -> Iterator[Fault]:
    """Where a statement says nearly all that the question does, the answer comes from it or from what goes on after it.

    Judged by numbers, where the statement has one of the kind that is asked for; otherwise by words, where the answer's
    own words stand in another statement and none in this.
    """
    numbers, held = pair.question.figures, pair.source.statements
    telling = _telling(pair)
    if not telling or pair.verdict:
        return
    kinds = _kinds_asked(pair)
    own = [
        f.quantity
        for i in telling
        for f in held[i].figures
        if f.quantity.unit is not None and not any(same_quantity(f.quantity, n.quantity) for n in numbers)
    ]
    asked_for = [q for q in own if q.unit is not None and q.unit.dimension in kinds]
    near = _with_what_goes_on(pair, telling, strictly=bool(asked_for))
    here = [figure for i in near for figure in held[i].figures]
    pool = [figure for i in pair.pool for figure in held[i].figures]
    told = [f.quantity for f in pair.answer.figures if f.quantity.unit is not None]
    rows = all(held[i].tokens[-1].text == "|" for i in telling)
    foreign = [q for q in told if not any(same_quantity(q, f.quantity) for f in here)]
    if len(foreign) == len(told) or rows:
        for quantity in foreign:
            alike = [q for q in asked_for or (own if not kinds else []) if _same_kind(q.unit, quantity.unit)]
            if (
                alike
                and not follows(pair, quantity, pool)
                and not any(same_quantity(quantity, n.quantity) for n in numbers)
            ):
                yield Fault(
                    "misplaced", f"the answer says {said(quantity)}, what speaks of the question says {said(alike[0])}"
                )
                return
    words = pair.answer.stems - pair.question.stems - LIGHT_STEMS
    if len(words) >= 3 and any(_bounded_alike(pair, i) for i in telling):
        mine = max(len(words & (held[i].stems | held[i].lead)) for i in near)
        other = max((len(words & s.stems) for s in held if not s.heading), default=0)
        if other >= ELSEWHERE * len(words) and other >= 3 * max(1, mine):
            yield Fault(
                "misplaced", "the answer is what another statement says, not the one that speaks of the question"
            )


def _of_another_part(pair: Pair) -> Iterator[Fault]:
    """Of several numbers of one kind in a statement, the question names which: "4 minutes by day and 9 at night"."""
    if computes(pair):
        return
    told = [f for f in pair.answer.figures if f.quantity.unit is not None or f.noun]
    asked = pair.question.stems | {token.stem for token in pair.question.tokens if token.content}
    for figure in told:
        if shared((figure,), pair.question.figures):
            continue
        if len([f for f in told if _same_kind(f.quantity.unit, figure.quantity.unit)]) > 1:
            return
        for near in pair.near(pair.question)[:1]:
            parts = [
                part
                for part in _parts(pair.source.statements[near.statement].tokens)
                if any(t.quantity is not None and _same_kind(t.quantity.unit, figure.quantity.unit) for t in part)
            ]
            stems = [frozenset(concept(t.stem) for t in part if t.content) for part in parts]
            mine = [
                i
                for i, part in enumerate(parts)
                if any(t.quantity and same_quantity(t.quantity, figure.quantity) for t in part)
            ]
            if len(parts) < 2 or len(mine) != 1:
                continue
            # What the first part says, the others may leave out: "the main pump delivers 50 L/min, the reserve pump 20".
            if mine == [0] and any(asked & (stem - stems[0]) - LIGHT_STEMS for stem in stems[1:]):
                yield Fault(
                    "misplaced", f"the answer says {said(figure.quantity)}, the evidence says that of something else"
                )


def _parts(made: Sequence[Token]) -> list[list[Token]]:
    """A statement cut at its commas, semicolons and conjunctions."""
    parts: list[list[Token]] = [[]]
    for token in made:
        if token.boundary or token.stem in _PARTS:
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


_PARTS = word_set("and or but")


def _telling(pair: Pair) -> list[int]:
    """The statements that say nearly all that the question does, with what stands above them."""
    asked, numbers, source = pair.asked() - _head_noun(pair), pair.question.figures, pair.source
    if len(asked) + len(numbers) < 2:
        return []
    whole = source.weigh(asked) + source.rare * len(numbers)
    found = [
        i
        for i, s in enumerate(source.statements)
        if not s.heading
        and len(asked & s.stems) + shared(numbers, s.figures) >= 2
        and source.weigh(asked & (s.stems | s.lead)) + source.rare * shared(numbers, s.figures) >= SAYS * whole
    ]
    exact = [i for i in found if _bounded_alike(pair, i)]
    return exact or found


def _bounded_alike(pair: Pair, i: int) -> bool:
    """Whether a statement has a limit of the question: "below 10 mg/L", where another has "10 to 15 mg/L"."""
    figures = pair.source.statements[i].figures
    return any(
        n.quantity.bound and f.quantity.bound == n.quantity.bound and same_quantity(f.quantity, n.quantity)
        for n in pair.question.figures
        for f in figures
    )


def _head_noun(pair: Pair) -> frozenset[str]:
    """What is asked for: the "dose" of "what dose of gentamicin"."""
    made = pair.question.tokens
    for i, token in enumerate(made):
        if token.text.lower() in ("what", "which"):
            head: frozenset[str] = frozenset()
            for following in made[i + 1 :]:
                if not following.content:
                    break
                head = frozenset((concept(following.stem),))
            return head
    return frozenset()


def _with_what_goes_on(pair: Pair, telling: list[int], *, strictly: bool) -> set[int]:
    """Statements with their lead-ins, their items, and the sentences that go on about them: *strictly*, by a pronoun."""
    held = pair.source.statements
    near = set(telling)
    near |= {i for i, s in enumerate(held) if s.above in near}
    near |= {held[i].above for i in telling if held[i].above >= 0}
    for i in telling:
        for j in range(i + 1, len(held)):
            if held[j].block != held[i].block or j in near:
                break
            if not any(token.stem in _ANAPHORS for token in held[j].tokens[: 3 if strictly else 6]) and (
                strictly or held[j - 1].stems.isdisjoint(held[j].stems)
            ):
                break
            near.add(j)
    return near


def _kinds_asked(pair: Pair) -> frozenset[str]:
    """The dimensions that an answer to the question has; empty where any may be."""
    asked = [token.text.lower() for token in pair.question.tokens]
    for i, word in enumerate(asked):
        following = asked[i + 1] if i + 1 < len(asked) else ""
        if word == "how" and following in _MEASURES:
            return _MEASURES[following] | (SPANS if following in _TIMED else _ANY)
        if word == "when":
            return SPANS | word_set("clock")
        if word in ("what", "which"):
            return next((_KINDS[noun] for noun in asked[i + 1 : i + 4] if noun in _KINDS), _ANY)
    return _ANY


def _same_kind(one: Unit | None, other: Unit | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.dimension == other.dimension or {one.dimension, other.dimension} <= SPANS


# --- the kind of answer -----------------------------------------------------------------------------------------------

_WH = word_set("who whom whose what which when where why how")
_BEFORE_NUMBER = word_set("within between after before at every for in by until up from during")
_TIME = word_set("time calendar workday clock")
_LENGTH = word_set("length foot inch yard mile seamile")
_MASS = word_set("mass ton pound stone ounce")
_SPEED = word_set("speed mph kmh rpm")
_ANY: frozenset[str] = frozenset()
_SIZES = DIMENSIONS - _TIME  # a fee may be high and a range of pressures wide
_MEASURES = {
    "long": _TIME | _LENGTH, "soon": _TIME, "often": _ANY, "many": _ANY, "much": _ANY, "large": _ANY, "big": _ANY,
    "high": _SIZES, "deep": _LENGTH, "wide": _SIZES, "far": _LENGTH | _TIME, "heavy": _MASS,
    "old": _TIME, "hot": word_set("celsius fahrenheit kelvin"),
}  # fmt: skip
"""What is asked for by "how ...", as dimensions; empty: any number."""
_KINDS = {
    "temperature": word_set("celsius fahrenheit kelvin"),
    "age": _TIME, "duration": _TIME, "period": _TIME, "deadline": _TIME, "distance": _LENGTH, "depth": _LENGTH,
    "diameter": _LENGTH, "weight": _MASS, "percentage": word_set("percent"), "speed": _SPEED,
}  # fmt: skip
"""The same for "what ..."."""
_TIMED = word_set("long soon often far old")
_UNCOUNTED = word_set(
    "no none nothing all both each any half whole full single a an once twice double equal unlimited as every never always"
)
"""Words that tell a quantity without a number."""
_WHEN = word_set(
    "until till immediately permanently indefinitely throughout during overnight forever while daily weekly monthly yearly annually "
    "hourly nightly quarterly constantly continuously regularly after before when whenever once life day week month year night shift at "
    "as long"
)
"""Words that tell a time without a number."""


def of_another_kind(pair: Pair) -> Iterator[Fault]:
    """A question of one kind wants an answer of that kind: "how many" a number, "who" not a time."""
    asked = [token.text.lower() for token in pair.question.tokens]
    openers = [i for i, word in enumerate(asked) if word in _WH]
    if len(openers) != 1 or not pair.answer.tokens:
        return  # two questions in one, or none of these
    opener, following = asked[openers[0]], asked[openers[0] + 1 : openers[0] + 4]
    if pair.verdict and not pair.polar and pair.answer.tokens[1:2] and pair.answer.tokens[1].boundary:
        yield Fault("misplaced", f"the answer says {pair.verdict} where {opener!r} was asked")
    if opener in ("who", "whom", "whose"):
        timed = pair.answer.tokens[0].stem in _BEFORE_NUMBER and any(t.quantity for t in pair.answer.tokens[1:3])
        timed = timed and not any(
            t.text == "," for t in pair.answer.tokens
        )  # "Within 10 minutes, the nurse records it"
        if timed or (pair.answer.figures and not pair.answer.stems):
            yield Fault("misplaced", f"the question asks {opener}, and the answer is a number")
    elif opener == "how" and following and following[0] in _MEASURES:
        yield from _of_another_measure(pair, following[0])
    elif opener in ("what", "which"):
        noun = next((word for word in following if word in _KINDS), "")
        if noun and not _measured(pair, _KINDS[noun]):
            yield Fault("misplaced", f"the question asks for a {noun}, and the answer is of another kind")


def _of_another_measure(pair: Pair, how: str) -> Iterator[Fault]:
    told = {token.text.lower() for token in pair.answer.tokens}
    in_words = not told.isdisjoint(_UNCOUNTED) or (how in _TIMED and not told.isdisjoint(_WHEN))
    if not (pair.answer.figures or in_words):
        yield Fault("misplaced", f"the question asks how {how}, and the answer has no number")
    elif not _measured(pair, _MEASURES[how]) and told.isdisjoint(_WHEN):
        yield Fault("misplaced", f"the question asks how {how}, and the answer is of another kind")


def _measured(pair: Pair, wanted: frozenset[str]) -> bool:
    """Whether any number of the answer may be in a wanted dimension; a length per time is a speed."""
    units = [figure.quantity.unit for figure in pair.answer.figures]
    return (
        not wanted
        or not units
        or any(
            unit is None
            or unit.dimension in wanted
            or unit.dimension.partition("/")[0] in wanted & (_SIZES | SPANS)
            or (wanted is _SPEED and "/" in unit.dimension)
            for unit in units
        )
    )
