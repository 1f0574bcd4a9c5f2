"""Names of a package that are imported when they are first used."""

import importlib
from collections.abc import Callable, Mapping


def attributes(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """A package's `__getattr__` (PEP 562).

    Args:
        package: its dotted name.
        modules: what each name of it is imported from. A module that holds itself is named with its own path.
    """

    def attribute(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules[name]), name)

    return attribute


__all__ = ["attributes"]
