"""The deployable form of a network in formats of others: ONNX, and NIR, which neuromorphic hardware reads.

A file is run by another program than the one that wrote it before it appears: ONNX by onnxruntime, NIR by SpikingJelly.
Both take other orders of summation than torch, so that now and then a membrane ends on the other side of its threshold,
and what follows from that spike differs. Most images must agree nevertheless: a wrong graph agrees on none.

NIR (Pedersen et al., "Neuromorphic intermediate representation", Nature Communications 2024) has convolutions, linear
layers, average pools, leaky and plain integrate-and-fire neurons, and sums. So it can hold networks that add membranes
("ms"), from a "conv" stem without a pool, whose token mixers are "identity" or "sepconv" (merged, a dense convolution)
and whose channel mixers are "mlp" or "convffn". It has no product of two activations, and with it none of the
attentions; it has no max pool. Grouped convolutions it has, but SpikingJelly does not read them, and what cannot be run
is not written.
"""

import contextlib
import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikformer.channel_mixers import SpikingMLP
from spikformer.errors import FormatError
from spikformer.fusion import fuse
from spikformer.layers import Conv2d, ConvBN, Residual, Unit
from spikformer.model import Block, Head, Spikformer, Stage
from spikformer.neurons import IF, LIF, PLIF
from spikformer.stems import ConvEmbedding, Stem

_IMAGES = 8  # that a written file is run on
_EQUAL = 1e-3  # relative difference of an image's logits that is rounding; a spike more or less is above it
_STEP_S = 1e-4  # of time, to which NIR's constants are tied; SpikingJelly's default


def write_onnx(model: Spikformer, path: Path) -> float:
    """Write the deployable form as ONNX: "images" [B, C, H, W] -> "logits" [B, num_classes], any B.

    Returns:
        The median over images of the relative difference between onnxruntime's logits and torch's.

    Raises:
        FormatError: a package is missing, the network cannot be traced, or the file computes something else.
    """
    runtime = _package("onnxruntime", "onnx")
    _package("onnxscript", "onnx")
    fused = fuse(model).cpu()
    images = _noise(model)

    def write(partial: Path) -> float:
        try:
            with torch.no_grad(), _quiet():
                program = torch.onnx.export(
                    fused,
                    (images[:2],),
                    input_names=["images"],
                    output_names=["logits"],
                    dynamo=True,
                    verbose=False,
                    dynamic_shapes=({0: torch.export.Dim("batch")},),
                )
                assert program is not None
                program.save(str(partial))
        except Exception as error:  # whatever torch's tracing and its translation raise
            cause = str(error.__cause__ or error).strip().splitlines()
            raise FormatError(
                f"the network cannot be written as ONNX: {cause[0] if cause else type(error).__name__}. "
                f"A block of your own must be of operations that torch.export traces"
            ) from None
        session = runtime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
        found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        return _checked(found, _logits(fused, images), path)

    return _appearing(path, write)


def write_nir(model: Spikformer, path: Path) -> float:
    """Write the deployable form as NIR: what an image's channels are at a time step -> its logits at that step.

    The logits of `model` are their mean over the time steps, at each of which the image is shown.

    Returns:
        As `write_onnx`, with SpikingJelly's reader.

    Raises:
        FormatError: a package is missing, NIR has no such operation, or the file computes something else.
    """
    nir = _package("nir", "nir")
    _package("nirtorch", "nir")
    fused = fuse(model).cpu()
    graph = _NIRGraph(nir, fused).graph()
    images = _noise(model)

    def write(partial: Path) -> float:
        nir.write(str(partial), graph)
        return _checked(_run_by_spikingjelly(partial, images, model.config.time_steps), _logits(fused, images), path)

    return _appearing(path, write)


