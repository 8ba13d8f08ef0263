"""Lead-ins: which line introduces a listed item, and how the item may be read under it.

"Open the rear gate after 18:00." says the opposite of what is meant when it is read without the "Do not:" above it. So a
listed item is read composed with its lead-in, or with the lead-in named in the question; it is read alone only where the
lead-in says no more than that a list follows. A lead-in that fits none of these silences its items.
"""

import re
from collections.abc import Sequence

import attrs

from text2expert.evidence.leads import ban_in, is_bare_ban
from text2expert.evidence.tokens import tokens
from text2expert.offline.clauses import bare, finite, is_subject, lower_first
from text2expert.offline.lexicon import BE, DETERMINERS, MODALS, PRONOUNS, THIRD, word_set


@attrs.frozen(kw_only=True)
class Lead:
    """The line that introduces a list ("Do not:"). ``start`` is -1 where it stands outside the passage."""

    text: str
    start: int = -1
    end: int = -1
    heading: bool = False


UNKNOWN = Lead(text="")
"""That of a passage which begins inside a list, where its context does not tell the lead-in."""


@attrs.frozen(kw_only=True)
class Mark:
    """What stands before an item: its kind ("-", "(a)", "1.1"), its indent and, where it counts, its number."""

    kind: str
    indent: int
    number: int = 0


_MARK = re.compile(
    r"(?P<indent>\s*)(?:§\s*)?(?P<mark>[-*+•‣▪◦·–—](?=\s)|(?P<open>\(?)(?:(?P<digits>\d{1,3})|(?P<roman>[ivxIVX]{1,5})|(?P<letter>[a-zA-Z]{1,2}))(?P<close>\)|\.(?=\s))"
    r"|(?P<path>\d{1,3}(?:\.\d{1,3})*)\.?(?=\s)|[A-Z](?P<under>\.\d{1,3})\.?(?=\s))\s+"
)


def mark_of(line: str) -> Mark | None:
    """The mark that *line* begins with; None where there is none."""
    match = _MARK.match(line)
    if match is None:
        return None
    indent = len(match.group("indent").expandtabs())
    shape = match.group("open") or "", match.group("close") or ""
    if digits := match.group("digits"):
        return Mark(kind="1".join(shape), indent=indent, number=int(digits))
    if roman := match.group("roman"):
        return Mark(kind=("i" if roman.islower() else "I").join(shape), indent=indent, number=_roman(roman.lower()))
    if letter := match.group("letter"):
        return Mark(
            kind=("a" if letter.islower() else "A").join(shape), indent=indent, number=ord(letter[0].lower()) - 96
        )
    if path := match.group("path"):
        parts = path.split(".")
        return Mark(kind="1." * len(parts), indent=indent, number=int(parts[-1]))
    if under := match.group("under"):
        return Mark(kind="A.1.", indent=indent, number=int(under[1:]))
    return Mark(kind=match.group("mark"), indent=indent)


def _roman(text: str) -> int:
    values = [{"i": 1, "v": 5, "x": 10}[letter] for letter in text]
    return sum(-one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True))


@attrs.define
class _Level:
    lead: Lead
    own: Mark | None
    """The mark of the line that is the lead-in."""
    item: Mark | None = None
    """The mark of its latest item."""
    cut: bool = False
    """Whether it stands outside the passage, so that its first item here need not be its first."""


