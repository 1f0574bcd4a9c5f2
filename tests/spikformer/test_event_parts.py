"""Eroding attention, a width of q, k and v, and a divisor of counts: by loops and by hand."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.costs import contract
from nas.costs.counter import OperationCounter
from nas.costs.counterpart import ann_counterpart
from nas.costs.operations import Operation
from spikformer import Spikformer, SpikformerConfig
from spikformer.layers import Conv2d
from spikformer.neurons import MultiSpike, neuron
from spikformer.token_mixers import SpikingAttention
from tests.spikformer.test_axes import config_of, inputs_of, lif, outputs_of, random_spikes, settled

Spikes = NDArray[np.float64]
ATTENTIONS = ("ssa", "sdsa", "qkta", "qkca")


# Eroding


def largest_of_neighbours(x: Spikes) -> Spikes:
    """Of the 3 x 3 entries of the last two dimensions around each, as far as there are such."""
    result = np.zeros_like(x)
    rows, columns = x.shape[-2:]
    for i, j in itertools.product(range(rows), range(columns)):
        near = itertools.product(range(max(0, i - 1), min(rows, i + 2)), range(max(0, j - 1), min(columns, j + 2)))
        for row, column in near:
            result[..., i, j] = np.maximum(result[..., i, j], x[..., row, column])
    return result


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_eroding_takes_the_largest_of_neighbours_in_the_image_and_in_token_and_channel(heads: int) -> None:
    """Loops over pixels for k and v, over token number and channel of a head for k v and the result, from q, k, v."""
    config = config_of(residual="ms", mixer={"kind": "sdsa", "num_heads": heads, "erode": True, "threshold": 2.0})
    torch.manual_seed(0)
    x = random_spikes(4, 2, 16, 4, 4, rate=0.5, seed=1) - 0.2
    layer = SpikingAttention(16, config.stages[0].mixer, config)
    layer = settled(layer, x)
    with torch.no_grad():
        for unit in (layer.query, layer.key, layer.value):  # few spikes, or all would be near one
            norm: Any = unit.get_submodule("conv.norm")
            norm.bias.fill_(-0.9)
    queries, keys, values = (outputs_of(unit) for unit in (layer.query, layer.key, layer.value))
    contexts = inputs_of(layer.proj)
    layer(x)
    q, k, v = (seen[0].numpy() for seen in (queries, keys, values))
    shape = (4, 2, heads, 16 // heads, 16)  # T, B, A, K, N
    product = largest_of_neighbours(k).reshape(shape) * largest_of_neighbours(v).reshape(shape)
    product = largest_of_neighbours(product)
    mask = lif(torch.from_numpy(product.sum(-1, keepdims=True)), threshold=2.0).numpy()
    expected = largest_of_neighbours(mask * q.reshape(shape))
    np.testing.assert_array_equal(contexts[0].numpy(), expected.reshape(k.shape))
    assert 0.02 < expected.mean() < 0.98
    assert (expected != mask * q.reshape(shape)).any()


def test_heads_mean_something_to_sdsa_where_it_erodes() -> None:
    def network(heads: int, erode: bool) -> SpikformerConfig:
        return config_of(mixer={"kind": "sdsa", "num_heads": heads, "erode": erode})

    assert network(2, False).config_id == network(4, False).config_id
    assert len({network(heads, True).config_id for heads in (2, 4)} | {network(2, False).config_id}) == 3
    for attention in ("ssa", "qkta", "qkca"):
        assert (
            config_of(mixer={"kind": attention, "erode": True}).config_id
            == config_of(mixer={"kind": attention}).config_id
        )


def test_eroding_compares_as_other_pools_do_by_hand() -> None:
    """k, v, their product and the result: 4 steps, 3 images, 16 channels, 4 x 4 tokens, 8 comparisons each."""
    comparisons = []
    for erode in (True, False):
        model, images = contract.calibrated(config_of(mixer={"kind": "sdsa", "erode": erode}))
        with torch.no_grad(), OperationCounter(model) as counter:
            model(images)
        comparisons.append(counter.overheads.pool_comparisons)
    assert comparisons[0] - comparisons[1] == 4 * (4 * 3 * 16 * 16) * 8


# The width of q, k and v


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("residual", ["sew", "ms"])
def test_parameters_of_a_width_of_queries_by_hand(attention: str, residual: str) -> None:
    """16 channels, 8 of q and k, 16 of v in ssa: convolutions with bias, and two numbers a channel of batch norm."""
    fields = {"qkv_dim": 8, "num_heads": 2, "qkv_bias": True, "value_ratio": 2 if attention == "ssa" else 1}
    config = config_of(residual=residual, mixer={"kind": attention} | fields)
    layer = SpikingAttention(16, config.stages[0].mixer, config)

    def conv_bn(fed: int, made: int) -> int:
        return fed * made + made + 2 * made

    value = {"ssa": 16, "sdsa": 8}.get(attention, 0)
    expected = 2 * conv_bn(16, 8) + (conv_bn(16, value) if value else 0) + conv_bn(value or 8, 16)
    assert sum(p.numel() for p in layer.parameters()) == expected
    assert layer(torch.zeros(4, 1, 16, 2, 2)).shape == (4, 1, 16, 2, 2)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_the_width_of_the_tokens_is_the_default_of_queries(attention: str) -> None:
    plain, written = (config_of(mixer={"kind": attention, "qkv_dim": width}) for width in (0, 16))
    assert plain != written
    assert plain.config_id == written.config_id
    assert plain.config_id != config_of(mixer={"kind": attention, "qkv_dim": 8}).config_id
    images = torch.rand(2, 3, 8, 8)
    models = []
    for config in (plain, written):
        torch.manual_seed(0)
        models.append(Spikformer(config))
    assert torch.equal(models[0](images), models[1](images))


def test_the_scale_by_channels_of_a_head_reads_the_width_of_queries() -> None:
    """8 channels of 2 heads: 2 / sqrt(4) = 1."""
    fields = {"num_heads": 2, "qkv_dim": 8}
    by_head = config_of(mixer=fields | {"scale": 2.0, "scale_by": "head_dim"})
    assert SpikingAttention(16, by_head.stages[0].mixer, by_head).scale == 1.0
    assert by_head.config_id == config_of(mixer=fields | {"scale": 1.0}).config_id


# The divisor of counts


def of_counts(divisor: int, **fields: Any) -> SpikformerConfig:
    counting = {"kind": "multispike", "levels": 4, "divisor": divisor}
    return config_of(neuron=counting, mixer={"kind": "dwconv", "kernel_size": 3}, **fields)


@pytest.mark.parametrize(("divisor", "expected"), [(0, 0.25), (1, 1.0), (4, 0.25), (8, 0.125)])
def test_counts_are_divided_by_hand(divisor: int, expected: float) -> None:
    """-1, 0.4, 1.6, 9 become 0, 0, 2, 4 spikes; before the classifier they stay whole."""
    currents = torch.tensor([-1.0, 0.4, 1.6, 9.0])
    assert neuron(of_counts(divisor))(currents).tolist() == [0, 0, 2 * expected, 4 * expected]
    assert neuron(of_counts(divisor), counts=True)(currents).tolist() == [0, 0, 2, 4]
    assert (of_counts(divisor).config_id == of_counts(4).config_id) is (expected == 0.25)


@pytest.mark.parametrize("divisor", [1, 2, 8])
@pytest.mark.parametrize("residual", ["sew", "ms"])
def test_costs_count_whole_spikes_whatever_divides_them(residual: str, divisor: int) -> None:
    """Weights that take the divisor back make the network of divisor 4, whose counts it has to the last one."""
    plain, images = contract.calibrated(of_counts(4, residual=residual))
    other = Spikformer(of_counts(divisor, residual=residual)).double().eval()
    other.load_state_dict(plain.state_dict())
    with torch.no_grad():
        for conv in (m for m in other.modules() if isinstance(m, Conv2d)):
            if conv.operands[0][0].kind != "real":
                conv.weight *= divisor / 4
        if residual == "sew":  # the stream is spikes, whose mean the classifier is fed
            other.head.linear.weight *= divisor / 4
    logits, operations = zip(*(counted(model, images) for model in (plain, other)), strict=True)
    assert torch.equal(*logits)
    assert [without_quantum(op) for op in operations[0]] == [without_quantum(op) for op in operations[1]]
    assert any(op.multiplicity > op.nonzero > 0 for op in operations[0])


def counted(model: Spikformer, images: Tensor) -> tuple[Tensor, tuple[Operation, ...]]:
    with torch.no_grad(), OperationCounter(model) as counter:
        logits = model(images)
    return logits, counter.operations()


def without_quantum(operation: Operation) -> Operation:
    operands = tuple(dataclasses.replace(operand, quantum=1.0) for operand in operation.operands)
    return dataclasses.replace(operation, operands=operands)


def test_the_quantised_counterpart_divides_by_its_own_levels() -> None:
    """A divisor that a lif does not read would else become the counterpart's."""
    config = config_of(neuron={"kind": "lif", "divisor": 8}, time_steps=4)
    twin = ann_counterpart(config)
    assert (twin.neuron.levels, twin.neuron.divisor) == (4, 0)
    assert neuron(twin).extra_repr() == "levels=4"
    assert isinstance(neuron(twin), MultiSpike)
    assert config.config_id == config_of(time_steps=4).config_id
