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

    @classmethod
    def of_sizes(cls, sizes: Sequence[float], paces: Sequence["Pace"], expected: float) -> Self:
        """Of networks of an expected size in MACs: each of the two numbers is a + b * MACs, fitted on some networks.

        Errors count as shares, so that a large network does not outweigh the others.
        """
        image_s, measuring_s = (
            _at(expected, sizes, [getattr(pace, name) for pace in paces]) for name in ("image_s", "measuring_s")
        )
        return cls(image_s, measuring_s)

    def seconds(self, networks: Sequence[float], images: Sequence[int]) -> float:
        """Of so many trainings on so many images each, rung by rung."""
        return sum(n * (self.image_s * seen + self.measuring_s) for n, seen in zip(networks, images, strict=True))


def _at(expected: float, sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The value of a line that fits the points best, neither its start nor its slope below 0."""
    from scipy.optimize import nnls  # slow to import

    values = np.maximum(np.array(seconds), 1e-9)
    columns = np.stack([np.ones(len(sizes)), np.array(sizes) / expected], axis=1)
    solution, _ = nnls(columns / values[:, None], np.ones(len(sizes)))
    return float(solution.sum())


__all__ = ["Pace"]
