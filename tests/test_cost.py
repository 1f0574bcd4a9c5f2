"""Operations counted while a network runs equal brute force, to the last integer."""

import contextlib
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas import cost
from nas.cost import Operation, OperationCounter
from nas.errors import CostError
from spikformer import Spikformer, published
from spikformer.layers import Conv2d, Linear
from spikformer.operands import REAL, Operand
from spikformer.token_mixers import SpikingAttention
from tests.helpers import calibrated, random_config, small_config

Counts = tuple[int, int, int, int]
"""dense, valid, nonzero, multiplicity"""

COUNT = Operand("count")


@pytest.mark.parametrize("seed", range(60))
def test_counts_equal_brute_force(seed: int) -> None:
    """Residual x attention x placement x T at random, in grad, no_grad and inference_mode."""
    model, images = calibrated(random_config(random.Random(seed)), seed)
    expected = _brute_force(model, images)
    assert all(count[2] > 0 for count in expected.values()), "a silent layer would prove nothing"
    for mode in (contextlib.nullcontext, torch.no_grad, torch.inference_mode):
        with mode(), OperationCounter(model) as counter:
            model(images)
        counted = {(op.path, op.index): _counts(op) for op in counter.operations()}
        assert counted == expected


def test_dense_equals_torchs_flop_counter_and_fvcore() -> None:
    """Two other sources of the static count: torch's FLOP counter / 2, fvcore without batch norm."""
    for seed in range(8):
        model, images = calibrated(random_config(random.Random(seed)), seed)
        operations = _count(model, images)
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            model(images)
        multiplying = [op for op in operations if op.kind != "sum"]
        assert sum(op.dense for op in multiplying) == flops.get_total_flops() // 2
        assert sum(op.dense * op.repeats for op in multiplying) == len(images) * cost.dense_macs(model)[""]


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        # Dense MACs of the authors' networks at T = 4 and 224 x 224, their code on meta tensors.
        ("spikformer_in_8_512", 33_436_192_768),
        # The CIFAR code multiplies q k^T first; with 64 tokens and 32 channels a head, k^T v first is cheaper:
        # 3 x 0.0013 and conv 4 x 0.9201 G as in the authors' code, attention half of their 4 x 0.0126 G.
        ("spikformer_cifar10_4_384", 3_710_979_840),
    ],
)
def test_dense_macs_of_published_networks(name: str, macs: int) -> None:
    with torch.device("meta"):
        model = Spikformer(published.config(name))
    assert cost.dense_macs(model)[""] == macs


def test_counts_add_over_batches() -> None:
    model, images = calibrated(small_config())
    with torch.no_grad(), OperationCounter(model) as parts:
        model(images[:1])
        model(images[1:])
    whole = {(op.path, op.index): _counts(op) for op in _count(model, images)}
    assert {(op.path, op.index): _counts(op) for op in parts.operations()} == whole


def test_products_of_counts_by_hand() -> None:
    """Neurons that fire up to four spikes, a 1 x 2 by a 2 x 1 product: a pair costs the smaller count."""

    class Product(nn.Module):
        operands = ((Operand("count", 0.25), Operand("count", 0.25)),)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a @ b

    model = Product()
    with OperationCounter(model) as counter:  # 3 and 1 spikes meet 2 and 4: 2 + 1 events, 6 + 4 products of counts
        model(torch.tensor([[[0.75, 0.25]]]), torch.tensor([[[0.5], [1.0]]]))
    (operation,) = counter.operations()
    assert (operation.dense, operation.nonzero, operation.multiplicity, operation.events) == (2, 2, 10, 3)


def test_signed_spikes_count_whatever_their_sign_by_hand() -> None:
    model = Linear(3, 2, fed=Operand("ternary"), bias=False)
    with torch.no_grad(), OperationCounter(model) as counter:
        model(torch.tensor([[1.0, -1.0, 0.0]]))
    (operation,) = counter.operations()
    assert (operation.dense, operation.nonzero, operation.events, operation.macs) == (6, 4, 4, 0)


def test_first_convolution_of_a_static_image_stands_for_all_time_steps() -> None:
    model, images = calibrated(small_config(time_steps=4))
    assert [op.repeats for op in _count(model, images) if op.operands == (REAL,)] == [4, 1]  # stem, head
    frames = images.expand(4, *images.shape)
    assert [op.repeats for op in _count(model, frames) if op.operands == (REAL,)] == [1, 1]


