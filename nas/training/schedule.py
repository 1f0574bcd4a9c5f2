"""The learning rate of each step of a training."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """A rate that rises linearly and then falls as a cosine.

    Attributes:
        peak: the rate at which the cosine begins.
        end: step at which the cosine reaches `least`; the rate stays there.
        warmup: steps in which the rate rises from `initial`.
        ahead: steps of the rise that lie behind the first step: with 1, no step has the rate `initial`.
        start: step at which the cosine begins. A recipe of timm's begins it at 0 and enters it after the warm-up.
    """

    peak: float
    end: int
    warmup: int = 0
    initial: float = 0.0
    ahead: int = 0
    least: float = 0.0
    start: int = 0

    def __call__(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.initial + (step + self.ahead) * ((self.peak - self.initial) / self.warmup)
        if step >= self.end:
            return self.least
        share = math.pi * (step - self.start) / (self.end - self.start)
        return self.least + 0.5 * (self.peak - self.least) * (1 + math.cos(share))


__all__ = ["Schedule"]
