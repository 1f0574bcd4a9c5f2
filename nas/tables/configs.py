"""Configs as a table stores them: the fields that differ from their defaults, each distinct part once."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spikformer.config import SpikformerConfig
from spikformer.fields import PlainTable
from spikformer.identity import defaults_of

FIELDS = tuple(field.name for field in dataclasses.fields(SpikformerConfig))
Indices = npt.NDArray[np.int32]


def compact(part: Any) -> Any:
    """A part of a config as plain values, without the fields that have their defaults.

    `spikformer.identity.distinguishing` leaves out the same fields, but writes true as 1, which no config reads back.
    """
    if isinstance(part, tuple):
        return [compact(item) for item in part]
    if not dataclasses.is_dataclass(part):
        return part
    cls: type = type(part)
    defaults = defaults_of(cls)
    values: PlainTable = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if field.name not in defaults or value != defaults[field.name]:
            values[field.name] = value.to_dict() if field.name == "options" else compact(value)
    return values


def packed(configs: Sequence[SpikformerConfig]) -> tuple[dict[str, list[Any]], Indices]:
    """Distinct values of each field, and [networks, fields]: which of them a network has, -1 for the default."""
    compacts = [compact(config) for config in configs]
    values: dict[str, list[Any]] = {}
    indices = np.full((len(configs), len(FIELDS)), -1, dtype=np.int32)
    for column, name in enumerate(FIELDS):
        texts = [json.dumps(each[name], sort_keys=True) if name in each else None for each in compacts]
        distinct = sorted({text for text in texts if text is not None})
        place = {text: i for i, text in enumerate(distinct)}
        values[name] = [json.loads(text) for text in distinct]
        indices[:, column] = [-1 if text is None else place[text] for text in texts]
    return values, indices


def unpacked(values: dict[str, list[Any]], indices: Indices) -> list[SpikformerConfig]:
    """The configs again.

    Raises:
        ConfigError: a part describes no network.
        TrustError: a block of a module that the user did not name.
    """
    names = list(values)
    return [
        SpikformerConfig.from_dict({name: values[name][i] for name, i in zip(names, row, strict=True) if i >= 0})
        for row in indices.tolist()
    ]


__all__ = ["FIELDS", "compact", "packed", "unpacked"]
