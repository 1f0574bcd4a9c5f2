"""How much a study may spend, and what that buys."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from nas.errors import StudyError
from nas.training import Pace

_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_RECORD_BYTES = 40_000  # of a training, in the journal
_LEAST_BELOW = 3.0  # networks at the lower of two rungs for each that is trained in full
_HAIR = 1e-9
_DAY_S = 86_400
_LONG = (
    "Warning: that is more than a day. Give fewer --trials, a smaller space, fewer --train-images or --epochs, or use "
    "a GPU."
)


@dataclass(frozen=True)
class Budget:
    """What trainings may cost in all: images that they see, or hours that they and their measuring take."""

    images: float = math.inf
    hours: float = math.inf

    @classmethod
    def parse(cls, text: str) -> Self:
        """ "2e6", "500k" or "2M" images; "90min" or "8h" of training and measuring.

        Raises:
            StudyError: none of these.
        """
        match = re.fullmatch(r"(\d+(?:\.\d*)?(?:e\d+)?) ?(k|M|G|min|h|)", text.strip())
        amount = float(match[1]) if match else 0.0
        if match is None or not 0 < amount < math.inf:
            raise StudyError(
                f'budget "{text}" is not an amount. Give a number of images, such as 2e6 or 500k, or a time, such as '
                "90min or 8h"
            )
        if match[2] in ("min", "h"):
            return cls(hours=amount / (60 if match[2] == "min" else 1))
        return cls(images=amount * _UNITS[match[2]])

    def allows(self, images: float, hours: float, more: int) -> bool:
        """Whether a training on `more` images may follow what was spent; of time, as long as any is left."""
        return images + more <= self.images and hours < self.hours


@dataclass(frozen=True)
class Plan:
    """What a budget buys: `networks` come to each rung, where a training sees `images`."""

    networks: tuple[int, ...]
    images: tuple[int, ...]

    @classmethod
    def of(cls, trials: int, references: int, images: Sequence[int], per_promotion: Sequence[float]) -> Self:
        """Of so many networks; each rung gets its share of the one below, rounded up, and all references."""
        networks = [max(trials, references)]
        for per in per_promotion:
            networks.append(max(math.ceil(networks[-1] / per), references))
        return cls(tuple(networks), tuple(images))

    @property
    def all_images(self) -> int:
        """That all trainings see."""
        return sum(n * seen for n, seen in zip(self.networks, self.images, strict=True))

    def lines(self, pace: Pace, parameters: int, at_once: int, sample: str = "image") -> list[str]:
        """For people.

        Args:
            parameters: of a typical network.
            at_once: trainings at a time.
            sample: what a data set holds, in a word (`nas.settings.sample_of`).
        """
        spent, seconds = self.all_images, pace.seconds(self.networks, self.images) / at_once
        full = self.images[-1]
        steps = [
            f"{n} of them to {seen:,} {sample}s" for n, seen in zip(self.networks[1:], self.images[1:], strict=True)
        ]
        rungs = ", ".join([f"{self.networks[0]} networks to {self.images[0]:,} {sample}s each", *steps])
        disk_mb = (sum(self.networks) * _RECORD_BYTES + self.networks[-1] * 4 * parameters) / 1e6
        return [
            f"Plan: about {rungs}; {spent:,} {sample}s in all. With as many {sample}s, random search would "
            f"train {spent // full} networks in full.",
            f"At the speed measured here, that takes {_time(seconds)} in all and up to {disk_mb:,.0f} MB on disk.",
            *([_LONG] if seconds > _DAY_S else []),
        ]


def whole(budget: Budget, references: int, images: Sequence[int], per_promotion: Sequence[float]) -> tuple[float, ...]:
    """How many networks at each rung make up for one at the next, so that a budget of images is spent to its end.

    Between two rungs, these are as many full trainings as `per_promotion` comes near, and as many networks below them
    as the rest buys: what is left over at the end could no longer train a network in full. All else stays as it is.
    """
    left = budget.images - references * sum(images)
    if len(images) != 2 or math.isinf(left) or left < sum(images):
        return tuple(per_promotion)
    low, full = images
    fulls = max(1, round(left / (full + per_promotion[0] * low)))
    while fulls > 1 and left - fulls * full < _LEAST_BELOW * fulls * low:
        fulls -= 1
    networks = (left - fulls * full) // low
    return (networks / fulls * (1 + _HAIR),)  # so that after rounding no further one is due


def affordable(
    budget: Budget, references: int, images: Sequence[int], per_promotion: Sequence[float], pace: Pace
) -> int:
    """About how many networks a budget lets begin, each with its share of the rungs above; references go up whole."""
    shares = [1.0]
    for per in per_promotion:
        shares.append(shares[-1] / per)
    seen = sum(share * n for share, n in zip(shares, images, strict=True))
    hours = pace.seconds(shares, images) / 3600
    whole_hours = pace.seconds([references] * len(images), images) / 3600
    left = (budget.images - references * sum(images)) / seen, (budget.hours - whole_hours) / hours
    return references + max(0 if references else 1, int(min(left) + 1e-6))


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h" if seconds < 2 * _DAY_S else f"about {seconds / _DAY_S:.0f} days"


__all__ = ["Budget", "Plan", "affordable", "whole"]
