"""Facts in tables and lists: a cell under its column, a row's entry, all items behind a lead-in."""

import re

from text2expert.offline.clauses import bare, finite, is_subject, lower_first, parse, upper_first
from text2expert.offline.leads import bans, plain
from text2expert.offline.lexicon import BE, DETERMINERS, MODALS, PREPOSITIONS, PRONOUNS, QUANTITY_OF
from text2expert.offline.statements import (
    BOUND,
    PERSONAL,
    Fact,
    contains,
    content,
    generic,
    is_order,
    pointing,
    statement,
)
from text2expert.offline.units import Listing, Row, Table, title


def table_facts(table: Table) -> list[Fact]:
    """One fact per cell of a table with a header; one per row of a two-column list without."""
    if not title(table.section) or any(_DO_OR_NOT.fullmatch(cell) for cell in table.header):
        return []
    if not table.header:
        return [
            _entry(table, row)
            for row in table.rows
            if _names_one(table, row, 0) and len(row.cells) == 2 and row.cells[1]
        ]
    counted = bare(table.header[0]) in _COUNTERS and all(
        _COUNTER.fullmatch(row.cells[0]) for row in table.rows if row.cells
    )
    key = 1 if counted and len(table.header) > 2 else 0
    return [
        _cell(table, row, key, column)
        for row in table.rows
        if _names_one(table, row, key) and len(row.cells) == len(table.header)
        for column in range(min(key, 1) + 1 if key else 1, len(table.header))
        if row.cells[column] not in _BLANK
        and not _ELSEWHERE.match(row.cells[column])
        and table.header[column]
        and table.header.count(table.header[column]) == 1
        and not contains(row.cells[key], row.cells[column])
    ]


_DO_OR_NOT = re.compile(r"(?:do|don[’']?t|do not|dos|don[’']?ts|never|avoid|right|wrong)", re.IGNORECASE)
"""A column of what to do or not to do: what it holds says nothing of the row's other cells."""
_COUNTERS = frozenset({"no", "nr", "item", "#", "number", "s/n", ""})
_COUNTER = re.compile(r"\W*(?:[A-Za-z]{0,3}[\W_]?\d+(?:\.\d+)*[a-z]?|[A-Za-z]|[ivxIVX]+)?\W*")
"""A cell that only numbers its row."""
_ELSEWHERE = re.compile(r"(?:see|as|cf\.?|ditto|same|refer) (?!much|many|soon|long)|ditto$", re.IGNORECASE)
"""A cell that points to another place is no answer."""
_BLANK = frozenset({"", "-", "–", "—", "n/a", "N/A"})


def _names_one(table: Table, row: Row, key: int) -> bool:
    """Whether the row's name is its own."""
    name = row.cells[key] if key < len(row.cells) else ""
    if any(PERSONAL.search(cell) for cell in row.cells):
        return False
    return bool(re.search(r"\w", name)) and sum(other.cells[key : key + 1] == (name,) for other in table.rows) == 1


def _cell(table: Table, row: Row, key: int, column: int) -> Fact:
    name, unit = _unit_of(table.header[column])
    value = row.cells[column]
    short = (
        f"{value}{'' if unit.startswith(('/', '%', '°')) else ' '}{unit}"
        if unit and re.match(rf"(?:{BOUND} )?[-+]?\d[\d,.]*(?: to [\d,.]+)?$", value)
        else value
    )
    named = _row_name(table.header[key], row.cells[key])
    places = ((row.start, row.end),) if table.header_span is None else (table.header_span, (row.start, row.end))
    return Fact(
        kind="cell",
        slots={"column": name, "row": named},
        short=short,
        answer=f'{upper_first(short)} stands under "{name}" for {named}.',
        places=places,
        section=table.section,
    )


def _entry(table: Table, row: Row) -> Fact:
    return Fact(
        kind="entry",
        slots={"row": row.cells[0]},
        short=row.cells[1],
        answer=statement(f"{row.cells[0]}: {row.cells[1]}"),
        places=((row.start, row.end),),
        section=table.section,
    )


def _unit_of(header: str) -> tuple[str, str]:
    """(name, unit) of a column: "Flow (L/min)" -> "Flow", "L/min"."""
    match = re.match(r"^(.+?) \(([^()\s]+)\)$", header)
    if match and (match.group(2) in QUANTITY_OF or "/" in match.group(2)):
        return match.group(1), match.group(2)
    return header, ""


def _row_name(header: str, cell: str) -> str:
    """How a question names a row: "step 3", "fentanyl", "displacement of up to 9,000 t"."""
    name, unit = _unit_of(header)
    if not re.match(r"^[\d<>≤≥-]|^(?:up to|above|below|over|under|from)\b", cell):
        return cell if len(cell) > 3 and len(cell.split()) > 1 else f"{lower_first(name)} {cell}"
    amount = f"{cell} {unit}".strip()
    of = " of" if " " in amount and not re.match(r"above|below|over|under|from", cell) else ""
    return f"{lower_first(name)}{of} {amount}"