class Leads:
    """The lead-ins that are open at a line, outermost first."""

    def __init__(self, above: Sequence[Lead] = ()) -> None:
        self._levels = [_Level(lead, None, cut=True) for lead in above]
        self._paused: list[_Level] = []

    @property
    def open(self) -> tuple[Lead, ...]:
        """The lead-ins above the line that is read."""
        return tuple(level.lead for level in self._levels)

    @property
    def waiting(self) -> bool:
        """Whether the last lead-in still has no item."""
        return bool(self._levels) and self._levels[-1].item is None

    def holds(self, indent: int) -> bool:
        """Whether a paragraph so far to the right goes on with the item above it."""
        item = self._levels[-1].item if self._levels else None
        return item is not None and indent > item.indent

    def clear(self) -> None:
        """A heading or a table: what was introduced has ended."""
        self._levels, self._paused = [], []

    def pause(self) -> None:
        """A paragraph: the list has ended, unless a further item of a list of bans comes behind it."""
        if self._levels:
            self._paused = self._levels if any(bans(level.lead.text) for level in self._levels) else []
        self._levels = []

    def introduce(self, lead: Lead, own: Mark | None) -> None:
        """A line that introduces what follows."""
        self._levels.append(_Level(lead, own))

    def take(self, mark: Mark, *, numbered: bool) -> None:
        """An item with *mark*: lead-ins whose list it does not belong to have ended.

        Args:
            mark: What the line begins with.
            numbered: Whether it may be a paragraph of its own ("4. The Landlord ...") as well as an item.
        """
        if not self._levels and self._paused:
            last = self._paused[-1].item
            if last is not None and mark.kind == last.kind and (mark.number == last.number + 1 or not mark.number):
                self._levels = self._paused
            self._paused = []
        while self._levels:
            level = self._levels[-1]
            own, item = level.own, level.item
            if item is None:
                follows = own is not None and own.kind == mark.kind and mark.number == own.number + 1 > 1
                outside = own is not None and mark.indent < own.indent
                if not follows and not outside and (level.cut or not numbered or mark.number == 1):
                    level.item = mark
                    return
            elif mark.kind == item.kind or (mark.number == item.number + 1 and _alike(mark, item)):
                if mark.indent >= item.indent or own is None or own.kind != mark.kind:
                    level.item = attrs.evolve(mark, kind=item.kind)
                    return
            elif not numbered and (own is None or own.kind != mark.kind) and mark.indent > item.indent:
                return  # an item's own list without a lead-in
            elif (
                not numbered
                and mark.indent == item.indent
                and (own is None or own.kind != mark.kind)
                and not any(
                    mark.kind == one.kind for below in self._levels[:-1] for one in (below.own, below.item) if one
                )
            ):
                return
            self._levels.pop()


def _alike(mark: Mark, item: Mark) -> bool:
    """Whether a letter goes on with a series that looks like another: "(h)" and "(i)"."""
    return {mark.kind.strip("().").lower(), item.kind.strip("().").lower()} <= {"i", "a"} or (
        mark.kind.replace("i", "a") == item.kind.replace("i", "a")
    )


# --- reading an item under its lead-in --------------------------------------------------------------------------------

_DOUBTFUL = re.compile(
    r"\b(?:no|not|without|nor|unless|except\w*|exclu[ds]\w+|exempt\w*|only|bad|poor|incorrect\w*|wrong\w*|unsafe|improper\w*|dangerous|pitfalls?|myths?|"
    r"misconceptions?|anti-?patterns?|instead|rather|rejected|refused|obsolete|superseded|former\w*|(?:counter-?)?examples?|grounds|stop|"
    r"cease)\b",
    re.IGNORECASE,
)
"""Words by which a lead-in may make its items something else than the rule, though it forbids nothing."""
_ORDERED_NOT = frozenset({"do not", "don't", "don’t", "never"})
_PLAIN = word_set(
    "following follows follow steps step procedure procedures rules rule checks check actions action points tasks measures precautions duties instructions order "
    "requirements principles checklist sequence method always then please general here below next first key main also all these apply"
)
"""Words of a lead-in that says no more than that a list follows."""
_CLAUSE = re.compile(r"^(?:when|whenever|if|before|after|while|once|as soon as)\b(?![^,]*,)", re.IGNORECASE)
_OCCASION = re.compile(
    r"^(?:when|whenever|if|before|after|while|once|as soon as|during|upon|on|at|in|for|with|within|until|every|each|daily|weekly|monthly|yearly|following|where|to)\b",
    re.IGNORECASE,
)
_COMPOSED = MODALS | word_set("not to never includes include requires require contains states means if when that")
_WHOLE = re.compile(r"\b(?:all|both|each|every)\b", re.IGNORECASE)
_TERM = re.compile(r"^[\"“][^\"”]{1,60}[\"”]")
_TOPIC = 70
"""Characters of a lead-in that a question can name."""


def plain(text: str) -> str:
    """*text* without its mark, its emphasis and the colon or dash at its end."""
    text = text.strip().strip("*_#> ")
    if mark := _MARK.match(text):
        text = text[mark.end() :]
    return " ".join(text.strip("*_#> ").rstrip(" :.—–-*_").split())


def leads_in(text: str) -> bool:
    """Whether *text*, a paragraph or a listed line, announces what stands below it by its colon."""
    return text.rstrip(" *_#>").endswith(":")


