"""CIFAR as its authors publish it: downloaded, checked and read so that nothing in it can run.

Their archives hold pickles, which could run anything. Sums are checked before a file is opened, and what reads it knows
arrays of numbers and plain values alone.
"""

import hashlib
import io
import pickle
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from nas import files
from nas.datasets.class_names import CIFAR10_CLASSES, CIFAR100_CLASSES
from nas.datasets.downloads import DownloadError, OnProgress, Remote, fetch
from nas.errors import DataError

Part = Literal["train", "test"]
Batch = tuple[str, str]
"""Name of a file and its MD5 sum."""


@dataclass(frozen=True)
class Cifar:
    """A data set in the layout of its authors.

    Attributes:
        folder: what they call the folder in their archive.
        batches: the files of each part.
        meta: names of the classes, which nobody reads: `classes` has them.
        labels: what a file calls the labels.
    """

    archive: Remote
    folder: str
    batches: dict[Part, tuple[Batch, ...]]
    meta: Batch
    labels: str
    classes: tuple[str, ...]


DATASETS = {
    "cifar10": Cifar(
        Remote(
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",  # as Keras has it, too
        ),
        "cifar-10-batches-py",
        {
            "train": (
                ("data_batch_1", "c99cafc152244af753f735de768cd75f"),  # these as torchvision has them
                ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
                ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
                ("data_batch_4", "634d18415352ddfa80567beed471001a"),
                ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
            ),
            "test": (("test_batch", "40351d587109b95175f43aff81a1287e"),),
        },
        ("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
        "labels",
        CIFAR10_CLASSES,
    ),
    "cifar100": Cifar(
        Remote(
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        ),
        "cifar-100-python",
        {
            "train": (("train", "16019d7e3df5f24257cddd939b257f8d"),),
            "test": (("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),),
        },
        ("meta", "7973b15100ade9c7d40fb424638fde48"),
        "fine_labels",
        CIFAR100_CLASSES,
    ),
}
"""By the names that `--space` files use."""


def download(cifar: Cifar, root: Path, remedy: str, on_progress: OnProgress) -> Path:
    """The folder of the batches below `root`, downloaded unless it is there.

    Args:
        remedy: what else helps where it cannot be downloaded.

    Raises:
        DataError: it cannot.
    """
    folder = root / cifar.folder
    if folder.is_dir():
        return folder
    try:
        archive = fetch(cifar.archive, root, on_progress)
        return files.write(folder, lambda partial: _unpack(cifar, archive, partial))
    except (DownloadError, OSError, tarfile.TarError, KeyError) as error:
        raise DataError(f"{cifar.archive.url} could not be downloaded to {root}: {error}. {remedy}") from None


def _unpack(cifar: Cifar, archive: Path, folder: Path) -> None:
    """Write the files that the data set is known to have, and nothing else that an archive may hold."""
    folder.mkdir()
    with tarfile.open(archive) as tar:
        for name, _ in (*cifar.batches["train"], *cifar.batches["test"], cifar.meta):
            content = tar.extractfile(f"{cifar.folder}/{name}")
            assert content is not None  # a file, in an archive whose checksum is right
            with content:
                (folder / name).write_bytes(content.read())


def read(cifar: Cifar, folder: Path, part: Part, remedy: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images of a part, [n, 3, 32, 32], and their labels, [n]. Files of the other part are not opened.

    Args:
        remedy: what helps where files are missing or damaged.

    Raises:
        DataError: they are.
    """
    contents = [_content(folder / name, md5) for name, md5 in cifar.batches[part]]
    damaged = [name for (name, _), content in zip(cifar.batches[part], contents, strict=True) if content is None]
    if damaged:
        raise DataError(f"{folder}: {', '.join(damaged)} missing or damaged (the MD5 sum differs). {remedy}")
    tables = [_table(content) for content in contents if content is not None]
    pixels = np.concatenate([np.asarray(table["data"], np.uint8) for table in tables])
    labels = [label for table in tables for label in _whole_numbers(table[cifar.labels])]
    return pixels.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)


def _content(path: Path, md5: str) -> bytes | None:
    """What a file holds; None where it is not the one that it should be."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5 else None


def _table(content: bytes) -> dict[str, object]:
    table = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    assert isinstance(table, dict)
    return table


def _whole_numbers(values: object) -> Sequence[int]:
    assert isinstance(values, list)
    return values


class _Unpickler(pickle.Unpickler):
    """Makes arrays of numbers and plain values; a pickle that names anything else is refused before it runs."""

    def find_class(self, module: str, name: str) -> object:
        if (module.replace("numpy._core", "numpy.core"), name) not in _OF_ARRAYS:
            raise pickle.UnpicklingError(f"{module}.{name} is nothing that an array needs")
        return super().find_class(module, name)


_OF_ARRAYS = {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}

__all__ = ["DATASETS", "Cifar", "Part", "download", "read"]
