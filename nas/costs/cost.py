"""Operations counted exactly, to the last spike, while a network runs; `nas.costs.energy` prices them.

Counted are the products of activations with weights (convolution, linear), the products of activations
with each other, and the sums of spikes inside attention. Batch norm is not: it folds into the convolution
before it. Neuron updates, residual additions and pooling are tallied apart, as overheads.

The model declares what each operation is fed (`spikformer.operands`); values that are worse than declared
are an error. An operation on activations that is neither declared nor on the list of those that are free
(`nas.costs.free_operations`) is an error too, and so is a dense count that is not torch's own. Of a convolution or
product no second one is run: a spike's fan-out is known.
"""

import copy
import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nas.costs.custom_neurons import CustomNeuron, check_input, mixes_places
from nas.costs.free_operations import Constants, Readers, comparisons_of, name_of, reason_against, tensors_in
from nas.costs.scales import Scales
from nas.errors import CostError
from spikformer.config import SpikformerConfig
from spikformer.fusion import fuse
from spikformer.model import Spikformer
from spikformer.neurons import Neuron
from spikformer.operands import Operand
from spikformer.plugins import is_custom, is_ours
from spikformer.stems import ImageEncoding

Kind = Literal["weight", "product", "sum"]


@dataclass(frozen=True)
class Operation:
    """Whole numbers of one operation, summed over all images and computed time steps.

    Attributes:
        path: of the module that runs it, such as "blocks.0.mlp.expand.conv.conv".
        index: place among the counted operations of that module's forward.
        kind: "weight", activations with weights; "product", activations with activations; "sum", of spikes.
        operands: declared class of each activation.
        geometry: shapes without the batch, for conventions that need them.
        repeats: time steps that one computed result stands for (T in the first convolution of a static image).
        calls: how often it ran.
        dense: multiplications if nothing were zero, padding included; additions for a sum.
        valid: `dense` without those that fall on padding.
        biases: additions of a bias.
        values: numbers that meet weights or are summed; 0 for a product.
        spikes: how many spikes they stand for (0 for real operands): spikes / values is their mean.
        nonzero: pairs in which no activation is zero; addends that are not zero.
        multiplicity: the same with v spikes in a number counted v times (0 for real operands).
        events: additions that spikes cause (0 for real operands). With a weight or in a sum, `multiplicity`;
            in a product with a factor of 0 and one spike, `nonzero`; of two counts, the smaller one a pair.
    """

    path: str
    index: int
    kind: Kind
    operands: tuple[Operand, ...]
    geometry: dict[str, list[int]]
    repeats: int
    calls: int
    dense: int
    valid: int
    biases: int
    values: int
    spikes: int
    nonzero: int
    multiplicity: int
    events: int

    @property
    def is_real(self) -> bool:
        """Whether real numbers are multiplied: no operand is made of spikes."""
        return all(operand.kind == "real" for operand in self.operands)

    @property
    def results(self) -> int:
        """Numbers it computed, over all images and computed time steps."""
        if self.kind == "product":
            return self.dense // self.geometry["left"][1]
        return self.values * math.prod(self.geometry["output"]) // math.prod(self.geometry["input"])

    @property
    def weights(self) -> int:
        """Distinct weights that it holds, without biases; 0 for a product or a sum."""
        if self.kind != "weight":
            return 0
        return self.geometry["output"][0] * self.dense // self.results  # outputs x fan-in of each

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**{**values, "operands": tuple(_operand(*operand) for operand in values["operands"])})


@functools.cache
def _operand(kind: Any, quantum: float) -> Operand:
    return Operand(kind, quantum)


