"""`report`: a study read, priced and written as page, tables and figures."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from nas.costs import chip as chips
from nas.costs import energy
from nas.costs import memory as memories
from nas.reports.contents import Report, build
from nas.reports.page import write
from nas.studies import Study


def report(
    study: Study,
    *,
    convention: str = "measured",
    unit_costs: str = "45nm_fp32",
    chip: str | None = None,
    memory: str | None = None,
    compare: Sequence[Study] = (),
    latex: bool = False,
    options: Sequence[str] = (),
    program: str = "python -m nas",
    out: str | Path | None = None,
    on_built: Callable[[Report], object] = lambda _: None,
) -> Report:
    """Write a study's report: `report.html`, tables and figures, each whole.

    Safe while a search runs. Energies are priced anew from the counts in the study's records.

    Args:
        convention: name of the energy convention (`nas.costs.energy.convention`).
        unit_costs: energy per operation: a preset, or a TOML file.
        chip: name of a model of a chip, or "package.module:function", whose energy and latency become columns.
        memory: name of a model of memory (`nas.costs.memory`), whose terms become columns; in no other figure.
        compare: studies to be drawn beside it.
        latex: also write the front as a LaTeX table.
        options, program: of the commands that the page shows.
        out: folder for all files, which is made; None is the study's own. Nothing else is written.
        on_built: called with the report before its files are written.

    Returns:
        The report; its `files` are those that were written, the page first.

    Raises:
        CostError: no such convention, preset, chip or model of memory; a record without counts.
        StudyError: a study to compare with that ranks by another energy.
        OutputError: a folder that cannot be written.
    """
    model = chips.load(chip) if chip is not None else None
    accesses = memories.load(memory) if memory is not None else None
    result = build(study, energy.convention(convention, unit_costs), model, accesses, compare=compare)
    on_built(result)
    folder = study.folder if out is None else Path(out)
    paths = write(result, folder, latex=latex, options=options, program=program)
    return dataclasses.replace(result, files=tuple(paths))


__all__ = ["report"]
