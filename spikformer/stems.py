"""From the image to the first stage's tokens, and from each stage's tokens to the next one's."""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spikformer.config import ConvConfig, DownConfig, Reduction, SpikformerConfig, StemConfig
from spikformer.layers import Conv2d, ConvBN, Unit, check_tokens, conv_bn, fed_by_stream, join, max_pool, own_block
from spikformer.neurons import emitted, neuron
from spikformer.operands import REAL, Operand


class ImageEncoding(ConvBN):
    """The first convolution: real pixels become the currents of T time steps ("direct encoding").

    A static image, [1, B, C, H, W], gives the same current at every step, so it is convolved, normalised and pooled
    once and shown T times, as one place in memory: T equal copies have the mean and the variance of one.
    """

    def __init__(self, conv: Conv2d, time_steps: int, *, pool: bool = False) -> None:
        super().__init__(conv, conv.out_channels, pools=int(pool))
        self.time_steps = time_steps

    def stands_for(self, x_TBCHW: Tensor) -> int:
        """How many time steps one result computed of images or frames stands for."""
        return self.time_steps // len(x_TBCHW)

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        copies = self.stands_for(x_TBCHW)
        current_nCHW = self._normed(self.conv(x_TBCHW.flatten(0, 1)), copies)
        current_TBCHW = current_nCHW.unflatten(0, (-1, x_TBCHW.shape[1]))
        current_TBCHW = max_pool(current_TBCHW) if self.pools else current_TBCHW
        return current_TBCHW.expand(self.time_steps, -1, -1, -1, -1)

    def _normed(self, x_nCHW: Tensor, copies: int) -> Tensor:
        """Batch norm over all time steps; the running variance is that of as many copies as one result stands for."""
        if copies == 1 or not self.norm.training:
            return self.norm(x_nCHW)
        if type(self.norm) is not nn.BatchNorm2d:  # statistics of several processes, whose copies it counts
            return self.norm(torch.cat([x_nCHW] * copies))
        assert self.norm.running_var is not None
        before_C = self.norm.running_var.clone()
        normed_nCHW: Tensor = self.norm(x_nCHW)
        _count_copies(self.norm, before_C, x_nCHW.numel() // x_nCHW.shape[1], copies)
        return normed_nCHW


def _count_copies(norm: nn.BatchNorm2d, before_C: Tensor, count: int, copies: int) -> None:
    """Correct the step that the running variance made from `before_C`, as if each of `count` values had been several.

    The unbiased variance of n values is n / (n - 1) times the biased one, which copies leave as it is.
    """
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    momentum = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
    factor = (1 - 1 / count) / (1 - 1 / (copies * count))
    # Through `data`: autograd holds the statistics for its backward pass, where training does not read them.
    running_C = norm.running_var.data
    running_C.add_(running_C - before_C * (1 - momentum), alpha=factor - 1)


class Stem(nn.Module):
    """Patch embedding, then position: images [1 or T, B, C, H, W] -> tokens [T, B, D, H', W'].

    Spikes leave under "sew" and "sew_iand", membrane currents under "ms".
    """

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        self.embedding = _embedding(config)
        self.position = _position(config)
        self.kind, self.stride = config.stem.kind, config.stem.downsampling
        self.time_steps, self.width = config.time_steps, config.stages[0].embed_dim

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        tokens_TBCHW = self.embedding(x_TBCHW)
        if ":" in self.kind:
            height, width = (side // self.stride for side in x_TBCHW.shape[-2:])
            shape = (self.time_steps, x_TBCHW.shape[1], self.width, height, width)
            check_tokens(self.kind, tokens_TBCHW, shape, self.stride)
        return self.position(tokens_TBCHW)


class PatchStage(nn.Module):
    """One step of a chain: a convolution, its neuron, and a pool before or after that neuron."""

    def __init__(self, conv: ConvBN, neuron: nn.Module, pool: bool, pool_first: bool) -> None:
        super().__init__()
        self.conv, self.neuron = conv, neuron
        self.pool_before, self.pool_after = pool and pool_first, pool and not pool_first

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        x_TBCHW = self.conv(x_TBCHW)
        x_TBCHW = max_pool(x_TBCHW) if self.pool_before else x_TBCHW
        x_TBCHW = self.neuron(x_TBCHW)
        return max_pool(x_TBCHW) if self.pool_after else x_TBCHW


def _stages(
    convs: Sequence[ConvBN], chain: Sequence[ConvConfig], pool_order: str, config: SpikformerConfig, *, in_spikes: bool
) -> list[PatchStage]:
    """The steps of a chain of these convolutions.

    Args:
        in_spikes: whether spikes leave the last one; else its membrane current does.
    """
    stages = []
    for conv, settings in zip(convs, chain, strict=True):
        fires = in_spikes or conv is not convs[-1]
        pool_first = pool_order == "before_neuron" or not fires
        stages.append(PatchStage(conv, neuron(config) if fires else nn.Identity(), settings.pool, pool_first))
    return stages


def _conv(in_dim: int, dim: int, settings: ConvConfig, fed: Operand) -> Conv2d:
    """Padded by half its kernel; patches that do not overlap need no border."""
    padding = settings.kernel_size // 2 if settings.kernel_size % 2 else 0
    return Conv2d(in_dim, dim, settings.kernel_size, fed=fed, stride=settings.stride, padding=padding)


def _convs_after(
    in_dim: int, dim: int, chain: Sequence[ConvConfig], config: SpikformerConfig, fed: Operand
) -> list[ConvBN]:
    """The convolutions of a chain with their batch norms; the first is fed as said, the others by neurons."""
    widths = [in_dim, *(int(conv.width * dim) for conv in chain)]
    operands = [fed, *([emitted(config)] * len(chain))]
    return [ConvBN(_conv(*parts), parts[1]) for parts in zip(widths, widths[1:], chain, operands, strict=False)]


def _chain(config: SpikformerConfig) -> nn.Module:
    """The stem as a row of convolutions: the four of SPS (Zhou et al., Spikformer, ICLR 2023, section 3.3), or a chain.

    Under "ms" the stream is the membrane: the last neuron then belongs to the first layer behind it,
    except before a position convolution that replaces its input (Spikingformer).
    """
    stem, dim = config.stem, config.stages[0].embed_dim
    first, *others = stem.convolutions
    width = int(first.width * dim)
    convs: list[ConvBN] = [ImageEncoding(_conv(stem.in_channels, width, first, REAL), config.time_steps)]
    convs += _convs_after(width, dim, others, config, emitted(config))
    if stem.kind == "chain" and stem.shortcut_over:
        return ShortcutChain(convs, stem, config)
    in_spikes = not _ends_in_membrane(config)
    row = SpikingPatchSplitting if stem.kind == "sps" else nn.Sequential
    return row(*_stages(convs, stem.convolutions, stem.pool_order, config, in_spikes=in_spikes))


class SpikingPatchSplitting(nn.Sequential):
    """The row of convolutions of SPS, under the name that its paper gives it."""


class ShortcutChain(nn.Module):
    """A row of convolutions with a 1x1 convolution beside the last of them (the event stem of QKFormer and Max-Former).

    [T, B, in, H, W] -> [T, B, out, H', W']. Under "sew" and "sew_iand" the shortcut has a neuron of its own and
    spikes are added; under "ms" the spikes that feed the first convolution beside it feed the shortcut, and membrane
    currents are added.

    Args:
        convs: of the whole chain.
    """

    joins = True

    def __init__(self, convs: Sequence[ConvBN], settings: StemConfig | DownConfig, config: SpikformerConfig) -> None:
        super().__init__()
        chain, order, ms = settings.chain, settings.pool_order, config.residual == "ms"
        start = len(chain) - settings.shortcut_over
        self.trunk = nn.Sequential(*_stages(convs[:start], chain[:start], order, config, in_spikes=True))
        self.path = nn.Sequential(*_stages(convs[start:], chain[start:], order, config, in_spikes=not ms))
        first, last = convs[start].conv, convs[-1].conv
        assert isinstance(first, Conv2d)
        assert isinstance(last, Conv2d)
        times = math.prod(conv.downsampling for conv in chain[start:])
        strided = settings.deformed_shortcut == "stride"
        ((fed,),) = first.operands
        conv = Conv2d(first.in_channels, last.out_channels, fed=fed, stride=times if strided else 1)
        pools = 0 if strided else int(math.log2(times))
        shortcut = ConvBN(conv, last.out_channels, pools=pools)
        self.shortcut = shortcut if ms else Unit(shortcut, config)
        self.residual = config.residual

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        x_TBCHW = self.trunk(x_TBCHW)
        path_TBCHW = self.path(x_TBCHW)
        return join(self.shortcut(x_TBCHW), path_TBCHW, self.residual)


class DeformedShortcutEmbedding(nn.Module):
    """The stem of QKFormer (Zhou et al., NeurIPS 2024, section 3.4): encoding, then `DeformedShortcut`."""

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        stem, dim = config.stem, config.stages[0].embed_dim
        stride = 2 if stem.encode == "stride" else 1
        conv = Conv2d(stem.in_channels, dim // 2, 3, fed=REAL, stride=stride)
        self.encoding = ImageEncoding(conv, config.time_steps, pool=stem.encode == "pool")
        self.neuron = neuron(config) if config.residual != "ms" else nn.Identity()
        self.patches = DeformedShortcut(dim // 2, dim, stem, config, fed=emitted(config), share=stem.shared_neuron)

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        return self.patches(self.neuron(self.encoding(x_TBCHW)))


class DeformedShortcut(nn.Module):
    """Spiking patch embedding with deformed shortcut (SPEDS, QKFormer): 3x3 convolutions beside a 1x1.

    [T, B, in, H, W] -> [T, B, out, H', W']; both paths are added, so both halve the image alike.

    Args:
        share: whether, where neurons stand before convolutions, one feeds both paths, as in the authors'
            downsampling and in their stem for ImageNet; else each path has its own, which fires the same.
    """

    joins = True

    def __init__(
        self,
        in_dim: int,
        dim: int,
        settings: StemConfig | DownConfig,
        config: SpikformerConfig,
        *,
        fed: Operand,
        share: bool,
    ) -> None:
        super().__init__()
        shared = share and config.residual == "ms"

        def conv(width: int, kernel_size: int, reduction: Reduction, fed: Operand) -> ConvBN:
            return conv_bn(width, dim, kernel_size, fed=fed, reduction=reduction)

        def entrance(kernel_size: int, reduction: Reduction) -> nn.Module:
            entering = conv(in_dim, kernel_size, reduction, fed)
            if not shared:
                return Unit(entering, config)
            # In the stem weights have the same names with one neuron and with two.
            return (
                nn.Sequential(OrderedDict[str, nn.Module](conv=entering))
                if isinstance(settings, StemConfig)
                else entering
            )

        first, *others = settings.convs
        self.neuron = neuron(config) if shared else nn.Identity()
        self.path = nn.Sequential(
            entrance(3, first), *(Unit(conv(dim, 3, reduction, emitted(config)), config) for reduction in others)
        )
        self.shortcut = entrance(1, settings.deformed_shortcut)
        self.residual = config.residual

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        x_TBCHW = self.neuron(x_TBCHW)
        path_TBCHW = self.path(x_TBCHW)
        return join(self.shortcut(x_TBCHW), path_TBCHW, self.residual)


class ConvEmbedding(ImageEncoding):
    """One convolution and batch norm, perhaps a max pool (Spike-driven Transformer V2, SpikingResformer)."""

    def __init__(self, config: SpikformerConfig) -> None:
        stem, dim = config.stem, config.stages[0].embed_dim
        conv = Conv2d(stem.in_channels, dim, stem.kernel_size, fed=REAL, bias=stem.bias, stride=stem.stride)
        super().__init__(conv, config.time_steps, pool=stem.max_pool)


def _embedding(config: SpikformerConfig) -> nn.Module:
    """What makes tokens of images; a class of yours is given `(dim, options, config)`."""
    stem = config.stem
    if ":" in stem.kind:
        width = config.stages[0].embed_dim
        return own_block(stem.kind, (width,), stem.options.to_dict(), config)
    embeddings = {"speds": DeformedShortcutEmbedding, "conv": ConvEmbedding}
    return embeddings[stem.kind](config) if stem.kind in embeddings else _chain(config)


def downsampling(in_dim: int, dim: int, down: DownConfig, config: SpikformerConfig) -> nn.Module:
    """What stands before a stage: [T, B, in_dim, H, W] -> [T, B, dim, H / down.downsampling, ...].

    A class of yours is given `(in_dim, dim, stride, options, config)`.
    """
    if down.kind == "none":
        return nn.Identity()
    fed = fed_by_stream(config)
    if ":" in down.kind:
        return own_block(down.kind, (in_dim, dim, down.stride), down.options.to_dict(), config)
    if down.kind == "speds":
        return DeformedShortcut(in_dim, dim, down, config, fed=fed, share=True)
    if down.kind == "chain":
        return _down_chain(in_dim, dim, down, config, fed)
    reduction: Reduction = "stride" if down.stride == 2 else "none"
    return Unit(conv_bn(in_dim, dim, 3, fed=fed, bias=down.bias, reduction=reduction), config)


def _down_chain(in_dim: int, dim: int, down: DownConfig, config: SpikformerConfig, fed: Operand) -> nn.Module:
    """Under "ms" a neuron makes spikes of the stream first, and currents leave the last convolution."""
    ms = config.residual == "ms"
    convs = _convs_after(in_dim, dim, down.chain, config, fed)
    if down.shortcut_over:
        chain: nn.Module = ShortcutChain(convs, down, config)
    else:
        chain = nn.Sequential(*_stages(convs, down.chain, down.pool_order, config, in_spikes=not ms))
    return nn.Sequential(OrderedDict(neuron=neuron(config) if ms else nn.Identity(), chain=chain))


class ConvPosition(nn.Module):
    """Position by a 3x3 convolution of the tokens, added to them or in their place."""

    joins = True

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        dim, stem = config.stages[0].embed_dim, config.stem
        # A row of convolutions ends in spikes; under "sew", two paths end in sums of them.
        fed = fed_by_stream(config) if stem.hands_on_stream else emitted(config)
        conv = conv_bn(dim, dim, 3, fed=fed)
        fed_by_neurons = not stem.hands_on_stream and not _ends_in_membrane(config) and config.residual == "ms"
        self.conv = conv if fed_by_neurons else Unit(conv, config)
        self.shortcut, self.residual = stem.shortcut, config.residual

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        position_TBCHW: Tensor = self.conv(x_TBCHW)
        return join(x_TBCHW, position_TBCHW, self.residual) if self.shortcut else position_TBCHW


class LearnedPosition(nn.Module):
    """A learned table, one number a channel and token, the same at every time step.

    Added to the membrane under "ms"; where spikes are added, it drives neurons of its own.
    """

    joins = True

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        dim, grid = config.stages[0].embed_dim, config.grids[0]
        spiking = config.residual != "ms"
        self.table = nn.Parameter(torch.empty(dim, grid, grid))
        # As a current it must reach the threshold now and then, or no gradient would ever move it.
        nn.init.normal_(self.table, std=config.neuron.threshold if spiking else 0.02)
        self.neuron = neuron(config) if spiking else nn.Identity()
        self.time_steps, self.residual = config.time_steps, config.residual

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        position_TBCHW = self.neuron(self.table.expand(self.time_steps, 1, -1, -1, -1))
        return join(x_TBCHW, position_TBCHW, self.residual)


class PeriodicPosition(nn.Module):
    """A fixed periodic spike code: channel c fires for a quarter of its period, as time and token go by.

    After the central pattern generators of Lv et al., "Advancing Spiking Neural Networks for Sequential
    Modeling with Central Pattern Generators", NeurIPS 2024, eq. 6: a threshold on sinusoids of growing
    period. They concatenate the code and project it; here it is added, which costs no multiplication.
    """

    code: Tensor

    joins = True

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        dim, grid = config.stages[0].embed_dim, config.grids[0]
        code_TCHW = periodic_code(config.time_steps, dim, grid * grid).unflatten(-1, (grid, grid))
        self.register_buffer("code", code_TCHW[:, None], persistent=False)
        self.residual = config.residual

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        return join(x_TBCHW, self.code.to(x_TBCHW.dtype), self.residual)


def periodic_code(time_steps: int, channels: int, tokens: int) -> Tensor:
    """[T, C, N] of 0 and 1: channels 2i and 2i + 1 are the sine and cosine of one period, which grows with i.

    A spike where the wave is above sqrt(1/2), at place t N + n: a quarter of the time.
    """
    place_TN = torch.arange(time_steps * tokens, dtype=torch.float64).unflatten(0, (time_steps, tokens))
    pair_C = torch.arange(channels) // 2
    period_C = 4.0 * (time_steps * tokens) ** (pair_C / max(1, (channels - 1) // 2))
    phase_C = (torch.arange(channels) % 2) * (math.pi / 2)
    wave_TCN = torch.sin(2 * math.pi * place_TN[:, None] / period_C[:, None] + phase_C[:, None])
    return (wave_TCN > math.sqrt(0.5)).to(torch.get_default_dtype())


def _position(config: SpikformerConfig) -> nn.Module:
    kinds = {"conv": ConvPosition, "learned": LearnedPosition, "cpg": PeriodicPosition}
    return kinds[config.stem.position](config) if config.stem.position in kinds else nn.Identity()


def _ends_in_membrane(config: SpikformerConfig) -> bool:
    """Whether a row of convolutions hands on membrane currents."""
    replaced = config.stem.position == "conv" and not config.stem.shortcut
    return config.residual == "ms" and not replaced
