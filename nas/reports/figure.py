"""The front as a figure for a paper: matplotlib, in PNG, SVG and PDF, as wide as a column of it or as two."""

import contextlib
import itertools
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from nas.reports.contents import Report
from nas.reports.findings import by_size
from nas.reports.symbols import COMPARED, DIM, DOMINATED, FRONT, GREY, LIMIT, MEANS, REFERENCE, REFERENCES
from nas.reports.units import EnergyUnit, marks_of
from nas.stats import pareto
from nas.training import ranking

matplotlib.use("agg")  # files only: no display is needed
STYLE: Any = {
    "font.size": 8,
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # fonts are embedded as TrueType: journals refuse type 3 fonts
    "svg.fonttype": "none",
    "svg.hashsalt": "spikformer-nas",  # the same figure is the same file
}

ONE_COLUMN, TWO_COLUMNS = 3.5, 7.16  # inches; IEEE, "Resolution and Size" of its author center's graphics guide
_HEIGHTS = {ONE_COLUMN: 3.3, TWO_COLUMNS: 3.2}  # inches; the legend stands below the one, and beside the other
_LETTERS = {ONE_COLUMN: 46, TWO_COLUMNS: 68}  # that a line of text over or below the axes may have


def save(drawn: Figure, path: Path) -> None:
    """Write a figure in the format that the path's end names."""
    dated = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
    with _styled():
        drawn.savefig(path, dpi=300, metadata=dated.get(path.suffix))


def figure(report: Report, width: float = ONE_COLUMN) -> Figure:
    """Report-val accuracy against energy: all candidates, the front, references by name, and what size alone chooses.

    Symbols are those of the page's chart. A limit on accuracy, which is one of search-val, has no place here.

    The front is the one that search-val chose. Its report-val accuracies, which nothing chose, may fall where those of
    search-val rise, so its networks are joined by straight lines and not by a staircase.

    Args:
        width: in inches, `ONE_COLUMN` or `TWO_COLUMNS`.
    """
    column = report.energy
    whose = ranking.axis_of(column)
    with _styled():
        return _drawn(report, column, whose, width)


@contextlib.contextmanager
def _styled() -> Iterator[None]:
    """Whatever draws: also measuring labels does."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names in a script that no font here has
        yield


def _drawn(report: Report, column: str, whose: str, width: float) -> Figure:
    fig = Figure(figsize=(width, _HEIGHTS[width]), layout="constrained")
    axes = fig.add_subplot()
    label = f"{whose} per {report.sample} ({report.unit.name}, convention '{report.convention}')"
    axes.set(xscale="log", xlabel=textwrap.fill(label, _LETTERS[width]), ylabel="report-val accuracy (%)")
    axes.grid(alpha=0.25, lw=0.5)
    complete = report.trials[(report.trials["status"] == "complete") & report.trials[column].notna()]
    title = f"{_shortened(report.study)}: {len(complete)} candidates trained in full"
    axes.set_title(textwrap.fill(title, _LETTERS[width]), loc="left", parse_math=False, fontsize=8)
    if complete.empty:
        axes.text(0.5, 0.5, "no candidate is trained in full yet", ha="center", transform=axes.transAxes)
        return fig
    dominated = complete[~complete["on_front"].astype(bool) & (complete["reference"] == "")]
    if not dominated.empty:
        percent = 100 * dominated["report_val_accuracy"]
        axes.scatter(dominated[column], percent, s=16, color=DOMINATED, alpha=DIM, lw=0, label="dominated", zorder=2)
    if not report.front.empty:
        sizes = by_size(complete[complete["constraints"] == ""], len(report.front), column)
        pairs = list(zip(sizes["search_val_accuracy"], sizes[column], strict=True))
        best = sizes.iloc[pareto.front(pairs)]
        _joined(axes, best, column, GREY, "+", "-.", "best of rank by parameter count")
        _joined(axes, report.front, column, FRONT, "o", "-", "front, chosen by search-val")
        _mark_knee(axes, report, column)
    for other, color in zip(report.compared, itertools.cycle(COMPARED), strict=False):
        if not other.front.empty:
            _joined(axes, other.front, column, color, "s", ":", plain(_shortened(other.name)))
    _means(axes, report)
    named = complete[complete["reference"] != ""]
    for row, (_, marker) in zip(named.to_dict("records"), itertools.cycle(REFERENCES), strict=False):
        axes.scatter(
            row[column],
            100 * row["report_val_accuracy"],
            label=plain(_shortened(row["reference"])),
            marker=marker,
            s=45,
            facecolor="none",
            edgecolor=REFERENCE,
            linewidth=1.3,
            zorder=6,
        )
    most = report.constraints.max_energy_mj
    if most is not None:
        axes.axvline(most, color=LIMIT, ls="--", lw=1.1, label=f"max_energy {report.unit.text(most)}", zorder=1)
    if width == ONE_COLUMN:
        narrow: Any = {"columnspacing": 0.8, "handlelength": 1.2, "handletextpad": 0.4}
        fig.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=6.5, **narrow)
    else:
        fig.legend(loc="outside right upper", frameon=False, fontsize=7)
    _mark_energies(axes, [mj for mj in complete[column] if mj > 0], report.unit)
    fig.set_layout_engine(None)  # all has its place now, whatever the format; with "none" each would be drawn twice
    return fig


def _shortened(name: str) -> str:
    """So that two names stand side by side below a figure of one column."""
    return name if len(name) <= 24 else f"{name[:21]}..."


def _mark_energies(axes: Axes, energies_mj: list[float], unit: EnergyUnit) -> None:
    """The marks of the page's axis, round numbers in one unit: as many as stand side by side without touching."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda mj, _: unit.number(mj)))
    axes.xaxis.set_minor_locator(NullLocator())
    for marks in _fewer(marks_of(energies_mj)):
        axes.xaxis.set_major_locator(FixedLocator(marks))
        if not labels_touch(axes):
            return


