"""A network trained on a split of images for a share of a recipe, interrupted or not."""

import contextlib
import itertools
import logging
import math
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path

import torch
from torch import Tensor, nn

from nas import files
from nas.datasets import Split
from nas.errors import OutputError
from nas.settings import Recipe
from nas.training.augmentation import NetworkInput
from nas.training.epoch import Epoch
from nas.training.execution import ExecutionOptions, exact, lay_out, neurons, options_for, tuned
from nas.training.proxy import ProxySteps
from nas.training.schedule import Schedule
from nas.training.spikes import SpikeCount

_EVALUATION_BATCH = 256
_CPU_PIXELS = 65_536  # of a batch that is evaluated on a CPU: larger ones are no faster, and need gigabytes
_LOGGER = logging.getLogger(__name__)
_SAVED_EVERY_S = 60.0
_FORMAT = 2  # of the file; the first had none, and the optimizer's groups in another order


class DivergedError(Exception):
    """The training loss is no longer finite."""


def fit(
    model: nn.Module,
    train: Split,
    recipe: Recipe,
    seed: int,
    on_epoch: Callable[[int, Epoch], None] = lambda _i, _epoch: None,
    options: ExecutionOptions | None = None,
    share: float = 1.0,
    saved: Path | None = None,
) -> list[Epoch]:
    """Train `model` in place on images of its device; leaves it in training mode.

    Args:
        seed: of the order of images and of augmentation.
        on_epoch: called after each epoch with its number, from 1, and what it measured.
        options: how it runs; by default the fastest way on this machine.
        share: of the recipe's steps to train, with a whole schedule of their own.
        saved: a file for how far it came, at the end of an epoch and at most once a minute. If it is there, training
            goes on from it, and ends with the same weights as without the interruption.

    Returns:
        One entry an epoch; the last epoch may be cut short.

    Raises:
        DivergedError: the loss became infinite or undefined.
    """
    device, batch = train.labels.device, min(recipe.batch_size, len(train))
    steps, in_epoch = steps_of(len(train), recipe, share), len(train) // batch
    options = options or options_of(train, recipe)
    rate = schedule(recipe, steps)
    with stepping(model, train, recipe, seed, options) as step:
        progress = _Saved(saved, model, step)
        history = progress.restored()
        for i, earlier in enumerate(history, start=1):
            on_epoch(i, earlier)
        for epoch in range(len(history), epochs_of(len(train), recipe, share)):
            order = torch.randperm(len(train), generator=step.random, device=device)
            batches_left = order.split(batch)[: min(in_epoch, steps - epoch * in_epoch)]
            for number, chosen in enumerate(batches_left, start=epoch * in_epoch):
                step(number, chosen, rate(number))
            history.append(Epoch(*step.totals(len(batches_left))))
            if not math.isfinite(history[-1].loss):
                raise DivergedError(f"the training loss is {history[-1].loss} in epoch {epoch + 1}")
            progress.save(history)
            on_epoch(epoch + 1, history[-1])
    return history


def step_seconds(
    model: nn.Module, train: Split, recipe: Recipe, seed: int, options: ExecutionOptions, count: int
) -> tuple[float, float]:
    """How long a training takes to get going, and a step of it once it has, as a mean of `count`.

    What is compiled, allocated or captured in the first steps makes them slower: that is the first number, without the
    time that the same steps take later. Nothing is learned.
    """
    device = train.labels.device
    order = torch.arange(len(train), device=device).split(min(recipe.batch_size, len(train)))
    batches_again = itertools.cycle(part for part in order if len(part) == len(order[0]))
    with stepping(model, train, recipe, seed, options) as step:
        begun, first = _now(device), 0
        while not step.has_settled:
            step(first, next(batches_again), rate=0.0)
            first += 1
        settled = _now(device)
        for number in range(first, first + count):
            step(number, next(batches_again), rate=0.0)
        step_s = (_now(device) - settled) / count
    return max(0.0, settled - begun - first * step_s), step_s


