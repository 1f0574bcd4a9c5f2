"""The images of a search as uint8 tensors, in the three parts that `nas.datasets.splits` cuts; or its frames of events.

Test images are not opened here at all.
"""

import contextlib
import hashlib
import io
import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from nas import files
from nas.datasets import cifar, class_folders, digits, event_loading, fitting, given, splits
from nas.datasets.class_names import CIFAR10_CLASSES, CIFAR100_CLASSES
from nas.datasets.data_account import DETAILS, account
from nas.datasets.images import GIVEN, Images
from nas.datasets.parts import Splits
from nas.datasets.shards import Shards, has_shards, read_parts
from nas.datasets.splits import Cut, Split, subset
from nas.errors import DataError, OutputError
from nas.settings import DataSettings
from nas.spaces import SearchSpace
from spikformer.config import SpikformerConfig, StemConfig

_CLASSES = {"cifar10": CIFAR10_CLASSES, "cifar100": CIFAR100_CLASSES, "digits": digits.CLASSES}
_FOLDERS = ("image_folder", GIVEN)  # data sets whose images lie wherever the user says
_CACHE_FORMAT = 2
_ANEW = "Leave --data-dir out to download it again, to the user's cache"

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class _Read:
    """What was found, before the cut.

    Attributes:
        validation: images that the user set apart to validate on.
        details: see `nas.datasets.data_account.DETAILS`; of both parts.
        passed: see `nas.datasets.pictures.in_words`.
    """

    source: Split
    validation: Split | None
    classes: tuple[str, ...]
    details: Tensor
    passed: Counter[str] = field(default_factory=Counter)


def load(
    space: SearchSpace,
    data_dir: str | Path | None = None,
    seed: int = 0,
    on_progress: OnProgress = lambda _what, _done, _total: None,
    *,
    images: Images | None = None,
    fingerprint: str | None = None,
) -> Splits:
    """The three splits of a space's data set, on the CPU.

    Args:
        data_dir: where the images are: a folder with `cifar-10-batches-py` (or `cifar-100-python`), one with
            `train/<class>/`, or one with shards `*train*.tar`. None takes the user's cache folder and downloads CIFAR
            into it. For recordings of events see `nas.events`.
        seed: of the cut.
        images: those that are given in Python, in place of the space's.
        fingerprint: of the images of a study, which a search may have kept in the cache if they were given in Python.

    Raises:
        DataError: images that are missing, damaged, too few to cut, or of other classes than the space says.
    """
    stem = SpikformerConfig.from_dict(space.base).stem
    if images is not None or (space.data.dataset == GIVEN and data_dir is None):
        return _given(space, stem, seed, on_progress, images, fingerprint)
    if space.data.has_events:
        loaded = event_loading.load(space, stem, data_dir, seed, on_progress)
        _check_classes(space, loaded.classes)
        return loaded
    read = _read(space.data, stem, data_dir, on_progress)
    _check_classes(space, read.classes)
    origin = space.data.dataset if data_dir is None else str(data_dir)
    train_images = space.recipe.train_images
    parts = splits.cut(read.source, read.validation, space.data, read.classes, origin, seed, train_images)
    content = itertools.chain.from_iterable(
        split.content() for split in (read.source, read.validation) if split is not None
    )
    return _splits(space, stem, parts, read, content)


def _splits(space: SearchSpace, stem: StemConfig, parts: Cut, read: _Read, content: Iterable[bytes]) -> Splits:
    digest = hashlib.sha256()
    for part in content:
        digest.update(part)
    if not parts.plain:
        digest.update(b"cut by copies and classes")  # a study whose images were cut otherwise must not go on with these
    sentences = account(parts, read.classes, read.details, read.passed, stem, space.recipe)
    return Splits(parts.train, parts.search_val, parts.report_val, read.classes, digest.hexdigest()[:12], sentences)


def _given(
    space: SearchSpace,
    stem: StemConfig,
    seed: int,
    on_progress: OnProgress,
    images: Images | None,
    fingerprint: str | None,
) -> Splits:
    """Those that were given in Python: now, or to the search that kept them in the cache."""
    if images is None and fingerprint is None:
        raise DataError(
            f'space {space.name}: [data] dataset is "{GIVEN}", but no images were given. Give images in Python: '
            "data=nas.Images(...)"
        )
    held = given.read(images, stem, on_progress) if images is not None else given.cached(fingerprint or "")
    if held is None:
        raise given.gone(fingerprint or "", space.name)
    _check_classes(space, held.classes)
    parts = splits.cut_given(held.parts, space.data, held.classes, seed, space.recipe.train_images)
    read = _Read(held.parts["train"], None, held.classes, held.details)
    result = _splits(space, stem, parts, read, held.content())
    if images is not None:
        given.keep(held, result.fingerprint)
    elif result.fingerprint != fingerprint:  # the file is damaged
        raise given.gone(fingerprint or "", space.name)
    return result


