"""Rules: what a text unit or a table states, as facts that can be asked for.

Each rule reads one pattern of general English in protocols, contracts and manuals: definitions, conditions, labelled
items, tables, and clauses. A rule that is not sure stays silent.
"""

import re
from collections.abc import Iterator

import attrs

from text2expert.offline.adjuncts import adjunct_facts
from text2expert.offline.clauses import (
    Clause,
    bare,
    finite,
    lower_first,
    parse,
    proper_words,
    split_condition,
    upper_first,
)
from text2expert.offline.coordination import conjuncts
from text2expert.offline.leads import Listed, bans, leads_in, listed
from text2expert.offline.lexicon import (
    BE,
    DETERMINERS,
    MODALS,
    PREPOSITIONS,
    THIRD,
    word_set,
)
from text2expert.offline.listings import list_facts, table_facts
from text2expert.offline.predicates import predicate_facts, treatment_facts
from text2expert.offline.soundness import NOTES, fused, is_label, restricted, spreads
from text2expert.offline.statements import (
    NUM,
    PERSONAL,
    TIME_UNIT,
    Fact,
    Reading,
    Scene,
    agent,
    contains,
    content,
    generic,
    is_order,
    pointing,
    statement,
)
from text2expert.offline.units import Layout, Unit, paragraphs

_DOCUMENT = re.compile(
    r"(?<![\"“])\b([Tt])his ((?:\w+ )?(?:policy|procedure|handbook|manual|protocol|agreement|contract|document|guide|guideline|standard|code|lease|licence|license|plan|"
    r"regulation|act|charter|instruction|specification|SOP|tenancy)\b)",
    re.IGNORECASE,
)
"""A document that names itself: "This Policy" is "the Policy" to a reader of the question."""

# --- clauses ----------------------------------------------------------------------------------------------------------

_COMPARATIVES = word_set(
    "larger longer shorter smaller higher lower older newer younger greater fewer bigger heavier lighter later earlier deeper wider "
    "anything everything something less more further"
)


def _compares(subject: str) -> bool:
    """Whether a subject is measured by something said before: "larger ships", "anything longer"."""
    words = content(subject)
    return bool(words) and (words[0] in _COMPARATIVES or "else" in words) and " than " not in subject


_ADDED = word_set("if when whenever while before after once as where until during")
_TRANSITIVE = word_set("consider use take give make offer measure keep set put obtain record")
"""Orders that say nothing without an object."""


def _clause_facts(clause: Clause, scene: Scene) -> Iterator[Fact]:
    """Facts of a clause: those of each of its predicates, then those of all of them together."""
    parts = conjuncts(clause)
    if clause.form == "imperative":
        parts = parts[:1]  # a later order may hold only after the one before: "stop the infusion, give ..."
    for part in parts:
        reading = _read(part, scene, partial=len(parts) > 1 or part.rest != clause.rest)
        if reading is not None:
            yield from adjunct_facts(reading)
            yield from predicate_facts(reading)
    if len(parts) > 1 and clause.rest.endswith(parts[-1].rest):
        reading = _read(clause, scene, partial=False)
        if reading is not None and clause.form == "aux":
            yield from treatment_facts(reading)


def _read(clause: Clause, scene: Scene, *, partial: bool) -> Reading | None:
    """What the rules need of a clause; None where it is not safe to ask with."""
    if clause.auxiliary in {"was", "were", "had", "would", "could", "might", "will"} or clause.rest.count('"') % 2:
        return None
    if clause.subject and (
        bare(clause.subject.split()[0]) in {"nobody", "nothing", "none"} or pointing(clause.subject)
    ):
        return None
    if clause.subject.startswith(('"', "“")) and clause.verb == "mean":
        return None
    if clause.rest.startswith(("and ", "or ")) or _compares(clause.subject) or fused(clause):
        return None
    if spreads(clause) and clause.tail.split()[0].lower() in _ADDED:
        return None
    first = bare(clause.rest.split()[0]) if clause.rest else ""
    if clause.form == "imperative" and clause.verb in _TRANSITIVE and (not first or first in PREPOSITIONS):
        return None
    opener = bare(clause.tail.split()[0]) if clause.tail else ""
    seen = f"{clause.subject or 'the thing meant'} {clause.rest} {clause.tail}"
    added = f" {clause.tail}" if opener in _ADDED and not pointing(seen) else ""
    more = "" if added or not clause.tail or opener in {"so", "because", "since"} else f" {clause.tail}"
    vague = len(content(clause.rest)) < 3 if clause.form == "imperative" else generic(clause.subject)
    return Reading(clause=clause, scene=scene, added=added, more=more, anchored=vague, partial=partial)


