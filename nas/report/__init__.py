"""Reports of studies: the one door to pandas, matplotlib and plotly.

    contents.py  a study -> Report: tables and sentences
    rows.py      its tables; axes.py which axis matters; repeats.py what more seeds say
    findings.py  its sentences; methods.py how the figures came about, and the checklist
    page.py      report.html, with charts.py (plotly), drawing.py (networks as SVG) and page.html.jinja
    figure.py    front.png, .svg, .pdf (matplotlib); texts.py report.md, front.tex
    evaluated.py what `evaluate` measured at several time steps and sizes (matplotlib)
    proxies.py   what `validate-proxy` found

All of it is derived: it can be deleted and written again from the study's storage.
"""

from nas.report.contents import Report, build
from nas.report.page import write

__all__ = ["Report", "build", "write"]
