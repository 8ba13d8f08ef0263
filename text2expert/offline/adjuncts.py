"""Facts in a clause's adverbials and amounts: until when, how often, for how long, at what temperature, on which form."""

import re
from collections.abc import Iterator

import attrs

from text2expert.offline.clauses import Clause, bare
from text2expert.offline.lexicon import (
    ADVERBS,
    AUXILIARIES,
    BE,
    DETERMINERS,
    MODALS,
    NUMBER_WORDS,
    PREPOSITIONS,
    QUANTITY_OF,
    is_participle,
    word_set,
)
from text2expert.offline.statements import (
    BOUND,
    NUM,
    SUFFIX,
    TIME,
    TIME_UNIT,
    Fact,
    Reading,
    contains,
    content,
    pointing,
    unit_word,
)

_CLOCK = r"(?:\d{1,2}:\d{2}(?: ?[ap]\.?m\.?)?|\d{1,2}\.\d{2} ?[ap]\.?m\.?|\d{1,2} ?[ap]\.?m\.?|noon|midnight)"
_MONTH = r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_DAY = r"(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_DATE = rf"(?:\d{{1,2}}(?:st|nd|rd|th)? {_MONTH}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?)(?:,? \d{{4}})?"
_SEASON = rf"(?:{TIME_UNIT}|shift|quarter|term|season|winter|summer|spring|autumn)"
_PER = r"(?: (?:a|an|per) (?:second|minute|hour|day|week|month|year))?"
_UNIT = r"(?:%|°[CF]?|[A-Za-zµμ°£€$][\w/³²µμ°]*(?:/[\w³²]+)*)"
_NOT_NAMED = (
    r"(?!(?:section|clause|schedule|appendix|annex|part|article|chapter|figure|page|paragraph|rule|day|week|least|most|about|over|under|than|only|up|nearly|roughly|"
    r"exactly|first|next|last|per|level|below|above|within|and|or|to|of|by|from|for|at|in|on|with|age|grade|entry)\b)"
)

