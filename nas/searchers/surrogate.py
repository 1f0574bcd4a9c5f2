"""What observations of many networks at several rungs say about any network at one rung: a Gaussian process.

A network i reads at rung r

    y(i, r) = mean_r + scale_r (f(i, r) + g(i, r)) + noise_r

where f depends on its axes and g is its own, and both are alike at rungs that are near each other:

    cov(f) = (main sum_d m_d (1 - distance_d(i, j)) + (1 - main) exp(-sum_d w_d distance_d(i, j))) R_f(r, s)
    cov(g) = own [i = j] R_g(r, s)            R(r, s) = exp(-decay |log share_r - log share_s|)

So a low rung is believed as far as it has proved to be like the high ones. The first part of cov(f) is that of main
effects, the second that of a product of categories with a weight an axis (COMBO, Oh et al., arXiv 1902.00448); over
rungs it is the Markov form of Kennedy and O'Hagan (Biometrika 87(1):1, 2000). Parameters are maximum a posteriori.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy import linalg
from torch import Tensor

from nas.searchers.observations import Observations

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

_MOST = 150  # observations to estimate parameters from: more would cost seconds and change little
_STEPS = 25  # of L-BFGS
_JITTER = 1e-6  # of a variance of 1


def distances(a_ND: Array, b_MD: Array, ordinal_D: Flags) -> Array:
    """(D, N, M): of ordinal levels their difference, of categories whether they differ.

    A negative level is that of an axis that a network does not have: 1 from every level, equal to its like.
    """
    apart_DNM: Array = (a_ND.T[:, :, None] != b_MD.T[:, None, :]).astype(float)
    a_DN, b_DM = a_ND.T[ordinal_D], b_MD.T[ordinal_D]
    both = (a_DN[:, :, None] >= 0) & (b_DM[:, None, :] >= 0)
    apart_DNM[ordinal_D] = np.where(both, np.abs(a_DN[:, :, None] - b_DM[:, None, :]), apart_DNM[ordinal_D])
    return apart_DNM


class Surrogate:
    """The model of one objective, conditioned on its observations.

    Args:
        features_ND: of the networks that were read, an axis a column.
        ordinal_D: which columns are ordinal, between 0 and 1.
        shares_R: of the images at each rung.
        observations: at least one at the lowest rung.
        parameters: from `parameters` of another model of these axes and rungs; None estimates them.
    """

    def __init__(
        self,
        features_ND: Array,
        ordinal_D: Flags,
        shares_R: Array,
        observations: Observations,
        parameters: Array | None = None,
    ) -> None:
        self._features_ND, self._ordinal_D, self._observations = features_ND, ordinal_D, observations
        self._gaps_RR = torch.from_numpy(np.abs(np.log(shares_R)[:, None] - np.log(shares_R)))
        self._blocks = _blocks(features_ND.shape[1], len(shares_R), observations)
        self.parameters = self._estimated() if parameters is None else parameters
        self._condition()

    def posterior(self, features_MD: Array, rows_M: Indices, rung: int) -> tuple[Array, Array]:
        """Mean and standard deviation, (M,) each, of what networks truly have at a rung that was read.

        Args:
            features_MD: of these networks.
            rows_M: where a network stands among those that were read, or -1.
        """
        p = self._unpacked(torch.from_numpy(self.parameters))
        rows_N, rungs_N = self._observations.rows, self._observations.rungs
        apart_DMN = torch.from_numpy(distances(features_MD, self._features_ND, self._ordinal_D))
        smooth_RR, own_RR = (relation.numpy() for relation in self._relations(p))
        covariance_MN = _kernel(p, apart_DMN).numpy()[:, rows_N] * smooth_RR[rung, rungs_N]
        covariance_MN += (rows_M[:, None] == rows_N) * own_RR[rung, rungs_N]
        white_NM = linalg.solve_triangular(self._root_NN, covariance_MN.T, lower=True, check_finite=False)
        variance_M = smooth_RR[rung, rung] + own_RR[rung, rung] - (white_NM**2).sum(0)
        mean_M = self._means_R[rung] + covariance_MN @ self._solved_N
        return mean_M, np.sqrt(np.maximum(variance_M, 1e-12))

    def _unpacked(self, vector: Tensor) -> dict[str, Tensor]:
        ends = np.cumsum([len(centre) for centre, _ in self._blocks.values()])
        parts = (vector[end - len(b[0]) : end].exp() for end, b in zip(ends, self._blocks.values(), strict=True))
        return dict(zip(self._blocks, parts, strict=True))

    def _relations(self, p: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(R, R): covariances between rungs of the part that axes explain and of a network's own."""
        scales_RR = p["scales"][:, None] * p["scales"]
        smooth, own = (scales_RR * torch.exp(-decay * self._gaps_RR) for decay in p["decays"])
        return smooth, own * p["own"]

    def _covariance(self, p: dict[str, Tensor], apart_DNN: Tensor, same_NN: Tensor, rungs_N: Tensor) -> Tensor:
        smooth_RR, own_RR = self._relations(p)
        pairs = (rungs_N[:, None], rungs_N[None, :])
        noise_R = p["scales"] ** 2 * (p["noises"] ** 2 + _JITTER)
        return _kernel(p, apart_DNN) * smooth_RR[pairs] + same_NN * own_RR[pairs] + torch.diag(noise_R[rungs_N])

    def _tensors(self, indices: Indices) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of some observations: distances, whether they are of one network, rungs, values."""
        rows = self._observations.rows[indices]
        apart = distances(self._features_ND[rows], self._features_ND[rows], self._ordinal_D)
        same = (rows[:, None] == rows).astype(float)
        rungs, values = self._observations.rungs[indices], self._observations.values[indices]
        return torch.from_numpy(apart), torch.from_numpy(same), torch.from_numpy(rungs), torch.from_numpy(values)

    def _estimated(self) -> Array:
        """The parameters of the highest posterior density, by L-BFGS from the middle of their priors."""
        from scipy import optimize  # slow to import

        apart, same, rungs, values = self._tensors(_thinned(self._observations.rungs, _MOST))
        centre = np.concatenate([centre for centre, _ in self._blocks.values()])
        width = np.concatenate([np.full(len(centre), width) for centre, width in self._blocks.values()])
        centre_P, width_P = torch.from_numpy(centre), torch.from_numpy(width)

        def loss(vector: Array) -> tuple[float, Array]:
            v = torch.tensor(vector, requires_grad=True)
            root = torch.linalg.cholesky(self._covariance(self._unpacked(v), apart, same, rungs))
            _, rest = _means_and_rest(root, rungs, values, len(self._gaps_RR))
            white = torch.linalg.solve_triangular(root, rest[:, None], upper=False)
            total = 0.5 * (white**2).sum() + root.diagonal().log().sum() + 0.5 * (((v - centre_P) / width_P) ** 2).sum()
            (gradient,) = torch.autograd.grad(total, v)
            return total.item(), gradient.numpy()

        bounds = list(zip(centre - 4 * width, centre + 4 * width, strict=True))
        minimum = optimize.minimize(
            loss, centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS}
        )
        return np.asarray(minimum.x, dtype=float)

    def _condition(self) -> None:
        apart, same, rungs, values = self._tensors(np.arange(len(self._observations.values)))
        p = self._unpacked(torch.from_numpy(self.parameters))
        root = torch.linalg.cholesky(self._covariance(p, apart, same, rungs))
        means, rest = _means_and_rest(root, rungs, values, len(self._gaps_RR))
        self._root_NN, self._means_R = root.numpy(), means.numpy()
        self._solved_N = torch.cholesky_solve(rest[:, None], root)[:, 0].numpy()


def _blocks(axes: int, rungs: int, observations: Observations) -> dict[str, tuple[Array, float]]:
    """Priors of the logarithms of the parameters: where they are centred, and their standard deviation.

    Scales start at the spread at the lowest rung, for higher ones hold chosen networks only.
    """
    lowest = observations.values[observations.rungs == 0]
    scale = max(float(np.std(lowest)), 1e-3)
    return {
        "weights": (np.full(axes, math.log(1 / axes)), 1.0),
        "mains": (np.zeros(axes), 1.0),
        "main": (np.zeros(1), 1.0),
        "scales": (np.full(rungs, math.log(scale)), 0.3),
        "noises": (np.full(rungs, math.log(0.2)), 0.7),
        "own": (np.full(1, math.log(0.2)), 0.7),
        "decays": (np.log([0.1, 0.3]), 0.7),
    }


def _kernel(p: dict[str, Tensor], apart_DNM: Tensor) -> Tensor:
    """(N, M): covariance over axes, 1 at no distance."""
    main = p["main"] / (1 + p["main"])
    effects = 1 - torch.tensordot(p["mains"] / p["mains"].sum(), apart_DNM, dims=1)
    product: Tensor = torch.exp(-torch.tensordot(p["weights"], apart_DNM, dims=1))
    both: Tensor = main * effects + (1 - main) * product
    return both


def _means_and_rest(root_NN: Tensor, rungs_N: Tensor, values_N: Tensor, rungs: int) -> tuple[Tensor, Tensor]:
    """The mean of each rung by generalised least squares (0 where nothing was read), and what it leaves of values."""
    read, places_N = torch.unique(rungs_N, return_inverse=True)
    hot_NS = torch.eye(len(read), dtype=values_N.dtype)[places_N]
    white = torch.linalg.solve_triangular(root_NN, torch.column_stack([hot_NS, values_N]), upper=False)
    white_NS, white_N1 = white[:, :-1], white[:, -1:]
    means_S = torch.linalg.solve(white_NS.T @ white_NS, white_NS.T @ white_N1)[:, 0]
    means_R = torch.zeros(rungs, dtype=values_N.dtype).index_copy(0, read, means_S)
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


__all__ = ["Surrogate", "distances"]
