"""Rivals that Optuna's samplers propose for: networks in full, or MO-ASHA with the proposals of TPE."""

import functools
import random
import warnings
from collections.abc import Callable

import optuna
from search_methods import Ledger, by_rank, minimised

from nas.searchers import Network, Observation
from nas.spaces import Choice

TRIES = 25  # proposals in a row that are no new network of the table, before the nearest one is taken
_REDUCTION = 4.0  # of MO-ASHA


class Proposer:
    """Networks that a sampler proposes, each one of the table and none twice.

    A proposal outside the table ends as FAIL, which samplers ignore. A network that was trained in full before tells
    its result again, as a study replays it. After `TRIES` such proposals, the sampler is given the untried network that
    differs from the last one in fewest axes.
    """

    def __init__(self, ledger: Ledger, sampler: optuna.samplers.BaseSampler) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._ledger, self._replay = ledger, ledger.replay
        self._study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        self._rng = random.Random(f"nearest {ledger.seed}")

    def next(self) -> tuple[optuna.Trial, Network]:
        """A trial and its network."""
        for _ in range(TRIES):
            trial, network = self._asked()
            if network is not None and network.identity not in self._ledger.longest:
                return trial, network
            if network is not None and self._ledger.longest[network.identity] == 1:
                self.tell(trial, self._ledger.train(network))
            else:
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        self._study.enqueue_trial(dict(self._nearest(trial.params)))
        trial, network = self._asked()
        assert network is not None
        return trial, network

    def tell(self, trial: optuna.Trial, observation: Observation | None) -> None:
        """The result of a trial; None where its network was stopped or gave none."""
        if observation is None:
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(trial, [observation.accuracy, observation.log10_energy])

    def _asked(self) -> tuple[optuna.Trial, Network | None]:
        trial = self._study.ask()
        return trial, self._replay.sample(lambda name, choices: trial.suggest_categorical(name, choices))

    def _nearest(self, params: dict[str, Choice]) -> dict[str, Choice]:
        untried = [n for n in self._replay.networks if n.identity not in self._ledger.longest]
        apart = [sum(network.params[name] != choice for name, choice in params.items()) for network in untried]
        nearest = [network for network, axes in zip(untried, apart, strict=True) if axes == min(apart)]
        return dict(self._rng.choice(nearest).params)


def in_full(ledger: Ledger, sampler: optuna.samplers.BaseSampler) -> None:
    """Networks that a sampler proposes, each in full."""
    proposer = Proposer(ledger, sampler)
    while True:
        trial, network = ledger.timed(proposer.next)
        proposer.tell(trial, ledger.train(network))


def halving(ledger: Ledger, sampler: optuna.samplers.BaseSampler) -> None:
    """MO-ASHA (Schmucker et al., arXiv 2106.12639), by its stopping rule, at all shares of the table.

    A network goes on while it is among the best quarter of all that reached its share, by non-dominated layers and,
    within a layer, farthest from those before it. Objectives are scaled to their range, which Syne Tune leaves out.
    """
    proposer = Proposer(ledger, sampler)
    known: dict[float, list[Observation]] = {share: [] for share in ledger.replay.shares}
    while True:
        trial, network = ledger.timed(proposer.next)
        proposer.tell(trial, _halved(ledger, network, known))


def _halved(ledger: Ledger, network: Network, known: dict[float, list[Observation]]) -> Observation | None:
    """A network on its way up; its observation in full, if it comes there."""
    observation = None
    for share, observations in known.items():
        observation = ledger.train(network, share)
        if observation is None:
            return None
        observations.append(observation)
        rank = by_rank(minimised(observations)).index(len(observations) - 1)
        if share < 1 and rank >= len(observations) / _REDUCTION:
            return None
    return observation


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed)
        if name == "gp":
            return optuna.samplers.GPSampler(seed=seed)
        return optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed)


def _proposed_by(name: str, ledger: Ledger) -> None:
    in_full(ledger, _sampler(name, ledger.seed))


METHODS: dict[str, Callable[[Ledger], None]] = {
    **{name: functools.partial(_proposed_by, name) for name in ("tpe", "nsga2", "gp")},
    "mo-asha": lambda ledger: halving(ledger, _sampler("tpe", ledger.seed)),
}
"""Name -> method."""
