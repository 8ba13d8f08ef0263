"""Answers that can be checked: the passages that support them, and what an expert is not sure enough to say."""

import asyncio
import re
import shutil
import threading

import attrs
import pytest
from experts import FACTS
from hypothesis import given
from hypothesis import strategies as st

from text2expert.chunker import Chunker
from text2expert.confidence import ExamConfidences
from text2expert.errors import InputError, RecordError
from text2expert.examiner import GivenAnswer
from text2expert.expert import UNKNOWN, Expert
from text2expert.records import Answer, Document, ExamQuestion, Span, write_jsonl
from text2expert.support import Passages, Support

TEXT = """\
1 Gate

The gate is opened by the mate at 06:30. Nobody else has a key.

2 Pump

The pump stops when the water in the sump falls to 20 cm. It starts again at 45 cm. Its fuse is rated 16 A.

3 Wind

The limit is a mean wind of 25 knots. Above it the crane stays in its cradle for at least 3 hours.

    Crane    Reach (m)    Load (t)
    North    18           12
    South    26           8
"""
CHUNKS = Chunker(size=150, overlap=0).split(Document.from_text(TEXT, id="yard"))


@pytest.fixture(scope="module")
def passages(tmp_path_factory):
    path = tmp_path_factory.mktemp("yard") / "chunks.jsonl"
    write_jsonl(path, CHUNKS)
    return Passages(path)


def texts(passages, support):
    return [chunk.text for chunk in passages.chunks(support.sources)]


# -- looking up ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer", "phrase"),
    [
        ("When does the pump stop?", "at 20 cm", "falls to 20 cm"),
        ("When does the pump stop?", "When 0.2 m are left.", "falls to 20 cm"),
        ("What is the limit?", "Twenty-five knots", "mean wind of 25 knots"),
        ("How far does the crane South reach?", "26 m", "Reach (m)"),
        ("Who opens the gate?", "the mate", "opened by the mate"),
    ],
)
def test_an_answer_rests_on_the_passage_that_has_its_numbers_or_words(passages, question, answer, phrase):
    found = passages.support(question, answer)
    assert found.supported is True
    assert phrase in texts(passages, found)[0]


@pytest.mark.parametrize(
    ("question", "answer", "sentences"),
    [
        ("When does the pump stop?", "at 20 cm", ["The pump stops when the water in the sump falls to 20 cm."]),
        ("When does the pump start again?", "at 0.45 m", ["It starts again at 45 cm."]),
        ("How is the fuse rated?", "16 A", ["Its fuse is rated 16 A."]),
        ("Who opens the gate?", "the mate", ["The gate is opened by the mate at 06:30."]),
        ("Has anybody else a key?", "No.", ["Nobody else has a key."]),
        ("When does the pump stop, and when does it start?", "It stops at 20 cm and starts at 45 cm.",
         ["The pump stops when the water in the sump falls to 20 cm.", "It starts again at 45 cm."]),
        ("How far does the crane South reach?", "26 m", ["Crane    Reach (m)    Load (t)", "South    26           8"]),
    ],
)  # fmt: skip
def test_the_sentence_that_holds_an_answer_up_is_quoted_with_its_place(passages, question, answer, sentences):
    found = passages.support(question, answer)
    assert sentences == [each.text for each in found.evidence]
    assert all(TEXT[each.start : each.end] == each.text for each in found.evidence)


def test_an_item_is_quoted_with_what_leads_it_in(tmp_path):
    text = "Before the shift the mate checks:\n\n- the oil of the winch;\n- the brake of the crane, twice.\n\nThe log is signed."
    write_jsonl(tmp_path / "chunks.jsonl", Chunker(size=400, overlap=0).split(Document.from_text(text, id="yard")))
    found = Passages(tmp_path / "chunks.jsonl").support(
        "What does the mate check before the shift?", "the brake of the crane"
    )
    assert ["Before the shift the mate checks:", "- the brake of the crane, twice."] == [
        each.text for each in found.evidence
    ]
    assert all(text[each.start : each.end] == each.text for each in found.evidence)


