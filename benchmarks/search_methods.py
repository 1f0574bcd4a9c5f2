"""The account that all methods of a replay share; the default searcher, and three rivals that need no model.

Methods run until the account refuses a training. `search_optuna.py` has the rivals that are Optuna's.
"""

import dataclasses
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from search_replays import Replay
from search_scores import Floats

from nas.searchers import Network, Observation, Record, Searcher
from nas.searching.budget import Budget, affordable, whole
from nas.searching.proposals import settings
from nas.training import Pace

SCREENED_FOR_ONE_IN_FULL = 5  # networks
Suggestion = TypeVar("Suggestion")


class BudgetSpentError(Exception):
    """The next training would exceed the budget."""


class Ledger:
    """Trains on a replay and pays as the product does: each training anew, whole, and within the budget.

    Args:
        budget: in full trainings.

    Attributes:
        spent: so far, in the replay's unit.
        longest: identity -> share of its longest training.
        trained: identities of networks that were trained in full, with what was spent by then.
        suggestions: (networks started, seconds of a suggestion).
    """

    def __init__(self, replay: Replay, seed: int, budget: float) -> None:
        self.replay, self.seed = replay, seed
        self.budget = budget * replay.costs[1.0]
        self.spent = 0.0
        self.longest: dict[str, float] = {}
        self.trained: list[tuple[str, float]] = []
        self.suggestions: list[tuple[int, float]] = []

    def train(self, network: Network, share: float = 1.0) -> Observation | None:
        """What a training shows; None if it gave no result. One that was paid, or is shorter, costs nothing.

        Raises:
            BudgetSpentError: the training would exceed the budget.
        """
        if share > self.longest.get(network.identity, 0.0):
            if self.spent + self.replay.costs[share] > self.budget + 1e-6:
                raise BudgetSpentError
            self.spent += self.replay.cost_of(network, share, self.seed)
            self.longest[network.identity] = share
            if share == 1:
                self.trained.append((network.identity, self.spent))
        return self.replay.read(network, share, self.seed)

    def timed(self, suggest: Callable[[], Suggestion]) -> Suggestion:
        """A suggestion, whose processor time is noted."""
        started = time.process_time()
        suggestion = suggest()
        self.suggestions.append((len(self.longest), time.process_time() - started))
        return suggestion


def searcher(ledger: Ledger, rungs: Sequence[float] | None = None) -> None:
    """The searcher as `search --budget` runs it: it plans for as many networks as the budget buys.

    Args:
        rungs: instead of the default ones.
    """
    replay, shares = ledger.replay, tuple(rungs or ledger.replay.rungs)
    costs, budget = [round(replay.costs[share]) for share in shares], Budget(images=ledger.budget)
    reductions = whole(budget, 0, costs, settings(shares, None).reduction_factor)
    expected = affordable(budget, 0, costs, reductions, Pace(0.0, 1.0))
    chosen = settings(shares, expected, reductions)
    deciding, records = Searcher(replay, ledger.seed, chosen), dict[str, Record]()

    def next_step() -> tuple[Network, int]:
        known = list(records.values())
        try:
            step = deciding.next_step(known, new=len(known) < expected)
        except LookupError:  # what the budget buys is an estimate
            step = deciding.next_step(known, new=True)
        return step.network, step.rung

    while True:
        network, rung = ledger.timed(next_step)
        observation = ledger.train(network, shares[rung])
        records[network.identity] = _recorded(network, rung, observation, records)


def _recorded(network: Network, rung: int, observation: Observation | None, records: Mapping[str, Record]) -> Record:
    """The record of a network whose training at a rung has ended."""
    known, number = records.get(network.identity), sum(len(record.observations) for record in records.values())
    observations = dict(known.observations) if known else {}
    if observation is not None:
        observations[rung] = dataclasses.replace(observation, number=number)
    return Record(network, observations, rung, failed=observation is None)


def random_search(ledger: Ledger) -> None:
    """Random networks, each in full."""
    for network in random.Random(ledger.seed).sample(ledger.replay.networks, len(ledger.replay.networks)):
        ledger.train(network)


def ladder(ledger: Ledger) -> None:
    """Networks of all sizes, each in full: as many as the budget buys, evenly over the logarithm of MACs."""
    rng, count = random.Random(ledger.seed), int(ledger.budget / ledger.replay.costs[1.0] + 1e-6)
    by_identity = {network.identity: network for network in ledger.replay.networks}
    for identity in size_ladder(ledger.replay.macs, count, rng):
        ledger.train(by_identity[identity])


def size_ladder(macs: Mapping[str, float], count: int, rng: random.Random) -> list[str]:
    """A random network of each of `count` equal parts of the range of log MACs, in random order.

    Where a part has none left, it is a random one of those that are nearest to its middle.
    """
    left = {identity: math.log(own) for identity, own in macs.items()}
    low, high = min(left.values()), max(left.values())
    width = (high - low) / count
    parts: list[list[str]] = [[] for _ in range(count)]
    for identity, size in left.items():
        parts[min(int((size - low) / width), count - 1) if width else 0].append(identity)
    rungs: list[str] = []
    for k, part in enumerate(parts[: len(left)]):
        choices = [identity for identity in part if identity in left] or _nearest(left, low + (k + 0.5) * width)
        rungs.append(rng.choice(choices))
        del left[rungs[-1]]
    rng.shuffle(rungs)
    return rungs


def _nearest(sizes: Mapping[str, float], middle: float) -> list[str]:
    least = min(abs(size - middle) for size in sizes.values())
    return [identity for identity, size in sizes.items() if abs(size - middle) <= least + 1e-9]


def screen(ledger: Ledger) -> None:
    """Random networks at the lowest share, and then one in five of them in full: the best, by non-dominated layers."""
    replay, rng = ledger.replay, random.Random(ledger.seed)
    lowest = replay.shares[0]
    each = replay.costs[lowest] + replay.costs[1.0] / SCREENED_FOR_ONE_IN_FULL
    networks = rng.sample(replay.networks, min(len(replay.networks), int(ledger.budget / each + 1e-6)))
    readings = [(network, ledger.train(network, lowest)) for network in networks]
    known = [(network, reading) for network, reading in readings if reading is not None]
    for i in by_rank(minimised([reading for _, reading in known])):
        ledger.train(known[i][0])


def minimised(readings: Sequence[Observation]) -> Floats:
    """(N, 2) values that should be small."""
    return np.array([(-reading.accuracy, reading.log10_energy) for reading in readings]).reshape(-1, 2)


def by_rank(points_N2: Floats) -> list[int]:
    """Indices by non-dominated layers; within a layer by an epsilon-net that starts at the lowest first value."""
    if not len(points_N2):
        return []
    span = np.ptp(points_N2, axis=0)
    scaled_N2 = (points_N2 - points_N2.min(0)) / np.where(span > 0, span, 1)
    left, order = np.lexsort((scaled_N2[:, 1], scaled_N2[:, 0])).tolist(), list[int]()
    while left:
        layer, lowest = list[int](), math.inf
        for i in left:
            if scaled_N2[i, 1] < lowest:
                layer.append(i)
                lowest = scaled_N2[i, 1]
        gone = set(layer)
        left = [i for i in left if i not in gone]
        order += _spread(scaled_N2, layer)
    return order


def _spread(points_N2: Floats, members: list[int]) -> list[int]:
    """The first, then always the one farthest from all before it."""
    order, left = members[:1], members[1:]
    while left:
        apart = [min(float(np.linalg.norm(points_N2[i] - points_N2[j])) for j in order) for i in left]
        order.append(left.pop(int(np.argmax(apart))))
    return order
