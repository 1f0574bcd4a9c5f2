"""From pixels to what the network is shown: crop, flip, colours, RandAugment; and the centre crop of test images.

timm draws the crop and has all other operations. The crop is resized by torch, on the bytes: Pillow's filter and its
antialiasing, in a quarter of its time; most values are equal, and nearly all others differ by one level of 255.
"""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.auto_augment import rand_augment_transform
from torch.nn import functional

from nas.bundles import TrainingRecipe
from nas.datasets import Content, decoding
from nas.errors import TrainingError
from spikformer.config import StemConfig

Pixels = npt.NDArray[np.uint8]

Transform = Callable[[Content], Pixels]
"""An image as it is kept to what the network is shown, [size, size, C]; raises `decoding.UnreadableError`."""


class TrainTransform:
    """Crop, flip, colours and RandAugment, drawn from the generators of random, numpy and torch.

    Raises:
        TrainingError: words that timm's RandAugment does not know.
    """

    def __init__(self, recipe: TrainingRecipe, stem: StemConfig) -> None:
        steps: Any = create_transform(
            stem.image_size,
            is_training=True,
            use_prefetcher=True,  # stop at uint8
            scale=recipe.crop_scale,
            ratio=recipe.crop_ratio,
            hflip=recipe.flip,
            color_jitter=recipe.color_jitter or None,  # None is its word for none
            interpolation=recipe.interpolation,
        )
        self._crop, *self._others, _to_tensor = steps.transforms
        if recipe.rand_augment:
            self._others.append(_rand_augment(recipe, stem))
        self._size, self._mode, self._recipe = stem.image_size, decoding.mode_of(stem.in_channels), recipe

    def __call__(self, content: Content) -> Pixels:
        """The augmented image, [size, size, C]."""
        image = decoding.opened(content)
        top, left, height, width = self._crop.get_params(image, self._crop.scale, self._crop.ratio)
        divisor = decoding.reduced(image, (height, width), self._size) if self._recipe.draft else 1
        # Rounded half up, which leaves a crop of at least `divisor` times the network's size at least that size.
        corners = ((place + divisor // 2) // divisor for place in (left, top, left + width, top + height))
        crop = np.array(decoding.decoded(image, self._mode).crop(tuple(corners)))
        return _through(self._others, Image.fromarray(_resized(crop, self._size, self._recipe.interpolation)))


def _resized(crop: Pixels, size: int, interpolation: str) -> Pixels:
    if crop.shape[:2] == (size, size):
        return crop
    # Channels last is what torch's fast kernel takes, and what Pillow is given back.
    crop_CHW = torch.from_numpy(crop if crop.ndim == 3 else crop[:, :, None]).permute(2, 0, 1)
    together = crop_CHW[None].contiguous(memory_format=torch.channels_last)
    resized = functional.interpolate(together, (size, size), mode=interpolation, antialias=True)[0].permute(1, 2, 0)
    pixels: Pixels = resized.numpy()
    return pixels if crop.ndim == 3 else pixels[:, :, 0]


class TestTransform:
    """Resized and cropped about the centre, all by Pillow: published accuracies are of its pixels."""

    __test__ = False  # no test, whatever pytest thinks of the name

    def __init__(self, recipe: TrainingRecipe, stem: StemConfig) -> None:
        steps: Any = create_transform(
            stem.image_size, use_prefetcher=True, crop_pct=recipe.crop_pct, interpolation=recipe.interpolation
        )
        *self._pictorial, _to_tensor = steps.transforms
        self._mode = decoding.mode_of(stem.in_channels)

    def __call__(self, content: Content) -> Pixels:
        """Its centre, [size, size, C]."""
        return _through(self._pictorial, decoding.decoded(decoding.opened(content), self._mode))


def _rand_augment(recipe: TrainingRecipe, stem: StemConfig) -> Callable[[Image.Image], Image.Image]:
    fill = tuple(round(255 * level) for level in recipe.mean)
    settings = {
        "translate_const": int(0.45 * stem.image_size),
        "img_mean": fill if len(fill) == stem.in_channels == 3 else fill[:1] * stem.in_channels,
        "magnitude_max": 9.99,  # at 10, timm's Posterize keeps 0 bits, which Pillow refuses
        "interpolation": Image.Resampling[recipe.interpolation.upper()],
    }
    try:
        steps: Callable[[Image.Image], Image.Image] = rand_augment_transform(
            recipe.rand_augment, settings, list(recipe.rand_augment_ops) or None
        )
        return steps
    except (AssertionError, KeyError, ValueError) as error:
        words = f"rand_augment {recipe.rand_augment} with {', '.join(recipe.rand_augment_ops) or 'its own'}"
        raise TrainingError(f"{words} operations is unknown to timm: {error}. Use timm's names") from None


def _through(steps: list[Callable[[Image.Image], Image.Image]], shown: Image.Image) -> Pixels:
    for step in steps:
        shown = step(shown)
    levels = np.asarray(shown)
    return levels[:, :, None] if levels.ndim == 2 else levels


@contextlib.contextmanager
def generators_restored() -> Iterator[None]:
    """Afterwards the generators that transforms draw from are as before."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def seed(*words: int) -> None:
    """Seed all that transforms draw from."""
    number = int(np.random.SeedSequence(words).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)
    torch.default_generator.manual_seed(number)


__all__ = ["Pixels", "TestTransform", "TrainTransform", "Transform", "generators_restored", "seed"]
