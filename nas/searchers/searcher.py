"""What to train next: a new network at the lowest rung, or one that waits at a rung up to the next.

One rule for every rung: of those that could come to it, take the network that is expected to add most hypervolume to
what the networks that are there, or on their way, are believed to reach at the top. Of the networks trained in full,
every eighth is chosen for accuracy instead. The beliefs come from a model of all observations (`surrogate`), on scales
that `acquisition` gives reasons for. Which rung is next follows from counts alone, so no worker ever waits.

Networks that other studies trained before may inform the model (`prior`). They are no networks of the search: they are
not promoted, and hypervolume is not measured with them. They may be proposed like any other.

Everything follows from the seed, the records and the prior; nothing is remembered but what can be computed again.
"""

import functools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.searchers.acquisition import FEW, Parameters, Posterior, Settings
from nas.searchers.encoding import Encoder
from nas.searchers.networks import Network, Space
from nas.searchers.observations import Record, earlier, thinned
from nas.searchers.prior import NO_PRIOR, Prior
from nas.searchers.surrogate import Array, distances
from nas.spaces import Choice
from nas.stats import pareto

_ACCURATE_AFTER, _ACCURATE_EVERY = 5, 8  # networks in full
_GROWTH = 1.15  # parameters are estimated anew when observations have grown by this factor
_DRAWS = 2_000  # until a space counts as exhausted
_OFFERED = 25  # draws at a time, of which the one least like what was started is taken
_STEEPNESS = 4.0  # of similarity over the mean distance of axes: what shares most choices is what counts


@dataclass(frozen=True)
class Step:
    """Train `network` up to `rung`; at rung 0 it is new."""

    network: Network
    rung: int


