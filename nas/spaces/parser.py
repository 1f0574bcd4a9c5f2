"""Reading of search spaces: a TOML file names a base network and the axes along which it may change.

    [base]        a published network (`published = "..."`) and fields of the config that differ from it
    [axes]        axis = choices; a friendly name from `nas.spaces.axes.AXES`, "neuron_placement", or a dotted path
                  into the config, such as "stem.pool_order" or "stages.1.mixer.kind"
    [choices.X]   the axis X, each of whose choices sets several fields: name = { path = value, ... }
    [references]  name = a published network or the choices of one point; evaluated first, and counted
    [data]        `DataSettings`
    [proxy]       `Recipe` of the short training
    [constraints] `Constraints` on the networks that are looked for
    [hypervolume] `ReferencePoint` from which hypervolume is measured

Every sampled config is valid: choices that no remaining axis can mend are not offered. No torch here.
"""

import dataclasses
import math
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TypeVar

from nas.errors import SpaceError
from nas.settings import EVENT_SPLITS, Constraints, DataSettings, Recipe, ReferencePoint
from nas.spaces.axes import FIXED, key_of, read_axes
from nas.spaces.document import Document
from nas.spaces.paths import assign, copied, flattened, is_known, paths_in, read
from nas.spaces.space import SearchSpace
from spikformer import plugins, published
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.fields import PlainTable, nearest

_Asked = TypeVar("_Asked", Constraints, ReferencePoint)

_SECTIONS = ("base", "axes", "choices", "references", "data", "proxy", "constraints", "hypervolume")


def space_names() -> list[str]:
    """Names of the spaces that come with the project."""
    return sorted(path.stem for path in _folder().iterdir() if path.suffix == ".toml")


def load_space(name_or_path: str | Path) -> SearchSpace:
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
        space = _Parser(Document.read(path)).parse()
    except FileNotFoundError:
        raise SpaceError(f'no search space "{name_or_path}". {nearest(str(name_or_path), space_names())}') from None
    plugins.allow(*sorted(_blocks(space)), folder=path.parent.absolute())
    return space


def check_blocks(space: SearchSpace) -> None:
    """Import the user's blocks in a space: one that is not there is found before the first training, not when drawn.

    Raises:
        ConfigError: a module or class that is missing.
        TrustError: one that no space file of the user's named.
    """
    for kind in sorted(_blocks(space)):
        plugins.resolve(kind)


def _blocks(space: SearchSpace) -> set[str]:
    """References to blocks of the user's own, in what a space's networks may be."""
    assigned = [item for axis in space.axes for fields in axis.assignments.values() for item in fields.items()]
    whole = [space.base, *(config.to_dict() for config in space.references.values())]
    return {kind for values in whole for kind in _kinds("", values)} | {
        kind for path, value in assigned for kind in _kinds(path, value)
    }


def _kinds(path: str, value: object) -> Iterator[str]:
    if isinstance(value, (dict, list)):
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
        return dataclasses.replace(space, recipe=_Parser(Document.read(Path(path))).proxy(space))
    except FileNotFoundError:
        raise SpaceError(f"there is no file {path}. `validate-proxy` writes one") from None


def _folder() -> Path:
    """Space files: beside the packages in a clone, inside `nas` in an installed wheel."""
    package = Path(str(resources.files("nas")))
    installed = package / "search_spaces"
    return installed if installed.is_dir() else package.parent / "search_spaces"


