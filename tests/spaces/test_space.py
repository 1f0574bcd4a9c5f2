"""Space files: what they hold, what they refuse, and that every sample is a valid network."""

import copy
import dataclasses
import functools
import itertools
import math
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from nas.errors import SpaceError
from nas.spaces import Choice, SearchSpace, load_space, space_names
from nas.spaces.paths import assign
from spikformer import ConfigError, Spikformer, SpikformerConfig, published
from spikformer.config import MixerConfig, StageConfig
from tests.conftest import MICRO
from tests.helpers import calibrated, thinned

_SAMPLES = 20
_MANY = 500


@pytest.mark.parametrize("name", space_names())
def test_shipped_spaces(name: str) -> None:
    """Every sample is found again by its parameters; loading has looked for the references."""
    loaded = _shipped(name)
    for config in _samples(name)[:5]:
        answers = loaded.params(config)
        assert loaded.sample(lambda parameter, _choices, answers=answers: answers[parameter]) == config
    assert loaded.references
    stated = re.search(r"[Uu]p to ([\d,]+) networks", _leading_comment(name))
    assert stated is None or loaded.size() == (int(stated[1].replace(",", "")), False)


@pytest.mark.parametrize("name", thinned(space_names(), 2))
def test_samples_of_shipped_spaces_run_forward_and_backward(name: str) -> None:
    for config in _samples(name)[:8]:
        _assert_trains(_tiny(config))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", space_names())
def test_many_samples_of_shipped_spaces_run_forward_and_backward(name: str) -> None:
    for config in _samples(name, _MANY):
        _assert_trains(_tiny(config))


def test_size_counts_networks_not_spellings(micro: Path) -> None:
    """By hand: 2 widths x 2 residuals x (ssa with 2 head counts + sdsa, to which heads mean nothing)."""
    assert load_space(micro).size() == (2 * 2 * (2 + 1), True)


@pytest.mark.parametrize("name", ["cifar10_cpu", "spiking_transformer_mixed", "spikingresformer_small"])
def test_configs_made_of_shared_parts_are_those_that_are_made_whole(name: str) -> None:
    """Each of 300 random combinations is read from plain values as well; errors are the same too."""
    space, rng = _shipped(name), random.Random(0)
    for _ in range(300):
        chosen = {axis.name: rng.choice(axis.choices) for axis in space.axes}
        shared, whole = functools.partial(space.config, chosen), functools.partial(_made_whole, space, chosen)
        assert _outcome(shared) == _outcome(whole)


def test_networks_of_a_space_are_as_many_as_those_that_are_made_whole() -> None:
    """Of every second combination of `spikformer_tiny`, without anything that configs share."""
    space = _shipped("spikformer_tiny")
    axes = tuple(dataclasses.replace(a, assignments=dict(list(a.assignments.items())[:2])) for a in space.axes)
    smaller = dataclasses.replace(space, axes=axes)
    every = (dict(zip((a.name for a in axes), c, strict=True)) for c in itertools.product(*(a.choices for a in axes)))
    outcomes = [_outcome(functools.partial(_made_whole, smaller, chosen)) for chosen in every]
    assert smaller.size() == (len({c.config_id for c in outcomes if isinstance(c, SpikformerConfig)}), True)


def _made_whole(space: SearchSpace, chosen: dict[str, Choice]) -> SpikformerConfig:
    """The config at a choice for each axis, from plain values."""
    values = copy.deepcopy(space.base)
    for axis in space.axes:
        for path, value in axis.assignments[chosen[axis.name]].items():
            assign(values, path, value)
    return SpikformerConfig.from_dict(values)


def _outcome(make: Callable[[], SpikformerConfig]) -> object:
    """The config, or what the error says and which fields it names."""
    try:
        return make()
    except ConfigError as error:
        return str(error), error.fields


