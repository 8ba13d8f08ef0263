"""What a request costs at most, and what it did cost: dated prices of models, in dollars and `Decimal`.

The table is ``prices.json`` beside this file: each row says from when it holds, where it was read and on which day. A
model that is not in it needs an explicit `Price`, unless it is served on this machine.
"""

import functools
import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import attrs

from text2expert.errors import InputError
from text2expert.exchange import Usage, is_here

_EXACT: Final = Context(prec=60, traps=[InvalidOperation])
"""Products of tokens and prices have fewer digits than this, so they are never rounded, whatever the caller's context is."""

_DATED: Final = re.compile(r"-(?:\d{8}|\d{4}-\d\d-\d\d|latest)$")
"""claude-haiku-4-5-20251001: a checkpoint of claude-haiku-4-5, at its price."""


def _dollars(value: object) -> Decimal:
    # A float means what it is written as: 0.1 is ten cents.
    amount = Decimal(str(value)) if isinstance(value, float) else None
    if amount is None and isinstance(value, Decimal | int | str) and not isinstance(value, bool):
        try:
            amount = Decimal(value)
        except InvalidOperation:
            amount = None
    if amount is None or not amount.is_finite() or amount < 0 or amount >= 10**6 or amount.adjusted() < -20:
        msg = f"price {value!r}: give dollars per 1,000,000 tokens, as a number from 0 to below 1,000,000"
        raise InputError(msg)
    return amount


@attrs.frozen(kw_only=True)
class Price:
    """US dollars per 1,000,000 tokens; numbers and strings are taken too, and kept as `Decimal`.

    Raises:
        InputError: One is negative or not a number.
    """

    input: Decimal = attrs.field(converter=_dollars)
    """Of the prompt, neither read from a cache nor written to one."""
    cache_read: Decimal = attrs.field(
        default=attrs.Factory(lambda self: self.input, takes_self=True), converter=_dollars
    )
    """Where it is not given, as ``input``."""
    cache_write: Decimal = attrs.field(
        default=attrs.Factory(lambda self: self.input, takes_self=True), converter=_dollars
    )
    """Where it is not given, as ``input``."""
    output: Decimal = attrs.field(converter=_dollars)
    """Of the reply, reasoning included."""


class Range(NamedTuple):
    """The least and the most that something can cost, in dollars."""

    low: Decimal
    high: Decimal


@attrs.frozen(kw_only=True)
class _Row:
    """What a model costs from one moment on."""

    since: datetime
    price: Price
    peak: Price | None = None
    """In ``peak_hours``; None: the same at all hours."""
    peak_hours: tuple[tuple[int, int], ...] = ()
    """From one full hour, UTC, to before another, Monday to Friday."""
    holidays: frozenset[date] = frozenset()
    """Days without a peak."""
    long: Price | None = None
    """Of a whole request whose prompt has more than ``long_above`` tokens; None: the same at all lengths."""
    long_above: int = 0
    batch: Decimal = Decimal(1)
    """What is left of a price in a batch."""

    def at(self, when: datetime, prompt_tokens: int) -> Price:
        if self.long is not None and prompt_tokens > self.long_above:
            return self.long
        if self.peak is not None and self._is_peak(when):
            return self.peak
        return self.price

    def _is_peak(self, when: datetime) -> bool:
        return (
            when.weekday() < 5
            and any(start <= when.hour < end for start, end in self.peak_hours)
            and when.date() not in self.holidays
        )

    def windows(self, prompt_tokens: int) -> list[Price]:
        """Every price that a request may have, depending on when it is sent."""
        if self.long is not None and prompt_tokens > self.long_above:
            return [self.long]
        return [self.price] if self.peak is None else [self.price, self.peak]


def _total(parts: list[tuple[int, Decimal]], share: Decimal) -> Decimal:
    """Dollars for (tokens, dollars per million), times *share*; exact."""
    total = Decimal(0)
    for tokens, price in parts:
        total = _EXACT.fma(Decimal(tokens), price, total)
    return _EXACT.multiply(_EXACT.multiply(total, share), Decimal("1e-6"))


