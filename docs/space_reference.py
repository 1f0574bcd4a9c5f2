"""The page of all keys of a space file, from the dataclasses that they fill and what these say of their fields."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

from tables import code, table

from nas.settings import Constraints, DataSettings, Recipe, ReferencePoint
from nas.spaces.axes import AXES, FIXED, PLACEMENTS
from spikformer.config import READS, SpikformerConfig
from spikformer.fields import Options, types_of

_HEAD = """# Space files: every key

This page is generated from the settings themselves by `python docs/build.py`.

A search space is one TOML file, and `--space` takes its path. It names a base network, the axes along which networks
may differ from it, and the images and the training that judge them. The files in `search_spaces/` are the examples.

```toml
[base]
published = "spikingformer_cifar10_4_256"

[axes]
attention = ["ssa", "sdsa", "qkta", "qkca"]
time_steps = [1, 2, 4]
"stages.0.mixer.threshold" = [0.25, 0.5]

[choices.size]
small = { "stages.*.embed_dim" = 128, "stages.*.depth" = 1 }
large = { "stages.*.embed_dim" = 256, "stages.*.depth" = 2 }

[references]
"Spikingformer-4-256" = "spikingformer_cifar10_4_256"

[data]
dataset = "cifar10"

[proxy]
epochs = 20

[constraints]
max_params = 16_000_000

[hypervolume]
accuracy = 0.8
energy_mj = 0.01
```

A key or section that is not on this page is refused, with its line and the nearest valid name. So is a value of another
type or out of its range, and a choice that is part of no valid network."""

_BASE = """## [base]

The base network is the point from which axes move. Keys that are left out take the defaults below, or the values of the
network that `published` names."""

_PUBLISHED = (
    "The base starts as this published network: `python cli.py inspect NAME` shows one, and "
    "`spikformer.published.names()` lists them."
)

_FIELDS = """All other keys are the fields of the network's config. A dotted path names a field of a part, such as
`stem.pool_order`. A network has one or more stages: `stages.0.depth` is a field of the first one, and `stages.*.depth`,
in axes and choices, is that field of every stage. `stages = [{ depth = 1 }, { depth = 2 }]` writes all stages anew.

A field has no effect on a kind that does not read it. Where a kind may be a block of your own,
`"package.module:Class"` names it ([your_own_block.md](../your_own_block.md)); it reads its `options` and, in a branch,
`layer_scale`."""

_AXES = """## [axes]

Each key is an axis, and its value is the list of its choices, such as `depth = [1, 2]`. The key is one of the friendly
names below, or the dotted path of any field of `[base]`. Axes that decide widths and kinds are sampled first. Two axes
must not set the same field."""

_NO_AXIS = (
    "`neuron.threshold` by itself is none either: it changes no network, because the batch norm before the neuron "
    "takes it up."
)

_REST = """## [choices.NAME]

The table `[choices.NAME]` is an axis with the name NAME. Each of its keys is a choice, and the value of the key is a
table of fields of `[base]`, by their paths, that this choice sets together. A field that one choice sets and another
leaves out stays at the base in the latter.

## [references]

Each key names a reference point, which is evaluated first and in full, and counts as a trial. Its value is the name of
a published network, or a table with a choice for some axes and values for some fields of `[base]`; the rest stays at
the base. A reference must be a point of the space."""

_PART_TITLES = {
    "": "The whole network",
    "neuron": "The neuron",
    "stem": "The stem",
    "stem.chain.*": "A convolution of a chain",
    "stages.*": "A stage",
    "stages.*.down": "Between stages",
    "stages.*.mixer": "The token mixer",
    "stages.*.mlp": "The channel mixer",
    "head": "The head",
}
_MIXER = (
    "`stages.*.local` has the same keys; its kind is `identity` by default, which does nothing. Where `stages` writes "
    "a mixer anew, its `num_heads` is 8 by default."
)
_CONV = (
    "`stem.chain` lists the convolutions of a stem of kind `chain`, and `stages.*.down.chain`, with the same keys, "
    "those between stages. `stem.chain.0.width` is a field of the first one. `stem.chain = [{ width = 0.5 }, { pool = "
    "true }]` writes all of them anew; what an entry leaves out takes the default below."
)
_COLUMNS = ("key", "meaning", "type", "unit", "default")


def page() -> str:
    """The page as Markdown."""
    published = (code("published"), _PUBLISHED, "text", "", "not set")
    lines = [_HEAD, "", _BASE, "", *table(_COLUMNS, [published]), "", _FIELDS]
    for path, cls in _parts():
        lines += ["", *_part(path, cls)]
    lines += ["", _AXES, "", *_axes(), "", _REST]
    sections = {"data": DataSettings(), "proxy": Recipe(), "constraints": Constraints()}
    for section, filled in (sections | {"hypervolume": ReferencePoint(0.8, 0.01)}).items():
        lines += ["", f"## [{section}]", "", _paragraph(type(filled)), "", *table(_COLUMNS, _rows(filled))]
    return "\n".join(lines) + "\n"


def described(cls: type) -> dict[str, tuple[str, str]]:
    """Field -> its unit and its meaning, from the class's docstring.

    Raises:
        KeyError: a field has no description.
    """
    section = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+)(?: \(([^)]*)\))?: (.*(?:\n     .*)*)", section, re.MULTILINE)
    texts = {name: (unit, " ".join(text.split())) for name, unit, text in entries}
    return {field.name: texts[field.name] for field in dataclasses.fields(cls)}


def _parts() -> Iterator[tuple[str, Any]]:
    """Path -> dataclass of the config's parts; local and mixer are of one class, and shown once."""
    yield "", SpikformerConfig
    hints = types_of(SpikformerConfig)
    (stage, _) = typing.get_args(hints["stages"])
    (conv, _) = typing.get_args(types_of(hints["stem"])["chain"])
    yield from (("neuron", hints["neuron"]), ("stem", hints["stem"]), ("stem.chain.*", conv), ("stages.*", stage))
    inner = types_of(stage)
    yield from ((f"stages.*.{name}", inner[name]) for name in ("down", "mixer", "mlp"))
    yield "head", hints["head"]


