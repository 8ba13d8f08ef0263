"""A pair beside its source: what is compared, and which statements a clause of the answer may rest on."""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from text2expert.evidence.leads import is_bare_ban, opens_a_list
from text2expert.evidence.quantities import Quantity, same_quantity
from text2expert.evidence.rates import Counted, counts, held_for_each
from text2expert.evidence.stance import Stance
from text2expert.evidence.statements import Figure, Statement, Token, content, figures, statements, tokens
from text2expert.evidence.units import Unit
from text2expert.evidence.wording import COMPUTING_STEMS, LIGHT_STEMS, concept, stem, word_set

# The weights and shares of this package were set on two of the three sample documents and left with room on both sides:
# none is at the edge where a little more turns good pairs away.
LIGHT = 0.25
"""What a word that rewording brings along weighs beside one of content."""
LEAD = 0.4
"""What a word weighs that stands in the heading or lead-in of a statement, and not in the statement."""
ASKED = 0.7
"""What a word of the question weighs beside one of the answer when statements are ranked."""
BEYOND = 0.5
"""What a number of the question weighs in a statement with a limit in its unit."""
NEAR = 0.5
"""A statement whose relevance is this share of the best one's is evidence for numbers."""
TOP = 0.7
"""The same for negations."""


class Fault(NamedTuple):
    """What does not fit, in one sentence."""

    kind: Literal["unfounded", "contradicted", "misplaced"]
    """``unfounded``: the evidence does not say it; ``contradicted``: it says otherwise; ``misplaced``: it answers
    something else than the question."""
    reason: str


class Clause:
    """The question, the answer or a clause of it."""

    def __init__(self, made: Sequence[Token]) -> None:
        self.tokens = made
        self.stems = content(made)
        self.figures = figures(made)

    @cached_property
    def stance(self) -> Stance:
        """The negations and directions of the clause."""
        return Stance(self.tokens)

    def shown(self, stems: Iterable[str]) -> str:
        """Stems as the words they stand for, in the order of the text."""
        wanted = set(stems)
        found = dict.fromkeys(t.text for t in self.tokens if t.content and concept(t.stem) in wanted)
        return ", ".join(repr(word) for word in found)


class Source:
    """A passage as statements, with how telling each of its words is; read once for all pairs of the passage."""

    def __init__(self, context: str, passage: str) -> None:
        shown = "\n".join(_as_heading(line) for line in context.splitlines())
        self.shift = len(shown) + 2 if shown else 0
        found = statements(f"{shown}\n\n{passage}" if shown else passage)
        above = content(tokens(context))  # the whole passage stands under it
        self.statements = tuple(s._replace(lead=s.lead | above) if s.start >= self.shift else s for s in found)
        count: dict[str, int] = {}
        for statement in self.statements:
            for word in statement.stems:
                count[word] = count.get(word, 0) + 1
        n = len(self.statements)
        self.rare = math.log(1 + n)
        """The weight of a word that occurs once, and of a number."""
        self.weight = {w: math.log(1 + n / k) * (LIGHT if w in LIGHT_STEMS else 1) for w, k in count.items()}
        self.stems = frozenset(count)
        self.figures = tuple(figure for statement in self.statements for figure in statement.figures)
        self.units = frozenset(f.quantity.unit.name for f in self.figures if f.quantity.unit is not None)
        self.dimensions = frozenset(f.quantity.unit.dimension for f in self.figures if f.quantity.unit is not None)
        if "clock" in self.dimensions:
            self.stems |= _TIMES_OF_DAY
        self._stances: dict[int, Stance] = {}

    def stance(self, i: int) -> Stance:
        """The negations and directions of a statement."""
        if i not in self._stances:
            statement = self.statements[i]
            stance = Stance(statement.tokens, denied=statement.denied)
            if statement.above >= 0:
                stance.read_under(self.stance(statement.above), statement.tokens, forbidden=statement.denied)
            self._stances[i] = stance
        return self._stances[i]

    @cached_property
    def counts(self) -> list[Counted]:
        """What the passage counts."""
        return [count for statement in self.statements for count in counts(statement.tokens)]

    @cached_property
    def held_for_each(self) -> list[frozenset[str]]:
        """For each statement the words for one of which its amounts are told."""
        return [held_for_each(statement.tokens) for statement in self.statements]

    def overlapping(self, start: int, end: int) -> list[int]:
        """The statements that a place in the passage touches."""
        start, end = start + self.shift, end + self.shift
        return [i for i, s in enumerate(self.statements) if s.start < end and s.end > start]

    def unprefixed(self, word: str) -> str:
        """A word without "re", where the passage has only that: "repaint" as "paint"."""
        return word[2:] if word not in self.stems and word.startswith("re") and word[2:] in self.stems else word

    def joined(self, made: Sequence[Token]) -> frozenset[str]:
        """The words that *made* writes as two and the passage as one: "roll back" for "rollback"."""
        pairs = (one.text.lower() + two.text.lower() for one, two in pairwise(made) if one.content or two.content)
        return frozenset(word for word in map(stem, pairs) if word in self.stems)

    def weigh(self, stems: Iterable[str]) -> float:
        """What words weigh together: more where few statements have them, least where rewording brings them along."""
        weight, rare = self.weight, self.rare
        return sum(weight[w] if w in weight else rare * (LIGHT if w in LIGHT_STEMS else 1) for w in stems)


