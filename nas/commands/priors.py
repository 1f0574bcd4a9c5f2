"""Studies and tables that a search begins with, by the names that the command line gives them."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nas.studies import Study
    from nas.tables import Table

OPTION = click.option(
    "--warm-start",
    multiple=True,
    metavar="TABLE|STUDY",
    help="Let the searcher know, from the beginning, the networks of this table file, or of this study: a name in the "
    "same --results-dir or --storage, or a folder. They are no results of the new study. Repeatable.",
)


def loaded(names: Sequence[str], storage: str | None, results_dir: str) -> "list[Study | Table]":
    """
    Raises:
        TableError: a file is missing, damaged or no table.
        StudyError: no such study.
    """
    return [_loaded(name, storage, results_dir) for name in names]


def _loaded(name: str, storage: str | None, results_dir: str) -> "Study | Table":
    if re.search(r"\.safetensors(\.gz)?$", name) or os.path.isfile(name):  # noqa: PTH113 - a Path raises if too long
        from nas import tables

        return tables.load(name)
    import nas

    if re.search(r"[/\\]", name):
        return nas.load_study(Path(name).name, results_dir=Path(name).parent)
    return nas.load_study(name, storage=storage, results_dir=results_dir)


__all__ = ["OPTION", "loaded"]
