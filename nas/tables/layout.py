"""The layout of a table's file: a safetensors file whose metadata hold one JSON text under `HEADER`.

What all trainings of a network share is stored once: an operation's path, shapes and dense counts are in a list in the
JSON, and tensors hold their places in it. Tensors without a shape of their own follow one another, row after row: of
epochs, of operations and of layers, as many as the network or the training before them says.
"""

import dataclasses
import math
from dataclasses import dataclass

from nas.costs import Operation
from nas.tables.configs import FIELDS
from nas.tables.contents import SIGNALS

SCHEMA = 1
HEADER = "table"
LICENCE = "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/"
DYNAMIC = ("spikes", "nonzero", "multiplicity", "events")
"""Counts of an operation that depend on its training."""
STATIC = tuple(field.name for field in dataclasses.fields(Operation) if field.name not in DYNAMIC)
"""All other fields of an operation, in the order in which the JSON lists them."""
OVERHEADS = ("neuron_updates", "residual_additions", "pool_comparisons")
SHARES = ("search_val_accuracy", "report_val_accuracy", "search_val_balanced", "report_val_balanced")
"""Figures between 0 and 1."""
FIGURES = (
    *SHARES,
    *("energy_mj", "energy_repeated_mj", "energy_target_mj", "energy_error"),
    *("spike_operations", "real_macs", "dense_macs"),
)
"""Figures of a candidate that may be missing, which NaN stands for."""
KINDS: dict[str, object] = {
    "name": str,
    "space": str,
    "licence": str,
    "card": dict[str, object],
    "identity": dict[str, object],
    "account": list[str],
    "train_images": int,
    "report_val_images": int,
    "networks": list[str],
    "config_parts": dict[str, list[object]],
    "operations": list[list[object]],
    "layers": list[str],
    "outcomes": list[list[str]],
    "provenances": list[dict[str, object]],
}
"""Key of the JSON -> type of its value; `spikformer.schema.KEY` comes besides."""


@dataclass(frozen=True)
class Column:
    """One tensor of the file.

    Attributes:
        dtype: name of its numpy type.
        rows: what a row of it is of.
        width: length of a row; 0 where the tensor has one axis.
        least, most: bounds of its values.
        indexes: key of the list in the JSON that its values are places in.
        may_lack: whether NaN may stand for a value that is not there.
    """

    dtype: str
    rows: str
    width: int = 0
    least: float = 0.0
    most: float = math.inf
    indexes: str = ""
    may_lack: bool = False


_LARGEST = 1e300  # of a figure: infinity is above it
COLUMNS: dict[str, Column] = {
    "network.parts": Column("int32", "networks", len(FIELDS), least=-1),
    "network.parameters": Column("int64", "networks"),
    "network.signals": Column("float64", "networks", len(SIGNALS), least=-math.inf, may_lack=True),
    "network.operations": Column("int32", "networks"),
    "network.layers": Column("int32", "networks"),
    "network.operation": Column("int32", "network operations", indexes="operations"),
    "network.layer": Column("int32", "network layers", indexes="layers"),
    "training.network": Column("int32", "trainings", indexes="networks"),
    "training.share": Column("float64", "trainings", least=1e-9, most=1.0),
    "training.seed": Column("int64", "trainings"),
    "training.images_seen": Column("int64", "trainings"),
    "training.counted_images": Column("int64", "trainings"),
    "training.outcome": Column("int32", "trainings", indexes="outcomes"),
    "training.provenance": Column("int32", "trainings", indexes="provenances"),
    "training.wall_s": Column("float64", "trainings", most=_LARGEST),
    "training.finished": Column("int64", "trainings", least=-1, most=2**37),  # seconds since 1970; -1: not known
    **{
        f"training.{name}": Column("float64", "trainings", most=1.0 if name in SHARES else _LARGEST, may_lack=True)
        for name in FIGURES
    },
    "training.overheads": Column("int64", "trainings", len(OVERHEADS)),
    "training.is_counted": Column("uint8", "trainings", most=1),
    "training.epochs": Column("int32", "trainings"),
    "epoch.loss": Column("float64", "epochs", least=-math.inf, may_lack=True),
    "epoch.accuracy": Column("float64", "epochs", most=1.0),
    **{f"count.{name}": Column("int64", "counted operations") for name in DYNAMIC},
    "layer.firing_rate": Column("float64", "counted layers", most=_LARGEST),
}

__all__ = [
    "COLUMNS",
    "DYNAMIC",
    "FIGURES",
    "HEADER",
    "KINDS",
    "LICENCE",
    "OVERHEADS",
    "SCHEMA",
    "SHARES",
    "STATIC",
    "Column",
]
