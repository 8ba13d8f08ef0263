"""What may come back from a machine whose owner is a stranger: names, sizes and forms, checked before anything lands.

A file goes to a place of its own first, is looked at there without being executed or unpickled, and is moved to its
name only when it is what its name says. Anything else is an error, and nothing of that stage is kept.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from text2expert.errors import RunnerError
from text2expert.runners.local import printable

SUFFIXES: Final = frozenset({".safetensors", ".json", ".jsonl", ".jinja", ".txt", ".svg"})
"""Weights, text, and the picture of a training: nothing that a library would unpickle or execute."""

INSTEAD: Final = {
    ".bin": ".safetensors", ".ckpt": ".safetensors", ".h5": ".safetensors", ".npz": ".safetensors", ".pickle": ".safetensors",
    ".pkl": ".safetensors", ".pt": ".safetensors", ".pth": ".safetensors", ".model": ".json",
}  # fmt: skip
"""Other forms of weights and tokenizers, and the form that comes back: alone, such a file was what is needed."""

LARGEST_FILE: Final = 4 << 30
"""Bytes; the adapter of a 7B base at rank 256 has 1.3 GB, its optimizer's moments twice that."""

LARGEST_SUM: Final = 12 << 30
"""Bytes of all files of a stage together."""

LARGEST_TEXT: Final = 256 << 20
"""Bytes of a file that is read line by line."""

LARGEST_LINE: Final = 16 << 20
"""Bytes of a line; an answer has some thousand."""

LARGEST_JSON: Final = 64 << 20
"""Bytes of a file that is read at once; the largest tokenizers have 35 MB. Read, such a file may take thirty times that."""

MOST_FILES: Final = 1_000
"""In the outputs of a stage."""

_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}")

_PICTURE: Final = re.compile(
    r"""<svg[ ]xmlns="http://www\.w3\.org/2000/svg"(?P<size>(?:[ ](?:viewBox|role|aria-label)="[\w .-]*+")*+)>\n
    <style>(?P<style>[^<>&\\]*+)</style>\n
    (?:
      <(?:text|title|line|polyline|circle)
        (?:[ ](?:class|x|y|x1|x2|y1|y2|cx|cy|r|points|text-anchor)="[\w .,-]*+")*+ /?+>
      | </(?:text|title|line|polyline|circle)>
      | [\w .,:;()%+\n-]
    )*+
    </svg>\n?""",
    re.VERBOSE | re.ASCII,
)
"""Lines, circles and words of plain characters: no script, no reference to anything, nothing that moves."""

_STYLE: Final = re.compile(r"(?:[\w\s.:;,#{}-]|@media \(prefers-color-scheme: dark\))*+", re.ASCII)
"""Rules without functions (no url) and without other at-rules (no import)."""


_COMMIT = re.compile(r"[0-9a-f]{40}")


def check_name(name: str) -> PurePosixPath:
    """*name* as a relative path of plain names that stays inside its folder.

    Raises:
        RunnerError: It is absolute, leads out of the folder, or holds unusual characters.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or str(path) != name or not all(map(_PART.fullmatch, path.parts)):
        raise RunnerError(
            f"the machine sent a file called {name!a:.120}, which is no plain name: nothing was kept of it"
        )
    return path


def check_names(names: Iterable[str], wanted: Iterable[str]) -> None:
    """That files of these names are what was asked for: all of it, and nothing else.

    Args:
        names: Of files.
        wanted: Files, and folders (they have no suffix), that were asked for.

    Raises:
        RunnerError: Something is missing, is more than was asked for, or has an unusual name.
    """
    paths = [check_name(name) for name in names]
    places = [PurePosixPath(name) for name in wanted]
    for path in paths:
        if not any(path == place or (not place.suffix and place in path.parents) for place in places):
            raise RunnerError(f"the machine sent {path}, which nobody asked for: nothing was kept")
        if not set(paths).isdisjoint(path.parents):
            raise RunnerError(f"the machine sent {path}, which lies inside of a file: nothing was kept")
    for place in places:
        if not any(place == path or place in path.parents for path in paths):
            raise RunnerError(f"the machine has no {place}, which the stage was to make; run again to go on")


def left_there(names: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Those of *names* whose kind does not come back; the work can do without them.

    Args:
        names: Of all files under what is *wanted*, checked.
        wanted: Files and folders that were asked for.

    Raises:
        RunnerError: One of them stands where something stands that is needed.
    """
    names, wanted = set(names), set(wanted)
    left = sorted(name for name in names if PurePosixPath(name).suffix not in SUFFIXES)
    for name in left:
        path = PurePosixPath(name)
        other = INSTEAD.get(path.suffix)
        if name in wanted or (other is not None and str(path.with_suffix(other)) not in names):
            raise RunnerError(
                f"the machine sent {name}: files of this kind are not taken from it (only {', '.join(sorted(SUFFIXES))}), "
                "because others may run code when they are opened, and nothing was sent in its place"
            )
    return left


