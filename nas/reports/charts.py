"""Interactive charts for the page beside that of the front, each of one question."""

import html
import itertools
import math
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from nas.reports.axes import INTERACTIONS, UNEXPLAINED
from nas.reports.contents import Member, Report
from nas.reports.plotting import Chart, Plot, joules, numbers
from nas.reports.symbols import BLUE, COMPARED, DIM, DOMINATED, FRONT, GREY, ORANGE
from nas.reports.units import unit_of
from spikformer.fields import PlainTable


def trajectory(report: Report) -> Chart:
    """Hypervolume against the images that all trainings saw."""
    plot = Plot()
    lines = [(report.study, report.trajectory, BLUE, "solid")]
    others = zip(report.compared, itertools.cycle(COMPARED), strict=False)
    lines += [(other.name, other.trajectory, color, "dot") for other, color in others]
    for name, table, color, dash in lines:
        plot.add(
            "scatter",
            x=numbers(table["images"]),
            y=numbers(table["hypervolume"]),
            mode="lines",
            line={"shape": "hv", "color": color, "dash": dash},
            name=html.escape(name),
            hovertemplate=f"%{{x:,}} {report.sample}s<br>hypervolume %{{y:.2f}}<extra></extra>",
        )
    return plot.drawn(
        f"{report.sample}s seen by all training runs",
        "hypervolume (points of search-val x decades)",
        showlegend=len(lines) > 1,
    )


def attainment(report: Report) -> Chart | None:
    """What any, half, and all of the compared studies attain at an energy (Grunert da Fonseca et al., 2001)."""
    fronts = [report.front, *(other.front for other in report.compared)]
    if len(fronts) < 2 or any(f.empty for f in fronts):
        return None
    column = report.energy
    grid = sorted({float(mj) for f in fronts for mj in f[column]})
    reached = np.asarray([[_attained(f, column, mj) for mj in grid] for f in fronts])
    ordered = -np.sort(-np.nan_to_num(reached, nan=-1.0), axis=0)
    plot = Plot()
    half = (len(fronts) + 1) // 2 - 1
    for name, i, dash in (("any", 0, "solid"), ("half", half, "dash"), ("all", len(fronts) - 1, "dot")):
        if i == half and name == "half" and len(fronts) < 3:
            continue
        values = [None if v < 0 else v for v in ordered[i].tolist()]
        plot.add(
            "scatter",
            x=grid,
            y=values,
            mode="lines",
            line={"shape": "hv", "dash": dash, "color": BLUE},
            name=f"{name} of the studies",
        )
    unit = unit_of(grid)
    joules(plot, grid, unit)
    return plot.drawn(f"energy per {report.sample} ({unit.name})", "search-val accuracy attained (%)")


def _attained(front: pd.DataFrame, column: str, mj: float) -> float:
    below = front[front[column] <= mj]
    return 100 * float(below["search_val_accuracy"].max()) if not below.empty else math.nan


def optimism(report: Report) -> Chart:
    """Search-val against report-val: who was chosen lies below the line more than the others do."""
    complete = report.trials[report.trials["status"] == "complete"]
    plot = Plot()
    for name, on_front, style in (
        ("dominated", False, {"color": DOMINATED, "size": 8, "opacity": DIM}),
        ("front", True, {"color": FRONT, "size": 10}),
    ):
        rows = complete[complete["on_front"].astype(bool) == on_front]
        plot.add(
            "scatter",
            x=numbers(100 * rows["search_val_accuracy"].astype(float)),
            y=numbers(100 * rows["report_val_accuracy"].astype(float)),
            mode="markers",
            marker=style,
            name=name,
            customdata=[int(n) for n in rows["trial"]],
            hovertemplate="trial %{customdata}<br>search-val %{x:.1f} %<br>report-val %{y:.1f} %<extra></extra>",
        )
    every = 100 * pd.concat([complete["search_val_accuracy"], complete["report_val_accuracy"]]).astype(float)
    ends = [float(every.min()), float(every.max())] if not complete.empty else [0.0, 100.0]
    plot.add(
        "scatter", x=ends, y=ends, mode="lines", line={"color": GREY, "dash": "dot"}, name="equal", hoverinfo="skip"
    )
    return plot.drawn("search-val accuracy (%), which chooses", "report-val accuracy (%)")


