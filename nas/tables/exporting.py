"""Files of tables out of journals, tables, parts and studies."""

import re
from collections.abc import Sequence
from pathlib import Path

from nas.errors import TableError
from nas.replicates import runs
from nas.studies import Study, load_study, trials
from nas.tables import journal, writing
from nas.tables.contents import Contents, Key, Settings, kept
from nas.tables.merging import Source, merged
from nas.tables.opening import load
from nas.training import Candidate


def export(name: str, out: str | Path | None = None, *, results_dir: str | Path = "results") -> Path:
    """Write the trainings that the journal of a table holds as one file.

    Args:
        out: folder of the file; by default that of the journal.

    Returns:
        The file, whose name has the first 16 hex digits of its SHA-256.

    Raises:
        TableError: no such table, or no training in it.
        OutputError: the folder cannot be written.
    """
    contents = journal.existing(name, results_dir).contents()
    return writing.save(Path(out) if out is not None else journal.folder_of(results_dir, name), name, contents)


def merge(out: str | Path, sources: Sequence[str | Path], *, results_dir: str | Path = "results") -> Path:
    """Write one table of all trainings of others.

    Args:
        out: folder and name of the table, such as "tables/mine".
        sources: files of tables and parts, and names of studies that were searched by the same recipe on the same
            images.

    Returns:
        The file, whose name has the first 16 hex digits of its SHA-256.

    Raises:
        TableError: a source that is no table, trainings of other settings, or two that disagree.
        StudyError: no study of such a name.
        OutputError: the folder cannot be written.
    """
    target = Path(out)
    if not re.fullmatch(r"[A-Za-z0-9][\w-]{0,99}", target.name, re.ASCII):
        raise TableError(
            f"table name {target.name[:60]!r} cannot name a file. Use up to 100 letters, digits, - and _, and no ending"
        )
    return writing.save(target.parent, target.name, merged([_source(str(each), results_dir) for each in sources]))


def _source(text: str, results_dir: str | Path) -> Source:
    if Path(text).is_file() or re.search(r"[./\\]", text):
        return Source(text, load(text).contents())
    return Source(f"study {text}", of_study(load_study(text, results_dir=results_dir)), is_study=True)


def of_study(study: Study) -> Contents:
    """The trainings of a study, at all rungs, and those repeats by `confirm` that have the study's recipe.

    Raises:
        TableError: it has not begun.
    """
    from nas.replicates import WHAT  # scipy, only now

    identity = {key: value for key, value in study.identity.items() if key not in ("ids", "energy_of")}
    if not identity:
        raise TableError(f"study {study.name} has no trainings. Search first")
    settings = Settings(study.name, identity, study.account)
    recipe = study.space.recipe
    trainings: dict[Key, Candidate] = {}

    def add(record: Candidate, share: float) -> None:
        own = kept(record, share)
        trainings.setdefault(Key(own.config_id, share, own.seed), own)

    for trial, record in study.records_of(study.snapshot().trained):
        add(record, recipe.rungs[min(trials.rung_of(trial), len(recipe.rungs) - 1)])
    repeats = runs.beside(study.optuna, WHAT)
    for trained in repeats.done().values() if repeats is not None else ():
        if trained.what == "repeat" and trained.candidate.recipe == recipe:
            add(trained.candidate, trained.share)
    return Contents(settings, trainings, {})


__all__ = ["export", "merge", "of_study"]
