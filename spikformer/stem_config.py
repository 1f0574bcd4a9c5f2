"""The parts of a config that make tokens: the stem, of the image, and what stands before later stages.

Standard library only.
"""

import functools
import math
from dataclasses import dataclass, field
from typing import Literal

from spikformer.errors import ConfigError
from spikformer.fields import Options, check_types, listed, require
from spikformer.kinds import READS, Reduction, check_kernel, check_kind, check_most

_LONGEST = 64  # convolutions of a chain; no published stem has more than six
_STRIDES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class ConvConfig:
    """One convolution of a chain, with batch norm, neuron and perhaps a max pool.

    Attributes:
        width (times the width): The convolution has this many times the channels of the stage behind the chain; the
            last one of a chain has 1.
        kernel_size (pixels): The convolution covers this many pixels a side: an odd number, or as many as its stride
            for patches that do not overlap (the embedding of ViT; Dosovitskiy et al., ICLR 2021).
        stride (pixels): The convolution moves by this many pixels: 1, 2, 4, 8 or 16.
        pool: A 3x3 max pool of stride 2 follows.
    """

    width: float = 1.0
    kernel_size: int = 3
    stride: int = 1
    pool: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        require(self.width > 0, f"width {self.width} must be positive", "width")
        check_most(self, "width", "kernel_size")
        if self.stride not in _STRIDES:
            raise ConfigError(f"stride {self.stride} must be one of {listed(_STRIDES)}", ("stride",))
        require(
            (self.kernel_size % 2 == 1 and self.kernel_size >= 1) or self.kernel_size == self.stride,
            f"kernel_size {self.kernel_size} must be odd, or as large as the stride, which is {self.stride}: such "
            "patches do not overlap",
            "kernel_size",
            "stride",
        )

    @property
    def downsampling(self) -> int:
        """How many times smaller height and width become."""
        return self.stride * (2 if self.pool else 1)


SPS_WIDTHS = (0.125, 0.25, 0.5, 1.0)


@functools.cache  # thousands of configs ask for the same few
def _sps_chain(pool: tuple[bool, ...]) -> tuple[ConvConfig, ...]:
    return tuple(ConvConfig(width, pool=pooled) for width, pooled in zip(SPS_WIDTHS, pool, strict=True))


