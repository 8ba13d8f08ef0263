"""How a run speaks to whoever watches it: bars and lines on standard error, in terminals and notebooks alike."""

import sys
import warnings
from typing import Any


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def bar(total: int | None, description: str, *, unit: str) -> Any:
    """A tqdm bar with ETA; silent where standard error is neither a terminal nor a notebook (logs, pipes)."""
    with warnings.catch_warnings():
        # Without ipywidgets tqdm warns and falls back to a text bar, which serves as well.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm  # noqa: PLC0415 - 40 ms that importing the package should not cost
    silent = not (_in_notebook() or sys.stderr.isatty())
    return tqdm(total=total, desc=description, unit=unit, disable=silent, dynamic_ncols=True, leave=True)


def say(text: str) -> None:
    """A line on standard error that does not tear a running bar."""
    from tqdm import tqdm  # noqa: PLC0415 - see `bar`

    tqdm.write(text, file=sys.stderr)
