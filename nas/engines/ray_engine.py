"""Trains on a Ray cluster: each training is a task there, with a GPU or a share of one; this process only waits.

Proposals, records and repetitions stay here and in the study's storage, as with any engine: Ray places tasks.
"""

import signal
import threading
from types import TracebackType
from typing import Any, Self

import torch

from nas.datasets import Splits
from nas.engines.engine import Died, Done, Job, Packed, Trainer
from nas.errors import StudyError
from nas.training import Epoch, Pace
from spikformer import plugins
from spikformer.config import SpikformerConfig
from spikformer.errors import SpikformerError


class OnRay:
    """An engine of `workers` tasks at a time.

    Args:
        trainer: its images travel to the cluster once; a training that is interrupted leaves nothing there.
        address: as `ray.init` takes it; None starts a cluster on this machine.
        per_gpu: how many tasks share a GPU, where the cluster has any.

    Raises:
        StudyError: Ray is not installed, or there is no cluster at that address.
    """

    def __init__(self, trainer: Trainer, address: str | None, workers: int, per_gpu: int) -> None:
        self.slots = workers
        self._trainer, self._address, self._per_gpu = trainer, address, per_gpu
        self._jobs: dict[object, Job] = {}
        self._ray = _ray()

    def __enter__(self) -> Self:
        ray = self._ray
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=self._address, include_dashboard=False, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise StudyError(f"no Ray cluster at {self._address or 'this machine'}: {error}") from None
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's own ends the process without giving its trainings back
        gpus = ray.cluster_resources().get("GPU", 0)
        needs = {"num_cpus": 1, "num_gpus": 1 / self._per_gpu if gpus else 0}
        # Not by Ray: a training that ends with its process counts, and is repeated, as with any engine.
        self._train = ray.remote(max_retries=0, **needs)(_train)
        self._measure_pace = ray.remote(max_retries=0, **needs)(_pace)
        self._sent = ray.put(Packed.of(self._trainer.leaving_nothing()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._jobs:
            self._ray.cancel(task, force=True)
        self._ray.shutdown()

    def submit(self, job: Job) -> None:
        self._jobs[self._train.remote(self._sent, self._per_gpu, job)] = job

    def next(self, timeout_s: float) -> Done | Died | None:
        if not self._jobs:
            return None
        ended, _ = self._ray.wait(list(self._jobs), num_returns=1, timeout=timeout_s)
        if not ended:
            return None
        job = self._jobs.pop(ended[0])
        try:
            done: Done = self._ray.get(ended[0])
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, SpikformerError):
                raise StudyError(str(cause)) from None
            return Died(job, (str(error).strip().splitlines() or [type(error).__name__])[-1])
        return done

    def pace(self, config: SpikformerConfig) -> Pace | None:
        try:
            pace: Pace | None = self._ray.get(self._measure_pace.remote(self._sent, self._per_gpu, config))
        except self._ray.exceptions.RayError:
            return None
        return pace


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise StudyError("Ray is not installed. Install it: pip install ray") from None
    return ray


def _train(packed: Packed, sharing: int, job: Job) -> Done:
    """In a process of the cluster."""
    return _IMAGES.trainer(packed, sharing).train(job, _nothing)


def _pace(packed: Packed, sharing: int, config: SpikformerConfig) -> Pace | None:
    return _IMAGES.trainer(packed, sharing).pace(config)


class _Images:
    """The images that a process of the cluster keeps, on the device that Ray gave: it serves many tasks of a search."""

    def __init__(self) -> None:
        self._splits: Splits | None = None

    def trainer(self, packed: Packed, sharing: int) -> Trainer:
        """The trainer of a task, with its images; those of another search make room."""
        plugins.adopt(packed.blocks)
        if self._splits is None or self._splits.fingerprint != packed.trainer.splits.fingerprint:
            self._splits = None
            torch.set_num_threads(1)
            device = "cuda" if torch.cuda.is_available() else "cpu"
            self._splits = packed.unpacked().on(device, sharing).splits
        return packed.trainer.having(self._splits)


_IMAGES = _Images()  # one for each process of the cluster, which Ray starts by importing this module


def _nothing(_label: str, _number: int, _epoch: Epoch) -> None:
    """Epochs are not told across a cluster."""


__all__ = ["OnRay"]
