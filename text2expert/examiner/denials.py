"""Whether an answer names a thing only to deny of it what was asked: "the nurse need not sign", "the safe is not used".

What stands before a name ("not the nurse") is seen where the name is looked for; this is what stands behind it.
"""

import re

from text2expert.evidence.tokens import tokens
from text2expert.evidence.wording import word_set
from text2expert.records import wording

_CLAUSE = re.compile(r"[,;:.!?](?!\d)\s*|\s+(?=but\b)", re.IGNORECASE)
_DENIED = re.compile(
    r"^(?:s )?(?:\w+ ){0,2}?(?P<verb>is|are|was|were|does|do|did|has|have|had|must|needs?|should|can|may|will|would|shall|could|can(?=not))"
    r" ?(?:not|never|no longer)\b(?P<what>.*)$"
)
_ON_TERMS = re.compile(r"\b(?:unless|until|before|without|if|only|except|when|while|alone|just|not|no|never)\b")
"""A denial with a condition or with a second one behind it may say what is asked."""
_GOES_ON = re.compile(
    r"(?:but|yet|and|or|though|he|she|it|they|who|which|unless|until|except|only|if)\b", re.IGNORECASE
)
_DUTY = re.compile(
    r"\b(?:must|needs?|needed|necessary|requires?|required|has to|have to|obliged|mandatory)\b", re.IGNORECASE
)
_FREE = re.compile(r"^ (?:need|require|necessary|have to|has to)\b|^ (?:\w+ly )?(?:needed|required)\b")
_OTHERWISE = re.compile(
    r"\b(?:not|no|never|nor|neither|none|cannot|without|\w+n['’]t|exempt\w*|except\w*|exclu\w+|forb\w+|prohibit\w*|bann?ed|barred|"
    r"refus\w+|lack\w*|miss\w+|fail\w*|unless|optional|free|releas\w+|spared|waive\w*|stops?|stopped|avoid\w*|false|wrong|untrue)\b",
    re.IGNORECASE,
)
"""What makes a denial an answer: who is *exempt*, what is *forbidden*."""
_CONTRACTED = re.compile(r"n['’]t\b", re.IGNORECASE)
_ARTICLES = re.compile(r"\b(?:a|an|the) (?=\w)")
_EMPTY = word_set("be been have has to get any ever")
_SAME = 5
"""Letters at the start of two words of one family: agree, agreement."""


def is_denied_behind(answer: str, name: str, asked: str) -> bool:
    """Whether each clause of *answer* with *name* in it denies of it what is *asked*, and no clause takes that back."""
    if _OTHERWISE.search(asked) or _OTHERWISE.search(name):
        return False
    wanted = _ARTICLES.sub("", wording(name))
    clauses = [each for each in _CLAUSE.split(_CONTRACTED.sub(" not", answer).strip()) if wording(each)]
    found = False
    for place, clause in enumerate(clauses):
        said = _ARTICLES.sub("", wording(clause))
        at = re.search(rf"\b{re.escape(wanted)}\b", said)
        if at is None:
            continue
        denied = _DENIED.match(said[at.end() :].strip())
        if denied is None or not _is_what_is_asked(denied["verb"], denied["what"], asked):
            return False
        if any(_GOES_ON.match(each) for each in clauses[place + 1 :]):
            return False
        found = True
    return found


def _is_what_is_asked(verb: str, what: str, asked: str) -> bool:
    """Whether "*verb* not *what*" denies what is *asked*: in its own word, or, where a duty is asked for, the duty."""
    if _ON_TERMS.search(what):
        return False
    if _DUTY.search(asked) and (verb in {"need", "needs"} or _FREE.match(what)):
        return True
    done = next(
        (t for t in tokens(what) if t.content and t.text.lower() not in _EMPTY and not t.text.endswith("ly")), None
    )
    if done is None:
        return False
    return any(
        done.stem == other.stem or (len(done.text) >= _SAME and done.text[:_SAME].lower() == other.text[:_SAME].lower())
        for other in tokens(asked)
        if other.content
    )