def test_worse_operands_than_declared_are_an_error() -> None:
    model, images = calibrated(small_config(time_steps=4))
    model.get_submodule("stages.0.blocks.0.mixer.branch.query.neuron").register_forward_hook(
        lambda _m, _x, out: 2 * out
    )
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    with pytest.raises(CostError, match=r"blocks\.0\.mixer.*fed worse"):
        counter.operations()


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: x @ x.mT, "does not declare"),
        (lambda x: nn.functional.linear(x, x), "does not declare"),
        (lambda x: nn.functional.scaled_dot_product_attention(x[None], x[None], x[None]), "multipl|declare"),
        (lambda x: nn.functional.conv_transpose2d(x[None, None], x[None, None]), "declare|no counting rule"),
        (lambda x: torch.mv(x, x[0]), "no counting rule"),
    ],
)
def test_multiplications_that_nobody_declared_are_an_error(forward: Callable[[Tensor], Tensor], message: str) -> None:
    class Hidden(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return forward(x)

    model = Hidden()
    with torch.no_grad(), OperationCounter(model), pytest.raises(CostError, match=message):
        model(torch.ones(4, 4))


def test_firing_rates_are_means_over_neurons_images_and_time() -> None:
    model, images = calibrated(small_config())
    spikes: list[Tensor] = []
    model.get_submodule("stages.0.blocks.0.mlp.branch.expand.neuron").register_forward_hook(
        lambda _m, _x, out: spikes.append(out)
    )
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images[:1])
        model(images[1:])
    expected = sum(s.sum().item() for s in spikes) / sum(s.numel() for s in spikes)
    assert counter.firing_rates()["stages.0.blocks.0.mlp.branch.expand.neuron"] == pytest.approx(expected, rel=1e-12)


def _count(model: Spikformer, images: Tensor) -> tuple[Operation, ...]:
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    return counter.operations()


def _counts(op: Operation) -> Counts:
    return op.dense, op.valid, op.nonzero, op.multiplicity


def _brute_force(model: Spikformer, images: Tensor) -> dict[tuple[str, int], Counts]:
    """Every pair of activation and weight, and of activation and activation, one by one."""
    fed: dict[str, list[Tensor]] = {}
    spikes: dict[str, Tensor] = {}
    handles = []
    for path, module in model.named_modules():
        if isinstance(module, Conv2d | Linear):
            handles.append(module.register_forward_hook(lambda _m, x, out, p=path: fed.update({p: [x[0], out]})))
        if path.endswith((".query", ".key", ".value")):
            handles.append(module.register_forward_hook(lambda _m, _x, out, p=path: spikes.update({p: out})))
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    counts: dict[tuple[str, int], Counts] = {}
    for path, module in model.named_modules():
        if isinstance(module, Conv2d):
            x, out = fed[path]
            counts[path, 0] = _brute_convolution(x, out, module.kernel_size[0], module.operands == ((REAL,),))
        elif isinstance(module, Linear):
            x, out = fed[path]
            pairs = x[..., None].expand(*x.shape, out.shape[-1])
            total = 0 if module.operands == ((REAL,),) else int(pairs.sum())
            counts[path, 0] = (pairs.numel(), pairs.numel(), int((pairs != 0).sum()), total)
        elif isinstance(module, SpikingAttention):
            parts = {n: spikes[f"{path}.{n}"] for n in ("query", "key", "value") if f"{path}.{n}" in spikes}
            heads = {n: s.flatten(-2).unflatten(2, (module.num_heads, -1)).double() for n, s in parts.items()}
            for i, count in enumerate(_brute_attention(module, heads)):
                counts[path, i] = count
    return counts


def _brute_convolution(x: Tensor, out: Tensor, kernel: int, real: bool) -> Counts:
    """Slide the window by hand; what lies outside the image is padding."""
    height, width = x.shape[2:]
    dense = valid = nonzero = multiplicity = 0
    for row in range(height):
        for column in range(width):
            for dy in range(kernel):
                for dx in range(kernel):
                    pairs = x.shape[0] * x.shape[1] * out.shape[1]
                    dense += pairs
                    y, z = row + dy - kernel // 2, column + dx - kernel // 2
                    if 0 <= y < height and 0 <= z < width:
                        valid += pairs
                        nonzero += int((x[:, :, y, z] != 0).sum()) * out.shape[1]
                        multiplicity += 0 if real else int(x[:, :, y, z].sum()) * out.shape[1]
    return dense, valid, nonzero, multiplicity


def _brute_attention(layer: SpikingAttention, heads: dict[str, Tensor]) -> list[Counts]:
    q, k = heads["query"], heads["key"]
    if layer.kind in ("qkta", "qkca"):
        return [_all(q)]
    v = heads["value"]
    if layer.kind == "sdsa":
        return [_all(k * v)]
    channels, tokens = q.shape[-2:]
    if layer.neuron_on_map:
        first = k[..., :, :, None] * q[..., :, None, :]  # channel, key, query
        fired = layer.attention_neuron(layer.scale * first.sum(-3).float()).double()
        return [_all(first), _all(v[..., :, :, None] * fired[..., None, :, :])]
    if channels <= tokens:
        first = k[..., :, None, :] * v[..., None, :, :]  # channel of k, channel of v, token
        return [_all(first), _all(q[..., :, None, :] * first.sum(-1)[..., :, :, None])]
    first = k[..., :, :, None] * q[..., :, None, :]
    return [_all(first), _all(v[..., :, :, None] * first.sum(-3)[..., None, :, :])]


def _all(pairs: Tensor) -> Counts:
    """Products written out one by one: how many, how many not zero, their sum."""
    return pairs.numel(), pairs.numel(), int((pairs != 0).sum()), int(pairs.sum())
