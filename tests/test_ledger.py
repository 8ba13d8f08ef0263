"""The ledger: budgets that cannot be crossed, waiting for room, exact sums."""

import asyncio
import contextlib
import contextvars
import decimal
import random
import threading
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import ANSWER, USAGE, on_a_loop, waits

from text2expert import _progress, ledger
from text2expert.errors import BudgetExhausted, InputError, LedgerError
from text2expert.exchange import Completion, Usage
from text2expert.ledger import Ledger, budget


@on_a_loop
async def test_a_settled_reply_is_replayed_and_its_cost_is_booked(tmp_path):
    with Ledger(tmp_path) as book, budget("teacher", 1):
        hold = await book.hold("k", Decimal("0.5"))
        book.settle(hold, ANSWER, Decimal("0.125"))
        answer = Completion(text="yes", reasoning="because", usage=USAGE, finish="stop", model="m")
        assert answer == book.reply("k")
        assert ANSWER.raw == book.raw("k")
        assert Decimal("0.125") == book.spent("teacher").settled
    with Ledger(tmp_path) as again:
        assert answer == again.reply("k")
        assert again.reply("other") is None
        assert again.raw("other") is None
        assert (1, 1) == (again.spent().calls, again.spent().replies)


@on_a_loop
async def test_the_pause_that_a_provider_asked_for_is_not_replayed(tmp_path):
    with Ledger(tmp_path) as book:
        book.settle(
            await book.hold("k", Decimal(0)),
            Completion(text="", usage=None, finish="other", pause_s=30),
            Decimal(0),
        )
        assert Completion(text="", usage=None, finish="other") == book.reply("k")


@given(text=st.text(st.characters(), max_size=40), reasoning=st.text(st.characters(codec=None), max_size=10))
@settings(max_examples=40, deadline=None)
def test_every_text_comes_back_as_it_was(tmp_path_factory, text, reasoning):
    """Zero bytes and halves of surrogate pairs included."""
    answer = Completion(text=text, reasoning=reasoning, usage=None, finish="length", model="m")

    async def go():
        with Ledger(tmp_path_factory.mktemp("ledger")) as book:
            book.settle(await book.hold("k", Decimal(1)), answer, Decimal(1))
            return book.reply("k")

    assert answer == asyncio.run(go())


@on_a_loop
async def test_of_two_replies_to_one_request_the_first_is_kept_and_both_are_booked(tmp_path):
    with Ledger(tmp_path) as book:
        first, second = await book.hold("k", Decimal(1)), await book.hold("k", Decimal(1))
        book.settle(first, ANSWER, Decimal(1))
        book.settle(second, Completion(text="no", usage=None, finish="stop"), Decimal(1))
        assert "yes" == book.reply("k").text
        assert (Decimal(2), 2) == (book.spent().settled, book.spent().replies)


@on_a_loop
async def test_a_hold_waits_while_others_are_open_and_takes_what_they_free(tmp_path):
    with Ledger(tmp_path) as book, budget("teacher", 1):
        first = await book.hold("a", Decimal("0.7"))
        second = asyncio.create_task(book.hold("b", Decimal("0.7")))
        assert await waits(second)
        book.settle(first, ANSWER, Decimal("0.3"))
        assert "b" == (await second).key


@on_a_loop
async def test_a_budget_is_exhausted_when_nothing_open_can_make_room(tmp_path):
    with Ledger(tmp_path) as book, budget("teacher", 1):
        first = await book.hold("a", Decimal("0.7"))
        second = asyncio.create_task(book.hold("b", Decimal("0.7")))
        assert await waits(second)
        book.settle(first, ANSWER, Decimal("0.4"))
        with pytest.raises(
            BudgetExhausted, match=r"budget of teacher, \$1, .* \$0\.4 is spent, .* cost \$0\.7\. Raise"
        ):
            await second
        await book.hold("c", Decimal("0.6"))


