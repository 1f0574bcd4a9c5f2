"""Tiny recordings of events for tests, as .npz files in class folders."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

Events = dict[str, npt.NDArray[np.int64]]

CLASSES = ("left", "right")


def events(label: int, number: int, side: int = 12, count: int = 60) -> Events:
    """Events of a class: of "left" they lie in the left half, of "right" in the right one."""
    generator = np.random.default_rng([label, number])
    half = side // 2
    return {
        "t": np.sort(generator.integers(0, 10_000, count)),
        "x": generator.integers(0, half, count) + label * half,
        "y": generator.integers(0, side, count),
        "p": generator.integers(0, 2, count),
    }


def write(folder: Path, per_class: int, first: int = 0, side: int = 12) -> None:
    """`<folder>/<class>/NN.npz`, recordings numbered from `first` on."""
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(first, first + per_class):
            np.savez(folder / name / f"{number:03}.npz", **events(label, number, side))  # pyrefly: ignore[bad-argument-type]


def folders(folder: Path, train: int = 20, test: int = 6) -> Path:
    """train/ and test/ with different recordings."""
    write(folder / "train", train)
    write(folder / "test", test, first=1000)
    return folder


SPACE = """
[base]
time_steps = 2
neuron.threshold = 0.5
neuron.surrogate = "atan"
stem.image_size = 8
stem.in_channels = 2
stem.pool = [false, false, false, true]
head.num_classes = 2
stages = [{ embed_dim = 16, depth = 1, mixer = { num_heads = 2, threshold = 0.25, scale = 0.5 }, mlp = { ratio = 1 } }]

[axes]
time_steps = [2, 3]
residual = ["sew", "ms"]

[data]
dataset = "event_folder"
sensor = [12, 12]
search_val = 0.2
report_val = 0.2

[proxy]
epochs = 1
batch_size = 4
rungs = [1]
"""
"""A space on them, of four networks."""


def space(folder: Path, text: str = SPACE) -> Path:
    path = folder / "events.toml"
    path.write_text(text)
    return path
