"""The model of STEP, held to SpikingJelly's simple energy model."""

from typing import Any

import pytest

from nas.costs import memory
from nas.costs.accesses import NEURONS, Counts
from nas.costs.operations import Overheads
from spikformer.operands import BINARY, Operand
from tests.costs import oracles
from tests.costs.test_chip import CONFIG, PRODUCT, operation

BYTE_MJ = 24.96e-9


@pytest.mark.parametrize("case", oracles.cases("step"), ids=lambda case: str(case["name"]))
def test_each_term_is_that_of_spikingjelly(case: dict[str, Any]) -> None:
    """SpikingJelly 2.0.0, which computes an image anew at every step."""
    total, bytes_of = memory.load("step").price(oracles.counts_of(case, repeats=False)).total, case["bytes"]
    states = bytes_of["neuron_state_read_bytes"] + bytes_of["neuron_state_write_bytes"]
    for found, size in (
        (total.weights, bytes_of["weight_read_bytes"]),
        (total.biases, bytes_of["bias_read_bytes"]),
        (total.potentials, states),
        (total.total, bytes_of["memory_access_bytes"]),
    ):
        assert found == pytest.approx(size * BYTE_MJ / case["images"], rel=1e-6)
    assert total.inputs == total.outputs == total.addressing == 0
    assert total.total == pytest.approx(case["memory_pj"] * 1e-9 / case["images"], rel=1e-6)


def test_numbers_of_spikes_use_all_weights() -> None:
    """10 numbers, 3 outputs: 30 uses where spikes are summed, 12 events where they are not."""
    for operand, uses in ((BINARY, 12), (Operand("count"), 30)):
        shapes: dict[str, list[int]] = {"input": [10], "output": [3]}
        op = operation("weight", (operand,), shapes, dense=30, values=10, spikes=4, nonzero=12, events=12)
        found = memory.load("step").price(Counts(CONFIG, (op, PRODUCT), Overheads(), 1, {}))
        assert found.energy_mj == pytest.approx(uses * 4 * BYTE_MJ, rel=1e-9)


def test_updates_without_layers_have_a_row_of_their_own() -> None:
    counts = Counts(CONFIG, (PRODUCT,), Overheads(neuron_updates=7), 1, {})
    layers = memory.load("step").price(counts).layers
    assert layers[NEURONS].potentials == pytest.approx(2 * 7 * 4 * BYTE_MJ, rel=1e-9)


def test_the_counterpart_uses_each_weight_once_and_remembers_nothing() -> None:
    case = oracles.cases("step")[1]
    found = memory.load("step").price_counterpart(oracles.counts_of(case), 2).total
    assert found.weights == pytest.approx((20 * 16 + 16 * 5) * 4 * BYTE_MJ, rel=1e-9)
    assert found.biases == pytest.approx(16 * 4 * BYTE_MJ, rel=1e-9)
    assert found.potentials == 0
