"""A training as a dry run: all is built, a few steps are run, and what the whole would take is told.

On a GPU the steps have the recipe's size, ten are timed after twelve that warm up, and memory is what the device says.
On a CPU the second of two steps is timed, they are of a few images, and the memory of a GPU is estimated from the
tensors that a forward pass in bfloat16 keeps for its backward pass; CUDA's kernels keep somewhat other ones.
"""

import dataclasses
import math
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nas.bundles import Bundle, TrainingRecipe
from nas.bundles import bundle as bundles
from nas.datasets import CIFAR10_CLASSES, CIFAR100_CLASSES, FrameImages, InMemory, LabelledImages, Source
from nas.datasets import sources as sources
from nas.full_training import memory
from nas.full_training.loading import Batch, TrainLoader
from nas.full_training.loop import recipe_of
from nas.full_training.process_group import ProcessGroup, initialised
from nas.full_training.training import Training
from nas.settings import TRAINING_RECORDINGS
from spikformer.config import SpikformerConfig
from spikformer.fields import PlainTable

_WARM_UP = {"cuda": 12, "cpu": 1}  # steps, which choose algorithms and allocate; the last compiles or captures
_TIMED = {"cuda": 10, "cpu": 1}  # steps: the host runs ahead of a GPU, so that a single one tells little
_NOISE_STEPS = 2  # so many steps have images of their own; more are shown them again
_CPU_PART = 4  # images that a CPU is shown
_LOADED_S = 3.0
_READ_AHEAD = 2  # batches that torch lets each reader have ready
_BUNDLED = ("digits", "dvs_digits")  # are there without being downloaded
_CLASSES = {"digits": 10, "dvs_digits": 10, "cifar10": 10, "cifar100": 100}
"""Of the images that are bundled or downloaded."""
_IMAGES = {10: 50_000, 100: 50_000, 1000: 1_281_167}
"""Training images of CIFAR-10, CIFAR-100 and ImageNet, by their classes, where no folder tells."""


