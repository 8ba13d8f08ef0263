"""The exam of a run: made before training, answered by everybody, kept, shown, and sat again."""

import asyncio
import json
import re
import shutil

import attrs
import pytest
from pumps import PUMPS
from vast_server import VastServer

from text2expert import LLM, Ledger, Pipeline, Run, Trainer, examination
from text2expert.chunker import Chunker
from text2expert.errors import (
    AuthenticationFailed,
    BatchUnfinished,
    InputError,
    LedgerError,
    RecordError,
    RunFolderError,
)
from text2expert.examiner import (
    Asked,
    Examiner,
    ExamWriter,
    Judge,
    ModelContestant,
    OpenBook,
    Retriever,
    asking,
    concluding,
    estimating,
    extended,
    making,
    sort,
)
from text2expert.examiner.results import (
    Dropped,
    GivenAnswer,
)
from text2expert.exchange import Completion
from text2expert.prices import Price
from text2expert.records import (
    Answer,
    Document,
    ExamPrompt,
    ExamQuestion,
    GoldRecord,
    Quote,
    Span,
    read_jsonl,
    to_dict,
    wording,
)
from text2expert.runfolder import RunFolder
from text2expert.runners.vast import offers
from text2expert.testing import ScriptedProvider

CHUNKS = Chunker(size=200, overlap=0).split(Document.from_text(PUMPS, id="pumps"))
PRICE = Price(input=1.0, output=2.0)


def asked(question, answer="80 °C", *, id="q", row="held_out", **fields):  # noqa: A002 - the record's own field name
    return ExamQuestion(id=id, row=row, question=question, answer=answer, **fields)


def trained(question, answer="80 °C"):
    return GoldRecord(instruction=question, output=answer, item=question, document="pumps")


def made(split=(), records=(), *, own=(), **given):
    return asyncio.run(Examiner(general=False).amake(split, records, own=own, **given))


@pytest.fixture
def run(finished, tmp_path):
    """A finished run that a test may change."""
    shutil.copytree(finished.folder, tmp_path / "run")
    return Run.load(tmp_path / "run")


# -- made before training --------------------------------------------------------------------------------------------


def test_what_training_has_is_found_dropped_and_counted():
    """A leak that was planted: the same words, and a user's own question that is trained on but for a word."""
    leak = asked("What is the highest temperature of the oil?")
    mine = asked("How hot may the oil of the pump become at the most?", id="mine", row="hand_written")
    fair = asked("Which oil temperature is too high?", id="fair")
    records = [trained(leak.question), trained("How hot may the oil of a pump become at the most?")]
    exam = made([leak, fair], records, own=[mine])
    assert exam.questions == (fair,)
    assert sum(each.n for each in exam.dropped) == 2
    assert "1 of the 1 hand-written questions is trained on" in exam.notes[0]


def test_an_exam_is_named_by_what_is_in_it():
    exam = made([asked("Why?")])
    assert exam.sha256 == made([asked("Why?")]).sha256
    assert exam.sha256 != made([asked("Why?", "another key")]).sha256


def test_some_questions_have_no_answer_in_the_text(finished):
    """By rule; neither trained nor asked otherwise, and always the same ones."""
    records = list(read_jsonl(finished.folder / "golden_dataset.jsonl", GoldRecord))
    first = made((), records, texts=[PUMPS])
    vain = [each for each in first.questions if each.row == "unanswerable"]
    assert 0 < len(vain) <= making.UNANSWERABLE
    assert {each.answer for each in vain} == {None}
    assert not {wording(each.question) for each in vain} & {wording(record.instruction) for record in records}
    assert first == made((), records[::-1], texts=[PUMPS])
    again = made([attrs.evolve(vain[0], id="own", row="hand_written")], records, texts=[PUMPS])
    assert len({wording(each.question) for each in again.questions}) == len(again.questions)
    assert made((), records).questions == ()  # without the text nobody knows what it does not answer