def test_heads_are_offered_where_they_divide_the_width(tmp_path: Path) -> None:
    """Widths 8 and 24 with heads 1, 3, 8: of six pairs only (8, 3) is impossible."""
    text = MICRO.replace("[8, 16]", "[8, 24]").replace("num_heads = [1, 2]", "num_heads = [1, 3, 8]")
    text = text.replace('["ssa", "sdsa"]', '["ssa", "qkta"]')  # both read heads
    loaded = _space(tmp_path, _without_references(text))
    seen: set[tuple[int, int]] = set()
    offered: set[tuple[str, tuple[Choice, ...]]] = set()
    rng = random.Random(0)

    def suggest(name: str, choices: list[Choice]) -> Choice:
        offered.add((name, tuple(choices)))
        return rng.choice(choices)

    for _ in range(100):
        stage = loaded.sample(suggest).stages[0]
        seen.add((stage.embed_dim, stage.mixer.num_heads))
    assert seen == set(itertools.product([8, 24], [1, 3, 8])) - {(8, 3)}
    assert ("num_heads{1,8}", (1, 8)) in offered
    assert ("num_heads", (1, 3, 8)) in offered


def test_heads_that_are_not_read_need_not_divide_the_width(tmp_path: Path) -> None:
    """By hand: 2 widths x 2 residuals x (ssa with 1 head + sdsa, one network whether heads are 1 or 5)."""
    loaded = _space(tmp_path, _without_references(MICRO.replace("num_heads = [1, 2]", "num_heads = [1, 5]")))
    offered = {(c.stages[0].mixer.kind, c.stages[0].mixer.num_heads) for c in loaded.configs()}
    assert offered == {("ssa", 1), ("sdsa", 1), ("sdsa", 5)}
    assert loaded.size() == (2 * 2 * (1 + 1), True)
    one, five = (loaded.config({"attention": "sdsa", "num_heads": heads}) for heads in (1, 5))
    assert one.config_id == five.config_id
    rng = random.Random(0)
    for config in (loaded.random(rng) for _ in range(50)):  # the kind comes first: ssa is never left without heads
        assert config.stages[0].mixer.kind == "sdsa" or config.stages[0].mixer.num_heads == 1


def test_a_base_outside_the_axes_makes_no_dead_end(tmp_path: Path) -> None:
    """The base has 2 heads, which divide every width; what counts are the heads offered."""
    text = MICRO.replace("[8, 16]", "[8, 24]").replace("num_heads = [1, 2]", "num_heads = [3, 6]")
    text = text.replace('attention = ["ssa", "sdsa"]', "").replace('attention = "ssa"', "num_heads = 3, embed_dim = 24")
    with pytest.raises(SpaceError, match="embed_dim: 8 fits no network of this space"):
        _space(tmp_path, text)
    loaded = _space(tmp_path, text.replace("[8, 24]", "[16, 24]").replace("[3, 6]", "[3, 16]"))
    rng = random.Random(0)
    found = {(c.stages[0].embed_dim, c.stages[0].mixer.num_heads) for c in (loaded.random(rng) for _ in range(30))}
    assert found == {(16, 16), (24, 3)}


@pytest.mark.parametrize("name", space_names())
def test_a_name_always_comes_with_the_same_choices(name: str) -> None:
    """Optuna refuses a parameter whose choices change."""
    loaded, rng = _shipped(name), random.Random(1)
    offered: dict[str, list[Choice]] = {}

    def suggest(parameter: str, choices: list[Choice]) -> Choice:
        assert offered.setdefault(parameter, choices) == choices
        return rng.choice(choices)

    for _ in range(15):
        loaded.sample(suggest)


def test_references_of_the_gpu_space_are_the_published_networks() -> None:
    references = load_space("spikformer_small").references
    assert references["Spikformer-4-384"] == published.config("spikformer_cifar10_4_384")
    assert references["Spikingformer-2-384"] == published.config("spikingformer_cifar10_2_384")


@pytest.mark.parametrize("family", ["spikformer", "spikingformer", "qkformer", "msqkformer", "maxformer"])
def test_the_mixed_space_holds_the_published_networks_of_all_families(family: str) -> None:
    """Those of one stage too, written there as three equal ones."""
    ids = {config.config_id for config in _shipped("spiking_transformer_mixed").references.values()}
    assert published.config(f"{family}_cifar10_4_384").config_id in ids


def test_friendly_axes_and_paths_are_one_mechanism(tmp_path: Path) -> None:
    axes = """"stages.0.mlp.ratio" = [1, 3]
stem.pool = [[true, true, false, false], [false, true, true, false]]
[references]
mine = { stem.pool = [false, true, true, false] }"""
    text = MICRO.replace('residual = ["sew", "ms"]\n', "").replace('attention = ["ssa", "sdsa"]', axes)
    loaded = _space(tmp_path, _without_references(text))
    assert loaded.references["mine"].stem.pool == (False, True, True, False)
    found = {(c.stages[0].mlp.ratio, c.stem.pool) for c in loaded.configs()}
    assert found == set(itertools.product([1.0, 3.0], [(True, True, False, False), (False, True, True, False)]))


