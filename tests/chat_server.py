"""A server that speaks the wire protocol of OpenAI's chat completions, as OpenAI and DeepSeek have it, with scripted answers.

    with ChatServer(lambda body, nth: "[]", keys={"sk-1"}) as server:
        OpenAI(server.url, "sk-1", "deepseek")

It refuses what the real ones refuse, keeps a bill of what a model was run for, and fails on demand. That it is right is
shown by the official SDK as its client (``test_chat_server.py``).
"""

import asyncio
import contextlib
import hashlib
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import attrs
from aiohttp import web

DEEPSEEK_MODELS = ("deepseek-flash", "deepseek-v4-pro")
_ROLES = {"system", "user", "assistant"}
CACHE_UNIT = 64
"""Tokens: what a provider's prefix cache keeps is a multiple of it."""


@attrs.frozen
class Answer:
    """What the model says. Token counts are made from the text where they are not given."""

    text: str | None
    reasoning: str = attrs.field(default="", kw_only=True)
    finish: str = attrs.field(default="stop", kw_only=True)
    usage: Mapping[str, Any] | Literal["counted", "none"] = attrs.field(default="counted", kw_only=True)
    message: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)
    """More fields of the message."""
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    keep_alive: int = attrs.field(default=0, kw_only=True)
    """Blank lines that are sent, one every `ChatServer.tick_s`, before the answer begins."""


@attrs.frozen
class Refuse:
    """An answer with an error status; no model is run."""

    status: int
    message: str = "scripted refusal"
    code: Any = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: str | None = None
    """Instead of the usual error object."""


@attrs.frozen
class Break:
    """No whole answer, though a model was run, except for ``gave up``, where it was not.

    reset     the connection is reset after the latency
    cut       half of the body comes, then the connection is closed
    hang      nothing comes, ever
    trickle   blank lines come, for ever
    gave up   blank lines come, then the body ends: how DeepSeek closes what it could not begin in ten minutes
    """

    how: Literal["reset", "cut", "hang", "trickle", "gave up"]


Script = Callable[[dict[str, Any], int], "str | Answer | Refuse | Break"]
"""From the body of a request, and how often this very body came before, to what happens."""


@attrs.frozen(kw_only=True)
class Billed:
    """One run of a model."""

    digest: str
    """Of the request's body."""
    model: str
    usage: Mapping[str, Any]
    delivered: bool
    """Whether the whole answer was sent."""


@attrs.frozen(kw_only=True)
class Received:
    """One request, whatever became of it."""

    digest: str
    body: Any
    headers: Mapping[str, str]
    path: str


def flaky(script: Script, rates: Mapping[str, float], *, seed: int = 1, retry_after: str = "0.05") -> Script:
    """*script* with faults: the fault of a request depends on its body, on how often it came, and on *seed* alone.

    Args:
        script: What happens otherwise.
        rates: The share of ``"429"``, ``"500"``, ``"503"``, ``"reset"``, ``"cut"``, ``"truncated"`` (the text ends in
            the middle, finish ``length``).
        seed: For other faults.
        retry_after: The header of a 429.
    """

    def scripted(body: dict[str, Any], nth: int) -> str | Answer | Refuse | Break:
        drawn = int(hashlib.sha256(f"{seed}:{digest(body)}:{nth}".encode()).hexdigest()[:12], 16) / 16**12
        for fault, rate in rates.items():
            if drawn < rate:
                return _fault(fault, script(body, nth), retry_after)
            drawn -= rate
        return script(body, nth)

    return scripted


