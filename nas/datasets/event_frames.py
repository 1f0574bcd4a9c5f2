"""Frames of recordings of event cameras, in the three parts that a search cuts its data into.

A recording is cut into T frames of counts once for each T and kept in the cache. How recordings are cut into train,
search-val and report-val does not depend on T. Test recordings are not opened here at all.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nas import files
from nas.datasets.splits import Numbers, Split
from nas.errors import DataError
from nas.events import EventSet, Part, Recording, StoredFrames, find
from nas.events import frames as frames_of
from nas.settings import DataSettings

_FORMAT = 1  # of the files in the cache
_EVERY = 100  # recordings between two words on progress

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Listing:
    """What is known of recordings without their events.

    Attributes:
        labels: [n].
        groups: [n]; recordings of one subject have one number.
        digests: of the events of each recording, [n]; recordings of equal digests are copies.
        counts: how many events each recording has, [n].
        classes: names, in the order of the labels.
        sensor: width and height in pixels.
        fingerprint: 12 hex digits of all events and labels.
    """

    labels: Numbers
    groups: Numbers
    digests: Numbers
    counts: Numbers
    classes: tuple[str, ...]
    sensor: tuple[int, int]
    fingerprint: str

    @property
    def same(self) -> Numbers:
        """For each recording the number of the first one with the same events, [n]."""
        _, first, inverse = np.unique(self.digests, return_index=True, return_inverse=True)
        return first[inverse]


@dataclass(frozen=True)
class FrameSource:
    """The recordings of one part of a data set, "train" or "test", as frames for any number of time steps.

    Attributes:
        data_dir: folder of the recordings.
        image_size: side of the network's images in pixels.
    """

    settings: DataSettings
    data_dir: str | None
    image_size: int
    part: Part = "train"

    @property
    def recordings(self) -> EventSet:
        """The recordings, found anew."""
        settings = self.settings
        if settings.dataset == "dvs_digits" and self.data_dir is not None:
            raise DataError(
                f"dvs_digits is simulated from scikit-learn's digits, and is in no folder. Leave --data-dir "
                f"{self.data_dir} out"
            )
        sensor = (settings.sensor[0], settings.sensor[1]) if settings.sensor else None
        return find(settings.dataset, self.data_dir, settings.split, self.part, sensor=sensor)

    def listing(self, on_progress: OnProgress = lambda _what, _done, _total: None) -> Listing:
        """All that is known without frames; every recording is read once, then the cache knows.

        Raises:
            DataError: no recordings, or a damaged one.
        """
        found = self.recordings
        path = files.cache_folder() / f"events-{self._key(found)}.safetensors"
        known = _read(path)
        if known is None:
            known = _listed(found, on_progress)
            _write(path, *known)
        tensors, metadata = known
        width, height = json.loads(metadata["sensor"])
        return Listing(
            labels=tensors["labels"].numpy(),
            groups=tensors["groups"].numpy(),
            digests=tensors["digests"].numpy(),
            counts=tensors["counts"].numpy(),
            classes=tuple(json.loads(metadata["classes"])),
            sensor=(width, height),
            fingerprint=metadata["fingerprint"],
        )

    def frames(
        self, time_steps: int, on_progress: OnProgress = lambda _what, _done, _total: None
    ) -> tuple[Tensor, Numbers]:
        """Frames of all recordings, uint8 [n, T, 2, side, side]; how many events of each did not fit into 255, [n].

        Raises:
            DataError: no recordings, a damaged one, or frames larger than the sensor.
        """
        found = self.recordings
        side = self._side(found.sensor)
        name = f"{self._key(found)}-{self.settings.slicing}-{side}px-T{time_steps}"
        path = files.cache_folder() / f"frames-{name}.safetensors"
        known = _read(path)
        if known is None:
            known = self._made(found, time_steps, side, on_progress), {}
            _write(path, *known)
        return known[0]["frames"], known[0]["saturated"].numpy()

    def _side(self, sensor: tuple[int, int]) -> int:
        square = max(sensor)
        if self.image_size > square:
            raise DataError(
                f"the network takes frames of {self.image_size} x {self.image_size} pixels, but the sensor has only "
                f"{sensor[0]} x {sensor[1]}. Set stem.image_size to at most {square}"
            )
        return square if self.settings.resize_frames else self.image_size

    def _made(self, found: EventSet, time_steps: int, side: int, on_progress: OnProgress) -> dict[str, Tensor]:
        total = len(found.recordings)
        frames = torch.empty(total, time_steps, 2, side, side, dtype=torch.uint8)
        saturated = torch.empty(total, dtype=torch.int64)
        for i in range(total):
            made = frames_of(found.recordings.recording(i), time_steps, self.settings.slicing, side)
            frames[i], saturated[i] = torch.from_numpy(made.counts), made.saturated
            if i % _EVERY == _EVERY - 1 or i + 1 == total:
                on_progress(f"making frames, T = {time_steps}", i + 1, total)
        return {"frames": frames, "saturated": saturated}

    def _key(self, found: EventSet) -> str:
        """Of files in the cache: it changes with any recording, and with which of them belong to this part."""
        words = (_FORMAT, self.settings.dataset, self.settings.split, self.part, found.recordings.digest())
        return hashlib.sha256(repr(words).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class CutFrames:
    """Frames of the recordings that a search trains and measures on.

    Attributes:
        parts: numbers of the recordings of train, search-val and report-val.
    """

    source: FrameSource
    labels: Numbers
    parts: tuple[Numbers, Numbers, Numbers]

    def splits(self, time_steps: int, device: torch.device) -> tuple[Split, Split, Split]:
        """The three parts as frames for that many time steps, on a device.

        Raises:
            DataError: see `FrameSource.frames`.
        """
        frames, _ = self.source.frames(time_steps)
        whole = Split(frames, torch.from_numpy(self.labels))
        train, search_val, report_val = (whole.take(numbers).to(device) for numbers in self.parts)
        return train, search_val, report_val

    def examples(self, time_steps: int, most: int) -> tuple[Numbers, Tensor]:
        """Labels, [k], and frames, [k, T, 2, side, side], of one recording to train on of each of the first classes.

        Args:
            most: number of classes, where there are as many.

        Raises:
            DataError: see `FrameSource.frames`.
        """
        train, frames = self.parts[0], self.source.frames(time_steps)[0]
        _, first = np.unique(self.labels[train], return_index=True)
        chosen = train[first[:most]]
        return self.labels[chosen], frames[chosen]


def _listed(found: EventSet, on_progress: OnProgress) -> tuple[dict[str, Tensor], dict[str, str]]:
    total, digest = len(found.recordings), hashlib.sha256(found.recordings.labels.tobytes())
    digests, counts = np.empty(total, np.int64), np.empty(total, np.int64)
    for i in range(total):
        recording = found.recordings.recording(i)
        content = _content(recording)
        digest.update(content)
        digests[i] = int.from_bytes(content[:8], "little", signed=True)
        counts[i] = len(recording) if isinstance(recording, Recording) else recording.counts.sum()
        if i % _EVERY == _EVERY - 1 or i + 1 == total:
            on_progress("reading recordings", i + 1, total)
    columns = {
        "labels": found.recordings.labels,
        "groups": found.recordings.groups,
        "digests": digests,
        "counts": counts,
    }
    metadata = {
        "classes": json.dumps(found.classes),
        "sensor": json.dumps(found.sensor),
        "fingerprint": digest.hexdigest()[:12],
    }
    return {name: torch.from_numpy(column) for name, column in columns.items()}, metadata


def _content(recording: Recording | StoredFrames) -> bytes:
    """A digest of the events, or of the frames that are there instead."""
    if isinstance(recording, StoredFrames):
        arrays: tuple[Numbers, ...] = (np.array(recording.counts.shape), recording.counts)
    else:
        arrays = (recording.t, recording.x, recording.y, recording.p)
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and words of a file in the cache; None where it is not there, or damaged."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118  # no dict
    except (OSError, safetensors.SafetensorError):
        return None


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """
    Raises:
        OutputError: the cache cannot be written; other processes read the frames from there.
    """
    files.write(path, lambda partial: safetensors.torch.save_file(tensors, partial, metadata))


__all__ = ["CutFrames", "FrameSource", "Listing"]
