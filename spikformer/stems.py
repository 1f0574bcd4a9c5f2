"""Spiking patch splitting: an image becomes a grid of tokens."""

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from spikformer.config import SpikformerConfig
from spikformer.layers import ConvBN, Unit
from spikformer.neurons import neuron


class ImageEncoding(ConvBN):
    """The first convolution: real pixels become the currents of T time steps ("direct encoding").

    A static image, [1, B, C, H, W], gives the same current at every step, so it is convolved once and
    shown T times. Batch norm still runs over all T copies, which keeps its running variance exact.
    """

    def __init__(self, in_channels: int, out_channels: int, time_steps: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, fed="real")
        self.time_steps = time_steps

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        self.conv.repeats = self.time_steps // x_TBCHW.shape[0]
        current_TBCHW = self.conv(x_TBCHW.flatten(0, 1)).unflatten(0, x_TBCHW.shape[:2])
        current_TBCHW = current_TBCHW.expand(self.time_steps, -1, -1, -1, -1)
        normed_TBCHW: Tensor = self.norm(current_TBCHW.flatten(0, 1)).unflatten(0, current_TBCHW.shape[:2])
        return normed_TBCHW


class PatchStage(nn.Module):
    """One of the four steps of SPS: a convolution, its neuron, and a pool before or after that neuron."""

    def __init__(self, conv: ConvBN, neuron: nn.Module, pool: bool, pool_first: bool) -> None:
        super().__init__()
        self.conv, self.neuron = conv, neuron
        self.pool_before, self.pool_after = pool and pool_first, pool and not pool_first

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        x_TBCHW = self.conv(x_TBCHW)
        if self.pool_before:
            x_TBCHW = _max_pool(x_TBCHW)
        x_TBCHW = self.neuron(x_TBCHW)
        if self.pool_after:
            x_TBCHW = _max_pool(x_TBCHW)
        return x_TBCHW


class SpikingPatchSplitting(nn.Module):
    """SPS (Zhou et al., Spikformer, ICLR 2023, section 3.3), with the tails of its descendants.

    Four stages, then a convolution that encodes position and is added to its input (`shortcut`) or
    replaces it. Spikes leave under "sew", membrane currents under "ms".
    """

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        stem, dim = config.stem, config.stages[0].embed_dim
        widths = (dim // 8, dim // 4, dim // 2, dim)
        convs: list[ConvBN] = [ImageEncoding(stem.in_channels, widths[0], config.time_steps)]
        convs += [ConvBN(a, b, kernel_size=3, fed="binary") for a, b in itertools.pairwise(widths)]
        neurons: list[nn.Module] = [neuron(config.neuron) for _ in convs]
        # Under "ms" the shortcut carries the membrane: the fourth neuron moves behind the branching point.
        membrane_shortcut = config.residual == "ms" and stem.shortcut
        if membrane_shortcut:
            neurons[3] = nn.Identity()
        pool_first = stem.pool_order == "before_neuron"
        self.stages = nn.Sequential(
            *(PatchStage(*parts, pool_first) for parts in zip(convs, neurons, stem.pool, strict=True))
        )
        position = ConvBN(dim, dim, kernel_size=3, fed="binary")
        has_neuron = config.residual == "sew" or membrane_shortcut
        self.position = Unit(position, config.neuron, config.residual) if has_neuron else position
        self.shortcut = stem.shortcut

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        x_TBCHW = self.stages(x_TBCHW)
        position_TBCHW: Tensor = self.position(x_TBCHW)
        return x_TBCHW + position_TBCHW if self.shortcut else position_TBCHW


def _max_pool(x_TBCHW: Tensor) -> Tensor:
    """3x3, stride 2: halves height and width, and leaves spikes spikes."""
    pooled = F.max_pool2d(x_TBCHW.flatten(0, 1), kernel_size=3, stride=2, padding=1)
    pooled_TBCHW: Tensor = pooled.unflatten(0, x_TBCHW.shape[:2])
    return pooled_TBCHW