class Searcher:
    """Suggests steps in a space.

    Args:
        space: of networks.
        seed: of all that is drawn.
        limits: accuracy below which and log10 energy above which a network is of no use.
        reference: accuracy and log10 energy from which hypervolume is measured; None derives them from the first
            networks.
        prior: what other studies showed of networks of the space.
    """

    def __init__(
        self,
        space: Space,
        seed: int = 0,
        settings: Settings | None = None,
        limits: pareto.Point = (-math.inf, math.inf),
        reference: pareto.Point | None = None,
        prior: Prior = NO_PRIOR,
    ) -> None:
        self.space, self.seed, self.settings, self.limits = space, seed, settings or Settings(), limits
        self.reference, self.prior = reference, prior
        self.encoder = Encoder(space.axes)
        self._estimated: dict[int, Parameters] = {}

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
                rung = max((r.highest_rung + 1 for r in records if self._may_go_on(r)), default=0)
                if rung == 0:
                    raise
        posterior = self._posterior(records)
        best = posterior.best_for(rung, self._aims_at_accuracy(records, rung))
        return Step(best or self._waiting(records, rung)[-1].network, rung)

    def _aims_at_accuracy(self, records: Sequence[Record], rung: int) -> bool:
        """Whether a network is to be more accurate than all before it: every eighth in full, from the sixth on.

        Hypervolume has little to gain at the accurate end, where accuracies saturate and energies are high, but many
        users want the most accurate network. In replays, doing so earlier or more often cost hypervolume.
        """
        before = sum(r.highest_rung >= rung for r in records)
        return rung == len(self.settings.shares) - 1 and before % _ACCURATE_EVERY == _ACCURATE_AFTER

    def _waiting(self, records: Sequence[Record], rung: int) -> list[Record]:
        return [r for r in records if r.promotable and r.highest_rung == rung - 1]

    def _may_go_on(self, record: Record) -> bool:
        return record.promotable and record.highest_rung + 1 < len(self.settings.shares)

    def next_rung(self, records: Sequence[Record], new: bool = True) -> int:
        """The highest that has too few networks for those below it, if one waits there; else 0, for a new network.

        Where it is 0, a new network may as well come from elsewhere, such as a sampler of Optuna's. When no more are to
        come, counts are rounded up, so that even a few networks send one to the top.
        """
        if new and self._is_starting(records):
            return 0
        for rung in range(len(self.settings.shares) - 1, 0, -1):
            here, below = (sum(r.highest_rung >= at for r in records) for at in (rung, rung - 1))
            per = self.settings.reduction_factor[rung - 1]
            lacks = (here + 1) * per <= below if new else here * per < below
            if lacks and self._waiting(records, rung):
                return rung
        return 0

    def _new(self, records: Sequence[Record]) -> Network:
        known = sum(0 in r.observations for r in records) + self.prior.alike(len(self.settings.shares))
        if self._is_starting(records) or known < FEW:
            return self._drawn(records)
        posterior = self._posterior(records)
        offered = [*self._neighbours(posterior.front(), len(records)), *self._pool]
        improvement = posterior.improvement_of_new(self.encoder.features(offered))
        offered += [r.network.params for r in posterior.known[len(posterior.records) :]]
        improvement = np.append(improvement, posterior.improvement_of_prior())
        return self._first(offered, -improvement, records) or self._drawn(records)

    def _is_starting(self, records: Sequence[Record]) -> bool:
        """Whether the model does not choose yet."""
        started = sum(not r.failed for r in records)
        return started < self._startup and not self.prior.agrees(records, len(self.settings.shares))

    @functools.cached_property
    def _startup(self) -> int:
        """Networks at random, at most: those that a prior has read in the quantities of the study count as such."""
        return max(0, self.settings.startup - self.prior.alike(len(self.settings.shares)))

    def _drawn(self, records: Sequence[Record]) -> Network:
        """At random, but of a few the one least like what was started: by chance alone, rare kinds are missed.

        Every other one is of another study's networks, if there are any, to find out whether its ranking holds here.
        """
        rng, others = random.Random(f"draw {self.seed} {len(records)}"), self.prior.of_others(len(self.settings.shares))
        if others and len(records) % 2 == 0:
            offered = [rng.choice(others).params for _ in range(_OFFERED)]
            network = self._first(offered, self._similarity(offered, records), records)
            if network is not None:
                return network
        for _ in range(_DRAWS // _OFFERED):
            offered = [self.space.draw(rng) for _ in range(_OFFERED)]
            network = self._first(offered, self._similarity(offered, records), records)
            if network is not None:
                return network
        started = {r.network.identity for r in records}
        every = (self.space.at(params) for params in self.space.every())
        network = next((n for n in every if n is not None and n.identity not in started), None)
        if network is None:
            raise LookupError(
                f"no untried network was found in {_DRAWS} random draws: the space may be nearly exhausted. Run fewer "
                "trials or widen the space"
            )
        return network

    def _similarity(self, offered: Sequence[Mapping[str, Choice]], records: Sequence[Record]) -> Array:
        """Of each to all that were started."""
        if not records:
            return np.zeros(len(offered))
        started_ND = self.encoder.features([r.network.params for r in records])
        apart_DMN = distances(self.encoder.features(offered), started_ND, self.encoder.ordinal_D)
        similarity_M: Array = np.exp(-_STEEPNESS * apart_DMN.mean(0)).sum(1)
        return similarity_M

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

    def _posterior(self, records: Sequence[Record]) -> Posterior:
        """With parameters estimated from the observations at the last milestone: a restart estimates the same."""
        observations, milestone = sum(len(r.observations) for r in records), 0
        if observations:  # without any of the study's own, those of the prior are all there is
            steps = math.floor(math.log(observations / FEW) / math.log(_GROWTH) + 1e-9)
            milestone = math.ceil(FEW * _GROWTH**steps - 1e-9)
        if milestone not in self._estimated:
            self._estimated[milestone] = self._conditioned(earlier(records, milestone)).parameters
        return self._conditioned(records, self._estimated[milestone])

    def _conditioned(self, records: Sequence[Record], parameters: Parameters = (None, None)) -> Posterior:
        telling = thinned(records, self.settings.startup)
        chosen = self.encoder, self.settings, self.limits, parameters, self.reference, self.prior
        return Posterior(telling, *chosen, startup=self._random(records))

    def _random(self, records: Sequence[Record]) -> int:
        """How many of the records were drawn at random: where a ranking proved true, fewer than there might be."""
        for count in range(min(self._startup, len(records))):
            if not self._is_starting(records[:count]):
                return count
        return self._startup


__all__ = ["Searcher", "Settings", "Step"]
