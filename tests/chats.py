"""Requests and replies of the chat protocol, for tests."""

import asyncio
import json

from text2expert.exchange import Request
from text2expert.providers import http
from text2expert.providers.openai import OpenAI, read

KEY = "sk-0123456789abcdef-secret"
SCHEMA = {
    "type": "object",
    "properties": {"items": {"type": "array", "items": {"type": "string"}}},
    "required": ["items"],
    "additionalProperties": False,
}


def request(prompt="Answer in json: what is it?", **fields):
    fields = {"model": "deepseek-flash", "max_tokens": 1000, **fields}
    return Request(endpoint="http://x", dialect=OpenAI.dialect, prompt=prompt, **fields)


def ask(server, *, flavour="deepseek", key=KEY, deadline_s=5.0, idle_s=None, **fields):
    provider = OpenAI(server.url, key, flavour, deadline_s=deadline_s, idle_s=idle_s)
    return asyncio.run(provider.complete(request(**fields)))


def read_body(body, **more):
    """The completion in *body*."""
    text = body if isinstance(body, str) else json.dumps(body)
    return read(http.Reply(status=200, headers={}, text=text), at="http://x", **more)


def chat(message, *, finish="stop", **more):
    return {"model": "m", "choices": [{"message": message, "finish_reason": finish}], **more}
