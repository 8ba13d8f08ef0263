"""Words that are not safe to ask with: clauses run together, exceptions that stand elsewhere, labels that name nothing."""

import re
from itertools import pairwise

from text2expert.offline.clauses import Clause, bare, finite, parse, starts_phrase
from text2expert.offline.leads import bans
from text2expert.offline.lexicon import (
    ADVERBS,
    BE,
    DETERMINERS,
    MODALS,
    NUMBER_WORDS,
    POINTERS,
    PREPOSITIONS,
    PRONOUNS,
    RELATIVES,
    SUBORDINATORS,
    THIRD,
    VERBS,
    word_set,
)
from text2expert.offline.statements import NUM, content, pointing
from text2expert.offline.units import title


def fused(clause: Clause) -> bool:
    """Whether a clause seems to hold a second one whose verb was not known: "insures it and the tenant reimburses ..."."""
    subject, rest = clause.subject.split(), clause.rest.split()
    for at, word in enumerate(subject):
        if bare(word) in RELATIVES:
            break
        if at and _may_be_verb(word) and starts_object(subject, at + 1):
            return True
    return any(
        bare(word) in {"and", "but"} and _goes_on(rest, at + 1, order=clause.form == "imperative")
        for at, word in enumerate(rest)
        if at
    )


def spreads(clause: Clause) -> bool:
    """Whether the last predicate of the tail may be the main clause's: "is washed if it stings and reported at once"."""
    return clause.passive and bool(re.search(r" and \w+(?:ed|en|wn|nt|ld|pt)\b", clause.tail))


def starts_object(words: list[str], at: int) -> bool:
    """Whether a determiner stands at *at*, as behind a verb that was taken for a noun."""
    return at < len(words) and bare(words[at]) in {"the", "a", "an", "its", "their", "his", "her", "each", "every"}


def _may_be_verb(word: str) -> bool:
    return (
        word.isalpha()
        and word.islower()
        and word.endswith("s")
        and not word.endswith(("ss", "us", "is"))
        and word not in DETERMINERS | PRONOUNS | PREPOSITIONS | RELATIVES | SUBORDINATORS | MODALS | BE | ADVERBS
        and word not in {"as", "has", "does", "plus"}
    )


def _goes_on(words: list[str], at: int, *, order: bool) -> bool:
    """Whether what follows "and" may be a clause or an order of its own."""
    if at >= len(words) or (words[at - 2].endswith(",") and at < 2):
        return False
    first = bare(words[at])
    following = bare(words[at + 1]) if at + 1 < len(words) else ""
    if following in {"it", "them"} and first not in PREPOSITIONS | {"of", "as"}:
        return True
    if following[:1].isdigit() or following in NUMBER_WORDS:
        return False
    if first in DETERMINERS or words[at][0].isupper():
        for place in range(at + 1, min(at + 6, len(words))):
            word = words[place]
            if bare(word) in PREPOSITIONS | RELATIVES | SUBORDINATORS | {"and", "or"} or words[place - 1].endswith(","):
                return False
            named = words[at][0].isupper() or place > at + 1
            if named and _may_be_verb(word.rstrip(",;")) and place + 1 < len(words) and starts_phrase(words, place + 1):
                return True
    known = DETERMINERS | PREPOSITIONS | ADVERBS | PRONOUNS | RELATIVES | SUBORDINATORS
    return bool(
        order
        and words[at].isalpha()
        and words[at].islower()
        and first not in known
        and not first.endswith(("ing", "ly", "ed", "s"))
        and starts_object(words, at + 1)
    )


NOTES = word_set(
    "note notes warning caution example examples important tip tips see nb remark remarks exceptions exception source figure reference"
)
"""Labels that name no thing or case."""


def is_label(label: str, section: str) -> bool:
    """Whether the words before a colon name a thing or case, and a question can name the section with it."""
    words = label.split()
    first = bare(words[0])
    if (
        len(words) > 9
        or "," in label
        or re.match(rf"(?:team of |group of )?{NUM}\b", label.lower())
        or not content(label)
    ):
        return False
    if bans(label) or first in NOTES | PRONOUNS | POINTERS | SUBORDINATORS | {"never", "do", "always", "not", "only"}:
        return False
    if any(bare(word) in MODALS | BE | {"has", "have", "does"} for word in words) or pointing(label):
        return False
    if first in VERBS and len(words) > 1 and bare(words[1]) in DETERMINERS | PREPOSITIONS:
        return False
    stated = len(words) > 2 and finite(words) is not None
    return label.count("(") == label.count(")") and not stated and bool(title(section))


_RESTRICTING = re.compile(r"^(?:In|For|With|Among|Where|If|When|Unless|Except|However|But|On|At|During|After) ")


def restricted(text: str, following: str) -> bool:
    """Whether the sentence behind *text* tells another rule for the same act in some case: "In frost, take it twice."."""
    if not _RESTRICTING.match(following) or _RESTRICTING.match(text):
        return False
    clause = parse(text)
    if clause is None:
        return False
    act = clause.verb or (bare(clause.rest.removeprefix("be ").split()[0]) if clause.passive else "")
    words = [bare(word) for word in following.split()]
    again = act and any(_base(word) == _base(act) and before not in DETERMINERS for before, word in pairwise(words))
    taken_up = re.search(r"\b(?:it|them|instead|however)\b|\d", following)
    return bool(again and taken_up)


def _base(word: str) -> str:
    """What the forms of a verb share, roughly: "take", "takes" and "taken" are one."""
    base = THIRD.get(word) or word
    return re.sub(r"(?:ed|d|en|n|e)$", "", base)
