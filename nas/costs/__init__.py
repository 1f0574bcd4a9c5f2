"""What a network costs: its operations counted exactly, then priced.

operations       operations and overheads as whole numbers
counting_rules   how each kind of operation is counted
judging          which operations are counted, tallied, free or refused
counter          operations of a model, counted while it runs
static           what shapes alone determine
free_operations  the operations on activations that move, compare or select, and so cost nothing
custom_neurons   what is held against a neuron that the project does not know
scales           numbers that are a spike times a known scale
energy           conventions that price operations
rates            operations at given firing rates
accesses         accesses to memory as terms of an energy, and the counts that a cost model reads
layers_fired     how many spikes each layer of neurons sent
horowitz         memory as caches of three sizes
lemaire          memory of an event-driven accelerator by Lemaire et al.
step             memory at one price for a bit
memory           models of memory by their names
counterpart      the quantised network of the same shape without time
quantised        a network against its quantised counterpart: where their costs are equal
chip_model       what a model of a chip states and answers
loihi            many cores that wait for each other at each time step
digital          lanes, one level of buffers, and DRAM
chip             models of a chip by their names
neurobench       NeuroBench's metrics under its names
target           the costs that a proxy predicts for the full-size network
scaling          a proxy's shape made larger, to a budget of parameters or MACs
contract         what every block keeps, held against a brute force
recording        every ATen operation of a forward pass, recorded without the counter's tables
probing          what an operation does to numbers, found by moving them a little
origins          which numbers come from spikes, and with what scale
enumeration      costs counted by loops over a record
equivariance     whether all time steps are treated alike
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.costs.accesses import TERMS, Accesses, Counts, MemoryEnergy, MemoryModel, memory_columns
    from nas.costs.chip import Chip
    from nas.costs.chip_model import ChipCosts
    from nas.costs.counter import OperationCounter
    from nas.costs.energy import MEASURED, Convention, UnitCosts, overheads_mj
    from nas.costs.layers_fired import fired
    from nas.costs.operations import Activity, Operation, Overheads, Part, as_dicts, multiplications, reads_counts
    from nas.costs.quantised import BreakEven
    from nas.costs.rates import Rates
    from nas.costs.static import parts, static_model, static_operations, total_macs, weighted_macs
    from nas.costs.target import IMAGE_SIZE

__getattr__ = attributes(
    __name__,
    {
        "Accesses": "nas.costs.accesses",
        "BreakEven": "nas.costs.quantised",
        "Chip": "nas.costs.chip",
        "ChipCosts": "nas.costs.chip_model",
        "Convention": "nas.costs.energy",
        "IMAGE_SIZE": "nas.costs.target",
        "MEASURED": "nas.costs.energy",
        "Counts": "nas.costs.accesses",
        "MemoryEnergy": "nas.costs.accesses",
        "MemoryModel": "nas.costs.accesses",
        "Operation": "nas.costs.operations",
        "OperationCounter": "nas.costs.counter",
        "Activity": "nas.costs.operations",
        "Overheads": "nas.costs.operations",
        "Part": "nas.costs.operations",
        "Rates": "nas.costs.rates",
        "UnitCosts": "nas.costs.energy",
        "as_dicts": "nas.costs.operations",
        "TERMS": "nas.costs.accesses",
        "memory_columns": "nas.costs.accesses",
        "fired": "nas.costs.layers_fired",
        "multiplications": "nas.costs.operations",
        "overheads_mj": "nas.costs.energy",
        "parts": "nas.costs.static",
        "reads_counts": "nas.costs.operations",
        "static_model": "nas.costs.static",
        "static_operations": "nas.costs.static",
        "total_macs": "nas.costs.static",
        "weighted_macs": "nas.costs.static",
    },
)

__all__ = [
    "IMAGE_SIZE",
    "MEASURED",
    "TERMS",
    "Accesses",
    "Activity",
    "BreakEven",
    "Chip",
    "ChipCosts",
    "Convention",
    "Counts",
    "MemoryEnergy",
    "MemoryModel",
    "Operation",
    "OperationCounter",
    "Overheads",
    "Part",
    "Rates",
    "UnitCosts",
    "as_dicts",
    "chip",
    "contract",
    "counterpart",
    "energy",
    "fired",
    "memory",
    "memory_columns",
    "multiplications",
    "neurobench",
    "overheads_mj",
    "parts",
    "quantised",
    "rates",
    "reads_counts",
    "scaling",
    "static_model",
    "static_operations",
    "target",
    "total_macs",
    "weighted_macs",
]
