"""Bundles: folders of a network to be trained, or trained, with all that this takes.

config.json         see `spikformer.checkpoints`
model.safetensors   weights, if there are any
recipe.toml         how it is to be trained, or was
card.md             what it is, its figures and how they came about
proxy.safetensors   weights of the proxy that the search trained, if they were kept
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from nas import files
from nas.bundles import recipe as recipes
from nas.bundles.naming import check_name
from nas.bundles.recipe import TrainingRecipe
from nas.errors import OutputError
from spikformer import checkpoints, published
from spikformer.config import SpikformerConfig
from spikformer.fields import PlainTable
from spikformer.model import Spikformer

RECIPE = "recipe.toml"
_OWN = ("config.json", RECIPE, "card.md", *checkpoints.WEIGHTS.values(), "model.onnx")


@dataclass(frozen=True)
class Bundle:
    """
    Attributes:
        name: of the folder, or of a published network.
        folder: None for a published network, which has none.
        document: of `config.json`.
        recipe: how it is trained.
    """

    name: str
    folder: Path | None
    config: SpikformerConfig
    document: PlainTable
    recipe: TrainingRecipe

    @property
    def is_trained(self) -> bool:
        """Whether it comes with weights."""
        return self.folder is not None and (self.folder / checkpoints.WEIGHTS["network"]).exists()

    @property
    def dataset(self) -> str:
        """That of its proxy or of its name, as `--space` files call it; "" where nothing tells."""
        recorded = self.document.get("data", {}).get("dataset", "")
        named = next((word for word in ("cifar100", "cifar10") if word in self.name.split("_")), "")
        return str(recorded or named)

    def model(self, config: SpikformerConfig | None = None) -> Spikformer:
        """The network with the bundle's weights, or fresh ones.

        Args:
            config: instead of the bundle's, with the same weights.

        Raises:
            CheckpointError: damaged weights, or of another network.
        """
        if self.folder is None:
            return Spikformer(config or self.config)
        return checkpoints.load(self.folder, config=config)


def read(bundle: str | Path, recipe: str = "") -> Bundle:
    """A bundle by its folder, or a published network by its name.

    Args:
        recipe: name or file of another than the bundle's own.

    Raises:
        CheckpointError: neither a folder nor a published name; a damaged folder.
        TrainingError: no such recipe, or a damaged one.
    """
    check_name(bundle)
    folder = Path(bundle)
    if folder.is_dir():
        document = checkpoints.read_document(folder)
        config = checkpoints.config_of(folder, document)
        own = folder / RECIPE
        chosen = recipe or (str(own) if own.is_file() else "")
        return Bundle(folder.resolve().name, folder, config, document, _recipe(config, chosen, ""))
    name = str(bundle)
    config = published.config(name)
    return Bundle(name, None, config, {"network": config.to_dict()}, _recipe(config, recipe, name))


def _recipe(config: SpikformerConfig, chosen: str, network: str) -> TrainingRecipe:
    return recipes.read(chosen, network) if chosen else recipes.for_network(config, network)


def write(
    folder: Path,
    document: PlainTable,
    recipe: TrainingRecipe,
    card: str,
    weights: dict[checkpoints.Part, bytes | Path],
) -> Path:
    """A bundle, whole or not at all.

    Args:
        weights: safetensors, as bytes or in a file.

    Raises:
        OutputError: the folder cannot be written, or holds files of others.
    """
    check_ours(folder)

    def fill(partial: Path) -> None:
        partial.mkdir(parents=True)
        write_into(partial, document, recipe, card, weights)

    return files.write(folder, fill)


def check_ours(folder: Path) -> None:
    """
    Raises:
        OutputError: a folder that holds files of others.
    """
    foreign = {path.name for path in folder.iterdir()} - set(_OWN) if folder.is_dir() else set()
    if foreign:
        raise OutputError(
            f"{folder} holds {', '.join(sorted(foreign))}, which export did not write. Give another --out"
        )


def write_into(
    folder: Path,
    document: PlainTable,
    recipe: TrainingRecipe,
    card: str,
    weights: dict[checkpoints.Part, bytes | Path],
) -> None:
    """The bundle's files into a folder that is there; `config.json`, which makes it one, comes last.

    Raises:
        OutputError: a file cannot be written.
    """
    sums = {}
    for part, content in weights.items():
        path = folder / checkpoints.WEIGHTS[part]
        if isinstance(content, bytes):
            files.write(path, lambda partial, content=content: partial.write_bytes(content))  # type: ignore[misc]
        else:
            files.write(path, lambda partial, content=content: shutil.copyfile(content, partial))  # type: ignore[misc]
        with path.open("rb") as file:
            sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    files.write(folder / RECIPE, lambda partial: partial.write_text(recipe.to_toml()))
    files.write(folder / "card.md", lambda partial: partial.write_text(card))
    text = json.dumps(document | ({"sha256": sums} if sums else {}), indent=2) + "\n"
    files.write(folder / "config.json", lambda partial: partial.write_text(text))


__all__ = ["RECIPE", "Bundle", "check_ours", "read", "write", "write_into"]
