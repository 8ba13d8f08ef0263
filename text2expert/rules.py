"""Rules: what a text unit or a table states, as facts that can be asked for.

Each rule reads one pattern of general English in protocols, contracts and manuals: definitions, time limits, conditions,
duties, labelled items, tables. A rule that is not sure stays silent.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import attrs

from text2expert.clauses import (
    Clause,
    bare,
    conjuncts,
    lower_first,
    parse,
    split_condition,
    upper_first,
)
from text2expert.lexicon import (
    BE,
    DETERMINERS,
    MODALS,
    NUMBER_WORDS,
    POINTERS,
    PREPOSITIONS,
    PRONOUNS,
    QUANTITY_OF,
    RELATIVES,
    ROLES,
    SUBORDINATORS,
    VERBS,
    is_participle,
)
from text2expert.units import Table, Unit, title


@attrs.frozen(kw_only=True)
class Fact:
    """Something the text states, ready to be asked for: see `text2expert.phrasings.TEMPLATES` for ``kind`` and ``slots``."""

    kind: str
    slots: Mapping[str, str]
    short: str
    """The canonical answer."""
    answer: str
    """A statement that contains it."""
    places: tuple[tuple[int, int], ...]
    """Where the passage says so."""
    section: str
    anchored: bool = False
    """Whether a question must name the section to be understood."""


_NUM = rf"(?:\d[\d,]*(?:\.\d+)?|\d|(?:{'|'.join(NUMBER_WORDS)})\b)"
_CMP = (
    r"(?:(?:no|not) (?:later|earlier|more|less|fewer|longer|greater|higher|lower) than|at (?:least|most)|more than|less than|fewer than|"
    r"up to|a (?:maximum|minimum) of|about|approximately|exactly|over|under|above|below)"
)
_TIME_UNIT = r"(?:(?:working|calendar|business|consecutive|clear|full|school|trading) )?(?:milliseconds?|seconds?|minutes?|hours?|days?|nights?|weeks?|months?|years?|min|h|sec|s)\b"
_TIME = rf"(?:(?:a )?(?:further|total of) )?{_NUM}(?:(?: to | or |-){_NUM})?[ -]{_TIME_UNIT}"
_SUFFIX = r"(?: or (?:more|less|fewer|longer|shorter|above|below|over|under|higher|lower|older|younger|better)| at (?:most|least))?"
_CLOCK = r"(?:\d{1,2}[:.]\d{2}(?: ?[ap]\.?m\.?)?|\d{1,2} ?[ap]\.?m\.?|noon|midnight)"
_MONTH = r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_DAY = r"(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_DATE = rf"(?:\d{{1,2}}(?:st|nd|rd|th)? {_MONTH}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?)(?:,? \d{{4}})?"

_DEADLINE = re.compile(rf"\b(?:(?:but )?in any case )?within (?:{_CMP} )?(?P<t>{_TIME})")
_OFFSET = re.compile(rf"(?<!\w)(?P<t>(?:{_CMP} )?{_TIME}) (?P<side>before|after|ahead of|following|prior to) (?P<e>\S.*)")
_DURATION = re.compile(rf"\bfor (?P<t>(?:{_CMP} )?(?:the (?:first|next|last) )?{_TIME}{_SUFFIX})")
_ELAPSE = re.compile(rf"\bafter (?P<t>(?:{_CMP} )?{_TIME})(?! (?:of|without|in|on|with|inside|from)\b)")
_LASTING = re.compile(rf"^(?P<t>(?:{_CMP} )?{_TIME}{_SUFFIX})")
_FREQUENCY = re.compile(
    rf"\b(?P<t>(?:at least |not less than |no less than |normally )?(?:(?:once|twice|three times|four times|{_NUM} times) (?:in )?(?:a|an|each|every|per) (?:{_NUM} )?(?:{_TIME_UNIT}|shift|quarter|term|season|winter|summer)|"
    rf"every (?:{_NUM} |second |other )?(?:{_TIME_UNIT}|quarter|{_DAY})|each (?:minute|hour|day|week|month|quarter|year|night|morning|evening|shift|{_DAY})|"
    rf"hourly|daily|weekly|monthly|quarterly|yearly|annually|nightly)(?: (?:in|each) {_MONTH})?)(?=[,;.)]|\s|$)"
)
_MOMENT = re.compile(
    rf"\b(?P<p>at|by|before|after|until|between|on|from) (?P<t>(?:the )?(?:{_CLOCK}(?:(?:,| and| to| or) {_CLOCK})*|{_DATE}|(?:first|second|third|last) (?:working day|day|{_DAY})(?: of (?:the|each|every) \w+)?))"
)
_UNIT = r"(?:%|°[CF]?|[A-Za-zµμ°£€$][\w/³²µμ°]*(?:/[\w³²]+)*)"
_MEASURE = re.compile(
    rf"\b(?P<p>at|to|by|above|below|over|under|within|from) (?P<t>(?:{_CMP} )?-?{_NUM}(?:(?: to | and ){_NUM})? ?(?P<u>percent|{_UNIT}){_SUFFIX})(?=[,;.)]| |$)"
)
_REFERENCE = re.compile(
    r"\b(?P<p>on|in|with|by|under|via|using|through|at|from|against) (?P<t>(?:the |a )?(?:(?P<a>\w+) )?(?P<n>forms?|labels?|channels?|extensions?|procedures?|leaflets?|checklists?|tables?|certificates?|registers?|templates?|codes?|numbers?|telephone|line|room|bay|corridor|zone|manual|notice|log|chart|ledger) "
    r"(?P<c>(?:[A-Z]{1,5}[-/ ]?)?\d[\w/-]*(?: \d{3,})?|[A-Z]{1,6}[-/][\w/-]+|[A-Z]\b))(?=[,;.)]| |$)"
)
_PLACE_VERBS = frozenset(
    "kept stored placed held located filed displayed posted written recorded entered hung parked fixed mounted painted stencilled printed "
    "deposited noted laid installed situated shown stamped logged listed marked registered disposed discarded collected delivered sent".split()
)
_PLACE = re.compile(r"^(?P<v>(?:be )?(?:\w+ly )?(?P<w>\w+)(?: [a-z]+ly| upright| back)?) (?P<t>(?:in|on|at|outside|inside|under|behind|beside|near|next to) (?:the|a|an|each|both|every|its|their) [^,;()]+)$")
_BOUNDARY = re.compile(
    r",|;| \(| and (?=(?:within|every|for|at|by|in|on|then|not|never|must|is|are|may|shall|from|after|before|no|again)\b)| but | or (?=(?:within|at|by|after|before|in|for|every|if|when|\d)\b)| unless | if | when | except | with | by | using | whichever | whatever | so that "
)
_MORE = re.compile(r"^,? ?(?:or|unless|except|but|whichever|plus|\(|and (?:after|before|at|on|when|whenever|during|in|again|every|with|then|each|within|for)\b).*")
_HAZY = re.compile(r"\b(?:above|below|following|overleaf|preceding|as follows|listed here|hereafter|thereafter|aforesaid)\b", re.IGNORECASE)
_PERSONAL = re.compile(r"\b(?:I|we|We|our|Our|us|you|You|your|Your|my|My)\b|https?:|www\.|[`{}<>\\|@]|\w\(\)|::")


# --- words and subjects -----------------------------------------------------------------------------------------------


def _content(text: str) -> list[str]:
    """Words that carry meaning."""
    skip = DETERMINERS | PREPOSITIONS | PRONOUNS | MODALS | BE | RELATIVES | {"and", "or", "be", "been", "to", "has", "have", "does", "do", "not", "never"}
    return [low for low in (bare(word) for word in text.split()) if low and low not in skip]


def _pointing(text: str) -> bool:
    """Whether *text* leans on a sentence before it: "it", "this limit", "such records"."""
    words = text.split()
    for at, word in enumerate(words):
        low = bare(word)
        if low in PRONOUNS:
            before = _content(" ".join(words[:at]))
            if len(before) < 2 or at < 3:
                return True
            if low in {"it", "them", "him"} and len(before) < 6 and not any(bare(other) in SUBORDINATORS | RELATIVES | {"before", "after", "so"} for other in words[:at]):
                return True
        if low in {"these", "those", "such"} and not (low == "such" and at + 1 < len(words) and bare(words[at + 1]) == "as"):
            return True
        if low == "this" or (low in {"former", "latter"}):
            return True
        if low == "that" and at and bare(words[at - 1]) in PREPOSITIONS | {"and", "or"} | VERBS and at + 1 < len(words) and not is_participle(bare(words[at + 1])):
            nxt = bare(words[at + 1])
            if nxt not in DETERMINERS | {"is", "are"} and bare(words[at - 1]) in PREPOSITIONS | {"and", "or"}:
                return True
        if low in {"other", "others", "same"} and at and bare(words[at - 1]) in {"the", "all", "both"}:
            return True
    return bool(_HAZY.search(text)) or (bool(words) and bare(words[-1]) in {"that", "those", "others", "one", "ones"})


def _generic(subject: str) -> bool:
    """Whether a subject says too little by itself: "the trial", "samples"."""
    words = _content(subject)
    return len(words) < 2


def _agent(subject: str) -> bool:
    """Whether the subject is a person or body."""
    words = subject.split()
    head = ""
    for at, word in enumerate(words):
        low = bare(word)
        if at and (low in PREPOSITIONS | RELATIVES or (is_participle(low) and not word[0].isupper()) or low in {"leaving", "arriving", "without"}):
            break
        if low not in {"and", "or"}:
            head = low
        if word.endswith(","):
            break
    return head in ROLES or head.removesuffix("s") in ROLES or (head.endswith("men") and len(head) > 4) or head.endswith("sman")


def _fits(question_part: str, short: str) -> bool:
    """Whether the question neither leans on other sentences nor gives its own answer away."""
    return not _pointing(question_part) and not _contains(question_part, short)


def _contains(text: str, short: str) -> bool:
    return f" {short.lower()} " in f" {text.lower()} "


def _unit_word(time: str) -> str:
    words = time.split()
    for at, word in enumerate(words):
        if re.fullmatch(_TIME_UNIT, word.strip(",.")):
            unit = word.strip(",.")
            if at and words[at - 1] in {"working", "calendar", "business", "consecutive", "clear"}:
                return f"{words[at - 1]} {_plural(unit)}"
            return _plural(unit)
    return "units of time"


def _plural(unit: str) -> str:
    return {"min": "minutes", "h": "hours", "sec": "seconds", "s": "seconds"}.get(unit, unit if unit.endswith("s") else unit + "s")


def _statement(text: str) -> str:
    return upper_first(text.strip().rstrip(".,;:")) + "."


# --- facts of a clause ------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Scene:
    """A unit under reading: what every fact found in it has in common."""

    unit: Unit
    places: tuple[tuple[int, int], ...]
    section: str
    proper: frozenset[str]
    answer: str

    def fact(self, kind: str, short: str, *, anchored: bool = False, answer: str = "", **slots: str) -> Fact:
        return Fact(
            kind=kind, slots=slots, short=short.strip(" ,;"), answer=answer or self.answer, places=self.places,
            section=self.section, anchored=anchored,
        )


_ADDED = frozenset("if when whenever while before after once as where until during".split())


def _clause_facts(clause: Clause, scene: _Scene) -> Iterator[Fact]:
    if clause.auxiliary in {"was", "were", "had", "would", "could", "might", "will"} or clause.rest.count('"') % 2:
        return
    if clause.subject.split()[:1] in (["nobody"], ["Nobody"], ["nothing"]):
        return
    tail = clause.tail
    opener = bare(tail.split()[0]) if tail else ""
    added = f" {tail}" if opener in _ADDED and not _pointing(_unbound(clause, tail)) else ""
    lead = f"{clause.front}, " if clause.front else ""
    anchored = clause.form == "imperative" and len(_content(clause.rest)) < 3 or (clause.form != "imperative" and _generic(clause.subject))
    def ask(rest: str, *, bare: bool = False) -> dict[str, str]:
        """The clause with *rest* as question and statement; *bare*: without its subordinate clause."""
        end = "" if bare else added
        inverted = clause.inverted(rest) + end
        return {"inv": inverted + (f" {clause.front}" if lead and not end else ""), "stmt": lead + clause.statement(rest) + end}

    closed = not tail or bool(added)
    more = "" if closed else f" {tail}"
    if clause.form != "imperative" and _pointing(clause.subject):
        return
    yield from _time_facts(clause, scene, ask, more, anchored=anchored)
    yield from _tail_facts(clause, scene, lead, anchored=anchored)
    yield from _copula_facts(clause, scene, more, anchored=anchored)
    yield from _role_facts(clause, scene, lead, added, more, anchored=anchored)


def _unbound(clause: Clause, tail: str) -> str:
    """*tail* as a reader of the question sees it: pronouns may stand for the clause's subject or object."""
    return f"{clause.subject or 'the thing meant'} {clause.rest} {tail}"


