"""The images of a full training and those of its test: CIFAR, class folders, or WebDataset shards.

    DIR/train/<class>/*.jpg, DIR/val/<class>/ or DIR/test/<class>/     any images
    DIR/*train*.tar, DIR/*val*.tar or DIR/*test*.tar                   WebDataset shards: KEY.jpg beside KEY.cls
    DIR/cifar-10-batches-py, DIR/cifar-100-python                      downloaded where no DIR is given

With both, test/ is the test and val/ stays closed. A label is the place of its class in the sorted names of the
folders; a `.cls` holds that number, or the name. Names of numbered classes are the lines of DIR/classes.txt.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from torchvision import datasets

from nas import files
from nas.datasets.class_names import CIFAR10_CLASSES, CIFAR100_CLASSES
from nas.datasets.decoding import Content
from nas.datasets.pictures import AGAIN, BESIDE, HIDDEN, IMAGE_SUFFIXES, in_words, is_hidden, passed_over
from nas.datasets.shards import Numbers, OnScan, has_shards, read_parts
from nas.errors import DataError


class Images(Protocol):
    """Labelled images that are read one at a time."""

    @property
    def labels(self) -> Numbers:
        """[n]."""

    def __len__(self) -> int: ...

    def name(self, i: int) -> str:
        """Where image `i` lies, for people."""

    def content(self, i: int) -> Content:
        """Image `i` as it is kept: its file, or pixels. Raises OSError where the file cannot be read."""

    @property
    def runs(self) -> Numbers:
        """Sizes of the runs of images that are read best one after the other."""


@dataclass(frozen=True)
class Source:
    """What there is to train on.

    Attributes:
        test: the sealed images; only `nas.full_training` opens them.
        test_part: their name.
        classes: names, in the order of the labels.
        kind: how they are kept.
        passed_over: which files are no images, in words.
    """

    train: Images
    test: Images
    test_part: str
    classes: tuple[str, ...]
    kind: Literal["cifar", "folder", "shards"]
    passed_over: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """12 hex digits of labels and names: whether a training goes on with the images that it began with."""
        digest = hashlib.sha256(repr((self.kind, self.classes, len(self.train))).encode())
        digest.update(np.ascontiguousarray(self.train.labels).tobytes())
        digest.update("".join(self.train.name(i) for i in range(0, len(self.train), 101)).encode())
        return digest.hexdigest()[:12]

    def check_classes(self, network: str, told_apart: int, trained_on: tuple[str, ...] = ()) -> None:
        """
        Args:
            told_apart: how many classes the network has.
            trained_on: their names, if it was trained.

        Raises:
            DataError: the images have others.
        """
        if len(self.classes) != told_apart:
            some = ", ".join(self.classes[:5])
            raise DataError(
                f"the images have {len(self.classes)} classes ({some}...), the network {network} tells {told_apart} "
                f"apart. Give other images, or export one for them: --classes {len(self.classes)}"
            )
        if trained_on and trained_on != self.classes:
            missing, extra = sorted(set(trained_on) - set(self.classes)), sorted(set(self.classes) - set(trained_on))
            raise DataError(
                f"{network} was trained on other classes: missing {missing[:5]}, unknown {extra[:5]}. "
                f"Give images of the same classes"
            )


def find(data_dir: str | Path | None, dataset: str = "", on_scan: OnScan = lambda _what, _done, _total: None) -> Source:
    """The images of a folder, of whichever kind.

    Args:
        data_dir: see above; None downloads CIFAR into the user's cache.
        dataset: "cifar10" or "cifar100": which, where both or neither are there.

    Raises:
        DataError: no such images, classes without images, classes that differ between train and test.
    """
    if data_dir is None:
        if dataset not in _CIFAR:
            raise DataError(f"no --data-dir was given. {_LAYOUTS}")
        return _cifar(files.cache_folder(), dataset, download=True)
    folder = Path(data_dir)
    if not folder.is_dir():
        raise DataError(f"data folder {folder} does not exist. {_LAYOUTS}")
    if (folder / "train").is_dir():
        return _folders(folder, on_scan)
    if has_shards(folder, "train"):
        return _shards(folder, on_scan)
    if folder.name in _BATCHES:  # the folder of the batches itself
        folder = folder.parent
    found = [name for name, (source, _) in _CIFAR.items() if (folder / source.base_folder).is_dir()]
    if not found:
        raise DataError(f"{folder} holds none of what can be read. {_LAYOUTS}")
    return _cifar(folder, dataset if dataset in found else found[0], download=False)


_LAYOUTS = (
    "Give a folder with train/<class>/ and val/<class>/, with shards *train*.tar and *val*.tar, "
    "or with cifar-10-batches-py or cifar-100-python"
)


def _test_part(parts: Sequence[str], folder: Path) -> str:
    """Which of the parts is the test."""
    for name in ("test", "val"):
        if name in parts:
            return name
    raise DataError(f"{folder} has training images, and neither val nor test ones. {_LAYOUTS}")


# CIFAR


@dataclass(frozen=True)
class InMemory:
    """Images [n, H, W, C], uint8."""

    images: npt.NDArray[np.uint8]
    labels: Numbers
    origin: str

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, i: int) -> str:
        return f"{self.origin}, image {i}"

    def content(self, i: int) -> npt.NDArray[np.uint8]:
        pixels: npt.NDArray[np.uint8] = self.images[i]
        return pixels

    @property
    def runs(self) -> Numbers:
        return np.array([len(self)])


_CIFAR: dict[str, tuple[type[datasets.CIFAR10], tuple[str, ...]]] = {
    "cifar10": (datasets.CIFAR10, CIFAR10_CLASSES),
    "cifar100": (datasets.CIFAR100, CIFAR100_CLASSES),
}
_BATCHES = {source.base_folder for source, _ in _CIFAR.values()}


def _cifar(folder: Path, dataset: str, *, download: bool) -> Source:
    source, classes = _CIFAR[dataset]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        parts = {part: source(str(folder), train=part == "train", download=download) for part in ("train", "test")}
    except (OSError, RuntimeError) as error:
        where = f"{folder / source.base_folder} cannot be read or downloaded"
        raise DataError(f"{where}: {error}. Delete it and leave --data-dir out to download it again") from None
    held = {
        part: InMemory(loaded.data, np.array(loaded.targets, dtype=np.int64), f"{dataset} {part}")
        for part, loaded in parts.items()
    }
    return Source(held["train"], held["test"], "test", classes, "cifar")


# Class folders


@dataclass(frozen=True)
class Folders:
    """Image files below a folder; paths are kept as bytes, which processes share without a copy."""

    root: Path
    paths: npt.NDArray[np.bytes_]
    labels: Numbers

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, i: int) -> str:
        return str(self.root / os.fsdecode(bytes(self.paths[i])))

    def content(self, i: int) -> bytes:
        return Path(self.name(i)).read_bytes()

    @property
    def runs(self) -> Numbers:
        return np.array([len(self)])


def _folders(folder: Path, on_scan: OnScan) -> Source:
    part = _test_part([entry.name for entry in folder.iterdir() if entry.is_dir()], folder)
    passed: Counter[str] = Counter()
    classes, train = _class_folders(folder / "train", passed, on_scan)
    test_classes, test = _class_folders(folder / part, passed, on_scan)
    _check_equal(classes, test_classes, f"{folder}/train", f"{folder}/{part}")
    return Source(train, test, part, classes, "folder", tuple(in_words(passed)))


def _class_folders(root: Path, passed: Counter[str], on_scan: OnScan) -> tuple[tuple[str, ...], Folders]:
    entries = list(os.scandir(root))
    classes = tuple(sorted(entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name)))
    passed.update(HIDDEN if is_hidden(entry.name) else BESIDE for entry in entries if entry.name not in classes)
    if not classes:
        raise DataError(f"{root} has no class folders. Put images into {root}/<class>/")
    found: list[bytes] = []
    labels: list[int] = []
    empty = []
    for label, name in enumerate(classes):
        paths = _image_files(root, name, passed)
        found += paths
        labels += [label] * len(paths)
        empty += [] if paths else [name]
        on_scan(f"reading {root.name}/", label + 1, len(classes))
    if empty:
        some = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        raise DataError(f"{root}: no images ({', '.join(IMAGE_SUFFIXES)}) in {some}. Fill or remove these folders")
    return classes, Folders(root, np.array(found), np.array(labels, dtype=np.int64))


def _image_files(root: Path, name: str, passed: Counter[str]) -> list[bytes]:
    """Paths below `root`, sorted; no file is opened or asked for its state: there may be a million."""
    start = len(os.fsencode(root)) + 1
    found: list[bytes] = []
    known = {_place_of(os.fsencode(root / name))}
    for parent, folders, names in os.walk(os.fsencode(root / name), followlinks=True):
        shown = [folder for folder in folders if not is_hidden(os.fsdecode(folder))]
        passed[HIDDEN] += len(folders) - len(shown)
        places = {_place_of(os.path.join(parent, folder)): folder for folder in sorted(shown, reverse=True)}  # noqa: PTH118  # bytes
        folders[:] = [folder for place, folder in places.items() if place not in known]
        passed[AGAIN] += len(shown) - len(folders)
        known.update(places)
        prefix = parent[start:] + b"/"
        images = [file for file in names if file.lower().endswith(_SUFFIXES) and not is_hidden(os.fsdecode(file))]
        found += [prefix + file for file in images]
        if len(images) < len(names):
            passed.update(passed_over(os.fsdecode(file)) for file in set(names).difference(images))
    return sorted(found)


def _place_of(folder: bytes) -> tuple[int, int]:
    """What a folder and all links to it share: a link to one above it would be walked for ever."""
    state = os.stat(folder)  # noqa: PTH116  # of bytes there is no Path
    return state.st_dev, state.st_ino


_SUFFIXES = tuple(suffix.encode() for suffix in IMAGE_SUFFIXES)


def _check_equal(train: tuple[str, ...], test: tuple[str, ...], train_name: str, test_name: str) -> None:
    if train != test:
        missing, extra = sorted(set(train) - set(test)), sorted(set(test) - set(train))
        raise DataError(
            f"{test_name} has not the classes of {train_name}: {len(missing)} missing {missing[:5]}, "
            f"{len(extra)} others {extra[:5]}. Make them equal: labels are the order of the names"
        )


# WebDataset shards


def _shards(folder: Path, on_scan: OnScan) -> Source:
    part = _test_part([p for p in ("test", "val") if has_shards(folder, p)], folder)
    parts, classes, passed = read_parts(folder, ("train", part), on_scan)
    return Source(parts["train"], parts[part], part, classes, "shards", tuple(in_words(passed)))


__all__ = ["Folders", "Images", "InMemory", "Numbers", "OnScan", "Source", "find"]
