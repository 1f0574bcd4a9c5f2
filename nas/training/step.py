"""One step of a training: augmentation, forward and backward pass, optimizer."""

import logging
import math
from collections.abc import Callable, Iterable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from nas.datasets import Split
from nas.settings import Recipe
from nas.training import device_memory
from nas.training import graph as graphs
from nas.training.augmentation import Normalise, augment, settled
from nas.training.speed import Speed
from spikformer.neurons import Neuron

_LOGGER = logging.getLogger(__name__)
_BATCH_NORM_MOMENTUM = 0.1  # torch's default
_STEPS_BEFORE_CAPTURE = 3  # what is chosen or allocated at a first step must not be part of a graph


class Step:
    """Trains a network on one batch after another. Nothing in it waits for the device.

    On CUDA it is captured into a graph, which replays it in one launch, once batch norm's momentum has settled.

    Attributes:
        random: of the order of images and of augmentation.
        has_settled: whether steps take the same time from now on.
    """

    def __init__(
        self, model: nn.Module, train: Split, recipe: Recipe, seed: int, speed: Speed, spikes: "SpikeCount"
    ) -> None:
        device = train.labels.device
        self.random = torch.Generator(device).manual_seed(seed)
        self.has_settled = False
        self._model, self._train, self._recipe, self._speed = model, train, settled(recipe, train), speed
        self._normalise = Normalise(train)
        self._format = torch.channels_last if speed.channels_last else torch.contiguous_format
        lay_out(model, self._format)
        on_cuda = device.type == "cuda"
        # A tensor, so that a graph reads it from the device; of the type that the optimizer's kernel computes with.
        self._rate = torch.zeros((), dtype=torch.float32 if on_cuda else torch.float64, device=device)
        self._optimizer = torch.optim.AdamW(
            groups(model, recipe.weight_decay), lr=self._rate, fused=True, capturable=on_cuda
        )
        self._norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        self._spikes = spikes
        self._chosen = torch.zeros(min(recipe.batch_size, len(train)), dtype=torch.int64, device=device)
        self._loss_sum, self._right = torch.zeros((), device=device), torch.zeros((), device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._captures = _captures(device, speed)
        self._steps = 0

    def __call__(self, number: int, chosen: Tensor, rate: float) -> None:
        """Train on the images `chosen`, [B]; `number` counts steps from 0."""
        self._chosen.copy_(chosen)
        self._rate.fill_(rate)
        settled = set_momentum(self._norms, number) and self._steps >= _STEPS_BEFORE_CAPTURE
        self._steps += 1
        if self._graph is not None:
            self._graph.replay()
        elif settled and self._captures:
            self._run_and_capture()
        else:
            self._run()
        self.has_settled = settled

    def totals(self, steps: int) -> tuple[float, float]:
        """Mean loss and share of images classified rightly over the last `steps`; the one moment that waits."""
        loss, right = (self._loss_sum / steps).item(), (self._right / (steps * len(self._chosen))).item()
        self._loss_sum.zero_()
        self._right.zero_()
        return loss, right

    def state(self) -> dict[str, Any]:
        """Between two epochs: what the next step depends on, the model apart."""
        generators = {"random": self.random.get_state(), "torch": torch.get_rng_state()}
        if self.random.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.random.device)
        return {"optimizer": self._optimizer.state_dict(), **generators}

    def load_state(self, state: dict[str, Any]) -> None:
        """What `state` returned."""
        self._optimizer.load_state_dict(state["optimizer"])
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate  # not the copy that was saved, which nothing moves
        self.random.set_state(state["random"])
        torch.set_rng_state(state["torch"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.random.device)

    def close(self) -> None:
        """Let go of all that lies on the device, whoever may still refer to the step."""
        self.__dict__.clear()

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

    def _run_and_capture(self) -> None:
        """One more step by itself, and a graph for those to come, unless something in it forbids that."""
        self._captures = False
        place = graphs.waits(self._run)
        if place is not None:
            _tell_why_not_captured(f"it waits for the device at {place}")
            return
        try:
            self._graph = graphs.captured(self._run, self.random)
        except RuntimeError as error:
            self._spikes.forget()
            if device_memory.is_full(error):
                raise
            _tell_why_not_captured(str(error))


def _captures(device: torch.device, speed: Speed) -> bool:
    return device.type == "cuda" and speed.cuda_graph


def _tell_why_not_captured(reason: str) -> None:
    _LOGGER.warning(
        "training continues without a CUDA graph, which is slower. The step could not be captured: %s", reason
    )


class SpikeCount:
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
        self.forget()
        return total / neurons

    def forget(self) -> None:
        """Those of a forward pass that did not come to its end."""
        self._spikes.clear()


def lay_out(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Kernels of convolutions; other parameters have no channels."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=memory_format)


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


def groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for weights of convolutions and linear layers; none for biases, batch norm, time constants."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def schedule(steps: int, warmup: float) -> Callable[[int], float]:
    """Factor on the learning rate at a step: linear rise, then a cosine to zero."""
    rise = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    return factor


__all__ = ["SpikeCount", "Step", "groups", "lay_out", "schedule", "set_momentum"]
