"""Negation and direction: the answer must not deny what the evidence says, nor turn it round."""

from collections.abc import Iterator, Sequence

from text2expert.evidence.pair import Clause, Fault, Near, Pair, shared
from text2expert.evidence.stance import Direction, Stance, is_no_one, negates
from text2expert.evidence.statements import Token
from text2expert.evidence.wording import BANS, LIGHT_STEMS, OPPOSITES, PERMITS, concept, word_set

TOLD = 0.8
"""The share of a question's content words that make a statement say what the question asks."""


def faults(pair: Pair) -> Iterator[Fault]:
    """Where answer and evidence point in opposite directions."""
    for clause, nears in zip(pair.clauses, pair.nears, strict=True):
        yield from _denials(pair, clause, pair.top(nears))
        for direction in clause.stance.directions:
            yield from _turned(pair, direction, clause, nears)
    yield from _of_the_opposite(pair)
    yield from _the_other_way(pair)
    if pair.verdict and pair.polar and not pair.asks.explicit:
        yield from _yes(pair) if pair.verdict == "yes" else _no(pair)
    if pair.verdict == "yes" and pair.polar and not any(words & pair.question.stems for words in pair.asks.bans):
        yield from _yes_to_a_ban(pair)
        yield from _yes_without(pair)
        yield from _yes_to_an_item(pair)


def _denials(pair: Pair, clause: Clause, stances: list[Stance]) -> Iterator[Fault]:
    said = clause.stance
    for word in sorted(said.denied - pair.asks.scope):
        holding = [s for s in stances if word in s.scope or word in s.plain]
        if not holding:
            unfounded = word not in LIGHT_STEMS and not any(s.explicit or s.clouded for s in (*stances[:1], pair.asks))
        else:
            agreed = word in holding[0].clouded or any(word in s.scope for s in holding)
            unfounded = not agreed and not _opposed(word, stances)
        unfounded = unfounded and not any(prefix + word in pair.source.stems for prefix in _UN)
        if stances and unfounded:
            yield Fault("contradicted", f"the answer denies {clause.shown([word])}, the evidence does not")
    for stance in (
        stances if not (pair.asks.explicit or pair.asks.bans) else []
    ):  # "When is it not used?" - "In pregnancy."
        for word in sorted((stance.denied & said.plain) - said.clouded):
            if not any(word in other.plain for other in stances):
                yield Fault("contradicted", f"the evidence denies {clause.shown([word])}, the answer does not")


_UN = ("un", "in", "im", "non", "dis")
"""What makes a word its opposite: "not known" is "unknown"."""


def _opposed(word: str, stances: list[Stance]) -> bool:
    """Whether the evidence has the opposite of a word that the answer denies."""
    sides = OPPOSITES.get(word)
    return sides is not None and any(sides & d.opposites for s in stances for d in s.directions)


def _of_the_opposite(pair: Pair) -> Iterator[Fault]:
    """A number that the evidence gives for the opposite of what is asked: "starts at 6:45 and ends at 15:00"."""
    told = {f"#{f.quantity.value:g}" for f in pair.answer.figures}
    if len(told) != 1:
        return
    found = [
        d for near in pair.near(pair.question)[:1] for d in pair.source.stance(near.statement).directions if d.ahead
    ]
    for asked in pair.asks.directions:
        alike = {d.ahead for d in found if d.sides & asked.sides}
        against = {d.ahead for d in found if d.opposites & asked.sides}
        if alike and told <= against - alike:
            yield Fault("misplaced", f"the evidence gives that number for the opposite of {asked.word!r}")


def _the_other_way(pair: Pair) -> Iterator[Fault]:
    """An answer that compares the other way round than the question: "How much longer?" - "4 hours shorter."."""
    made = pair.question.tokens
    for one, two, three in zip(made, made[1:], made[2:], strict=False):
        if one.stem != "how" or two.text.lower() not in ("much", "many", "far"):
            continue
        sides = OPPOSITES.get(three.text.lower(), frozenset())
        for said in pair.answer.stance.directions:
            if said.opposites & sides and not said.sides & sides:
                yield Fault(
                    "contradicted", f"the question asks how {two.text} {three.text}, the answer says {said.word!r}"
                )


def _turned(pair: Pair, said: Direction, clause: Clause, nears: list[Near]) -> Iterator[Fault]:
    """A direction word must not stand where the evidence has its opposite: beside the same words."""
    name = said.word.lower()
    if name in ("always", "never") and (pair.asks.explicit or pair.asks.clouded):
        return  # "always refused" is "never given"
    same = max((0.5 + len(d.beside & said.beside) for d in pair.asks.directions if d.sides & said.sides), default=0.0)
    opposite, word = 0.0, ""
    places = {near.statement for near in nears}
    telling = [f for f in clause.figures if f.quantity.unit is not None]
    others = [
        Near(0.0, i)
        for i, s in enumerate(pair.source.statements)
        if telling and i not in places and shared(telling, s.figures) == len(telling)
    ]
    for near, i in [*nears, *others]:
        share = near + shared(clause.figures, pair.source.statements[i].figures)  # where the clause's numbers come from
        for d in pair.source.stance(i).directions:
            alike, against = d.sides & said.sides, d.opposites & said.sides
            if not alike and not against:
                continue
            beside = len(d.beside & said.beside)
            as_denied = d.denied == said.denied
            if (alike and (as_denied or name != "without")) or (against and not as_denied):
                same = max(same, beside + share)
            elif beside + share > opposite and (beside or (share >= 1 and name not in ("before", "after"))):
                opposite, word = beside + share, d.word
    if opposite > same:
        yield Fault("contradicted", f"the answer says {said.word!r}, the evidence {word!r}")