def test_the_toy_is_asked_nothing_general():
    exam = asyncio.run(Examiner().amake((), (), embedded=False))
    assert {each.row for each in exam.questions} == {"general"}
    assert asyncio.run(Examiner().amake(exam.questions, (), embedded=True)).questions == ()


def test_an_exam_grows_by_what_it_does_not_have():
    exam = made([asked("Why?"), asked("Who?", id="w")], [trained("How?")])
    more = extended(exam, [asked("why", id="x"), asked("Where?"), asked("How?", id="y")], [trained("How?")])
    assert [(each.id, each.question) for each in more.questions] == [("q", "Why?"), ("w", "Who?"), ("q-2", "Where?")]
    assert more.dropped == (Dropped(reason="same_text", n=1),)


def test_frozen_questions_stay_whatever_newer_rules_would_drop():
    """Else a change of the rules is told as a change of the exam; what is added now is compared with training."""
    frozen = making.Exam(questions=(asked("How hot?"), asked("Why?", id="w", row="hand_written")))
    records = [trained("How hot?"), trained("Why?"), trained("Who?")]
    more = extended(frozen, [asked("Who?", id="x"), asked("Where?", id="y")], records)
    assert [each.id for each in more.questions] == ["q", "w", "y"]
    assert more.questions[:2] == frozen.questions
    assert more.dropped == (Dropped(reason="same_text", n=1),)
    note = "1 of the 3 hand-written questions is trained on, in the same or nearly the same words: not asked."
    assert more.notes == (note,)
    assert extended(frozen, [], records) == frozen


@pytest.mark.parametrize("row", ["taught", "general", "held_out"])
def test_ones_own_questions_are_hand_written_whatever_a_run_called_them(row):
    """Else what is trained on would be let in as what was taught, or asked as general knowledge."""
    mine, leak = asked("Why?", id="m", row=row), asked("How hot may oil become?", id="l", row=row)
    records = [trained(leak.question)]
    assert [(each.id, each.row) for each in made((), records, own=[mine, leak]).questions] == [("m", "hand_written")]
    more = extended(made([asked("Who?")], records), [mine, leak], records)
    assert [(each.id, each.row) for each in more.questions] == [("q", "held_out"), ("m", "hand_written")]


# -- what base and expert are asked ----------------------------------------------------------------------------------


def quoted(text):
    at = PUMPS.index(text)
    return (Span(document="pumps", start=at, end=at + len(text), text=text),)


def test_base_and_expert_are_asked_with_and_without_passages():
    question = asked("What is the limit of the oil temperature?", evidence=quoted("must not exceed 80 °C"))
    prompts = {
        (each.prompt.to, each.prompt.contestant): each
        for each in making.ask([question], Retriever(CHUNKS, 2), embedded=False)
    }
    assert set(prompts) == {
        ("base", "base"), ("expert", "expert"), ("base", "base + RAG"), ("base", "base + right passage"),
        ("expert", "expert + RAG"),
    }  # fmt: skip
    told = prompts["base", "base"].prompt.question
    assert told.endswith(question.question)
    assert told != question.question
    assert prompts["expert", "expert"].prompt.question == question.question
    found, right = prompts["base", "base + RAG"], prompts["base", "base + right passage"]
    assert found.prompt.question == prompts["expert", "expert + RAG"].prompt.question
    assert len(found.passages) == 2
    (chunk,) = (chunk for chunk in CHUNKS if chunk.id == right.passages[0])
    assert len(right.passages) == 1
    assert "must not exceed 80 °C" in chunk.text
    assert chunk.text in right.prompt.question
    assert question.answer not in told


def test_general_questions_are_put_to_both_in_the_same_words_and_without_passages():
    general = asked("What is the capital of France?", "Paris", row="general")
    base, expert = making.ask([general], Retriever(CHUNKS), embedded=False)
    assert (base.prompt.to, expert.prompt.to) == ("base", "expert")
    assert base.prompt.question == expert.prompt.question


