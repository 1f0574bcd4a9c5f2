"""The spaces of a proof's rivals: networks of all sizes, and the published structures at every size of the space."""

import dataclasses
import random
import re

from search_methods import size_ladder

from nas.costs import total_macs
from nas.spaces import Axis, SearchSpace, by_axis
from spikformer.config import SpikformerConfig

SIZES = ("embed_dim", "depth", "time_steps")  # axes along which a published structure is a curve
_DRAWN = 8  # random networks for each one of the ladder


def in_full(space: SearchSpace) -> SearchSpace:
    """The space with every network trained in full."""
    return dataclasses.replace(space, recipe=dataclasses.replace(space.recipe, rungs=(1.0,)))


def curve_spaces(space: SearchSpace) -> dict[str, SearchSpace]:
    """Name of a study -> the space of a reference at every width, depth and number of time steps, all else its own."""
    axes = tuple(axis for axis in space.axes if axis.name in SIZES)
    return {
        f"curve-{_slug(name)}": dataclasses.replace(
            in_full(space), name=f"{space.name}, {name}", base=config.to_dict(), axes=axes, references={}
        )
        for name, config in space.references.items()
    }


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def ladder_space(space: SearchSpace, count: int, seed: int = 0) -> SearchSpace:
    """A space of `count` networks, spread evenly over the logarithm of MACs, whatever their other choices.

    Its one axis names the networks, so that a search of it trains each of them.
    """
    rng = random.Random(seed)
    drawn = {config.config_id: config for config in (space.random(rng) for _ in range(_DRAWN * count))}
    macs = {identity: float(total_macs(config)) for identity, config in drawn.items()}
    networks = {identity: _assignments(space, drawn[identity]) for identity in size_ladder(macs, count, rng)}
    axis = Axis("network", networks)
    return dataclasses.replace(in_full(space), name=f"{space.name}, ladder", axes=(axis,), references={})


def _assignments(space: SearchSpace, config: SpikformerConfig) -> dict[str, object]:
    """The fields that lead from the base of the space to one of its networks."""
    choices = by_axis(space.params(config))
    return {path: value for axis in space.axes for path, value in axis.assignments[choices[axis.name]].items()}
