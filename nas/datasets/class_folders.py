"""Folders of images by class, train/<class>/, listed for searches and for full trainings alike."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.datasets.pictures import AGAIN, BESIDE, BROKEN, HIDDEN, IMAGE_SUFFIXES, is_hidden, passed_over
from nas.datasets.shards import Numbers, OnScan
from nas.errors import DataError


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


def listed(
    root: Path,
    passed: Counter[str],
    on_scan: OnScan = lambda _what, _done, _total: None,
    *,
    check_links: bool = False,
) -> tuple[tuple[str, ...], Folders]:
    """Class names, sorted, and every image with its label, in the order of the bytes of its path.

    Args:
        passed: counts what is passed over, by reason (`nas.datasets.pictures.in_words`).
        check_links: ask each file whether it is there, pass over links that lead nowhere and leave linked folders
            closed. By default no file is asked for its state: there may be a million.

    Raises:
        DataError: no class folders, or some without images.
    """
    entries = list(os.scandir(root))
    classes = tuple(sorted(entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name)))
    passed.update(HIDDEN if is_hidden(entry.name) else BESIDE for entry in entries if entry.name not in classes)
    if not classes:
        raise DataError(f"{root} has no class folders. Put images ({', '.join(IMAGE_SUFFIXES)}) into {root}/<class>/")
    paths: list[bytes] = []
    labels: list[int] = []
    empty: list[str] = []
    for label, name in enumerate(classes):
        images = sorted(_image_files(root, name, passed, check_links))
        paths += images
        labels += [label] * len(images)
        empty += [] if images else [name]
        on_scan(f"reading {root.name}/", label + 1, len(classes))
    if empty:
        some = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        raise DataError(f"{root}: no images in {some} ({', '.join(IMAGE_SUFFIXES)}). Fill or remove these folders")
    return classes, Folders(root, np.array(paths), np.array(labels, dtype=np.int64))


def _image_files(root: Path, name: str, passed: Counter[str], check_links: bool) -> Iterator[bytes]:
    """Paths of a class's images below `root`."""
    start = len(os.fsencode(root)) + 1
    known = {_place_of(os.fsencode(root / name))}
    for parent, folders, names in os.walk(os.fsencode(root / name), followlinks=not check_links):
        shown = [folder for folder in folders if not is_hidden(os.fsdecode(folder))]
        passed[HIDDEN] += len(folders) - len(shown)
        places = {_place_of(os.path.join(parent, folder)): folder for folder in sorted(shown, reverse=True)}  # noqa: PTH118  # bytes
        folders[:] = [folder for place, folder in places.items() if place not in known]
        passed[AGAIN] += len(shown) - len(folders)
        known.update(places)
        images = [file for file in names if file.lower().endswith(_SUFFIXES) and not is_hidden(os.fsdecode(file))]
        if check_links:
            images = [file for file in images if _path(parent, file).is_file()]
        prefix = parent[start:] + b"/"
        yield from (prefix + file for file in images)
        if len(images) < len(names):
            passed.update(_reason(parent, file, check_links) for file in set(names).difference(images))


def _place_of(folder: bytes) -> tuple[int, int]:
    """What a folder and all links to it share: a link to one above it would be walked for ever."""
    state = os.stat(folder)  # noqa: PTH116  # of bytes there is no Path
    return state.st_dev, state.st_ino


_SUFFIXES = tuple(suffix.encode() for suffix in IMAGE_SUFFIXES)


def _reason(parent: bytes, file: bytes, check_links: bool) -> str:
    """Why a file is not read as an image."""
    name = os.fsdecode(file)
    is_broken = check_links and not is_hidden(name) and not _path(parent, file).exists()
    return BROKEN if is_broken else passed_over(name)


def _path(parent: bytes, file: bytes) -> Path:
    return Path(os.fsdecode(parent), os.fsdecode(file))


__all__ = ["Folders", "listed"]
