"""Contents as the bytes of a table's file: equal for equal contents, in whatever order they came together."""

import datetime
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from nas import files
from nas.costs import as_dicts
from nas.errors import TableError
from nas.tables.card import card
from nas.tables.configs import packed
from nas.tables.contents import SIGNALS, Contents
from nas.tables.layout import COLUMNS, DYNAMIC, FIGURES, HEADER, LICENCE, OVERHEADS, SCHEMA, STATIC
from nas.training import Candidate
from spikformer import schema
from spikformer.fields import PlainTable


def encoded(name: str, contents: Contents) -> bytes:
    """The file of a table of that name.

    Raises:
        TableError: there are no trainings, or two of them disagree about their network.
    """
    if not contents.trainings:
        raise TableError(f"table {name} has no training yet. Run `table run` first")
    writer = _Writer(contents)
    header = {
        schema.KEY: SCHEMA,
        "name": name,
        "space": contents.settings.space,
        "licence": LICENCE,
        "card": card(contents),
        "identity": contents.settings.identity,
        "account": list(contents.settings.account),
        **writer.header(),
    }
    values = writer.arrays()
    arrays = {key: np.ascontiguousarray(values[key], dtype=COLUMNS[key].dtype) for key in COLUMNS}
    return safetensors.numpy.save(arrays, {HEADER: _json(header)})


def save(folder: Path, name: str, contents: Contents) -> Path:
    """Write a table under its name and the first 16 hex digits of its SHA-256; the same file again where it is there.

    Raises:
        TableError: as `encoded`.
        OutputError: the folder cannot be written.
    """
    data = encoded(name, contents)
    path = folder / f"{name}.{hashlib.sha256(data).hexdigest()[:16]}.safetensors"
    return files.write(path, lambda partial: partial.write_bytes(data))


class _Writer:
    """Sorts networks and trainings, and gives each distinct thing that they refer to a place in a list."""

    def __init__(self, contents: Contents) -> None:
        self.keys = sorted(contents.trainings)
        self.records = [contents.trainings[key] for key in self.keys]
        by_network: dict[str, list[Candidate]] = {}
        for key, record in zip(self.keys, self.records, strict=True):
            by_network.setdefault(key.config_id, []).append(record)
        self.ids = list(by_network)  # sorted, as the keys are
        self._networks = by_network
        self._signals = [contents.signals.get(identity, {}) for identity in self.ids]
        self._parts, self._places_of_parts = packed([records[0].config for records in by_network.values()])
        self._operations = [_agreed(i, records, _static_operations) for i, records in by_network.items()]
        self._layers = [_agreed(i, records, _paths) for i, records in by_network.items()]
        self._outcomes = [_json([record.status, record.reason]) for record in self.records]
        self._provenances = [_json(_provenance(record)) for record in self.records]

    def header(self) -> PlainTable:
        """The lists that tensors refer to, and what all trainings share."""
        return {
            "train_images": _one(self.records, "train_images"),
            "report_val_images": _one(self.records, "report_val_images"),
            "networks": self.ids,
            "config_parts": self._parts,
            "operations": [json.loads(text) for text in _distinct(self._operations)],
            "layers": _distinct(self._layers),
            "outcomes": [json.loads(text) for text in _distinct([self._outcomes])],
            "provenances": [json.loads(text) for text in _distinct([self._provenances])],
        }

    def arrays(self) -> dict[str, npt.ArrayLike]:
        """Every tensor of the file by name."""
        return {**self._of_networks(), **self._of_trainings(), **self._of_counts()}

    def _of_networks(self) -> dict[str, npt.ArrayLike]:
        return {
            "network.parts": self._places_of_parts,
            "network.parameters": [records[0].parameters for records in self._networks.values()],
            "network.signals": [[signals.get(name, math.nan) for name in SIGNALS] for signals in self._signals],
            "network.operations": [len(texts) for texts in self._operations],
            "network.layers": [len(paths) for paths in self._layers],
            "network.operation": _places(self._operations),
            "network.layer": _places(self._layers),
        }

    def _of_trainings(self) -> dict[str, npt.ArrayLike]:
        number = {identity: i for i, identity in enumerate(self.ids)}
        records = self.records
        return {
            "training.network": [number[key.config_id] for key in self.keys],
            "training.share": [key.share for key in self.keys],
            "training.seed": [key.seed for key in self.keys],
            "training.images_seen": [record.images_seen for record in records],
            "training.counted_images": [record.counted_images for record in records],
            "training.outcome": _places([self._outcomes]),
            "training.provenance": _places([self._provenances]),
            "training.wall_s": [record.provenance["wall_s"] for record in records],
            "training.finished": [_seconds(record.provenance.get("finished_at")) for record in records],
            **{f"training.{name}": [_figure(getattr(record, name)) for record in records] for name in FIGURES},
            "training.overheads": [[getattr(record.overheads, name) for name in OVERHEADS] for record in records],
            "training.is_counted": [bool(record.operations) for record in records],
            "training.epochs": [len(record.history) for record in records],
            "epoch.loss": [epoch.loss for record in records for epoch in record.history],
            "epoch.accuracy": [epoch.accuracy for record in records for epoch in record.history],
        }

    def _of_counts(self) -> dict[str, npt.ArrayLike]:
        counted = [record for record in self.records if record.operations]
        return {
            **{f"count.{name}": [getattr(op, name) for r in counted for op in r.operations] for name in DYNAMIC},
            "layer.firing_rate": [rate for record in counted for rate in record.firing_rates.values()],
        }


