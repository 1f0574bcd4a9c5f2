"""Replays of searches: what they pay, which networks they propose, and how their answers score."""

import dataclasses
import importlib
import itertools
import math
import random
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from nas.searchers import Network, Observation
from nas.spaces import Choice
from nas.tables import Key
from nas.tables.opening import SUFFIX
from nas.tables.writing import encoded

ROOT = Path(__file__).parents[2]
TABLE = next((ROOT / "tests" / "data" / "tables").glob("digits.*.safetensors"))
BY_HAND = {  # name -> validation accuracy, report accuracy, log10 energy
    "a": (0.50, 0.55, 0.0),
    "b": (0.60, 0.65, 1.0),
    "c": (0.70, 0.60, 2.0),
    "d": (0.65, 0.85, 3.0),
    "e": (0.90, 0.80, 4.0),
}
METHODS = ("searcher", "random", "ladder", "screen", "tpe", "nsga2", "gp", "mo-asha")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The modules of the benchmark by name; `benchmarks/` is a folder of scripts."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    names = ("scores", "replays", "methods", "optuna", "report", "efficiency")
    return {name: importlib.import_module(f"search_{name}") for name in names}


@pytest.fixture
def five(scripts: dict[str, ModuleType]) -> Any:
    """The networks by hand, trained at 5 and 100 epochs; a short training shows what a full one does."""
    base: Any = scripts["replays"].Replay

    class Five(base):
        name, unit, energy_unit, digest = "five", "epochs", "mJ", "by hand"
        shares = rungs = (0.05, 1.0)

        def __init__(self) -> None:
            self.axes = {"name": list(BY_HAND)}
            self.networks = [Network(name, {"name": name}) for name in BY_HAND]
            self.macs = dict.fromkeys(BY_HAND, 1.0)
            self.costs = {0.05: 5, 1.0: 100}

        def at(self, params: Mapping[str, Choice]) -> Network | None:
            return Network(str(params["name"]), params)

        def read(self, network: Network, share: float, seed: int) -> Observation | None:
            accuracy, _, log10_energy = BY_HAND[network.identity]
            return Observation(accuracy, log10_energy, 0)

        def finals(self, variant: int) -> Any:
            return scripts["scores"].Finals(list(BY_HAND), *np.array(list(BY_HAND.values())).T)

    return Five()


def _spent(scripts: dict[str, ModuleType], method: str, replay: Any, seed: int, budget: float) -> Any:
    """The ledger of a method that has spent its budget."""
    ledger = scripts["methods"].Ledger(replay, seed, budget)
    try:
        scripts["efficiency"].METHODS[method](ledger)
    except scripts["methods"].BudgetSpentError:
        pass
    return ledger


def test_a_ledger_pays_every_share_anew_nothing_twice_and_no_more_than_its_budget(
    scripts: dict[str, ModuleType], five: Any
) -> None:
    """5 epochs, then 100 of the same network, then 100 of another: 205 of 206. 5 more would exceed it."""
    ledger = scripts["methods"].Ledger(five, seed=0, budget=2.06)
    first, second, third, *_ = five.networks
    for network, share in ((first, 0.05), (first, 1.0), (first, 1.0), (first, 0.05), (second, 1.0)):
        ledger.train(network, share)
    assert ledger.trained == [("a", 105), ("b", 205)]
    with pytest.raises(scripts["methods"].BudgetSpentError):
        ledger.train(third, 0.05)
    assert ledger.spent == 205


def test_random_search_trains_as_many_networks_as_the_budget_buys(scripts: dict[str, ModuleType], five: Any) -> None:
    ledger = _spent(scripts, "random", five, 0, 3.9)
    assert len({identity for identity, _ in ledger.trained}) == len(ledger.trained) == 3
    assert ledger.spent == 300


def test_the_searcher_plans_for_its_budget(scripts: dict[str, ModuleType], five: Any) -> None:
    """By hand: 125 epochs buy 5 networks at 5 epochs and one of them at 100."""
    ledger = _spent(scripts, "searcher", five, 0, 1.25)
    assert sorted(ledger.longest.values()) == [0.05] * 4 + [1.0]
    assert ledger.spent == 125


