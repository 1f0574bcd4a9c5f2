"""What a run of a table is about to do, how long it takes, and how much of it is left."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.progress import Observer
from nas.replicates import runs
from nas.training import Candidate, Pace
from spikformer.config import SpikformerConfig

if TYPE_CHECKING:
    from nas.engines import Trainer

_TELL_S = 60.0  # between lines that say how much is left


class Forecast:
    """Tells an observer of the trainings that are left.

    Args:
        lacking: trainings to do.
        images: how many images each of them sees.
    """

    def __init__(self, lacking: Sequence[runs.Run], images: Sequence[int], observer: Observer) -> None:
        self.lacking, self._images, self._observer = lacking, images, observer
        self._left, self._done = sum(images), 0
        self._began = self._told = time.monotonic()

    def announce(self, networks: int, total: int, pace: Pace | None, workers: int) -> None:
        """Say what is to come, and about how long it takes, if that is known."""
        self._observer.notice(
            f"Plan: {networks} networks, {total:,} trainings, of which {len(self.lacking):,} remain, network by "
            f"network; {self._left:,} images in all."
        )
        if pace is not None:
            seconds = pace.seconds([1.0] * len(self._images), self._images) / workers
            self._observer.notice(f"At the speed measured here, that takes {_in_words(seconds)}.")
        self._began = self._told = time.monotonic()

    def count(self, images: int) -> None:
        """A training on so many images ended: once a minute, say what is left."""
        self._done += images
        self._left -= images
        now = time.monotonic()
        if now - self._told > _TELL_S and self._left > 0:
            self._told = now
            left = _in_words((now - self._began) / self._done * self._left)
            self._observer.notice(f"{self._left:,} images of training remain, {left}.")


def pace_of(
    records: Sequence[Candidate], macs: dict[SpikformerConfig, int], place: runs.Place, trainer: "Trainer"
) -> Pace | None:
    """How fast trainings are: by those that took place, or by a few steps of a cheap, a middle and a dear network.

    Args:
        macs: of the networks to train.
        trainer: of them, its images not yet on the device.
    """
    from nas.engines import InProcess, device_of

    if len(records) >= 3:
        return Pace.of([c.images_seen for c in records], [c.provenance["wall_s"] for c in records])
    engine = InProcess(trainer.on(str(device_of(place.device))), lambda _label, _number, _epoch: None)
    by_cost = sorted(macs, key=macs.__getitem__)
    probed = [by_cost[round(share * (len(by_cost) - 1))] for share in (1 / 6, 1 / 2, 5 / 6)]
    paces = [(macs[config], pace) for config in dict.fromkeys(probed) if (pace := engine.pace(config)) is not None]
    if not paces:
        return None
    mean = sum(macs.values()) / len(macs)
    return Pace.of_sizes([size for size, _ in paces], [pace for _, pace in paces], mean)


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


__all__ = ["Forecast", "pace_of"]
