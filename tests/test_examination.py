"""The exam of a run: made before training, answered by everybody, kept, shown, and sat again."""

import asyncio
import json
import shutil

import attrs
import pytest
from pumps import PUMPS
from sittings import CHUNKS, PRICE, Elsewhere, asked, lines, made, scripted, trained

from text2expert import LLM, Ledger, Pipeline, Run, Trainer, examination
from text2expert.errors import (
    AuthenticationFailed,
    InputError,
    RecordError,
    RunFolderError,
)
from text2expert.examiner import (
    Asked,
    Examiner,
    ModelContestant,
    OpenBook,
    Retriever,
    extended,
    making,
    sort,
)
from text2expert.examiner.results import (
    Dropped,
    GivenAnswer,
)
from text2expert.prices import Price
from text2expert.records import (
    Answer,
    ExamPrompt,
    ExamQuestion,
    GoldRecord,
    Span,
    read_jsonl,
    to_dict,
    wording,
)
from text2expert.runfolder import RunFolder
from text2expert.testing import ScriptedProvider


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
