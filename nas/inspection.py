"""What a network is made of, without weights or data: structure, parameters, dense operations."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from nas import cost
from nas.cost import Part
from nas.progress import in_si
from spikformer import published
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.model import Spikformer


@dataclass(frozen=True)
class Inspection:
    """A network and its parts.

    Attributes:
        name: the published name or the file.
        parts: the whole network first, then its modules.
    """

    name: str
    config: SpikformerConfig
    parts: tuple[Part, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `macs` per image over all time steps, padding included, nothing zero."""
        whole = self.parts[0]
        return {
            "name": self.name,
            "config_id": self.config.config_id,
            "parameters": whole.parameters,
            "macs": whole.dense_macs,
            "config": self.config.to_dict(),
            "parts": [dataclasses.asdict(part) for part in self.parts],
        }

    def table(self) -> Table:
        """Parts down to the convolutions."""
        title = Text(f"{self.name}: dense MACs per image over T = {self.config.time_steps}")
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


def inspect(network: str, image_size: int | None = None) -> Inspection:
    """Take a published network, a config file or an exported folder apart.

    Args:
        network: a name from `spikformer.published.names()`, a JSON file as `SpikformerConfig.to_dict` or
            `export` writes it, or an exported folder.
        image_size: in pixels, instead of the config's.

    Raises:
        ConfigError: no such network, or not at that image size.
    """
    config = _config(network)
    if image_size is not None:
        config = dataclasses.replace(config, stem=dataclasses.replace(config.stem, image_size=image_size))
    return Inspection(network, config, tuple(cost.parts(Spikformer(config))))


def _config(network: str) -> SpikformerConfig:
    path = Path(network)
    if path.is_dir():
        path = path / "config.json"
    if path.suffix != ".json" and not path.is_file():
        return published.config(network)
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no JSON: {error}") from None
    if isinstance(document, dict) and "network" in document:
        document = document["network"]
    try:
        return SpikformerConfig.from_dict(document)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
