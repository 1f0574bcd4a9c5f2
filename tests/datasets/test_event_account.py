"""What is said of recordings: how many, of whom, how they became frames, and what did not fit."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from nas.datasets import event_account, tells_imbalance
from nas.datasets.event_frames import Listing
from nas.settings import DataSettings
from spikformer.config import StemConfig

STEM = StemConfig(in_channels=2, image_size=16)
LISTING = Listing(
    np.array([0, 0, 0, 1, 1, 1]), np.arange(6), np.arange(6), np.array([10, 20, 30, 40, 1_500, 60]), ("left", "right"),
    (34, 30), "",
)  # fmt: skip
PARTS = np.array([0, 3]), np.array([1, 4]), np.array([2, 5])


def _said(listing: Listing = LISTING, stem: StemConfig = STEM, saturated: int = 0, **settings: Any) -> str:
    data = DataSettings("event_folder", **settings)
    lost = np.array([0, 0, 0, 0, saturated, 0])
    return " ".join(event_account.account(listing, PARTS, data, stem, {2: lost, 8: 0 * lost}))


def test_recordings_per_class_and_how_frames_are_made() -> None:
    assert _said() == (
        "Recordings per class (train / search-val / report-val): 1 / 1 / 1 of each of 2 classes. A recording of the "
        "34 x 30 sensor has from 10 to 1,500 events (median 35). Its frames, of equal number of events, count events "
        "in 16 x 16 pixels, in the middle of which the sensor lies."
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"slicing": "time"}, "Its frames, of equal time, count"),
        ({"resize_frames": True}, "are placed in the middle of a square of 34 pixels and resized to 16 x 16."),
    ],
)
def test_settings_of_frames_are_told(settings: dict[str, Any], words: str) -> None:
    assert words in _said(**settings)


def test_a_third_channel_is_told() -> None:
    stem = dataclasses.replace(STEM, in_channels=3)
    assert _said(stem=stem).endswith("; a third channel is the sum of both polarities.")


def test_what_did_not_fit_is_told_for_the_time_steps_where_it_happened() -> None:
    """166 of 1,660 events."""
    assert _said(saturated=166).endswith("which are left out: 166 (10 %) at T = 2.")


def test_copies_and_subjects_are_told() -> None:
    listing = dataclasses.replace(LISTING, digests=np.array([0, 1, 0, 3, 4, 0]), groups=np.array([0, 1, 0, 3, 4, 0]))
    said = _said(listing)
    assert "Copies, event by event: 2. All copies are in the same part." in said
    assert "The recordings are of 4 subjects, each of whom is in one part only." in said


def test_imbalance_is_told_in_recordings() -> None:
    listing = dataclasses.replace(LISTING, labels=np.array([0, 0, 1, 1, 1, 1]))
    said = _said(listing)
    assert "Class right has 2.0 times as many recordings as class left: accuracy counts recordings" in said
    assert tells_imbalance([said])
