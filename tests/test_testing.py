"""The provider that answers from a script."""

import asyncio
import time

import pytest

from text2expert.errors import InputError, ProviderError, ProviderUnavailable
from text2expert.exchange import Completion, Request
from text2expert.ledger import Ledger
from text2expert.llm import LLM
from text2expert.testing import ScriptedProvider


def request(prompt="Why?", **more):
    fields = {"endpoint": "http://localhost/scripted", "dialect": "", "model": "any", "max_tokens": 100}
    return Request(**{**fields, "prompt": prompt, **more})


def complete(provider, *requests):
    async def story():
        return await asyncio.gather(*map(provider.complete, requests))

    return asyncio.run(story())


def test_texts_are_answered_in_order():
    """And what was asked is there to be looked at."""
    provider = ScriptedProvider(["a", "b"])
    assert ["a", "b"] == [each.text for each in complete(provider, request("1"), request("2"))]
    assert ["1", "2"] == [each.prompt for each in provider.requests]


def test_a_function_sees_the_request():
    """Answers may depend on what is asked, whatever the order."""
    provider = ScriptedProvider(lambda asked: asked.prompt[::-1])
    assert ["cba", "fed"] == [each.text for each in complete(provider, request("abc"), request("def"))]


def test_a_text_has_usage():
    """A token for every four bytes, and never more than were allowed."""
    (answer,) = complete(ScriptedProvider(["x" * 50]), request("y" * 30, system="z" * 10))
    assert (10, 13) == (answer.usage.input_tokens, answer.usage.output_tokens)
    assert ("stop", "any") == (answer.finish, answer.model)
    (answer,) = complete(ScriptedProvider(["x" * 5000]), request(max_tokens=7))
    assert 7 == answer.usage.output_tokens


def test_a_completion_is_given_as_it_is():
    """For what a text cannot say."""
    cut = Completion(text="[1, 2", usage=None, finish="length")
    assert [cut] == complete(ScriptedProvider([cut]), request())


def test_an_error_is_raised():
    """It is what went wrong."""
    with pytest.raises(ProviderError, match="no such model"):
        complete(ScriptedProvider([ProviderError("no such model")]), request())


def test_a_script_that_ends_says_so():
    """With the request that came too many."""
    with pytest.raises(InputError, match=r"the script's 1 answer\(s\) are used up; request 2 is one more: 'second'"):
        complete(ScriptedProvider(["a"]), request("first"), request("second"))


def test_one_text_is_no_script():
    """It would answer letter by letter."""
    with pytest.raises(InputError, match="a list of answers"):
        ScriptedProvider("yes")


def test_latency():
    """Requests wait side by side."""
    provider = ScriptedProvider(["a"] * 20, latency_s=0.05)
    began = time.monotonic()
    complete(provider, *(request(f"{n}") for n in range(20)))
    assert 0.05 <= time.monotonic() - began < 20 * 0.05


def test_it_costs_nothing_and_stays_here(tmp_path):
    """A model that no price table knows, on this machine."""
    provider = ScriptedProvider([ProviderUnavailable("busy", retry_after=0), "yes"])
    model = LLM("my-model", provider=provider)
    with Ledger(tmp_path) as ledger:
        assert "yes" == asyncio.run(model.complete("Why?")).text
        assert (0, 1) == (ledger.spent().total, ledger.spent().replies)
    assert model.estimate(1, 10, (10, 10)).host is None
