"""Images and frames of events that stay in memory, where a training needs no reader.

Without RandAugment and colour jitter, and with crops of the whole image, all that a CIFAR recipe does to a pixel is to
mirror the image and to erase a part of it: the device does both for a whole batch at once. Frames are moved about on
the device too (`nas.full_training.frames`).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nas.bundles import TrainingRecipe
from nas.datasets import FrameImages, InMemory, LabelledImages, UnreadableError, decoding
from spikformer.config import StemConfig

_LARGEST_GB = 1.0
_LARGEST_FRAMES_GB = 8.0  # CIFAR10-DVS at 128 pixels and T = 16 has 4.7
_MIRRORED = 1  # beside the seed and the epoch: the order of an epoch is drawn from these two alone

Gather = Callable[[list[int]], tuple[Tensor, Tensor]]
"""Numbers of images to these, [B, ...], and their labels [B]."""


class Resident:
    """Images [n, C, H, W], uint8, and their labels [n] on the device.

    Which images of an epoch are mirrored follows from seed, epoch and the image's number, as for images that are read.
    """

    def __init__(self, pixels: Tensor, labels: Tensor, recipe: TrainingRecipe) -> None:
        self._pixels, self._labels, self._recipe = pixels, labels, recipe

    def gathering(self, epoch: int) -> Gather:
        """What gives the images of an epoch by their numbers."""
        draws = np.random.default_rng([self._recipe.seed, epoch, _MIRRORED]).random(len(self._labels))
        mirrored = torch.from_numpy(draws < self._recipe.flip).to(self._pixels.device)
        return lambda numbers: self._batch(self._on_device(numbers), mirrored)

    def _on_device(self, numbers: list[int]) -> Tensor:
        return torch.tensor(numbers).to(self._pixels.device, non_blocking=True)

    def _batch(self, chosen: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
        images = self._pixels[chosen]
        return torch.where(mirrored[chosen, None, None, None], images.flip(3), images), self._labels[chosen]


class ResidentFrames:
    """Frames [n, T, C, H, W], uint8, and their labels [n]: on the device if they fit, else in the host's memory."""

    def __init__(self, images: FrameImages, device: torch.device) -> None:
        place = device if images.frames.nbytes <= 1e9 * _LARGEST_FRAMES_GB else torch.device("cpu")
        self._frames, self._labels = images.frames.to(place), torch.from_numpy(images.labels).to(place)

    def gathering(self, _epoch: int) -> Gather:
        """What gives frames by their numbers; they are moved about elsewhere."""
        return self.batch

    def batch(self, numbers: list[int]) -> tuple[Tensor, Tensor]:
        """Frames [B, T, C, H, W] and labels [B]."""
        chosen = torch.tensor(numbers, device=self._labels.device)
        return self._frames[chosen], self._labels[chosen]


def resident_of(
    images: LabelledImages, recipe: TrainingRecipe, stem: StemConfig, device: torch.device
) -> Resident | ResidentFrames | None:
    """The images on the device, or frames; None where they have to be read: for the recipe, or for their size."""
    if isinstance(images, FrameImages):
        return ResidentFrames(images, device)
    whole = recipe.crop_scale == recipe.crop_ratio == (1.0, 1.0)
    if recipe.rand_augment or recipe.color_jitter or not whole:
        return None
    size_gb = len(images) * stem.in_channels * stem.image_size**2 / 1e9
    if size_gb > _LARGEST_GB:
        return None
    pixels = _pixels(images, stem)
    if pixels is None:
        return None
    channels_first = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return Resident(channels_first.to(device), torch.from_numpy(images.labels).to(device), recipe)


def _pixels(images: LabelledImages, stem: StemConfig) -> npt.NDArray[np.uint8] | None:
    """[n, H, W, C]; None where an image has another size, or is damaged: readers say which."""
    size = (stem.image_size, stem.image_size)
    mode = decoding.mode_of(stem.in_channels)
    if isinstance(images, InMemory) and images.images.shape[1:] == (*size, stem.in_channels):
        return images.images
    pixels = np.empty((len(images), *size, stem.in_channels), dtype=np.uint8)

    def decode(i: int) -> bool:
        try:
            image = decoding.opened(images.content(i))
            if image.size != size:
                return False
            pixels[i] = np.array(decoding.decoded(image, mode)).reshape(pixels.shape[1:])
        except (UnreadableError, OSError):
            return False
        return True

    return pixels if all(map(decode, range(len(images)))) else None  # the first photograph ends it


__all__ = ["Gather", "Resident", "ResidentFrames", "resident_of"]
