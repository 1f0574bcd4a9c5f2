"""Interactive charts for the page: the one door to plotly. Each is plain JSON that plotly.js draws."""

import html
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from nas.progress import in_si
from nas.reports.contents import Compared, Report
from nas.reports.repeats import Row, interval
from spikformer.fields import PlainTable

# Okabe & Ito's colours, which most kinds of colour vision tell apart; shapes say the same again.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    "#8a94a0",
)
_CYCLE = (PURPLE, ORANGE, GREEN, SKY, VERMILLION)
_SYMBOLS = ("diamond-open", "triangle-up-open", "square-open", "cross-open", "star-open", "pentagon-open")
Chart = PlainTable


def _chart(figure: go.Figure, x: str, y: str, height: int = 430, **layout: object) -> Chart:
    figure.update_layout(
        xaxis_title=x,
        yaxis_title=y,
        height=height,
        margin={"l": 56, "r": 12, "t": 12, "b": 48},
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
        hoverlabel={"align": "left"},
        hovermode="closest",
        template="none",
        **layout,
    )
    figure.update_xaxes(automargin=True, zeroline=False)
    figure.update_yaxes(automargin=True, zeroline=False)
    drawn: Chart = figure.to_plotly_json()
    return drawn


def _numbers(values: Iterable[float | None]) -> list[float | None]:
    """Plain numbers: plotly packs arrays into bytes, which nobody can read in the page."""
    return [None if value is None or math.isnan(value) else float(value) for value in values]


def front(report: Report) -> Chart:
    """All candidates trained in full, the front, references by name, repeats, the knee and the limits."""
    column, whose = report.energy, "energy" if report.energy == "energy_mj" else "predicted energy on ImageNet"
    complete = report.trials[(report.trials["status"] == "complete") & report.trials[column].notna()]
    figure = go.Figure()
    dominated = complete[~complete["on_front"].astype(bool) & (complete["reference"] == "")]
    _points(figure, dominated, column, report, "dominated", {"color": GREY, "size": 8, "opacity": 0.45})
    for other, color in zip(report.compared, itertools.cycle(_CYCLE), strict=False):
        _other_front(figure, other, column, color)
    if not report.front.empty:
        _front_line(figure, report, column)
        _points(figure, report.front, column, report, "front", {"color": BLUE, "size": 10})
    named = complete[complete["reference"] != ""]
    for (_, row), symbol in zip(named.iterrows(), itertools.cycle(_SYMBOLS), strict=False):
        style = {"color": GREEN, "size": 13, "symbol": symbol, "line": {"width": 2}}
        _points(figure, row.to_frame().T, column, report, html.escape(row["reference"]), style)
    _repeats(figure, report)
    _lines(figure, report, column)
    _joules(figure, [mj for mj in complete[column] if mj > 0])
    return _chart(
        figure,
        f"{whose} per image, convention {html.escape(report.convention)}",
        "search-val accuracy (%), by which the search ranks",
        height=520,
    )


def _joules(figure: go.Figure, energies_mj: Sequence[float]) -> None:
    """A logarithmic axis in millijoules, written in the prefix that suits."""
    low, high = min(energies_mj, default=1.0), max(energies_mj, default=1.0)
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    steps = (1, 2, 5) if high < 1e3 * low else (1,)
    marks = [step * 10.0**decade for decade in decades for step in steps]
    figure.update_xaxes(type="log", tickvals=marks, ticktext=[in_si(mj * 1e-3, "J") for mj in marks])


def _points(
    figure: go.Figure, table: pd.DataFrame, column: str, report: Report, name: str, marker: Mapping[str, object]
) -> None:
    if table.empty:
        return
    figure.add_scatter(
        x=_numbers(table[column]),
        y=_numbers(100 * table["search_val_accuracy"].astype(float)),
        mode="markers",
        name=name,
        marker=marker,
        customdata=[int(n) for n in table["trial"]],
        hovertext=[_hover(row, column, report) for row in table.to_dict("records")],
        hoverinfo="text",
        meta="candidates",
    )


