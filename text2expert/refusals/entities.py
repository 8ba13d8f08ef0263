"""Another entity in the place of the one that a question names: one function for each way, each giving one turned question."""

import re
from typing import cast

import attrs

from text2expert.refusals.frames import PREPOSITIONS, Frame, is_act, is_plain
from text2expert.refusals.texts import Texts, singular
from text2expert.refusals.turning import (
    ACTS,
    Pools,
    Turned,
    class_of,
    is_asked,
    is_cared_for,
    names,
    phrases,
    pick,
    prefix_of,
)
from text2expert.refusals.words import OFFICES, SYLLABLES, Class, article, plural, word_set

_CODE = re.compile(r"(?<![\w/.-])[A-Z]{1,6}(?:[-/][A-Z0-9]{1,6})+(?![\w/-])")


def code(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another identifier of the same shape: "MB-K7" for "MB-F4"."""
    del frame
    found = [m for m in _CODE.finditer(question) if re.search(r"\d", m[0])]
    if len(found) != 1 or not _is_cited(question, found[0]):
        return None
    for turn in range(40):
        new, changed = _another_code(found[0][0], int(draw * 7919) + 131 * turn)
        if all(map(pools.texts.lacks_word, changed)):
            return Turned("entity", _put(question, found[0].span(), new), new)
    return None


def _is_cited(question: str, match: re.Match[str]) -> bool:
    """Whether the question is about what stands there, and does not name it as the place where the answer is."""
    place = re.search(
        r"\b(?:under|in|per|by|according to|pursuant to)(?: the)?(?: [a-z]+)? $", question[: match.start()]
    )
    return not place and is_asked(question, *match.span())


def _another_code(old: str, number: int) -> tuple[str, list[str]]:
    """*old* with its last part changed, and what was changed; of digits alone (a range may cover them), the first too."""
    parts = re.split(r"([-/])", old)
    places = [len(parts) - 1, 0] if parts[-1].isdigit() else [len(parts) - 1]
    for place in places:
        new = ""
        for sign in parts[place]:
            number, rest = _next(number)
            new += str((int(sign) + 1 + rest % 9) % 10) if sign.isdigit() else "BDGHJKQVWXZ"[rest % 11]
        parts[place] = new
    return "".join(parts), [parts[place] for place in places]


def _next(number: int) -> tuple[int, int]:
    """A step of a multiplicative generator (Park and Miller, 1988): its state, and a number from 0 to 96."""
    return divmod(number * 48271 % 2147483647, 97)


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
    if len(found) != 1 or not _is_cited(question, found[0]):
        return None
    label, old = found[0].groups()
    major, dot, minor = old.partition(".")
    free = [number for number in range(max(int(major) + 3, 13), 100) if pools.texts.lacks_word(str(number))]
    if not free:
        return None
    new = f"{label} {pick(free[:12], draw)}{dot}{minor}"
    return Turned("entity", _put(question, found[0].span(), new), new)


_ABBREVIATED = re.compile(
    r"\b(?:does|is|do|are|abbreviation|acronym|of) (?P<short>[A-Z]{2,6}) "
    r"(?:stands? for\b|short for\b|written out|spelt out|spelled out|in full|means?\?|an abbreviation)"
)


def abbreviation(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another abbreviation, where it is asked what one stands for."""
    del frame
    match = _ABBREVIATED.search(question)
    if match is None:
        return None
    old = match["short"]
    for turn in range(20):
        number, new = int(draw * 7919) + 131 * turn, old[0]
        for _ in old[1:]:
            number, rest = _next(number)
            new += "BCDFGHKLMNPRTV"[rest % 14]
        if new != old and pools.texts.lacks_word(new):
            return Turned("entity", _put(question, match.span("short"), new), new)
    return None


_DEFINED = re.compile(r"\b(?:means?|meant by|defin\w+|understood by|meaning of)\b", re.IGNORECASE)


def term(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another term, where it is asked what one means."""
    del frame
    start = len(prefix_of(question))
    found = list(re.finditer(r'["“]([^"“”]{2,40})["”]', question[start:]))
    if not pools.terms or len(found) != 1 or not _DEFINED.search(question[start:]):
        return None
    old, new = found[0][1], pick(pools.terms, draw)
    if old[0].islower():
        new = new.lower()
    elif all(word[0].isupper() for word in old.split()):
        new = " ".join(word[0].upper() + word[1:] for word in new.split())
    at = start + found[0].start(1)
    return Turned("entity", _put(question, (at, at + len(old)), new), new)


def another_name(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another office, institution or place: "Heritage Officer" for "Records Officer", "Caldmere Archive" for "State Archive"."""
    found = list(names(question))
    if len(found) != 1 or not is_asked(question, found[0].start, found[0].end):
        return None
    old = question[found[0].start : found[0].end]
    head = old.split()[-1]
    if found[0].kind != "person":
        new = f"{_invented(pools.texts, draw)} {head}"
    elif pools.departments and not (frame and frame.act and pools.texts.said_of_all(frame.act, "person")):
        new = f"{pick(pools.departments, draw)} {head if found[0].head in OFFICES else 'Officer'}"
    else:
        return None
    before = question[: found[0].start] + ("the " if old.startswith("the ") else "")
    before = re.sub(r"\ban? $", article(new)[: -len(new)], before)
    return Turned("entity", before + new + question[found[0].end :], new)


def _invented(texts: Texts, draw: float) -> str:
    """A name that there is not in the texts."""
    first, last = (part.split() for part in SYLLABLES)
    for turn in range(len(first) * len(last)):
        number = int(draw * 7919) + turn
        name = first[number % len(first)] + last[number % len(last)]
        if texts.lacks_word(name):
            return name
    return f"{first[0]}{last[0]}-{last[1]}"  # a text that holds all of them holds no such pair


_PARTICULAR = re.compile(r"\b(?:and|or)\b|[,0-9]|(?:\S+ ){5}")
"""In what follows the verb, what belongs to one subject and no other."""

ADVERBIAL = re.compile(
    r"how (?:often|frequently|soon|quickly|regularly|long)|when|where|why|by whom|within what time|at what interval|for how long|by which person or body|"
    r"(?:for|within|after) how many \w+|in what place|at what (?:point|stage)|(?:in which|under what) (?:case|situation|condition)",
    re.IGNORECASE,
)
"""What can be asked of any act."""


def other_subject(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another person or thing that the same is asked of: "How often are turnstiles tested?"."""
    del question
    if frame is None or not frame.verb or frame.subject == "you":
        return None
    things = class_of(frame)
    if things is None or not pools.things[things] or pools.texts.said_of_all(frame.act, things):
        return None
    adverbial = ADVERBIAL.fullmatch(frame.asked)
    if things == "person":
        if is_cared_for(frame.head) or (not adverbial and _PARTICULAR.search(frame.rest)):
            return None
    elif not adverbial or ACTS.get(frame.act) != things:
        return None
    new = pick(pools.things[things], draw)
    missing = plural(new) if frame.many else new
    if frame.many:
        subject = f"the {missing}" if re.match(r"the\b", frame.subject) else missing
    else:
        subject = article(new) if re.match(r"an?\b", frame.subject) else f"the {new}"
    if frame.passive and adverbial:
        frame = attrs.evolve(frame, rest="")  # particulars of the other thing
    return Turned("entity", frame.with_subject(subject), missing)


def other_object(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another thing that you are to do the same with: "How often should you clean the dishwasher?"."""
    del question
    if frame is None or frame.subject != "you":
        return None
    things = ACTS.get(frame.act)
    words = frame.rest.split()
    end = next((n for n, word in enumerate(words) if word.casefold() in PREPOSITIONS), len(words))
    if (
        things is None
        or not pools.things[things]
        or not is_plain(words[:end])
        or pools.texts.said_of_all(frame.act, things)
    ):
        return None
    new = pick(pools.things[things], draw)
    return Turned("entity", f"{frame.prefix}{frame.asked} {frame.auxiliary} you {frame.verb} the {new}?", new)


def other_thing(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another thing of the same class where the question names just one: "the key to the photocopier"."""
    if frame is not None and class_of(frame):  # `other_subject` knows more of it
        return None
    found = list(phrases(question))
    if len(found) != 1 or not is_asked(question, found[0].start, found[0].end):
        return None
    start, end, kind, head = found[0]
    if kind in {"institution", "site"} or is_cared_for(head) or re.search(r"[0-9]", question):
        return None  # with the particulars of the text in it, it could be answered all the same
    things = cast("Class", kind)
    acts = [word for word in re.findall(r"[a-z]+", question) if is_act(word)]
    if not pools.things[things] or any(pools.texts.said_of_all(act, things) for act in acts):
        return None
    new = pick(pools.things[things], draw)
    missing = new if head == singular(head) else plural(new)
    phrase = f"the {missing}" if question[start : start + 3].casefold() == "the" else article(missing)
    if question[start].isupper():
        phrase = phrase[0].upper() + phrase[1:]
    return Turned("entity", _put(question, (start, end), phrase), missing)


def _put(question: str, span: tuple[int, int], new: str) -> str:
    return question[: span[0]] + new + question[span[1] :]


WAYS = (code, numbered, abbreviation, term, another_name, other_subject, other_object, other_thing)
"""All ways to put another entity in."""
