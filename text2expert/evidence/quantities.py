"""Numbers as a text writes them: values, units, comparators, identifiers, clock times.

Units of one dimension convert (60 min is 1 h), but only where that is exact: months and days, working days and days,
kilopascals and centimetres of water stay apart. Nothing here knows a language model or a subject; the units are those of
the SI, trade, medicine, shipping and calendars.
"""

import re
from typing import Literal, NamedTuple

from text2expert.evidence.units import CLOCK, COUNTED, DIMENSIONS, MONTHS, ORDINAL, UNITS, Unit, per, unit_of
from text2expert.evidence.wording import word_set

Bound = Literal["", "low", "high"]
"""Which side of the value is meant: ``low`` for at most, below, within; ``high`` for at least, above, after."""


class Quantity(NamedTuple):
    """A number in a text. ``text[start:end]`` is the number, and with its unit it ends at ``stop``."""

    value: float
    unit: Unit | None
    start: int
    end: int
    stop: int
    text: str
    written: str
    """With its unit, as the text has it."""
    bound: Bound = ""
    relation: str = ""
    """``before`` or ``after`` what follows: "24 hours before arrival"."""
    other_value: float | None = None
    """A second reading, where the writing is ambiguous: "4 240" is a number or two columns of a table."""
    unit_apart: bool = False
    """The unit does not stand behind the number: it is shared with a later number, or a table's header has it."""
    comparator: str = ""
    """The words before the number that set its bound."""
    tolerance: bool = False
    """It is how far the number before it may be off: the 0.5 of "44 ± 0.5"."""


# --- numbers ----------------------------------------------------------------------------------------------------------

_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
WORD_VALUES: dict[str, float] = {
    **{word: float(i) for i, word in enumerate(_ONES)},
    **{word: 10.0 * i for i, word in enumerate(_TENS, 2)},
    **{
        f"{ten}{joint}{one}": 10.0 * i + j
        for i, ten in enumerate(_TENS, 2)
        for j, one in enumerate(_ONES[1:10], 1)
        for joint in "- "
    },
    "once": 1.0, "twice": 2.0, "thrice": 3.0, "dozen": 12.0, "half": 0.5, "a quarter": 0.25, "hundred": 100.0,
    "thousand": 1000.0, "million": 1e6, "double": 2.0, "triple": 3.0, "halved": 0.5, "doubled": 2.0,
    "two-thirds": 2 / 3, "two thirds": 2 / 3, "one third": 1 / 3, "one-third": 1 / 3,
    "three quarters": 0.75, "three-quarters": 0.75, "one half": 0.5, "one quarter": 0.25,
}  # fmt: skip
WORD_VALUES |= {
    f"{_ONES[i]}{joint}{part}{'s' if i > 1 else ''}": i / n
    for part, n in (
        ("fifth", 5),
        ("sixth", 6),
        ("eighth", 8),
        ("tenth", 10),
        ("quarter", 4),
        ("fourth", 4),
        ("third", 3),
    )
    for i in range(1, n)
    for joint in "- "
}
_ORDINALS = {
    "second": 2.0, "third": 3.0, "fourth": 4.0, "fifth": 5.0, "sixth": 6.0, "seventh": 7.0, "eighth": 8.0, "ninth": 9.0,
    "tenth": 10.0, "eleventh": 11.0, "twelfth": 12.0,
}  # fmt: skip
_NAMED_HOURS = {"noon": 720.0, "midday": 720.0, "midnight": 0.0}
NUMBER_STARTS = frozenset(
    re.split(r"[ -]", phrase)[0] for phrase in (*WORD_VALUES, *_ORDINALS, *_NAMED_HOURS, "a", "an")
)
"""Words that a number may start with, in lower case."""
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9}

