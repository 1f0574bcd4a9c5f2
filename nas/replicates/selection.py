"""Networks that a proxy is validated on: spread over cost and axes, or made small from those of papers."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nas.costs import multiplications, target
from nas.errors import SpaceError, StudyError
from nas.progress import Observer
from nas.spaces import SearchSpace, by_axis
from spikformer import published
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError

_POOL = 8  # networks drawn for each that is chosen


@dataclass(frozen=True)
class Network:
    """A network to be trained at every budget.

    Attributes:
        name: name to print.
        macs: dense multiplications of an image, by which networks are cut into classes of cost.
        printed: top-1 of its paper in per cent, where that is what it is held against.
        parameters_m: of the network of the paper, in millions, there too.
    """

    name: str
    config: SpikformerConfig
    macs: int
    printed: float | None = None
    parameters_m: float | None = None


def stratified(
    space: SearchSpace,
    count: int,
    seed: int,
    observer: Observer | None = None,
    among: Iterable[SpikformerConfig] | None = None,
) -> list[Network]:
    """References and networks of the space, as many in each third of cost, those of a third unlike each other.

    Args:
        among: take only those of these that lie in the space; None draws from the space.
    """
    named = {config.config_id: (name, config) for name, config in list(space.references.items())[: count // 3]}
    if among is None:
        drawn = _drawn(space, {identity: config for identity, (_, config) in named.items()}, _POOL * count, seed)
    else:
        drawn = _some_of(space, among, _POOL * count, seed)
    if len(drawn) < count:
        raise StudyError(
            f"{len(drawn)} networks were found in space {space.name}, but {count} were asked for. Ask for fewer"
        )
    pool = []
    for number, (identity, config) in enumerate(drawn.items(), start=1):
        name = named[identity][0] if identity in named else identity
        pool.append(Network(name, config, _macs(config)))
        (observer or Observer()).reading("counting operations", number, len(drawn))
    pool.sort(key=lambda network: (network.macs, network.name))
    networks: list[Network] = []
    for third, part in enumerate(np.array_split(np.arange(len(pool)), 3)):
        quota = count * (third + 1) // 3 - count * third // 3
        networks += _unlike(space, [pool[i] for i in part], quota, set(named))
    return sorted(networks, key=lambda network: network.macs)


def _drawn(
    space: SearchSpace, first: dict[str, SpikformerConfig], count: int, seed: int
) -> dict[str, SpikformerConfig]:
    """config_id -> config, of the first ones and of different networks at random."""
    rng, drawn = random.Random(seed), dict(first)
    for _ in range(20 * count):
        if len(drawn) >= count:
            break
        config = space.random(rng)
        drawn.setdefault(config.config_id, config)
    return drawn


def _some_of(
    space: SearchSpace, among: Iterable[SpikformerConfig], count: int, seed: int
) -> dict[str, SpikformerConfig]:
    """config_id -> config, at random among those that lie in the space."""
    offered = {config.config_id: config for config in among if _lies_in(space, config)}
    chosen = random.Random(seed).sample(sorted(offered), min(len(offered), count))
    return {identity: offered[identity] for identity in chosen}


def _lies_in(space: SearchSpace, config: SpikformerConfig) -> bool:
    try:
        space.params(config)
    except SpaceError:
        return False
    return True


def _unlike(space: SearchSpace, pool: list[Network], count: int, first: set[str]) -> list[Network]:
    """References of the pool, then each time the network that shares least choices with its likest chosen one."""
    chosen = [network for network in pool if network.config.config_id in first][:count]
    rest = [network for network in pool if network not in chosen]
    points = {network.name: by_axis(space.params(network.config)) for network in pool}
    while len(chosen) < min(count, len(pool)):

        def distance(network: Network) -> int:
            mine = points[network.name]
            others = [points[other.name] for other in chosen]
            return min((sum(mine[axis] != other.get(axis) for axis in mine) for other in others), default=0)

        chosen.append(max(rest, key=distance))
        rest.remove(chosen[-1])
    return chosen


def _macs(config: SpikformerConfig) -> int:
    from nas.costs import static_operations  # torch, only now

    return multiplications(static_operations(config))


def from_papers(space: SearchSpace, count: int) -> list[Network]:
    """Published ImageNet networks with a printed accuracy, for the space's images, all made narrower alike.

    One factor for all, so that who is wider stays wider: that which brings the median network to the parameters of the
    space's base. Widths shrink by it and depths by its square, as `export` makes them grow (`nas.costs.scaling`).

    Raises:
        StudyError: the space's images are no colour images.
    """
    if space.base["stem"]["in_channels"] != 3:
        raise StudyError(f"published networks take colour images, but those of space {space.name} are grey")
    from nas.costs import scaling  # torch, only now

    small = {}
    for name in published.names():
        if published.figures(name).accuracy is not None and "_in_" in name and not name.endswith("_kd"):
            small[name] = _on_images_of(space, published.config(name))
    evenly = [list(small)[i] for i in np.linspace(0, len(small) - 1, min(count, len(small))).round().astype(int)]
    base = _parameter_count(SpikformerConfig.from_dict(space.base))
    factor = 1.0
    while factor > 1 / 64 and np.median([_parameter_count(scaling.scaled(small[n], factor)) for n in evenly]) > base:
        factor /= 2**0.5
    networks = []
    for name in evenly:
        config, printed = scaling.scaled(small[name], factor), published.figures(name)
        networks.append(Network(name, config, _macs(config), printed.accuracy, printed.parameters_m))
    return sorted(networks, key=lambda network: network.macs)


def _on_images_of(space: SearchSpace, config: SpikformerConfig) -> SpikformerConfig:
    """With a token for 4 x 4 pixels, as the networks that papers print for CIFAR have, or for as many as it must."""
    stem, classes = space.base["stem"], space.base["head"]["num_classes"]
    for halvings in (2, 3, 4):
        try:
            return target.for_images(config, stem["image_size"], stem["in_channels"], classes, halvings)
        except ConfigError as error:
            last = error
    raise last


def _parameter_count(config: SpikformerConfig) -> int:
    from nas.costs import static_model  # torch, only now

    return sum(p.numel() for p in static_model(config).parameters())


def spread(count: int, chosen: int) -> list[int]:
    """`chosen` of `count` numbers, evenly."""
    return sorted({int(i) for i in np.linspace(0, count - 1, chosen).round()}) if chosen else []


__all__ = ["Network", "from_papers", "spread", "stratified"]
