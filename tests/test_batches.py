"""Message Batches through LLM and ledger: half the price, in any order, and nothing paid twice, whatever dies when."""

import asyncio
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from messages_server import CUT, HALF, KEY, Failed, MessagesServer, Said

from text2expert import _sync
from text2expert.errors import (
    AuthenticationFailed,
    BatchUnfinished,
    BudgetExhausted,
    InputError,
    OutOfBalance,
    ProviderError,
    ProviderUnavailable,
)
from text2expert.ledger import Ledger, budget
from text2expert.llm import LLM
from text2expert.prices import Price, tariff
from text2expert.providers import batches, message_batches
from text2expert.providers.batches import Batched

QUICK = {"quiet_s": 0.1, "poll_s": 0.05, "find_s": 1.0}
TARIFF = tariff("claude-sonnet-5-5", endpoint="x")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Batches are sent and looked at in no time."""
    monkeypatch.setattr(batches, "Pace", functools.partial(batches.Pace, **QUICK))


@pytest.fixture
def server():
    with MessagesServer(lambda body: f"to {body['messages'][0]['content']}") as server:
        yield server


def model(server, **fields):
    given = {"base_url": server.url, "api_key": KEY, "batch": True, "thinking": False, "max_tokens": 100}
    return LLM("anthropic/claude-sonnet-5-5", **given | fields)


async def ask_all(llm, prompts, **options):
    async with asyncio.timeout(60):
        return await asyncio.gather(*(llm.complete(prompt, **options) for prompt in prompts), return_exceptions=True)


def prompts(n):
    return [f"question {number}" for number in range(n)]


def until(condition, what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


def settled_as_billed(ledger, server):
    """The ledger has what the server's bill comes to at half the price."""
    price = TARIFF.rows[0].price
    million = Decimal(1_000_000)
    bill = sum(
        (entry["input_tokens"] * price.input + entry["output_tokens"] * price.output) / 2 / million
        for entry in server.bill
    )
    assert bill == ledger.spent().settled


def posts(server):
    return [path for method, path in server.seen if method == "POST"]


