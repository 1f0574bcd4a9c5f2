"""A table of real trainings in place of training: random networks of the demo's space on digits (`digits_table.py`).

Each network was trained at 5, 25 and 100 % of the recipe with two seeds, every training with a schedule of its own. A
search of an even seed reads the trainings of the first, one of an odd seed those of the second. Its answer is what is
non-dominated among the networks that it trained in full, as it read them. Scores: "read", by these readings; "other",
by those of the other seed, which no choice has seen; "least", the same, measured from the least accuracy of all.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from digits_table import SEEDS, SPACE, TABLE, key, rows
from search_methods import Suggest

from nas.searchers.networks import ConfigSpace, Network
from nas.searchers.observations import Observation
from nas.spaces import Choice, load_space
from nas.stats import pareto


class Digits:
    """The table's networks as a space to search, what a training reads, and how an answer scores."""

    name = "digits"

    def __init__(self, path: Path = TABLE) -> None:
        self.axes = ConfigSpace(load_space(SPACE)).axes
        table = rows(path)
        self._readings = {key(row): _reading(row) for row in table}
        by_identity = {row["config_id"]: self._params(row) for row in table}
        whole = {i for i in by_identity if all((i, seed, 1.0) in self._readings for seed in SEEDS)}
        self.networks = [Network(i, params) for i, params in by_identity.items() if i in whole]
        self._at = {tuple(network.params.values()): network for network in self.networks}
        everyone = [network.identity for network in self.networks]
        self.references = {seed: pareto.reference_point(self._points(everyone, seed)) for seed in SEEDS}
        self.least = {
            seed: (min(accuracy for accuracy, _ in self._points(everyone, seed)), self.references[seed][1])
            for seed in SEEDS
        }

    def _params(self, row: Mapping[str, str]) -> dict[str, Choice]:
        return {name: next(c for c in choices if str(c) == row[name]) for name, choices in self.axes.items()}

    def sample(self, suggest: Suggest) -> Network | None:
        """None where the table lacks the network."""
        return self.at({name: suggest(name, list(axis)) for name, axis in self.axes.items()})

    def every(self) -> Sequence[Mapping[str, Choice]]:
        return [network.params for network in self.networks]

    def draw(self, rng: random.Random) -> Mapping[str, Choice]:
        return rng.choice(self.networks).params

    def at(self, params: Mapping[str, Choice]) -> Network | None:
        return self._at.get(tuple(params[name] for name in self.axes))

    def read(self, network: Network, share: float, seed: int) -> Observation | None:
        """What a training up to that share of the images shows; None where it gave no reading."""
        return self._readings[network.identity, SEEDS[seed % 2], share]

    def score(self, trained: Sequence[str], seed: int = 0) -> dict[str, float]:
        """Hypervolume over that of the whole table: see the words at the top."""
        own, other = SEEDS[seed % 2], SEEDS[1 - seed % 2]
        read = [i for i in trained if self._readings[i, own, 1.0] is not None]
        answer = [read[k] for k in pareto.front(self._points(read, own))]
        return {
            "read": self._relative(answer, own, self.references[own]),
            "other": self._relative(answer, other, self.references[other]),
            "least": self._relative(answer, other, self.least[other]),
        }

    def _relative(self, answer: Sequence[str], seed: int, reference: pareto.Point) -> float:
        best = pareto.hypervolume(self._points([network.identity for network in self.networks], seed), reference)
        return pareto.hypervolume(self._points(answer, seed), reference) / best

    def _points(self, identities: Sequence[str], seed: int) -> list[pareto.Point]:
        """Of those that gave a reading in full with this seed."""
        readings = [self._readings[i, seed, 1.0] for i in identities]
        return [(r.accuracy, r.log10_energy) for r in readings if r is not None]


def _reading(row: Mapping[str, str]) -> Observation | None:
    if not row["log10_energy_mj"]:
        return None
    return Observation(float(row["accuracy"]), float(row["log10_energy_mj"]), 0)
