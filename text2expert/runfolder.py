"""A run folder: what lies there, and what of it is still what it was made from.

Every derived file is recorded in ``state.json`` with the digest of what it was made from and of itself, so that a
changed input or setting makes exactly the stale files again and an edit by hand is seen. ``run.json``, the receipt, is
written last: where it is, the run was finished.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from text2expert import files
from text2expert.errors import RunFolderError

CHUNKS = "chunks.jsonl"
PAIRS = "generated_qa_pairs.jsonl"
VERDICTS = "verdicts.jsonl"
GOLD = "golden_dataset.jsonl"
REJECTED = "rejected.jsonl"
REWRITES = "rewrites.jsonl"
EXAM = "exam.jsonl"
EXAM_ANSWERS = "exam_answers.jsonl"
EXAM_RESULT = "exam_result.json"
REPORT = "report.html"
RECEIPT = "run.json"
SOURCE = "source"
EXPERT = "expert"

_STATE = "state.json"


@attrs.frozen
class RunFolder:
    """The files of one run, and which of them are still what they were made from."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> "RunFolder":
        """The run folder at *path*, made where nothing is yet.

        Raises:
            RunFolderError: *path* is a file, cannot be written, or is a folder with other things in it.
        """
        files.make_folder(path)
        folder = cls(path)
        if not folder.is_one():
            try:
                others = sorted(entry.name for entry in path.iterdir() if entry.name != files.LOCK_NAME)
            except OSError as error:
                raise files.cannot_write(path, error) from error
            if others:
                msg = (
                    f"{path} is not a run folder (it has no {_STATE}) and is not empty (it holds {others[0]!r}): "
                    "choose another folder with out= (--out)"
                )
                raise RunFolderError(msg)
        return folder

    @classmethod
    def existing(cls, path: Path | str) -> "RunFolder":
        """The run folder at *path*.

        Raises:
            RunFolderError: There is none.
        """
        path = Path(path)
        if not cls(path).is_one():
            what = "does not exist" if not path.exists() else f"is not a run folder: it has no {_STATE}"
            msg = f"{path} {what}; give the folder that `text2expert run` made (expert_model_...)"
            raise RunFolderError(msg)
        return cls(path)

    def is_one(self) -> bool:
        """Whether it is a run folder: its state is there, or, should that be lost, what runs leave behind."""
        return any((self / name).is_file() for name in (_STATE, RECEIPT, CHUNKS))

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; see `files.locked`."""
        with files.locked(self.path):
            if not (self / _STATE).exists():
                self._write_state({})
            yield

    def fresh(self, name: str, made_from: str) -> bool:
        """Whether *name* is there, made from just this, and untouched since."""
        entry = self._entry(name)
        return (entry.get("made_from"), entry.get("sha256")) == (made_from, self.sha256(name)) and bool(entry)

    def edited(self, name: str) -> bool:
        """Whether *name* is there but is not what was written: somebody edited it."""
        entry = self._entry(name)
        return bool(entry) and self.sha256(name) not in (None, entry.get("sha256"), entry.get("expected"))

    def expect(self, name: str, sha256: str) -> None:
        """Note that *name* is about to be written, with this digest: until it is recorded, it is not taken for an edit."""
        self._write_state({**self._state(), name: {**self._entry(name), "expected": sha256}})

    def made_from(self, name: str) -> str | None:
        """The digest of what *name* was made from, as far as it is recorded."""
        return self._entry(name).get("made_from")

    def record(self, name: str, made_from: str, **notes: Any) -> None:
        """Note that *name*, as it is now, was made from this; *notes* (JSON values) say what else is known of it."""
        entry = {"made_from": made_from, "sha256": self.sha256(name), **({"notes": notes} if notes else {})}
        self._write_state({**self._state(), name: entry})

    def notes(self, name: str) -> dict[str, Any]:
        """What was noted of *name* when it was recorded."""
        notes = self._entry(name).get("notes")
        return notes if isinstance(notes, dict) else {}

    def sha256(self, name: str) -> str | None:
        """The SHA-256 of *name*, None where there is no such file."""
        path = self / name
        return files.sha256_file(path) if path.is_file() else None

    def _entry(self, name: str) -> dict[str, Any]:
        entry = self._state().get(name)
        return entry if isinstance(entry, dict) else {}

    def _state(self) -> dict[str, Any]:
        """What is recorded; nothing where the file is damaged or lost, so that everything is made again."""
        try:
            state = json.loads((self / _STATE).read_bytes())["files"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return state if isinstance(state, dict) else {}

    def _write_state(self, state: dict[str, Any]) -> None:
        files.write_json(self / _STATE, {"format": 1, "files": state})


def read_json(path: Path) -> Any:
    """What a JSON file of a run folder holds.

    Raises:
        RunFolderError: It is missing or damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"cannot read {path} ({error}); delete it and run the same command again"
        raise RunFolderError(msg) from error