def _cut_rest(rest: str, start: int, earlier: int) -> str | None:
    """The predicate before a slot; None where it hangs in a list with an earlier one."""
    before = rest[:start].rstrip(" ,")
    match = re.search(r",? (?:and|or|but|then)$", before)
    if match:
        if earlier < 0:
            return None
        return before[:earlier].rstrip(" ,")
    return before


def _event(text: str) -> tuple[str, str]:
    """(event, remainder) of what follows "within 2 hours of": it ends at a boundary."""
    match = _BOUNDARY.search(text)
    return (text[: match.start()], text[match.start() :]) if match else (text, "")


def _after_slot(post: str) -> tuple[str, str] | None:
    """(part that stays in the question, part that belongs to the answer) of what follows a slot; None where unsafe."""
    post = post.rstrip(" .")
    if not post:
        return "", ""
    if _MORE.match(post):
        return "", post
    if post.startswith((",", ";", " and ", " but ")):
        return ("", "") if re.match(r"^,? (?:and|but) ", post) or post.startswith(";") else None
    words = post.split()
    if bare(words[0]) not in PREPOSITIONS | {"to"}:
        return None
    stop = _BOUNDARY.search(post, 1)
    kept, left = (post[: stop.start()], post[stop.start() :]) if stop else (post, "")
    if stop and _MORE.match(left):
        return (kept, left) if len(kept.split()) <= 9 else None
    if left.startswith(","):
        return "", ""
    if len(kept.split()) > 10 or " and " in kept or " or " in kept:
        return ("", "") if bare(words[0]) in {"with", "by"} else ((kept, "") if len(kept.split()) <= 12 else None)
    return kept, ""


