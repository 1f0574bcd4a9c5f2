"""What the numbers are made of that a layer multiplies or adds.

Every layer declares it, because it was built so: costs are counted by it, and the counting checks it.
"""

import math
from dataclasses import dataclass
from typing import Literal

from spikformer.errors import ConfigError


@dataclass(frozen=True)
class Operand:
    """A class of numbers.

    Attributes:
        kind: "binary", 0 or one quantum; "ternary", that with either sign; "count", any whole number of
            quanta; "signed", that with either sign; "real", anything else.
        quantum: value of one spike: 1, or 1/levels of a neuron that fires several at once.

    Raises:
        ConfigError: no such kind, or a quantum that is not positive and finite.
    """

    kind: Literal["binary", "ternary", "count", "signed", "real"]
    quantum: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("binary", "ternary", "count", "signed", "real"):
            raise ConfigError(f'operand "{self.kind}" is unknown. Use binary, ternary, count, signed or real')
        if not (math.isfinite(self.quantum) and self.quantum > 0):
            raise ConfigError(f"quantum {self.quantum} must be a positive number")

    @property
    def is_unit(self) -> bool:
        """Whether a value that is not zero is exactly one spike."""
        return self.kind in ("binary", "ternary")

    def summed(self) -> "Operand":
        """What sums of such numbers are."""
        kinds: dict[str, Literal["count", "signed"]] = {"binary": "count", "ternary": "signed"}
        return Operand(kinds[self.kind], self.quantum) if self.kind in kinds else self

    def times(self, other: "Operand") -> "Operand":
        """What products of two such numbers are."""
        if "real" in (self.kind, other.kind):
            return REAL
        signed = {"ternary", "signed"} & {self.kind, other.kind}
        if self.is_unit and other.is_unit:
            return Operand("ternary" if signed else "binary", self.quantum * other.quantum)
        return Operand("signed" if signed else "count", self.quantum * other.quantum)


BINARY = Operand("binary")
TERNARY = Operand("ternary")
REAL = Operand("real")

Operands = tuple[tuple[Operand, ...], ...]
"""Of a module: for each product in its own forward, in the order in which they run, the factors that are no weights."""

__all__ = ["BINARY", "REAL", "TERNARY", "Operand", "Operands"]
