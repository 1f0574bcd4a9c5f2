"""Operations of a network as whole numbers, which `nas.costs.energy` and its neighbours price."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from spikformer.fields import PlainTable
from spikformer.operands import Operand

Kind = Literal["weight", "product", "sum"]


@dataclass(frozen=True)
class Operation:
    """Whole numbers of one operation, summed over all images and computed time steps.

    Attributes:
        path: path of the module that runs it, such as "blocks.0.mlp.expand.conv.conv".
        index: place among the counted operations of that module's forward.
        kind: "weight", activations with weights; "product", activations with activations; "sum", of spikes.
        operands: declared class of each activation.
        geometry: shapes without the batch, for conventions that need them.
        repeats: time steps that one computed result stands for (T in the first convolution of a static image).
        calls: how often it ran.
        dense: multiplications if nothing were zero, padding included; additions for a sum.
        valid: `dense` without those that fall on padding.
        biases: additions of a bias.
        values: numbers that meet weights or are summed; 0 for a product.
        spikes: how many spikes they stand for (0 for real operands): spikes / values is their mean.
        nonzero: pairs in which no activation is zero; addends that are not zero.
        multiplicity: the same with v spikes in a number counted v times (0 for real operands).
        events: additions that spikes cause (0 for real operands). With a weight or in a sum, `multiplicity`;
            in a product with a factor of 0 and one spike, `nonzero`; of two counts, the smaller one a pair.
    """

    path: str
    index: int
    kind: Kind
    operands: tuple[Operand, ...]
    geometry: dict[str, list[int]]
    repeats: int
    calls: int
    dense: int
    valid: int
    biases: int
    values: int
    spikes: int
    nonzero: int
    multiplicity: int
    events: int

    @property
    def is_real(self) -> bool:
        """Whether real numbers are multiplied: no operand is made of spikes."""
        return all(operand.kind == "real" for operand in self.operands)

    @property
    def results(self) -> int:
        """Numbers it computed, over all images and computed time steps."""
        if self.kind == "product":
            return self.dense // self.geometry["left"][1]
        return self.values * math.prod(self.geometry["output"]) // math.prod(self.geometry["input"])

    @property
    def weights(self) -> int:
        """Distinct weights that it holds, without biases; 0 for a product or a sum."""
        if self.kind != "weight":
            return 0
        return self.geometry["output"][0] * self.dense // self.results  # outputs x fan-in of each

    @classmethod
    def from_dict(cls, values: PlainTable) -> Self:
        """As `dataclasses.asdict` gives them; the caller checks the types of untrusted ones.

        Raises:
            TypeError: a field is missing, or there is no such field.
        """
        if values.keys() != _FIELDS:
            raise TypeError(
                f"an operation must have exactly the fields {', '.join(_FIELDS)}, but this one has {', '.join(values)}"
            )
        operation = object.__new__(cls)  # a study has a hundred thousand: a frozen class sets each field by a call
        operation.__dict__.update(values, operands=tuple(itertools.starmap(_operand, values["operands"])))
        return operation


_FIELDS = dict.fromkeys(field.name for field in dataclasses.fields(Operation)).keys()


@functools.cache
def _operand(kind: Literal["binary", "ternary", "count", "signed", "real"], quantum: float) -> Operand:
    return Operand(kind, quantum)


@dataclass
class Overheads:
    """What the headline leaves out, over all images and time steps.

    Attributes:
        neuron_updates: membranes moved on by a step.
        residual_additions: numbers added to, or deleted from, the residual stream.
        pool_comparisons: of max pools, and in blocks of the user's own of all that compares or selects.
    """

    neuron_updates: int = 0
    residual_additions: int = 0
    pool_comparisons: int = 0


@dataclass(frozen=True)
class Activity:
    """How often the neurons of a layer fired at each time step, over all images.

    Attributes:
        neurons: of the layer, times the images: the most that a step can have where a neuron fires once at most.
        spikes: at each time step; of a ternary neuron those of either sign.
    """

    neurons: int
    spikes: tuple[int, ...]

    @property
    def rates(self) -> tuple[float, ...]:
        """Spikes per neuron at each time step."""
        return tuple(spikes / self.neurons for spikes in self.spikes)

    @classmethod
    def from_dict(cls, values: PlainTable) -> Self:
        return cls(values["neurons"], tuple(values["spikes"]))


def multiplications(operations: Iterable[Operation]) -> int:
    """Dense multiplications with an addition, over all time steps, padding included."""
    return sum(op.dense * op.repeats for op in operations if op.kind != "sum")


def reads_counts(operations: Sequence[Operation]) -> bool:
    """Whether the network was fed whole numbers, as frames of events hold: its first operation reads its input."""
    return bool(operations) and operations[0].operands[0].kind == "count"


@dataclass(frozen=True)
class Part:
    """A module and what it holds, per image over all time steps.

    Attributes:
        path: path of the module; "" is the whole network.
        kind: class of the module.
        parameters: number of its own and its children's parameters.
        dense_macs: MACs with padding included, as if nothing were zero.
    """

    path: str
    kind: str
    parameters: int
    dense_macs: int


def as_dicts(operations: Iterable[Operation]) -> list[PlainTable]:
    """Operations as plain values, for a record."""
    return [
        dataclasses.asdict(op) | {"operands": [[operand.kind, operand.quantum] for operand in op.operands]}
        for op in operations
    ]


__all__ = ["Activity", "Kind", "Operation", "Overheads", "Part", "as_dicts", "multiplications", "reads_counts"]
