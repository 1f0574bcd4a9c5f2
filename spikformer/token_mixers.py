"""The part of a block that mixes tokens: spiking attention without softmax, or a convolution.

Every mixer is a branch of the residual stream, [T, B, C, H, W] -> [T, B, C, H, W]. Shapes: T time
steps, B batch, C channels = A heads x K channels a head, N tokens = H x W, or those of one window.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikformer.config import MixerConfig, SpikformerConfig
from spikformer.layers import Conv2d, ConvBN, RepConv, RepLinear, Unit, conv_bn, fed_by_stream, folded, own_block
from spikformer.neurons import emitted, neuron
from spikformer.operands import REAL, Operand, Operands


class SpikingAttention(nn.Module):
    """Queries, keys and values are spikes, and there is no softmax.

    * ssa: neuron(scale * q k^T v), or neuron(scale * q k^T) v (Zhou et al., Spikformer, ICLR 2023, eq. 8)
    * sdsa: q, masked by neuron(sum over tokens of k * v) (Yao et al., Spike-driven Transformer, NeurIPS 2023);
      with `erode`, k, v, k * v and the masked q take the maximum over their neighbours, as in its code for events
    * qkta: k, masked by neuron(sum over a head's channels of q) (Zhou et al., QKFormer, NeurIPS 2024)
    * qkca: k, masked by neuron(sum over tokens of q) (the same)

    ssa may be kept to windows of space (as Liu et al., Swin, ICCV 2021, without the shift) and opened to
    windows of time, whose tokens attend across steps (Lee et al., STAtten, CVPR 2025, section 4.2).
    """

    def __init__(self, dim: int, mixer: MixerConfig, config: SpikformerConfig) -> None:
        super().__init__()
        self.kind = mixer.kind
        self.num_heads = mixer.num_heads if mixer.reads("num_heads") else 1
        self.neuron_on_map = mixer.kind == "ssa" and mixer.neuron_on == "map"
        width = mixer.attention_dim(dim)
        self.scale = mixer.scale / (math.sqrt(width // self.num_heads) if mixer.scale_by == "head_dim" else 1.0)
        self.erode = mixer.kind == "sdsa" and mixer.erode
        windows = mixer.kind == "ssa"
        self.window = mixer.window if windows else 0
        self.time_window = (mixer.time_window or config.time_steps) if windows else 1
        spikes, fed = emitted(config), fed_by_stream(config)
        value_dim = width * mixer.value_ratio if mixer.kind == "ssa" else width

        def spiking_projection(width: int) -> Unit:  # its neuron follows it under every residual: spikes attend
            return Unit(projection(mixer, dim, width, mixer.qkv_bias, fed=fed), config, spikes_leave=True)

        self.input_neuron = neuron(config) if config.residual == "ms" else nn.Identity()
        self.query = spiking_projection(width)
        self.key = spiking_projection(width)
        if mixer.kind in ("ssa", "sdsa"):
            self.value = spiking_projection(value_dim)
        self.attention_neuron = neuron(config, mixer.threshold)
        context = spikes.times(spikes).summed() if self.neuron_on_map else spikes
        self.proj = projection(mixer, value_dim, dim, mixer.proj_bias, fed=context)
        self.output_neuron = neuron(config) if config.residual != "ms" else nn.Identity()
        self.operands = self._operands(spikes)

    def _operands(self, spikes: Operand) -> Operands:
        """What the products and sums below are fed, in the order in which they run."""
        if self.kind != "ssa":
            return ((spikes,),)
        second = spikes if self.neuron_on_map else spikes.times(spikes).summed()
        return ((spikes, spikes), (spikes, second))

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        spikes_TBCHW = self.input_neuron(x_TBCHW)
        query_TBCHW, key_TBCHW = self.query(spikes_TBCHW), self.key(spikes_TBCHW)
        if self.kind == "ssa":
            context_TBCHW = self._ssa(query_TBCHW, key_TBCHW, self.value(spikes_TBCHW))
        else:
            if self.kind == "sdsa":
                context_TBAKN = self._sdsa(query_TBCHW, key_TBCHW, self.value(spikes_TBCHW))
            else:
                q_TBAKN, k_TBAKN = self._heads(query_TBCHW), self._heads(key_TBCHW)
                summed = -2 if self.kind == "qkta" else -1
                context_TBAKN = self.attention_neuron(q_TBAKN.sum(summed, keepdim=True)) * k_TBAKN
            context_TBCHW = context_TBAKN.reshape(query_TBCHW.shape)
        mixed_TBCHW: Tensor = self.output_neuron(self.proj(context_TBCHW))
        return mixed_TBCHW

    def _ssa(self, query_TBCHW: Tensor, key_TBCHW: Tensor, value_TBCHW: Tensor) -> Tensor:
        q_GAKN, k_GAKN, v_GAKN = self._windows(query_TBCHW), self._windows(key_TBCHW), self._windows(value_TBCHW)
        if self.neuron_on_map:
            map_GANN: Tensor = self.attention_neuron(self.scale * (k_GAKN.mT @ q_GAKN))  # keys x queries
            return self._whole(v_GAKN @ map_GANN, value_TBCHW)
        # No softmax, so (q k^T) v = q (k^T v), exactly, on whole numbers: take the cheaper order.
        key_channels, tokens = q_GAKN.shape[-2:]
        value_channels = v_GAKN.shape[-2]
        if 2 * key_channels * value_channels <= tokens * (key_channels + value_channels):
            context_GAKN = (q_GAKN.mT @ (k_GAKN @ v_GAKN.mT)).mT
        else:
            context_GAKN = v_GAKN @ (k_GAKN.mT @ q_GAKN)
        return self.attention_neuron(self.scale * self._whole(context_GAKN, value_TBCHW))

    def _sdsa(self, query_TBCHW: Tensor, key_TBCHW: Tensor, value_TBCHW: Tensor) -> Tensor:
        if self.erode:
            key_TBCHW, value_TBCHW = eroded(key_TBCHW), eroded(value_TBCHW)
        product_TBAKN = self._heads(key_TBCHW) * self._heads(value_TBCHW)
        product_TBAKN = eroded(product_TBAKN.mT).mT if self.erode else product_TBAKN
        context_TBAKN = self.attention_neuron(product_TBAKN.sum(-1, keepdim=True)) * self._heads(query_TBCHW)
        return eroded(context_TBAKN.mT).mT if self.erode else context_TBAKN

    def _heads(self, x_TBCHW: Tensor) -> Tensor:
        heads_TBAKN: Tensor = x_TBCHW.flatten(-2).unflatten(2, (self.num_heads, -1))
        return heads_TBAKN

    def _windows(self, x_TBCHW: Tensor) -> Tensor:
        """Tokens by the group that attends: [T / time_window, B, windows, A, K, N], all steps of a window in N."""
        if self.window == 0 and self.time_window == 1:
            return self._heads(x_TBCHW)
        height, width = self.window or x_TBCHW.shape[-2], self.window or x_TBCHW.shape[-1]
        x_tsBAKhiwj = x_TBCHW.unflatten(4, (-1, width)).unflatten(3, (-1, height)).unflatten(2, (self.num_heads, -1))
        x_tsBAKhiwj = x_tsBAKhiwj.unflatten(0, (-1, self.time_window))
        x_GAKN: Tensor = x_tsBAKhiwj.permute(0, 2, 5, 7, 3, 4, 1, 6, 8).flatten(6).flatten(2, 3)
        return x_GAKN

    def _whole(self, x_GAKN: Tensor, like_TBCHW: Tensor) -> Tensor:
        """The inverse of `_windows`."""
        if self.window == 0 and self.time_window == 1:
            return x_GAKN.reshape(like_TBCHW.shape)
        height, width = self.window or like_TBCHW.shape[-2], self.window or like_TBCHW.shape[-1]
        across = like_TBCHW.shape[-1] // width
        x_tBhwAKsij: Tensor = x_GAKN.unflatten(-1, (self.time_window, height, width)).unflatten(2, (-1, across))
        x_tsBAKhiwj = x_tBhwAKsij.permute(0, 6, 1, 4, 5, 2, 7, 3, 8)
        return x_tsBAKhiwj.reshape(like_TBCHW.shape)


def eroded(x_TBCHW: Tensor) -> Tensor:
    """The largest of each 3 x 3 neighbourhood of the last two dimensions; spikes stay spikes."""
    largest_TBCHW: Tensor = F.max_pool2d(folded(x_TBCHW), 3, stride=1, padding=1).unflatten(0, x_TBCHW.shape[:2])
    return largest_TBCHW


class DualSpikeAttention(nn.Module):
    """DSSA of SpikingResformer (Shi et al., CVPR 2024, section 3.2): each product has one spiking operand.

    x attends to `patch` x `patch` summaries y of itself: neuron(c1 y1^T x) is the map, neuron(c2 y2 map)
    the context. c1 and c2 keep the variance at one, by the mean firing rates of x and of the map a head,
    which are learned like a batch norm's running mean and start with the first batch.
    """

    input_rate: Tensor
    map_rate: Tensor

    def __init__(self, dim: int, mixer: MixerConfig, config: SpikformerConfig) -> None:
        super().__init__()
        heads, spikes = mixer.num_heads, emitted(config)
        self.num_heads = heads
        self.input_neuron = neuron(config)
        patches = Conv2d(dim, 2 * dim, mixer.patch, fed=spikes, stride=mixer.patch, padding=0)
        self.summary = ConvBN(patches, 2 * dim)
        self.map_neuron = neuron(config)
        self.context_neuron = neuron(config)
        self.proj = conv_bn(dim, dim, fed=spikes)
        self.register_buffer("input_rate", torch.zeros(heads, 1, 1))
        self.register_buffer("map_rate", torch.zeros(heads, 1, 1))
        self.operands: Operands = ((REAL, spikes), (REAL, spikes))

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        spikes_TBCHW = self.input_neuron(x_TBCHW)
        y_TBAKL = self.summary(spikes_TBCHW).flatten(-2).unflatten(2, (self.num_heads, -1))
        y1_TBAKL, y2_TBAKL = y_TBAKL.chunk(2, dim=3)
        x_TBAKN = spikes_TBCHW.flatten(-2).unflatten(2, (self.num_heads, -1))
        channels, summaries = y1_TBAKL.shape[-2:]
        scale_A11 = (self._rate(self.input_rate, x_TBAKN) * channels).rsqrt()
        map_TBALN = self.map_neuron(scale_A11 * (y1_TBAKL.mT @ x_TBAKN))
        scale_A11 = (self._rate(self.map_rate, map_TBALN) * summaries).rsqrt()
        context_TBAKN = scale_A11 * (y2_TBAKL @ map_TBALN)
        mixed_TBCHW: Tensor = self.proj(self.context_neuron(context_TBAKN.reshape(x_TBCHW.shape)))
        return mixed_TBCHW

    def _rate(self, running_A11: Tensor, spikes_TBAxx: Tensor) -> Tensor:
        """The running mean firing rate, moved on in training; never 0, or silence would scale to infinity."""
        if self.training:
            with torch.no_grad():
                rate_A11 = spikes_TBAxx.abs().mean((0, 1, 3, 4), dtype=running_A11.dtype)[:, None, None]
                moved_A11 = torch.lerp(rate_A11, running_A11, _RATE_MOMENTUM)
                running_A11.copy_(torch.where(running_A11 == 0, rate_A11, moved_A11))
        return running_A11.clamp(min=_LOWEST_RATE)


_RATE_MOMENTUM = 0.999  # the authors' code
_LOWEST_RATE = 1e-4


class SeparableConv(nn.Sequential):
    """1x1 to twice the width, depthwise, 1x1 back (Spike-driven Transformer V2, Yao et al., ICLR 2024, eq. 3).

    V2 has no batch norm and no neuron behind the depthwise convolution, so its last convolution is fed
    real numbers until both are merged; V3 has them (`middle_neuron`).
    """

    def __init__(self, dim: int, mixer: MixerConfig, config: SpikformerConfig) -> None:
        hidden, spikes, size = 2 * dim, emitted(config), mixer.kernel_size
        expand = Unit(conv_bn(dim, hidden, fed=fed_by_stream(config)), config)
        if mixer.middle_neuron:
            depthwise = Unit(conv_bn(hidden, hidden, size, fed=spikes, groups=hidden), config)
            super().__init__(expand, depthwise, Unit(conv_bn(hidden, dim, fed=spikes), config))
        else:
            depthwise_conv = Conv2d(hidden, hidden, size, fed=spikes, groups=hidden)
            contract = nn.Sequential(depthwise_conv, Conv2d(hidden, dim, fed=REAL))
            super().__init__(expand, Unit(ConvBN(contract, dim), config))


class DepthwiseConv(Unit):
    """One depthwise convolution (Max-Former, Fang et al., NeurIPS 2025)."""

    def __init__(self, dim: int, mixer: MixerConfig, config: SpikformerConfig) -> None:
        fed = fed_by_stream(config)
        super().__init__(conv_bn(dim, dim, mixer.kernel_size, fed=fed, bias=True, groups=dim), config)


def projection(mixer: MixerConfig, in_dim: int, dim: int, bias: bool, *, fed: Operand) -> ConvBN:
    """One of attention's projections with its batch norm."""
    if mixer.projection == "rep":
        return ConvBN(RepConv(dim, fed=fed), dim)
    if mixer.projection == "rep1":
        return ConvBN(RepLinear(dim, fed=fed), dim)
    return conv_bn(in_dim, dim, fed=fed, bias=bias)


_KINDS: dict[str, Callable[[int, MixerConfig, SpikformerConfig], nn.Module]] = {
    **dict.fromkeys(("ssa", "sdsa", "qkta", "qkca"), SpikingAttention),
    "dssa": DualSpikeAttention,
    "sepconv": SeparableConv,
    "dwconv": DepthwiseConv,
}


def token_mixer(dim: int, mixer: MixerConfig, config: SpikformerConfig) -> nn.Module:
    """The mixer that a config names; a class of yours is given its `Options` (`docs/your_own_block.md`)."""
    if mixer.kind in _KINDS:
        return _KINDS[mixer.kind](dim, mixer, config)
    return own_block(mixer.kind, (dim,), mixer.options.to_dict(), config)
