"""Contestants that are asked here: what they are given, how long they are waited for, and what becomes of those that fail."""

import asyncio
import re

import attrs
import pytest
from sittings import CHUNKS, PRICE, asked, scripted

from text2expert import LLM
from text2expert.errors import (
    AuthenticationFailed,
    BatchUnfinished,
    InputError,
    LedgerError,
)
from text2expert.examiner import (
    Examiner,
    Judge,
    Retriever,
    asking,
    concluding,
    making,
)
from text2expert.records import (
    Answer,
    Span,
)


class Crowd:
    """Answers after a moment, and knows how many it answered at a time."""

    def __init__(self, fails=(), error=RuntimeError):
        self.now, self.most, self.asked, self.fails, self.error = 0, 0, [], fails, error

    async def aanswer(self, question):
        number = number_of(question)
        self.asked.append(number)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        if number in self.fails:
            raise self.error(f"no {number}")
        return Answer(text=number, seconds=float(self.now == 0))


def questions(n):
    return [asked(f"Question {number}?", id=str(number)) for number in range(n)]


def number_of(question):
    return question.question.removeprefix("Question ").removesuffix("?")


def test_seconds_are_of_answers_asked_alone():
    """So many as are timed are asked one by one, after one that is not timed; the others side by side."""
    crowd = Crowd()
    answers, notes = asyncio.run(asking.ask_all({"mine": crowd}, questions(100)))
    timed = [answer for answer in answers["mine"].values() if answer.seconds is not None]
    assert [answer.seconds for answer in timed] == [1.0] * len(timed)
    assert 20 <= len(timed) < asking.ALONE
    assert 1 < crowd.most <= asking.WINDOW
    assert {str(n): str(n) for n in range(100)} == {id_: answer.text for id_, answer in answers["mine"].items()}
    assert notes == []


def test_who_fails_at_a_question_is_asked_the_others():
    answers, notes = asyncio.run(asking.ask_all({"mine": Crowd(fails={"3", "7"})}, questions(40)))
    assert len(answers["mine"]) == 38
    assert notes == ["mine failed at 2 questions (RuntimeError: no 3)."] or "mine failed at 2 questions" in notes[0]


def test_a_library_that_would_end_the_process_loses_a_question():
    crowd = Crowd(fails={"3"}, error=SystemExit)
    answers, notes = asyncio.run(asking.ask_all({"mine": crowd}, questions(20)))
    assert len(answers["mine"]) == 19
    assert "mine failed at 1 question" in notes[0]


def test_a_contestant_is_given_neither_key_nor_kind():
    """Not even by an id: whoever writes the whole question into a prompt tells a model nothing but the question."""
    whole = [
        asked("How hot?", id="unanswerable_1", row="unanswerable", answer=None),
        asked(
            "How high?",
            id="chunk_000007_qa_1",
            answer="12 metres",
            aliases=("12 m",),
            evidence=(Span(document="pumps", start=1200, end=1212, text="12 metres up"),),
            kind="span",
        ),
    ]
    told = [repr(attrs.asdict(asking.without_key(question))) for question in whole]
    assert not [leak for leak in ("12", "unanswerable", "chunk", "span", "qa_1") for each in told if leak in each]
    assert len({asking.without_key(question).id for question in whole}) == 2


@pytest.mark.parametrize(
    "figure", [{"seconds": -5.0}, {"confidence": 2.0}, {"tokens_in": -3}, {"tokens_out": 10**30}], ids=str
)
def test_a_figure_that_cannot_be_is_refused(figure):
    class Odd:
        async def aanswer(self, question):
            return Answer(text="80 °C", **figure)

    answers, notes = asyncio.run(asking.ask_all({"odd": Odd()}, questions(2)))
    assert answers == {}
    assert next(iter(figure)) in notes[0]


def test_what_the_next_question_will_not_change_ends_the_asking():
    crowd = Crowd(fails={str(n) for n in range(40)}, error=AuthenticationFailed)
    answers, notes = asyncio.run(asking.ask_all({"mine": crowd}, questions(40)))
    assert answers == {}
    assert len(crowd.asked) == 1
    assert "mine failed at 1 question and is left out (AuthenticationFailed: no 0)." in notes


def test_who_never_answers_is_asked_no_more():
    """Each failure may have been paid for; who answered once is asked on."""
    numbers = {str(n) for n in range(40)}
    never, once = Crowd(fails=numbers), Crowd(fails=numbers - {"0"})
    answers, _ = asyncio.run(asking.ask_all({"never": never, "once": once}, questions(40)))
    assert [1] == [len(each) for each in answers.values()]
    assert (asking.IN_VAIN, 40) == (len(never.asked), len(once.asked))


def given(answer):
    class Gives:
        async def aanswer(self, question):
            return answer

    return Gives()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("80 °C", "TypeError: aanswer must give an Answer, it gave '80 °C'"),
        (None, "TypeError: aanswer must give an Answer, it gave None"),
        (Answer(text=None), "InputError: .*text"),
        (Answer(text="80 °C", tokens_in="5"), "InputError: .*tokens_in"),
        (Answer(text="80 °C", seconds=float("nan")), "InputError: .*cannot be written"),
    ],
)
def test_an_answer_that_is_none_is_lost_and_the_exam_goes_on(answer, reason):
    exam = questions(5)
    answers, notes = asyncio.run(asking.ask_all({"mine": given(answer), "other": Crowd()}, exam))
    assert set(answers) == {"other"}
    (note,) = notes
    assert re.match(rf"mine failed at 5 questions and is left out \({reason}", note)


