"""What to train next: a new network at the lowest rung, or one that waits at a rung up to the next.

One rule for every rung: of those that could come to it, take the network that is expected to add most hypervolume to
what the networks that are there, or on their way, are believed to reach at the top. The beliefs come from a model
of all readings (`surrogate`); accuracy is modelled as the logarithm of error, in which learning curves of power
laws have equal scales at all rungs, and along energy as well as the axes: activity tells capacity. Which rung is next
follows from counts alone, so no worker ever waits. The expected improvement is exact for two independent normals
(Emmerich et al., 2011; the strips are ours).

Everything follows from the seed and the records; nothing is remembered but what can be computed again.
"""

import functools
import itertools
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import special

from nas.searchers.surrogate import Array, Flags, Indices, Readings, Surrogate, distances
from nas.spaces import Choice, SearchSpace
from nas.stats import pareto
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError

_FEW = 3  # readings at a rung before its values are what is compared
_GROWTH = 1.15  # parameters are estimated anew when readings have grown by this factor
_MOST = 500  # readings that a belief rests on: its cost grows with their cube
_OUTLYING = 3.0  # ranges between quartiles beyond which a value counts as that far
_DRAWS = 2_000  # until a space counts as exhausted
_OFFERED = 25  # draws at a time, of which the one least like what was started is taken
_STEEPNESS = 4.0  # of likeness over the mean distance of axes: what shares most choices is what counts


@dataclass(frozen=True)
class Reading:
    """What a network showed at a rung.

    Attributes:
        accuracy: share right, comparable among networks at one rung.
        log10_energy: of whatever unit.
        number: how many readings the study had before; orders them in time.
    """

    accuracy: float
    log10_energy: float
    number: int


@dataclass(frozen=True)
class Network:
    """A point of a space: `identity` is equal for equal networks, however their `params`, axis -> choice, differ."""

    identity: str
    params: Mapping[str, Choice]


@dataclass(frozen=True)
class Record:
    """What is known of a network that was started.

    Attributes:
        readings: by rung.
        reached: the rung that it is at or on its way to.
        failed: it gave no reading at `reached` and never will: silent, diverged, out of memory.
        barred: its readings count, but it may not go on.
    """

    network: Network
    readings: Mapping[int, Reading]
    reached: int
    failed: bool = False
    barred: bool = False

    @property
    def waits(self) -> bool:
        """Whether it could go on."""
        return self.reached in self.readings and not self.barred


@dataclass(frozen=True)
class Step:
    """Train `network` up to `rung`; at rung 0 it is new."""

    network: Network
    rung: int


class Space(Protocol):
    """Where networks come from."""

    @property
    def axes(self) -> Mapping[str, Sequence[Choice]]:
        """Every axis that a network may have, with its choices in order."""

    def draw(self, rng: random.Random) -> Mapping[str, Choice]:
        """Choices at random, cheaply: not all of them need make a network."""

    def at(self, params: Mapping[str, Choice]) -> Network | None:
        """The network of these choices, or None if there is none."""

    def every(self) -> Iterable[Mapping[str, Choice]]:
        """All choices, where they are few enough to go through; else none."""


class ConfigSpace:
    """A search space of configs as a space of networks.

    Args:
        allowed: which configs to offer; asked once for each network.
    """

    def __init__(self, space: SearchSpace, allowed: Callable[[SpikformerConfig], bool] = lambda _config: True) -> None:
        self.space, self._allowed = space, allowed
        self._known: dict[tuple[Choice, ...], Network | None] = {}
        self._offered: dict[str, bool] = {}
        self.axes: Mapping[str, Sequence[Choice]] = {axis.name: axis.choices for axis in space.axes}

    def draw(self, rng: random.Random) -> Mapping[str, Choice]:
        return {name: rng.choice(choices) for name, choices in self.axes.items()}

    def every(self) -> Iterable[Mapping[str, Choice]]:
        if not self.space.listable:
            return ()
        combinations = itertools.product(*self.axes.values())
        return (dict(zip(self.axes, choices, strict=True)) for choices in combinations)

    def at(self, params: Mapping[str, Choice]) -> Network | None:
        key = tuple(params[name] for name in self.axes)
        if key not in self._known:
            self._known[key] = self._made(params)
        return self._known[key]

    def _made(self, params: Mapping[str, Choice]) -> Network | None:
        try:
            config = self.space.config(dict(params))
        except ConfigError:
            return None
        identity = config.config_id
        if identity not in self._offered:
            self._offered[identity] = self._allowed(config)
        return Network(identity, dict(params)) if self._offered[identity] else None


