"""Spiking neurons as stateless layers over a whole sequence: the one door to SpikingJelly.

A neuron takes the currents of all time steps, [T, ...], starts from rest and returns the spikes, [T, ...].
Nothing survives the call, so there is no state to reset, to leak from one batch into the next, or to
lose in a copy. `spikformer.spiking` computes LIF, PLIF and IF, or SpikingJelly if told so there.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based import functional, surrogate
from torch import Tensor, nn

from spikformer import plugins, spiking
from spikformer.config import NeuronConfig, SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.operands import BINARY, TERNARY, Operand

_SURROGATES: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": lambda: surrogate.Sigmoid(alpha=4.0),  # the slope of every published family but one
    "atan": lambda: surrogate.ATan(alpha=2.0),  # SpikingResformer
}


class Neuron(nn.Module):
    """A layer of spiking neurons; `neuron()` makes the kind that a config names.

    Attributes:
        spikes: what it returns.
    """

    spikes: Operand = BINARY

    def __init__(self, config: NeuronConfig, threshold: float, time_steps: int) -> None:
        super().__init__()
        self.threshold = threshold
        self.slope: spiking.Surrogate = config.surrogate
        self.surrogate = _SURROGATES[config.surrogate]()

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"


class LIF(Neuron):
    """Leaky integrate-and-fire: h = v + (x - v) / tau; s = [h >= threshold]; v = (1 - s) h.

    Hard reset to 0; the reset carries no gradient, as in every published spiking transformer.
    """

    def __init__(self, config: NeuronConfig, threshold: float, time_steps: int) -> None:
        super().__init__(config, threshold, time_steps)
        self.tau = config.tau

    def forward(self, x_T: Tensor) -> Tensor:
        if spiking.in_use() != "spikingjelly":
            return spiking.lif(x_T, self.tau, self.threshold, self.slope)
        spikes_T, _, _ = functional.lif_multi_step(
            x_T,
            _rest(x_T),
            tau=self.tau,
            v_threshold=self.threshold,
            surrogate_function=self.surrogate,
            detach_reset=True,
        )
        return spikes_T

    def after_norm(self, y_nCHW: Tensor, norm: nn.BatchNorm2d, time_steps: int) -> Tensor:
        """`spiking.normed` of this neuron."""
        return spiking.normed(y_nCHW, norm, time_steps, self.tau, "lif", self.threshold, self.slope)


class PLIF(Neuron):
    """LIF whose time constant is learned, one a layer: 1 / tau = sigmoid(w) (Fang et al., ICCV 2021)."""

    def __init__(self, config: NeuronConfig, threshold: float, time_steps: int) -> None:
        super().__init__(config, threshold, time_steps)
        self.w = nn.Parameter(torch.tensor(-math.log(config.tau - 1)))

    def forward(self, x_T: Tensor) -> Tensor:
        if spiking.in_use() != "spikingjelly":
            return spiking.plif(x_T, self.w, self.threshold, self.slope)
        spikes_T, _, _ = functional.plif_multi_step(
            x_T,
            _rest(x_T),
            self.w,
            v_threshold=self.threshold,
            surrogate_function=self.surrogate,
            detach_reset=True,
        )
        return spikes_T


class IF(Neuron):
    """Integrate-and-fire, without a leak: h = v + x; then as LIF."""

    def forward(self, x_T: Tensor) -> Tensor:
        if spiking.in_use() != "spikingjelly":
            return spiking.if_(x_T, self.threshold, self.slope)
        spikes_T, _, _ = functional.if_multi_step(
            x_T, _rest(x_T), v_threshold=self.threshold, surrogate_function=self.surrogate, detach_reset=True
        )
        return spikes_T

    def after_norm(self, y_nCHW: Tensor, norm: nn.BatchNorm2d, time_steps: int) -> Tensor:
        """`spiking.normed` of this neuron."""
        return spiking.normed(y_nCHW, norm, time_steps, 1.0, "if", self.threshold, self.slope)


class TernaryLIF(Neuron):
    """LIF that fires +1 at the threshold and -1 at its negative (Guo et al., "Ternary Spike", AAAI 2024, eq. 7)."""

    spikes = TERNARY

    def __init__(self, config: NeuronConfig, threshold: float, time_steps: int) -> None:
        super().__init__(config, threshold, time_steps)
        self.tau = config.tau

    def forward(self, x_T: Tensor) -> Tensor:
        v = _rest(x_T)
        spikes = []
        for x_now in x_T.to(v.dtype):
            spike, v = functional.ternary_lif_step(
                x_now,
                v,
                self.tau,
                decay_input=True,
                v_threshold=self.threshold,
                v_reset=0.0,
                surrogate_function=self.surrogate,
                detach_reset=True,
            )
            spikes.append(spike)
        return torch.stack(spikes).to(x_T.dtype)


class PSN(Neuron):
    """All time steps at once: s = [W x >= threshold], W [T, T] and one threshold a step learned, no reset.

    Fang et al., "Parallel Spiking Neurons", NeurIPS 2023, eq. 10 and 11. W starts at the values that make
    it a LIF without reset, W[t, i] = (1 - 1/tau)^(t - i) / tau for i <= t; the paper starts at random ones.
    """

    def __init__(self, config: NeuronConfig, threshold: float, time_steps: int) -> None:
        super().__init__(config, threshold, time_steps)
        t = torch.arange(time_steps, dtype=torch.float64)
        past = t[:, None] - t
        weight = torch.where(past >= 0, (1 - 1 / config.tau) ** past.clamp(min=0) / config.tau, 0.0)
        self.weight = nn.Parameter(weight.to(torch.get_default_dtype()))
        self.thresholds = nn.Parameter(torch.full((time_steps,), threshold))

    def forward(self, x_T: Tensor) -> Tensor:
        # Sums of T products, written out: under autocast a matrix product would round the potentials to bfloat16.
        potential_T = (self.weight.unflatten(1, (-1, *[1] * (x_T.dim() - 1))) * x_T).sum(1)
        spikes_T: Tensor = self.surrogate(potential_T - self.thresholds.view(-1, *[1] * (x_T.dim() - 1)))
        return spikes_T


class MultiSpike(Neuron):
    """Integer neuron: round(clip(x, 0, D)) / d, D = `levels`, d = `divisor` or D; no leak, no reset, no state.

    Yao et al., "Scaling Spike-driven Transformer with Efficient Spike Firing Approximation Training",
    TPAMI 2025. In operation D binary steps stand for one, so a value k/d counts as k spikes. The gradient
    passes the rounding inside the clip, bounds included when halves go to the even number, excluded when
    they go up, as in the authors' base and large code.

    Args:
        counts: whether k itself leaves and not k/d, as before the authors' classifier.
    """

    def __init__(self, config: NeuronConfig, counts: bool) -> None:
        nn.Module.__init__(self)
        self.levels, self.half_up = config.levels, config.rounding == "half_up"
        self.quantum = 1.0 if counts else config.quantum
        self.spikes = Operand("count", self.quantum)

    def forward(self, x_T: Tensor) -> Tensor:
        counts_T: Tensor = _RoundClipped.apply(x_T, self.levels, self.half_up)
        return counts_T * self.quantum

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


class _RoundClipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, levels: int, half_up: bool) -> Tensor:
        ctx.save_for_backward((x > 0) & (x < levels) if half_up else (x >= 0) & (x <= levels))
        clipped = x.clamp(0, levels)
        return (clipped + 0.5).floor() if half_up else clipped.round()  # torch rounds halves to even

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyrefly: ignore[bad-override]
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None


_KINDS: dict[str, type[Neuron]] = {"lif": LIF, "plif": PLIF, "if": IF, "ternary": TernaryLIF, "psn": PSN}


def neuron(config: SpikformerConfig, threshold: float | None = None, *, counts: bool = False) -> Neuron:
    """A new layer of the neurons that a network's config names.

    Args:
        threshold: instead of the neuron's own; attention has one of its own.
        counts: whether a multispike neuron returns whole numbers, as before the classifier.

    Raises:
        ConfigError: a class of yours that is no `Neuron`, or that refuses its options.
    """
    kind = config.neuron.kind
    threshold = config.neuron.threshold if threshold is None else threshold
    if kind == "multispike":
        return MultiSpike(config.neuron, counts)
    if kind in _KINDS:
        return _KINDS[kind](config.neuron, threshold, config.time_steps)
    return _own(kind)(config.neuron, threshold, config.time_steps)


def emitted(config: SpikformerConfig) -> Operand:
    """What the network's neurons return."""
    kind = config.neuron.kind
    if kind == "multispike":
        return Operand("count", config.neuron.quantum)
    return (_KINDS[kind] if kind in _KINDS else _own(kind)).spikes


def _own(kind: str) -> type[Neuron]:
    cls: type[Neuron] = plugins.resolve(kind)
    if not issubclass(cls, Neuron):
        raise ConfigError(
            f'neuron "{kind}" is not a spikformer.neurons.Neuron: derive it from that class', ("neuron.kind",)
        )
    return cls


def _rest(x_T: Tensor) -> Tensor:
    """Membrane at rest. float32 even for bfloat16 currents: else SpikingJelly leaves its fused kernel."""
    dtype = torch.float64 if x_T.dtype == torch.float64 else torch.float32
    return torch.zeros(x_T.shape[1:], dtype=dtype, device=x_T.device)