def _hover(row: Row, column: str, report: Report) -> str:
    """In words: what it is, how good with its interval, what it costs."""
    network = html.escape(str(row["network"]))
    low, high = 100 * float(row["report_val_low"]), 100 * float(row["report_val_high"])
    lines = [
        f"<b>trial {row['trial']}</b>",
        *_wrapped(network),
        f"report-val {100 * row['report_val_accuracy']:.1f} % (95 % over images: {low:.1f} to {high:.1f})",
        f"search-val {100 * row['search_val_accuracy']:.1f} %",
        f"{in_si(row[column] * 1e-3, 'J')} an image, convention {html.escape(report.convention)}",
        f"{row['parameters']:,} parameters, {in_si(row['spike_operations'], '').strip()} spike operations",
    ]
    if row["constraints"]:
        lines.append(f"breaks {html.escape(row['constraints'])}")
    return "<br>".join(lines)


def _wrapped(words: str, width: int = 46) -> list[str]:
    lines = [""]
    for word in words.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{word}"
    return lines


def _front_line(figure: go.Figure, report: Report, column: str) -> None:
    figure.add_scatter(
        x=_numbers(report.front[column]),
        y=_numbers(100 * report.front["search_val_accuracy"]),
        mode="lines",
        line={"shape": "hv", "color": BLUE, "width": 2},
        hoverinfo="skip",
        showlegend=False,
        name="front",
    )


def _other_front(figure: go.Figure, other: Compared, column: str, color: str) -> None:
    figure.add_scatter(
        x=_numbers(other.front[column]),
        y=_numbers(100 * other.front["search_val_accuracy"].astype(float)),
        mode="lines+markers",
        line={"shape": "hv", "color": color, "width": 1.5, "dash": "dot"},
        marker={"symbol": "square", "size": 7},
        name=html.escape(other.name),
        hovertext=[f"{html.escape(other.name)}, trial {n}" for n in other.front["trial"]],
        hoverinfo="text+x+y",
        meta="compared",
    )


def _repeats(figure: go.Figure, report: Report) -> None:
    found = report.repeats
    if found is None:
        return
    if not found.confirmed.empty:
        _means(figure, found.confirmed, "mean of more seeds, 95 %", "line-ew-open", "#222222")
    if not found.twins.empty:
        _means(figure, found.twins, "quantised twins, 95 %", "x", VERMILLION)
    for i, (trial, rows) in enumerate(found.curves.groupby("trial")):
        ordered = rows.sort_values("energy_mj")
        figure.add_scatter(
            x=_numbers(ordered["energy_mj"]),
            y=_numbers(100 * ordered["search_val_accuracy"]),
            mode="lines+markers",
            line={"color": _CYCLE[i % len(_CYCLE)], "width": 1.2, "dash": "dash"},
            marker={"size": 5},
            name="curves under spike penalties",
            hovertext=[f"trial {trial}, spike penalty {p:g}" for p in ordered["spike_penalty"]],
            hoverinfo="text+x+y",
            visible="legendonly",
            legendgroup="curves",
            showlegend=i == 0,
            meta="curve",
        )


def _means(figure: go.Figure, table: pd.DataFrame, name: str, symbol: str, color: str) -> None:
    known = table[table["seeds"] > 0]
    x, y = known["energy_mj"].to_numpy(), 100 * known["search_val_accuracy"].to_numpy()
    figure.add_scatter(
        x=_numbers(x),
        y=_numbers(y),
        error_y={"array": _numbers(100 * known["search_val_high"] - y), "thickness": 1.2, "width": 3},
        error_x={
            "array": _numbers(known["energy_high_mj"] - x),
            "arrayminus": _numbers(x - known["energy_low_mj"]),
            "thickness": 1.2,
            "width": 3,
        },
        mode="markers",
        marker={"symbol": symbol, "size": 9, "color": color, "line": {"width": 2}},
        name=name,
        hovertext=[_mean_hover(row) for row in known.to_dict("records")],
        hoverinfo="text",
        customdata=[int(n) for n in known["trial"]],
        meta="means",
    )


