"""The verdict in words: use the expert, RAG, both, or do not fine-tune; why; and what to do next.

Only differences that chance does not explain count as differences (`is_better`), and where nothing is shown, RAG is the
answer: it can be read after, and it follows every change of the document. Every threshold is a constant here, with its reason.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Literal, NamedTuple

import attrs

from text2expert.errors import InputError
from text2expert.examiner import statistics
from text2expert.examiner.results import (
    BASE,
    EXPERT,
    EXPERT_RAG,
    LOOKUP,
    ORACLE,
    RAG,
    Comparison,
    ContestantCost,
    Economics,
    ExamResult,
    GivenAnswer,
    Grade,
    Recommendation,
)
from text2expert.records import Chunk, ExamQuestion, ExamRowName, wilson

LEARNED = 0.5
"""Share of unseen questions. An expert that is wrong more often than right has not learned the text, whatever its base knew."""

GOOD = 0.7
"""Share of unseen questions. Who is wrong on nearly every third is relied on by nobody."""

SHORT_TOKENS = 4_000
"""A text of so many tokens fits in every prompt, whole, with room for question and answer even in a window of 8,192."""

SIGNIFICANT = 0.05
"""Chance of so uneven a split between equals; the field's custom."""

MARGIN = 0.05
"""What two contestants may differ by and still count as equally good: one question in twenty."""

FACTS_FOR_EQUALS = 60
"""Facts. Of fewer, even two that never differed may differ by `MARGIN`: 3/n, the 95 % bound after nothing in n (rule of three)."""

VOLATILE_FROM = 1.0
"""Changes of the document a year. What changes less often is not volatile, whatever the money says."""

FEW = 30
"""Questions. An interval around one half is then 34 points wide or more."""

TAUGHT_ENOUGH = 0.8
"""Share of the text. What is not taught the expert cannot know; the rest of most documents is headings and filler."""

MEMORISED = 0.9
"""Share of the taught wordings. Who cannot repeat what it was trained on has trained too little."""

READS_WELL = 0.8
"""Share of unseen questions with the right passage in sight. A base that reads worse is too weak for this text."""

REFUSES_ENOUGH = 0.8
"""Share of the questions that the document does not answer."""

REFUSES_TOO_MUCH = 0.05
"""Share of the questions that it does answer."""

FORGOTTEN = 0.02
"""Share of general questions that training may cost."""

_Use = Literal["expert", "rag", "both", "neither"]


def is_better(comparison: Comparison | None) -> bool:
    """Whether the first of a pair is better, beyond chance: by the exact test *and* by the interval over facts.

    The test takes questions for independent, the interval does not; few facts asked often pass the one and not the other.
    """
    return comparison is not None and comparison.p < SIGNIFICANT and comparison.interval[0] > 0


def is_worse(comparison: Comparison | None) -> bool:
    """Whether the first of a pair is worse, by the exact test *or* by the interval: a warning needs less proof than praise."""
    if comparison is None or comparison.difference >= 0:
        return False
    return comparison.p < SIGNIFICANT or comparison.interval[1] < 0


