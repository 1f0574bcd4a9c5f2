"""Published networks by name: points of the config schema.

Settings are those of the authors' code. Weights that their code builds and never uses (layer norms,
`talking_heads`) are left out, which is also how the papers count parameters.
"""

import functools
import itertools
from collections.abc import Callable

from spikformer.config import (
    AttentionConfig,
    HeadConfig,
    MLPConfig,
    SpikformerConfig,
    StageConfig,
    StemConfig,
    nearest,
)
from spikformer.errors import ConfigError

_CIFAR = {"cifar10": 10, "cifar100": 100}
_IMAGENET_CLASSES = 1000


def names() -> list[str]:
    """Every name that `config` knows."""
    return sorted(_POINTS)


def config(name: str) -> SpikformerConfig:
    """The config of a published network, such as "spikformer_cifar10_4_384" (depth 4, width 384).

    Raises:
        ConfigError: no network of that name.
    """
    if name not in _POINTS:
        raise ConfigError(f'no published network is named "{name}". {nearest(name, names())}')
    return _POINTS[name]()


def _stem(dataset: str, shortcut: bool) -> StemConfig:
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
    mixer = AttentionConfig("ssa", _heads(dataset, dim), qkv_bias=dataset in _CIFAR)
    return SpikformerConfig(
        residual="sew",
        stem=_stem(dataset, shortcut=True),
        stages=(StageConfig(dim, depth, mixer, MLPConfig(4)),),
        head=HeadConfig(_classes(dataset)),
    )


def _spikingformer(dataset: str, depth: int, dim: int) -> SpikformerConfig:
    """Zhou et al., "Spikingformer: Spike-driven Residual Learning for Transformer-based SNN", 2023."""
    return SpikformerConfig(
        residual="ms",
        stem=_stem(dataset, shortcut=False),
        stages=(StageConfig(dim, depth, AttentionConfig("ssa", _heads(dataset, dim)), MLPConfig(4)),),
        head=HeadConfig(_classes(dataset)),
    )


def _sdt1(dataset: str, depth: int, dim: int) -> SpikformerConfig:
    """Yao et al., "Spike-driven Transformer", NeurIPS 2023."""
    return SpikformerConfig(
        residual="ms",
        stem=_stem(dataset, shortcut=True),
        stages=(StageConfig(dim, depth, AttentionConfig("sdsa", 8), MLPConfig(4)),),
        head=HeadConfig(_classes(dataset), neuron=True),
    )


_FAMILIES: dict[str, tuple[Callable[[str, int, int], SpikformerConfig], list[str], list[str]]] = {
    "spikformer": (_spikformer, ["2_256", "2_384", "4_256", "4_384"], ["6_512", "8_384", "8_512", "10_512", "8_768"]),
    "spikingformer": (_spikingformer, ["2_256", "2_384", "4_256", "4_384"], ["8_384", "8_512", "8_768"]),
    "sdt1": (_sdt1, ["2_256", "2_512"], ["8_384", "6_512", "8_512", "10_512", "8_768"]),
}


def _points() -> dict[str, Callable[[], SpikformerConfig]]:
    points: dict[str, Callable[[], SpikformerConfig]] = {}
    for family, (build, cifar_sizes, imagenet_sizes) in _FAMILIES.items():
        sizes = [*itertools.product(_CIFAR, cifar_sizes), *itertools.product(["in"], imagenet_sizes)]
        for dataset, size in sizes:
            depth, dim = (int(n) for n in size.split("_"))
            points[f"{family}_{dataset}_{size}"] = functools.partial(build, dataset, depth, dim)
    return points


_POINTS = _points()
