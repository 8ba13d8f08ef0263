"""Claude over the Messages API: what goes onto the wire, what comes back, and whether the server that says so is right."""

import asyncio
import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anthropic as sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages_server import CUT, KEY, Failed, MessagesServer, Said, validate_schema

from text2expert.errors import (
    AnswerLost,
    AuthenticationFailed,
    InputError,
    OutOfBalance,
    ProviderError,
    ProviderUnavailable,
)
from text2expert.exchange import Completion, Request, Usage
from text2expert.providers.anthropic import Anthropic, read_message, refusal, wire_body

VERDICT = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean"},
        "score": {"type": "integer", "minimum": 1, "maximum": 5, "description": "how sure"},
        "pattern": {"type": "string", "pattern": "^a"},
        "items": {"type": "array", "minItems": 2, "items": {"type": "object", "properties": {"q": {"type": "string"}}}},
    },
    "required": ["approved"],
}

PARAMS = {"model": "claude-sonnet-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}

_SCALARS = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "number", "boolean", "null"])},
    optional={
        "description": st.text(max_size=5),
        "minimum": st.integers(),
        "maxLength": st.integers(0, 9),
        "pattern": st.just("^a$"),
        "format": st.sampled_from(["date", "regex"]),
        "default": st.none(),
        "enum": st.lists(st.integers(), min_size=1),
    },
)


def _nested(inner):
    names = st.sampled_from(["type", "items", "properties", "minimum", "answer", "required"])
    members = st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(names, inner, max_size=3)},
        optional={"additionalProperties": st.booleans(), "minProperties": st.integers(0, 3)},
    )
    lists = st.fixed_dictionaries(
        {"type": st.just("array"), "items": inner},
        optional={"minItems": st.integers(0, 3), "maxItems": st.integers(0, 3), "uniqueItems": st.booleans()},
    )
    return members | lists | st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=2)})


SCHEMAS = st.recursive(_SCALARS, _nested, max_leaves=8)


def request(**fields):
    given = {"endpoint": "http://x", "dialect": Anthropic.dialect, "model": "claude-sonnet-5-5", "max_tokens": 2000}
    return Request(**(given | {"prompt": "Is it grounded?"} | fields))


def ask(server, **fields):
    """The completion of one request at *server*, on a loop of its own."""
    return asyncio.run(Anthropic(server.url, KEY).complete(request(endpoint=server.url, **fields)))


@pytest.fixture
def server():
    with MessagesServer() as server:
        yield server


