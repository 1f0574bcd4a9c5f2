"""An image as a network of a search is shown it: upright, on white, of the size and channels that its stem takes."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nas.datasets import pictures
from spikformer.config import StemConfig

ERRORS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What a damaged image raises."""


def shown(image: Image.Image, stem: StemConfig) -> tuple[Tensor, list[int]]:
    """Its pixels, [C, H, W], uint8, and its details (`nas.datasets.data_account.DETAILS`).

    Raises:
        OSError, ValueError, SyntaxError, DecompressionBombError: it is damaged, or has more than 8 bits per channel.
    """
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"mode {image.mode}: more than 8 bits per channel. Convert it to 8 bits")
    turned, grey = pictures.is_turned(image), image.mode in ("1", "L", "LA")
    upright = pictures.upright(image)
    pixels = np.array(pictures.opaque(upright, "L" if stem.in_channels == 1 else "RGB"))
    detail = [upright.height, upright.width, grey, pictures.is_transparent(upright), turned]
    return fit(torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1), stem), detail


def fit(images: Tensor, stem: StemConfig) -> Tensor:
    """Images of any size, [..., C, H, W], to the size and channels that the stem takes: resized, centre cut."""
    if images.shape[-3:] == (stem.in_channels, stem.image_size, stem.image_size):
        return images
    from torchvision.transforms.v2 import functional as tv  # slow to import

    if images.shape[-3] != stem.in_channels:
        images = tv.rgb_to_grayscale(images) if stem.in_channels == 1 else tv.grayscale_to_rgb(images)
    if images.shape[-2:] == (stem.image_size, stem.image_size):
        return images
    return tv.center_crop(tv.resize(images, [stem.image_size], antialias=True), [stem.image_size])


__all__ = ["ERRORS", "fit", "shown"]
