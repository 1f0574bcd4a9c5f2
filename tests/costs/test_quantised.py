"""A network against its quantised counterpart: by hand, by the closed form, and on a counted network."""

import dataclasses
import math

import pytest
import torch

from nas.costs import counterpart, energy, memory, quantised
from nas.costs.accesses import Counts, Fired
from nas.costs.counter import OperationCounter
from nas.costs.energy import MEASURED
from nas.costs.layers_fired import fired
from nas.costs.operations import Operation, Overheads
from spikformer.errors import ConfigError
from spikformer.operands import BINARY
from tests.costs.test_chip import FIRST, operation
from tests.helpers import calibrated, small_config


def layer(spikes: int, time_steps: int) -> Operation:
    """100 inputs and 50 outputs, one image."""
    numbers = {"dense": 5000 * time_steps, "valid": 5000 * time_steps, "values": 100 * time_steps}
    met = {"spikes": spikes, "nonzero": 50 * spikes, "events": 50 * spikes}
    return operation("weight", (BINARY,), {"input": [100], "output": [50]}, **numbers, **met)


def counts(*operations: Operation, time_steps: int = 4, updates: int = 0) -> Counts:
    """Counts of one image."""
    config = small_config(time_steps=time_steps)
    return Counts(config, operations, Overheads(neuron_updates=updates), 1, {"neuron": Fired(updates, 3)})


@pytest.mark.parametrize(("time_steps", "width"), [(1, 1), (3, 2), (4, 3), (7, 3), (15, 4)])
def test_the_closed_form_of_arithmetic(time_steps: int, width: int) -> None:
    """An accumulate costs 0.9 pJ, a multiplication 4.6 pJ: the rate is 4.6 / 0.9 / T. Yan et al.: T s <= k."""
    found = quantised.compare(counts(layer(20 * time_steps, time_steps), time_steps=time_steps))
    assert found.bits == width
    assert found.rate == pytest.approx(0.2)
    assert found.energy_mj == pytest.approx(0.9 * 50 * 20 * time_steps * 1e-9)
    assert found.counterpart_mj == pytest.approx(4.6 * 5000 * 1e-9)
    assert found.fixed_mj == 0
    assert found.break_even == pytest.approx(4.6 / 0.9 / time_steps)
    assert found.pays is (4.6 / 0.9 / time_steps > 0.2)


def test_dense_movement_is_t_over_the_bits() -> None:
    """Where every number moves, as bits that T steps carry: 1, 1.5, 2.333 and 3.75 at T of 1, 3, 7 and 15.

    (Yan et al., whose printed 0.996, 1.500, 2.338 and 3.762 hold other terms, too).
    """
    ratios = [t / counterpart.bits(t) for t in (1, 3, 7, 15)]
    assert ratios == pytest.approx([1, 1.5, 7 / 3, 3.75])


def test_what_is_real_is_equal_in_both() -> None:
    """The first convolution runs once for a static image: 80,000 multiplications here and there."""
    first = dataclasses.replace(FIRST, valid=FIRST.dense, path="first")
    images_of_two = dataclasses.replace(counts(first, layer(8, 2 * 4)), images=2)
    found = quantised.compare(images_of_two)
    assert found.fixed_mj == pytest.approx(4.6 * 80_000 / 2 * 1e-9)
    assert found.counterpart_mj - found.fixed_mj == pytest.approx(4.6 * 5000 * 1e-9)


@pytest.mark.parametrize("name", memory.names())
def test_at_the_break_even_rate_both_cost_the_same(name: str) -> None:
    """With memory too: a network with so many spikes costs what its counterpart does."""
    model = memory.load(name)
    found = quantised.compare(counts(layer(40, 4), updates=200), MEASURED, model)
    assert found.by == f"measured and memory {name}"
    assert 0 < found.break_even < math.inf
    factor = 1000 * found.break_even / found.rate
    scaled = counts(layer(round(40 * factor), 4), updates=200 * 1000)  # a thousand images: no spike is cut
    scaled = dataclasses.replace(
        scaled,
        images=1000,
        operations=tuple(
            dataclasses.replace(op, dense=op.dense * 1000, valid=op.valid * 1000, values=op.values * 1000)
            for op in scaled.operations
        ),
        fired={"neuron": Fired(200_000, round(3 * factor))},
    )
    again = quantised.compare(scaled, MEASURED, model)
    assert again.energy_mj == pytest.approx(again.counterpart_mj, rel=2e-3)
    assert again.counterpart_mj == pytest.approx(found.counterpart_mj)


def test_a_network_that_pays_at_no_or_at_any_rate_says_so() -> None:
    dear = quantised.BreakEven("x", 2, 0.5, 3.0, 2.0, 1.0)
    assert (dear.break_even, dear.pays) == (0.0, False)
    assert dear.line().endswith("This network pays at no firing rate.")
    silent = quantised.BreakEven("x", 1, 0.0, 1.0, 1.0, 2.0)
    assert (silent.break_even, silent.pays) == (math.inf, True)
    assert silent.line() == (
        "Against its counterpart of 1 bit, by x: 0.50 times its energy. This network pays at any firing rate."
    )
    assert silent.to_dict()["break_even"] is None
    some = quantised.BreakEven("x", 2, 0.5, 2.0, 1.0, 3.0)
    assert some.line().endswith("This network pays below a mean of 1 spikes per input of a weight; it has 0.5.")


def test_a_network_without_a_counterpart_is_refused() -> None:
    config = small_config(time_steps=2, neuron="ternary")
    with pytest.raises(ConfigError):
        quantised.compare(dataclasses.replace(counts(layer(4, 2)), config=config))


@pytest.mark.parametrize("residual", ["sew", "ms"])
def test_a_counted_network_is_a_line_over_its_spikes(residual: str) -> None:
    """What remains without spikes is the first convolution; the counterpart multiplies what spikes were fed to."""
    model, images = calibrated(small_config(time_steps=4, residual=residual))
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    operations = counter.operations()
    spikes = fired(model.config, counter.activity(), {}, len(images))
    known = Counts(model.config, operations, counter.overheads, len(images), spikes)
    assert known.knows_layers
    found = quantised.compare(known)
    real = [op for op in operations if op.is_real]
    assert found.fixed_mj == energy.price(real, len(images)).energy_mj
    dense = sum(op.valid for op in operations if op.kind != "sum" and not op.is_real) / 4 / len(images)
    assert found.counterpart_mj - found.fixed_mj == pytest.approx(4.6e-9 * dense, rel=1e-9)
