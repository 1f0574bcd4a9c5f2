"""Networks by the words that a user gives: a published name, or a JSON file that holds a config."""

import json
from pathlib import Path

from spikformer import published
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError


def config_of(network: str) -> SpikformerConfig:
    """
    Args:
        network: a name from `spikformer.published.names()`, a JSON file as `SpikformerConfig.to_dict` or `export`
            writes it, or an exported folder.

    Raises:
        ConfigError: no such network.
    """
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
        raise ConfigError(f"{path} is not valid JSON: {error}") from None
    if isinstance(document, dict) and "network" in document:
        document = document["network"]
    try:
        return SpikformerConfig.from_dict(document)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


__all__ = ["config_of"]