def _package(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise FormatError(f"{name} is not installed. pip install 'spikformer-nas[{extra}]'") from None


def _noise(model: Spikformer) -> Tensor:
    stem = model.config.stem
    generator = torch.Generator().manual_seed(0)
    return torch.randn(_IMAGES, stem.in_channels, stem.image_size, stem.image_size, generator=generator)


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(images)
    return logits


def _checked(found: Tensor, expected: Tensor, path: Path) -> float:
    """The median relative difference.

    Raises:
        FormatError: it is more than rounding, or a silent network tells nothing.
    """
    if bool((expected == expected[:1]).all()):
        raise FormatError(f"{path} cannot be checked: the network says the same of any image. Train it first")
    differences = (found - expected).norm(dim=1) / expected.norm(dim=1).clamp(min=1e-12)
    median = float(differences.median())
    if not median <= _EQUAL:
        raise FormatError(
            f"{path} was not written: its logits differ from the network's by {median:.2g} of their size on most "
            f"images, {_EQUAL:g} is rounding"
        )
    return median


def _appearing(path: Path, write: Callable[[Path], float]) -> float:
    """What `write` returns of a file that it writes under another name; the file appears only if it is right."""
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        found = write(partial)
        partial.replace(path)
    except OSError as error:
        raise FormatError(f"{path} cannot be written: {error.strerror or error}. Make room") from None
    finally:
        for left in partial.parent.glob(f"{partial.name}*"):
            left.unlink()
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter warns of itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _NIRGraph:
    """The nodes and edges of a network; a stream is the names of the nodes whose sum it is."""

    def __init__(self, nir: Any, model: Spikformer) -> None:
        self._nir, self._model = nir, model
        self._paths = {module: path for path, module in model.named_modules()}
        self._nodes: dict[str, Any] = {}
        self._edges: list[tuple[str, str]] = []

    def graph(self) -> Any:
        """
        Raises:
            FormatError: an operation that NIR has not, with its place.
        """
        config = self._model.config
        if config.residual != "ms":
            raise FormatError(f'residual "{config.residual}" adds spikes behind neurons, which only "ms" does before')
        self._nodes["input"] = self._nir.Input({"input": self._shape(config.stem.in_channels, config.stem.image_size)})
        stream = self._of(self._model.stem, ["input"], config.grids[0])
        for stage, grid in zip(self._model.stages, config.grids, strict=True):
            stream = self._of(stage, stream, grid)
        logits = self._of(self._model.head, stream, config.grids[-1])
        self._nodes["output"] = self._nir.Output({"output": self._vector(config.head.num_classes)})
        self._join("output", logits)
        return self._nir.NIRGraph(self._nodes, self._edges)

    def _of(self, module: nn.Module, stream: list[str], size: int) -> list[str]:
        """What leaves a module that `stream` enters; `size`, tokens a side of what leaves."""
        match module:
            case nn.Identity():
                return stream
            case Stem():
                return self._of(module.position, self._of(module.embedding, stream, size), size)
            case ConvEmbedding():
                return self._conv(module, stream, size)
            case Stage():
                for part in (module.down, *module.blocks):
                    stream = self._of(part, stream, size)
                return stream
            case Block():
                for part in (module.local, module.mixer, module.mlp):
                    stream = self._of(part, stream, size)
                return stream
            case nn.Sequential():
                for part in module:
                    stream = self._of(part, stream, size)
                return stream
            case Residual() if module.layer_scale is None:
                return stream + self._of(module.branch, stream, size)
            case SpikingMLP():
                return self._of(module.contract, self._of(module.expand, stream, size), size)
            case Unit() if module.neuron_first:
                return self._conv(module.conv, self._spikes(module.neuron, module.conv, stream, size), size)
            case Head():
                return self._head(module, stream, size)
        raise FormatError(f"{self._paths[module]}: NIR has nothing for it ({self._why(module)})")

    def _why(self, module: nn.Module) -> str:
        name = type(module).__name__
        if isinstance(module, Residual):
            return self._why(module.branch)
        if "Attention" in name:
            return f"{name} is a product of two activations"
        if name in ("DepthwiseConv", "GroupWiseFFN"):
            return f"{name} has grouped convolutions, which SpikingJelly cannot read"
        if name in ("SpikingPatchSplitting", "DeformedShortcutEmbedding", "PatchStage"):
            return f"{name} has max pools"
        return name

    def _conv(self, module: nn.Module, stream: list[str], size: int) -> list[str]:
        path = self._paths[module]
        if not isinstance(module, ConvBN) or not isinstance(module.norm, nn.Identity):
            raise FormatError(
                f"{path}: NIR has nothing for {type(module).__name__} that batch norm was not folded into"
            )
        if module.pool:
            raise FormatError(f"{path}: NIR has no max pool")
        conv = module.conv
        if type(conv) is not Conv2d or conv.groups != 1 or conv.bias is None:
            raise FormatError(f"{path}: grouped or chained convolutions are in NIR, but SpikingJelly cannot read them")
        entering = size * conv.stride[0]
        node = self._nir.Conv2d(
            input_shape=(entering, entering),
            weight=conv.weight.detach().numpy(),
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
            groups=1,
            bias=conv.bias.detach().numpy(),
        )
        return self._add(path, node, stream)

    def _spikes(self, neuron: nn.Module, conv: nn.Module, stream: list[str], size: int) -> list[str]:
        """Of the neuron in front of a convolution that leaves `size` tokens a side."""
        first = next(layer for layer in conv.modules() if isinstance(layer, Conv2d))
        side = size * first.stride[0]
        return self._neuron(neuron, self._shape(first.in_channels, side), stream)

    def _neuron(self, neuron: nn.Module, shape: Any, stream: list[str]) -> list[str]:
        path = self._paths[neuron]

        def full(value: float) -> Any:
            return torch.full(tuple(shape), value, dtype=torch.float64).numpy()

        rest: dict[str, Any] = {"v_reset": full(0.0)}
        match neuron:
            case IF():
                node = self._nir.IF(r=full(1 / _STEP_S), v_threshold=full(neuron.threshold), **rest)
            case LIF() | PLIF():
                tau = neuron.tau if isinstance(neuron, LIF) else 1 / neuron.w.sigmoid().item()
                rest["v_leak"] = full(0.0)
                node = self._nir.LIF(tau=full(tau * _STEP_S), r=full(1.0), v_threshold=full(neuron.threshold), **rest)
            case _:
                raise FormatError(f'{path}: NIR has no neuron "{self._model.config.neuron.kind}". Use lif, plif or if')
        return self._add(path, node, stream)

    def _head(self, head: Head, stream: list[str], size: int) -> list[str]:
        if hasattr(head, "distilled") or (head.neuron is not None and not head.feeds_classifier):
            raise FormatError("head: two classifiers whose mean is taken are not written. Use one")
        width = head.linear.in_features
        pool = self._nir.AvgPool2d(kernel_size=(size, size), stride=(size, size), padding=(0, 0))
        stream = self._add("head.mean", pool, stream)
        shape = {"input": self._shape(width, 1)}
        stream = self._add("head.flat", self._nir.Flatten(input_type=shape, start_dim=0, end_dim=-1), stream)
        if head.neuron is not None:
            stream = self._neuron(head.neuron, self._vector(width), stream)
        bias = head.linear.bias.detach() if head.linear.bias is not None else torch.zeros(head.linear.out_features)
        node = self._nir.Affine(weight=head.linear.weight.detach().numpy(), bias=bias.numpy())
        return self._add("head.linear", node, stream)

    def _add(self, path: str, node: Any, stream: list[str]) -> list[str]:
        name = path.replace(".", "_")
        self._nodes[name] = node
        self._join(name, stream)
        return [name]

    def _join(self, name: str, stream: list[str]) -> None:
        self._edges += [(source, name) for source in stream]

    def _shape(self, channels: int, size: int) -> Any:
        return torch.tensor([channels, size, size]).numpy()

    def _vector(self, width: int) -> Any:
        return torch.tensor([width]).numpy()


def _run_by_spikingjelly(path: Path, images: Tensor, time_steps: int) -> Tensor:
    """Logits of a NIR file, averaged over the time steps."""
    from spikingjelly.activation_based import nir_exchange  # needs an extra

    with _quiet(), torch.no_grad():
        network = nir_exchange.import_from_nir(str(path), dt=_STEP_S)
        state, total = None, torch.zeros(())
        for _ in range(time_steps):
            logits, state = network(images, state)
            total = total + logits
    return total / time_steps


__all__ = ["write_nir", "write_onnx"]