_SCAN = re.compile(r"(?<![\w.,])[-\u2212\u2013]?\d|(?<![\w.,])\.\d|[\u00bd\u00bc\u00be\u2153\u2154]|[^\W\d_]+")
"""Where a number may start; the patterns below say whether one does."""
_CLOCK = re.compile(
    r"(?:[01]?\d|2[0-4])(?::[0-5]\d(?::[0-5]\d)?(?:[ \u00a0]?[ap]\.?m\b\.?)?|[ \u00a0]?[ap]\.?m\b\.?)(?![\w:])",
    re.IGNORECASE,
)
_DIGITS = re.compile(
    r"""[-\u2212\u2013]?
    (?: \d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d) | \d{1,3}(?:[ \u00a0\u202f\u2009]\d{3})+(?:[.,]\d+)?(?!\d|[.,]\d)
      | \d+(?:[.,]\d+)? | \.\d+ )
    (?:\s?[x\u00d7]\s?10\^?[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\d]+)?
    (?P<ordinal>(?:st|nd|rd|th)\b)?""",
    re.VERBOSE,
)
_IN_A_NAME = re.compile(r"-[^\W\d_]")
_PART_OF = re.compile(r"[ \n](?:of[ \n])?(?:an?|one)(?=[ \n])")
_AFTER_CONJUNCTION = word_set(
    "the a an all this that these those it they he she we you no every any both is has have its their more again"
)
"""After "once", when it means "as soon as" or "again" and counts nothing."""
_AND_A_HALF = re.compile(r"[ \n]and[ \n]a[ \n]half\b")
_ONE_SPAN = word_set("second minute hour day week fortnight month quarter year metre mile")
_BEFORE_SPAN = re.compile(
    r"\b(?:within|in|after|for|than|least|most|about|every|under|over|only|exactly)[ \n]$", re.IGNORECASE
)
_NEXT_WORD = re.compile(r"[ \n-]([^\W\d_]+)")
_FRACTIONS = {"½": 0.5, "¼": 0.25, "¾": 0.75, "⅓": 1 / 3, "⅔": 2 / 3}
_UNIT_AFTER = re.compile(
    r"""[ \u00a0\u202f\u2009]{0,2}-?\n?[ ]{0,4}
    (?:(?:further|more|additional|extra|full|whole|complete|consecutive|successive|other|clear|entire)[ \n]+)?
    (?P<unit>
      /(?=[^\W\d_]+\b)[^\W\d_]+ | per\s(?!cent)(?:(?:square|cubic)\s)?[^\W\d_]+
    | (?:[%\u00b0](?:\s?[CFcf]\b)?|[\u00b5\u03bc]?[^\W\d_]+(?:2O\b|[23\u00b2\u00b3])?)
      (?:(?:\s?/\s?|\sper\s|\san?\s(?=day|week|month|quarter|year|minute|hour))(?:(?:square|cubic)\s)?[\u00b5\u03bc]?[^\W\d_]+[23\u00b2\u00b3]?)*
    )(?P<more>[ \u00a0\n]+[^\W\d_]+(?:2O\b)?(?:(?:\s?/\s?|\sper\s)(?:(?:square|cubic)\s)?[^\W\d_]+)?)?""",
    re.VERBOSE,
)
_MONEY_BEFORE = re.compile(r"([£$€¥]|\b(?:EUR|USD|GBP|CHF|JPY)[ \u00a0])$")

