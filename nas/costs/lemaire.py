"""Memory by Lemaire et al., "An Analytical Estimation of Spiking Neural Networks Energy Efficiency", ICONIP 2022.

An event-driven accelerator: a spike waits in a queue, and for each spike the weights that it meets are read and the
membranes behind them updated in place. With s the spikes that a layer is fed over all T steps, k the taps of its
kernel (1 of a linear layer), c its output channels in a group, N its outputs of a step, and o the spikes that a layer
of neurons sends, the accesses are (numbers of equations are those of the paper)

    inputs      s reads of the queue (5)
    weights     s c k reads of a memory of the layer's weights (7, 8)
    biases      N T reads of a memory of the biases, where there are any
    potentials  s c k + N T reads, and as many writes, of a memory of N potentials (9, 10, 14, 15)
    outputs     o writes into a queue (13)
    addressing  s k additions and 2 s multiplications with an addition of a convolution; of a linear layer one addition
                for each output and each spike of a mean input (16, 17; `docs/costs.md` says how the paper differs)

An event of a camera is a spike that a layer is fed. A layer that is fed real numbers counts those that are not zero, in
a single step for inputs, weights and addressing and in all steps for potentials. Padding is not left out: a spike at
the border counts all taps. Everything is 32 bits wide. Arithmetic other than addressing is not here: a convention
counts it.
"""

import math
from abc import abstractmethod
from typing import ClassVar

from nas.costs.accesses import Accesses, Counts, MemoryModel, steps_of
from nas.costs.operations import Operation

_WIDTH = 32  # bits of a datum
QUEUE = 1000  # data in a queue of inputs or outputs; the paper leaves it open, SpikingJelly's port takes as many
_ADD_PJ, _MULTIPLY_PJ = 0.1, 3.1  # of 32-bit integers at 45 nm: Horowitz, ISSCC 2014
_MAC_PJ = _ADD_PJ + _MULTIPLY_PJ


class _Lemaire(MemoryModel):
    """The counts of accesses; what an access costs is left to a class below."""

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def datum_pj(self, data: int, bits: int = _WIDTH) -> float:
        """Energy of a read or a write of one datum in a memory of so many, in picojoules."""

    def layer(self, op: Operation, counts: Counts) -> Accesses:
        """Accesses of a convolution or linear layer; the model knows no others."""
        if op.kind != "weight":
            return Accesses()
        outputs, taps = math.prod(op.geometry["output"]), math.prod(op.geometry.get("kernel", [1]))
        results = op.results * op.repeats
        spikes, steps = _fed(op) * op.repeats, steps_of(op, counts)
        at_once = spikes / steps if op.is_real else spikes
        fan_out = _channels(op) * taps
        return Accesses(
            inputs=at_once * self.datum_pj(QUEUE),
            weights=at_once * fan_out * self.datum_pj(op.weights),
            biases=results * self.datum_pj(op.geometry["output"][0]) if op.biases else 0.0,
            potentials=2 * (spikes * fan_out + results) * self.datum_pj(outputs),
            addressing=_addressing_pj(op, at_once, taps),
        )

    def neurons(self, counts: Counts) -> dict[str, Accesses]:
        """Each spike is written once."""
        return {path: Accesses(outputs=layer.spikes * self.datum_pj(QUEUE)) for path, layer in counts.fired.items()}

    def dense(self, op: Operation, counts: Counts, bits: int) -> Accesses:
        """A weight is read for each multiplication, each output is written once, and there are no potentials.

        A convolution reads an input for each multiplication, a linear layer reads it once.
        """
        if op.kind != "weight":
            return Accesses()
        shape, outputs = op.geometry, math.prod(op.geometry["output"])
        runs = op.results * op.repeats / steps_of(op, counts) / outputs
        macs, fed = op.dense / op.results * outputs, math.prod(shape["input"])
        taps = math.prod(shape.get("kernel", [1]))
        additions = fed + outputs + shape["output"][0] * taps if "kernel" in shape else fed * outputs
        once = Accesses(
            inputs=(macs if "kernel" in shape else fed) * self.datum_pj(fed, bits),
            weights=macs * self.datum_pj(op.weights),
            biases=outputs * self.datum_pj(shape["output"][0]) if op.biases else 0.0,
            outputs=outputs * self.datum_pj(outputs, bits),
            addressing=additions * _ADD_PJ,
        )
        return once.times(runs)


def _fed(op: Operation) -> float:
    """Spikes, or real numbers that are not zero, over all images and computed steps.

    Of real numbers a record holds how many pairs are not zero. In a linear layer each number meets all outputs, which
    tells exactly; in a convolution it meets as many as a mean one.
    """
    return op.values * op.nonzero / op.valid if op.is_real else op.spikes


def _channels(op: Operation) -> int:
    """Output channels that an input meets: those of its group."""
    inputs, outputs, taps = op.geometry["input"][0], op.geometry["output"][0], op.geometry.get("kernel", [1])
    groups = inputs * outputs * math.prod(taps) // op.weights
    return outputs // groups


def _addressing_pj(op: Operation, spikes: float, taps: int) -> float:
    if "kernel" in op.geometry:
        return spikes * (taps * _ADD_PJ + 2 * _MAC_PJ)
    return spikes / op.geometry["input"][0] * op.geometry["output"][0] * _ADD_PJ


class Lemaire2022(_Lemaire):
    """Memories whose accesses cost more the larger they are, one access a datum."""

    name = "lemaire2022"
    summary = (
        "Lemaire et al. (ICONIP 2022): 32-bit data, one access a datum, 13.2 pJ and 1.09e-5 pJ more for each bit of "
        "the memory (a line through Horowitz's caches), queues of 1,000 data"
    )

    def datum_pj(self, data: int, bits: int = _WIDTH) -> float:
        """A regression over Horowitz's 8 KB, 32 KB and 1 MB, as the authors' code has it."""
        return 1.09e-5 * data * bits + 13.2


class Lemaire64bit(_Lemaire):
    """Memories of blocks with a bus of 64 bits, whatever their size."""

    name = "lemaire_64bit"
    summary = (
        "the accesses of Lemaire et al. in blocks of 8 KB: 10 pJ for 64 bits, so 5 pJ for a 32-bit datum, whatever the "
        "size of the memory (qualia-plugin-snn 2.6.0)"
    )

    def datum_pj(self, data: int, bits: int = _WIDTH) -> float:
        """As many data as fit share an access."""
        return 10 / (64 // bits)


__all__ = ["QUEUE", "Lemaire64bit", "Lemaire2022"]
