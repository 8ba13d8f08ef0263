"""The statistics of an exam, against scipy and statsmodels and on planted cases."""

import attrs
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_exams import answers, chunk, question, questions, span
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.proportion import proportion_confint

from text2expert.errors import InputError
from text2expert.examiner import statistics
from text2expert.examiner.results import Comparison, ExamScore, Refusals
from text2expert.examiner.statistics import (
    KNOWN,
    UNKNOWN,
    best_reader,
    comparisons,
    groups,
    mcnemar,
    paired_bootstrap,
    refusals,
    scores,
)
from text2expert.records import wilson

counts = st.integers(0, 400)


# -- against scipy and statsmodels -----------------------------------------------------------------------------------


@given(only_one=counts, only_other=counts, both=counts, neither=counts)
def test_mcnemar_is_that_of_statsmodels(only_one, only_other, both, neither):
    expected = reference_mcnemar([[both, only_one], [only_other, neither]], exact=True).pvalue
    assert min(1.0, float(expected)) == pytest.approx(mcnemar(only_one, only_other), rel=1e-9)


@given(only_one=counts, only_other=counts)
def test_mcnemar_is_a_binomial_test_at_one_half(only_one, only_other):
    n = only_one + only_other
    expected = scipy.stats.binomtest(only_one, n, 0.5).pvalue if n else 1.0
    assert expected == pytest.approx(mcnemar(only_one, only_other), rel=1e-9)


def test_mcnemar_of_thousands_of_questions_neither_overflows_nor_vanishes():
    assert mcnemar(3_000, 1_000) == pytest.approx(float(scipy.stats.binomtest(3_000, 4_000, 0.5).pvalue), rel=1e-6)
    assert 0 < mcnemar(0, 1_000)


@given(right=counts, wrong=counts)
def test_intervals_of_shares_are_wilsons(right, wrong):
    n = right + wrong + 1
    assert proportion_confint(right, n, method="wilson") == pytest.approx(wilson(right, n), abs=1e-6)


@settings(max_examples=20)
@given(
    pairs=st.lists(st.sampled_from([(1, 1), (1, 0), (0, 1), (0, 0)]), min_size=30, max_size=200),
    seed=st.integers(0, 2**64 - 1),
)
def test_the_bootstrap_of_questions_about_different_facts_is_that_of_scipy(pairs, seed):
    one, other = np.array(pairs).T
    low, high = paired_bootstrap((one - other).tolist(), [str(place) for place in range(len(pairs))], seed=seed)
    expected = scipy.stats.bootstrap(
        (one, other),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=9_999,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    # Monte Carlo error of a 2.5 % quantile from 2,000 resamples is a tenth of a standard error; a step is one question.
    error = np.std(one - other) / np.sqrt(len(pairs))
    assert (expected.low, expected.high) == pytest.approx((low, high), abs=0.35 * error + 1.01 / len(pairs))


# -- the bootstrap over facts ----------------------------------------------------------------------------------------


def test_questions_about_one_fact_count_together():
    """Ten copies of every question make the interval of single questions narrower, and that over facts not."""
    base = [1] * 12 + [-1] * 6 + [0] * 22
    names = [str(place) for place in range(len(base))]
    expected = paired_bootstrap(base, names, seed=1)
    clustered = paired_bootstrap(base * 10, names * 10, seed=1)
    alone = paired_bootstrap(base * 10, [str(place) for place in range(400)], seed=1)
    assert expected == pytest.approx(clustered)
    assert 0.5 * (expected[1] - expected[0]) > alone[1] - alone[0]


def test_an_exam_too_large_to_be_resampled_at_once_has_the_interval_of_the_normal_approximation():
    differences = [1, 0, 0, -1, 1] * 1_000
    low, high = paired_bootstrap(differences, [str(place) for place in range(5_000)], seed=3)
    error = np.std(differences) / np.sqrt(5_000)
    assert (0.2 - 1.96 * error, 0.2 + 1.96 * error) == pytest.approx((low, high), abs=0.2 * error)


def test_one_fact_tells_nothing_of_others():
    assert (-1.0, 1.0) == paired_bootstrap([1, 1, 1], ["a", "a", "a"], seed=0)


@given(st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.sampled_from("abcdef")), min_size=1, max_size=60))
def test_an_interval_lies_in_its_range(rows):
    differences, clusters = zip(*rows, strict=True)
    low, high = paired_bootstrap(differences, clusters, seed=5, resamples=400)
    assert -1 <= low <= high <= 1


# -- comparisons -----------------------------------------------------------------------------------------------------


@pytest.fixture
def exam():
    return [
        *questions("taught", 4),
        *questions("held_out", 10),
        *questions("hand_written", 6),
        *questions("unanswerable", 5, answer=None),
        *questions("never_asked", 3),
        *questions("general", 2),
    ]


@pytest.fixture
def given_answers(exam):
    return [
        *answers("base", exam, {"hand_written": 1, "unanswerable": 5, "general": 2}),
        *answers("expert", exam, {"taught": 4, "held_out": 9, "hand_written": 3, "unanswerable": 1, "never_asked": 1}),
    ]


