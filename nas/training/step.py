"""One step of a training, of a proxy or in full: forward and backward pass, and the update of the weights."""

import contextlib
import logging
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from nas.training import device_memory
from nas.training import graph as graphs
from nas.training.optimizer import Update

Inputs = tuple[Tensor, ...]

_LOGGER = logging.getLogger(__name__)
_BATCH_NORM_MOMENTUM = 0.1  # torch's default
_STEPS_BEFORE_CAPTURE = 3  # what is chosen or allocated at a first step must not be part of a graph


class Step:
    """Trains a network on one batch after another. Nothing in it waits for the device.

    On CUDA it can be captured into a graph, which replays it in one launch, once batch norm's momentum has settled.
    Tests on a CPU replay it by stand-ins of a graph. The captured step of proxies has run on GPUs; that of full
    training has not yet.

    Args:
        model: what `loss_of` calls: the network, or what shares its gradients with other processes.
        loss_of: the loss of a part of a batch, from tensors on the device that keep their shapes.
        accumulation: parts of a batch, whose gradients are averaged.
        captures: whether a graph replays the step; not with several parts or processes.
        generators: those that `loss_of` draws from besides torch's own.

    Attributes:
        has_settled: whether steps take the same time from now on.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_of: Callable[..., Tensor],
        update: Update,
        *,
        accumulation: int = 1,
        captures: bool = False,
        generators: tuple[torch.Generator, ...] = (),
    ) -> None:
        assert not captures or accumulation == 1
        self.has_settled = False
        self._model, self._loss_of, self._update, self._accumulation = model, loss_of, update, accumulation
        self._captures, self._generators = captures, generators
        self._norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        self._inputs: Inputs = ()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._steps = 0

    def __call__(self, number: int, parts: Iterable[Inputs], rate: float) -> None:
        """Train on the parts of a batch, which are taken one after the other.

        Args:
            number: steps of the training that lie behind, in earlier runs of it too.
        """
        self._update.set_rate(rate)
        settled = set_momentum(self._norms, number) and self._steps >= _STEPS_BEFORE_CAPTURE
        self._steps += 1
        if self._captures:
            (inputs,) = parts
            self._run_held(inputs, settled=settled)
        else:
            self._run(parts)
        self.has_settled = settled

    def close(self) -> None:
        """Let go of all that lies on the device, whoever may still refer to the step."""
        self.__dict__.clear()

    def _run(self, parts: Iterable[Inputs]) -> None:
        self._update.clear()
        for i, inputs in enumerate(parts, start=1):
            with self._shared(last=i == self._accumulation):
                loss = self._loss_of(*inputs)
                self._update.backward(loss / self._accumulation if self._accumulation > 1 else loss)
        self._update.apply()

    def _shared(self, *, last: bool) -> contextlib.AbstractContextManager[object]:
        """Within, gradients stay in this process, unless they are those of the last part."""
        if isinstance(self._model, DistributedDataParallel) and not last:
            return self._model.no_sync()
        return contextlib.nullcontext()

    def _run_held(self, inputs: Inputs, *, settled: bool) -> None:
        """Run on tensors that stay where they are, from which a graph reads."""
        if not self._inputs:
            self._inputs = tuple(tensor.clone() for tensor in inputs)
        for held, tensor in zip(self._inputs, inputs, strict=True):
            held.copy_(tensor)
        if self._graph is not None:
            self._graph.replay()
        elif settled:
            self._run_and_capture()
        else:
            self._run([self._inputs])

    def _run_and_capture(self) -> None:
        """Run once more by itself, and capture a graph for the steps to come, unless something in it forbids that."""
        self._captures = False

        def run() -> None:
            self._run([self._inputs])

        place = graphs.waits(run)
        if place is not None:
            _tell_why_not_captured(f"it waits for the device at {place}")
            return
        try:
            self._graph = graphs.captured(run, self._inputs[0].device, self._generators)
            self._captures = True
        except RuntimeError as error:
            if device_memory.is_full(error):
                raise
            _tell_why_not_captured(str(error))


def _tell_why_not_captured(reason: str) -> None:
    _LOGGER.warning(
        "training continues without a CUDA graph, which is slower. The step could not be captured: %s", reason
    )


def set_momentum(norms: Iterable[_BatchNorm], step: int) -> bool:
    """Set the momentum of batch norms for a step, and tell whether it stays from now on.

    Running statistics are a plain mean of the first ten batches, then torch's moving average. That alone keeps a share
    of its start, variance 1, for a hundred steps. Small weights give variances of 1e-4: a network after a short
    training would be silent in eval mode.
    """
    if not momentum_settles(step):
        for norm in norms:
            norm.momentum = max(_BATCH_NORM_MOMENTUM, 1 / (step + 1))
    return momentum_settles(step)


def momentum_settles(step: int) -> bool:
    """Whether batch norm's momentum stays as it is from a step on."""
    return step > 1 / _BATCH_NORM_MOMENTUM


__all__ = ["Inputs", "Step", "momentum_settles", "set_momentum"]
