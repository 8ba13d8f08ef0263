"""Runners by their names on the command line, and the one that is taken where nobody names one for a large base."""

import os
import sys
from typing import Any

from text2expert.errors import InputError
from text2expert.runners import Runner, gpus

KEY = "VAST_API_KEY"
"""A key for Vast.ai in this environment variable is taken for the wish to rent where this machine has no GPU."""

_FLAGS = {
    "budget": "--train-budget",
    "max_hours": "--max-hours",
    "max_usd_per_hour": "--max-usd-per-hour",
    "api_key": "--vast-key-env",
}

_NAMES = "local, ssh:user@host (also ssh:user@host:2222), vast, or vast:GPU such as vast:RTX_5090"


def named(name: str, *, processes: int | None = None, **rent: Any) -> Runner:
    """The runner called *name*: ``local``, ``ssh:user@host``, ``vast`` or ``vast:<GPU as Vast calls it>``.

    Args:
        name: As above.
        processes: That train together on this machine.
        rent: Arguments of `text2expert.runners.vast.Vast` (budget, max_hours, ...); None is its default.

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
    rent = {argument: value for argument, value in rent.items() if value is not None}
    if rent and kind != "vast":
        raise InputError(
            f"{', '.join(f'{argument}= ({_FLAGS[argument]})' for argument in rent)} is for a machine that is rented, and the "
            f"runner is {name!r}: leave it out, or take --runner vast"
        )
    if kind == "ssh":
        from text2expert.runners.ssh import SSH  # noqa: PLC0415 - only what is asked for is loaded

        return SSH(rest)
    if kind == "vast":
        from text2expert.runners.vast import Vast  # noqa: PLC0415

        return Vast(gpu=rest, **rent) if rest else Vast(**rent)
    from text2expert.runners.local import Local  # noqa: PLC0415

    return Local() if processes is None else Local(processes=processes)


def at_hand(**rent: Any) -> Runner:
    """Where a base is trained that needs a GPU: on this machine's; without one, on a rented one if VAST_API_KEY is set.

    With neither it is this machine all the same, whose trainer says what the ways out are before anything is paid.
    """
    rents = bool(rent.get("api_key") or os.environ.get(KEY)) and not gpus.cuda(sys.executable)
    return named("vast" if rents else "local", **rent)
