"""Lessons: their order, what becomes of those that fail, and that nothing depends on which is answered first."""

import asyncio
import contextlib
import random
from types import SimpleNamespace

import pytest

from text2expert.errors import AnswerLost, AuthenticationFailed, BudgetExhausted, ProviderError, ProviderUnavailable
from text2expert.ledger import Ledger
from text2expert.llm import LLM
from text2expert.prices import Price
from text2expert.records import Chunk, QAPair, Span, Verdict
from text2expert.teaching import HOPELESS, WINDOW, Lesson, judge, lessons, rewrite, teach_and_judge
from text2expert.testing import ScriptedProvider


def chunks(n):
    made = []
    for number in range(n):
        text = f"Pump {number} runs {number + 2} hours."
        made.append(
            Chunk(
                id=f"chunk_{number + 1:06d}", key=f"k{number}", document="d", text=text, start=100 * number,
                end=100 * number + len(text), char_count=len(text),
            )
        )  # fmt: skip
    return made


class Slow:
    """A paid teacher whose answers come in any order; some lessons fail."""

    budget = None
    cross_section = 0.0

    def __init__(self, failing=None):
        self.failing = failing or {}
        self.seen = []

    async def ateach(self, passages, n):
        await asyncio.sleep(random.random() / 500)
        self.seen.append(passages)
        if error := self.failing.get(passages[0].id):
            raise error
        return [
            QAPair(qa_id=f"any{each}", question=f"{each}? {passages[0].text}", answer="yes", sources=("x",))
            for each in range(n)
        ]


class Judge:
    async def averify(self, pairs, passages):
        await asyncio.sleep(random.random() / 500)
        return [
            Verdict(qa_id="control:1", grounded=False, no_hallucination=True, complete=True, control="bad"),
            *(Verdict(qa_id=pair.qa_id, grounded=True, no_hallucination=True, complete=True) for pair in pairs),
        ]


def teach(plan, teacher, verifier=None, questions=2):
    return asyncio.run(teach_and_judge(plan, None, teacher, verifier, questions))


def test_a_free_teacher_reads_the_text_in_its_order_and_lazily():
    class Free:
        async def ateach(self, passages, n): ...

    read = lessons(iter(chunks(5)), Free(), 0)
    assert next(read) == Lesson(0, (chunks(5)[0],))
    assert [lesson.place for lesson in read] == [1, 2, 3, 4]


