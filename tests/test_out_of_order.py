"""A provider that answers nobody, or bills more than can be: what it takes of a budget has an end, and is said."""

import asyncio
import time

import pytest

from text2expert import limiter, llm
from text2expert.errors import AnswerLost, AuthenticationFailed, BudgetExhausted, OutOfBalance, ProviderUnavailable
from text2expert.exchange import Completion, Usage
from text2expert.ledger import Ledger, budget
from text2expert.limiter import LOST_IN_A_ROW
from text2expert.llm import LLM
from text2expert.prices import Price
from text2expert.testing import ScriptedProvider

PRICE = Price(input=100_000, output=999_999)
CUT = AnswerLost("host broke off")


@pytest.fixture(autouse=True)
def ledger(tmp_path):
    with Ledger(tmp_path / "book") as opened:
        yield opened


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(llm, "FIRST_WAIT_S", 0)


def model(answer, **settings):
    provider = ScriptedProvider(answer)
    return LLM("model", provider=provider, **{"price": PRICE, "concurrency": 4, **settings}), provider


async def asked(asker, *prompts):
    """What came of each, asked at the same time."""
    return await asyncio.gather(*(asker.complete(prompt) for prompt in prompts), return_exceptions=True)


def test_one_that_never_answered_is_left_alone_after_a_few_lost_answers(ledger):
    """Otherwise each of a hundred questions would be sent, and booked whole, eight times."""
    asker, provider = model(lambda _: CUT)
    errors = asyncio.run(asked(asker, *map(str, range(100))))
    assert LOST_IN_A_ROW <= len(provider.requests) <= LOST_IN_A_ROW + asker.concurrency
    assert len(provider.requests) == ledger.spent().calls
    assert all(isinstance(error, ProviderUnavailable) for error in errors)
    assert "host broke off" in str(errors[-1])
    assert f"last {len(provider.requests)} requests" in str(errors[-1])
    assert "sent 1 time" not in str(errors[-1])


def test_one_that_has_answered_may_lose_all_that_is_out_when_a_network_goes_away():
    script = iter(["yes", *[CUT] * (LOST_IN_A_ROW + 3), *["yes"] * 30])
    asker, _ = model(lambda _: next(script))

    async def story():
        return [*await asked(asker, "first"), *await asked(asker, *map(str, range(24)))]

    assert ["yes"] * 25 == [answer.text for answer in asyncio.run(story())]


def test_it_is_tried_again_with_one_request_and_used_when_that_is_answered(monkeypatch):
    script = iter([CUT] * LOST_IN_A_ROW)
    asker, provider = model(lambda _: next(script, "yes"), concurrency=1)

    async def story():
        await asked(asker, *map(str, range(10)))
        assert LOST_IN_A_ROW == len(provider.requests)
        later = time.monotonic() + limiter.PROBE_S
        monkeypatch.setattr(limiter.time, "monotonic", lambda: later)
        return await asked(asker, *map(str, range(10)))

    assert ["yes"] * 10 == [answer.text for answer in asyncio.run(story())]


def test_a_probe_that_is_lost_is_the_only_one(monkeypatch):
    asker, provider = model(lambda _: CUT, concurrency=1)

    async def story():
        await asked(asker, *map(str, range(10)))
        later = time.monotonic() + limiter.PROBE_S
        monkeypatch.setattr(limiter.time, "monotonic", lambda: later)
        await asked(asker, *map(str, range(10)))

    asyncio.run(story())
    assert LOST_IN_A_ROW + 1 == len(provider.requests)


def test_one_that_costs_nothing_is_asked_as_often_as_it_takes():
    asker, provider = model(lambda _: CUT, price=Price(input=0, output=0))
    asyncio.run(asked(asker, *map(str, range(10))))
    assert 10 * asker.attempts == len(provider.requests)


@pytest.mark.parametrize("error", [AuthenticationFailed("the key"), OutOfBalance("empty")])
def test_what_waits_behind_a_refused_key_or_balance_is_not_sent(ledger, error):
    asker, provider = model(lambda _: error)
    errors = asyncio.run(asked(asker, *map(str, range(100))))
    assert {(type(error), str(error))} == {(type(each), str(each)) for each in errors}
    assert len(provider.requests) <= asker.concurrency
    assert 0 == ledger.spent().calls


def test_another_key_is_tried_at_once():
    async def story():
        await asked(model(lambda _: AuthenticationFailed("the key"))[0], "Why?")
        return await asked(model(lambda _: "yes")[0], "Why?")

    assert "yes" == asyncio.run(story())[0].text


def test_what_is_billed_beyond_all_that_can_be_is_booked_and_said_once(ledger, caplog):
    """No budget can hold a provider that ignores max_tokens; the next request is stopped."""
    much = Completion(text="yes", usage=Usage(input_tokens=1, output_tokens=50), finish="stop", model="model")
    asker, _ = model(lambda _: much, max_tokens=10)

    async def story():
        with budget("teacher", 100):
            await asker.complete("One?")
            await asker.complete("Two?")
            await asker.complete("Three?")

    with pytest.raises(BudgetExhausted):
        asyncio.run(story())
    assert 2 == ledger.spent("teacher").replies
    assert ["text2expert.llm"] == [record.name for record in caplog.records if record.name.startswith("text2expert")]
    assert "counted" in caplog.text
    assert "output_tokens=50" in caplog.text


@pytest.mark.parametrize("count", [-1, 10**9, 1.0, True, None, "5"])
def test_what_cannot_be_a_count_of_tokens_is_none(count):
    with pytest.raises(ValueError, match="output_tokens"):
        Usage(input_tokens=1, output_tokens=count)


def test_a_budget_that_lost_answers_used_up_says_so(ledger):
    asker, _ = model([CUT], attempts=1, max_tokens=10)

    async def story():
        with budget("teacher", 50):
            await asked(asker, "One?")
            await asker.complete("Two?")

    with pytest.raises(BudgetExhausted, match=r"is spent \(of it \$\d+\.\d+ at most for answers that were lost\)"):
        asyncio.run(story())
    assert ledger.spent().lost > 0
