"""Blocks of your own, named "package.module:Class" in a config; `docs/your_own_block.md` writes one.

The class declares its settings as a frozen dataclass `Options` (all with defaults; none, if it has none).
`Options.canonical()`, where it is defined, returns the one way to write equal settings.

Opening data never runs code: a config may name any class, but its module is imported only if the user named it, by
`allow`, by `--blocks`, or in a space file of theirs. Standard library only.
"""

import dataclasses
import functools
import importlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from spikformer.errors import ConfigError, TrustError

_MODULE = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
_named: dict[str, str] = {}  # module that the user named -> folder in which it is looked for first, or ""


def check_reference(kind: str) -> None:
    """Raises ConfigError unless `kind` has the form "package.module:Class"; imports nothing."""
    if re.fullmatch(rf"{_MODULE}:[A-Za-z_]\w*", kind) is None:
        raise ConfigError(f'kind "{kind}" is not a reference to a class. Write "package.module:Class"', ("kind",))


def allow(*blocks: str | Path, folder: str | Path = "") -> None:
    """Let configs import these modules, in this process and in the workers that it starts; nothing is imported yet.

    Args:
        blocks: "package.module", "package.module:Class" or the path of a module's file, "folder/mine.py".
        folder: in which the modules are looked for before all other places.

    Raises:
        ConfigError: no name of a module, or no such file.
    """
    for block in map(str, blocks):
        path = Path(block)
        place = path.parent if path.suffix == ".py" else folder
        module = path.stem if path.suffix == ".py" else block.partition(":")[0]
        if re.fullmatch(_MODULE, module) is None:
            raise ConfigError(f'block "{block}" is not a module. Write "package.module", or the path of its file')
        if path.suffix == ".py" and not path.is_file():
            raise ConfigError(f'block "{block}": there is no such file. Correct the path, or write "package.module"')
        _named[module] = str(Path(place).absolute()) if place else _named.get(module, "")


def is_ours(part: object) -> bool:
    """Whether an object's class is one of this package: not what a class calls itself, but what the package holds."""
    kind: type = type(part)
    return _holds(kind, ("spikformer",))


def is_custom(part: object) -> bool:
    """Whether an object's class is the user's own: neither one of this package nor one of the libraries below it."""
    kind: type = type(part)
    return not _holds(kind, ("spikformer", "torch", "spikingjelly"))


@functools.cache
def _holds(kind: type, packages: tuple[str, ...]) -> bool:
    if kind.__module__.partition(".")[0] not in packages:
        return False
    return getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind


def named() -> dict[str, str]:
    """The modules that the user named, each with the folder in which it is looked for first, or ""; for `adopt`."""
    return dict(_named)


def adopt(modules: dict[str, str]) -> None:
    """Allow what `named` returned in the process that started this one."""
    _named.update(modules)


def arguments() -> list[str]:
    """Command-line options that name the same modules again."""
    files = {module: Path(folder, f"{module}.py") for module, folder in _named.items() if folder}
    blocks = [str(files[m]) if m in files and files[m].is_file() else m for m in _named]
    return [word for block in blocks for word in ("--blocks", block)]


def resolve(kind: str) -> type:
    """The class that a "package.module:Class" names.

    Raises:
        TrustError: the user did not name its module.
        ConfigError: no such module or class.
    """
    check_reference(kind)
    module_name, _, class_name = kind.partition(":")
    if module_name not in _named:
        raise TrustError(
            f'block "{kind}": the module {module_name} was not imported, because opening data never imports code. If '
            f"you trust it, name it: --blocks {module_name} (or the path of its file) on the command line, "
            f'spikformer.plugins.allow("{module_name}") in Python'
        )
    cls = imported(kind, "kind")
    if not isinstance(cls, type):
        raise ConfigError(f'kind "{kind}": {module_name} has no class {class_name}', ("kind",))
    return cls


def imported(reference: str, what: str) -> Any:
    """What a "package.module:Name" names; None, if its module has no such name. The user must have named it.

    Args:
        what: it is taken for, in an error.

    Raises:
        ConfigError: no such module.
    """
    module_name, _, name = reference.partition(":")
    try:
        return getattr(_module(module_name), name, None)
    except ImportError as error:
        raise ConfigError(
            f'{what} "{reference}": {module_name} cannot be imported ({error}). Install it, run in its folder, or put '
            "its folder on PYTHONPATH",
            (what,),
        ) from None


def _module(name: str) -> ModuleType:
    """By its name; from the folder that it was named with, if it lies there."""
    place = Path(_named.get(name, ""), *name.split("."))
    file = next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)
    if not _named.get(name) or file is None:
        return importlib.import_module(name)
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded is not None and not file.samefile(loaded):
        raise ConfigError(
            f"{file} is not imported: another module {name} was imported before, {loaded}. Rename one of them, or use "
            f"them in different processes"
        )
    importlib.invalidate_caches()
    sys.path.insert(0, _named[name])
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(_named[name])


def declared_by(kind: str) -> Any:
    """The dataclass of the settings of the class of `kind`; None, if it has none.

    Raises:
        TrustError: the user did not name its module.
        ConfigError: no such module or class.
    """
    return getattr(resolve(kind), "Options", None)


def options(kind: str, values: Mapping[str, object]) -> Any:
    """Settings for the class of `kind`, as an instance of its `Options`; None, if it declares none.

    Raises:
        TrustError: the user did not name its module.
        ConfigError: a name that it does not declare, or a value that it refuses.
    """
    declared = declared_by(kind)
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
        raise ConfigError(f'kind "{kind}" rejects options {values}: {error}', ("options",)) from None


def canonical(kind: str, values: Mapping[str, object]) -> dict[str, object]:
    """The one way to write these settings: defaults filled in, then as the class sees them equal."""
    settings = options(kind, values)
    if settings is None:
        return {}
    settings = settings.canonical() if hasattr(settings, "canonical") else settings
    return dataclasses.asdict(settings)


__all__ = [
    "adopt",
    "allow",
    "arguments",
    "canonical",
    "check_reference",
    "declared_by",
    "imported",
    "is_custom",
    "is_ours",
    "named",
    "options",
    "resolve",
]
