"""Stage `full` of gpu_day.py: steady pace and memory of full training's step, then its readers."""

import time
from pathlib import Path

import numpy as np
import torch
from gpu_task import REPOSITORY, Task, check_device, processors

from nas.bundles import bundle as bundles
from nas.bundles import recipe as recipes
from nas.datasets.sources import InMemory, Source
from nas.full_training.process_group import initialised
from nas.full_training.training import Training
from spikformer.config import SpikformerConfig

_WARM = 12  # steps in which kernels are chosen and momentum settles
_READERS = Path("benchmarks/readers.py")


def noise(config: SpikformerConfig, count: int) -> Source:
    """Images for the network; nothing is learned from them."""
    size, classes = config.stem.image_size, config.head.num_classes
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    images = InMemory(pixels, random.integers(0, classes, count), "noise")
    return Source(images, images, "test", tuple(map(str, range(classes))), "cifar")


def steady(task: Task, name: str, batch: int, steps: int, *settings: str) -> None:
    """Tells the pace of the step alone: the same images again and again, without readers."""
    opened = bundles.read(name, "")
    recipe = recipes.with_settings(opened.recipe, (f"batch_size={batch}", "workers=0", *settings))
    config = recipe.of(opened.config)
    with initialised(task.device) as group:
        training = Training(opened, config, recipe, noise(config, 2 * batch), group)
        parts = list(training.loader.epoch(0))[: recipe.accumulation]
        if task.on_cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(group.device)
        with training.stepping():
            for i in range(_WARM + steps):
                if i == _WARM:
                    _wait(task)
                    started = time.perf_counter()
                training.step(parts)
            _wait(task)
        step_s = (time.perf_counter() - started) / steps
    peak_gb = torch.cuda.max_memory_allocated() / 1e9 if task.on_cuda else 0.0
    task.tell(
        name,
        batch=batch,
        settings=settings,
        images_s=round(batch / step_s, 1),
        step_ms=round(1e3 * step_s, 2),
        peak_gb=round(peak_gb, 2),
    )


def _wait(task: Task) -> None:
    if task.on_cuda:
        torch.cuda.synchronize()


def read_images(task: Task) -> None:
    """Tells what the readers bring."""
    if (REPOSITORY / _READERS).exists():
        # Few images, one round, one process: the GPU waits meanwhile.
        options = ("--quick", f"--limit={task.left() / 3:.0f}")
        ended = task.run("-u", str(_READERS), *options, seconds=task.left() / 2)
        task.tell("readers", code=ended.code, lines=ended.text.splitlines()[-12:])
    assert task.data is not None
    name = "spikformer_cifar10_2_256"
    settings = ["--set", f"workers={min(16, processors())}", *(["--set", "batch_size=8"] if task.quick else [])]
    dry_run = ("train", name, "--dry-run", "--device", task.device, "--data-dir", str(task.data), *settings)
    ended = task.run(*dry_run, seconds=task.left() / 2)
    task.tell("dry run", code=ended.code, lines=ended.text.splitlines())


def try_steady(task: Task, name: str, batch: int, steps: int) -> None:
    """As `steady`, if there is time; what fails is told."""
    if task.left() < 10:
        task.tell("not run", network=name, batch=batch)
        return
    try:
        steady(task, name, batch, steps)
    except Exception as error:  # out of memory, say: the next network is another question
        task.tell(name, batch=batch, error=f"{type(error).__name__}: {error}"[:400])


def main() -> None:
    task = Task.read()
    check_device(task.device)
    if task.quick:
        try_steady(task, "spikformer_cifar10_2_256", 2, 1)
        read_images(task)
        return
    for network in (("spikformer_cifar10_4_384", 128, 30), ("spikformer_cifar10_2_256", 128, 30)):
        try_steady(task, *network)
    read_images(task)
    for network in (("spikformer_in_8_512", 64, 8), ("spikformer_cifar10_4_384", 512, 15), ("sdt2_in_8_512", 128, 8)):
        try_steady(task, *network)


if __name__ == "__main__":
    main()
