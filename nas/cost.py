"""Operations counted exactly while a network runs, then priced under a named convention.

Counted are the products of activations with weights (convolution, linear), the products of activations
with each other, and the sums of spikes inside attention. Not counted: batch norm (it folds into the
convolution before it), neuron updates, residual additions, pooling, means, constant scales, biases.

The model declares what each operation is fed (`spikformer.operands`); values that are worse than
declared are an error. An operation that multiplies and is not declared is an error too.
"""

import dataclasses
import math
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nas.data import Split
from nas.errors import CostError
from nas.training import Normalise, batches
from spikformer.layers import Conv2d
from spikformer.model import Spikformer
from spikformer.neurons import Neuron
from spikformer.operands import Operand

PJ_PER_AC = 0.9  # one 32-bit floating-point addition, 45 nm, 0.9 V; Horowitz, ISSCC 2014
PJ_PER_MAC = 4.6  # that addition and one multiplication (3.7 pJ); the same source

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
    nonzero: int
    multiplicity: int
    events: int

    @property
    def macs(self) -> int:
        """Multiplications of two real numbers, each with an addition, under the convention "measured"."""
        return self.nonzero if all(operand.kind == "real" for operand in self.operands) else 0

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**{**values, "operands": tuple(Operand(*operand) for operand in values["operands"])})


@dataclass(frozen=True)
class Energy:
    """Under the convention "measured", per image.

    Attributes:
        energy_mj: what is computed once is counted once: the first convolution of a static image.
        energy_repeated_mj: the same with that convolution counted at each of the T time steps.
        spike_operations: accumulates caused by spikes (SOPs).
        real_macs: multiplications of real numbers.
    """

    energy_mj: float
    energy_repeated_mj: float
    spike_operations: float
    real_macs: float


def measured(operations: Iterable[Operation], images: int) -> Energy:
    """Price operations: 0.9 pJ an accumulate, 4.6 pJ a multiplication of real numbers, padding excluded.

    v spikes that meet a weight cost v accumulates. A product of activations of which one is 0 or a spike costs
    one accumulate for each pair with both factors non-zero; a product of two counts, the smaller of the pair.

    Args:
        operations: counted over `images` images.
    """
    operations = list(operations)
    once = [PJ_PER_AC * op.events + PJ_PER_MAC * op.macs for op in operations]
    repeated = [pj * op.repeats for pj, op in zip(once, operations, strict=True)]
    return Energy(
        energy_mj=math.fsum(once) / images * 1e-9,
        energy_repeated_mj=math.fsum(repeated) / images * 1e-9,
        spike_operations=sum(op.events for op in operations) / images,
        real_macs=sum(op.macs for op in operations) / images,
    )


@dataclass(frozen=True)
class Measurement:
    """One pass over labelled images.

    Attributes:
        accuracy: share classified rightly.
        images: how many.
        operations: in the order in which they first ran.
        firing_rates: module path of each neuron layer -> spikes per neuron and time step.
        silent: why the network carries no information, or None.
    """

    accuracy: float
    images: int
    operations: tuple[Operation, ...]
    firing_rates: dict[str, float]
    silent: str | None


def measure(model: Spikformer, split: Split, normalise: Normalise) -> Measurement:
    """Run `model` over all images of a split in eval mode: accuracy, exact counts, firing rates, signs of life.

    Raises:
        CostError: an operation that cannot be counted exactly, or is fed worse than it declares.
    """
    model.eval()
    right = torch.zeros((), device=split.labels.device)
    stream, head_input = _Constant(), _Constant()
    hooks = [
        model.stages.register_forward_hook(lambda _m, _inputs, out: stream.see(out)),
        model.head.linear.register_forward_pre_hook(lambda _m, inputs: head_input.see(_time_first(inputs[0]))),
    ]
    try:
        with torch.no_grad(), OperationCounter(model) as counter:
            for images, labels in batches(split):
                right += (model(normalise(images)).argmax(1) == labels).sum()
    finally:
        for hook in hooks:
            hook.remove()
    return Measurement(
        accuracy=right.item() / len(split),
        images=len(split),
        operations=counter.operations(),
        firing_rates=counter.firing_rates(),
        silent=_silence(model, stream, head_input),
    )


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


