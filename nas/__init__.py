"""Neural architecture search for spiking transformers.

    study = nas.search("spikformer_small", trials=200)
    study = nas.load_study("spikformer_small")
    study.front()

Names are loaded when first used, so that the command line answers before torch is imported.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.loop import search
    from nas.study import Study, load_study

_LAZY = {"Study": "nas.study", "load_study": "nas.study", "search": "nas.loop"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


__all__ = ["Study", "load_study", "search"]
