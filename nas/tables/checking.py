"""Reads the bytes of a table's file as untrusted data: every type, size, place and range is checked once, here."""

import itertools
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from nas.costs import Operation
from nas.errors import SpaceError, TableError
from nas.settings import DataSettings, Recipe
from nas.spaces import Axis, SearchSpace
from nas.tables.configs import FIELDS, unpacked
from nas.tables.layout import COLUMNS, DYNAMIC, HEADER, KINDS, SCHEMA, STATIC, Column
from nas.typed import hold, hold_value
from spikformer import schema
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.fields import PlainTable
from spikformer.identity import is_id

Array = npt.NDArray[Any]  # of one of several types of numbers, which are checked here
_REMEDY = "Restore it from where it came"


@dataclass(frozen=True)
class Checked:
    """A file whose parts fit each other.

    Attributes:
        header: the JSON.
        arrays: tensor name -> values, as `nas.tables.layout.COLUMNS` says.
        configs: of the networks, in their order.
        operations: those of the header, with counts of 0.
        space: the search space whose networks these are; its references are not known.
    """

    header: PlainTable
    arrays: dict[str, Array]
    configs: tuple[SpikformerConfig, ...]
    operations: tuple[Operation, ...]
    space: SearchSpace


def checked(data: bytes, source: str) -> Checked:
    """The parts of a file.

    Args:
        source: what to call it in errors.

    Raises:
        TableError: it is no table, is damaged, or a newer version of this program wrote it.
        TrustError: a network has a block of a module that the user did not name.
    """
    try:
        header = _header(data)
        reason = schema.reason_against(header.get(schema.KEY, -1), SCHEMA)
        if reason is not None:
            raise TableError(f"{source}: {reason}")
        for key, kind in KINDS.items():
            hold_value(key, header[key], kind)
        arrays = safetensors.numpy.load(data)
        _check_shapes(header, arrays)
        for name, column in COLUMNS.items():
            _check_range(name, column, arrays[name], header)
        _check_order(arrays)
        operations = tuple(map(_operation, header["operations"]))
        space = _space(header["space"], header["identity"])
        return Checked(header, arrays, _configs(header, arrays), operations, space)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, ArithmeticError) as error:
        raise _damaged(source, f"{type(error).__name__}: {error}") from None
    except (safetensors.SafetensorError, ConfigError, SpaceError) as error:
        raise _damaged(source, str(error)) from None


def _damaged(source: str, why: str) -> TableError:
    return TableError(f"{source} is damaged, or is no table of trained networks ({why[:200]}). {_REMEDY}")


def _header(data: bytes) -> PlainTable:
    """The JSON of the metadata; safetensors begin with the length of their own header, as 8 bytes.

    Raises:
        ValueError, LookupError, TypeError: there is none.
    """
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        raise ValueError("it is cut off or no safetensors file")
    outer = json.loads(data[8 : 8 + size])
    header = json.loads(outer["__metadata__"][HEADER])
    hold_value("table", header, dict[str, object])
    return dict(header)


def _check_shapes(header: PlainTable, arrays: dict[str, Array]) -> None:
    if arrays.keys() != COLUMNS.keys():
        odd = sorted(arrays.keys() ^ COLUMNS.keys())
        raise ValueError(f"tensor {odd[0]} is missing or unknown")
    for name, column in COLUMNS.items():
        array = arrays[name]
        if array.dtype != column.dtype or array.shape[1:] != ((column.width,) if column.width else ()):
            raise ValueError(f"tensor {name} is {array.dtype} of shape {array.shape}, but must be {column.dtype}")
    rows = _rows(header, arrays)
    for name, column in COLUMNS.items():
        if len(arrays[name]) != rows[column.rows]:
            raise ValueError(f"tensor {name} has {len(arrays[name])} rows, but there are {rows[column.rows]}")


def _rows(header: PlainTable, arrays: dict[str, Array]) -> dict[str, int]:
    """How many there are of what tensors have rows of.

    Raises:
        ValueError: a length is negative, or a training names no network.
    """
    networks, per_training = arrays["network.operations"], arrays["training.network"]
    lengths = {name: arrays[name] for name in ("network.operations", "network.layers", "training.epochs")}
    for name, values in lengths.items():
        if (values < 0).any():
            raise ValueError(f"tensor {name} has a negative length")
    if len(networks) != len(header["networks"]) or len(arrays["network.layers"]) != len(networks):
        raise ValueError(f"there are {len(header['networks'])} networks, but tensors for {len(networks)}")
    if len(arrays["training.is_counted"]) != len(per_training):
        raise ValueError("tensor training.is_counted has another length than training.network")
    if ((per_training < 0) | (per_training >= len(networks))).any():
        raise ValueError("tensor training.network names a network that is not there")
    counted = per_training[arrays["training.is_counted"] > 0]
    return {
        "networks": len(networks),
        "trainings": len(per_training),
        "epochs": _total(lengths["training.epochs"]),
        "network operations": _total(networks),
        "network layers": _total(lengths["network.layers"]),
        "counted operations": _total(networks[counted]),
        "counted layers": _total(lengths["network.layers"][counted]),
    }


