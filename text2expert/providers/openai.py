"""Chat completions, the protocol of OpenAI that nearly everybody else speaks: DeepSeek, vLLM, Ollama, llama.cpp, ``transformers serve``.

What a server knows beyond the common part differs, and some refuse every field that they do not know. So there are three
flavours: ``deepseek``, ``openai``, and ``plain`` for all the rest, which sends the least.

Sources: https://api-docs.deepseek.com (chat completions, thinking mode, JSON output, rate limit, error codes) and
https://developers.openai.com/api/docs (chat completions, structured outputs, reasoning, rate limits), as of November 2026.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from text2expert.errors import (
    AnswerLost,
    AuthenticationFailed,
    InputError,
    OutOfBalance,
    ProviderError,
    ProviderUnavailable,
    Text2ExpertError,
)
from text2expert.exchange import Completion, Effort, Finish, Request, Usage
from text2expert.providers import http

Flavour = Literal["deepseek", "openai", "plain"]

KEY_VARIABLE: Mapping[str, str] = {"deepseek": "DEEPSEEK_API_KEY", "openai": "OPENAI_API_KEY"}

_FINISH: Mapping[str, Finish] = {
    "stop": "stop",
    "eos_token": "stop",
    "length": "length",
    "content_filter": "refusal",
    "insufficient_system_resource": "interrupted",
    "error": "interrupted",
}

# These are set from the request itself, or change how many replies are paid for and in what form they come.
_OURS = {
    "model",
    "models",
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "best_of",
    "stream",
    "stream_options",
}
# Each has a price of its own, so that a hold would not be the worst case.
_UNPRICED = {"service_tier", "web_search_options", "plugins", "prediction", "modalities", "audio"}

# A server of one's own queues for as long as it needs, costs nothing, and asking it again makes its queue longer.
_OWN_SERVER_S = 3600.0


class OpenAI:
    """A server that speaks OpenAI's chat completions.

    Args:
        endpoint: The base URL, for most servers with ``/v1`` at its end.
        api_key: Sent to *endpoint* alone. A server on this machine may need none.
        flavour: Which fields it knows. ``plain`` has no switch for thinking; where a server has one, it goes into the
            ``extras`` of a request (vLLM: ``{"chat_template_kwargs": {"enable_thinking": False}}``).
        deadline_s: Seconds that one request may take in all; without it 900, for ``plain`` 3,600.
        idle_s: Seconds without a byte from the server; without it 300, for ``plain`` as *deadline_s*, because there
            most servers send nothing until the whole answer is there.

    Raises:
        InputError: *endpoint* is not an http(s) URL, or *api_key* cannot be a key.
    """

    dialect = "openai-chat/1"
    overhead_tokens = 1024
    """Chat templates and the instructions that go with structured replies are a few hundred tokens."""

    def __init__(
        self,
        endpoint: str,
        api_key: str | None = None,
        flavour: Flavour = "plain",
        *,
        deadline_s: float | None = None,
        idle_s: float | None = None,
    ) -> None:
        self.endpoint = http.endpoint(endpoint).removesuffix("/chat/completions")
        self.flavour = flavour
        # The same request goes onto the wire differently, so that a reply to one is none to the other.
        self.dialect = f"{OpenAI.dialect} {flavour}"
        self._key = http.Secret(api_key, prefix="Bearer ") if api_key else None
        own = flavour == "plain"
        self._deadline_s = deadline_s or (_OWN_SERVER_S if own else http.DEADLINE_S)
        self._idle_s = idle_s or (self._deadline_s if own else http.IDLE_S)
        self._url = f"{self.endpoint}/chat/completions"
        self._headers: http.Headers = {"Authorization": self._key} if self._key else {}

    def __repr__(self) -> str:
        return f"OpenAI({self.endpoint!r}, flavour={self.flavour!r})"

    def check(self) -> None:
        """Whether there is a key where one is needed.

        Raises:
            AuthenticationFailed: There is none.
        """
        if self._key is None and not http.is_loopback(self.endpoint):
            raise AuthenticationFailed(f"no key for {http.host(self.endpoint)}: {self._remedy}")
        if self._key is not None:
            http.warn_if_open(self.endpoint)

    @property
    def _remedy(self) -> str:
        variable = KEY_VARIABLE.get(self.flavour)
        if variable and http.host(self.endpoint) == f"api.{self.flavour}.com":
            return f"set {variable} or pass api_key="
        return "pass api_key= (a key from the environment goes to its provider's own host alone)"

    async def complete(self, request: Request) -> Completion:
        """The answer to *request*; see `text2expert.providers.Provider` for what it raises."""
        self.check()
        body = wire_body(request, self.flavour)
        reply = await http.post(self._url, body, self._headers, deadline_s=self._deadline_s, idle_s=self._idle_s)
        if reply.status != 200:
            raise refusal(reply, at=self.endpoint, remedy=self._remedy)
        return read(reply, at=self.endpoint, remedy=self._remedy, inline_thinking=self.flavour == "plain")


def wire_body(request: Request, flavour: Flavour) -> dict[str, Any]:
    """The body of ``POST /chat/completions`` for *request*.

    Raises:
        InputError: ``extras`` has a field that is not for it to set.
    """
    for name in request.extras:
        if name in _OURS:
            raise InputError(
                f"extras has {name!r}, which is set from the request itself; use the argument of LLM for it"
            )
        if name in _UNPRICED:
            raise InputError(f"extras has {name!r}: it changes the price, so no budget could hold; leave it out")
    messages = [{"role": "user", "content": request.prompt}]
    if request.system:
        messages.insert(0, {"role": "system", "content": request.system})
    limit = "max_completion_tokens" if flavour == "openai" else "max_tokens"
    body: dict[str, Any] = {"model": request.model, "messages": messages, limit: request.max_tokens}
    if request.schema is not None and (form := _response_format(request, request.schema, flavour)):
        body["response_format"] = form
    if flavour == "deepseek":
        if request.thinking is not None:
            body["thinking"] = {"type": "enabled" if request.thinking else "disabled"}
        if request.effort and request.thinking is not False:
            body["reasoning_effort"] = "high" if request.effort == "medium" else request.effort
    elif effort := _effort(request, flavour):
        body["reasoning_effort"] = effort
    return body | dict(request.extras)


def _response_format(request: Request, schema: Mapping[str, Any], flavour: Flavour) -> dict[str, Any] | None:
    if flavour != "deepseek":
        form: dict[str, Any] = {"name": "reply", "schema": schema}
        if flavour == "openai":
            form["strict"] = schema.get("type") == "object" and _is_strict(schema)
        return {"type": "json_schema", "json_schema": form}
    # DeepSeek knows no schema, and its JSON mode writes blanks for ever unless the prompt speaks of JSON.
    asked = "json" in request.system.lower() or "json" in request.prompt.lower()
    return {"type": "json_object"} if asked else None


_STRICT = {
    "type",
    "title",
    "description",
    "enum",
    "const",
    "properties",
    "required",
    "items",
    "anyOf",
    "additionalProperties",
}


def _is_strict(schema: Any) -> bool:
    """Whether OpenAI can hold a model to *schema* to the letter: objects closed, every property required."""
    if not isinstance(schema, Mapping) or not schema.keys() <= _STRICT:
        return False
    properties = schema.get("properties", {})
    if schema.get("type") == "object" and (
        schema.get("additionalProperties") is not False or {*schema.get("required", ())} != {*properties}
    ):
        return False
    parts = [*properties.values(), *schema.get("anyOf", ())]
    if "items" in schema:
        parts.append(schema["items"])
    return all(_is_strict(part) for part in parts)


_REASONS = re.compile(r"(?:o\d|gpt-(?P<major>\d+)(?:\.(?P<minor>\d+))?)(?!\d)(?!.*-chat)")


def _effort(request: Request, flavour: Flavour) -> str | None:
    """The field ``reasoning_effort``; None leaves it out, as a model that does not reason refuses it."""
    effort: Effort | None = request.effort
    if flavour == "plain":
        return "high" if effort == "max" else effort
    match = _REASONS.match(request.model)
    version = (int(match["major"] or 0), int(match["minor"] or 0)) if match else (0, 0)
    if match is None or (match["major"] and version < (5, 0)):
        return None
    if effort == "max":
        return "xhigh" if version >= (5, 2) else "high"
    if effort is not None:
        return effort
    if request.thinking is None:
        return None
    if request.thinking:
        return "medium"
    # Below is as far down as each is known to go; one that is not known takes "low".
    if re.search(r"codex|-pro", request.model):
        return "low"
    if version == (5, 0):
        return "minimal"
    return "none" if version[0] == 5 else "low"


def read(reply: http.Reply, *, at: str, remedy: str = "", inline_thinking: bool = True) -> Completion:
    """The completion in the body of a reply with status 200.

    Args:
        reply: As it came; blank lines before the JSON keep a connection alive and mean nothing.
        at: The endpoint, for messages.
        remedy: What to do about a key that was not accepted.
        inline_thinking: Whether reasoning may come inside the answer, in ``<think>...</think>`` or ended by ``</think>``.

    Raises:
        ProviderUnavailable: The provider held the request and gave up, or an overload is reported in the body.
        AnswerLost: The body is not a whole completion.
        Text2ExpertError: An error that is reported in the body, as `refusal` has it.
    """
    raw = reply.text.strip()
    if not raw:
        raise ProviderUnavailable(
            f"{http.host(at)} held the request and closed it without an answer: it is overloaded", overloaded=True
        )
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        if "html" in reply.headers.get("Content-Type", "") or raw.startswith("<"):
            raise ProviderError(
                f"{http.host(at)} answered with a web page: check base_url ({at}); for most servers it ends in /v1"
            ) from None
        raise AnswerLost(f"{http.host(at)} sent an answer that is not whole JSON; it was perhaps billed") from None
    if not isinstance(data, dict) or not isinstance(data.get("choices"), list):
        if isinstance(data, dict) and data.get("error"):
            raise refusal(reply, at=at, remedy=remedy)
        raise AnswerLost(f"{http.host(at)} sent JSON that is not a chat completion; it was perhaps billed")
    choice = data["choices"][0] if data["choices"] and isinstance(data["choices"][0], dict) else {}
    message = choice.get("message")
    text, reasoning = _said(message if isinstance(message, dict) else {})
    if not reasoning:
        text, reasoning = _thought(text, inline_thinking)
    finish = _FINISH.get(str(choice.get("finish_reason")), "other")
    if isinstance(message, dict) and message.get("refusal"):
        finish = "refusal"
    return Completion(
        text=text,
        reasoning=reasoning,
        usage=_usage(data.get("usage")),
        finish=finish,
        model=str(data.get("model") or ""),
        raw=raw,
        pause_s=_pause_s(reply.headers),
    )


def _said(message: Mapping[str, Any]) -> tuple[str, str]:
    """Answer and reasoning; either may be null, and Mistral sends parts."""
    content = message.get("content")
    reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        text = "".join(str(part.get("text") or "") for part in parts if part.get("type") == "text")
        return text, reasoning if isinstance(reasoning, str) else ""
    return content if isinstance(content, str) else "", reasoning if isinstance(reasoning, str) else ""


def _thought(text: str, unopened: bool) -> tuple[str, str]:
    """*text* with inline reasoning taken out of it, and that reasoning."""
    start = text.lstrip()
    if start.startswith("<think>"):
        reasoning, _, answer = start.removeprefix("<think>").partition("</think>")
        return answer.lstrip(), reasoning.strip()
    # Where the chat template opens the tag, the model only closes it. In a JSON answer the tag is part of a quotation.
    if unopened and "</think>" in text and not start.startswith(("{", "[")):
        reasoning, _, answer = text.partition("</think>")
        return answer.lstrip(), reasoning.strip()
    return text, ""


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    prompt, reply = usage.get("prompt_tokens"), usage.get("completion_tokens")
    # No prompt has no token: a server that says 0 does not count.
    if not isinstance(prompt, int) or not isinstance(reply, int) or prompt <= 0 or reply < 0:
        return None
    details = usage.get("prompt_tokens_details")
    cached = _count(usage, "prompt_cache_hit_tokens") or _count(details, "cached_tokens")
    written = _count(details, "cache_write_tokens")
    try:
        # Some count reasoning in the total alone.
        return Usage(
            input_tokens=prompt - cached - written,
            cache_read_tokens=cached,
            cache_write_tokens=written,
            output_tokens=max(reply, _count(usage, "total_tokens") - prompt),
            reasoning_tokens=_count(usage.get("completion_tokens_details"), "reasoning_tokens"),
        )
    except ValueError:  # more of the prompt is cached than there is of it, say
        return None


def _count(usage: Any, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value > 0 else 0


def _pause_s(headers: Mapping[str, str]) -> float:
    """Seconds until a rate limit that is used up is open again, as ``x-ratelimit-*`` has it."""
    pauses = [
        _duration_s(headers.get(f"x-ratelimit-reset-{kind}", ""))
        for kind in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{kind}") == "0"
    ]
    return max(pauses, default=0.0)


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _duration_s(text: str) -> float:
    """Seconds in ``1s``, ``6m0s``, ``20ms``."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|[smhd])", text))


