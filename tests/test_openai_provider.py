"""The OpenAI-compatible provider: what it sends, what it reads, against a local server and a real one."""

import asyncio
import json
import threading

import pytest
from chat_server import Answer, ChatServer, flaky
from chats import KEY, SCHEMA, ask, chat, read_body, request
from hypothesis import given
from hypothesis import strategies as st

from text2expert.errors import (
    AnswerLost,
    InputError,
    ProviderError,
    ProviderUnavailable,
)
from text2expert.exchange import Usage
from text2expert.llm import LLM
from text2expert.prices import Price
from text2expert.providers import http, resolve
from text2expert.providers.openai import OpenAI, wire_body

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
        {"prompt_tokens": 10**19, "completion_tokens": 1},
        {"prompt_tokens": 5, "completion_tokens": 10**9},
        {"prompt_tokens": 5, "completion_tokens": 1, "prompt_cache_hit_tokens": 6},
        {"prompt_tokens": True, "completion_tokens": True},
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


def test_a_reply_to_one_flavour_is_none_to_another():
    """What goes onto the wire differs, and so does the key that a reply is stored under."""
    names = ("deepseek/deepseek-flash", "openai/deepseek-flash", "deepseek-flash")
    models = [LLM(name, base_url="http://localhost:1", api_key=KEY, price=Price(input=1, output=1)) for name in names]
    assert 3 == len({model._request("Why?", "", None, None, 0).key for model in models})


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


# ---------------------------------------------------------------------- a real server


def ask_served(served, **fields):
    provider, model = resolve(served.name)
    return asyncio.run(provider.complete(request(**{"model": model, "max_tokens": 12, **fields})))


def test_real_server_answers(served):
    """`transformers serve` takes what the plain flavour sends, all of it, and counts its tokens."""
    completion = ask_served(served, system="Reply in json.", schema=SCHEMA, thinking=False, effort="low")
    assert (12, "length") == (completion.usage.output_tokens, completion.finish)
    prompt = "Reply in json." + "Answer in json: what is it?"
    assert len(prompt) + 2 * 2 + 1 == completion.usage.input_tokens  # a byte is a token, and the template has five more
    assert completion.text
    assert completion.model.startswith(served.model)


def test_real_server_refuses_in_its_own_words(served):
    """Its errors are shaped otherwise than OpenAI's: they say what is wrong all the same."""
    with pytest.raises(ProviderError, match=r"Unexpected fields.*'thinking'"):
        ask_served(served, extras={"thinking": {"type": "disabled"}})
    with pytest.raises(ProviderError, match="pinned"):
        ask_served(served, model="another")
    with pytest.raises(ProviderError, match=r"404.*base_url.*/v1"):
        asyncio.run(OpenAI(served.url.removesuffix("/v1")).complete(request(model=served.model)))


def test_real_server_under_load(served):
    """Many requests wait in its queue, and each is answered."""

    async def many():
        provider, model = resolve(served.name)
        jobs = [provider.complete(request(f"json {i}", model=model, max_tokens=4)) for i in range(20)]
        return await asyncio.gather(*jobs)

    assert [4] * 20 == [completion.usage.output_tokens for completion in asyncio.run(many())]
