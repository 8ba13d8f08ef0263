"""What requests cost: the dated table, peak hours, caches, batches, long prompts, names that are no more."""

import datetime as dt
import decimal
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from text2expert import prices
from text2expert.errors import InputError
from text2expert.exchange import Usage
from text2expert.prices import Price, tariff

DEEPSEEK = "https://api.deepseek.com"
ANTHROPIC = "https://api.anthropic.com"
MILLION = Usage(input_tokens=10**6, cache_read_tokens=10**6, cache_write_tokens=10**6, output_tokens=10**6)
ORDINARY = {"deepseek-flash", "deepseek-v4-pro", "claude-sonnet-5-5", "claude-opus-5-5", "claude-sonnet-4-6"}


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def today(monkeypatch):
    """Say what day it is."""

    def set_day(text):
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):
                return at(text).astimezone(tz)

        monkeypatch.setattr(prices, "datetime", Clock)

    set_day("2026-11-24T12:00")
    return set_day


# Wednesday 18 November 2026 is an ordinary working day.
@pytest.mark.parametrize(
    ("when", "peak"),
    [
        ("2026-11-18T00:59:59.999", False),
        ("2026-11-18T01:00", True),
        ("2026-11-18T03:59:59.999", True),
        ("2026-11-18T04:00", False),
        ("2026-11-18T05:59:59.999", False),
        ("2026-11-18T06:00", True),
        ("2026-11-18T09:59:59.999", True),
        ("2026-11-18T10:00", False),
        ("2026-11-21T08:00", False),  # Saturday
        ("2026-11-22T08:00", False),  # Sunday
        ("2026-11-23T08:00", True),  # Monday
        ("2026-10-01T08:00", False),  # Thursday, National Day
        ("2026-10-07T02:00", False),  # the last of its holidays
        ("2026-10-08T02:00", True),
        ("2026-09-25T02:00", False),  # Mid-Autumn
        ("2026-10-10T02:00", False),  # a Saturday on which people work in for the holiday
        ("2031-10-01T08:00", True),  # the holidays of a far year are not known: reckoned with the dearer price
    ],
)
def test_deepseek_costs_twice_as_much_at_peak_hours(when, peak):
    cost = tariff("deepseek-flash", endpoint=DEEPSEEK).cost(Usage(input_tokens=450, output_tokens=3000), at(when))
    assert (Decimal("0.003735") if peak else Decimal("0.0018675")) == cost


def test_peak_hours_are_told_in_any_time_zone():
    beijing = dt.timezone(dt.timedelta(hours=8))
    cost = tariff("deepseek-v4-pro", endpoint=DEEPSEEK).cost(MILLION, datetime(2026, 11, 18, 9, 30, tzinfo=beijing))
    assert Decimal("1.32") + Decimal("0.044") + Decimal("1.32") + Decimal("3.96") == cost


def test_a_time_without_zone_is_refused():
    with pytest.raises(InputError, match="no time zone"):
        tariff("deepseek-flash", endpoint=DEEPSEEK).cost(MILLION, datetime(2026, 11, 18, 9, 30))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("model", "dollars"),
    [
        ("deepseek-flash", "0.753"),
        ("deepseek-v4-flash", "0.753"),
        ("claude-sonnet-5-5", "12.1"),
        ("claude-opus-5-5", "24.2"),
        ("claude-sonnet-4-6", "18.3"),
        ("claude-haiku-4-5", "6.1"),
        ("claude-haiku-4-5-20251001", "6.1"),
    ],
)
def test_a_million_tokens_of_each_kind_cost_what_the_price_list_says(model, dollars):
    usage = Usage(input_tokens=10**6, cache_read_tokens=10**6, output_tokens=10**6)
    assert Decimal(dollars) == tariff(model, endpoint=ANTHROPIC).cost(usage, at("2026-11-22T12:00"))


def test_what_is_written_to_a_cache_has_a_price_of_its_own():
    usage = Usage(input_tokens=0, cache_write_tokens=10**6, output_tokens=0)
    assert Decimal("2.50") == tariff("claude-sonnet-5-5", endpoint=ANTHROPIC).cost(usage, at("2026-11-22T12:00"))


def test_the_worst_case_of_a_long_prompt_is_that_of_long_prompts():
    haiku = tariff("claude-haiku-5-5", endpoint=ANTHROPIC)
    assert 150_000 * Decimal("0.625") + 10 * Decimal("2.50") == haiku.ceiling(150_000, 10) * 10**6
    assert 100_000 * Decimal("0.125") + 10 * Decimal("0.50") == haiku.ceiling(100_000, 10) * 10**6