def _mean_hover(row: Row) -> str:
    return (
        f"trial {row['trial']}: mean of {row['seeds']} further seeds, 95 %<br>report-val {interval(row, 'report_val')}"
        f"<br>search-val {interval(row, 'search_val')}"
        f"<br>{in_si(row['energy_mj'] * 1e-3, 'J')} an image<br>{'<br>'.join(_wrapped(html.escape(row['network'])))}"
    )


def _lines(figure: go.Figure, report: Report, column: str) -> None:
    """The knee, and what the user asked for."""
    if report.knee is not None:
        (row,) = report.front[report.front["trial"] == report.knee].to_dict("records")
        x, y = math.log10(row[column]), 100 * row["search_val_accuracy"]
        figure.add_annotation(x=x, y=y, text="knee", showarrow=True, ax=-32, ay=-28)
    least, most = report.constraints.min_accuracy, report.constraints.max_energy_mj
    dashed = {"dash": "dash", "width": 1.5, "color": VERMILLION}
    if least is not None:
        figure.add_hline(y=100 * least, line=dashed, annotation_text=f"min_accuracy {least:g}")
    if most is not None:
        figure.add_vline(x=most, line=dashed, annotation_text=f"max_energy {most:g} mJ")


def trajectory(report: Report) -> Chart:
    """Hypervolume against the images that all trainings saw."""
    figure = go.Figure()
    lines = [(report.study, report.trajectory, BLUE, "solid")]
    lines += [(o.name, o.trajectory, c, "dot") for o, c in zip(report.compared, itertools.cycle(_CYCLE), strict=False)]
    for name, table, color, dash in lines:
        figure.add_scatter(
            x=_numbers(table["images"]),
            y=_numbers(table["hypervolume"]),
            mode="lines",
            line={"shape": "hv", "color": color, "dash": dash},
            name=html.escape(name),
            hovertemplate="%{x:,} images<br>hypervolume %{y:.2f}<extra></extra>",
        )
    return _chart(
        figure,
        "images seen by all trainings",
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
    figure = go.Figure()
    half = (len(fronts) + 1) // 2 - 1
    for name, i, dash in (("any", 0, "solid"), ("half", half, "dash"), ("all", len(fronts) - 1, "dot")):
        if i == half and name == "half" and len(fronts) < 3:
            continue
        values = [None if v < 0 else v for v in ordered[i].tolist()]
        figure.add_scatter(
            x=grid,
            y=values,
            mode="lines",
            line={"shape": "hv", "dash": dash, "color": BLUE},
            name=f"{name} of the studies",
        )
    _joules(figure, grid)
    return _chart(figure, "energy per image", "search-val accuracy attained (%)")


def _attained(front: pd.DataFrame, column: str, mj: float) -> float:
    below = front[front[column] <= mj]
    return 100 * float(below["search_val_accuracy"].max()) if not below.empty else math.nan


def optimism(report: Report) -> Chart:
    """Search-val against report-val: who was chosen lies below the line more than the others do."""
    complete = report.trials[report.trials["status"] == "complete"]
    figure = go.Figure()
    for name, on_front, style in (
        ("dominated", False, {"color": GREY, "size": 7, "opacity": 0.5}),
        ("front", True, {"color": BLUE, "size": 9}),
    ):
        rows = complete[complete["on_front"].astype(bool) == on_front]
        figure.add_scatter(
            x=_numbers(100 * rows["search_val_accuracy"].astype(float)),
            y=_numbers(100 * rows["report_val_accuracy"].astype(float)),
            mode="markers",
            marker=style,
            name=name,
            customdata=[int(n) for n in rows["trial"]],
            hovertemplate="trial %{customdata}<br>search-val %{x:.1f} %<br>report-val %{y:.1f} %<extra></extra>",
        )
    every = 100 * pd.concat([complete["search_val_accuracy"], complete["report_val_accuracy"]]).astype(float)
    ends = [float(every.min()), float(every.max())] if not complete.empty else [0.0, 100.0]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": GREY, "dash": "dot"}, name="equal", hoverinfo="skip"
    )
    return _chart(figure, "search-val accuracy (%), which chooses", "report-val accuracy (%)")


