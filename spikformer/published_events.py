"""Published networks for event cameras, by name: points of the config schema.

They take frames of counted events, [T, B, 2, H, W], with one channel for each polarity; those of SpikingResformer have
the sum of both as a third. A name is family, data set and size: "cifar10dvs" is CIFAR10-DVS, "dvs128" is DVS128
Gesture, "hardvs" is HARDVS. Settings are those of the authors' code. Where it runs with several numbers of time steps,
the largest is taken.

Two of their networks have no name: MS-QKFormer, whose released forward pass for events raises a TypeError, and the
"Spikeyolo" of Spike-driven Transformer V3, which has convolutions only.
"""

import functools
from collections.abc import Callable
from dataclasses import replace

from spikformer.config import (
    ConvConfig,
    DownConfig,
    HeadConfig,
    MixerConfig,
    MLPConfig,
    NeuronConfig,
    SpikformerConfig,
    StageConfig,
    StemConfig,
)
from spikformer.published_networks import sdt2, sdt3_base, spikingresformer

CLASSES = {"cifar10dvs": 10, "dvs128": 11, "hardvs": 300}

# One stage of two blocks of 256 channels: Spikformer, Spikingformer, Spike-driven Transformer.


def _spikformer(dataset: str) -> SpikformerConfig:
    return SpikformerConfig(
        time_steps=16,
        residual="sew",
        stem=StemConfig(image_size=128, in_channels=2, pool=(True, True, True, True)),
        stages=(StageConfig(256, 2, mixer=MixerConfig("ssa", 16, scale=0.25)),),  # twice the scale for images
        head=HeadConfig(CLASSES[dataset]),
    )


def _spikingformer(dataset: str) -> SpikformerConfig:
    return SpikformerConfig(
        time_steps=16,
        residual="ms",
        neuron=NeuronConfig(tau=1.5),
        stem=StemConfig(image_size=128, in_channels=2, pool=(True, True, True, True), shortcut=False),
        stages=(StageConfig(256, 2, mixer=MixerConfig("ssa", 16)),),
        head=HeadConfig(CLASSES[dataset]),
    )


def _sdt1(dataset: str) -> SpikformerConfig:
    """On CIFAR10-DVS their `dvs_mode` pools k, v and what is made of them, and frames are shrunk to 64 x 64."""
    small = dataset == "cifar10dvs"
    pool = (False, not small, True, True)
    return SpikformerConfig(
        time_steps=10 if small else 16,
        residual="ms",
        stem=StemConfig(image_size=64 if small else 128, in_channels=2, pool=pool),
        stages=(StageConfig(256, 2, mixer=MixerConfig("sdsa", 8, erode=small)),),
        head=HeadConfig(CLASSES[dataset], neuron=True, time_mean="after"),
    )


# Two stages of one block, of 128 and 256 channels: QKFormer, Max-Former.

_CHAIN = StemConfig(
    "chain",
    image_size=128,
    in_channels=2,
    position="none",
    pool_order="before_neuron",
    chain=(ConvConfig(0.125), ConvConfig(0.25, pool=True), ConvConfig(0.5, pool=True), ConvConfig(pool=True)),
    shortcut_over=2,
    deformed_shortcut="stride",
)


def _qkformer(dataset: str, mlp_ratio: float) -> SpikformerConfig:
    """As for images, the authors' code mixes the images of a batch; here each is on its own."""
    mlp = MLPConfig(ratio=mlp_ratio)
    down = DownConfig("speds", convs=("none", "pool"), deformed_shortcut="stride")
    return SpikformerConfig(
        time_steps=16,
        residual="sew",
        stem=_CHAIN,
        stages=(
            StageConfig(128, 1, mixer=MixerConfig("qkta", 16), mlp=mlp),
            StageConfig(256, 1, down, mixer=MixerConfig("ssa", 16), mlp=mlp),
        ),
        head=HeadConfig(CLASSES[dataset]),
    )


def _maxformer(dataset: str) -> SpikformerConfig:
    mlp = MLPConfig(ratio=1, inner_residual=True)
    down = DownConfig("speds", convs=("pool", "none"), deformed_shortcut="pool")
    return SpikformerConfig(
        time_steps=16,
        residual="ms",
        stem=_CHAIN,
        stages=(
            StageConfig(128, 1, mixer=MixerConfig("dwconv", kernel_size=3), mlp=mlp),
            StageConfig(256, 1, down, mixer=MixerConfig("ssa", 16), mlp=mlp),
        ),
        head=HeadConfig(CLASSES[dataset], neuron=True),
    )


# As for images, in other sizes: SpikingResformer, Spike-driven Transformer V2 and V3.