@on_a_loop
async def test_a_hold_larger_than_its_budget_is_refused_at_once(tmp_path):
    with Ledger(tmp_path) as book, budget("", 1):
        await book.hold("a", Decimal(1))
        with pytest.raises(BudgetExhausted, match=r"budget of the whole run, \$1, "):
            await book.hold("b", Decimal("1.01"))


@on_a_loop
async def test_a_cap_counts_what_earlier_runs_spent_and_raising_it_continues(tmp_path):
    for cap, key in ((1, "a"), (2, "b")):
        with Ledger(tmp_path) as book, budget("teacher", cap):
            hold = await book.hold(key, Decimal(1))
            book.settle(hold, ANSWER, Decimal(1))
            with pytest.raises(BudgetExhausted):
                await book.hold("more", Decimal("0.000001"))


@on_a_loop
async def test_nested_budgets_all_hold(tmp_path):
    with Ledger(tmp_path) as book, budget("", 10), budget("teacher", 5):
        with budget("drafts", 2):
            hold = await book.hold("a", Decimal(2))
            assert "teacher/drafts" == hold.scope
            book.lose(hold)
            with pytest.raises(BudgetExhausted, match="teacher/drafts"):
                await book.hold("b", Decimal(1))
        with pytest.raises(BudgetExhausted, match="budget of teacher,"):
            await book.hold("b", Decimal(4))
        with budget("", 4), pytest.raises(BudgetExhausted, match="whole run"):
            await book.hold("b", Decimal(3))
        book.lose(await book.hold("b", Decimal(3)))
        assert Decimal(5) == book.spent("teacher").total == book.spent("").lost
        assert Decimal(2) == book.spent("teacher/drafts").lost


@on_a_loop
async def test_a_budget_without_a_cap_only_says_where_costs_are_booked(tmp_path):
    with Ledger(tmp_path) as book, budget("verifier", None):
        book.lose(await book.hold("a", Decimal(10**9)))
    with Ledger(tmp_path) as book:
        assert Decimal(10**9) == book.spent("verifier").lost
        assert Decimal(0) == book.spent("verify").lost


@pytest.mark.parametrize(
    "usd", [float("nan"), float("inf"), -1, Decimal(-1), Decimal("NaN"), True, "5", Decimal("1e12")]
)
def test_a_budget_that_is_no_amount_is_refused(usd):
    with pytest.raises(InputError, match=r"budget of teacher=.* dollars"), budget("teacher", usd):
        pass


def test_a_scope_with_a_slash_is_refused():
    with pytest.raises(InputError, match="slashes"), budget("a/b", 1):
        pass


@pytest.mark.parametrize("usd", [Decimal("NaN"), Decimal(-1), Decimal("Infinity")])
@on_a_loop
async def test_an_amount_that_cannot_be_added_up_is_refused(tmp_path, usd):
    with Ledger(tmp_path) as book:
        with pytest.raises(InputError):
            await book.hold("a", usd)
        hold = await book.hold("a", Decimal(1))
        with pytest.raises(InputError):
            book.settle(hold, ANSWER, usd)


@on_a_loop
async def test_a_float_means_what_it_is_written_as(tmp_path):
    """As a binary fraction 0.1 is more than ten cents, and three of them more than a budget of 0.3."""
    with Ledger(tmp_path) as book, budget("", 0.3):
        for key in "abc":
            book.settle(await book.hold(key, Decimal("0.1")), ANSWER, Decimal("0.1"))
        assert Decimal("0.3") == book.spent().settled


@on_a_loop
async def test_sums_are_exact_whatever_the_context_of_the_caller(tmp_path):
    with decimal.localcontext() as context:
        context.prec = 2
        with Ledger(tmp_path) as book, budget("", Decimal("1000.000000000001")):
            book.lose(await book.hold("a", Decimal(1000)))
            book.lose(await book.hold("b", Decimal("1E-12")))
            assert Decimal("1000.000000000001").compare_total(book.spent().lost).is_zero()
            with pytest.raises(BudgetExhausted):
                await book.hold("c", Decimal("1E-30"))


