"""Every dollar and every paid reply, in one SQLite file: budgets that cannot be crossed, replies that are paid for once.

Before a request goes out, the most that it can cost is *held*. When its reply is there, the real cost and the reply are
*settled* in one transaction; where nothing was billed the hold is *released*; where that is not known it is *lost*:
booked whole. A hold is on the disk before the request is sent, so a process that is killed at any moment leaves no cost
unbooked: what it had held is booked as lost when the ledger is opened again.

    with Ledger(folder) as ledger, budget("teacher", 10):
        hold = await ledger.hold(request.key, tariff.ceiling(...))
        ...
        ledger.settle(hold, completion, tariff.cost(completion.usage, now))

Money is `Decimal` throughout, added without rounding and stored as it is written.
"""

import asyncio
import atexit
import contextlib
import fcntl
import functools
import os
import socket
import sqlite3
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from decimal import Context, Decimal, Inexact, InvalidOperation
from pathlib import Path
from typing import Any, Final, Self

import attrs

from text2expert import _progress, files
from text2expert.errors import BudgetExhausted, InputError, LedgerError, RunFolderError
from text2expert.exchange import Completion, Usage

FILE_NAME: Final = "ledger.sqlite"
DEFAULT_FOLDER: Final = ".text2expert"
"""Where a step that is used alone keeps its ledger, in the current folder."""

_ZERO: Final = Decimal(0)
_EXACT: Final = Context(prec=80, traps=[Inexact, InvalidOperation])
"""Sums of dollars: rounded never. `_money` lets in what 80 digits can hold a trillion times over."""

_APPLICATION_ID: Final = 0x74326578  # "t2ex": what makes an SQLite file a ledger
_VERSION: Final = 1
_ABANDONED_S: Final = 1.0
"""How long a hold waits for room that only batches of an earlier run take up before it gives up: until then a task that
is starting beside it may ask for one of their keys and so take them over."""

# A page holds most of a reply: fewer, larger writes.
_SCHEMA: Final = f"""
PRAGMA page_size = 8192;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    scope TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('held', 'settled', 'lost')),
    usd TEXT NOT NULL,
    batch INTEGER,
    model TEXT,
    input_tokens INTEGER,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    output_tokens INTEGER,
    booked_at REAL NOT NULL
);
CREATE TABLE replies (
    key TEXT PRIMARY KEY,
    text, reasoning,
    finish TEXT NOT NULL,
    model TEXT NOT NULL,
    input_tokens INTEGER,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    output_tokens INTEGER,
    reasoning_tokens INTEGER,
    batch INTEGER,
    raw
);
CREATE TABLE batches (
    id INTEGER PRIMARY KEY,
    remote_id TEXT,
    opened_at REAL NOT NULL
);
"""
# `batch` of a call: NULL it is none of a batch; 0 it waits to be sent in one; else it is in that row of `batches`.
# `raw` is the last column, so that a look-up does not read it; it is not compressed, because that takes longer than all
# the rest of a request together.

_SETTLE = (
    "UPDATE calls SET state = 'settled', usd = ?, batch = NULL, model = ?, input_tokens = ?, cache_read_tokens = ?,"
    " cache_write_tokens = ?, output_tokens = ?, booked_at = ? WHERE id = ?"
)
_REPLY = (
    "SELECT text, reasoning, finish, model, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens,"
    " reasoning_tokens, batch FROM replies WHERE key = ?"
)


@attrs.frozen(kw_only=True)
class Hold:
    """The most that one request can cost, set aside until it is known what it did cost."""

    id: int
    key: str
    """Of the request."""
    usd: Decimal
    scope: str
    """Where it is booked: the names of the budgets around it, joined by ``/``."""
    batch: bool = False


@attrs.frozen(kw_only=True)
class Spent:
    """Dollars and calls of a scope so far."""

    settled: Decimal
    """Costs of replies, from the provider's own count of tokens."""
    lost: Decimal
    """Whole holds of requests that were perhaps billed: an upper bound."""
    held: Decimal
    """Of requests that are under way."""
    calls: int
    """Requests that were booked, settled or lost."""
    replies: int
    """Requests that were answered."""

    @property
    def total(self) -> Decimal:
        """What counts against a budget for good: settled and lost."""
        return _EXACT.add(self.settled, self.lost)


