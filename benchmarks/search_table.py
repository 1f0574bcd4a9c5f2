"""A table of trained networks in place of training: SpikeNAS-Bench's part for CIFAR-10.

15,625 spiking cell networks, each trained once for 100 epochs (Zhu et al., IEEE TAI 6(6):1614, 2025). Their authors
state no licence, so the table is not part of this project; `FETCH` says how to make it.

A run of a searcher sees validation accuracy at its rung and energy, exact at the last rung and before it noisy by a
stated amount, since the table holds firing rates of the end of training only. Its answer is what is non-dominated,
by validation accuracy and energy at the end, among the networks that it trained to the end; test accuracy scores it.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.searchers.networks import Network
from nas.searchers.observations import Observation
from nas.spaces import Choice
from nas.stats import pareto

Array = npt.NDArray[np.float64]
Suggest = Callable[[str, list[Choice]], Choice]

EPOCHS = 100  # of a full training
REFERENCES = ((80.0, math.log10(1100)), (86.0, math.log10(1100)))  # test accuracy in %, log10 of uJ
BUDGETS_UJ = (180, 250, 400, 800)  # energies at which accuracy is compared
OPERATIONS: list[Choice] = ["zero", "skip", "conv 0.5", "conv 1.0", "conv 1.5"]  # by the neuron's threshold
FETCH = """\
The table is SpikeNAS-Bench (github.com/tju-sun-lab/SpikeNAS-Bench); its authors state no licence, so ask them before
you pass it on. Clone their repository. Each CIFAR-10 network has a text file there with one line an epoch (training
accuracy and loss, validation accuracy and loss), the test accuracy, 16 firing rates and the time. Collect them in one
.npz with these arrays, row i being the network whose six edge operations are the base-5 digits of i, lowest first:
    val, train_acc, train_loss  (15625, 100), accuracies in %
    test                        (15625,), %
    rate                        (15625, 16) firing rates, -1 where an edge has no neuron
    epochs                      (15625,), 100 or 200; of the 690 networks with 200 take every second epoch
    energy_uj                   (15625,) = 1e-6 (0.9 * 5 * rate[:, :15] @ MAC + 4.6 * 3 * 128 * 9 * 32 * 32), rates of
                                -1 as 0, MAC = [128*128*9*32*32]*6 + [256*256*9*16*16]*6
                                             + [128*256*9*32*32, 256*8*8*1024, 1024*100]"""


@dataclass(frozen=True)
class Noise:
    """Standard deviation of ln(energy) read at a rung, by share of the images; 0 where nothing is said.

    By default as measured on networks of our own (`early_signals.py`).
    """

    by_share: Mapping[float, float] = field(default_factory=lambda: {0.05: 0.09, 0.25: 0.04})

    def factor(self, identity: str, share: float, seed: int) -> float:
        """The same for the same network, rung and seed, whichever method asks."""
        return math.exp(self.by_share.get(share, 0.0) * random.Random(f"{seed} {identity} {share}").gauss(0, 1))


class Table:
    """The networks as a space to search, what a training reads, and how an answer scores.

    Args:
        long: whether the 690 networks that were trained for 200 epochs take part.
    """

    name = "spikenas-bench"

    def __init__(self, path: Path, noise: Noise, long: bool = True) -> None:
        with np.load(path) as table:
            self.val_NE, self.test_N = table["val"].astype(float), table["test"].astype(float)
            self.log10_uj_N, epochs_N = np.log10(table["energy_uj"]), table["epochs"]
        self.noise = noise
        self.taking_part_N = np.ones(len(self.test_N), bool) if long else epochs_N == EPOCHS
        self.axes: dict[str, Sequence[Choice]] = {f"edge {i}": OPERATIONS for i in range(6)}
        everyone = [i for i in range(len(self.test_N)) if self.taking_part_N[i]]
        points = [(self.test_N[i], self.log10_uj_N[i]) for i in everyone]
        self.oracle = [everyone[k] for k in pareto.front(points)]
        self.references = {"hv": pareto.reference_point(points)} | {f"hv{k}": r for k, r in enumerate(REFERENCES)}
        self.best = {name: pareto.hypervolume(points, reference) for name, reference in self.references.items()}
        self.everyone = everyone

    def sample(self, suggest: Suggest) -> Network | None:
        """None where the network does not take part."""
        return self.at({name: suggest(name, list(axis)) for name, axis in self.axes.items()})

    def every(self) -> Sequence[Mapping[str, Choice]]:
        return ()  # too many to go through

    def draw(self, rng: random.Random) -> Mapping[str, Choice]:
        return {name: rng.choice(axis) for name, axis in self.axes.items()}

    def at(self, params: Mapping[str, Choice]) -> Network | None:
        i = sum(OPERATIONS.index(params[f"edge {edge}"]) * 5**edge for edge in range(6))
        return Network(str(i), dict(params)) if self.taking_part_N[i] else None

    def read(self, network: Network, share: float, seed: int) -> Observation:
        """What a training up to that share of the epochs shows."""
        i = int(network.identity)
        noise = math.log10(self.noise.factor(network.identity, share, seed))
        return Observation(self.val_NE[i, round(share * EPOCHS) - 1] / 100, self.log10_uj_N[i] + noise, 0)

    def answer(self, trained: Sequence[str]) -> list[int]:
        """The rows that a user would be shown."""
        rows = [int(identity) for identity in trained]
        return [rows[k] for k in pareto.front([(self.val_NE[i, -1], self.log10_uj_N[i]) for i in rows])]

    def score(self, trained: Sequence[str], seed: int = 0) -> dict[str, float]:
        """Relative hypervolume at three references, and accuracy in points below the best at four energies.

        At the end nothing is noisy, so the seed does not matter.
        """
        shown = self.answer(trained)
        points = [(self.test_N[i], self.log10_uj_N[i]) for i in shown]
        scores = {
            name: pareto.hypervolume(points, reference) / self.best[name] for name, reference in self.references.items()
        }
        return scores | {f"regret{uj}": self._regret(shown, math.log10(uj)) for uj in BUDGETS_UJ}

    def _regret(self, shown: Sequence[int], log10_uj: float) -> float:
        """Chosen by validation accuracy among what the energy allows; with nothing allowed, 80 % is taken."""
        allowed = [i for i in shown if self.log10_uj_N[i] <= log10_uj]
        chosen = self.test_N[max(allowed, key=lambda i: self.val_NE[i, -1])] if allowed else REFERENCES[0][0]
        return float(max(self.test_N[i] for i in self.oracle if self.log10_uj_N[i] <= log10_uj) - chosen)