class _Parser:
    """Makes a space of a document."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def parse(self) -> SearchSpace:
        document, sections = self._document, self._document.sections
        for section, content in sections.items():
            if section not in _SECTIONS:
                raise document.error(section, None, f"unknown section. {nearest(section, _SECTIONS)}")
            if not isinstance(content, dict):
                raise document.error(section, None, "must be a section of keys and values")
        base = self._base(sections.get("base", {}))
        data = document.settings("data", DataSettings, sections.get("data", {}))
        _check_data(document, data, base)
        axes = read_axes(document, base)
        recipe = document.settings("proxy", Recipe, sections.get("proxy", {}))
        constraints = self._asked("constraints", Constraints)
        reference_point = self._asked("hypervolume", ReferencePoint) if "hypervolume" in sections else None
        space = SearchSpace(document.path.stem, base, axes, {}, data, recipe, constraints, reference_point)
        _check_numbers(document, data, recipe)
        self._check_choices(space)
        references = {
            name: self._reference(space, name, value) for name, value in sections.get("references", {}).items()
        }
        return dataclasses.replace(space, references=references)

    def proxy(self, space: SearchSpace) -> Recipe:
        """The recipe of a space, with what a file of [proxy] alone says otherwise."""
        document = self._document
        for section, content in document.sections.items():
            if section != "proxy" or not isinstance(content, dict):
                raise document.error(section, None, "a file for --proxy must hold the section [proxy] and nothing else")
        values = document.sections.get("proxy", {})
        read = document.settings("proxy", Recipe, values)
        recipe = dataclasses.replace(space.recipe, **{key: getattr(read, key) for key in values})
        _check_numbers(document, space.data, recipe)
        return recipe

    def _asked(self, section: str, cls: type[_Asked]) -> _Asked:
        """A section whose values its class checks, which does not know where they stand."""
        document = self._document
        try:
            return document.settings(section, cls, document.sections.get(section, {}))
        except SpaceError as error:
            has_place = str(error).startswith(str(document.path))
            raise (error if has_place else document.error(section, None, str(error))) from None

    def _base(self, section: PlainTable) -> PlainTable:
        fields = dict(section)
        try:
            name = fields.pop("published", None)
            start = SpikformerConfig() if name is None else published.config(str(name))
            values = start.to_dict()
            for path, value in flattened(fields):
                if path != "stages" and not is_known(values, path):
                    raise ConfigError(f'unknown field "{path}". {nearest(path, paths_in(values))}', (path,))
                assign(values, path, value)
            return SpikformerConfig.from_dict(values).to_dict()
        except ConfigError as error:
            raise self._document.error("base", error.fields[0] if error.fields else None, str(error)) from None

    def _check_choices(self, space: SearchSpace) -> None:
        """Every choice must be part of some network."""
        for axis in space.axes:
            for choice in axis.choices:
                if reason := space.reason_against(axis.name, choice):
                    message = f"{choice} fits no network of this space: {reason}"
                    raise self._document.error("axes", axis.name, message)

    def _reference(self, space: SearchSpace, name: str, value: object) -> SpikformerConfig:
        try:
            if isinstance(value, str):
                config = published.config(value)
            elif isinstance(value, dict):
                config = self._point(space, value)
            else:
                raise ConfigError(f"must be a published network or a table of choices, not {value!r}")
            space.params(config)
            for path in FIXED:
                mine, theirs = read(space.base, path)[0], read(config.to_dict(), path)[0]
                if mine != theirs:
                    raise ConfigError(f"{path} is {theirs}, but the data of this space need {mine}")
        except (ConfigError, SpaceError) as error:
            raise self._document.error("references", name, str(error)) from None
        return config

    def _point(self, space: SearchSpace, value: PlainTable) -> SpikformerConfig:
        values = copied(space.base)
        axes = {axis.name: axis for axis in space.axes}
        for key, choice in flattened(value):
            if key in axes and key_of(choice) in axes[key].assignments:
                for path, field in axes[key].assignments[key_of(choice)].items():
                    assign(values, path, field)
            elif key in axes:
                listed = ", ".join(map(str, axes[key].choices))
                raise ConfigError(f"{key} {choice!r} is not one of this axis's choices: {listed}")
            elif is_known(values, key):
                assign(values, key, choice)
            else:
                raise ConfigError(f'unknown axis or field "{key}". {nearest(key, [*axes, *paths_in(values)])}')
        return SpikformerConfig.from_dict(values)


def _check_data(document: Document, data: DataSettings, base: PlainTable) -> None:
    """That the network takes such data, and that every setting of the data has an effect."""
    channels = base["stem"]["in_channels"]
    if not data.has_events:
        if channels not in (1, 3):
            raise document.error("base", "stem.in_channels", "must be 1 (grey) or 3 (colour)")
        for key, value in dataclasses.asdict(data).items():
            if key not in data.identity() and value != getattr(DataSettings(), key):
                raise document.error(
                    "data", key, f'has no effect on images, such as those of "{data.dataset}". Remove it'
                )
        return
    if channels not in (2, 3):
        raise document.error(
            "base", "stem.in_channels", "must be 2 (the polarities of events) or 3 (these and their sum)"
        )
    if data.sensor and (len(data.sensor) != 2 or min(data.sensor) < 1):
        raise document.error("data", "sensor", f"{list(data.sensor)} must be a width and a height, such as [346, 260]")
    if data.sensor and data.dataset != "event_folder":
        raise document.error("data", "sensor", f'has no effect on "{data.dataset}", whose sensor is known. Remove it')
    known = EVENT_SPLITS.get(data.dataset, ())
    if data.split and data.split not in known:
        remedy = nearest(data.split, known) if known else "Remove it: train/ and test/ are cut already"
        if data.dataset == "dvs_digits":
            remedy = "Remove it: as with digits, report-val is what is tested on"
        raise document.error("data", "split", f'"{data.split}" is not a split of "{data.dataset}". {remedy}')


def _check_numbers(document: Document, data: DataSettings, recipe: Recipe) -> None:
    for key in ("search_val", "report_val"):
        if not 0 < getattr(data, key) < 0.5:
            raise document.error("data", key, f"{getattr(data, key)} must be a share between 0 and 0.5")
    limits = {"epochs": 1, "train_images": 0, "batch_size": 2}
    limits |= {"weight_decay": 0, "warmup": 0, "label_smoothing": 0, "spike_penalty": 0}
    for key, low in limits.items():
        if not getattr(recipe, key) >= low:
            raise document.error("proxy", key, f"{getattr(recipe, key)} must be at least {low}")
    if recipe.augment.startswith("event_") and not data.has_events:
        raise document.error(
            "proxy",
            "augment",
            f'"{recipe.augment}" moves frames of events, but "{data.dataset}" has images. Use "shift", "shift_flip" or '
            '"auto"',
        )
    for key in ("warmup", "label_smoothing"):
        if getattr(recipe, key) >= 1:
            raise document.error("proxy", key, f"{getattr(recipe, key)} must be below 1")
    if not 0 < recipe.learning_rate < math.inf:
        raise document.error("proxy", "learning_rate", f"{recipe.learning_rate} must be positive")
    rising = all(low < high for low, high in zip((0.0, *recipe.rungs), recipe.rungs, strict=False))
    if not recipe.rungs or not rising or recipe.rungs[-1] != 1:
        raise document.error("proxy", "rungs", f"{list(recipe.rungs)} must rise from above 0 to 1, such as [0.05, 1]")


__all__ = ["check_blocks", "load_space", "space_names", "with_proxy"]
