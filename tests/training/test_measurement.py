"""A pass over images: what it refuses to call an energy, and how sure it is of one."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import nn

from nas.costs import energy
from nas.datasets.loaders import Split
from nas.errors import CostError
from nas.training.augmentation import Normalise
from nas.training.fitting import accuracies, accuracy, counts_by_class, scores
from nas.training.measurement import Measurement, measure, measure_batches
from spikformer import Spikformer, fuse
from spikformer.config import SpikformerConfig
from spikformer.neurons import Neuron
from spikformer.operands import BINARY, REAL, Operand
from tests.helpers import calibrated, small_config


def _measure(model: Spikformer, images: int = 12) -> Measurement:
    torch.manual_seed(0)
    split = Split(torch.randint(256, (images, 3, 8, 8), dtype=torch.uint8), torch.randint(5, (images,)))
    return measure(model, split, Normalise(split))


def test_an_untrained_network_is_silent() -> None:
    model = Spikformer(small_config())
    assert "never calibrated" in str(_measure(model).silent)


def test_a_network_that_answers_the_same_to_everything_is_silent() -> None:
    model, _ = calibrated(small_config())
    assert _measure(model).silent is None
    nn.init.zeros_(model.get_submodule("stem.embedding.0.conv.norm").weight)  # pyrefly: ignore[bad-argument-type]
    assert "residual stream" in str(_measure(model).silent)


def test_a_head_that_sees_the_same_for_everything_is_silent() -> None:
    model, _ = calibrated(small_config(placement="head"))
    assert model.head.neuron is not None
    model.head.neuron.threshold = 1e9
    measurement = _measure(model)
    assert "head sees the same" in str(measurement.silent)
    assert measurement.firing_rates["head.neuron"] == 0


def test_the_standard_error_is_that_of_images_counted_one_by_one(usual_batches: None) -> None:
    """16 images are counted in batches of one: the textbook formula on their own energies."""
    model, _ = calibrated(small_config())
    torch.manual_seed(0)
    split = Split(torch.randint(256, (16, 3, 8, 8), dtype=torch.uint8), torch.randint(5, (16,)))
    normalise = Normalise(split)
    whole = measure(model, split, normalise)
    alone = []
    for i in range(16):
        one = measure(model, Split(split.images[i : i + 1], split.labels[i : i + 1]), normalise)
        alone.append(energy.price(one.operations, 1).energy_mj)
    mean = math.fsum(alone) / 16
    deviation = math.sqrt(math.fsum((e - mean) ** 2 for e in alone) / 15)
    assert energy.price(whole.operations, 16).energy_mj == pytest.approx(mean, rel=1e-9)
    assert whole.energy_error is not None
    assert whole.energy_error == pytest.approx(deviation / math.sqrt(16) / mean, rel=1e-6)
    assert whole.energy_error > 0


def test_overheads_of_a_small_network_by_hand() -> None:
    """2 steps of 8 x 8 pixels, widths 2, 4, 8, 16, a pool to 4 x 4 behind the fourth, ratio 2, sew."""
    model, _ = calibrated(small_config())
    overheads = _measure(model, images=1).overheads
    stem = (2 + 4 + 8 + 16) * 64 + 16 * 16  # the four convolutions, the position
    attention, mlp = 5 * 16 * 16, (32 + 16) * 16  # q, k, v, the output, its projection; two convolutions
    assert overheads.neuron_updates == 2 * (stem + attention + mlp)
    assert overheads.residual_additions == 2 * 3 * 16 * 16  # position, attention, mlp
    assert overheads.pool_comparisons == 2 * 16 * 16 * 8


def test_float32_is_float32_while_measuring() -> None:
    """On CUDA, convolutions and products would round to ten bits of mantissa: the settings, seen from within."""
    settings: tuple[Any, ...] = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # pyrefly: ignore[missing-attribute]
    before = [setting.fp32_precision for setting in settings]
    seen: set[tuple[str, ...]] = set()
    model, _ = calibrated(small_config())
    model.register_forward_pre_hook(lambda *_: seen.add(tuple(setting.fp32_precision for setting in settings)))
    images = Split(torch.randint(256, (20, 3, 8, 8), dtype=torch.uint8), torch.arange(20) % 5)
    for measures in (measure, accuracy):
        measures(model, images, Normalise(images))
        assert seen == {("ieee", "ieee")}
        seen.clear()
    assert [setting.fp32_precision for setting in settings] == before
    assert before[0] == "tf32"  # as torch has it, and as networks are trained


def test_counts_and_accuracies_are_those_of_a_cpu(device: torch.device) -> None:
    """To the last spike: weights are quarters and batch norm adds no more, so that behind the first layer all sums are
    exact, in whatever order they are added up."""
    model, _ = calibrated(small_config())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((4 * parameter).round() / 4)
        for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
            norm.bias.fill_(0.5)  # so that all layers fire
    images = Split(torch.randint(256, (64, 3, 8, 8), dtype=torch.uint8), torch.arange(64) % 5)
    expected = measure(model, images, Normalise(images))
    moved = images.to(device)
    found = measure(model.to(device), moved, Normalise(moved))
    assert all(operation.nonzero for operation in expected.operations)
    assert found.operations == expected.operations
    assert found.overheads == expected.overheads
    assert found.accuracy == expected.accuracy


def test_balanced_accuracy_by_hand() -> None:
    """Three of four images of class 0, none of one of class 1, one of one of class 3: (3/4 + 0 + 1) / 3 = 7/12.

    Of all six images four are right. Class 2 has none and is left out.
    """
    logits = 9.0 * torch.eye(4)[[0, 0, 0, 2, 3, 3]]
    counts = counts_by_class(logits, torch.tensor([0, 0, 0, 0, 1, 3]))
    assert counts.tolist() == [[3, 0, 0, 1], [4, 1, 0, 1]]
    assert accuracies(counts) == pytest.approx((4 / 6, 7 / 12))
    assert accuracies(2 * counts) == accuracies(counts)
    assert accuracies(None) == accuracies(torch.zeros(2, 4)) == (0.0, 0.0)


def test_balanced_accuracy_is_that_of_predictions_image_by_image() -> None:
    """On both ways that a candidate is measured; scikit-learn is the other computation."""
    from sklearn.metrics import balanced_accuracy_score

    model, _ = calibrated(small_config())
    torch.manual_seed(1)
    labels = torch.tensor([0] * 20 + [1] * 8 + [2] * 4 + [3] * 2)
    split = Split(torch.randint(256, (34, 3, 8, 8), dtype=torch.uint8), labels)
    normalise = Normalise(split)
    with torch.no_grad():
        predicted = [int(model(normalise(image[None])).argmax()) for image in split.images]
    labels[:20] = torch.tensor(predicted[:20])  # all of class `predicted`: some are right
    expected = balanced_accuracy_score(labels, predicted)
    measured = measure(model, split, normalise)
    assert measured.balanced_accuracy == pytest.approx(expected)
    assert scores(model, split, normalise) == (measured.accuracy, measured.balanced_accuracy)
    assert 0 < expected != pytest.approx(measured.accuracy)


FRAMES = 4


def _frames_config(channels: int = 3, residual: str = "sew") -> SpikformerConfig:
    config = small_config(residual, time_steps=FRAMES)
    return dataclasses.replace(config, stem=dataclasses.replace(config.stem, in_channels=channels))


@pytest.mark.parametrize("residual", ["sew", "ms"])
@pytest.mark.parametrize("fused", [False, True])
def test_an_image_shown_as_frames_costs_what_it_costs_as_an_image(residual: str, fused: bool) -> None:
    """T equal frames: same answers, spikes and operations; the first convolution alone runs T times, not once.

    So their energy is that of the image where the first convolution is counted T times ("measured+repeat").
    """
    model, images = calibrated(_frames_config(residual=residual))
    model = fuse(model) if fused else model
    labels = torch.tensor([0, 1, 2])
    frames = images[None].expand(FRAMES, -1, -1, -1, -1)
    as_images, as_frames = (measure_batches(model, [(shown, labels)]) for shown in (images, frames))
    assert as_frames.images == as_images.images == 3
    assert as_frames.accuracy == as_images.accuracy
    assert as_frames.firing_rates == as_images.firing_rates
    first, *others = as_frames.operations
    assert others == list(as_images.operations[1:])
    assert first.dense == FRAMES * as_images.operations[0].dense
    assert (first.repeats, as_images.operations[0].repeats) == (1, FRAMES)
    repeated = energy.price(as_images.operations, as_images.images, energy.convention("measured+repeat"))
    found = energy.price(as_frames.operations, as_frames.images)
    assert found.energy_mj == pytest.approx(repeated.energy_mj, rel=1e-12)
    assert found.spike_operations == repeated.spike_operations


def _events(count: int, largest: int) -> torch.Tensor:
    """[T, count, 2, 8, 8], mostly zero."""
    generator = torch.Generator().manual_seed(3)
    return (torch.randint(0, 4 * largest, (FRAMES, count, 2, 8, 8), generator=generator) - 3 * largest).clamp(0).float()


@pytest.mark.parametrize(("fed", "largest"), [(BINARY, 1), (Operand("count"), 3)])
def test_frames_of_events_are_added_up(fed: Operand, largest: int) -> None:
    """Each event meets the weights of every output channel at every place of the window, counted by a convolution.

    Six images in batches of four and two, by hand; the frames are T times as many.
    """
    model, _ = calibrated(_frames_config(2))
    events = _events(6, largest + 1)
    assert events.max() == largest
    labels = torch.arange(6) % 5
    batches = [(events[:, :4], labels[:4]), (events[:, 4:], labels[4:])]
    found = measure_batches(model, batches, fed=fed)
    assert found.images == 6
    window = torch.ones(1, 2, 3, 3, dtype=torch.float64)
    width = model.config.stages[0].embed_dim // 8
    met = torch.nn.functional.conv2d(events.flatten(0, 1).double(), window, padding=1).sum()
    assert found.operations[0].events == width * met.item()
    assert found.operations[0].operands == (fed,)
    priced = energy.price(found.operations, found.images)
    assert priced.spike_operations >= found.operations[0].events / 6
    real = measure_batches(model, batches, fed=REAL)
    mac, add = energy.MEASURED.costs.pj_per_mac, energy.MEASURED.costs.pj_per_ac
    products = real.operations[0].nonzero
    saved_pj = (mac * products - add * found.operations[0].events) / 6
    assert energy.price(real.operations, 6).energy_mj - priced.energy_mj == pytest.approx(saved_pj * 1e-9)
    assert model.get_submodule("stem.embedding.0.conv.conv").operands == ((REAL,),)


def test_frames_of_whole_numbers_are_not_priced_by_guess() -> None:
    model, _ = calibrated(_frames_config(2))
    batch = _events(3, 2), torch.tensor([0, 1, 2])
    with pytest.raises(CostError, match=r'Say what they are: fed=Operand\("count"\) for events, fed=REAL for pixels'):
        measure_batches(model, [batch])
    with pytest.raises(CostError, match=r"declares binary .* but received other values"):
        measure_batches(model, [(2 * batch[0], batch[1])], fed=BINARY)


def test_batches_that_cannot_be_counted_together_are_refused() -> None:
    model, images = calibrated(_frames_config())
    frames, labels = images[None].expand(FRAMES, -1, -1, -1, -1), torch.tensor([0, 1, 2])
    with pytest.raises(CostError, match="Measure them separately"):
        measure_batches(model, [(images, labels), (frames, labels)])
    with pytest.raises(CostError, match="are 3, but there are 4 labels"):
        measure_batches(model, [(frames, torch.zeros(FRAMES, dtype=torch.int64))])


@pytest.mark.parametrize("kind", ["lif", "ternary", "multispike"])
def test_activity_is_the_spikes_of_each_step(kind: str) -> None:
    """Against the outputs of each neuron, seen by a hook: spikes of either sign at each step, over all images."""
    model, _ = calibrated(small_config(neuron=kind))
    seen: dict[str, list[torch.Tensor]] = {}
    for path, module in model.named_modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(
                lambda m, _inputs, out, p=path: seen.setdefault(p, []).append(out / m.spikes.quantum)
            )
    measurement = _measure(model)
    assert measurement.activity.keys() == measurement.firing_rates.keys() == seen.keys()
    for path, layer in measurement.activity.items():
        spikes_TB = torch.cat(seen[path], dim=1)
        assert layer.spikes == tuple(int(step.abs().sum().round()) for step in spikes_TB)
        assert layer.neurons == spikes_TB[0].numel()
        if kind == "lif":
            assert sum(layer.rates) / len(layer.rates) == pytest.approx(measurement.firing_rates[path])
