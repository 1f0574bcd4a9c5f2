"""The deployable form of a network as an ONNX file, which expresses every network of the schema.

What is written is `spikformer.fuse(model)`, in float32. onnxruntime runs a file before it gets its name, on images that
this network and it must agree on (`_agree`).
"""

import copy
import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from spikformer.errors import FormatError
from spikformer.files import whole
from spikformer.fusion import fuse
from spikformer.model import Spikformer

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
        _library(name)
    fused = fuse(model).float().cpu()
    size = sum(tensor.numel() * tensor.element_size() for tensor in fused.state_dict().values())
    if size >= _ONNX_BYTES:
        raise FormatError(
            f"{path}: {size / 1e9:.1f} GB of weights, but an ONNX file holds at most 2 GB. Write a smaller network"
        )
    program = _traced(fused, path)

    def write(network: Spikformer, partial: Path) -> _Run:
        program.apply_weights(network.state_dict())
        program.save(partial, external_data=False)
        return _by_onnxruntime(partial)

    return _agree(write, fused, path)


_ONNX_BYTES = 2**31  # what a protocol buffer, which an ONNX file is, may have


def _traced(fused: Spikformer, path: Path) -> "torch.onnx.ONNXProgram":
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
            "own, use operations that ONNX has, and no Python branch or size that depends on the values or the batch"
        ) from error
    assert program is not None
    for node in program.model.graph.all_nodes():  # else most of the file is where on this computer the code lies
        path_in_network = node.metadata_props.get("namespace", "")
        node.metadata_props.clear()
        node.metadata_props["namespace"] = path_in_network
    return program


def _by_onnxruntime(path: Path) -> _Run:
    onnxruntime = _library("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; it warns of constants that it does not fold
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common
        raise FormatError(f"{path}: onnxruntime cannot load this network: {error}. Replace that operation") from error
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def _library(name: str) -> ModuleType:
    """An optional library.

    Raises:
        FormatError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        remedy = "Install what this needs: pip install onnx onnxscript onnxruntime"
        raise FormatError(f"{name} cannot be imported: {error}. {remedy}") from None


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
    with whole(path, FormatError) as partial:
        coarse = _coarse(fused)
        exact_B = _differences(write(coarse, partial), coarse, images)
        # Not the largest: dual spike attention divides by roots, and learned time constants are sigmoids, which round.
        if not exact_B.quantile(0.75) <= _ROUNDING:  # nor is it so of what is no number
            raise FormatError(_disagreement(path, exact_B, _ROUNDING))
        off_B = _differences(write(fused, partial), fused, images)
        if not off_B.median() <= _ROUNDING:
            reference = copy.deepcopy(fused).double()
            allowed = 3 * _differences(lambda x: fused(x), reference, images).max().item()
            if not off_B.median() <= allowed:
                raise FormatError(_disagreement(path, off_B, allowed))
        return max(exact_B.max().item(), off_B.max().item())


_ROUNDING = 1e-5
"""Of logits, relative to the largest: without a flipped spike 1e-6 was the most seen, with one 5e-3 the least."""


def _disagreement(path: Path, off_B: Tensor, allowed: float) -> str:
    return (
        f"{path}: the file and the network compute different logits: off by {off_B.median():.0e} of the largest for "
        f"half of {len(off_B)} images, while rounding explains {allowed:.0e}. Nothing was written. Use another "
        "version of the libraries that write and read it, or report this network's config"
    )


def _differences(run: _Run, network: Spikformer, images: Tensor) -> Tensor:
    """Of each image's logits, the largest difference over the largest logit of `network`; [B]."""
    type_ = next(network.parameters()).dtype
    with torch.no_grad():
        pairs = [(run(some), network(some.to(type_))) for some in images.split(3)]  # 3, 3, 2: for any size of batch
    off_B = torch.cat([(logits - expected).abs().amax(1) for logits, expected in pairs])
    largest_B = torch.cat([expected.abs().amax(1) for _, expected in pairs])
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

    def wake(conv: nn.Module, _: object, out: Tensor) -> Tensor:
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