@on_a_loop
async def test_a_cost_above_the_hold_is_booked_as_it_is(tmp_path):
    with Ledger(tmp_path) as book, budget("", 1):
        book.settle(await book.hold("a", Decimal("0.1")), ANSWER, Decimal(3))
        assert Decimal(3) == book.spent().settled
        with pytest.raises(BudgetExhausted):
            await book.hold("b", Decimal("0.1"))


@pytest.mark.parametrize("again", ["release", "lose", "settle"])
@on_a_loop
async def test_a_hold_is_booked_once(tmp_path, again):
    with Ledger(tmp_path) as book:
        hold = await book.hold("a", Decimal(1))
        book.release(hold)
        more = (ANSWER, Decimal(1)) if again == "settle" else ()
        with pytest.raises(LedgerError, match="not open any more"):
            getattr(book, again)(hold, *more)
        assert Decimal(0) == book.spent().total


@on_a_loop
async def test_waiting_is_first_come_first_served_and_small_ones_do_not_overtake(tmp_path):
    with Ledger(tmp_path) as book, budget("", 10):
        open_holds = [await book.hold(f"open {n}", Decimal(5)) for n in range(2)]
        large = asyncio.create_task(book.hold("large", Decimal(9)))
        await waits(large)
        small = asyncio.create_task(book.hold("small", Decimal(2)))
        book.release(open_holds[0])
        assert await waits(large)
        assert await waits(small)
        book.release(open_holds[1])
        hold = await large
        assert await waits(small)
        book.release(hold)
        await small


@on_a_loop
async def test_who_waits_for_one_budget_does_not_keep_others_from_theirs(tmp_path):
    with Ledger(tmp_path) as book, budget("", 10):
        with budget("teacher", 2):
            first = await book.hold("a", Decimal(2))
            waiting = asyncio.create_task(book.hold("b", Decimal(2)))
            await waits(waiting)
        with budget("verifier", 8):
            hold = await book.hold("c", Decimal(6))
            # What the teacher waits for is kept free for it: with this one it would be 11 of 10.
            greedy = asyncio.create_task(book.hold("d", Decimal(1)))
            assert await waits(greedy)
        book.release(first)
        second = await waiting
        book.release(hold)
        await greedy
        book.release(second)


@on_a_loop
async def test_a_cancelled_wait_leaves_the_queue_to_the_next(tmp_path):
    with Ledger(tmp_path) as book, budget("", 10):
        await book.hold("open", Decimal(5))
        large = asyncio.create_task(book.hold("large", Decimal(9)))
        await waits(large)
        small = asyncio.create_task(book.hold("small", Decimal(4)))
        assert await waits(small)
        large.cancel()
        assert "small" == (await small).key
        assert large.cancelled()
        assert Decimal(9) == book.spent().held


@on_a_loop
async def test_a_hold_whose_task_is_cancelled_before_it_hears_of_it_is_released(tmp_path):
    with Ledger(tmp_path) as book, budget("", 10):
        hold = await book.hold("open", Decimal(10))
        waiting = asyncio.create_task(book.hold("late", Decimal(10)))
        await waits(waiting)
        book.release(hold)
        assert Decimal(10) == book.spent().held
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert Decimal(0) == book.spent().held
        await book.hold("next", Decimal(10))


@on_a_loop
async def test_closing_wakes_whoever_waits(tmp_path):
    book = Ledger(tmp_path)
    with book, budget("", 1):
        await book.hold("a", Decimal(1))
        waiting = asyncio.create_task(book.hold("b", Decimal(1)))
        await waits(waiting)
    with pytest.raises(LedgerError, match="closed while"):
        await waiting
    book.close()
    with pytest.raises(LedgerError, match=r"is closed: open it again with Ledger\("):
        book.reply("a")


