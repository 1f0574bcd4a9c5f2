"""The networks that a searcher chooses among, and where they come from."""

import itertools
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from nas.spaces import Choice, SearchSpace
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError


@dataclass(frozen=True)
class Network:
    """A point of a space: `identity` is equal for equal networks, however their `params`, axis -> choice, differ."""

    identity: str
    params: Mapping[str, Choice]


class Space(Protocol):
    """Where networks come from."""

    @property
    def axes(self) -> Mapping[str, Sequence[Choice]]:
        """Every axis that a network may have, with its choices in order."""

    def draw(self, rng: random.Random) -> Mapping[str, Choice]:
        """Choices at random, cheaply: not all of them need make a network."""

    def at(self, params: Mapping[str, Choice]) -> Network | None:
        """The network of these choices, or None if there is none."""

    def every(self) -> Iterable[Mapping[str, Choice]]:
        """All choices, where they are few enough to go through; else none."""


class ConfigSpace:
    """A search space of configs as a space of networks.

    Args:
        allowed: which configs to offer; asked once for each network.
    """

    def __init__(self, space: SearchSpace, allowed: Callable[[SpikformerConfig], bool] = lambda _config: True) -> None:
        self.space, self._allowed = space, allowed
        self._known: dict[tuple[Choice, ...], Network | None] = {}
        self._offered: dict[str, bool] = {}
        self.axes: Mapping[str, Sequence[Choice]] = {axis.name: axis.choices for axis in space.axes}

    def draw(self, rng: random.Random) -> Mapping[str, Choice]:
        return {name: rng.choice(choices) for name, choices in self.axes.items()}

    def every(self) -> Iterable[Mapping[str, Choice]]:
        if not self.space.listable:
            return ()
        combinations = itertools.product(*self.axes.values())
        return (dict(zip(self.axes, choices, strict=True)) for choices in combinations)

    def at(self, params: Mapping[str, Choice]) -> Network | None:
        key = tuple(params[name] for name in self.axes)
        if key not in self._known:
            self._known[key] = self._made(params)
        return self._known[key]

    def _made(self, params: Mapping[str, Choice]) -> Network | None:
        try:
            config = self.space.config(dict(params))
        except ConfigError:
            return None
        identity = config.config_id
        if identity not in self._offered:
            self._offered[identity] = self._allowed(config)
        return Network(identity, dict(params)) if self._offered[identity] else None


__all__ = ["ConfigSpace", "Network", "Space"]
