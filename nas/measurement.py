"""One pass of a trained network over labelled images: accuracy, exact operation counts, signs of life."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.augmentation import Normalise
from nas.cost import Operation, OperationCounter, Overheads
from nas.data import Split
from nas.energy import MEASURED
from nas.speed import exact
from nas.training import EVALUATION_BATCH, batches
from spikformer.model import Spikformer


@dataclass(frozen=True)
class Measurement:
    """One pass over labelled images.

    Attributes:
        accuracy: share classified rightly.
        images: how many.
        operations: in the order in which they first ran.
        firing_rates: module path of each neuron layer -> spikes per neuron and time step.
        overheads: what operations leave out.
        energy_error: standard error of the mean energy over images, as a share of it, by the spread between
            batches. None with a single batch. Another seed gives another network: that
            spread is larger.
        silent: why the network carries no information, or None.
    """

    accuracy: float
    images: int
    operations: tuple[Operation, ...]
    firing_rates: dict[str, float]
    overheads: Overheads
    energy_error: float | None
    silent: str | None


def measure(model: Spikformer, split: Split, normalise: Normalise) -> Measurement:
    """Run `model` over all images of a split in eval mode: accuracy, exact counts, firing rates, signs of life.

    All images are counted, because all are needed for the accuracy anyway.

    Raises:
        CostError: an operation that cannot be counted exactly, or is fed worse than it declares.
    """
    parts = batches(split, _batch_size(len(split)))
    return measure_batches(model, ((normalise(images), labels) for images, labels in parts))


def measure_batches(
    model: Spikformer,
    batches: Iterable[tuple[Tensor, Tensor]],
    on_logits: Callable[[Tensor, Tensor], None] = lambda _logits, _labels: None,
) -> Measurement:
    """The same for images, [B, C, H, W] as the model takes them, and labels, [B], that come batch by batch.

    Args:
        on_logits: called with logits, [B, num_classes], and labels of each.
    """
    model.eval()
    seen = 0
    stream, head_input = _Constant(), _Constant()
    marks: list[tuple[int, Tensor]] = []
    found: list[Tensor] = []
    hooks = [
        model.stages.register_forward_hook(lambda _m, _inputs, out: stream.see(out)),
        model.head.linear.register_forward_pre_hook(lambda _m, inputs: head_input.see(_time_first(inputs[0]))),
    ]
    counter = OperationCounter(model)
    try:
        for images, labels in batches:  # counted is what the model does, not how its images come about
            with torch.no_grad(), exact(), counter:
                logits = model(images)
            found.append((logits.argmax(1) == labels).sum())
            on_logits(logits, labels)
            seen += len(images)
            marks.append((len(images), _running_pj(counter)))
    finally:
        for hook in hooks:
            hook.remove()
    right = int(torch.stack(found).sum().item()) if found else 0
    return Measurement(
        accuracy=right / seen if seen else 0.0,
        images=seen,
        operations=counter.operations(),
        firing_rates=counter.firing_rates(),
        overheads=counter.overheads,
        energy_error=_standard_error(marks),
        silent=_silence(model, stream, head_input),
    )


_BATCHES = 16  # at least, where there are as many images: their spread is what the standard error comes from


def _batch_size(images: int) -> int:
    return max(1, min(EVALUATION_BATCH, images // _BATCHES))


def _running_pj(counter: OperationCounter) -> Tensor:
    events, macs = counter.running_events()
    return torch.as_tensor(MEASURED.costs.pj_per_ac * events + MEASURED.costs.pj_per_mac * macs)


def _standard_error(marks: list[tuple[int, Tensor]]) -> float | None:
    """Of the mean over images, as a share of it; from the images and the running total of each batch."""
    if len(marks) < 2:
        return None
    images = torch.tensor([n for n, _ in marks], dtype=torch.float64)
    totals = torch.stack([total.cpu().double() for _, total in marks])
    means = torch.diff(totals, prepend=torch.zeros(1, dtype=torch.float64)) / images
    mean = totals[-1] / images.sum()
    variance = (images * (means - mean) ** 2).sum() / (len(marks) - 1)  # of one image
    return float((variance / images.sum()).sqrt() / mean) if mean > 0 else None


def _time_first(x: Tensor) -> Tensor:
    return x if x.dim() == 3 else x[None]


def _silence(model: nn.Module, stream: "_Constant", head_input: "_Constant") -> str | None:
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    if any(m.num_batches_tracked is not None and m.num_batches_tracked.item() == 0 for m in norms):
        return "its batch norm was never calibrated: no training batch has passed"
    if stream.is_constant():
        return "its residual stream is the same for every validation image"
    return "its head sees the same for every validation image" if head_input.is_constant() else None


class _Constant:
    """Whether [T, B, ...] was the same for all samples of all batches; one device sync, at the end."""

    def __init__(self) -> None:
        self.first: Tensor | None = None
        self.constant: Tensor | None = None

    def see(self, x_TB: Tensor) -> None:
        if self.first is None:
            self.first, self.constant = x_TB[:, :1].clone(), torch.ones((), dtype=torch.bool, device=x_TB.device)
        assert self.constant is not None
        self.constant &= (x_TB == self.first).all()

    def is_constant(self) -> bool:
        return self.constant is not None and bool(self.constant.item())


__all__ = ["Measurement", "measure", "measure_batches"]
