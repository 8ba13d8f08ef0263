"""What answers cost, when the expert has paid for itself, and what is said where something was not measured."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_exams import answers, questions

from text2expert.examiner.economics import NOT_MEASURED, claims, economics, monthly, usd_text
from text2expert.examiner.results import Economics, ExamResult, GivenAnswer, Group
from text2expert.prices import Price, tariff

EXAM = questions("held_out", 20)


def asked(name, right=10, seconds=None, tokens=None, **fields):
    tokens_in, tokens_out = tokens or (None, None)
    return answers(
        name, EXAM, {"held_out": right}, seconds=seconds, tokens_in=tokens_in, tokens_out=tokens_out, **fields
    )


def of(found, contestant):
    return next(cost for cost in found.costs if cost.contestant == contestant)


def test_a_model_that_runs_here_costs_its_seconds_and_the_break_even_counts_the_making():
    given = [*asked("expert", seconds=0.5, tokens=(20, 10)), *asked("base + RAG", seconds=2.5, tokens=(2_000, 30))]
    found = economics(EXAM, given, making_usd=1.0, usd_per_hour=0.36, machine="RTX 4090")
    assert of(found, "expert").usd_per_1000 == pytest.approx(0.05)
    assert of(found, "base + RAG").usd_per_1000 == pytest.approx(0.25)
    assert found.break_even == pytest.approx(5_000)
    assert ("base + RAG", 1.0) == (found.against, found.making_usd)
    assert (20.0, 10.0) == (of(found, "expert").tokens_in, of(found, "expert").tokens_out)
    assert (
        "seconds of 20 answers, each asked alone",
        "tokens of 20 answers",
        "$0.36 an hour of RTX 4090, as paid",
    ) == of(found, "expert").measured


def test_a_price_that_was_not_paid_is_said_to_be_assumed():
    found = economics(
        EXAM,
        asked("expert", seconds=1.0),
        making_usd=1.0,
        usd_per_hour=0.4,
        machine="RTX 4090",
        price_is="a list price",
    )
    (cost,) = found.costs
    assert "$0.40 an hour of RTX 4090, a list price" in cost.assumed
    assert not any("an hour" in each for each in cost.measured)


@given(st.lists(st.floats(0.001, 100), min_size=2, max_size=20))
def test_percentiles_are_those_of_numpy(seconds):
    given = [
        GivenAnswer(question=each.id, contestant="expert", text="t", grade="right", seconds=taken)
        for each, taken in zip(EXAM, seconds, strict=False)
    ]
    (cost,) = economics(EXAM, given, making_usd=None).costs
    assert np.percentile(seconds, [50, 95]).tolist() == pytest.approx([cost.seconds_p50, cost.seconds_p95])


def test_answers_that_were_not_asked_alone_have_no_seconds():
    given = asked("expert", seconds=None)
    given[0] = GivenAnswer(question=EXAM[0].id, contestant="expert", text="t", grade="right", seconds=3.0)
    (cost,) = economics(EXAM, given, making_usd=1.0, usd_per_hour=1.0).costs
    assert (3.0, 3.0) == (cost.seconds_p50, cost.seconds_p95)
    assert any(each.startswith("1 answers stand for all") for each in cost.assumed)


def test_an_api_costs_its_tokens():
    price = tariff("theirs", endpoint="https://api.example.com/v1", price=Price(input=2, output=10))
    given = [*asked("theirs + RAG", seconds=9.0, tokens=(1_000, 100), passages=("chunk_000001",)), *asked("expert")]
    found = economics(EXAM, given, making_usd=1.0, usd_per_hour=5.0, prices={"theirs + RAG": price})
    assert of(found, "theirs + RAG").usd_per_1000 == pytest.approx(3.0)
    assert "theirs + RAG" == found.against
    assert "the list price of theirs, with nothing read from a cache" in of(found, "theirs + RAG").assumed


def test_an_api_with_peak_hours_costs_what_it_does_at_the_dearest_and_the_cheapest_is_said():
    peaks = tariff("deepseek-flash", endpoint="https://api.deepseek.com/v1")
    low, high = peaks.span(1_000, 0, 100)
    (cost,) = economics(EXAM, asked("flash", tokens=(1_000, 100)), making_usd=None, prices={"flash": peaks}).costs
    assert cost.usd_per_1000 == pytest.approx(1000 * float(high))
    assert (low < high) == any("at the cheapest" in each for each in cost.assumed)


def test_a_contestant_of_a_users_own_has_no_price_and_one_without_a_model_says_so():
    found = economics(
        EXAM, [*asked("mine", seconds=1.0), *asked("lookup", seconds=0.1)], making_usd=1.0, usd_per_hour=1.0
    )
    assert [None, None] == [cost.usd_per_1000 for cost in found.costs]
    assert ("without a model: no price is put on the processor's time",) == of(found, "lookup").assumed


# -- break-even ------------------------------------------------------------------------------------------------------


def test_the_expert_is_measured_against_the_best_that_reads_and_neither_the_oracle_nor_the_expert_itself():
    given = [
        *asked("expert", 12, seconds=1.0, passages=("chunk_000001",)),
        *asked("base + RAG", 11, seconds=2.0, passages=("chunk_000001",)),
        *asked("dense RAG", 14, seconds=3.0, passages=("chunk_000001",)),
        *asked("base + right passage", 20, seconds=2.0, passages=("chunk_000001",)),
        *asked("expert + RAG", 19, seconds=2.0, passages=("chunk_000001",)),
        *asked("somebody closed-book", 20, seconds=2.0),
    ]
    assert "dense RAG" == economics(EXAM, given, making_usd=1.0).against


@pytest.mark.parametrize(
    ("given", "making", "note"),
    [
        ([*asked("base + RAG", seconds=1.0)], 1.0, "the expert was not asked"),
        ([*asked("expert", seconds=1.0)], 1.0, "no contestant that reads passages"),
        ([*asked("expert", seconds=1.0), *asked("base + RAG")], 1.0, "the cost of an answer of 'base + RAG' was not measured"),
        ([*asked("expert"), *asked("base + RAG")], 1.0, "of an answer of 'expert' and of 'base + RAG' was not measured"),
        ([*asked("expert", seconds=1.0), *asked("base + RAG", seconds=2.0)], None, "what the expert cost to make is not"),
        ([*asked("expert", seconds=2.0), *asked("base + RAG", seconds=2.0)], 1.0, "never pays for itself against 'base + RAG'"),
    ],
)  # fmt: skip
def test_without_a_break_even_the_notes_say_why(given, making, note):
    found = economics(EXAM, given, making_usd=making, usd_per_hour=0.36)
    assert found.break_even is None
    assert note in found.notes[0]


def test_an_expert_that_cost_nothing_has_paid_for_itself_at_once():
    given = [*asked("expert", seconds=1.0), *asked("base + RAG", seconds=2.0)]
    assert 0.0 == economics(EXAM, given, making_usd=0.0, usd_per_hour=0.36).break_even


def test_an_hour_that_costs_nothing_leaves_no_break_even():
    given = [*asked("expert", seconds=1.0), *asked("base + RAG", seconds=2.0)]
    found = economics(EXAM, given, making_usd=1.0, usd_per_hour=0.0)
    assert found.break_even is None
    note = "There is no break-even: answers cost nothing, neither with the expert nor with 'base + RAG'."
    assert found.notes[0] == note


def test_an_hour_of_less_than_a_cent_is_told_with_what_counts():
    (cost,) = economics(EXAM, asked("expert", seconds=1.0), making_usd=1.0, usd_per_hour=0.004).costs
    assert any("$0.0040 an hour" in each for each in cost.measured)


HERE = [*asked("expert", seconds=1.0), *asked("base + RAG", seconds=2.0)]


def test_training_on_ones_own_gpu_is_not_free():
    """Two hours at $0.36 are $0.72, and each answer of the expert saves $0.0001."""
    found = economics(
        EXAM,
        HERE,
        making_usd=0.28,
        own_machine=True,
        training_seconds=7_200,
        usd_per_hour=0.36,
        price_is="a list price",
    )
    assert found.making_usd == pytest.approx(1.0)
    assert found.break_even == pytest.approx(10_000)
    assert "and $0.72 for 2.0 hours of training on a machine of your own: assumed, at $0.36 an hour" in found.notes[-1]
    assert found.notes[-1].endswith("a list price.")


def test_how_long_training_took_is_not_guessed():
    found = economics(EXAM, HERE, making_usd=0.0, own_machine=True, usd_per_hour=0.36)
    assert (None, None) == (found.making_usd, found.break_even)
    assert "what the expert cost to make is not" in found.notes[0]
    assert "how long it was trained was not measured" in found.notes[-1]


def test_a_processor_of_ones_own_has_no_price_and_that_is_said_beside_the_sum():
    found = economics(EXAM, HERE, making_usd=0.0, own_machine=True, training_seconds=7_200)
    assert 0.0 == found.making_usd
    assert "what was paid, $0.00: there is no price for this computer's time." in found.notes[-1]
    rows = {row.name: row.expert for row in claims(result(economics=found))}
    assert "$0.00 paid; no price for this computer's time" == rows["Making it, once"]


def test_what_a_rented_machine_was_paid_is_not_counted_twice():
    found = economics(EXAM, HERE, making_usd=1.0, training_seconds=7_200, usd_per_hour=0.36)
    assert 1.0 == found.making_usd


@given(making=st.floats(0, 1e4), fast=st.floats(0.01, 10), more=st.floats(0.01, 10), rate=st.floats(0.01, 10))
def test_at_the_break_even_both_have_cost_the_same(making, fast, more, rate):
    given = [*asked("expert", seconds=fast), *asked("base + RAG", seconds=fast + more)]
    found = economics(EXAM, given, making_usd=making, usd_per_hour=rate)
    first = {each.contestant: each.first_month_usd for each in monthly(found, found.break_even)}
    assert first["expert"] == pytest.approx(first["base + RAG"], rel=1e-6, abs=1e-9)


# -- a month, and what is claimed ------------------------------------------------------------------------------------


def test_a_month_costs_its_questions_and_the_first_the_making_where_the_expert_is_needed():
    given = [
        *asked("expert", seconds=0.5),
        *asked("base + RAG", seconds=2.5),
        *asked("expert + RAG", seconds=2.5),
        *asked("lookup"),
    ]
    found = monthly(economics(EXAM, given, making_usd=1.0, usd_per_hour=0.36), 10_000)
    expected = [("expert", 0.5, 1.5), ("base + RAG", 2.5, 2.5), ("expert + RAG", 2.5, 3.5)]
    assert expected == [
        (each.contestant, pytest.approx(each.usd), pytest.approx(each.first_month_usd)) for each in found[:3]
    ]
    assert (None, None) == (found[3].usd, found[3].first_month_usd)


def result(**fields):
    return ExamResult(exam_sha256="", contestants=("expert", "base + RAG"), scores=(), share_taught=None, **fields)


def test_the_usual_claims_are_recomputed_from_what_was_measured():
    given = [*asked("expert", seconds=0.05), *asked("base + RAG", seconds=2.5)]
    money = economics(EXAM, given, making_usd=12.5, usd_per_hour=0.36)
    hops = [("1", 9, 10), ("2", 3, 10), ("3+", 1, 4)]
    groups = tuple(Group(by="hops", name=name, contestant="expert", right=right, n=n) for name, right, n in hops)
    rows = {row.name: (row.rag, row.expert) for row in claims(result(economics=money, groups=groups))}
    assert ("$0.00025", "$0.0000050") == rows["One question"]
    assert ("$250.00", "$5.00") == rows["1,000,000 questions a month"]
    assert ("2.5 s, 95 % within 2.5 s", "50 ms, 95 % within 50 ms") == rows["Time to an answer"]
    assert (NOT_MEASURED, "$12.50") == rows["Making it, once"]
    assert (NOT_MEASURED, "4 of 14 right") == rows["Questions that combine passages"]
    assert (NOT_MEASURED, "not measured; to make it again costs $12.50") == rows["When the document changes"]


@pytest.mark.parametrize("money", [None, Economics()])
def test_what_was_not_measured_is_said_of_every_claim(money):
    rows = claims(result(economics=money))
    assert {NOT_MEASURED} == {cell for row in rows for cell in (row.rag, row.expert)}
    assert ("$10,000", "$50") == (rows[1].claimed_rag, rows[1].claimed_expert)


@pytest.mark.parametrize(
    ("usd", "text"),
    [(0, "$0.00"), (1234.5, "$1,234.50"), (1, "$1.00"), (0.5, "$0.50"), (0.123, "$0.12"), (0.00123, "$0.0012"), (3e-7, "$0.00000030")],
)  # fmt: skip
def test_small_sums_keep_two_figures(usd, text):
    assert text == usd_text(usd)
