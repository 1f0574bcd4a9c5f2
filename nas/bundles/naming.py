"""What a bundle is called: a folder, or the name of a published network. Nothing here needs torch."""

from pathlib import Path

from spikformer import published
from spikformer.errors import CheckpointError
from spikformer.fields import nearest


def check_name(bundle: str | Path) -> None:
    """
    Raises:
        CheckpointError: neither a folder nor a published name.
    """
    if not Path(bundle).is_dir() and str(bundle) not in published.names():
        nearby = nearest(str(bundle), published.names())
        raise CheckpointError(f"{bundle} is neither a folder that export wrote nor a published network. {nearby}")


__all__ = ["check_name"]
