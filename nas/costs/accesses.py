"""Accesses to memory as terms of an energy, and what a model of memory reads: the counts of a network.

A model of memory is a class of its own, beside this one: `horowitz`, `lemaire` and `step`. Each says what every layer
reads and writes, and what an access costs; `MemoryModel.price` makes terms of one image of it.
"""

import dataclasses
import functools
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from nas.costs import rates
from nas.costs.operations import Activity, Operation, Overheads, reads_counts
from nas.errors import CostError
from spikformer.config import SpikformerConfig

NEURONS = "neurons"
"""The row of all neurons together, where updates are not known layer by layer."""


@dataclass(frozen=True)
class Accesses:
    """Energy of memory accesses by what is accessed: picojoules of all images in a model, millijoules of one behind it.

    Attributes:
        inputs: reads of the numbers or spikes that a layer is fed.
        weights: reads of weights.
        biases: reads of biases.
        potentials: reads and writes of membrane potentials and of partial sums.
        outputs: writes of the spikes that neurons send, or of the numbers of a layer without spikes.
        addressing: arithmetic that finds the address of a weight or a membrane.
    """

    inputs: float = 0.0
    weights: float = 0.0
    biases: float = 0.0
    potentials: float = 0.0
    outputs: float = 0.0
    addressing: float = 0.0

    @property
    def total(self) -> float:
        """The sum of all terms."""
        return math.fsum(self.terms.values())

    @property
    def terms(self) -> dict[str, float]:
        """Each term by its name, in the order in which tables show them."""
        return {name: getattr(self, name) for name in TERMS}

    def __add__(self, other: "Accesses") -> "Accesses":
        return Accesses(*map(operator.add, self.terms.values(), other.terms.values()))

    def times(self, factor: float) -> "Accesses":
        """All terms, so many times."""
        return Accesses(*(factor * value for value in self.terms.values()))


TERMS = tuple(field.name for field in dataclasses.fields(Accesses))


def memory_columns(accesses: Accesses | None) -> dict[str, float | None]:
    """Columns of a table, in millijoules: all accesses, and each term; None where there was nothing to price."""
    names = ("memory_mj", *(f"memory_{name}_mj" for name in TERMS))
    if accesses is None:
        return dict.fromkeys(names)
    return dict(zip(names, (accesses.total, *accesses.terms.values()), strict=True))


@dataclass(frozen=True)
class Fired:
    """What a layer of neurons did, over all images and time steps.

    Attributes:
        updates: membranes moved on by a step.
        spikes: spikes sent.
    """

    updates: int
    spikes: int

    @classmethod
    def of(cls, activity: Activity) -> "Fired":
        """The same, without time steps."""
        return cls(activity.neurons * len(activity.spikes), sum(activity.spikes))


@dataclass(frozen=True)
class Counts:
    """What was counted of a network: all that a cost model may read.

    Attributes:
        operations, overheads, images: as a record holds them; whole numbers over all images.
        fired: the neuron layers by module path.
    """

    config: SpikformerConfig
    operations: tuple[Operation, ...]
    overheads: Overheads
    images: int
    fired: Mapping[str, Fired]

    @property
    def time_steps(self) -> int:
        """T of the network."""
        return self.config.time_steps

    @property
    def knows_layers(self) -> bool:
        """Whether the updates by layer are all updates: neurons that see no image update once and for all."""
        return sum(layer.updates for layer in self.fired.values()) == self.overheads.neuron_updates

    def silent(self) -> "Counts":
        """The same network as if no neuron fired: what it costs does not depend on spikes.

        Events of a camera are no spikes of a neuron: what adds them up costs the same.
        """
        read = 1 if reads_counts(self.operations) else 0
        fed = (op if op.is_real else _silent(op) for op in self.operations[read:])
        return dataclasses.replace(
            self,
            operations=(*self.operations[:read], *fed),
            fired={path: Fired(layer.updates, 0) for path, layer in self.fired.items()},
        )


def _silent(op: Operation) -> Operation:
    return dataclasses.replace(op, spikes=0, nonzero=0, multiplicity=0, events=0)


@dataclass(frozen=True)
class MemoryEnergy:
    """Memory accesses of one image by a model.

    Attributes:
        layers: terms in millijoules by the label of each operation (`nas.costs.rates`) and the path of each layer of
            neurons.
    """

    model: str
    layers: dict[str, Accesses]

    @property
    def total(self) -> Accesses:
        """Terms of the whole network, in millijoules."""
        return functools.reduce(operator.add, self.layers.values(), Accesses())

    @property
    def energy_mj(self) -> float:
        """All accesses together, in millijoules."""
        return self.total.total


class MemoryModel(ABC):
    """Which accesses a network makes, and what each costs. A line of its own, never summed into an arithmetic energy.

    Attributes:
        name: under which options name it.
        summary: widths, buffers and accesses per datum, in a sentence, with the source.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def layer(self, op: Operation, counts: Counts) -> Accesses:
        """Accesses of one of the counted operations over all images, in picojoules."""

    @abstractmethod
    def neurons(self, counts: Counts) -> dict[str, Accesses]:
        """Accesses of the neurons over all images, in picojoules, by module path."""

    @abstractmethod
    def dense(self, op: Operation, counts: Counts, bits: int) -> Accesses:
        """Accesses of the same layer in a network without time and spikes, over all images, in picojoules.

        Args:
            bits: width of its activations.
        """

    def price(self, counts: Counts) -> MemoryEnergy:
        """Accesses of one image.

        Raises:
            CostError: nothing was counted.
        """
        _check(counts)
        of_layers = ((rates.label(op), self.layer(op, counts)) for op in counts.operations)
        return self._of_image(counts, [*of_layers, *self.neurons(counts).items()])

    def price_counterpart(self, counts: Counts, bits: int) -> MemoryEnergy:
        """Accesses of one image in the network of the same layers without time steps and without spikes.

        Raises:
            CostError: nothing was counted.
        """
        _check(counts)
        return self._of_image(counts, ((rates.label(op), self.dense(op, counts, bits)) for op in counts.operations))

    def _of_image(self, counts: Counts, rows: Iterable[tuple[str, Accesses]]) -> MemoryEnergy:
        layers: dict[str, Accesses] = {}
        for path, accesses in rows:
            layers[path] = layers.get(path, Accesses()) + accesses.times(1e-9 / counts.images)
        return MemoryEnergy(self.name, layers)


def _check(counts: Counts) -> None:
    if not counts.operations or counts.images < 1:
        raise CostError("memory accesses need counted operations. Measure the network first")


def steps_of(op: Operation, counts: Counts) -> int:
    """For how many time steps an operation has results: T, or 1 behind the mean over time.

    What is computed once for a static image stands for T steps.
    """
    outputs = 1 if op.kind == "product" else math.prod(op.geometry["output"])
    of_an_image = op.results * op.repeats // (outputs * counts.images)
    return counts.time_steps if of_an_image % counts.time_steps == 0 else 1


__all__ = [
    "NEURONS",
    "TERMS",
    "Accesses",
    "Counts",
    "Fired",
    "MemoryEnergy",
    "MemoryModel",
    "memory_columns",
    "steps_of",
]
