"""Recordings cut into train, search-val and report-val: no subject and no copy on both sides of a cut."""

from collections import Counter

import numpy as np

from nas.datasets import splits
from nas.datasets.event_frames import Listing
from nas.datasets.splits import Numbers
from nas.errors import DataError
from nas.settings import DataSettings

Parts = tuple[Numbers, Numbers, Numbers]


def cut(listing: Listing, settings: DataSettings, origin: str, seed: int, train_images: int = 0) -> Parts:
    """Numbers of the recordings of train, search-val and report-val.

    Where recordings are known to be of one subject, whole subjects are drawn until they have the share of a part;
    otherwise the cut is that of images (`nas.datasets.splits`).

    Args:
        origin: where the recordings are, for people.
        train_images: how many recordings to keep of the train part; 0 keeps all.

    Raises:
        DataError: a class with too few recordings, or too few subjects.
    """
    if len(np.unique(listing.groups)) == len(listing.groups):
        return splits.cut_numbers(listing.labels, listing.same, settings, listing.classes, origin, seed, train_images)[
            0
        ]
    train, search, report = _by_subject(listing, settings, origin, seed)
    return splits.drawn_numbers(train, listing.labels, train_images, seed)[0], search, report


def _by_subject(listing: Listing, settings: DataSettings, origin: str, seed: int) -> Parts:
    groups = _joined(listing.groups, listing.same)
    subjects = np.random.default_rng(seed).permutation(np.unique(groups)).tolist()
    sizes, parts = Counter(groups.tolist()), list[Numbers]()
    for share in (settings.search_val, settings.report_val):
        chosen, recordings = list[int](), 0
        while subjects and recordings < round(share * len(groups)):
            chosen.append(subjects.pop())
            recordings += sizes[chosen[-1]]
        parts.append(np.flatnonzero(np.isin(groups, chosen)))
    train = np.flatnonzero(np.isin(groups, subjects))
    for name, part in zip(("train", "search-val", "report-val"), (train, *parts), strict=True):
        present = np.bincount(listing.labels[part], minlength=len(listing.classes))
        if present.min() == 0:
            raise DataError(
                f"{origin}: {name} has no recording of class {listing.classes[int(present.argmin())]} when whole "
                f"subjects are drawn (seed {seed}, {len(np.unique(groups))} subjects). Use another --seed, or other "
                "shares in [data]"
            )
    return train, parts[0], parts[1]


def _joined(groups: Numbers, same: Numbers) -> Numbers:
    """Groups of recordings, of which those that share a recording are one."""
    joined = groups.copy()
    for i in np.flatnonzero(same != np.arange(len(same))):
        joined[joined == joined[i]] = joined[same[i]]
    return joined


__all__ = ["Parts", "cut"]
