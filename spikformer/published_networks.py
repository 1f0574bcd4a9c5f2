"""Published networks for images, by name: points of the config schema.

Settings are those of the authors' code. Weights that their code builds and never uses (layer norms in
Spikformer and Spikingformer, `talking_heads` in Spike-driven Transformer) are left out, so a network here
can have fewer parameters than `sum(p.numel())` there; the papers leave them out as well.

A name is family, data set ("in" is ImageNet at 224 x 224) and size, mostly depth and width:
"spikformer_cifar10_4_384". "_kd" has the second classifier that learns from a teacher.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

from spikformer.config import (
    DownConfig,
    HeadConfig,
    MixerConfig,
    MLPConfig,
    NeuronConfig,
    Reduction,
    Residual,
    SpikformerConfig,
    StageConfig,
    StemConfig,
)

_CIFAR = {"cifar10": 10, "cifar100": 100}
_IMAGENET_CLASSES = 1000


# One stage: Spikformer, Spikingformer, Spike-driven Transformer.


def _sps(dataset: str, shortcut: bool) -> StemConfig:
    if dataset in _CIFAR:
        return StemConfig(image_size=32, pool=(False, False, True, True), shortcut=shortcut)
    return StemConfig(image_size=224, pool=(True, True, True, True), shortcut=shortcut)


def _heads(dataset: str, dim: int) -> int:
    return 12 if dataset in _CIFAR and dim == 384 else 8


def _classes(dataset: str) -> int:
    return _CIFAR.get(dataset, _IMAGENET_CLASSES)


def _spikformer(dataset: str, depth: int, dim: int) -> SpikformerConfig:
    """Zhou et al., "Spikformer: When Spiking Neural Network Meets Transformer", ICLR 2023."""
    # q, k and v are biased linear layers in the authors' CIFAR code, unbiased convolutions in their ImageNet code.
    mixer = MixerConfig("ssa", _heads(dataset, dim), qkv_bias=dataset in _CIFAR)
    return SpikformerConfig(
        residual="sew",
        stem=_sps(dataset, shortcut=True),
        stages=(StageConfig(dim, depth, mixer=mixer),),
        head=HeadConfig(_classes(dataset)),
    )


def _spikingformer(dataset: str, depth: int, dim: int) -> SpikformerConfig:
    """Zhou et al., "Spikingformer: Spike-driven Residual Learning for Transformer-based SNN", 2023."""
    return SpikformerConfig(
        residual="ms",
        stem=_sps(dataset, shortcut=False),
        stages=(StageConfig(dim, depth, mixer=MixerConfig("ssa", _heads(dataset, dim))),),
        head=HeadConfig(_classes(dataset)),
    )


def _sdt1(dataset: str, depth: int, dim: int) -> SpikformerConfig:
    """Yao et al., "Spike-driven Transformer", NeurIPS 2023."""
    return SpikformerConfig(
        residual="ms",
        stem=_sps(dataset, shortcut=True),
        stages=(StageConfig(dim, depth, mixer=MixerConfig("sdsa")),),
        head=HeadConfig(_classes(dataset), neuron=True, time_mean="after"),
    )


# Three stages of widths D/4, D/2, D: QKFormer, MS-QKFormer, Max-Former.


def _qkformer(dataset: str, depth: int, dim: int, residual: Residual = "sew") -> SpikformerConfig:
    """Zhou et al., "QKFormer: Hierarchical Spiking Transformer using Q-K Attention", NeurIPS 2024.

    The authors' code lets membranes of the last stage's attention run on from image to image of a batch;
    here each image is on its own, as in their code with batches of one.
    """
    cifar = dataset in _CIFAR
    heads = 8 if cifar else dim // 64
    local, whole = MixerConfig("qkta", heads), MixerConfig("ssa", heads)
    down = DownConfig("speds", convs=("none", "pool") if cifar else ("pool", "none"), deformed_shortcut="stride")
    return SpikformerConfig(
        residual=residual,
        stem=_speds(dataset, imagenet=("pool", "none")),
        stages=_pyramid(dataset, depth, dim, (local, local, whole), down),
        head=HeadConfig(_classes(dataset)),
    )


def _msqkformer(dataset: str, depth: int, dim: int) -> SpikformerConfig:
    """QKFormer with membranes added instead of spikes; Fang et al. (see `_maxformer`)."""
    network = _qkformer(dataset, depth, dim, residual="ms")
    time_steps = 1 if dim == 768 else 4  # the widest is printed with one time step only
    stem = _with_shared_neuron(network.stem, dataset)
    return replace(network, time_steps=time_steps, stem=stem, head=_head_after_neuron(dataset))


def _maxformer(dataset: str, depth: int, dim: int) -> SpikformerConfig:
    """Fang et al., "Spiking Neural Networks Need High-Frequency Information", NeurIPS 2025."""
    if dataset in _CIFAR:
        mixers = (MixerConfig("identity"), MixerConfig("dwconv", kernel_size=3), MixerConfig("ssa"))
    else:
        dwconv5, dwconv7 = MixerConfig("dwconv", kernel_size=5), MixerConfig("dwconv", kernel_size=7)
        mixers = (dwconv7, dwconv5, MixerConfig("ssa", dim // 64))
    down = DownConfig("speds", convs=("pool", "none"), deformed_shortcut="pool")
    return SpikformerConfig(
        residual="ms",
        stem=_with_shared_neuron(_speds(dataset, imagenet=("stride", "none")), dataset),
        stages=_pyramid(dataset, depth, dim, mixers, down),
        head=_head_after_neuron(dataset),
    )


def _speds(dataset: str, imagenet: tuple[Reduction, ...]) -> StemConfig:
    if dataset in _CIFAR:
        return StemConfig("speds", image_size=32, position="none")
    return StemConfig(
        "speds",
        image_size=224,
        position="none",
        encode=imagenet[0],
        convs=imagenet,
        deformed_shortcut="stride",
    )


def _with_shared_neuron(stem: StemConfig, dataset: str) -> StemConfig:
    """The authors' ImageNet code has one neuron before both paths of the stem; their CIFAR code has two."""
    return replace(stem, shared_neuron=dataset not in _CIFAR)


