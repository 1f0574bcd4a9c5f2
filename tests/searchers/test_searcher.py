"""The searcher: its numbers against brute force, its promises over whole searches of a small space."""

import dataclasses
import itertools
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from nas.searchers.acquisition import Posterior, Settings, expected_hypervolume_improvement, nearness
from nas.searchers.encoding import Encoder
from nas.searchers.networks import ConfigSpace, Network
from nas.searchers.observations import Observation, Observations, Record, errors, thinned
from nas.searchers.prior import Prior
from nas.searchers.searcher import Searcher, Step
from nas.searchers.surrogate import Evidence, Gaps, Surrogate, distances
from nas.spaces import load_space
from nas.spaces.space import Choice
from nas.stats import pareto

QUICK = Settings((0.05, 0.25, 1.0), (5.0, 2.0), startup=8, pool=100, neighbours=30)


class Toy:
    """Four axes; "wide" only counts where "kind" is b, so that unlike choices may be one network."""

    axes: Mapping[str, Sequence[Choice]] = {
        "width": [1, 2, 4, 8],
        "depth": [1, 2, 3],
        "kind": ["a", "b", "c"],
        "wide": [True, False],
    }

    def every(self) -> Sequence[Mapping[str, Choice]]:
        return ()  # too many to go through

    def draw(self, rng: random.Random) -> Mapping[str, Choice]:
        return {name: rng.choice(choices) for name, choices in self.axes.items()}

    def at(self, params: Mapping[str, Choice]) -> Network:
        counted = {name: choice for name, choice in params.items() if name != "wide" or params["kind"] == "b"}
        return Network(str(sorted(counted.items())), dict(params))


def truth(network: Network) -> pareto.Point:
    p = network.params
    size = float(p["width"]) * float(p["depth"])
    return 0.9 - 0.3 / size + (0.03 if p["kind"] == "c" else 0.0), math.log10(size) + (0.3 if p["kind"] == "a" else 0.0)


def read(network: Network, rung: int, number: int) -> Observation:
    rng = random.Random(f"{network.identity} {rung}")
    accuracy, energy = truth(network)
    return Observation(accuracy - (0.2, 0.08, 0.0)[rung] + rng.gauss(0, 0.01), energy + rng.gauss(0, 0.05), number)


def after(records: list[Record], step: Step, failed: bool = False) -> list[Record]:
    """The records when a step has been done."""
    number = sum(len(r.observations) for r in records)
    own = next((r for r in records if r.network.identity == step.network.identity), Record(step.network, {}, 0))
    reading = {} if failed else {step.rung: read(step.network, step.rung, number)}
    done = dataclasses.replace(own, observations={**own.observations, **reading}, highest_rung=step.rung, failed=failed)
    if own in records:
        return [done if r is own else r for r in records]
    return [*records, done]


def searched(steps: int, seed: int = 0, interrupted_at: Sequence[int] = ()) -> list[Step]:
    """A search's steps; where it was interrupted, a searcher goes on that knows nothing but the records."""
    searcher, records, taken = Searcher(Toy(), seed, QUICK), list[Record](), list[Step]()
    for i in range(steps):
        searcher = Searcher(Toy(), seed, QUICK) if i in interrupted_at else searcher
        taken.append(searcher.next_step(records))
        records = after(records, taken[-1])
    return taken


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    return searched(40)


def test_distances_by_hand() -> None:
    a = np.array([[0.0, 0.25], [2.0, -1.0]])
    apart = distances(a, a, np.array([False, True]))
    assert apart[0].tolist() == [[0, 1], [1, 0]]  # categories: 0 against 2 is as far as any
    assert apart[1].tolist() == [[0, 1], [1, 0]]  # an axis that one of them does not have
    assert distances(np.array([[0.25]]), np.array([[1.0]]), np.array([True])).item() == 0.75


