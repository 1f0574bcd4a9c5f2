"""What a notebook shows of a study: held to the files of its report, to its records, and to figures by hand."""

import base64
import dataclasses
import json
import math
import re
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import plotly.graph_objects as go
import pytest
import torch
from optuna import visualization

import nas
from nas.errors import CostError, StudyError
from nas.progress import Observer
from nas.studies import Study
from tests.conftest import MICRO

pytestmark = pytest.mark.usefixtures("trained_once")
ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "python.md").read_text()
AS_THEY_ARE = ("plot_pareto_front", "plot_param_importances", "plot_parallel_coordinate", "plot_timeline")
OF_ONE_OBJECTIVE = ("plot_slice", "plot_contour", "plot_edf", "plot_optimization_history", "plot_rank")
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


def _traces(figure: go.Figure) -> list[dict[str, Any]]:
    """What a browser is given to draw."""
    traces: list[dict[str, Any]] = json.loads(figure.to_json())["data"]
    return traces


def test_the_front_is_drawn_where_the_tables_have_it(study: Study, trials: pd.DataFrame) -> None:
    figure = nas.plot_front(study)
    assert isinstance(figure, go.Figure)
    assert figure.layout.title.text == "Pareto front of micro"
    points = [trace for trace in _traces(figure) if trace.get("meta") == "candidates"]
    places = {n: (x, y) for t in points for n, x, y in zip(t["customdata"], t["x"], t["y"], strict=True)}
    complete = trials[trials["status"] == "complete"]
    assert places == {
        n: (row["energy_mj"], pytest.approx(100 * row["search_val_accuracy"])) for n, row in complete.iterrows()
    }
    (front,) = [trace for trace in points if trace["name"] == "front"]
    assert front["customdata"] == pd.read_csv(study.folder / "front.csv")["trial"].tolist()


def test_the_front_of_another_study_is_drawn_beside(study: Study) -> None:
    figure = nas.plot_front(study, compare=[study], convention="paper")
    (beside,) = [trace for trace in figure.data if trace.meta == "compared"]
    assert len(beside.x) == sum(study.to_dataframe(convention="paper")["on_front"])
    assert "paper" in figure.layout.xaxis.title.text


def test_the_hypervolume_is_that_of_the_table(study: Study) -> None:
    table = pd.read_csv(study.folder / "hypervolume.csv")
    (line,) = _traces(nas.plot_hypervolume(study))
    assert line["x"] == table["images"].tolist()
    assert line["y"] == pytest.approx(table["hypervolume"].tolist())
    assert line["y"][-1] == pytest.approx(study.hypervolume())


def test_axes_are_those_of_the_tables(study: Study) -> None:
    table = pd.read_csv(study.folder / "importance.csv")
    for bars in _traces(nas.plot_axes(study)):
        rows = table[table["objective"] == bars["name"]].set_index("axis")
        assert bars["x"] == pytest.approx([rows.loc[axis, "importance"] for axis in bars["y"]])
    effects = pd.read_csv(study.folder / "effects.csv")
    mine = effects[(effects["axis"] == "embed_dim") & (effects["objective"] == "accuracy")]
    accuracy, _ = _traces(nas.plot_axes(study, "embed_dim"))
    assert accuracy["x"] == mine["choice"].tolist() == ["8", "16"]
    assert accuracy["y"] == pytest.approx(mine["mean"].tolist())
    with pytest.raises(StudyError, match=r'axis "embed_dims" is not one that .* Did you mean "embed_dim"'):
        nas.plot_axes(study, "embed_dims")


def test_a_network_is_drawn_from_wherever_it_is_known(study: Study) -> None:
    """By hand: a trial of the space has one stem, one mixer, one MLP and one head, and 10 classes."""
    number = next(iter(study.front()))
    candidate = study.candidates[number]
    drawings = [nas.plot_network(study, number), nas.plot_network(candidate), nas.plot_network(candidate.config)]
    for figure in drawings:
        (image,) = figure.layout.images
        svg = ElementTree.fromstring(base64.b64decode(image.source.removeprefix("data:image/svg+xml;base64,")))
        kinds = [rect.attrib["class"] for rect in svg.iter("{http://www.w3.org/2000/svg}rect")]
        assert sorted(kinds) == ["frame", "head", "mixer", "mlp", "stem"]
        words = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
        assert "image 1 x 8 x 8, T = 2" in words
        assert "10 classes" in words
    assert drawings[0].layout.title.text == f"Trial {number} of micro"
    assert nas.plot_network("spikformer_cifar10_4_256").layout.title.text == "spikformer_cifar10_4_256"
    with pytest.raises(StudyError, match=r"study micro has many networks. Give the number of a trial"):
        nas.plot_network(study)


def test_too_few_networks_tell_of_no_axis(study: Study, micro: Path) -> None:
    few = nas.search(micro, 2, results_dir=micro.parent / "results", observer=Observer())
    with pytest.raises(StudyError, match=r"At least 12 networks .* Continue the search"):
        nas.plot_axes(few)
    assert len(nas.plot_hypervolume(few).data) == 1