DEADLINE = re.compile(rf"\b(?:(?:but )?in any case )?within (?:{BOUND} )?(?P<t>{TIME})")
OFFSET = re.compile(
    rf"(?<!\w)(?P<t>(?:{BOUND} )?{TIME}) (?P<side>before|after|ahead of|following|prior to)(?= (?P<e>\S.*))"
)
DURATION = re.compile(rf"\bfor (?P<t>(?:{BOUND} )?(?:the (?:first|next|last) )?{TIME}{SUFFIX})")
ELAPSE = re.compile(rf"\bafter (?P<t>(?:{BOUND} )?{TIME})(?! (?:of|without|in|on|with|inside|from)\b)")
FREQUENCY = re.compile(
    rf"\b(?P<t>(?:at least |not less than |no less than |normally )?"
    rf"(?:(?:once|twice|three times|four times|{NUM} times) (?:in )?(?:a|an|each|every|per) (?:{NUM} )?{_SEASON}"
    rf"|every (?:{NUM} |second |other )?(?:{TIME_UNIT}|quarter|{_DAY})"
    rf"|(?:each|every) (?:minute|hour|day|week|month|quarter|year|night|morning|evening|shift|spring|summer|autumn|winter|{_DAY}|{_MONTH})"
    rf"|hourly|daily|weekly|monthly|quarterly|yearly|annually|nightly)(?: (?:in|each) {_MONTH})?)(?=[,;.)]|\s|$)"
)
MOMENT = re.compile(
    rf"\b(?P<p>at|by|before|after|until|between|on|from|(?:no|not) later than) (?P<t>(?:the )?(?:{_CLOCK}(?:(?:,| and| to| or) {_CLOCK})*|{_DATE}"
    rf"|(?:first|second|third|fourth|last) (?:working day|day|{_DAY})(?: of (?:the|each|every) \w+)?)(?: on the (?:first|last|same|next|following) (?:working )?day)?)"
)
REFERENCE = re.compile(
    rf"\b(?P<p>on|in|with|by|under|via|using|through|at|from|against) (?P<t>(?:the |a )?(?:(?P<a>\w+) )?{_NOT_NAMED}(?P<n>[a-z]{{3,}}) "
    r"(?P<c>(?:[A-Z]{1,5}[-/ ]?)?\d(?:[\w/-]*\w)?|[A-Z]{1,6}[-/](?:[\w/-]*\w)|[A-Z]\b))(?=[,;)]|$| (?:for|in|at|on|by|and|or|but|within|before|after|with|to|from)\b)"
)
MEASURE = re.compile(
    rf"(?<!\d )\b(?P<p>at|to|by|above|below|over|under|within|from) "  # not "4 by 6 metres", "3 to 5 bar"
    rf"(?P<t>(?:{BOUND} )?-?{NUM}(?:(?: to | and ){NUM})? ?(?P<u>percent|{_UNIT}){_PER}{SUFFIX})(?=[,;.)]| |$)"
)
_TIMES = re.compile(
    rf"\b(?P<t>(?:only )?(?:{NUM} times|once|twice))\b(?! (?:a|an|per|each|every|in|the|as|more|that|over|larger|smaller|greater|higher|lower|its|their|if|when)\b)"
)
_EVENT = re.compile(
    r"\b(?P<t>(?:only )?(?:immediately |shortly |directly )?(?:before|after|during|upon|prior to) (?!use of|that\b|which\b|it\b)[^,;()\d]+)$"
)
_MANNER = re.compile(
    r"\b(?P<t>(?:only )?(?:in writing|in person|by (?:telephone|phone|post|hand|e-?mail|fax|radio|letter|courier)|orally|electronically)(?: only)?)(?=[,;.)]| |$)"
)
_KINDS = (
    ("deadline", DEADLINE),
    ("offset", OFFSET),
    ("duration", DURATION),
    ("elapse", ELAPSE),
    ("frequency", FREQUENCY),
    ("moment", MOMENT),
    ("reference", REFERENCE),
    ("measure", MEASURE),
    ("times", _TIMES),
    ("manner", _MANNER),
    ("event", _EVENT),
)
_DONE_KINDS = frozenset({"measure", "reference", "times", "manner", "event"})
"""Kinds that ask how something is done, which a description of what is does not tell."""
TIMED = (DEADLINE, OFFSET, DURATION, ELAPSE, FREQUENCY)
"""Time phrases that a plain "when" would ask for too."""
_ASKED_WITH = {
    "at": "at what time",
    "by": "by when",
    "before": "before when",
    "after": "after when",
    "until": "until when",
    "between": "between what times",
    "on": "on what day",
    "from": "from when",
    "no later than": "by when",
    "not later than": "by when",
}

_BOUNDARY = re.compile(
    r",|;| \(| and (?=(?:within|every|for|at|by|in|on|then|not|never|must|is|are|may|shall|from|after|before|no|again)\b|\d)| but "
    r"| or (?=(?:within|at|by|after|before|in|for|every|if|when|\d)\b)| unless | if | when | except | with | without | by | using "
    r"| whichever | whatever | so that | before | after | between | (?:at|to) (?=\d)"
)
"""Where an event's name ends: "within 2 hours of the alarm | and by telephone"."""
_STOP = re.compile(
    r",|;| \(| and (?=(?:within|every|for|at|by|in|on|then|not|never|must|is|are|may|shall|from|after|before|no|again)\b|\d)| but "
    r"| or (?=(?:within|at|by|after|before|in|for|every|if|when|\d)\b)| unless | if | when | except | whichever | whatever | so that "
)
"""Where a phrase behind a slot ends."""
_ALTERNATIVE = re.compile(r"^,? ?(?:or|unless|except|but|whichever|plus)\b|^ \(")
_ADDITION = re.compile(
    r"^, (?:at|before|after|by|until|on) (?:the )?\d|^,? ?and (?:after|before|at|on|when|whenever|during|in|again|every|with|then|each|within|for|about|\d+)\b"
)
_DANGLING = re.compile(
    r"\b(?:not|never|nor|than|of|and|or|the|a|an|within|from|for|only|with|in|at|by|to|up|down|due|according|prior|similar|every|each)$|, \w+$"
)
_GOES_ON = word_set(
    "before after when if unless which whichever so but not never with in at by for until as where while and or during"
)
"""What may follow a comma behind a phrase that does not begin a list."""
_INTRANSITIVE = word_set("start stop begin wait leave return finish end arrive continue restart resume")
LASTING = word_set("last run wait stand stay continue remain")


