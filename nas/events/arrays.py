"""Recordings in files of NumPy: `.npz` with t, x, y and p, `.npy` with these as fields, or either with frames."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import DataError
from nas.events.contents import Contents, Events
from nas.events.recording import StoredFrames

_KEYS = ("t", "x", "y", "p")
# What NumPy and zipfile raise on files that are damaged, compressed in another way, or of the other suffix.
_DAMAGED = (
    AttributeError, EOFError, KeyError, MemoryError, NotImplementedError, OSError, TypeError, ValueError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_NEEDS = "Store the arrays t, x, y and p, or one array frames of shape [T, 2, H, W]"


def read_npz(path: Path) -> Contents:
    """Raises DataError: the file is damaged or holds other arrays."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = set(archive.files)
            wanted = ("frames",) if "frames" in names else _KEYS
            arrays = {key: archive[key] for key in wanted if key in names}
    except _DAMAGED as error:
        raise _damaged(path, error) from None
    if "frames" in arrays:
        return StoredFrames(arrays["frames"], str(path))
    if len(arrays) < len(_KEYS):
        raise DataError(f"{path} holds the arrays {sorted(names)}, which are no recording. {_NEEDS}")
    return Events(arrays["t"], arrays["x"], arrays["y"], arrays["p"])


def read_npy(path: Path) -> Contents:
    """Raises DataError: the file is damaged or holds another array."""
    array: npt.NDArray[Any]
    try:
        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
        fields = array.dtype.names
    except _DAMAGED as error:
        raise _damaged(path, error) from None
    if fields is None:
        return StoredFrames(array, str(path))
    if not set(_KEYS) <= set(fields):
        raise DataError(f"{path} holds an array with the fields {list(fields)}, which are no recording. {_NEEDS}")
    return Events(array["t"], array["x"], array["y"], array["p"])


def _damaged(path: Path, error: BaseException) -> DataError:
    return DataError(f"{path} cannot be read as an array of NumPy: {error}. Copy or convert it again, or remove it")


__all__ = ["read_npy", "read_npz"]
