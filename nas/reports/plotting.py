"""What all charts of the page share: colours, a frame, and values as plain JSON that plotly.js draws."""

import math
from collections.abc import Iterable, Sequence

import plotly.graph_objects as go

from nas.progress import in_si
from spikformer.fields import PlainTable

# Okabe & Ito's colours, which most kinds of colour vision tell apart; shapes say the same again.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    "#8a94a0",
)
CYCLE = (PURPLE, ORANGE, GREEN, SKY, VERMILLION)
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


def joules(figure: go.Figure, energies_mj: Sequence[float]) -> None:
    """A logarithmic axis in millijoules, written in the prefix that suits."""
    low, high = min(energies_mj, default=1.0), max(energies_mj, default=1.0)
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    steps = (1, 2, 5) if high < 1e3 * low else (1,)
    marks = [step * 10.0**decade for decade in decades for step in steps]
    figure.update_xaxes(type="log", tickvals=marks, ticktext=[in_si(mj * 1e-3, "J") for mj in marks])


__all__ = [
    "BLUE",
    "CYCLE",
    "GREEN",
    "GREY",
    "ORANGE",
    "VERMILLION",
    "Chart",
    "drawn",
    "joules",
    "numbers",
]