def test_posterior_is_the_conditional_normal_of_the_definition() -> None:
    """Covariances entry by entry from the module's formula, means by solving the augmented system."""
    levels = np.array([[0, 0.0], [1, 0.5], [0, 1.0], [2, 0.5]])
    rows, rungs = np.array([0, 1, 2, 3, 0, 1]), np.array([0, 0, 0, 0, 1, 1])
    values = np.array([1.0, 2.0, 1.5, 0.7, 2.2, 2.9])
    shares, new = np.array([0.1, 1.0]), np.array([[1, 0.0], [1, 0.5]])
    logs = np.log([0.7, 0.4, 1.5, 0.5, 0.8, 1.1, 0.9, 0.2, 0.3, 0.25, 0.4, 0.6])
    model = Surrogate(levels, np.array([False, True]), shares, Observations(rows, rungs, values), logs)
    w, m, main = [0.7, 0.4], [1.5, 0.5], 0.8 / 1.8
    scales, noises, own, decays = [1.1, 0.9], [0.2, 0.3], 0.25, [0.4, 0.6]

    def covariance(x: np.ndarray, r: int, y: np.ndarray, s: int, same: bool) -> float:
        d = [float(x[0] != y[0]), abs(x[1] - y[1])]
        likeness = main * sum(m[k] / 2.0 * (1 - d[k]) for k in range(2))
        likeness += (1 - main) * math.exp(-sum(w[k] * d[k] for k in range(2)))
        gap = abs(math.log(shares[r] / shares[s]))
        smooth, private = (scales[r] * scales[s] * math.exp(-decay * gap) for decay in decays)
        return float(likeness * smooth + (own * private if same else 0.0))

    n = len(values)
    k = np.array(
        [
            [covariance(levels[rows[i]], rungs[i], levels[rows[j]], rungs[j], rows[i] == rows[j]) for j in range(n)]
            for i in range(n)
        ]
    )
    k += np.diag([scales[r] ** 2 * (noises[r] ** 2 + 1e-6) for r in rungs])
    hot = np.eye(2)[rungs]
    system = np.block([[k, hot], [hot.T, np.zeros((2, 2))]])
    solved = np.linalg.solve(system, np.concatenate([values, np.zeros(2)]))
    for network, row in ((new[0], -1), (new[1], 1)):
        c = np.array([covariance(network, 1, levels[rows[j]], rungs[j], rows[j] == row) for j in range(n)])
        mean, sd = model.posterior(network[None], np.array([row]), 1)
        assert mean.item() == pytest.approx(c @ solved[:n] + solved[n + 1])
        assert sd.item() ** 2 == pytest.approx(scales[1] ** 2 * (1 + own) - c @ np.linalg.solve(k, c))


def test_slopes_of_the_likelihood_are_its_differences() -> None:
    """Central differences in each parameter's logarithm."""
    rng = np.random.default_rng(0)
    levels, rows = rng.integers(0, 3, (9, 3)) / 2, np.array([*range(9), 2, 5, 7, 5])
    rungs = np.array([0] * 5 + [2, 2, 3, 4] + [1] * 3 + [2])
    apart = distances(levels[rows], levels[rows], np.array([True, False, True]))
    gaps = Gaps(np.array([0.1, 1.0, 0.3, 1.0, 1.0]), np.array([0, 0, 1, 1, 2]))
    evidence = Evidence(apart, (rows[:, None] == rows).astype(float), rungs, rng.normal(size=13), gaps)
    sizes = {"weights": 3, "mains": 3, "main": 1, "scales": 5, "noises": 5, "own": 1, "decays": 2, "aways": 2}
    logs = {name: rng.normal(-0.5, 0.5, size) for name, size in sizes.items()}

    def misfit(name: str, place: int, step: float) -> float:
        moved = {key: value + step * (key == name) * (np.arange(len(value)) == place) for key, value in logs.items()}
        return evidence.misfit({key: np.exp(value) for key, value in moved.items()})[0]

    _, slopes = evidence.misfit({key: np.exp(value) for key, value in logs.items()})
    for name, size in sizes.items():
        differences = [(misfit(name, i, 1e-5) - misfit(name, i, -1e-5)) / 2e-5 for i in range(size)]
        assert slopes[name] == pytest.approx(differences, rel=1e-6, abs=1e-7)


