"""Whether an answer names a thing as one of several: "red, blue, green", "the nurse and the doctor", "yes and no".

An apposition ("Paris, capital of France") cannot be told from an enumeration by its form, and counts as one, unless it
stands last and opens with "a": "argon, a noble gas".
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from text2expert.evidence.tokens import tokens
from text2expert.evidence.wording import FUNCTION, LIGHT, stem, word_set
from text2expert.records import wording

__all__ = ["STAND_INS", "Part", "is_one_of_several", "parts", "says_yes_and_no"]

_SEPARATOR = re.compile(
    r"\s*(?:[,;]?\s+(?:and|or|plus)\b|[,;/&|+\n]|(?<=\w)[.!?:](?=\s|$)|[()\u2013\u2014]|\s-\s)\s*", re.IGNORECASE
)
_CHOICE = re.compile(r"[,;/&|+\n]|\b(?:and|or|plus)\b", re.IGNORECASE)
"""Of what parts two things, what may stand between two of one kind."""
_OPENS = word_set("a an the also either both even maybe perhaps possibly")
_LINKS = word_set("of the a an for")
"""What may stand within a name."""
_ASIDES = word_set(
    "please sorry sure certainly correct right wrong well hello ok okay thanks sir madam indeed alone according obviously "
    "behind beside beneath near next opposite underneath throughout inside outside past if where when unlike including regardless respectively today tomorrow yesterday effective subject"
)
"""What opens a remark and names nothing."""
_IT_IS = re.compile(
    r"^\s*(?:it|this|that|they|these|those|he|she|there)\s+(?:is|are|was|were|(?:may|might|can|could|must|should|will)\s+be)\b",
    re.IGNORECASE,
)
_LONGEST_NAME = 5
"""Words."""

STAND_INS = word_set(
    "assistant deputy vice acting former ex sub associate junior trainee substitute interim apprentice delegate representative "
    "successor predecessor secretary aide stand-in colleague spouse wife husband parent child"
)
"""What makes a name that of someone or something else: "the assistant nurse", "the deputy of the nurse"."""
_STAND_IN = rf"(?:{'|'.join(sorted(STAND_INS))})"
_BEFORE = re.compile(rf"\b{_STAND_IN}s?(?:\s+(?:of|to|for)(?:\s+(?:the|an?))?)?[\s-]+$", re.IGNORECASE)
_BEHIND = re.compile(rf"^(?:['\u2019]s?\s+{_STAND_IN}|\s+{_STAND_IN})\b", re.IGNORECASE)

_YES = re.compile(r"\byes\b", re.IGNORECASE)
_NO = re.compile(r"\bno\b(?=\s*(?:[,.;:!?)]|$|(?:and|or|but)\b))", re.IGNORECASE)
"""The answer "no", not the "no" of "no permit is needed"."""


class Part(NamedTuple):
    """What stands between two separators of a text."""

    text: str
    before: str
    """The separator before it; "" for the first."""
    behind: str


def parts(text: str) -> list[Part]:
    """*text* between its commas, slashes, conjunctions, brackets and full stops."""
    found: list[Part] = []
    start, before = 0, ""
    for separator in _SEPARATOR.finditer(text):
        if piece := text[start : separator.start()].strip():
            found.append(Part(piece, before, separator[0]))
            before = separator[0]
        else:
            before += separator[0]
        start = separator.end()
    if piece := text[start:].strip():
        found.append(Part(piece, before, ""))
    return found


def says_yes_and_no(answer: str) -> bool:
    """Whether *answer* says both: "Yes and no", "No. Yes, they may"."""
    return bool(_YES.search(answer) and _NO.search(answer))


def is_one_of_several(answer: str, name: str, known: Collection[str]) -> bool:
    """Whether *answer* has another name right beside *name*, or makes it that of a stand-in.

    Args:
        answer: In one spelling.
        name: What is right, without figures: one name, or a list of names.
        known: Stems that name nothing else, as they stand in the question or in what is right.
    """
    if any(_BEFORE.search(before) or _BEHIND.search(behind) for before, behind in _around(answer, name)):
        return not any(stem(word) in known for word in STAND_INS)
    members = [part.text for part in parts(name)]
    made = parts(answer)
    if len(made) == 1 and len(members) == 1:
        return _is_row(made[0].text, name, known)
    places = [
        (place, start == 0, stop)
        for place, part in enumerate(made)
        for member in members
        for start, stop in _spots(part.text, member)
    ]
    openings = {word for member in members for word in _opening(member)}
    if (
        len(made) > 2
        and len(places) == 1
        and sum(_is_name(part.text, openings, known) for part in made) == len(made) - 1
    ):
        return True  # "Red. Blue. Green."
    for place, opens, closes in places:
        here = made[place]
        if opens and place and _CHOICE.search(here.before) and _is_name(made[place - 1].text, openings, known):
            return True
        if (
            closes
            and place + 1 < len(made)
            and _CHOICE.search(here.behind)
            and not _is_apposition(name, made, place)
            and _is_name(made[place + 1].text, openings, known)
        ):
            return True
    return False


def _is_apposition(name: str, made: Sequence[Part], place: int) -> bool:
    """Whether what stands last, behind a comma, says what *name* is: "argon, a noble gas"."""
    return (
        place + 2 == len(made)
        and made[place].behind.strip() == ","
        and bool(_INDEFINITE.match(made[place + 1].text))
        and not _INDEFINITE.match(name)
        and len(wording(made[place + 1].text).split()) > 2
    )


_INDEFINITE = re.compile(r"an?\b", re.IGNORECASE)


def _around(answer: str, name: str) -> Iterator[tuple[str, str]]:
    """What stands before and behind each *name* in *answer*."""
    words = [word for word in re.findall(r"[\w'\u2019-]+", name) if word.lower() not in _OPENS]
    if not words:
        return
    for spot in re.finditer(r"\b" + r"\s+".join(map(re.escape, words)) + r"\b", answer, re.IGNORECASE):
        yield answer[: spot.start()], answer[spot.end() :]


def _opening(name: str) -> list[str]:
    """The words without content that *name* starts with: "in" of "in the control room"."""
    found = []
    for word in wording(name).split():
        if word not in FUNCTION:
            break
        found.append(word)
    return found


def _bare(text: str) -> list[str]:
    return [word for word in wording(text).split() if word not in _OPENS]


def _spots(text: str, name: str) -> Iterator[tuple[int, bool]]:
    """Where *name* starts in *text*, not counting what may open it, and whether it ends there with *text*."""
    words, wanted = [stem(word) for word in _bare(text)], [stem(word) for word in _bare(name)]
    # "in the control room" is named by "control room" too, and "It is in ..." opens with words of no content.
    lead = next((place for place, word in enumerate(_bare(text)) if word not in FUNCTION), 0)
    for start in range(len(words) - len(wanted) + 1):
        if wanted and words[start : start + len(wanted)] == wanted:
            yield max(0, start - lead if start <= lead else start), start + len(wanted) == len(words)


def _is_name(text: str, openings: Collection[str], known: Collection[str]) -> bool:
    """Whether *text* is no more than a name, of something that is not *known*; *openings*: what names may start with."""
    words = wording(_IT_IS.sub("", text)).split()
    while words and (words[0] in _OPENS or words[0] in openings):
        words = words[1:]
    if not 0 < len(words) <= _LONGEST_NAME or words[0] in _ASIDES or words[0].endswith("ly"):
        return False
    if words[0] in FUNCTION or any(word in FUNCTION and word not in _LINKS for word in words):
        return False
    if len(words) > 1 and words[0].endswith(("ed", "ing")):
        return False
    made = tokens(text)
    if any(token.quantity is not None for token in made):
        return False
    return any(
        token.content and token.stem not in known and token.text.lower() not in LIGHT and token.stem not in LIGHT
        for token in made
    )


def _is_row(text: str, name: str, known: Collection[str]) -> bool:
    """Whether *text* is nothing but words in a row, two or more of them beside *name*: "red blue green"."""
    words = wording(text).split()
    if (
        any(word in FUNCTION for word in words)
        or len(wording(name).split()) > 1
        or stem(wording(name)) not in map(stem, words)
    ):
        return False
    others: Sequence[str] = [word for word in words if stem(word) not in known]
    return len(others) > 1 and len(others) == len(words) - 1