def _time_facts(clause: Clause, scene: _Scene, ask, more: str, *, anchored: bool) -> Iterator[Fact]:
    rest = clause.rest
    earlier = -1
    taken: list[tuple[int, int]] = []
    for kind, pattern in (
        ("deadline", _DEADLINE), ("offset", _OFFSET), ("duration", _DURATION), ("elapse", _ELAPSE), ("frequency", _FREQUENCY),
        ("moment", _MOMENT), ("reference", _REFERENCE), ("measure", _MEASURE),
    ):
        earlier = -1
        for match in pattern.finditer(rest):
            start, end = match.start(), match.end("t")
            if any(start < other_end and other_start < end for other_start, other_end in taken):
                continue
            before = _cut_rest(rest, start, earlier)
            if before is None or re.search(r"\b(?:not|than|of|and|or|the|a|an|within|from|for|only|with|in|at|by|to)$", before) or ";" in before:
                continue
            if re.search(r"\bonly$", before) or before.count("(") != before.count(")"):
                continue
            if re.search(r"\b(?:that|which|who|whose|where)\b", before) or ("," in before and re.search(r"\d", before)):
                continue
            if kind in {"frequency", "duration"} and re.search(r"\bwith (?:a |an |the )?[\w -]+$", before):
                continue
            if 0 <= earlier < len(before) and pattern.search(before):
                continue
            fact = _slot_fact(kind, match, before, rest, clause, scene, ask, more, anchored=anchored)
            if fact is not None:
                taken.append((start, end))
                if earlier < 0:
                    earlier = start
                yield fact
    yield from _quantity_facts(clause, scene, ask, more, anchored=anchored)


