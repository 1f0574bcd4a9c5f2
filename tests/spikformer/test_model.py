"""The network: what holds for every combination of residual, attention and neuron placement."""

import dataclasses
import itertools
import random

import pytest
import torch
from torch import Tensor, nn

from spikformer import Spikformer, SpikformerConfig
from spikformer.config import HeadConfig, NeuronConfig
from spikformer.neurons import neuron
from spikformer.token_mixers import SpikingAttention
from tests.helpers import ATTENTIONS, PLACEMENTS, RESIDUALS, calibrated, random_config, small_config, thinned

COMBINATIONS = list(itertools.product(RESIDUALS, ATTENTIONS, PLACEMENTS))


@pytest.mark.parametrize(("residual", "attention", "placement"), thinned(COMBINATIONS, 5))
def test_contract(residual: str, attention: str, placement: str) -> None:
    """Shape; the same input twice; no influence between samples; a useful gradient for every parameter."""
    for time_steps in (1, 3):
        model, images = calibrated(small_config(residual, attention, placement, time_steps))
        logits = model(images)
        assert logits.shape == (3, 5)
        torch.testing.assert_close(model(images), logits, rtol=0, atol=0)
        for i in range(3):
            torch.testing.assert_close(model(images[i : i + 1])[0], logits[i], rtol=1e-5, atol=1e-6)
        other = torch.cat([images[:1], torch.randn(5, 3, 8, 8)])
        torch.testing.assert_close(model(other)[0], logits[0], rtol=1e-5, atol=1e-6)
        _assert_gradients(model)


@pytest.mark.parametrize("seed", range(12))
def test_contract_on_random_networks(seed: int) -> None:
    """Depth, heads, ratio, pools, PLIF and the stem's shortcut as well."""
    model, images = calibrated(random_config(random.Random(seed)), seed)
    logits = model(images)
    torch.testing.assert_close(model(images[1:2])[0], logits[1], rtol=1e-5, atol=1e-6)
    _assert_gradients(model)


def _assert_gradients(model: Spikformer) -> None:
    torch.manual_seed(1)
    model.train()
    model.zero_grad()
    stem = model.config.stem
    images = torch.randn(16, stem.in_channels, stem.image_size, stem.image_size)
    nn.functional.cross_entropy(model(images), torch.randint(5, (16,))).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if parameter.ndim > 1:
            assert parameter.grad.abs().max() > 0, f"{name} learns nothing"


def test_frames_that_repeat_an_image_are_that_image() -> None:
    for residual in RESIDUALS:
        model, images = calibrated(small_config(residual, time_steps=3))
        frames = images.expand(3, *images.shape)
        torch.testing.assert_close(model(frames), model(images))


def test_batch_norm_sees_all_time_steps_of_a_static_image() -> None:
    """Convolved once or at every step: equal outputs and running statistics."""
    torch.manual_seed(0)
    images = torch.randn(4, 3, 8, 8)
    once, each = Spikformer(small_config(time_steps=3)), Spikformer(small_config(time_steps=3))
    each.load_state_dict(once.state_dict())
    torch.testing.assert_close(once(images), each(images.expand(3, *images.shape)))
    for (name, a), b in zip(once.state_dict().items(), each.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_time_matters() -> None:
    """Frames in another order give other logits: the membrane remembers."""
    model, _ = calibrated(small_config(time_steps=3))
    frames = 2 * torch.randn(3, 4, 3, 8, 8)
    assert not torch.equal(model(frames), model(frames.flip(0)))


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (2, 1, 8, 8), (4, 2, 3, 8, 8), (3, 8, 8)])
def test_images_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="this network takes"):
        Spikformer(small_config())(torch.zeros(shape))


def test_names_of_the_state_dict_keep_queries_keys_and_values_apart() -> None:
    names = Spikformer(small_config()).state_dict().keys()
    for part in ("query", "key", "value"):
        assert f"stages.0.blocks.0.mixer.branch.{part}.conv.conv.weight" in names


