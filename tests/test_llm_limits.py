"""LLM: how many requests are under way at a time, and what they may cost."""

import asyncio
import time

import attrs
import pytest
from scripted_llm import PRICE, Held, answered, ask, idle, scripted

from text2expert.errors import (
    BudgetExhausted,
    ProviderUnavailable,
)
from text2expert.ledger import budget
from text2expert.limiter import Limiter
from text2expert.llm import LLM
from text2expert.testing import ScriptedProvider

pytestmark = pytest.mark.usefixtures("ledger", "at_once")


class TestBudgets:
    def test_nothing_is_sent_that_does_not_fit(self, ledger):
        """The error names the budget and what to do."""
        model, provider = scripted("yes")
        with budget("teacher", 5), pytest.raises(BudgetExhausted, match="teacher"):
            ask(model)
        assert [] == provider.requests
        assert 0 == ledger.spent().calls

    def test_who_does_not_fit_now_waits(self, ledger):
        """Worst cases that fit one at a time are sent one at a time, until real costs have eaten the budget."""
        under_way, most = 0, 0

        class Provider:
            endpoint = "http://localhost/slow"

            async def complete(self, _):
                nonlocal under_way, most
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0.001)
                under_way -= 1
                return answered()  # 3 dollars

        model = LLM("model", provider=Provider(), price=PRICE, max_tokens=10)

        async def story():
            with budget("teacher", 50):  # a worst case is about 30
                asked = (model.complete(f"{n}") for n in range(40))
                return await asyncio.gather(*asked, return_exceptions=True)

        replies = asyncio.run(story())
        refused = [each for each in replies if isinstance(each, BudgetExhausted)]
        assert 1 == most
        assert 5 < len(replies) - len(refused) < 40
        assert ledger.spent("teacher").settled <= 50
        assert len(refused) == sum(isinstance(each, Exception) for each in replies)


class TestLimiter:
    def test_no_more_than_concurrency_are_under_way(self):
        """However many are asked for."""
        provider = Held()
        model = LLM("model", provider=provider, concurrency=3)

        async def story():
            tasks = [asyncio.create_task(model.complete(f"{n}")) for n in range(10)]
            for done in range(10):
                await idle()
                assert min(done + 3, 10) == len(provider.requests)
                assert min(10 - done, 3) == model.in_flight
                provider.answers[done].set_result(answered())
            await asyncio.gather(*tasks)
            assert 0 == model.in_flight

        asyncio.run(story())
        assert [f"{n}" for n in range(10)] == [request.prompt for request in provider.requests]

    def test_two_steps_share_what_a_provider_allows(self):
        """Another LLM of the same model and endpoint has the same slots, and its own ceiling."""
        provider = Held()
        wide, narrow = (LLM("model", provider=provider, concurrency=n) for n in (4, 2))

        async def story():
            tasks = [asyncio.create_task(wide.complete(f"wide {n}")) for n in range(3)]
            await idle()
            tasks += [asyncio.create_task(narrow.complete("narrow")), asyncio.create_task(wide.complete("wide 3"))]
            await idle()
            assert ["wide 0", "wide 1", "wide 2", "wide 3"] == [each.prompt for each in provider.requests]
            for n in range(3):
                provider.answers[n].set_result(answered())
                await idle()
            assert "narrow" == provider.requests[-1].prompt
            for each in provider.answers[3:]:
                each.set_result(answered())
            await asyncio.gather(*tasks)

        asyncio.run(story())

    def test_a_provider_with_room_for_five_is_found_out(self):
        """Everything is answered, and few more are refused than must be."""
        room, refused, under_way = 5, 0, 0

        class Provider:
            endpoint = "http://localhost/room"

            async def complete(self, _):
                nonlocal refused, under_way
                if under_way >= room:
                    refused += 1
                    raise ProviderUnavailable("busy", retry_after=0.002, overloaded=True)
                under_way += 1
                await asyncio.sleep(0.001)
                under_way -= 1
                return answered()

        model = LLM("model", provider=Provider(), concurrency=50)

        async def story():
            return await asyncio.gather(*(model.complete(f"{n}") for n in range(400)))

        assert 400 == len(asyncio.run(story()))
        # 45 of the first 50, then about one for every eight answers.
        assert 45 <= refused < 45 + 400 / 4

    def test_it_recovers(self):
        """After a bad minute it is back where it was."""

        async def story():
            limiter = Limiter(16)
            for _ in range(16):
                await limiter.enter(16)
            for _ in range(8):
                limiter.refused(None)
                limiter.leave()
            assert 8 == limiter._limit
            for _ in range(8 * 8):
                limiter.answered(0)
            assert 16 == limiter._limit
            limiter.answered(0)
            assert 16 == limiter._limit

        asyncio.run(story())

    def test_one_refusal_of_a_lone_request_is_no_verdict(self):
        """While hardly anything is under way, little is given up."""

        async def story():
            limiter = Limiter(64)
            await limiter.enter(64)
            limiter.refused(None)
            assert 56 == limiter._limit

        asyncio.run(story())

    def test_rate_headers_hold_everybody(self):
        """After an answer whose headers ask for a pause, nothing is sent until it is over."""
        sent = []

        def answer(request):
            sent.append(time.monotonic())
            return answered(pause_s=0.2 if request.prompt == "a" else 0.0)

        model = LLM("model", provider=ScriptedProvider(answer))

        async def story():
            await model.complete("a")
            await asyncio.gather(model.complete("b"), model.complete("c"))

        asyncio.run(story())
        assert all(later - sent[0] >= 0.2 for later in sent[1:])

    def test_when_all_are_refused_all_wait(self):
        """Then a Retry-After is for everybody, those that were not sent yet included."""
        sent = []

        def answer(_):
            sent.append(time.monotonic())
            if len(sent) <= 4:
                return ProviderUnavailable("busy", retry_after=0.2, overloaded=True)
            return answered()

        model = LLM("model", provider=ScriptedProvider(answer), concurrency=4)

        async def story():
            await asyncio.gather(*(model.complete(f"{n}") for n in range(12)))

        asyncio.run(story())
        assert sent[4] - sent[3] >= 0.2 - 0.02

    def test_slots_survive_loops(self):
        """A loop that is over takes its own along: the next begins with all of them."""
        provider = Held()
        model = LLM("model", provider=provider, concurrency=1)

        async def cut_short():
            asyncio.create_task(model.complete("a"))  # noqa: RUF006 - it is abandoned on purpose
            await idle()

        asyncio.run(cut_short())
        assert "yes" == ask(attrs.evolve(model, provider=ScriptedProvider(["yes"]))).text
