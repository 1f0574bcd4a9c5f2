"""Published networks: the authors' settings, parameter counts, logits and spikes; the figures they print; training."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.costs import contract, static_model
from nas.costs.counter import OperationCounter
from spikformer import ConfigError, Spikformer, SpikformerConfig, published, published_figures, published_networks
from spikformer.config import HeadConfig
from spikformer.layers import ConvBN
from spikformer.neurons import Neuron
from spikformer.stems import ImageEncoding
from tests.facts import config_of, fill, points
from tests.helpers import thinned

COUNTS = points("param_counts.json")
PARITY = points("parity.json")
IMAGE_NETWORKS = sorted(published_networks.POINTS)  # those for events: test_published_events.py

# Parameters of the other networks in millions, rounded as far as known.
OTHERS = {
    "spikformer_in_8_384": "16.816",
    "spikformer_in_10_512": "36.005",
    "spikingformer_in_8_768": "66.339",
    "sdt1_in_6_512": "23.373",
    "sdt1_in_8_768": "66.339",
    "sdt1_cifar100_2_512": "10.28",  # as its paper prints it
    "sdt2_in_8_512": "55.350",
    "sdt3_base_l": "18.988",
    "sdt3_large_spikformer12_768": "170.97",
    "qkformer_in_10_768": "64.962760",  # the authors' ImageNet log: n_parameters 64962760
    "msqkformer_in_10_768": "64.962760",  # moving neurons moves no parameter
    "maxformer_in_10_512": "28.653",
    "spikingresformer_l": "60.376",
}

# Networks of which another with its counts is known: what a wider or a second classifier adds.
GROWN = {
    "spikformer_cifar100_2_384": ("spikformer_cifar10_2_384", 90 * (384 + 1)),
    "spikingformer_cifar100_4_256": ("spikingformer_cifar10_4_256", 90 * (256 + 1)),
    "qkformer_cifar100_4_384": ("qkformer_cifar10_4_384", 90 * (384 + 1)),
    "spikingresformer_cifar100": ("spikingresformer_cifar10", 90 * 384),
    "sdt2_in_15M_kd": ("sdt2_in_15M", 1000 * (360 + 1)),
}

# As released, the large network of V3 has 170.97 M parameters, 171.74 M with its second classifier: not the 173 M
# that its paper prints.
FURTHER_OFF = {"sdt3_large_spikformer12_768": 2.1}


def parameters(name: str, *, batch_norm: bool = True) -> int:
    with torch.device("meta"):
        model = Spikformer(published.config(name))
    norms = sum(p.numel() for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    return sum(p.numel() for p in model.parameters()) - (0 if batch_norm else norms)


def test_names_are_all_there_and_sorted() -> None:
    assert published.names() == sorted(published.names())
    assert sorted({*COUNTS, *OTHERS, *GROWN}) == IMAGE_NETWORKS
    assert len(IMAGE_NETWORKS) == 67
    assert set(IMAGE_NETWORKS) < set(published.names())


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_settings_and_parameters_equal_the_authors_code(name: str) -> None:
    """`live` parameters: those that the authors' code builds and uses."""
    assert published.config(name).canonical() == config_of(COUNTS[name]["config"]).canonical()
    assert parameters(name) == COUNTS[name]["live"]


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_parameters_of_networks_without_an_exact_count(name: str) -> None:
    """Counts of the authors' code built at these sizes, in millions, where not said otherwise in `OTHERS`."""
    decimals = len(OTHERS[name].partition(".")[2])
    assert f"{parameters(name) / 1e6:.{decimals}f}" == OTHERS[name]


@pytest.mark.parametrize("name", sorted(GROWN))
def test_more_classifiers_add_their_weights(name: str) -> None:
    smaller, added = GROWN[name]
    assert parameters(name) == COUNTS[smaller]["live"] + added


@pytest.mark.parametrize("name", sorted(PARITY))
def test_logits_and_spikes_equal_the_authors_code(name: str, device: torch.device) -> None:
    """Logits and total spikes of the official implementations, weights recreated by the file's rule."""
    point = PARITY[name]
    model = Spikformer(config_of(point["config"])).double().eval()
    images = torch.from_numpy(np.random.RandomState(7).standard_normal(point["shape"]))
    fill(model, images, point["boost"])
    model, images = model.to(device), images.to(device)
    spikes: list[float] = []
    for module in model.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _m, _i, out: spikes.append(out.sum().item()))
    with torch.no_grad():
        logits = model(images)
    torch.testing.assert_close(logits.cpu(), torch.tensor(point["logits"], dtype=torch.float64), atol=1e-9, rtol=0)
    assert len(spikes) == point["neurons"]
    assert sum(spikes) == point["spikes"]
    assert sum(p.numel() for p in model.parameters()) == point["live"]


