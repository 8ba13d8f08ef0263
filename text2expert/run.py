"""A finished run: a view of its folder, to ask the expert, see its exam, and examine it again."""

import functools
import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from text2expert.errors import RunFolderError
from text2expert.records import from_dict, read_json_lines
from text2expert.runfolder import EXAM_RESULT, GOLD, RECEIPT, REJECTED, RunFolder, read_json

if TYPE_CHECKING:
    from text2expert.examiner import ExamResult
    from text2expert.expert import Expert


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
        if not self.receipt["trained"]:
            msg = (
                f"{self.folder} holds no expert: it was run with fine_tune=False (--no-fine-tune); run it again without"
            )
            raise RunFolderError(msg)
        from text2expert.expert import Expert

        return Expert.load(self.folder)

    @functools.cached_property
    def exam(self) -> "ExamResult | None":
        """The exam's table, None where nothing was trained."""
        if not self.receipt["trained"]:
            return None
        from text2expert.examiner import ExamResult

        return from_dict(read_json(self.folder / EXAM_RESULT), ExamResult)

    @property
    def gold(self) -> Any:
        """The golden dataset: a pandas DataFrame, or a list of dictionaries where pandas is not installed."""
        return _frame(self.folder / GOLD)

    @property
    def rejected(self) -> Any:
        """What was not taken and why, in the same form; empty where a dataset was given instead of a text."""
        return _frame(self.folder / REJECTED)

    def __str__(self) -> str:
        from text2expert.examiner import table

        lines = [table(self.exam)] if self.exam else []
        return "\n\n".join([*lines, self.receipt["closing"]])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def _frame(path: Path) -> Any:
    rows = [row for _, row in read_json_lines(path)] if path.is_file() else []
    try:
        import pandas as pd
    except ImportError:
        return rows
    return pd.DataFrame(rows)
