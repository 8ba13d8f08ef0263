"""From answers to a result: graded, counted, compared, and concluded from."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import attrs

from text2expert.examiner import statistics
from text2expert.examiner.grading import grade, refuses
from text2expert.examiner.making import BASE, EXPERT, EXPERT_RAG, LOOKUP, ORACLE, RAG, READER, Exam
from text2expert.examiner.results import ExamResult, GivenAnswer, Grade
from text2expert.records import Answer, Chunk, ExamQuestion

COLUMNS = (BASE, EXPERT, RAG, ORACLE, EXPERT_RAG, LOOKUP, READER)
"""Their order; contestants of other names follow in theirs."""


def grade_of(question: ExamQuestion, answer: str) -> Grade:
    """The grade of *answer* without a judge."""
    if grade(question, answer):
        return "right"
    return "refused" if question.answer is not None and refuses(answer) else "wrong"


def graded(exam: Exam, answers: Mapping[str, Mapping[str, Answer]]) -> list[GivenAnswer]:
    """*answers* (contestant -> question id -> answer) with their grades, by contestant, then as the exam runs."""
    order = [*(name for name in COLUMNS if name in answers), *(name for name in answers if name not in COLUMNS)]
    return [
        GivenAnswer(
            question=question.id,
            contestant=contestant,
            text=answer.text,
            grade=grade_of(question, answer.text),
            confidence=answer.confidence,
            seconds=answer.seconds,
            tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out,
            passages=answer.sources,
        )
        for contestant in order
        for question in exam.questions
        if (answer := answers[contestant].get(question.id)) is not None
    ]


def regraded(exam: Exam, given: Iterable[GivenAnswer]) -> list[GivenAnswer]:
    """*given* with the grades that *exam* gives them now; answers to questions that it does not have are left out."""
    questions = {question.id: question for question in exam.questions}
    return [
        attrs.evolve(each, grade=grade_of(questions[each.question], each.text))
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
) -> ExamResult:
    """What comes of *given*, the answers to *exam*."""
    contestants = tuple(dict.fromkeys(each.contestant for each in given))
    groups = statistics.groups(exam.questions, given, chunks)
    known = [statistics.GREEDY_NOTE] if any(group.by == "unknown_to_base" for group in groups) else []
    return ExamResult(
        exam_sha256=exam.sha256,
        contestants=contestants,
        scores=statistics.scores(exam.questions, given),
        share_taught=share_taught,
        notes=tuple(dict.fromkeys(chain(notes, exam.notes, _clusters(exam.questions), known))),
        dropped=exam.dropped,
        comparisons=statistics.comparisons(exam.questions, given, pairs_of(contestants)),
        groups=groups,
        refusals=statistics.refusals(exam.questions, given),
    )


def _clusters(exam: Iterable[ExamQuestion]) -> list[str]:
    """Several questions about one fact are not independent, so an interval over them is too narrow: that must be said."""
    facts = Counter(question.fact for question in exam if question.row == "never_asked")
    if facts.total() == len(facts):
        return []
    return [
        f"The {facts.total()} questions on facts never asked are about {len(facts)} facts: read their interval as too narrow."
    ]