def ranked_axes(report: Report) -> list[str]:
    """Axes by their larger importance, for accuracy or for energy."""
    single = report.importance[~report.importance["axis"].isin([INTERACTIONS, UNEXPLAINED])]
    return [str(axis) for axis in single.groupby("axis")["importance"].max().sort_values(ascending=False).index]


def importance(report: Report) -> Chart:
    """Bars by axis, for accuracy and energy; at the bottom what no single axis does."""
    plot = Plot()
    order = [UNEXPLAINED, INTERACTIONS, *reversed(ranked_axes(report))]
    for objective, color in (("energy", ORANGE), ("accuracy", BLUE)):
        table = report.importance[report.importance["objective"] == objective].set_index("axis").reindex(order)
        value = table["importance"].to_numpy()
        plot.add(
            "bar",
            y=[html.escape(str(axis)) for axis in order],
            x=numbers(value),
            orientation="h",
            name=objective,
            marker={"color": color},
            error_x={
                "array": numbers(table["high"] - value),
                "arrayminus": numbers(value - table["low"]),
                "thickness": 1.2,
            },
            hovertemplate="%{y}: %{x:.0%} of the variance<extra>" + objective + "</extra>",
        )
    plot.update_axis("xaxis", tickformat=".0%", rangemode="tozero")
    return plot.drawn(
        "share of the variance, with 95 % of forests",
        "",
        height=90 + 46 * len(order),
        barmode="group",
    )


def effects(report: Report, axis: str) -> Chart:
    """What each choice of an axis does on average, to accuracy and to energy."""
    plot = Plot()
    unit = unit_of(report.effects.loc[report.effects["objective"] == "energy", "mean"])
    for objective, color, side in (("accuracy", BLUE, "y"), ("energy", ORANGE, "y2")):
        rows = report.effects[(report.effects["objective"] == objective) & (report.effects["axis"] == axis)]
        factor = 1.0 if objective == "accuracy" else 1 / unit.mj
        value = factor * rows["mean"].to_numpy()
        plot.add(
            "scatter",
            x=[html.escape(choice) for choice in rows["choice"]],
            y=numbers(value),
            yaxis=side,
            mode="lines+markers",
            name=objective,
            line={"color": color, "dash": "solid" if side == "y" else "dot"},
            marker={"symbol": "circle" if side == "y" else "square", "size": 8},
            error_y={
                "array": numbers(factor * rows["high"] - value),
                "arrayminus": numbers(value - factor * rows["low"]),
                "thickness": 1.2,
            },
            customdata=[int(n) for n in rows["networks"]],
            hovertemplate="%{x}: %{y:.3g}, %{customdata} networks<extra>" + objective + "</extra>",
        )
    plot.update_axis("xaxis", type="category")
    plot.update_axis(
        "yaxis2",
        overlaying="y",
        side="right",
        showgrid=False,
        title={"text": f"energy ({unit.name})"},
        tickmode="auto",
        nticks=5,
    )
    chart = plot.drawn(html.escape(axis), "search-val (%)", height=260, showlegend=False)
    chart["layout"]["margin"]["r"] = 56
    return chart


def rungs(report: Report) -> Chart:
    """Accuracy of each network at the rungs to which it was trained: one line for all of a kind, gaps between them."""
    plot = Plot()
    on_front = set(report.front["trial"])
    for name, is_front, style in (
        ("others", False, {"color": DOMINATED, "width": 1}),
        ("front", True, {"color": FRONT, "width": 2}),
    ):
        table = report.rungs[report.rungs["last_trial"].isin(on_front) == is_front]
        x, y, numbers = _broken_lines(table)
        plot.traces.append(
            {
                "type": "scatter",
                "x": x,
                "y": y,
                "mode": "lines+markers",
                "line": style,
                "marker": {"size": 5 if not is_front else 7},
                "opacity": DIM if not is_front else 1.0,
                "name": name,
                "customdata": numbers,
                "hovertemplate": f"trial %{{customdata}}<br>%{{x:,}} {report.sample}s<br>"
                "search-val %{y:.1f} %<extra></extra>",
            }
        )
    plot.update_axis("xaxis", type="log")
    return plot.drawn(f"{report.sample}s that a training saw", "search-val accuracy (%)")