@pytest.mark.parametrize("name", [n for n in published.names() if published.figures(n).parameters_m is not None])
def test_printed_parameters_are_those_of_the_network(name: str) -> None:
    printed = published.figures(name).parameters_m
    # SpikingResformer's table counts its three smaller networks without batch norm, the largest with it.
    with_norm = name not in ("spikingresformer_ti", "spikingresformer_s", "spikingresformer_m")
    # Some authors cut the digits after the last off, some round; V2 and V3 round to one decimal.
    tolerance = FURTHER_OFF.get(name, 0.051 if name.startswith(("sdt2", "sdt3")) else 0.01)
    assert parameters(name, batch_norm=with_norm) / 1e6 == pytest.approx(printed, abs=tolerance)


@pytest.mark.parametrize("name", published.names())
def test_figures_name_paper_and_source(name: str) -> None:
    figures = published.figures(name)
    printed = (figures.parameters_m, figures.operations_g, figures.energy_mj, figures.accuracy)
    assert figures.paper.endswith(tuple(str(year) for year in range(2023, 2026)))
    assert (figures.source == "no figure known") == all(value is None for value in printed)
    # A figure from memory or another paper's table never counts as verified.
    assert not (figures.verified and ("memory" in figures.source or "secondary" in figures.source))
    assert figures.accuracy is None or 70 < figures.accuracy < 100
    assert figures.image_size != published.config(name).stem.image_size


def test_every_printed_figure_belongs_to_a_network() -> None:
    assert published_figures.ON_IMAGES.keys() <= set(IMAGE_NETWORKS)
    assert published_figures.AT_SIZE.keys() <= published_figures.ON_IMAGES.keys()
    assert published_figures.ON_EVENTS.keys() <= set(published.names()) - set(IMAGE_NETWORKS)


def test_figures_in_words_say_at_which_image_size() -> None:
    """The README of Spike-driven Transformer prints 77.07 % at 288 x 288 pixels."""
    words = published.figures("sdt1_in_8_768").in_words()
    assert "Printed accuracy: 77.07 % at 288 x 288 pixels (official README or log). The training images" in words
    assert published.figures("sdt3_base_t").in_words().endswith("Printed accuracy: none known.")


@pytest.mark.parametrize("family", ["qkformer", "spikformer", "spikingresformer"])
def test_figures_of_a_reader_s_first_look(family: str) -> None:
    """One row of each table: README of QKFormer; tables of later papers for the other two."""
    rows = {
        "qkformer": ("qkformer_in_10_768", 64.96, 84.22, True),
        "spikformer": ("spikformer_in_8_512", 29.68, 73.38, False),
        "spikingresformer": ("spikingresformer_l", 60.38, 78.77, False),
    }
    name, millions, accuracy, verified = rows[family]
    figures = published.figures(name)
    assert (figures.parameters_m, figures.accuracy, figures.verified) == (millions, accuracy, verified)


@pytest.mark.parametrize("ask", [published.config, published.figures])
def test_unknown_name_gives_the_nearest(ask: object) -> None:
    assert callable(ask)
    with pytest.raises(ConfigError, match='Did you mean "spikformer_cifar10_4_384"'):
        ask("spikformer_cifar10_4_38")


@functools.cache
def smallest() -> set[str]:
    """Of each family for CIFAR and for ImageNet; the others take seconds each."""

    def kind(name: str) -> tuple[str, bool]:
        return name.split("_")[0], "cifar" in name

    return set({kind(name): name for name in sorted(IMAGE_NETWORKS, key=_width, reverse=True)}.values())


def forward_cases() -> list[object]:
    return [n if n in smallest() else pytest.param(n, marks=pytest.mark.exhaustive) for n in IMAGE_NETWORKS]


def _width(name: str) -> int:
    return published.config(name).stages[-1].embed_dim


@pytest.mark.exhaustive  # counts of parameters hold in CI for all of them, and shapes for the smallest below
@pytest.mark.parametrize("name", sorted(set(IMAGE_NETWORKS) - smallest()))
def test_the_shapes_of_larger_networks_fit(name: str) -> None:
    """At the size of their images, without values."""
    config, seen = published.config(name), []
    model = static_model(config)
    model.register_forward_hook(lambda _model, _images, logits: seen.append(logits.shape))
    image = torch.empty(1, 3, config.stem.image_size, config.stem.image_size, device="meta")
    with torch.no_grad():
        model(image)
    assert seen == [(1, config.head.num_classes)]


@pytest.mark.parametrize("name", forward_cases())
def test_every_network_classifies_an_image(name: str) -> None:
    config = published.config(name)
    torch.manual_seed(0)
    model = Spikformer(config).eval()
    with torch.no_grad():
        logits = model(torch.randn(1, 3, config.stem.image_size, config.stem.image_size))
    assert logits.shape == (1, config.head.num_classes)
    assert logits.isfinite().all()


def tiny(name: str) -> SpikformerConfig:
    """The network of a parity point, or the large one of V3 in miniature, the only with layer scales."""
    if name in PARITY:
        return config_of(PARITY[name]["config"])
    large = published.config("sdt3_large_spikformer12_768")
    stages = [replace(s, embed_dim=8 * 2**i, depth=min(s.depth, 2)) for i, s in enumerate(large.stages)]
    return replace(large, stem=replace(large.stem, image_size=64), stages=tuple(stages))


