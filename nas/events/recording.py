"""One recording of an event camera: its events, or the frames that its authors made of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import DataError

Numbers = npt.NDArray[np.int64]
Sensor = tuple[int, int]
"""Width and height in pixels."""

_AGAIN = "Convert the recording again or remove it"


@dataclass(frozen=True, eq=False)
class Recording:
    """Events in the order of their times.

    A recording whose times are not sorted is sorted here; events of the same time keep their order. That loses
    nothing, while SpikingJelly slices such a recording in the order of the file.

    Args:
        t, x, y, p: arrays of any integer type, [n]; stored in the types below.

    Attributes:
        t (microseconds): times, [n], int64, ascending.
        x (pixels): columns from the left, [n], int64.
        y (pixels): rows from the top, [n], int64.
        p: polarities, [n], uint8: 1 where it became brighter, 0 where it became darker.
        width, height (pixels): size of the sensor.
        name: file of the recording, which errors name.

    Raises:
        DataError: no events, arrays of different lengths or of other types, events outside the sensor, or polarities
            other than 0 and 1.
    """

    t: npt.NDArray[Any]
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    p: npt.NDArray[Any]
    width: int
    height: int
    name: str = "the recording"

    def __post_init__(self) -> None:
        self._check_arrays()
        for key, kind in (("t", np.int64), ("x", np.int64), ("y", np.int64), ("p", np.uint8)):
            object.__setattr__(self, key, getattr(self, key).astype(kind))
        self._check_places()
        if (np.diff(self.t) < 0).any():
            order = np.argsort(self.t, kind="stable")
            for key in ("t", "x", "y", "p"):
                object.__setattr__(self, key, getattr(self, key)[order])

    def __len__(self) -> int:
        return len(self.t)

    def _check_arrays(self) -> None:
        arrays = {"t": self.t, "x": self.x, "y": self.y, "p": self.p}
        for key, array in arrays.items():
            if array.ndim != 1 or array.dtype.kind not in "iub":
                raise DataError(
                    f"{self.name}: {key} is an array of {array.dtype} with shape {array.shape}, but must hold one "
                    f"whole number per event (times in microseconds). {_AGAIN}"
                )
        if len({len(array) for array in arrays.values()}) > 1:
            lengths = ", ".join(f"{len(array)} {key}" for key, array in arrays.items())
            raise DataError(f"{self.name} is damaged: its events have {lengths}. {_AGAIN}")
        if len(self.t) == 0:
            raise DataError(f"{self.name} holds no events. Remove it or record it again")
        if int(self.t.max()) > np.iinfo(np.int64).max:
            raise DataError(f"{self.name}: the time {self.t.max()} exceeds 63 bits. {_AGAIN}")
        if ((self.p != 0) & (self.p != 1)).any():
            raise DataError(
                f"{self.name}: polarities {np.unique(self.p)[:5].tolist()} must be 1 (brighter) and 0 (darker). "
                f"{_AGAIN}"
            )

    def _check_places(self) -> None:
        outside = (self.x < 0) | (self.x >= self.width) | (self.y < 0) | (self.y >= self.height)
        if outside.any():
            first = int(outside.argmax())
            raise DataError(
                f"{self.name}: {int(outside.sum())} of {len(self)} events lie outside the sensor of {self.width} x "
                f"{self.height} pixels, the first one, event {first}, at x = {self.x[first]}, y = {self.y[first]}. "
                "Give the size of the sensor that recorded it, or remove the recording"
            )


@dataclass(frozen=True, eq=False)
class StoredFrames:
    """Frames that a file holds instead of events.

    Args:
        counts: an array of any type of numbers; stored as int64.

    Attributes:
        counts (events): [T, 2, H, W], int64. Channel 0 holds events of polarity 0.
        name: file of the frames, which errors name.

    Raises:
        DataError: another shape, or values that are no counts.
    """

    counts: npt.NDArray[Any]
    name: str = "the frames"

    def __post_init__(self) -> None:
        shape = self.counts.shape
        if self.counts.dtype.kind not in "iubf" or len(shape) != 4 or shape[1] != 2 or 0 in shape:
            raise DataError(
                f"{self.name}: frames are an array of {self.counts.dtype} with shape {shape}, but must be numbers of "
                "shape [T, 2, H, W]: time steps, polarities, rows, columns. Convert them"
            )
        with np.errstate(invalid="ignore"):  # what is no number is refused in the next line
            whole = self.counts.astype(np.int64)
        if (whole != self.counts).any() or whole.min() < 0:
            raise DataError(
                f"{self.name}: frames must hold numbers of events, which are whole and not negative. Store the frames "
                "before they are normalised"
            )
        object.__setattr__(self, "counts", whole)

    @property
    def width(self) -> int:
        return int(self.counts.shape[3])

    @property
    def height(self) -> int:
        return int(self.counts.shape[2])


__all__ = ["Numbers", "Recording", "Sensor", "StoredFrames"]
