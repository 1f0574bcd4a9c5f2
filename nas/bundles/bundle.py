"""Bundles: folders of a network to be trained, or trained, with all that this takes.

config.json         see `spikformer.checkpoints`
model.safetensors   weights, if there are any
recipe.toml         how it is to be trained, or was
card.md             what it is, its figures and how they came about
proxy.safetensors   weights of the proxy that the search trained, if they were kept
"""

import dataclasses
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from nas import files
from nas.bundles import recipe as recipes
from nas.bundles.naming import check_name
from nas.bundles.networks import config_of
from nas.bundles.recipe import TrainingRecipe
from nas.errors import DataError, OutputError
from nas.settings import EVENT_DATASETS, DataSettings
from nas.typed import hold_value
from spikformer import checkpoints, published, schema
from spikformer.config import SpikformerConfig
from spikformer.fields import PlainTable
from spikformer.model import Spikformer
from spikformer.transfer import transferred

RECIPE = "recipe.toml"
_OWN = ("config.json", RECIPE, "card.md", *checkpoints.WEIGHTS.values(), "model.onnx")


@dataclass(frozen=True)
class Bundle:
    """
    Attributes:
        name: of the folder, or of a published network.
        folder: None for a published network, which has none.
        config: of the network to train. Weights that the bundle comes with are of the document's network.
        document: of `config.json`.
        recipe: how it is trained.
        weights: file that the authors of the network released.
        new_head: whether the classifier starts anew.
    """

    name: str
    folder: Path | None
    config: SpikformerConfig
    document: PlainTable
    recipe: TrainingRecipe
    weights: Path | None = None
    new_head: bool = False

    @property
    def is_trained(self) -> bool:
        """Whether it comes with weights."""
        if self.weights is not None:
            return True
        return self.folder is not None and (self.folder / checkpoints.WEIGHTS["network"]).exists()

    @property
    def dataset(self) -> str:
        """That of its proxy or of its name, as `--space` files call it; "" where nothing tells."""
        recorded = self.document.get("data", {}).get("dataset", "")
        return str(recorded or _named_dataset(self.name))

    @property
    def cut(self) -> tuple[DataSettings, int]:
        """How the search that found it cut its images, and the seed of that cut; defaults where nothing tells.

        Raises:
            DataError: the document says what no search writes.
        """
        data = self.document.get("data", {"dataset": self.dataset} if self.dataset in EVENT_DATASETS else {})
        seed = data.get("seed", 0)
        try:
            settings = DataSettings.of(data)
            hold_value("seed", seed, int)
        except TypeError:
            raise DataError(
                f"{self.name}: config.json does not say how the images were split. Export the bundle again"
            ) from None
        return settings, seed

    def model(self, config: SpikformerConfig | None = None) -> Spikformer:
        """The network with the bundle's weights, or fresh ones.

        Args:
            config: instead of the bundle's, with the same weights as far as they fit (`spikformer.transfer`).

        Raises:
            CheckpointError: damaged weights, or of another network.
        """
        config = config or self.config
        if not self.is_trained:
            return Spikformer(config)
        model = self._trained_model()
        if config == model.config and not self.new_head:
            return model
        return transferred(model, config, new_head=self.new_head)

    def _trained_model(self) -> Spikformer:
        if self.weights is not None:
            return checkpoints.load_official(self.weights, SpikformerConfig.from_dict(self.document["network"])).float()
        assert self.folder is not None
        return checkpoints.load(self.folder)

    def for_images(self, classes: int = 0, in_channels: int = 0) -> "Bundle":
        """The bundle for other images; its weights come with it as far as they fit.

        Args:
            classes: of a new classifier; 0 keeps the one that is there.
            in_channels: of the images; 0 keeps them.

        Raises:
            ConfigError: there is no such network.
        """
        head, stem, document = self.config.head, self.config.stem, dict(self.document)
        name, recipe = self.name, self.recipe
        if classes:
            head = dataclasses.replace(head, num_classes=classes)
            document.pop("classes", None)
            name += f"-{classes}-classes"
        if in_channels:
            stem = dataclasses.replace(stem, in_channels=in_channels)
            name, recipe = f"{name}-{in_channels}-channels", recipes.for_channels(recipe, in_channels)
        return dataclasses.replace(
            self,
            name=name,
            config=dataclasses.replace(self.config, head=head, stem=stem),
            document=document,
            recipe=recipe,
            new_head=bool(classes),
        )


def read(bundle: str | Path, recipe: str = "", weights: str | Path | None = None) -> Bundle:
    """A bundle by its folder, or a published network by its name.

    Args:
        recipe: name or file of another than the bundle's own.
        weights: file that the authors of the network released (`spikformer.checkpoints.load_official`). The network
            may then also be a JSON file with its config.

    Raises:
        ConfigError: `weights` are of no published network, nor of a config that can be read.
        CheckpointError: neither a folder nor a published name; a damaged folder.
        TrainingError: no such recipe, or a damaged one.
    """
    if weights is not None:
        return _released(str(bundle), recipe, Path(weights))
    check_name(bundle)
    folder = Path(bundle)
    if folder.is_dir():
        document = checkpoints.read_document(folder)
        config = checkpoints.config_of(folder, document)
        own = folder / RECIPE
        chosen = recipe or (str(own) if own.is_file() else "")
        dataset = str(document.get("data", {}).get("dataset", ""))
        return Bundle(folder.resolve().name, folder, config, document, _recipe(config, chosen, dataset=dataset))
    name = str(bundle)
    config = published.config(name)
    return Bundle(name, None, config, {"network": config.to_dict()}, _recipe(config, recipe, name))


def _released(network: str, recipe: str, weights: Path) -> Bundle:
    config = config_of(network)
    name = network if network in published.names() else Path(network).resolve().stem
    return Bundle(name, None, config, {"network": config.to_dict()}, _recipe(config, recipe, name), weights)


def _recipe(config: SpikformerConfig, chosen: str, network: str = "", dataset: str = "") -> TrainingRecipe:
    if chosen:
        return recipes.read(chosen, network)
    return recipes.for_network(config, network, has_events=(dataset or _named_dataset(network)) in EVENT_DATASETS)


_DATASETS = {"cifar100": "cifar100", "cifar10": "cifar10", "cifar10dvs": "cifar10dvs", "dvs128": "dvs128gesture"}
"""Words of published names -> data set."""


def _named_dataset(name: str) -> str:
    """The data set that a published name tells, or ""."""
    return next((_DATASETS[word] for word in name.split("_") if word in _DATASETS), "")


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
            files.write(path, lambda partial, content=content: partial.write_bytes(content))
        else:
            files.write(path, lambda partial, content=content: shutil.copyfile(content, partial))
        with path.open("rb") as file:
            sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    files.write(folder / RECIPE, lambda partial: partial.write_text(recipe.to_toml()))
    files.write(folder / "card.md", lambda partial: partial.write_text(card))
    numbered = {schema.KEY: checkpoints.SCHEMA} | document | {schema.KEY: checkpoints.SCHEMA}  # first, and of today
    text = json.dumps(numbered | ({"sha256": sums} if sums else {}), indent=2) + "\n"
    files.write(folder / "config.json", lambda partial: partial.write_text(text))


__all__ = ["RECIPE", "Bundle", "check_ours", "read", "write", "write_into"]
