"""The journal of a study: Optuna's, a line of JSON for each thing that happens, read strictly and numbered.

A line says which one it is, so that one that is missing is noticed: Optuna names trials by the order of the lines that
begin them, and would put what follows on the wrong trials. Lines of earlier versions and of other programs carry no
number. What a crash, a full disk or a power loss leaves at the end is no damage: the next line takes its place.
"""

import contextlib
import fcntl
import json
import os
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from nas.errors import StudyError
from nas.studies.handles import shared_distributions
from spikformer.fields import PlainTable

FILE = "journal.log"
_BLOCK = 1 << 16
_CREATE_TRIAL = 4  # of optuna.storages.journal._storage.JournalOperation
_BEGINNING = re.compile(rb"\{[\x20-\x7e]*")  # of a record: JSON as Optuna writes it is printable ASCII


def journal(folder: Path) -> BaseStorage:
    """The storage that the journal of a folder is, begun if it is not there.

    Raises:
        StudyError: it holds something else, or lines are missing.
    """
    path = folder.absolute() / FILE
    try:
        backend = _Journal(path)
        with shared_distributions():
            storage = JournalStorage(backend)
            studies = storage.get_all_studies()  # reads every record
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, OSError) as error:
        raise _damaged(path, _first_line(error)) from None
    if backend.lines and not studies:
        raise _damaged(path, "no line begins a study")
    return storage


class _Journal(JournalFileBackend):
    """Optuna's journal, to which nothing is added behind a record that was cut short."""

    def __init__(self, path: Path) -> None:
        self._mutex = _Lock(path)
        super().__init__(str(path), lock_obj=typing.cast(Any, self._mutex))
        self._path = path
        self._ends = [0]  # of the lines that were read, in bytes from the beginning
        self._trials = 0  # that these begin
        self._counted = (0, 0)  # bytes in which lines were counted, and how many there are

    @property
    def lines(self) -> int:
        """How many were read."""
        return len(self._ends) - 1

    def read_logs(self, log_number_from: int) -> Iterator[PlainTable]:  # pyrefly: ignore[bad-override]  # narrower
        """
        Raises:
            StudyError: a line that is no record, or that does not follow the one before it.
        """
        with self._path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self._ends[log_number_from]:
                raise _damaged(self._path, "the file is shorter than before")
            file.seek(self._ends[log_number_from])
            del self._ends[log_number_from + 1 :]
            for line in file:
                if not line.endswith(b"\n"):
                    if not _is_torn(line):
                        raise _damaged(self._path, "the last line is not a record")
                    return
                log = self._record(line, len(self._ends))
                self._ends.append(self._ends[-1] + len(line))
                yield log

    def _record(self, line: bytes, number: int) -> PlainTable:
        try:
            log = _decoded(line)
        except (ValueError, RecursionError) as error:
            raise _damaged(self._path, f"line {number}: {error}") from None
        if not isinstance(log, dict) or not isinstance(log.get("op_code"), int):
            raise _damaged(self._path, f"line {number} does not describe a study")
        stated = log.pop("line", number)
        if stated != number:
            raise _damaged(self._path, f"line {number} was written as line {stated}: lines are missing or were added")
        self._trials += log["op_code"] == _CREATE_TRIAL
        trial = log.get("trial_id", -1)
        if not isinstance(trial, int) or trial >= self._trials:
            raise _damaged(self._path, f"line {number} is about trial {trial}, which no earlier line begins")
        return log

    def append_logs(self, logs: list[PlainTable]) -> None:
        try:
            self._mutex.acquire()
            try:
                self._append(logs)
            finally:
                self._mutex.release()
        except OSError as error:
            raise StudyError(
                f"{self._path} cannot be written: {error.strerror}. Free some space; the same command then continues"
            ) from None

    def _append(self, logs: list[PlainTable]) -> None:
        with self._path.open("rb+") as file:
            first = self._count(file) + 1
            numbered = [log | {"line": first + i} for i, log in enumerate(logs)]
            text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in numbered)
            file.seek(0, os.SEEK_END)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def _count(self, file: BinaryIO) -> int:
        """How many lines there are; those that were counted before are not read again."""
        size = file.seek(0, os.SEEK_END)
        end, lines = self._counted if self._counted[0] <= size else (0, 0)
        file.seek(end)
        while block := file.read(_BLOCK):
            lines += block.count(b"\n")
        self._counted = (size, lines)
        return lines


class _Lock:
    """The lock of the journal itself. The system releases it when its owner dies, so none is ever left over.

    Optuna's own are files: what a dead process leaves blocks the others for 30 s, with a relative path for ever.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def acquire(self) -> bool:
        file = self._path.open("rb+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            _repair_tail(self._path, file)
        except BaseException:
            file.close()
            raise
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _repair_tail(path: Path, file: BinaryIO) -> None:
    """Cut off the beginning of a record that a crash or a full disk left at the end: the next one would be lost too."""
    size = file.seek(0, os.SEEK_END)
    whole = _end_of_last_line(file, size)
    if whole == size:
        return
    file.seek(whole)
    if not _is_torn(file.read()):  # anything else is not ours to cut
        raise _damaged(path, "the last line is not a record")
    file.truncate(whole)


def _is_torn(tail: bytes) -> bool:
    """Whether what stands behind the last line is the beginning of a record, or the NULs that a power loss leaves."""
    beginning = tail.rstrip(b"\0")
    return not beginning or _BEGINNING.fullmatch(beginning) is not None


def _end_of_last_line(file: BinaryIO, size: int) -> int:
    start = size
    while start > 0:
        start = max(0, start - _BLOCK)
        file.seek(start)
        place = file.read(min(_BLOCK, size - start)).rfind(b"\n")
        if place >= 0:
            return start + place + 1
    return 0


def _decoded(line: bytes) -> object:
    """What a line of JSON says. What orjson does not take, such as NaN, Python's own reader takes or explains.

    It reads a long journal in half the time. Only whole numbers beyond 64 bits differ, which orjson makes floats;
    nothing that a study counts comes near them.
    """
    with contextlib.suppress(ValueError):
        return orjson.loads(line)
    return json.loads(line)


def _damaged(path: Path, what: str) -> StudyError:
    return StudyError(
        f"{path} is not a readable record of a study ({what}). Restore the file from a backup, or name another --study"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


__all__ = ["FILE", "journal"]
