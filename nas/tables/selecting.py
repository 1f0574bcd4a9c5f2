"""Rows of a table: of one network, or of all whose choices on the axes are those that are asked for."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from nas.bundles import config_of
from nas.costs import memory_columns
from nas.errors import TableError
from nas.spaces import Choice
from nas.tables.readings import Reading
from nas.tables.table import Table
from spikformer.fields import PlainTable, nearest

Seed = int | Literal["mean"]


def selected(
    table: Table,
    network: str | None = None,
    where: Sequence[str] = (),
    share: float = 1.0,
    seed: Seed = 0,
    convention: str = "measured",
    chip: str | None = None,
    memory: str | None = None,
) -> list[PlainTable]:
    """A row for each network, best accuracy first: what `Table.query` reads, and its choices on the axes.

    Args:
        network: a config_id or the beginning of one, a published name, or a file with a config; None takes all.
        where: choices such as "embed_dim=64", all of which a network must have.

    Raises:
        TableError: no such network, axis or choice, or none that was trained so.
        ConfigError: a file with no config, or no such name.
        CostError: no such convention, chip or model of memory.
    """
    asked = _choices(table, where)
    ids = _ids(table, network) if network is not None else list(table.networks)
    ids = [identity for identity in ids if not asked or asked.items() <= table.choices(identity).items()]
    there = [identity for identity in ids if table.seeds_of(identity, share) and _has(table, identity, share, seed)]
    if not there:
        shares, seeds = (", ".join(map(str, values)) for values in (table.shares, table.seeds))
        raise TableError(
            f"table {table.name} has no such network at share {share:g} with seed {seed}. It has shares {shares} and "
            f"seeds {seeds}; {len(ids)} of its {len(table.networks)} networks were asked for"
        )
    rows = [_row(table, table.query(identity, share, seed, convention, chip, memory)) for identity in there]
    return sorted(rows, key=lambda row: (-(row["accuracy"] or 0.0), row["config_id"]))


def _has(table: Table, identity: str, share: float, seed: Seed) -> bool:
    return seed == "mean" or seed in table.seeds_of(identity, share)


def _ids(table: Table, network: str) -> list[str]:
    """
    Raises:
        TableError: the table has no such network, or several whose ids begin so.
    """
    matching = [identity for identity in table.networks if identity.startswith(network)]
    if not matching and not Path(network).exists() and network.startswith("n1-"):
        raise TableError(f"network {network} is not in table {table.name}. {nearest(network, list(table.networks))}")
    if not matching:
        matching = [config_of(network).config_id]
    if len(matching) > 1:
        raise TableError(
            f"{len(matching)} networks of table {table.name} have ids that begin with {network}. Give more"
        )
    if matching[0] not in table:
        raise TableError(f"network {network} ({matching[0]}) is not in table {table.name}")
    return matching


def _choices(table: Table, where: Sequence[str]) -> dict[str, Choice]:
    """
    Raises:
        TableError: no such axis or choice.
    """
    axes = {axis.name: axis.choices for axis in table.space.axes}
    asked: dict[str, Choice] = {}
    for text in where:
        axis, equals, value = text.partition("=")
        if not equals or axis not in axes:
            raise TableError(f'--where "{text}" must be AXIS=CHOICE. {nearest(axis, list(axes))}')
        by_text = {str(choice): choice for choice in axes[axis]}
        if value not in by_text:
            raise TableError(f'--where "{text}": axis {axis} has no such choice. {nearest(value, list(by_text))}')
        asked[axis] = by_text[value]
    return asked


def _row(table: Table, reading: Reading) -> PlainTable:
    return dict(_cells(table, reading))


def _cells(table: Table, reading: Reading) -> Iterator[tuple[str, object]]:
    for name in ("config_id", "share"):
        yield name, getattr(reading, name)
    yield "seeds", " ".join(map(str, reading.seeds))
    names = ("status", "accuracy", "report_accuracy", "energy_mj", "spike_operations", "real_macs", "parameters")
    for name in (*names, "images_seen", "seconds"):
        yield name, getattr(reading, name)
    if reading.chip is not None:
        for name in ("energy_mj", "latency_ms", "fits"):
            yield f"chip_{name}", getattr(reading.chip, name)
    if reading.memory is not None:
        yield from memory_columns(reading.memory).items()
    yield from table.choices(reading.config_id).items()


__all__ = ["selected"]
