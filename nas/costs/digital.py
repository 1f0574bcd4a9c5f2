"""A digital accelerator with one level of buffers between its lanes and DRAM."""

import math

from nas.costs.accesses import Counts
from nas.costs.chip_model import ChipCosts, ChipModel, results_of, synaptic
from nas.costs.operations import Operation

# Horowitz, "Computing's Energy Problem", ISSCC 2014, 45 nm, 0.9 V.
_ADD_PJ = 0.05  # 16-bit integer addition
_MULTIPLY_PJ = 0.2  # 8-bit integer multiplication
_BUFFER_PJ = 100.0 / 64  # a bit of a memory of 1 MB, 100 pJ for 64 bits
_DRAM_PJ = 1300.0 / 64  # a bit of DRAM, 1.3 to 2.6 nJ for 64 bits: the lower end

# Assumptions of this model, and of no product.
BUFFER_BYTES = 1024 * 1024
LANES = 256  # synaptic operations in a cycle
CYCLES_PER_MS = 500_000  # 500 MHz
DRAM_BITS_PER_MS = 12.8e9 * 8 / 1000  # 12.8 GB/s
WEIGHT_BITS, POTENTIAL_BITS = 8, 16


class Digital(ChipModel):
    """Lanes that add, a buffer of 1 MB, and DRAM; layers run one after the other.

    energy   for each synaptic operation an addition of 16 bits, a weight of 8 bits read from the buffer, and a
             potential of 16 bits read and written there; a multiplication of 8 bits more where numbers are real; for
             each neuron update a potential read and written; for each spike, and each event of a camera, one bit
             written and read; all weights once an image from DRAM where together they exceed the buffer
    latency  for each layer the longer of its synaptic operations on 256 lanes at 500 MHz, and of the reading of its
             weights from DRAM at 12.8 GB/s where that happens
    fits     the potentials of a layer, and the weights of one output of it, are in the buffer together
    """

    name = "digital"
    summary = "A digital accelerator at 45 nm: 256 lanes at 500 MHz, a buffer of 1 MB, DRAM for weights beyond it."
    source = "Horowitz, ISSCC 2014, for every energy; lanes, clock, sizes and bandwidth are assumptions"
    checked = "computed by hand (tests/costs/test_digital.py); no other program has this model"
    cannot = (
        "weights of more than 8 bits, potentials of more than 16; leakage, control and reuse of weights are left out"
    )

    def price(self, counts: Counts) -> ChipCosts:
        """See the class."""
        spills = sum(op.weights for op in counts.operations) * WEIGHT_BITS > 8 * BUFFER_BYTES
        energy_pj = math.fsum(_layer_pj(op) for op in counts.operations)
        energy_pj += 2 * POTENTIAL_BITS * _BUFFER_PJ * counts.overheads.neuron_updates
        weights_bits = WEIGHT_BITS * sum(op.weights for op in counts.operations) if spills else 0
        misfit = self.misfit(counts)
        return ChipCosts(
            energy_mj=(energy_pj / counts.images + weights_bits * _DRAM_PJ) * 1e-9,
            latency_ms=math.fsum(_layer_ms(op, counts.images, spills=spills) for op in counts.operations),
            fits=misfit is None,
            note=misfit or ("weights come from DRAM once an image" if spills else "all weights stay in the buffer"),
        )

    def misfit(self, counts: Counts) -> str | None:
        """The layer that needs most of the buffer, if it does not have so much."""
        steps = counts.images * counts.time_steps
        needs = {op.path: _bytes_needed(op, steps) for op in counts.operations}
        path = max(needs, key=needs.__getitem__)
        if needs[path] <= BUFFER_BYTES:
            return None
        return f"{path} needs {needs[path]:,} bytes of potentials and weights, and the buffer has {BUFFER_BYTES:,}"


def _layer_pj(op: Operation) -> float:
    weight = WEIGHT_BITS * _BUFFER_PJ if op.kind == "weight" else 0.0
    multiply = _MULTIPLY_PJ if op.is_real else 0.0
    each = _ADD_PJ + multiply + weight + 2 * POTENTIAL_BITS * _BUFFER_PJ
    return each * synaptic(op) + 2 * _BUFFER_PJ * op.spikes


def _layer_ms(op: Operation, images: int, *, spills: bool) -> float:
    working = synaptic(op) / images / LANES / CYCLES_PER_MS
    return max(working, op.weights * WEIGHT_BITS / DRAM_BITS_PER_MS if spills else 0.0)


def _bytes_needed(op: Operation, steps: int) -> int:
    outputs = op.geometry["output"][0] if op.weights else 1
    return math.ceil(results_of(op, steps) * POTENTIAL_BITS / 8 + op.weights / outputs * WEIGHT_BITS / 8)


__all__ = ["Digital"]
