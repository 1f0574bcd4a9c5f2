"""Where searches of one machine meet that share a database. `tests/engines/test_workers.py` has them share it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.errors import StudyError
from nas.studies import storage


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
