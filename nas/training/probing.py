"""How fast a machine trains and measures a network, from a few steps of it."""

import dataclasses
import math
import time
from collections.abc import Callable

import torch

from nas.costs import IMAGE_SIZE
from nas.datasets import Splits
from nas.settings import Recipe
from nas.training import device_memory, fitting, measurement
from nas.training.augmentation import network_input
from nas.training.candidate import energy_at_target
from nas.training.evaluation import ProxyTraining
from nas.training.measurement import Measurement
from nas.training.throughput import Pace
from spikformer.config import SpikformerConfig
from spikformer.model import Spikformer

_GPU_STEPS = 30
_FEWEST = 2  # images of a step on a CPU: of a single one batch norm may see a single number
_CPU_S = 1.0  # that a timed step on a CPU should take


def measured_pace(config: SpikformerConfig, splits: Splits, recipe: Recipe) -> Pace | None:
    """How fast `evaluate` is with such a network; None if it does not fit.

    On a GPU the steps that are timed have the recipe's size. On a CPU one of these may take minutes and gigabytes, so
    they are of a few images, in two sizes: what an image takes is told apart from what a step takes besides.
    """
    probe = _on_cpu if splits.train.labels.device.type == "cpu" else _on_gpu
    try:
        return probe(config, splits.at(config.time_steps), recipe)
    except (RuntimeError, MemoryError) as error:
        if not device_memory.is_full(error):
            raise
        return None


def _on_gpu(config: SpikformerConfig, splits: Splits, recipe: Recipe) -> Pace:
    train, options = splits.train, fitting.options_of(splits.train, recipe)
    for _ in range(2):  # the first of a process compiles and loads what the others find
        probe = ProxyTraining(config, splits, recipe, 0, options, lambda _i, _epoch: None, share=1.0)
        start_s, step_s = probe.step_seconds(_GPU_STEPS)
        started = time.monotonic()
        probe.measure()
        measuring_s = time.monotonic() - started
    return Pace(step_s / min(recipe.batch_size, len(train)), start_s + measuring_s)


def _on_cpu(config: SpikformerConfig, splits: Splits, recipe: Recipe) -> Pace:
    train, judged = splits.train, splits.search_val
    torch.manual_seed(0)
    model = Spikformer(config)
    as_input = network_input(train, model)
    # To compile neurons takes half a minute, and makes a step about a tenth faster: the estimate leaves it out.
    options = dataclasses.replace(fitting.options_of(train, recipe), neurons="auto")
    batch = min(recipe.batch_size, len(train))
    with fitting.stepping(model, train, recipe, 0, options) as step:
        training = _pace_of(lambda images: step(0, torch.arange(images), rate=0.0), batch)

    counts: list[Measurement] = []

    def count(images: int) -> None:
        batch = as_input(judged.images[:images]), judged.labels[:images]
        counts.append(measurement.measure_batches(model, [batch], fed=as_input.fed))

    counting = _pace_of(count, measurement.batch_size(judged))
    batches = math.ceil(len(judged) / measurement.batch_size(judged))
    batches += math.ceil(len(splits.report_val) / fitting.evaluation_batch(splits.report_val))
    images = len(judged) + len(splits.report_val)
    measuring_s = images * counting.image_s + batches * counting.measuring_s
    return Pace(training.image_s + training.measuring_s / batch, measuring_s + _recording_s(config, counts[0]))


def _recording_s(config: SpikformerConfig, counts: Measurement) -> float:
    """What a training takes that depends on no image: a fresh network, and its energy at the target's size."""
    started = time.monotonic()
    Spikformer(config)
    energy_at_target(config, counts.operations, IMAGE_SIZE)
    return time.monotonic() - started


def _pace_of(run: Callable[[int], object], most: int) -> Pace:
    """Seconds an image of a call with several, at most so many, and what the call takes besides."""
    run(_FEWEST)  # the first call chooses kernels and allocates
    few_s = _seconds(run, _FEWEST)
    more = min(most, int(_FEWEST * _CPU_S / few_s))
    if more < 2 * _FEWEST:  # a slow call is nearly all images, and two sizes that are near each other tell nothing
        return Pace(few_s / _FEWEST, 0.0)
    return Pace.of([_FEWEST, more], [few_s, _seconds(run, more)])


def _seconds(run: Callable[[int], object], images: int) -> float:
    started = time.monotonic()
    run(images)
    return time.monotonic() - started


__all__ = ["measured_pace"]