_BOUNDS: dict[str, Bound] = {
    **dict.fromkeys(
        """
at most|no more than|not more than|no longer than|not longer than|no later than|not later than|no higher than
not higher than|no older than|no greater than|no larger than|no faster than|not above|not over|up to|maximum|maximum is
max|exceed not|within|below|under|less than|fewer than|lower than|shorter than|younger than|smaller than|lighter than
slower than|earlier than|colder than|cooler than|weaker than|narrower than|thinner than|shallower than|limited to|ceiling
ceiling is|short of|<|<=|≤|inside|absolute limit|absolute limit is|down from|falls to|drops to|less|closer than|nearer than|before|until|till
""".strip()
        .replace("\n", "|")
        .split("|"),
        "low",
    ),
    **dict.fromkeys(
        """
at least|no less than|not less than|no fewer than|not fewer than|no sooner than|no earlier than|not earlier than
no lower than|not lower than|no shorter than|not shorter than|minimum|minimum is|min|above|over|more than|greater than|exceed
exceeds|exceeded|exceeding|beyond|higher than|longer than|older than|larger than|bigger than|heavier than|faster than
later than|hotter than|warmer than|stronger than|deeper than|wider than|thicker than|further than|farther than|>|>=|≥
past|upwards of|reach|reaches|reached|rises to|after|in excess of|outside|not below|not under
""".strip()
        .replace("\n", "|")
        .split("|"),
        "high",
    ),
}
"""What stands before a number and says on which side of it one may be."""
_FILLERS = word_set("the a an of about by some first any its another is are be to for once every total age ( :")
_NOT = word_set("not never no cannot n't nor neither without")
_NOT_YET = frozenset(["before", "until", "till"])
_IN_TIME = frozenset(["within", "after"])
_NOT_FAR = word_set("not never no cannot nobody")
_ENDS_NOT = word_set(". ; , : when if unless where while although but and or with whose until")
_BETWEEN_NOT = word_set("be fall go rise drop run let get become to used last take")
_WORD_BEFORE = re.compile(r"[^\W\d_]+|[<>≤≥]=?|[.;,:]")
_BOUND_AFTER = re.compile(
    r"[ \u00a0\n]*(?:[^\W\d_]+[ \n]+){0,2}?(?:or|and)[ \n]+"
    r"(?:(?P<low>less|fewer|below|under|lower|younger|shorter|earlier|smaller|sooner)"
    r"|(?P<high>more|above|over|greater|higher|older|longer|later|larger|upwards))\b|[ ]*(?P<plus>\+)|"
    r"[ \n]+at (?:(?P<most>most)|(?P<least>least))\b|[ \n]+(?:(?P<maximum>maximum)|(?P<minimum>minimum))\b",
    re.IGNORECASE,
)
_RELATION_AFTER = re.compile(
    r"(?:['\u2019](?:[ \n]+\w+){1,2})?[ \n]+(?:\w+[ \n]+)?(?P<relation>before|after|ago|from|prior|earlier|later|late|early)\b",
    re.IGNORECASE,
)
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_LOOK = 40  # characters on each side that can hold a comparator


def quantities(text: str) -> list[Quantity]:
    """Every number of *text* in its order, with unit, bound and relation; digits inside names (SpO2, RC-4x) are none."""
    found: list[Quantity] = []
    stop = 0
    for match in _SCAN.finditer(text):
        if match.start() >= stop and (quantity := number_at(text, match.start(), match.group())):
            found.append(quantity)
            stop = quantity.stop
    return with_shared_units(text, found)


def number_at(text: str, start: int, first: str) -> Quantity | None:
    """The number that starts at *start*, where *first* is its first word, digit, sign or fraction; None: no number."""
    if first[0].isalpha():
        word = first.lower()
        if word in _NAMED_HOURS:
            end = start + len(first)
            return Quantity(_NAMED_HOURS[word], CLOCK, start, end, end, first, first, *_around(text, start, end))
        named = word in _ORDINALS and _IN_A_NAME.match(text, start + len(first))  # second-hand, third-party
        return _spelled(text, start, first) if word in NUMBER_STARTS and not named else None
    return _written(text, start)


def with_shared_units(text: str, found: list[Quantity]) -> list[Quantity]:
    """Units of lists: "6 to 8 mL", "20, 24 and 28 cmH2O", "50, 30 or 10 metres": the unit stands once, for all of them."""
    for i in range(len(found) - 2, -1, -1):
        this, following = found[i], found[i + 1]
        dated = i and _is_month(found[i - 1].unit) and len(this.text) == 4  # "31 March 2032, seven years after"
        if this.unit is None and not dated and following.unit is not None and following.unit not in (CLOCK, ORDINAL):
            between = text[this.stop : following.start]
            if len(between) < 12 and _JOINT.fullmatch(between) and not _is_labelled(text, this, following.unit):
                found[i] = this._replace(unit=following.unit, unit_apart=True)
    for i in range(len(found)):
        if _TOLERANCE.search(text[max(0, found[i].start - 16) : found[i].start]):
            found[i] = found[i]._replace(tolerance=True)
    return found


