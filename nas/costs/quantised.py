"""A spiking network against the quantised network of the same layers: below which firing rate it costs less.

The counterpart (`nas.costs.counterpart`) has one time step and activations of ceil(log2(T + 1)) bits. It runs each
layer once, at full density: it multiplies every input that spikes feed here, and skips no zero. Layers that are fed
real numbers multiply the same in both. A network that is fed frames of events has no counterpart.

The cost of a spiking network is a line over its firing rates where all of them change by one factor:

    cost(r) = fixed + (cost - fixed) r / rate

`fixed` is what it costs when no neuron fires, and `rate` the mean number of spikes per input of a weight, each input
weighed by the work that it may cause. The line meets the counterpart's cost at

    break_even = rate (counterpart - fixed) / (cost - fixed)

With one price for an accumulate, one for a multiplication and nothing else, this is pj_per_mac / (pj_per_ac T).
Products of two activations are taken to be lines, too, although they grow with the square of the rates.
"""

import dataclasses
import math
from dataclasses import dataclass

from nas.costs import energy
from nas.costs.accesses import Counts, MemoryModel, steps_of
from nas.costs.counterpart import ann_counterpart, bits
from nas.costs.energy import MEASURED, Convention
from nas.costs.operations import Operation, reads_counts
from spikformer.errors import ConfigError
from spikformer.operands import REAL


@dataclass(frozen=True)
class BreakEven:
    """A network, its counterpart, and where their costs are equal. Energies are of one image, in millijoules.

    Attributes:
        by: what is compared: a convention, or a convention and a model of memory.
        bits: width of the counterpart's activations.
        rate: mean number of spikes per input of a weight.
        energy_mj: of the spiking network.
        fixed_mj: of the same if no neuron fired.
        counterpart_mj: of the quantised network.
    """

    by: str
    bits: int
    rate: float
    energy_mj: float
    fixed_mj: float
    counterpart_mj: float

    @property
    def break_even(self) -> float:
        """The rate below which the spiking network costs less; 0 where it costs more even if no neuron fires."""
        moving_mj = self.energy_mj - self.fixed_mj
        if moving_mj <= 0:
            return math.inf if self.fixed_mj < self.counterpart_mj else 0.0
        return max(0.0, self.rate * (self.counterpart_mj - self.fixed_mj) / moving_mj)

    @property
    def pays(self) -> bool:
        """Whether the spiking network costs less than its counterpart."""
        return self.energy_mj < self.counterpart_mj

    def to_dict(self) -> dict[str, object]:
        """Plain values; a rate that has no bound is None."""
        rate = self.break_even
        return dataclasses.asdict(self) | {"break_even": rate if math.isfinite(rate) else None, "pays": self.pays}

    def line(self) -> str:
        """The comparison in a sentence."""
        ratio = self.energy_mj / self.counterpart_mj
        return (
            f"Against its counterpart of {self.bits} bit{'s' * (self.bits > 1)}, by {self.by}: {ratio:.2f} times its "
            f"energy. {self._verdict()}"
        )

    def _verdict(self) -> str:
        if self.break_even == 0:
            return "This network pays at no firing rate."
        if math.isinf(self.break_even):
            return "This network pays at any firing rate."
        return (
            f"This network pays below a mean of {self.break_even:.3g} spikes per input of a weight; it has "
            f"{self.rate:.3g}."
        )


def compare(counts: Counts, convention: Convention = MEASURED, memory: MemoryModel | None = None) -> BreakEven:
    """A network against its quantised counterpart, by arithmetic, and with memory where a model of it is given.

    Raises:
        ConfigError: the network has no counterpart.
        CostError: nothing was counted.
    """
    ann_counterpart(counts.config)
    if reads_counts(counts.operations):
        raise ConfigError(
            "a network that is fed frames of events has no quantised counterpart: it is fed other events at each step, "
            "and a network without time steps would be fed other data"
        )
    width, silent = bits(counts.time_steps), counts.silent()
    energy_mj, fixed_mj = (_energy_mj(each, convention, memory) for each in (counts, silent))
    once = [_dense(op, steps_of(op, counts)) for op in counts.operations]
    counterpart_mj = energy.price(once, counts.images, convention).energy_mj
    if memory is not None:
        counterpart_mj += memory.price_counterpart(counts, width).energy_mj
    by = convention.label if memory is None else f"{convention.label} and memory {memory.name}"
    return BreakEven(by, width, _rate(counts), energy_mj, fixed_mj, counterpart_mj)


def _energy_mj(counts: Counts, convention: Convention, memory: MemoryModel | None) -> float:
    priced = energy.price(counts.operations, counts.images, convention)
    return priced.energy_mj + (memory.price(counts).energy_mj if memory is not None else 0.0)


def _dense(op: Operation, steps: int) -> Operation:
    """The operation in one step: real numbers, none of them zero unless they were real and zero here."""
    dense, valid, values, biases = (n * op.repeats // steps for n in (op.dense, op.valid, op.values, op.biases))
    met = op.nonzero * op.repeats // steps if op.is_real else valid
    spikes, events = (values, valid) if op.kind == "sum" else (0, 0)
    return dataclasses.replace(
        op,
        operands=op.operands if op.kind == "sum" else tuple(REAL for _ in op.operands),
        repeats=1,
        dense=dense,
        valid=valid,
        values=values,
        biases=biases,
        spikes=spikes,
        nonzero=met,
        multiplicity=events,
        events=events,
    )


def _rate(counts: Counts) -> float:
    """Spikes per input of a weight, over the work that each may cause."""
    fed = [op for op in counts.operations if op.kind == "weight" and not op.is_real]
    valid = sum(op.valid for op in fed)
    return sum(op.events for op in fed) / valid if valid else 0.0


__all__ = ["BreakEven", "compare"]