def _read(settings: DataSettings, stem: StemConfig, data_dir: str | Path | None, on_progress: OnProgress) -> _Read:
    if settings.dataset == "digits":
        if data_dir is not None:
            raise DataError(f"the digits come with scikit-learn and are in no folder. Leave --data-dir {data_dir} out")
        return _digits(stem)
    folder = None if data_dir is None else Path(data_dir)
    if folder is not None and not folder.is_dir():
        raise DataError(f"data folder {folder} does not exist. {_layouts(settings)}")
    if folder is not None and (folder / "train").is_dir():
        return _image_folder(folder, stem, on_progress)
    if folder is not None and has_shards(folder, "train"):
        return _shards(folder, stem, on_progress)
    if settings.dataset in _FOLDERS:
        where = (
            "no --data-dir was given"
            if folder is None
            else f"{folder} has neither train/<class>/ folders nor shards *train*.tar"
        )
        raise DataError(f"{where}. {_layouts(settings)}")
    return _cifar(settings, stem, folder, on_progress)


def _layouts(settings: DataSettings) -> str:
    remedy = "Give a folder with train/<class>/ and images in it, or with shards *train*.tar"
    if settings.dataset in _FOLDERS:
        return remedy
    return f"{remedy}, or one with {cifar.DATASETS[settings.dataset].folder}, or leave --data-dir out to download it"


def _digits(stem: StemConfig) -> _Read:
    pixels, labels = digits.images()
    return _at_once(torch.from_numpy(pixels)[:, None], torch.from_numpy(labels), digits.CLASSES, stem)


def _at_once(images: Tensor, labels: Tensor, classes: tuple[str, ...], stem: StemConfig) -> _Read:
    """Images of one size, [n, C, H, W]."""
    detail = torch.tensor([*images.shape[2:], images.shape[1] == 1, 0, 0])
    return _Read(Split(fitting.fit(images, stem), labels), None, classes, detail.expand(len(labels), -1))


def _cifar(settings: DataSettings, stem: StemConfig, folder: Path | None, on_progress: OnProgress) -> _Read:
    source = cifar.DATASETS[settings.dataset]
    root = folder or files.cache_folder()
    if root.name == source.folder:
        root = root.parent
    batches = root / source.folder
    if folder is None:
        remedy = f"Delete {batches} and run the same command again"
        cifar.download(source, root, _layouts(settings), on_progress)
    elif batches.is_dir():
        remedy = _ANEW
    else:
        raise DataError(f"{folder} holds neither {source.folder} nor train/<class>/. {_layouts(settings)}")
    pixels, labels = cifar.read(source, batches, "train", remedy)
    return _at_once(torch.from_numpy(pixels), torch.from_numpy(labels), source.classes, stem)


def _image_folder(folder: Path, stem: StemConfig, on_progress: OnProgress) -> _Read:
    """`train/<class>/`. `test/`, else `val/`, is sealed; with both, `val/` is there to validate on."""
    passed: Counter[str] = Counter()
    classes, train = _listing(folder / "train", passed)
    validation: list[tuple[Path, int]] = []
    if (folder / "val").is_dir() and (folder / "test").is_dir():
        validation_classes, validation = _listing(folder / "val", passed)
        if validation_classes != classes:
            raise DataError(f"{folder}: val/ has classes {validation_classes}, train/ has {classes}. Make them equal")
    listed = [_File(str(path), label, path) for path, label in train + validation]
    whole, details = _decoded(listed, _cached(train + validation, stem), stem, on_progress)
    return _parted(whole, len(train), classes, details, passed)


def _shards(folder: Path, stem: StemConfig, on_progress: OnProgress) -> _Read:
    """Shards `*train*.tar`. Those of `test`, else of `val`, are sealed; with both, `val` is there to validate on.

    Images are ordered by label and key, so that how they are spread over shards makes no difference.
    """
    parts = ("train", "val") if has_shards(folder, "val") and has_shards(folder, "test") else ("train",)
    held, classes, passed = read_parts(folder, parts, on_progress)
    listed = [file for part in parts for file in _in_order(held[part])]
    marked = [path for part in parts for path in held[part].shards] + [*folder.glob("classes.txt")]
    cached = _cached([(path, 0) for path in marked], stem)
    whole, details = _decoded(listed, cached, stem, on_progress)
    for label, name in enumerate(classes):
        if not (whole.labels[: len(held["train"])] == label).any():
            raise DataError(
                f"{folder}: no images of class {name} in its train shards. Add images or correct classes.txt"
            )
    return _parted(whole, len(held["train"]), classes, details, passed)


