"""The comparison of an answer with its passage."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

import attrs

from text2expert.evidence.quantities import Quantity, same_quantity, same_value
from text2expert.evidence.quotes import locate
from text2expert.evidence.statements import Figure, Statement, Token, content, figures, statements, tokens
from text2expert.evidence.wording import INHERENT, LIGHT_STEMS, NEGATORS, OPPOSITES, concept

LIGHT = 0.25
"""What a word that rewording brings along weighs beside one of content."""
LEAD = 0.4
"""What a word weighs that stands in the heading or lead-in of a statement, and not in the statement."""
ASKED = 0.7
"""What a word of the question weighs beside one of the answer when statements are ranked."""
NEAR = 0.5
"""A statement whose relevance is this share of the best one's is evidence for numbers."""
TOP = 0.7
"""The same for negations and directions."""
KNOWN = 0.3
"""The share of the question's content words that must occur in the evidence."""
ABOUT = 0.12
"""The share of the question's weight that must lie in the statements that carry the answer."""
BELONGS = 0.25
"""The same, of the most that any statement has."""
CARRIED = 0.7
"""A statement carries a clause of the answer when it holds this share of what the best one holds."""
CARRIES = 0.3
"""What a statement must hold at least to carry anything, in words that occur once."""


@attrs.frozen(kw_only=True)
class Grounding:
    """What the check found. ``start`` and ``end`` are offsets of the quote in the passage, None without a quote."""

    grounded: bool
    no_hallucination: bool
    complete: bool
    reason: str = ""
    start: int | None = None
    end: int | None = None

    @property
    def supported(self) -> bool:
        """Whether nothing was found against the pair."""
        return self.grounded and self.no_hallucination and self.complete


