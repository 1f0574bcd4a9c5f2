"""Neural architecture search for spiking transformers.

    study = nas.search("spikformer_small", trials=200)
    study = nas.load_study("spikformer_small")
    study.front()

Names are loaded when first used, so that the command line answers before torch is imported.
"""

from typing import TYPE_CHECKING

from nas import lazy

if TYPE_CHECKING:
    from nas.searching.loop import search
    from nas.studies import Study, load_study

__getattr__ = lazy.attributes(
    __name__, {"Study": "nas.studies", "load_study": "nas.studies", "search": "nas.searching.loop"}
)

__all__ = ["Study", "load_study", "search"]
