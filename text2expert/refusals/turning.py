"""A turned question, what may be put into one, and what its parts are: what the ways of `entities` and `attributes` share."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeVar

import attrs

from text2expert.refusals.frames import AUXILIARIES, PREFIX, PREPOSITIONS, Frame, is_act, is_plain
from text2expert.refusals.texts import Texts, fold, singular
from text2expert.refusals.words import (
    ACTIONS,
    CARED_FOR,
    COLUMNS,
    DEPARTMENTS,
    HEADS,
    INSTITUTIONS,
    PEOPLE,
    PROPERTIES,
    SITES,
    TERMS,
    THINGS,
    TOPICS,
    VALUES,
    Class,
    Entry,
    acts,
)

Kind = Literal["entity", "attribute", "topic"]

T = TypeVar("T")

ACTS = acts()
"""Verb, or its past participle -> class of what it is done to."""


@attrs.frozen
class Turned:
    """A question that the texts do not answer, and what of it they do not hold."""

    kind: Kind
    question: str
    missing: str
    far: bool = False
    """Less like its twin than others are: taken where those run out."""


class Pools:
    """What may be put in: the entries of which nothing occurs in the texts."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.things = {name: self._unknown(pool) for name, pool in THINGS.items()}
        self.actions = {name: self._unknown(pool) for name, pool in ACTIONS.items()}
        self.properties = {
            name: tuple(each for each in pool if texts.lacks(each[1])) for name, pool in PROPERTIES.items()
        }
        self.columns = self._unknown(COLUMNS)
        self.values = self._unknown(VALUES)
        self.terms = self._unknown(TERMS)
        self.topics = self._unknown(TOPICS)
        self.departments = self._unknown(DEPARTMENTS)

    def _unknown(self, pool: Sequence[Entry]) -> tuple[str, ...]:
        return tuple(entry.phrase for entry in pool if self.texts.lacks(entry))


Way = Callable[[str, Frame | None, Pools, float], Turned | None]
"""From a question, its frame, what may be put in and the question's own number (0 up to 1): the question turned."""


def pick(pool: Sequence[T], draw: float) -> T:
    """The member of *pool* that *draw* (0 up to 1) stands for."""
    return pool[int(draw * len(pool))]


def in_place(prefix: str, asked: str) -> str:
    """A question as it begins behind *prefix*: with a small letter, unless there is none."""
    return prefix + asked[0].lower() + asked[1:] if prefix else asked[0].upper() + asked[1:]


def prefix_of(question: str) -> str:
    """The section's name before the question proper, with what follows it; "" where there is none."""
    return match[0] if (match := PREFIX.match(question)) else ""


# -- things that a question names --------------------------------------------------------------------------------------


NamedKind = Class | Literal["institution", "site"]


class Named(NamedTuple):
    """A thing that a question names, and where."""

    start: int
    end: int
    kind: NamedKind
    head: str
    """Its noun, lower case."""


_PHRASE = re.compile(r"\b(?:[Tt]he|[Aa]n?) (?P<noun>(?:[a-z][a-z-]+ ){0,3}?(?P<head>[a-z]+))(?= (?P<next>[a-z]+)|[?,])")
NAME = re.compile(r"(?<=[a-z,] )(?:the )?(?P<name>[A-Z][\w'’]+(?: [A-Z][\w'’]+){1,3})(?![\w'’]| [A-Z0-9])")


def phrases(question: str) -> Iterator[Named]:
    """The common nouns of a known class that stand with an article: "the travel ventilator"."""
    for match in _PHRASE.finditer(question):
        words = match["noun"].split()
        things = class_of_noun(match["head"])
        ends = match["next"] is None or (match["next"] != "of" and match["next"] in PREPOSITIONS | AUXILIARIES)
        if things and ends and is_plain(words) and not any(map(is_act, words[:-1])):
            yield Named(match.start(), match.end(), things, match["head"])


def names(question: str) -> Iterator[Named]:
    """The names of offices, institutions and places, with their article: "the Records Officer"."""
    for match in NAME.finditer(question):
        head = fold(match["name"].split()[-1])
        if head in PEOPLE:
            yield Named(match.start(), match.end(), "person", head)
        elif head in INSTITUTIONS:
            yield Named(match.start(), match.end(), "institution", head)
        elif head in SITES:
            yield Named(match.start(), match.end(), "site", head)


def class_of(frame: Frame) -> Class | None:
    """What kind of thing the subject is, by its head or else by what is done to it."""
    return class_of_noun(frame.head) or (ACTS.get(frame.act) if frame.passive else None)


def class_of_noun(noun: str) -> Class | None:
    """What kind of thing *noun* (lower case) is a word for, as far as it is known."""
    if singular(noun) in PEOPLE:
        return "person"
    return next((name for name, heads in HEADS.items() if singular(noun) in heads), None)


def is_cared_for(noun: str) -> bool:
    """Whether *noun* is a word for those to whom is done what is done to no other, such as patients."""
    return singular(noun) in CARED_FOR


# -- what a question is about ------------------------------------------------------------------------------------------

ASIDE = re.compile(
    r"\b(?:other than|apart from|except|unless|including|such as|like|besides|instead of|rather than|if|when|whenever|while|after|before|until|than)\b",
    re.IGNORECASE,
)
"""What begins a condition, an exception or an example."""

_REVERSED = re.compile(
    r"\b(?:which|what)(?: is the)? (?:term|words?|phrase|name|abbreviation|expression)\b|\bcalled\?|\bthe term for\b|\brule that\b",
    re.IGNORECASE,
)
"""A meaning or a rule is given and what is sought belongs to it: with a detail changed it is still the same."""

_ASKING = re.compile(r"\b(?:what|which|whom?|whose|when|where|why|how)\b", re.IGNORECASE)


def is_asked(question: str, start: int, end: int) -> bool:
    """Whether what stands there is what the question is about.

    It is not in an aside, not one of several, and not among particulars by which the answer could be known all the same.
    """
    proper = len(prefix_of(question))
    before, behind = question[proper:start], question[end:]
    asking = re.match(r"(?:\w+ )?(?:what|which|whom?|when|where|why|how)\b", before, re.IGNORECASE)
    return bool(
        start >= proper
        and _ASKING.search(question[proper:])
        and not re.search(r"[.;:] ", question[proper:])  # a statement, which would be false now
        and not _REVERSED.search(question)
        and '"' not in behind + before
        and not ASIDE.search(before[asking.end() if asking else 0 :])
        and not re.search(r"\b(?:and|or|nor|both)\b[^,]{0,12}$|,\s*$|[-–]\s*$", before)
        and not re.match(r"\s*(?:and|or)\b", behind)
        and not re.search(r"[0-9,]", behind)
    )
