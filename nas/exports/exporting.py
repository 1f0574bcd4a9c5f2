"""Writes bundles that can be trained in full, from candidates or published networks."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from nas.bundles import TrainingRecipe, recipe
from nas.bundles import bundle as bundles
from nas.errors import TrainingError
from nas.exports.cards import card, published_card
from nas.exports.picking import pick
from nas.exports.sizing import Size, why_as_is
from nas.settings import EVENT_DATASETS
from nas.studies import Study
from nas.training import Candidate, in_words
from spikformer import checkpoints, formats, published
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.fields import PlainTable


def export(
    study: Study,
    which: str = "front",
    out: str | Path | None = None,
    size: Size | None = None,
    on_written: Callable[[Path], None] = lambda _folder: None,
    program: str = "python -m nas",
) -> list[Path]:
    """Write a bundle for each picked candidate, and return the folders.

    For ImageNet, a word picks a candidate of each family of the front (`nas.exports.transfer`).

    Args:
        which: which candidates; see `pick`.
        out: folder in which the bundles are written; `results/<study>/exports` by default.
        size: size of the networks; see `Size`, and `why_as_is` for those that are not made for ImageNet.
        on_written: is called with each folder that was written. One may take a quarter of a minute.
        program: how the commands on the cards start.

    Raises:
        StudyError: there is nothing to export under that name.
        OutputError: a folder cannot be written, or it holds files that `export` did not write.
        TrainingError: there is no network of that size.
    """
    place = Path(out) if out is not None else study.folder / "exports"
    size = size or Size()
    size = dataclasses.replace(size, as_is=True) if why_as_is(study, size) else size
    chosen = pick(study, which, per_family=not size.as_is)
    networks = {number: _sized(study, candidate, size) for number, candidate in chosen.items()}
    folders = []
    for number, network in networks.items():
        folders.append(_export(study, number, chosen[number], network, place, size, program))
        on_written(folders[-1])
    return folders


def export_published(
    network: str,
    out: str | Path | None = None,
    weights: str | Path | None = None,
    program: str = "python -m nas",
) -> Path:
    """Write a bundle of a published network, with its family's recipe.

    Args:
        network: its name; with weights also a JSON file with its config.
        weights: file that its authors released; None writes a network to be trained.
        program: by which the commands on the card are called.

    Raises:
        ConfigError: no network of that name.
        CheckpointError: weights that cannot be read safely, or of another network.
        OutputError: a folder that cannot be written.
    """
    if weights is None:
        published.config(network)  # a folder of that name is no published network
    bundle = bundles.read(network, weights=weights)
    folder = Path(out or "results/exports") / bundle.name
    held: dict[checkpoints.Part, bytes | Path] = {}
    if weights is not None:
        held["network"] = checkpoints.weights_of(bundle.model())
    text = published_card(bundle, folder, program)
    return bundles.write(folder, bundle.document, bundle.recipe, text, held)


def convert(folder: str | Path) -> tuple[Path, float]:
    """Write the deployable form of a bundle's trained network beside it, as `model.onnx`.

    Returns:
        The file, and the largest relative difference to torch that its check saw.

    Raises:
        TrainingError: the bundle has no trained weights.
        FormatError: the network cannot be written as ONNX; a file that computes something else is not left behind.
    """
    bundle = bundles.read(folder)
    proxy = Path(folder) / checkpoints.WEIGHTS["proxy"]
    as_searched = bundle.document.get("proxy") == bundle.document["network"] and proxy.exists()
    if not bundle.is_trained and not as_searched:
        raise TrainingError(
            f"{folder} has no trained weights to convert. Train it first, then convert the trained folder"
        )
    assert bundle.folder is not None
    model = bundle.model() if bundle.is_trained else checkpoints.load(bundle.folder, "proxy")
    path = bundle.folder / "model.onnx"
    return path, formats.write_onnx(model, path)


def _sized(study: Study, candidate: Candidate, size: Size) -> SpikformerConfig:
    try:
        return size.of(candidate.config, study.target_image_size)
    except ConfigError as error:
        raise TrainingError(
            f"{in_words(candidate)} cannot be made for {study.target_image_size} x {study.target_image_size} pixels: "
            f"{error}. Use --as-is, or --pick another"
        ) from None


def _export(
    study: Study,
    number: int,
    candidate: Candidate,
    network: SpikformerConfig,
    place: Path,
    size: Size,
    program: str,
) -> Path:
    folder = place / f"{study.folder.name}-trial{number}"  # a study in a database may be called ../x
    weights = study.weights(candidate)
    weights_by_part: dict[checkpoints.Part, bytes | Path] = {"proxy": weights} if weights.exists() else {}
    document = {
        "network": network.to_dict(),
        "proxy": candidate.config.to_dict(),
        "data": _data(study),
        "study": {"name": study.name, "trial": number},
    }
    own = _recipe_for(network, study.identity.get("data.dataset") if size.as_is else None)
    text = card(study, number, candidate, network, own, folder, size, bool(weights_by_part), program)
    return bundles.write(folder, document, own, text, weights_by_part)


def _recipe_for(network: SpikformerConfig, dataset: str | None) -> TrainingRecipe:
    """That of the images, where they have one, else the family's; for grey images with one mean and deviation."""
    if dataset in ("digits", "dvs_digits"):
        own = recipe.read(dataset)
    else:
        own = recipe.for_network(network, has_events=dataset in EVENT_DATASETS)
    return recipe.for_channels(own, network.stem.in_channels)


def _data(study: Study) -> PlainTable:
    """Which images the proxy was trained and measured on, and how they were cut."""
    identity = study.identity
    cut = {key.removeprefix("data."): value for key, value in identity.items() if key.startswith("data.")}
    return cut | {"train_images": identity["recipe.train_images"], "seed": identity["seed"]}


__all__ = ["Size", "convert", "export", "export_published"]
