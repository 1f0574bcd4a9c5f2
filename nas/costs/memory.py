"""An estimate of memory accesses: a line of its own, on request, and never summed into the headline.

By Horowitz, "Computing's Energy Problem", ISSCC 2014, 45 nm: an access to a cache of 8 KB costs 10 pJ, of 32 KB 20 pJ,
of 1 MB 100 pJ. An access there is 64 bit wide. Here a 32-bit word costs half an access; who reads the figures as those
of a word gets twice as much.

    weights    one word is read for each event and for each multiplication of a real number with a weight, from a memory
               of the size of the layer's weights
    membranes  one word is read and one written for each neuron update, in a memory that holds all membranes
    spikes     one word is written and one read for each spike that a layer is fed, in a memory of one bit for each
               number that the layer is fed

Between the three sizes energy is interpolated, both on logarithms (it grows about as the square root of the size).
Smaller memories cost as much as 8 KB, larger ones as much as 1 MB: nothing lies outside the chip. Left out: products
inside attention, numbers that are real, additions of the residual stream, every kind of reuse.
"""

import math
from collections.abc import Iterable

from nas.costs.operations import Operation, Overheads
from nas.errors import CostError

_ACCESS_PJ = {8 * 1024: 10.0, 32 * 1024: 20.0, 1024 * 1024: 100.0}  # by size in bytes
_WORD = 0.5  # of a 64-bit access
_BYTES = 4  # of a weight, of a membrane
MODEL = "Horowitz's 45 nm caches, half a 64-bit access for a 32-bit word"


def memory_mj(operations: Iterable[Operation], overheads: Overheads, images: int, time_steps: int) -> float:
    """Accesses of one image in millijoules, by the model above.

    Args:
        operations: counted over `images` images.
        overheads: tallied over the same images.
        time_steps: T of the network.

    Raises:
        CostError: nothing was counted.
    """
    layers = [_layer_pj(op) for op in operations]
    if not layers or images < 1:
        raise CostError("memory accesses need counted operations. Measure the network first")
    membranes = overheads.neuron_updates / (images * time_steps)
    updates_pj = 2 * overheads.neuron_updates * word_pj(_BYTES * membranes)
    return (math.fsum(layers) + updates_pj) / images * 1e-9


def word_pj(size: float) -> float:
    """Of one 32-bit word in a memory of `size` bytes, in picojoules."""
    sizes = list(_ACCESS_PJ)
    size = min(max(size, sizes[0]), sizes[-1])
    above = next(i for i in range(1, len(sizes)) if size <= sizes[i])
    low, high = sizes[above - 1], sizes[above]
    share = math.log(size / low) / math.log(high / low)
    return _WORD * _ACCESS_PJ[low] * math.pow(_ACCESS_PJ[high] / _ACCESS_PJ[low], share)


def _layer_pj(op: Operation) -> float:
    """Weights and spikes of one operation, over all images."""
    if op.kind == "product":
        return 0.0
    reads = (op.nonzero if op.is_real else op.events) if op.kind == "weight" else 0
    fed = math.prod(op.geometry["input"])
    return reads * word_pj(_BYTES * op.weights) + 2 * op.spikes * word_pj(fed / 8)


__all__ = ["MODEL", "memory_mj", "word_pj"]
