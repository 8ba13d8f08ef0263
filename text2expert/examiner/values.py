"""Whether two values are the same, of one kind, or bounds that part at the value itself."""

import re

from text2expert.evidence.quantities import Bound, Quantity, is_turned, same_quantity
from text2expert.evidence.units import Unit

__all__ = [
    "ROUGHLY",
    "TOLERANCE",
    "WARMTH_K",
    "gainsays",
    "is_beyond",
    "kind_of",
    "measure",
    "near",
    "parts_at",
    "same",
]

ROUGHLY = 0.05
"""How far a number in another unit may be off that stands beside the right one."""
TOLERANCE = 0.01
"""How far a number may be off in another unit, since conversions are rounded; in the same unit it must be the same."""
WARMTH_K = 0.3
"""The same for temperatures: half a degree Fahrenheit."""

_STRICT: dict[Bound, re.Pattern[str]] = {
    "high": re.compile(
        r"^(?:more|greater|higher|longer|older|larger|bigger|heavier|faster|later|further|deeper|wider) than$"
    ),
    "low": re.compile(r"^(?:less|fewer|lower|shorter|younger|smaller|lighter|slower|earlier|closer|nearer) than$"),
}
"""Comparators that leave out the value itself, by the side that they mean where nothing denies them."""
_INCLUSIVE = re.compile(r"^(?:|at least|at most|up to|(?:no|not) \w+ than|minimum|maximum)$")
"""Those that do not: "5 or more" has none before it."""
_ROUNDED: dict[str, tuple[str, float]] = {
    "foot": ("length", 0.3048),
    "inch": ("length", 0.0254),
    "yard": ("length", 0.9144),
    "mile": ("length", 1609.344),
    "seamile": ("length", 1852.0),
    "foot2": ("area", 0.09290304),
    "acre": ("area", 4046.8564),
    "cmh2o": ("pascal", 98.0665),
    "mmhg": ("pascal", 133.3224),
    "psi": ("pascal", 6894.757),
    "atm": ("pascal", 101325.0),
    "pound": ("mass", 453.59237),
    "ounce": ("mass", 28.349523),
    "stone": ("mass", 6350.2932),
    "speed": ("length/time", 0.5144444),
    "mph": ("length/time", 0.44704),
    "horse": ("power", 745.69987),
    "kcal": ("joule", 4184.0),
}
"""Dimensions whose units are told in those of others only by rounding: that dimension, and how many of its units."""
_WARMTH = {"celsius": (1.0, 273.15), "fahrenheit": (5 / 9, 459.67 * 5 / 9), "kelvin": (1.0, 0.0)}


_OUTSIDE = re.compile(r"above|over|beyond|exceed(?:s|ed|ing)?|below|under|outside|[<>]|in excess of|short of")
"""Comparators without a "than" that leave out the value too."""


def is_beyond(quantity: Quantity) -> bool:
    """Whether the value itself is left out: "less than 6" is not 6, where no limit is asked for."""
    if is_turned(quantity):
        return False
    if _OUTSIDE.fullmatch(quantity.comparator):
        return True
    return quantity.comparator.endswith(" than") and not quantity.comparator.startswith(("no ", "not "))


def parts_at(one: Quantity, other: Quantity) -> bool:
    """Whether of two bounds on one side one leaves out the value itself: "more than 5" and "at least 5" of what is counted."""
    strict = [bool(each.bound and _STRICT[each.bound].search(each.comparator)) for each in (one, other) if each.bound]
    inclusive = [bool(_INCLUSIVE.search(each.comparator)) for each in (one, other) if each.bound]
    return len(strict) > 1 and any(strict) and any(inclusive)


def same(one: Quantity, other: Quantity) -> bool:
    """Whether two quantities are the same, where a conversion of units may have rounded one of them."""
    if same_quantity(one, other):
        return True
    if one.unit is None or other.unit is None or one.unit == other.unit:
        return False
    if one.unit.dimension in _WARMTH and other.unit.dimension in _WARMTH:
        return abs(_warmth(one, one.unit) - _warmth(other, other.unit)) <= WARMTH_K
    (kind, value), (other_kind, other_value) = _converted(one, one.unit), _converted(other, other.unit)
    exact = one.unit.dimension == other.unit.dimension
    if kind != other_kind or (exact and one.value.is_integer() and other.value.is_integer()):
        return False
    return abs(value - other_value) <= TOLERANCE * max(abs(value), abs(other_value))


def near(one: Quantity, other: Quantity) -> bool:
    """Whether one quantity is the other in another unit, roughly."""
    if one.unit is None or other.unit is None or one.unit.dimension == other.unit.dimension:
        return False
    (kind, value), (other_kind, other_value) = _converted(one, one.unit), _converted(other, other.unit)
    return kind == other_kind and abs(value - other_value) <= ROUGHLY * max(abs(value), abs(other_value))


def gainsays(said: Quantity, asked: Quantity) -> bool:
    """Whether a yes to *asked* that goes on with *said* is no yes to it: "within 90 minutes" of "within 30 minutes?".

    "Up to 45 minutes" is a yes to 30 minutes.
    """
    if not kind_of(said) or kind_of(said) != kind_of(asked) or said.unit is None or asked.unit is None:
        return False
    if asked.bound or not said.bound:
        return not same(said, asked)
    told, limit = measure(asked), measure(said)
    return told > limit if said.bound == "low" else told < limit


def _warmth(quantity: Quantity, unit: Unit) -> float:
    size, zero = _WARMTH[unit.dimension]
    return quantity.value * size + zero


def _converted(quantity: Quantity, unit: Unit) -> tuple[str, float]:
    kind, size = _ROUNDED.get(unit.dimension, (unit.dimension, 1.0))
    return kind, quantity.value * unit.size * size


def measure(quantity: Quantity) -> float:
    """How much *quantity* is, in the one unit of its kind."""
    if quantity.unit is None:
        return quantity.value
    return (
        _warmth(quantity, quantity.unit)
        if quantity.unit.dimension in _WARMTH
        else _converted(quantity, quantity.unit)[1]
    )


def kind_of(quantity: Quantity) -> str:
    """What *quantity* measures, units that only round to one another taken together; "" for a number without a unit."""
    if quantity.unit is None:
        return ""
    dimension = quantity.unit.dimension
    return "warmth" if dimension in _WARMTH else _ROUNDED.get(dimension, (dimension, 1.0))[0]
