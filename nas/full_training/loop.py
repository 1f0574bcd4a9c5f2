"""The training loop: a bundle and images -> a trained bundle. After an interruption, the same call continues."""

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from nas.bundles import Bundle, TrainingRecipe
from nas.bundles import bundle as bundles
from nas.bundles import recipe as recipes
from nas.datasets import overlap
from nas.datasets import sources as sources
from nas.errors import OutputError
from nas.full_training import checkpoint, frames, results
from nas.full_training import logger as loggers
from nas.full_training.evaluation import Scores, measured_scores
from nas.full_training.keeping import Keeper
from nas.full_training.loading import Batch
from nas.full_training.logger import Logger
from nas.full_training.process_group import ProcessGroup, initialised
from nas.full_training.stopping import Stop, stopping
from nas.full_training.training import Training
from nas.studies import storage

_AGREE_EVERY = 10  # steps, after which several processes ask each other whether to stop


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        folder: folder of the trained bundle.
        scores: accuracies on the test images of the last weights, or of their moving average.
    """

    folder: Path
    scores: Scores


def train(
    bundle: str | Path,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    recipe: str = "",
    settings: tuple[str, ...] = (),
    device: str = "auto",
    *,
    weights: str | Path | None = None,
    classes: int = 0,
    in_channels: int = 0,
    epochs: int = 0,
) -> Trained | None:
    """Train a network in full, in one process or in each of those that torchrun started.

    The last weights count, and not those that were best on the test images: nothing is chosen by test images.

    Args:
        bundle: folder of a bundle, or the name of a published network; with `weights` also a file with its config.
        data_dir: folder of the images; see `nas.datasets.sources`.
        out: folder for the trained bundle, its checkpoint and log; `results/trained/<name>` by default.
        recipe: name or file of another recipe than the bundle's.
        settings: "key=value" each; they replace the recipe's.
        device: see `nas.full_training.process_group.initialised`.
        weights: file that the authors of the network released, to start from.
        classes: number of classes of a new classifier on the existing weights; 0 keeps the classifier.
        in_channels: number of image channels to which the first convolution is adapted; 0 keeps it.
        epochs: number of epochs instead of the recipe's. Warm-up and cool-down keep their shares of it. 0 keeps the
            recipe's.

    Returns:
        The result, in the first process; None in the others.

    Raises:
        SpikformerError: the input is wrong, or the loss is not a number. The text says what to do.
        KeyboardInterrupt: the training was asked to stop; its progress is saved.
    """
    opened = bundles.read(bundle, recipe, weights).for_images(classes, in_channels)
    chosen = recipe_of(opened, epochs, settings)
    folder = Path(out) if out is not None else Path("results") / "trained" / opened.name
    _check_ours(folder)
    with initialised(device) as group:
        training = prepared(opened, chosen, data_dir, group)  # before anything is written
        with _alone(folder, group):
            return _run(training, folder)


def recipe_of(bundle: Bundle, epochs: int, settings: tuple[str, ...]) -> TrainingRecipe:
    """The bundle's recipe at another length, 0 being its own, and with settings from the command line.

    Raises:
        TrainingError: see `nas.bundles.recipe.with_settings`; or a setting without effect on frames of events.
    """
    if bundle.cut[0].has_events:
        frames.check_settings(settings)
    own = recipes.for_epochs(bundle.recipe, epochs) if epochs else bundle.recipe
    return recipes.with_settings(own, settings)


def _check_ours(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names and not names & {checkpoint.FILE, loggers.FILE, "lock"}:
        raise OutputError(f"{folder} holds files that training did not write. Give another --out")


@contextlib.contextmanager
def _alone(folder: Path, group: ProcessGroup) -> Iterator[None]:
    """The first process holds the folder."""
    if not group.is_main:
        yield
        return
    with storage.exclusive_lock(folder):
        yield


def prepared(bundle: Bundle, recipe: TrainingRecipe, data_dir: str | Path | None, group: ProcessGroup) -> Training:
    """A training at its beginning.

    Raises:
        DataError: no images, or of other classes than the network tells apart.
        TrainingError, ConfigError, CheckpointError: a recipe that does not fit the network, or damaged weights.
    """
    config = recipe.of(bundle.config)
    with group.main_first():
        source = sources.find(data_dir, bundle.dataset, cut=bundle.cut, network=config)
    source.check_classes(bundle.name, config.head.num_classes, tuple(bundle.document.get("classes", ())))
    return Training(bundle, config, recipe, source, group)


def _run(training: Training, folder: Path) -> Trained | None:
    path = folder / checkpoint.FILE
    if path.exists():
        saved = checkpoint.load(path)
        checkpoint.check_same(saved, training.config, training.recipe, training.source.fingerprint, folder)
        training.restore(saved)
    with Logger(folder, training.group, training.total, training.done) as logger, stopping() as stop:
        keeper = Keeper(training, folder, logger)
        if training.done:
            logger.notice(f"{path}: continues at step {training.done} of {training.total}")
        else:
            _tell_of_images(training, logger)
        with training.stepping():
            while training.done < training.total:
                _epoch(training, logger, keeper, stop)
        keeper.save(always=True)
        scores = _test(training)
        if not training.group.is_main:
            return None
        _write_bundle(training, folder, scores)
        logger.notice(
            f"test accuracy {100 * scores.top1:.2f} %, top-5 {100 * scores.top5:.2f} %, {scores.images} images"
        )
        return Trained(folder, scores)


def _tell_of_images(training: Training, logger: Logger) -> None:
    for sentence in training.source.passed_over:
        logger.notice(sentence)
    if training.group.is_main:
        logger.notice(overlap.in_words(training.source))


def _epoch(training: Training, logger: Logger, keeper: Keeper, stop: Stop) -> None:
    recipe, steps = training.recipe, training.steps
    epoch, first = divmod(training.done, steps.an_epoch)
    parts = training.loader.epoch(epoch, first)
    started, begun = time.monotonic(), training.done
    broken: set[str] = set()
    for _ in range(first, steps.an_epoch):
        batches = _read(parts, training, keeper, stop)
        broken.update(name for batch in batches for name in batch.broken)
        training.step(batches)
        logger.stepped(training.done)
        if training.done % recipe.log_every_steps == 0:
            _log(training, logger, keeper, epoch, (training.done - begun) / (time.monotonic() - started))
        keeper.save()
        if _agreed(stop, training):
            keeper.save(always=True)
            raise KeyboardInterrupt
    for name in sorted(broken):
        logger.notice(f"skipped, because it is not readable: {name}")
    if (epoch + 1) % recipe.evaluate_every_epochs == 0 and training.done < training.total:
        scores = _test(training)
        logger.record(training.done, epoch, test_top1=scores.top1, test_top5=scores.top5)
        training.group.barrier()


def _read(parts: Iterator[Batch], training: Training, keeper: Keeper, stop: Stop) -> list[Batch]:
    """The parts of a step.

    Raises:
        KeyboardInterrupt: it was asked to stop while it waited for them, and saved where it is. Of several processes
            none stops so, unless asked twice: the others wait for it in the step.
    """
    try:
        with stop.waiting() if training.group.size == 1 else contextlib.nullcontext():
            return [next(parts) for _ in range(training.recipe.accumulation)]
    except KeyboardInterrupt:
        keeper.save(always=True)
        raise


def _log(training: Training, logger: Logger, keeper: Keeper, epoch: int, steps_a_s: float) -> None:
    sums = training.group.all_reduce(training.sums.clone())
    loss = (sums[0] / sums[1]).item()
    if not math.isfinite(loss):
        keeper.refuse(loss)
    rate = training.schedule(training.done - 1)
    logger.record(training.done, epoch, loss=loss, learning_rate=rate, images_a_s=steps_a_s * training.steps.a_step)
    training.sums.zero_()


def _agreed(stop: Stop, training: Training) -> bool:
    """Whether one of the processes was asked to stop; all of them then do, after the same step."""
    if training.group.size == 1:
        return stop.asked
    if training.done % _AGREE_EVERY:
        return False
    asked = torch.tensor(float(stop.asked), device=training.group.device)
    return bool(training.group.all_reduce(asked).item())


def _test(training: Training) -> Scores:
    model = training.trained_model()
    return measured_scores(model, training.source.test, training.recipe, training.group, training.steps.a_part)


def _write_bundle(training: Training, folder: Path, scores: Scores) -> None:
    result = results.result_of(training.recipe, training.source, scores, training.group)
    document = {key: value for key, value in training.bundle.document.items() if key != "sha256"}
    document |= {"network": training.config.to_dict(), "classes": list(training.source.classes), "training": result}
    parameters = sum(p.numel() for p in training.model.parameters())
    card = results.card(training.bundle.name, training.config, training.recipe, result, parameters)
    bundles.write_into(folder, document, training.recipe, card, {"network": training.weights()})


__all__ = ["Trained", "prepared", "recipe_of", "train"]