def test_a_pair_is_compared_on_each_row_and_on_all_unseen_answerable_questions(exam, given_answers):
    found = {each.row: each for each in comparisons(exam, given_answers, [("expert", "base")])}
    assert ["taught", "held_out", "never_asked", "unanswerable", "hand_written", "general", "all"] == list(found)
    every = found["all"]
    expected = Comparison(
        row="all",
        one="expert",
        other="base",
        n=16,
        only_one=11,
        only_other=0,
        p=mcnemar(11, 0),
        difference=11 / 16,
        interval=every.interval,
        discordant_facts=11,
    )
    assert expected == every
    assert (1, 5, -0.8) == (found["unanswerable"].n - 4, found["unanswerable"].n, found["unanswerable"].difference)
    assert 0.4 < every.interval[0] < 11 / 16 < every.interval[1] < 0.95


def test_the_order_of_questions_and_answers_changes_nothing(exam, given_answers):
    pairs = [("expert", "base")]
    assert comparisons(exam, given_answers, pairs) == comparisons(exam[::-1], given_answers[::-1], pairs)


def test_a_pair_turned_round_is_its_mirror(exam, given_answers):
    there, back = (
        {each.row: each for each in comparisons(exam, given_answers, [pair])}
        for pair in (("expert", "base"), ("base", "expert"))
    )
    for row, each in there.items():
        assert (each.only_one, each.only_other) == (back[row].only_other, back[row].only_one)
        assert each.p == back[row].p
        assert each.interval == pytest.approx((-back[row].interval[1], -back[row].interval[0]))


def test_only_questions_that_both_answered_are_compared(exam, given_answers):
    passage = [each for each in answers("oracle", exam, {"held_out": 10}) if each.question.startswith("held_out")]
    found = comparisons(exam, [*given_answers, *passage], [("oracle", "expert")])
    assert [("held_out", 10), ("all", 10)] == [(each.row, each.n) for each in found]


def test_questions_about_one_fact_widen_the_interval():
    """Thirty questions about three facts say less than thirty about thirty."""
    many = questions("held_out", 30)
    few = [attrs.evolve(each, fact=f"fact {place % 3}") for place, each in enumerate(many)]
    right = {each.id for place, each in enumerate(many) if place % 3}
    widths = []
    for exam in (many, few):
        given = [*answers("expert", exam, right), *answers("base", exam, set())]
        (_, every) = comparisons(exam, given, [("expert", "base")])
        widths.append(every.interval[1] - every.interval[0])
    assert widths[1] > 2 * widths[0]


def test_facts_on_which_the_two_differ_are_counted_and_one_on_which_they_are_even_is_not():
    exam = [question(f"q{place}", fact=fact) for place, fact in enumerate("aaabbcc")]
    given = [*answers("expert", exam, {"q0", "q1", "q3"}), *answers("base", exam, {"q2", "q4"})]
    (all_rows,) = [each for each in comparisons(exam, given, [("expert", "base")]) if each.row == "all"]
    assert (3, 2, 1) == (all_rows.only_one, all_rows.only_other, all_rows.discordant_facts)


# -- who is RAG ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answered", "expected"), [(2, "base + RAG"), (94, "base + RAG"), (95, "mine")])
def test_who_answered_few_of_the_questions_is_not_rag_however_right_it_was(answered, expected):
    exam = questions("held_out", 100)
    given = [
        *answers("expert", exam, {"held_out": 90}),
        *answers("base + RAG", exam, {"held_out": 70}),
        *answers("mine", exam[:answered], {"held_out": 100}, passages=("chunk_000001",)),
    ]
    assert expected == best_reader(exam, given)


def test_what_the_expert_was_not_asked_no_reader_needs_to_have_answered():
    exam = [*questions("held_out", 10), *questions("hand_written", 90)]
    given = [*answers("expert", exam[:10], {"held_out": 5}), *answers("base + RAG", exam[:10], {"held_out": 5})]
    assert "base + RAG" == best_reader(exam, given)
    assert best_reader(exam, given[10:]) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [("expert + my search", "base + RAG"), ("Expert, asked thrice", "base + RAG"), ("expertise", "expertise")],
)
def test_a_contestant_that_asks_the_expert_is_not_rag(name, expected):
    exam = questions("held_out", 20)
    given = [
        *answers("expert", exam, {"held_out": 15}),
        *answers("base + RAG", exam, {"held_out": 10}),
        *answers(name, exam, {"held_out": 18}, passages=("chunk_000001",)),
    ]
    assert expected == best_reader(exam, given)


def test_a_contestant_that_is_not_there_is_named(exam, given_answers):
    with pytest.raises(InputError, match="no contestant 'RAG' to compare: there are 'base', 'expert'"):
        comparisons(exam, given_answers, [("expert", "RAG")])


def test_an_answer_to_another_exam_and_a_second_answer_are_refused(exam, given_answers):
    with pytest.raises(InputError, match="answered 'held_out_000', which is not in this exam of 0 questions"):
        scores([], given_answers[4:])
    with pytest.raises(InputError, match="'base' answered 'taught_000' twice"):
        scores(exam, [*given_answers, given_answers[0]])