def test_threads_with_loops_of_their_own_share_one_budget(tmp_path):
    spent, failures = [], []
    with Ledger(tmp_path) as book, budget("teacher", 5):

        async def work(name):
            for n in range(20):
                hold = await book.hold(f"{name} {n}", Decimal(1))
                now = book.spent()
                assert now.held + now.total <= 5
                await asyncio.sleep(0.0001)
                book.settle(hold, ANSWER, Decimal("0.02"))
                spent.append(1)

        async def many(name):
            await asyncio.gather(*(work(f"{name} {n}") for n in range(2)))

        def thread(name):
            try:
                asyncio.run(many(name))
            except Exception as error:  # noqa: BLE001 - told below, on the thread that can fail the test
                failures.append(error)

        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(thread, f"thread {n}")) for n in range(4)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join(30)
        assert ([], 160) == (failures, len(spent))
        assert Decimal("3.20") == book.spent("teacher").settled


@on_a_loop
async def test_a_waiter_whose_loop_was_closed_does_not_keep_its_room(tmp_path):
    with Ledger(tmp_path) as book, budget("", 1):
        hold = await book.hold("a", Decimal(1))

        def forget():
            loop = asyncio.new_event_loop()
            task = loop.create_task(book.hold("b", Decimal(1)))
            loop.run_until_complete(waits(task))
            loop.close()
            task._log_destroy_pending = False

        thread = threading.Thread(target=contextvars.copy_context().run, args=(forget,))
        thread.start()
        thread.join()
        book.release(hold)
        assert "c" == (await asyncio.wait_for(book.hold("c", Decimal(1)), 5)).key


@on_a_loop
async def test_averages_are_of_a_scope_and_a_model(tmp_path):
    with Ledger(tmp_path) as book:
        for scope, model, n in (("teacher", "m-1", 1), ("teacher", "m-1-20260101", 3), ("teachers", "m-1", 50)):
            with budget(scope, None), budget("x" if n == 3 else "", None):
                usage = Usage(input_tokens=n, cache_read_tokens=n * 10, cache_write_tokens=0, output_tokens=n * 100)
                answer = Completion(text="", usage=usage, finish="stop", model=model)
                book.settle(await book.hold(f"{n}", Decimal(1)), answer, Decimal(0))
        with budget("teacher", None):
            book.settle(await book.hold("?", Decimal(1)), Completion(text="", usage=None, finish="stop"), Decimal(1))
        average = book.usage("teacher")
        assert (2, 22, 20, 200) == (
            average.calls,
            average.input_tokens,
            average.cached_tokens,
            average.output_tokens,
        )
        assert 1 == book.usage("teacher/x", "m-1").calls
        assert 3 == book.usage(model="m-1").calls
        assert (
            0 == book.usage("teacher", "m").calls
        )  # "m-1" is another model, as claude-opus-5-5 is beside claude-opus-5
        assert ledger.Averages(calls=0, input_tokens=0, cached_tokens=0, output_tokens=0) == book.usage("nobody")


def test_nothing_is_made_before_something_is_written(tmp_path):
    with Ledger(tmp_path / "run") as book:
        assert book.reply("k") is None
        assert ledger.Spent(settled=Decimal(0), lost=Decimal(0), held=Decimal(0), calls=0, replies=0) == book.spent()
        assert 0 == book.usage().calls
        assert [] == book.open_batches()
    assert [] == list(tmp_path.iterdir())


def test_the_ledger_of_the_context_is_the_innermost_that_is_open(tmp_path):
    assert ledger.opened() is None
    with Ledger(tmp_path / "a") as outer:
        with Ledger(tmp_path / "b") as inner:
            assert inner is ledger.current() is ledger.opened()
        assert outer is ledger.current()
        with outer:
            pass
        assert outer.reply("still open") is None
    assert ledger.opened() is None


