"""Where studies are kept: a journal in the study's folder, or a database of Optuna's.

Everything here is about files and Optuna's storages; what a study means is in `nas.study`.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from nas import data
from nas.errors import StudyError

_JOURNAL = "journal.log"


def study_folder(results: Path, name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", name, re.ASCII):
        raise StudyError(f'study name "{name}" names no folder. Use up to 100 letters, digits, ., - and _ with --study')
    folder = results / name
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise StudyError(f"{folder} cannot be written: {existing} is no writable folder. Give another --results-dir")
    return folder


def database_lock(storage: str | None, name: str) -> Path | None:
    """Where searches of this machine meet that share a database but not a results folder."""
    if storage is None:
        return None
    return data.cache_folder() / "locks" / hashlib.sha256(f"{storage} {name}".encode()).hexdigest()[:16]


@contextlib.contextmanager
def exclusive(folder: Path | None) -> Iterator[None]:
    """The study is this process's alone; the system lets go of it however the process ends."""
    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise StudyError(f"{folder} cannot be written: {error.strerror}. Give another --results-dir") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise StudyError(f"{folder} is being searched by {holder}. Wait for it, or name another --study") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}")
        lock.flush()
        yield


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna's log lines are ours to print, and the experimental features that we chose need no warning."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def create(name: str, storage: BaseStorage) -> optuna.Study:
    """The study of that name, made if it is not there."""
    study = optuna.create_study(
        study_name=name, storage=storage, directions=["maximize", "minimize"], load_if_exists=True
    )
    if len(study.directions) != 2:
        raise StudyError(
            f'study "{name}" in that storage is not one of ours: it has one objective. Name another --study'
        )
    study.set_metric_names(["val_accuracy", "log10_energy_mj"])
    return study


def database(url: str | None) -> BaseStorage | None:
    if url is None:
        return None
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:  # whatever its driver raises for a URL, a file or a server that will not do
        raise StudyError(f"storage {url} cannot be opened: {_first_line(error)}") from None


def journal(folder: Path) -> BaseStorage:
    path = folder.absolute() / _JOURNAL  # absolute: Optuna's lock never recovers on a relative path
    try:
        opened = JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path))))
        opened.get_all_studies()  # reads every record
    except (ValueError, KeyError, TypeError, AssertionError, OSError) as error:
        raise _damaged(path, _first_line(error)) from None
    return opened


def _damaged(path: Path, what: str) -> StudyError:
    return StudyError(
        f"{path} is no record of a study ({what}). Restore the file from a backup, or name another --study"
    )


def repair_journal(folder: Path) -> None:
    """After a crash; only while this process holds the study alone.

    A lock file of a killed process would block for 30 s. A record that was cut short would, without its
    line end, make the file unreadable at the next one.
    """
    path = folder.absolute() / _JOURNAL
    Path(f"{path}.lock").unlink(missing_ok=True)
    if path.exists():
        with path.open("rb+") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if content[whole:].startswith(b"{"):  # the beginning of a record; anything else is not ours to cut
                file.truncate(whole)
        _check_journal(path)  # Optuna takes a bad last line for a torn one, and would write behind it


def _check_journal(path: Path) -> None:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            json.loads(line)
        except ValueError as error:
            raise _damaged(path, f"line {number}: {error}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def known_studies(results: Path, database: BaseStorage | None) -> list[str]:
    """Names, the latest last."""
    if database is not None:
        summaries = optuna.get_all_study_summaries(storage=database)
        started = sorted(summaries, key=lambda s: s.datetime_start.timestamp() if s.datetime_start else 0.0)
        return [summary.study_name for summary in started]
    journals = sorted(results.glob(f"*/{_JOURNAL}"), key=lambda path: path.stat().st_mtime)
    return [path.parent.name for path in journals]


__all__ = [
    "create",
    "database",
    "database_lock",
    "exclusive",
    "journal",
    "known_studies",
    "quiet_optuna",
    "repair_journal",
    "study_folder",
]
