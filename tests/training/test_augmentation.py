"""Images and frames as a network is shown them, and a proxy that trains on frames of events."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import nn

from nas.costs import energy
from nas.datasets import Split, Splits
from nas.errors import SpaceError
from nas.settings import Recipe
from nas.tables.signals import Probe
from nas.training import event_moves, fitting, measurement, probing
from nas.training.augmentation import EventFrames, Normalise, network_input, settled
from nas.training.candidate import Candidate
from nas.training.evaluation import evaluate
from nas.training.execution import REFERENCE, ExecutionOptions
from nas.training.proxy import ProxyLoss
from nas.training.spikes import SpikeCount
from spikformer import ConfigError, Spikformer, SpikformerConfig
from spikformer.neurons import Neuron
from spikformer.operands import REAL, Operand
from tests.helpers import small_config

STEPS = 4


def _config(channels: int = 2, time_steps: int = STEPS, **fields: Any) -> SpikformerConfig:
    config = small_config(time_steps=time_steps, **fields)
    return dataclasses.replace(config, stem=dataclasses.replace(config.stem, in_channels=channels))


def _recordings(count: int = 60, side: int = 8, device: torch.device | str = "cpu") -> Split:
    """Five classes, told apart by the rate of positive events; Poisson counts, mostly 0."""
    generator, labels = torch.Generator().manual_seed(2), torch.arange(count) % 5
    rates = torch.full((count, STEPS, 2, side, side), 0.2)
    rates[:, :, 1] = (0.6 * labels)[:, None, None, None]
    frames = torch.poisson(rates, generator=generator).to(torch.uint8)
    return Split(frames, labels).to(torch.device(device))


def _splits(device: torch.device | str = "cpu") -> Splits:
    train, search_val, report_val = (_recordings(count, device=device) for count in (60, 20, 15))
    return Splits(train, search_val, report_val, tuple("abcde"), "fingerprint")


def test_a_network_of_two_channels_is_fed_the_counts_themselves() -> None:
    frames = _recordings(3).images
    fed = EventFrames(_config(2), 8)(frames)
    assert fed.shape == (STEPS, 3, 2, 8, 8)
    for b in range(3):
        for t in range(STEPS):
            assert torch.equal(fed[t, b], frames[b, t].float())


def test_a_network_of_three_channels_is_fed_their_sum_too() -> None:
    """255 and 255 make 510, which a byte would not hold."""
    frames = torch.tensor([[[255, 255], [3, 4]]], dtype=torch.uint8)[..., None, None].expand(1, 2, 2, 8, 8)
    fed = EventFrames(_config(3), 8)(frames)
    assert fed[..., 0, 0].flatten().tolist() == fed[..., 7, 3].flatten().tolist() == [255, 255, 510, 3, 4, 7]
    with pytest.raises(ConfigError, match=r"stem.in_channels 1 does not fit frames of events. Use 2"):
        EventFrames(_config(1), 8)


def test_frames_of_another_size_are_resized_to_real_numbers() -> None:
    """Each place of half the side is the mean of 4 x 4 places, weighted by 1, 3, 3, 1 along each side (triangle)."""
    frames = torch.zeros(1, STEPS, 2, 16, 16, dtype=torch.uint8)
    frames[0, 1, 0, 4, 4], frames[0, 2, 1] = 64, 5
    resized = EventFrames(_config(), 16)
    fed = resized(frames)
    assert resized.fed == REAL
    assert EventFrames(_config(), 8).fed == Operand("count")
    assert fed[1, 0, 0].nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert fed[1, 0, 0, 1:3, 1:3].flatten().tolist() == pytest.approx([1.0, 3.0, 3.0, 9.0])
    assert bool((fed[2, 0, 1] - 5).abs().max() < 1e-5)


def test_one_door_tells_what_a_split_needs() -> None:
    images = Split(torch.zeros(5, 3, 8, 8, dtype=torch.uint8), torch.arange(5))
    assert isinstance(network_input(images, nn.Identity()), Normalise)
    assert isinstance(network_input(_recordings(), Spikformer(_config())), EventFrames)
    with pytest.raises(AssertionError, match=r"cut into 4 frames, but the network has T = 2"):
        network_input(_recordings(), Spikformer(_config(time_steps=2)))


def test_auto_does_not_mirror_events_and_images_have_no_moves_of_events() -> None:
    colours = Split(torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8), torch.arange(5))
    assert settled(Recipe(), _recordings()).augment == "shift"
    assert settled(Recipe(), colours).augment == "shift_flip"
    for kind in event_moves.KINDS:
        recipe = Recipe(augment=kind)  # pyrefly: ignore[bad-argument-type]
        assert settled(recipe, _recordings()) == recipe
        with pytest.raises(SpaceError, match=rf'augment "{kind}" moves frames of events, but the data set has images'):
            settled(recipe, colours)


@pytest.mark.parametrize("channels", [2, 3])
def test_the_loss_of_a_batch_is_that_of_its_counts(channels: int) -> None:
    """Against the network called by hand, laid out in either way, with a spike penalty."""
    torch.manual_seed(0)
    model, train, recipe = Spikformer(_config(channels)).train(), _recordings(), Recipe(augment="none")
    chosen, losses = torch.tensor([7, 3, 12, 30]), []
    for options in (REFERENCE, ExecutionOptions(channels_last=True)):
        with SpikeCount(model, recipe) as spikes:
            loss = ProxyLoss(model, train, recipe, options, spikes, torch.Generator())
            losses.append(loss(chosen).item())
    frames = train.images[chosen].float().transpose(0, 1)
    if channels == 3:
        frames = torch.stack([frames[:, :, 0], frames[:, :, 1], frames[:, :, 0] + frames[:, :, 1]], 2)
    expected = nn.functional.cross_entropy(model(frames), train.labels[chosen], label_smoothing=0.1).item()
    assert losses == pytest.approx([expected, expected], rel=1e-4)


def test_it_learns_and_does_so_twice_the_same(device: torch.device) -> None:
    histories = []
    for _ in range(2):
        torch.manual_seed(0)
        model, train = Spikformer(_config()).to(device), _recordings(device=device)
        recipe = Recipe(epochs=8, batch_size=12, learning_rate=2e-2, augment="event_wide", label_smoothing=0)
        histories.append(fitting.fit(model, train, recipe, seed=3))
    losses = [[epoch.loss for epoch in history] for history in histories]
    assert losses[0] == (losses[1] if device.type == "cpu" else pytest.approx(losses[1], rel=2e-2))
    assert losses[0][-1] < 0.7 * losses[0][0]
    assert fitting.accuracy(model, train, network_input(train, model)) > 0.5


def test_levers_change_no_more_than_rounding() -> None:
    losses = []
    for how in (REFERENCE, ExecutionOptions("bf16", channels_last=True, neurons="auto")):
        torch.manual_seed(0)
        model = Spikformer(_config())
        (epoch,) = fitting.fit(model, _recordings(), Recipe(epochs=1, batch_size=12), seed=3, options=how)
        losses.append(epoch.loss)
    assert losses[1] == pytest.approx(losses[0], abs=0.1)


def test_a_candidate_counts_the_events_of_its_recordings() -> None:
    """The record of 20 search-val recordings: events as they were added up, and no energy on ImageNet."""
    splits, seen = _splits(), []
    candidate, model = evaluate(_config(), splits, Recipe(epochs=6, batch_size=12, learning_rate=1e-2))
    assert candidate.status == "complete"
    assert candidate.report_val_images == 15
    first = candidate.operations[0]
    assert (first.path, first.operands[0].kind, first.repeats) == ("stem.embedding.0.conv.conv", "count", 1)
    assert first.spikes == int(splits.search_val.images.sum())
    assert candidate.energy_target_mj is None
    assert candidate.energy_repeated_mj == candidate.energy_mj
    assert candidate.real_macs is not None
    assert candidate.spike_operations == energy.price(candidate.operations, 20).spike_operations
    for path, module in model.named_modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _m, _inputs, out, p=path: seen.append((p, out.mean().item())))
    with torch.no_grad():
        model(splits.search_val.images.transpose(0, 1).float())
    assert candidate.firing_rates == pytest.approx(dict(seen), rel=1e-5)
    assert all(len(layer.spikes) == STEPS for layer in candidate.activity.values())
    assert Candidate.from_dict(candidate.to_dict()) == candidate


def test_the_pace_of_training_on_frames_is_measured() -> None:
    pace = probing.measured_pace(_config(), _splits(), Recipe(epochs=2, batch_size=12))
    assert pace is not None
    assert pace.image_s > 0
    assert pace.measuring_s > 0


def test_batches_and_compiling_depend_on_the_size_of_a_frame() -> None:
    """65,536 pixels at a time are 64 recordings of 32 x 32, whatever T; so many pixels decide on compiled neurons."""
    frames = _recordings(70, side=32)
    assert fitting.evaluation_batch(frames) == 64
    assert [len(labels) for _, labels in fitting.batches(frames, 64)] == [64, 6]
    asked: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "options_for", lambda _device, _recipe, pixels: asked.append(pixels))
        fitting.options_of(frames, Recipe(epochs=3, batch_size=70))
    assert asked == [3 * 70 * 32 * 32]


def test_zero_cost_signals_of_frames_against_a_plain_computation() -> None:
    splits, recipe = _splits(), Recipe(label_smoothing=0.0)
    train, probe = splits.train, Probe(splits, recipe, torch.device("cpu"))
    for channels in (2, 3, 2):
        found = probe.signals(_config(channels))
        torch.manual_seed(0)
        model = Spikformer(_config(channels)).train()
        order = torch.randperm(60, generator=torch.Generator().manual_seed(0)).sort().values
        frames = train.images[order].float().transpose(0, 1)
        frames = frames if channels == 2 else torch.cat([frames, frames.sum(2, keepdim=True)], 2)
        nn.functional.cross_entropy(model(frames), train.labels[order]).backward()
        gradients = [p.grad.double() for p in model.parameters() if p.grad is not None]
        assert found["gradient_l2"] == pytest.approx(math.sqrt(sum(float((g * g).sum()) for g in gradients)), rel=1e-3)


def test_frames_on_a_device_count_as_on_a_cpu(device: torch.device) -> None:
    torch.manual_seed(0)
    model, split = Spikformer(_config()), _recordings()
    fitting.fit(model, split, Recipe(epochs=1, batch_size=12, learning_rate=1e-9), seed=0)
    expected = measurement.measure(model, split, network_input(split, model))
    moved = split.to(device)
    found = measurement.measure(model.to(device), moved, network_input(moved, model))
    assert found.operations[0] == expected.operations[0]
