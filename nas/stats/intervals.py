"""How sure a figure is: intervals of means, differences that are real, rank agreement. Pure functions on numbers."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from nas.stats import pareto

LEVEL = 0.95
_BOOTSTRAPS = 1000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate, and the 95 % interval around it; NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def deviation(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Standard deviation within groups, pooled over them, and its degrees of freedom; NaN and 0 without repeats."""
    freedom = sum(len(group) - 1 for group in groups if group)
    if freedom == 0:
        return math.nan, 0
    squares = sum(float(((np.asarray(group) - np.mean(group)) ** 2).sum()) for group in groups if group)
    return math.sqrt(squares / freedom), freedom


def means(groups: Sequence[Sequence[float]]) -> list[Interval]:
    """Of each group, with Student's interval of the pooled deviation: seeds scatter alike, and each group has few."""
    spread, freedom = deviation(groups)
    reach = float(special.stdtrit(freedom, 0.5 + LEVEL / 2)) * spread if freedom else math.nan
    intervals = []
    for group in groups:
        mean = float(np.mean(group)) if group else math.nan
        half = reach / math.sqrt(len(group)) if group else math.nan
        intervals.append(Interval(mean, mean - half, mean + half))
    return intervals


def differences(groups: Sequence[Sequence[float]]) -> dict[tuple[int, int], Interval]:
    """Of the means of every two groups with repeats, first minus second, i < j; together right in 95 % of all cases.

    Tukey's honest significant difference, as Kramer has it for groups of unequal size.
    """
    from scipy import stats  # slow to import

    usable = [i for i, group in enumerate(groups) if len(group) > 1]
    if len(usable) < 2:
        return {}
    spread, _ = deviation([groups[i] for i in usable])
    if spread == 0:  # nothing scatters: every difference is what it is
        pairs = itertools.combinations(usable, 2)
        return {(i, j): Interval(*3 * (float(np.mean(groups[i]) - np.mean(groups[j])),)) for i, j in pairs}
    between = stats.tukey_hsd(*(np.asarray(groups[i], dtype=float) for i in usable)).confidence_interval(LEVEL)
    intervals = {}
    for a, b in itertools.combinations(range(len(usable)), 2):
        i, j = usable[a], usable[b]
        value = float(np.mean(groups[i]) - np.mean(groups[j]))
        intervals[i, j] = Interval(value, float(np.asarray(between.low)[a, b]), float(np.asarray(between.high)[a, b]))
    return intervals


Verdict = Literal["first", "second", "tie", "trade", "undecided"]


def verdict(accuracy: Interval, log_energy: Interval) -> Verdict:
    """Of two networks, by the intervals of first minus second.

    A winner is really better in one of the two, and not worse in the other even by its mean: that a difference is not
    established does not make it none. Where neither is real it is a tie; where both are, against each other, a trade;
    where one is real and the other's mean speaks against it, undecided.
    """
    better = (accuracy.value > 0) - (accuracy.value < 0), (log_energy.value < 0) - (log_energy.value > 0)
    real = accuracy.excludes_zero, log_energy.excludes_zero
    if not any(real):
        return "tie"
    signs = {sign for sign in better if sign}
    if len(signs) == 1:
        return "first" if signs == {1} else "second"
    return "trade" if all(real) else "undecided"


