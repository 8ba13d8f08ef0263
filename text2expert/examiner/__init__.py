"""The exam: who is asked what, what counts as right, and one table that says who knew it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import attrs

from text2expert.errors import InputError
from text2expert.examiner.contestants import NearestQuestion
from text2expert.examiner.grading import grade, refuses
from text2expert.examiner.questions import join_exam, load_answers, load_exam
from text2expert.examiner.results import ExamResult, ExamScore
from text2expert.examiner.tables import table
from text2expert.examiner.taught import share_taught
from text2expert.records import ROW_TITLES, ExamQuestion, digest, to_line

__all__ = [
    "TOY_NOTE",
    "ExamResult",
    "ExamScore",
    "Examiner",
    "NearestQuestion",
    "grade",
    "join_exam",
    "load_answers",
    "load_exam",
    "refuses",
    "share_taught",
    "table",
]

TOY_NOTE = (
    "The embedded base is a toy made from the text itself: it proves that the pipeline trains, not that it is a good "
    "expert. Do not act on its answers."
)


@attrs.frozen(kw_only=True)
class Examiner:
    """Grades what every contestant answered to the same questions, and counts; `Trainer.job` has them asked."""

    def result(
        self,
        exam: Sequence[ExamQuestion],
        answers: Mapping[str, Mapping[str, str]],
        *,
        share_taught: float | None = None,
        notes: Iterable[str] = (),
    ) -> ExamResult:
        """Grade the contestants.

        Args:
            exam: The questions.
            answers: Contestant -> question id -> answer, contestants in the order of their columns.
            share_taught: Share of the text that was taught, 0 to 1, if known; see `share_taught`.
            notes: What a reader must know beside the numbers.

        Raises:
            InputError: A contestant did not answer every question.
        """
        scores = []
        for contestant, given in answers.items():
            if missing := [question.id for question in exam if question.id not in given]:
                msg = f"{contestant!r} did not answer {len(missing)} of {len(exam)} questions, {missing[0]!r} first: ask it all"
                raise InputError(msg)
            right = Counter(question.row for question in exam if grade(question, given[question.id]))
            asked = Counter(question.row for question in exam)
            scores += [
                ExamScore(row=row, contestant=contestant, right=right[row], n=asked[row])
                for row in ROW_TITLES
                if asked[row]
            ]
        return ExamResult(
            exam_sha256=digest(*map(to_line, exam)),
            contestants=tuple(answers),
            scores=tuple(scores),
            share_taught=share_taught,
            notes=(*notes, *_clusters(exam)),
        )


def _clusters(exam: Iterable[ExamQuestion]) -> list[str]:
    """Several questions about one fact are not independent, so an interval over them is too narrow: that must be said."""
    facts = Counter(question.fact for question in exam if question.row == "never_asked")
    if facts.total() == len(facts):
        return []
    return [
        f"The {facts.total()} questions on facts never asked are about {len(facts)} facts: read their interval as too narrow."
    ]
