"""How fast a machine trains proxies, from what trainings took."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Pace:
    """How fast this machine trains: seconds an image, and what beginning and measuring add to each training."""

    image_s: float
    measuring_s: float

    @classmethod
    def of(cls, images: Sequence[int], seconds: Sequence[float]) -> Self:
        """From trainings on so many images that took so long: least squares, neither of the two below 0."""
        from scipy.optimize import nnls  # slow to import

        columns = np.stack([np.array(images, dtype=float), np.ones(len(images))], axis=1)
        solution, _ = nnls(columns, np.array(seconds))
        return cls(float(solution[0]), float(solution[1]))

    def seconds(self, networks: Sequence[float], images: Sequence[int]) -> float:
        """Of so many trainings on so many images each, rung by rung."""
        return sum(n * (self.image_s * seen + self.measuring_s) for n, seen in zip(networks, images, strict=True))


__all__ = ["Pace"]
