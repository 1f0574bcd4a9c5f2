"""What readings of many networks at several rungs say about each network at the top rung: a Gaussian process.

A signal is one kind of reading at one rung, such as accuracy at a twentieth of the images. Network i reads

    y(i, s) = mean_s + scale_s (f(i, s) + g(i, s)) + noise_s

where f varies smoothly over the axes and g is a network's own, and both are alike at rungs that are near each other:

    cov(f) = exp(-sum_d w_d distance_d(i, j)) R_f(s, t)        cov(g) = own [i = j] R_g(s, t)
    R(s, t) = exp(-decay |log share_s - log share_t|) kinship^[kinds of s and t differ]

So a low rung is believed as far as it proved to be like the top one, and another kind of signal (training loss)
teaches about accuracy as far as both moved together. The covariance over axes is that of Hamming distances with a
weight an axis (COMBO's and GPSampler's choice for categories); over rungs it is the exponential one of multi-fidelity
regression (Kennedy and O'Hagan, Biometrika 2000, in its Markov form). Parameters are maximum a posteriori.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import linalg, optimize

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_MOST_TO_FIT = 400  # readings from which parameters are estimated; more would cost seconds and change little
_STEPS = 40  # of L-BFGS
_JITTER = 1e-6
MAIN = True
SCALE_WIDTH = 0.3
SHARED = True


@dataclass(frozen=True)
class Signals:
    """The S signals of a family: the share of images of each, and its kind (equal kinds are equally scaled)."""

    log_shares_S: Array
    kinds_S: Indices


@dataclass(frozen=True)
class Readings:
    """N values: of which network (a row of the encoding), under which signal."""

    rows_N: Indices
    signals_N: Indices
    values_N: Array


def distances(a_ND: Array, b_MD: Array, ordinal_D: npt.NDArray[np.bool_]) -> Array:
    """(D, N, M) between 0 and 1: of levels 0 to 1 their difference, of categories whether they differ.

    A negative level is an axis that a network does not have: far from every level, equal to its like.
    """
    differ_DNM = (a_ND.T[:, :, None] != b_MD.T[:, None, :]).astype(float)
    if not ordinal_D.any():
        return differ_DNM
    a_DN, b_DM = a_ND.T[ordinal_D], b_MD.T[ordinal_D]
    apart = np.abs(a_DN[:, :, None] - b_DM[:, None, :])
    both = (a_DN[:, :, None] >= 0) & (b_DM[:, None, :] >= 0)
    differ_DNM[ordinal_D] = np.where(both, apart, differ_DNM[ordinal_D])
    return differ_DNM


class _Parameters:
    """Logarithms of all parameters in one vector, with their priors: normal around `centre`, `width` wide."""

    def __init__(self, axes: int, scales_S: Array) -> None:
        signals = len(scales_S)
        blocks = {
            "weights": (np.full(axes, math.log(1.0 / axes)), 1.0),
            "scales": (np.log(scales_S), SCALE_WIDTH),
            "noises": (np.full(signals, math.log(0.2)), 0.7),
            "own": (np.full(1, math.log(0.2)), 0.7),
            "main": (np.full(axes + 1, math.log(1.0)), 1.0),
            "decays": (np.log([0.1, 0.3]), 0.7),
            "strangeness": (np.log([0.2, 0.2]), 0.7),
        }
        self.centre = np.concatenate([centre for centre, _ in blocks.values()])
        self.width = np.concatenate([np.full(len(centre), width) for centre, width in blocks.values()])
        ends = np.cumsum([len(centre) for centre, _ in blocks.values()])
        self.slices = {
            name: slice(end - len(block[0]), end) for (name, block), end in zip(blocks.items(), ends, strict=True)
        }

    def of(self, vector: torch.Tensor, name: str) -> torch.Tensor:
        return vector[self.slices[name]].exp()


class Surrogate:
    """The model of one family of signals, conditioned on its readings.

    Args:
        encoded_ND: a row of levels for each network that was read.
        ordinal_D: which columns are ordinal.
        signals: of the family; each must have been read.
    """

    def __init__(
        self,
        encoded_ND: Array,
        ordinal_D: npt.NDArray[np.bool_],
        signals: Signals,
        readings: Readings,
        fitted: Array | None = None,
    ) -> None:
        self.encoded_ND, self.ordinal_D, self.signals, self.readings = encoded_ND, ordinal_D, signals, readings
        self._gaps_SS = torch.from_numpy(np.abs(signals.log_shares_S[:, None] - signals.log_shares_S))
        self._strange_SS = torch.from_numpy((signals.kinds_S[:, None] != signals.kinds_S).astype(float))
        self._parameters = _Parameters(encoded_ND.shape[1], self._spreads())
        self.vector = self._fit() if fitted is None else fitted
        self._condition()

    def posterior(self, encoded_MD: Array, rows_M: Indices, signal: int) -> tuple[Array, Array]:
        """Mean and standard deviation (M,) of the true value of networks under a signal.

        Args:
            encoded_MD: their levels.
            rows_M: the row in the readings' encoding of a network that was read, or -1.
        """
        vector = torch.from_numpy(self.vector)
        rows_N, signals_N = self.readings.rows_N, self.readings.signals_N
        apart_DMN = torch.from_numpy(distances(encoded_MD, self.encoded_ND, self.ordinal_D))
        near_MN = self._near(vector, apart_DMN).numpy()[:, rows_N]
        smooth_SS, own_SS = (relation.numpy() for relation in self._relations(vector))
        covariance_MN = near_MN * smooth_SS[signal][signals_N]
        covariance_MN += (rows_M[:, None] == rows_N) * own_SS[signal][signals_N]
        solved_NM = linalg.solve_triangular(self._root_NN, covariance_MN.T, lower=True, check_finite=False)
        mean_M = self._means_S[signal] + covariance_MN @ self._solved_N
        variance_M = smooth_SS[signal, signal] + own_SS[signal, signal] - (solved_NM**2).sum(0)
        return mean_M, np.sqrt(np.maximum(variance_M, 1e-12))

    def _spreads(self) -> Array:
        """Standard deviation of each signal's readings: where the estimate of its scale starts."""
        values = [self.readings.values_N[self.readings.signals_N == s] for s in range(len(self.signals.kinds_S))]
        spreads = np.array([max(float(np.std(v)), 1e-3) for v in values])
        if SHARED:
            for kind in set(self.signals.kinds_S):
                own = np.flatnonzero(self.signals.kinds_S == kind)
                spreads[own] = spreads[own[0]]
        return spreads

    def _relations(self, vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(S, S) covariance between signals of the smooth part and of a network's own."""
        decays, strangeness = self._parameters.of(vector, "decays"), self._parameters.of(vector, "strangeness")
        scales_S = self._parameters.of(vector, "scales")
        outer_SS = scales_S[:, None] * scales_S
        smooth, own = (
            outer_SS * torch.exp(-decays[i] * self._gaps_SS - strangeness[i] * self._strange_SS) for i in range(2)
        )
        return smooth, own * self._parameters.of(vector, "own")

    def _near(self, vector: torch.Tensor, apart_DNM: torch.Tensor) -> torch.Tensor:
        """Covariance over axes: main effects and what goes beyond them, 1 at distance 0."""
        product = torch.exp(-torch.tensordot(self._parameters.of(vector, "weights"), apart_DNM, dims=1))
        if not MAIN:
            return product
        main = self._parameters.of(vector, "main")
        share = main[-1] / (1 + main[-1])
        return share * (1 - torch.tensordot(main[:-1] / main[:-1].sum(), apart_DNM, dims=1)) + (1 - share) * product

    def _covariance(self, vector: torch.Tensor, apart_DNN: torch.Tensor, same_NN: torch.Tensor, s_N: torch.Tensor) -> torch.Tensor:
        smooth_SS, own_SS = self._relations(vector)
        near_NN = self._near(vector, apart_DNN)
        noise_S = self._parameters.of(vector, "noises") * self._parameters.of(vector, "scales")
        pairs = (s_N[:, None], s_N[None, :])
        covariance_NN = near_NN * smooth_SS[pairs] + same_NN * own_SS[pairs]
        return covariance_NN + torch.diag(noise_S[s_N] ** 2 + _JITTER * smooth_SS.diagonal()[s_N])

    def _tensors(self, kept: Indices) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Distances, sameness, signals, one-hot signals and values of some readings."""
        rows, signals = self.readings.rows_N[kept], self.readings.signals_N[kept]
        apart = distances(self.encoded_ND[rows], self.encoded_ND[rows], self.ordinal_D)
        same = (rows[:, None] == rows).astype(float)
        hot = np.eye(len(self.signals.kinds_S))[signals]
        values = self.readings.values_N[kept]
        return tuple(map(torch.from_numpy, (apart, same, signals, hot, values)))  # type: ignore[return-value]

    def _fit(self) -> Array:
        kept = _thinned(self.readings, _MOST_TO_FIT)
        apart, same, signals, hot, values = self._tensors(kept)
        centre, width = torch.from_numpy(self._parameters.centre), torch.from_numpy(self._parameters.width)

        def objective(vector: Array) -> tuple[float, Array]:
            v = torch.tensor(vector, requires_grad=True)
            root = torch.linalg.cholesky(self._covariance(v, apart, same, signals))
            _, residual = _generalised_means(root, hot, values)
            white = torch.linalg.solve_triangular(root, residual[:, None], upper=False)
            loss = 0.5 * (white**2).sum() + root.diagonal().log().sum() + 0.5 * (((v - centre) / width) ** 2).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            assert v.grad is not None
            return float(loss), v.grad.numpy()

        bounds = [(c - 4 * w, c + 4 * w) for c, w in zip(self._parameters.centre, self._parameters.width, strict=True)]
        found = optimize.minimize(
            objective, self._parameters.centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS}
        )
        return np.asarray(found.x, dtype=float)

    def _condition(self) -> None:
        apart, same, signals, hot, values = self._tensors(np.arange(len(self.readings.values_N)))
        with torch.no_grad():
            root = torch.linalg.cholesky(self._covariance(torch.from_numpy(self.vector), apart, same, signals))
            means, residual = _generalised_means(root, hot, values)
            self._solved_N = torch.cholesky_solve(residual[:, None], root)[:, 0].numpy()
        self._root_NN, self._means_S = root.numpy(), means.numpy()


def _generalised_means(root_NN: torch.Tensor, hot_NS: torch.Tensor, values_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean of each signal by generalised least squares, and what is left of the values."""
    white_NS = torch.linalg.solve_triangular(root_NN, hot_NS, upper=False)
    white_N = torch.linalg.solve_triangular(root_NN, values_N[:, None], upper=False)
    means_S = torch.linalg.solve(white_NS.T @ white_NS, white_NS.T @ white_N)[:, 0]
    return means_S, values_N - hot_NS @ means_S


def _thinned(readings: Readings, most: int) -> Indices:
    """Indices of readings to estimate parameters from: of each signal evenly many, evenly spread over time."""
    n = len(readings.values_N)
    if n <= most:
        return np.arange(n)
    kept: list[int] = []
    by_signal = sorted((np.flatnonzero(readings.signals_N == s) for s in np.unique(readings.signals_N)), key=len)
    for i, own in enumerate(by_signal):
        quota = min(len(own), (most - len(kept)) // (len(by_signal) - i))
        kept += own[np.linspace(0, len(own) - 1, quota).round().astype(int)].tolist()
    return np.array(sorted(set(kept)))
