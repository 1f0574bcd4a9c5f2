"""How many kernels does a training step launch on CUDA, and how many bytes do they move? Counted without a GPU.

One step of a proxy, forward pass, loss and backward pass, runs on fake CUDA tensors: shapes, types and layouts are
those of a GPU, numbers are not computed. It runs as `nas.training` runs it: channels_last, under bfloat16 autocast,
batch norm and neuron in one kernel where `spikformer.spiking` has one. Augmentation and the optimizer are left out: a
few dozen launches, equally many for every network. The counterpart has a ReLU for each neuron.

Rules, the same for both networks:

* An ATen operation is one kernel, a Triton launch is one kernel. Views and allocations are none.
* An operation moves its tensor arguments once and its results once; what it changes in place it reads and writes. A
  number that several indices share, as in an expanded tensor, is moved once.
* A Triton kernel moves each of its tensor arguments once: what a program reads again lies in its cache. Room for
  partial sums is among them.
* Convolutions keep channels_last, as cuDNN does.

Both are bounds, not times: cuDNN may need several kernels for one convolution, and small tensors stay in the cache.

    python benchmarks/step_model.py > benchmarks/results/step_model.txt

Another checkout is counted by its own code: PYTHONPATH=THAT_CHECKOUT python benchmarks/step_model.py
"""

import argparse
import collections
import contextlib
import dataclasses
import logging
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from header import header, table
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import spikformer
from spikformer import Spikformer, SpikformerConfig, published, spiking, spiking_kernels
from spikformer.neurons import Neuron

NETWORK = "spikformer_cifar10_4_384"
SHAPES = {"d384 L4 T4": (384, 4, 4, 12), "d128 L2 T2": (128, 2, 2, 4)}
"""By name: embedding dimension, depth, time steps, heads."""
DEVICE = torch.device("cuda", 0)
_META = torch.device("meta")
SMALL = 2**20  # bytes
_LOWERED = {
    *(torch.conv1d, torch.conv2d, torch.conv3d, F.linear, torch.einsum),
    *(torch.matmul, torch.bmm, torch.baddbmm, torch.addmm, torch.mm),
    *(Tensor.matmul, Tensor.__matmul__, Tensor.bmm, Tensor.mm),
}
"""What autocast on CUDA computes in bfloat16, as far as these networks use it."""
_SUMS = (torch.sum, Tensor.sum)  # in float32
_MOVES_NOTHING = re.compile(r"aten\.(_unsafe_view|empty|new_empty|lift|detach|alias|_reshape_alias)")


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One launch."""

    name: str
    moved: int  # bytes


class Launches(TorchDispatchMode):
    """Writes down what is launched while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[Kernel] = []

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.prim.device.default:  # autograd asks; on "meta" it wants no driver and no streams
            return _META
        kwargs = {name: DEVICE if value == _META else value for name, value in (kwargs or {}).items()}
        result = func(*args, **kwargs)
        if not func.is_view and not _MOVES_NOTHING.match(str(func)) and _on_device(result):
            self.kernels.append(Kernel(str(func).removeprefix("aten."), _bytes(args, kwargs) + _bytes(result)))
        return result


class Launcher:
    """Stands for a Triton kernel: started with a grid and arguments, it moves bytes and computes nothing."""

    def __init__(self, name: str, launches: Launches) -> None:
        self._name, self._launches = name, launches

    def __getitem__(self, _grid: Any) -> Any:
        return self._launch

    def _launch(self, *args: Any, **kwargs: Any) -> None:
        self._launches.kernels.append(Kernel(f"triton.{self._name}", _bytes(args, kwargs)))


def _on_device(result: Any) -> bool:
    return any(x.device.type == "cuda" for x in tree_leaves(result) if isinstance(x, Tensor))


def _bytes(*trees: Any) -> int:
    """Of all tensors within, each number once."""
    tensors = [x for x in tree_leaves(trees) if isinstance(x, Tensor) and x.device.type == "cuda"]
    return sum(x.element_size() * _numbers(x) for x in tensors)


def _numbers(x: Tensor) -> int:
    """That lie in memory: what is expanded lies there once."""
    return math.prod(n for n, stride in zip(x.shape, x.stride(), strict=True) if stride != 0 or n == 0)


@contextlib.contextmanager
def _as_on_a_gpu(launches: Launches) -> Iterator[None]:
    """Neurons and norms take the road that they take on CUDA, up to the launch of each kernel."""
    kernels = {
        name: Launcher(name, launches)
        for name, kernel in vars(spiking_kernels).items()
        if name.endswith("_kernel") and hasattr(kernel, "fn")
    }
    with (
        mock.patch.multiple(spiking_kernels, _on=lambda _x: contextlib.nullcontext(), **kernels),
        mock.patch.object(torch._C, "_select_conv_backend", return_value=torch._C._ConvBackend.Cudnn),
        mock.patch.object(spiking, "fuses_norm", _fuses_norm),
        mock.patch.object(spiking, "_runs_triton", return_value=True),
        mock.patch.object(spiking, "_kernels", lambda x_Tn, *_args, **_kwargs: spiking._triton_kernels(x_Tn.dtype)),
    ):
        yield