def recommend(
    result: ExamResult,
    *,
    exam: Sequence[ExamQuestion],
    answers: Sequence[GivenAnswer],
    chunks: Sequence[Chunk] = (),
    n_tokens: int | None = None,
    updates_per_year: float | None = None,
    questions_per_month: float | None = None,
    toy: bool = False,
) -> Recommendation:
    """What to do, from the unseen questions (`text2expert.examiner.statistics.is_unseen`). The first of these that is so:

    1. do not fine-tune: the text is *too short* (4,000 tokens), so that it fits whole in a prompt;
    2. do not fine-tune: it is *too volatile*: it changes before the expert has paid for itself;
    3. use both: the expert with passages is better than the expert and than RAG;
    4. do not fine-tune: *not learned*: the expert is no better than its base, or right on less than half;
    5. do not fine-tune, nor rely on RAG: neither is right on 70 %;
    6. use the one that is better, or RAG where they are equals or it is not known which is, unless the expert is shown to be
       as good within 5 points and pays for itself.

    Better is `is_better`, and for RAG against the expert the weaker `is_worse`. RAG is the best contestant that searches (`statistics.best_reader`). Where the advice is not
    to fine-tune, `use` says whether RAG is good enough to use instead.

    Args:
        result: With scores, economics and the share that is taught.
        exam: Its questions.
        answers: To them, of all contestants.
        chunks: Of the run, to say which passages are still failed and how many passages a question takes.
        n_tokens: Of the whole text; None: not known, and taken for long.
        updates_per_year: How often the document changes; None: not known, and taken for static.
        questions_per_month: How much will be asked; None: not known.
        toy: Whether the base is the embedded toy: then the headline says what that proves.

    Raises:
        InputError: No contestant is the expert, a number is negative, or see `statistics.grades`.
    """
    for name, value in (
        ("n_tokens", n_tokens),
        ("updates_per_year", updates_per_year),
        ("questions_per_month", questions_per_month),
    ):
        if value is not None and not 0 <= value < math.inf:
            msg = f"{name} must be a number from 0 on, or None where it is not known, got {value!r}"
            raise InputError(msg)
    case = _Case(
        result=result,
        exam=tuple(exam),
        answers=tuple(answers),
        places=statistics.Places(chunks),
        n_tokens=n_tokens,
        updates_per_year=updates_per_year,
        questions_per_month=questions_per_month,
        toy=toy,
    )
    if EXPERT not in case.grades:
        names = ", ".join(map(repr, case.grades)) or "none"
        msg = f"there is no contestant {EXPERT!r} to judge: there are {names}; let the expert answer the exam, too"
        raise InputError(msg)
    verdict = _verdict(case)
    because = tuple(_because(case))
    return Recommendation(
        use=verdict.use,
        headline=_toy_headline(case) if toy else verdict.headline,
        because=(f"By the figures alone: {verdict.headline}", *because) if toy else because,
        next=tuple(_next(case)),
        failed=case.failed,
    )


class _Share(NamedTuple):
    """So many right of so many."""

    right: int
    n: int

    @property
    def share(self) -> float:
        return self.right / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.right, self.n) if self.n else (0.0, 1.0)

    def __str__(self) -> str:
        return f"{100 * self.share:.0f} %"

    @property
    def whole(self) -> str:
        """With how many were asked, and how sure it is."""
        low, high = self.interval
        return f"{self} of {self.n:,} questions (95 % interval {100 * low:.0f} to {100 * high:.0f} %)"

    def clearly_below(self, other: "_Share") -> bool:
        """Whether the intervals do not even touch: for shares of different questions, which cannot be paired."""
        return bool(self.n and other.n) and self.interval[1] < other.interval[0]


