"""How anything of ours reaches a disk: whole or not at all, private, under a safe name, by one process at a time."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
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


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[IO[str]]:
    """Open a UTF-8 text file that appears under *path*, complete and flushed to the disk, when the block ends.

    When the block raises, *path* is as it was before and no temporary file stays behind.

    Raises:
        RunFolderError: The disk is full, or the folder cannot be written; the message names the file.
    """
    path = Path(path)
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


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

    Raises:
        RunFolderLockedError: Another process holds it; the message names its pid and host.
        RunFolderError: The folder cannot be written.
    """
    path = folder / LOCK_NAME
    try:
        file = open(path, "a+", encoding="utf-8")
    except OSError as error:
        raise cannot_write(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "an unknown process"
            msg = (
                f"{folder} is in use by {holder}: wait until it is done, stop it, "
                "or choose another folder with out= (--out)"
            )
            raise RunFolderLockedError(msg) from None
        file.truncate(0)
        file.write(f"pid {os.getpid()} on host {socket.gethostname()}\n")
        file.flush()
        yield


def safe_name(name: str) -> str:
    """*name* as one path component that every file system takes: letters of any script, digits, ``.``, ``_``, ``-``.

    At most 100 bytes, never empty, never starting with a dot.
    """
    name = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).strip("._-") or "document"
    return name.encode()[:100].decode(errors="ignore")


def sha256_file(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
