"""Accuracy and costs of trained networks on test images."""

import csv
import dataclasses
import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from nas import files
from nas.bundles import Bundle, TrainingRecipe
from nas.bundles import bundle as bundles
from nas.bundles import recipe as recipes
from nas.costs import MEASURED, Convention, energy
from nas.datasets import LabelledImages, Source
from nas.datasets import sources as sources
from nas.errors import TrainingError
from nas.full_training import checkpoint
from nas.full_training.frames import check_settings, fed_of, time_first, to_device_of
from nas.full_training.loading import Batch, check_readable, test_loader
from nas.full_training.process_group import ProcessGroup, initialised
from nas.settings import DataSettings
from nas.training import Measurement, accuracies, counts_by_class, exact, measurement
from spikformer.config import SpikformerConfig
from spikformer.fields import PlainTable
from spikformer.fusion import fuse
from spikformer.model import Spikformer

_PART = 128  # images at a time


@dataclass(frozen=True)
class Scores:
    """Shares of images whose class has the largest logit, or one of the five largest.

    Attributes:
        balanced: mean over classes of each class's share that has the largest logit.
    """

    top1: float
    top5: float
    images: int
    balanced: float


@dataclass(frozen=True)
class Evaluation:
    """The figures of one network on the test images.

    Attributes:
        name: name of the folder or checkpoint.
        parameters: number of parameters.
        energy_mj, spike_operations, real_macs: per image, under `convention`; None where the network is silent.
        silent: reason why the network carries no information, or None.
        part: name of the images: "test", or "val" where there are no others.
    """

    name: str
    config: SpikformerConfig
    scores: Scores
    parameters: int
    convention: str
    energy_mj: float | None
    spike_operations: float | None
    real_macs: float | None
    silent: str | None
    part: str

    def to_dict(self) -> PlainTable:
        """Plain values."""
        return {
            "name": self.name,
            "config_id": self.config.config_id,
            "time_steps": self.config.time_steps,
            "image_size": self.config.stem.image_size,
            "top1": self.scores.top1,
            "top5": self.scores.top5,
            "balanced": self.scores.balanced,
            "images": self.scores.images,
            "part": self.part,
            "parameters": self.parameters,
            "convention": self.convention,
            "energy_mj": self.energy_mj,
            "spike_operations": self.spike_operations,
            "real_macs": self.real_macs,
            "silent": self.silent,
        }


def measured_scores(
    model: Spikformer, images: LabelledImages, recipe: TrainingRecipe, group: ProcessGroup, part: int
) -> Scores:
    """On all images, each seen by one process; in eval mode, float32."""
    model.eval()
    counts = _no_counts(model, group)
    with torch.no_grad(), exact():
        for shown, labels in _batches(images, recipe, model.config, group, part):
            counts += _counted(model(shown), labels)
    return _scores(group.all_reduce(counts))


def _no_counts(model: Spikformer, group: ProcessGroup) -> Tensor:
    return torch.zeros(3 + 2 * model.config.head.num_classes, dtype=torch.float64, device=group.device)


def _counted(logits: Tensor, labels: Tensor) -> Tensor:
    """What `_scores` takes, of a batch: `_right`, then images right and all images of each of K classes, [3 + 2K]."""
    return torch.cat([_right(logits, labels), counts_by_class(logits, labels).flatten().double()])


def _scores(counts: Tensor) -> Scores:
    top1, top5, images = counts[:3].tolist()
    _, balanced = accuracies(counts[3:].unflatten(0, (2, -1)))
    return Scores(top1 / max(1, images), top5 / max(1, images), int(images), balanced)


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    """Images with their class first, among the first five, and all, [3]."""
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    return torch.stack([best[:, 0].sum(), best.any(1).sum(), torch.tensor(len(labels), device=logits.device)]).double()


