"""The deployable form of a network in the files of others: ONNX for runtimes, NIR for neuromorphic tools.

What is written is `spikformer.fuse(model)`, in float32. A file is run by software of others before it gets its name, on
images that this network and it must agree on (`_agree`).

ONNX expresses every network of the schema. NIR (Pedersen et al., "Neuromorphic intermediate representation", Nature
Communications 2024) is a graph of weights and neurons whose edges only add. It expresses networks

* of the neurons lif, plif and if, which reset to 0, under the residuals "ms" and "sew";
* with any stem that reduces by stride and not by a max pool, its position by a convolution or none;
* with the mixers sepconv, dwconv and identity, every channel mixer, any head with one classifier.

There is no attention in NIR, as it has no product of two activations: every published network is refused.
"""

import contextlib
import copy
import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spikformer.channel_mixers import GroupWiseFFN, SpikingMLP
from spikformer.errors import FormatError
from spikformer.fusion import fuse
from spikformer.layers import Conv2d, ConvBN, Residual, Unit
from spikformer.model import Block, Head, Spikformer, Stage
from spikformer.neurons import IF, LIF, PLIF, PSN, MultiSpike, Neuron, TernaryLIF
from spikformer.stems import (
    ConvEmbedding,
    ConvPosition,
    DeformedShortcut,
    DeformedShortcutEmbedding,
    ImageEncoding,
    LearnedPosition,
    PatchStage,
    PeriodicPosition,
    SpikingPatchSplitting,
    Stem,
)
from spikformer.token_mixers import DepthwiseConv, DualSpikeAttention, SeparableConv, SpikingAttention

_Run = Callable[[Tensor], Tensor]
"""Logits [B, classes] of images [B, C, H, W]."""


