"""Networks on disk: a folder with `config.json` and weights as safetensors. No pickle anywhere.

config.json           {"network": {...}, "proxy": {...}}: configs as `SpikformerConfig.to_dict` writes them
network.safetensors   weights of "network", where it has been trained
proxy.safetensors     weights of "proxy", where the search kept them
"""

import json
from pathlib import Path
from typing import Literal

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from spikformer.config import SpikformerConfig
from spikformer.errors import CheckpointError, ConfigError
from spikformer.model import Spikformer

Part = Literal["network", "proxy"]


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the state_dict of `model`; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        tensors = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
        safetensors.torch.save_file(tensors, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_weights(model: nn.Module, path: Path) -> None:
    """Read a state_dict into `model`.

    Raises:
        CheckpointError: the file is damaged, or its names or shapes are of another network.
    """
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from None
    except RuntimeError as error:
        raise CheckpointError(f"{path} holds the weights of another network: {error}") from None


def load(folder: str | Path, part: Part = "network") -> Spikformer:
    """The network of an exported folder, in eval mode.

    Args:
        folder: what `export` wrote.
        part: "network" for the network to train, "proxy" for the small one that the search trained.

    Returns:
        The model with the folder's weights for that part; with fresh weights where it has none.

    Raises:
        CheckpointError: no such folder or part, or a damaged file.
    """
    path = Path(folder) / "config.json"
    try:
        document = json.loads(path.read_text())
        config = SpikformerConfig.from_dict(document[part])
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}. Give a folder that export wrote") from None
    except (ValueError, TypeError, KeyError, ConfigError) as error:
        raise CheckpointError(f'{path} describes no "{part}": {error}') from None
    model = Spikformer(config)
    weights = Path(folder) / f"{part}.safetensors"
    if weights.exists():
        load_weights(model, weights)
    return model.eval()