# -- scores, refusals ------------------------------------------------------------------------------------------------


def test_scores_count_the_right_answers_of_each_row(exam, given_answers):
    found = scores(exam, given_answers)
    assert ExamScore(row="held_out", contestant="expert", right=9, n=10) in found
    assert ExamScore(row="unanswerable", contestant="expert", right=1, n=5) in found
    assert 12 == len(found)


def test_refusals_are_right_where_the_document_is_silent_and_wrong_where_it_speaks(exam):
    given = answers("expert", exam, {"unanswerable": 2})
    given = [
        attrs.evolve(each, grade="refused") if each.question in {"held_out_001", "taught_000", "general_000"} else each
        for each in given
    ]
    expected = (Refusals(contestant="expert", right=2, unanswerable=5, wrong=2, answerable=23),)
    assert expected == refusals(exam, given)


# -- groups ----------------------------------------------------------------------------------------------------------

CHUNKS = [
    chunk(1, 0, 100, "Start"),
    chunk(2, 80, 200, "Start", "Detail"),
    chunk(3, 200, 300, "End"),
]


def by(found, kind):
    return [(each.name, each.contestant, each.right, each.n) for each in found if each.by == kind]


def test_sections_are_those_of_the_chunks_that_hold_most_of_the_evidence():
    exam = [
        question("one", evidence=(span(85, 130),)),
        question("two", evidence=(span(10, 20), span(210, 220))),
        question("elsewhere", evidence=(span(10, 20, "another"),)),
        question("taught", "taught", evidence=(span(10, 20),)),
    ]
    found = groups(exam, answers("expert", exam, {"two"}), CHUNKS)
    assert [("Start", "expert", 1, 2), ("End", "expert", 1, 1)] == by(found, "section")
    assert [("1", "expert", 0, 1), ("2", "expert", 1, 1)] == by(found, "hops")


def test_where_overlapping_chunks_have_the_whole_evidence_the_first_is_taken():
    places = statistics.Places(CHUNKS)
    assert ["chunk_000001"] == [each.id for each in places.chunks(question("one", evidence=(span(82, 98),)))]
    assert ["chunk_000002"] == [each.id for each in places.chunks(question("one", evidence=(span(85, 130),)))]
    assert [] == [each.id for each in places.chunks(question("one", evidence=(span(300, 310),)))]


def test_a_title_over_the_whole_document_is_no_section():
    chunks = [
        chunk(1, 0, 10, "Handbook"),
        chunk(2, 10, 20, "Handbook", "Doses"),
        chunk(3, 20, 30, "Handbook", "Alarms"),
    ]
    assert ["Handbook", "Doses", "Alarms"] == statistics.Places(chunks).sections


def test_sections_of_several_documents_have_the_documents_name():
    chunks = [chunk(1, 0, 10, "Doses"), chunk(2, 10, 20, "Alarms"), chunk(3, 0, 9, document="other")]
    assert ["doc: Doses", "doc: Alarms", "other: before the first heading"] == statistics.Places(chunks).sections


def test_hops_are_passages_and_a_kind_or_a_row_may_say_that_there_are_several():
    places = statistics.Places(CHUNKS)
    assert 1 == places.hops(question("a", evidence=(span(10, 20), span(30, 40))))
    assert 3 == places.hops(question("b", evidence=(span(10, 20), span(150, 160), span(250, 260))))
    assert 2 == places.hops(question("c", "hand_written", kind="multihop"))
    assert 2 == places.hops(question("d", "across", evidence=(span(10, 20),)))
    assert places.hops(question("e", "hand_written")) is None


def test_three_passages_and_more_are_one_group():
    chunks = [chunk(number, 10 * number, 10 * number + 10) for number in range(5)]
    exam = [question(f"q{n}", evidence=tuple(span(10 * k, 10 * k + 5) for k in range(n))) for n in (2, 3, 5)]
    found = groups(exam, answers("expert", exam, {"q5"}), chunks)
    assert [("2", "expert", 0, 1), ("3+", "expert", 1, 2)] == by(found, "hops")


def test_difficulties_come_in_their_order_and_a_question_without_one_in_none():
    levels = ["hard", "easy", "", "odd", "medium"]
    exam = [question(f"q{place}", difficulty=level) for place, level in enumerate(levels)]
    found = groups(exam, answers("expert", exam, {"q0"}), [])
    assert ["easy", "medium", "hard", "odd"] == [name for name, *_ in by(found, "difficulty")]


def test_what_the_base_did_not_know_is_counted_apart_from_what_it_knew():
    exam = questions("held_out", 10)
    given = [*answers("base", exam, {"held_out": 4}), *answers("expert", exam, {each.id for each in exam[2:9]})]
    found = by(groups(exam, given, []), "unknown_to_base")
    assert [(UNKNOWN, "expert", 5, 6), (KNOWN, "expert", 2, 4)] == found
    assert [] == by(groups(exam, given, [], base="nobody"), "unknown_to_base")
