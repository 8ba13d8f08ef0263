"""BM25 over passages."""

from text2expert.retrieval import Index

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
