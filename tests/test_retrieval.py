"""BM25 over passages."""

from pathlib import Path

import pytest

import text2expert
from text2expert import documents
from text2expert.chunker import Chunker
from text2expert.examiner import Retriever, load_exam
from text2expert.examiner.contestants import holds
from text2expert.retrieval import Index, terms

SAMPLES = Path(text2expert.__file__).parent / "samples"

TEXTS = [
    "The pump stops when the oil pressure falls below 2 bar.",
    "Visitors sign the book at the gate.",
    "Oil is changed every 500 hours; the pump is stopped first.",
]


def _best(query):
    scores = Index(TEXTS).scores(query)
    return scores.index(max(scores))


def test_the_passage_that_shares_the_rarest_words_scores_highest():
    assert _best("Where do visitors sign?") == 1
    assert _best("oil pressure of the pump") == 0


def test_nothing_scores_where_no_word_is_shared():
    assert Index(TEXTS).scores("zebra") == [0.0, 0.0, 0.0]
    assert Index(["", " "]).scores("pump") == [0.0, 0.0]


def test_equals_score_equally():
    one, other, buoy = Index(["a mooring line", "a mooring line", "a buoy"]).scores("mooring")
    assert one == other > buoy == 0


def test_scores_stand_for_all_passages_in_their_order():
    scores = Index(TEXTS).scores("gate")
    assert [score > 0 for score in scores] == [False, True, False]


def test_other_forms_and_synonyms_of_a_word_are_found_and_the_word_itself_first():
    index = Index(["Inspections are yearly.", "The hull is inspected.", "Check the hull.", "Paint the hull."])
    same, other_form, synonym, none = index.scores("inspected")
    assert 0 == none < synonym < same
    assert 0 == none < synonym < other_form


def test_words_that_every_sentence_has_find_nothing():
    assert [0.0, 0.0, 0.0] == Index(TEXTS).scores("When is it that they would not?")


def test_the_best_come_first_and_equals_in_their_order():
    index = Index(["a buoy", "the mooring line", "a mooring line", "one mooring"])
    assert [3, 1, 2] == index.best("mooring", 5)
    assert [3, 1] == index.best("mooring", 2)
    assert [] == index.best("zebra", 2)


def test_scripts_without_spaces_are_compared_by_pairs_of_characters():
    assert ["\u8840\u5727", "\u5727\u3092", "peep", "=peep"] == terms("\u8840\u5727\u3092PEEP")
    assert ["\u8840"] == terms("\u8840")
    assert [1] == Index(["\u4f53\u6e29\u306f\u4f4e\u3044", "\u8840\u5727\u306f\u9ad8\u3044"]).best("\u8840\u5727", 1)


def test_a_right_passage_is_among_the_first_five_for_nine_in_ten_questions_of_the_sample_exam():
    """Questions that one passage answers, in words of their own; default passages, each document by itself."""
    exam = [question for question in load_exam(SAMPLES / "exam.jsonl") if question.kind == "single"]
    found = []
    for name in {question.document for question in exam}:
        retriever = Retriever(Chunker().split(documents.read(SAMPLES / f"{name}.txt")[0]), 5)
        found += [
            any(holds(chunk, span) for chunk in retriever.find(question.question) for span in question.evidence)
            for question in exam
            if question.document == name
        ]
    assert 65 == len(found)
    assert sum(found) / len(found) >= 0.9


@pytest.mark.parametrize("size", [400, 1600])
def test_it_is_no_accident_of_the_size_of_passages(size):
    exam = [question for question in load_exam(SAMPLES / "exam.jsonl") if question.kind == "single"]
    retrievers = {
        name: Retriever(Chunker(size, size // 8).split(documents.read(SAMPLES / f"{name}.txt")[0]), 5)
        for name in {question.document for question in exam}
    }
    found = [
        any(
            holds(chunk, span)
            for chunk in retrievers[question.document].find(question.question)
            for span in question.evidence
        )
        for question in exam
    ]
    assert sum(found) / len(found) >= 0.9
