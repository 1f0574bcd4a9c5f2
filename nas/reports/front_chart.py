"""The chart of the front: all candidates, the front, references, repeats, the knee and the limits."""

import html
import itertools
import math
from collections.abc import Mapping

import pandas as pd

from nas.reports.contents import Compared, Report
from nas.reports.plotting import Chart, Plot, joules, numbers
from nas.reports.repeats import Row, interval
from nas.reports.symbols import COMPARED, DIM, DOMINATED, FRONT, LIMIT, MEANS, REFERENCE, REFERENCES, TWINS
from nas.training import in_si, ranking

_NUMBERED = 12  # more trial numbers than this would hide each other


def front(report: Report) -> Chart:
    """All candidates trained in full, the front, references by name, repeats, the knee and the limits."""
    column, whose = report.energy, ranking.axis_of(report.energy)
    complete = report.trials[(report.trials["status"] == "complete") & report.trials[column].notna()]
    plot = Plot()
    dominated = complete[~complete["on_front"].astype(bool) & (complete["reference"] == "")]
    _points(plot, dominated, column, report, "dominated", {"color": DOMINATED, "size": 8, "opacity": DIM})
    for other, color in zip(report.compared, itertools.cycle(COMPARED), strict=False):
        _other_front(plot, other, column, color)
    if not report.front.empty:
        _front_line(plot, report, column)
        _points(plot, report.front, column, report, "front", {"color": FRONT, "size": 10})
        _numbers(plot, report, column)
    named = complete[complete["reference"] != ""]
    for (_, row), (symbol, _) in zip(named.iterrows(), itertools.cycle(REFERENCES), strict=False):
        style = {"color": REFERENCE, "size": 13, "symbol": symbol, "line": {"width": 2}}
        _points(plot, row.to_frame().T, column, report, html.escape(row["reference"]), style)
    _repeats(plot, report)
    _lines(plot, report, column)
    joules(plot, [mj for mj in complete[column] if mj > 0], report.unit)
    return plot.drawn(
        f"{whose} per {report.sample} ({report.unit.name}), convention {html.escape(report.convention)}",
        "search-val accuracy (%), by which the search ranks",
        height=520,
    )


def _points(
    plot: Plot, table: pd.DataFrame, column: str, report: Report, name: str, marker: Mapping[str, object]
) -> None:
    if table.empty:
        return
    plot.add(
        "scatter",
        x=numbers(table[column]),
        y=numbers(100 * table["search_val_accuracy"].astype(float)),
        mode="markers",
        name=name,
        marker=marker,
        customdata=[int(n) for n in table["trial"]],
        hovertext=[_hover(row, column, report) for row in table.to_dict("records")],
        hoverinfo="text",
        meta="candidates",
    )


def _numbers(plot: Plot, report: Report, column: str) -> None:
    """Trial numbers beside the front's points, where there are few enough to be read."""
    front = report.front
    if len(front) > _NUMBERED:
        return
    plot.add(
        "scatter",
        x=numbers(front[column]),
        y=numbers(100 * front["search_val_accuracy"].astype(float)),
        mode="text",
        text=[f" trial {n} " for n in front["trial"]],
        textposition=["top right"] * (len(front) - 1) + ["top left"],  # the last may stand at the edge
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
        name="trial numbers",
    )