@dataclass(frozen=True)
class Settings:
    """How a searcher spends.

    Attributes:
        shares: of the images at each rung, rising, the last 1.
        per_promotion: how many networks of a rung make up for one at the next.
        startup: networks at random, spread over the space, before the model chooses.
        caution: by which standard deviations shrink when networks are promoted, where a wrong hope costs more.
        pool, neighbours: candidates for a new network: drawn once, and one choice from the believed front.
    """

    shares: tuple[float, ...] = (0.05, 1.0)
    per_promotion: tuple[float, ...] = (5.0,)
    startup: int = 40
    caution: float = 0.5
    pool: int = 1500
    neighbours: int = 300


class Searcher:
    """Suggests steps in a space.

    Args:
        space: of networks.
        seed: of all that is drawn.
        limits: accuracy below which and log10 energy above which a network is of no use.
    """

    def __init__(
        self,
        space: Space,
        seed: int = 0,
        settings: Settings | None = None,
        limits: pareto.Point = (-math.inf, math.inf),
    ) -> None:
        self.space, self.seed, self.settings, self.limits = space, seed, settings or Settings(), limits
        self.encoding = _Encoding(space.axes)
        self._estimated: dict[int, _Parameters] = {}

    def next_step(self, records: Sequence[Record], new: bool = True) -> Step:
        """What a free worker should do.

        Args:
            records: of all networks, in the order in which they were started.
            new: whether networks may still be started; else those that wait go on until no rung lacks any.

        Raises:
            LookupError: the space has no network that was not started, and none waits; or, of those that wait, none
                is due.
        """
        rung = self.next_rung(records, new)
        if rung == 0 and not new:
            raise LookupError("no network is due")
        if rung == 0:
            try:
                return Step(self._new(records), 0)
            except LookupError:
                rung = max((r.reached + 1 for r in records if self._may_go_on(r)), default=0)
                if rung == 0:
                    raise
        belief = self._belief(records)
        return Step(belief.best_for(rung) or self._waiting(records, rung)[-1].network, rung)

    def _waiting(self, records: Sequence[Record], rung: int) -> list[Record]:
        return [r for r in records if r.waits and r.reached == rung - 1]

    def _may_go_on(self, record: Record) -> bool:
        return record.waits and record.reached + 1 < len(self.settings.shares)

    def next_rung(self, records: Sequence[Record], new: bool = True) -> int:
        """The highest that has too few networks for those below it, if one waits there; else 0, for a new network.

        Where it is 0, a new network may as well come from elsewhere, such as a sampler of Optuna's. When no more are to
        come, counts are rounded up, so that even a few networks send one to the top.
        """
        if new and sum(not r.failed for r in records) < self.settings.startup:
            return 0
        for rung in range(len(self.settings.shares) - 1, 0, -1):
            here, below = (sum(r.reached >= at for r in records) for at in (rung, rung - 1))
            per = self.settings.per_promotion[rung - 1]
            lacks = (here + 1) * per <= below if new else here * per < below
            if lacks and self._waiting(records, rung):
                return rung
        return 0

    def _new(self, records: Sequence[Record]) -> Network:
        known = sum(0 in r.readings for r in records)
        if sum(not r.failed for r in records) < self.settings.startup or known < _FEW:
            return self._drawn(records)
        belief = self._belief(records)
        offered = [*self._neighbours(belief.front(), len(records)), *self._pool]
        gain = belief.gain_of_new(self.encoding.levels(offered))
        return self._first(offered, -gain, records) or self._drawn(records)

    def _drawn(self, records: Sequence[Record]) -> Network:
        """At random, but of a few the one least like what was started: by chance alone, rare kinds are missed."""
        rng = random.Random(f"draw {self.seed} {len(records)}")
        for _ in range(_DRAWS // _OFFERED):
            offered = [self.space.draw(rng) for _ in range(_OFFERED)]
            network = self._first(offered, self._likeness(offered, records), records)
            if network is not None:
                return network
        started = {r.network.identity for r in records}
        every = (self.space.at(params) for params in self.space.every())
        network = next((n for n in every if n is not None and n.identity not in started), None)
        if network is None:
            raise LookupError(f"{_DRAWS} draws found no network that was not started")
        return network

    def _likeness(self, offered: Sequence[Mapping[str, Choice]], records: Sequence[Record]) -> Array:
        """Of each to all that were started."""
        if not records:
            return np.zeros(len(offered))
        started_ND = self.encoding.levels([r.network.params for r in records])
        apart_DMN = distances(self.encoding.levels(offered), started_ND, self.encoding.ordinal_D)
        likeness_M: Array = np.exp(-_STEEPNESS * apart_DMN.mean(0)).sum(1)
        return likeness_M

    def _first(
        self, offered: Sequence[Mapping[str, Choice]], order: Array, records: Sequence[Record]
    ) -> Network | None:
        """The lowest in order that is new. Only these few are made, which in a space of configs takes time."""
        started = {r.network.identity for r in records}
        for i in np.argsort(order, kind="stable"):
            network = self.space.at(offered[i])
            if network is not None and network.identity not in started:
                return network
        return None

    @functools.cached_property
    def _pool(self) -> list[Mapping[str, Choice]]:
        rng = random.Random(f"pool {self.seed}")
        return [self.space.draw(rng) for _ in range(self.settings.pool)]

    def _neighbours(self, networks: Sequence[Network], count: int) -> list[Mapping[str, Choice]]:
        """Choices that differ in one from those of one of these networks."""
        changed: list[Mapping[str, Choice]] = [
            {**network.params, name: choice}
            for network in networks
            for name in network.params
            for choice in self.space.axes[name]
            if choice != network.params[name]
        ]
        random.Random(f"neighbours {self.seed} {count}").shuffle(changed)
        return changed[: self.settings.neighbours]

    def _belief(self, records: Sequence[Record]) -> "_Belief":
        """With parameters estimated from the readings at the last milestone: a restart estimates the same."""
        readings = sum(len(r.readings) for r in records)
        steps = math.floor(math.log(readings / _FEW) / math.log(_GROWTH) + 1e-9)
        milestone = math.ceil(_FEW * _GROWTH**steps - 1e-9)
        if milestone not in self._estimated:
            self._estimated[milestone] = self._believed(_earlier(records, milestone)).parameters
        return self._believed(records, self._estimated[milestone])

    def _believed(self, records: Sequence[Record], parameters: "_Parameters" = (None, None)) -> "_Belief":
        told = _telling(records, self.settings.startup)
        return _Belief(told, self.encoding, self.settings, self.limits, parameters)


_Parameters = tuple[Array | None, Array | None]
"""Of the models of energy and of error."""


class _Belief:
    """What is believed of every network that was started, at the highest rung that was read a few times."""

    def __init__(
        self,
        records: Sequence[Record],
        encoding: "_Encoding",
        settings: Settings,
        limits: pareto.Point,
        parameters: "_Parameters" = (None, None),
    ) -> None:
        self.records, self.settings, self._limits = records, settings, limits
        counts = [sum(rung in r.readings for r in records) for rung in range(len(settings.shares))]
        self.rung = max((rung for rung, n in enumerate(counts) if n >= _FEW), default=0)
        levels_ND, rows_N = encoding.levels([r.network.params for r in records]), np.arange(len(records))
        shares_R, ordinal_D = np.array(settings.shares), encoding.ordinal_D
        self._energy = Surrogate(levels_ND, ordinal_D, shares_R, _energies(records), parameters[0])
        self.energy_N, self.energy_sd_N = self._energy.posterior(levels_ND, rows_N, self.rung)
        self._span = (float(self.energy_N.min()), float(np.ptp(self.energy_N)) or 1.0)
        along_ND = self._along(levels_ND, self.energy_N)
        self._error = Surrogate(along_ND, np.append(ordinal_D, True), shares_R, _errors(records), parameters[1])
        self.accuracy_N, self.accuracy_sd_N = self._accuracy(levels_ND, self.energy_N, rows_N)
        self.reference = self._reference()

    @property
    def parameters(self) -> "_Parameters":
        return self._energy.parameters, self._error.parameters

    def front(self) -> list[Network]:
        """Networks that are believed to be non-dominated."""
        members = [i for i, r in enumerate(self.records) if not r.failed]
        points = [(float(self.accuracy_N[i]), float(self.energy_N[i])) for i in members]
        return [self.records[members[k]].network for k in pareto.front(points)]

    def gain_of_new(self, levels_MD: Array) -> Array:
        """Hypervolume (M,) that networks are expected to add to all that were started."""
        rows_M = np.full(len(levels_MD), -1)
        energy_M, energy_sd_M = self._energy.posterior(levels_MD, rows_M, self.rung)
        accuracy_M, accuracy_sd_M = self._accuracy(levels_MD, energy_M, rows_M)
        front = self._reached(0)
        return expected_gain(accuracy_M, accuracy_sd_M, energy_M, energy_sd_M, front, self.reference)

    def best_for(self, rung: int) -> Network | None:
        """Which waiting network is expected to add most to those at a rung or on their way to it."""
        rows = np.array([i for i, r in enumerate(self.records) if r.waits and r.reached == rung - 1], dtype=int)
        if not len(rows):
            return None
        accuracy_sd, energy_sd = (self.settings.caution * sd[rows] for sd in (self.accuracy_sd_N, self.energy_sd_N))
        accuracy, energy, there = self.accuracy_N[rows], self.energy_N[rows], self._reached(rung)
        gain = expected_gain(accuracy, accuracy_sd, energy, energy_sd, there, self.reference)
        return self.records[int(rows[np.argmax(gain)])].network

    def _reached(self, rung: int) -> list[pareto.Point]:
        members = [i for i, r in enumerate(self.records) if r.reached >= rung and not r.failed]
        return [(float(self.accuracy_N[i]), float(self.energy_N[i])) for i in members]

    def _along(self, levels_MD: Array, energy_M: Array) -> Array:
        """Levels with the believed energy as one more ordinal axis, 0 to 1 over the networks that were started."""
        low, span = self._span
        return np.column_stack([levels_MD, np.clip((energy_M - low) / span, 0, 1.5)])

    def _accuracy(self, levels_MD: Array, energy_M: Array, rows_M: Indices) -> tuple[Array, Array]:
        """Mean and standard deviation, from those of the logarithm of error by its slope."""
        log_error_M, sd_M = self._error.posterior(self._along(levels_MD, energy_M), rows_M, self.rung)
        return 1 - np.exp(log_error_M), np.exp(log_error_M) * sd_M

    def _reference(self) -> pareto.Point:
        """Accuracy and energy beyond which nothing counts, from beliefs about the first, random networks.

        It is the reference point of report and study (`nas.stats`), of a sample that no choice has drawn to one side.
        """
        points = [(float(a), float(e)) for a, e in zip(self.accuracy_N, self.energy_N, strict=True)]
        accuracy, energy = pareto.reference_point(points[: self.settings.startup])
        at_top = self.rung == len(self.settings.shares) - 1  # below it, networks are not yet as accurate as in the end
        return max(accuracy, self._limits[0]) if at_top else accuracy, min(energy, self._limits[1])


class _Encoding:
    """Choices as levels: numbers of three choices or more are ordinal, 0 to 1 by rank; all else are categories."""

    def __init__(self, axes: Mapping[str, Sequence[Choice]]) -> None:
        self.ordinal_D: Flags = np.array([_is_ordinal(choices) for choices in axes.values()], dtype=bool)
        self._levels = {
            name: {repr(c): i / (len(choices) - 1) if ordinal else float(i) for i, c in enumerate(choices)}
            for (name, choices), ordinal in zip(axes.items(), self.ordinal_D, strict=True)
        }

    def levels(self, params: Sequence[Mapping[str, Choice]]) -> Array:
        """(N, D); -1 for an axis that a network does not have."""
        return np.array([self._of(choices) for choices in params])

    def _of(self, params: Mapping[str, Choice]) -> list[float]:
        return [levels[repr(params[name])] if name in params else -1.0 for name, levels in self._levels.items()]


def expected_gain(
    accuracy_M: Array,
    accuracy_sd_M: Array,
    energy_M: Array,
    energy_sd_M: Array,
    others: Sequence[pareto.Point],
    reference: pareto.Point,
) -> Array:
    """Hypervolume (M,) that each candidate is expected to add to others, its two values independent and normal.

    Between neighbouring energies of the others' front one accuracy is to be beaten. What a candidate adds there is
    the part of the strip above its energy times its accuracy's excess; expectations of independent factors multiply.
    """
    inside = [p for p in others if p[0] > reference[0] and p[1] < reference[1]]
    front = [inside[i] for i in pareto.front(inside)]
    to_beat_K = np.array([reference[0], *(accuracy for accuracy, _ in front)])
    edges_K = np.array([*(energy for _, energy in front), reference[1]])
    excess_MK = _excess(accuracy_M[:, None] - to_beat_K, accuracy_sd_M[:, None])
    below_MK = _excess(edges_K - energy_M[:, None], energy_sd_M[:, None])
    width_MK = np.diff(below_MK, axis=1, prepend=0.0)
    gain_M: Array = (width_MK * excess_MK).sum(1)
    return gain_M


def _excess(mean: Array, sd: Array) -> Array:
    """E[max(x, 0)] of a normal x."""
    z = mean / sd
    return sd * (z * special.ndtr(z) + np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi))