class _Dispatch(TorchDispatchMode):
    """Shows every operation that torch runs to `see`; what autograd adds around it does not appear."""

    def __init__(self, see: Callable[[Any, tuple[Any, ...], Any], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self._see = see

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # Under inference_mode composite operations (linear, conv2d, matmul) arrive whole.
        if func._overloadpacket not in _RULES and func is not torch.ops.prim.device.default:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        self._see(func._overloadpacket, args, out)
        return out


class OperationCounter:
    """Counts the operations of `model` while the context lasts; the same with grad, no_grad and inference_mode.

    Totals stay on the device as float64, in which whole numbers are exact up to 2^53, until they are read.

    Args:
        rules: how to count each operation, instead of ours.
    """

    def __init__(self, model: nn.Module, rules: "Rules | None" = None) -> None:
        self._model, self._rules = model, _RULES if rules is None else rules
        self._stack: list[tuple[str, nn.Module, list[int]]] = []
        self._counts: dict[tuple[str, int], Count] = {}
        self._spikes: dict[str, list[Any]] = {}
        self._handles: list[Any] = []
        self._dispatch = _Dispatch(self._see)

    def __enter__(self) -> Self:
        for path, module in self._model.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._entering(path)))
            self._handles.append(module.register_forward_hook(self._leaving(path), always_call=True))
        self._dispatch.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dispatch.__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def operations(self) -> tuple[Operation, ...]:
        """What was counted so far.

        Raises:
            CostError: an operand was worse than its declared class.
        """
        return tuple(count.read(path, index) for (path, index), count in self._counts.items())

    def firing_rates(self) -> dict[str, float]:
        """Mean over all neurons, images and time steps, by module path."""
        return {path: (spikes / neurons).item() for path, (spikes, neurons) in self._spikes.items()}

    def _entering(self, path: str) -> Callable[..., None]:
        return lambda module, _inputs: self._stack.append((path, module, [0]))

    def _leaving(self, path: str) -> Callable[..., None]:
        def leave(module: nn.Module, _inputs: Any, out: Any) -> None:
            if isinstance(module, Neuron) and isinstance(out, Tensor):
                total = self._spikes.setdefault(path, [torch.zeros((), dtype=torch.float64, device=out.device), 0])
                total[0] += out.sum(dtype=torch.float64)
                total[1] += out.numel()
            self._stack.pop()  # last, so that the sum above counts as the neuron's own and not as attention's

        return leave

    def _place(self) -> str:
        return self._stack[-1][0] or "the model" if self._stack else "code outside the model"

    def _see(self, packet: Any, args: tuple[Any, ...], out: Any) -> None:
        if any(isinstance(module, Neuron) for _, module, _ in self._stack):
            return  # its updates are not counted, whatever they multiply
        if packet in _RULES:
            self._count(packet, args, out)
        elif _could_multiply(packet):
            raise CostError(f"{self._place()} runs {packet}, which multiplies and has no counting rule")

    def _count(self, packet: Any, args: tuple[Any, ...], out: Tensor) -> None:
        path, module, position = self._stack[-1] if self._stack else ("", self._model, [0])
        declared = getattr(module, "operands", None)
        if packet is _aten.sum and declared is None:
            return  # a mean, a loss, a neuron's inside: only attention's sums of spikes are declared
        if declared is None or position[0] >= len(declared):
            raise CostError(f"{self._place()} runs {packet}, which it does not declare in `operands`")
        key = (path, position[0])
        if key not in self._counts:
            self._counts[key] = Count(declared[position[0]], getattr(module, "repeats", 1))
        position[0] += 1
        with torch.no_grad():
            self._rules[packet](self._counts[key], args, out)


