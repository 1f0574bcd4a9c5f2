"""What a network is made of: its parts with their parameters and dense operations."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from nas.bundles import config_of
from nas.costs import Part
from nas.training import described, in_si
from spikformer import published
from spikformer.config import SpikformerConfig
from spikformer.fields import PlainTable


@dataclass(frozen=True)
class Inspection:
    """A network and its parts.

    Attributes:
        name: the published name or the file.
        parts: the whole network first, then its modules.
        figures: what is printed about a published network.
        note: what is to be said of it besides.
    """

    name: str
    config: SpikformerConfig
    parts: tuple[Part, ...]
    figures: published.Figures | None = None
    note: str = ""

    def to_dict(self) -> PlainTable:
        """Plain values; `macs` per image over all time steps, padding included, nothing zero."""
        whole = self.parts[0]
        return {
            "name": self.name,
            "description": described(self.config),
            "config_id": self.config.config_id,
            "parameters": whole.parameters,
            "macs": whole.dense_macs,
            "figures": None if self.figures is None else dataclasses.asdict(self.figures),
            "config": self.config.to_dict(),
            "parts": [dataclasses.asdict(part) for part in self.parts],
        }

    def lines(self) -> list[str]:
        """What stands under the table."""
        printed = "" if self.figures is None else self.figures.in_words()
        return [line for line in (printed, self.note) if line]

    def tables(self) -> list[Table]:
        """What a terminal shows."""
        return [self.table()]

    def table(self) -> Table:
        """Parts down to the convolutions."""
        title = Text(f"{self.name}: dense MACs per image over T = {self.config.time_steps}\n{described(self.config)}")
        table = Table(title=title, title_justify="left")
        table.add_column("part")
        table.add_column("kind")
        table.add_column("parameters", justify="right")
        table.add_column("MACs", justify="right")
        for part in self.parts:
            depth = part.path.count(".") + 1 if part.path else 0
            macs = in_si(part.dense_macs, "").strip() if part.dense_macs else "0"
            table.add_row("  " * depth + (part.path or "whole network"), part.kind, f"{part.parameters:,}", macs)
        return table


def structure(network: str, image_size: int | None = None, *, fused: bool = False) -> Inspection:
    """Take a published network, a config file or an exported folder apart.

    Args:
        network: a name from `spikformer.published.names()`, a JSON file as `SpikformerConfig.to_dict` or
            `export` writes it, or an exported folder.
        image_size: in pixels, instead of the config's.
        fused: its deployable form.

    Raises:
        ConfigError: no such network, or not at that image size.
    """
    config = config_at(network, image_size)
    from nas.costs import parts, static_model  # torch, only now

    is_name = network in published.names() and not Path(network).exists()
    figures = published.figures(network) if is_name else None
    return Inspection(in_form(network, fused), config, tuple(parts(static_model(config, fused=fused))), figures)


def not_spike_driven(network: str, image_size: int | None = None) -> list[str]:
    """What still multiplies by real numbers in the deployable form of a network: "path: reason" each.

    Raises:
        ConfigError: no such network, or not at that image size.
    """
    config = config_at(network, image_size)
    from nas.costs import static_model  # torch, only now
    from spikformer.fusion import real_multiplications

    return real_multiplications(static_model(config, fused=True))


def config_at(network: str, image_size: int | None) -> SpikformerConfig:
    """The config of a network, as `structure` takes it, at an image size.

    Raises:
        ConfigError: no such network, or not at that image size.
    """
    config = config_of(network)
    if image_size is None:
        return config
    return dataclasses.replace(config, stem=dataclasses.replace(config.stem, image_size=image_size))


def in_form(network: str, fused: bool) -> str:
    """The name of a network, which tells its deployable form from the one that was trained."""
    return f"{network}, deployable form" if fused else network


__all__ = ["Inspection", "config_at", "in_form", "not_spike_driven", "structure"]
