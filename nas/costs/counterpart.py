"""The same network without time: what a spiking network has to beat.

T time steps of 0 or 1 tell T + 1 numbers apart where only their count matters: what ceil(log2(T + 1)) bits hold
(Yan et al., "Reconsidering the energy efficiency of spiking neural networks", 2024). The twin has one time step, and
activations that are quantised to that many bits: a clipped, rounded ReLU with a straight-through gradient, the integer
neuron of Spike-driven Transformer V3. Nothing else differs: layers, widths, residuals, recipe, seeds.
"""

import dataclasses
import math

from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError


def bits(time_steps: int) -> int:
    """Of its activations."""
    return math.ceil(math.log2(time_steps + 1))


def ann_counterpart(config: SpikformerConfig) -> SpikformerConfig:
    """The quantised network of the same shape.

    Its activations are 0 to 2^(bits - 1), as many numbers as T + 1 where T is a power of two, and never more.

    Raises:
        ConfigError: there is none: its attention masks with single spikes, or its neurons are signed.
    """
    if config.neuron.kind == "multispike":
        raise ConfigError(
            "a network of multispike neurons is already trained as its own quantised counterpart", ("neuron.kind",)
        )
    if config.neuron.kind == "ternary":
        raise ConfigError(
            "a network of ternary neurons has signed spikes, but its counterpart would not", ("neuron.kind",)
        )
    levels = 2 ** (bits(config.time_steps) - 1)
    neuron = dataclasses.replace(config.neuron, kind="multispike", levels=levels, divisor=0)
    return dataclasses.replace(config, time_steps=1, neuron=neuron)


__all__ = ["ann_counterpart", "bits"]