def _total(lengths: Array) -> int:
    return int(lengths.sum(dtype=np.int64))


def _check_range(name: str, column: Column, array: Array, header: PlainTable) -> None:
    """
    Raises:
        ValueError: a value that no table has.
    """
    values = array[~np.isnan(array)] if array.dtype.kind == "f" else array
    if values.size < array.size and not column.may_lack:
        raise ValueError(f"tensor {name} has values that are no numbers")
    most = len(header[column.indexes]) - 1 if column.indexes else column.most
    if values.size and not column.least <= values.min() <= values.max() <= most:
        raise ValueError(
            f"tensor {name} has values from {values.min()} to {values.max()}, but they must lie between "
            f"{column.least:g} and {most:g}"
        )


def _check_order(arrays: dict[str, Array]) -> None:
    """
    Raises:
        ValueError: a training is there twice, or they are not sorted.
    """
    keys = list(zip(*(arrays[f"training.{name}"].tolist() for name in ("network", "share", "seed")), strict=True))
    if any(before >= after for before, after in itertools.pairwise(keys)):
        raise ValueError("trainings are not in their order, or one is there twice")
    if ((arrays["training.is_counted"] > 0) & (arrays["training.counted_images"] == 0)).any():
        raise ValueError("a training has counts over no images")


def _configs(header: PlainTable, arrays: dict[str, Array]) -> tuple[SpikformerConfig, ...]:
    """
    Raises:
        ValueError: a network that is not the one that its id says, or not as this version names it.
        ConfigError: no network.
    """
    ids, parts = header["networks"], header["config_parts"]
    if not set(parts) <= set(FIELDS) or any(not is_id(identity) for identity in ids) or sorted(set(ids)) != ids:
        raise ValueError("networks are not in their order, or have fields or ids that none has")
    ordered = {name: parts[name] for name in FIELDS}
    places = arrays["network.parts"]
    if any(places[:, i].max(initial=-1) >= len(values) for i, values in enumerate(ordered.values())):
        raise ValueError("tensor network.parts names a part that is not there")
    configs = tuple(unpacked(ordered, places))
    for identity, config in zip(ids, configs, strict=True):
        if config.config_id != identity:
            raise ValueError(
                f"network {identity} has the config of {config.config_id}, unless another version named it"
            )
    return configs


def _operation(values: list[object]) -> Operation:
    """
    Raises:
        TypeError, ValueError: no operation.
    """
    fields = dict(zip(STATIC, values, strict=True)) | dict.fromkeys(DYNAMIC, 0)
    operands = fields["operands"]
    if not isinstance(operands, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in operands):
        raise ValueError("an operation has operands that are none")
    operation = Operation.from_dict(fields)
    hold(operation)
    for operand in operation.operands:
        hold(operand)
    numbers = [value for value in fields.values() if type(value) is int]
    numbers += [size for shape in operation.geometry.values() for size in shape]
    usable = operation.valid > 0 and (operation.values > 0 or operation.kind == "product")
    if not usable or min(numbers) < 0 or operation.weights < 0:  # the last also asks for the shapes that prices need
        raise ValueError(f"the operation {operation.path[:60]!r} has impossible counts or shapes")
    return operation


def _space(name: str, identity: PlainTable) -> SearchSpace:
    """
    Raises:
        LookupError, TypeError, ValueError: the settings are no space's.
    """
    parts: dict[str, PlainTable] = {"data": {}, "recipe": {}}
    for key, value in identity.items():
        section, _, field = key.partition(".")
        if section in parts and key != "data.images":
            parts[section][field] = tuple(value) if isinstance(value, list) else value
    hold_value("space.base", identity["space.base"], dict[str, object])
    for pairs in identity["space.axes"].values():
        hold_value("an axis", [assigned for _, assigned in pairs], list[dict[str, object]])
    axes = tuple(Axis(str(axis), dict(pairs)) for axis, pairs in identity["space.axes"].items())
    recipe, settings = Recipe(**parts["recipe"]), DataSettings.of(parts["data"])
    hold(recipe)
    hold_value("data.images", identity["data.images"], str)
    hold_value("seed", identity["seed"], int)
    if not all(0 < share <= 1 for share in recipe.rungs) or not math.isfinite(recipe.learning_rate):
        raise ValueError("the recipe has rungs or a rate that none has")
    return SearchSpace(name, identity["space.base"], axes, {}, settings, recipe)


__all__ = ["Checked", "checked"]
