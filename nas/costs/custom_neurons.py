"""What a neuron of the user's own may do: anything at one place, over time. Nothing else comes in, and no place acts on
another: what it does there is tallied as its update, whatever it multiplies.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nas.costs.free_operations import Constants, Packet, place, tensors_in
from nas.errors import CostError
from spikformer.model import Spikformer
from spikformer.neurons import Neuron


class CustomNeuron:
    """Watches the operations of one call.

    Args:
        x_T: its input, in memory of its own.
    """

    def __init__(self, path: str, neuron: Neuron, x_T: Tensor) -> None:
        self.path, self.neuron = path, neuron
        self._own = {place(x_T)}

    def see(
        self, packet: Packet, args: tuple[object, ...], kwargs: Mapping[str, object], out: object, constants: Constants
    ) -> None:
        """One operation.

        Raises:
            CostError: it takes a tensor that is neither a constant nor made of the neuron's input.
        """
        for tensor in tensors_in((args, kwargs)):
            if constants.is_activation(tensor) and place(tensor) not in self._own:
                raise CostError(
                    f"{self.path} runs {packet} on a tensor that is neither its input nor a parameter or buffer. A "
                    "neuron takes one tensor of currents; products of activations belong in the block"
                )
        self._own.update(map(place, tensors_in(out)))


def check_input(
    path: str, neuron: Neuron, model: nn.Module, inputs: tuple[object, ...], kwargs: Mapping[str, object]
) -> None:
    """Hold a neuron to spikes, and its arguments to one tensor of currents, time first.

    Raises:
        CostError: they are something else.
    """
    if neuron.spikes.kind == "real":
        raise CostError(
            f"{path} declares real numbers as its output. A neuron returns spikes: binary, ternary or count"
        )
    tensors = list(tensors_in((inputs, kwargs)))
    if len(tensors) != 1 or len(inputs) != 1:
        raise CostError(f"{path} is given {len(tensors)} tensors. A neuron takes one tensor of currents, [T, ...]")
    if isinstance(model, Spikformer) and len(tensors[0]) != model.config.time_steps:
        raise CostError(
            f"{path} is given currents of shape {list(tensors[0].shape)}, whose first axis must be time, "
            f"{model.config.time_steps} steps. Along another axis a neuron would add up values of several places"
        )


def mixes_places(neuron: Neuron, x_T: Tensor) -> bool:
    """Whether spikes change where currents do not.

    Args:
        x_T: currents [T, ...] as the neuron has been given them.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        before_T = neuron(x_T.clone())  # with its hooks
        for factor in (3, -3):  # above and below all others
            moved = (torch.rand(x_T.shape[1:], generator=generator) < 0.5).to(x_T.device)
            others_T = x_T.flatten(1)[:, torch.randperm(x_T[0].numel(), generator=generator).to(x_T.device)]
            after_T = neuron(torch.where(moved, 1 + factor * others_T.view_as(x_T), x_T))
            if before_T.shape != after_T.shape or not torch.equal(before_T[:, ~moved], after_T[:, ~moved]):
                return True
    return False


__all__ = ["CustomNeuron", "check_input", "mixes_places"]
