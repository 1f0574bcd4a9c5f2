"""A network with all that moves its weights: wrapped for several processes, with optimizer, schedule and average.

timm brings LAMB and the moving average; AdamW, groups of weights and the schedule are those of `nas.training`.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from spikingjelly.activation_based import memopt
from timm.optim import Lamb
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from nas.bundles import TrainingRecipe
from nas.full_training.process_group import ProcessGroup, in_parallel, with_synchronised_norms
from nas.training import Precision, Schedule, adamw, lay_out, parameter_groups, precision_of
from spikformer import spiking
from spikformer.model import Block, Spikformer


def precision(recipe: TrainingRecipe, device: torch.device) -> Precision:
    """Of convolutions and products."""
    return precision_of(device) if recipe.precision == "auto" else recipe.precision


def captures(recipe: TrainingRecipe, group: ProcessGroup) -> bool:
    """Whether a CUDA graph may replay the step of a training.

    Gradients of several parts or processes come together between launches. A compiled or checkpointed network, LAMB
    and scaled losses decide on the host what to launch, from numbers that change with each step.
    """
    one_part = group.size == 1 and recipe.accumulation == 1
    decides = recipe.compile or recipe.checkpointing or recipe.optimizer == "lamb"
    return group.device.type == "cuda" and one_part and not decides and precision(recipe, group.device) != "fp16"


def laid_out(model: Spikformer, recipe: TrainingRecipe, group: ProcessGroup) -> Spikformer:
    """On its device, with the batch norms and the order of channels that the recipe wants; weights keep their names."""
    model.to(group.device)
    if recipe.sync_norm and group.size > 1:
        model = with_synchronised_norms(model, group.device)  # pyrefly: ignore[bad-assignment]  # the same model
    if recipe.channels_last:
        lay_out(model, torch.channels_last)
    return model


def wrapped(model: Spikformer, recipe: TrainingRecipe, group: ProcessGroup) -> nn.Module:
    """What is called while training, on the weights of `model`: checkpointed, compiled, in parallel."""
    if recipe.checkpointing:
        stem = model.config.stem
        example = torch.zeros(2, stem.in_channels, stem.image_size, stem.image_size, device=group.device)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        # Not compressed: spikes between blocks are sums in most networks, and one look does not tell.
        memopt.optimize_memory(model, (Block,), lambda m: m(example), level=1, compress=False)
        model.load_state_dict(before)  # looking has moved batch norm's statistics
    if recipe.compile:
        spiking.prepare(group.device)
    called: nn.Module = torch.compile(model) if recipe.compile else model  # pyrefly: ignore[bad-assignment]
    return in_parallel(called, group, same_buffers=recipe.sync_norm)


def uncompiled(recipe: TrainingRecipe) -> AbstractContextManager[object]:
    """Within, what `wrapped` has compiled runs as it is written."""
    return torch.compiler.set_stance("force_eager") if recipe.compile else nullcontext()


def optimizer_of(model: nn.Module, recipe: TrainingRecipe) -> torch.optim.Optimizer:
    """The optimizer that a recipe names, without weight decay on biases, norms and other vectors."""
    if recipe.optimizer == "lamb":
        lamb: torch.optim.Optimizer = Lamb(
            parameter_groups(model, recipe.weight_decay),
            lr=recipe.learning_rate,
            betas=recipe.betas,
            eps=recipe.eps,
            weight_decay=0.0,
            trust_clip=recipe.trust_clip,
        )
        return lamb
    return adamw(model, recipe.weight_decay, recipe.betas, recipe.eps)


def schedule_of(recipe: TrainingRecipe, steps_an_epoch: int) -> Schedule:
    """The cosine of the published recipes, as timm has it; from the end of `epochs` on, the lowest rate."""
    return Schedule(
        peak=recipe.learning_rate,
        end=recipe.epochs * steps_an_epoch,
        warmup=recipe.warmup_epochs * steps_an_epoch,
        initial=recipe.warmup_learning_rate,
        least=recipe.min_learning_rate,
    )


def average_of(model: Spikformer, recipe: TrainingRecipe) -> ModelEmaV3 | None:
    """timm's moving average of weights and statistics."""
    return ModelEmaV3(model, recipe.ema_decay, use_warmup=True) if recipe.ema_decay > 0 else None


__all__ = [
    "average_of",
    "captures",
    "laid_out",
    "optimizer_of",
    "precision",
    "schedule_of",
    "uncompiled",
    "wrapped",
]