def _slot_fact(kind, match, before: str, rest: str, clause: Clause, scene: _Scene, ask, more: str, *, anchored: bool) -> Fact | None:
    value, post = match.group("t"), rest[match.end("t") :]
    empty = not before and clause.form in ("aux", "imperative")
    if empty and not (clause.form == "imperative" and clause.verb in {"start", "stop", "begin", "wait", "leave", "extubate", "return", "finish"}):
        return None
    if before == "be":
        return None
    slots: dict[str, str] = {}
    short = match.group(0)[: match.end("t") - match.start()]
    if kind == "deadline":
        slots = {"unit": _unit_word(value), "of": "", "after": "", "front_after": ""}
        side = re.match(r" (of|after|from|following|before) (.+)", post)
        if side:
            event, post = _event(side.group(2))
            word = side.group(1)
            if len(event.split()) > 14 or _pointing("the thing named here " + event) or not event:
                return None
            slots["of"] = f" {word} {event}"
            slots["after"] = f" {'after' if word in {'of', 'from', 'following'} else word} {event}"
            slots["front_after"] = slots["after"].strip() + ", "
    elif kind == "offset":
        event, post = _event(match.group("e"))
        if len(event.split()) > 14 or not event or _pointing("the thing named here " + event):
            return None
        slots = {"unit": _unit_word(value), "side": match.group("side"), "event": event}
        short = f"{value} {match.group('side')} {event}"
        kept = _after_slot(post)
        if kept is None:
            return None
        return _finish(
            kind, slots, value + kept[1] + more, before + kept[0], scene, ask, anchored=anchored and not event,
            tail=clause.tail if kept[1] else "",
        )
    elif kind in {"duration", "elapse"}:
        slots = {"unit": _unit_word(value)}
        if kind == "duration" and re.match(r" (?:of|in which|from|each|per|that|who)\b", post):
            return None
        short = value if kind == "duration" else match.group(0)
    elif kind == "moment":
        prep = match.group("p")
        wh = {"at": "at what time", "by": "by when", "before": "before when", "after": "after when", "until": "until when", "between": "between what times", "on": "on what day", "from": "from when"}[prep]
        slots = {"wh": wh}
        short = match.group(0)
    elif kind == "reference":
        noun = match.group("n")
        if match.group("a") and match.group("a").lower() in PREPOSITIONS | DETERMINERS:
            return None
        slots = {"prep": match.group("p"), "noun": noun if noun != "telephone" else "telephone number"}
        short = re.sub(r"^(?:the|a) ", "", value)
    elif kind == "measure":
        unit, prep = match.group("u"), match.group("p")
        quantity = QUANTITY_OF.get(unit)
        if quantity is None or re.fullmatch(_TIME_UNIT, unit):
            return None
        last = bare(before.split()[-1]) if before else clause.verb
        if prep not in {"at", "to", "by"} and not (is_participle(last) or last in VERBS):
            return None
        slots = {"prep": prep, "quantity": quantity, "of": ""}
        if prep == "within" and (side := re.match(r" of (.+)", post)):
            event, post = _event(side.group(1))
            slots["of"] = f" of {event}"
        short = value
    if kind == "measure" and (whole := re.match(r" of (?:the |its |their )?[\w -]+?(?= (?:for|at|by|in|on|when|to|from|within|with|before|after|during)\b|[,;]|$)", post)):
        short, post = short + whole.group(), post[whole.end() :]
    kept = _after_slot(post)
    if kept is None:
        return None
    return _finish(kind, slots, short + kept[1] + more, before + kept[0], scene, ask, anchored=anchored, tail=clause.tail if kept[1] else "")


def _finish(kind: str, slots: dict[str, str], short: str, rest: str, scene: _Scene, ask, *, anchored: bool, tail: str = "") -> Fact | None:
    """The fact of a slot. A tail behind an alternative ("or 6 hours if ...") belongs to the answer, not to the question."""
    slots = {**slots, **ask(rest, bare=bool(tail))}
    if tail and not short.endswith(tail):
        short = f"{short} {tail}"
    body = " ".join([slots["stmt"], *(slots.get(name, "") for name in ("of", "event"))])
    if not _fits(body, short) or len(short) > 160:
        return None
    return scene.fact(kind, short, anchored=anchored or len(_content(body)) < 3, **slots)


def _quantity_facts(clause: Clause, scene: _Scene, ask, more: str, *, anchored: bool) -> Iterator[Fact]:
    rest = clause.rest
    if clause.form == "present" and not clause.negation:
        match = _LASTING.match(rest)
        if match and clause.verb in {"last", "run", "wait", "stand", "stay", "continue", "remain"}:
            kept = _after_slot(rest[match.end() :])
            if kept is not None:
                fact = _finish("lasting", {"unit": _unit_word(match.group("t"))}, match.group("t") + kept[1] + more, kept[0].strip(), scene, ask, anchored=anchored)
                if fact:
                    yield fact
            return
    limit = re.match(rf"^(?:exceed )?(?P<t>{_NUM}.*)$", rest) if clause.negation else None
    if limit and (clause.verb == "exceed" or rest.startswith("exceed ")) and clause.subject:
        value, post = _amount(limit.group("t"))
        if value and not _pointing(clause.subject + post):
            yield scene.fact("limit", value + more, anchored=anchored, subject=clause.subject, post=post)
    counted = re.match(rf"^(?P<c>(?:{_CMP} )?)(?P<t>{_NUM}) (?P<n>[a-z(][^,;:]*)$", rest)
    if counted and (clause.form in ("present", "imperative") or clause.auxiliary in MODALS) and not clause.negation and clause.verb not in {"exceed", "mean", "wait"}:
        noun = counted.group("n")
        head = noun.split()[0]
        if head in {"or", "to", "and", "in", "of", "x", "by", "per"} or is_participle(head) and len(noun.split()) == 1 or " and " in noun or " or " in noun:
            return
        stop = re.search(r" (?:to|at|in|on|for|with|within|before|after|every|from|by|per|under|over|through|during|into) ", noun)
        kept, left = (noun[: stop.start()], noun[stop.start() :]) if stop else (noun, "")
        if len(kept.split()) <= 7 and not re.search(r"\d", kept):
            number = counted.group("c") + counted.group("t")
            slots = {"counted": kept, **ask("")}
            slots["inv"] = clause.inverted(left.strip()) if not more else slots["inv"]
            slots["stmt"] = clause.statement("")
            if _fits(slots["stmt"] + " " + noun, number) and (kept.endswith("s") or " of " in kept):
                yield scene.fact("count", f"{number} {kept}" + more, anchored=anchored, **slots)