@dataclass(frozen=True)
class DryRun:
    """What a few steps told.

    Attributes:
        parameters: of the network.
        part: images a process ran at a time.
        steps: how many were run.
        step_s: mean of those that were timed.
        images_a_s: trained, by all processes.
        loaded_a_s: images that this process's readers alone read and augment per second; None without a folder, and of
            too few images.
        resident: whether the images of the folder stay on the device, so that there are no readers.
        processes: that train together.
        workers: readers of each, by the recipe.
        draft: whether they decode large JPEGs at a reduced size.
        peak_gb: of memory: the GPU's, or this process's on a CPU.
        gpu_gb, gpu_checkpointed_gb: estimated for a GPU at the recipe's part, without and with checkpointing; None
            where it was measured.
        recipe_part: images that a process runs at a time by the recipe.
        train_images: of an epoch.
        has_images: whether the training finds its images without being told where they are.
        hours: for the whole recipe at this pace; without evaluations.
        on: device and precision.
    """

    name: str
    config: SpikformerConfig
    parameters: int
    part: int
    steps: int
    step_s: float
    images_a_s: float
    loaded_a_s: float | None
    resident: bool
    processes: int
    workers: int
    draft: bool
    peak_gb: float
    gpu_gb: float | None
    gpu_checkpointed_gb: float | None
    recipe_part: int
    train_images: int
    has_images: bool
    hours: float
    on: str

    def lines(self) -> list[str]:
        """For people."""
        size = self.config.stem.image_size
        lines = [
            f"{self.name}: {self.parameters:,} parameters, {size} x {size} pixels, T = {self.config.time_steps}",
            f"{self.steps} steps ran on {self.on}, {self.part} images per process: {self.images_a_s:,.1f} images/s, "
            f"peak memory {self.peak_gb:.2f} GB",
        ]
        if self.gpu_gb is not None:
            lines.append(
                f"GPU memory at the recipe's {self.recipe_part} images per process, estimated on a CPU, not measured: "
                f"{self.gpu_gb:.1f} GB, with checkpointing {self.gpu_checkpointed_gb:.1f} GB"  # pyrefly: ignore[invalid-format-spec]
            )
        if self.loaded_a_s is not None:
            lines += [self._readers_line(self.loaded_a_s), self.verdict(self.loaded_a_s)]
        lines.append(f"the whole recipe, {self.train_images:,} images per epoch, at this pace: {_duration(self.hours)}")
        return lines

    def _readers_line(self, loaded_a_s: float) -> str:
        if self.resident:
            return f"all images are held on the device, which mirrors {loaded_a_s:,.0f} images/s; no readers run"
        return f"the readers alone bring {loaded_a_s:,.0f} images/s per process with workers={self.workers}"

    def verdict(self, loaded_a_s: float) -> str:
        """Whether the network or the readers set the pace of the training, and what helps the readers.

        Args:
            loaded_a_s: images that the readers of one process bring per second.
        """
        if self.resident:
            return f"the network sets the pace: it trains {self.images_a_s:,.0f} images/s and waits for no reader"
        read_a_s = loaded_a_s * self.processes
        paces = f"the network trains {self.images_a_s:,.0f} images/s, the readers bring {read_a_s:,.0f}"
        if read_a_s >= self.images_a_s:
            return f"the network sets the pace: {paces}"
        return f"the readers set the pace: {paces}. {self._remedy(read_a_s)}"

    def _remedy(self, read_a_s: float) -> str:
        needed = math.ceil(max(1, self.workers) * self.images_a_s / read_a_s)
        cores = max(1, _cores() // self.processes)
        draft = "" if self.draft else ", or decode large JPEGs at a reduced size (--set draft=true)"
        if needed <= cores:
            return f"Use more workers: --set workers={needed}"
        return (
            f"Keeping up takes workers={needed}, but this machine has {cores} cores per process. Use all of them "
            f"(--set workers={cores}) and store smaller images (the command shrink){draft}"
        )

    def to_dict(self) -> PlainTable:
        """Plain values."""
        return dataclasses.asdict(self) | {"config": self.config.to_dict()}


def run(
    bundle: str | Path,
    data_dir: str | Path | None = None,
    recipe: str = "",
    settings: tuple[str, ...] = (),
    device: str = "auto",
    *,
    weights: str | Path | None = None,
    classes: int = 0,
    in_channels: int = 0,
    epochs: int = 0,
) -> DryRun | None:
    """Build a training, run a few steps of it, and write nothing; of several processes, the first tells.

    Args:
        data_dir: if given, reading from this folder is timed. The steps always train on noise.
        bundle, recipe, settings, device, weights, classes, in_channels, epochs: see `nas.full_training.loop.train`.

    Raises:
        SpikformerError: what `train` would raise before its first step.
    """
    opened = bundles.read(bundle, recipe, weights).for_images(classes, in_channels)
    chosen = recipe_of(opened, epochs, settings)
    config = chosen.of(opened.config)
    with initialised(device) as group:
        source = None
        if data_dir is not None or opened.dataset in _BUNDLED:
            source = sources.find(data_dir, opened.dataset, cut=opened.cut, network=config)
            source.check_classes(opened.name, config.head.num_classes, tuple(opened.document.get("classes", ())))
        result = _dry_run(opened, config, chosen, source, group)
        return result if group.is_main else None


def _dry_run(
    bundle: Bundle, config: SpikformerConfig, recipe: TrainingRecipe, source: Source | None, group: ProcessGroup
) -> DryRun:
    on_cpu = group.device.type == "cpu"
    recipe_part = recipe.batch_size // (group.size * recipe.accumulation)
    part = min(_CPU_PART, recipe_part) if on_cpu else recipe_part
    # Its images are noise, read before a step is timed and without readers; these are timed alone, on the folder.
    size = part * group.size * recipe.accumulation
    tried = dataclasses.replace(recipe, batch_size=size, workers=0, draft=False)
    count = tried.batch_size * _NOISE_STEPS
    has_events = bundle.cut[0].has_events
    noise = _noisy_frames(config, count) if has_events else _noise(config, count)
    loaded, resident = _loading_pace(source, recipe, config, group) if source is not None else (None, False)
    image_gb, checkpointed_gb = memory.kept_gb(config, has_frames=has_events) if on_cpu else (0.0, 0.0)
    training = Training(bundle, config, tried, noise, group)
    if not on_cpu:
        torch.cuda.reset_peak_memory_stats(group.device)
    with training.stepping():
        step_s = _timed_step(training)
    parameters = sum(p.numel() for p in training.model.parameters())
    states_gb = memory.states_gb(parameters, recipe)
    pace = tried.batch_size / step_s
    known = TRAINING_RECORDINGS.get(bundle.dataset, _IMAGES.get(config.head.num_classes, 50_000))
    images = len(source.train) if source is not None else known
    return DryRun(
        name=bundle.name,
        config=config,
        parameters=parameters,
        part=part,
        steps=_WARM_UP[group.device.type] + _TIMED[group.device.type],
        step_s=step_s,
        images_a_s=pace,
        loaded_a_s=loaded,
        resident=resident,
        processes=group.size,
        workers=recipe.workers,
        draft=recipe.draft,
        peak_gb=_peak_gb(group.device),
        gpu_gb=states_gb + image_gb * recipe_part if on_cpu else None,
        gpu_checkpointed_gb=states_gb + checkpointed_gb * recipe_part if on_cpu else None,
        recipe_part=recipe_part,
        train_images=images,
        has_images=_CLASSES.get(bundle.dataset) == config.head.num_classes,
        hours=recipe.all_epochs * images / pace / 3600,
        on=f"{group.size} process(es), {_named(group.device)}, {training.precision}",
    )


def _timed_step(training: Training) -> float:
    """Seconds of a step, the mean of some after those that warm up."""
    device, accumulation = training.group.device, training.recipe.accumulation
    parts = list(training.loader.epoch(0))
    batches = [parts[i : i + accumulation] for i in range(0, len(parts), accumulation)]
    for i in range(_WARM_UP[device.type]):
        training.step(batches[i % len(batches)])
    _finish(device)
    started = time.perf_counter()
    for i in range(_WARM_UP[device.type], _WARM_UP[device.type] + _TIMED[device.type]):
        training.step(batches[i % len(batches)])
    _finish(device)
    return (time.perf_counter() - started) / _TIMED[device.type]


def _finish(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _noise(config: SpikformerConfig, count: int) -> Source:
    stem, classes = config.stem, config.head.num_classes
    generator = np.random.default_rng(0)
    shape = (count, stem.image_size, stem.image_size, *((3,) if stem.in_channels > 1 else ()))
    pixels = generator.integers(0, 256, shape, dtype=np.uint8)
    images = InMemory(pixels, generator.integers(0, classes, count), "noise")
    known = {10: CIFAR10_CLASSES, 100: CIFAR100_CLASSES}
    return Source(images, images, "test", known.get(classes, tuple(map(str, range(classes)))), "cifar")


def _noisy_frames(config: SpikformerConfig, count: int) -> Source:
    stem, classes = config.stem, config.head.num_classes
    generator = np.random.default_rng(0)
    counts = generator.poisson(0.2, (count, config.time_steps, 2, stem.image_size, stem.image_size)).astype(np.uint8)
    frames = FrameImages(torch.from_numpy(counts), generator.integers(0, classes, count), tuple(["noise"] * count))
    return Source(frames, frames, "test", tuple(map(str, range(classes))), "events")


def _loading_pace(
    source: Source, recipe: TrainingRecipe, config: SpikformerConfig, group: ProcessGroup
) -> tuple[float | None, bool]:
    """Images per second that the readers bring, None of too few images; and whether all stay on the device."""
    own: LabelledImages = source.train
    share = recipe.batch_size // (group.size * recipe.accumulation)
    part = max(2, min(share, 64, len(own) // (2 * group.size)))
    small = dataclasses.replace(recipe, batch_size=part * group.size, accumulation=1)
    loader = TrainLoader(own, small, config.stem, group)
    batches: Iterator[Batch] = loader.epoch(0)
    # The first ones were read while the readers started.
    for _ in range(1 + min(_READ_AHEAD * recipe.workers, loader.steps.an_epoch // 2)):
        next(batches)
    _finish(group.device)
    started, images = time.perf_counter(), 0
    for batch in batches:
        images += len(batch.labels)
        if time.perf_counter() - started > _LOADED_S:
            break
    _finish(group.device)
    pace = images / max(1e-9, time.perf_counter() - started)
    return pace if images else None, loader.resident is not None


def _peak_gb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest * (1 if sys.platform == "darwin" else 1024) / 1e9


def _cores() -> int:
    """Those that this process may use: a cluster gives a job some of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 72 else f"{hours / 24:.1f} days"


__all__ = ["DryRun", "run"]