def bans(text: str) -> bool:
    """Whether what stands under the lead-in or heading *text* may be the opposite of a rule.

    What a ban is, the evidence check says; here it is enough that the text may turn its items round.
    """
    return bool(_DOUBTFUL.search(text)) or is_bare_ban(text) or ban_in(tokens(text)) is not None


def announces(text: str) -> bool:
    """Whether the last sentence of a paragraph right above a list may be its lead-in though it has no colon."""
    return not text.endswith((".", "!", "?", ";")) or bool(
        re.search(r"\b(?:following|follows|below|these)\b", text, re.IGNORECASE) or bans(text)
    )


@attrs.frozen(kw_only=True)
class Listed:
    """How an item may be read."""

    text: str
    composed: bool = False
    """Whether the lead-in is part of the text."""
    topic: str = ""
    """The lead-in, where questions must name it."""
    shared: bool = False
    """Whether its fellow items answer the same question: each is one of several conditions."""
    orders: bool = True
    """Whether an item that looks like an order is one."""


def listed(leads: Sequence[Lead], body: str, proper: frozenset[str], *, sentence: bool, joint: bool) -> Listed | None:
    """*body* as it may be read under *leads*; None where it is not safe to teach.

    Args:
        leads: The lead-ins above it, outermost first.
        body: The item without its mark and full stop.
        proper: Words that keep their capital inside a sentence.
        sentence: Whether the item is a sentence by itself.
        joint: Whether the items hold only together ("a; and b").
    """
    if leads == (UNKNOWN,):
        return Listed(text=body, orders=False)
    *outer, inner = [plain(lead.text) for lead in leads]
    if (
        not inner
        or not bare(body)
        or (not body[0].isalnum() and body[0] not in '"“(')
        or any(bans(one) or not _is_plain(one) for one in outer)
    ):
        return None
    lowered = inner.lower().replace("’", "'")
    last = bare(inner.split()[-1])
    if lowered in _ORDERED_NOT or last in _COMPOSED:
        return _composed(inner, last, lower_first(body, proper), joint=joint)
    condition = _CLAUSE.match(inner)
    if bans(inner) and not condition:
        return None
    if _TERM.match(body):
        return Listed(text=body)
    if _names(inner) and (bare(body.split(maxsplit=1)[0]) in THIRD.keys() | MODALS | BE) and body[0].islower():
        return Listed(text=f"{inner} {body}", composed=True)
    if not sentence:
        return None
    if _is_plain(inner):
        return Listed(text=body)
    if len(inner) > _TOPIC or (_WHOLE.search(inner) and condition):
        return None
    occasion = _OCCASION.match(inner) or re.search(r"\bfollow(?:ing|s)\b", lowered) or last in _PLAIN
    return Listed(text=body, topic=inner.replace('"', "'"), orders=bool(occasion))


def _names(lead: str) -> bool:
    """Whether a lead-in is a whole subject: "The fire safety manager:" above "issues permits;"."""
    words = lead.split()
    known = bare(words[0]) in {"the", "a", "an", "each", "every", "all"} or len(words) == 1
    return known and len(words) <= 7 and is_subject(words) and finite([*words, "is"]) == len(words)


def _is_plain(lead: str) -> bool:
    words = [bare(word) for word in lead.split()]
    return all(word in _PLAIN or word in DETERMINERS or word in {"", "as", "in", "are", "is", "do"} for word in words)


def _composed(lead: str, last: str, first: str, *, joint: bool) -> Listed | None:
    """The item behind its lead-in, where the two make one clause."""
    opening = bare(first.split(maxsplit=1)[0])
    if re.match(r"(?:no|nobody|none|neither|unless)\b", lead, re.IGNORECASE) and last != "not":
        return None
    if last in {"if", "when", "that"}:
        alone = not joint and not re.search(r"\b(?:only|all|both|each|except|unless)\b", lead, re.IGNORECASE)
        if not alone and (last != "that" or bans(lead)):
            return None
        return Listed(text=f"{lead} {first}", composed=True, shared=last != "that")
    if last in MODALS | {"not", "never", "to"} and (opening in DETERMINERS | PRONOUNS | MODALS | BE - {"be"}):
        return None
    if re.fullmatch(r"don[’']t", lead, re.IGNORECASE):
        lead = "Do not"
    if lead.isupper():
        lead = lead.capitalize()
    return Listed(text=f"{lead} {first}", composed=True)
