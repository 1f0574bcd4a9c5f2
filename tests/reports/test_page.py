"""The report's page: figures are those of the tables and of the storage, names are harmless, a browser shows it."""

import dataclasses
import html
import itertools
import json
import math
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import torch

from nas.errors import StudyError
from nas.progress import Observer
from nas.replicates import confirmation
from nas.reports import contents, page, plots, texts
from nas.searching import opening
from nas.settings import Constraints, ReferencePoint
from nas.stats import pareto
from nas.studies import status
from nas.studies.records import Training
from nas.studies.study import Study, load_study
from tests.conftest import MICRO

pytestmark = pytest.mark.usefixtures("trained_once")

RUNGS = MICRO.replace("rungs = [1]", "rungs = [0.5, 1]")
MJ_PER_UNIT = {"J": 1e3, "mJ": 1.0, "µJ": 1e-3, "nJ": 1e-6, "pJ": 1e-9}
OPTIONS = ["--results-dir", "x y"]
HOSTILE = '<script>alert("1")</script> ünïcode \' & $x_1$ | %'


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """With rungs, limits, and repeats of its front."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "micro.toml").write_text(RUNGS)
    torch.set_num_threads(1)
    found = opening.search(
        folder / "micro.toml",
        12,
        constraints=Constraints(max_energy_mj=1.0, min_accuracy=0.01),
        results_dir=folder / "results",
        observer=Observer(),
    )
    confirmation.confirm(found, 2, 1, spike_penalties=[1.0], ann_twin=True, observer=Observer())
    return found


@pytest.fixture(scope="module")
def report(study: Study) -> contents.Report:
    return contents.build(study)


@pytest.fixture(scope="module")
def written(study: Study, report: contents.Report) -> Path:
    page.write(report, study.folder, latex=True, options=OPTIONS)
    return study.folder


class _Figures(HTMLParser):
    """Every marked figure of a page with its text, and the JSON of its charts."""

    def __init__(self) -> None:
        super().__init__()
        self.figures: list[tuple[dict[str, str], str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self._marked: dict[str, str] | None = None
        self._in_data = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        self._in_data = tag == "script" and given.get("id") == "data"
        if "data-file" in given:
            self._marked = {key: value or "" for key, value in given.items()}
            self.figures.append((self._marked, ""))

    def handle_endtag(self, tag: str) -> None:
        self._marked, self._in_data = None, False

    def handle_data(self, data: str) -> None:
        if self._marked is not None:
            self.figures[-1] = (self._marked, self.figures[-1][1] + data)
        if self._in_data:
            self.data += data


def _read(path: Path) -> _Figures:
    parser = _Figures()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def _cell(folder: Path, marked: dict[str, str]) -> Any:
    table = pd.read_csv(folder / marked["data-file"])
    if marked["data-file"] == "layers.csv":
        trial, layer, place = marked["data-key"].split("/")
        row = table[table["trial"] == int(trial)].iloc[int(place)]
        assert row["layer"] == layer
    elif marked["data-file"] == "statuses.csv":
        row = table.iloc[int(marked["data-key"])]
    else:
        (row,) = (row for _, row in table[table["trial"] == int(marked["data-key"])].iterrows())
    return row[marked["data-column"]]


def test_every_figure_of_the_page_stands_in_a_table(written: Path) -> None:
    figures = _read(written / "report.html").figures
    assert len(figures) > 100
    assert {marked["data-file"] for marked, _ in figures} >= {"trials.csv", "layers.csv", "confirmed.csv"}
    for marked, shown in figures:
        value = float(_cell(written, marked))
        assert math.isnan(value) if marked["data-value"] == "" else float(marked["data-value"]) == value, marked
        first = re.match(r"-?[\d.,]+", shown)
        if first is not None and not math.isnan(value):
            _check_shown(shown, value)


def _check_shown(shown: str, value: float) -> None:
    """The text is the value, to the digits that it shows."""
    number, unit = re.match(r"(-?[\d.,]+) ?(\D*)", shown).groups()  # pyrefly: ignore[missing-attribute]
    factors = MJ_PER_UNIT | {"%": 1e-2, "k": 1e3, "M": 1e6, "G": 1e9}
    factor = factors.get(unit.split(" ")[0].split("(")[0].strip(), 1.0)
    digits = len(number.partition(".")[2])
    assert float(number.replace(",", "")) * factor == pytest.approx(value, abs=0.51 * factor * 10**-digits, rel=6e-3)


def test_a_table_has_one_unit_of_energy(written: Path) -> None:
    """A table of the page, its front's chart, and the tables of report.md: the prefixes of their energies are equal."""
    text = (written / "report.html").read_text(encoding="utf-8")
    body = text[text.index("<body>") : text.index("<script>")]
    tables = re.findall(r"<table>.*?</table>", body, re.S)
    texts_of_tables = [re.sub(r"<[^>]*>", " ", table) for table in tables]
    paragraphs = (written / "report.md").read_text(encoding="utf-8").split("\n\n")
    texts_of_tables += [paragraph for paragraph in paragraphs if paragraph.startswith("| trial")]
    units = [set(re.findall(r"\d ([pnµm]?J)\b", table)) for table in texts_of_tables]
    assert max(map(len, units)) == 1
    (energy,) = json.loads(_read(written / "report.html").data)["charts"]["front"]["layout"]["xaxis"]["title"].values()
    assert re.findall(r"\((.*?)\)", energy) == list(units[0])


