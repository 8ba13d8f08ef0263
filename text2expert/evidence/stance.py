"""What a text denies and which way it points: negations with what they govern, direction words with what stands beside."""

from collections.abc import Iterator, Sequence

from text2expert.evidence.tokens import Token
from text2expert.evidence.wording import (
    BANS,
    INHERENT,
    LIGHT_STEMS,
    NEGATORS,
    OF_BANS,
    OPPOSITES,
    PERMITS,
    concept,
    word_set,
)

_REACH = 4
"""Content words that a negation governs at most."""
_VERBAL = word_set("not never cannot without")
"""Negations whose reach ends at the next auxiliary; that of "no" and "nobody" is the subject and goes on."""
_RELATIVES = word_set("that which who")
_AUXILIARIES = word_set("is are was were has have had may must can shall should will would")
_SCOPE_ENDS = word_set("but when if unless because until while which who whose that so although except after before")
_COMPARING = word_set(
    "more less later earlier longer higher lower fewer sooner greater older larger above below over under exceed exceeding "
    "only just than"
)
"""After a negation, these make a comparator of it ("no more than") or no negation ("not only")."""
_AFTER_OR = word_set(
    "more less fewer above below over under older younger longer shorter higher lower later earlier greater"
)
_BEFORE_NUMBER = word_set("more less fewer above below over under exceeds exceed exceeding after before within until")
_PREPOSITIONS = word_set("with without before after until within above below over under inside outside")


_HELD_OFF = word_set("without before until")
"""What a ban turns round: not "before it is dry" is "after it is dry"."""
_EXCEPTIONS = word_set("unless except without until only")
_CONDITIONS = word_set("if when where while whenever")


class Direction:
    """A direction word with its sides (opposites have opposite signs) and the words beside it."""

    __slots__ = ("ahead", "beside", "denied", "opposites", "sides", "word")

    def __init__(self, word: str, sides: frozenset[int], *, denied: bool, beside: frozenset[str], ahead: str) -> None:
        self.word, self.sides, self.denied, self.beside = word, sides, denied, beside
        self.ahead = ahead
        self.opposites = frozenset(-side for side in sides)


class Stance:
    """The negations and directions of one statement or clause."""

    def __init__(self, made: Sequence[Token], *, denied: bool = False) -> None:
        """*denied*: the whole text stands under a lead-in that says no."""
        self.denied: set[str] = set()
        """Content words that a negation is said of: the first after it."""
        self.scopes: list[set[str]] = [set()] if denied else []
        """For each negation the content words that it governs."""
        self.plain: set[str] = set()
        """Content words that no negation governs."""
        self.clouded: set[str] = set()
        """Content words of stretches that say no anywhere, if only by "only", "unless", "refuse"."""
        self.cases_of: list[set[str]] = []
        """The scopes of the lead-in's negations, where the statement is a case of what is denied."""
        self.bans: list[frozenset[str]] = []
        """What stretches with a ban ("is prohibited", "is not allowed") forbid, as content words."""
        self.exceptions: set[str] = set()
        """Content words behind "unless", "except", "without"."""
        self.conditions: set[str] = set()
        """Content words behind "if", "when", "where"."""
        self.explicit = denied
        """There is a negation."""
        self.directions: list[Direction] = []
        for stretch in _stretches(made):
            self._read(made, stretch, under=denied)
        self._read_nobody(made)
        self.scope: frozenset[str] = frozenset().union(*self.scopes)

    def read_under(self, lead: "Stance", made: Sequence[Token], *, forbidden: bool) -> None:
        """Take over what a lead-in says for its items: its directions, and a denial whose cases they are."""
        first = next((frozenset((concept(token.stem),)) for token in made if token.content), frozenset[str]())
        self.directions += [
            Direction(d.word, d.sides, denied=d.denied, beside=d.beside | first, ahead=d.ahead) for d in lead.directions
        ]
        if not forbidden and lead.explicit:  # "Do not give it if:"
            self.explicit = True
            self.cases_of.extend(lead.scopes)

    def _read(self, made: Sequence[Token], stretch: list[int], *, under: bool) -> None:
        reach = negations = 0
        clouded = under
        bans = permits = False
        self._read_conditions([made[i] for i in stretch])
        self._read_exclusion(made, stretch)
        self._read_ellipsis(made, stretch)
        for i in stretch:
            token = made[i]
            word = token.stem
            clouded = clouded or word in INHERENT
            bans = bans or word in BANS
            permits = permits or (word in PERMITS and reach > 0)
            sides = OPPOSITES.get(token.text.lower()) or OPPOSITES.get(word)
            if sides and not _compares(made, i):
                governed = negations > 0 if word in NEGATORS else reach > 0
                governed = governed or (under and word in _HELD_OFF)
                self.directions.append(
                    Direction(token.text, sides, denied=governed, beside=_beside(made, i), ahead=_ahead(made, i))
                )
            if word in NEGATORS:
                if negates(made, i):
                    negations += 1
                    if negations == 1:  # two in a stretch say yes: "not without"
                        reach = _REACH
                        self.scopes.append(set())
                elif word != "none":
                    continue
                self.explicit = True
                clouded = clouded or word != "without"
            elif token.content:
                self._place(concept(word), reach, under=under)
                reach = max(0, reach - 1)
        words = frozenset(concept(made[i].stem) for i in stretch if made[i].content)
        if (bans and not negations) or (
            permits and negations == 1 and not any(made[i].stem == "without" for i in stretch)
        ):
            self.bans.append(words - OF_BANS - LIGHT_STEMS)
        if clouded:
            self.clouded |= words

    def _read_conditions(self, stretch: list[Token]) -> None:
        apart: set[str] | None = None
        for token in stretch:
            word = token.stem
            apart = self.exceptions if word in _EXCEPTIONS else self.conditions if word in _CONDITIONS else apart
            if apart is not None and token.content:
                apart.add(concept(word))

    def _read_ellipsis(self, made: Sequence[Token], stretch: list[int]) -> None:
        """Read a negation that stands last as one of what comes before: "pencils are allowed, pens are not"."""
        last = stretch[-1] if stretch else 0
        if last > 1 and made[last].stem == "not" and made[last - 1].stem in _AUXILIARIES:
            self.scopes.append({concept(made[i].stem) for i in stretch if made[i].content})
            self.explicit = True

    def _read_nobody(self, made: Sequence[Token]) -> None:
        """Take "nobody who has a fever may serve" for a ban on what follows, as far as the clause goes."""
        for i, token in enumerate(made):
            if (i and not made[i - 1].boundary) or not (token.stem == "nobody" or is_no_one(made, i)):
                continue
            words: set[str] = set()
            for following in made[i + 1 :]:
                if following.boundary or following.stem in ("but", "except", "unless", "without"):
                    break
                if following.content:
                    words.add(concept(following.stem))
            self.bans.append(frozenset(words) - LIGHT_STEMS)

    def _read_exclusion(self, made: Sequence[Token], stretch: list[int]) -> None:
        """Take "nobody but a conservator may touch it", or "only a conservator", for a ban on touching it, with an exception."""
        first = stretch[0] if stretch else -1
        before = [token.text.lower() for token in made[max(0, first - 2) : max(0, first)]]
        nobody = before[-1:] == ["nobody"] or before == ["no", "one"]
        opens = first >= 0 and made[first].stem == "only" and (first == 0 or made[first - 1].boundary)
        if not opens and not (nobody and made[first].stem in ("but", "except")):
            return
        parts: list[set[str]] = [set()]
        for i in stretch:
            if made[i].stem in _AUXILIARIES and len(parts) == 1:
                parts.append(set())
            elif made[i].content:
                parts[-1].add(concept(made[i].stem))
        if len(parts) > 1:
            self.exceptions |= parts[0]
            self.bans.append(frozenset(parts[1]) - LIGHT_STEMS)

    def _place(self, name: str, reach: int, *, under: bool) -> None:
        if reach == _REACH or (under and not self.scopes[0]):
            self.denied.add(name)
        if reach:
            self.scopes[-1].add(name)
        elif under:
            self.scopes[0].add(name)
        else:
            self.plain.add(name)


