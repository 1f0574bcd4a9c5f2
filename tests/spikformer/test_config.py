"""Configs check themselves, survive JSON, and know when they describe the same network."""

import ast
import dataclasses
import json
import random
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import spikformer.config
from spikformer import ConfigError, Spikformer, SpikformerConfig, plugins
from tests.helpers import random_config, small_config


def test_round_trip_through_json() -> None:
    rng = random.Random(0)
    for config in (random_config(rng) for _ in range(50)):
        again = SpikformerConfig.from_dict(json.loads(json.dumps(config.to_dict())))
        assert again == config
        assert hash(again) == hash(config)
        assert again.config_id == config.config_id


def one_stage(**fields: Any) -> dict[str, Any]:
    """A network of one stage of 16 channels whose mixer has 2 heads, and what changes it."""
    return {"stages": [{"embed_dim": 16, "mixer": {"num_heads": 2}} | fields]}


def mixer(**fields: Any) -> dict[str, Any]:
    return one_stage(mixer={"num_heads": 2} | fields)


def two_stages(**down: Any) -> dict[str, Any]:
    return {"stages": [*one_stage()["stages"], *one_stage(down=down)["stages"]]}


CHAINS: list[tuple[dict[str, Any], str]] = [  # fields of a stem of kind chain
    ({"chain": []}, 'stem: "chain" has 0 convolutions. Give 1 to 64'),
    ({"chain": [{}] * 65}, '"chain" has 65 convolutions. Give 1 to 64'),
    ({"chain": 3}, "chain must be a list, not 3"),
    ({"chain": [{"width": 0}]}, "stem: chain.0: width 0.0 must be positive"),
    ({"chain": [{"width": 2000}, {}]}, "width 2,000.0 is more than any network has. Use at most 1,024"),
    ({"chain": [{}, {"stride": 3}]}, "stem: chain.1: stride 3 must be one of 1, 2, 4, 8, 16"),
    ({"chain": [{"kernel_size": 4}]}, "kernel_size 4 must be odd, or as large as the stride, which is 1"),
    ({"chain": [{"kernel_size": -1}]}, "kernel_size -1 must be odd, or as large as the stride, which is 1"),
    ({"chain": [{"strid": 2}]}, 'chain.0: unknown field "strid". Did you mean "stride"?'),
    ({"chain": [{"width": 0.5}]}, "has width 0.5, but makes the tokens of the stage. Use 1"),
    (
        {"shortcut_over": 4},
        "shortcut_over 4 must be from 0 to 3: the chain has length 4, and pixels feed its first",
    ),
    ({"shortcut_over": -1}, "shortcut_over -1 must be from 0 to 3"),
    (
        {"shortcut_over": 2},
        'shortcut_over 2 leads past convolutions that divide the image by 4, but deformed_shortcut is "none". '
        'Both paths are added, so both must divide it alike: use "stride" or "pool"',
    ),
    (
        {"chain": [{}, {}], "shortcut_over": 1, "deformed_shortcut": "pool"},
        'shortcut_over 1 leads past convolutions that divide the image by 1, but deformed_shortcut is "pool". '
        'Both paths are added, so both must divide it alike: use "none"',
    ),
    (
        {"chain": [{"width": 0.3}, {}]},
        "width 0.3 of convolution 0 of stem.chain is not a whole number of channels at embed_dim 384, but",
    ),
    ({"chain": [{"width": 512, "kernel_size": 101}, {"width": 512}, {}]}, "1 stages with at least"),
    (
        {"image_size": 40, "chain": [{"stride": 16, "kernel_size": 16}]},
        "image_size 40 is not a multiple of 16, by which the chain stem divides it",
    ),
]
IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    # Fields and their types
    ({"residul": "ms"}, 'unknown field "residul". Did you mean "residual"?'),
    ({"stages": [{"mixer": {"num_head": 2}}]}, 'stages.0: mixer: unknown field "num_head"'),
    ({"xyz": 1}, 'unknown field "xyz". Valid names: drop_path, head, neuron,'),
    ({"residual": "add"}, 'residual "add" is unknown. Use one of sew, ms, sew_iand'),
    ({"time_steps": True}, "time_steps must be a whole number, not True"),
    ({"time_steps": 2.5}, "time_steps must be a whole number, not 2.5"),
    ({"time_steps": 2**40}, "time_steps is larger than 2147483648"),
    ({"time_steps": 10**6}, "time_steps 1,000,000 is more than any network has. Use at most 4,096"),
    (one_stage(embed_dim=1_000_000), "embed_dim 1,000,000 is more than any network has"),
    (one_stage(depth=10**9), "depth 1,000,000,000 is more than any network has"),
    (one_stage(mlp={"ratio": 1e9}), "ratio 1,000,000,000.0 is more than any network has"),
    (one_stage(embed_dim=65_536, depth=100), "1 stages with at least 3,435,97"),
    ({"stages": 100 * one_stage()["stages"]}, "100 stages with at least"),
    ({"head": {"num_classes": 10**9}}, "num_classes 1,000,000,000 is more than any network has"),
    ({"stem": {"image_size": 2**20}}, "image_size 1,048,576 is more than any network has"),
    ({"neuron": {"tau": "2"}}, "tau must be a number, not '2'"),
    ({"neuron": {"threshold": float("nan")}}, "threshold must be finite"),
    ({"head": {"bias": 1}}, "bias must be true or false, not 1"),
    ({"stem": {"pool": [True]}}, "pool needs 4 values, not 1"),
    ({"stem": {"convs": "none"}}, "convs must be a list, not 'none'"),
    ({"stages": {"embed_dim": 8}}, "stages must be a list, not {'embed_dim': 8}"),
    ({"head": 10}, "expected the fields of HeadConfig, not 10"),
    (mixer(kind="a.b:C", options=[1]), '"options" must be a table of names and values, not [1]'),
    (mixer(kind="a.b:C", options={"size": [1]}), "options.size must be a plain value, not [1]"),
    # Neuron
    ({"neuron": {"kind": "multispikes"}}, 'kind "multispikes" is unknown. Did you mean "multispike"? Or "package'),
    ({"neuron": {"kind": "a.b:"}}, 'neuron: kind "a.b:" is not a reference to a class. Write "package.module:Class"'),
    ({"neuron": {"surrogate": "relu"}}, 'surrogate "relu" is unknown. Use one of sigmoid, atan'),
    ({"neuron": {"tau": 1}}, "tau 1.0 must be above 1"),
    ({"neuron": {"threshold": 0}}, "neuron: threshold 0.0 must be positive"),
    ({"neuron": {"levels": 3}}, "levels 3 must be a power of 2"),
    ({"neuron": {"levels": 0}}, "levels 0 must be a power of 2"),
    ({"neuron": {"divisor": 3}}, "divisor 3 must be a power of 2: 1 / divisor is then an exact number. Or 0, for as"),
    ({"neuron": {"divisor": -1}}, "neuron: divisor -1 must be a power of 2"),
    ({"neuron": {"rounding": "down"}}, 'rounding "down" is unknown. Use one of half_even, half_up'),
    # Stem
    ({"stem": {"kind": "spss"}}, 'kind "spss" is unknown. Did you mean "sps"? Or "package.module:Class"'),
    ({"stem": {"position": "sine"}}, 'position "sine" is unknown. Use one of conv, learned, cpg, none'),
    ({"stem": {"image_size": 0}}, "image_size 0 must be at least 1"),
    ({"stem": {"in_channels": 0}}, "in_channels 0 must be at least 1"),
    ({"stem": {"stride": 3}}, "stem: stride 3 must be 1, 2 or 4"),
    ({"stem": {"kernel_size": 4}}, "stem: kernel_size 4 must be odd"),
    ({"stem": {"kernel_size": -1}}, "stem: kernel_size -1 must be odd"),
    ({"stem": {"kind": "speds", "convs": []}}, 'stem: "convs" is empty: give at least one, such as ["none"]'),
    (
        {"stem": {"kind": "speds", "convs": ["pool"]}},
        'convs pool halve the image 1 times, but deformed_shortcut "none" 0',
    ),
    (
        {"stem": {"kind": "speds", "convs": ["pool", "stride"], "deformed_shortcut": "pool"}},
        'convs pool, stride halve the image 2 times, but deformed_shortcut "pool" 1 times',
    ),
    ({"stem": {"image_size": 30}}, "image_size 30 is not a multiple of 4, by which the sps stem divides it"),
    ({"stem": {"kind": "conv", "image_size": 30, "stride": 4}}, "30 is not a multiple of 4, by which the conv stem"),
    # Chain
    *(({"stem": {"kind": "chain"} | fields}, message) for fields, message in CHAINS),
    ({"stem": {"kind": "a.b:C", "stride": 3}}, "stem: stride 3 must be 1, 2, 4, 8 or 16"),
    ({"stem": {"kind": "a.b:C", "stride": 8, "image_size": 20}}, "20 is not a multiple of 8, by which the a.b:C stem"),
    (
        two_stages(kind="chain", chain=[{"stride": 8}]) | {"stem": {"image_size": 16}},
        "stage 1 cannot divide 4 x 4 tokens by 8. Use an image_size that is a multiple of 32,",
    ),
    (two_stages(kind="chain", chain=[{"width": 0.3}, {}]), "0 of stages.1.down.chain is not a whole number"),
    (two_stages(kind="chain", shortcut_over=2), "shortcut_over 2 must be from 0 to 1: the chain has length 1"),
    # Down
    (two_stages(kind="speed"), 'stages.1: down: kind "speed" is unknown. Did you mean "speds"?'),
    (two_stages(kind="conv", stride=4), "down: stride 4 must be 1 or 2"),
    (
        two_stages(kind="speds", convs=["none"]),
        'convs none halve the image 0 times, but deformed_shortcut "stride" 1 times',
    ),
    (two_stages(kind="speds", convs=[]), 'down: "convs" is empty'),
    # Token mixer
    (mixer(kind="sssa"), 'mixer: kind "sssa" is unknown. Did you mean "ssa"? Or "package.module:Class"'),
    (mixer(kind="mamba"), 'kind "mamba" is unknown. Valid names: dssa, dwconv, identity, qkca,'),
    (mixer(kind=":Class"), 'mixer: kind ":Class" is not a reference to a class'),
    (mixer(kind="a.b:C.d"), 'mixer: kind "a.b:C.d" is not a reference to a class'),
    (mixer(num_heads=0), "num_heads 0 must be at least 1"),
    (mixer(value_ratio=0), "value_ratio 0 must be at least 1"),
    (mixer(patch=0), "patch 0 must be at least 1"),
    (mixer(threshold=0), "mixer: threshold 0.0 must be positive"),
    (mixer(scale=-1), "scale -1.0 must be positive"),
    (mixer(window=-1), "window -1 must not be negative"),
    (mixer(time_window=-1), "time_window -1 must not be negative"),
    (mixer(layer_scale=-0.5), "mixer: layer_scale -0.5 must not be negative"),
    (mixer(kernel_size=2), "mixer: kernel_size 2 must be odd"),
    (mixer(qkv_dim=-1), "qkv_dim -1 must not be negative"),
    (mixer(qkv_dim=70_000), "qkv_dim 70,000 is more than any network has"),
    (mixer(qkv_dim=8, projection="rep1"), 'qkv_dim 8 needs projection "linear": "rep1" keeps the width'),
    (mixer(value_ratio=4, projection="rep"), 'value_ratio 4 needs projection "linear": "rep" keeps the width'),
    (mixer(time_window=2, neuron_on="map"), 'time_window 2 needs neuron_on "output"'),
    (mixer(neuron_on="input"), 'neuron_on "input" is unknown. Use one of output, map'),
    # Channel mixer
    (one_stage(mlp={"kind": "convfn"}), 'mlp: kind "convfn" is unknown. Did you mean "convffn"?'),
    (one_stage(mlp={"kind": "a b:C"}), 'mlp: kind "a b:C" is not a reference to a class'),
    (one_stage(mlp={"ratio": 0}), "ratio 0.0 must be positive"),
    (one_stage(mlp={"group_width": 0}), "group_width 0 must be at least 1"),
    (one_stage(mlp={"layer_scale": -1}), "mlp: layer_scale -1.0 must not be negative"),
    # Stage
    (one_stage(depth=-1), "stages.0: depth -1 must be at least 0"),
    (mixer(qkv_dim=15), "num_heads 2 does not divide qkv_dim 15. Use one of 1, 3, 5, 15"),
    (mixer(kind="sdsa", num_heads=3, erode=True), "num_heads 3 does not divide embed_dim 16. Use one of 1, 2,"),
    (one_stage(embed_dim=0), "stages.0: embed_dim 0 must be at least 1"),
    ({"stages": [{"embed_dim": 192, "mixer": {"num_heads": 5}}]}, "5 does not divide embed_dim 192. Use one of 1,"),
    (
        one_stage(local={"kind": "qkta", "num_heads": 3}),
        "num_heads 3 does not divide embed_dim 16. Use one of 1, 2, 4,",
    ),
    (one_stage(mlp={"ratio": 1.3}), "mlp.ratio 1.3 of embed_dim 16 is not a whole number of channels (20.8)"),
    (one_stage(mlp={"ratio": 1e308}), "ratio 1e+308 is more than any network has"),
    (
        one_stage(mlp={"kind": "gwffn", "ratio": 2, "group_width": 5}),
        "mlp.group_width 5 does not divide the 32 channels that mlp.ratio 2 of embed_dim 16 gives",
    ),
    # Head
    ({"head": {"num_classes": 0}}, "head: num_classes 0 must be at least 1"),
    ({"head": {"time_mean": "never"}}, 'time_mean "never" is unknown. Use one of before, after'),
    # The whole
    ({"time_steps": 0}, "time_steps 0 must be at least 1"),
    ({"drop_path": 1.5}, "drop_path 1.5 must lie between 0 and 1"),
    ({"drop_path": -0.1}, "drop_path -0.1 must lie between 0 and 1"),
    ({"stages": []}, '"stages" is empty: give at least one stage'),
    (one_stage(depth=0), "no stage has a block: depth is 0 in all of them. Give at least one stage a depth of 1"),
    (one_stage(down={"kind": "conv"}), 'the first stage needs down.kind "none": the stem comes before it'),
    (one_stage(embed_dim=12), "embed_dim 12 is not a multiple of 8: the sps stem starts with embed_dim / 8 channels"),
    (
        one_stage(embed_dim=15, mixer={"num_heads": 3}) | {"stem": {"kind": "speds"}},
        "embed_dim 15 is not a multiple of 2: the speds stem starts with embed_dim / 2 channels",
    ),
    ({"stages": [{"embed_dim": 384}, {"embed_dim": 192}]}, "which keeps the width"),
    (
        two_stages(kind="conv") | {"stem": {"image_size": 20}},
        "stage 1 cannot divide 5 x 5 tokens by 2. Use an image_size that is a multiple of 8, fewer stages, or less "
        "downsampling",
    ),
    (mixer(window=3), "window 3 does not divide the 8 x 8 tokens of stage 0. Use one of 1, 2, 4, 8"),
    (one_stage(local={"kind": "ssa", "window": 5}), "window 5 does not divide the 8 x 8 tokens of stage 0"),
    (mixer(kind="dssa", patch=16) | {"residual": "ms"}, "patch 16 does not divide the 8 x 8 tokens of stage 0"),
    # Residual
    ({"stem": {"kind": "conv"}}, 'residual "sew" adds spikes, but the "conv" stem ends in membrane currents'),
    (mixer(kind="dssa"), 'mixer.kind "dssa" of stage 0 is defined on membrane currents. Use residual "ms"'),
    (one_stage(local={"kind": "dssa"}), 'local.kind "dssa" of stage 0 is defined on membrane currents'),
    (
        one_stage(mlp={"kind": "gwffn"}) | {"residual": "sew_iand"},
        'residual "sew_iand" adds spikes, but mlp.kind "gwffn" of stage 0 is defined on membrane currents',
    ),
    (mixer(layer_scale=0.5), "mixer.layer_scale 0.5 of stage 0 would scale the spikes. Use 0, or"),
    (one_stage(mlp={"layer_scale": 0.1}), "mlp.layer_scale 0.1 of stage 0 would scale the spikes"),
    (
        one_stage(local={"kind": "dwconv", "layer_scale": 0.1}),
        "local.layer_scale 0.1 of stage 0 would scale the spikes",
    ),
    *(
        (
            {"residual": "sew_iand", "neuron": {"kind": kind}},
            f'residual "sew_iand" needs spikes of 0 and 1, but neuron "{kind}" fires other numbers. '
            'Use residual "sew" or "ms"',
        )
        for kind in ("ternary", "multispike")
    ),
    # Spikes
    *(
        (
            mixer(kind=kind) | {"residual": "ms", "neuron": {"kind": "multispike"}},
            f'mixer.kind "{kind}" of stage 0 masks by spikes of 0 and 1, but neuron "multispike" fires several at once',
        )
        for kind in ("sdsa", "qkta", "qkca", "dssa")
    ),
    (
        one_stage(local={"kind": "qkca"}) | {"neuron": {"kind": "multispike"}},
        'local.kind "qkca" of stage 0 masks by spikes of 0 and 1',
    ),
    (mixer(time_window=3), "time_window 3 of stage 0 does not divide time_steps 4. Use one of 1, 2, 4, or 0 for all"),
]


