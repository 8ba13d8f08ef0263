"""Repetitions, contradictions and facts: which records ask or say the same."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from teachings import DOCUMENTS, overlap_by_half, pair, span

from text2expert import golden
from text2expert.golden.facts import SAME_QUESTION, repetitions, with_facts
from text2expert.records import GoldRecord, Span, wording


def causes(pairs):
    records = with_facts([golden.to_gold(each, "model") for each in pairs])
    return {each.record.qa_id: each.cause for each in repetitions(records)}


def test_the_same_question_is_asked_once():
    """Case and punctuation do not make another question, within an item or between items."""
    assert {"b": "duplicate", "c": "duplicate"} == causes(
        [
            pair("a", "How long does it last?", item="one"),
            pair("b", "how long does it last", item="one"),
            pair("c", "How long does it last ?", item="two"),
        ]
    )


def test_two_answers_to_one_question_are_both_left_out():
    assert {"a": "contradictory", "b": "contradictory", "c": "contradictory"} == causes(
        [
            pair("a", "How long does it last?", "24 hours"),
            pair("b", "How long does it last?", "36 hours"),
            pair("c", "How long does it last?", "24 hours"),
        ]
    )


def test_answers_worded_otherwise_with_one_canonical_answer_do_not_contradict():
    assert {"b": "duplicate"} == causes(
        [
            pair("a", "How long does it last?", "It lasts 24 hours.", short_answer="24 hours"),
            pair("b", "How long does it last?", "For 24 hours.", short_answer="24 hours"),
        ]
    )


def test_near_duplicates_go_between_items_and_stay_within_one():
    place = (span(0, 50),)
    first = "How long does a departure from the protocol last unless it is renewed?"
    second = "How long does the departure from a protocol last unless it is renewed?"
    third = "How long does departure from the protocol last unless it is renewed?"
    assert wording(first) != wording(third)
    two_items = [pair("a", first, evidence=place, item="one"), pair("b", third, evidence=place, item="two")]
    assert {"b": "duplicate"} == causes(two_items)
    assert {} == causes([pair("a", first, evidence=place, item="one"), pair("b", second, evidence=place, item="one")])


@pytest.mark.parametrize(
    ("second", "answer", "place"),
    [
        ("What dose is given to a child of 11 to 20 kg with severe asthma at night?", "24 hours", span(0, 50)),
        ("What dose is given to a child of 11 to 30 kg with asthma at night?", "12 hours", span(0, 50)),
        (
            "What dose is given to a child of 11 to 30 kg with asthma at night?",
            "24 hours",
            Span(document="alpha", start=200, end=250, text="y" * 50),
        ),
    ],
    ids=["other figures", "another answer", "another fact"],
)
def test_questions_alike_are_no_duplicates_when_they_ask_something_else(second, answer, place):
    first = "What dose is given to a child of 11 to 30 kg with severe asthma at night?"
    assert len(set(wording(first).split()) & set(wording(second).split())) >= SAME_QUESTION * 15
    assert {} == causes(
        [
            pair("a", first, evidence=(span(0, 50),), item="one"),
            pair("b", second, answer, evidence=(place,), item="two"),
        ]
    )


SENTENCES = st.lists(
    st.sampled_from("a the of is pump valve pumps night not above below 1 2".split()), min_size=1, max_size=9
).map(" ".join)


@given(
    st.lists(
        st.tuples(SENTENCES, st.sampled_from(["x", "y"]), st.integers(0, 3), st.sampled_from([(), (0,), (50,)])),
        max_size=25,
    )
)
def test_near_duplicates_are_those_that_comparing_all_with_all_finds(questions):
    """The inverted index finds every near-duplicate, and nothing else."""
    records = with_facts(
        [
            GoldRecord(
                instruction=text,
                output=answer,
                qa_id=f"q_{n}",
                item=f"i{item}",
                evidence=tuple(span(start, start + 10) for start in starts),
            )
            for n, (text, answer, item, starts) in enumerate(questions)
        ]
    )
    found = {each.record.qa_id: each.cause for each in repetitions(records)}
    kept, expected, wordings = [], set(), set()
    for record in records:
        if found.get(record.qa_id) == "contradictory":
            continue
        if wording(record.instruction) in wordings:
            expected.add(record.qa_id)
            continue
        wordings.add(wording(record.instruction))
        if any(near(record, other) for other in kept):
            expected.add(record.qa_id)
        else:
            kept.append(record)
    assert expected == {qa_id for qa_id, cause in found.items() if cause == "duplicate"}


def near(one, other):
    words, others = set(wording(one.instruction).split()), set(wording(other.instruction).split())
    extra, missing = words - others, others - words
    if (extra | missing) & {"1", "2", "not", "above", "below"} or one.item == other.item or one.output != other.output:
        return False
    if len(words & others) < SAME_QUESTION * len(words | others):
        return False
    more, less = (
        {"pump" if word == "pumps" else word for word in side - {"a", "the", "of", "is"}} for side in (extra, missing)
    )
    if one.evidence and other.evidence:
        return one.fact == other.fact and (more <= less or less <= more)
    return more == less


def test_cells_of_one_table_row_with_equal_values_are_no_duplicates():
    """They differ in one word, have one answer, and stand on the same line."""
    row = (span(0, 50),)
    first = 'For a length of 20 to 80 m, what does the table "Minimum pattern" list under "Head"?'
    second = 'For a length of 20 to 80 m, what does the table "Minimum pattern" list under "Stern"?'
    assert {} == causes(
        [pair("a", first, "1", evidence=row, item="one"), pair("b", second, "1", evidence=row, item="two")]
    )


@given(
    st.lists(
        st.lists(st.builds(span, st.integers(0, 40), st.integers(0, 40), st.sampled_from(DOCUMENTS)), max_size=3),
        max_size=15,
    )
)
@example([[span(0, 10)], [span(5, 100)]])  # half, to the character
@example([[span(0, 10)], [span(6, 100)]])
@settings(max_examples=300)
def test_facts_of_different_answers_are_what_comparing_all_spans_with_all_gives(evidence):
    records = with_facts(
        [
            GoldRecord(instruction=f"q {n}", output=f"answer {n}", item=f"i{n}", evidence=tuple(spans))
            for n, spans in enumerate(evidence)
        ]
    )
    groups = [{n} for n in range(len(records))]
    for n, one in enumerate(records):
        for m, other in enumerate(records[:n]):
            if any(overlap_by_half(a, b) for a in one.evidence for b in other.evidence):
                joined = groups[n] | groups[m]
                for member in joined:
                    groups[member] = joined
    expected = [[groups[n] is groups[m] for m in range(len(records))] for n in range(len(records))]
    assert expected == [[one.fact == other.fact for other in records] for one in records]


def test_items_without_evidence_are_their_own_facts():
    records = with_facts([GoldRecord(instruction=f"q {n}", output="a") for n in range(3)])
    assert 3 == len({record.fact for record in records})
    assert 3 == len({record.item for record in records})


def test_a_fact_keeps_its_name_when_another_document_is_edited():
    one = GoldRecord(instruction="q", output="a", item="i", evidence=(span(0, 9),))
    others = [GoldRecord(instruction="r", output="b", item="j", evidence=(span(n, n + 9, "beta"),)) for n in (0, 5)]
    assert 1 == len({with_facts([one, other])[0].fact for other in others})


def test_a_fact_said_twice_is_one_fact():
    """A rule and its summary: to hold out the one and train the other would not be holding out."""
    rule = Span(document="alpha", start=0, end=40, text="A visitor badge expires after 12 hours.")
    summary = Span(document="alpha", start=900, end=940, text="Visitor badges expire after 12 hours")
    other = Span(document="alpha", start=500, end=540, text="The night shift lasts for 12 hours in winter.")
    records = [
        GoldRecord(instruction=f"{number}?", output="12 hours", evidence=(each,), document="alpha", item=f"i{number}")
        for number, each in enumerate((rule, summary, other))
    ]
    facts = [record.fact for record in with_facts(records)]
    assert facts[0] == facts[1] != facts[2]