def test_the_toy_reads_no_passage():
    prompts = making.ask([asked("Why?")], Retriever(CHUNKS), embedded=True)
    assert [each.prompt.question for each in prompts] == ["Why?", "Why?"]


def test_an_id_that_is_another_ones_name_is_refused():
    with pytest.raises(InputError, match="two questions would be called 'rag:q'"):
        making.ask([asked("Why?"), asked("Who?", id="rag:q")], Retriever(CHUNKS), embedded=False)


def test_answers_are_sorted_by_contestant_and_name_what_was_read():
    prompts = [
        Asked(prompt=ExamPrompt(id="q", question="", to="base", contestant="base"), question="q"),
        Asked(
            prompt=ExamPrompt(id="rag:q", question="", to="base", contestant="base + RAG"),
            question="q",
            passages=("c",),
        ),
        Asked(prompt=ExamPrompt(id="q", question="", to="expert", contestant="expert"), question="q"),
    ]
    answers = {"base": {"q": Answer(text="a"), "rag:q": Answer(text="b")}, "expert": {}}
    expected = {"base": {"q": Answer(text="a")}, "base + RAG": {"q": Answer(text="b", sources=("c",))}}
    assert expected == sort(prompts, answers)


# -- contestants that are asked here ---------------------------------------------------------------------------------


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


# -- a finished run --------------------------------------------------------------------------------------------------


def test_every_answer_is_kept_with_its_grade(finished):
    given = list(read_jsonl(finished.folder / "exam_answers.jsonl", GivenAnswer))
    exam = list(read_jsonl(finished.folder / "exam.jsonl", ExamQuestion))
    assert len(given) == len(finished.exam.contestants) * len(exam)
    right = sum(each.grade == "right" for each in given if each.contestant == "lookup")
    assert right == sum(score.right for score in finished.exam.scores if score.contestant == "lookup")
    expert = [each for each in given if each.contestant == "expert"]
    assert all(each.confidence is not None and each.tokens_in and each.tokens_out for each in expert)
    assert any(each.seconds for each in expert)
    frame = finished.answers
    assert len(frame) == len(given)
    assert {"row", "question", "expected", "contestant", "text", "grade"} <= set(frame.columns)


def test_the_exam_was_frozen_before_training(finished):
    exam = finished.folder / "exam.jsonl"
    trained_at = (finished.folder / "stages" / "train" / "done.json").stat().st_mtime
    assert exam.stat().st_mtime < trained_at
    questions_ = tuple(read_jsonl(exam, ExamQuestion))
    assert finished.exam.exam_sha256 == making.Exam(questions=questions_).sha256


def test_a_run_says_its_verdict_and_where_money_went(finished):
    headline = finished.exam.recommendation.headline
    assert headline in finished.receipt["closing"]
    assert headline in " ".join(str(finished).split())
    assert finished.exam.economics.making_usd == 0
    html = finished._repr_html_()
    assert html.count(headline) == 1
    assert html.count("<table>") == 1  # of scores; no answer has a price here
    assert html.count("data:image/svg+xml") == 1


