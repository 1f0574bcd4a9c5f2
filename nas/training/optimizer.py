"""How gradients move weights: parameter groups, AdamW, and one update."""

from typing import Any

import torch
from torch import Tensor, nn

_OF_THIS_MACHINE = ("lr", "fused", "foreach", "capturable", "differentiable")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights of convolutions and linear layers decay; biases, batch norm and time constants do not.

    The groups and their order are those of timm, whose numbering earlier checkpoints of full trainings have.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in parameters if weight_decay > 0 and parameter.ndim > 1]
    plain = [parameter for parameter in parameters if weight_decay == 0 or parameter.ndim <= 1]
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": weight_decay}]
    return [group for group in groups if group["params"]]


def adamw(
    model: nn.Module, weight_decay: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> torch.optim.Optimizer:
    """AdamW in one kernel for all weights, on the device of `model`."""
    device = next(model.parameters()).device
    on_cuda = device.type == "cuda"
    # A tensor, so that a graph reads it from the device; of the type that the optimizer's kernel computes with.
    rate = torch.zeros((), dtype=torch.float32 if on_cuda else torch.float64, device=device)
    groups = parameter_groups(model, weight_decay)
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=eps, fused=True, capturable=on_cuda)


class Update:
    """Moves the weights of a network by their gradients.

    Args:
        clip_norm: largest norm of the gradient of all weights together; 0 leaves it as it is.
        scales: whether losses are scaled up, so that gradients in float16 do not vanish.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, *, clip_norm: float = 0.0, scales: bool = False
    ) -> None:
        self._moved = list(model.parameters())
        self._optimizer, self._clip_norm = optimizer, clip_norm
        self._scaler = torch.amp.GradScaler(self._moved[0].device.type, enabled=scales)
        self._rate: float | Tensor = optimizer.param_groups[0]["lr"]

    def set_rate(self, rate: float) -> None:
        """Set the learning rate, without waiting for the device."""
        if isinstance(self._rate, Tensor):
            self._rate.fill_(rate)
            return
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def clear(self) -> None:
        """Forget all gradients."""
        self._optimizer.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those that are there."""
        self._scaler.scale(loss).backward()

    def apply(self) -> None:
        """Move the weights."""
        if self._clip_norm > 0:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._moved, self._clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def state(self) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The state_dicts of the optimizer and of the scaler, None where losses are not scaled."""
        return self._optimizer.state_dict(), self._scaler.state_dict() if self._scaler.is_enabled() else None

    def load_state(self, optimizer: dict[str, Any], scaler: dict[str, Any] | None) -> None:
        """Continue from what `state` returned, perhaps on another kind of device or before the optimizer was fused."""
        groups = [
            saved | {key: own[key] for key in _OF_THIS_MACHINE if key in own}
            for saved, own in zip(optimizer["param_groups"], self._optimizer.param_groups, strict=True)
        ]
        self._optimizer.load_state_dict(optimizer | {"param_groups": groups})
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate  # torch has put a copy there, which nothing moves
        if scaler is not None:
            self._scaler.load_state_dict(scaler)


__all__ = ["Update", "adamw", "parameter_groups"]
