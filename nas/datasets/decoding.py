"""The pixels of an image file.

Pillow decodes. torchvision's `decode_jpeg` gives the same pixels an eighth sooner, but has been deprecated since
torchvision 0.29 and will be removed.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from nas.datasets import pictures

Content = bytes | npt.NDArray[np.uint8]
"""What an image is kept as: its file, or pixels [H, W, C] or [H, W]."""


class UnreadableError(Exception):
    """An image is damaged, or has more than 8 bits per channel; the text says which."""


def mode_of(channels: int) -> str:
    """Pillow's word for what a network of so many channels is shown."""
    return "L" if channels == 1 else "RGB"


def opened(content: Content) -> Image.Image:
    """The image with its size and mode, upright; not decoded yet where it is a file that need not be turned.

    Raises:
        UnreadableError: it is no image.
    """
    try:
        image = Image.open(io.BytesIO(content)) if isinstance(content, bytes) else Image.fromarray(content)
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"mode {image.mode}: more than 8 bits per channel")
        return pictures.upright(image)
    except _ERRORS as error:
        raise UnreadableError(str(error)) from None


def decoded(image: Image.Image, mode: str) -> Image.Image:
    """The pixels in a mode, on white where they are transparent.

    Args:
        mode: "RGB" or "L", grey.

    Raises:
        UnreadableError: it is damaged.
    """
    try:
        return pictures.opaque(image, mode)
    except _ERRORS as error:
        raise UnreadableError(str(error)) from None


_ERRORS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # what Pillow raises for damaged files


def reduced(image: Image.Image, crop: tuple[int, int], smallest: int) -> int:
    """Let a JPEG be decoded at a half, a quarter or an eighth of its size, as small as leaves the crop large enough.

    Args:
        image: not decoded yet; changed.
        crop: its height and width, in pixels.
        smallest: the least that both may become.

    Returns:
        By how much sizes and places are divided: 1 for a small crop, and for other files than JPEGs.
    """
    divisor = max((by for by in (2, 4, 8) if min(crop) >= by * smallest), default=1)
    if divisor == 1 or image.format != "JPEG":
        return 1
    image.draft(image.mode, (image.width // divisor, image.height // divisor))
    return divisor


__all__ = ["Content", "UnreadableError", "decoded", "mode_of", "opened", "reduced"]