def _is_labelled(text: str, quantity: Quantity, unit: Unit) -> bool:
    """Whether a number is that of a unit: "on day 220, 60 days before" are no 220 days."""
    before = text[max(0, quantity.start - 12) : quantity.start].split()
    return bool(before) and before[-1].isalpha() and unit_of(before[-1]) == unit


def _is_month(unit: Unit | None) -> bool:
    return unit is not None and unit.name in MONTHS


_TOLERANCE = re.compile(r"\s*(?:\u00b1|\+/[-\u2212\u2013]|\+[-\u2212\u2013]|plus or minus)\s*$")
_JOINT = re.compile(
    r"\s*(?:,|to|and|or|by|-|\u2013|\u2014|,\s*and|,\s*or|x|\u00d7|then|/|\u00b1|\+/[-\u2212\u2013]|plus or minus)\s*(?:to\s+)?"
)


def _spelled(text: str, start: int, word: str) -> Quantity | None:
    """The number whose first word is at *start*: "six", "forty-two", "two hundred", "one third", "second"."""
    end = start + len(word)
    lower = word.lower()
    longer = _NEXT_WORD.match(text, end)
    both = f"{lower} {longer[1].lower()}" if longer else ""
    if longer and both in WORD_VALUES:
        value, end = WORD_VALUES[both], longer.end()
    elif lower in _ORDINALS:
        value = _ORDINALS[lower]
        return Quantity(value, ORDINAL, start, end, end, word, word, other_value=1 / value if value > 2 else None)
    elif lower in WORD_VALUES:
        value = WORD_VALUES[lower]
        if value.is_integer() and (half := _AND_A_HALF.match(text, end)):  # one and a half times
            value, end = value + 0.5, half.end()
    elif (
        lower in ("a", "an")
        and longer
        and longer[1].lower() in _ONE_SPAN
        and (_BEFORE_SPAN.search(text, max(0, start - 12), start) or _AND_A_HALF.match(text, longer.end()))
    ):
        value = 1.0  # within an hour
        if more := _AND_A_HALF.match(text, longer.end()):
            return Quantity(
                1.5,
                unit_of(longer[1]),
                start,
                end,
                more.end(),
                text[start : more.end()],
                text[start : more.end()],
                *_around(text, start, more.end()),
            )
    else:
        return None
    if lower in ("half", "quarter") and text[max(0, start - 6) : start].lower() == "and a ":
        return None  # "a minute and a half": the minute was not a number either
    if lower == "once" and (
        (longer and longer[1].lower() in _AFTER_CONJUNCTION) or text[max(0, start - 3) : start] == "at "
    ):
        return None
    scale = _NEXT_WORD.match(text, end)
    while scale and scale[1].lower() in _SCALES:
        value, end = value * _SCALES[scale[1].lower()], scale.end()
        scale = _NEXT_WORD.match(text, end)
    part = _PART_OF.match(text, end) if value < 1 else None  # half an hour
    unit, stop = _unit_after(text, part.end() if part else end)
    stop = stop if unit is not None else end
    return Quantity(value, unit, start, end, stop, text[start:end], text[start:stop], *_around(text, start, stop))


def _written(text: str, start: int) -> Quantity | None:
    """The number whose first digit, sign or fraction is at *start*."""
    if text[start] in _FRACTIONS:
        unit, stop = _unit_after(text, start + 1)
        return Quantity(
            _FRACTIONS[text[start]],
            unit,
            start,
            start + 1,
            stop,
            text[start],
            text[start:stop],
            *_around(text, start, stop),
        )
    if clock := _CLOCK.match(text, start):
        end = clock.end()
        return Quantity(
            _clock(clock.group()), CLOCK, start, end, end, clock.group(), clock.group(), *_around(text, start, end)
        )
    match = _DIGITS.match(text, start)
    if match is None:  # a superscript alone
        return None
    end = match.end()
    if end < len(text) and text[end].isalpha() and _glued_name(text, end):
        return None
    value, other = _value(match.group())
    if value.is_integer() and not match["ordinal"] and (half := _AND_A_HALF.match(text, end)):  # 11 and a half hours
        value, end = value + 0.5, half.end()
    unit, stop = (ORDINAL, end) if match["ordinal"] else _unit_after(text, end)
    if (unit is None or unit.name.startswith("count/")) and (
        money := _MONEY_BEFORE.search(text, max(0, start - 4), start)
    ):
        coin = UNITS.get(money[1].strip().lower())
        unit = per(coin, unit) if coin is not None and unit is not None else coin
    return Quantity(
        value, unit, start, end, stop, text[start:end], text[start:stop], *_around(text, start, stop)
    )._replace(other_value=other)


