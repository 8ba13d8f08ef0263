"""Several documents, one expert: whose pairs are trained how often, where each comes from, and what is said of each."""

import json

import pytest
from click.testing import CliRunner
from deck import gold
from hypothesis import given
from hypothesis import strategies as st
from paid import pipeline, servers
from pumps import PUMPS, gold_only

from text2expert import Document, ExamQuestion, Pipeline, Trainer
from text2expert.cli import main
from text2expert.errors import InputError
from text2expert.examiner import Examiner
from text2expert.examiner.tables import table
from text2expert.golden import load
from text2expert.records import GoldRecord, Span, read_jsonl, write_jsonl
from text2expert.trainer import weighing

FANS = PUMPS.replace("pump", "fan").replace("bearings", "blades").replace("filter", "belt").replace("oil", "air")
BOATS = "1. BOATS\n\n1.1 The hull is inspected every 9 months.\n1.2 A boat with a crack in the hull must not leave the harbour.\n"


@pytest.fixture
def texts(tmp_path):
    for name, text in (("pumps", PUMPS), ("fans", FANS), ("boats", BOATS)):
        (tmp_path / f"{name}.txt").write_text(text, "utf-8")
    return [tmp_path / f"{name}.txt" for name in ("pumps", "fans", "boats")]


# How often a pair is trained.


@given(pairs=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 5000), min_size=1))
def test_in_balance_every_document_has_as_many_pairs_and_an_epoch_is_as_long(pairs):
    factors = weighing.factors(pairs, {}, "equal")
    shares = [n * factors.get(document, 1.0) for document, n in pairs.items()]
    assert shares == pytest.approx([sum(pairs.values()) / len(pairs)] * len(pairs), rel=1e-2)
    assert {} == weighing.factors(pairs, {})


def test_weights_multiply_what_balance_gives():
    assert weighing.factors({"a": 10, "b": 30}, {"a.txt": 3}, "equal") == {"a": 6.0, "b": 0.666667}
    assert weighing.factors({"a": 10, "b": 30, "": 5}, {"b": 0.5}) == {"b": 0.5}


def test_the_training_is_told_and_nothing_else_of_a_job_changes(tmp_path):
    records = [GoldRecord(**{**kept, "document": name}) for name in ("a", "b") for kept in _plain(name)]
    write_jsonl(tmp_path / "g.jsonl", records)

    def settings(**arguments):
        Trainer(**arguments).job(tmp_path, tmp_path / "g.jsonl")
        return json.loads((tmp_path / "stages" / "train" / "job.json").read_bytes())

    usual, weighed = settings(), settings(weights={"a": 2})
    assert "weights" not in usual
    assert {"a": 2.0} == weighed.pop("weights")
    # A pass is half as long again, so that the same number of steps is fewer of them.
    assert {name for name in usual if usual[name] != weighed[name]} <= {"epochs"}


def _plain(name):
    return [{"instruction": f"{name}: {each.instruction}", "output": each.output} for each in gold()]


def test_a_plan_of_the_training_counts_with_the_weights():
    records = [GoldRecord(**{**kept, "document": name}) for name in ("a", "b") for kept in _plain(name)]
    assert 2 * Trainer(epochs=1).plan(records).records == Trainer(epochs=1, weights={"a": 3}).plan(records).records


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": {"a": 0}}, "leave the document out of the inputs"),
        ({"weights": {"a": -1}}, "numbers above 0"),
        ({"weights": {"a": float("nan")}}, "numbers above 0"),
        ({"weights": {"a": True}}, "numbers above 0"),
        ({"weights": {1: 2}}, "by their id or file name"),
        ({"weights": [("a", 2)]}, "by their id or file name"),
        ({"balance": "even"}, "'proportional' or 'equal', got 'even'"),
        (
            {"balance": "equal", "model": "a/b", "backend": "llamafactory", "refusals": 0},
            "nothing that LLaMA-Factory does",
        ),
    ],
)
def test_what_is_no_weight_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Trainer(**arguments)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a", "a"), ("a.txt", "a"), ("dir/My Book.pdf", "My_Book"), ("b", "b"), ("b-2", "b-2")],
)
def test_a_document_is_called_by_its_id_or_its_file(name, expected):
    assert expected == weighing.document_of(name, ["a", "My_Book", "b", "b-2"])