class TestTheServerSpeaksTheProtocol:
    """The official SDK is a client of it: a fake that the SDK misunderstands is a wrong fake."""

    @pytest.fixture
    def client(self, server):
        with sdk.Anthropic(base_url=server.url, api_key=KEY, max_retries=2) as client:
            yield client

    def test_a_message_with_its_headers(self, server, client):
        server.headers["anthropic-ratelimit-requests-remaining"] = "41"
        server.answer = lambda _: Said(text="Hello", thinking="A greeting")
        raw = client.messages.with_raw_response.create(**PARAMS)
        message = raw.parse()
        assert "41" == raw.headers["anthropic-ratelimit-requests-remaining"]
        assert ["thinking", "text"] == [block.type for block in message.content]
        assert "Hello" == message.content[1].text
        assert "end_turn" == message.stop_reason
        assert ("standard", 1, 202) == (
            message.usage.service_tier,
            message.usage.input_tokens,
            message.usage.output_tokens,
        )
        assert 200 == message.usage.output_tokens_details.thinking_tokens

    def test_tokens_are_counted(self, client):
        counted = client.messages.count_tokens(model="claude-sonnet-5-5", messages=PARAMS["messages"])
        assert 1 == counted.input_tokens

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("overloaded_error", sdk.OverloadedError),
            ("authentication_error", sdk.AuthenticationError),
            ("billing_error", sdk.PaymentRequiredError),
            ("rate_limit_error", sdk.RateLimitError),
            ("api_error", sdk.InternalServerError),
            ("request_too_large", sdk.ContentTooLargeError),
        ],
    )
    def test_errors_are_the_ones_they_should_be(self, server, client, kind, expected):
        server.faults.extend([Failed(kind)] * 3)
        with pytest.raises(expected) as caught:
            client.with_options(max_retries=0).messages.create(**PARAMS)
        assert kind == caught.value.type

    def test_the_monthly_cap_has_its_own_error(self, server, client):
        server.faults.append(Failed("rate_limit_error", code="enforced_spend_limit_reached"))
        with pytest.raises(sdk.RateLimitError) as caught:
            client.with_options(max_retries=0).messages.create(**PARAMS)
        assert "enforced_spend_limit_reached" == caught.value.error_code

    def test_a_rate_limit_is_waited_for(self, server, client):
        server.faults.append(Failed("rate_limit_error", headers={"retry-after": "0.01"}))
        assert "end_turn" == client.messages.create(**PARAMS).stop_reason
        assert 2 == len(server.seen)

    @pytest.mark.parametrize("model", ["claude-3-5-sonnet-20241022", "claude-nonsense-9"])
    def test_a_retired_or_unknown_model_is_not_found(self, client, model):
        with pytest.raises(sdk.NotFoundError):
            client.messages.create(**PARAMS | {"model": model})

    @pytest.mark.parametrize(
        "wrong",
        [
            {"temperature": 0},
            {"top_p": 0.9},
            {"tools": [], "tool_choice": {"type": "any"}},
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "{"}]},
            {"thinking": {"type": "disabled"}},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
            {"thinking": {"type": "between_tools"}, "output_config": {"effort": "max"}},
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {"max_tokens": 0},
        ],
    )
    def test_what_the_service_refuses_is_refused(self, client, wrong):
        with pytest.raises(sdk.BadRequestError):
            client.messages.create(**PARAMS | {"max_tokens": 2000}, extra_body=wrong)

    def test_a_batch_from_its_creation_to_its_results(self, server, client):
        server.batch_s = None
        server.answer = lambda body: f"to {body['messages'][0]['content']}"
        made = client.messages.batches.create(
            requests=[
                {"custom_id": name, "params": PARAMS | {"messages": [{"role": "user", "content": name}]}}
                for name in ("one", "two", "three")
            ]
            + [{"custom_id": "bad", "params": PARAMS | {"max_tokens": 0}}]
        )
        assert ("in_progress", 4, None) == (
            made.processing_status,
            made.request_counts.processing,
            made.results_url,
        )
        server.end()
        seen = client.messages.batches.retrieve(made.id)
        assert ("ended", 3, 1) == (seen.processing_status, seen.request_counts.succeeded, seen.request_counts.errored)
        assert [made.id] == [batch.id for batch in client.messages.batches.list(limit=1)]
        results = {line.custom_id: line.result for line in client.messages.batches.results(made.id)}
        assert ["bad", "one", "three", "two"] == sorted(results)
        assert "to two" == results["two"].message.content[-1].text
        assert "batch" == results["two"].message.usage.service_tier
        assert "invalid_request_error" == results["bad"].error.error.type

    def test_batches_are_listed_newest_first_over_pages(self, client):
        made = [client.messages.batches.create(requests=[{"custom_id": "a", "params": PARAMS}]).id for _ in range(5)]
        assert made[::-1] == [batch.id for batch in client.messages.batches.list(limit=2)]

    def test_a_canceled_batch_and_expired_requests(self, server, client):
        server.batch_s = None
        made = client.messages.batches.create(requests=[{"custom_id": "a", "params": PARAMS}])
        assert "canceling" == client.messages.batches.cancel(made.id).processing_status
        assert ["canceled"] == [line.result.type for line in client.messages.batches.results(made.id)]

        def expire(_):
            raise Failed("expired")

        server.answer, server.batch_s = expire, 0.0
        made = client.messages.batches.create(requests=[{"custom_id": "a", "params": PARAMS}])
        assert ["expired"] == [line.result.type for line in client.messages.batches.results(made.id)]

    def test_a_batch_that_is_too_large_or_ambiguous_is_refused(self, server, client):
        server.max_requests = 1
        two = [{"custom_id": name, "params": PARAMS} for name in ("a", "b")]
        with pytest.raises(sdk.BadRequestError):
            client.messages.batches.create(requests=two)
        server.max_requests, server.max_bytes = 2, 100
        with pytest.raises(sdk.ContentTooLargeError):
            client.messages.batches.create(requests=two)
        server.max_bytes = 10_000
        with pytest.raises(sdk.BadRequestError):
            client.messages.batches.create(requests=[two[0], two[0]])

    def test_what_is_served_is_billed_even_where_the_answer_is_lost(self, server, client):
        server.faults.append(CUT)
        with pytest.raises(sdk.APIConnectionError):
            client.with_options(max_retries=0).messages.create(**PARAMS)
        assert [1] == [entry["input_tokens"] for entry in server.bill]


