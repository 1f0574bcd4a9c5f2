"""Results as tables of a terminal. Rich is imported when the first table is made."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from nas.costs.contract import Check
    from nas.full_training.evaluation import Evaluation
    from nas.spaces.space import SearchSpace
    from nas.studies.status import Overview, Work

_ALIVE = {True: "yes", False: "no", None: "not known here"}


def console() -> "Console":
    """Where tables are printed; a file or a pipe has no width of its own."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160)


def studies(rows: Iterable["Overview"]) -> "Table":
    """A row for each study."""
    headings = ("study", "evaluated", "fully", "on the front", "hypervolume", "running", "last change", "")
    table = _table(headings)
    for row in rows:
        volume = f"{row.hypervolume:.3g}" if row.hypervolume is not None else ""
        counts = (row.evaluated, row.fully, row.front, volume, row.running)
        _add(table, row.name, *counts, _moment(row.changed), row.trouble)
    return table


def trainings(rows: Iterable["Work"]) -> "Table":
    """A row for each training that runs, and for each search that begins."""
    headings = ("trial", "rung", "attempt", "network", "host", "process", "since", "last beat", "lives")
    table = _table(headings)
    for row in rows:
        host, process = (row.owner.host, row.owner.pid) if row.owner is not None else ("", "")
        heartbeat = f"{row.heartbeat_s:.0f} s ago" if row.heartbeat_s is not None else ""
        trial = "" if row.trial is None else row.trial
        cells = (trial, row.rung, row.attempt, row.network, host, process)
        _add(table, *cells, _moment(row.since), heartbeat, _ALIVE[row.alive])
    return table


def evaluations(rows: Sequence["Evaluation"]) -> "Table":
    """A row for each network on test images; of several networks of one shape also mean and deviation."""
    from nas.training import in_si

    headings = ("network", "T", "pixels", "top-1", "top-5", "balanced", "images")
    table = _table((*headings, f"energy, {rows[0].convention}", "spike operations", "parameters"))
    for row in rows:
        costs = ("silent", "")
        if row.energy_mj is not None and row.spike_operations is not None:
            costs = (in_si(row.energy_mj * 1e-3, "J"), in_si(row.spike_operations, ""))
        shares = [f"{100 * share:.2f} %" for share in (row.scores.top1, row.scores.top5, row.scores.balanced)]
        images = f"{row.scores.images:,} of {row.part}"
        _add(table, row.name, *_form(row), *shares, images, *costs, f"{row.parameters:,}")
    if len({_form(row) for row in rows}) == 1 < len(rows):
        _add(table, "mean +- standard deviation", "", "", *_means(rows), "", "", "", "")
    return table


def _form(row: "Evaluation") -> tuple[int, int]:
    return row.config.time_steps, row.config.stem.image_size


def _means(rows: Sequence["Evaluation"]) -> list[str]:
    from nas.full_training import mean_and_deviation

    scores = [(row.scores.top1, row.scores.top5, row.scores.balanced) for row in rows]
    columns = [mean_and_deviation([100 * share for share in column]) for column in zip(*scores, strict=True)]
    return [f"{mean:.2f} +- {deviation:.2f} %" for mean, deviation in columns]  # pyrefly: ignore[invalid-format-spec]


def spaces(rows: Iterable["SearchSpace"]) -> "Table":
    """A row for each search space."""
    table = _table(("name", "networks", "data", "epochs", "axes", "references"), right=("networks", "epochs"))
    table.title, table.title_justify = "Search spaces", "left"
    sizes: dict[str, tuple[int, bool]] = {}  # of the networks: counting takes seconds, and some spaces have the same
    for row in rows:
        networks = json.dumps(row.identity()["space"])
        sizes[networks] = sizes.get(networks) or row.size()
        size, exact = sizes[networks]
        axes = ", ".join(f"{axis.name} ({len(axis.choices)})" for axis in row.axes)
        count = f"{size:,}" if exact else f"up to {size:,}"
        _add(table, row.name, count, row.data.dataset, row.recipe.epochs, axes, len(row.references))
    return table


_NOT_SHOWN = (
    *("share", "seeds", "real_macs", "images_seen", "seconds"),
    *(f"memory_{term}_mj" for term in ("inputs", "weights", "biases", "potentials", "outputs", "addressing")),
)
"""Columns of a table of trained networks that only `--json` and `--csv` have: a line of a terminal is short."""


def rows(listed: Sequence[Mapping[str, object]]) -> "Table":
    """A row for each network of a table of trained networks; ids are never broken."""
    headings = [name for name in dict.fromkeys(name for row in listed for name in row) if name not in _NOT_SHOWN]
    table = _table([heading.replace("_", " ") for heading in headings])
    table.columns[0].no_wrap = True
    table.title, table.title_justify = f"share {listed[0]['share']}, seeds {listed[0]['seeds']}", "left"
    for row in listed:
        _add(table, *(_cell(heading, row.get(heading)) for heading in headings))
    return table


def _cell(heading: str, value: object) -> str:
    if value is None:
        return ""
    if heading.endswith("accuracy") and isinstance(value, float):
        return f"{100 * value:.1f} %"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def promises(block: str, rows: Iterable["Check"]) -> "Table":
    """A row for each promise that a custom block keeps or breaks."""
    table = _table(("promise", "network", "", "seen"))
    table.title, table.title_justify = block, "left"
    for row in rows:
        _add(table, row.name, row.network, "kept" if row.passed else "BROKEN", row.detail)
    return table


def _table(headings: Iterable[str], right: Sequence[str] = ()) -> "Table":
    from rich.table import Table

    table = Table()
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left")
    return table


def _add(table: "Table", *cells: object) -> None:
    from rich.text import Text

    table.add_row(*(Text(str(cell)) for cell in cells))


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment is not None else ""


__all__ = ["console", "evaluations", "promises", "rows", "spaces", "studies", "trainings"]
