"""The id of a network: equal for equal networks, different for different ones, and the same in later versions.

An id hashes the fields of a network's canonical form that differ from their defaults, at every depth. A field that is
added later with a default says nothing about the networks from before, whose ids stay. What that asks of a change:

* A new field has a constant default, and with it older networks stay as they are. One whose value is computed from
  other fields would always be hashed: keep the default in the field, and compute the value where it is read.
* A default that changes gives the old default's ids to other networks, and so do a new name of a field and a
  `canonical()` that holds other networks for equal. Then VERSION rises: all ids change, and a search refuses studies
  of the earlier version. `tests/data/config_ids.json` holds ids and defaults on record, so that none of it goes unseen.

Standard library only.
"""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from spikformer import plugins
from spikformer.fields import PlainTable

VERSION = 1
"""Of what ids hash. Ids of different versions do not compare."""

_NOWHERE = object()  # the default of a field that has none: nothing equals it


def id_of(canonical: object) -> str:
    """The id of a network in its canonical form, such as "n1-0123456789ab": the version, then 12 hex digits.

    Raises:
        TrustError: the network has a block of a module that the user did not name.
        ConfigError: the module of a block cannot be imported.
    """
    text = json.dumps(distinguishing(canonical), sort_keys=True)
    return f"n{VERSION}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def is_id(text: str) -> bool:
    """Whether a text is the id of a network; 12 hex digits alone are one from before ids had a version."""
    return re.fullmatch("(n[1-9][0-9]*-)?[0-9a-f]{12}", text) is not None


def distinguishing(part: Any) -> PlainTable:
    """The fields of a part that differ from their defaults, as JSON has them; options as their block declares them.

    Raises:
        TrustError, ConfigError: as `id_of`.
    """
    values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    options = _distinguishing_options(part) if ":" in values.get("kind", "") else {}
    fields = {name: _plain(value) for name, value in _differing(values, type(part)).items() if name != "options"}
    return fields | ({"options": options} if options else {})


def _distinguishing_options(part: Any) -> PlainTable:
    values = part.options.to_dict()
    declared = plugins.declared_by(part.kind)
    differing = values if declared is None else _differing(values, declared)
    return {name: _plain(value) for name, value in differing.items()}


def _differing(values: Mapping[str, object], cls: type) -> dict[str, object]:
    defaults = defaults_of(cls)
    return {name: value for name, value in values.items() if value != defaults.get(name, _NOWHERE)}


@functools.cache
def defaults_of(cls: type) -> dict[str, object]:
    """Name -> default of the fields of a dataclass that have one."""
    defaults = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
    return defaults


def _plain(value: object) -> object:
    """A value as JSON has it; equal numbers are written alike, because 1, 1.0 and True are equal options."""
    if dataclasses.is_dataclass(value):
        return distinguishing(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()) else value


__all__ = ["VERSION", "defaults_of", "distinguishing", "id_of", "is_id"]
