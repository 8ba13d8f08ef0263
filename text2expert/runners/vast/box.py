"""A rented machine as it is known here: its rental, its money, and the paces of everything that is done with it."""

import time
from collections.abc import Mapping
from decimal import ROUND_UP, Decimal
from typing import Any, Final

import attrs

from text2expert import ledger
from text2expert.runners.vast.account import dollars
from text2expert.runners.vast.journal import Rental, now
from text2expert.runners.vast.offers import IMAGE_GB

DEAD: Final = frozenset({"exited", "unknown", "offline", "stopped", "frozen"})
"""States of a machine that never becomes one that works (Vast's documentation)."""

_HOUR: Final = Decimal(3600)


class Lost(Exception):  # noqa: N818
    """The machine is of no use (any more); another one may be."""


class Over(Exception):  # noqa: N818
    """Budget or hours are used up."""


@attrs.frozen(kw_only=True)
class Pace:
    """Seconds; tests have shorter ones."""

    poll: float = 10.0
    """Between looks at a machine that is starting."""
    ready: float = 1200.0
    """Until a machine that is not ready is given back."""
    lease: float = 900.0
    """Of silence after which the machine destroys itself."""
    heartbeat: float = 60.0
    """Between renewals of the lease."""
    grace: float = 300.0
    """Kept back of budget and hours, for the last checkpoint and for destroying."""
    destroy: float = 600.0
    """For which destroying is tried before it is given up, loudly."""
    look: float = 5.0
    """Between the machine's own looks at its lease."""
    patience: float = 300.0
    """For which a lost connection is tried again."""
    settle: float = 30.0
    """For which a rental whose answer was lost is looked for by its label."""


@attrs.define(kw_only=True)
class Box:
    """A rented machine and its money."""

    rental: Rental
    hold: ledger.Hold
    batch: int
    """Number in the ledger: holds of a batch outlive this process."""
    idle_at: float
    """Seconds since 1970, until when it is known not to have run."""
    storage_per_hour: Decimal | None = None
    """What it costs while it does not run; None: not known yet."""
    seen: bool = False
    """This process has seen it alive, or has rented it."""
    more: Decimal = Decimal(0)
    """Dollars for machines that were rented by the same call, and given back at once."""
    base_gb: float = 0.0
    """Downloaded by the work there; 0: it has not begun."""
    carried_gb: float = 0.0
    """Between here and there."""
    checkpoint_gb: float = 0.0
    """Of the largest checkpoint that was fetched."""
    checkpoints_gb: float = 0.0
    """Of all of them that this process fetched on the way."""
    kept: bool = False
    """It could not be given back: nothing else is rented while it may be there."""
    in_doubt: bool = False
    """The answer to renting it was lost or was no, and it did not come up so far."""
    unrenewed: int = 0
    """Renewals in a row that the machine itself did not take."""
    _seconds: float = attrs.field(factory=time.monotonic)
    _since: float = attrs.field(factory=now)

    @property
    def place(self) -> str:
        """Our folder on the machine; unique, so that boxes never meet."""
        return f".text2expert/{self.rental.token}"

    @property
    def usd_per_hour(self) -> Decimal:
        """While it runs."""
        return Decimal(self.rental.usd_per_hour)

    @property
    def gigabytes(self) -> float:
        """Of traffic so far: a machine may have its image before anybody has seen it run."""
        return IMAGE_GB + self.base_gb + self.carried_gb

    def price_of(self, gigabytes: float) -> Decimal:
        """Dollars for so much traffic."""
        return Decimal(self.rental.usd_per_gb) * Decimal(str(gigabytes))

    def now(self) -> float:
        """Seconds since 1970; a clock that is set back while this process lives makes no machine younger."""
        return max(now(), self._since + time.monotonic() - self._seconds)

    def written(self) -> Rental:
        """The rental with what was counted."""
        self.rental = attrs.evolve(self.rental, base_gb=self.base_gb, carried_gb=self.carried_gb)
        return self.rental

    def look(self, shown: Mapping[str, Any], at: float) -> None:
        """Take up what Vast shows of it, having been asked at *at*: its real price, and whether it runs."""
        self.seen = True
        storage, rate = dollars(shown.get("storage_total_cost")), dollars(shown.get("dph_total"))
        if storage is not None:
            self.storage_per_hour = storage
        if rate:
            self.rental = attrs.evolve(self.rental, usd_per_hour=str(rate))
        if self.rental.running_since is not None:
            return
        if shown.get("actual_status") == "running":
            # It began between two looks; the dearer end of that is booked.
            self.rental = attrs.evolve(self.rental, running_since=self.idle_at)
        else:
            self.idle_at = at

    def cost(self, until: float) -> Decimal:
        """Dollars from renting it *until* then, rounded up to a thousandth of a cent; where nobody looked, it ran."""
        began, ran = self.rental.begun, self.rental.running_since
        ran = min(until, max(began, self.idle_at if ran is None else ran))
        storage = self.usd_per_hour if self.storage_per_hour is None else self.storage_per_hour
        loading, running = Decimal(str(max(0.0, ran - began))), Decimal(str(max(0.0, until - ran)))
        rent = (loading * storage + running * self.usd_per_hour) / _HOUR
        return cents(rent + self.price_of(self.gigabytes) + self.more)


def cents(usd: Decimal) -> Decimal:
    """Rounded up to a thousandth of a cent, which is what a ledger can add."""
    return usd.quantize(Decimal("0.00001"), rounding=ROUND_UP)
