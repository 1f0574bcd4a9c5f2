"""Who is taken for dead, and by whose clock."""

import dataclasses
import os
import subprocess
import sys
import time
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from nas.errors import StudyError
from nas.studies import leases
from nas.studies.leases import GRACE_S, Leases, Owner
from nas.studies.trials import Snapshot

ELSEWHERE = Owner("elsewhere", "another boot", 1, "7", "")


class Clock:
    """Both clocks of the system, in the test's hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monotonic_s, self.wall_s = 1000.0, 1.8e9
        monkeypatch.setattr(time, "monotonic", lambda: self.monotonic_s)
        monkeypatch.setattr(time, "time", lambda: self.wall_s)


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(directions=["maximize", "minimize"])


def _held_by(study: optuna.Study, holder: Owner | None, beat: float = 0.0) -> int:
    said = {"holder": dataclasses.asdict(holder), "beat": beat} if holder is not None else {}
    study.add_trial(optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={"config_id": "x", **said}))
    return len(study.trials) - 1


def _beat(study: optuna.Study, number: int, beat: float) -> None:
    study._storage.set_trial_user_attr(study.trials[number]._trial_id, "beat", beat)


def test_this_process_lives_and_a_child_that_ended_does_not() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    began = leases._began(child.pid)
    assert began is not None
    holder = dataclasses.replace(Owner.here(), pid=child.pid, began=began)
    assert not holder.has_ended()
    child.kill()
    deadline = time.monotonic() + 10
    while not holder.has_ended() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holder.has_ended()  # though nobody has asked how it ended: its number is still taken
    child.communicate()
    assert holder.has_ended()


def test_a_search_that_ended_is_over_though_its_process_lives(study: optuna.Study) -> None:
    """As in a notebook, in which the next cell goes on."""
    with Leases(study) as own:
        assert not own.owner.has_ended()
    assert own.owner.has_ended()


def test_a_number_that_another_process_took_over_is_not_the_holder() -> None:
    assert dataclasses.replace(Owner.here(), began="1").has_ended()


def test_on_this_machine_only_the_end_of_the_process_counts(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    parent = dataclasses.replace(Owner.here(), pid=os.getppid(), began=leases._began(os.getppid()) or "")
    _held_by(study, parent)
    ended = _held_by(study, dataclasses.replace(parent, began="1"))
    watch = Leases(study)
    assert watch.reclaim(Snapshot.of(study)) == [ended]
    for _ in range(20):
        clock.monotonic_s += 60
        assert watch.reclaim(Snapshot.of(study)) == []
    assert [t.state for t in study.trials] == [TrialState.RUNNING, TrialState.FAIL]
    assert study.trials[1].user_attrs["reason"] == leases.DIED


@pytest.mark.parametrize("jump_s", [0.0, 86_400.0, -86_400.0])
def test_elsewhere_it_is_dead_once_no_beat_was_seen_for_a_while_whatever_the_clocks_say(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    clock = Clock(monkeypatch)
    number, watch, began_s = _held_by(study, ELSEWHERE), Leases(study), clock.monotonic_s
    for step in range(10):
        clock.monotonic_s += 30
        clock.wall_s += 30 + (jump_s if step == 3 else 0)
        if step < 5:
            _beat(study, number, clock.wall_s)
        assert watch.reclaim(Snapshot.of(study)) == []
        if clock.monotonic_s - began_s > 5 * 30 + GRACE_S - 30:
            break
    clock.monotonic_s += 61
    assert watch.reclaim(Snapshot.of(study)) == [number]
    assert watch.reclaim(Snapshot.of(study)) == []


def test_a_process_that_was_stopped_itself_looks_again_before_it_judges(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when all processes of a terminal were stopped, and the first to wake finds old beats."""
    clock = Clock(monkeypatch)
    _held_by(study, ELSEWHERE)
    watch = Leases(study)
    watch.reclaim(Snapshot.of(study))
    clock.monotonic_s += 100 * GRACE_S
    assert watch.reclaim(Snapshot.of(study)) == []


@pytest.mark.parametrize(("late_s", "judges"), [(0.0, True), (1.0, False)])
def test_half_the_grace_between_two_looks_is_what_tells_a_stopped_process(
    late_s: float, judges: bool, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks that come every half grace are this process's own slowness; later ones, and it was stopped itself.

    By hand, of a grace of 150 s: seen at 0 s, still the same at 75 and 150 s, and given up at 225 s, the first look
    after more than 150. With 76 s between looks what was seen before is forgotten each time, and nobody is judged.
    """
    clock = Clock(monkeypatch)
    number, watch = _held_by(study, ELSEWHERE), Leases(study)
    reclaimed = []
    for _ in range(5):
        reclaimed.append(watch.reclaim(Snapshot.of(study)))
        clock.monotonic_s += GRACE_S / 2 + late_s
    assert reclaimed == [[], [], [], [number] if judges else [], []]


def test_a_trial_that_nobody_holds_is_given_the_same_time(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    number, watch = _held_by(study, None), Leases(study)
    while not (found := watch.reclaim(Snapshot.of(study))):
        clock.monotonic_s += 30
    assert found == [number]
    assert GRACE_S < clock.monotonic_s - 1000 < GRACE_S + 60


def test_of_two_that_see_the_death_one_closes_the_trial(study: optuna.Study) -> None:
    number = _held_by(study, dataclasses.replace(Owner.here(), began="1"))
    one, two = Leases(study), Leases(study)
    dead = two.abandoned(Snapshot.of(study))
    assert one.reclaim(Snapshot.of(study)) == [number]
    assert [leases._close(study, trial) for trial in dead] == [False]


def test_a_queued_trial_whose_taker_died_at_once_is_queued_again(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    study.enqueue_trial({"a": 1})
    study.ask({"a": CategoricalDistribution([1, 2])})
    watch = Leases(study)
    while study.trials[0].state == TrialState.RUNNING:
        clock.monotonic_s += 30
        watch.reclaim(Snapshot.of(study))
    assert study.trials[0].state == TrialState.WAITING


def test_the_holder_leaves_beats_until_somebody_takes_it_for_dead(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT_S", 0.01)
    with Leases(study) as own:
        number = _held_by(study, own.owner)
        own.held.add(number)
        deadline = time.monotonic() + 10
        while study.trials[number].user_attrs["beat"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert study.trials[number].user_attrs["beat"] == pytest.approx(time.time(), abs=5)
        study.tell(number, state=TrialState.FAIL)
        while own.held and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not own.held


def test_others_are_watched_while_a_training_goes_on(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search itself may look once an hour."""
    monkeypatch.setattr(leases, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(leases, "GRACE_S", 0.3)
    number = _held_by(study, ELSEWHERE)
    with Leases(study) as own:
        time.sleep(1.0)
        assert own.reclaim(Snapshot.of(study)) == [number]


def test_a_beat_that_cannot_be_written_is_not_the_last(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT_S", 0.01)
    write, calls = type(study._storage).set_trial_user_attr, 0

    def fails_first(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls <= 3:
            raise StudyError("no room")
        write(*arguments)

    monkeypatch.setattr(type(study._storage), "set_trial_user_attr", fails_first)
    with Leases(study) as own:
        number = _held_by(study, own.owner)
        own.held.add(number)
        deadline = time.monotonic() + 10
        while study.trials[number].user_attrs["beat"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert study.trials[number].user_attrs["beat"] > 0


def test_a_machine_is_its_boot_and_its_namespace() -> None:
    here = Owner.here()
    assert here.is_here()
    assert here.pid == os.getpid()
    assert not ELSEWHERE.is_here()
    assert not dataclasses.replace(here, machine="").is_here()
