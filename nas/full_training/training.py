"""A full training between two steps: its network, all that moves the weights, and how far it came."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from nas.bundles import Bundle, TrainingRecipe
from nas.datasets import Source
from nas.errors import TrainingError
from nas.full_training.build import (
    average_of,
    captures,
    laid_out,
    optimizer_of,
    precision,
    schedule_of,
    uncompiled,
    wrapped,
)
from nas.full_training.checkpoint import Checkpoint
from nas.full_training.criterion import Criterion, teacher_of
from nas.full_training.frames import time_first, to_device_of
from nas.full_training.loading import Batch, TrainLoader, check_readable
from nas.full_training.process_group import ProcessGroup
from nas.training import Inputs, Precision, Step, Update, autocast, momentum_settles, tuned
from spikformer import checkpoints
from spikformer.config import SpikformerConfig
from spikformer.model import Spikformer


class Loss:
    """The loss of a network on images, or frames of events, and targets; sums it up as it goes.

    Args:
        separate: whether the network gives the logits of two classifiers (`Spikformer.forward`).

    Attributes:
        sums: of losses times images, and of images, since they were last set to zero, [2].
    """

    def __init__(
        self, model: nn.Module, criterion: Criterion, precision: Precision, device: torch.device, *, separate: bool
    ) -> None:
        self._model, self._criterion, self._precision, self._device = model, criterion, precision, device
        self._options = {"separate": True} if separate else {}
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """The mean loss, [], of images [B, C, H, W], or frames [B, T, C, H, W], with targets [B, classes]."""
        with autocast(self._device, self._precision):
            logits = self._model(time_first(images), **self._options)
        loss = self._criterion(logits, images, targets)
        self.sums[0] += loss.detach().double() * len(images)
        self.sums[1] += len(images)
        return loss


class Training:
    """All that a step needs, and how far the training came.

    Attributes:
        done: steps that lie behind it.
        schedule: the learning rate by step.
        sums: of losses times images, and of images, since the last line of the log, [2].
    """

    def __init__(
        self, bundle: Bundle, config: SpikformerConfig, recipe: TrainingRecipe, source: Source, group: ProcessGroup
    ):
        self.bundle, self.config, self.recipe, self.source, self.group = bundle, config, recipe, source, group
        self.loader = TrainLoader(source.train, recipe, config.stem, group)
        self.steps = self.loader.steps
        self._to_device = to_device_of(source.train, recipe, config, group.device)
        teacher = teacher_of(recipe, config, group.device)
        self._criterion = Criterion(recipe, config.head.num_classes, teacher, self.steps.a_part)
        _seed(recipe.seed)
        self.model: Spikformer = laid_out(bundle.model(config), recipe, group)
        self.ema = average_of(self.model, recipe)
        self._called = wrapped(self.model, recipe, group)
        self.precision = precision(recipe, group.device)
        separate = teacher is not None and config.head.distillation
        self._loss = Loss(self._called, self._criterion, self.precision, group.device, separate=separate)
        optimizer, scales = optimizer_of(self.model, recipe), self.precision == "fp16"
        self._update = Update(self.model, optimizer, clip_norm=recipe.clip_norm, scales=scales)
        self._captures = captures(recipe, group)
        self._step = Step(
            self._called, self._loss, self._update, accumulation=recipe.accumulation, captures=self._captures
        )
        self.schedule = schedule_of(recipe, self.steps.an_epoch)
        self.done = 0

    @property
    def sums(self) -> Tensor:
        return self._loss.sums

    @property
    def total(self) -> int:
        """Steps of the whole training."""
        return self.recipe.all_epochs * self.steps.an_epoch

    @contextlib.contextmanager
    def stepping(self) -> Iterator[None]:
        """Steps are made within: on CUDA with the fastest kernels, and on a stream that a graph can capture."""
        with tuned(self.group.device, captures=self._captures):
            yield

    def step(self, parts: list[Batch]) -> None:
        """One step of the optimizer, on this process's parts of the batch; nothing in it waits for the device."""
        self._called.train()
        # Compiled code holds the momentum as a constant, and would be compiled anew for each of its first values.
        with contextlib.nullcontext() if momentum_settles(self.done) else uncompiled(self.recipe):
            self._step(self.done, self._prepared(parts), self.schedule(self.done))
        self.done += 1
        if self.ema is not None:
            self.ema.update(self.model, step=self.done)

    def _prepared(self, parts: list[Batch]) -> Iterator[Inputs]:
        """Images and targets on the device. Before each part, generators are seeded by what it is a part of.

        This is done outside of a graph: what is erased and mixed is drawn on the host.
        """
        epoch = self.done // self.steps.an_epoch
        for i, batch in enumerate(parts):
            check_readable(batch, self.recipe)
            _seed(self.recipe.seed, self.done, self.group.rank, i)
            images, labels = self._to_device(batch, training=True)
            yield self._criterion.prepared(images, labels, epoch)

    def trained_model(self) -> Spikformer:
        """The one that counts: the moving average, if there is one."""
        model = self.model if self.ema is None else self.ema.module
        assert isinstance(model, Spikformer)
        return model

    def weights(self) -> bytes:
        """The weights of that model, under the names of a plain one."""
        return checkpoints.weights_of(self.trained_model())

    def checkpoint(self) -> Checkpoint:
        """All that the steps to come depend on."""
        optimizer, scaler = self._update.state()
        return Checkpoint(
            self.config,
            self.recipe,
            self.done,
            self.sums.cpu(),
            self.model.state_dict(),
            None if self.ema is None else self.ema.module.state_dict(),
            optimizer,
            scaler,
            self.source.classes,
            self.source.fingerprint,
        )

    def restore(self, saved: Checkpoint) -> None:
        """Continue from a checkpoint.

        Raises:
            TrainingError: its weights or moments are of another network.
        """
        try:
            self.model.load_state_dict(saved.model)
            if self.ema is not None and saved.ema is not None:
                self.ema.module.load_state_dict(saved.ema)
            self._update.load_state(saved.optimizer, saved.scaler)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:  # as torch says it
            raise TrainingError(
                f"the checkpoint belongs to another network, or is damaged: {error}. Train into another folder: --out "
                "DIR"
            ) from None
        if self.group.is_main:  # who saved them
            self.sums.copy_(saved.sums)
        self.done = saved.steps

    def is_finite(self) -> bool:
        """Whether losses and weights are numbers; waits for the device."""
        norms = torch.stack([parameter.detach().float().norm() for parameter in self.model.parameters()])
        return bool((norms.sum() + self.sums[0]).isfinite())


def _seed(*words: int) -> None:
    """Seed all generators that a step draws from."""
    seed = int(np.random.SeedSequence(words).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


__all__ = ["Loss", "Training"]
