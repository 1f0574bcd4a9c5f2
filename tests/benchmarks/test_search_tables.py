"""Benchmarks of searchers: what a replay pays, and the table of trained networks that it reads."""

import csv
import importlib
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nas.searchers.networks import ConfigSpace
from nas.spaces import load_space

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SHARES, SEEDS = {"0.05", "0.25", "1"}, {"0", "1"}


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of `benchmarks/`, a folder of scripts."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def trainings() -> list[dict[str, str]]:
    with (BENCHMARKS / "results" / "digits_table.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_the_digits_table_has_every_network_at_every_rung_with_two_seeds(trainings: list[dict[str, str]]) -> None:
    """At least 60 networks, each once at 3 shares by 2 seeds, and each the network that its choices make."""
    parts = Counter((row["config_id"], row["seed"], row["share"]) for row in trainings)
    networks = {row["config_id"] for row in trainings}
    assert len(networks) >= 60
    assert parts == Counter((i, seed, share) for i in networks for seed in SEEDS for share in SHARES)
    configs = ConfigSpace(load_space("spikformer_tiny"))
    for row in trainings:
        params = {name: next(c for c in choices if str(c) == row[name]) for name, choices in configs.axes.items()}
        network = configs.at(params)
        assert network is not None
        assert network.identity == row["config_id"]


def test_a_ledger_pays_every_rung_anew_and_nothing_twice(modules: Any) -> None:
    """5 epochs, then 100 of the same network, then 100 of another: 205. What was trained as long is free."""
    methods, digits = modules("search_methods"), modules("search_digits").Digits()
    ledger = methods.Ledger(digits, seed=0, budget=206)
    first, second = digits.networks[:2]
    for network, share in ((first, 0.05), (first, 1.0), (first, 1.0), (first, 0.05), (second, 1.0)):
        ledger.train(network, share)
    assert ledger.epochs == pytest.approx(205)
    assert [event["epochs"] for event in ledger.events] == pytest.approx([105, 205])
    assert not ledger.affords(0.05)
    assert ledger.affords(0.01)


def test_a_planned_search_keeps_its_budget_and_promotes_one_in_five(modules: Any) -> None:
    """By hand: 500 epochs buy 20 networks at 5 epochs and 4 of them at 100."""
    methods, digits = modules("search_methods"), modules("search_digits").Digits()
    ledger = methods.Ledger(digits, seed=1, budget=500)
    methods.planned(ledger, methods.settings(methods.RUNGS, None))
    assert Counter(ledger.longest.values()) == {0.05: 16, 1.0: 4}
    assert ledger.epochs == pytest.approx(500)


def test_an_answer_is_chosen_by_one_seed_and_scored_by_both(modules: Any) -> None:
    """The whole table reaches all of the hypervolume that was read, and less of the other seed's.

    A lower reference point adds the same strip to both, so what is missing is less of the whole.
    """
    digits = modules("search_digits").Digits()
    everyone = [network.identity for network in digits.networks]
    for seed in (0, 1):
        scores = digits.score(everyone, seed)
        assert scores["read"] == pytest.approx(1)
        assert 0.8 < scores["other"] < scores["least"] < 1
    few = random.Random(0).sample(everyone, 5)
    assert digits.score(few, 0)["read"] < 1
    assert digits.score(few, 0) != digits.score(few, 1)
