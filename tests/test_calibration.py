"""What confidences are worth, and the threshold that they suggest."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from text2expert.errors import InputError
from text2expert.examiner.calibration import calibration

ANSWERS = st.lists(
    st.tuples(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 0.9, 1.0])), st.booleans()), min_size=1, max_size=60
)


def test_confidence_that_tells_right_from_wrong():
    found = calibration([(0.95, True)] * 8 + [(0.2, False)] * 2)
    assert (10, 0.8, 1.0) == (found.n, found.accuracy, found.auroc)
    assert (0.95, 0.8, 1.0) == (found.threshold, found.coverage, found.selective_accuracy)
    assert pytest.approx((8 * 0.05 + 2 * 0.2) / 10) == found.ece


def test_confidence_that_tells_nothing():
    found = calibration([(0.7, True), (0.7, False)] * 5)
    assert 0.5 == found.auroc
    assert (0.7, 1.0, 0.5) == (found.threshold, found.coverage, found.selective_accuracy)
    assert pytest.approx(0.2) == found.ece


@pytest.mark.parametrize("right", [True, False])
def test_where_all_answers_are_alike_nothing_can_be_told_apart(right):
    found = calibration([(0.5, right), (0.9, right)])
    assert found.auroc is None
    assert float(right) == found.accuracy


@given(ANSWERS)
def test_the_area_is_the_share_of_pairs_in_which_the_right_answer_is_surer(answers):
    pairs = [(right, wrong) for right, good in answers for wrong, bad in answers if good and not bad]
    auroc = calibration(answers).auroc
    if not pairs:
        assert auroc is None
    else:
        won = sum((right > wrong) + (right == wrong) / 2 for right, wrong in pairs)
        assert pytest.approx(won / len(pairs)) == auroc


@given(ANSWERS)
def test_the_area_is_the_statistic_of_mann_and_whitney(answers):
    from scipy.stats import mannwhitneyu

    right = [confidence for confidence, good in answers if good]
    wrong = [confidence for confidence, good in answers if not good]
    if right and wrong:
        statistic = mannwhitneyu(right, wrong, method="asymptotic").statistic if len({*right, *wrong}) > 1 else None
        expected = 0.5 if statistic is None else statistic / (len(right) * len(wrong))
        assert pytest.approx(expected) == calibration(answers).auroc


@given(ANSWERS, st.floats(0.01, 1))
def test_the_threshold_is_the_highest_that_lets_enough_through(answers, coverage):
    found = calibration(answers, coverage=coverage)
    assert found.coverage >= coverage - 1e-9
    assert found.threshold in [confidence for confidence, _ in answers]
    stricter = sum(confidence > found.threshold for confidence, _ in answers) / len(answers)
    assert stricter < coverage
    assert 0 <= found.ece <= 1
    assert 0 <= found.selective_accuracy <= 1


@given(ANSWERS)
def test_the_order_of_answers_changes_nothing(answers):
    one, other = calibration(answers), calibration(answers[::-1])
    assert math.isclose(one.ece, other.ece, abs_tol=1e-12)
    assert (one.auroc, one.threshold, one.coverage) == (other.auroc, other.threshold, other.coverage)


@pytest.mark.parametrize("confidence", [None, 1.1, -0.1, math.nan, True, "0.5"])
def test_what_is_no_confidence_is_refused(confidence):
    with pytest.raises(InputError, match="give numbers from 0 to 1"):
        calibration([(0.5, True), (confidence, True)])


@pytest.mark.parametrize("coverage", [0, 1.01, -1, math.nan, True, None])
def test_a_coverage_out_of_range_is_refused(coverage):
    with pytest.raises(InputError, match="coverage="):
        calibration([(0.5, True)], coverage=coverage)


def test_without_answers_there_is_nothing_to_measure():
    with pytest.raises(InputError, match="there is no answer"):
        calibration([])
