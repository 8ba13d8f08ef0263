"""What every rule shares: the fact that it finds, the scene that it reads, and when words are safe to ask with."""

import re
from collections.abc import Mapping

import attrs

from text2expert.offline.clauses import Clause, bare, upper_first
from text2expert.offline.lexicon import (
    BE,
    BODIES,
    DETERMINERS,
    MODALS,
    NUMBER_WORDS,
    PREPOSITIONS,
    PRONOUNS,
    RELATIVES,
    ROLES,
    SUBORDINATORS,
    VERBS,
    is_participle,
)

NUM = rf"(?:\d[\d,]*(?:\.\d+)?|\d|(?:{'|'.join(NUMBER_WORDS)})\b)"
BOUND = (
    r"(?:(?:no|not) (?:later|earlier|more|less|fewer|longer|greater|higher|lower) than|at (?:least|most)|more than|less than|fewer than|"
    r"up to|a (?:maximum|minimum) of|about|approximately|exactly|over|under|above|below)"
)
"""What may stand before a number and belongs to it."""
TIME_UNIT = (
    r"(?:(?:working|calendar|business|consecutive|clear|full|school|trading) )?"
    r"(?:milliseconds?|seconds?|minutes?|hours?|days?|nights?|weeks?|months?|years?|min|h|sec|s)\b"
)
TIME = rf"(?:(?:a )?(?:further|total of) )?{NUM}(?:(?: to | or |-){NUM})?[ -]{TIME_UNIT}"
SUFFIX = r"(?: or (?:more|less|fewer|longer|shorter|above|below|over|under|higher|lower|older|younger|better)| at (?:most|least))?"
"""What may stand behind a number and belongs to it."""


@attrs.frozen(kw_only=True)
class Fact:
    """Something the text states, ready to be asked for: `text2expert.offline.phrasings.TEMPLATES` explains kind and slots."""

    kind: str
    slots: Mapping[str, str]
    short: str
    """The canonical answer."""
    answer: str
    """A statement that contains it."""
    places: tuple[tuple[int, int], ...]
    """Where the passage says so; the last one is the sentence itself, ones before it a lead-in or a table's header."""
    section: str
    quote: str = ""
    """The part of the sentence that is evidence; empty: all of it."""
    topic: str = ""
    """What questions name instead of the section's title: a label inside the section."""
    anchored: bool = False
    """Whether a question must name its topic to be understood."""


_CLOCK_DOT = re.compile(r"\b([ap]\.m)$")
"""The full stop of "7 a.m." at a sentence's end belongs to both."""


@attrs.frozen(kw_only=True)
class Scene:
    """A unit under reading: what every fact found in it has in common."""

    places: tuple[tuple[int, int], ...]
    section: str
    proper: frozenset[str]
    answer: str
    topic: str = ""
    orders: bool = True
    """Whether what looks like an order is one; not so under a heading such as "Prohibited"."""

    def fact(self, kind: str, short: str, *, anchored: bool = False, answer: str = "", **slots: str) -> Fact:
        """A fact of this scene."""
        return Fact(
            kind=kind,
            slots=slots,
            short=_CLOCK_DOT.sub(r"\1.", short.strip(" ,;")),
            answer=answer or self.answer,
            places=self.places,
            section=self.section,
            topic=self.topic,
            anchored=anchored or bool(self.topic),
        )


@attrs.frozen(kw_only=True)
class Reading:
    """A clause under reading, with what all its questions need."""

    clause: Clause
    scene: Scene
    added: str
    """The subordinate clause as it follows a question: " if the scan is late"; "" where it cannot."""
    more: str
    """The subordinate clause as it belongs to the answer: " unless it is renewed"; "" where it stays in the question."""
    anchored: bool
    partial: bool = False
    """Whether the subject has further predicates, so that this one does not say all that happens to it."""

    @property
    def front(self) -> str:
        """The fronted adverbial as it follows a question."""
        return f" {self.clause.front}" if self.clause.front else ""

    @property
    def lead(self) -> str:
        """The fronted adverbial as it opens a statement."""
        return f"{self.clause.front}, " if self.clause.front else ""

    def ask(self, rest: str | None = None, *, bare_clause: bool = False) -> dict[str, str]:
        """The clause with another *rest*, as a question ("inv") and as a statement ("stmt")."""
        end = "" if bare_clause else self.added
        front = self.front if not end else ""
        return {
            "inv": self.clause.inverted(rest) + end + front,
            "stmt": self.lead + self.clause.statement(rest) + end,
        }


PERSONAL = re.compile(r"\b(?:I|we|We|our|Our|us|you|You|your|Your|my|My)\b|https?:|www\.|[`{}<>\\|@]|\w\(\)|::")
"""Prose that speaks to its reader, and code: not what the rules are made for."""

