"""More seeds for what a search found: each training once, interrupted or not, and what the report makes of them."""

import dataclasses
import math
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from nas.costs import energy
from nas.errors import DataError, StudyError
from nas.exports import exporting as exports
from nas.progress import Observer
from nas.replicates import confirmation, runs
from nas.replicates.runs import Runs
from nas.reports import contents, repeats
from nas.searching import opening
from nas.studies.study import Study, load_study
from tests.conftest import MICRO
from tests.helpers import Heard

pytestmark = pytest.mark.usefixtures("trained_once")

# Fast trainings that hardly tell networks apart: what is tested is the bookkeeping.


class _Stop(Observer):
    """Interrupts at the n-th training."""

    def __init__(self, at: int) -> None:
        self.left = at

    def on_training_start(self, label: str, epochs: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def _study(folder: Path, trials: int = 6) -> Study:
    torch.set_num_threads(1)
    (folder / "micro.toml").write_text(MICRO)
    return opening.search(folder / "micro.toml", trials, results_dir=folder / "results", observer=Observer())


def _kept(study: Study) -> Runs:
    kept = runs.beside(study.optuna, confirmation.WHAT)
    assert kept is not None
    return kept


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = _study(tmp_path_factory.mktemp("confirmed"))
    confirmation.confirm(study, 2, spike_penalties=[0.0, 1.0], ann_twin=True, observer=Observer())
    return study


def test_each_member_and_reference_is_trained_with_new_seeds(confirmed: Study) -> None:
    chosen = confirmation.members(confirmed, "front")
    assert set(confirmed.front()) <= set(chosen)
    assert any(candidate.reference for candidate in chosen.values())
    done = _kept(confirmed).done().values()
    plain = {(t.of, t.candidate.seed) for t in done if t.what == "repeat" and t.candidate.recipe.spike_penalty == 0}
    assert plain == {(c.config_id, seed) for c in chosen.values() for seed in (1, 2)}
    penalised = {(t.of, t.candidate.seed) for t in done if t.candidate.recipe.spike_penalty == 1}
    assert penalised == plain
    twins = [t for t in done if t.what == "twin"]
    assert {t.of for t in twins} <= {c.config_id for c in chosen.values() if c.config.stages[0].mixer.kind == "ssa"}
    assert all(t.candidate.config.time_steps == 1 for t in twins)


def test_the_search_sees_nothing_of_it(confirmed: Study) -> None:
    assert len(confirmed.candidates) == 6
    assert {candidate.seed for candidate in confirmed.candidates.values()} == {0}
    assert [path.name for path in (confirmed.folder.parent).iterdir()] == ["micro"]


@pytest.mark.exhaustive
def test_interrupted_it_goes_on_and_ends_equal(tmp_path: Path) -> None:
    """By key, the records of a run that was stopped twice are those of one that was not; nothing is trained twice."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, broken = _study(tmp_path / "a", 3), _study(tmp_path / "b", 3)
    confirmation.confirm(whole, 2, observer=Observer())
    for at in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            confirmation.confirm(broken, 2, observer=_Stop(at))
    confirmation.confirm(broken, 2, observer=Observer())
    records = [
        {key: dataclasses.replace(trained.candidate, provenance={}) for key, trained in _kept(study).done().items()}
        for study in (whole, broken)
    ]
    assert records[0] == records[1]
    for study in (whole, broken):
        assert len(_kept(study).optuna.trials) == len(_kept(study).done())
    before = len(_kept(broken).optuna.trials)
    confirmation.confirm(broken, 2, observer=_Stop(1))  # nothing is left to start
    confirmation.confirm(broken, 3, observer=Observer())  # a third seed is added to the two
    assert len(_kept(broken).optuna.trials) == before * 3 // 2


def test_it_tells_what_its_data_step_did(confirmed: Study) -> None:
    """The sentences that the search told and kept; nothing is left to train."""
    heard = Heard()
    confirmation.confirm(confirmed, 1, observer=heard)
    assert confirmed.account
    assert heard.text.splitlines()[: len(confirmed.account)] == list(confirmed.account)


def test_means_are_those_of_the_records(confirmed: Study) -> None:
    found = repeats.read(confirmed, confirmed.candidates, energy.MEASURED)
    done = _kept(confirmed).done().values()
    for row in found.confirmed.to_dict("records"):
        of = confirmed.candidates[row["trial"]].config_id
        mine = [t.candidate for t in done if t.of == of and t.what == "repeat" and not t.candidate.recipe.spike_penalty]
        usable = [c for c in mine if c.status == "complete"]
        assert (row["seeds"], row["failed"]) == (len(usable), len(mine) - len(usable))
        if usable:
            for split in ("search_val", "report_val"):
                shares = [getattr(c, f"{split}_accuracy") for c in usable]
                assert row[f"{split}_accuracy"] == pytest.approx(statistics.mean(shares))
            assert row["energy_mj"] == pytest.approx(statistics.geometric_mean(c.energy_mj or 0 for c in usable))
    assert set(found.curves["spike_penalty"]) == {0.0, 1.0}


def test_a_twin_is_priced_by_multiplications(confirmed: Study) -> None:
    """Its energy is that of the convention measured_mac, of the same counts."""
    found = repeats.read(confirmed, confirmed.candidates, energy.MEASURED).twins
    assert not found.empty
    row = found.to_dict("records")[0]
    of = confirmed.candidates[row["trial"]].config_id
    twins = [t.candidate for t in _kept(confirmed).done().values() if t.of == of and t.what == "twin"]
    priced = {
        name: statistics.geometric_mean(
            energy.price(c.operations, c.counted_images, energy.convention(name)).energy_mj
            for c in twins
            if c.status == "complete"
        )
        for name in ("measured_mac", "measured")
    }
    assert row["energy_mj"] == pytest.approx(priced["measured_mac"])
    assert row["energy_as_spikes_mj"] == pytest.approx(priced["measured"])


def test_twins_together_by_hand() -> None:
    """1 and 3 points more: 2, deviation sqrt(2), so 2 +- 12.706 with one degree of freedom; energy twice and half.

    On search-val 5 and 7 points more, 6 on average.
    """
    from nas.reports.repeats import _Group, _twin_sentences

    plain = {n: _Group([60.0, 62.0], [-3.0, -3.0], [50.0, 52.0], 0) for n in (4, 7)}
    twins = {
        4: _Group([66.0, 66.0], [-3 + math.log10(2)] * 2, [51.0, 53.0], 0),
        7: _Group([68.0], [-3 - math.log10(2)], [54.0], 0),
    }
    table = pd.DataFrame(
        {"trial": [4, 7], "verdict": ["tie, x", "THE TWIN WINS, y"], "verdict_as_spikes": ["tie", "tie"]}
    )
    first, second, third = _twin_sentences(table, twins, plain, plain, energy.MEASURED)
    assert "2 of them, have +2.0 points of report-val accuracy (95 % -10.7 to +14.7, network by network)" in first
    assert "+6.0 of search-val, at 0.50 to 2.00" in first
    assert "at 1.00 to 1.00 times the energy as integer spikes (0.9 pJ each)" in first
    assert (
        second == "Twins one by one by search-val accuracy, with multiplications: 1 tie, 1 THE TWIN WINS. "
        "THE TWIN WINS: trial 7."
    )
    assert third == "Twins one by one by search-val accuracy, as integer spikes: 2 tie."


def test_a_card_of_an_export_has_the_mean_of_the_report(confirmed: Study, tmp_path: Path) -> None:
    row = repeats.read(confirmed, confirmed.candidates, energy.MEASURED).confirmed.to_dict("records")[0]
    (folder,) = exports.export(confirmed, str(row["trial"]), tmp_path)
    words = (
        f"mean of {row['seeds']} further seeds, 95 % (the figure to quote) | {repeats.interval(row, 'report_val')} |"
    )
    assert words in (folder / "card.md").read_text()
    assert f"{100 * row['report_val_accuracy']:.1f} % (" in words


def test_the_report_tells_of_it(confirmed: Study) -> None:
    report = contents.build(confirmed)
    text = " ".join(report.findings)
    assert "More seeds:" in text
    assert "Quantised twins without time" in text
    assert "Curves under spike penalties" in text


def test_a_winner_needs_a_real_difference_by_hand() -> None:
    """Alike in energy; 50 and 60 % with a scatter of 1 differ, 50 and 50.5 % do not."""
    accuracies = [[49.0, 50.0, 51.0], [59.0, 60.0, 61.0], [49.5, 50.5, 51.5]]
    energies = [[-3.0, -3.01, -2.99]] * 3
    found = repeats.compared(accuracies, energies)
    assert found == {(0, 1): "second", (0, 2): "tie", (1, 2): "first"}


def test_curves_separate_by_hand() -> None:
    """Two straight curves, 5 points apart at equal energy: real with a deviation of 1, not with one of 10."""
    rows = [
        (trial, penalty, 3, 0, accuracy, math.nan, math.nan, mj, math.nan, math.nan)
        for trial, accuracies in ((1, (0.5, 0.4)), (2, (0.45, 0.35)))
        for penalty, accuracy, mj in zip((0.0, 1.0), accuracies, (1e-2, 1e-3), strict=True)
    ]
    curves = pd.DataFrame(rows, columns=repeats.CURVES)
    said = repeats.separation(curves, 1, 2, points=1.0, freedom=8)
    assert said is not None
    assert said.startswith("trial 1 above trial 2 from 1 to 10 µJ")
    assert repeats.separation(curves, 1, 2, points=10.0, freedom=8) is None
    assert repeats.separation(curves, 1, 2, points=1.0, freedom=0) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "seeds 0 must be at least 1"),
        ({"top": 0}, "top 0 must be at least 1"),
        ({"spike_penalties": [-1.0]}, "spike penalty -1.0 must be 0 or more"),
        ({"spike_penalties": [math.inf]}, "spike penalty inf must be 0 or more"),
        ({"workers": 0}, "workers 0 must be at least 1"),
        ({"device": "tpu"}, 'device "tpu" is unknown'),
    ],
)
def test_bad_arguments_are_refused(confirmed: Study, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        confirmation.confirm(confirmed, observer=Observer(), **changes)


def test_other_images_are_refused(confirmed: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {**confirmed.identity, "data.images": "0" * 12}
    monkeypatch.setattr(Study, "identity", property(lambda _self: other))
    with pytest.raises(DataError, match="was searched on images 000000000000, but the given images are"):
        confirmation.confirm(confirmed, observer=Observer())


def test_a_study_without_a_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "micro.toml").write_text(MICRO)
    with pytest.raises(KeyboardInterrupt):
        opening.search(tmp_path / "micro.toml", 1, results_dir=tmp_path / "results", observer=_Stop(1))
    with pytest.raises(StudyError, match="no network trained in full to repeat"):
        confirmation.confirm(load_study("micro", results_dir=tmp_path / "results"), observer=Observer())


@pytest.mark.exhaustive  # searches and tables with workers are in CI
def test_workers_train_the_same(tmp_path: Path, usual_batches: None) -> None:
    """Two processes leave the records of one."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = _study(tmp_path / "a", 2), _study(tmp_path / "b", 2)
    confirmation.confirm(one, 1, observer=Observer())
    confirmation.confirm(two, 1, workers=2, device="cpu", observer=Observer())
    records = [
        {k: dataclasses.replace(t.candidate, provenance={}) for k, t in _kept(study).done().items()}
        for study in (one, two)
    ]
    assert records[0] == records[1]


def test_top_takes_the_best_ranks(confirmed: Study) -> None:
    chosen = confirmation.members(confirmed, 1)
    unnamed = [n for n, c in chosen.items() if not c.reference]
    assert len(unnamed) <= 1
    assert set(unnamed) <= set(confirmed.front())
