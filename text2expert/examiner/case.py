"""What an exam's result says of the expert, as far as a verdict asks for it: shares, comparisons, and what was known before."""

import math
import re
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import attrs

from text2expert.examiner import statistics
from text2expert.examiner.results import (
    BASE,
    EXPERT,
    EXPERT_RAG,
    Comparison,
    ContestantCost,
    Economics,
    ExamResult,
    GivenAnswer,
    Grade,
)
from text2expert.records import UNSPACED, Chunk, ExamQuestion, ExamRowName, wilson

FEW = 30
"""Questions. An interval around one half is then 34 points wide or more."""

LEARNED = 0.5
"""Share of unseen questions. An expert that is wrong more often than right has not learned the text, whatever its base knew."""

SHORT_TOKENS = 4_000
"""A text of so many tokens fits in every prompt, whole, with room for question and answer even in a window of 8,192."""

CHARACTERS_PER_TOKEN = 4.0
"""Of a text with spaces between its words, about."""

SIGNIFICANT = 0.05
"""Chance of so uneven a split between equals; the field's custom."""

DISCORDANT_FACTS = 6
"""Facts on which two contestants differ. Of fewer, a sign test over facts calls not even a clean sweep significant: 2 / 2^5 is
0.06."""

INDEPENDENT: tuple[ExamRowName, ...] = ("hand_written", "written_apart")
"""Rows that were not made from the pairs that are trained on. They ask for what is not taught, too, or in nobody's words: here an
expert that knows its own questions only is found out, however many of those the other rows add."""

VOLATILE_FROM = 1.0
"""Changes of the document a year. What changes less often is not volatile, whatever the money says."""

MARGIN = 0.05
"""What two contestants may differ by and still count as equally good: one question in twenty."""

REFUSES_TOO_MUCH = 0.05
"""Share of the questions that the document does answer."""


def n_tokens(text: str) -> int:
    """About how many tokens *text* has: a character of a script without spaces is one, and about four others are."""
    unspaced = 0 if text.isascii() else len(_UNSPACED.findall(text))
    return round(unspaced + (len(text) - unspaced) / CHARACTERS_PER_TOKEN)


_UNSPACED = re.compile(f"[{UNSPACED}]")


def source_tokens(chunks: Iterable[Chunk]) -> int:
    """About how many tokens the text has that *chunks* are of: what stands in several that overlap counts once."""
    reached: dict[str, int] = {}
    parts: dict[str, list[str]] = {}
    for chunk in sorted(chunks, key=lambda chunk: (chunk.document, chunk.start)):
        end = reached.get(chunk.document, 0)
        parts.setdefault(chunk.document, []).append(chunk.text[max(0, end - chunk.start) :])
        reached[chunk.document] = max(end, chunk.end)
    return sum(n_tokens("".join(mine)) for mine in parts.values())


def is_better(comparison: Comparison | None) -> bool:
    """Whether the first of a pair is better, beyond chance: by the exact test *and* by the interval over facts.

    The test takes questions for independent, the interval does not; few facts asked often pass the one and not the other.
    On very few facts the interval, too, is a matter of luck, so they must differ on `DISCORDANT_FACTS`.
    """
    return (
        comparison is not None
        and comparison.p < SIGNIFICANT
        and comparison.interval[0] > 0
        and (comparison.discordant_facts is None or comparison.discordant_facts >= DISCORDANT_FACTS)
    )


def is_worse(comparison: Comparison | None) -> bool:
    """Whether the first of a pair is worse, by the exact test *or* by the interval: a warning needs less proof than praise."""
    if comparison is None or comparison.difference >= 0:
        return False
    return comparison.p < SIGNIFICANT or comparison.interval[1] < 0


def counted(n: int, what: str) -> str:
    """So many of *what*, a word with a regular plural: "1 fact", "1,200 facts"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


class Share(NamedTuple):
    """So many right of so many."""

    right: int
    n: int

    @property
    def share(self) -> float:
        """Of right answers, 0 to 1; 0 where nothing was asked."""
        return self.right / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `share`; 0 to 1 where nothing was asked."""
        return wilson(self.right, self.n) if self.n else (0.0, 1.0)

    def __str__(self) -> str:
        return f"{100 * self.share:.0f} %"

    @property
    def ranged(self) -> str:
        """With its interval, as the table writes it."""
        low, high = self.interval
        return f"{self} [{100 * low:.0f}-{100 * high:.0f}]"

    @property
    def whole(self) -> str:
        """With how many were asked, and how sure it is."""
        low, high = self.interval
        return f"{self} of {counted(self.n, 'question')} (95 % interval {100 * low:.0f} to {100 * high:.0f} %)"

    def clearly_below(self, other: "Share") -> bool:
        """Whether the intervals do not even touch: for shares of different questions, which cannot be paired."""
        return bool(self.n and other.n) and self.interval[1] < other.interval[0]


