"""Recordings of the user's own, in one folder per class.

    DIR/train/<class>/*, DIR/test/<class>/*     .npz, .npy, .bin, .dat, .aedat, .aedat4

Other files and hidden ones are passed over. All recordings are of one sensor. Its size is, in this order: what the
caller gives; what a training recording states in its header, or by the shape of its frames, the first one that does;
the smallest that holds the events of all training recordings, which reads them all. Recordings lie in it as they were
recorded, with x and y from its left and top. A recording whose header states another size is refused, unless the size
was given.
"""

from pathlib import Path

import numpy as np

from nas.errors import DataError
from nas.events.cuts import Part
from nas.events.formats import SUFFIXES
from nas.events.recording import Sensor
from nas.events.recordings import EventSet, Files


def find(data_dir: Path, part: Part, sensor: Sensor | None) -> EventSet:
    """One part of the recordings in a folder. For the training part, the test is not listed.

    Raises:
        DataError: no class folders, classes without recordings, or classes of the test that are not those of training.
    """
    classes = _class_names(data_dir / "train")
    root = data_dir / part
    if part == "test" and _class_names(root) != classes:
        raise DataError(
            f"{root} has the classes {', '.join(_class_names(root))}, but {data_dir / 'train'} has "
            f"{', '.join(classes)}. Make the folders of both equal"
        )
    paths = [_recordings(root / name) for name in classes]
    files = tuple(path for of_class in paths for path in of_class)
    labels = np.repeat(np.arange(len(classes)), [len(of_class) for of_class in paths])
    training = files if part == "train" else _all_recordings(data_dir / "train", classes)
    return EventSet(Files(files, labels, np.arange(len(files)), sensor, training), classes)


def _all_recordings(root: Path, classes: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(path for name in classes for path in _recordings(root / name))


def _class_names(root: Path) -> tuple[str, ...]:
    names = (
        sorted(path.name for path in root.iterdir() if path.is_dir() and not _is_hidden(path)) if root.is_dir() else []
    )
    if not names:
        raise DataError(f"{root} has no class folders. Put recordings ({', '.join(SUFFIXES)}) into {root}/<class>/")
    return tuple(names)


def _recordings(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not _is_hidden(path))
    if not paths:
        raise DataError(f"{folder} has no recordings ({', '.join(SUFFIXES)}). Fill or remove it")
    return paths


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "__MACOSX"


__all__ = ["find"]
