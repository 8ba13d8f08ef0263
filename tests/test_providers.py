"""How providers are named, which key goes where, and the HTTP client that they share."""

import asyncio
import contextlib
import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
from chat_server import Break, ChatServer
from hypothesis import given
from hypothesis import strategies as st

from text2expert import providers
from text2expert.errors import (
    AnswerLost,
    AuthenticationFailed,
    InputError,
    ProviderError,
    ProviderUnavailable,
    Text2ExpertError,
)
from text2expert.exchange import Request
from text2expert.providers import http, resolve
from text2expert.providers.anthropic import Anthropic
from text2expert.providers.openai import OpenAI

KEY = "sk-open-0123456789"
VARIABLES = ("ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY", "OPENAI_API_KEY")
HOMES = {
    "anthropic/claude-sonnet-5-5": "https://api.anthropic.com",
    "deepseek/deepseek-flash": "https://api.deepseek.com",
    "openai/gpt-5.4-mini": "https://api.openai.com/v1",
}


@pytest.fixture
def keys(monkeypatch):
    """A key of each provider in the environment."""
    for name in VARIABLES:
        monkeypatch.setenv(name, f"key-of-{name[:-8].lower()}")


def sent(name, **options):
    """What a server receives from the provider that *name* stands for, whatever becomes of it."""
    with ChatServer(lambda _body, _nth: "[]") as server:
        provider, model = resolve(
            name.replace("SERVER", server.url), **{k: server.url if v == "SERVER" else v for k, v in options.items()}
        )
        request = Request(endpoint="", dialect="", model=model, prompt="json", max_tokens=10)
        with contextlib.suppress(ProviderError):
            asyncio.run(provider.complete(request))
        return server.received[0]


def carried(received):
    """The key that came with a request."""
    return received.headers.get("x-api-key") or received.headers.get("Authorization")


# ---------------------------------------------------------------------- names


@pytest.mark.parametrize(("name", "endpoint"), HOMES.items())
def test_built_in_names(name, endpoint):
    """Provider and model, at the provider's own address."""
    provider, model = resolve(name)
    assert (endpoint.removesuffix("/v1"), name.partition("/")[2]) == (provider.endpoint.removesuffix("/v1"), model)


@pytest.mark.parametrize(
    ("name", "base_url", "endpoint", "flavour", "model"),
    [
        ("http://localhost:8000/v1#my-model", None, "http://localhost:8000/v1", "plain", "my-model"),
        ("http://localhost:8000/v1/#a/b#c", None, "http://localhost:8000/v1", "plain", "a/b#c"),
        ("https://api.deepseek.com#deepseek-flash", None, "https://api.deepseek.com", "deepseek", "deepseek-flash"),
        ("https://gpu:8000/v1/chat/completions#m", None, "https://gpu:8000/v1", "plain", "m"),
        ("my-model", "http://localhost:8000/v1", "http://localhost:8000/v1", "plain", "my-model"),
        ("Qwen/Qwen3-8B", "http://localhost:8000/v1", "http://localhost:8000/v1", "plain", "Qwen/Qwen3-8B"),
        ("deepseek/deepseek-flash", "http://proxy/v1", "http://proxy/v1", "deepseek", "deepseek-flash"),
        ("deepseek-flash", "https://api.deepseek.com/v1", "https://api.deepseek.com/v1", "deepseek", "deepseek-flash"),
        ("openai/gpt-5.4", "https://proxy/openai", "https://proxy/openai", "openai", "gpt-5.4"),
    ],
)
def test_names_of_servers(name, base_url, endpoint, flavour, model):
    """An address in the name, or beside it."""
    provider, found = resolve(name, base_url=base_url)
    assert (endpoint, flavour, model) == (provider.endpoint, provider.flavour, found)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("claude-sonnet-5-5", "did you mean 'anthropic/claude-sonnet-5-5'"),
        ("gpt-5.4", "did you mean 'openai/gpt-5.4'"),
        ("DeepSeek-R1", "did you mean 'deepseek/DeepSeek-R1'"),
        ("nobody/model", "'deepseek/deepseek-flash'.*entry points"),
        ("deepseek/", "'deepseek/deepseek-flash'"),
        ("", "'deepseek/deepseek-flash'"),
        ("http://localhost:8000/v1", "no model"),
        ("http://localhost:8000/v1#", "no model"),
        ("http://localhost:8000/v1# ", "no model"),
        ("http://#model", "address of a server"),
        ("https://localhost:99999/v1#model", "address of a server"),
        ("http://[::1/v1#model", "address of a server"),
    ],
)
def test_names_of_nothing(name, words):
    """Each says how to write what was meant."""
    with pytest.raises(InputError, match=words):
        resolve(name)


