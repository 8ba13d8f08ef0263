"""What arguments of steps may be: the validators that they share, so that one mistake is answered in one way."""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from text2expert.errors import InputError


def whole(minimum: int) -> Callable[[object, Any, Any], None]:
    """A whole number from *minimum* on."""

    def validate(_: object, attribute: Any, value: Any) -> None:
        if type(value) is not int or value < minimum:
            raise InputError(f"{attribute.name}={value!r}: must be a whole number from {minimum} on")

    return validate


def share(_: object, attribute: Any, value: Any) -> None:
    """A share, 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InputError(f"{attribute.name}={value!r}: must be a share from 0 to 1, such as 0.5 for one half")


def dollars(_: object, attribute: Any, value: Any) -> None:
    """US dollars, or None."""
    number = not isinstance(value, bool) and isinstance(value, int | float | Decimal)
    if value is not None and not (number and math.isfinite(value) and value >= 0):
        raise InputError(f"{attribute.name}={value!r}: must be US dollars from 0 on, or None for no limit")


def words(of: str) -> Callable[[object, Any, Any], None]:
    """Text that is not blank; *of* says what it must be."""

    def validate(_: object, attribute: Any, value: Any) -> None:
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{attribute.name}={value!r}: must be {of}")

    return validate