@dataclass(frozen=True)
class StemConfig:
    """From the image to the first stage's tokens.

    "sps": spiking patch splitting (Zhou et al., Spikformer, ICLR 2023, section 3.3), four 3x3
    convolutions of widths D/8, D/4, D/2 and D. "speds": patch embedding with deformed shortcut (Zhou et
    al., QKFormer, NeurIPS 2024), an encoding of width D/2, then 3x3 convolutions of width D beside a 1x1.
    "conv": one convolution and batch norm (Spike-driven Transformer V2 and V3, SpikingResformer). "chain":
    any number of convolutions, of any widths, kernels, strides and pools, perhaps with a shortcut over the
    last of them (the event stems of QKFormer and Max-Former); the other three are chains with a name.

    Attributes:
        kind: "sps", "speds", "conv" or "chain", as above, or a class of your own, "package.module:Class".
        image_size (pixels): Images have this height and width.
        in_channels (channels): Images have 3 channels, for colour, or 1, for grey.
        position: This is added to the tokens to tell them apart: "conv", a 3x3 convolution of them (the
            fifth of SPS); "learned", a table; "cpg", a periodic spike code (after Lv et al., NeurIPS 2024);
            or "none".
        shortcut: The position convolution is added to its input (true; Spikformer, Spike-driven Transformer) or
            replaces it (false; Spikingformer).
        pool: For each of the four convolutions of sps, a 3x3 max pool of stride 2 follows (true) or not.
        pool_order: The max pools of sps and chain stand behind the neuron ("after_neuron") and pool spikes
            (Spikformer), or before it ("before_neuron") and pool the membrane current (CML; Zhou et al., 2023).
        encode: The first convolution of speds halves the image in this way: not at all, by its stride, or by a 3x3
            max pool behind it.
        convs: Each 3x3 convolution on the main path of speds halves the image in one of these ways; at most one does.
        deformed_shortcut: The 1x1 convolution beside those of speds or of chain makes the image as small as they do,
            by its stride ("stride") or by max pools behind it ("pool"); "none" where they keep its size.
        chain: Each entry is one convolution of chain, in the order in which they run.
        shortcut_over (convolutions): A 1x1 convolution leads from before the last so many convolutions of chain to
            behind them, where both are added; 0 has no shortcut. It is fed by the spikes that feed the first of them.
        shared_neuron: Under residual "ms", one neuron feeds both paths of speds (true; the authors' ImageNet code of
            MS-QKFormer and Max-Former), or each path has its own, which fires the same (false; their CIFAR code). The
            logits are equal; the second neuron's updates are saved.
        kernel_size (pixels): The convolution of conv covers this many pixels a side, an odd number.
        stride (pixels): The convolution of conv moves by this many pixels: 1, 2 or 4. A custom stem makes one token
            a side of so many pixels.
        bias: The convolution of conv has a bias.
        max_pool: A 3x3 max pool of stride 2 follows the convolution of conv (SpikingResformer).
        options: A custom stem reads these settings, under the names that its class declares.
    """

    kind: str = "sps"
    image_size: int = 32
    in_channels: int = 3
    position: Literal["conv", "learned", "cpg", "none"] = "conv"
    shortcut: bool = True
    pool: tuple[bool, bool, bool, bool] = (False, False, True, True)
    pool_order: Literal["after_neuron", "before_neuron"] = "after_neuron"
    encode: Reduction = "none"
    convs: tuple[Reduction, ...] = ("none",)
    deformed_shortcut: Reduction = "none"
    shared_neuron: bool = False
    kernel_size: int = 7
    stride: int = 2
    bias: bool = False
    max_pool: bool = False
    chain: tuple[ConvConfig, ...] = field(default_factory=lambda: _sps_chain((False, False, True, True)))
    shortcut_over: int = 0
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        check_types(self)
        check_kind(self, "stem")
        require(self.image_size >= 1, f"image_size {self.image_size} must be at least 1", "image_size")
        require(self.in_channels >= 1, f"in_channels {self.in_channels} must be at least 1", "in_channels")
        check_most(self, "image_size", "in_channels")
        _check_stride(self, (1, 2, 4))
        check_kernel(self.kernel_size)
        if self.kind == "speds":
            _check_deformed_shortcut(self.convs, self.deformed_shortcut)
        if self.kind == "chain":
            _check_chain(self.chain, self.shortcut_over, self.deformed_shortcut, first_is_fed_pixels=True)
        require(
            self.image_size % self.downsampling == 0,
            f"image_size {self.image_size} is not a multiple of {self.downsampling}, by which the {self.kind} stem "
            "divides it. Use less downsampling, or another image size",
            "image_size",
            "kind",
            *READS["stem"].get(self.kind, ("stride",)),
        )

    @property
    def downsampling(self) -> int:
        """Image pixels per side of one token of the first stage."""
        if self.kind in ("sps", "chain"):
            return _downsampling(self.convolutions)
        if self.kind == "speds":
            return int(2 ** sum(reduction != "none" for reduction in (self.encode, *self.convs)))
        return self.stride * (2 if self.kind == "conv" and self.max_pool else 1)

    @property
    def convolutions(self) -> tuple[ConvConfig, ...]:
        """Those of sps and chain; none of the other kinds."""
        return _sps_chain(self.pool) if self.kind == "sps" else self.chain if self.kind == "chain" else ()

    @property
    def adds_paths(self) -> bool:
        """Whether it ends in the sum of two paths."""
        return self.kind == "speds" or (self.kind == "chain" and self.shortcut_over > 0)

    @property
    def hands_on_stream(self) -> bool:
        """Whether what leaves it is what leaves a block: a convolution behind it needs neurons as in a block."""
        return self.kind not in ("sps", "chain") or self.adds_paths


