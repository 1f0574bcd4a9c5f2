"""What other studies showed before a search: counts by hand, rankings by known probabilities of Kendall's tau."""

from collections.abc import Sequence

import pytest

from nas.searchers.networks import Network
from nas.searchers.observations import MOST, Observation, Record, errors
from nas.searchers.prior import FIRST, Prior


def record(name: int, accuracies: dict[int, float]) -> Record:
    observations = {rung: Observation(a, 0.0, name) for rung, a in accuracies.items()}
    return Record(Network(str(name), {}), observations, max(observations))


def of_others(accuracies: Sequence[float]) -> Prior:
    """Of networks 0, 1, ... at rung 2, the first of another study's."""
    return Prior([record(i, {2: a}) for i, a in enumerate(accuracies)], (1.0,), (1,))


@pytest.mark.parametrize(
    ("own", "agrees"),
    [
        ([0.1, 0.2, 0.3, 0.4], False),  # four of a kind come about by chance once in 24 times, but are too few
        ([0.1, 0.2, 0.3, 0.4, 0.5], True),  # once in 120
        ([0.2, 0.1, 0.3, 0.4, 0.5], True),  # at most one exchange: 5 in 120, below 5 %
        ([0.2, 0.1, 0.3, 0.5, 0.4], False),  # at most two exchanges: 14 in 120
        ([0.5, 0.4, 0.3, 0.2, 0.1], False),
    ],
)
def test_a_ranking_holds_if_chance_would_seldom_repeat_it(own: list[float], agrees: bool) -> None:
    """Permutations of five by their inversions are counted by hand: 1, 4 and 9 of 120 have 0, 1 and 2."""
    prior = of_others([0.81, 0.82, 0.83, 0.84, 0.85, 0.86])
    assert prior.agrees([record(i, {0: a}) for i, a in enumerate(own)], 2) == agrees


def test_rankings_are_compared_on_networks_that_both_have_read() -> None:
    prior = of_others([0.1, 0.2, 0.3, 0.4])
    assert not prior.agrees([record(i, {0: 0.1 * i}) for i in range(4, 10)], 2)
    assert not Prior().agrees([record(i, {0: 0.1 * i}) for i in range(9)], 2)


def test_readings_of_the_same_quantities_are_told_from_others() -> None:
    records = [record(0, {0: 0.5}), record(1, {1: 0.5}), record(2, {0: 0.5, 2: 0.5}), record(3, {2: 0.5})]
    prior = Prior(records, (1.0,), (1,))
    assert prior.alike(2) == 3
    assert [network.identity for network in prior.of_others(2)] == ["2", "3"]


def test_the_studys_own_reading_counts_and_its_networks_come_first() -> None:
    prior = Prior([record(0, {0: 0.1}), record(1, {0: 0.2, 2: 0.9}), record(2, {2: 0.8})], (1.0,), (1,))
    known = prior.beside([record(7, {0: 0.3}), record(1, {0: 0.4})], MOST)
    accuracies = [{rung: o.accuracy for rung, o in r.observations.items()} for r in known]
    assert [r.network.identity for r in known] == ["7", "1", "0", "2"]
    assert accuracies == [{0: 0.3}, {0: 0.4, 2: 0.9}, {0: 0.1}, {2: 0.8}]


def test_of_many_networks_the_first_and_the_best_are_kept() -> None:
    """600 networks of rising accuracy at one energy: each is a layer of its own, so the best are the last."""
    prior = of_others([i / 1000 for i in range(600)]).thinned()
    assert [int(r.network.identity) for r in prior.records] == [*range(FIRST), *range(600 - MOST + FIRST, 600)]
    own = [record(1000 + i, {0: 0.5}) for i in range(450)]
    assert len(prior.beside(own, MOST)) == 450 + MOST // 5


def test_accuracies_of_another_study_count_by_rank_alone() -> None:
    """Normal quantiles of 1/6, 3/6 and 5/6 (tables: 0.9674); the better, the lower the error; equal ones share it."""
    accuracies = ([0.1, 0.2, 0.9], [0.5, 0.6, 0.61], [0.3, 0.3, 0.3])
    values = [errors([record(i, {2: a}) for i, a in enumerate(each)], 2).values.tolist() for each in accuracies]
    assert values[0] == values[1] == pytest.approx([0.9674, 0, -0.9674], abs=1e-4)
    assert values[2] == [0, 0, 0]
