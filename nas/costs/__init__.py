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
memory           energy of memory accesses
chip             energy and latency on a named chip
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
    from nas.costs.chip import Chip, ChipCosts
    from nas.costs.counter import OperationCounter
    from nas.costs.energy import MEASURED, Convention, UnitCosts, overheads_mj
    from nas.costs.memory import MODEL, memory_mj
    from nas.costs.operations import Activity, Operation, Overheads, Part, as_dicts, multiplications
    from nas.costs.rates import Rates
    from nas.costs.static import parts, static_model, static_operations, total_macs, weighted_macs
    from nas.costs.target import IMAGE_SIZE

__getattr__ = attributes(
    __name__,
    {
        "Chip": "nas.costs.chip",
        "ChipCosts": "nas.costs.chip",
        "Convention": "nas.costs.energy",
        "IMAGE_SIZE": "nas.costs.target",
        "MEASURED": "nas.costs.energy",
        "MODEL": "nas.costs.memory",
        "Operation": "nas.costs.operations",
        "OperationCounter": "nas.costs.counter",
        "Activity": "nas.costs.operations",
        "Overheads": "nas.costs.operations",
        "Part": "nas.costs.operations",
        "Rates": "nas.costs.rates",
        "UnitCosts": "nas.costs.energy",
        "as_dicts": "nas.costs.operations",
        "memory_mj": "nas.costs.memory",
        "multiplications": "nas.costs.operations",
        "overheads_mj": "nas.costs.energy",
        "parts": "nas.costs.static",
        "static_model": "nas.costs.static",
        "static_operations": "nas.costs.static",
        "total_macs": "nas.costs.static",
        "weighted_macs": "nas.costs.static",
    },
)

__all__ = [
    "IMAGE_SIZE",
    "MEASURED",
    "MODEL",
    "Activity",
    "Chip",
    "ChipCosts",
    "Convention",
    "Operation",
    "OperationCounter",
    "Overheads",
    "Part",
    "Rates",
    "UnitCosts",
    "as_dicts",
    "chip",
    "contract",
    "energy",
    "memory_mj",
    "multiplications",
    "overheads_mj",
    "parts",
    "rates",
    "scaling",
    "static_model",
    "static_operations",
    "target",
    "total_macs",
    "weighted_macs",
]
