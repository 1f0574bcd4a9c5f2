"""What every reader of image files agrees on: which files are images, and what of an image is shown."""

from pathlib import PurePath

from PIL import ExifTags, Image, ImageOps

# torchvision's, and what else Pillow reads wherever it is installed. Of a GIF the first frame is the image.
IMAGE_SUFFIXES = tuple(".jpg .jpeg .jpe .jfif .png .gif .ppm .pgm .pbm .pnm .bmp .tif .tiff .webp".split())
_MAC = "__MACOSX"  # beside the files of an archive that was packed on a Mac
_BACKGROUND = (255, 255, 255, 255)
_TURNS_IN = ("exif", "xmp", "XML:com.adobe.xmp")  # where Pillow keeps what may say that an image is to be turned


def is_hidden(name: str) -> bool:
    """Whether a file or a folder is no data: its name begins with a dot, or is `__MACOSX`."""
    return name.startswith(".") or name == _MAC


def is_within_hidden(path: PurePath) -> bool:
    """Whether any part of a relative path is hidden."""
    return any(map(is_hidden, path.parts))


def upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF says it was held; decoded only where it has to be turned.

    Raises:
        OSError, ValueError, SyntaxError: it is damaged.
    """
    if not any(key in image.info for key in _TURNS_IN):
        return image
    turned = image.getexif().get(ExifTags.Base.Orientation, 1)
    return ImageOps.exif_transpose(image) if turned in range(2, 9) else image


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


__all__ = ["IMAGE_SUFFIXES", "is_hidden", "is_transparent", "is_within_hidden", "opaque", "upright"]
