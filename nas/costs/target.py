"""The network to train in full, from the proxy that is searched: its geometry, and its predicted energy.

A network that is fed frames of events has no such network for ImageNet: its proxy says nothing of how busy layers are
behind pixels.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from nas.costs import energy
from nas.costs.energy import MEASURED, Convention
from nas.costs.operations import Operation, reads_counts
from nas.errors import CostError
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
    with 7 x 7 pixels (SpikingResformer); a chain by more or fewer pools and longer or shorter strides. Windows keep
    their share of the grid and patches their side, as far as the new grid can be divided so.

    Raises:
        ConfigError: stages that halve the grid more often than the image size allows.
    """
    halvings = max(0, halvings - sum(int(math.log2(stage.down.downsampling)) for stage in config.stages))
    once, twice = halvings >= 1, halvings >= 2
    changes: dict[str, dict[str, Any]] = {
        "sps": {"pool": tuple(i < halvings for i in range(4))},
        "speds": {
            "encode": "pool" if twice else "none",
            "convs": ("pool", "none") if once else ("none",),
            "deformed_shortcut": "stride" if once else "none",
        },
        "conv": {"kernel_size": 7, "stride": 2 if once else 1, "max_pool": twice},
        "chain": _chain(config.stem, halvings) if config.stem.kind == "chain" else {},
    }
    own = {"stride": 2**halvings}  # of a class of the user's own
    fields = changes.get(config.stem.kind, own)
    stem = dataclasses.replace(config.stem, image_size=image_size, in_channels=in_channels, **fields)
    head = dataclasses.replace(config.head, num_classes=num_classes)
    plain = tuple(_cut(stage, 1, 1) for stage in config.stages)
    grids = dataclasses.replace(config, stem=stem, head=head, stages=plain).grids
    stages = tuple(map(_cut, config.stages, config.grids, grids))
    return dataclasses.replace(config, stem=stem, head=head, stages=stages)


def _chain(stem: StemConfig, halvings: int) -> dict[str, Any]:
    """The convolutions of a chain that halve the image so often, and how their shortcut then does.

    Patches that do not overlap grow or shrink. Else the first convolutions that keep the size get a pool, then those
    that halve it by their stride, then strides grow; or the last ones lose what halves: their pools, then strides.
    """
    chain = list(stem.chain)
    while (missing := halvings - int(math.log2(math.prod(conv.downsampling for conv in chain)))) != 0:
        change = _halving_once_more if missing > 0 else _halving_once_less
        chain = change(chain)
    passed = math.prod(conv.downsampling for conv in chain[len(chain) - stem.shortcut_over :])
    how = "none" if passed == 1 else "stride" if stem.deformed_shortcut == "none" else stem.deformed_shortcut
    return {"chain": tuple(chain), "deformed_shortcut": how}


def _halving_once_more(chain: list[ConvConfig]) -> list[ConvConfig]:
    def place(i: int) -> tuple[bool, bool, int, int]:
        return not _is_patch(chain[i]) or chain[i].stride > 8, chain[i].pool, chain[i].stride, i

    i = min(range(len(chain)), key=place)
    conv = chain[i]
    if _is_patch(conv) and conv.stride <= 8:
        conv = dataclasses.replace(conv, kernel_size=2 * conv.kernel_size, stride=2 * conv.stride)
    elif conv.pool:
        conv = dataclasses.replace(conv, stride=2 * conv.stride)
    else:
        conv = dataclasses.replace(conv, pool=True)
    return [*chain[:i], conv, *chain[i + 1 :]]


def _halving_once_less(chain: list[ConvConfig]) -> list[ConvConfig]:
    i = max((i for i, conv in enumerate(chain) if conv.downsampling > 1), key=lambda i: (chain[i].pool, i))
    conv = chain[i]
    if conv.pool:
        conv = dataclasses.replace(conv, pool=False)
    else:
        size = conv.kernel_size // 2 if _is_patch(conv) else conv.kernel_size
        conv = dataclasses.replace(conv, kernel_size=size, stride=conv.stride // 2)
    return [*chain[:i], conv, *chain[i + 1 :]]


def _is_patch(conv: ConvConfig) -> bool:
    return conv.kernel_size == conv.stride > 1


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

    Raises:
        CostError: the proxy was fed frames of events, and the network is fed images.
    """
    from nas.costs.static import static_operations  # torch, only now

    operations = tuple(operations)
    if reads_counts(operations):
        raise CostError(
            "no energy on ImageNet is predicted from frames of events: layers behind pixels are busy in other ways. "
            "Train the network as it was searched"
        )
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