def test_a_rung_that_was_not_read_changes_nothing() -> None:
    levels, ordinal = np.array([[0.0], [0.5], [1.0]]), np.array([True])
    readings = Observations(np.arange(3), np.zeros(3, dtype=int), np.array([1.0, 2.0, 2.5]))
    two = Surrogate(levels, ordinal, np.array([0.1, 1.0]), readings)
    kept = np.array([0, 1, 2, 3, 5, 7, 8, 9])  # without the scale and the noise of the second rung
    one = Surrogate(levels, ordinal, np.array([0.1]), readings, two.parameters[kept])
    for found, expected in zip(
        two.posterior(levels, np.arange(3), 0), one.posterior(levels, np.arange(3), 0), strict=True
    ):
        assert found == pytest.approx(expected)


def at_rung_0(accuracies: Sequence[float]) -> list[Record]:
    """Networks of rising size, read once each."""
    sizes = itertools.product(Toy.axes["width"], Toy.axes["depth"])
    networks = [Toy().at({"width": w, "depth": d, "kind": "a", "wide": True}) for w, d in sizes]
    return [
        Record(n, {0: Observation(a, 0.1 * i, i)}, 0)
        for i, (n, a) in enumerate(zip(networks, accuracies, strict=False))
    ]


def test_errors_are_log_odds() -> None:
    """By hand: ln(1/4), ln 1, ln 9; 0 and 1 count as 0.0001 and 0.9999."""
    values = errors(at_rung_0([0.8, 0.5, 0.1]), 1).values
    assert values.tolist() == pytest.approx([-1.3863, 0, 2.1972], abs=1e-4)
    assert errors(at_rung_0([0.0, 1.0]), 1).values.tolist() == pytest.approx([math.log(9999), -math.log(9999)])


def test_believed_accuracies_lie_near_those_that_were_read() -> None:
    """Readings that rise evenly with size and have little to be drawn to: no other source than the readings."""
    accuracies = np.linspace(0.1, 0.9, 12)
    posterior = Posterior(at_rung_0(accuracies.tolist()), Encoder(Toy.axes), QUICK, (-math.inf, math.inf))
    assert posterior.accuracy_N == pytest.approx(accuracies, abs=0.05)
    assert (posterior.accuracy_sd_N < 0.06).all()  # it is one of accuracy, not of log odds, whose span is 4.4


@pytest.mark.parametrize("seed", range(3))
def test_expected_gain_is_the_mean_of_what_draws_add(seed: int) -> None:
    """20,000 draws; the hypervolume by `nas.stats.pareto`, itself held to Optuna's."""
    rng = np.random.default_rng(seed)
    others = [(float(a), float(e)) for a, e in zip(rng.uniform(0.2, 1, 5), rng.uniform(0, 1, 5), strict=True)]
    reference, mean, sd = (0.3, 0.9), (0.8, 0.4), (0.15, 0.2)
    found = expected_hypervolume_improvement(
        np.array([mean[0]]), np.array([sd[0]]), np.array([mean[1]]), np.array([sd[1]]), others, reference
    )
    before = pareto.hypervolume(others, reference)
    draws = zip(rng.normal(mean[0], sd[0], 20000), rng.normal(mean[1], sd[1], 20000), strict=True)
    added = [pareto.hypervolume([*others, (a, e)], reference) - before for a, e in draws]
    assert found.item() == pytest.approx(np.mean(added), abs=4 * float(np.std(added)) / math.sqrt(len(added)))


def test_a_step_follows_from_seed_and_records_alone(steps: list[Step]) -> None:
    """Interrupted between estimates of parameters, a search goes the same way; another seed goes another."""
    assert searched(24, interrupted_at=(5, 13, 18, 23)) == steps[:24]
    assert searched(8, seed=1) != steps[:8]


