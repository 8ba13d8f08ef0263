"""Who may hold how much, and who waits: the arithmetic of budgets, without a disk.

Nothing in here locks: the ledger calls it under its own guard.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal

import attrs

from text2expert.errors import BudgetExhausted, LedgerError
from text2expert.ledger.scopes import EXACT, ZERO, Caps, Scope, upward


@attrs.frozen(kw_only=True)
class Hold:
    """The most that one request can cost, set aside until it is known what it did cost."""

    id: int
    """In the ledger."""
    key: str
    """Of the request."""
    usd: Decimal
    scope: str
    """Where it is booked: the names of the budgets around it, joined by ``/``."""
    batch: bool = False
    """Whether the request is sent as part of a batch."""


@attrs.define
class Total:
    """What is booked to a scope and the scopes in it."""

    settled: Decimal = ZERO
    lost: Decimal = ZERO
    held: Decimal = ZERO
    abandoned: Decimal = ZERO
    """Of ``held``: in open batches, by requests that nobody waits for."""
    calls: int = 0
    replies: int = 0

    @property
    def spent(self) -> Decimal:
        """What counts for good."""
        return EXACT.add(self.settled, self.lost)


@attrs.define(eq=False)
class Waiter:
    """A request that waits for room."""

    key: str
    usd: Decimal
    scope: Scope
    batch: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Hold]
    turn: int = 0
    """Its place in the order of arrival."""
    hold: Hold | None = None
    """What it was given, which it may not have heard of yet."""

    def tell(self, outcome: Hold | Exception) -> None:
        """Hand over *outcome*, from whatever thread.

        Raises:
            RuntimeError: Its event loop is closed.
        """

        def deliver() -> None:
            if self.future.done():
                return
            if isinstance(outcome, Hold):
                self.future.set_result(outcome)
            else:
                self.future.set_exception(outcome)

        self.loop.call_soon_threadsafe(deliver)


class Room:
    """Totals of all scopes, and the queue of those for whom there is no room yet.

    Args:
        admit: Makes the hold of a waiter, on the disk and in here; may raise `LedgerError`.
        release: Takes back a hold whose waiter is gone.
    """

    def __init__(self, admit: Callable[[Waiter], Hold], release: Callable[[Hold], None]) -> None:
        self._admit = admit
        self._release = release
        self._totals: dict[str, Total] = {}
        self._queues: dict[Caps, deque[Waiter]] = {}
        """Waiters by the budgets that cap them: of those under the same, only the first needs to be looked at."""
        self._turn = 0

    def total(self, path: str) -> Total:
        """What is booked to the scope *path*; a live object."""
        total = self._totals.get(path)
        if total is None:
            total = self._totals[path] = Total()
        return total

    def upward(self, path: str) -> Iterator[Total]:
        """The totals that a booking to *path* changes."""
        return map(self.total, upward(path))

    @property
    def someone_waits(self) -> bool:
        """Whether there is a queue, at whose end a newcomer must stand."""
        return bool(self._queues)

    # Bookings

    def take(self, hold: Hold) -> None:
        """Count an open hold."""
        for total in self.upward(hold.scope):
            total.held = EXACT.add(total.held, hold.usd)

    def give_back(self, hold: Hold) -> None:
        """Count a hold no longer; whoever then fits is let in by the next `advance`."""
        for total in self.upward(hold.scope):
            total.held = EXACT.subtract(total.held, hold.usd)

    def book(self, path: str, *, settled: Decimal = ZERO, lost: Decimal = ZERO, calls: int, replies: int) -> None:
        """Count costs for good."""
        for total in self.upward(path):
            total.settled = EXACT.add(total.settled, settled)
            total.lost = EXACT.add(total.lost, lost)
            total.calls += calls
            total.replies += replies

    def abandon(self, hold: Hold) -> None:
        """Nobody waits for this open hold's request any more."""
        for total in self.upward(hold.scope):
            total.abandoned = EXACT.add(total.abandoned, hold.usd)

    def take_over(self, hold: Hold) -> None:
        """Somebody waits for it again, or it is about to be closed."""
        for total in self.upward(hold.scope):
            total.abandoned = EXACT.subtract(total.abandoned, hold.usd)

    # Room

    def refuse(self, usd: Decimal, scope: Scope) -> None:
        """Raise `BudgetExhausted` where not even the end of all open holds would make room: what is booked stays."""
        for path, cap in scope.caps:
            total = self.total(path)
            if EXACT.add(total.spent, usd) > cap:
                raise _exhausted(path, cap, total, usd)

    def fits(self, usd: Decimal, scope: Scope, ahead: dict[str, Decimal] | None = None) -> bool:
        """Whether *usd* fits beside what is booked and held, and beside what those *ahead* in the queue wait for."""
        for path, cap in scope.caps:
            total = self.total(path)
            taken = EXACT.add(total.spent, total.held)
            if ahead:
                taken = EXACT.add(taken, ahead.get(path, ZERO))
            if EXACT.add(taken, usd) > cap:
                return False
        return True

    def join(self, waiter: Waiter) -> None:
        """Stand at the end of the queue."""
        self._turn += 1
        waiter.turn = self._turn
        self._queues.setdefault(waiter.scope.caps, deque()).append(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Wait no longer."""
        queue = self._queues.get(waiter.scope.caps)
        if queue and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._queues[waiter.scope.caps]

    def clear(self) -> list[Waiter]:
        """Everybody who waits, and forget them."""
        waiting = [waiter for queue in self._queues.values() for waiter in queue]
        self._queues.clear()
        return waiting

    def advance(self) -> None:
        """Let in whoever fits, in the order of arrival; turn away whoever never will.

        What those ahead wait for counts as taken, so that nobody starves; the first of all waits for open holds alone,
        so that everybody gets a turn. Who is under other budgets than those who wait ahead does not wait for them.
        """
        ahead: dict[str, Decimal] = {}
        stuck: set[Caps] = set()
        while fronts := [queue[0] for caps, queue in self._queues.items() if caps not in stuck]:
            waiter = min(fronts, key=lambda each: each.turn)
            outcome: Hold | Exception
            try:
                self.refuse(waiter.usd, waiter.scope)
                if not self.fits(waiter.usd, waiter.scope, ahead):
                    stuck.add(waiter.scope.caps)
                    for path, _ in waiter.scope.caps:
                        ahead[path] = EXACT.add(ahead.get(path, ZERO), waiter.usd)
                    continue
                outcome = waiter.hold = self._admit(waiter)
            except (BudgetExhausted, LedgerError) as error:
                outcome = error
            self.leave(waiter)
            try:
                waiter.tell(outcome)
            except RuntimeError:  # its loop is closed: nobody is there any more
                if waiter.hold is not None:
                    self._release(waiter.hold)

    def give_up(self, waiter: Waiter) -> None:
        """Raise `BudgetExhausted` where *waiter* is next and all that takes its room are batches that nobody collects."""
        queue = self._queues.get(waiter.scope.caps)
        if not queue or queue[0] is not waiter:
            return
        for path, cap in waiter.scope.caps:
            total = self.total(path)
            full = EXACT.add(EXACT.add(total.spent, total.held), waiter.usd) > cap
            if full and total.held == total.abandoned:
                raise _exhausted(path, cap, total, waiter.usd)


def _exhausted(path: str, cap: Decimal, total: Total, usd: Decimal) -> BudgetExhausted:
    name = f"the budget of {path}" if path else "the budget of the whole run"
    held, advice = "", ""
    if total.lost:
        held = f" (of it ${_plain(total.lost)} at most for answers that were lost)"
    if total.abandoned:
        held += f", ${_plain(total.abandoned)} is held by a batch that nobody collects"
        advice = " Or run again with batch=True and what was asked for then, which collects the batch."
    msg = (
        f"{name}, ${_plain(cap)}, has no room for the next request: ${_plain(total.spent)} is spent{held}, and the request"
        f" may cost ${_plain(usd)}. Raise the budget and run again: what was paid for is kept, and the run continues.{advice}"
    )
    return BudgetExhausted(msg)


def _plain(usd: Decimal) -> str:
    """As people write it: no exponent, no zeros at the end."""
    text = f"{usd:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
