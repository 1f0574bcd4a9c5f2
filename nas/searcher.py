"""What to train next: start a network at the lowest rung, or continue one to its next."""

import functools
import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import special

from nas.surrogate import Array, Indices, Readings, Signals, Surrogate

LOGERR = True
FEATURE = True
CLIPE = True
Choice = bool | int | float | str


@dataclass(frozen=True)
class Reading:
    """What a network read when it reached a rung: accuracy (share), log10 of energy, training loss if comparable."""

    accuracy: float
    log10_energy: float
    loss: float | None = None


@dataclass(frozen=True)
class Network:
    """A point of the space: `identity` is equal for equal networks."""

    identity: str
    params: Mapping[str, Choice]


@dataclass(frozen=True)
class Record:
    """All that is known of a network that was started.

    Attributes:
        readings: by rung (index), of those it has finished.
        reached: the highest rung that it finished or is on its way to.
        failed: it gave no reading at `reached` and is never continued (silent, diverged, out of memory).
    """

    network: Network
    readings: Mapping[int, Reading]
    reached: int
    failed: bool = False

    @property
    def waits(self) -> bool:
        return not self.failed and self.reached in self.readings


@dataclass(frozen=True)
class Step:
    """Train `network` up to `rung`; at rung 0 it is new."""

    network: Network
    rung: int


class Space(Protocol):
    """Where networks come from."""

    @property
    def axes(self) -> Mapping[str, Sequence[Choice]]: ...

    def draw(self, rng: random.Random) -> Network: ...

    def at(self, params: Mapping[str, Choice]) -> Network | None: ...


@dataclass(frozen=True)
class Settings:
    """Rungs as rising shares of the images, the last 1, and how the searcher spends them."""

    shares: tuple[float, ...] = (0.05, 0.25, 1.0)
    halving: tuple[float, ...] = (3.5, 3.5)  # networks of a rung for one of the next
    startup: int = 12  # random networks before the model speaks
    pool: int = 1500
    neighbours: int = 300
    kinds: str = "a"
    bold_new: float = 1.0
    bold_up: float = 1.0
    low: float = 0.1
    margin: float = 0.0
    hold: tuple[float, ...] = (0.0, 0.0)


@dataclass
class Searcher:
    space: Space
    seed: int = 0
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        self._fits: dict[tuple[object, ...], Array] = {}
        self._names = list(self.space.axes)
        self._levels = [{c: _level(axis, i) for i, c in enumerate(axis)} for axis in self.space.axes.values()]
        self._ordinal_D = np.array([_is_ordinal(axis) for axis in self.space.axes.values()])

    # -- which rung
    def next_step(self, history: Sequence[Record]) -> Step:
        rung = self._rung(history)
        if len(history) < self.settings.startup and rung == 0:
            return Step(self._fresh(history), 0)
        belief = self._belief(history)
        if rung == 0:
            candidates = self._candidates(history, belief)
            return Step(candidates[belief.best_new(candidates, self._encode(candidates))], 0)
        return Step(history[belief.best_waiting(rung)].network, rung)

    def _rung(self, history: Sequence[Record]) -> int:
        top = len(self.settings.shares) - 1
        reached = [sum(r.reached >= rung for r in history) for rung in range(top + 1)]
        if len(history) < self.settings.startup:
            return 0
        for rung in range(top, 0, -1):
            waiting = any(r.waits and r.reached == rung - 1 for r in history)
            if waiting and (reached[rung] + 1) * self.settings.halving[rung - 1] <= reached[rung - 1] - self.settings.hold[rung - 1]:
                return rung
        return 0

    def _rng(self, *words: object) -> random.Random:
        return random.Random(f"{self.seed} {' '.join(map(str, words))}")

    def _fresh(self, history: Sequence[Record]) -> Network:
        taken = {r.network.identity for r in history}
        rng = self._rng("fresh", len(history))
        for _ in range(10000):
            network = self.space.draw(rng)
            if network.identity not in taken:
                return network
        raise LookupError("no network is left that was not started")

    @functools.cached_property
    def _pool(self) -> list[Network]:
        rng = self._rng("pool")
        drawn = (self.space.draw(rng) for _ in range(self.settings.pool))
        return list({network.identity: network for network in drawn}.values())

    def _candidates(self, history: Sequence[Record], belief: "Belief") -> list[Network]:
        taken = {r.network.identity for r in history}
        near = [n for i in belief.front() for n in self._around(history[i].network)]
        self._rng("neighbours", len(history)).shuffle(near)
        offered = {n.identity: n for n in [*near[: self.settings.neighbours], *self._pool]}
        fresh = [n for identity, n in offered.items() if identity not in taken]
        return fresh or [self._fresh(history)]

    def _around(self, network: Network) -> list[Network]:
        found = []
        for name, axis in self.space.axes.items():
            for choice in axis:
                if name in network.params and choice != network.params[name]:
                    found.append(self.space.at({**network.params, name: choice}))
        return [n for n in found if n is not None]

    def _encode(self, networks: Sequence[Network]) -> Array:
        return np.array(
            [
                [levels[n.params[name]] if name in n.params else -1.0 for name, levels in zip(self._names, self._levels, strict=True)]
                for n in networks
            ]
        )

    def _belief(self, history: Sequence[Record]) -> "Belief":
        return Belief(self, history)


