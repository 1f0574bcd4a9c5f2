"""Published networks for event cameras: the authors' settings and parameter counts, and what is printed of them."""

import functools
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas.costs import static_model
from spikformer import SpikformerConfig, published
from spikformer.published_events import POINTS
from tests.facts import config_of, points
from tests.helpers import thinned

COUNTS = points("event_param_counts.json")
PARITY = points("event_parity.json")

# Names of the facts that are other ones here.
RENAMED = {
    "spikingresformer_cifar10dvs_ti_star": "spikingresformer_cifar10dvs",
    "spikingresformer_s_transfer_cifar10dvs": "spikingresformer_s_cifar10dvs",
    "sdt3_hardvs_19M": "sdt3_base_hardvs_19M",
    "sdt3_gesture_8M": "sdt3_base_dvs128_2_8M",
}
# Sizes that no published run has, and the network that does not run as released.
WITHOUT_NAME = {"spikformer_2_256_101", "qkformer_256_101", "msqkformer_cifar10dvs_256"}
COUNTED = {RENAMED.get(name, name): point for name, point in COUNTS.items() if name not in WITHOUT_NAME}

# Others, by hand from an exact count of the authors' code.
BY_HAND = {
    "sdt1_dvs128_2_256": 2_566_666 + (256 + 1),  # a class more; neither pools nor eroding have weights
    # The same, and in blocks of width D an MLP of ratio 4 instead of 1: 6 D^2 weights, 3 D biases, batch norm of 6 D.
    "qkformer_dvs128_256": 1_504_138 + (256 + 1) + sum(6 * dim**2 + 9 * dim for dim in (128, 256)),
    "maxformer_dvs128_256": 1_455_626 + (256 + 1),
    "spikingresformer_s_dvs128": 17_306_944 + 512,  # its classifier has no bias
    "sdt2_hardvs_320": 18_146_690 + 290 * (400 + 1),
    # The network for ImageNet without its second classifier, 55,991,248 - 641,000, with 700 classes and one channel
    # fewer, and without two attention blocks of 16 D^2 + 75 D: 8 D^2 + 60 D of projections, 8 D^2 + 15 D of an MLP.
    "sdt2_hardvs_512": 55_350_248 - 700 * (640 + 1) - 49 * 64 - 2 * (16 * 512**2 + 75 * 512),
}

# Time steps, channels, image size, classes, tokens a side in the last stage: section by section of the authors' files.
FRAMES = {
    "spikformer_cifar10dvs_2_256": (16, 2, 128, 10, 8),
    "spikingformer_cifar10dvs_2_256": (16, 2, 128, 10, 8),
    "spikingformer_dvs128_2_256": (16, 2, 128, 11, 8),
    "sdt1_cifar10dvs_2_256": (10, 2, 64, 10, 16),
    "sdt1_dvs128_2_256": (16, 2, 128, 11, 16),
    "qkformer_cifar10dvs_256": (16, 2, 128, 10, 8),
    "qkformer_dvs128_256": (16, 2, 128, 11, 8),
    "maxformer_cifar10dvs_256": (16, 2, 128, 10, 8),
    "maxformer_dvs128_256": (16, 2, 128, 11, 8),
    "spikingresformer_cifar10dvs": (16, 3, 64, 10, 16),
    "spikingresformer_dvs128": (16, 3, 64, 11, 16),
    "spikingresformer_s_cifar10dvs": (10, 3, 128, 10, 8),
    "spikingresformer_s_dvs128": (10, 3, 128, 11, 8),
    "sdt2_cifar10dvs_320": (8, 2, 64, 10, 4),
    "sdt2_hardvs_320": (8, 2, 224, 300, 14),
    "sdt2_hardvs_384": (8, 2, 224, 300, 14),
    "sdt2_hardvs_512": (8, 2, 224, 300, 14),
    "sdt3_base_hardvs_19M": (8, 2, 224, 300, 14),
    "sdt3_base_dvs128_2_8M": (8, 2, 128, 11, 8),
}

# Of each network whose logits and spikes are known in miniature.
MINIATURES = {
    "ev_spikformer_dvs128px": "spikformer_cifar10dvs_2_256",
    "ev_spikingformer_cifar10dvs128px": "spikingformer_cifar10dvs_2_256",
    "ev_sdt1_cifar10dvs_erode": "sdt1_cifar10dvs_2_256",
    "ev_sdt1_gesture": "sdt1_dvs128_2_256",
    "ev_qkformer_cifar10dvs_b1": "qkformer_cifar10dvs_256",
    "ev_maxformer_cifar10dvs": "maxformer_cifar10dvs_256",
    "ev_spikingresformer_cifar10dvs": "spikingresformer_cifar10dvs",
    "ev_sdt2_hardvs": "sdt2_hardvs_384",
    "ev_sdt3_gesture_d8": "sdt3_base_dvs128_2_8M",
}

