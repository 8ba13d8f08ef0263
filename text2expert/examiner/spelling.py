"""One spelling for what is written in many: dates, times of day, rates, large numbers. Only what can be read in one way."""

import calendar
import re

from text2expert.evidence.quantities import WORD_VALUES
from text2expert.evidence.units import unit_of

_MONTHS = {name.lower(): name for name in calendar.month_name if name}
_MONTHS |= {
    short.lower(): _MONTHS[long.lower()]
    for short, long in zip(calendar.month_abbr, calendar.month_name, strict=True)
    if short
}
_MONTHS["sept"] = "September"
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\b\.?"
_YEAR = r"(?:,?\s+(?:of\s+)?(?P<year>\d{4})\b)?"
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()  # noqa: SIM905
_DAY = rf"(?:(?P<day>[12]?\d|3[01])(?:st|nd|rd|th)?|(?P<word>{'|'.join(_ORDINALS)}))"

_DAY_MONTH = re.compile(rf"(?<![\w.,/-])(?:the\s+)?{_DAY}\s+(?:day\s+)?(?:of\s+)?{_MONTH}{_YEAR}", re.IGNORECASE)
_MONTH_DAY = re.compile(rf"\b{_MONTH}\s+(?:the\s+)?{_DAY}(?!\s*[:%]|\d)\b{_YEAR}", re.IGNORECASE)
_ISO = re.compile(r"(?<![\w-])(?P<year>\d{4})-(?P<number>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])(?![\w-])")
_DOTTED = re.compile(
    r"(?<![\w.])(?P<day>0?[1-9]|[12]\d|3[01])\.\s?(?P<number>0?[1-9]|1[0-2])\.\s?(?P<year>\d{4})(?!\d)"
)
_SLASHED = re.compile(
    r"(?<![\w/])(?P<one>0?[1-9]|[12]\d|3[01])/(?P<two>0?[1-9]|[12]\d|3[01])/(?P<year>\d{4}|\d\d)(?![\w/])"
)

_MONTH_END = re.compile(rf"\b(?:the\s+)?(?:end|last\s+day)\s+of\s+{_MONTH}\s+(?P<year>\d{{4}})\b", re.IGNORECASE)

_PART = r"(?:\s+(?:in\s+the\s+(?P<part>morning|afternoon|evening)|(?P<half>[ap])\.?m\b\.?))?"
_HOUR = rf"(?P<hour>1[0-2]|[1-9]|{'|'.join(word for word, value in WORD_VALUES.items() if 1 <= value <= 12 and value.is_integer() and word.isalpha() and word not in {'once', 'twice', 'thrice', 'dozen', 'double', 'triple'})})"
_SPOKEN = re.compile(rf"\b(?P<turn>half\s+past|quarter\s+past|quarter\s+to)\s+{_HOUR}\b{_PART}", re.IGNORECASE)
_OCLOCK = re.compile(rf"\b{_HOUR}\s+o['’]clock\b{_PART}", re.IGNORECASE)
_POINTED = re.compile(r"(?<![\w.,])(?P<hours>[01]?\d|2[0-3])\.(?P<minutes>[0-5]\d)(?=\s?[ap]\.?m\b)", re.IGNORECASE)
_MILITARY = re.compile(
    r"(?<![\w.,:])(?P<hours>[01]\d|2[0-3])(?P<minutes>[0-5]\d)(?=\s?(?:hours|hrs|h)\b)\s?(?:hours|hrs|h)\b"
)