def _now(device: torch.device) -> float:
    """Seconds, when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()


@contextlib.contextmanager
def stepping(
    model: nn.Module, train: Split, recipe: Recipe, seed: int, options: ExecutionOptions
) -> Iterator[ProxySteps]:
    """Steps of a training, for as long as the context lasts; `model` is in training mode afterwards."""
    model.train()
    device = train.labels.device
    with neurons(options.neurons), tuned(device, captures=options.cuda_graph), SpikeCount(model, recipe) as spikes:
        step = ProxySteps(model, train, recipe, seed, options, spikes)
        try:
            yield step
        finally:
            step.close()
            # Saved weights are in this format: measured now or from a file, a network gives the same to the last bit.
            lay_out(model, torch.contiguous_format)


def options_of(train: Split, recipe: Recipe) -> ExecutionOptions:
    """How `fit` trains on these images unless told otherwise."""
    pixels = images_seen(len(train), recipe) * train.pixels
    return options_for(train.labels.device, recipe, pixels)


class _Saved:
    """How far a training came, in a file that appears whole; no more than tensors and numbers are read from it."""

    def __init__(self, path: Path | None, model: nn.Module, step: ProxySteps) -> None:
        self._path, self._model, self._step = path, model, step
        self._last = time.monotonic()

    def restored(self) -> list[Epoch]:
        """The epochs behind it; none where there is no file, or one of another program."""
        if self._path is None or not self._path.exists():
            return []
        fresh = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}, self._step.state()
        try:
            state = torch.load(self._path, map_location="cpu", weights_only=True)
            if state["format"] != _FORMAT:
                raise ValueError(f"the file has format {state['format']}, but this program reads {_FORMAT}")
            history = [Epoch(*values) for values in state["history"]]
            self._model.load_state_dict(state["model"])
            self._step.load_state(state)
        except (OSError, EOFError, LookupError, TypeError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
            _LOGGER.warning("%s cannot be read, so the training run begins anew: %s", self._path, error)
            self._model.load_state_dict(fresh[0])
            self._step.load_state(fresh[1])
            return []
        return history

    def save(self, history: list[Epoch]) -> None:
        if self._path is None or time.monotonic() - self._last < _SAVED_EVERY_S:
            return
        self._last = time.monotonic()
        state = {"format": _FORMAT, "model": self._model.state_dict(), "history": [astuple(epoch) for epoch in history]}
        try:
            files.write(self._path, lambda partial: torch.save({**state, **self._step.state()}, partial))
        except (OutputError, RuntimeError) as error:  # torch raises the latter on a full disk; training matters more
            _LOGGER.warning("the progress of this training run cannot be saved: %s", error)


def schedule(recipe: Recipe, steps: int) -> Schedule:
    """The learning rate of a proxy: it rises to the recipe's, from the first step on, and falls to 0 with the last."""
    rise = max(1, round(recipe.warmup * steps))
    return Schedule(recipe.learning_rate, steps, warmup=rise, ahead=1, start=rise)


def steps_of(images: int, recipe: Recipe, share: float = 1.0) -> int:
    """Steps in a share of a training; an epoch has as many as fill whole batches of the train split's `images`."""
    return max(1, round(share * recipe.epochs * (images // min(recipe.batch_size, images))))


def epochs_of(images: int, recipe: Recipe, share: float = 1.0) -> int:
    """Epochs that these steps begin."""
    return math.ceil(steps_of(images, recipe, share) / (images // min(recipe.batch_size, images)))


def images_seen(images: int, recipe: Recipe, share: float = 1.0) -> int:
    """Images that these steps see, those that come again included."""
    return steps_of(images, recipe, share) * min(recipe.batch_size, images)


def accuracy(model: nn.Module, split: Split, as_input: NetworkInput) -> float:
    """Share of images whose largest logit is their class; evaluates in eval mode, in float32."""
    return scores(model, split, as_input)[0]


def scores(model: nn.Module, split: Split, as_input: NetworkInput) -> tuple[float, float]:
    """Accuracy, and balanced accuracy, in eval mode and float32: see `accuracies`."""
    model.eval()
    counts_2K: Tensor | None = None
    with torch.no_grad(), exact():
        for images, labels in batches(split, evaluation_batch(split)):
            part_2K = counts_by_class(model(as_input(images)), labels)
            counts_2K = part_2K if counts_2K is None else counts_2K + part_2K
    return accuracies(counts_2K)


def counts_by_class(logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    """Images of each of K classes whose largest logit is their class, and all of them: [2, K], whole numbers."""
    right_B = (logits_BK.argmax(1) == labels_B).long()
    counts_2K = torch.zeros(2, logits_BK.shape[1], dtype=torch.int64, device=logits_BK.device)
    return counts_2K.index_add_(1, labels_B, torch.stack([right_B, torch.ones_like(right_B)]))


def accuracies(counts_2K: Tensor | None) -> tuple[float, float]:
    """Share of the images that are right, and balanced accuracy: the mean over classes of each class's share.

    Classes without images are left out of the mean. Both are 0 where there is no image.

    Args:
        counts_2K: see `counts_by_class`, summed over batches; None without any.
    """
    if counts_2K is None or not counts_2K[1].any():
        return 0.0, 0.0
    right_K, all_K = counts_2K.double().cpu()
    seen_K = all_K > 0
    return (right_K.sum() / all_K.sum()).item(), (right_K[seen_K] / all_K[seen_K]).mean().item()


def evaluation_batch(split: Split) -> int:
    """How many images of a split are evaluated at a time on their device."""
    if split.labels.device.type != "cpu":
        return _EVALUATION_BATCH
    return max(1, min(_EVALUATION_BATCH, _CPU_PIXELS // split.pixels))


def batches(split: Split, size: int) -> list[tuple[Tensor, Tensor]]:
    """All images in order, `size` at a time."""
    return list(zip(split.images.split(size), split.labels.split(size), strict=True))


__all__ = [
    "DivergedError",
    "accuracies",
    "accuracy",
    "batches",
    "counts_by_class",
    "epochs_of",
    "evaluation_batch",
    "fit",
    "images_seen",
    "options_of",
    "schedule",
    "scores",
    "step_seconds",
    "stepping",
    "steps_of",
]
