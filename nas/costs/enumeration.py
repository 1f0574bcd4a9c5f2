"""The costs of a small network a second time, by other means than the counter's: every factor written out, in loops.

Nothing here uses the counter's tables. Which operations compute with activations is found out from the numbers
(`nas.costs.recording`, `nas.costs.probing`); what they cost follows from the declaration and the definition.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.costs.origins import Origins
from nas.costs.probing import Nature, nature
from nas.costs.recording import Step, record
from nas.errors import CostError
from spikformer.neurons import Neuron
from spikformer.operands import Operand, Operands
from spikformer.plugins import is_ours


@dataclass(frozen=True)
class Tally:
    """The costs of one operation; its fields mean what they mean in `nas.costs.operations.Operation`."""

    path: str
    index: int
    kind: str
    dense: int
    valid: int
    biases: int
    values: int
    spikes: int
    nonzero: int
    multiplicity: int
    events: int


@dataclass
class Enumeration:
    """The costs of one pass.

    Attributes:
        operations: in the order in which they run.
        neuron_updates, residual_additions: as in `nas.costs.operations.Overheads`.
    """

    operations: list[Tally] = field(default_factory=list)
    neuron_updates: int = 0
    residual_additions: int = 0


def enumerate_costs(model: nn.Module, images: Tensor, others: Tensor) -> Enumeration:
    """Count the costs of one pass over `images`, [B, C, H, W].

    Args:
        others: as many images, by which it is seen what depends on them.

    Raises:
        CostError: an operation computes with activations and is not declared, or is fed worse than declared, or
            something is not seen by torch.
    """
    steps = record(model, images, others)
    enumeration = Enumeration(neuron_updates=_neuron_updates(model, images, steps))
    counted, origins = Counter[str](), Origins(steps)
    for number, step in enumerate(steps):
        if step.in_neuron or not step.varying or _is_average(step):
            continue
        if _is_join(step):
            enumeration.residual_additions += math.prod(step.shape)
        elif written := _written_out(step):
            tally = _tally(step, counted[step.path], written, origins)
            enumeration.operations.append(tally)
            counted[step.path] += 1
            if tally.kind == "weight":
                origins.note_layer(number)
        elif reason := origins.note_free(number, _free(step)):
            raise CostError(_refused(step, reason))
    return enumeration


def _neuron_updates(model: nn.Module, images: Tensor, steps: Sequence[Step]) -> int:
    """Numbers that neurons return whose currents depend on the images."""
    fed = {step.path for step in steps if step.in_neuron and step.varying}
    sizes: list[int] = []
    hooks = [
        neuron.register_forward_hook(lambda _m, _inputs, out: sizes.append(out.numel()))
        for path, neuron in model.named_modules()
        if isinstance(neuron, Neuron) and any(inner == path or inner.startswith(f"{path}.") for inner in fed)
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return sum(sizes)


def _is_join(step: Step) -> bool:
    """Whether it joins a branch to the stream, in a class of ours that says so."""
    tensors = [x for x in step.args[:2] if isinstance(x, Tensor) and x.dim() >= 4]
    if not _has_role(step, "joins") or step.name not in ("add", "mul") or len(tensors) < 2:
        return False
    if step.name == "mul":
        _free(step)  # a mask
    return True


def _is_average(step: Step) -> bool:
    return _has_role(step, "averages") and step.name in ("add", "mean", "sum")


def _has_role(step: Step, role: str) -> bool:
    """Whether a class of ours declares it; inside blocks of the user's own that counts for nothing."""
    return not step.in_custom and is_ours(step.module) and getattr(step.module, role, False)


def _written_out(step: Step) -> "_Written | None":
    """How its factors are written out; None where it must be free."""
    if step.name in _ADDITIONS and len([i for i in step.varying if i < 2]) < 2:
        return None  # a constant is added
    return _WRITTEN_OUT.get(step.name)


def _free(step: Step) -> Nature:
    """
    Raises:
        CostError: it is not.
    """
    kind = nature(step)
    if not kind.is_free:
        raise CostError(_refused(step, kind.reason))
    return kind


def _refused(step: Step, reason: str) -> str:
    return f"{step.path or 'the model'} runs {step.func}, which {reason}"