def _is_ordinal(axis: Sequence[Choice]) -> bool:
    return len(axis) > 2 and all(isinstance(c, int | float) and not isinstance(c, bool) for c in axis)


def _level(axis: Sequence[Choice], i: int) -> float:
    return i / (len(axis) - 1) if _is_ordinal(axis) else float(i)


class Belief:
    def __init__(self, searcher: Searcher, history: Sequence[Record]) -> None:
        self.searcher, self.history = searcher, history
        settings = searcher.settings
        self.encoded_ND = searcher._encode([r.network for r in history])
        counts = [sum(rung in r.readings for r in history) for rung in range(len(settings.shares))]
        self.target = max([rung for rung, n in enumerate(counts) if n >= 3], default=0)
        acc: list[tuple[str, int]] = [("accuracy", rung) for rung, n in enumerate(counts) if n]
        if "l" in settings.kinds:
            acc += [("loss", r) for r, n in enumerate(counts[:-1]) if n and any(x.readings[r].loss is not None for x in history if r in x.readings)]
        rows = np.arange(len(history))
        self.energy = self._model("en", [("log10_energy", rung) for rung, n in enumerate(counts) if n], self.encoded_ND, searcher._ordinal_D)
        en_N, _ = self.energy.posterior(self.encoded_ND, rows, self.target)
        self._range = (float(en_N.min()), float(max(np.ptp(en_N), 1e-9)))
        self.accuracy = self._model("acc", acc, self._with(self.encoded_ND, en_N), np.append(searcher._ordinal_D, FEATURE))
        self.acc_N, self.acc_sd_N = self._accuracy(self._with(self.encoded_ND, en_N), rows)
        self.en_N, self.en_sd_N = self.energy.posterior(self.encoded_ND, rows, self.target)
        first = slice(0, settings.startup)
        q, m = settings.low, settings.margin
        a, e = self.acc_N[first], self.en_N[first]
        self.ref = (float(np.quantile(a, q) - m * np.std(a)), float(np.quantile(e, 1 - q) + m * np.std(e)))

    def _with(self, encoded: Array, energy: Array) -> Array:
        low, span = self._range
        return np.column_stack([encoded, np.clip((energy - low) / span, 0, 1.5) if FEATURE else np.zeros(len(energy))])

    def _model(self, name: str, signals: list[tuple[str, int]], encoded: Array, ordinal: Array) -> Surrogate:
        rows, sig, vals = [], [], []
        for s, (kind, rung) in enumerate(signals):
            own = [(i, _read(r.readings[rung], kind)) for i, r in enumerate(self.history) if rung in r.readings]
            values = np.array([v for _, v in own])
            if (CLIPE or kind != "log10_energy") and len(values) >= 8:
                low, high = np.quantile(values, [0.25, 0.75])
                values = np.maximum(values, low - 3 * (high - low))
            rows += [i for i, _ in own]
            sig += [s] * len(own)
            vals.append(values)
        shares = self.searcher.settings.shares
        family = Signals(np.log([shares[r] for _, r in signals]), np.array([int(k == "loss") for k, _ in signals]))
        readings = Readings(np.array(rows), np.array(sig), np.concatenate(vals))
        # parameters are those of the last milestone
        key = (name, tuple(signals), int(math.log(len(rows)) / math.log(1.15)))
        fitted = self.searcher._fits.get(key)
        model = Surrogate(encoded, ordinal, family, readings, fitted)
        self.searcher._fits[key] = model.vector
        return model

    def _accuracy(self, encoded: Array, rows: Indices) -> tuple[Array, Array]:
        mean, sd = self.accuracy.posterior(encoded, rows, self.target)
        if not LOGERR:
            return mean, sd
        error = np.exp(-mean)
        return 1 - error, error * sd

    def _members(self, rung: int) -> Indices:
        return np.array([i for i, r in enumerate(self.history) if r.reached >= rung and not r.failed], dtype=int)

    def front(self) -> list[int]:
        m = self._members(0)
        return [int(m[i]) for i in _front(self.acc_N[m], self.en_N[m])]

    def _gain(self, rung: int, mean_a: Array, sd_a: Array, mean_e: Array, sd_e: Array) -> Array:
        m = self._members(rung)
        return expected_improvement(mean_a, sd_a, mean_e, sd_e, self.acc_N[m], self.en_N[m], self.ref)

    def best_new(self, candidates: Sequence[Network], encoded: Array) -> int:
        rows = np.full(len(candidates), -1)
        e, se = self.energy.posterior(encoded, rows, self.target)
        a, sa = self._accuracy(self._with(encoded, e), rows)
        return int(np.argmax(self._gain(0, a, sa * self.searcher.settings.bold_new, e, se * self.searcher.settings.bold_new)))

    def best_waiting(self, rung: int) -> int:
        w = np.array([i for i, r in enumerate(self.history) if r.waits and r.reached == rung - 1])
        gain = self._gain(rung, self.acc_N[w], self.acc_sd_N[w] * self.searcher.settings.bold_up, self.en_N[w], self.en_sd_N[w] * self.searcher.settings.bold_up)
        return int(w[np.argmax(gain)])


