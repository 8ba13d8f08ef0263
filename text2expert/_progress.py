"""How a run speaks: bars and lines on standard error; in notebooks, which show that as a fault, on standard output."""

import shutil
import sys
import warnings
from typing import Any, TextIO

_SHOWN_BYTES = 1_000_000

_NARROW = 100
"""Columns below which a bar leaves out what the numbers beside it say as well."""


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def _stream() -> TextIO:
    return sys.stdout if _in_notebook() else sys.stderr


def layout(*, clock: bool = True) -> str | None:
    """How a bar is laid out: without a rate, so that what a run says beside it fits; None: as a notebook does.

    Args:
        clock: Whether tqdm says the time taken and left; else only the time taken, and only where there is room.
    """
    if _in_notebook():
        return None
    narrow = shutil.get_terminal_size().columns < _NARROW
    start = "{desc}: |{bar}| {n_fmt}/{total_fmt}" if narrow else "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}"
    if clock:
        return start + " [{elapsed}<{remaining}{postfix}]"
    return start + ("{postfix}" if narrow else " [{elapsed}{postfix}]")


def bar(total: int | None, description: str, *, unit: str) -> Any:
    """A tqdm bar with ETA; silent where standard error is neither a terminal nor a notebook (logs, pipes).

    One of bytes ("B") is shown from a megabyte on, and goes when it is full.
    """
    with warnings.catch_warnings():
        # Without ipywidgets tqdm warns and falls back to a text bar, which serves as well.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm  # noqa: PLC0415 - 40 ms that importing the package should not cost
    silent = not (_in_notebook() or sys.stderr.isatty())
    of_bytes = unit == "B"
    silent = silent or (of_bytes and total is not None and total < _SHOWN_BYTES)
    return tqdm(
        total=total,
        desc=description,
        unit=unit,
        unit_scale=of_bytes,
        disable=silent,
        dynamic_ncols=True,
        bar_format=None if of_bytes else layout(),
        leave=not of_bytes,
        file=_stream(),
    )


def say(text: str) -> None:
    """A line that does not tear a running bar."""
    from tqdm import tqdm  # noqa: PLC0415 - see `bar`

    tqdm.write(text, file=_stream())
