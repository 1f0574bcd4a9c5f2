"""Frames: events counted by time step, polarity and pixel.

The slices of time are SpikingJelly's (`spikingjelly.datasets.integrate_events_by_fixed_frames_number`), so that frames
at full size equal its frames. Its function is not called: importing it also imports matplotlib, which takes seconds in
every process, and it raises IndexError where a slice of time holds no event.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from nas.errors import DataError
from nas.events.recording import Numbers, Recording, StoredFrames

Slicing = Literal["number", "time"]
_MOST = np.iinfo(np.uint8).max


@dataclass(frozen=True, eq=False)
class Frames:
    """What a network is shown of one recording.

    Attributes:
        counts (events): [T, 2, side, side], uint8. Channel 0 holds events of polarity 0; a count above 255 is 255.
        saturated (events): number of events that are missing from `counts` because a count exceeded 255.
    """

    counts: npt.NDArray[np.uint8]
    saturated: int


def frames(recording: Recording | StoredFrames, time_steps: int, slicing: Slicing, side: int) -> Frames:
    """Count the events of a recording in `time_steps` frames of `side` x `side` pixels.

    Place: the sensor lies in the middle of the smallest square that holds it; with an odd rest, one pixel nearer to the
    left or the top. Column x of that square becomes column floor(x * side / square), rows likewise, and counts that
    meet are added.

    Time, for N events: "number" puts N // time_steps events into each frame and the rest into the last one. "time"
    gives each frame (t_last - t_first) // time_steps microseconds and the rest to the last one; a frame without events
    is zero. Where that quotient is 0, because there are fewer events or microseconds than frames, the last frame holds
    all events, as in SpikingJelly.

    Frames that a file holds are placed in the same way. Their slices are left as they are.

    Raises:
        DataError: `side` exceeds the square, `time_steps` is not the number of the stored frames or below 1, or
            `slicing` has no meaning.
    """
    _check(recording, time_steps, slicing, side)
    if isinstance(recording, StoredFrames):
        rows, columns = (_placement(size, recording, side) for size in (recording.height, recording.width))
        counts = rows @ recording.counts @ columns.T
    else:
        counts = _counted(recording, time_steps, slicing, side)
    return Frames(np.minimum(counts, _MOST).astype(np.uint8), int(np.maximum(counts - _MOST, 0).sum()))


def _counted(recording: Recording, time_steps: int, slicing: Slicing, side: int) -> Numbers:
    position = np.arange(len(recording)) if slicing == "number" else recording.t - recording.t[0]
    length = (len(recording) if slicing == "number" else int(position[-1])) // time_steps
    step = np.minimum(position // length, time_steps - 1) if length else np.full(len(recording), time_steps - 1)
    row = _moved(recording.y, recording.height, recording, side)
    column = _moved(recording.x, recording.width, recording, side)
    cell = ((step * 2 + recording.p) * side + row) * side + column
    return np.bincount(cell, minlength=time_steps * 2 * side * side).reshape(time_steps, 2, side, side)


def _moved(places: Numbers, size: int, recording: Recording | StoredFrames, side: int) -> Numbers:
    """Rows or columns of a frame, of those of a sensor that is `size` pixels high or wide."""
    square = _square(recording)
    moved: Numbers = (places + (square - size) // 2) * side // square
    return moved


def _placement(size: int, recording: StoredFrames, side: int) -> Numbers:
    """[side, size]: 1 where a row or column of the sensor comes to one of the frame."""
    moved = _moved(np.arange(size), size, recording, side)
    ones: Numbers = (np.arange(side)[:, None] == moved).astype(np.int64)
    return ones


def _square(recording: Recording | StoredFrames) -> int:
    return max(recording.width, recording.height)


def _check(recording: Recording | StoredFrames, time_steps: int, slicing: str, side: int) -> None:
    if time_steps < 1:
        raise DataError(f"{recording.name} cannot be cut into {time_steps} frames. Use 1 or more time steps")
    if slicing not in ("number", "time"):
        raise DataError(f'{recording.name} cannot be cut by "{slicing}". Use "number" or "time"')
    square = _square(recording)
    if not 1 <= side <= square:
        raise DataError(
            f"{recording.name}: frames of {side} x {side} pixels cannot be made of a sensor of {recording.width} x "
            f"{recording.height} pixels. Use an image size from 1 to {square}"
        )
    if isinstance(recording, StoredFrames) and len(recording.counts) != time_steps:
        raise DataError(
            f"{recording.name} holds {len(recording.counts)} frames, but {time_steps} time steps are asked for. Use "
            f"{len(recording.counts)} time steps, or give the events that the frames were made of"
        )


__all__ = ["Frames", "Slicing", "frames"]
