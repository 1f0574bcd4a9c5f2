"""The measures of docs/proof.md, on numbers alone: step fronts, medians over what both cover, intervals, verdicts.

A point is (accuracy in per cent, log10 of energy in mJ).
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas.stats import Interval, deviation, pareto
from nas.stats.intervals import LEVEL

REPETITIONS = 2000
Floats = NDArray[np.float64]
Points = Sequence[pareto.Point]
Verdict = Literal["shown", "refuted", "undecided"]


@dataclass(frozen=True)
class Curve:
    """The difference of two sets over what both cover: one value for each interval of the axis.

    Attributes:
        low, high: ends of what both cover.
        values, widths: of the intervals, in their order; none where the sets cover nothing together.
    """

    low: float
    high: float
    values: tuple[float, ...]
    widths: tuple[float, ...]

    @property
    def median(self) -> float:
        """The least value that at least half of the axis does not exceed; NaN without any."""
        order = sorted(range(len(self.values)), key=lambda i: self.values[i])
        below = 0.0
        for i in order:
            below += self.widths[i]
            if below >= sum(self.widths) / 2:
                return self.values[i]
        return math.nan

    @property
    def share_above_zero(self) -> float:
        """Share of the axis with a value above 0."""
        above = sum(width for value, width in zip(self.values, self.widths, strict=True) if value > 0)
        return above / sum(self.widths) if self.values else math.nan


def front(points: Points) -> list[pareto.Point]:
    """The points that no other beats, by rising energy, equal ones once."""
    return list(dict.fromkeys(points[i] for i in pareto.front(points)))


def accuracy_at(points: Points, energy: float) -> float:
    """The best accuracy within an energy; none is -inf."""
    return max((accuracy for accuracy, own in points if own <= energy), default=-math.inf)


def energy_at(points: Points, accuracy: float) -> float:
    """The least energy of those that are at least so accurate; none is inf."""
    return min((energy for own, energy in points if own >= accuracy), default=math.inf)


def accuracy_gain(found: Points, published: Points) -> Curve:
    """Accuracy of found minus published, in points, over the log10 energies that both cover."""
    fronts = front(found), front(published)
    energies = [[energy for _, energy in own] for own in fronts]
    low = max(min(own, default=math.inf) for own in energies)
    high = min(max(own, default=-math.inf) for own in energies)
    ends = _ends(itertools.chain(*energies), low, high)
    # A network is affordable from its own energy on: an interval has the value of its lower end.
    values = [accuracy_at(fronts[0], a) - accuracy_at(fronts[1], a) for a, _ in itertools.pairwise(ends)]
    return Curve(low, high, tuple(values), tuple(b - a for a, b in itertools.pairwise(ends)))


def energy_gain(found: Points, published: Points) -> Curve:
    """Log10 energy of published minus found, over the accuracies that both reach."""
    fronts = front(found), front(published)
    accuracies = [[accuracy for accuracy, _ in own] for own in fronts]
    low = max(min(own, default=math.inf) for own in accuracies)
    high = min(max(own, default=-math.inf) for own in accuracies)
    ends = _ends(itertools.chain(*accuracies), low, high)
    # A network is accurate enough up to its own accuracy: an interval has the value of its upper end.
    values = [energy_at(fronts[1], b) - energy_at(fronts[0], b) for _, b in itertools.pairwise(ends)]
    return Curve(low, high, tuple(values), tuple(b - a for a, b in itertools.pairwise(ends)))


def _ends(steps: itertools.chain[float], low: float, high: float) -> list[float]:
    """Ends of the intervals in which neither front has a step; none where the range is empty."""
    return sorted({low, high, *(step for step in steps if low < step < high)}) if low < high else []


@dataclass(frozen=True)
class Measured:
    """A network's further trainings.

    Attributes:
        accuracies: by seed, in per cent.
        log_energies: by seed, log10 of mJ; empty where energy does not count.
        images: number of images on which each accuracy was measured.
    """

    accuracies: tuple[float, ...]
    log_energies: tuple[float, ...]
    images: int

    @property
    def point(self) -> pareto.Point:
        """The means."""
        energy = float(np.mean(self.log_energies)) if self.log_energies else math.nan
        return float(np.mean(self.accuracies)), energy


class Noise:
    """How far a mean over seeds may be off: seeds scatter alike in all networks, and images are drawn.

    Args:
        networks: all whose scatter is pooled.
    """

    def __init__(self, networks: Sequence[Measured]) -> None:
        self.accuracy_sd, self.freedom = deviation([network.accuracies for network in networks])
        self.energy_sd, _ = deviation([network.log_energies for network in networks])

    def drawn(self, network: Measured, rng: np.random.Generator) -> pareto.Point:
        """A mean as it might have come out; as it is where no network has two seeds."""
        accuracy, energy = network.point
        if not self.freedom:
            return accuracy, energy
        seeds = math.sqrt(len(network.accuracies))
        right = rng.binomial(network.images, min(max(accuracy / 100, 0.0), 1.0)) / network.images
        accuracy = 100 * right + rng.standard_t(self.freedom) * self.accuracy_sd / seeds
        if network.log_energies:
            energy += rng.standard_t(self.freedom) * self.energy_sd / seeds
        return accuracy, energy

    def interval(
        self, statistic: Callable[..., float], *sets: Sequence[Measured], repetitions: int = REPETITIONS
    ) -> Interval:
        """A statistic of sets of points, with its 95 % interval; without one where most repetitions have no value."""
        value = statistic(*([network.point for network in own] for own in sets))
        rng = np.random.default_rng(0)
        drawn = [statistic(*([self.drawn(n, rng) for n in own] for own in sets)) for _ in range(repetitions)]
        known = [one for one in drawn if math.isfinite(one)]
        if not self.freedom or len(known) <= len(drawn) / 2:
            return Interval(value)
        low, high = np.quantile(known, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
        return Interval(value, float(low), float(high))


def verdict(interval: Interval, margin: float, *, strict: bool = False) -> Verdict:
    """Whether the whole interval lies at the margin or above it.

    Args:
        strict: an interval that touches the margin does not lie above it.
    """
    if interval.low > margin or (interval.low == margin and not strict):
        return "shown"
    if interval.high < margin or (interval.high == margin and strict):
        return "refuted"
    return "undecided"


def verdict_within(interval: Interval, low: float, high: float) -> Verdict:
    """Whether the whole interval lies between two values."""
    if low <= interval.low and interval.high <= high:
        return "shown"
    return "refuted" if interval.high < low or interval.low > high else "undecided"


def verdict_of_all(verdicts: Sequence[Verdict]) -> Verdict:
    """Shown if all are, refuted if one is."""
    if "refuted" in verdicts:
        return "refuted"
    return "shown" if verdicts and set(verdicts) == {"shown"} else "undecided"


def pairs(found: Points, published: Points) -> list[tuple[int, int]]:
    """Which networks are trained in full: indices of a found network and of its published partner.

    The most accurate found network, then the most accurate of the others within the middle of the energies that both
    cover, or the cheapest of the others; the partner is the member of the published front with the least energy that is
    not below, or the most accurate one.
    """
    if not found or not published:
        return []
    best = max(range(len(found)), key=lambda i: (found[i][0], -found[i][1]))
    others = [i for i in range(len(found)) if i != best]
    covered = accuracy_gain(found, published)
    middle = (covered.low + covered.high) / 2
    within = [i for i in others if found[i][1] <= middle]
    second = max(within, key=lambda i: (found[i][0], -found[i][1]), default=None)
    if second is None and others:
        second = min(others, key=lambda i: found[i][1])
    chosen = [best] if second is None else [best, second]
    return [(i, _partner(found[i], published)) for i in chosen]


def _partner(own: pareto.Point, published: Points) -> int:
    members = pareto.front(published)
    above = [i for i in members if published[i][1] >= own[1]]
    return above[0] if above else members[-1]


def volume(points: Points, reference: pareto.Point) -> float:
    """Hypervolume, in points of accuracy times decades of energy."""
    return pareto.hypervolume(points, reference)


def difference(first: Points, second: Points) -> float:
    """Accuracy of one network minus that of another, each alone in its set."""
    return first[0][0] - second[0][0]
