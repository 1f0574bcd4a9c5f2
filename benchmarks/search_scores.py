"""How the answer of a search scores: what validation chooses, by the report accuracies of the same trainings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.stats import pareto

Floats = npt.NDArray[np.float64]

ACCURACY_QUANTILES = {"low": 0.022, "high": 0.18}  # of the report accuracies of all networks
ENERGY_QUANTILE = 0.957


@dataclass(frozen=True)
class Finals:
    """What full trainings of N networks gave; NaN where a training gave no result, such as that of a silent network.

    Attributes:
        accuracies: (N,) share right on the images that a search ranks by.
        report_accuracies: (N,) share right on the images that only reports use.
        log10_energies: (N,) of whatever unit.
    """

    identities: Sequence[str]
    accuracies: Floats
    report_accuracies: Floats
    log10_energies: Floats


class Judge:
    """Scores networks that were trained in full.

    Attributes:
        references: name -> (report accuracy, log10 energy) from which hypervolume is measured.
        ceilings: name -> hypervolume that the choice by validation among all networks reaches, as a share of that of
            the true front, which is chosen by report accuracy.
    """

    def __init__(self, finals: Finals) -> None:
        self.finals = finals
        self._rows = {identity: i for i, identity in enumerate(finals.identities)}
        self._has_result = ~np.isnan(finals.accuracies + finals.report_accuracies + finals.log10_energies)
        reports, energies = finals.report_accuracies[self._has_result], finals.log10_energies[self._has_result]
        most = float(np.quantile(energies, ENERGY_QUANTILE))
        self.references = {name: (float(np.quantile(reports, q)), most) for name, q in ACCURACY_QUANTILES.items()}
        everyone, chosen = list(zip(reports, energies, strict=True)), self._shown(self.answer(finals.identities))
        self._whole = {name: pareto.hypervolume(chosen, point) for name, point in self.references.items()}
        self.ceilings = {
            name: self._whole[name] / pareto.hypervolume(everyone, point) for name, point in self.references.items()
        }

    def answer(self, trained: Sequence[str]) -> list[int]:
        """Rows of the networks that a user is shown: those that are non-dominated by validation accuracy and energy."""
        rows = self._with_result(trained)
        points = [(float(self.finals.accuracies[i]), float(self.finals.log10_energies[i])) for i in rows]
        return [rows[k] for k in pareto.front(points)]

    def volume(self, trained: Sequence[str], reference: str) -> float:
        """Hypervolume of the answer, relative to the choice by validation among all networks.

        It may pass 1, because validation may choose better among some than among all.
        """
        point = self.references[reference]
        return pareto.hypervolume(self._shown(self.answer(trained)), point) / self._whole[reference]

    def best(self, trained: Sequence[str]) -> float:
        """Report accuracy of the network with the best validation accuracy; NaN if none has a result."""
        rows = self._with_result(trained)
        if not rows:
            return float("nan")
        best = max(rows, key=lambda i: (self.finals.accuracies[i], -self.finals.log10_energies[i]))
        return float(self.finals.report_accuracies[best])

    def _with_result(self, trained: Sequence[str]) -> list[int]:
        rows = [self._rows[identity] for identity in trained]
        return [i for i in rows if self._has_result[i]]

    def _shown(self, rows: Sequence[int]) -> list[pareto.Point]:
        return [(float(self.finals.report_accuracies[i]), float(self.finals.log10_energies[i])) for i in rows]
