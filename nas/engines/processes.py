"""Trains in several processes of this machine, which live as long as the search: each has one GPU, or one thread."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

import torch

from nas.engines.engine import Died, Done, Job, OnEpoch, Packed, Trainer
from nas.errors import StudyError
from nas.training import Epoch, Pace
from spikformer.config import SpikformerConfig
from spikformer.errors import SpikformerError

_ENDING_S = 5.0
_DEATHS_AT_START = 3  # in a row: then it is not for want of luck


@dataclass
class _Worker:
    """A process at a place, and what it is at."""

    place: str
    process: BaseProcess
    connection: Connection
    job: Job | None = None
    ready: bool = False
    deaths: int = 0


class Processes:
    """An engine with a process for each of `places`, "cpu" or "cuda:1"; one that dies is started again.

    All are forked by one more process, which has imported everything and touches no GPU: the first worker begins after
    seconds, each further one and each that takes the place of a dead one at once.

    Raises:
        StudyError: processes do not come to life.
    """

    def __init__(self, trainer: Trainer, places: list[str], on_epoch: OnEpoch) -> None:
        self.slots = len(places)
        self._trainer, self._places, self._on_epoch = trainer, places, on_epoch
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__, "torch._dynamo"])  # any optimizer imports the latter
        self._workers: list[_Worker] = []
        self._ended: list[Done | Died] = []

    def __enter__(self) -> Self:
        self._workers = [self._born(place) for place in self._places]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + _ENDING_S
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self._workers = []

    def submit(self, job: Job) -> None:
        idle = [worker for worker in self._workers if worker.job is None]
        worker = min(idle, key=lambda w: not w.ready)  # one that is ready, if there is one
        worker.job = job
        with contextlib.suppress(OSError):  # it has just died: `next` will see
            worker.connection.send(("train", job))

    def next(self, timeout_s: float) -> Done | Died | None:
        deadline = time.monotonic() + timeout_s
        while not self._ended and (left_s := deadline - time.monotonic()) > 0:
            self._hear(left_s)
        return self._ended.pop(0) if self._ended else None

    def pace(self, config: SpikformerConfig) -> Pace | None:
        """As one of the processes measures it, the others at rest."""
        answer: list[Pace | None] = []
        self._workers[0].connection.send(("pace", config))
        while not answer:
            worker = self._workers[0]
            if worker.connection.poll(1.0):
                kind, *content = self._received(worker)
                if kind == "paced":
                    answer.append(content[0])
                elif kind == "died":
                    self._bury(worker)
                    return None
                else:
                    self._take(worker, kind, content)
        return answer[0]

    def _hear(self, timeout_s: float) -> None:
        by_source: dict[Any, _Worker] = {worker.connection: worker for worker in self._workers}
        for source in wait(list(by_source), timeout_s):
            worker = by_source[source]
            kind, *content = self._received(worker)
            if kind == "died":
                self._bury(worker)
            else:
                self._take(worker, kind, content)

    def _received(self, worker: _Worker) -> Any:
        """What it says; a pipe whose other end is gone says that it died."""
        try:
            return worker.connection.recv()
        except (EOFError, OSError):
            return ("died",)

    def _take(self, worker: _Worker, kind: str, content: list[Any]) -> None:
        if kind == "ready":
            worker.ready, worker.deaths = True, 0
        elif kind == "epoch" and worker.job is not None:
            self._on_epoch(worker.job.label, content[0], content[1])
        elif kind == "done":
            self._ended.append(content[0])
            worker.job = None
        elif kind == "refused":
            raise StudyError(content[0])
        elif kind == "failed" and worker.job is not None:
            self._ended.append(Died(worker.job, content[0]))
            worker.job = None

    def _bury(self, worker: _Worker) -> None:
        """Start another in its place."""
        worker.process.join(_ENDING_S)
        code = worker.process.exitcode
        why = f"its process ended with {signal.Signals(-code).name if code and code < 0 else f'code {code}'}"
        worker.connection.close()
        deaths = worker.deaths + (not worker.ready)
        if deaths >= _DEATHS_AT_START:
            raise StudyError(f"a worker on {worker.place} failed to start: {why}. Its error is printed above")
        if worker.job is not None:
            self._ended.append(Died(worker.job, why))
        born = self._born(worker.place)
        born.deaths = deaths
        self._workers[self._workers.index(worker)] = born

    def _born(self, place: str) -> _Worker:
        ours, theirs = self._context.Pipe()
        neighbours = self._places.count(place)
        process = self._context.Process(
            target=_work,
            args=(theirs, Packed.of(self._trainer), place, neighbours),
            name=f"worker on {place}",
            daemon=True,
        )
        process.start()
        theirs.close()
        return _Worker(place, process, ours)


def _work(connection: Connection, packed: Packed, place: str, sharing: int) -> None:
    """The life of a worker; `sharing` of them are at its place."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the search ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)  # on a GPU too, where only the images and the first weights want the CPU
    trainer = packed.unpacked().on(place, sharing)

    def on_epoch(_label: str, number: int, epoch: Epoch) -> None:
        connection.send(("epoch", number, epoch))

    connection.send(("ready",))
    while True:
        kind, asked = connection.recv()
        try:
            if kind == "pace":
                connection.send(("paced", trainer.pace(asked)))
            else:
                connection.send(("done", trainer.train(asked, on_epoch)))
        except (
            SpikformerError
        ) as error:  # no matter of luck: a block that cannot be built, operations that have no cost
            connection.send(("refused", str(error)))
        except Exception as error:
            traceback.print_exc()
            connection.send(("failed", f"{type(error).__name__}: {error}"))
            if place != "cpu":
                os._exit(1)  # after an error on a GPU its process may be of no more use


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


__all__ = ["Processes"]
