"""Every dollar and every paid reply, in one SQLite file: budgets that cannot be crossed, replies that are paid for once.

Before a request goes out, the most that it can cost is *held*. When its reply is there, the real cost and the reply are
*settled* in one transaction; where nothing was billed the hold is *released*; where that is not known it is *lost*:
booked whole. A hold is on the disk before the request is sent, so a process that is killed at any moment leaves no cost
unbooked: what it had held is booked as lost when the ledger is opened again.

    with Ledger(folder) as ledger, budget("teacher", 10):
        hold = await ledger.hold(request.key, tariff.ceiling(...))
        ...
        ledger.settle(hold, completion, tariff.cost(completion.usage, sent))

Money is ``Decimal`` throughout, added without rounding and stored as it is written. Inside, from the top: ``book`` is the
`Ledger`, ``room`` decides who may hold how much and who waits, ``scopes`` are the budgets around a piece of work,
``file`` is what is on the disk.
"""

from text2expert.ledger.book import DEFAULT_FOLDER, Averages, Batch, Ledger, Spent, current, opened
from text2expert.ledger.file import FILE_NAME
from text2expert.ledger.room import Hold
from text2expert.ledger.scopes import budget, caps

__all__ = [
    "DEFAULT_FOLDER",
    "FILE_NAME",
    "Averages",
    "Batch",
    "Hold",
    "Ledger",
    "Spent",
    "budget",
    "caps",
    "current",
    "opened",
]