def test_a_run_is_examined_again_with_ones_own_questions(run, tmp_path):
    """Base, expert, look-up and reader answer the new ones; what was answered before stays; nothing is paid."""
    before = {
        (each.contestant, each.question): each for each in read_jsonl(run.folder / "exam_answers.jsonl", GivenAnswer)
    }
    (tmp_path / "mine.jsonl").write_text(
        '{"id": "m1", "question": "At which heat must the oil be stopped?", "answer": "80 °C"}\n'
        '{"id": "m2", "question": "Who paints the pump?", "answerable": false}\n'
    )
    result = run.examine(exam=tmp_path / "mine.jsonl")
    given = {
        (each.contestant, each.question): each for each in read_jsonl(run.folder / "exam_answers.jsonl", GivenAnswer)
    }
    assert before == {key: answer for key, answer in given.items() if key[1] not in {"m1", "m2"}}
    assert {name for name, id_ in given if id_ == "m1"} == {"base", "expert", "lookup", "RAG, no model"}
    assert result.score("hand_written", "expert").n == 2
    again = Run.load(run.folder)
    assert again.exam == result == run.exam
    assert again.receipt["counts"]["questions"]["hand_written"] == 2
    assert again.receipt["cost_usd"] == "0"
    folder = RunFolder(run.folder)
    assert {name: folder.sha256(name) for name in again.receipt["files"]} == again.receipt["files"]
    assert "Who paints the pump?" in (run.folder / "report.html").read_text("utf-8")
    assert again.examine() == result


def edit(path, change):
    """Change the questions of an exam by hand."""
    path.write_text("".join(f"{json.dumps(change(n, line))}\n" for n, line in enumerate(lines(path))))


def test_an_exam_that_was_edited_after_training_is_told_of(run, tmp_path):
    """With the number of what differs and the digest of what was frozen, in result, terminal, report and receipt; for good."""
    frozen = run.exam.exam_sha256
    assert run.exam.frozen_sha256 == frozen
    edit(run.folder / "exam.jsonl", lambda n, line: {**line, "answer": "42 days"} if n < 3 else line)
    result = run.examine()
    (note,) = [each for each in result.notes if "was changed after training" in each]
    assert note.startswith(
        f"The exam was changed after training: 3 questions or keys differ from those that were frozen (SHA-256 {frozen[:12]}"
    )
    assert (result.frozen_sha256, result.exam_sha256 == frozen) == (frozen, False)
    again = Run.load(run.folder)
    assert again.receipt["exam_frozen_sha256"] == frozen
    assert " ".join(note.split()) in " ".join(str(again).split())
    assert note in (run.folder / "report.html").read_text("utf-8")
    (tmp_path / "mine.jsonl").write_text('{"question": "Who paints the pump?", "answerable": false}\n')
    later = again.examine(exam=tmp_path / "mine.jsonl")  # what is added is no change of what was frozen
    assert note in later.notes
    assert later.frozen_sha256 == frozen


def test_an_exam_that_only_grew_was_not_changed(run, tmp_path):
    frozen = run.exam.exam_sha256
    (tmp_path / "mine.jsonl").write_text('{"question": "Who paints the pump?", "answerable": false}\n')
    for exam in (tmp_path / "mine.jsonl", None):
        result = run.examine(exam=exam)
        assert not [each for each in result.notes if "was changed after training" in each]
        assert (result.frozen_sha256, result.exam_sha256 == frozen) == (frozen, False)
    edit(run.folder / "exam.jsonl", lambda n, line: {**line, "answer": "x"} if "paints" in line["question"] else line)
    assert any("changed after training: 1 question or key differs" in each for each in run.examine().notes)


def test_another_number_of_passages_is_read_anew(run):
    """By who costs nothing; the others keep their answers, and that is said."""
    model = LLM("small", provider=scripted(), price=PRICE)
    run.examine(contestants={"small + RAG": OpenBook(model)})
    before = {(each["contestant"], each["question"]): each for each in rows(run)}
    result = run.examine(k=1)
    after = {(each["contestant"], each["question"]): each for each in rows(run)}
    shown = {len(each["passages"]) for each in after.values() if each["contestant"] == "RAG, no model"}
    assert max(shown) == 1  # none, where no word of the question is in the text
    assert {key for key in before if before[key] != after[key]} <= {key for key in before if key[0] == "RAG, no model"}
    assert (
        "k=1 holds for what was asked this time and for RAG, no model; small + RAG keep the answers that they gave before, "
        "in the run with k=5." in result.notes
    )
    assert {key: each["text"] for key, each in before.items()} == {
        (each["contestant"], each["question"]): each["text"] for each in rows_of(run, run.examine())
    }