def write_onnx(model: Spikformer, path: Path) -> float:
    """Writes a network as one ONNX file, which onnxruntime has run on the CPU.

    Its input is "images", float32 [B, C, H, W] for any B, its output "logits", [B, classes]. Time steps are written
    out, one after the other. Each node keeps, as "namespace", the path of the module that it comes from.

    Args:
        model: stays untouched.

    Returns:
        The largest difference of an image's logits from this network's, over its largest logit: 1e-6 or less, or
        percents where rounding flipped a spike, as it does between any two machines.

    Raises:
        FormatError: a block of your own that torch cannot trace, or operations that onnxruntime does not have; 2 GB
            or more, ONNX's limit of a file; logits further off than rounding explains; a file that cannot be written;
            onnx, onnxscript or onnxruntime is missing. Then there is no file, or the one that was there.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        _library(name, extra="onnx")
    fused = fuse(model).float().cpu()
    size = sum(tensor.numel() * tensor.element_size() for tensor in fused.state_dict().values())
    if size >= _ONNX_BYTES:
        raise FormatError(f"{path}: {size / 1e9:.1f} GB of weights; an ONNX file holds 2 GB. Write a smaller network")
    program = _traced(fused, path)

    def write(network: Spikformer, partial: Path) -> _Run:
        program.apply_weights(network.state_dict())
        program.save(partial, external_data=False)
        return _by_onnxruntime(partial)

    return _agree(write, fused, path)


_ONNX_BYTES = 2**31  # what a protocol buffer, which an ONNX file is, may have


def _traced(fused: Spikformer, path: Path) -> Any:
    """A torch.onnx.ONNXProgram."""
    images = _images(fused, 2)  # of one image torch.export would make a case of its own
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of libraries among themselves
            program = torch.onnx.export(
                fused,
                (images,),
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
                optimize=False,  # takes minutes, and runtimes do as much themselves when they load a file
            )
    except Exception as error:  # whatever a forward of yours, or the tracer over it, raises
        cause: BaseException = error
        while cause.__cause__ is not None:  # the outer ones tell how far torch had come
            cause = cause.__cause__
        first = str(cause).strip().partition("\n")[0]
        raise FormatError(
            f"{path}: torch cannot trace this network as ONNX: {type(cause).__name__}: {first}. In a forward of your "
            "own use operations that ONNX has, and no Python branch or size that the values or the batch decide"
        ) from error
    assert program is not None
    for node in program.model.graph.all_nodes():  # else most of the file is where on this computer the code lies
        path_in_network = node.metadata_props.get("namespace", "")
        node.metadata_props.clear()
        node.metadata_props["namespace"] = path_in_network
    return program


def _by_onnxruntime(path: Path) -> _Run:
    onnxruntime = _library("onnxruntime", extra="onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; it warns of constants that it does not fold
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common
        raise FormatError(f"{path}: onnxruntime cannot load this network: {error}. Replace that operation") from error
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def write_nir(model: Spikformer, path: Path) -> float:
    """Writes a network as a NIR file, which SpikingJelly has read and run.

    Nodes are named by the paths of the fused network's modules, "images" and "logits". An image is a current, the same
    at each time step of `DT` seconds; logits are given at each step, and the network's are their mean over its
    `time_steps`. Grouped convolutions are written dense, with zeros: readers do not know the others.

    By NIR's equations a neuron fires above its threshold. SpikingJelly fires at it too, as we do; a reader that does
    not loses the spikes of currents that meet it exactly, which trained weights hardly ever give.

    Args:
        model: stays untouched.

    Returns:
        The largest difference of an image's logits from this network's, over its largest logit: 1e-6 or less, or
        percents where rounding flipped a spike, as it does between any two machines.

    Raises:
        FormatError: an operation that NIR does not have, with the path of the module; logits further off than rounding
            explains; a file that cannot be written; nir or nirtorch is missing. Then there is no file, or the one that
            was there.
    """
    nir = _library("nir", extra="nir")
    _library("nirtorch", extra="nir")
    fused = fuse(model).float().cpu()

    def write(network: Spikformer, partial: Path) -> _Run:
        nir.write(partial, _Graph(nir, network).whole())
        return _by_spikingjelly(partial, network.config.time_steps)

    return _agree(write, fused, path)


DT = 1e-4
"""Seconds a time step, in which NIR gives time constants: what SpikingJelly and others assume."""


def _by_spikingjelly(path: Path, time_steps: int) -> _Run:
    from spikingjelly.activation_based import nir_exchange  # imports nir, which is an extra

    network = nir_exchange.import_from_nir(path, dt=DT)

    def run(images: Tensor) -> Tensor:
        logits_TBC, state = [], None
        for _ in range(time_steps):
            logits_BC, state = network(images, state)
            logits_TBC.append(logits_BC)
        return torch.stack(logits_TBC).mean(0)

    return run


class _Stream(NamedTuple):
    """Nodes whose sum flows, and the shape of each: (C, H, W), or (C,) behind the mean over tokens."""

    nodes: tuple[str, ...]
    shape: tuple[int, ...]


class _Graph:
    """A NIR graph, built by walking through the modules in the order in which they run.

    Additions are no nodes: a stream is handed on as all nodes that it is the sum of, each of which gets an edge.
    """

    def __init__(self, nir: Any, fused: Spikformer) -> None:
        self.nir, self.fused = nir, fused
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []

    def whole(self) -> Any:
        """The nir.NIRGraph of the network."""
        stem = self.fused.config.stem
        shape = (stem.in_channels, stem.image_size, stem.image_size)
        images = self._add("images", self.nir.Input(_numbers(*shape)), _Stream((), shape), shape)
        logits = self._through(self.fused, "", images)
        self._add("logits", self.nir.Output(_numbers(*logits.shape)), logits, logits.shape)
        return self.nir.NIRGraph(self.nodes, self.edges)

    def _add(self, name: str, node: Any, x: _Stream, shape: tuple[int, ...]) -> _Stream:
        self.nodes[name] = node
        self.edges += [(source, name) for source in x.nodes]
        return _Stream((name,), shape)

    def _through(self, module: nn.Module, path: str, x: _Stream) -> _Stream:
        """What leaves a module.

        Raises:
            FormatError: NIR does not have it.
        """
        if type(module) in _CHAINS:
            for name in _CHAINS[type(module)](module):
                x = self._through(module.get_submodule(name), f"{path}.{name}".strip("."), x)
            return x
        if type(module) in _RULES:
            return _RULES[type(module)](self, module, path, x)
        raise FormatError(f"{path}: {_lacking(module)}. {_REMEDY}")

    def conv_bn(self, module: ConvBN, path: str, x: _Stream) -> _Stream:
        if not isinstance(module.norm, nn.Identity):
            raise FormatError(f"{path}.norm: NIR has no batch norm, and this one cannot be folded. {_REMEDY}")
        if module.pool:
            raise FormatError(f"{path}: NIR has no max pool. {_REMEDY}")
        return self._through(module.conv, f"{path}.conv", x)

    def patch_stage(self, module: PatchStage, path: str, x: _Stream) -> _Stream:
        if module.pool_before or module.pool_after:
            raise FormatError(f"{path}: NIR has no max pool. {_REMEDY}")
        return self._through(module.neuron, f"{path}.neuron", self._through(module.conv, f"{path}.conv", x))

    def conv(self, module: Conv2d, path: str, x: _Stream) -> _Stream:
        pad, stride, size = (int(pair[0]) for pair in (module.padding, module.stride, module.kernel_size))
        places = [(side + 2 * pad - size) // stride + 1 for side in x.shape[1:]]
        bias = torch.zeros(module.out_channels) if module.bias is None else module.bias
        node = self.nir.Conv2d(
            input_shape=x.shape[1:],
            weight=_dense(module).numpy(),
            stride=stride,
            padding=pad,
            dilation=1,
            groups=1,
            bias=bias.detach().numpy(),
        )
        return self._add(path, node, x, (module.out_channels, *places))

    def neuron(self, module: LIF | PLIF | IF, path: str, x: _Stream) -> _Stream:
        """tau dv/dt = (v_leak - v) + r x, in steps of `DT`; of IF, dv/dt = r x."""

        def each(value: float) -> Any:
            return torch.full(x.shape, value, dtype=torch.float64).numpy()

        firing = {"v_threshold": each(module.threshold), "v_reset": each(0)}
        if isinstance(module, IF):
            return self._add(path, self.nir.IF(r=each(1 / DT), **firing), x, x.shape)
        tau = module.tau if isinstance(module, LIF) else 1 / module.w.detach().double().sigmoid().item()
        return self._add(path, self.nir.LIF(tau=each(tau * DT), r=each(1), v_leak=each(0), **firing), x, x.shape)

    def joined(self, stream: _Stream, branch: _Stream, path: str) -> _Stream:
        if self.fused.config.residual == "sew_iand":
            raise FormatError(f'{path}: NIR has no product of two activations (residual "sew_iand"). {_REMEDY}')
        return _Stream((*stream.nodes, *branch.nodes), stream.shape)

    def residual(self, module: Residual, path: str, x: _Stream) -> _Stream:
        if module.layer_scale is not None:
            raise FormatError(f"{path}: this layer scale cannot be folded into a convolution. {_REMEDY}")
        return self.joined(x, self._through(module.branch, f"{path}.branch", x), path)

    def group_wise(self, module: GroupWiseFFN, path: str, x: _Stream) -> _Stream:
        hidden = self._through(module.expand, f"{path}.expand", x)
        hidden = self.joined(hidden, self._through(module.group, f"{path}.group", hidden), path)
        return self._through(module.contract, f"{path}.contract", hidden)

    def deformed_shortcut(self, module: DeformedShortcut, path: str, x: _Stream) -> _Stream:
        x = self._through(module.neuron, f"{path}.neuron", x)
        main = self._through(module.path, f"{path}.path", x)
        return self.joined(self._through(module.shortcut, f"{path}.shortcut", x), main, path)

    def position(self, module: ConvPosition, path: str, x: _Stream) -> _Stream:
        position = self._through(module.conv, f"{path}.conv", x)
        return self.joined(x, position, path) if module.shortcut else position

    def head(self, module: Head, path: str, x: _Stream) -> _Stream:
        if hasattr(module, "distilled"):
            raise FormatError(f"{path}: its two classifiers are not written as NIR. {_REMEDY}")
        side, channels = _numbers(*x.shape[1:]), x.shape[:1]
        pool = self.nir.AvgPool2d(kernel_size=side, stride=side, padding=_numbers(0, 0))
        x = self._add(f"{path}.mean", pool, x, (*channels, 1, 1))
        x = self._add(f"{path}.flat", self.nir.Flatten(_numbers(*x.shape), start_dim=0), x, channels)
        if module.neuron is not None:
            x = self._through(module.neuron, f"{path}.neuron", x)
        weight = module.linear.weight.detach()
        bias = torch.zeros(len(weight)) if module.linear.bias is None else module.linear.bias.detach()
        return self._add(f"{path}.linear", self.nir.Affine(weight.numpy(), bias.numpy()), x, (len(weight),))


_CHAINS: dict[type[nn.Module], Callable[[Any], list[str]]] = {
    Spikformer: lambda _: ["stem", "stages", "head"],
    Stem: lambda _: ["embedding", "position"],
    DeformedShortcutEmbedding: lambda _: ["encoding", "neuron", "patches"],
    Stage: lambda _: ["down", "blocks"],
    Block: lambda _: ["local", "mixer", "mlp"],
    SpikingMLP: lambda _: ["expand", "contract"],
    nn.Identity: lambda _: [],
} | {
    **dict.fromkeys((nn.Sequential, SpikingPatchSplitting, SeparableConv), lambda chain: [*chain._modules]),
    **dict.fromkeys(
        (Unit, DepthwiseConv), lambda unit: ["neuron", "conv"] if unit.neuron_first else ["conv", "neuron"]
    ),
}

_RULES: dict[type[nn.Module], Callable[[_Graph, Any, str, _Stream], _Stream]] = {
    **dict.fromkeys((ConvBN, ImageEncoding, ConvEmbedding), _Graph.conv_bn),
    Conv2d: _Graph.conv,
    **dict.fromkeys((LIF, PLIF, IF), _Graph.neuron),
    PatchStage: _Graph.patch_stage,
    Residual: _Graph.residual,
    GroupWiseFFN: _Graph.group_wise,
    DeformedShortcut: _Graph.deformed_shortcut,
    ConvPosition: _Graph.position,
    Head: _Graph.head,
}

_REMEDY = "See `spikformer.formats` for what NIR expresses, or write ONNX"


def _lacking(module: nn.Module) -> str:
    """What NIR lacks to express a module."""
    kind = type(module).__name__
    if isinstance(module, SpikingAttention | DualSpikeAttention):
        name = module.kind if isinstance(module, SpikingAttention) else "dssa"
        return f'NIR has no product of two activations (attention "{name}")'
    if isinstance(module, LearnedPosition | PeriodicPosition):
        name = "learned" if isinstance(module, LearnedPosition) else "cpg"
        return f'NIR has no constant to add at each place (position "{name}")'
    if isinstance(module, Neuron):
        return f"NIR has no neuron of this kind (neuron {_NEURONS.get(type(module), kind)})"
    return f"NIR has no operation {kind}"


_NEURONS: dict[type[nn.Module], str] = {TernaryLIF: '"ternary"', PSN: '"psn"', MultiSpike: '"multispike"'}


def _dense(conv: nn.Conv2d) -> Tensor:
    """The kernel [O, I, k, k] of an equal convolution of one group: zeros between groups."""
    groups = conv.weight.detach().chunk(conv.groups)
    width = groups[0].shape[1]
    dense = conv.weight.new_zeros(conv.out_channels, conv.in_channels, *conv.kernel_size)
    for i, (rows, kernel) in enumerate(zip(dense.chunk(conv.groups), groups, strict=True)):
        rows[:, i * width : (i + 1) * width] = kernel
    return dense.detach()


def _numbers(*values: int) -> Any:
    """As NumPy's array."""
    return torch.tensor(values).numpy()