@pytest.mark.parametrize("kind", ["lif", "plif"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neurons_follow_the_textbook_recursion(kind: str, dtype: torch.dtype) -> None:
    """h = v + (x - v) / tau; s = [h >= threshold]; v = (1 - s) h, written out as a loop."""
    layer = neuron(SpikformerConfig(neuron=NeuronConfig(kind, tau=2.5, threshold=0.7))).to(dtype)
    x_T = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0), dtype=dtype) * 3
    v, expected = torch.zeros(5, 4, dtype=dtype), []
    for x in x_T:
        h = v + (x - v) / 2.5
        s = (h >= 0.7).to(dtype)
        v = (1 - s) * h
        expected.append(s)
    assert torch.equal(layer(x_T), torch.stack(expected))
    assert torch.equal(layer(x_T), torch.stack(expected))  # nothing survived the first call


def test_reset_carries_no_gradient() -> None:
    """By hand, two steps, tau 2, threshold 1, x = (3, x1): the spike at step 0 resets v to 0, so ds1/dx0 = 0."""
    layer = neuron(SpikformerConfig())
    x = torch.tensor([[3.0], [0.5]], requires_grad=True)
    layer(x)[1].sum().backward()
    assert x.grad is not None
    assert x.grad[0].item() == 0
    assert x.grad[1].item() > 0


@pytest.mark.parametrize("shape", [(2, 8, 16), (4, 8, 4)])
@pytest.mark.parametrize("attention", ["ssa", "ssa_map", "sdsa", "qkta", "qkca"])
def test_attention_is_the_papers_formula(attention: str, shape: tuple[int, int, int]) -> None:
    """Each algebra written out index by index, with more tokens than channels a head and with fewer."""
    heads, channels, tokens = shape
    kind = attention.removesuffix("_map")
    config = small_config(attention=kind, heads=heads, dim=heads * channels)
    mixer_config = config.stages[0].mixer
    if attention == "ssa_map":
        mixer_config = small_config(placement="map", heads=heads, dim=heads * channels).stages[0].mixer
    layer = SpikingAttention(heads * channels, mixer_config, config)
    torch.manual_seed(0)
    q, k, v = ((torch.rand(2, 3, heads, channels, tokens) < 0.4).float() for _ in range(3))
    scale = mixer_config.scale

    def fire(currents: Tensor) -> Tensor:
        spikes: Tensor = layer.attention_neuron(currents)
        return spikes

    def expected() -> Tensor:
        if attention == "ssa":
            return fire(scale * torch.einsum("tbakn,tbakm,tbajm->tbajn", q, k, v))
        if attention == "ssa_map":
            return torch.einsum("tbamn,tbajm->tbajn", fire(scale * torch.einsum("tbakn,tbakm->tbamn", q, k)), v)
        if attention == "sdsa":
            return q * fire(torch.einsum("tbakn,tbakn->tbak", k, v))[..., None]
        if attention == "qkta":
            return k * fire(torch.einsum("tbakn->tban", q))[..., None, :]
        return k * fire(torch.einsum("tbakn->tbak", q))[..., None]

    inputs: list[Tensor] = []
    layer.proj.register_forward_pre_hook(lambda _m, x: inputs.append(x[0]))
    for name, spikes in (("query", q), ("key", k), ("value", v)):
        if hasattr(layer, name):
            setattr(layer, name, _Constant(spikes.flatten(2, 3).unflatten(-1, (tokens // 2, 2))))
    layer(torch.zeros(2, 3, heads * channels, tokens // 2, 2))
    torch.testing.assert_close(inputs[0].flatten(-2), expected().flatten(2, 3), rtol=0, atol=0)


class _Constant(nn.Module):
    """Gives the same tensor whatever it is asked."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, _x: Tensor) -> Tensor:
        return self.value


def test_two_classifiers_give_their_logits_separately_where_asked() -> None:
    """Whether it trains or not; by default the network gives their mean."""
    config = dataclasses.replace(small_config(), head=HeadConfig(5, neuron=True, time_mean="after", distillation=True))
    model, images = calibrated(config)
    for mode in (True, False):
        both = model.train(mode)(images, separate=True)
        assert both.shape == (2, len(images), 5)
        assert not torch.equal(both[0], both[1])
        torch.testing.assert_close(model(images), both.mean(0))


def test_one_classifier_is_not_asked_for_two() -> None:
    model, images = calibrated(small_config())
    with pytest.raises(ValueError, match="this head has one classifier"):
        model(images, separate=True)
