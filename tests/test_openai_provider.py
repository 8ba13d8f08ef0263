"""The OpenAI-compatible provider against a local server, and that server against the official SDK."""

import asyncio
import contextlib
import json
import logging
import socket
import ssl
import subprocess
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import openai
import pytest
from chat_server import Answer, Break, ChatServer, Refuse, flaky
from hypothesis import given
from hypothesis import strategies as st

from text2expert.errors import (
    AnswerLost,
    AuthenticationFailed,
    InputError,
    OutOfBalance,
    ProviderError,
    ProviderUnavailable,
    Text2ExpertError,
)
from text2expert.exchange import Request, Usage
from text2expert.providers import http
from text2expert.providers.openai import OpenAI, read, refusal, wire_body

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


# ---------------------------------------------------------------------- the fake, judged by the official SDK


@pytest.fixture
def sdk():
    """Makes the official client for a server."""
    made = []

    def client(server, **options):
        made.append(openai.OpenAI(base_url=server.url, api_key=KEY, **{"max_retries": 0, **options}))
        return made[-1]

    yield client
    for one in made:
        one.close()


def sdk_ask(client, **fields):
    messages = [{"role": "system", "content": "Be brief. " * 100}, {"role": "user", "content": "json, please"}]
    return client.chat.completions.create(model="deepseek-flash", messages=messages, **fields)


def test_sdk_reads_answer_reasoning_and_usage(sdk):
    """Answer, reasoning and token counts of the local server mean to the official SDK what they mean to us."""
    with ChatServer([Answer("[]", reasoning="Let me see."), "[1]"], keys={KEY}) as server:
        first, second = sdk_ask(sdk(server)), sdk_ask(sdk(server))
    message = first.choices[0].message
    assert ("[]", "Let me see.", "stop") == (message.content, message.reasoning_content, first.choices[0].finish_reason)
    assert (0, 192) == (first.usage.prompt_cache_hit_tokens, second.usage.prompt_cache_hit_tokens)
    assert 192 == second.usage.prompt_tokens_details.cached_tokens
    assert second.usage.prompt_tokens == second.usage.prompt_cache_hit_tokens + second.usage.prompt_cache_miss_tokens
    assert 3 == first.usage.completion_tokens_details.reasoning_tokens
    assert [first.usage.completion_tokens, second.usage.completion_tokens] == [4, 1]
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens


def test_sdk_skips_keep_alive_lines(sdk):
    """Blank lines before the body are nothing to the official SDK."""
    with ChatServer([Answer("[]", keep_alive=3)]) as server:
        assert "[]" == sdk_ask(sdk(server)).choices[0].message.content


@pytest.mark.parametrize(
    ("refuse", "error"),
    [
        (Refuse(400, "bad"), openai.BadRequestError),
        (Refuse(402, "Insufficient Balance"), openai.APIStatusError),
        (Refuse(403, "no"), openai.PermissionDeniedError),
        (Refuse(422, "no"), openai.UnprocessableEntityError),
        (Refuse(429, "slow down"), openai.RateLimitError),
        (Refuse(503, "overloaded"), openai.InternalServerError),
        (Break("reset"), openai.APIConnectionError),
        (Break("cut"), openai.APIConnectionError),
        (Break("hang"), openai.APITimeoutError),
    ],
)
def test_sdk_knows_the_errors(sdk, refuse, error):
    """The official SDK classifies what the local server does wrong."""
    with ChatServer([refuse]) as server, pytest.raises(error) as caught:
        sdk_ask(sdk(server, timeout=0.5))
    if isinstance(refuse, Refuse):
        assert refuse.status == caught.value.status_code
        assert refuse.message == caught.value.body["message"]


def test_sdk_waits_as_the_429_says(sdk):
    """The official SDK retries after the seconds that the local server names."""
    script = [Refuse(429, "slow down", headers={"Retry-After": "0.7"}), "[]"]
    with ChatServer(script) as server:
        started = time.monotonic()
        assert "[]" == sdk_ask(sdk(server, max_retries=1)).choices[0].message.content
        assert time.monotonic() - started >= 0.7
        assert {429: 1, 200: 1} == server.statuses