def _library(name: str, *, extra: str) -> Any:
    """An optional library.

    Raises:
        FormatError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise FormatError(f"{name} cannot be imported: {error}. pip install 'spikformer-nas[{extra}]'") from None


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A name to write a file under, which it has at `path` once the block has ended without an error."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise FormatError(
            f"{path} cannot be written: {error.strerror or error}. Make room or name another place"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _agree(write: Callable[[Spikformer, Path], _Run], fused: Spikformer, path: Path) -> float:
    """Writes the file at `path` by `write`, runs it against the network, and returns the largest difference of logits.

    A spike that rounding flips moves logits by percents, at most by a third so far, as a wrong file does, and in a
    large network many images have one. So first a copy is written whose numbers are coarse (`_coarse`): its sums are
    exact in any order, so that rounding flips no spike, and it may be off by the rounding of logits alone. This shows
    the graph to be right. Then the network itself, half of whose images may be off by no more than that, or than thrice
    as far as its own float32 is from float64.

    Raises:
        FormatError: further off, or not to be written.
    """
    images = _images(fused, 8)
    with _whole(path) as partial:
        coarse = _coarse(fused)
        exact_B = _differences(write(coarse, partial), coarse, images)
        # Not the largest: dual spike attention divides by roots, and learned time constants are sigmoids, which round.
        if not exact_B.quantile(0.75) <= _ROUNDING:  # nor is it so of what is no number
            raise FormatError(_disagreement(path, exact_B, _ROUNDING))
        found_B = _differences(write(fused, partial), fused, images)
        if not found_B.median() <= _ROUNDING:
            reference = copy.deepcopy(fused).double()
            allowed = 3 * _differences(lambda x: fused(x), reference, images).max().item()
            if not found_B.median() <= allowed:
                raise FormatError(_disagreement(path, found_B, allowed))
        return max(exact_B.max().item(), found_B.max().item())


_ROUNDING = 1e-5
"""Of logits, relative to the largest: without a flipped spike 1e-6 was the most seen, with one 5e-3 the least."""


def _disagreement(path: Path, found_B: Tensor, allowed: float) -> str:
    return (
        f"{path}: the file computes other logits than the network: off by {found_B.median():.0e} of the largest for "
        f"half of {len(found_B)} images, where rounding explains {allowed:.0e}. Nothing was written; use another "
        "version of the libraries that write and read it, or report this network's config"
    )


def _differences(run: _Run, network: Spikformer, images: Tensor) -> Tensor:
    """Of each image's logits, the largest difference over the largest logit of `network`; [B]."""
    type_ = next(network.parameters()).dtype
    with torch.no_grad():
        pairs = [(run(some), network(some.to(type_))) for some in images.split(3)]  # 3, 3, 2: for any size of batch
    off_B = torch.cat([(found - wanted).abs().amax(1) for found, wanted in pairs])
    largest_B = torch.cat([wanted.abs().amax(1) for _, wanted in pairs])
    return off_B / largest_B.clamp(min=torch.finfo(torch.float32).tiny)  # 0 of 0, in a silent network, is 0