def test_a_name_of_two_files_or_of_none_is_refused():
    with pytest.raises(InputError, match=r"'b\.txt', and several documents are called so: b, b-2"):
        weighing.document_of("b.txt", ["a", "b", "b-2"])
    paths = {"b": "x/b.txt", "b-2": "y/b.txt"}
    with pytest.raises(InputError, match=r"b \(x/b\.txt\), b-2 \(y/b\.txt\); give one of these ids"):
        weighing.document_of("y/b.txt", paths)
    with pytest.raises(InputError, match=r"'c', and there is no such document: they are a, b"):
        weighing.document_of("c", ["b", "a"])


def test_a_weight_for_an_unknown_document_stops_a_run_before_it_writes_anything(texts, tmp_path):
    made = Pipeline(trainer=Trainer(weights={"pumpz.txt": 2}))
    for step in (made.plan, made.run):
        with pytest.raises(
            InputError, match=r"'pumpz\.txt', and there is no such document: they are boats, fans, pumps"
        ):
            step(texts, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="names the document pumps twice"):
        Pipeline(trainer=Trainer(weights={"pumps.txt": 2, "pumps": 3})).plan(texts)


def test_weights_on_the_command_line(texts, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    paths = [path.name for path in texts]
    plain, weighed = (
        CliRunner().invoke(main, ["plan", *paths, *more]).output for more in ([], ["--weight", "boats.txt=40"])
    )
    rows = [int(said.split(" rows,")[0].split()[-1].replace(",", "")) for said in (plain, weighed)]
    assert rows[1] > 2 * rows[0]
    for wrong, message in (("boats.txt", "give a document and a number"), ("boats=0", "leave the document out")):
        result = CliRunner().invoke(main, ["plan", *paths, "--weight", wrong])
        assert (1, True) == (result.exit_code, message in result.output)
    assert CliRunner().invoke(main, ["plan", *paths, "--balance", "equal"]).exit_code == 0


# Where a pair comes from.


def test_every_pair_and_question_says_its_document(texts, tmp_path):
    run = gold_only(texts, tmp_path / "run")
    sources = {path.stem: path.read_text("utf-8") for path in (run.folder / "source").iterdir()}
    records = [*load(run.folder / "golden_dataset.jsonl"), *read_jsonl(run.folder / "exam.jsonl", ExamQuestion)]
    assert {"pumps", "fans", "boats"} == {record.document for record in records if record.evidence}
    for record in records:
        assert all(sources[span.document][span.start : span.end] == span.text for span in record.evidence)
        assert {record.document} == {span.document for span in record.evidence} or not record.evidence


def test_two_files_of_one_name_are_two_documents(tmp_path):
    for folder, text in (("a", PUMPS), ("b", FANS)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "manual.txt").write_text(text, "utf-8")
    run = gold_only([tmp_path / "a" / "manual.txt", tmp_path / "b" / "manual.txt"], tmp_path / "run")
    assert [PUMPS, FANS] == [
        (run.folder / "source" / f"{name}.txt").read_text("utf-8") for name in ("manual", "manual-2")
    ]
    assert {"manual", "manual-2"} == {record.document for record in load(run.folder / "golden_dataset.jsonl")}


def test_what_two_documents_answer_differently_is_left_out_and_said(tmp_path, capsys):
    (tmp_path / "old.txt").write_text(PUMPS, "utf-8")
    (tmp_path / "new.txt").write_text(PUMPS.replace("80 °C", "60 °C"), "utf-8")
    run = gold_only([tmp_path / "old.txt", tmp_path / "new.txt"], tmp_path / "run")
    said = next(note for note in run.receipt["notes"] if "answer the same questions differently" in note)
    assert "because new and old answer" in said
    assert said in capsys.readouterr().err
    answers = {record.short_answer for record in load(run.folder / "golden_dataset.jsonl")}
    assert not {"80 °C", "60 °C"} & answers
    assert "6 weeks" in " ".join(answers)
    rejected = (run.folder / "rejected.jsonl").read_text("utf-8")
    assert "of document 'new' gives another answer to the same question" in rejected


def test_a_document_that_comes_later_is_all_that_is_paid_for(texts, tmp_path):
    with servers() as (chat, messages):
        steps = pipeline(chat, messages, teacher={"cross_section": 0, "rewrites": 0})
        steps.run(texts[:1], out=tmp_path / "run", fine_tune=False)
        first = len(chat.bill), len(messages.bodies)
        steps.run(texts[:2], out=tmp_path / "run", fine_tune=False)
        both = len(chat.bill), len(messages.bodies)
        run = steps.run(texts[:2], out=tmp_path / "run", fine_tune=False)
        assert both == (len(chat.bill), len(messages.bodies))
    # The two are as long as each other: what is asked of the first one is not asked again.
    assert both[0] == 2 * first[0]
    assert first[1] < both[1] <= 2 * first[1] + 2  # some control items are planted
    assert {"pumps", "fans"} == {record.document for record in load(run.folder / "golden_dataset.jsonl")}


# What is said of each.


def test_a_plan_has_a_line_for_each_document(texts):
    plan = Pipeline().plan(texts)
    assert ["pumps", "fans", "boats"] == [each.document for each in plan.by_document]
    assert (plan.n_chars, plan.chunks, plan.pairs) == tuple(
        sum(getattr(each, name) for each in plan.by_document) for name in ("n_chars", "chunks", "pairs")
    )
    assert all(each.items > 0 and each.tokens == 0 for each in plan.by_document)
    assert "\nby document" in str(plan)
    assert () == Pipeline().plan(texts[0]).by_document


def test_the_costs_of_documents_are_those_of_the_paid_steps(texts):
    plan = Pipeline.cloud(trainer=Trainer()).plan([*texts, Document.from_text(40 * PUMPS, id="long")])
    steps = [step.estimate for step in plan.steps if step.step in ("teacher", "verifier")]
    assert sum(each.usd_high for each in plan.by_document) == pytest.approx(sum(float(each.usd_high) for each in steps))
    assert sum(each.usd_low for each in plan.by_document) == pytest.approx(sum(float(each.usd_low) for each in steps))
    tokens = sum(each.input_tokens + sum(each.output_tokens) / 2 for each in steps)
    assert sum(each.tokens for each in plan.by_document) == pytest.approx(tokens, abs=4)
    assert max(plan.by_document, key=lambda each: each.usd_high).document == "long"


def question(number, document, *more):
    evidence = tuple(Span(document=name, start=0, end=1, text="x") for name in (document, *more))
    return ExamQuestion(
        id=f"q{number}",
        row="held_out",
        question=f"Question {number}?",
        answer="5 mg",
        document=document,
        evidence=evidence,
    )


def test_an_exam_has_a_line_for_each_document():
    exam = [question(1, "pumps"), question(2, "pumps"), question(3, "fans"), question(4, "fans", "pumps")]
    answers = {
        "base": dict.fromkeys(("q1", "q2", "q3", "q4"), "9 mg"),
        "expert": {"q1": "5 mg", "q2": "9 mg", "q3": "5 mg", "q4": "5 mg"},
    }
    result = Examiner().result(exam, answers)
    found = [(each.name, each.contestant, each.right, each.n) for each in result.groups if each.by == "document"]
    assert [
        ("fans", "base", 0, 2),
        ("fans", "expert", 2, 2),
        ("pumps", "base", 0, 3),
        ("pumps", "expert", 2, 3),
    ] == found
    lines = table(result).split("\n")
    assert [["fans", "0", "100", "2"], ["pumps", "0", "67", "3"]] == [
        line.split() for line in lines if line[:4] in ("fans", "pump")
    ]
    alone = Examiner().result(exam[:2], {"expert": {"q1": "5 mg", "q2": "5 mg"}})
    assert [] == [each for each in alone.groups if each.by == "document"]
    assert "by document" not in table(alone)