def adjunct_facts(reading: Reading) -> Iterator[Fact]:
    """Facts in the adverbials of a clause, then those in its amounts."""
    clause, taken = reading.clause, [(-1, -1)]
    copular = (
        clause.auxiliary in AUXILIARIES
        and not clause.passive
        and (clause.auxiliary in BE or clause.rest.startswith("be "))
    )
    for kind, pattern in _KINDS:
        if copular and (re.match(rf"(?:{BOUND} )?{NUM}\b", clause.rest) or kind in _DONE_KINDS):
            continue
        first = -1
        for match in pattern.finditer(clause.rest):
            start, end = match.start(), match.end("side" if kind == "offset" else "t")
            if any(start < other_end and other_start < end for other_start, other_end in taken):
                continue
            before = _before(clause.rest, start, first)
            if before is None or pattern.search(before):
                continue
            fact = _slot_fact(kind, match, before, reading)
            if fact is not None:
                taken.append((start, end))
                first = start if first < 0 else first
                yield fact
    yield from _amount_facts(reading)


def _before(rest: str, start: int, first: int) -> str | None:
    """The predicate up to a slot; None where the slot is not the clause's own.

    In "every 2 hours by day and every 3 hours by night", the second slot takes what stands before the first.
    """
    before = rest[:start].rstrip(" ,")
    if re.search(r",? (?:and|or|but|then)$", before):
        if first < 0:
            return None
        before = rest[:first].rstrip(" ,")
    if _DANGLING.search(before) or ";" in before or before.count("(") != before.count(")") or before == "be":
        return None
    if re.search(r"\b(?:that|which|who|whose|where)\b", before) or (", " in before and re.search(r"\d", before)):
        return None
    words = before.split()
    main = next((at for at, word in enumerate(words) if is_participle(bare(word))), -1)
    if _described(words):
        return None
    if (
        len(words) > 1
        and is_participle(bare(words[-1]))
        and main < len(words) - 1
        and bare(words[-2]) not in ADVERBS | {"and", "or"}
    ):
        return None  # "a treaty adopted | on 20 May": the phrase belongs to the noun
    if rest[:start].endswith(", ") and ", " in before:
        return None
    return before


def _described(words: list[str]) -> bool:
    """Whether a noun of the predicate is described by a participle behind it: "any patient expected to need it |"."""
    for at in range(2, len(words) - 1):
        before = bare(words[at - 1])
        loose = DETERMINERS | PREPOSITIONS | ADVERBS | {"and", "or", "be", "been", "to", "not"}
        if (
            is_participle(bare(words[at]))
            and before not in loose
            and not before.endswith("ly")
            and bare(words[at + 1]) in {"to", "that", "by"}
        ):
            return not words[at - 1][0].isdigit()
    return False


def _event(text: str) -> tuple[str, str]:
    """(event, remainder) of what follows "within 2 hours of"."""
    match = _BOUNDARY.search(text)
    event, left = (text[: match.start()], text[match.start() :]) if match else (text, "")
    listed = (
        re.match(r"^, [\w -]+(?:,| or | and )", left) and not _ALTERNATIVE.match(left) and not _ADDITION.match(left)
    )
    if len(event.split()) > 14 or listed or pointing("the thing named here " + event):
        return "", ""
    return event, left


def _after(post: str, *, adds: bool) -> tuple[str, str] | None:
    """(part that stays in the question, part that belongs to the answer) of what follows a slot; None where unsafe."""
    post = post.rstrip(" .")
    if not post:
        return "", ""
    if _ALTERNATIVE.match(post) or (adds and _ADDITION.match(post)):
        return "", post
    if re.match(r"^,? (?:and|but) |^;", post):
        return "", ""
    words = post.split()
    if post.startswith(", "):
        return None if _GAP.match(post) else ("", "")
    if bare(words[0]) not in PREPOSITIONS | {"to"}:
        return None
    stop = _STOP.search(post, 1)
    kept, left = (post[: stop.start()], post[stop.start() :]) if stop else (post, "")
    if left and (_ALTERNATIVE.match(left) or (adds and _ADDITION.match(left))):
        return (kept, left) if len(kept.split()) <= 9 else None
    if " between " in kept:
        return "", ""
    if left.startswith(", ") and bare(left.split()[1]) not in _GOES_ON:
        return ("", "") if bare(words[0]) in {"with", "by"} else None
    if " and " in kept or " or " in kept:
        return ("", "") if bare(words[0]) in {"with", "by"} else ((kept, "") if len(kept.split()) <= 12 else None)
    return (kept, "") if len(kept.split()) <= 10 else None


