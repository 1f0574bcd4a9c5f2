"""Fronts, hypervolume and knee against definitions and other sources."""

import random

import numpy as np
import pytest
from optuna._hypervolume import compute_hypervolume

from nas.stats import pareto


def _points(seed: int, n: int = 30) -> list[pareto.Point]:
    """Coarse values, so that ties are common."""
    rng = random.Random(seed)
    return [(rng.randrange(8) / 10, float(rng.randrange(8))) for _ in range(n)]


def _beats(a: pareto.Point, b: pareto.Point) -> bool:
    return a[0] >= b[0] and a[1] <= b[1] and a != b


@pytest.mark.parametrize("seed", range(20))
def test_front_is_what_nothing_beats(seed: int) -> None:
    """By definition, every pair compared."""
    points = _points(seed)
    expected = {i for i, p in enumerate(points) if not any(_beats(q, p) for q in points)}
    found = pareto.front(points)
    assert set(found) == expected
    assert [points[i] for i in found] == sorted((points[i] for i in found), key=lambda p: (p[1], p[0]))


@pytest.mark.parametrize("seed", range(20))
def test_hypervolume_equals_optunas(seed: int) -> None:
    points = _points(seed)
    losses = np.array([(1 - accuracy, energy) for accuracy, energy in points])
    expected = compute_hypervolume(losses, np.array([1.0, 8.0]))
    assert pareto.hypervolume(points, (0.0, 8.0)) == pytest.approx(expected)


def test_points_outside_the_reference_add_nothing() -> None:
    assert pareto.hypervolume([(0.5, 2.0), (0.9, 20.0), (-1.0, 0.0)], (0.0, 10.0)) == pytest.approx(0.5 * 8)


def test_reference_point_by_hand() -> None:
    """The least accuracy and the largest energy, whatever networks they belong to."""
    accuracy, log10_energy = pareto.reference_point([(0.4, 1.0), (0.9, 2.5), (0.6, 3.0)])
    assert accuracy == 0.4
    assert 3.0 < log10_energy < 3.0 + 1e-5


def test_the_dearest_network_counts_if_it_is_the_most_accurate() -> None:
    """It beats the other by 0.4 over the hair between the largest energy and the reference point: 4e-7, not 0."""
    points = [(0.5, 1.0), (0.9, 2.0)]
    assert pareto.hypervolume(points, pareto.reference_point(points)) == pytest.approx(0.4 * 1e-6, rel=1e-6)


def test_one_dead_network_does_not_move_the_reference_point_to_chance() -> None:
    """Of 0.1, 0.72, 0.74, ..., 0.86 the quartiles are 0.74 and 0.82: no accuracy counts as less than 0.74 - 0.08 / 2.

    Evenly spread accuracies reach to where they end: of 0.72 to 0.86 to 0.755 - 0.07 / 2 = 0.72.
    """
    alive = [(0.72 + 0.02 * i, float(i)) for i in range(8)]
    assert pareto.reference_point(alive)[0] == pytest.approx(0.72)
    assert pareto.reference_point([*alive, (0.1, 0.0)])[0] == pytest.approx(0.7)
    assert pareto.reference_point([(0.5, 1.0)] * 8 + [(0.1, 0.0)])[0] == 0.1  # without a range there is no fence


def test_without_points_there_is_no_reference_point() -> None:
    with pytest.raises(ValueError, match="without points there is no reference point"):
        pareto.reference_point([])


def test_knee_by_hand() -> None:
    """From (0, 0) to (1, 10); at energy 2 the accuracy is already 0.9: 0.7 above the line, 0.95 at 6 is 0.35."""
    assert pareto.knee([(0.0, 0.0), (0.9, 2.0), (0.95, 6.0), (1.0, 10.0), (0.1, 9.0)]) == 1
    assert pareto.knee([(0.4, 1.0)]) == 0
    with pytest.raises(ValueError, match="at least one"):
        pareto.knee([])
