"""What a block may do with activations without a price, and every trick to get more for free."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.costs.counter import OperationCounter
from nas.costs.operations import Overheads
from nas.errors import CostError
from spikformer import SpikformerConfig
from spikformer.config import NeuronConfig
from spikformer.layers import Conv2d, Linear, Residual
from spikformer.neurons import LIF
from spikformer.operands import BINARY, REAL, Operand
from spikformer.stems import ImageEncoding
from tests.helpers import calibrated, random_config, small_config, thinned

Forward = Callable[[Tensor], Any]


class Hidden(nn.Module):
    """Does something to real activations, [T * B, C, N] or of any other shape, and declares nothing."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self._forward = forward
        self.register_buffer("room", torch.zeros(2, 3, 4))
        self.weight = nn.Parameter(torch.rand(2, 3, 4))

    def forward(self, x: Tensor) -> Any:
        return self._forward(x)


def count(model: nn.Module, *inputs: Tensor) -> OperationCounter:
    with torch.no_grad(), OperationCounter(model) as counter:
        model(*inputs)
    counter.operations()
    return counter


def real(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) + 0.25


MULTIPLIES: dict[str, Forward] = {
    "product": lambda x: x * x.flip(0),
    "product with the mean of all": lambda x: x * x.amax((0, 1, 2), keepdim=True),
    "factor whose batch axis is 1": lambda x: x * x[:1],
    "factor of fewer axes": lambda x: x * x[0],
    "in place": lambda x: x.clone().mul_(x),
    "lerp": lambda x: torch.lerp(x, x.flip(0), x),
    "lerp by a number": lambda x: torch.lerp(x, x.flip(0), 0.5),
    "addcmul": lambda x: torch.addcmul(x, x, x),
    "addcdiv": lambda x: torch.addcdiv(x, x, x),
    "square": lambda x: x.square(),
    "power": lambda x: x**2,
    "exponential of logarithms": lambda x: (x.log() + x.log()).exp(),
    "quotient": lambda x: x / x.flip(0),
    "reciprocal": lambda x: x.reciprocal(),
    "number divided": lambda x: 1 / x,
    "sigmoid gate": lambda x: x * x.sigmoid(),
    "gelu": F.gelu,
    "softmax": lambda x: x.softmax(-1),
    "norm over channels": lambda x: F.layer_norm(x, [x.shape[-1]]),
    "norm by its own statistics": lambda x: F.instance_norm(x),
    "bilinear resizing": lambda x: F.interpolate(x[None], scale_factor=2, mode="bilinear"),
    "distances": lambda x: torch.cdist(x, x),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    "matrices": lambda x: x @ x.mT,
    "einsum": lambda x: torch.einsum("bcn,bdn->bcd", x, x),
    "weights from the image": lambda x: F.linear(x, x[0]),
    "convolution by itself": lambda x: F.conv1d(x, x),
    "norms": lambda x: x.norm(dim=-1),
    "variance": lambda x: x.var(-1),
    "complex product": lambda x: torch.view_as_complex(torch.stack([x, x], -1)) * torch.view_as_complex(
        torch.stack([x, x], -1)
    ),
}  # fmt: skip
ADDS: dict[str, Forward] = {
    "sum": lambda x: x.sum(-1),
    "mean": lambda x: x.mean(-1),
    "average pool": lambda x: F.avg_pool1d(x, 2),
    "cumulative sum": lambda x: x.cumsum(-1),
    "shifted additions": lambda x: x + torch.roll(x, 1, -1),
    "difference": lambda x: x - torch.roll(x, 1, -1),
    "in place": lambda x: x.clone().add_(x.flip(0)),
    "addition to a constant's view": lambda x: (lambda room: (room.copy_(x), room[:] + x))(torch.zeros_like(x)),
    "added where places repeat": lambda x: torch.zeros_like(x).index_add_(0, torch.tensor([0, 0]), x),
    "written where places repeat": lambda x: torch.zeros(1, *x.shape[1:]).index_put_(
        (torch.tensor([0, 0]),), x, accumulate=True
    ),
    "scattered": lambda x: torch.zeros_like(x).scatter_add_(0, torch.zeros_like(x, dtype=torch.int64), x),
    "folded": lambda x: F.fold(x.repeat(1, 2, 1)[:, :4], (3, 3), 2),
    "counted": lambda x: torch.bincount((4 * x).long().flatten()),
    "a sum of many": lambda x: torch._foreach_add([x], [x.flip(0)]),
}  # fmt: skip
READS: dict[str, Forward] = {
    "item": lambda x: x * x.flatten()[0].item(),
    "float": lambda x: x * float(x.flatten()[0]),
    "a list": lambda x: torch.tensor(x.tolist()) * 2,
    "numpy": lambda x: torch.from_numpy(x.numpy() * x.numpy()),
    "the bits": lambda x: (x.view(torch.int32) + 1).view(torch.float32),
}
KINDS = {"multiplied": MULTIPLIES, "added": ADDS, "read": READS}
TRICKS = {f"{kind}: {name}": forward for kind, tricks in KINDS.items() for name, forward in tricks.items()}


