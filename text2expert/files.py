"""How anything of ours reaches a disk: whole or not at all, private, under a safe name, by one process at a time."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import socket
import stat
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

from text2expert.errors import InputError, RunFolderError, RunFolderLockedError

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


def cannot_read(path: Path | str, error: OSError) -> InputError:
    """The error that says why *path* could not be read, and what to do."""
    advice = {
        errno.ENOENT: "it does not exist: check the path",
        errno.EACCES: "no permission: have its owner let you read it (chmod), or give another path",
        errno.EPERM: "no permission: have its owner let you read it (chmod), or give another path",
        errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
        errno.ELOOP: "its symbolic links lead in a circle: give the file itself",
        errno.EISDIR: "it is a folder: give a file",
    }.get(error.errno or 0, f"{error.strerror or error}: check the path")
    return InputError(f"cannot read {path}: {advice}")


def kind_of(path: Path | str) -> Literal["file", "folder", "nothing"]:
    """What lies at *path*.

    Raises:
        InputError: It cannot be looked at, or is neither file nor folder: to read a pipe may never end.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    except OSError as error:
        raise cannot_read(path, error) from error
    except ValueError as error:  # a zero byte
        msg = f"cannot read {str(path)!r}: {error}: check the path"
        raise InputError(msg) from error
    if stat.S_ISDIR(mode):
        return "folder"
    if not stat.S_ISREG(mode):
        msg = f"{path} is a pipe or a device: write what it gives to a file, and give that"
        raise InputError(msg)
    return "file"


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


class Together:
    """Files that appear and go together: all of them, or everything is as it was. See `together`."""

    def __init__(self, staging: Path) -> None:
        self._staging = staging
        self._changes: dict[Path, Path | None] = {}
        """Where a file is to be, and where it was written; None: it is to go."""

    @contextlib.contextmanager
    def writing(self, path: Path) -> Iterator[Path]:
        """Where to write what is to be at *path*; a missing parent folder is made (see `make_folder`).

        Raises:
            RunFolderError: It cannot be written; the message names *path*.
        """
        staged = self._staging / f"{len(self._changes)}.new"
        try:
            yield staged
        except RunFolderError as error:
            if isinstance(error.__cause__, OSError):
                raise cannot_write(path, error.__cause__) from error
            raise
        self._changes[path] = staged

    def remove(self, path: Path) -> None:
        """Have the file at *path*, if there is one, go."""
        self._changes[path] = None

    def commit(self) -> None:
        """Put every file in its place, or none.

        Raises:
            RunFolderError: One cannot be; the message names it.
        """
        with contextlib.ExitStack() as undo:
            for number, (path, staged) in enumerate(self._changes.items()):
                try:
                    self._change(path, staged, self._staging / f"{number}.old", undo)
                except OSError as error:
                    raise cannot_write(path, error) from error
            undo.pop_all()
        for folder in {path.parent for path in self._changes}:
            _flush_folder(folder)

    def _change(self, path: Path, staged: Path | None, saved: Path, undo: contextlib.ExitStack) -> None:
        if staged is not None and not path.parent.exists():
            make_folder(path.parent)
            undo.callback(path.parent.rmdir)
        if os.path.lexists(path):
            if stat.S_ISDIR(os.lstat(path).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            os.replace(path, saved)
            undo.callback(os.replace, saved, path)
        elif staged is not None:
            undo.callback(path.unlink, missing_ok=True)
        if staged is not None:
            os.replace(staged, path)


@contextlib.contextmanager
def together(path: Path) -> Iterator[Together]:
    """Change *path* and other files, beside it or in folders beside it, when the block ends.

    When the block raises, or one of the changes fails, all of them are as they were.

    Raises:
        RunFolderError: The disk is full, or a folder cannot be written.
    """
    try:
        staging = Path(tempfile.mkdtemp(dir=path.parent, prefix=".", suffix=UNFINISHED))
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        changes = Together(staging)
        yield changes
        changes.commit()
    except BaseException:
        if not any(staging.glob("*.old")):  # what could not be put back is all that is left of it
            shutil.rmtree(staging, ignore_errors=True)
        raise
    shutil.rmtree(staging, ignore_errors=True)


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
    """The SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
