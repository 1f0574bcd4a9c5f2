"""What every reader of image files agrees on: which files are images, and what of an image is shown."""

from collections import Counter
from pathlib import PurePath

from PIL import ExifTags, Image, ImageOps

# torchvision's, and what else Pillow reads wherever it is installed. Of a GIF the first frame is the image.
IMAGE_SUFFIXES = tuple(".jpg .jpeg .jpe .jfif .png .gif .ppm .pgm .pbm .pnm .bmp .tif .tiff .webp".split())
HIDDEN, BESIDE, BROKEN = "hidden", "beside the class folders", "broken links"
AGAIN = "links to folders that were read already"
_NO_SUFFIX = "without suffix"
_REASONS = 8  # that are told
_MAC = "__MACOSX"  # beside the files of an archive that was packed on a Mac
_BACKGROUND = (255, 255, 255, 255)
_TURNS_IN = ("exif", "xmp", "XML:com.adobe.xmp")  # where Pillow keeps what may say that an image is to be turned


def is_hidden(name: str) -> bool:
    """Whether a file or a folder is no data: its name begins with a dot, or is `__MACOSX`."""
    return name.startswith(".") or name == _MAC


def is_within_hidden(path: PurePath) -> bool:
    """Whether any part of a relative path is hidden."""
    return any(map(is_hidden, path.parts))


def passed_over(name: str) -> str:
    """Why a file is not read as an image, for `in_words`."""
    return HIDDEN if is_hidden(name) else PurePath(name).suffix.lower() or _NO_SUFFIX


def in_words(passed: Counter[str]) -> list[str]:
    """A sentence on what was passed over, or none.

    Args:
        passed: how many files or folders, by reason: HIDDEN, BESIDE, BROKEN, AGAIN or a suffix.
    """
    passed = +passed
    if not passed:
        return []
    reasons = sorted(passed, key=lambda reason: (-passed[reason], reason))
    listed = ", ".join(f"{passed[reason]:,} {reason}" for reason in reasons[:_REASONS])
    more = sum(passed[reason] for reason in reasons[_REASONS:])
    return [f"Skipped: {listed}{f', {more:,} others' if more else ''}. Images end in {', '.join(IMAGE_SUFFIXES)}."]


def upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF says it was held; decoded only where it has to be turned.

    Raises:
        OSError, ValueError, SyntaxError: it is damaged.
    """
    return ImageOps.exif_transpose(image) if is_turned(image) else image


def is_turned(image: Image.Image) -> bool:
    """Whether its EXIF says that it was held otherwise than it is stored."""
    if not any(key in image.info for key in _TURNS_IN):
        return False
    return image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)


def is_transparent(image: Image.Image) -> bool:
    """Whether parts of it may be transparent. True of any image with such a channel, opaque as it may be."""
    return image.has_transparency_data


def opaque(image: Image.Image, mode: str) -> Image.Image:
    """The image in a mode, "RGB" or "L", on white where it is transparent.

    What a file keeps below transparent pixels is arbitrary, often black. White is what most pictures with a
    transparent background were drawn for, and what a browser shows behind them.

    Raises:
        OSError, ValueError, SyntaxError: it is damaged.
    """
    image.load()
    if is_transparent(image):
        image = Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), image.convert("RGBA"))
    return image if image.mode == mode else image.convert(mode)


__all__ = [
    "AGAIN",
    "BESIDE",
    "BROKEN",
    "HIDDEN",
    "IMAGE_SUFFIXES",
    "in_words",
    "is_hidden",
    "is_transparent",
    "is_turned",
    "is_within_hidden",
    "opaque",
    "passed_over",
    "upright",
]