def test_parameters_do_not_depend_on_when_a_searcher_was_made(steps: list[Step]) -> None:
    """Estimates fall on 14 and on 17 readings: at 15, one that was there and one that was not."""
    records = list[Record]()
    for step in steps[:14]:
        records = after(records, step)
    there, new = Searcher(Toy(), 0, QUICK), Searcher(Toy(), 0, QUICK)
    there._posterior(records)
    records = after(records, steps[14])
    for found, expected in zip(new._posterior(records).parameters, there._posterior(records).parameters, strict=True):
        assert found is not None
        assert found.tolist() == pytest.approx(expected, rel=0, abs=0)
    assert set(there._estimated) == set(new._estimated) == {14}


def test_no_network_comes_twice_to_a_rung_and_none_skips_one(steps: list[Step]) -> None:
    assert len({(step.network.identity, step.rung) for step in steps}) == len(steps)
    reached: dict[str, int] = {}
    for step in steps:
        assert step.rung == reached.get(step.network.identity, -1) + 1
        reached[step.network.identity] = step.rung
    assert max(reached.values()) == 2


def test_counts_decide_the_rung(steps: list[Step]) -> None:
    """8 at random first; every five make up for one at the second rung, and every two there for one at the last."""
    assert [step.rung for step in steps[:13]] == [0] * 8 + [1, 0, 0, 1, 2]
    counts = [sum(step.rung == rung for step in steps) for rung in range(3)]
    assert counts[0] // 5 == counts[1]
    assert counts[1] // 2 == counts[2]


def test_the_first_networks_are_spread_over_the_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """Farther apart than eight different networks by chance, on average over 30 seeds."""
    spread = [_nearest(_first_eight(seed)) for seed in range(30)]
    monkeypatch.setattr("nas.searchers.searcher._OFFERED", 1)
    by_chance = [_nearest(_first_eight(seed)) for seed in range(30)]
    assert sum(spread) > 1.2 * sum(by_chance)


def _first_eight(seed: int) -> list[Mapping[str, Choice]]:
    searcher, records = Searcher(Toy(), seed, QUICK), list[Record]()
    for _ in range(8):
        records = after(records, searcher.next_step(records))
    return [r.network.params for r in records]


def _nearest(params: Sequence[Mapping[str, Choice]]) -> float:
    """Axes in which a network differs from the one most like it, on average."""
    differ = [[sum(a[k] != b[k] for k in a) for b in params if b is not a] for a in params]
    return sum(map(min, differ)) / len(differ)


def test_workers_never_wait_nor_share_a_network() -> None:
    """Four workers; the one that began first is done first."""
    searcher, records, flying = Searcher(Toy(), 0, QUICK), list[Record](), list[Step]()
    for _ in range(25):
        step = searcher.next_step(records)
        assert step.network.identity not in {other.network.identity for other in flying}
        own = next((r for r in records if r.network.identity == step.network.identity), None)
        started = Record(step.network, own.observations if own else {}, step.rung)
        records = [started if r is own else r for r in records] if own else [*records, started]
        flying.append(step)
        if len(flying) == 4:
            records = after(records, flying.pop(0))


def test_what_failed_is_not_continued_and_its_like_are_avoided() -> None:
    """All of kind c fail, the best by truth; drawn at random they would be a third (of 30)."""
    searcher, records, chosen = Searcher(Toy(), 0, QUICK), list[Record](), list[Step]()
    for _ in range(30):
        chosen.append(searcher.next_step(records))
        records = after(records, chosen[-1], failed=chosen[-1].network.params["kind"] == "c")
    assert all(step.rung == 0 for step in chosen if step.network.params["kind"] == "c")
    new = [step for step in chosen[12:] if step.rung == 0]
    assert sum(step.network.params["kind"] == "c" for step in new) <= len(new) / 6


def test_an_exhausted_space_finishes_what_waits_and_then_says_so() -> None:
    """Ten networks, each to the end in three steps."""
    small = Toy()
    small.axes = {"width": list(range(1, 11)), "depth": [1], "kind": ["a"], "wide": [True]}
    searcher, records = Searcher(small, 0, QUICK), list[Record]()
    for _ in range(30):
        records = after(records, searcher.next_step(records))
    assert len({r.network.identity for r in records}) == 10
    assert all(r.highest_rung == 2 for r in records)
    with pytest.raises(LookupError, match="no untried network was found"):
        searcher.next_step(records)


