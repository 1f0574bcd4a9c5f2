"""The searcher and its rivals, each against the same ledger: what a training costs and what has been reached."""

import dataclasses
import hashlib
import random
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna

import nas.searcher
import nas.surrogate
from nas.searcher import Choice, Network, Reading, Record, Searcher, Settings, Space

Suggest = Callable[[str, list[Choice]], Choice]
FULL = 100  # epochs of a full training: the unit of all costs is one of them
SHARES = Settings().shares
TOP = len(SHARES) - 1


class Problem(Space, Protocol):
    """A space with something in place of training."""

    name: str

    def sample(self, suggest: Suggest) -> Network | None: ...
    def read(self, network: Network, share: float, seed: int) -> Reading: ...
    def score(self, trained: Sequence[str], seed: int) -> dict[str, float]: ...


class Ledger:
    """Trains on a problem, keeps both accounts, and scores after every full training.

    Attributes:
        continued: epochs if a training goes on from its last rung.
        annealed: epochs if every rung is a training of its own.
        events: one a full training, with both accounts and the scores.
        asks: (networks started, seconds of a suggestion).
    """

    def __init__(self, problem: Problem, seed: int, budget: float) -> None:
        self.problem, self.seed, self.budget = problem, seed, budget
        self.continued = self.annealed = 0.0
        self.reached: dict[str, int] = {}
        self.trained: list[str] = []
        self.events: list[dict[str, float]] = []
        self.asks: list[tuple[int, float]] = []

    @property
    def open(self) -> bool:
        return self.continued < self.budget

    def train(self, network: Network, rung: int = TOP) -> Reading:
        """Up to a rung; the same network again costs nothing and reads the same, as a study replays it."""
        before = self.reached.get(network.identity, -1)
        if rung > before:
            self.continued += FULL * (SHARES[rung] - (SHARES[before] if before >= 0 else 0))
            self.annealed += FULL * SHARES[rung]
            self.reached[network.identity] = rung
            if rung == TOP:
                self.trained.append(network.identity)
                costs = {"continued": round(self.continued, 6), "annealed": round(self.annealed, 6)}
                self.events.append(costs | self.problem.score(self.trained, self.seed))
        return self.problem.read(network, SHARES[rung], self.seed)

    def timed(self, ask: Callable[[], Any]) -> Any:
        started = time.process_time()
        answer = ask()
        self.asks.append((len(self.reached), time.process_time() - started))
        return answer


def ours(ledger: Ledger, settings: Settings | None = None) -> None:
    """The searcher, by default with its default settings."""
    searcher = Searcher(ledger.problem, ledger.seed, settings)
    records: dict[str, Record] = {}
    while ledger.open:
        step = ledger.timed(lambda: searcher.next_step(list(records.values())))
        known = records.get(step.network.identity)
        number = sum(len(record.readings) for record in records.values())
        reading = dataclasses.replace(ledger.train(step.network, step.rung), number=number)
        readings = {**(known.readings if known else {}), step.rung: reading}
        records[step.network.identity] = Record(step.network, readings, step.rung)


def uniform(ledger: Ledger) -> None:
    """Random networks, each once, trained to the end."""
    rng = random.Random(ledger.seed)
    while ledger.open:
        ledger.train(_random(ledger.problem, rng))


def screen(ledger: Ledger) -> None:
    """Random networks at the lowest rung for half of the budget; the best of them to the end for the other half."""
    rng = random.Random(ledger.seed)
    readings: dict[str, tuple[Network, Reading]] = {}
    while ledger.continued < ledger.budget / 2:
        network = _random(ledger.problem, rng)
        readings[network.identity] = (network, ledger.train(network, 0))
    networks = list(readings.values())
    for i in by_rank(_points([reading for _, reading in networks])):
        if not ledger.open:
            break
        ledger.train(networks[i][0])


