"""Values as they stand, or an error: cattrs by itself turns 1 into "1", and "abc" into ("a", "b", "c")."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

R = TypeVar("R")


def strict_converter() -> cattrs.Converter:
    """A converter that structures attrs classes of plain JSON values and guesses nothing."""
    converter = cattrs.Converter()
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _strict)
    converter.register_structure_hook(float, lambda value, _: _strict_number(value))
    converter.register_structure_hook_factory(
        _is_made_of(Literal), lambda kind: functools.partial(_one_of, get_args(kind))
    )
    converter.register_structure_hook_factory(
        _is_made_of(tuple), lambda kind: functools.partial(_tuple, converter, get_args(kind)[0])
    )
    converter.register_structure_hook_factory(
        attrs.has, lambda kind: functools.partial(_object, make_dict_structure_fn(kind, converter))
    )
    return converter


def _is_made_of(origin: Any) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is origin


def _strict(value: Any, kind: type[R]) -> R:
    if type(value) is not kind:
        raise _unexpected(kind.__name__, value)
    return value


def _strict_number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise _unexpected("a finite number", value)
    return float(value)


def _one_of(allowed: tuple[Any, ...], value: Any, _: Any) -> Any:
    if value not in allowed:
        raise _unexpected(" or ".join(map(repr, allowed)), value)
    return value


def _tuple(converter: cattrs.Converter, member: Any, value: Any, _: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _unexpected("a list", value)
    return tuple(converter.structure(value, list[member]))


def _object(structure: Callable[[Mapping[str, Any], Any], Any], value: Any, kind: Any) -> Any:
    if not isinstance(value, Mapping):
        raise _unexpected("a JSON object", value)
    return structure(value, kind)


def _unexpected(expected: str, value: Any) -> TypeError:
    return TypeError(f"expected {expected}, got {value!r:.80}")
