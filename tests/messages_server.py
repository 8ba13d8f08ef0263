"""A server on loopback that speaks Anthropic's Messages, count_tokens and Message Batches APIs.

It refuses what the real one refuses (sampling parameters, forced tools, prefill, thinking that a model does not know, open
schemas, unknown and retired models), caches long prefixes, and keeps a bill. The official SDK is its judge, in
test_anthropic_provider.py.
"""

import asyncio
import itertools
import json
import re
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import attrs
from aiohttp import web

KEY = "sk-ant-test-6f1d"

# What each model's field "thinking" may be; all from 5 on think where it is left out.
THINKING = {
    "claude-opus-5-5": {"adaptive"},
    "claude-sonnet-5-5": {"adaptive", "between_tools"},
    "claude-haiku-5-5": {"adaptive", "disabled"},
    "claude-sonnet-4-6": {"adaptive", "enabled", "disabled"},
    "claude-haiku-4-5": {"enabled", "disabled"},
    "claude-haiku-4-5-20251001": {"enabled", "disabled"},
}
_FIELDS = {"model", "max_tokens", "messages", "system", "thinking", "output_config", "metadata", "stop_sequences"}
_FIELDS |= {"cache_control", "service_tier", "tools", "tool_choice", "stream"}
_VERSIONS = {"2023-06-01", "2026-10-21"}
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "overloaded_error": 529,
}


@attrs.frozen(kw_only=True)
class Said:
    """What the model says: all of a message that a test wants to be special."""

    text: str = ""
    thinking: str = ""
    stop_reason: str = "end_turn"
    content: list[dict[str, Any]] | None = None


