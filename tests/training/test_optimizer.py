"""Gradients to weights: clipping, parts of a batch, and a state that an unfused optimizer saved."""

import copy

import pytest
import torch
from torch import Tensor, nn

from nas.training.optimizer import Update, adamw
from nas.training.step import Step


def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def test_a_gradient_is_clipped_to_its_norm() -> None:
    """By hand, with plain gradient descent at rate 1: the step of a gradient of norm 10 has length 0.5."""
    model = layer()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    update = Update(model, torch.optim.SGD(model.parameters(), lr=0.0), clip_norm=0.5)
    update.set_rate(1.0)
    update.clear()
    loss = sum((parameter * 10 / 8**0.5).sum() for parameter in model.parameters())
    assert isinstance(loss, Tensor)
    update.backward(loss)
    update.apply()
    moved = torch.cat([(old - new).flatten() for old, new in zip(before, model.parameters(), strict=True)])
    assert moved.norm().item() == pytest.approx(0.5, rel=1e-5)


def test_parts_of_a_batch_make_one_step_of_it() -> None:
    """The mean over two halves is the mean over all, but for rounding."""
    images, targets = torch.randn(8, 3), torch.randn(8, 2)
    weights = []
    for accumulation in (1, 2):
        model = layer()

        def loss_of(images: Tensor, targets: Tensor, model: nn.Module = model) -> Tensor:
            loss: Tensor = ((model(images) - targets) ** 2).mean()
            return loss

        update = Update(model, torch.optim.SGD(model.parameters(), lr=0.0))
        step = Step(model, loss_of, update, accumulation=accumulation)
        step(0, zip(images.chunk(accumulation), targets.chunk(accumulation), strict=True), 0.1)
        weights.append(model.weight.detach())
    assert not torch.equal(weights[0], layer().weight)
    torch.testing.assert_close(weights[0], weights[1])


def test_a_fused_optimizer_continues_where_an_unfused_one_was() -> None:
    """Earlier checkpoints hold a number as rate and no kernel's settings; moments and steps count, the rest is ours."""
    model = layer()
    earlier = torch.optim.AdamW(
        [{"params": [model.bias], "weight_decay": 0.0}, {"params": [model.weight], "weight_decay": 0.05}], lr=0.1
    )
    model(torch.randn(4, 3)).sum().backward()
    earlier.step()
    continued = copy.deepcopy(model)
    update = Update(continued, adamw(continued, 0.05))
    update.load_state(copy.deepcopy(earlier.state_dict()), None)
    for own, optimize in ((model, earlier.step), (continued, update.apply)):
        update.set_rate(0.1)
        own.zero_grad()
        own(torch.ones(4, 3)).sum().backward()
        optimize()
    for old, new in zip(model.parameters(), continued.parameters(), strict=True):
        torch.testing.assert_close(new, old)
    (group, _) = update.state()[0]["param_groups"]
    assert group["fused"]
