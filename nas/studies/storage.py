"""Where studies are kept: a journal in the study's folder (`nas.studies.journal`), or a database of Optuna's.

Everything here is about files and Optuna's storages; what a study means is in `study`. One journal serves any
number of processes of one machine, a PostgreSQL or MySQL server those of many, and a gRPC proxy before it hundreds;
SQLite serves one, because it hands the same trial to two (Optuna 5.0).
"""

import contextlib
import functools
import hashlib
import logging
import os
import re
import time
import typing
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import filelock
import optuna
from optuna.storages import BaseStorage, GrpcStorageProxy, RDBStorage
from optuna.study import StudyDirection

from nas import files
from nas.errors import StudyError
from nas.studies import urls
from nas.studies.journal import FILE, journal
from spikformer.fields import nearest

DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
"""Of the objectives of every study: accuracy and energy."""

_SETTING_UP_S = 60.0  # another process may have to read a long journal before it lets go of the folder
_OTHER_PLACE = "Give another --results-dir or --out"
_AWAY_S = 900.0  # a server that restarts is back by then
_AWAY_AT_START_S = 5.0  # of a command that reads: more likely there is no such server
_AWAY_BEFORE_SEARCH_S = 45.0  # a job may start with its server, and says meanwhile what it waits for
_LONGEST_PAUSE_S = 10.0
_LOGGER = logging.getLogger(__name__)
_Found = TypeVar("_Found")


def study_folder(results: Path, name: str, storage: str | None = None) -> Path:
    """Where a study's files go: in `results`, whatever its name.

    Args:
        storage: URL of a database, which may hold any name; those that are none for a folder get one made of them.

    Raises:
        StudyError: the name is none for a folder, and the folder is where the study is kept.
    """
    if re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", name, re.ASCII):
        return results / name
    if storage is None:
        raise StudyError(
            f"study name {_cut(name)!r} cannot name a folder. Use up to 100 letters, digits, ., - and _ with --study"
        )
    if not 0 < len(name) <= 500 or "~" in name:
        raise StudyError(f"study name {_cut(name)!r} must have 1 to 500 characters, and no ~")
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:40]
    return results / f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:12]}".lstrip("-")


def _cut(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:57]}..."


def companion(name: str, what: str) -> str:
    """Name of what is kept beside a study, in the same storage: one that no study can have."""
    return f"{name}~{what}"


def check_writable(folder: Path) -> None:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise StudyError(f"{folder} cannot be written: {existing} is not a writable folder. Give another --results-dir")


def is_single_process(url: str | None) -> TypeGuard[str]:
    """Whether a storage serves one process only."""
    return url is not None and url.startswith("sqlite")


def lock_path(url: str, name: str) -> Path:
    """The folder to lock, for searches of this machine that share a database but not a results folder."""
    if url.startswith("sqlite:///"):  # a relative path means another file in another folder
        url = f"sqlite:///{Path(url[10:]).resolve()}"
    return files.cache_folder() / "locks" / hashlib.sha256(f"{url} {name}".encode()).hexdigest()[:16]


@contextlib.contextmanager
def exclusive_lock(folder: Path, wait_s: float = _SETTING_UP_S, remedy: str = _OTHER_PLACE) -> Iterator[None]:
    """Hold a folder against other processes of this machine; the system releases it however this process ends.

    Args:
        remedy: what helps where the folder cannot be written.

    Raises:
        StudyError: another one still is, or the folder cannot be written.
    """
    path = folder / "lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path).acquire(timeout=wait_s, poll_interval=0.05)
    except filelock.Timeout:
        owner = path.read_text().strip() or "another process"
        raise StudyError(f"{folder} is in use by {owner}. Wait for it, or name another --study or --out") from None
    except OSError as error:
        raise StudyError(f"{folder} cannot be written: {error.strerror}. {remedy}") from None
    with lock:
        path.write_text(f"process {os.getpid()}")  # processes that wait leave it as it is: older filelocks emptied it
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
    study = optuna.create_study(study_name=name, storage=storage, directions=DIRECTIONS, load_if_exists=True)
    if len(study.directions) != 2:
        raise StudyError(f'study "{name}" in the storage has one objective, so no search made it. Give another --study')
    study.set_metric_names(["search_val_accuracy", "log10_energy_mj"])
    return study


