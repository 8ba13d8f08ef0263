"""The exam as a part of a pipeline: planned, quoted, written once, and paid for."""

import asyncio
import json

import attrs
import pytest
from sittings import PRICE, Elsewhere, asked, scripted
from vast_server import VastServer

from text2expert import LLM, Ledger, Pipeline, Trainer, examination
from text2expert.errors import (
    AuthenticationFailed,
)
from text2expert.examiner import (
    Examiner,
    ExamWriter,
    ModelContestant,
    OpenBook,
    concluding,
    estimating,
    making,
)
from text2expert.examiner.results import (
    GivenAnswer,
)
from text2expert.exchange import Completion
from text2expert.records import (
    Quote,
)
from text2expert.runfolder import RunFolder
from text2expert.runners.vast import offers
from text2expert.testing import ScriptedProvider


def test_a_written_exam_is_asked_and_not_written_twice(pumps, tmp_path):
    """Its author is asked before training, from the budget of the exam; the same run again needs no key."""

    def author(request):
        if "Say whether these parts" in request.system:
            return '{"answered": false}'
        if "leaves open" in request.system:
            return '{"items": []}'
        quote = "The filter is replaced within 3 days of an alarm."
        item = {
            "evidence": [quote], "question": "After an alarm, how soon does the filter of a pump have to be a new one?",
            "answer": "The filter is replaced within 3 days.", "short_answer": "within 3 days", "difficulty": "easy",
        }  # fmt: skip
        return json.dumps({"items": [item]}) if quote in request.prompt else '{"items": []}'

    provider = ScriptedProvider(author)
    writer = ExamWriter(LLM("author", provider=provider, price=PRICE))
    pipeline = Pipeline(trainer=Trainer("some/model-7B", runner=Elsewhere()), examiner=Examiner(writer=writer))
    run = pipeline.run(pumps, out=tmp_path / "run")
    assert run.exam.score("written_apart", "base + RAG").n == 1
    assert run.receipt["models"]["exam_writer"] == "author"
    assert float(run.receipt["costs"]["exam"]["settled_usd"]) > 0
    assert run.exam.score("general", "expert").n > 0
    assert any(group.by == "difficulty" for group in run.exam.groups)
    # What an hour of the card costs was assumed, and that is said.
    assert not run.exam.economics.costs[0].usd_per_1000
    sent = len(provider.requests)
    broken = ScriptedProvider(lambda request: AuthenticationFailed("no key any more"))
    same = Pipeline(
        trainer=Trainer("some/model-7B", runner=Elsewhere()),
        examiner=Examiner(writer=ExamWriter(LLM("author", provider=broken, price=PRICE))),
    )
    again = same.run(pumps, out=tmp_path / "run")
    assert (len(provider.requests), broken.requests) == (sent, [])
    assert again.exam.scores == run.exam.scores
    assert again.exam.exam_sha256 == run.exam.exam_sha256


def test_a_plan_names_what_an_exams_models_cost(pumps):
    model = LLM("author", provider=scripted(), price=PRICE)
    judge = LLM("judge", provider=scripted(), price=PRICE)
    examiner = Examiner(
        writer=model, judge=judge, contestants={"small": ModelContestant(model), "read": OpenBook(model)}
    )
    plan = Pipeline(examiner=examiner).plan(pumps)
    costs = {step.step: float(step.estimate.usd_high) for step in plan.steps}
    assert list(costs) == ["exam writer", "small", "read", "judge"]
    assert min(costs.values()) > 0
    assert costs["small"] < costs["read"]
    assert plan.usd_high == pytest.approx(sum(costs.values()))
    assert "judge" in str(plan)
    before = plan.without_training
    assert before.steps == ()
    assert before.training is None
    assert 0 <= before.seconds < plan.seconds
    assert "stops when the golden dataset is there" in str(before)
    assert Pipeline().plan(pumps).steps == ()


class Landlord:
    """Rents a machine by what is asked of it."""

    async def run(self, job):
        raise AssertionError("a plan runs nothing")

    async def quote(self, job):
        self.needs = job.needs
        return Quote(usd=1.0, seconds=job.needs.seconds + job.needs.exam_seconds)


