"""Claude at half the price: requests collected into Message Batches, whose results come within a day.

A batch is money sent ahead of its answers, so it is written down before it is sent and crossed out when its last result
is booked. Whatever happens in between, an interrupt, a kill, a network that is gone for hours, the batch goes on at the
provider and its holds stay in the ledger; the next run of the same finds it and pays nothing twice.

Source: https://platform.claude.com/docs/en/build-with-claude/batch-processing, as of November 2026.
"""

import asyncio
import contextlib
import copy
import json
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs

from text2expert import _progress, ledger, prices
from text2expert._sync import background_loop
from text2expert.errors import (
    AnswerLost,
    BatchUnfinished,
    InputError,
    LedgerError,
    ProviderError,
    ProviderUnavailable,
    Text2ExpertError,
)
from text2expert.exchange import Completion, Request
from text2expert.ledger import Hold, Ledger
from text2expert.prices import Price
from text2expert.providers.anthropic import Anthropic, wire_body
from text2expert.providers.message_batches import RemoteBatches, name_of, outcome_of

MAX_REQUESTS: Final = 10_000
"""Of one batch. The service takes 100,000; smaller ones end, and are safe in the ledger, sooner."""
MAX_BYTES: Final = 200_000_000
"""Of one batch. The service takes 256 MB."""
QUIET_S: Final = 5.0
"""Without a new request until a batch is sent."""
LONGEST_QUIET_S: Final = 300.0
"""From the first request until a batch is sent, even if more keep coming."""
POLL_S: Final = 60.0
"""Between two looks at a batch, after the first few minutes."""
FIND_S: Final = 60.0
"""After which a batch whose answer was lost would be in the provider's list, had it arrived."""


@attrs.frozen(kw_only=True)
class Pace:
    """When batches are sent and looked at; see the constants above. Tests are in a hurry."""

    max_requests: int = MAX_REQUESTS
    max_bytes: int = MAX_BYTES
    quiet_s: float = QUIET_S
    poll_s: float = POLL_S
    find_s: float = FIND_S


class Batched:
    """A provider that parks requests until no more come, and sends them as one batch.

    Each request must have a hold in the current ledger that was made with ``batch=True``, as `LLM` does. All that is sent
    to one endpoint under one ledger is collected together, with the key of whoever was first.

    Args:
        provider: Whose requests are batched.
        price: What the model costs, where the price table does not know it; for results that nobody waits for any more.
        pace: When batches are sent and looked at.

    Raises:
        InputError: *provider* has no batches.
    """

    def __init__(self, provider: object, *, price: Price | None = None, pace: Pace | None = None) -> None:
        if not isinstance(provider, Anthropic):
            raise InputError(
                f"batch=True with {type(provider).__name__}: only the Anthropic provider has batches; leave batch out"
            )
        self._provider = provider
        self._price = price
        self._pace = pace or Pace()
        self.endpoint = provider.endpoint
        self.dialect = provider.dialect
        self.overhead_tokens = provider.overhead_tokens

    def check(self) -> None:
        """As the provider's own."""
        self._provider.check()

    async def complete(self, request: Request) -> Completion:
        """The answer to *request*, once the batch that it is in has ended: within a day, mostly within an hour.

        A request that an earlier run sent in a batch which is still open is not sent again: its result is waited for.

        Raises:
            ProviderUnavailable: The batch was not taken, or the request in it failed or expired; nothing was billed.
            ProviderError: The request was refused for good, or canceled; nothing was billed.
            AnswerLost: The batch's results are gone; they were perhaps billed.
            BatchUnfinished: The batch is under way and its results cannot be had. Leave its hold as it is.
        """
        self.check()
        book = ledger.current()
        entry = {"custom_id": request.key, "params": wire_body(request)}
        # Batches live on the background loop: they take longer than a caller's loop may last, and several share one.
        home = background_loop()
        work = self._answer(book, entry)
        if asyncio.get_running_loop() is home:
            return await work
        answer = asyncio.run_coroutine_threadsafe(work, home)
        try:
            return await asyncio.wrap_future(answer)
        except asyncio.CancelledError:
            # Perhaps the answer was on its way from one loop to the other.
            home.call_soon_threadsafe(self._forsake, book, request.key)
            raise

    async def _answer(self, book: Ledger, entry: Mapping[str, Any]) -> Completion:
        return await self._desk(book).answer(entry)

    def _forsake(self, book: Ledger, key: str) -> None:
        if (desk := _desks.get(background_loop(), {}).get((book, self.endpoint))) is not None:
            desk.forsake(key)

    def _desk(self, book: Ledger) -> "_Desk":
        desks = _desks.setdefault(background_loop(), {})
        which = book, self.endpoint
        if which not in desks:
            desks[which] = _Desk(self._provider, book, self._price, self._pace, lambda: desks.pop(which, None))
        return desks[which]


