"""Files and folders that appear whole or not at all, and the folder of caches."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import platformdirs

from nas.errors import OutputError


def write(path: Path, make: Callable[[Path], object]) -> Path:
    """Let `make` write a file or fill a folder under a temporary name, then put it at `path`.

    Raises:
        OutputError: the place cannot be written.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        make(partial)
        if path.is_dir() and not partial.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if path.is_dir():  # a folder cannot be replaced in one step: the old one is there until the new one is
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.replace(old)
            partial.replace(path)
            shutil.rmtree(old)
        else:
            partial.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}. Make room or name another place"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)
    return path


def cache_folder() -> Path:
    """Where downloads and decoded images are kept: `~/.cache/spikformer-nas` on Linux."""
    return platformdirs.user_cache_path("spikformer-nas")
