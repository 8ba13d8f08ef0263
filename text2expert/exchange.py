"""What goes to a model and what comes back: one request, one completion, the tokens that it took.

A `Request` holds every value that reaches the wire, so that its digest can stand for it: the same request is never paid
for twice, and a changed prompt, schema or model is another request.
"""

import functools
import hashlib
import ipaddress
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

import attrs

Finish = Literal["stop", "length", "refusal", "interrupted", "other"]
"""Why a model stopped, whatever its provider calls it:

``stop``         it said all it wanted to say
``length``       cut at ``max_tokens`` or at the end of its context
``refusal``      it, or its provider's filter, would not answer
``interrupted``  the provider ran out of resources on the way
``other``        anything else; the raw reply says what
"""

Effort = Literal["low", "medium", "high", "max"]
"""How much a thinking model may think; a provider maps it to what its models know."""


@attrs.frozen(kw_only=True)
class Request:
    """One question to a model. A provider adds nothing to it but the key and its protocol's header versions."""

    endpoint: str
    """The base URL that it goes to, without a slash at the end."""
    dialect: str
    """The provider's wire protocol and the version of our translation into it, ``openai-chat/1``."""
    model: str
    """As the provider calls it."""
    system: str = ""
    prompt: str
    schema: Mapping[str, Any] | None = None
    """JSON Schema that the reply must follow, as far as the provider can hold a model to it."""
    max_tokens: int
    """Of the reply, reasoning included; always sent."""
    thinking: bool | None = None
    """True: on; False: turned down as far as the model allows; None: as the provider has it."""
    effort: Effort | None = None
    extras: Mapping[str, Any] = attrs.field(factory=dict)
    """More fields of the body, as the provider documents them."""
    sample: int = 0
    """0, 1, ...: asking again on purpose. In the key, not on the wire."""

    @cached_property
    def canonical(self) -> str:
        """All fields as JSON in one fixed form."""
        return json.dumps(attrs.asdict(self, recurse=False), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def key(self) -> str:
        """What a reply is stored under: the SHA-256 of `canonical`, in hexadecimal."""
        return hashlib.sha256(self.canonical.encode("utf-8", "surrogatepass")).hexdigest()


MOST_TOKENS = 10**9
"""Of one kind, in one request: no provider takes a thousandth of it, so a larger count is none."""


def _count(_: object, attribute: "attrs.Attribute[int]", value: int) -> None:
    if type(value) is not int or not 0 <= value < MOST_TOKENS:
        # No InputError, which says that nothing was sent.
        raise ValueError(f"{attribute.name}={value!r:.40} is no count of tokens: a whole number from 0 up")


@attrs.frozen(kw_only=True)
class Usage:
    """Tokens of one request, as its provider counted them.

    Raises:
        ValueError: One of them cannot be a count.
    """

    input_tokens: int = attrs.field(validator=_count)
    """Of the prompt, at full price: neither read from a cache nor written to one."""
    cache_read_tokens: int = attrs.field(default=0, validator=_count)
    cache_write_tokens: int = attrs.field(default=0, validator=_count)
    output_tokens: int = attrs.field(validator=_count)
    """Of the reply, reasoning included."""
    reasoning_tokens: int = attrs.field(default=0, validator=_count)
    """Of ``output_tokens``, as far as the provider says."""
    batch: bool = False
    """Whether it was part of a batch, which has prices of its own."""


@attrs.frozen(kw_only=True)
class Completion:
    """What a model answered."""

    text: str
    """The answer; blank where the provider sent none."""
    reasoning: str = ""
    """The trace of a thinking model, where the provider shows it."""
    usage: Usage | None
    """None where the provider sent none: then the whole hold is booked."""
    finish: Finish
    model: str = ""
    """What answered, as the provider calls it."""
    raw: str = attrs.field(default="", repr=False)
    """The body as it came."""
    pause_s: float = 0.0
    """Seconds that the provider's rate headers ask to wait before the next request; 0 where they ask for none."""

    @property
    def complete(self) -> bool:
        """Whether the model said all it wanted to say."""
        return self.finish == "stop"


@functools.lru_cache(maxsize=64)  # asked for every request
def is_here(endpoint: str) -> bool:
    """Whether what is sent to *endpoint*, a URL, stays on this machine: its host is a loopback one by name or address."""
    host = (urlsplit(endpoint).hostname or "").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
