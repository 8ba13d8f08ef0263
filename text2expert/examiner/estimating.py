"""What the models of an exam would take, for plans."""

from collections.abc import Mapping
from typing import Protocol

from text2expert.examiner.judging import Judge
from text2expert.examiner.writing import ExamWriter
from text2expert.llm import LLM, Estimate

CHARACTERS_PER_TOKEN = 4.0
"""Of English, about."""

ASKED_TOKENS = 130
"""Of a question with the form of its answer, about."""

ANSWER_TOKENS = (5, 60)
"""Of an answer of 20 words at most."""


class Models(Protocol):
    """What estimates need to know of an examiner."""

    @property
    def k(self) -> int: ...  # noqa: D102
    @property
    def writer(self) -> ExamWriter | None: ...  # noqa: D102
    @property
    def judge(self) -> Judge | None: ...  # noqa: D102
    @property
    def closed(self) -> Mapping[str, LLM]:
        """Models that are asked without passages, by the names of their columns."""
        ...

    @property
    def reading(self) -> Mapping[str, LLM]:
        """Models that read passages."""
        ...


def estimates(models: Models, *, questions: int, chunks: int, characters: int, contestants: int) -> dict[str, Estimate]:
    """What each of *models* takes, by what it does: ``exam writer``, the name of a column, ``judge``.

    Args:
        models: An examiner.
        questions: Of the exam.
        chunks: Passages.
        characters: Of all passages.
        contestants: Who answers beside the models here, and is judged.
    """
    found = {} if models.writer is None else {"exam writer": models.writer.estimate(chunks, characters)}
    passages = _passages(models.k, chunks, characters)
    low, high = ANSWER_TOKENS
    for asked, tokens in ((models.closed, ASKED_TOKENS), (models.reading, ASKED_TOKENS + passages)):
        for name, llm in asked.items():
            found[name] = llm.estimate(questions, questions * tokens, (questions * low, questions * high))
    if models.judge is not None:
        answers = questions * (contestants + len(models.closed) + len(models.reading))
        found["judge"] = models.judge.estimate(answers)
    return found


def _passages(k: int, chunks: int, characters: int) -> int:
    """Tokens of the *k* passages that a reader is shown."""
    return round(min(k, chunks) * characters / max(1, chunks) / CHARACTERS_PER_TOKEN)


def asked_there(
    questions: int, general: int, *, k: int, chunks: int, characters: int, embedded: bool
) -> tuple[int, int]:
    """Prompts that base and expert answer where they are trained, and the tokens of all (`text2expert.examiner.making.ask`).

    Args:
        questions: Of the exam, the general ones included.
        general: Of these, those that have nothing to do with the text, which are asked without passages.
        k: Passages that a reader is shown.
        chunks: Passages in all.
        characters: Of all passages.
        embedded: Whether the base is the toy, which reads none.
    """
    bare, reads = 2 * questions, 0 if embedded or not chunks else questions - general
    found, right = _passages(k, chunks, characters), _passages(1, chunks, characters)
    # The base and the expert read what is found; the base also reads what holds the answer.
    return bare + 3 * reads, (bare + 3 * reads) * ASKED_TOKENS + reads * (2 * found + right)
