"""Every part with every other: token mixer x channel mixer x residual x placement x neuron."""

import functools
import itertools
import random
from typing import Any

import pytest
import torch

from nas.costs import contract
from nas.costs.counter import OperationCounter
from nas.costs.static import dense_macs
from spikformer import ConfigError, SpikformerConfig

TOKEN_MIXERS: dict[str, dict[str, Any]] = {
    "ssa": {"kind": "ssa"},
    "ssa_map": {"kind": "ssa", "neuron_on": "map"},
    "ssa_window": {"kind": "ssa", "window": 2},
    "ssa_time": {"kind": "ssa", "time_window": 0},
    "ssa_window_time": {"kind": "ssa", "window": 2, "time_window": 2},
    "ssa_rep": {"kind": "ssa", "projection": "rep"},
    "ssa_wide_value": {"kind": "ssa", "value_ratio": 4, "scale_by": "head_dim", "proj_bias": False},
    "sdsa": {"kind": "sdsa", "projection": "rep1"},
    "qkta": {"kind": "qkta"},
    "qkca": {"kind": "qkca"},
    "dssa": {"kind": "dssa", "patch": 2},
    "sepconv": {"kind": "sepconv", "kernel_size": 3},
    "sepconv_middle": {"kind": "sepconv", "kernel_size": 3, "middle_neuron": True},
    "dwconv": {"kind": "dwconv", "kernel_size": 5},
    "identity": {"kind": "identity"},
}
CHANNEL_MIXERS: dict[str, dict[str, Any]] = {
    "mlp": {"kind": "mlp", "ratio": 2},
    "inner_residual": {"kind": "mlp", "ratio": 1, "inner_residual": True},
    "convffn": {"kind": "convffn", "ratio": 2, "bias": False},
    "gwffn": {"kind": "gwffn", "ratio": 2, "group_width": 8, "bias": False},
}
RESIDUALS = ("sew", "ms", "sew_iand")
PLACEMENTS: dict[str, dict[str, Any]] = {
    "published": {},
    "pool_first": {"stem": {"pool_order": "before_neuron", "position": "learned"}},
    "head": {"head": {"neuron": True, "time_mean": "after", "distillation": True}},
    "speds": {"stem": {"kind": "speds", "encode": "stride", "position": "cpg"}},
}
NEURONS: dict[str, dict[str, Any]] = {
    "lif": {},
    "plif": {},
    "if": {},
    "ternary": {},
    "psn": {},
    "multispike": {"levels": 4},
}
FACTORS = (TOKEN_MIXERS, CHANNEL_MIXERS, RESIDUALS, PLACEMENTS, NEURONS)
TIME_STEPS = (1, 4)

Combination = tuple[str, ...]


def config_of(combination: Combination, time_steps: int) -> SpikformerConfig:
    """The small network of a combination.

    Raises:
        ConfigError: it is none.
    """
    mixer, mlp, residual, placement, neuron = combination
    values = contract.small(time_steps=time_steps, residual=residual)
    values["neuron"] |= {"kind": neuron} | NEURONS[neuron]
    stage = values["stages"][0]
    stage["mixer"] = stage["mixer"] | TOKEN_MIXERS[mixer]
    if neuron == "multispike":  # its spikes are quarters, so that products of them are small
        stage["mixer"]["scale"] = 4.0
    if time_steps == 1 and mixer == "ssa_window_time":
        stage["mixer"]["time_window"] = 1
    stage["mlp"] = CHANNEL_MIXERS[mlp]
    for part, fields in PLACEMENTS[placement].items():
        values[part] = values[part] | fields
    return SpikformerConfig.from_dict(values)


@functools.cache
def valid_combinations() -> list[Combination]:
    """All that describe a network."""

    def is_valid(combination: Combination) -> bool:
        try:
            return bool(config_of(combination, 4))
        except ConfigError:
            return False

    return [combination for combination in itertools.product(*FACTORS) if is_valid(combination)]


@functools.cache
def pairwise_cover() -> list[Combination]:
    """Few combinations in which every valid pair of two factors' values occurs: greedy, from a seeded shuffle."""
    combinations = list(valid_combinations())
    random.Random(0).shuffle(combinations)
    pairs_of = {c: {(i, j, c[i], c[j]) for i, j in itertools.combinations(range(len(c)), 2)} for c in combinations}
    missing = set().union(*pairs_of.values())
    cover = []
    while missing:
        best = max(combinations, key=lambda c: len(pairs_of[c] & missing))
        missing -= pairs_of[best]
        cover.append(best)
    return cover


def timed_cover() -> list[tuple[Combination, int]]:
    """The pairwise cover, each combination at one number of time steps, so that every value occurs at both."""
    timed: list[tuple[Combination, int]] = []
    seen: set[tuple[str, int]] = set()
    for combination in pairwise_cover():
        unseen = {t: {(value, t) for value in combination} - seen for t in TIME_STEPS}
        time_steps = max(TIME_STEPS, key=lambda t: (len(unseen[t]), -sum(t == other for _, other in timed)))
        seen |= unseen[time_steps]
        timed.append((combination, time_steps))
    return timed


def _cases() -> list[Any]:
    """The cover; in CI its first combinations that show every value."""
    seen: set[str] = set()
    cases: list[Any] = []
    for combination, time_steps in timed_cover():
        values = set(combination)
        cases.append(pytest.param(combination, time_steps, marks=[pytest.mark.exhaustive] if values <= seen else []))
        seen |= values
    return cases


