"""Constraint violations: by sizes, which a config tells, and by accuracy and energy, which a training tells."""

import dataclasses
import math
from collections.abc import Mapping

from nas.costs import Chip, chip
from nas.errors import StudyError
from nas.settings import Constraints
from nas.training import Candidate, EnergyOf
from spikformer.config import SpikformerConfig
from spikformer.fields import nearest


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
    if constraints.fits is not None and is_feasible(violations):
        violations["fits"] = 0.0 if misfit(config, constraints) is None else 1.0
    return violations


def misfit(config: SpikformerConfig, constraints: Constraints) -> str | None:
    """Why a network does not fit on the chip that is asked for, in words; None where it fits, or none is asked for."""
    return None if constraints.fits is None else chip.load(constraints.fits).misfit(config)


def check_chip(constraints: Constraints, energy_of: EnergyOf) -> None:
    """
    Raises:
        StudyError: a limit of latency without a chip, or a chip that does not come with the project.
    """
    if constraints.fits is not None and constraints.fits not in chip.names():
        raise StudyError(
            f'fits "{constraints.fits}" is no chip of this program. {nearest(constraints.fits, chip.names())}'
        )
    if constraints.max_latency_ms is not None and _chip_of(constraints, energy_of) is None:
        raise StudyError(
            f"max_latency_ms {constraints.max_latency_ms:g} needs a chip. Name one by fits (--fits NAME), or rank by "
            "one (--rank-by chip:NAME)"
        )


def _chip_of(constraints: Constraints, energy_of: EnergyOf) -> Chip | None:
    """The chip that tells latencies."""
    ranked_on = energy_of.removeprefix("chip:") if energy_of.startswith("chip:") else None
    name = constraints.fits or ranked_on
    return None if name is None else chip.load(name)


def training_violations(candidate: Candidate, constraints: Constraints, energy_of: EnergyOf) -> dict[str, float]:
    """The violation of each other limit by a trained candidate; 0 or less is feasible."""
    violations: dict[str, float] = {}
    if constraints.max_energy_mj is not None:
        violations["max_energy_mj"] = (candidate.ranked_mj(energy_of) or math.inf) / constraints.max_energy_mj - 1
    if constraints.min_accuracy is not None:
        violations["min_accuracy"] = constraints.min_accuracy - (candidate.search_val_accuracy or 0.0)
    asked = _chip_of(constraints, energy_of)
    if constraints.max_latency_ms is not None and asked is not None:
        latency_ms = asked(candidate.counts).latency_ms
        violations["max_latency_ms"] = (latency_ms or math.inf) / constraints.max_latency_ms - 1
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
    violations = {name: size / limit - 1 for name, (size, limit) in sizes.items() if limit is not None}
    if constraints.fits is not None and misfit(candidate.config, constraints) is not None:
        violations["fits"] = 1.0
    return violated(violations)


def in_words(constraints: Constraints) -> str:
    """ "max_params 16000000, min_accuracy 0.9"; empty without any."""
    limits = {name: limit for name, limit in dataclasses.asdict(constraints).items() if limit is not None}
    return ", ".join(f"{name} {_number(limit)}" for name, limit in limits.items())


def _number(limit: float | str) -> str:
    if isinstance(limit, str):
        return limit
    return f"{limit:g}" if limit < 1e6 else f"{limit:,.0f}"


__all__ = [
    "broken",
    "broken_by_size",
    "check_chip",
    "in_words",
    "is_feasible",
    "misfit",
    "size_violations",
    "training_violations",
    "violated",
]