_TIMES_OF_DAY = frozenset(map(stem, word_set("morning afternoon evening night noon midday midnight early late")))
"""What a time of day may be told as."""


def _as_heading(line: str) -> str:
    """A line of the context, marked as a heading where it is a ban that has no list of its own: "Do not" of a path."""
    innermost = line.rpartition(" > ")[2]
    bans = is_bare_ban(innermost) and not line.lstrip().startswith("#") and not opens_a_list(line)
    return f"{line}\n# {innermost}" if bans else line


@lru_cache(maxsize=64)
def source(context: str, passage: str) -> Source:
    """The source of a passage; the last few are kept, for pairs come passage by passage."""
    return Source(context, passage)


@lru_cache(maxsize=512)
def _read(text: str) -> tuple[Token, ...]:
    """The tokens of a question or answer: one answer comes with many questions."""
    return tuple(tokens(text))


class Near(NamedTuple):
    """A statement that a clause may rest on; ``share`` is its relevance beside the best one's, 0 to 1."""

    share: float
    statement: int


class Pair:
    """A question and an answer beside their source."""

    def __init__(self, question: str, answer: str, held: Source, quoted: list[int] | None) -> None:
        """*quoted*: the statements that the answer rests on; None: any may be."""
        self.source = held
        self.quoted = quoted
        self.question = Clause(_read(question))
        self.question.stems = frozenset(map(held.unprefixed, self.question.stems)) | held.joined(self.question.tokens)
        self.asks = self.question.stance
        starts = (i for i, token in enumerate(self.question.tokens) if i == 0 or self.question.tokens[i - 1].boundary)
        self.polar = any(self.question.tokens[i].stem in _POLAR for i in starts)
        """The question can be answered by yes or no."""
        self.answer = Clause(_read(answer))
        self.answer.stems |= held.joined(self.answer.tokens)
        first = self.answer.tokens[0].stem if self.answer.tokens else ""
        self.verdict = first if first in ("yes", "no") else ""
        self.clauses = list(_clauses(self.answer.tokens)) or ([self.answer] if self.verdict else [])
        self.computed = False
        """Whether a number of the answer was found to follow from others."""
        self._about = self.speaks_of(self.question.stems)
        self.nears = [self.near(clause) for clause in self.clauses]
        """For each clause the statements that it may rest on, the most relevant first."""
        nears = [*self.nears, self.near(self.answer)]
        self.pool = (
            quoted if quoted is not None else self._with_pronouns({near.statement for part in nears for near in part})
        )
        """The statements that the answer's numbers may come from."""

    def _with_pronouns(self, near: set[int]) -> list[int]:
        """Statements and those that go on about them by a pronoun: "The velocity is measured. It must lie between ..."."""
        held = self.source.statements
        on = {
            i
            for i in range(1, len(held))
            if i - 1 in near and held[i].block == held[i - 1].block and held[i].tokens[0].text.lower() in _PRONOUNS
        }
        return sorted(near | on)

    def near(self, clause: Clause) -> list[Near]:
        """The statements that a clause may rest on, the most relevant first."""
        weigh, stems = self.source.weigh, clause.stems
        scored = []
        for i, statement in enumerate(self.source.statements):
            score = ASKED * self._about[i] + weigh(stems & statement.stems)
            if not stems.isdisjoint(statement.lead):
                score += LEAD * weigh((stems & statement.lead) - statement.stems)
            scored.append(score)
        best = max((s for s, held in zip(scored, self.source.statements, strict=True) if not held.header), default=0.0)
        if best <= 0:
            return []
        found = [Near(score / best, i) for i, score in enumerate(scored) if score >= NEAR * best]
        return sorted(found, key=lambda near: (-near.share, near.statement))

    def top(self, nears: list[Near]) -> list[Stance]:
        """The stances of the most relevant of some statements; of the quoted ones only, where any of them is quoted."""
        places = [near.statement for near in nears if near.share >= TOP]
        if self.quoted is not None:
            places = [i for i in places if i in self.quoted] or places
        return [self.source.stance(i) for i in places]

    def speaks_of(self, stems: frozenset[str]) -> list[float]:
        """How much each statement has of some words and of the question's numbers."""
        weigh = self.source.weigh
        return [
            weigh(stems & s.stems)
            + (0.0 if stems.isdisjoint(s.lead) else LEAD * weigh((stems & s.lead) - s.stems))
            + numbers
            for s, numbers in zip(self.source.statements, self._numbers_of, strict=True)
        ]

    @cached_property
    def _numbers_of(self) -> list[float]:
        """What the question's numbers weigh in each statement."""
        numbers, rare = self.question.figures, self.source.rare
        held = self.source.statements
        if not numbers:
            return [0.0] * len(held)
        return [rare * (shared(numbers, s.figures) or _fitting(numbers, s)) for s in held]

    def asked(self) -> frozenset[str]:
        """The content words of the question, without names that the evidence does not use: titles often hold those."""
        names = {
            concept(token.stem)
            for before, token in pairwise(self.question.tokens)
            if token.content and token.text[0].isupper() and not before.boundary
        }
        return self.question.stems - LIGHT_STEMS - COMPUTING_STEMS - (names - self.source.stems)


