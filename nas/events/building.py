"""`events_np`, the recordings of a published data set as arrays, made by SpikingJelly from what the authors publish.

    DIR/events_np/   used as it is
    DIR/extract/     the unpacked archives, used where there is no events_np
    DIR/download/    the archives, used where there is neither

Nothing is downloaded. What is made here appears whole or not at all. It holds the recordings of the test too: the
archives do.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from nas import files
from nas.errors import DataError, OutputError
from nas.events import formats, spikingjelly_datasets


@dataclass(frozen=True)
class Origin:
    """Where a data set comes from.

    Attributes:
        title: its name, for people.
        library_class: its name in SpikingJelly.
        page: where its authors publish it.
        archives: files of that page that hold the recordings.
    """

    title: str
    library_class: str
    page: str
    archives: tuple[str, ...]

    def advice(self, folder: str) -> str:
        """How to get the data set."""
        return f"Download {', '.join(self.archives)} from {self.page} into {folder}/download/"


def events_folder(root: Path, origin: Origin) -> Path:
    """`root/events_np`, made where it is not there.

    Raises:
        DataError: there is nothing to make it of, archives are damaged, or a preparation by SpikingJelly broke off.
        OutputError: it cannot be written.
    """
    folder = root / "events_np"
    marker = root / "events_np.building"
    if marker.exists():
        raise DataError(
            f"{marker} marks a preparation by SpikingJelly that broke off. Remove this file and, where they are there, "
            f"{folder} and what that preparation had unpacked in {root / 'extract'}"
        )
    if not folder.is_dir():
        if not any((root / name).is_dir() for name in ("extract", "download")):
            raise DataError(
                f"{root} holds no {origin.title}: no events_np, extract or download. {origin.advice(str(root))}"
            )
        with _only_one_process(root):
            if not folder.is_dir():  # another process may have made it meanwhile
                _make(folder, _unpacked(root, origin), origin, spikingjelly_datasets.convert)
    return folder


def _unpacked(root: Path, origin: Origin) -> Path:
    folder, archives = root / "extract", root / "download"
    if not folder.is_dir():
        _check_archives(archives, origin)
        _make(folder, archives, origin, spikingjelly_datasets.unpack)
    return folder


def _check_archives(folder: Path, origin: Origin) -> None:
    checksums = spikingjelly_datasets.checksums(origin.library_class)
    for name in origin.archives:
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path} is missing. {origin.advice(str(folder.parent))}")
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "md5").hexdigest()
        if checksum != checksums[name]:
            raise DataError(
                f"{path} is damaged or not the authors' file: its MD5 is {checksum} instead of {checksums[name]}. "
                f"{origin.advice(str(folder.parent))}"
            )


def _make(target: Path, source: Path, origin: Origin, step: Callable[[str, Path, Path], None]) -> None:
    """Fill a folder by one step of SpikingJelly, from another folder."""

    def make(partial: Path) -> None:
        partial.mkdir()
        try:
            step(origin.library_class, source, partial)
        except Exception as error:  # whatever damaged files cause there; it names no file
            _check_files(source)
            raise DataError(
                f"{source} cannot be made into {target}: {type(error).__name__}: {error}. It must hold the files of "
                f"{origin.title} as its authors publish them, and there must be space for {target}"
            ) from error

    files.write(target, make)


def _check_files(folder: Path) -> None:
    """Raises DataError: names the first recording that is truncated."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            formats.check(path)


@contextlib.contextmanager
def _only_one_process(root: Path) -> Iterator[None]:
    try:
        lock = filelock.FileLock(root / ".events_np.lock")
        lock.acquire()
    except OSError as error:
        raise OutputError(
            f"{root} cannot be written: {error.strerror or error}. events_np is made there, so make the folder writable"
        ) from None
    try:
        yield
    finally:
        lock.release()


__all__ = ["Origin", "events_folder"]
