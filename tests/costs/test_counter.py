"""Operations counted while a network runs equal brute force, to the last integer."""

import contextlib
import dataclasses
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from nas.costs.counter import OperationCounter
from nas.costs.operations import Operation
from nas.costs.static import dense_macs, static_model
from nas.errors import CostError
from spikformer import Spikformer, published
from spikformer.layers import Conv2d, Linear
from spikformer.operands import BINARY, REAL, Operand
from spikformer.token_mixers import SpikingAttention
from tests.helpers import calibrated, random_config, small_config

Counts = tuple[int, int, int, int]
"""dense, valid, nonzero, multiplicity"""

COUNT = Operand("count")


@pytest.mark.parametrize("seed", [*range(15), *(pytest.param(i, marks=pytest.mark.exhaustive) for i in range(15, 60))])
def test_counts_equal_brute_force(seed: int, device: torch.device) -> None:
    """Residual x attention x placement x T at random, in grad, no_grad and inference_mode."""
    model, images = calibrated(random_config(random.Random(seed)), seed, device)
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
        assert sum(op.dense * op.repeats for op in multiplying) == len(images) * dense_macs(model)[""]


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
    assert dense_macs(model)[""] == macs


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
    assert (operation.dense, operation.nonzero, operation.events, operation.is_real) == (6, 4, 4, False)


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
    with pytest.raises(CostError, match=r"blocks\.0\.mixer.*received other values"):
        counter.operations()


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: x @ x.mT, "does not declare"),
        (lambda x: nn.functional.linear(x, x), "does not declare"),
        (lambda x: nn.functional.scaled_dot_product_attention(x[None], x[None], x[None]), "multipl|declare"),
        (lambda x: nn.functional.conv_transpose2d(x[None, None], x[None, None]), "declare|cannot be counted"),
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
            handles.append(
                module.register_forward_hook(lambda _m, x, out, p=path: fed.update({p: [x[0].cpu(), out.cpu()]}))
            )
        if path.endswith((".query", ".key", ".value")):
            handles.append(module.register_forward_hook(lambda _m, _x, out, p=path: spikes.update({p: out.cpu()})))
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


