"""The second enumeration finds by itself what the counter must refuse, and what it must count."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.costs import contract, free_operations, judging
from nas.costs.counter import OperationCounter
from nas.costs.counting_rules import COUNTED, Count
from nas.costs.enumeration import enumerate_costs
from nas.errors import CostError
from spikformer import SpikformerConfig, plugins
from spikformer.layers import Unit, conv_bn, fed_by_stream
from spikformer.neurons import neuron
from spikformer.operands import BINARY, REAL
from tests.costs.test_free_operations import FREE, TRICKS, Hidden

Forward = Callable[[Tensor], Any]


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.rand(shape, generator=generator, dtype=torch.float64) + 0.25 for _ in range(2))
    return first, second


WITHOUT_A_TENSOR = ("added: a sum of many", "added: addition to a constant's view")
IN_FLOAT32 = ("added: written where places repeat",)


@pytest.mark.parametrize("trick", [name for name in TRICKS if name not in (*WITHOUT_A_TENSOR, *IN_FLOAT32)])
def test_numbers_alone_show_what_is_not_free(trick: str) -> None:
    """Without the counter, and without a list of names."""
    with pytest.raises(CostError):
        enumerate_costs(Hidden(TRICKS[trick]).double(), *pair(2, 3, 4))


@pytest.mark.parametrize("name", FREE)
def test_numbers_alone_show_what_is_free(name: str) -> None:
    found = enumerate_costs(Hidden(FREE[name]).double(), *pair(2, 3, 4))
    assert found.operations == []


TABLE = torch.arange(64, dtype=torch.float64) ** 2
LOOKUPS: dict[str, Forward] = {
    "a table": lambda x: TABLE[(8 * x).round().long()],
    "a table beside the image": lambda x: torch.cat([TABLE, x.flatten()])[(8 * x).round().long()],
    "a table of two": lambda x: torch.outer(TABLE, TABLE)[(8 * x).long(), (8 * x.flip(0)).long()],
    "bits shifted": lambda x: torch.bitwise_left_shift((8 * x).long(), (2 * x).long()).double(),
    "bits joined": lambda x: torch.bitwise_xor((8 * x).long(), (8 * x.flip(0)).long()).double(),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOKUPS)
def test_a_table_of_constants_computes_any_function(name: str) -> None:
    with pytest.raises(CostError):
        enumerate_costs(Hidden(LOOKUPS[name]).double(), *pair(2, 3, 4))


def test_what_is_selected_by_indices_of_an_image_is_free() -> None:
    """The largest numbers, their order, and a mask of them."""

    def largest(x: Tensor) -> Tensor:
        values, places = x.topk(2, -1)
        return torch.cat([values, x.gather(-1, places), torch.zeros_like(x).scatter(-1, places, 1.0)], -1)

    assert enumerate_costs(Hidden(largest).double(), *pair(2, 3, 4)).operations == []


def test_what_goes_past_torch_is_noticed() -> None:
    """A dispatcher switched off, a number written through numpy: the record does not give the network's results."""
    from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode

    def hidden(x: Tensor) -> Tensor:
        with _disable_current_modes():
            return x * x

    def written(x: Tensor) -> Tensor:
        y = x.clone()
        y.numpy()[...] *= y.numpy()
        return y + 0

    def watchful(x: Tensor) -> Tensor:
        return x.flip(1) if _get_current_dispatch_mode() else x * x

    for forward in (hidden, written, watchful):
        with pytest.raises(CostError):
            enumerate_costs(Hidden(forward).double(), *pair(2, 3, 4))


class Declared(nn.Module):
    def __init__(self, operands: Any, forward: Forward) -> None:
        super().__init__()
        self.operands, self._forward = operands, forward
        self.conv = nn.Conv2d(2, 2, 1, bias=False).double()
        self.conv.operands = ((REAL,),)  # pyrefly: ignore[bad-argument-type]

    def forward(self, x: Tensor) -> Any:
        return self._forward(x)


def test_counts_by_hand() -> None:
    """x x^T of rows [1, 0] and [1, 1] is [[1, 1], [1, 2]]: of eight pairs five are spikes that meet."""
    left = torch.tensor([[[1.0, 0], [1, 1]]], dtype=torch.float64)
    right = torch.tensor([[[0.0, 1], [1, 1]]], dtype=torch.float64)

    def product(x: Tensor) -> Tensor:
        return (x > 0).double() @ (x.mT > 0).double()

    (found,) = enumerate_costs(Declared(((BINARY, BINARY),), product), left, 1 - left).operations
    assert (found.dense, found.nonzero, found.events, found.multiplicity) == (8, 5, 5, 5)
    (found,) = enumerate_costs(Declared(((REAL,),), lambda x: x.sum(-1)), 3 * right, right.flip(0)).operations
    assert (found.dense, found.values, found.nonzero, found.events) == (4, 4, 3, 0)