# Accuracy, whether it was read in the authors' own text, and what their log has: best, last, mean of the last ten.
PRINTED = {
    "spikformer_cifar10dvs_2_256": (80.9, False, ()),
    "spikingformer_cifar10dvs_2_256": (81.3, True, ("81.3", "80.7", "80.18")),
    "spikingformer_dvs128_2_256": (98.3, True, ()),
    "sdt1_cifar10dvs_2_256": (80.0, False, ()),
    "sdt1_dvs128_2_256": (99.3, False, ()),
    "qkformer_cifar10dvs_256": (84.0, False, ("84.1", "83.3", "83.24")),
    "qkformer_dvs128_256": (98.6, False, ()),
    "maxformer_cifar10dvs_256": (84.2, True, ("84.2", "82.3", "82.54")),
    "maxformer_dvs128_256": (98.6, True, ("98.61", "96.53", "96.6")),
    "spikingresformer_s_cifar10dvs": (84.8, False, ()),
}


def test_every_network_is_counted() -> None:
    assert sorted(POINTS) == sorted({*COUNTED, *BY_HAND}) == sorted(FRAMES)


@functools.cache
def parameters(name: str) -> int:
    return sum(p.numel() for p in static_model(published.config(name)).parameters())


@pytest.mark.parametrize("name", sorted(COUNTED))
def test_settings_and_parameters_equal_the_authors_code(name: str) -> None:
    """`live` parameters: those that the authors' code builds and uses."""
    assert published.config(name).canonical() == config_of(COUNTED[name]["config"]).canonical()
    assert parameters(name) == COUNTED[name]["live"]


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_parameters_of_networks_without_a_count_of_their_own(name: str) -> None:
    assert parameters(name) == BY_HAND[name]


@pytest.mark.parametrize("name", thinned(sorted(FRAMES), 2))
def test_frames_become_logits(name: str) -> None:
    """Shapes alone, of one time step, which takes a tenth of the time."""
    config, shapes = published.config(name), []
    time_steps, channels, image_size, classes, grid = FRAMES[name]
    assert config.time_steps == time_steps
    assert (config.stem.in_channels, config.stem.image_size) == (channels, image_size)
    model = static_model(replace(config, time_steps=1))
    model.register_forward_hook(lambda _model, _frames, logits: shapes.append(logits.shape))
    with torch.no_grad():
        model(torch.empty(1, 2, channels, image_size, image_size, device="meta"))
    assert shapes == [(2, classes)]
    assert config.grids[-1] == grid


@pytest.mark.parametrize("name", sorted(PARITY))
def test_miniatures_with_the_authors_logits_are_the_same_networks(name: str) -> None:
    """In the sizes of the miniature, a published config is the one whose logits test_event_networks.py checks."""
    miniature = config_of(PARITY[name]["config"])
    assert _in_sizes_of(miniature, published.config(MINIATURES[name])).canonical() == miniature.canonical()


def _in_sizes_of(other: SpikformerConfig, config: SpikformerConfig) -> SpikformerConfig:
    """Image, time steps, classes, widths, depths and heads of another config; all else stays."""
    stages = tuple(
        replace(
            stage,
            embed_dim=small.embed_dim,
            depth=small.depth,
            mixer=replace(stage.mixer, num_heads=small.mixer.num_heads),
            mlp=replace(stage.mlp, group_width=small.mlp.group_width),
        )
        for stage, small in zip(config.stages, other.stages, strict=True)
    )
    stem = replace(config.stem, image_size=other.stem.image_size)
    head = replace(config.head, num_classes=other.head.num_classes)
    return replace(config, time_steps=other.time_steps, stem=stem, stages=stages, head=head)


@pytest.mark.parametrize("name", sorted(POINTS))
def test_printed_accuracies_say_how_they_came_about(name: str) -> None:
    """Accuracies from papers, READMEs and logs; what is only recalled is not verified."""
    figures = published.figures(name)
    accuracy, verified, log = PRINTED.get(name, (None, False, ()))
    assert (figures.accuracy, figures.verified) == (accuracy, verified)
    assert accuracy is None or "on the test set" in figures.protocol
    assert ("log of" in figures.protocol) == bool(log)
    assert all(f"{percent} %" in figures.protocol for percent in log)
    assert figures.in_words().endswith(figures.protocol or "none known.")


def test_the_page_of_networks_lists_them_all_with_what_is_printed() -> None:
    """Its first table has the parameters, its second the accuracies."""
    page = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|(?: [\w, ]+ \|)? ([\d,.]+\*?[^|]*) \|", page, re.MULTILINE)
    listed: dict[str, list[str]] = {}
    for names, numbers in rows:
        for name, number in zip(re.findall(r"\w+", names), numbers.split("; "), strict=False):
            listed.setdefault(name, []).append(number.removesuffix(" *"))
    assert {name: numbers[0] for name, numbers in listed.items()} == {name: f"{parameters(name):,}" for name in POINTS}
    printed = {name: numbers[1] for name, numbers in listed.items() if len(numbers) > 1}
    assert printed == {name: f"{accuracy:.1f} %" for name, (accuracy, _, _) in PRINTED.items()}
