"""How anything of ours reaches a disk: whole or not at all, private, under a safe name, by one process at a time."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import socket
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from text2expert.errors import RunFolderError, RunFolderLockedError

PRIVATE_FOLDER = 0o700
"""Run folders may hold patients' texts: their owner alone may look in."""

LOCK_NAME = ".lock"

UNFINISHED = ".unfinished"
"""How the name of a file that is still being written ends; it begins with a dot."""


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[IO[str]]:
    """Open a UTF-8 text file that appears under *path*, complete and flushed to the disk, when the block ends.

    When the block raises, *path* is as it was before and no temporary file stays behind.

    Raises:
        RunFolderError: The disk is full, or the folder cannot be written; the message names the file.
    """
    path = Path(path)
    try:
        # Part of the name, so that a name of full length leaves room for what is added to it.
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.", suffix=UNFINISHED)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and _is_of_writing(error, temporary):
            raise cannot_write(path, error) from error
        raise
    _flush_folder(path.parent)


def _is_of_writing(error: OSError, temporary: str) -> bool:
    """Whether *error* came from writing the file, and not from what else the block did (reading another file, a socket)."""
    if isinstance(error, ConnectionError | TimeoutError) or error.errno is None:
        return False
    return error.filename in (None, temporary)


def _flush_folder(folder: Path) -> None:
    """Make a rename in *folder* survive a power cut, on file systems that can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path | str, text: str) -> None:
    """Write *text* to *path*, whole or not at all (see `atomic`)."""
    with atomic(path) as file:
        file.write(text)


def write_json(path: Path | str, value: object) -> None:
    """Write *value* as indented JSON with sorted keys, whole or not at all (see `atomic`)."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def cannot_write(path: Path, error: OSError) -> RunFolderError:
    """The error that says why *path* could not be written, and what to do."""
    advice = {
        errno.ENOSPC: "the disk is full: free some space and run again; what was finished is kept",
        errno.EDQUOT: "your disk quota is used up: free some space and run again; what was finished is kept",
        errno.EACCES: "no permission to write there: choose another folder with out= (--out) or change its mode",
        errno.EPERM: "no permission to write there: choose another folder with out= (--out) or change its mode",
        errno.EROFS: "the file system is read-only: choose another folder with out= (--out)",
        errno.EFBIG: "it would be larger than a file may be here: raise the limit (ulimit -f) or choose another disk",
        errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
        errno.EISDIR: "it is a folder: choose another name",
        errno.ENOENT: "its folder does not exist: create it first",
        errno.ENOTDIR: "a part of the path is a file, not a folder: choose another path",
    }.get(error.errno or 0, f"{error.strerror or error}")
    return RunFolderError(f"cannot write {path}: {advice}")


def make_folder(path: Path) -> None:
    """Create *path* and its parents; a new folder is private to its owner (mode 0700).

    Raises:
        RunFolderError: It cannot be created, or *path* is a file.
    """
    try:
        path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise RunFolderError(f"{path} is a file, not a folder: choose another path") from error
    except OSError as error:
        raise cannot_write(path, error) from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold *folder* for this process. The kernel lets go of the lock when the process ends, however it ends.

    What a killed process left half-written in *folder* is removed.

    Raises:
        RunFolderLockedError: Another process holds it; the message names its pid and host.
        RunFolderError: The folder cannot be written or locked.
    """
    try:
        handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise cannot_write(folder / LOCK_NAME, error) from error
    try:
        _acquire(handle, folder)
        for leftover in folder.rglob(f".*{UNFINISHED}"):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        # Closing alone would not do while a forked child has it open too.
        fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _acquire(handle: int, folder: Path) -> None:
    """Take the lock and write down who has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 400, 0).decode(errors="replace").strip() or "another process"
        msg = f"{folder} is in use by {holder}: wait until it is done, stop it, or choose another folder with out= (--out)"
        raise RunFolderLockedError(msg) from None
    except OSError as error:
        msg = f"cannot lock {folder} ({error.strerror}): choose a folder on a local disk with out= (--out)"
        raise RunFolderError(msg) from error
    holder = f"pid {os.getpid()} on host {socket.gethostname()}\n"
    try:
        os.ftruncate(handle, os.pwrite(handle, holder.encode(), 0))
    except OSError as error:
        raise cannot_write(folder / LOCK_NAME, error) from error


def safe_name(name: str) -> str:
    """*name* as one path component that every file system takes: letters of any script, digits, ``.``, ``_``, ``-``.

    At most 100 bytes, never empty, never starting with a dot. A safe name is its own safe name.
    """
    # Marks (M) are parts of letters: vowel signs, accents that have no composed form.
    solid = (
        each if each in "._-" or unicodedata.category(each)[0] in "LMN" else " "
        for each in unicodedata.normalize("NFC", name)
    )
    name = "_".join("".join(solid).split()).strip("._-")
    return name.encode()[:100].decode(errors="ignore").rstrip("._-") or "document"


def sha256_file(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
