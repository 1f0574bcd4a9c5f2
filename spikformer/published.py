"""Published networks by name: points of the config schema, and the figures that their papers print.

Settings are those of the authors' code. Weights that their code builds and never uses (layer norms in
Spikformer and Spikingformer, `talking_heads` in Spike-driven Transformer) are left out, so a network here
can have fewer parameters than `sum(p.numel())` there; the papers leave them out as well.

A name is family, data set ("in" is ImageNet at 224 x 224) and size, mostly depth and width:
"spikformer_cifar10_4_384". "_kd" has the second classifier that learns from a teacher.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

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
from spikformer.errors import ConfigError
from spikformer.fields import nearest

_CIFAR = {"cifar10": 10, "cifar100": 100}
_IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Figures:
    """What is printed about a network; None where nothing is known to be.

    Attributes:
        paper: authors, title, venue.
        parameters_m: in millions, to the printed digits. Some authors cut the rest off, some round.
        operations_g: synaptic operations of an image, in billions, as the authors count them.
        energy_mj: of an image, in millijoules, as the authors count it; not comparable between families.
        accuracy: top-1, in per cent.
        image_size: pixels a side that energy and accuracy are for; None, those of the config.
        source: where operations, energy and accuracy were read.
        verified: whether that is the authors' own text (paper, official README or log). The number of
            parameters needs no trust: it is held against the network.
    """

    paper: str
    parameters_m: float | None = None
    operations_g: float | None = None
    energy_mj: float | None = None
    accuracy: float | None = None
    image_size: int | None = None
    source: str = "nothing printed"
    verified: bool = False


def names() -> list[str]:
    """Every name that `config` and `figures` know."""
    return sorted(_POINTS)


def config(name: str) -> SpikformerConfig:
    """The config of a published network, such as "spikformer_cifar10_4_384" (depth 4, width 384).

    Raises:
        ConfigError: no network of that name.
    """
    _check(name)
    return _POINTS[name]()


def figures(name: str) -> Figures:
    """What the paper of a published network prints about it.

    Raises:
        ConfigError: no network of that name.
    """
    _check(name)
    paper = _PAPERS[name.split("_")[0]]
    if name not in _PRINTED:
        return Figures(paper)
    parameters, operations, energy, accuracy, source = _PRINTED[name]
    verified = source in (_OFFICIAL, _PAPER)
    return Figures(paper, parameters, operations, energy, accuracy, _PRINTED_AT.get(name), source, verified)


def _check(name: str) -> None:
    if name not in _POINTS:
        raise ConfigError(f'no published network is named "{name}". {nearest(name, names())}')


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


def _sdt2(widths: tuple[int, ...], distillation: bool) -> SpikformerConfig:
    """Yao et al., "Spike-driven Transformer V2: Meta Spiking Neural Network Architecture ...", ICLR 2024."""
    conv = StageConfig(mixer=MixerConfig("sepconv", kernel_size=7), mlp=MLPConfig("convffn", bias=False))
    attention = StageConfig(mixer=MixerConfig("ssa", projection="rep"))
    return SpikformerConfig(
        residual="ms",
        stem=_CONV7,
        stages=_levels(widths, (1, 1, 2, 6, 2), conv, attention),
        head=HeadConfig(_IMAGENET_CLASSES, neuron=True, time_mean="after", distillation=distillation),
    )


def _sdt3_base(*widths: int) -> SpikformerConfig:
    """Yao et al., "Scaling Spike-driven Transformer with Efficient Spike Firing Approximation Training", TPAMI 2025."""

    def sepconv(kernel_size: int) -> MixerConfig:
        return MixerConfig("sepconv", kernel_size=kernel_size, middle_neuron=True)

    conv = StageConfig(mixer=sepconv(7), mlp=MLPConfig("convffn", bias=False))
    ssa = MixerConfig("ssa", value_ratio=4, proj_bias=False, scale=2.0, scale_by="head_dim")
    return SpikformerConfig(
        time_steps=1,
        residual="ms",
        neuron=NeuronConfig("multispike"),
        stem=_CONV7,
        stages=_levels(widths, (1, 1, 2, 6, 2), conv, StageConfig(local=sepconv(3), mixer=ssa)),
        head=HeadConfig(_IMAGENET_CLASSES, neuron=True, time_mean="after"),
    )


def _sdt3_large(*widths: int) -> SpikformerConfig:
    """The large networks of `_sdt3_base`'s paper, as they are fine-tuned, without a teacher.

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