class Count:
    """Running totals of one operation."""

    def __init__(self, operands: tuple[Operand, ...], repeats: int) -> None:
        self.operands, self.repeats = operands, repeats
        self.kind: Kind = "weight"
        self.geometry: dict[str, list[int]] = {}
        self.calls = self.dense = self.valid = 0
        self.nonzero: Tensor | float = 0.0
        self.multiplicity: Tensor | float = 0.0
        self.events: Tensor | float = 0.0
        self.as_declared: Tensor | bool = True

    def add(self, kind: Kind, geometry: dict[str, list[int]], dense: int, valid: int) -> None:
        self.kind, self.geometry = kind, geometry
        self.calls += 1
        self.dense += dense
        self.valid += valid

    def add_spikes(self, nonzero: Tensor, multiplicity: Tensor | None, events: Tensor | None) -> None:
        """What depends on values; None where real numbers leave nothing to count."""
        self.nonzero = self.nonzero + nonzero
        self.multiplicity = self.multiplicity + (0.0 if multiplicity is None else multiplicity)
        self.events = self.events + (0.0 if events is None else events)

    def spikes(self, operand: int, x: Tensor) -> Tensor:
        """How many spikes each number stands for, whatever its sign; checks that it is of the declared class."""
        declared = self.operands[operand]
        if declared.kind == "real":
            return (x != 0).to(torch.float64)
        signed = x if declared.quantum == 1 else x / declared.quantum
        spikes = signed.abs()
        fits = spikes <= 1 if declared.is_unit else torch.ones_like(x, dtype=torch.bool)
        if declared.kind in ("binary", "count"):
            fits = fits & (signed >= 0)
        self.as_declared = self.as_declared & (fits & (spikes == spikes.round())).all()
        return spikes

    def read(self, path: str, index: int) -> Operation:
        if not bool(self.as_declared):
            kinds = ", ".join(f"{operand.kind} ({operand.quantum:g})" for operand in self.operands)
            raise CostError(f"{path or 'the model'}, operation {index}, declares {kinds} and was fed worse")
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
            int(self.nonzero),
            int(self.multiplicity),
            int(self.events),
        )


def _convolution(count: Count, args: tuple[Any, ...], out: Tensor) -> None:
    x, weight, _bias, stride, padding, dilation, transposed, _output_padding, groups = args[:9]
    if transposed or weight.dim() != 4:
        raise CostError(f"a convolution of weight {tuple(weight.shape)}, transposed={transposed}, has no counting rule")
    taps = [
        _taps(
            x.shape[2 + axis], out.shape[2 + axis], weight.shape[2 + axis], stride[axis], padding[axis], dilation[axis]
        )
        for axis in range(2)
    ]
    taps_HW = torch.outer(*taps).to(x.device)  # outputs that each pixel reaches
    fan_out = out.shape[1] // groups
    reached = int(taps_HW.sum())
    count.add(
        "weight",
        {"input": list(x.shape[1:]), "output": list(out.shape[1:]), "kernel": list(weight.shape[2:])},
        dense=out.numel() * weight[0].numel(),
        valid=x.shape[0] * x.shape[1] * reached * fan_out,
    )
    nonzero = ((x != 0).sum((0, 1), dtype=torch.float64) * taps_HW).sum() * fan_out
    multiplicity = (count.spikes(0, x).sum((0, 1), dtype=torch.float64) * taps_HW).sum() * fan_out
    _add_met(count, nonzero, multiplicity)


def _add_met(count: Count, nonzero: Tensor, multiplicity: Tensor) -> None:
    """Activations that meet a weight or one another in a sum: each spike is an event."""
    real = count.operands[0].kind == "real"
    count.add_spikes(nonzero, None if real else multiplicity, None if real else multiplicity)


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
    dense = x.numel() * out.shape[-1]
    count.add("weight", {"input": [x.shape[1]], "output": [out.shape[1]]}, dense, dense)
    fan_out = out.shape[-1]
    nonzero = (x != 0).sum(dtype=torch.float64) * fan_out
    _add_met(count, nonzero, count.spikes(0, x).sum(dtype=torch.float64) * fan_out)