def rows_of(run, result):
    assert not [each for each in result.notes if each.startswith("k=")]
    return rows(run)


def test_questions_about_other_documents_are_told_of(run, tmp_path):
    about = {
        "here": '{"question": "Who paints the pump?", "answerable": false}\n',
        "there": '{"question": "What?", "answer": "5", "doc": "nowhere.txt"}\n',
    }
    (tmp_path / "both.jsonl").write_text("".join(about.values()))
    result = run.examine(exam=tmp_path / "both.jsonl")
    assert result.score("hand_written", "expert").n == 1
    assert "1 of your exam's 2 questions are about other documents: not asked." in result.notes
    (tmp_path / "there.jsonl").write_text(about["there"])
    with pytest.raises(InputError, match=r"there\.jsonl asks nothing about this run's documents \(pumps\)"):
        run.examine(exam=tmp_path / "there.jsonl")


def test_a_run_that_is_made_again_says_what_examining_added_to_it(pumps, tmp_path, capsys):
    pipeline = Pipeline(trainer=Trainer("some/model-7B", runner=Elsewhere()))
    run = pipeline.run(pumps, out=tmp_path / "run")
    folder = RunFolder(run.folder)
    exam = extended(examination.kept(folder), [asked("Who paints the pump?", None, id="m")], [])
    examination.keep(exam, folder, "extended", since={"frozen": {}, "frozen_sha256": "", "added": {"m": "0"}})
    result = attrs.evolve(run.exam, contestants=(*run.exam.contestants, "mine"))
    (run.folder / "exam_result.json").write_text(json.dumps(to_dict(result)))
    capsys.readouterr()
    pipeline.run(pumps, out=tmp_path / "run")
    said = " ".join(capsys.readouterr().err.split())
    assert "is made anew, without the question that was added to it after training" in said
    assert "The exam is made anew, without mine: examine the run again with them" in said
    pipeline.run(pumps, out=tmp_path / "run")
    assert "made anew" not in capsys.readouterr().err


def scripted(answer="80 °C"):
    return ScriptedProvider(lambda request: answer)


def test_a_run_draws_who_is_right(finished, monkeypatch):
    import sys

    import text2expert
    from text2expert.errors import MissingExtraError

    assert "<svg" in finished.plot()._repr_svg_()
    monkeypatch.delitem(sys.modules, "text2expert.plots")
    monkeypatch.delattr(text2expert, "plots")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r'pip install "text2expert\[report\]"'):
        finished.plot()


def test_more_contestants_are_paid_from_the_runs_ledger_and_once(run):
    """One by name, one that reads, one of somebody's own making."""
    provider = scripted()
    model = LLM("small", provider=provider, price=PRICE)
    contestants = {"small": ModelContestant(model), "small + RAG": OpenBook(model), "mine": Reader}
    result = run.examine(contestants=contestants)
    assert {"small", "small + RAG", "mine"} <= set(result.contestants)
    assert result.contestants[: len(run.exam.contestants) - 3] == ("base", "expert", "lookup", "RAG, no model")
    costs = {cost.contestant: cost for cost in result.economics.costs}
    assert costs["small"].usd_per_1000 < costs["small + RAG"].usd_per_1000
    with Ledger(run.folder) as ledger:
        spent = ledger.spent("exam")
        assert spent.settled == ledger.spent().settled > 0
    assert Run.load(run.folder).receipt["costs"]["exam"]["settled_usd"] == f"{spent.settled:f}"
    sent = len(provider.requests)
    assert sent > 0
    assert run.examine(contestants=contestants) == result  # with the seconds that were measured when it was asked
    assert len(provider.requests) == sent
    (answer,) = {each["passages"][0] for each in rows(run) if each["contestant"] == "mine"}
    assert answer in {chunk["id"] for chunk in lines(run.folder / "chunks.jsonl")}


