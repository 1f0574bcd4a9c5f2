"""The one door to SpikingJelly's data sets. It is imported when something is read: it brings matplotlib and SciPy."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]
"""t, x, y and p of every event, [n] each."""


def read_atis(path: Path) -> Arrays:
    """Events of a file of 40 bits per event."""
    arrays: Arrays = _library().load_ATIS_bin(path)
    return arrays


def read_aedat3(path: Path) -> Arrays:
    """Events of an AEDAT 3.1 file; those that are marked as invalid too, as in the published frames of gestures."""
    arrays: Arrays = _library().load_aedat_v3(path)
    return arrays


def checksums(dataset: str) -> dict[str, str]:
    """MD5 of the archives of a data set, by their names.

    Args:
        dataset: name of SpikingJelly's class.
    """
    return {name: md5 for name, _url, md5 in getattr(_library(), dataset).resource_url_md5()}


def unpack(dataset: str, archives: Path, target: Path) -> None:
    """Unpack the archives of a data set from one folder into another, which must be there."""
    getattr(_library(), dataset).extract_downloaded_files(archives, target)


def convert(dataset: str, unpacked: Path, target: Path) -> None:
    """Write each recording of an unpacked data set as `.npz` below a folder, which must be there."""
    getattr(_library(), dataset).create_raw_from_extracted(unpacked, target)


def _library() -> ModuleType:
    from spikingjelly import datasets

    return datasets


__all__ = ["Arrays", "checksums", "convert", "read_aedat3", "read_atis", "unpack"]