def _fuses_norm(_x: Tensor, norm: nn.Module, *_args: Any, **_kwargs: Any) -> bool:
    """As `spiking.fuses_norm`, which does not know fake tensors."""
    return type(norm) is nn.BatchNorm2d and norm.affine and norm.running_mean is not None


class _OnCuda(TorchFunctionMode):
    """Code that asks finds its tensors on CUDA; autograd hears "meta" (`Launches`)."""

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return True if func is Tensor.is_cuda.__get__ else func(*args, **(kwargs or {}))


class _Autocast(TorchFunctionMode):
    """As `torch.autocast("cuda", torch.bfloat16)`, which refuses to work where there is no GPU."""

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _LOWERED:
            args, kwargs = tree_map(_lowered, (args, kwargs))
        elif func in _SUMS and args[0].dtype == torch.bfloat16:
            kwargs = {"dtype": torch.float32, **(kwargs or {})}
        return func(*args, **(kwargs or {}))


def _lowered(x: Any) -> Any:
    return x.to(torch.bfloat16) if isinstance(x, Tensor) and x.dtype == torch.float32 else x


def _to_fake(model: nn.Module) -> None:
    """All that it holds becomes fake and lies on the device; kernels of convolutions are channels_last."""
    for module in model.modules():
        channels_last = isinstance(module, nn.Conv2d)
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(_fake_like(parameter, channels_last and parameter.dim() == 4)))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, _fake_like(buffer, False))


def _fake_like(x: Tensor, channels_last: bool) -> Tensor:
    fake = torch.empty(x.shape, dtype=x.dtype, device=DEVICE)
    return fake.to(memory_format=torch.channels_last) if channels_last else fake


def step(config: SpikformerConfig, batch: int, *, relu: bool) -> list[Kernel]:
    """The kernels of one training step, in their order."""
    model = Spikformer(config).train()
    if relu:
        for path in [path for path, module in model.named_modules() if isinstance(module, Neuron)]:
            model.set_submodule(path, nn.ReLU())
    launches, stem = Launches(), config.stem
    with _as_on_a_gpu(launches), FakeTensorMode(), _OnCuda():
        _to_fake(model)
        images = torch.empty(batch, stem.in_channels, stem.image_size, stem.image_size, device=DEVICE)
        labels = torch.empty(batch, dtype=torch.int64, device=DEVICE)
        images = images.to(memory_format=torch.channels_last)
        with launches:
            with _Autocast():
                logits = model(images).float()
            F.cross_entropy(logits, labels, label_smoothing=0.1).backward()
    return launches.kernels


def shaped(name: str) -> SpikformerConfig:
    """The network for CIFAR-10 in one of the sizes of `SHAPES`."""
    dim, depth, time_steps, heads = SHAPES[name]
    base = published.config(NETWORK)
    mixer = dataclasses.replace(base.stages[0].mixer, num_heads=heads)
    stage = dataclasses.replace(base.stages[0], embed_dim=dim, depth=depth, mixer=mixer)
    return dataclasses.replace(base, stages=(stage,), time_steps=time_steps)


def _row(name: str, kernels: list[Kernel]) -> tuple[str, ...]:
    small = sum(kernel.moved < SMALL for kernel in kernels)
    triton = sum(kernel.name.startswith("triton.") for kernel in kernels)
    moved = sum(kernel.moved for kernel in kernels)
    return name, f"{len(kernels):,}", f"{triton:,}", f"{small:,}", f"{moved / 1e9:.2f}"


def _most_frequent(kernels: list[Kernel], rows: int = 10) -> str:
    counts = collections.Counter(kernel.name for kernel in kernels)
    moved: dict[str, int] = collections.defaultdict(int)
    for kernel in kernels:
        moved[kernel.name] += kernel.moved
    cells = [(name, f"{count:,}", f"{moved[name] / 1e9:.2f}") for name, count in counts.most_common(rows)]
    return table([("operation", "kernels", "GB"), *cells])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="*", choices=list(SHAPES), default=list(SHAPES), help="Sizes to count.")
    parser.add_argument("--network", nargs="+", default=[], metavar="NAME", help="Published networks to count as well.")
    parser.add_argument("--batch", type=int, default=128, help="Images of a step; 128 by default.")
    arguments = parser.parse_args()
    logging.getLogger("spikformer").setLevel(logging.ERROR)
    checkout = Path(spikformer.__file__).parent.parent  # of the code that is counted
    print(header(f"python benchmarks/step_model.py --batch {arguments.batch}", checkout))
    print(f"\nOne training step without optimizer and augmentation, bfloat16, channels_last, batch {arguments.batch}\n")
    configs = {name: shaped(name) for name in arguments.shapes}
    configs |= {name: published.config(name) for name in arguments.network}
    counted = {}
    for name, config in configs.items():
        counted[f"{name}, spiking"] = step(config, arguments.batch, relu=False)
        counted[f"{name}, ReLU"] = step(config, arguments.batch, relu=True)
    heading = ("network", "kernels", "of Triton", f"under {SMALL // 2**20} MiB", "GB moved")
    print(table([heading, *(_row(name, kernels) for name, kernels in counted.items())]))
    for name, kernels in counted.items():
        print(f"\n{name}: the ten most frequent\n\n{_most_frequent(kernels)}")


if __name__ == "__main__":
    main()
