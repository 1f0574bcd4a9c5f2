"""Figures that may be pasted are those of report-val, of further seeds where there are any; search-val is named."""

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from rich.console import Console

from nas.exports import exporting as exports
from nas.progress import Observer, front_table, summary
from nas.reports import contents, figure, front_chart, page, texts
from nas.reports.contents import Report
from nas.searching import opening
from nas.studies.study import Study
from nas.training.candidate import Candidate
from tests.conftest import MICRO

pytestmark = pytest.mark.usefixtures("trained_once")

SEARCH, REPORT, CONFIRMED = 0.91, 0.62, 0.57
"""Accuracies that no one confuses: 91 % chose, 62 % is the search's seed on report-val, 57 % the mean of more seeds."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("quoted")
    (folder / "micro.toml").write_text(MICRO)
    torch.set_num_threads(1)
    return opening.search(folder / "micro.toml", 4, results_dir=folder / "results", observer=Observer())


def _report(study: Study, *, confirmed: bool) -> Report:
    """The front's last network, alone, with the accuracies above; energies as they are."""
    report = contents.build(study)
    shares = {
        **{f"search_val_{name}": value for name, value in (("accuracy", SEARCH), ("low", 0.9), ("high", 0.92))},
        **{f"report_val_{name}": value for name, value in (("accuracy", REPORT), ("low", 0.6), ("high", 0.64))},
    }
    trials = report.trials[report.trials["trial"] == report.front["trial"].iloc[-1]].assign(**shares)
    trial = int(trials["trial"].iloc[0])
    members = tuple(member for member in report.members if member.trial == trial)
    report = dataclasses.replace(report, trials=trials, front=trials, knee=trial, members=members)
    assert report.repeats is not None
    row: dict[str, Any] = dict.fromkeys(report.repeats.confirmed.columns, "") | {
        "trial": trial,
        "seeds": 3,
        "failed": 0,
    }
    row |= {"search_val_accuracy": 0.8, "search_val_low": 0.79, "search_val_high": 0.81}
    row |= {"report_val_accuracy": CONFIRMED, "report_val_low": 0.55, "report_val_high": 0.59}
    row |= {"energy_mj": 3.0, "energy_low_mj": 2.9, "energy_high_mj": 3.1}
    table = pd.DataFrame([row] if confirmed else [], columns=report.repeats.confirmed.columns)
    return dataclasses.replace(report, repeats=dataclasses.replace(report.repeats, confirmed=table))


def test_the_latex_table_has_report_val(study: Study) -> None:
    text = texts.latex(_report(study, confirmed=False))
    assert r"report-val accuracy (\%) & seeds" in text
    assert "& 62.0 & 1 &" in text
    assert "91.0" not in text


def test_the_latex_table_has_the_mean_of_more_seeds(study: Study) -> None:
    """57 % with 55 to 59 is 57 +- 2; their energy, 3 mJ, stands beside it."""
    text = texts.latex(_report(study, confirmed=True))
    assert r"& $57.0 \pm 2.0$ & 3 & 3 mJ &" in text
    assert "91.0" not in text
    assert "62.0" not in text


@pytest.mark.parametrize(
    ("confirmed", "shown"),
    [(False, "62.0 %"), (True, "57.0 %")],
)
def test_the_largest_figures_of_the_page_are_report_val(study: Study, confirmed: bool, shown: str) -> None:
    html = page.html(_report(study, confirmed=confirmed))
    tiles = html[html.index('<dl class="tiles">') :]
    tiles = re.sub(r"<[^>]*>", "", tiles[: tiles.index("</dl>")])
    assert f"report-val accuracy of the network that search-val ranks first{shown}" in tiles
    assert f"report-val accuracy of the knee{shown}" in tiles
    assert f"report-val {shown}" in tiles
    assert "91.0" not in tiles
    assert ("means of 3 further seeds; 95 % interval 55.0 % to 59.0 %" in tiles) == confirmed
    assert ("one seed; 95 % over images 60.0 % to 64.0 %" in tiles) != confirmed
    assert ("3,000,000 nJ" in tiles) == confirmed  # their energy, which stands beside their accuracy


def test_search_val_is_named_wherever_the_page_shows_it(study: Study) -> None:
    """91 % stands in one cell of the front's table, under its own heading, and in no summary of a network."""
    html = page.html(_report(study, confirmed=False))
    body = html[html.index("<body>") : html.index("<script>")]
    cells = re.findall(r"<span data-file[^>]*>91\.0 %", body)
    assert len(cells) == 1
    assert 'data-column="search_val_accuracy"' in cells[0]
    assert ">search-val, which chose</th>" in re.sub(r"</?a[^>]*>", "", body)
    assert len(re.findall("91\\.0 %", body)) == 1


def test_the_paper_figure_draws_report_val(study: Study) -> None:
    """Candidates and front at 62 %, more seeds at 57 %, nothing at 91 %."""
    drawn_figure = figure.figure(_report(study, confirmed=True))
    (axes,) = drawn_figure.axes
    assert axes.get_ylabel() == "report-val accuracy (%)"
    points = [np.asarray(drawn.get_offsets()) for drawn in axes.collections if isinstance(drawn, PathCollection)]
    heights = {round(float(y), 6) for y in np.concatenate(points)[:, 1]}
    lines = {round(float(y), 6) for line in axes.lines for y in np.asarray(line.get_ydata())}
    assert heights == {62.0}
    assert 57.0 in lines
    assert not {91.0, 80.0} & (heights | lines)
    (legend,) = drawn_figure.legends
    assert "front, chosen by search-val" in [text.get_text() for text in legend.get_texts()]


