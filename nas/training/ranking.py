"""Which energy ranks networks, by its name, and the column of a table that holds it."""

from typing import Literal, get_args

from nas.costs import Counts, chip, memory

EnergyOf = Literal[
    "proxy",
    "target",
    "energy+lemaire2022",
    "energy+lemaire_64bit",
    "energy+step",
    "energy+horowitz64",
    "chip:loihi",
    "chip:digital",
]
"""What ranks: the energy of the network that was trained, or of the one that `export` makes of it; that energy and
memory accesses by a model, together; or the energy on a chip."""
NAMED = tuple(name for name in get_args(EnergyOf) if name not in ("proxy", "target"))
"""Totals that are priced from counts."""
_COLUMNS = {"proxy": "energy_mj", "target": "energy_target_mj"}
_WORDS = {"energy_mj": "energy", "energy_target_mj": "energy on ImageNet"}


def total_mj(name: EnergyOf, energy_mj: float, counts: Counts) -> float | None:
    """The named total of an image, in millijoules.

    Args:
        energy_mj: arithmetic of the same counts, under a convention.

    Raises:
        CostError: nothing was counted.
    """
    if name.startswith("chip:"):
        return chip.load(name.removeprefix("chip:"))(counts).energy_mj
    return energy_mj + memory.load(name.removeprefix("energy+")).price(counts).energy_mj


def column_of(name: EnergyOf) -> str:
    """Column of a table of networks with what ranks them, in millijoules."""
    return _COLUMNS.get(name, f"{name}_mj")


def words_of(column: str) -> str:
    """What such a column holds, in words: "energy", or the name of a total."""
    return _WORDS.get(column, column.removesuffix("_mj"))


def axis_of(column: str) -> str:
    """The same on the axis of a figure: that an energy is predicted stands there, too."""
    return f"predicted {words_of(column)}" if column == _COLUMNS["target"] else words_of(column)


__all__ = ["NAMED", "EnergyOf", "axis_of", "column_of", "total_mj", "words_of"]