@pytest.mark.parametrize(("values", "message"), IMPOSSIBLE)
def test_impossible_networks_are_refused_in_the_fields_words(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SpikformerConfig.from_dict(values)
    assert message in str(caught.value)


def test_every_check_refuses_some_network() -> None:
    """Each `require(...)` and `raise` in the modules of the config is the origin of an error above, by its line."""
    checks = {
        (str(file), node.lineno)
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Raise)
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require")
    }
    assert len(checks) > 40
    assert checks - {_origin(values) for values, _ in IMPOSSIBLE} == set()


MODULES = [
    Path(spikformer.config.__file__).with_name(f"{name}.py")
    for name in ("kinds", "stem_config", "parts", "canonical", "config")
]


def _origin(values: dict[str, Any]) -> tuple[str, int | None] | None:
    """File and line of the modules of the config in which the error of a network first arises."""
    with pytest.raises(ConfigError) as caught:
        SpikformerConfig.from_dict(values)
    error: BaseException = caught.value
    while error.__context__ is not None:  # seen again from the owner of the part
        error = error.__context__
    frames = traceback.extract_tb(error.__traceback__)
    files = set(map(str, MODULES))
    return next(((frame.filename, frame.lineno) for frame in reversed(frames) if frame.filename in files), None)


class Fussy(nn.Module):
    """A block whose settings refuse some values, in three ways."""

    @dataclass(frozen=True)
    class Options:
        size: int = 1

        def __post_init__(self) -> None:
            if self.size < 0:
                raise ConfigError(f"size {self.size} must not be negative", ("size",))
            if self.size > 9:
                raise ValueError("too large")

    def __init__(self, dim: int, options: Options, config: SpikformerConfig) -> None:
        super().__init__()
        raise ConfigError(f"{dim} channels are never right", ("kind",))


