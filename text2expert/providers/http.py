"""Requests over HTTP for the built-in providers: one session per event loop, no redirects, two time limits, no key in sight.

What goes wrong is told apart by one question, whether the request can have reached the provider: if not, nothing was
billed (`ProviderUnavailable`); if so, it may have been served, and billed (`AnswerLost`).
"""

import asyncio
import atexit
import contextlib
import errno
import functools
import json
import math
import os
import re
import socket
from collections.abc import AsyncGenerator, Awaitable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import aiohttp
import attrs

from text2expert import _progress
from text2expert.errors import AnswerLost, InputError, ProviderError, ProviderUnavailable, Text2ExpertError
from text2expert.exchange import is_here

DEADLINE_S = 900.0
"""For a whole request. DeepSeek holds one for up to 600 s before it begins to answer."""

IDLE_S = 300.0
"""Without a byte. Most providers send none until the answer is whole, and a long one takes minutes."""

CONNECT_S = 30.0

# Shorter than any known server's own (uvicorn: 5 s), so that none closes a connection that we are about to use: a
# request that dies this way counts as perhaps served.
_KEEP_CONNECTION_S = 4.0

_answered: set[str] = set()
"""Hosts and ports that have answered in this process, whatever they said."""

T = TypeVar("T")


class Secret:
    """A key, as the value of a header. It shows itself to nobody; ``reveal()`` is called where it goes onto the wire.

    Args:
        value: The key; white space around it is dropped.
        prefix: Goes before it in the header, ``"Bearer "``.

    Raises:
        InputError: It has characters that no key has.
    """

    __slots__ = ("_prefix", "_value")

    def __init__(self, value: str, *, prefix: str = "") -> None:
        value = value.strip()
        if not value or not value.isascii() or not value.isprintable() or " " in value:
            raise InputError(
                "the key is empty or has blanks, line ends or non-ASCII characters in it: was it copied whole?"
            )
        self._value, self._prefix = value, prefix

    def reveal(self) -> str:
        """The header's value."""
        return self._prefix + self._value

    def hide(self, text: str) -> str:
        """*text* without the key."""
        return text.replace(self._value, "[key]") if self._value in text else text

    def __repr__(self) -> str:
        return "Secret(...)"

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a key is not pickled: it would be written, or sent to another machine")


Headers = Mapping[str, str | Secret]


@attrs.frozen(kw_only=True)
class Reply:
    """What a server answered, whatever its status."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Names in any case."""
    text: str = attrs.field(repr=False)


def endpoint(url: str) -> str:
    """*url* as a base URL: without blanks around it and slashes at its end.

    Raises:
        InputError: It is not the http(s) address of a server, or has a user, password, query or fragment in it.
    """
    url = url.strip().rstrip("/")
    # Such parts are where keys are put, so they are not shown.
    shown = repr(url) if not re.search(r"[@?#]", url) else "its value is not shown, as it may hold a key"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and not re.search(r"\s", url)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"base_url is not the address of a server ({shown}): write it as https://host/v1")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InputError(
            f"base_url has more than an address in it ({shown}): write https://host/v1, and the key as api_key="
        )
    return url


def is_loopback(url: str) -> bool:
    """Whether *url* leads to this machine; 0.0.0.0 does too, as servers print it."""
    return is_here(url) or urlsplit(url).hostname in {"0.0.0.0", "::"}  # noqa: S104 - nothing is bound to it


@functools.cache
def warn_if_open(url: str) -> None:
    """Say once where a key and a text go over a network in the clear; on one's own that may be as it should."""
    if urlsplit(url).scheme == "http" and not is_loopback(url):
        _progress.say(
            f"{host(url)}: the key and the text go there unencrypted; use https:// unless the network is yours"
        )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: ``retry-after-ms``, or ``Retry-After`` as seconds or as a date; None: it does not."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with contextlib.suppress(ValueError):
            seconds = float(headers.get(name, "nan")) * unit
            if 0 <= seconds < math.inf:
                return seconds
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max((date - datetime.now(UTC)).total_seconds(), 0.0)