def _broken_lines(table: pd.DataFrame) -> tuple[list[float | None], list[float | None], list[int | None]]:
    x, y, numbers = list[float | None](), list[float | None](), list[int | None]()
    ordered = table.sort_values(["last_trial", "images_seen"])
    before = None
    columns = (ordered[name].tolist() for name in ("last_trial", "trial", "images_seen", "search_val_accuracy"))
    for last, trial, images, accuracy in zip(*columns, strict=True):
        if before not in (None, last):
            for values in (x, y, numbers):
                values.append(None)  # a gap
        x.append(float(images))
        y.append(100 * accuracy)
        numbers.append(int(trial))
        before = last
    return x, y, numbers


def firing_rates(member: Member) -> Chart:
    """Spikes per neuron of each layer at each time step: layers in the order in which they run, from the top."""
    several = len(member.config.stages) > 1
    layers = list(member.activity.items())
    steps = [f"{step + 1}" for step in range(max(len(layer.spikes) for _, layer in layers))]
    plot = Plot()
    plot.add(
        "heatmap",
        x=steps,
        y=[html.escape(_layer_name(path, several)) for path, _ in layers],
        z=[numbers(layer.rates) for _, layer in layers],
        customdata=[[html.escape(path)] * len(steps) for path, _ in layers],
        zmin=0,
        zmax=max(rate for _, layer in layers for rate in layer.rates) or 1.0,
        texttemplate="%{z:.2f}" if len(steps) <= _WRITTEN_STEPS else "",
        hovertemplate="%{customdata}<br>time step %{x}: %{z:.3f} spikes per neuron<extra></extra>",
        xgap=2,
        ygap=2,
        colorbar={"title": {"text": "rate"}, "thickness": 12},
    )
    plot.update_axis("xaxis", type="category", showgrid=False)
    plot.update_axis("yaxis", autorange="reversed", type="category", showgrid=False)
    return plot.drawn("time step", "", height=90 + 22 * len(layers))


_WRITTEN_STEPS = 8  # beyond which figures in the cells would touch


def _layer_name(path: str, several_stages: bool) -> str:
    """A path in short: "stages.0.blocks.1.mixer.branch.query.neuron" is "block 2 mixer query"."""
    words = re.sub(r"\b(branch|neuron)\b|_neuron\b", "", path)
    stage = r"stage \1 block \2 " if several_stages else r"block \2 "
    place = re.sub(r"^stages\.(\d+)\.blocks\.(\d+)\.", stage, words)
    counted = re.sub(r"(?<=stage |block )\d+", lambda digits: str(int(digits[0]) + 1), place)
    return " ".join(filter(None, re.split(r"[. ]+", counted)))


def colours(report: Report, axes: Sequence[str]) -> PlainTable:
    """For colouring the candidates by an axis: its choices, and which of them each trial has."""
    by_axis: PlainTable = {}
    complete = report.trials[report.trials["status"] == "complete"]
    for axis in axes:
        column = complete[f"choice_{axis}"]
        choices = sorted(set(column.dropna()), key=lambda c: (isinstance(c, str), c))
        of = {int(n): choices.index(c) for n, c in zip(complete["trial"], column, strict=True) if c in choices}
        by_axis[axis] = {"choices": [str(choice) for choice in choices], "of": of}
    return by_axis


__all__ = [
    "Chart",
    "attainment",
    "colours",
    "effects",
    "firing_rates",
    "importance",
    "optimism",
    "ranked_axes",
    "rungs",
    "trajectory",
]