# --- facts of a unit --------------------------------------------------------------------------------------------------

_QUOTED = re.compile(
    r"^[\"“](?P<term>[^\"”]{1,60})[\"”](?P<abbr> \([^)]{1,12}\))?,?(?P<mid>(?:, |,? in )[^,]{1,40},)? (?:means?|is|are|refers? to|denotes?|stands? for|includes?|excludes?) (?P<meaning>.+)$"
)
_STANDS = re.compile(
    r"^(?P<term>[A-Z][A-Za-z\d/&-]*[A-Z\d]) (?:stands|is short) for (?P<meaning>[A-Za-z][^;:]{3,120})$"
)
_IS_A = re.compile(
    r"^(?P<term>An? [a-z][\w -]{2,50}?) is (?P<meaning>(?:a|an|any|the|one) .*\b(?:that|which|who|whose|where|used|named|listed|designed|intended)\b.*)$"
)
_MEANS = re.compile(
    r"^(?P<term>[A-Za-z][\w /-]{1,40}?) (?:means|is defined as|refers to) (?P<meaning>(?!that\b)[a-z].+)$"
)
_GLOSSARY = re.compile(
    r"^(?P<term>[A-Z][\w/&-]*[A-Z\d][\w/&-]*(?: [a-z]+)?)(?:,| -| –| —|:) (?P<meaning>[A-Za-z][^;:]{3,120})$"
)
_ABBREVIATED = re.compile(r"\((?P<abbr>[A-Z][A-Za-z\d/]{1,7})(?:[,;][^)]*)?\)")
_LABEL = re.compile(r"^(?P<label>[A-Z\d](?:[^:;.?!]|\.(?! [A-Z])){1,70}): (?P<value>\S.*)$")
_DASHED = re.compile(r"^(?P<label>[A-Z][^:;.?!–—]{1,50}?) [-–—] (?P<value>[a-z].{8,})$")
_GLOSSARIES = re.compile(r"\b(?:definitions?|glossary|terms|abbreviations|vocabulary)\b", re.IGNORECASE)


def unit_facts(unit: Unit, proper: frozenset[str], antecedent: "Antecedent | None" = None) -> list[Fact]:
    """What a sentence or bullet states.

    Args:
        unit: The sentence.
        proper: Words that keep their capital inside a sentence.
        antecedent: What "It" or "They" at its beginning stands for.
    """
    text = _DOCUMENT.sub(r"\1he \2", unit.text)
    if antecedent is not None and (named := antecedent.named(text)):
        resolved = unit_facts(attrs.evolve(unit, text=named), proper)
        return [attrs.evolve(fact, places=(antecedent.place, *fact.places)) for fact in resolved if not fact.quote]
    if not unit.whole or PERSONAL.search(text) or not 3 <= len(text.split()) <= 80:
        return []
    read = _read_unit(unit, text, proper)
    if read is None:
        return []
    (listed_as, places), body = read, read[0].text
    scene = Scene(
        places=places,
        section=unit.section,
        proper=proper,
        answer=statement(body),
        topic=listed_as.topic or unit.topic,
        orders=listed_as.orders,
    )
    found = list(_abbreviations(text, scene))
    defined = list(_definitions(body, scene))
    if defined:
        return defined + found
    label = _LABEL.match(body)
    if _GLOSSARIES.search(unit.section) and (entry := label or _DASHED.match(body)):
        return [
            scene.fact(
                "definition",
                entry.group("value"),
                term=entry.group("label"),
                answer=statement(f'"{entry.group("label")}" means {lower_first(entry.group("value"), proper)}'),
            ),
            *found,
        ]
    if label and (facts := _labelled(label.group("label"), label.group("value"), scene)) is not None:
        if scene.topic:
            return [*facts, *found]  # a question names the lead-in or the label, not both
        inner = attrs.evolve(scene, topic=label.group("label"))
        return [*facts, *_sentence_facts(upper_first(label.group("value")), inner), *found]
    facts_of = list(_sentence_facts(body, scene)) + found
    return [fact for fact in facts_of if not (listed_as.shared and fact.kind in {"when", "case", "exception"})]


