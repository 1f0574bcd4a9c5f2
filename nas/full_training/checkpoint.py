"""How far a training came, in a file that appears whole: tensors and plain values, so that none of it can run code.

Nothing random is kept: all draws follow from the recipe's seed and the number of the step.
"""

import dataclasses
import errno
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas import files
from nas.bundles import EXECUTION, TrainingRecipe
from nas.errors import TrainingError
from spikformer import schema
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.fields import plain

FILE = "checkpoint.pt"
SCHEMA = 1
"""Of the file."""

_KEY = "format"  # under which the number of the layout stands here since the first one
_FREE = (*EXECUTION, "source", "changes", "evaluate_every_epochs")


@dataclass(frozen=True)
class Checkpoint:
    """All that the steps to come depend on.

    Attributes:
        config: the network as it is trained.
        steps: done since the beginning.
        sums: of the loss and of the images since the last line of the log, [2].
        model, ema, optimizer, scaler: their state_dicts; None where there is no such thing.
        classes: names, in the order of the labels.
        images: fingerprint of the training images.
    """

    config: SpikformerConfig
    recipe: TrainingRecipe
    steps: int
    sums: torch.Tensor
    model: dict[str, Any]
    ema: dict[str, Any] | None
    optimizer: dict[str, Any]
    scaler: dict[str, Any] | None
    classes: tuple[str, ...]
    images: str


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """
    Raises:
        OutputError: it cannot be written; the file before it is left as it was.
    """
    document = {field.name: getattr(checkpoint, field.name) for field in dataclasses.fields(checkpoint)}
    document |= {_KEY: SCHEMA, "config": checkpoint.config.to_dict(), "recipe": plain(checkpoint.recipe)}

    def write(partial: Path) -> None:
        try:
            torch.save(document, partial)
        except RuntimeError as error:  # how torch says that a disk is full
            raise OSError(str(error).splitlines()[0]) from None

    files.write(folder / FILE, write)


def load(path: Path) -> Checkpoint:
    """
    Raises:
        TrainingError: it cannot be read safely, or is none of ours.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch wonders about pickles that are none of ours
            document = torch.load(path, map_location="cpu", weights_only=True)
        reason = schema.reason_against(document.pop(_KEY), SCHEMA)
        if reason is not None:
            raise TrainingError(f"{path}: {reason}")
        document["config"] = SpikformerConfig.from_dict(document["config"])
        document["recipe"] = TrainingRecipe.from_dict(document["recipe"])
        return _checked(Checkpoint(**document | {"classes": tuple(document["classes"])}))
    except OSError as error:
        if error.errno == errno.EINVAL:  # a place before its beginning: it was cut short
            raise TrainingError(
                f"{path} is not a checkpoint of a full training, or is damaged. {_remedy(path)}"
            ) from None
        raise TrainingError(f"{path} cannot be read: {error.strerror or error}. Check the path") from None
    except RuntimeError:  # not torch's own text, which recommends to read such a file unsafely
        raise TrainingError(f"{path} is not a checkpoint of a full training, or is damaged. {_remedy(path)}") from None
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error):
            raise TrainingError(
                f"{path} holds more than tensors and numbers, which could run code. {_remedy(path)}"
            ) from None
        raise TrainingError(f"{path} is not a checkpoint of a full training, or is damaged. {_remedy(path)}") from None
    except (EOFError, LookupError, TypeError, AttributeError, ValueError, ConfigError) as error:
        raise TrainingError(
            f"{path} is not a checkpoint of a full training, or is damaged: {_first(error)}. {_remedy(path)}"
        ) from None


def _checked(checkpoint: Checkpoint) -> Checkpoint:
    """
    Raises:
        TypeError: a part that no training writes.
    """
    tables = [checkpoint.model, *(() if checkpoint.ema is None else (checkpoint.ema,))]
    right = (
        type(checkpoint.steps) is int
        and checkpoint.steps >= 0
        and isinstance(checkpoint.sums, torch.Tensor)
        and checkpoint.sums.shape == (2,)
        and all(isinstance(table, dict) and all(map(torch.is_tensor, table.values())) for table in tables)
        and isinstance(checkpoint.optimizer, dict)
        and all(isinstance(word, str) for word in (*checkpoint.classes, checkpoint.images))
    )
    if not right:
        raise TypeError("parts of the file have types that training does not write")
    return checkpoint


def check_same(
    checkpoint: Checkpoint, config: SpikformerConfig, recipe: TrainingRecipe, images: str, path: Path
) -> None:
    """
    Raises:
        TrainingError: the training in `path` is another one.
    """
    before, now = plain(checkpoint.recipe), plain(recipe)
    differ = [key for key in now if before[key] != now[key] and key not in _FREE]
    other = [f"{key} {before[key]!r} then, {now[key]!r} now" for key in differ]
    if checkpoint.config != config:
        other.append(f"network {checkpoint.config.config_id} then, {config.config_id} now")
    if checkpoint.images != images:
        other.append("the training images differ")
    if other:
        raise TrainingError(
            f"{path} began with other settings: {'; '.join(other[:4])}. Give the same settings, or another --out"
        )


def _remedy(path: Path) -> str:
    if path.name == FILE:
        return "Train into another folder: --out DIR"
    return f"Give the {FILE} of a training; of weights that authors released give both: --network NAME --weights {path}"


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


__all__ = ["FILE", "SCHEMA", "Checkpoint", "check_same", "load", "save"]