@attrs.frozen(kw_only=True, slots=False)
class _Case:
    """What is known of an exam, as the verdict asks for it."""

    result: ExamResult
    exam: tuple[ExamQuestion, ...]
    answers: tuple[GivenAnswer, ...]
    places: statistics.Places
    n_tokens: int | None
    updates_per_year: float | None
    questions_per_month: float | None
    toy: bool

    @cached_property
    def grades(self) -> dict[str, dict[str, Grade]]:
        return statistics.grades(self.exam, self.answers)

    @cached_property
    def reader(self) -> str | None:
        return statistics.best_reader(self.exam, self.answers)

    def share(self, contestant: str | None) -> _Share | None:
        """Of unseen questions; None where it was asked none."""
        found = _Share(*statistics.unseen_share(self.exam, self.grades.get(contestant or "", {})))
        return found if found.n else None

    def row(self, contestant: str, *rows: ExamRowName) -> _Share:
        mine = self.grades.get(contestant, {})
        asked = [mine[each.id] for each in self.exam if each.row in rows and each.id in mine]
        return _Share(asked.count("right"), len(asked))

    def compared(self, one: str, other: str | None, row: str = statistics.ALL) -> Comparison | None:
        return statistics.compare(self.exam, self.answers, one, other or "", row=row)

    @cached_property
    def expert(self) -> _Share:
        return self.share(EXPERT) or _Share(0, 0)

    @cached_property
    def against_reader(self) -> Comparison | None:
        return self.compared(EXPERT, self.reader)

    @cached_property
    def against_base(self) -> Comparison | None:
        return self.compared(EXPERT, BASE)

    @cached_property
    def facts(self) -> int:
        """About which the unseen questions are."""
        mine = self.grades[EXPERT]
        return len({each.fact or each.id for each in self.exam if statistics.is_unseen(each) and each.id in mine})

    @property
    def too_short(self) -> bool:
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
        return (
            self.updates_per_year is not None
            and self.updates_per_year >= VOLATILE_FROM
            and self.between_updates is not None
            and self.break_even is not None
            and self.break_even > self.between_updates
        )

    @property
    def learned(self) -> bool:
        return self.expert.share >= LEARNED and (self.against_base is None or is_better(self.against_base))

    @property
    def both_are_better(self) -> bool:
        return is_better(self.compared(EXPERT_RAG, EXPERT)) and is_better(self.compared(EXPERT_RAG, self.reader))

    @property
    def expert_pays(self) -> bool:
        return self.break_even is not None and self.break_even < math.inf

    @cached_property
    def failed(self) -> tuple[str, ...]:
        """Ids of the chunks of which the expert failed unseen questions, most first; of equals, the larger share."""
        mine = self.grades.get(EXPERT, {})
        wrong: Counter[str] = Counter()
        asked: Counter[str] = Counter()
        for question in filter(statistics.is_unseen, self.exam):
            if question.id in mine:
                for chunk in self.places.chunks(question):
                    asked[chunk.id] += 1
                    wrong[chunk.id] += mine[question.id] != "right"
        return tuple(sorted(+wrong, key=lambda name: (-wrong[name], asked[name], name)))


class _Verdict(NamedTuple):
    use: _Use
    headline: str


def _verdict(case: _Case) -> _Verdict:
    if not case.expert.n:
        return _Verdict("neither", "No verdict: the exam has no question that the expert was not trained on.")
    reader, both = case.share(case.reader), case.share(EXPERT_RAG)
    if case.too_short:
        msg = f"Do not fine-tune: the whole text, about {case.n_tokens:,} tokens, fits in a prompt; put it there"
        return _Verdict(_rag_or_neither(reader), f"{msg}.")
    if case.too_volatile:
        msg = (
            f"Do not fine-tune: the text changes {_times(case.updates_per_year or 0)} a year, and between two changes the "
            f"expert does not pay for itself"
        )
        return _rather(case, msg)
    if case.both_are_better and both and both.share >= GOOD:
        msg = f"Use both: the expert with RAG is right on {both}, the expert alone on {case.expert}, RAG alone on {reader}."
        return _Verdict("both", msg)
    if not case.learned:
        return _rather(case, _not_learned(case))
    if max(case.expert.share, reader.share if reader else 0.0) < GOOD:
        msg = f"Do not fine-tune: the expert is right on {case.expert} of the questions that it was not trained on, which is too little"
        return _rather(case, msg)
    if reader is None:
        return _Verdict("expert", f"Use the expert: it is right on {case.expert}; RAG was not asked.")
    return _better_one(case, reader)


def _not_learned(case: _Case) -> str:
    base = case.share(BASE)
    if base and base.share >= GOOD and not is_better(case.against_base):
        return f"Do not fine-tune: the base is right on {base} already, and training did not make it better"
    before = f", its base before training on {base}" if base else ""
    return f"Do not fine-tune: the expert has not learned the text; it is right on {case.expert}{before}"


