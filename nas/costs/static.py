"""What the shapes of a network tell without its values: parameters, dense operations, and its parts."""

import copy
import functools
import math
import warnings
from dataclasses import replace

import torch
from torch import Tensor, nn

from nas.costs.counter import OperationCounter
from nas.costs.operations import Operation, Part, multiplications
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.fusion import fuse
from spikformer.model import Spikformer
from spikformer.neurons import Neuron
from spikformer.stems import ImageEncoding


def static_model(config: SpikformerConfig, *, fused: bool = False) -> Spikformer:
    """The network without values, in eval mode; `fused`, its deployable form (`spikformer.fuse`)."""
    with torch.device("meta"):
        model = Spikformer(config).eval()
    return fuse(model) if fused else model


def static_operations(config: SpikformerConfig, *, fused: bool = False) -> tuple[Operation, ...]:
    """What one image runs, by shapes alone: what depends on values is 0. No weights, no memory.

    A network of ImageNet's size takes seconds, so the last ones are remembered: a search prices the same network at
    each rung and for each seed.
    """
    of_stages = (part for stage in config.stages for part in (stage.down, stage.local, stage.mixer, stage.mlp))
    parts = (config.neuron, config.stem, *of_stages)
    if any(":" in part.kind for part in parts):  # the code of a custom block may have changed
        return _counted(config, fused)
    return _remembered(config, fused)


def _counted(config: SpikformerConfig, fused: bool) -> tuple[Operation, ...]:
    model, stem = static_model(config, fused=fused), config.stem
    image = torch.empty(1, stem.in_channels, stem.image_size, stem.image_size, device="meta")
    with torch.no_grad(), OperationCounter(model) as counter:
        model(image)
    return counter.operations()


_remembered = functools.lru_cache(maxsize=256)(_counted)


@functools.lru_cache(maxsize=256)
def neuron_sizes(config: SpikformerConfig) -> dict[str, tuple[int, float]]:
    """Updates of an image, and the value of a spike, by module path of each layer of neurons."""
    model, stem = static_model(config), config.stem
    sizes: dict[str, tuple[int, float]] = {}
    for path, module in model.named_modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(functools.partial(_note, sizes, path))
    with torch.no_grad():
        model(torch.empty(1, stem.in_channels, stem.image_size, stem.image_size, device="meta"))
    return sizes


def _note(sizes: dict[str, tuple[int, float]], path: str, neuron: nn.Module, _inputs: object, spikes_T: Tensor) -> None:
    assert isinstance(neuron, Neuron)
    sizes[path] = (math.prod(spikes_T.shape), neuron.spikes.quantum)


def total_macs(config: SpikformerConfig) -> int:
    """What `dense_macs` tells of the whole network, from shapes alone, in the same time for large networks."""
    return multiplications(static_operations(config))


def weighted_macs(config: SpikformerConfig) -> int:
    """MACs of an image in convolutions and linear layers alone, from their shapes: quick, to compare sizes by.

    Where the network may have a single time step, that one is run, and counts as often as there are steps.
    """
    try:
        model, repeats = static_model(replace(config, time_steps=1)), config.time_steps
    except ConfigError:
        model, repeats = static_model(config), 1
    macs: list[int] = []

    def count(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        channels = output.shape[1 if isinstance(layer, nn.Conv2d) else -1]
        macs.append(output.numel() // channels * layer.get_parameter("weight").numel())

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    stem = config.stem
    with torch.no_grad():
        model(torch.empty(1, stem.in_channels, stem.image_size, stem.image_size, device="meta"))
    return repeats * sum(macs)


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
        from fvcore.nn import FlopCountAnalysis  # pyrefly: ignore[implicit-reexport]  # slow to import

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
    modules = [
        Part(path, type(module).__name__, sum(p.numel() for p in module.parameters()), macs.get(path, 0))
        for path, module in model.named_modules()
    ]
    return [part for part in modules if part.parameters or part.dense_macs]


def _ancestors(path: str) -> list[str]:
    """The path itself and all that it lies in, up to the whole network."""
    names = path.split(".") if path else []
    return [".".join(names[:i]) for i in range(len(names) + 1)]


__all__ = ["dense_macs", "neuron_sizes", "parts", "static_model", "static_operations", "total_macs", "weighted_macs"]
