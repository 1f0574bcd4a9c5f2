"""The simulated sensor: by a plain loop over pixels and steps, by the sums of its events, and twice."""

import math

import numpy as np

from nas import events
from nas.events import moving_digits
from tests import recordings
from tests.recordings import Event

_COLUMNS = range(12, 20)  # of 34: plain loops are slow


def _by_hand(ink: list[list[float]]) -> list[Event]:
    """The docstring of the module in plain loops; what is drawn at random for each pixel is the module's."""
    thresholds, surplus = moving_digits._pixels()
    made = []
    for y in range(34):
        for x in _COLUMNS:
            before = _seen(ink, x, y, 0)
            remembered = before + surplus[y, x]
            for step in range(30):
                after, threshold = _seen(ink, x, y, step + 1), thresholds[y, x]
                while abs(after - remembered) >= threshold:
                    p = int(after > remembered)
                    remembered += threshold if p else -threshold
                    t = int((step + (remembered - before) / (after - before)) * 10_000)
                    made.append((t, x, y, p))
                before = after
    return sorted(made)


def _seen(ink: list[list[float]], x: int, y: int, step: int) -> float:
    corners = [(-2, -2), (0, 2), (2, -2), (-2, -2)]
    side, share = min(step // 10, 2), step / 10 - min(step // 10, 2)
    (x0, y0), (x1, y1) = corners[side], corners[side + 1]
    column = (x - 16.5 - (x0 + share * (x1 - x0))) / 3 + 3.5
    row = (y - 16.5 - (y0 + share * (y1 - y0))) / 3 + 3.5
    luminance = 0.15
    for i in range(math.floor(row), math.floor(row) + 2):
        for j in range(math.floor(column), math.floor(column) + 2):
            if 0 <= i < 8 and 0 <= j < 8:
                luminance += (1 - abs(row - i)) * (1 - abs(column - j)) * ink[i][j]
    return math.log(luminance)


def test_events_are_those_of_a_plain_loop() -> None:
    """Times may differ by the rounding of a microsecond."""
    digits = events.find("dvs_digits", None, "", "train").recordings
    ink, _ = moving_digits.MovingDigits()._images
    ours = [event for event in recordings.events_of(digits.recording(1796)) if event[1] in _COLUMNS]
    theirs = _by_hand(ink[1796].tolist())
    assert len(ours) > 100
    assert sorted((x, y, p) for _, x, y, p in ours) == sorted((x, y, p) for _, x, y, p in theirs)
    assert max(abs(a[0] - b[0]) for a, b in zip(ours, theirs, strict=True)) <= 1


def test_there_are_some_hundreds_to_two_thousand_events() -> None:
    part = events.find("dvs_digits", None, "", "train")
    assert (len(part.recordings), part.sensor, part.classes) == (1797, (34, 34), tuple("0123456789"))
    for i in range(0, 1797, 60):
        recording = part.recordings.recording(i)
        assert isinstance(recording, events.Recording)
        assert 500 < len(recording) < 2000
        assert recording.t.max() <= 300_000
        assert 0.4 < recording.p.mean() < 0.6  # it ends where it began


def test_the_same_image_gives_the_same_events_and_labels_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    first, second = (events.find("dvs_digits", None, "all", "train").recordings for _ in range(2))
    assert recordings.events_of(first.recording(5)) == recordings.events_of(second.recording(5))
    assert first.digest() == second.digest()
    assert (first.labels == load_digits().target).all()
    assert np.unique(first.groups).size == 1797
    assert first.name(5) == "moving digit 5"
