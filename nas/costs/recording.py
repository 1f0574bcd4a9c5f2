"""Every operation that torch runs for a network, and the numbers it was given for two batches of images.

The record is checked: run again by itself on other images, it must give what the network gives. What went past torch's
dispatcher (a number read by numpy or through a pointer, a branch in Python) is missing from it, or frozen in it.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten
from torch.utils.hooks import RemovableHandle

from nas.errors import CostError
from spikformer.neurons import Neuron
from spikformer.plugins import is_custom

_IMAGES, _CONSTANT = -1, -2  # in place of the step that wrote something


@dataclass(frozen=True)
class _From:
    """A tensor that an earlier operation returned, or a constant: its place among all tensors of the record."""

    place: int


@dataclass
class Step:
    """One operation of a record.

    Attributes:
        path: of the module that runs it.
        module: that module.
        in_neuron: whether it runs inside a neuron: then its numbers are not kept.
        in_custom: whether it runs inside a module of the user's own.
        func: of ATen.
        runs: its flat arguments for the first and for the second batch; in place of a tensor, a copy from before it
            ran.
        writers: of each argument, the last step before this one that wrote to its memory; negative for none.
        varying: places of the arguments that depend on the images.
        shape: of its first result.
    """

    path: str
    module: nn.Module
    in_neuron: bool
    in_custom: bool
    func: OpOverload[..., object]
    spec: TreeSpec
    runs: tuple[list[Any], list[Any]] = field(default_factory=lambda: ([], []))
    writers: list[int] = field(default_factory=list)
    varying: list[int] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    _flat: list[object] = field(default_factory=list)
    _seen: list[object] = field(default_factory=list)
    _results: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the operation, without its overload and the mark of one in place."""
        return str(self.func.overloadpacket).partition(".")[2].removesuffix("_")

    @property
    def args(self) -> tuple[Any, ...]:
        """Positional arguments for the first batch."""
        args, _ = tree_unflatten(self.runs[0], self.spec)
        return tuple(args)

    def call(self, flat: list[object]) -> list[Tensor]:
        """Run it on other flat arguments, which it may write to."""
        args, kwargs = tree_unflatten(flat, self.spec)
        return [out for out in tree_flatten(self.func(*args, **kwargs))[0] if isinstance(out, Tensor)]


