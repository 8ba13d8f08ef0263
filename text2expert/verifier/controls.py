"""Control items: known to be bad, or good, and planted to measure the judge itself.

A bad one is a pair spoiled in one respect. Only those are planted that pass the free evidence check as well: what that
check catches never reaches the judge, so it would say nothing of what the judge lets through. (Another number, another
unit and a flipped negation are nearly always caught there; a dropped condition, a shortened list or a name put for
another are not.)

A good one is what the rules of `text2expert.offline` ask of the same passage: a real question whose answer is a sentence
of the text, so that whoever rejects it raises a false alarm. Where they find nothing to ask, in other languages for one, a
sentence is asked for word for word; that is easier to approve, and so the second choice.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import attrs

from text2expert.offline import RuleTeacher
from text2expert.records import Chunk, QAPair, digest, wording
from text2expert.verifier.items import Item, passes

PREFIX = "control:"
"""Of a control's qa_id, which no teacher's pair has."""

CLAIMS = (
    "It must be recorded in writing.",
    "It is reviewed once a year.",
    "It may be waived.",
    "It may be postponed once.",
    "It must be photographed.",
    "Anyone may refuse.",
)
"""What English texts of many kinds could say. One is added to an answer only where the passage speaks of nothing like it;
among answers in another language it would be no measure of anything."""

PLAIN = frozenset(
    "deadline definition duration elapse frequency label-value lasting limit offset required-value size value when".split()  # noqa: SIM905
)
"""Kinds of rule questions that read as a person asks them, and whose answer is a whole sentence of the text."""

MOST_ASKED = 20
"""Rule questions about a lesson that one is chosen from."""

_ENGLISH = re.compile(r"\bthe\b", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?!\w)")
_CONDITION = re.compile(
    r",?;?\s+(?:and |or |but )?(?:not )?(?:only )?"
    r"(?:if|when|whenever|unless|except|provided|until|as long as|on condition)\b[^.;()]*",
    re.IGNORECASE,
)
_LIST = re.compile(
    r"(?P<head>.*),\s+(?P<last_but_one>[^,;.]+?),?\s+(?P<joint>and|or)\s+(?P<last>[^,;.]+?)(?=[.;]|$)", re.DOTALL
)
_LIGHT = {"when", "whenever", "unless", "except", "provided", "until", "only", "long", "condition", "must", "once"}


def bad(item: Item, others: Sequence[Item], passages: Sequence[Chunk], seed: int) -> Item | None:
    """*item* spoiled, as content and *seed* choose; None where nothing spoils it unseen by the evidence check.

    Args:
        item: A pair that passes the evidence check; its first wording is taken.
        others: Items of the same passages; *item* may be one of them.
        passages: What they were written from.
        seed: Another seed, another choice.
    """
    pair = item.pairs[0]
    text = "\n".join(passage.text for passage in passages)

    def rank(spoiled: tuple[str, QAPair]) -> tuple[str, str]:
        what, planted = spoiled
        return digest(str(seed), item.content, what), digest(str(seed), planted.answer)

    for what, planted in sorted(_spoiled(pair, [other.pairs[0] for other in others], text), key=rank):
        if wording(planted.answer) != wording(pair.answer) and passes(planted, passages):
            return _control(planted, "bad", what, passages)
    return None


async def good(item: Item, origins: Sequence[Item], passages: Sequence[Chunk], seed: int) -> Item | None:
    """An item that *passages* certainly bear out, chosen by *seed* and the content of *item*; None where there is none.

    It says nothing of what *origins* say, whose spoiled variants it is judged beside.
    """
    asked = [
        pair
        for pair in await RuleTeacher().ateach(tuple(passages), MOST_ASKED)
        if pair.kind.split(":")[0] in PLAIN
        and all(_apart(pair, origin.pairs[0]) for origin in origins)
        and passes(pair, passages)
    ]
    how = "asked by rule"
    if not asked:
        how = "asked word for word"
        recited = (pair for passage in passages for pair in _recited(passage))
        asked = [pair for pair in recited if all(_apart(pair, origin.pairs[0]) for origin in origins)]
        asked = [pair for pair in asked if passes(pair, passages)]
    if not asked:
        return None
    chosen = min(asked, key=lambda pair: digest(str(seed), item.content, pair.question))
    return _control(chosen, "good", how, passages)


def _recited(passage: Chunk) -> Iterator[QAPair]:
    """Every longer sentence of *passage* as the answer to how it reads."""
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*[-*•\d])", passage.text):
        for sentence in re.split(r"(?<=[.!?])\s+(?=[^\W\d_a-z])", " ".join(paragraph.split())):
            words = sentence.split()
            if 8 <= len(words) <= 60 and re.match(r"[^\W\d_a-z]", sentence) and sentence.endswith((".", "!", "?")):
                question = f'How does the sentence that begins with "{" ".join(words[:5])}" read in full?'
                yield QAPair(qa_id="", question=question, answer=sentence, sources=(passage.id,))


def _control(pair: QAPair, kind: Literal["bad", "good"], planted: str, passages: Sequence[Chunk]) -> Item:
    keys = (passage.key for passage in passages)
    name = PREFIX + digest(kind, pair.question, pair.answer, pair.short_answer, *keys)[:16]
    return Item(pairs=(attrs.evolve(pair, qa_id=name),), control=kind, planted=planted)


def _spoiled(pair: QAPair, others: Sequence[QAPair], passage: str) -> Iterator[tuple[str, QAPair]]:
    """What can be done to *pair*, and what comes of it."""
    yield from _exchanged(pair, others)
    yield from _renumbered(pair, passage)
    yield from _shortened(pair)
    for claim in CLAIMS if _ENGLISH.search(passage) else ():
        if not _words(claim) & _words(passage):
            answer = f"{pair.answer.rstrip().removesuffix('.')}. {claim}"
            yield "a claim added", attrs.evolve(pair, answer=answer)


def _exchanged(pair: QAPair, others: Sequence[QAPair]) -> Iterator[tuple[str, QAPair]]:
    own = pair.short_answer
    for other in others:
        if not _apart(pair, other):
            continue
        foreign = attrs.evolve(
            pair, answer=other.answer, short_answer=other.short_answer, evidence=(*pair.evidence, *other.evidence)
        )
        yield "another question's answer", foreign
        if own and own in pair.answer and other.short_answer and _alike(own, other.short_answer):
            answer = pair.answer.replace(own, other.short_answer)
            yield "another question's value", attrs.evolve(foreign, answer=answer)


def _renumbered(pair: QAPair, passage: str) -> Iterator[tuple[str, QAPair]]:
    """With one number of the canonical answer, which the question does not hold, changed to another of *passage*."""
    own = _NUMBER.findall(pair.short_answer or pair.answer)
    for number in sorted(set(own) - set(_NUMBER.findall(pair.question))):
        place = re.compile(rf"(?<![\w.,]){re.escape(number)}(?!\w)")
        for other in sorted(set(_NUMBER.findall(passage)) - {number}):
            if _shape(other) == _shape(number):
                answer, short = place.sub(other, pair.answer), place.sub(other, pair.short_answer)
                yield "another number", attrs.evolve(pair, answer=answer, short_answer=short)


def _shortened(pair: QAPair) -> Iterator[tuple[str, QAPair]]:
    """Without a condition that the question does not state, or without the last member of the list that was asked for."""
    answer, own = pair.answer, pair.short_answer
    for condition in _CONDITION.finditer(answer):
        if len(answer[: condition.start()].split()) >= 2 and not _asked(condition[0], pair.question):
            less = attrs.evolve(
                pair, answer=answer.replace(condition[0], ""), short_answer=own.replace(condition[0], "")
            )
            yield "a condition dropped", less
    listed = _LIST.match(own or answer)
    if listed is not None and listed[0] in answer:
        shorter = f"{listed['head']} {listed['joint']} {listed['last_but_one']}"
        less = attrs.evolve(
            pair, answer=answer.replace(listed[0], shorter), short_answer=own.replace(listed[0], shorter)
        )
        yield "a list shortened", less


def _apart(one: QAPair, other: QAPair) -> bool:
    """Whether neither's answer could pass for the other's: they share no value and are not the same item."""
    (short, answer), (their_short, their_answer) = (
        (wording(pair.short_answer or pair.answer), wording(pair.answer)) for pair in (one, other)
    )
    return short not in their_answer and their_short not in answer


def _alike(one: str, other: str) -> bool:
    """Whether *other* can stand where *one* stands without being seen as out of place at once."""
    return bool(_NUMBER.search(one)) == bool(_NUMBER.search(other)) and max(len(one), len(other)) <= 80


def _shape(number: str) -> list[int]:
    """How a number is written: whether in parts, and how long those after the first are (10, 24; 3.45, 0.90)."""
    return [len(part) for part in re.split(r"[.,]", number)[1:]]


def _asked(condition: str, question: str) -> bool:
    """Whether *question* itself states most of *condition*, so that an answer need not."""
    words = _words(condition)
    return 2 * len(words & _words(question)) >= len(words)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{4,}", text.casefold())) - _LIGHT
