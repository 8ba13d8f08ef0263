"""A rental in a ledger: a hold of a batch of one, which outlives this process, settled with a receipt as its reply."""

import json
from collections.abc import Iterable
from decimal import Decimal

import attrs

from text2expert import ledger
from text2expert.exchange import Completion
from text2expert.runners.vast.box import Box
from text2expert.runners.vast.journal import Rental


def open_hold(book: ledger.Ledger, token: str) -> tuple[int, ledger.Hold] | None:
    """Batch and hold of a rental that is open in *book*."""
    for batch in book.open_batches():
        for hold in batch.holds:
            if hold.key in {key_of(token), late_key_of(token)}:
                return batch.id, hold
    return None


async def taken_up(book: ledger.Ledger, rental: Rental) -> Box | None:
    """The box of a rental that is open in *book*; None where it was settled, or never held."""
    opened = open_hold(book, rental.token)
    if opened is None:
        return None
    hold = await book.hold(opened[1].key, opened[1].usd, batch=True)
    return Box(
        rental=rental, hold=hold, batch=opened[0], idle_at=rental.begun, base_gb=rental.base_gb,
        carried_gb=rental.carried_gb,
    )  # fmt: skip


def in_batch(book: ledger.Ledger, hold: ledger.Hold, token: str) -> int:
    """Let *hold* outlive this process; the number of its batch."""
    batch = book.open_batch([hold.key])
    book.name_batch(batch, remote_id(token))
    return batch


def close_unwritten(book: ledger.Ledger, rentals: Iterable[Rental]) -> None:
    """Close what is of none of *rentals*: nobody can say what it did cost, but the hold bounds it."""
    written = {rental.token for rental in rentals}
    for batch in book.open_batches():
        named_so = (batch.remote_id or "").startswith(remote_id(""))
        tokens = {
            each.key.removeprefix(key_of("")).partition("/")[0]
            for each in batch.holds
            if each.key.startswith(key_of(""))
        }
        if (named_so or tokens) and not tokens & written:
            book.close_batch(batch.id)


def settle(book: ledger.Ledger, box: Box, usd: Decimal, until: float) -> None:
    """Book what *box* did cost *until* then, in seconds since 1970."""
    book.settle(box.hold, receipt(box.written(), usd, until), usd)
    book.close_batch(box.batch)
    box.batch = 0


def receipt(rental: Rental, usd: Decimal, until: float) -> Completion:
    """What was rented and what it did cost, as the reply that a ledger keeps."""
    words = json.dumps({**attrs.asdict(rental), "usd": str(usd), "until": until}, sort_keys=True)
    return Completion(text=words, reasoning="", usage=None, finish="stop", model="vast", raw=words)


def key_of(token: str) -> str:
    """Of the hold of a rental."""
    return f"rent/{token}"


def late_key_of(token: str) -> str:
    """Of what a machine costs that comes up after it was taken for none."""
    return f"{key_of(token)}/late"


def remote_id(token: str) -> str:
    """Of its batch."""
    return f"vast/{token}"