@pytest.mark.parametrize("seed", range(300))
def test_random_convolutions_equal_the_definition(seed: int, device: torch.device) -> None:
    """Output by output and tap by tap: stride, padding, dilation, groups, kernels that are not square, four dtypes."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    kind: Any = rng.choice(["binary", "ternary", "count", "signed", "real"])
    groups = rng.choice([1, 1, 2, 4])
    inside, outside = groups * rng.choice([1, 2]), groups * rng.choice([1, 3])
    kernel, stride = (rng.choice([1, 2, 3]), rng.choice([1, 3])), (rng.choice([1, 2]), rng.choice([1, 2, 3]))
    padding, dilation = (rng.choice([0, 1, 2]), rng.choice([0, 1])), (rng.choice([1, 2]), 1)
    x = _numbers(kind, (rng.choice([1, 3]), inside, rng.choice([5, 8]), rng.choice([5, 7])))
    x = x.to(memory_format=torch.channels_last) if rng.random() < 0.5 else x
    dtype = rng.choice([torch.float32, torch.float64, torch.bfloat16, torch.float16])
    layer = _Declared(
        Operand(kind),
        inside,
        outside,
        kernel,
        stride,
        padding,
        dilation=dilation,
        groups=groups,
        bias=rng.random() < 0.5,
    ).to(device, dtype)
    (op,) = _count_any(layer, x.to(device, dtype))
    out = layer(x.to(device, dtype))
    dense = valid = nonzero = multiplicity = 0
    per_group = inside // groups * (outside // groups) * groups * x.shape[0]
    for row, column, dy, dx in itertools.product(*map(range, (*out.shape[2:], *kernel))):
        dense += per_group
        y, z = row * stride[0] + dy * dilation[0] - padding[0], column * stride[1] + dx * dilation[1] - padding[1]
        if 0 <= y < x.shape[2] and 0 <= z < x.shape[3]:
            valid += per_group
            nonzero += int((x[:, :, y, z] != 0).sum()) * (outside // groups)
            multiplicity += int(x[:, :, y, z].abs().sum()) * (outside // groups) if kind != "real" else 0
    assert (op.dense, op.valid, op.nonzero, op.multiplicity) == (dense, valid, nonzero, multiplicity)
    assert op.events == multiplicity
    assert op.spikes == (0 if kind == "real" else int(x.abs().sum()))
    assert (op.values, op.biases) == (x.numel(), 0 if layer.bias is None else out.numel())


class _Declared(nn.Conv2d):
    """A subclass, as layers of supernets are."""

    def __init__(self, fed: Operand, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.operands = ((fed,),)


def _numbers(kind: str, shape: tuple[int, ...]) -> Tensor:
    fires = torch.rand(shape) < 0.3
    sign = torch.where(torch.rand(shape) < 0.5, -1.0, 1.0) if kind in ("ternary", "signed") else torch.ones(shape)
    size = torch.randint(1, 5, shape).float() if kind in ("count", "signed") else torch.ones(shape)
    return torch.randn(shape) if kind == "real" else fires * sign * size


def _count_any(model: nn.Module, *inputs: Tensor) -> tuple[Operation, ...]:
    with torch.no_grad(), OperationCounter(model) as counter:
        model(*inputs)
    return counter.operations()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_the_type_of_numbers_changes_no_count(dtype: torch.dtype, mode: Any, device: torch.device) -> None:
    """The same spikes through a convolution, a linear layer and two products, in every grad mode."""

    class Layers(nn.Module):
        operands = ((BINARY, BINARY), (BINARY, COUNT))

        def __init__(self) -> None:
            super().__init__()
            self.conv = Conv2d(4, 6, 3, fed=COUNT, bias=True)
            self.linear = Linear(5, 3, fed=BINARY)

        def forward(self, spikes: Tensor, counts: Tensor) -> None:
            self.conv(counts)
            self.linear(spikes)
            torch.einsum("bcij,bckj->bcik", spikes, spikes @ spikes.mT)

    torch.manual_seed(0)
    spikes, counts = (torch.rand(2, 4, 5, 5) < 0.3).float(), torch.randint(0, 9, (2, 4, 5, 5)).float()
    model = Layers()
    expected = _count_any(model, spikes, counts)
    assert [op.kind for op in expected] == ["weight", "weight", "product", "product"]
    model = model.to(device, dtype)
    with mode(), OperationCounter(model) as counter:
        model(spikes.to(device, dtype), counts.to(device, dtype))
    assert counter.operations() == expected


def test_a_sliced_linear_layer_is_counted() -> None:
    """As weight-sharing supernets use them: by hand, 2 images x 3 of 8 inputs x 4 of 6 outputs."""

    class Sliced(nn.Linear):
        operands = ((BINARY,),)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.weight[:4, :3], self.bias[:4])

    (op,) = _count_any(Sliced(8, 6), torch.tensor([[1.0, 0, 1], [0, 0, 1]]))
    assert (op.dense, op.nonzero, op.events, op.biases) == (2 * 3 * 4, 3 * 4, 3 * 4, 8)


def test_rates_are_taken_where_a_layer_reads_them() -> None:
    """Behind a max pool more of the numbers are spikes than the neuron fired."""
    model, images = calibrated(small_config(time_steps=2, pool=(False, True, False, False)))
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    fed = next(op for op in counter.operations() if op.path == "stem.embedding.2.conv.conv")
    assert fed.spikes / fed.values > 1.2 * counter.firing_rates()["stem.embedding.1.neuron"]


def test_an_integer_in_one_batch_changes_no_class() -> None:
    """A layer of counts is one in a batch of zeros and ones too: counts add up, batch by batch."""
    layer = Linear(3, 2, fed=COUNT, bias=False)
    ones, twos = torch.tensor([[1.0, 0, 1]]), torch.tensor([[2.0, 0, 1]])
    with torch.no_grad(), OperationCounter(layer) as counter:
        layer(ones)
        layer(twos)
    (op,) = counter.operations()
    assert op.operands == (COUNT,)
    assert (op.nonzero, op.events, op.calls) == (2 * 2 * 2, (2 + 3) * 2, 2)
    assert [o.events for o in (*_count_any(layer, ones), *_count_any(layer, twos))] == [4, 6]


@pytest.mark.parametrize(
    ("fed", "worse"),
    [
        ("binary", 2.0),
        ("binary", -1.0),
        ("binary", 1 - 2**-24),
        ("binary", 1e-30),
        ("ternary", 2.0),
        ("count", -1.0),
        ("count", 1.5),
        ("signed", 0.5),
        ("count", float("nan")),
        ("count", float("inf")),
    ],
)
def test_one_worse_number_among_many_is_seen(fed: Any, worse: float) -> None:
    x = torch.ones(50, 40)
    x[17, 23] = worse
    with pytest.raises(CostError, match=r"received other values|not finite"):
        _count_any(Linear(40, 3, fed=Operand(fed)), x)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: x * x.sigmoid(), "sigmoid, which multiplies"),
        (lambda x: x * (x + 1), "neither is a mask"),
        (lambda x: x / (x + 2), "div, which multiplies"),
        (lambda x: x.softmax(-1), "softmax, which multiplies"),
        (lambda x: x**2, "pow, which multiplies"),
        (lambda x: nn.functional.layer_norm(x, [3]), "norm, which multiplies"),
        (lambda x: nn.functional.avg_pool2d(x, 2), "avg_pool2d, which multiplies"),
    ],
)
def test_a_product_element_by_element_is_no_secret(forward: Callable[[Tensor], Tensor], message: str) -> None:
    class Hidden(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return forward(x)

    with pytest.raises(CostError, match=message):
        _count_any(Hidden(), torch.full((2, 2, 3, 3), 1.5))


def test_masks_and_constant_scales_are_free() -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0.125 * x * (x > 1).float() * torch.tensor([[[[0.3]]]])

    assert _count_any(Masked(), torch.rand(2, 2, 3, 3) * 2) == ()


def test_a_dense_count_that_is_not_torchs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Linear(3, 2, fed=BINARY)
    counter = OperationCounter(layer)
    with torch.no_grad(), counter:
        layer(torch.ones(1, 3))
    next(iter(counter._totals.counts.values())).dense += 1
    with pytest.raises(CostError, match="7 dense multiplications were counted, but torch's FLOP counter says 6"):
        counter.operations()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "first", "total_g"),
    [
        ("spikformer_in_8_384", 260_112_384, "18.873"),
        pytest.param("spikingformer_in_8_512", 346_816_512, "33.436", marks=pytest.mark.exhaustive),
        pytest.param("sdt1_in_6_512", 346_816_512, "28.094", marks=pytest.mark.exhaustive),
        pytest.param("spikformer_in_10_512", 346_816_512, "38.471", marks=pytest.mark.exhaustive),
        pytest.param("spikingformer_in_8_768", 520_224_768, "74.663", marks=pytest.mark.exhaustive),
        pytest.param("sdt1_in_8_768", 520_224_768, "74.048", marks=pytest.mark.exhaustive),
    ],
)
def test_dense_macs_of_published_sizes(name: str, first: int, total_g: str) -> None:
    """First convolutions exactly, whole networks to 1 million, at T = 4: the authors' code on meta tensors.

    Of Spikingformer-8-768 their settings say 8 heads and their energy script, whose count this is, 12.
    """
    config = published.config(name)
    if name == "spikingformer_in_8_768":
        stage = config.stages[0]
        stage = dataclasses.replace(stage, mixer=dataclasses.replace(stage.mixer, num_heads=12))
        config = dataclasses.replace(config, stages=(stage,))
    with torch.device("meta"):
        model = Spikformer(config)
    macs = dense_macs(model)
    assert macs["stem.embedding.0.conv.conv"] == first
    assert f"{macs[''] / 1e9:.3f}" == total_g


def test_dense_macs_layer_by_layer() -> None:
    """Spikingformer-8-512 at T = 4 and 224 x 224: the layers of the authors' log."""
    with torch.device("meta"):
        model = Spikformer(published.config("spikingformer_in_8_512"))
    macs = dense_macs(model)
    for i in (1, 2, 3):
        assert macs[f"stem.embedding.{i}.conv.conv"] == 3_699_376_128
    assert macs["stem.position.conv.conv"] == 1_849_688_064
    for block in range(8):
        path = f"stages.0.blocks.{block}"
        parts = [macs[f"{path}.mixer.branch.{name}.conv.conv"] for name in ("query", "key", "value")]
        assert [*parts, macs[f"{path}.mixer.branch.proj.conv"]] == [205_520_896] * 4
        whole = macs[f"{path}.mixer.branch"]
        assert whole - 4 * 205_520_896 == 51_380_224  # both products of attention
        assert (
            macs[f"{path}.mlp.branch.expand.conv.conv"] == macs[f"{path}.mlp.branch.contract.conv.conv"] == 822_083_584
        )


def test_counting_copies_nothing_to_the_device_but_once() -> None:
    """A copy makes the host wait for a GPU. "meta" stands in for one: the second batch brings nothing there."""
    copied: list[Any] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            tensors = [arg for arg in args if isinstance(arg, Tensor)]
            if any(not tensor.is_meta for tensor in tensors) and (kwargs or {}).get("device") == torch.device("meta"):
                copied.append(func)
            return func(*args, **(kwargs or {}))

    model, image = static_model(small_config()), torch.empty(2, 3, 8, 8, device="meta")
    with Watch(), torch.no_grad(), OperationCounter(model):
        for _ in range(2):
            copied.clear()
            model(image)
    assert copied == []
