"""Items to judge: the wordings of one question with its answer, which of them are judged, and which share a call.

All of it follows content alone. In what order pairs come, what they are called and what else is under way change nothing.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import attrs

from text2expert import evidence
from text2expert.records import Chunk, QAPair, digest, fraction


@attrs.frozen(kw_only=True)
class Item:
    """One answer with its question in one or more wordings; wording *n* is that of ``pairs[n - 1]``."""

    pairs: tuple[QAPair, ...]
    control: Literal["", "bad", "good"] = ""
    planted: str = ""
    """Of a control: what was done to make it."""

    @property
    def answer(self) -> str:
        """In full, the same for every wording."""
        return self.pairs[0].answer

    @property
    def short_answer(self) -> str:
        """The canonical answer; empty where the teacher gave none."""
        return self.pairs[0].short_answer

    @property
    def questions(self) -> tuple[str, ...]:
        """In the order of their numbers."""
        return tuple(pair.question for pair in self.pairs)

    @property
    def content(self) -> str:
        """A digest of all that a judge sees of it."""
        return digest("item", self.answer, self.short_answer, *self.questions)


def gathered(pairs: Iterable[QAPair]) -> list[Item]:
    """*pairs* as items, each item's wordings in alphabetical order."""
    wordings: dict[tuple[str, ...], list[QAPair]] = {}
    for pair in pairs:
        # A teacher of somebody else's may leave `item` empty: then every pair is an item of its own.
        own = (pair.item,) if pair.item else ("", pair.question)
        wordings.setdefault((*own, pair.answer, pair.short_answer), []).append(pair)
    return [Item(pairs=tuple(sorted(each, key=lambda pair: pair.question))) for each in wordings.values()]


def check(pair: QAPair, passages: Sequence[Chunk]) -> evidence.Grounding:
    """The free, mechanical judgement of *pair* by the *passages* that it was written from."""
    return evidence.check(
        pair.question,
        pair.answer,
        "\n".join(passage.text for passage in passages),
        quote=[span.text for span in pair.evidence],
        context="\n".join(passage.context for passage in passages if passage.context),
    )


def passes(pair: QAPair, passages: Sequence[Chunk]) -> bool:
    """Whether the mechanical judgement finds no fault in *pair*."""
    found = check(pair, passages)
    return found.grounded and found.no_hallucination and found.complete


def sampled(items: Iterable[Item], share: float, seed: int, lesson: str) -> list[Item]:
    """*share* of *items*, in the order in which they were drawn; *lesson* is a digest of what they are about.

    A lesson gives its rounded share: up or down as its content falls, so that many lessons together give *share* and a
    lesson whose share is an item or more always gives one. A larger share adds to what a smaller one drew.
    """
    ranked = sorted(items, key=lambda item: fraction(seed, f"{lesson} {item.content}"))
    # The fraction is below 1, so a share of 1 takes all and a share of 0 takes none.
    return ranked[: math.floor(len(ranked) * share + fraction(seed, lesson))]


def grouped(items: Sequence[Item], size: int) -> list[tuple[Item, ...]]:
    """*items* in groups of *size*, in their order; the last may be smaller."""
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]
