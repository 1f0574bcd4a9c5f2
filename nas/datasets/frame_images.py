"""Recordings as the frames that a full training and its test take."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from nas.datasets import event_splits
from nas.datasets.event_frames import FrameSource, Listing, OnProgress
from nas.datasets.splits import Numbers
from nas.settings import DataSettings
from spikformer.config import SpikformerConfig


@dataclass(frozen=True)
class FrameImages:
    """Labelled frames in memory.

    Attributes:
        frames: [n, T, 2, side, side], uint8 counts.
        labels: [n].
        names: where each recording lies, for people.
        digests: of the events of each recording; recordings of equal digests are copies.
    """

    frames: Tensor
    labels: Numbers
    names: Sequence[str]
    digests: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, i: int) -> str:
        """Where recording `i` lies, for people."""
        return self.names[i]

    def content(self, i: int) -> npt.NDArray[np.uint8]:
        """Frames of recording `i`, [T, 2, side, side]."""
        pixels: npt.NDArray[np.uint8] = self.frames[i].numpy()
        return pixels

    @property
    def runs(self) -> Numbers:
        return np.array([len(self)])


def parts(
    settings: DataSettings, seed: int, data_dir: str | Path | None, network: SpikformerConfig, on_progress: OnProgress
) -> tuple[FrameImages, FrameImages, str, tuple[str, ...]]:
    """What full training trains on and what it is tested on, the name of the latter, and the classes.

    The simulated digits have no test recordings: as for `nas.datasets.digits`, report-val is what is tested on.

    Args:
        settings, seed: those of the search that found the network.

    Raises:
        DataError: no recordings, damaged ones, or frames larger than the sensor.
    """
    folder = None if data_dir is None else str(Path(data_dir).absolute())
    train = FrameSource(settings, folder, network.stem.image_size)
    listing = train.listing(on_progress)
    every = np.arange(len(listing.labels))
    if settings.dataset == "dvs_digits":
        fitted, searched, reported = event_splits.cut(listing, settings, settings.dataset, seed)
        both = np.concatenate([fitted, searched])
        held = [_held(train, listing, np.sort(numbers), network, on_progress) for numbers in (both, reported)]
        return held[0], held[1], "report-val", listing.classes
    test = FrameSource(settings, folder, network.stem.image_size, "test")
    tested = test.listing(on_progress)
    own = _held(train, listing, every, network, on_progress)
    other = _held(test, tested, np.arange(len(tested.labels)), network, on_progress)
    return own, other, "test", listing.classes


def _held(
    source: FrameSource, listing: Listing, numbers: Numbers, network: SpikformerConfig, on_progress: OnProgress
) -> FrameImages:
    frames, _ = source.frames(network.time_steps, on_progress)
    chosen = frames if len(numbers) == len(frames) else frames[numbers]
    recordings = source.recordings.recordings
    names = [recordings.name(i) for i in numbers.tolist()]
    return FrameImages(chosen, listing.labels[numbers], names, listing.digests[numbers].tolist())


__all__ = ["FrameImages", "parts"]
