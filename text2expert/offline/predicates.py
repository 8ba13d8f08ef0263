"""Facts in a clause's parts: under which condition, who, what is done, what it is, what is allowed."""

import re
from collections.abc import Iterator

import attrs

from text2expert.offline.adjuncts import FREQUENCY, TIMED
from text2expert.offline.clauses import bare, upper_first
from text2expert.offline.lexicon import BE, FIRM, MODALS, PREPOSITIONS, PRONOUNS, THIRD, VERBS, is_participle, word_set
from text2expert.offline.soundness import spreads
from text2expert.offline.statements import BOUND, NUM, Fact, Reading, agent, content, generic, pointing

_PLACE_VERBS = word_set(
    "kept stored placed held located filed displayed posted written recorded entered hung parked fixed mounted painted stencilled printed "
    "deposited noted laid installed situated shown stamped logged listed marked registered disposed discarded collected delivered allowed permitted "
    "prohibited forbidden"
)
_PLACE = re.compile(
    r"^(?P<v>(?:be )?(?:\w+ly )?(?P<w>\w+)(?: (?!only)[a-z]+ly| upright| back)?) "
    r"(?P<t>(?:only )?(?:in|on|at|outside|inside|under|behind|beside|near|next to) (?:(?:the|a|an|each|both|every|its|their) [^,;()]+|[A-Z][a-z]+s?(?: [\dA-Z]\w*(?:(?:, | and | or )[\dA-Z]\w*)*)?))$"
)
_LIGHT = word_set("mean apply put take get make do set go come keep last stand wait stay fall be exceed act")
"""Verbs that ask nothing by themselves: "What does the outer ship put?"."""
_TWO_OBJECTS = word_set(
    "tell show ask remind inform offer refuse teach give send lend hand notify warn advise instruct grant deny pay owe bring pass"
)
"""Verbs that say little with one of their objects: "What should you tell?"."""
_VAGUE = _TWO_OBJECTS | word_set(
    "avoid check use find choose turn stop start accept allow follow see leave hold let have bring"
)
"""Orders that stand more than once in most documents."""
_STATIVE = word_set(
    "used kept required needed allowed permitted forbidden prohibited made given held called known found based located covered meant "
    "defined described listed reserved limited placed invented done fitted supported taken set attached based composed stated shown"
)
"""Participles that say how something is, not what happens to it."""
_GAPPED = re.compile(
    r"(?:, | and )(?!(?:at|in|on|for|to|by|with|within|after|before|every|under|not|never|from|then)\b)(?:the |a |an )?[A-Za-z-]+(?: [A-Za-z-]+){0,2}"
    r" (?:(?:for|at|to|within|after|by)(?: (?:no more than|at least|a further|up to))? \d|(?:every|each|once|twice|daily|weekly|monthly|yearly)\b)"
    r"|^\w+ (?P<p>in|with|at|for|by) \S+(?: \S+)? and (?:[a-z]+ ){1,4}(?P=p) \S+"
)
"""A list that leaves its verb out: "daily ones are kept for 5 days, monthly ones for 2 years"."""
_BARE_AMOUNT = re.compile(
    r"^the (?:limit|ceiling|maximum|minimum|order|value|figure|target|rate|range|goal|amount|number|time|period|interval)"
    r"(?: (?:at|in|on|by|with|during|under)\b.*)?$"
)
"""Amounts that only the sentence before says of what: "the limit at night"."""
_LISTED_VERB = re.compile(
    rf", (?:{'|'.join(sorted(VERBS))}) (?:the|a|an|all|each|every|its|their|any|no)\b|(?:,| and) (?:{'|'.join(sorted(THIRD))}) [A-Za-z]|, so "
    rf"|^[^,]+, and [^,]*\b(?:{'|'.join(sorted(VERBS | set(THIRD)))})\b"
)
"""A further predicate that was not told apart from the object."""
_OWN = re.compile(r"\b(?:their|his|her|its|they|it|them|he|she)\b")


_TIME_NOUN = (
    r"\b(?:second|minute|hour|day|night|morning|evening|afternoon|week|weekend|month|quarter|year|decade|shift|term|period|season|"
    r"spring|summer|autumn|winter|phase|stage|future|past|interval)s?\b"
)
"""What is in, at or during one of these is at a time, not at a place."""


