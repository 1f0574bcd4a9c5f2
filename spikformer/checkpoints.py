"""Networks on disk: a folder with `config.json` and weights as safetensors. Nothing we write is a pickle.

config.json         {"network": {...}}, the config as `SpikformerConfig.to_dict` writes it, and, where there are such
                    things, "proxy", the small network behind it; "data", the proxy's images; "study", where it was
                    found; "classes", names in the order of the logits; "training", how it ended; "sha256" of each
                    file of weights; "schema", the number of this layout (`spikformer.schema`)
model.safetensors   weights of "network", where it has been trained
proxy.safetensors   weights of "proxy", where the search kept them

`load_official` reads what the authors of published networks released; of their pickles, tensors and plain
values only.
"""

import argparse
import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Literal

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from spikformer import official, published, schema
from spikformer.config import SpikformerConfig
from spikformer.errors import CheckpointError, ConfigError
from spikformer.fields import PlainTable, nearest
from spikformer.model import Spikformer

_LOGGER = logging.getLogger("spikformer")

Part = Literal["network", "proxy"]
WEIGHTS: dict[Part, str] = {"network": "model.safetensors", "proxy": "proxy.safetensors"}
SCHEMA = 1
"""Of `config.json`. Folders of 0 differ in nothing but the number."""

_KEYS = (schema.KEY, "network", "proxy", "data", "study", "classes", "training", "sha256")
_FIELDS: dict[str, dict[str, type]] = {"data": {"dataset": str}, "study": {"name": str, "trial": int}}


def weights_of(model: nn.Module) -> bytes:
    """The state_dict of `model` as a safetensors file."""
    return safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()})


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


def load(folder: str | Path, part: Part = "network", *, config: SpikformerConfig | None = None) -> Spikformer:
    """The network of an exported folder, in eval mode.

    Args:
        folder: folder that `export` or `train` wrote.
        part: "network" for the network to train, "proxy" for the small one that the search trained.
        config: config to use with the folder's weights instead of the folder's own, with other time steps or another
            image size.

    Returns:
        The model with the folder's weights for that part, or with fresh weights where it has none.

    Raises:
        CheckpointError: there is no such folder or part, a file is damaged, or weights are not the recorded ones.
    """
    folder = Path(folder)
    document = read_document(folder)
    if part not in document:
        raise CheckpointError(f'{folder / "config.json"} has no "{part}"')
    model = Spikformer(config or config_of(folder, document, part))
    weights = folder / WEIGHTS[part]
    if weights.exists():
        _check_sum(weights, document.get("sha256", {}))
        load_weights(model, weights)
    return model.eval()


def read_document(folder: Path) -> PlainTable:
    """What a folder's `config.json` says.

    Raises:
        CheckpointError: it is missing or damaged, or says what this program does not know.
    """
    path = folder / "config.json"
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}. Give a folder that export wrote") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}. Export the folder again") from None
    if not isinstance(document, dict):
        raise CheckpointError(f"{path} does not describe a network. Give a folder that export wrote")
    reason = schema.reason_against(document.get(schema.KEY), SCHEMA)
    if reason is not None:
        raise CheckpointError(f"{path}: {reason}")
    for key, value in document.items():
        if key not in _KEYS:
            raise CheckpointError(f'{path}: unknown key "{key}". {nearest(key, _KEYS)}')
        _check_value(path, key, value)
    return document


def _check_value(path: Path, key: str, value: object) -> None:
    """
    Raises:
        CheckpointError: a value of another type than `export` and `train` write.
    """
    fields = _FIELDS.get(key, {})
    if key == schema.KEY:
        return  # checked first, before keys that only a later layout has
    if key == "classes":
        wrong = [] if isinstance(value, list) and all(isinstance(name, str) for name in value) else [key]
    elif isinstance(value, dict):
        wrong = [f"{key}.{name}" for name, kind in fields.items() if not isinstance(value.get(name, kind()), kind)]
    else:
        wrong = [key]
    if wrong:
        raise CheckpointError(
            f"{path}: {wrong[0]} is not what `export` writes there: {repr(value)[:60]}. Export the folder again"
        )