def _amount(text: str) -> tuple[str, str]:
    """(amount with its unit, what follows it) at the start of *text*."""
    match = re.match(rf"^(?P<t>{_NUM}(?:(?: to | and ){_NUM})?(?: (?:{_TIME_UNIT}|{_UNIT}))?{_SUFFIX})(?P<p>(?: [a-z(].*)?)$", text)
    if not match:
        return "", ""
    post = match.group("p")
    if "," in post or ";" in post or "(" in post:
        return "", ""
    return match.group("t"), post


def _tail_facts(clause: Clause, scene: _Scene, lead: str, *, anchored: bool) -> Iterator[Fact]:
    tail, rest = clause.tail, clause.rest
    words = tail.split()
    if not words or "," in rest or re.search(rf" or {_NUM}", rest):
        return  # behind a list, the tail may belong to its last member alone
    opener = bare(words[0])
    if opener == "only" and len(words) > 1:
        opener = bare(words[1])
    statement, inverted = lead + clause.statement(), clause.inverted() + (f" {clause.front}" if lead else "")
    if not rest and clause.form == "imperative":
        statement, inverted = f"you should {clause.verb}", f"should you {clause.verb}"
    if _pointing(statement) or ";" in statement or _dangling(tail):
        return
    anchored = anchored or len(_content(statement)) < 3
    only = bare(words[0]) == "only"
    slots = {"inv": inverted, "stmt": statement}
    if opener in {"if", "when", "whenever"} and not re.search(r", (?:except|unless)", tail):
        yield scene.fact("when", tail, anchored=anchored, **slots)
        condition = " ".join(words[1:])
        if not only and clause.form == "imperative" and not clause.negation and not _pointing(condition) and len(_content(condition)) >= 2 and "," not in condition:
            order = f"{clause.verb} {rest}".strip()
            yield scene.fact("condition-order", order, anchored=len(_content(condition)) < 3, condition=f"{opener} {condition}")
    elif opener in {"before", "after", "once", "as", "while", "whilst"}:
        yield scene.fact("timing", tail, anchored=anchored, **slots)
    elif opener == "until":
        yield scene.fact("until", tail, anchored=anchored, **slots)
    elif opener in {"unless", "except"}:
        yield scene.fact("exception", tail, anchored=anchored, **slots)
    elif opener in {"so", "because", "since"} and clause.form != "imperative":
        yield scene.fact("why", tail, anchored=anchored, **slots)


def _dangling(text: str) -> bool:
    """Whether a subordinate clause holds more than itself: another main clause behind a comma."""
    return bool(re.search(r";|: |, (?:and|but) (?:the|a|an|no|it|they)\b", text))


def _copula_facts(clause: Clause, scene: _Scene, more: str, *, anchored: bool) -> Iterator[Fact]:
    rest = clause.rest
    subject = f"{clause.subject} {clause.front}".strip()
    if clause.form != "aux" or clause.negation or not subject:
        return
    size = re.match(rf"^(?P<t>(?:{_CMP} )?{_NUM}(?: to {_NUM})? [\w°%]+) (?P<a>apart|wide|high|long|deep|thick|tall|old|away)\b(?P<p>[^,;]*)$", rest)
    if size and not more and clause.auxiliary in BE:
        adjective = {"apart": "far apart", "away": "far away"}.get(size.group("a"), size.group("a"))
        yield scene.fact("size", f"{size.group('t')} {size.group('a')}{size.group('p')}", anchored=anchored, subject=subject, be=clause.auxiliary, adjective=adjective)
        return
    if clause.auxiliary in {"is", "are"} and not clause.passive:
        number = re.match(rf"^(?:{_CMP} )?(?:-?{_NUM}|\d+:\d+)\b", rest)
        if number and not re.match(r"^(?:a|an|one|no|some|many|\d+)\b", subject) and not re.search(r"; |: ", rest):
            be = clause.auxiliary
            yield scene.fact("value", rest + more, anchored=anchored, subject=subject, be=be)
        elif re.match(r"^the ", rest) and not re.search(r"[;:,]", rest) and not more and not _pointing(rest) and subject.split()[0].lower() not in {"one", "the"}:
            yield scene.fact("value", upper_first(subject), anchored=len(_content(rest)) < 3, subject=rest, be="is")
    elif clause.auxiliary in {"must", "should", "shall"} and (match := re.match(rf"^be (?P<t>(?:{_CMP} )?{_NUM}.*)$", rest)):
        yield scene.fact("required-value", match.group("t") + more, anchored=anchored, subject=subject, post="")


_LIGHT = frozenset("mean apply put take get make do set go come keep last stand wait stay fall".split())
"""Verbs that ask nothing by themselves: "What does the outer ship put?" """
_STATIVE = frozenset(
    "used kept required needed allowed permitted forbidden prohibited made given held called known found based located covered meant defined described listed reserved limited "
    "placed invented".split()
)
"""Participles that say how something is, not what happens to it."""