def _part(path: str, cls: Any) -> Iterator[str]:
    yield from (f"### {_PART_TITLES[path]}", "")
    if path == "stages.*.mixer":
        yield from (_MIXER, "")
    if path == "stem.chain.*":
        yield from (_CONV, "")
        yield from table(_COLUMNS, _rows(cls(), path))
        return
    if path == "stem":
        yield from (_paragraph(cls, 1), "")
    kinds = READS.get(path.rpartition(".")[2], {})
    columns = (*_COLUMNS, "read by") if kinds else _COLUMNS
    yield from table(columns, _rows(_default(path), path, kinds))


def _default(path: str) -> Any:
    """The part of the default network at a path."""
    part: Any = SpikformerConfig()
    for name in filter(None, path.split(".")):
        part = part[0] if name == "*" else getattr(part, name)
    return part


def _rows(default: Any, path: str = "", kinds: dict[str, tuple[str, ...]] | None = None) -> Iterator[tuple[str, ...]]:
    """A row for each field of a part that is no part itself."""
    cls = type(default)
    for field in dataclasses.fields(cls):
        hint = types_of(cls)[field.name]
        if field.name == "stages" or (dataclasses.is_dataclass(hint) and hint is not Options):
            continue
        unit, meaning = described(cls)[field.name]
        key = f"{path}.{field.name}" if path else field.name
        words = _kinds(kinds, hint) if kinds and field.name == "kind" else _type(hint)
        is_required = field.default is field.default_factory is dataclasses.MISSING
        value = "required" if is_required else "none" if hint is Options else _value(getattr(default, field.name))
        row = (code(f"{key}.NAME" if hint is Options else key), _escaped(meaning), words, unit, value)
        yield (*row, _readers(field.name, kinds)) if kinds else row


def _kinds(kinds: dict[str, tuple[str, ...]], hint: Any) -> str:
    return _either([*map(code, kinds), *(["a block of your own"] if hint is str else [])])


def _either(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _readers(field: str, kinds: dict[str, tuple[str, ...]]) -> str:
    """Kinds that read a field; those that all kinds read are not listed in the table of the config."""
    if field == "options":
        return "blocks of your own"
    readers = [kind for kind, fields in kinds.items() if field in fields]
    return ", ".join(map(code, readers)) if readers and len(readers) < len(kinds) else "all"


def _type(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return _either([code(value) for value in arguments])
    if origin in (typing.Union, types.UnionType):
        return _type(arguments[0])
    if origin is tuple:
        if dataclasses.is_dataclass(arguments[0]):
            return "list of convolutions"
        count = "" if arguments[-1] is Ellipsis else f"{len(arguments)} times "
        return f"list of {count}{_type(arguments[0])}"
    if hint is Options:
        return "as its class declares"
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}[hint]


def _value(value: object) -> str:
    """A default as TOML writes it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return code(str(value).lower())
    if dataclasses.is_dataclass(value):
        own = [(field.name, getattr(value, field.name), field.default) for field in dataclasses.fields(value)]
        fields = ", ".join(f"{name} = {_value(given).strip('`')}" for name, given, default in own if given != default)
        return code(f"{{ {fields} }}" if fields else "{}")
    if isinstance(value, tuple):
        return code(f"[{', '.join(_value(item).strip('`') for item in value)}]")
    return code(f'"{value}"' if isinstance(value, str) else value)


def _axes() -> list[str]:
    rows = [(code(name), code(path)) for name, path in AXES.items()]
    placements = ", ".join(map(code, PLACEMENTS))
    rows.append((code("neuron_placement"), f"several fields; its choices are {placements}"))
    fields = [
        (code(name), ", ".join(_assigned(path, value) for path, value in assigned.items()) or "nothing")
        for name, assigned in PLACEMENTS.items()
    ]
    lines = [
        *table(("axis", "field of every network that it sets"), rows),
        "",
        "What a choice of `neuron_placement` sets:",
    ]
    lines += ["", *table(("choice", "sets"), fields)]
    fixed = _either([*map(code, FIXED[:-1]), code(FIXED[-1])]).replace(" or ", " and ")
    return [*lines, "", f"{fixed} are no axes: the images fix them. {_NO_AXIS}"]


def _assigned(path: str, value: object) -> str:
    return code(f"{path} = {_value(value).strip('`')}")


def _paragraph(cls: Any, number: int = 0) -> str:
    return _escaped(" ".join(inspect.cleandoc(cls.__doc__).split("\n\n")[number].split()))


def _escaped(text: str) -> str:
    """Text whose stars and angles are shown as they are, but for those in code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"[<*]", r"\\\g<0>", part) for part in parts)


__all__ = ["described", "page"]
