"""Recordings are cut as images are, and where subjects are known no subject is in two parts."""

import dataclasses

import numpy as np
import pytest

from nas.datasets import event_splits
from nas.datasets.event_frames import Listing
from nas.errors import DataError
from nas.settings import DataSettings

SETTINGS = DataSettings("dvs128gesture", search_val=0.2, report_val=0.2)


def _listing(subjects: int = 10, classes: int = 3, takes: int = 2, copy_of: tuple[int, int] | None = None) -> Listing:
    """Every subject has made every class some times; perhaps one recording is a copy of another."""
    labels = np.repeat(np.arange(classes), subjects * takes)
    groups = np.tile(np.repeat(np.arange(subjects), takes), classes)
    digests = np.arange(len(labels))
    if copy_of is not None:
        digests[copy_of[0]] = digests[copy_of[1]]
    names = tuple("abcdefghijk"[:classes])
    return Listing(labels, groups, digests, np.full(len(labels), 9), names, (128, 128), "0123456789ab")


def _apart(listing: Listing, parts: event_splits.Parts) -> None:
    every = np.concatenate(parts)
    assert sorted(every.tolist()) == list(range(len(listing.labels)))
    subjects = [set(listing.groups[part].tolist()) for part in parts]
    assert sum(map(len, subjects)) == len(set.union(*subjects))


def test_no_subject_is_in_two_parts() -> None:
    listing = _listing()
    parts = event_splits.cut(listing, SETTINGS, "gestures", 0)
    _apart(listing, parts)
    assert [len(part) for part in parts] == [36, 12, 12]
    assert all(set(listing.labels[part].tolist()) == {0, 1, 2} for part in parts)


def test_another_seed_draws_other_subjects() -> None:
    listing = _listing()
    first, second, again = (event_splits.cut(listing, SETTINGS, "gestures", seed)[1] for seed in (0, 1, 0))
    assert first.tolist() == again.tolist() != second.tolist()


def test_subjects_with_a_common_recording_stay_together() -> None:
    """Recording 0 is of subject 0, recording 19 of subject 9."""
    for seed in range(10):
        listing = _listing(copy_of=(0, 19))
        parts = event_splits.cut(listing, SETTINGS, "gestures", seed)
        of = [next(k for k, part in enumerate(parts) if i in part) for i in (0, 19)]
        assert of[0] == of[1]
        _apart(listing, parts)


def test_a_class_that_no_subject_of_a_part_made_is_named() -> None:
    listing = _listing(subjects=4)
    keep = ~((listing.labels == 2) & (listing.groups > 0))  # one subject alone made class c
    columns = {name: getattr(listing, name)[keep] for name in ("labels", "groups", "digests", "counts")}
    few = dataclasses.replace(listing, **columns)
    with pytest.raises(DataError, match=r"gestures: .* has no recording of class c when whole subjects are drawn"):
        event_splits.cut(few, SETTINGS, "gestures", 0)


def test_without_subjects_recordings_are_cut_as_images_are() -> None:
    listing = _listing(subjects=1, takes=20)
    alone = Listing(listing.labels, np.arange(60), listing.digests, listing.counts, listing.classes, (8, 8), "")
    parts = event_splits.cut(alone, SETTINGS, "recordings", 0)
    assert [np.bincount(alone.labels[part]).tolist() for part in parts] == [[12] * 3, [4] * 3, [4] * 3]


def test_copies_of_a_recording_are_in_one_part() -> None:
    listing = _listing(subjects=1, takes=20, copy_of=(0, 7))
    alone = Listing(listing.labels, np.arange(60), listing.digests, listing.counts, listing.classes, (8, 8), "")
    for seed in range(10):
        parts = event_splits.cut(alone, SETTINGS, "recordings", seed)
        assert sum({0, 7} <= set(part.tolist()) for part in parts) == 1


@pytest.mark.parametrize("by_subject", [True, False])
def test_fewer_recordings_are_drawn_to_train_on(by_subject: bool) -> None:
    listing = _listing()
    if not by_subject:
        listing = dataclasses.replace(listing, groups=np.arange(60))
    train, search, report = event_splits.cut(listing, SETTINGS, "recordings", 0, train_images=9)
    assert np.bincount(listing.labels[train]).tolist() == [3, 3, 3]
    assert len(search) == len(report) == 12
