"""The model of Lemaire et al., held to its authors' code term by term, and by hand where that says nothing."""

from typing import Any

import pytest

from nas.costs import memory
from nas.costs.accesses import Accesses, Counts
from nas.costs.operations import Overheads
from spikformer.operands import BINARY
from tests.costs import oracles
from tests.costs.test_chip import CONFIG, PRODUCT, operation

CASES = oracles.cases("lemaire")
NAMES = ["lemaire2022", "lemaire_64bit"]
REAL_INPUTS = 0.005
"""Relative error where a convolution is fed real numbers: a record holds how many pairs are not zero, not how many
numbers. In the first layer of the case there are 203, and 202.7 follow from the pairs."""


def _close(found: Accesses, term: dict[str, float], tolerance: float) -> None:
    """Terms of an image in millijoules, against picojoules."""
    expected = {
        "weights": term["mem_weights"],
        "biases": term["mem_bias"],
        "potentials": term["mem_pot"],
        "addressing": term["addr"],
    }
    got = found.terms | {"io": found.inputs + found.outputs}
    for name, value in {**expected, "io": term["mem_io"]}.items():
        assert got[name] == pytest.approx(value * 1e-9, rel=tolerance, abs=1e-18), name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_each_term_is_that_of_the_authors_code(case: dict[str, Any], name: str) -> None:
    """qualia-plugin-snn 2.6.0; there the writes of a layer's spikes stand with the layer."""
    layers = memory.load(name).price(oracles.counts_of(case)).layers
    for i, (term, layer) in enumerate(zip(case[name], case["layers"], strict=True)):
        is_real_convolution = "kernel" in layer and not layer["binary"]
        _close(layers[f"layer{i}"] + layers[f"neuron{i}"], term, REAL_INPUTS if is_real_convolution else 1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_the_network_without_time_is_that_of_the_authors_code(case: dict[str, Any], name: str) -> None:
    """With activations of 32 bits, as there; the counterpart has fewer."""
    layers = memory.load(name).price_counterpart(oracles.counts_of(case), 32).layers
    for i, term in enumerate(case[f"{name} dense"]):
        _close(layers[f"layer{i}"], term, 1e-6)


def test_narrow_activations_share_an_access() -> None:
    """21 numbers of 3 bits in 64: 20 inputs are read, 320 weights, and 16 outputs written."""
    counts = oracles.counts_of(CASES[1])
    found = memory.load("lemaire_64bit").price_counterpart(counts, 3).layers["layer0"]
    assert found.inputs == pytest.approx(20 * 10 / 21 * 1e-9, rel=1e-9)
    assert found.outputs == pytest.approx(16 * 10 / 21 * 1e-9, rel=1e-9)
    assert found.weights == pytest.approx(320 * 5 * 1e-9, rel=1e-9)


def test_a_group_meets_its_own_outputs() -> None:
    """A depthwise convolution of 8 channels: 9 weights a spike, 72 in all; the authors' code would read 8 times 9."""
    op = operation(
        "weight",
        (BINARY,),
        {"input": [8, 4, 4], "output": [8, 4, 4], "kernel": [3, 3]},
        dense=2 * 4 * 128 * 9,
        values=2 * 4 * 128,
        spikes=50,
    )
    found = memory.load("lemaire_64bit").price(Counts(CONFIG, (op,), Overheads(), 2, {})).total
    assert found.weights == pytest.approx(50 * 9 * 5 / 2 * 1e-9, rel=1e-9)
    assert found.potentials == pytest.approx(2 * (50 * 9 + 2 * 4 * 128) * 5 / 2 * 1e-9, rel=1e-9)


def test_products_are_left_out() -> None:
    counts = Counts(CONFIG, (PRODUCT,), Overheads(), 2, {})
    for model in map(memory.load, NAMES):
        assert model.price(counts).energy_mj == model.price_counterpart(counts, 2).energy_mj == 0
