"""A network with all that moves its weights: wrapped for several processes, with optimizer, schedule and average."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from spikingjelly.activation_based import memopt
from timm.optim import create_optimizer_v2
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from nas.bundles import TrainingRecipe
from nas.full_training.team import Team, in_parallel, with_team_norms
from nas.training import precision_of
from spikformer import spiking
from spikformer.model import Block, Spikformer


def precision(recipe: TrainingRecipe, device: torch.device) -> str:
    """ "fp32", "bf16" or "fp16"."""
    return precision_of(device) if recipe.precision == "auto" else recipe.precision


class Autocast:
    """Convolutions and products in a recipe's precision; membranes of neurons and batch norm stay float32."""

    def __init__(self, recipe: TrainingRecipe, device: torch.device) -> None:
        self._device = device.type
        self.name = precision(recipe, device)
        self._type = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.name)

    def __call__(self) -> Any:
        return torch.autocast(self._device, self._type, enabled=self._type is not None)


def laid_out(model: Spikformer, recipe: TrainingRecipe, team: Team) -> Spikformer:
    """On the team's device, with its batch norms, channels as the recipe wants them; the same names of weights."""
    model.to(team.device)
    if recipe.sync_norm and team.size > 1:
        model = with_team_norms(model, team.device)  # type: ignore[assignment]  # the same model
    if recipe.channels_last:
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
    return model


def wrapped(model: Spikformer, recipe: TrainingRecipe, team: Team) -> nn.Module:
    """What is called while training, on the weights of `model`: checkpointed, compiled, in parallel."""
    if recipe.checkpointing:
        stem = model.config.stem
        example = torch.zeros(2, stem.in_channels, stem.image_size, stem.image_size, device=team.device)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        # Not compressed: spikes between blocks are sums in most networks, and one look does not tell.
        memopt.optimize_memory(model, (Block,), lambda m: m(example), level=1, compress=False)
        model.load_state_dict(before)  # looking has moved batch norm's statistics
    if recipe.compile:
        spiking.prepare(team.device)
    called: nn.Module = torch.compile(model) if recipe.compile else model  # type: ignore[assignment]
    return in_parallel(called, team, same_buffers=recipe.sync_norm)


def uncompiled(recipe: TrainingRecipe) -> AbstractContextManager[Any]:
    """Within, what `wrapped` has compiled runs as it is written."""
    return torch.compiler.set_stance("force_eager") if recipe.compile else nullcontext()


def optimizer_of(model: nn.Module, recipe: TrainingRecipe) -> torch.optim.Optimizer:
    """timm's, without weight decay on biases, norms and other vectors."""
    settings: dict[str, Any] = {"betas": recipe.betas, "eps": recipe.eps}
    if recipe.optimizer == "lamb":
        settings["trust_clip"] = recipe.trust_clip
    return create_optimizer_v2(
        model, recipe.optimizer, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, **settings
    )


def schedule_of(optimizer: torch.optim.Optimizer, recipe: TrainingRecipe, steps_an_epoch: int) -> CosineLRScheduler:
    """timm's cosine by step; from the end of `epochs` on at the lowest rate."""
    return CosineLRScheduler(
        optimizer,
        t_initial=recipe.epochs * steps_an_epoch,
        lr_min=recipe.min_learning_rate,
        warmup_t=recipe.warmup_epochs * steps_an_epoch,
        warmup_lr_init=recipe.warmup_learning_rate,
        t_in_epochs=False,
    )


def average_of(model: Spikformer, recipe: TrainingRecipe) -> ModelEmaV3 | None:
    """timm's moving average of weights and statistics."""
    return ModelEmaV3(model, recipe.ema_decay, use_warmup=True) if recipe.ema_decay > 0 else None


__all__ = ["Autocast", "average_of", "laid_out", "optimizer_of", "precision", "schedule_of", "uncompiled", "wrapped"]
