"""LLM: what is sent, what is replayed, what is booked, and what happens when a provider fails."""

import asyncio
import time
from decimal import Decimal

import attrs
import pytest
from scripted_llm import PRICE, Held, answered, ask, idle, scripted, worst_case

from text2expert import llm as module
from text2expert.errors import (
    AnswerLost,
    AuthenticationFailed,
    BudgetExhausted,
    InputError,
    OutOfBalance,
    ProviderError,
    ProviderUnavailable,
)
from text2expert.ledger import Ledger, budget
from text2expert.limiter import Limiter
from text2expert.llm import LLM, as_llm, samples
from text2expert.prices import Price
from text2expert.testing import ScriptedProvider

pytestmark = pytest.mark.usefixtures("ledger", "at_once")


class TestReplay:
    def test_an_answer_is_paid_for_once(self, ledger):
        """The second time it comes from the ledger."""
        model, provider = scripted(answered("Because."))
        first, second = ask(model), ask(model)
        assert "Because." == first.text == second.text
        assert first.usage == second.usage
        assert 1 == len(provider.requests)
        assert 10 * PRICE.input / 1_000_000 + 2 * PRICE.output / 1_000_000 == ledger.spent().settled

    def test_it_is_there_in_the_next_process(self, tmp_path):
        """What was stored under one ledger object is replayed under the next."""
        model, provider = scripted(answered("Because."))
        with Ledger(tmp_path):
            ask(model)
        with Ledger(tmp_path):
            assert "Because." == ask(model).text
        assert 1 == len(provider.requests)

    @pytest.mark.parametrize(
        "changed",
        [
            {"system": "Be brief."},
            {"schema": {"type": "object"}},
            {"max_tokens": 17},
            {"sample": 1},
            {"prompt": "Why not?"},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    def test_another_question_is_asked(self, changed):
        """Nothing that was answered to another request is replayed."""
        model, provider = scripted("a", "b")
        ask(model)
        assert "b" == ask(model, **changed).text
        assert 2 == len(provider.requests)

    @pytest.mark.parametrize(
        "changed",
        [
            {"name": "other"},
            {"thinking": False},
            {"effort": "low"},
            {"extras": {"seed": 1}},
            {"max_tokens": 17},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    def test_another_model_is_asked(self, changed):
        """Every setting that reaches the wire makes another request."""
        model, provider = scripted("a", "b")
        ask(model)
        assert "b" == ask(attrs.evolve(model, **changed)).text
        assert 2 == len(provider.requests)

    @pytest.mark.parametrize("changed", [{"concurrency": 3}, {"attempts": 2}, {"price": Price(input=1, output=1)}])
    def test_settings_that_reach_no_wire_change_nothing(self, changed):
        """What was paid for at one price and pace is not paid for again at another."""
        model, provider = scripted("a")
        ask(model)
        assert "a" == ask(attrs.evolve(model, **changed)).text
        assert 1 == len(provider.requests)

    def test_half_a_surrogate_pair_is_asked_and_replayed(self):
        """A text that no encoding can write is a question like any other."""
        model, provider = scripted("a\ud800")
        assert ask(model, "b\ud800").text == ask(model, "b\ud800").text
        assert 1 == len(provider.requests)


class TestFlights:
    def test_the_same_question_twice_at_a_time_is_sent_once(self, ledger):
        """All who ask get the one answer, and one is booked."""
        provider = ScriptedProvider(["yes"], latency_s=0.01)
        model = LLM("model", provider=provider, price=PRICE)

        async def both():
            return await asyncio.gather(*(model.complete("Why?") for _ in range(5)))

        assert ["yes"] * 5 == [each.text for each in asyncio.run(both())]
        assert 1 == len(provider.requests)
        assert 1 == ledger.spent().calls

    def test_a_refusal_is_shared(self):
        """It would be refused for the followers too, so they do not ask."""
        provider = ScriptedProvider([ProviderError("no such model")], latency_s=0.01)
        model = LLM("model", provider=provider)

        async def both():
            return await asyncio.gather(*(model.complete("Why?") for _ in range(3)), return_exceptions=True)

        assert ["no such model"] * 3 == [str(each) for each in asyncio.run(both())]
        assert 1 == len(provider.requests)

    def test_whoever_follows_a_cancelled_leader_leads(self, ledger):
        """The leader's request is booked as lost, and sent again for who still wants the answer."""
        provider = Held()
        model = LLM("model", provider=provider, price=PRICE)

        async def story():
            leader, follower = (asyncio.create_task(model.complete("Why?")) for _ in range(2))
            await idle()
            leader.cancel()
            await idle()
            provider.answers[1].set_result(answered())
            return await follower

        assert "yes" == asyncio.run(story()).text
        assert 2 == len(provider.requests)
        assert worst_case(provider.requests[0]) == ledger.spent().lost

    def test_a_follower_that_goes_takes_nothing_along(self):
        """Its cancellation does not reach the request of the leader."""
        provider = Held()
        model = LLM("model", provider=provider)

        async def story():
            leader, follower = (asyncio.create_task(model.complete("Why?")) for _ in range(2))
            await idle()
            follower.cancel()
            await idle()
            provider.answers[0].set_result(answered())
            return await leader

        assert "yes" == asyncio.run(story()).text

    def test_who_leads_on_a_small_budget_does_not_fail_the_others(self):
        """Each has a budget of its own: another's end is not theirs."""
        provider = Held()
        model = LLM("model", provider=provider, price=PRICE, max_tokens=10)

        async def ask_with(usd):
            with budget("step", usd):
                return await model.complete("Why?")

        async def story():
            poor, rich = asyncio.create_task(ask_with(1)), asyncio.create_task(ask_with(1000))
            await idle()
            provider.answers[0].set_result(answered())
            return await asyncio.gather(poor, rich, return_exceptions=True)

        poor, rich = asyncio.run(story())
        assert isinstance(poor, BudgetExhausted)
        assert "yes" == rich.text

    def test_nothing_is_left_of_a_flight(self, ledger):
        """Answered, refused or cancelled: the table of flights is empty afterwards."""
        model, _ = scripted("yes", ProviderError("no"))
        ask(model)
        with pytest.raises(ProviderError):
            ask(model, "Why not?")
        assert {} == ledger.flights


class TestInterrupts:
    def test_a_request_that_is_out_is_booked_as_lost(self, ledger):
        """Its provider may well bill it."""
        provider = Held()
        model = LLM("model", provider=provider, price=PRICE)

        async def story():
            task = asyncio.create_task(model.complete("Why?"))
            await idle()
            task.cancel()
            await asyncio.wait([task])

        asyncio.run(story())
        spent = ledger.spent()
        assert (0, worst_case(provider.requests[0]), 0) == (spent.settled, spent.lost, spent.held)

    def test_waiting_for_a_slot_books_nothing(self, ledger):
        """It was not sent, and the slot goes to the next."""
        provider = Held()
        model = LLM("model", provider=provider, price=PRICE, concurrency=1)

        async def story():
            first, second, third = (asyncio.create_task(model.complete(each)) for each in "abc")
            await idle()
            second.cancel()
            await idle()
            provider.answers[0].set_result(answered())
            await idle()
            provider.answers[1].set_result(answered())
            await asyncio.wait([first, third])

        asyncio.run(story())
        assert ["a", "c"] == [request.prompt for request in provider.requests]
        assert (0, 0, 2) == (ledger.spent().lost, ledger.spent().held, ledger.spent().calls)

    def test_a_slot_that_comes_with_the_interrupt_is_handed_on(self):
        """Whoever is cancelled in the moment that it gets its slot gives it back."""

        async def story():
            limiter = Limiter(1)
            await limiter.enter(1)
            second, third = (asyncio.create_task(limiter.enter(1)) for _ in range(2))
            await idle()
            limiter.leave()
            second.cancel()  # it has been given the slot, and has not run since
            await asyncio.wait_for(third, 1)
            return limiter.under_way

        assert 1 == asyncio.run(story())

    def test_waiting_for_room_in_a_budget_books_nothing(self, ledger):
        """The room is there for whoever comes next."""
        provider = Held()
        model = LLM("model", provider=provider, price=PRICE, max_tokens=10)

        async def story():
            with budget("step", 50):  # one worst case of about 30 dollars
                first, second = (asyncio.create_task(model.complete(each)) for each in "ab")
                await idle()
                assert 1 == len(provider.requests)
                second.cancel()
                await idle()
                provider.answers[0].set_result(answered())
                await asyncio.wait([first, second])

        asyncio.run(story())
        assert 1 == len(provider.requests)
        assert (0, 0, 1) == (ledger.spent().lost, ledger.spent().held, ledger.spent().calls)

    def test_waiting_to_ask_again_books_nothing_more(self, ledger):
        """What was refused costs nothing, and the next attempt was never sent."""
        model, provider = scripted(ProviderUnavailable("busy", retry_after=60))

        async def story():
            task = asyncio.create_task(model.complete("Why?"))
            await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.wait([task])

        asyncio.run(story())
        assert 1 == len(provider.requests)
        assert (0, 0, 0) == (ledger.spent().lost, ledger.spent().held, ledger.spent().calls)


class TestFailures:
    def test_what_may_pass_is_sent_again(self, ledger):
        """A refused request costs nothing; a lost one costs its worst case; the answer costs what it costs."""
        model, provider = scripted(ProviderUnavailable("busy"), AnswerLost("cut"), answered())
        assert "yes" == ask(model).text
        assert 3 == len(provider.requests)
        assert 1 == len({request.key for request in provider.requests})
        spent = ledger.spent()
        assert (Decimal("2.999998"), worst_case(provider.requests[0]), 0) == (spent.settled, spent.lost, spent.held)

    @pytest.mark.parametrize(
        ("error", "lost"), [(ProviderUnavailable("busy", retry_after=0, overloaded=True), 0), (AnswerLost("cut"), 3)]
    )
    def test_not_more_often_than_attempts(self, ledger, error, lost):
        """Then it says how often it was tried, and what is wrong."""
        model, provider = scripted(*[error] * 4, attempts=3)
        with pytest.raises(type(error), match=r"(busy|cut) \(sent 3 times; run again later") as raised:
            ask(model)
        assert getattr(error, "overloaded", None) == getattr(raised.value, "overloaded", None)
        assert 3 == len(provider.requests)
        assert lost * worst_case(provider.requests[0]) == ledger.spent().lost

    @pytest.mark.parametrize("error", [ProviderError("no"), AuthenticationFailed("key"), OutOfBalance("empty")])
    def test_what_is_refused_for_good_is_not_sent_again(self, ledger, error):
        """It stops at once, and nothing is booked."""
        model, provider = scripted(error, "yes")
        with pytest.raises(type(error), match=str(error)):
            ask(model)
        assert 1 == len(provider.requests)
        assert (0, 0, 0) == (ledger.spent().settled, ledger.spent().lost, ledger.spent().held)

    def test_an_error_in_somebodys_provider_is_perhaps_billed(self, ledger):
        """It comes through as it is."""
        model, provider = scripted(KeyError("choices"), "yes")
        with pytest.raises(KeyError, match="choices"):
            ask(model)
        assert 1 == len(provider.requests)
        assert worst_case(provider.requests[0]) == ledger.spent().lost

    def test_a_request_that_cannot_be_written_was_not_sent(self, ledger):
        """A provider that finds fault with an argument has sent nothing."""
        model, _ = scripted(InputError("extras has 'tools'"))
        with pytest.raises(InputError, match="tools"):
            ask(model)
        assert 0 == ledger.spent().calls

    def test_a_reply_without_usage_is_booked_whole(self, ledger):
        """What it did cost is not known, so it is what it may have cost at most."""
        model, provider = scripted(answered(usage=None))
        ask(model)
        assert worst_case(provider.requests[0]) == ledger.spent().settled

    def test_the_worst_case_has_what_the_service_adds(self, ledger):
        """A provider's own instructions are tokens too."""
        model, provider = scripted(answered(usage=None))
        provider.overhead_tokens = 1000
        ask(attrs.evolve(model))
        assert worst_case(provider.requests[0]) + 1000 * PRICE.input / 1_000_000 == ledger.spent().settled

    def test_a_retry_after_is_obeyed(self):
        """The request is not sent again before."""
        sent = []

        def answer(_):
            sent.append(time.monotonic())
            return "yes" if len(sent) > 1 else ProviderUnavailable("busy", retry_after=0.2, overloaded=True)

        ask(LLM("model", provider=ScriptedProvider(answer)))
        assert sent[1] - sent[0] >= 0.2

    def test_nobody_waits_for_an_hour(self):
        """A provider that asks for more than anybody would wait for is not asked again now."""
        model, provider = scripted(ProviderUnavailable("busy", retry_after=3600), "yes")
        with pytest.raises(ProviderUnavailable, match=r"busy \(sent 1 time;"):
            ask(model)
        assert 1 == len(provider.requests)

    def test_waits_double(self, monkeypatch):
        """Each wait is twice the one before, up to a bound, and up to a quarter more."""
        monkeypatch.setattr(module, "FIRST_WAIT_S", 0.5)
        waits = []

        async def sleep(seconds):
            waits.append(seconds)

        monkeypatch.setattr(asyncio, "sleep", sleep)
        model, _ = scripted(*[AnswerLost("cut")] * 10, attempts=10)
        with pytest.raises(AnswerLost):
            ask(model)
        for expected, waited in zip([0.5, 1, 2, 4, 8, 16, 32, 60, 60], waits, strict=True):
            assert expected <= waited <= 1.25 * expected


class TestSamples:
    USABLE = staticmethod(lambda reply: reply.text.startswith("{"))

    def gather(self, model, **settings):
        return [each.text for each in asyncio.run(samples(model, "Why?", usable=self.USABLE, **settings))]

    def test_asked_again_until_one_is_usable(self):
        """All replies are returned, and the usable one is the last."""
        model, provider = scripted("no", "{cut", "{never")
        assert ["no", "{cut"] == self.gather(model)
        assert [0, 1] == [request.sample for request in provider.requests]

    def test_not_more_often_than_tries(self):
        """What there is may be salvaged."""
        model, _ = scripted("a", "b", "c", "{d")
        assert ["a", "b", "c"] == self.gather(model)

    def test_another_run_replays_all_of_them(self):
        """The unusable ones too: they were paid for."""
        model, provider = scripted("no", "{yes")
        assert self.gather(model) == self.gather(model)
        assert 2 == len(provider.requests)

    @pytest.mark.parametrize("error", [ProviderUnavailable("busy"), AnswerLost("cut")])
    def test_what_was_paid_for_is_kept(self, error):
        """A second sample that cannot be had does not take the first along; a first one that cannot is an error."""
        model, _ = scripted("no", error, error, attempts=1)
        assert ["no"] == self.gather(model)
        with pytest.raises(type(error)):
            asyncio.run(samples(model, "Why not?", usable=self.USABLE))

    def test_a_budget_that_ends_in_between_keeps_the_first(self):
        """The reply was paid for; what it holds is not thrown away."""
        model, provider = scripted(answered("no", input_tokens=50, output_tokens=10), "{yes", max_tokens=10)
        with budget("teacher", 40):  # the first is 15, and the worst case about 30
            assert ["no"] == self.gather(model)
        assert 1 == len(provider.requests)

    def test_a_key_that_is_refused_stops_everything(self):
        """Also between two samples."""
        model, _ = scripted("no", AuthenticationFailed("key"))
        with pytest.raises(AuthenticationFailed):
            self.gather(model)


class TestNames:
    def test_a_key_is_in_no_repr(self):
        """Nor in what an error shows of the record."""
        model = LLM("deepseek/deepseek-flash", base_url="https://proxy.example/v1", api_key="sk-secret", price=PRICE)
        assert "sk-secret" not in repr(model)
        assert "sk-secret" not in str(attrs.asdict(model, filter=lambda field, _: field.repr))

    def test_a_missing_key_is_named_before_any_work(self, monkeypatch, ledger):
        """And nothing is sent or booked without it; a key that is set later is found."""
        model = LLM("deepseek/deepseek-flash")
        with pytest.raises(AuthenticationFailed, match="DEEPSEEK_API_KEY"):
            model.check()
        with pytest.raises(AuthenticationFailed, match="DEEPSEEK_API_KEY"):
            ask(model)
        assert 0 == ledger.spent().calls
        monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-secret")
        model.check()

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("deepseek/deepseek-reasoner", "deepseek-flash"),
            ("anthropic/claude-3-5-sonnet-20241022", "claude-sonnet-5-5"),
            ("anthropic/claude-unheard-of", "price"),
            ("nobody/model", "nobody/model"),
            (" ", "name a model"),
        ],
    )
    def test_a_name_that_cannot_be_used_is_refused_at_once(self, name, said):
        """The message says what to use instead."""
        with pytest.raises(InputError, match=said):
            LLM(name)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"concurrency": 0},
            {"max_tokens": 1.5},
            {"attempts": True},
            {"effort": "huge"},
            {"extras": {"temperature": float("nan")}},
            {"extras": {"when": time}},
            {"provider": ScriptedProvider([]), "api_key": "sk"},
        ],
        ids="-".join,
    )
    def test_a_setting_that_cannot_be_used_is_named(self, wrong):
        """With its value and what is allowed."""
        with pytest.raises(InputError, match=next(iter(wrong))):
            LLM("http://localhost:1/v1#model", **wrong)

    def test_a_name_is_as_good_as_an_llm(self):
        """Wherever a model is taken."""
        assert LLM("deepseek/deepseek-flash") == as_llm("deepseek/deepseek-flash")
        model, _ = scripted()
        assert model is as_llm(model)
        with pytest.raises(InputError, match="llm=7"):
            as_llm(7)


