"""What a search trains and measures on: train, search-val and report-val."""

import dataclasses
from dataclasses import dataclass

import torch

from nas.datasets.event_frames import CutFrames
from nas.datasets.splits import Split


@dataclass(frozen=True)
class Splits:
    """What a search needs of a data set.

    Attributes:
        classes: names, in the order of the labels.
        fingerprint: 12 hex digits of the images and labels that were read, before the cut, and of how they were cut
            where images have copies or a class is rare.
        account: what was read and how it was cut, in sentences.
        frames: the recordings of which the parts are frames; None where the parts are images.
    """

    train: Split
    search_val: Split
    report_val: Split
    classes: tuple[str, ...]
    fingerprint: str
    account: tuple[str, ...] = ()
    frames: CutFrames | None = None

    def to(self, device: torch.device) -> "Splits":
        parts = (self.train.to(device), self.search_val.to(device), self.report_val.to(device))
        return self._having(*parts)

    def at(self, time_steps: int) -> "Splits":
        """The same data for a network of that many time steps: images as they are, frames of events made anew.

        Raises:
            DataError: recordings that are no longer there.
        """
        if self.frames is None or self.train.images.shape[1] == time_steps:
            return self
        return self._having(*self.frames.splits(time_steps, self.train.labels.device))

    def _having(self, train: Split, search_val: Split, report_val: Split) -> "Splits":
        return dataclasses.replace(self, train=train, search_val=search_val, report_val=report_val)


__all__ = ["Splits"]