class TestTheBody:
    def test_it_is_what_the_request_says_and_no_more(self):
        expected = {
            "model": "claude-sonnet-5-5",
            "max_tokens": 2000,
            "system": [{"type": "text", "text": "Be strict."}],
            "messages": [{"role": "user", "content": "Is it grounded?"}],
        }
        assert expected == wire_body(request(system="Be strict.", sample=3))

    @pytest.mark.parametrize(
        ("model", "thinking", "effort", "expected"),
        [
            ("claude-sonnet-5-5", None, None, (None, None)),
            ("claude-sonnet-5-5", False, None, ({"type": "between_tools"}, None)),
            ("claude-sonnet-5-5", False, "low", ({"type": "between_tools"}, "low")),
            ("claude-sonnet-5-5", True, "max", ({"type": "adaptive", "display": "summarized"}, "max")),
            ("claude-haiku-5-5", False, None, ({"type": "disabled"}, None)),
            ("claude-opus-5-5", False, None, (None, "low")),
            ("claude-opus-5-5", False, "medium", (None, "medium")),
            ("claude-fable-5-1", False, None, (None, "low")),
            ("claude-opus-5", False, None, ({"type": "disabled"}, None)),
            ("claude-sonnet-5", False, None, ({"type": "disabled"}, None)),
            ("claude-sonnet-4-6", False, None, ({"type": "disabled"}, None)),
            ("claude-haiku-4-5-20251001", False, None, ({"type": "disabled"}, None)),
            ("claude-haiku-4-5-20251001", True, None, ({"type": "enabled", "budget_tokens": 1024}, None)),
            ("anthropic/claude-sonnet-5.5", False, None, ({"type": "between_tools"}, None)),
            # Not known yet: only what all of them take.
            ("claude-sonnet-6", False, None, (None, "low")),
            ("claude-haiku-5-7", False, None, (None, "low")),
            # Others that speak the protocol.
            ("deepseek-flash", False, None, ({"type": "disabled"}, None)),
        ],
    )
    def test_thinking_is_said_as_the_model_knows_it(self, model, thinking, effort, expected):
        body = wire_body(request(model=model, thinking=thinking, effort=effort))
        assert expected == (body.get("thinking"), body.get("output_config", {}).get("effort"))

    @pytest.mark.parametrize(
        "model",
        ["claude-sonnet-5-5", "claude-haiku-5-5", "claude-opus-5-5", "claude-sonnet-4-6", "claude-haiku-4-5"],
    )
    @pytest.mark.parametrize("thinking", [None, False, True])
    def test_every_model_takes_every_setting(self, server, model, thinking):
        completion = ask(server, model=model, thinking=thinking, schema=VERDICT, system="s" * 3000, max_tokens=4000)
        assert ("stop", '{"ok": true}') == (completion.finish, completion.text)

    def test_thinking_costs_nothing_once_it_is_turned_down(self, server):
        assert [200, 0] == [ask(server, thinking=value).usage.reasoning_tokens for value in (None, False)]

    def test_what_contradicts_itself_is_refused_before_it_is_sent(self):
        with pytest.raises(InputError, match="effort='max'"):
            wire_body(request(thinking=False, effort="max"))
        with pytest.raises(InputError, match="1,024"):
            wire_body(request(model="claude-haiku-4-5", thinking=True, max_tokens=1000))

    def test_objects_are_closed_and_limits_become_words(self):
        properties = wire_body(request(schema=VERDICT))["output_config"]["format"]["schema"]["properties"]
        assert {"type": "integer", "description": "how sure; minimum: 1, maximum: 5"} == properties["score"]
        assert {"type": "string", "description": 'pattern: "^a"'} == properties["pattern"]
        assert {
            "type": "array",
            "items": {"type": "object", "properties": {"q": {"type": "string"}}, "additionalProperties": False},
            "description": "minItems: 2",
        } == properties["items"]

    @given(SCHEMAS)
    def test_any_schema_becomes_one_that_the_service_takes(self, schema):
        validate_schema(wire_body(request(schema=schema))["output_config"]["format"]["schema"])

    def test_the_schema_is_left_as_it_was(self):
        before = json.dumps(VERDICT)
        wire_body(request(schema=VERDICT))
        assert before == json.dumps(VERDICT)

    def test_a_long_system_prompt_is_cached_and_a_short_one_is_not_marked(self, server):
        usages = [ask(server, system="rule " * 500, prompt=str(n)).usage for n in range(2)]
        assert [(625, 0), (0, 625)] == [(usage.cache_write_tokens, usage.cache_read_tokens) for usage in usages]
        assert [1, 1] == [usage.input_tokens for usage in usages]
        assert "cache_control" not in wire_body(request(system="rule " * 400))["system"][0]

    def test_extras_are_added_beside_the_schema(self):
        extras = {"metadata": {"user_id": "u"}, "output_config": {"effort": "xhigh"}}
        body = wire_body(request(schema=VERDICT, extras=extras))
        assert {"user_id": "u"} == body["metadata"]
        assert {"format", "effort"} == body["output_config"].keys()

    @pytest.mark.parametrize(
        "extras",
        [
            {"temperature": 0.1},
            {"max_tokens": 100_000},
            {"model": "claude-opus-5-5"},
            {"tools": [{"type": "web_search"}]},
            {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
    )
    def test_extras_that_break_a_hold_or_are_refused_anyway_are_named(self, extras):
        with pytest.raises(InputError, match=next(iter(extras))):
            wire_body(request(extras=extras))


class TestTheReply:
    def test_blocks_are_told_apart_by_their_type(self, server):
        server.answer = lambda _: Said(
            content=[
                {"type": "thinking", "thinking": "Is it? ", "signature": "c2ln"},
                {"type": "text", "text": '{"a": '},
                {"type": "redacted_thinking", "data": "eA=="},
                {"type": "text", "text": "1}"},
            ]
        )
        completion = ask(server)
        assert ('{"a": 1}', "Is it? ") == (completion.text, completion.reasoning)
        assert "signature" in completion.raw

    @pytest.mark.parametrize(
        ("stop_reason", "expected"),
        [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("max_tokens", "length"),
            ("model_context_window_exceeded", "length"),
            ("refusal", "refusal"),
            ("pause_turn", "other"),
            ("something_new", "other"),
        ],
    )
    def test_why_it_stopped(self, server, stop_reason, expected):
        server.answer = lambda _: Said(text="{", stop_reason=stop_reason)
        completion = ask(server)
        assert expected == completion.finish
        assert (expected == "stop") == completion.complete

    def test_a_refusal_without_content_is_an_answer(self, server):
        server.answer = lambda _: Said(content=[], stop_reason="refusal")
        completion = ask(server)
        assert ("", "refusal") == (completion.text, completion.finish)
        assert completion.usage is not None

    def test_usage_is_the_servers_own_bill(self, server):
        ask(server, thinking=False, prompt="x" * 400)
        usage = ask(server, prompt="x" * 400, sample=1).usage
        assert Usage(input_tokens=100, output_tokens=203, reasoning_tokens=200) == usage
        billed = [(entry["input_tokens"], entry["output_tokens"]) for entry in server.bill]
        assert [(100, 3), (100, 203)] == billed

    def test_the_tier_says_whether_it_was_a_batch(self):
        usage = {"input_tokens": 1, "output_tokens": 1, "service_tier": "batch"}
        text = json.dumps({"type": "message", "content": [], "stop_reason": "end_turn", "usage": usage})
        assert read_message(text).usage.batch

    def test_a_message_without_usage_has_none(self):
        text = json.dumps({"type": "message", "content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn"})
        assert Completion(text="a", usage=None, finish="stop", raw=text) == read_message(text)

    @pytest.mark.parametrize(
        "usage",
        [
            [1],
            "many",
            {"input_tokens": None, "output_tokens": 1},
            {"input_tokens": -1, "output_tokens": 1},
            {"input_tokens": 10**19, "output_tokens": 1},
            {"input_tokens": 1, "output_tokens": math.inf},
            {"input_tokens": 1, "output_tokens": 1, "output_tokens_details": [1]},
        ],
    )
    def test_an_answer_whose_usage_is_nonsense_is_an_answer(self, usage):
        """It was paid for; its whole hold is booked."""
        message = {"type": "message", "content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn"}
        completion = read_message(json.dumps({**message, "usage": usage}))
        assert ("a", None) == (completion.text, completion.usage)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "<html>",
            '{"type": "message", "content": [{"type": "te',
            "[]",
            "null",
            '{"type": "message"}',
            "[" * 100_000 + "]" * 100_000,
        ],
    )
    def test_a_body_that_is_no_message_is_a_lost_answer(self, text):
        with pytest.raises(AnswerLost):
            read_message(text)

    def test_an_error_in_a_good_reply_is_an_error(self):
        with pytest.raises(ProviderUnavailable):
            read_message(json.dumps(Failed("overloaded_error").body))

    def test_a_cut_connection_is_a_lost_answer(self, server):
        server.faults.append(CUT)
        with pytest.raises(AnswerLost):
            ask(server)
        assert 1 == len(server.bill)

    def test_rate_headers_ask_for_a_pause_by_the_servers_clock(self):
        now = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
        headers = {
            "date": format_datetime(now, usegmt=True),
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": (now + timedelta(seconds=7)).isoformat(),
            "anthropic-ratelimit-output-tokens-remaining": "0",
            "anthropic-ratelimit-output-tokens-reset": (now + timedelta(seconds=9)).isoformat().replace("+00:00", "Z"),
            "anthropic-ratelimit-tokens-remaining": "1000",
            "anthropic-ratelimit-tokens-reset": (now + timedelta(seconds=60)).isoformat(),
        }
        text = json.dumps({"type": "message", "content": [], "stop_reason": "end_turn"})
        assert 9.0 == read_message(text, headers).pause_s
        assert 7.0 == read_message(text, headers | {"anthropic-ratelimit-output-tokens-reset": "soon"}).pause_s
        assert 0.0 == read_message(text, {}).pause_s

    def test_the_pause_comes_with_the_answer(self, server):
        reset = datetime.now(UTC) + timedelta(seconds=30)
        server.headers["anthropic-ratelimit-input-tokens-remaining"] = "0"
        server.headers["anthropic-ratelimit-input-tokens-reset"] = reset.isoformat()
        assert 25 < ask(server).pause_s < 32


