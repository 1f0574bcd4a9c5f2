"""Intervals, real differences and rank agreement, against figures by hand, scipy and brute force."""

import itertools
import math
import random

import numpy as np
import pytest
from scipy import stats

from nas.stats import intervals as statistics
from nas.stats.intervals import Interval


def test_means_share_one_deviation_by_hand() -> None:
    """[1, 3] and [10, 12]: both deviate by 1 from their means, so s^2 = 4 / 2 and t(0.975, 2) = 4.302653."""
    first, second = statistics.means([[1.0, 3.0], [10.0, 12.0]])
    half = 4.302653 * math.sqrt(2) / math.sqrt(2)
    assert (first.value, second.value) == (2.0, 11.0)
    assert first.low == pytest.approx(2 - half, rel=1e-6)
    assert second.high == pytest.approx(11 + half, rel=1e-6)


def test_one_seed_has_no_interval() -> None:
    (only,) = statistics.means([[5.0]])
    assert only.value == 5
    assert math.isnan(only.low)
    assert statistics.differences([[1.0], [2.0]]) == {}
    assert statistics.deviation([[1.0], []])[1] == 0


def test_a_group_without_results_has_no_mean() -> None:
    empty, other = statistics.means([[], [1.0, 3.0]])
    assert math.isnan(empty.value)
    assert other.value == 2


def test_of_two_groups_tukeys_interval_is_students() -> None:
    """With two groups the studentised range is the root of two times Student's t."""
    a, b = [1.0, 2.0, 4.0], [5.0, 5.5, 7.0]
    (found,) = statistics.differences([a, b]).values()
    expected = stats.ttest_ind(a, b).confidence_interval(0.95)
    assert found.low == pytest.approx(expected.low, rel=1e-4)
    assert found.high == pytest.approx(expected.high, rel=1e-4)
    assert found.value == pytest.approx(np.mean(a) - np.mean(b))


def test_tukey_with_a_table_value() -> None:
    """Three groups of three with deviation 1: q(0.95; 3, 6) = 4.339 of the tables, times 1 / sqrt(3)."""
    groups = [[m - 1, m, m + 1] for m in (0.0, 1.0, 5.0)]
    found = statistics.differences(groups)
    half = 4.339 / math.sqrt(3)
    assert found[0, 2].low == pytest.approx(-5 - half, abs=2e-3)
    assert found[0, 2].excludes_zero
    assert not found[0, 1].excludes_zero


def test_equal_results_differ_by_what_they_differ() -> None:
    (found,) = statistics.differences([[1.0, 1.0], [2.0, 2.0]]).values()
    assert found == Interval(-1.0, -1.0, -1.0)


SURE, UNSURE = Interval(2.0, 1.0, 3.0), Interval(0.5, -1.0, 2.0)


def _less(interval: Interval) -> Interval:
    return Interval(-interval.value, -interval.high, -interval.low)


@pytest.mark.parametrize(
    ("accuracy", "energy", "said"),
    [
        (SURE, _less(UNSURE), "first"),  # more accurate, and its energy seems less
        (SURE, UNSURE, "undecided"),  # more accurate, but its energy may be more
        (UNSURE, SURE, "undecided"),
        (_less(UNSURE), SURE, "second"),
        (UNSURE, _less(SURE), "first"),
        (SURE, _less(SURE), "first"),
        (SURE, SURE, "trade"),
        (UNSURE, UNSURE, "tie"),
        (UNSURE, _less(UNSURE), "tie"),
        (_less(SURE), SURE, "second"),
        (SURE, Interval(0.0, 0.0, 0.0), "first"),
    ],
)
def test_who_is_better(accuracy: Interval, energy: Interval, said: str) -> None:
    assert statistics.verdict(accuracy, energy) == said


def test_kendall_is_scipys_tau_b() -> None:
    rng = random.Random(0)
    for _ in range(50):
        a = [rng.randrange(5) for _ in range(12)]
        b = [rng.randrange(5) for _ in range(12)]
        assert statistics.kendall(a, b) == pytest.approx(stats.kendalltau(a, b).statistic)


def test_kendall_within_strata_by_hand() -> None:
    """Pairs (0, 1) agree, (2, 3) disagree, (4, 5) agree: (2 - 1) / 3; across strata all would agree."""
    a, b = [1, 2, 11, 12, 21, 22], [1, 2, 12, 11, 21, 22]
    assert statistics.kendall(a, b, [0, 0, 1, 1, 2, 2]) == pytest.approx(1 / 3)
    assert statistics.kendall(a, b) == pytest.approx(13 / 15)


