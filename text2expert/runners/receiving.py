"""What may come back from a machine whose owner is a stranger: names, sizes and forms, checked before anything lands.

A file goes to a place of its own first, is looked at there without being executed or unpickled, and is moved to its
name only when it is what its name says. Anything else is an error, and nothing of that stage is kept.
"""

import json
import re
from pathlib import Path, PurePosixPath
from typing import Final

from text2expert.errors import RunnerError

SUFFIXES: Final = frozenset({".safetensors", ".json", ".jsonl", ".jinja", ".txt"})
"""Weights and text: nothing that a library would unpickle or execute."""

LARGEST_FILE: Final = 4 << 30
"""Bytes; the adapter of a 7B base at rank 256 has 1.3 GB, its optimizer's moments twice that."""

LARGEST_SUM: Final = 12 << 30
"""Bytes of all files of a stage together."""

LARGEST_TEXT: Final = 256 << 20
"""Bytes of a file that is not weights; a tokenizer has 20 MB."""

MOST_FILES: Final = 1_000
"""In the outputs of a stage."""

_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}")


def check_name(name: str) -> PurePosixPath:
    """*name* as a relative path of plain names that stays inside its folder.

    Raises:
        RunnerError: It is absolute, leads out of the folder, holds unusual characters, or its kind does not come back.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or not all(_PART.fullmatch(part) for part in path.parts):
        raise RunnerError(
            f"the machine sent a file called {name!r:.120}, which is no plain name: nothing was kept of it"
        )
    if path.suffix not in SUFFIXES:
        raise RunnerError(
            f"the machine sent {name!r:.120}: files of this kind are not taken from it "
            f"(only {', '.join(sorted(SUFFIXES))}), because others may run code when they are opened"
        )
    return path


def check_size(name: str, size: int) -> None:
    """That a file of *size* bytes may come.

    Raises:
        RunnerError: It is larger than anything that a stage makes.
    """
    most = LARGEST_FILE if name.endswith(".safetensors") else LARGEST_TEXT
    if not 0 <= size <= most:
        raise RunnerError(f"the machine says that {name} has {size:,} bytes, more than the {most:,} that may come back")


def check_content(path: Path, name: str) -> None:
    """That the file at *path*, which will be called *name*, is what that says: weights, JSON, or UTF-8 text.

    Raises:
        RunnerError: It is something else.
    """
    try:
        if name.endswith(".safetensors"):
            _check_weights(path)
        elif name.endswith(".json"):
            json.loads(path.read_bytes())
        else:
            with open(path, encoding="utf-8", newline="\n") as lines:
                for line in lines:
                    if name.endswith(".jsonl") and line.strip():
                        json.loads(line)
    except (ValueError, RecursionError) as error:
        kind = name.rpartition(".")[2]
        raise RunnerError(
            f"what the machine sent as {name} is no {kind} file ({error!s:.200}): nothing was kept"
        ) from error


def _check_weights(path: Path) -> None:
    """Opening validates: the header's form, and that it accounts for every byte of the file."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - of an extra

    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(str(error)) from error
