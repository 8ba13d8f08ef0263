"""What is trained of a golden record, and what is made of it again when the expert writes it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

REASONING = st.sampled_from(["none", "before", "after"])

# Words between which the very marks that part an answer from its reasoning may stand.
TEXTS = st.lists(st.sampled_from(["so", "Answer: ", "Reasoning: ", "\n", "\n\n", "In short: ", "x."])).map("".join)


@given(answer=TEXTS, trace=TEXTS, reasoning=REASONING)
def test_an_answer_is_taken_apart_as_it_was_put_together(recipes, answer, trace, reasoning):
    """Whatever words are in it; of the reasoning, blank lines are lost."""
    target = recipes["target"]
    written = target.target_of({"output": answer, "reasoning": trace}, reasoning)
    got = target.split_answer(written, reasoning)
    trained = reasoning != "none" and answer.strip() and trace.strip()
    if trained:
        assert got == (answer.strip(), re.sub(r"\n+", "\n", trace.strip()))
    elif reasoning == "none" or not written:
        assert got == (answer.strip(), "")


@pytest.mark.parametrize(
    ("place", "answer", "short", "expected"),
    [
        ("none", "It is checked daily.", "daily", "It is checked daily."),
        ("first", "It is checked daily.", "daily", "daily. It is checked daily."),
        ("first", "It is checked daily.", "Daily.", "Daily. It is checked daily."),
        ("last", "Every day it is checked.", "daily", "Every day it is checked. In short: daily."),
        ("last", "Every day it is checked", "daily", "Every day it is checked. In short: daily."),
        ("first", "Daily, by the mate.", "daily", "Daily, by the mate."),
        ("first", "Daily", "daily.", "Daily"),
        ("first", "Nobody checks it.", "no", "no. Nobody checks it."),
        ("last", "It is checked daily.", "daily", "It is checked daily."),
        ("last", "It is checked bidaily.", "daily", "It is checked bidaily. In short: daily."),
        ("first", "It is.", "", "It is."),
    ],
)
def test_a_short_answer_is_not_said_twice(recipes, place, answer, short, expected):
    """It stands before or behind the sentence, unless this begins or ends with it."""
    assert recipes["target"].target_of({"output": answer, "short_answer": short}, "none", place) == expected


@pytest.mark.parametrize("reasoning", ["before", "after"])
def test_an_answer_without_its_reasoning_is_an_answer(recipes, reasoning):
    """Rows without a trace are trained so, and an expert may write so."""
    assert recipes["target"].target_of({"output": " So. ", "reasoning": None}, reasoning) == "So."
    assert recipes["target"].split_answer(" So. ", reasoning) == ("So.", "")
