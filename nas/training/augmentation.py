"""Images as a network is shown them: normalised, and moved about while training."""

import dataclasses

import torch
from torch import Tensor

from nas.datasets import Split, is_grey
from nas.settings import Recipe


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


def settled(recipe: Recipe, train: Split) -> Recipe:
    """The recipe with "auto" replaced by what it means for these images."""
    if recipe.augment != "auto":
        return recipe
    return dataclasses.replace(recipe, augment="shift" if is_grey(train.images) else "shift_flip")


def augment(images: Tensor, chosen: Tensor, kind: str, random: torch.Generator) -> Tensor:
    """The chosen images, each shifted and mirrored on its own, in one gather of fixed shape.

    Args:
        images: [n, C, H, W], uint8; pixels beyond the border repeat it.
        chosen: [B], indices into `images`.
        kind: of `Recipe.augment`, once it is settled.

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


__all__ = ["Normalise", "augment", "settled"]