def _fault(fault: str, instead: Any, retry_after: str) -> Answer | Refuse | Break:
    if fault == "429":
        return Refuse(429, "Rate limit reached for requests", "rate_limit_exceeded", {"Retry-After": retry_after})
    if fault.isdigit():
        return Refuse(int(fault), "The server had an error", "server_error")
    if fault == "truncated":
        text = instead.text if isinstance(instead, Answer) else instead
        return Answer(text[: len(text) * 2 // 3], finish="length")
    assert fault in {"reset", "cut", "hang"}, fault
    return Break(fault)


def digest(body: Any) -> str:
    """Names a body."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:24]


class ChatServer:
    """The server, in a thread of its own for as long as the ``with`` block lasts.

    Args:
        script: What it answers; a sequence is used up in the order of the requests.
        keys: Accepted keys; none: it asks for no key.
        models: Accepted names; none: any.
        flavour: Whose errors, usage fields and parameters.
        latency_s: Before each answer.
    """

    tick_s = 0.02

    def __init__(
        self,
        script: Script | Sequence[str | Answer | Refuse | Break],
        *,
        keys: Iterable[str] = (),
        models: Iterable[str] = (),
        flavour: Literal["deepseek", "openai"] = "deepseek",
        latency_s: float = 0.0,
    ) -> None:
        self._script = script if callable(script) else _in_turn(script)
        self.keys, self.models = frozenset(keys), frozenset(models)
        self.flavour, self.latency_s = flavour, latency_s
        self.received: list[Received] = []
        self.bill: list[Billed] = []
        self.statuses: Counter[int] = Counter()
        self.in_flight = self.peak = 0
        self.url = ""
        self._asked: Counter[str] = Counter()
        self._seen_prefixes: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat server", daemon=True)
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._runner is not None
        asyncio.run_coroutine_threadsafe(self._stop(self._runner), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=64 * 2**20)
        for root in ("", "/v1"):
            app.router.add_post(f"{root}/chat/completions", self._chat)
            app.router.add_get(f"{root}/models", self._list)
        app.router.add_get("/user/balance", self._balance)
        app.router.add_route("*", "/{path:.*}", self._nowhere)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=2048)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self, runner: web.AppRunner) -> None:
        await runner.cleanup()
        hanging = asyncio.all_tasks() - {asyncio.current_task()}
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    @property
    def delivered(self) -> list[Billed]:
        """What was billed and sent whole."""
        return [billed for billed in self.bill if billed.delivered]

    # ------------------------------------------------------------------ the wire

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        name = digest(body)
        nth = self._asked[name]
        self._asked[name] += 1
        self.received.append(Received(digest=name, body=body, headers=request.headers.copy(), path=request.path))
        refused = self._unauthorized(request) or self._invalid(body)
        if refused:
            return self._error(refused)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            return await self._happen(request, body, name, self._script(body, nth))
        finally:
            self.in_flight -= 1

    async def _happen(self, request: web.Request, body: dict[str, Any], name: str, what: Any) -> web.StreamResponse:
        if isinstance(what, Refuse):
            return self._error(what)
        if what == Break("gave up"):
            return await self._keep_alive(request, 5)
        if what == Break("trickle"):
            return await self._keep_alive(request, 10**9)
        how = what.how if isinstance(what, Break) else ""
        answer = what if isinstance(what, Answer) else Answer("an answer nobody saw" * 20 if how else what)
        reply = self._completion(body, answer)
        if how:
            self._book(name, reply, delivered=False)
        await asyncio.sleep(3600 if how == "hang" else self.latency_s)
        data = json.dumps(reply).encode()
        if how:
            return await self._broken(request, data, how)
        # Booked first: who has the answer may look at the bill.
        self._book(name, reply, delivered=True)
        booked = len(self.bill) - 1
        self.statuses[200] += 1
        try:
            if answer.keep_alive:
                return await self._keep_alive(request, answer.keep_alive, data)
            response = web.Response(body=data, content_type="application/json", headers=dict(answer.headers))
            await response.prepare(request)
            await response.write_eof()
        except ConnectionError:
            self.bill[booked] = attrs.evolve(self.bill[booked], delivered=False)
            raise
        return response

    async def _keep_alive(self, request: web.Request, blank_lines: int, data: bytes = b"") -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(blank_lines):
            await response.write(b"\n")
            await asyncio.sleep(self.tick_s)
        await response.write(data)
        await response.write_eof()
        return response

    async def _broken(self, request: web.Request, data: bytes, how: str) -> web.StreamResponse:
        transport = request.transport
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(data))})
        if how == "cut":
            await response.prepare(request)
            await response.write(data[: len(data) // 2])
        elif transport is not None:
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        if transport is not None:
            transport.close()
        return response

    async def _nowhere(self, request: web.Request) -> web.Response:
        body = await request.text()
        self.received.append(
            Received(digest=digest(body), body=body, headers=request.headers.copy(), path=request.path)
        )
        return self._error(Refuse(404, f"no such path: {request.path}", "not_found"))

    async def _list(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return self._error(refused)
        names = sorted(self.models) or list(DEEPSEEK_MODELS)
        data = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": self.flavour} for name in names]
        return web.json_response({"object": "list", "data": data})

    async def _balance(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return self._error(refused)
        info = {"currency": "USD", "total_balance": "9.50", "granted_balance": "0.00", "topped_up_balance": "9.50"}
        return web.json_response({"is_available": True, "balance_infos": [info]})

    # ------------------------------------------------------------------ what is refused

    def _unauthorized(self, request: web.Request) -> Refuse | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if not self.keys or (scheme == "Bearer" and key in self.keys):
            return None
        # The real ones show a part of the key; this one shows all of it, so that a client that repeats it is caught.
        return Refuse(401, f"Authentication fails, your api key {key} is invalid", "invalid_request_error")

    def _invalid(self, body: Any) -> Refuse | None:
        if not isinstance(body, dict):
            return Refuse(400, "We could not parse the JSON body of your request", "invalid_request_error")
        complaint = next(_wrong(body), None) or next(self._complaints(body), None)
        if complaint:
            return Refuse(400, complaint, "invalid_request_error")
        if self.models and body["model"] not in self.models:
            return (
                Refuse(400, "Model Not Exist", "invalid_request_error")
                if self.flavour == "deepseek"
                else Refuse(404, f"The model `{body['model']}` does not exist", "model_not_found")
            )
        return None

    def _complaints(self, body: dict[str, Any]) -> Iterator[str]:
        limit = "max_completion_tokens" if self.flavour == "openai" else "max_tokens"
        if not isinstance(body.get(limit, 1), int) or not 1 <= body.get(limit, 1) <= 393_216:
            yield f"invalid {limit} value, the valid range is [1, 393216]"
        kind, messages = body.get("response_format", {}).get("type", "text"), body["messages"]
        known = {"text", "json_object"} | ({"json_schema"} if self.flavour == "openai" else set())
        if kind not in known:
            yield f"This response_format type is unavailable now: {kind}"
        if kind == "json_object" and not any("json" in m["content"].lower() for m in messages):
            yield "Prompt must contain the word 'json' in some form to use 'response_format' of type 'json_object'."
        if kind == "json_schema" and "schema" not in body["response_format"].get("json_schema", {}):
            yield "Missing required parameter: 'response_format.json_schema.schema'."
        effort = {"deepseek": {"low", "high", "max"}, "openai": {"none", "minimal", "low", "medium", "high", "xhigh"}}
        if body.get("reasoning_effort", "low") not in effort[self.flavour]:
            yield f"unknown reasoning_effort {body['reasoning_effort']}"
        if self.flavour == "openai" and "thinking" in body:
            yield "Unrecognized request argument supplied: thinking"
        if body.get("thinking", {}).get("type", "enabled") not in {"enabled", "disabled"}:
            yield "thinking.type: unknown variant"

    def _error(self, refuse: Refuse) -> web.Response:
        self.statuses[refuse.status] += 1
        error = {"message": refuse.message, "type": "error", "param": None, "code": refuse.code}
        text = refuse.body if refuse.body is not None else json.dumps({"error": error})
        return web.Response(
            status=refuse.status, text=text, headers={"Content-Type": "application/json", **refuse.headers}
        )

    # ------------------------------------------------------------------ what is answered

    def _completion(self, body: dict[str, Any], answer: Answer) -> dict[str, Any]:
        thinks = body.get("thinking", {}).get("type") != "disabled"
        reasoning = answer.reasoning if thinks else ""
        text, finish = answer.text, answer.finish
        limit = body.get("max_tokens", body.get("max_completion_tokens", 393_216))
        room = max(limit - _tokens(reasoning), 0)
        if _tokens(text or "") > room:
            text, finish = (text or "")[: room * 4], "length"
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if reasoning and self.flavour == "deepseek":
            message["reasoning_content"] = reasoning
        reply: dict[str, Any] = {
            "id": f"chatcmpl-{len(self.bill)}",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": body["model"],
            "choices": [
                {"index": 0, "message": message | dict(answer.message), "logprobs": None, "finish_reason": finish}
            ],
            "system_fingerprint": "fp_1",
        }
        if answer.usage == "counted":
            reply["usage"] = self._usage(body, text or "", reasoning)
        elif answer.usage != "none":
            reply["usage"] = dict(answer.usage)
        return reply

    def _usage(self, body: dict[str, Any], text: str, reasoning: str) -> dict[str, Any]:
        messages = body["messages"]
        prompt = sum(_tokens(message["content"]) + 4 for message in messages)
        cached = 0
        if len(messages) > 1:  # the part that many requests share
            prefix = body["model"] + messages[0]["content"]
            if prefix in self._seen_prefixes:
                cached = _tokens(messages[0]["content"]) // CACHE_UNIT * CACHE_UNIT
            self._seen_prefixes.add(prefix)
        out = _tokens(text) + _tokens(reasoning)
        usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": out, "total_tokens": prompt + out}
        usage["completion_tokens_details"] = {"reasoning_tokens": _tokens(reasoning)}
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
        if self.flavour == "deepseek":
            usage |= {"prompt_cache_hit_tokens": cached, "prompt_cache_miss_tokens": prompt - cached}
        return usage

    def _book(self, name: str, reply: Mapping[str, Any], *, delivered: bool) -> None:
        self.bill.append(Billed(digest=name, model=reply["model"], usage=reply.get("usage", {}), delivered=delivered))


def _wrong(body: dict[str, Any]) -> Iterator[str]:
    """What no server of this protocol takes."""
    if not isinstance(body.get("model"), str):
        yield "you must provide a model parameter"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        yield "messages: expected a list that is not empty"
    elif any(m.get("role") not in _ROLES or not isinstance(m.get("content"), str) for m in messages):
        yield "messages: role or content is not valid"
    if body.get("stream"):
        yield "this server does not stream"


def _in_turn(answers: Sequence[str | Answer | Refuse | Break]) -> Script:
    rest = iter(answers)

    def script(_body: dict[str, Any], _nth: int) -> str | Answer | Refuse | Break:
        with contextlib.suppress(StopIteration):
            return next(rest)
        return Refuse(500, "the script has no more answers")

    return script


def _tokens(text: str) -> int:
    return (len(text.encode()) + 3) // 4
