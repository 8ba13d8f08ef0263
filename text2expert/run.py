"""A finished run: a view of its folder, to ask the expert, see its exam, and examine it again."""

import functools
import html
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from text2expert import _sync, files
from text2expert.errors import InputError, RunFolderError
from text2expert.records import from_dict, read_json_lines
from text2expert.runfolder import EXAM, EXAM_ANSWERS, EXAM_RESULT, GOLD, RECEIPT, REJECTED, RunFolder, read_json

if TYPE_CHECKING:
    from text2expert.examiner import Contestant, ExamResult, Judge, Retriever
    from text2expert.expert import Expert
    from text2expert.ledger import Ledger
    from text2expert.llm import LLM
    from text2expert.plots import Plot


@attrs.frozen(slots=False)
class Run:
    """What came of a run: a view of its folder. Loading it again later gives the same."""

    folder: Path

    @classmethod
    def load(cls, folder: Path | str) -> "Run":
        """The finished run in *folder*.

        Raises:
            RunFolderError: It is not a run folder, or its run was never finished.
        """
        path = RunFolder.existing(folder).path
        if not (path / RECEIPT).is_file():
            msg = f"the run in {path} is not finished (no {RECEIPT}): run the same command again, it goes on where it stopped"
            raise RunFolderError(msg)
        return cls(path)

    @functools.cached_property
    def receipt(self) -> dict[str, Any]:
        """``run.json``: inputs, settings, models, seeds, counts that add up, costs, seconds."""
        receipt: dict[str, Any] = read_json(self.folder / RECEIPT)
        return receipt

    @functools.cached_property
    def expert(self) -> "Expert":
        """The expert, served by a child process that lives as long as this object.

        Raises:
            RunFolderError: The run was made without fine-tuning.
        """
        self._check_trained()
        from text2expert.expert import Expert

        return Expert.load(self.folder)

    @functools.cached_property
    def exam(self) -> "ExamResult | None":
        """The exam's table, None where nothing was trained."""
        if not self.receipt["trained"]:
            return None
        from text2expert.examiner import ExamResult

        return from_dict(read_json(self.folder / EXAM_RESULT), ExamResult)

    def examine(
        self,
        *,
        exam: str | Path | None = None,
        contestants: "Mapping[str, Contestant | Callable[[Retriever], Contestant]] | None" = None,
        judge: "Judge | LLM | str | None" = None,
        budget: Decimal | float | None = None,
        k: int | None = None,
        usd_per_hour: float | None = None,
        questions_per_month: float | None = None,
        updates_per_year: float | None = None,
    ) -> "ExamResult":
        """Examine this run again: grade what is stored anew, ask more questions and more contestants, and have it judged.

        The blocking form of `aexamine`. `exam`, ``exam_answers.jsonl`` and ``report.html`` follow. What was paid for once is
        not paid for again.

        Args:
            exam: Your own questions (JSONL), added to the run's exam. Base and expert answer them on this machine.
            contestants: More of them, as in `text2expert.Examiner`; one of a name that is there replaces it.
            judge: An LLM judge, or its name, as in `text2expert.Examiner`.
            budget: US dollars that examining may ever cost in this run folder; None: no limit.
            k: Passages that a reader is shown; None: as in the run. Models that answered before keep their answers.
            usd_per_hour: As in `text2expert.Examiner`, as are the next two.
            questions_per_month: How much will be asked.
            updates_per_year: How often the text changes.

        Raises:
            InputError: An argument or a file cannot be used.
            RunFolderError: The run has no expert, its folder cannot be written, or is in use.
            RunnerError: New questions cannot be put to the expert here.
            AuthenticationFailed: A key is missing.

        What a contestant or the judge fails at, a spent budget too, is noted in the result instead; what was answered is kept
        and not paid for again.
        """
        return _sync.run(
            self.aexamine(
                exam=exam,
                contestants=contestants,
                judge=judge,
                budget=budget,
                k=k,
                usd_per_hour=usd_per_hour,
                questions_per_month=questions_per_month,
                updates_per_year=updates_per_year,
            )
        )

    async def aexamine(
        self,
        *,
        exam: str | Path | None = None,
        contestants: "Mapping[str, Contestant | Callable[[Retriever], Contestant]] | None" = None,
        judge: "Judge | LLM | str | None" = None,
        budget: Decimal | float | None = None,
        **settings: Any,
    ) -> "ExamResult":
        """`examine` for async code: same arguments, same result, same errors."""
        from text2expert import examination, ledger, report
        from text2expert.examiner import Examiner, load_exam

        self._check_trained()
        before = self.receipt["settings"].get("examiner", {})
        given = {name: before[name] for name in ("k", *examination.REMEMBERED) if before.get(name) is not None}
        given |= {name: value for name, value in settings.items() if value is not None}
        examiner = Examiner(contestants=contestants or {}, judge=judge, **given)
        own, ids = (load_exam(exam) if exam is not None else []), self._documents()
        left_out: tuple[str, ...] = ()
        if own and ids is not None:
            mine, left_out = examination.fitting(own, ids)
            if not mine:
                msg = f"{exam} asks nothing about this run's documents ({', '.join(sorted(ids))}): 'doc' in its lines must name one of them, or be left out"
                raise InputError(msg)
            own = [*mine]
        folder = RunFolder.existing(self.folder)
        examination.check_keys(examiner, folder)
        with folder.locked(), ledger.Ledger(folder.path) as book, ledger.budget("", _cap(book, budget)):
            result = await examination.again(examiner, folder, own, self.receipt, notes=left_out)
            receipt = examination.receipt_after(folder, self.receipt, result, examiner)
            files.write_json(folder / RECEIPT, receipt)
            self.__dict__.pop("receipt", None)
            self.__dict__["exam"] = result
            report.attempt(self.folder)
        return result

    def _documents(self) -> set[str] | None:
        """Ids of the documents; None where a dataset came without them."""
        return {str(each["id"]) for each in self.receipt.get("documents", ())} or None

    def _check_trained(self) -> None:
        if not self.receipt["trained"]:
            msg = (
                f"{self.folder} holds no expert: it was run with fine_tune=False (--no-fine-tune); run it again without"
            )
            raise RunFolderError(msg)

    def report(self) -> Path:
        """Write ``report.html`` anew: verdict, table, plots and every answer on one page; its path.

        Raises:
            RunFolderError: The folder is in use, or a file in it is damaged.
            RecordError: A line of a file in it is damaged; the message names file and line.
        """
        from text2expert import report

        with RunFolder.existing(self.folder).locked():
            return report.write(self.folder)

    def plot(self, what: Literal["accuracy", "rows", "cost"] = "accuracy") -> "Plot":
        """The exam as a figure, as `ExamResult.plot` draws it.

        Raises:
            RunFolderError: The run has no expert.
            InputError: There is no such plot, or nothing to draw in it.
            MissingExtraError: matplotlib is not installed.
        """
        self._check_trained()
        assert self.exam is not None
        return self.exam.plot(what)

    @property
    def answers(self) -> Any:
        """Every answer of the exam beside its question, key and grade: a pandas DataFrame, or a list of dictionaries."""
        questions = {line["id"]: line for line in _lines(self.folder / EXAM)}
        return _frame(
            [
                {
                    "row": question["row"],
                    "question": question["question"],
                    "expected": question["answer"],
                    **{name: value for name, value in line.items() if name != "question"},
                }
                for line in _lines(self.folder / EXAM_ANSWERS)
                if (question := questions.get(line["question"])) is not None
            ]
        )

    @property
    def gold(self) -> Any:
        """The golden dataset: a pandas DataFrame, or a list of dictionaries where pandas is not installed."""
        return _frame(_lines(self.folder / GOLD))

    @property
    def rejected(self) -> Any:
        """What was not taken and why, in the same form; empty where a dataset was given instead of a text."""
        return _frame(_lines(self.folder / REJECTED))

    def __str__(self) -> str:
        from text2expert.examiner import summary

        lines = [summary(self.exam)] if self.exam else []
        return "\n\n".join([*lines, self._closing()])

    def _closing(self) -> str:
        """Its last words; without the verdict, where that stands above in full."""
        from text2expert.examination import VERDICT, closing

        lines = closing(self.receipt, self.folder).split("\n")
        return "\n".join(line for line in lines if not (self.exam and line.startswith(VERDICT)))

    def _repr_html_(self) -> str:
        shown = self.exam._repr_html_() if self.exam else ""
        return f"{shown}<pre>{html.escape(self._closing())}</pre>"


def _cap(book: "Ledger", budget: Decimal | float | None) -> Decimal | None:
    """What the whole ledger may hold so that its exam costs no more than *budget*."""
    from text2expert.ledger.scopes import dollars

    if budget is None:
        return None
    return dollars(budget, "budget") + book.spent().total - book.spent("exam").total


def _lines(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_json_lines(path)] if path.is_file() else []


def _frame(rows: list[dict[str, Any]]) -> Any:
    try:
        import pandas as pd
    except ImportError:
        return rows
    return pd.DataFrame(rows)
