"""Where searches of one machine meet that share a database. `tests/engines/test_workers.py` has them share it."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy.exc
from optuna.storages import BaseStorage

from nas import files
from nas.errors import StudyError
from nas.searching import opening
from nas.studies import storage
from tests.helpers import Heard


def test_equal_relative_paths_in_two_folders_are_two_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches of both run at once; the absolute path of one means the same database as its relative one."""
    locks = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        locks.append(storage.lock_path("sqlite:///studies.db", "tiny"))
        assert storage.lock_path(f"sqlite:///{tmp_path / name / 'studies.db'}", "tiny") == locks[-1]
    assert locks[0] != locks[1]


_HOLDER = """
import os, pathlib, sys, time
from nas.studies import storage

with storage.exclusive_lock(pathlib.Path(sys.argv[1])):
    if os.fork() == 0:
        time.sleep(5)
        os._exit(0)
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


def test_a_locked_folder_names_its_owner_until_that_dies(tmp_path: Path) -> None:
    """Also where a process that the owner forked lives on. Two that wait do not wipe the owner's name."""
    folder = tmp_path / "study"
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(folder)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        for _ in range(2):
            with pytest.raises(StudyError, match=f"study is in use by process {pid}\\."):
                storage.exclusive_lock(folder, 0).__enter__()
        owner.kill()
        with storage.exclusive_lock(folder, 2):
            assert (folder / "lock").read_text() == f"process {os.getpid()}"
    with storage.exclusive_lock(folder, 0):
        pass


def test_a_cache_folder_that_cannot_be_written_is_told_how_to_move(
    micro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searches of one SQLite file meet in the cache folder: another --results-dir does not move it."""
    (tmp_path / "cache").write_text("in the way")
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    with pytest.raises(StudyError, match=r"cache/locks/\w+ cannot be written: .* Set XDG_CACHE_HOME to a folder"):
        opening.search(micro, 1, observer=Heard(), results_dir=tmp_path / "results", storage=url)
    assert not (tmp_path / "studies.db").exists()


@pytest.mark.parametrize(("waits", "least_s", "most_s"), [(False, 4, 30), (True, 40, 60)])
def test_a_search_waits_for_a_server_that_starts_and_says_so(
    waits: bool, least_s: float, most_s: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who reads gives up soon: there is rather no such server. In the middle of a run all wait for minutes."""
    now_s = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now_s[0], sleep=lambda pause_s: now_s.append(now_s.pop() + pause_s))
    monkeypatch.setattr(storage, "time", clock)

    def away(_url: str) -> BaseStorage:
        raise sqlalchemy.exc.OperationalError("connect", {}, Exception("refused"))

    monkeypatch.setattr(storage, "_opened", away)
    with pytest.raises(StudyError, match="cannot be opened"):
        storage.database("postgresql://host/x", waits=waits)
    assert least_s < now_s[0] < most_s
    assert "the storage does not answer, and is asked again in 0.5 s" in caplog.messages
