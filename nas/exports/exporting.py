"""From a candidate to a bundle that can be trained in full."""

import dataclasses
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas.bundles import TrainingRecipe, recipe
from nas.bundles import bundle as bundles
from nas.costs import MEASURED, scaling, static_model, target, total_macs
from nas.errors import TrainingError
from nas.exports.picking import pick
from nas.full_training import memory
from nas.progress import in_si, in_words
from nas.reports import repeats
from nas.studies import Study
from nas.training import Candidate
from spikformer import checkpoints, formats, published
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.fields import PlainTable

_ASSUMED_FLOPS = 100e12  # a second; a quarter of what an A100 to H100 promises for bfloat16: an assumption


@dataclass(frozen=True)
class Size:
    """How large the network is that is made of a candidate.

    Attributes:
        as_is: the searched network itself, for the images that it was searched on.
        params, macs: else for ImageNet, and as large as these allow (`nas.costs.scaling`); without, as wide and deep
            as it was searched.
        classes: that it tells apart; 0, ImageNet's 1000, or as many as it was searched with.
    """

    as_is: bool = False
    params: int | None = None
    macs: int | None = None
    classes: int = 0

    def of(self, config: SpikformerConfig, image_size: int) -> SpikformerConfig:
        """
        Raises:
            TrainingError: contradictions, or nothing within the budget.
            ConfigError: stages that halve the grid more often than the image size allows.
        """
        if self.as_is and (self.params is not None or self.macs is not None):
            raise TrainingError("--as-is keeps the searched size, --params and --macs change it. Give one or the other")
        network = config if self.as_is else target.for_imagenet(config, image_size)
        if self.classes:
            head = dataclasses.replace(network.head, num_classes=self.classes)
            network = dataclasses.replace(network, head=head)
        if self.params is None and self.macs is None:
            return network
        return scaling.to_budget(network, self.params, self.macs)


def export(
    study: Study,
    which: str = "front",
    out: str | Path | None = None,
    size: Size | None = None,
    on_written: Callable[[Path], None] = lambda _folder: None,
) -> list[Path]:
    """Write a bundle for each picked candidate; returns the folders.

    Args:
        which: see `pick`.
        out: the folders lie in it; `results/<study>/exports` by default.
        size: of the networks; see `Size`.
        on_written: called with each folder, which may take a quarter of a minute.

    Raises:
        StudyError: nothing to export under that name.
        OutputError: a folder that cannot be written, or that holds files of others.
        TrainingError: no network of that size.
    """
    place = Path(out) if out is not None else study.folder / "exports"
    chosen = pick(study, which)
    networks = {number: _sized(study, candidate, size or Size()) for number, candidate in chosen.items()}
    folders = []
    for number, network in networks.items():
        folders.append(_export(study, number, chosen[number], network, place, size))
        on_written(folders[-1])
    return folders


def export_published(name: str, out: str | Path | None = None) -> Path:
    """Write a bundle of a published network, with its family's recipe and without weights.

    Raises:
        ConfigError: no network of that name.
        OutputError: a folder that cannot be written.
    """
    config = published.config(name)
    own = recipe.for_network(config, name)
    folder = Path(out or "results/exports") / name
    text = _published_card(name, config, own, folder)
    return bundles.write(folder, {"network": config.to_dict()}, own, text, {})


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
        raise TrainingError(f"{folder} has no trained weights to convert. Train it first, and convert what comes of it")
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
    study: Study, number: int, candidate: Candidate, network: SpikformerConfig, place: Path, size: Size | None
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
    own = _recipe_for(network)
    text = card(study, number, candidate, network, own, folder, size or Size(), bool(weights_by_part))
    return bundles.write(folder, document, own, text, weights_by_part)


def _recipe_for(network: SpikformerConfig) -> TrainingRecipe:
    """The family's; of grey images with one mean and deviation, those of ImageNet's channels together."""
    own = recipe.for_network(network)
    return own if network.stem.in_channels == 3 else dataclasses.replace(own, mean=(0.449,), std=(0.226,))


def _data(study: Study) -> PlainTable:
    """Which images the proxy was trained and measured on, and how they were cut."""
    identity = study.identity
    cut = {key.removeprefix("data."): value for key, value in identity.items() if key.startswith("data.")}
    return cut | {"train_images": identity["recipe.train_images"], "seed": identity["seed"]}


def predicted(energy_mj: float) -> str:
    """What a card says of an energy that is predicted for a network that was not trained."""
    energy_j = energy_mj * 1e-3
    error = target.PREDICTION_ERROR
    low, middle, high = (in_si(energy_j * factor, "J") for factor in (1 / (1 + error), 1, 1 / (1 - error)))
    return (
        f'Predicted energy of the network here: {middle} an image, {low} to {high}, convention "measured": its own '
        "operations, exactly, if each layer is as busy as the proxy's. The interval is "
        f"{100 * error:.0f} %, the error of such a prediction on the one network whose rates on ImageNet are known, "
        "where it was too low (`benchmarks/target_energy.py`); for another network it may be wider."
    )


def _rule(size: Size) -> str:
    if size.as_is:
        return "The searched network itself."
    if size.params is None and size.macs is None:
        return "As wide and deep as it was searched, with a stem for larger images."
    return (
        f"The largest on the searched network's line with at most {scaling.in_words(size.params, size.macs)}: depth "
        f"grows as the square of the width, up to {scaling.MOST_BLOCKS} blocks; heads, MLP ratio and all else stay."
    )


