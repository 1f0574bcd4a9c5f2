"""What all charts of the page share: a frame, and traces, as plain JSON that plotly.js draws.

plotly's own classes check each of their values again and again, half a second for a page; a test holds the charts to
what these classes accept.
"""

import math
from collections.abc import Iterable, Sequence

from nas.reports.units import EnergyUnit, marks_of
from spikformer.fields import PlainTable

Chart = PlainTable


class Plot:
    """A chart that is being made: traces, and a layout.

    Attributes:
        traces: tables of plotly.js, the first drawn below the others.
        layout: table of plotly.js.
    """

    def __init__(self) -> None:
        self.traces: list[PlainTable] = []
        self.layout: PlainTable = {}

    def add(self, kind: str, **attributes: object) -> None:
        """Add a trace of a kind, such as "scatter"; attributes are those that plotly.js has for it."""
        self.traces.append({**_sorted(attributes), "type": kind})

    def update_axis(self, name: str, **attributes: object) -> None:
        """Set attributes of an axis, such as "xaxis"."""
        self.layout[name] = self.layout.get(name, {}) | attributes

    def annotate(self, **attributes: object) -> None:
        """Write a text somewhere."""
        self.layout.setdefault("annotations", []).append(_sorted(attributes))

    def add_line(self, axis: str, value: float, line: PlainTable, text: str) -> None:
        """Draw a line through the whole chart where an axis, "x" or "y", has a value, with a text at its end."""
        other = "y" if axis == "x" else "x"
        ends = {f"{axis}0": value, f"{axis}1": value, f"{other}0": 0, f"{other}1": 1}
        references = {f"{axis}ref": axis, f"{other}ref": f"{other} domain"}
        shape = _sorted({"line": line, "type": "line"} | ends | references)
        self.layout.setdefault("shapes", []).append(shape)
        anchors = {"xanchor": "left", "yanchor": "top"} if axis == "x" else {"xanchor": "right", "yanchor": "bottom"}
        self.annotate(showarrow=False, text=text, **{axis: value, other: 1}, **anchors, **references)

    def drawn(self, x: str, y: str, height: int = 430, **layout: object) -> Chart:
        """The chart, whose axes have the titles `x` and `y`; `layout` has further attributes of plotly.js's layout."""
        frame: PlainTable = {
            "margin": {"l": 56, "r": 12, "t": 12, "b": 48},
            "legend": {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
            "hoverlabel": {"align": "left"},
        }
        whole: PlainTable = {"template": _TEMPLATE} | self.layout | frame
        for name, title in (("xaxis", x), ("yaxis", y)):
            whole[name] = whole.get(name, {}) | {"title": {"text": title}}
        for name in whole:
            if name.startswith(("xaxis", "yaxis")):
                whole[name] = whole[name] | {"automargin": True, "zeroline": False}
        return {"data": self.traces, "layout": whole | {"height": height, "hovermode": "closest"} | layout}


_TEMPLATE = {"data": {"scatter": [{"type": "scatter"}]}}  # plotly's "none": no template, also not that of a notebook


def _sorted(attributes: PlainTable) -> PlainTable:
    """In the order in which plotly's classes have them."""
    return {n: _sorted(v) if isinstance(v, dict) else v for n, v in sorted(attributes.items())}


def numbers(values: Iterable[float | None]) -> list[float | None]:
    """Plain numbers: plotly packs arrays into bytes, which nobody can read in the page."""
    return [None if value is None or math.isnan(value) else float(value) for value in values]


def joules(plot: Plot, energies_mj: Sequence[float], unit: EnergyUnit) -> None:
    """A logarithmic axis whose values are millijoules, and whose marks are written in `unit`."""
    marks = marks_of(energies_mj)
    plot.update_axis("xaxis", type="log", tickvals=marks, ticktext=[unit.number(mj) for mj in marks])


__all__ = [
    "Chart",
    "Plot",
    "joules",
    "numbers",
]
