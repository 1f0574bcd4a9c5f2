"""What was done with recordings of events, in a few sentences, as `nas.datasets.data_account` says it of images."""

import numpy as np

from nas.datasets.data_account import per_class
from nas.datasets.event_frames import Listing
from nas.datasets.event_splits import Parts
from nas.datasets.splits import Numbers
from nas.settings import DataSettings
from spikformer.config import StemConfig


def account(
    listing: Listing, parts: Parts, settings: DataSettings, stem: StemConfig, saturated: dict[int, Numbers]
) -> tuple[str, ...]:
    """Sentences: recordings per class and part, copies, subjects, events, and how frames were made.

    Args:
        saturated: how many events of each recording did not fit, [n], for each number of time steps.
    """
    sentences = [
        *per_class("recordings", [listing.labels[part] for part in parts], listing.classes),
        *_together(listing),
        _frames(listing, settings, stem),
        *_saturated(listing, saturated),
    ]
    return tuple(sentences)


def _together(listing: Listing) -> list[str]:
    copies = int((listing.same != np.arange(len(listing.same))).sum())
    subjects, recordings = len(np.unique(listing.groups)), len(listing.groups)
    sentences = [f"Copies, event by event: {copies:,}. All copies are in the same part."] if copies else []
    if subjects < recordings:
        sentences.append(f"The recordings are of {subjects:,} subjects, each of whom is in one part only.")
    return sentences


def _frames(listing: Listing, settings: DataSettings, stem: StemConfig) -> str:
    width, height = listing.sensor
    low, middle, high = (round(float(value)) for value in np.quantile(listing.counts, (0, 0.5, 1)))
    how = (
        f"are placed in the middle of a square of {max(width, height)} pixels and resized to {stem.image_size} x "
        f"{stem.image_size}"
        if settings.resize_frames
        else f"count events in {stem.image_size} x {stem.image_size} pixels, in the middle of which the sensor lies"
    )
    third = "; a third channel is the sum of both polarities" if stem.in_channels == 3 else ""
    return (
        f"A recording of the {width} x {height} sensor has from {low:,} to {high:,} events (median {middle:,}). Its "
        f"frames, of equal {settings.slicing}{' of events' if settings.slicing == 'number' else ''}, {how}{third}."
    )


def _saturated(listing: Listing, saturated: dict[int, Numbers]) -> list[str]:
    total = int(listing.counts.sum())
    lost = {time_steps: int(counts.sum()) for time_steps, counts in saturated.items() if counts.any()}
    if not lost:
        return []
    parts = ", ".join(f"{count:,} ({100 * count / total:.2g} %) at T = {steps}" for steps, count in lost.items())
    return [f"Events beyond the 255 that a pixel of a frame can count, which are left out: {parts}."]


__all__ = ["account"]
