"""Figures of the tutorial on the site: plotly.js draws them, which the site serves itself.

The notebook stores a figure as numbers, which Jupyter draws. A page has no Jupyter, so it gets a script instead.
"""

import json
from pathlib import Path

import nbformat

FIGURE = "application/vnd.plotly.v1+json"
_LIBRARY = "plotly.min.js"


def read(text: str) -> nbformat.NotebookNode:
    """A notebook as the site shows it, with HTML in place of each figure."""
    notebook = nbformat.reads(text, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    figures = [output for output in outputs if FIGURE in output.get("data", {})]
    for number, output in enumerate(figures):
        output.data = {"text/html": _html(output.data[FIGURE], number)}
    return notebook


def _html(figure: nbformat.NotebookNode, number: int) -> str:
    """A place for the figure and the script that draws it; the first one loads the library, too."""
    library = f'<script src="../_static/{_LIBRARY}"></script>' if number == 0 else ""
    parts = [json.dumps(figure[key]).replace("</", "<\\/") for key in ("data", "layout")]
    draw = f"Plotly.newPlot('figure-{number}', {', '.join(parts)}, {{responsive: true, displayModeBar: false}})"
    return f'{library}<div id="figure-{number}"></div><script>{draw}</script>'


def add_library(site: Path) -> None:
    """Write plotly.js, as the installed package brings it, where the pages look for it."""
    from plotly.offline import get_plotlyjs

    (site / "_static" / _LIBRARY).write_text(get_plotlyjs(), encoding="utf-8")


__all__ = ["FIGURE", "add_library", "read"]
