"""The training loop: a bundle and images -> a trained bundle. Killed anywhere, the same call goes on."""

import contextlib
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas.bundles import Bundle, TrainingRecipe
from nas.bundles import bundle as bundles
from nas.bundles import recipe as recipes
from nas.datasets import Source, overlap
from nas.datasets import sources as sources
from nas.errors import OutputError, TrainingError
from nas.full_training import journal, outcome, state
from nas.full_training.build import Autocast, average_of, laid_out, optimizer_of, schedule_of, uncompiled, wrapped
from nas.full_training.evaluation import Scores, measured_scores
from nas.full_training.journal import Journal
from nas.full_training.loading import Batch, ToDevice, TrainLoader, check_readable
from nas.full_training.objective import Objective, teacher_of
from nas.full_training.state import State
from nas.full_training.stopping import Stop, stopping
from nas.full_training.team import Team, joined
from nas.studies import storage
from nas.training import set_momentum
from spikformer import checkpoints
from spikformer.config import SpikformerConfig
from spikformer.model import Spikformer

SAVED_EVERY_S = 600.0
_AGREE_EVERY = 10  # steps, after which several processes ask each other whether to stop


@dataclass(frozen=True)
class Trained:
    """What a training ended with.

    Attributes:
        folder: the trained bundle.
        scores: of the last weights, or of their moving average, on the test images.
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
) -> Trained | None:
    """Train a network in full; in each of the processes that torchrun started, or in one.

    The last weights count, not those that were best on the test images: nothing is chosen by these.

    Args:
        bundle: folder of a bundle, or the name of a published network.
        data_dir: see `nas.datasets.sources`.
        out: folder for the trained bundle, its checkpoint and log; `results/trained/<name>` by default.
        recipe: name or file of another recipe than the bundle's.
        settings: "key=value" each, over the recipe's.
        device: see `nas.full_training.team.joined`.

    Returns:
        The result, in the first process; None in the others.

    Raises:
        SpikformerError: bad input; a loss that is no number. Says what and what to do.
        KeyboardInterrupt: asked to stop; how far it came is saved.
    """
    opened = bundles.read(bundle, recipe)
    chosen = recipes.with_settings(opened.recipe, settings)
    folder = Path(out) if out is not None else Path("results") / "trained" / opened.name
    _check_ours(folder)
    with joined(device) as team:
        training = prepared(opened, chosen, data_dir, team)  # before anything is written
        with _alone(folder, team):
            return _run(training, folder)


def _check_ours(folder: Path) -> None:
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if found and not found & {state.FILE, journal.FILE, "lock"}:
        raise OutputError(f"{folder} holds files that no training wrote. Give another --out")


@contextlib.contextmanager
def _alone(folder: Path, team: Team) -> Iterator[None]:
    """The first process holds the folder."""
    if not team.leads:
        yield
        return
    with storage.exclusive_lock(folder):
        yield


class Training:
    """All that a step needs, and how far it came.

    Attributes:
        done: steps behind it.
        sums: of losses times images, and images, since the last line of the log, [2].
    """

    def __init__(self, bundle: Bundle, config: SpikformerConfig, recipe: TrainingRecipe, source: Source, team: Team):
        self.bundle, self.config, self.recipe, self.source, self.team = bundle, config, recipe, source, team
        self.loader = TrainLoader(source.train, recipe, config.stem, team)
        self.steps = self.loader.steps
        self.to_device = ToDevice(recipe, config.stem, team.device)
        teacher = teacher_of(recipe, config, team.device)
        self._objective = Objective(recipe, config.head.num_classes, teacher, self.steps.a_part)
        _seed(recipe.seed)
        self.model: Spikformer = laid_out(bundle.model(config), recipe, team)
        self.model.head.apart = teacher is not None and config.head.distillation
        self._norms = [module for module in self.model.modules() if isinstance(module, _BatchNorm)]
        self.ema = average_of(self.model, recipe)
        self._called = wrapped(self.model, recipe, team)
        self._optimizer = optimizer_of(self.model, recipe)
        self._schedule = schedule_of(self._optimizer, recipe, self.steps.an_epoch)
        self._autocast = Autocast(recipe, team.device)
        self._scaler = torch.amp.GradScaler(team.device.type, enabled=self._autocast.name == "fp16")
        self.done = 0
        self.sums = torch.zeros(2, dtype=torch.float64, device=team.device)

    @property
    def total(self) -> int:
        """Steps of the whole training."""
        return self.recipe.all_epochs * self.steps.an_epoch

    @property
    def precision(self) -> str:
        """Of convolutions and products."""
        return self._autocast.name

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def step(self, parts: list[Batch]) -> None:
        """One step of the optimizer, on this process's parts of the batch; nothing in it waits for the device."""
        self._called.train()
        epoch = self.done // self.steps.an_epoch
        self._schedule.step_update(self.done)
        settled = set_momentum(self._norms, self.done)
        self._optimizer.zero_grad(set_to_none=True)
        # Compiled code holds the momentum as a constant, and would be compiled anew for each of its first values.
        with contextlib.nullcontext() if settled else uncompiled(self.recipe):
            for i, batch in enumerate(parts):
                check_readable(batch, self.recipe)
                _seed(self.recipe.seed, self.done, self.team.rank, i)
                last = i + 1 == len(parts)
                alone = contextlib.nullcontext() if last or self.team.size == 1 else self._called.no_sync()  # type: ignore[operator]
                with alone:
                    self._part(batch, epoch, len(parts))
        if self.recipe.clip_norm > 0:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.done += 1
        if self.ema is not None:
            self.ema.update(self.model, step=self.done)

    def _part(self, batch: Batch, epoch: int, parts: int) -> None:
        images, labels = self.to_device(batch, training=True)
        images, targets = self._objective.prepared(images, labels, epoch)
        with self._autocast():
            logits = self._called(images)
        loss = self._objective.loss(logits, images, targets)
        self._scaler.scale(loss / parts).backward()
        self.sums[0] += loss.detach().double() * len(labels)
        self.sums[1] += len(labels)

    def trained_model(self) -> Spikformer:
        """The one that counts: the moving average, if there is one."""
        model = self.model if self.ema is None else self.ema.module
        assert isinstance(model, Spikformer)
        return model

    def weights(self) -> bytes:
        """Of that model, under the names of a plain one."""
        return checkpoints.weights_of(self.trained_model())

    def state(self) -> State:
        """All that the steps to come depend on."""
        return State(
            self.config,
            self.recipe,
            self.done,
            self.sums.cpu(),
            self.model.state_dict(),
            None if self.ema is None else self.ema.module.state_dict(),
            self._optimizer.state_dict(),
            self._scaler.state_dict() if self._scaler.is_enabled() else None,
            self.source.classes,
            self.source.fingerprint,
        )

    def restore(self, saved: State) -> None:
        """Go on where `saved` was."""
        self.model.load_state_dict(saved.model)
        if self.ema is not None and saved.ema is not None:
            self.ema.module.load_state_dict(saved.ema)
        self._optimizer.load_state_dict(saved.optimizer)
        if saved.scaler is not None:
            self._scaler.load_state_dict(saved.scaler)
        if self.team.leads:  # who saved them
            self.sums.copy_(saved.sums)
        self.done = saved.steps

    def is_finite(self) -> bool:
        """Whether losses and weights are numbers; waits for the device."""
        norms = torch.stack([parameter.detach().float().norm() for parameter in self.model.parameters()])
        return bool((norms.sum() + self.sums[0]).isfinite())