def halving(ledger: Ledger, proposer: optuna.samplers.BaseSampler | None = None, eta: float = 4.0) -> None:
    """MO-ASHA (Schmucker et al., arXiv 2106.12639), by its stopping rule, with random networks or Optuna's.

    A network goes on while it is among the best 1/eta of all that reached its rung, by non-dominated rank and,
    within a rank, farthest from those before it. Objectives are scaled to their range, which Syne Tune leaves out.
    """
    rng = random.Random(ledger.seed)
    study = _study(proposer) if proposer else None
    seen: list[list[Reading]] = [[] for _ in SHARES]
    while ledger.open:
        trial = study.ask() if study else None
        network = ledger.timed(lambda t=trial: _proposed(ledger.problem, t) if t else _random(ledger.problem, rng))
        known = network is None or network.identity in ledger.reached
        if known:
            if study and trial:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        for rung in range(TOP + 1):
            seen[rung].append(ledger.train(network, rung))
            if rung < TOP and by_rank(_points(seen[rung])).index(len(seen[rung]) - 1) >= len(seen[rung]) / eta:
                break
        if study and trial:
            _tell(study, trial, seen[TOP][-1] if ledger.reached[network.identity] == TOP else None)


def optunas(ledger: Ledger, sampler: optuna.samplers.BaseSampler) -> None:
    """One of Optuna's samplers; every network is trained to the end."""
    study = _study(sampler)
    while ledger.open and len(study.trials) < 10 * ledger.budget / FULL:
        trial = study.ask()
        network = ledger.timed(lambda t=trial: _proposed(ledger.problem, t))
        _tell(study, trial, ledger.train(network) if network else None)


def _random(problem: Problem, rng: random.Random) -> Network:
    while True:
        network = problem.at(problem.draw(rng))
        if network is not None:
            return network


def _study(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)


def _proposed(problem: Problem, trial: optuna.Trial) -> Network | None:
    return problem.sample(lambda name, choices: trial.suggest_categorical(name, choices))


def _tell(study: optuna.Study, trial: optuna.Trial, reading: Reading | None) -> None:
    if reading is None:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, [reading.accuracy, reading.log10_energy])


def _points(readings: Sequence[Reading]) -> np.ndarray:
    """(N, 2) to be small."""
    return np.array([(-reading.accuracy, reading.log10_energy) for reading in readings])


def by_rank(points_N2: np.ndarray) -> list[int]:
    """Indices by non-dominated rank; within a rank by an epsilon-net that starts at the lowest first value."""
    span = np.ptp(points_N2, axis=0)
    scaled = (points_N2 - points_N2.min(0)) / np.where(span > 0, span, 1)
    left, order = np.lexsort((scaled[:, 1], scaled[:, 0])).tolist(), []
    while left:
        layer, lowest = [], np.inf
        for i in left:
            if scaled[i, 1] < lowest:
                layer.append(i)
                lowest = scaled[i, 1]
        gone = set(layer)
        left = [i for i in left if i not in gone]
        order += _spread(scaled, layer)
    return order


def _spread(points_N2: np.ndarray, members: list[int]) -> list[int]:
    """The first, then always the one farthest from all before it."""
    order, left = members[:1], members[1:]
    while left:
        apart = [min(float(np.linalg.norm(points_N2[i] - points_N2[j])) for j in order) for i in left]
        order.append(left.pop(int(np.argmax(apart))))
    return order


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed)
        if name == "gp":
            return optuna.samplers.GPSampler(seed=seed)
        return optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed)


METHODS: Mapping[str, Callable[[Ledger], None]] = {
    "searcher": ours,
    "random": uniform,
    "nsga2": lambda ledger: optunas(ledger, _sampler("nsga2", ledger.seed)),
    "tpe": lambda ledger: optunas(ledger, _sampler("tpe", ledger.seed)),
    "gp": lambda ledger: optunas(ledger, _sampler("gp", ledger.seed)),
    "mo-asha": halving,
    "tpe+mo-asha": lambda ledger: halving(ledger, _sampler("tpe", ledger.seed)),
    "screen": screen,
}
"""Name -> method. Each runs until the ledger's budget is spent."""


def version(method: str, settings: object) -> str:
    """Of a method's settings and, for the searcher, its code: raw results of others are not taken for these."""
    code = b""
    if method == "searcher":
        code = b"".join(Path(module.__file__ or "").read_bytes() for module in (nas.searcher, nas.surrogate))
    return hashlib.sha256(f"{method} {settings}".encode() + code).hexdigest()[:10]
