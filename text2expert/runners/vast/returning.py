"""Giving a machine back: asked for until nothing of it is shown any more, or said as loudly as can be."""

import asyncio
import time
from decimal import Decimal
from typing import Final

from text2expert._progress import say
from text2expert.errors import ProviderError
from text2expert.runners.vast.account import CONSOLE, HOME, UNANSWERED, Account, Unclear
from text2expert.runners.vast.journal import Rental, now, token_of

_REFUSED: Final = 30.0
"""Seconds for which destroying is tried again after the key was not accepted."""

_ROUND: Final = 10.0
"""Seconds for destroying and looking once, however little patience is left."""


async def destroy(account: Account, rental: Rental, *, seconds: float, poll: float) -> bool:
    """Destroy a machine and look until it is gone; where that cannot be done, say so as loudly as can be: False.

    An answer of "yes" is not believed, and neither is a single look. Whatever else has the rental's label, because a call
    was carried out twice, goes with it.
    """
    assert rental.machine is not None
    until = time.monotonic() + seconds
    why: Exception | None = None
    left = {rental.machine}
    said = False
    while True:
        try:
            async with asyncio.timeout(max(_ROUND, until - time.monotonic())):
                for each in sorted(left):
                    await account.destroy(each)
                left = await still_there(account, rental)
            if not left:
                return True
            why = None
        except TimeoutError:
            why = Unclear("no answer")
        except UNANSWERED as error:
            why = error
            if isinstance(error, ProviderError):
                until = min(until, time.monotonic() + _REFUSED)
        if time.monotonic() >= until:
            break
        if not said:
            said = True
            say(f"machine {rental.machine} is not gone yet{_because(why)}: trying on")
        await asyncio.sleep(poll)
    ids = ", ".join(map(str, sorted(left)))
    minutes = (rental.lease_until - now()) / 60
    timer = f"does so when its lease ends, in about {minutes:.0f} min" if minutes > 0 else "should have done so by now"
    say(
        f"\n!!! MACHINE {ids} COULD NOT BE GIVEN BACK and costs ${Decimal(rental.usd_per_hour):.2f} an hour{_because(why)}.\n"
        f"!!! Destroy it yourself at {CONSOLE if account.url == HOME else account.url}, or run: text2expert vast sweep\n"
        f"!!! Its own timer {timer}; the next start here tries again.\n"
    )
    return False


async def still_there(account: Account, rental: Rental) -> set[int]:
    """The machines of *rental* that exist, by its number and by its label: either look alone may be wrong."""
    left = set(await named(account, rental))
    if rental.machine is not None and await account.show(rental.machine) is not None:
        left.add(rental.machine)
    return left


async def named(account: Account, rental: Rental) -> list[int]:
    """The machines with the label of *rental*, the oldest first: usually one."""
    found = []
    for each in await account.listed():
        known = token_of(str(each["label"]))
        if each["id"] == rental.machine or (known is not None and known[1] == rental.token):
            found.append(int(each["id"]))
    return sorted(found)


def _because(why: Exception | None) -> str:
    return "" if why is None else f" ({why!s:.200})"