def wilson(share: NDArray[np.floating], count: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """95 % interval of a share of `count` independent images (Wilson, JASA 1927), value by value; NaN without any.

    Of the images alone: another seed of the same network scatters further.
    """
    z = float(special.ndtri(0.5 + LEVEL / 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
        half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return np.asarray(centre - half, dtype=np.float64), np.asarray(centre + half, dtype=np.float64)


def kendall(a: ArrayLike, b: ArrayLike, strata: ArrayLike | None = None) -> float:
    """Kendall's tau-b; with strata, of the pairs within one only. NaN where nothing can be ordered."""
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    i, j = np.triu_indices(len(x), 1)
    if strata is not None:
        same = np.asarray(strata)[i] == np.asarray(strata)[j]
        i, j = i[same], j[same]
    dx, dy = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
    ordered = math.sqrt(float((dx != 0).sum()) * float((dy != 0).sum()))
    return float((dx * dy).sum()) / ordered if ordered else math.nan


def bootstrapped(statistic: Callable[[NDArray[np.intp]], float], count: int, seed: int = 0) -> Interval:
    """A statistic of `count` things, with the percentile interval of drawing as many of them with replacement.

    Args:
        statistic: of the things with these indices.
    """
    value = statistic(np.arange(count))
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(0, count, count)) for _ in range(_BOOTSTRAPS)]
    known = np.asarray([v for v in drawn if not math.isnan(v)])
    if len(known) < len(drawn) / 2:
        return Interval(value)
    low, high = np.quantile(known, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return Interval(value, float(low), float(high))


def tau_interval(a: ArrayLike, b: ArrayLike, strata: ArrayLike | None = None) -> Interval:
    """Kendall's tau with the wider of two 95 % intervals: the bootstrap's, and Fieller's (Biometrika, 1957).

    The bootstrap alone would call perfect agreement of four networks certain. Fieller's takes perfect agreement for
    all pairs but one; it needs more than four things, and there is no interval for fewer.
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    groups = np.zeros(len(x), dtype=int) if strata is None else np.asarray(strata)
    bootstrap = bootstrapped(lambda i: kendall(x[i], y[i], groups[i]), len(x))
    pairs = sum(n * (n - 1) // 2 for n in np.bincount(groups)) if len(groups) else 0
    if len(x) <= 4 or math.isnan(bootstrap.low) or pairs < 2:
        return Interval(bootstrap.value)
    most = 1 - 2 / pairs
    half = _fieller(len(x))
    centre = math.atanh(min(max(bootstrap.value, -most), most))
    low, high = math.tanh(centre - half), math.tanh(centre + half)
    return Interval(bootstrap.value, min(bootstrap.low, low), max(bootstrap.high, high))


def _fieller(count: int) -> float:
    """Half of the 95 % interval of atanh(tau)."""
    return float(special.ndtri(0.5 + LEVEL / 2)) * math.sqrt(0.437 / (count - 4))


def enough(tau: float, least: float) -> int | None:
    """Of how many things such a tau has a lower bound of `least` by Fieller's interval.

    None where it is no larger than that, and where it is perfect: then the interval says nothing.
    """
    if not least < tau < 1:
        return None
    distance = math.atanh(tau) - math.atanh(least)
    return math.ceil(4 + (_fieller(5) / distance) ** 2)  # the half shrinks with the root of the count above four


def promoted(points: Sequence[pareto.Point], count: int) -> set[int]:
    """The best `count` of (accuracy, energy) by rank of domination; within a rank those farthest from the others."""
    left, best = list(range(len(points))), list[int]()
    while left and len(best) < count:
        layer = [left[i] for i in pareto.front([points[i] for i in left])]
        room = _room(np.asarray([points[i] for i in layer], dtype=float))
        best += [layer[i] for i in np.argsort(-room, kind="stable")]
        left = [i for i in left if i not in layer]
    return set(best[:count])


def _room(layer: Floats) -> Floats:
    """Distance to the nearest other point, each value in its range; without an other, endless."""
    scale = np.ptp(layer, axis=0)
    scaled = layer / np.where(scale > 0, scale, 1)
    distances = np.abs(scaled[:, None] - scaled[None]).sum(-1)
    np.fill_diagonal(distances, np.inf)
    return np.asarray(distances.min(1), dtype=np.float64)


def recall(early: Sequence[pareto.Point], final: Sequence[pareto.Point], count: int) -> float:
    """Share of the final front that is among the `count` best early ones."""
    front = set(pareto.front(final))
    return len(front & promoted(early, count)) / len(front)


__all__ = [
    "LEVEL",
    "Interval",
    "Verdict",
    "bootstrapped",
    "deviation",
    "differences",
    "enough",
    "kendall",
    "means",
    "promoted",
    "recall",
    "tau_interval",
    "verdict",
    "wilson",
]
