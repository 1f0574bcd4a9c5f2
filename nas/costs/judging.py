"""What becomes of each operation that torch runs: it is counted, tallied, let pass because it is free, or refused.

The model declares what each operation is fed (`spikformer.operands`); values that are worse than declared are an error.
An operation on activations that is neither declared nor on the list of those that are free
(`nas.costs.free_operations`) is an error too, and so is a dense count that is not torch's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

from nas.costs.counting_rules import COUNTED, RULES, WEIGHTED, Count
from nas.costs.free_operations import Arguments, Constants, Packet, comparisons_of, name_of, reason_against, tensors_in
from nas.costs.operations import Operation, Overheads
from nas.costs.scales import Scales
from nas.errors import CostError
from spikformer.neurons import Neuron
from spikformer.operands import Operand, Operands
from spikformer.plugins import is_custom, is_ours

_aten = torch.ops.aten


@dataclass
class Running:
    """A module whose forward runs.

    Attributes:
        repeats: time steps that a result of it stands for.
        counted: operations of its own so far.
    """

    path: str
    module: nn.Module
    repeats: int
    counted: int = 0


class Forward:
    """The modules that run at a moment, one within the other.

    Attributes:
        open_neurons: how many of them are neurons.
        custom_depth: how many are of the user's own.
    """

    def __init__(self) -> None:
        self.open_neurons = 0
        self.custom_depth = 0
        self._stack: list[Running] = []

    def __bool__(self) -> bool:
        return bool(self._stack)

    @property
    def innermost(self) -> Running:
        return self._stack[-1]

    @property
    def repeats(self) -> int:
        """Time steps that a result of the innermost module stands for; 1 outside the model."""
        return self._stack[-1].repeats if self._stack else 1

    @property
    def place(self) -> str:
        """Where an operation runs, for people."""
        return self._stack[-1].path or "the model" if self._stack else "code outside the model"

    def enter(self, path: str, module: nn.Module, repeats: int) -> None:
        self._stack.append(Running(path, module, repeats))
        self.open_neurons += isinstance(module, Neuron)
        self.custom_depth += is_custom(module)

    def leave(self, module: nn.Module) -> None:
        self._stack.pop()
        self.open_neurons -= isinstance(module, Neuron)
        self.custom_depth -= is_custom(module)

    def declares(self, role: str) -> bool:
        """Whether the module that runs joins a branch to the stream, or averages for the classifier.

        Not inside a block of the user's own, which would add up what it likes in them.
        """
        module = self._stack[-1].module
        return not self.custom_depth and is_ours(module) and getattr(module, role, False)


class Totals:
    """What was counted so far, and whether all values were as declared; on the device until it is read."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, int], Count] = {}
        self.flops = 0  # by torch's own counter, two for a multiplication with its addition
        self._masks: dict[str, Tensor | bool] = {}  # by place, whether all products element by element were masks
        self._emitted: dict[str, Tensor | bool] = {}  # by neuron, whether all that it returned was of its class

    def note_mask(self, place: str, a: Tensor, b: Tensor) -> None:
        """A product element by element is free where one factor is a mask of spikes: it selects."""
        if a.is_meta:  # a shape without values
            return
        self._masks[place] = self._masks.get(place, True) & (_is_unit(a) | _is_unit(b))

    def note_spikes(self, path: str, neuron: Neuron, spikes_T: Tensor) -> None:
        """Whether a neuron returned the spikes that it declares."""
        count = Count((neuron.spikes,), 1)
        count.read_operand(0, spikes_T)
        self._emitted[path] = self._emitted.get(path, True) & count.as_declared

    def operations(self) -> tuple[Operation, ...]:
        """Raises CostError: see `OperationCounter.operations`."""
        for place, is_mask in self._masks.items():
            if not bool(is_mask):
                raise CostError(
                    f"{place} multiplies two activations element by element, but neither is a mask of 0, 1 and -1. "
                    "Multiply by spikes, or declare a matrix product"
                )
        for path, is_declared in self._emitted.items():
            if not bool(is_declared):
                raise CostError(f"{path} returns other numbers than the spikes that it declares. Correct its `spikes`")
        operations = tuple(count.read(path, index) for (path, index), count in self.counts.items())
        dense = sum(op.dense for op in operations if op.kind != "sum")
        if 2 * dense != self.flops:
            raise CostError(
                f"{dense:,} dense multiplications were counted, but torch's FLOP counter says {self.flops / 2:,.0f}. "
                "Check custom blocks with `python cli.py check-block`"
            )
        return operations

    def running_events(self) -> tuple[Tensor | float, Tensor | float]:
        counts = self.counts.values()
        reals = [all(operand.kind == "real" for operand in count.operands) for count in counts]
        events = sum(count.events for count, real in zip(counts, reals, strict=True) if not real)
        return events, sum(count.nonzero for count, real in zip(counts, reals, strict=True) if real)