def test_chains_are_choices_whole_or_in_parts(tmp_path: Path) -> None:
    """A choice may leave out what stays at its default, and an axis may change one convolution."""
    chains = """"stem.kind" = ["sps", "chain"]
"stem.chain" = [[{ width = 0.5 }, { pool = true }], [{ kernel_size = 2, stride = 2 }]]
[references]
two = { stem.kind = "chain", stem.chain = [{ width = 0.5 }, { pool = true }] }"""
    text = MICRO.replace('residual = ["sew", "ms"]\n', "").replace('attention = ["ssa", "sdsa"]', chains)
    loaded = _space(tmp_path, _without_references(text))
    stems = {(config.stem.kind, len(config.stem.chain)) for config in loaded.configs()}
    assert stems == {("sps", 2), ("sps", 1), ("chain", 2), ("chain", 1)}
    assert {(config.stem.kind, config.grids) for config in loaded.configs()} == {("sps", (2,)), ("chain", (4,))}
    assert loaded.params(loaded.references["two"])["stem.kind"] == "chain"

    part = """stem.chain.0.kernel_size = [3, 5]"""
    base = MICRO.replace("stem.in_channels = 1", 'stem.in_channels = 1\nstem.kind = "chain"')
    loaded = _space(tmp_path, _without_references(base.replace('attention = ["ssa", "sdsa"]', part)))
    assert {config.stem.chain[0].kernel_size for config in loaded.configs()} == {3, 5}
    both = base.replace('attention = ["ssa", "sdsa"]', f"{part}\n[choices.stem]\na = {{ stem.chain = [{{}}] }}")
    with pytest.raises(SpaceError, match=r"sets stem.chain.0.kernel_size, as does the axis"):
        _space(tmp_path, _without_references(both))


def test_blocks_may_be_as_many_as_one_axis_says_and_each_differ_in_others() -> None:
    """AutoFormer's count of its smallest space, heads and MLP ratio block by block, times what it lacks."""
    space = _shipped("autoformer_like")
    assert 3 * (4**12 + 4**13 + 4**14) == 1_056_964_608
    assert 1_056_964_608 * 2 * 4 * 3 * 5 == 126_835_752_960  # residual, attention, stem, time steps
    rng = random.Random(0)
    configs = [space.random(rng) for _ in range(30)]
    assert {sum(stage.depth for stage in config.stages) for config in configs} == {12, 13, 14}
    assert len({config.config_id for config in configs}) == 30
    widths = {stage.mixer.attention_dim(stage.embed_dim) for config in configs for stage in config.stages}
    assert widths == {192, 256}
    assert {stage.embed_dim for config in configs for stage in config.stages} == {192, 216, 240}


def test_placements_move_one_neuron_each(tmp_path: Path) -> None:
    every = 'neuron_placement = ["published", "pool_first", "attention_map", "head"]\nresidual = ["sew", "ms"]'
    loaded = _space(tmp_path, MICRO.replace('residual = ["sew", "ms"]', every))
    assert {(c.stem.pool_order, c.stages[0].mixer.neuron_on, c.head.neuron) for c in loaded.configs()} == {
        ("after_neuron", "output", False),
        ("before_neuron", "output", False),
        ("after_neuron", "map", False),
        ("after_neuron", "output", True),
    }


