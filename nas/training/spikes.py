"""Spikes of a network, counted as it trains, for a penalty on them."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from nas.settings import Recipe
from spikformer.neurons import Neuron


class SpikeCount:
    """Spikes of all neurons in the last forward pass, with their gradient, if the recipe asks for them."""

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self._spikes: list[Tensor] = []
        self._neurons = [module for module in model.modules() if isinstance(module, Neuron) and recipe.spike_penalty]
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        self._hooks = [neuron.register_forward_hook(self._see) for neuron in self._neurons]
        return self

    def __exit__(self, *_error: object) -> None:
        self.forget()
        for hook in self._hooks:
            hook.remove()

    def _see(self, neuron: nn.Module, _inputs: object, spikes_T: Tensor) -> None:
        assert isinstance(neuron, Neuron)
        self._spikes.append(spikes_T.abs() / neuron.spikes.quantum)

    def rate(self) -> Tensor:
        """Spikes per neuron and time step, []; forgets them."""
        total = torch.stack([spikes.sum(dtype=torch.float32) for spikes in self._spikes]).sum()
        neurons = sum(spikes.numel() for spikes in self._spikes)
        self.forget()
        return total / neurons

    def forget(self) -> None:
        """Forget those of a forward pass that did not come to its end."""
        self._spikes.clear()


__all__ = ["SpikeCount"]
