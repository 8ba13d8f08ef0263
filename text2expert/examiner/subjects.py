"""Whether a second value of an answer is that of another thing: the 14 days of "films for 7 days, books for 14 days".

    How long are films lent?     films ── 7 days │ books ── 14 days

Only what one clause ties together counts: the right value with a word of the question that the other clause lacks, the
other value with a word that neither the question nor the right value's clause has. Everything else leaves two values
beside each other, and an answer that offers two has given none.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from text2expert.evidence.tokens import tokens
from text2expert.evidence.wording import LIGHT_STEMS, OPPOSITES, stem, word_set
from text2expert.examiner.figures import Figure

__all__ = ["is_of_another"]

_BREAKS = (
    re.compile(r"[.!?](?=\s)|\n"),
    re.compile(r"[;:\u2014]|\s[\u2013-]\s"),
    re.compile(r",(?!\d)|\b(?:but|while|whereas|and)\b", re.IGNORECASE),
)
"""What parts one clause from the next, the strongest first."""
_UNSURE = re.compile(
    r"\b(?:or|either|maybe|perhaps|possibly|alternatively|rather|instead|actually|sometimes|others?|another|some|corrections?|sorry|"
    r"formerly|previously|originally|now|later|today|currently|used to|no longer|newer?|old|updated?|revised|"
    r"says?|said|claims?|thinks?|believes?|according|reports?|sources?|versions?|editions?)\b",
    re.IGNORECASE,
)
"""What makes a second value another opinion, time or choice rather than that of another thing."""
_CHANGED = re.compile(
    r"\b(?:increas|rais|rise|rose|lower|reduc|decreas|chang|drop|fall|fell|adjust|extend|shorten|cut|step|go|went|mov|turn|bring|brought|set|titrat)\w*\b"
    r"[^.;!?]*\bfrom\s+\S{1,12}(?:\s\S{1,12})?\s+to\s+$",
    re.IGNORECASE,
)
"""Before a number: that something is changed to it from another."""
_CONDITION = re.compile(
    r"\s*(?:and\s+)?(?:in|on|at|if|when|where|during|with|without|under|after|before|by|unless|until|from)\b",
    re.IGNORECASE,
)
"""What opens a clause with a case of the same thing, not with another thing."""
_STANDS_FOR = re.compile(r"\b(?:that|those|ones?) (?:of|for|in|with|from)\b", re.IGNORECASE)
"""What stands for a word of the clause before, so that one word of the question there tells nothing apart."""
_PLAIN = word_set("it this that they these those he she there one")
_LIGHT = LIGHT_STEMS - {stem(word) for word in ("day", "week", "month", "year")}
"""Words that tell no thing from another; "the day shift" is another than the night shift."""


class _Clause(NamedTuple):
    """What stands around a figure as far as its clause goes."""

    before: frozenset[str]
    """Stems of its content words before the figure."""
    behind: frozenset[str]
    text: str

    @property
    def words(self) -> frozenset[str]:
        return self.before | self.behind


def is_of_another(other: Figure, right: Sequence[Figure], answer: str, asked: frozenset[str]) -> bool:
    """Whether *other* is the value of another thing than what was *asked*, while one of the *right* figures is of that.

    Args:
        other: A figure of *answer* that is not right.
        right: Those that are.
        answer: In one spelling.
        asked: Stems of the question's content words.
    """
    return any(_is_before_a_change(other, each, answer) or _is_apart(other, each, answer, asked) for each in right)


def _is_before_a_change(other: Figure, right: Figure, answer: str) -> bool:
    """Whether *other* is what is changed to the right value: the 5 of "from 5 to 10"."""
    between = answer[other.quantity.stop : right.quantity.start]
    return between.strip().lower() == "to" and bool(_CHANGED.search(answer[: right.quantity.start]))


def _is_apart(other: Figure, right: Figure, answer: str, asked: frozenset[str]) -> bool:
    first, last = sorted((right, other), key=lambda each: each.quantity.start)
    edge = _edge(answer, first.quantity.stop, last.quantity.start)
    if edge is None or _UNSURE.search(answer):
        return False
    start = max((found.end() for found in _BREAKS[0].finditer(answer, 0, first.quantity.start)), default=0)
    end = next((found.start() for found in _BREAKS[0].finditer(answer, last.quantity.stop)), len(answer))
    one, two = _clause(answer, start, first, edge), _clause(answer, edge, last, end)
    mine, its = (one, two) if first is right else (two, one)
    own = (mine.words & asked) - its.words
    strange = its.words - asked - mine.words
    turned = {word for word in strange & LIGHT_STEMS if any(_are_opposite(word, each) for each in own)}
    own, strange = own - (frozenset() if turned else _LIGHT), (strange - _LIGHT) | turned
    if len(own) < (2 if _STANDS_FOR.search(its.text) else 1) or not strange:
        return False
    if first is right:
        # The clause behind may leave out what the first one says: "in summer" and "in winter" then stand behind both.
        has_subject = strange & its.before and not _CONDITION.match(answer, edge)
        return not (its.words & asked) - mine.words and bool(has_subject or own & mine.behind)
    return (its.words & asked) - mine.words <= its.before


def _are_opposite(one: str, other: str) -> bool:
    return any(-side in OPPOSITES.get(other, ()) for side in OPPOSITES.get(one, ()))


def _edge(answer: str, start: int, end: int) -> int | None:
    """Where the clause of one figure ends and that of the next begins; None where both stand in one."""
    for pattern in _BREAKS:
        if found := pattern.search(answer, start, end):
            return found.end()
    return None


def _clause(answer: str, start: int, figure: Figure, end: int) -> _Clause:
    before, behind = answer[start : figure.quantity.start], answer[figure.quantity.stop : end]
    return _Clause(_words(before), _words(behind), f"{before}{behind}")


def _words(text: str) -> frozenset[str]:
    return frozenset(
        token.stem
        for token in tokens(text)
        if token.content and token.quantity is None and token.text.lower() not in _PLAIN
    )
