"""Blocks of your own, named "package.module:Class" in a config; `docs/your_own_block.md` writes one.

The class declares its settings as a frozen dataclass `Options` (all with defaults; none, if it has none).
`Options.canonical()`, where it is defined, returns the one way to write equal settings.

Standard library only; naming a class here imports its module, nothing else does.
"""

import dataclasses
import importlib
import re
from typing import Any

from spikformer.errors import ConfigError


def check_reference(kind: str) -> None:
    """Raises ConfigError unless `kind` has the form "package.module:Class"; imports nothing."""
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", kind) is None:
        raise ConfigError(f'kind "{kind}" is no reference to a class. Write "package.module:Class"', ("kind",))


def resolve(kind: str) -> Any:
    """The class that a "package.module:Class" names.

    Raises:
        ConfigError: no such module or class.
    """
    check_reference(kind)
    found = imported(kind, "kind")
    if not isinstance(found, type):
        module_name, _, class_name = kind.partition(":")
        raise ConfigError(f'kind "{kind}": {module_name} has no class {class_name}', ("kind",))
    return found


def imported(reference: str, what: str) -> Any:
    """What a "package.module:Name" names; None, if its module has no such name.

    Args:
        what: it is taken for, in an error.

    Raises:
        ConfigError: no such module.
    """
    module_name, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module_name), name, None)
    except ImportError as error:
        raise ConfigError(
            f'{what} "{reference}": {module_name} cannot be imported ({error}). Install it, run where it lies, or put '
            f"its folder on PYTHONPATH",
            (what,),
        ) from None


def options(kind: str, values: dict[str, Any]) -> Any:
    """Settings for the class of `kind`, as an instance of its `Options`; None, if it declares none.

    Raises:
        ConfigError: a name that it does not declare, or a value that it refuses.
    """
    declared = getattr(resolve(kind), "Options", None)
    names = [] if declared is None else [field.name for field in dataclasses.fields(declared)]
    for name in values:
        if name not in names:
            listed = ", ".join(names) or "none"
            raise ConfigError(f'kind "{kind}" has no option "{name}". It declares: {listed}', ("options",))
    try:
        return None if declared is None else declared(**values)
    except ConfigError as error:
        raise error.within("options") from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f'kind "{kind}" refuses options {values}: {error}', ("options",)) from None


def canonical(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """The one way to write these settings: defaults filled in, then as the class sees them equal."""
    settings = options(kind, values)
    if settings is None:
        return {}
    settings = settings.canonical() if hasattr(settings, "canonical") else settings
    return dataclasses.asdict(settings)


__all__ = ["canonical", "check_reference", "imported", "options", "resolve"]
