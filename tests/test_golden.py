"""Gathering: what becomes of the pairs that teachers wrote."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from teachings import SETTINGS, approve, pair, span, teachings, unseen
from timed import cpu_seconds

from text2expert import golden
from text2expert.errors import InputError
from text2expert.records import Verdict, to_line


def lines(gold):
    return [[to_line(each) for each in part] for part in (gold.records, gold.exam, gold.rejected, [gold.counts])]


@given(teachings(), SETTINGS)
def test_every_pair_ends_in_exactly_one_place(teaching, arguments):
    """Counts add up, and are the counts of what is really there."""
    pairs, verdicts = teaching
    gold = golden.gather(pairs, verdicts, **arguments)
    places = [
        *(record.qa_id for record in gold.records),
        *(question.id for question in unseen(gold.exam)),
        *(rejected.qa_id for rejected in gold.rejected),
    ]
    assert sorted(each.qa_id for each in pairs) == sorted(places)
    assert gold.counts.add_up()
    assert len(pairs) == gold.counts.parsed
    assert len(gold.records) == gold.counts.gold
    assert len(unseen(gold.exam)) <= gold.counts.exam
    assert len(pairs) - len(gold.records) - gold.counts.exam == sum(each.cause != "exam" for each in gold.rejected)


@given(teachings(), SETTINGS, st.randoms(use_true_random=False))
def test_the_order_of_pairs_and_verdicts_changes_nothing(teaching, arguments, shuffler):
    pairs, verdicts = teaching
    expected = lines(golden.gather(pairs, verdicts, **arguments))
    pairs, verdicts = list(pairs), list(verdicts)
    shuffler.shuffle(pairs)
    shuffler.shuffle(verdicts)
    assert expected == lines(golden.gather(iter(pairs), iter(verdicts), **arguments))


def test_one_fact_stated_in_two_places_stays_one_when_the_repeated_question_goes():
    """What is held out of one place must not be trained on from the other."""
    pairs = [
        pair("a_0", "How long does it last?", item="one", evidence=(span(0, 50),)),
        pair("b_0", "How long does it last?", item="two", evidence=(span(900, 950),)),
        pair("b_1", "After what time does it lapse?", item="two", evidence=(span(900, 950),)),
    ]
    gold = golden.gather(pairs, approve(pairs), never_asked=0.0, held_out=0.0)
    assert ["a_0", "b_1"] == [record.qa_id for record in gold.records]
    assert 1 == len({record.fact for record in gold.records})


def test_a_pair_without_a_verdict_is_unverified_unless_nothing_was_verified():
    pairs = [pair("q_0", "What is p0?"), pair("q_1", "What is p1?")]
    gold = golden.gather(pairs, approve(pairs[:1]), status="model", never_asked=0.0)
    assert ["q_0"] == [record.qa_id for record in gold.records]
    assert [("q_1", "unverified")] == [(each.qa_id, each.cause) for each in gold.rejected]
    gold = golden.gather(pairs, [], status="unverified", never_asked=0.0)
    assert ["unverified", "unverified"] == [record.status for record in gold.records]


def test_one_refusal_outweighs_an_approval_and_its_reason_is_kept():
    pairs = [pair("q_0", "What is p0?")]
    no = Verdict(qa_id="q_0", grounded=False, no_hallucination=True, complete=True, reason="the text says 12 hours")
    gold = golden.gather(pairs, [*approve(pairs), no])
    assert [("q_0", "rejected", "the text says 12 hours")] == [
        (each.qa_id, each.cause, each.reason) for each in gold.rejected
    ]


def test_nothing_in_gives_nothing_out_and_counts_that_add_up():
    gold = golden.gather([], [])
    assert ((), (), (), 0) == (gold.records, gold.exam, gold.rejected, gold.counts.parsed)
    assert gold.counts.add_up()


def test_two_pairs_of_one_id_are_refused():
    with pytest.raises(InputError, match="'q_0'"):
        golden.gather([pair("q_0", "What is p0?"), pair("q_0", "What is p1?")], [])


def test_blank_questions_and_answers_are_rejected():
    pairs = [pair("q_0", " ?! "), pair("q_1", "What is p1?", "  ")]
    gold = golden.gather(pairs, approve(pairs))
    assert [("q_0", "rejected"), ("q_1", "rejected")] == [(each.qa_id, each.cause) for each in gold.rejected]


NAMES = ["".join(letters) + "o" for letters in itertools.product("bcdfghjklmnpqrtv", repeat=4)]


@pytest.mark.parametrize("evidence", [(), (span(0, 50),)], ids=["without evidence", "one fact"])
@pytest.mark.parametrize("subject", ["one name of its own", "three of few names"])
def test_gathering_takes_time_in_proportion_to_the_pairs(subject, evidence):
    """Also where all questions are of one template and have one answer: four times the pairs, not sixteen times the work."""
    shuffler = random.Random(7)

    def seconds(count):
        names = NAMES[:count] if "one" in subject else [" ".join(shuffler.sample(NAMES[:300], 3)) for _ in range(count)]
        pairs = [
            pair(f"q_{n}", f"How long does the {name} departure last?", item=f"i{n}", evidence=evidence)
            for n, name in enumerate(names)
        ]
        verdicts = approve(pairs)
        return cpu_seconds(lambda: golden.gather(pairs, verdicts), turns=2)

    seconds(500)  # warm caches
    assert seconds(6000) < 9 * seconds(1500)