def test_the_tables_are_those_of_the_storage(study: Study, written: Path) -> None:
    trials = pd.read_csv(written / "trials.csv").set_index("trial")
    candidates = study.candidates
    assert set(trials.index) == set(candidates)
    for number, candidate in candidates.items():
        row = trials.loc[number]
        for column in ("search_val_accuracy", "report_val_accuracy", "energy_mj", "spike_operations", "parameters"):
            assert row[column] == getattr(candidate, column)
        for split in ("search_val", "report_val"):
            assert row[f"{split}_low"] < row[f"{split}_accuracy"] < row[f"{split}_high"]
    rungs = pd.read_csv(written / "rungs.csv").set_index("trial")
    for trial in study.optuna.trials:
        said = trial.user_attrs.get("candidate")
        if said is not None and trial.number in rungs.index:
            assert rungs.loc[trial.number, "search_val_accuracy"] == said["search_val_accuracy"]
            assert rungs.loc[trial.number, "images_seen"] == said["images_seen"]
    layers = pd.read_csv(written / "layers.csv")
    for number, candidate in study.front().items():
        mine = layers[layers["trial"] == number]
        assert mine["energy_mj"].sum() == pytest.approx(candidate.energy_mj)
        assert mine["energy_share"].sum() == pytest.approx(1)


def test_the_charts_draw_the_tables(written: Path) -> None:
    data = json.loads(_read(written / "report.html").data)
    trials = pd.read_csv(written / "trials.csv").set_index("trial")
    drawn = 0
    for trace in data["charts"]["front"]["data"]:
        if trace.get("meta") != "candidates":
            continue
        assert len(trace["hovertext"]) == len(trace["x"])
        for number, x, y, words in zip(trace["customdata"], trace["x"], trace["y"], trace["hovertext"], strict=True):
            row = trials.loc[number]
            assert (x, y) == (row["energy_mj"], pytest.approx(100 * row["search_val_accuracy"]))
            assert f"trial {number}" in words
            assert f"{row['parameters']:,} parameters" in words
            assert f"report-val {100 * row['report_val_accuracy']:.1f} %" in words
            drawn += 1
    assert drawn == (trials["status"] == "complete").sum()
    volumes = pd.read_csv(written / "hypervolume.csv")
    (line,) = data["charts"]["trajectory"]["data"]
    assert line["x"] == volumes["images"].tolist()
    assert line["y"] == volumes["hypervolume"].tolist()
    assert volumes["hypervolume"].is_monotonic_increasing
    importance = pd.read_csv(written / "importance.csv")
    for bars in data["charts"]["importance"]["data"]:
        rows = importance[importance["objective"] == bars["name"]].set_index("axis")
        assert bars["x"] == [rows.loc[axis, "importance"] for axis in bars["y"]]
    means = pd.read_csv(written / "confirmed.csv")
    (points,) = [t for t in data["charts"]["front"]["data"] if t["name"].startswith("mean of more seeds")]
    assert points["x"] == means[means["seeds"] > 0]["energy_mj"].tolist()
    _check_smaller_charts(written, data["charts"], trials)
    for axis, colours in data["colours"].items():
        for number, choice in colours["of"].items():
            assert colours["choices"][choice] == str(trials.loc[int(number), f"choice_{axis}"])


def _check_smaller_charts(folder: Path, charts: dict[str, Any], trials: pd.DataFrame) -> None:
    """Rungs, optimism and the effect of each choice."""
    rungs = pd.read_csv(folder / "rungs.csv").set_index("trial")
    shown = [
        (number, x, y)
        for trace in charts["rungs"]["data"]
        for number, x, y in zip(trace["customdata"], trace["x"], trace["y"], strict=True)
        if number is not None
    ]
    assert {number for number, _, _ in shown} == set(rungs.index)
    for number, x, y in shown:
        assert (x, y) == (rungs["images_seen"][number], pytest.approx(100 * rungs["search_val_accuracy"][number]))
    for trace in charts["optimism"]["data"]:
        for number, x, y in zip(trace.get("customdata", ()), trace["x"], trace["y"], strict=False):
            row = trials.loc[number]
            assert x == pytest.approx(100 * row["search_val_accuracy"])
            assert y == pytest.approx(100 * row["report_val_accuracy"])
    effects = pd.read_csv(folder / "effects.csv", dtype={"choice": str})
    for name, chart in charts.items():
        if name.startswith("effect:"):
            for trace in chart["data"]:
                mine = effects[(effects["axis"] == name[7:]) & (effects["objective"] == trace["name"])]
                energies = trace["name"] == "energy"
                unit = re.fullmatch(r"energy \((.*)\)", chart["layout"]["yaxis2"]["title"]["text"])
                assert unit is not None
                factor = 1 / MJ_PER_UNIT[unit[1]] if energies else 1
                assert trace["x"] == mine["choice"].tolist()
                assert trace["y"] == pytest.approx((factor * mine["mean"]).tolist())
                assert trace["customdata"] == mine["networks"].tolist()


