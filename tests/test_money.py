"""Budgets, ledger and LLM driven through random schedules of answers, faults, lost answers, interrupts, kills and restarts.

The server here keeps its own bill. Whatever happens, in whatever order:

- what it bills within a budget's scope never exceeds the budget, nor do the ledger's books;
- a request whose reply was stored is never sent again, and its reply is what is given for it;
- what the ledger has settled is the bill for everything answered, to the last digit;
- what it has booked as lost covers the bill for everything that was not.
"""

import asyncio
import contextlib
import shutil
import tempfile
from decimal import Decimal
from pathlib import Path

import attrs
import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from text2expert import llm as module
from text2expert.errors import AnswerLost, BudgetExhausted, ProviderError, ProviderUnavailable
from text2expert.exchange import Completion, Usage
from text2expert.ledger import Ledger, budget
from text2expert.llm import LLM
from text2expert.prices import Price

MILLION = 1_000_000
# Numbers whose binary fractions never end: a sum of floats would be off.
PRICE = Price(
    input=Decimal("300.3"), cache_read=Decimal("30.07"), cache_write=Decimal("377.1"), output=Decimal("1500.9")
)
STEPS = ("teacher", "verifier")
PROMPTS = ("Why?", "Wherefore?", "What for? " * 30)
OVERHEAD = 50


@attrs.define(eq=False)
class Out:
    """A request that the server has and has not answered."""

    request: object
    step: str
    answer: asyncio.Future


class Server:
    """A provider that answers when it is told to, and bills what a model was run for."""

    endpoint = "https://api.example/v1"
    dialect = "example/1"
    overhead_tokens = OVERHEAD

    def __init__(self):
        self.out: list[Out] = []
        self.requests = []
        self.answered: dict[str, str] = {}
        """Text by key, of replies that were delivered."""
        self.bill = {step: {True: Decimal(0), False: Decimal(0)} for step in STEPS}
        """Dollars by step, and by whether the answer was delivered."""
        self.asked = []
        """The request of each answer that was delivered."""
        self.lost = dict.fromkeys(STEPS, Decimal(0))
        """The worst cases of requests of which the sender cannot know whether they were billed."""

    async def complete(self, request):
        assert request.key not in self.answered, "a reply that was stored is paid for again"
        under_way = {each.request.key for each in self.out if not each.answer.cancelled()}
        assert request.key not in under_way, "one question is sent twice at a time"
        self.requests.append(request)
        self.out.append(Out(request, request.system, asyncio.get_running_loop().create_future()))
        return await self.out[-1].answer

    def run_model(self, out, shares, *, delivered):
        """Bill the request, for these *shares* of the most tokens that it may have, and return its usage."""
        most = len(out.request.canonical.encode()) + OVERHEAD
        prompt, cached, written, reply = shares
        fresh = int(most * prompt)
        read = int(fresh * cached)
        wrote = int((fresh - read) * written)
        usage = Usage(
            input_tokens=fresh - read - wrote,
            cache_read_tokens=read,
            cache_write_tokens=wrote,
            output_tokens=int(out.request.max_tokens * reply),
        )
        self.bill[out.step][delivered] += (
            usage.input_tokens * PRICE.input
            + read * PRICE.cache_read
            + wrote * PRICE.cache_write
            + usage.output_tokens * PRICE.output
        ) / MILLION
        return usage

    def lose(self, out, shares, *, billed=True):
        """The answer to *out* will never be seen, and it is *billed* or not."""
        self.lost[out.step] += self.worst(out.request)
        if billed:
            self.run_model(out, shares, delivered=False)

    def worst(self, request):
        dearest = max(PRICE.input, PRICE.cache_read, PRICE.cache_write)
        prompt = len(request.canonical.encode()) + OVERHEAD
        return (prompt * dearest + request.max_tokens * PRICE.output) / MILLION


