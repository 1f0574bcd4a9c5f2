"""Charts are plain tables, which plotly's own classes would make and accept."""

import plotly.graph_objects as go
import pytest

from nas.reports.plotting import Plot, joules, numbers
from nas.reports.units import unit_of

LINE = {"dash": "dash", "width": 1.5, "color": "#888888"}


def test_a_chart_is_what_plotly_makes_of_the_same() -> None:
    figure = go.Figure()
    figure.add_scatter(x=[1.0, 2.0], y=[3.0, None], mode="lines", line=LINE, name="front")
    figure.add_annotation(x=1, y=3.0, text="knee", showarrow=True, ax=-32, ay=-28)
    figure.add_hline(y=90.0, line=LINE, annotation_text="min_accuracy")
    figure.add_vline(x=0.5, line=LINE, annotation_text="max_energy")
    figure.update_layout(template="none", xaxis_title="energy", yaxis_title="accuracy", showlegend=False)
    plot = Plot()
    plot.add("scatter", x=[1.0, 2.0], y=[3.0, None], mode="lines", line=LINE, name="front")
    plot.annotate(x=1, y=3.0, text="knee", showarrow=True, ax=-32, ay=-28)
    plot.add_line("y", 90.0, LINE, "min_accuracy")
    plot.add_line("x", 0.5, LINE, "max_energy")
    chart, expected = plot.drawn("energy", "accuracy", showlegend=False), figure.to_plotly_json()
    assert chart["data"] == expected["data"]
    for name in ("annotations", "shapes", "template", "showlegend"):
        assert chart["layout"][name] == expected["layout"][name]
    for name in ("xaxis", "yaxis"):
        assert chart["layout"][name]["title"] == expected["layout"][name]["title"]
    assert go.Figure(chart).to_plotly_json() == chart


def test_plotly_refuses_an_attribute_that_it_does_not_have() -> None:
    """So that the tests which give charts to plotly's classes find such a slip."""
    plot = Plot()
    plot.add("scatter", x=[1.0], y=[1.0], sizes=3)
    with pytest.raises(ValueError, match="sizes"):
        go.Figure(plot.drawn("x", "y"))


def test_an_axis_of_energies_has_marks_in_their_unit() -> None:
    """1 and 2 mJ: the axis has values in mJ."""
    plot = Plot()
    joules(plot, [1.0, 2.0], unit_of([1.0, 2.0]))
    axis = plot.drawn("energy", "")["layout"]["xaxis"]
    assert axis["type"] == "log"
    assert dict(zip(axis["tickvals"], axis["ticktext"], strict=True))[1.0] == "1"


def test_missing_numbers_are_gaps() -> None:
    assert numbers([1, None, float("nan")]) == [1.0, None, None]
