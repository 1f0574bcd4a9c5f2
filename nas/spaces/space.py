"""A search space: axes over a base config. Every config that it samples is valid.

Choices that no remaining axis can make valid are not offered. This module does not import torch.
"""

import dataclasses
import functools
import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nas.errors import SpaceError
from nas.settings import Constraints, DataSettings, Recipe, ReferencePoint
from nas.spaces.parameters import axis_of, parameter_name
from nas.spaces.paths import assign, copied, covers, read
from spikformer.config import SpikformerConfig, StageConfig
from spikformer.errors import ConfigError
from spikformer.fields import PlainTable, build_field, types_of

_LISTABLE = 10_000  # combinations; up to here a space is counted by listing it, in seconds
_REMEMBERED = 2_000  # configs of a space, a few kB each

Choice = bool | int | float | str
Suggest = Callable[[str, list[Choice]], Choice]
"""Picks one of the choices for a named parameter, as `optuna.Trial.suggest_categorical` does."""


@dataclass(frozen=True)
class Axis:
    """One thing that may change: `assignments[choice]` are the config fields that a choice sets."""

    name: str
    assignments: Mapping[Choice, Mapping[str, object]]

    @property
    def choices(self) -> list[Choice]:
        return list(self.assignments)

    def sets(self, part: str) -> bool:
        """Whether its choices set a field of a part of the config, such as "stem" or "stages.0"."""
        return any(_relative(path, part) is not None for assigned in self.assignments.values() for path in assigned)


@dataclass(frozen=True)
class SearchSpace:
    """A set of networks, with the images and the recipe that judge them. `load_space` reads one from its file.

    Attributes:
        name: name of the file, without `.toml`.
        base: config that the axes change, as plain values.
        axes: axes in the order in which they are sampled.
        references: name -> config of the networks to evaluate first.
        constraints, hypervolume_from: what a search asks of networks; they are no part of the space's identity.
    """

    name: str
    base: PlainTable
    axes: tuple[Axis, ...]
    references: dict[str, SpikformerConfig]
    data: DataSettings
    recipe: Recipe
    constraints: Constraints = field(default_factory=Constraints)
    hypervolume_from: ReferencePoint | None = None

    def sample(self, suggest: Suggest) -> SpikformerConfig:
        """One valid config; `suggest` chooses, for parameters that `nas.spaces.parameters` names."""
        chosen: dict[str, Choice] = {}
        for axis in self.axes:
            valid = [choice for choice in axis.choices if self._completes(chosen | {axis.name: choice})]
            chosen[axis.name] = suggest(parameter_name(axis.name, axis.choices, valid), valid)
        return self.config(chosen)

    def random(self, rng: random.Random) -> SpikformerConfig:
        """One config, each axis chosen uniformly among its valid choices."""
        return self.sample(lambda _name, choices: rng.choice(choices))

    def config(self, chosen: dict[str, Choice]) -> SpikformerConfig:
        """The config at one choice an axis; axes left out stay at the base.

        Raises:
            ConfigError: no such network.
        """
        key = frozenset(chosen.items())
        if key not in self._built:
            _make_room(self._built)
            self._built[key] = self._build(chosen)
        return self._built[key]

    @functools.cached_property
    def _built(self) -> dict[frozenset[tuple[str, Choice]], SpikformerConfig]:
        """The last configs, by choices: a proposal comes to its config by several ways, and builds it once."""
        return {}

    def _build(self, chosen: dict[str, Choice]) -> SpikformerConfig:
        parts: dict[str, Any] = {}
        for part, axes in self._axes_of.items():
            key = (part, *(chosen.get(axis.name) for axis in axes))
            if key not in self._parts:
                _make_room(self._parts)
                self._parts[key] = self._part(part, axes, chosen)
            parts[part] = self._parts[key]
        stages = tuple(parts.pop(f"stages.{i}") for i in range(len(self.base["stages"])))
        return SpikformerConfig(**parts, stages=stages)

    @functools.cached_property
    def _parts(self) -> dict[tuple[Choice | None, ...], Any]:
        """The last parts of configs, by name and choices of their axes: thousands of configs share them."""
        return {}

    @functools.cached_property
    def _axes_of(self) -> dict[str, list[Axis]]:
        """The axes that each part of a config depends on, in the order in which they are assigned."""
        stages = [f"stages.{i}" for i in range(len(self.base["stages"]))]
        parts = [*(name for name in self.base if name != "stages"), *stages]
        return {part: [axis for axis in self.axes if axis.sets(part)] for part in parts}

    def _part(self, part: str, axes: list[Axis], chosen: Mapping[str, Choice]) -> Any:
        """A part of the config, such as its stem or its first stage."""
        values = {"": copied(read(self.base, part)[0])}
        for axis in axes:
            if axis.name in chosen:
                for path, value in axis.assignments[chosen[axis.name]].items():
                    relative = _relative(path, part)
                    if relative is not None:
                        assign(values, relative, value)
        hint = StageConfig if part.startswith("stages.") else types_of(SpikformerConfig)[part]
        return build_field(part, values[""], hint)

    def params(self, config: SpikformerConfig) -> dict[str, Choice]:
        """What `suggest` must answer for `sample` to walk to the point of the axes where `config` lies.

        Raises:
            SpaceError: another number of stages, or an axis has no choice that this config has.
        """
        values, params = config.to_dict(), {}
        stages = len(self.base["stages"])
        if len(config.stages) != stages:
            raise SpaceError(f"the network has {len(config.stages)} stages, but networks of this space have {stages}")
        choice_of = {axis.name: choice_in(axis, values) for axis in self.axes}

        def follow(name: str, choices: list[Choice]) -> Choice:
            choice = choice_of[axis_of(name)]
            params[name] = choice
            return choice

        self.sample(follow)
        return params

    def size(self) -> tuple[int, bool]:
        """Number of different networks, and whether it is exact; else an upper bound."""
        if not self.listable:
            return math.prod(len(axis.choices) for axis in self.axes), False
        return len({tuple(config.canonical_fields().values()) for config in self.configs()}), True

    @property
    def listable(self) -> bool:
        """Whether the space is small enough to go through whole."""
        return math.prod(len(axis.choices) for axis in self.axes) <= _LISTABLE

    def configs(self) -> Iterator[SpikformerConfig]:
        """Every valid combination of choices; equal networks may come more than once."""
        for combination in itertools.product(*(axis.choices for axis in self.axes)):
            try:
                yield self.config(dict(zip((axis.name for axis in self.axes), combination, strict=True)))
            except ConfigError:
                continue

    def identity(self) -> PlainTable:
        """What makes results comparable: studies of equal identity may be continued."""
        axes = {axis.name: [[choice, values] for choice, values in axis.assignments.items()] for axis in self.axes}
        return {
            "space": {"base": self.base, "axes": axes},
            "data": self.data.identity(),
            "recipe": dataclasses.asdict(self.recipe),
        }

    def reason_against(self, name: str, choice: Choice) -> ConfigError | None:
        """Why a choice of an axis is part of no network of the space; None where it is part of some."""
        if not self._completes({name: choice}):
            try:
                self.config(self._outside_base | {name: choice})
            except ConfigError as error:
                return error
        return None

    @functools.cached_property
    def _outside_base(self) -> dict[str, Choice]:
        """A choice of each axis that does not offer what the base has: the base says nothing about these."""
        outside: dict[str, Choice] = {}
        for axis in self.axes:
            try:
                choice_in(axis, self.base)
            except SpaceError:
                outside[axis.name] = axis.choices[0]
        return outside

    def _completes(self, chosen: dict[str, Choice]) -> bool:
        """Whether some choice of the remaining axes makes a valid config.

        Only axes that a ConfigError names are tried: no other could mend it.
        """
        try:
            self.config(self._outside_base | chosen)
        except ConfigError as error:
            involved = [axis for axis in self.axes if axis.name not in chosen and _sets_any(axis, error.fields)]
            return any(self._completes(chosen | {axis.name: c}) for axis in involved[:1] for c in axis.choices)
        return True