def test_what_is_cancelled_within_a_contestant_is_lost_and_the_exam_goes_on():
    crowd = Crowd(fails={"3", "70"}, error=asyncio.CancelledError)
    answers, notes = asyncio.run(asking.ask_all({"mine": crowd, "other": Crowd()}, questions(100)))
    assert {name: len(each) for name, each in answers.items()} == {"mine": 98, "other": 100}
    assert notes == ["mine failed at 2 questions (CancelledError: no 3)."]


def test_an_exam_that_is_cancelled_ends():
    async def stop():
        task = asyncio.create_task(asking.ask_all({"mine": Hangs()}, questions(3)))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        return task.cancelled()

    assert asyncio.run(stop())


class Hangs:
    """Answers some questions, and never the others."""

    def __init__(self, answers=()):
        self.answers, self.asked = answers, []

    async def aanswer(self, question):
        self.asked.append(question.id)
        await asyncio.sleep(0 if number_of(question) in self.answers else 60)
        return Answer(text="80 °C")


def test_who_hangs_is_given_up(monkeypatch):
    """After a few answers that did not come it is asked no more; what it answered stays."""
    monkeypatch.setattr(asking, "ANSWER_S", 0.02)
    never, later = Hangs(), Hangs({str(n) for n in range(40)} - {"0"})
    answers, notes = asyncio.run(asking.ask_all({"never": never, "later": later}, questions(40)))
    assert len(never.asked) == asking.GIVEN_UP
    assert {name: len(each) for name, each in answers.items()} == {"later": 39}
    assert notes == [
        "never failed at 3 questions and is left out (no answer within 0.02 seconds).",
        "later failed at 1 question (no answer within 0.02 seconds).",
    ]


def test_who_answers_one_after_the_other_does_not_hang(monkeypatch):
    """A model on somebody's own machine keeps a crowd waiting: what counts is that answers come."""
    monkeypatch.setattr(asking, "ANSWER_S", 0.2)
    one_by_one = asyncio.Lock()

    class Slow:
        async def aanswer(self, question):
            async with one_by_one:
                await asyncio.sleep(0.02)
            return Answer(text="80 °C")

    answers, notes = asyncio.run(asking.ask_all({"slow": Slow()}, questions(70)))
    assert (len(answers["slow"]), notes) == (70, [])


def test_who_cannot_be_made_is_left_out():
    def fails(retriever):
        raise RuntimeError("no index")

    examiner = Examiner(contestants={"dense": fails, "odd": lambda retriever: "oops", "mine": Crowd()})
    answers, notes = asyncio.run(examiner.aanswer_own(questions(2), Retriever(CHUNKS)))
    assert set(answers) == {"mine"}
    assert notes == [
        "dense could not be made and is left out (RuntimeError: no index).",
        "odd could not be made and is left out (TypeError: what was made has no method 'aanswer': 'oops').",
    ]


@pytest.mark.parametrize("error", [BatchUnfinished("under way"), LedgerError("disk full"), RuntimeError("a bug")])
def test_answers_outlive_a_judge_that_fails(error, monkeypatch):
    async def fail(*_, **__):
        raise error

    monkeypatch.setattr(Judge, "areport", fail)
    exam = making.Exam(questions=tuple(questions(3)))
    given_ = concluding.graded(exam, {"expert": {each.id: Answer(text="80 °C") for each in exam.questions}})
    examiner = Examiner(judge=LLM("judge", provider=scripted(), price=PRICE))
    answers, result = asyncio.run(examiner.aconclude(exam, given_))
    assert answers == given_
    assert result.judge is None
    note = f"The judge judge did not judge ({type(error).__name__}: {error}); examine the run again for it."
    assert note in result.notes


class Blocking:
    def aanswer(self, question):
        return Answer(text="80 °C")


@pytest.mark.parametrize(
    ("contestants", "reason"),
    [
        ({"expert": Crowd()}, "'expert' cannot be a contestant's name"),
        ({"": Crowd()}, "cannot be a contestant's name"),
        ({"gpt": "openai/gpt"}, r"must have a method 'aanswer'.*did you mean ModelContestant\('openai/gpt'\)\?"),
        ({"mine": 7}, "must have a method 'aanswer', got 7"),
        ([Crowd()], "must map names to contestants"),
        ({"mine": Blocking()}, r"aanswer is no coroutine function: write `async def aanswer\(self, question\)`"),
        ({"mine": Blocking}, "aanswer is no coroutine function"),
    ],
)
def test_a_contestant_that_cannot_be_asked_is_named(contestants, reason):
    with pytest.raises(InputError, match=reason):
        Examiner(contestants=contestants)


@pytest.mark.parametrize(
    "settings",
    [
        {"k": 0},
        {"usd_per_hour": -1},
        {"usd_per_hour": 1e300},
        {"updates_per_year": float("nan")},
        {"questions_per_month": True},
        {"questions_per_month": 1e300},
    ],
)
def test_a_number_out_of_its_range_is_named(settings):
    with pytest.raises(InputError, match=f"{next(iter(settings))}="):
        Examiner(**settings)
