"""Files that a long run continues from, where they are committed, in parts that code hosts take without questions."""

import lzma
from pathlib import Path

from nas import files
from nas.tables.parts import LARGEST


def keep(data: bytes, path: Path) -> None:
    """Write `path`, and what is beyond the size of a part into files of that name with .2, .3 and so on behind it."""
    count = max(1, -(-len(data) // LARGEST))
    for number in range(count):
        part = data[number * LARGEST : (number + 1) * LARGEST]
        files.write(_part(path, number), lambda partial, part=part: partial.write_bytes(part))
    while (old := _part(path, count)).exists():
        old.unlink()
        count += 1


def kept(path: Path) -> bytes | None:
    """What was kept under a path, or None."""
    parts = []
    while (part := _part(path, len(parts))).exists():
        parts.append(part.read_bytes())
    return b"".join(parts) if parts else None


def keep_journal(journal: Path, path: Path) -> None:
    """Keep the journal of a study, compressed; nothing where the study has not begun."""
    if journal.exists():
        keep(lzma.compress(journal.read_bytes()), path)


def restore_journal(path: Path, journal: Path) -> None:
    """The journal as it is kept, where there is none yet."""
    data = None if journal.exists() else kept(path)
    if data is not None:
        files.write(journal, lambda partial: partial.write_bytes(lzma.decompress(data)))


def _part(path: Path, number: int) -> Path:
    return path if number == 0 else path.with_name(f"{path.name}.{number + 1}")
