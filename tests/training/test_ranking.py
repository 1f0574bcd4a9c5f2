"""What ranks networks besides the energy of their operations."""

import typing

import pytest

from nas.costs import chip, memory
from nas.training import ranking
from tests.costs.test_chip import FIRST, PRODUCT, SECOND, counts

COUNTS = counts(FIRST, SECOND, PRODUCT, updates=1000)


def test_every_model_of_memory_and_every_chip_ranks() -> None:
    totals = {*(f"energy+{name}" for name in memory.names()), *(f"chip:{name}" for name in chip.names())}
    assert set(ranking.NAMED) == totals
    assert set(typing.get_args(ranking.EnergyOf)) == {"proxy", "target", *totals}


def test_a_total_is_arithmetic_and_memory_or_that_of_the_chip() -> None:
    for name in memory.names():
        total = ranking.total_mj(typing.cast(ranking.EnergyOf, f"energy+{name}"), 3.0, COUNTS)
        assert total == 3.0 + memory.load(name).price(COUNTS).energy_mj
    for name in chip.names():
        total = ranking.total_mj(typing.cast(ranking.EnergyOf, f"chip:{name}"), 3.0, COUNTS)
        assert total == chip.load(name)(COUNTS).energy_mj


@pytest.mark.parametrize(
    ("name", "column", "words", "axis"),
    [
        ("proxy", "energy_mj", "energy", "energy"),
        ("target", "energy_target_mj", "energy on ImageNet", "predicted energy on ImageNet"),
        ("energy+step", "energy+step_mj", "energy+step", "energy+step"),
        ("chip:loihi", "chip:loihi_mj", "chip:loihi", "chip:loihi"),
    ],
)
def test_columns_and_words(name: ranking.EnergyOf, column: str, words: str, axis: str) -> None:
    assert ranking.column_of(name) == column
    assert (ranking.words_of(column), ranking.axis_of(column)) == (words, axis)
