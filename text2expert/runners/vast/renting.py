"""The life of a rental: written down, money set aside, rented once, kept alive, paid, and given back on every path out."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from decimal import Decimal
from typing import Any, Final, TypeVar

import attrs

from text2expert import ledger
from text2expert._progress import say
from text2expert.errors import AuthenticationFailed, BudgetExhausted, RunnerError
from text2expert.records import Needs
from text2expert.runners.machine import Remote
from text2expert.runners.vast import deadman, offers
from text2expert.runners.vast.account import UNANSWERED, Account, Gone, TooOften, Unclear
from text2expert.runners.vast.box import DEAD, Box, Lost, Over, Pace, cents
from text2expert.runners.vast.journal import Journal, Rental, new_token, now
from text2expert.runners.vast.offers import IMAGE_GB, Offer
from text2expert.runners.vast.paying import (
    close_unwritten,
    in_batch,
    key_of,
    late_key_of,
    open_hold,
    receipt,
    settle,
    taken_up,
)
from text2expert.runners.vast.returning import destroy, named, still_there

T = TypeVar("T")

SCOPE: Final = "training"
"""What rent is booked to."""

_BUSY: Final = 5.0
"""Seconds for which a lock of a rental of this very job is waited for: others take it for a moment when they look."""

_UNRENEWED: Final = 3
"""Renewals in a row that a machine does not take, until it is given up: it would destroy itself under the work."""
_LOST_AFTER: Final = 5.0
"""Seconds after which a cancellation that has had no effect is repeated."""


class Renting:
    """Rents for one job, books to one ledger, and writes to one journal."""

    def __init__(
        self, account: Account, journal: Journal, book: ledger.Ledger, *, job: str, folder: str, image: str,
        disk_gb: float, needs: Needs, max_hours: float, budget: Decimal | None, pace: Pace,
    ) -> None:  # fmt: skip
        self.account = account
        self.journal = journal
        self.book = book
        self.job = job
        self.folder = os.path.abspath(folder)
        self.image = image
        self.disk_gb = disk_gb
        self.needs = needs
        self.max_hours = max_hours
        self.budget = budget
        self.pace = pace
        self.excluded: set[int] = set()
        """Hardware that is not asked for again in this run."""
        self._doubted: list[Box] = []
        """What was perhaps rented all the same."""

    # -- renting -------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def rented(self, search: Callable[[], Awaitable[Iterable[Offer]]]) -> AsyncIterator[Box]:
        """The machine of an earlier run of this very job, or one that *search* finds; given back when the block ends.

        Raises:
            RunnerError: None could be rented, or one may still be there that cannot be given back.
            BudgetExhausted: The budget does not cover what the job is expected to need.
            Unclear: Vast.ai did not answer.
        """
        boxes: list[Box] = []
        try:
            async with contextlib.AsyncExitStack() as stack:
                box = await self._adopted(stack, boxes)
                if box is not None:
                    say(f"going on with machine {box.rental.machine}, which an earlier run has rented")
                else:
                    self._check_none_kept(boxes)
                    box = await self._first(await search(), stack, boxes)
                yield box
        except Lost:
            self._check_none_kept(boxes)
            raise

    async def clear(self) -> None:
        """Give back whatever earlier runs of this very job have left: it is done.

        Raises:
            RunnerError: Something may still be there that cannot be given back.
            Unclear: Vast.ai did not answer.
        """
        async with contextlib.AsyncExitStack() as stack:
            await self._adopted(stack, [])

    def _check_none_kept(self, boxes: list[Box]) -> None:
        """No second machine beside one that may still be there, and be paid."""
        for box in boxes:
            if box.kept:
                raise _still_paid(box.rental)

    # -- what an earlier run has left ----------------------------------------------------------------------------------

    def takes_up(self, rental: Rental) -> bool:
        """Whether *rental* is this run folder's: its money is in this ledger, or it is the same job in the same place."""
        if rental.url != self.account.url:
            return False
        return open_hold(self.book, rental.token) is not None or (
            rental.job == self.job and rental.folder == self.folder
        )

    async def _adopted(self, stack: contextlib.AsyncExitStack, boxes: list[Box]) -> Box | None:
        """A living machine that an earlier process rented for this job; all others of this run folder are given back."""
        found: Box | None = None
        await self._look_again(self.pace.destroy)
        for doubted in self._doubted:
            if doubted.rental.machine is not None:
                raise _still_paid(doubted.rental)
        own = {box.rental.token for box in self._doubted}
        for rental in self.journal.rentals():
            if rental.token in own or not self.takes_up(rental) or not await self._locked(stack, rental):
                continue
            box = await taken_up(self.book, rental)
            if box is None:
                await self._clear(rental)
                continue
            boxes.append(box)
            stack.push_async_callback(self._give_back, box)
            if box.rental.machine is None:
                found_by_label = await self._find(rental)
                if found_by_label:
                    await self._note(box, found_by_label)
                elif box.now() <= rental.lease_until:
                    await self._hold_in_doubt(box)
                    continue
            if found is None and rental.job == self.job and await self._goes_on(box):
                found = box
            else:
                await self._give_back(box)
        close_unwritten(self.book, self.journal.rentals())
        return found

    async def _locked(self, stack: contextlib.AsyncExitStack, rental: Rental) -> bool:
        """Hold *rental* until the stack is closed; False: another one at work in this folder has it."""
        until = time.monotonic() + _BUSY
        while not stack.enter_context(self.journal.held(rental)):
            if rental.job != self.job:
                return False
            if time.monotonic() >= until:
                raise RunnerError(
                    f"another process is at work on this very job, on machine {rental.machine}: wait until it is done"
                )
            await asyncio.sleep(0.2)
        return True

    async def _goes_on(self, box: Box) -> bool:
        """Whether the machine of *box* is there and can be worked on."""
        if box.rental.machine is None:
            return False
        at = now()
        shown = await self.account.show(box.rental.machine)
        if shown is None:
            return False
        box.look(shown, at)
        return shown.get("actual_status") not in DEAD and not self.is_over(box)

    async def _clear(self, rental: Rental) -> None:
        """What is left of a rental that this ledger has settled, or never held: a machine that came up late."""
        found = await still_there(self.account, rental)
        if found:
            rental = attrs.evolve(rental, machine=min(found))
            if not await destroy(self.account, rental, seconds=self.pace.destroy, poll=self._poll):
                raise _still_paid(rental)
            await self._book_late(rental)
        elif now() < rental.lease_until and rental.machine is None:
            return
        self.journal.forget(rental)

    async def _book_late(self, rental: Rental) -> None:
        """Book a machine for which nothing was held, as far as anybody can know."""
        usd = Decimal(rental.usd_per_hour) * Decimal(str(max(0.0, now() - rental.begun))) / 3600
        usd = cents(usd + Decimal(rental.usd_per_gb) * Decimal(str(IMAGE_GB)))
        say(f"machine {rental.machine} had come up late and is given back: about ${usd}")
        with ledger.budget(SCOPE, None):
            hold = await self.book.hold(late_key_of(rental.token), Decimal(0))  # it was spent, room or not
        self.book.settle(hold, receipt(rental, usd, now()), usd)

    # -- one rental ----------------------------------------------------------------------------------------------------

    async def _first(self, found: Iterable[Offer], stack: contextlib.AsyncExitStack, boxes: list[Box]) -> Box:
        refused = "nobody offers such a machine now"
        for offer in found:
            try:
                return await self._rent(offer, stack, boxes)
            except Gone as error:  # what was perhaps rented is one of the tries instead
                self._check_none_kept(boxes)
                refused = str(error) or "it was just rented by somebody else"
        raise RunnerError(
            f"no machine could be rented ({refused}): try again later, or allow others (gpu, max_usd_per_hour, reliability)"
        )

    async def _rent(self, offer: Offer, stack: contextlib.AsyncExitStack, boxes: list[Box]) -> Box:
        rental = Rental(
            token=new_token(), job=self.job, folder=self.folder, url=self.account.url, begun=now(),
            lease_until=now() + self.pace.lease, host=offer.machine,
            gpu=f"{offer.gpus} x {offer.gpu}", where=offer.where, usd_per_hour=str(offer.usd_per_hour),
            usd_per_gb=str(offer.usd_per_gb),
        )  # fmt: skip
        if not stack.enter_context(self.journal.held(rental)):
            raise AssertionError(rental.token)  # a new token is nobody's
        self.journal.write(rental)  # before the hold: a hold without a line here could only be booked whole
        try:
            box = await self._set_aside(rental, offer)
        except BaseException:
            self.journal.forget(rental)
            raise
        # From here on there may be a machine, whatever happens.
        self.excluded.add(offer.machine)
        boxes.append(box)
        stack.push_async_callback(self._give_back, box)
        await _to_its_end(self._create(box, offer))
        say(f"rented {offer}; machine {box.rental.machine}")
        return box

    async def _create(self, box: Box, offer: Offer) -> None:
        """Ask for the machine, once; what became of it is known when this returns or raises, else the hold stays open."""
        start = deadman.script(
            place=f"~/{box.place}", url=self.account.url, lease_s=self.pace.lease,
            limit_s=self.hours(box) * 3600 + self.pace.grace, look_s=self.pace.look,
        )  # fmt: skip
        try:
            machine = await self.account.create(
                offer.id, label=box.rental.label, image=self.image, disk_gb=self.disk_gb, onstart=start
            )
        except (*UNANSWERED, Gone) as error:
            await self._doubt(box, error)
            return
        await self._note(box, [machine])
        with contextlib.suppress(*UNANSWERED):  # giving it back looks again
            await self._note(box, [machine, *await named(self.account, box.rental)])

    async def _doubt(self, box: Box, error: Exception) -> None:
        """Look for what was rented in spite of *error*: also a refusal may be the answer to the second copy of a call.

        Raises:
            Lost: No machine came up. It may do so later, so that its rent until its own timer ends it stays set aside.
            Exception: *error*, which was a refusal; a machine is not there, but still looked for.
        """
        try:
            found = await self._find(box.rental, patient=not isinstance(error, TooOften))
        except AuthenticationFailed:
            if not isinstance(error, AuthenticationFailed):
                raise
            self._forget(box)  # the key lets nobody do anything
            raise error from None
        if found:
            await self._note(box, found)
            return
        if isinstance(error, TooOften):
            self._forget(box)
            raise error
        if not isinstance(error, Unclear):
            self._settle(box, Decimal(0))
            box.in_doubt = True
            self._doubted.append(box)
            raise error
        await self._hold_in_doubt(box)
        raise Lost("the answer to renting was lost, and no machine of its label came up") from error

    async def _hold_in_doubt(self, box: Box) -> None:
        """Look for *box* again and again; of its hold, keep what a machine costs that nobody finds until it ends itself."""
        box.in_doubt = True
        self._doubted.append(box)
        rent = box.usd_per_hour * Decimal(str((self.pace.lease + self.pace.grace) / 3600))
        usd = cents(rent + box.price_of(IMAGE_GB))
        if usd >= box.hold.usd:
            return
        self._settle(box, Decimal(0))
        with ledger.budget(SCOPE, self.budget):
            box.hold = await self.book.hold(late_key_of(box.rental.token), usd, batch=True)
            box.batch = in_batch(self.book, box.hold, box.rental.token)
        box.rental = attrs.evolve(box.rental, settled=False)
        self.journal.write(box.rental)

    async def _look_again(self, seconds: float) -> None:
        """Look for what was perhaps rented; what has come up late is given back within *seconds*, else at the next look."""
        for box in list(self._doubted):
            found = await named(self.account, box.rental)
            if found:
                say(f"machine {found[0]}, of which the answer was lost, has come up late: it is given back")
                await self._note(box, found)
            elif box.rental.machine is None:
                if box.now() > box.rental.lease_until + self.pace.grace:  # it never was
                    self._doubted.remove(box)
                    if box.batch:
                        self._settle(box, Decimal(0))
                    self.journal.forget(box.rental)
                continue
            if await destroy(self.account, box.rental, seconds=seconds, poll=self._poll):
                self._doubted.remove(box)
                if box.batch:
                    self._settle(box, box.cost(box.now()))
                else:
                    await self._book_late(box.rental)
                self.journal.forget(box.rental)

    async def finish(self, *, done: bool) -> None:
        """Look a last time for what was perhaps rented. What remains in doubt is said, and taken up by the next start.

        Args:
            done: The job is: nobody is expected to start it again.
        """
        await _to_its_end(self._finish(done=done))

    async def _finish(self, *, done: bool) -> None:
        looked = False
        with contextlib.suppress(*UNANSWERED, Gone):
            await self._look_again(self.pace.destroy)
            looked = True
        for box in self._doubted:
            if not box.batch:
                continue
            if done and looked and box.rental.machine is None:
                self._settle(box, Decimal(0))
                continue
            say(
                f"\n!!! IT IS NOT KNOWN WHETHER A MACHINE WAS RENTED, for ${box.usd_per_hour:.3f} an hour, under the label "
                f"{box.rental.label}: the answer was lost.\n!!! Look at {self.account.url}, or run again. Its own timer "
                "destroys it when its lease ends.\n"
            )
            self._keep(box)

    async def _note(self, box: Box, machines: list[int]) -> None:
        """Write down which machine it is; others, rented by the same call carried out twice, go back at once."""
        box.rental = attrs.evolve(box.rental, machine=machines[0])
        box.seen = True
        self.journal.write(box.rental)
        for twin in sorted(set(machines) - {machines[0]}):
            say(f"one call has rented machine {machines[0]} and {twin}: {twin} is given back")
            box.more += box.usd_per_hour * Decimal(str(box.now() - box.rental.begun)) / 3600 + box.price_of(IMAGE_GB)
            with contextlib.suppress(*UNANSWERED):  # giving the other one back looks for it again
                await self.account.destroy(twin)

    async def _set_aside(self, rental: Rental, offer: Offer) -> Box:
        """Hold the worst case, or what the budget leaves of it if that is enough for the job."""
        back = self.pace.grace + self.pace.lease
        reserve = Decimal(str(back / 3600)) * offer.usd_per_hour
        worst = cents(offers.worst(offer, hours=self.max_hours, seconds=back))
        least = cents(offers.least(offer, seconds=back))
        with ledger.budget(SCOPE, self.budget):
            usd = min(worst, self._room(worst))
            if usd < min(least, worst):
                raise BudgetExhausted(
                    f"${usd:.2f} of the training budget is left, and the job is expected to need ${least:.2f} on the best "
                    f"offer ({offer}), ${reserve:.2f} of it kept back for giving the machine back: raise the budget and "
                    "run again to go on"
                )
            hold = await self.book.hold(key_of(rental.token), usd, batch=True)
            batch = in_batch(self.book, hold, rental.token)
        return Box(rental=rental, hold=hold, batch=batch, idle_at=rental.begun)

    def _room(self, most: Decimal) -> Decimal:
        """What all budgets around leave, at most *most*."""
        left = most
        for scope, cap in ledger.caps():
            spent = self.book.spent(scope)
            left = min(left, cap - spent.total - spent.held)
        return max(Decimal(0), left)

    async def _find(self, rental: Rental, *, patient: bool = True) -> list[int]:
        """The machines of a rental whose answer was lost, by its label; they may come up a little later.

        Raises:
            Unclear: It could not be looked for.
            RunnerError: The same.
            ProviderError: The same.
        """
        until = time.monotonic() + (self.pace.settle if patient else 0)
        while True:
            last = time.monotonic() >= until
            try:
                if found := await named(self.account, rental):
                    return found
                if last:
                    return []
            except Unclear:
                if last:
                    raise
            await asyncio.sleep(min(self.pace.poll, 3.0))

    # -- keeping -------------------------------------------------------------------------------------------------------

    def hours(self, box: Box) -> float:
        """For how long the machine may be used: the hold, less what giving it back may take, at its price."""
        rate = box.usd_per_hour
        reserve = Decimal(str((self.pace.grace + self.pace.lease) / 3600)) * rate
        # The base is still to come, or was counted; and the last checkpoint is to be fetched whatever it costs.
        base = max(0.0, offers.base_gb(self.needs) - (box.carried_gb if self.needs.sends_base else box.base_gb))
        traffic = box.price_of(box.gigabytes + base + box.checkpoint_gb)
        paid = float((box.hold.usd - traffic - reserve - box.more) / rate) if rate else self.max_hours
        return min(self.max_hours, paid)

    def is_over(self, box: Box) -> bool:
        """Whether giving it back has to begin, by the hold or by the hours."""
        return box.now() - box.rental.begun >= self.hours(box) * 3600

    async def while_kept(self, box: Box, remote: Remote, work: Coroutine[Any, Any, None]) -> None:
        """Do *work* while the lease is renewed beside it, whatever it is waiting for.

        Raises:
            Over: Budget or hours are used up; the work was stopped.
            Lost: The machine is gone; the work was stopped.
        """
        working = asyncio.ensure_future(work)
        beating = asyncio.ensure_future(self._beat(box, remote))
        try:
            done: set[asyncio.Future[None]] = set()
            while not done:
                if self.is_over(box):
                    raise Over
                done, _ = await asyncio.wait((working, beating), timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            (working if working in done else beating).result()
        finally:
            await _to_its_end(_stopped(working, beating))

    async def _beat(self, box: Box, remote: Remote) -> None:
        while True:
            await self.heartbeat(box, remote)
            await self._check_there(box)
            await asyncio.sleep(self.pace.heartbeat)

    async def heartbeat(self, box: Box, remote: Remote | None = None) -> None:
        """Renew the lease: in the journal, on the machine itself, and in the label that others read."""
        box.rental = attrs.evolve(box.rental, lease_until=now() + self.pace.lease)
        self.journal.write(box.written())
        seconds = self.pace.lease / 3
        if remote is not None:
            with contextlib.suppress(RunnerError, TimeoutError):  # the work notices, too, when it is cut off
                renewal = deadman.renewal(place=f"~/{box.place}", lease_s=self.pace.lease)
                async with asyncio.timeout(seconds):
                    code, _ = await remote.command(renewal)
                self._check_renewed(box, code)
        if box.rental.machine is not None:
            with contextlib.suppress(*UNANSWERED, Gone, TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.account.rename(box.rental.machine, box.rental.label)
        with contextlib.suppress(*UNANSWERED, Gone, TimeoutError):
            async with asyncio.timeout(seconds / 2):
                await self._look_again(seconds / 2)

    def _check_renewed(self, box: Box, code: int) -> None:
        box.unrenewed = box.unrenewed + 1 if code else 0
        if not code:
            return
        say(f"machine {box.rental.machine} does not take the renewal of its lease (exit code {code})")
        if box.unrenewed >= _UNRENEWED:
            raise Lost(f"machine {box.rental.machine} does not take renewals of its lease, and would destroy itself")

    async def _check_there(self, box: Box) -> None:
        with contextlib.suppress(*UNANSWERED, TimeoutError):
            async with asyncio.timeout(self.pace.lease / 3):
                there = await self.lives(box)
            if not there:
                raise Lost(f"machine {box.rental.machine} is gone, or will never run again")

    async def lives(self, box: Box) -> bool:
        """Whether the machine is there and not in a state that never becomes one that works."""
        assert box.rental.machine is not None
        shown = await self.account.show(box.rental.machine)
        if shown is None:
            return box.rental.machine in await named(self.account, box.rental)
        return shown.get("actual_status") not in DEAD

    def fetches_base(self, box: Box) -> None:
        """The work begins, and with it the download of its base; one that is sent from here is counted on its way."""
        if not self.needs.sends_base:
            box.base_gb = offers.base_gb(self.needs)
        self.journal.write(box.written())

    # -- giving back, and paying ---------------------------------------------------------------------------------------

    @property
    def _poll(self) -> float:
        return min(self.pace.poll, 5.0)

    async def _give_back(self, box: Box) -> None:
        """Destroy the machine, see that it is gone, and book what it did cost. Once; nothing stops it half-way."""
        if box.batch and not box.kept and not box.in_doubt:
            await _to_its_end(self._destroyed(box))

    async def _destroyed(self, box: Box) -> None:
        if box.rental.machine is None:
            try:
                found = await self._find(box.rental)
            except UNANSWERED as error:
                say(
                    f"\n!!! IT IS NOT KNOWN WHETHER A MACHINE WAS RENTED, for ${box.usd_per_hour:.3f} an hour, under the label "
                    f"{box.rental.label} ({error!s:.200}).\n!!! Look at {self.account.url}, or run again later. Its own timer "
                    "destroys it when its lease ends.\n"
                )
                self._keep(box)
                return
            if not found:
                # Not there: it never was, or has destroyed itself after its lease.
                unseen = not box.seen and box.now() > box.rental.lease_until
                usd = box.cost(box.rental.lease_until) if unseen else Decimal(0)
                self._settle(box, usd, box.rental.lease_until)
                if unseen:
                    self.journal.forget(box.rental)
                return
            await self._note(box, found)
        if not await destroy(self.account, box.rental, seconds=self.pace.destroy, poll=self._poll):
            self._keep(box)
            return
        # One that nobody saw alive has destroyed itself when its lease ended, or shortly after.
        last = box.rental.ended or box.now()
        last = last if box.seen else min(last, box.rental.lease_until + self.pace.grace)
        self._settle(box, box.cost(last), last)
        self.journal.forget(box.rental)
        minutes = max(0.0, last - box.rental.begun) / 60
        say(f"machine {box.rental.machine} is given back: {minutes:.0f} min, ${box.cost(last):.3f}")

    def _keep(self, box: Box) -> None:
        """It may still be there: the hold stays open, and the next start takes both up again."""
        box.kept = True
        self.journal.write(box.rental)
        self.book.lose(box.hold)

    def _settle(self, box: Box, usd: Decimal, until: float | None = None) -> None:
        settle(self.book, box, usd, box.now() if until is None else until)
        if box.rental.machine is None:  # should it come up all the same, it is known whose it was
            box.rental = attrs.evolve(box.rental, settled=True)
            self.journal.write(box.rental)

    def _forget(self, box: Box) -> None:
        """Nothing was rented: nothing is paid."""
        self._settle(box, Decimal(0))
        self.journal.forget(box.rental)


async def _stopped(*tasks: asyncio.Future[None]) -> None:
    """Cancel *tasks*, until they have ended: before Python 3.12 asyncio.wait_for, of which asyncssh makes use, may lose it."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_LOST_AFTER)
    await asyncio.gather(*tasks, return_exceptions=True)


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """*work*, which a cancellation does not stop: it is passed on when the work is done."""
    task = asyncio.ensure_future(work)
    stopped: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            stopped = error
    if stopped is not None:
        if not task.cancelled() and (failed := task.exception()) is not None:
            raise stopped from failed
        raise stopped
    return task.result()


def _still_paid(rental: Rental) -> RunnerError:
    which = f"under the label {rental.label}" if rental.machine is None else str(rental.machine)
    return RunnerError(
        f"machine {which} may still be there and could not be given back, so no other one is rented for this job: run again "
        "later, or destroy it first (text2expert vast sweep)"
    )
