"""Search spaces: a TOML file names a base network and the axes along which it may change.

    [base]        a published network (`published = "..."`) and fields of the config that differ from it
    [axes]        axis = choices; a friendly name from `AXES`, "neuron_placement", or a dotted path
                  into the config, such as "stem.pool_order" or "stages.1.mixer.kind"
    [choices.X]   the axis X, each of whose choices sets several fields: name = { path = value, ... }
    [references]  name = a published network or the choices of one point; evaluated first, and counted
    [data]        `DataSettings`
    [proxy]       `Recipe` of the short training
    [constraints] `Constraints` on the networks that are looked for

Every sampled config is valid: choices that no remaining axis can mend are not offered. No torch here.
"""

import copy
import dataclasses
import functools
import itertools
import json
import math
import random
import re
import tomllib
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from nas.errors import SpaceError
from spikformer import plugins, published
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.fields import nearest

AXES: dict[str, str] = {
    "time_steps": "time_steps",
    "residual": "residual",
    "embed_dim": "stages.*.embed_dim",
    "depth": "stages.*.depth",
    "num_heads": "stages.*.mixer.num_heads",
    "mlp_ratio": "stages.*.mlp.ratio",
    "attention": "stages.*.mixer.kind",
    "mlp": "stages.*.mlp.kind",
    "neuron": "neuron.kind",
    "position": "stem.position",
    "drop_path": "drop_path",
}
"""Friendly name -> dotted path; `*` means every stage."""

PLACEMENTS: dict[str, dict[str, Any]] = {
    "published": {},
    "pool_first": {"stem.pool_order": "before_neuron"},
    # A single q k^T is far smaller than the output's sum over tokens: at 0.125 the map would stay silent.
    "attention_map": {"stages.*.mixer.neuron_on": "map", "stages.*.mixer.scale": 0.5},
    "head": {"head.neuron": True},
}
"""Choices of the axis `neuron_placement`: what each moves away from the first."""

_PUBLISHED_PLACEMENT = {"stem.pool_order": "after_neuron", "stages.*.mixer.neuron_on": "output", "head.neuron": False}
_T = TypeVar("_T")
_SECTIONS = ("base", "axes", "choices", "references", "data", "proxy", "constraints")
_LISTABLE = 10_000  # combinations; up to here a space is counted by listing it, in seconds
_REMEMBERED = 2_000  # configs of a space, a few kB each
_FIXED = ("stem.image_size", "stem.in_channels", "head.num_classes")  # by the data, so one for the whole space

Choice = bool | int | float | str
Suggest = Callable[[str, list[Choice]], Choice]
"""Picks one of the choices for a named parameter, as `optuna.Trial.suggest_categorical` does."""


@dataclass(frozen=True)
class DataSettings:
    """Which images, and how the training images are cut.

    Attributes:
        dataset: "digits" (bundled with scikit-learn), "cifar10", "cifar100" or "image_folder".
        search_val: share of the training images that ranks candidates.
        report_val: share that only reports read.
        classes: names that an image folder must have, in order; empty takes the folder's.
    """

    dataset: Literal["digits", "cifar10", "cifar100", "image_folder"] = "cifar10"
    search_val: float = 0.1
    report_val: float = 0.1
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """How a proxy is trained: AdamW, linear warm-up, cosine to zero.

    Attributes:
        epochs: passes over the train split.
        train_images: how many images of the train split to use, stratified; 0 takes all.
        batch_size: images a step.
        learning_rate: peak of the schedule.
        weight_decay: on weights of convolutions and linear layers only.
        warmup: share of the steps in which the learning rate rises.
        label_smoothing: share of the target spread over the other classes.
        augment: "none", "shift" (by up to one pixel in 16) or "shift_flip" (up to one in 8, and mirrored); "auto" is
            "shift_flip" of coloured images, and "shift" where all are grey: digits and letters must not be mirrored.
        spike_penalty: what a spike per neuron and time step, the mean over all neurons, adds to the loss; 0 leaves
            spikes free.
        precision: of convolutions and products while training, "fp32" or "bf16"; "auto" takes bfloat16 where the
            hardware multiplies it. Evaluation is float32.
        rungs: shares of these images after which networks are compared, rising, the last 1. Each is a training of its
            own, with a whole schedule; only promising networks come to the next. [1] trains all of them in full.
    """

    epochs: int = 10
    train_images: int = 0
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    warmup: float = 0.2
    label_smoothing: float = 0.1
    augment: Literal["auto", "none", "shift", "shift_flip"] = "auto"
    spike_penalty: float = 0.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    rungs: tuple[float, ...] = (0.05, 1.0)