def predicate_facts(reading: Reading) -> Iterator[Fact]:
    """Facts in the parts of a clause."""
    yield from _tail_facts(reading)
    yield from _copula_facts(reading)
    rest = reading.clause.rest
    if reading.clause.form == "imperative":
        yield from _order_facts(reading)
        return
    if re.search(r"[;:]", rest) or reading.clause.subject.startswith(('"', "“")):
        return
    yield from _by_facts(reading)
    if reading.clause.subject.split()[0].lower() in {"no", "neither", "nobody"}:
        return
    yield from _subject_facts(reading)
    if reading.clause.subject.startswith("only "):
        return
    yield from _count_facts(reading)
    yield from _object_facts(reading)
    if not reading.partial:
        yield from treatment_facts(reading)
    yield from _permission(reading)


def _whole(reading: Reading) -> str:
    """Predicate and subordinate clause."""
    clause = reading.clause
    if not clause.tail:
        return clause.rest
    comma = "," if bare(clause.tail.split()[0]) in {"except", "unless", "so", "whichever"} else ""
    return f"{clause.rest}{comma} {clause.tail}".strip()


def _tail_facts(reading: Reading) -> Iterator[Fact]:
    clause, scene = reading.clause, reading.scene
    tail, rest = clause.tail, clause.rest
    words = tail.split()
    if not words or "," in rest or re.search(rf" or {NUM}", rest):
        return  # behind a list, the tail may belong to its last member alone
    only = bare(words[0]) == "only"
    opener = bare(words[1]) if only and len(words) > 1 else bare(words[0])
    slots = {"inv": clause.inverted() + reading.front, "stmt": reading.lead + clause.statement()}
    if (
        pointing(slots["stmt"])
        or ";" in slots["stmt"]
        or re.search(
            r";|: |, (?:and|but) (?:the|a|an|no|it|they|never|do|not)\b| and (?:must|may|shall|should)\b", tail
        )
    ):
        return
    if spreads(clause):
        return
    anchored = reading.anchored or len(content(slots["stmt"])) < 3
    timed = any(pattern.search(rest) for pattern in TIMED)
    if (
        opener in {"if", "when", "whenever"}
        and not re.search(r"\bonly\b", rest)
        and not re.search(r", (?:except|unless)", tail)
    ):
        yield scene.fact("case" if timed else "when", tail, anchored=anchored, **slots)
        condition = " ".join(words[1:])
        order = clause.form == "imperative" and not clause.negation and not only
        if order and not pointing(condition) and len(content(condition)) >= 3 and "," not in condition:
            action = f"{clause.verb} {rest}".strip()
            yield scene.fact(
                "condition-order",
                action,
                anchored=len(content(condition)) < 4 or len(content(action)) < 2,
                condition=f"{opener} {condition}",
            )
    elif opener in {"before", "after", "once", "as"} | (frozenset() if timed else {"while", "whilst"}):
        # not "for 10 minutes while the line is walked": there the time answers "how long"
        yield scene.fact("timing", tail, anchored=anchored, **slots)
    elif opener == "until":
        yield scene.fact("until", tail, anchored=anchored, **slots)
    elif opener in {"unless", "except"}:
        yield scene.fact("exception", tail, anchored=anchored, **slots)
    elif opener in {"so", "because", "since"} and clause.form != "imperative":
        yield scene.fact("why", tail, anchored=anchored, **slots)


def _copula_facts(reading: Reading) -> Iterator[Fact]:
    """What something is or must be, where that is an amount or a definite thing."""
    clause, scene, rest = reading.clause, reading.scene, reading.clause.rest
    if clause.form != "aux" or clause.negation or re.match(r"^(?:a|an|one|no|some|many|\d+)\b", clause.subject):
        return
    subject = clause.subject + reading.front
    bare_thing = len(content(clause.subject)) < 2 and not clause.subject.startswith("the ")
    if bare_thing or _BARE_AMOUNT.match(clause.subject):
        return
    definite = clause.subject.startswith("the ") and not PREPOSITIONS & set(clause.subject.split())
    anchored = reading.anchored or (
        definite and not any(map(str.isupper, clause.subject))
    )  # "the normalised ratio": whose?
    if clause.auxiliary in {"must", "should", "shall"}:
        match = re.match(rf"^be (?P<t>(?:{BOUND} )?{NUM}.*)$", rest)
        if match:
            yield scene.fact(
                "required-value",
                match.group("t") + reading.more + reading.added,
                anchored=anchored,
                subject=subject,
            )
        return
    if clause.auxiliary not in {"is", "are"} or clause.passive:
        return
    size = re.match(
        rf"^(?P<t>(?:{BOUND} )?{NUM}(?: to {NUM})? [\w°%]+ (?P<a>apart|wide|high|long|deep|thick|tall|old|away)\b[^,;]*)$",
        rest,
    )
    if size and not reading.more:
        adjective = {"apart": "far apart", "away": "far away"}.get(size.group("a"), size.group("a"))
        yield scene.fact(
            "size",
            size.group("t"),
            anchored=reading.anchored,
            subject=subject,
            be=clause.auxiliary,
            adjective=adjective,
        )
        return
    if re.match(rf"^(?:{BOUND} )?(?:-?{NUM}|\d+:\d+)(?:\b|%)", rest) and not re.search(
        rf"; |: |,? and the \w[\w -]* {NUM}", rest
    ):
        short = rest + reading.more + reading.added
        yield scene.fact("value", short, anchored=anchored, subject=subject, be=clause.auxiliary)
    elif re.match(r"^the [^;:,]+$", rest) and not clause.tail and not clause.front and not pointing(rest):
        if clause.subject.split()[0].lower() in {"one", "the", "each", "every"} or len(content(rest)) < 2:
            return
        yield scene.fact("value", upper_first(clause.subject), anchored=len(content(rest)) < 3, subject=rest, be="is")


