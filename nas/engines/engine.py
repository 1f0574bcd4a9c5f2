"""Where networks are trained: here, one after the other; `processes` and `ray_engine` train several at once."""

import dataclasses
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from nas.datasets import Split, Splits
from nas.settings import Recipe
from nas.training import Candidate, Epoch, Pace, device_memory, evaluate, measured_pace
from spikformer import plugins
from spikformer.checkpoints import weights_of
from spikformer.config import SpikformerConfig

OnEpoch = Callable[[str, int, Epoch], None]
"""Called with the label of a job, the number of the epoch that ended, and what it measured."""


@dataclass(frozen=True)
class Job:
    """A training to do, up to `share` of the recipe's images.

    Attributes:
        trial: a number that tells it from others.
        recipe, seed: instead of the trainer's.
    """

    trial: int
    label: str
    config: SpikformerConfig
    reference: str | None
    share: float
    recipe: Recipe | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Done:
    """A training that ended: `weights` are a safetensors file, of a network that was trained in full."""

    job: Job
    candidate: Candidate
    weights: bytes | None


@dataclass(frozen=True)
class Died:
    """A training that ended without a result, for no fault of the network that is known."""

    job: Job
    why: str


@dataclass(frozen=True)
class Trainer:
    """What all trainings of a study share.

    Attributes:
        splits: on the device that trains.
        folder: in which a training that is interrupted leaves how far it came; None leaves nothing.
    """

    splits: Splits
    recipe: Recipe
    seed: int
    target_image_size: int
    folder: Path | None = None

    def train(self, job: Job, on_epoch: OnEpoch) -> Done:
        candidate, model = evaluate(
            job.config,
            self.splits,
            job.recipe or self.recipe,
            self.seed if job.seed is None else job.seed,
            job.reference,
            on_epoch=lambda number, epoch: on_epoch(job.label, number, epoch),
            target_image_size=self.target_image_size,
            share=job.share,
            saved=self._saved(job),
        )
        return Done(job, candidate, weights_of(model) if candidate.status == "complete" else None)

    def pace(self, config: SpikformerConfig) -> Pace | None:
        return measured_pace(config, self.splits, self.recipe)

    def on(self, device: str, sharing: int = 1) -> "Trainer":
        """With its images there. A GPU becomes the process's own: nothing of it shall come to lie on another one.

        Args:
            sharing: processes that train on that GPU; this one takes its part of the memory and no more.
        """
        place = torch.device(device)
        if place.type == "cuda":
            torch.cuda.set_device(place.index or 0)
            device_memory.share_between(sharing, place)
        return self.having(self.splits.to(place))

    def having(self, splits: Splits) -> "Trainer":
        return dataclasses.replace(self, splits=splits)

    def leaving_nothing(self) -> "Trainer":
        """For machines that do not share this one's files."""
        return dataclasses.replace(self, folder=None)

    def forget(self, job: Job) -> None:
        """How far the training came: its result is stored."""
        path = self._saved(job)
        if path is not None:
            path.unlink(missing_ok=True)

    def _saved(self, job: Job) -> Path | None:
        other = hashlib.sha256(repr((job.recipe, job.seed)).encode()).hexdigest()[:8] if job.recipe else "own"
        name = f"{job.config.config_id}-{math.floor(1e6 * job.share)}-{other}.pt"
        return self.folder / name if self.folder is not None else None


@dataclass(frozen=True)
class Packed:
    """A trainer on its way to another process: plain arrays, because tensors need shared memory, which may be small.

    Attributes:
        blocks: modules that the user named (`spikformer.plugins.named`), which that process may import too.
    """

    trainer: Trainer
    arrays: tuple[tuple[NDArray[np.generic], NDArray[np.generic]], ...]
    blocks: dict[str, str]

    @classmethod
    def of(cls, trainer: Trainer) -> "Packed":
        splits = trainer.splits
        each = (splits.train, splits.search_val, splits.report_val)
        empty = Split(torch.empty(0, 1, 1, 1), torch.empty(0))
        bare = dataclasses.replace(splits, train=empty, search_val=empty, report_val=empty)
        arrays = tuple((s.images.numpy(), s.labels.numpy()) for s in each)
        return cls(trainer.having(bare), arrays, plugins.named())

    def unpacked(self) -> Trainer:
        plugins.adopt(self.blocks)
        train, search_val, report_val = (Split(torch.tensor(i), torch.tensor(labels)) for i, labels in self.arrays)
        bare = self.trainer.splits
        return self.trainer.having(dataclasses.replace(bare, train=train, search_val=search_val, report_val=report_val))


class Engine(Protocol):
    """Trains networks, `slots` at a time."""

    slots: int

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def submit(self, job: Job) -> None:
        """Begin a training; at most `slots` at a time."""

    def next(self, timeout_s: float) -> Done | Died | None:
        """A training that ended, or None if none did in that time."""

    def pace(self, config: SpikformerConfig) -> Pace | None:
        """How fast such a network is trained; None if it does not fit."""


class InProcess:
    """Trains in this process; `next` returns when the training is done."""

    slots = 1

    def __init__(self, trainer: Trainer, on_epoch: OnEpoch) -> None:
        self.trainer, self.on_epoch = trainer, on_epoch
        self._jobs: list[Job] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jobs.clear()

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def next(self, timeout_s: float) -> Done | Died | None:
        return self.trainer.train(self._jobs.pop(), self.on_epoch) if self._jobs else None

    def pace(self, config: SpikformerConfig) -> Pace | None:
        return self.trainer.pace(config)


__all__ = ["Died", "Done", "Engine", "InProcess", "Job", "OnEpoch", "Packed", "Trainer"]
