"""Constraint violations: by sizes, which a config tells, and by accuracy and energy, which a training tells."""

import dataclasses
import math
from collections.abc import Mapping

from nas.settings import Constraints
from nas.training import Candidate, EnergyOf
from spikformer.config import SpikformerConfig


def size_violations(config: SpikformerConfig, constraints: Constraints) -> dict[str, float]:
    """The violation of each limit that needs no training, as a share of the limit; 0 or less is feasible.

    Multiplications take longer to count than parameters, so they are not counted where the parameters are too many.
    """
    from nas.costs import multiplications, static_model, static_operations  # torch, only now

    violations: dict[str, float] = {}
    if constraints.max_params is not None:
        parameters = sum(p.numel() for p in static_model(config).parameters())
        violations["max_params"] = parameters / constraints.max_params - 1
    if constraints.max_macs is not None and is_feasible(violations):
        violations["max_macs"] = multiplications(static_operations(config)) / constraints.max_macs - 1
    return violations


def training_violations(candidate: Candidate, constraints: Constraints, energy_of: EnergyOf) -> dict[str, float]:
    """The violation of each other limit by a trained candidate; 0 or less is feasible."""
    violations: dict[str, float] = {}
    if constraints.max_energy_mj is not None:
        violations["max_energy_mj"] = (candidate.ranked_mj(energy_of) or math.inf) / constraints.max_energy_mj - 1
    if constraints.min_accuracy is not None:
        violations["min_accuracy"] = constraints.min_accuracy - (candidate.search_val_accuracy or 0.0)
    return violations


def is_feasible(violations: Mapping[str, float]) -> bool:
    """Whether no limit is violated."""
    return not violated(violations)


def violated(violations: Mapping[str, float]) -> list[str]:
    """Names of the limits that are violated."""
    return [name for name, violation in violations.items() if violation > 0]


def broken(candidate: Candidate, constraints: Constraints, energy_of: EnergyOf) -> list[str]:
    """Names of the limits that a complete candidate violates."""
    return broken_by_size(candidate, constraints) + violated(training_violations(candidate, constraints, energy_of))


def broken_by_size(candidate: Candidate, constraints: Constraints) -> list[str]:
    """Names of the limits on size that a candidate violates, by the sizes in its record."""
    sizes = {
        "max_params": (candidate.parameters, constraints.max_params),
        "max_macs": (candidate.dense_macs or 0, constraints.max_macs),
    }
    return violated({name: size / limit - 1 for name, (size, limit) in sizes.items() if limit is not None})


def in_words(constraints: Constraints) -> str:
    """ "max_params 16000000, min_accuracy 0.9"; empty without any."""
    limits = {name: limit for name, limit in dataclasses.asdict(constraints).items() if limit is not None}
    return ", ".join(f"{name} {limit:g}" if limit < 1e6 else f"{name} {limit:,.0f}" for name, limit in limits.items())


__all__ = [
    "broken",
    "broken_by_size",
    "in_words",
    "is_feasible",
    "size_violations",
    "training_violations",
    "violated",
]