def _rather(case: _Case, reason: str) -> _Verdict:
    """Not the expert, for *reason*; RAG, if it is good enough."""
    reader = case.share(case.reader)
    use = _rag_or_neither(reader)
    if use == "rag":
        return _Verdict(use, f"{reason}. Use RAG, which is right on {reader}.")
    if reader:
        return _Verdict(use, f"{reason}. Nor is RAG good enough: it is right on {reader}.")
    return _Verdict(use, f"{reason}. RAG was not asked.")


def _rag_or_neither(reader: _Share | None) -> Literal["rag", "neither"]:
    return "rag" if reader and reader.share >= GOOD else "neither"


def _better_one(case: _Case, reader: _Share) -> _Verdict:
    """The expert or RAG, of which at least one is good enough."""
    mine = case.against_reader
    figures = f"it is right on {case.expert} of the questions that it was not trained on, RAG on {reader}"
    if is_better(mine):
        return _Verdict("expert", f"Use the expert: {figures}.")
    if is_worse(mine):
        return _Verdict("rag", f"Use RAG: it is right on {reader}, the expert on {case.expert}.")
    as_good = mine is not None and mine.interval[0] > -MARGIN and case.facts >= FACTS_FOR_EQUALS
    if as_good and case.expert_pays and case.expert.share >= GOOD:
        return _Verdict(
            "expert", f"Use the expert: it is as good as RAG ({case.expert}, RAG {reader}) and costs less to ask."
        )
    if reader.share < GOOD:
        # Only one is good enough, and it is not worse.
        return _Verdict("expert", f"Use the expert: {figures}, which is too little.")
    if as_good:
        msg = f"Use RAG: the expert is as good ({case.expert}, RAG {reader}), but is not shown to cost less to ask."
        return _Verdict("rag", msg)
    msg = f"Use RAG: it is right on {reader}, the expert on {case.expert}, and that the expert is as good is not shown."
    return _Verdict("rag", msg)


def _toy_headline(case: _Case) -> str:
    proof = "This run proves the pipeline and not the expert, whose base is a toy made from the text"
    reader = case.share(case.reader)
    if not case.expert.n or not reader:
        return f"{proof}; nothing that searches the text was asked the same."
    figures = f"the expert is right on {case.expert}, RAG on {reader}"
    if is_better(case.against_reader):
        return f"{proof}; here the expert won: {figures}."
    if is_worse(case.against_reader):
        return f"{proof}; here RAG won: {figures}."
    return f"{proof}; here neither won beyond chance: {figures}."


# -- why -------------------------------------------------------------------------------------------------------------


def _because(case: _Case) -> Iterator[str]:
    """The figures behind the verdict, with their intervals."""
    if not case.expert.n:
        return
    yield f"The expert, without the text at hand, was right on {case.expert.whole} that it was not trained on."
    if base := case.share(BASE):
        yield f"Its base, before training, was right on {base.whole}. {_beside(case.against_base, 'the expert', 'the base')}"
    if reader := case.share(case.reader):
        name = f"RAG ({case.reader!r})"
        yield f"{name} was right on {reader.whole}. {_beside(case.against_reader, 'the expert', 'RAG')}"
    if both := case.share(EXPERT_RAG):
        compared = case.compared(EXPERT_RAG, case.reader)
        yield f"The expert with RAG was right on {both.whole}. {_beside(compared, 'the expert with RAG', 'RAG')}".rstrip()
    if oracle := case.share(ORACLE):
        yield f"The base with the right passage in sight, which is the best that a search can do, was right on {oracle.whole}."
    lookup = case.compared(EXPERT, LOOKUP)
    if lookup is not None and not is_better(lookup):
        share = case.share(LOOKUP)
        yield (
            f"To look up the answer of the likest training question is right on {share}: the expert is not shown to know more "
            "than that."
        )
    if case.too_short:
        yield f"The text has about {case.n_tokens:,} tokens; up to {SHORT_TOKENS:,} fit in a prompt beside the question."
    yield from _because_of_money(case)
    yield from _because_of_care(case)
    if case.expert.n < FEW:
        yield f"Only {case.expert.n} questions were unseen: read every interval before the figure in front of it."


