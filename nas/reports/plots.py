"""The figures of the report's page for a notebook, each as a `plotly.graph_objects.Figure`.

The page names its figures beside them; here each has a title of its own. What they draw is built as `report` builds it,
and nothing is written.
"""

import base64
import html
from collections.abc import Sequence
from xml.etree import ElementTree

import plotly.graph_objects as go

from nas.costs import energy
from nas.errors import StudyError
from nas.reports import charts, drawing, front_chart
from nas.reports.contents import Report, build
from nas.reports.plotting import Chart
from nas.reports.structure import config_at
from nas.reports.symbols import BLUE, GREEN, GREY, INK, ORANGE, PURPLE
from nas.studies import Study
from nas.training import Candidate
from spikformer.config import SpikformerConfig
from spikformer.fields import nearest


def plot_front(
    study: Study, *, convention: str = "measured", unit_costs: str = "45nm_fp32", compare: Sequence[Study] = ()
) -> go.Figure:
    """All networks trained in full by energy and search-val accuracy, with the front, references and the knee.

    Args:
        convention, unit_costs: name of the energy convention, and energy per operation, as `nas.report` takes them.
        compare: studies whose fronts are drawn beside it.

    Raises:
        CostError: no such convention or preset; a record without counts.
        StudyError: a study to compare with that ranks by another energy.
    """
    report = _report(study, convention, unit_costs, compare)
    return _titled(front_chart.front(report), f"Pareto front of {study.name}")


def plot_hypervolume(
    study: Study, *, convention: str = "measured", unit_costs: str = "45nm_fp32", compare: Sequence[Study] = ()
) -> go.Figure:
    """The hypervolume of the front after each training in full, by the images that all trainings saw until then.

    Args, Raises: see `plot_front`. All studies are measured from one reference point: the one that the last search of
    `study` asked for, or else that of all that is shown.
    """
    report = _report(study, convention, unit_costs, compare)
    return _titled(charts.trajectory(report), f"Hypervolume of {study.name}")


def plot_axes(study: Study, axis: str | None = None) -> go.Figure:
    """Which axes of the space decide accuracy and energy, or what each choice on one axis does on average.

    Args:
        axis: its name; None shows the importance of all axes.

    Raises:
        StudyError: too few networks to tell, or no such axis.
    """
    report = build(study)
    if report.importance.empty:
        raise StudyError(
            f"study {study.name} does not tell which axes matter. {report.importance_basis} Continue the search"
        )
    if axis is None:
        return _titled(charts.importance(report), f"Importance of the axes of {study.name}")
    axes = charts.ranked_axes(report)
    if axis not in axes:
        raise StudyError(f'axis "{axis}" is not one that study {study.name} varied. {nearest(axis, axes)}')
    return _titled(charts.effects(report, axis), f"Effect of {axis} in {study.name}")


def plot_network(network: str | Study | Candidate | SpikformerConfig, trial: int | None = None) -> go.Figure:
    """The way of an image through a network: stem, stages, mixers, MLPs, shortcuts and head.

    Args:
        network: a study, of which `trial` names the network; a candidate; a config; a published name, a JSON file
            with a config, or an exported folder.

    Raises:
        StudyError: no such trial, or a study without one.
        ConfigError: no such network.
    """
    config, title = _network(network, trial)
    of_events = isinstance(network, Study) and network.sample == "recording"
    svg = drawing.svg(config, title, "frames" if of_events else "image")
    picture = svg.replace(">", f"><style>{_STYLE}</style>", 1)
    _, _, width, height = map(int, ElementTree.fromstring(svg).attrib["viewBox"].split())
    source = f"data:image/svg+xml;base64,{base64.b64encode(picture.encode()).decode()}"
    figure = go.Figure(layout={"template": "none", "width": 1.5 * width, "height": 1.5 * height + _TITLE_PX})
    figure.add_layout_image(source=source, xref="x", yref="y", x=0, y=0, sizex=width, sizey=height, sizing="contain")
    figure.update_xaxes(visible=False, range=[0, width])
    figure.update_yaxes(visible=False, range=[height, 0], scaleanchor="x")
    figure.update_layout(title=html.escape(title), margin={"l": 0, "r": 0, "t": _TITLE_PX, "b": 0})
    return figure


_TITLE_PX = 48  # above a figure, for its title
_TINTS = {"stem": GREEN, "mixer": BLUE, "mlp": ORANGE, "head": PURPLE}
# The page's styles of a drawing (`page.html.jinja`), in which a stylesheet of a page has no say, on white.
_STYLE = (
    f"text{{fill:{INK};font:11px sans-serif}} text.part{{font-weight:600;font-size:12px}} rect{{stroke:{GREY}}} "
    f".frame{{fill:none;stroke:{GREY};stroke-dasharray:4 4}} .edge{{fill:none;stroke:{GREY};stroke-width:1.3}} "
    + " ".join(f"rect.{kind}{{fill:{colour};fill-opacity:0.2}}" for kind, colour in _TINTS.items())
)


def _report(study: Study, convention: str, unit_costs: str, compare: Sequence[Study]) -> Report:
    return build(study, energy.convention(convention, unit_costs), compare=compare)


def _titled(chart: Chart, title: str) -> go.Figure:
    figure = go.Figure(chart)
    figure.update_layout(title=html.escape(title), margin_t=_TITLE_PX)
    return figure


def _network(network: str | Study | Candidate | SpikformerConfig, trial: int | None) -> tuple[SpikformerConfig, str]:
    """The config of a network, and what it is called."""
    if isinstance(network, Study):
        if trial is None:
            raise StudyError(f"study {network.name} has many networks. Give the number of a trial: trial=N")
        return network.candidate(trial).config, f"Trial {trial} of {network.name}"
    if isinstance(network, Candidate):
        return network.config, network.reference or network.config_id
    if isinstance(network, SpikformerConfig):
        return network, network.config_id
    return config_at(network, None), network


__all__ = ["plot_axes", "plot_front", "plot_hypervolume", "plot_network"]