@pytest.mark.parametrize(
    "base_url", ["localhost:8000/v1", "ftp://x/v1", "http://a b/v1", "", "http://x:0/v1", "file:///etc/passwd"]
)
def test_base_urls_that_are_none(base_url):
    """The address is refused before anything is sent."""
    with pytest.raises(InputError, match="base_url"):
        resolve("my-model", base_url=base_url)


@pytest.mark.parametrize(
    "base_url",
    ["https://user:secret@host/v1", "https://secret@host/v1", "https://host/v1?key=secret", "https://host/v1#secret"],
)
def test_base_urls_that_may_hold_a_key(base_url):
    """They are refused and not repeated."""
    with pytest.raises(InputError, match="api_key=") as caught:
        resolve("my-model", base_url=base_url)
    assert "secret" not in str(caught.value)


def test_an_address_twice():
    """Two addresses cannot both be right."""
    with pytest.raises(InputError, match="leave out base_url"):
        resolve("http://localhost:8000/v1#m", base_url="http://localhost:8000/v1")


def test_provider_of_another_package(tmp_path, monkeypatch):
    """An entry point is found by its name, and gets what the user gave."""
    package = tmp_path / "acme_models-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-models\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[{providers.GROUP}]\nacme = acme_models:make\n")
    (tmp_path / "acme_models.py").write_text("def make(base_url, api_key):\n    return ('acme', base_url, api_key)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert (("acme", None, None), "small/1") == resolve("acme/small/1")
    assert (("acme", "http://x", "k"), "small") == resolve("acme/small", base_url="http://x", api_key="k")
    with pytest.raises(InputError, match="names no provider"):
        resolve("acme")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("deepseek", "'deepseek/deepseek-flash'"),
        ("claude", "'anthropic/claude-sonnet-5-5'"),
        ("claude-haiku-5-5", "'anthropic/claude-haiku-5-5'"),
    ],
)
def test_what_is_suggested_is_a_model(name, meant):
    with pytest.raises(InputError, match=f"did you mean {meant}"):
        resolve(name)


def test_a_built_in_name_loads_no_entry_points(monkeypatch):
    """They are read on a miss alone: another package can neither slow down nor replace what is built in."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: pytest.fail("was read"))
    assert "deepseek-flash" == resolve("deepseek/deepseek-flash").model


def test_names_load_no_http_client_before_they_are_used():
    """Importing the package, or this part of it, does not load aiohttp."""
    code = "import sys, text2expert.providers; from text2expert import Pipeline; print('aiohttp' in sys.modules)"
    assert (
        "False"
        == subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    )


# ---------------------------------------------------------------------- keys


@pytest.mark.parametrize("name", HOMES)
@pytest.mark.usefixtures("keys")
def test_key_of_the_environment_at_home(name):
    """Each provider takes its own key."""
    resolve(name).provider.check()


@pytest.mark.parametrize("name", HOMES)
@pytest.mark.parametrize("base_url", [None, "https://proxy.example/v1"])
def test_no_key(name, base_url, monkeypatch):
    """What is missing is said before any work, with the variable to set where one would help."""
    variable = f"{name.partition('/')[0].upper()}_API_KEY"
    if base_url:
        monkeypatch.setenv(variable, "k")
    provider = resolve(name, base_url=base_url).provider
    with pytest.raises(AuthenticationFailed, match="pass api_key=" if base_url else variable):
        provider.check()
    with pytest.raises(AuthenticationFailed):
        asyncio.run(provider.complete(Request(endpoint="", dialect="", model="m", prompt="p", max_tokens=1)))


@pytest.mark.parametrize("name", [*HOMES, "my-model"])
@pytest.mark.usefixtures("keys")
def test_key_of_the_environment_goes_nowhere_else(name):
    """Another base_url is sent no key but the one that is passed for it."""
    assert None is carried(sent(name, base_url="SERVER"))
    assert "mine" in carried(sent(name, base_url="SERVER", api_key="mine"))


@pytest.mark.usefixtures("keys")
def test_key_of_the_environment_goes_to_no_address_in_a_name():
    """Nor is an address in the name."""
    assert None is carried(sent("SERVER/v1#m"))
    assert "Bearer mine" == carried(sent("SERVER/v1#m", api_key="mine"))


@pytest.mark.parametrize(
    "base_url",
    [
        "http://api.deepseek.com",
        "https://api.deepseek.com:8443",
        "https://api.deepseek.com.evil.example/v1",
        "https://evil.example/api.deepseek.com",
        "https://evil-api.deepseek.com",
        "https://api.openai.com/v1",
        "https://api.anthropic.com",
    ],
)
@pytest.mark.usefixtures("keys")
def test_addresses_that_look_like_home(base_url):
    """Only https at the provider's very own host is its home."""
    with pytest.raises(AuthenticationFailed, match="api_key="):
        resolve("deepseek/deepseek-flash", base_url=base_url).provider.check()