@pytest.mark.parametrize("kind", ["input_tokens", "cache_read_tokens", "cache_write_tokens"])
def test_a_long_prompt_of_haiku_costs_five_times_as_much_whole(kind):
    haiku = tariff("claude-haiku-5-5", endpoint=ANTHROPIC)
    costs = []
    for tokens in (100_000, 100_001):
        usage = Usage(**{"input_tokens": 0, kind: tokens}, output_tokens=10_000)
        costs.append(haiku.cost(usage, at("2026-11-22T12:00")) * 10**6)
    price = {"input_tokens": "0.10", "cache_read_tokens": "0.01", "cache_write_tokens": "0.125"}[kind]
    assert [
        100_000 * Decimal(price) + 10_000 * Decimal("0.50"),
        100_001 * Decimal(price) * 5 + 10_000 * Decimal("2.50"),
    ] == costs


def test_a_batch_costs_half_where_there_are_batches():
    whole, part = (
        tariff("claude-sonnet-5-5", endpoint=ANTHROPIC).cost(
            Usage(input_tokens=999, output_tokens=77, batch=batch), at("2026-11-22T12:00")
        )
        for batch in (False, True)
    )
    assert whole == 2 * part == Decimal("0.002768")
    flash = tariff("deepseek-flash", endpoint=DEEPSEEK)
    assert flash.ceiling(999, 77) == flash.ceiling(999, 77, batch=True)


def test_the_price_is_that_of_the_day():
    sonnet = tariff("claude-sonnet-5-5", endpoint=ANTHROPIC)
    usage = Usage(input_tokens=0, cache_read_tokens=10**6, output_tokens=0)
    costs = [sonnet.cost(usage, at(when)) for when in ("2026-10-06T23:59", "2026-10-07T00:00", "2020-01-01T00:00")]
    assert [Decimal("0.20"), Decimal("0.10"), Decimal("0.20")] == costs


def test_a_price_that_is_announced_counts_in_the_worst_case(today):
    today("2026-10-01T12:00")
    sonnet = tariff("claude-sonnet-5-5", endpoint=ANTHROPIC)
    assert (Decimal("0.10"), Decimal("0.20")) == sonnet.span(10**6, 10**6, 0)
    today("2026-10-08T12:00")
    assert (Decimal("0.10"), Decimal("0.10")) == sonnet.span(10**6, 10**6, 0)


def test_costs_are_exact_whatever_the_context_of_the_caller():
    usage = Usage(input_tokens=1_234_567, cache_read_tokens=7_654_321, output_tokens=9_999_999)
    exact = Decimal("0.15") * 1_234_567 + Decimal("0.003") * 7_654_321 + Decimal("0.60") * 9_999_999
    with decimal.localcontext() as context:
        context.prec = 3
        cost = tariff("deepseek-flash", endpoint=DEEPSEEK).cost(usage, at("2026-11-22T12:00"))
        ceiling = tariff("deepseek-flash", endpoint=DEEPSEEK).ceiling(1_234_567, 9_999_999)
    assert exact == cost * 10**6
    assert Decimal("0.30") * 1_234_567 + Decimal("1.20") * 9_999_999 == ceiling * 10**6


MODELS = sorted(prices._table().rows)


