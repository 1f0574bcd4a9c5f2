"""The loop that submits, waits, and repeats what died, against an engine that trains nothing."""

from collections import deque
from types import TracebackType
from typing import Self
from unittest import mock

import pytest

from nas.engines.dispatch import ATTEMPTS, Dispatcher
from nas.engines.engine import Died, Done, Job, Trainer
from nas.errors import StudyError
from nas.settings import Recipe
from nas.training import Pace
from spikformer import SpikformerConfig
from tests.helpers import Heard, small_config


class Scripted:
    """Ends each training at once, as the script says: True with a result, False with its process."""

    def __init__(self, slots: int, script: list[bool]) -> None:
        self.slots, self.script = slots, deque(script)
        self.flying: deque[Job] = deque()
        self.most = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def submit(self, job: Job) -> None:
        self.flying.append(job)
        self.most = max(self.most, len(self.flying))

    def next(self, timeout_s: float) -> Done | Died | None:
        del timeout_s
        job = self.flying.popleft()
        return Done(job, mock.Mock(), None) if self.script.popleft() else Died(job, "no reason")

    def pace(self, config: SpikformerConfig) -> Pace | None:
        raise AssertionError(f"nobody asks how fast {config} trains")


class Jobs:
    """So many trainings; those that die are repeated without end."""

    def __init__(self, count: int) -> None:
        self.waiting = deque(Job(i, f"job {i}", small_config(), None, 1.0) for i in range(count))
        self.ended: list[int] = []

    def next_job(self) -> Job | None:
        return self.waiting.popleft() if self.waiting else None

    def waits(self) -> bool:
        return False

    def on_idle(self) -> None:
        raise AssertionError("a training ends at once")

    def on_done(self, done: Done) -> None:
        self.ended.append(done.job.trial)

    def on_died(self, dead: Died) -> bool:
        self.waiting.append(dead.job)
        return True


def _dispatcher(engine: Scripted, heard: Heard, *, ends: bool) -> Dispatcher:
    splits = mock.MagicMock()
    splits.train.__len__.return_value = 100
    trainer = Trainer(splits, Recipe(), 0, 224)
    return Dispatcher(engine, trainer, heard, ends_when_all_die=ends)


def test_all_slots_are_kept_busy_and_what_dies_is_repeated() -> None:
    engine, jobs, heard = Scripted(2, [True, False, True, True]), Jobs(3), Heard()
    _dispatcher(engine, heard, ends=True).run(jobs)
    assert jobs.ended == [0, 2, 1]
    assert engine.most == 2
    assert heard.text == "job 1 ended without a result: no reason. It is repeated.\n"


def test_when_all_trainings_die_the_run_ends() -> None:
    """By hand: one slot, and 3 attempts for each of 4 + 1 networks."""
    engine = Scripted(1, [False] * 100)
    with pytest.raises(StudyError, match=r"15 training runs in a row ended without a result\. The last one: no reason"):
        _dispatcher(engine, Heard(), ends=True).run(Jobs(2))
    assert ATTEMPTS == 3


def test_a_result_between_deaths_and_a_source_that_gives_up_by_itself_go_on() -> None:
    _dispatcher(Scripted(1, ([False] * 14 + [True]) * 2), Heard(), ends=True).run(Jobs(2))
    _dispatcher(Scripted(1, [False] * 40 + [True]), Heard(), ends=False).run(Jobs(1))