def test_the_best_rise_to_the_top(steps: list[Step]) -> None:
    """What three searches train to the end dominates more than as many networks at random: by truth, 200 draws."""
    tops = [
        [truth(step.network) for step in own if step.rung == 2] for own in (steps, searched(40, 1), searched(40, 2))
    ]
    rng = random.Random(0)
    drawn = [[[truth(Toy().at(Toy().draw(rng))) for _ in top] for top in tops] for _ in range(200)]
    volumes = sorted(sum(pareto.hypervolume(points, (0.5, 2.0)) for points in each) for each in drawn)
    assert sum(pareto.hypervolume(top, (0.5, 2.0)) for top in tops) > volumes[150]


def exact(params: Mapping[str, Choice], rungs: int, number: int) -> Record:
    """A network whose readings are the truth, 0.2 lower at the lower rung."""
    network = Toy().at(params)
    accuracy, energy = truth(network)
    readings = {k: Observation(accuracy - 0.2 * (1 - k), energy, number + k) for k in range(rungs)}
    return Record(network, readings, rungs - 1)


@pytest.mark.parametrize(("in_full", "accurate"), [(4, False), (5, True), (6, False), (13, True)])
def test_every_eighth_network_in_full_is_chosen_for_accuracy(in_full: int, accurate: bool) -> None:
    """Medium ones were trained in full. Of the two that wait, the small one adds more hypervolume."""
    kinds = itertools.product([2, 4], Toy.axes["depth"], ["a", "b", "c"])
    middle: list[Mapping[str, Choice]] = [{"width": w, "depth": d, "kind": k, "wide": True} for w, d, k in kinds]
    waiting: list[Mapping[str, Choice]] = [
        {"width": w, "depth": d, "kind": "c", "wide": True} for w, d in ((1, 1), (8, 3))
    ]
    chosen = [*((params, 2) for params in middle[:in_full]), *((params, 1) for params in waiting)]
    records = [exact(params, rungs, 2 * i) for i, (params, rungs) in enumerate(chosen)]
    settings = dataclasses.replace(QUICK, shares=(0.05, 1.0), reduction_factor=(1.0,))
    step = Searcher(Toy(), 0, settings, reference=(0.3, 2.0)).next_step(records, new=False)
    assert step.rung == 1
    assert (step.network == records[-1].network) == accurate


def test_configs_as_networks() -> None:
    """What the space makes of choices, or nothing: 3 heads do not divide 32 channels."""
    loaded = load_space("spikformer_tiny")
    heads = {
        3: {"stages.*.mixer.num_heads": 3},
        **loaded.axes[[a.name for a in loaded.axes].index("num_heads")].assignments,
    }
    axes = tuple(dataclasses.replace(a, assignments=heads) if a.name == "num_heads" else a for a in loaded.axes)
    loaded = dataclasses.replace(loaded, axes=axes)
    networks = ConfigSpace(loaded)
    for seed in range(10):
        config = loaded.random(random.Random(seed))
        params = {name.split("{")[0]: choice for name, choice in loaded.params(config).items()}
        assert networks.at(params) == Network(config.config_id, params)
        assert set(networks.draw(random.Random(seed))) == set(networks.axes)
    assert networks.at({**params, "attention": "ssa", "num_heads": 3}) is None


