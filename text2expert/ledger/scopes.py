"""The budgets around a piece of work, and sums of dollars that are never rounded."""

import contextlib
import functools
from collections.abc import Iterator
from contextvars import ContextVar
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Final

import attrs

from text2expert.errors import InputError

ZERO: Final = Decimal(0)
EXACT: Final = Context(prec=80, traps=[Inexact, InvalidOperation])
"""Adds without rounding: what `dollars` lets in has at most 52 digits, which leaves room for 10**28 of them."""

_NUMBERS: Final = (Decimal, int, float)

Caps = tuple[tuple[str, Decimal], ...]
"""Scope and dollars of each budget that has a cap, from outside in."""


def dollars(usd: Decimal | float, name: str) -> Decimal:
    """*usd* as a Decimal that can be added exactly.

    Raises:
        InputError: It is not an amount of dollars.
    """
    if isinstance(usd, _NUMBERS) and not isinstance(usd, bool):
        # A float means what it is written as: 0.1 is ten cents.
        amount = Decimal(str(usd)) if isinstance(usd, float) else Decimal(usd)
        if amount.is_zero():
            return ZERO
        exponent = amount.as_tuple().exponent
        if isinstance(exponent, int) and amount > 0 and exponent >= -40 and amount.adjusted() < 12:
            return amount
    msg = f"{name}={usd!r}: give dollars as a number from 0 up to a trillion, with at most 40 decimals"
    raise InputError(msg)


@attrs.frozen
class Scope:
    """Where costs are booked, and what caps them."""

    path: str = ""
    """Names of the budgets around, joined by ``/``."""
    caps: Caps = ()


_NONE: Final = Scope()
_scope: ContextVar[Scope] = ContextVar("scope", default=_NONE)


def here() -> Scope:
    """The scope of this context."""
    return _scope.get()


def caps() -> Caps:
    """Scope and dollars of each budget around that has a cap, from outside in; see `budget`."""
    return here().caps


@contextlib.contextmanager
def budget(scope: str, usd: Decimal | float | None) -> Iterator[None]:
    """Book what the block spends to *scope*, and never let the scope's total go over *usd*.

    The cap covers everything that the ledger has ever booked to the scope: an earlier run counts, and raising the cap
    continues it. Budgets nest, and all of them hold: inside ``budget("teacher", 5)`` the scope "drafts" is booked as
    "teacher/drafts" and counts for both. The scope "" caps the whole ledger, wherever it stands.

    Args:
        scope: A name without slashes, or "".
        usd: Dollars; None: no cap, the costs are booked to the scope all the same.

    Raises:
        InputError: *usd* is negative or not a number, or *scope* has a slash.
    """
    if "/" in scope:
        msg = f"scope={scope!r}: give a name without slashes; scopes nest as the blocks do"
        raise InputError(msg)
    cap = None if usd is None else dollars(usd, f"budget of {scope or 'the whole run'}")
    outer = _scope.get()
    path = f"{outer.path}/{scope}" if outer.path and scope else outer.path or scope
    capped = path if scope else ""
    _scope.set(Scope(path, outer.caps if cap is None else (*outer.caps, (capped, cap))))
    try:
        yield
    finally:
        # Not reset(token): a generator may be closed in another context than it was started in.
        _scope.set(outer)


@functools.lru_cache(maxsize=256)
def upward(path: str) -> tuple[str, ...]:
    """*path* and the scopes around it: a/b -> "", a, a/b."""
    parts = path.split("/") if path else []
    return tuple("/".join(parts[:n]) for n in range(len(parts) + 1))
