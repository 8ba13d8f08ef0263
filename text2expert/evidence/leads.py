"""What an item is read with: its list's lead-in, the heading above, and whether these forbid what stands below.

Do not:                   2. While the pump runs, never:        ## Prohibited
- weld on a drum             - open the inner valve             - smoking in the store
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from text2expert.evidence.tokens import Token
from text2expert.evidence.wording import BANS, NEGATORS, stem, word_set

_MARKER = re.compile(r"([ \t]*)(>[ \t]*)?([(]?)(?:(\d+(?:\.\d+)*)|([a-z]{1,4})|([^\w\s(]))([.)]*)", re.IGNORECASE)
_ROMAN = re.compile(r"[ivx]{2,4}")
_DRESS = re.compile(
    r"^[\s>#*_\u2022-]*(?:[(]?(?:\d+(?:\.\d+)*|[a-z])[.)]+\s|\d+(?:\.\d+)*\s)?[\s*_]*|[\s*_:.\u2013\u2014-]+$",
    re.IGNORECASE,
)
"""What surrounds a heading or lead-in: marks, enumerators, emphasis, the colon."""
_BARE_BAN = re.compile(
    r"(?:please )?(?:do not|don['\u2019]ts?|never|avoid|prohibited|forbidden|not (?:allowed|permitted)|banned|what not to do"
    r"|things (?:to avoid|not to do)|(?:common |typical )?(?:mistakes|errors)(?: to avoid)?|must not|may not|shall not)"
    r"(?: (?:do|do this|actions?|acts?|practices?|conduct|activities|uses?|items?|in any case))?",
    re.IGNORECASE,
)
"""A line that is a ban as a whole, with or without a colon."""
_BANS = BANS | frozenset(
    map(
        stem,
        word_set(
            "abstain desist mistake misuse breach offence offense violation malpractice misconduct dismissal barred contraindicated unacceptable pitfall"
        ),
    )
)
_BAD = word_set("bad incorrect wrong poor improper unacceptable unsafe dangerous")
"""Stems and words that make a lead-in a ban without a negation."""
_BAD_WHAT = word_set("practice practices examples example behaviour conduct actions action use uses ways technique")
_CASES = word_set("if when where unless whenever case cases condition conditions situation situations")
_COMPARING = word_set("more less later earlier longer higher lower fewer only than exceed exceeding just")


class Lead(NamedTuple):
    """A lead-in: what its items are read with."""

    key: tuple[int, str]
    """Indentation and kind of its own marker; (-1, "") for a paragraph."""
    statement: int
    """Its place among the statements."""
    denied: bool
    child: tuple[int, str] | None = None
    """Indentation and kind of its items' markers, once one was seen."""


class Leads:
    """The lead-ins that are open at a place of the text, the innermost last."""

    def __init__(self) -> None:
        self.open: list[Lead] = []
        self._last = ""

    def clear(self) -> None:
        """A paragraph or heading ends all lists."""
        self.open.clear()

    def above(self, body: str) -> Lead | None:
        """The lead-in of an item; lists that the item ends are closed."""
        key = self.marker(body)
        while self.open:
            top = self.open[-1]
            if top.child is None:
                if top.key[0] <= key[0] or top.key[1] == "":
                    self.open[-1] = top._replace(child=key)
                    break
            elif key == top.child:
                break
            elif key != top.key and key[0] >= top.child[0] and all(key != lead.child for lead in self.open[:-1]):
                break  # one level deeper, or marked otherwise
            self.open.pop()
        return self.open[-1] if self.open else None

    def marker(self, body: str) -> tuple[int, str]:
        """Indentation and kind of an item's marker: equal for the items of one list."""
        match = _MARKER.match(body)
        if match is None:
            return (0, "")
        indent, _, bracket, digits, letters, sign, closing = match.groups()
        if digits:
            kind = "1" + ".1" * digits.count(".")
        elif letters:
            roman = _ROMAN.fullmatch(letters.lower()) or (letters.lower() == "i" and self._last != "h")
            kind = "i" if roman else "a"
            self._last = letters.lower()
        else:
            kind = sign or ""
        return (len(indent.expandtabs(4)), f"{bracket}{kind}{closing}")


def is_bare_ban(line: str) -> bool:
    """Whether a line is nothing but a ban: "### Do not", "3.3 Prohibited", "Things to avoid"."""
    return len(line) < 60 and _BARE_BAN.fullmatch(_DRESS.sub("", line)) is not None


def opens_a_list(text: str) -> bool:
    """Whether a paragraph or item ends as a lead-in: in a colon or dash, whatever its emphasis, or in "the following."."""
    bare = text.rstrip(" *_\t")
    return bare.endswith((":", "\u2014", "\u2013")) or re.search(r"\bfollowing(?: \w+)?\.?$", bare) is not None


def forbids(made: Sequence[Token]) -> bool:
    """Whether a lead-in forbids what follows it.

    A lead-in that ends in a condition forbids something else, and what follows are its cases: "Do not enter if:".
    """
    ban = ban_in(made)
    if ban is None:
        return False
    behind = [token.text.lower() for token in made[ban + 1 :] if not token.boundary]
    return _CASES.isdisjoint(behind[-6:])


def ban_in(made: Sequence[Token]) -> int | None:
    """Where a text forbids something, the last such word; None where it forbids nothing."""
    ban = None
    for i, token in enumerate(made):
        following = made[i + 1].text.lower() if i + 1 < len(made) else ""
        if (
            (token.stem in NEGATORS and token.stem != "without" and following not in _COMPARING)
            or token.stem in _BANS
            or (token.text.lower() in _BAD and (following in ("", ":") or following in _BAD_WHAT))
            or (token.text.lower() == "ts" and i and made[i - 1].text.lower() == "don")
        ):
            ban = i
    return ban