@given(st.data())
def test_what_is_quoted_stands_in_the_passages_that_are_named(passages, data):
    """Whatever is said: every quote is of a passage named, and stands where it says."""
    words = re.findall(r"\S+", TEXT)
    answer = " ".join(data.draw(st.lists(st.sampled_from([*words, "no", "17", "in"]), min_size=1, max_size=12)))
    found = passages.support("When does the pump stop?", answer)
    named = passages.chunks(found.sources)
    for each in found.evidence:
        assert TEXT[each.start : each.end] == each.text == each.text.strip()
        assert any(chunk.start <= each.start and each.end <= chunk.end for chunk in named)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When does the pump stop?", "at 21 cm"),
        ("When does the pump stop?", "at 20 mm"),
        ("When does the pump stop?", "between 20 and 30 cm"),
        ("What is the limit?", "250 knots"),
    ],
)
def test_a_number_that_stands_nowhere_is_unsupported(passages, question, answer):
    assert passages.support(question, answer).supported is False


def test_numbers_of_several_passages_name_them_all(passages):
    found = passages.support("What are the levels of the pump and the wind?", "20 cm and 25 knots")
    assert found.supported is True
    assert 2 == len(found.sources)


def test_a_number_of_the_question_needs_no_support(passages):
    found = passages.support("May the gate be opened at 05:15?", "At 05:15 no, only the mate opens the gate.")
    assert found.supported is True


@pytest.mark.parametrize("answer", ["", "  ", "I do not know.", "The document does not say."])
def test_what_says_nothing_rests_on_nothing(passages, answer):
    assert Support((), None) == passages.support("When does the pump stop?", answer)


def test_an_answer_in_words_of_its_own_cannot_be_told(passages):
    assert Support((), None) == passages.support("Who opens the gate?", "some helpful captain ashore")


def test_a_bare_no_names_the_passage_that_the_question_is_about(passages):
    found = passages.support("Has anybody else a key of the gate?", "No.")
    assert found.supported is None
    assert "The gate is opened" in texts(passages, found)[0]


def test_without_passages_there_is_nothing_to_rest_on(tmp_path):
    nothing = Passages(tmp_path / "chunks.jsonl")
    assert Support((), None) == nothing.support("When does the pump stop?", "at 20 cm")
    assert () == nothing.chunks(["chunk_000001"])
    (tmp_path / "chunks.jsonl").touch()
    assert Support((), None) == Passages(tmp_path / "chunks.jsonl").support("When?", "at 20 cm")


