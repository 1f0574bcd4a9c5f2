"""What all charts of the page share: a frame, and values as plain JSON that plotly.js draws."""

import math
from collections.abc import Iterable, Sequence

import plotly.graph_objects as go

from nas.reports.units import EnergyUnit, marks_of
from spikformer.fields import PlainTable

Chart = PlainTable


def drawn(figure: go.Figure, x: str, y: str, height: int = 430, **layout: object) -> Chart:
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
    chart: Chart = figure.to_plotly_json()
    return chart


def numbers(values: Iterable[float | None]) -> list[float | None]:
    """Plain numbers: plotly packs arrays into bytes, which nobody can read in the page."""
    return [None if value is None or math.isnan(value) else float(value) for value in values]


def joules(figure: go.Figure, energies_mj: Sequence[float], unit: EnergyUnit) -> None:
    """A logarithmic axis whose values are millijoules, and whose marks are written in `unit`."""
    marks = marks_of(energies_mj)
    figure.update_xaxes(type="log", tickvals=marks, ticktext=[unit.number(mj) for mj in marks])


__all__ = [
    "Chart",
    "drawn",
    "joules",
    "numbers",
]
