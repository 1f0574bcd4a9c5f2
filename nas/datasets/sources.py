"""The images of a full training and those of its test: CIFAR, class folders, WebDataset shards, or frames of events.

    DIR/train/<class>/*.jpg, DIR/val/<class>/ or DIR/test/<class>/     any images
    DIR/*train*.tar, DIR/*val*.tar or DIR/*test*.tar                   WebDataset shards: KEY.jpg beside KEY.cls
    DIR/cifar-10-batches-py, DIR/cifar-100-python                      downloaded where no DIR is given
    no DIR, for a network that was searched on digits                  `nas.datasets.digits`
    recordings of event cameras, for a network that was searched on those   `nas.datasets.frame_images`

With both, test/ is the test and val/ stays closed. A label is the place of its class in the sorted names of the
folders; a `.cls` holds that number, or the name. Names of numbered classes are the lines of DIR/classes.txt.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from nas import files
from nas.datasets import cifar, digits, downloads, frame_images
from nas.datasets.class_folders import Folders, listed
from nas.datasets.decoding import Content
from nas.datasets.pictures import in_words
from nas.datasets.shards import Numbers, OnScan, has_shards, read_parts
from nas.errors import DataError
from nas.settings import DataSettings
from spikformer.config import SpikformerConfig


class LabelledImages(Protocol):
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

    train: LabelledImages
    test: LabelledImages
    test_part: str
    classes: tuple[str, ...]
    kind: Literal["cifar", "folder", "shards", "digits", "events"]
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
                f"the images have {len(self.classes)} classes ({some}...), but the network {network} has "
                f"{told_apart}. Give other images, or train a new classifier on its features: train --classes "
                f"{len(self.classes)}"
            )
        if trained_on and trained_on != self.classes:
            missing, extra = sorted(set(trained_on) - set(self.classes)), sorted(set(self.classes) - set(trained_on))
            raise DataError(
                f"{network} was trained on other classes: missing {missing[:5]}, unknown {extra[:5]}. Give images of "
                f"the same classes, or train a new classifier on its features: train --classes {len(self.classes)}"
            )


_USUAL_CUT = DataSettings(), 0
_POLARITIES = 2  # channels that no image has


def find(
    data_dir: str | Path | None,
    dataset: str = "",
    on_scan: OnScan = lambda _what, _done, _total: None,
    cut: tuple[DataSettings, int] = _USUAL_CUT,
    network: SpikformerConfig | None = None,
) -> Source:
    """The images of a folder, of whichever kind.

    Args:
        data_dir: see above; None downloads CIFAR into the user's cache.
        dataset: "cifar10" or "cifar100": which, where both or neither are there; or "digits".
        cut: settings and seed by which a search cut its data.
        network: what frames of events are made for.

    Raises:
        DataError: no such images, classes without images, classes that differ between train and test.
    """
    if network is not None and cut[0].has_events:
        return _events(*cut, data_dir, network, on_scan)
    if network is not None and network.stem.in_channels == _POLARITIES:
        raise DataError(
            "the network takes frames of events, but nothing says of which recordings. Search on recordings "
            "(docs/events.md), export the network, and give that folder"
        )
    if data_dir is None:
        if dataset == "digits":
            return _digits(*cut)
        if dataset not in cifar.DATASETS:
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
    names = [name for name, source in cifar.DATASETS.items() if (folder / source.folder).is_dir()]
    if not names:
        raise DataError(f"{folder} holds no images that can be read. {_LAYOUTS}")
    return _cifar(folder, dataset if dataset in names else names[0], download=False)


_LAYOUTS = (
    "Give a folder with train/<class>/ and val/<class>/, with shards *train*.tar and *val*.tar, "
    "or with cifar-10-batches-py or cifar-100-python"
)


def _test_part(parts: Sequence[str], folder: Path) -> str:
    """Which of the parts is the test."""
    for name in ("test", "val"):
        if name in parts:
            return name
    raise DataError(f"{folder} has training images, but neither val nor test images. {_LAYOUTS}")


# CIFAR


@dataclass(frozen=True)
class InMemory:
    """Images [n, H, W, C], or grey ones [n, H, W]; uint8."""

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


_BATCHES = {source.folder for source in cifar.DATASETS.values()}


def _cifar(root: Path, dataset: str, *, download: bool) -> Source:
    source = cifar.DATASETS[dataset]
    folder = root / source.folder
    remedy = "Leave --data-dir out to download it again, to the user's cache"
    if download:
        remedy = f"Delete {folder} and run the same command again"
        cifar.download(source, root, _LAYOUTS, downloads.logged())
    parts: tuple[cifar.Part, cifar.Part] = ("train", "test")
    train, test = (_held(source, folder, part, f"{dataset} {part}", remedy) for part in parts)
    return Source(train, test, "test", source.classes, "cifar")


def _held(source: cifar.Cifar, folder: Path, part: cifar.Part, origin: str, remedy: str) -> InMemory:
    pixels, labels = cifar.read(source, folder, part, remedy)
    return InMemory(pixels.transpose(0, 2, 3, 1), labels, origin)


# Digits


def _digits(settings: DataSettings, seed: int) -> Source:
    train, test = digits.parts(settings, seed)
    held = InMemory(*train, "digits, train and search-val"), InMemory(*test, "digits, report-val")
    return Source(*held, "report-val", digits.CLASSES, "digits")


# Events


def _events(
    settings: DataSettings, seed: int, data_dir: str | Path | None, network: SpikformerConfig, on_scan: OnScan
) -> Source:
    train, test, part, classes = frame_images.parts(settings, seed, data_dir, network, on_scan)
    return Source(train, test, part, classes, "events")


# Class folders


def _folders(folder: Path, on_scan: OnScan) -> Source:
    part = _test_part([entry.name for entry in folder.iterdir() if entry.is_dir()], folder)
    passed: Counter[str] = Counter()
    classes, train = listed(folder / "train", passed, on_scan)
    test_classes, test = listed(folder / part, passed, on_scan)
    _check_equal(classes, test_classes, f"{folder}/train", f"{folder}/{part}")
    return Source(train, test, part, classes, "folder", tuple(in_words(passed)))


def _check_equal(train: tuple[str, ...], test: tuple[str, ...], train_name: str, test_name: str) -> None:
    if train != test:
        missing, extra = sorted(set(train) - set(test)), sorted(set(test) - set(train))
        raise DataError(
            f"the classes of {test_name} are not those of {train_name}: {len(missing)} missing {missing[:5]}, "
            f"{len(extra)} others {extra[:5]}. Make them equal: labels are the order of the names"
        )


# WebDataset shards


def _shards(folder: Path, on_scan: OnScan) -> Source:
    part = _test_part([p for p in ("test", "val") if has_shards(folder, p)], folder)
    parts, classes, passed = read_parts(folder, ("train", part), on_scan)
    return Source(parts["train"], parts[part], part, classes, "shards", tuple(in_words(passed)))


__all__ = ["Folders", "InMemory", "LabelledImages", "Numbers", "OnScan", "Source", "find"]