def host(url: str) -> str:
    """The host and port of *url*: as much of it as messages show."""
    return urlsplit(url).netloc.rpartition("@")[2]


async def post(
    url: str,
    body: Mapping[str, Any],
    headers: Headers,
    *,
    deadline_s: float = DEADLINE_S,
    idle_s: float = IDLE_S,
) -> Reply:
    """Send *body* as JSON and return the answer, whatever its status. Redirects are not followed.

    Args:
        url: Where to.
        body: JSON.
        headers: Keys as `Secret`. A key that the server repeats is blotted out of the answer.
        deadline_s: Seconds for the whole request; keep-alive lines do not extend it.
        idle_s: Seconds without a byte from the server.

    Raises:
        ProviderUnavailable: No connection; the request did not leave.
        ProviderError: The server's certificate is not valid.
        AnswerLost: No whole answer came back within the time limits.
    """
    # A lone surrogate is no text to any server.
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return await _told(url, _send("POST", url, data, headers, _limits(deadline_s, idle_s)), AnswerLost)


async def get(
    url: str,
    headers: Headers,
    *,
    deadline_s: float = 60.0,
    idle_s: float = 60.0,
) -> Reply:
    """Fetch *url*. As `post`, but a lost answer is `ProviderUnavailable`: looking costs nothing."""
    return await _told(url, _send("GET", url, None, headers, _limits(deadline_s, idle_s)), ProviderUnavailable)


async def lines(
    url: str,
    headers: Headers,
    *,
    deadline_s: float = 3600.0,
    idle_s: float = 60.0,
) -> AsyncGenerator[Reply | str, None]:
    """Fetch *url* line by line, for answers too large for memory: first a `Reply`, then each line that is not blank.

    The Reply has the status and headers; it has a text only where the status is not 200, and then nothing follows.
    Errors are those of `get`.
    """
    following = _lines(url, headers, _limits(deadline_s, idle_s))
    async with contextlib.aclosing(following):
        while (line := await _told(url, anext(following, None), ProviderUnavailable)) is not None:
            yield line


async def _send(method: str, url: str, data: bytes | None, headers: Headers, limits: aiohttp.ClientTimeout) -> Reply:
    session = await _session()
    async with session.request(
        method, url, data=data, headers=_revealed(headers), timeout=limits, allow_redirects=False
    ) as response:
        _answered.add(host(url))
        try:
            text = (await response.read()).decode("utf-8", "replace")
        except (aiohttp.ClientError, OSError):
            if response.status < 400:
                raise
            text = ""  # the status has said it: refused
    return Reply(status=response.status, headers=response.headers, text=_hidden(text, headers))


async def _lines(url: str, headers: Headers, limits: aiohttp.ClientTimeout) -> AsyncGenerator[Reply | str, None]:
    session = await _session()
    async with session.get(url, headers=_revealed(headers), timeout=limits, allow_redirects=False) as response:
        _answered.add(host(url))
        whole = response.status != 200
        text = (await response.read()).decode("utf-8", "replace") if whole else ""
        yield Reply(status=response.status, headers=response.headers, text=_hidden(text, headers))
        rest = b""
        # Not `readline`, which has a bound: one line is one whole answer.
        async for piece in response.content.iter_any():
            *full, rest = (rest + piece).split(b"\n")
            for line in full:
                if line.strip():
                    yield _hidden(line.decode("utf-8", "replace"), headers)
        if rest.strip():
            yield _hidden(rest.decode("utf-8", "replace"), headers)


