"""Handwritten digits before a simulated event camera: the 1,797 images of scikit-learn, each moved in three saccades.

N-MNIST was recorded in this way from a screen (Orchard et al., Frontiers in Neuroscience 9:437, 2015); this is a small
simulation of it, which needs no download.

* Scene: an image of 8 x 8 pixels is shown bilinearly enlarged three times, in the middle of a sensor of 34 x 34 pixels,
  bright on dark. A pixel sees the luminance 0.15 + ink, with ink from 0 to 1.
* Motion: the image moves along the sides of an isosceles triangle with corners (-2, -2), (0, 2) and (2, -2) pixels in x
  and y, 100 ms each, at constant speed, and ends where it began.
* Sensor: a pixel remembers the logarithm of a luminance. It sends an event, and moves what it remembers by its
  threshold, whenever the logarithm has risen (p = 1) or fallen (p = 0) by that threshold: the model of Rebecq et al.
  (ESIM, CoRL 2018). Luminance is computed every 10 ms and its logarithm is linear in between, which gives times in
  microseconds. Thresholds differ between pixels, as in a real sensor: normally distributed around 0.55 with a standard
  deviation of 0.03. What a pixel remembers at first differs from what it sees by up to half its threshold, uniformly
  distributed, because something else was there before. Both are drawn once from the seed 0 and are the same for all
  images. There is no noise.
"""

import functools
import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.events.recording import Numbers, Recording, Sensor
from nas.events.recordings import EventSet

Floats = npt.NDArray[np.float64]
SENSOR: Sensor = (34, 34)
CLASSES = tuple("0123456789")
_SIDE, _PIXELS, _ENLARGED = SENSOR[0], 8, 3
_CORNERS = np.array([(-2, -2), (0, 2), (2, -2), (-2, -2)], float)  # x, y in pixels
_SACCADE_US, _STEP_US = 100_000, 10_000
_DARK, _THRESHOLD, _MISMATCH, _SEED = 0.15, 0.55, 0.03, 0
_MODEL = 1  # rises where the events of an image change


@dataclass(frozen=True, eq=False)
class MovingDigits:
    """All digits; recording i shows image i of `sklearn.datasets.load_digits`."""

    @cached_property
    def _images(self) -> tuple[Floats, Numbers]:
        from sklearn.datasets import load_digits  # slow to import, and only the demo needs it

        bunch = load_digits()
        return bunch.images / 16, bunch.target.astype(np.int64)

    @property
    def labels(self) -> Numbers:
        return self._images[1]

    @property
    def groups(self) -> Numbers:
        """Each its own: scikit-learn does not tell the writers."""
        return np.arange(len(self))

    @property
    def sensor(self) -> Sensor:
        return SENSOR

    def __len__(self) -> int:
        return len(self._images[1])

    def name(self, i: int) -> str:
        return f"moving digit {i}"

    def recording(self, i: int) -> Recording:
        if i not in self._simulated:
            self._simulated[i] = moved(self._images[0][i], self.name(i))
        return self._simulated[i]

    @cached_property
    def _simulated(self) -> dict[int, Recording]:
        """Simulating takes longer than making frames, which read each recording once per T. All are 61 MB."""
        return {}

    def digest(self) -> str:
        """Of the images and of the version of the simulation."""
        return hashlib.sha256(self._images[0].tobytes() + bytes([_MODEL])).hexdigest()


@functools.cache
def find() -> EventSet:
    """All digits; which of them are the test is not decided here. They are simulated once in a process."""
    return EventSet(MovingDigits(), CLASSES)


def moved(ink_HW: Floats, name: str) -> Recording:
    """The events that one image causes.

    Args:
        ink_HW: [8, 8], from 0 to 1.
    """
    rows_KYH, columns_KXW = _views()
    seen_KYX = np.log(_DARK + rows_KYH @ ink_HW @ columns_KXW.transpose(0, 2, 1))
    threshold_YX, surplus_YX = _pixels()
    remembered_KYX, crossings_KYX = np.empty_like(seen_KYX[1:]), np.empty(seen_KYX[1:].shape, np.int64)
    remembered_YX = seen_KYX[0] + surplus_YX
    for k, seen_YX in enumerate(seen_KYX[1:]):
        remembered_KYX[k] = remembered_YX
        crossings_KYX[k] = np.trunc((seen_YX - remembered_YX) / threshold_YX)
        remembered_YX = remembered_YX + crossings_KYX[k] * threshold_YX
    return _recording(seen_KYX, remembered_KYX, crossings_KYX, name)


def _recording(seen_KYX: Floats, remembered_KYX: Floats, crossings_KYX: Numbers, name: str) -> Recording:
    """One event per crossing of the threshold, at the time at which the line between two steps crosses it."""
    places = np.repeat(np.flatnonzero(crossings_KYX), np.abs(crossings_KYX[crossings_KYX != 0]))
    step, y, x = np.unravel_index(places, crossings_KYX.shape)
    number = np.arange(len(places)) - np.searchsorted(places, places) + 1  # first, second... of its pixel and step
    crossings = crossings_KYX[step, y, x]
    level = remembered_KYX[step, y, x] + np.sign(crossings) * number * _pixels()[0][y, x]
    before, after = seen_KYX[step, y, x], seen_KYX[step + 1, y, x]
    t = ((step + (level - before) / (after - before)) * _STEP_US).astype(np.int64)
    order = np.argsort(t, kind="stable")
    return Recording(t[order], x[order], y[order], (crossings > 0)[order], *SENSOR, name=name)


@functools.cache
def _pixels() -> tuple[Floats, Floats]:
    """Thresholds, and what pixels remember at first beyond what they see, [34, 34] each.

    Without the second, an image that comes back would end exactly at a threshold, and rounding would decide.
    """
    generator = np.random.default_rng(_SEED)
    thresholds = generator.normal(_THRESHOLD, _MISMATCH, SENSOR)
    return thresholds, thresholds * generator.uniform(-0.5, 0.5, SENSOR)


@functools.cache
def _views() -> tuple[Floats, Floats]:
    """How rows and columns of the sensor see those of the image at each step, [31, 34, 8] each."""
    steps = np.arange(0, len(_CORNERS) * _SACCADE_US - _SACCADE_US + 1, _STEP_US)
    corners_us = np.arange(len(_CORNERS)) * _SACCADE_US
    shift_x, shift_y = (np.interp(steps, corners_us, corner) for corner in _CORNERS.T)
    return _view(shift_y), _view(shift_x)


def _view(shift_K: Floats) -> Floats:
    """Bilinear weights: pixel y of the sensor sees the image at (y - middle - shift) / 3, and darkness outside it."""
    middle = (_SIDE - 1) / 2
    place_KY = (np.arange(_SIDE) - middle - shift_K[:, None]) / _ENLARGED + (_PIXELS - 1) / 2
    weights_KYH: Floats = np.maximum(0, 1 - np.abs(place_KY[:, :, None] - np.arange(_PIXELS)))
    return weights_KYH


__all__ = ["CLASSES", "SENSOR", "MovingDigits", "find", "moved"]