class TestABatch:
    def test_all_that_is_asked_together_is_one_batch_at_half_the_price(self, server, tmp_path):
        with Ledger(tmp_path) as ledger:
            answers = _sync.run(ask_all(model(server), prompts(50)))
            assert [f"to {prompt}" for prompt in prompts(50)] == [answer.text for answer in answers]
            assert all(answer.usage.batch for answer in answers)
            assert ["/v1/messages/batches"] == posts(server)
            settled_as_billed(ledger, server)
            assert (0, 0, 50) == (ledger.spent().held, ledger.spent().lost, ledger.spent().replies)
            until(lambda: ledger.open_batches() == [], "the batch is closed")

    def test_what_was_answered_is_never_sent_again(self, server, tmp_path):
        for _ in range(2):
            with Ledger(tmp_path):
                _sync.run(ask_all(model(server), prompts(5)))
        assert 1 == len(posts(server))

    def test_it_does_not_wait_for_the_limiter(self, server, tmp_path):
        with Ledger(tmp_path):
            _sync.run(ask_all(model(server, concurrency=1), prompts(20)))
        assert 1 == len(server.batches)

    def test_requests_in_it_are_those_of_messages(self, server, tmp_path):
        schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
        with Ledger(tmp_path):
            _sync.run(ask_all(model(server), ["q"], system="Be strict.", schema=schema))
        (sent,) = next(iter(server.batches.values())).requests
        assert {"type": "between_tools"} == sent["params"]["thinking"]
        assert sent["params"]["output_config"]["format"]["schema"]["additionalProperties"] is False
        assert 64 == len(sent["custom_id"])

    def test_more_requests_than_a_batch_may_hold_are_split(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(batches, "Pace", functools.partial(batches.Pace, max_requests=4))
        server.max_requests = 4
        with Ledger(tmp_path) as ledger:
            answers = _sync.run(ask_all(model(server), prompts(10)))
            assert [f"to {prompt}" for prompt in prompts(10)] == [answer.text for answer in answers]
            settled_as_billed(ledger, server)
        assert [2, 4, 4] == sorted(len(batch.requests) for batch in server.batches.values())

    def test_more_bytes_than_a_batch_may_hold_are_split(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(batches, "Pace", functools.partial(batches.Pace, max_bytes=2000))
        server.max_bytes = 2000 + len('{"requests":[]}')
        asked = [f"{number} é{'x' * 400}" for number in range(7)]
        with Ledger(tmp_path) as ledger:
            answers = _sync.run(ask_all(model(server), asked))
            assert [f"to {prompt}" for prompt in asked] == [answer.text for answer in answers]
            settled_as_billed(ledger, server)
        assert [1, 3, 3] == sorted(len(batch.requests) for batch in server.batches.values())

    def test_requests_that_keep_coming_are_waited_for_and_then_no_longer(self, server, tmp_path):
        async def trickle(llm):
            tasks = []
            for prompt in prompts(6):
                tasks.append(asyncio.create_task(llm.complete(prompt)))
                await asyncio.sleep(0.05)
            await asyncio.gather(*tasks)
            await llm.complete("one more")

        with Ledger(tmp_path):
            _sync.run(trickle(model(server)))
        assert [6, 1] == [len(batch.requests) for batch in server.batches.values()]

    def test_two_models_of_one_ledger_share_batches(self, server, tmp_path):
        async def both():
            strong, weak = (
                model(server),
                LLM("anthropic/claude-haiku-5-5", base_url=server.url, api_key=KEY, batch=True),
            )
            return await asyncio.gather(strong.complete("a"), weak.complete("a"))

        with Ledger(tmp_path):
            answers = _sync.run(both())
        assert ["claude-sonnet-5-5", "claude-haiku-5-5"] == [answer.model for answer in answers]
        assert 1 == len(server.batches)

    def test_it_serves_callers_on_loops_of_their_own(self, server, tmp_path):
        with Ledger(tmp_path):
            for n in (1, 2):
                assert ["to x"] == [answer.text for answer in asyncio.run(ask_all(model(server), ["x"], sample=n))]

    def test_a_provider_without_batches_is_told_so(self):
        with pytest.raises(InputError, match="batch=True with object"):
            Batched(object())

    def test_a_missing_key_is_told_before_anything_is_held(self, tmp_path):
        with Ledger(tmp_path), pytest.raises(AuthenticationFailed):
            LLM("anthropic/claude-sonnet-5-5", batch=True).check()


class TestFailures:
    def failing(self, server, failed, times=1):
        """*server* lets the first *times* requests of question 1 fail."""
        left = [failed] * times

        def answer(body):
            if body["messages"][0]["content"] == "question 1" and left:
                raise left.pop()
            return "fine"

        server.answer = answer

    @pytest.mark.parametrize("kind", ["expired", "api_error", "overloaded_error"])
    def test_what_expired_or_failed_is_sent_again(self, server, tmp_path, kind, monkeypatch):
        monkeypatch.setattr("text2expert.llm.FIRST_WAIT_S", 0.01)
        self.failing(server, Failed(kind))
        with Ledger(tmp_path) as ledger:
            answers = _sync.run(ask_all(model(server), prompts(4)))
            assert ["fine"] * 4 == [answer.text for answer in answers]
            assert [4, 1] == [len(batch.requests) for batch in server.batches.values()]
            settled_as_billed(ledger, server)

    def test_it_is_sent_again_only_within_the_budget(self, server, tmp_path, monkeypatch):
        """The other reply is longer than it may be, and leaves no room for a second attempt."""
        monkeypatch.setattr("text2expert.llm.FIRST_WAIT_S", 0.01)

        def answer(body):
            if body["messages"][0]["content"] == "question 1":
                raise Failed("expired")
            return "x" * 4000

        async def run():
            with budget("verifier", Decimal("0.006")):
                return await ask_all(model(server), prompts(2))

        server.answer = answer
        with Ledger(tmp_path) as ledger:
            long, none = _sync.run(run())
            assert (4000, BudgetExhausted) == (len(long.text), type(none))
            assert (0, 1) == (ledger.spent().held, ledger.spent("verifier").calls)
        assert [2] == [len(batch.requests) for batch in server.batches.values()]

    def test_what_is_refused_for_good_is_not(self, server, tmp_path):
        self.failing(server, Failed("invalid_request_error", "no such thing"))
        with Ledger(tmp_path) as ledger:
            answers = _sync.run(ask_all(model(server), prompts(3)))
            assert ["fine", "fine"] == [answers[0].text, answers[2].text]
            assert isinstance(answers[1], ProviderError)
            assert "no such thing" in str(answers[1])
            assert (0, 0) == (ledger.spent().held, ledger.spent().lost)
        assert 1 == len(server.batches)

    def test_a_canceled_batch_costs_nothing_and_says_so(self, server, tmp_path):
        server.batch_s = None
        with Ledger(tmp_path) as ledger:

            async def cancel():
                asking = asyncio.create_task(ask_all(model(server), prompts(2)))
                await asyncio.to_thread(until, lambda: server.batches, "the batch is there")
                import anthropic

                with anthropic.Anthropic(base_url=server.url, api_key=KEY) as client:
                    await asyncio.to_thread(client.messages.batches.cancel, next(iter(server.batches)))
                return await asking

            assert all("canceled" in str(answer) for answer in _sync.run(cancel()))
            assert (0, 0) == (ledger.spent().held, ledger.spent().total)

    @pytest.mark.parametrize(
        ("failed", "expected"),
        [
            (Failed("authentication_error"), AuthenticationFailed),
            (Failed("billing_error"), OutOfBalance),
            (Failed("request_too_large"), ProviderError),
        ],
    )
    def test_a_batch_that_is_refused_holds_nothing(self, server, tmp_path, failed, expected):
        server.faults.append(failed)
        with Ledger(tmp_path) as ledger:
            answers = _sync.run(ask_all(model(server), prompts(3)))
            assert [expected] * 3 == [type(answer) for answer in answers]
            assert (0, 0) == (ledger.spent().held, ledger.spent().total)
            assert [] == ledger.open_batches()

    def test_a_busy_provider_is_asked_again(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr("text2expert.llm.FIRST_WAIT_S", 0.01)
        server.faults.extend([Failed("overloaded_error"), Failed("rate_limit_error", headers={"retry-after": "0.05"})])
        with Ledger(tmp_path):
            assert ["to question 0"] == [answer.text for answer in _sync.run(ask_all(model(server), prompts(1)))]
        assert 3 == len(posts(server))

    def test_looking_at_it_may_fail_for_a_while(self, server, tmp_path):
        server.looking_faults.extend([Failed("api_error")] * 2 + [Failed("overloaded_error"), Failed("api_error")])
        with Ledger(tmp_path) as ledger:
            _sync.run(ask_all(model(server), prompts(3)))
            settled_as_billed(ledger, server)

    def test_results_that_break_off_are_read_again(self, server, tmp_path):
        """The first of them were handed out already: they are booked once."""
        server.answer = lambda _: "x" * 20_000
        server.looking_faults.extend([HALF, CUT])
        server.results_faults.extend([HALF, CUT, Failed("api_error"), HALF])
        with Ledger(tmp_path) as ledger:
            answers = _sync.run(ask_all(model(server), prompts(20)))
            assert ["x" * 20_000] * 20 == [answer.text for answer in answers]
            settled_as_billed(ledger, server)
            assert (0, 0, 20) == (ledger.spent().held, ledger.spent().lost, ledger.spent().replies)
        assert not server.results_faults

    def test_a_key_that_is_revoked_meanwhile_leaves_the_batch_for_the_next_run(self, server, tmp_path):
        server.looking_faults.append(Failed("authentication_error"))
        with Ledger(tmp_path) as ledger:
            answers = _sync.run(ask_all(model(server), prompts(3)))
            assert [BatchUnfinished] * 3 == [type(answer) for answer in answers]
            assert 3 == len(ledger.open_batches()[0].holds)
            # In the same process, with the same ledger, too.
            answers = _sync.run(ask_all(model(server), prompts(3)))
            assert ["to question 0", "to question 1", "to question 2"] == [answer.text for answer in answers]
            settled_as_billed(ledger, server)
        assert 1 == len(posts(server))

    @pytest.mark.parametrize("wrong", [KeyError("result"), RecursionError("deep")])
    def test_results_that_cannot_be_read_are_left_for_the_next_run(self, server, tmp_path, monkeypatch, wrong):
        """They were paid for, and a later version may read them."""

        def read(_):
            raise wrong

        with Ledger(tmp_path) as ledger:
            with monkeypatch.context() as patched:
                patched.setattr("text2expert.providers.batches.outcome_of", read)
                answers = _sync.run(ask_all(model(server), prompts(3)))
            assert [BatchUnfinished] * 3 == [type(answer) for answer in answers]
            assert type(wrong).__name__ in str(answers[0])
            assert (0, 0) == (ledger.spent().lost, ledger.spent().calls)
            answers = _sync.run(ask_all(model(server), prompts(3)))
            assert ["to question 0", "to question 1", "to question 2"] == [answer.text for answer in answers]
            settled_as_billed(ledger, server)
        assert 1 == len(posts(server))

    def test_results_that_are_gone_are_booked_as_lost_and_asked_again(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr("text2expert.llm.FIRST_WAIT_S", 0.01)
        monkeypatch.setattr(message_batches, "KEPT_S", -1.0)
        server.batch_s = None
        with Ledger(tmp_path) as ledger:

            async def lose():
                asking = asyncio.create_task(ask_all(model(server), prompts(2)))
                await asyncio.to_thread(until, lambda: server.batches, "the batch is there")
                server.batch_s = 0.0
                server.batches.clear()
                return await asking

            answers = _sync.run(lose())
            assert ["to question 0", "to question 1"] == [answer.text for answer in answers]
            assert ledger.spent().lost > 0
            assert 0 == ledger.spent().held

    def test_a_batch_that_this_key_does_not_see_is_not_paid_again(self, server, tmp_path):
        server.batch_s = None
        with Ledger(tmp_path) as ledger:

            async def hide():
                asking = asyncio.create_task(ask_all(model(server), prompts(2)))
                await asyncio.to_thread(until, lambda: server.batches, "the batch is there")
                server.batches.clear()
                return await asking

            answers = _sync.run(hide())
            assert all("not found with this key" in str(answer) for answer in answers)
            assert 2 == len(ledger.open_batches()[0].holds)
        assert 1 == len(posts(server))

    def test_an_answer_that_is_no_message_is_lost(self, server, tmp_path):
        server.answer = lambda _: Said(content=[{"type": "text"}])
        with Ledger(tmp_path) as ledger:
            answers = _sync.run(ask_all(model(server, attempts=1), prompts(2)))
            assert ["AnswerLost"] * 2 == [type(answer).__name__ for answer in answers]
            assert (0, 2) == (ledger.spent().held, ledger.spent().calls)
            assert ledger.spent().lost > 0

    def test_a_lost_answer_to_its_creation_does_not_pay_twice(self, server, tmp_path):
        server.faults.append(CUT)
        with Ledger(tmp_path) as ledger:
            answers = _sync.run(ask_all(model(server), prompts(5)))
            assert [f"to {prompt}" for prompt in prompts(5)] == [answer.text for answer in answers]
            settled_as_billed(ledger, server)
        assert 1 == len(server.batches)

    def test_a_creation_that_failed_in_the_service_is_sent_again_when_it_is_not_there(self, server, tmp_path):
        server.faults.append(Failed("api_error"))
        with Ledger(tmp_path) as ledger:
            answers = _sync.run(ask_all(model(server), prompts(2)))
            assert ["to question 0", "to question 1"] == [answer.text for answer in answers]
            settled_as_billed(ledger, server)
        assert (1, 2) == (len(server.batches), len(posts(server)))

    def test_another_batch_of_the_same_size_is_not_taken_for_it(self, server, tmp_path):
        with Ledger(tmp_path / "other"):
            _sync.run(ask_all(model(server), ["other a", "other b"]))
        server.faults.append(Failed("api_error"))
        with Ledger(tmp_path / "ours") as ledger:
            answers = _sync.run(ask_all(model(server), prompts(2)))
            assert ["to question 0", "to question 1"] == [answer.text for answer in answers]
            assert (0, 2) == (ledger.spent().lost, ledger.spent().replies)
        assert 2 == len(server.batches)

    def test_a_budget_lets_as_many_through_as_fit_and_the_next_when_it_is_known_what_they_cost(self, server, tmp_path):
        """Holds wait for the batch that is out: its real costs are far below its worst case."""

        async def run():
            with budget("verifier", Decimal("0.02")):
                return await ask_all(model(server), prompts(40))

        with Ledger(tmp_path) as ledger:
            answers = _sync.run(run())
            assert [] == [answer for answer in answers if isinstance(answer, Exception)]
            assert ledger.spent("verifier").total <= Decimal("0.02")
        assert len(server.batches) > 1

    def test_a_budget_for_none_sends_none(self, server, tmp_path):
        async def run():
            with budget("verifier", Decimal("0.0001")):
                return await ask_all(model(server), prompts(2))

        with Ledger(tmp_path):
            assert [BudgetExhausted] * 2 == [type(answer) for answer in _sync.run(run())]
        assert [] == server.seen


class NoPrices:
    """A price table that knows nothing."""

    @staticmethod
    def tariff(*_, **__):
        raise InputError("no such model in the table")


def looked_at(server):
    """A batch is looked at by whoever has stored its id."""
    until(lambda: any("/msgbatch_" in path for _, path in server.seen), "the batch is looked at")


class TestInterrupts:
    def interrupted(self, server, ledger_folder):
        """Ask, and cancel when the batch is waited for."""

        async def interrupt():
            asking = asyncio.create_task(ask_all(model(server), prompts(5)))
            await asyncio.to_thread(looked_at, server)
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

        with Ledger(ledger_folder):
            _sync.run(interrupt())

    def test_an_interrupted_run_says_that_the_batch_goes_on_and_does_not_cancel_it(self, server, tmp_path, capsys):
        server.batch_s = None
        self.interrupted(server, tmp_path)
        assert "goes on" in capsys.readouterr().err
        assert not any(path.endswith("/cancel") for path in posts(server))

    def test_the_next_run_collects_it(self, server, tmp_path):
        server.batch_s = None
        self.interrupted(server, tmp_path)
        server.end()
        with Ledger(tmp_path) as ledger:
            assert ledger.spent().held > 0
            answers = _sync.run(ask_all(model(server), prompts(5)))
            assert [f"to {prompt}" for prompt in prompts(5)] == [answer.text for answer in answers]
            settled_as_billed(ledger, server)
            assert (0, 0) == (ledger.spent().held, ledger.spent().lost)
        assert 1 == len(posts(server))

    def test_so_does_the_same_ledger_in_the_same_process(self, server, tmp_path):
        server.batch_s = None
        with Ledger(tmp_path) as ledger:
            # The ledger is left open, as that of a notebook is.
            with contextlib.suppress(asyncio.CancelledError):

                async def interrupt():
                    asking = asyncio.create_task(ask_all(model(server), prompts(3)))
                    await asyncio.to_thread(looked_at, server)
                    asking.cancel()
                    await asking

                _sync.run(interrupt())
            server.end()
            answers = _sync.run(ask_all(model(server), prompts(3)))
            assert ["to question 0", "to question 1", "to question 2"] == [answer.text for answer in answers]
            settled_as_billed(ledger, server)
            assert (0, 0, 3) == (ledger.spent().held, ledger.spent().lost, ledger.spent().calls)
        assert 1 == len(posts(server))

    def test_results_that_nobody_waits_for_are_booked_and_kept(self, server, tmp_path):
        """The next run asks for two of five: it gets all five results, and the rest later for nothing."""
        server.batch_s = None
        self.interrupted(server, tmp_path)
        server.end()
        with Ledger(tmp_path) as ledger:
            _sync.run(ask_all(model(server), prompts(2)))
            until(lambda: ledger.open_batches() == [], "all is collected")
            settled_as_billed(ledger, server)
            assert (0, 0, 5) == (ledger.spent().held, ledger.spent().lost, ledger.spent().replies)
            assert "to question 4" == _sync.run(model(server).complete("question 4")).text
        assert 1 == len(posts(server))

    def test_a_batch_at_another_address_is_left_alone(self, server, tmp_path):
        server.batch_s = None
        self.interrupted(server, tmp_path)
        # The server reads what comes in turn: a look that was under way at the interrupt is read before this request.
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"{server.url}/after-the-interrupt", timeout=60)
        before = len(server.seen)
        assert server.seen[-1] == ("GET", "/after-the-interrupt")
        with MessagesServer() as other, Ledger(tmp_path) as ledger:
            assert ['{"ok": true}'] == [answer.text for answer in _sync.run(ask_all(model(other), prompts(1)))]
            assert [5] == [len(batch.holds) for batch in ledger.open_batches() if batch.holds]
        assert before == len(server.seen)

    @pytest.mark.parametrize(("price", "per_million"), [(None, (1, 5)), (Price(input=3, output=7), (3, 7))])
    def test_they_are_booked_at_the_price_of_whoever_asks(self, server, tmp_path, price, per_million):
        server.batch_s = None
        self.interrupted(server, tmp_path)
        server.end()
        with Ledger(tmp_path) as ledger:
            _sync.run(ask_all(model(server, price=price), ["question 0"]))
            until(lambda: ledger.open_batches() == [], "all is collected")
            tokens = [sum(entry[kind] for entry in server.bill) for kind in ("input_tokens", "output_tokens")]
            assert (
                Decimal(tokens[0] * per_million[0] + tokens[1] * per_million[1]) == ledger.spent().settled * 1_000_000
            )

    def test_where_no_price_is_known_their_whole_hold_is_booked(self, server, tmp_path, monkeypatch):
        server.batch_s = None
        self.interrupted(server, tmp_path)
        server.end()
        server.batch_s = 0.0
        with Ledger(tmp_path) as ledger:
            held = ledger.spent().held
            llm = model(server)
            monkeypatch.setattr(batches, "prices", NoPrices)
            _sync.run(ask_all(llm, ["another"]))
            until(lambda: ledger.open_batches() == [], "all is collected")
            assert 6 == ledger.spent().replies
            another = server.bill[-1]
            assert (
                held + (another["input_tokens"] + another["output_tokens"] * 5) / Decimal(1_000_000)
                == ledger.spent().settled
            )

    def test_cancelled_before_it_is_sent_nothing_is_sent(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(batches, "Pace", functools.partial(batches.Pace, quiet_s=1.5))

        async def interrupt():
            llm = model(server)
            asking = asyncio.create_task(ask_all(llm, prompts(3)))
            await asyncio.sleep(0.1)
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
            return await llm.complete("another")

        with Ledger(tmp_path) as ledger:
            _sync.run(interrupt())
            assert (0, 0, 1) == (ledger.spent().held, ledger.spent().lost, ledger.spent().calls)
        assert [1] == [len(batch.requests) for batch in server.batches.values()]

    def test_tasks_that_are_cancelled_as_their_results_come_lose_nothing(self, server, tmp_path, monkeypatch):
        """They were handed their results and are cancelled before they could book them, while the first one books its own."""
        tasks = []
        settle = Ledger.settle

        def settle_and_cancel(*args):
            settle(*args)
            for task in tasks:
                task.cancel()

        async def run():
            llm = model(server)
            tasks.extend(asyncio.create_task(llm.complete(prompt)) for prompt in prompts(8))
            return await asyncio.gather(*tasks, return_exceptions=True)

        monkeypatch.setattr(Ledger, "settle", settle_and_cancel)
        with Ledger(tmp_path) as ledger:
            answers = _sync.run(run())
            assert any(isinstance(answer, asyncio.CancelledError) for answer in answers)
            until(lambda: ledger.open_batches() == [], "all is collected")
            settled_as_billed(ledger, server)
            assert (0, 0, 8) == (ledger.spent().held, ledger.spent().lost, ledger.spent().replies)
        assert 1 == len(posts(server))

    def test_so_do_those_of_a_loop_of_their_own(self, server, tmp_path):
        """The answer is on its way from loop to loop when its task is cancelled."""

        server.batch_s = None

        async def run():
            llm = model(server)
            tasks = [asyncio.create_task(llm.complete(prompt)) for prompt in prompts(8)]
            await asyncio.to_thread(until, lambda: server.batches, "the batch is there")
            server.end()
            time.sleep(0.8)  # noqa: ASYNC251 - this loop is busy, and the results wait at its door
            for task in tasks:
                task.cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

        with Ledger(tmp_path) as ledger:
            assert [asyncio.CancelledError] * 8 == [type(answer) for answer in asyncio.run(run())]
            until(lambda: ledger.open_batches() == [], "all is collected")
            settled_as_billed(ledger, server)
            assert (0, 0, 8) == (ledger.spent().held, ledger.spent().lost, ledger.spent().replies)


CHILD = """
import asyncio, functools, json, os, sys
sys.path.insert(0, {tests!r})
from text2expert import _sync
from text2expert.ledger import Ledger
from text2expert.llm import LLM
from text2expert.providers import batches, http
batches.Pace = functools.partial(batches.Pace, quiet_s=0.1, poll_s=0.05, find_s=2.0)

async def post(*args, _post=http.post, **kwargs):
    if {die!r} == "before":
        os.kill(os.getpid(), 9)
    reply = await _post(*args, **kwargs)
    if {die!r} == "sent":
        os.kill(os.getpid(), 9)
    return reply

http.post = post

def settle(self, *args, _settle=Ledger.settle, counter=[0]):
    if {die!r} == "booking" and counter[0] == 3:
        os.kill(os.getpid(), 9)
    counter[0] += 1
    _settle(self, *args)

Ledger.settle = settle

async def main():
    llm = LLM("anthropic/claude-sonnet-5-5", base_url={url!r}, api_key={key!r}, batch=True, thinking=False, max_tokens=100)
    answers = await asyncio.gather(*(llm.complete(f"question {{n}}") for n in range({count})))
    print(json.dumps([answer.text for answer in answers]))

with Ledger({folder!r}):
    _sync.run(main())
"""


class TestKills:
    """kill -9 of a real process, at each point where money is at stake."""

    def child(self, server, folder, die="", count=8):
        code = CHILD.format(
            tests=str(Path(__file__).parent), die=die, url=server.url, key=KEY, count=count, folder=str(folder)
        )
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def finished(self, server, folder, count=8):
        """A run that goes to its end, and what it got and said."""
        with self.child(server, folder, count=count) as child:
            out, err = child.communicate(timeout=60)
        assert 0 == child.returncode, err
        assert [f"to question {n}" for n in range(count)] == json.loads(out)
        return err

    def killed(self, server, folder, die):
        with self.child(server, folder, die) as child:
            _, err = child.communicate(timeout=60)
        assert -signal.SIGKILL == child.returncode, err

    def paid_once(self, server, folder, count=8):
        assert [1] * count == list(Counter(entry["custom_id"] for entry in server.bill).values())
        with Ledger(folder) as ledger:
            settled_as_billed(ledger, server)
            assert (0, 0, count) == (ledger.spent().held, ledger.spent().lost, ledger.spent().replies)

    @pytest.mark.parametrize(
        ("die", "batches_in_all"),
        [
            ("before", 1),  # written down, not sent
            ("sent", 1),  # sent and taken; its id was not stored
            ("booking", 1),  # some of the results are booked
        ],
    )
    def test_the_next_run_finds_its_batch_and_pays_nothing_twice(self, server, tmp_path, die, batches_in_all):
        self.killed(server, tmp_path, die)
        self.finished(server, tmp_path)
        assert batches_in_all == len(server.batches)
        self.paid_once(server, tmp_path)

    def test_killed_while_it_waits_for_a_batch_whose_id_is_stored(self, server, tmp_path):
        server.batch_s = None
        with self.child(server, tmp_path) as child:
            looked_at(server)
            child.kill()
            child.communicate()
        server.end()
        err = self.finished(server, tmp_path)
        assert "was sent already" in err
        assert 1 == len(server.batches)
        self.paid_once(server, tmp_path)

    def test_an_unnamed_batch_that_is_still_at_work_is_waited_for(self, server, tmp_path):
        """What is in it can be seen only when it has ended: until then nothing is sent again."""
        server.batch_s = None
        self.killed(server, tmp_path, "sent")
        threading.Timer(3.0, server.end).start()
        self.finished(server, tmp_path)
        assert 1 == len(server.batches)
        self.paid_once(server, tmp_path)

    def test_killed_at_any_moment(self, server, tmp_path):
        """Again and again, wherever it happens to be, until it gets to its end."""
        server.batch_s = 0.3
        for delay in (0.2, 0.5, 0.65, 0.8, 1.0, 1.3):
            with self.child(server, tmp_path, count=40) as child:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(delay + 0.3)
                child.kill()
                child.communicate()
        self.finished(server, tmp_path, count=40)
        self.paid_once(server, tmp_path, count=40)
        assert 1 == len(server.batches)

    def test_an_interrupt_from_the_keyboard_ends_it_at_once_and_quietly(self, server, tmp_path):
        server.batch_s = None
        with self.child(server, tmp_path) as child:
            looked_at(server)
            started = time.monotonic()
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=30)
        assert time.monotonic() - started < 10
        assert "KeyboardInterrupt" in err.strip().splitlines()[-1]
        assert 1 == err.count("goes on at")
        assert "never retrieved" not in err
        assert "pending" not in err
        server.end()
        self.finished(server, tmp_path)
        self.paid_once(server, tmp_path)

    def test_the_key_is_nowhere(self, server, tmp_path):
        self.killed(server, tmp_path, "sent")
        err = self.finished(server, tmp_path)
        assert KEY not in err
        for root, _, names in os.walk(tmp_path):
            for name in names:
                assert KEY.encode() not in (Path(root) / name).read_bytes()


def test_sending_again_waits_until_the_provider_would_have_it(server, tmp_path, monkeypatch):
    """A batch that is on its way when its sender dies may be listed only a little later."""
    monkeypatch.setattr(batches, "Pace", functools.partial(batches.Pace, find_s=0.5))
    server.faults.append(Failed("api_error"))
    started = time.monotonic()
    with Ledger(tmp_path), contextlib.suppress(ProviderUnavailable):
        _sync.run(model(server).complete("q"))
    assert time.monotonic() - started > 0.5