@attrs.define
class _Watch:
    """A batch that was sent, or is about to be."""

    id: int
    """In the ledger."""
    keys: frozenset[str]
    opened_at: float
    """Seconds since 1970."""
    url: str = ""
    """Of the batch at the provider; "" while it is not known."""
    told: set[str] = attrs.field(factory=set)
    """Keys whose result was handed to whoever waits, and is theirs to book."""
    said: bool = False
    """Whether it was said that somebody stopped waiting for it."""


class _Desk:
    """All batches of one ledger at one endpoint: requests come in, results go out. On the background loop alone."""

    def __init__(
        self, provider: Anthropic, book: Ledger, price: Price | None, pace: Pace, when_idle: Callable[[], object]
    ) -> None:
        self._provider, self._book, self._price, self._pace = provider, book, price, pace
        self._when_idle = when_idle
        """Called when nobody waits and nothing is under way."""
        self._remote = RemoteBatches(provider, pace.poll_s, going_on=book.open_batches)
        self._home = self._remote.url
        self._waiting: dict[str, asyncio.Future[Completion]] = {}
        self._parked: dict[str, Mapping[str, Any]] = {}
        """Requests that are not sent yet, by key."""
        self._arrived = self._first = 0.0
        """When the last and the first of the parked ones came."""
        self._watches: dict[str, _Watch] = {}
        """By key."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._sender: asyncio.Task[None] | None = None
        self._adopt()

    def _adopt(self) -> None:
        """Follow what the ledger has open and nobody follows: batches of an earlier run."""
        self._all_adopted = True
        followed = {watch.id for watch in self._watches.values()}
        for batch in self._book.open_batches():
            if batch.id in followed:
                continue
            if not batch.holds:
                self._book.close_batch(batch.id)
            elif batch.remote_id is None or batch.remote_id.startswith(f"{self._home}/"):
                url = "" if batch.remote_id in {None, f"{self._home}/"} else str(batch.remote_id)
                keys = frozenset(hold.key for hold in batch.holds)
                watch = _Watch(id=batch.id, keys=keys, opened_at=batch.opened_at, url=url)
                self._follow(watch, self._resume(watch))

    async def answer(self, entry: Mapping[str, Any]) -> Completion:
        """The result of one request; it is sent unless it is in a batch already."""
        if not self._all_adopted:
            self._adopt()
        key = entry["custom_id"]
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._waiting[key] = future
        if (watch := self._watches.get(key)) is not None:
            watch.told.discard(key)
        else:
            self._park(key, entry)
        try:
            return await future
        except asyncio.CancelledError:
            self.forsake(key)
            raise
        finally:
            self._waiting.pop(key, None)
            self._parked.pop(key, None)
            self._rest()

    def forsake(self, key: str) -> None:
        """Whoever waited for *key* is gone, perhaps with its result: it is to be booked here."""
        if (watch := self._watches.get(key)) is None:
            return
        watch.told.discard(key)
        if not watch.said:
            watch.said = True
            _progress.say(f"batch {name_of(watch.url)} goes on at {self._provider.endpoint}: run again to collect it")

    def _rest(self) -> None:
        if not self._waiting and not self._tasks:
            self._when_idle()

    # Sending

    def _park(self, key: str, entry: Mapping[str, Any]) -> None:
        self._arrived = time.monotonic()
        if not self._parked:
            self._first = self._arrived
        self._parked[key] = entry
        if self._sender is None:
            self._sender = self._start(self._send_when_quiet())

    async def _send_when_quiet(self) -> None:
        try:
            while self._parked:
                due = min(self._arrived + self._pace.quiet_s, self._first + LONGEST_QUIET_S)
                if (wait := due - time.monotonic()) > 0 and len(self._parked) < self._pace.max_requests:
                    await asyncio.sleep(min(wait, 0.2))
                    continue
                for entries in self._cut():
                    self._open(entries)
        finally:
            self._sender = None

    def _cut(self) -> Iterator[list[Mapping[str, Any]]]:
        """All that is parked, in pieces that are no larger than a batch may be."""
        parked, self._parked = self._parked, {}
        piece: list[Mapping[str, Any]] = []
        size = 0
        for entry in parked.values():
            # As `http.post` writes it, and a comma.
            more = len(json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")) + 1
            if piece and (len(piece) == self._pace.max_requests or size + more > self._pace.max_bytes):
                yield piece
                piece, size = [], 0
            piece.append(entry)
            size += more
        if piece:
            yield piece

    def _open(self, entries: list[Mapping[str, Any]]) -> None:
        """Write down that *entries* are sent as one batch, and send it."""
        keys = [entry["custom_id"] for entry in entries]
        try:
            local = self._book.open_batch(keys)
            # Where it goes, so that it is looked for there and nowhere else.
            self._book.name_batch(local, f"{self._home}/")
        except LedgerError as error:
            self._tell(keys, error)
            return
        watch = _Watch(id=local, keys=frozenset(keys), opened_at=time.time())
        self._follow(watch, self._send(watch, entries))

    async def _send(self, watch: _Watch, entries: list[Mapping[str, Any]]) -> None:
        try:
            name = await self._remote.create(entries)
        except AnswerLost:
            await self._resume(watch)
        except (ProviderError, ProviderUnavailable) as error:
            self._give_up(watch, error)
        else:
            self._name(watch, f"{self._home}/{name}")
            _progress.say(
                f"batch {name}: {len(entries)} requests are sent; results come within a day, mostly within an hour."
                " If this process ends, the batch goes on: run again to collect it"
            )
            await self._collect(watch)

    def _name(self, watch: _Watch, url: str) -> None:
        self._book.name_batch(watch.id, url)
        watch.url = url

    def _give_up(self, watch: _Watch, error: Text2ExpertError) -> None:
        """The batch never came to be: nothing of it is billed."""
        for hold in self._holds(watch):
            if hold.key not in self._waiting:
                self._book.release(hold)
        self._close(watch)
        self._tell(watch.keys, error)

    # Finding what an earlier run has sent

    async def _resume(self, watch: _Watch) -> None:
        if not watch.url:
            url = await self._find(watch)
            if url is None:
                never = "a batch did not arrive at the provider"
                self._give_up(watch, ProviderUnavailable(never, retry_after=0.0))
                return
            self._name(watch, url)
        _progress.say(f"batch {name_of(watch.url)} was sent already: its results are collected, and not paid again")
        await self._collect(watch)

    async def _find(self, watch: _Watch) -> str | None:
        """The batch at the provider that has the requests of *watch*; None: it never arrived.

        What is in a batch can be seen when it has ended, so those of the right size that have not are waited for.
        """
        waits = self._remote.waits()
        others: set[str] = set()
        while True:
            pending = False
            others |= {batch.remote_id for batch in self._book.open_batches() if batch.remote_id}
            async for shown in self._remote.listed(watch.opened_at):
                url = f"{self._home}/{shown['id']}"
                if url in others or sum(shown["request_counts"].values()) != len(watch.keys):
                    continue
                if shown["processing_status"] != "ended":
                    pending = True
                elif await self._remote.first_key(url) in watch.keys:
                    return url
                else:
                    others.add(url)
            if not pending and time.time() > watch.opened_at + self._pace.find_s:
                return None
            await asyncio.sleep(next(waits))

    # Collecting

    async def _collect(self, watch: _Watch) -> None:
        """Wait until the batch has ended, and hand out its results until each is booked."""
        await self._ended(watch)
        seen: set[str] = set()
        lost: dict[str, AnswerLost] = {}
        while due := {hold.key: hold for hold in self._holds(watch) if hold.key not in lost}:
            async with contextlib.aclosing(self._remote.results(watch.url)) as results:
                async for line in results:
                    key = line["custom_id"]
                    seen.add(key)
                    if key not in due or key in watch.told:
                        continue
                    outcome = outcome_of(line["result"])
                    if isinstance(outcome, AnswerLost):
                        lost[key] = outcome
                    else:
                        self._hand_out(watch, due[key], outcome)
            none = f"batch {name_of(watch.url)} has no result for this request"
            lost |= {key: AnswerLost(none) for key in due.keys() - seen}
            await self._booked(watch)
        # Only now, so that what is lost is booked as such and not kept for a batch that will not have it.
        self._close(watch)
        for key, error in lost.items():
            self._tell([key], error)

    async def _ended(self, watch: _Watch) -> None:
        waits = self._remote.waits()
        while self._holds(watch):
            shown = await self._remote.show(watch.url, sent_at=watch.opened_at)
            if shown.get("archived_at"):
                raise AnswerLost(f"the results of batch {name_of(watch.url)} are no longer kept")
            if shown["processing_status"] == "ended":
                return
            await asyncio.sleep(next(waits))

    def _hand_out(self, watch: _Watch, hold: Hold, outcome: Completion | Text2ExpertError) -> None:
        """Give one result to whoever waits for it; where nobody does, book it."""
        future = self._waiting.get(hold.key)
        if future is not None and not future.done():
            watch.told.add(hold.key)
            _resolve(future, outcome)
        elif isinstance(outcome, Completion) and self._book.reply(hold.key) is None:
            self._book.settle(hold, outcome, self._cost(outcome, hold))
        else:
            self._book.release(hold)

    def _cost(self, completion: Completion, hold: Hold) -> Decimal:
        """What an answer costs that nobody waits for; its whole hold where its price is not known."""
        if completion.usage is None:
            return hold.usd
        try:
            tariff = prices.tariff(completion.model, endpoint=self._provider.endpoint, price=self._price)
        except InputError:
            return hold.usd
        return tariff.cost(completion.usage, datetime.now(UTC))

    async def _booked(self, watch: _Watch) -> None:
        """Wait until whoever got a result has booked it; what was handed to a task that is gone is no longer waited for."""
        wait = 0.01
        while owed := [hold for hold in self._holds(watch) if hold.key in watch.told]:
            if wait == 1.0:
                # Asked anew after a failure to book it, a request has a hold of its own, and this one is left over.
                for hold in owed:
                    if self._book.reply(hold.key) is not None:
                        self._book.release(hold)
            await asyncio.sleep(wait)
            wait = min(2 * wait, 1.0)

    # Both ends

    def _follow(self, watch: _Watch, work: Coroutine[Any, Any, None]) -> None:
        for key in watch.keys:
            self._watches[key] = watch

        self._start(self._guarded(watch, work))

    async def _guarded(self, watch: _Watch, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except AnswerLost as error:
            with contextlib.suppress(LedgerError):  # closed meanwhile
                self._close(watch)
            self._tell(watch.keys, error)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            self._forget(watch)
            self._all_adopted = False
            # What is not of our own making: an answer that is not what the provider's documentation says.
            foreign = not isinstance(error, Text2ExpertError)
            why = f"an answer cannot be read ({type(error).__name__}: {error})" if foreign else str(error)
            kept = f"batch {name_of(watch.url)} is under way and its results cannot be had now: {why}"
            kept_there = foreign or isinstance(error, ProviderError)
            self._tell(watch.keys, BatchUnfinished(f"{kept}. Run again to collect it") if kept_there else error)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._rest()

    def _tell(self, keys: Collection[str], error: Exception) -> None:
        for key in keys:
            if (future := self._waiting.get(key)) is not None and not future.done():
                # One for each: a traceback grows with every task that raises it.
                _resolve(future, copy.copy(error))

    def _close(self, watch: _Watch) -> None:
        self._book.close_batch(watch.id)
        self._forget(watch)

    def _forget(self, watch: _Watch) -> None:
        for key in watch.keys:
            if self._watches.get(key) is watch:
                del self._watches[key]

    def _holds(self, watch: _Watch) -> list[Hold]:
        """Holds of the batch that are open."""
        return next((list(batch.holds) for batch in self._book.open_batches() if batch.id == watch.id), [])


_desks: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Ledger, str], _Desk]] = WeakKeyDictionary()
"""By ledger and endpoint; of one loop, and of a new one after a fork."""


def _resolve(future: asyncio.Future[Completion], outcome: Completion | Exception) -> None:
    if isinstance(outcome, Completion):
        future.set_result(outcome)
        return
    future.set_exception(outcome)
    future.exception()  # whoever waited may be cancelled before it hears of it
