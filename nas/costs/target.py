"""The network to train in full, from the proxy that is searched: its geometry, and its predicted energy."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from nas.costs import energy
from nas.costs.energy import MEASURED, Convention
from nas.costs.operations import Operation
from spikformer.config import ConvConfig, MixerConfig, SpikformerConfig, StageConfig, StemConfig
from spikformer.fields import divisors

IMAGE_SIZE = 224  # pixels, of ImageNet
PREDICTION_ERROR = 0.32
"""Largest relative error seen where the truth is known, Spikingformer-8-512 from short trainings on CIFAR-10: the
predictions were too low (`benchmarks/target_energy.py`)."""


def for_imagenet(config: SpikformerConfig, image_size: int = IMAGE_SIZE) -> SpikformerConfig:
    """The same network for colour images of 1000 classes, with one token in its last stage for 16 x 16 pixels.

    14 x 14 tokens of 224 x 224 pixels are the grid of nearly all published networks.

    Raises:
        ConfigError: stages that halve the grid more often than the image size allows.
    """
    return for_images(config, image_size, 3, 1000, 4)


def for_images(
    config: SpikformerConfig, image_size: int, in_channels: int, num_classes: int, halvings: int
) -> SpikformerConfig:
    """The same network for other images, their side halved so often on the way to its last stage.

    The stem halves as often as the stages leave to it: sps by pools behind its first convolutions; speds at most
    twice, by pools in its encoding and its first convolution (QKFormer); conv at most twice, by its stride and a pool,
    with 7 x 7 pixels (SpikingResformer); chain by further pools behind its first convolutions, or by fewer pools, and
    then smaller strides, of its last; a custom stem by its stride, at most 16. Windows keep their share of the grid and
    patches their side, as far as the new grid can be divided so.

    Raises:
        ConfigError: stages that halve the grid more often than the image size allows.
    """
    halvings = max(0, halvings - sum(int(math.log2(stage.down.downsampling)) for stage in config.stages))
    changes = _halved(config.stem, halvings)
    stem = dataclasses.replace(config.stem, image_size=image_size, in_channels=in_channels, **changes)
    head = dataclasses.replace(config.head, num_classes=num_classes)
    plain = tuple(_cut(stage, 1, 1) for stage in config.stages)
    grids = dataclasses.replace(config, stem=stem, head=head, stages=plain).grids
    stages = tuple(map(_cut, config.stages, config.grids, grids))
    return dataclasses.replace(config, stem=stem, head=head, stages=stages)


def _halved(stem: StemConfig, halvings: int) -> dict[str, Any]:
    """The fields by which a stem halves the image so often, or as often as it can."""
    once, twice = halvings >= 1, halvings >= 2
    match stem.kind:
        case "sps":
            return {"pool": tuple(i < halvings for i in range(4))}
        case "speds":
            convs = ("pool", "none") if once else ("none",)
            shortcut = "stride" if once else "none"
            return {"encode": "pool" if twice else "none", "convs": convs, "deformed_shortcut": shortcut}
        case "conv":
            return {"kernel_size": 7, "stride": 2 if once else 1, "max_pool": twice}
        case "chain":
            return _halved_chain(stem, halvings)
    return {"stride": 2 ** min(halvings, 4)}


def _halved_chain(stem: StemConfig, halvings: int) -> dict[str, Any]:
    chain = list(stem.chain)
    surplus = int(math.log2(stem.downsampling)) - halvings
    for i in (i for still in (True, False) for i, conv in enumerate(chain) if (conv.downsampling == 1) is still):
        if surplus < 0 and not chain[i].pool:
            chain[i] = dataclasses.replace(chain[i], pool=True)
            surplus += 1
    for i in reversed(range(len(chain))):
        if surplus > 0 and chain[i].pool:
            chain[i] = dataclasses.replace(chain[i], pool=False)
            surplus -= 1
    for i in reversed(range(len(chain))):
        while surplus > 0 and chain[i].stride > 1:
            chain[i] = _with_half_the_stride(chain[i])
            surplus -= 1
    passed = math.prod(conv.downsampling for conv in chain[len(chain) - stem.shortcut_over :])
    shortcut = "none" if passed == 1 else "stride" if stem.deformed_shortcut == "none" else stem.deformed_shortcut
    return {"chain": tuple(chain), "deformed_shortcut": shortcut}


def _with_half_the_stride(conv: ConvConfig) -> ConvConfig:
    """Patches that do not overlap stay such."""
    size = conv.kernel_size // 2 if conv.kernel_size == conv.stride else conv.kernel_size
    return dataclasses.replace(conv, stride=conv.stride // 2, kernel_size=size)


def _cut(stage: StageConfig, old_grid: int, grid: int) -> StageConfig:
    """The stage with windows and patches that divide another grid."""

    def fitted(mixer: MixerConfig) -> MixerConfig:
        window = min(divisors(grid), key=lambda n: abs(n - mixer.window * grid / old_grid)) if mixer.window else 0
        patch = min(divisors(grid), key=lambda n: abs(n - mixer.patch))
        return dataclasses.replace(mixer, window=window, patch=patch)

    return dataclasses.replace(stage, local=fitted(stage.local), mixer=fitted(stage.mixer))


def predicted_energy_mj(
    operations: Iterable[Operation], target: SpikformerConfig, convention: Convention = MEASURED
) -> float:
    """Energy of one image in a network that was not trained: its own operations, exactly, at the proxy's rates.

    An assumption, not a measurement: that a layer of the larger network is as busy as the proxy's of the same path.

    Args:
        operations: counted on the proxy.
        target: the network; `for_imagenet` of the proxy's config.
    """
    from nas.costs.static import static_operations  # torch, only now

    return energy.price(_at_rates(operations, static_operations(target)), 1, convention).energy_mj


def _at_rates(counted: Iterable[Operation], static: Iterable[Operation]) -> list[Operation]:
    """Each operation of a network, as busy as the counted one of its path; one that is new, as the one before it."""
    by_place = {(op.path, op.index): op for op in counted}
    source = next(iter(by_place.values()))
    operations = []
    for op in static:
        source = by_place.get((op.path, op.index), source)
        operations.append(_as_busy(op, source))
    return operations


def _as_busy(op: Operation, source: Operation) -> Operation:
    share = {name: getattr(source, name) / source.valid for name in ("nonzero", "multiplicity", "events")}
    spikes = source.spikes / source.values * op.values if source.values else 0
    return dataclasses.replace(
        op, spikes=round(spikes), **{name: round(rate * op.valid) for name, rate in share.items()}
    )


__all__ = ["IMAGE_SIZE", "PREDICTION_ERROR", "for_imagenet", "for_images", "predicted_energy_mj"]
