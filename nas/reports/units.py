"""One unit of energy for all values of a table or a figure, so that a reader compares numbers and not prefixes."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class EnergyUnit:
    """A unit in which energies are written.

    Attributes:
        name: "pJ", "nJ", "µJ", "mJ" or "J".
        mj: millijoules in one of it.
    """

    name: str
    mj: float

    def number(self, energy_mj: float) -> str:
        """Three digits and no exponent: 0.00123 mJ is "1.23" in µJ, and 1.23456 mJ is "1,235"."""
        value = energy_mj / self.mj
        if abs(value) >= 100:
            return f"{value:,.0f}"
        if value == 0 or abs(value) >= 1e-4:
            return f"{value:.3g}"
        return f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"

    def text(self, energy_mj: float) -> str:
        """The number with its unit; nothing else is 0 without one."""
        return f"{self.number(energy_mj)} {self.name}" if energy_mj else "0"


_UNITS = tuple(EnergyUnit(*of) for of in (("J", 1e3), ("mJ", 1.0), ("µJ", 1e-3), ("nJ", 1e-6), ("pJ", 1e-9)))


def unit_of(energies_mj: Iterable[float | None]) -> EnergyUnit:
    """The largest unit of which the median of the positive energies is at least one; mJ without any."""
    positive = [mj for mj in energies_mj if mj is not None and mj > 0]
    if not positive:
        return _UNITS[1]
    median = statistics.median(positive)
    return next((unit for unit in _UNITS if median >= unit.mj), _UNITS[-1])


def marks_of(energies_mj: Sequence[float]) -> list[float]:
    """Round energies in mJ for the marks of a logarithmic axis, from below the least to above the largest."""
    low, high = min(energies_mj, default=1.0), max(energies_mj, default=1.0)
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    steps = (1, 2, 5) if high < 1e3 * low else (1,)
    return [step * 10.0**decade for decade in decades for step in steps]


__all__ = ["EnergyUnit", "marks_of", "unit_of"]