def _is_ordinal(choices: Sequence[Choice]) -> bool:
    return len(choices) > 2 and all(isinstance(c, int | float) and not isinstance(c, bool) for c in choices)


def _earlier(records: Sequence[Record], readings: int) -> list[Record]:
    """The records as they were after so many readings."""
    kept = [{k: x for k, x in r.readings.items() if x.number < readings} for r in records]
    return [Record(r.network, k, max(k), False) for r, k in zip(records, kept, strict=True) if k]


def _telling(records: Sequence[Record], first: int) -> list[Record]:
    """What a belief rests on: all, or of too many the first, those in flight and the best ranked of each rung."""
    if sum(len(r.readings) for r in records) <= _MOST:
        return list(records)
    rungs = [max(r.readings, default=-1) for r in records]
    ranks = {i: 0 for i, rung in enumerate(rungs) if i < first or rung < 0}
    for rung in set(rungs) - {-1}:
        left, rank = [i for i, own in enumerate(rungs) if own == rung], 1
        while left:
            points = [(records[i].readings[rung].accuracy, records[i].readings[rung].log10_energy) for i in left]
            layer = {left[k] for k in pareto.front(points)}
            ranks |= {i: rank for i in layer if i not in ranks}
            left, rank = [i for i in left if i not in layer], rank + 1
    ranked = sorted(ranks, key=lambda i: (ranks[i], i))
    totals = itertools.accumulate(len(records[i].readings) for i in ranked)
    kept = {i for i, total in zip(ranked, totals, strict=True) if total <= _MOST}
    return [record for i, record in enumerate(records) if i in kept]


