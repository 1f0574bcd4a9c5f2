"""Files and folders that appear whole or not at all, and the folder of caches."""

from collections.abc import Callable
from pathlib import Path

import platformdirs

from nas.errors import OutputError
from spikformer.files import whole


def write(path: Path, make: Callable[[Path], object]) -> Path:
    """Let `make` write a file or fill a folder under a temporary name, then put it at `path`.

    Raises:
        OutputError: the place cannot be written.
    """
    with whole(path, OutputError) as partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        make(partial)
    return path


def cache_folder() -> Path:
    """Where downloads and decoded images are kept: `~/.cache/spikformer-nas` on Linux."""
    return platformdirs.user_cache_path("spikformer-nas")
