"""How many requests go to a provider at a time, and whether any: fewer while it refuses, none while it answers nobody."""

import asyncio
import copy
import math
import time
from collections import deque
from decimal import Decimal
from weakref import WeakKeyDictionary

from text2expert.errors import AnswerLost, AuthenticationFailed, OutOfBalance, ProviderError, ProviderUnavailable
from text2expert.providers import Provider

LONGEST_RETRY_AFTER_S = 600.0
"""A provider that asks for more is not waited for: the run stops and says so, and continues where it stopped."""

GROWTH = 1 / 8
"""Slots that an answer gives back to a limiter. A refusal takes one, so up to a ninth of refusals is lived with."""
PAUSING_SHARE = 0.25
"""Of recent replies: when so many were refusals, a Retry-After holds for everybody, not for the refused request alone."""

LOST_IN_A_ROW = 20
"""Lost answers, with none that came between them, after which a provider is taken to be out of order. Each is booked whole,
so without an end to it a server that answers nobody uses up a budget. One that has answered before may lose as many more
as there are slots: all that a network loses when it goes away."""
PROBE_S = 60.0
"""Between two requests to a provider that is out of order: one is sent, to see, and the others fail unsent."""

REFUSED_S = 5.0
"""For so long a refused key or balance is not tried again: what waits behind it fails with it, unsent."""


class OutOfOrder(ProviderUnavailable):
    """Nothing was sent, since nothing that was sent of late was answered."""


class Limiter:
    """How many requests may be under way at one provider and model: as many as asked for, fewer while it refuses.

    Additive up, multiplicative down, without rounds: every refusal takes one slot away, so a burst of which a share is
    refused shrinks by that share; every answer gives `GROWTH` back. Random refusals below a ninth shrink nothing.
    """

    def __init__(self, ceiling: int) -> None:
        self.under_way = 0
        self.warned = False
        """Whether it was said that more is billed than can be."""
        self.parked = 0
        """In batches: not limited, only counted."""
        self._ceiling = ceiling
        self._limit = float(ceiling)
        self._refused = 0.0
        """Share of refusals, over about as many replies as there are slots."""
        self._resume = 0.0
        self._refusal: tuple[Provider, ProviderError, float] | None = None
        self._lost = 0
        """Answers that were lost since one came."""
        self._last = ""
        """What became of the last of them."""
        self._patience = LOST_IN_A_ROW
        self._probe_at = 0.0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    async def enter(self, ceiling: int) -> None:
        """Wait for a slot, at most *ceiling* of them taken, and until the provider lets us."""
        if ceiling > self._ceiling:
            self._limit += (ceiling - self._ceiling) if self._limit >= self._ceiling else 0
            self._ceiling = ceiling
        if self.under_way + 1 <= min(self._limit, ceiling):
            self.under_way += 1
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((turn, ceiling))
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():  # the slot was already ours
                    self.leave()
                raise
        try:
            # It may be put off again meanwhile.
            while (pause := self._resume - time.monotonic()) > 0:  # noqa: ASYNC110 - there is nothing to be told
                await asyncio.sleep(pause)
        except asyncio.CancelledError:
            self.leave()
            raise

    def leave(self) -> None:
        """Give the slot to who waits for it."""
        self.under_way -= 1
        for _ in range(len(self._waiting)):
            if self.under_way + 1 > self._limit:
                return
            turn, ceiling = self._waiting.popleft()
            if turn.done():
                continue
            if self.under_way < ceiling:
                self.under_way += 1
                turn.set_result(None)
            else:
                self._waiting.append((turn, ceiling))

    def see(self, provider: Provider, worst: Decimal) -> None:
        """See whether it makes sense to send a request that may cost *worst*.

        Raises:
            ProviderError: What its key or its balance was refused with a moment ago.
            OutOfOrder: The provider answers nobody, and it is not yet time to try again.
        """
        if self._refusal is not None:
            to, error, until = self._refusal
            if to is provider and time.monotonic() < until:
                raise copy.copy(error)
            self._refusal = None
        if not worst or self._lost < self._patience:
            return
        if (wait := self._probe_at - time.monotonic()) > 0:
            msg = (
                f"{self._last}. So it was with the last {self._lost} requests, each perhaps billed and so booked whole: to"
                f" spare the budget nothing more is sent for {math.ceil(wait)} s"
            )
            raise OutOfOrder(msg)
        self._probe_at = time.monotonic() + PROBE_S

    def failed(self, provider: Provider, error: BaseException) -> None:
        """A request to *provider* came to this *error*."""
        if isinstance(error, AuthenticationFailed | OutOfBalance):  # so it is for those who wait
            self._refusal = provider, error, time.monotonic() + REFUSED_S
        elif isinstance(error, AnswerLost):
            self._lost, self._last = self._lost + 1, str(error)
            self._probe_at = time.monotonic() + PROBE_S
        elif isinstance(error, ProviderUnavailable) and error.overloaded:
            self.refused(error.retry_after)

    def answered(self, pause_s: float) -> None:
        """An answer came; its rate headers ask to wait *pause_s*."""
        self._lost, self._patience = 0, LOST_IN_A_ROW + self._ceiling
        self._refused -= self._refused / max(self._limit, 1)
        self._limit = min(self._limit + GROWTH, self._ceiling)
        self._pause(pause_s)

    def refused(self, retry_after: float | None) -> None:
        """A request was refused because there are too many."""
        self._refused += (1 - self._refused) / max(self._limit, 1)
        # What is under way is what was too much, unless hardly anything is: then not everything is given up for it.
        self._limit = max(min(self._limit, self.under_way) - 1, self._limit * 7 / 8, 1)
        if self._refused >= PAUSING_SHARE:
            self._pause(retry_after or 0)

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._resume = max(self._resume, time.monotonic() + min(seconds, LONGEST_RETRY_AFTER_S))


_limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], Limiter]] = WeakKeyDictionary()
"""Of each event loop, by endpoint and model: two steps that ask the same model share one."""


def limiter(endpoint: str, model: str, ceiling: int) -> Limiter:
    """The limiter of *model* at *endpoint* for this event loop, with room for at least *ceiling* at a time."""
    of_loop = _limiters.setdefault(asyncio.get_running_loop(), {})
    found = of_loop.get((endpoint, model))
    if found is None:
        found = of_loop[endpoint, model] = Limiter(ceiling)
    return found


def in_flight(endpoint: str, model: str) -> int:
    """Requests to *model* at *endpoint* that are under way now, in whatever loop."""
    of_loops = [of_loop[endpoint, model] for of_loop in list(_limiters.values()) if (endpoint, model) in of_loop]
    return sum(limiter.under_way + limiter.parked for limiter in of_loops)
