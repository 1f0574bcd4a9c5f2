"""Many cores that wait for each other at each time step, by the figures printed for Loihi."""

import math
from dataclasses import dataclass

from nas.costs.accesses import Counts
from nas.costs.chip_model import ChipCosts, ChipModel, results_of, synaptic
from nas.costs.operations import Operation

# Figures of SANA-FE 2.2 (examples/loihi.yaml), which takes them from Davies et al., "Loihi: A Neuromorphic Manycore
# Processor with On-Chip Learning", IEEE Micro 38(1), 2018, and from simulations (SPICE) of the same chip.
DENSE_PJ, DENSE_NS = 35.5, 3.8  # a synaptic operation with a weight of its own
SHARED_PJ, SHARED_NS = 24.0, 3.1  # a synaptic operation with a weight that many places share: a convolution
ACCESS_PJ, ACCESS_NS = 51.2, 6.0  # a neuron at each time step, active or not
UPDATE_PJ = 21.6  # a neuron that was sent anything; here all of them, and its 3.7 ns pass while messages arrive
SPIKE_PJ, SPIKE_NS = 69.3, 30.0  # a spike that a neuron sends
MESSAGE_PJ = 111.0  # a message to one core
SYNC_NS = {1: 600.0, 2: 1000.0, 4: 1400.0, 29: 1800.0}  # the wait for all cores, by the tiles that are used

CORES = 128
TILE = 4  # cores
NEURONS = 1024  # a core
WEIGHT_BYTES = 128 * 1024  # a core: 128 KB of synaptic memory, at 8 bits a weight (the chip holds 1 to 9 bits)
FAN_IN = 4096  # input axons a core


class Loihi(ChipModel):
    """A chip of this kind, not a prediction for the product: nothing here was run on one.

    Each operation has cores of its own: as many as its results of a time step (1,024 a core) and its distinct weights
    (128 KB a core, 8 bits) need, both spread evenly. What a core does in a step is its share of the synaptic operations
    of a mean step and of the results, each of which is a neuron. A step lasts as long as the most loaded core of all,
    and the wait for all.

    energy   for each synaptic operation 35.5 pJ, or 24.0 pJ where places share the weights; 51.2 + 21.6 pJ for each
             neuron update; 69.3 pJ for each spike sent; 111 pJ for each spike that a layer is fed and each of the
             layer's cores that it may reach
    latency  T steps. Layers form a pipeline: this is the time between two images of a stream; the way of the first
             one through the depth is not added
    fits     at most 128 cores in all, and no neuron with more than 4,096 inputs

    An event of a camera is a spike that the first layer is fed. An event of a product inside attention, and a
    multiplication of a real number that is not zero (first convolution of images, head), counts as a synaptic
    operation, although neither is a spike on a stored weight. Left out: hops on the mesh (3 to 4.2 pJ each), waiting
    for its links, leakage, loading an image, learning, more than one chip.
    """

    name = "loihi"
    summary = (
        "Many cores that wait for each other at each time step, by figures printed for Loihi (Davies et al., 2018)."
    )
    source = "Davies et al., IEEE Micro 38(1), 2018, and SANA-FE 2.2, examples/loihi.yaml; simulated, before silicon"
    checked = (
        "SANA-FE 2.2, a dense or convolutional layer on one core: energy within 2 %, time of a step within 5 %. On "
        "three and four cores its messages wait for each other, and a step takes 1.5 and 1.8 times as long"
    )
    cannot = "real numbers, products of two activations, batch norm; counted as if they were synaptic operations"

    def price(self, counts: Counts) -> ChipCosts:
        """See the class."""
        steps = counts.images * counts.time_steps
        layers = [_Layer.of(op, steps) for op in counts.operations]
        sent = sum(layer.spikes for layer in counts.fired.values())
        updates = counts.overheads.neuron_updates
        spiking_ns = SPIKE_NS * sent / updates if updates else 0.0
        loads_ns = [layer.step_ns(ACCESS_NS + spiking_ns) for layer in layers]
        busiest = max(range(len(layers)), key=loads_ns.__getitem__)
        energy_pj = math.fsum(layer.energy_pj for layer in layers)
        energy_pj += (ACCESS_PJ + UPDATE_PJ) * updates + SPIKE_PJ * sent
        cores, misfit = sum(layer.cores for layer in layers), self.misfit(counts)
        note = f"{cores} of {CORES} cores, the most loaded of {layers[busiest].path}"
        return ChipCosts(
            energy_mj=energy_pj / counts.images * 1e-9,
            latency_ms=counts.time_steps * (loads_ns[busiest] + _sync_ns(cores)) * 1e-6,
            fits=misfit is None,
            note=note if misfit is None else f"{note}; {misfit}",
        )

    def misfit(self, counts: Counts) -> str | None:
        """The layer whose neurons have too many inputs, or the one that needs most cores."""
        layers = [_Layer.of(op, counts.images * counts.time_steps) for op in counts.operations]
        widest = max(layers, key=lambda layer: layer.fan_in)
        if widest.fan_in > FAN_IN:
            return f"{widest.path} needs {widest.fan_in:,} inputs a neuron, and a core has {FAN_IN:,}"
        cores = sum(layer.cores for layer in layers)
        if cores <= CORES:
            return None
        largest = max(layers, key=lambda layer: layer.cores)
        return f"{largest.path} needs {largest.cores} cores, and the network {cores}, but the chip has {CORES}"


@dataclass(frozen=True)
class _Layer:
    """An operation on cores of its own, in a mean time step.

    Attributes:
        fan_in: inputs of a neuron.
        synaptic: synaptic operations, of `synapse_pj` and `synapse_ns` each.
        energy_pj: of synapses and messages, over all images and steps.
    """

    path: str
    cores: int
    fan_in: int
    results: float
    synaptic: float
    synapse_ns: float
    energy_pj: float

    @classmethod
    def of(cls, op: Operation, steps: int) -> "_Layer":
        results = results_of(op, steps)
        cores = max(1, math.ceil(results / NEURONS), math.ceil(op.weights / WEIGHT_BYTES))
        shared = op.kind == "weight" and results > op.geometry["output"][0]
        synapse_pj, synapse_ns = (SHARED_PJ, SHARED_NS) if shared else (DENSE_PJ, DENSE_NS)
        messages = min(op.spikes * cores, op.events)  # a spike reaches no more cores than neurons
        fan_in = op.weights // op.geometry["output"][0] if op.weights else 0
        energy_pj = synapse_pj * synaptic(op) + MESSAGE_PJ * messages
        return cls(op.path, cores, fan_in, results, synaptic(op) / steps, synapse_ns, energy_pj)

    def step_ns(self, neuron_ns: float) -> float:
        """How long a core works in a mean step, if a neuron takes so long."""
        return (self.synapse_ns * self.synaptic + neuron_ns * self.results) / self.cores


def _sync_ns(cores: int) -> float:
    """The wait for all cores, by a line between the tiles of the table."""
    tiles = min(max(math.ceil(cores / TILE), 1), max(SYNC_NS))
    known = sorted(SYNC_NS)
    above = next(n for n in known if n >= tiles)
    below = max(n for n in known if n <= tiles)
    share = (tiles - below) / (above - below) if above > below else 0.0
    return SYNC_NS[below] + share * (SYNC_NS[above] - SYNC_NS[below])


__all__ = ["Loihi"]
