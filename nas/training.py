"""The one training loop."""

import contextlib
import logging
import math
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from nas import files
from nas.data import Split
from nas.errors import OutputError
from nas.space import Recipe
from nas.speed import Speed, fastest, neurons
from spikformer.neurons import Neuron

EVALUATION_BATCH = 256
_LOGGER = logging.getLogger(__name__)
_BATCH_NORM_MOMENTUM = 0.1  # torch's default
_SAVED_EVERY_S = 60.0
_STEPS_BEFORE_CAPTURE = 3  # what is chosen or allocated at a first step must not be part of a graph


class DivergedError(Exception):
    """The training loss is no longer finite."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the train split.

    Attributes:
        loss: mean training loss, label smoothing included.
        accuracy: share of augmented training images that were classified rightly while training.
    """

    loss: float
    accuracy: float


def fit(
    model: nn.Module,
    train: Split,
    recipe: Recipe,
    seed: int,
    on_epoch: Callable[[int, Epoch], None] = lambda _i, _epoch: None,
    speed: Speed | None = None,
    share: float = 1.0,
    saved: Path | None = None,
) -> list[Epoch]:
    """Train `model` in place on images of its device; leaves it in training mode.

    Args:
        seed: of the order of images and of augmentation.
        on_epoch: called after each epoch with its number, from 1, and what it measured.
        speed: how it runs; the fastest way on this machine by default.
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
    speed = speed or speed_of(train, recipe)
    rate = _schedule(steps, recipe.warmup)
    model.train()
    with neurons(speed.neurons), _stream(device, speed.cuda_graph), _SpikeCount(model, recipe) as spikes:
        step = _Step(model, train, recipe, seed, speed, spikes)
        kept = _Saved(saved, model, step)
        history = kept.restored()
        for i, earlier in enumerate(history, start=1):
            on_epoch(i, earlier)
        for epoch in range(len(history), epochs_of(len(train), recipe, share)):
            order = torch.randperm(len(train), generator=step.random, device=device)
            batches_left = order.split(batch)[: min(in_epoch, steps - epoch * in_epoch)]
            for number, chosen in enumerate(batches_left, start=epoch * in_epoch):
                step(number, chosen, rate(number) * recipe.learning_rate)
            history.append(step.epoch(len(batches_left)))
            if not math.isfinite(history[-1].loss):
                raise DivergedError(f"the training loss is {history[-1].loss} in epoch {epoch + 1}")
            kept.save(history)
            on_epoch(epoch + 1, history[-1])
    # Saved weights are in this format: measured now or from a file, a network gives the same to the last bit.
    _lay_out(model, torch.contiguous_format)
    return history


def speed_of(train: Split, recipe: Recipe) -> Speed:
    """How `fit` trains on these images unless told otherwise."""
    pixels = images_seen(len(train), recipe) * train.images[0, 0].numel()
    return fastest(train.labels.device, recipe, pixels)


class _Step:
    """One step: augmentation, forward, backward, optimizer. Nothing in it waits for the device.

    On CUDA it is captured into a graph, which replays it in one launch, once batch norm's momentum has settled.

    Attributes:
        random: of the order of images and of augmentation.
    """

    def __init__(
        self, model: nn.Module, train: Split, recipe: Recipe, seed: int, speed: Speed, spikes: "_SpikeCount"
    ) -> None:
        device = train.labels.device
        self.random = torch.Generator(device).manual_seed(seed)
        self._model, self._train, self._recipe, self._speed = model, train, recipe, speed
        self._normalise = Normalise(train)
        self._format = torch.channels_last if speed.channels_last else torch.contiguous_format
        _lay_out(model, self._format)
        on_cuda = device.type == "cuda"
        rate = torch.zeros((), device=device) if on_cuda else 0.0  # a graph reads it from the device
        self._optimizer = torch.optim.AdamW(
            _groups(model, recipe.weight_decay), lr=rate, fused=True, capturable=on_cuda
        )
        self._norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        self._spikes = spikes
        self._chosen = torch.zeros(min(recipe.batch_size, len(train)), dtype=torch.int64, device=device)
        self._loss_sum, self._right = torch.zeros((), device=device), torch.zeros((), device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._captures = on_cuda and speed.cuda_graph
        self._steps = 0

    def __call__(self, number: int, chosen: Tensor, rate: float) -> None:
        """Train on the images `chosen`, [B]; `number` counts steps from 0."""
        self._chosen.copy_(chosen)
        self._set_rate(rate)
        settled = set_momentum(self._norms, number) and self._steps >= _STEPS_BEFORE_CAPTURE
        if settled and self._captures and self._graph is None:
            self._capture()
        self._steps += 1
        if self._graph is None:
            self._run()
        else:
            self._graph.replay()

    def epoch(self, steps: int) -> Epoch:
        """What the last steps measured; the one moment that waits for the device."""
        found = Epoch((self._loss_sum / steps).item(), (self._right / (steps * len(self._chosen))).item())
        self._loss_sum.zero_()
        self._right.zero_()
        return found

    def state(self) -> dict[str, Any]:
        """Between two epochs: what the next step depends on, the model apart."""
        generators = {"random": self.random.get_state(), "torch": torch.get_rng_state()}
        if self.random.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.random.device)
        return {"optimizer": self._optimizer.state_dict(), **generators}

    def load_state(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        self.random.set_state(state["random"])
        torch.set_rng_state(state["torch"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.random.device)

    def _run(self) -> None:
        images = self._normalise(augment(self._train.images, self._chosen, self._recipe.augment, self.random))
        labels = self._train.labels[self._chosen]
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._speed.precision == "bf16"):
            logits = self._model(images.contiguous(memory_format=self._format)).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self._recipe.label_smoothing)
        if self._recipe.spike_penalty > 0:
            loss = loss + self._recipe.spike_penalty * self._spikes.rate()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self._loss_sum += loss.detach()
        self._right += (logits.detach().argmax(1) == labels).sum()

    def _set_rate(self, rate: float) -> None:
        for group in self._optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _capture(self) -> None:
        """Record a step, without running it; where that fails, go on step by step."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.random)
        try:
            with torch.cuda.graph(graph):
                self._run()
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            self._captures = False
            _LOGGER.warning("the step cannot be captured into a CUDA graph, and runs operation by operation: %s", error)
            return
        self._graph = graph