def _relative(path: str, part: str) -> str | None:
    """A path into a config as one into `{"": part}`; None, if it leads to another part."""
    head, _, rest = path.partition(".")
    if head == "stages":
        index, _, rest = rest.partition(".")
        head = part if index == "*" and part.startswith("stages.") else f"{head}.{index}"
    return None if head != part else f".{rest}" if rest else ""


def _make_room(remembered: dict[Any, Any]) -> None:
    """Forget the oldest entry of what is as large as it may be."""
    if len(remembered) >= _REMEMBERED:
        del remembered[next(iter(remembered))]


def choice_in(axis: Axis, values: PlainTable) -> Choice:
    for choice, assignments in axis.assignments.items():
        leaves = [(leaf, value) for path, value in assignments.items() for leaf in read(values, path)]
        if all(leaf in (value, None) for leaf, value in leaves):
            return choice
    fields = {path: read(values, path)[0] for path in next(iter(axis.assignments.values()))}
    listed = ", ".join(map(str, axis.choices))
    raise SpaceError(f"{axis.name} {fields} is not one of this axis's choices: {listed}")


def completed(identity: PlainTable) -> PlainTable:
    """A study's identity with every field of its base network: what earlier versions did not know is at its default."""
    try:
        base = SpikformerConfig.from_dict(identity["space.base"]).to_dict()
    except (KeyError, TypeError, ConfigError):  # of no such network: it equals only itself
        return identity
    return identity | {"space.base": base}


def _sets_any(axis: Axis, fields: tuple[str, ...]) -> bool:
    """Whether an axis sets one of the fields of an error (`*` in a path stands for any stage)."""
    patterns = {path for assignments in axis.assignments.values() for path in assignments}
    return any(covers(pattern, field) for pattern in patterns for field in fields)


__all__ = ["Axis", "Choice", "SearchSpace", "choice_in", "completed"]
