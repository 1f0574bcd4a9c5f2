"""Frames of a few recordings, which a study keeps so that its report shows what networks are fed and needs no data."""

import base64
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import StudyError
from nas.studies import handles
from nas.studies.study import Study

RECORDINGS = 4
"""So many are kept at most."""
_KEY = "frames_preview"
_SIDES = (32, 16, 8)  # of a picture, at most: the first at which all pictures fit
_MOST_BYTES = 20_000  # of them all, as they are stored
_MOST_STEPS = 24  # of a recording: with the smallest pictures, whatever they hold fits

Counts = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class ShownFrames:
    """The frames of one recording, as they are shown.

    Attributes:
        label: name of its class.
        added: a place is the sum of this many pixels in each direction.
        counts (events): [T, 2, side, side] of at most 24 time steps; 255 stands for more, too.
    """

    label: str
    added: int
    counts: Counts


def is_kept(study: Study) -> bool:
    """Whether a study has frames already."""
    return _KEY in handles.attributes_of(study.optuna)


def keep(study: Study, recordings: Iterable[tuple[str, Counts]]) -> None:
    """Store frames, made smaller until all of them together are no more than 20 kB.

    Args:
        recordings: name of the class and counts [T, 2, side, side] of each.
    """
    shown = [(label, counts[:_MOST_STEPS]) for label, counts in recordings]
    for side in _SIDES:
        entries = [_entry(_smaller(label, counts, side)) for label, counts in shown]
        if sum(len(str(entry)) for entry in entries) <= _MOST_BYTES:
            study.optuna.set_user_attr(_KEY, entries)
            return


def kept_by(study: Study) -> tuple[ShownFrames, ...]:
    """The frames that a study keeps; none of images, and none in studies of earlier versions.

    Raises:
        StudyError: they are damaged.
    """
    entries = handles.attributes_of(study.optuna).get(_KEY, [])
    try:
        if not isinstance(entries, list) or len(entries) > RECORDINGS:
            raise ValueError(f"it is no list of at most {RECORDINGS} recordings")
        return tuple(map(_read, entries))
    except (TypeError, LookupError, ValueError, zlib.error) as error:
        raise StudyError(
            f"the frames of recordings that study {study.name} keeps are damaged ({type(error).__name__}: {error}). "
            "Restore it from a backup, or search under another name"
        ) from None


def _smaller(label: str, counts_TPHW: Counts, side: int) -> ShownFrames:
    """Counts of at most `side` x `side` places, in which those of neighbours are added."""
    steps, polarities, size, _ = counts_TPHW.shape
    added = math.ceil(size / side)
    places = math.ceil(size / added)
    rest = (0, places * added - size)
    padded = np.pad(counts_TPHW.astype(np.int64), ((0, 0), (0, 0), rest, rest))
    sums = padded.reshape(steps, polarities, places, added, places, added).sum((3, 5))
    return ShownFrames(label, added, np.minimum(sums, 255).astype(np.uint8))


def _entry(shown: ShownFrames) -> dict[str, Any]:
    packed = base64.b64encode(zlib.compress(shown.counts.tobytes(), 9)).decode()
    steps, _, side, _ = shown.counts.shape
    return {"label": shown.label, "added": shown.added, "time_steps": steps, "side": side, "counts": packed}


def _read(entry: dict[str, Any]) -> ShownFrames:
    """
    Raises:
        TypeError, LookupError, ValueError, zlib.error: the entry is damaged.
    """
    label, packed = entry["label"], entry["counts"]
    if not isinstance(label, str) or not isinstance(packed, str) or len(packed) > _MOST_BYTES:
        raise ValueError("a name or the counts are no short text")
    added = _whole(entry["added"], 1 << 16)
    steps, side = _whole(entry["time_steps"], _MOST_STEPS), _whole(entry["side"], _SIDES[0])
    size = steps * 2 * side * side
    unpacked = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), size + 1)
    if len(unpacked) != size:
        raise ValueError(f"its counts are not those of {steps} frames of {side} x {side} pixels")
    return ShownFrames(label, added, np.frombuffer(unpacked, np.uint8).reshape(steps, 2, side, side))


def _whole(value: object, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{value!r} is no whole number from 1 to {most}")
    return value


__all__ = ["RECORDINGS", "ShownFrames", "is_kept", "keep", "kept_by"]
