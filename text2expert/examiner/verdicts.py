"""Whether a statement says yes or no to a question: by what it denies, forbids, excepts and limits.

    may butter be used?      butter may not be used                  no: a negation of what is asked
    may visitors touch it?   only a conservator may touch it         no: forbidden, and no exception is brought
    may it run 20 minutes?   it runs for up to 30 minutes            yes: within the limit
    is the gate open?        the gate is closed at night             no: the opposite

A statement that denies nothing of what is asked affirms it: whether it is the statement that answers the question is for
the reader to say.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from text2expert.evidence.quantities import Quantity
from text2expert.evidence.stance import Stance, negates
from text2expert.evidence.statements import Statement
from text2expert.evidence.tokens import Token, content, tokens
from text2expert.evidence.wording import LIGHT_STEMS, NEGATORS, OF_BANS, OPPOSITES, PERMITS, concept, stem, word_set
from text2expert.examiner.values import is_beyond, kind_of, measure, same

__all__ = ["affirms"]

_LACKING = word_set("without before until unless")
"""Before a thing in a question: that it is not there, or not yet."""
_ABSENT = word_set("without unless")
_NOT_YET = word_set("until till before")
_ONCE = word_set("after once since")
_EXCEPT = word_set("except excepting excluding save")
_EXCEPTING = word_set("except unless without until only but")
_TURNS = word_set("but while whereas although however")
_PERMITTING = frozenset(map(concept, PERMITS)) | {concept(stem("accept")), concept(stem("eligible"))}
_WITHOUT = "without"
_REFUSALS = frozenset(
    map(
        stem,
        word_set(
            "exclude excluded exempt exempted refuse refused reject rejected decline omitted withheld impossible void invalid contraindicated forfeited forfeit unavailable ineligible"
        ),
    )
)
"""What says no of its subject without a negation."""


def affirms(question: str, statement: Statement, lead: Statement | None = None) -> bool:
    """Whether *statement*, under its *lead*, says yes to *question*, which asks for yes or no."""
    asked = _Asked(question)
    made = statement.tokens
    fits = _fits(asked, statement)
    denied = _denies(asked, made) or _forbids(asked, made, denied=statement.denied)
    if lead is not None and not statement.denied:
        denied = denied or _denies(asked, lead.tokens)
    if denied:
        # "Prohibited above 30 knots" says nothing against 25.
        return (fits is False and _has_condition(statement, denied=statement.denied)) or _brings_exception(asked, made)
    if fits is False or _lacks(asked, made) or _is_excepted(asked, made) or _is_too_late(asked, made):
        return False
    return not _is_opposite(asked, made)


class _Asked:
    """A question for yes or no."""

    def __init__(self, question: str) -> None:
        self.tokens = tokens(question)
        words = content(self.tokens)
        self.words = _heavy(words)
        """Its content words, as concepts."""
        self.numbers = [token.quantity for token in self.tokens if token.quantity is not None]
        places = [place for place, token in enumerate(self.tokens) if token.text.lower() in _LACKING]
        self.lacking = _heavy(content(self.tokens[places[-1] + 1 :])) if places else frozenset[str]()
        """What it says is not there, or not yet: "the helmet" of "without a helmet"."""
        self.without = any(self.tokens[place].text.lower() in _ABSENT for place in places)
        """It is not there, rather than not yet."""
        self.negative = bool(_scopes(self.tokens))


def _heavy(words: frozenset[str]) -> frozenset[str]:
    """*words* without those that say little, unless there are no others."""
    return words - LIGHT_STEMS or words


class _Scope(NamedTuple):
    """What one negation governs."""

    words: frozenset[str]
    clause: frozenset[str]
    """Content words of the clause that it stands in."""
    numbers: tuple[Quantity, ...]
    condition: bool
    """It stands in a condition: "if the patient does not respond"."""


def _clauses(made: Sequence[Token]) -> list[list[Token]]:
    """*made* between its boundaries and "but"."""
    found: list[list[Token]] = [[]]
    for token in made:
        if token.boundary or token.text.lower() in _TURNS:
            found.append([])
        else:
            found[-1].append(token)
    return [clause for clause in found if clause]


def _scopes(made: Sequence[Token]) -> list[_Scope]:
    """The negations of *made*; "without" is read apart, as what is lacking."""
    found = []
    for clause in _clauses(made):
        present = [token._replace(stem="with", text="with") if token.stem == _WITHOUT else token for token in clause]
        stance = Stance(present)
        words = content(clause)
        numbers = tuple(token.quantity for token in clause if token.quantity is not None)
        found += [
            _Scope(frozenset(scope), words, numbers, bool(scope) and scope <= stance.conditions)
            for scope in stance.scopes
        ]
    return found


def _home(asked: _Asked, made: Sequence[Token]) -> frozenset[str]:
    """The content words of the clause that has most of the question's, and of equals the one with the last of them.

    What a question is about comes last: "may a tenant keep goldfish".
    """
    clauses = [words for clause in _clauses(made) if (words := content(clause)) & asked.words]
    order = [concept(token.stem) for token in asked.tokens if token.content]
    return max(
        clauses,
        key=lambda words: (
            len(words & asked.words),
            max((place for place, word in enumerate(order) if word in words), default=-1),
        ),
        default=frozenset(),
    )


def _denies(asked: _Asked, made: Sequence[Token]) -> bool:
    """Whether a negation of *made* is one of what is asked."""
    home = _home(asked, made)
    if not home:
        return False
    opens, first = made[0].stem == "not", content(_clauses(made)[0])  # "Not eligible are fines, drinks and ..."
    for scope in _scopes(made):
        of = scope.words - LIGHT_STEMS - _PERMITTING
        at_home = scope.clause == home or (opens and scope.clause == first)
        if scope.condition and asked.negative:
            continue
        # "Replaced, not cleaned" denies what is asked only where cleaning is.
        denied = bool(of & asked.words if at_home else (of & asked.words) - home)
        # "Is not given", "below 40 °C: do not take off" have no more to go by than their place.
        denied = denied or (not of and not scope.condition and (at_home or not scope.clause - LIGHT_STEMS))
        # "Never two at a time"
        denied = denied or any(same(one, other) for one in scope.numbers for other in asked.numbers if not one.bound)
        if denied:
            return not asked.negative
    return any(
        _REFUSALS & {token.stem for token in clause if token.content} - {token.stem for token in asked.tokens}
        for clause in _clauses(made)
        if content(clause) == home
    )


def _forbids(asked: _Asked, made: Sequence[Token], *, denied: bool) -> bool:
    """Whether a ban of *made* is on what is asked; *denied*: all of it stands under one."""
    if denied:
        return True
    home = _home(asked, made)
    return any(
        (ban - OF_BANS) & asked.words - (frozenset() if content(clause) == home else home)
        for clause in _clauses(made)
        for ban in Stance(clause).bans
    )


def _brings_exception(asked: _Asked, made: Sequence[Token]) -> bool:
    """Whether the question has what is excepted: "on the terrace" of "except on the terrace"."""
    if not any(token.text.lower() in _EXCEPTING for token in made):  # "exceptions may not"
        return False
    stance = Stance(made)
    excepted = _heavy(frozenset(stance.exceptions).difference(*stance.bans))
    return bool((excepted & asked.words) - asked.lacking) and not excepted & asked.lacking


def _lacks(asked: _Asked, made: Sequence[Token]) -> bool:
    """Whether the question says that what *made* has, or asks for, is not there; or has what *made* is without."""
    places = [place for place, token in enumerate(made) if token.stem == _WITHOUT and negates(made, place)]
    lacking = _heavy(content(made[places[0] + 1 : places[0] + 4])) if places else frozenset[str]()
    if asked.without:
        return bool(asked.lacking & content(made)) and not asked.lacking & lacking
    return bool(lacking) and any(token.text.lower() == "with" for token in asked.tokens) and bool(lacking & asked.words)


def _is_excepted(asked: _Asked, made: Sequence[Token]) -> bool:
    """Whether *made* excepts what is asked: "every day except Monday"."""
    return any(_behind(clause, _EXCEPT) & asked.words for clause in _clauses(made))


def _is_too_late(asked: _Asked, made: Sequence[Token]) -> bool:
    """Whether what is asked comes after what *made* lets it come before: "until it has been shipped"."""
    return bool(_behind(asked.tokens, _ONCE) & _behind(made, _NOT_YET))


def _behind(made: Sequence[Token], words: frozenset[str]) -> frozenset[str]:
    """The content words behind the first of *words*, as far as they tell something."""
    places = [place for place, token in enumerate(made) if token.text.lower() in words]
    return _heavy(content(made[places[0] + 1 :])) if places else frozenset()


def _is_opposite(asked: _Asked, made: Sequence[Token]) -> bool:
    """Whether *made* has the opposite of a word of the question where that word is not: "closed" of "open"."""
    said = {concept(token.stem) for token in made}
    for word, sides in _directions(asked.tokens):
        if word in said:
            continue
        for other, others in _directions(made):
            if other not in asked.words and any(-side in others for side in sides):
                return not asked.negative
    return False


def _directions(made: Sequence[Token]) -> Iterator[tuple[str, frozenset[int]]]:
    """The content words of *made* that have opposites, save those of permission, which bans tell."""
    for token in made:
        sides = OPPOSITES.get(token.text.lower()) or OPPOSITES.get(token.stem)
        if sides and token.content and concept(token.stem) not in OF_BANS and token.stem not in NEGATORS:
            yield concept(token.stem), sides


# --- limits -----------------------------------------------------------------------------------------------------------


def _fits(asked: _Asked, statement: Statement) -> bool | None:
    """Whether the numbers of the question are what the statement says, or within its limits; None where it has none."""
    found = [fit for number in asked.numbers if (fit := _fit(number, statement)) is not None]
    return all(found) if found else None


def _fit(number: Quantity, statement: Statement) -> bool | None:
    for first, last in (*statement.ranges, *_between(statement.tokens)):
        one, two, mine = _measured(first, number), _measured(last, number), _measured(number, number)
        if one is not None and two is not None and mine is not None:
            return min(one, two) <= mine <= max(one, two)
    alike = [figure.quantity for figure in statement.figures if _are_comparable(number, figure.quantity)]
    if not alike:
        return None
    if any(same(number, other) and not is_beyond(other) for other in alike):
        return True
    return any(_is_within(number, other) for other in alike)


def _between(made: Sequence[Token]) -> Iterator[tuple[Quantity, Quantity]]:
    """The ends of each "between 2 and 8"."""
    for before, one, joint, two in zip(made, made[1:], made[2:], made[3:], strict=False):
        if before.text.lower() == "between" and joint.text.lower() == "and" and one.quantity and two.quantity:
            yield one.quantity, two.quantity


def _are_comparable(one: Quantity, other: Quantity) -> bool:
    return kind_of(one) == kind_of(other) or (one.unit is None and bool(other.bound))


def _measured(quantity: Quantity, like: Quantity) -> float | None:
    return measure(quantity) if _are_comparable(like, quantity) else None


def _is_within(number: Quantity, limit: Quantity) -> bool:
    """Whether *number* is on the side of *limit* that is meant; without a side it must be the same."""
    one, other = (number.value, limit.value) if number.unit is None else (measure(number), measure(limit))
    if same(number, limit):
        return number.bound == limit.bound != "" or not is_beyond(limit)
    return one < other if limit.bound == "low" else one > other if limit.bound == "high" else False


def _has_condition(statement: Statement, *, denied: bool) -> bool:
    """Whether a limit stands where something is denied, so that it says in which case."""
    for clause in _clauses(statement.tokens):
        says_no = denied or _scopes(clause) or Stance(clause).bans or _REFUSALS & {token.stem for token in clause}
        if says_no and any(token.quantity is not None and token.quantity.bound for token in clause):
            return True
    # A negation with no words of its own is on what stands before it, as in "oil below 40 °C: do not take off".
    return any(not scope.clause - LIGHT_STEMS for scope in _scopes(statement.tokens)) and any(
        figure.quantity.bound for figure in statement.figures
    )
