"""Keeps an engine busy: submit, wait, take the result; a training that dies is repeated, and given up in the end."""

import time
from typing import Protocol

from nas.engines.engine import Died, Done, Engine, Job, Trainer
from nas.errors import StudyError
from nas.progress import Observer
from nas.training import Candidate, died, epochs_of

ATTEMPTS = 3  # trainings that end with their process, before a network counts as the cause
_LOOK_S = 1.0  # between looks at what other processes do
_LOST_IN_A_ROW = 4  # networks, besides those of each worker; then the machine or the program is the cause


class Source(Protocol):
    """Where trainings come from, and where their results go."""

    def next_job(self) -> Job | None:
        """The next training, or None while there is none."""

    def waits(self) -> bool:
        """Whether trainings may still come, though none runs here."""

    def on_done(self, done: Done) -> None:
        """A training gave a result."""

    def on_died(self, dead: Died) -> bool:
        """A training ended without a result. Returns whether it is repeated."""

    def on_idle(self) -> None:
        """No training ended while the dispatcher waited."""


class Dispatcher:
    """Runs the trainings of a source on an engine, as many at a time as it has slots.

    Args:
        ends_when_all_die: whether many deaths in a row end the run. A source that gives each network up after
            `ATTEMPTS` needs no such end.
    """

    def __init__(self, engine: Engine, trainer: Trainer, observer: Observer, *, ends_when_all_die: bool) -> None:
        self.engine, self.trainer, self.observer = engine, trainer, observer
        self._most_deaths = ATTEMPTS * (_LOST_IN_A_ROW + engine.slots) if ends_when_all_die else None
        self._running = 0
        self._deaths = 0

    def run(self, source: Source) -> None:
        """Train until the source has no more trainings and waits for none.

        Raises:
            StudyError: trainings in a row end without a result, whatever is trained.
        """
        while self._fill(source) or source.waits():
            ended = self.engine.next(_LOOK_S)
            if ended is not None:
                self._end(ended, source)
                continue
            if not self._running:
                time.sleep(_LOOK_S)
            source.on_idle()

    def _fill(self, source: Source) -> bool:
        """Begin as many trainings as the engine takes; whether any runs."""
        while self._running < self.engine.slots and (job := source.next_job()) is not None:
            recipe = job.recipe or self.trainer.recipe
            self.observer.on_training_start(job.label, epochs_of(len(self.trainer.splits.train), recipe, job.share))
            self.engine.submit(job)
            self._running += 1
        return self._running > 0

    def _end(self, ended: Done | Died, source: Source) -> None:
        self._running -= 1
        self.observer.on_training_end(ended.job.label)
        if isinstance(ended, Done):
            self._deaths = 0
            source.on_done(ended)
            return
        self._deaths += 1
        repeats = " It is repeated." if source.on_died(ended) else ""
        self.observer.notice(f"{ended.job.label} ended without a result: {ended.why}.{repeats}")
        if self._most_deaths is not None and self._deaths >= self._most_deaths:
            raise StudyError(f"{self._deaths} training runs in a row ended without a result. The last one: {ended.why}")


def given_up(job: Job, trainer: Trainer, why: str) -> Candidate:
    """The record of a network whose trainings all ended with their process, the last of them for this reason."""
    recipe = job.recipe or trainer.recipe
    seed = trainer.seed if job.seed is None else job.seed
    reason = f"given up after {ATTEMPTS} attempts, the last: {why}"
    return died(job.config, trainer.splits, recipe, seed, job.reference, job.share, reason)


__all__ = ["ATTEMPTS", "Dispatcher", "Source", "given_up"]
