"""The report as files: one page that opens anywhere, and the tables that all its figures stand in."""

import json
import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from nas import files
from nas.costs import MEASURED
from nas.reports import charts, drawing, figure, findings, front_chart, glossary, repeats, texts, units
from nas.reports.contents import Member, Report
from nas.reports.plotting import Chart
from nas.studies import constraints
from nas.training import in_si

_TERMS = ("report-val", "search-val", "front", "dominated", "knee", "reference", "spike operations", "hypervolume")
_ONLY_WITH = {
    "confirmed": "confirmed.csv",
    "repeats": "repeats.csv",
    "curves": "curves.csv",
    "twins": "twins.csv",
}


def write(
    report: Report, folder: Path, *, latex: bool = False, options: Sequence[str] = (), program: str = "python -m nas"
) -> list[Path]:
    """Write the report into the study's folder; each file appears whole.

    Args:
        latex: also the front as a LaTeX table.
        options: of the commands that the page shows, beside --study and --pick.
        program: by which commands are called.

    Returns:
        The page first.
    """

    def place(name: str) -> Path:
        return folder / _file(report, name)

    pages = {"report.html": html(report, options, program)}
    pages["report.md"] = texts.markdown(report, _file(report, "front.png"))
    if latex:
        pages["front.tex"] = texts.latex(report)
    written = [_written(place(name), text) for name, text in pages.items()]
    drawn = figure.figure(report)
    for kind in ("png", "svg", "pdf"):
        written.append(files.write(place(f"front.{kind}"), lambda partial: figure.save(drawn, partial)))
    there = tables(report)
    written += [_written(place(name), table.to_csv(index=False)) for name, table in there.items()]
    for name in {*_ONLY_WITH.values(), "compared.csv"} - there.keys():  # of an earlier report, whose page is gone
        place(name).unlink(missing_ok=True)
    return written


def _written(path: Path, text: str) -> Path:
    return files.write(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def _file(report: Report, name: str) -> str:
    """A report under another convention leaves that of the search alone."""
    if report.convention == MEASURED.label:
        return name
    stem, _, suffix = name.partition(".")
    return f"{stem}-{re.sub(r'[^A-Za-z0-9.+_-]+', '_', report.convention)}.{suffix}"


def tables(report: Report) -> dict[str, pd.DataFrame]:
    """File name -> table: every figure of the page stands in one of them."""
    by_file = {
        "trials.csv": report.trials,
        "front.csv": report.front,
        "layers.csv": layers(report.members),
        "rungs.csv": report.rungs,
        "hypervolume.csv": report.trajectory,
        "statuses.csv": report.statuses,
        "importance.csv": report.importance,
        "effects.csv": report.effects,
    }
    again = report.repeats
    if again is not None:
        more = {"confirmed": again.confirmed, "repeats": again.runs, "curves": again.curves, "twins": again.twins}
        by_file |= {_ONLY_WITH[name]: table for name, table in more.items() if not table.empty}
    if report.compared:
        fronts = [other.front.assign(study=other.name) for other in report.compared]
        by_file["compared.csv"] = pd.concat(fronts, ignore_index=True)
    return by_file


def layers(members: Sequence[Member]) -> pd.DataFrame:
    """A row a layer of each front member: `spikes` a number that it is fed, `energy_share` of its network's."""
    rows = []
    for member in members:
        whole = sum(layer["energy_mj"] for layer in member.costs.layers)
        for layer in member.costs.layers:
            share = layer["energy_mj"] / whole if whole else 0.0
            figures = (layer["mean"], layer["accumulates"], layer["macs"], layer["energy_mj"], share)
            rows.append((member.trial, layer["path"], layer["fed"], *figures))
    columns = ["trial", "layer", "fed", "spikes", "accumulates", "macs", "energy_mj", "energy_share"]
    return pd.DataFrame(rows, columns=columns)


def html(report: Report, options: Sequence[str] = (), program: str = "python -m nas") -> str:
    """The page, whole: styles, script, plotly.js and all figures are in it."""
    loader = jinja2.PackageLoader("nas.reports", ".")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"percent": _percent, "joules": _joules, "si": _si, "raw_number": _raw}
    table = layers(report.members)
    shown = report.trials[report.trials["status"] == "complete"]
    terms = [*_TERMS, *(["limit"] if constraints.in_words(report.constraints) else [])]
    choices = [str(column) for column in shown.columns if column.startswith("choice_") and shown[column].nunique() > 1]
    axes = [column.removeprefix("choice_") for column in choices]
    drawn = _charts(report)
    return environment.get_template("page.html.jinja").render(
        report=report,
        front=report.front.to_dict("records"),
        statuses=report.statuses.to_dict("records"),
        confirmed=_records(report.repeats, "confirmed"),
        twins=_records(report.repeats, "twins"),
        curves=_records(report.repeats, "curves"),
        means=report.means,
        interval=repeats.interval,
        energy_interval=repeats.energy_interval,
        shorthand=glossary.shorthand(shown),
        terms=glossary.terms(terms),
        endings=glossary.statuses(report.statuses),
        points_drawn=findings.drawn(report.trials, report.energy),
        unit=report.unit,
        unit_of=_unit_of,
        asked=constraints.in_words(report.constraints),
        whose="energy" if report.energy == "energy_mj" else "energy on ImageNet",
        members=[
            {
                "trial": member.trial,
                "row": report.front.set_index("trial").loc[member.trial].to_dict(),
                "drawing": Markup(drawing.svg(member.config, f"network of trial {member.trial}")),
                "layers": table[table["trial"] == member.trial].to_dict("records"),
                "silent": member.silent_layers,
                "export": _command(program, "export", report.study, options, "--pick", str(member.trial)),
            }
            for member in report.members
        ],
        commands={name: _command(program, name, report.study, options) for name in ("confirm", "export")},
        axes=axes,
        effect_axes=[name for name in drawn if name.startswith("effect:")],
        has=set(drawn),
        data=_script_safe({"charts": drawn, "colours": charts.colours(report, axes)}),
        plotly=Markup(get_plotlyjs().replace("</script", r"<\/script")),
    )


