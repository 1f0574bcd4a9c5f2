"""A table of energies has one unit, and its numbers no exponents."""

import math

import pytest

from nas.reports.units import marks_of, unit_of


@pytest.mark.parametrize(
    ("energies_mj", "name"),
    [
        ([44.6e-6, 303e-6, 1.2e-3], "nJ"),  # the middle one decides
        ([0.9e-3, 1.2e-3, 5.0], "µJ"),
        ([1.0], "mJ"),
        ([2e3], "J"),
        ([1e-9, 0.0, None, math.nan], "pJ"),
        ([1e-13], "pJ"),
        ([], "mJ"),
    ],
)
def test_the_median_decides_the_unit(energies_mj: list[float | None], name: str) -> None:
    assert unit_of(energies_mj).name == name


def test_numbers_have_three_digits_and_no_exponent() -> None:
    """1.23456 mJ are 1,234,560 nJ; 1.2345e-12 mJ are 0.0000012345 of them."""
    unit = unit_of([1e-6])
    numbers = {1.23456: "1,234,560", 44.64e-6: "44.6", 140e-6: "140", 1e-6: "1", 1.2345e-12: "0.00000123", 0.0: "0"}
    assert {mj: unit.number(mj) for mj in numbers} == numbers
    assert unit.text(140e-6) == "140 nJ"
    assert unit.text(0.0) == "0"


def test_marks_of_an_axis_are_round_and_enclose_the_energies() -> None:
    assert marks_of([3e-3, 4e-2])[0] <= 3e-3
    assert marks_of([3e-3, 4e-2])[-1] >= 4e-2
    assert {f"{mark:.0e}"[0] for mark in marks_of([3e-3, 4e-2])} == {"1", "2", "5"}
    assert {f"{mark:.0e}"[0] for mark in marks_of([1e-6, 1.0])} == {"1"}
