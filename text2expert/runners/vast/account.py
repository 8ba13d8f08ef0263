"""A Vast.ai account, through Vast's own SDK: what we ask of it, and what its answers mean."""

import asyncio
import contextlib
import importlib.util
import logging
import os
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import tenacity

from text2expert._progress import say
from text2expert.errors import (
    AuthenticationFailed,
    InputError,
    MissingExtraError,
    OutOfBalance,
    ProviderError,
    RunnerError,
)
from text2expert.runners.local import printable

T = TypeVar("T")

HOME: Final = "https://console.vast.ai"

CONSOLE: Final = "https://cloud.vast.ai/instances/"
"""Where a person sees the machines of an account, and destroys them."""

BILLING: Final = "https://cloud.vast.ai/billing/"
"""Where a person adds credit to an account."""

LABEL: Final = "text2expert"
"""How the labels of machines begin that this package rents."""

_LISTED: Final = 25
"""Machines asked for at once when they are listed: as many as Vast's API gives a page."""

_QUIET: Final = 5.0
"""Seconds of asking in vain over which nothing is said."""

_PAGES: Final = 1000
"""Of a list, after which it is none."""


class Unclear(Exception):  # noqa: N818 - neither yes nor no
    """A call failed in a way that does not say whether it had an effect: no answer, or one that cannot be read."""


class TooOften(Unclear):
    """It was not done, because calls came too fast: it may be sent again."""


class Gone(Exception):  # noqa: N818
    """The offer or the machine does not exist (any more)."""


UNANSWERED: Final = (Unclear, RunnerError, ProviderError)
"""How a call fails that was not answered as it should be."""


