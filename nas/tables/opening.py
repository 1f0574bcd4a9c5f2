"""Opens tables by name or path, and holds a file to the digits of its SHA-256 that its name carries."""

import gzip
import hashlib
import re
import zlib
from pathlib import Path

from nas.errors import TableError
from nas.tables.checking import checked
from nas.tables.table import Table
from spikformer.fields import nearest

SUFFIX = ".safetensors"
COMPRESSED = f"{SUFFIX}.gz"
_SHIPPED = Path(__file__).parent / "shipped"
_LARGEST = 1 << 30  # bytes of a compressed file once it is unpacked


def load(name_or_path: str | Path) -> Table:
    """A table, ready to be asked; nothing of it is executed, and torch is not imported.

    Args:
        name_or_path: a file, or the name of a table that comes with the package.

    Raises:
        TableError: there is none, it is damaged or renamed, or a newer version of this program wrote it.
        TrustError: a network has a block of a module that the user did not name.
    """
    path = _path(name_or_path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TableError(f"table {path} cannot be read: {error.strerror}. Correct the path") from None
    digits, digest = _digits_in(path.name), hashlib.sha256(data).hexdigest()[:16]
    if digits is not None and digest != digits:
        raise TableError(
            f"table {path} is damaged or was renamed: its name says that its SHA-256 begins with {digits}, but it "
            f"begins with {digest}. Get it again, or give it back its name"
        )
    if path.name.endswith(".gz"):
        data = _unpacked(data, path)
    return Table(checked(data, f"table {path}"), path, digest, names_digits=digits is not None)


def shipped() -> list[str]:
    """Names of the tables that come with the package."""
    return sorted(path.name.partition(".")[0] for path in _SHIPPED.glob(f"*{SUFFIX}"))


def _path(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if re.fullmatch(r"[A-Za-z0-9][\w-]{0,99}", text, re.ASCII) and not Path(text).exists():
        paths = sorted(_SHIPPED.glob(f"{text}.*{SUFFIX}"))
        if not paths:
            known = nearest(text, shipped()) if shipped() else "None come with this version."
            raise TableError(f'no table is named "{text}". {known} Or give the path of a file')
        return paths[-1]
    return Path(name_or_path)


def _digits_in(name: str) -> str | None:
    """The first 16 hex digits of a SHA-256 in a name such as "mine.0123456789abcdef.safetensors"."""
    match = re.fullmatch(rf".+\.([0-9a-f]{{16}}){re.escape(SUFFIX)}", name)
    return match[1] if match else None


def _unpacked(data: bytes, path: Path) -> bytes:
    """
    Raises:
        TableError: it is damaged, or larger than any table.
    """
    unpacker = zlib.decompressobj(wbits=31)  # of gzip
    try:
        unpacked = unpacker.decompress(data, _LARGEST)
    except zlib.error as error:
        raise TableError(f"table {path} is damaged ({error}). Restore it from where it came") from None
    if not unpacker.eof:
        raise TableError(f"table {path} is cut off, or larger than {_LARGEST >> 20} MiB. Restore it from where it came")
    return unpacked


def compressed(data: bytes) -> bytes:
    """Equal for equal bytes: without the time of day that gzip usually writes."""
    return gzip.compress(data, mtime=0)


__all__ = ["COMPRESSED", "SUFFIX", "compressed", "load", "shipped"]
