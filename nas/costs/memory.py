"""Models of memory by their names.

horowitz64     caches of three sizes with accesses of 64 bits
lemaire2022    an event-driven accelerator whose memories cost more the larger they are
lemaire_64bit  the same in blocks of 8 KB
step           one price for every bit of parameters and membranes
"""

from nas.costs.accesses import MemoryModel
from nas.costs.horowitz import Horowitz64
from nas.costs.lemaire import Lemaire64bit, Lemaire2022
from nas.costs.step import Step
from nas.errors import CostError
from spikformer.fields import nearest

DEFAULT = Horowitz64.name
_MODELS: dict[str, MemoryModel] = {model.name: model for model in (Lemaire2022(), Lemaire64bit(), Step(), Horowitz64())}


def names() -> list[str]:
    """Names of the models of memory, as options take them."""
    return list(_MODELS)


def load(name: str = DEFAULT) -> MemoryModel:
    """The model of memory of that name.

    Raises:
        CostError: no such model.
    """
    if name not in _MODELS:
        raise CostError(f'no memory model is named "{name}". {nearest(name, _MODELS)}')
    return _MODELS[name]


__all__ = ["DEFAULT", "load", "names"]