def _images(fused: Spikformer, count: int) -> Tensor:
    """[count, C, H, W] of a standard normal, in sixteenths, so that sums of them are exact."""
    stem, generator = fused.config.stem, torch.Generator().manual_seed(0)
    images = torch.randn(count, stem.in_channels, stem.image_size, stem.image_size, generator=generator)
    return (images * 16).round() / 16


def _coarse(fused: Spikformer) -> Spikformer:
    """A copy in which every layer fires, and whose parameters are multiples of 1/64 of a power of two.

    Convolutions are scaled to return numbers of mean 0 and deviation 2 thresholds, as they come. In a network without
    training deep layers may never fire, and a file of it could hold anything in their place.
    """
    coarse, spread = copy.deepcopy(fused), 2 * fused.config.neuron.threshold

    def wake(conv: nn.Module, _: Any, out: Tensor) -> Tensor:
        assert isinstance(conv, nn.Conv2d)
        mean, factor = out.mean(), spread / out.std().clamp(min=1e-6)
        conv.weight.mul_(factor)
        if conv.bias is None:
            return out * factor
        conv.bias.sub_(mean).mul_(factor)
        return (out - mean) * factor

    hooks = [m.register_forward_hook(wake) for m in coarse.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        coarse(_images(fused, 2))
        for parameter in coarse.parameters():
            unit = 2.0 ** parameter.abs().max().clamp(min=1e-6).log2().floor() / 64
            parameter.copy_((parameter / unit).round() * unit)
    for hook in hooks:
        hook.remove()
    return coarse