def test_a_belief_rests_on_the_best_of_too_many() -> None:
    """700 networks on 7 layers of 100: 500 readings, so the last two, which come first, and four layers and 98."""
    layers = [(i % 100, 6 - i // 100) for i in range(700)]
    records = [
        Record(Network(str(i), {}), {0: Observation(0.5 + place / 1000 - layer / 100, place / 10 + 0.05 * layer, i)}, 0)
        for i, (place, layer) in enumerate(layers)
    ]
    assert thinned(records, 2) == [*records[:2], *records[200:298], *records[300:]]
    assert thinned(records[:10], 2) == records[:10]


def test_when_no_more_networks_come_each_rung_gets_its_share_rounded_up() -> None:
    """By hand: of 9 networks ceil(9 / 5) = 2 come to the second rung and ceil(2 / 2) = 1 to the last."""
    searcher = Searcher(Toy(), 0, QUICK)
    records: list[Record] = []
    for _ in range(9):
        records = after(records, Step(searcher._drawn(records), 0))
    rungs = []
    while True:
        try:
            step = searcher.next_step(records, new=False)
        except LookupError:
            break
        rungs.append(step.rung)
        records = after(records, step)
    assert sorted(rungs) == [1, 1, 2]


def test_a_limit_on_energy_keeps_the_searcher_below_it() -> None:
    """Of networks of the same seeds, those chosen by the model lie below the limit far more often than without it."""
    below = []
    for limits in ((-math.inf, 0.35), (-math.inf, math.inf)):
        chosen = list[float]()
        for seed in range(2):
            searcher, records = Searcher(Toy(), seed, QUICK, limits), list[Record]()
            for _ in range(40):
                records = after(records, searcher.next_step(records))
            chosen += [truth(r.network)[1] for r in records[QUICK.startup :]]
        below.append(sum(energy <= 0.35 for energy in chosen) / len(chosen))
    assert below[0] > 1.4 * below[1]


def test_the_reference_point_is_that_of_reports_taken_from_the_first_networks(steps: list[Step]) -> None:
    """`nas.stats.pareto.reference_point` of what is believed of the eight at random, not of what was chosen since."""
    searcher, records = Searcher(Toy(), 0, QUICK), list[Record]()
    for step in steps[:30]:
        records = after(records, step)
    belief = searcher._posterior(records)
    first = [(float(belief.accuracy_N[i]), float(belief.energy_N[i])) for i in range(QUICK.startup)]
    assert belief.reference == pareto.reference_point(first)
    assert belief.reference[1] == pytest.approx(max(energy for _, energy in first), abs=2e-6)


def test_the_users_reference_point_replaces_the_derived_one(steps: list[Step]) -> None:
    """Its accuracy only at the top rung, since the first rungs read up to 0.2 less; limits hold beside it."""
    asked, limits = (0.86, 0.7), (0.8, 0.65)
    free, aiming = Searcher(Toy(), 0, QUICK), Searcher(Toy(), 0, QUICK, reference=asked)
    limited = Searcher(Toy(), 0, QUICK, limits, reference=asked)
    records = list[Record]()
    for step in steps:
        records = after(records, step)
        if sum(0 in r.observations for r in records) < 3:
            continue
        if sum(2 in r.observations for r in records) < 3:
            assert aiming._posterior(records).reference == (free._posterior(records).reference[0], 0.7)
        else:
            assert aiming._posterior(records).reference == asked
            assert limited._posterior(records).reference == (0.86, 0.65)
    assert sum(2 in r.observations for r in records) >= 3


def test_a_searcher_aims_beyond_the_users_reference_point() -> None:
    """Of equal numbers of networks from three seeds, far more of those that the model chooses lie beyond it."""
    asked, beyond = (0.86, 1.3), Counter[pareto.Point | None]()
    full = dataclasses.replace(QUICK, shares=(1.0,), reduction_factor=())
    for reference, seed in itertools.product((asked, None), range(3)):
        searcher, records = Searcher(Toy(), seed, full, reference=reference), list[Record]()
        for number in range(20):
            network = searcher.next_step(records).network
            records = [*records, Record(network, {0: read(network, 2, number)}, 0)]
        points = [truth(r.network) for r in records[QUICK.startup :]]
        beyond[reference] += sum(accuracy > asked[0] and energy < asked[1] for accuracy, energy in points)
    assert beyond[asked] > 1.5 * beyond[None]


def test_where_nothing_reaches_the_reference_point_the_nearest_is_chosen() -> None:
    """At an energy of 10^-100 mJ nothing is expected to count, not even by rounding: the search goes down in energy."""
    full = dataclasses.replace(QUICK, shares=(1.0,), reduction_factor=())
    searcher, records = Searcher(Toy(), 0, full, reference=(0.1, -100.0)), list[Record]()
    for number in range(QUICK.startup + 8):
        network = searcher.next_step(records).network
        records = [*records, Record(network, {0: read(network, 2, number)}, 0)]
    energies = [truth(r.network)[1] for r in records]
    assert max(energies[QUICK.startup :]) < sorted(energies[: QUICK.startup])[3], energies


def test_nearness_by_hand() -> None:
    """Accuracies span 0.1 and energies 2: two spans short of accuracy, half a span of energy, and beyond the point."""
    accuracy, energy = np.array([0.7, 0.89, 0.95]), np.array([1.0, 3.0, 1.0])
    np.testing.assert_allclose(nearness(accuracy, energy, (0.9, 2.0), (0.1, 2.0)), [-2.0, -0.5, 0.0])


def test_one_dead_network_does_not_ruin_the_reference_point() -> None:
    """Twelve networks between 0.6 and 0.71, or one of them at 0.1: it costs a few ranges between quartiles, not 0.5."""
    networks = [Toy().at(Toy().draw(random.Random(seed))) for seed in range(12)]
    lowest = []
    for dead in (0.60, 0.10):
        accuracies = [dead, *(0.60 + 0.01 * i for i in range(1, 12))]
        records = [
            Record(n, {0: Observation(a, 0.1 * i, i)}, 0)
            for i, (n, a) in enumerate(zip(networks, accuracies, strict=True))
        ]
        lowest.append(Searcher(Toy(), 0, dataclasses.replace(QUICK, startup=12))._posterior(records).reference[0])
    assert lowest[0] == pytest.approx(0.60, abs=0.03)
    assert lowest[1] > 0.35


def test_a_limit_on_accuracy_counts_once_it_can_be_judged() -> None:
    """The first rungs read up to 0.2 less than the last: there the limit would rule out all."""
    searcher = Searcher(Toy(), 0, QUICK, (0.86, math.inf))
    records: list[Record] = []
    while sum(2 in r.observations for r in records) < 3:
        assert not records or len(records) <= QUICK.startup or searcher._posterior(records).reference[0] < 0.86
        records = after(records, searcher.next_step(records))
    assert searcher._posterior(records).reference[0] == 0.86


def before(networks: int, *, alike: bool, wrong: bool = False) -> Prior:
    """What an older study read of random networks at the last rung; a wrong one reads those of other networks."""
    rng, by_identity = random.Random(7), dict[str, Network]()
    while len(by_identity) < networks:
        network = Toy().at(Toy().draw(rng))
        by_identity[network.identity] = network
    every = list(by_identity.values())
    shown = rng.sample(every, len(every)) if wrong else every
    rung = 2 if alike else 3
    records = [
        Record(n, {rung: read(other, 2, i)}, rung) for i, (n, other) in enumerate(zip(every, shown, strict=True))
    ]
    return Prior(records) if alike else Prior(records, (1.0,), (1,))


def informed(prior: Prior, steps: int, seed: int = 0, interrupted_at: Sequence[int] = ()) -> list[Record]:
    """Records of a search, in which a searcher that knows nothing but records and prior goes on after interruptions."""
    searcher, records = Searcher(Toy(), seed, QUICK, prior=prior), list[Record]()
    for i in range(steps):
        searcher = Searcher(Toy(), seed, QUICK, prior=prior) if i in interrupted_at else searcher
        records = after(records, searcher.next_step(records))
    return records


def best_of_first(records: Sequence[Record], count: int = 6) -> float:
    """Hypervolume, by truth, of the first networks that were started."""
    return pareto.hypervolume([truth(record.network) for record in records[:count]], (0.5, 2.0))


def test_another_study_is_as_far_away_as_its_distance_says() -> None:
    """Two networks read in two other studies: correlations with the study's own are exp(-away), by hand.

    Between the others they are exp(-away_1 - away_2). Means solve the augmented system.
    """
    levels, shares, studies = np.array([[0.0], [1.0]]), np.ones(3), np.array([0, 1, 2])
    logs = np.log([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.2, 0.3, 0.5, 1.0, 1.0, 0.7, 0.2])
    values = np.array([0.3, 1.0, -2.0, 0.4, 0.7])
    rows, rungs = np.array([0, 0, 1, 0, 1]), np.array([0, 1, 1, 2, 2])
    model = Surrogate(levels, np.array([False]), shares, Observations(rows, rungs, values), logs, studies)
    aways, noises = [0.0, 0.7, 0.2], [0.1, 0.2, 0.3]

    def covariance(i: int, r: int, j: int, s: int) -> float:
        likeness = 1.0 if i == j else 0.5 * math.exp(-1.0)  # half of it by main effects, which are 0 there
        return (likeness + (0.5 if i == j else 0.0)) * math.exp(-(aways[r] + aways[s] if r != s else 0.0))

    read_at = list(zip(rows.tolist(), rungs.tolist(), strict=True))
    k = np.array([[covariance(i, r, j, s) for j, s in read_at] for i, r in read_at])
    k += np.diag([noises[r] ** 2 + 1e-6 for r in rungs])
    hot = np.eye(3)[rungs]
    system = np.block([[k, hot], [hot.T, np.zeros((3, 3))]])
    solved = np.linalg.solve(system, np.concatenate([values, np.zeros(3)]))
    c = np.array([covariance(1, 0, j, s) for j, s in read_at])
    mean, _ = model.posterior(levels[1:], np.array([1]), 0)
    assert mean.item() == pytest.approx(c @ solved[:5] + solved[5])


def test_readings_of_the_same_quantities_replace_random_networks() -> None:
    """Eight random ones at first, less one for each network that was read: 8, 3 and 0."""
    for networks, expected in ((0, 8), (5, 3), (30, 0)):
        searcher = Searcher(Toy(), 0, QUICK, prior=before(networks, alike=True))
        records, random_ones = list[Record](), 0
        while searcher._is_starting(records):
            records = after(records, searcher.next_step(records))
            random_ones += 1
        assert random_ones == expected


def test_a_ranking_of_another_study_ends_the_random_networks_once_it_has_proved_true() -> None:
    """Of up to 30 networks, not before five were read by both; one that does not hold shortens nothing."""
    many = dataclasses.replace(QUICK, startup=30)
    for wrong in (False, True):
        searcher = Searcher(Toy(), 0, many, prior=before(40, alike=False, wrong=wrong))
        records = list[Record]()
        while searcher._is_starting(records):
            records = after(records, Step(searcher._new(records), 0))
        assert len(records) == 30 if wrong else 5 <= len(records) < 15


def test_a_prior_that_tells_finds_better_networks_at_once() -> None:
    """The first six networks of four searches, by truth."""
    for seed in range(4):
        told = informed(before(40, alike=True), 7, seed)
        assert best_of_first(told) > best_of_first(informed(Prior(), 7, seed))


def test_a_prior_that_is_wrong_does_no_harm_in_the_end() -> None:
    none, wrong = (best_of_first(informed(p, 18), 18) for p in (Prior(), before(40, alike=False, wrong=True)))
    assert wrong > 0.97 * none


def test_a_search_with_a_prior_follows_from_seed_records_and_prior() -> None:
    prior = before(20, alike=True)
    assert informed(prior, 8, interrupted_at=(1, 4, 7)) == informed(prior, 8)


def test_networks_of_a_prior_are_none_of_the_search() -> None:
    """None is promoted before it was started, and what the search has is measured without them."""
    prior = before(30, alike=True)
    searcher, records = Searcher(Toy(), 0, QUICK, prior=prior), list[Record]()
    for _ in range(16):
        step = searcher.next_step(records)
        assert step.rung == 0 or step.network.identity in {r.network.identity for r in records}
        records = after(records, step)
    posterior = searcher._posterior(records)
    assert posterior.records == records
    assert len(posterior.known) > len(records)
    started = {r.network.identity for r in records}
    assert started & {r.network.identity for r in prior.records}, "networks of a prior may be proposed"
