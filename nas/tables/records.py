"""Records of trainings out of the tensors of a table's file."""

import dataclasses
import datetime
import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.costs import Operation, Overheads
from nas.tables.checking import Checked
from nas.tables.contents import SIGNALS, Contents, Key, Settings, Signals
from nas.tables.layout import DYNAMIC, FIGURES, OVERHEADS
from nas.training import Candidate, Epoch
from spikformer.fields import PlainTable

Starts = npt.NDArray[np.int64]


class Records:
    """The trainings of a file by key, each made into a record when it is asked for."""

    def __init__(self, parts: Checked) -> None:
        self._header, self._arrays, self._parts = parts.header, parts.arrays, parts
        self.ids: tuple[str, ...] = tuple(parts.header["networks"])
        self.configs = dict(zip(self.ids, parts.configs, strict=True))
        self._place = {identity: place for place, identity in enumerate(self.ids)}
        columns = (self._arrays[f"training.{name}"].tolist() for name in ("network", "share", "seed"))
        keys = [Key(self.ids[network], share, seed) for network, share, seed in zip(*columns, strict=True)]
        self.rows: dict[Key, int] = {key: row for row, key in enumerate(keys)}
        self.keys_of: dict[str, list[Key]] = {identity: [] for identity in self.ids}
        for key in keys:
            self.keys_of[key.config_id].append(key)

    @property
    def settings(self) -> Settings:
        """What all trainings share."""
        return Settings(self._header["space"], self._header["identity"], tuple(self._header["account"]))

    def contents(self) -> Contents:
        """All of the file, to be merged and written again."""
        signals = {identity: self.signals(identity) for identity in self.ids}
        measured = {i: of for i, of in signals.items() if not all(math.isnan(value) for value in of.values())}
        return Contents(self.settings, {key: self.record(key) for key in self.rows}, measured)

    def signals(self, config_id: str) -> Signals:
        """The zero-cost signals of a network; NaN where they were not computed."""
        values = self._arrays["network.signals"][self._place[config_id]]
        return dict(zip(SIGNALS, map(float, values), strict=True))

    def parameters(self, config_id: str) -> int:
        """Number of trainable parameters of a network."""
        return int(self._arrays["network.parameters"][self._place[config_id]])

    def record(self, key: Key) -> Candidate:
        """The record of a training that is there, with all that a table keeps of it."""
        row = self.rows[key]
        status, reason = self._header["outcomes"][self._int("outcome", row)]
        figures: PlainTable = {name: self._figure(name, row) for name in FIGURES}
        return Candidate(
            config=self.configs[key.config_id],
            config_id=key.config_id,
            reference=None,
            seed=key.seed,
            recipe=self._parts.space.recipe,
            train_images=self._header["train_images"],
            images_seen=self._int("images_seen", row),
            status=status,
            reason=reason,
            parameters=self.parameters(key.config_id),
            report_val_images=self._header["report_val_images"],
            counted_images=self._int("counted_images", row),
            operations=self._operations(row),
            overheads=Overheads(**dict(zip(OVERHEADS, self._arrays["training.overheads"][row].tolist(), strict=True))),
            firing_rates=self._firing_rates(row),
            history=self._history(row),
            provenance=self._provenance(row),
            **figures,
        )

    def _int(self, name: str, row: int) -> int:
        return int(self._arrays[f"training.{name}"][row])

    def _figure(self, name: str, row: int) -> float | None:
        value = float(self._arrays[f"training.{name}"][row])
        return None if math.isnan(value) else value

    def _operations(self, row: int) -> tuple[Operation, ...]:
        columns = [self._slice(f"count.{name}", "operations", row) for name in DYNAMIC]
        counts = zip(*columns, strict=True)
        places = self._slice("network.operation", "network operations", self._int("network", row))
        known = self._parts.operations
        return tuple(
            dataclasses.replace(known[place], **dict(zip(DYNAMIC, numbers, strict=True)))
            for place, numbers in zip(places, counts, strict=bool(self._int("is_counted", row)))
        )

    def _firing_rates(self, row: int) -> dict[str, float]:
        places = self._slice("network.layer", "network layers", self._int("network", row))
        rates, paths = self._slice("layer.firing_rate", "layers", row), self._header["layers"]
        return {paths[place]: rate for place, rate in zip(places, rates, strict=bool(self._int("is_counted", row)))}

    def _history(self, row: int) -> tuple[Epoch, ...]:
        losses, accuracies = (self._slice(f"epoch.{name}", "epochs", row) for name in ("loss", "accuracy"))
        return tuple(Epoch(loss, accuracy) for loss, accuracy in zip(losses, accuracies, strict=True))

    def _provenance(self, row: int) -> PlainTable:
        finished = self._int("finished", row)
        moment = datetime.datetime.fromtimestamp(max(finished, 0), datetime.UTC).isoformat(timespec="seconds")
        return {
            **self._header["provenances"][self._int("provenance", row)],
            **({"finished_at": moment} if finished >= 0 else {}),
            "wall_s": float(self._arrays["training.wall_s"][row]),
        }

    def _slice(self, tensor: str, of: str, row: int) -> list[Any]:
        """The rows of a tensor that belong to a network or a training."""
        start, end = self._starts[of][row : row + 2]
        values: list[Any] = self._arrays[tensor][start:end].tolist()
        return values

    @functools.cached_property
    def _starts(self) -> dict[str, Starts]:
        """Where what belongs to each network or training begins, and at last where all ends."""
        arrays = self._arrays
        network, is_counted = arrays["training.network"], arrays["training.is_counted"].astype(np.int64)
        operations, layers = arrays["network.operations"], arrays["network.layers"]
        lengths = {
            "network operations": operations,
            "network layers": layers,
            "epochs": arrays["training.epochs"],
            "operations": operations[network] * is_counted,
            "layers": layers[network] * is_counted,
        }
        return {of: np.concatenate([[0], np.cumsum(each, dtype=np.int64)]) for of, each in lengths.items()}


__all__ = ["Records"]