def importance(report: Report) -> Chart:
    """Bars by axis, for accuracy and energy."""
    figure = go.Figure()
    order = report.importance.groupby("axis")["importance"].max().sort_values().index.tolist()
    for objective, color in (("energy", ORANGE), ("accuracy", BLUE)):
        table = report.importance[report.importance["objective"] == objective].set_index("axis").reindex(order)
        value = table["importance"].to_numpy()
        figure.add_bar(
            y=[html.escape(str(axis)) for axis in order],
            x=_numbers(value),
            orientation="h",
            name=objective,
            marker={"color": color},
            error_x={
                "array": _numbers(table["high"] - value),
                "arrayminus": _numbers(value - table["low"]),
                "thickness": 1.2,
            },
            hovertemplate="%{y}: %{x:.2f}<extra>" + objective + "</extra>",
        )
    return _chart(
        figure,
        "loss of forecast when shuffled (share of variance), 95 %",
        "",
        height=90 + 46 * len(order),
        barmode="group",
    )


def effects(report: Report, axis: str) -> Chart:
    """What each choice of an axis does on average, to accuracy and to energy."""
    figure = go.Figure()
    for objective, color, side in (("accuracy", BLUE, "y"), ("energy", ORANGE, "y2")):
        rows = report.effects[(report.effects["objective"] == objective) & (report.effects["axis"] == axis)]
        factor = 1.0 if objective == "accuracy" else 1e3
        value = factor * rows["mean"].to_numpy()
        figure.add_scatter(
            x=[html.escape(choice) for choice in rows["choice"]],
            y=_numbers(value),
            yaxis=side,
            mode="lines+markers",
            name=objective,
            line={"color": color, "dash": "solid" if side == "y" else "dot"},
            marker={"symbol": "circle" if side == "y" else "square", "size": 8},
            error_y={
                "array": _numbers(factor * rows["high"] - value),
                "arrayminus": _numbers(value - factor * rows["low"]),
                "thickness": 1.2,
            },
            customdata=[int(n) for n in rows["networks"]],
            hovertemplate="%{x}: %{y:.3g}, %{customdata} networks<extra>" + objective + "</extra>",
        )
    figure.update_xaxes(type="category")
    figure.update_layout(
        yaxis2={
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "title": "energy (µJ)",
            "tickmode": "auto",
            "nticks": 5,
            "automargin": True,
        }
    )
    chart = _chart(figure, html.escape(axis), "search-val (%)", height=260, showlegend=False)
    chart["layout"]["margin"]["r"] = 56
    return chart


def rungs(report: Report) -> Chart:
    """Accuracy of each network at the rungs to which it was trained: one line for all of a kind, gaps between them."""
    figure = go.Figure()
    on_front = set(report.front["trial"])
    for name, is_front, style in (
        ("others", False, {"color": GREY, "width": 1}),
        ("front", True, {"color": BLUE, "width": 2}),
    ):
        table = report.rungs[report.rungs["last_trial"].isin(on_front) == is_front]
        x, y, numbers = _broken_lines(table)
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines+markers",
            line=style,
            marker={"size": 5 if not is_front else 7},
            opacity=0.5 if not is_front else 1.0,
            name=name,
            customdata=numbers,
            hovertemplate="trial %{customdata}<br>%{x:,} images<br>search-val %{y:.1f} %<extra></extra>",
        )
    figure.update_xaxes(type="log")
    return _chart(figure, "images that a training saw", "search-val accuracy (%)")


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


def colours(report: Report, axes: Sequence[str]) -> PlainTable:
    """For colouring the candidates by an axis: its choices, and which of them each trial has."""
    found: PlainTable = {}
    complete = report.trials[report.trials["status"] == "complete"]
    for axis in axes:
        column = complete[f"choice_{axis}"]
        choices = sorted(set(column.dropna()), key=lambda c: (isinstance(c, str), c))
        of = {int(n): choices.index(c) for n, c in zip(complete["trial"], column, strict=True) if c in choices}
        found[axis] = {"choices": [str(choice) for choice in choices], "of": of}
    return found


__all__ = [
    "Chart",
    "attainment",
    "colours",
    "effects",
    "front",
    "importance",
    "optimism",
    "rungs",
    "trajectory",
]