def check_sizes(sizes: dict[str, int]) -> None:
    """That files of so many bytes, by their names, may come.

    Raises:
        RunnerError: There are more than any stage makes, or one is larger.
    """
    if len(sizes) > MOST_FILES:
        raise RunnerError(f"the machine has {len(sizes):,} files for one stage: no stage makes so many")
    for name, size in sizes.items():
        most = {".safetensors": LARGEST_FILE, ".jsonl": LARGEST_TEXT, ".txt": LARGEST_TEXT}.get(
            PurePosixPath(name).suffix, LARGEST_JSON
        )
        if not 0 <= size <= most:
            raise RunnerError(
                f"the machine says that {name} has {size:,} bytes, more than the {most:,} that may come back"
            )
    if (total := sum(sizes.values())) > LARGEST_SUM:
        raise RunnerError(
            f"the machine has {total:,} bytes for one stage, more than the {LARGEST_SUM:,} that may come back"
        )


def check_content(path: Path, name: str) -> None:
    """That the file at *path*, which will be called *name*, is what that says: weights, JSON, our picture, or UTF-8 text.

    Raises:
        RunnerError: It is something else.
    """
    try:
        match PurePosixPath(name).suffix:
            case ".safetensors":
                _check_weights(path)
            case ".json":
                json.loads(path.read_bytes())
            case ".svg":
                _check_picture(path.read_text(encoding="utf-8"))
            case suffix:
                _check_lines(path, of_json=suffix == ".jsonl")
    except (ValueError, RecursionError) as error:
        kind = name.rpartition(".")[2]
        raise RunnerError(
            f"what the machine sent as {name} is no {kind} file ({printable(str(error))[:200]}): nothing was kept"
        ) from error


def check_base(path: Path, base: str, revision: str | None) -> None:
    """That the adapter_config.json at *path* names the model of the hub that was trained, *base*, at a commit of it.

    Whoever opens the adapter fetches what it names. Where it should name a folder, its trainer writes that into it here.

    Args:
        path: The file.
        base: Name of the model.
        revision: That was to be trained: a commit is the only one then, a branch or tag any commit, as is None.

    Raises:
        RunnerError: It names another model of the hub, another commit, or what is none.
    """
    config = json.loads(path.read_bytes())
    named, at = (
        (config.get("base_model_name_or_path"), config.get("revision")) if isinstance(config, dict) else (None, None)
    )
    if named != base:
        raise RunnerError(
            f"the machine sent an adapter of {named!a:.120}, and {base} was to be trained: nothing was kept of it"
        )
    pinned = revision is not None and _COMMIT.fullmatch(revision)
    # Anybody can put a model at refs/pr/7; what is a commit, and of which branch, only the hub knows.
    if at != revision and (pinned or not (isinstance(at, str) and _COMMIT.fullmatch(at))):
        raise RunnerError(
            f"the machine sent an adapter of {base} at revision {at!a:.80}, and {revision or 'a commit'} was to be trained: "
            "nothing was kept of it"
        )


def _check_weights(path: Path) -> None:
    """Opening validates: the header's form, and that it accounts for every byte of the file."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - of an extra

    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _check_lines(path: Path, *, of_json: bool) -> None:
    with open(path, "rb") as file:
        while line := file.readline(LARGEST_LINE + 1):
            if len(line) > LARGEST_LINE:
                raise ValueError(f"a line has more than {LARGEST_LINE:,} bytes")
            text = line.decode("utf-8")
            if of_json and text.strip():
                json.loads(text)


def _check_picture(text: str) -> None:
    """An SVG that was opened in a browser could run a script: only what recipes/plot.py writes may come."""
    found = _PICTURE.fullmatch(text)
    if found is None or not _STYLE.fullmatch(found["style"]):
        raise ValueError("it is not the picture that a training draws")