def _batches(
    images: LabelledImages, recipe: TrainingRecipe, config: SpikformerConfig, group: ProcessGroup, part: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's share as the network takes it; images that cannot be read are left out, if they may be."""
    to_device = to_device_of(images, recipe, config, group.device)
    for batch in test_loader(images, recipe, config.stem, group, part):
        check_readable(batch, recipe)
        readable = batch.labels >= 0
        if readable.any():
            shown, labels = to_device(Batch(batch.images[readable], batch.labels[readable], []), training=False)
            yield time_first(shown), labels


def evaluate(
    networks: Sequence[str | Path],
    data_dir: str | Path | None = None,
    convention: Convention = MEASURED,
    settings: tuple[str, ...] = (),
    device: str = "auto",
    time_steps: Sequence[int] = (),
    image_sizes: Sequence[int] = (),
    weights: str | Path | None = None,
) -> list[Evaluation]:
    """Measure trained networks on test images.

    Args:
        networks: folders of bundles, or checkpoints of unfinished trainings. Several of one config differ by their
            seeds.
        data_dir: folder of the images; see `nas.datasets.sources`.
        settings: "key=value" each; they replace those of the recipe that each network was trained with.
            `nas.bundles.recipe.EVALUATION` lists them.
        time_steps, image_sizes: numbers of time steps, and sizes in pixels, to measure at instead of those that each
            network was trained with. Each network is measured at every pair.
        weights: file that the authors of the one network released. The network is then a published name or a file
            with a config.

    Raises:
        SpikformerError: there is no such network, it has no weights, the images have other classes, or the weights
            fit only one number of time steps or one image size.
    """
    if weights is not None and len(networks) != 1:
        raise TrainingError(
            f"{weights} are the weights of one network, but {len(networks)} networks were given. Give one"
        )
    evaluations = []
    with initialised(device) as group:
        if group.size > 1:
            raise TrainingError(
                f"evaluate runs in one process, but torchrun started {group.size}. Run it without torchrun"
            )
        for network in networks:
            trained = _opened(network, weights)
            name, model = trained.name, trained.model
            recipe = recipes.with_settings(trained.recipe, settings, recipes.EVALUATION)
            if trained.cut[0].has_events:
                check_settings(settings)
            forms = [_at(name, model, *pair) for pair in _pairs(model.config, time_steps, image_sizes)]
            source = None
            for form in forms:
                if source is None or source.kind == "events":  # frames are made for a network
                    source = trained.images(data_dir, form.config)
                evaluations.append(_evaluated(name, form.to(group.device), recipe, source, convention, group))
    return evaluations


def counted(
    network: str, data_dir: str | Path | None, weights: str | Path, *, fused: bool = False
) -> tuple[SpikformerConfig, Measurement]:
    """What a network with its authors' weights computes on test images, layer by layer.

    Args:
        network, data_dir, weights: see `evaluate`.
        fused: in the deployable form.

    Raises:
        SpikformerError: see `evaluate`.
    """
    with initialised("cpu") as group:
        trained = _opened(network, weights)
        form = fuse(trained.model) if fused else trained.model
        images = trained.images(data_dir, trained.model.config).test
        recipe = dataclasses.replace(trained.recipe, workers=0)  # counting takes longer than reading
        batches = _batches(images, recipe, trained.model.config, group, _PART)
        fed = fed_of(images, trained.model.config)
        return trained.model.config, measurement.measure_batches(form, batches, fed=fed)


def _pairs(config: SpikformerConfig, steps: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Time steps and image sizes, each once."""
    one = [config.time_steps], [config.stem.image_size]
    return list(dict.fromkeys(itertools.product(steps or one[0], sizes or one[1])))


def _at(name: str, model: Spikformer, time_steps: int, image_size: int) -> Spikformer:
    """The same weights in the network of other time steps or image size.

    Raises:
        ConfigError: there is no such network.
        TrainingError: its weights do not hold for it.
    """
    stem = dataclasses.replace(model.config.stem, image_size=image_size)
    config = dataclasses.replace(model.config, time_steps=time_steps, stem=stem)
    if config == model.config:
        return model
    try:
        changed = Spikformer(config)
        changed.load_state_dict(model.state_dict())
    except RuntimeError:  # how torch says that shapes differ
        raise TrainingError(
            f"{name} was trained at T = {model.config.time_steps} and {model.config.stem.image_size} pixels, and its "
            f"weights do not fit T = {time_steps} and {image_size} pixels: a learned position belongs to one image "
            "size, and psn neurons to one number of time steps. Train the network with those"
        ) from None
    return changed.eval()


class _Trained(NamedTuple):
    """A network with weights.

    Attributes:
        dataset: that of its training, if it is known by name.
        classes: their names, if they are known.
        cut: see `Bundle.cut`.
    """

    name: str
    model: Spikformer
    recipe: TrainingRecipe
    dataset: str
    classes: tuple[str, ...]
    cut: tuple[DataSettings, int]

    def images(self, data_dir: str | Path | None, config: SpikformerConfig) -> Source:
        """
        Args:
            config: of the network, perhaps at other time steps, that is shown them.

        Raises:
            DataError: no images, or of other classes than the network tells apart.
        """
        source = sources.find(data_dir, self.dataset, cut=self.cut, network=config)
        source.check_classes(self.name, self.model.config.head.num_classes, self.classes)
        return source


def _opened(network: str | Path, weights: str | Path | None = None) -> _Trained:
    path = Path(network)
    if weights is None and path.is_file():
        saved = checkpoint.load(path)
        model = Spikformer(saved.config)
        try:
            model.load_state_dict(saved.model if saved.ema is None else saved.ema)
        except RuntimeError as error:  # how torch says that names or shapes differ
            raise TrainingError(f"{path} holds the weights of another network: {error}") from None
        cut = DataSettings(), 0
        return _Trained(f"{path}, step {saved.steps}", model, saved.recipe, "", saved.classes, cut)
    opened: Bundle = bundles.read(str(network), weights=weights)
    if not opened.is_trained:
        raise TrainingError(f"{network} has no weights to evaluate. Train it first: train {network}")
    classes = tuple(opened.document.get("classes", ()))
    return _Trained(opened.name, opened.model(), opened.recipe, opened.dataset, classes, opened.cut)


def _evaluated(
    name: str, model: Spikformer, recipe: TrainingRecipe, source: Source, convention: Convention, group: ProcessGroup
) -> Evaluation:
    counts = _no_counts(model, group)

    def see(logits: Tensor, labels: Tensor) -> None:
        counts.add_(_counted(logits, labels))

    batches = _batches(source.test, recipe, model.config, group, _PART)
    result = measurement.measure_batches(model, batches, see, fed_of(source.test, model.config))
    priced = None if result.silent else energy.price(result.operations, result.images, convention)
    return Evaluation(
        name,
        model.config,
        _scores(counts),
        sum(p.numel() for p in model.parameters()),
        convention.label,
        priced.energy_mj if priced else None,
        priced.spike_operations if priced else None,
        priced.real_macs if priced else None,
        result.silent,
        source.test_part,
    )


def write_csv(evaluations: Sequence[Evaluation], path: Path) -> Path:
    """A row an evaluation.

    Raises:
        OutputError: the file cannot be written.
    """

    def write(partial: Path) -> None:
        with partial.open("w", newline="") as file:
            rows = csv.DictWriter(file, list(evaluations[0].to_dict()), lineterminator="\n")
            rows.writeheader()
            rows.writerows(one.to_dict() for one in evaluations)

    return files.write(path, write)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Over several seeds; one has no deviation."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


__all__ = ["Evaluation", "Scores", "counted", "evaluate", "mean_and_deviation", "measured_scores", "write_csv"]