def prepared(bundle: Bundle, recipe: TrainingRecipe, data_dir: str | Path | None, team: Team) -> Training:
    """A training at its beginning.

    Raises:
        DataError: no images, or of other classes than the network tells apart.
        TrainingError, ConfigError, CheckpointError: a recipe that does not fit the network, or damaged weights.
    """
    config = recipe.of(bundle.config)
    with team.leader_first():
        source = sources.find(data_dir, bundle.dataset)
    source.check_classes(bundle.name, config.head.num_classes, tuple(bundle.document.get("classes", ())))
    return Training(bundle, config, recipe, source, team)


def _run(training: Training, folder: Path) -> Trained | None:
    saved = folder / state.FILE
    if saved.exists():
        before = state.load(saved)
        state.check_same(before, training.config, training.recipe, training.source.fingerprint, folder)
        training.restore(before)
    with Journal(folder, training.team, training.total, training.done) as told, stopping() as stop:
        keeper = _Keeper(training, folder, told)
        if not training.done:
            for sentence in training.source.passed_over:
                told.notice(sentence)
            if training.team.leads:
                told.notice(overlap.in_words(training.source))
        else:
            told.notice(f"{saved}: goes on at step {training.done} of {training.total}")
        while training.done < training.total:
            _epoch(training, told, keeper, stop)
        keeper.save(always=True)
        scores = _test(training)
        if not training.team.leads:
            return None
        _write_bundle(training, folder, scores)
        told.notice(f"test accuracy {100 * scores.top1:.2f} %, top-5 {100 * scores.top5:.2f} %, {scores.images} images")
        return Trained(folder, scores)


