"""The figures of an answer: what each counts or numbers, and whether it is denied or said in passing."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from text2expert.evidence.quantities import Quantity
from text2expert.evidence.tokens import Token, tokens
from text2expert.evidence.wording import word_set
from text2expert.examiner.relations import Manner, manner

__all__ = ["LABELS", "NEGATIONS", "Figure", "figures_of"]

NEGATIONS = frozenset(("not", "no", "never", "nor", "neither", "cannot", "without"))
_DENIALS = NEGATIONS - {"no"}  # "No, 16 cmH2O"
_REFERENCES = word_set(
    "section sections clause clauses appendix annex schedule chapter paragraph article table figure rule entry §"
)
LABELS = _REFERENCES | word_set(
    "tier channel level grade class type category group zone phase stage step form line platform gate room floor page version "
    "ward quay berth pier dock lift hall bay unit model number no nr code day week"
)
"""What a number behind it is the name of."""
_BRACKETS = re.compile(r"\((?![^()]*\bor\b)[^()]*\)")
"""What is said in passing, such as how a number was come by."""
_SUM = re.compile(
    r"\d\s?\S{0,12}\s?(?:[-\u2212\u2013+\u00d7*\u00f7=]|\b(?:plus|minus|times|less|divided)\b)\s?\S{0,12}\d",
    re.IGNORECASE,
)
_IN_PASSING = re.compile(
    r"\b(?:(?:in|since|from|of|until|by|before|after)\s+(?:1[5-9]|20)\d\d|(?:stated|written|said|see|found|defined|described)\s+(?:in|under|at)\s+"
    r"(?:section|clause|chapter|paragraph|article|table|rule|page|appendix|annex)\s+\d+(?:\.\d+)*|of\s+(?:which|whom|these|those|them)\s+\S{1,20}(?:\s\S{1,20})?)$",
    re.IGNORECASE,
)


class Figure(NamedTuple):
    """A number in an answer."""

    quantity: Quantity
    label: str
    """The word before it where it names by numbers, as its stem: "tier" of "tier 3"."""
    counted: frozenset[str]
    """Content words right behind it, up to a word without content: what a number without a unit counts."""
    denied: bool
    reference: bool
    """It numbers a section, not the world."""
    aside: bool
    """It is said in passing: a year, a place in the text, one "of which", or in brackets, where these hold no list."""
    place: int
    manner: Manner = ""
    """Whether it says how often ("every 72 hours") or how long ("for 72 hours")."""


def figures_of(text: str) -> list[Figure]:
    """The numbers of *text*, in one spelling, in their order."""
    line = tokens(text)
    aside = _asides(text, line)
    found = []
    for place, token in enumerate(line):
        if token.quantity is None or _is_somebody(line[place : place + 2]):
            continue
        before = line[max(0, place - 2) : place]
        last = before[-1] if before else None
        found.append(
            Figure(
                quantity=token.quantity,
                label=last.stem if last is not None and last.text.lower() in LABELS else "",
                counted=_counted(line[place + 1 :]),
                denied=not token.quantity.bound and any(each.stem in _DENIALS for each in before),
                reference=last is not None and last.text.lower() in _REFERENCES,
                aside=token.quantity.start in aside,
                place=place,
                manner=manner(text[: token.quantity.start]),
            )
        )
    return found


def _is_somebody(here: Sequence[Token]) -> bool:
    """Whether a "one" is anybody: "one must be at least 16"."""
    return len(here) > 1 and here[0].text.lower() == "one" and here[1].text.lower() in _MODALS


_MODALS = word_set("must may can should shall will would could might has needs")


def _asides(text: str, line: Sequence[Token]) -> set[int]:
    """Where the numbers start that are said in passing: years, those "of which", those of brackets without a list."""
    found = {
        token.quantity.start
        for token in line
        if token.quantity is not None and _IN_PASSING.search(text[: token.quantity.stop])
    }
    for bracket in _BRACKETS.finditer(text):
        inside = [
            (place, token.quantity)
            for place, token in enumerate(line)
            if token.quantity is not None and bracket.start() < token.quantity.start < bracket.end()
        ]
        bare = [quantity for place, quantity in inside if not _counted(line[place + 1 :])]
        if len(bare) < 2 or _SUM.search(bracket[0]):
            found |= {quantity.start for _, quantity in inside}
    return found


def _counted(behind: Iterable[Token]) -> frozenset[str]:
    words = set()
    for token in behind:
        if not token.content or token.quantity is not None:
            break
        words.add(token.stem)
    return frozenset(words)