class TestEstimates:
    def test_from_the_cheapest_to_the_dearest(self):
        """Short replies off peak, long ones at peak; DeepSeek's prices double there."""
        estimate = LLM("deepseek/deepseek-flash").estimate(400, 400 * 450, (400 * 1000, 400 * 3000))
        assert Decimal("0.267") == estimate.usd_low == Decimal("0.15") * 180 / 1000 + Decimal("0.60") * 400 / 1000
        assert Decimal("1.494") == estimate.usd_high == Decimal("0.30") * 180 / 1000 + Decimal("1.20") * 1200 / 1000
        assert "api.deepseek.com" == estimate.host
        assert (400, 180_000, (400_000, 1_200_000)) == (estimate.calls, estimate.input_tokens, estimate.output_tokens)

    def test_batches_cost_half_and_take_an_hour(self):
        """Where the provider has them."""
        single, batch = (
            LLM("anthropic/claude-sonnet-5-5", batch=batch).estimate(10, 10_000, (1000, 1000))
            for batch in (False, True)
        )
        assert single.usd_high == 2 * batch.usd_high > 0
        assert single.seconds < batch.seconds == 3600

    def test_what_stays_here_is_free_and_has_no_host(self):
        """A server on this machine."""
        estimate = LLM("http://127.0.0.1:8000/v1#own").estimate(10, 1000, (1000, 2000))
        assert (None, 0, 0) == (estimate.host, estimate.usd_low, estimate.usd_high)

    def test_more_at_a_time_takes_less_time(self):
        """Calls go in rounds of ``concurrency``."""
        slow, quick = (
            LLM("deepseek/deepseek-flash", concurrency=n).estimate(100, 1000, (10_000, 10_000)) for n in (10, 100)
        )
        assert pytest.approx(slow.seconds) == 10 * quick.seconds

    def test_nothing_takes_nothing(self):
        """Zero calls."""
        estimate = LLM("anthropic/claude-sonnet-5-5", batch=True).estimate(0, 0, (0, 0))
        assert (0, 0, 0) == (estimate.usd_low, estimate.usd_high, estimate.seconds)