def in_training(name: str) -> tuple[Spikformer, Tensor]:
    """A network in train mode that fires, and four images."""
    torch.manual_seed(0)
    config = tiny(name)
    model = Spikformer(config).eval()
    images = torch.randn(4, 3, config.stem.image_size, config.stem.image_size)
    fill(model, images, PARITY.get(name, {"boost": 0.9})["boost"])
    return model.train(), images


@pytest.mark.parametrize("name", thinned([*sorted(PARITY), "sdt3_large"], 2))
def test_every_weight_learns(name: str) -> None:
    """Finite gradients everywhere; none of a matrix, a kernel or a layer scale vanishes.

    A bias before a batch norm has none, by construction.
    """
    model, images = in_training(name)
    F.cross_entropy(model(images), torch.arange(4)).backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.isfinite().all(), path
        if parameter.dim() >= 2 or path.endswith("layer_scale"):
            assert parameter.grad.abs().sum() > 0, path
    scales = [path for path, _ in model.named_parameters() if path.endswith("layer_scale")]
    assert len(scales) == (4 if name == "sdt3_large" else 0)


@pytest.mark.parametrize("name", thinned([*sorted(PARITY), "sdt3_large"], 2))
def test_batch_norm_takes_its_statistics_over_time_and_batch_together(name: str) -> None:
    """One mean and variance over all T x B x H x W, as in the authors' code: not one a time step."""
    model, images = in_training(name)
    made: dict[str, tuple[Tensor, Tensor]] = {}  # by layer: what its convolution and what it itself returns
    layers = {path: m for path, m in model.named_modules() if isinstance(m, ConvBN)}
    for path, layer in layers.items():
        layer.norm.momentum = None  # the running mean is then that of the one batch
        layer.conv.register_forward_hook(lambda _m, _i, out, path=path: made.update({path: (out.detach(), out)}))
        layer.register_forward_hook(lambda _m, _i, out, path=path: made.update({path: (made[path][0], out.detach())}))
    model(images)
    time_steps = model.config.time_steps
    steps_differ = False
    for path, layer in layers.items():
        x_nCHW, y_TBCHW = made[path]
        # A static image gives the first convolution the same at every step: it is convolved once.
        steps = 1 if isinstance(layer, ImageEncoding) else time_steps
        assert len(x_nCHW) == steps * len(images), path
        mean_C, var_C = x_nCHW.mean((0, 2, 3)), x_nCHW.var((0, 2, 3), unbiased=False)
        torch.testing.assert_close(layer.norm.running_mean, mean_C, atol=1e-5, rtol=1e-4)
        expected_nCHW = F.batch_norm(x_nCHW, mean_C, var_C, layer.norm.weight, layer.norm.bias, eps=layer.norm.eps)
        expected_nCHW = F.max_pool2d(expected_nCHW, 3, stride=2, padding=1) if layer.pools else expected_nCHW
        torch.testing.assert_close(y_TBCHW[:steps].flatten(0, 1), expected_nCHW, atol=1e-4, rtol=1e-4)
        mean_TC = x_nCHW.unflatten(0, (steps, -1)).mean((1, 3, 4))
        steps_differ |= bool((mean_TC - mean_TC[0]).abs().max() > 0.05)
    assert steps_differ == (time_steps > 1)  # else the test could not tell


@pytest.mark.parametrize("family", ["msqkformer", "maxformer"])
def test_one_neuron_before_both_paths_of_the_stem_fires_for_both(family: str) -> None:
    """The same logits; one firing layer fewer; fewer updates by exactly those of the second neuron."""
    config = published.config(f"{family}_in_10_384")
    stage = config.stages[0]
    small = replace(stage, embed_dim=16, depth=1, mixer=replace(stage.mixer, num_heads=1))
    stem = replace(config.stem, image_size=32)
    config = replace(config, stem=stem, stages=(small,), head=HeadConfig(5))
    assert config.stem.shared_neuron
    shared, images = contract.calibrated(config)
    apart = Spikformer(replace(config, stem=replace(stem, shared_neuron=False))).double().eval()
    apart.load_state_dict(shared.state_dict())
    found = []
    for model in (shared, apart):
        with torch.no_grad(), OperationCounter(model) as counter:
            logits = model(images)
        found.append((logits, counter.operations(), counter.overheads.neuron_updates, len(counter.firing_rates())))
    (logits, operations, updates, layers), (expected, others, more_updates, more_layers) = found
    assert torch.allclose(logits, expected, atol=1e-9)
    assert more_layers - layers == 1
    assert [op.events for op in operations] == [op.events for op in others]
    # 3 images x 4 time steps x D/2 = 8 channels of the encoding, halved to 16 x 16.
    assert more_updates - updates == 3 * 4 * 8 * 16 * 16
