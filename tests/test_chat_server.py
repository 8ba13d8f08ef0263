"""The local server of the chat protocol, judged by the official SDK as its client."""

import time

import openai
import pytest
from chat_server import Answer, Break, ChatServer, Refuse
from chats import KEY, SCHEMA


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
