"""Leftovers: machines of ours whose run is over, and whose lease has ended, are destroyed; all others are let be.

What they did cost is booked in the ledger of their run, where that lies beside the job and nobody has it open; else by
that run's next start.
"""

import contextlib
from collections.abc import Callable

import attrs

from text2expert import ledger
from text2expert._progress import say
from text2expert.errors import LedgerError, ProviderError, RunnerError
from text2expert.runners.vast import paying
from text2expert.runners.vast.account import UNANSWERED, Account, Unclear
from text2expert.runners.vast.box import Pace
from text2expert.runners.vast.journal import Journal, Rental, now, token_of
from text2expert.runners.vast.returning import destroy, still_there


@attrs.frozen(kw_only=True)
class Found:
    """A machine of this package in the account."""

    machine: int
    label: str
    usd_per_hour: float
    lease_until: float
    """Seconds since 1970."""
    at_work: bool
    """A living process of this computer has it."""
    here: bool
    """It was rented from this computer."""

    @property
    def is_left_over(self) -> bool:
        """Nobody is at work on it, and its lease has ended."""
        return not self.at_work and self.lease_until < now()


async def sweep(account: Account, journal: Journal) -> list[Found]:
    """All machines of this package in the account, and how they stand. Destroys nothing.

    Raises:
        RunnerError: Vast.ai cannot be asked.
    """
    try:
        machines = await account.listed()
    except Unclear as error:
        raise RunnerError(f"Vast.ai cannot be asked for the machines of the account: {error}") from error
    rentals = {rental.token: rental for rental in journal.rentals()}
    found = []
    for each in machines:
        known = token_of(str(each.get("label")))
        if known is None:
            continue
        rental = rentals.get(known[1])
        found.append(
            Found(
                machine=each["id"],
                label=str(each["label"]),
                usd_per_hour=float(each.get("dph_total") or 0),
                lease_until=max(known[2], rental.lease_until if rental else 0.0),
                at_work=rental is not None and _is_held(journal, rental),
                here=rental is not None,
            )
        )
    return found


async def remove(
    account: Account, found: Found, *, journal: Journal | None = None, seconds: float = 120.0, poll: float = 3.0
) -> bool:
    """Destroy a machine that was found, unless somebody has gone to work on it since; False: it could not be, which was said."""
    journal = journal or Journal()
    known = token_of(found.label)
    rental = next((each for each in journal.rentals() if known is not None and each.token == known[1]), None)
    if rental is None:
        return await destroy(account, _stand_in(account, found), seconds=seconds, poll=poll)
    with journal.held(rental) as ours:
        if not ours:
            say(f"machine {found.machine} is at work again: let be")
            return True
        gone = await destroy(account, attrs.evolve(rental, machine=found.machine), seconds=seconds, poll=poll)
        if gone:
            await _book(journal, attrs.evolve(rental, machine=found.machine, ended=now()))
        return gone


async def book_gone(account: Account, journal: Journal) -> None:
    """Book machines that have given themselves back when their lease had ended, and whose run was not started again.

    Raises:
        RunnerError: Vast.ai cannot be asked whether they are gone.
    """
    for rental in journal.rentals():
        if rental.url != account.url or rental.lease_until >= now():
            continue
        with journal.held(rental) as ours:
            if not ours:
                continue
            try:
                there = rental.ended is None and await still_there(account, rental)
            except UNANSWERED as error:
                raise RunnerError(f"Vast.ai cannot be asked for machine {rental.machine}: {error}") from error
            if not there:
                await _book(journal, rental)


async def _book(journal: Journal, rental: Rental) -> None:
    """Book what a machine that is gone did cost at most, and forget it; where that cannot be done here, remember it."""
    book = ledger.Ledger(rental.folder)
    if book.path.is_file():
        with contextlib.closing(book), contextlib.suppress(LedgerError):  # in use: whoever has it takes it up next time
            box = await paying.taken_up(book, rental)
            if box is not None:
                # One that nobody saw since has destroyed itself when its lease ended, or shortly after.
                usd = box.cost(rental.ended or min(now(), rental.lease_until + Pace().grace))
                paying.settle(book, box, usd)
                say(f"machine {rental.machine} did cost at most ${usd:.2f}: booked in {book.path}")
                journal.forget(rental)
                return
    journal.write(rental)


def _stand_in(account: Account, found: Found) -> Rental:
    """Of a machine that was rented from elsewhere, or of which the journal is lost."""
    return Rental(
        token="", job="", folder="", url=account.url, begun=0.0, lease_until=found.lease_until, machine=found.machine,
        usd_per_hour=str(found.usd_per_hour),
    )  # fmt: skip


async def tidy(account: Account, journal: Journal, *, but: Callable[[Rental], bool]) -> None:
    """Before renting: destroy what is left over, list what is not; *but* tells rentals that will be taken up."""
    try:
        found = await sweep(account, journal)
    except (RunnerError, ProviderError) as error:
        say(f"leftovers were not looked for: {error}")
        return
    own = {rental.token for rental in journal.rentals() if but(rental)}
    for each in found:
        known = token_of(each.label)
        if known is not None and known[1] in own:
            continue
        if each.is_left_over:
            say(f"machine {each.machine} is left over (its lease has ended): destroying it")
            await remove(account, each, journal=journal, seconds=20.0)
        elif not each.at_work:
            minutes = (each.lease_until - now()) / 60
            say(
                f"machine {each.machine} of another run costs ${each.usd_per_hour:.2f} an hour; its lease ends in {minutes:.0f} min"
            )


def _is_held(journal: Journal, rental: Rental) -> bool:
    with journal.held(rental) as ours:
        return not ours