def _charts(report: Report) -> dict[str, Chart]:
    by_name = {"front": front_chart.front(report)}
    if not report.trajectory.empty:
        by_name["trajectory"] = charts.trajectory(report)
    attained = charts.attainment(report)
    if attained is not None:
        by_name["attainment"] = attained
    if (report.trials["status"] == "complete").any():
        by_name["optimism"] = charts.optimism(report)
    if not report.importance.empty:
        by_name["importance"] = charts.importance(report)
        by_name |= {f"effect:{axis}": charts.effects(report, axis) for axis in charts.ranked_axes(report)}
    if report.rungs["rung"].nunique() > 1:
        by_name["rungs"] = charts.rungs(report)
    return by_name


def _records(again: repeats.Repeats | None, name: str) -> list[repeats.Row]:
    return getattr(again, name).to_dict("records") if again is not None else []


def _command(program: str, name: str, study: str, options: Sequence[str], *more: str) -> str:
    return f"{program} {name} {shlex.join(['--study', study, *more, *options])}"


def _script_safe(value: object) -> Markup:
    """JSON that no name in it can leave: `<` would end the script."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return Markup(text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026"))


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %" if not _missing(share) else "no result"


def _joules(mj: float, unit: units.EnergyUnit) -> str:
    return "no result" if _missing(mj) else unit.text(mj)


def _unit_of(rows: Sequence[repeats.Row], *columns: str) -> units.EnergyUnit:
    """The unit of a table: of all energies in it."""
    return units.unit_of(row[column] for column in columns for row in rows)


def _si(value: float) -> str:
    return "" if _missing(value) else in_si(value, "").strip() if value else "0"


def _raw(value: object) -> str:
    """As the CSV has it."""
    return "" if _missing(value) else repr(float(value)) if isinstance(value, float) else str(value)


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


__all__ = ["html", "layers", "tables", "write"]
