"""A TOML file in parts, which knows where each key stands, for errors."""

import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

from nas.errors import SpaceError
from spikformer.fields import PlainTable, nearest

_T = TypeVar("_T")


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
            raise SpaceError(f"{path} is no valid TOML: {error}") from None

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
            raise SpaceError(f"{path} is no text file: it must be TOML in UTF-8") from None

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
            SpaceError: a key that the class has not, or a value of another type.
        """
        hints = typing.get_type_hints(cls)
        typed: dict[str, object] = {}
        for key, value in values.items():
            if key not in hints:
                raise self.error(section, key, f"unknown key. {nearest(key, hints)}")
            hint = _without_none(hints[key])
            if typing.get_origin(hint) is Literal:
                if value not in typing.get_args(hint):
                    raise self.error(section, key, f"{value!r}: use one of {', '.join(typing.get_args(hint))}")
            elif typing.get_origin(hint) is tuple:
                item, named = typing.get_args(hint)[0], "names"
                if item is float:
                    item, named = (int, float), "numbers"
                if not isinstance(value, list) or not all(
                    isinstance(x, item) and not isinstance(x, bool) for x in value
                ):
                    raise self.error(section, key, f"must be a list of {named}, not {value!r}")
                value = tuple(value) if named == "names" else tuple(map(float, value))
            elif hint is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            elif type(value) is not hint:
                raise self.error(section, key, f"must be {hint.__name__}, not {value!r}")
            typed[key] = value
        return cls(**typed)


def _without_none(hint: Any) -> Any:
    """The type of a setting that may also be left out."""
    rest = [arg for arg in typing.get_args(hint) if arg is not type(None)]
    return rest[0] if typing.get_origin(hint) is types.UnionType else hint


__all__ = ["Document"]