@dataclass(frozen=True)
class Constraints:
    """What a network must keep to be on the front; None leaves it free.

    Attributes:
        max_params: of the proxy; a network above it is not trained.
        max_macs: dense ones of the proxy, per image over all time steps; a network above it is not trained.
        max_energy_mj: of the energy by which the study ranks.
        min_accuracy: share of the search-val images.
    """

    max_params: int | None = None
    max_macs: int | None = None
    max_energy_mj: float | None = None
    min_accuracy: float | None = None

    def __post_init__(self) -> None:
        """Raises SpaceError: a limit that no network could keep."""
        for name, limit in dataclasses.asdict(self).items():
            if limit is not None and not 0 < limit < math.inf:
                raise SpaceError(f"{name} {limit} must be positive")
        if self.min_accuracy is not None and self.min_accuracy >= 1:
            raise SpaceError(f"min_accuracy {self.min_accuracy} must be a share below 1, such as 0.9 for 90 %")


@dataclass(frozen=True)
class Axis:
    """One thing that may change: `assignments[choice]` are the config fields that a choice sets."""

    name: str
    assignments: dict[Choice, dict[str, Any]]

    @property
    def choices(self) -> list[Choice]:
        return list(self.assignments)


@dataclass(frozen=True)
class SearchSpace:
    """A set of networks, the images and the recipe that judge them. `load` reads one from its file.

    Attributes:
        name: of the file, without `.toml`.
        base: the config that axes change, as plain values.
        axes: in the order in which they are sampled.
        references: name -> config of the points to evaluate first.
    """

    name: str
    base: dict[str, Any]
    axes: tuple[Axis, ...]
    references: dict[str, SpikformerConfig]
    data: DataSettings
    recipe: Recipe
    constraints: Constraints = Constraints()

    def sample(self, suggest: Suggest) -> SpikformerConfig:
        """One valid config; `suggest` chooses.

        A parameter is named after its axis. Where an earlier choice rules some choices out, the
        name carries those that remain, `num_heads{1,2}`: Optuna wants fixed choices under a name.
        """
        chosen: dict[str, Choice] = {}
        for axis in self.axes:
            valid = [choice for choice in axis.choices if self._completes(chosen | {axis.name: choice})]
            complete = len(valid) == len(axis.choices)
            name = axis.name if complete else f"{axis.name}{{{','.join(map(str, valid))}}}"
            chosen[axis.name] = suggest(name, valid)
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
            if len(self._built) >= _REMEMBERED:
                del self._built[next(iter(self._built))]
            self._built[key] = self._build(chosen)
        return self._built[key]

    @functools.cached_property
    def _built(self) -> dict[frozenset[tuple[str, Choice]], SpikformerConfig]:
        """The last configs, by choices: a proposal comes to its config by several ways, and builds it once."""
        return {}

    def _build(self, chosen: dict[str, Choice]) -> SpikformerConfig:
        values = copy.deepcopy(self.base)
        for axis in self.axes:
            if axis.name in chosen:
                for path, value in axis.assignments[chosen[axis.name]].items():
                    _assign(values, path, value)
        return SpikformerConfig.from_dict(values)

    def params(self, config: SpikformerConfig) -> dict[str, Choice]:
        """What `suggest` must answer for `sample` to walk to the point of the axes where `config` lies.

        Raises:
            SpaceError: another number of stages, or an axis has no choice that this config has.
        """
        values, params = config.to_dict(), {}
        stages = len(self.base["stages"])
        if len(config.stages) != stages:
            raise SpaceError(f"{len(config.stages)} stages, the networks of this space have {stages}")
        wanted = {axis.name: _choice_in(axis, values) for axis in self.axes}

        def follow(name: str, choices: list[Choice]) -> Choice:
            choice = wanted[name.split("{")[0]]
            params[name] = choice
            return choice

        self.sample(follow)
        return params

    def size(self) -> tuple[int, bool]:
        """Number of different networks, and whether it is exact; else an upper bound."""
        if not self.listable:
            return math.prod(len(axis.choices) for axis in self.axes), False
        return len({config.canonical() for config in self.configs()}), True

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

    def identity(self) -> dict[str, Any]:
        """What makes results comparable: studies of equal identity may be continued."""
        axes = {axis.name: [[choice, values] for choice, values in axis.assignments.items()] for axis in self.axes}
        return {
            "space": {"base": self.base, "axes": axes},
            "data": dataclasses.asdict(self.data),
            "recipe": dataclasses.asdict(self.recipe),
        }

    @functools.cached_property
    def _outside_base(self) -> dict[str, Choice]:
        """A choice of each axis that does not offer what the base has: the base says nothing about these."""
        outside: dict[str, Choice] = {}
        for axis in self.axes:
            try:
                _choice_in(axis, self.base)
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