def _spikingresformer(dataset: str, *widths: int) -> SpikformerConfig:
    """Shi et al., "SpikingResformer: Bridging ResNet and Vision Transformer in Spiking Neural Networks", CVPR 2024."""
    cifar = dataset in _CIFAR
    kernel_size, stride = (3, 1) if cifar else (7, 2)
    mlp = MLPConfig("gwffn", bias=False, group_width=64)
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
            StageConfig(width, depth, down, mixer=MixerConfig("dssa", width // 64, patch=patch), mlp=mlp)
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
    "sdt3_base_t": functools.partial(_sdt3_base, 12, 24, 48, 96, 128),
    "sdt3_base_s": functools.partial(_sdt3_base, 16, 32, 64, 128, 192),
    "sdt3_base_m": functools.partial(_sdt3_base, 24, 48, 96, 192, 240),
    "sdt3_base_l": functools.partial(_sdt3_base, 32, 64, 128, 256, 360),
    "sdt3_large_spikformer12_768": functools.partial(_sdt3_large, 98, 196, 384, 768),
    "spikingresformer_ti": functools.partial(_spikingresformer, "in", 64, 192, 384),
    "spikingresformer_s": functools.partial(_spikingresformer, "in", 64, 256, 512),
    "spikingresformer_m": functools.partial(_spikingresformer, "in", 64, 384, 768),
    "spikingresformer_l": functools.partial(_spikingresformer, "in", 128, 512, 1024),
    "spikingresformer_cifar10": functools.partial(_spikingresformer, "cifar10", 64, 192, 384),
    "spikingresformer_cifar100": functools.partial(_spikingresformer, "cifar100", 64, 192, 384),
}


def _points() -> Iterator[tuple[str, Callable[[], SpikformerConfig]]]:
    for family, (build, cifar_sizes, imagenet_sizes) in _DEPTH_AND_WIDTH.items():
        for dataset, size in [*itertools.product(_CIFAR, cifar_sizes), *itertools.product(["in"], imagenet_sizes)]:
            depth, dim = (int(n) for n in size.split("_"))
            yield f"{family}_{dataset}_{size}", functools.partial(build, dataset, depth, dim)
    for size, widths in _SDT2.items():
        yield f"sdt2_in_{size}", functools.partial(_sdt2, widths, distillation=False)
        yield f"sdt2_in_{size}_kd", functools.partial(_sdt2, widths, distillation=True)
    yield from _BY_WIDTHS.items()


_POINTS = dict(_points())


# Printed figures.

_FANG = 'Fang et al., "Spiking Neural Networks Need High-Frequency Information", NeurIPS 2025'
_PAPERS = {
    "spikformer": 'Zhou et al., "Spikformer: When Spiking Neural Network Meets Transformer", ICLR 2023',
    "spikingformer": (
        'Zhou et al., "Spikingformer: Spike-driven Residual Learning for Transformer-based Spiking Neural '
        'Network", arXiv:2304.11954, 2023'
    ),
    "sdt1": 'Yao et al., "Spike-driven Transformer", NeurIPS 2023',
    "sdt2": (
        'Yao et al., "Spike-driven Transformer V2: Meta Spiking Neural Network Architecture Inspiring the '
        'Design of Next-generation Neuromorphic Chips", ICLR 2024'
    ),
    "sdt3": (
        'Yao et al., "Scaling Spike-driven Transformer with Efficient Spike Firing Approximation Training", TPAMI 2025'
    ),
    "qkformer": 'Zhou et al., "QKFormer: Hierarchical Spiking Transformer using Q-K Attention", NeurIPS 2024',
    "msqkformer": _FANG,
    "maxformer": _FANG,
    "spikingresformer": (
        'Shi et al., "SpikingResformer: Bridging ResNet and Vision Transformer in Spiking Neural Networks", CVPR 2024'
    ),
}

_OFFICIAL = "official README or log"
_PAPER = "paper"
_QUOTED = "secondary table quoting the paper"
_MEMORY = "from memory, not verified"

# Parameters (M), operations (G), energy (mJ), top-1 accuracy (%), source. CIFAR tables print one number of
# parameters for both data sets: it stands with the one whose classifier it includes.
_PRINTED: dict[str, tuple[float | None, float | None, float | None, float | None, str]] = {
    "spikformer_cifar10_4_384": (9.32, None, None, 95.19, _QUOTED),
    "spikformer_cifar100_4_384": (None, None, None, 77.86, _QUOTED),
    "spikformer_cifar10_4_256": (4.15, None, None, 93.94, _MEMORY),
    "spikformer_cifar100_4_256": (None, None, None, 75.96, _MEMORY),
    "spikformer_cifar10_2_384": (5.76, None, None, 94.80, _MEMORY),
    "spikformer_cifar100_2_384": (None, None, None, 76.95, _MEMORY),
    "spikformer_in_8_384": (16.81, 6.82, 7.734, 70.24, _QUOTED),
    "spikformer_in_8_512": (29.68, 11.09, 11.577, 73.38, _QUOTED),
    "spikformer_in_10_512": (36.01, 13.67, 13.899, 73.68, _QUOTED),
    "spikformer_in_8_768": (66.34, 22.09, 21.477, 74.81, _QUOTED),
    "spikingformer_cifar10_4_256": (4.15, None, None, 94.77, _OFFICIAL),
    "spikingformer_cifar100_4_256": (None, None, None, 77.43, _OFFICIAL),
    "spikingformer_cifar10_2_384": (5.76, None, None, 95.22, _OFFICIAL),
    "spikingformer_cifar100_2_384": (None, None, None, 78.34, _OFFICIAL),
    "spikingformer_cifar10_4_384": (9.32, None, None, 95.61, _OFFICIAL),
    "spikingformer_cifar100_4_384": (None, None, None, 79.09, _OFFICIAL),
    "spikingformer_in_8_384": (16.81, 3.88, 4.69, 72.45, _OFFICIAL),
    "spikingformer_in_8_512": (29.68, 6.52, 7.46, 74.79, _OFFICIAL),
    "spikingformer_in_8_768": (66.34, 12.54, 13.68, 75.85, _OFFICIAL),
    "sdt1_cifar10_2_512": (None, None, None, 95.60, _QUOTED),
    "sdt1_cifar100_2_512": (10.28, None, None, 78.4, _QUOTED),
    "sdt1_in_8_384": (16.81, None, 3.90, 72.28, _OFFICIAL),
    "sdt1_in_6_512": (23.37, None, 3.56, 74.11, _OFFICIAL),
    "sdt1_in_8_512": (29.68, None, 4.50, 74.57, _OFFICIAL),
    "sdt1_in_10_512": (36.01, None, 5.53, 74.66, _OFFICIAL),
    "sdt1_in_8_768": (66.34, None, 6.09, 77.07, _OFFICIAL),
    "sdt2_in_15M": (15.1, None, 16.7, 74.1, _MEMORY),
    "sdt2_in_8_384": (31.3, None, 32.80, 77.2, _QUOTED),
    "sdt2_in_8_512": (55.4, None, 52.40, 79.7, f"{_QUOTED}; accuracy {_MEMORY}"),
    "sdt2_in_8_512_kd": (None, None, 52.40, 80.0, _QUOTED),
    "sdt3_base_s": (5.1, None, None, 75.3, _QUOTED),
    "sdt3_base_m": (10.0, None, None, 78.5, _PAPER),
    "sdt3_base_l": (19.0, None, 5.9, 79.8, f"accuracy {_PAPER}; energy {_QUOTED}"),
    "sdt3_large_spikformer12_768": (173.0, None, 54.7, 85.1, _QUOTED),
    "qkformer_cifar10_4_384": (6.706234, None, None, 96.18, _PAPER),  # parameters from the released log
    "qkformer_cifar100_4_384": (None, None, None, 81.15, _PAPER),
    "qkformer_in_10_384": (16.47, None, 15.13, 78.80, _PAPER),
    "qkformer_in_10_512": (29.08, None, 21.99, 82.04, _PAPER),
    "qkformer_in_10_768": (64.96, None, 38.91, 84.22, _PAPER),
    "msqkformer_cifar10_4_384": (None, None, None, 96.84, _PAPER),
    "msqkformer_cifar100_4_384": (None, None, None, 81.57, _PAPER),
    "msqkformer_in_10_384": (16.47, None, 5.52, 76.48, _PAPER),
    "msqkformer_in_10_768": (64.96, None, 6.79, 77.78, _PAPER),
    "maxformer_cifar10_4_384": (None, None, None, 97.04, _PAPER),
    "maxformer_cifar100_4_384": (None, None, None, 82.65, _PAPER),
    "maxformer_in_10_384": (16.23, None, 4.89, 77.82, _PAPER),
    "maxformer_in_10_512": (28.65, None, 7.49, 79.86, _PAPER),
    "maxformer_in_10_768": (63.99, None, 14.87, 82.39, _PAPER),
    "spikingresformer_cifar10": (10.79, None, None, 96.24, _MEMORY),
    "spikingresformer_cifar100": (None, None, None, 79.28, _MEMORY),
    "spikingresformer_ti": (11.14, 2.73, 2.46, 74.34, _QUOTED),
    "spikingresformer_s": (17.76, 3.74, 3.37, 75.95, _MEMORY),
    "spikingresformer_m": (35.52, 6.07, 5.46, 77.24, _QUOTED),
    "spikingresformer_l": (60.38, 9.74, 8.76, 78.77, f"{_QUOTED}; operations {_MEMORY}"),
}

_PRINTED_AT = {"sdt1_in_8_768": 288}