@attrs.frozen
class Failed(Exception):  # noqa: N818 - what the model may do besides `Said`
    """An error, as the reply to a request or as the result of one in a batch; ``kind="expired"`` is for batches."""

    kind: str
    message: str = "so it is"
    code: str = ""
    headers: dict[str, str] = attrs.field(factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {"type": self.kind, "message": self.message}
        if self.code:
            error["details"] = {"error_code": self.code}
        return {"type": "error", "error": error, "request_id": "req_test"}


CUT = "cut"
"""A fault: the request is served, and the connection cut before a byte of the answer is sent."""
HALF = "half"
"""A fault: the connection is cut in the middle of the answer."""


@attrs.define
class Batch:
    """A batch as the server keeps it."""

    id: str
    requests: list[dict[str, Any]]
    created: datetime
    ends: datetime | None
    """None: when a test says so."""
    results: list[dict[str, Any]] | None = None
    canceled: datetime | None = None


class MessagesServer:
    """``with MessagesServer(answer) as server:`` serves at ``server.url`` from a thread of its own.

    Args:
        answer: What the model says to the body of a request; text stands for ``Said(text=...)``. An exception `Failed` that
            it raises is the reply.
        batch_s: Seconds until a batch ends; None: when `end` is called.
        max_requests: Of one batch.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], str | Said] = lambda _: '{"ok": true}',
        *,
        batch_s: float | None = 0.0,
        max_requests: int = 100_000,
        max_bytes: int = 256_000_000,
    ) -> None:
        self.answer = answer
        self.batch_s = batch_s
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.faults: deque[Failed | str] = deque()  # str: `CUT`
        """For the next POSTs, one each."""
        self.looking_faults: deque[Failed | str] = deque()
        """For the next GETs, one each; those for results have their own."""
        self.results_faults: deque[Failed | str] = deque()
        self.headers: dict[str, str] = {}
        """Of every reply."""
        self.bodies: list[dict[str, Any]] = []
        """Of all requests for messages that were not refused at the door."""
        self.seen: list[tuple[str, str]] = []
        """Method and path of all requests."""
        self.bill: list[dict[str, Any]] = []
        """Usage of all that was served: with its model, and its custom_id where it was in a batch."""
        self.batches: dict[str, Batch] = {}
        self._cached: set[tuple[str, str]] = set()
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()

        async def start() -> None:
            app = web.Application(client_max_size=512_000_000, middlewares=[self._door])
            app.router.add_post("/v1/messages", self._create)
            app.router.add_post("/v1/messages/count_tokens", self._count)
            app.router.add_post("/v1/messages/batches", self._create_batch)
            app.router.add_get("/v1/messages/batches", self._list_batches)
            app.router.add_get("/v1/messages/batches/{id}", self._get_batch)
            app.router.add_get("/v1/messages/batches/{id}/results", self._get_results)
            app.router.add_post("/v1/messages/batches/{id}/cancel", self._cancel_batch)
            self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await self._runner.setup()
            await web.TCPSite(self._runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
            started.set()

        self._loop.create_task(start())
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def end(self, number: int = -1) -> None:
        """End a batch now: the last one, or the one with this index."""
        list(self.batches.values())[number].ends = datetime.now(UTC)

    def billed(self, custom_id: str) -> int:
        """How often a request was paid for in batches."""
        return sum(entry["custom_id"] == custom_id for entry in self.bill)

    @web.middleware
    async def _door(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.seen.append((request.method, request.path))
        headers = {"request-id": f"req_{next(self._numbers)}", **self.headers}
        try:
            fault = self._admit(request)
            response = await handler(request)
            if fault == CUT:
                assert request.transport is not None
                request.transport.abort()
            response.headers.update(headers)
            if fault == HALF:
                return await _half(request, response)
        except Failed as failed:
            headers |= failed.headers
            return web.json_response(failed.body, status=_STATUS[failed.kind], headers=headers)
        return response

    def _admit(self, request: web.Request) -> str:
        """Refuse what is refused for any body, and what a test wants refused; the fault that is left is returned."""
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if (request.headers.get("x-api-key") or bearer) != KEY:
            raise Failed("authentication_error", "invalid x-api-key")
        if request.headers.get("anthropic-version") not in _VERSIONS:
            raise Failed("invalid_request_error", "anthropic-version: a valid version is required")
        faults = self.looking_faults
        if request.method == "POST":
            faults = self.faults
        elif request.path.endswith("/results"):
            faults = self.results_faults
        fault = faults.popleft() if faults else ""
        if isinstance(fault, Failed):
            raise fault
        return fault

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        return web.json_response(self._message(body))

    def _message(self, body: dict[str, Any], custom_id: str = "") -> dict[str, Any]:
        _validate(body)
        if custom_id and body.get("stream"):
            raise Failed("invalid_request_error", "stream: not supported in a batch")
        said = self.answer(body)
        if isinstance(said, str):
            said = Said(text=said)
        turned_down = body.get("thinking", {}).get("type") in {"disabled", "between_tools"}
        thinks = not turned_down and (_by_default(body["model"]) or "thinking" in body)
        content = said.content
        if content is None:
            content = [{"type": "text", "text": said.text}]
            if thinks:
                content = [{"type": "thinking", "thinking": said.thinking, "signature": "c2ln"}, *content]
        return {
            "id": f"msg_{next(self._numbers)}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": content,
            "stop_reason": said.stop_reason,
            "stop_sequence": None,
            "usage": self._usage(body, said.text, 200 if thinks else 0, custom_id),
        }

    def _usage(self, body: dict[str, Any], text: str, thought: int, custom_id: str) -> dict[str, Any]:
        prefix = ""
        for block in body.get("system", []) if isinstance(body.get("system"), list) else []:
            prefix = prefix + block["text"] if "cache_control" in block else prefix
        cached = len(prefix.encode()) // 4
        cached = cached if cached >= 512 else 0
        known = (body["model"], prefix) in self._cached
        if cached:
            self._cached.add((body["model"], prefix))
        usage = {
            "input_tokens": tokens_of(body) - cached,
            "cache_creation_input_tokens": 0 if known else cached,
            "cache_read_input_tokens": cached if known else 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0 if known else cached, "ephemeral_1h_input_tokens": 0},
            "output_tokens": -(-len(text.encode()) // 4) + thought,
            "output_tokens_details": {"thinking_tokens": thought},
            "service_tier": "batch" if custom_id else "standard",
        }
        self.bill.append({"model": body["model"], "custom_id": custom_id, **usage})
        return usage

    async def _count(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["model"] not in THINKING:
            raise Failed("not_found_error", f"model: {body['model']}")
        return web.json_response({"input_tokens": tokens_of(body)})

    async def _create_batch(self, request: web.Request) -> web.Response:
        data = await request.read()
        requests = json.loads(data)["requests"]
        if len(data) > self.max_bytes:
            raise Failed("request_too_large", "Request exceeds the maximum size")
        if not 1 <= len(requests) <= self.max_requests:
            raise Failed("invalid_request_error", f"requests: from 1 to {self.max_requests} items")
        ids = [one["custom_id"] for one in requests]
        if len(set(ids)) < len(ids):
            raise Failed("invalid_request_error", "requests: custom_id must be unique")
        if bad := [one for one in ids if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one)]:
            raise Failed("invalid_request_error", f"requests: custom_id {bad[0]!r} does not match")
        now = datetime.now(UTC)
        ends = None if self.batch_s is None else now + timedelta(seconds=self.batch_s)
        batch = Batch(f"msgbatch_{next(self._numbers):06}", requests, now, ends)
        self.batches[batch.id] = batch
        return web.json_response(self._shown(batch))

    def _shown(self, batch: Batch) -> dict[str, Any]:
        if batch.results is None and batch.ends is not None and datetime.now(UTC) >= batch.ends:
            batch.results = [self._result(batch, one) for one in batch.requests]
            # In no order that a client could have hoped for.
            batch.results.sort(key=lambda line: line["custom_id"][::-1])
        kinds = [line["result"]["type"] for line in batch.results or []]
        counts = {kind: kinds.count(kind) for kind in ("succeeded", "errored", "canceled", "expired")}
        ended = batch.results is not None
        status = "ended" if ended else "canceling" if batch.canceled else "in_progress"
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": {"processing": 0 if ended else len(batch.requests), **counts},
            "created_at": batch.created.isoformat(),
            "expires_at": (batch.created + timedelta(hours=24)).isoformat(),
            "ended_at": batch.ends.isoformat() if ended and batch.ends else None,
            "archived_at": None,
            "cancel_initiated_at": batch.canceled.isoformat() if batch.canceled else None,
            "results_url": f"{self.url}/v1/messages/batches/{batch.id}/results" if ended else None,
        }

    def _result(self, batch: Batch, one: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any]
        if batch.canceled:
            result = {"type": "canceled"}
        else:
            try:
                result = {"type": "succeeded", "message": self._message(one["params"], one["custom_id"])}
            except Failed as failed:
                result = {"type": "errored", "error": failed.body}
                if failed.kind == "expired":
                    result = {"type": "expired"}
        return {"custom_id": one["custom_id"], "result": result}

    def _find(self, request: web.Request) -> Batch:
        if request.match_info["id"] not in self.batches:
            raise Failed("not_found_error", f"no batch {request.match_info['id']}")
        return self.batches[request.match_info["id"]]

    async def _get_batch(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self._find(request)))

    async def _get_results(self, request: web.Request) -> web.Response:
        batch = self._find(request)
        self._shown(batch)
        if batch.results is None:
            raise Failed("invalid_request_error", "the batch has not ended: it has no results yet")
        text = "".join(json.dumps(line) + "\n" for line in batch.results)
        return web.Response(text=text, content_type="application/x-jsonl")

    async def _cancel_batch(self, request: web.Request) -> web.Response:
        batch = self._find(request)
        if batch.results is None:
            batch.canceled = batch.ends = datetime.now(UTC)
            return web.json_response(self._shown(batch) | {"processing_status": "canceling"})
        return web.json_response(self._shown(batch))

    async def _list_batches(self, request: web.Request) -> web.Response:
        limit = int(request.query.get("limit", 20))
        if not 1 <= limit <= 1000:
            raise Failed("invalid_request_error", "limit: from 1 to 1000")
        newest_first = list(self.batches.values())[::-1]
        if after := request.query.get("after_id"):
            newest_first = newest_first[[batch.id for batch in newest_first].index(after) + 1 :]
        page = [self._shown(batch) for batch in newest_first[:limit]]
        return web.json_response(
            {
                "data": page,
                "has_more": len(newest_first) > limit,
                "first_id": page[0]["id"] if page else None,
                "last_id": page[-1]["id"] if page else None,
            }
        )


async def _half(request: web.Request, response: web.Response) -> web.StreamResponse:
    """Half of *response*, and the end of the connection."""
    assert isinstance(response.body, bytes)
    cut = web.StreamResponse(headers=response.headers)
    cut.content_length = len(response.body)
    await cut.prepare(request)
    await cut.write(response.body[: len(response.body) // 2])
    assert request.transport is not None
    request.transport.close()
    return cut


def _by_default(model: str) -> bool:
    """Whether a model thinks unless it is told otherwise."""
    return "adaptive" in THINKING[model] and "enabled" not in THINKING[model]


def tokens_of(body: dict[str, Any]) -> int:
    """Input tokens of a request: a quarter of its bytes."""
    system = body.get("system", "")
    if isinstance(system, list):
        system = "".join(block["text"] for block in system)
    text = system + "".join(
        part if isinstance(part, str) else part["text"]
        for message in body["messages"]
        for part in ([message["content"]] if isinstance(message["content"], str) else message["content"])
    )
    return -(-len(text.encode()) // 4)


def _validate(body: dict[str, Any]) -> None:
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            raise Failed("invalid_request_error", f"{name}: Field required")
    for name in sorted(body.keys() - _FIELDS):
        raise Failed("invalid_request_error", f"{name}: Extra inputs are not permitted")
    model = body["model"]
    if model not in THINKING:
        raise Failed("not_found_error", f"model: {model}")
    if not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1:
        raise Failed("invalid_request_error", "max_tokens: must be at least 1")
    if body.get("tool_choice", {}).get("type") in {"any", "tool"} and "-5-5" in model:
        raise Failed("invalid_request_error", "tool_choice forces tool use, which this model does not support")
    if not body["messages"] or body["messages"][-1]["role"] == "assistant":
        raise Failed("invalid_request_error", "the conversation must end with a user message")
    _validate_thinking(body)
    schema = body.get("output_config", {}).get("format", {}).get("schema")
    if schema is not None:
        validate_schema(schema)


def _validate_thinking(body: dict[str, Any]) -> None:
    model, effort = body["model"], body.get("output_config", {}).get("effort")
    kind = body.get("thinking", {}).get("type")
    if kind is not None and kind not in THINKING[model]:
        raise Failed("invalid_request_error", f"thinking.type: {kind!r} is not supported by {model}")
    if kind in {"disabled", "between_tools"} and effort in {"xhigh", "max"} and _by_default(model):
        raise Failed("invalid_request_error", f"thinking.type: {kind!r} needs an effort of 'high' or less")
    if kind == "enabled" and not 1024 <= body["thinking"].get("budget_tokens", 0) < body["max_tokens"]:
        raise Failed("invalid_request_error", "thinking.budget_tokens: from 1024 up to less than max_tokens")


def validate_schema(schema: dict[str, Any], path: str = "output_config.format.schema") -> None:
    """Objects are closed, and nothing limits a value's size."""
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise Failed("invalid_request_error", f"{path}: 'additionalProperties' must be explicitly set to false")
    known = {"type", "title", "description", "properties", "required", "additionalProperties", "items", "enum", "const"}
    known |= {"anyOf", "allOf", "$ref", "$defs", "format", "minItems"}
    if bad := sorted(schema.keys() - known):
        raise Failed("invalid_request_error", f"{path}: property {bad[0]!r} is not supported")
    if schema.get("minItems", 0) not in {0, 1}:
        raise Failed("invalid_request_error", f"{path}: minItems may be 0 or 1")
    for name, one in {**schema.get("properties", {}), **schema.get("$defs", {})}.items():
        validate_schema(one, f"{path}.{name}")
    for one in [*schema.get("anyOf", []), *schema.get("allOf", []), *([schema["items"]] if "items" in schema else [])]:
        validate_schema(one, path)
