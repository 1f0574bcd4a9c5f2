"""A search is seen before its first training, and no longer once it trains or has ended."""

import dataclasses
import time
from pathlib import Path

import optuna
import pytest

from nas.studies import Leases, Study, starting, status
from nas.studies.leases import Owner

ELSEWHERE = Owner("elsewhere", "another boot", 1, "7", "a search")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study("made", tmp_path, optuna.create_study(directions=["maximize", "minimize"]))


def test_a_search_that_begins_is_told_until_it_trains(study: Study) -> None:
    with Leases(study.optuna) as leases:
        with starting.announced(study.optuna, leases.owner):
            (row,) = status.work(study)
            assert (row.trial, row.owner, row.alive) == (None, leases.owner, True)
            assert row.network == "starting: measures its speed"
        assert status.work(study) == []


def test_a_search_that_died_at_its_start_is_not_told(study: Study) -> None:
    """Here the system knows at once; of another machine a start counts for an hour."""
    ended = dataclasses.replace(Owner.here(), began="0", search="gone")
    for owner, since in ((ended, time.time()), (ELSEWHERE, time.time() - 3601)):
        study.optuna.set_user_attr(f"starting/{owner.search}", {"owner": dataclasses.asdict(owner), "since": since})
    assert starting.starts(study.optuna) == []
    with starting.announced(study.optuna, ELSEWHERE):
        (row,) = status.work(study)
        assert (row.owner, row.alive) == (ELSEWHERE, None)
