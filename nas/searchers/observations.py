"""What trainings showed: observations of networks at rungs, and those that a model is fitted to."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.searchers.networks import Network
from nas.stats import pareto

MOST = 500  # observations that a posterior rests on: its cost grows with their cube
_EXTREME = 1e-4  # the least error, and the least accuracy, that is told from 0
_OUTLYING = 3.0  # ranges between quartiles beyond which a value counts as that far


@dataclass(frozen=True)
class Observation:
    """What a network showed at a rung.

    Attributes:
        accuracy: share right, comparable among networks at one rung.
        log10_energy: of whatever unit.
        number: how many observations the study had before; orders them in time.
    """

    accuracy: float
    log10_energy: float
    number: int


@dataclass(frozen=True)
class Record:
    """What is known of a network that was started.

    Attributes:
        observations: by rung.
        highest_rung: the rung that it is at or on its way to.
        failed: it gave no observation at `highest_rung` and never will: silent, diverged, out of memory.
        infeasible: its observations count, but it may not go on.
    """

    network: Network
    observations: Mapping[int, Observation]
    highest_rung: int
    failed: bool = False
    infeasible: bool = False

    @property
    def promotable(self) -> bool:
        """Whether it could go on."""
        return self.highest_rung in self.observations and not self.infeasible


@dataclass(frozen=True)
class Observations:
    """What a surrogate is fitted to, N values: of which network (a row of the features), at which rung."""

    rows: npt.NDArray[np.int64]
    rungs: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


def earlier(records: Sequence[Record], observations: int) -> list[Record]:
    """The records as they were after so many observations."""
    observed = [{k: x for k, x in r.observations.items() if x.number < observations} for r in records]
    return [Record(r.network, k, max(k), False) for r, k in zip(records, observed, strict=True) if k]


def thinned(records: Sequence[Record], first: int, most: int = MOST) -> list[Record]:
    """What a posterior rests on: all, or of too many the first, those in flight and the best ranked of each rung.

    Args:
        most: observations in all.
    """
    if sum(len(r.observations) for r in records) <= most:
        return list(records)
    rungs = [max(r.observations, default=-1) for r in records]
    ranks = {i: 0 for i, rung in enumerate(rungs) if i < first or rung < 0}
    for rung in set(rungs) - {-1}:
        left, rank = [i for i, own in enumerate(rungs) if own == rung], 1
        while left:
            points = [
                (records[i].observations[rung].accuracy, records[i].observations[rung].log10_energy) for i in left
            ]
            layer = {left[k] for k in pareto.front(points)}
            ranks |= {i: rank for i in layer if i not in ranks}
            left, rank = [i for i in left if i not in layer], rank + 1
    ranked = sorted(ranks, key=lambda i: (ranks[i], i))
    totals = itertools.accumulate(len(records[i].observations) for i in ranked)
    indices = {i for i, total in zip(ranked, totals, strict=True) if total <= most}
    return [record for i, record in enumerate(records) if i in indices]


def energies(records: Sequence[Record]) -> Observations:
    return _pooled([{k: x.log10_energy for k, x in r.observations.items()} for r in records])


def errors(records: Sequence[Record], own_rungs: int) -> Observations:
    """Log odds of error. A network that failed counts as the worst at that rung, so that its like are avoided.

    Args:
        own_rungs: of the study. Those of other studies follow, where errors count by their ranks, as normal scores.
    """
    log_odds = [{k: _log_odds(1 - x.accuracy) for k, x in r.observations.items()} for r in records]
    worst = [
        max((f[k] for f in log_odds if k in f), default=None) for k in range(1 + max(r.highest_rung for r in records))
    ]
    for record, own in zip(records, log_odds, strict=True):
        at = worst[record.highest_rung]
        if record.failed and at is not None:
            own[record.highest_rung] = at
    for rung in {k for own in log_odds for k in own if k >= own_rungs}:
        members = [own for own in log_odds if rung in own]
        for own, score in zip(members, _normal_scores([own[rung] for own in members]), strict=True):
            own[rung] = score
    return _pooled(log_odds)


def _log_odds(share: float) -> float:
    """Of a share that is drawn in from 0 and 1, where they are infinite."""
    inside = min(max(share, _EXTREME), 1 - _EXTREME)
    return math.log(inside / (1 - inside))


def _normal_scores(values: Sequence[float]) -> list[float]:
    """Quantiles of the standard normal distribution at the ranks of the values; equal ones share their mean rank."""
    from scipy import special, stats  # slow to import

    ranks = stats.rankdata(values)
    scores: list[float] = special.ndtri((ranks - 0.5) / len(values)).tolist()
    return scores


def _pooled(values_of: Sequence[Mapping[int, float]]) -> Observations:
    """In the order of rungs and records, outliers drawn in: a dead network says no more than a bad one."""
    pairs = [(rung, i) for i, own in enumerate(values_of) for rung in own]
    pairs.sort()
    rungs, rows = np.array([rung for rung, _ in pairs]), np.array([i for _, i in pairs])
    values = np.array([values_of[i][rung] for rung, i in pairs])
    for rung in np.unique(rungs):
        low, high = np.quantile(values[rungs == rung], [0.25, 0.75])
        reach = _OUTLYING * (high - low)
        values[rungs == rung] = np.clip(values[rungs == rung], low - reach, high + reach)
    return Observations(rows, rungs, values)


__all__ = ["Observation", "Observations", "Record", "earlier", "energies", "errors", "thinned"]