def refusal(reply: http.Reply, *, at: str, remedy: str = "") -> Text2ExpertError:
    """The error that *reply* is: by its status, or by what its body says where the status is 200."""
    words, code = _words(reply.text)
    status = reply.status
    if status == 200:  # it began to answer, to keep the connection alive, before it knew
        status = code if isinstance(code, int) and code >= 400 else 500
    where = f"{http.host(at)} ({status})"
    said = f": {words}" if words else ""
    if status == 402 or code in {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}:
        return OutOfBalance(f"the account at {where} is empty or at its spending limit{said}; top it up and run again")
    if status == 401:  # in its own words a server repeats parts of the key
        return AuthenticationFailed(f"{where} did not accept the key: {remedy or 'check it'}")
    if status == 403:
        return AuthenticationFailed(f"{where} does not let this key in{said}")
    if status in {504, 524}:
        return AnswerLost(f"{where} waited in vain for its own model, which may have answered{said}")
    if status in {408, 409, 425, 429} or status >= 500:
        return ProviderUnavailable(
            f"{where} cannot answer now{said}",
            retry_after=http.retry_after_s(reply.headers),
            overloaded=status in {429, 503, 529},
        )
    if 300 <= status < 400:
        return ProviderError(f"{where} redirects, which is not followed: give the address that it moved to as base_url")
    hint = "; check the model's name and base_url, which for most servers ends in /v1" if status in {404, 405} else ""
    return ProviderError(f"{where} refused the request{said}{hint}")


def _words(body: str) -> tuple[str, int | str | None]:
    """What a server says of an error, on one line and without control characters, and its code."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = body if not body.lstrip().startswith("<") else ""
    code: int | str | None = None
    for _ in range(3):  # {"error": {"message": ...}}, {"detail": [{"msg": ...}]}, {"error": "..."}
        if isinstance(data, list):
            data = data[0] if data else ""
        if not isinstance(data, dict):
            break
        named = [data.get("code"), code, data.get("type")]
        code = next((name for name in named if name and isinstance(name, int | str)), None)
        data = next((data[name] for name in ("error", "detail", "message", "msg") if data.get(name)), "")
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in str(data)).split())
    return words[:300], code
