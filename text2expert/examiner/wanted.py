"""What a question asks for, by its words alone: an amount and of what, yes or no, how often; or what no amount answers."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from text2expert.evidence.quantities import Bound, Quantity, quantities
from text2expert.evidence.tokens import Token, content, tokens
from text2expert.evidence.units import MONTHS, SPANS, unit_of
from text2expert.evidence.wording import LIGHT_STEMS, concept, stem, word_set

_LIGHT = 0.5
"""What a word weighs that a rewording brings along ("answer", "time"), compared with others."""
NUMBER = 3.0
"""What a number of the question weighs: about as much as a word of one passage in twenty."""

_LENGTHS = word_set("length foot inch yard mile seamile")
_MASSES = word_set("mass ton ounce stone pound")
_VOLUMES = word_set("volume gallon pint barrel")
_MONEY = word_set("gbp usd eur cent pound crown mark franc rupee yen")
_PRESSURES = word_set("cmh2o mmhg pascal psi atm")
_WARMTHS = word_set("celsius fahrenheit kelvin")
_CLOCKS = frozenset(("clock",))
_DATES = frozenset(MONTHS)
YEARS = frozenset(("year of an era",))
"""No dimension: a bare number of four digits."""

_MEASURES: dict[str, frozenset[str]] = {
    stem(word): dimensions
    for words, dimensions in (
        ("duration period interval deadline delay notice deadline longest shortest", SPANS),
        ("age", frozenset(("calendar", "time"))),
        ("temperature", _WARMTHS),
        ("distance depth width height length diameter clearance thickness", _LENGTHS),
        ("weight mass", _MASSES),
        ("volume capacity", _VOLUMES),
        ("speed", frozenset(("speed", "length/time", "mph", "rpm"))),
        ("pressure", _PRESSURES),
        ("percentage percent proportion share", frozenset(("percent",))),
        ("cost price fee charge sum fine penalty salary rent deposit payment wage money", _MONEY),
        ("angle", frozenset(("angle",))),
        ("power", frozenset(("power", "horse"))),
        ("voltage", frozenset(("volt",))),
    )
    for word in words.split()
}
"""What a word of a question measures: the dimensions of the amount that answers it."""

_HOW: dict[str, frozenset[str]] = {
    **dict.fromkeys(("long", "soon", "quickly", "often", "recent", "recently", "frequently", "promptly", "late", "early"), SPANS),
    "old": frozenset(("calendar", "time")),
    **dict.fromkeys(("hot", "cold", "warm"), _WARMTHS),
    **dict.fromkeys(("far", "deep", "wide", "tall", "thick", "close", "near", "broad"), _LENGTHS),
    "heavy": _MASSES,
    "fast": frozenset(("speed", "length/time", "mph", "rpm")) | SPANS,
}  # fmt: skip
_ANY_AMOUNT = frozenset(
    map(
        stem,
        word_set(
            "number value figure limit maximum minimum threshold ceiling level setting reading score index count amount "
            "quantity range ratio dose rate size total floor highest lowest greatest largest smallest most least target"
        ),
    )
)
_AMOUNT_OF = word_set("much many high low large big small full strong great")

_QUESTION = re.compile(r"\b(?:how|what|which|when|who|whose|whom|where|why)\b", re.IGNORECASE)
REFERENCES = word_set(
    "section sections clause clauses appendix annex schedule chapter paragraph article table figure rule step"
)
_YES_NO = re.compile(
    r"(?:is|are|was|were|may|can|could|must|does|do|did|should|shall|will|would|has|have|need|needs)\b", re.IGNORECASE
)
_LED = re.compile(
    r"\A(?:in|under|according to|at|for|on|by|per|if|when|after|before|during|with)\b[^?]*?,\s+", re.IGNORECASE
)
_ASIDE = re.compile(r"\b(?:can|could|would) you (?:please )?(?:say|tell|state|name|give)\b", re.IGNORECASE)
_CLOCK = re.compile(r"\b(?:what|which)(?: clock)? (?:time|hour)s?\b|\bwhat o'clock\b", re.IGNORECASE)
_DATE = re.compile(r"\b(?:(?:what|which) (?:date|day)s?)\b", re.IGNORECASE)
_YEAR = re.compile(r"\b(?:what|which) year\b", re.IGNORECASE)
_OFTEN = re.compile(r"\bhow (?:often|frequently)\b|\bhow many times\b|\b(?:what|which) frequency\b", re.IGNORECASE)
FREQUENCY = re.compile(
    r"\b(?:(?:once|twice|(?:\w+|\d+) times)(?: (?:a|an|per|every|each|in (?:a|an|every|each)) (?:\w+ )?\w+)?"
    r"|every (?:other |second |third |\d+ |\w+ )?(?:second|minute|hour|shift|morning|afternoon|evening|night|day|weekend|week|fortnight|month|quarter|year|spring|summer|autumn|winter|[A-Z]\w*day)s?"
    r"|each (?:hour|shift|morning|evening|night|day|week|fortnight|month|quarter|year)"
    r"|(?:twice |two-|half-)?(?:hourly|daily|nightly|weekly|fortnightly|monthly|quarterly|yearly|annually))\b"
)
"""How a text says how often."""
_AT_MOST = re.compile(
    r"\b(?:at most|most|maximum|max|limit|longest|highest|greatest|largest|latest|up to|no more than|ceiling|within)\b",
    re.IGNORECASE,
)
_AT_LEAST = re.compile(
    r"\b(?:at least|least|minimum|min|lowest|smallest|shortest|fewest|earliest|no less than|floor)\b", re.IGNORECASE
)


class Amount(NamedTuple):
    """That an amount is asked for, and of what."""

    dimensions: frozenset[str] | None = None
    """None: of any kind."""
    counted: frozenset[str] = frozenset()
    """What is counted, as concepts."""


class Wanted(NamedTuple):
    """What a question asks for."""

    question: str
    weights: Mapping[str, float]
    """Its content words, as concepts, with what each weighs."""
    numbers: tuple[Quantity, ...]
    amount: Amount | None
    bound: Bound
    yes_no: bool
    often: bool
    """How often something is done is asked."""
    subject: frozenset[str]
    """The two words right behind "what" or "which", as concepts: they name what the answer is."""
    usual: frozenset[str] = frozenset()
    """The dimensions in which the passages give the subject."""

    @property
    def total(self) -> float:
        """The weight of all words and numbers."""
        return sum(self.weights.values()) + NUMBER * len(self.numbers)


def wanted(question: str, rarity: "Mapping[str, float]", unknown: float) -> Wanted:
    """What *question* asks for.

    Args:
        question: The question.
        rarity: What a word weighs, by its concept.
        unknown: What a word weighs that is not among them.
    """
    made = tokens(question)
    weights = {}
    for word in sorted(content(made)):
        weight = rarity.get(word, unknown)
        weights[word] = weight * _LIGHT if word in LIGHT_STEMS else weight
    found = _QUESTION.search(question)
    behind = tokens(question[found.start() :])[1:] if found else made
    last = re.split(r"[.!]\s+(?=[A-Z])", question.strip())[-1]  # "It fails. Is it used?"
    polar = bool(_YES_NO.match(_LED.sub("", last))) and not _ASIDE.search(question)
    amount = _amount(question, found.group().lower() if found else "", behind) if found or not polar else None
    bound: Bound = "low" if _AT_MOST.search(question) else "high" if _AT_LEAST.search(question) else ""
    return Wanted(
        question=question,
        weights=weights,
        numbers=tuple(quantities(question)),
        amount=amount,
        bound=bound,
        yes_no=amount is None and polar,
        often=bool(_OFTEN.search(question)),
        subject=_subject(found.group().lower() if found else "", behind),
    )


def _subject(word: str, behind: Sequence[Token]) -> frozenset[str]:
    if word not in ("what", "which"):
        return frozenset()
    return frozenset(concept(token.stem) for token in behind[:2] if token.content)


def _amount(question: str, word: str, behind: Sequence[Token]) -> Amount | None:
    """The amount that a question with *word* ("how", "what", "") and *behind* it asks for, if it asks for one."""
    if word == "how":
        return _how(behind)
    for pattern, dimensions in ((_CLOCK, _CLOCKS | SPANS), (_DATE, _DATES | _CLOCKS | SPANS), (_YEAR, YEARS)):
        if pattern.search(question):
            return Amount(dimensions)
    return _what(behind) if word in ("what", "which", "") else None


def _how(behind: Sequence[Token]) -> Amount | None:
    first = behind[0].text.lower() if behind else ""
    if first in _HOW:
        return Amount(_HOW[first])
    if first not in _AMOUNT_OF:
        return None
    if unit := _unit_named(behind[1:4]):
        return Amount(unit)
    if first == "many":
        return Amount(counted=frozenset(concept(token.stem) for token in behind[1:4] if token.content))
    if measured := _measured(behind[1:4]):
        return Amount(measured)
    priced = first == "much" and any(token.text.lower() in _PAID for token in behind)
    return Amount(_MONEY if priced else None)


def _what(behind: Sequence[Token]) -> Amount | None:
    head = _head(behind)
    # "Minute volume" is a volume: the last word that measures decides, and a unit only where none does.
    if dimensions := _measured(head) or _unit_named(head):
        return Amount(dimensions)
    return Amount(counted=_counted(behind)) if any(token.stem in _ANY_AMOUNT for token in head) else None


def _measured(line: Sequence[Token]) -> frozenset[str] | None:
    """The dimensions of the last word that measures something: "the oil temperature"."""
    return next((_MEASURES[token.stem] for token in reversed(line) if token.stem in _MEASURES), None)


def _counted(behind: Sequence[Token]) -> frozenset[str]:
    """What "number of attempts" counts."""
    for place, token in enumerate(behind[:-2]):
        if token.text.lower() == "number" and behind[place + 1].text.lower() == "of":
            return frozenset(concept(each.stem) for each in behind[place + 2 : place + 4] if each.content)
    return frozenset()


_PAID = word_set("cost costs pay paid payable charge charged")
_BEFORE_HEAD = word_set("is are was were the a an its their of kind sort name state give tell list specify identify")


def _head(behind: Sequence[Token]) -> list[Token]:
    """The words that name what is asked for: "tidal volume" of "what tidal volume is ..." and of "what is the tidal volume"."""
    line = list(behind)
    while line and line[0].text.lower() in _BEFORE_HEAD:
        line.pop(0)
    for place, token in enumerate(line):
        if not token.content or token.boundary or token.quantity is not None:
            return line[:place]
    return line


def _unit_named(line: Iterable[Token]) -> frozenset[str] | None:
    """The dimension of the first word that is a unit: "hours" of "how many hours"."""
    for token in line:
        unit = unit_of(token.text) if len(token.text) > 2 else None
        if unit is not None and token.quantity is None:
            return SPANS if unit.dimension in SPANS else frozenset((unit.dimension,))
    return None