@attrs.frozen(kw_only=True, slots=False)
class Case:
    """What is known of an exam, as the verdict asks for it."""

    result: ExamResult
    exam: tuple[ExamQuestion, ...]
    answers: tuple[GivenAnswer, ...]
    places: statistics.Places
    n_tokens: int | None
    updates_per_year: float | None
    questions_per_month: float | None
    toy: bool
    _compared: dict[tuple[str, str | None, str], Comparison | None] = attrs.field(init=False, factory=dict, eq=False)

    @cached_property
    def grades(self) -> dict[str, dict[str, Grade]]:
        """Contestant -> question id -> grade."""
        return statistics.grades(self.exam, self.answers)

    @cached_property
    def reader(self) -> str | None:
        """RAG: the best contestant that searches; None where there is none."""
        return statistics.best_reader(self.exam, self.answers)

    def share(self, contestant: str | None) -> Share | None:
        """Of unseen questions; None where it was asked none."""
        found = Share(*statistics.unseen_share(self.exam, self.grades.get(contestant or "", {})))
        return found if found.n else None

    def row(self, contestant: str, *rows: ExamRowName) -> Share:
        """Of the questions of *rows*."""
        mine = self.grades.get(contestant, {})
        asked = [mine[each.id] for each in self.exam if each.row in rows and each.id in mine]
        return Share(asked.count("right"), len(asked))

    def compared(self, one: str, other: str | None, row: str = statistics.ALL) -> Comparison | None:
        """*one* and *other*; None where there is nothing that both were asked."""
        if (one, other, row) not in self._compared:
            self._compared[one, other, row] = statistics.compare(self.exam, self.answers, one, other or "", row=row)
        return self._compared[one, other, row]

    @cached_property
    def expert(self) -> Share:
        """The expert on unseen questions."""
        return self.share(EXPERT) or Share(0, 0)

    @cached_property
    def against_reader(self) -> Comparison | None:
        """The expert and RAG."""
        return self.compared(EXPERT, self.reader)

    @cached_property
    def against_base(self) -> Comparison | None:
        """The expert and what it was before training."""
        return self.compared(EXPERT, BASE)

    @cached_property
    def facts(self) -> int:
        """About which the unseen questions are."""
        mine = self.grades[EXPERT]
        return len({each.fact or each.id for each in self.exam if statistics.is_unseen(each) and each.id in mine})

    @property
    def too_short(self) -> bool:
        """Whether the whole text fits in a prompt."""
        return self.n_tokens is not None and self.n_tokens <= SHORT_TOKENS

    @cached_property
    def break_even(self) -> float | None:
        """Questions; infinity: never; None: not known."""
        money = self.result.economics or Economics()
        if money.break_even is not None:
            return money.break_even
        expert, other = (self._usd(money.costs, name) for name in (EXPERT, money.against))
        return math.inf if expert is not None and other is not None and expert >= other else None

    @staticmethod
    def _usd(costs: Iterable[ContestantCost], name: str | None) -> float | None:
        return next((cost.usd_per_1000 for cost in costs if cost.contestant == name), None)

    @property
    def between_updates(self) -> float | None:
        """Questions asked between two changes of the document; None: not known, or it never changes."""
        if not self.updates_per_year or self.questions_per_month is None:
            return None
        return 12 * self.questions_per_month / self.updates_per_year

    @property
    def too_volatile(self) -> bool:
        """Whether the text changes before the expert has paid for itself."""
        return (
            self.updates_per_year is not None
            and self.updates_per_year >= VOLATILE_FROM
            and self.between_updates is not None
            and self.break_even is not None
            and self.break_even > self.between_updates
        )

    @property
    def learned(self) -> bool:
        """Whether training made the expert better than its base, and right more often than wrong, on independent rows, too."""
        better = self.against_base is None or is_better(self.against_base)
        return better and self.expert.share >= LEARNED and self.not_learned_row is None

    @cached_property
    def not_learned_row(self) -> ExamRowName | None:
        """An `INDEPENDENT` row of which the expert is right on less than half, beyond chance."""
        return next((row for row in INDEPENDENT if self.row(EXPERT, row).interval[1] < LEARNED), None)

    @cached_property
    def worse_row(self) -> ExamRowName | None:
        """An `INDEPENDENT` row on which the expert is worse than RAG."""
        return next((row for row in INDEPENDENT if is_worse(self.compared(EXPERT, self.reader, row))), None)

    @property
    def both_are_better(self) -> bool:
        """Whether the expert with passages is better than each alone."""
        return is_better(self.compared(EXPERT_RAG, EXPERT)) and is_better(self.compared(EXPERT_RAG, self.reader))

    @property
    def expert_pays(self) -> bool:
        """Whether the expert pays for itself some day."""
        return self.break_even is not None and self.break_even < math.inf

    @cached_property
    def failed(self) -> tuple[str, ...]:
        """Ids of the chunks that the expert failed (`statistics.Asked`), most wrong answers first; of equals, the larger share."""
        found = statistics.by_passage(self.exam, self.grades.get(EXPERT, {}), self.places)
        wrong = {name: len(each.asked) - len(each.right) for name, each in found.items() if each.failed}
        return tuple(sorted(wrong, key=lambda name: (-wrong[name], len(found[name].asked), name)))

    @cached_property
    def refusals(self) -> tuple[Share, Share]:
        """Of the expert: refusals where the text is silent, and where it is not."""
        for each in statistics.refusals(self.exam, self.answers):
            if each.contestant == EXPERT:
                return Share(each.right, each.unanswerable), Share(each.wrong, each.answerable)
        return Share(0, 0), Share(0, 0)