@pytest.mark.parametrize("trick", TRICKS)
def test_nothing_but_moving_comparing_and_selecting_is_free(trick: str) -> None:
    with pytest.raises((CostError, RuntimeError)) as found:
        count(Hidden(TRICKS[trick]), real(2, 3, 4))
    assert isinstance(found.value, CostError), found.value


def test_a_factor_kept_in_a_buffer_is_an_activation_afterwards() -> None:
    """By the memory: a view taken before the buffer is written to sees what is written."""

    class Keeps(Hidden):
        room: Tensor

        def forward(self, x: Tensor) -> Tensor:
            view = self.room[:]
            self.room.copy_(x)
            return x * view

    with pytest.raises(CostError, match="neither is a mask"):
        count(Keeps(lambda x: x), real(2, 3, 4))


FREE: dict[str, Forward] = {
    "moves": lambda x: torch.cat([x.transpose(0, 1).reshape(3, -1), x.flip(2).roll(1, 0).movedim(0, 1).flatten(1)]),
    "pads": lambda x: F.pad(x, [1, 1], value=1.0)[:, :, 1:-1].unfold(2, 2, 1),
    "compares": lambda x: torch.maximum(x, x.flip(0)).relu().clamp(0, 1).sort(-1)[0].argmax(-1),
    "selects": lambda x: torch.where(x > 0.5, x, x.flip(0)).masked_fill(x < 0.3, 0.0),
    "masks": lambda x: x * (x > 0.5),
    "scales by numbers": lambda x: -(3 * x / 4 - 1) + 2,
    "scales by constants": lambda x: x * torch.tensor([0.5, 1, 2, 4]) + torch.arange(4) / torch.full((4,), 3.0),
    "gathers": lambda x: x[:, torch.tensor([2, 0])].index_select(2, torch.tensor([1])),
    "max pool": lambda x: F.max_pool2d(x, 2),
    "whole copies": lambda x: torch.zeros_like(x).copy_(x).to(torch.float64).clone().expand(5, 2, 3, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", FREE)
def test_what_moves_compares_or_selects_is_free(name: str) -> None:
    assert count(Hidden(FREE[name]), real(2, 3, 4)).operations() == ()


def test_constants_may_be_computed_with() -> None:
    """Weights alone, however: they are known before the first image."""

    class Prepared(Hidden):
        def forward(self, x: Tensor) -> Tensor:
            weight = (self.weight @ self.weight.mT).softmax(-1).sum(-1, keepdim=True) ** 2
            return x * weight

    assert count(Prepared(lambda x: x), real(2, 3, 4)).operations() == ()


def test_additions_that_are_declared_are_counted_by_hand() -> None:
    """Spikes 1, 0, 1, 1 and 0, 0, 1, 0: four of the eight addends are spikes."""

    class Adds(nn.Module):
        operands = ((BINARY, BINARY),)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a + b

    (operation,) = count(Adds(), torch.tensor([[1.0, 0, 1, 1]]), torch.tensor([[0.0, 0, 1, 0]])).operations()
    assert (operation.kind, operation.values, operation.nonzero, operation.events) == ("sum", 8, 4, 4)
    assert operation.results == 4
    with pytest.raises(CostError, match="received other values"):
        count(Adds(), torch.tensor([[2.0]]), torch.tensor([[0.0]]))


def test_weights_and_biases_that_depend_on_the_image_are_no_weights() -> None:
    class Dynamic(nn.Module):
        operands = ((REAL,),)

        def __init__(self, forward: Forward) -> None:
            super().__init__()
            self._forward = forward

        def forward(self, x: Tensor) -> Any:
            return self._forward(x)

    for forward in (
        lambda x: F.linear(x, x),
        lambda x: torch.eye(4) @ x,
        lambda x: F.linear(x, torch.eye(4), x[0]),
        lambda x: F.conv2d(x[None, None], torch.ones(2, 1, 1, 1), x[0, :2]),
    ):
        with pytest.raises(CostError, match="weights or a bias that depend on the images"):
            count(Dynamic(forward), real(4, 4))


def test_no_class_of_yours_declares_itself_free() -> None:
    """By the words with which the library's own say that they join the stream, average, or stand for several steps."""

    class Joins(Residual):
        joins = averages = True
        repeats = 0

        def forward(self, x_TBCHW: Tensor) -> Tensor:
            return x_TBCHW + x_TBCHW.roll(1, -1)

    with pytest.raises(CostError, match="does not declare"):
        count(Joins(nn.Identity(), 4, small_config()), real(2, 1, 4, 3, 3))

    class Repeats(Conv2d):
        repeats = 0

    (operation,) = count(Repeats(3, 2, fed=REAL), real(1, 3, 4, 4)).operations()
    assert operation.repeats == 1

    class Stands(ImageEncoding):
        def stands_for(self, x_TBCHW: Tensor) -> int:
            return 0

    counter = count(Stands(Conv2d(3, 2, fed=REAL), 1).eval(), real(1, 1, 3, 4, 4))
    assert [operation.repeats for operation in counter.operations()] == [1]


def test_a_neuron_holds_no_layer() -> None:
    class Clever(LIF):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.mixing = Linear(4, 4, fed=REAL)

        def forward(self, x_T: Tensor) -> Tensor:
            return super().forward(self.mixing(x_T))

    with pytest.raises(CostError, match="inside a neuron"):
        count(Clever(NeuronConfig(), 1.0, 2), real(2, 3, 4))


@pytest.mark.parametrize("seed", thinned(range(200), 15))
def test_costs_are_those_of_each_image(seed: int) -> None:
    """Of three images at once, those of each by itself, added up: operations and overheads, whatever the position."""
    rng = random.Random(seed)
    values = random_config(rng).to_dict()
    values["stem"] |= {"position": rng.choice(["conv", "learned", "cpg", "none"]), "shortcut": True}
    model, images = calibrated(SpikformerConfig.from_dict(values), seed)
    together = count(model, images)
    alone = [count(model, image[None]) for image in images]
    for i, operation in enumerate(together.operations()):
        parts = [counter.operations()[i] for counter in alone]
        for field in ("dense", "valid", "values", "spikes", "nonzero", "multiplicity", "events"):
            assert getattr(operation, field) == sum(getattr(part, field) for part in parts), (operation.path, field)
    for field in Overheads.__dataclass_fields__:
        assert getattr(together.overheads, field) == sum(getattr(c.overheads, field) for c in alone), field


def test_residual_additions_are_those_of_layers_that_say_so() -> None:
    """By hand: of two equal networks one calls its stream otherwise; both add as often."""

    class Renamed(Residual):
        pass

    config = small_config()
    assert Residual.joins
    stream = real(2, 1, 4, 3, 3)
    assert count(Residual(nn.Identity(), 4, config), stream).overheads.residual_additions == stream.numel()
    with pytest.raises(CostError, match="does not declare"):
        count(Renamed(nn.Identity(), 4, config), stream)


def test_counts_declared_as_an_operand_of_a_sum() -> None:
    """Three quarters and a half, in quarters: five spikes."""

    class Adds(nn.Module):
        operands = ((Operand("count", 0.25), REAL),)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a + b

    (operation,) = count(Adds(), torch.tensor([[0.75, 0.5]]), torch.tensor([[0.1, 0.2]])).operations()
    assert (operation.nonzero, operation.events) == (4, 5)
