"""The `Ledger`: holds, bookings, replies and batches, on the disk before they count."""

import asyncio
import atexit
import contextlib
import threading
import time
from collections.abc import Sequence
from contextvars import ContextVar
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, Final, Self

import attrs

from text2expert import _progress
from text2expert.errors import LedgerError
from text2expert.exchange import Completion, Usage
from text2expert.ledger.file import FILE_NAME, File, column, text
from text2expert.ledger.room import Hold, Room, Waiter
from text2expert.ledger.scopes import EXACT, ZERO, dollars, here

DEFAULT_FOLDER: Final = ".text2expert"
"""Where a step that is used alone keeps its ledger, in the current folder."""

_PATIENCE_S: Final = 1.0
"""How long a request waits for room that only batches of an earlier process take up, while nobody collects them: until
then a task that is starting beside it may take them over."""

_HOLD: Final = "INSERT INTO calls (id, key, scope, state, usd, batch, booked_at) VALUES (?, ?, ?, 'held', ?, ?, ?)"
_SETTLE: Final = (
    "UPDATE calls SET state = 'settled', usd = ?, batch = NULL, model = ?, input_tokens = ?, cache_read_tokens = ?,"
    " cache_write_tokens = ?, output_tokens = ?, booked_at = ? WHERE id = ?"
)
_LOSE: Final = "UPDATE calls SET state = 'lost', batch = NULL, booked_at = ? WHERE id = ?"
_STORE: Final = "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_REPLY: Final = (
    "SELECT text, reasoning, finish, model, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens,"
    " reasoning_tokens, batch FROM replies WHERE key = ?"
)
_AVERAGES: Final = (
    "SELECT count(*), avg(input_tokens + cache_read_tokens + cache_write_tokens), avg(cache_read_tokens),"
    " avg(output_tokens) FROM calls WHERE state = 'settled' AND input_tokens IS NOT NULL"
)


@attrs.frozen(kw_only=True)
class Spent:
    """Dollars and requests of a scope so far."""

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
        return EXACT.add(self.settled, self.lost)


@attrs.frozen(kw_only=True)
class Averages:
    """Tokens per answered request, for plans; all are 0 where ``calls`` is."""

    calls: int
    """Answered requests whose tokens the provider counted."""
    input_tokens: float
    """Of the prompt, cached ones included."""
    cached_tokens: float
    """Of ``input_tokens``: read from a cache."""
    output_tokens: float
    """Of the reply, reasoning included."""


@attrs.frozen(kw_only=True)
class Batch:
    """A batch of requests whose results were not all collected yet."""

    id: int
    """In the ledger."""
    remote_id: str | None
    """As the provider calls it; None: it is not known whether it was sent."""
    opened_at: float
    """Seconds since 1970."""
    holds: tuple[Hold, ...]
    """Those that are still open."""


@attrs.define
class _Entry:
    """An open hold, and where it stands."""

    hold: Hold
    batch: int | None
    """None: of no batch; 0: waits to be sent in one; else the number of the batch that it is in."""
    abandoned: bool = False
    """In an open batch, and nobody waits for it."""


