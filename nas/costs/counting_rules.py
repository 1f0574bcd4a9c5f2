"""How each kind of operation is counted: the totals of one operation, and the rule of each that torch runs.

Of a convolution or product no second one is run: a spike's fan-out is known.
"""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from nas.costs.free_operations import Arguments, Packet
from nas.costs.operations import Kind, Operation
from nas.errors import CostError
from spikformer.operands import Operand


class Count:
    """Running totals of one operation."""

    def __init__(self, operands: tuple[Operand, ...], repeats: int) -> None:
        self.operands, self.repeats = operands, repeats
        self.kind: Kind = "weight"
        self.geometry: dict[str, list[int]] = {}
        self.calls = self.dense = self.valid = self.biases = self.values = 0
        self.spikes: Tensor | float = 0.0
        self.nonzero: Tensor | float = 0.0
        self.multiplicity: Tensor | float = 0.0
        self.events: Tensor | float = 0.0
        self.as_declared: Tensor | bool = True
        self.exact: Tensor | bool = True

    def add(
        self, kind: Kind, geometry: dict[str, list[int]], dense: int, valid: int, values: int = 0, biases: int = 0
    ) -> None:
        """What the shapes tell."""
        self.kind, self.geometry = kind, geometry
        self.calls += 1
        self.dense += dense
        self.valid += valid
        self.values += values
        self.biases += biases

    def add_met(self, nonzero: Tensor, multiplicity: Tensor, spikes: Tensor) -> None:
        """What the values tell where they meet a weight or are summed: each spike is an event."""
        self.nonzero = self.nonzero + nonzero
        if self.operands[0].kind != "real":
            self.spikes = self.spikes + spikes
            self.multiplicity = self.multiplicity + multiplicity
            self.events = self.events + multiplicity

    def add_pairs(self, nonzero: Tensor, multiplicity: Tensor | None, events: Tensor | None) -> None:
        """What the values tell where activations meet activations; None where real numbers leave nothing to count."""
        self.nonzero = self.nonzero + nonzero
        self.multiplicity = self.multiplicity + (0.0 if multiplicity is None else multiplicity)
        self.events = self.events + (0.0 if events is None else events)

    def read_operand(self, operand: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where x is not zero, as 0 and 1, and how many spikes each number stands for, whatever its sign.

        For real numbers the second is the first. Notes whether the values are of the declared class: exactly, and
        without tensors of truth values, which are slow to sum.
        """
        declared = self.operands[operand]
        if declared.kind == "real":
            nonzero = x.sign().abs()
            return nonzero, nonzero
        spikes = x if declared.quantum == 1 else x / declared.quantum
        if declared.kind in ("ternary", "signed"):
            spikes = spikes.abs()
        if declared.is_unit:
            self._note_zero(spikes * spikes - spikes)  # 0 for 0 and 1 only
            return spikes, spikes
        self._note_zero(spikes - spikes.round())
        least, largest = torch.aminmax(spikes)
        self.as_declared = self.as_declared & (least >= 0)
        self.exact = self.exact & (largest * max(x.shape[1:]) < _EXACT)
        return spikes.clamp(max=1), spikes

    def _note_zero(self, x: Tensor) -> None:
        least, largest = torch.aminmax(x)
        self.as_declared = self.as_declared & (least == 0) & (largest == 0)

    def read(self, path: str, index: int) -> Operation:
        """The totals as whole numbers.

        Raises:
            CostError: values were worse than declared, not finite, or too large to be summed exactly.
        """
        totals = self._totals(f"{path or 'the model'}, operation {index},")
        return Operation(
            path,
            index,
            self.kind,
            self.operands,
            self.geometry,
            self.repeats,
            self.calls,
            self.dense,
            self.valid,
            self.biases,
            self.values,
            *totals,
        )

    @property
    def kinds(self) -> str:
        """What is declared, for people."""
        return ", ".join(f"{operand.kind} ({operand.quantum:g})" for operand in self.operands)

    def _totals(self, place: str) -> list[int]:
        counted = (self.spikes, self.nonzero, self.multiplicity, self.events)
        if isinstance(self.nonzero, Tensor) and self.nonzero.is_meta:  # shapes without values
            return [0] * len(counted)
        if not bool(self.as_declared):
            raise CostError(f"{place} declares {self.kinds} but received other values. Correct what it declares")
        totals = [float(total) for total in counted]
        if not bool(self.exact) or max(totals) > 2**53 or any(math.isnan(total) for total in totals):
            raise CostError(f"{place} received numbers that are not finite, or too large to be counted exactly")
        return [int(total) for total in totals]


_MOST_LEVELS = 4096  # in both factors of a product of counts
_EXACT = 2**24  # up to here every whole number is a float32


def exact_sum(x: Tensor, dims: int | tuple[int, ...]) -> Tensor:
    """Sums of whole numbers, as float64: added up as float32 as long as it holds them, then converted."""
    dims = (dims,) if isinstance(dims, int) else dims
    length = 1
    for dim in dims:
        length *= x.shape[dim]
    narrow = length < _EXACT and x.dtype != torch.float64
    return x.sum(dims, dtype=torch.float32 if narrow else torch.float64).double() if dims else x.double()


def _convolution(count: Count, args: Arguments, out: Tensor) -> None:
    x, weight, bias, stride, padding, dilation, transposed, _output_padding, groups = args[:9]
    if transposed or weight.dim() != 4:
        kind = "transposed convolution" if transposed else "convolution"
        raise CostError(
            f"a {kind} with a weight of shape {list(weight.shape)} cannot be counted. Use a two-dimensional "
            "convolution that is not transposed, such as torch.nn.Conv2d"
        )
    axes = tuple(
        (x.shape[2 + axis], out.shape[2 + axis], weight.shape[2 + axis], stride[axis], padding[axis], dilation[axis])
        for axis in range(2)
    )
    taps_HW, reached = _taps_of_pixels(axes, x.device)
    fan_out = out.shape[1] // groups
    count.add(
        "weight",
        {"input": list(x.shape[1:]), "output": list(out.shape[1:]), "kernel": list(weight.shape[2:])},
        dense=out.numel() * weight[0].numel(),
        valid=x.shape[0] * x.shape[1] * reached * fan_out,
        values=x.numel(),
        biases=0 if bias is None else out.numel(),
    )
    nonzero_HW, spikes_HW = (exact_sum(part, 1).sum(0) for part in count.read_operand(0, x))
    count.add_met((nonzero_HW * taps_HW).sum() * fan_out, (spikes_HW * taps_HW).sum() * fan_out, spikes_HW.sum())


@functools.lru_cache(maxsize=256)
def _taps_of_pixels(axes: tuple[tuple[int, ...], ...], device: torch.device) -> tuple[Tensor, int]:
    """How many outputs each pixel reaches, [H, W], kept on the device: a copy to it would make the host wait.

    And their sum.
    """
    taps_H, taps_W = (_taps(*axis) for axis in axes)
    taps_HW = torch.outer(taps_H, taps_W)
    return taps_HW.to(device), int(taps_HW.sum())


def _taps(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    """How many outputs each place of an input axis reaches."""
    taps = torch.zeros(size, dtype=torch.float64)
    places = stride * torch.arange(out)
    for k in range(kernel):
        reached = places + k * dilation - padding
        taps[reached[(reached >= 0) & (reached < size)]] += 1
    return taps


def _linear(count: Count, args: Arguments, out: Tensor) -> None:
    x, weight = args[-2:]  # mm(x, weight) or addmm(bias, x, weight)
    if len(count.operands) == 2:
        _product_of(count, x[None], weight[None])
        return
    dense, fan_out = x.numel() * out.shape[-1], out.shape[-1]
    biases = out.numel() if len(args) == 3 else 0
    geometry = {"input": [x.shape[1]], "output": [out.shape[1]]}
    count.add("weight", geometry, dense, dense, values=x.numel(), biases=biases)
    nonzero, spikes = (exact_sum(part, 1).sum() for part in count.read_operand(0, x))
    count.add_met(nonzero * fan_out, spikes * fan_out, spikes)


def _product(count: Count, args: Arguments, _out: Tensor) -> None:
    _product_of(count, *args[-2:])


def _product_of(count: Count, a_bmk: Tensor, b_bkn: Tensor) -> None:
    if len(count.operands) != 2:
        raise CostError(
            f"`operands` declares {count.kinds} for a product of two activations. Declare one kind for each of the two"
        )
    _, m, k = a_bmk.shape
    n = b_bkn.shape[2]
    dense = a_bmk.numel() * n
    count.add("product", {"left": [m, k], "right": [k, n]}, dense, dense)
    (a_nonzero, a_spikes), (b_nonzero, b_spikes) = count.read_operand(0, a_bmk), count.read_operand(1, b_bkn)
    nonzero = _pairs(a_nonzero, b_nonzero)
    kinds = [operand.kind for operand in count.operands]
    if kinds == ["real", "real"]:
        count.add_pairs(nonzero, None, None)
        return
    multiplicity = _pairs(a_spikes, b_spikes)
    if any(operand.is_unit for operand in count.operands):
        events = nonzero
    elif "real" in kinds:
        events = multiplicity
    else:
        events = _smaller(a_spikes, b_spikes)
    count.add_pairs(nonzero, multiplicity, events)


def _pairs(a_bmk: Tensor, b_bkn: Tensor) -> Tensor:
    """Sum over all pairs of a product of the product of their weights."""
    return (exact_sum(a_bmk, 1) * exact_sum(b_bkn, 2)).sum()


def _smaller(a_bmk: Tensor, b_bkn: Tensor) -> Tensor:
    """Sum over all pairs of two counts of the smaller one: min(a, b) is the number of levels that both reach."""
    highest = 0 if a_bmk.is_meta else int(torch.minimum(a_bmk.max(), b_bkn.max()))
    if highest > _MOST_LEVELS:
        raise CostError(
            f"a product of counts of up to {highest:,} spikes cannot be counted: the limit is {_MOST_LEVELS:,}. "
            "Use neurons with fewer levels"
        )
    levels = (_pairs((a_bmk >= level).float(), (b_bkn >= level).float()) for level in range(1, highest + 1))
    return sum(levels, start=torch.zeros((), dtype=torch.float64, device=a_bmk.device))


def _sum(count: Count, args: Arguments, out: Tensor) -> None:
    x = args[0]
    geometry = {"input": list(x.shape[2:]), "output": list(out.shape[2:])}
    count.add("sum", geometry, x.numel(), x.numel(), values=x.numel())
    nonzero, spikes = (exact_sum(part.flatten(1), 1).sum() for part in count.read_operand(0, x))
    count.add_met(nonzero, spikes, spikes)


def _addition(count: Count, args: Arguments, out: Tensor) -> None:
    if len(count.operands) != 2:
        raise CostError(
            f"`operands` declares {count.kinds} for an addition of two activations. Declare one kind for each of "
            "the two"
        )
    addends = torch.broadcast_tensors(*args[:2])
    geometry = {"input": [2, *out.shape[2:]], "output": list(out.shape[2:])}
    count.add("sum", geometry, 2 * out.numel(), 2 * out.numel(), values=2 * out.numel())
    met = [[exact_sum(part.flatten(), 0) for part in count.read_operand(i, x)] for i, x in enumerate(addends)]
    spikes = [s for (_, s), operand in zip(met, count.operands, strict=True) if operand.kind != "real"]
    total = torch.stack(spikes).sum() if spikes else None
    count.add_pairs(met[0][0] + met[1][0], total, total)
    count.spikes = count.spikes + (0.0 if total is None else total)


_aten = torch.ops.aten
RULES: dict[Packet, Callable[[Count, Arguments, Tensor], None]] = {
    _aten.convolution: _convolution,
    _aten.mm: _linear,
    _aten.addmm: _linear,
    _aten.bmm: _product,
    _aten.sum: _sum,
    _aten.add: _addition,
}
COUNTED = frozenset(RULES) - {_aten.add}  # an addition is counted where both addends depend on the images
WEIGHTED = frozenset((_aten.convolution, _aten.mm, _aten.addmm))


__all__ = ["COUNTED", "RULES", "WEIGHTED", "Count", "exact_sum"]