@attrs.frozen(kw_only=True)
class Averages:
    """Tokens per answered call, for plans. All are 0 where ``calls`` is."""

    calls: int
    """Answered calls whose provider counted the tokens."""
    input_tokens: float
    """Of the prompt, cached ones included."""
    cached_tokens: float
    """Of ``input_tokens``: read from a cache."""
    output_tokens: float


@attrs.frozen(kw_only=True)
class Batch:
    """A batch of requests whose results were not all collected yet."""

    id: int
    """In this ledger."""
    remote_id: str | None
    """As the provider calls it; None: it is not known whether it was sent."""
    opened_at: float
    """Seconds since 1970."""
    holds: tuple[Hold, ...]
    """Those that are still open."""


@attrs.frozen
class _Scope:
    """The budgets around a piece of work."""

    path: str = ""
    caps: tuple[tuple[str, Decimal], ...] = ()
    """Path and dollars of each that has a cap, from outside in."""


@attrs.define
class _Total:
    settled: Decimal = _ZERO
    lost: Decimal = _ZERO
    held: Decimal = _ZERO
    abandoned: Decimal = _ZERO
    """Of ``held``: in batches of an earlier process that nobody has asked for yet."""
    calls: int = 0
    replies: int = 0

    @property
    def spent(self) -> Decimal:
        return _EXACT.add(self.settled, self.lost)


@attrs.define(eq=False)
class _Waiter:
    key: str
    usd: Decimal
    scope: _Scope
    batch: bool
    turn: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Hold]
    hold: Hold | None = None

    def wake(self, outcome: Hold | Exception) -> None:
        """Hand over *outcome*, from whatever thread."""

        def deliver() -> None:
            if self.future.done():
                return
            if isinstance(outcome, Hold):
                self.future.set_result(outcome)
            else:
                self.future.set_exception(outcome)

        self.loop.call_soon_threadsafe(deliver)


@attrs.define
class _Open:
    hold: Hold
    batch: int | None
    """See the column of this name."""
    abandoned: bool = False


_NOWHERE: Final = _Scope()
_scope: ContextVar[_Scope] = ContextVar("scope", default=_NOWHERE)
_ledger: ContextVar["Ledger | None"] = ContextVar("ledger", default=None)


def _money(usd: Decimal | float, name: str) -> Decimal:
    """*usd* as a Decimal that can be added exactly.

    Raises:
        InputError: It is not a number of dollars.
    """
    if isinstance(usd, Decimal | int | float) and not isinstance(usd, bool):
        # A float means what it is written as: 0.1 is ten cents.
        amount = Decimal(str(usd)) if isinstance(usd, float) else Decimal(usd)
        if amount.is_zero():
            return _ZERO
        exponent = amount.as_tuple().exponent
        if isinstance(exponent, int) and amount > 0 and exponent >= -40 and amount.adjusted() < 12:
            return amount
    msg = f"{name}={usd!r}: give dollars as a number from 0 up to a trillion, with at most 40 decimals"
    raise InputError(msg)


@contextlib.contextmanager
def budget(scope: str, usd: Decimal | float | None) -> Iterator[None]:
    """Book what the block spends to *scope*, and never let the scope's total go over *usd*.

    The cap covers everything that the ledger has ever booked to the scope: an earlier run counts, and raising the cap
    continues it. Budgets nest, and all of them hold: inside ``budget("teacher", 5)`` the scope "drafts" is booked as
    "teacher/drafts" and counts for both. The scope "" caps the whole ledger, wherever it stands.

    Args:
        scope: A name without slashes, or "".
        usd: Dollars; None: no cap, the costs are booked to the scope all the same.

    Raises:
        InputError: *usd* is negative or not a number, or *scope* has a slash.
    """
    if "/" in scope:
        msg = f"scope={scope!r}: give a name without slashes; scopes nest as the blocks do"
        raise InputError(msg)
    cap = None if usd is None else _money(usd, f"budget of {scope or 'everything'}")
    outer = _scope.get()
    path = f"{outer.path}/{scope}" if outer.path and scope else outer.path or scope
    capped = path if scope else ""
    _scope.set(_Scope(path, outer.caps if cap is None else (*outer.caps, (capped, cap))))
    try:
        yield
    finally:
        # Not reset(token): a generator may be closed in another context than it was started in.
        _scope.set(outer)