_EXPLETIVE = re.compile(
    r"It (?:is|was|may be|must be|should be|can be|has been|takes|seems|appears|follows)(?: not)? \S+(?: \S+)? (?:that|to|whether|how|if|who)\b"
)


@attrs.frozen(kw_only=True)
class Antecedent:
    """The subject of the sentence before, as the next one may take it up by "It" or "They"."""

    subject: str
    plural: bool
    place: tuple[int, int]

    def named(self, text: str) -> str:
        """*text* with the subject in place of its first pronoun; "" where that is not safe."""
        match = re.match(r"(It|They|Its|Their) (?=[a-z])", text)
        if not match or (match.group(1) in {"They", "Their"}) != self.plural or _EXPLETIVE.match(text):
            return ""
        if match.group(1) in {"It", "They"}:
            return f"{upper_first(self.subject)} {text[match.end() :]}"
        words = text[match.end() :].split()
        at = finite(["The", *words])
        if at is None or at > 5:
            return ""
        return f"The {' '.join(words[: at - 1])} of {self.subject} {' '.join(words[at - 1 :])}"

    @classmethod
    def of(cls, unit: Unit, proper: frozenset[str]) -> "Antecedent | None":
        """What a sentence leaves for the next one; None where another noun of it could be meant as well."""
        body = _DOCUMENT.sub(r"\1he \2", unit.text)
        clause = parse(body, proper, imperative=False) if body.endswith(".") and not set(body) & set(";:") else None
        if clause is None or clause.form == "imperative" or pointing(clause.subject) or agent(clause.subject):
            return None
        plain = not clause.rest or clause.rest.split()[0].lower() in PREPOSITIONS
        if (
            not (clause.passive or clause.auxiliary in BE or plain)
            or clause.front
            or clause.subject.startswith(("no ", "only ", '"'))
        ):
            return None
        head = bare(
            re.split(r" (?:of|for|in|on|at|with|that|which|who|from|to|under|by) ", clause.subject)[0].split()[-1]
        )
        plural = clause.plural or (clause.auxiliary in MODALS and head.endswith("s") and not head.endswith("ss"))
        return cls(subject=clause.subject, plural=plural, place=(unit.start, unit.end))


def _read_unit(unit: Unit, text: str, proper: frozenset[str]) -> tuple[Listed, tuple[tuple[int, int], ...]] | None:
    """What is to be read, without its full stop, and where it stands; None where it cannot be read alone."""
    place = (unit.start, unit.end)
    body = text.rstrip(" .;,")
    if leads_in(text) or text.endswith(("?", "!")) or not body:
        return None
    if unit.bullet:
        if not unit.leads:
            return None if unit.barred else (Listed(text=body), (place,))
        sentence = body[0].isupper() and text.endswith(".")
        read = listed(unit.leads, body, proper, sentence=sentence, joint=unit.joint)
        if read is None or (unit.barred and not read.composed):
            return None
        lead = unit.leads[-1]
        named = lead.start >= 0 and (read.composed or read.topic)
        return read, ((lead.start, lead.end), place) if named else (place,)
    if not text.endswith((".", ";", '."', ".”", ".)")) or re.match(r"[a-z]+ ", text):
        return None
    return Listed(text=body, orders=not unit.barred), (place,)


