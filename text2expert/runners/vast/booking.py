"""How rent stands in a ledger: a hold in a batch of its own, by the token of the rental."""

import json
from collections.abc import Iterable
from decimal import Decimal

import attrs

from text2expert import ledger
from text2expert.exchange import Completion
from text2expert.runners.vast.journal import Rental, now


def key(token: str) -> str:
    """Of a rental."""
    return f"rent/{token}"


def late_key(token: str) -> str:
    """Of what a machine costs that comes up after it was taken for none."""
    return f"{key(token)}/late"


def remote_id(token: str) -> str:
    """Of a rental's batch."""
    return f"vast/{token}"


def open_hold(book: ledger.Ledger, token: str) -> tuple[int, ledger.Hold] | None:
    """Batch and hold of a rental that is open in *book*."""
    for batch in book.open_batches():
        for hold in batch.holds:
            if hold.key in {key(token), late_key(token)}:
                return batch.id, hold
    return None


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
            hold.key.removeprefix(key("")).partition("/")[0] for hold in batch.holds if hold.key.startswith(key(""))
        }
        if (named_so or tokens) and not tokens & written:
            book.close_batch(batch.id)


def receipt(rental: Rental, usd: Decimal) -> Completion:
    """What was rented and what it did cost, as the reply that a ledger keeps."""
    words = json.dumps({**attrs.asdict(rental), "usd": str(usd), "until": now()}, sort_keys=True)
    return Completion(text=words, reasoning="", usage=None, finish="stop", model="vast", raw=words)