def test_plotlys_classes_accept_every_chart_and_change_nothing(written: Path) -> None:
    import plotly.graph_objects as go

    charts = json.loads(_read(written / "report.html").data)["charts"]
    assert {"front", "optimism", "rungs"} < charts.keys()
    for chart in charts.values():
        assert go.Figure(chart).to_plotly_json() == chart


def test_the_table_of_networks_is_that_of_the_trials(written: Path) -> None:
    networks = json.loads(_read(written / "report.html").data)["networks"]
    trials = pd.read_csv(written / "trials.csv")
    complete = trials[trials["status"] == "complete"].set_index("trial", drop=False)
    again = pd.read_csv(written / "confirmed.csv").set_index("trial")
    again = again[again["report_val_low"].notna()]
    for column in ("report_val_accuracy", "report_val_low", "report_val_high", "energy_mj"):
        complete.loc[again.index, column] = again[column]  # means over further seeds are what a reader is to quote
    for name in ("trial", "network", "description", "parameters"):
        assert networks[name] == complete[name].tolist()
    for name, column in page._TABLE.items():
        assert networks[name] == pytest.approx(complete[column].tolist(), rel=1e-5)
    energies_mj = [energy * MJ_PER_UNIT[networks["unit"]] for energy in networks["energy"]]
    assert energies_mj == pytest.approx(complete["energy_mj"].tolist(), rel=1e-5)
    assert networks["on_front"] == complete["on_front"].astype(int).tolist()


def test_the_map_of_firing_rates_is_that_of_the_records(study: Study, written: Path) -> None:
    """A chart for each network of the front: layers from the top, steps from the left."""
    charts_by_name = json.loads(_read(written / "report.html").data)["charts"]
    table = pd.read_csv(written / "activity.csv")
    for number, candidate in study.front().items():
        (drawn,) = charts_by_name[f"firing:{number}"]["data"]
        mine = table[table["trial"] == number]
        assert drawn["z"] == [pytest.approx(list(layer.rates)) for layer in candidate.activity.values()]
        assert [rate for row in drawn["z"] for rate in row] == pytest.approx(mine["firing_rate"].tolist())
        assert [row[0] for row in drawn["customdata"]] == list(candidate.firing_rates)
        assert len(set(drawn["y"])) == len(candidate.activity)


