"""Contestants that are asked here: their answers, some of them timed alone, and what became of those that failed."""

import asyncio
import contextlib
import inspect
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, cast

import attrs

from text2expert._progress import bar
from text2expert._tasks import as_done
from text2expert.errors import AuthenticationFailed, BudgetExhausted, InputError, LedgerError, OutOfBalance
from text2expert.examiner.case import counted
from text2expert.examiner.contestants import Contestant, ModelContestant, Retriever
from text2expert.legible import visible
from text2expert.records import Answer, ExamQuestion, digest, from_dict, to_line

ALONE = 30
"""Questions that a contestant is asked one by one: what somebody waits who asks one is not seen in a crowd."""

WINDOW = 32
"""Questions under way at a time after that; an `LLM` has its own limit too."""

ANSWER_S = 300.0
"""Seconds without any answer of a contestant after which those under way are given up. Models by name have limits of their
own, which may be a day long where they are asked in batches."""

GIVEN_UP = 3
"""Answers given up after which a contestant is taken to hang, and is asked nothing more."""

IN_VAIN = 10
"""Questions at which a contestant fails, and answers none, after which it is asked no more: each may be paid for."""

_MOST = {"confidence": 1, "seconds": 1_000_000, "tokens_in": 1_000_000_000, "tokens_out": 1_000_000_000}
"""Of what an answer tells of itself."""

_HOPELESS = (AuthenticationFailed, BudgetExhausted, OutOfBalance, LedgerError)
"""What the next question will not change."""


def made(
    contestants: Mapping[str, Contestant | Callable[[Retriever], Contestant]], retriever: Retriever | None
) -> tuple[dict[str, Contestant], list[str]]:
    """The contestants by name, those that are made of *retriever* too; and a note for each that is not to be had."""
    given: dict[str, Contestant] = {}
    lost: list[str] = []
    for name, each in contestants.items():
        if hasattr(each, "aanswer") and not isinstance(each, type):
            given[name] = cast("Contestant", each)
        elif retriever is None:
            lost.append(f"{visible(name)} reads passages, and there are none: not asked.")
        else:
            try:
                given[name] = _able(cast("Callable[[Retriever], Contestant]", each)(retriever))
            except Exception as error:  # noqa: BLE001 - whatever somebody's own code raises
                lost.append(f"{visible(name)} could not be made and is left out ({_why(error)}).")
    return given, lost


def _able(contestant: Contestant) -> Contestant:
    if not callable(getattr(contestant, "aanswer", None)):
        msg = f"what was made has no method 'aanswer': {contestant!r:.80}"
        raise TypeError(msg)
    if is_blocking(contestant):
        msg = "its aanswer is no coroutine function: write `async def aanswer(self, question)`"
        raise TypeError(msg)
    return contestant


def is_blocking(contestant: object) -> bool:
    """Whether its method, or that of the class that makes it, is a plain function; what wraps a coroutine function is none."""
    method = getattr(contestant, "aanswer", None)
    return inspect.isroutine(method) and not inspect.iscoroutinefunction(inspect.unwrap(method))


def without_key(question: ExamQuestion) -> ExamQuestion:
    """*question* without its key, kind and place: a contestant that writes all that it is given into a prompt tells nothing.

    Its id is made of its words, since the exam's own ids name the passage or that there is no answer.
    """
    return ExamQuestion(
        id=digest(question.question)[:16],
        row="hand_written",
        question=question.question,
        answer=None,
        document=question.document,
    )


def _why(error: BaseException) -> str:
    return visible(f"{type(error).__name__}: {error!s:.200}".removesuffix(": "))


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
        self._given_up = 0
        self._why = ""
        self._hopeless = False
        self._waits: set[asyncio.Timeout] = set()

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
                async with self._patience() as patience:
                    answer = _checked(await self._contestant.aanswer(without_key(question)))
            except asyncio.CancelledError as error:
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise  # the exam itself is cancelled, and not something within the contestant
                self._lose(error)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever somebody's own code raises, or a library of it
                self._lose(error, gave_up=patience.expired())
            else:
                self.answers[question.id] = answer if timed else attrs.evolve(answer, seconds=None)
        self._shown.update()

    @contextlib.asynccontextmanager
    async def _patience(self) -> AsyncIterator[asyncio.Timeout]:
        """The time for one answer; an answer to any other question shows that the contestant is alive, and renews it."""
        limit = None if isinstance(self._contestant, ModelContestant) else ANSWER_S
        async with asyncio.timeout(limit) as patience:
            self._waits.add(patience)
            try:
                yield patience
            finally:
                self._waits.discard(patience)
        if limit is not None:
            for each in self._waits:
                if not each.expired():
                    each.reschedule(asyncio.get_running_loop().time() + limit)

    def _lose(self, error: BaseException, *, gave_up: bool = False) -> None:
        self._failed += 1
        self._given_up += gave_up
        self._why = self._why or (f"no answer within {ANSWER_S:g} seconds" if gave_up else _why(error))
        in_vain = not self.answers and self._failed >= IN_VAIN
        self._hopeless = self._hopeless or in_vain or isinstance(error, _HOPELESS) or self._given_up >= GIVEN_UP

    def notes(self) -> list[str]:
        if not self._failed:
            return []
        left = "" if self.answers else " and is left out"
        more = ", and was asked no more" if self._hopeless and self.answers else ""
        return [f"{visible(self.name)} failed at {counted(self._failed, 'question')}{left} ({self._why}){more}."]


def _checked(answer: object) -> Answer:
    """*answer* if it is one that can be graded and written down, each field of the type it should have.

    Raises:
        TypeError: It is no `Answer`.
        InputError: A field of it is of a wrong type, or a number is infinite, none, or one that cannot be.
    """
    if not isinstance(answer, Answer):
        msg = f"aanswer must give an Answer, it gave {answer!r:.80}"
        raise TypeError(msg)
    answer = from_dict(json.loads(to_line(answer)), Answer)
    for name, most in _MOST.items():
        if (value := getattr(answer, name)) is not None and not 0 <= value <= most:
            msg = f"{name}={value!r:.40} of an Answer: it is between 0 and {most:,}"
            raise InputError(msg)
    return answer