@dataclass(frozen=True)
class DownConfig:
    """From one stage's tokens to the next one's: fewer and wider.

    Attributes:
        kind: "none", the stages have one width and no layer between them; "conv", a 3x3 convolution (Spike-driven
            Transformer V2 and V3, SpikingResformer); "speds", as in the stem, without the encoding (QKFormer);
            "chain", any number of convolutions, as in the stem; or a class of your own, "package.module:Class".
        stride (tokens): The convolution of conv moves by this many tokens: 1 or 2. A custom class makes one token a
            side of so many.
        bias: The convolution of conv has a bias.
        convs: Each 3x3 convolution on the main path of speds halves the tokens a side in one of these ways; at most
            one does.
        deformed_shortcut: The 1x1 convolution beside those of speds or of chain makes the tokens as few as they do, by
            its stride ("stride") or by max pools behind it ("pool"); "none" where they keep their number.
        chain: Each entry is one convolution of chain, in the order in which they run.
        shortcut_over (convolutions): A 1x1 convolution leads from before the last so many convolutions of chain to
            behind them, where both are added; 0 has no shortcut. It is fed by the spikes that feed the first of them.
        pool_order: The max pools of chain stand behind the neuron ("after_neuron") or before it ("before_neuron").
        options: A custom class reads these settings, under the names that it declares.
    """

    kind: str = "none"
    stride: int = 2
    bias: bool = False
    convs: tuple[Reduction, ...] = ("none", "pool")
    deformed_shortcut: Reduction = "stride"
    chain: tuple[ConvConfig, ...] = (ConvConfig(stride=2),)
    shortcut_over: int = 0
    pool_order: Literal["after_neuron", "before_neuron"] = "before_neuron"
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        check_types(self)
        check_kind(self, "down")
        _check_stride(self, (1, 2))
        if self.kind == "speds":
            _check_deformed_shortcut(self.convs, self.deformed_shortcut)
        if self.kind == "chain":
            _check_chain(self.chain, self.shortcut_over, self.deformed_shortcut, first_is_fed_pixels=False)

    @property
    def downsampling(self) -> int:
        """How many times fewer tokens a side."""
        if self.kind == "conv" or ":" in self.kind:
            return self.stride
        if self.kind == "chain":
            return _downsampling(self.chain)
        return 2 if self.kind == "speds" and self.deformed_shortcut != "none" else 1


def _check_deformed_shortcut(convs: tuple[str, ...], shortcut: str) -> None:
    require(len(convs) >= 1, '"convs" is empty: give at least one, such as ["none"]', "convs")
    halvings = sum(reduction != "none" for reduction in convs)
    require(
        halvings == (shortcut != "none"),
        f'convs {listed(convs)} halve the image {halvings} times, but deformed_shortcut "{shortcut}" '
        f"{int(shortcut != 'none')} times. Both paths are added, so both must halve it equally often, at most once",
        "kind",
        "convs",
        "deformed_shortcut",
    )


def _check_stride(part: StemConfig | DownConfig, of_ours: tuple[int, ...]) -> None:
    strides = _STRIDES if ":" in part.kind else of_ours
    if part.stride not in strides:
        *others, last = strides
        raise ConfigError(f"stride {part.stride} must be {listed(others)} or {last}", ("stride", "kind"))


def _check_chain(
    chain: tuple[ConvConfig, ...], shortcut_over: int, shortcut: str, *, first_is_fed_pixels: bool
) -> None:
    fields = ("kind", "chain", "shortcut_over", "deformed_shortcut")
    require(
        1 <= len(chain) <= _LONGEST, f'"chain" has {len(chain)} convolutions. Give 1 to {_LONGEST}', "kind", "chain"
    )
    require(
        chain[-1].width == 1,
        f"the last convolution of the chain has width {chain[-1].width:g}, but makes the tokens of the stage. Use 1",
        *("kind", "chain", f"chain.{len(chain) - 1}.width"),
    )
    most = len(chain) - 1 if first_is_fed_pixels else len(chain)
    if not 0 <= shortcut_over <= most:
        why = ", and pixels feed its first convolution" if first_is_fed_pixels else ""
        raise ConfigError(
            f"shortcut_over {shortcut_over} must be from 0 to {most}: the chain has length {len(chain)}{why}",
            fields[:3],
        )
    passed = _downsampling(chain[len(chain) - shortcut_over :])
    require(
        shortcut_over == 0 or (passed > 1) == (shortcut != "none"),
        f"shortcut_over {shortcut_over} leads past convolutions that divide the image by {passed}, but "
        f'deformed_shortcut is "{shortcut}". Both paths are added, so both must divide it alike: use '
        f"""{'"stride" or "pool"' if passed > 1 else '"none"'}""",
        *fields,
        *(f"chain.{i}.{name}" for i in range(len(chain)) for name in ("stride", "pool")),
    )


def weights(chain: tuple[ConvConfig, ...], in_channels: int, dim: int) -> float:
    """How many weights the convolutions of a chain have, before a stage of `dim` channels."""
    widths = [in_channels, *(conv.width * dim for conv in chain)]
    kernels = (conv.kernel_size**2 for conv in chain)
    return sum(fed * made * pixels for fed, made, pixels in zip(widths, widths[1:], kernels, strict=False))


def _downsampling(chain: tuple[ConvConfig, ...]) -> int:
    return math.prod(conv.downsampling for conv in chain)