class _Fault(Exception):  # noqa: N818 - a finding, raised to end the search, never seen outside
    """What does not fit, in one sentence."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def check(question: str, answer: str, passage: str, *, quote: str | None = None, context: str = "") -> Grounding:
    """Whether *passage* supports *answer* as the answer to *question*.

    Args:
        question: The question as asked.
        answer: The answer to judge.
        passage: The text that the answer must come from.
        quote: What the answer rests on, word for word from *passage*; None: the whole passage.
        context: What is read along with the passage and not quoted: heading path, a list's lead-in, a table's header.

    Returns:
        The judgement, with one sentence that says what did not fit. Equal inputs give equal judgements.
    """
    place: tuple[int, int] | None = None
    if quote is not None:
        place = locate(quote, passage)
        if place is None:
            short = " ".join(quote.split())
            short = short if len(short) <= 60 else short[:57] + "..."
            return Grounding(
                grounded=False,
                no_hallucination=True,
                complete=True,
                reason=f"the quote is not in the passage: {short!r}",
            )
    start, end = place or (None, None)
    source = _source(context, passage)
    try:
        _Check(question, answer, source, None if place is None else source.overlapping(*place)).run()
    except _Fault as fault:
        return Grounding(
            grounded=fault.kind not in ("support", "words", "number", "unit", "polarity"),
            no_hallucination=fault.kind not in ("words", "number", "unit", "polarity"),
            complete=fault.kind not in ("fit", "form"),
            reason=fault.reason,
            start=start,
            end=end,
        )
    return Grounding(grounded=True, no_hallucination=True, complete=True, start=start, end=end)


# --- what is read from a text -----------------------------------------------------------------------------------------


class _Clause:
    """The question or a clause of the answer."""

    def __init__(self, made: Sequence[Token]) -> None:
        self.tokens = made
        self.stems = content(made)
        self.figures = figures(made)


class _Direction:
    """A direction word with its sides (opposites have opposite signs) and the words beside it."""

    __slots__ = ("beside", "denied", "opposites", "sides", "word")

    def __init__(self, word: str, sides: frozenset[int], *, denied: bool, beside: frozenset[str]) -> None:
        self.word, self.sides, self.denied, self.beside = word, sides, denied, beside
        self.opposites = frozenset(-side for side in sides)


class _Stance:
    """What a text denies, and which way it points."""

    def __init__(self, made: Sequence[Token], *, denied: bool = False) -> None:
        self.denied: set[str] = set()
        """Content words that a negation is said of: the first after it."""
        self.scopes: list[set[str]] = [set()] if denied else []
        """For each negation the content words that it governs."""
        self.plain: set[str] = set()
        """Content words that no negation governs."""
        self.clouded: set[str] = set()
        """Content words of clauses that say no anywhere, if only by "only", "unless", "refuse"."""
        self.explicit = denied
        self.directions: list[_Direction] = []
        reach = 0  # content words that the last negation may still govern
        verbal = False
        clause: list[str] = []
        negations = 0
        softly = denied
        relative = False
        for i, token in enumerate(made):
            word = token.stem
            if token.boundary or word in _SCOPE_ENDS:
                reach = 0
                if softly:
                    self.clouded.update(clause)
                clause, softly, negations = [], denied, 0
                relative = word in _RELATIVES
                if token.boundary:
                    continue
            softly = softly or word in INHERENT
            if word in _AUXILIARIES and clause and (relative or (verbal and 0 < reach < _REACH)):
                # the verb after a relative clause: "a hook that does not open" ends before "is taken"
                if softly:
                    self.clouded.update(clause)
                reach, clause, softly, negations, relative = 0, [], denied, 0, False
            sides = OPPOSITES.get(token.text.lower()) or OPPOSITES.get(word)
            if sides and not _compares(made, i):
                governed = negations > 0 if word in NEGATORS else reach > 0
                self.directions.append(_Direction(token.text, sides, denied=governed, beside=_beside(made, i)))
            if word in NEGATORS:
                following = made[i + 1] if i + 1 < len(made) else None
                if following is None or following.boundary or following.text.lower() in _COMPARING:
                    if word == "none":
                        self.explicit = softly = True
                    continue
                self.explicit = True
                softly = softly or word != "without"
                negations += 1
                if negations == 1:  # two negations in a clause say yes: "not without"
                    reach, verbal = _REACH, word in ("not", "never", "cannot", "without")
                    self.scopes.append(set())
            elif token.content:
                name = concept(word)
                clause.append(name)
                if reach > 0:
                    if reach == _REACH:
                        self.denied.add(name)
                    reach -= 1
                    self.scopes[-1].add(name)
                elif denied:
                    self.scopes[0].add(name)
                    if len(self.scopes[0]) == 1:
                        self.denied.add(name)
                else:
                    self.plain.add(name)
        if softly:
            self.clouded.update(clause)
        self.scope = frozenset().union(*self.scopes)


_RELATIVES = frozenset(["that", "which", "who"])
_REACH = 4  # content words that a negation governs at most
_AUXILIARIES = frozenset("is are was were has have had may must can shall should will would".split())
_SCOPE_ENDS = frozenset(
    "but when if unless because until while which who whose that so although except after before".split()
)
_COMPARING = frozenset(
    "more less later earlier longer higher lower fewer sooner greater older larger above below over under exceed exceeding "
    "only just than".split()
)
_AFTER_OR = frozenset(
    "more less fewer above below over under older younger longer shorter higher lower later earlier greater".split()
)
_BOUND_WORDS = frozenset(
    "more less fewer above below over under exceeds exceed exceeding after before within until".split()
)


def _compares(made: Sequence[Token], i: int) -> bool:
    """Whether a direction word belongs to a number ("above 30", "6 or more"): there the bounds are compared instead."""
    word = made[i].text.lower()
    following = made[i + 1 : i + 3]
    if word in ("lasts", "lasted", "lasting"):
        return True
    if word == "up" and following and following[0].stem == "to":
        return True
    if following and word in _BOUND_WORDS and following[0].quantity is not None:
        return True
    if following and following[0].stem == "than" and any(token.quantity is not None for token in made[i + 2 : i + 5]):
        return True
    if word in ("maximum", "minimum") and any(token.quantity is not None for token in following):
        return True
    return i > 0 and word in _AFTER_OR and made[i - 1].stem in ("or", "and")


def _beside(made: Sequence[Token], i: int) -> frozenset[str]:
    """The nearest content words or numbers on each side of a word, within its clause."""
    found = set()
    for step, reach in ((1, 4),) if made[i].stem in _PREPOSITIONS else ((1, 4), (-1, 3)):
        for j in range(i + step, i + step * (reach + 1), step):
            if not 0 <= j < len(made) or made[j].boundary:
                break
            token = made[j]
            if token.quantity is not None:
                found.add(f"#{token.quantity.value:g}")
                break
            if token.content:
                found.add(concept(token.stem))
                break
    return frozenset(found)


class _Source:
    """A passage as statements, with how telling each of its words is; read once for all pairs of the passage."""

    def __init__(self, context: str, passage: str) -> None:
        self.shift = len(context) + 2 if context else 0
        self.statements = statements(f"{context}\n\n{passage}" if context else passage)
        count: dict[str, int] = {}
        for statement in self.statements:
            for word in statement.stems:
                count[word] = count.get(word, 0) + 1
        n = len(self.statements)
        self.rare = math.log(1 + n)
        self.weight = {w: math.log(1 + n / k) * (LIGHT if w in LIGHT_STEMS else 1) for w, k in count.items()}
        self.stems = frozenset(count)
        self.figures = tuple(figure for statement in self.statements for figure in statement.figures)
        self.units = frozenset(f.quantity.unit.name for f in self.figures if f.quantity.unit is not None)
        self._stances: dict[int, _Stance] = {}

    def stance(self, i: int) -> _Stance:
        if i not in self._stances:
            statement = self.statements[i]
            self._stances[i] = _Stance(statement.tokens, denied=statement.denied)
        return self._stances[i]

    def overlapping(self, start: int, end: int) -> list[int]:
        """The statements that a place in the passage touches."""
        start, end = start + self.shift, end + self.shift
        return [i for i, s in enumerate(self.statements) if s.start < end and s.end > start]

    def unprefixed(self, word: str) -> str:
        """ "repaint" as "paint", where the passage has only that."""
        return word[2:] if word not in self.stems and word.startswith("re") and word[2:] in self.stems else word

    def weigh(self, words: Iterable[str]) -> float:
        return sum(
            self.weight[w] if w in self.weight else self.rare * (LIGHT if w in LIGHT_STEMS else 1) for w in words
        )


@lru_cache(maxsize=64)
def _source(context: str, passage: str) -> _Source:
    return _Source(context, passage)


_CLAUSE_STARTS = frozenset(
    "and but or so because although while which who that when if unless after before provided as with using until where "
    "then".split()
)


def _clauses(made: Sequence[Token]) -> list[_Clause]:
    """The clauses of an answer: between sentence ends, semicolons, brackets, and commas that a new clause follows."""
    clauses: list[_Clause] = []
    part: list[Token] = []
    for i, token in enumerate(made):
        opens = token.text == "," and i + 1 < len(made) and made[i + 1].stem in _CLAUSE_STARTS
        if token.boundary and (opens or token.text != ","):
            clauses.append(_Clause(part))
            part = []
        else:
            part.append(token)
    clauses.append(_Clause(part))
    return [clause for clause in clauses if clause.stems or clause.figures]


# --- the check --------------------------------------------------------------------------------------------------------

_WH = frozenset("who whom whose what which when where why how".split())
_BEFORE_NUMBER = frozenset("within between after before at every for in by until up from during".split())
_TIME = frozenset("time calendar workday clock".split())
_LENGTH = frozenset("length foot inch yard mile seamile".split())
_MASS = frozenset("mass ton pound stone ounce".split())
_SPEED = frozenset("speed mph kmh rpm".split())
_ANY: frozenset[str] = frozenset()
_MEASURES = {
    "long": _TIME | _LENGTH, "soon": _TIME, "often": _ANY, "many": _ANY, "much": _ANY, "large": _ANY, "big": _ANY,
    "high": _LENGTH | frozenset(["percent"]), "deep": _LENGTH, "wide": _LENGTH, "far": _LENGTH | _TIME, "heavy": _MASS,
    "old": _TIME, "hot": frozenset("celsius fahrenheit kelvin".split()),
}  # fmt: skip
"""What is asked for by "how ...", as dimensions; empty: any number."""
_KINDS = {
    "temperature": frozenset("celsius fahrenheit kelvin".split()),
    "age": _TIME, "duration": _TIME, "period": _TIME, "deadline": _TIME, "distance": _LENGTH, "depth": _LENGTH,
    "diameter": _LENGTH, "weight": _MASS, "percentage": frozenset(["percent"]), "speed": _SPEED,
}  # fmt: skip
"""The same for "what ..."."""
_TIMED = frozenset("long soon often far old".split())
_UNCOUNTED = frozenset(
    "no none nothing all both each any half whole full single a an once twice double equal unlimited as every never always".split()
)
"""Words that tell a quantity without a number."""
_WHEN = frozenset(
    "until till immediately permanently indefinitely throughout during overnight forever while daily weekly monthly yearly annually "
    "hourly nightly quarterly constantly continuously regularly after before when whenever once life day week month year night shift at "
    "as long".split()
)
"""Words that tell a time without a number."""


def _measures(dimension: str, wanted: frozenset[str]) -> bool:
    """Whether a unit's dimension answers the question; a length per time is a speed."""
    if wanted is _SPEED and "/" in dimension:
        return True
    return not wanted or dimension in wanted


