"""Trained networks in place of training: tables of this project (docs/table.md), and SpikeNAS-Bench for CIFAR-10.

A replay limits every method to the networks that were trained. A search reads validation accuracy and energy of a
training at a share of the images; the report accuracy of the same training in full scores its answer.
"""

import abc
import functools
import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from search_scores import Finals, Judge

from nas import tables
from nas.costs import total_macs
from nas.searchers import ConfigSpace, Network, Observation
from nas.spaces import Choice
from nas.tables import Table
from nas.training import Candidate

Suggest = Callable[[str, list[Choice]], Choice]

FETCH = """\
The .npz is SpikeNAS-Bench (github.com/tju-sun-lab/SpikeNAS-Bench); its authors state no licence, so ask them before
you pass it on. Clone their repository. Each CIFAR-10 network has a text file there with one line an epoch (training
accuracy and loss, validation accuracy and loss), the test accuracy, 16 firing rates and the time. Collect them in one
.npz with these arrays, row i being the network whose six edge operations are the base-5 digits of i, lowest first:
    val                         (15625, 100), accuracies in % by epoch; of the 690 networks that were trained for 200
                                epochs, take every second epoch
    test                        (15625,), %
    rate                        (15625, 16) firing rates, -1 where an edge has no neuron
    energy_uj                   (15625,) = 1e-6 (0.9 * 5 * rate[:, :15] @ MAC + 4.6 * 3 * 128 * 9 * 32 * 32), rates of
                                -1 as 0, MAC = [128*128*9*32*32]*6 + [256*256*9*16*16]*6
                                             + [128*256*9*32*32, 256*8*8*1024, 1024*100]"""


class Replay(abc.ABC):
    """Trained networks as a space to search, what their trainings show, and how an answer scores.

    Attributes:
        name: names files of results.
        unit, energy_unit: of what trainings cost, and of energies.
        axes: axis -> choices.
        networks: all that a method may propose.
        shares: of the images, rising, at which every network was trained; the last is 1.
        rungs: shares of the default search.
        macs: identity -> dense MACs.
        costs: share -> what a training there costs, in `unit`; each costs at most that.
        digest: tells tables of one name apart.
        variants: seeds of the replay that differ by a multiple of this read the same trainings.
    """

    name: str
    unit: str
    energy_unit: str
    axes: Mapping[str, Sequence[Choice]]
    networks: Sequence[Network]
    shares: tuple[float, ...]
    rungs: tuple[float, ...]
    macs: Mapping[str, float]
    costs: Mapping[float, float]
    digest: str
    variants = 1

    @abc.abstractmethod
    def at(self, params: Mapping[str, Choice]) -> Network | None:
        """The network of these choices; None if it was not trained."""

    @abc.abstractmethod
    def read(self, network: Network, share: float, seed: int) -> Observation | None:
        """What a training at a share shows; None if it gave no result."""

    @abc.abstractmethod
    def finals(self, variant: int) -> Finals:
        """What the full trainings gave that a seed of this variant reads."""

    def draw(self, rng: random.Random) -> Mapping[str, Choice]:
        return rng.choice(self.networks).params

    def every(self) -> Sequence[Mapping[str, Choice]]:
        return [network.params for network in self.networks]

    def sample(self, suggest: Suggest) -> Network | None:
        """The network that a sampler chooses, axis by axis; None if it was not trained."""
        return self.at({name: suggest(name, list(choices)) for name, choices in self.axes.items()})

    def cost_of(self, _network: Network, share: float, _seed: int) -> float:
        """What a training cost, in `unit`; one that ended early, such as a diverged one, cost less than others."""
        return self.costs[share]

    def judge(self, seed: int) -> Judge:
        return self._judge(seed % self.variants)

    @functools.cache  # noqa: B019 - replays live as long as the process
    def _judge(self, variant: int) -> Judge:
        return Judge(self.finals(variant))


