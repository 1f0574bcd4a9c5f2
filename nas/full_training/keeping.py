"""When a checkpoint is written, and what is said of the last one when a training diverges.

A checkpoint is written when as much time would be lost without it as makes writing it cheap: after a hundred times what
the last one took, so that saving costs a hundredth, but after half a minute at the earliest and ten at the latest.
"""

import math
import time
from pathlib import Path

from nas.errors import OutputError, TrainingError
from nas.full_training import checkpoint
from nas.full_training.logger import Logger
from nas.full_training.training import Training

LEAST_LOST_S, MOST_LOST_S = 30.0, 600.0
_COST = 0.01  # of the time of a training that saving may take


class Keeper:
    """Saves how far a training came, now and then, and never what is no number."""

    def __init__(self, training: Training, folder: Path, logger: Logger) -> None:
        self._training, self._folder, self._logger = training, folder, logger
        self._last, self._took_s = time.monotonic(), 0.0

    def _is_due(self) -> bool:
        """Whether enough would be lost by now if the process were killed."""
        worth_s = min(max(self._took_s / _COST, LEAST_LOST_S), MOST_LOST_S)
        return time.monotonic() - self._last >= worth_s

    def save(self, *, always: bool = False) -> None:
        """Save if it is time. A disk that is full costs this checkpoint, not the training."""
        if not self._training.group.is_main or not (always or self._is_due()):
            return
        begun = time.monotonic()
        if not self._training.is_finite():
            self.refuse(math.nan)
        try:
            checkpoint.save(self._training.checkpoint(), self._folder)
        except OutputError as error:
            self._logger.notice(f"The checkpoint was not saved: {error}. The one before it is kept.")
        self._last = time.monotonic()
        self._took_s = self._last - begun

    def refuse(self, loss: float) -> None:
        """
        Raises:
            TrainingError: always: where it diverged, and from where it can go on.
        """
        path = self._folder / checkpoint.FILE
        last = (
            f"the last good checkpoint is {path}, of step {checkpoint.load(path).steps}"
            if path.exists()
            else "none saved"
        )
        raise TrainingError(
            f"the loss is {loss} before step {self._training.done} of {self._training.total}; {last}. "
            f"Use a lower learning_rate, clip_norm=1 or precision=fp32, with another --out"
        )


__all__ = ["LEAST_LOST_S", "MOST_LOST_S", "Keeper"]