def names() -> list[str]:
    """Names of the spaces that come with the project."""
    return sorted(path.stem for path in _folder().iterdir() if path.suffix == ".toml")


def load(name_or_path: str | Path) -> SearchSpace:
    """Read a space, by the name of one that comes with the project or by its path, and check it whole.

    Whoever names a space file names the modules of the blocks in it: they may be imported from now on, those beside
    the file before all others.

    Raises:
        SpaceError: no such space, or what is wrong in it, with line, key and nearest valid name.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml" and not path.is_file():
        path = _folder() / f"{name_or_path}.toml"
    try:
        space = _Parser(path, _text(path)).parse()
    except FileNotFoundError:
        raise SpaceError(f'no search space "{name_or_path}". {nearest(str(name_or_path), names())}') from None
    plugins.allow(*sorted(_blocks(space)), folder=path.parent.absolute())
    return space


def _blocks(space: SearchSpace) -> set[str]:
    """References to blocks of the user's own, in what a space's networks may be."""
    assigned = [item for axis in space.axes for fields in axis.assignments.values() for item in fields.items()]
    whole = [space.base, *(config.to_dict() for config in space.references.values())]
    return {kind for values in whole for kind in _kinds("", values)} | {
        kind for path, value in assigned for kind in _kinds(path, value)
    }


def _kinds(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _kinds(f"{path}.{key}", item)
    elif path.endswith(".kind") and ":" in str(value):
        yield str(value)


def with_proxy(space: SearchSpace, path: str | Path) -> SearchSpace:
    """A space with the settings of a file's [proxy] instead of its own, as `validate-proxy` recommends them.

    Raises:
        SpaceError: no such file, or what is wrong in it.
    """
    try:
        return dataclasses.replace(space, recipe=_Parser(Path(path), _text(Path(path))).proxy(space))
    except FileNotFoundError:
        raise SpaceError(f"there is no file {path}. `validate-proxy` writes one") from None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SpaceError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SpaceError(f"{path} is no text file: it must be TOML in UTF-8") from None


def _folder() -> Path:
    """Space files: beside the packages in a clone, inside `nas` in an installed wheel."""
    package = Path(str(resources.files("nas")))
    installed = package / "search_spaces"
    return installed if installed.is_dir() else package.parent / "search_spaces"


class _Parser:
    """One space file; knows where each key stands, for errors."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text

    def parse(self) -> SearchSpace:
        try:
            document = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise SpaceError(f"{self.path} is no valid TOML: {error}") from None
        for section, content in document.items():
            if section not in _SECTIONS:
                raise self._error(section, None, f"unknown section. {nearest(section, _SECTIONS)}")
            if not isinstance(content, dict):
                raise self._error(section, None, "must be a section of keys and values")
        base = self._base(document.get("base", {}))
        axes = tuple(self._axis(name, choices, base) for name, choices in _flattened(document.get("axes", {})))
        axes += tuple(self._table(name, table, base) for name, table in document.get("choices", {}).items())
        if not axes:
            raise SpaceError(f"{self.path} has no [axes]: nothing could be searched. Give at least one axis")
        for axis in axes:  # settings of a block of your own start where the axis does
            for path, value in next(iter(axis.assignments.values())).items():
                if ".options." in path and _read(base, path)[0] is None:
                    _assign(base, path, value)
        self._check_channels(base)
        self._check_overlap(axes, base)
        self._check_ratio(axes)
        axes = tuple(sorted(axes, key=lambda axis: not _decides(axis)))
        data = self._settings("data", DataSettings, document.get("data", {}))
        recipe = self._settings("proxy", Recipe, document.get("proxy", {}))
        try:
            constraints = self._settings("constraints", Constraints, document.get("constraints", {}))
        except SpaceError as error:
            raise (
                error if str(error).startswith(str(self.path)) else self._error("constraints", None, str(error))
            ) from None
        space = SearchSpace(self.path.stem, base, axes, {}, data, recipe, constraints)
        self._check_numbers(data, recipe)
        self._check_choices(space)
        references = {
            name: self._reference(space, name, value) for name, value in document.get("references", {}).items()
        }
        return dataclasses.replace(space, references=references)

    def proxy(self, space: SearchSpace) -> Recipe:
        try:
            document = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise SpaceError(f"{self.path} is no valid TOML: {error}") from None
        for section, content in document.items():
            if section != "proxy" or not isinstance(content, dict):
                raise self._error(section, None, "a file for --proxy holds the section [proxy] and nothing else")
        given = document.get("proxy", {})
        read = self._settings("proxy", Recipe, given)
        recipe = dataclasses.replace(space.recipe, **{key: getattr(read, key) for key in given})
        self._check_numbers(space.data, recipe)
        return recipe

    def _base(self, section: dict[str, Any]) -> dict[str, Any]:
        fields = dict(section)
        try:
            name = fields.pop("published", None)
            start = SpikformerConfig() if name is None else published.config(str(name))
            values = start.to_dict()
            for path, value in _flattened(fields):
                if path != "stages" and not _known(values, path):
                    raise ConfigError(f'unknown field "{path}". {nearest(path, _paths(values))}', (path,))
                _assign(values, path, value)
            return SpikformerConfig.from_dict(values).to_dict()
        except ConfigError as error:
            raise self._error("base", error.fields[0] if error.fields else None, str(error)) from None

    def _axis(self, name: str, choices: Any, base: dict[str, Any]) -> Axis:
        if not isinstance(choices, list) or not choices:
            raise self._error("axes", name, f"must be a list of choices, not {choices!r}")
        try:
            keys = [_key(choice) for choice in choices]
        except TypeError as error:
            raise self._error("axes", name, f"{choices} has a choice that no field can have: {error}") from None
        if len(set(map(repr, keys))) < len(keys) or len(set(keys)) < len(keys):
            raise self._error("axes", name, f"{choices} has a choice twice")
        if name == "neuron_placement":
            for key in keys:
                if key not in PLACEMENTS:
                    raise self._error("axes", name, f'"{key}" is no placement. {nearest(str(key), PLACEMENTS)}')
            return Axis(name, {key: _PUBLISHED_PLACEMENT | PLACEMENTS[str(key)] for key in keys})
        path = AXES.get(name, name)
        self._check_searchable("axes", name, path)
        if not _known(base, path):
            valid = [*AXES, "neuron_placement", *_paths(base)]
            raise self._error("axes", name, f"unknown axis. {nearest(name, valid)}")
        return Axis(name, {key: {path: choice} for key, choice in zip(keys, choices, strict=True)})

    def _table(self, name: str, table: Any, base: dict[str, Any]) -> Axis:
        section = f"choices.{name}"
        if not isinstance(table, dict) or not all(isinstance(fields, dict) for fields in table.values()):
            raise self._error(section, None, 'must hold choices such as name = { "stem.kind" = "sps" }')
        if name in AXES or name == "neuron_placement" or _known(base, name):
            raise self._error(section, None, "is the name of an axis already. Give it another")
        choices: dict[Choice, dict[str, Any]] = {choice: dict(_flattened(fields)) for choice, fields in table.items()}
        written = dict.fromkeys(path for fields in choices.values() for path in fields)
        if not written:
            raise self._error(section, None, "has no choice that sets a field")
        for path in written:
            if path != "neuron.threshold" or "neuron.tau" not in written:  # together they keep the gain at the start
                self._check_searchable(section, path, path)
            if not _known(base, path):
                raise self._error(section, path, f"unknown field. {nearest(path, _paths(base))}")
        unchanged = {path: _read(base, path)[0] for path in written}  # what a choice leaves out stays at the base
        return Axis(name, {choice: unchanged | fields for choice, fields in choices.items()})

    def _check_searchable(self, section: str, name: str, path: str) -> None:
        if path in _FIXED:
            raise self._error(section, name, "is fixed by the data. Set it in [base]")
        if path == "neuron.threshold":
            raise self._error(
                section,
                name,
                "changes no network: the batch norm before the neurons takes it up. Search the threshold of the "
                "mixers, whose ratio to their scale matters; or, in a table of choices, set it with neuron.tau, so "
                "that their product, and with it the firing rate at the start, stays",
            )

    def _check_ratio(self, axes: tuple[Axis, ...]) -> None:
        """Attention's threshold and scale are one degree of freedom: only their ratio changes the network."""
        owners = {
            path.rsplit(".", 1)[1]: axis.name
            for axis in axes
            for assignments in axis.assignments.values()
            for path in assignments
            if re.fullmatch(r"stages\.[^.]+\.\w+\.(threshold|scale)", path)
        }
        if len(set(owners.values())) > 1:
            raise self._error(
                "axes",
                owners["scale"],
                f'and "{owners["threshold"]}" search the scale and the threshold of attention: only their ratio '
                "matters. Keep one",
            )

    def _check_overlap(self, axes: tuple[Axis, ...], base: dict[str, Any]) -> None:
        """No field may be set by two axes: one of them would have no effect."""
        owner: dict[str, str] = {}
        for axis in axes:
            for pattern in {path for assignments in axis.assignments.values() for path in assignments}:
                for path in (path for path in _paths(base) if _covers(pattern, path)):
                    if owner.setdefault(path, axis.name) != axis.name:
                        raise self._error("axes", axis.name, f'sets {path}, as does the axis "{owner[path]}". Keep one')

    def _settings(self, section: str, cls: type[_T], values: dict[str, Any]) -> _T:
        hints = typing.get_type_hints(cls)
        typed: dict[str, Any] = {}
        for key, value in values.items():
            if key not in hints:
                raise self._error(section, key, f"unknown key. {nearest(key, hints)}")
            hint = _without_none(hints[key])
            if typing.get_origin(hint) is Literal:
                if value not in typing.get_args(hint):
                    raise self._error(section, key, f"{value!r}: use one of {', '.join(typing.get_args(hint))}")
            elif typing.get_origin(hint) is tuple:
                item, named = typing.get_args(hint)[0], "names"
                if item is float:
                    item, named = (int, float), "numbers"
                if not isinstance(value, list) or not all(
                    isinstance(x, item) and not isinstance(x, bool) for x in value
                ):
                    raise self._error(section, key, f"must be a list of {named}, not {value!r}")
                value = tuple(value) if named == "names" else tuple(map(float, value))
            elif hint is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            elif type(value) is not hint:
                raise self._error(section, key, f"must be {hint.__name__}, not {value!r}")
            typed[key] = value
        return cls(**typed)

    def _check_numbers(self, data: DataSettings, recipe: Recipe) -> None:
        for key in ("search_val", "report_val"):
            if not 0 < getattr(data, key) < 0.5:
                raise self._error("data", key, f"{getattr(data, key)} must be a share between 0 and 0.5")
        limits = {"epochs": 1, "train_images": 0, "batch_size": 2}
        limits |= {"weight_decay": 0, "warmup": 0, "label_smoothing": 0, "spike_penalty": 0}
        for key, low in limits.items():
            if not getattr(recipe, key) >= low:
                raise self._error("proxy", key, f"{getattr(recipe, key)} must be at least {low}")
        for key in ("warmup", "label_smoothing"):
            if getattr(recipe, key) >= 1:
                raise self._error("proxy", key, f"{getattr(recipe, key)} must be below 1")
        if not 0 < recipe.learning_rate < math.inf:
            raise self._error("proxy", "learning_rate", f"{recipe.learning_rate} must be positive")
        rising = all(low < high for low, high in zip((0.0, *recipe.rungs), recipe.rungs, strict=False))
        if not recipe.rungs or not rising or recipe.rungs[-1] != 1:
            raise self._error("proxy", "rungs", f"{list(recipe.rungs)} must rise from above 0 to 1, as [0.05, 1]")

    def _check_channels(self, base: dict[str, Any]) -> None:
        if base["stem"]["in_channels"] not in (1, 3):
            raise self._error("base", "stem.in_channels", "must be 1 (grey) or 3 (colour)")

    def _check_choices(self, space: SearchSpace) -> None:
        """Every choice must be part of some network."""
        for axis in space.axes:
            for choice in axis.choices:
                if not space._completes({axis.name: choice}):
                    try:
                        space.config(space._outside_base | {axis.name: choice})
                    except ConfigError as error:
                        raise self._error(
                            "axes", axis.name, f"{choice} fits no network of this space: {error}"
                        ) from None

    def _reference(self, space: SearchSpace, name: str, value: Any) -> SpikformerConfig:
        try:
            if isinstance(value, str):
                config = published.config(value)
            elif isinstance(value, dict):
                config = self._point(space, value)
            else:
                raise ConfigError(f"must be a published network or a table of choices, not {value!r}")
            space.params(config)
            for path in _FIXED:
                mine, theirs = _read(space.base, path)[0], _read(config.to_dict(), path)[0]
                if mine != theirs:
                    raise ConfigError(f"{path} is {theirs}, the data of this space need {mine}")
        except (ConfigError, SpaceError) as error:
            raise self._error("references", name, str(error)) from None
        return config

    def _point(self, space: SearchSpace, value: dict[str, Any]) -> SpikformerConfig:
        values = copy.deepcopy(space.base)
        axes = {axis.name: axis for axis in space.axes}
        for key, choice in _flattened(value):
            if key in axes and _key(choice) in axes[key].assignments:
                for path, field in axes[key].assignments[_key(choice)].items():
                    _assign(values, path, field)
            elif key in axes:
                listed = ", ".join(map(str, axes[key].choices))
                raise ConfigError(f"{key} {choice!r} is not one of the axis' choices {listed}")
            elif _known(values, key):
                _assign(values, key, choice)
            else:
                raise ConfigError(f'unknown axis or field "{key}". {nearest(key, [*axes, *_paths(values)])}')
        return SpikformerConfig.from_dict(values)

    def _error(self, section: str, key: str | None, message: str) -> SpaceError:
        line = self._line(section, key)
        place = f"{self.path}, line {line}, [{section}]" if line else f"{self.path}, [{section}]"
        return SpaceError(f"{place} {key + ': ' if key else ''}{message}")

    def _line(self, section: str, key: str | None) -> int | None:
        """Where a key stands; of a dotted key, its first part that is written."""
        lines = [line.split("#")[0] for line in self.text.splitlines()]
        start = next((i for i, line in enumerate(lines) if re.match(rf"\s*\[\W*{re.escape(section)}\b", line)), None)
        if start is None or key is None:
            return None if start is None else start + 1
        end = next((i for i in range(start + 1, len(lines)) if re.match(r"\s*\[[\w\"']", lines[i])), len(lines))
        for part in (key, *key.split(".")[::-1]):
            for i in range(start, end):
                if re.search(rf'(^|[\s{{,."\'\[]){re.escape(part)}["\'\]]?\s*[=.\]]', lines[i]):
                    return i + 1
        return start + 1