def _name(value: Combination | int) -> str:
    return str(value) if isinstance(value, int) else "-".join(value)


def assert_keeps_promises(config: SpikformerConfig, device: torch.device) -> None:
    broken = [f"{check.name}: {check.detail}" for check in contract.checks(config, device=device) if not check.passed]
    assert not broken, broken


def test_the_cover_misses_no_part_and_few_combinations_are_ruled_out() -> None:
    """By hand: 6 neurons less multispike for the masking mixers; gwffn and dssa only under ms; iand needs 0 and 1."""
    for i, factor in enumerate(FACTORS):
        timed = {(c[i], time_steps) for c, time_steps in timed_cover()}
        assert timed == set(itertools.product(factor, TIME_STEPS))
    ms = 4 * 4 * ((15 - 4) * 6 + 4 * 5)  # 4 mixers mask: sdsa, qkta, qkca, dssa
    sew = 3 * 4 * ((14 - 3) * 6 + 3 * 5)
    iand = 3 * 4 * (14 * 4)
    assert len(valid_combinations()) == ms + sew + iand


@pytest.mark.parametrize(("combination", "time_steps"), _cases(), ids=_name)
def test_pairs(combination: Combination, time_steps: int, device: torch.device) -> None:
    config = config_of(combination, time_steps)
    assert_keeps_promises(config, device)
    model, images = contract.calibrated(config, device=device)
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    dense = sum(op.dense * op.repeats for op in counter.operations() if op.kind != "sum")
    assert dense == len(images) * dense_macs(model)[""]  # fvcore's count


@pytest.mark.exhaustive
@pytest.mark.parametrize("time_steps", TIME_STEPS)
@pytest.mark.parametrize("combination", valid_combinations(), ids="-".join)
def test_full_product(combination: Combination, time_steps: int, device: torch.device) -> None:
    assert_keeps_promises(config_of(combination, time_steps), device)


HIERARCHIES: dict[str, dict[str, Any]] = {
    "conv": {"kind": "conv", "stride": 2, "bias": True},
    "same_grid": {"kind": "conv", "stride": 1},
    "speds": {"kind": "speds"},
    "speds_pool": {"kind": "speds", "convs": ["pool", "none"], "deformed_shortcut": "pool"},
}


# Each downsampling with "ms" is in CI, others before a release.
_STAGES = [
    pytest.param(r, d, marks=[] if r == "ms" else [pytest.mark.exhaustive])
    for r, d in itertools.product(RESIDUALS, HIERARCHIES)
]


@pytest.mark.parametrize(("residual", "down"), _STAGES)
def test_stages_of_several_widths(residual: str, down: str, device: torch.device) -> None:
    values = contract.small(residual=residual, time_steps=2)
    stage = values["stages"][0]
    local = {"kind": "dwconv", "kernel_size": 3}
    values["stages"].append(stage | {"embed_dim": 24, "local": local, "down": HIERARCHIES[down]})
    assert_keeps_promises(SpikformerConfig.from_dict(values), device)


STEMS: dict[str, dict[str, Any]] = {
    "conv": {"kind": "conv", "kernel_size": 3, "stride": 2, "position": "none"},
    "conv_pool": {"kind": "conv", "stride": 1, "max_pool": True, "bias": True, "position": "cpg"},
    "conv_position": {"kind": "conv", "stride": 2, "position": "conv"},
    "speds_two": {"kind": "speds", "encode": "pool", "convs": ["none", "none"], "position": "conv"},
    "speds_half": {"kind": "speds", "convs": ["pool"], "deformed_shortcut": "stride", "position": "none"},
    "replaced": {"kind": "sps", "shortcut": False},
    "learned": {"kind": "sps", "position": "learned"},
    "cpg": {"kind": "sps", "position": "cpg"},
    "none": {"kind": "sps", "position": "none"},
}


# The conv stem ends in membrane currents, so only "ms" has it. Each stem is in CI once, others before a release.
_STEMS = [
    pytest.param(r, s, marks=[] if r == ("ms" if STEMS[s]["kind"] == "conv" else "sew") else [pytest.mark.exhaustive])
    for r, s in itertools.product(RESIDUALS, STEMS)
    if r == "ms" or STEMS[s]["kind"] != "conv"
]


@pytest.mark.parametrize(("residual", "stem"), _STEMS)
def test_stems_and_positions(residual: str, stem: str, device: torch.device) -> None:
    values = contract.small(residual=residual, time_steps=2)
    values["stem"] |= STEMS[stem]
    assert_keeps_promises(SpikformerConfig.from_dict(values), device)


def test_layer_scale(device: torch.device) -> None:
    values = contract.small()
    for part in ("mixer", "mlp"):
        values["stages"][0][part]["layer_scale"] = 0.5
    assert_keeps_promises(SpikformerConfig.from_dict(values), device)


def test_a_broken_promise_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch and time mixed up, as in a published attention: samples are no longer independent."""
    from spikformer.token_mixers import SpikingAttention

    honest = SpikingAttention.forward

    def mixed(self: SpikingAttention, x: Any) -> Any:
        return honest(self, x.flatten(0, 1)[:, None]).flatten(0, 1).unflatten(0, x.shape[:2])

    monkeypatch.setattr(SpikingAttention, "forward", mixed)
    config = SpikformerConfig.from_dict(contract.small())
    assert "samples are independent" in {check.name for check in contract.checks(config) if not check.passed}
