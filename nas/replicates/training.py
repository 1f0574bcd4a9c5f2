"""Trains runs that are not in the storage yet."""

import itertools
from collections import Counter, deque
from collections.abc import Sequence

from nas.datasets import Splits
from nas.engines import (
    ATTEMPTS,
    Died,
    Dispatcher,
    Done,
    Engine,
    InProcess,
    Job,
    Processes,
    Trainer,
    device_of,
    given_up,
    places_of,
)
from nas.progress import Observer, summary
from nas.replicates.runs import Place, Run, Runs
from nas.training import Candidate


def train(
    asked: Sequence[Run], runs: Runs, splits: Splits, place: Place, target_image_size: int, observer: Observer
) -> None:
    """Train those that are not there yet, in this order; equal ones once.

    Raises:
        KeyboardInterrupt: nothing is lost; the same call goes on.
    """
    known, by_key = runs.done(), {run.key: run for run in asked}
    waiting = [run for key, run in by_key.items() if key not in known]
    if not waiting:
        observer.notice(f"All {len(by_key)} training runs are done.")
        return
    observer.notice(f"{len(waiting)} of {len(by_key)} training runs remain to be done. Ctrl-C loses nothing.")
    first = waiting[0]
    trainer = Trainer(splits, first.recipe, first.seed, target_image_size, place.folder / "unfinished")
    with _engine(place, trainer, observer) as engine:
        queue = _Queue(waiting, len(by_key), runs, trainer, observer)
        Dispatcher(engine, trainer, observer, ends_when_all_die=False).run(queue)


def _engine(place: Place, trainer: Trainer, observer: Observer) -> Engine:
    if place.workers > 1:
        return Processes(trainer, places_of(place.device, place.workers, place.per_gpu), observer.on_epoch)
    return InProcess(trainer.on(str(device_of(place.device))), observer.on_epoch)


class _Queue:
    """Runs in their order, as a source of trainings; one that dies goes to the end, until it is given up.

    Args:
        total: runs in all, those included that were there before.
    """

    def __init__(self, waiting: Sequence[Run], total: int, runs: Runs, trainer: Trainer, observer: Observer) -> None:
        self.runs, self.trainer, self.observer = runs, trainer, observer
        self._waiting, self._flying, self._total = deque(waiting), dict[int, Run](), total
        self._numbers, self._deaths = itertools.count(), Counter[str]()
        self._count()

    def next_job(self) -> Job | None:
        if not self._waiting:
            return None
        run, number = self._waiting.popleft(), next(self._numbers)
        self._flying[number] = run
        return Job(number, run.label, run.config, None, run.share, run.recipe, run.seed)

    def waits(self) -> bool:
        return False

    def on_idle(self) -> None:
        return None

    def on_done(self, done: Done) -> None:
        self._record(done.job, done.candidate)

    def on_died(self, dead: Died) -> bool:
        run = self._flying[dead.job.trial]
        self._deaths[run.key] += 1
        if self._deaths[run.key] < ATTEMPTS:
            self._waiting.append(self._flying.pop(dead.job.trial))
            return True
        self._record(dead.job, given_up(dead.job, self.trainer, dead.why))
        return False

    def _record(self, job: Job, candidate: Candidate) -> None:
        self.runs.add(self._flying.pop(job.trial), candidate)
        self.trainer.forget(job)
        self.observer.notice(f"{job.label}: {summary(candidate)}")
        self._count()

    def _count(self) -> None:
        self.observer.counted(self._total - len(self._waiting) - len(self._flying), self._total, None)


__all__ = ["train"]