def test_a_machine_is_quoted_for_the_passages_that_the_exam_shows(pumps):
    """Of an exam with 100 general questions, which are asked without passages, and some 30 others in five ways."""
    seconds = {}
    for k in (1, 5):
        landlord = Landlord()
        trainer = Trainer("Qwen/Qwen2.5-7B-Instruct", runner=landlord)
        Pipeline(trainer=trainer, examiner=Examiner(k=k)).plan(pumps)
        seconds[k] = landlord.needs.exam_seconds
    assert 10 < seconds[1] < seconds[5]
    (offer,) = offers.rank([VastServer._offer(1)], landlord.needs)
    (without,) = offers.rank([VastServer._offer(1)], attrs.evolve(landlord.needs, exam_seconds=0.0))
    assert offer.hours > without.hours
    assert estimating.asked_there(130, 100, k=5, chunks=50, characters=50 * 800, embedded=False) == (
        2 * 130 + 3 * 30,
        (2 * 130 + 3 * 30) * estimating.ASKED_TOKENS + 30 * (5 + 5 + 1) * 200,
    )


def test_keys_of_an_exams_models_are_looked_for_before_anything_is_done(pumps, tmp_path):
    """A run that stops before it trains needs none of them."""
    examiner = Examiner(judge="anthropic/claude-haiku-5-5")
    with pytest.raises(AuthenticationFailed, match="ANTHROPIC_API_KEY"):
        Pipeline(examiner=examiner).run(pumps, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    Pipeline(examiner=examiner).run(pumps, out=tmp_path / "run", fine_tune=False)


def test_the_cloud_has_its_exam_written_by_the_teacher(monkeypatch):
    monkeypatch.setenv("DEEPSEEK_API_KEY", "k")
    pipeline = Pipeline.cloud()
    assert pipeline.examiner.writer.llm == pipeline.teacher.llm
    assert Pipeline().examiner.writer is None


@pytest.mark.parametrize(
    ("money", "expected"),
    [
        (concluding.Money(on_gpu=True), concluding.RTX_4090_USD),
        (concluding.Money(on_gpu=True, usd_per_hour=3.6), 3.6),
        (concluding.Money(paid_per_hour=0.36, on_gpu=True), 0.36),
        (concluding.Money(paid_per_hour=0.36, usd_per_hour=3.6), 3.6),
        (concluding.Money(), None),
    ],
)
def test_an_answer_costs_what_the_machine_was_paid_or_is_said_to_cost(money, expected):
    """In this order: what the user says, what was rented, a card for rent; a processor of one's own has no price."""
    exam = making.Exam(questions=(asked("Why?"),))
    given = [
        GivenAnswer(question="q", contestant=name, text="80 °C", grade="right", seconds=3.6)
        for name in ("expert", "base")
    ]
    costs = {each.contestant: each for each in concluding.conclude(exam, given, money=money).economics.costs}
    usd = costs["expert"].usd_per_1000
    assert usd == (None if expected is None else pytest.approx(expected))
    if money == concluding.Money(on_gpu=True):
        assert any("May 2026" in each for each in costs["expert"].assumed)


def test_the_price_of_a_rented_machine_is_in_the_ledger(tmp_path):
    from text2expert import ledger

    async def rent(book, key, text, usd):
        with ledger.budget("training", None):
            hold = await book.hold(key, usd)
        book.settle(hold, Completion(text=text, reasoning="", usage=None, finish="stop", model="vast", raw=text), usd)

    from decimal import Decimal

    with Ledger(tmp_path) as book:
        asyncio.run(rent(book, "rent/1", '{"usd_per_hour": "0.31"}', Decimal("0.5")))
        asyncio.run(rent(book, "rent/2", '{"usd_per_hour": "0.42"}', Decimal("0.25")))
        assert book.replies("training") == ['{"usd_per_hour": "0.31"}', '{"usd_per_hour": "0.42"}']
        assert book.replies("train") == []
        found = examination.money(RunFolder(tmp_path))
    assert (found.paid_per_hour, found.making_usd, found.own_machine) == (0.42, 0.75, False)


@pytest.mark.parametrize(
    ("said", "seconds"), [('{"training_seconds": 502.5, "device": "cuda:0"}', 502.5), ("{}", None)]
)
def test_where_no_machine_was_rented_the_seconds_of_training_are_known_by_its_own_account(tmp_path, said, seconds):
    from text2expert import examination

    (tmp_path / "stages" / "train").mkdir(parents=True)
    (tmp_path / "stages" / "train" / "done.json").write_text(said)
    with Ledger(tmp_path):
        found = examination.money(RunFolder(tmp_path))
    assert (found.own_machine, found.training_seconds, found.making_usd) == (True, seconds, 0.0)
    assert found.on_gpu == (seconds is not None)
