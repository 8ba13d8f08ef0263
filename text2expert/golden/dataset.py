"""Golden datasets on a disk: a file, also one written by hand, and what lies beside it."""

from pathlib import Path

import attrs

from text2expert import files
from text2expert.errors import InputError, RecordError, RunFolderError
from text2expert.golden.facts import with_facts
from text2expert.golden.split import reseat, split_records, with_ids
from text2expert.records import ExamQuestion, GoldRecord, from_dict, read_json_lines, read_jsonl

GOLD = "golden_dataset.jsonl"
"""The dataset's name in a run folder."""


@attrs.frozen(kw_only=True)
class Dataset:
    """A golden dataset from a disk, with what lies beside it."""

    records: tuple[GoldRecord, ...]
    exam: tuple[ExamQuestion, ...]
    chunks: Path | None
    sources: tuple[Path, ...]
    """The source texts, ``<document>.txt``."""
    notes: tuple[str, ...]
    """What is left out, for a reader."""


@attrs.frozen
class Beside:
    """Where the companions of a dataset file lie: in its run folder, or under its own stem."""

    exam: Path
    chunks: Path
    sources: Path

    @classmethod
    def of(cls, path: Path) -> "Beside":
        """What there is to read beside *path*."""
        if path.name == GOLD and files.kind_of(path.parent / "exam.jsonl") == "file":
            return cls(path.parent / "exam.jsonl", path.parent / "chunks.jsonl", path.parent / "source")
        return cls.named(path)

    @classmethod
    def named(cls, path: Path) -> "Beside":
        """What `merge` writes beside *path*."""
        return cls(*(path.with_name(f"{path.stem}.{kind}") for kind in ("exam.jsonl", "chunks.jsonl", "sources")))


def load(path: Path | str) -> list[GoldRecord]:
    """Read a golden dataset, also one written by hand: ``{"instruction": ..., "output": ...}`` is a record.

    Raises:
        RecordError: A line is damaged, or its instruction or output is blank; the message names file and line.
        InputError: The file is missing, cannot be read, is no regular file or holds no record.
    """
    if files.kind_of(path) == "folder":
        msg = f"{path} is a folder: give the JSONL file in it"
        raise InputError(msg)
    records = []
    for number, value in read_json_lines(path):
        try:
            record = from_dict(value, GoldRecord)
        except InputError as error:
            msg = f"{path}, line {number}: not a training example: {error}; mend or delete that line"
            raise RecordError(msg) from error
        for name, text in (("instruction", record.instruction), ("output", record.output)):
            if not text.strip():
                msg = f"{path}, line {number}: {name!r} is blank: fill it in or delete that line"
                raise RecordError(msg)
        records.append(record)
    if not records:
        msg = (
            f'{path} holds no training example: give lines like {{"instruction": "a question", "output": "its answer"}}'
        )
        raise InputError(msg)
    return records


def locate(path: Path) -> Path:
    """The dataset file that *path* stands for: itself, or that of a run folder.

    Raises:
        RunFolderError: *path* is a folder without a golden dataset.
        InputError: *path* cannot be looked at, or is neither file nor folder.
    """
    if files.kind_of(path) != "folder":
        return path
    if files.kind_of(path / GOLD) != "file":
        msg = f"{path} holds no {GOLD}: give a run folder (expert_model_...) or a JSONL file"
        raise RunFolderError(msg)
    return path / GOLD


def open_dataset(path: Path | str, *, seed: int = 0) -> Dataset:
    """Open a golden dataset: a file, or the run folder that holds one.

    The exam, chunks and source texts beside it are used: those of its run folder, or those that `merge` wrote. A file
    without an exam has one split from it (`split_records`). Questions of the exam that were since added to the
    training set by hand count as taught.

    Raises:
        RunFolderError: *path* is a folder without a golden dataset.
        RecordError: As `load`.
        InputError: As `load`.
    """
    path = locate(Path(path))
    records = with_facts(with_ids(load(path)))
    beside = Beside.of(path)
    notes = []
    if files.kind_of(beside.exam) == "file":
        written = list(read_jsonl(beside.exam, ExamQuestion))
        exam = tuple(reseat(written, records))
        if lost := len(written) - len(exam):
            notes.append(f"{path.name}: {lost:,} of its exam questions are no longer fair and are not asked")
    else:
        # The file may be what is left after facts were drawn with this very seed: it would draw nothing more.
        split = split_records(records, seed=~seed)
        records, exam = list(split.records), split.exam
        held = len(split.kept_back) + sum(each.row != "taught" for each in exam)
        notes.append(
            f"{path.name}: it has no exam beside it; one was split from it, which keeps {held:,} pairs from training"
        )
    chunks = beside.chunks if files.kind_of(beside.chunks) == "file" else None
    sources = texts_in(beside.sources)
    if not sources:
        notes.append(
            f"{path.name}: no source text beside it: its questions and answers are trained on, the text itself is not"
        )
    return Dataset(records=tuple(records), exam=exam, chunks=chunks, sources=sources, notes=tuple(notes))


def texts_in(folder: Path) -> tuple[Path, ...]:
    """The source texts in *folder*, in the order of their names; none where it does not exist.

    Raises:
        InputError: It cannot be looked into.
    """
    if files.kind_of(folder) != "folder":
        return ()
    try:
        return tuple(sorted(path for path in folder.iterdir() if path.suffix == ".txt"))
    except OSError as error:
        raise files.cannot_read(folder, error) from error
