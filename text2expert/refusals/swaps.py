"""What is put in the place of what a question asks about: one function for each way, none of which needs a model.

Each gives at most one turned question. ``draw`` is the question's own number from 0 up to 1, so that the same question
is always turned the same way and questions side by side are turned differently.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

import attrs

from text2expert.refusals.frames import PREFIX, PREPOSITIONS, Frame, is_plain
from text2expert.refusals.texts import Texts, fold, singular
from text2expert.refusals.words import (
    ACTIONS,
    CARED_FOR,
    COLUMNS,
    DEPARTMENTS,
    HEADS,
    OFFICES,
    ORGANISATIONS,
    PEOPLE,
    PROPERTIES,
    SYLLABLES,
    TERMS,
    THINGS,
    TOPIC_QUESTIONS,
    TOPICS,
    VALUES,
    Class,
    Entry,
    acts,
    article,
    plural,
    word_set,
)

Kind = Literal["entity", "attribute", "topic"]

T = TypeVar("T")


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
        self.columns, self.values, self.terms, self.topics, self.departments = map(
            self._unknown, (COLUMNS, VALUES, TERMS, TOPICS, DEPARTMENTS)
        )
        self.properties = {
            name: tuple(each for each in pool if texts.lacks(each[1])) for name, pool in PROPERTIES.items()
        }

    def _unknown(self, pool: Sequence[Entry]) -> tuple[str, ...]:
        return tuple(entry.phrase for entry in pool if self.texts.lacks(entry))


Way = Callable[[str, Frame | None, Pools, float], Turned | None]


# -- another entity ----------------------------------------------------------------------------------------------------

_CODE = re.compile(r"(?<![\w/.-])[A-Z]{1,6}(?:[-/][A-Z0-9]{1,6})+(?![\w/-])")
_ASIDE = re.compile(
    r"\b(?:other than|apart from|except|unless|including|such as|like|besides|instead of|rather than|if|when|whenever|while|after|before|until|than)\b",
    re.IGNORECASE,
)
_LETTERS = "BDGHJKQVWXZ"


def code(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another identifier of the same shape: "MB-K7" for "MB-F4"."""
    del frame
    found = [m for m in _CODE.finditer(question) if re.search(r"\d", m[0])]
    if len(found) != 1 or not _is_asked(question, found[0].start(), found[0].end()):
        return None
    old = found[0][0]
    for turn in range(40):
        new = _another_code(old, int(draw * 7919) + 131 * turn)
        if all(pools.texts.lacks_word(part) for part in _changed(old, new)):
            return Turned("entity", _put(question, found[0], new), new)
    return None


def _another_code(old: str, number: int) -> str:
    """*old* with its last part changed; where that is all digits (a range may cover it), the part before it too."""
    parts = re.split(r"([-/])", old)
    changed = [len(parts) - 1]
    if parts[-1].isdigit():
        changed.append(0)
    for place in changed:
        new = ""
        for sign in parts[place]:
            number, rest = divmod(number * 48271 % 2147483647, 97)
            new += str((int(sign) + 1 + rest % 9) % 10) if sign.isdigit() else _LETTERS[rest % len(_LETTERS)]
        parts[place] = new
    return "".join(parts)


def _changed(old: str, new: str) -> list[str]:
    pairs = zip(re.split(r"[-/]", old), re.split(r"[-/]", new), strict=True)
    return [after for before, after in pairs if before != after] or [old]


_NUMBERED = re.compile(
    r"(?<=[a-z,;] )([A-Za-z][a-z]{2,}) (\d{1,3}(?:\.\d{1,3}){0,2})(?![\w.,%°/-]*\d|\s*[-–]|\s(?:to|and|or|through)\b)"
)
_STRUCTURE = word_set(
    "section clause article annex appendix schedule chapter part table figure paragraph form policy procedure regulation"
)
_ORDERED = word_set(
    "step tier level grade stage phase version edition issue day week month year hour age class category size rank priority score type surge mark round "
    "january february march april may june july august september october november december monday tuesday wednesday thursday friday saturday sunday"
)
"""What is numbered in an order: a rule for "tier 2 and above" answers for tier 61 too."""