class TestErrors:
    @pytest.mark.parametrize(
        ("failed", "expected"),
        [
            (Failed("authentication_error"), AuthenticationFailed),
            (Failed("billing_error"), OutOfBalance),
            (Failed("rate_limit_error", code="enforced_spend_limit_reached"), OutOfBalance),
            (Failed("rate_limit_error", code="contract_spend_limit_reached"), OutOfBalance),
            (Failed("invalid_request_error", "Your credit balance is too low to access the API."), OutOfBalance),
            (Failed("invalid_request_error", "You have reached your specified API usage limits."), OutOfBalance),
            (Failed("invalid_request_error", code="organization_on_hold"), AuthenticationFailed),
            (Failed("rate_limit_error"), ProviderUnavailable),
            (Failed("rate_limit_error", code="ramp_limit_exceeded"), ProviderUnavailable),
            (Failed("api_error"), ProviderUnavailable),
            (Failed("overloaded_error"), ProviderUnavailable),
            (Failed("invalid_request_error"), ProviderError),
            (Failed("request_too_large"), ProviderError),
        ],
    )
    def test_each_is_classified(self, server, failed, expected):
        server.faults.append(failed)
        with pytest.raises(expected, match=failed.message) as caught:
            ask(server)
        assert expected is type(caught.value)
        assert [] == server.bill

    def test_how_long_to_wait(self, server):
        server.faults.extend(
            [
                Failed("rate_limit_error", headers={"retry-after": "7"}),
                Failed("rate_limit_error"),
                Failed("overloaded_error"),
                Failed("api_error"),
            ]
        )
        caught = []
        for _ in range(4):
            with pytest.raises(ProviderUnavailable) as one:
                ask(server)
            caught.append((one.value.retry_after, one.value.overloaded))
        assert [(7.0, True), (None, True), (None, True), (None, False)] == caught

    def test_without_retry_after_the_rate_headers_say_it(self):
        now = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
        headers = {
            "date": format_datetime(now, usegmt=True),
            "anthropic-ratelimit-tokens-remaining": "0",
            "anthropic-ratelimit-tokens-reset": (now + timedelta(seconds=12)).isoformat(),
        }
        assert 12.0 == refusal(429, "{}", headers).retry_after

    def test_a_retired_model_is_told_as_such(self, server):
        with pytest.raises(ProviderError, match=r"claude-3-5-sonnet-20241022.*retired"):
            ask(server, model="claude-3-5-sonnet-20241022")

    @pytest.mark.parametrize("status", [502, 503, 504])
    def test_a_proxys_page_is_quoted(self, status):
        error = refusal(status, "<h1>Bad gateway</h1>", {})
        assert isinstance(error, ProviderUnavailable)
        assert "Bad gateway" in str(error)

    def test_a_redirect_is_not_followed(self):
        assert type(refusal(302, "", {"location": "http://elsewhere"})) is ProviderError


class TestTheKey:
    def test_a_missing_key_is_told_before_anything_is_sent(self):
        with pytest.raises(AuthenticationFailed, match="ANTHROPIC_API_KEY"):
            Anthropic().check()
        with pytest.raises(AuthenticationFailed, match="api_key="):
            Anthropic("https://proxy.example").check()
        Anthropic("http://127.0.0.1:8000").check()

    def test_a_wrong_key_is_not_repeated(self, server):
        provider = Anthropic(server.url, "sk-ant-wrong-1234")
        with pytest.raises(AuthenticationFailed) as caught:
            asyncio.run(provider.complete(request()))
        assert "sk-ant-wrong-1234" not in str(caught.value) + repr(provider) + repr(vars(provider))

    def test_both_ends_of_a_base_url_are_understood(self, server):
        assert [server.url] * 3 == [
            Anthropic(url).endpoint for url in (server.url, f"{server.url}/", f"{server.url}/v1/")
        ]

    def test_the_provider_is_loaded_without_the_sdk(self):
        code = "import sys, text2expert.providers.anthropic; print(sorted({'anthropic', 'httpx2'} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert "[]" == done.stdout.strip()