class TableReplay(Replay):
    """The networks of a table that were trained at all of its shares and are in its space.

    A network with several seeds shows the trainings of one of them to a replay: seeds take turns.

    Raises:
        ValueError: the table has fewer than two such networks.
    """

    unit, energy_unit = "images", "mJ"

    def __init__(self, path: Path) -> None:
        self.name = path.name.partition(".")[0]
        self.digest = _digest(path)
        self.table: Table = tables.load(path)
        self.shares = self.table.shares
        own = self.table.space.recipe.rungs
        self.rungs = own if set(own) <= set(self.shares) else (*self.shares[:-1][:1], self.shares[-1])
        self._space = ConfigSpace(self.table.space, lambda config: config.config_id in self._seeds)
        self.axes = self._space.axes
        self._seeds = self._complete()
        self.networks = [Network(identity, self.table.choices(identity)) for identity in self._seeds]
        if len(self.networks) < 2:
            listed = ", ".join(f"{share:g}" for share in self.shares)
            raise ValueError(
                f"table {path} has {len(self.networks)} networks with trainings at all of its shares, {listed}. Give "
                "one with at least 2"
            )
        self.variants = math.lcm(*map(len, self._seeds.values()))
        self.macs = {identity: self._macs_of(identity) for identity in self._seeds}
        self._records = {
            (identity, share, seed): self.table.candidate(identity, share, seed)
            for identity, seeds in self._seeds.items()
            for share in self.shares
            for seed in seeds
        }
        self.costs = {
            share: max(record.images_seen for key, record in self._records.items() if key[1] == share)
            for share in self.shares
        }

    def at(self, params: Mapping[str, Choice]) -> Network | None:
        return self._space.at(params)

    def read(self, network: Network, share: float, seed: int) -> Observation | None:
        record = self._record(network.identity, share, seed)
        if not record.is_ranked or record.search_val_accuracy is None or not record.energy_mj:
            return None
        return Observation(record.search_val_accuracy, math.log10(record.energy_mj), 0)

    def cost_of(self, network: Network, share: float, seed: int) -> float:
        return self._record(network.identity, share, seed).images_seen

    def finals(self, variant: int) -> Finals:
        readings = [self.read(network, 1.0, variant) for network in self.networks]
        reports = [self._record(network.identity, 1.0, variant).report_val_accuracy for network in self.networks]
        return Finals(
            [network.identity for network in self.networks],
            np.array([math.nan if r is None else r.accuracy for r in readings]),
            np.array([math.nan if accuracy is None else accuracy for accuracy in reports]),
            np.array([math.nan if r is None else r.log10_energy for r in readings]),
        )

    def _complete(self) -> dict[str, list[int]]:
        """Identity -> seeds with which a network of the space was trained at every share."""
        seeds_of = {
            identity: set.intersection(*(set(self.table.seeds_of(identity, share)) for share in self.shares))
            for identity in self.table.networks
            if self.table.choices(identity)
        }
        return {identity: sorted(seeds) for identity, seeds in seeds_of.items() if seeds}

    def _macs_of(self, identity: str) -> float:
        """As a signal of the table has them; counted where it has no signals."""
        signal = self.table.signals(identity)["macs"]
        return total_macs(self.table.networks[identity]) if math.isnan(signal) else signal

    def _record(self, identity: str, share: float, seed: int) -> Candidate:
        seeds = self._seeds[identity]
        return self._records[identity, share, seeds[seed % len(seeds)]]


class SpikeNasBench(Replay):
    """15,625 spiking cell networks, each trained once for 100 epochs (Zhu et al., IEEE TAI 6(6):1614, 2025).

    Test accuracy is their report accuracy. Firing rates, and with them energies, are known at the end of training only:
    before it, energy is read with log-normal noise, drawn once for a network, share and seed.
    """

    name, unit, energy_unit = "spikenas-bench", "epochs", "uJ"
    operations: tuple[Choice, ...] = ("zero", "skip", "conv 0.5", "conv 1.0", "conv 1.5")  # by the neuron's threshold
    energy_noise: Mapping[float, float] = {0.05: 0.09, 0.25: 0.04}  # sd of ln(energy) as early_signals.py measured it
    shares, rungs = (0.05, 0.25, 1.0), (0.05, 1.0)

    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            self._accuracy_NE, self._test_N = arrays["val"].astype(float) / 100, arrays["test"].astype(float) / 100
            self._log10_uj_N = np.log10(arrays["energy_uj"])
        self.digest = _digest(path)
        self.axes = {f"edge {i}": self.operations for i in range(6)}
        count = len(self._test_N)
        self.networks = [Network(str(i), self._choices(i)) for i in range(count)]
        self.macs = {network.identity: _cell_macs(network.params) for network in self.networks}
        self.costs = {share: round(share * self._accuracy_NE.shape[1]) for share in self.shares}

    def at(self, params: Mapping[str, Choice]) -> Network | None:
        return self.networks[sum(self.operations.index(params[name]) * 5**i for i, name in enumerate(self.axes))]

    def read(self, network: Network, share: float, seed: int) -> Observation | None:
        """What the one schedule of 100 epochs shows at that share of them."""
        i, sd = int(network.identity), self.energy_noise.get(share, 0.0)
        noise = sd * random.Random(f"{seed} {i} {share}").gauss(0, 1) / math.log(10)
        epoch = round(self.costs[share]) - 1
        return Observation(float(self._accuracy_NE[i, epoch]), float(self._log10_uj_N[i]) + noise, 0)

    def finals(self, variant: int) -> Finals:
        identities = [network.identity for network in self.networks]
        return Finals(identities, self._accuracy_NE[:, -1], self._test_N, self._log10_uj_N)

    def _choices(self, i: int) -> dict[str, Choice]:
        return {name: self.operations[i // 5**edge % 5] for edge, name in enumerate(self.axes)}


def _cell_macs(params: Mapping[str, Choice]) -> float:
    """Of a network of SpikeNAS-Bench: each convolution is an edge of both cells; the rest is alike in all."""
    convolutions = sum(str(operation).startswith("conv") for operation in params.values())
    cells = 128 * 128 * 9 * 32 * 32 + 256 * 256 * 9 * 16 * 16
    others = 3 * 128 * 9 * 32 * 32 + 128 * 256 * 9 * 32 * 32 + 256 * 8 * 8 * 1024 + 1024 * 100
    return 5.0 * (convolutions * cells + others)  # time steps


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