_SPANS = r"(?:second|minute|hour|day|week|fortnight|month|quarter|year)"
_SCALED = re.compile(r"(?<![\w.,])(?P<number>\d+(?:[.,]\d+)*)\s?(?P<scale>thousand|million|billion)\b", re.IGNORECASE)
_COINS = re.compile(r"(?P<coin>[£$€¥]\s?)(?P<number>\d+(?:\.\d+)?)\s?(?P<scale>k|m|bn)\b", re.IGNORECASE)
_SCALES = {"thousand": 10**3, "k": 10**3, "million": 10**6, "m": 10**6, "billion": 10**9, "bn": 10**9}
_PER = re.compile(
    r"(?P<unit>\b[^\W\d_]+)\s+(?:an?|(?:(?:on|in|to|for)\s+)?(?:every|each))\s+(?P<below>square\s+met(?:re|er)|cubic\s+met(?:re|er)|second|minute|hour|day|week|month|year|kg|kilogram|kilogramme|gram|"
    r"litre|liter|metre|meter)\b",
    re.IGNORECASE,
)
_OFTEN = re.compile(
    rf"\b(?:(?P<times>\d+|{'|'.join(WORD_VALUES)})\s+times|(?P<twice>twice))\s+(?:an?|per|each|every)\s+(?P<span>day|year)\b",
    re.IGNORECASE,
)
_ONCE = re.compile(rf"\b(?:once\s+(?:an?|per|each|every)|every|each)\s+(?P<unit>{_SPANS})\b", re.IGNORECASE)
_ADVERB = re.compile(
    r"\b(?:(?P<half>semi-?annually|half-yearly)|(?P<adverb>hourly|daily|weekly|monthly|quarterly|yearly|annually))\b(?=\W*$)",
    re.IGNORECASE,
)
_HOURLY = re.compile(r"\b(?P<hours>\d+)[- ]hourly\b|\bq\s?(?P<short>\d+)\s?h\b", re.IGNORECASE)
_WATER = re.compile(r"\b(?P<unit>cm|mm)s?\s+(?:of\s+)?(?P<what>water|H2O|mercury|Hg)\b", re.IGNORECASE)
_ONE = re.compile(r"^\s*an?\s+(?=(?:second|minute|hour|day|week|fortnight|month|quarter|year)\b)", re.IGNORECASE)
_PAST = re.compile(rf"\b(?P<when>past|last|next|following|coming)\s+(?={_SPANS}\b)", re.IGNORECASE)
_SHARE = re.compile(r"(?<![\w./])(?P<over>\d{1,2})/(?P<under>[1-9]\d?)\s+(?:of\s+)?(?:an?|one)\s+(?P<unit>[^\W\d_]+)")
_EVERY = re.compile(
    rf"\bevery\s+(?:(?P<number>\d+)(?:st|nd|rd|th)|(?P<word>other|{'|'.join(_ORDINALS[1:])}))\s+(?P<unit>{_SPANS})\b",
    re.IGNORECASE,
)
_DAYTIME = re.compile(
    rf"(?<![\w.,:]){_HOUR}\b(?P<minutes>:[0-5]\d)?\s+(?P<when>at\s+night|in\s+the\s+(?:morning|afternoon|evening))\b",
    re.IGNORECASE,
)
_MINUS = re.compile(r"(?<![\w%°)])(?<!\d )minus\s+(?=\d)", re.IGNORECASE)
_KILONEWTONS = re.compile(r"(?<=\d)\s?kN\b")
"""Told from knots by nothing but its capital, which a comparison of words does not see."""
_QUARTER = re.compile(r"\ba\s+quarter\s+of\s+an?\s+(?=[^\W\d_])", re.IGNORECASE)
_IS = re.compile(r"\b(it|that|there|he|she|here|what|where|who)['’]s\b", re.IGNORECASE)
_MARKS = re.compile(r"^[ \t]*(?:\(?\d{1,2}[.)]|[-*•])[ \t]+", re.MULTILINE)


def plain(text: str) -> str:
    """*text* with dates as "1 April 2031", times as "7:30", rates as "per hour", numbers in full, and list marks gone."""
    if len(_MARKS.findall(text)) > 1:
        text = _MARKS.sub("", text)
    for pattern, spelled in (
        (_ISO, _numbered),
        (_DOTTED, _numbered),
        (_SLASHED, _slashed),
        (_MONTH_END, _ended),
        (_DAY_MONTH, _dated),
        (_MONTH_DAY, _dated),
        (_SPOKEN, _spoken),
        (_OCLOCK, _spoken),
        (_DAYTIME, _daytime),
        (_EVERY, _every),
        (_MINUS, "-"),
        (_KILONEWTONS, " kilonewtons"),
        (_POINTED, r"\g<hours>:\g<minutes>"),
        (_MILITARY, r"\g<hours>:\g<minutes>"),
        (_COINS, lambda found: found["coin"] + _scaled(found)),
        (_SCALED, _scaled),
        (_OFTEN, _often),
        (_HOURLY, lambda found: f"every {found['hours'] or found['short']} hours"),
        (_ONCE, r"every 1 \g<unit>"),
        (_ADVERB, _adverb),
        (_WATER, lambda found: found["unit"].lower() + ("H2O" if found["what"].lower() in {"water", "h2o"} else "Hg")),
        (_SHARE, lambda found: f"{int(found['over']) / int(found['under']):.6g} {found['unit']}"),
        (_QUARTER, r"0.25 "),
        (_IS, r"\1 is"),
        (_PAST, r"\g<when> 1 "),
        (_PER, _per),
        (_ONE, "1 "),
    ):
        text = pattern.sub(spelled, text)
    return text