@functools.lru_cache(maxsize=256)
def _upward(path: str) -> tuple[str, ...]:
    """*path* and the scopes around it: a/b -> "", a, a/b."""
    parts = path.split("/") if path else []
    return tuple("/".join(parts[:n]) for n in range(len(parts) + 1))


class Ledger:
    """The ledger of one folder, ``<folder>/ledger.sqlite``: made when first written to, by one process at a time.

    ``with Ledger(folder):`` makes it the `current` one. It may be used from several threads and event loops.
    """

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder) / FILE_NAME
        self.flights: dict[str, Any] = {}
        """Requests under way by key, so that each is sent once; kept by whoever sends them."""
        self._guard = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._closed = False
        self._owner = os.getpid()
        self._totals: dict[str, _Total] = {}
        self._open: dict[int, _Open] = {}
        self._batched: dict[str, int] = {}
        """Holds for batches by key."""
        self._batches: dict[int, tuple[str | None, float]] = {}
        self._collecting = False
        self._next_id = 1
        self._next_turn = 0
        self._queues: dict[tuple[tuple[str, Decimal], ...], deque[_Waiter]] = {}
        self._outer: list[Ledger | None] = []

    def __enter__(self) -> Self:
        self._outer.append(_ledger.get())
        _ledger.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _ledger.set(self._outer.pop())
        if not self._outer:
            self.close()

    def close(self) -> None:
        """Let go of the file; whoever still waits for a hold gets a `LedgerError`. A second call does nothing."""
        with self._guard:
            self._closed = True
            waiting = [waiter for queue in self._queues.values() for waiter in queue]
            self._queues.clear()
            connection, self._connection = self._connection, None
            lock, self._lock = self._lock, None
            if self._owner == os.getpid():  # a forked child must not touch its parent's file
                if connection is not None:
                    connection.close()
                if lock is not None:
                    fcntl.flock(lock, fcntl.LOCK_UN)
            if lock is not None:
                os.close(lock)
        for waiter in waiting:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                waiter.wake(LedgerError(f"{self.path} was closed while a request waited for room in its budget"))

    # What was answered

    def reply(self, key: str) -> Completion | None:
        """The stored reply to the request with this *key*, without its ``raw`` body (see `raw`); None: there is none.

        Raises:
            LedgerError: The file cannot be read, or another process has it.
        """
        with self._guard:
            if not self._readable():
                return None
            row = self._rows(_REPLY, key)
        if not row:
            return None
        text, reasoning, finish, model, fresh, read, written, output, thought, batch = row[0]
        usage = None
        if fresh is not None:
            usage = Usage(
                input_tokens=fresh,
                cache_read_tokens=read,
                cache_write_tokens=written,
                output_tokens=output,
                reasoning_tokens=thought,
                batch=bool(batch),
            )
        return Completion(text=_text(text), reasoning=_text(reasoning), usage=usage, finish=finish, model=model)

    def raw(self, key: str) -> str | None:
        """The body of a stored reply as the provider sent it; None: there is no such reply.

        Raises:
            LedgerError: The file cannot be read, or another process has it.
        """
        with self._guard:
            row = self._rows("SELECT raw FROM replies WHERE key = ?", key) if self._readable() else None
        return _text(row[0][0]) if row else None

    def spent(self, scope: str = "") -> Spent:
        """What *scope* and the scopes in it have cost so far; "" is everything.

        Raises:
            LedgerError: The file cannot be read, or another process has it.
        """
        with self._guard:
            self._readable()
            total = self._totals.get(scope, _Total())
            return Spent(
                settled=total.settled, lost=total.lost, held=total.held, calls=total.calls, replies=total.replies
            )

    def usage(self, scope: str = "", model: str | None = None) -> Averages:
        """Tokens per answered call of *scope* and the scopes in it.

        Args:
            scope: "" is everything.
            model: Only calls that this model answered; a dated name that begins with it counts too
                (claude-haiku-4-5-20251001 for claude-haiku-4-5).

        Raises:
            LedgerError: The file cannot be read, or another process has it.
        """
        where, values = "state = 'settled' AND input_tokens IS NOT NULL", list[str]()
        if scope:
            where += " AND (scope = ? OR substr(scope, 1, length(?) + 1) = ? || '/')"
            values += [scope] * 3
        if model is not None:
            where += " AND (model = ? OR substr(model, 1, length(?) + 1) IN (? || '-', ? || '@'))"
            values += [model] * 4
        sums = (
            "SELECT count(*), avg(input_tokens + cache_read_tokens + cache_write_tokens), avg(cache_read_tokens),"
            " avg(output_tokens) FROM calls WHERE "
        )
        with self._guard:
            row = self._rows(sums + where, *values)[0] if self._readable() else (0, None, None, None)
        return Averages(
            calls=row[0], input_tokens=row[1] or 0.0, cached_tokens=row[2] or 0.0, output_tokens=row[3] or 0.0
        )

    # Holding and booking

    async def hold(self, key: str, usd: Decimal, *, batch: bool = False) -> Hold:
        """Set *usd* aside for the request with this *key*, within every `budget` around; on the disk when it returns.

        Where a budget has no room left but open holds may free some, it waits, first come first served.

        Args:
            key: Of the request.
            usd: The most that it can cost.
            batch: It will be sent as part of a batch (see `open_batch`) and in no other way. The hold of an earlier
                process for the same key, in a batch that is still open, is taken over.

        Raises:
            BudgetExhausted: There is no room, and nothing that is still open can make some.
            LedgerError: It cannot be written, or another process has the ledger.
        """
        usd = _money(usd, "hold")
        scope = _scope.get()
        with self._guard:
            self._writable()
            if batch and (known := self._batched.get(key)) is not None and self._open[known].abandoned:
                return self._take_over(known)
            if not self._queues:
                self._refuse(usd, scope)
                if self._has_room(usd, scope, {}):
                    return self._admit([(key, usd, scope.path, batch)])[0]
            loop = asyncio.get_running_loop()
            waiter = _Waiter(key, usd, scope, batch, self._next_turn, loop, loop.create_future())
            self._next_turn += 1
            self._queues.setdefault(scope.caps, deque()).append(waiter)
            self._advance()
        try:
            return await self._wait(waiter)
        except BaseException:
            self._withdraw(waiter)
            raise

    def settle(self, hold: Hold, completion: Completion, usd: Decimal) -> None:
        """Book what the request did cost, and keep its reply, in one transaction.

        A cost above the hold is booked as it is: it was billed.

        Raises:
            LedgerError: It cannot be written (then the hold stays open), or *hold* is not open.
        """
        usd = _money(usd, "cost")
        usage = completion.usage
        tokens: tuple[int | None, ...] = (None,) * 4
        more: tuple[int | None, ...] = (None,) * 2
        if usage is not None:
            tokens = usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens, usage.output_tokens
            more = usage.reasoning_tokens, int(usage.batch)
        with self._guard:
            self._writable()
            self._known(hold)
            self._write(
                (_SETTLE, (str(usd), completion.model, *tokens, time.time(), hold.id)),
                (
                    "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        hold.key,
                        _column(completion.text),
                        _column(completion.reasoning),
                        completion.finish,
                        completion.model,
                        *tokens,
                        *more,
                        _column(completion.raw),
                    ),
                ),
            )
            self._close_hold(hold, settled=usd)

    def release(self, hold: Hold) -> None:
        """Forget a hold: the request was not billed.

        Raises:
            LedgerError: It cannot be written (then the hold stays open), or *hold* is not open.
        """
        with self._guard:
            self._writable()
            self._known(hold)
            self._write(("DELETE FROM calls WHERE id = ?", (hold.id,)))
            self._close_hold(hold)

    def lose(self, hold: Hold) -> None:
        """Book a hold whole: the request was perhaps billed, and no answer came.

        Raises:
            LedgerError: It cannot be written (then the hold stays open), or *hold* is not open.
        """
        with self._guard:
            self._writable()
            self._known(hold)
            self._write(
                ("UPDATE calls SET state = 'lost', batch = NULL, booked_at = ? WHERE id = ?", (time.time(), hold.id))
            )
            self._close_hold(hold, lost=hold.usd)

    # Batches

    def open_batch(self, keys: Sequence[str]) -> int:
        """Write down that the requests with these *keys* are about to be sent as one batch; call it before sending.

        From here on their holds outlive this process, until the batch is closed.

        Returns:
            The batch's number in this ledger.

        Raises:
            LedgerError: It cannot be written, or a key has no hold that was made for a batch and waits to be sent.
        """
        with self._guard:
            self._writable()
            entries = [self._open.get(self._batched.get(key, 0)) for key in keys]
            ready = [entry for entry in entries if entry is not None and entry.batch == 0]
            if len(ready) < len(keys) or not keys:
                msg = f"{self.path}: {len(keys) - len(ready)} of {len(keys)} requests of a batch have no hold: call hold(key, usd, batch=True) first"
                raise LedgerError(msg)
            number, now = max(self._batches, default=0) + 1, time.time()
            self._write(
                ("INSERT INTO batches VALUES (?, NULL, ?)", (number, now)),
                *(("UPDATE calls SET batch = ? WHERE id = ?", (number, entry.hold.id)) for entry in ready),
            )
            self._batches[number] = (None, now)
            for entry in ready:
                entry.batch = number
            self._collecting = True
            return number

    def name_batch(self, local: int, remote_id: str) -> None:
        """Write down what the provider calls batch *local*, so that a later process finds it.

        Raises:
            LedgerError: It cannot be written, or there is no such open batch.
        """
        with self._guard:
            self._writable()
            opened = self._batch(local)[1]
            self._write(("UPDATE batches SET remote_id = ? WHERE id = ?", (remote_id, local)))
            self._batches[local] = (remote_id, opened)

    def open_batches(self) -> list[Batch]:
        """Batches that are not closed, oldest first, those of earlier processes included.

        Whoever asks is taken to collect them: from here on requests wait for the room that they hold.

        Raises:
            LedgerError: The file cannot be read, or another process has it.
        """
        with self._guard:
            self._readable()
            self._collecting = True
            holds: dict[int, list[Hold]] = {number: [] for number in self._batches}
            for entry in self._open.values():
                if entry.batch:
                    holds[entry.batch].append(entry.hold)
            return [
                Batch(id=number, remote_id=remote, opened_at=opened, holds=tuple(holds[number]))
                for number, (remote, opened) in sorted(self._batches.items())
            ]

    def close_batch(self, local: int) -> None:
        """Write down that every result of batch *local* was collected.

        Holds of it that nobody in this process has asked for are booked as lost.

        Raises:
            LedgerError: It cannot be written, or there is no such open batch.
        """
        with self._guard:
            self._writable()
            self._batch(local)
            for entry in [each for each in self._open.values() if each.batch == local and each.abandoned]:
                self.lose(entry.hold)
            self._write(
                ("UPDATE calls SET batch = NULL WHERE batch = ?", (local,)),
                ("DELETE FROM batches WHERE id = ?", (local,)),
            )
            del self._batches[local]
            for entry in self._open.values():
                if entry.batch == local:
                    entry.batch = None
                    self._batched.pop(entry.hold.key, None)

    def _batch(self, local: int) -> tuple[str | None, float]:
        if local not in self._batches:
            raise LedgerError(f"{self.path} has no open batch {local}")
        return self._batches[local]

    # Room. All of it under the guard.

    def _total(self, path: str) -> _Total:
        total = self._totals.get(path)
        if total is None:
            total = self._totals[path] = _Total()
        return total

    def _refuse(self, usd: Decimal, scope: _Scope) -> None:
        """Raise `BudgetExhausted` where not even the end of all open holds would make room: what is booked stays."""
        for path, cap in scope.caps:
            total = self._total(path)
            if _EXACT.add(total.spent, usd) > cap:
                raise _exhausted(path, cap, total, usd, "")

    def _has_room(self, usd: Decimal, scope: _Scope, ahead: dict[str, Decimal]) -> bool:
        """Whether *usd* fits beside what is booked and held, and beside what those ahead in the queue wait for."""
        for path, cap in scope.caps:
            total = self._total(path)
            taken = _EXACT.add(_EXACT.add(total.spent, total.held), ahead.get(path, _ZERO))
            if _EXACT.add(taken, usd) > cap:
                return False
        return True

    def _admit(self, asked: Sequence[tuple[str, Decimal, str, bool]]) -> list[Hold]:
        """Holds for (key, usd, path, batch), in one transaction."""
        holds = [
            Hold(id=self._next_id + n, key=key, usd=usd, scope=path, batch=batch)
            for n, (key, usd, path, batch) in enumerate(asked)
        ]
        now = time.time()
        self._write(
            *(
                (
                    "INSERT INTO calls (id, key, scope, state, usd, batch, booked_at) VALUES (?, ?, ?, 'held', ?, ?, ?)",
                    (each.id, each.key, each.scope, str(each.usd), 0 if each.batch else None, now),
                )
                for each in holds
            )
        )
        self._next_id += len(holds)
        for each in holds:
            self._enter(_Open(each, 0 if each.batch else None))
        return holds

    def _enter(self, entry: _Open) -> None:
        hold = entry.hold
        self._open[hold.id] = entry
        if entry.batch is not None:
            self._batched[hold.key] = hold.id
        for path in _upward(hold.scope):
            total = self._total(path)
            total.held = _EXACT.add(total.held, hold.usd)
            if entry.abandoned:
                total.abandoned = _EXACT.add(total.abandoned, hold.usd)

    def _take_over(self, number: int) -> Hold:
        entry = self._open[number]
        entry.abandoned = False
        for path in _upward(entry.hold.scope):
            total = self._total(path)
            total.abandoned = _EXACT.subtract(total.abandoned, entry.hold.usd)
        return entry.hold

    def _known(self, hold: Hold) -> None:
        if hold.id not in self._open:
            raise LedgerError(f"{self.path}: the hold of ${hold.usd} for request {hold.key[:12]} was booked already")

    def _close_hold(self, hold: Hold, *, settled: Decimal | None = None, lost: Decimal | None = None) -> None:
        entry = self._open.pop(hold.id)
        if self._batched.get(hold.key) == hold.id:
            del self._batched[hold.key]
        for path in _upward(hold.scope):
            total = self._totals[path]
            total.held = _EXACT.subtract(total.held, hold.usd)
            if entry.abandoned:
                total.abandoned = _EXACT.subtract(total.abandoned, hold.usd)
            if settled is not None:
                total.settled = _EXACT.add(total.settled, settled)
                total.replies += 1
                total.calls += 1
            elif lost is not None:
                total.lost = _EXACT.add(total.lost, lost)
                total.calls += 1
        if self._queues:
            self._advance()

    def _advance(self) -> None:
        """Let in whoever fits, in the order of arrival; turn away whoever never will.

        What those ahead wait for counts as taken, so that nobody starves; the first of the queue waits for open holds
        alone, so that all get their turn. Waiters under the same budgets are looked at one by one from the front.
        """
        ahead: dict[str, Decimal] = {}
        blocked: set[tuple[tuple[str, Decimal], ...]] = set()
        admitted: list[_Waiter] = []
        while fronts := [queue[0] for caps, queue in self._queues.items() if caps not in blocked]:
            waiter = min(fronts, key=lambda each: each.turn)
            queue = self._queues[waiter.scope.caps]
            try:
                self._refuse(waiter.usd, waiter.scope)
                fits = self._has_room(waiter.usd, waiter.scope, ahead)
                if fits:
                    waiter.hold = self._admit([(waiter.key, waiter.usd, waiter.scope.path, waiter.batch)])[0]
            except (BudgetExhausted, LedgerError) as error:
                outcome: Hold | Exception = error
            else:
                if not fits:
                    blocked.add(waiter.scope.caps)
                    for path, _ in waiter.scope.caps:
                        ahead[path] = _EXACT.add(ahead.get(path, _ZERO), waiter.usd)
                    continue
                assert waiter.hold is not None
                outcome = waiter.hold
                admitted.append(waiter)
            queue.popleft()
            if not queue:
                del self._queues[waiter.scope.caps]
            try:
                waiter.wake(outcome)
            except RuntimeError:  # its loop is closed: nobody is there any more
                if waiter.hold is not None:
                    self.release(waiter.hold)

    async def _wait(self, waiter: _Waiter) -> Hold:
        while not waiter.future.done():
            abandoned = self._total("").abandoned and not self._collecting
            await asyncio.wait((waiter.future,), timeout=_ABANDONED_S if abandoned else None)
            if not waiter.future.done():
                with self._guard:
                    self._give_up(waiter)
        return waiter.future.result()

    def _give_up(self, waiter: _Waiter) -> None:
        """Raise `BudgetExhausted` where *waiter* is next and all it waits for are batches that nobody collects."""
        queue = self._queues.get(waiter.scope.caps)
        if waiter.hold is not None or self._collecting or not queue or queue[0] is not waiter:
            return
        for path, cap in waiter.scope.caps:
            total = self._total(path)
            full = _EXACT.add(_EXACT.add(total.spent, total.held), waiter.usd) > cap
            if full and total.held == total.abandoned:
                raise _exhausted(
                    path,
                    cap,
                    total,
                    waiter.usd,
                    f" and ${total.abandoned} held by a batch of an earlier run: collect it by running that again, with batch=True",
                )

    def _withdraw(self, waiter: _Waiter) -> None:
        """Whoever waited was cancelled, or gave up: leave the queue, or hand the hold back."""
        with self._guard:
            if self._closed:
                return
            if waiter.hold is not None:
                self.release(waiter.hold)
                return
            queue = self._queues.get(waiter.scope.caps)
            if queue and waiter in queue:
                queue.remove(waiter)
                if not queue:
                    del self._queues[waiter.scope.caps]
                self._advance()

    # The file. All of it under the guard.

    def _readable(self) -> bool:
        """Open the file if there is one; False: there is none yet, and nothing is in it."""
        self._mine()
        if self._connection is None:
            if not os.path.lexists(self.path):
                return False
            self._connect()
        return True

    def _writable(self) -> None:
        self._mine()
        if self._connection is None:
            self._connect()

    def _mine(self) -> None:
        if self._closed:
            raise LedgerError(f"{self.path} is closed: open it again with Ledger({str(self.path.parent)!r})")
        if self._owner != os.getpid():
            raise LedgerError(f"{self.path} is in use by this process's parent: open a ledger of its own after a fork")

    def _connect(self) -> None:
        try:
            if not self.path.parent.is_dir():
                files.make_folder(self.path.parent)
            self._lock = _locked(self.path)
            if not os.path.lexists(self.path):
                _create(self.path)
            # Never SQLite's own way to make a file: it would take one away that is damaged for one that is new.
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=0,
            )
        except RunFolderError as error:
            raise LedgerError(str(error)) from error
        except OSError as error:
            raise LedgerError(str(files.cannot_write(self.path, error))) from error
        except sqlite3.Error as error:
            raise _cannot_use(self.path, error) from error
        try:
            _prepare(connection, self.path)
            self._connection = connection
            self._load()
        except BaseException as error:
            self._connection = None
            connection.close()
            if isinstance(error, sqlite3.Error):
                raise _cannot_use(self.path, error) from error
            raise
        finally:
            if self._connection is None and self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _load(self) -> None:
        """Book what dead processes had under way, and add up what there is."""
        self._write(
            # Held for a batch that was never opened: nothing was sent.
            ("DELETE FROM calls WHERE state = 'held' AND batch = 0", ()),
            ("UPDATE calls SET state = 'lost', booked_at = ? WHERE state = 'held' AND batch IS NULL", (time.time(),)),
        )
        self._totals, self._open, self._batched = {}, {}, {}
        self._batches = {number: (remote, at) for number, remote, at in self._rows("SELECT * FROM batches")}
        sums: dict[tuple[str, str], _Total] = {}
        for number, key, path, state, text, batch in self._rows("SELECT id, key, scope, state, usd, batch FROM calls"):
            self._next_id = max(self._next_id, number + 1)
            usd = Decimal(text)
            if state == "held":
                hold = Hold(id=number, key=key, usd=usd, scope=path, batch=True)
                self._enter(_Open(hold, batch, abandoned=True))
                continue
            total = sums.setdefault((path, state), _Total())
            total.settled = _EXACT.add(total.settled, usd)
            total.calls += 1
        for (path, state), of_path in sums.items():
            for each in _upward(path):
                total = self._total(each)
                total.calls += of_path.calls
                if state == "settled":
                    total.settled = _EXACT.add(total.settled, of_path.settled)
                    total.replies += of_path.calls
                else:
                    total.lost = _EXACT.add(total.lost, of_path.settled)

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        assert self._connection is not None
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _cannot_use(self.path, error) from error

    def _write(self, *statements: tuple[str, tuple[Any, ...]]) -> None:
        """Run *statements* as one transaction, which is in the file when this returns."""
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


