"""The Message Batches API: create, show, list, results. It knows nothing of holds, budgets and who waits for what.

Looking at a batch changes nothing and costs nothing, so whatever passes is waited out here: a network that is away for
hours, a provider that is busy.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from text2expert import _progress
from text2expert.errors import AnswerLost, ProviderError, ProviderUnavailable, Text2ExpertError
from text2expert.exchange import Completion
from text2expert.providers import http
from text2expert.providers.anthropic import STATUS, Anthropic, read_message, refusal, server_time

KEPT_S: Final = 29 * 86_400.0
"""How long results are kept."""
_PAGE: Final = 100
"""Batches that are listed at a time."""
_FIRST_WAIT_S: Final = 2.0


class RemoteBatches:
    """The batches of one account.

    Args:
        provider: Whose endpoint and key are used.
        poll_s: Between two looks, when the first few minutes are over.
        going_on: Called while something is waited out; an exception that it raises ends the wait.
    """

    def __init__(self, provider: Anthropic, poll_s: float, going_on: Callable[[], object]) -> None:
        self.url = f"{provider.endpoint}/v1/messages/batches"
        self._provider, self._poll_s, self._going_on = provider, poll_s, going_on

    async def create(self, entries: Sequence[Mapping[str, Any]]) -> str:
        """Send *entries* as one batch, and return what the provider calls it.

        Raises:
            AnswerLost: It may have been made.
            ProviderUnavailable: It was not, and may be later.
            ProviderError: It was not, and will not be.
        """
        reply = await http.post(self.url, {"requests": entries}, self._provider.headers)
        if reply.status == 200:
            try:
                return str(json.loads(reply.text)["id"])
            except (ValueError, KeyError, TypeError) as error:
                raise AnswerLost(f"the reply is no batch: it begins {reply.text[:200]!r}") from error
        refused = refusal(reply.status, reply.text, reply.headers)
        # With these, something may have become of it all the same.
        raise AnswerLost(str(refused)) if reply.status in {408, 500, 502, 504} else refused

    async def show(self, url: str, *, sent_at: float) -> dict[str, Any]:
        """What the provider says about the batch at *url*, which was sent at *sent_at* (seconds since 1970).

        Raises:
            AnswerLost: It is not kept any more.
            ProviderError: The provider refuses to show it.
        """
        shown, _ = await self._look(url, sent_at)
        if shown.get("archived_at"):
            raise _not_kept(url)
        return shown

    async def listed(self, since: float) -> AsyncIterator[dict[str, Any]]:
        """Batches at the provider, newest first, that were made after *since* by this machine's clock."""
        after = ""
        while True:
            page, headers = await self._look(f"{self.url}?limit={_PAGE}{after}")
            ahead = server_time(headers).timestamp() - time.time()
            for shown in page["data"]:
                # A minute for what the network and the rounding of headers take.
                if datetime.fromisoformat(shown["created_at"]).timestamp() < since + ahead - 60:
                    return
                yield shown
            if not page["has_more"]:
                return
            after = f"&after_id={page['last_id']}"

    async def results(self, url: str) -> AsyncGenerator[dict[str, Any], None]:
        """Lines with ``custom_id`` and ``result``, in any order; from the beginning again where they are cut off.

        Raises:
            AnswerLost: They are not kept any more.
            ProviderError: The provider refuses to show them.
        """
        waits = self.waits()
        while True:
            try:
                # Not the address that the batch itself gives: the key goes to no other host.
                following = http.lines(f"{url}/results", self._provider.headers)
                assert isinstance(following, AsyncGenerator)
                async with contextlib.aclosing(following) as lines:
                    async for line in lines:
                        if isinstance(line, str):
                            yield json.loads(line)
                        elif line.status == 404:
                            raise _not_kept(url)
                        elif line.status != 200:
                            raise refusal(line.status, line.text, line.headers)
            except (ProviderUnavailable, ValueError) as error:
                await self._wait_out(url, error, next(waits))
            else:
                return

    async def first_key(self, url: str) -> str:
        """The ``custom_id`` of one of the requests in a batch that has ended; "" where it has none."""
        async with contextlib.aclosing(self.results(url)) as results:
            async for line in results:
                return str(line["custom_id"])
        return ""

    def waits(self) -> Iterator[float]:
        """Seconds between two looks, growing."""
        wait = min(_FIRST_WAIT_S, self._poll_s)
        while True:
            yield wait
            wait = min(wait * 1.5, self._poll_s)

    async def _look(self, url: str, sent_at: float | None = None) -> tuple[dict[str, Any], Mapping[str, str]]:
        waits = self.waits()
        while True:
            try:
                reply = await http.get(url, self._provider.headers)
                if reply.status == 200:
                    return json.loads(reply.text), reply.headers
                if reply.status == 404 and sent_at is not None:
                    raise _missing(url, sent_at)
                raise refusal(reply.status, reply.text, reply.headers)
            except (ProviderUnavailable, ValueError) as error:
                await self._wait_out(url, error, next(waits))

    async def _wait_out(self, url: str, error: Exception, wait: float) -> None:
        self._going_on()
        if wait >= self._poll_s:
            _progress.say(f"batch {name_of(url)} cannot be looked at ({error}); it goes on, and so does the looking")
        await asyncio.sleep(getattr(error, "retry_after", None) or wait)


def name_of(url: str) -> str:
    """What the provider calls the batch at *url*."""
    return url.rpartition("/")[2] or "(not named yet)"


def outcome_of(result: Mapping[str, Any]) -> Completion | Text2ExpertError:
    """What became of one request in a batch."""
    match result["type"]:
        case "succeeded":
            try:
                completion = read_message(json.dumps(result["message"], ensure_ascii=False))
            except Text2ExpertError as error:
                return error
            usage = completion.usage
            return attrs.evolve(completion, usage=usage and attrs.evolve(usage, batch=True))
        case "errored":
            body = result["error"]
            return refusal(STATUS.get(body.get("error", {}).get("type", ""), 500), json.dumps(body), {})
        case "expired":
            return ProviderUnavailable("the batch expired before the request's turn came; nothing was billed")
        case "canceled":
            return ProviderError(
                "the batch was canceled at the provider; nothing was billed: run again to send it again"
            )
        case other:
            return AnswerLost(f"the result of a request in a batch is {other!r}, which is not known")


def _not_kept(url: str) -> AnswerLost:
    return AnswerLost(f"the results of batch {name_of(url)} are no longer kept")


def _missing(url: str, sent_at: float) -> Text2ExpertError:
    """Not found: too old, deleted, or of a workspace that the key is not of, which is no reason to pay again."""
    if time.time() - sent_at > KEPT_S:
        return _not_kept(url)
    return ProviderError(
        "it is not found with this key. If it was deleted, run with batch=False to pay for its requests again"
    )
