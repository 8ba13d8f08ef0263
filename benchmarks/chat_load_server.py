"""A chat completions server for load tests, on loopback, of so little code that the clients are what is measured.

    python benchmarks/chat_load_server.py --port 8311

    POST /v1/chat/completions    one completion: a JSON list of five questions with answers
    POST /reset                  {"latency_s": 0.3, "faults": {"429": 0.1, ...}, "retry_after_s": 1, "seed": 0}; counts begin anew
    GET  /counts                 what arrived, what was answered, what a provider would have billed

Work is known by its marker, ``item-<digits>`` in the body; the last one counts. What happens to the n-th request for an item
is drawn from the seed, the item and n alone, so that every client meets the same faults:

    429         refused at once, with Retry-After
    500         fails after the latency
    reset       the connection is reset after the latency, the work being done, and billed
    truncated   status 200, finish_reason "length", JSON cut in the middle, billed
"""

import argparse
import asyncio
import collections
import contextlib
import hashlib
import json
import re
import socket
import struct
import time
from typing import Any

MARKER = re.compile(rb"item-(\d+)")
LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
ITEMS = 5
INPUT_TOKENS, OUTPUT_TOKENS = 220, 330
REFUSED_AFTER_S = 0.01
NO_LINGER = struct.pack("ii", 1, 0)
"""Closing such a socket sends a reset."""

ANSWER = json.dumps(
    [
        {
            "question": f"What is said of the point with number {n}, and under which condition does it hold?",
            "answer": f"Point {n} holds while the pressure stays within its limits; otherwise the line is closed first. "
            * 3,
        }
        for n in range(1, ITEMS + 1)
    ]
)


def answered(status: int, body: object, *headers: str) -> bytes:
    """An HTTP response."""
    data = json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} Status", "Content-Type: application/json", f"Content-Length: {len(data)}", *headers]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + data


def completion(text: str, finish: str) -> bytes:
    """A chat completion as a response."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish, "logprobs": None}
    total = INPUT_TOKENS + OUTPUT_TOKENS
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": total}
    return answered(
        200,
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "load",
            "choices": [choice],
            "usage": usage,
        },
    )


def failed(status: int, message: str, *headers: str) -> bytes:
    """An error as OpenAI's protocol has it."""
    return answered(status, {"error": {"message": message, "type": "error", "code": None}}, *headers)


WHOLE, CUT = completion(ANSWER, "stop"), completion(ANSWER[: len(ANSWER) // 2], "length")
MODELS = answered(
    200, {"object": "list", "data": [{"id": "load", "object": "model", "created": 1, "owned_by": "load"}]}
)


class Work:
    """The settings, and what has happened since they were made."""

    def __init__(
        self,
        latency_s: float = 0.3,
        faults: dict[str, float] | None = None,
        retry_after_s: float = 1,
        seed: int = 0,
    ) -> None:
        self.latency_s, self.faults, self.seed = latency_s, faults or {}, seed
        self.refusal = failed(429, "too many requests", f"Retry-After: {retry_after_s:g}")
        self.requests: collections.Counter[bytes] = collections.Counter()
        self.kinds: collections.Counter[str] = collections.Counter()
        self.whole: set[bytes] = set()
        self.under_way = self.most_under_way = 0
        self.began = self.ended = 0.0
        self.cpu_s = time.process_time()

    def draw(self, item: bytes) -> str:
        """What happens to the next request for *item*."""
        self.requests[item] += 1
        words = b"%d/%s/%d" % (self.seed, item, self.requests[item])
        dice = int.from_bytes(hashlib.sha256(words).digest()[:7], "big") / 2**56
        for kind, share in self.faults.items():
            dice -= share
            if dice < 0:
                return kind
        return "whole"

    def counts(self) -> dict[str, Any]:
        """What there is to know, as JSON."""
        billed = sum(self.kinds[kind] for kind in ("whole", "truncated", "reset"))
        return {
            "requests": self.requests.total(),
            "items": len(self.requests),
            "items_answered_whole": len(self.whole),
            "kinds": dict(self.kinds),
            "billed": billed,
            "most_under_way": self.most_under_way,
            "window_s": round(self.ended - self.began, 3),
            "server_cpu_s": round(time.process_time() - self.cpu_s, 3),
        }


class Connection(asyncio.Protocol):
    """One client's connection: requests one after another, bodies with a Content-Length."""

    work = Work()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.received = transport, bytearray()

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.received[:end])
            length = LENGTH.search(head)
            body_end = end + 4 + (int(length[1]) if length else 0)
            if len(self.received) < body_end:
                return
            body = bytes(self.received[end + 4 : body_end])
            del self.received[:body_end]
            self.route(head.split(b" ", 2)[1], body)

    def route(self, path: bytes, body: bytes) -> None:
        """Answer one request."""
        if path.endswith(b"/chat/completions"):
            self.chat(body)
        elif path == b"/reset":
            Connection.work = Work(**json.loads(body or b"{}"))
            self.transport.write(answered(200, {}))
        elif path == b"/counts":
            self.transport.write(answered(200, self.work.counts()))
        elif path.endswith(b"/models"):
            self.transport.write(MODELS)
        else:
            self.transport.write(failed(404, f"no {path.decode()} here"))

    def chat(self, body: bytes) -> None:
        """Take a request on, to be answered after the latency."""
        work = self.work
        marks = MARKER.findall(body)
        item = marks[-1] if marks else b"none"
        kind = work.draw(item)
        work.kinds[kind] += 1
        work.began = work.began or time.monotonic()
        work.under_way += 1
        work.most_under_way = max(work.most_under_way, work.under_way)
        delay = REFUSED_AFTER_S if kind == "429" else work.latency_s
        asyncio.get_running_loop().call_later(delay, self.answer, work, kind, item)

    def answer(self, work: Work, kind: str, item: bytes) -> None:
        """Do what was drawn."""
        work.under_way -= 1
        work.ended = time.monotonic()
        if self.transport.is_closing():
            return
        if kind == "whole":
            work.whole.add(item)
            self.transport.write(WHOLE)
        elif kind == "truncated":
            self.transport.write(CUT)
        elif kind == "429":
            self.transport.write(work.refusal)
        elif kind == "500":
            self.transport.write(failed(500, "something broke"))
        elif kind == "reset":
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            self.transport.abort()
        else:
            self.transport.write(failed(501, f"no fault is called {kind}"))


async def serve(port: int) -> None:
    """Serve until cancelled."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=4096)
    print("listening on", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: any that is free; it is printed")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args().port))
