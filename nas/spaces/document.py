"""A TOML file in parts, which knows where each key stands, for errors."""

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nas.errors import SpaceError
from spikformer.errors import ConfigError
from spikformer.fields import PlainTable, nearest, typed, types_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_T = TypeVar("_T", bound="DataclassInstance")


class Document:
    """One file of sections.

    Args:
        path: where it lies, for errors.

    Raises:
        SpaceError: it is no TOML.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path, self._text = path, text
        try:
            self.sections: PlainTable = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise SpaceError(f"{path} is not valid TOML: {error}") from None

    @classmethod
    def read(cls, path: Path) -> "Document":
        """
        Raises:
            FileNotFoundError: there is no such file.
            SpaceError: it cannot be read.
        """
        try:
            return cls(path, path.read_text())
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SpaceError(f"{path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SpaceError(f"{path} is not a text file: it must be TOML in UTF-8") from None

    def error(self, section: str, key: str | None, message: str) -> SpaceError:
        """What is wrong with a key, or with a whole section, with its line."""
        line = self._line(section, key)
        place = f"{self.path}, line {line}, [{section}]" if line else f"{self.path}, [{section}]"
        return SpaceError(f"{place} {key + ': ' if key else ''}{message}")

    def _line(self, section: str, key: str | None) -> int | None:
        """Where a key stands; of a dotted key, its first part that is written."""
        lines = [line.split("#")[0] for line in self._text.splitlines()]
        start = next((i for i, line in enumerate(lines) if re.match(rf"\s*\[\W*{re.escape(section)}\b", line)), None)
        if start is None or key is None:
            return None if start is None else start + 1
        end = next((i for i in range(start + 1, len(lines)) if re.match(r"\s*\[[\w\"']", lines[i])), len(lines))
        for part in (key, *key.split(".")[::-1]):
            for i in range(start, end):
                if re.search(rf'(^|[\s{{,."\'\[]){re.escape(part)}["\'\]]?\s*[=.\]]', lines[i]):
                    return i + 1
        return start + 1

    def settings(self, section: str, cls: type[_T], values: PlainTable) -> _T:
        """A section as the dataclass that it fills.

        Raises:
            SpaceError: a key that the class has not, a value of another type, or no value where there is no default.
        """
        hints = types_of(cls)
        fields: dict[str, object] = {}
        for key, value in values.items():
            if key not in hints:
                raise self.error(section, key, f"unknown key. {nearest(key, hints)}")
            try:
                fields[key] = typed(value, hints[key])
            except ConfigError as error:
                raise self.error(section, key, str(error)) from None
        for field in dataclasses.fields(cls):
            if field.name not in fields and field.default is field.default_factory is dataclasses.MISSING:
                raise self.error(section, None, f"{field.name} is missing. Give all of {', '.join(hints)}")
        return cls(**fields)


__all__ = ["Document"]
