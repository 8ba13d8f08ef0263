"""Runners by their names on the command line, and the one that is taken where nobody names one for a large base."""

import os
import sys
from decimal import Decimal

from text2expert.errors import InputError
from text2expert.runners import Runner, gpus

KEY = "VAST_API_KEY"
"""A key for Vast.ai in this environment variable is taken for the wish to rent where this machine has no GPU."""

_NAMES = "local, ssh:user@host (also ssh:user@host:2222), vast, or vast:GPU such as vast:RTX_5090"


def named(name: str, *, budget: Decimal | float | None = None, processes: int | None = None) -> Runner:
    """The runner called *name*: ``local``, ``ssh:user@host``, ``vast`` or ``vast:<GPU as Vast calls it>``.

    Args:
        name: As above.
        budget: US dollars that renting may ever cost in one run folder.
        processes: That train together on this machine.

    Raises:
        InputError: There is no such runner, or it takes no such argument.
    """
    kind, colon, rest = name.partition(":")
    if (kind not in {"local", "ssh", "vast"}) or (colon and not rest) or (kind == "local" and rest):
        raise InputError(f"runner {name!r}: there are {_NAMES}")
    if kind == "ssh" and not rest:
        raise InputError(f"runner {name!r}: say which machine, such as ssh:user@host")
    if processes is not None and kind != "local":
        raise InputError(
            f"processes={processes} (--processes) are those of this machine, and the runner is {name!r}: leave one of them out"
        )
    if budget is not None and kind != "vast":
        raise InputError(
            f"a training budget (--train-budget) is for a machine that is rented, and the runner is {name!r}: leave it "
            "out, or take --runner vast"
        )
    if kind == "ssh":
        from text2expert.runners.ssh import SSH  # noqa: PLC0415 - only what is asked for is loaded

        return SSH(rest)
    if kind == "vast":
        from text2expert.runners.vast import Vast  # noqa: PLC0415

        return Vast(gpu=rest, budget=budget) if rest else Vast(budget=budget)
    from text2expert.runners.local import Local  # noqa: PLC0415

    return Local() if processes is None else Local(processes=processes)


def at_hand(*, budget: Decimal | float | None = None) -> Runner:
    """Where a base is trained that needs a GPU: on this machine's; without one, on a rented one if VAST_API_KEY is set.

    With neither it is this machine all the same, whose trainer says what the ways out are before anything is paid.
    """
    rents = bool(os.environ.get(KEY)) and not gpus.cuda(sys.executable)
    return named("vast" if rents else "local", budget=budget)
