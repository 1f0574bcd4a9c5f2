"""The axes of a space file: friendly names, dotted paths, placements of neurons, and tables of choices."""

import json
import re

from nas.errors import SpaceError
from nas.spaces.document import Document
from nas.spaces.effects import reason_against
from nas.spaces.paths import assign, covers, filled, flattened, is_known, paths_in, read
from nas.spaces.space import Axis, Choice
from spikformer.errors import ConfigError
from spikformer.fields import PlainTable, nearest

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

PLACEMENTS: dict[str, dict[str, object]] = {
    "published": {},
    "pool_first": {"stem.pool_order": "before_neuron"},
    # A single q k^T is far smaller than the output's sum over tokens: at 0.125 the map would stay silent.
    "attention_map": {"stages.*.mixer.neuron_on": "map", "stages.*.mixer.scale": 0.5},
    "head": {"head.neuron": True},
}
"""Choices of the axis `neuron_placement`: what each moves away from the first."""

_PUBLISHED_PLACEMENT = {"stem.pool_order": "after_neuron", "stages.*.mixer.neuron_on": "output", "head.neuron": False}
FIXED = ("stem.image_size", "stem.in_channels", "head.num_classes")  # by the data, so one for the whole space


def read_axes(document: Document, base: PlainTable) -> tuple[Axis, ...]:
    """All axes of a file, in the order in which they are sampled; fills options of custom blocks into `base`.

    Raises:
        SpaceError: none, an axis that no network has, or axes that get in each other's way.
    """
    axes = tuple(_axis(document, name, choices, base) for name, choices in flattened(document.sections.get("axes", {})))
    axes += tuple(_table(document, name, table, base) for name, table in document.sections.get("choices", {}).items())
    if not axes:
        raise SpaceError(f"{document.path} has no [axes]: nothing could be searched. Give at least one axis")
    for axis in axes:  # settings of a block of your own start where the axis does
        for path, value in next(iter(axis.assignments.values())).items():
            if ".options." in path and read(base, path)[0] is None:
                assign(base, path, value)
    _check_overlap(document, axes, base)
    _check_ratio(document, axes)
    for axis in axes:
        if reason := reason_against(axis, axes, base):
            raise document.error("axes", axis.name, reason)
    return tuple(sorted(axes, key=lambda axis: not _decides(axis)))


def _axis(document: Document, name: str, choices: object, base: PlainTable) -> Axis:
    if not isinstance(choices, list) or not choices:
        raise document.error("axes", name, f"must be a list of choices, not {choices!r}")
    try:
        keys = [key_of(choice) for choice in choices]
    except TypeError as error:
        raise document.error("axes", name, f"{choices} has a choice that no field can take: {error}") from None
    if len(set(map(repr, keys))) < len(keys) or len(set(keys)) < len(keys):
        raise document.error("axes", name, f"{choices} has a choice twice")
    if name == "neuron_placement":
        for key in keys:
            if key not in PLACEMENTS:
                raise document.error(
                    "axes", name, f'"{key}" is not a neuron placement. {nearest(str(key), PLACEMENTS)}'
                )
        return Axis(name, {key: _PUBLISHED_PLACEMENT | PLACEMENTS[str(key)] for key in keys})
    path = AXES.get(name, name)
    _check_searchable(document, "axes", name, path)
    if not is_known(base, path):
        valid = [*AXES, "neuron_placement", *paths_in(base)]
        raise document.error("axes", name, f"unknown axis. {nearest(name, valid)}")
    values = [_filled(document, "axes", path, choice) for choice in choices]
    return Axis(name, {key: {path: value} for key, value in zip(keys, values, strict=True)})


def _filled(document: Document, section: str, path: str, value: object) -> object:
    try:
        return filled(path, value)
    except ConfigError as error:
        raise document.error(section, path, str(error)) from None


def _table(document: Document, name: str, table: object, base: PlainTable) -> Axis:
    section = f"choices.{name}"
    if not isinstance(table, dict) or not all(isinstance(fields, dict) for fields in table.values()):
        raise document.error(section, None, 'must hold choices such as name = { "stem.kind" = "sps" }')
    if name in AXES or name == "neuron_placement" or is_known(base, name):
        raise document.error(section, None, "is already the name of an axis. Give this table another name")
    choices: dict[Choice, dict[str, object]] = {
        choice: {path: _filled(document, section, path, value) for path, value in flattened(fields)}
        for choice, fields in table.items()
    }
    written = dict.fromkeys(path for fields in choices.values() for path in fields)
    if not written:
        raise document.error(section, None, "has no choice that sets a field")
    for path in written:
        if path != "neuron.threshold" or "neuron.tau" not in written:  # together they keep the gain at the start
            _check_searchable(document, section, path, path)
        if not is_known(base, path):
            raise document.error(section, path, f"unknown field. {nearest(path, paths_in(base))}")
    unchanged = {path: read(base, path)[0] for path in written}  # what a choice leaves out stays at the base
    return Axis(name, {choice: unchanged | fields for choice, fields in choices.items()})


def _check_searchable(document: Document, section: str, name: str, path: str) -> None:
    if path in FIXED:
        raise document.error(section, name, "is fixed by the data. Set it in [base]")
    if path == "neuron.threshold":
        raise document.error(
            section,
            name,
            "changes no network: the batch norm before the neurons absorbs it. Search the threshold of the mixers, "
            "whose ratio to their scale matters. Or set it together with neuron.tau in a table of choices, so that "
            "their product stays the same, and with it the initial firing rate",
        )


def _check_ratio(document: Document, axes: tuple[Axis, ...]) -> None:
    """Attention's threshold and scale are one degree of freedom: only their ratio changes the network."""
    owners = {
        path.rsplit(".", 1)[1]: axis.name
        for axis in axes
        for assignments in axis.assignments.values()
        for path in assignments
        if re.fullmatch(r"stages\.[^.]+\.\w+\.(threshold|scale)", path)
    }
    if len(set(owners.values())) > 1:
        raise document.error(
            "axes",
            owners["scale"],
            f'and "{owners["threshold"]}" search the scale and the threshold of attention: only their ratio '
            "matters. Keep one",
        )


def _check_overlap(document: Document, axes: tuple[Axis, ...], base: PlainTable) -> None:
    """No field may be set by two axes: one of them would have no effect."""
    owner: dict[str, str] = {}
    for axis in axes:
        for pattern in {path for assignments in axis.assignments.values() for path in assignments}:
            for path in (path for path in paths_in(base) if covers(pattern, path)):
                if owner.setdefault(path, axis.name) != axis.name:
                    raise document.error("axes", axis.name, f'sets {path}, as does the axis "{owner[path]}". Keep one')


def key_of(choice: object) -> Choice:
    """A choice as Optuna stores it: lists as JSON.

    Raises:
        TypeError: neither a plain value nor a list of them.
    """
    return choice if isinstance(choice, Choice) else json.dumps(choice)


def _decides(axis: Axis) -> bool:
    """Whether an axis sets widths or kinds: what numbers other fields may have, or whether they are read at all.

    These come first, so that the heads offered are those that divide the width, or all where none are read.
    """
    return any(path.endswith((".embed_dim", ".kind")) for assigned in axis.assignments.values() for path in assigned)


__all__ = ["AXES", "FIXED", "PLACEMENTS", "key_of", "read_axes"]
