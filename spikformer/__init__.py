"""Spiking transformers from one config: `Spikformer(SpikformerConfig(...))(images)` -> logits.

Names are loaded when first used, so that configs can be read without importing torch.
"""

import importlib
from typing import TYPE_CHECKING

from spikformer.config import SpikformerConfig
from spikformer.errors import CheckpointError, ConfigError, FormatError, SpikformerError, TrustError

if TYPE_CHECKING:
    from spikformer.checkpoints import load
    from spikformer.fusion import fuse
    from spikformer.model import Spikformer

_LAZY = {"Spikformer": "spikformer.model", "fuse": "spikformer.fusion", "load": "spikformer.checkpoints"}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'spikformer' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


__all__ = [
    "CheckpointError",
    "ConfigError",
    "FormatError",
    "Spikformer",
    "SpikformerConfig",
    "SpikformerError",
    "TrustError",
    "fuse",
    "load",
]
