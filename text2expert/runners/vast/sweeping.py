"""Leftovers: machines of ours whose run is over, and whose lease has ended, are destroyed; all others are let be."""

import contextlib

import attrs

from text2expert._progress import say
from text2expert.errors import RunnerError
from text2expert.runners.vast.account import Account, Unclear
from text2expert.runners.vast.journal import Journal, Rental, now, token_of
from text2expert.runners.vast.renting import destroy


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
        if known is None or type(each.get("id")) is not int:
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


async def remove(account: Account, found: Found, *, seconds: float = 120.0, poll: float = 3.0) -> bool:
    """Destroy a machine that was found; False: it could not be, which was said."""
    rental = Rental(
        token="", job="", folder="", url=account.url, begun=0.0, lease_until=found.lease_until, machine=found.machine,
        usd_per_hour=str(found.usd_per_hour),
    )  # fmt: skip
    return await destroy(account, rental, seconds=seconds, poll=poll)


async def tidy(account: Account, journal: Journal, *, but: str) -> None:
    """Before renting: destroy what is left over, list what is not. The machines of job *but* are its own to take up."""
    try:
        found = await sweep(account, journal)
    except RunnerError as error:
        say(f"leftovers were not looked for: {error}")
        return
    for each in found:
        known = token_of(each.label)
        if known is not None and known[0] == but and each.here:
            continue
        if each.is_left_over:
            say(f"machine {each.machine} is left over (its lease has ended): destroying it")
            with contextlib.suppress(RunnerError, Unclear):
                await remove(account, each, seconds=20.0)
        elif not each.at_work:
            minutes = (each.lease_until - now()) / 60
            say(
                f"machine {each.machine} of another run costs ${each.usd_per_hour:.2f} an hour; its lease ends in {minutes:.0f} min"
            )


def _is_held(journal: Journal, rental: Rental) -> bool:
    with journal.held(rental) as ours:
        return not ours