@pytest.mark.parametrize("padding", [0, 1])
def test_a_convolution_meets_its_padding(padding: int) -> None:
    """4 x 4 ones under a 3 x 3 kernel: 144 taps with padding, of which 4 * 4 + 8 * 6 + 4 * 9 = 100 fall on pixels."""
    conv = nn.Conv2d(1, 1, 3, padding=padding, bias=False).double()
    conv.operands = ((REAL,),)  # pyrefly: ignore[bad-argument-type]
    ones = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    (found,) = enumerate_costs(conv, ones, 2 * ones).operations
    assert (found.dense, found.valid) == ((144, 100) if padding else (36, 36))
    assert found.nonzero == found.valid


SCALED: dict[str, tuple[Forward, bool]] = {
    "weighted sum": (lambda x: (x * torch.arange(1.0, 5)).sum(-1), True),
    "shifted and weighted": (lambda x: 0.3 * x + 0.7 * x.roll(1, -1), True),
    "by alpha": (lambda x: torch.add(x, x.roll(1, -1), alpha=0.5), True),
    "by batch norm": (
        lambda x: F.batch_norm(x, torch.zeros(2).double(), torch.full((2,), 4.0).double()) + x.roll(1, -1),
        True,
    ),
    "plain": (lambda x: x + x.roll(1, -1), False),
    "difference": (lambda x: x - x.roll(1, -1), False),
}


@pytest.mark.parametrize("name", SCALED)
def test_real_numbers_that_were_scaled_are_not_added(name: str) -> None:
    """By the enumeration and by the counter: it would be a product with weights at the price of an addition."""
    forward, refused = SCALED[name]
    is_sum = name == "weighted sum"
    model = Declared(((REAL,),) if is_sum else ((REAL, REAL),), forward)
    x, y = pair(2, 2, 4, 4)

    def count() -> None:
        with torch.no_grad(), OperationCounter(model) as counter:
            model(x)
        counter.operations()

    for judge in (lambda: enumerate_costs(model, x, y), count):
        if refused:
            with pytest.raises(CostError, match="scale"):
                judge()
        else:
            judge()


def counted_in_order(x: Tensor) -> Tensor:
    """How many are above a threshold, by sorting them and choosing among constants."""
    in_order = (x > 0.7).double().sort(-1, descending=True)[0]
    found = torch.zeros_like(x[..., :1])
    for i in range(4):
        found = torch.where(in_order[..., i : i + 1] > 0, i + 1.0, found)
    return found


def sum_of_two(x: Tensor) -> Tensor:
    spikes, others = x > 0.7, x.roll(1) > 0.7
    return torch.where(spikes, torch.where(others, 2.0, 1.0), others.double())


LADDERS: dict[str, Forward] = {
    "spikes counted in order": counted_in_order,
    "a sum of two spikes": sum_of_two,
    "a product by levels": lambda x: torch.where(x.roll(1) > 0.7, 0.75 * x, 0.5 * x),
    "a product by masks": lambda x: torch.maximum(0.5 * x, 0.75 * x * (x.roll(1) > 0.7)),
    "a product in one tensor": lambda x: (x[..., None].expand(*x.shape, 2) * torch.tensor([0.5, 0.75])).amax(-1),
    "ranks": lambda x: x.argsort(-1).argsort(-1).double(),
    "a size": lambda x: x * torch.ones((x > 0.7).nonzero().shape[0]).double().flatten()[:1],
    "what a mask leaves": lambda x: x[x > 0.7],
}


@pytest.mark.parametrize("name", LADDERS)
def test_choices_that_compute_are_refused_by_both(name: str) -> None:
    model = Hidden(LADDERS[name]).double()
    x, y = pair(2, 3, 4)
    with pytest.raises(CostError):
        enumerate_costs(model, x, y)
    with pytest.raises(CostError), torch.no_grad(), OperationCounter(model):
        model(x)


def test_one_scale_behind_a_layer_is_part_of_its_weights() -> None:
    """Two scales of one result are not: they would be two layers."""
    once = Declared(((REAL, REAL),), lambda x: 0.5 * once.conv(x) + x)
    twice = Declared(((REAL, REAL),), lambda x: (lambda y: 0.3 * y + 0.7 * y.roll(1, -1))(twice.conv(x)))
    x, y = pair(2, 2, 4, 4)
    assert [op.kind for op in enumerate_costs(once, x, y).operations] == ["weight", "sum"]
    with pytest.raises(CostError, match="scaled"):
        enumerate_costs(twice, x, y)
    for model, refused in ((once, False), (twice, True)):
        with torch.no_grad(), OperationCounter(model) as counter:
            if refused:
                with pytest.raises(CostError, match="scale"):
                    model(x)
            else:
                model(x)
                assert len(counter.operations()) == 2


