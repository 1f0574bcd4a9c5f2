"""What is no recording is refused with its name; what is unsorted is sorted, and nothing is lost."""

import re
from typing import Any

import numpy as np
import pytest

from nas.errors import DataError
from nas.events import Recording, StoredFrames

_SOUND: dict[str, Any] = {"t": [1, 2, 3], "x": [0, 3, 1], "y": [0, 1, 2], "p": [0, 1, 1]}


def _recording(**changed: Any) -> Recording:
    arrays = {key: np.asarray(value) for key, value in (_SOUND | changed).items()}
    return Recording(**arrays, width=4, height=3, name="a.npz")


def test_types_are_the_stated_ones_whatever_a_file_has() -> None:
    """Big-endian and unsigned times too, whose differences would wrap."""
    recording = _recording(t=np.array([1, 2, 3], ">u4"), x=np.array([0, 3, 1], np.uint16), p=np.array([0, 1, 1], bool))
    kinds = [array.dtype for array in (recording.t, recording.x, recording.y, recording.p)]
    assert kinds == [np.dtype(np.int64)] * 3 + [np.dtype(np.uint8)]
    assert recording.t.dtype.isnative
    assert recording.t.tolist() == [1, 2, 3]


def test_unsorted_times_are_sorted_and_equal_ones_keep_their_order() -> None:
    recording = _recording(t=np.array([5, 2, 5], np.uint32))
    assert [recording.t.tolist(), recording.x.tolist(), recording.y.tolist()] == [[2, 5, 5], [3, 0, 1], [1, 0, 2]]
    assert recording.p.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"x": [0, 4, 1]}, "1 of 3 events lie outside the sensor of 4 x 3 pixels, the first one, event 1, at x = 4, y"),
        ({"y": [0, 1, 3]}, "event 2, at x = 1, y = 3"),
        ({"x": [-1, 0, 0]}, "at x = -1, y = 0"),
        ({"p": [0, 1, 2]}, "polarities [0, 1, 2] must be"),
        ({"p": [-1, 1, 1]}, "polarities [-1, 1] must be"),
        ({"t": [1, 2]}, "2 t, 3 x, 3 y, 3 p"),
        ({"t": [1.0, 2.0, 3.0]}, "t is an array of float64"),
        ({"t": ["a", "b", "c"]}, "t is an array of <U1"),
        ({"t": [[1, 2, 3]]}, "with shape (1, 3)"),
        ({"t": np.array([1, 2, 2**63], np.uint64)}, "exceeds 63 bits"),
        ({key: np.array([], int) for key in "txyp"}, "holds no events"),
    ],
)
def test_what_is_no_recording_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)) as error:
        _recording(**changed)
    assert "a.npz" in str(error.value)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 3, 4, 4)), "shape (2, 3, 4, 4)"),
        (np.zeros((2, 4, 4)), "shape (2, 4, 4)"),
        (np.zeros((0, 2, 4, 4)), "shape (0, 2, 4, 4)"),
        (np.zeros((1, 2, 4, 4), complex), "complex128"),
        (np.full((1, 2, 4, 4), 0.5), "whole"),
        (np.full((1, 2, 4, 4), -1), "not negative"),
        (np.full((1, 2, 4, 4), np.nan), "whole"),
        (np.full((1, 2, 4, 4), np.inf), "whole"),
    ],
)
def test_what_are_no_counts_is_refused(array: np.ndarray[Any, Any], words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)) as error:
        StoredFrames(array, "b.npy")
    assert "b.npy" in str(error.value)


def test_frames_of_spikingjelly_are_whole_numbers_again() -> None:
    """It saves them as float64."""
    frames = StoredFrames(np.arange(12.0).reshape(1, 2, 2, 3))
    assert frames.counts.dtype == np.int64
    assert (frames.width, frames.height) == (3, 2)