def _fewer(marks: Sequence[float]) -> Iterator[Sequence[float]]:
    """All marks, then those at powers of ten, then every other one of these, and so on."""
    yield marks
    decades = [mark for mark in marks if f"{mark:e}".startswith("1.000000e")]
    while len(decades) > 1:
        yield decades
        decades = decades[::2]


def labels_touch(axes: Axes) -> bool:
    """Whether two labels of the horizontal axis stand closer than the width of a digit."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    low, high = sorted(axes.get_xlim())
    marks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    boxes = [label.get_window_extent(renderer) for mark, label in marks if low <= mark <= high]
    digit = 0.6 * 8 / 72 * figure.dpi
    return any(right.x0 - left.x1 < digit for left, right in itertools.pairwise(sorted(boxes, key=lambda box: box.x0)))


def _mark_knee(axes: Axes, report: Report, column: str) -> None:
    rows = report.front[report.front["trial"] == report.knee]
    for row in rows.to_dict("records"):
        place = row[column], 100 * row["report_val_accuracy"]
        arrow = {"arrowstyle": "-|>", "lw": 0.7, "color": MEANS}
        axes.annotate("knee", place, (-24, 12), textcoords="offset points", arrowprops=arrow, zorder=8)


def plain(name: str) -> str:
    """Matplotlib takes $ for formulas, and hides names that begin with an underscore."""
    escaped = name.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def _means(axes: Axes, report: Report) -> None:
    table = report.repeats.confirmed if report.repeats is not None else pd.DataFrame()
    if table.empty:
        return
    known = table[table["seeds"] > 0]
    half = 100 * (known["report_val_high"] - known["report_val_accuracy"]).fillna(0.0)
    left, right = (
        (known["energy_mj"] - known["energy_low_mj"]).fillna(0.0),
        (known["energy_high_mj"] - known["energy_mj"]).fillna(0.0),
    )
    axes.errorbar(
        known["energy_mj"],
        100 * known["report_val_accuracy"],
        yerr=half,
        xerr=[left, right],
        fmt="_",
        color=MEANS,
        ms=5,
        lw=0.9,
        capsize=1.5,
        label="mean of more seeds, 95 %",
        zorder=7,
    )


def _joined(axes: Axes, points: pd.DataFrame, column: str, color: str, marker: str, line: str, label: str) -> None:
    percent = 100 * points["report_val_accuracy"].astype(float)
    axes.plot(points[column], percent, color=color, lw=1.1, ls=line, zorder=4)
    axes.scatter(points[column], percent, s=20, color=color, marker=marker, label=label, zorder=5)


__all__ = ["ONE_COLUMN", "STYLE", "TWO_COLUMNS", "figure", "labels_touch", "plain", "save"]