class Account:
    """The account that a key leads to. Calls run in threads, because the SDK blocks.

    Args:
        api_key: None takes VAST_API_KEY, or the key that Vast's own command line has stored.
        url: None is the SDK's own, which VAST_URL may move.
        seconds: How often failed questions are asked again, in all; whatever creates something is never sent twice.

    Raises:
        MissingExtraError: vastai-sdk is not installed.
        InputError: A key of the environment would go to another host than Vast's.
        AuthenticationFailed: There is no key, or it cannot be one.
    """

    def __init__(self, api_key: str | None = None, url: str | None = None, *, seconds: float = 120.0) -> None:
        check_installed()
        self.url = (url or os.environ.get("VAST_URL") or HOME).rstrip("/")
        if api_key is None and urlsplit(self.url)[:2] != urlsplit(HOME)[:2]:
            raise InputError(
                f"{self.url} is not {HOME}, Vast.ai's own address, so no key of the environment goes there: give api_key=..."
            )
        from vastai import VastAI  # noqa: PLC0415 - it takes seconds to import

        logging.getLogger("vastai").setLevel(logging.ERROR)
        try:
            # One try: the SDK would send a lost "create" again, and rent twice.
            self._sdk = VastAI(api_key=api_key, server_url=self.url, retry=1, quiet=True)
        except RuntimeError as error:
            raise AuthenticationFailed(
                "there is no key for Vast.ai: set VAST_API_KEY (its page: cloud.vast.ai, Account; the rights to read the "
                "user, and to read and write instances, are enough)"
            ) from error
        self._sdk.client.api_key = _key(self._sdk.client.api_key)
        self._seconds = seconds

    async def credit(self) -> Decimal | None:
        """US dollars that are left in the account, infinite where a card is charged when they run out; None: it does not say.

        Raises:
            AuthenticationFailed: The key is not accepted, or may not read the account.
            RunnerError: Any other refusal.
            Unclear: No answer.
        """
        try:
            shown = await self._ask(self._sdk.show_user)
        except Gone as error:
            raise Unclear(f"the account is not shown: {error}") from error
        if not isinstance(shown, dict):
            raise Unclear(f"the account is shown as {type(shown).__name__}")
        if shown.get("has_billing") and dollars(shown.get("autobill_threshold")):
            return Decimal("Infinity")
        for name in ("credit", "balance"):
            if (left := dollars(shown.get(name), least=-(10**9), below=10**9)) is not None:
                return left
        return None

    async def offers(self, query: Mapping[str, Any], *, disk_gb: float, limit: int) -> list[dict[str, Any]]:
        """Machines that may be rented now, cheapest first."""
        found = await self._ask(
            lambda: self._sdk.search_offers(query=dict(query), order="dph_total", storage=disk_gb, limit=limit)
        )
        return [each for each in _list(found) if isinstance(each, dict)]

    async def create(self, offer: int, *, label: str, image: str, disk_gb: float, onstart: str) -> int:
        """Rent: the machine's id. Sent once, but where it was refused because calls came too fast.

        Raises:
            Gone: Somebody else was quicker, or this was the second copy of a call that did rent: look for *label*.
            Unclear: Perhaps it was rented, perhaps not: look for *label*.
            OutOfBalance: The account has no credit.
            AuthenticationFailed: The key may not rent.
            RunnerError: Any other refusal.
        """
        answer = await self._ask(
            lambda: self._sdk.create_instance(
                offer, image=image, disk=disk_gb, label=label, onstart_cmd=onstart, ssh=True, direct=True,
                cancel_unavail=True,
            ),
            TooOften,
        )  # fmt: skip
        id_ = answer.get("new_contract") if isinstance(answer, dict) else None
        if type(id_) is not int:
            # Not the whole answer: it may have the machine's own key.
            words = {k: answer[k] for k in ("error", "msg") if k in answer} if isinstance(answer, dict) else {}
            raise Unclear(f"the answer to renting names no machine: {words!r:.200}")
        return id_

    async def attach(self, id_: int, public_key: str) -> None:
        """Let *public_key* into a machine."""
        await self._ask(lambda: self._sdk.attach_ssh(id_, public_key))

    async def show(self, id_: int) -> dict[str, Any] | None:
        """A machine as it stands; None: it is gone."""
        try:
            shown = await self._ask(lambda: self._row(id_))
        except Gone:
            return None
        if shown is not None and not isinstance(shown, dict):
            raise Unclear(f"machine {id_} is shown as {shown!r:.100}")
        return shown

    def _row(self, id_: int) -> Any:
        try:
            return self._sdk.show_instance(id_)
        except TypeError:  # the SDK reckons with when a machine began, which may be null while it is set up
            response = self._sdk.client.get(f"/instances/{id_}/", query_args={"owner": "me"})
            response.raise_for_status()
            return response.json()["instances"]

    async def rename(self, id_: int, label: str) -> None:
        """Give a machine another label."""
        await self._ask(lambda: self._sdk.label_instance(id_, label))

    async def listed(self) -> list[dict[str, Any]]:
        """All machines of the account that this package rented, whoever's run they belong to."""
        machines: list[dict[str, Any]] = []
        token = None
        for _ in range(_PAGES):
            asked: dict[str, Any] = {"select_filters": {}, "limit": _LISTED, "order_by": [{"col": "id", "dir": "asc"}]}
            if token:
                asked["after_token"] = token
            try:
                answer = await self._ask(lambda asked=asked: self._sdk.show_instances_v1(asked))  # type: ignore[misc]
            except Gone as error:  # a list may be empty, and is never gone
                raise Unclear(f"the list of machines cannot be had: {error}") from error
            page = _list(answer.get("instances") if isinstance(answer, dict) else answer)
            machines += [
                each
                for each in page
                if isinstance(each, dict)
                and type(each.get("id")) is int
                and str(each.get("label") or "").startswith(f"{LABEL}/")
            ]
            token = answer.get("next_token") if isinstance(answer, dict) else None
            if not token:
                return machines
        raise Unclear("the list of machines does not end")

    async def destroy(self, id_: int) -> None:
        """Give a machine back; one that is gone already is fine."""
        try:
            await self._ask(lambda: self._sdk.destroy_instance(id_))
        except Gone:
            return

    async def _ask(self, call: Callable[[], T], again: type[Unclear] = Unclear) -> T:
        """*call*, repeated after failures of the kind *again*, until it is answered or patience ends."""
        told = False

        def tell(state: tenacity.RetryCallState) -> None:
            nonlocal told
            if not told and (state.seconds_since_start or 0) > _QUIET:
                told = True
                error = state.outcome.exception() if state.outcome else None
                say(f"Vast.ai does not answer as it should, asking again for up to {self._seconds:.0f} s: {error}")

        retrying = tenacity.AsyncRetrying(
            before_sleep=tell,
            retry=tenacity.retry_if_exception_type(again),
            stop=tenacity.stop_after_delay(self._seconds),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                return await self._once(call)
        raise AssertionError("unreachable")

    async def _once(self, call: Callable[[], T]) -> T:
        """*call*, with its failures told apart."""
        import requests  # noqa: PLC0415 - of the SDK

        try:
            return await asyncio.to_thread(call)
        except requests.HTTPError as error:
            raise _meaning(error) from error
        except requests.ConnectionError as error:
            raise Unclear(f"{self.url} cannot be reached ({_reason(error)})") from error
        except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            # The SDK trips over answers that it did not expect.
            raise Unclear(f"{type(error).__name__}: {printable(str(error))[:200]}") from error


def dollars(value: object, *, least: int = 0, below: int = 10_000) -> Decimal | None:
    """*value* as an amount; None where it is none, or not in these limits."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ArithmeticError):
            amount = Decimal(str(value))
            if amount.is_finite() and least <= amount < below:
                return amount
    return None


def _reason(error: BaseException) -> str:
    """What kept a connection from being made, in the system's own words: the last of what led to it."""
    deepest: BaseException | None = error
    words = type(error).__name__
    while deepest is not None:
        if isinstance(deepest, OSError) and deepest.strerror:
            words = printable(deepest.strerror)
        deepest = deepest.__cause__ or deepest.__context__
    return words


def _key(given: Any) -> str:
    """A key as it is sent: what files and shells add to its ends is no part of it."""
    key = str(given or "").strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise AuthenticationFailed(
            "the key for Vast.ai is empty, or has characters that no key has (a line break or a space inside): set "
            "VAST_API_KEY anew"
        )
    return key


def _meaning(error: Any) -> Exception:
    response = error.response
    status = 0 if response is None else response.status_code
    words = "" if response is None else printable(response.text[:300])
    if status in {404, 410}:
        return Gone(words)
    if status in {401, 403}:
        return AuthenticationFailed(f"Vast.ai does not accept the key, or not for this ({status}): {words}")
    if status == 429:
        return TooOften(f"HTTP 429: {words}")
    if status == 402 or (400 <= status < 500 and re.search(r"credit|balance", words, re.IGNORECASE)):
        return OutOfBalance(f"the account at Vast.ai has no credit left ({status}): {words}; add some and run again")
    if 400 <= status < 500:
        return RunnerError(f"Vast.ai refuses ({status}): {words}")
    return Unclear(f"HTTP {status}: {words}")


def _list(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise Unclear(f"a list was expected, and {value!r:.100} came")
    return value


def check_installed() -> None:
    """Look for the SDK, without importing it.

    Raises:
        MissingExtraError: It is not there.
    """
    if importlib.util.find_spec("vastai") is None:
        raise MissingExtraError('renting needs vastai-sdk: pip install "text2expert[vast]"')
