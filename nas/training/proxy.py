"""The steps of a proxy's training: their images, their loss, and all that the next one depends on."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.datasets import Split
from nas.settings import Recipe
from nas.training.augmentation import augment, network_input, settled
from nas.training.execution import ExecutionOptions, autocast, in_format, lay_out
from nas.training.optimizer import Update, adamw
from nas.training.spikes import SpikeCount
from nas.training.step import Step


class ProxyLoss:
    """The loss of a network on images of the train split, augmented anew; sums it up as it goes.

    Args:
        random: draws the augmentation.
    """

    def __init__(
        self,
        model: nn.Module,
        train: Split,
        recipe: Recipe,
        options: ExecutionOptions,
        spikes: SpikeCount,
        random: torch.Generator,
    ) -> None:
        self._model, self._train, self._recipe, self._options = model, train, settled(recipe, train), options
        self._spikes, self._random, self._input = spikes, random, network_input(train, model)
        self._format = torch.channels_last if options.channels_last else torch.contiguous_format
        device = train.labels.device
        self._sum, self._right = torch.zeros((), device=device), torch.zeros((), device=device)

    def __call__(self, chosen: Tensor) -> Tensor:
        """The mean loss, [], of the images `chosen`, [B]."""
        self._spikes.forget()
        images = self._input(augment(self._train.images, chosen, self._recipe.augment, self._random))
        labels = self._train.labels[chosen]
        with autocast(images.device, self._options.precision):
            logits = self._model(in_format(images, self._format)).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self._recipe.label_smoothing)
        if self._recipe.spike_penalty > 0:
            loss = loss + self._recipe.spike_penalty * self._spikes.rate()
        self._sum += loss.detach()
        self._right += (logits.detach().argmax(1) == labels).sum()
        return loss

    def totals(self, steps: int, batch: int) -> tuple[float, float]:
        """Mean loss and share of images classified rightly over the last `steps`; the one moment that waits."""
        loss, right = (self._sum / steps).item(), (self._right / (steps * batch)).item()
        self._sum.zero_()
        self._right.zero_()
        return loss, right


class ProxySteps:
    """Trains a network on images of the train split, one batch after another.

    Attributes:
        random: draws the order of images and the augmentation.
    """

    def __init__(
        self, model: nn.Module, train: Split, recipe: Recipe, seed: int, options: ExecutionOptions, spikes: SpikeCount
    ) -> None:
        device = train.labels.device
        self.random = torch.Generator(device).manual_seed(seed)
        lay_out(model, torch.channels_last if options.channels_last else torch.contiguous_format)
        self._batch = min(recipe.batch_size, len(train))
        self._update = Update(model, adamw(model, recipe.weight_decay))
        self._loss = ProxyLoss(model, train, recipe, options, spikes, self.random)
        captures = device.type == "cuda" and options.cuda_graph
        self._step = Step(model, self._loss, self._update, captures=captures, generators=(self.random,))

    @property
    def has_settled(self) -> bool:
        """Whether steps take the same time from now on."""
        return self._step.has_settled

    def __call__(self, number: int, chosen: Tensor, rate: float) -> None:
        """Train on the images `chosen`, [B]; `number` counts steps from 0."""
        self._step(number, [(chosen,)], rate)

    def totals(self, steps: int) -> tuple[float, float]:
        """Mean loss and share of images classified rightly over the last `steps`; the one moment that waits."""
        return self._loss.totals(steps, self._batch)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on between two epochs, the model apart."""
        generators = {"random": self.random.get_state(), "torch": torch.get_rng_state()}
        if self.random.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.random.device)
        return {"optimizer": self._update.state()[0], **generators}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._update.load_state(state["optimizer"], None)
        self.random.set_state(state["random"])
        torch.set_rng_state(state["torch"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.random.device)

    def close(self) -> None:
        """Let go of all that lies on the device, whoever may still refer to the steps."""
        self._step.close()
        self.__dict__.clear()


__all__ = ["ProxyLoss", "ProxySteps"]