@given(
    model=st.sampled_from(MODELS),
    kinds=st.tuples(*[st.integers(0, 200_000)] * 3),
    output=st.integers(0, 130_000),
    room=st.integers(0, 50_000),
    batch=st.booleans(),
    when=st.datetimes(dt.datetime(2026, 11, 24), dt.datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_no_request_costs_more_than_its_worst_case_or_falls_out_of_its_range(model, kinds, output, room, batch, when):
    if model == "claude-sonnet-4-5":
        model = "claude-sonnet-4-6"  # the same price; the name is retired on a day that this test may see
    of_model = tariff(model, endpoint=DEEPSEEK)
    fresh, read, written = kinds
    usage = Usage(
        input_tokens=fresh, cache_read_tokens=read, cache_write_tokens=written, output_tokens=output, batch=batch
    )
    cost = of_model.cost(usage, when)
    assert 0 <= cost <= of_model.ceiling(sum(kinds) + room, output + room, batch=batch)
    if not written:
        low, high = of_model.span(fresh + read, read, output, batch=batch)
        assert low <= cost <= high


def test_the_reference_job_costs_what_the_price_lists_give():
    """400 teaching calls of 450 + 3,000 tokens, 1,000 verdicts of 450 + 60."""
    low, high = tariff("deepseek-flash", endpoint=DEEPSEEK).span(400 * 450, 0, 400 * 3000)
    assert (Decimal("0.747"), Decimal("1.494")) == (low, high)
    verdicts = [
        tariff("claude-sonnet-5-5", endpoint=ANTHROPIC).span(450, 0, 60, batch=each).high for each in (False, True)
    ]
    assert [Decimal("1.50"), Decimal("0.75")] == [1000 * each for each in verdicts]


@pytest.mark.parametrize(
    ("model", "endpoint", "successor"),
    [
        ("deepseek-chat", DEEPSEEK, "deepseek-flash, with thinking=False"),
        ("deepseek-reasoner", DEEPSEEK, "deepseek-flash, with thinking=True"),
        ("deepseek-reasoner", "http://127.0.0.1:8000", "deepseek-flash"),
        ("DeepSeek-R1", DEEPSEEK, "deepseek-flash"),
        ("deepseek-ai/DeepSeek-R1", "https://gateway.example/v1", "deepseek-flash"),
        ("claude-3-5-sonnet-20241022", ANTHROPIC, "claude-sonnet-5-5"),
        ("claude-3-5-sonnet-latest", ANTHROPIC, "claude-sonnet-5-5"),
        ("Claude 3.5 Sonnet", ANTHROPIC, "claude-sonnet-5-5"),
        ("claude-3-7-sonnet-20250219", ANTHROPIC, "claude-sonnet-5-5"),
        ("claude-3-5-haiku-20241022", ANTHROPIC, "claude-haiku-5-5"),
        ("claude-sonnet-4-20250514", ANTHROPIC, "claude-sonnet-5-5"),
        ("claude-opus-4-1-20250805", ANTHROPIC, "claude-opus-5-5"),
    ],
)
def test_a_retired_name_is_refused_with_its_successor(today, model, endpoint, successor):
    with pytest.raises(InputError, match=f"'{re.escape(model)}' was retired on 202.*: use {successor}"):
        tariff(model, endpoint=endpoint)
    assert successor.split(",", maxsplit=1)[0] in MODELS


def test_a_name_is_retired_from_its_day_on(today):
    today("2026-11-29T23:59")
    assert Decimal(3) == tariff("claude-sonnet-4-5", endpoint=ANTHROPIC).ceiling(0, 200_000)
    today("2026-11-30T00:00")
    with pytest.raises(InputError, match="retired on 2026-11-30"):
        tariff("claude-sonnet-4-5", endpoint=ANTHROPIC)


def test_a_provider_does_not_serve_a_retired_name_at_any_price(today):
    price = Price(input=1, output=1)
    for model, endpoint in (("deepseek-chat", DEEPSEEK), ("claude-3-opus-20240229", ANTHROPIC)):
        with pytest.raises(InputError, match="retired"):
            tariff(model, endpoint=endpoint, price=price)
        assert not tariff(model, endpoint="https://gateway.example", price=price).free


@pytest.mark.parametrize(
    "endpoint", ["http://localhost:8000/v1", "http://127.0.0.2", "http://[::1]:8080/v1", "http://vllm.localhost"]
)
def test_an_unknown_model_is_free_on_this_machine(endpoint):
    for model in ("my-model", "deepseek-ai/DeepSeek-R1"):
        free = tariff(model, endpoint=endpoint)
        assert free.free
        assert Decimal(0) == free.ceiling(10**6, 10**6) == free.cost(MILLION, at("2026-11-22T12:00"))


def test_a_known_name_has_its_price_at_any_endpoint():
    for endpoint in ("http://localhost:8000", "https://gateway.example/v1"):
        assert not tariff("deepseek-flash", endpoint=endpoint).free


@pytest.mark.parametrize(
    "endpoint", ["https://api.openai.com/v1", "http://localhost.example", "http://10.0.0.1", "ScriptedProvider"]
)
def test_an_unknown_model_elsewhere_needs_a_price(endpoint):
    with pytest.raises(InputError, match=r"'my-model' at .* not known: pass price=Price\(input=.*deepseek-flash"):
        tariff("my-model", endpoint=endpoint)
    own = tariff("my-model", endpoint=endpoint, price=Price(input="0.5", output=2.0))
    assert Decimal("0.5") + Decimal("0.5") + Decimal("0.5") + 2 == own.cost(MILLION, at("2026-11-18T08:00"))


def test_an_explicit_price_goes_before_the_table_at_all_hours_and_in_batches():
    own = tariff("deepseek-flash", endpoint=DEEPSEEK, price=Price(input=1, cache_read=0, cache_write=2, output=3))
    usage = Usage(input_tokens=10**6, output_tokens=10**6, batch=True)
    assert Decimal(4) == own.cost(usage, at("2026-11-18T08:00")) == own.cost(usage, at("2026-11-22T08:00"))
    assert Decimal(5) == own.ceiling(10**6, 10**6)


@pytest.mark.parametrize("value", [-1, float("nan"), "much", None, True, Decimal("Infinity"), 10**6])
def test_a_price_that_is_no_amount_is_refused(value):
    with pytest.raises(InputError, match=r"price .*: give dollars per 1,000,000 tokens"):
        Price(input=value, output=1)


def test_a_float_price_means_what_it_is_written_as():
    assert Decimal("0.1") == Price(input=0.1, output=0).input


def test_every_row_says_where_and_when_it_was_read():
    data = json.loads(Path(prices.__file__).with_name("prices.json").read_text())
    rows = [row for entry in data["models"] for row in entry["rows"]]
    assert len(rows) >= 11
    for row in rows:
        assert row["source"].startswith("https://")
        assert dt.date.fromisoformat(row["checked"]) >= datetime.fromisoformat(row["from"]).date()
    assert all(entry["source"].startswith("https://") for entry in data["retired"])
    assert ORDINARY <= set(MODELS)
