"""Every file format of a recording, by the end of the file's name."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy.typing as npt

from nas.errors import DataError
from nas.events import aedat, arrays, binary
from nas.events.contents import Contents, Events
from nas.events.recording import Recording, Sensor, StoredFrames

_READERS: dict[str, Callable[[Path], Contents]] = {
    ".npz": arrays.read_npz,
    ".npy": arrays.read_npy,
    ".bin": binary.read_atis,
    ".dat": binary.read_dat,
    ".aedat": aedat.read_aedat,
    ".aedat4": aedat.read_aedat4,
}
SUFFIXES = tuple(_READERS)
_CHECKS: dict[str, Callable[[Path], None]] = {".bin": binary.check_atis, ".aedat": aedat.check_aedat}


def read(path: Path, sensor: Sensor, *, is_given: bool) -> Recording | StoredFrames:
    """The recording of a file.

    Args:
        sensor: size in pixels of the sensor of the whole data set.
        is_given: `sensor` comes from the user or from the authors of a data set, and counts more than a header.

    Raises:
        DataError: the file is damaged, of another format, or of another sensor.
    """
    contents = _contents(path)
    stated = _stated(contents)
    if stated not in (None, sensor) and (isinstance(contents, StoredFrames) or not is_given):
        raise DataError(
            f"{path} is of a sensor of {_size(stated)} pixels, but the recordings of its data set are of "
            f"{_size(sensor)}. Put recordings of one sensor into one data set, or give the sensor that holds all events"
        )
    if isinstance(contents, StoredFrames):
        return contents
    return Recording(contents.t, contents.x, contents.y, contents.p, *sensor, name=str(path))


def sensor_of(paths: Iterable[Path]) -> Sensor:
    """The sensor that the first recording to state one states, or the smallest one that holds the events of all.

    Raises:
        DataError: a file is damaged or of another format.
    """
    width = height = 1
    for path in paths:
        contents = _contents(path)
        stated = _stated(contents)
        if stated is not None:
            return stated
        if isinstance(contents, Events):
            width, height = max(width, _extent(contents.x)), max(height, _extent(contents.y))
    return width, height


def _extent(places: npt.NDArray[Any]) -> int:
    """Pixels that hold these columns or rows; arrays that are no places are refused when the recording is read."""
    return int(places.max()) + 1 if places.size and places.dtype.kind in "iu" else 1


def check(path: Path) -> None:
    """Raises DataError: the file is truncated; of formats that its length tells. Events are not read."""
    if path.suffix.lower() in _CHECKS:
        _CHECKS[path.suffix.lower()](path)


def _contents(path: Path) -> Contents:
    try:
        return _READERS[path.suffix.lower()](path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}. Copy it again or remove it") from None


def _stated(contents: Contents) -> Sensor | None:
    if isinstance(contents, StoredFrames):
        return contents.width, contents.height
    return contents.sensor


def _size(sensor: Sensor | None) -> str:
    return "" if sensor is None else f"{sensor[0]} x {sensor[1]}"


__all__ = ["SUFFIXES", "check", "read", "sensor_of"]