def _product(count: Count, args: tuple[Any, ...], _out: Tensor) -> None:
    _product_of(count, *args[-2:])


def _product_of(count: Count, a_bmk: Tensor, b_bkn: Tensor) -> None:
    if len(count.operands) != 2:
        raise CostError(f"a product of two activations declared {count.operands}: declare the class of both")
    a_spikes, b_spikes = count.spikes(0, a_bmk), count.spikes(1, b_bkn)
    _, m, k = a_bmk.shape
    n = b_bkn.shape[2]
    dense = a_bmk.numel() * n
    count.add("product", {"left": [m, k], "right": [k, n]}, dense, dense)
    nonzero = _pairs((a_bmk != 0), (b_bkn != 0))
    kinds = [operand.kind for operand in count.operands]
    if kinds == ["real", "real"]:
        count.add_spikes(nonzero, None, None)
        return
    multiplicity = _pairs(a_spikes, b_spikes)
    if any(operand.is_unit for operand in count.operands):
        events = nonzero
    elif "real" in kinds:
        events = multiplicity
    else:
        events = _smaller(a_spikes, b_spikes)
    count.add_spikes(nonzero, multiplicity, events)


def _pairs(a_bmk: Tensor, b_bkn: Tensor) -> Tensor:
    """Sum over all pairs of a product of the product of their weights."""
    return (a_bmk.sum(1, dtype=torch.float64) * b_bkn.sum(2, dtype=torch.float64)).sum()


def _smaller(a_bmk: Tensor, b_bkn: Tensor) -> Tensor:
    """Sum over all pairs of two counts of the smaller one: min(a, b) is the number of levels that both reach."""
    highest = int(torch.minimum(a_bmk.max(), b_bkn.max()))
    levels = (_pairs(a_bmk >= level, b_bkn >= level) for level in range(1, highest + 1))
    return sum(levels, start=torch.zeros((), dtype=torch.float64, device=a_bmk.device))


def _sum(count: Count, args: tuple[Any, ...], out: Tensor) -> None:
    x = args[0]
    count.add("sum", {"input": list(x.shape[2:]), "output": list(out.shape[2:])}, x.numel(), x.numel())
    nonzero = (x != 0).sum(dtype=torch.float64)
    _add_met(count, nonzero, count.spikes(0, x).sum(dtype=torch.float64))


_aten = torch.ops.aten
Rules = dict[Any, Callable[[Count, tuple[Any, ...], Tensor], None]]
_RULES: Rules = {
    _aten.convolution: _convolution,
    _aten.mm: _linear,
    _aten.addmm: _linear,
    _aten.bmm: _product,
    _aten.sum: _sum,
}
# By name, because torch adds variants with every release and its own FLOP counter misses some.
_MULTIPLIES = re.compile(r"attention|conv(?!ert)|linear|bilinear|mm|mv|dot|addr|outer|kron|cdist|fft|lstm|gru|rnn")


def _could_multiply(packet: Any) -> bool:
    """Whether an operation without a rule may hold products of activations: also any kernel of others."""
    library, _, name = str(packet).partition(".")
    return packet in flop_registry or library not in ("aten", "prim") or bool(_MULTIPLIES.search(name))


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
    with torch.device("meta"):
        static = Spikformer(model.config).eval()
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
        if isinstance(module, Conv2d) and module.repeats > 1:
            extra = macs[path] * (int(module.repeats) - 1)
            for owner in _ancestors(path):
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
    "PJ_PER_AC",
    "PJ_PER_MAC",
    "Count",
    "Energy",
    "Measurement",
    "Operation",
    "OperationCounter",
    "Part",
    "Rules",
    "as_dicts",
    "dense_macs",
    "measure",
    "measured",
    "parts",
]
