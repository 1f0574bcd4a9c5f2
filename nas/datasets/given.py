"""Images that were given in Python, read once into uint8, and kept in the cache under the hash of their content.

Whoever needs them later reads that file: another process has neither the user's data set nor the code that made it.
"""

import contextlib
import json
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from nas import files
from nas.datasets import fitting
from nas.datasets.data_account import DETAILS
from nas.datasets.images import Images, MapStyle
from nas.datasets.shards import OnScan
from nas.datasets.splits import Split
from nas.errors import DataError, OutputError
from spikformer.config import StemConfig

_READ_TWICE = 8  # images of each part: those that were changed at random would hardly all be equal
_LABELS = "Number the classes from 0 on, without gaps"
_CHANNELS = (1, 3, 4)  # grey, colour, and colour with transparency


@dataclass(frozen=True)
class Given:
    """Images as a network is shown them.

    Attributes:
        parts: "train", and "val" and "report_val" where they were given.
        classes: names, in the order of the labels.
        details: see `nas.datasets.data_account.DETAILS`; of all parts.
    """

    parts: dict[str, Split]
    classes: tuple[str, ...]
    details: Tensor

    def content(self) -> Iterator[bytes]:
        """Images and labels, to be hashed. Parts are named: the same images may rank networks, or only report."""
        for name, part in self.parts.items():
            yield b"" if name == "train" else name.encode()
            yield from part.content()


def read(images: Images, stem: StemConfig, on_progress: OnScan) -> Given:
    """All images and labels, each data set read once.

    Raises:
        DataError: an item, an image or a label that is none, or a class without images to train on.
    """
    parts, details = {}, []
    for name, dataset in images.parts().items():
        parts[name], detail = _part(name, dataset, stem, on_progress)
        details.append(detail)
        _check_steady(name, dataset, parts[name], stem)
    return Given(parts, _classes(images, parts), torch.cat(details))


def cached(fingerprint: str) -> Given | None:
    """Those that a search kept; None where they are not there, or damaged."""
    try:
        with safetensors.safe_open(_path(fingerprint), "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # it is no dictionary
            classes = tuple(json.loads(file.metadata()["classes"]))
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError):
        return None
    names = [name for name in ("train", "val", "report_val") if f"{name}.images" in tensors]
    parts = {name: Split(tensors[f"{name}.images"], tensors[f"{name}.labels"]) for name in names}
    return Given(parts, classes, tensors["details"])


def keep(given: Given, fingerprint: str) -> None:
    """Write them into the cache. One that cannot be written costs giving them again."""
    tensors = {"details": given.details}
    for name, part in given.parts.items():
        tensors |= {f"{name}.images": part.images.contiguous(), f"{name}.labels": part.labels}
    metadata = {"classes": json.dumps(given.classes)}
    with contextlib.suppress(OutputError, safetensors.SafetensorError):
        files.write(_path(fingerprint), lambda partial: safetensors.torch.save_file(tensors, partial, metadata))


def gone(fingerprint: str, study: str) -> DataError:
    """The error that the images of a study are neither given nor in the cache."""
    return DataError(
        f"study {study} was searched on images that were given in Python ({fingerprint}). They are not in the cache "
        f"({_path(fingerprint)}). Give them again in Python, as data=nas.Images(...)"
    )


def _path(fingerprint: str) -> Path:
    return files.cache_folder() / f"given-{fingerprint}.safetensors"


def _part(name: str, dataset: MapStyle, stem: StemConfig, on_progress: OnScan) -> tuple[Split, Tensor]:
    total = len(dataset)
    images = torch.empty(total, stem.in_channels, stem.image_size, stem.image_size, dtype=torch.uint8)
    labels = torch.empty(total, dtype=torch.int64)
    details = torch.empty(total, len(DETAILS), dtype=torch.int32)
    for i in range(total):
        images[i], labels[i], detail = _item(dataset, i, f"{name}, image {i}", stem)
        details[i] = torch.tensor(detail)
        if i % 500 == 499 or i + 1 == total:
            on_progress(f"reading {name}", i + 1, total)
    return Split(images, labels), details