def _exhausted(path: str, cap: Decimal, total: _Total, usd: Decimal, held: str) -> BudgetExhausted:
    name = f"the budget of {path}" if path else "the budget of the whole run"
    msg = (
        f"{name}, ${cap}, has no room for the next request: ${total.spent} is spent{held}, and the request may cost"
        f" ${usd}. Raise the budget and run again: what was paid for is kept, and the run continues from there"
    )
    return BudgetExhausted(msg)


def _column(text: str) -> str | bytes:
    """*text* as SQLite can keep it: half a surrogate pair, which a model may well write, is no text to it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def _text(column: str | bytes) -> str:
    return column if isinstance(column, str) else column.decode("utf-8", "surrogatepass")


def _locked(path: Path) -> int:
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
            f"{path} is in use by {holder.decode(errors='replace').strip() or 'another process'}: wait until it is done, or"
            " use another folder; within one process, share one Ledger"
        )
        raise LedgerError(msg) from None
    except OSError:
        # A file system without locks: SQLite's own, taken below, is left.
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
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """See that it is a ledger of ours, and set how it is written."""
    # No other process can read or write, and no shared memory is needed, which network drives do not have.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    made_by = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if made_by != _APPLICATION_ID:
        raise LedgerError(f"{path} is {'empty' if path.stat().st_size == 0 else 'not a ledger'}: {_ADVICE}")
    if version > _VERSION:
        raise LedgerError(f"{path} was made by a newer version of text2expert: upgrade, or use another folder")
    try:
        journal = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY):
            raise
        journal = ""
    if journal != "wal":
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA synchronous = NORMAL")


_ADVICE = (
    "put back a copy of it, or move it away to begin a new one; a new one knows nothing of what was paid, so that its"
    " requests are sent, and paid, again"
)


def _cannot_use(path: Path, error: sqlite3.Error) -> LedgerError:
    """The error that says why SQLite could not read or write *path*, and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    advice = {
        sqlite3.SQLITE_FULL: "the disk is full: free some space and run again; what was paid for is kept",
        sqlite3.SQLITE_READONLY: "it cannot be written: change its mode (chmod) or use another folder",
        sqlite3.SQLITE_PERM: "it cannot be written: change its mode (chmod) or use another folder",
        sqlite3.SQLITE_CANTOPEN: "it cannot be opened: see that it is a file, and that you may read and write it and its folder",
        sqlite3.SQLITE_BUSY: "another process is using it: wait until it is done, or use another folder",
        sqlite3.SQLITE_IOERR: "the disk failed to read or write it: see that there is space left and that the disk is well, and run again",
        sqlite3.SQLITE_NOTADB: f"it is damaged: {_ADVICE}",
        sqlite3.SQLITE_CORRUPT: f"it is damaged: {_ADVICE}",
    }.get(code, "see that the file is whole and its folder can be written")
    return LedgerError(f"{path}: {advice} ({error})")


_default: Ledger | None = None
_default_guard = threading.Lock()


def opened() -> Ledger | None:
    """The ledger that this context opened with ``with Ledger(folder):``; None where it did not."""
    return _ledger.get()


def current() -> Ledger:
    """The ledger of this context; outside any, the one of ``.text2expert`` in the current folder, which is said once."""
    ledger = _ledger.get()
    if ledger is not None:
        return ledger
    global _default  # noqa: PLW0603 - one default per process is what it is
    with _default_guard:
        if _default is None or _default._owner != os.getpid() or _default._closed:  # noqa: SLF001
            folder = Path(DEFAULT_FOLDER).absolute()
            _progress.say(f"What is paid for is kept in {folder / FILE_NAME}")
            _default = Ledger(folder)
            atexit.register(_default.close)
        return _default
