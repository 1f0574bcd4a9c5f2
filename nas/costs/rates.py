"""Operations of a network that did not run, at firing rates that the user gives: from a log, a paper or a guess.

A rate is what a log prints: the mean number of spikes in a number that a layer reads, over images and time steps.
Where two operands meet, inside attention, it is the share of the pairs in which both are there.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from nas.costs.operations import Operation
from nas.errors import CostError
from spikformer.fields import nearest

Rates = dict[str, float]
"""By path of a layer, or of a module for all layers in it; "" for the whole network."""


def read(number_or_file: str) -> Rates:
    """A number for the whole network, or a JSON file of numbers by path.

    Raises:
        CostError: neither, or numbers that are no rates.
    """
    try:
        return _checked({"": float(number_or_file)}, number_or_file)
    except ValueError:
        pass
    try:
        values = json.loads(Path(number_or_file).read_text())
    except OSError as error:
        raise CostError(f"rates {number_or_file} is neither a number nor a readable file ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise CostError(f"rates {number_or_file} is not valid JSON: {error}") from None
    if not isinstance(values, dict) or not all(type(rate) in (int, float) for rate in values.values()):
        raise CostError(f'rates {number_or_file} must map paths to numbers, such as {{"stem": 0.2, "stages": 0.15}}')
    return _checked({path: float(rate) for path, rate in values.items()}, number_or_file)


def _checked(rates: Rates, source: str) -> Rates:
    bad = [f"{path or 'all'} {rate}" for path, rate in rates.items() if not 0 <= rate < math.inf]
    if bad:
        raise CostError(f"rates {source}: {', '.join(bad[:3])} must be at least 0 and finite")
    return rates


def label(operation: Operation) -> str:
    """Path of the layer; from a module's second operation on, with its place: "blocks.0.mixer.branch (2)"."""
    return operation.path if operation.index == 0 else f"{operation.path} ({operation.index + 1})"


def at(operations: Iterable[Operation], rates: Mapping[str, float]) -> tuple[Operation, ...]:
    """Each operation as busy as the longest path says that it lies under.

    A product that has no rate of its own takes those of its operands as independent: the square of the rate between
    spikes, and the rate itself between spikes and sums of spikes, which are taken as never 0: an upper bound.

    Args:
        operations: of one image, by shapes alone (`static_operations`).

    Raises:
        CostError: a layer that reads spikes and has no rate, or a path that no layer has.
    """
    known = tuple(operations)
    _check_paths([label(op) for op in known], rates)
    missing = [label(op) for op in known if not op.is_real and _rate(op, rates) is None]
    if missing:
        more = " and more" * (len(missing) > 3)
        raise CostError(f"rates lack {', '.join(missing[:3])}{more}. Add them, or give one number for all layers")
    return tuple(_busy(op, rates) for op in known)


def _check_paths(labels: list[str], rates: Mapping[str, float]) -> None:
    for path in rates:
        if path and not any(_lies_under(name, path) for name in labels):
            raise CostError(f'rates name "{path}", but the network has no such layer. {nearest(path, labels)}')


def _lies_under(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(f"{path}.") or name.startswith(f"{path} (")


def _rate(op: Operation, rates: Mapping[str, float]) -> float | None:
    above = [path for path in rates if _lies_under(label(op), path)]
    return rates[max(above, key=len)] if above else None


def _busy(op: Operation, rates: Mapping[str, float]) -> Operation:
    if op.is_real:
        return dataclasses.replace(op, nonzero=op.valid)
    rate = _rate(op, rates) or 0.0
    if op.kind != "product":
        nonzero, events = round(min(rate, 1.0) * op.valid), round(rate * op.valid)
        return dataclasses.replace(
            op, spikes=round(rate * op.values), nonzero=nonzero, multiplicity=events, events=events
        )
    share = rate if label(op) in rates else rate ** _independent(op)
    met = round(min(share, 1.0) * op.valid)
    return dataclasses.replace(op, nonzero=met, multiplicity=met, events=met)


def _independent(op: Operation) -> int:
    """How many of a product's operands are spikes with a rate of their own."""
    return max(1, sum(operand.is_unit for operand in op.operands))


__all__ = ["Rates", "at", "label", "read"]