def test_sdk_is_refused_without_the_key(sdk):
    """A wrong key is an authentication error, and nothing is billed."""
    with ChatServer(["[]"], keys={"another"}) as server:
        with pytest.raises(openai.AuthenticationError):
            sdk_ask(sdk(server))
        with pytest.raises(openai.AuthenticationError):
            sdk(server).models.list()
        assert [] == server.bill


def test_sdk_lists_models_and_sends_structured_output(sdk):
    """The other parts of the protocol that the local server has."""
    with ChatServer(["{}"], flavour="openai") as server:
        assert ["deepseek-flash", "deepseek-v4-pro"] == [model.id for model in sdk(server).models.list()]
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
        assert "{}" == sdk_ask(sdk(server), response_format=form).choices[0].message.content
        with pytest.raises(openai.BadRequestError, match="thinking"):
            sdk_ask(sdk(server), extra_body={"thinking": {"type": "enabled"}})


def test_sdk_sees_a_reply_cut_at_max_tokens(sdk):
    """The local server sends and bills no more than max_tokens."""
    with ChatServer(["x" * 400]) as server:
        reply = sdk_ask(sdk(server), max_tokens=10)
        assert ("length", 10) == (reply.choices[0].finish_reason, reply.usage.completion_tokens)


# ---------------------------------------------------------------------- answers


def test_answer_reasoning_usage_and_model():
    """A thinking model's trace is kept apart, and cached tokens are not counted twice."""
    system = "Reply in json. " * 40
    with ChatServer([Answer("[]", reasoning="Let me see."), "[1]"], keys={KEY}) as server:
        first = ask(server, system=system)
        second = ask(server, system=system)
        assert server.bill[1].usage["prompt_cache_hit_tokens"] == second.usage.cache_read_tokens == 128
    assert ("[]", "Let me see.", "stop", "deepseek-flash") == (first.text, first.reasoning, first.finish, first.model)
    prompt = 150 + 7 + 8
    assert Usage(input_tokens=prompt, output_tokens=4, reasoning_tokens=3) == first.usage
    assert Usage(input_tokens=prompt - 128, cache_read_tokens=128, output_tokens=1) == second.usage
    assert "[1]" == json.loads(second.raw)["choices"][0]["message"]["content"]


def test_keep_alive_lines_are_skipped():
    """Blank lines before the body mean nothing, however many there are."""
    with ChatServer([Answer("[]", keep_alive=20)]) as server:
        assert "[]" == ask(server, idle_s=0.3).text


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "refusal"),
        ("insufficient_system_resource", "interrupted"),
        ("tool_calls", "other"),
        (None, "other"),
        (["stop"], "other"),
    ],
)
def test_finish(theirs, ours):
    """Why it stopped, in our words."""
    assert ours == read_body(chat({"content": "x"}, finish=theirs)).finish


@pytest.mark.parametrize("content", [None, "   \n", ""])
def test_blank_content(content):
    """JSON mode that fails sends blanks, a filter sends null: both are completions without a text."""
    with ChatServer([Answer(content)]) as server:
        assert "" == ask(server).text.strip()


def test_refusal_field():
    """OpenAI's own refusals come beside the content."""
    completion = read_body(chat({"content": None, "refusal": "I cannot help with that."}))
    assert ("", "refusal") == (completion.text, completion.finish)


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ("<think>\nhm\n</think>\n\n[1]", "[1]", "hm"),
        ("\n<think></think>[1]", "[1]", ""),
        ("hm, so\n</think>\n[1]", "[1]", "hm, so"),
        ("<think>cut while think", "", "cut while think"),
        ("[1]", "[1]", ""),
        ('[{"quote": "the </think> tag"}]', '[{"quote": "the </think> tag"}]', ""),
        ('{"quote": "<think> and </think>"}', '{"quote": "<think> and </think>"}', ""),
    ],
)
def test_inline_thinking(content, text, reasoning):
    """Local models reason inside the answer."""
    completion = read_body(chat({"content": content}))
    assert (text, reasoning) == (completion.text, completion.reasoning)


def test_inline_tags_stay_where_reasoning_came_apart():
    """A server that parses reasoning itself leaves nothing of it in the answer."""
    completion = read_body(chat({"content": "a </think> b", "reasoning": "hm"}))
    assert ("a </think> b", "hm") == (completion.text, completion.reasoning)