def _requirements(network: SpikformerConfig, own: TrainingRecipe) -> str:
    """Size, work, memory: what follows from the network and its recipe alone."""
    macs, parameters = total_macs(network), sum(p.numel() for p in static_model(network).parameters())
    images = 1_281_167 if network.stem.image_size > 64 else 50_000
    flops = 6 * macs * own.all_epochs * images  # forward and backward: three passes of two operations a MAC
    hours = flops / _ASSUMED_FLOPS / 3600
    kept_gb, checkpointed_gb = memory.kept_gb(network)
    states_gb = memory.states_gb(parameters, own)
    stem, epochs = network.stem, own.all_epochs
    rows = {
        "images": f"{stem.image_size} x {stem.image_size}, {network.head.num_classes} classes",
        "time steps": network.time_steps,
        "blocks x width, by stage": ", ".join(f"{stage.depth} x {stage.embed_dim}" for stage in network.stages),
        "parameters": f"{parameters:,}",
        "dense MACs an image, all time steps": in_si(macs, "").strip(),
        "memory of a GPU": f"{states_gb:.1f} GB, and {1000 * kept_gb:.0f} MB for each image that it runs at a time "
        f"({1000 * checkpointed_gb:.0f} MB with `checkpointing=true`)",
        "work of the whole recipe": f"{flops:.1e} FLOP for {images:,} images and {epochs} epochs: {hours:,.0f} hours "
        f"at {_ASSUMED_FLOPS / 1e12:.0f} TFLOP/s",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""| of the network to train | |
|---|---|
{table}

Memory is estimated on a CPU from what a forward pass in bfloat16 keeps, the speed is an assumption: neither was
measured on a GPU. `--dry-run` measures both on yours."""


def _commands(folder: Path, network: SpikformerConfig) -> str:
    where, data = shlex.quote(str(folder)), "CIFAR" if network.stem.image_size <= 64 else "IMAGENET"
    return f"""```
python cli.py train {where} --dry-run
python cli.py train {where} --data-dir {data}
torchrun --nproc-per-node 8 cli.py train {where} --data-dir {data}
python cli.py evaluate results/trained/{folder.name} --data-dir {data}
```"""


def _accuracies(study: Study, number: int, candidate: Candidate) -> str:
    """Rows of the card's table: report-val first, of further seeds where there are any."""
    rows = {"report-val accuracy (not used to choose)": f"{100 * (candidate.report_val_accuracy or 0):.2f} %"}
    confirmed = repeats.read(study, study.candidates, MEASURED).confirmed
    for row in confirmed[confirmed["trial"] == number].to_dict("records"):
        words = f"report-val accuracy, mean of {row['seeds']} further seeds, 95 % (the figure to quote)"
        rows = {words: repeats.interval(row, "report_val")} | rows
    rows["search-val accuracy (the search chose by it)"] = f"{100 * (candidate.search_val_accuracy or 0):.2f} %"
    return "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def card(
    study: Study,
    number: int,
    candidate: Candidate,
    network: SpikformerConfig,
    own: TrainingRecipe,
    folder: Path,
    size: Size,
    has_weights: bool,
) -> str:
    """What an exported folder is, its figures, how they came about, and how to train and load it."""
    energy = in_si((candidate.energy_mj or 0) * 1e-3, "J")
    foreseen = "" if size.as_is else predicted(target.predicted_energy_mj(candidate.operations, network))
    proxy, pixels = candidate.recipe, candidate.config.stem.image_size
    proxy_weights = (
        "`spikformer.load(folder, 'proxy')` gives the proxy with its trained weights."
        if has_weights
        else ("The proxy's weights were not kept: it had left the front, or the study's weights were deleted.")
    )
    return f"""# {in_words(candidate)}

Trial {number} of the study {study.name}; config {candidate.config_id}, seed {candidate.seed}.

**Transfer to full training unverified.** The figures of the proxy are those of a small network after a short training.
They rank candidates against each other; they do not predict what this network reaches.

| of the proxy | |
|---|---|
{_accuracies(study, number, candidate)}
| energy per image, convention "measured" | {energy} |
| spike operations per image | {in_si(candidate.spike_operations or 0, "").strip()} |
| parameters | {candidate.parameters:,} |

Data: {study.identity.get("data.dataset")}, images {pixels} x {pixels}; {candidate.images_seen}
training images seen in {proxy.epochs} epochs; energy counted exactly on {candidate.counted_images} images, 45 nm
arithmetic only (Horowitz, ISSCC 2014). Commit {candidate.provenance["commit"]}.

{_rule(size)}

{_requirements(network, own)}

{foreseen}

## Train

{_commands(folder, network)}

Recipe (`recipe.toml`): {own.source}. Changed: {own.changes}.

## Load

```python
import spikformer

model = spikformer.load({str(folder)!r})  # fresh weights
```

{proxy_weights}
"""


def _published_card(name: str, config: SpikformerConfig, own: TrainingRecipe, folder: Path) -> str:
    figures = published.figures(name)
    printed = f"{figures.accuracy:g} % ({figures.source})" if figures.accuracy is not None else "none known"
    return f"""# {name}

{figures.paper}. Printed accuracy: {printed}. No weights: to be trained.

{_requirements(config, own)}

## Train

{_commands(folder, config)}

Recipe (`recipe.toml`): {own.source}. Changed: {own.changes}.
"""


__all__ = ["Size", "card", "convert", "export", "export_published", "predicted"]