def test_the_screen_trains_the_best_of_five_in_full(scripts: dict[str, ModuleType], five: Any) -> None:
    """By hand: 125 epochs buy 5 short trainings and that of "e", which is the most accurate of the first layer.

    That layer is a, b, c and e: d is less accurate than c and needs more energy. After e comes a, the farthest from it.
    """
    assert _spent(scripts, "screen", five, 0, 1.25).trained == [("e", 125)]
    assert _spent(scripts, "screen", five, 1, 2.5).trained == [("e", 125), ("a", 225)]


def test_a_ladder_has_a_network_of_each_size(scripts: dict[str, ModuleType]) -> None:
    """By hand: halves of 1 to 16 on a logarithmic scale meet at 4. Thirds of 1 to 1,000 meet at 10 and 100.

    Nothing is in the middle third. Nearest to its middle, 32, is 2, or 900 if the first third gave 2.
    """
    ladder = scripts["methods"].size_ladder
    sizes = {"a": 1.0, "b": 2.0, "c": 5.0, "d": 9.0, "e": 16.0}
    halves = {frozenset(ladder(sizes, 2, random.Random(seed))) for seed in range(60)}
    assert halves == {frozenset(pair) for pair in itertools.product("ab", "cde")}
    sizes = {"a": 1.0, "b": 2.0, "c": 900.0, "d": 1000.0}
    thirds = {frozenset(ladder(sizes, 3, random.Random(seed))) for seed in range(60)}
    assert thirds == {frozenset("abc"), frozenset("abd"), frozenset("bcd")}


def test_references_and_hypervolume_by_hand(five: Any) -> None:
    """Quantiles of 5 values lie at 4 q: energy 3.828, and accuracies 0.088 and 0.72 of the way from 0.55 to 0.60.

    Validation chooses a, b, c and e. Of these only b counts: a is no more accurate than the reference, e needs more
    energy, and c is dominated by b in report accuracy. On the true front d adds 0.2 * 0.828.
    """
    judge, low, high = five.judge(0), 0.55 + 0.088 * 0.05, 0.55 + 0.72 * 0.05
    assert judge.references["low"] == pytest.approx((low, 3.828))
    assert judge.references["high"] == pytest.approx((high, 3.828))
    for name, accuracy in (("low", low), ("high", high)):
        whole = (0.65 - accuracy) * 2.828
        assert judge.ceilings[name] == pytest.approx(whole / (whole + 0.2 * 0.828))
        assert judge.volume("abcde", name) == pytest.approx(1)
        assert judge.volume("c", name) == pytest.approx((0.60 - accuracy) * 1.828 / whole)
        assert judge.volume("d", name) == pytest.approx((0.85 - accuracy) * 0.828 / whole)
        assert judge.volume("cd", name) == judge.volume("c", name)  # validation does not choose d
        assert judge.volume("", name) == 0
    assert judge.best("bcd") == 0.60  # c has the best validation accuracy
    assert math.isnan(judge.best(""))


def test_differences_are_paired_and_gaps_are_of_the_best_simple_method(scripts: dict[str, ModuleType]) -> None:
    """Seeds that one of both lacks are left out: 0.3 and 0.1 less 0.1 and 0.1. From 0.6 to 0.7 is a quarter of 0.4."""
    report = scripts["report"]
    difference = report.paired(np.array([0.3, 0.1, 0.9]), np.array([0.1, 0.1]))
    assert (difference.value, difference.low, difference.high) == pytest.approx((0.1, 0.0, 0.2))
    assert report.closed(0.7, [0.5, 0.6]) == pytest.approx(0.25)


def test_what_is_spent_until_a_target_is_reached(scripts: dict[str, ModuleType], five: Any) -> None:
    """One seed reaches 1 after 200 epochs, the other after 100: so does the mean after 200."""
    report = scripts["report"]
    runs = [report.Run(0, [("a", 100), ("b", 200)], []), report.Run(1, [("b", 100)], [])]
    results = report.Results(five, [2.0], {("random", 2.0): runs})
    assert results.until("random", 2.0, "low", 1.0) == 200
    assert results.until("random", 2.0, "low", 0.5) == 100
    assert results.until("random", 2.0, "low", 1.1) is None


@pytest.mark.parametrize("method", METHODS)
def test_proposals_stay_within_the_table(scripts: dict[str, ModuleType], method: str) -> None:
    """17 networks of 5,184 are in it, so that samplers of Optuna mostly propose others, which are not charged."""
    replay = scripts["replays"].TableReplay(TABLE)
    ledger = _spent(scripts, method, replay, 0, 3.0)
    assert ledger.longest.keys() <= replay.table.networks.keys()
    assert len(ledger.trained) == len({identity for identity, _ in ledger.trained})
    assert ledger.budget - replay.costs[1.0] < ledger.spent <= ledger.budget
    paid = [replay.costs[share] for share in ledger.longest.values()]
    assert ledger.spent >= sum(paid)