class Plain:
    """No torch module, and without settings."""

    def __init__(self, dim: int, config: SpikformerConfig) -> None:
        pass


FUSSY, PLAIN = f"{__name__}:Fussy", f"{__name__}:Plain"


@pytest.mark.parametrize("part", ["mixer", "local", "mlp"])
@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("no_such_module:Block", {}, "no_such_module cannot be imported (No module named 'no_such_module')"),
        (f"{__name__}:Absent", {}, f"{__name__} has no class Absent"),
        (f"{__name__}:IMPOSSIBLE", {}, f"{__name__} has no class IMPOSSIBLE"),
        (FUSSY, {"sise": 1}, f'kind "{FUSSY}" has no option "sise". It declares: size'),
        (FUSSY, {"size": -1}, "options: size -1 must not be negative"),
        (FUSSY, {"size": 10}, f"kind \"{FUSSY}\" rejects options {{'size': 10}}: too large"),
        (FUSSY, {"size": "2"}, f"kind \"{FUSSY}\" rejects options {{'size': '2'}}"),
        (FUSSY, {}, "16 channels are never right"),
        (PLAIN, {"size": 1}, f'kind "{PLAIN}" has no option "size". It declares: none'),
        (PLAIN, {}, f'kind "{PLAIN}" is not a torch.nn.Module'),
    ],
)
def test_a_block_of_your_own_that_cannot_be_built_is_refused(
    part: str, kind: str, options: dict[str, Any], message: str
) -> None:
    """When the network is built: naming a class imports nothing."""
    plugins.allow(kind)
    config = SpikformerConfig.from_dict(one_stage(**{part: {"kind": kind, "options": options}}))
    with pytest.raises(ConfigError) as caught:
        Spikformer(config)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no_such_module:Neuron", "cannot be imported"),
        (PLAIN, "is not a spikformer.neurons.Neuron: derive it from that"),
    ],
)
def test_a_neuron_of_your_own_that_is_none_is_refused(kind: str, message: str) -> None:
    plugins.allow(kind)
    config = SpikformerConfig.from_dict(one_stage() | {"neuron": {"kind": kind}})
    with pytest.raises(ConfigError) as caught:
        Spikformer(config)
    assert message in str(caught.value)