class Judge:
    """Decides about one operation after the other, and adds what it counts to `totals` and `overheads`."""

    def __init__(
        self, forward: Forward, totals: Totals, overheads: Overheads, constants: Constants, scales: Scales
    ) -> None:
        self._forward, self._totals, self._overheads = forward, totals, overheads
        self._constants, self._scales = constants, scales

    def see(self, packet: Packet, args: Arguments, kwargs: Mapping[str, object], out: object) -> None:
        """One operation.

        Raises:
            CostError: it is not declared, and no rule says that it is free.
        """
        forward = self._forward
        if forward.open_neurons:  # its updates are tallied, whatever they multiply, one by one
            if _is_layer(packet):
                raise CostError(
                    f"{forward.place} runs {packet} inside a neuron. A neuron must not contain convolutions or matrix "
                    f"products: move them into the block"
                )
            return
        if forward.custom_depth:
            self._check_known(packet, args, kwargs)
        self._account(packet, args, kwargs, out)
        if forward.custom_depth:
            varies = any(map(self._constants.is_activation, tensors_in((args, kwargs))))
            comparisons = comparisons_of(packet, args, out) if varies else 0
            self._overheads.pool_comparisons += forward.repeats * comparisons
            if reason := self._scales.reason_against(packet, args, kwargs, self._constants):
                raise CostError(f"{forward.place} runs {packet}, which {reason}")
            self._scales.note(packet, args, kwargs, out, self._constants)

    def _account(self, packet: Packet, args: Arguments, kwargs: Mapping[str, object], out: Any) -> None:
        forward, varies, name = self._forward, self._constants.is_activation, name_of(packet)
        adds = name in ("add", "mul", "mean", "sum")
        joins, averages = adds and forward.declares("joins"), adds and forward.declares("averages")
        if packet in COUNTED and any(map(varies, args)):
            if not (packet is _aten.sum and averages):
                self._count(packet, args, kwargs, out)
        elif packet is _aten.max_pool2d_with_indices:
            self._overheads.pool_comparisons += forward.repeats * out[0].numel() * (args[1][0] * args[1][-1] - 1)
        elif name in ("add", "mul") and joins and _are_streams(args):
            if name == "mul":
                self._totals.note_mask(forward.place, *args[:2])
            self._overheads.residual_additions += out.numel()
        elif name in ("add", "mean") and averages:
            pass
        elif name == "mul" and all(map(varies, args[:2])):
            self._totals.note_mask(forward.place, *args[:2])
        elif name in ("add", "sub") and all(map(varies, args[:2])):
            self._count(_aten.add, args, kwargs, out)
        elif reason := reason_against(packet, args, kwargs, out, self._constants):
            raise CostError(f"{forward.place} runs {packet}, which {reason}")

    def _check_known(self, packet: Packet, args: Arguments, kwargs: Mapping[str, object]) -> None:
        """Nothing computes with what came past torch's dispatcher."""
        if packet is _aten.lift_fresh:  # numbers that stand in the code
            return
        for tensor in tensors_in((args, kwargs)):
            if self._constants.is_strange(tensor):
                raise CostError(
                    f"{self._forward.place} runs {packet} on a tensor that is neither a parameter nor a buffer of the "
                    "model, nor the result of an operation that the counter saw. Register constants as buffers"
                )

    def _count(self, packet: Packet, args: Arguments, kwargs: Mapping[str, object], out: Tensor) -> None:
        running, totals = self._forward.innermost, self._totals
        if packet in flop_registry:
            totals.flops += flop_registry[packet](*args, **kwargs, out_val=out)
        declared: Operands | None = getattr(running.module, "operands", None)  # pyrefly: ignore[bad-assignment]
        if declared is None or running.counted >= len(declared):
            raise CostError(
                f"{self._forward.place} runs {packet}, which the module does not declare in `operands`. Add the "
                "declaration"
            )
        key, operands = (running.path, running.counted), declared[running.counted]
        if key not in totals.counts:
            totals.counts[key] = Count(operands, running.repeats)
        if packet in WEIGHTED:
            self._check_weights(packet, args, operands)
        if self._forward.custom_depth:
            self._check_scales(packet, args, kwargs, operands)
        running.counted += 1
        with torch.no_grad():
            try:
                RULES[packet](totals.counts[key], args, out)
            except CostError as error:
                raise CostError(f"{self._forward.place}: {error}") from None

    def _check_weights(self, packet: Packet, args: Arguments, operands: tuple[Operand, ...]) -> None:
        """What stands in the places of weights and biases is constant, unless two factors are declared."""
        x, weight, bias = args[:3] if packet is _aten.convolution else (*args[-2:], args[0] if len(args) == 3 else None)
        varies = self._constants.is_activation
        if (len(operands) == 1 and (not varies(x) or varies(weight))) or varies(bias):
            raise CostError(
                f"{self._forward.place} runs {packet} with weights or a bias that depend on the images. Declare the "
                f"classes of both factors, and add the bias by itself"
            )

    def _check_scales(
        self, packet: Packet, args: Arguments, kwargs: Mapping[str, Any], operands: tuple[Operand, ...]
    ) -> None:
        """An addition or a product of activations does not multiply by constants: neither by `alpha`, nor before it."""
        if packet not in (_aten.add, _aten.sum) and len(operands) < 2:
            return
        factors = args[:2] if packet in (_aten.add, _aten.sum, _aten.convolution) else args[-2:]
        reals = [x for x, operand in zip(factors, operands, strict=False) if operand.kind == "real"]
        if abs(kwargs.get("alpha", 1)) != 1 or self._scales.are_several(reals):
            raise CostError(
                f"{self._forward.place} runs {packet} on scaled real numbers, which no rule counts. Multiply the "
                "numbers by the weights of a convolution or linear layer instead"
            )


def _is_layer(packet: Packet) -> bool:
    """Whether it multiplies with weights, or activations with activations."""
    if id(packet) not in _LAYERS:  # by identity: packets live for ever, and their hash is slow
        _LAYERS[id(packet)] = packet in flop_registry or packet in WEIGHTED
    return _LAYERS[id(packet)]


_LAYERS: dict[int, bool] = {}


def _are_streams(args: Arguments) -> bool:
    """Whether both are sequences of feature maps, and none a number or a factor a channel."""
    return len(args) >= 2 and all(isinstance(arg, Tensor) and arg.dim() >= 4 for arg in args[:2])


def _is_unit(x: Tensor) -> Tensor:
    """Whether all numbers are 0, 1 or -1; stays on the device."""
    if x.dtype == torch.bool:
        return torch.ones((), dtype=torch.bool, device=x.device)
    size = x.abs()
    least, largest = torch.aminmax(size * size - size)
    return (least == 0) & (largest == 0)


__all__ = ["Forward", "Judge", "Totals"]
