"""What a model of a chip states and answers; `nas.costs.chip` finds one by its name.

A model that comes with the project is a class of its own beside this one. It states cores, neurons and synapses a core,
fan-in, weight bits, prices, what the chip cannot do, where its figures come from and what it was checked against.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from nas.costs.accesses import Counts
from nas.costs.operations import Operation


@dataclass(frozen=True)
class ChipCosts:
    """Costs of one image on a chip. None where the model does not say.

    Attributes:
        energy_mj: energy in millijoules.
        latency_ms: latency in milliseconds.
        fits: whether the network fits on the chip.
        note: what a reader should know of these figures, or why the network does not fit.
    """

    energy_mj: float | None
    latency_ms: float | None
    fits: bool | None
    note: str = ""


class ChipModel(ABC):
    """Energy, latency and fit of a network, from its counts.

    Attributes:
        name: under which options name it.
        summary: what it is, in a line.
        source: where its figures come from.
        checked: what it was checked against, and how close it came.
        cannot: what the chip cannot do, and how the model counts that.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    checked: ClassVar[str]
    cannot: ClassVar[str]

    @abstractmethod
    def price(self, counts: Counts) -> ChipCosts:
        """Costs of one image."""

    @abstractmethod
    def misfit(self, counts: Counts) -> str | None:
        """Why a network does not fit, such as "LAYER needs ...", from shapes alone; None where it fits."""


def synaptic(op: Operation) -> int:
    """Synaptic operations over all images: events, and real numbers that are not zero and meet a weight."""
    return op.nonzero if op.is_real else op.events


def results_of(op: Operation, steps: int) -> float:
    """Results of a mean time step; what is computed once for a static image takes its place at every step.

    Args:
        steps: images times time steps.
    """
    return op.results * op.repeats / steps


__all__ = ["ChipCosts", "ChipModel", "results_of", "synaptic"]