@pytest.mark.parametrize(
    "base_url", ["https://api.deepseek.com", "https://API.deepseek.com/v1/", "https://api.deepseek.com:443"]
)
@pytest.mark.usefixtures("keys")
def test_addresses_that_are_home(base_url):
    """However it is written."""
    resolve("deepseek/deepseek-flash", base_url=base_url).provider.check()


@pytest.mark.parametrize("key", ["", "  ", "two words", "line\nbreak", "schlüssel", "tab\tbed", "nul\0"])
def test_keys_that_are_none(key):
    """They are refused, and not shown."""
    with pytest.raises(InputError) as caught:
        http.Secret(key)
    assert not key.strip() or key not in str(caught.value)


def test_secrets_do_not_show_themselves():
    """No way of printing or storing one has the key in it."""
    secret = http.Secret(" sk-abc\n", prefix="Bearer ")
    assert "Bearer sk-abc" == secret.reveal()
    assert "abc" not in f"{secret} {secret!r} {[secret]}"
    assert secret is copy.deepcopy([secret])[0]
    with pytest.raises(TypeError, match="pickled"):
        secret.__reduce_ex__(4)
    with pytest.raises(TypeError):
        vars(secret)


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_key_is_taken_out_of_any_text(before, after):
    """Wherever it stands."""
    key = "sk-0123456789"
    assert key not in http.Secret(key).hide(f"{before}{key}{after}{key}")


# ---------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:8000/v1", True),
        ("http://api.localhost", True),
        ("http://127.0.0.1", True),
        ("http://127.8.9.1:1/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://0.0.0.0:8000", True),
        ("http://localhost.evil.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://192.168.1.4:8000", False),
        ("https://api.deepseek.com", False),
        ("nonsense", False),
    ],
)
def test_loopback(url, here):
    """Which addresses lead to this machine."""
    assert here is http.is_loopback(url)


# ---------------------------------------------------------------------- requests


def test_get_and_its_errors():
    """Looking costs nothing, so a lost answer is only unavailable."""
    with ChatServer([], keys={"k"}) as server:
        headers = {"Authorization": http.Secret("k", prefix="Bearer ")}
        reply = asyncio.run(http.get(f"{server.url}/user/balance", headers))
        assert (200, True) == (reply.status, '"is_available": true' in reply.text)
        assert "application/json; charset=utf-8" == reply.headers["content-TYPE"]
        assert 401 == asyncio.run(http.get(f"{server.url}/models", {})).status
    with pytest.raises(ProviderUnavailable, match="cannot connect"):
        asyncio.run(http.get(f"{server.url}/models", {}))


