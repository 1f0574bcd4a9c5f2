"""The ids on record, in `tests/data/config_ids.json`; `python -m tests.id_record` writes them anew.

Published networks are there by name. Random ones are written out in full, and stay when the record is written anew: how
they are drawn and the defaults of their fields may change, their ids may not. So are the defaults of all parts.
"""

import dataclasses
import json
import random
import textwrap
from pathlib import Path
from typing import Any

from spikformer import SpikformerConfig, identity, published
from spikformer.config import (
    ConvConfig,
    DownConfig,
    HeadConfig,
    MixerConfig,
    MLPConfig,
    NeuronConfig,
    StageConfig,
    StemConfig,
)
from tests.helpers import random_config

FILE = Path(__file__).parent / "data" / "config_ids.json"
NETWORKS = 200
PARTS: tuple[Any, ...] = (
    *(SpikformerConfig, NeuronConfig, StemConfig, ConvConfig),
    *(StageConfig, DownConfig, MixerConfig, MLPConfig, HeadConfig),
)


def networks(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Id -> values of the random networks, every field of their time among them."""
    return {old: _joined(record["shared"], differing) for old, differing in record["random"].items()}


def defaults() -> dict[str, Any]:
    """Class -> field -> default today, a part by what distinguishes it: a new field in it is no change of it."""
    return {
        part.__name__: {name: _written(value) for name, value in identity.defaults_of(part).items()} for part in PARTS
    }


def _written(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_written(item) for item in value]
    return identity.distinguishing(value) if dataclasses.is_dataclass(value) else value


def _joined(shared: Any, differing: Any) -> Any:
    if isinstance(shared, dict):
        return shared | {name: _joined(shared[name], value) for name, value in differing.items()}
    if isinstance(shared, list) and isinstance(shared[0], dict):
        return [_joined(*pair) for pair in zip(shared, differing, strict=True)]
    return differing


def _differing(shared: Any, values: Any) -> Any:
    """What `_joined` makes the values of again; of a list of parts, there must be as many."""
    if isinstance(values, dict):
        return {name: _differing(shared[name], value) for name, value in values.items() if value != shared[name]}
    if isinstance(values, list) and isinstance(values[0], dict):
        return [_differing(*pair) for pair in zip(shared, values, strict=True)]
    return values


def _drawn() -> list[dict[str, Any]]:
    different: dict[str, dict[str, Any]] = {}
    seed = 0
    while len(different) < NETWORKS:
        config = random_config(random.Random(seed))
        different.setdefault(config.config_id, config.to_dict())
        seed += 1
    return list(different.values())


def _write() -> None:
    before = json.loads(FILE.read_text()) if FILE.exists() else None
    every = _drawn() if before is None else list(networks(before).values())
    shared = every[0]
    record = {
        "version": identity.VERSION,
        "defaults": defaults(),
        "published": {name: published.config(name).config_id for name in published.names()},
        "shared": shared,
        "random": {SpikformerConfig.from_dict(each).config_id: _differing(shared, each) for each in every},
    }
    if before is not None and before["version"] == identity.VERSION:
        _check_that_ids_stay(before, record)
    tables = (f"{json.dumps(name)}: {_lines(value)}" for name, value in record.items())
    FILE.write_text("{\n" + ",\n".join(tables) + "\n}\n")


def _check_that_ids_stay(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Published networks may be corrected, and new fields be added; all else takes another version."""
    fields = [(part, name, old) for part, own in before["defaults"].items() for name, old in own.items()]
    changed = [f"{part}.{name}" for part, name, old in fields if now["defaults"].get(part, {}).get(name, part) != old]
    changed += sorted(before["random"].keys() - now["random"].keys())
    if changed:
        raise SystemExit(f"Not written: {', '.join(changed)} changed. Raise VERSION in spikformer/identity.py first")


def _lines(value: Any) -> str:
    """JSON, with a line for each entry of a table."""
    if not isinstance(value, dict):
        return json.dumps(value)
    entries = ",\n".join(f"{json.dumps(key)}: {json.dumps(item)}" for key, item in value.items())
    return "{\n" + textwrap.indent(entries, " ") + "\n}"


if __name__ == "__main__":
    _write()
