"""Energy of the network that will be trained, from its own shapes and the proxy's rates."""

import dataclasses

import pytest
import torch

from nas.costs import energy, target
from nas.costs.counter import OperationCounter
from nas.costs.static import static_operations
from spikformer import published
from spikformer.operands import BINARY
from tests.costs.test_energy import operation
from tests.helpers import calibrated, small_config


@pytest.mark.parametrize("residual", ["sew", "ms"])
@pytest.mark.parametrize("attention", ["ssa", "sdsa", "qkta"])
def test_shapes_alone_give_the_static_counts(residual: str, attention: str) -> None:
    """Without weights or values: what a real run counts, but for the spikes."""
    model, images = calibrated(small_config(residual, attention))
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images[:1])
    blank = {"nonzero": 0, "multiplicity": 0, "events": 0, "spikes": 0}
    ran = tuple(dataclasses.replace(op, **blank) for op in counter.operations())  # type: ignore[arg-type]
    assert static_operations(model.config) == ran


def test_static_counts_of_a_published_network() -> None:
    """33,436,192,768 dense MACs at T = 4, as the authors' code has on meta tensors."""
    operations = static_operations(published.config("spikformer_in_8_512"))
    assert sum(op.dense * op.repeats for op in operations) == 33_436_192_768


def test_its_own_energy_is_predicted_for_the_proxy_itself() -> None:
    """Equal geometry: what was counted, up to the rounding to whole operations of one image."""
    model, images = calibrated(small_config())
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    counted = counter.operations()
    predicted = target.predicted_energy_mj(counted, model.config)
    assert predicted == pytest.approx(energy.price(counted, len(images)).energy_mj, rel=1e-3)


def test_a_layer_is_as_busy_as_the_proxys_by_hand() -> None:
    """30 events among 100 valid pairs: 600 among 2000. A layer that the proxy lacks is as busy as the one before it."""
    counted = [operation("weight", (BINARY,), valid=100, nonzero=30, events=30, values=10, spikes=3)]
    large = [
        operation("weight", (BINARY,), dense=2500, valid=2000, values=200),
        operation("weight", (BINARY,), path="new", dense=2500, valid=1000, values=100),
    ]
    found = target._at_rates(counted, large)
    assert [(op.nonzero, op.events, op.spikes) for op in found] == [(600, 600, 60), (300, 300, 30)]
    assert [op.dense for op in found] == [2500, 2500]


def test_a_larger_network_costs_more() -> None:
    model, images = calibrated(small_config())
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    large = target.for_imagenet(model.config)
    measured = energy.price(counter.operations(), len(images)).energy_mj
    assert target.predicted_energy_mj(counter.operations(), large) > 10 * measured
