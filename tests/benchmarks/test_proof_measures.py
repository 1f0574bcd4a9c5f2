"""The measures of docs/proof.md, by hand and by brute force."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nas.stats import Interval

FOUND = [(50.0, 0.0), (60.0, 2.0)]
PUBLISHED = [(45.0, 0.5), (58.0, 1.0), (59.0, 3.0)]


def test_accuracy_at_equal_energy_by_hand(script: Callable[[str], Any]) -> None:
    """Both cover 10^0.5 to 10^2 mJ. Until 10^1 it is 50 against 45, then, on twice as much, 50 against 58."""
    curve = script("proof_measures").accuracy_gain(FOUND, PUBLISHED)
    assert (curve.low, curve.high) == (0.5, 2.0)
    assert curve.values == (5.0, -8.0)
    assert curve.widths == (0.5, 1.0)
    assert curve.median == -8.0
    assert curve.share_above_zero == pytest.approx(1 / 3)


def test_energy_at_equal_accuracy_by_hand(script: Callable[[str], Any]) -> None:
    """Both reach 50 to 59 %. Up to 58 % the published set needs 10^1 and the found one 10^2, then 10^3 against 10^2."""
    curve = script("proof_measures").energy_gain(FOUND, PUBLISHED)
    assert (curve.low, curve.high) == (50.0, 59.0)
    assert curve.values == (-1.0, 1.0)
    assert curve.widths == (8.0, 1.0)
    assert curve.median == -1.0


def test_what_is_beaten_within_its_set_changes_nothing(script: Callable[[str], Any]) -> None:
    measures = script("proof_measures")
    for gain in (measures.accuracy_gain, measures.energy_gain):
        assert gain([*FOUND, (40.0, 1.0), (50.0, 9.0)], [(44.0, 0.6), *PUBLISHED]) == gain(FOUND, PUBLISHED)


def test_sets_that_cover_nothing_together_have_no_measure(script: Callable[[str], Any]) -> None:
    measures = script("proof_measures")
    for gain in (measures.accuracy_gain, measures.energy_gain):
        for found, published in (([(50.0, 0.0)], [(60.0, 1.0)]), ([], PUBLISHED), (FOUND, [])):
            curve = gain(found, published)
            assert curve.values == ()
            assert math.isnan(curve.median)


@pytest.mark.parametrize("seed", range(5))
def test_measures_are_those_of_a_fine_grid(script: Callable[[str], Any], seed: int) -> None:
    """Brute force: what a user gets within each of many energies, and needs for each of many accuracies."""
    rng, measures = np.random.default_rng(seed), script("proof_measures")
    energies = rng.uniform(-3, -1, (2, 12))
    accuracies = 60 + 10 * energies + rng.normal(0, 5, (2, 12))  # both sets are long, so that they overlap
    sets = [list(zip(*own, strict=True)) for own in zip(accuracies.tolist(), energies.tolist(), strict=True)]

    def best(points: list[tuple[float, float]], energy: float) -> float:
        return max(accuracy for accuracy, own in points if own <= energy)

    def least(points: list[tuple[float, float]], accuracy: float) -> float:
        return min(energy for own, energy in points if own >= accuracy)

    for gain, sign, of in ((measures.accuracy_gain, 1, best), (measures.energy_gain, -1, least)):
        curve = gain(*sets)
        grid = np.linspace(curve.low, curve.high, 20_001)[1:-1]
        values = [sign * (of(sets[0], at) - of(sets[1], at)) for at in grid]
        assert curve.median == pytest.approx(np.quantile(values, 0.5, method="inverted_cdf"))
        assert curve.share_above_zero == pytest.approx(np.mean(np.array(values) > 0), abs=1e-3)


def test_an_interval_is_that_of_the_normal_sum_of_seeds_and_images(script: Callable[[str], Any]) -> None:
    """Two networks of 3 seeds each at 50 %: variance 2 (2^2 / 3 + 100^2 / 4 / 3000), with many degrees of freedom."""
    measures = script("proof_measures")
    network = measures.Measured((48.0, 50.0, 52.0), (), 3000)  # standard deviation 2
    noise = measures.Noise([network] * 200)
    assert (noise.accuracy_sd, noise.freedom) == (pytest.approx(2.0), 400)
    interval = noise.interval(measures.difference, [network], [network], repetitions=10_000)
    half = 1.96 * math.sqrt(2 * (4 / 3 + 2500 / 3000))
    assert interval.value == 0
    assert (interval.low, interval.high) == (pytest.approx(-half, rel=0.04), pytest.approx(half, rel=0.04))


def test_without_repeats_there_is_no_interval_and_no_verdict(script: Callable[[str], Any]) -> None:
    measures = script("proof_measures")
    one = measures.Measured((60.0,), (), 100)
    interval = measures.Noise([one]).interval(measures.difference, [one], [measures.Measured((40.0,), (), 100)])
    assert interval.value == 20
    assert math.isnan(interval.low)
    assert measures.verdict(interval, 1.0) == "undecided"


@pytest.mark.parametrize(
    ("low", "high", "strict", "expected"),
    [
        (1.0, 3.0, False, "shown"),
        (0.9, 3.0, False, "undecided"),
        (-3.0, 0.9, False, "refuted"),
        (-3.0, 1.0, False, "undecided"),
        (1.0, 3.0, True, "undecided"),
        (-3.0, 1.0, True, "refuted"),
    ],
)
def test_a_verdict_is_about_the_whole_interval(
    script: Callable[[str], Any], low: float, high: float, strict: bool, expected: str
) -> None:
    assert script("proof_measures").verdict(Interval(0.0, low, high), 1.0, strict=strict) == expected


def test_a_verdict_between_two_values_and_one_of_several(script: Callable[[str], Any]) -> None:
    measures = script("proof_measures")
    ends = {(0.0, 3.0): "shown", (-0.1, 2.0): "undecided", (3.1, 4.0): "refuted", (-2.0, -1.0): "refuted"}
    for (low, high), expected in ends.items():
        assert measures.verdict_within(Interval(1.0, low, high), 0.0, 3.0) == expected
    assert measures.verdict_of_all(["shown", "shown"]) == "shown"
    assert measures.verdict_of_all(["shown", "refuted"]) == "refuted"
    assert measures.verdict_of_all(["shown", "undecided"]) == "undecided"
    assert measures.verdict_of_all([]) == "undecided"


def test_pairs_by_hand(script: Callable[[str], Any]) -> None:
    """The middle of 10^0.5 to 10^2 is 10^1.25; partners need no less energy, where there are such networks."""
    pairs = script("proof_measures").pairs
    assert pairs(FOUND, PUBLISHED) == [(1, 2), (0, 0)]
    assert pairs([(61.0, 4.0), *FOUND], PUBLISHED) == [(0, 2), (1, 0)]  # the dearest has the most accurate partner
    assert pairs([(60.0, 2.0), (59.0, 1.9)], PUBLISHED) == [(0, 2), (1, 2)]  # none lies below the middle
    assert pairs([(60.0, 2.0)], PUBLISHED) == [(0, 2)]
    assert pairs(FOUND, [*PUBLISHED, (44.0, 0.55)]) == [(1, 2), (0, 0)]  # what is beaten is no partner
    assert pairs([], PUBLISHED) == []