async def _told(url: str, sending: Awaitable[T], lost: type[Text2ExpertError]) -> T:
    """Await *sending* and say what went wrong in our words."""
    try:
        return await sending
    except aiohttp.ClientConnectorCertificateError as error:
        problem: Text2ExpertError = ProviderError(f"the certificate of {host(url)} is not valid: {_reason(error)}")
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        problem = ProviderError(f"{host(url)!r} is not a host that can be reached: check base_url")
    except aiohttp.ClientConnectorError as error:
        problem = ProviderUnavailable(
            f"cannot connect to {host(url)}: {_reason(error)}",
            unreached=error.os_error.errno == errno.ECONNREFUSED and host(url) not in _answered,
        )
    except aiohttp.ConnectionTimeoutError:
        problem = ProviderUnavailable(f"cannot connect to {host(url)} within {CONNECT_S:.0f} s")
    except TimeoutError as error:
        what = (
            "sent nothing for too long" if isinstance(error, aiohttp.SocketTimeoutError) else "did not answer in time"
        )
        problem = lost(f"{host(url)} {what}; the request was sent and may have been served")
    except (aiohttp.ClientError, OSError) as error:
        problem = lost(f"{host(url)} broke off ({type(error).__name__}); the request was sent and may have been served")
    # Raised out here, so that it does not carry aiohttp's exception, which holds the request's headers.
    raise problem


def _reason(error: aiohttp.ClientConnectorError) -> str:
    reason = error.os_error.strerror or type(error.os_error).__name__
    if error.os_error.errno == errno.ECONNREFUSED:  # a host of several addresses: "Multiple exceptions: ..."
        reason = "connection refused"
    # It would be handed every key and text, on the word of whatever else set the variable.
    proxy = "; a proxy is set (HTTPS_PROXY), and proxies are not used" if "https" in getproxies_environment() else ""
    return f"{reason}{proxy}"


def _revealed(headers: Headers) -> dict[str, str]:
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in headers.items()}


def _hidden(text: str, headers: Headers) -> str:
    for value in headers.values():
        if isinstance(value, Secret):
            text = value.hide(text)
    return text


@functools.lru_cache(maxsize=64)
def _limits(deadline_s: float, idle_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=deadline_s, connect=CONNECT_S, sock_read=idle_s)


class _Held(NamedTuple):
    session: aiohttp.ClientSession
    keeper: AsyncGenerator[aiohttp.ClientSession, None]
    process: int


_sessions: dict[asyncio.AbstractEventLoop, _Held] = {}


async def _session() -> aiohttp.ClientSession:
    loop = asyncio.get_running_loop()
    if (held := _sessions.get(loop)) is None:
        keeper = _keeper(loop)
        held = _sessions[loop] = _Held(await anext(keeper), keeper, os.getpid())
    return held.session


async def _keeper(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[aiohttp.ClientSession, None]:
    """The loop's session. It is a generator because a loop that shuts down closes its generators, and so the session."""
    connector = aiohttp.TCPConnector(
        limit=0,  # how many requests are under way is the caller's business
        keepalive_timeout=_KEEP_CONNECTION_S,
        socket_factory=_socket,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "text2expert", "Content-Type": "application/json", "Accept": "application/json"},
        trust_env=False,
    )
    try:
        yield session
    finally:
        _sessions.pop(loop, None)
        await session.close()


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that notices a dead peer, and keeps a router from forgetting a connection that is silent for minutes."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds_or_count in (("TCP_KEEPIDLE", 45), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):  # not on every system
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds_or_count)
    return made


@atexit.register
def _close_sessions() -> None:
    """Close what no loop's end has closed: the background loop of `_sync` runs until the process ends."""

    async def close(keeper: AsyncGenerator[aiohttp.ClientSession, None]) -> None:
        await keeper.aclose()

    for loop, held in list(_sessions.items()):
        # After a fork the parent's connections are not ours to close.
        if held.process != os.getpid() or loop.is_closed():
            continue
        with contextlib.suppress(Exception):  # the process ends anyway
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(close(held.keeper), loop).result(2)
            else:
                loop.run_until_complete(close(held.keeper))
