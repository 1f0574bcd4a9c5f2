"""Networks of a budget's size lie on the line of the small one."""

import dataclasses
import time

import pytest

from nas.costs import scaling, target
from nas.costs.static import parts, static_model
from nas.errors import TrainingError
from spikformer import published
from spikformer.config import SpikformerConfig


@pytest.mark.parametrize("family", ["spikformer", "spikingformer", "sdt1"])
def test_twice_the_width_of_2_256_is_the_authors_8_512(family: str) -> None:
    """The published network for ImageNet, but for biases of q, k and v that Spikformer has for CIFAR only."""
    small = target.for_imagenet(published.config(f"{family}_cifar10_2_256"))
    expected = published.config(f"{family}_in_8_512")
    found = scaling.scaled(small, 2.0)
    mixer = dataclasses.replace(found.stages[0].mixer, qkv_bias=False)
    assert dataclasses.replace(found, stages=(dataclasses.replace(found.stages[0], mixer=mixer),)) == expected


def _parameters(config: SpikformerConfig) -> int:
    return sum(p.numel() for p in static_model(config).parameters())


@pytest.mark.parametrize(
    "network",
    [
        "spikformer_cifar10_2_256",
        pytest.param("qkformer_cifar10_4_384", marks=pytest.mark.exhaustive),
        pytest.param("spikingresformer_cifar10", marks=pytest.mark.exhaustive),
    ],
)
def test_the_budget_is_kept_and_nearly_spent(network: str) -> None:
    """Counted on what was built; a twentieth wider, it would be exceeded."""
    small = target.for_imagenet(published.config(network))
    found = scaling.to_budget(small, params=16_000_000)
    assert 12_000_000 < _parameters(found) <= 16_000_000
    assert (
        _parameters(scaling.scaled(small, found.stages[-1].embed_dim / small.stages[-1].embed_dim * 1.1)) > 16_000_000
    )
    assert [stage.mixer.num_heads for stage in found.stages] == [stage.mixer.num_heads for stage in small.stages]
    macs = parts(static_model(found))[0].dense_macs
    both = scaling.to_budget(small, params=16_000_000, macs=macs // 2)
    assert parts(static_model(both))[0].dense_macs <= macs // 2
    assert _parameters(both) < _parameters(found)


def test_depth_ends_at_twelve_blocks_and_deeper_networks_keep_theirs() -> None:
    small = target.for_imagenet(published.config("spikformer_cifar10_4_384"))
    assert [stage.depth for stage in scaling.scaled(small, 4.0).stages] == [12]
    deep = published.config("sdt3_large_spikformer12_768")
    assert [stage.depth for stage in scaling.scaled(deep, 2.0).stages] == [1, 1, 2, 12]


def test_a_budget_below_the_smallest_is_refused() -> None:
    with pytest.raises(TrainingError, match="no network of this kind has at most 1,000 parameters: the smallest has"):
        scaling.to_budget(published.config("spikformer_in_8_384"), params=1000)


@pytest.mark.parametrize(
    "budget", [{"macs": int(9e29)}, {"macs": 2 * 10**13}, {"params": int(9e29)}, {"params": 10**12, "macs": 10**20}]
)
def test_a_budget_that_no_network_reaches_is_refused_at_once(budget: dict[str, int]) -> None:
    """Tracing what the largest multiplies would take an hour: shapes tell it."""
    started = time.monotonic()
    with pytest.raises(TrainingError, match=r"no network of this kind comes near .*has 4,0\d\d channels and"):
        scaling.to_budget(published.config("spikformer_in_8_384"), **budget)
    assert time.monotonic() - started < 20


@pytest.mark.exhaustive
def test_the_line_ends_at_its_widest() -> None:
    """Also if one budget is no limit."""
    small = published.config("spikformer_cifar10_2_256")
    found = scaling.to_budget(small, params=_parameters(scaling.scaled(small, 2.0)), macs=int(9e29))
    assert found == scaling.scaled(small, 2.0)
    widest = scaling.to_budget(small, params=_parameters(scaling.scaled(small, 16.0)) - 1)
    assert 4000 < widest.stages[0].embed_dim < 4096


def test_a_width_of_queries_and_a_stage_without_blocks_scale_by_hand() -> None:
    """Widths are multiples of 24, for 8 and the thirds of the chain; q grows as the width in its stage; 0 stays 0."""
    stage = {"embed_dim": 24, "depth": 1, "mixer": {"num_heads": 2, "qkv_dim": 8}}
    down = {"kind": "chain", "chain": [{"width": 1 / 3}, {}]}
    stages = [stage, stage | {"embed_dim": 48, "depth": 0, "down": down}]
    config = SpikformerConfig.from_dict({"stages": stages})
    for factor, widths, queries in ((2.0, [48, 96], 16), (1.3, [24, 72], 8)):
        large = scaling.scaled(config, factor)
        assert [each.embed_dim for each in large.stages] == widths
        assert large.stages[0].mixer.qkv_dim == queries
        assert [bool(each.depth) for each in large.stages] == [True, False]