_PREPOSITIONS = frozenset("with without before after until within above below over under inside outside".split())
_POLAR = frozenset("is are was were may can could must should shall will would do does did has have need".split())


class _Check:
    """One pair against one source. Each test raises `_Fault` with what it finds."""

    def __init__(self, question: str, answer: str, source: _Source, quoted: list[int] | None) -> None:
        self.source = source
        self.quoted = quoted
        """The statements that the answer rests on; None: any may be."""
        self.question = _Clause(tokens(question))
        self.question.stems = frozenset(map(source.unprefixed, self.question.stems))
        self.answer = _Clause(tokens(answer))
        self.clauses = _clauses(self.answer.tokens)
        self.about = self.speaks_of(self.question.stems)
        self.asks = _Stance(self.question.tokens)
        starts = (i for i, token in enumerate(self.question.tokens) if i == 0 or self.question.tokens[i - 1].boundary)
        self.polar = any(self.question.tokens[i].stem in _POLAR for i in starts)

    def run(self) -> None:
        """Raises:
        _Fault: something does not fit."""
        if not self.clauses:
            if self.answer.tokens and self.answer.tokens[0].stem in ("yes", "no"):
                self.clauses = [self.answer]
            else:
                raise _Fault("words", "the answer has no word or number that can be compared")
        nears = [self.near(clause) for clause in self.clauses]
        pool = self.quoted if self.quoted is not None else sorted({i for near in nears for _, i in near})
        for clause in self.clauses:
            denies = any(token.stem in ("without", "no") for token in clause.tokens)
            for figure in clause.figures:
                self.number(figure, pool, denies=denies)
        for clause, near in zip(self.clauses, nears, strict=True):
            best = near[0][0] if near else 0.0
            top = [i for score, i in near if score >= TOP * best]
            self.negation(clause, self.preferred(top))
            self.direction(clause, near)
            self.addition(clause)
        self.rests_on_quote()
        self.yes_or_no(pool)
        self.form()
        self.fit()

    def preferred(self, ranked: list[int]) -> list[int]:
        """Those of some statements that are quoted, if any are."""
        return [i for i in ranked if i in self.quoted] or ranked if self.quoted is not None else ranked

    def rests_on_quote(self) -> None:
        own = self.answer.stems - self.question.stems - LIGHT_STEMS
        if self.quoted is None or not (own or self.answer.figures):
            return
        for statement in (self.source.statements[i] for i in self.quoted):
            if own & (statement.stems | statement.lead) or _shared(self.answer.figures, statement.figures):
                return
        raise _Fault("support", "the quote has nothing of what the answer says")

    # ranking

    def near(self, clause: _Clause) -> list[tuple[float, int]]:
        """The statements that a clause may rest on, the most relevant first."""
        weigh, words = self.source.weigh, clause.stems
        scored = []
        for i, statement in enumerate(self.source.statements):
            score = ASKED * self.about[i] + weigh(words & statement.stems)
            if not words.isdisjoint(statement.lead):
                score += LEAD * weigh((words & statement.lead) - statement.stems)
            scored.append((score, i))
        best = max(scored, default=(0.0, 0))[0]
        return sorted(
            (pair for pair in scored if pair[0] > 0 and pair[0] >= NEAR * best), key=lambda pair: (-pair[0], pair[1])
        )

    def speaks_of(self, words: frozenset[str]) -> list[float]:
        """How much each statement has of *words* and of the question's numbers."""
        weigh, rare = self.source.weigh, self.source.rare
        numbers = self.question.figures
        return [
            weigh(words & s.stems)
            + (0.0 if words.isdisjoint(s.lead) else LEAD * weigh((words & s.lead) - s.stems))
            + (rare * _shared(numbers, s.figures) if numbers else 0.0)
            for s in self.source.statements
        ]

    # numbers

    def number(self, figure: Figure, pool: list[int], *, denies: bool) -> None:
        quantity = figure.quantity
        here = [f for i in pool for f in self.source.statements[i].figures]
        same = [f for f in here if self.agree(figure, f)]
        if not same and self.quoted is None and (quantity.unit is not None or not quantity.value.is_integer()):
            words = (self.answer.stems | self.question.stems) - LIGHT_STEMS
            others = (s for s in self.source.statements if words & s.stems)
            same = [f for s in others for f in s.figures if _told_alike(quantity, f.quantity)]
        if not same:
            if quantity.value == 1 and quantity.text.isalpha():
                self.single(figure, here)
                return
            if any(same_quantity(quantity, f.quantity) for f in self.question.figures) or self.computed(quantity, here):
                return
            other = next((f.quantity for f in here if same_value(quantity, f.quantity)), None)
            if other is None:
                raise _Fault("number", f"the answer says {_said(quantity)}, which the evidence does not")
            raise _Fault("unit", f"the answer says {_said(quantity)}, the evidence {_said(other)}")
        self.labelled(figure, here)
        bounds = {f.quantity.bound for f in same}
        told_otherwise = denies and not any(
            self.source.stance(i).explicit for i in pool
        )  # "after 5 days without a reply"
        if quantity.bound and not told_otherwise and bounds == {"low" if quantity.bound == "high" else "high"}:
            limit = "an upper" if quantity.bound == "low" else "a lower"
            raise _Fault("polarity", f"the answer makes {_said(quantity)} {limit} limit, the evidence the other one")
        relations = {f.quantity.relation for f in same}
        if quantity.relation and "" not in relations and quantity.relation not in relations:
            raise _Fault(
                "polarity", f"the answer says {_said(quantity)} {quantity.relation}, the evidence {min(relations)}"
            )

    def single(self, figure: Figure, here: list[Figure]) -> None:
        """ "One" and "once" are often not written out ("weekly", "a nurse"): wrong only beside another count."""
        unit, noun = figure.quantity.unit, figure.noun
        for other in here:
            theirs = other.quantity.unit
            if (noun and other.noun == noun) or (unit and theirs and theirs.dimension == unit.dimension):
                raise _Fault(
                    "number", f"the answer says {_said(figure.quantity)}, the evidence {_said(other.quantity)}"
                )

    def computed(self, quantity: Quantity, here: list[Figure]) -> bool:
        """Whether the number follows from one that the question brings and one of the evidence, by one step."""
        for asked in self.question.figures:
            a = asked.quantity
            if asked.label and a.unit is None or any(same_quantity(a, other.quantity) for other in here):
                continue  # a name ("step 4"), or a condition that the evidence states itself
            for other in here:
                b = other.quantity
                if other.label and b.unit is None:
                    continue
                results = []
                if a.unit and b.unit and a.unit.dimension == b.unit.dimension:
                    if quantity.unit and quantity.unit.dimension == a.unit.dimension:
                        scale = quantity.unit.size
                        one, two = a.value * a.unit.size / scale, b.value * b.unit.size / scale
                        results = [one + two, abs(one - two)]
                    elif quantity.unit is None and b.value and a.value:
                        results = [
                            a.value * a.unit.size / (b.value * b.unit.size),
                            b.value * b.unit.size / (a.value * a.unit.size),
                        ]
                elif (quantity.unit in (a.unit, b.unit) and None in (a.unit, b.unit)) or _rate(a, b, quantity):
                    results = [a.value * b.value]
                    results += [a.value / b.value, b.value / a.value] if a.value and b.value else []
                elif "%" in (_name(a), _name(b)) and quantity.unit in (a.unit, b.unit):
                    results = [a.value * b.value / 100]
                if (
                    a.unit is None and b.unit is not None and b.unit == quantity.unit
                ):  # 27 days and one for each of 2 years
                    results += [c.quantity.value + a.value * b.value for c in here if c.quantity.unit == b.unit]
                if any(abs(result - quantity.value) < 1e-9 * max(1.0, abs(result)) for result in results):
                    return True
        return False

    def agree(self, figure: Figure, other: Figure) -> bool:
        """Whether two numbers are one: a bare number takes a unit only where the evidence uses that unit at all."""
        a, b = figure.quantity, other.quantity
        if not same_quantity(a, b):
            return False
        if a.unit is not None and b.unit is None:
            return a.unit.name in self.source.units and not other.noun
        if a.unit is None and b.unit is not None and figure.noun:
            return figure.noun in self.source.stems or figure.noun in self.question.stems
        return True

    def labelled(self, figure: Figure, here: list[Figure]) -> None:
        """ "Rung 10" where the evidence numbers rungs, and none of them 10; "two doctors" where it counts others."""
        if figure.quantity.unit is not None:
            return
        if figure.label:
            values = [f for f in (*here, *self.question.figures) if f.label == figure.label and f.quantity.unit is None]
            if values and not any(same_value(figure.quantity, f.quantity) for f in values):
                said = f"{figure.label} {figure.quantity.text}"
                raise _Fault("number", f"the answer says {said!r}, the evidence {values[0].quantity.text}")
        if figure.noun and figure.quantity.value != 1:
            values = [f for f in (*here, *self.question.figures) if f.noun == figure.noun]
            if values and not any(same_value(figure.quantity, f.quantity) for f in values):
                said = f"{figure.quantity.text} {figure.noun}"
                raise _Fault("number", f"the answer says {said!r}, the evidence {values[0].quantity.text}")

    # negations and directions

    def negation(self, clause: _Clause, top: list[int]) -> None:
        said = _Stance(clause.tokens)
        stances = [self.source.stance(i) for i in top]
        for word in sorted(said.denied - self.asks.scope):
            holding = [s for s in stances if word in s.scope or word in s.plain]
            if not holding:
                first = stances[:1]
                if word not in LIGHT_STEMS and first and not any(s.explicit or s.clouded for s in (*first, self.asks)):
                    raise _Fault("polarity", f"the answer denies {word!r}, the evidence denies nothing")
            elif not (
                any(word in s.scope for s in holding) or word in holding[0].clouded or self.opposed(word, stances)
            ):
                raise _Fault("polarity", f"the answer denies {word!r}, the evidence does not")
        for stance in stances:
            for word in sorted((stance.denied & said.plain) - said.clouded - self.asks.scope):
                if not any(word in other.plain for other in stances):
                    raise _Fault("polarity", f"the evidence denies {word!r}, the answer does not")

    def opposed(self, word: str, stances: list[_Stance]) -> bool:
        """Whether the evidence has the opposite of a word that the answer denies."""
        sides = OPPOSITES.get(word)
        return sides is not None and any(sides & d.opposites for s in stances for d in s.directions)

    def direction(self, clause: _Clause, near: list[tuple[float, int]]) -> None:
        """A direction word must not stand where the evidence has its opposite: beside the same words."""
        best = near[0][0] if near else 0.0
        for said in _Stance(clause.tokens).directions:
            name = said.word.lower()
            if name in ("always", "never") and (self.asks.explicit or self.asks.clouded):
                continue  # "always refused" is "never given"
            same = max(
                (0.5 + len(d.beside & said.beside) for d in self.asks.directions if d.sides & said.sides), default=0.0
            )
            opposite, word = 0.0, ""
            for score, i in near:
                for d in self.source.stance(i).directions:
                    alike, against = d.sides & said.sides, d.opposites & said.sides
                    if not alike and not against:
                        continue
                    shared = len(d.beside & said.beside)
                    fits = shared + score / best
                    as_denied = d.denied == said.denied
                    if (alike and (as_denied or name != "without")) or (against and not as_denied):
                        same = max(same, fits)
                    elif fits > opposite and (shared or score == best):
                        opposite, word = fits, d.word
            if opposite > same:
                raise _Fault("polarity", f"the answer says {said.word!r}, the evidence {word!r}")

    def yes_or_no(self, pool: list[int]) -> None:
        first = self.answer.tokens[0].stem
        if first not in ("yes", "no") or not self.polar or self.asks.explicit:
            return
        near = self.near(self.question)
        best = near[0][0] if near else 0.0
        top = [i for score, i in near if score >= TOP * best]
        asked = self.question.stems - LIGHT_STEMS
        if first == "yes":
            for scope in _Stance(self.answer.tokens[1:]).scopes:
                if scope & asked:
                    raise _Fault("polarity", "the answer says yes and goes on to deny it")
            for i in top[:2]:
                for scope in self.source.stance(i).scopes:
                    denied = scope - LIGHT_STEMS
                    if denied and denied <= asked:
                        raise _Fault("polarity", f"the answer says yes, the evidence denies {min(denied)!r}")
        elif not self.question.figures:
            stances = [self.source.stance(i) for i in {*top, *pool}]
            told = any(len(asked & self.source.statements[i].stems) >= 0.8 * len(asked) for i in top)
            if told and not any(s.explicit or s.clouded for s in stances):
                raise _Fault("polarity", "the answer says no, the evidence denies nothing")

    # the kind of answer

    def form(self) -> None:
        """A question of one kind wants an answer of that kind: "how many" a number, "who" not a time."""
        asked = [token.text.lower() for token in self.question.tokens]
        first = self.answer.tokens[0]
        openers = [i for i, word in enumerate(asked) if word in _WH]
        if len(openers) != 1:
            return
        at = openers[0]
        if (
            not self.polar
            and first.text.lower() in ("yes", "no")
            and len(self.answer.tokens) > 1
            and self.answer.tokens[1].boundary
        ):
            raise _Fault("form", f"the answer says {first.text.lower()} where {asked[at]!r} was asked")
        said = {token.text.lower() for token in self.answer.tokens}
        quantities = [figure.quantity for figure in self.answer.figures]
        dimensions = {q.unit.dimension for q in quantities if q.unit is not None}
        bare = any(q.unit is None for q in quantities)
        opener, following = asked[at], asked[at + 1 : at + 2]
        if opener in ("who", "whom", "whose"):
            timed = first.stem in _BEFORE_NUMBER and any(
                token.quantity is not None for token in self.answer.tokens[1:3]
            )
            if timed or (quantities and not self.answer.stems):
                raise _Fault("form", f"the question asks {opener}, and the answer is a number")
        elif opener == "how" and following:
            wanted = _MEASURES.get(following[0])
            if wanted is None:
                return
            if not (quantities or said & _UNCOUNTED or (following[0] in _TIMED and said & _WHEN)):
                raise _Fault("form", f"the question asks how {following[0]}, and the answer has no number")
            if (
                wanted
                and dimensions
                and not bare
                and not said & _WHEN
                and not any(_measures(d, wanted) for d in dimensions)
            ):
                raise _Fault("form", f"the question asks how {following[0]}, and the answer is of another kind")
        elif opener in ("what", "which"):
            noun = next((word for word in asked[at + 1 : at + 4] if word in _KINDS), "")
            if noun and dimensions and not bare and not any(_measures(d, _KINDS[noun]) for d in dimensions):
                raise _Fault("form", f"the question asks for a {noun}, and the answer is of another kind")

    # words

    def addition(self, clause: _Clause) -> None:
        known = self.source.stems | self.question.stems
        words = [w for w in clause.stems if w not in LIGHT_STEMS]
        new = [w for w in words if w not in known]
        if len(new) >= 2 and len(new) > 0.5 * len(words):
            raise _Fault("words", f"the evidence does not mention {', '.join(sorted(new))}")

    def fit(self) -> None:
        """The question must be about what the evidence speaks of, and about those statements that carry the answer."""
        asked = self.asked()
        if not asked and not self.question.figures:
            return
        new = asked - self.source.stems - self.answer.stems
        told = _shared(self.question.figures, self.source.figures)
        if len(new) >= 2 and len(asked - new) + told < KNOWN * (len(asked) + len(self.question.figures)):
            raise _Fault("fit", f"the evidence does not speak of {_listed(new)}, which the question asks about")
        whole = self.source.weigh(asked) + self.source.rare * len(self.question.figures)
        about = self.speaks_of(asked)
        here = self.carriers()
        if not here:
            return
        most = max(about[i] for i in here)
        if most < ABOUT * whole or most < BELONGS * max(about):
            raise _Fault("fit", "the statement that the answer comes from is not about what the question asks")

    def asked(self) -> frozenset[str]:
        """The content words of the question, without the names that the evidence does not use: titles often hold those."""
        names = {
            concept(token.stem)
            for before, token in pairwise(self.question.tokens)
            if token.content and token.text[0].isupper() and not before.boundary
        }
        return self.question.stems - LIGHT_STEMS - (names - self.source.stems)

    def carriers(self) -> set[int]:
        """The statements that the answer's own words and numbers come from, and their neighbours in the paragraph."""
        weigh, rare = self.source.weigh, self.source.rare
        held = self.source.statements
        here: set[int] = set()
        for clause in self.clauses:
            words = clause.stems - self.question.stems
            carried = [
                0.0 if s.heading else weigh(words & s.stems) + rare * _shared(clause.figures, s.figures) for s in held
            ]
            most = max(carried, default=0.0)
            if most > CARRIES * rare:
                here.update(i for i, score in enumerate(carried) if score >= CARRIED * most)
        return here | {j for i in here for j in (i - 1, i + 1) if 0 <= j < len(held) and held[j].block == held[i].block}


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))


def _shared(some: Iterable[Figure], others: Sequence[Figure]) -> int:
    """How many of some numbers are among others."""
    return sum(any(same_quantity(figure.quantity, other.quantity) for other in others) for figure in some)


def _told_alike(a: Quantity, b: Quantity) -> bool:
    return (a.unit is None) == (b.unit is None) and same_quantity(a, b)


def _rate(a: Quantity, b: Quantity, product: Quantity) -> bool:
    """Whether one of two is a rate whose numerator is the product's unit (mL/kg times kg is mL), or counts ("5 weeks")."""
    if product.unit is None:
        return False
    dimensions = [q.unit.dimension for q in (a, b) if q.unit is not None]
    return any(d.startswith(product.unit.dimension + "/") for d in dimensions)


def _name(quantity: Quantity) -> str:
    return quantity.unit.name if quantity.unit else ""


def _said(quantity: Quantity) -> str:
    return quantity.text + (" " + quantity.unit.name if quantity.unit else "")
