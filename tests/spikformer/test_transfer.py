"""Trained weights in networks for other images: what fits is the same to the last bit, the rest as timm makes it."""

import dataclasses
from typing import Any

import pytest
import torch
from timm.models import adapt_input_conv

from spikformer import CheckpointError, Spikformer, SpikformerConfig
from spikformer.transfer import transferred
from tests.helpers import small_config


def _with(config: SpikformerConfig, part: str, **changes: Any) -> SpikformerConfig:
    return dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **changes)})


def _features(model: Spikformer, images: torch.Tensor) -> torch.Tensor:
    features: torch.Tensor = model.stages(model.stem(images.unsqueeze(0)))
    return features


@pytest.mark.parametrize("residual", ["sew", "ms"])
def test_features_for_other_classes_are_equal_to_the_last_bit(residual: str) -> None:
    config = small_config(residual, placement="head")
    trained = Spikformer(config).eval()
    model = transferred(trained, _with(config, "head", num_classes=7))
    images = torch.rand(2, 3, 8, 8)
    assert model(images).shape == (2, 7)
    assert torch.equal(_features(model, images), _features(trained, images))
    own, theirs = model.state_dict(), trained.state_dict()
    assert all(torch.equal(own[name], theirs[name]) for name in own if not name.startswith("head.linear"))


def test_a_new_classifier_may_have_as_many_classes() -> None:
    trained = Spikformer(small_config()).eval()
    assert torch.equal(transferred(trained, trained.config).head.linear.weight, trained.head.linear.weight)
    model = transferred(trained, trained.config, new_head=True)
    assert not torch.equal(model.head.linear.weight, trained.head.linear.weight)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_the_first_convolution_is_made_for_other_channels_as_timm_makes_it(channels: int) -> None:
    config = small_config()
    trained = Spikformer(config).eval()
    model = transferred(trained, _with(config, "stem", in_channels=channels))
    name = "stem.embedding.0.conv.conv.weight"
    own, theirs = model.state_dict(), trained.state_dict()
    torch.testing.assert_close(own[name], adapt_input_conv(channels, theirs[name]))
    assert all(torch.equal(own[other], theirs[other]) for other in own if other != name)


def test_images_of_another_size_are_shown_to_the_same_weights() -> None:
    """A learned position is interpolated: a constant one stays constant."""
    config = _with(small_config("ms"), "stem", position="learned")
    trained = Spikformer(config).eval()
    trained.load_state_dict(trained.state_dict() | {"stem.position.table": torch.full((16, 4, 4), 0.25)})
    model = transferred(trained, _with(config, "stem", image_size=16))
    own, theirs = model.state_dict(), trained.state_dict()
    torch.testing.assert_close(own["stem.position.table"], torch.full((16, 8, 8), 0.25))
    assert all(torch.equal(own[name], theirs[name]) for name in own if name != "stem.position.table")


def test_another_network_is_refused() -> None:
    trained = Spikformer(small_config(neuron="psn", time_steps=2))
    with pytest.raises(CheckpointError, match="time steps of psn neurons"):
        transferred(trained, dataclasses.replace(trained.config, time_steps=4))
    with pytest.raises(CheckpointError, match="only one of the two has"):
        transferred(trained, small_config(depth=2, neuron="psn"))