def _item(dataset: MapStyle, i: int, place: str, stem: StemConfig) -> tuple[Tensor, int, list[int]]:
    item = dataset[i]
    if not (isinstance(item, (tuple, list)) and len(item) == 2):
        raise DataError(f"{place}: the data set gives a {type(item).__name__}, not a pair (image, label). Give pairs")
    try:
        pixels, detail = fitting.shown(_picture(item[0], place), stem)
    except fitting.ERRORS as error:
        raise DataError(f"{place} is not a readable image ({error}). Replace it or leave it out") from None
    return pixels, _label(item[1], place), detail


def _picture(image: object, place: str) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, Tensor):
        pixels = (image.float() if image.is_floating_point() else image).detach().cpu().numpy()
        order, array = "[C, H, W]", np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels
    elif isinstance(image, np.ndarray):
        order, array = "[H, W, C]", image
    else:
        raise DataError(f"{place} is a {type(image).__name__}. Give a PIL image, a tensor or a numpy array")
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in _CHANNELS):
        raise DataError(
            f"{place} has the shape {list(image.shape)}. A {type(image).__name__} must be {order} or [H, W], with 1, 3 "
            "or 4 channels"
        )
    grey = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    return Image.fromarray(np.ascontiguousarray(_bytes(grey, place)))


def _bytes(array: npt.NDArray[np.generic], place: str) -> npt.NDArray[np.uint8]:
    """As uint8: floats by one rule, round(255 x)."""
    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    if not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"{place} has values of type {array.dtype}. Convert it to uint8, or to floats from 0 to 1")
    levels = np.rint(255 * array.astype(np.float32))
    if not ((levels >= 0) & (levels <= 255)).all():  # what is no number is neither
        raise DataError(
            f"{place} has floats from {array.min():g} to {array.max():g}. They must be from 0 to 1, and become uint8 "
            "as round(255 x). Remove the normalisation, as a search normalises images itself, or give uint8"
        )
    return levels.astype(np.uint8)


def _label(label: object, place: str) -> int:
    try:
        if isinstance(label, bool | np.bool_):
            raise TypeError
        number = operator.index(label)  # pyrefly: ignore[bad-argument-type]  # which is what it finds out
    except TypeError:
        raise DataError(f"{place}: the label {label!r} is not a whole number. {_LABELS}") from None
    if not 0 <= number < 2**31:
        raise DataError(f"{place}: the label {number} is not a class. {_LABELS}")
    return number


def _check_steady(name: str, dataset: MapStyle, part: Split, stem: StemConfig) -> None:
    for i in range(min(_READ_TWICE, len(part))):
        again, _, _ = _item(dataset, i, f"{name}, image {i}", stem)
        if not torch.equal(again, part.images[i]):
            raise DataError(
                f"{name}, image {i} differs when it is read twice. Leave random augmentation out of the data set: a "
                "search reads images once, and augments them itself ([proxy] augment)"
            )


def _classes(images: Images, parts: dict[str, Split]) -> tuple[str, ...]:
    """Names that the user gave, or the data set has, or the labels."""
    given = images.classes or getattr(images.train, "classes", ())
    present = sorted({int(label) for part in parts.values() for label in part.labels.unique()})
    named = tuple(map(str, given)) if isinstance(given, Iterable) else ()
    if named and present[-1] >= len(named):
        raise DataError(f"label {present[-1]} has no name: {len(named)} classes are named. Name all classes")
    trained = set(parts["train"].labels.tolist())
    missing = next((label for label in range(len(named) or present[-1] + 1) if label not in trained), None)
    if missing is not None:
        raise DataError(f"train has no image of class {named[missing] if named else missing}. {_LABELS}")
    return named or tuple(map(str, present))


__all__ = ["Given", "cached", "gone", "keep", "read"]