def test_content_in_parts():
    """Mistral sends a list of parts."""
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "[1]"}]
    assert "[1]" == read_body(chat({"content": parts})).text


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        {"prompt_tokens": 5},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": "5", "completion_tokens": 1},
    ],
)
def test_usage_that_says_nothing(usage):
    """Without counts there is no usage, so that the whole hold is booked."""
    assert None is read_body(chat({"content": "x"}, usage=usage)).usage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 3}, Usage(input_tokens=9, output_tokens=3)),
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
            Usage(input_tokens=5, cache_read_tokens=4, output_tokens=3),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            },
            Usage(input_tokens=3, cache_read_tokens=4, cache_write_tokens=2, output_tokens=3),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 3,
                "total_tokens": 19,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            Usage(input_tokens=9, output_tokens=10, reasoning_tokens=7),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 3,
                "prompt_tokens_details": None,
                "completion_tokens_details": None,
            },
            Usage(input_tokens=9, output_tokens=3),
        ),
    ],
)
def test_usage(usage, expected):
    """Every way of counting ends in the same fields, and reasoning that is counted apart is not lost."""
    assert expected == read_body(chat({"content": "x"}, usage=usage)).usage


def test_rate_headers_ask_for_a_pause():
    """A used-up limit is told with the answer."""
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0.5s",
        "x-ratelimit-remaining-tokens": "9",
        "x-ratelimit-reset-tokens": "2h",
    }
    with ChatServer([Answer("[]", headers=headers), "[]"]) as server:
        assert [60.5, 0.0] == [ask(server).pause_s, ask(server).pause_s]


# ---------------------------------------------------------------------- what is sent


def test_body_of_each_flavour():
    """Nothing is sent that a server of that kind does not know."""
    asked = request("json?", system="s", schema=SCHEMA, thinking=False, effort="medium")
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "json?"}]
    common = {"model": "deepseek-flash", "messages": messages}
    form = {"type": "json_schema", "json_schema": {"name": "reply", "schema": SCHEMA}}
    assert wire_body(asked, "deepseek") == common | {
        "max_tokens": 1000,
        "response_format": {"type": "json_object"},
        "thinking": {"type": "disabled"},
    }
    assert wire_body(asked, "plain") == common | {
        "max_tokens": 1000,
        "response_format": form,
        "reasoning_effort": "medium",
    }
    form["json_schema"]["strict"] = True
    assert wire_body(asked, "openai") == common | {"max_completion_tokens": 1000, "response_format": form}


def test_least_body():
    """What nobody asked for is not sent: unknown fields are an error at some servers."""
    assert {"model", "messages", "max_tokens"} == set(wire_body(request(), "plain"))
    assert {"model", "messages", "max_tokens"} == set(wire_body(request(thinking=True), "plain"))


@pytest.mark.parametrize(
    ("model", "thinking", "effort", "sent"),
    [
        ("gpt-4.1", False, "low", None),
        ("gpt-4o-mini", True, None, None),
        ("gpt-5-chat-latest", False, None, None),
        ("gpt-5-mini", None, None, None),
        ("gpt-5-mini", False, None, "minimal"),
        ("gpt-5.1", False, None, "none"),
        ("gpt-5.4-mini", False, None, "none"),
        ("gpt-5.4", True, None, "medium"),
        ("gpt-5.4", None, "max", "xhigh"),
        ("gpt-5.2-pro", False, None, "low"),
        ("gpt-6-sol", False, None, "low"),
        ("o3", False, None, "low"),
        ("o4-mini", None, "max", "high"),
    ],
)
def test_reasoning_effort_at_openai(model, thinking, effort, sent):
    """Models that reason are told how much; others would refuse the field."""
    assert sent == wire_body(request(model=model, thinking=thinking, effort=effort), "openai").get("reasoning_effort")


@pytest.mark.parametrize(
    ("thinking", "effort", "sent"),
    [
        (None, None, {}),
        (True, "max", {"thinking": {"type": "enabled"}, "reasoning_effort": "max"}),
        (None, "medium", {"reasoning_effort": "high"}),
        (False, "high", {"thinking": {"type": "disabled"}}),
    ],
)
def test_thinking_at_deepseek(thinking, effort, sent):
    """DeepSeek has a switch and three steps."""
    body = wire_body(request(thinking=thinking, effort=effort), "deepseek")
    assert sent == {name: body[name] for name in ("thinking", "reasoning_effort") if name in body}