class Ledger:
    """The ledger of one folder, ``<folder>/ledger.sqlite``: made when first written to, open in one process at a time.

    ``with Ledger(folder):`` makes it the `current` one. It may be used from several threads and event loops.

    Every method raises `LedgerError` where the file cannot be read or written, is damaged, or another process has it.
    What could not be written did not happen: a hold whose booking failed stays open.
    """

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder) / FILE_NAME
        self.flights: dict[str, Any] = {}
        """Requests under way by key, so that each is sent once; kept by whoever sends them."""
        self._guard = threading.RLock()
        self._file = File(self.path)
        self._room = Room(self._admit, self.release)
        self._open: dict[int, _Entry] = {}
        self._batched: dict[str, _Entry] = {}
        """Open holds for batches, by key."""
        self._batches: dict[int, tuple[str | None, float]] = {}
        """Remote id and time of opening."""
        self._collecting = False
        """Whether somebody in this process collects the results of batches."""
        self._next_id = 1
        self._outer: list[Ledger | None] = []

    def __enter__(self) -> Self:
        self._outer.append(_ledger.get())
        _ledger.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        # Not reset(token): see `budget`.
        _ledger.set(self._outer.pop())
        if not self._outer:
            self.close()

    def close(self) -> None:
        """Let go of the file; whoever still waits for room gets a `LedgerError`. A second call does nothing."""
        with self._guard:
            waiting = self._room.clear()
            self._file.close()
        for waiter in waiting:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                waiter.tell(LedgerError(f"{self.path} was closed while a request waited for room in its budget"))

    # What was answered, and what it cost

    def reply(self, key: str) -> Completion | None:
        """The stored reply to the request with this *key*; None: there is none. Its body, `raw`, is not read with it."""
        with self._guard:
            rows = self._file.rows(_REPLY, key) if self._readable() else ()
        if not rows:
            return None
        answer, reasoning, finish, model, fresh, read, written, output, thought, batch = rows[0]
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
        return Completion(text=text(answer), reasoning=text(reasoning), usage=usage, finish=finish, model=model)

    def raw(self, key: str) -> str | None:
        """The body of a stored reply as the provider sent it; None: there is no such reply."""
        with self._guard:
            rows = self._file.rows("SELECT raw FROM replies WHERE key = ?", key) if self._readable() else ()
        return text(rows[0][0]) if rows else None

    def replies(self, scope: str) -> list[str]:
        """The texts of the replies that were paid for in *scope* and the scopes in it, as they were booked."""
        sql = (
            "SELECT replies.text FROM calls JOIN replies ON replies.key = calls.key WHERE calls.state = 'settled'"
            " AND (calls.scope = ? OR substr(calls.scope, 1, length(?) + 1) = ? || '/') ORDER BY calls.id"
        )
        with self._guard:
            rows = self._file.rows(sql, scope, scope, scope) if self._readable() else ()
        return [text(row[0]) for row in rows]

    def spent(self, scope: str = "") -> Spent:
        """What *scope* and the scopes in it have cost so far; "" is everything."""
        with self._guard:
            self._readable()
            total = self._room.total(scope)
            return Spent(
                settled=total.settled, lost=total.lost, held=total.held, calls=total.calls, replies=total.replies
            )

    def usage(self, scope: str = "", model: str | None = None) -> Averages:
        """Tokens per answered request of *scope* and the scopes in it.

        Args:
            scope: "" is everything.
            model: Only what this model answered, under whatever date (claude-haiku-4-5-20251001 for claude-haiku-4-5).
        """
        sql, values = _AVERAGES, list[str]()
        if scope:
            sql += " AND (scope = ? OR substr(scope, 1, length(?) + 1) = ? || '/')"
            values += [scope] * 3
        if model is not None:
            sql += (
                " AND (model = ? OR substr(model, 1, length(?) + 1) = ? || '@'"
                " OR substr(model, 1, length(?) + 1) = ? || '-' AND substr(model, length(?) + 2) GLOB '[0-9][0-9][0-9][0-9]*')"
            )
            values += [model] * 6
        with self._guard:
            count, whole, cached, output = (
                self._file.rows(sql, *values)[0] if self._readable() else (0, None, None, None)
            )
        return Averages(
            calls=count, input_tokens=whole or 0.0, cached_tokens=cached or 0.0, output_tokens=output or 0.0
        )

    # Holding and booking

    async def hold(self, key: str, usd: Decimal, *, batch: bool = False) -> Hold:
        """Set *usd* aside for the request with this *key*, within every `budget` around; on the disk when it returns.

        Where a budget has no room left but open holds may free some, it waits, first come first served.

        Args:
            key: Of the request.
            usd: The most that it can cost.
            batch: It will be sent in a batch (see `open_batch`) and in no other way. Where it is in an open batch
                already, of an earlier process or of a task that was cancelled, that hold is taken over.

        Raises:
            BudgetExhausted: There is no room, and nothing that is still open can make some.
        """
        usd = dollars(usd, "hold")
        scope = here()
        with self._guard:
            self._writable()
            if batch and (entry := self._batched.get(key)) is not None and entry.abandoned:
                return self._take_over(entry)
            if not self._room.someone_waits:
                self._room.refuse(usd, scope)
                if self._room.fits(usd, scope):
                    return self._set_aside(key, usd, scope.path, batch)
            loop = asyncio.get_running_loop()
            waiter = Waiter(key, usd, scope, batch, loop, loop.create_future())
            self._room.join(waiter)
            self._room.advance()
        try:
            return await self._wait(waiter)
        except BaseException:
            self._withdraw(waiter)
            raise

    def settle(self, hold: Hold, completion: Completion, usd: Decimal) -> None:
        """Book what the request did cost, and keep its reply, in one transaction.

        A cost above the hold is booked as it is: it was billed.

        Raises:
            LedgerError: Also where *hold* is not open.
        """
        usd = dollars(usd, "cost")
        usage = completion.usage
        tokens: tuple[int | None, ...] = (None,) * 4
        more: tuple[int | None, ...] = (None,) * 2
        if usage is not None:
            tokens = usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens, usage.output_tokens
            more = usage.reasoning_tokens, usage.batch
        model = completion.model
        reply = column(completion.text), column(completion.reasoning), completion.finish, model
        with self._guard:
            self._entry(hold)
            self._file.write(
                (_SETTLE, (str(usd), model, *tokens, time.time(), hold.id)),
                (_STORE, (hold.key, *reply, *tokens, *more, column(completion.raw))),
            )
            self._room.book(hold.scope, settled=usd, calls=1, replies=1)
            self._end(hold)

    def release(self, hold: Hold) -> None:
        """Forget a hold: the request was not billed.

        Raises:
            LedgerError: Also where *hold* is not open.
        """
        with self._guard:
            self._entry(hold)
            self._file.write(("DELETE FROM calls WHERE id = ?", (hold.id,)))
            self._end(hold)

    def lose(self, hold: Hold) -> None:
        """Book a hold whole: the request was perhaps billed, and its answer did not come.

        The answer to a request in an open batch will still come: its hold stays open, for whoever asks again or collects
        the batch. One that still waits to be sent in a batch is released.

        Raises:
            LedgerError: Also where *hold* is not open.
        """
        with self._guard:
            entry = self._entry(hold)
            if entry.batch == 0:
                self.release(hold)
            elif entry.batch is not None:
                if not entry.abandoned:
                    entry.abandoned = True
                    self._room.abandon(hold)
            else:
                self._book_lost(hold)

    # Batches

    def open_batch(self, keys: Sequence[str]) -> int:
        """Write down that the requests with these *keys* are about to be sent as one batch; call it before sending.

        From here on their holds outlive this process, until the batch is closed.

        Returns:
            The batch's number in this ledger.

        Raises:
            LedgerError: Also where a key has no hold that was made for a batch and waits to be sent.
        """
        with self._guard:
            self._writable()
            entries = [entry for key in dict.fromkeys(keys) if (entry := self._batched.get(key)) and entry.batch == 0]
            if len(entries) < len(keys) or not keys:
                missing = len(keys) - len(entries)
                msg = f"{self.path}: {missing} of {len(keys)} requests of a batch have no hold: hold each with batch=True, once"
                raise LedgerError(msg)
            number, now = max(self._batches, default=0) + 1, time.time()
            self._file.write(
                ("INSERT INTO batches VALUES (?, NULL, ?)", (number, now)),
                *(("UPDATE calls SET batch = ? WHERE id = ?", (number, entry.hold.id)) for entry in entries),
            )
            self._batches[number] = (None, now)
            for entry in entries:
                entry.batch = number
            self._collecting = True
            return number

    def name_batch(self, local: int, remote_id: str) -> None:
        """Write down what the provider calls batch *local*, so that a later process finds it.

        Raises:
            LedgerError: Also where there is no such open batch.
        """
        with self._guard:
            self._writable()
            opened_at = self._batch(local)[1]
            self._file.write(("UPDATE batches SET remote_id = ? WHERE id = ?", (remote_id, local)))
            self._batches[local] = (remote_id, opened_at)

    def open_batches(self) -> list[Batch]:
        """Batches that are not closed, oldest first, those of earlier processes included.

        Whoever asks is taken to collect them: from here on requests wait for the room that they hold.
        """
        with self._guard:
            self._readable()
            self._collecting = True
            holds: dict[int, list[Hold]] = {number: [] for number in self._batches}
            for entry in self._open.values():
                if entry.batch:
                    holds[entry.batch].append(entry.hold)
            return [
                Batch(id=number, remote_id=remote_id, opened_at=opened_at, holds=tuple(holds[number]))
                for number, (remote_id, opened_at) in sorted(self._batches.items())
            ]

    def close_batch(self, local: int) -> None:
        """Write down that every result of batch *local* was collected.

        Holds of it that are open and nobody waits for are booked as lost; the others are no longer of a batch.

        Raises:
            LedgerError: Also where there is no such open batch.
        """
        with self._guard:
            self._writable()
            self._batch(local)
            entries = [entry for entry in self._open.values() if entry.batch == local]
            lost = [entry.hold for entry in entries if entry.abandoned]
            now = time.time()
            self._file.write(
                *((_LOSE, (now, hold.id)) for hold in lost),
                ("UPDATE calls SET batch = NULL WHERE batch = ?", (local,)),
                ("DELETE FROM batches WHERE id = ?", (local,)),
            )
            del self._batches[local]
            for entry in entries:
                entry.batch = None
                self._batched.pop(entry.hold.key, None)
            for hold in lost:
                self._room.book(hold.scope, lost=hold.usd, calls=1, replies=0)
                self._end(hold)

    def _batch(self, local: int) -> tuple[str | None, float]:
        if local not in self._batches:
            raise LedgerError(f"{self.path} has no open batch {local}")
        return self._batches[local]

    # Everything below is under the guard, but for waiting.

    def _readable(self) -> bool:
        """Open the file if there is one; False: there is none yet, and nothing is in it."""
        if self._file.is_open:
            return True
        if not self._file.exists():
            return False
        self._load()
        return True

    def _writable(self) -> None:
        if not self._file.is_open:
            self._load()

    def _load(self) -> None:
        """Open the file, book what dead processes had under way, and add up what there is."""
        self._file.open()
        try:
            self._file.write(
                # Held for a batch that was never opened: nothing was sent.
                ("DELETE FROM calls WHERE state = 'held' AND batch = 0", ()),
                (
                    "UPDATE calls SET state = 'lost', booked_at = ? WHERE state = 'held' AND batch IS NULL",
                    (time.time(),),
                ),
            )
            self._add_up()
        except BaseException as error:
            self._file.let_go()
            self._room, self._open, self._batched = Room(self._admit, self.release), {}, {}
            if isinstance(error, ArithmeticError | TypeError | ValueError):
                raise self._file.damaged(error) from error
            raise

    def _add_up(self) -> None:
        rows = self._file.rows
        self._batches = {number: (remote_id, at) for number, remote_id, at in rows("SELECT * FROM batches")}
        self._next_id = rows("SELECT ifnull(max(id), 0) + 1 FROM calls")[0][0]
        for number, key, path, usd, batch in rows("SELECT id, key, scope, usd, batch FROM calls WHERE state = 'held'"):
            hold = Hold(id=number, key=key, usd=dollars(Decimal(usd), "hold"), scope=path, batch=True)
            self._enter(_Entry(hold, batch, abandoned=True))
            self._room.abandon(hold)
        for path, state in rows("SELECT DISTINCT scope, state FROM calls WHERE state != 'held'"):
            amounts = rows("SELECT usd FROM calls WHERE scope = ? AND state = ?", path, state)
            with localcontext(EXACT):
                total = dollars(sum((Decimal(usd) for (usd,) in amounts), ZERO), "total")
            answered = state == "settled"
            self._room.book(
                path,
                settled=total if answered else ZERO,
                lost=ZERO if answered else total,
                calls=len(amounts),
                replies=len(amounts) if answered else 0,
            )

    def _set_aside(self, key: str, usd: Decimal, path: str, batch: bool) -> Hold:
        hold = Hold(id=self._next_id, key=key, usd=usd, scope=path, batch=batch)
        parked = 0 if batch else None
        self._file.write((_HOLD, (hold.id, key, path, str(usd), parked, time.time())))
        self._next_id += 1
        self._enter(_Entry(hold, parked))
        return hold

    def _admit(self, waiter: Waiter) -> Hold:
        return self._set_aside(waiter.key, waiter.usd, waiter.scope.path, waiter.batch)

    def _enter(self, entry: _Entry) -> None:
        self._open[entry.hold.id] = entry
        if entry.batch is not None:
            self._batched[entry.hold.key] = entry
        self._room.take(entry.hold)

    def _entry(self, hold: Hold) -> _Entry:
        """What is known of *hold*, which can be booked once."""
        self._writable()
        entry = self._open.get(hold.id)
        if entry is None or entry.hold.key != hold.key:
            raise LedgerError(f"{self.path}: the hold of ${hold.usd} for request {hold.key[:12]} is not open any more")
        return entry

    def _take_over(self, entry: _Entry) -> Hold:
        entry.abandoned = False
        self._room.take_over(entry.hold)
        return entry.hold

    def _book_lost(self, hold: Hold) -> None:
        self._file.write((_LOSE, (time.time(), hold.id)))
        self._room.book(hold.scope, lost=hold.usd, calls=1, replies=0)
        self._end(hold)

    def _end(self, hold: Hold) -> None:
        """The hold was booked, or forgotten: whoever waits for its room may have it."""
        entry = self._open.pop(hold.id)
        if self._batched.get(hold.key) is entry:
            del self._batched[hold.key]
        if entry.abandoned:
            self._room.take_over(hold)
        self._room.give_back(hold)
        if self._room.someone_waits:
            self._room.advance()

    async def _wait(self, waiter: Waiter) -> Hold:
        while not waiter.future.done():
            # Only what an earlier process left can be there without anybody who frees it.
            orphans = bool(self._room.total("").abandoned) and not self._collecting
            await asyncio.wait((waiter.future,), timeout=_PATIENCE_S if orphans else None)
            if orphans and not waiter.future.done():
                with self._guard:
                    if not self._collecting:
                        self._room.give_up(waiter)
        return waiter.future.result()

    def _withdraw(self, waiter: Waiter) -> None:
        """Whoever waited was cancelled, or gave up: leave the queue, or hand the hold back."""
        with self._guard:
            if not self._file.usable:
                return
            if waiter.hold is not None:
                self.release(waiter.hold)
            else:
                self._room.leave(waiter)
                self._room.advance()


_ledger: ContextVar[Ledger | None] = ContextVar("ledger", default=None)
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
    global _default  # noqa: PLW0603 - one per process is what it is
    with _default_guard:
        if _default is None or not _default._file.usable:  # noqa: SLF001
            ledger = Ledger(Path(DEFAULT_FOLDER).absolute())
            _progress.say(f"Replies, and what they cost, are kept in {ledger.path}")
            atexit.register(ledger.close)
            _default = ledger
        return _default
