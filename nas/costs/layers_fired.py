"""How many spikes each layer of neurons sent: from its activity, or from its firing rate and its size."""

import functools
from collections.abc import Iterator, Mapping

from nas.costs.accesses import Fired
from nas.costs.operations import Activity
from spikformer.config import SpikformerConfig


def fired(
    config: SpikformerConfig, activity: Mapping[str, Activity], firing_rates: Mapping[str, float], images: int
) -> Mapping[str, Fired]:
    """What each layer of neurons did over all images and time steps, by module path.

    Records of earlier versions, and those of a table, hold firing rates alone: the shapes of the network then tell how
    many neurons fired so often. Of signed spikes a rate is the difference of both signs, so these count as too few.
    """
    if activity:
        return {path: Fired.of(layer) for path, layer in activity.items()}
    return _ByShapes(config, firing_rates, images)


class _ByShapes(Mapping[str, Fired]):
    """Layers that are worked out when they are first read: that builds the network, and so may run a user's code."""

    def __init__(self, config: SpikformerConfig, firing_rates: Mapping[str, float], images: int) -> None:
        self._config, self._firing_rates, self._images = config, firing_rates, images

    def __getitem__(self, path: str) -> Fired:
        return self._layers[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    @functools.cached_property
    def _layers(self) -> dict[str, Fired]:
        from nas.costs.static import neuron_sizes  # torch, only now

        layers = {}
        for path, (updates, quantum) in neuron_sizes(self._config).items():
            if path in self._firing_rates:
                spikes = abs(self._firing_rates[path]) / quantum * updates * self._images
                layers[path] = Fired(updates * self._images, round(spikes))
        return layers


__all__ = ["fired"]
