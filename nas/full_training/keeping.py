"""When a checkpoint is written, and what is said of the last one when a training diverges."""

import math
import time
from pathlib import Path

from nas.errors import OutputError, TrainingError
from nas.full_training import checkpoint
from nas.full_training.logger import Logger
from nas.full_training.training import Training

SAVED_EVERY_S = 600.0


class Keeper:
    """Saves how far a training came, now and then, and never what is no number."""

    def __init__(self, training: Training, folder: Path, logger: Logger) -> None:
        self._training, self._folder, self._logger = training, folder, logger
        self._last = time.monotonic()

    def save(self, *, always: bool = False) -> None:
        """Save if it is time. A disk that is full costs this checkpoint, not the training."""
        if not self._training.group.is_main or not (always or time.monotonic() - self._last >= SAVED_EVERY_S):
            return
        if not self._training.is_finite():
            self.refuse(math.nan)
        self._last = time.monotonic()
        try:
            checkpoint.save(self._training.checkpoint(), self._folder)
        except OutputError as error:
            self._logger.notice(f"not saved: {error} The checkpoint before it is kept.")

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


__all__ = ["SAVED_EVERY_S", "Keeper"]