def _by_facts(reading: Reading) -> Iterator[Fact]:
    """By whom it is done, and where."""
    clause, rest = reading.clause, reading.clause.rest
    if not clause.passive or reading.more:
        return
    by = re.search(
        r" (?P<p>only )?by (?P<t>(?:the|a|an|each|both|two|any) [^,;()]+?)(?P<z> (?:for|within|in|on|at|every|before|after|from|without|to) .+)?$",
        f" {rest}",
    )
    if by and agent(by.group("t")) and not re.search(r" (?:and|or) ", by.group("t")):
        before = rest[: max(by.start() - 1, 0)].rstrip()
        slots = reading.ask(before)
        if (
            len(content(slots["stmt"])) >= 2
            and not pointing(slots["stmt"])
            and "," not in before
            and " and " not in before
        ):
            yield reading.scene.fact("by-whom", by.group("t"), anchored=reading.anchored, **slots)
    given = re.match(
        r"^(?P<v>(?:be )?(?:\w+ly )?\w+(?: [a-z]+ly| back)?) (?P<p>with|to) (?P<t>(?:the|a|an|each|both|one|two|its) [^;()]+?)"
        r"(?P<z> (?:within|for|before|after|each|every|if) .+| (?:at|by|in|on|as|under) .+)?$",
        rest,
    )
    if given and given.group("p") == "with" and re.match(r" (?:at|by|in|on|as|under) ", given.group("z") or ""):
        given = None  # "with a bolt in every hole": the place may belong to the bolt
    if (
        given
        and not clause.negation
        and not re.search(r"\b(?:that|which|who) .* (?:and|or) |, (?:and|or|but) ", given.group("t"))
        and len(given.group("t").split()) <= 16
    ):
        kind = "instrument" if given.group("p") == "with" else "recipient"
        slots = reading.ask(given.group("v") + (given.group("z") or ""))
        if (
            (kind == "instrument" or agent(given.group("t")))
            and not pointing(slots["stmt"])
            and not pointing("the thing meant " + given.group("t"))
        ):
            yield reading.scene.fact(kind, given.group("t"), anchored=reading.anchored, **slots)
    place = _PLACE.match(rest)
    if place and place.group("w") in _PLACE_VERBS:
        where = place.group("t")
        if not re.search(
            rf"{_TIME_NOUN}|^\w+ [a-z].*\d|day\b| (?:month|week|case|time|day|order|writing|use|same|end|start|beginning)\b",
            where,
        ) and not pointing("the thing meant " + where):
            slots = reading.ask(place.group("v"))
            if not pointing(slots["stmt"]):
                yield reading.scene.fact("place", where, anchored=reading.anchored, **slots)


def _subject_facts(reading: Reading) -> Iterator[Fact]:
    """Who does it; what it is done to."""
    clause, scene = reading.clause, reading.scene
    whole = _whole(reading)
    predicate = clause.predicate(whole) + reading.front
    if (
        pointing(f"the person asked for {predicate}")
        or _OWN.search(predicate)
        or _GAPPED.search(whole)
        or ", but" in whole
    ):
        return
    words = len(content(predicate))
    copular = clause.auxiliary in BE and not clause.passive
    if agent(clause.subject, person=clause.passive):
        if words >= 3 and not copular and clause.auxiliary not in {"has", "have"}:
            yield scene.fact("who", upper_first(clause.subject), anchored=words < 4, predicate=predicate)
    elif (
        clause.passive
        and words >= 5
        and not clause.negation
        and not agent(clause.subject)
        and not generic(clause.subject)
        and (words >= 6 or re.search(r"\d", predicate))
        and bare(whole.removeprefix("be ").split()[0]) not in {"used", "made"}
    ):
        yield scene.fact("subject", upper_first(clause.subject), predicate=predicate)