@attrs.frozen(kw_only=True)
class Tariff:
    """The prices of one model; see `tariff`."""

    model: str
    rows: tuple[_Row, ...] = attrs.field(repr=False)
    """From the oldest to the newest."""

    @property
    def free(self) -> bool:
        """Whether nothing costs anything."""
        return all(not any(attrs.astuple(price)) for row in self.rows for price in row.windows(0))

    def cost(self, usage: Usage, when: datetime) -> Decimal:
        """What a request did cost, exactly.

        Args:
            usage: The tokens that the provider counted.
            when: The moment that the provider goes by, with its time zone: when the request was sent.

        Raises:
            InputError: *when* has no time zone.
        """
        if when.tzinfo is None:
            raise InputError(f"when={when!r} has no time zone: give datetime.now(UTC)")
        when = when.astimezone(UTC)
        row = next((each for each in reversed(self.rows) if each.since <= when), self.rows[0])
        price = row.at(when, usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens)
        parts = [
            (usage.input_tokens, price.input),
            (usage.cache_read_tokens, price.cache_read),
            (usage.cache_write_tokens, price.cache_write),
            (usage.output_tokens, price.output),
        ]
        return _total(parts, row.batch if usage.batch else Decimal(1))

    def ceiling(self, input_tokens: int, output_tokens: int, *, batch: bool = False) -> Decimal:
        """The most that a request can cost: at the dearest hour, every token of its prompt of the dearest kind.

        Prices that are announced and not yet in force count too.

        Args:
            input_tokens: The most that the prompt can have.
            output_tokens: The most that the reply can have, reasoning included.
            batch: Whether it is sent as part of a batch.
        """
        return max(
            _total(
                [(input_tokens, max(price.input, price.cache_read, price.cache_write)), (output_tokens, price.output)],
                row.batch if batch else Decimal(1),
            )
            for row in self._from_now_on()
            # A prompt shorter than it may be has the prices of short ones, which may be dearer for a kind of token.
            for price in {*row.windows(input_tokens), *row.windows(0)}
        )

    def span(self, input_tokens: int, cached_tokens: int, output_tokens: int, *, batch: bool = False) -> Range:
        """What a request costs at the cheapest and at the dearest hour.

        Args:
            input_tokens: Of the prompt, cached ones included.
            cached_tokens: Of *input_tokens*: read from the cache.
            output_tokens: Of the reply, reasoning included.
            batch: Whether it is sent as part of a batch.
        """
        costs = [
            _total(
                [
                    (input_tokens - cached_tokens, price.input),
                    (cached_tokens, price.cache_read),
                    (output_tokens, price.output),
                ],
                row.batch if batch else Decimal(1),
            )
            for row in self._from_now_on()
            for price in row.windows(input_tokens)
        ]
        return Range(min(costs), max(costs))

    def _from_now_on(self) -> tuple[_Row, ...]:
        """The row in force, and those to come."""
        now = datetime.now(UTC)
        past = [row for row in self.rows if row.since <= now]
        return self.rows[max(len(past) - 1, 0) :]


def tariff(model: str, *, endpoint: str, price: Price | None = None) -> Tariff:
    """What *model* costs at *endpoint*.

    An explicit *price* is taken as it is, at all hours, in batches too. Without one the dated table is asked by the
    model's name, at any endpoint. A model that it does not know is free on this machine.

    Args:
        model: As its provider calls it; a date at its end is no matter.
        endpoint: The base URL that requests go to.
        price: What it costs, where that is known better than here.

    Raises:
        InputError: The model was retired (the message names its successor), or its price is not known.
    """
    host = (urlsplit(endpoint).hostname or "").lower()
    local = is_here(endpoint)
    table = _table()
    name = _DATED.sub("", re.sub(r"[\s._]+", "-", model.strip().lower()).rpartition("/")[2])
    gone = table.retired.get(name)
    # Another host may still serve it, and then it is for the caller to say at what price.
    elsewhere = host != gone.host and (price is not None or (local and gone.open_weights)) if gone else False
    if gone is not None and gone.on <= datetime.now(UTC).date() and not elsewhere:
        raise InputError(f"model {model!r} was retired on {gone.on}: use {gone.successor}")
    if price is not None:
        return Tariff(model=model, rows=(_Row(since=_ALWAYS, price=price),))
    rows = table.rows.get(model) or table.rows.get(_DATED.sub("", model))
    if rows is not None:
        return Tariff(model=model, rows=rows)
    if local:
        return Tariff(model=model, rows=(_Row(since=_ALWAYS, price=Price(input=0, output=0)),))
    known = ", ".join(sorted(table.rows))
    msg = (
        f"the price of model {model!r} at {host or endpoint!r} is not known: pass"
        f" price=Price(input=..., output=...), in dollars per 1,000,000 tokens. Known: {known}"
    )
    raise InputError(msg)


_ALWAYS: Final = datetime.min.replace(tzinfo=UTC)


@attrs.frozen(kw_only=True)
class _Retired:
    on: date
    successor: str
    host: str
    """Of the provider who retired it."""
    open_weights: bool
    """Whether anybody may still serve it."""


@attrs.frozen
class _Table:
    rows: Mapping[str, tuple[_Row, ...]]
    retired: Mapping[str, _Retired]


@functools.cache
def _table() -> _Table:
    data = json.loads(Path(__file__).with_name("prices.json").read_text("utf-8"))
    holidays = {
        country: frozenset(
            date.fromisoformat(first) + timedelta(days=n)
            for first, last in calendar["days"]
            for n in range((date.fromisoformat(last) - date.fromisoformat(first)).days + 1)
        )
        for country, calendar in data["holidays"].items()
    }
    rows = {}
    for entry in data["models"]:
        of_model = tuple(_row(row, holidays) for row in entry["rows"])
        assert all(before.since < after.since for before, after in pairwise(of_model))
        rows.update(dict.fromkeys([entry["model"], *entry["aliases"]], of_model))
    retired = {
        name: _Retired(
            on=date.fromisoformat(entry["on"]),
            successor=entry["successor"],
            host=entry["host"],
            open_weights=entry["open_weights"],
        )
        for entry in data["retired"]
        for name in entry["names"]
    }
    return _Table(rows, retired)


def _row(row: Mapping[str, Any], holidays: Mapping[str, frozenset[date]]) -> _Row:
    peak, long = row.get("peak"), row.get("long")
    return _Row(
        since=datetime.fromisoformat(row["from"]),
        price=Price(**row["price"]),
        peak=Price(**peak["price"]) if peak else None,
        peak_hours=tuple((start, end) for start, end in peak["hours_utc"]) if peak else (),
        # A year whose holidays are not known has none: then the dearer price is reckoned with.
        holidays=holidays[peak["holidays"]] if peak else frozenset(),
        long=Price(**long["price"]) if long else None,
        long_above=long["above"] if long else 0,
        batch=Decimal(row.get("batch", 1)),
    )
