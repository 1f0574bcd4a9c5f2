"""Values from files, held to the types that a dataclass declares: a record may be damaged, or written by hand."""

import dataclasses
import functools
import types
import typing
from typing import Any, Literal

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def hold(part: object) -> None:
    """Check the type of each field of a dataclass.

    Raises:
        TypeError: a field has a value of another type; says which.
    """
    for name, hint in _hints(type(part)):  # type: ignore[arg-type]  # a class is hashable
        value = getattr(part, name)
        if type(value) is not hint or hint is float:
            hold_value(name, value, hint)


def hold_value(name: str, value: object, hint: Any) -> None:
    """Check the type of one value.

    Args:
        hint: a type as dataclasses declare it. A float may be written as a whole number.

    Raises:
        TypeError: the value has another.
    """
    if not _is(value, hint):
        raise TypeError(f"{name} is {_short(value)}, not {_WORDS.get(hint) or _in_words(hint)}")


@functools.cache
def _hints(cls: type) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(cls)
    return tuple((field.name, hints[field.name]) for field in dataclasses.fields(cls))


def _is(value: object, hint: Any) -> bool:
    if hint is Any or hint is object:
        return True
    if hint is float:
        return type(value) in (int, float)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return isinstance(value, str | int) and value in arguments
    if origin in (types.UnionType, typing.Union):
        return any(_is(value, argument) for argument in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and _are(value, arguments)
    if origin is list:
        return isinstance(value, list) and all(_is(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            _is(key, arguments[0]) and _is(item, arguments[1]) for key, item in value.items()
        )
    return type(value) is hint


def _are(values: tuple[object, ...], hints: tuple[Any, ...]) -> bool:
    if hints[-1] is Ellipsis:
        hints = hints[:1] * len(values)
    return len(values) == len(hints) and all(map(_is, values, hints))


def _in_words(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint) if isinstance(hint, type) else hint).replace("typing.", "")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


__all__ = ["hold", "hold_value"]
