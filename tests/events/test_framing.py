"""Every event is in one frame: by plain loops, and by SpikingJelly on the same events."""

import numpy as np
import pytest

from nas.errors import DataError
from nas.events import Recording, Slicing, StoredFrames, frames
from tests import recordings
from tests.recordings import Event


def _by_hand(events: list[Event], width: int, height: int, steps: int, slicing: Slicing, side: int) -> list[list[int]]:
    """[T, 2 * side * side], by the words of the docstring."""
    square = max(width, height)
    counts = [[0] * (2 * side * side) for _ in range(steps)]
    for number, (t, x, y, p) in enumerate(events):
        first, last = events[0][0], events[-1][0]
        length = len(events) // steps if slicing == "number" else (last - first) // steps
        place = number if slicing == "number" else t - first
        step = steps - 1
        for k in range(steps - 1):
            if k * length <= place < (k + 1) * length:
                step = k
        column = int((x + (square - width) // 2) * side / square)
        row = int((y + (square - height) // 2) * side / square)
        counts[step][p * side * side + row * side + column] += 1
    return counts


@pytest.mark.parametrize("slicing", ["number", "time"])
@pytest.mark.parametrize(("width", "height"), [(16, 16), (20, 12), (7, 12)])
@pytest.mark.parametrize(("events", "steps", "side"), [(500, 4, 12), (500, 7, 5), (503, 16, 12), (5, 3, 1), (3, 4, 8)])
def test_frames_are_those_of_plain_loops(
    events: int, steps: int, side: int, width: int, height: int, slicing: Slicing
) -> None:
    """Sensors that are square, wide and high; sides that divide them, and that do not; fewer events than frames."""
    made = recordings.made(events, width, height)
    framed = frames(recordings.recording(made, width, height), steps, slicing, side)
    assert framed.counts.dtype == np.uint8
    assert framed.counts.shape == (steps, 2, side, side)
    assert framed.counts.reshape(steps, -1).tolist() == _by_hand(made, width, height, steps, slicing, side)
    assert framed.saturated == 0
    assert framed.counts.sum() == events


@pytest.mark.parametrize("slicing", ["number", "time"])
@pytest.mark.parametrize("steps", [1, 4, 10, 16])
def test_frames_at_full_size_are_spikingjellys(steps: int, slicing: Slicing) -> None:
    """Bit by bit, with times that begin late and are not evenly spread."""
    datasets = pytest.importorskip("spikingjelly.datasets")
    made = [(10**9 + t * t // 1000, x, y, p) for t, x, y, p in recordings.made(2000, 34, 34)]
    recording = recordings.recording(made, 34, 34)
    arrays = {key: getattr(recording, key) for key in "txyp"}
    theirs = datasets.integrate_events_by_fixed_frames_number(arrays, slicing, steps, 34, 34)
    assert (frames(recording, steps, slicing, 34).counts == theirs).all()


def test_fewer_events_than_frames_are_in_the_last_frame() -> None:
    """As SpikingJelly: 3 events in 4 frames are 0, 0, 0, 3."""
    recording = recordings.recording([(0, 0, 0, 0), (1, 0, 0, 1), (2, 1, 0, 0)], 2, 2)
    assert frames(recording, 4, "number", 2).counts.sum((1, 2, 3)).tolist() == [0, 0, 0, 3]
    assert frames(recording, 4, "time", 2).counts.sum((1, 2, 3)).tolist() == [0, 0, 0, 3]


def test_a_slice_of_time_without_events_is_a_frame_of_zeros() -> None:
    """SpikingJelly raises IndexError. By hand: 100 // 4 = 25 microseconds, and the rest for the last."""
    recording = recordings.recording([(7 + t, 0, 0, 1) for t in (0, 24, 75, 100)], 2, 2)
    assert frames(recording, 4, "time", 2).counts.sum((1, 2, 3)).tolist() == [2, 0, 0, 2]


def test_counts_above_255_are_255_and_told() -> None:
    """300 events in one pixel, 256 in another and 255 in a third: 45 + 1 + 0 are missing."""
    places = [(0, 0)] * 300 + [(1, 0)] * 256 + [(1, 1)] * 255
    recording = recordings.recording([(t, x, y, 0) for t, (x, y) in enumerate(places)], 2, 2)
    framed = frames(recording, 1, "number", 2)
    assert framed.counts[0, 0].tolist() == [[255, 255], [0, 255]]
    assert framed.saturated == 46


@pytest.mark.parametrize(("width", "height", "side"), [(8, 8, 8), (10, 6, 7), (5, 9, 4)])
def test_stored_frames_are_placed_as_their_events(width: int, height: int, side: int) -> None:
    """Stored at full size by plain counting, then made smaller; the slices stay."""
    made = recordings.made(4000, width, height)
    stored = np.zeros((3, 2, height, width))
    for number, (_, x, y, p) in enumerate(made):
        stored[min(number // (len(made) // 3), 2), p, y, x] += 1
    expected = frames(recordings.recording(made, width, height), 3, "number", side)
    framed = frames(StoredFrames(stored), 3, "time", side)
    assert (framed.counts == expected.counts).all()
    assert framed.saturated == expected.saturated


def _recording() -> Recording:
    return recordings.recording([(0, 0, 0, 0), (5, 3, 1, 1)], 4, 2)


@pytest.mark.parametrize(
    ("item", "steps", "slicing", "side", "words"),
    [
        (_recording(), 2, "number", 5, "Use an image size from 1 to 4"),
        (_recording(), 2, "number", 0, "Use an image size from 1 to 4"),
        (_recording(), 0, "number", 4, "Use 1 or more time steps"),
        (_recording(), 2, "count", 4, 'Use "number" or "time"'),
        (StoredFrames(np.ones((3, 2, 4, 4))), 4, "number", 4, "holds 3 frames, but 4 time steps are asked for"),
    ],
)
def test_what_cannot_be_framed_is_refused(
    item: Recording | StoredFrames, steps: int, slicing: Slicing, side: int, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        frames(item, steps, slicing, side)
