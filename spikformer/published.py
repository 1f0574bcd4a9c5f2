"""Published networks by name: their configs, and the figures that are printed about them.

A name begins with family and data set: see `spikformer.published_networks` for images and
`spikformer.published_events` for event cameras.
"""

from spikformer import published_events, published_figures, published_networks
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.fields import nearest
from spikformer.published_figures import Figures

_POINTS = published_networks.POINTS | published_events.POINTS


def names() -> list[str]:
    """Every name that `config` and `figures` know."""
    return sorted(_POINTS)


def config(name: str) -> SpikformerConfig:
    """The config of a published network, such as "spikformer_cifar10_4_384" (depth 4, width 384).

    Raises:
        ConfigError: no network of that name.
    """
    _check(name)
    return _POINTS[name]()


def figures(name: str) -> Figures:
    """What the paper of a published network prints about it.

    Raises:
        ConfigError: no network of that name.
    """
    _check(name)
    return published_figures.of(name)


def _check(name: str) -> None:
    if name not in _POINTS:
        raise ConfigError(f'no published network is named "{name}". {nearest(name, names())}')


__all__ = ["Figures", "config", "figures", "names"]