def _role_facts(clause: Clause, scene: _Scene, lead: str, added: str, more: str, *, anchored: bool) -> Iterator[Fact]:
    """Who does it, to whom it is done, what has to be done, what is used."""
    rest, subject = clause.rest, clause.subject
    if re.search(r"[;:]", rest) or subject.startswith(('"', "“")):
        return
    whole = rest + (f" {clause.tail}" if clause.tail else "")
    front = f" {clause.front}" if clause.front else ""
    if clause.form == "imperative":
        return
    by = re.search(r" (?:only )?by (?P<t>(?:the|a|an|each|both|two|any) [^,;()]+)$", f" {rest}")
    if clause.passive and by and _agent(by.group("t")) and not more and not re.search(r" (?:and|or) ", by.group("t")):
        before = rest[: max(by.start() - 1, 0)].rstrip()
        statement = lead + clause.statement(before) + added
        if len(_content(statement)) >= 2 and not _pointing(statement):
            yield scene.fact("by-whom", by.group("t"), anchored=anchored, inv=clause.inverted(before) + added, stmt=statement)
    place = _PLACE.match(rest)
    if clause.passive and place and place.group("w") in _PLACE_VERBS and not more and not re.search(r"\d| (?:case|time|day|order|writing|use)\b", place.group("t")):
        before = place.group("v")
        statement = lead + clause.statement(before) + added
        if not _pointing(statement):
            yield scene.fact("place", place.group("t"), anchored=anchored, inv=clause.inverted(before) + added, stmt=statement)
    negated = subject.split()[0].lower() in {"no", "neither", "nobody", "only"}
    if negated:
        return
    predicate = clause.predicate(whole)
    if clause.plural and clause.form == "present" and clause.verb not in VERBS | {"have"}:
        return
    if _agent(subject):
        if not _pointing(f"the person asked for {predicate}") and len(_content(predicate)) >= 3 and not re.search(r"\b(?:their|his|her|its|they|it)\b", predicate):
            yield scene.fact("who", upper_first(subject), anchored=len(_content(predicate)) < 4, predicate=predicate + front)
        if clause.auxiliary in {"must", "shall", "may", "should", "can"} and not clause.passive and not rest.startswith("be "):
            yield scene.fact("duty", whole, anchored=anchored, subject=subject + front, modal=clause.auxiliary, negation=f"{clause.negation} " if clause.negation else "")
    elif len(_content(predicate)) >= 5 and clause.passive and not (subject.startswith("the ") and _generic(subject)) and not _pointing(f"the thing asked for {predicate}") and not re.search(r"\b(?:their|his|her|its|they|it|them)\b", predicate):
        yield scene.fact("subject", upper_first(subject), predicate=predicate + front)
    if clause.form == "present" and not clause.negation and rest and clause.verb not in _LIGHT and not re.match(rf"{_NUM}\b", rest):
        first = bare(rest.split()[0])
        noun_phrase = (first not in PREPOSITIONS | {"to", "that", "back", "as", "up", "down", "out", "away", "when", "normally", "how"} and not first.endswith("ly"))
        if noun_phrase and len(whole) <= 170 and not _pointing(f"{subject} the thing {whole}"):
            statement = clause.statement("")
            yield scene.fact("object", whole, anchored=anchored, inv=clause.inverted("") + front, stmt=statement + front)
    numbered = re.match(rf"(?:{_NUM})\b", subject)
    if clause.passive and len(_content(subject)) >= 3 and 2 <= len(_content(whole)) and len(whole) <= 170 and not numbered and not front and bare(whole.removeprefix("be ").split()[0]) not in _STATIVE:
        if clause.auxiliary in BE and not clause.negation:
            yield scene.fact("treatment", whole, anchored=False, subject=subject)
        elif clause.auxiliary in {"must", "shall", "should", "may"} and not clause.negation and rest.startswith("be "):
            short = whole.removeprefix("be ")
            yield scene.fact("treatment-modal", short, anchored=False, subject=subject, modal=clause.auxiliary)
    yield from _permission(clause, scene, lead, added, more, anchored=anchored)


def _permission(clause: Clause, scene: _Scene, lead: str, added: str, more: str, *, anchored: bool) -> Iterator[Fact]:
    """Yes or no, where a rule allows or forbids without exception."""
    if more or re.search(r"\b(?:only|except|unless|without|but|nor|not)\b", clause.rest):
        return
    forbids = bool(clause.negation) and (clause.auxiliary in {"may", "must", "shall", "can", "is", "are"})
    allows = not clause.negation and clause.auxiliary == "may"
    if not forbids and not allows:
        return
    positive = attrs.evolve(clause, negation="")
    if forbids and clause.auxiliary in {"must", "shall"}:
        positive = attrs.evolve(positive, auxiliary="may")
    if forbids and clause.auxiliary in BE:
        if not clause.passive:
            return
        positive = attrs.evolve(positive, auxiliary="may", rest=f"be {clause.rest}")
    statement = lead + positive.statement() + added
    if _pointing(statement):
        return
    short = "No" if forbids else "Yes"
    answer = f"{short}. {scene.answer}"
    yield scene.fact("permission", short, anchored=anchored, answer=answer, yes_no=positive.inverted() + added + (f" {clause.front}" if lead and not added else ""), stmt_positive=statement)


# --- facts of a unit --------------------------------------------------------------------------------------------------

_QUOTED = re.compile(r"^[\"“](?P<term>[^\"”]{1,60})[\"”](?P<abbr> \([^)]{1,12}\))?,?(?P<mid>(?:, |,? in )[^,]{1,40},)? (?:means?|is|are|refers? to|denotes?|stands? for|includes?|excludes?) (?P<meaning>.+)$")
_MEANS = re.compile(r"^(?:(?:A|An|The) )?(?P<term>[A-Za-z][\w /-]{1,40}?) (?:means|is defined as|refers to) (?P<meaning>(?!that\b)[a-z].+)$")
_GLOSSARY = re.compile(r"^(?P<term>[A-Z][\w/&-]*[A-Z\d][\w/&-]*(?: [a-z]+)?)(?:,| -| –| —|:) (?P<meaning>[A-Za-z][^;:]{3,120})$")
_ABBREVIATED = re.compile(r"\((?P<abbr>[A-Z][A-Za-z\d/]{1,7})(?:[,;][^)]*)?\)")
_LABEL = re.compile(r"^(?P<label>[A-Z\d][^:;.?!]{1,70}): (?P<value>\S.*)$")
_NOTES = frozenset("note notes warning caution example examples important tip tips see nb remark remarks exceptions exception source figure reference".split())