def _beside(comparison: Comparison | None, one: str, other: str) -> str:
    """A paired comparison, in words for someone who never heard of one."""
    if comparison is None:
        return ""
    low, high = (100 * end for end in comparison.interval)
    return (
        f"Of the questions that only one of them got right, {one} had {comparison.only_one} and {other} "
        f"{comparison.only_other}: a difference of {100 * comparison.difference:+.0f} points (95 % interval {low:+.0f} to "
        f"{high:+.0f}; p = {_p(comparison.p)}, exact McNemar test)."
    )


def _p(p: float) -> str:
    return f"{p:.2g}" if p >= 0.001 else "less than 0.001"


def _because_of_money(case: _Case) -> Iterator[str]:
    if case.break_even is None:
        if case.updates_per_year:
            yield "Whether the text changes too often is not known: the break-even of the expert was not measured."
        return
    other = case.result.economics.against if case.result.economics else None
    if case.break_even == math.inf:
        yield f"The expert never pays for itself against {other!r}: an answer of its costs as much or more."
    else:
        yield f"The expert has paid for itself against {other!r} after {math.ceil(case.break_even):,} questions."
    if case.between_updates is not None:
        yield (
            f"The text changes {_times(case.updates_per_year or 0)} a year: {case.between_updates:,.0f} questions are asked "
            "between two changes, after each of which the expert is made again."
        )


def _because_of_care(case: _Case) -> Iterator[str]:
    """What makes an expert unfit that the share of right answers does not show."""
    refused, wrongly = _refusals(case)
    if refused.n:
        yield (
            f"Of {refused.n} questions that the text does not answer, the expert said so for {refused.right} and made up an "
            f"answer for {refused.n - refused.right}."
        )
    if wrongly.n and wrongly.share > REFUSES_TOO_MUCH:
        yield f"It said that it does not know for {wrongly} of the questions that the text does answer."
    general = case.compared(EXPERT, BASE, "general")
    if general is not None:
        yield (
            f"Of {general.n} general questions, {general.only_other} were forgotten in training and {general.only_one} "
            "came to be right."
        )


def _refusals(case: _Case) -> tuple[_Share, _Share]:
    """Of the expert: refusals where the text is silent, and where it is not."""
    for each in statistics.refusals(case.exam, case.answers):
        if each.contestant == EXPERT:
            return _Share(each.right, each.unanswerable), _Share(each.wrong, each.answerable)
    return _Share(0, 0), _Share(0, 0)


def _times(n: float) -> str:
    return "once" if n == 1 else "twice" if n == 2 else f"{n:,.4g} times"


# -- what next -------------------------------------------------------------------------------------------------------


def _next(case: _Case) -> Iterator[str]:
    """What to do, each step for a figure that asks for it."""
    if case.toy:
        yield (
            "Train a real base, a model of the Hugging Face hub: Trainer(model=...), or --base on the command line. Nothing "
            "else below matters as much."
        )
    if case.too_short:
        yield "Put the whole text into the prompt of a good model, and ask that the same exam."
    if case.too_volatile:
        yield "Fine-tune when the text has settled, or only the part of it that has."
    yield from _next_for_exam(case)
    yield from _next_for_learning(case)
    yield from _next_for_base(case)
    yield from _next_for_care(case)
    if case.failed:
        first = ", ".join(case.failed[:3])
        yield (
            f"Look at the passages that are still failed ({len(case.failed)}, the most failed first: {first}): is what the exam "
            "asks of them taught at all, and is it right?"
        )