def _epoch(training: Training, told: Journal, keeper: "_Keeper", stop: Stop) -> None:
    recipe, steps = training.recipe, training.steps
    epoch, first = divmod(training.done, steps.an_epoch)
    parts = training.loader.epoch(epoch, first)
    started, begun = time.monotonic(), training.done
    broken: set[str] = set()
    for _ in range(first, steps.an_epoch):
        batches = _read(parts, training, keeper, stop)
        broken.update(name for batch in batches for name in batch.broken)
        training.step(batches)
        told.stepped(training.done)
        if training.done % recipe.log_every_steps == 0:
            _log(training, told, keeper, epoch, (training.done - begun) / (time.monotonic() - started))
        keeper.save()
        if _agreed(stop, training):
            keeper.save(always=True)
            raise KeyboardInterrupt
    for name in sorted(broken):
        told.notice(f"skipped, not readable: {name}")
    if (epoch + 1) % recipe.evaluate_every_epochs == 0 and training.done < training.total:
        scores = _test(training)
        told.record(training.done, epoch, test_top1=scores.top1, test_top5=scores.top5)
        training.team.wait()


def _read(parts: Iterator[Batch], training: Training, keeper: "_Keeper", stop: Stop) -> list[Batch]:
    """The parts of a step.

    Raises:
        KeyboardInterrupt: it was asked to stop while it waited for them, and saved where it is. Of several processes
            none stops so, unless asked twice: the others wait for it in the step.
    """
    try:
        with stop.waiting() if training.team.size == 1 else contextlib.nullcontext():
            return [next(parts) for _ in range(training.recipe.accumulation)]
    except KeyboardInterrupt:
        keeper.save(always=True)
        raise


def _log(training: Training, told: Journal, keeper: "_Keeper", epoch: int, steps_a_s: float) -> None:
    sums = training.team.summed(training.sums.clone())
    loss = (sums[0] / sums[1]).item()
    if not math.isfinite(loss):
        keeper.refuse(loss)
    rate = training.learning_rate
    told.record(training.done, epoch, loss=loss, learning_rate=rate, images_a_s=steps_a_s * training.steps.a_step)
    training.sums.zero_()


def _agreed(stop: Stop, training: Training) -> bool:
    """Whether one of the processes was asked to stop; all of them then do, after the same step."""
    if training.team.size == 1:
        return stop.asked
    if training.done % _AGREE_EVERY:
        return False
    asked = torch.tensor(float(stop.asked), device=training.team.device)
    return bool(training.team.summed(asked).item())


class _Keeper:
    """Saves how far a training came, now and then, and never what is no number."""

    def __init__(self, training: Training, folder: Path, told: Journal) -> None:
        self._training, self._folder, self._told = training, folder, told
        self._last = time.monotonic()

    def save(self, *, always: bool = False) -> None:
        """If it is time. A disk that is full costs this checkpoint, not the training."""
        if not self._training.team.leads or not (always or time.monotonic() - self._last >= SAVED_EVERY_S):
            return
        if not self._training.is_finite():
            self.refuse(math.nan)
        self._last = time.monotonic()
        try:
            state.save(self._training.state(), self._folder)
        except OutputError as error:
            self._told.notice(f"not saved: {error} The checkpoint before it is kept.")

    def refuse(self, loss: float) -> None:
        """
        Raises:
            TrainingError: always: where it diverged, and from where it can go on.
        """
        path = self._folder / state.FILE
        kept = (
            f"the last good checkpoint is {path}, of step {state.load(path).steps}" if path.exists() else "none saved"
        )
        raise TrainingError(
            f"the loss is {loss} before step {self._training.done} of {self._training.total}; {kept}. "
            f"Use a lower learning_rate, clip_norm=1 or precision=fp32, with another --out"
        )


def _test(training: Training) -> Scores:
    model = training.trained_model()
    return measured_scores(model, training.source.test, training.recipe, training.team, training.steps.a_part)


def _write_bundle(training: Training, folder: Path, scores: Scores) -> None:
    result = outcome.result_of(training.recipe, training.source, scores, training.team)
    document = {key: value for key, value in training.bundle.document.items() if key != "sha256"}
    document |= {"network": training.config.to_dict(), "classes": list(training.source.classes), "training": result}
    parameters = sum(p.numel() for p in training.model.parameters())
    card = outcome.card(training.bundle.name, training.config, training.recipe, result, parameters)
    bundles.write_into(folder, document, training.recipe, card, {"network": training.weights()})


def _seed(*words: int) -> None:
    """All generators that a step draws from."""
    seed = int(np.random.SeedSequence(words).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


__all__ = ["SAVED_EVERY_S", "Trained", "Training", "prepared", "train"]
