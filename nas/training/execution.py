"""How a training runs on this machine. What is trained stays the same, up to rounding and with it seed noise."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nas.settings import Recipe
from spikformer import spiking

Precision = Literal["fp32", "bf16", "fp16"]

_LONG = 10_000_000  # pixels that a training sees, from where compiled neurons repay half a minute of compiling


@dataclass(frozen=True)
class ExecutionOptions:
    """What makes a training faster; each option can be switched off.

    Attributes:
        precision: of convolutions and products while training; weights, batch norm's statistics and membranes stay
            float32. On CUDA, "fp32" lets convolutions round to TF32, as torch does by default. Evaluation is float32
            throughout (`exact`).
        channels_last: whether channels lie next to each other in memory.
        neurons: how they are computed (`spikformer.spiking.use`).
        cuda_graph: whether a CUDA device replays the whole step.
    """

    precision: Precision = "fp32"
    channels_last: bool = False
    neurons: spiking.Implementation = "eager"
    cuda_graph: bool = False

    def __str__(self) -> str:
        words = [self.precision, f"{self.neurons} neurons"]
        words += ["channels last"] * self.channels_last + ["CUDA graph"] * self.cuda_graph
        return ", ".join(words)


REFERENCE = ExecutionOptions()
"""Every option off: what the others are compared with."""


def options_for(device: torch.device, recipe: Recipe, pixels: int) -> ExecutionOptions:
    """The options that make a training faster on a device.

    Args:
        pixels: that the training sees, in all images of all epochs: neurons are compiled only for a long one.
    """
    on_cuda = device.type == "cuda"
    compiles = not on_cuda and pixels >= _LONG and any(map(shutil.which, ("g++", "clang++", "c++")))
    return ExecutionOptions(
        precision=precision_of(device) if recipe.precision == "auto" else recipe.precision,
        channels_last=True,
        neurons="compiled" if compiles else "auto",
        cuda_graph=on_cuda,
    )


def lay_out(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Lay out the kernels of convolutions in memory; other parameters have no channels."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=memory_format)


def in_format(images: Tensor, memory_format: torch.memory_format) -> Tensor:
    """Images [B, C, H, W] or frames [T, B, C, H, W], laid out in memory as convolutions read them."""
    if images.dim() == 4:
        return images.contiguous(memory_format=memory_format)
    laid_out_nCHW = images.flatten(0, 1).contiguous(memory_format=memory_format)
    return laid_out_nCHW.view(images.shape)


def precision_of(device: torch.device) -> Literal["fp32", "bf16"]:
    """bfloat16 where the hardware multiplies it: elsewhere it is slower."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    # torch before 2.10 does not tell
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, object])()
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "fp32"


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Within, convolutions and products have a precision; membranes of neurons and batch norm stay float32."""
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


@contextlib.contextmanager
def neurons(implementation: spiking.Implementation) -> Iterator[None]:
    """Neurons are computed so within; afterwards as before."""
    before = spiking.in_use()
    spiking.use(implementation)
    try:
        yield
    finally:
        spiking.use(before)


@contextlib.contextmanager
def tuned(device: torch.device, *, captures: bool) -> Iterator[None]:
    """On CUDA, convolutions of the kind that is fastest for their shapes, and a stream for what a graph captures."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        with _stream(device) if captures else contextlib.nullcontext():
            yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextlib.contextmanager
def _stream(device: torch.device) -> Iterator[None]:
    """A stream other than the default one, which nothing that is captured may have run on."""
    outer, inner = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    inner.wait_stream(outer)
    try:
        with torch.cuda.stream(inner):
            yield
    finally:
        outer.wait_stream(inner)


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Within, float32 is float32: CUDA neither convolves nor multiplies in TF32, with its 10 bits of mantissa.

    Spikes near their threshold would flip, and counts and accuracies differ from those of a CPU.
    """
    settings: tuple[Any, ...] = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # pyrefly: ignore[missing-attribute]
    before = [setting.fp32_precision for setting in settings]
    for setting in settings:
        setting.fp32_precision = "ieee"
    try:
        yield
    finally:
        for setting, precision in zip(settings, before, strict=True):
            setting.fp32_precision = precision


__all__ = [
    "REFERENCE",
    "ExecutionOptions",
    "Precision",
    "autocast",
    "exact",
    "in_format",
    "lay_out",
    "neurons",
    "options_for",
    "precision_of",
    "tuned",
]