@dataclass(frozen=True)
class _Met:
    """Factors that meet, as tensors of one shape.

    Attributes:
        left: activations; not a number where they lie in the padding.
        right: activations; None for weights and addends.
        operand: place of the declaration of `left`.
        times: how many equal meetings each stands for.
    """

    left: Tensor
    right: Tensor | None = None
    operand: int = 0
    times: int = 1


_Written = Callable[[Step], Iterator[_Met]]


def _of_convolution(step: Step) -> Iterator[_Met]:
    x, weight, _bias, stride, padding, dilation, transposed, _, groups = step.args[:9]
    if transposed or weight.dim() != 4:
        raise CostError(_refused(step, "is not a two-dimensional convolution"))
    (top, left), (height, width) = padding, step.shape[2:]
    padded = F.pad(x.double().cpu(), [left, left, top, top], value=math.nan)
    for i, j in itertools.product(range(weight.shape[2]), range(weight.shape[3])):
        rows = torch.arange(height) * stride[0] + i * dilation[0]
        columns = torch.arange(width) * stride[1] + j * dilation[1]
        yield _Met(padded[:, :, rows][..., columns], times=weight.shape[0] // groups)


def _of_linear(step: Step) -> Iterator[_Met]:
    a_mk, b_kn = (x.double().cpu() for x in step.args[-2:])
    if len(_factors(step)) == 2:
        yield from _of_matrices(a_mk[None], b_kn[None])
        return
    for _column in range(b_kn.shape[1]):
        yield _Met(a_mk)


def _of_product(step: Step) -> Iterator[_Met]:
    yield from _of_matrices(*(x.double().cpu() for x in step.args[-2:]))


def _of_matrices(a_bmk: Tensor, b_bkn: Tensor) -> Iterator[_Met]:
    for column in range(b_bkn.shape[2]):
        yield _Met(*torch.broadcast_tensors(a_bmk, b_bkn[:, None, :, column]))


def _of_sum(step: Step) -> Iterator[_Met]:
    yield _Met(step.args[0].double().cpu())


def _of_addition(step: Step) -> Iterator[_Met]:
    for operand, x in enumerate(step.args[:2]):
        yield _Met(x.double().cpu().expand(step.shape), operand=operand)


_ADDITIONS = ("add", "sub")
_WRITTEN_OUT: Mapping[str, _Written] = {
    "convolution": _of_convolution,
    "mm": _of_linear,
    "addmm": _of_linear,
    "bmm": _of_product,
    "sum": _of_sum,
} | dict.fromkeys(_ADDITIONS, _of_addition)
_WEIGHTED = ("convolution", "mm", "addmm")


def _factors(step: Step) -> list[int]:
    """Places of the factors that depend on the images."""
    places = (0, 1) if step.name == "convolution" else (len(step.args) - 2, len(step.args) - 1)
    return [i for i in step.varying if i in places]


def _tally(step: Step, index: int, written: "_Written", origins: Origins) -> Tally:
    operands = _declared(step, index)
    is_weight = step.name in _WEIGHTED and len(operands) == 1
    _check_places(step, operands, is_weight)
    _check_scales(step, operands, origins)
    total = Counter[str]()
    for met in written(step):
        total.update({key: n * met.times for key, n in _of_meeting(step, met, operands).items()})
    is_product = not is_weight and step.name in (*_WEIGHTED, "bmm")
    inputs = [] if is_product else list(zip(_inputs(step), operands, strict=True))
    return Tally(
        step.path,
        index,
        "product" if is_product else "weight" if is_weight else "sum",
        **{key: total[key] for key in ("dense", "valid", "nonzero", "multiplicity", "events")},
        biases=math.prod(step.shape) if is_weight and _has_bias(step) else 0,
        values=sum(x.numel() for x, _ in inputs),
        spikes=int(sum(_spikes(step, x.double().cpu(), o).sum() for x, o in inputs if o.kind != "real")),
    )


def _inputs(step: Step) -> list[Tensor]:
    """What meets weights, or is summed."""
    if step.name in _ADDITIONS:
        return [x.expand(step.shape) for x in step.args[:2]]
    return [step.args[-2] if step.name in ("mm", "addmm") else step.args[0]]


def _of_meeting(step: Step, met: _Met, operands: tuple[Operand, ...]) -> dict[str, int]:
    """Counts of one tensor of meetings, by the definition of each."""
    real = torch.isfinite(met.left) if met.right is None else torch.ones_like(met.left, dtype=torch.bool)
    left, left_operand = met.left[real], operands[met.operand]
    spikes = _spikes(step, left, left_operand)
    sizes = {"dense": met.left.numel(), "valid": left.numel()}
    if met.right is None:
        events = 0 if left_operand.kind == "real" else int(spikes.sum())
        return sizes | {"nonzero": int((left != 0).sum()), "multiplicity": events, "events": events}
    right, right_operand = met.right[real], operands[-1]
    others = _spikes(step, right, right_operand)
    both = (left != 0) & (right != 0)
    kinds = [left_operand.kind, right_operand.kind]
    if kinds == ["real", "real"]:
        return sizes | {"nonzero": int(both.sum())}
    if left_operand.is_unit or right_operand.is_unit:
        events_of_pair = both.double()
    else:
        events_of_pair = spikes * others if "real" in kinds else torch.minimum(spikes, others)
    counts = {"nonzero": both, "multiplicity": spikes * others, "events": events_of_pair}
    return sizes | {key: int(x.sum()) for key, x in counts.items()}


def _spikes(step: Step, x: Tensor, operand: Operand) -> Tensor:
    """How many spikes each number stands for; 1 for a real number that is not zero.

    Raises:
        CostError: a number is not of the declared class.
    """
    if operand.kind == "real":
        return (x != 0).double()
    quanta = x / operand.quantum
    allowed = (quanta - quanta.round()).abs() < 1e-9
    if operand.kind in ("binary", "count"):
        allowed &= quanta >= 0
    if operand.is_unit:
        allowed &= quanta.abs() < 1.5
    if not bool(allowed.all()):
        raise CostError(
            f"{step.path} runs {step.func} on {x[~allowed][0].item():g} where it declares {operand.kind} numbers of "
            f"{operand.quantum:g}"
        )
    return quanta.abs().round()


def _declared(step: Step, index: int) -> tuple[Operand, ...]:
    operands: Operands = getattr(step.module, "operands", ())  # pyrefly: ignore[bad-assignment]
    if index >= len(operands):
        raise CostError(_refused(step, "computes with activations and is not declared in `operands`"))
    declared = operands[index]
    count = 2 if step.name in (*_ADDITIONS, "bmm") else 1 if step.name == "sum" else max(1, len(_factors(step)))
    if len(declared) != count:
        raise CostError(
            _refused(
                step, f"has {count} factors or addends that depend on the images, but `operands` declares {declared}"
            )
        )
    return declared


def _check_places(step: Step, operands: tuple[Operand, ...], is_weight: bool) -> None:
    """Weights and biases are constants; an addition does not multiply."""
    bias = step.args[2] if step.name == "convolution" else step.args[0] if step.name == "addmm" else None
    first = 0 if step.name == "convolution" else len(step.args) - 2
    bias_place = {"convolution": 2, "addmm": 0}.get(step.name)
    if isinstance(bias, Tensor) and bias_place in step.varying:
        raise CostError(_refused(step, "has a bias that depends on the images"))
    if is_weight and _factors(step) != [first]:
        raise CostError(_refused(step, "has weights that depend on the images, or an input that does not"))
    scalars = [x for x in step.runs[0] if isinstance(x, int | float) and not isinstance(x, bool)]
    if step.name in _ADDITIONS and any(abs(x) != 1 for x in scalars):
        raise CostError(_refused(step, "scales what it adds"))


def _has_bias(step: Step) -> bool:
    return step.name == "addmm" or (step.name == "convolution" and step.args[2] is not None)


def _check_scales(step: Step, operands: tuple[Operand, ...], origins: Origins) -> None:
    """Real numbers that were scaled are not added or multiplied: nobody would count that product with weights.

    Nor those of a layer whose result has another scale elsewhere.
    """
    if step.name not in ("sum", *_ADDITIONS) and len(operands) < 2:
        return
    places = range(len(operands)) if step.name in ("sum", *_ADDITIONS) else _factors(step)
    reals = [step.writers[place] for place, operand in zip(places, operands, strict=False) if operand.kind == "real"]
    if origins.are_several(reals):
        raise CostError(_refused(step, "adds scaled numbers: scale numbers by the weights of a layer instead"))


__all__ = ["Enumeration", "Tally", "enumerate_costs"]
