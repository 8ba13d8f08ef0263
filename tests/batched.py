"""What the tests of Message Batches share: what is waited for, and whether the bill is the ledger's."""

import time
from decimal import Decimal

from text2expert.prices import tariff

TARIFF = tariff("claude-sonnet-5-5", endpoint="x")


def until(condition, what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


def settled_as_billed(ledger, server):
    """The ledger has what the server's bill comes to at half the price."""
    price = TARIFF.rows[0].price
    million = Decimal(1_000_000)
    bill = sum(
        (entry["input_tokens"] * price.input + entry["output_tokens"] * price.output) / 2 / million
        for entry in server.bill
    )
    assert bill == ledger.spent().settled


def looked_at(server):
    """A batch is looked at by whoever has stored its id."""
    until(lambda: any("/msgbatch_" in path for _, path in server.seen), "the batch is looked at")
