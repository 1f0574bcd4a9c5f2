"""Trained weights in a network for other images: another number of classes or of channels, or images of another size.

All weights that fit stay as they are, to the last bit. What does not fit is made as timm makes it: a classifier for
other classes is a new one; the first convolution sums its kernels for one channel, or repeats them, scaled; a learned
position is interpolated.
"""

import itertools

import torch
from torch import Tensor
from torch.nn import functional

from spikformer.config import SpikformerConfig
from spikformer.errors import CheckpointError
from spikformer.model import Spikformer
from spikformer.stems import ImageEncoding, LearnedPosition

_CLASSIFIERS = ("head.linear.", "head.distilled.")


def transferred(trained: Spikformer, config: SpikformerConfig, *, new_head: bool = False) -> Spikformer:
    """A network with the weights of a trained one, in eval mode; `trained` is left as it is.

    Args:
        config: of the network, which may differ in its number of classes and channels, image size and time steps.
        new_head: whether the classifier is new, also where it has as many classes. It is drawn from torch's generator.

    Raises:
        CheckpointError: weights that do not fit the config in any other way.
        ConfigError: a block of your own that cannot be found or built.
    """
    model = Spikformer(config)
    new_head = new_head or config.head.num_classes != trained.config.head.num_classes
    encoded = {f"{name}.conv.weight" for name, part in model.named_modules() if isinstance(part, ImageEncoding)}
    placed = {f"{name}.table" for name, part in model.named_modules() if isinstance(part, LearnedPosition)}
    weights, own = trained.state_dict(), model.state_dict()
    if weights.keys() != own.keys():
        names = sorted(weights.keys() ^ own.keys())
        raise CheckpointError(
            f"the weights belong to another network: only one of the two has {names[0]}. Keep the parts of the "
            "trained network"
        )
    for name, fresh in own.items():
        if new_head and name.startswith(_CLASSIFIERS):
            weights[name] = fresh
        elif name in encoded:
            weights[name] = _for_channels(weights[name], fresh.shape[1])
        elif name in placed:
            weights[name] = _for_grid(weights[name], fresh.shape[-1])
        if weights[name].shape != fresh.shape:
            raise CheckpointError(
                f"{name} has shape {tuple(weights[name].shape)}, but the network to train has {tuple(fresh.shape)}. "
                "Keep the parts of the trained network, and the time steps of psn neurons"
            )
    model.load_state_dict(weights)
    return model.eval()


def _for_channels(kernels_OIHW: Tensor, channels: int) -> Tensor:
    """Kernels for images of other channels, whose sum over channels of equal values stays the same."""
    own = kernels_OIHW.shape[1]
    if own == channels:
        return kernels_OIHW
    if channels == 1:
        return kernels_OIHW.sum(1, keepdim=True)
    chosen = torch.tensor(list(itertools.islice(itertools.cycle(range(own)), channels)))
    return kernels_OIHW[:, chosen] * (own / channels)


def _for_grid(table_DHW: Tensor, grid: int) -> Tensor:
    """A table of positions for another grid of tokens."""
    if table_DHW.shape[-1] == grid:
        return table_DHW
    return functional.interpolate(table_DHW[None], (grid, grid), mode="bicubic", antialias=True)[0]


__all__ = ["transferred"]