# Heads 5 fit no width of 8 or 16, where every attention reads them.
_HEADS_AND_SDSA = 'num_heads = [1, 2]\nresidual = ["sew", "ms"]\nattention = ["ssa", "sdsa"]'
_HEADS_ALONE = 'num_heads = [1, 5]\nresidual = ["sew", "ms"]\nattention = ["ssa"]'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "num_heads = [1, 2]",
            "num_head = [1, 2]",
            'line 14, [axes] num_head: unknown axis. Did you mean "num_heads"?',
        ),
        (_HEADS_AND_SDSA, _HEADS_ALONE, "line 14, [axes] num_heads: 5 fits no network of this space"),
        (_HEADS_AND_SDSA, _HEADS_ALONE, "5 does not divide embed_dim 8. Use one of 1, 2, 4, 8"),
        (
            '{ residual = "sew", attention = "ssa" }',
            '"qkformer_cifar10_4_384"',
            "[references] Spikformer miniature: the network has 3 stages, but networks of this space have 1",
        ),
        ("num_heads = [1, 2]", "num_heads = 2", "must be a list of choices, not 2"),
        ("num_heads = [1, 2]", "num_heads = []", "must be a list of choices, not []"),
        ("num_heads = [1, 2]", "num_heads = [2, 2]", "has a choice twice"),
        ("num_heads = [1, 2]", '"stages.0.mixer.head" = [1]', "unknown axis. Did you mean"),
        ("num_heads = [1, 2]", 'neuron_placement = ["hed"]', '"hed" is not a neuron placement. Did you mean "head"?'),
        ("[axes]", "[axis]", '[axis] unknown section. Did you mean "axes"?'),
        ("epochs = 1", "epoch = 1", '[proxy] epoch: unknown key. Did you mean "epochs"?'),
        ("epochs = 1", "epochs = 0", "[proxy] epochs: 0 must be at least 1"),
        ("epochs = 1", "epochs = 1.5", "[proxy] epochs: must be a whole number, not 1.5"),
        (
            'augment = "none"',
            'augment = "flip"',
            'augment: "flip" is unknown. Use one of auto, none, shift, shift_flip',
        ),
        ("search_val = 0.1", "search_val = 0.9", "must be a share between 0 and 0.5"),
        ('dataset = "digits"', 'dataset = "mnist"', "Use one of digits, cifar10"),
        (
            "stem.in_channels = 1",
            "stem.in_channel = 1",
            'line 7, [base] stem.in_channel: unknown field "stem.in_channel"',
        ),
        ("neuron.threshold = 0.5", 'published = "spikformer_4"', '[base] no published network is named "spikformer_4"'),
        ('residual = "sew", ', 'residual = "add", ', "residual 'add' is not one of this axis's choices: sew, ms"),
        ('residual = "sew", ', "heads = 3, ", 'unknown axis or field "heads". Did you mean "num_heads"?'),
        ("num_heads = [1, 2]", "num_heads = [1979-05-27]", "has a choice that no field can take"),
        ("num_heads = [1, 2]", '"stem.image_size" = [8, 16]', "is fixed by the data"),
        ("num_heads = [1, 2]", '"stages.0.embed_dim" = [8]', 'sets stages.0.embed_dim, as does the axis "embed_dim"'),
        ("num_heads = [1, 2]", "# num_head = [1]\nnum_head = [1]", "line 15, [axes] num_head: unknown axis"),
        ("stem.in_channels = 1", "stem.in_channels = 2", "must be 1 (grey) or 3 (colour)"),
        ("stem.in_channels = 1", "heads = {}", 'unknown field "heads"'),
        ("mlp = { ratio = 1 }", "mlp = { ratio = 1e308 }", "is more than any network has"),
        ("mlp = { ratio = 1 }", f"mlp = {{ ratio = {'9' * 400} }}", "is larger than"),
        (
            'residual = "sew", ',
            "head.num_classes = 100, ",
            "head.num_classes is 100, but the data of this space need 10",
        ),
        ('residual = "sew", ', "num_heads = [1], ", "num_heads [1] is not one of this axis's choices"),
        (
            "num_heads = [1, 2]",
            "stem.chain.0.kernel_size = [1, 3]",
            'stem.chain.0.kernel_size: changes no network: stem.kind is "sps" in this space, and chain is read by '
            '"chain" only',
        ),
        (
            "num_heads = [1, 2]",
            "stages.0.mixer.patch = [1, 2]",
            'changes no network: stages.0.mixer.kind is "sdsa", "ssa" in this space, and patch is read by "dssa" only',
        ),
        ("num_heads = [1, 2]", "stem.chain = [[{ widht = 1 }]]", 'unknown field "widht". Did you mean "width"?'),
        (
            "stem.in_channels = 1",
            'stem.in_channels = 1\nstem.kind = "chain"\nstem.chain = [{ width = 0.5 }]',
            "[base] stem.kind: stem: the last convolution of the chain has width 0.5, but makes the tokens",
        ),
        ("[data]", "[choices.stem]\na = { stem.chain = [{}] }\n[data]", 'stem.kind is "sps" in this space'),
        ("[data]", '["("]\n[data]', "unknown section"),
        ("[data]", "[data", "is not valid TOML"),
        ("[axes]", "[axes]\n[proxy]", "is not valid TOML"),
    ],
)
def test_bad_files_are_refused_with_line_key_and_remedy(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in MICRO
    with pytest.raises(SpaceError) as caught:
        _space(tmp_path, MICRO.replace(old, new, 1))
    assert message in str(caught.value)
    assert "space.toml" in str(caught.value)


def test_unknown_space_gives_the_nearest() -> None:
    with pytest.raises(SpaceError, match='Did you mean "spikformer_small"'):
        load_space("spikformer_smal")


def test_a_space_without_axes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="has no \\[axes\\]"):
        _space(tmp_path, "[base]\n")