def test_how_many_things_are_enough_by_hand() -> None:
    """atanh(0.7) - atanh(0.6) = 0.17415; 4 + 0.437 (1.95996 / 0.17415)^2 = 59.3."""
    assert statistics.enough(0.7, 0.6) == 60
    assert statistics.enough(0.9, 0.6) == 7  # atanh(0.9) is 1.47222: 4 + 0.437 (1.95996 / 0.77907)^2 = 6.8
    assert [statistics.enough(tau, 0.6) for tau in (0.6, 0.3, 1.0, math.nan)] == [None] * 4


def test_nothing_to_order_has_no_tau() -> None:
    assert math.isnan(statistics.kendall([1, 1, 1], [1, 2, 3]))
    assert math.isnan(statistics.kendall([1], [1]))


def test_wilson_is_scipys() -> None:
    low, high = statistics.wilson(np.array([0.3, 1.0, 0.0]), np.array([50.0, 20.0, 20.0]))
    for i, (right, count) in enumerate(((15, 50), (20, 20), (0, 20))):
        expected = stats.binomtest(right, count).proportion_ci(method="wilson")
        assert (low[i], high[i]) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_the_bootstrap_covers_a_mean() -> None:
    """Of 40 standard normal numbers the mean's interval is about +- 1.96 / sqrt(40)."""
    values = np.random.default_rng(1).normal(size=40)
    found = statistics.bootstrapped(lambda i: float(values[i].mean()), 40)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(40), rel=0.1)
    assert statistics.bootstrapped(lambda i: float(values[i].mean()), 40) == found


def test_perfect_agreement_of_few_is_not_certain() -> None:
    """Six in order: 15 pairs, taken as 1 - 2 / 15; atanh 1.3199 minus 1.95996 sqrt(0.437 / 2) is tanh 0.3817."""
    found = statistics.tau_interval(range(6), range(6))
    assert found.value == 1
    assert found.low == pytest.approx(math.tanh(math.atanh(13 / 15) - 1.959964 * math.sqrt(0.437 / 2)), abs=1e-6)
    assert found.low < 0.4
    assert math.isnan(statistics.tau_interval(range(4), range(4)).low)
    assert statistics.tau_interval(range(30), range(30)).low > 0.98
    within = statistics.tau_interval(range(6), range(6), [0, 0, 1, 1, 2, 2])  # three pairs
    assert within.low < -0.4


def test_promoted_by_hand() -> None:
    """Two layers: (3, 3), (2, 2), (1, 1) first; of the second, (0, 1) and (0.5, 2.5)."""
    points = [(1.0, 1.0), (0.0, 1.0), (2.0, 2.0), (0.5, 2.5), (3.0, 3.0)]
    assert statistics.promoted(points, 3) == {0, 2, 4}
    assert {0, 2, 4} < statistics.promoted(points, 4)
    assert statistics.promoted(points, 9) == {0, 1, 2, 3, 4}


def test_of_one_rank_the_lonely_ones_come_first_by_hand() -> None:
    """No one beats another; from the first two the third is 1.8 away, they are 0.2 from each other."""
    points = [(0.0, 0.0), (0.1, 0.1), (1.0, 1.0)]
    assert statistics.promoted(points, 1) == {2}
    assert statistics.promoted(points, 2) == {0, 2}


def test_promoted_never_leaves_out_what_beats_a_promoted_one() -> None:
    rng = random.Random(0)
    for _ in range(30):
        points = [(rng.random(), rng.random()) for _ in range(15)]
        kept = statistics.promoted(points, 6)
        for a, b in itertools.product(range(15), kept):
            if a not in kept:
                beats = points[a][0] > points[b][0] and points[a][1] < points[b][1]
                assert not beats


def test_recall_by_hand() -> None:
    """Of the final front {0, 1}, the early best one is 0: a half; of the early best two, both."""
    final = [(2.0, 2.0), (1.0, 1.0), (0.5, 3.0)]
    early = [(2.0, 1.0), (1.0, 2.0), (0.5, 3.0)]
    assert statistics.recall(early, final, 1) == 0.5
    assert statistics.recall(early, final, 2) == 1.0