def _read(reading: Reading, kind: str) -> float:
    if kind == "loss":
        assert reading.loss is not None
        return -math.log(max(reading.loss, 1e-6))
    if kind == "accuracy" and LOGERR:
        return -math.log(max(1 - reading.accuracy, 1e-6))
    return float(getattr(reading, kind))


def _front(acc: Array, en: Array) -> list[int]:
    kept: list[int] = []
    for i in np.lexsort((-acc, en)):
        if not kept or acc[i] > acc[kept[-1]]:
            kept.append(int(i))
    return kept


def expected_improvement(mean_a: Array, sd_a: Array, mean_e: Array, sd_e: Array, acc: Array, en: Array, ref: tuple[float, float]) -> Array:
    """Expected hypervolume that each candidate adds."""
    kept = [i for i in _front(acc, en) if acc[i] > ref[0] and en[i] < ref[1]]
    floors = np.array([ref[0], *acc[kept]])  # accuracy to beat in each strip of energy
    edges = np.array([-np.inf, *en[kept], ref[1]])
    above = _excess((mean_a[:, None] - floors) / sd_a[:, None]) * sd_a[:, None]
    below = _excess((edges[1:] - mean_e[:, None]) / sd_e[:, None]) * sd_e[:, None]
    left = np.concatenate([np.zeros((len(mean_e), 1)), below[:, :-1]], axis=1)
    return ((below - left) * above).sum(1)


def _excess(z: Array) -> Array:
    """E[max(z + normal, 0)]."""
    return z * special.ndtr(z) + np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