# Equal networks written differently.


def _mixers(change: Callable[[MixerConfig, int], MixerConfig]) -> Callable[[SpikformerConfig], SpikformerConfig]:
    """The config with every token mixer changed, given the tokens a side."""

    def respelled(config: SpikformerConfig) -> SpikformerConfig:
        stages = [
            dataclasses.replace(stage, local=change(stage.local, grid), mixer=change(stage.mixer, grid))
            for stage, grid in zip(config.stages, config.grids, strict=True)
        ]
        return dataclasses.replace(config, stages=tuple(stages))

    return respelled


def _unread(name: str, value: bool | int | float) -> Callable[[SpikformerConfig], SpikformerConfig]:
    """The config with `value` in a field of each token mixer that does not read it."""
    other: dict[str, Any] = {name: value}
    return _mixers(lambda mixer, _grid: mixer if mixer.reads(name) else dataclasses.replace(mixer, **other))


def _window_of_all_tokens(mixer: MixerConfig, grid: int) -> MixerConfig:
    return dataclasses.replace(mixer, window=grid) if mixer.kind == "ssa" and mixer.window == 0 else mixer


def _all_steps_by_number(config: SpikformerConfig) -> SpikformerConfig:
    def change(mixer: MixerConfig, _grid: int) -> MixerConfig:
        return dataclasses.replace(mixer, time_window=config.time_steps) if mixer.time_window == 0 else mixer

    return _mixers(change)(config) if config.time_steps > 1 else config


def _one_step_as_all(config: SpikformerConfig) -> SpikformerConfig:
    def change(mixer: MixerConfig, _grid: int) -> MixerConfig:
        reads = mixer.kind == "ssa" and mixer.neuron_on == "output"
        return dataclasses.replace(mixer, time_window=0) if reads else mixer

    return _mixers(change)(config) if config.time_steps == 1 else config


def _other_threshold(config: SpikformerConfig) -> SpikformerConfig:
    """Integer neurons round, at no threshold."""
    change = _mixers(lambda mixer, _grid: dataclasses.replace(mixer, threshold=0.9))
    return change(config) if config.neuron.kind == "multispike" else config


def _split(config: SpikformerConfig) -> SpikformerConfig:
    """Each stage as one block, and the rest as a stage without downsampling."""
    stages: list[StageConfig] = []
    for stage in config.stages:
        first = dataclasses.replace(stage, depth=min(1, stage.depth))
        rest = dataclasses.replace(stage, depth=stage.depth - first.depth, down=config.stages[0].down)
        stages += [first, *([rest] if rest.depth else [])]
    return dataclasses.replace(config, stages=tuple(stages))


def _with_empty_stages(config: SpikformerConfig) -> SpikformerConfig:
    """A stage of no blocks behind each stage."""
    stages: list[StageConfig] = []
    for stage in config.stages:
        stages += [stage, dataclasses.replace(stage, depth=0, down=config.stages[0].down)]
    return dataclasses.replace(config, stages=tuple(stages))


def _as_chain(config: SpikformerConfig) -> SpikformerConfig:
    """SPS written as a chain."""
    stem = config.stem
    return dataclasses.replace(
        config, stem=dataclasses.replace(stem, kind="chain", chain=stem.convolutions) if stem.kind == "sps" else stem
    )


def _mlps(config: SpikformerConfig) -> SpikformerConfig:
    unread: dict[str, Any] = {"group_width": 7, "inner_residual": True}
    stages = []
    for stage in config.stages:
        fields = {name: value for name, value in unread.items() if not stage.mlp.reads(name)}
        stages.append(dataclasses.replace(stage, mlp=dataclasses.replace(stage.mlp, **fields)))
    return dataclasses.replace(config, stages=tuple(stages))


