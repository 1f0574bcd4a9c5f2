"""Which network to choose: the expected hypervolume improvement, by the posterior of all networks.

Accuracy is modelled as the log odds of error. Far from chance these are the logarithm of error, in which learning
curves of power laws have equal scales at all rungs. Near chance, where all errors after few images are alike, they
still tell networks apart. They are modelled along energy as well as the axes: activity tells capacity. The expected
improvement is exact for two independent normals (Emmerich et al., 2011; the strips are ours).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from nas.searchers.encoding import Encoder
from nas.searchers.networks import Network
from nas.searchers.observations import MOST, Record, energies, errors
from nas.searchers.prior import FIRST, NO_PRIOR, Prior
from nas.searchers.surrogate import Array, Indices, Surrogate
from nas.stats import pareto

FEW = 3  # observations at a rung before its values are what is compared

Parameters = tuple[Array | None, Array | None]
"""Of the models of energy and of error."""


@dataclass(frozen=True)
class Settings:
    """How a searcher spends.

    Attributes:
        shares: of the images at each rung, rising, the last 1.
        reduction_factor: how many networks of a rung make up for one at the next.
        startup: networks at random, spread over the space, before the model chooses. With prior observations they may
            be fewer (`nas.searchers.searcher`).
        kappa: by which standard deviations shrink when networks are promoted, where a wrong hope costs more.
        pool, neighbours: candidates for a new network: drawn once, and one choice from the believed front.
    """

    shares: tuple[float, ...] = (0.05, 1.0)
    reduction_factor: tuple[float, ...] = (5.0,)
    startup: int = 40
    kappa: float = 0.5
    pool: int = 1500
    neighbours: int = 300


class Posterior:
    """What is believed of every network that is known, at the highest rung that was read a few times.

    Attributes:
        records: of the networks that the search has started.
        known: these in their order, then those that only the prior knows, N in all.
        rung: of the beliefs.
        reference: from which hypervolume is measured.
    """

    def __init__(
        self,
        records: Sequence[Record],
        encoder: Encoder,
        settings: Settings,
        limits: pareto.Point,
        parameters: Parameters = (None, None),
        asked: pareto.Point | None = None,
        prior: Prior = NO_PRIOR,
        startup: int | None = None,
    ) -> None:
        self.records, self.settings, self._limits, self._asked = records, settings, limits, asked
        self._startup = settings.startup if startup is None else startup
        self._before = {record.network.identity for record in prior.records}
        self.known = known = prior.beside(records, MOST)
        rungs = len(settings.shares)
        counts = [sum(rung in r.observations for r in known) for rung in range(rungs)]
        self.rung = max((rung for rung, n in enumerate(counts) if n >= FEW), default=0)
        features_ND, rows_N = encoder.features([r.network.params for r in known]), np.arange(len(known))
        shares_R, ordinal_D = np.array([*settings.shares, *prior.shares]), encoder.ordinal_D
        studies_R = np.array([0] * rungs + list(prior.studies))
        self._energy = Surrogate(features_ND, ordinal_D, shares_R, energies(known), parameters[0], studies_R)
        self.energy_N, self.energy_sd_N = self._energy.posterior(features_ND, rows_N, self.rung)
        self._span = (float(self.energy_N.min()), float(np.ptp(self.energy_N)) or 1.0)
        along_ND, along_D = self._along(features_ND, self.energy_N), np.append(ordinal_D, True)
        self._error = Surrogate(along_ND, along_D, shares_R, errors(known, rungs), parameters[1], studies_R)
        self.accuracy_N, self.accuracy_sd_N = self._accuracy(features_ND, self.energy_N, rows_N)
        self.reference = self._reference()

    @property
    def parameters(self) -> Parameters:
        return self._energy.parameters, self._error.parameters

    def front(self) -> list[Network]:
        """Networks that are believed to be non-dominated, those of the prior among them."""
        members = [i for i, r in enumerate(self.known) if not r.failed]
        return [self.known[members[k]].network for k in pareto.front([self._point(i) for i in members])]

    def improvement_of_new(self, features_MD: Array) -> Array:
        """Hypervolume (M,) that networks are expected to add to all that were started."""
        rows_M = np.full(len(features_MD), -1)
        energy_M, energy_sd_M = self._energy.posterior(features_MD, rows_M, self.rung)
        accuracy_M, accuracy_sd_M = self._accuracy(features_MD, energy_M, rows_M)
        return self._improvement(accuracy_M, accuracy_sd_M, energy_M, energy_sd_M, 0)

    def improvement_of_prior(self) -> Array:
        """Hypervolume that networks which only the prior knows, in the order of `known`, are expected to add."""
        rows = slice(len(self.records), None)
        accuracy, accuracy_sd = self.accuracy_N[rows], self.accuracy_sd_N[rows]
        return self._improvement(accuracy, accuracy_sd, self.energy_N[rows], self.energy_sd_N[rows], 0)

    def best_for(self, rung: int, more_accurate: bool = False) -> Network | None:
        """Which waiting network is expected to add most to those at a rung or on their way to it.

        Args:
            more_accurate: than all of those: only this part of what a network adds counts.
        """
        rows = np.array(
            [i for i, r in enumerate(self.records) if r.promotable and r.highest_rung == rung - 1], dtype=int
        )
        if not len(rows):
            return None
        accuracy_sd, energy_sd = (self.settings.kappa * sd[rows] for sd in (self.accuracy_sd_N, self.energy_sd_N))
        beliefs = self.accuracy_N[rows], accuracy_sd, self.energy_N[rows], energy_sd
        improvement = self._improvement(*beliefs, rung, more_accurate)
        return self.records[int(rows[np.argmax(improvement)])].network

    def _improvement(
        self,
        accuracy_M: Array,
        accuracy_sd_M: Array,
        energy_M: Array,
        energy_sd_M: Array,
        rung: int,
        more_accurate: bool = False,
    ) -> Array:
        """What candidates are expected to add to the study's networks at a rung or on their way to it, and above.

        Where none is expected to reach what counts, they are told apart by how near they come to it, below 0.
        """
        there = [self._point(i) for i, r in enumerate(self.records) if r.highest_rung >= rung and not r.failed]
        reference = self.reference
        if more_accurate:
            reference = max([reference[0], *(accuracy for accuracy, _ in there)]), reference[1]
        beliefs = accuracy_M, accuracy_sd_M, energy_M, energy_sd_M
        improvement_M = expected_hypervolume_improvement(*beliefs, there, reference)
        if improvement_M.any():
            return improvement_M
        spans = float(np.ptp(self.accuracy_N)) or 1.0, self._span[1]
        return nearness(accuracy_M, energy_M, reference, spans)

    def _point(self, row: int) -> pareto.Point:
        return float(self.accuracy_N[row]), float(self.energy_N[row])

    def _along(self, features_MD: Array, energy_M: Array) -> Array:
        """Levels with the believed energy as one more ordinal axis, 0 to 1 over the networks that are known."""
        low, span = self._span
        return np.column_stack([features_MD, np.clip((energy_M - low) / span, 0, 1.5)])

    def _accuracy(self, features_MD: Array, energy_M: Array, rows_M: Indices) -> tuple[Array, Array]:
        """Mean and standard deviation, from those of the log odds of error by their slope."""
        log_odds_M, sd_M = self._error.posterior(self._along(features_MD, energy_M), rows_M, self.rung)
        error_M = special.expit(log_odds_M)
        return 1 - error_M, error_M * (1 - error_M) * sd_M

    def _reference(self) -> pareto.Point:
        """Accuracy and energy beyond which nothing counts, from beliefs about the first, random networks.

        It is the reference point of report and study (`nas.stats`): the user's, or that of a sample that no choice has
        drawn to one side. A prior makes these networks fewer: what its first networks are believed to read in this
        study joins them. Below the top rung networks are not yet as accurate as in the end, so that
        the accuracy that the user asked for, or a limit on it, might rule out all of them.
        """
        random = range(min(self._startup, len(self.records)))
        others = [i for i, r in enumerate(self.known) if r.network.identity in self._before and i not in random]
        first = [self._point(i) for i in [*random, *others[:FIRST]]]
        accuracy, energy = pareto.reference_point(first, self._asked)
        if self.rung < len(self.settings.shares) - 1:
            return pareto.reference_point(first)[0], min(energy, self._limits[1])
        return max(accuracy, self._limits[0]), min(energy, self._limits[1])


def expected_hypervolume_improvement(
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
    improvement_M: Array = (width_MK * excess_MK).sum(1)
    return improvement_M


def nearness(accuracy_M: Array, energy_M: Array, reference: pareto.Point, spans: pareto.Point) -> Array:
    """How far each candidate (M,) is believed to be from the reference point, in spans of known networks, negated.

    The larger of what it lacks in accuracy and in energy counts; beyond the point it is 0.
    """
    short_M = np.maximum((reference[0] - accuracy_M) / spans[0], (energy_M - reference[1]) / spans[1])
    return -np.maximum(short_M, 0.0)


def _excess(mean: Array, sd: Array) -> Array:
    """E[max(x, 0)] of a normal x."""
    z = mean / sd
    return sd * (z * special.ndtr(z) + np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi))


__all__ = ["FEW", "Parameters", "Posterior", "Settings", "expected_hypervolume_improvement", "nearness"]