def _glued_name(text: str, end: int) -> bool:
    """Whether letters right after the digits make a name ("3D", "10BASE"), not a unit ("5mL", "10h")."""
    match = _UNIT_AFTER.match(text, end)
    return match is None or unit_of(match["unit"]) is None


def _unit_after(text: str, end: int) -> tuple[Unit | None, int]:
    """The unit behind a number, and where it ends: the longest that is one, "crowns" of "crowns per person"."""
    match = _UNIT_AFTER.match(text, end)
    if match is None:
        return None, end
    if match["more"] and (longer := unit_of(match["unit"] + " " + match["more"].strip())) is not None:
        return longer, match.end()
    spelled = match["unit"]
    unit = unit_of({"C": "°c", "F": "°f", "May": "may_month"}.get(spelled, spelled))
    while unit is None and (shorter := _PER.split(spelled, 1)[0] if _PER.search(spelled, 1) else ""):
        spelled = shorter
        unit = unit_of(spelled)
    if unit is None or (unit.name in _LETTERS and match["unit"].islower() and text[end] == " "):
        return None, end
    return unit, match.start("unit") + len(spelled)


_PER = re.compile(r"\s?/\s?|\sper\s|\san?\s")
_LETTERS = word_set("a_ k j v u d")
"""Units of one letter, which in small letters and after a space are words or labels."""


def _value(raw: str) -> tuple[float, float | None]:
    """The value, and a second reading where there is one."""
    if raw.isascii() and raw.replace(".", "", 1).isdigit():
        return float(raw), None
    text = raw.translate(_SUPERSCRIPT).replace("\u2212", "-").replace("\u2013", "-")
    text = re.sub(r"(?:st|nd|rd|th)$", "", text, flags=re.IGNORECASE)
    mantissa, _, power = re.sub(r"\s?[x×]\s?10\^?", "e", text, count=1).partition("e")
    other = None
    if re.search(r"\d[ \u00a0\u202f\u2009]\d", mantissa):
        parts = re.split(r"[ \u00a0\u202f\u2009]", mantissa)
        if " " in mantissa:  # two columns of a table, or thousands
            other = float(parts[-1].replace(",", "."))
        mantissa = "".join(parts).replace(",", ".")
    elif re.fullmatch(r"-?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", mantissa):
        mantissa = mantissa.replace(",", "")
    else:
        mantissa = mantissa.replace(",", ".")
        if mantissa.count(".") > 1:
            mantissa = mantissa.replace(".", "")
    return float(mantissa) * 10.0 ** min(int(power or 0), 99), other


def _clock(raw: str) -> float:
    """Minutes since midnight."""
    hours, minutes = (int(n) for n in (*re.findall(r"\d+", raw), "0")[:2])
    if "p" in raw.lower() and hours < 12:
        hours += 12
    elif "a" in raw.lower() and hours == 12:
        hours = 0
    return 60.0 * hours + minutes