def test_a_step_used_alone_keeps_its_ledger_here_and_says_so_once(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(_progress, "say", said.append)
    monkeypatch.setattr("text2expert.ledger.book._default", None)
    monkeypatch.chdir(tmp_path)
    book = ledger.current()
    assert book is ledger.current()
    assert tmp_path / ".text2expert" / "ledger.sqlite" == book.path
    assert [f"Replies, and what they cost, are kept in {book.path}"] == said
    book.close()
    assert book is not ledger.current()


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["hold"] * 5 + ["settle"] * 3 + ["release", "lose", "cancel", "reopen"]),
        st.integers(0, 10**6),
    ),
    max_size=60,
)
SCOPES = [(), ("teacher",), ("teacher", "drafts"), ("verifier",), ("teacher", ""), ("",)]
CAPS = {"": Decimal("4.1"), "teacher": Decimal("2.3"), "drafts": Decimal("1.7"), "verifier": Decimal("1.9")}
CAPPED = {"": "", "teacher": "teacher", "drafts": "teacher/drafts", "verifier": "verifier"}


class Schedule:
    """A ledger under random actions, and what must be true of it after each."""

    def __init__(self, folder):
        self.folder = folder
        self.book = Ledger(folder)
        self.open, self.waiting = [], []
        self.bookings = []

    async def take(self, action, number):
        draw = random.Random(number)
        usd = Decimal(draw.randint(0, 1500)) / 1000
        if action == "hold":
            self.waiting.append(asyncio.create_task(self._hold(draw.choice(SCOPES), f"{number}", usd)))
        elif action == "cancel" and self.waiting:
            self.waiting.pop(draw.randrange(len(self.waiting))).cancel()
        elif action == "reopen":
            self.book.close()
            await self._tick()
            self.bookings += [(hold.scope, "lost", hold.usd) for hold in self.open]
            self.open, self.book = [], Ledger(self.folder)
        elif self.open:
            hold = self.open.pop(draw.randrange(len(self.open)))
            if action == "release":
                self.book.release(hold)
            elif action == "lose":
                self.book.lose(hold)
                self.bookings.append((hold.scope, "lost", hold.usd))
            else:
                cost = hold.usd * draw.randint(0, 100) / 100
                self.book.settle(hold, ANSWER, cost)
                self.bookings.append((hold.scope, "settled", cost))
        await self._tick()
        self.check()

    async def _hold(self, scopes, key, usd):
        with contextlib.ExitStack() as stack:
            for scope in scopes:
                stack.enter_context(budget(scope, CAPS[scope]))
            return await self.book.hold(key, usd)

    async def _tick(self):
        for _ in range(6):
            await asyncio.sleep(0)
        for task in [task for task in self.waiting if task.done()]:
            self.waiting.remove(task)
            if not task.cancelled() and task.exception() is None:
                self.open.append(task.result())
            elif not task.cancelled():
                assert isinstance(task.exception(), BudgetExhausted | LedgerError)

    def check(self):
        for scope, path in CAPPED.items():
            under = [
                (state, usd)
                for where, state, usd in self.bookings
                if path in ("", where) or where.startswith(f"{path}/")
            ]
            spent = self.book.spent(path)
            for state, booked in (("settled", spent.settled), ("lost", spent.lost)):
                assert sum(Fraction(usd) for kind, usd in under if kind == state) == Fraction(booked)
            held = sum(
                Fraction(hold.usd)
                for hold in self.open
                if path in ("", hold.scope) or hold.scope.startswith(f"{path}/")
            )
            assert held == Fraction(spent.held)
            if path != "":  # the whole ledger is capped for some only
                assert spent.total + spent.held <= CAPS[scope]
            assert len(under) == spent.calls
            assert sum(kind == "settled" for kind, _ in under) == spent.replies

    async def finish(self):
        """Everybody gets a turn."""
        while self.open or self.waiting:
            assert self.open, "somebody waits and nothing is open"
            self.book.release(self.open.pop())
            await self._tick()
        self.book.close()


@given(ACTIONS)
@settings(max_examples=60, deadline=None)
def test_no_schedule_crosses_a_budget_and_sums_add_up(tmp_path_factory, actions):
    async def go():
        schedule = Schedule(tmp_path_factory.mktemp("ledger"))
        for action, number in actions:
            await schedule.take(action, number)
        await schedule.finish()

    asyncio.run(go())
