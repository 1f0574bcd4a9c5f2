"""A training rehearsed: all is built, two steps are run, and what the whole would take is told.

On a GPU the steps have the recipe's size, and memory is what the device says. On a CPU they are of a few images, and
the memory of a GPU is estimated from the tensors that a forward pass in bfloat16 keeps for its backward pass; CUDA's
kernels keep somewhat other ones.
"""

import dataclasses
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas import bundle as bundles
from nas.bundle import Bundle
from nas.data import CIFAR10_CLASSES, CIFAR100_CLASSES
from nas.full_training import images as sources
from nas.full_training import memory
from nas.full_training import recipe as recipes
from nas.full_training.images import Images, InMemory, Source
from nas.full_training.loading import Batch, TrainLoader
from nas.full_training.loop import Training
from nas.full_training.recipe import TrainingRecipe
from nas.full_training.team import Team, joined
from spikformer.config import SpikformerConfig

_STEPS = 2
_CPU_PART = 4  # images that a CPU is shown
_LOADED_S = 3.0
_IMAGES = {10: 50_000, 100: 50_000, 1000: 1_281_167}
"""Training images of CIFAR-10, CIFAR-100 and ImageNet, by their classes, where no folder tells."""


@dataclass(frozen=True)
class Rehearsal:
    """What two steps told.

    Attributes:
        parameters: of the network.
        part: images a process ran at a time.
        step_s: of the second step.
        images_a_s: trained, by all processes.
        loaded_a_s: read and augmented by this process's readers alone; None without a folder.
        peak_gb: of memory: the GPU's, or this process's on a CPU.
        gpu_gb, gpu_checkpointed_gb: estimated for a GPU at the recipe's part, without and with checkpointing; None
            where it was measured.
        recipe_part: images that a process runs at a time by the recipe.
        train_images: of an epoch.
        hours: for the whole recipe at this pace; without evaluations.
        on: device and precision.
    """

    name: str
    config: SpikformerConfig
    parameters: int
    part: int
    step_s: float
    images_a_s: float
    loaded_a_s: float | None
    peak_gb: float
    gpu_gb: float | None
    gpu_checkpointed_gb: float | None
    recipe_part: int
    train_images: int
    hours: float
    on: str

    def lines(self) -> list[str]:
        """For people."""
        size = self.config.stem.image_size
        found = [
            f"{self.name}: {self.parameters:,} parameters, {size} x {size} pixels, T = {self.config.time_steps}",
            f"two steps ran on {self.on}, {self.part} images a process: {self.images_a_s:,.1f} images/s, "
            f"peak memory {self.peak_gb:.2f} GB",
        ]
        if self.gpu_gb is not None:
            found.append(
                f"GPU memory at the recipe's {self.recipe_part} images a process, estimated on a CPU, not measured: "
                f"{self.gpu_gb:.1f} GB, with checkpointing {self.gpu_checkpointed_gb:.1f} GB"
            )
        if self.loaded_a_s is not None:
            found.append(f"reading and augmenting alone: {self.loaded_a_s:,.0f} images/s a process")
        found.append(f"the whole recipe, {self.train_images:,} images an epoch, at this pace: {_duration(self.hours)}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self) | {"config": self.config.to_dict()}


def rehearse(
    bundle: str | Path,
    data_dir: str | Path | None = None,
    recipe: str = "",
    settings: tuple[str, ...] = (),
    device: str = "auto",
) -> Rehearsal | None:
    """Build a training, run two steps of it, and write nothing; of several processes, the first tells.

    Args:
        data_dir: where given, its images are read, and how fast is told; else noise is trained on.
        bundle, recipe, settings, device: see `nas.full_training.loop.train`.

    Raises:
        SpikformerError: what `train` would raise before its first step.
    """
    opened = bundles.read(bundle, recipe)
    chosen = recipes.with_settings(opened.recipe, settings)
    config = chosen.of(opened.config)
    with joined(device) as team:
        source = None
        if data_dir is not None:
            source = sources.find(data_dir, opened.dataset)
            source.check_classes(opened.name, config.head.num_classes, tuple(opened.document.get("classes", ())))
        found = _rehearsed(opened, config, chosen, source, team)
        return found if team.leads else None


def _rehearsed(
    bundle: Bundle, config: SpikformerConfig, recipe: TrainingRecipe, source: Source | None, team: Team
) -> Rehearsal:
    on_cpu = team.device.type == "cpu"
    recipe_part = recipe.batch_size // (team.size * recipe.accumulation)
    part = min(_CPU_PART, recipe_part) if on_cpu else recipe_part
    tried = dataclasses.replace(recipe, batch_size=part * team.size * recipe.accumulation, workers=0)
    noise = _noise(config, tried.batch_size * _STEPS)
    loaded = _loading_pace(source, recipe, config, team) if source is not None else None
    kept, kept_checkpointed = memory.kept_gb(config) if on_cpu else (0.0, 0.0)
    training = Training(bundle, config, tried, noise, team)
    if not on_cpu:
        torch.cuda.reset_peak_memory_stats(team.device)
    step_s = _timed_step(training)
    parameters = sum(p.numel() for p in training.model.parameters())
    states_gb = memory.states_gb(parameters, recipe)
    pace = tried.batch_size / step_s
    images = len(source.train) if source is not None else _IMAGES.get(config.head.num_classes, 50_000)
    return Rehearsal(
        name=bundle.name,
        config=config,
        parameters=parameters,
        part=part,
        step_s=step_s,
        images_a_s=pace,
        loaded_a_s=loaded,
        peak_gb=_peak_gb(team.device),
        gpu_gb=states_gb + kept * recipe_part if on_cpu else None,
        gpu_checkpointed_gb=states_gb + kept_checkpointed * recipe_part if on_cpu else None,
        recipe_part=recipe_part,
        train_images=images,
        hours=recipe.all_epochs * images / pace / 3600,
        on=f"{team.size} process(es), {_named(team.device)}, {training.precision}",
    )


def _timed_step(training: Training) -> float:
    """Seconds of the second of two steps: the first compiles and allocates."""
    parts = list(training.loader.epoch(0))
    step_s = 0.0
    for i in range(_STEPS):
        started = time.perf_counter()
        training.step(parts[i * training.recipe.accumulation : (i + 1) * training.recipe.accumulation])
        if training.team.device.type == "cuda":
            torch.cuda.synchronize(training.team.device)
        step_s = time.perf_counter() - started
    return step_s


def _noise(config: SpikformerConfig, count: int) -> Source:
    stem, classes = config.stem, config.head.num_classes
    generator = np.random.default_rng(0)
    shape = (count, stem.image_size, stem.image_size, *((3,) if stem.in_channels > 1 else ()))
    pixels = generator.integers(0, 256, shape, dtype=np.uint8)
    images = InMemory(pixels, generator.integers(0, classes, count), "noise")
    known = {10: CIFAR10_CLASSES, 100: CIFAR100_CLASSES}
    return Source(images, images, "test", known.get(classes, tuple(map(str, range(classes)))), "cifar")


def _loading_pace(source: Source, recipe: TrainingRecipe, config: SpikformerConfig, team: Team) -> float:
    """Images a second that the readers bring, once they are started."""
    own: Images = source.train
    part = max(2, min(recipe.batch_size // (team.size * recipe.accumulation), 64, len(own) // team.size))
    small = dataclasses.replace(recipe, batch_size=part * team.size, accumulation=1)
    batches: Iterator[Batch] = TrainLoader(own, small, config.stem, team).epoch(0)
    next(batches)
    started, seen = time.perf_counter(), 0
    for batch in batches:
        seen += len(batch.labels)
        if time.perf_counter() - started > _LOADED_S:
            break
    return seen / max(1e-9, time.perf_counter() - started)


def _peak_gb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest * (1 if sys.platform == "darwin" else 1024) / 1e9


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 72 else f"{hours / 24:.1f} days"


__all__ = ["Rehearsal", "rehearse"]
