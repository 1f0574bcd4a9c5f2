"""What a notebook shows of a study: held to the files of its report, to its records, and to figures by hand."""

from pathlib import Path

import pandas as pd
import pytest
import torch

import nas
from nas.errors import CostError
from nas.progress import Observer
from nas.studies import Study
from tests.conftest import MICRO

RUNGS = MICRO.replace("rungs = [1]", "rungs = [0.5, 1]")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """With two rungs, all 12 networks of its space, and the files of its report."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "micro.toml").write_text(RUNGS)
    torch.set_num_threads(1)
    searched = nas.search(folder / "micro.toml", 12, results_dir=folder / "results", observer=Observer())
    nas.report(searched)
    return searched


@pytest.fixture(scope="module")
def trials(study: Study) -> pd.DataFrame:
    """The report's table of networks, as a user would read it."""
    return pd.read_csv(study.folder / "trials.csv", index_col="trial")


def test_the_dataframe_is_the_table_of_the_report(study: Study, trials: pd.DataFrame, tmp_path: Path) -> None:
    """Column by column and row by row: written as CSV, both are the same text."""
    frame = study.to_dataframe()
    assert frame.index.name == "trial"
    assert frame.index.tolist() == sorted(study.candidates)
    frame.reset_index().to_csv(tmp_path / "mine.csv", index=False)
    assert (tmp_path / "mine.csv").read_text() == (study.folder / "trials.csv").read_text()
    assert frame[frame["on_front"]].sort_values("energy_mj").index.tolist() == list(study.front())


def test_rows_of_the_dataframe_are_the_records(study: Study) -> None:
    """The records are read from Optuna's trials as JSON, without this program's classes."""
    frame = study.to_dataframe()
    for number in frame.index:
        stored = study.optuna.trials[number].user_attrs["candidate"]
        for column in ("search_val_accuracy", "report_val_accuracy", "energy_mj", "parameters", "images_seen"):
            assert frame.loc[number, column] == stored[column]
        stage = stored["config"]["stages"][0]
        assert frame.loc[number, "choice_embed_dim"] == stage["embed_dim"]
        assert frame.loc[number, "choice_attention"] == stage["mixer"]["kind"]
        assert frame.loc[number, "time_steps"] == stored["config"]["time_steps"]


def test_the_dataframe_of_another_convention_prices_anew(study: Study) -> None:
    """Accuracies stay; under the synaptic operations of Spikformer's authors energies are others."""
    measured, paper = study.to_dataframe(), study.to_dataframe(convention="paper", chip="loihi")
    assert (measured["search_val_accuracy"] == paper["search_val_accuracy"]).all()
    complete = measured["status"] == "complete"
    assert (measured["energy_mj"] != paper["energy_mj"])[complete].all()
    assert "chip_energy_mj" not in measured
    assert (paper["chip_energy_mj"] > 0)[complete].all()
    with pytest.raises(CostError, match="convention"):
        study.to_dataframe(convention="papr")


def test_a_study_that_trained_nothing_has_an_empty_dataframe(micro: Path) -> None:
    class Stop(Observer):
        def on_training_start(self, label: str, epochs: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nas.search(micro, 1, results_dir=micro.parent / "results", observer=Stop())
    frame = nas.load_study("micro", results_dir=micro.parent / "results").to_dataframe()
    assert frame.empty
    assert frame.index.name == "trial"
    assert {"energy_mj", "on_front"} <= set(frame.columns)
