"""Memory that a training takes on a GPU, estimated on a CPU, whose kernels keep somewhat other tensors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from nas.bundles import TrainingRecipe
from spikformer.config import SpikformerConfig
from spikformer.model import Block, Spikformer

_IMAGES = 2  # that the estimate looks at: batch norm needs two


def states_gb(parameters: int, recipe: TrainingRecipe) -> float:
    """Weights, gradients, two moments, and perhaps an average, each a float32 a parameter."""
    return parameters * 4 * (4 + (recipe.ema_decay > 0)) / 1e9


def kept_gb(config: SpikformerConfig, *, has_frames: bool = False) -> tuple[float, float]:
    """What a training image keeps for its backward pass, in GB: all, or block inputs and one block at a time.

    Args:
        has_frames: whether the network is shown a frame of its own at each time step, as of events.

    Shapes and types tell it, without a number computed: in bfloat16 a CPU would take minutes for a large network. One
    whose way depends on its values is run.
    """
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            return _kept_gb(_without_values(config), has_frames=has_frames)
    except RuntimeError:  # the base of all by which tensors without values refuse to show them
        return _kept_gb(Spikformer(config), has_frames=has_frames)


def _without_values(config: SpikformerConfig) -> Spikformer:
    """The network with weights of the mode it is called in: to draw some, torch looks at values."""
    with torch.device("meta"):
        model = Spikformer(config)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(torch.empty_like(parameter, device="cpu"), parameter.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty_like(buffer, device="cpu"))
    return model


def _kept_gb(model: Spikformer, *, has_frames: bool) -> tuple[float, float]:
    model.train()
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    stem = model.config.stem
    steps = (model.config.time_steps,) if has_frames else ()
    images = torch.randn(*steps, _IMAGES, stem.in_channels, stem.image_size, stem.image_size)
    by_block: dict[str, int] = {}
    inputs = 0
    with _within_blocks(model) as place:
        seen = set(weights)

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in seen:
                seen.add(storage._cdata)
                held.append(tensor.detach())  # so that its memory is not given to another
                by_block[place.block] = by_block.get(place.block, 0) + storage.nbytes()
            return tensor.detach()  # itself, it would hold the graph that holds it, for ever

        held: list[Tensor] = []
        hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", torch.bfloat16):
            model(images)
        inputs = place.inputs
    outside = by_block.pop("", 0)
    whole = outside + sum(by_block.values())
    checkpointed = outside + inputs + max(by_block.values(), default=0)
    return whole / _IMAGES / 1e9, checkpointed / _IMAGES / 1e9


@dataclass
class _Place:
    """The path of the block that runs, "" outside of all, and the bytes of the inputs that blocks have had."""

    block: str = ""
    inputs: int = 0


@contextmanager
def _within_blocks(model: nn.Module) -> Iterator[_Place]:
    place = _Place()
    hooks = []

    def entering(path: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            place.block = path
            place.inputs += arguments[0].nbytes

        return hook

    def leaving(_module: nn.Module, _arguments: object, _output: Tensor) -> None:
        place.block = ""

    for path, module in model.named_modules():
        if isinstance(module, Block):
            hooks.append(module.register_forward_pre_hook(entering(path)))
            hooks.append(module.register_forward_hook(leaving))
    try:
        yield place
    finally:
        for hook in hooks:
            hook.remove()


__all__ = ["kept_gb", "states_gb"]