_EMPTY = (
    DETERMINERS
    | PREPOSITIONS
    | PRONOUNS
    | MODALS
    | BE
    | RELATIVES
    | {"and", "or", "be", "been", "to", "has", "have", "does", "do", "not", "never", "should", "you"}
)
_HAZY = re.compile(
    r"\b(?:above|below|overleaf)(?=\s*(?:[.,;:)?]|$))|\bthe (?:above|below|following|preceding)\b(?! (?:\d|zero|freezing))"
    r"|\b(?:as follows|listed here|hereafter|thereafter|aforesaid|therein|thereof|meanwhile)\b",
    re.IGNORECASE,
)
"""Words that send the reader to another place of the text."""
_UNNAMED = re.compile(
    rf"(?:(?:if|when|where|whenever|unless) )?(?:(?:fewer|more|less) than |at (?:least|most) |only |over |under )?{NUM}%? "
    r"(?:is|are|was|were|can|may|must|has|have|should|shall|cannot)\b",
    re.IGNORECASE,
)
"""A number of something that only the sentence before names: "fewer than four are present"."""
_OPENERS = SUBORDINATORS | RELATIVES | {"before", "after", "so"}


def content(text: str) -> list[str]:
    """The words of *text* that carry meaning, in lower case."""
    return [low for low in (bare(word) for word in text.split()) if low and low not in _EMPTY]


def pointing(text: str) -> bool:
    """Whether *text* leans on a sentence before it: "it", "such records", "the limits above"."""
    words = text.split()
    for at, word in enumerate(words):
        low = bare(word)
        if low in PRONOUNS:
            before = content(" ".join(words[:at]))
            if len(before) < 2 or at < 3:
                return True
            inside = any(bare(other) in _OPENERS for other in words[:at])
            if low in {"it", "them", "him"} and len(before) < 6 and not inside:
                return True
        following = bare(words[at + 1]) if at + 1 < len(words) else ""
        if low == "there" and following not in {"is", "are"}:
            return True
        if low in {"this", "these", "those", "former", "latter", "such"} and not (low == "such" and following == "as"):
            return True
        if low == "that" and at and bare(words[at - 1]) in PREPOSITIONS | {"and", "or"}:
            return True
        if low in {"other", "others"} and at and bare(words[at - 1]) in {"the", "all", "both"}:
            return True
    if words and bare(words[-1]) in {"that", "those", "others", "one", "ones", "so"}:
        return True
    return bool(_HAZY.search(text + " .") or _UNNAMED.match(text))


def generic(subject: str) -> bool:
    """Whether a subject says too little by itself: "the trial", "samples"."""
    words = content(subject)
    return len(words) < 2 or (subject.startswith("the ") and len(words) < 3 and not any(map(str.isupper, subject)))


def agent(subject: str, *, person: bool = False) -> bool:
    """Whether the subject is a person or a body; with *person*, a person only."""
    listed = subject.rsplit(", ", 1)
    if len(listed) > 1 and " and " in listed[1]:
        return agent(listed[0].split(", ")[0], person=person) and agent(listed[1].rsplit(" and ", 1)[1], person=person)
    words = subject.split()
    head = ""
    for at, word in enumerate(words):
        low = bare(word)
        stops = PREPOSITIONS | RELATIVES | {"leaving", "arriving", "not"}
        if at and (low in stops or (is_participle(low) and not word[0].isupper())):
            break
        if low not in {"and", "or"}:
            head = low
        if word.endswith(","):
            break
    if person and (head in BODIES or head.removesuffix("s") in BODIES):
        return False
    return head in ROLES or head.removesuffix("s") in ROLES or (head.endswith(("sman", "smen")) and len(head) > 5)


def contains(text: str, short: str) -> bool:
    """Whether *text* gives *short* away."""
    return f" {short.lower()} " in f" {text.lower()} "


def statement(text: str) -> str:
    """*text* as a sentence."""
    return upper_first(text.strip().rstrip(".,;:")) + "."


def is_order(text: str) -> bool:
    """Whether *text* tells somebody to do something."""
    words = [bare(word) for word in text.split()]
    first, following = [*words, "", ""][:2]
    if text.startswith(("do not ", "never ", "Do not ", "Never ")):
        return True
    return first in VERBS and following not in MODALS | BE | {"has", "have", "of"}


def unit_word(time: str) -> str:
    """The unit of a time in the plural: "2 working days" -> "working days"."""
    words = time.split()
    for at, word in enumerate(words):
        unit = word.strip(",.")
        if re.fullmatch(TIME_UNIT, unit):
            plural = {"min": "minutes", "h": "hours", "sec": "seconds", "s": "seconds"}.get(
                unit, unit if unit.endswith("s") else unit + "s"
            )
            kind = words[at - 1] if at and words[at - 1] in {"working", "calendar", "business", "clear"} else ""
            return f"{kind} {plural}".strip()
    return "units of time"
