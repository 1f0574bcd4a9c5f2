"""Networks in words: published ones by hand, and every kind of a part."""

import dataclasses
import typing

import pytest

from nas.training.description import described
from spikformer import published
from spikformer.config import READS, Residual, SpikformerConfig

WORDS = {
    "spikformer_cifar10_4_384": (
        "4 blocks of 384 channels, 12 heads, spiking self-attention, MLP ratio 4, spike-element-wise shortcut, T = 4"
    ),
    "spikingformer_cifar10_2_256": (
        "2 blocks of 256 channels, 8 heads, spiking self-attention, MLP ratio 4, membrane shortcut, T = 4"
    ),
}


@pytest.mark.parametrize("name", WORDS)
def test_a_published_network_in_words(name: str) -> None:
    assert described(published.config(name)) == WORDS[name]


@pytest.mark.parametrize("name", published.names())
def test_every_published_network_has_words(name: str) -> None:
    """Each stage has its blocks and channels, and nothing is called by an internal name."""
    config = published.config(name)
    words = described(config)
    assert words.count(" channels") == len(config.stages)
    assert words.endswith(f"T = {config.time_steps}")
    assert not {*READS["mixer"], *READS["mlp"], *typing.get_args(Residual)} & set(words.replace(",", " ").split())


def test_stages_stand_one_after_the_other() -> None:
    words = described(published.config("qkformer_cifar100_4_384"))
    assert words.startswith("1 block of 96 channels, ")
    assert "; then 1 block of 192 channels, " in words
    assert words.endswith("; stem of convolutions with a deformed shortcut, spike-element-wise shortcut, T = 4")


def test_stems_are_told_by_their_convolutions() -> None:
    """The usual one, SPS with late pools, is not worth a word."""
    told = {
        "": {"kind": "sps", "pool": [False, True, True, True]},
        "4 convolutions with early pools": {"kind": "sps", "pool": [True, False, True, False]},
        "1 convolution": {"kind": "conv"},
        "2 convolutions": {"kind": "chain", "chain": [{"width": 0.5}, {"pool": True}]},
        "3 convolutions and a shortcut": {"kind": "chain", "chain": [{}, {}, {}], "shortcut_over": 1},
        "4 x 4 patches": {"kind": "chain", "chain": [{"kernel_size": 4, "stride": 4}]},
        "Mine": {"kind": "mine:Mine"},
    }
    for words, stem in told.items():
        config = SpikformerConfig.from_dict({"residual": "ms", "stem": stem})
        assert (f"stem of {words}, " in described(config)) if words else ("stem" not in described(config))


def test_blocks_that_differ_are_told_by_their_range() -> None:
    """Stages of one width with no layer between them stand together; one without blocks is not told."""
    stages = [
        {"embed_dim": 64, "depth": 2, "mixer": {"num_heads": 2}, "mlp": {"ratio": 2}},
        {"embed_dim": 64, "depth": 1, "mixer": {"num_heads": 4}, "mlp": {"ratio": 4}},
        {"embed_dim": 64, "depth": 0},
    ]
    words = described(SpikformerConfig.from_dict({"stages": stages}))
    assert words.startswith("3 blocks of 64 channels, 2 to 4 heads, spiking self-attention, MLP ratio 2 to 4, ")


def test_what_is_unusual_is_told() -> None:
    config = SpikformerConfig()
    for changed, words in (
        (
            dataclasses.replace(config, neuron=dataclasses.replace(config.neuron, kind="psn")),
            "parallel spiking neurons",
        ),
        (
            dataclasses.replace(config, head=dataclasses.replace(config.head, neuron=True)),
            "neuron before the classifier",
        ),
        (dataclasses.replace(config, stem=dataclasses.replace(config.stem, pool_order="before_neuron")), "stem pools"),
    ):
        assert words in described(changed)
        assert words not in described(config)


def test_a_custom_block_has_the_name_of_its_class() -> None:
    stage = SpikformerConfig().stages[0]
    custom = dataclasses.replace(stage, mixer=dataclasses.replace(stage.mixer, kind="mine:Shift"))
    assert ", Shift, MLP ratio 4" in described(dataclasses.replace(SpikformerConfig(), stages=(custom,)))
