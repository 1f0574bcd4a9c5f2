"""What a network must keep to be of use: sizes that its config tells, accuracy and energy that training tells."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from nas.costs import multiplications, static_model, static_operations
from nas.settings import Constraints
from nas.training import Candidate, EnergyOf
from spikformer.config import SpikformerConfig


def of_size(config: SpikformerConfig, constraints: Constraints) -> dict[str, float]:
    """By how much a config exceeds each limit that needs no training, as a share of it; 0 or less is kept.

    Multiplications take longer to count than parameters: they are not where the parameters are too many.
    """
    found: dict[str, float] = {}
    if constraints.max_params is not None:
        parameters = sum(p.numel() for p in static_model(config).parameters())
        found["max_params"] = parameters / constraints.max_params - 1
    if constraints.max_macs is not None and found.get("max_params", 0) <= 0:
        found["max_macs"] = multiplications(static_operations(config)) / constraints.max_macs - 1
    return found


def of_training(candidate: Candidate, constraints: Constraints, energy_of: EnergyOf) -> dict[str, float]:
    """By how much a trained candidate misses each other limit; 0 or less is kept."""
    found: dict[str, float] = {}
    if constraints.max_energy_mj is not None:
        found["max_energy_mj"] = (candidate.ranked_mj(energy_of) or math.inf) / constraints.max_energy_mj - 1
    if constraints.min_accuracy is not None:
        found["min_accuracy"] = constraints.min_accuracy - (candidate.search_val_accuracy or 0.0)
    return found


def broken(candidate: Candidate, constraints: Constraints, energy_of: EnergyOf) -> list[str]:
    """Names of the limits that a complete candidate does not keep."""
    sizes = {"parameters": candidate.parameters, "dense_macs": candidate.dense_macs}
    return of_record(sizes, constraints) + [
        name for name, excess in of_training(candidate, constraints, energy_of).items() if excess > 0
    ]


def of_record(record: Mapping[str, Any], constraints: Constraints) -> list[str]:
    """Names of the limits on size that a candidate, as plain values, does not keep."""
    limits = {
        "max_params": (record["parameters"], constraints.max_params),
        "max_macs": (record["dense_macs"] or 0, constraints.max_macs),
    }
    return [name for name, (size, limit) in limits.items() if limit is not None and size > limit]


def in_words(constraints: Constraints) -> str:
    """ "max_params 16000000, min_accuracy 0.9"; empty without any."""
    given = {name: limit for name, limit in dataclasses.asdict(constraints).items() if limit is not None}
    return ", ".join(f"{name} {limit:g}" if limit < 1e6 else f"{name} {limit:,.0f}" for name, limit in given.items())


__all__ = ["broken", "in_words", "of_record", "of_size", "of_training"]
