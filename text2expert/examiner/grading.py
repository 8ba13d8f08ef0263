"""What counts as right, without a judge: an answer that says a canonical answer, and no other value beside it.

What a model put in other words may count as wrong; nothing wrong counts as right for being fluent.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from text2expert.evidence.quantities import Quantity, Unit, quantities, same_quantity, unit_of
from text2expert.evidence.statements import tokens
from text2expert.records import ExamQuestion, wording

Grade = Literal["right", "wrong", "refused"]
"""Of one answer. ``refused``: it says that it does not know, where there is an answer to know."""

LONGEST_ANSWER = 40
"""Words. A longer answer that contains the right one may contain the others too: only a literal match counts."""

_REFUSAL = re.compile(
    r"\b(?:(?:do|does|did|can|could|is|are|was|were|has|have)(?: not|n['’]t)|cannot|can['’]t|not|never|no) "
    r"(?:\w+ ){0,3}?(?:know|say|says|state[ds]?|mention(?:ed|s)?|specif(?:y|ied|ies)|give[ns]?|cover(?:ed|s)?|contain(?:ed|s)?|"
    r"provide[ds]?|include[ds]?|answer(?:ed|able)?|found|available|sure|information|details?|record(?:ed)?|described?)\b"
    r"|\b(?:unknown|unanswerable|unspecified|unstated|silent on|no idea)\b",
    re.IGNORECASE,
)
_ARTICLES = frozenset(("a", "an", "the"))
_NEGATIONS = frozenset(("not", "no", "never", "nor", "neither", "cannot", "without"))
_CONTRACTION = re.compile(r"n['’]t\b", re.IGNORECASE)
_DENIALS = _NEGATIONS - {"no"}  # "No, 16 cmH2O"
_REFERENCES = frozenset(
    [
        "section",
        "sections",
        "clause",
        "clauses",
        "appendix",
        "annex",
        "schedule",
        "chapter",
        "paragraph",
        "article",
        "table",
        "figure",
        "rule",
        "entry",
        "§",
    ]
)


def refuses(answer: str) -> bool:
    """Whether *answer* says that it does not know, or that the text does not say."""
    return bool(_REFUSAL.search(answer))


def graded(question: ExamQuestion, answer: str) -> Grade:
    """The grade of *answer* without a judge; by `grade` and `refuses`."""
    if grade(question, answer):
        return "right"
    return "refused" if question.answer is not None and refuses(answer) else "wrong"


def grade(question: ExamQuestion, answer: str) -> bool:
    """Whether *answer* is right, by these rules in turn:

    1. A question without an answer is answered right by a refusal, and by nothing else.
    2. The canonical answer or an alias, word for word (case, punctuation and articles aside), is right.
    3. Longer than 40 words, a refusal, the other one of yes and no, or a second value of the same kind: wrong.
    4. An answer with figures is right when it has them all, in their order, with equal values in convertible units, no
       opposite comparator and the canonical answer's other content words (they may stand in the question).
    5. One without figures is right when the canonical words stand in it one after another, not negated.
    """
    said = _plain(answer)
    if question.answer is None:
        return refuses(answer) or said in map(_plain, question.aliases)
    accepted = [each for each in (question.answer, *question.aliases) if wording(each)]
    if said in map(_plain, accepted):
        return True
    if (
        not accepted
        or not said
        or len(answer.split()) > LONGEST_ANSWER
        or refuses(answer)
        or _contradicts(said, accepted)
    ):
        return False
    key = _Key(question, accepted)
    found = _figures(answer)
    return not key.rivals(found) and any(key.matches(each, answer, found) for each in accepted)


def _plain(text: str) -> list[str]:
    """The words of *text* without articles, unless there is nothing else ("A" is an answer)."""
    words = wording(_CONTRACTION.sub(" not", text)).split()
    return [word for word in words if word not in _ARTICLES] or words


def _contradicts(said: Sequence[str], accepted: Iterable[str]) -> bool:
    """Whether the answer opens with no where yes is right, or the other way round."""
    right = {_plain(each)[0] for each in accepted} & {"yes", "no"}
    return said[0] in {"yes", "no"} and bool(right) and said[0] not in right


class _Figure(NamedTuple):
    """A number in an answer."""

    quantity: Quantity
    beside: frozenset[str]
    """Content words right before and after it: "tier" of "tier 3"."""
    denied: bool
    reference: bool
    """It numbers a section, not the world."""


def _figures(text: str) -> list[_Figure]:
    line = tokens(text)
    found = []
    for place, token in enumerate(line):
        if token.quantity is None:
            continue
        before = line[max(0, place - 2) : place]
        neighbours = [*before[-1:], *line[place + 1 : place + 2]]
        found.append(
            _Figure(
                quantity=token.quantity,
                beside=frozenset(each.stem for each in neighbours if each.content),
                denied=not token.quantity.bound and any(each.stem in _DENIALS for each in before),
                reference=any(each.text.lower() in _REFERENCES for each in before[-1:]),
            )
        )
    return found


class _Key:
    """What is right for one question."""

    def __init__(self, question: ExamQuestion, accepted: Sequence[str]) -> None:
        self.asked = question.question
        self.figures = {each: _figures(each) for each in accepted}
        self.words = _content(self.asked).union(*map(_content, accepted))
        canonical = {_unit(figure) for figure in self.figures[accepted[0]]}
        canonical |= {unit_of(question.unit)} if question.unit else set()
        asked = {unit_of(word.strip("?.,;:()")) for word in self.asked.split()}
        others = {_unit(figure) for figures in self.figures.values() for figure in figures}
        self.units = (canonical - {None}) or ((asked | others) - {None})
        """Units that go without saying: 72 stands for "72 hours", but 3 does not stand for its alias "3 days"."""

    def rivals(self, found: Iterable[_Figure]) -> bool:
        """Whether an answer names a second value of a kind that the right answer has."""
        right = [figure.quantity for figures in self.figures.values() for figure in figures]
        known = [*right, *quantities(self.asked)]
        kinds = {_kind(quantity) for quantity in right}
        return any(
            _kind(figure.quantity) in kinds
            and not figure.reference
            and not any(same_quantity(figure.quantity, other) for other in known)
            for figure in found
        )

    def matches(self, right: str, answer: str, found: Sequence[_Figure]) -> bool:
        """Whether *answer*, whose figures are *found*, says what *right* says."""
        words, said = _plain(right), _plain(answer)
        if words in (["yes"], ["no"]):
            return said[0] == words[0]
        if not self.figures[right]:
            return _contains(said, words)
        upcoming = iter(found)
        if not all(any(self._agree(figure, other) for other in upcoming) for figure in self.figures[right]):
            return False
        needed = _content(right)
        # A sentence may turn on its "not"; for a bare value the comparator has been compared.
        if len(needed) > 2 and _negated(words) != _negated(said):
            return False
        return needed <= _content(answer) | _content(self.asked)

    def _agree(self, right: _Figure, said: _Figure) -> bool:
        """Whether a figure of the answer is the right one: value, unit and side, and not denied.

        A number without a unit must not number something else.
        """
        one, other = right.quantity, said.quantity
        if said.denied or not same_quantity(one, other) or (one.bound and other.bound and one.bound != other.bound):
            return False
        if one.unit and other.unit:
            return True
        if other.unit:
            return any(same_quantity(one._replace(unit=unit), other) for unit in self.units)
        return said.beside <= self.words and (one.unit is None or one.unit in self.units)


def _unit(figure: _Figure) -> Unit | None:
    return figure.quantity.unit


def _kind(quantity: Quantity) -> str:
    return quantity.unit.dimension if quantity.unit else ""


def _content(text: str) -> frozenset[str]:
    return frozenset(token.stem for token in tokens(text) if token.content)


def _negated(words: Iterable[str]) -> bool:
    return any(word in _NEGATIONS for word in words)


def _contains(said: Sequence[str], words: Sequence[str]) -> bool:
    """Whether *words* stand in *said* one after another, with no negation shortly before them."""
    size = len(words)
    return any(
        said[start : start + size] == words and not _negated(said[max(0, start - 3) : start])
        for start in range(len(said) - size + 1)
    )
