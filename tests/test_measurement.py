"""A pass over images: what it refuses to call an energy, and how sure it is of one."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from nas import energy
from nas.augmentation import Normalise
from nas.data import Split
from nas.measurement import Measurement, measure
from nas.training import accuracy
from spikformer import Spikformer
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
    nn.init.zeros_(model.get_submodule("stem.embedding.0.conv.norm").weight)  # type: ignore[arg-type]
    assert "residual stream" in str(_measure(model).silent)


def test_a_head_that_sees_the_same_for_everything_is_silent() -> None:
    model, _ = calibrated(small_config(placement="head"))
    assert model.head.neuron is not None
    model.head.neuron.threshold = 1e9
    measurement = _measure(model)
    assert "head sees the same" in str(measurement.silent)
    assert measurement.firing_rates["head.neuron"] == 0


def test_the_standard_error_is_that_of_images_counted_one_by_one() -> None:
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
    settings: tuple[Any, ...] = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
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
