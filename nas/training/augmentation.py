"""Images and frames as a network is shown them: normalised or as they were counted, and moved about while training."""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.datasets import Split, is_grey
from nas.errors import SpaceError
from nas.settings import Recipe
from nas.training import event_moves
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.model import Spikformer
from spikformer.operands import REAL, Operand


class Normalise:
    """uint8 images to floats of mean 0 and deviation 1 a channel, as measured on the train split.

    Attributes:
        fed: class of the numbers that the network is fed; None for what its stem declares, real numbers.
    """

    fed: Operand | None = None

    def __init__(self, train: Split) -> None:
        assert train.time_steps is None, "frames of events are not normalised"
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


class EventFrames:
    """uint8 frames of events to what a network takes: counts as they are, time first.

    A network of three channels is fed both polarities and their sum, as SpikingResformer is (Shi et al., CVPR 2024).
    Frames of another size than the network's are resized, which makes real numbers of counts.

    Args:
        side: of the frames, in pixels.

    Attributes:
        fed: class of the numbers that the network is fed: counts, or real numbers.

    Raises:
        ConfigError: a stem of neither two nor three channels.
    """

    def __init__(self, config: SpikformerConfig, side: int) -> None:
        self._channels, self._size = config.stem.in_channels, config.stem.image_size
        self.fed: Operand | None = Operand("count") if side == self._size else REAL
        if self._channels not in (2, 3):
            raise ConfigError(
                f"stem.in_channels {self._channels} does not fit frames of events. Use 2, a channel for each polarity, "
                "or 3, with their sum",
                ("stem.in_channels",),
            )

    def __call__(self, frames: Tensor) -> Tensor:
        """[B, T, 2, side, side], uint8, to [T, B, 2 or 3, H, W], float32."""
        counts_TBCHW = frames.transpose(0, 1).float()
        if frames.shape[-1] != self._size:
            resized = F.interpolate(
                counts_TBCHW.flatten(0, 1), (self._size, self._size), mode="bilinear", antialias=True
            )
            counts_TBCHW = resized.unflatten(0, counts_TBCHW.shape[:2])
        if self._channels == 2:
            return counts_TBCHW
        return torch.cat([counts_TBCHW, counts_TBCHW.sum(2, keepdim=True)], 2)


NetworkInput = Normalise | EventFrames


def network_input(train: Split, model: nn.Module) -> NetworkInput:
    """What turns images or frames of any split into the input of a network, on their device.

    Args:
        train: split by which images are normalised.
        model: a `Spikformer` where the split holds frames.

    Raises:
        ConfigError: see `EventFrames`.
    """
    if train.time_steps is None:
        return Normalise(train)
    assert isinstance(model, Spikformer)
    frames, steps = train.time_steps, model.config.time_steps
    assert frames == steps, f"recordings are cut into {frames} frames, but the network has T = {steps}"
    return EventFrames(model.config, train.images.shape[-1])


def settled(recipe: Recipe, train: Split) -> Recipe:
    """The recipe with "auto" replaced by what it means for these images.

    Raises:
        SpaceError: an augmentation of frames, but the split holds images.
    """
    if train.time_steps is None and recipe.augment in event_moves.KINDS:
        raise SpaceError(
            f'[proxy] augment "{recipe.augment}" moves frames of events, but the data set has images. Use "shift", '
            '"shift_flip" or "auto"'
        )
    if recipe.augment != "auto":
        return recipe
    mirrors = train.time_steps is None and not is_grey(train.images)
    return dataclasses.replace(recipe, augment="shift_flip" if mirrors else "shift")


def augment(images: Tensor, chosen: Tensor, kind: str, random: torch.Generator) -> Tensor:
    """The chosen images, each shifted and mirrored on its own, in one gather of fixed shape.

    Args:
        images: [n, C, H, W], uint8; pixels beyond the border repeat it. Or frames (`event_moves.moved`).
        chosen: [B], indices into `images`.
        kind: of `Recipe.augment`, once it is settled.

    Returns:
        [B, C, H, W], uint8; or frames [B, T, C, H, W].
    """
    if kind == "none":
        return images[chosen]
    if images.dim() == 5:
        return event_moves.moved(images[chosen], kind, random)
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


__all__ = ["EventFrames", "NetworkInput", "Normalise", "augment", "network_input", "settled"]
