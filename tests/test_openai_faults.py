"""The OpenAI-compatible provider when things go wrong, and where its keys are then."""

import asyncio
import contextlib
import json
import logging
import socket
import ssl
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme
from chat_server import Answer, Break, ChatServer, Refuse
from chats import KEY, ask, read_body, request
from hypothesis import given
from hypothesis import strategies as st

from text2expert.errors import (
    AnswerLost,
    AuthenticationFailed,
    OutOfBalance,
    ProviderError,
    ProviderUnavailable,
    Text2ExpertError,
)
from text2expert.providers import http
from text2expert.providers.openai import OpenAI, refusal

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


def test_a_server_that_answered_once_is_not_one_that_was_never_there():
    """Only of the second is it likely that nobody has started it."""
    with ChatServer(["[]"]) as server:
        ask(server)
    with pytest.raises(ProviderUnavailable, match="connection refused") as gone:
        asyncio.run(OpenAI(server.url).complete(request()))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = OpenAI(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(ProviderUnavailable, match="connection refused") as never:
            asyncio.run(nowhere.complete(request()))
    assert (False, True) == (gone.value.unreached, never.value.unreached)


def test_unknown_host(monkeypatch):
    """A name that does not resolve is no connection either."""

    def nothing(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    with pytest.raises(ProviderUnavailable, match=r"cannot connect to nowhere\.invalid: (Name or service|Domain name)"):
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


def test_a_certificate_of_nobody():
    """An impostor gets no request, and asking again would not help."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost", "127.0.0.1").configure_cert(context)
    seen = []

    async def meet():
        async def answer(reader, writer):
            seen.append(await reader.read())
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await OpenAI(f"https://127.0.0.1:{port}/v1", KEY).complete(request())

    with pytest.raises(
        ProviderError, match=r"certificate of 127\.0\.0\.1:\d+ is not valid.*(?:self.signed|local issuer)"
    ):
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
    """Everything that a log, a terminal or a crash report may show of *error*, with the variables of all frames but the tests'."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    kept = [frame for frame in told.stack if Path(frame.filename).parent != Path(__file__).parent]
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
            named = server.url.replace("127.0.0.1", "localhost")  # cookies are kept for names alone
            provider = OpenAI(named, KEY, "deepseek")
            return [await provider.complete(request()), await provider.complete(request())]

        asyncio.run(twice())
        assert "Cookie" not in server.received[1].headers
