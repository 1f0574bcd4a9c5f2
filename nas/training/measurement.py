"""One pass of a trained network over labelled images: accuracy, exact operation counts, signs of life."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nas.costs import MEASURED, Activity, Counts, Operation, OperationCounter, Overheads, fired
from nas.datasets import Split
from nas.errors import CostError
from nas.training.augmentation import NetworkInput
from nas.training.execution import exact
from nas.training.fitting import accuracies, batches, counts_by_class, evaluation_batch
from spikformer.config import SpikformerConfig
from spikformer.model import Spikformer
from spikformer.operands import Operand
from spikformer.stems import ImageEncoding


@dataclass(frozen=True)
class Measurement:
    """One pass over labelled images.

    Attributes:
        accuracy: share classified rightly.
        balanced_accuracy: mean over classes of each class's share classified rightly.
        images: how many.
        operations: in the order in which they first ran.
        firing_rates: module path of each neuron layer -> spikes per neuron and time step.
        activity: module path of each neuron layer -> its spikes at each time step.
        overheads: what operations leave out.
        energy_error: standard error of the mean energy over images, as a share of it, by the spread between
            batches. None with a single batch. Another seed gives another network: that
            spread is larger.
        silent: why the network carries no information, or None.
    """

    accuracy: float
    balanced_accuracy: float
    images: int
    operations: tuple[Operation, ...]
    firing_rates: dict[str, float]
    activity: dict[str, Activity]
    overheads: Overheads
    energy_error: float | None
    silent: str | None


def counts_of(config: SpikformerConfig, measured: Measurement) -> Counts:
    """What cost models read of a pass."""
    spikes = fired(config, measured.activity, measured.firing_rates, measured.images)
    return Counts(config, measured.operations, measured.overheads, measured.images, spikes)


def measure(model: Spikformer, split: Split, as_input: NetworkInput) -> Measurement:
    """Run `model` over all images of a split in eval mode: accuracy, exact counts, firing rates, signs of life.

    All images are counted, because all are needed for the accuracy anyway. Frames of events are fed as counts, which
    the first convolution adds up: each event is an accumulate at every place where it meets a weight.

    Args:
        as_input: what turns images or frames into the input of the network (`nas.training.augmentation.network_input`).

    Raises:
        CostError: an operation that cannot be counted exactly, or is fed worse than it declares.
    """
    parts = batches(split, batch_size(split))
    return measure_batches(model, ((as_input(images), labels) for images, labels in parts), fed=as_input.fed)


def measure_batches(
    model: Spikformer,
    batches: Iterable[tuple[Tensor, Tensor]],
    on_logits: Callable[[Tensor, Tensor], None] = lambda _logits, _labels: None,
    fed: Operand | None = None,
) -> Measurement:
    """The same for batches as the model takes them: images [B, C, H, W] or frames [T, B, C, H, W], with labels [B].

    T frames are one image of B: costs are per image. The first convolution sees them all, and an image once.

    Args:
        on_logits: called with logits, [B, num_classes], and labels of each.
        fed: class of the numbers in the batches, such as `Operand("count")` for frames of events, which the first
            convolution then adds up. By default what the stem declares: real numbers, which it multiplies.

    Raises:
        CostError: see `measure`; batches of images and of frames together, labels of other images, or frames of whole
            numbers without `fed`, which may be events.
    """
    model.eval()
    with _fed_by(model, fed):
        return _measured(model, _checked(batches, fed), on_logits)


@contextlib.contextmanager
def _fed_by(model: nn.Module, fed: Operand | None) -> Iterator[None]:
    """The first convolution declares these numbers meanwhile."""
    first: list[Any] = (
        [module.conv for module in model.modules() if isinstance(module, ImageEncoding)] if fed is not None else []
    )
    before = [conv.operands for conv in first]
    try:
        for conv in first:
            conv.operands = ((fed,),)
        yield
    finally:
        for conv, operands in zip(first, before, strict=True):
            conv.operands = operands


def _checked(batches: Iterable[tuple[Tensor, Tensor]], fed: Operand | None) -> Iterator[tuple[Tensor, Tensor]]:
    """The same batches.

    Raises:
        CostError: they cannot be counted together, or would be priced as what they are not.
    """
    axes = 0
    for images, labels in batches:
        axes = axes or images.dim()
        if images.dim() != axes:
            raise CostError(
                "images [B, C, H, W] and frames [T, B, C, H, W] are counted differently. Measure them separately"
            )
        if images.shape[-4] != len(labels):
            raise CostError(
                f"images of shape {list(images.shape)} are {images.shape[-4]}, but there are {len(labels)} labels"
            )
        if images.dim() == 5 and fed is None and images.any() and (images == images.round()).all():
            raise CostError(
                "frames hold whole numbers only, as counts of events do, and would be priced as real numbers. Say what "
                'they are: fed=Operand("count") for events, fed=REAL for pixels'
            )
        yield images, labels


def _measured(
    model: Spikformer,
    batches: Iterable[tuple[Tensor, Tensor]],
    on_logits: Callable[[Tensor, Tensor], None],
) -> Measurement:
    counts_2K: Tensor | None = None
    stream, head_input = _Constant(), _Constant()
    marks: list[tuple[int, Tensor]] = []
    hooks = [
        model.stages.register_forward_hook(lambda _m, _inputs, out: stream.see(out)),
        model.head.linear.register_forward_pre_hook(lambda _m, inputs: head_input.see(_time_first(inputs[0]))),
    ]
    counter = OperationCounter(model)
    try:
        for images, labels in batches:  # counted is what the model does, not how its images come about
            with torch.no_grad(), exact(), counter:
                logits = model(images)
            part_2K = counts_by_class(logits, labels)
            counts_2K = part_2K if counts_2K is None else counts_2K + part_2K
            on_logits(logits, labels)
            marks.append((len(logits), _running_pj(counter)))
    finally:
        for hook in hooks:
            hook.remove()
    accuracy, balanced_accuracy = accuracies(counts_2K)
    return Measurement(
        accuracy=accuracy,
        balanced_accuracy=balanced_accuracy,
        images=sum(images for images, _ in marks),
        operations=counter.operations(),
        firing_rates=counter.firing_rates(),
        activity=counter.activity(),
        overheads=counter.overheads,
        energy_error=_standard_error(marks),
        silent=_silence(model, stream, head_input, "recording" if images.dim() == 5 else "image"),
    )


_BATCHES = 16  # at least, where there are as many images: their spread is what the standard error comes from


def batch_size(split: Split) -> int:
    """How many images of a split are measured at a time."""
    return max(1, min(evaluation_batch(split), len(split) // _BATCHES))


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


def _silence(model: nn.Module, stream: "_Constant", head_input: "_Constant", sample: str) -> str | None:
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    if any(m.num_batches_tracked is not None and m.num_batches_tracked.item() == 0 for m in norms):
        return "its batch norm was never calibrated: no training batch has passed"
    if stream.is_constant():
        return f"its residual stream is the same for every validation {sample}"
    return f"its head sees the same for every validation {sample}" if head_input.is_constant() else None


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


__all__ = ["Measurement", "batch_size", "counts_of", "measure", "measure_batches"]
