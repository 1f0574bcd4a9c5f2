"""Values from files, held to the types that a dataclass declares: a record may be damaged, or written by hand."""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, Literal

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


Check = Callable[[Any], bool]
"""Whether a value is of one type."""


def hold(part: object) -> None:
    """Check the type of each field of a dataclass.

    Raises:
        TypeError: a field has a value of another type; says which.
    """
    for name, is_sound in _checks(type(part)):
        if not is_sound(getattr(part, name)):
            hold_value(name, getattr(part, name), typing.get_type_hints(type(part))[name])


def hold_value(name: str, value: object, hint: Any) -> None:
    """Check the type of one value.

    Args:
        hint: a type as dataclasses declare it. A float may be written as a whole number.

    Raises:
        TypeError: the value has another.
    """
    if not _check(hint)(value):
        raise TypeError(f'"{name}" is {_short(value)}, but must be {_WORDS.get(hint) or _in_words(hint)}')


@functools.cache
def _checks(cls: type) -> tuple[tuple[str, Check], ...]:
    hints = typing.get_type_hints(cls)
    return tuple((field.name, _check(hints[field.name])) for field in dataclasses.fields(cls))


@functools.cache
def _check(hint: Any) -> Check:
    """Made once for each type, as a study has a hundred thousand values to be checked."""
    kinds = _kinds(hint)
    if kinds is not None:
        return lambda value: type(value) in kinds
    if hint is Any or hint is object:
        return lambda _: True
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return lambda value: isinstance(value, str | int) and value in arguments
    if origin in _UNIONS:
        of_union = [_check(argument) for argument in arguments]
        return lambda value: any(is_sound(value) for is_sound in of_union)
    if origin is tuple:
        return _check_tuple(arguments)
    if origin is list:
        are_items = _check_all(arguments[0])
        return lambda value: isinstance(value, list) and are_items(value)
    if origin is dict:
        are_keys, are_values = map(_check_all, arguments)
        return lambda value: isinstance(value, dict) and are_keys(value) and are_values(value.values())
    return lambda value: type(value) is hint


_UNIONS = (types.UnionType, typing.Union)


@functools.cache
def _kinds(hint: Any) -> frozenset[type] | None:
    """The types that values of a hint have, where these say all: then no value needs a call of its own."""
    if hint is float:
        return frozenset((int, float))
    if typing.get_origin(hint) in _UNIONS:
        of_union = [_kinds(argument) for argument in typing.get_args(hint)]
        return frozenset().union(*(kinds for kinds in of_union if kinds)) if all(of_union) else None
    is_plain = isinstance(hint, type) and typing.get_origin(hint) is None and hint is not object and hint is not Any
    return frozenset((hint,)) if is_plain else None


def _check_all(hint: Any) -> Callable[[Iterable[Any]], bool]:
    """Whether all of some values are of one type."""
    kinds, is_sound = _kinds(hint), _check(hint)
    if kinds is not None:
        return lambda values: kinds.issuperset(map(type, values))
    return lambda values: all(map(is_sound, values))


def _check_tuple(hints: tuple[Any, ...]) -> Check:
    if hints[-1] is Ellipsis:
        are_items = _check_all(hints[0])
        return lambda value: isinstance(value, tuple) and are_items(value)
    items = [_check(hint) for hint in hints]
    return lambda value: (
        isinstance(value, tuple)
        and len(value) == len(items)
        and all(is_sound(item) for is_sound, item in zip(items, value, strict=True))
    )


def _in_words(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint) if isinstance(hint, type) else hint).replace("typing.", "")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


__all__ = ["hold", "hold_value"]
