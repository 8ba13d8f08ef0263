"""The comparison of an answer with its passage."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

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
FIT = 0.5
"""The share of the question's content words that must occur in the evidence."""


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
    try:
        _Check(question, answer, _source(context, passage)).run()
    except _Fault as fault:
        return Grounding(
            grounded=fault.kind not in ("words", "number", "unit", "polarity"),
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
    """A direction word with its side (opposites have opposite signs) and the words beside it."""

    __slots__ = ("beside", "denied", "side", "word")

    def __init__(self, word: str, side: int, denied: bool, beside: frozenset[str]) -> None:
        self.word, self.side, self.denied, self.beside = word, side, denied, beside


class _Stance:
    """What a text denies, and which way it points."""

    def __init__(self, made: Sequence[Token], *, denied: bool = False) -> None:
        self.denied: set[str] = set()
        """Content words that a negation is said of: the first after it."""
        self.scope: set[str] = set()
        """Content words between a negation and the end of what it governs."""
        self.plain: set[str] = set()
        """Content words outside every negation."""
        self.soft: set[str] = set()
        """Content words in a clause that says no without a negation: only, unless, refuse."""
        self.explicit = denied
        self.directions: list[_Direction] = []
        governed = -1  # content words since a negation; -1: none governs
        verbal = False
        clause: list[str] = []
        softly = False
        for i, token in enumerate(made):
            if token.boundary:
                governed = -1
                if softly:
                    self.soft.update(clause)
                clause, softly = [], False
                continue
            word = token.stem
            if word in INHERENT:
                softly = True
            if word in _SCOPE_ENDS or (verbal and governed > 0 and word in _AUXILIARIES) or governed >= _REACH:
                governed = -1
            if word in NEGATORS:
                following = made[i + 1].text.lower() if i + 1 < len(made) else ""
                if following not in _COMPARING and not made[i + 1 : i + 2] == [] and not _bare_no(made, i):
                    governed, verbal = 0, word in ("not", "never", "cannot")
                    self.explicit = True
            elif token.content:
                name = concept(word)
                clause.append(name)
                if governed >= 0:
                    if governed == 0:
                        self.denied.add(name)
                    governed += 1
                    self.scope.add(name)
                elif denied:
                    self.scope.add(name)
                else:
                    self.plain.add(name)
            side = OPPOSITES.get(token.text.lower()) or OPPOSITES.get(word)
            if side and not _compares(made, i):
                self.directions.append(
                    _Direction(token.text, side, governed >= 0 and word not in NEGATORS, _beside(made, i))
                )
        if softly:
            self.soft.update(clause)


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


def _bare_no(made: Sequence[Token], i: int) -> bool:
    """Whether a "no" is the whole of its clause: an answer to a question, not a negation of what follows."""
    return made[i].stem == "no" and i + 1 < len(made) and made[i + 1].boundary


def _compares(made: Sequence[Token], i: int) -> bool:
    """Whether a direction word belongs to a number ("above 30", "6 or more"): there the bounds are compared instead."""
    word = made[i].text.lower()
    following = made[i + 1 : i + 3]
    if word in ("lasts", "lasted", "lasting"):
        return True
    if word == "up" and following and following[0].stem == "to":
        return True
    if following and (following[0].stem == "than" or (word in _BOUND_WORDS and following[0].quantity is not None)):
        return True
    if word in ("maximum", "minimum") and any(token.quantity is not None for token in following):
        return True
    return i > 0 and word in _AFTER_OR and made[i - 1].stem in ("or", "and")


def _beside(made: Sequence[Token], i: int) -> frozenset[str]:
    """The nearest content words or numbers on each side of a word, within its clause."""
    found = set()
    for step, reach in ((1, 4), (-1, 3)):
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

_POLAR = frozenset("is are was were may can could must should shall will would do does did has have need".split())


class _Check:
    """One pair against one source. Each test raises `_Fault` with what it finds."""

    def __init__(self, question: str, answer: str, source: _Source) -> None:
        self.source = source
        self.question = _Clause(tokens(question))
        self.answer = _Clause(tokens(answer))
        self.clauses = _clauses(self.answer.tokens)
        self.asks = _Stance(self.question.tokens)

    def run(self) -> None:
        """Raises:
        _Fault: something does not fit."""
        if not self.clauses:
            if self.answer.tokens and self.answer.tokens[0].stem in ("yes", "no"):
                self.clauses = [self.answer]
            else:
                raise _Fault("words", "the answer has no word or number that can be compared")
        nears = [self.near(clause) for clause in self.clauses]
        pool = sorted({i for near in nears for _, i in near})
        for clause in self.clauses:
            for figure in clause.figures:
                self.number(figure, pool)
        for clause, near in zip(self.clauses, nears, strict=True):
            best = near[0][0] if near else 0.0
            top = [i for score, i in near if score >= TOP * best]
            self.negation(clause, top)
            self.direction(clause, near)
            self.addition(clause)
        self.yes_or_no(nears)
        self.fit()

    # ranking

    def near(self, clause: _Clause) -> list[tuple[float, int]]:
        """The statements that a clause may rest on, the most relevant first."""
        scored = [(self.relevance(s, clause), i) for i, s in enumerate(self.source.statements)]
        best = max(scored, default=(0.0, 0))[0]
        return sorted(
            (pair for pair in scored if pair[0] > 0 and pair[0] >= NEAR * best), key=lambda pair: (-pair[0], pair[1])
        )

    def relevance(self, statement: Statement, clause: _Clause) -> float:
        weigh = self.source.weigh
        asked = self.question.stems - clause.stems
        score = weigh(clause.stems & statement.stems) + LEAD * weigh((clause.stems & statement.lead) - statement.stems)
        score += ASKED * (weigh(asked & statement.stems) + LEAD * weigh((asked & statement.lead) - statement.stems))
        if statement.figures:
            for figure in self.question.figures:
                if any(same_quantity(figure.quantity, other.quantity) for other in statement.figures):
                    score += ASKED * self.source.rare
        return score

    # numbers

    def number(self, figure: Figure, pool: list[int]) -> None:
        quantity = figure.quantity
        here = [f for i in pool for f in self.source.statements[i].figures]
        same = [f for f in here if self.agree(figure, f)]
        if not same:
            if any(same_quantity(quantity, f.quantity) for f in self.question.figures):
                return
            other = next((f.quantity for f in here if same_value(quantity, f.quantity)), None)
            if other is None:
                raise _Fault("number", f"the answer says {_said(quantity)}, which the evidence does not")
            raise _Fault("unit", f"the answer says {_said(quantity)}, the evidence {_said(other)}")
        self.labelled(figure, here)
        bounds = {f.quantity.bound for f in same}
        if quantity.bound and bounds == {"low" if quantity.bound == "high" else "high"}:
            limit = "an upper" if quantity.bound == "low" else "a lower"
            raise _Fault("polarity", f"the answer makes {_said(quantity)} {limit} limit, the evidence the other one")
        relations = {f.quantity.relation for f in same}
        if quantity.relation and "" not in relations and quantity.relation not in relations:
            raise _Fault(
                "polarity", f"the answer says {_said(quantity)} {quantity.relation}, the evidence {min(relations)}"
            )

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
                if stances and not any(s.explicit or s.soft for s in stances) and not self.asks.explicit:
                    raise _Fault("polarity", f"the answer denies {word!r}, the evidence denies nothing")
            elif not any(word in s.scope or word in s.soft for s in holding) and not self.opposed(word, stances):
                raise _Fault("polarity", f"the answer denies {word!r}, the evidence does not")
        if said.explicit or said.soft:
            lacking = said.plain - said.soft
        else:
            lacking = said.plain
        for stance in stances:
            for word in sorted((stance.denied & lacking) - self.asks.scope):
                if not any(word in other.plain for other in stances):
                    raise _Fault("polarity", f"the evidence denies {word!r}, the answer does not")

    def opposed(self, word: str, stances: list[_Stance]) -> bool:
        side = OPPOSITES.get(word)
        return side is not None and any(d.side == -side for s in stances for d in s.directions)

    def direction(self, clause: _Clause, near: list[tuple[float, int]]) -> None:
        best = near[0][0] if near else 0.0
        for said in _Stance(clause.tokens).directions:
            same = opposite = 0.0
            for d in self.asks.directions:
                if d.side == said.side:
                    same = max(same, 0.5 + len(d.beside & said.beside))
            word = ""
            for score, i in near:
                for d in self.source.stance(i).directions:
                    if abs(d.side) != abs(said.side):
                        continue
                    fits = len(d.beside & said.beside) + score / best
                    if (d.side == said.side) == (d.denied == said.denied):
                        same = max(same, fits)
                    elif d.denied == said.denied and fits > opposite:
                        opposite, word = fits, d.word
            if opposite > same:
                raise _Fault("polarity", f"the answer says {said.word!r}, the evidence {word!r}")

    def yes_or_no(self, nears: list[list[tuple[float, int]]]) -> None:
        first = self.answer.tokens[0].stem
        polar = any(
            token.stem in _POLAR and (i == 0 or self.question.tokens[i - 1].boundary)
            for i, token in enumerate(self.question.tokens)
        )
        if first not in ("yes", "no") or not polar or self.asks.explicit:
            return
        near = self.near(self.question)
        best = near[0][0] if near else 0.0
        stances = [self.source.stance(i) for score, i in near if score >= TOP * best]
        if first == "yes":
            for stance in stances[:2]:
                shared = stance.denied & self.question.stems
                if shared and not shared & stance.plain:
                    raise _Fault("polarity", f"the answer says yes, the evidence denies {min(shared)!r}")
        elif not self.question.figures and not any(s.explicit or s.soft for s in stances):
            raise _Fault("polarity", "the answer says no, the evidence denies nothing")

    # words

    def addition(self, clause: _Clause) -> None:
        known = self.source.stems | self.question.stems
        words = [w for w in clause.stems if w not in LIGHT_STEMS]
        new = [w for w in words if w not in known]
        if len(new) >= 2 and len(new) > 0.5 * len(words):
            raise _Fault("words", f"the evidence does not mention {', '.join(sorted(new))}")

    def fit(self) -> None:
        known = self.source.stems | self.answer.stems
        asked = {w for w in self.question.stems if w not in LIGHT_STEMS}
        if asked and len(asked & known) < FIT * len(asked):
            raise _Fault("fit", "the question asks about " + ", ".join(sorted(asked - known)))


def _said(quantity: Quantity) -> str:
    return quantity.text + (" " + quantity.unit.name if quantity.unit else "")