_MOST = 320
"""Characters of a list's answer at most."""
_OCCASION = re.compile(r"^(?:when|if|before|after|during|while|in case of|in the event of)\b", re.IGNORECASE)
_OPEN = re.compile(r"\b(?:not|never|to|if|when|that|must|shall|should|may)$", re.IGNORECASE)
"""A lead-in that its items complete."""
_CASES = re.compile(r"^(?P<rule>(?!.*\b(?:only|all|both|unless|except)\b).+) (?:if|when)$", re.IGNORECASE)
_DUTY = re.compile(r"^(?P<s>.+?) (?P<m>must|shall|should|may)(?P<n> not| never)?$")
_HOLDS = re.compile(r"^(?P<s>.+?) (?P<v>includes?|contains?|requires?|needs?|covers?|comprises?)$")
_FOLLOWING = re.compile(
    r"^(?:The )?following (?P<n>[a-z][\w -]{2,40}?) (?P<v>(?:is|are|must|shall|may|should|can|apply|applies)\b.*)$",
    re.IGNORECASE,
)


def list_facts(listing: Listing, proper: frozenset[str]) -> list[Fact]:
    """What a list says as a whole, where its lead-in asks for it."""
    lead = plain(listing.lead.text)
    joint = any(re.search(r"\band[;,]?$", item) for item in listing.items)
    items = [re.sub(r"[;,]? (?:and|or)$", "", item.rstrip(" .;,")) for item in listing.items]
    joined = "; ".join(items)
    if not lead or len(joined) > _MOST or PERSONAL.search(joined) or len(lead.split()) > 16:
        return []
    asked = _asked(lead, items, proper)
    if asked is None or (asked[0] == "case" and joint):
        return []
    kind, slots, anchored = asked
    return [
        Fact(
            kind=kind,
            slots=slots,
            short=joined,
            answer=statement(f"{lead}: {joined}"),
            places=((listing.lead.start, listing.lead.end), *listing.places),
            section=listing.section,
            anchored=anchored,
        )
    ]


def _may_be_order(item: str) -> bool:
    """Whether an item under "Do not:" can be an order by its place, also where its verb is not known."""
    first = bare(item.split(maxsplit=1)[0])
    closed = DETERMINERS | PREPOSITIONS | PRONOUNS | MODALS | BE
    return first.isalpha() and first not in closed and not first.endswith(("ing", "ed", "s", "ly")) and " " in item


def _is_clause(item: str) -> bool:
    """Whether an item is a condition by itself: "the seal has been broken"."""
    return finite(item.split()) is not None


def _asked(lead: str, items: list[str], proper: frozenset[str]) -> tuple[str, dict[str, str], bool] | None:
    """(kind, slots, whether the section must be named) of the question that a lead-in leaves open."""
    lowered = lower_first(lead, proper)
    orders = all(is_order(lower_first(item, proper)) for item in items)
    if lead.lower() in {"do not", "never"}:
        return ("list-ban", {}, True) if all(map(_may_be_order, items)) else None
    if case := _CASES.match(lead):
        clause = parse(case.group("rule"), proper)
        alone = clause is not None and not clause.tail
        if clause is None or not alone or pointing(clause.statement()) or not all(map(_is_clause, items)):
            return None
        return "case", {"inv": clause.inverted(), "stmt": clause.statement()}, generic(clause.subject)
    if following := _FOLLOWING.match(lead):
        predicate = following.group("v")
        vague = len(content(f"{following.group('n')} {predicate}")) < 4
        return (
            None
            if pointing(predicate)
            else ("list-which", {"noun": following.group("n"), "predicate": predicate}, vague)
        )
    if pointing(lead) or re.match(r"(?:no|nobody|none|neither)\b", lead, re.IGNORECASE):
        return None
    if _OCCASION.match(lead):
        if "," in lead or (bans(lead) and not re.match(r"(?:when|if)\b", lead, re.IGNORECASE)) or _OPEN.search(lead):
            return None
        return "condition-order" if orders else "condition", {"condition": lowered}, len(content(lead)) < 3
    if (duty := _DUTY.match(lead)) and orders and is_subject(duty.group("s").split()):
        slots = {
            "subject": lower_first(duty.group("s"), proper),
            "modal": duty.group("m"),
            "negation": f"{duty.group('n').strip()} " if duty.group("n") else "",
        }
        return "duty", slots, True
    if (holds := _HOLDS.match(lead)) and is_subject(holds.group("s").split()):
        subject, verb = lower_first(holds.group("s"), proper), holds.group("v")
        plural = not verb.endswith("s")
        base = verb.removesuffix("s")
        slots = {"inv": f"{'do' if plural else 'does'} {subject} {base}", "stmt": f"{subject} {verb}"}
        return "object", slots, len(content(subject)) < 3
    return None
