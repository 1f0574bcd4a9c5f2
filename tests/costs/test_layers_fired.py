"""Spikes of each layer of neurons, with and without its activity in the record."""

import pytest
import torch

from nas.costs.counter import OperationCounter
from nas.costs.layers_fired import fired
from tests.helpers import calibrated, small_config


@pytest.mark.parametrize("neuron", ["lif", "multispike"])
def test_firing_rates_tell_what_activity_does(neuron: str) -> None:
    """Records of a table hold no activity: rates and shapes give the same whole numbers."""
    model, images = calibrated(small_config(time_steps=1 if neuron == "multispike" else 3, neuron=neuron))
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    exact = fired(model.config, counter.activity(), counter.firing_rates(), len(images))
    assert sum(layer.updates for layer in exact.values()) == counter.overheads.neuron_updates
    assert fired(model.config, {}, counter.firing_rates(), len(images)) == exact
