"""What an epoch of a proxy's training measured; records are read without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """One pass over the train split.

    Attributes:
        loss: mean training loss, label smoothing included.
        accuracy: share of augmented training images that were classified rightly while training.
    """

    loss: float
    accuracy: float


__all__ = ["Epoch"]
