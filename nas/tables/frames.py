"""A table as a data frame."""

from typing import TYPE_CHECKING

import pandas as pd

from nas.costs import MEASURED, energy, memory_columns
from nas.costs import chip as chips
from nas.costs import memory as memories

if TYPE_CHECKING:
    from nas.tables.table import Table


def dataframe(table: "Table", convention: str, chip: str | None, memory: str | None) -> pd.DataFrame:
    """A row per training; see `nas.tables.Table.to_dataframe`."""
    energy.convention(convention)
    if chip is not None:
        chips.load(chip)
    if memory is not None:
        memories.load(memory)
    choices = {identity: table.choices(identity) for identity in table.networks}
    signals = {identity: table.signals(identity) for identity in table.networks}
    rows = []
    for key in table.keys:
        counted = key.share == 1.0
        priced = convention if counted else MEASURED.name
        models = (chip, memory) if counted else (None, None)
        reading = table.query(key.config_id, key.share, key.seed, priced, *models)
        has_energy = counted or convention == MEASURED.name
        rows.append(
            {
                "config_id": key.config_id,
                "share": key.share,
                "seed": key.seed,
                "status": reading.status,
                "accuracy": reading.accuracy,
                "report_accuracy": reading.report_accuracy,
                "energy_mj": reading.energy_mj if has_energy else None,
                "spike_operations": reading.spike_operations if has_energy else None,
                "real_macs": reading.real_macs if has_energy else None,
                "parameters": reading.parameters,
                "images_seen": reading.images_seen,
                "seconds": reading.seconds,
                **({} if chip is None else _chip(reading.chip)),
                **({} if memory is None else memory_columns(reading.memory)),
                **{f"choice_{axis}": choice for axis, choice in choices[key.config_id].items()},
                **{f"signal_{name}": value for name, value in signals[key.config_id].items()},
            }
        )
    return pd.DataFrame(rows)


def _chip(costs: object) -> dict[str, object]:
    return {f"chip_{name}": getattr(costs, name, None) for name in ("energy_mj", "latency_ms", "fits")}


__all__ = ["dataframe"]
