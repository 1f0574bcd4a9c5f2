"""The one training loop."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.data import Split
from nas.space import Recipe

EVALUATION_BATCH = 256
_BATCH_NORM_MOMENTUM = 0.1  # torch's default


class DivergedError(Exception):
    """The training loss is no longer finite."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the train split.

    Attributes:
        loss: mean training loss, label smoothing included.
        accuracy: share of augmented training images that were classified rightly while training.
    """

    loss: float
    accuracy: float


def fit(
    model: nn.Module,
    train: Split,
    recipe: Recipe,
    seed: int,
    on_epoch: Callable[[int, Epoch], None] = lambda _i, _epoch: None,
) -> list[Epoch]:
    """Train `model` in place on images of its device; leaves it in training mode.

    Args:
        seed: of the order of images and of augmentation.
        on_epoch: called after each epoch with its number, from 1, and what it measured.

    Returns:
        One entry an epoch.

    Raises:
        DivergedError: the loss became infinite or undefined.
    """
    device = train.labels.device
    random = torch.Generator(device).manual_seed(seed)
    normalise = Normalise(train)
    batch = min(recipe.batch_size, len(train))
    steps_per_epoch = images_an_epoch(len(train), recipe) // batch
    optimizer = torch.optim.AdamW(_groups(model, recipe.weight_decay), lr=recipe.learning_rate, fused=True)
    rate = _schedule(recipe.epochs * steps_per_epoch, recipe.warmup)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    history: list[Epoch] = []
    model.train()
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(train), generator=random, device=device)[: steps_per_epoch * batch]
        loss_sum, right = torch.zeros((), device=device), torch.zeros((), device=device)
        for step, chosen in enumerate(order.split(batch), start=epoch * steps_per_epoch):
            _set_momentum(norms, step)
            images, labels = augment(train.images, chosen, recipe.augment, random), train.labels[chosen]
            logits = model(normalise(images))
            loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += loss.detach()
            right += (logits.detach().argmax(1) == labels).sum()
        history.append(Epoch((loss_sum / steps_per_epoch).item(), (right / len(order)).item()))
        if not math.isfinite(history[-1].loss):
            raise DivergedError(f"the training loss is {history[-1].loss} in epoch {epoch + 1}")
        on_epoch(epoch + 1, history[-1])
    return history


def images_an_epoch(images: int, recipe: Recipe) -> int:
    """How many of the train split's `images` one epoch sees: as many as fill whole batches."""
    batch = min(recipe.batch_size, images)
    return images // batch * batch


def accuracy(model: nn.Module, split: Split, normalise: "Normalise") -> float:
    """Share of images whose largest logit is their class; evaluates in eval mode."""
    model.eval()
    right = torch.zeros((), device=split.labels.device)
    with torch.no_grad():
        for images, labels in batches(split):
            right += (model(normalise(images)).argmax(1) == labels).sum()
    return right.item() / len(split)


def batches(split: Split, size: int = EVALUATION_BATCH) -> list[tuple[Tensor, Tensor]]:
    """All images in order, `size` at a time."""
    return list(zip(split.images.split(size), split.labels.split(size), strict=True))


class Normalise:
    """uint8 images to floats of mean 0 and deviation 1 a channel, as measured on the train split."""

    def __init__(self, train: Split) -> None:
        # From whole-number histograms: the same to the last bit on any device and number of threads.
        levels = torch.arange(256, dtype=torch.float64)
        counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in train.images.unbind(1)])
        share = counts.cpu() / counts.cpu().sum(1, keepdim=True)
        mean = (share * levels).sum(1)
        deviation = (share * (levels - mean[:, None]) ** 2).sum(1).sqrt().clamp(min=1.0)
        device = train.images.device
        self.mean = mean.float().to(device)[:, None, None]
        self.deviation = deviation.float().to(device)[:, None, None]

    def __call__(self, images: Tensor) -> Tensor:
        return (images.float() - self.mean) / self.deviation


def augment(images: Tensor, chosen: Tensor, kind: str, random: torch.Generator) -> Tensor:
    """The chosen images, each shifted and mirrored on its own, in one gather of fixed shape.

    Args:
        images: [n, C, H, W], uint8; pixels beyond the border repeat it.
        chosen: [B], indices into `images`.
        kind: of `Recipe.augment`.

    Returns:
        [B, C, H, W], uint8.
    """
    if kind == "none":
        return images[chosen]
    device, size, count = images.device, images.shape[-1], len(chosen)
    reach = max(1, size // (8 if kind == "shift_flip" else 16))
    shift = torch.randint(-reach, reach + 1, (2, count, 1), generator=random, device=device)
    rows = (torch.arange(images.shape[-2], device=device) + shift[0]).clamp(0, images.shape[-2] - 1)
    columns = (torch.arange(size, device=device) + shift[1]).clamp(0, size - 1)
    if kind == "shift_flip":
        mirrored = torch.rand(count, 1, generator=random, device=device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    channels = torch.arange(images.shape[1], device=device)[None, :, None, None]
    return images[chosen[:, None, None, None], channels, rows[:, None, :, None], columns[:, None, None, :]]


def _set_momentum(norms: list[nn.BatchNorm2d], step: int) -> None:
    """Running statistics as a plain mean of the first ten batches, then torch's moving average.

    torch's alone keeps a share of its start, variance 1, for a hundred steps. Small weights give
    variances of 1e-4: a network after a short training would be silent in eval mode.
    """
    if step <= 1 / _BATCH_NORM_MOMENTUM:
        for norm in norms:
            norm.momentum = max(_BATCH_NORM_MOMENTUM, 1 / (step + 1))


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for weights of convolutions and linear layers; none for biases, batch norm, time constants."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _schedule(steps: int, warmup: float) -> Callable[[int], float]:
    """Factor on the learning rate at a step: linear rise, then a cosine to zero."""
    rise = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    return factor


__all__ = ["DivergedError", "Epoch", "Normalise", "accuracy", "augment", "batches", "fit", "images_an_epoch"]
