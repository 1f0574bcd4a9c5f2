"""Signals of untrained networks, against computations written out here."""

import math
import random

import pytest
import torch
import torch.nn.functional as F

from nas.costs import multiplications, static_operations
from nas.datasets import Splits
from nas.tables import codes
from nas.tables.contents import SIGNALS
from nas.tables.signals import Probe, batch_of
from spikformer import Spikformer, SpikformerConfig
from spikformer.neurons import Neuron
from tests.tables.conftest import Tiny

PATTERNS = torch.tensor([[1, 0, 0, 1, 0, 1], [0, 0, 0, 1, 0, 0], [1, 1, 0, 1, 1, 0]]).double()


def test_the_hamming_kernel_by_brute_force() -> None:
    """Mellor et al.: N minus the number of places in which two codes differ."""
    rows = PATTERNS.int().tolist()
    expected = [[sum(a == b for a, b in zip(one, other, strict=True)) for other in rows] for one in rows]
    assert codes.hamming_kernel(PATTERNS).tolist() == expected
    # det [[6, 4, 3], [4, 6, 3], [3, 3, 6]] = 6 (36 - 9) - 4 (24 - 9) + 3 (12 - 18) = 84, by hand
    assert expected == [[6, 4, 3], [4, 6, 3], [3, 3, 6]]
    assert codes.log_determinant(codes.hamming_kernel(PATTERNS)) == pytest.approx(math.log(84))


def test_the_sparsity_aware_kernel_by_brute_force() -> None:
    """Kim et al.: the distance is scaled so that independent codes of rates r and s come to N / 2."""
    rows = PATTERNS.int().tolist()
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            r, s = sum(one) / 6, sum(other) / 6
            distance = sum(a != b for a, b in zip(one, other, strict=True))
            expected = 6 - 0.5 / (r * (1 - s) + (1 - r) * s + 1e-3) * distance
            assert float(codes.sparsity_aware_kernel(PATTERNS)[i, j]) == pytest.approx(expected)


def test_independent_codes_come_to_half_of_all_neurons() -> None:
    generator = torch.Generator().manual_seed(0)
    sparse = (torch.rand(2, 20_000, generator=generator) < torch.tensor([[0.05], [0.3]])).double()
    assert float(codes.sparsity_aware_kernel(sparse)[0, 1]) / 20_000 == pytest.approx(0.5, abs=0.02)


def test_equal_codes_have_no_volume() -> None:
    assert codes.log_determinant(codes.hamming_kernel(PATTERNS[[0, 0, 1]])) == -math.inf


@pytest.fixture(scope="module")
def probe(tiny: Tiny, splits: Splits) -> Probe:
    return Probe(splits, tiny.table.space.recipe, torch.device("cpu"))


@pytest.fixture(scope="module")
def measured(tiny: Tiny, probe: Probe) -> dict[str, float]:
    return probe.signals(tiny.first)


def test_signals_against_a_plain_computation(tiny: Tiny, splits: Splits, measured: dict[str, float]) -> None:
    """Mean and deviation of the pixels, loss, gradient and spikes are all computed anew."""
    images, labels = splits.train.images.double(), splits.train.labels
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:64].sort().values
    x = ((images[order] - images.mean()) / images.std(unbiased=False)).float()
    torch.manual_seed(0)
    model = Spikformer(tiny.first).train()
    outputs: list[torch.Tensor] = []
    for neuron in (module for module in model.modules() if isinstance(module, Neuron)):
        neuron.register_forward_hook(lambda _module, _inputs, out: outputs.append(out.detach()))
    log_probabilities = torch.log_softmax(model(x), dim=1)
    smoothing = tiny.table.space.recipe.label_smoothing
    target = F.one_hot(labels[order], 10) * (1 - smoothing) + smoothing / 10
    (-(target * log_probabilities).sum(1).mean()).backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).double()
    spikes = sum(int(out.sum()) for out in outputs)
    assert measured["gradient_l1"] == pytest.approx(float(gradient.abs().sum()), rel=1e-3)
    assert measured["gradient_l2"] == pytest.approx(float(gradient.norm()), rel=1e-3)
    assert measured["parameters"] == sum(p.numel() for p in model.parameters())
    assert measured["macs"] == multiplications(static_operations(tiny.first))
    assert measured["spikes"] == pytest.approx(spikes / len(order), rel=1e-3)
    assert measured["firing_rate"] == pytest.approx(spikes / sum(out.numel() for out in outputs), rel=1e-3)
    whole = torch.cat([out.transpose(0, 1).flatten(1) for out in outputs], dim=1)  # a row an image
    same = (whole[:, None] == whole[None]).sum(-1).double()
    assert measured["naswot"] == pytest.approx(float(torch.linalg.slogdet(same)[1]), rel=1e-3)


def test_signals_follow_from_the_seed_and_leave_the_random_state(
    tiny: Tiny, probe: Probe, measured: dict[str, float]
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert probe.signals(tiny.first) == measured
    assert torch.equal(torch.get_rng_state(), before)
    assert probe.signals(tiny.first, seed=1) != measured
    assert tiny.table.signals(tiny.first) == measured
    assert tuple(measured) == SIGNALS


def test_the_batch_is_the_same_for_every_network(splits: Splits) -> None:
    assert torch.equal(batch_of(splits.train, 8).images, batch_of(splits.train, 8).images)
    assert len(batch_of(splits.train, 10**6)) == len(splits.train)


def test_every_network_of_a_space_has_finite_signals(tiny: Tiny, probe: Probe) -> None:
    config: SpikformerConfig = tiny.space.random(random.Random(3))
    values = probe.signals(config)
    assert all(math.isfinite(value) for value in values.values())
