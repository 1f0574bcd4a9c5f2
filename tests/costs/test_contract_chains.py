"""Chains, custom stems, eroding, widths of q, divisors and stages without blocks: pairwise with the other switches.

The promises are those of `test_contract`. A factor here is a switch that came with networks for events, or one of those
that it may meet; every valid pair of two values occurs.
"""

import functools
import itertools
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.costs import contract
from nas.costs.counter import OperationCounter
from nas.costs.static import dense_macs, static_operations
from spikformer import ConfigError, SpikformerConfig, plugins
from spikformer.config import SpikformerConfig as Config
from spikformer.layers import Conv2d, Unit, conv_bn, fed_by_stream
from spikformer.neurons import neuron
from spikformer.operands import REAL
from spikformer.stems import ImageEncoding
from tests.costs.test_contract import assert_keeps_promises


class Patches(nn.Module):
    """A stem of the user's own: patches that do not overlap."""

    def __init__(self, dim: int, config: Config) -> None:
        super().__init__()
        stem = config.stem
        conv = Conv2d(stem.in_channels, dim, stem.stride, fed=REAL, stride=stem.stride, padding=0)
        self.encoding = ImageEncoding(conv, config.time_steps)
        self.neuron = nn.Identity() if config.residual == "ms" else neuron(config)

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        return self.neuron(self.encoding(x_TBCHW))


class Halving(nn.Module):
    """A downsampling of the user's own."""

    def __init__(self, in_dim: int, dim: int, stride: int, config: Config) -> None:
        super().__init__()
        reduction: Any = "pool" if stride == 2 else "none"
        self.unit = Unit(conv_bn(in_dim, dim, 3, fed=fed_by_stream(config), reduction=reduction), config)

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        return self.unit(x_TBCHW)


PLAIN: dict[str, Any] = {"kind": "chain", "chain": [{"width": 0.5, "kernel_size": 5}, {"pool": True}, {"stride": 1}]}
EVENTS: dict[str, Any] = {
    "kind": "chain",
    "chain": [{"width": 0.25}, {"width": 0.5, "pool": True}, {"width": 1.5}, {"pool": True}],
    "shortcut_over": 2,
    "deformed_shortcut": "stride",
}
BEFORE, AFTER = {"pool_order": "before_neuron"}, {"pool_order": "after_neuron"}
STEMS: dict[str, dict[str, Any]] = {
    "plain_before": PLAIN | BEFORE,
    "plain_after": PLAIN | AFTER,
    "shortcut_before": EVENTS | BEFORE,
    "shortcut_after": EVENTS | AFTER | {"deformed_shortcut": "pool"},
    "patches": {"kind": "chain", "chain": [{"kernel_size": 4, "stride": 4}]},
    "own": {"kind": f"{__name__}:Patches", "stride": 2},
}
POSITIONS: dict[str, dict[str, Any]] = {
    "conv": {"position": "conv"},
    "replaced": {"position": "conv", "shortcut": False},
    "learned": {"position": "learned"},
    "cpg": {"position": "cpg"},
    "none": {"position": "none"},
}
DOWNS: dict[str, dict[str, Any]] = {
    "none": {"kind": "none"},
    "chain": {"kind": "chain", "chain": [{"width": 0.5, "pool": True}, {}], "pool_order": "after_neuron"},
    "chain_shortcut": {
        "kind": "chain",
        "chain": [{"stride": 2}, {}],
        "shortcut_over": 2,
        "deformed_shortcut": "pool",
    },
    "own": {"kind": f"{__name__}:Halving"},
}
DEPTHS = {"one": 1, "no_blocks": 0}
MIXERS: dict[str, dict[str, Any]] = {
    "ssa_narrow": {"kind": "ssa", "qkv_dim": 8, "scale_by": "head_dim", "scale": 2.0},
    "ssa_wide": {"kind": "ssa", "qkv_dim": 24, "value_ratio": 2},
    "erode": {"kind": "sdsa", "erode": True},
    "erode_narrow": {"kind": "sdsa", "erode": True, "qkv_dim": 8},
    "qkta_narrow": {"kind": "qkta", "qkv_dim": 8},
    "qkca_wide": {"kind": "qkca", "qkv_dim": 32},
}
NEURONS: dict[str, dict[str, Any]] = {
    "lif": {"kind": "lif"},
    "ternary": {"kind": "ternary"},
    "psn": {"kind": "psn"},
    "counts": {"kind": "multispike", "divisor": 1},
    "eighths": {"kind": "multispike", "divisor": 8},
}
RESIDUALS = {"sew": "sew", "ms": "ms", "sew_iand": "sew_iand"}
TIME_STEPS = {"T1": 1, "T4": 4}
FACTORS: tuple[dict[str, Any], ...] = (STEMS, POSITIONS, DOWNS, DEPTHS, MIXERS, NEURONS, RESIDUALS, TIME_STEPS)