def _stem(config: SpikformerConfig) -> SpikformerConfig:
    stem = config.stem
    if stem.kind != "conv":
        stem = dataclasses.replace(stem, kernel_size=11, stride=4, bias=True, max_pool=True)
    if stem.kind != "sps":
        stem = dataclasses.replace(stem, pool=(True,) * 4)
    if stem.kind not in ("sps", "chain"):
        stem = dataclasses.replace(stem, pool_order="before_neuron")
    if stem.position != "conv":
        stem = dataclasses.replace(stem, shortcut=not stem.shortcut)
    return dataclasses.replace(config, stem=stem)


def _neuron(config: SpikformerConfig) -> SpikformerConfig:
    neuron = config.neuron
    if neuron.kind == "multispike":
        neuron = dataclasses.replace(neuron, tau=3.0, threshold=0.3, surrogate="atan")
    else:
        neuron = dataclasses.replace(
            neuron, levels=8, rounding="half_up", tau=3.0 if neuron.kind == "if" else neuron.tau
        )
    return dataclasses.replace(config, neuron=neuron)


_RESPELLINGS: dict[str, Callable[[SpikformerConfig], SpikformerConfig]] = {
    "heads where none are read": _unread("num_heads", 5),
    "kernel_size without convolution": _unread("kernel_size", 9),
    "patch of no dssa": _unread("patch", 3),
    "scale without a product": _unread("scale", 0.7),
    "biases of re-parameterised projections": _unread("qkv_bias", True),
    "threshold of integer neurons": _other_threshold,
    "a window of all tokens": _mixers(_window_of_all_tokens),
    "all time steps by their number": _all_steps_by_number,
    "one time step as all": _one_step_as_all,
    "group_width and inner_residual": _mlps,
    "fields of other stems": _stem,
    "fields of other neurons": _neuron,
    "a stage in two": _split,
    "stages without blocks": _with_empty_stages,
    "a chain that has a name": _as_chain,
}


@pytest.mark.parametrize("respelling", thinned(_RESPELLINGS, 2))
def test_equal_networks_written_differently_have_one_id_and_equal_outputs(respelling: str) -> None:
    assert _compare(respelling, _SAMPLES, limit=1) == 1


@pytest.mark.exhaustive
@pytest.mark.parametrize("respelling", _RESPELLINGS)
def test_many_equal_networks_have_one_id_and_equal_outputs(respelling: str) -> None:
    assert _compare(respelling, _MANY, limit=100) >= 25


@pytest.mark.parametrize("name", thinned(space_names(), 2))
def test_samples_with_one_id_build_equal_networks(name: str) -> None:
    """Of a sample and its neighbours, one axis away, those with one id."""
    assert _compare_neighbours(name, _SAMPLES, limit=2) == 2


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", space_names())
def test_many_samples_with_one_id_build_equal_networks(name: str) -> None:
    assert _compare_neighbours(name, _MANY, limit=100) >= 25


def _compare(respelling: str, samples: int, limit: int) -> int:
    """How many pairs were compared, over samples of all shipped spaces."""
    compared = 0
    for group in zip(*(_samples(name, samples) for name in space_names()), strict=True):
        for config in map(_tiny, group):
            other = _RESPELLINGS[respelling](config)
            if other != config and compared < limit:
                assert other.config_id == config.config_id
                _assert_equal_networks(config, other)
                compared += 1
    return compared


def _compare_neighbours(name: str, samples: int, limit: int) -> int:
    """How many pairs were compared, of at most `limit`."""
    pairs = (pair for config in _samples(name, samples) for pair in _neighbours(_shipped(name), config))
    twins = ((one, two) for one, two in pairs if one != two and one.config_id == two.config_id)
    compared = 0
    for one, two in itertools.islice(twins, limit):
        _assert_equal_networks(one, two)
        compared += 1
    return compared


def _neighbours(loaded: SearchSpace, config: SpikformerConfig) -> Iterator[tuple[SpikformerConfig, SpikformerConfig]]:
    """A point of the axes and each that is one choice away, both tiny."""
    chosen = {key.split("{")[0]: choice for key, choice in loaded.params(config).items()}
    for axis in loaded.axes:
        for choice in axis.choices:
            try:
                other = loaded.config(chosen | {axis.name: choice})
            except ConfigError:
                continue
            yield _tiny(config), _tiny(other)