def _energies(records: Sequence[Record]) -> Readings:
    return _readings([{k: x.log10_energy for k, x in r.readings.items()} for r in records])


def _errors(records: Sequence[Record]) -> Readings:
    """Logarithm of error. A network that failed counts as the worst at that rung, so that its like are avoided."""
    found = [{k: math.log(max(1 - x.accuracy, 1e-4)) for k, x in r.readings.items()} for r in records]
    worst = [max((f[k] for f in found if k in f), default=None) for k in range(1 + max(r.reached for r in records))]
    for record, own in zip(records, found, strict=True):
        at = worst[record.reached]
        if record.failed and at is not None:
            own[record.reached] = at
    return _readings(found)


def _readings(found: Sequence[Mapping[int, float]]) -> Readings:
    """In the order of rungs and records, outliers drawn in: a dead network says no more than a bad one."""
    pairs = [(rung, i) for i, own in enumerate(found) for rung in own]
    pairs.sort()
    rungs, rows = np.array([rung for rung, _ in pairs]), np.array([i for _, i in pairs])
    values = np.array([found[i][rung] for rung, i in pairs])
    for rung in np.unique(rungs):
        low, high = np.quantile(values[rungs == rung], [0.25, 0.75])
        reach = _OUTLYING * (high - low)
        values[rungs == rung] = np.clip(values[rungs == rung], low - reach, high + reach)
    return Readings(rows, rungs, values)


__all__ = ["ConfigSpace", "Network", "Reading", "Record", "Searcher", "Settings", "Space", "Step", "expected_gain"]