share = st.sampled_from([0.0, 0.1, 0.5, 1.0])
SHARES = st.tuples(st.sampled_from([0.01, 0.3, 1.0]), share, share, share)
FAULTS = st.sampled_from(
    [
        lambda: ProviderUnavailable("busy", retry_after=0, overloaded=True),
        lambda: ProviderUnavailable("down"),
        lambda: ProviderError("no such model"),
    ]
)
DOLLARS = st.decimals(min_value=0, max_value=4, places=3)


class Money(RuleBasedStateMachine):
    """Two steps under their budgets, and one budget around both."""

    def __init__(self):
        super().__init__()
        self.waits = module.FIRST_WAIT_S
        module.FIRST_WAIT_S = 0
        self.root = Path(tempfile.mkdtemp())
        self.folders = 0
        self.loop = asyncio.new_event_loop()
        self.server = Server()
        self.tasks: list[asyncio.Task] = []
        self.entered = contextlib.ExitStack()
        self.open(self.folder())

    @initialize(caps=st.tuples(DOLLARS, DOLLARS), whole=st.one_of(st.none(), DOLLARS), concurrency=st.integers(1, 5))
    def begin(self, caps, whole, concurrency):
        self.caps = dict(zip(STEPS, caps, strict=True))
        self.whole = whole
        self.model = LLM(
            "model", provider=self.server, price=PRICE, concurrency=concurrency, max_tokens=300, attempts=3
        )

    def open(self, folder):
        """A ledger that tasks find as the current one."""
        self.ledger = self.entered.enter_context(Ledger(folder))

    def folder(self):
        self.folders += 1
        return self.root / str(self.folders)

    def idle(self):
        async def turns():
            for _ in range(60):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())
        for task in [each for each in self.tasks if each.done()]:
            self.tasks.remove(task)
            self.judge(task)

    def judge(self, task):
        """What a question came to: an answer that is the server's, or one of the errors that were scripted."""
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            assert task.result().text in self.server.answered.values()
        elif not isinstance(
            error, BudgetExhausted | ProviderError | ProviderUnavailable | AnswerLost | ZeroDivisionError
        ):
            raise error

    # What users do

    @rule(step=st.sampled_from(STEPS), prompt=st.sampled_from(PROMPTS), sample=st.integers(0, 1))
    def ask(self, step, prompt, sample):
        async def question():
            with budget("", self.whole), budget(step, self.caps[step]):
                # The step is in the request, so that the server knows whom to bill.
                return await self.model.complete(prompt, system=step, sample=sample)

        self.tasks.append(self.loop.create_task(question()))
        self.idle()

    @precondition(lambda self: self.server.asked)
    @rule(data=st.data())
    def ask_again(self, data):
        """What was answered before: nothing is sent, and it is there although no budget may be left."""
        request = data.draw(st.sampled_from(self.server.asked))
        sent = len(self.server.requests)
        with budget("", 0):
            again = self.model.complete(request.prompt, system=request.system, sample=request.sample)
            reply = self.loop.run_until_complete(again)
        assert self.server.answered[request.key] == reply.text
        assert sent == len(self.server.requests)

    @rule(step=st.sampled_from(STEPS), more=DOLLARS)
    def raise_budget(self, step, more):
        self.caps[step] += more
        if self.whole is not None:
            self.whole += more
        self.idle()

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def interrupt(self, data):
        data.draw(st.sampled_from(self.tasks)).cancel()
        was_out = list(self.server.out)
        self.idle()
        self.forget([out for out in was_out if out.answer.cancelled()], data.draw(SHARES))

    # What the server does

    @precondition(lambda self: self.server.out)
    @rule(data=st.data(), shares=SHARES, counted=st.booleans())
    def answer(self, data, shares, counted):
        out = self.take(data)
        text = f"answer {len(self.server.requests)}"
        if counted:
            usage = self.server.run_model(out, shares, delivered=True)
        else:
            # No count, so the worst case is booked; a server that bills just that makes the books comparable.
            usage = None
            self.server.bill[out.step][True] += self.server.worst(out.request)
        out.answer.set_result(Completion(text=text, usage=usage, finish="stop", raw=text))
        self.server.answered[out.request.key] = text
        self.server.asked.append(out.request)
        self.idle()
        assert text == self.ledger.reply(out.request.key).text

    @precondition(lambda self: self.server.out)
    @rule(data=st.data(), fault=FAULTS)
    def refuse(self, data, fault):
        self.take(data).answer.set_exception(fault())
        self.idle()

    @precondition(lambda self: self.server.out)
    @rule(data=st.data(), shares=SHARES, billed=st.booleans(), error=st.sampled_from([AnswerLost, ZeroDivisionError]))
    def lose(self, data, shares, billed, error):
        """The answer is cut on its way, or a provider's own code fails on it."""
        out = self.take(data)
        self.server.lose(out, shares, billed=billed)
        out.answer.set_exception(error("cut"))
        self.idle()

    # What the machine does

    @rule(data=st.data(), shares=SHARES)
    def kill(self, data, shares):
        """``kill -9``: the files are as they are, nobody tidies up, and what is out may well be billed."""
        if self.server.out and data.draw(st.booleans()):
            # Killed with an answer in the socket's buffer.
            self.server.out[0].answer.set_result(
                Completion(text="unread", usage=Usage(input_tokens=1, output_tokens=1), finish="stop")
            )
        folder = self.folder()
        if self.ledger.path.parent.exists():
            shutil.copytree(self.ledger.path.parent, folder)
        self.stop(shares)
        self.open(folder)

    @rule(shares=SHARES)
    def restart(self, shares):
        """An orderly end: everything is cancelled, the ledger is closed and opened again."""
        self.stop(shares)
        self.ledger.close()
        self.open(self.ledger.path.parent)

    def stop(self, shares):
        was_out, self.server.out = self.server.out, []
        self.cancel_all()
        for out in was_out:
            self.server.lose(out, shares)

    def cancel_all(self):
        async def gone():
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

        self.loop.run_until_complete(gone())
        self.tasks.clear()

    def take(self, data):
        out = data.draw(st.sampled_from(self.server.out))
        self.server.out.remove(out)
        return out

    def forget(self, gone, shares):
        for out in gone:
            self.server.out.remove(out)
            self.server.lose(out, shares)

    # What always holds

    @invariant()
    def no_budget_is_exceeded(self):
        if not hasattr(self, "caps"):
            return
        for step, cap in self.caps.items():
            assert sum(self.server.bill[step].values()) <= cap
            spent = self.ledger.spent(step)
            assert spent.settled + spent.lost + spent.held <= cap
        if self.whole is not None:
            assert sum(sum(each.values()) for each in self.server.bill.values()) <= self.whole
            spent = self.ledger.spent()
            assert spent.settled + spent.lost + spent.held <= self.whole

    @invariant()
    def the_books_are_the_bill(self):
        for step in STEPS:
            spent = self.ledger.spent(step)
            assert self.server.bill[step][True] == spent.settled
            assert self.server.bill[step][False] <= spent.lost == self.server.lost[step]

    @invariant()
    def what_is_out_is_held(self):
        held = sum(self.server.worst(out.request) for out in self.server.out)
        assert held == self.ledger.spent().held

    @invariant()
    def every_reply_is_there(self):
        for key, text in self.server.answered.items():
            assert text == self.ledger.reply(key).text

    def teardown(self):
        try:
            # Nobody waits for ever: once everything that is out is answered, every question has come to something.
            while self.server.out:
                out = self.server.out.pop(0)
                usage = self.server.run_model(out, (0.3, 0, 0, 0.1), delivered=True)
                text = f"late {len(self.server.requests)}"
                self.server.answered[out.request.key] = text
                out.answer.set_result(Completion(text=text, usage=usage, finish="stop"))
                self.idle()
            assert [] == self.tasks
            self.the_books_are_the_bill()
            assert 0 == self.ledger.spent().held
        finally:
            self.cancel_all()
            self.loop.close()
            self.entered.close()
            shutil.rmtree(self.root)
            module.FIRST_WAIT_S = self.waits


TestMoney = Money.TestCase
TestMoney.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