class _Recorder(TorchDispatchMode):
    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.tensors = [images]  # kept, so that no identity is given twice
        self.constants: dict[int, Tensor] = {}  # as they were when they were first used
        self._places = {id(images): 0}
        self._stack: list[tuple[str, nn.Module]] = []
        self._model = model

    def hooks(self) -> Iterator[RemovableHandle]:
        """That keep account of the module that runs."""
        for path, module in self._model.named_modules():
            yield module.register_forward_pre_hook(
                lambda module, _inputs, path=path: self._stack.append((path, module))
            )
            yield module.register_forward_hook(lambda *_: self._stack.pop() and None, always_call=True)

    def _enter(self, path: str, module: nn.Module, _inputs: object) -> None:
        self._stack.append((path, module))

    def __torch_dispatch__(
        self,
        func: OpOverload[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        flat, spec = tree_flatten((args, kwargs or {}))
        named = [_From(self._place(x)) if isinstance(x, Tensor) else x for x in flat]
        path, module = self._stack[-1] if self._stack else ("", self._model)
        in_neuron = any(isinstance(m, Neuron) for _, m in self._stack)
        in_custom = any(is_custom(m) for _, m in self._stack)
        step = Step(path, module, in_neuron, in_custom, func, spec, _flat=named, _seen=copies(flat))
        out = func(*args, **(kwargs or {}))
        for result in tree_flatten(out)[0]:
            if isinstance(result, Tensor):
                step._results.append(self._new(result))
        self.steps.append(step)
        return out

    def _place(self, x: Tensor) -> int:
        if id(x) not in self._places:
            self.constants[self._new(x)] = x.detach().clone()
        return self._places[id(x)]

    def _new(self, x: Tensor) -> int:
        self.tensors.append(x)
        self._places[id(x)] = len(self.tensors) - 1
        return len(self.tensors) - 1


def record(model: nn.Module, images: Tensor, others: Tensor) -> list[Step]:
    """Every operation that the model runs, with its numbers for both batches.

    Raises:
        CostError: the record of one batch, run on the other by itself, does not give the other's numbers: something
            that depends on the images is not in it.
    """
    recorder, other = (_recorded(model, batch) for batch in (images, others))
    if [step.func for step in recorder.steps] != [step.func for step in other.steps]:
        raise CostError(f"different operations run for different images: {_HIDDEN}")
    with torch.no_grad():
        for run, (batch, expected) in enumerate(((images, recorder), (others, other))):
            _replay(recorder, batch, run, expected.steps)
        _find_varying(recorder.steps)
    return recorder.steps


_HIDDEN = (
    "a result depends on the images in a way that torch's operations do not show, as when numbers are read out of "
    "tensors (item, numpy, pointers, threads) or Python branches on them. Compute it with operations on tensors"
)


def _recorded(model: nn.Module, images: Tensor) -> _Recorder:
    recorder = _Recorder(model, images)
    hooks = list(recorder.hooks())
    try:
        with torch.no_grad(), recorder:
            out = model(images)
    finally:
        for hook in hooks:
            hook.remove()
    if id(out) not in recorder._places:
        raise CostError("what the network returns does not come from an operation that torch saw")
    with torch.no_grad():
        if not _agree([out], [model(images)]):
            raise CostError(
                "the network returns other numbers while its operations are recorded. Remove what depends on chance "
                "or on hooks"
            )
    end = Step("", model, False, False, torch.ops.aten.alias.default, tree_flatten(((out,), {}))[1])
    end._flat = [_From(recorder._places[id(out)])]
    end._seen, end._results = [out.clone()], [recorder._new(out)]
    recorder.steps.append(end)
    return recorder


def _replay(recorder: _Recorder, images: Tensor, run: int, expected: list[Step]) -> None:
    """Run a record on images, note what each step is given, and hold it to what the network gave it.

    Raises:
        CostError: it was given something else.
    """
    values = {0: images.clone()} | {place: x.clone() for place, x in recorder.constants.items()}
    unwritten: set[int] = set()  # steps that return memory as they find it
    writers = {_memory(values[0]): _IMAGES}  # memory -> the last step that wrote to it
    for number, step in enumerate(recorder.steps):
        flat = [values[x.place] if isinstance(x, _From) else x for x in step._flat]
        written = [not isinstance(x, Tensor) or writers.get(_memory(x)) not in unwritten for x in flat]
        pair = (list(itertools.compress(xs, written)) for xs in (flat, expected[number]._seen))
        if not step.in_neuron and not _agree(*pair):
            raise CostError(f"{step.path or 'the model'} runs {step.func}: {_HIDDEN}")
        if "empty" in step.name:
            unwritten.add(number)
        if not step.in_neuron:  # its numbers are not looked at
            step.runs[run].extend(x.clone() if isinstance(x, Tensor) else x for x in flat)
        if run == 0:
            step.writers = [writers.get(_memory(x), _CONSTANT) if isinstance(x, Tensor) else _CONSTANT for x in flat]
        try:
            results = step.call(flat)
        except RuntimeError as error:  # shapes that depend on the images
            raise CostError(
                f"{step.path} runs {step.func} with a size, position or index that is computed from the images "
                f"({error}), so its cost cannot be counted. Use fixed ones"
            ) from None
        step.shape = tuple(results[0].shape) if results else ()
        for place, result in zip(step._results, results, strict=True):
            values[place] = result
            writers[_memory(result)] = number


def _agree(flat: list[object], expected: list[object]) -> bool:
    """Whether arguments are equal, up to rounding in another order."""
    for a, b in zip(flat, expected, strict=True):
        if not isinstance(a, Tensor) or not isinstance(b, Tensor):
            if isinstance(a, Tensor) or isinstance(b, Tensor) or (a is not b and a != b):
                return False
        elif a.shape != b.shape or (a.numel() and not torch.allclose(a, b, rtol=1e-5, atol=1e-9, equal_nan=True)):
            return False
    return True


def _find_varying(steps: list[Step]) -> None:
    """Follow the images through the record."""
    vary = {_IMAGES}
    for number, step in enumerate(steps):
        step.varying = [place for place, writer in enumerate(step.writers) if writer in vary]
        if step.varying and (step.in_neuron or _follows(step)):
            vary.add(number)


def _follows(step: Step) -> bool:
    """Whether results change with the numbers given: those of `zeros_like` do not."""
    first, second = (step.call(copies(run)) for run in step.runs)
    if not first or any(not torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        return True
    for span in (1.0, 8.0, 64.0):
        try:
            results = step.call(_drawn(step, span))
        except (RuntimeError, IndexError):  # an index, which leads elsewhere
            return True
        if any(not torch.equal(a, b) for a, b in zip(first, results, strict=True)):
            return True
    return False


def _drawn(step: Step, span: float) -> list[object]:
    """Its arguments, with others that are drawn at random in place of those that depend on the images."""
    flat = copies(step.runs[0])
    for place in step.varying:
        argument = flat[place]
        assert isinstance(argument, Tensor)
        noise = torch.rand(argument.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(place))
        noise = noise.to(argument.device)
        flat[place] = noise < 0.5 if argument.dtype == torch.bool else (span * (2 * noise - 1)).to(argument.dtype)
    return flat


def copies(flat: list[Any]) -> list[Any]:
    """Flat arguments that may be written to."""
    return [x.clone() if isinstance(x, Tensor) else x for x in flat]


def _memory(x: Tensor) -> int:
    return int(x.untyped_storage()._cdata)


__all__ = ["Step", "copies", "record"]