_GAP = re.compile(
    rf", (?:(?:every|each|within|for|at|by|to|from|{NUM})\b"
    r"|[\w-]+(?: [\w-]+){0,2} (?:every|each|within|once|twice|daily|weekly|monthly|yearly|after|for)\b)"
)
"""Another value, or another thing's value without its verb: "within 4 days, | rare ones within 12 days"."""


@attrs.define
class _Slot:
    """A slot while its fact is made up."""

    slots: dict[str, str]
    short: str
    post: str
    adds: bool = False


def _slot_fact(kind: str, match: re.Match[str], before: str, reading: Reading) -> Fact | None:
    clause = reading.clause
    if not _asks_by_itself(kind, before, clause) or (reading.added and ", " in clause.rest[match.end("t") :]):
        return None
    slot = _SLOTS[kind](match, before, reading)
    if slot is None:
        return None
    kept = _after(slot.post, adds=slot.adds)
    if kept is None:
        return None
    inside, outside = kept
    if re.search(r"\bor (?:in any case )?$", clause.rest[: match.start()]) and not inside:
        return None  # the second of two cases, without what tells it from the first
    other = inside and re.match(r"^,? ?or (?:for|at|within|by|in|every)\b", outside)
    if other or (_ADDITION.match(outside) and (inside or DEADLINE.search(outside))):
        outside = ""  # "every hour by day and every 3 hours by night": the question names the day
    short = slot.short + outside + reading.more
    tail = clause.tail if outside and reading.added else ""
    slots = {**slot.slots, **reading.ask(before + inside, bare_clause=bool(tail))}
    if tail and not short.endswith(tail):
        short = f"{short} {tail}"
    if kind == "deadline" and clause.negation:
        kind, short = "ban", short.removeprefix("within ")
    body = " ".join([slots["stmt"], *(slots.get(name, "") for name in ("of", "event"))])
    if pointing(body) or contains(body, short) or len(short) > 160:
        return None
    return reading.scene.fact(kind, short, anchored=reading.anchored or len(content(body)) < 3, **slots)


def _asks_by_itself(kind: str, before: str, clause: Clause) -> bool:
    """Whether enough of the predicate stands before a slot, and the slot is not part of a "with" phrase there."""
    if not before and clause.form != "present":
        return clause.form == "imperative" and clause.verb in _INTRANSITIVE
    if clause.form == "imperative" and ", " in before:
        return False
    belongs = re.search(r"\bwith (?:a |an |the |its |their )?[\w -]+$", before)
    return not (belongs and kind in {"frequency", "duration", "measure"})


_NEGATIVE = word_set("avoid refrain cease")
"""Orders that forbid: within a time of something is no deadline for them."""


def _deadline(match: re.Match[str], before: str, reading: Reading) -> _Slot | None:
    del before
    slots = {"unit": unit_word(match.group("t")), "of": "", "after": "", "front_after": ""}
    post = reading.clause.rest[match.end("t") :]
    side = re.match(r" (of|after|from|following|before) (.+)", post)
    if side:
        event, post = _event(side.group(2))
        if not event:
            return None
        word = side.group(1)
        slots["of"] = f" {word} {event}"
        slots["after"] = f" {'before' if word == 'before' else 'after'} {event}"
        slots["front_after"] = slots["after"].strip() + ", "
        slots["event"] = event
    if (reading.clause.negation and (not side or side.group(1) == "before")) or reading.clause.verb in _NEGATIVE:
        return None
    return _Slot(slots, match.group(0), post, adds=not side)


def _offset(match: re.Match[str], before: str, reading: Reading) -> _Slot | None:
    del before, reading
    event, post = _event(match.group("e"))
    if not event:
        return None
    side = match.group("side")
    return _Slot({"unit": unit_word(match.group("t")), "side": side, "event": event}, match.group("t"), post)