class Reader:
    """Says what the first passage says."""

    def __init__(self, retriever):
        self.first = retriever.chunks[0]

    async def aanswer(self, question):
        return Answer(text=self.first.text, sources=(self.first.id,))


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def rows(run):
    return lines(run.folder / "exam_answers.jsonl")


def test_a_judge_grades_beside_the_grades(run):
    judge = LLM("judge", provider=scripted('{"reason": "as I like", "grade": "CORRECT"}'), price=PRICE)
    result = run.examine(judge=judge)
    assert result.judge.judged > result.judge.agree
    assert {probe.name: probe.passed for probe in result.judge.probes}["one_digit"] == 0
    assert "right" in {each["judged"] for each in rows(run)}
    assert result.judge.usd > 0
    later = run.examine()  # without one, what it said is kept
    assert later.judge == result.judge
    assert "The judge, judge, agrees" in str(run)


def test_a_judge_that_fails_leaves_the_exam_as_it_is(run):
    before = run.exam
    judge = LLM("judge", provider=ScriptedProvider(lambda request: AuthenticationFailed("no such key")))
    result = run.examine(judge=judge)
    assert result.scores == before.scores
    assert any("The judge judge did not judge (no such key" in note for note in result.notes)


def test_a_budget_of_the_exam_ends_it(run):
    model = LLM("small", provider=scripted("x" * 400), price=Price(input=1000, output=1000))
    result = run.examine(contestants={"small": ModelContestant(model)}, budget=0.5)
    assert any("small failed at" in note and "BudgetExhausted" in note for note in result.notes)
    with Ledger(run.folder) as ledger:
        assert ledger.spent().total <= 0.5


def test_a_report_that_fails_is_no_failed_exam(run, capsys):
    """What was examined, and perhaps paid for, is there; who asks for the report itself is told what is wrong."""
    with open(run.folder / "generated_qa_pairs.jsonl", "a") as file:
        file.write("{\n")
    assert run.examine() == run.exam
    assert "report.html was not written (RecordError: " in capsys.readouterr().err
    with pytest.raises(RecordError, match=r"generated_qa_pairs\.jsonl, line \d+"):
        run.report()


def test_a_report_that_fails_is_no_failed_run(pumps, tmp_path, monkeypatch, capsys):
    from text2expert import report

    def fail(folder):
        raise RuntimeError("no such font")

    monkeypatch.setattr(report, "write", fail)
    run = Pipeline().run(pumps, out=tmp_path / "run", fine_tune=False)
    assert run.receipt["counts"]["gold"] > 0
    assert "report.html was not written (RuntimeError: no such font)" in capsys.readouterr().err


def test_a_run_without_an_expert_has_nothing_to_examine(pumps, tmp_path):
    run = Pipeline().run(pumps, out=tmp_path / "run", fine_tune=False)
    with pytest.raises(RunFolderError, match="holds no expert"):
        run.examine()
    assert run.exam is None


def test_a_run_of_a_version_that_kept_no_answers_is_examined(run):
    expected = run.exam
    (run.folder / "exam_answers.jsonl").unlink()
    assert run.examine().scores == expected.scores


# -- in a pipeline ---------------------------------------------------------------------------------------------------


class Elsewhere:
    """A machine that trains nothing: it answers and leaves what a training leaves."""

    async def run(self, job):
        from pathlib import Path

        folder = Path(job.folder)
        for stage in job.stages:
            if stage.argv[0] == "answer.py":
                answers = [
                    {"id": each["id"], "text": "80 °C", "confidence": 1.0, "tokens_in": 9, "tokens_out": 3}
                    for each in lines(folder / "stages" / stage.name / "prompts.jsonl")
                ]
                (folder / stage.outputs[0]).write_text("".join(json.dumps(each) + "\n" for each in answers))
            (folder / "stages" / stage.name / "done.json").write_text('{"device": "cuda"}')


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
