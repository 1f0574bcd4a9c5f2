"""Configs check themselves, survive JSON, and know when they describe the same network."""

import dataclasses
import json
import random
from typing import Any

import pytest
import torch

from spikformer import ConfigError, Spikformer, SpikformerConfig
from tests.helpers import random_config, small_config


def test_round_trip_through_json() -> None:
    rng = random.Random(0)
    for config in (random_config(rng) for _ in range(50)):
        again = SpikformerConfig.from_dict(json.loads(json.dumps(config.to_dict())))
        assert again == config
        assert hash(again) == hash(config)
        assert again.config_id == config.config_id


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"residul": "ms"}, 'unknown field "residul". Did you mean "residual"?'),
        ({"stages": [{"mixer": {"num_head": 2}}]}, 'stages.0: mixer: unknown field "num_head"'),
        ({"stages": [{"embed_dim": 192, "mixer": {"num_heads": 5}}]}, "5 does not divide embed_dim 192. Use one of 1,"),
        ({"residual": "add"}, 'residual "add" is unknown. Use one of sew, ms'),
        ({"time_steps": 0}, "time_steps 0 must be at least 1"),
        ({"time_steps": True}, "time_steps must be a whole number, not True"),
        ({"neuron": {"tau": 1}}, "tau 1.0 must be above 1"),
        ({"neuron": {"threshold": float("nan")}}, "threshold must be finite"),
        ({"stem": {"pool": [True]}}, "pool needs 4 values, not 1"),
        ({"stem": {"image_size": 30}}, "image_size 30 is not a multiple of 4"),
        ({"stages": []}, "stages is empty"),
        ({"stages": [{"embed_dim": 12, "mixer": {"num_heads": 2}}]}, "embed_dim 12 is not a multiple of 8"),
        ({"stages": [{"embed_dim": 8, "mixer": {"num_heads": 2}, "mlp": {"ratio": 1.3}}]}, "no whole number"),
        ({"stages": [{"embed_dim": 384}, {"embed_dim": 192}]}, "blocks are added to one another"),
        ({"head": 10}, "expected the fields of HeadConfig, not 10"),
    ],
)
def test_impossible_networks_are_refused_in_the_fields_words(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SpikformerConfig.from_dict(values)
    assert message in str(caught.value)


def test_an_error_names_the_fields_that_disagree() -> None:
    with pytest.raises(ConfigError) as caught:
        SpikformerConfig.from_dict({"stages": [{"embed_dim": 192, "mixer": {"num_heads": 5}}]})
    assert caught.value.fields == ("stages.0.embed_dim", "stages.0.mixer.num_heads", "stages.0.mixer.kind")


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
    """Equal id; and the same weights give the same logits, bit for bit."""
    assert one != other
    assert one.config_id == other.config_id
    torch.manual_seed(0)
    first, second = Spikformer(one), Spikformer(other)
    second.load_state_dict(first.state_dict())
    images = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(first(images), second(images), rtol=0, atol=0)