def _duration(match: re.Match[str], before: str, reading: Reading) -> _Slot | None:
    post = reading.clause.rest[match.end("t") :]
    if re.match(r" (?:of|in which|from|each|per|that|who)\b", post):
        return None
    if ", " in before and not reading.clause.passive:
        return None
    return _Slot({"unit": unit_word(match.group("t"))}, match.group("t"), post)


def _elapse(match: re.Match[str], before: str, reading: Reading) -> _Slot | None:
    del before
    return _Slot(
        {"unit": unit_word(match.group("t"))}, match.group(0), reading.clause.rest[match.end("t") :], adds=True
    )


def _frequency(match: re.Match[str], before: str, reading: Reading) -> _Slot | None:
    del before
    return _Slot({}, match.group(0), reading.clause.rest[match.end("t") :], adds=True)


def _moment(match: re.Match[str], before: str, reading: Reading) -> _Slot | None:
    del before
    if re.match(r" (?:to|until) (?:the )?(?:\d|[A-Z])", reading.clause.rest[match.end("t") :]):
        return None
    return _Slot(
        {"wh": _ASKED_WITH[match.group("p")]}, match.group(0), reading.clause.rest[match.end("t") :], adds=True
    )


def _times(match: re.Match[str], before: str, reading: Reading) -> _Slot | None:
    if (not before and not reading.clause.verb) or re.search(r"\bonly\b", before):
        return None
    return _Slot({}, match.group("t"), reading.clause.rest[match.end("t") :])


_BEFORE_AFTER = word_set(
    "immediately shortly directly unit units hours minutes days hour minute day week weeks month months year years quarter shift date night morning evening"
)
"""Words that "after" and "before" belong to, rather than to the verb: "on the second working day after posting"."""


def _event_time(match: re.Match[str], before: str, reading: Reading) -> _Slot | None:
    event = match.group("t")
    words = event.split()
    if len(words) > 9 or pointing("the thing named here " + event) or reading.clause.negation or " and " in event:
        return None
    if (
        reading.clause.auxiliary == "may"
        or not (reading.clause.passive or reading.clause.form == "imperative")
        or ", " in before
    ):
        return None
    if bare(before.rsplit(maxsplit=1)[-1]) in _BEFORE_AFTER if before else False:
        return None
    return _Slot({}, event, "")


def _reference(match: re.Match[str], before: str, reading: Reading) -> _Slot | None:
    del before
    if match.group("a") and match.group("a").lower() in PREPOSITIONS | DETERMINERS:
        return None
    noun = match.group("n") if match.group("n") != "telephone" else "telephone number"
    if re.fullmatch(TIME_UNIT, noun) or noun in QUANTITY_OF or reading.clause.negation:
        return None
    short = re.sub(r"^(?:the|a) ", "", match.group("t"))
    return _Slot({"prep": match.group("p"), "noun": noun}, short, reading.clause.rest[match.end("t") :])


_ANGULAR = re.compile(r"\b(?:angle|tilt|turn|rotat|inclin|elevat|rais|bent|bend|slope|head|lean)", re.IGNORECASE)


def _quantity(unit: str, said: str) -> str | None:
    """What *unit* measures; degrees are those of a temperature or an angle, as the words before say."""
    if unit not in {"degrees", "°"} or _ANGULAR.search(said):
        return QUANTITY_OF.get(unit)
    return "temperature" if "temperature" in said.lower() else None


def _measure(match: re.Match[str], before: str, reading: Reading) -> _Slot | None:
    unit, prep = match.group("u"), match.group("p")
    quantity = _quantity(unit, f"{reading.clause.subject} {before}")
    if quantity is None or reading.clause.negation:
        return None
    if prep == "to" and re.search(r"\d%?$", before):
        return None
    if re.match(rf" (?:to|until) (?:{BOUND} )?-?{NUM}", reading.clause.rest[match.end("t") :]):
        return None  # from one amount to another is one answer
    if prep not in {"at", "to", "by"} and not (before and is_participle(bare(before.rsplit(maxsplit=1)[-1]))):
        return None
    slots = {"prep": prep, "quantity": quantity, "of": ""}
    short, post = match.group("t"), reading.clause.rest[match.end("t") :]
    if prep == "within" and (side := re.match(r" of (.+)", post)):
        event, post = _event(side.group(1))
        if not event:
            return None
        slots["of"] = f" of {event}"
    elif whole := re.match(
        r" of (?:the |its |their )?[\w -]+?(?= (?:for|at|by|in|on|when|to|from|within|with|before|after|during)\b|[,;]|$)",
        post,
    ):
        short, post = short + whole.group(), post[whole.end() :]
    return _Slot(slots, short, post)


