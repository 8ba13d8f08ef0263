"""Claude over the Messages API.

What a model knows of our requests is decided by its name: how thinking is turned down differs between families and
versions, sampling parameters, forced tools and answers begun for the model are gone, and structured replies have a field of
their own. `wire_body`, `read_message` and `refusal` translate without any I/O; batches (``batches.py``) share them.

Source: https://platform.claude.com/docs/en/api/messages and the pages on thinking, effort, structured outputs, rate limits
and errors beside it, as of November 2026.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from text2expert.errors import (
    AnswerLost,
    AuthenticationFailed,
    InputError,
    OutOfBalance,
    ProviderError,
    ProviderUnavailable,
    Text2ExpertError,
)
from text2expert.exchange import Completion, Finish, Request, Usage
from text2expert.providers import http
from text2expert.providers.http import Secret

ENDPOINT = "https://api.anthropic.com"
VERSION = "2026-10-21"
"""Of the protocol: what the header ``anthropic-version`` says."""
KEY_VARIABLE = "ANTHROPIC_API_KEY"

_FINISH: Mapping[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}

# Below this a prefix is too short for the cache of any model (512 tokens at four bytes each), and is marked in vain.
_CACHEABLE_BYTES = 2048

_OURS = {"model", "system", "messages", "max_tokens", "thinking", "stream"}
_SAMPLING = {"temperature", "top_p", "top_k"}
# Each has a price that the table of prices does not know, so a hold would not be the worst case.
_UNPRICED = {"tools", "tool_choice", "mcp_servers", "container", "speed", "inference_geo"}


class Anthropic:
    """Claude, or whatever speaks its protocol at another address.

    Args:
        endpoint: The base URL, with or without ``/v1`` at its end.
        api_key: Sent to *endpoint* alone. None is fine for a server on this machine.
        deadline_s: Seconds that one request may take in all.
    """

    dialect = "anthropic-messages/1"
    overhead_tokens = 1024
    """Instructions that the service adds for structured replies; they are a few hundred tokens."""

    def __init__(self, endpoint: str = ENDPOINT, api_key: str | None = None, *, deadline_s: float = 900) -> None:
        self.endpoint = endpoint.rstrip("/").removesuffix("/v1")
        self._key = Secret(api_key) if api_key else None
        self._deadline_s = deadline_s

    def __repr__(self) -> str:
        return f"Anthropic({self.endpoint!r})"

    def check(self) -> None:
        """Whether there is a key where one is needed.

        Raises:
            AuthenticationFailed: There is none.
        """
        if self._key is None and not http.is_loopback(self.endpoint):
            own = f"set {KEY_VARIABLE} or pass api_key="
            other = "pass api_key= (a key from the environment goes to its provider's own host alone)"
            raise AuthenticationFailed(
                f"no key for {http.host(self.endpoint)}: {own if self.endpoint == ENDPOINT else other}"
            )
        if self._key is not None:
            http.warn_if_open(self.endpoint)

    async def complete(self, request: Request) -> Completion:
        """The answer to *request*; see `text2expert.providers.Provider` for what it raises."""
        self.check()
        # Nothing comes before the whole answer is there, so waiting in silence is what a long answer looks like.
        reply = await http.post(
            f"{self.endpoint}/v1/messages",
            wire_body(request),
            self.headers,
            deadline_s=self._deadline_s,
            idle_s=self._deadline_s,
        )
        if reply.status != 200:
            raise refusal(reply.status, reply.text, reply.headers)
        return read_message(reply.text, reply.headers)

    @property
    def headers(self) -> dict[str, str | Secret]:
        """Of every request."""
        key = {"x-api-key": self._key} if self._key else {}
        return {"anthropic-version": VERSION, **key}


def wire_body(request: Request) -> dict[str, Any]:
    """The body of ``POST /v1/messages`` for *request*.

    Raises:
        InputError: The request asks for what the model, or the protocol, does not know.
    """
    _check_extras(request.extras)
    body: dict[str, Any] = {"model": request.model, "max_tokens": request.max_tokens}
    if request.system:
        block: dict[str, Any] = {"type": "text", "text": request.system}
        if len(request.system.encode("utf-8", "surrogatepass")) >= _CACHEABLE_BYTES:
            block["cache_control"] = {"type": "ephemeral"}
        body["system"] = [block]
    body["messages"] = [{"role": "user", "content": request.prompt}]
    thinking, effort = _thinking(request)
    output: dict[str, Any] = {}
    if thinking is not None:
        body["thinking"] = thinking
    if effort is not None:
        output["effort"] = effort
    if request.schema is not None:
        output["format"] = {"type": "json_schema", "schema": _closed(request.schema)}
    extras = dict(request.extras)
    output.update(extras.pop("output_config", {}))
    if output:
        body["output_config"] = output
    return body | extras


def _check_extras(extras: Mapping[str, Any]) -> None:
    for name in sorted(extras):
        if name in _SAMPLING:
            raise InputError(f"extras has {name!r}: Claude models take no sampling parameters; leave it out")
        if name in _OURS:
            raise InputError(
                f"extras has {name!r}, which is set from the request itself; use the argument of LLM for it"
            )
        if name in _UNPRICED:
            raise InputError(
                f"extras has {name!r}: its price is not in the table, so no budget could hold; leave it out"
            )
    if (extras.get("cache_control") or {}).get("ttl", "5m") != "5m":
        raise InputError("extras has a cache_control with another ttl than '5m', whose price is not in the table")


_CLAUDE = re.compile(r"claude-(?P<family>[a-z]+)-(?P<major>\d+)(?:[-.](?P<minor>\d{1,2}))?(?!\d)")


def _thinking(request: Request) -> tuple[dict[str, Any] | None, str | None]:
    """The fields ``thinking`` and ``output_config.effort``; None leaves a field out.

    Models from 5 on think unless told otherwise, and a wrong way of telling them is an error 400. So a model that we do not
    know is told by its effort alone, which all of them take.
    """
    effort = request.effort
    if request.thinking is None:
        return None, effort
    match = _CLAUDE.search(request.model)
    family = match["family"] if match else ""
    version = (int(match["major"]), int(match["minor"] or 0)) if match else (0, 0)
    if request.thinking:
        if version >= (4, 6):
            return {"type": "adaptive", "display": "summarized"}, effort
        if request.max_tokens <= 1024:
            raise InputError(
                f"max_tokens is {request.max_tokens}: {request.model} needs more than 1,024 to think; raise it or "
                "leave thinking off"
            )
        return {"type": "enabled", "budget_tokens": max(1024, request.max_tokens // 2)}, effort
    always = family in {"fable", "mythos"} or (family == "opus" and version >= (5, 5)) or version > (5, 5)
    if always:
        return None, effort or "low"
    if effort == "max":
        raise InputError(f"thinking=False does not go with effort='max' on {request.model}; at most 'high'")
    return {"type": "between_tools" if (family, version) == ("sonnet", (5, 5)) else "disabled"}, effort


# What a schema may say on the wire; the rest goes into the description, where a model at least reads it.
_SUPPORTED = {"type", "title", "enum", "const", "required", "$ref"}
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}


def _closed(schema: Any) -> Any:
    """*schema* with every object closed and the keywords that are refused moved into its description."""
    if not isinstance(schema, Mapping):
        return schema
    kept: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for word, value in schema.items():
        if word in {"properties", "$defs"}:
            kept[word] = {name: _closed(one) for name, one in value.items()}
        elif word in {"anyOf", "allOf", "oneOf"}:
            kept["anyOf" if word == "oneOf" else word] = [_closed(one) for one in value]
        elif word == "items":
            kept[word] = _closed(value)
        elif word in _SUPPORTED or (word == "minItems" and value in {0, 1}) or (word == "format" and value in _FORMATS):
            kept[word] = value
        elif word not in {"additionalProperties", "description", "$schema"}:
            rest[word] = value
    if "properties" in kept or schema.get("type") == "object":
        kept["additionalProperties"] = False
    limits = ", ".join(f"{word}: {json.dumps(value, ensure_ascii=False)}" for word, value in rest.items())
    said = "; ".join(filter(None, (schema.get("description", ""), limits)))
    return {**kept, "description": said} if said else kept


def read_message(text: str, headers: Mapping[str, str] | None = None) -> Completion:
    """The completion in the body of a reply with status 200.

    Raises:
        AnswerLost: It is no message: cut on its way, or by something in between.
        Text2ExpertError: It is an error all the same.
    """
    try:
        message = json.loads(text)
        if message["type"] == "error":
            raise refusal(STATUS.get(message["error"]["type"], 500), text, headers or {})
        blocks = message["content"]
        answer = "".join(block["text"] for block in blocks if block["type"] == "text")
        trace = "".join(block.get("thinking", "") for block in blocks if block["type"] == "thinking")
        finish = _FINISH.get(message["stop_reason"], "other")
        usage = _usage(message.get("usage"))
        model = str(message.get("model", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AnswerLost(
            f"the reply is no message ({type(error).__name__}: {error}); it begins {text[:200]!r}"
        ) from error
    return Completion(
        text=answer,
        reasoning=trace,
        usage=usage,
        finish=finish,
        model=model,
        raw=text,
        pause_s=_pause(headers or {}),
    )


def _usage(usage: Any) -> Usage | None:
    """The tokens that are billed; None where they are not to be had: the answer is an answer all the same."""
    try:
        return Usage(
            input_tokens=usage["input_tokens"],
            cache_read_tokens=usage.get("cache_read_input_tokens") or 0,
            cache_write_tokens=usage.get("cache_creation_input_tokens") or 0,
            output_tokens=usage["output_tokens"],
            reasoning_tokens=(usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0,
            batch=usage.get("service_tier") == "batch",
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that an error has when it does not come as the status of a reply: in the results of a batch."""