def test_json_mode_only_where_the_prompt_speaks_of_json():
    """Without the word DeepSeek writes blanks to the end of max_tokens."""
    assert "response_format" not in wire_body(request("hello", schema=SCHEMA), "deepseek")
    assert "response_format" in wire_body(request("hello", system="Write JSON.", schema=SCHEMA), "deepseek")


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (SCHEMA, True),
        ({"type": "array", "items": {"type": "string"}}, False),
        (SCHEMA | {"required": []}, False),
        ({key: value for key, value in SCHEMA.items() if key != "additionalProperties"}, False),
        (SCHEMA | {"properties": {"items": {"type": "array", "items": {"type": "object"}}}}, False),
        (SCHEMA | {"minProperties": 1}, False),
    ],
)
def test_strict_where_openai_can_hold_to_it(schema, strict):
    """A schema that strict mode refuses is sent as a wish."""
    assert strict is wire_body(request(schema=schema), "openai")["response_format"]["json_schema"]["strict"]


def test_extras_reach_the_wire():
    """Fields of one server alone come from the request."""
    extras = {"chat_template_kwargs": {"enable_thinking": False}, "temperature": 0.1}
    with ChatServer(["[]"]) as server:
        ask(server, extras=extras, flavour="plain")
        assert extras.items() <= server.received[0].body.items()


@pytest.mark.parametrize("name", ["n", "stream", "max_tokens", "messages", "service_tier", "web_search_options"])
def test_extras_that_no_budget_could_hold(name):
    """What changes the price, or the number of replies, is refused before anything is sent."""
    with ChatServer(["[]"]) as server, pytest.raises(InputError, match=name):
        ask(server, extras={name: 2})
    assert [] == server.received


def test_every_body_is_taken_by_its_server():
    """The local servers, which refuse what the real ones refuse, take what each flavour sends."""
    for flavour, model in (("deepseek", "deepseek-v4-pro"), ("openai", "gpt-5.4-mini")):
        for thinking in (None, True, False):
            for effort in (None, "low", "medium", "high", "max"):
                with ChatServer(["[]"], flavour=flavour) as server:
                    fields = {"schema": SCHEMA, "system": "json", "thinking": thinking, "effort": effort}
                    assert "[]" == ask(server, flavour=flavour, model=model, **fields).text


@given(st.text(max_size=50), st.characters(categories=["Cs"]))
def test_any_text_can_be_sent(text, surrogate):
    """A document may hold what JSON or UTF-8 cannot."""
    body = wire_body(request(text + surrogate), "plain")
    assert text + surrogate == body["messages"][0]["content"]


def test_surrogates_do_not_break_the_request():
    """They are no text to any server, and are sent as question marks."""
    with ChatServer(["[]"]) as server:
        ask(server, prompt="a\ud800é")
        assert "a?é" == server.received[0].body["messages"][0]["content"]


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("refuse", "error", "words"),
    [
        (Refuse(400, "Model Not Exist"), ProviderError, "Model Not Exist"),
        (
            Refuse(422, body='{"detail": "Unexpected fields in the request: {\'x\'}"}'),
            ProviderError,
            "Unexpected fields",
        ),
        (Refuse(422, body='{"detail": [{"loc": ["body"], "msg": "Field required"}]}'), ProviderError, "Field required"),
        (Refuse(404, body='{"error": "model \'x\' not found"}'), ProviderError, "model 'x' not found.*base_url"),
        (Refuse(404, body="404 page not found"), ProviderError, "404 page not found"),
        (
            Refuse(400, body="\x1b[31mred\x1b[0m\n\nalert" + "x" * 1000),
            ProviderError,
            r"\[31mred \[0m alertx{200,300}$",
        ),
        (Refuse(401, "no such key"), AuthenticationFailed, "pass api_key="),
        (Refuse(403, "Country not supported"), AuthenticationFailed, "Country not supported"),
        (Refuse(402, "Insufficient Balance"), OutOfBalance, "Insufficient Balance.*top it up"),
        (Refuse(429, "You exceeded your current quota", "insufficient_quota"), OutOfBalance, "quota"),
        (Refuse(400, "Billing hard limit has been reached", "billing_hard_limit_reached"), OutOfBalance, "limit"),
        (Refuse(408), ProviderUnavailable, "408"),
        (Refuse(500, body="<html><b>500</b></html>"), ProviderUnavailable, r"\(500\) cannot answer now$"),
        (Refuse(502), ProviderUnavailable, "502"),
        (Refuse(529), ProviderUnavailable, "529"),
        (Refuse(504), AnswerLost, "504"),
        (Refuse(524), AnswerLost, "524"),
    ],
)
def test_refusals(refuse, error, words):
    """Every status is the error that says what to do about it, in the server's own words."""
    with ChatServer([refuse]) as server, pytest.raises(error, match=words) as caught:
        ask(server)
    assert error is type(caught.value)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "Retry-After": "1"}, 0.25),
        ({}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0.0),
    ],
)
def test_retry_after(headers, seconds):
    """What the server asks to wait."""
    with ChatServer([Refuse(429, headers=headers)]) as server, pytest.raises(ProviderUnavailable) as caught:
        ask(server)
    assert (seconds, True) == (caught.value.retry_after, caught.value.overloaded)


