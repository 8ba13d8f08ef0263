"""Several predicates of one subject, told apart: "is calibrated daily and replaced at 18 months"."""

from collections.abc import Iterator

import attrs

from text2expert.offline.clauses import Clause, after_auxiliary, bare, finite, starts_phrase
from text2expert.offline.lexicon import (
    ADVERBS,
    AUXILIARIES,
    MODALS,
    PRONOUNS,
    RELATIVES,
    SUBORDINATORS,
    THIRD,
    VERBS,
    is_participle,
)


def conjuncts(clause: Clause) -> list[Clause]:
    """A clause with several predicates as several clauses: "is calibrated daily and replaced at 18 months".

    The tail stays with the last one. A coordinated clause with its own subject is cut off.
    """
    words = clause.rest.split()
    cuts: list[tuple[int, int]] = []
    depth = 0
    for at, word in enumerate(words):
        depth += word.count("(") - word.count(")")
        if depth or not at or at == len(words) - 1:
            continue
        if bare(word) in {"and", "but"} and word.isalpha():
            if _continues(clause, words, at + 1):
                cuts.append((at, at + 1))
            elif _own_clause(words[at + 1 :], comma=words[at - 1].endswith(",")):
                return [*_cut(clause, words[:at], cuts, keep_tail=False)]
        elif words[at - 1].endswith(",") and bare(word) in AUXILIARIES | {"has", "have"}:
            cuts.append((at, at))
    if cuts and not clause.passive:
        # "review the list, confirm it by May, and name a steward": the last "and" shows that commas divide predicates
        commas = [
            (at, at)
            for at in range(1, cuts[-1][0])
            if words[at - 1].endswith(",") and _continues(clause, words, at, listed=True)
        ]
        cuts = sorted({*cuts, *commas})
    return list(_cut(clause, words, cuts, keep_tail=True))


def _continues(clause: Clause, words: list[str], at: int, *, listed: bool = False) -> bool:
    """Whether the words after "and" (or, *listed*, after a comma) are another predicate of the same subject."""
    while at < len(words) - 1 and bare(words[at]) in ADVERBS:
        at += 1
    low = bare(words[at])
    if clause.form == "imperative":
        return low in VERBS and (starts_phrase(words, at + 1) or not low.endswith("s"))
    if low in AUXILIARIES or (low in {"has", "have", "does", "do"}):
        return True
    if clause.passive and clause.auxiliary in MODALS and low == "be":
        return True
    if clause.auxiliary in MODALS and not clause.passive:
        follows = starts_phrase(words, at + 1) or words[at + 1][0].isupper()
        return low in VERBS and (follows or (listed and words[at].isalpha()))
    if clause.passive:
        return (is_participle(low) and _ends_participle(words, at)) or (low in THIRD and starts_phrase(words, at + 1))
    if clause.form == "present":
        forms = VERBS if clause.plural else THIRD
        return low in forms and starts_phrase(words, at + 1)
    return low in THIRD and starts_phrase(words, at + 1)


def _ends_participle(words: list[str], at: int) -> bool:
    return (
        at + 1 >= len(words) or starts_phrase(words, at + 1) or words[at].endswith(",") or words[at + 1].endswith("ly")
    )


def _own_clause(words: list[str], *, comma: bool) -> bool:
    first = bare(words[0])
    if len(words) < 3 or first in RELATIVES | SUBORDINATORS | {"whether", "how", "what", "where"}:
        return False
    if first in PRONOUNS:
        return True
    at = finite(words)
    return at is not None and at <= (10 if comma else 6)


def _cut(clause: Clause, words: list[str], cuts: list[tuple[int, int]], *, keep_tail: bool) -> Iterator[Clause]:
    starts = [0, *(after for _, after in cuts)]
    stops = [*(before for before, _ in cuts), len(words)]
    for number, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        part = words[start:stop]
        text = " ".join(part).rstrip(",")
        tail = clause.tail if keep_tail and number == len(starts) - 1 else ""
        if number == 0:
            yield attrs.evolve(clause, rest=text, tail=tail)
            continue
        piece = _piece(clause, part, tail)
        if piece is not None:
            yield piece


def _piece(clause: Clause, words: list[str], tail: str) -> Clause | None:
    """A further predicate of *clause*'s subject."""
    negation = ""
    while words and bare(words[0]) in {"not", "never", "then", "also", "therefore", "thus"}:
        if bare(words[0]) in {"not", "never"}:
            negation = bare(words[0])
        words = words[1:]
    if not words:
        return None
    low, rest = bare(words[0]), " ".join(words[1:]).rstrip(",")
    if clause.auxiliary in MODALS and low in THIRD:
        return None
    if low in AUXILIARIES | {"has", "have", "does", "do"} and not negation:
        fresh = after_auxiliary(clause.subject, low, words[1:])
        return fresh and attrs.evolve(fresh, tail=tail or fresh.tail, front=clause.front, rest=fresh.rest.rstrip(","))
    if clause.form == "imperative":
        return attrs.evolve(clause, negation=negation, verb=low, rest=rest, tail=tail)
    if clause.passive and is_participle(low):
        prefix = "be " if clause.auxiliary in MODALS else ""
        return attrs.evolve(clause, negation=negation, rest=prefix + " ".join(words).rstrip(","), tail=tail)
    if clause.auxiliary in MODALS:
        return attrs.evolve(clause, negation=negation, rest=" ".join(words).rstrip(","), tail=tail)
    if low in THIRD or low in VERBS:
        return attrs.evolve(
            clause,
            form="present",
            auxiliary="",
            negation=negation,
            verb=THIRD.get(low, low),
            rest=rest,
            tail=tail,
            plural=low not in THIRD,
        )
    return None
