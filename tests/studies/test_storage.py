"""Where searches of one machine meet that share a database. `tests/engines/test_workers.py` has them share it."""

from pathlib import Path

import pytest

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