def _static_operations(record: Candidate) -> tuple[str, ...]:
    """Each operation's fields that its training does not change, as a text."""
    return tuple(_json([values[name] for name in STATIC]) for values in as_dicts(record.operations))


def _paths(record: Candidate) -> tuple[str, ...]:
    return tuple(record.firing_rates)


def _agreed(
    identity: str, records: Sequence[Candidate], what: Callable[[Candidate], tuple[str, ...]]
) -> tuple[str, ...]:
    """What all counted trainings of a network have; nothing where none was counted.

    Raises:
        TableError: they differ.
    """
    values = {what(record) for record in records if record.operations}
    if len(values) > 1 or len({record.parameters for record in records}) > 1:
        raise TableError(
            f"two trainings of network {identity} have different layers, so one of them was damaged or made by another "
            "version. Leave it out"
        )
    return next(iter(values), ())


def _one(records: Sequence[Candidate], name: str) -> int:
    """What all records say.

    Raises:
        TableError: they differ.
    """
    numbers = sorted({int(getattr(record, name)) for record in records})
    if len(numbers) > 1:
        raise TableError(f"trainings have {name} {numbers[0]} and {numbers[-1]}: they are of different images")
    return numbers[0]


def _provenance(record: Candidate) -> PlainTable:
    """What many trainings share; when they ended and how long they took are numbers of their own."""
    return {key: value for key, value in record.provenance.items() if key not in ("wall_s", "finished_at")}


def _seconds(moment: object) -> int:
    """Since 1970; -1 where a record does not say it, or not as this program writes it."""
    try:
        parsed = datetime.datetime.fromisoformat(str(moment))
    except ValueError:
        return -1
    return int(parsed.timestamp()) if parsed.tzinfo is not None and parsed.timestamp() >= 0 else -1


def _figure(value: float | None) -> float:
    return math.nan if value is None else value


def _distinct(rows: Iterable[Sequence[str]]) -> list[str]:
    return sorted({text for row in rows for text in row})


def _places(rows: Sequence[Sequence[str]]) -> list[int]:
    """The place of each text of all rows among the distinct ones."""
    place = {text: i for i, text in enumerate(_distinct(rows))}
    return [place[text] for row in rows for text in row]


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


__all__ = ["encoded", "save"]
