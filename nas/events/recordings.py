"""The recordings of a data set, read one at a time."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from nas.errors import DataError
from nas.events import formats
from nas.events.recording import Numbers, Recording, Sensor, StoredFrames


class Recordings(Protocol):
    """Labelled recordings of one sensor."""

    @property
    def labels(self) -> Numbers:
        """Place of each recording's class in the classes of its data set, [n]."""

    @property
    def groups(self) -> Numbers:
        """Recordings of one person have one number, and belong into one part of the data, [n]."""

    @property
    def sensor(self) -> Sensor:
        """Width and height in pixels. Raises DataError: recordings that must be read to tell it are damaged."""

    def __len__(self) -> int: ...

    def name(self, i: int) -> str:
        """Where recording `i` lies, for people."""

    def recording(self, i: int) -> Recording | StoredFrames:
        """Recording `i`, or the frames that its file holds instead. Raises DataError: it is damaged."""

    def digest(self) -> str:
        """64 hex digits that change with the recordings, found without reading them."""


@dataclass(frozen=True)
class EventSet:
    """One part of a data set.

    Attributes:
        recordings: in the order of their labels, and of their names within a class.
        classes: names, in the order of the labels.
    """

    recordings: Recordings
    classes: tuple[str, ...]

    @property
    def sensor(self) -> Sensor:
        """Width and height in pixels. Raises DataError: recordings that must be read to tell it are damaged."""
        return self.recordings.sensor


@dataclass(frozen=True, eq=False)
class Files:
    """One file per recording.

    Attributes:
        given: the sensor, where the user or the authors of the data set give it.
        sized_by: recordings that tell the sensor where it is not given (`nas.events.formats.sensor_of`).
    """

    paths: tuple[Path, ...]
    labels: Numbers
    groups: Numbers
    given: Sensor | None
    sized_by: tuple[Path, ...] = ()

    @cached_property
    def sensor(self) -> Sensor:
        return self.given or formats.sensor_of(self.sized_by)

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, i: int) -> str:
        return str(self.paths[i])

    def recording(self, i: int) -> Recording | StoredFrames:
        return formats.read(self.paths[i], self.sensor, is_given=self.given is not None)

    def digest(self) -> str:
        """Of the sensor that was given, and of the path, size, time of change and label of each file.

        Raises:
            DataError: a file is gone.
        """
        digest = hashlib.sha256(repr((self.given, self.labels.tolist())).encode())
        for path in (*self.paths, *(() if self.given else self.sized_by)):
            try:
                state = path.stat()
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}. Copy it again or remove it") from None
            digest.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()


__all__ = ["EventSet", "Files", "Recordings"]
