"""Reports of studies and networks: the one door to matplotlib and plotly.

contents    a study -> Report: tables and sentences
rows        its tables; axes which axis matters; repeats what more seeds say
summary     the three sentences that a page begins with
findings    its other sentences; glossary what its words mean; methods how the figures came about, and the checklist
page        report.html, with front_chart and charts (by plotting, for plotly.js), drawing (networks as SVG);
            page.html.jinja and assets are its text, style and scripts
plots       figures of the page for a notebook
figure      front.png, .svg, .pdf and front-wide.svg, .pdf (matplotlib); texts report.md, front.tex
symbols     colours and symbols of both; units one unit of energy for a table or a figure
evaluated   what `evaluate` measured at several time steps and sizes (matplotlib)
proxies     what `validate-proxy` found
description networks in words
inspection  one network: its structure, or its layer_costs
reporting   `report`: all of it at once

All of it is derived: it can be deleted and written again from the study's storage.
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.reports.contents import Report
    from nas.reports.inspection import inspect
    from nas.reports.plots import plot_axes, plot_front, plot_hypervolume, plot_network
    from nas.reports.reporting import report

__getattr__ = attributes(
    __name__,
    {
        "Report": "nas.reports.contents",
        "inspect": "nas.reports.inspection",
        "plot_axes": "nas.reports.plots",
        "plot_front": "nas.reports.plots",
        "plot_hypervolume": "nas.reports.plots",
        "plot_network": "nas.reports.plots",
        "report": "nas.reports.reporting",
    },
)

__all__ = [
    "Report",
    "evaluated",
    "inspect",
    "plot_axes",
    "plot_front",
    "plot_hypervolume",
    "plot_network",
    "proxies",
    "repeats",
    "report",
    "structure",
]
