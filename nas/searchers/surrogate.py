"""What observations of many networks at several rungs say about any network at one rung: a Gaussian process.

A network i reads at rung r

    y(i, r) = mean_r + scale_r (f(i, r) + g(i, r)) + noise_r

where f depends on its axes and g is its own, and both are alike at rungs that are near each other:

    cov(f) = (main sum_d m_d (1 - distance_d(i, j)) + (1 - main) exp(-sum_d w_d distance_d(i, j))) R_f(r, s)
    cov(g) = own [i = j] R_g(r, s)            R(r, s) = exp(-decay |log share_r - log share_s| - apart(r, s))

So a low rung is believed as far as it has proved to be like the high ones. Readings of another study are rungs of their
own: apart(r, s) = away_a + away_b between rungs of different studies a and b, where away of the study itself is 0, and
0 within a study. So an old study is believed as far as it has proved to be like the new one, at one distance for all of
its rungs (R is a covariance, as a product of two). The first part of cov(f) is that of main
effects, the second that of a product of categories with a weight an axis (COMBO, Oh et al., arXiv 1902.00448); over
rungs it is the Markov form of Kennedy and O'Hagan (Biometrika 87(1):1, 2000). Parameters are maximum a posteriori.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import linalg

from nas.searchers.observations import Observations

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Parameters = dict[str, Array]
Indices = npt.NDArray[np.int64]

_MOST = 150  # observations to estimate parameters from: more would cost seconds and change little
_STEPS = 25  # of L-BFGS
_JITTER = 1e-6  # of a variance of 1
_NOISE, _NOISE_OF_OTHERS = 0.2, 0.6  # of readings, as shares of the scale, before anything is known
_AWAY = 0.5  # of another study, before anything is known: a correlation of 0.6


def distances(a_ND: Array, b_MD: Array, ordinal_D: Flags) -> Array:
    """(D, N, M): of ordinal levels their difference, of categories whether they differ.

    A negative level is that of an axis that a network does not have: 1 from every level, equal to its like.
    """
    apart_DNM: Array = np.empty((len(ordinal_D), len(a_ND), len(b_MD)))
    for apart_NM, a_N, b_M, is_ordinal in zip(apart_DNM, a_ND.T, b_MD.T, ordinal_D, strict=True):  # without copies
        if is_ordinal:
            np.abs(np.subtract.outer(a_N, b_M, out=apart_NM), out=apart_NM)
            if (a_N < 0).any() or (b_M < 0).any():
                np.copyto(apart_NM, np.not_equal.outer(a_N, b_M), where=np.logical_or.outer(a_N < 0, b_M < 0))
        else:
            np.not_equal.outer(a_N, b_M, out=apart_NM)
    return apart_DNM


class Surrogate:
    """The model of one objective, conditioned on its observations.

    Args:
        features_ND: of the networks that were read, an axis a column.
        ordinal_D: which columns are ordinal, between 0 and 1.
        shares_R: of the images at each rung.
        observations: at least one at a rung of the study itself.
        parameters: from `parameters` of another model of these axes and rungs; None estimates them.
        studies_R: whose each rung is: 0 the study itself, which comes first, 1 and more other studies. None is all 0.
    """

    def __init__(
        self,
        features_ND: Array,
        ordinal_D: Flags,
        shares_R: Array,
        observations: Observations,
        parameters: Array | None = None,
        studies_R: Indices | None = None,
    ) -> None:
        self._features_ND, self._ordinal_D, self._observations = features_ND, ordinal_D, observations
        studies_R = np.zeros(len(shares_R), dtype=int) if studies_R is None else studies_R
        self._gaps = Gaps(shares_R, studies_R)
        self._blocks = _blocks(features_ND.shape[1], studies_R, observations)
        self.parameters = self._estimated() if parameters is None else parameters
        self._condition()

    def posterior(self, features_MD: Array, rows_M: Indices, rung: int) -> tuple[Array, Array]:
        """Mean and standard deviation, (M,) each, of what networks truly have at a rung that was read.

        Args:
            features_MD: of these networks.
            rows_M: where a network stands among those that were read, or -1.
        """
        p = self._unpacked(self.parameters)
        rows_N, rungs_N = self._observations.rows, self._observations.rungs
        smooth_RR, own_RR = _relations(p, self._gaps)
        effects_MN, product_MN = _kernels(p, distances(features_MD, self._features_ND, self._ordinal_D))
        kernel_MN = _mixed(p, effects_MN, product_MN)
        covariance_MN = kernel_MN[:, rows_N] * smooth_RR[rung, rungs_N]
        covariance_MN += (rows_M[:, None] == rows_N) * own_RR[rung, rungs_N]
        white_NM = linalg.solve_triangular(self._root_NN, covariance_MN.T, lower=True, check_finite=False)
        variance_M = smooth_RR[rung, rung] + own_RR[rung, rung] - (white_NM**2).sum(0)
        mean_M = self._means_R[rung] + covariance_MN @ self._solved_N
        return mean_M, np.sqrt(np.maximum(variance_M, 1e-12))

    def _unpacked(self, vector: Array) -> Parameters:
        ends = np.cumsum([len(centre) for centre, _ in self._blocks.values()])
        parts = np.split(np.exp(vector), ends[:-1])
        return dict(zip(self._blocks, parts, strict=True))

    def _evidence(self, indices: Indices) -> "Evidence":
        """That of some of the observations."""
        rows = self._observations.rows[indices]
        apart_DNN = distances(self._features_ND[rows], self._features_ND[rows], self._ordinal_D)
        same_NN = (rows[:, None] == rows).astype(float)
        rungs_N, values_N = self._observations.rungs[indices], self._observations.values[indices]
        return Evidence(apart_DNN, same_NN, rungs_N, values_N, self._gaps)

    def _estimated(self) -> Array:
        """The parameters of the highest posterior density, by L-BFGS from the middle of their priors."""
        from scipy import optimize  # slow to import

        evidence = self._evidence(_thinned(self._observations.rungs, _MOST))
        centre = np.concatenate([centre for centre, _ in self._blocks.values()])
        width = np.concatenate([np.full(len(centre), width) for centre, width in self._blocks.values()])

        def loss(vector: Array) -> tuple[float, Array]:
            misfit, slopes = evidence.misfit(self._unpacked(vector))
            away = (vector - centre) / width
            return misfit + 0.5 * float(away @ away), np.concatenate([slopes[b] for b in self._blocks]) + away / width

        bounds = list(zip(centre - 4 * width, centre + 4 * width, strict=True))
        minimum = optimize.minimize(
            loss, centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS}
        )
        return np.asarray(minimum.x, dtype=float)

    def _condition(self) -> None:
        evidence = self._evidence(np.arange(len(self._observations.values)))
        self._root_NN, self._means_R, self._solved_N = evidence.conditioned(self._unpacked(self.parameters))


class Gaps:
    """How far rungs are from each other.

    Attributes:
        shares_RR: difference of the logarithms of their shares.
        studies_SRR: for each of the other studies, S, 1 where just one of two rungs is of it.
    """

    def __init__(self, shares_R: Array, studies_R: Indices) -> None:
        of_study_SR = np.arange(1, 1 + studies_R.max())[:, None] == studies_R
        self.shares_RR: Array = np.abs(np.log(shares_R)[:, None] - np.log(shares_R))
        self.studies_SRR: Array = (of_study_SR[:, :, None] != of_study_SR[:, None, :]).astype(float)


class Evidence:
    """How well parameters explain observations.

    Args:
        apart_DNN: distances of their networks by axis.
        same_NN: whether two are of one network.
        rungs_N, values_N: where they were read, and what.
        gaps: between the rungs.
    """

    def __init__(self, apart_DNN: Array, same_NN: Array, rungs_N: Indices, values_N: Array, gaps: Gaps) -> None:
        self._apart_DNN, self._same_NN = apart_DNN, same_NN
        self._rungs_N, self._values_N, self._gaps = rungs_N, values_N, gaps
        self._hot_NR = np.eye(len(gaps.shares_RR))[rungs_N]

    def conditioned(self, p: Parameters) -> tuple[Array, Array, Array]:
        """Root of the covariance K, (N, N); mean of each rung, (R,); K^-1 times what means leave of values, (N,)."""
        kernel_NN = _mixed(p, *_kernels(p, self._apart_DNN))
        return self._solved(p, kernel_NN, *_relations(p, self._gaps))

    def misfit(self, p: Parameters) -> tuple[float, Parameters]:
        """Minus the logarithm of the likelihood, but for a constant, and its slopes in the parameters' logarithms.

        The means of the rungs minimise it, so they add nothing to the slopes. With covariance K and what the means
        leave, z, they are those of Rasmussen and Williams, Gaussian Processes for Machine Learning, eq. 5.9:
        dL = sum(G dK) with G = (K^-1 - K^-1 z (K^-1 z)^T) / 2.
        """
        effects_NN, product_NN = _kernels(p, self._apart_DNN)
        kernel_NN = _mixed(p, effects_NN, product_NN)
        smooth_RR, own_RR = _relations(p, self._gaps)
        root_NN, means_R, solved_N = self._solved(p, kernel_NN, smooth_RR, own_RR)
        rest_N = self._values_N - means_R[self._rungs_N]
        misfit = 0.5 * float(rest_N @ solved_N) + float(np.log(np.diagonal(root_NN)).sum())
        inverse_NN = linalg.cho_solve((root_NN, True), np.eye(len(root_NN)), check_finite=False)
        gradient_NN = 0.5 * (inverse_NN - np.outer(solved_N, solved_N))
        by_axes = self._slopes_of_axes(p, gradient_NN * self._by_pairs(smooth_RR), effects_NN, product_NN)
        return misfit, by_axes | self._slopes_of_rungs(p, gradient_NN, kernel_NN, smooth_RR, own_RR)

    def _solved(self, p: Parameters, kernel_NN: Array, smooth_RR: Array, own_RR: Array) -> tuple[Array, Array, Array]:
        covariance_NN = kernel_NN * self._by_pairs(smooth_RR) + self._same_NN * self._by_pairs(own_RR)
        covariance_NN[np.diag_indices_from(covariance_NN)] += _noise(p)[self._rungs_N]
        root_NN: Array = linalg.cholesky(covariance_NN, lower=True, check_finite=False)
        means_R, rest_N = _means_and_rest(root_NN, self._rungs_N, self._values_N, len(self._gaps.shares_RR))
        solved_N: Array = linalg.cho_solve((root_NN, True), rest_N, check_finite=False)
        return root_NN, means_R, solved_N

    def _by_pairs(self, of_RR: Array) -> Array:
        """(N, N): what two rungs have, for two observations."""
        return of_RR[self._rungs_N[:, None], self._rungs_N[None, :]]

    def _slopes_of_axes(self, p: Parameters, of_kernel_NN: Array, effects_NN: Array, product_NN: Array) -> Parameters:
        main = _main(p)
        shares_D = p["mains"] / p["mains"].sum()
        of_effects_D = -main * np.tensordot(self._apart_DNN, of_kernel_NN, axes=2)
        of_product_D = (main - 1) * np.tensordot(self._apart_DNN, of_kernel_NN * product_NN, axes=2)
        of_main = main * (1 - main) * (of_kernel_NN * (effects_NN - product_NN)).sum()
        return {
            "weights": p["weights"] * of_product_D,
            "mains": shares_D * (of_effects_D - shares_D @ of_effects_D),
            "main": np.array([of_main]),
        }

    def _slopes_of_rungs(
        self, p: Parameters, gradient_NN: Array, kernel_NN: Array, smooth_RR: Array, own_RR: Array
    ) -> Parameters:
        of_smooth_RR = smooth_RR * (self._hot_NR.T @ (gradient_NN * kernel_NN) @ self._hot_NR)
        of_own_RR = own_RR * (self._hot_NR.T @ (gradient_NN * self._same_NN) @ self._hot_NR)
        of_noise_R = self._hot_NR.T @ np.diagonal(gradient_NN)
        of_decays = [(of_RR * self._gaps.shares_RR).sum() for of_RR in (of_smooth_RR, of_own_RR)]
        of_aways_S = np.tensordot(self._gaps.studies_SRR, of_smooth_RR + of_own_RR, axes=2)
        return {
            "scales": 2 * ((of_smooth_RR + of_own_RR).sum(1) + _noise(p) * of_noise_R),
            "noises": 2 * (p["scales"] * p["noises"]) ** 2 * of_noise_R,
            "own": np.array([of_own_RR.sum()]),
            "decays": -p["decays"] * of_decays,
            "aways": -p["aways"] * of_aways_S,
        }


def _blocks(axes: int, studies_R: Indices, observations: Observations) -> dict[str, tuple[Array, float]]:
    """Priors of the logarithms of the parameters: where they are centred, and their standard deviation.

    Scales start at the spread at the lowest rung that was read of a study, for higher ones hold chosen networks only.
    """
    studies_N = studies_R[observations.rungs]
    spreads = {study: _spread(observations, studies_N == study) for study in np.unique(studies_N).tolist()}
    scales_R = np.array([spreads.get(study, 1.0) for study in studies_R.tolist()])
    return {
        "weights": (np.full(axes, math.log(1 / axes)), 1.0),
        "mains": (np.zeros(axes), 1.0),
        "main": (np.zeros(1), 1.0),
        "scales": (np.log(scales_R), 0.3),
        "noises": (np.log(np.where(studies_R == 0, _NOISE, _NOISE_OF_OTHERS)), 0.7),
        "own": (np.full(1, math.log(0.2)), 0.7),
        "decays": (np.log([0.1, 0.3]), 0.7),
        "aways": (np.full(studies_R.max(), math.log(_AWAY)), 1.0),
    }


def _spread(observations: Observations, of_study_N: Flags) -> float:
    """Standard deviation at the lowest rung of those that are of a study."""
    lowest = observations.rungs[of_study_N].min()
    return max(float(np.std(observations.values[observations.rungs == lowest])), 1e-3)


def _main(p: Parameters) -> float:
    """The share of main effects in the kernel."""
    return float(p["main"][0] / (1 + p["main"][0]))


def _kernels(p: Parameters, apart_DNM: Array) -> tuple[Array, Array]:
    """(N, M) each: covariance over axes of main effects and of the product of axes, 1 at no distance."""
    effects_NM = 1 - np.tensordot(p["mains"] / p["mains"].sum(), apart_DNM, axes=1)
    product_NM = np.exp(-np.tensordot(p["weights"], apart_DNM, axes=1))
    return effects_NM, product_NM


def _mixed(p: Parameters, effects_NM: Array, product_NM: Array) -> Array:
    main = _main(p)
    return main * effects_NM + (1 - main) * product_NM


def _relations(p: Parameters, gaps: Gaps) -> tuple[Array, Array]:
    """(R, R): covariances between rungs of the part that axes explain and of a network's own."""
    scales_RR = np.outer(p["scales"], p["scales"])
    apart_RR = np.tensordot(p["aways"], gaps.studies_SRR, axes=1)
    smooth_RR, own_RR = (scales_RR * np.exp(-decay * gaps.shares_RR - apart_RR) for decay in p["decays"])
    return smooth_RR, own_RR * p["own"]


