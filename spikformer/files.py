"""Files and folders that appear whole or not at all. Standard library only."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from spikformer.errors import SpikformerError


@contextlib.contextmanager
def whole(path: Path, error: type[SpikformerError]) -> Iterator[Path]:
    """A temporary name for a file or a folder, which comes to `path` once the block ends without an error.

    Args:
        error: class to raise where the place cannot be written, by the block's end or within it.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        if partial.is_dir() and path.is_dir():  # no folder replaces another in one step: the old one stays until then
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.replace(old)
            partial.replace(path)
            shutil.rmtree(old)
        else:
            partial.replace(path)
    except OSError as cause:
        raise error(
            f"{path} cannot be written: {cause.strerror or cause}. Free some space or choose another place"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)
