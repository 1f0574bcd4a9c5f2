"""Memory as caches of three sizes, by Horowitz, "Computing's Energy Problem", ISSCC 2014, 45 nm.

An access to a cache of 8 KB costs 10 pJ, of 32 KB 20 pJ, of 1 MB 100 pJ. An access there is 64 bit wide, so here a
32-bit word costs half an access; who reads the figures as those of a word gets twice as much.

    weights     one word is read for each event and for each multiplication of a real number with a weight, from a
                memory of the size of the layer's weights
    potentials  one word is read and one written for each neuron update, in a memory that holds all membranes
    outputs     one word is written for each spike that a layer is fed, in a memory of one bit for each number that
                the layer is fed
    inputs      and one word is read there

Counts of a camera's events are fed as spikes: a word is written and read for each event.

Between the three sizes energy is interpolated, both on logarithms (it grows about as the square root of the size).
Smaller memories cost as much as 8 KB, larger ones as much as 1 MB: nothing lies outside the chip. Left out: products
inside attention, numbers that are real, additions of the residual stream, biases, addressing, every kind of reuse.
"""

import math

from nas.costs.accesses import NEURONS, Accesses, Counts, MemoryModel, steps_of
from nas.costs.operations import Operation

_ACCESS_PJ = {8 * 1024: 10.0, 32 * 1024: 20.0, 1024 * 1024: 100.0}  # by size in bytes
_WORD = 0.5  # of a 64-bit access
_BITS = 32  # of a word
_BYTES = 4  # of a weight, of a membrane


class Horowitz64(MemoryModel):
    """Horowitz's caches, with an access of 64 bits."""

    name = "horowitz64"
    summary = (
        "Horowitz's 45 nm caches (ISSCC 2014), half a 64-bit access for a 32-bit word: a weight is read for each "
        "event, a membrane read and written for each update, a spike written and read once"
    )

    def layer(self, op: Operation, counts: Counts) -> Accesses:
        """A word for each event, from the layer's weights; a word for each spike, from a bitmap of its inputs."""
        if op.kind == "product":
            return Accesses()
        reads = (op.nonzero if op.is_real else op.events) if op.kind == "weight" else 0
        spikes_pj = op.spikes * word_pj(math.prod(op.geometry["input"]) / 8)
        return Accesses(inputs=spikes_pj, weights=reads * word_pj(_BYTES * op.weights), outputs=spikes_pj)

    def neurons(self, counts: Counts) -> dict[str, Accesses]:
        """A word is read and one written for each update; one memory holds the membranes of all layers."""
        membranes = counts.overheads.neuron_updates / (counts.images * counts.time_steps)
        update_pj = 2 * word_pj(_BYTES * membranes)
        if counts.knows_layers:
            return {path: Accesses(potentials=layer.updates * update_pj) for path, layer in counts.fired.items()}
        return {NEURONS: Accesses(potentials=counts.overheads.neuron_updates * update_pj)}

    def dense(self, op: Operation, counts: Counts, bits: int) -> Accesses:
        """A word for each weight that is multiplied; each number of `bits` bits is written and read once."""
        if op.kind == "product":
            return Accesses()
        steps = steps_of(op, counts)
        reads = op.valid * op.repeats / steps if op.kind == "weight" else 0.0
        size = math.prod(op.geometry["input"]) * bits / 8
        numbers_pj = 0.0 if op.is_real else op.values * op.repeats / steps * bits / _BITS * word_pj(size)
        return Accesses(inputs=numbers_pj, weights=reads * word_pj(_BYTES * op.weights), outputs=numbers_pj)


def word_pj(size: float) -> float:
    """Energy of one 32-bit word in a memory of `size` bytes, in picojoules."""
    sizes = list(_ACCESS_PJ)
    size = min(max(size, sizes[0]), sizes[-1])
    above = next(i for i in range(1, len(sizes)) if size <= sizes[i])
    low, high = sizes[above - 1], sizes[above]
    share = math.log(size / low) / math.log(high / low)
    return _WORD * _ACCESS_PJ[low] * math.pow(_ACCESS_PJ[high] / _ACCESS_PJ[low], share)


__all__ = ["Horowitz64", "word_pj"]