def test_options_mean_nothing_to_our_own_kinds() -> None:
    values = small_config().to_dict()
    values["stages"][0]["mixer"]["options"] = {"size": 3}
    _assert_equal_networks(small_config(), SpikformerConfig.from_dict(values))


def test_drop_path_means_nothing_to_a_single_block() -> None:
    """It rises from 0 at the first block, which here is the last as well."""
    one = small_config()
    _assert_equal_networks(one, dataclasses.replace(one, drop_path=0.5))


def test_an_error_names_the_fields_that_disagree() -> None:
    with pytest.raises(ConfigError) as caught:
        SpikformerConfig.from_dict({"stages": [{"embed_dim": 192, "mixer": {"num_heads": 5}}]})
    of_mixer = {f"stages.0.mixer.{name}" for name in ("num_heads", "kind", "qkv_dim", "erode")}
    assert set(caught.value.fields) == {"stages.0.depth", "stages.0.embed_dim"} | of_mixer


@pytest.mark.parametrize("window", [0, 3])
def test_an_error_of_the_grid_names_all_that_decides_it(window: int) -> None:
    """5 x 5 tokens are not halved, and a window of 3 does not divide the 4 x 4 of the second stage."""
    values = two_stages(kind="conv") | {"stem": {"image_size": 32 if window else 20}}
    values["stages"][1]["mixer"]["window"] = window
    with pytest.raises(ConfigError) as caught:
        SpikformerConfig.from_dict(values)
    grid = {"stem.image_size", "stem.kind", "stem.pool", "stem.pool_order"}
    grid |= {f"stem.chain.{i}.{name}" for i in range(4) for name in ("stride", "pool")}
    grid |= {f"stages.{i}.down.{name}" for i in (0, 1) for name in ("kind", "stride", "deformed_shortcut", "chain")}
    grid |= {f"stages.{i}.down.chain.0.{name}" for i in (0, 1) for name in ("stride", "pool")}
    own = {"stages.1.mixer.window", "stages.1.mixer.kind", "stages.1.depth"} if window else set()
    assert set(caught.value.fields) == grid | own