def _sentence_facts(body: str, scene: Scene) -> Iterator[Fact]:
    condition = split_condition(body)
    if condition is not None:
        yield from _conditional(condition, scene)
        return
    parts = re.split(r"; ", body)
    for number, part in enumerate(parts):
        if _taken_up(part, parts[number + 1 :]):
            continue
        text = part if number == 0 else upper_first(part)
        if re.search(r": ", text):
            text = text.partition(": ")[0]
            if pointing(text) or re.search(r"\b(?:order|these|steps|ceilings|one|all|any)$", text):
                continue
        clause = parse(text, scene.proper, imperative=number == 0)
        if clause is None or (clause.form == "imperative" and not scene.orders and not clause.negation):
            continue
        answer = scene if number == 0 and "; " not in body else attrs.evolve(scene, answer=statement(part))
        yield from _clause_facts(clause, answer)


_AMOUNT = re.compile(rf"(?<![\w.-]){NUM}(?:(?: to | and ){NUM})? ?(?P<u>{TIME_UNIT}|%|[A-Za-z°µ/]+)")
_RESTRICTS = re.compile(
    r"(?:but|except|unless|otherwise|however|in|for|with|at|on|if|when|where|during|after|before|only|above|below|over|under|from|until)\b",
    re.IGNORECASE,
)


def _taken_up(part: str, later: list[str]) -> bool:
    """Whether a later part of the sentence gives another value for the same, or an exception: "; in winter it is 3 bar"."""
    units = {match.group("u").lower() for match in _AMOUNT.finditer(part)}
    for other in later:
        if _RESTRICTS.match(other):
            return True
        if re.search(r"\d", part) and re.search(r"\d", other) and set(part.split()) & set(other.split()) & THIRD.keys():
            return True
        if units & {match.group("u").lower() for match in _AMOUNT.finditer(other)} and not finite(other.split()):
            return True
    return False


def _conditional(condition: tuple[str, str, str], scene: Scene) -> Iterator[Fact]:
    opener, premise, consequence = condition
    if opener == "unless":
        if not pointing(consequence) and not is_order(consequence) and not pointing(premise):
            yield scene.fact("exception", f"unless {premise}", stmt=consequence)
        return
    if len(content(premise)) < 2 or pointing(premise) or len(consequence) > 200:
        return
    if opener == "where" and not re.search(r"\b(?:is|are|has|have)\b|s\b", premise):
        return
    order = is_order(consequence)
    if order and not scene.orders:
        return
    slot = f"{opener} {lower_first(premise, scene.proper)}"
    kind = "condition-order" if order else "condition"
    anchored = len(content(premise)) < 4 or (order and len(content(consequence)) < 2)
    yield scene.fact(kind, consequence, anchored=anchored, condition=slot)


_FOR_THIS_TEXT = re.compile(r"^(?:In|For (?:the )?purposes? of) [^,\"“”]{3,40}, (?=[\"“])")
"""What opens a definition and says nothing: "In this manual, "solo pilot" means ..."."""


