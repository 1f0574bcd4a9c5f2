"""Operations counted exactly, to the last spike, while a network runs; `nas.costs.energy` prices them.

Counted are the products of activations with weights (convolution, linear), the products of activations
with each other, and the sums of spikes inside attention. Batch norm is not: it folds into the convolution
before it. Neuron updates, residual additions and pooling are tallied apart, as overheads.
"""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

from nas.costs.counting_rules import RULES, exact_sum
from nas.costs.custom_neurons import CustomNeuron, check_input, mixes_places
from nas.costs.free_operations import Constants, Packet, Readers, tensors_in
from nas.costs.judging import Forward, Judge, Totals
from nas.costs.operations import Activity, Operation, Overheads
from nas.costs.scales import Scales
from nas.errors import CostError
from spikformer.neurons import Neuron
from spikformer.operands import BINARY
from spikformer.plugins import is_custom, is_ours
from spikformer.stems import ImageEncoding

_Given = tuple[tuple[Any, ...], dict[str, Any]]  # to a module, by place and by name


class _Dispatch(TorchDispatchMode):
    """Shows every operation that torch runs to `see`; what autograd adds around it does not appear."""

    def __init__(self, see: Callable[[Packet, tuple[object, ...], Mapping[str, object], object], None]) -> None:
        super().__init__()
        self._see = see
        # Operations that are not made of others, by identity: they live for ever.
        self._leaves = {id(torch.ops.prim.device.default)}

    def __torch_dispatch__(
        self,
        func: OpOverload[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        # Under inference_mode composite operations (linear, conv2d, matmul) arrive whole.
        if id(func) not in self._leaves:
            if func._overloadpacket not in RULES:
                with self:
                    parts = func.decompose(*args, **kwargs)
                if parts is not NotImplemented:
                    return parts
            self._leaves.add(id(func))
        out = func(*args, **kwargs)
        self._see(func._overloadpacket, args, kwargs, out)
        return out


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
        self._custom: CustomNeuron | None = None  # that runs
        self._is_probing = False
        self._probed: set[str] = set()
        self._spikes: dict[str, tuple[Tensor, int]] = {}
        self._by_step: dict[tuple[str, int], tuple[Tensor, int]] = {}  # by path and number of steps
        self._handles: list[RemovableHandle] = []
        self._forward, self._totals, self._scales = Forward(), Totals(), Scales()
        self._constants = Constants(model)
        self._judge = Judge(self._forward, self._totals, self.overheads, self._constants, self._scales)
        self._dispatch = _Dispatch(self._see)
        self._readers = Readers(self._see_read)

    def __enter__(self) -> Self:
        for path, module in self._model.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._entering(path), with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._leaving(path), always_call=True))
        if self._is_custom:
            self._readers.__enter__()
        self._dispatch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dispatch.__exit__(kind, error, trace)
        if self._is_custom:
            self._readers.__exit__(kind, error, trace)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def operations(self) -> tuple[Operation, ...]:
        """What was counted so far.

        Raises:
            CostError: an operand was worse than its declared class, a product element by element was no mask, or
                the dense count is not torch's.
        """
        return self._totals.operations()

    def running_events(self) -> tuple[Tensor | float, Tensor | float]:
        """Events and products of real numbers so far, still on the device: for the spread between batches."""
        return self._totals.running_events()

    def firing_rates(self) -> dict[str, float]:
        """Mean over all neurons, images and time steps, by module path."""
        return {path: (spikes / neurons).item() for path, (spikes, neurons) in self._spikes.items()}

    def activity(self) -> dict[str, Activity]:
        """Spikes of each neuron layer by time step, by module path.

        Whole numbers of spikes, where a firing rate is made of the values that neurons send: these differ where a spike
        is worth less than 1, or may be negative.
        """
        longest: dict[str, int] = {}  # a custom block may run a neuron for fewer steps besides
        for path, steps in self._by_step:
            longest[path] = max(steps, longest.get(path, 0))
        totals = ((path, *self._by_step[path, steps]) for path, steps in longest.items())
        return {path: Activity(neurons, tuple(map(int, spikes_T.tolist()))) for path, spikes_T, neurons in totals}

    def _entering(self, path: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], _Given | None]:
        def enter(module: nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> _Given | None:
            if self._is_probing:
                return None
            if not self._forward:
                self._constants.forget()
                self._constants.show(tensors_in((inputs, kwargs)))
            repeats = self._forward.repeats
            if isinstance(module, ImageEncoding) and is_ours(module):
                repeats *= module.stands_for(inputs[0])
            self._forward.enter(path, module, repeats)
            if isinstance(module, Neuron):
                check_input(path, module, self._model, inputs, kwargs)
                # A block of the user's own may have changed a neuron of ours, by a hook or on the instance.
                if self._is_custom and self._forward.open_neurons == 1 and self._constants.is_activation(inputs[0]):
                    inputs = (inputs[0].clone(),)  # memory of its own: it holds nothing else to be read
                    self._constants.show(inputs)
                    self._custom = CustomNeuron(path, module, inputs[0])
            return inputs, kwargs

        return enter

    def _leaving(self, path: str) -> Callable[..., None]:
        def leave(module: nn.Module, inputs: tuple[Tensor, ...], out: object) -> None:
            if self._is_probing:
                return
            watched = self._custom is not None and self._custom.neuron is module
            if watched:
                self._custom = None
            if isinstance(module, Neuron) and isinstance(out, Tensor):
                self._note_neuron(path, module, inputs, out)
                if watched:
                    self._probe(path, module, inputs[0], out)
            # Last, so that the sum above counts as the neuron's own and not as attention's.
            self._forward.leave(module)

        return leave

    def _note_neuron(self, path: str, neuron: Neuron, inputs: tuple[object, ...], spikes_T: Tensor) -> None:
        zero = torch.zeros((), dtype=torch.float64, device=spikes_T.device)
        spikes, neurons = self._spikes.get(path, (zero, 0))
        spikes += exact_sum(spikes_T.flatten(0, 1), tuple(range(1, spikes_T.dim() - 1))).sum()
        self._spikes[path] = spikes, neurons + spikes_T.numel()
        self._note_steps(path, neuron, spikes_T)
        if any(map(self._constants.is_activation, inputs)):
            self.overheads.neuron_updates += spikes_T.numel()
            self._constants.show([spikes_T])
        else:  # the same spikes for every image: they are known before the first one
            self._constants.add([spikes_T])
        self._scales.forget([spikes_T])

    def _note_steps(self, path: str, neuron: Neuron, spikes_T: Tensor) -> None:
        steps = spikes_T.shape[0]
        zeros_T = torch.zeros(steps, dtype=torch.float64, device=spikes_T.device)
        total_T, neurons = self._by_step.get((path, steps), (zeros_T, 0))
        counts_T = spikes_T if neuron.spikes == BINARY else (spikes_T.abs() / neuron.spikes.quantum).round()
        total_T += exact_sum(counts_T, tuple(range(2, spikes_T.dim()))).sum(1)
        self._by_step[path, steps] = total_T, neurons + spikes_T.numel() // steps

    def _probe(self, path: str, neuron: Neuron, x_T: Tensor, spikes_T: Tensor) -> None:
        """Hold a custom neuron to the spikes that it declares and, once, to working place by place."""
        if x_T.is_meta:
            return
        self._totals.note_spikes(path, neuron, spikes_T)
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
                f"{path}: the spikes of this neuron at one place depend on currents at other places. Move sums "
                "and products of activations into the block, and declare them there in `operands`"
            )

    def _see(self, packet: Packet, args: tuple[object, ...], kwargs: Mapping[str, object], out: object) -> None:
        if self._forward and not self._is_probing:  # images may be prepared as one likes
            self._judge.see(packet, args, kwargs, out)
            if not self._forward.open_neurons:
                self._constants.note(packet, args, kwargs, out)
            elif self._custom:
                self._custom.see(packet, args, kwargs, out, self._constants)

    def _see_read(self, func: Callable[..., object], x: Tensor) -> None:
        if self._forward and not self._is_probing and self._constants.is_activation(x):
            raise CostError(
                f"{self._forward.place} calls {func.__name__} on an activation, so later operations on the result "
                "cannot be counted. Keep to operations on tensors"
            )


__all__ = ["OperationCounter"]
