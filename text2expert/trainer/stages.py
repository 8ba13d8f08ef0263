"""The files of a job: stages with their settings, and data brought into its folder."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from text2expert import files
from text2expert.errors import InputError
from text2expert.records import ExamPrompt, Stage
from text2expert.trainer import bases

INPUTS = "stages/inputs"

BASE = f"{INPUTS}/base"
"""Where stages find a base that is a folder of this machine."""


def bring(folder: Path, path: Path, kind: str) -> str:
    """*path* relative to *folder*; a file from elsewhere is copied in first, so that the job can be carried.

    What *kind* of file it is tells the copy from others: two files of one name would become one.
    """
    inside, outside = folder.resolve(), path.resolve()
    if outside.is_relative_to(inside):
        return outside.relative_to(inside).as_posix()
    copy = place(folder, f"{kind}_{files.safe_name(path.name)}")
    try:
        shutil.copyfile(path, folder / copy)
    except FileNotFoundError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path") from error
    except OSError as error:
        raise files.cannot_write(folder / copy, error) from error
    return copy


def link_base(folder: Path, base: Path) -> str:
    """The model in *base* relative to *folder*: links to its files, so that the job can be carried without a copy here."""
    own(folder, "inputs")
    linked = folder / BASE
    files.make_folder(linked)
    try:
        for old in linked.iterdir():
            old.unlink()
        for path in bases.files_of(base.absolute()):
            (linked / path.name).symlink_to(path)
    except OSError as error:
        raise files.cannot_write(linked, error) from error
    return BASE


def place(folder: Path, name: str) -> str:
    """Where a file called *name* goes that stages of *folder* read; the folders on the way are made."""
    own(folder, "inputs")
    return f"{INPUTS}/{name}"


def write_prompts(folder: Path, name: str, prompts: Iterable[ExamPrompt]) -> str:
    """Write what the stage *name* asks, which holds no answers; where it lies in *folder*."""
    path = own(folder, name) / "prompts.jsonl"
    with files.atomic(path) as file:
        for prompt in prompts:
            line = {"id": prompt.id, "question": prompt.question}
            line |= {"contestant": prompt.contestant} if prompt.contestant else {}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path.relative_to(folder).as_posix()


def write(folder: Path, name: str, settings: Mapping[str, Any]) -> str:
    """Write a stage's job.json; its SHA-256, which is the key of all that the stage makes."""
    path = own(folder, name) / "job.json"
    files.write_json(path, settings)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def own(folder: Path, name: str) -> Path:
    """The folder of a stage, made where it is not."""
    files.make_folder(folder / "stages")  # by itself, since mkdir gives its mode to the last folder alone
    files.make_folder(folder / "stages" / name)
    return folder / "stages" / name


def stage(name: str, recipe: str, *, inputs: Sequence[str], outputs: Sequence[str]) -> Stage:
    """The stage whose settings `write` wrote."""
    return Stage(name=name, argv=(recipe, f"stages/{name}/job.json"), inputs=tuple(inputs), outputs=tuple(outputs))


def record_base(folder: Path, base: Path) -> None:
    """Write where the *base* lies into the adapter, which names a folder of the job, or of the machine that trained it."""
    path = folder / "expert" / "adapter_config.json"
    config = json.loads(path.read_bytes())
    if config["base_model_name_or_path"] != str(base):
        files.write_json(path, {**config, "base_model_name_or_path": str(base)})
    path = folder / "expert" / "training_args.json"
    arguments = json.loads(path.read_bytes()) if path.is_file() else {}
    if arguments.get("base") == BASE:
        files.write_json(path, {**arguments, "base": str(base)})