def _definitions(body: str, scene: Scene) -> Iterator[Fact]:
    body = _FOR_THIS_TEXT.sub("", body)
    quoted = [match for match in (_QUOTED.match(part) for part in re.split(r"; (?=[\"“])", body)) if match]
    for match in quoted:
        term, meaning = match.group("term"), match.group("meaning")
        if re.search(r"[\"”],? (?:includes?|excludes?) ", match.group()):
            continue
        answer = statement(match.group())
        yield scene.fact("definition", meaning, term=term, answer=answer)
        if (
            len(meaning.split()) <= 24
            and not meaning.startswith("that ")
            and not contains(meaning, term)
            and not pointing("the thing " + meaning)
        ):
            yield scene.fact("term", term, meaning=meaning, answer=answer)
    if quoted:
        return
    entry = _GLOSSARY.match(body)
    if (
        entry
        and not re.search(r"\b(?:is|are|must|may|shall|and)\b", entry.group("meaning"))
        and (sum(letter.isupper() for letter in entry.group("term")) >= 2)
        and _initials(entry.group("term"), entry.group("meaning"))
    ):
        kind = "definition" if " " in entry.group("term") else "abbreviation"
        yield scene.fact(kind, entry.group("meaning"), term=entry.group("term"))
        return
    stands = _STANDS.match(body)
    if stands:
        yield scene.fact("abbreviation", stands.group("meaning"), term=stands.group("term"))
        return
    sort = _IS_A.match(body)
    if sort and not pointing("the thing " + sort.group("meaning")) and "that " not in sort.group("term"):
        yield scene.fact("what-is", sort.group("meaning"), subject=lower_first(sort.group("term"), scene.proper))
        return
    meant = _MEANS.match(body)
    if (
        meant
        and not re.search(r"\b(?:that|which|who|this|it)\b", meant.group("term"))
        and (not generic(meant.group("term")) or meant.group("term").isupper())
    ):
        yield scene.fact("meaning", meant.group("meaning"), subject=lower_first(meant.group("term"), scene.proper))


def _initials(term: str, meaning: str) -> bool:
    """Whether the abbreviation's first letter begins the words that it may stand for."""
    return meaning[:1].lower() == term[:1].lower()


def _abbreviations(text: str, scene: Scene) -> Iterator[Fact]:
    """The words before a bracket that its letters abbreviate: "Harbour Duty Officer (HDO)"."""
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
        fact = scene.fact("abbreviation", phrase, term=abbreviation, answer=f"{abbreviation} stands for {phrase}.")
        yield attrs.evolve(fact, quote=f"{phrase} ({abbreviation}")


def _spelt_out(words: list[str], letters: list[str]) -> list[str]:
    """The last words whose initials are *letters*, small words passed over."""
    at = len(words)
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
    return words[at:]


_VALUE_HEADS = word_set(
    "target limit rate volume pressure size ratio time mode dose depth level range temperature length width height weight number value speed maximum minimum price fee rent deposit term period "
    "notice duration frequency capacity voltage age distance interval stock goal charge amount cost date deadline concentration flow setting colour color code frequency address"
)


def _labelled(label: str, value: str, scene: Scene) -> list[Fact] | None:
    """Facts of "Label: value"; None where it is not one."""
    if not is_label(label, scene.section) or len(value) > 260:
        return None
    short = value.rstrip(" .;,")
    printed = lower_first(label, scene.proper)
    core = re.split(r" (?:of|for|at|by|in|between|with|from|to) ", re.sub(r" *\(.*?\)", "", label))[0].split()
    head = bare(core[-1]) if core else ""
    if head in _VALUE_HEADS and not _ORDERS.match(short) and parse(upper_first(short), scene.proper) is None:
        plural = head.endswith("s") and not head.endswith("ss")
        first = label.split(maxsplit=1)[0]
        named = bare(first) in DETERMINERS or any(letter.isupper() for letter in first[1:]) or first[0].isdigit()
        the_label = printed if named else f"the {printed}"
        return [scene.fact("label-value", short, label=printed, the_label=the_label, be="are" if plural else "is")]
    return [scene.fact("label", short, label=printed)]


_ORDERS = re.compile(r"(?:give|use|set|see|keep)\b", re.IGNORECASE)


_BLANKED = re.compile(
    rf"(?<![\w.-]){NUM}(?:(?: to | and ){NUM})?(?: (?:{TIME_UNIT}|[A-Za-z°%][\w/°%]*))?(?![\w-])|(?<=\d)%"
)


def cloze_facts(unit: Unit) -> list[Fact]:
    """The unit with its first amount left out: "The log is kept for ____"."""
    match = _BLANKED.search(unit.text)
    if match is None or not unit.whole or not unit.text.endswith(".") or len(unit.text) > 200 or pointing(unit.text):
        return []
    gap = f"{unit.text[: match.start()]}____{unit.text[match.end() :]}".replace('"', "'")
    return [
        Fact(
            kind="cloze",
            slots={"gap": gap},
            short=match.group(),
            answer=unit.text,
            places=((unit.start, unit.end),),
            section=unit.section,
        )
    ]