Combination = tuple[str, ...]


def config_of(combination: Combination) -> SpikformerConfig:
    """A small network of two stages, the second of which is the one with few or no blocks.

    Raises:
        ConfigError: there is none.
    """
    stem, position, down, depth, mixer, neurons, residual, time_steps = (
        factor[value] for factor, value in zip(FACTORS, combination, strict=True)
    )
    values = contract.small(residual=residual, time_steps=time_steps)
    values["neuron"] |= neurons
    values["stem"] = {"image_size": 8} | stem | position
    stage = values["stages"][0]
    stage["mixer"] = stage["mixer"] | mixer
    if neurons["kind"] == "multispike":  # products of spikes that are eighths are small
        stage["mixer"]["scale"] = 2.0 * neurons["divisor"] ** 2
    values["stages"].append(stage | {"down": down, "depth": depth, "mixer": {"kind": "identity"}})
    return SpikformerConfig.from_dict(values)


def is_valid(combination: Combination) -> bool:
    _, _, down, depth, *_ = combination
    if (down, depth) == ("none", "no_blocks"):  # one stage, which other combinations have
        return False
    try:
        return bool(config_of(combination))
    except ConfigError:
        return False


@functools.cache
def drawn_combinations(seed: int) -> list[Combination]:
    """A thousand valid ones of 43,200: all would take seconds to write down, and hold no further pair."""
    rng = random.Random(seed)
    drawn = (tuple(rng.choice(list(factor)) for factor in FACTORS) for _ in itertools.count())
    return list(itertools.islice(filter(is_valid, drawn), 1000))


@functools.cache
def pairwise_cover(seed: int) -> list[Combination]:
    """Few of the drawn combinations, in which every pair of two factors' values of theirs occurs: greedy."""
    combinations = drawn_combinations(seed)
    missing = set().union(*map(_pairs, combinations))
    cover = []
    while missing:
        best = max(combinations, key=lambda c: len(_pairs(c) & missing))
        missing -= _pairs(best)
        cover.append(best)
    return cover


@functools.cache
def _pairs(combination: Combination) -> set[tuple[int, int, str, str]]:
    numbered = enumerate(combination)
    return {(i, j, one, other) for (i, one), (j, other) in itertools.combinations(numbered, 2)}


@pytest.fixture(autouse=True)
def _own_blocks() -> None:
    plugins.allow(__name__)


def assert_counts_hold(config: SpikformerConfig, device: torch.device) -> None:
    """The contract; fvcore's dense counts; and what shapes alone tell."""
    assert_keeps_promises(config, device)
    model, images = contract.calibrated(config, device=device)
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    operations = counter.operations()
    dense = sum(op.dense * op.repeats for op in operations if op.kind != "sum")
    assert dense == len(images) * dense_macs(model)[""]
    static = static_operations(config)
    assert [(op.path, op.dense * len(images)) for op in static] == [(op.path, op.dense) for op in operations]


IN_CI = 8


@pytest.mark.parametrize("combination", pairwise_cover(0)[:IN_CI], ids="-".join)
def test_pairs_that_cover_most(combination: Combination, device: torch.device) -> None:
    """The greedy cover begins with combinations of which each holds many pairs that no other has held yet."""
    assert_counts_hold(config_of(combination), device)


def test_what_runs_always_holds_every_value() -> None:
    """The rest of the cover is `exhaustive`."""
    for i, factor in enumerate(FACTORS):
        assert {c[i] for c in pairwise_cover(0)[:IN_CI]} == set(factor)


def test_the_cover_misses_no_pair_but_those_that_no_network_has() -> None:
    """Ruled out by hand: sew_iand with 3 neurons, 4 masks with 2, and a stage of neither blocks nor downsampling."""
    held = {pair for c in pairwise_cover(0) for pair in _pairs(c)}
    every = sum(len(one) * len(other) for one, other in itertools.combinations(FACTORS, 2))
    assert every - len(held) == 3 + 4 * 2 + 1


@pytest.mark.exhaustive
@pytest.mark.parametrize("combination", [*pairwise_cover(0)[IN_CI:], *pairwise_cover(1)], ids="-".join)
def test_pairs(combination: Combination, device: torch.device) -> None:
    assert_counts_hold(config_of(combination), device)
