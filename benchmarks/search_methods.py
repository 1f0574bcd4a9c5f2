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

import nas.searchers
import nas.stats.pareto
from nas.searchers.acquisition import Settings
from nas.searchers.networks import Network, Space
from nas.searchers.observations import Observation, Record
from nas.searchers.searcher import Searcher, Step
from nas.searching.budget import Budget, affordable
from nas.searching.proposals import settings
from nas.settings import Recipe
from nas.spaces import Choice
from nas.training.throughput import Pace

Suggest = Callable[[str, list[Choice]], Choice]
FULL = 100  # epochs of a full training: the unit of all costs is one of them
RUNGS = Recipe().rungs  # of the searcher, and its lowest of a screen
LADDER = (0.05, 0.25, 1.0)  # of MO-ASHA


class Problem(Space, Protocol):
    """A space with something in place of training."""

    name: str

    def sample(self, suggest: Suggest) -> Network | None: ...
    def read(self, network: Network, share: float, seed: int) -> Observation | None: ...
    def score(self, trained: Sequence[str], seed: int) -> dict[str, float]: ...


class Ledger:
    """Trains on a problem, pays for it, and scores after every full training.

    Every training is paid whole, as the product trains: a longer one of the same network begins anew.

    Attributes:
        epochs: spent so far.
        longest: network -> share of its longest training.
        events: one a full training, with the epochs spent and the scores.
        asks: (networks started, seconds of a suggestion).
    """

    def __init__(self, problem: Problem, seed: int, budget: float) -> None:
        self.problem, self.seed, self.budget = problem, seed, budget
        self.epochs = 0.0
        self.longest: dict[str, float] = {}
        self.trained: list[str] = []
        self.events: list[dict[str, float]] = []
        self.asks: list[tuple[int, float]] = []

    @property
    def open(self) -> bool:
        return self.epochs < self.budget

    def affords(self, share: float) -> bool:
        """Whether one more training keeps the budget, as `search --budget` asks before each."""
        return self.epochs + FULL * share <= self.budget + 1e-6

    def train(self, network: Network, share: float = 1.0) -> Observation | None:
        """Up to a share of the epochs; what was trained as long costs nothing and reads the same: a study replays it.

        Returns:
            None if the network gave no reading, such as a silent one.
        """
        reading = self.problem.read(network, share, self.seed)
        if share > self.longest.get(network.identity, 0.0):
            self.epochs += FULL * share
            self.longest[network.identity] = share
            if share == 1:
                self.trained += [network.identity] if reading is not None else []
                self.events.append({"epochs": round(self.epochs, 6)} | self.problem.score(self.trained, self.seed))
        return reading

    def timed(self, ask: Callable[[], Any]) -> Any:
        started = time.process_time()
        answer = ask()
        self.asks.append((len(self.longest), time.process_time() - started))
        return answer


def ours(ledger: Ledger, chosen: Settings | None = None) -> None:
    """The searcher with its default settings, of a study whose number of networks is open."""
    chosen = chosen or settings(RUNGS, None)
    searcher, records = Searcher(ledger.problem, ledger.seed, chosen), dict[str, Record]()
    while ledger.open:
        step = ledger.timed(lambda: searcher.next_step(list(records.values())))
        records[step.network.identity] = _done(ledger, step, chosen, records)


def planned(ledger: Ledger, chosen: Settings, networks: int | None = None) -> None:
    """The searcher as `search` runs it, which plans for a number of networks.

    Args:
        chosen: rungs and how many are promoted.
        networks: as `--trials`; None takes as many as the ledger's budget buys, as `--budget`.
    """
    epochs = [round(FULL * share) for share in chosen.shares]
    bought = affordable(Budget(images=ledger.budget), 0, epochs, chosen.reduction_factor, Pace(0.0, 1.0))
    expected = networks or bought
    chosen = dataclasses.replace(chosen, startup=settings(chosen.shares, expected).startup)
    searcher, records = Searcher(ledger.problem, ledger.seed, chosen), dict[str, Record]()
    while True:
        known = list(records.values())
        step = _next(searcher, known, len(known) < expected)
        if step is None and networks is None:  # what the budget buys was an estimate
            step = _next(searcher, known, True)
        if step is None or not ledger.affords(chosen.shares[step.rung]):
            return
        records[step.network.identity] = _done(ledger, step, chosen, records)


def _next(searcher: Searcher, records: list[Record], new: bool) -> Step | None:
    try:
        return searcher.next_step(records, new)
    except LookupError:
        return None


def _done(ledger: Ledger, step: Step, chosen: Settings, records: Mapping[str, Record]) -> Record:
    """The record of a step's network once that training has ended."""
    known = records.get(step.network.identity)
    number = sum(len(record.observations) for record in records.values())
    reading = ledger.train(step.network, chosen.shares[step.rung])
    readings = dict(known.observations) if known else {}
    if reading is not None:
        readings[step.rung] = dataclasses.replace(reading, number=number)
    return Record(step.network, readings, step.rung, failed=reading is None)


def uniform(ledger: Ledger) -> None:
    """Random networks, each once, trained to the end."""
    rng = random.Random(ledger.seed)
    while ledger.open:
        ledger.train(_random(ledger.problem, rng))


def screen(ledger: Ledger) -> None:
    """Random networks at the lowest rung for half of the budget; the best of them to the end for the other half."""
    rng = random.Random(ledger.seed)
    readings: dict[str, tuple[Network, Observation]] = {}
    while ledger.epochs < ledger.budget / 2:
        network = _random(ledger.problem, rng)
        reading = ledger.train(network, RUNGS[0])
        if reading is not None:
            readings[network.identity] = (network, reading)
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
    seen: list[list[Observation]] = [[] for _ in LADDER]
    while ledger.open:
        trial = study.ask() if study else None
        network = ledger.timed(lambda t=trial: _proposed(ledger.problem, t) if t else _random(ledger.problem, rng))
        known = network is None or network.identity in ledger.longest
        if known:
            if study and trial:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        last = _halved(ledger, network, seen, eta)
        if study and trial:
            _tell(study, trial, last)


def _halved(ledger: Ledger, network: Network, seen: list[list[Observation]], eta: float) -> Observation | None:
    """A network on its way up; its reading at the top, if it comes there."""
    for share, readings in zip(LADDER, seen, strict=True):
        reading = ledger.train(network, share)
        if reading is None:
            return None
        readings.append(reading)
        if share < 1 and by_rank(_points(readings)).index(len(readings) - 1) >= len(readings) / eta:
            return None
    return reading


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


def _tell(study: optuna.Study, trial: optuna.Trial, reading: Observation | None) -> None:
    if reading is None:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, [reading.accuracy, reading.log10_energy])


def _points(readings: Sequence[Observation]) -> np.ndarray:
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
    if method in ("searcher", "planned"):
        sources = [*sorted(Path(nas.searchers.__path__[0]).glob("*.py")), Path(nas.stats.pareto.__file__)]
        code = b"".join(source.read_bytes() for source in sources)
    return hashlib.sha256(f"{method} {settings}".encode() + code).hexdigest()[:10]