class TestNobodyThere:
    """Connections refused: a server that was never started, or one that is away for a moment."""

    @staticmethod
    def refused(unreached):
        error = ProviderUnavailable("cannot connect to localhost:8000: connection refused", unreached=unreached)
        return [error] * 8

    def test_a_server_that_was_never_there_is_soon_given_up_and_told_of_at_once(self, monkeypatch):
        said = []
        monkeypatch.setattr("text2expert._progress.say", said.append)
        module._tell_unreached.cache_clear()
        model, provider = scripted(*self.refused(unreached=True))
        with pytest.raises(ProviderUnavailable, match=r"^nothing answers at .+: is the server running\? Cannot connect"):
            ask(model)
        assert module.UNREACHED_ATTEMPTS == len(provider.requests)
        assert 1 == len(said)
        assert "is the server running?" in said[0]

    def test_one_that_answered_before_is_waited_for(self):
        model, provider = scripted(*self.refused(unreached=False)[:7], answered("Because."))
        assert "Because." == ask(model).text
        assert 8 == len(provider.requests)

    def test_one_that_is_still_starting_is_waited_for_some_seconds(self):
        model, provider = scripted(*self.refused(unreached=True)[:3], answered("Because."))
        assert "Because." == ask(model).text
        assert 4 == len(provider.requests)