def _key(choice: Any) -> Choice:
    """A choice as Optuna stores it: lists as JSON.

    Raises:
        TypeError: neither a plain value nor a list of them.
    """
    return choice if isinstance(choice, Choice) else json.dumps(choice)


def _without_none(hint: Any) -> Any:
    """The type of a setting that may also be left out."""
    rest = [arg for arg in typing.get_args(hint) if arg is not type(None)]
    return rest[0] if typing.get_origin(hint) is types.UnionType else hint


def _covers(pattern: str, path: str) -> bool:
    return re.fullmatch(pattern.replace(".", r"\.").replace("*", r"\d+"), path) is not None


def _flattened(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _paths(values: Any, prefix: str = "") -> list[str]:
    """Dotted paths of all fields of a config in plain values; those of stages also with `*`."""
    if isinstance(values, dict):
        return [path for key, value in values.items() for path in _paths(value, f"{prefix}{key}.")]
    if isinstance(values, list) and values and isinstance(values[0], dict):
        stages = [path for i, value in enumerate(values) for path in _paths(value, f"{prefix}{i}.")]
        return [*_paths(values[0], f"{prefix}*."), *stages]
    return [prefix.rstrip(".")]


def _known(values: dict[str, Any], path: str) -> bool:
    own, _, option = path.rpartition(".options.")  # a block of your own declares these
    return path in _paths(values) or (bool(own) and option.isidentifier() and f"{own}.kind" in _paths(values))


def _assign(values: Any, path: str, value: Any) -> None:
    head, _, rest = path.partition(".")
    keys: list[Any] = list(range(len(values))) if head == "*" else [int(head) if isinstance(values, list) else head]
    for key in keys:
        if rest:
            _assign(values[key], rest, value)
        else:
            values[key] = copy.deepcopy(value)


def _read(values: Any, path: str) -> list[Any]:
    head, _, rest = path.partition(".")
    if rest and path.startswith("options."):
        return [values["options"].get(rest)]  # None where the block has no such setting
    found = values if head == "*" else [values[int(head) if isinstance(values, list) else head]]
    return [leaf for value in found for leaf in _read(value, rest)] if rest else list(found)


def _choice_in(axis: Axis, values: dict[str, Any]) -> Choice:
    for choice, assignments in axis.assignments.items():
        leaves = [(leaf, value) for path, value in assignments.items() for leaf in _read(values, path)]
        if all(leaf in (value, None) for leaf, value in leaves):
            return choice
    found = {path: _read(values, path)[0] for path in next(iter(axis.assignments.values()))}
    listed = ", ".join(map(str, axis.choices))
    raise SpaceError(f"{axis.name} {found} is not one of the axis' choices {listed}")


def _decides(axis: Axis) -> bool:
    """Whether an axis sets widths or kinds: what numbers other fields may have, or whether they are read at all.

    These come first, so that the heads offered are those that divide the width, or all where none are read.
    """
    return any(path.endswith((".embed_dim", ".kind")) for assigned in axis.assignments.values() for path in assigned)


def _sets_any(axis: Axis, fields: tuple[str, ...]) -> bool:
    """Whether an axis sets one of the fields of an error (`*` in a path stands for any stage)."""
    patterns = {path for assignments in axis.assignments.values() for path in assignments}
    return any(_covers(pattern, field) for pattern in patterns for field in fields)


__all__ = [
    "AXES",
    "PLACEMENTS",
    "Axis",
    "Constraints",
    "DataSettings",
    "Recipe",
    "SearchSpace",
    "load",
    "names",
    "with_proxy",
]
