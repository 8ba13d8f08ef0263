"""BM25 over passages."""

from text2expert.retrieval import Index

TEXTS = [
    "The pump stops when the oil pressure falls below 2 bar.",
    "Visitors sign the book at the gate.",
    "Oil is changed every 500 hours; the pump is stopped first.",
]


def test_the_passage_that_shares_the_rarest_words_comes_first():
    assert Index(TEXTS).search("Where do visitors sign?", 1) == [1]
    assert Index(TEXTS).search("oil pressure of the pump", 3)[0] == 0


def test_nothing_is_found_where_no_word_is_shared():
    assert Index(TEXTS).search("zebra", 3) == []
    assert Index(["", " "]).search("pump", 3) == []


def test_equals_come_in_the_order_of_the_text():
    assert Index(["a mooring line", "a mooring line", "a buoy"]).search("mooring", 3) == [0, 1]


def test_scores_stand_for_all_passages_in_their_order():
    scores = Index(TEXTS).scores("gate")
    assert [score > 0 for score in scores] == [False, True, False]
