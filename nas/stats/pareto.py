"""Pareto fronts of (accuracy, energy): accuracy to be large, energy to be small. Pure functions on numbers."""

import math
from collections.abc import Sequence

import numpy as np

_FENCE = 0.5  # ranges between quartiles; compared with 0 and 3 by replays of searches (docs/search.md)
_HAIR = 1e-6  # above the largest energy: the dearest network, if the most accurate, adds its gain times this

Point = tuple[float, float]
"""(accuracy, energy)"""


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other point beats, by rising energy.

    Beaten is what another point equals in one value and betters in the other, or betters in both.
    Of equal points all stay.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][1], -points[i][0]))
    members: list[int] = []
    for i in order:
        if not members or points[i][0] > points[members[-1]][0] or points[i] == points[members[-1]]:
            members.append(i)
    return members


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Area that the points dominate, bounded by a reference of low accuracy and high energy.

    Points that do not dominate the reference add nothing.
    """
    inside = [p for p in points if p[0] > reference[0] and p[1] < reference[1]]
    area, last_accuracy = 0.0, reference[0]
    for i in front(inside):
        accuracy, energy = inside[i]
        area += (accuracy - last_accuracy) * (reference[1] - energy)
        last_accuracy = accuracy
    return area


def reference_point(points: Sequence[Point], asked: Point | None = None) -> Point:
    """Where the hypervolume of these points is measured from: the one definition of searcher, study and report.

    It is the point that the user asked for, if there is one. Otherwise it has the least accuracy and a hair more than
    the largest energy of all the points. An accuracy counts as no lower than half the range between the quartiles below
    the lower one. Evenly spread accuracies end there; one dead network, at chance, lies far below, and would add a tall
    empty strip to every front, beside which fronts look alike.

    Args:
        points: (accuracy, energy), energy as a logarithm.
        asked: the user's own reference point, in the same units.

    Raises:
        ValueError: no points and none asked for.
    """
    if asked is not None:
        return asked
    if not points:
        raise ValueError("without points there is no reference point")
    accuracies = [accuracy for accuracy, _ in points]
    lower, upper = np.quantile(accuracies, [0.25, 0.75])
    fence = float(lower - _FENCE * (upper - lower)) if upper > lower else -math.inf
    return max(min(accuracies), fence), max(energy for _, energy in points) + _HAIR


def knee(points: Sequence[Point]) -> int:
    """Index of the point of the front that lies farthest above the line between its ends.

    Both values are scaled to the front's own range. Give energy as a logarithm where it spans decades.

    Raises:
        ValueError: no points.
    """
    if not points:
        raise ValueError("a front needs at least one point")
    members = front(points)
    low, high = points[members[0]], points[members[-1]]
    span = (high[0] - low[0], high[1] - low[1])
    if 0 in span:
        return members[-1]

    def height(i: int) -> float:
        return (points[i][0] - low[0]) / span[0] - (points[i][1] - low[1]) / span[1]

    best = max(members, key=height)
    return best if not math.isclose(height(best), 0, abs_tol=1e-12) else members[-1]
