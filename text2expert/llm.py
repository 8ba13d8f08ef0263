"""LLM: one question to a model, answered once and paid for once. Here is all there is of money, retry and concurrency.

    replay from the ledger, or a slot, a hold of the worst case, the call, the real cost and the reply in one transaction

Teacher and Verifier know none of this, and neither do providers.
"""

import asyncio
import functools
import json
import logging
import math
import random
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, get_args
from urllib.parse import urlsplit

import attrs
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, stop_any

from text2expert import _arguments, _progress, prices, providers
from text2expert import ledger as _ledger
from text2expert.errors import (
    AnswerLost,
    BudgetExhausted,
    InputError,
    ProviderError,
    ProviderUnavailable,
)
from text2expert.exchange import Completion, Effort, Request, is_here
from text2expert.ledger import Ledger
from text2expert.limiter import LONGEST_RETRY_AFTER_S, Limiter, OutOfOrder, in_flight
from text2expert.limiter import limiter as limiter_of
from text2expert.prices import Price, Tariff
from text2expert.providers import Provider

FIRST_WAIT_S = 0.5
"""Before a request is sent again, where its provider does not say; doubled with each further attempt."""
LONGEST_WAIT_S = 60.0
"""Of our own waits. A provider that asks for more is obeyed up to `LONGEST_RETRY_AFTER_S`."""
UNREACHED_ATTEMPTS = 4
"""At most, where every connection is refused and nothing has answered in this process: a server that was never started,
mostly. They take four seconds."""
_log = logging.getLogger(__name__)

REPLY_TOKENS_PER_S = 50.0
"""What hosted models write, about; plans only."""
CALL_S = 1.5
"""Until a reply begins, about; plans only."""
BATCH_S = 3600.0
"""Most batches end within an hour (Anthropic's documentation); plans only."""


@attrs.frozen(kw_only=True)
class Estimate:
    """What a number of calls to a model takes."""

    calls: int
    input_tokens: int
    """Of all calls."""
    output_tokens: tuple[int, int]
    """Of all calls, at least and at most."""
    usd_low: Decimal
    """Cheapest hours, shortest replies."""
    usd_high: Decimal
    """Dearest hours, longest replies."""
    seconds: float
    host: str | None
    """Who will see the text; None: it stays on this machine."""


@attrs.frozen(kw_only=True)
class _Wire:
    """Where requests go and what they cost: what a name stands for, but for the key."""

    model: str
    endpoint: str
    dialect: str
    overhead_tokens: int
    tariff: Tariff


def _json(_: object, attribute: "attrs.Attribute[Any]", value: Mapping[str, Any]) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        msg = f"{attribute.name}={value!r}: give what JSON can hold, since it is sent to the provider: {error}"
        raise InputError(msg) from error


