"""The metrics of NeuroBench under its own names, from the counts of a record (NeuroBench 2.3, "Algorithm track").

    SynapticOperations  of a mean image, in convolutions and linear layers alone, without biases:
        Effective_ACs   pairs of a spike and a weight, in layers whose every input is 0, 1 or -1
        Effective_MACs  pairs of a number that is not zero and a weight, in all other layers
        Dense           all pairs, those on padding left out
    ActivationSparsity  share of neurons and time steps without a spike
    ParameterCount      number of parameters, of the form that is trained
    Footprint           bytes of parameters and buffers, of the form that is trained

Not here: ConnectionSparsity, which needs the trained weights, and MembraneUpdates and NeuronOperations, which
NeuroBench counts for snnTorch's neurons alone.

The operations equal NeuroBench's wherever its own count is exact: it decides by the values that a layer is fed whether
these are spikes, and here the layer declares it. A network that adds spikes (`sew`), or that is fed counts of events,
may feed a layer that declares numbers of spikes nothing but zeros and ones; NeuroBench then calls its operations
accumulates. What a static image needs once counts once. Neither counts products of two activations.
"""

from nas.costs.accesses import Counts
from nas.costs.operations import Operation
from spikformer.errors import TrustError


def synaptic_operations(operations: tuple[Operation, ...], images: int) -> dict[str, float]:
    """`SynapticOperations` of one image."""
    weighted = [op for op in operations if op.kind == "weight"]
    spiking = [op for op in weighted if op.operands[0].is_unit]
    multiplying = [op for op in weighted if not op.operands[0].is_unit]
    return {
        "Effective_MACs": sum(op.nonzero for op in multiplying) / images,
        "Effective_ACs": sum(op.nonzero for op in spiking) / images,
        "Dense": sum(op.valid for op in weighted) / images,
    }


def activation_sparsity(counts: Counts) -> float | None:
    """`ActivationSparsity`; None where a neuron sends several spikes at once, so that spikes are no activations."""
    updates = sum(layer.updates for layer in counts.fired.values())
    if counts.config.neuron.kind == "multispike" or not updates:
        return None
    return 1 - sum(layer.spikes for layer in counts.fired.values()) / updates


def metrics(counts: Counts) -> dict[str, object]:
    """All metrics of a counted network, by their names.

    Sizes are None where the network has a block whose module the user did not name: building it would run its code.
    """
    operations = synaptic_operations(counts.operations, counts.images)
    try:
        return {"SynapticOperations": operations, "ActivationSparsity": activation_sparsity(counts), **_sizes(counts)}
    except TrustError:
        unknown = dict.fromkeys(("ActivationSparsity", "ParameterCount", "Footprint"))
        return {"SynapticOperations": operations, **unknown}


def _sizes(counts: Counts) -> dict[str, int]:
    from nas.costs.static import static_model  # torch, only now

    model = static_model(counts.config)
    tensors = [*model.parameters(), *model.buffers()]
    return {
        "ParameterCount": sum(parameter.numel() for parameter in model.parameters()),
        "Footprint": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
    }


__all__ = ["activation_sparsity", "metrics", "synaptic_operations"]
