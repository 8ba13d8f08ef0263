"""Contestants that are asked here: their answers, some of them timed alone, and what became of those that failed."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from text2expert._progress import bar
from text2expert._tasks import as_done
from text2expert.errors import AuthenticationFailed, BudgetExhausted, LedgerError, OutOfBalance
from text2expert.examiner.contestants import Contestant
from text2expert.records import Answer, ExamQuestion

ALONE = 30
"""Questions that a contestant is asked one by one: what somebody waits who asks one is not seen in a crowd."""

WINDOW = 32
"""Questions under way at a time after that; an `LLM` has its own limit too."""

_HOPELESS = (AuthenticationFailed, BudgetExhausted, OutOfBalance, LedgerError)
"""What the next question will not change."""


async def ask_all(
    contestants: Mapping[str, Contestant], questions: Sequence[ExamQuestion]
) -> tuple[dict[str, dict[str, Answer]], list[str]]:
    """The answers of *contestants* to *questions*: name -> question id -> answer; and what a reader must know of failures.

    Whoever fails at a question is asked the others all the same: an exam that was long in the making is not thrown away
    for it.
    """
    if not contestants or not questions:
        return {}, []
    with bar(len(contestants) * len(questions), "Asking", unit="answer") as shown:
        turns = [_Turn(name, each, shown) for name, each in contestants.items()]
        await asyncio.gather(*(turn.ask(questions) for turn in turns))
    return {turn.name: turn.answers for turn in turns if turn.answers}, [
        note for turn in turns for note in turn.notes()
    ]


class _Turn:
    """One contestant's."""

    def __init__(self, name: str, contestant: Contestant, shown: Any) -> None:
        self.name = name
        self.answers: dict[str, Answer] = {}
        self._contestant = contestant
        self._shown = shown
        self._failed = 0
        self._why: Exception | None = None
        self._hopeless = False

    async def ask(self, questions: Sequence[ExamQuestion]) -> None:
        alone = questions[:: -(-len(questions) // ALONE)]
        for number, question in enumerate(alone):
            await self._one(question, timed=number > 0)  # a first question also waits for connections and caches
        timed = {question.id for question in alone}
        crowd = (self._one(question, timed=False) for question in questions if question.id not in timed)
        async with contextlib.aclosing(as_done(crowd, WINDOW)) as done:
            async for _ in done:
                pass

    async def _one(self, question: ExamQuestion, *, timed: bool) -> None:
        if not self._hopeless:
            try:
                answer = await self._contestant.aanswer(question)
            except Exception as error:  # noqa: BLE001 - whatever somebody's own contestant raises
                self._failed += 1
                self._why = self._why or error
                self._hopeless = isinstance(error, _HOPELESS)
            else:
                self.answers[question.id] = answer if timed else attrs.evolve(answer, seconds=None)
        self._shown.update()

    def notes(self) -> list[str]:
        if not self._why:
            return []
        why = f"{type(self._why).__name__}: {self._why!s:.200}"
        return [
            f"{self.name} failed at {self._failed:,} questions{'' if self.answers else ' and is left out'} ({why})."
        ]
