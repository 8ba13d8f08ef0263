"""What a ledger is on the disk: one SQLite file, which one process at a time has open.

Nothing in here locks against other threads: the ledger calls it under its own guard.
"""

import contextlib
import fcntl
import os
import socket
import sqlite3
import tempfile
from pathlib import Path
from typing import Any, Final

from text2expert import files
from text2expert.errors import LedgerError, RunFolderError

FILE_NAME: Final = "ledger.sqlite"

_APPLICATION_ID: Final = 0x74326578  # "t2ex": what makes an SQLite file a ledger
_VERSION: Final = 1

_SCHEMA: Final = f"""
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};
BEGIN;
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    scope TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('held', 'settled', 'lost')),
    usd TEXT NOT NULL,
    batch INTEGER,              -- NULL: of none; 0: waits to be sent in one; else a row of batches
    model TEXT,
    input_tokens INTEGER,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    output_tokens INTEGER,
    booked_at REAL NOT NULL
);
CREATE TABLE replies (
    key TEXT PRIMARY KEY,
    text,                       -- TEXT; a BLOB where it holds half a surrogate pair
    reasoning,
    finish TEXT NOT NULL,
    model TEXT NOT NULL,
    input_tokens INTEGER,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    output_tokens INTEGER,
    reasoning_tokens INTEGER,
    batch INTEGER,
    raw                         -- last, so that a look-up does not read it
);
CREATE TABLE batches (
    id INTEGER PRIMARY KEY,
    remote_id TEXT,
    opened_at REAL NOT NULL
);
COMMIT;
"""
# `raw` is not compressed: that takes twice as long as everything else that is done for a request.

_ADVICE: Final = (
    "put a copy of it back, or move it away to begin a new one, which knows nothing of what was paid: its requests are"
    " sent, and paid, again"
)

Statement = tuple[str, tuple[Any, ...]]


class File:
    """The SQLite file of a ledger, opened when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._owner = os.getpid()
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and may be used here and now.

        Raises:
            LedgerError: It was closed, or this process is a fork of the one that it belongs to.
        """
        if self._closed:
            raise LedgerError(f"{self.path} is closed: open it again with Ledger({str(self.path.parent)!r})")
        if self._owner != os.getpid():
            raise LedgerError(f"{self.path} belongs to the parent of this process: open a ledger after the fork")
        return self._connection is not None

    @property
    def usable(self) -> bool:
        """Whether neither `close` nor a fork came between."""
        return not self._closed and self._owner == os.getpid()

    def damaged(self, why: Exception) -> LedgerError:
        """The error that says that the file cannot be trusted."""
        return LedgerError(f"{self.path}: it is damaged: {_ADVICE} ({why})")

    def exists(self) -> bool:
        """Whether something lies at its path."""
        return os.path.lexists(self.path)

    def open(self) -> None:
        """Open the file, and make it where there is none.

        Raises:
            LedgerError: It cannot be read or written, is damaged, or another process has it.
        """
        try:
            if not self.path.parent.is_dir():
                files.make_folder(self.path.parent)
            self._lock = _lock(self.path)
            if not self.exists():
                _create(self.path)
            self._connection = _connect(self.path)
        except BaseException as error:
            self._unlock()
            if isinstance(error, sqlite3.Error):
                raise _cannot_use(self.path, error) from error
            if isinstance(error, RunFolderError):
                raise LedgerError(str(error)) from error
            if isinstance(error, OSError):
                raise LedgerError(str(files.cannot_write(self.path, error))) from error
            raise

    def close(self) -> None:
        """Let go of the file for good; a second call does nothing."""
        self._closed = True
        self.let_go()

    def let_go(self) -> None:
        """Let go of the file, until it is opened again."""
        connection, self._connection = self._connection, None
        if self._owner != os.getpid():
            return  # a forked child must not touch its parent's file, nor its lock
        if connection is not None:
            connection.close()
        self._unlock()

    def _unlock(self) -> None:
        handle, self._lock = self._lock, None
        if handle is not None:
            with contextlib.suppress(OSError):
                # Closing alone would not do while a forked child has it open too.
                fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows that *sql* selects.

        Raises:
            LedgerError: They cannot be read.
        """
        assert self._connection is not None
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _cannot_use(self.path, error) from error

    def write(self, *statements: Statement) -> None:
        """Run *statements* as one transaction, which is in the file when this returns.

        Raises:
            LedgerError: They cannot be written; nothing of them is.
        """
        assert self._connection is not None
        execute = self._connection.execute
        try:
            if len(statements) == 1:
                execute(*statements[0])
                return
            execute("BEGIN IMMEDIATE")
            try:
                for statement in statements:
                    execute(*statement)
                execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise _cannot_use(self.path, error) from error


def column(text: str) -> str | bytes:
    """*text* as SQLite can keep it: half a surrogate pair, which a model may well write, is no text to it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def text(column: str | bytes) -> str:
    """The text of a `column`."""
    return column if isinstance(column, str) else column.decode("utf-8", "surrogatepass")