def shared(some: Sequence[Figure], others: Sequence[Figure]) -> int:
    """How many of some numbers are among others."""
    if not some or not others:
        return 0
    return sum(any(same_quantity(figure.quantity, other.quantity) for other in others) for figure in some)


def _fitting(some: Sequence[Figure], statement: Statement) -> float:
    """How well numbers fit a statement that has not themselves: inside of its range they belong to it, beyond its limit perhaps."""
    if not statement.figures:
        return 0.0
    best = 0.0
    for number in (figure.quantity for figure in some):
        for low, high in statement.ranges:
            if _kind(number) == _kind(low) == _kind(high) and low.value <= number.value <= high.value:
                return 1.0
        if number.unit is not None and any(
            f.quantity.bound and _kind(f.quantity) == _kind(number) for f in statement.figures
        ):
            best = BEYOND
    return best


def _kind(quantity: Quantity) -> Unit | None:
    return quantity.unit


def said(quantity: Quantity) -> str:
    """A number as a reason quotes it."""
    unit = f" ({quantity.unit.symbol})" if quantity.unit is not None and quantity.unit_apart else ""
    return " ".join(quantity.written.split()) + unit


_PRONOUNS = word_set("it its they their this these he she his her")
_POLAR = word_set("is are was were may can could must should shall will would do does did has have need")
_CLAUSE_STARTS = word_set(
    "and but or so because although while which who that when if unless after before provided as with using until where then"
)


def _clauses(made: Sequence[Token]) -> Iterator[Clause]:
    """The clauses of an answer: between sentence ends, semicolons, brackets, and commas that a new clause follows."""
    part: list[Token] = []
    for token, following in pairwise([*made, Token(".", ".", content=False, boundary=True)] * bool(made)):
        opens = token.text == "," and (following.stem in _CLAUSE_STARTS or following.text.endswith("ing"))
        if token.boundary and (opens or token.text != ","):
            yield from _clause(part)
            part = []
        else:
            part.append(token)
    yield from _clause(part)


def _clause(part: list[Token]) -> Iterator[Clause]:
    clause = Clause(part)
    if clause.stems or clause.figures:
        yield clause