def unit_facts(unit: Unit, proper: frozenset[str]) -> list[Fact]:
    """What a sentence or bullet states."""
    text = unit.text
    if not unit.whole or _PERSONAL.search(text) or not 3 <= len(text.split()) <= 80:
        return []
    places: tuple[tuple[int, int], ...] = ((unit.start, unit.end),)
    body = text.rstrip(" .;,")
    if text.endswith((":", "?", "!")):
        return []
    if unit.lead is not None and unit.bullet:
        composed = _compose(unit, body, proper)
        if composed is None:
            return []
        if composed:
            body = composed
            if unit.lead.start >= 0:
                places = ((unit.lead.start, unit.lead.end), *places)
    elif not unit.bullet and not text.endswith((".", ";", '."', ".”", ".)")):
        return []
    scene = _Scene(unit=unit, places=places, section=unit.section, proper=proper, answer=_statement(body))
    found = list(_abbreviations(text, scene))
    defined = list(_definitions(body, scene))
    if defined:
        return defined + found
    label = _LABEL.match(body)
    if label and (facts := _labelled(label.group("label"), label.group("value"), scene)) is not None:
        inner = attrs.evolve(scene, section=label.group("label"))
        value = upper_first(label.group("value"))
        return facts + [attrs.evolve(fact, anchored=True) for fact in _sentence_facts(value, inner)] + found
    found = list(_sentence_facts(body, scene)) + found
    return found


def _compose(unit: Unit, body: str, proper: frozenset[str]) -> str | None:
    """The bullet read after its lead-in; "" where it may be read alone; None where neither is safe."""
    assert unit.lead is not None
    lead = unit.lead.text.rstrip(": ")
    last = bare(lead.split()[-1]) if lead else ""
    first = lower_first(body, proper)
    if last in MODALS | {"not", "to", "never", "includes", "include", "requires", "require", "contains", "states", "means"} or lead.lower() in {"do not", "never", "always", "do"}:
        return f"{lead} {first}"
    if re.search(r"\b(?:not|never|no|nor|without|unless|if|except|only|when|forbidden|prohibited|any|either|one)\b", lead.lower()) or "following" in lead.lower() and not body[0].isupper():
        return None
    sentence = body[0].isupper() and unit.text.endswith(".")
    return "" if sentence else None


def _sentence_facts(body: str, scene: _Scene) -> Iterator[Fact]:
    condition = split_condition(body)
    if condition is not None:
        yield from _conditional(condition, scene)
        return
    for number, part in enumerate(re.split(r"; ", body)):
        text = part if number == 0 else upper_first(part)
        if re.search(r": ", text):
            continue
        clause = parse(text, scene.proper, imperative=number == 0)
        if clause is None:
            continue
        parts = conjuncts(clause)
        answer = scene if number == 0 and "; " not in body else attrs.evolve(scene, answer=_statement(part))
        for piece in parts:
            yield from _clause_facts(piece, answer)


def _conditional(condition: tuple[str, str, str], scene: _Scene) -> Iterator[Fact]:
    opener, premise, consequence = condition
    if opener == "unless" or len(_content(premise)) < 2 or _pointing(premise) or len(consequence) > 200:
        return
    if opener == "where" and not re.search(r"\b(?:is|are|has|have)\b|s\b", premise):
        return
    first = bare(consequence.split()[0])
    order = first in VERBS and not re.search(rf"^{first} (?:is|are|must|may|shall|has)\b", consequence) or consequence.startswith(("do not ", "never "))
    slot = f"{opener} {lower_first(premise, scene.proper)}"
    kind = "condition-order" if order else "condition"
    yield scene.fact(kind, consequence, anchored=len(_content(premise)) < 3, condition=slot)


def _definitions(body: str, scene: _Scene) -> Iterator[Fact]:
    quoted = [match for match in (_QUOTED.match(part) for part in re.split(r"; (?=[\"“])", body)) if match]
    for match in quoted:
        term, meaning = match.group("term"), match.group("meaning")
        if re.search(r"[\"”],? (?:includes?|excludes?) ", match.group()):
            continue
        answer = _statement(match.group())
        yield scene.fact("definition", meaning, term=term, answer=answer)
        if len(meaning.split()) <= 24 and not _contains(meaning, term) and not _pointing("the thing " + meaning):
            yield scene.fact("term", term, meaning=meaning, answer=answer)
    if quoted:
        return
    match = _GLOSSARY.match(body)
    if match and not re.search(r"\b(?:is|are|must|may|shall|and)\b", match.group("meaning")) and (
        sum(letter.isupper() for letter in match.group("term")) >= 2
    ) and _initials(match.group("term"), match.group("meaning")):
        yield scene.fact("abbreviation", match.group("meaning"), term=match.group("term"))
        return
    match = _MEANS.match(body)
    if match and not re.search(r"\b(?:that|which|who|this|it)\b", match.group("term")):
        yield scene.fact("definition", match.group("meaning"), term=match.group("term"), anchored=False)


def _initials(term: str, meaning: str) -> bool:
    """Whether the abbreviation's first letter begins the words that it may stand for."""
    return meaning[:1].lower() == term[:1].lower()


def _abbreviations(text: str, scene: _Scene) -> Iterator[Fact]:
    """"Harbour Duty Officer (HDO)": the words before a bracket that its letters abbreviate."""
    for match in _ABBREVIATED.finditer(text):
        abbreviation = match.group("abbr")
        letters = [letter.lower() for letter in abbreviation if letter.isupper()]
        if len(letters) < 2 or len(letters) != sum(letter.isalpha() for letter in abbreviation):
            continue
        words = re.findall(r"[\w’'-]+", text[: match.start()])
        full = _spelt_out(words, letters)
        if not full:
            continue
        start = text.rfind(full[0], 0, match.start())
        phrase = text[start : match.start()].strip()
        if phrase.split()[0] != full[0] or any(mark in phrase for mark in '.,;:()"'):
            continue
        place = _locate(scene, phrase)
        fact = scene.fact("abbreviation", phrase, term=abbreviation, answer=f"{abbreviation} stands for {phrase}.")
        yield attrs.evolve(fact, places=(place,)) if place else fact


