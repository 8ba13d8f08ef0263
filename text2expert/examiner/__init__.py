"""The exam: who is asked what, what counts as right, and one table that says who knew it.

before training   questions ──▶ kept apart from training, frozen ──▶ prompts for base and expert
after it          answers ──▶ grades ──▶ statistics, money ──▶ a recommendation
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from text2expert import _arguments, ledger
from text2expert._progress import say
from text2expert.errors import InputError, ProviderError
from text2expert.examiner import concluding, making
from text2expert.examiner.asking import ask_all, is_blocking, made
from text2expert.examiner.case import source_tokens
from text2expert.examiner.concluding import Money, graded, regraded, retimed, united
from text2expert.examiner.contestants import (
    Contestant,
    K,
    ModelContestant,
    NearestQuestion,
    PassageReader,
    Retriever,
)
from text2expert.examiner.estimating import estimates
from text2expert.examiner.grading import grade, refuses
from text2expert.examiner.judging import Judge
from text2expert.examiner.making import Asked, Exam, extended, sort
from text2expert.examiner.questions import join_exam, load_answers, load_exam
from text2expert.examiner.recommendation import recommend
from text2expert.examiner.results import (
    COLUMNS,
    EXPERT,
    LOOKUP,
    READER,
    Dropped,
    ExamResult,
    ExamScore,
    GivenAnswer,
    JudgeReport,
)
from text2expert.examiner.tables import summary, table, verdict
from text2expert.examiner.taught import share_taught
from text2expert.examiner.writing import ExamWriter
from text2expert.llm import LLM, as_llm
from text2expert.records import Answer, Chunk, ExamQuestion, GoldRecord

__all__ = [
    "TOY_NOTE",
    "Asked",
    "Contestant",
    "Dropped",
    "Exam",
    "ExamResult",
    "ExamScore",
    "ExamWriter",
    "Examiner",
    "GivenAnswer",
    "Judge",
    "ModelContestant",
    "Money",
    "NearestQuestion",
    "OpenBook",
    "PassageReader",
    "Retriever",
    "estimates",
    "extended",
    "grade",
    "graded",
    "join_exam",
    "load_answers",
    "load_exam",
    "refuses",
    "regraded",
    "retimed",
    "share_taught",
    "sort",
    "summary",
    "table",
    "united",
    "verdict",
]

SCOPE = "exam"
"""What writing and judging an exam, and asking models, is booked to."""

TOY_NOTE = (
    "The embedded base is a toy made from the text itself: it proves that the pipeline trains, not that it is a good "
    "expert. Do not act on its answers."
)


@attrs.frozen
class OpenBook:
    """A model that reads passages of the run, for `Examiner.contestants`: the run makes its contestant.

    Args:
        llm: The model, by name or as an `LLM`.
        budget: US dollars for asking models, as in `ModelContestant`.
    """

    llm: LLM = attrs.field(converter=as_llm)
    budget: Decimal | float | None = attrs.field(default=None, kw_only=True, validator=_arguments.dollars)

    def __call__(self, retriever: Retriever) -> Contestant:
        """The contestant that is shown what *retriever* finds."""
        return ModelContestant(self.llm, retriever, budget=self.budget)


def _named(_: object, attribute: "attrs.Attribute[Any]", value: Mapping[str, Any]) -> None:
    if not isinstance(value, Mapping):
        msg = f"{attribute.name} must map names to contestants, as in {{'my model': ModelContestant('openai/...')}}; got {value!r:.80}"
        raise InputError(msg)
    for name, contestant in value.items():
        if not isinstance(name, str) or not name.strip() or name in COLUMNS:
            taken = ", ".join(map(repr, COLUMNS))
            msg = f"{attribute.name}: {name!r} cannot be a contestant's name: give a text that is none of {taken}"
            raise InputError(msg)
        if isinstance(contestant, str) or not (callable(contestant) or callable(getattr(contestant, "aanswer", None))):
            msg = f"{attribute.name}[{name!r}] must have a method 'aanswer', got {contestant!r:.80}"
            if isinstance(contestant, str):
                msg += f": did you mean ModelContestant({contestant!r})?"
            raise InputError(msg)
        if is_blocking(contestant):
            msg = f"{attribute.name}[{name!r}].aanswer is no coroutine function: write `async def aanswer(self, question)`"
            raise InputError(msg)


MOST = 10**12
"""Questions a month, or changes a year: more is a slip of the keyboard."""

DEAREST_HOUR = 10_000
"""US dollars: no machine with eight of the dearest GPUs costs a hundredth of it."""


def _amount(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None and not (type(value) in (int, float) and 0 <= value <= MOST):  # type: ignore[operator]
        msg = f"{attribute.name}={value!r}: must be a number from 0 to {MOST:,}, or None where it is not known"
        raise InputError(msg)


def _hourly(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None and not (type(value) in (int, float) and 0 <= value <= DEAREST_HOUR):  # type: ignore[operator]
        msg = f"{attribute.name}={value!r}: must be US dollars an hour from 0 to {DEAREST_HOUR:,}, or None where it is not known"
        raise InputError(msg)


def _as_writer(writer: ExamWriter | LLM | str | None) -> ExamWriter | None:
    return ExamWriter(writer) if isinstance(writer, LLM | str) else writer


def _as_judge(judge: Judge | LLM | str | None) -> Judge | None:
    return Judge(judge) if isinstance(judge, LLM | str) else judge


@attrs.frozen(kw_only=True)
class Examiner:
    """Makes the exam before training, and grades, counts and concludes after it.

    Args:
        k: Passages that a reader is shown.
        writer: Writes questions apart from the training pairs; None: no model does.
        contestants: More of them, by the names of their columns: objects with the one method of `Contestant`, or what
            makes one (a function, a class) of the `Retriever` over the run's passages.
        judge: An LLM judge of another family than the teacher and the base, or its name; its grades stand beside the
            mechanical ones, which alone are counted.
        usd_per_hour: What an hour of the machine costs that answers; None: what was paid for it, else the price of a card
            for rent.
        questions_per_month: How much will be asked; None: not known.
        updates_per_year: How often the text changes; None: it is taken to stay as it is.
        general: Whether general questions are asked before and after training, to see what is forgotten.

    Raises:
        InputError: An argument cannot be used.
    """

    k: int = attrs.field(default=K, validator=_arguments.whole(1))
    writer: ExamWriter | None = attrs.field(default=None, converter=_as_writer)
    contestants: Mapping[str, Contestant | Callable[[Retriever], Contestant]] = attrs.field(
        factory=dict, validator=_named, hash=False
    )
    judge: Judge | None = attrs.field(default=None, converter=_as_judge)
    usd_per_hour: float | None = attrs.field(default=None, validator=_hourly)
    questions_per_month: float | None = attrs.field(default=None, validator=_amount)
    updates_per_year: float | None = attrs.field(default=None, validator=_amount)
    general: bool = attrs.field(default=True, validator=attrs.validators.instance_of(bool))

    def check(self) -> None:
        """See, before any work, whether the models can be asked.

        Raises:
            AuthenticationFailed: A key is missing; the message names the variable.
        """
        for llm in self.llms.values():
            llm.check()

    @property
    def llms(self) -> dict[str, LLM]:
        """The models that cost money, by what they do: ``exam writer``, the name of a column, ``judge``."""
        found = {} if self.writer is None else {"exam writer": self.writer.llm}
        found |= self.closed | self.reading
        return found if self.judge is None else {**found, "judge": self.judge.llm}

    @property
    def closed(self) -> dict[str, LLM]:
        """Models among `contestants` that are asked without passages."""
        return {
            name: each.llm
            for name, each in self.contestants.items()
            if isinstance(each, ModelContestant) and each.retriever is None
        }

    @property
    def reading(self) -> dict[str, LLM]:
        """Models among `contestants` that read passages."""
        return {
            name: each.llm
            for name, each in self.contestants.items()
            if isinstance(each, OpenBook) or (isinstance(each, ModelContestant) and each.retriever is not None)
        }

    # -- before training -------------------------------------------------------------------------------------------------

    async def amake(
        self,
        split: Sequence[ExamQuestion],
        records: Sequence[GoldRecord],
        *,
        own: Sequence[ExamQuestion] = (),
        chunks: Sequence[Chunk] = (),
        texts: Iterable[str] = (),
        embedded: bool = False,
        seed: int = 0,
    ) -> Exam:
        """The exam: questions split from the dataset and a user's own, and some that the text does not answer.

        Args:
            split: Questions kept out of the dataset.
            records: The training set: what it has, the exam has not.
            own: The user's.
            chunks: What `writer` writes about; without any, it is not asked.
            texts: What the expert is to know; nothing is asked in vain where it is not there.
            embedded: The base is the toy, which has no general knowledge to forget.
            seed: Of every draw.

        Raises:
            Text2ExpertError: As `ExamWriter.awrite` does.
        """
        written: list[ExamQuestion] = []
        if self.writer is not None and chunks:
            with ledger.budget(SCOPE, None):
                written = await self.writer.awrite(chunks, seed=seed)
        asked = [question.question for question in (*split, *own, *written)]
        vain = making.unanswerable(records, texts, seed=seed, asked=asked)
        general = making.general() if self.general and not embedded else []
        if embedded:
            split = [question for question in split if question.row != "general"]
        return making.freeze([split, making.hand_written(own), written, vain, general], records)

    def ask(self, exam: Exam, retriever: Retriever | None, *, embedded: bool) -> list[Asked]:
        """What base and expert are asked where they are trained; see `text2expert.examiner.making.ask`."""
        return making.ask(exam.questions, retriever, embedded=embedded)

    def retriever(self, chunks: Sequence[Chunk]) -> Retriever | None:
        """What finds passages for readers; None where there is none to find."""
        return Retriever(chunks, self.k) if chunks else None

    # -- after it --------------------------------------------------------------------------------------------------------

    async def aanswer_here(
        self, questions: Sequence[ExamQuestion], records: Sequence[GoldRecord], retriever: Retriever | None
    ) -> tuple[dict[str, dict[str, Answer]], list[str]]:
        """What is answered without a model, by looking up and by reading; and what failed."""
        here: dict[str, Contestant] = {LOOKUP: NearestQuestion(records)}
        if retriever is not None:
            here[READER] = PassageReader(retriever)
        return await ask_all(here, [question for question in questions if question.row != "general"])

    async def aanswer_own(
        self, questions: Sequence[ExamQuestion], retriever: Retriever | None
    ) -> tuple[dict[str, dict[str, Answer]], list[str]]:
        """The answers of `contestants`, and what failed."""
        given, lost = made(self.contestants, retriever)
        with ledger.budget(SCOPE, None):
            answers, failed = await ask_all(given, questions)
        for note in (*lost, *failed):
            say(note)
        return answers, [*lost, *failed]

    async def aconclude(
        self,
        exam: Exam,
        given: Sequence[GivenAnswer],
        *,
        chunks: Sequence[Chunk] = (),
        share_taught: float | None = None,
        notes: Iterable[str] = (),
        judge: JudgeReport | None = None,
        models: Iterable[str] = (),
        money: Money | None = None,
        toy: bool = False,
    ) -> tuple[list[GivenAnswer], ExamResult]:
        """*given* with the judge's grades, and what comes of them.

        Args:
            exam: The exam.
            given: The answers with their mechanical grades.
            chunks: As in `result`.
            share_taught: As in `result`.
            notes: As in `result`.
            judge: What is known of the judge that graded before, where there is no other one.
            models: Names of the models whose kin the judge should not be.
            money: What is known of the run's costs.
            toy: Whether the base is the toy.
        """
        answers, said = list(given), [*notes]
        if self.judge is not None:
            others = [*models, *(llm.name for llm in (self.closed | self.reading).values())]
            try:
                with ledger.budget(SCOPE, None):
                    told, report = await self.judge.areport(exam.questions, answers, apart_from=others, before=judge)
            except Exception as error:  # noqa: BLE001 - whatever somebody's own provider raises
                # What was asked and answered is there, and was perhaps paid for: it is kept; who judges it may come later.
                reason = (
                    f"{error!s:.200}" if isinstance(error, ProviderError) else f"{type(error).__name__}: {error!s:.200}"
                )
                said.append(f"The judge {self.judge.name} did not judge ({reason}); examine the run again for it.")
                say(said[-1])
            else:
                if report.judged:
                    answers, judge = told, report
                elif report.unjudged:
                    said.append(f"The judge {self.judge.name} did not judge ({report.why}), and was asked no more.")
                    say(said[-1])
                said += self.judge.warnings(others)
        result = concluding.conclude(
            exam,
            answers,
            chunks=chunks,
            share_taught=share_taught,
            notes=said,
            judge=judge,
            money=attrs.evolve(
                money or Money(),
                usd_per_hour=self.usd_per_hour,
                prices={name: llm.tariff for name, llm in (self.closed | self.reading).items()},
            ),
        )
        if EXPERT in result.contestants:
            advice = recommend(
                result,
                exam=exam.questions,
                answers=answers,
                chunks=chunks,
                n_tokens=source_tokens(chunks) or None,
                updates_per_year=self.updates_per_year,
                questions_per_month=self.questions_per_month,
                toy=toy,
            )
            result = attrs.evolve(result, recommendation=advice)
        return answers, result

    def result(
        self,
        exam: Sequence[ExamQuestion],
        answers: Mapping[str, Mapping[str, str | Answer]],
        *,
        chunks: Sequence[Chunk] = (),
        share_taught: float | None = None,
        notes: Iterable[str] = (),
    ) -> ExamResult:
        """Grade the contestants.

        Args:
            exam: The questions.
            answers: Contestant -> question id -> answer, contestants in the order of their columns. One need not have
                answered all, and is graded on those that it did.
            chunks: The passages, for results by section.
            share_taught: Share of the text that was taught, 0 to 1, if known; see `share_taught`.
            notes: What a reader must know beside the numbers.
        """
        whole = Exam(questions=tuple(exam))
        said = {
            name: {id_: Answer(text=each) if isinstance(each, str) else each for id_, each in given.items()}
            for name, given in answers.items()
        }
        return concluding.conclude(
            whole, concluding.graded(whole, said), chunks=chunks, share_taught=share_taught, notes=notes
        )