def _on_frames(
    network: SpikformerConfig, dataset: str, image_size: int, time_steps: int, channels: int = 2
) -> SpikformerConfig:
    return replace(
        network,
        time_steps=time_steps,
        stem=replace(network.stem, image_size=image_size, in_channels=channels),
        head=replace(network.head, num_classes=CLASSES[dataset]),
    )


def _spikingresformer_cifar10dvs() -> SpikformerConfig:
    """Their "Ti*", as on CIFAR."""
    return _on_frames(spikingresformer("cifar10", 64, 192, 384), "cifar10dvs", 64, 16, channels=3)


def _spikingresformer_dvs128() -> SpikformerConfig:
    network = spikingresformer("cifar10", 32, 96, 192, group_width=32)
    network = replace(network, neuron=replace(network.neuron, kind="plif"))
    return _on_frames(network, "dvs128", 64, 16, channels=3)


def _spikingresformer_s(dataset: str) -> SpikformerConfig:
    """The one that is transferred: all its weights but those of the classifier come from ImageNet."""
    return _on_frames(spikingresformer("in", 64, 256, 512), dataset, 128, 10, channels=3)


def _sdt2(dataset: str, width: int) -> SpikformerConfig:
    """With two attention blocks fewer than for images."""
    widths = (width // 8, width // 4, width // 2, width, 5 * width // 4)
    network = sdt2(widths, depths=(1, 1, 2, 4, 2))
    return _on_frames(network, dataset, 64 if dataset == "cifar10dvs" else 224, time_steps=8)


def _sdt3(dataset: str, depths: tuple[int, ...], divisor: int) -> SpikformerConfig:
    """Each branch of attention blocks has a layer scale, and spikes are divided by another number than for images."""
    network = sdt3_base(32, 64, 128, 256, 360, depths=depths)
    stages = (*network.stages[:3], *(_with_layer_scales(stage) for stage in network.stages[3:]))
    network = replace(network, stages=stages, neuron=replace(network.neuron, divisor=divisor))
    return _on_frames(network, dataset, 128 if dataset == "dvs128" else 224, time_steps=8)


def _with_layer_scales(stage: StageConfig, start: float = 1e-6) -> StageConfig:
    return replace(
        stage,
        local=replace(stage.local, layer_scale=start),
        mixer=replace(stage.mixer, layer_scale=start),
        mlp=replace(stage.mlp, layer_scale=start),
    )


POINTS: dict[str, Callable[[], SpikformerConfig]] = {
    "spikformer_cifar10dvs_2_256": functools.partial(_spikformer, "cifar10dvs"),
    "spikingformer_cifar10dvs_2_256": functools.partial(_spikingformer, "cifar10dvs"),
    "spikingformer_dvs128_2_256": functools.partial(_spikingformer, "dvs128"),
    "sdt1_cifar10dvs_2_256": functools.partial(_sdt1, "cifar10dvs"),
    "sdt1_dvs128_2_256": functools.partial(_sdt1, "dvs128"),
    "qkformer_cifar10dvs_256": functools.partial(_qkformer, "cifar10dvs", mlp_ratio=1),
    "qkformer_dvs128_256": functools.partial(_qkformer, "dvs128", mlp_ratio=4),
    "maxformer_cifar10dvs_256": functools.partial(_maxformer, "cifar10dvs"),
    "maxformer_dvs128_256": functools.partial(_maxformer, "dvs128"),
    "spikingresformer_cifar10dvs": _spikingresformer_cifar10dvs,
    "spikingresformer_dvs128": _spikingresformer_dvs128,
    "spikingresformer_s_cifar10dvs": functools.partial(_spikingresformer_s, "cifar10dvs"),
    "spikingresformer_s_dvs128": functools.partial(_spikingresformer_s, "dvs128"),
    "sdt2_cifar10dvs_320": functools.partial(_sdt2, "cifar10dvs", 320),
    "sdt2_hardvs_320": functools.partial(_sdt2, "hardvs", 320),
    "sdt2_hardvs_384": functools.partial(_sdt2, "hardvs", 384),
    "sdt2_hardvs_512": functools.partial(_sdt2, "hardvs", 512),
    "sdt3_base_hardvs_19M": functools.partial(_sdt3, "hardvs", (1, 1, 2, 6, 2), divisor=1),
    # "2_8M" in their code, although it has 5.6 million parameters: a last stage without blocks is all downsampling.
    "sdt3_base_dvs128_2_8M": functools.partial(_sdt3, "dvs128", (1, 1, 2, 1, 0), divisor=8),
}


__all__ = ["CLASSES", "POINTS"]