def test_a_replay_finds_the_networks_of_its_table_and_no_others(scripts: dict[str, ModuleType]) -> None:
    replay = scripts["replays"].TableReplay(TABLE)
    assert [replay.at(network.params).identity for network in replay.networks] == list(replay.table.networks)
    everything = itertools.product(*replay.axes.values())
    identities = {
        network.identity
        for choices in itertools.islice(everything, 1500)
        if (network := replay.at(dict(zip(replay.axes, choices, strict=True)))) is not None
    }
    assert identities < replay.table.networks.keys()
    assert replay.costs == {0.05: 320, 0.25: 1600, 1.0: 6336}


def test_readings_and_score_come_from_one_training_seed(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    """A network with two seeds shows the second to odd seeds of the replay, at every share; others show the first."""
    table = scripts["replays"].TableReplay(TABLE).table
    contents, (first, second, *_) = table.contents(), table.networks
    again = {
        Key(first, key.share, 1): dataclasses.replace(
            record, seed=1, search_val_accuracy=0.25, report_val_accuracy=0.75, images_seen=record.images_seen - 32
        )
        for key, record in contents.trainings.items()
        if key.config_id == first
    }
    both = dataclasses.replace(contents, trainings=contents.trainings | again)
    path = tmp_path / f"both{SUFFIX}"
    path.write_bytes(encoded("both", both))
    replay = scripts["replays"].TableReplay(path)
    assert replay.variants == 2
    networks = {network.identity: network for network in replay.networks}
    for share in replay.shares:
        assert replay.read(networks[first], share, 3).accuracy == 0.25
        assert replay.read(networks[first], share, 2) == replay.read(networks[first], share, 0)
        assert replay.read(networks[first], share, 0).accuracy != 0.25
        assert replay.read(networks[second], share, 3) == replay.read(networks[second], share, 0)
        assert replay.cost_of(networks[first], share, 3) == replay.costs[share] - 32
    assert replay.judge(3).best([first]) == 0.75
    assert replay.judge(2).best([first]) == table.query(first).report_accuracy


def test_budgets_and_methods_are_those_that_a_table_allows(scripts: dict[str, ModuleType], five: Any) -> None:
    """A budget is at most a tenth of the networks; without short trainings there is neither a screen nor MO-ASHA."""
    efficiency = scripts["efficiency"]
    assert efficiency.affordable_budgets(five, [0.2, 0.5, 3.0]) == [0.2, 0.5]
    with pytest.raises(SystemExit, match=r"five has 5 networks.*Give --budgets up to 0\.5, or a larger table"):
        efficiency.affordable_budgets(five, [3.0, 5.0])
    assert efficiency.possible(five, [*METHODS, "searcher:0.05,0.25,1"]) == list(METHODS)
    five.shares = (1.0,)
    assert efficiency.possible(five, METHODS) == ["searcher", "random", "ladder", "tpe", "nsga2", "gp"]


def test_a_run_that_was_interrupted_goes_on(
    scripts: dict[str, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is in the cache is not run again: without one file of four, one run is left, and the report is the same."""
    words = [str(TABLE), "--seeds", "2", "--budgets", "1,3", "--methods", "searcher", "random"]
    folders = ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results")]
    monkeypatch.setattr("sys.argv", ["search_efficiency.py", *words, *folders])
    scripts["efficiency"].main()
    report, progress = capsys.readouterr()
    assert "4 of 4 runs, about 0.0 min left" in progress
    files = sorted((tmp_path / "cache").rglob("*.json"))
    assert [path.name.rpartition("-")[0] for path in files] == [
        "random-1-0",
        "random-1-1",
        "searcher-1-0",
        "searcher-1-1",
    ]
    files[0].unlink()
    scripts["efficiency"].main()
    again, progress = capsys.readouterr()
    assert "1 of 1 runs" in progress
    assert again == report
    assert (tmp_path / "results" / "search_efficiency.md").read_text() == report.removesuffix("\n")
    assert (tmp_path / "results" / "search_efficiency_digits.png").stat().st_size > 10_000