def _pyramid(
    dataset: str, depth: int, dim: int, mixers: tuple[MixerConfig, ...], down: DownConfig
) -> tuple[StageConfig, ...]:
    depths = (1, 1, depth - 2) if dataset in _CIFAR else (1, 2, depth - 3)
    widths, downs = (dim // 4, dim // 2, dim), (DownConfig(), down, down)
    parts = zip(widths, depths, downs, mixers, strict=True)
    return tuple(StageConfig(width, n, down, mixer=mixer) for width, n, down, mixer in parts)


def _head_after_neuron(dataset: str) -> HeadConfig:
    # The same logits; the authors' CIFAR code averages over time first, their ImageNet code last.
    return HeadConfig(_classes(dataset), neuron=True, time_mean="before" if dataset in _CIFAR else "after")


# Convolutions first, attention behind: Spike-driven Transformer V2 and V3.


_DEPTHS = (1, 1, 2, 6, 2)


def sdt2(widths: tuple[int, ...], *, depths: tuple[int, ...] = _DEPTHS, distillation: bool = False) -> SpikformerConfig:
    """Yao et al., "Spike-driven Transformer V2: Meta Spiking Neural Network Architecture ...", ICLR 2024.

    Args:
        widths, depths: channels and blocks of the five stages, three of convolutions and two of attention.
        distillation: with a second classifier that learns from a teacher.
    """
    conv = StageConfig(mixer=MixerConfig("sepconv", kernel_size=7), mlp=MLPConfig("convffn", bias=False))
    attention = StageConfig(mixer=MixerConfig("ssa", projection="rep"))
    return SpikformerConfig(
        residual="ms",
        stem=_CONV7,
        stages=_levels(widths, depths, conv, attention),
        head=HeadConfig(_IMAGENET_CLASSES, neuron=True, time_mean="after", distillation=distillation),
    )


def sdt3_base(*widths: int, depths: tuple[int, ...] = _DEPTHS) -> SpikformerConfig:
    """Yao et al., "Scaling Spike-driven Transformer with Efficient Spike Firing Approximation Training", TPAMI 2025.

    Args:
        widths, depths: as in `sdt2`.
    """

    def sepconv(kernel_size: int) -> MixerConfig:
        return MixerConfig("sepconv", kernel_size=kernel_size, middle_neuron=True)

    conv = StageConfig(mixer=sepconv(7), mlp=MLPConfig("convffn", bias=False))
    ssa = MixerConfig("ssa", value_ratio=4, proj_bias=False, scale=2.0, scale_by="head_dim")
    return SpikformerConfig(
        time_steps=1,
        residual="ms",
        neuron=NeuronConfig("multispike"),
        stem=_CONV7,
        stages=_levels(widths, depths, conv, StageConfig(local=sepconv(3), mixer=ssa)),
        head=HeadConfig(_IMAGENET_CLASSES, neuron=True, time_mean="after"),
    )


def _sdt3_large(*widths: int) -> SpikformerConfig:
    """The large networks of `sdt3_base`'s paper, as they are fine-tuned, without a teacher.

    Their classifier is fed membrane currents: the neuron before it feeds the teacher's alone.
    """
    conv = StageConfig(mixer=MixerConfig("identity"), mlp=MLPConfig("convffn"))
    ssa = MixerConfig("ssa", projection="rep1", layer_scale=1e-6)
    attention = StageConfig(mixer=ssa, mlp=MLPConfig(layer_scale=1e-6))
    return SpikformerConfig(
        time_steps=1,
        residual="ms",
        neuron=NeuronConfig("multispike", rounding="half_up"),
        stem=_CONV7,
        stages=_levels(widths, (1, 1, 2, 12), conv, attention),
        head=HeadConfig(_IMAGENET_CLASSES, time_mean="after"),
    )


_CONV7 = StemConfig("conv", image_size=224, position="none", kernel_size=7, stride=2, bias=True)


def _levels(
    widths: tuple[int, ...], depths: tuple[int, ...], conv: StageConfig, attention: StageConfig
) -> tuple[StageConfig, ...]:
    """Three stages of convolutions, then of attention; the fifth keeps the tokens of the fourth."""
    downs = [DownConfig(), *(DownConfig("conv", stride, bias=True) for stride in (2, 2, 2, 1))]
    blocks = [conv, conv, conv, attention, attention]
    parts = zip(widths, depths, downs, blocks, strict=False)
    return tuple(replace(block, embed_dim=width, depth=depth, down=down) for width, depth, down, block in parts)


# Dual spike attention: SpikingResformer.


def spikingresformer(dataset: str, *widths: int, group_width: int = 64) -> SpikformerConfig:
    """Shi et al., "SpikingResformer: Bridging ResNet and Vision Transformer in Spiking Neural Networks", CVPR 2024.

    Args:
        dataset: "in" has the stem for large images, "cifar10" and "cifar100" that for small ones.
        widths: channels of the three stages.
        group_width: channels of a head, and of a group of the grouped convolutions.
    """
    cifar = dataset in _CIFAR
    kernel_size, stride = (3, 1) if cifar else (7, 2)
    mlp = MLPConfig("gwffn", bias=False, group_width=group_width)
    downs = (DownConfig(), DownConfig("conv"), DownConfig("conv"))
    return SpikformerConfig(
        residual="ms",
        neuron=NeuronConfig(surrogate="atan"),
        stem=StemConfig(
            "conv",
            image_size=32 if cifar else 224,
            position="none",
            kernel_size=kernel_size,
            stride=stride,
            max_pool=not cifar,
        ),
        stages=tuple(
            StageConfig(width, depth, down, mixer=MixerConfig("dssa", width // group_width, patch=patch), mlp=mlp)
            for width, depth, down, patch in zip(widths, (1, 2, 3), downs, (4, 2, 1), strict=True)
        ),
        head=HeadConfig(_classes(dataset), bias=False, time_mean="after"),
    )


# Sizes.

_DEPTH_AND_WIDTH: dict[str, tuple[Callable[[str, int, int], SpikformerConfig], list[str], list[str]]] = {
    "spikformer": (_spikformer, ["2_256", "2_384", "4_256", "4_384"], ["6_512", "8_384", "8_512", "10_512", "8_768"]),
    "spikingformer": (_spikingformer, ["2_256", "2_384", "4_256", "4_384"], ["8_384", "8_512", "8_768"]),
    "sdt1": (_sdt1, ["2_256", "2_512"], ["8_384", "6_512", "8_512", "10_512", "8_768"]),
    "qkformer": (_qkformer, ["4_384"], ["10_384", "10_512", "10_768"]),
    "msqkformer": (_msqkformer, ["4_384"], ["10_384", "10_512", "10_768"]),
    "maxformer": (_maxformer, ["4_384"], ["10_384", "10_512", "10_768"]),
}

_SDT2 = {
    "15M": (32, 64, 128, 256, 360),
    "8_384": (48, 96, 192, 384, 480),
    "8_512": (64, 128, 256, 512, 640),
    "8_768": (96, 192, 384, 768, 960),
}

_BY_WIDTHS: dict[str, Callable[[], SpikformerConfig]] = {
    "sdt3_base_t": functools.partial(sdt3_base, 12, 24, 48, 96, 128),
    "sdt3_base_s": functools.partial(sdt3_base, 16, 32, 64, 128, 192),
    "sdt3_base_m": functools.partial(sdt3_base, 24, 48, 96, 192, 240),
    "sdt3_base_l": functools.partial(sdt3_base, 32, 64, 128, 256, 360),
    "sdt3_large_spikformer12_768": functools.partial(_sdt3_large, 98, 196, 384, 768),
    "spikingresformer_ti": functools.partial(spikingresformer, "in", 64, 192, 384),
    "spikingresformer_s": functools.partial(spikingresformer, "in", 64, 256, 512),
    "spikingresformer_m": functools.partial(spikingresformer, "in", 64, 384, 768),
    "spikingresformer_l": functools.partial(spikingresformer, "in", 128, 512, 1024),
    "spikingresformer_cifar10": functools.partial(spikingresformer, "cifar10", 64, 192, 384),
    "spikingresformer_cifar100": functools.partial(spikingresformer, "cifar100", 64, 192, 384),
}


def _points() -> Iterator[tuple[str, Callable[[], SpikformerConfig]]]:
    for family, (build, cifar_sizes, imagenet_sizes) in _DEPTH_AND_WIDTH.items():
        for dataset, size in [*itertools.product(_CIFAR, cifar_sizes), *itertools.product(["in"], imagenet_sizes)]:
            depth, dim = (int(n) for n in size.split("_"))
            yield f"{family}_{dataset}_{size}", functools.partial(build, dataset, depth, dim)
    for size, widths in _SDT2.items():
        yield f"sdt2_in_{size}", functools.partial(sdt2, widths)
        yield f"sdt2_in_{size}_kd", functools.partial(sdt2, widths, distillation=True)
    yield from _BY_WIDTHS.items()


POINTS = dict(_points())

__all__ = ["POINTS", "sdt2", "sdt3_base", "spikingresformer"]
