"""How many spikes each layer of neurons sent: from its activity, or from its firing rate and its size."""

from collections.abc import Mapping

from nas.costs.accesses import Fired
from nas.costs.operations import Activity
from spikformer.config import SpikformerConfig


def fired(
    config: SpikformerConfig, activity: Mapping[str, Activity], firing_rates: Mapping[str, float], images: int
) -> dict[str, Fired]:
    """What each layer of neurons did over all images and time steps, by module path.

    Records of earlier versions, and those of a table, hold firing rates alone: the shapes of the network then tell how
    many neurons fired so often. Of signed spikes a rate is the difference of both signs, so these count as too few.
    """
    if activity:
        return {path: Fired.of(layer) for path, layer in activity.items()}
    from nas.costs.static import neuron_sizes  # torch, only now

    sizes = neuron_sizes(config)
    return {
        path: Fired(sizes[path][0] * images, round(abs(rate) / sizes[path][1] * sizes[path][0] * images))
        for path, rate in firing_rates.items()
        if path in sizes
    }


__all__ = ["fired"]
