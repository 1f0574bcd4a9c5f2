"""Spiking neurons as stateless functions of a whole sequence: the one door to SpikingJelly.

A neuron takes the currents of all time steps, [T, ...], starts from rest and returns the spikes,
[T, ...] in {0, 1}. Nothing survives the call, so there is no state to reset, to leak from one batch
into the next, or to lose in a copy.
"""

import math
from collections.abc import Callable

import torch
from spikingjelly.activation_based import functional, surrogate
from torch import Tensor, nn

from spikformer.config import NeuronConfig

_SURROGATES: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": lambda: surrogate.Sigmoid(alpha=4.0),  # the slope of every published family but one
    "atan": lambda: surrogate.ATan(alpha=2.0),  # SpikingResformer
}


class Neuron(nn.Module):
    """A layer of spiking neurons; `neuron()` makes the kind that a config names."""

    def __init__(self, config: NeuronConfig, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.surrogate = _SURROGATES[config.surrogate]()

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"


class LIF(Neuron):
    """Leaky integrate-and-fire: h = v + (x - v) / tau; s = [h >= threshold]; v = (1 - s) h.

    Hard reset to 0; the reset carries no gradient, as in every published spiking transformer.
    """

    def __init__(self, config: NeuronConfig, threshold: float) -> None:
        super().__init__(config, threshold)
        self.tau = config.tau

    def forward(self, x_T: Tensor) -> Tensor:
        spikes_T, _, _ = functional.lif_multi_step(
            x_T,
            _rest(x_T),
            tau=self.tau,
            v_threshold=self.threshold,
            surrogate_function=self.surrogate,
            detach_reset=True,
        )
        return spikes_T


class PLIF(Neuron):
    """LIF whose time constant is learned, one a layer: 1 / tau = sigmoid(w) (Fang et al., ICCV 2021)."""

    def __init__(self, config: NeuronConfig, threshold: float) -> None:
        super().__init__(config, threshold)
        self.w = nn.Parameter(torch.tensor(-math.log(config.tau - 1)))

    def forward(self, x_T: Tensor) -> Tensor:
        spikes_T, _, _ = functional.plif_multi_step(
            x_T,
            _rest(x_T),
            self.w,
            v_threshold=self.threshold,
            surrogate_function=self.surrogate,
            detach_reset=True,
        )
        return spikes_T


def neuron(config: NeuronConfig, threshold: float | None = None) -> Neuron:
    """A new layer of the neurons that `config` names.

    Args:
        threshold: instead of the config's own; attention has one of its own.
    """
    kinds: dict[str, type[Neuron]] = {"lif": LIF, "plif": PLIF}
    return kinds[config.kind](config, config.threshold if threshold is None else threshold)


def _rest(x_T: Tensor) -> Tensor:
    """Membrane at rest. float32 even for bfloat16 currents: else SpikingJelly leaves its fused kernel."""
    dtype = torch.float64 if x_T.dtype == torch.float64 else torch.float32
    return torch.zeros(x_T.shape[1:], dtype=dtype, device=x_T.device)
