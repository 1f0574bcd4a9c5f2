"""The statistics of benchmarks that read tables and studies, against closed forms and what is planted."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nas.spaces import load_space

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("axis_effects"), importlib.import_module("table_says")


def test_planted_effects_are_found(modules: tuple[Any, Any]) -> None:
    """Without noise, differences are those that were planted, and what moves nothing has no share."""
    effects, _ = modules
    space = load_space("spikformer_tiny")
    rng = np.random.default_rng(0)
    choices = [{a.name: a.choices[rng.integers(len(a.choices))] for a in space.axes} for _ in range(200)]
    planted = {16: 0.0, 32: 5.0, 64: 7.0}
    values = np.array([planted[int(row["embed_dim"])] + 1e-3 * rng.normal() for row in choices])
    x_NP, names = effects.design(space, choices)
    rows = effects.effects(effects.Fit(x_NP, values), names, space)
    found = {(axis, choice): (difference, share) for axis, choice, difference, _, share, _ in rows}
    assert found["embed_dim", "16"] == ("0", "1.00")
    assert [found["", choice][0] for choice in ("32", "64")] == ["+5.00", "+7.00"]
    assert float(found["residual", "sew"][1]) < 0.05


def test_an_interval_is_that_of_two_means(modules: tuple[Any, Any]) -> None:
    """One axis with two choices: the pooled t interval of the difference, from scipy."""
    effects, _ = modules
    rng = np.random.default_rng(1)
    one, other = rng.normal(0, 1, 12), rng.normal(1, 1, 15)
    x_NP = np.column_stack([np.ones(27), np.repeat([0.0, 1.0], [12, 15])])
    fit = effects.Fit(x_NP, np.concatenate([one, other]))
    interval = stats.ttest_ind(other, one).confidence_interval(0.95)
    half = stats.t.ppf(0.975, fit.freedom) * fit.errors()[1]
    assert (fit.b_P[1] - half, fit.b_P[1] + half) == pytest.approx((interval.low, interval.high))


def test_taus_within_thirds_and_beyond_energy(modules: tuple[Any, Any]) -> None:
    """A signal that is energy again says nothing beyond it; one that orders each third backwards has -1 there."""
    _, says = modules
    energy = np.arange(30.0)
    accuracy = energy + np.tile([0.4, -0.9, 0.5], 10)
    assert says.tau(energy, accuracy, energy) == pytest.approx(stats.kendalltau(energy, accuracy).statistic)
    assert np.isnan(says.beyond_energy(energy, accuracy, energy))
    backwards = np.repeat([0.0, 100.0, 200.0], 10) - accuracy
    assert says.within_thirds(backwards, accuracy, energy) == pytest.approx(-1)
    assert says.tau(backwards, accuracy, energy) > 0.3
    assert says.beyond_energy(accuracy, accuracy, energy) == pytest.approx(1)