def test_passages_are_read_once_and_only_when_needed(tmp_path):
    path = tmp_path / "chunks.jsonl"
    late = Passages(path)
    write_jsonl(path, CHUNKS)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(late.support("What is the limit?", "25 knots")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    path.unlink()
    assert {late.support("What is the limit?", "25 knots")} == set(results)
    assert results[0].supported is True


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "chunks.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(RecordError, match=r"chunks\.jsonl"):
        Passages(tmp_path / "chunks.jsonl").support("When?", "at 20 cm")


# -- an expert that knows where it stands ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(taught, tmp_path_factory):
    """The run folder of `experts.FACTS`, with passages beside the expert."""
    folder = tmp_path_factory.mktemp("sources") / "run"
    shutil.copytree(taught, folder)
    write_jsonl(folder / "chunks.jsonl", CHUNKS)
    return folder


@pytest.fixture(scope="module")
def expert(run):
    with Expert.load(run) as loaded:
        yield loaded


def test_an_answer_names_what_supports_it(expert):
    answer = expert.ask("When does the pump stop?")
    assert ("at 20 cm", True) == (answer.text, answer.supported)
    (passage,) = expert.passages(answer)
    assert "falls to 20 cm" in passage.text
    assert (passage.id,) == answer.sources
    assert ["The pump stops when the water in the sump falls to 20 cm."] == [each.text for each in answer.evidence]
    several = expert.ask_many(list(FACTS))
    assert [True] * 3 == [each.supported for each in several]
    assert several[1].sources == answer.sources == asyncio.run(expert.aask("When does the pump stop?")).sources


def test_an_expert_without_passages_says_so_by_none(taught):
    with Expert.load(taught) as alone:
        answer = alone.ask("When does the pump stop?")
        assert ("at 20 cm", None, ()) == (answer.text, answer.supported, answer.sources)
        assert () == alone.passages(answer)


def test_an_answer_that_is_not_sure_enough_is_withheld(expert):
    sure = expert.ask("When does the pump stop?")
    withheld = expert.ask("When does the pump stop?", min_confidence=1.0)
    assert 0.5 < sure.confidence < 1
    assert (UNKNOWN, "at 20 cm", (), None) == (withheld.text, withheld.withheld, withheld.sources, withheld.supported)
    assert pytest.approx(sure.confidence, abs=0.01) == withheld.confidence
    assert "at 20 cm" == expert.ask("When does the pump stop?", min_confidence=sure.confidence / 2).text
    (many,) = expert.ask_many(["When does the pump stop?"], min_confidence=1.0)
    assert "at 20 cm" == many.withheld
    assert "at 20 cm" == asyncio.run(expert.aask("When does the pump stop?", min_confidence=1.0)).withheld


def test_an_expert_is_loaded_with_the_confidence_that_its_answers_must_have(run):
    with Expert.load(run, min_confidence=1.0) as careful:
        assert UNKNOWN == careful.ask("When does the pump stop?").text
        assert "at 20 cm" == careful.ask("When does the pump stop?", min_confidence=0).text


@pytest.mark.parametrize("value", [-0.1, 1.5, True, "0.5", float("nan")])
def test_a_confidence_that_is_none_is_refused_before_anything_is_asked(run, value):
    with pytest.raises(InputError, match="min_confidence="):
        Expert.load(run, min_confidence=value)
    careless = Expert.load(run)
    with pytest.raises(InputError, match="min_confidence="):
        careless.ask("When does the pump stop?", min_confidence=value)
    assert careless._child is None


def test_an_answer_shows_itself_in_a_notebook_and_trusts_no_text():
    answer = Answer(text="<b>20</b>", confidence=0.914, seconds=0.051, sources=("chunk_000002", "<i>"), supported=True)
    shown = answer._repr_html_()
    assert "&lt;b&gt;20&lt;/b&gt;" in shown
    assert "confidence 0.91" in shown
    assert "no chance to be right" in shown
    assert "chunk_000002, &lt;i&gt;" in shown
    assert "0.05 s" in shown
    assert "unsupported" not in shown
    assert "unsupported" in attrs.evolve(answer, supported=False)._repr_html_()
    assert ">yes</p>" in Answer(text="yes")._repr_html_()
    quote = Span(document="d", start=0, end=3, text="<a>")
    found = attrs.evolve(answer, evidence=(quote,), as_sure=(14, 20), withheld="<w>")._repr_html_()
    assert "<blockquote>&lt;a&gt;</blockquote>" in found
    assert "of the exam's answers about as sure, 14 of 20 were right" in found
    assert "withheld: &lt;w&gt;" in found


# -- what a confidence was worth -------------------------------------------------------------------------------------


def exam_in(folder, answered):
    """An exam of the expert's: pairs of confidence and grade, and what is not to be counted."""
    exam = [ExamQuestion(id=f"q{n}", row="hand_written", question="?", answer="yes") for n in range(len(answered))]
    other = [
        ExamQuestion(id="taught", row="taught", question="?", answer="yes"),
        ExamQuestion(id="silent", row="hand_written", question="?", answer=None),
    ]
    write_jsonl(folder / "exam.jsonl", [*exam, *other])
    answers = [
        GivenAnswer(question=f"q{n}", contestant="expert", text="", grade=grade, confidence=confidence)
        for n, (confidence, grade) in enumerate(answered)
    ]
    answers += [
        GivenAnswer(question=each.id, contestant="expert", text="", grade="right", confidence=0.5) for each in other
    ]
    answers += [GivenAnswer(question="q0", contestant="base", text="", grade="right", confidence=0.5)]
    write_jsonl(folder / "exam_answers.jsonl", answers)


def test_a_confidence_is_compared_with_the_nearest_of_the_exam(tmp_path):
    """Of the expert's answers to unseen questions alone."""
    exam_in(tmp_path, [(0.5, "wrong")] * 15 + [(0.52, "right")] * 5 + [(0.9, "right")] * 19 + [(0.95, "refused")])
    known = ExamConfidences(tmp_path)
    assert (5, 20) == known.like(0.4)
    assert (19, 20) == known.like(1.0)


def test_answers_equally_near_all_count(tmp_path):
    exam_in(tmp_path, [(0.5, "right"), (0.5, "wrong")] * 15)
    assert (15, 30) == ExamConfidences(tmp_path).like(0.5)


def test_of_a_small_exam_or_none_nothing_is_said(tmp_path):
    assert ExamConfidences(tmp_path).like(0.5) is None
    exam_in(tmp_path, [(0.5, "right")] * 19)
    assert ExamConfidences(tmp_path).like(0.5) is None