def _in_order(shards: Shards) -> list["_File"]:
    order = np.lexsort((shards.keys, shards.labels)).tolist()
    return [_File(shards.name(i), int(shards.labels[i]), lambda i=i: shards.content(i)) for i in order]


def _parted(whole: Split, train: int, classes: tuple[str, ...], details: Tensor, passed: Counter[str]) -> _Read:
    """The first images are to train on, the others, if any, to validate on."""
    validation = whole.take(np.arange(train, len(whole))) if len(whole) > train else None
    return _Read(whole.take(np.arange(train)), validation, classes, details, passed)


def _listing(folder: Path, passed: Counter[str]) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    """Class names, sorted, and every image with its label; counts what is passed over.

    A class's images are in the order of the parts of their paths: how a study's images are cut rests on it.
    """
    classes, images = class_folders.listed(folder, passed, check_links=True)
    pairs = sorted((label, Path(images.name(i))) for i, label in enumerate(images.labels.tolist()))
    return classes, [(path, label) for label, path in pairs]


@dataclass(frozen=True)
class _File:
    """An image file.

    Attributes:
        name: where it lies, for people.
        content: its path, or what reads it.
    """

    name: str
    label: int
    content: Path | Callable[[], bytes]

    def open(self) -> Image.Image:
        if isinstance(self.content, Path):
            return Image.open(self.content)
        try:
            return Image.open(io.BytesIO(self.content()))
        except UnidentifiedImageError:
            raise OSError("cannot identify image file") from None


def _decoded(listed: list[_File], cached: Path, stem: StemConfig, on_progress: OnProgress) -> tuple[Split, Tensor]:
    """The images and their `DETAILS`, from the cache if they are there."""
    tensors = _read_cache(cached)
    if tensors is None:
        tensors = _decode(listed, stem, on_progress)
        _write_cache(cached, tensors)
    return Split(tensors["images"], tensors["labels"]), tensors["details"]


def _decode(listed: list[_File], stem: StemConfig, on_progress: OnProgress) -> dict[str, Tensor]:
    images = torch.empty(len(listed), stem.in_channels, stem.image_size, stem.image_size, dtype=torch.uint8)
    details = torch.empty(len(listed), len(DETAILS), dtype=torch.int32)
    with ThreadPoolExecutor() as pool:  # decoding leaves the interpreter's lock
        for i, (image, detail) in enumerate(pool.map(lambda file: _open(file, stem), listed)):
            images[i], details[i] = image, torch.tensor(detail)
            if i % 500 == 499 or i + 1 == len(listed):
                on_progress("reading images", i + 1, len(listed))
    return {"images": images, "labels": torch.tensor([file.label for file in listed]), "details": details}


def _open(file: _File, stem: StemConfig) -> tuple[Tensor, list[int]]:
    """The image as the network is shown it, and its `DETAILS`."""
    try:
        with file.open() as image:
            return fitting.shown(image, stem)
    except fitting.ERRORS as error:
        raise DataError(f"{file.name} is not a readable image ({error}). Replace it or move it elsewhere") from None


def _cached(marked: list[tuple[Path, int]], stem: StemConfig) -> Path:
    """The cache file of these images: its name changes with any path, size or time of change."""
    digest = hashlib.sha256(repr((_CACHE_FORMAT, stem.in_channels, stem.image_size)).encode())
    for path, label in marked:
        stat = path.stat()
        digest.update(repr((str(path.absolute()), label, stat.st_size, stat.st_mtime_ns)).encode())
    return files.cache_folder() / f"images-{digest.hexdigest()[:16]}.safetensors"


def _read_cache(path: Path) -> dict[str, Tensor] | None:
    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError):
        return None  # not there, or damaged: read the images again


def _write_cache(path: Path, tensors: dict[str, Tensor]) -> None:
    with contextlib.suppress(OutputError, safetensors.SafetensorError):  # a cache that cannot be written costs time
        files.write(path, lambda partial: safetensors.torch.save_file(tensors, partial))


def _check_classes(space: SearchSpace, classes: tuple[str, ...]) -> None:
    expected = space.data.classes or _CLASSES.get(space.data.dataset)
    if expected is not None and classes != expected:
        missing, extra = sorted(set(expected) - set(classes)), sorted(set(classes) - set(expected))
        raise DataError(
            f"the classes of the images are not those of {space.data.dataset} in space {space.name}: missing "
            f"{missing[:5]}, unknown {extra[:5]}. Use another data folder or another space"
        )
    num_classes = space.base["head"]["num_classes"]
    if len(classes) != num_classes:
        raise DataError(
            f"the images have {len(classes)} classes ({', '.join(classes[:5])}...), but space {space.name} says "
            f"head.num_classes = {num_classes}. Make them equal"
        )


__all__ = ["Split", "Splits", "load", "subset"]
