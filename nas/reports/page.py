"""The report as files: one page that opens anywhere, and the tables that all its figures stand in."""

import functools
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from nas import files
from nas.costs import MEASURED
from nas.reports import charts, drawing, figure, findings, frames, front_chart, glossary, repeats, texts, units
from nas.reports.contents import Member, Report
from nas.reports.plotting import Chart
from nas.reports.summary import command, summary
from nas.studies import constraints
from nas.training import in_si, ranking
from spikformer.fields import PlainTable

_TABLE = {
    **{"report_val": "report_val_accuracy", "low": "report_val_low", "high": "report_val_high"},
    **{"search_val": "search_val_accuracy", "balanced": "report_val_balanced", "spike_operations": "spike_operations"},
}
"""Columns of the page's table of networks, and those of `trials.csv`."""
_QUOTED = ("report_val_accuracy", "report_val_low", "report_val_high")
_FIGURES = {
    "front": (figure.ONE_COLUMN, ("png", "svg", "pdf")),
    "front-wide": (figure.TWO_COLUMNS, ("svg", "pdf")),  # for papers alone; report.md shows the other
}
_SCRIPTS = ("charts.js", "table.js", "words.js")
_ONLY_WITH = {
    "confirmed": "confirmed.csv",
    "repeats": "repeats.csv",
    "curves": "curves.csv",
    "twins": "twins.csv",
    "activity": "activity.csv",
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
    pages["report.md"] = texts.markdown(report, options, program, _file(report, "front.png"))
    if latex:
        pages["front.tex"] = texts.latex(report)
    written = [_written(place(name), text) for name, text in pages.items()]
    for name, (width, kinds) in _FIGURES.items():
        save = functools.partial(figure.save, figure.figure(report, width))
        written += [files.write(place(f"{name}.{kind}"), save) for kind in kinds]
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
    firing = activity(report.members)
    if not firing.empty:
        by_file[_ONLY_WITH["activity"]] = firing
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


def activity(members: Sequence[Member]) -> pd.DataFrame:
    """A row a neuron layer and time step of each front member: spikes over all images, and neurons times images."""
    rows = [
        (member.trial, path, step + 1, spikes, layer.neurons, spikes / layer.neurons)
        for member in members
        for path, layer in member.activity.items()
        for step, spikes in enumerate(layer.spikes)
    ]
    return pd.DataFrame(rows, columns=["trial", "layer", "time_step", "spikes", "neurons", "firing_rate"])


def networks(report: Report) -> PlainTable:
    """What the page's table sorts and filters: by column, of every network trained in full, to six digits."""
    shown = report.trials[report.trials["status"] == "complete"]
    if shown.empty:  # of a study without any candidate even the columns are missing
        return {"trial": []}
    for trial, mean in report.means.items():
        own = shown["trial"] == trial
        shown = shown.assign(**{name: shown[name].mask(own, mean[name]) for name in _QUOTED})
        shown = shown.assign(**{report.energy: shown[report.energy].mask(own, mean["energy_mj"])})
    energies = (shown[report.energy].astype(float) / report.unit.mj).to_numpy()
    columns: PlainTable = {name: shown[name].tolist() for name in ("trial", "network", "description", "parameters")}
    columns |= {name: _six_digits(shown[column]) for name, column in _TABLE.items()}
    on_front = shown["on_front"].astype(int).tolist()
    return columns | {"energy": _six_digits(energies), "unit": report.unit.name, "on_front": on_front}


def _six_digits(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None or _missing(value) else float(f"{value:.6g}") for value in values]


def html(report: Report, options: Sequence[str] = (), program: str = "python -m nas") -> str:
    """The page, whole: styles, script, plotly.js and all figures are in it."""
    loader = jinja2.PackageLoader("nas.reports", ".")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters.update({"percent": _percent, "joules": _joules, "si": _si, "raw_number": _raw})
    table, first = layers(report.members), summary(report, options, program)
    rows: dict[int, repeats.Row] = {row["trial"]: row for row in report.front.to_dict("records")}
    export = command(program, "export", report.study, options)
    shown = report.trials[report.trials["status"] == "complete"]
    choices = [str(column) for column in shown.columns if column.startswith("choice_") and shown[column].nunique() > 1]
    axes = [column.removeprefix("choice_") for column in choices]
    by_axis, drawn = charts.colours(report, axes), _charts(report)
    return environment.get_template("page.html.jinja").render(
        report=report,
        summary=first,
        front=report.front.to_dict("records"),
        statuses=report.statuses.to_dict("records"),
        confirmed=_records(report.repeats, "confirmed"),
        twins=_records(report.repeats, "twins"),
        curves=_records(report.repeats, "curves"),
        means=report.means,
        interval=repeats.interval,
        energy_interval=repeats.energy_interval,
        shorthand=glossary.shorthand(shown, report.sample),
        glossary=glossary.entries(report.sample),
        preview=[(shown.label, Markup(frames.svg(shown))) for shown in report.preview],
        preview_words=frames.in_words(report.preview[0]) if report.preview else "",
        points_drawn=findings.drawn(report.trials, report.energy, report.sample),
        unit=report.unit,
        unit_of=_unit_of,
        asked=constraints.in_words(report.constraints),
        whose=ranking.words_of(report.energy),
        members=[
            {
                "trial": member.trial,
                "row": rows[member.trial],
                "quoted": report.quoted(rows[member.trial]),
                "drawing": Markup(drawing.svg(member.config, f"network of trial {member.trial}", report.fed)),
                "layers": table[table["trial"] == member.trial].to_dict("records"),
                "silent": member.silent_layers,
                "export": command(program, "export", report.study, options, "--pick", str(member.trial)),
            }
            for member in report.members
        ],
        commands=list(dict.fromkeys([first.command or command(program, "report", report.study, options), export])),
        axes=by_axis,
        effect_axes=[name for name in drawn if name.startswith("effect:")],
        has=set(drawn),
        firing=[member.trial for member in report.members if member.activity],
        data=_script_safe({"charts": drawn, "colours": by_axis, "networks": networks(report)}),
        style=Markup(_asset("page.css")),
        script=Markup("\n".join(map(_asset, _SCRIPTS))),
        plotly=Markup(get_plotlyjs().replace("</script", r"<\/script")),
    )


def _asset(name: str) -> str:
    return (Path(__file__).parent / "assets" / name).read_text(encoding="utf-8")


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
    by_name |= {f"firing:{member.trial}": charts.firing_rates(member) for member in report.members if member.activity}
    if report.rungs["rung"].nunique() > 1:
        by_name["rungs"] = charts.rungs(report)
    return by_name


def _records(again: repeats.Repeats | None, name: str) -> list[repeats.Row]:
    return getattr(again, name).to_dict("records") if again is not None else []


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


__all__ = ["activity", "html", "layers", "networks", "tables", "write"]
