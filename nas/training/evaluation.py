"""A config trained as a proxy, measured, and written down as a candidate."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import torch

from nas.costs import Overheads, contract, energy, multiplications, target
from nas.datasets import Splits
from nas.settings import Recipe
from nas.training import device_memory, fitting, measurement, provenance
from nas.training.augmentation import network_input
from nas.training.candidate import Candidate, Status, energy_at_target
from nas.training.epoch import Epoch
from nas.training.execution import ExecutionOptions
from nas.training.measurement import Measurement
from spikformer.config import SpikformerConfig
from spikformer.model import Spikformer


def evaluate(
    config: SpikformerConfig,
    splits: Splits,
    recipe: Recipe,
    seed: int = 0,
    reference: str | None = None,
    on_epoch: Callable[[int, Epoch], None] = lambda _i, _epoch: None,
    target_image_size: int = target.IMAGE_SIZE,
    share: float = 1.0,
    saved: Path | None = None,
) -> tuple[Candidate, Spikformer]:
    """Train a config on its splits' device, measure it, and write its record.

    Args:
        seed: of weights, order of images and augmentation.
        target_image_size: in pixels, of the images of the network that `energy_target_mj` is of.
        share: of the recipe's training, with a whole schedule of its own; below 1 the candidate is "stopped".
        saved: a file for how far the training came (`nas.training.fitting.fit`).

    Returns:
        The record and the trained model, in eval mode.

    Raises:
        DeviceError: other processes hold the memory that this one may use.
    """
    contract.hold_to_costs(config)
    splits = splits.at(config.time_steps)
    device = splits.train.labels.device
    started = time.monotonic()
    images, all_images = (fitting.images_seen(len(splits.train), recipe, part) for part in (share, 1.0))
    status: Status = "complete" if images == all_images else "stopped"
    reason = "" if images == all_images else f"trained on {images:,} of {all_images:,} images"
    options = fitting.options_of(splits.train, recipe)
    trained = ProxyTraining(config, splits, recipe, seed, options, on_epoch, share, saved)
    try:
        _run_twice_if_out_of_memory(trained)
        if trained.measured is not None and trained.measured.silent is not None:
            status, reason = "silent", trained.measured.silent
    except fitting.DivergedError as error:
        status, reason = "diverged", str(error)
    except (RuntimeError, MemoryError) as error:
        if not device_memory.is_full(error):
            raise
        status, reason = "out_of_memory", (str(error).splitlines() or ["no memory left"])[0]
        device_memory.free()
    record = _record(trained, reference, status, reason, target_image_size)
    return dataclasses.replace(record, provenance=provenance.of(device, started, options)), trained.model.eval()


def died(
    config: SpikformerConfig,
    splits: Splits,
    recipe: Recipe,
    seed: int,
    reference: str | None,
    share: float,
    reason: str,
) -> Candidate:
    """The record of a network whose training ends the process that trains it, however often it is tried."""
    options = fitting.options_of(splits.train, recipe)
    unborn = ProxyTraining(config, splits, recipe, seed, options, lambda _i, _epoch: None, share)
    record = _record(unborn, reference, "died", reason, target.IMAGE_SIZE)
    return dataclasses.replace(record, provenance=provenance.of(splits.train.labels.device, time.monotonic()))


def _record(
    trained: "ProxyTraining", reference: str | None, status: Status, reason: str, target_image_size: int
) -> Candidate:
    """Of what it reached, without its provenance."""
    config, splits, result = trained.config, trained.splits, trained.measured
    priced = energy.price(result.operations, result.images) if result else None
    repeated = energy.price(result.operations, result.images, energy.convention("measured+repeat")) if result else None
    return Candidate(
        config=config,
        config_id=config.config_id,
        reference=reference,
        seed=trained.seed,
        recipe=trained.recipe,
        train_images=len(splits.train),
        images_seen=fitting.images_seen(len(splits.train), trained.recipe, trained.share),
        status=status,
        reason=reason,
        parameters=sum(p.numel() for p in trained.model.parameters()),
        search_val_accuracy=result.accuracy if result else None,
        report_val_accuracy=trained.report_accuracy,
        report_val_images=len(splits.report_val),
        energy_mj=priced.energy_mj if priced else None,
        energy_repeated_mj=repeated.energy_mj if repeated else None,
        energy_target_mj=energy_at_target(config, result.operations, target_image_size) if result else None,
        energy_error=result.energy_error if result else None,
        spike_operations=priced.spike_operations if priced else None,
        real_macs=priced.real_macs if priced else None,
        dense_macs=multiplications(result.operations) / result.images if result else None,
        counted_images=result.images if result else 0,
        operations=result.operations if result else (),
        overheads=result.overheads if result else Overheads(),
        firing_rates=result.firing_rates if result else {},
        history=tuple(trained.history),
        provenance={},
        search_val_balanced=result.balanced_accuracy if result else None,
        report_val_balanced=trained.report_balanced,
        activity=result.activity if result else {},
    )


class ProxyTraining:
    """A network on its way through training and measuring; what is there when it fails is what it reached."""

    def __init__(
        self,
        config: SpikformerConfig,
        splits: Splits,
        recipe: Recipe,
        seed: int,
        options: ExecutionOptions,
        on_epoch: Callable[[int, Epoch], None],
        share: float,
        saved: Path | None = None,
    ) -> None:
        self.config, self.splits, self.recipe, self.seed, self.options = config, splits, recipe, seed, options
        self.on_epoch, self.share, self.saved = on_epoch, share, saved
        self.begin()

    def begin(self) -> None:
        """A fresh network, equally seeded."""
        torch.manual_seed(self.seed)
        self.model = Spikformer(self.config)
        self.history: list[Epoch] = []
        self.measured: Measurement | None = None
        self.report_accuracy: float | None = None
        self.report_balanced: float | None = None

    def run(self) -> None:
        self.train()
        self.measure()

    def train(self) -> None:
        self.model.to(self.splits.train.labels.device)
        fitting.fit(
            self.model, self.splits.train, self.recipe, self.seed, self._record, self.options, self.share, self.saved
        )

    def step_seconds(self, count: int) -> tuple[float, float]:
        """See `nas.training.fitting.step_seconds`."""
        self.model.to(self.splits.train.labels.device)
        return fitting.step_seconds(self.model, self.splits.train, self.recipe, self.seed, self.options, count)

    def measure(self) -> None:
        splits, as_input = self.splits, network_input(self.splits.train, self.model)
        self.measured = measurement.measure(self.model, splits.search_val, as_input)
        self.report_accuracy, self.report_balanced = fitting.scores(self.model, splits.report_val, as_input)

    def _record(self, i: int, epoch: Epoch) -> None:
        self.history.append(epoch)
        self.on_epoch(i, epoch)


def _run_twice_if_out_of_memory(trained: ProxyTraining) -> None:
    """Once more before it is given up: without what earlier candidates left behind, nor what neighbours hold."""
    try:
        trained.run()
    except (RuntimeError, MemoryError) as error:
        if not device_memory.is_full(error):
            raise
        error.__traceback__ = None  # it holds the tensors of the step that failed
    else:
        return
    device = trained.splits.train.labels.device
    trained.begin()
    device_memory.free()
    device_memory.wait_for_share(device)
    try:
        trained.run()
    except (RuntimeError, MemoryError) as error:
        if device_memory.is_full(error):
            device_memory.check_share(device)  # a neighbour may have come back meanwhile
        raise


__all__ = ["ProxyTraining", "died", "evaluate"]
