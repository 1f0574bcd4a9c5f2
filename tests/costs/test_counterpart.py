"""The quantised twin of a spiking network."""

import dataclasses

import pytest
import torch

from nas.costs.counterpart import ann_counterpart, bits
from spikformer import ConfigError, Spikformer, published
from spikformer.config import NeuronConfig


@pytest.mark.parametrize(("time_steps", "wanted"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4)])
def test_bits_by_hand(time_steps: int, wanted: int) -> None:
    assert bits(time_steps) == wanted


@pytest.mark.parametrize(("time_steps", "levels"), [(1, 1), (2, 2), (4, 4), (8, 8), (3, 2), (6, 4)])
def test_a_twin_tells_no_more_numbers_apart_than_its_bits_hold(time_steps: int, levels: int) -> None:
    config = dataclasses.replace(published.config("spikformer_cifar10_4_384"), time_steps=time_steps)
    found = ann_counterpart(config)
    assert (found.time_steps, found.neuron.kind, found.neuron.levels) == (1, "multispike", levels)
    assert levels + 1 <= 2 ** bits(time_steps) or levels == 1


def test_a_twin_has_the_same_parameters_and_shape() -> None:
    config = dataclasses.replace(published.config("spikformer_cifar10_4_384"), time_steps=4)
    with torch.device("meta"):
        models = Spikformer(config), Spikformer(ann_counterpart(config))
    shapes = [{name: tuple(p.shape) for name, p in model.named_parameters()} for model in models]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("kind", ["multispike", "ternary"])
def test_networks_without_a_twin_say_why(kind: str) -> None:
    config = dataclasses.replace(published.config("spikformer_cifar10_4_384"), neuron=NeuronConfig(kind))
    with pytest.raises(ConfigError, match="counterpart"):
        ann_counterpart(config)
    masks = published.config("sdt1_cifar10_2_512")
    with pytest.raises(ConfigError, match="masks by spikes of 0 and 1"):
        ann_counterpart(masks)