class _Saved:
    """How far a training came, in a file that appears whole; no more than tensors and numbers are read from it."""

    def __init__(self, path: Path | None, model: nn.Module, step: _Step) -> None:
        self._path, self._model, self._step = path, model, step
        self._last = time.monotonic()

    def restored(self) -> list[Epoch]:
        """The epochs behind it; none where there is no file, or one of another program."""
        if self._path is None or not self._path.exists():
            return []
        fresh = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}, self._step.state()
        try:
            state = torch.load(self._path, map_location="cpu", weights_only=True)
            history = [Epoch(*values) for values in state["history"]]
            self._model.load_state_dict(state["model"])
            self._step.load_state(state)
        except (OSError, EOFError, LookupError, TypeError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
            _LOGGER.warning("%s does not tell how far a training came, which begins anew: %s", self._path, error)
            self._model.load_state_dict(fresh[0])
            self._step.load_state(fresh[1])
            return []
        return history

    def save(self, history: list[Epoch]) -> None:
        if self._path is None or time.monotonic() - self._last < _SAVED_EVERY_S:
            return
        self._last = time.monotonic()
        state = {"model": self._model.state_dict(), "history": [astuple(epoch) for epoch in history]}
        try:
            files.write(self._path, lambda partial: torch.save({**state, **self._step.state()}, partial))
        except (OutputError, RuntimeError) as error:  # torch raises the latter on a full disk; training matters more
            _LOGGER.warning("how far this training came is not kept: %s", error)


class _SpikeCount:
    """Spikes of all neurons in the last forward pass, with their gradient, if the recipe asks for them."""

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self._spikes: list[Tensor] = []
        self._neurons = [module for module in model.modules() if isinstance(module, Neuron) and recipe.spike_penalty]
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        self._hooks = [neuron.register_forward_hook(self._see) for neuron in self._neurons]
        return self

    def __exit__(self, *_error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _see(self, neuron: nn.Module, _inputs: Any, spikes_T: Tensor) -> None:
        assert isinstance(neuron, Neuron)
        self._spikes.append(spikes_T.abs() / neuron.spikes.quantum)

    def rate(self) -> Tensor:
        """Spikes per neuron and time step, []; forgets them."""
        total = torch.stack([spikes.sum(dtype=torch.float32) for spikes in self._spikes]).sum()
        neurons = sum(spikes.numel() for spikes in self._spikes)
        self._spikes.clear()
        return total / neurons


def _lay_out(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Kernels of convolutions; other parameters have no channels."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=memory_format)


@contextlib.contextmanager
def _stream(device: torch.device, own: bool) -> Iterator[None]:
    """On CUDA a stream of one's own: what is captured must not have run on the default one."""
    if not (own and device.type == "cuda"):
        yield
        return
    outer, inner = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    inner.wait_stream(outer)
    with torch.cuda.stream(inner):
        yield
    outer.wait_stream(inner)


def steps_of(images: int, recipe: Recipe, share: float = 1.0) -> int:
    """Steps in a share of a training; an epoch has as many as fill whole batches of the train split's `images`."""
    return max(1, round(share * recipe.epochs * (images // min(recipe.batch_size, images))))


def epochs_of(images: int, recipe: Recipe, share: float = 1.0) -> int:
    """Epochs that these steps begin."""
    return math.ceil(steps_of(images, recipe, share) / (images // min(recipe.batch_size, images)))


def images_seen(images: int, recipe: Recipe, share: float = 1.0) -> int:
    """Images that these steps see, those that come again included."""
    return steps_of(images, recipe, share) * min(recipe.batch_size, images)


def accuracy(model: nn.Module, split: Split, normalise: "Normalise") -> float:
    """Share of images whose largest logit is their class; evaluates in eval mode."""
    model.eval()
    right = torch.zeros((), device=split.labels.device)
    with torch.no_grad():
        for images, labels in batches(split):
            right += (model(normalise(images)).argmax(1) == labels).sum()
    return right.item() / len(split)


def batches(split: Split, size: int = EVALUATION_BATCH) -> list[tuple[Tensor, Tensor]]:
    """All images in order, `size` at a time."""
    return list(zip(split.images.split(size), split.labels.split(size), strict=True))


class Normalise:
    """uint8 images to floats of mean 0 and deviation 1 a channel, as measured on the train split."""

    def __init__(self, train: Split) -> None:
        # From whole-number histograms: the same to the last bit on any device and number of threads.
        levels = torch.arange(256, dtype=torch.float64)
        counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in train.images.unbind(1)])
        share = counts.cpu() / counts.cpu().sum(1, keepdim=True)
        mean = (share * levels).sum(1)
        deviation = (share * (levels - mean[:, None]) ** 2).sum(1).sqrt().clamp(min=1.0)
        device = train.images.device
        self.mean = mean.float().to(device)[:, None, None]
        self.deviation = deviation.float().to(device)[:, None, None]

    def __call__(self, images: Tensor) -> Tensor:
        return (images.float() - self.mean) / self.deviation


def augment(images: Tensor, chosen: Tensor, kind: str, random: torch.Generator) -> Tensor:
    """The chosen images, each shifted and mirrored on its own, in one gather of fixed shape.

    Args:
        images: [n, C, H, W], uint8; pixels beyond the border repeat it.
        chosen: [B], indices into `images`.
        kind: of `Recipe.augment`.

    Returns:
        [B, C, H, W], uint8.
    """
    if kind == "none":
        return images[chosen]
    device, size, count = images.device, images.shape[-1], len(chosen)
    reach = max(1, size // (8 if kind == "shift_flip" else 16))
    shift = torch.randint(-reach, reach + 1, (2, count, 1), generator=random, device=device)
    rows = (torch.arange(images.shape[-2], device=device) + shift[0]).clamp(0, images.shape[-2] - 1)
    columns = (torch.arange(size, device=device) + shift[1]).clamp(0, size - 1)
    if kind == "shift_flip":
        mirrored = torch.rand(count, 1, generator=random, device=device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    channels = torch.arange(images.shape[1], device=device)[None, :, None, None]
    return images[chosen[:, None, None, None], channels, rows[:, None, :, None], columns[:, None, None, :]]


def set_momentum(norms: Iterable[_BatchNorm], step: int) -> bool:
    """Whether the momentum stays from now on.

    Running statistics are a plain mean of the first ten batches, then torch's moving average. That alone keeps a share
    of its start, variance 1, for a hundred steps. Small weights give variances of 1e-4: a network after a short
    training would be silent in eval mode.
    """
    if step <= 1 / _BATCH_NORM_MOMENTUM:
        for norm in norms:
            norm.momentum = max(_BATCH_NORM_MOMENTUM, 1 / (step + 1))
    return step > 1 / _BATCH_NORM_MOMENTUM


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for weights of convolutions and linear layers; none for biases, batch norm, time constants."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _schedule(steps: int, warmup: float) -> Callable[[int], float]:
    """Factor on the learning rate at a step: linear rise, then a cosine to zero."""
    rise = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    return factor


__all__ = [
    "DivergedError",
    "Epoch",
    "Normalise",
    "accuracy",
    "augment",
    "batches",
    "epochs_of",
    "fit",
    "images_seen",
    "set_momentum",
    "speed_of",
    "steps_of",
]