def test_retry_after_a_date():
    """A date is turned into seconds from now."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 < http.retry_after_s({"retry-after": date}) <= 60


@pytest.mark.parametrize(("status", "overloaded"), [(429, True), (503, True), (529, True), (500, False), (502, False)])
def test_overloaded(status, overloaded):
    """Only these get better by asking less at a time."""
    error = refusal(http.Reply(status=status, headers={}, text=""), at="http://x")
    assert overloaded is error.overloaded


def test_lost_answers():
    """A request that went out and brought no whole answer is perhaps billed."""
    for how in ("reset", "cut", "hang"):
        with ChatServer([Break(how)]) as server, pytest.raises(AnswerLost, match="may have been served"):
            ask(server, deadline_s=0.5)
        assert [False] == [billed.delivered for billed in server.bill]


def test_deadline_holds_against_keep_alive_lines():
    """Blank lines keep the idle limit from passing for ever; the deadline stands."""
    with ChatServer([Break("trickle")]) as server:
        started = time.monotonic()
        with pytest.raises(AnswerLost, match="in time"):
            ask(server, deadline_s=0.6, idle_s=0.3)
        assert 0.5 < time.monotonic() - started < 3


def test_idle_limit():
    """Silence is noticed before the deadline."""
    with ChatServer([Break("hang")]) as server:
        started = time.monotonic()
        with pytest.raises(AnswerLost, match="nothing for too long"):
            ask(server, deadline_s=30, idle_s=0.3)
        assert time.monotonic() - started < 5


def test_held_and_given_up():
    """DeepSeek closes what it could not begin: nothing was billed, and less at a time would help."""
    with ChatServer([Break("gave up")]) as server:
        with pytest.raises(ProviderUnavailable, match="overloaded") as caught:
            ask(server)
        assert ([], True) == (server.bill, caught.value.overloaded)


def test_nobody_there():
    """Without a connection nothing was sent."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        provider = OpenAI(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(ProviderUnavailable, match=r"cannot connect to 127\.0\.0\.1"):
            asyncio.run(provider.complete(request()))