class Block(nn.Module):
    """A mixer in which `trick` is done to the convolution's currents and the neuron's spikes."""

    def __init__(self, dim: int, config: SpikformerConfig) -> None:
        super().__init__()
        self.neuron = neuron(config)
        self.unit = Unit(conv_bn(dim, dim, 3, fed=fed_by_stream(config)), config)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.unit(x)
        return self.trick(y, x)

    def trick(self, y: Tensor, x: Tensor) -> Tensor:
        return y


class Product(Block):
    def trick(self, y: Tensor, x: Tensor) -> Tensor:
        return y * x


class Exponential(Block):
    def trick(self, y: Tensor, x: Tensor) -> Tensor:
        return y * torch.exp(x).ge(1.5)


class SpikeSum(Block):
    def trick(self, y: Tensor, x: Tensor) -> Tensor:
        spikes: Tensor = self.neuron(x)
        return y * (spikes.sum((-2, -1), keepdim=True) > 3)


class Shifted(Block):
    def trick(self, y: Tensor, x: Tensor) -> Tensor:
        spikes: Tensor = self.neuron(x)
        return y * (spikes + spikes.roll(1, -1) > 1)


class Lookup(Block):
    table: Tensor

    def __init__(self, dim: int, config: SpikformerConfig) -> None:
        super().__init__(dim, config)
        self.register_buffer("table", torch.arange(64.0) ** 2)

    def trick(self, y: Tensor, x: Tensor) -> Tensor:
        return self.table[(4 * x).abs().long().clamp(0, 63)] * (y != 0)


class Weighted(Block):
    operands = ((REAL, REAL),)

    def trick(self, y: Tensor, x: Tensor) -> Tensor:
        return 0.3 * x + 0.7 * x.roll(1, -1)


def network_with(block: type[Block]) -> SpikformerConfig:
    plugins.allow(__name__)
    stage = {"embed_dim": 16, "depth": 1, "mixer": {"kind": f"{__name__}:{block.__name__}"}}
    return SpikformerConfig.from_dict(contract.small() | {"stages": [stage]})


def costs_of(block: type[Block]) -> contract.Check:
    (check,) = (c for c in contract.checks(network_with(block)) if c.name == "costs equal enumeration")
    return check


def without_products(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(judging.Totals, "note_mask", lambda *_: None)


def without_the_list(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(judging, "reason_against", lambda *_: "")


def without_sums(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(judging, "COUNTED", COUNTED - {torch.ops.aten.sum})
    patch.setattr(judging, "reason_against", lambda *_: "")


def without_additions(patch: pytest.MonkeyPatch) -> None:
    count = judging.Judge._count

    def passing(self: Any, packet: Any, *rest: Any) -> None:
        if packet is not torch.ops.aten.add:
            count(self, packet, *rest)

    patch.setattr(judging.Judge, "_count", passing)


def without_lookups(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(free_operations, "_LOOKUPS", frozenset())


def without_scales(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(judging.Judge, "_check_scales", lambda *_: None)


RULES: list[tuple[type[Block], Callable[[pytest.MonkeyPatch], None]]] = [
    (Product, without_products),
    (Exponential, without_the_list),
    (SpikeSum, without_sums),
    (Shifted, without_additions),
    (Lookup, without_lookups),
    (Weighted, without_scales),
]


@pytest.mark.parametrize(("block", "without"), RULES)
def test_a_rule_that_the_counter_lacks_is_missed_by_it_alone(
    block: type[Block], without: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both refuse the block; without its rule the counter lets it pass, and the enumeration still refuses it."""
    assert not costs_of(block).passed
    without(monkeypatch)
    model, images = contract.calibrated(network_with(block))
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    counter.operations()
    assert not costs_of(block).passed


def test_the_honest_block_passes() -> None:
    assert costs_of(Block).passed, costs_of(Block).detail


@pytest.mark.parametrize("field", ["nonzero", "spikes", "multiplicity"])
def test_a_wrong_count_is_found(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter that loses one spike in a thousand."""
    totals = Count._totals

    def lossy(self: Any, place: str) -> list[int]:
        names = ("spikes", "nonzero", "multiplicity", "events")
        return [n - (n > 0) * (name == field) for name, n in zip(names, totals(self, place), strict=True)]

    monkeypatch.setattr(Count, "_totals", lossy)
    found = costs_of(Block)
    assert not found.passed
    assert "enumerated" in found.detail
