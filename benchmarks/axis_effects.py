"""Which axes of a space move a figure: a least squares fit of all axes at once, with intervals and F tests."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nas.spaces import Choice
from nas.spaces.space import SearchSpace

Floats = NDArray[np.float64]
Rows = list[tuple[str, ...]]
HEADINGS = ("axis", "choice", "difference", "95 % interval", "share", "p")


def design(space: SearchSpace, choices: Sequence[Mapping[str, Choice]]) -> tuple[Floats, list[tuple[str, str]]]:
    """One column a choice but the first of each axis, and one of ones in front; the columns' axes and choices.

    Args:
        choices: of each network, by axis.
    """
    columns, names = [np.ones(len(choices))], [("", "")]
    for axis in space.axes:
        for choice in axis.choices[1:]:
            columns.append(np.array([float(row[axis.name] == choice) for row in choices]))
            names.append((axis.name, str(choice)))
    return np.stack(columns, axis=1), names


class Fit:
    """Ordinary least squares, y = X b + noise."""

    def __init__(self, x_NP: Floats, y_N: Floats) -> None:
        self.x_NP, self.y_N = x_NP, y_N
        self.b_P, *_ = np.linalg.lstsq(x_NP, y_N, rcond=None)
        self.residual = float(((y_N - x_NP @ self.b_P) ** 2).sum())
        self.freedom = len(y_N) - int(np.linalg.matrix_rank(x_NP))

    @property
    def spread(self) -> float:
        """Standard deviation beside the axes' own effects."""
        return float(np.sqrt(self.residual / self.freedom))

    def errors(self) -> Floats:
        """Standard errors of the coefficients."""
        spread_PP = np.linalg.pinv(self.x_NP.T @ self.x_NP) * self.residual / self.freedom
        errors: Floats = np.sqrt(np.diag(spread_PP))
        return errors

    def without(self, columns: Sequence[int]) -> "Fit":
        return Fit(np.delete(self.x_NP, columns, axis=1), self.y_N)


def effects(fit: Fit, names: Sequence[tuple[str, str]], space: SearchSpace) -> Rows:
    """Rows of each axis: its share of the variance that the others leave, its F test, and each choice's difference."""
    t, errors = stats.t.ppf(0.975, fit.freedom), fit.errors()
    rows: Rows = []
    for axis in space.axes:
        columns = [i for i, (name, _) in enumerate(names) if name == axis.name]
        reduced = fit.without(columns)
        explained = reduced.residual - fit.residual
        degrees = reduced.freedom - fit.freedom
        p = float(stats.f.sf(explained / degrees / (fit.residual / fit.freedom), degrees, fit.freedom))
        rows.append((axis.name, str(axis.choices[0]), "0", "", f"{explained / reduced.residual:.2f}", f"{p:.2g}"))
        for i in columns:
            low, high = fit.b_P[i] - t * errors[i], fit.b_P[i] + t * errors[i]
            rows.append(("", names[i][1], f"{fit.b_P[i]:+.2f}", f"{low:+.2f} to {high:+.2f}", "", ""))
    return rows