def _next_for_exam(case: _Case) -> Iterator[str]:
    if case.reader is None:
        yield "Ask RAG the same exam, too: without it nobody knows what the expert is worth."
    if not case.expert.n:
        yield "Give an exam of your own, or train with several wordings of a question, of which one is held out to be asked."
        return
    compared = case.against_reader
    if compared is not None and not is_better(compared) and not is_worse(compared):
        half = (compared.interval[1] - compared.interval[0]) / 2
        if half > MARGIN:
            # The interval narrows with the square root of the number of questions.
            needed = math.ceil(compared.n * (half / MARGIN) ** 2 / 10) * 10
            yield (
                f"Ask more questions: {compared.n} cannot tell the expert from RAG (it may be {100 * half:.0f} points either way); "
                f"about {needed:,} would, to {100 * MARGIN:.0f} points."
            )


def _next_for_learning(case: _Case) -> Iterator[str]:
    taught, unseen = case.row(EXPERT, "taught"), case.expert
    if taught.n and taught.interval[1] < MEMORISED:
        yield (
            f"Train longer, or with a larger rank: even of the taught wordings only {taught} are right. Look at the loss curve: "
            "while it still falls, more epochs help."
        )
    elif unseen.clearly_below(taught):
        yield (
            f"Teach more wordings of every question: the taught ones are right on {taught}, others on {unseen}, so that words "
            "were learned rather than facts."
        )
    share, never = case.result.share_taught, case.row(EXPERT, "never_asked")
    if share is not None and share < TAUGHT_ENOUGH:
        yield (
            f"Teach more of the text: {100 * share:.0f} % of it is taught. A higher questions_per_chunk, or a model as the "
            "teacher, asks for more."
        )
    elif never.n and never.interval[1] < LEARNED:
        yield (
            f"Train on the text itself, too (text_share): of facts that no training question asks for, {never} are right."
        )


def _next_for_base(case: _Case) -> Iterator[str]:
    """Another base, where this one cannot read or combine; another search, where it only finds too little."""
    oracle = case.share(ORACLE)
    weak = oracle is not None and oracle.interval[1] < READS_WELL
    if weak:
        yield f"Take another base, or a larger one: even with the right passage in sight this one is right on {oracle} only."
    elif case.expert.n and not case.learned and not case.toy:
        yield "Try another base, or a larger one: this one did not take the text up."
    one, several = _hops(case)
    if several.clearly_below(one):
        yield (
            f"Take a larger base and teach questions across sections: the expert is right on {one} of the questions that take "
            f"one passage, and on {several} of those that take several."
        )
    if not weak and is_better(case.compared(ORACLE, RAG)):
        yield (
            f"Mend the search before the reader: with the right passage in sight the base is right on {oracle}, with those that "
            f"RAG finds on {case.share(RAG)}."
        )


def _hops(case: _Case) -> tuple[_Share, _Share]:
    """Of the expert: unseen questions that take one passage, and those that take several."""
    mine = case.grades[EXPERT]
    asked: dict[bool, list[bool]] = {False: [], True: []}
    for question in filter(statistics.is_unseen, case.exam):
        hops = case.places.hops(question)
        if hops and question.id in mine:
            asked[hops > 1].append(mine[question.id] == "right")
    return _Share(sum(asked[False]), len(asked[False])), _Share(sum(asked[True]), len(asked[True]))


def _next_for_care(case: _Case) -> Iterator[str]:
    refused, wrongly = _refusals(case)
    if refused.n and refused.share < REFUSES_ENOUGH:
        yield (
            f"Train refusals (refusals=...): of questions that the text does not answer, {refused} were refused; until then, "
            "min_confidence= keeps the least certain answers back."
        )
    if wrongly.n and wrongly.share > REFUSES_TOO_MUCH:
        yield f"Train fewer refusals, or lower min_confidence: {wrongly} of the answers that the text has were withheld."
    general = case.compared(BASE, EXPERT, "general")
    if is_better(general) and general is not None and general.difference > FORGOTTEN:
        yield (
            f"Replay general examples in training (replay=...): {100 * general.difference:.0f} points of general knowledge were "
            "lost."
        )