def _count_facts(reading: Reading) -> Iterator[Fact]:
    """How many things the subject is: "Two lamps are kept on the desk"."""
    clause = reading.clause
    match = re.match(rf"^(?P<c>(?:{BOUND} )?)(?P<t>{NUM}) (?P<n>[a-z][^,;:]*s\b[^,;:]*)$", clause.subject)
    if (
        not match
        or not clause.plural
        or match.group("t").lower() == "one"
        or re.search(r"\b(?:and|or)\b", match.group("n"))
    ):
        return
    predicate = clause.predicate(_whole(reading), plural=True) + reading.front
    if pointing(f"{match.group('n')} {predicate}") or re.search(r"[;:]", predicate) or _GAPPED.search(predicate):
        return
    number = match.group("c") + match.group("t")
    vague = len(content(f"{match.group('n')} {predicate}")) < 4
    slots = {"counted": match.group("n"), "predicate": predicate}
    yield reading.scene.fact("count-subject", number, anchored=vague, **slots)


def _object_facts(reading: Reading) -> Iterator[Fact]:
    """What the verb's object is: "What must wires have?"."""
    clause, whole = reading.clause, _whole(reading)
    if clause.negation or clause.passive or not clause.rest or len(whole) > 170:
        return
    verb, rest = "", whole
    if clause.form == "aux":
        if clause.auxiliary not in MODALS:
            return
        verb, _, rest = whole.partition(" ")
        if bare(verb) not in VERBS | {"have"} or not rest:
            return
    name = verb or clause.verb
    if name == "have" and clause.form == "present":
        return  # "What do hoses have?" asks for anything
    first = bare(rest.split()[0]) if rest else ""
    loose = PREPOSITIONS | {
        "to",
        "that",
        "back",
        "as",
        "normally",
        "how",
        "away",
        "and",
        "or",
        "only",
        "right",
        "left",
        "straight",
        "up",
        "down",
        "out",
        "off",
        "over",
        "around",
        "forward",
        "forwards",
        "backwards",
        "aside",
        "apart",
        "together",
        "first",
        "whether",
    }
    if (
        name in _LIGHT
        or not first
        or _says_little(name, clause.subject, rest)
        or first in loose | PRONOUNS
        or first.endswith("ly")
        or (is_participle(first) and "-" not in first)
    ):
        return
    counted = re.match(rf"{NUM}\b", rest) and name not in FIRM | {"have", "hold", "carry"}
    if counted or FREQUENCY.match(rest) or _GAPPED.search(rest) or re.search(r", but\b", rest):
        return
    if pointing(f"{clause.subject} the thing {rest}") or _LISTED_VERB.search(rest):
        return
    slots = {"inv": clause.inverted(verb) + reading.front, "stmt": clause.statement(verb) + reading.front}
    if clause.form == "aux" and clause.auxiliary == "may" and len(content(clause.subject)) < 2:
        return
    yield reading.scene.fact("object", rest, anchored=reading.anchored or generic(clause.subject), **slots)


def _says_little(verb: str, subject: str, rest: str) -> bool:
    """Whether an object asks for too little: "What does growth stop?", "What does the clerk tell?"."""
    if verb in _TWO_OBJECTS and not re.match(rf"(?:the|a|an|{NUM})\b", rest):
        return True
    return (verb == "have" and rest.startswith("no ")) or (len(content(subject)) < 2 and len(content(rest)) < 2)


def _order_facts(reading: Reading) -> Iterator[Fact]:
    """What an order orders, such as "Reject tubes without a barcode"."""
    clause, rest = reading.clause, reading.clause.rest
    if clause.tail or clause.front or not rest or clause.verb in _LIGHT or re.search(r"[;:]", rest) or len(rest) > 140:
        return
    words = rest.split()
    first = bare(words[0])
    if (
        re.match(rf"(?:{BOUND} )?{NUM}\b", rest)
        or first in PREPOSITIONS | {"to", "that", "it", "them", "back", "up", "down", "out", "and", "or", "as", "not"}
        or first.endswith("ly")
    ):
        return
    if (
        clause.verb in _VAGUE
        or len(content(rest)) < (2 if clause.negation else 3)
        or pointing("the thing meant " + rest)
        or any(pattern.search(rest) for pattern in TIMED)
        or re.search(r", (?:and|or|but) |\band\b", rest)
    ):
        return
    if is_participle(first) and len(words) < 2:
        return
    slots = {"inv": clause.inverted(""), "stmt": clause.statement("")}
    yield reading.scene.fact("object", rest, anchored=True, **slots)
    described = any(bare(word) in PREPOSITIONS | {"that", "which", "who"} for word in words[1:])
    if (
        len(content(rest)) >= 3
        and described
        and not re.search(r"\b(?:to|at|in|on|into|onto|from|with|for|before|after|by|under)\b", rest)
    ):
        if clause.verb in {"choose", "select", "use", "find", "see"}:
            return
        verb = f"{clause.negation} {clause.verb}".strip()
        yield reading.scene.fact("order", verb if not clause.negation else f"do {verb}", object=rest, negation="")