def _hover(row: Row, column: str, report: Report) -> str:
    """In words: what it is, how good with its interval, what it costs."""
    network = html.escape(str(row["network"]))
    low, high = 100 * float(row["report_val_low"]), 100 * float(row["report_val_high"])
    lines = [
        f"<b>trial {row['trial']}</b>",
        *_wrapped(network),
        f"report-val {100 * row['report_val_accuracy']:.1f} % (95 % over {report.sample}s: {low:.1f} to {high:.1f})",
        f"search-val {100 * row['search_val_accuracy']:.1f} %",
        f"{report.unit.text(row[column])} per {report.sample}, convention {html.escape(report.convention)}",
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


def _front_line(plot: Plot, report: Report, column: str) -> None:
    plot.add(
        "scatter",
        x=numbers(report.front[column]),
        y=numbers(100 * report.front["search_val_accuracy"]),
        mode="lines",
        line={"shape": "hv", "color": FRONT, "width": 2},
        hoverinfo="skip",
        showlegend=False,
        name="front",
    )


def _other_front(plot: Plot, other: Compared, column: str, color: str) -> None:
    plot.add(
        "scatter",
        x=numbers(other.front[column]),
        y=numbers(100 * other.front["search_val_accuracy"].astype(float)),
        mode="lines+markers",
        line={"shape": "hv", "color": color, "width": 1.5, "dash": "dot"},
        marker={"symbol": "square", "size": 7},
        name=html.escape(other.name),
        hovertext=[f"{html.escape(other.name)}, trial {n}" for n in other.front["trial"]],
        hoverinfo="text+x+y",
        meta="compared",
    )


def _repeats(plot: Plot, report: Report) -> None:
    repeats = report.repeats
    if repeats is None:
        return
    if not repeats.confirmed.empty:
        _ties(plot, repeats.confirmed, report)
        _means(plot, repeats.confirmed, "mean of more seeds, 95 %", "line-ew-open", MEANS, report)
    if not repeats.twins.empty:
        _means(plot, repeats.twins, "quantised counterparts, 95 %", "x", TWINS, report)
    for i, (trial, rows) in enumerate(repeats.curves.groupby("trial")):
        ordered = rows.sort_values("energy_mj")
        plot.add(
            "scatter",
            x=numbers(ordered["energy_mj"]),
            y=numbers(100 * ordered["search_val_accuracy"]),
            mode="lines+markers",
            line={"color": COMPARED[i % len(COMPARED)], "width": 1.2, "dash": "dash"},
            marker={"size": 5},
            name="curves under spike penalties",
            hovertext=[f"trial {trial}, spike penalty {p:g}" for p in ordered["spike_penalty"]],
            hoverinfo="text+x+y",
            visible="legendonly",
            legendgroup="curves",
            showlegend=i == 0,
            meta="curve",
        )


def _ties(plot: Plot, confirmed: pd.DataFrame, report: Report) -> None:
    """A thin line from each network, as the search trained it, to its mean over further seeds."""
    own = report.trials.set_index("trial")
    known = confirmed[(confirmed["seeds"] > 0) & confirmed["trial"].isin(own.index)]
    x: list[float | None] = []
    y: list[float | None] = []
    for row in known.to_dict("records"):
        network = own.loc[row["trial"]]
        x += [float(network[report.energy]), float(row["energy_mj"]), None]
        y += [100 * float(network["search_val_accuracy"]), 100 * float(row["search_val_accuracy"]), None]
    line = {"color": MEANS, "width": 1, "dash": "dot"}
    plot.add("scatter", x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False, name="to its mean")


def _means(plot: Plot, table: pd.DataFrame, name: str, symbol: str, color: str, report: Report) -> None:
    known = table[table["seeds"] > 0]
    x, y = known["energy_mj"].to_numpy(), 100 * known["search_val_accuracy"].to_numpy()
    plot.add(
        "scatter",
        x=numbers(x),
        y=numbers(y),
        error_y={
            "array": numbers(100 * known["search_val_high"] - y),
            "arrayminus": numbers(y - 100 * known["search_val_low"]),
            "thickness": 1.2,
            "width": 3,
        },
        error_x={
            "array": numbers(known["energy_high_mj"] - x),
            "arrayminus": numbers(x - known["energy_low_mj"]),
            "thickness": 1.2,
            "width": 3,
        },
        mode="markers",
        marker={"symbol": symbol, "size": 9, "color": color, "line": {"width": 2}},
        name=name,
        hovertext=[_mean_hover(row, report) for row in known.to_dict("records")],
        hoverinfo="text",
        customdata=[int(n) for n in known["trial"]],
        meta="means",
    )


def _mean_hover(row: Row, report: Report) -> str:
    return (
        f"trial {row['trial']}: mean of {row['seeds']} further seeds, 95 %<br>report-val {interval(row, 'report_val')}"
        f"<br>search-val {interval(row, 'search_val')}"
        f"<br>{report.unit.text(row['energy_mj'])} per {report.sample}<br>"
        f"{'<br>'.join(_wrapped(html.escape(row['network'])))}"
    )


def _lines(plot: Plot, report: Report, column: str) -> None:
    """The knee, and what the user asked for."""
    if report.knee is not None:
        (row,) = report.front[report.front["trial"] == report.knee].to_dict("records")
        x, y = math.log10(row[column]), 100 * row["search_val_accuracy"]
        plot.annotate(x=x, y=y, text="knee", showarrow=True, ax=-32, ay=-28)
    least, most = report.constraints.min_accuracy, report.constraints.max_energy_mj
    dashed = {"dash": "dash", "width": 1.5, "color": LIMIT}
    if least is not None:
        plot.add_line("y", 100 * least, dashed, f"min_accuracy {least:g}")
    if most is not None:
        plot.add_line("x", most, dashed, f"max_energy {report.unit.text(most)}")


__all__ = ["front"]
