"""How a value stands to what it is the value of: every so often, on one side of it, before or after something.

    every 72 hours          recurs
    within 72 hours         low: at most that long
    at least 72 hours       high
    24 hours before it      before

A word that the right answer leaves out may be taken from the question or from the evidence. Where none of them says a
side, one that the answer adds changes the meaning: "up to 72 hours" is not "72 hours". Two are told apart less strictly:
"after" and "within" are often no more than what a point in time or a deadline is told with, and are let pass but where a
span is asked for.
"""

import re
from collections.abc import Iterable
from typing import Literal

from text2expert.evidence.quantities import Bound, Quantity, quantities
from text2expert.evidence.units import CLOCK, MONTHS
from text2expert.examiner.values import same

__all__ = ["asks_how_long", "asks_how_often", "is_in_time", "leaves_open", "manner", "order_asked", "side_of"]

Manner = Literal["", "every", "for"]

_RECURS = re.compile(
    r"\b(?:every|each|(?:at|in|with|after|an?|the) (?:\w+ )?intervals? (?:of|is|are)|once (?:in|per))\s+"
    r"(?:(?:about|approximately|around|roughly|some|full|single|other)\s+)?$",
    re.IGNORECASE,
)
_LASTS = re.compile(
    r"(?<!\bonce )(?<!\bevery )\b(?:for|lasts?|lasting)\s+(?:(?:about|approximately|around|roughly|some|a full|the)\s+)?$",
    re.IGNORECASE,
)
_HOW_OFTEN = re.compile(
    r"\bhow (?:often|frequently|regularly|many times)\b|\b(?:intervals?|frequency|frequencies|cycle|periodically|schedule)\b"
    r"|\bevery (?:how|what)\b",
    re.IGNORECASE,
)
_HOW_LONG = re.compile(
    r"\bhow (?:long|soon|quickly|fast|late|early|old|many|much|far)\b|\b(?:until|by|since|from|within|after) (?:when|what|which|how)\b"
    r"|\bwhen\b|\b(?:duration|deadline|period|length|time limit)\b",
    re.IGNORECASE,
)
_WHEN = re.compile(
    r"\bwhen\b|\b(?:what|which) (?:time|date|day|hour)\b|\bhow (?:soon|quickly|fast|early|late)\b", re.IGNORECASE
)
_SPAN = re.compile(r"\bhow long\b|\bfor how (?:long|many)\b|\b(?:duration|length of time)\b", re.IGNORECASE)
_DUTY = re.compile(
    r"\b(?:must|needs?|needed|required?|requires|ha(?:s|ve) to|shall|should|enough|suffices?)\b", re.IGNORECASE
)
_LEAVE = re.compile(r"\b(?:may|can|could|allowed|permitted|entitled|able)\b", re.IGNORECASE)
_IN_TIME = frozenset(("within", "inside", "after", "past", "until", "till"))
_LATER = frozenset(("after", "past"))
_POINTS = frozenset((CLOCK.dimension, *MONTHS))
"""The dimensions of points in time."""
_ORDER = re.compile(
    r"\b(?:how|what|which|many|much|long|time|days?|hours?|minutes?|weeks?|months?|years?|far|soon|early)\b[^?.;]{0,24}?\b"
    r"(?P<order>before|prior to|ahead of|in advance of|after|following)\b",
    re.IGNORECASE,
)


def manner(before: str) -> Manner:
    """How *before*, what stands before a number, has it told: "every" so often, "for" so long, or "" for neither."""
    if _RECURS.search(before):
        return "every"
    return "for" if _LASTS.search(before) else ""


def asks_how_often(question: str) -> bool:
    """Whether *question* asks how often, or for an interval."""
    return bool(_HOW_OFTEN.search(question))


def asks_how_long(question: str) -> bool:
    """Whether *question* asks for a span, a deadline or an amount, and not how often."""
    return bool(_HOW_LONG.search(question)) and not asks_how_often(question)


def is_in_time(quantity: Quantity, question: str) -> bool:
    """Whether the comparator of *quantity* only tells a time, as in "after 72 hours", where no span is asked for."""
    if quantity.comparator in _LATER and quantity.unit is not None and quantity.unit.dimension in _POINTS:
        return False  # "after 22:00" is not at 22:00
    return quantity.comparator in _IN_TIME and not (_SPAN.search(question) or asks_how_often(question))


def leaves_open(question: str, said: Quantity) -> bool:
    """Whether *question* leaves it to the answer to add the side that *said* has.

    A duty is "at least", and what one may is "at most"; the time of either may be a first or a last one.
    """
    duty, leave = bool(_DUTY.search(question)), bool(_LEAVE.search(question))
    if _WHEN.search(question):
        return leave or (duty and said.comparator not in _LATER)
    return duty != leave and said.bound == ("high" if duty else "low")


def side_of(quantity: Quantity, texts: Iterable[str]) -> Bound:
    """The one side on which *texts*, the evidence, tell *quantity*; "" where they tell none or both."""
    sides: set[Bound] = {
        told.bound for text in texts for told in quantities(text) if told.bound and same(quantity, told)
    }
    return sides.pop() if len(sides) == 1 else ""


def order_asked(question: str) -> Literal["", "before", "after"]:
    """The order that *question* asks for: "how long before arrival"."""
    found = _ORDER.search(question)
    if found is None:
        return ""
    return "after" if found["order"].lower() in ("after", "following") else "before"