def test_unknown_host(monkeypatch):
    """A name that does not resolve is no connection either."""

    def nothing(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    with pytest.raises(ProviderUnavailable, match=r"cannot connect to nowhere\.invalid: Name or service"):
        asyncio.run(OpenAI("https://nowhere.invalid/v1", KEY).complete(request()))


def test_a_server_that_does_not_finish_the_handshake(monkeypatch):
    """Connecting has a limit of its own, and nothing was sent by then."""
    monkeypatch.setattr(http, "CONNECT_S", 0.3)
    http._limits.cache_clear()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        provider = OpenAI(f"https://127.0.0.1:{silent.getsockname()[1]}", KEY)
        with pytest.raises(ProviderUnavailable, match="cannot connect"):
            asyncio.run(provider.complete(request()))
    http._limits.cache_clear()


def test_https_at_a_server_without_it():
    """Nothing of the request leaves before the connection is secure."""
    with ChatServer(["[]"]) as server:
        with pytest.raises(ProviderUnavailable, match=r"(?i)ssl|tls"):
            asyncio.run(OpenAI(server.url.replace("http:", "https:"), KEY).complete(request()))
        assert [] == server.received


def test_a_certificate_of_nobody(tmp_path):
    """An impostor gets no request, and asking again would not help."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost".split()
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    seen = []

    async def meet():
        async def answer(reader, writer):
            seen.append(await reader.read())
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await OpenAI(f"https://127.0.0.1:{port}/v1", KEY).complete(request())

    with pytest.raises(ProviderError, match=r"certificate of 127\.0\.0\.1:\d+ is not valid.*self.signed"):
        asyncio.run(meet())
    assert [] == seen


def test_errors_in_a_body_that_began_well():
    """Status 200 was sent to keep the connection alive; the error is in the body."""
    for body, error in (
        ({"error": {"message": "overloaded", "code": 503}}, ProviderUnavailable),
        ({"error": {"message": "server error", "code": "internal"}}, ProviderUnavailable),
        ({"error": {"message": "Insufficient Balance", "code": 402}}, OutOfBalance),
        ({"error": {"message": "bad", "code": 400}}, ProviderError),
    ):
        with pytest.raises(error) as caught:
            read_body(body)
        assert error is type(caught.value)


@pytest.mark.parametrize("body", ["{", '{"choices": null}', "[]", "null", "true", '"x"', "[" * 100_000, '{"id": "x"}'])
def test_bodies_that_are_no_completion(body):
    """They were answered, so they are perhaps billed."""
    with pytest.raises(AnswerLost):
        read_body(body)


def test_web_page():
    """A wrong address often answers with a page."""
    with pytest.raises(ProviderError, match="base_url"):
        read_body("<!doctype html><title>Welcome</title>")


@pytest.mark.parametrize("choices", [[], [None], [{}], [{"message": None}], [{"message": {"content": 5}}]])
def test_strange_completions(choices):
    """They are completions that say nothing, not crashes."""
    completion = read_body({"choices": choices, "usage": {"prompt_tokens": 3, "completion_tokens": 0}})
    assert ("", "other", 3) == (completion.text, completion.finish, completion.usage.input_tokens)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["choices", "message", "content", "error", "code", "usage", "prompt_tokens", "type", "text",
                         "completion_tokens", "finish_reason", "detail", "msg", "reasoning_content"]), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@given(json_values)
def test_no_body_crashes(body):
    """Whatever JSON comes, with whatever status: it is a completion or one of our errors."""
    text = json.dumps(body)
    expected = (AnswerLost, ProviderError, ProviderUnavailable)
    with contextlib.suppress(*expected):
        assert isinstance(read_body(text).text, str)
    assert isinstance(refusal(http.Reply(status=400, headers={}, text=text), at="http://x"), ProviderError)


# ---------------------------------------------------------------------- keys


def shown(error):
    """Everything that a log, a terminal or a crash report may show of *error*, with the variables of all frames but the test's."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    kept = [frame for frame in told.stack if not frame.filename.endswith((__file__, "chat_server.py"))]
    assert any("providers" in frame.filename for frame in kept)
    locals_of_ours = repr([frame.locals for frame in kept])
    plain = traceback.format_exception(error)
    return "".join([*plain, locals_of_ours, repr(error), str(error), repr(vars(error)), repr(error.__context__)])


@pytest.mark.parametrize(
    "what",
    [
        Refuse(400, f"you sent Bearer {KEY}"),
        Refuse(401),
        Refuse(403, f"{KEY} is not allowed here"),
        Refuse(402, f"{KEY} is empty"),
        Refuse(429, f"{KEY} is too fast"),
        Refuse(500, body=f"crashed with {KEY}"),
        Refuse(307, headers={"Location": f"http://127.0.0.1:1/?key={KEY}"}),
        Break("reset"),
        Break("cut"),
        Break("hang"),
        Break("gave up"),
        Answer("not a completion", message={"role": KEY}),
    ],
)
def test_keys_are_in_no_error_and_no_log(what, caplog):
    """Whatever goes wrong, with logging turned all the way up, and though the server repeats the key."""
    caplog.set_level(logging.DEBUG)
    for name in ("aiohttp", "aiohttp.client", "asyncio"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    with ChatServer([what]) as server:
        provider = OpenAI(server.url, KEY, "deepseek", deadline_s=0.5)
        try:
            seen = repr(asyncio.run(provider.complete(request()), debug=True).raw)
        except Text2ExpertError as error:
            seen = shown(error)
    assert f"Bearer {KEY}" == server.received[0].headers["Authorization"]
    assert "secret" not in seen
    assert "secret" not in caplog.text
    assert "secret" not in repr(provider) + str(provider) + repr(vars(provider))


def test_a_key_that_the_model_repeats_is_not_kept():
    """The raw reply goes into the ledger; a server that echoes the key into it finds it blotted out."""
    with ChatServer([Answer(f"the key is {KEY}", reasoning=KEY)], keys={KEY}) as server:
        completion = ask(server)
    assert "secret" not in completion.raw + completion.text + completion.reasoning


def test_a_wrong_key_is_not_repeated():
    """The server's own words for it hold the key, so they are not shown."""
    with ChatServer([], keys={"another"}) as server, pytest.raises(AuthenticationFailed) as caught:
        ask(server)
    assert "secret" not in shown(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status):
    """Where a redirect leads, no request and no key arrives."""
    with ChatServer(["[]", "[]"]) as elsewhere:
        redirect = Refuse(status, headers={"Location": f"{elsewhere.url}/chat/completions"})
        with ChatServer([redirect]) as server, pytest.raises(ProviderError, match="redirects"):
            ask(server)
        assert [] == elsewhere.received


def test_no_proxy_or_netrc_from_the_environment(monkeypatch, tmp_path):
    """Neither a proxy nor a password file of the environment sees or changes a request."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with ChatServer(["[]", "[]"]) as proxy, ChatServer(["[]", "[]"]) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        ask(server)
        ask(server, key=None)
        assert [] == proxy.received
        assert [f"Bearer {KEY}", None] == [one.headers.get("Authorization") for one in server.received]


def test_cookies_are_not_kept():
    """A session is shared by all keys, so nothing of one request may reach another."""
    with ChatServer([Answer("[]", headers={"Set-Cookie": "a=b"}), "[]"]) as server:

        async def twice():
            provider = OpenAI(server.url, KEY, "deepseek")
            return [await provider.complete(request()), await provider.complete(request())]

        asyncio.run(twice())
        assert "Cookie" not in server.received[1].headers


# ---------------------------------------------------------------------- loops, sessions, many at a time


def test_one_connection_is_reused_in_a_loop_and_none_outlives_it():
    """A loop has one session, which is closed when the loop ends."""

    async def twice(provider):
        await provider.complete(request())
        (held,) = [held for loop, held in http._sessions.items() if loop is asyncio.get_running_loop()]
        await provider.complete(request())
        return held.session

    with ChatServer(["[]"] * 4) as server:
        provider = OpenAI(server.url, KEY, "deepseek")
        before = set(http._sessions)
        one, other = asyncio.run(twice(provider)), asyncio.run(twice(provider))
        assert one is not other
        assert one.closed
        assert other.closed
        assert before == set(http._sessions)


def test_loops_of_several_threads():
    """Each thread's loop has a session of its own."""
    results = []
    with ChatServer(lambda _body, _nth: "[]") as server:
        threads = [threading.Thread(target=lambda: results.append(ask(server).text)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ["[]"] * 4 == results


def test_many_at_a_time_under_faults():
    """Every request ends as an answer or as the error of its fault, and the bill agrees."""
    rates = {"429": 0.1, "500": 0.05, "reset": 0.05, "cut": 0.05, "truncated": 0.05}
    with ChatServer(flaky(lambda _body, _nth: json.dumps(["item"] * 20), rates), latency_s=0.02) as server:
        provider = OpenAI(server.url, KEY, "deepseek", deadline_s=30)

        async def many():
            jobs = [provider.complete(request(f"json {i}")) for i in range(300)]
            return await asyncio.gather(*jobs, return_exceptions=True)

        results = asyncio.run(many())
        lost = [result for result in results if isinstance(result, AnswerLost)]
        refused = [result for result in results if isinstance(result, ProviderUnavailable)]
        answered = [result for result in results if not isinstance(result, Exception)]
        assert 300 == len(lost) + len(refused) + len(answered)
        assert min(len(lost), len(refused)) > 5
        assert len(answered) == len(server.delivered)
        assert len(lost) == len(server.bill) - len(server.delivered)
        assert sum(one.usage.output_tokens for one in answered) == sum(
            one.usage["completion_tokens"] for one in server.delivered
        )
        assert server.peak > 50