def _numbered(found: "re.Match[str]") -> str:
    return f"{int(found['day'])} {calendar.month_name[int(found['number'])]} {found['year']}"


def _slashed(found: "re.Match[str]") -> str:
    """A date with slashes where only one of its numbers can be the month, or both are the same."""
    one, two = int(found["one"]), int(found["two"])
    if (one > 12) == (two > 12) and one != two:
        return found[0]
    day, month = (one, two) if one > 12 else (two, one)
    year = found["year"] if len(found["year"]) == 4 else f"20{found['year']}"
    return f"{day} {calendar.month_name[month]} {year}"


def _dated(found: "re.Match[str]") -> str:
    word = (found["word"] or "").lower()
    month = _MONTHS[found["month"].lower()]
    if month == "May" and found["month"] != "May" and not (found["day"] and found["year"]):
        return found[0]  # "second may be", "may 2"
    day = int(found["day"]) if found["day"] else _ORDINALS.index(word) + 1
    return f"{day} {month}" + (f" {found['year']}" if found["year"] else "")


def _ended(found: "re.Match[str]") -> str:
    """The last day of a month of a year."""
    month = _MONTHS[found["month"].lower()]
    last = calendar.monthrange(int(found["year"]), [*calendar.month_name].index(month))[1] if int(found["year"]) else 0
    return f"{last} {month} {found['year']}" if last else found[0]


def _spoken(found: "re.Match[str]") -> str:
    hour = found["hour"].lower()
    hours = int(hour) if hour.isdigit() else int(WORD_VALUES[hour])
    turn = " ".join((found.groupdict().get("turn") or "").lower().split())
    minutes = {"half past": 30, "quarter past": 15, "quarter to": 45}.get(turn, 0)
    hours = hours - 1 if turn == "quarter to" else hours
    half = (
        found["half"] or {"morning": "a", "afternoon": "p", "evening": "p"}.get((found["part"] or "").lower(), "")
    ).lower()
    return f"{hours or 12}:{minutes:02d}" + (f" {half}m" if half else "")


def _daytime(found: "re.Match[str]") -> str:
    hours = found["hour"].lower()
    hours = hours if hours.isdigit() else f"{int(WORD_VALUES[hours])}"
    late = "morning" not in found["when"].lower() and hours != "12"
    return f"{hours}{found['minutes'] or ''} {'pm' if late else 'am'}"


def _every(found: "re.Match[str]") -> str:
    if found["number"]:
        return f"every {found['number']} {found['unit']}s"
    word = found["word"].lower()
    return f"every {2 if word == 'other' else _ORDINALS.index(word) + 1} {found['unit']}s"


def _scaled(found: "re.Match[str]") -> str:
    number = found["number"].replace(",", "")
    value = float(number) * _SCALES[found["scale"].lower()] if number.count(".") < 2 else 0.0
    return str(int(value)) if value and value.is_integer() else found[0]


def _often(found: "re.Match[str]") -> str:
    """How often a day or a year, as hours or months between."""
    times = (found["times"] or found["twice"]).lower()
    count = float(times) if times.isdigit() else WORD_VALUES[times]
    whole, unit = (24, "hours") if found["span"].lower() == "day" else (12, "months")
    return f"every {int(whole / count)} {unit}" if count > 1 and (whole / count).is_integer() else found[0]


def _adverb(found: "re.Match[str]") -> str:
    if found["half"]:
        return "every 6 months"
    word = found["adverb"].lower()
    return f"every 1 {'year' if word == 'annually' else 'day' if word == 'daily' else word.removesuffix('ly')}"


def _per(found: "re.Match[str]") -> str:
    unit = found["unit"]
    counted = unit_of(unit) is not None or unit.lower().endswith("s")
    return (
        f"{unit} per {found['below']}"
        if counted and unit.lower() not in {"is", "was", "as", "this", "lasts", "takes"}
        else found[0]
    )