def _lock(path: Path) -> int:
    """Take the lock beside *path*, and write down who has it. The kernel lets go of it when the process ends."""
    handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder = f"pid {os.getpid()} on host {socket.gethostname()}\n".encode()
        os.ftruncate(handle, os.pwrite(handle, holder, 0))
    except BlockingIOError:
        holder = os.pread(handle, 400, 0)
        os.close(handle)
        msg = (
            f"{path} is in use by {holder.decode(errors='replace').strip() or 'another process'}: wait until it is done,"
            " or use another folder; within one process, share one Ledger"
        )
        raise LedgerError(msg) from None
    except OSError:
        # No locks on this file system, or no space to say whose: SQLite's own lock, taken below, is left.
        return handle
    return handle


def _create(path: Path) -> None:
    """Make an empty ledger, which appears under *path* when it is whole: a file that is there and empty is damaged."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=files.UNFINISHED)  # mode 0600
    os.close(handle)
    try:
        with contextlib.closing(sqlite3.connect(name, isolation_level=None)) as connection:
            connection.executescript(_SCHEMA)
        os.replace(name, path)
    except BaseException:
        for leftover in (name, f"{name}-journal"):
            with contextlib.suppress(OSError):
                os.unlink(leftover)
        raise


def _connect(path: Path) -> sqlite3.Connection:
    """Open *path*, see that it is a ledger of ours, and set how it is written."""
    # mode=rw: SQLite is never to make a file of its own where one has gone missing.
    address = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=0)
    try:
        # No other process can read or write it, and no shared memory is needed, which network drives do not have.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        _check(connection, path)
        journal = ""
        try:
            journal = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            # Where the file system cannot do it, SQLite says that the file cannot be opened or read.
            if _code(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL):
                raise
        if journal != "wal":
            connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = NORMAL")
        # The log goes into the file each 64 MB: that waits for the disk, and everybody for it. With SQLite's own 4 MB two
        # thousand requests would be stopped a dozen times, for 40 ms each.
        connection.execute("PRAGMA wal_autocheckpoint = 16000")
        # Reading fails on a file that cannot be written only when something is to be written: better now.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """See that it is a ledger that this version can read."""
    made_by = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if made_by != _APPLICATION_ID:
        what = "not a ledger" if path.stat().st_size else "empty, so what was in it is lost"
        raise LedgerError(f"{path} is {what}: {_ADVICE}")
    if version > _VERSION:
        raise LedgerError(f"{path} was made by a newer version of text2expert: upgrade, or use another folder")


def _code(error: sqlite3.Error) -> int:
    """SQLite's own code of *error*, without its subdivisions."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _cannot_use(path: Path, error: sqlite3.Error) -> LedgerError:
    """The error that says why SQLite could not read or write *path*, and what to do."""
    no_write = "it cannot be written: change its mode and its folder's (chmod), or use another folder"
    damaged = f"it is damaged: {_ADVICE}"
    advice = {
        sqlite3.SQLITE_FULL: "the disk is full: free some space and run again; what was paid for is kept",
        sqlite3.SQLITE_READONLY: no_write,
        sqlite3.SQLITE_PERM: no_write,
        sqlite3.SQLITE_CANTOPEN: "it cannot be opened: see that it is a file, that you may read and write it and its folder",
        sqlite3.SQLITE_BUSY: "another process is using it: wait until it is done, or use another folder",
        sqlite3.SQLITE_IOERR: "the disk failed: see that there is space left and that the disk is well, and run again",
        sqlite3.SQLITE_NOTADB: damaged,
        sqlite3.SQLITE_CORRUPT: damaged,
        sqlite3.SQLITE_ERROR: damaged,  # a table is missing
    }.get(_code(error), "see that the file is whole and its folder can be written")
    return LedgerError(f"{path}: {advice} ({error})")
