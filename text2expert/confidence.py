"""What an expert's confidence was worth in its exam: how many of the answers about as sure were right.

A confidence is the geometric mean of the probabilities of an answer's tokens. It ranks answers, and is no chance to be right;
the exam of the same expert says how often answers so sure were right there.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from text2expert.records import UNSEEN_ROWS, read_json_lines
from text2expert.runfolder import EXAM, EXAM_ANSWERS

NEAREST = 20
"""Answers of the exam that an answer is compared with; more where several are equally near. Of fewer, a share says little."""

_ANSWERER = "expert"


class Peers(NamedTuple):
    """Answers of an exam about as sure as another."""

    right: int
    n: int


class ExamConfidences:
    """The confidences of the expert's answers to the unseen questions of the exam in a run folder, read when first needed."""

    def __init__(self, folder: Path) -> None:
        """*folder* need not hold an exam."""
        self._folder = folder
        self._guard = threading.Lock()
        self._read: list[tuple[float, bool]] | None = None

    def like(self, confidence: float) -> Peers | None:
        """How many of the `NEAREST` answers by *confidence* (0 to 1) were right; None where the exam has fewer.

        Raises:
            RecordError: A file of the exam is damaged.
        """
        every = self._loaded()
        if len(every) < NEAREST:
            return None
        far = sorted(abs(each - confidence) for each, _ in every)[NEAREST - 1]
        near = [right for each, right in every if abs(each - confidence) <= far]
        return Peers(sum(near), len(near))

    def _loaded(self) -> list[tuple[float, bool]]:
        with self._guard:
            if self._read is None:
                exam, answers = self._folder / EXAM, self._folder / EXAM_ANSWERS
                there = exam.is_file() and answers.is_file()
                self._read = _unseen(exam, answers) if there else []
            return self._read


def _unseen(exam: Path, answers: Path) -> list[tuple[float, bool]]:
    asked = {line.get("id") for _, line in read_json_lines(exam) if _is_unseen(line)}
    return [
        (float(line["confidence"]), line.get("grade") == "right")
        for _, line in read_json_lines(answers)
        if line.get("contestant") == _ANSWERER
        and line.get("question") in asked
        and isinstance(line.get("confidence"), int | float)
    ]


def _is_unseen(question: Mapping[str, Any]) -> bool:
    return question.get("row") in UNSEEN_ROWS and question.get("answer") is not None