_EMPTY_ACCOUNT = re.compile(
    r"credit balance is too low|reached your specified (api )?usage limit|spend limit", re.IGNORECASE
)


def refusal(status: int, text: str, headers: Mapping[str, str]) -> Text2ExpertError:
    """The error that stands for a reply with another status than 200, in the service's own words."""
    kind, words, code = _error(text)
    said = f"{status} {kind}: {words}".strip()
    request_id = headers.get("request-id")
    said += f" (request {request_id})" if request_id else ""
    retry_after = http.retry_after_s(headers)
    # The account's own limits come as 400, 402, 403 or 429. A rate limit has "retry-after"; an empty account has none.
    empty = code.endswith(("spend_limit_reached", "billing_unavailable")) or (
        status in {400, 403, 429} and retry_after is None and _EMPTY_ACCOUNT.search(words)
    )
    if status == 402 or empty:
        return OutOfBalance(
            f"{said}. Add credit or raise the limit in the console, then run again: what is paid is kept"
        )
    if status in {401, 403} or code == "organization_on_hold":
        return AuthenticationFailed(f"{said}. Check the key, its workspace and what it may use")
    if status in {408, 409, 429} or status >= 500:
        return ProviderUnavailable(
            said, retry_after=retry_after or _pause(headers) or None, overloaded=status in {429, 503, 529}
        )
    if status == 404:
        said += ". A retired model answers so too: see the model's name"
    return ProviderError(said)


def _error(text: str) -> tuple[str, str, str]:
    """Kind, words and code of an error's body; of any body, as it may come from a proxy."""
    try:
        error = json.loads(text)["error"]
        details = error.get("details") or {}
        return str(error.get("type", "")), str(error.get("message", "")), str(details.get("error_code") or "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", text.strip()[:300] or "no body", ""


def _pause(headers: Mapping[str, str]) -> float:
    """Seconds until every limit of which nothing remains is filled up again; 0 where something remains of all."""
    pause = 0.0
    for limit in ("requests", "tokens", "input-tokens", "output-tokens"):
        if headers.get(f"anthropic-ratelimit-{limit}-remaining", "").strip() != "0":
            continue
        try:
            reset = datetime.fromisoformat(headers.get(f"anthropic-ratelimit-{limit}-reset", ""))
            pause = max(pause, (reset - server_time(headers)).total_seconds())
        except (ValueError, TypeError):
            continue
    return pause


def server_time(headers: Mapping[str, str]) -> datetime:
    """The service's time, which its resets are told in: clocks of laptops are wrong by minutes."""
    try:
        return parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return datetime.now(UTC)