_LEANING = re.compile(
    r"\b(?:this|these) (?!policy|procedure|agreement|contract|document)\w|\b(?:that|those|such) [\w-]+$", re.IGNORECASE
)
"""An answer that points to another sentence: "three times that rate"."""


_INTRODUCED = re.compile(r"^(?P<label>[^:.;?!]{2,70}):(?= \S)")
_NARROWED = re.compile(
    r"^(?:In|For|With|Among) (?!addition|general|principle|practice|all|any|every|each|case|the event)[^,]{3,80}, "
)
"""A sentence for one sort of case, with which the sentences behind it may go on: "For children, ... . The dose ..."."""
_GENERIC = re.compile(r"^The [\w-]+(?: of the [\w-]+)? (?:is|are|must|may|shall|should|has|have|[a-z]+s)\b")


def _under_labels(group: list[Unit]) -> Iterator[Unit]:
    """A paragraph's sentences under the label that opens it; those that a sentence behind them restricts left out.

    "Severity 1: loss of a service. The manager is called at once." holds for severity 1 alone, and behind "Do not:" an
    order is none. Where a label cannot be named in a question, what stands behind it is left out.
    """
    barred, topic, narrow = False, "", False
    for unit, after in zip(group, [*group[1:], None], strict=True):
        label = _INTRODUCED.match(unit.text)
        if label and bare(label.group("label")) not in NOTES:
            named = label.group("label")
            barred, topic = bans(named), named if is_label(named, unit.section) else ""
            stated = bool(finite(named.split())) or is_order(lower_first(named))
            if not (topic or barred or stated):
                return
            if not (after and restricted(unit.text, after.text)):
                yield attrs.evolve(unit, barred=unit.barred or barred)
            if topic and not unit.opens:
                return  # how far a label inside a line reaches is not to be seen
            continue
        if unit is group[0] and after and _is_fragment(unit.text):
            topic = unit.text.rstrip(" .")
            continue
        if narrow and _GENERIC.match(unit.text):
            continue
        narrow = narrow or bool(_NARROWED.match(unit.text))
        if bans(unit.text) and re.search(r"\bfollowing\b", unit.text, re.IGNORECASE):
            barred = True
        if not (after and restricted(unit.text, after.text)):
            yield attrs.evolve(unit, barred=unit.barred or barred, topic=topic.replace('"', "'"))


def _is_fragment(text: str) -> bool:
    """Whether a paragraph's first "sentence" only says what the others are about: "In children under 12."."""
    words = text.rstrip(".").split()
    return (
        2 <= len(words) <= 8
        and not set(text) & set(",:;")
        and finite(words) is None
        and not is_order(lower_first(text))
    )


def facts(layout: Layout, *, cloze: bool = False) -> list[Fact]:
    """Every fact of a passage, in the order of the text; with *cloze*, sentences with a gap too."""
    units, tables = layout.units, layout.tables
    proper = proper_words(unit.text for unit in units)
    found: list[Fact] = []
    for group in paragraphs(units):
        antecedent: Antecedent | None = None
        for unit in _under_labels(group):
            found.extend(unit_facts(unit, proper, antecedent))
            if not (antecedent and antecedent.named(unit.text)):
                antecedent = Antecedent.of(unit, proper)
    found.extend(fact for table in tables for fact in table_facts(table))
    found.extend(fact for listing in layout.listings for fact in list_facts(listing, proper))
    lists = {(unit.section, unit.leads) for unit in units if unit.lead and bans(unit.lead.text)}
    several = {section for section, _ in lists if sum(other == section for other, _ in lists) > 1}
    found = [fact for fact in found if fact.kind != "list-ban" or fact.section not in several]
    if cloze:
        found.extend(fact for unit in units for fact in cloze_facts(unit))
    return sorted((fact for fact in found if not _LEANING.search(fact.short)), key=lambda fact: fact.places[-1])
