"""NeuroBench's metrics, held to NeuroBench, by hand, and on counted networks."""

from typing import Any

import pytest
import torch

from nas.costs import neurobench
from nas.costs.accesses import Counts
from nas.costs.counter import OperationCounter
from nas.costs.layers_fired import fired
from nas.costs.operations import Overheads
from spikformer import Spikformer
from tests.costs import oracles
from tests.helpers import calibrated, small_config


@pytest.mark.parametrize("case", oracles.cases("neurobench"), ids=lambda case: str(case["name"]))
def test_operations_are_those_of_neurobench(case: dict[str, Any]) -> None:
    """NeuroBench 2.3.0, `single_layer_MACs`, to the last operation."""
    found = neurobench.synaptic_operations(oracles.counts_of(case).operations, 1)
    counted = [layer["counted"] for layer in case["layers"]]
    assert found["Effective_ACs"] == sum(of["met"] for of in counted if of["spiking"])
    assert found["Effective_MACs"] == sum(of["met"] for of in counted if not of["spiking"])
    assert found["Dense"] == sum(of["all"] for of in counted)


@pytest.mark.parametrize("residual", ["sew", "ms"])
def test_metrics_of_a_counted_network(residual: str) -> None:
    """Networks that add membrane currents feed spikes everywhere; those that add spikes feed numbers, too."""
    model, images = calibrated(small_config(time_steps=2, residual=residual))
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    spikes = fired(model.config, counter.activity(), {}, len(images))
    counts = Counts(model.config, counter.operations(), counter.overheads, len(images), spikes)
    found = neurobench.metrics(counts)
    own = Spikformer(model.config)
    assert found["ParameterCount"] == sum(p.numel() for p in own.parameters())
    assert found["Footprint"] == sum(t.numel() * t.element_size() for t in [*own.parameters(), *own.buffers()])
    rates = [(layer.spikes, layer.updates) for layer in spikes.values()]
    assert found["ActivationSparsity"] == 1 - sum(n for n, _ in rates) / sum(n for _, n in rates)
    operations = neurobench.synaptic_operations(counts.operations, counts.images)
    real = sum(op.nonzero for op in counts.operations if op.is_real) / len(images)
    assert (operations["Effective_MACs"] == real) is (residual == "ms")
    assert operations["Effective_ACs"] + operations["Effective_MACs"] < operations["Dense"]


def test_several_spikes_at_once_are_no_activations() -> None:
    counts = Counts(small_config(time_steps=1, neuron="multispike"), (), Overheads(), 1, {})
    assert neurobench.activation_sparsity(counts) is None
