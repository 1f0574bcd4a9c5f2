"""The published data sets of event cameras, in the folders that SpikingJelly makes of them.

    DIR/events_np/<class>/<recording>.npz               CIFAR10-DVS, N-Caltech101
    DIR/events_np/train/<class>/<recording>.npz, test/  DVS128 Gesture, N-MNIST

Labels are those of the authors. SpikingJelly's own classes number the gestures in the order of text: 0, 1, 10, 2, ...
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.errors import DataError
from nas.events import cuts
from nas.events.building import Origin, events_folder
from nas.events.cuts import Cut, Part
from nas.events.recording import Numbers, Sensor
from nas.events.recordings import EventSet, Files


@dataclass(frozen=True)
class Published:
    """What is known of a data set.

    Attributes:
        classes: names in the order of the labels; empty where the folders give them.
        splits: how each class is cut, by the name of the split; the first is the usual one.
        folders: of the classes, where they have other names.
        has_parts: the authors keep training and test apart.
        group: in the name of a recording, the number of the person who is recorded.
    """

    origin: Origin
    sensor: Sensor
    classes: tuple[str, ...]
    splits: Mapping[str, Cut]
    folders: tuple[str, ...] = ()
    has_parts: bool = False
    group: str = ""


_GESTURES = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter clockwise",
    "left arm clockwise", "left arm counter clockwise", "arm roll", "air drums", "air guitar", "other gestures",
)  # fmt: skip
"""As `gesture_mapping.csv` of its authors numbers them from 1 on."""
_CIFAR10 = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
_DIGITS = tuple("0123456789")
_CALTECH_CLASSES = 101  # 100 objects and BACKGROUND_Google

PUBLISHED = {
    "cifar10dvs": Published(
        Origin(
            "CIFAR10-DVS",
            "CIFAR10DVS",
            "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671",
            tuple(f"{name}.zip" for name in _CIFAR10),
        ),
        (128, 128),
        _CIFAR10,
        {"first_90_percent": cuts.first_90_percent, "tebn": cuts.tebn},
    ),
    "dvs128gesture": Published(
        Origin(
            "DVS128 Gesture",
            "DVS128Gesture",
            "https://ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8/folder/50167556794",
            ("DvsGesture.tar.gz",),
        ),
        (128, 128),
        _GESTURES,
        {"official": cuts.uncut},
        folders=tuple(map(str, range(len(_GESTURES)))),
        has_parts=True,
        group=r"user(\d+)",
    ),
    "ncaltech101": Published(
        Origin(
            "N-Caltech101",
            "NCaltech101",
            "https://www.garrickorchard.com/datasets/n-caltech101",
            ("Caltech101.zip",),
        ),
        (240, 180),
        (),
        {"every_tenth": cuts.every_tenth},
    ),
    "nmnist": Published(
        Origin("N-MNIST", "NMNIST", "https://www.garrickorchard.com/datasets/n-mnist", ("Train.zip", "Test.zip")),
        (34, 34),
        _DIGITS,
        {"official": cuts.uncut},
        has_parts=True,
    ),
}


def find(dataset: str, data_dir: Path, split: str, part: Part) -> EventSet:
    """One part of a published data set. Of a set whose authors keep the parts apart, the other one is not listed.

    Raises:
        DataError: the data set is not there or not complete.
    """
    published = PUBLISHED[dataset]
    root = events_folder(data_dir, published.origin)
    if published.has_parts:
        root = root / part
    classes = published.classes or _class_folders(root)
    folders = dict(zip(classes, published.folders or classes, strict=True))
    chosen = {name: published.splits[split](list(_names(root / folder)), part) for name, folder in folders.items()}
    for name, names in chosen.items():
        if not names:
            raise DataError(
                f'{root / folders[name]} holds no recordings of the class "{name}" for {part} by the split "{split}". '
                "Copy it again, or remove events_np, so that it is made again"
            )
    paths = tuple(root / folders[name] / file for name, names in chosen.items() for file in names)
    labels = np.repeat(np.arange(len(classes)), [len(names) for names in chosen.values()])
    return EventSet(Files(paths, labels, _groups(paths, published.group), published.sensor), classes)


def _class_folders(root: Path) -> tuple[str, ...]:
    names = tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
    if len(names) != _CALTECH_CLASSES:
        raise DataError(
            f"{root} has {len(names)} folders of classes, but N-Caltech101 has {_CALTECH_CLASSES}. Copy it again, or "
            "remove it, so that it is made again"
        )
    return names


def _names(folder: Path) -> Iterator[str]:
    if folder.is_dir():
        yield from sorted(path.name for path in folder.iterdir() if path.suffix == ".npz" and path.name[0] != ".")


def _groups(paths: tuple[Path, ...], pattern: str) -> Numbers:
    """The person of each recording, or each its own where nobody is recorded."""
    if not pattern:
        return np.arange(len(paths))
    matches = [re.match(pattern, path.name) for path in paths]
    for path, match in zip(paths, matches, strict=True):
        if match is None:
            raise DataError(
                f"{path} does not tell by its name whom it shows. Name it as its authors do: user01_led_0.npz"
            )
    return np.array([int(match[1]) for match in matches if match])


__all__ = ["PUBLISHED", "find"]
