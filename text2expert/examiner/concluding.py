"""From answers to a result: graded, counted, compared, and concluded from."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import attrs

from text2expert.examiner import grading, statistics
from text2expert.examiner.case import counted
from text2expert.examiner.economics import NO_MODEL, RUN_HERE, economics
from text2expert.examiner.making import Exam
from text2expert.examiner.results import (
    COLUMNS,
    EXPERT,
    EXPERT_RAG,
    LOOKUP,
    RAG,
    READER,
    Economics,
    ExamResult,
    GivenAnswer,
    JudgeReport,
)
from text2expert.legible import visible
from text2expert.prices import Tariff
from text2expert.records import Answer, Chunk, ExamQuestion

RTX_4090_USD = 0.45
"""Dollars an hour of a rented RTX 4090, on demand, as it was advertised in May 2026: assumed where nothing was paid."""


@attrs.frozen(kw_only=True)
class Money:
    """What is known of the costs of a run."""

    making_usd: float | None = None
    """Paid for teaching, judging and training; None: not known."""
    own_machine: bool = False
    """Whether nothing was paid for the machine that trained."""
    training_seconds: float | None = None
    """That training took; None: not known."""
    paid_per_hour: float | None = None
    """Dollars for the machine that was rented, while it ran; None: none was."""
    on_gpu: bool = False
    """Whether base and expert answered on a GPU."""
    usd_per_hour: float | None = None
    """What the user says that an hour of it costs."""
    prices: Mapping[str, Tariff] = attrs.field(factory=dict)
    """What the models of contestants cost that are paid by the token."""


def graded(exam: Exam, answers: Mapping[str, Mapping[str, Answer]]) -> list[GivenAnswer]:
    """*answers* (contestant -> question id -> answer) with their grades, by contestant, then as the exam runs."""
    found = (
        GivenAnswer(
            question=question.id,
            contestant=contestant,
            text=answer.text,
            grade=grading.graded(question, answer.text),
            confidence=answer.confidence,
            seconds=answer.seconds,
            tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out,
            passages=answer.sources,
        )
        for contestant, mine in answers.items()
        for question in exam.questions
        if (answer := mine.get(question.id)) is not None
    )
    return united(exam, found)


def regraded(exam: Exam, given: Iterable[GivenAnswer]) -> list[GivenAnswer]:
    """*given* with the grades that *exam* gives them now; answers to questions that it does not have are left out."""
    questions = {question.id: question for question in exam.questions}
    return [
        attrs.evolve(each, grade=grading.graded(questions[each.question], each.text))
        for each in given
        if each.question in questions
    ]


def pairs_of(contestants: Sequence[str]) -> list[tuple[str, str]]:
    """Who is compared with whom: the expert with everybody, and what passages add to it with passages alone."""
    mine = [(EXPERT, other) for other in contestants if other != EXPERT] if EXPERT in contestants else []
    return [*mine, *([(EXPERT_RAG, RAG)] if {EXPERT_RAG, RAG} <= {*contestants} else [])]


def conclude(
    exam: Exam,
    given: Sequence[GivenAnswer],
    *,
    chunks: Sequence[Chunk] = (),
    share_taught: float | None = None,
    notes: Iterable[str] = (),
    judge: JudgeReport | None = None,
    money: Money | None = None,
) -> ExamResult:
    """What comes of *given*, the answers to *exam*."""
    contestants = tuple(dict.fromkeys(each.contestant for each in given))
    groups = statistics.groups(exam.questions, given, chunks)
    known = [statistics.GREEDY_NOTE] if any(group.by == "unknown_to_base" for group in groups) else []
    return ExamResult(
        exam_sha256=exam.sha256,
        contestants=contestants,
        scores=statistics.scores(exam.questions, given),
        unseen=statistics.unseen(exam.questions, given),
        share_taught=share_taught,
        notes=tuple(dict.fromkeys(chain(notes, exam.notes, _clusters(exam.questions), _missing(exam, given), known))),
        dropped=exam.dropped,
        comparisons=statistics.comparisons(exam.questions, given, pairs_of(contestants)),
        groups=groups,
        refusals=statistics.refusals(exam.questions, given),
        judge=judge,
        economics=_economics(exam, given, money or Money()),
    )


def _economics(exam: Exam, given: Sequence[GivenAnswer], money: Money) -> Economics:
    """What answers cost: at the price that was paid, else the one that the user gave, else that of a card for rent."""
    hour, source, machine = money.paid_per_hour, "", "the rented machine"
    run_here = RUN_HERE
    if money.usd_per_hour is not None:
        hour, source, machine = money.usd_per_hour, "as you gave it", "the machine that answered"
        # Nothing was rented: who reads without a model did so on the machine whose hour has that price.
        run_here = RUN_HERE | NO_MODEL if money.own_machine else RUN_HERE
    elif hour is None and money.on_gpu:
        hour, source, machine = RTX_4090_USD, "as it was advertised in May 2026", "a rented RTX 4090"
    return economics(
        exam.questions,
        given,
        making_usd=money.making_usd,
        own_machine=money.own_machine,
        training_seconds=money.training_seconds,
        usd_per_hour=hour,
        machine=machine,
        price_is=source,
        prices=money.prices,
        run_here=run_here,
    )


def united(exam: Exam, *given: Iterable[GivenAnswer]) -> list[GivenAnswer]:
    """All answers, by contestant and as the exam runs; of two to one question the later one."""
    last = {(each.contestant, each.question): each for each in chain(*given)}
    names = dict.fromkeys(name for name, _ in last)
    order = [*(name for name in COLUMNS if name in names), *(name for name in names if name not in COLUMNS)]
    return [
        answer for name in order for question in exam.questions if (answer := last.get((name, question.id))) is not None
    ]


def retimed(given: Iterable[GivenAnswer], before: Iterable[GivenAnswer]) -> list[GivenAnswer]:
    """*given* with the seconds measured *before*, where the same was answered: by a look-up, or from the ledger this time.

    What is answered again is not measured again: the same run gives the same result.
    """
    known = {(each.contestant, each.question, each.text): each.seconds for each in before if each.seconds is not None}
    found = []
    for each in given:
        seconds = known.get((each.contestant, each.question, each.text))
        replayed = each.seconds is None or each.contestant in {LOOKUP, READER}
        found.append(attrs.evolve(each, seconds=seconds) if seconds is not None and replayed else each)
    return found


def _missing(exam: Exam, given: Iterable[GivenAnswer]) -> list[str]:
    """Who did not answer all that concerns the document."""
    own = {question.id for question in exam.questions if question.row != "general"}
    answered = Counter(each.contestant for each in given if each.question in own)
    return [
        f"{visible(name)} answered {n:,} of {len(own):,} questions: its figures are of these."
        for name, n in answered.items()
        if n < len(own)
    ]


def _clusters(exam: Iterable[ExamQuestion]) -> list[str]:
    """Several questions about one fact are not independent, so an interval over them is too narrow: that must be said."""
    facts = Counter(question.fact for question in exam if question.row == "never_asked")
    if facts.total() == len(facts):
        return []
    return [
        f"The {facts.total()} questions on facts never asked are about {counted(len(facts), 'fact')}: read their interval as too narrow."
    ]