def _around(text: str, start: int, stop: int) -> tuple[Bound, str, None, bool, str]:
    """Bound, relation and comparator of the number at a place, as the last fields of a `Quantity`."""
    bound: Bound = ""
    words = _WORD_BEFORE.findall(text[max(0, start - _LOOK) : start].lower())
    # A comparator may be followed by "the", "of", "about"; "up to" ends in such a word itself.
    for cut in range(3):
        phrase = _bound_phrase(words)
        if phrase or not words or words[-1] not in _FILLERS or cut == 2:
            break
        words.pop()
    if phrase:
        bound = _BOUNDS[phrase]
        rest = words[: len(words) - len(phrase.split())]
        opposite: Bound = "high" if bound == "low" else "low"
        if rest and (rest[-1] in _NOT or (len(rest) > 1 and rest[-1] in _BETWEEN_NOT and rest[-2] in _NOT)):
            bound = opposite
        else:
            denied = False
            for word in rest:
                denied = word in _NOT_FAR or (denied and word not in _ENDS_NOT)
            if denied:  # "never lowered by more than 2" sets a limit, "not used above 2" may be told either way
                bound = under_denial(bound, phrase)
    elif match := _BOUND_AFTER.match(text, stop, stop + _LOOK):
        bound = "low" if match["low"] or match["most"] or match["maximum"] else "high"
    relation = ""
    if match := _RELATION_AFTER.match(text, stop, stop + _LOOK):
        relation = {"ago": "before", "prior": "before", "earlier": "before", "early": "before"}.get(
            match["relation"].lower(), "after"
        )
        if match["relation"].lower() == "before":
            relation = "before"
    return bound, relation, None, False, phrase


def is_turned(quantity: Quantity) -> bool:
    """Whether a denial turns its comparator round: "not faster than 10" leaves 10 in."""
    return quantity.comparator in _BOUNDS and bool(quantity.bound) and _BOUNDS[quantity.comparator] != quantity.bound


def under_denial(bound: Bound, comparator: str) -> Bound:
    """The bound of a number in what is denied: not "more than 2" is at most 2, and "not above 2" may be told either way."""
    if comparator.endswith("than") or comparator in _NOT_YET:
        return "high" if bound == "low" else "low"
    return bound if comparator in _IN_TIME else ""


def _bound_phrase(words: list[str]) -> str:
    for n in (3, 2, 1):
        if len(words) >= n and (phrase := " ".join(words[-n:])) in _BOUNDS:
            return phrase
    return ""


# --- comparison -------------------------------------------------------------------------------------------------------


def same_value(a: Quantity, b: Quantity) -> bool:
    """Whether two quantities have one value, converted where their units convert."""
    if _close(a.value, b.value) or (b.other_value is not None and _close(a.value, b.other_value)):
        return True
    if a.other_value is not None and _close(a.other_value, b.value):
        return True
    if a.unit and b.unit and a.unit.dimension == b.unit.dimension:
        return _close(a.value * a.unit.size, b.value * b.unit.size)
    # 40 % is 0.40 and half is 50 %, where the other has no unit.
    for one, two in ((a, b), (b, a)):
        if one.unit and one.unit.name == "%" and two.unit is None and _close(one.value, 100 * two.value):
            return True
    return False


def same_quantity(a: Quantity, b: Quantity) -> bool:
    """Whether value and unit agree; a number without a unit agrees with any."""
    one, two = a.unit, b.unit
    if one is None or two is None:
        return same_value(a, b)
    if one.dimension == two.dimension:
        return _close(a.value * one.size, b.value * two.size)
    if "/" not in one.dimension and "/" not in two.dimension:
        return False
    if _counts_alike(one, two):  # "3 per square metre" of "3 wasps per square metre"
        return _close(a.value * one.size, b.value * two.size)
    # "32 days a year" is 32 days, where what is counted is time anyway.
    return any(
        whole.dimension in COUNTED and rate.name.startswith(whole.name + "/") and _close(a.value, b.value)
        for rate, whole in ((one, two), (two, one))
    )


def _counts_alike(a: Unit, b: Unit) -> bool:
    """Whether one unit counts something per another, and the other leaves out what."""
    tops, belows = zip(a.dimension.partition("/")[::2], b.dimension.partition("/")[::2], strict=True)
    return (
        "count" in tops
        and belows[0] == belows[1] != ""
        and all(top == "count" or top not in DIMENSIONS for top in tops)
    )


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))