def test_whole_numbers_are_numbers() -> None:
    """TOML and JSON write 2 where 2.0 is meant: the same network, the same id."""
    whole = SpikformerConfig.from_dict({"neuron": {"tau": 2}})
    assert whole.neuron.tau == 2.0
    assert isinstance(whole.neuron.tau, float)
    assert whole.config_id == SpikformerConfig.from_dict({"neuron": {"tau": 2.0}}).config_id


@pytest.mark.parametrize("attention", ["sdsa", "qkca"])
def test_heads_mean_nothing_to_attention_that_works_channel_by_channel(attention: str) -> None:
    _assert_equal_networks(small_config(attention=attention, heads=2), small_config(attention=attention, heads=4))


def test_heads_mean_something_elsewhere() -> None:
    for attention in ("ssa", "qkta"):
        one, other = small_config(attention=attention, heads=1), small_config(attention=attention, heads=4)
        assert one.config_id != other.config_id


def test_pool_order_means_nothing_without_a_pool() -> None:
    none = (False, False, False, False)
    _assert_equal_networks(small_config(pool=none), small_config(placement="pool_first", pool=none))


def test_the_last_pool_of_a_membrane_shortcut_stands_before_its_neuron_anyway() -> None:
    last = (False, False, False, True)
    _assert_equal_networks(small_config("ms", pool=last), small_config("ms", placement="pool_first", pool=last))
    plain = small_config("ms", pool=last, shortcut=False)
    moved = small_config("ms", placement="pool_first", pool=last, shortcut=False)
    assert plain.config_id != moved.config_id


def test_two_equal_stages_are_one_deeper_stage() -> None:
    deep = small_config(depth=2)
    shallow = small_config(depth=1)
    split = dataclasses.replace(shallow, stages=shallow.stages * 2)
    _assert_equal_networks(deep, split)


def _assert_equal_networks(one: SpikformerConfig, other: SpikformerConfig) -> None:
    """Equal id; and the same weights give the same logits, bit for bit.

    Weights go over by their order: the second block is `stages.0.blocks.1` in one and `stages.1.blocks.0` in another.
    """
    assert one != other
    assert one.config_id == other.config_id
    torch.manual_seed(0)
    first, second = Spikformer(one), Spikformer(other)
    weights = dict(zip(second.state_dict(), first.state_dict().values(), strict=True))
    second.load_state_dict(weights)
    images = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(first(images), second(images), rtol=0, atol=0)