def test_a_study_says_its_front_in_a_line(study: Study, trials: pd.DataFrame) -> None:
    """Name, networks and the ends of the front are those of the tables; 1 mJ is 1e-3 J."""
    front = pd.read_csv(study.folder / "front.csv")
    ends = [front.iloc[0], front.iloc[-1]]
    text = repr(study)
    assert text.startswith(f"<Study 'micro': {len(trials)} networks, {len(front)} on the front, search-val ")
    for end in ends:
        assert f"{100 * end['search_val_accuracy']:.1f} % at {end['energy_mj'] * 1e6:.3g} nJ" in text
    assert "\n" not in text


def test_a_study_is_shown_as_the_table_of_its_front(study: Study) -> None:
    """Cell by cell the report's front, energies in mJ."""
    headings, *rows = ([cell.text for cell in row] for row in ElementTree.fromstring(study._repr_html_()).iter("tr"))
    shown = pd.DataFrame(rows, columns=headings)
    front = pd.read_csv(study.folder / "front.csv")
    assert shown["trial"].astype(int).tolist() == front["trial"].tolist()
    assert shown["network"].tolist() == front["network"].tolist()
    assert shown["energy (mJ)"].astype(float).tolist() == pytest.approx(front["energy_mj"].tolist(), rel=5e-3)
    assert shown["report-val"].tolist() == [f"{100 * share:.1f} %" for share in front["report_val_accuracy"]]


def test_a_study_that_cannot_be_read_still_has_a_name(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("the server is away")

    monkeypatch.setattr(study.optuna, "get_trials", broken)
    assert repr(study) == "<Study 'micro': it cannot be read>"


def test_a_candidate_says_what_it_is_in_a_line(study: Study) -> None:
    """By hand: 1,234 nJ are 1.23 µJ, and T stands in the shorthand."""
    (candidate, *_) = study.front().values()
    shown = dataclasses.replace(
        candidate, energy_mj=0.001234, search_val_accuracy=0.6123, report_val_accuracy=0.5, reference=None
    )
    assert re.fullmatch(
        r"<Candidate \w+ \w+ 1-\d+ (heads \d )?mlp 1 T2 \| search-val 61.2 %, report-val 50.0 %, 1.23 µJ per image>",
        repr(shown),
    )
    silent = dataclasses.replace(
        shown, status="silent", reason="no neuron fires", energy_mj=None, search_val_accuracy=None
    )
    assert repr(silent).endswith(" T2 | report-val 50.0 %, silent: no neuron fires>")


def test_names_are_shown_and_not_obeyed(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage may hold any name, and a notebook obeys the HTML that it is given."""
    number, candidate = next(iter(study.front().items()))
    hostile = dataclasses.replace(candidate, reference="<script>alert(1)</script>\nnext")
    monkeypatch.setattr(Study, "candidates", property(lambda _: {number: hostile}))
    renamed = dataclasses.replace(study, name="<b>\nname")
    for text in (renamed._repr_html_(), hostile._repr_html_()):
        assert "<script>" not in text
        assert "<b>" not in text
        assert "&lt;script&gt;" in text
    assert "\n" not in repr(hostile)
    assert "\n" not in repr(renamed)
    assert "<script>" not in nas.plot_network(hostile).layout.title.text


def test_optunas_own_figures_work_as_the_guide_says(study: Study) -> None:
    """Its table names each function of `optuna.visualization` for a study of two objectives."""
    assert set(re.findall(r"plot_\w+", DOCUMENT.partition("## Optuna's own figures")[2])) == {
        name for name in dir(visualization) if name.startswith("plot_")
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls some of these experimental
        for name in AS_THEY_ARE:
            assert getattr(visualization, name)(study.optuna).data
        for name in OF_ONE_OBJECTIVE:
            draw = getattr(visualization, name)
            assert draw(study.optuna, target=lambda trial: trial.values[0], target_name="accuracy").data
            with pytest.raises(ValueError, match="target"):
                draw(study.optuna)
        history = visualization.plot_hypervolume_history(study.optuna, reference_point=[0.0, 2.0])
        assert not visualization.plot_intermediate_values(study.optuna).data
        with pytest.raises(ValueError, match="multi-objective"):
            visualization.plot_terminator_improvement(study.optuna)
    assert history.data[0].y[-1] == pytest.approx(_staircase(study))


def _staircase(study: Study) -> float:
    """The area between the front and accuracy 0 at 100 mJ, whose logarithm is 2: one rectangle a member, by hand."""
    members = [(c.search_val_accuracy or 0.0, math.log10(c.energy_mj or 1.0)) for c in study.front().values()]
    ends = [log for _, log in members[1:]] + [2.0]
    return sum(accuracy * (end - log) for (accuracy, log), end in zip(members, ends, strict=True))


def test_optunas_front_is_the_studys_own(study: Study) -> None:
    """Optuna sorts the trials itself; `log10` of the table's energies are its values."""
    figure = visualization.plot_pareto_front(study.optuna)
    (trace,) = [trace for trace in figure.data if "Best Trial" in trace.hovertemplate]
    best = set(zip(trace.x, trace.y, strict=True))
    front = pd.read_csv(study.folder / "front.csv")
    expected = zip(front["search_val_accuracy"], front["energy_mj"].map(math.log10), strict=True)
    assert sorted(best) == [pytest.approx(point) for point in sorted(expected)]


def test_the_guide_names_what_is_there() -> None:
    """Names of `nas`, columns of the table and parts of the images."""
    assert set(re.findall(r"\bnas\.(\w+)", DOCUMENT)) <= set(nas.__all__)