def _assert_equal_networks(one: SpikformerConfig, other: SpikformerConfig) -> None:
    """Equal shapes, in order; and the weights of one give the same logits in the other, bit for bit."""
    first, images = calibrated(one)
    second = Spikformer(other).eval()
    mine, theirs = first.state_dict(), second.state_dict()
    assert [value.shape for value in mine.values()] == [value.shape for value in theirs.values()]
    second.load_state_dict(dict(zip(theirs, mine.values(), strict=True)))  # a split stage has other names
    with torch.no_grad():
        torch.testing.assert_close(first(images), second(images), rtol=0, atol=0)


def _assert_trains(config: SpikformerConfig) -> None:
    torch.manual_seed(0)
    model = Spikformer(config)
    size, classes = config.stem.image_size, config.head.num_classes
    logits = model(torch.randn(2, config.stem.in_channels, size, size))
    assert logits.shape == (2, classes)
    F.cross_entropy(logits, torch.arange(2)).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert logits.isfinite().all()
    assert not without, f"no finite gradient: {without[:3]}, in {config}"


def _tiny(config: SpikformerConfig) -> SpikformerConfig:
    """The same structure at few channels, blocks and pixels; equal widths stay equal, unequal ones unequal."""
    heads = [m.num_heads for stage in config.stages for m in (stage.local, stage.mixer) if m.reads("num_heads")]
    unit = math.lcm(8, *heads)
    order = sorted({stage.embed_dim for stage in config.stages})
    stages = []
    for stage in config.stages:
        dim = unit * (1 + order.index(stage.embed_dim))
        mlp = stage.mlp
        if mlp.reads("group_width"):
            mlp = dataclasses.replace(mlp, group_width=dim // 8 * max(1, mlp.group_width // 32))
        stages.append(dataclasses.replace(stage, embed_dim=dim, depth=min(stage.depth, 2), mlp=mlp))
    for size in sorted({8, 16, config.stem.image_size}):
        try:
            stem = dataclasses.replace(config.stem, image_size=size)
            return dataclasses.replace(config, stages=tuple(stages), stem=stem)
        except ConfigError:  # a window, a patch or the downsampling asks for more pixels
            continue
    raise AssertionError(f"no image size of {config}")


@functools.cache
def _shipped(name: str) -> SearchSpace:
    return load_space(name)


@functools.cache
def _samples(name: str, count: int = _SAMPLES) -> tuple[SpikformerConfig, ...]:
    rng = random.Random(0)
    return tuple(_shipped(name).random(rng) for _ in range(count))


def _leading_comment(name: str) -> str:
    text = (Path(__file__).parents[2] / "search_spaces" / f"{name}.toml").read_text()
    comment = "".join(itertools.takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True)))
    return comment.replace("\n# ", " ")


def _without_references(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if "miniature" not in line).replace("\n[references]\n\n", "\n")


def _space(folder: Path, text: str) -> SearchSpace:
    path = folder / "space.toml"
    path.write_text(text)
    return load_space(path)


@pytest.mark.parametrize(
    ("rungs", "message"),
    [
        ("[0.5, 0.25, 1]", "must rise from above 0 to 1"),
        ("[0, 1]", "must rise from above 0 to 1"),
        ("[0.5]", "must rise from above 0 to 1"),
        ("[]", "must rise from above 0 to 1"),
        ('["all"]', "must be a number, not 'all'"),
        ("[true]", "must be a number, not True"),
        ("0.5", "must be a list, not 0.5"),
    ],
)
def test_rungs_that_are_none_are_named(tmp_path: Path, rungs: str, message: str) -> None:
    path = tmp_path / "rungs.toml"
    path.write_text(f"[axes]\ndepth = [1, 2]\n[proxy]\nrungs = {rungs}\n")
    with pytest.raises(SpaceError, match=rf"line 4, \[proxy\] rungs: .*{message}"):
        load_space(path)


def test_rungs_are_read_as_shares(tmp_path: Path) -> None:
    path = tmp_path / "rungs.toml"
    path.write_text("[axes]\ndepth = [1, 2]\n[proxy]\nrungs = [0.25, 1]\n")
    assert load_space(path).recipe.rungs == (0.25, 1.0)