def _stretches(made: Sequence[Token]) -> Iterator[list[int]]:
    """The places of the tokens between which no negation reaches over."""
    stretch: list[int] = []
    relative = False
    filled = 0
    since = 0  # content words since a verbal negation, counted from 1; 0: there was none
    for i, token in enumerate(made):
        word = token.stem
        ends = token.boundary or word in _SCOPE_ENDS
        # The verb after a relative clause: "a hook that does not open" ends before "is taken".
        if ends or (word in _AUXILIARIES and filled and (relative or 1 < since <= _REACH)):
            yield stretch
            stretch, filled, since = [], 0, 0
            relative = word in _RELATIVES
        if token.boundary:
            continue
        stretch.append(i)
        if word in _VERBAL:
            since = 1
        elif token.content:
            filled += 1
            since += since > 0
    yield stretch


def is_no_one(made: Sequence[Token], i: int) -> bool:
    """Whether "no one" stands at a place."""
    return made[i].stem == "no" and i + 1 < len(made) and made[i + 1].text.lower() == "one"


def negates(made: Sequence[Token], i: int) -> bool:
    """Whether a negation is said of what follows: not the "No" before a comma, "no more than", "not only"."""
    following = made[i + 1 : i + 3]
    if not following or following[0].boundary or following[0].text.lower() in _COMPARING:
        return False
    return following[-1].stem != "than"  # "no further than"


def _compares(made: Sequence[Token], i: int) -> bool:
    """Whether a direction word belongs to a number ("above 30", "6 or more"): there the bounds are compared instead."""
    word = made[i].text.lower()
    following = made[i + 1 : i + 3]
    if word in ("lasts", "lasted", "lasting"):
        return True
    if word == "up" and following and following[0].stem == "to":
        return True
    if following and word in _BEFORE_NUMBER and following[0].quantity is not None:
        return True
    if following and following[0].stem == "than" and any(token.quantity is not None for token in made[i + 2 : i + 5]):
        return True
    if i and word in ("before", "after") and made[i - 1].quantity is not None:
        return True  # "one month after": the number's relation
    if word in ("maximum", "minimum") and any(token.quantity is not None for token in following):
        return True
    return i > 0 and word in _AFTER_OR and made[i - 1].stem in ("or", "and")


def _ahead(made: Sequence[Token], i: int) -> str:
    """The number that follows a direction word in its part of the sentence: "starts at 6:45"; empty where there is none."""
    for token in made[i + 1 : i + 5]:
        if token.quantity is not None:
            return f"#{token.quantity.value:g}"
        if token.boundary or token.stem in ("and", "or", "but"):
            break
    return ""


def _beside(made: Sequence[Token], i: int) -> frozenset[str]:
    """The nearest content words or numbers on each side of a word, within its clause."""
    found = set()
    for step, reach in ((1, 4),) if made[i].stem in _PREPOSITIONS else ((1, 4), (-1, 3)):
        for j in range(i + step, i + step * (reach + 1), step):
            if not 0 <= j < len(made) or made[j].boundary:
                break
            token = made[j]
            if token.quantity is not None:
                found.add(f"#{token.quantity.value:g}")
                break
            if token.content:
                found.add(concept(token.stem))
                break
    return frozenset(found)