def test_a_paid_teacher_gives_every_passage_a_lesson_spread_over_the_text():
    places = [lesson.place for lesson in lessons(chunks(40), Slow(), 0)]
    assert sorted(places) == list(range(40))
    assert {place // 8 for place in places[:5]} == {0, 1, 2, 3, 4}


def test_a_share_of_the_passages_is_taught_once_more_together_with_others():
    class Crossing(Slow):
        cross_section = 1.0

    plan = list(lessons(chunks(6), Crossing(), 0))
    assert [len(lesson.passages) for lesson in plan if lesson.place == 0] == [1, 2]


def test_results_are_in_the_order_of_the_text_whatever_comes_first():
    plan = [Lesson(place, (chunk,)) for place, chunk in enumerate(chunks(60))]
    random.shuffle(plan)
    taught = teach(plan, Slow(), Judge())
    assert [pair.qa_id for pair in taught.pairs] == [
        f"chunk_{1 + n:06d}_qa_{each}" for n in range(60) for each in (0, 1)
    ]
    assert [pair.sources for pair in taught.pairs[:2]] == [("chunk_000001",)] * 2
    judged = [verdict.qa_id for verdict in taught.verdicts if not verdict.control]
    assert judged == [pair.qa_id for pair in taught.pairs]
    assert sum(verdict.control == "bad" for verdict in taught.verdicts) == 60


def test_pairs_of_a_passage_and_of_its_crossing_are_numbered_together():
    one, other = chunks(2)
    taught = teach([Lesson(0, (one, other)), Lesson(0, (one,)), Lesson(1, (other,))], Slow())
    assert [pair.qa_id for pair in taught.pairs] == [
        *(f"chunk_000001_qa_{number}" for number in range(4)), "chunk_000002_qa_0", "chunk_000002_qa_1",
    ]  # fmt: skip
    assert [pair.sources for pair in taught.pairs[2:4]] == [("chunk_000001", "chunk_000002")] * 2


def test_a_budget_that_runs_out_ends_the_teaching_and_not_the_run():
    plan = [Lesson(place, (chunk,)) for place, chunk in enumerate(chunks(10))]
    failing = {chunk.id: BudgetExhausted("teacher") for chunk in chunks(10)[4:]}
    taught = teach(plan, Slow(failing))
    assert (taught.lessons, taught.beyond_budget, taught.failed) == (10, 6, 0)
    assert len(taught.pairs) == 8


@pytest.mark.parametrize("error", [ProviderUnavailable("busy"), AnswerLost("cut"), ProviderError("no")])
def test_a_lesson_that_fails_is_counted_and_the_rest_is_taught(error):
    plan = [Lesson(place, (chunk,)) for place, chunk in enumerate(chunks(10))]
    taught = teach(plan, Slow({"chunk_000003": error}))
    assert (taught.failed, taught.failure, len(taught.pairs)) == (1, str(error), 18)


def test_where_every_lesson_fails_the_reason_comes_through_before_all_are_tried():
    plan = [Lesson(place, (chunk,)) for place, chunk in enumerate(chunks(500))]
    teacher = Slow({chunk.id: ProviderUnavailable("the host is down") for chunk in chunks(500)})
    with pytest.raises(ProviderUnavailable, match="host is down"):
        teach(plan, teacher)
    assert len(teacher.seen) <= HOPELESS + 2 * WINDOW


def test_a_provider_that_fails_until_the_budget_ends_is_named_and_not_the_budget():
    """To raise the budget would only feed it."""
    plan = [Lesson(place, (chunk,)) for place, chunk in enumerate(chunks(30))]
    failing = {chunk.id: BudgetExhausted("teacher") for chunk in chunks(30)}
    failing |= {chunk.id: AnswerLost("the host breaks off") for chunk in chunks(10)}
    with pytest.raises(AnswerLost, match="breaks off"):
        teach(plan, Slow(failing))


def test_a_rejected_key_stops_the_run_at_once():
    plan = [Lesson(place, (chunk,)) for place, chunk in enumerate(chunks(100))]
    teacher = Slow({"chunk_000001": AuthenticationFailed("DEEPSEEK_API_KEY")})
    with pytest.raises(AuthenticationFailed):
        teach(plan, teacher)
    assert len(teacher.seen) <= 2 * WINDOW + 2


def test_a_quote_is_found_in_whichever_passage_holds_it_or_the_pair_is_rejected_unseen():
    one, other = chunks(2)

    class Quoting:
        async def ateach(self, passages, n):
            quotes = {"both": ("Pump 0 runs", "runs 3 hours"), "gone": ("Pump 0 runs", "Pump 9")}
            return [
                QAPair(
                    qa_id=name, question=name, answer="a", sources=(),
                    evidence=tuple(Span(document="d", start=0, end=0, text=quote) for quote in some),
                )
                for name, some in quotes.items()
            ]  # fmt: skip

    class Strict(Judge):
        async def averify(self, pairs, passages):
            assert [pair.question for pair in pairs] == ["both"]
            return await super().averify(pairs, passages)

    taught = teach([Lesson(0, (one, other))], Quoting(), Strict())
    both, gone = taught.pairs
    assert [(span.start, span.end, span.text) for span in both.evidence] == [
        (0, 11, "Pump 0 runs"), (107, 119, "runs 3 hours"),
    ]  # fmt: skip
    assert gone.evidence == ()
    assert [verdict.reason for verdict in taught.verdicts if verdict.qa_id == gone.qa_id] == [
        "its evidence is nowhere in the passage that it was written from"
    ]


def test_what_was_taught_before_is_judged_lesson_by_lesson():
    plan = [Lesson(0, tuple(chunks(2))), *(Lesson(place, (chunk,)) for place, chunk in enumerate(chunks(30)))]
    taught = teach(plan, Slow(), Judge())
    again = asyncio.run(judge(taught.pairs, {chunk.id: chunk for chunk in chunks(30)}, Judge()))
    key = lambda verdict: (verdict.qa_id, verdict.control)  # noqa: E731
    assert sorted(again, key=key) == sorted(taught.verdicts, key=key)


def test_rewrites_come_in_order_as_far_as_the_budget_reaches():
    class Rewriter(Slow):
        rewrites = 2
        name = "model"

        async def arewrite(self, chunk, n):
            await asyncio.sleep(random.random() / 500)
            if chunk.id == "chunk_000002":
                raise BudgetExhausted("teacher")
            return [f"{chunk.text} {each}" for each in range(n)]

    made, whole = asyncio.run(rewrite(chunks(3), 3, Rewriter()))
    assert whole
    assert [each["chunk"] for each in made] == ["chunk_000001"] * 2 + ["chunk_000003"] * 2
    assert made[0] == {"chunk": "chunk_000001", "key": "k0", "text": "Pump 0 runs 2 hours. 0", "model": "model"}


@pytest.fixture
def lines(monkeypatch):
    """What stands beside the bars, in the order in which it was said."""
    said = []

    @contextlib.contextmanager
    def bar(total, description, *, unit):
        def set_postfix(line, *, refresh):
            said.append(line)

        said.append(description)
        yield SimpleNamespace(set_postfix=set_postfix, update=lambda: None)

    monkeypatch.setattr("text2expert.teaching.bar", bar)
    return said


def test_the_live_line_says_pairs_approval_dollars_and_requests(lines, tmp_path):
    model = LLM("any", provider=ScriptedProvider(lambda request: "x" * 400), price=Price(input=0, output=10_000))

    class Paid(Slow):
        llm = model
        name = "any"
        rewrites = 1

        async def ateach(self, passages, n):
            await model.complete(passages[0].text)
            return await super().ateach(passages, n)

        async def arewrite(self, chunk, n):
            return [(await model.complete("again: " + chunk.text)).text]

    with Ledger(tmp_path):
        plan = [Lesson(place, (chunk,)) for place, chunk in enumerate(chunks(4))]
        taught = asyncio.run(teach_and_judge(plan, 4, Paid(), Judge(), 2))
        asyncio.run(judge(taught.pairs, {chunk.id: chunk for chunk in chunks(4)}, Judge()))
        asyncio.run(rewrite(chunks(4), 4, Paid()))
    whole = {"spent": "$4.00/~$4.00", "open": 0, "ok": "100%", "pairs": 8}
    assert lines[0] == "Teaching"
    assert list(lines[4].items()) == list(whole.items())
    assert lines[9] == {"ok": "100%"}
    assert lines[14] == {"spent": "$8.00", "open": 0}


def test_the_live_line_of_somebody_elses_model_says_nothing_of_money(lines):
    class Theirs(Slow):
        llm = "a client of another library"

    teach([Lesson(0, (chunks(1)[0],))], Theirs())
    assert lines == ["Teaching", {"pairs": 2}]