def database(url: str | None, *, waits: bool = False) -> BaseStorage | None:
    """That of an Optuna storage URL, or of grpc://HOST:PORT; None without a URL.

    Args:
        waits: longer for a server that does not answer yet, as a search does; the log says so.

    Raises:
        StudyError: it cannot be opened.
    """
    if url is None:
        return None
    away_s = _AWAY_BEFORE_SEARCH_S if waits else _AWAY_AT_START_S
    away_s = 0.0 if is_single_process(url) else away_s  # a file does not come back
    try:
        return typing.cast(BaseStorage, _RetryingStorage(_repeated(lambda: _opened(url), away_s)))
    except Exception as error:  # whatever its driver raises for a URL, a file or a server that will not do
        raise StudyError(f"storage {urls.redacted(url)} cannot be opened: {urls.without_secrets(error, url)}") from None


def _opened(url: str) -> BaseStorage:
    if url.startswith("grpc://"):
        place = re.fullmatch(r"grpc://([^:@/?#]+)(?::(\d{1,5}))?/?", url)
        if place is None:
            raise ValueError("write grpc://HOST:PORT. A gRPC proxy takes no user and no password")
        host, port = place.groups()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            proxy = GrpcStorageProxy(host=host, port=int(port or 13000))
            proxy.wait_server_ready(timeout=_LONGEST_PAUSE_S)
        return proxy
    if is_single_process(url):
        return optuna.storages.get_storage(url)
    from sqlalchemy import exc  # slow to import, and a journal needs none of it

    pool = {"pool_size": 2, "max_overflow": 2, "pool_pre_ping": True}  # one to work, one for heartbeats
    for attempt in range(5):
        try:
            return optuna.storages.get_storage(RDBStorage(url, engine_kwargs=pool))
        except (exc.IntegrityError, exc.ProgrammingError):  # two processes make the tables
            if attempt == 4:
                raise
            time.sleep(1)
    raise AssertionError("the last attempt raises")


class _RetryingStorage:
    """A storage that waits for its server to come back, instead of failing."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._storage, name)
        return self._retrying(attribute) if callable(attribute) else attribute

    def _retrying(self, call: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(call)
        def repeated(*arguments: object, **named: object) -> object:
            return _repeated(lambda: call(*arguments, **named), _AWAY_S)

        return repeated


def _repeated(call: Callable[[], _Found], away_s: float) -> _Found:
    """While the server is away, at most so long."""
    pause_s, deadline = 0.5, time.monotonic() + away_s
    while True:
        try:
            return call()
        except Exception as error:
            if not _is_away(error) or time.monotonic() > deadline:
                raise
            _LOGGER.warning("the storage does not answer, and is asked again in %g s", pause_s)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _is_away(error: BaseException | None) -> bool:
    """Whether a server may answer when it is asked again: by the error, or what it came of."""
    from sqlalchemy import exc

    while error is not None:
        if isinstance(error, exc.DBAPIError):
            lost = (exc.OperationalError, exc.InterfaceError)
            return isinstance(error, lost) or error.connection_invalidated
        code = getattr(error, "code", None)  # of gRPC, which need not be installed
        if callable(code):
            return getattr(code(), "name", "") == "UNAVAILABLE"
        error = error.__cause__ or error.__context__
    return False


def known_studies(results: Path, database: BaseStorage | None) -> list[str]:
    """Names, the latest last."""
    if database is not None:
        summaries = optuna.get_all_study_summaries(storage=database)
        started = sorted(summaries, key=lambda s: s.datetime_start.timestamp() if s.datetime_start else 0.0)
        return [summary.study_name for summary in started if "~" not in summary.study_name]
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        results.stat()  # a path that no system takes is an error; from Python 3.13 on, glob finds nothing there
    journals = sorted(results.glob(f"*/{FILE}"), key=lambda path: path.stat().st_mtime)
    return [path.parent.name for path in journals]


def unknown(name: str | None, known: list[str], results: Path, storage: str | None) -> str:
    """The error that a study, or any, is not there."""
    where = urls.redacted(storage) if storage else results
    if not known:
        return f"no study in {where}. Run a search first, or give --storage"
    return f'no study "{_cut(str(name))}" in {where}. {nearest(str(name), known)}'


__all__ = [
    "DIRECTIONS",
    "check_writable",
    "companion",
    "create",
    "database",
    "exclusive_lock",
    "is_single_process",
    "journal",
    "known_studies",
    "lock_path",
    "quiet_optuna",
    "study_folder",
    "unknown",
]