class _Dispatch(TorchDispatchMode):
    """Shows every operation that torch runs to `see`; what autograd adds around it does not appear."""

    def __init__(self, see: Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self._see = see
        # Operations that are not made of others, by identity: they live for ever.
        self._leaves = {id(torch.ops.prim.device.default)}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # Under inference_mode composite operations (linear, conv2d, matmul) arrive whole.
        if id(func) not in self._leaves:
            if func._overloadpacket not in _RULES:
                with self:
                    parts = func.decompose(*args, **kwargs)
                if parts is not NotImplemented:
                    return parts
            self._leaves.add(id(func))
        out = func(*args, **kwargs)
        self._see(func._overloadpacket, args, kwargs, out)
        return out


@dataclass
class Overheads:
    """What the headline leaves out, over all images and time steps.

    Attributes:
        neuron_updates: membranes moved on by a step.
        residual_additions: numbers added to, or deleted from, the residual stream.
        pool_comparisons: of max pools, and in blocks of the user's own of all that compares or selects.
    """

    neuron_updates: int = 0
    residual_additions: int = 0
    pool_comparisons: int = 0


@dataclass
class _Running:
    """A module whose forward runs.

    Attributes:
        repeats: time steps that a result of it stands for.
        counted: operations of its own so far.
    """

    path: str
    module: nn.Module
    repeats: int
    counted: int = 0


class OperationCounter:
    """Counts the operations of `model` while the context lasts; the same with grad, no_grad and inference_mode.

    Totals stay on the device as float64, in which whole numbers are exact up to 2^53, until they are read.
    Between batches nothing waits for the device, but for products of two counts, whose largest is read.

    Attributes:
        overheads: tallied so far.
    """

    def __init__(self, model: nn.Module) -> None:
        self.overheads = Overheads()
        self._model = model
        self._is_custom = any(map(is_custom, model.modules()))
        self._stack: list[_Running] = []
        self._custom: CustomNeuron | None = None  # that runs
        self._custom_depth = 0  # modules of the user's own that run
        self._is_probing = False
        self._probed: set[str] = set()
        self._emitted: dict[str, Tensor | bool] = {}  # by neuron, whether all that it returned was of its class
        self._scales = Scales()
        self._open_neurons = 0
        self._counts: dict[tuple[str, int], Count] = {}
        self._flops = 0  # by torch's own counter, two for a multiplication with its addition
        self._masks: dict[str, Tensor | bool] = {}  # by place, whether all products element by element were masks
        self._spikes: dict[str, list[Any]] = {}
        self._handles: list[Any] = []
        self._constants = Constants(model)
        self._dispatch = _Dispatch(self._see)
        self._readers = Readers(self._see_read)

    def __enter__(self) -> Self:
        for path, module in self._model.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._entering(path), with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._leaving(path), always_call=True))
        if self._is_custom:
            self._readers.__enter__()  # type: ignore[no-untyped-call]
        self._dispatch.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dispatch.__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        if self._is_custom:
            self._readers.__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def operations(self) -> tuple[Operation, ...]:
        """What was counted so far.

        Raises:
            CostError: an operand was worse than its declared class, a product element by element was no mask, or
                the dense count is not torch's.
        """
        for place, is_mask in self._masks.items():
            if not bool(is_mask):
                raise CostError(f"{place} multiplies activations of which neither is a mask of 0, 1 and -1")
        for path, is_declared in self._emitted.items():
            if not bool(is_declared):
                raise CostError(f"{path} returns numbers that are not the spikes which it declares")
        found = tuple(count.read(path, index) for (path, index), count in self._counts.items())
        dense = sum(op.dense for op in found if op.kind != "sum")
        if 2 * dense != self._flops:
            raise CostError(
                f"{dense:,} dense multiplications counted, torch's FLOP counter says {self._flops / 2:,.0f}"
            )
        return found

    def running_events(self) -> tuple[Tensor | float, Tensor | float]:
        """Events and products of real numbers so far, still on the device: for the spread between batches."""
        counts = self._counts.values()
        reals = [all(operand.kind == "real" for operand in count.operands) for count in counts]
        events = sum(count.events for count, real in zip(counts, reals, strict=True) if not real)
        return events, sum(count.nonzero for count, real in zip(counts, reals, strict=True) if real)

    def firing_rates(self) -> dict[str, float]:
        """Mean over all neurons, images and time steps, by module path."""
        return {path: (spikes / neurons).item() for path, (spikes, neurons) in self._spikes.items()}

    def _entering(self, path: str) -> Callable[..., Any]:
        def enter(module: nn.Module, inputs: Any, kwargs: Any) -> Any:
            if self._is_probing:
                return None
            if not self._stack:
                self._constants.forget()
                self._constants.show(tensors_in((inputs, kwargs)))
            self._custom_depth += is_custom(module)
            repeats = self._stack[-1].repeats if self._stack else 1
            if isinstance(module, ImageEncoding) and is_ours(module):
                repeats *= module.stands_for(inputs[0])
            self._stack.append(_Running(path, module, repeats))
            self._open_neurons += isinstance(module, Neuron)
            if isinstance(module, Neuron):
                check_input(path, module, self._model, inputs, kwargs)
                # A block of the user's own may have changed a neuron of ours, by a hook or on the instance.
                if self._is_custom and self._open_neurons == 1 and self._constants.is_activation(inputs[0]):
                    inputs = (inputs[0].clone(),)  # memory of its own: it holds nothing else to be read
                    self._constants.show(inputs)
                    self._custom = CustomNeuron(path, module, inputs[0])
            return inputs, kwargs

        return enter

    def _leaving(self, path: str) -> Callable[..., None]:
        def leave(module: nn.Module, inputs: Any, out: Any) -> None:
            if self._is_probing:
                return
            watched = self._custom is not None and self._custom.neuron is module
            if watched:
                self._custom = None
            if isinstance(module, Neuron) and isinstance(out, Tensor):
                total = self._spikes.setdefault(path, [torch.zeros((), dtype=torch.float64, device=out.device), 0])
                total[0] += _exact_sum(out.flatten(0, 1), tuple(range(1, out.dim() - 1))).sum()
                total[1] += out.numel()
                if any(map(self._constants.is_activation, inputs)):
                    self.overheads.neuron_updates += out.numel()
                    self._constants.show([out])
                else:  # the same spikes for every image: they are known before the first one
                    self._constants.add([out])
                self._scales.forget([out])
                if watched:
                    self._probe(path, module, inputs[0], out)
            # Last, so that the sum above counts as the neuron's own and not as attention's.
            self._stack.pop()
            self._open_neurons -= isinstance(module, Neuron)
            self._custom_depth -= is_custom(module)

        return leave

    def _probe(self, path: str, neuron: Neuron, x_T: Tensor, spikes_T: Tensor) -> None:
        """Hold a custom neuron to the spikes that it declares and, once, to working place by place."""
        if x_T.is_meta:
            return
        self._note_spikes(path, neuron, spikes_T)
        if path in self._probed:
            return
        self._probed.add(path)
        self._is_probing = True
        try:
            mixed = mixes_places(neuron, x_T)
        finally:
            self._is_probing = False
        if mixed:
            raise CostError(
                f"{path}: the spikes of this neuron at one place depend on currents at others. Sums and products of "
                f"activations belong into the block, which declares them"
            )

    def _note_spikes(self, path: str, neuron: Neuron, spikes_T: Tensor) -> None:
        found = Count((neuron.spikes,), 1)
        found.read_operand(0, spikes_T)
        self._emitted[path] = self._emitted.get(path, True) & found.as_declared

    def _place(self) -> str:
        return self._stack[-1].path or "the model" if self._stack else "code outside the model"

    def _see(self, packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if self._stack and not self._is_probing:  # images may be prepared as one likes
            self._judge(packet, args, kwargs, out)
            if not self._open_neurons:
                self._constants.note(packet, args, kwargs, out)
            elif self._custom:
                self._custom.see(packet, args, kwargs, out, self._constants)

    def _judge(self, packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Count an operation, tally it, let it pass, or refuse it."""
        if self._open_neurons:  # its updates are tallied, whatever they multiply, one by one
            if _is_layer(packet):
                raise CostError(
                    f"{self._place()} runs {packet} inside a neuron. A neuron must not contain convolutions or matrix "
                    f"products: move them into the block"
                )
            return
        name = name_of(packet)
        adds = name in ("add", "mul", "mean", "sum")
        joins, averages = adds and self._declares("joins"), adds and self._declares("averages")
        varies = self._constants.is_activation
        if self._custom_depth:
            self._check_known(packet, args, kwargs)
        if packet in _COUNTED and any(map(varies, args)):
            if not (packet is _aten.sum and averages):
                self._count(packet, args, kwargs, out)
        elif packet is _aten.max_pool2d_with_indices:
            repeats = self._stack[-1].repeats
            self.overheads.pool_comparisons += repeats * out[0].numel() * (args[1][0] * args[1][-1] - 1)
        elif name in ("add", "mul") and joins and _are_streams(args):
            if name == "mul":
                self._note_mask(*args[:2])
            self.overheads.residual_additions += out.numel()
        elif name in ("add", "mean") and averages:
            pass
        elif name == "mul" and all(map(varies, args[:2])):
            self._note_mask(*args[:2])
        elif name in ("add", "sub") and all(map(varies, args[:2])):
            self._count(_aten.add, args, kwargs, out)
        elif reason := reason_against(packet, args, kwargs, out, self._constants):
            raise CostError(f"{self._place()} runs {packet}, which {reason}")
        if self._custom_depth:
            comparisons = comparisons_of(packet, args, out) if any(map(varies, tensors_in((args, kwargs)))) else 0
            self.overheads.pool_comparisons += self._stack[-1].repeats * comparisons
            if reason := self._scales.reason_against(packet, args, kwargs, self._constants):
                raise CostError(f"{self._place()} runs {packet}, which {reason}")
            self._scales.note(packet, args, kwargs, out, self._constants)

    def _declares(self, role: str) -> bool:
        """Whether the module that runs joins a branch to the stream, or averages for the classifier.

        Not inside a block of the user's own, which would add up what it likes in them.
        """
        module = self._stack[-1].module
        return not self._custom_depth and is_ours(module) and getattr(module, role, False)

    def _check_known(self, packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Nothing computes with what came past torch's dispatcher."""
        if packet is _aten.lift_fresh:  # numbers that stand in the code
            return
        for tensor in tensors_in((args, kwargs)):
            if self._constants.is_strange(tensor):
                raise CostError(
                    f"{self._place()} runs {packet} on a tensor that is neither a parameter nor a buffer of the model, "
                    f"nor the result of an operation that the counter saw"
                )

    def _see_read(self, func: Any, x: Tensor) -> None:
        if self._stack and not self._is_probing and self._constants.is_activation(x):
            raise CostError(
                f"{self._place()} calls {func.__name__} on an activation, so that later operations on it cannot be "
                f"counted"
            )

    def _note_mask(self, a: Tensor, b: Tensor) -> None:
        """A product element by element is free where one factor is a mask of spikes: it selects."""
        if a.is_meta:  # a shape without values
            return
        place = self._place()
        self._masks[place] = self._masks.get(place, True) & (_is_unit(a) | _is_unit(b))

    def _count(self, packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> None:
        running = self._stack[-1]
        if packet in flop_registry:
            self._flops += flop_registry[packet](*args, **kwargs, out_val=out)
        declared = getattr(running.module, "operands", None)
        if declared is None or running.counted >= len(declared):
            raise CostError(f"{self._place()} runs {packet}, which it does not declare in `operands`")
        key, operands = (running.path, running.counted), declared[running.counted]
        if key not in self._counts:
            self._counts[key] = Count(operands, running.repeats)
        if packet in _WEIGHTED:
            self._check_weights(packet, args, operands)
        if self._custom_depth:
            self._check_scales(packet, args, kwargs, operands)
        running.counted += 1
        with torch.no_grad():
            _RULES[packet](self._counts[key], args, out)

    def _check_weights(self, packet: Any, args: tuple[Any, ...], operands: tuple[Operand, ...]) -> None:
        """What stands in the places of weights and biases is constant, unless two factors are declared."""
        x, weight, bias = args[:3] if packet is _aten.convolution else (*args[-2:], args[0] if len(args) == 3 else None)
        varies = self._constants.is_activation
        if (len(operands) == 1 and (not varies(x) or varies(weight))) or varies(bias):
            raise CostError(
                f"{self._place()} runs {packet} with weights or a bias that depend on the images. Declare the classes "
                f"of both factors, and add the bias by itself"
            )

    def _check_scales(
        self, packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], operands: tuple[Operand, ...]
    ) -> None:
        """An addition or a product of activations does not multiply by constants: neither by `alpha`, nor before it."""
        if packet not in (_aten.add, _aten.sum) and len(operands) < 2:
            return
        factors = args[:2] if packet in (_aten.add, _aten.sum, _aten.convolution) else args[-2:]
        reals = [x for x, operand in zip(factors, operands, strict=False) if operand.kind == "real"]
        if abs(kwargs.get("alpha", 1)) != 1 or self._scales.are_several(reals):
            raise CostError(
                f"{self._place()} runs {packet} on real numbers that it scales: that is a product, which no rule "
                f"counts. Multiply them by the weights of a convolution or linear layer"
            )


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

    def _totals(self, place: str) -> list[int]:
        counted = (self.spikes, self.nonzero, self.multiplicity, self.events)
        if isinstance(self.nonzero, Tensor) and self.nonzero.is_meta:  # shapes without values
            return [0] * len(counted)
        if not bool(self.as_declared):
            kinds = ", ".join(f"{operand.kind} ({operand.quantum:g})" for operand in self.operands)
            raise CostError(f"{place} declares {kinds} and was fed worse")
        totals = [float(total) for total in counted]
        if not bool(self.exact) or max(totals) > 2**53 or any(math.isnan(total) for total in totals):
            raise CostError(f"{place} was fed numbers that are not finite, or too large to be counted exactly")
        return [int(total) for total in totals]


_MOST_LEVELS = 4096  # in both factors of a product of counts
_EXACT = 2**24  # up to here every whole number is a float32


def _exact_sum(x: Tensor, dims: int | tuple[int, ...]) -> Tensor:
    """Sums of whole numbers, as float64: added up as float32 as long as it holds them, then converted."""
    dims = (dims,) if isinstance(dims, int) else dims
    length = 1
    for dim in dims:
        length *= x.shape[dim]
    narrow = length < _EXACT and x.dtype != torch.float64
    return x.sum(dims, dtype=torch.float32 if narrow else torch.float64).double() if dims else x.double()


def _convolution(count: Count, args: tuple[Any, ...], out: Tensor) -> None:
    x, weight, bias, stride, padding, dilation, transposed, _output_padding, groups = args[:9]
    if transposed or weight.dim() != 4:
        raise CostError(f"a convolution of weight {tuple(weight.shape)}, transposed={transposed}, has no counting rule")
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
    nonzero_HW, spikes_HW = (_exact_sum(part, 1).sum(0) for part in count.read_operand(0, x))
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


def _linear(count: Count, args: tuple[Any, ...], out: Tensor) -> None:
    x, weight = args[-2:]  # mm(x, weight) or addmm(bias, x, weight)
    if len(count.operands) == 2:
        _product_of(count, x[None], weight[None])
        return
    dense, fan_out = x.numel() * out.shape[-1], out.shape[-1]
    biases = out.numel() if len(args) == 3 else 0
    geometry = {"input": [x.shape[1]], "output": [out.shape[1]]}
    count.add("weight", geometry, dense, dense, values=x.numel(), biases=biases)
    nonzero, spikes = (_exact_sum(part, 1).sum() for part in count.read_operand(0, x))
    count.add_met(nonzero * fan_out, spikes * fan_out, spikes)


def _product(count: Count, args: tuple[Any, ...], _out: Tensor) -> None:
    _product_of(count, *args[-2:])


def _product_of(count: Count, a_bmk: Tensor, b_bkn: Tensor) -> None:
    if len(count.operands) != 2:
        raise CostError(f"a product of two activations declared {count.operands}: declare the class of both")
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
    return (_exact_sum(a_bmk, 1) * _exact_sum(b_bkn, 2)).sum()


def _smaller(a_bmk: Tensor, b_bkn: Tensor) -> Tensor:
    """Sum over all pairs of two counts of the smaller one: min(a, b) is the number of levels that both reach."""
    highest = 0 if a_bmk.is_meta else int(torch.minimum(a_bmk.max(), b_bkn.max()))
    if highest > _MOST_LEVELS:
        raise CostError(
            f"a product of counts of up to {highest:,} spikes: {_MOST_LEVELS:,} are the most that is counted"
        )
    levels = (_pairs((a_bmk >= level).float(), (b_bkn >= level).float()) for level in range(1, highest + 1))
    return sum(levels, start=torch.zeros((), dtype=torch.float64, device=a_bmk.device))


def _sum(count: Count, args: tuple[Any, ...], out: Tensor) -> None:
    x = args[0]
    geometry = {"input": list(x.shape[2:]), "output": list(out.shape[2:])}
    count.add("sum", geometry, x.numel(), x.numel(), values=x.numel())
    nonzero, spikes = (_exact_sum(part.flatten(1), 1).sum() for part in count.read_operand(0, x))
    count.add_met(nonzero, spikes, spikes)


def _addition(count: Count, args: tuple[Any, ...], out: Tensor) -> None:
    if len(count.operands) != 2:
        raise CostError(
            f"an addition of two activations declares {count.operands}. Declare one kind for each of the two"
        )
    addends = torch.broadcast_tensors(*args[:2])
    geometry = {"input": [2, *out.shape[2:]], "output": list(out.shape[2:])}
    count.add("sum", geometry, 2 * out.numel(), 2 * out.numel(), values=2 * out.numel())
    met = [[_exact_sum(part.flatten(), 0) for part in count.read_operand(i, x)] for i, x in enumerate(addends)]
    spikes = [s for (_, s), operand in zip(met, count.operands, strict=True) if operand.kind != "real"]
    total = torch.stack(spikes).sum() if spikes else None
    count.add_pairs(met[0][0] + met[1][0], total, total)
    count.spikes = count.spikes + (0.0 if total is None else total)


_aten = torch.ops.aten
_RULES: dict[Any, Callable[[Count, tuple[Any, ...], Tensor], None]] = {
    _aten.convolution: _convolution,
    _aten.mm: _linear,
    _aten.addmm: _linear,
    _aten.bmm: _product,
    _aten.sum: _sum,
    _aten.add: _addition,
}
_COUNTED = frozenset(_RULES) - {_aten.add}  # an addition is counted where both addends depend on the images
_WEIGHTED = frozenset((_aten.convolution, _aten.mm, _aten.addmm))


def _is_layer(packet: Any) -> bool:
    """Whether it multiplies with weights, or activations with activations."""
    if id(packet) not in _LAYERS:  # by identity: packets live for ever, and their hash is slow
        _LAYERS[id(packet)] = packet in flop_registry or packet in _WEIGHTED
    return _LAYERS[id(packet)]


_LAYERS: dict[int, bool] = {}


def _are_streams(args: tuple[Any, ...]) -> bool:
    """Whether both are sequences of feature maps, and none a number or a factor a channel."""
    return len(args) >= 2 and all(isinstance(arg, Tensor) and arg.dim() >= 4 for arg in args[:2])


def _is_unit(x: Tensor) -> Tensor:
    """Whether all numbers are 0, 1 or -1; stays on the device."""
    if x.dtype == torch.bool:
        return torch.ones((), dtype=torch.bool, device=x.device)
    size = x.abs()
    least, largest = torch.aminmax(size * size - size)
    return (least == 0) & (largest == 0)


def static_model(config: SpikformerConfig, *, fused: bool = False) -> Spikformer:
    """The network without values, in eval mode; `fused`, its deployable form (`spikformer.fuse`)."""
    with torch.device("meta"):
        model = Spikformer(config).eval()
    return fuse(model) if fused else model


def static_operations(config: SpikformerConfig, *, fused: bool = False) -> tuple[Operation, ...]:
    """What one image runs, by shapes alone: what depends on values is 0. No weights, no memory, no time."""
    model, stem = static_model(config, fused=fused), config.stem
    image = torch.empty(1, stem.in_channels, stem.image_size, stem.image_size, device="meta")
    with torch.no_grad(), OperationCounter(model) as counter:
        model(image)
    return counter.operations()


def multiplications(operations: Iterable[Operation]) -> int:
    """Dense multiplications with an addition, over all time steps, padding included."""
    return sum(op.dense * op.repeats for op in operations if op.kind != "sum")


@dataclass(frozen=True)
class Part:
    """A module and what it holds, per image over all time steps.

    Attributes:
        path: of the module; "" is the whole network.
        kind: its class.
        parameters: its own and its children's.
        dense_macs: padding included, nothing zero.
    """

    path: str
    kind: str
    parameters: int
    dense_macs: int


def dense_macs(model: Spikformer) -> dict[str, int]:
    """Multiplications with an addition by module path, per image over all T, padding included, nothing zero.

    fvcore's `FlopCountAnalysis` (its "flop" is a MAC) without batch norm, which folds into the
    convolution before it. What is computed once for T steps counts T times.
    """
    static = copy.deepcopy(model).eval().float().to("meta")
    for path, module in list(static.named_modules()):
        if isinstance(module, Neuron):  # it multiplies with no weights, and tracing would stop at it
            static.set_submodule(path, nn.Identity())
    static = static.to_empty(device="cpu")
    for tensor in static.state_dict().values():
        tensor.zero_()
    stem = model.config.stem
    image = torch.zeros(1, stem.in_channels, stem.image_size, stem.image_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore is built on torch.jit, which warns of its age and of each shape
        from fvcore.nn import FlopCountAnalysis  # slow to import

        analysis = FlopCountAnalysis(static, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        by_module = analysis.by_module_and_operator()
    macs = {path: sum(n for kind, n in kinds.items() if kind != "batch_norm") for path, kinds in by_module.items()}
    for path, module in static.named_modules():
        if isinstance(module, ImageEncoding):  # it saw one image, which is shown at every step
            convolution = f"{path}.conv".strip(".")
            extra = macs[convolution] * (module.time_steps - 1)
            for owner in _ancestors(convolution):
                macs[owner] += extra
    return {path: int(n) for path, n in macs.items()}


def parts(model: Spikformer) -> list[Part]:
    """Every module that multiplies or has parameters, the whole network first."""
    macs = dense_macs(model)
    found = [
        Part(path, type(module).__name__, sum(p.numel() for p in module.parameters()), macs.get(path, 0))
        for path, module in model.named_modules()
    ]
    return [part for part in found if part.parameters or part.dense_macs]


def _ancestors(path: str) -> list[str]:
    """The path itself and all that it lies in, up to the whole network."""
    names = path.split(".") if path else []
    return [".".join(names[:i]) for i in range(len(names) + 1)]


def as_dicts(operations: Iterable[Operation]) -> list[dict[str, Any]]:
    """Operations as plain values, for a record."""
    return [
        dataclasses.asdict(op) | {"operands": [[operand.kind, operand.quantum] for operand in op.operands]}
        for op in operations
    ]


__all__ = [
    "Count",
    "Operation",
    "OperationCounter",
    "Overheads",
    "Part",
    "as_dicts",
    "dense_macs",
    "parts",
    "static_model",
    "static_operations",
]
