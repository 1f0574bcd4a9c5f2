"""Dotted paths into a config in plain values, such as "stem.pool_order" or "stages.*.mixer.kind".

A number names one stage, or one convolution of a chain, and `*` stands for every one of them.
"""

import re
import typing
from collections.abc import Iterator
from typing import Any

from spikformer.config import SpikformerConfig
from spikformer.fields import PlainTable, build_field, plain, types_of


def covers(pattern: str, path: str) -> bool:
    """Whether a pattern names a field, or a table in which it lies."""
    return re.fullmatch(pattern.replace(".", r"\.").replace("*", r"\d+") + r"(\..+)?", path) is not None


def flattened(values: PlainTable, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def paths_in(values: object, prefix: str = "") -> list[str]:
    """Dotted paths of all fields of a config in plain values; those in lists also with `*`.

    A chain of convolutions is a field of its own beside those of its convolutions.
    """
    if isinstance(values, dict):
        return [path for key, value in values.items() for path in paths_in(value, f"{prefix}{key}.")]
    if isinstance(values, list) and values and isinstance(values[0], dict):
        whole = [prefix.rstrip(".")] if prefix.endswith("chain.") else []
        each = [path for i, value in enumerate(values) for path in paths_in(value, f"{prefix}{i}.")]
        return [*whole, *paths_in(values[0], f"{prefix}*."), *each]
    return [prefix.rstrip(".")]


def is_known(values: PlainTable, path: str) -> bool:
    own, _, option = path.rpartition(".options.")  # a block of your own declares these
    return path in paths_in(values) or (bool(own) and option.isidentifier() and f"{own}.kind" in paths_in(values))


def copied(values: Any) -> Any:
    """Tables and lists of plain values, all of them new; quicker than `copy.deepcopy`, which looks for circles."""
    if isinstance(values, dict):
        return {key: copied(value) for key, value in values.items()}
    return [copied(value) for value in values] if isinstance(values, list) else values


def filled(path: str, value: object) -> object:
    """The value of a field as a whole config has it: the convolutions of a chain with all of their fields.

    Raises:
        ConfigError: what is wrong in a convolution.
    """
    if path.rpartition(".")[2] != "chain":
        return value
    hint: Any = SpikformerConfig
    for name in path.split("."):
        hint = typing.get_args(hint)[0] if name == "*" or name.isdecimal() else types_of(hint)[name]
    return plain(build_field(path, value, hint))


def assign(values: Any, path: str, value: object) -> None:
    head, _, rest = path.partition(".")
    keys: list[Any] = list(range(len(values))) if head == "*" else [int(head) if isinstance(values, list) else head]
    for key in keys:
        if rest:
            assign(values[key], rest, value)
        else:
            values[key] = copied(value)


def read(values: Any, path: str) -> list[Any]:
    head, _, rest = path.partition(".")
    if rest and path.startswith("options."):
        return [values["options"].get(rest)]  # None where the block has no such setting
    parts = values if head == "*" else [values[int(head) if isinstance(values, list) else head]]
    return [leaf for value in parts for leaf in read(value, rest)] if rest else list(parts)


__all__ = ["assign", "copied", "covers", "filled", "flattened", "is_known", "paths_in", "read"]
