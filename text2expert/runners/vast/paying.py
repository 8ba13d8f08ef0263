"""A rental in a ledger: a hold of a batch of one, which outlives this process, settled with a receipt as its reply."""

import json
from decimal import Decimal

import attrs

from text2expert import ledger
from text2expert.exchange import Completion
from text2expert.runners.vast.box import Box
from text2expert.runners.vast.journal import Rental, now


def open_hold(book: ledger.Ledger, token: str) -> tuple[int, ledger.Hold] | None:
    """Batch and hold of a rental that is open in *book*."""
    for batch in book.open_batches():
        for hold in batch.holds:
            if hold.key == key_of(token):
                return batch.id, hold
    return None


async def taken_up(book: ledger.Ledger, rental: Rental) -> Box | None:
    """The box of a rental that is open in *book*; None where it was settled, or never held."""
    opened = open_hold(book, rental.token)
    if opened is None:
        return None
    hold = await book.hold(opened[1].key, opened[1].usd, batch=True)
    return Box(rental=rental, hold=hold, batch=opened[0], idle_at=rental.begun)


def settle(book: ledger.Ledger, box: Box, usd: Decimal) -> None:
    """Book what *box* did cost."""
    book.settle(box.hold, receipt(box.rental, usd), usd)
    book.close_batch(box.batch)
    box.batch = 0


def receipt(rental: Rental, usd: Decimal) -> Completion:
    """What was rented and what it did cost, as the reply that a ledger keeps."""
    words = json.dumps({**attrs.asdict(rental), "usd": str(usd), "until": now()}, sort_keys=True)
    return Completion(text=words, reasoning="", usage=None, finish="stop", model="vast", raw=words)


def key_of(token: str) -> str:
    """Of the hold of a rental."""
    return f"rent/{token}"


def remote_id(token: str) -> str:
    """Of its batch."""
    return f"vast/{token}"
