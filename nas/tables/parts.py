"""Finished trainings as small files that may be committed or copied away: a run goes on from them alone."""

import time
from collections.abc import Callable
from pathlib import Path

from nas import files
from nas.errors import TableError
from nas.tables.contents import Contents, Key, Settings, Signals
from nas.tables.opening import COMPRESSED, compressed, load
from nas.tables.writing import encoded
from nas.training import Candidate

LARGEST = 1 << 20  # bytes of a part: what code hosts take without questions
_EACH = 50  # trainings
_EVERY_S = 600.0


class Parts:
    """The files `part-0001.safetensors.gz`, ... of a folder; each is a table of its own.

    Args:
        name: of the table.
        signals_of: gives the signals of a network, if they were computed.
    """

    def __init__(
        self, folder: Path, name: str, settings: Settings, signals_of: Callable[[str], Signals | None]
    ) -> None:
        self.folder, self._name, self._settings, self._signals_of = folder, name, settings, signals_of
        self._pending: dict[Key, Candidate] = {}
        self._written_at = time.monotonic()

    def read(self) -> Contents:
        """What all files hold together; the first of equal keys.

        Raises:
            TableError: a file is damaged, or of another space, recipe or other images.
        """
        trainings: dict[Key, Candidate] = {}
        signals: dict[str, Signals] = {}
        for path in self._paths():
            contents = load(path).contents()
            changed = self._settings.differences(contents.settings)
            if changed:
                raise TableError(
                    f"{path} is of a table with other settings ({', '.join(changed)} differ). Restore the settings, or "
                    "give another folder with --parts"
                )
            trainings, signals = contents.trainings | trainings, contents.signals | signals
        return Contents(self._settings, trainings, signals)

    def add(self, key: Key, candidate: Candidate) -> None:
        """Take a training; with every fifty or after ten minutes those that wait become a file."""
        self._pending[key] = candidate
        if len(self._pending) >= _EACH or time.monotonic() - self._written_at > _EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write those that wait."""
        pending, self._pending = self._pending, {}
        self._written_at = time.monotonic()
        if pending:
            self._write(pending)

    def _write(self, trainings: dict[Key, Candidate]) -> None:
        """As one file, or as several where that would be too large."""
        signals = {i: of for i in {key.config_id for key in trainings} if (of := self._signals_of(i)) is not None}
        data = compressed(encoded(self._name, Contents(self._settings, trainings, signals)))
        keys = sorted(trainings)
        if len(data) > LARGEST and len(keys) > 1:
            for half in (keys[: len(keys) // 2], keys[len(keys) // 2 :]):
                self._write({key: trainings[key] for key in half})
            return
        numbers = [int(path.name[5:9]) for path in self._paths()]
        path = self.folder / f"part-{max(numbers, default=0) + 1:04}{COMPRESSED}"
        files.write(path, lambda partial: partial.write_bytes(data))

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob(f"part-[0-9][0-9][0-9][0-9]{COMPRESSED}"))


__all__ = ["LARGEST", "Parts"]