def _locate(scene: _Scene, phrase: str) -> tuple[int, int] | None:
    del phrase
    return scene.places[-1]


def _spelt_out(words: list[str], letters: list[str]) -> list[str]:
    """The last words whose initials are *letters*, small words passed over."""
    at, taken = len(words), 0
    for letter in reversed(letters):
        at -= 1
        if at >= 0 and words[at][0].lower() != letter and words[at].lower() in {"of", "and", "the", "for", "in", "to"}:
            at -= 1
        if at < 0:
            return []
        parts = words[at].split("-")
        if parts[-1] and parts[-1][0].lower() == letter and len(parts) > 1 and parts[0][0].lower() != letter:
            return []
        if words[at][0].lower() != letter:
            return []
        taken += 1
    return words[at:]


_VALUE_HEADS = frozenset(
    "target limit rate volume pressure size ratio time mode dose depth level range temperature length width height weight number value speed maximum minimum price fee rent deposit term period "
    "notice duration frequency capacity voltage age distance interval stock goal charge amount cost date deadline concentration flow setting colour color code frequency address".split()
)


def _labelled(label: str, value: str, scene: _Scene) -> list[Fact] | None:
    """Facts of "Label: value"; None where it is not one."""
    words = label.split()
    if len(words) > 9 or bare(words[0]) in _NOTES or any(bare(word) in MODALS | BE | {"has", "have", "does"} for word in words):
        return None
    if bare(words[0]) in PRONOUNS | POINTERS | SUBORDINATORS or _pointing(label) or label.count("(") != label.count(")"):
        return None
    if bare(words[0]) in VERBS and len(words) > 1 and bare(words[1]) in DETERMINERS | PREPOSITIONS:
        return None
    if not title(scene.section) or len(value) > 260:
        return None
    section_words = set(_content(label))
    printed = lower_first(label, scene.proper)
    short = value.rstrip(" .;,")
    found: list[Fact] = []
    named = attrs.evolve(scene, section=scene.section)
    head = bare(re.sub(r"\(.*?\)", "", re.split(r" (?:of|for|at|by|in|between|with|from|to) ", label)[0]).split()[-1]) if re.sub(r"\(.*?\)", "", label).strip() else ""
    numeric = bool(re.match(rf"^(?:{_CMP} )?(?:-?{_NUM}|\d+:\d+)\b", short))
    short_value = len(short) <= 60 and not re.search(r"[;:]", short)
    if not section_words:
        return None
    if (head in _VALUE_HEADS or numeric and short_value and head not in ROLES) and not re.match(r"^(?:give|use|set|see)\b", short.lower()):
        plural = head.endswith("s") and not head.endswith("ss")
        article = "" if words[0][:1].isupper() and any(letter.isupper() for letter in words[0][1:]) or bare(words[0]) in DETERMINERS or words[0][0].isdigit() else "the "
        if head in _VALUE_HEADS:
            found.append(named.fact("label-value", short, label=printed, the_label=article + printed, be="are" if plural else "is"))
            return found
    found.append(named.fact("label", short, label=printed))
    return found


# --- tables -----------------------------------------------------------------------------------------------------------


def table_facts(table: Table, proper: frozenset[str]) -> list[Fact]:
    """One fact per cell of a table with a header; one per row of a two-column list without."""
    if not title(table.section):
        return []
    found: list[Fact] = []
    if table.header:
        width = len(table.header)
        key = 1 if bare(table.header[0]) in {"no", "nr", "item", "#", "number", ""} and width > 2 else 0
        keys = [row.cells[key] for row in table.rows if len(row.cells) == width]
        for row in table.rows:
            if len(row.cells) != width or keys.count(row.cells[key]) > 1 or not row.cells[key]:
                continue
            named = _row_name(table.header[key], row.cells[key], proper)
            places = ((row.start, row.end),) if table.header_span is None else (table.header_span, (row.start, row.end))
            for column in range(width):
                name, cell = table.header[column], row.cells[column]
                if column == key or (key and column == 0) or not name or cell in {"", "-", "–", "—", "n/a"} or table.header.count(name) > 1:
                    continue
                found.append(
                    Fact(
                        kind="cell", slots={"column": lower_first(name, proper), "row": named}, short=cell,
                        answer=_statement(f"The {lower_first(name, proper)} for {named} is {cell}"), places=places, section=table.section,
                    )
                )
        return found
    names = [row.cells[0] for row in table.rows]
    for row in table.rows:
        if len(row.cells) == 2 and names.count(row.cells[0]) == 1 and re.search(r"\w", row.cells[0]) and row.cells[1]:
            found.append(
                Fact(
                    kind="entry", slots={"row": row.cells[0]}, short=row.cells[1], answer=_statement(f"{row.cells[0]}: {row.cells[1]}"),
                    places=((row.start, row.end),), section=table.section,
                )
            )
    return found


def _row_name(header: str, cell: str, proper: frozenset[str]) -> str:
    """How a question names a row: "step 3", "fentanyl", "displacement (t) up to 9,000"."""
    if re.match(r"^[\d<>≤≥-]|^(?:up to|above|below|over|under|from)\b", cell) or len(cell) <= 3:
        return f"{lower_first(header, proper)} {cell}"
    return lower_first(cell, proper)


def facts(units: Sequence[Unit], tables: Sequence[Table], proper: frozenset[str]) -> list[Fact]:
    """Every fact of a passage, in the order of the text."""
    found = [fact for unit in units for fact in unit_facts(unit, proper)]
    found.extend(fact for table in tables for fact in table_facts(table, proper))
    return sorted(found, key=lambda fact: fact.places[-1])
