"""What a file of one recording holds, before it is checked against the sensor of its data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from nas.errors import DataError
from nas.events.recording import Sensor, StoredFrames


@dataclass(frozen=True, eq=False)
class Events:
    """Events as a file holds them, [n] each; `sensor` is what its header says, if it says it."""

    t: npt.NDArray[Any]
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    p: npt.NDArray[Any]
    sensor: Sensor | None = None


Contents = Events | StoredFrames


def check_records(path: Path, length: int, size: int) -> None:
    """Raises DataError: the part of a file behind its header is empty, or no whole number of records.

    Args:
        length: of that part, in bytes.
        size: of one event, in bytes.
    """
    if length == 0:
        raise DataError(f"{path} holds no events. Remove it or copy it again")
    if length % size:
        raise DataError(
            f"{path} is truncated or of another format: {length} bytes of events are no multiple of {size} bytes. Copy "
            "it again or remove it"
        )


def check_clock(path: Path, t: npt.NDArray[Any], bits: int) -> None:
    """Raises DataError: the times fall by more than half of what a counter of `bits` bits holds: it began again."""
    falls = (t[:-1].astype("int64") - t[1:].astype("int64")) > 1 << (bits - 1)
    if falls.any():
        raise DataError(
            f"{path}: the clock of {bits} bits began again after event {int(falls.argmax())}, so that the times are "
            "ambiguous. Cut the recording there, or store its times in an .npz"
        )


__all__ = ["Contents", "Events", "check_clock", "check_records"]