@attrs.frozen
class LLM:
    """A model at a provider, asked with everything that `complete` promises.

    Args:
        name: ``provider/model`` ("deepseek/deepseek-flash", "anthropic/claude-sonnet-5-5"), a server and its model
            ("http://localhost:8000/v1#my-model"), or, with *provider*, the model's name alone.
        base_url: Another address of the same API. No key from the environment goes there.
        api_key: For *base_url*, or instead of the environment's.
        price: Dollars per million tokens, where the price table does not know the model or you pay something else.
        concurrency: Requests under way at a time, at most; fewer while the provider refuses.
        thinking: True: think; False: as little as the model allows; None: as the provider has it.
        effort: How much it may think.
        max_tokens: Of a reply, reasoning included.
        extras: More fields of the request's body, as the provider documents them.
        attempts: How often one request is sent at most, the first time included.
        batch: Send requests in batches, at half the price and within a day, where the provider offers it.
        provider: Who answers instead of a built-in provider.

    Raises:
        InputError: An argument cannot be used, the model was retired, or its price is not known.
    """

    name: str
    base_url: str | None = attrs.field(default=None, kw_only=True)
    _api_key: str | None = attrs.field(default=None, kw_only=True, repr=False)
    price: Price | None = attrs.field(default=None, kw_only=True)
    concurrency: int = attrs.field(default=64, kw_only=True, validator=_arguments.whole(1))
    thinking: bool | None = attrs.field(default=None, kw_only=True)
    effort: Effort | None = attrs.field(default=None, kw_only=True)
    max_tokens: int = attrs.field(default=8192, kw_only=True, validator=_arguments.whole(1))
    extras: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, validator=_json, hash=False)
    attempts: int = attrs.field(default=8, kw_only=True, validator=_arguments.whole(1))
    batch: bool = attrs.field(default=False, kw_only=True)
    provider: Provider | None = attrs.field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            msg = f"name={self.name!r}: name a model, such as 'deepseek/deepseek-flash'"
            raise InputError(msg)
        if self.provider is not None and (self.base_url is not None or self._api_key is not None):
            msg = "provider= is given, so base_url= and api_key= are its own business: give them to it"
            raise InputError(msg)
        if self.effort is not None and self.effort not in get_args(Effort):
            msg = f"effort={self.effort!r}: give one of {', '.join(get_args(Effort))}"
            raise InputError(msg)

        # What is wrong with the name or the price is said now; a key is looked for when it is needed.
        self._wire  # noqa: B018

    @cached_property
    def _wire(self) -> _Wire:
        provider, model = self._resolved()
        endpoint = getattr(provider, "endpoint", type(provider).__name__)
        return _Wire(
            model=model,
            endpoint=endpoint,
            dialect=getattr(provider, "dialect", ""),
            overhead_tokens=getattr(provider, "overhead_tokens", 0),
            tariff=prices.tariff(model, endpoint=endpoint, price=self.price),
        )

    @cached_property
    def _provider(self) -> Provider:
        # Resolved anew, since a key may have been set meanwhile; kept only where the check is passed.
        provider, _ = self._resolved()
        if (check := getattr(provider, "check", None)) is not None:
            check()
        if self.batch:
            from text2expert.providers.batches import Batched  # noqa: PLC0415 - only who batches needs it

            return Batched(provider, price=self.price)
        return provider

    def _resolved(self) -> tuple[Provider, str]:
        if self.provider is not None:
            return self.provider, self.name
        return providers.resolve(self.name, base_url=self.base_url, api_key=self._api_key)

    def check(self) -> None:
        """See, before any work, whether requests can be sent: whether there is a key where one is needed.

        Raises:
            AuthenticationFailed: There is none; the message names the variable.
        """
        self._provider  # noqa: B018

    @property
    def tariff(self) -> Tariff:
        """What its tokens cost."""
        return self._wire.tariff

    @property
    def in_flight(self) -> int:
        """Requests to this endpoint and model that are under way now."""
        return in_flight(self._wire.endpoint, self._wire.model)

    async def complete(
        self,
        prompt: str,
        *,
        system: str = "",
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        sample: int = 0,
    ) -> Completion:
        """The model's answer, paid for once: what was answered before comes from the ledger.

        The same question asked twice at a time is sent once. Every request holds its worst case within the budgets
        around it before it is sent, and is booked at its real cost when its answer is there.

        Args:
            prompt: The question.
            system: Instructions that come before it.
            schema: JSON Schema that the reply must follow, as far as the provider can hold the model to it.
            max_tokens: Of the reply, reasoning included; None: the model's own.
            sample: 0, 1, ...: another answer to the same question.

        Raises:
            BudgetExhausted: The worst case does not fit the budgets any more.
            AuthenticationFailed: The key is missing or was not accepted.
            OutOfBalance: The account is empty or at its own spending limit.
            ProviderError: The provider refused the request for good.
            ProviderUnavailable: It could not answer at any of the attempts.
            AnswerLost: The same, and the last of them was perhaps billed.
            LedgerError: The ledger cannot be used.
        """
        wire, ledger = self._wire, _ledger.current()
        request = self._request(prompt, system, schema, max_tokens, sample)
        key = request.key
        flight: Future[None] = Future()
        flight.set_running_or_notify_cancel()  # so that a follower that is cancelled does not cancel it
        # Whoever leads looks the reply up, so that nothing can be stored between the look and the lead.
        while (leader := ledger.flights.setdefault(key, flight)) is not flight:
            await asyncio.wrap_future(leader)
        try:
            completion = ledger.reply(key)
            return completion if completion is not None else await self._ask(wire, request, ledger)
        except (ProviderError, ProviderUnavailable, AnswerLost) as error:
            # It would fail for the followers too. Of a cancelled leader, or one whose own budget ended, they learn
            # nothing: the next of them leads.
            flight.set_exception(error)
            raise
        finally:
            del ledger.flights[key]
            if not flight.done():
                flight.set_result(None)

    def answered(
        self,
        prompt: str,
        *,
        system: str = "",
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        sample: int = 0,
    ) -> bool:
        """Whether `complete` would give a stored answer to this question, so that asking it costs nothing."""
        return _ledger.current().reply(self._request(prompt, system, schema, max_tokens, sample).key) is not None

    def _request(
        self, prompt: str, system: str, schema: Mapping[str, Any] | None, max_tokens: int | None, sample: int
    ) -> Request:
        wire = self._wire
        return Request(
            endpoint=wire.endpoint,
            dialect=wire.dialect,
            model=wire.model,
            system=system,
            prompt=prompt,
            schema=schema,
            max_tokens=self.max_tokens if max_tokens is None else max_tokens,
            thinking=self.thinking,
            effort=self.effort,
            extras=self.extras,
            sample=sample,
        )

    async def _ask(self, wire: _Wire, request: Request, ledger: Ledger) -> Completion:
        """Send *request*, and again where that may help, within `attempts`."""
        worst = wire.tariff.ceiling(
            len(request.canonical.encode("utf-8", "surrogatepass")) + wire.overhead_tokens,
            request.max_tokens,
            batch=self.batch,
        )
        try:
            return await self._send(wire, request, ledger, worst)
        except (ProviderUnavailable, AnswerLost) as error:
            failure: Exception | None = error
            if _is_unreached(error):
                _tell_unreached(wire.endpoint)

        async def attempt() -> Completion:
            # tenacity takes 100 us, which a request that is answered at once need not pay: it begins with the failure.
            nonlocal failure
            if failure is not None:
                first, failure = failure, None
                raise first
            return await self._send(wire, request, ledger, worst)

        retrying = AsyncRetrying(
            stop=stop_any(stop_after_attempt(self.attempts), _stop_unreached), wait=_wait, retry=retry_if_exception(_may_pass), reraise=True
        )
        try:
            return await retrying(attempt)
        except (ProviderUnavailable, AnswerLost) as error:
            raise _given_up(error, retrying.statistics["attempt_number"], wire.endpoint) from error

    async def _send(self, wire: _Wire, request: Request, ledger: Ledger, worst: Decimal) -> Completion:
        """Send *request* once: a slot, a hold, the call, and what it cost."""
        limiter = limiter_of(wire.endpoint, wire.model, self.concurrency)
        if self.batch:
            limiter.parked += 1
        else:
            await limiter.enter(self.concurrency)
        try:
            if not self.batch:
                limiter.see(self._provider, worst)
            hold = await ledger.hold(request.key, worst, batch=self.batch)
            sent = datetime.now(UTC)
            try:
                completion = await self._provider.complete(request)
            except BaseException as error:
                # An interrupt while it was out, a timeout, an error in somebody's provider: perhaps it was billed.
                unbilled = isinstance(error, ProviderUnavailable | ProviderError | InputError)
                (ledger.release if unbilled else ledger.lose)(hold)
                if not self.batch:
                    limiter.failed(self._provider, error)
                raise
            cost = worst if completion.usage is None else wire.tariff.cost(completion.usage, sent)
            ledger.settle(hold, completion, cost)
            if cost > worst:
                self._warn(limiter, completion, cost, worst)
            if not self.batch:
                limiter.answered(completion.pause_s)
            return completion
        finally:
            if self.batch:
                limiter.parked -= 1
            else:
                limiter.leave()

    def _warn(self, limiter: Limiter, completion: Completion, cost: Decimal, worst: Decimal) -> None:
        if not limiter.warned:
            limiter.warned = True
            _log.warning(
                "%s counted %s for a request that can cost $%s at most: it is booked at $%s, and no budget can hold what a"
                " provider bills beyond the limits that it was given. Compare its bill with its price, and give price=",
                *(self.name, completion.usage, worst, cost),
            )

    def estimate(
        self, calls: int, input_tokens: int, output_tokens: tuple[int, int], *, cached_tokens: int = 0
    ) -> Estimate:
        """What *calls* cost and take, from the cheapest hours and shortest replies to the dearest and longest.

        Args:
            calls: How many requests.
            input_tokens: Of the prompts of all calls, cached ones included.
            output_tokens: Of the replies to all calls, reasoning included, at least and at most.
            cached_tokens: Of ``input_tokens``: will be read from the provider's cache.
        """
        wire, (low, high), each = self._wire, output_tokens, max(calls, 1)
        # Priced call by call: some models cost more above a length.
        sent, cached = math.ceil(input_tokens / each), cached_tokens // each
        usd_low, _ = wire.tariff.span(sent, cached, low // each, batch=self.batch)
        _, usd_high = wire.tariff.span(sent, cached, math.ceil(high / each), batch=self.batch)
        rounds = math.ceil(calls / self.concurrency)
        seconds = rounds * (CALL_S + (low + high) / 2 / each / REPLY_TOKENS_PER_S)
        return Estimate(
            calls=calls,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            usd_low=usd_low * calls,
            usd_high=usd_high * calls,
            seconds=BATCH_S * min(calls, 1) if self.batch else seconds,
            host=_host(wire.endpoint),
        )


def as_llm(value: LLM | str) -> LLM:
    """*value* itself, or the model of that name.

    Raises:
        InputError: It is neither.
    """
    if isinstance(value, LLM):
        return value
    if isinstance(value, str):
        return LLM(value)
    msg = f"llm={value!r}: give a name such as 'deepseek/deepseek-flash', or an LLM(...)"
    raise InputError(msg)


async def samples(
    llm: LLM,
    prompt: str,
    *,
    system: str = "",
    schema: Mapping[str, Any] | None = None,
    max_tokens: int | None = None,
    usable: Callable[[Completion], bool],
    tries: int = 3,
) -> list[Completion]:
    """Answers to one question until one is *usable*, at most *tries*; all of them, the last being the usable one if any.

    Where a later sample cannot be had, by the budget or the provider, what is there is returned: it was paid for, and
    something may be salvaged from it.

    Raises:
        Text2ExpertError: As `LLM.complete` does, where the first sample fails, or the key or the balance.
    """
    answers: list[Completion] = []
    for sample in range(tries):
        try:
            answer = await llm.complete(prompt, system=system, schema=schema, max_tokens=max_tokens, sample=sample)
        except (BudgetExhausted, ProviderUnavailable, AnswerLost):
            if not answers:
                raise
            break
        answers.append(answer)
        if usable(answer):
            break
    return answers


def _may_pass(error: BaseException) -> bool:
    """Whether sending the request again may help, within a time that somebody would wait for."""
    if isinstance(error, OutOfOrder):
        return False
    if isinstance(error, ProviderUnavailable):
        return (error.retry_after or 0) <= LONGEST_RETRY_AFTER_S
    return isinstance(error, AnswerLost)


def _is_unreached(error: BaseException | None) -> bool:
    return isinstance(error, ProviderUnavailable) and error.unreached


@functools.cache
def _tell_unreached(endpoint: str) -> None:
    """Say once, at the first request, what would else be silence until the last attempt."""
    _progress.say(f"nothing answers at {endpoint}: is the server running? It is tried again for some seconds")


def _stop_unreached(state: RetryCallState) -> bool:
    """Whether to give up on a server that was never there."""
    error = state.outcome.exception() if state.outcome else None
    return _is_unreached(error) and state.attempt_number >= UNREACHED_ATTEMPTS


def _wait(state: RetryCallState) -> float:
    """Seconds until the next attempt: what the provider asks for, else doubling."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, ProviderUnavailable) else None
    wait = min(FIRST_WAIT_S * 2 ** (state.attempt_number - 1), LONGEST_WAIT_S) if asked is None else asked
    # Up to a quarter more, so that what was refused together does not come back together.
    return wait * (1 + random.random() / 4)


def _given_up(
    error: ProviderUnavailable | AnswerLost, attempts: int, endpoint: str
) -> ProviderUnavailable | AnswerLost:
    if isinstance(error, OutOfOrder):
        return ProviderUnavailable(f"{error}. See whether the server is well, and run again: what was answered is kept")
    msg = f"{error} (sent {attempts} time{'s' if attempts > 1 else ''}; run again later: what was answered is kept)"
    if isinstance(error, AnswerLost):
        return AnswerLost(msg)
    if error.unreached:
        msg = f"nothing answers at {endpoint}: is the server running? {msg[0].upper()}{msg[1:]}"
    return ProviderUnavailable(msg, retry_after=error.retry_after, overloaded=error.overloaded, unreached=error.unreached)


def _host(endpoint: str) -> str | None:
    """Who gets what is sent to *endpoint*; None: this machine."""
    return None if is_here(endpoint) else urlsplit(endpoint).hostname or endpoint
