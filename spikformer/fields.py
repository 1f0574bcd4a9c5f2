"""Frozen parts that check themselves: types, plain values in and out, errors that name the field.

Standard library only.
"""

import dataclasses
import difflib
import functools
import marshal
import math
import sys
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Self

from spikformer.errors import ConfigError

Scalar = bool | int | float | str
PlainTable = dict[str, Any]
"""A table of JSON or TOML: what its values are is checked where they are read."""


@dataclass(frozen=True)
class Options:
    """Settings of a block of your own, under the names that its class declares; a table in TOML and JSON."""

    items: tuple[tuple[str, Scalar], ...] = ()

    @classmethod
    def from_dict(cls, values: object) -> Self:
        if isinstance(values, cls):
            return values
        if not isinstance(values, dict):
            raise ConfigError(f'"options" must be a table of names and values, not {values!r}', ("options",))
        for name, value in values.items():
            require(isinstance(value, bool | int | float | str), f"options.{name} must be a plain value, not {value!r}")
        return cls(tuple(sorted(values.items())))

    def to_dict(self) -> dict[str, Scalar]:
        return dict(self.items)


_LARGEST = 2**31  # more than any network has


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of an error message: the valid name that `name` was meant to be, or all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1)
    return f'Did you mean "{close[0]}"?' if close else f"Valid names: {', '.join(names)}."


def require(condition: bool, message: str, *fields: str) -> None:
    """For messages that are quickly written; else raise by hand, for thousands of configs are read."""
    if not condition:
        raise ConfigError(message, fields)


def listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)


def divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def check_types(part: object) -> None:
    """Bring every field of a part to its declared type, or say what it should have been."""
    for name, hint in types_of(type(part)).items():
        value = getattr(part, name)
        if not _is_sound(value, hint):
            object.__setattr__(part, name, _typed_field(name, value, hint))


def _is_sound(value: object, hint: Any) -> bool:
    """Whether a value needs no look at what it holds: quick, for thousands of configs are read."""
    if type(value) is not hint:
        return False
    if hint is int:
        return -_LARGEST <= typing.cast(int, value) <= _LARGEST
    return hint is not float or math.isfinite(typing.cast(float, value))


def _typed_field(name: str, value: object, hint: Any) -> object:
    if hint is Options:
        return Options.from_dict(value)
    try:
        return typed(value, hint, _LARGEST)
    except ConfigError as error:
        raise ConfigError(f"{name} {error}", (name,)) from None


def types_of(cls: type) -> dict[str, Any]:
    """The declared type of each field of a class."""
    return _hints(cls)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def typed(value: Any, hint: Any, largest: float = sys.float_info.max) -> Any:
    """A plain value as the type that a field declares: lists become tuples, whole numbers floats where these are meant.

    Args:
        hint: bool, int, float, str, a Literal, a tuple of these, or `X | None` of any X among them.
        largest: limit of whole numbers, without their sign.

    Raises:
        ConfigError: what is wrong, in words that the name of the field goes before.
    """
    origin, arguments = _form(hint)
    if len(arguments) == 2 and arguments[1] is types.NoneType:
        return None if value is None else typed(value, arguments[0], largest)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f'"{value}" is unknown. Use one of {listed(arguments)}')
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"must be a list, not {value!r}")
        if arguments[-1] is Ellipsis:
            arguments = arguments[:1] * len(value)
        require(len(value) == len(arguments), f"needs {len(arguments)} values, not {len(value)}")
        return tuple(typed(item, kind, largest) for item, kind in zip(value, arguments, strict=True))
    if isinstance(value, int) and abs(value) > largest:
        raise ConfigError(f"is larger than {largest}, the largest allowed")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"must be {_kind(hint)}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"must be finite, not {value!r}")
    return value


@functools.cache
def _form(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """What a hint is of, and its arguments."""
    return typing.get_origin(hint), typing.get_args(hint)


def _kind(hint: type) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false"}
    return words.get(hint, f"a {hint.__name__}")


def build(cls: type, values: object) -> Any:
    if not isinstance(values, dict):
        raise ConfigError(f"expected the fields of {cls.__name__}, not {values!r}")
    hints = types_of(cls)
    for key in values:
        if key not in hints:
            raise ConfigError(f'unknown field "{key}". {nearest(str(key), hints)}', (str(key),))
    return cls(**{key: build_field(key, value, hints[key]) for key, value in values.items()})


def build_field(key: str, value: object, hint: Any) -> Any:
    """The value of one field of a part from plain values, for a class that takes it.

    Raises:
        ConfigError: see `build`; names the field.
    """
    if hint is Options:
        return Options.from_dict(value)
    cls, several = _parts(hint)
    if cls is None:
        return value
    if not several:
        return _within(key, cls, value)
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{key} must be a list, not {value!r}", (key,))
    return tuple(_within(f"{key}.{i}", cls, item) for i, item in enumerate(value))


@functools.cache
def _parts(hint: Any) -> tuple[type | None, bool]:
    """The class of the parts that a field has, if it has any, and whether it has a row of them."""
    origin, arguments = _form(hint)
    item = arguments[0] if origin is tuple else hint
    return (typing.cast(type, item) if dataclasses.is_dataclass(item) else None), origin is tuple


def _within(path: str, cls: type, values: Any) -> Any:
    try:
        return _shared(cls, marshal.dumps(values, _WITHOUT_REFERENCES))
    except (ValueError, ConfigError):  # also of values that marshal does not have, or takes for bytes
        pass
    try:
        return build(cls, values)
    except ConfigError as error:
        raise error.within(path) from None


@functools.lru_cache(maxsize=4096)
def _shared(cls: type, values: bytes) -> Any:
    """A part from its plain values as bytes. Thousands of networks share most of theirs, and parts never change."""
    return build(cls, marshal.loads(values))  # of bytes that this process has just made


_WITHOUT_REFERENCES = 2  # marshal's format in which equal values are equal bytes, and which is quicker than JSON


def plain(value: object) -> Any:
    if isinstance(value, Options):
        return value.to_dict()
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def names(cls: type) -> list[str]:
    return [f.name for f in dataclasses.fields(cls)]
