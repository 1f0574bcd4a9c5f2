"""Energy of the network that will be trained, from its own shapes and the proxy's rates."""

import dataclasses
from typing import Any

import pytest
import torch

from nas.costs import energy, target
from nas.costs.counter import OperationCounter
from nas.costs.static import static_operations
from spikformer import SpikformerConfig, published
from spikformer.operands import BINARY
from tests.costs.test_energy import operation
from tests.helpers import calibrated, small_config


@pytest.mark.parametrize("residual", ["sew", "ms"])
@pytest.mark.parametrize("attention", ["ssa", "sdsa", "qkta"])
def test_shapes_alone_give_the_static_counts(residual: str, attention: str) -> None:
    """Without weights or values: what a real run counts, but for the spikes."""
    model, images = calibrated(small_config(residual, attention))
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images[:1])
    blank = {"nonzero": 0, "multiplicity": 0, "events": 0, "spikes": 0}
    ran = tuple(dataclasses.replace(op, **blank) for op in counter.operations())
    assert static_operations(model.config) == ran


def test_static_counts_of_a_published_network() -> None:
    """33,436,192,768 dense MACs at T = 4, as the authors' code has on meta tensors."""
    operations = static_operations(published.config("spikformer_in_8_512"))
    assert sum(op.dense * op.repeats for op in operations) == 33_436_192_768


def test_its_own_energy_is_predicted_for_the_proxy_itself() -> None:
    """Equal geometry: what was counted, up to the rounding to whole operations of one image."""
    model, images = calibrated(small_config())
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    counted = counter.operations()
    predicted = target.predicted_energy_mj(counted, model.config)
    assert predicted == pytest.approx(energy.price(counted, len(images)).energy_mj, rel=1e-3)


def test_a_layer_is_as_busy_as_the_proxys_by_hand() -> None:
    """30 events among 100 valid pairs: 600 among 2000. A layer that the proxy lacks is as busy as the one before it."""
    counted = [operation("weight", (BINARY,), valid=100, nonzero=30, events=30, values=10, spikes=3)]
    large = [
        operation("weight", (BINARY,), dense=2500, valid=2000, values=200),
        operation("weight", (BINARY,), path="new", dense=2500, valid=1000, values=100),
    ]
    found = target._at_rates(counted, large)
    assert [(op.nonzero, op.events, op.spikes) for op in found] == [(600, 600, 60), (300, 300, 30)]
    assert [op.dense for op in found] == [2500, 2500]


def test_a_larger_network_costs_more() -> None:
    model, images = calibrated(small_config())
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    large = target.for_imagenet(model.config)
    measured = energy.price(counter.operations(), len(images)).energy_mj
    assert target.predicted_energy_mj(counter.operations(), large) > 10 * measured


PLAIN = {"width": 1.0, "kernel_size": 3, "stride": 1, "pool": False}
POOL, STRIDE = PLAIN | {"pool": True}, PLAIN | {"stride": 2}
PATCHES = PLAIN | {"kernel_size": 8, "stride": 8}


@pytest.mark.parametrize(
    ("chain", "halvings", "expected"),
    [
        ([PLAIN, POOL], 1, [PLAIN, POOL]),
        ([PLAIN, PLAIN, PLAIN], 2, [POOL, POOL, PLAIN]),
        ([STRIDE, PLAIN, POOL], 3, [STRIDE, POOL, POOL]),
        ([STRIDE, POOL], 3, [STRIDE | {"pool": True}, POOL]),  # none is left that keeps the size
        ([STRIDE], 4, [POOL | {"stride": 8}]),
        ([PLAIN, PLAIN], 3, [POOL | {"stride": 2}, POOL]),
        ([POOL, POOL, POOL], 1, [POOL, PLAIN, PLAIN]),
        ([STRIDE, STRIDE | {"pool": True}], 1, [STRIDE, PLAIN]),  # its pool first, then its stride
        ([POOL, STRIDE], 1, [PLAIN, STRIDE]),
        ([PATCHES], 4, [PATCHES | {"kernel_size": 16, "stride": 16}]),
        ([PATCHES], 5, [POOL | {"kernel_size": 16, "stride": 16}]),
        ([PATCHES], 1, [PLAIN | {"kernel_size": 2, "stride": 2}]),
        ([PATCHES], 0, [PLAIN | {"kernel_size": 1}]),
        ([PLAIN | {"kernel_size": 7, "stride": 4}], 1, [PLAIN | {"kernel_size": 7, "stride": 2}]),
    ],
)
def test_a_chain_halves_the_image_as_often_as_it_must_by_hand(
    chain: list[dict[str, Any]], halvings: int, expected: list[dict[str, Any]]
) -> None:
    stem = {"kind": "chain", "image_size": 64, "chain": chain, "position": "none"}
    config = SpikformerConfig.from_dict({"stem": stem, "stages": [{"embed_dim": 16, "mixer": {"num_heads": 2}}]})
    large = target.for_images(config, 128, 2, 7, halvings)
    assert large.to_dict()["stem"]["chain"] == expected


@pytest.mark.parametrize(
    ("before", "halvings", "after"), [("pool", 1, "none"), ("pool", 2, "pool"), ("stride", 3, "stride")]
)
def test_the_shortcut_of_a_chain_divides_the_image_as_its_convolutions_do(
    before: str, halvings: int, after: str
) -> None:
    """By hand: the pools that are left of three stand in front, and the shortcut leads past the last two."""
    chain = {"kind": "chain", "image_size": 64, "chain": [POOL, POOL, POOL], "shortcut_over": 2}
    config = SpikformerConfig.from_dict({"stem": chain | {"deformed_shortcut": before}})
    assert target.for_images(config, 128, 3, 10, halvings).stem.deformed_shortcut == after
    kept = {"kind": "chain", "image_size": 64, "chain": [PLAIN, PLAIN], "shortcut_over": 1}
    assert (
        target.for_images(SpikformerConfig.from_dict({"stem": kept}), 64, 3, 10, 2).stem.deformed_shortcut == "stride"
    )


def test_a_custom_stem_divides_the_image_by_its_stride() -> None:
    """Four halvings, of which a downsampling of a stage without blocks makes two."""
    stage: dict[str, Any] = {"embed_dim": 16, "mixer": {"num_heads": 2}, "depth": 1}
    last = stage | {"depth": 0, "down": {"kind": "chain", "chain": [STRIDE, POOL]}}
    stem = {"kind": "nowhere:Stem", "image_size": 32, "stride": 8}
    large = target.for_imagenet(SpikformerConfig.from_dict({"stem": stem, "stages": [stage, last]}))
    assert (large.stem.stride, large.grids, large.stages[1].depth) == (4, (56, 14), 0)