def numbered(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another numbered part or place: "Section 31.1" for "Section 4.1"; the number occurs nowhere in the texts."""
    del frame
    found = [
        m
        for m in _NUMBERED.finditer(question)
        if m[1].casefold() not in _ORDERED and (m[1][0].isupper() or m[1] in _STRUCTURE)
    ]
    if len(found) != 1 or not _is_asked(question, found[0].start(), found[0].end()):
        return None
    label, old = found[0][1], found[0][2]
    major, dot, minor = old.partition(".")
    first = max(int(major) + 3, 13)
    numbers = [number for number in range(first, 100) if pools.texts.lacks_word(str(number))]
    if not numbers:
        return None
    new = f"{label} {numbers[int(draw * min(12, len(numbers)))]}{dot}{minor}"
    return Turned("entity", _put(question, found[0], new), new)


_ABBREVIATED = re.compile(
    r"\b(?:does|is|do|are|abbreviation|acronym|of) (?P<short>[A-Z]{2,6}) (?:stands? for\b|short for\b|written out|spelt out|spelled out|in full|means?\?|an abbreviation)"
)


def abbreviation(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another abbreviation, where it is asked what one stands for."""
    del frame
    match = _ABBREVIATED.search(question)
    if match is None:
        return None
    old = match["short"]
    for turn in range(20):
        number = int(draw * 7919) + 131 * turn
        new = old[0]
        for _ in old[1:]:
            number, rest = divmod(number * 48271 % 2147483647, 97)
            new += "BCDFGHKLMNPRTV"[rest % 14]
        if new != old and pools.texts.lacks_word(new):
            return Turned("entity", question[: match.start("short")] + new + question[match.end("short") :], new)
    return None


_DEFINED = re.compile(r"\b(?:means?|meant by|defin\w+|understood by|meaning of)\b", re.IGNORECASE)


def term(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another term, where it is asked what one means."""
    del frame
    start = len(match[0]) if (match := PREFIX.match(question)) else 0
    found = list(re.finditer(r'["“]([^"“”]{2,40})["”]', question[start:]))
    if not pools.terms or len(found) != 1 or not _DEFINED.search(question[start:]):
        return None
    old, new = found[0][1], _pick(pools.terms, draw)
    if old[0].islower():
        new = new.lower()
    elif all(word[0].isupper() for word in old.split()):
        new = " ".join(word[0].upper() + word[1:] for word in new.split())
    at = start + found[0].start(1)
    return Turned("entity", question[:at] + new + question[at + len(old) :], new)


_NAME = re.compile(r"(?<=[a-z,] )[A-Z][\w'’]+(?: [A-Z][\w'’]+){1,3}(?![\w'’]| [A-Z0-9])")


def named(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another office or institution: "Heritage Officer" for "Records Officer", "Caldmere Archive" for "State Archive"."""
    found = list(_NAME.finditer(question))
    if len(found) != 1 or not _is_asked(question, found[0].start(), found[0].end()):
        return None
    head = found[0][0].split()[-1]
    if fold(head) in PEOPLE:
        if frame is not None and frame.act and pools.texts.said_of_all(frame.act, "person"):
            return None
        if not pools.departments:
            return None
        new = f"{_pick(pools.departments, draw)} {head if fold(head) in OFFICES else 'Officer'}"
    elif fold(head) in ORGANISATIONS:
        new = f"{_invented(pools.texts, draw)} {head}"
    else:
        return None
    before = question[: found[0].start()]
    if re.search(r"\ban? $", before):
        before = re.sub(r"\ban? $", article(new)[: -len(new)], before)
    return Turned("entity", before + new + question[found[0].end() :], new)


def _invented(texts: Texts, draw: float) -> str:
    """A name that there is not in the texts."""
    first, last = (part.split() for part in SYLLABLES)
    for turn in range(20):
        number = int(draw * 7919) + 131 * turn
        name = first[number % len(first)] + last[number // 3 % len(last)]
        if texts.lacks_word(name):
            return name
    msg = "twenty invented names, all in the texts"
    raise AssertionError(msg)


def other_subject(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another person or thing that the same is asked of: "How often are turnstiles tested?"."""
    del question
    if frame is None or not frame.verb or frame.subject == "you":
        return None
    things = class_of(frame)
    if things is None or not pools.things[things] or pools.texts.said_of_all(frame.act, things):
        return None
    if singular(frame.head) in CARED_FOR or (
        not _ADVERBIAL.fullmatch(frame.asked)
        and (len(frame.rest.split()) > 5 or re.search(r"\b(?:and|or)\b|,|[0-9]", frame.rest))
    ):
        return None
    new = _pick(pools.things[things], draw)
    missing = plural(new) if frame.many else new
    if frame.many:
        subject = f"the {missing}" if re.match(r"the\b", frame.subject) else missing
    else:
        subject = article(new) if re.match(r"an?\b", frame.subject) else f"the {new}"
    if frame.passive and _ADVERBIAL.fullmatch(frame.asked):
        frame = attrs.evolve(frame, rest="")  # particulars of the other thing
    return Turned("entity", frame.with_subject(subject), missing)


def other_object(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another thing that you are to do the same with: "How often should you clean the dishwasher?"."""
    del question
    if frame is None or frame.subject != "you":
        return None
    things = _ACTS.get(frame.act)
    words = frame.rest.split()
    end = next((n for n, word in enumerate(words) if word.casefold() in PREPOSITIONS), len(words))
    if (
        things is None
        or not is_plain(words[:end])
        or pools.texts.said_of_all(frame.act, things)
        or not pools.things[things]
    ):
        return None
    new = _pick(pools.things[things], draw)
    return Turned("entity", f"{frame.prefix}{frame.asked} {frame.auxiliary} you {frame.verb} the {new}?", new)


# -- a known entity, an attribute that is not said ------------------------------------------------------------------------


def other_act(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another act on the same thing: "How often are hoses repainted?"."""
    del question
    if frame is None or not frame.passive or not frame.verb or not _ADVERBIAL.fullmatch(frame.asked):
        return None
    pool = _of(pools.actions, frame)
    if not pool:
        return None
    new = _pick(pool, draw)
    return Turned("attribute", frame.with_verb(new), new)


def other_property(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """The same thing, asked after a property: "Which company manufactures hoses?"."""
    del question
    if frame is None or not frame.verb:
        return None
    pool = _of(pools.properties, frame)
    if not pool:
        return None
    asked, entry = _pick(pool, draw)
    it = (
        frame.subject
        if frame.subject[:2].isupper() or not frame.subject.startswith(("The ", "A ", "An "))
        else frame.subject[0].lower() + frame.subject[1:]
    )
    forms = {"is": "are", "was": "were", "does": "do"} if frame.many else {"is": "is", "was": "was", "does": "does"}
    return Turned("attribute", frame.prefix + _in_place(frame.prefix, asked.format(it=it, **forms)), entry.phrase)


_VALUE = re.compile(
    r"(?P<head>(?:.{0,80}[\"”’'],? ?)?[Ww]hat (?:is|was) the )(?P<property>[a-z][a-z -]{2,40}?) (?:of|for) (?P<rest>(?:the |an? )?[^,?\"“]{3,60}\?)"
)
_NO_PROPERTY = re.compile(
    r"meaning|definition|term|rule|exception|entry|reason|name|purpose|limit|case|number", re.IGNORECASE
)


def other_value(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another property where one is asked after: "What is the purchase price of pump P-3?"."""
    del frame
    match = _VALUE.fullmatch(question)
    if (
        match is None
        or not pools.values
        or _NO_PROPERTY.search(match["property"])
        or _ASIDE.search(match["rest"])
        or re.search(r"\b(?:that|which|who|in|at|on|to|is|are|of|for|with)\b", match["rest"])
    ):
        return None
    new = _pick(pools.values, draw)
    return Turned("attribute", f"{match['head']}{new} of {match['rest']}", new)


_QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”')


def column(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another column of a table."""
    del frame
    found = list(_QUOTED.finditer(question))
    tables = [m for m in found if re.search(r"\btable $", question[: m.start()], re.IGNORECASE)]
    others = [m for m in found if m not in tables]
    if not pools.columns or len(tables) != 1 or len(others) != 1:
        return None
    if not re.search(r"\b(?:under|as|column) $", question[: others[0].start()]):
        return None
    new = _pick(pools.columns, draw)
    return Turned("attribute", question[: others[0].start() + 1] + new + question[others[0].end() - 1 :], new)


# -- an adjacent topic -------------------------------------------------------------------------------------------------


def beside(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """A topic beside the one of the section."""
    del frame
    match = PREFIX.match(question)
    if not pools.topics:
        return None
    prefix = match[0] if match else ""
    if prefix and not prefix.endswith(" "):
        prefix += " "
    topic = _pick(pools.topics, draw)
    asked = TOPIC_QUESTIONS[int(draw * 1e6) % len(TOPIC_QUESTIONS)].format(topic=topic)
    return Turned("topic", prefix + _in_place(prefix, asked), topic, far=not prefix)


WAYS: Mapping[str, Way] = {
    way.__name__: way
    for way in (
        code, numbered, abbreviation, term, named, other_subject, other_object,
        other_act, other_property, other_value, column,
        beside,
    )
}  # fmt: skip
"""All ways to turn a question, by name."""


# -- what the ways share -----------------------------------------------------------------------------------------------

_ACTS = acts()
"""Verb, or its past participle -> class of what it is done to."""


_ADVERBIAL = re.compile(
    r"how (?:often|frequently|soon|quickly|regularly|long)|when|where|by whom|within what time|at what interval|for how long|by which person or body|"
    r"within how many \w+|in what place|at what (?:point|stage)",
    re.IGNORECASE,
)
"""What can be asked of any act."""


def class_of(frame: Frame) -> Class | None:
    """What kind of thing the subject is, by its head or else by what is done to it."""
    by_head = _class_of_head(frame)
    return by_head or (_ACTS.get(frame.act) if frame.passive else None)


def _class_of_head(frame: Frame) -> Class | None:
    head = singular(frame.head)
    if head in PEOPLE:
        return "person"
    return next((name for name, heads in HEADS.items() if head in heads), None)


def _of(pools: Mapping[Class, Sequence[T]], frame: Frame) -> Sequence[T]:
    """What may be asked of the subject: of something short whose class its own noun tells."""
    things = _class_of_head(frame)
    return pools[things] if things and len(frame.subject.split()) <= 5 and frame.subject != "you" else ()


def _pick(pool: Sequence[T], draw: float) -> T:
    return pool[int(draw * len(pool))]


def _in_place(prefix: str, asked: str) -> str:
    """A question as it begins behind *prefix*: with a small letter, unless there is none."""
    return asked[0].lower() + asked[1:] if prefix else asked[0].upper() + asked[1:]


def _put(question: str, match: re.Match[str], new: str) -> str:
    return question[: match.start()] + new + question[match.end() :]


_REVERSED = re.compile(
    r"\b(?:which|what)(?: is the)? (?:term|words?|phrase|name|abbreviation|expression)\b|\bcalled\?|\bthe term for\b",
    re.IGNORECASE,
)
"""A meaning is given and its term asked for: with a detail changed it is still the same term."""


def _is_asked(question: str, start: int, end: int) -> bool:
    """Whether what stands there is what the question is about: in no aside, and not one of several."""
    prefix = len(match[0]) if (match := PREFIX.match(question)) else 0
    before, behind = question[prefix:start], question[end:]
    asking = re.match(r"(?:\w+ )?(?:what|which|who|whom|when|where|why|how)\b", before, re.IGNORECASE)
    return (
        start >= prefix
        and not re.search(r"[.;:] ", question[prefix:])  # a statement, which would be false now
        and not _REVERSED.search(question)
        and '"' not in behind + before.replace('" ', "")
        and not _ASIDE.search(before[asking.end() if asking else 0 :])
        and not re.search(r"\b(?:and|or|nor|both)\b[^,]{0,12}$|,\s*$|[-–]\s*$", before)
        and not re.match(r"\s*(?:,|\band\b|\bor\b|\bto\b\s*\d)", behind)
    )