_SLOTS = {
    "deadline": _deadline,
    "offset": _offset,
    "duration": _duration,
    "elapse": _elapse,
    "frequency": _frequency,
    "moment": _moment,
    "reference": _reference,
    "measure": _measure,
    "times": _times,
    "manner": _times,
    "event": _event_time,
}


def _amount_facts(reading: Reading) -> Iterator[Fact]:
    """Facts in amounts: "lasts 2 hours", "does not exceed 7 bar", "keeps 31 lamps"."""
    clause, rest = reading.clause, reading.clause.rest
    if clause.form == "present" and not clause.negation and clause.verb in LASTING:
        match = re.match(rf"^(?P<t>(?:{BOUND} )?{TIME}{SUFFIX})", rest)
        kept = _after(rest[match.end() :], adds=False) if match else None
        if match and kept is not None:
            slots = {"unit": unit_word(match.group("t")), **reading.ask(kept[0].strip())}
            yield reading.scene.fact(
                "lasting", match.group("t") + kept[1] + reading.more, anchored=reading.anchored, **slots
            )
        return
    limit = re.match(rf"^(?:exceed )?(?P<t>{NUM}.*)$", rest) if clause.negation and clause.subject else None
    if limit and (clause.verb == "exceed" or rest.startswith("exceed ")):
        value, post = _amount(limit.group("t"))
        subject = clause.subject + post + reading.front
        if value and not pointing(subject):
            yield reading.scene.fact("limit", value + reading.more, anchored=reading.anchored, subject=subject)
    active = clause.form in ("present", "imperative") or (clause.auxiliary in MODALS and not clause.passive)
    if (
        active
        and not clause.negation
        and clause.verb not in {"exceed", "mean", "wait", "take", "agree", "reach", "fall"}
    ):
        yield from _counts(reading)


def _amount(text: str) -> tuple[str, str]:
    """(amount with its unit, what follows it) at the start of *text*; empty where it is not that simple."""
    match = re.match(
        rf"^(?P<t>{NUM}(?:(?: to | and ){NUM})?(?: (?:{TIME_UNIT}|{_UNIT}))?{_PER}{SUFFIX})(?P<p>(?: [a-z(].*)?)$", text
    )
    if not match or any(mark in match.group("p") for mark in ",;("):
        return "", ""
    return match.group("t"), match.group("p")


def _counts(reading: Reading) -> Iterator[Fact]:
    """How many things the verb's object is."""
    clause = reading.clause
    verb, rest = "", clause.rest
    if clause.form == "aux":
        verb, _, rest = rest.partition(" ")
    match = re.match(rf"^(?P<c>(?:{BOUND} )?)(?P<t>{NUM}) (?P<n>[a-z(][^,;:]*)$", rest)
    if not match:
        return
    noun = match.group("n")
    if noun.split()[0] in {"or", "to", "and", "in", "of", "x", "by", "per"} or " and " in noun or " or " in noun:
        return
    stop = re.search(
        r" (?:to|at|in|on|for|with|within|before|after|every|from|by|per|under|over|through|during|into) ", noun
    )
    kept, left = (noun[: stop.start()], noun[stop.start() :].strip()) if stop else (noun, "")
    if len(kept.split()) > 7 or re.search(r"\d", kept) or not (kept.endswith("s") or " of " in kept):
        return
    if re.match(TIME_UNIT, kept) and (verb or clause.verb) not in {
        "have",
        "need",
        "allow",
        "give",
        "get",
        "require",
        "grant",
    }:
        return
    number = match.group("c") + match.group("t")
    behind = f"{verb} {left}".strip()
    slots = {
        "counted": kept,
        "inv": clause.inverted(behind) + (reading.added or reading.front),
        "stmt": reading.lead + clause.statement(verb),
        "left": f" {left}" if left else "",
    }
    if not pointing(slots["stmt"] + " " + noun) and not any(word in NUMBER_WORDS for word in kept.split()):
        yield reading.scene.fact("count", f"{number} {kept}{reading.more}", anchored=reading.anchored, **slots)