def treatment_facts(reading: Reading) -> Iterator[Fact]:
    """What happens to a thing that is described closely; what somebody described closely has to do."""
    clause, scene, whole = reading.clause, reading.scene, _whole(reading)
    subject = clause.subject
    described = len(content(subject)) >= 3 or (
        len(content(subject)) == 2
        and any(bare(word) in PREPOSITIONS | {"that", "which", "who", "not"} for word in subject.split())
    )
    if not described or len(whole) > 170 or reading.front or _GAPPED.search(whole):
        return
    if re.match(rf"(?:{NUM})\b", subject) or (clause.negation and clause.passive):
        return
    if clause.passive and not re.search(rf", or {NUM}", whole):
        if bare(whole.removeprefix("be ").split()[0]) in _STATIVE:
            return
        if clause.auxiliary in {"is", "are"}:
            yield scene.fact("treatment", whole, subject=subject)
        elif clause.auxiliary in {"must", "shall", "should", "may"} and whole.startswith("be "):
            yield scene.fact("treatment-modal", whole.removeprefix("be "), subject=subject, modal=clause.auxiliary)
    elif clause.auxiliary in {"must", "shall", "should"} and bare(whole.split()[0]) in VERBS and agent(subject):
        negation = f"{clause.negation} " if clause.negation else ""
        yield scene.fact(
            "duty", whole, anchored=reading.anchored, subject=subject, modal=clause.auxiliary, negation=negation
        )


def _permission(reading: Reading) -> Iterator[Fact]:
    """Yes or no, where a rule allows or forbids without exception."""
    clause = reading.clause
    if reading.more or re.search(
        r"\b(?:only|except|unless|without|but|nor|not|until)\b", f"{clause.rest} {clause.tail}"
    ):
        return
    participle = bare(clause.rest.split()[0]) if clause.rest else ""
    if clause.passive and clause.auxiliary in {"is", "are"} and not clause.negation:
        if participle in {
            "forbidden",
            "prohibited",
            "banned",
            "allowed",
            "permitted",
        } and not clause.subject.startswith("only "):
            allowed = attrs.evolve(clause, rest=clause.rest.replace(participle, "allowed", 1))
            asked = attrs.evolve(reading, clause=allowed).ask()
            short = "Yes" if participle in {"allowed", "permitted"} else "No"
            if not pointing(asked["stmt"]):
                yield reading.scene.fact(
                    "permission",
                    short,
                    anchored=True,
                    answer=f"{short}. {reading.scene.answer}",
                    yes_no=asked["inv"],
                    stmt_positive=asked["stmt"],
                )
        return
    forbids = bool(clause.negation) and (
        clause.auxiliary in {"may", "must", "shall", "can"} or (clause.auxiliary in BE and clause.passive)
    )
    if not forbids and not (clause.auxiliary == "may" and not clause.negation):
        return
    open_to_all = clause.passive or agent(clause.subject) or clause.rest.startswith(("be ", "stay ", "remain "))
    if not forbids and (not open_to_all or ", so " in clause.rest):
        return  # "may hide a failure" is no permission
    positive = attrs.evolve(clause, negation="")
    if forbids and not (clause.auxiliary in BE and bare(clause.rest.split()[0]) in {"allowed", "permitted"}):
        positive = attrs.evolve(
            positive, auxiliary="may", rest=f"be {clause.rest}" if clause.auxiliary in BE else clause.rest
        )
    asked = attrs.evolve(reading, clause=positive).ask()
    if pointing(asked["stmt"]):
        return
    short = "No" if forbids else "Yes"
    yield reading.scene.fact(
        "permission",
        short,
        anchored=True,
        answer=f"{short}. {reading.scene.answer}",
        yes_no=asked["inv"],
        stmt_positive=asked["stmt"],
    )