def config_of(folder: Path, document: PlainTable, part: Part = "network") -> SpikformerConfig:
    """
    Raises:
        CheckpointError: the document describes no such network.
    """
    try:
        return SpikformerConfig.from_dict(document[part])
    except (KeyError, ConfigError) as error:
        raise CheckpointError(f'{folder / "config.json"} does not describe a network under "{part}": {error}') from None


def _check_sum(path: Path, recorded: PlainTable) -> None:
    """What was recorded when the file was written; files without a record are read as they are."""
    if path.name not in recorded:
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != recorded[path.name]:
        raise CheckpointError(
            f"{path} has changed since it was written: its SHA-256 is {digest[:12]}..., but config.json says "
            f"{str(recorded[path.name])[:12]}.... Restore the file; if you changed it, delete its line in config.json"
        )


def load_official(path: str | Path, network: str | SpikformerConfig) -> Spikformer:
    """A published network with the weights that its authors released, in eval mode.

    Weights that their code builds and never uses (layer norms, `talking_heads`) are left out, with one line in
    the log "spikformer" at level INFO.

    Args:
        path: `.safetensors`, or what `torch.save` wrote: the weights themselves, or a dict that holds them as
            "state_dict", "model", or, where there is neither, their moving average "state_dict_ema" or
            "model_ema".
        network: a name that `spikformer.published` knows, or a config. The weights do not tell the number of
            heads, the time steps, the image size and, of Spike-driven Transformer, the pools: these are the
            config's.

    Returns:
        The model, in float64 if the weights are, else in float32.

    Raises:
        CheckpointError: no such file, one that cannot be read safely, or weights of another network.
        ConfigError: no published network of that name.
    """
    config = published.config(network) if isinstance(network, str) else network
    weights = _official_weights(Path(path))
    model = Spikformer(config)
    if all(tensor.dtype == torch.float64 for tensor in weights.values() if tensor.is_floating_point()):
        model = model.double()
    try:
        translated, unused = official.translate(weights, config, model.state_dict())
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    model.load_state_dict(translated)
    if unused:
        _LOGGER.info(
            "%s: left out %d weights that the authors' forward never uses: %s",
            path,
            len(unused),
            official.shortened(unused),
        )
    return model.eval()


def _official_weights(path: Path) -> dict[str, Tensor]:
    """The state_dict of a released file, without the "module." of a parallel model."""
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file. Give the checkpoint that the authors released")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    weights = _state_dict(content)
    if weights is None:
        keys = f": its keys are {', '.join(map(str, list(content)[:5]))}" if isinstance(content, dict) else ""
        raise CheckpointError(
            f"{path} holds no state_dict, neither at its top nor under {', '.join(_NESTED)}{keys}. Give a file of "
            "names and tensors"
        )
    if all(name.startswith("module.") for name in weights):
        return {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    return weights


_NESTED = ("state_dict", "model", "state_dict_ema", "model_ema")


def _state_dict(content: object) -> dict[str, Tensor] | None:
    if not isinstance(content, dict):
        return None
    weights = next((content[key] for key in _NESTED if isinstance(content.get(key), dict)), content)
    return weights if weights and all(map(_is_weight, weights.items())) else None


def _is_weight(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}. Download it again") from None


def _read_pickle(path: Path) -> object:
    try:
        # The authors' trainers save their command line next to the weights: harmless, and refused by default.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Check its permissions") from None
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        refused = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
        if refused is not None:
            raise CheckpointError(
                f"{path} holds a {refused[1]}, and a pickle of more than tensors and plain values can run code. If you "
                f"trust the file, load it with torch yourself and save its state_dict alone"
            ) from None
        # Not torch's own text, which recommends to read such a file unsafely.
        raise CheckpointError(
            f"{path} is damaged, or is not a torch checkpoint ({type(error).__name__}). Download it again"
        ) from None