def _yes(pair: Pair) -> Iterator[Fault]:
    asked = pair.question.stems - LIGHT_STEMS
    if any(scope & asked for scope in Stance(pair.answer.tokens[1:]).scopes) or _takes_back(pair.answer.tokens[1:]):
        yield Fault("contradicted", "the answer says yes and goes on to deny it")
    for stance in pair.top(pair.near(pair.question))[:2]:
        for scope in stance.scopes:
            denied = scope - LIGHT_STEMS
            if denied and denied <= asked:
                yield Fault("contradicted", f"the answer says yes, the evidence denies {pair.question.shown(denied)}")


def _yes_to_a_ban(pair: Pair) -> Iterator[Fault]:
    """A yes to what the evidence forbids, unless the pair brings what the ban excepts: "with the manager's approval"."""
    if _within_a_limit(pair):
        return
    asked = pair.question.stems
    brought = (asked | pair.answer.stems) - pair.asks.scope - LIGHT_STEMS
    for stance in pair.top(pair.near(pair.question))[:2]:
        conditions = stance.conditions - LIGHT_STEMS
        if conditions and conditions.isdisjoint(asked):
            continue
        for banned in [*stance.bans, *(scope - LIGHT_STEMS for scope in stance.cases_of)]:
            if banned and banned <= asked and (stance.exceptions - conditions - banned).isdisjoint(brought):
                yield Fault("contradicted", f"the answer says yes, the evidence forbids {pair.question.shown(banned)}")


def _within_a_limit(pair: Pair) -> bool:
    """Whether the question brings a number and the ban a limit: a gift of 15 euros, where those above 20 are forbidden."""
    return bool(pair.question.figures) and any(
        figure.quantity.bound
        for near in pair.near(pair.question)[:1]
        for figure in pair.source.statements[near.statement].figures
    )


def _yes_without(pair: Pair) -> Iterator[Fault]:
    """A yes to "without X" where the evidence says "only with X"."""
    made = pair.question.tokens
    lacking = next((i for i, token in enumerate(made) if token.stem == "without"), -1)
    missed = (
        {concept(token.stem) for token in made[lacking + 1 :] if token.content} - LIGHT_STEMS if lacking >= 0 else set()
    )
    for near in pair.near(pair.question)[:1] if missed else []:
        statement = pair.source.statements[near.statement]
        if (
            any(token.stem == "only" for token in statement.tokens)
            and missed <= pair.source.stance(near.statement).exceptions
        ):
            yield Fault("contradicted", f"the answer says yes, the evidence wants {pair.question.shown(missed)}")


def _yes_to_an_item(pair: Pair) -> Iterator[Fault]:
    """A yes to one of the things that a list forbids: "eat or drink in the mixing room"."""
    if _within_a_limit(pair):
        return
    asked = pair.question.stems - LIGHT_STEMS - PERMITTING
    for near in pair.near(pair.question)[:1]:
        statement = pair.source.statements[near.statement]
        if statement.denied and asked and asked <= statement.stems | statement.lead:
            brought = pair.answer.stems - LIGHT_STEMS
            if (pair.source.stance(near.statement).exceptions - LIGHT_STEMS).isdisjoint(brought | asked):
                yield Fault("contradicted", f"the answer says yes, the evidence forbids {pair.question.shown(asked)}")


PERMITTING = frozenset(map(concept, PERMITS))


def _takes_back(made: Sequence[Token]) -> bool:
    """Whether the first clause behind a "Yes" is denied: "Yes, it is never done", "Yes, no one may", "Yes, it is forbidden"."""
    for i, token in enumerate(made):
        if (token.boundary and i) or token.stem in _TURNS:
            return False
        if token.stem in BANS or (i < 3 and (token.stem == "nobody" or is_no_one(made, i))):
            return True
        if token.stem in ("not", "never", "cannot"):
            return negates(made, i)
    return False


_TURNS = word_set("but except unless only if when while although as provided")


def _no(pair: Pair) -> Iterator[Fault]:
    if pair.question.figures:
        return  # a case beyond a limit needs no negation in the text
    asked = pair.question.stems - LIGHT_STEMS
    nears = pair.near(pair.question)
    told = any(len(asked & pair.source.statements[near.statement].stems) >= TOLD * len(asked) for near in nears)
    stances = [*pair.top(nears), *(pair.source.stance(i) for i in pair.pool)]
    if told and not any(s.explicit or s.clouded for s in stances):
        yield Fault("contradicted", "the answer says no, the evidence denies nothing")