@contextlib.asynccontextmanager
async def raw_server(answer):
    """The address of a server that treats each connection as *answer(reader, writer)* does, then closes it."""
    handlers = []

    async def handle(reader, writer):
        handlers.append(asyncio.current_task())
        try:
            await answer(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


def test_get_that_is_lost():
    """A server that accepts and says nothing."""

    async def silent(_reader, _writer):
        await asyncio.sleep(60)

    async def ask():
        async with raw_server(silent) as url:
            await http.get(url, {}, deadline_s=0.2)

    with pytest.raises(ProviderUnavailable, match="in time"):
        asyncio.run(ask())


def serve(*pieces, status="200 OK"):
    """Collects `http.lines` from a server that sends *pieces*, then closes; an empty piece ends the body."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for piece in pieces:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0.01)

    async def collect():
        seen = []
        async with raw_server(answer) as url:
            try:
                async for line in http.lines(url, {"x-api-key": http.Secret("sk-1")}):
                    seen.append(line)  # noqa: PERF401 - what came before an error counts
            except Text2ExpertError as error:
                seen.append(error)
        return seen

    return asyncio.run(collect())


def test_lines():
    """A long answer line by line, however it was cut into pieces, without blank lines and without the key."""
    first, *rest = serve(b'{"a": 1}\n{"b"', b': "\xc3', b'\xa9"}\n\n\r\n{"c"', b': "sk-1"}', b"")
    assert (200, "") == (first.status, first.text)
    assert ['{"a": 1}', '{"b": "é"}', '{"c": "[key]"}'] == rest


def test_lines_of_an_error():
    """Then there is the reply alone, with its text."""
    (reply,) = serve(b'{"error": ', b'"no"}', b"", status="404 Not Found")
    assert (404, '{"error": "no"}') == (reply.status, reply.text)


def test_lines_that_break_off():
    """What came whole is there; then it is unavailable."""
    first, line, error = serve(b'{"a": 1}\n{"b')
    assert (200, '{"a": 1}') == (first.status, line)
    assert isinstance(error, ProviderUnavailable)


def test_a_refusal_whose_body_is_cut_is_a_refusal():
    """The status has said that nothing was billed."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(b"HTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nContent-Length: 500\r\n\r\n{")

    async def ask():
        async with raw_server(answer) as url:
            return await http.post(url, {}, {})

    reply = asyncio.run(ask())
    assert (429, "", 3.0) == (reply.status, reply.text, http.retry_after_s(reply.headers))


def test_cancelling_a_request_ends_it():
    """An interrupted run does not wait for answers, and the connection is not used again."""

    async def cut_short(server):
        provider = OpenAI(server.url, "k", "deepseek")
        request = Request(endpoint="", dialect="", model="m", prompt="json", max_tokens=10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(provider.complete(request), 0.3)
        return (await provider.complete(request)).text

    with ChatServer([Break("hang"), "[]"]) as server:
        assert "[]" == asyncio.run(cut_short(server))


def test_a_thousand_at_a_time():
    """The client itself puts no bound on how many are under way."""

    async def many(server):
        provider = OpenAI(server.url, "k", "deepseek")
        jobs = [
            provider.complete(Request(endpoint="", dialect="", model="m", prompt=f"json {i}", max_tokens=10))
            for i in range(1000)
        ]
        return await asyncio.gather(*jobs)

    with ChatServer(lambda _body, _nth: "[]", latency_s=3.0) as server:
        assert 1000 == len(asyncio.run(many(server)))
        assert server.peak > 900


END = """
import asyncio, sys
from text2expert import _sync
from text2expert.exchange import Request
from text2expert.providers.openai import OpenAI

async def ask():
    request = Request(endpoint="", dialect="", model="m", prompt="json", max_tokens=10)
    return (await OpenAI(sys.argv[1], "k", "deepseek").complete(request)).text

own = asyncio.new_event_loop()
print(_sync.run(ask()), asyncio.run(ask()), _sync.run(ask()), own.run_until_complete(ask()))
"""


def test_sessions_are_closed_when_the_process_ends():
    """The background loop's, a finished loop's and one that nobody closed: no warning of an unclosed session is left."""
    with ChatServer(lambda _body, _nth: "[]") as server:
        command = [sys.executable, "-W", "always::ResourceWarning", "-c", END, server.url]
        done = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=Path(providers.__file__).parents[2],
            env={**os.environ},
        )
    assert "[] [] [] []" == done.stdout.strip()
    assert "session" not in done.stderr
    assert "connector" not in done.stderr


def test_certificate_errors_and_answers_have_different_names():
    """What may pass, what will not, and what may have been billed are three things."""
    assert not issubclass(ProviderUnavailable, ProviderError)
    assert not issubclass(AnswerLost, ProviderUnavailable | ProviderError)


@pytest.mark.parametrize("make", [OpenAI, Anthropic])
def test_a_key_that_goes_over_a_network_in_the_clear_is_said_once(make, capsys):
    """It may be one's own network, so it is not refused."""
    address = f"http://{make.__name__.lower()}.test:8000"
    for _ in range(2):
        make(address, KEY).check()
    make("https://gateway.test", KEY).check()
    make("http://localhost:8000", KEY).check()
    said = capsys.readouterr().err
    assert 1 == said.count("unencrypted")
    assert f"{make.__name__.lower()}.test:8000" in said
    assert KEY not in said


def test_a_proxy_that_is_set_is_named_where_nothing_can_be_reached(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.test:3128")
    with pytest.raises(ProviderUnavailable, match="proxies are not used") as caught:
        asyncio.run(http.get("http://127.0.0.1:9/", {}))
    assert "secret" not in str(caught.value)