def test_page_and_paper_figure_have_the_same_colours(study: Study) -> None:
    """Of the front, of the others, and of each reference, whose symbol is hollow on both."""
    report = contents.build(study)
    (axes,) = figure.figure(report).axes
    drawn = {str(points.get_label()): points for points in axes.collections if isinstance(points, PathCollection)}
    names = {"front": "front, chosen by search-val"}
    traces = [trace for trace in front_chart.front(report)["data"] if trace.get("meta") == "candidates"]
    assert {"front", "Spikformer miniature"} <= {trace["name"] for trace in traces}
    for trace in traces:
        points = drawn[names.get(trace["name"], trace["name"])]
        hollow = trace["marker"].get("symbol", "").endswith("-open")
        assert hollow == (len(points.get_facecolor()) == 0)
        (color,) = points.get_edgecolor() if hollow else points.get_facecolor()  # pyrefly: ignore[bad-unpacking]
        assert to_hex(color) == trace["marker"]["color"]  # pyrefly: ignore[bad-argument-type]
    assert [text.get_text() for text in axes.texts] == ["knee"]


@pytest.mark.parametrize(("confirmed", "cell"), [(False, "62.0 %"), (True, "57.0 % (55.0 to 59.0)")])
def test_tables_of_the_front_name_both(study: Study, confirmed: bool, cell: str) -> None:
    report = _report(study, confirmed=confirmed)
    console = Console(width=240, record=True, file=io.StringIO())
    console.print(report.table())
    for text in (texts.markdown(report), console.export_text()):
        heading = next(line for line in text.splitlines() if "search-val" in line and "trial" in line)
        assert heading.index("report-val") < heading.index("search-val")
        row = next(line for line in text.splitlines() if "91.0 %" in line)
        assert row.index(cell) < row.index("91.0 %")


def test_lines_of_a_search_name_the_split(study: Study) -> None:
    candidate = dataclasses.replace(
        next(iter(study.front().values())), search_val_accuracy=SEARCH, report_val_accuracy=REPORT
    )
    assert summary(candidate).startswith("search-val 91.0 % (report-val 62.0 %), ")
    assert front_table([candidate]).columns[0].header == "search-val"


def test_a_card_of_an_export_names_both(study: Study, tmp_path: Path) -> None:
    (folder,) = exports.export(study, "accuracy", tmp_path)
    candidate = list(study.front().values())[-1]
    lines = (folder / "card.md").read_text().splitlines()
    rows = [line for line in lines if "accuracy" in line and line.startswith("|")]
    shares = [100 * (share or 0) for share in (candidate.report_val_accuracy, candidate.search_val_accuracy)]
    assert rows == [
        f"| report-val accuracy (not used to choose) | {shares[0]:.2f} % |",
        f"| search-val accuracy (the search chose by it) | {shares[1]:.2f} % |",
    ]


@pytest.mark.exhaustive
def test_balanced_accuracy_is_shown_where_classes_are_imbalanced(study: Study, tmp_path: Path) -> None:
    """44 % of report-val; nowhere where classes are alike, but in trials.csv."""
    even = _report(study, confirmed=False)
    trials = even.trials.assign(report_val_balanced=0.44)
    even = dataclasses.replace(even, trials=trials, front=trials)
    assert not even.imbalanced  # of digits
    for report, shown in ((even, False), (dataclasses.replace(even, imbalanced=True), True)):
        page.write(report, tmp_path)
        assert "0.44" in (tmp_path / "trials.csv").read_text()
        assert ("| 62.0 % | 44.0 % | 91.0 % |" in (tmp_path / "report.md").read_text()) == shown
        body = (tmp_path / "report.html").read_text().partition("<script>")[0]
        assert (">44.0 %</span>" in body) == shown
        assert (">balanced</th>" in body) == shown


def test_a_study_of_imbalanced_classes_says_so(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    told = ("Class cat has 50.0 times as many images as class owl: accuracy counts images.",)
    monkeypatch.setattr(Study, "account", property(lambda _self: told))
    assert contents.build(study).imbalanced


def test_records_of_earlier_versions_have_no_balanced_accuracy(study: Study) -> None:
    """They open, and are equal to today's; a search today leaves both figures."""
    candidate = next(iter(study.front().values()))
    assert candidate.search_val_balanced is not None
    assert candidate.report_val_balanced is not None
    values = json.loads(json.dumps(candidate.to_dict()))
    assert Candidate.from_dict(values).report_val_balanced == candidate.report_val_balanced
    before = Candidate.from_dict({key: value for key, value in values.items() if not key.endswith("_balanced")})
    assert before.report_val_balanced is None
    assert before == candidate
    trials = contents.build(study).trials.set_index("trial")
    number = next(iter(study.front()))
    assert trials.loc[number, "search_val_balanced"] == candidate.search_val_balanced