@pytest.mark.exhaustive
def test_a_study_of_an_earlier_version_has_no_map(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = {n: dataclasses.replace(c, activity={}) for n, c in study.candidates.items()}
    (tmp_path / "activity.csv").write_text("of an earlier report")
    monkeypatch.setattr(Study, "candidates_in", lambda _self, _snapshot: candidates)
    page.write(contents.build(study), tmp_path)
    assert "did not record spikes by time step" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not (tmp_path / "activity.csv").exists()


def test_the_last_hypervolume_is_that_of_the_front(study: Study, report: contents.Report) -> None:
    assert report.trajectory["hypervolume"].iloc[-1] == pytest.approx(report.hypervolume)
    assert report.trajectory["images"].iloc[-1] <= study.spent.images
    assert study.hypervolume() == pytest.approx(report.hypervolume)
    (row,) = status.overview(study.folder.parent, None)
    assert row.hypervolume == pytest.approx(report.hypervolume)


@pytest.mark.exhaustive
def test_all_measure_from_the_reference_point_that_the_search_was_given(
    study: Study, report: contents.Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: beyond it lies the most accurate network of the front alone, one point and one decade away."""
    assert "This point is derived from the networks" in report.methods[-1]
    assert not any("The last search aimed at" in sentence for sentence in report.findings)
    best = report.front.iloc[-1]
    asked = ReferencePoint(best["search_val_accuracy"] - 0.01, 10 * best["energy_mj"])
    monkeypatch.setattr(Study, "hypervolume_from", asked)
    aimed = contents.build(study)
    assert aimed.reference_point == (100 * asked.accuracy, math.log10(asked.energy_mj))
    (row,) = status.overview(study.folder.parent, None)
    (line,) = json.loads(plots.plot_hypervolume(study).to_json())["data"]
    last = aimed.trajectory["hypervolume"].iloc[-1]
    assert [aimed.hypervolume, study.hypervolume(), row.hypervolume, line["y"][-1], last] == pytest.approx([1.0] * 5)
    assert f"reference point of {100 * asked.accuracy:.1f} % of search-val accuracy and " in aimed.methods[-1]
    assert "The last search of the study asked for this point" in aimed.methods[-1]
    (sentence,) = [s for s in aimed.findings if s.startswith("The last search aimed at")]
    assert f"Number of such networks on the front: 1 of {len(aimed.front)}" in sentence


@pytest.mark.exhaustive
def test_a_front_that_does_not_reach_the_reference_point_has_no_hypervolume(
    study: Study, report: contents.Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share of nothing is not told."""
    assert any("of the front's hypervolume" in sentence for sentence in report.findings)
    monkeypatch.setattr(Study, "hypervolume_from", ReferencePoint(0.9, 1e-12))
    aimed = contents.build(study)
    assert aimed.hypervolume == study.hypervolume() == 0
    assert not any("of the front's hypervolume" in sentence for sentence in aimed.findings)


def test_nothing_in_the_page_comes_from_elsewhere(written: Path) -> None:
    for tag, given in _read(written / "report.html").tags:
        for name in ("src", "href", "action", "data"):
            value = given.get(name) or ""
            assert value.startswith(("#", "data:")) or value == "", f"<{tag} {name}={value}>"


def test_each_term_of_the_page_is_explained_in_it(written: Path) -> None:
    tags = _read(written / "report.html").tags
    ids = [given["id"] for _, given in tags if "id" in given]
    assert len(ids) == len(set(ids))
    explained = {given["id"] for tag, given in tags if tag == "dt" and "data-match" in given}
    names = (
        "front",
        "knee",
        "search-val",
        "report-val",
        "hypervolume",
        "rung",
        "spike-operations",
        "MAC",
        "firing-rate",
    )
    assert explained >= {f"term-{name}" for name in (*names, "time-step", "ssa", "sew", "ms", "quantised-counterpart")}
    text = (written / "report.md").read_text(encoding="utf-8")
    assert "## How to read a network\n\n* **ms**: membrane shortcut" in text
    assert "* **knee**: " in text
    assert "Points of this chart are the networks trained in full: " in text


def test_commands_are_quoted(written: Path, study: Study) -> None:
    number = next(iter(study.front()))
    text = html.unescape((written / "report.html").read_text(encoding="utf-8"))
    assert f"python -m nas export --study micro --pick {number} --results-dir 'x y'" in text


def test_paper_figures_and_latex(written: Path, study: Study) -> None:
    assert (written / "front.png").read_bytes().startswith(b"\x89PNG")
    assert (written / "front.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (written / "front.svg").read_text()
    table = (written / "front.tex").read_text()
    assert table.count(r"\\") == len(study.front()) + 1
    assert r"\toprule" in table


@pytest.mark.exhaustive
def test_equal_reports_are_equal_files(study: Study, written: Path, tmp_path: Path) -> None:
    files = page.write(contents.build(study), tmp_path, latex=True, options=OPTIONS)
    assert files
    for path in files:
        assert path.read_bytes() == (written / path.name).read_bytes(), path.name


@pytest.mark.parametrize("text", [r"50 % & $x_1$ #{~^\}", "µ < >"])
def test_latex_takes_any_name(text: str) -> None:
    """No character that LaTeX obeys is left bare."""
    found = re.sub(r"\\text\w+\{\}|\\[&%$#_{}]", "", texts._tex(text))
    assert not re.search(r"[&%$#_{}~^\\]", found)


@pytest.mark.exhaustive
def test_a_study_without_a_finished_network_has_a_page(tmp_path: Path) -> None:
    class Stop(Observer):
        def on_training_start(self, label: str, epochs: int) -> None:
            raise KeyboardInterrupt

    (tmp_path / "micro.toml").write_text(RUNGS)
    with pytest.raises(KeyboardInterrupt):
        opening.search(tmp_path / "micro.toml", 1, results_dir=tmp_path / "results", observer=Stop())
    empty = load_study("micro", results_dir=tmp_path / "results")
    report = contents.build(empty)
    assert report.findings == ["Study micro has no finished candidate yet."]
    page.write(report, empty.folder, latex=True)
    assert "There is no front yet" in (empty.folder / "report.html").read_text()


@pytest.mark.exhaustive
def test_a_report_during_a_search(tmp_path: Path) -> None:
    """Written after each network by a program of its own reading: always whole, with as many networks as are stored."""
    counts = []

    class Look(Observer):
        def counted(self, done: int, total: int | None, fully: int | None) -> None:
            if done:
                there = load_study("micro", results_dir=tmp_path / "results")
                page.write(contents.build(there), tmp_path / "out")
                counts.append(len(pd.read_csv(tmp_path / "out" / "trials.csv")))

    (tmp_path / "micro.toml").write_text(RUNGS)
    opening.search(tmp_path / "micro.toml", 3, results_dir=tmp_path / "results", observer=Look())
    assert counts == sorted(counts)
    assert counts[-1] == 3


@pytest.mark.exhaustive
def test_hostile_names_are_shown_and_not_obeyed(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = {n: dataclasses.replace(c, reference=HOSTILE) for n, c in study.candidates.items()}
    monkeypatch.setattr(Study, "candidates_in", lambda _self, _snapshot: candidates)
    hostile = dataclasses.replace(study, name=HOSTILE)
    page.write(contents.build(hostile), tmp_path, latex=True)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'alert("1")' not in text
    assert "<script>alert" not in text
    assert html.escape(HOSTILE, quote=False)[:20] in text
    scripts = [given for tag, given in _read(tmp_path / "report.html").tags if tag == "script"]
    assert len(scripts) == 3  # plotly, the data, our own
    data = json.loads(_read(tmp_path / "report.html").data)
    names = [trace["name"] for trace in data["charts"]["front"]["data"]]
    assert html.escape(HOSTILE) in names
    assert "<script>" not in (tmp_path / "report.md").read_text(encoding="utf-8")


_NAMES = [
    "<script>alert(1)</script>",
    *(pytest.param(n, marks=pytest.mark.exhaustive) for n in ("../../x", "Größe 零" * 60)),
]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", _NAMES)
def test_a_database_may_hold_any_name(tmp_path: Path, name: str) -> None:
    """It is searched, listed and reported; its files lie in one folder below results/."""
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    (tmp_path / "micro.toml").write_text(MICRO)
    results = tmp_path / "deep" / "results"
    opening.search(tmp_path / "micro.toml", 1, study=name, storage=url, results_dir=results, observer=Observer())
    assert [row.name for row in status.overview(results, url)] == [name]
    found = load_study(name, storage=url, results_dir=results)
    assert found.folder.parent == results
    confirmation.confirm(found, 1, observer=Observer())
    assert [row.name for row in status.overview(results, url)] == [name]  # its repeats are no study of their own
    page.write(contents.build(found), found.folder)
    assert [path.parent for path in tmp_path.rglob("report.html")] == [found.folder]
    assert set(tmp_path.iterdir()) == {tmp_path / "studies.db", tmp_path / "micro.toml", tmp_path / "deep"}


def test_two_names_never_share_a_folder(tmp_path: Path) -> None:
    from nas.studies import storage as storages

    names = ["a/b", "a b", "a_b", "ä b", "a__b", "A b"]
    assert len({storages.study_folder(tmp_path, name, "sqlite:///x") for name in names}) == len(names)
    for bad in ("", "a" * 501, "a~b"):
        with pytest.raises(StudyError, match="must have 1 to 500 characters"):
            storages.study_folder(tmp_path, bad, "sqlite:///x")


def test_studies_are_compared_in_one_frame(study: Study, tmp_path: Path) -> None:
    (tmp_path / "micro.toml").write_text(RUNGS)
    other = opening.search(
        tmp_path / "micro.toml",
        6,
        sampler="RandomSampler",
        study="random",
        results_dir=tmp_path / "results",
        references=False,
        observer=Observer(),
    )
    report = contents.build(study, compare=[other])
    (compared,) = report.compared
    assert compared.differs == ()
    every = [c for s in (study, other) for c in s.candidates.values() if c.status == "complete"]
    points = [(100 * (c.search_val_accuracy or 0), math.log10(c.energy_mj or 1)) for c in every]
    assert report.reference_point == pytest.approx(pareto.reference_point(points))
    assert "Hypervolume" in report.findings[-1]
    assert "random" in report.findings[-1]
    other.keep_hypervolume_from(ReferencePoint(0.01, 1.0))
    for shown, beside in ((study, other), (other, study)):  # the point of the studied one, if it has one
        derived = shown.hypervolume_from is None
        point = report.reference_point if derived else (1.0, 0.0)
        again = contents.build(shown, compare=[beside])
        assert again.reference_point == pytest.approx(point)
        trajectory = again.compared[0].trajectory["hypervolume"].iloc[-1]
        assert again.compared[0].hypervolume == pytest.approx(trajectory)
    page.write(report, tmp_path / "out")
    data = json.loads(_read(tmp_path / "out" / "report.html").data)
    assert "attainment" in data["charts"]
    assert len(data["charts"]["trajectory"]["data"]) == 2
    assert any(
        check.question.startswith("Is there a random search") and check.answer == "yes" for check in report.checks
    )
    assert set(pd.read_csv(tmp_path / "out" / "compared.csv")["study"]) == {"random"}
    page.write(contents.build(study), tmp_path / "out")
    assert not (tmp_path / "out" / "compared.csv").exists()  # the page that it belonged to is gone


@pytest.mark.exhaustive
def test_a_study_that_was_trained_otherwise_is_marked(study: Study, tmp_path: Path) -> None:
    (tmp_path / "micro.toml").write_text(RUNGS)
    other = opening.search(tmp_path / "micro.toml", 3, epochs=2, results_dir=tmp_path / "results", observer=Observer())
    report = contents.build(study, compare=[other])
    assert report.compared[0].differs == ("recipe.epochs",)
    assert "NOT comparable: recipe.epochs differ" in report.findings[-1]


def test_attainment_by_hand() -> None:
    """Of fronts (1 mJ, 50 %), (2 mJ, 60 %) and (1.5 mJ, 55 %): at 2 mJ any attains 60, all attain 55."""
    from nas.reports import charts
    from nas.reports.contents import Compared

    def front(*points: tuple[float, float]) -> pd.DataFrame:
        return pd.DataFrame(points, columns=["energy_mj", "search_val_accuracy"])

    report = contents.Report("one", "measured", "energy_mj", pd.DataFrame(), front((1, 0.5), (2, 0.6)), [], [])
    other = Compared("two", front((1.5, 0.55)), pd.DataFrame(), 0.0, 0, ())
    chart = charts.attainment(dataclasses.replace(report, compared=(other,)))
    assert chart is not None
    lines = {trace["name"]: (trace["x"], trace["y"]) for trace in chart["data"]}
    assert lines["any of the studies"] == ([1.0, 1.5, 2.0], [50.0, pytest.approx(55.0), 60.0])
    assert lines["all of the studies"] == ([1.0, 1.5, 2.0], [None, 50.0, pytest.approx(55.0)])


def test_a_forest_forecasts_as_that_of_scikit_learn() -> None:
    import numpy as np
    from sklearn.ensemble import ExtraTreesRegressor

    from nas.reports import axes

    rng = np.random.default_rng(0)
    encoded, asked = (rng.integers(0, 2, (count, 5)).astype(float) for count in (40, 60))
    values = encoded @ np.arange(5) + rng.normal(size=40)
    forest = ExtraTreesRegressor(axes.TREES, min_samples_leaf=2, random_state=3).fit(encoded, values)
    assert axes.forecast(encoded, values, asked, 3).tolist() == forest.predict(asked).tolist()


def test_importance_finds_the_axis_that_decides() -> None:
    """Accuracy is made from one axis alone and energy from the other; the third does nothing."""
    import random

    from nas.reports import axes

    rng = random.Random(0)
    trainings = []
    for i in range(80):
        choices: dict[str, Any] = {"a": rng.choice([1, 2, 4]), "b": rng.choice(["x", "y"]), "c": rng.choice([1, 2])}
        accuracy = 0.5 + 0.1 * choices["a"] + rng.gauss(0, 0.005)
        energy = 1.0 if choices["b"] == "x" else 10.0
        trainings.append(Training(i, f"{i:012x}", 0, "complete", 100, accuracy, energy, True, choices, None))
    importance, effects, basis = axes.importance(trainings)
    low = {(row["objective"], row["axis"]): row["low"] for row in importance.to_dict("records")}
    assert low["accuracy", "a"] > 0.5
    assert low["energy", "b"] > 0.5
    assert low["accuracy", "c"] <= 0.02
    shown = {(row["objective"], row["axis"], row["choice"]): row["mean"] for row in effects.to_dict("records")}
    assert shown["accuracy", "a", "4"] == pytest.approx(90, abs=1.5)
    assert shown["accuracy", "a", "1"] == pytest.approx(60, abs=1.5)
    assert shown["energy", "b", "y"] == pytest.approx(10, rel=0.1)
    assert "From 80 networks" in basis
    assert importance.groupby("objective")["importance"].sum().tolist() == pytest.approx([1.0, 1.0])
    nothing, _, why = axes.importance(trainings[:5])
    assert nothing.empty
    assert "At least 12" in why


def _two_axes(accuracy: dict[tuple[int, int], float]) -> list[Training]:
    """Ten networks of each pair of choices, of one energy; their accuracies scatter by 0.1 points."""
    scatter = itertools.cycle((-1e-3, 0.0, 1e-3))
    pairs = [pair for pair in accuracy for _ in range(10)]
    return [
        Training(
            *(i, f"{i:012x}", 0, "complete", 100, accuracy[pair] + next(scatter), 1.0, True),
            {"a": pair[0], "b": pair[1]},
            None,
        )
        for i, pair in enumerate(pairs)
    ]


def test_shares_of_importance_are_those_of_the_variance() -> None:
    """Of 4 a + 2 b the variances are 16 : 4, 80 and 20 %; of a xor b neither axis has any, the interaction has all.

    What does not vary, here energy, is explained by nothing.
    """
    from nas.reports import axes

    pairs = list(itertools.product((0, 1), repeat=2))
    for accuracy, shares in (
        ({(a, b): 0.3 + 0.04 * a + 0.02 * b for a, b in pairs}, {"a": 0.8, "b": 0.2, axes.INTERACTIONS: 0.0}),
        ({(a, b): 0.3 + 0.04 * (a ^ b) for a, b in pairs}, {"a": 0.0, "b": 0.0, axes.INTERACTIONS: 1.0}),
    ):
        table = axes.importance(_two_axes(accuracy))[0].set_index(["objective", "axis"])["importance"]
        assert table["accuracy"].to_dict() == pytest.approx(shares | {axes.UNEXPLAINED: 0.0}, abs=0.05)
        assert table["accuracy"].sum() == pytest.approx(1.0)
        assert (table >= 0).all()
        assert table["energy"].to_dict() == dict.fromkeys(["a", "b", axes.INTERACTIONS], 0.0) | {axes.UNEXPLAINED: 1.0}


@pytest.mark.exhaustive
def test_a_search_loads_no_report() -> None:
    """plotly, pandas and matplotlib are for reports; help is for everybody."""
    for module, absent in (
        ("nas.searching.loop", ("plotly", "pandas", "matplotlib")),
        ("cli", ("plotly", "pandas", "torch", "optuna", "rich")),
    ):
        program = f"import sys, {module}; sys.exit(any(name in sys.modules for name in {absent!r}))"
        root = Path(__file__).parents[2]
        assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0, module


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, as Debian has it, started once; it may fetch nothing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--window-size=1280,900"),
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


def _forget(browser: Any) -> None:
    """What an earlier page left in the logs."""
    for log in ("browser", "performance"):
        browser.get_log(log)


def _requests(browser: Any) -> list[str]:
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def _wait(browser: Any, script: str) -> Any:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = browser.execute_script(script)
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"never true: {script}")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_it(browser: Any, written: Path, study: Study, width: int) -> None:
    """All charts drawn, no message in the console, nothing fetched, nothing wider than the screen, text on hovering."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    _forget(browser)
    url = (written / "report.html").as_uri()
    browser.get(url)
    _wait(browser, "return [...document.querySelectorAll('.chart')].every(c => c.querySelector('.main-svg'))")
    assert browser.execute_script("return document.querySelectorAll('.chart').length") >= 5
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    words = _hover(browser)
    assert "trial" in words
    assert "search-val" in words
    assert "parameters" in words
    _check_words(browser, width)
    axis, colours = next(iter(json.loads(_read(written / "report.html").data)["colours"].items()))
    browser.execute_script(
        "const s = document.getElementById('colour'); s.value = arguments[0]; s.dispatchEvent(new Event('change'))",
        axis,
    )
    chips = _wait(browser, "return [...document.querySelectorAll('#chips .chip')].map(c => c.textContent)")
    assert chips == colours["choices"]
    browser.execute_script("document.querySelector('#chips .chip').click()")
    assert (
        browser.execute_script("return document.querySelector('#chips .chip').getAttribute('aria-pressed')") == "true"
    )
    browser.execute_script("document.querySelector('.theme').click()")
    assert browser.execute_script("return document.documentElement.dataset.theme") == "dark"
    *_, last = study.front()
    browser.execute_script(CHOOSE, "#firing", str(last))
    rows = _wait(browser, f"return document.querySelector('[data-chart=\"firing:{last}\"]')?.data[0].z.length")
    assert rows == len(study.front()[last].activity)
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    assert {request for request in _requests(browser) if not request.startswith(("data:", "blob:"))} == {url}


def _check_words(browser: Any, width: int) -> None:
    """A term has its meaning at its first use in a section, by key and tap; only a table too wide says so."""
    terms = browser.execute_script(
        "return [...document.querySelectorAll('button.term')].map(b => [b.closest('section, dl').id, b.dataset.term])"
    )
    assert len(terms) == len(set(map(tuple, terms)))
    assert {("front", f"term-{name}") for name in ("search-val", "report-val", "dominated", "spike-operations")} <= {
        (section, term) for section, term in terms
    }
    browser.execute_script("document.querySelector('[data-term=\"term-search-val\"]').focus()")
    assert "search chooses" in _wait(browser, "return document.getElementById('tip').textContent")
    assert browser.execute_script(
        "return [document.activeElement.getAttribute('aria-expanded'), document.activeElement.ariaDescribedByElements"
        "?.[0]?.id ?? document.activeElement.getAttribute('aria-describedby')]"
    ) == ["true", "tip"]
    browser.execute_script("document.querySelector('[data-term=\"term-report-val\"]').click()")
    assert "quote" in _wait(browser, "return document.getElementById('tip').textContent")
    assert browser.execute_script("return document.getElementById('tip').getBoundingClientRect().right") <= width
    browser.execute_script("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    assert browser.execute_script("return document.getElementById('tip').hidden")
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    wide = _wait(
        browser,
        """
        const frames = [...document.querySelectorAll(".scroll")], wide = f => f.scrollWidth > f.clientWidth + 1;
        return frames.every(f => wide(f) === !f.previousElementSibling.hidden) && frames.map(wide);
        """,
    )
    assert any(wide) or width > 500


def _hover(browser: Any) -> str:
    """What appears over a point of the front."""
    browser.execute_script(
        """
        const frame = document.querySelector('[data-chart="front"]');
        const curve = frame.data.findIndex(t => t.name === "front" && t.mode === "markers");
        frame.scrollIntoView();
        Plotly.Fx.hover(frame, [{curveNumber: curve, pointNumber: 0}]);
        """
    )
    return str(_wait(browser, "return document.querySelector('[data-chart=\"front\"] .hoverlayer').textContent"))


TRIALS = "return [...document.querySelectorAll('table.front tbody tr')].map(r => Number(r.cells[0].textContent))"
SORT = "document.querySelector(`table.front th[data-sort='${arguments[0]}'] button.sort`).click();"
SORTED = (
    "return [...document.querySelectorAll('table.front th')].map(t => [t.dataset.sort, t.getAttribute('aria-sort')])"
)
CHOOSE = "const s = document.querySelector(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change'));"


@pytest.mark.slow
def test_a_browser_sorts_and_filters_the_networks(browser: Any, written: Path) -> None:
    """As `trials.csv` sorts them; what an axis or a text does not let through is no row, and faint in the chart."""
    trials = pd.read_csv(written / "trials.csv")
    complete = trials[trials["status"] == "complete"]
    browser.get((written / "report.html").as_uri())
    assert browser.execute_script(TRIALS) == complete[complete["on_front"]].sort_values("energy_mj")["trial"].tolist()
    browser.execute_script(CHOOSE, "#scope", "all")
    assert browser.execute_script(TRIALS) == complete.sort_values(["energy_mj", "trial"])["trial"].tolist()
    for name, column in (("report_val", "report_val_accuracy"), ("parameters", "parameters"), ("trial", "trial")):
        for ascending, word in ((True, "ascending"), (False, "descending")):
            browser.execute_script(SORT, name)
            ordered = complete.sort_values([column, "trial"], ascending=[ascending, True])
            assert browser.execute_script(TRIALS) == ordered["trial"].tolist()
            assert dict(browser.execute_script(SORTED))[name] == word
            assert sum(state is not None for _, state in browser.execute_script(SORTED)) == 1
    axis, colours = next(iter(json.loads(_read(written / "report.html").data)["colours"].items()))
    browser.execute_script(CHOOSE, f"select[data-axis='{axis}']", "0")
    mine = complete[complete[f"choice_{axis}"].astype(str) == colours["choices"][0]]
    assert sorted(browser.execute_script(TRIALS)) == mine["trial"].tolist()
    assert f"{len(mine)} of {len(complete)} networks" in browser.execute_script("return count.textContent")
    assert _faint(browser) == set(complete["trial"]) - set(mine["trial"])
    browser.execute_script("document.getElementById('clear').click()")
    assert len(browser.execute_script(TRIALS)) == len(complete)
    assert _faint(browser) == set()
    browser.execute_script("text.value = arguments[0]; text.dispatchEvent(new Event('input'))", "no such words")
    assert _wait(browser, "return !document.querySelectorAll('table.front tbody tr').length")


def _faint(browser: Any) -> set[int]:
    """Trials whose points of the front's chart are faint."""
    drawn = browser.execute_script(
        """
        return document.querySelector('[data-chart="front"]').data.filter(t => t.meta === "candidates").flatMap(
          t => t.customdata.filter((_, i) => (Array.isArray(t.marker.opacity) ? t.marker.opacity[i] : 1) < 0.1));
        """
    )
    return set(drawn)


@pytest.mark.exhaustive
def test_a_browser_sorts_ten_thousand_networks(browser: Any, written: Path, tmp_path: Path) -> None:
    """A hundred of them are rows; a sort and a search take less than a second."""
    text = (written / "report.html").read_text(encoding="utf-8")
    data = json.loads(_read(written / "report.html").data)
    columns = {name: values for name, values in data["networks"].items() if isinstance(values, list)}
    many = {name: [values[i % len(values)] for i in range(10_000)] for name, values in columns.items()}
    many["trial"], many["on_front"] = list(range(10_000)), [0] * 10_000
    data["networks"] |= many
    start = text.index('id="data">') + len('id="data">')
    page_of_many = text[:start] + str(page._script_safe(data)) + text[text.index("</script>", start) :]
    (tmp_path / "many.html").write_text(page_of_many, encoding="utf-8")
    browser.get((tmp_path / "many.html").as_uri())
    browser.execute_script(CHOOSE, "#scope", "all")
    taken_ms = browser.execute_script(
        f"const begun = performance.now(); {SORT} return performance.now() - begun", "trial"
    )
    assert taken_ms < 1000
    assert browser.execute_script(TRIALS) == list(range(100))
    browser.execute_script("document.getElementById('more').click()")
    assert browser.execute_script(TRIALS) == list(range(200))
    browser.execute_script("text.value = '9999'; text.dispatchEvent(new Event('input'))")
    assert _wait(browser, f"const shown = (() => {{ {TRIALS} }})(); return shown.length === 1 && shown[0]") == 9999


@pytest.mark.slow
def test_a_browser_shows_an_empty_study_and_hostile_names(
    browser: Any, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = {n: dataclasses.replace(c, reference=HOSTILE) for n, c in study.candidates.items()}
    monkeypatch.setattr(Study, "candidates_in", lambda _self, _snapshot: candidates)
    page.write(contents.build(dataclasses.replace(study, name=HOSTILE)), tmp_path)
    _forget(browser)
    browser.get((tmp_path / "report.html").as_uri())
    _wait(browser, "return document.querySelectorAll('.main-svg').length > 5")
    assert browser.execute_script("return document.querySelector('h1').textContent") == HOSTILE
    assert [entry["message"] for entry in browser.get_log("browser")] == []


@pytest.mark.exhaustive
def test_the_file_of_another_convention_leaves_the_searchs_alone(study: Study, tmp_path: Path) -> None:
    from nas.costs import energy

    report = contents.build(study, energy.convention("paper"))
    names = {path.name for path in page.write(report, tmp_path)}
    assert "report-paper.html" in names
    assert all("-paper." in name for name in names)
    assert page.tables(report).keys() >= {"trials.csv", "layers.csv"}


@pytest.mark.exhaustive
def test_an_optuna_dashboard_finds_names(study: Study) -> None:
    assert study.optuna.metric_names == ["search_val_accuracy", "log10_energy_mj"]
    complete = [t for t in study.optuna.trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert all(trial.params for trial in complete)