def _noise(p: Parameters) -> Array:
    """(R,): its variance at each rung."""
    return p["scales"] ** 2 * (p["noises"] ** 2 + _JITTER)


def _means_and_rest(root_NN: Array, rungs_N: Indices, values_N: Array, rungs: int) -> tuple[Array, Array]:
    """The mean of each rung by generalised least squares (0 where nothing was read), and what it leaves of values."""
    read_S, places_N = np.unique(rungs_N, return_inverse=True)
    hot_NS = np.eye(len(read_S))[places_N]
    white = linalg.solve_triangular(root_NN, np.column_stack([hot_NS, values_N]), lower=True, check_finite=False)
    white_NS, white_N = white[:, :-1], white[:, -1]
    means_R = np.zeros(rungs)
    means_R[read_S] = np.linalg.solve(white_NS.T @ white_NS, white_NS.T @ white_N)
    return means_R, values_N - means_R[rungs_N]


def _thinned(rungs_N: Indices, most: int) -> Indices:
    """At most so many observations: of each rung equally many where there are enough, evenly spread over time."""
    if len(rungs_N) <= most:
        return np.arange(len(rungs_N))
    indices: list[int] = []
    by_rung = sorted((np.flatnonzero(rungs_N == rung) for rung in np.unique(rungs_N)), key=len)
    for i, own in enumerate(by_rung):
        quota = min(len(own), (most - len(indices)) // (len(by_rung) - i))
        indices += own[np.linspace(0, len(own) - 1, quota).round().astype(int)].tolist()
    return np.array(sorted(indices))


__all__ = ["Evidence", "Gaps", "Surrogate", "distances"]
