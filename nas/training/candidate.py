"""One row of truth: a config, how it was trained, what it achieved and what it costs."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch

from nas.costs import Convention, Operation, Overheads, contract, cost, energy, target
from nas.datasets import Splits
from nas.errors import CostError
from nas.spaces import Recipe
from nas.stats import pareto
from nas.training import device_memory, measurement, provenance
from nas.training import fitting as training
from nas.training.augmentation import Normalise
from nas.training.fitting import Epoch
from nas.training.measurement import Measurement
from nas.training.speed import Speed
from nas.training.throughput import Pace
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.model import Spikformer

Status = Literal["complete", "stopped", "silent", "diverged", "out_of_memory", "died"]
"""Only "complete" ones are ranked; "stopped" ones were trained on fewer images than the recipe gives."""
_PROBED_STEPS = {"cpu": 12, "cuda": 30}  # of a training, timed to tell how long a search will take
EnergyOf = Literal["proxy", "target"]
"""Whose energy ranks: that of the network that was trained, or of the one that `export` makes of it."""


@dataclass(frozen=True)
class Candidate:
    """A config evaluated, keyed by (config_id, seed, images_seen).

    Attributes:
        config_id: equal for equal networks, however they are written.
        reference: the name under which the space lists it, if it does.
        status: "complete", or why it has no place in a ranking; `reason` says more.
        train_images: in the train split.
        images_seen: while training; an epoch leaves out what does not fill a batch.
        search_val_accuracy: share right on the images that the search ranks by.
        report_val_accuracy: share right on the images that only reports read.
        search_val_balanced, report_val_balanced: mean over classes of each class's share right; it ranks nothing. None
            in records of earlier versions.
        energy_mj, energy_repeated_mj, spike_operations, real_macs: per image, under the convention "measured" (the
            second under "measured+repeat"), counted on all `counted_images` search-val images.
        energy_target_mj: predicted for the network that `export` makes of it for ImageNet, under "measured": its own
            operations at the proxy's rates. None where there is no such network.
        energy_error: standard error of `energy_mj` over images, as a share of it. The spread over seeds is another,
            larger number.
        dense_macs: per image over all T, padding included.
        operations: whole numbers, from which any convention can be priced.
        overheads: what operations leave out.
        firing_rates: by module path of each neuron layer.
        history: training loss and accuracy by epoch.
        provenance: time, host, device, versions, commit: all that may differ between equal runs.
    """

    config: SpikformerConfig
    config_id: str
    reference: str | None
    seed: int
    recipe: Recipe
    train_images: int
    images_seen: int
    status: Status
    reason: str
    parameters: int
    search_val_accuracy: float | None
    report_val_accuracy: float | None
    report_val_images: int
    energy_mj: float | None
    energy_repeated_mj: float | None
    energy_target_mj: float | None
    energy_error: float | None
    spike_operations: float | None
    real_macs: float | None
    dense_macs: float | None
    counted_images: int
    operations: tuple[Operation, ...]
    overheads: Overheads
    firing_rates: dict[str, float]
    history: tuple[Epoch, ...]
    provenance: dict[str, Any]
    # Not compared: a record of an earlier version is equal to that of the same training today.
    search_val_balanced: float | None = dataclasses.field(default=None, compare=False)
    report_val_balanced: float | None = dataclasses.field(default=None, compare=False)

    @property
    def silent_layers(self) -> list[str]:
        """Paths of the neuron layers that never fired."""
        return [path for path, rate in self.firing_rates.items() if rate == 0]

    @property
    def is_ranked(self) -> bool:
        """Whether its accuracy and energy compare with those of others: it was trained as far as it should be."""
        return self.status in ("complete", "stopped")

    def ranked_mj(self, energy_of: EnergyOf) -> float | None:
        """The energy by which a search ranks it."""
        return self.energy_mj if energy_of == "proxy" else self.energy_target_mj

    def point(self, energy_of: EnergyOf = "proxy") -> pareto.Point | None:
        """Accuracy in per cent and log10 of energy in mJ, if it was trained in full and can be ranked."""
        energy_mj = self.ranked_mj(energy_of)
        if self.status != "complete" or not energy_mj or self.search_val_accuracy is None:
            return None
        return 100 * self.search_val_accuracy, math.log10(energy_mj)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that survive JSON; `from_dict` reads them back."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return values | {
            "config": self.config.to_dict(),
            "recipe": dataclasses.asdict(self.recipe),
            "operations": cost.as_dicts(self.operations),
            "overheads": dataclasses.asdict(self.overheads),
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(
            **values
            | {
                "config": SpikformerConfig.from_dict(values["config"]),
                "recipe": _recipe(values["recipe"]),
                "operations": tuple(Operation.from_dict(op) for op in values["operations"]),
                "overheads": Overheads(**values["overheads"]),
                "history": tuple(Epoch(**epoch) for epoch in values["history"]),
            }
        )


def _recipe(values: dict[str, Any]) -> Recipe:
    """As JSON has it; before there were rungs, all networks were trained in full."""
    return Recipe(**values | {"rungs": tuple(values.get("rungs", (1.0,)))})


def front_of(candidates: Mapping[int, Candidate], energy_of: EnergyOf = "proxy") -> dict[int, Candidate]:
    """The complete candidates that no other beats in both search-val accuracy and energy, by rising energy."""
    points = {
        n: (c.search_val_accuracy or 0.0, c.ranked_mj(energy_of) or 0.0)
        for n, c in candidates.items()
        if c.status == "complete" and c.ranked_mj(energy_of) is not None
    }
    numbers = list(points)
    return {numbers[i]: candidates[numbers[i]] for i in pareto.front(list(points.values()))}


def repriced(
    candidates: Mapping[int, Candidate], convention: Convention, target_image_size: int | None = None
) -> dict[int, Candidate]:
    """The same candidates with energy, spike operations and multiplications under another convention.

    Args:
        target_image_size: to price `energy_target_mj` anew too, which takes a while; None leaves it.

    Raises:
        CostError: a complete candidate without counted operations, which cannot be ranked with the others.
    """
    return {
        n: _repriced(n, c, convention, target_image_size) if c.status == "complete" else c
        for n, c in candidates.items()
    }


def _repriced(number: int, candidate: Candidate, convention: Convention, target_image_size: int | None) -> Candidate:
    if not candidate.operations:
        raise CostError(
            f"trial {number} has no counted operations: it cannot be ranked with the others under {convention.label}. "
            f"Search again under a new study name"
        )
    found = energy.price(candidate.operations, candidate.counted_images, convention)
    target_mj = candidate.energy_target_mj
    if target_image_size is not None:
        target_mj = _at_target(candidate.config, candidate.operations, target_image_size, convention)
    return dataclasses.replace(
        candidate,
        energy_target_mj=target_mj,
        energy_mj=found.energy_mj,
        spike_operations=found.spike_operations,
        real_macs=found.real_macs,
    )


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
    device = splits.train.labels.device
    started = time.monotonic()
    seen, wanted = (training.images_seen(len(splits.train), recipe, part) for part in (share, 1.0))
    status: Status = "complete" if seen == wanted else "stopped"
    reason = "" if seen == wanted else f"trained on {seen:,} of {wanted:,} images"
    speed = training.speed_of(splits.train, recipe)
    trained = _Trained(config, splits, recipe, seed, speed, on_epoch, share, saved)
    try:
        _run_twice_if_out_of_memory(trained)
        if trained.measured is not None and trained.measured.silent is not None:
            status, reason = "silent", trained.measured.silent
    except training.DivergedError as error:
        status, reason = "diverged", str(error)
    except (RuntimeError, MemoryError) as error:
        if not device_memory.is_full(error):
            raise
        status, reason = "out_of_memory", (str(error).splitlines() or ["no memory left"])[0]
        device_memory.free()
    record = _record(trained, reference, status, reason, target_image_size)
    return dataclasses.replace(record, provenance=provenance.of(device, started, speed)), trained.model.eval()


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
    speed = training.speed_of(splits.train, recipe)
    unborn = _Trained(config, splits, recipe, seed, speed, lambda _i, _epoch: None, share)
    record = _record(unborn, reference, "died", reason, target.IMAGE_SIZE)
    return dataclasses.replace(record, provenance=provenance.of(splits.train.labels.device, time.monotonic()))


def _record(
    trained: "_Trained", reference: str | None, status: Status, reason: str, target_image_size: int
) -> Candidate:
    """Of what it reached, without its provenance."""
    config, splits, found = trained.config, trained.splits, trained.measured
    measured = energy.price(found.operations, found.images) if found else None
    repeated = energy.price(found.operations, found.images, energy.convention("measured+repeat")) if found else None
    return Candidate(
        config=config,
        config_id=config.config_id,
        reference=reference,
        seed=trained.seed,
        recipe=trained.recipe,
        train_images=len(splits.train),
        images_seen=training.images_seen(len(splits.train), trained.recipe, trained.share),
        status=status,
        reason=reason,
        parameters=sum(p.numel() for p in trained.model.parameters()),
        search_val_accuracy=found.accuracy if found else None,
        report_val_accuracy=trained.report_accuracy,
        report_val_images=len(splits.report_val),
        energy_mj=measured.energy_mj if measured else None,
        energy_repeated_mj=repeated.energy_mj if repeated else None,
        energy_target_mj=_at_target(config, found.operations, target_image_size) if found else None,
        energy_error=found.energy_error if found else None,
        spike_operations=measured.spike_operations if measured else None,
        real_macs=measured.real_macs if measured else None,
        dense_macs=cost.multiplications(found.operations) / found.images if found else None,
        counted_images=found.images if found else 0,
        operations=found.operations if found else (),
        overheads=found.overheads if found else Overheads(),
        firing_rates=found.firing_rates if found else {},
        history=tuple(trained.history),
        provenance={},
        search_val_balanced=found.balanced_accuracy if found else None,
        report_val_balanced=trained.report_balanced,
    )


def measured_pace(config: SpikformerConfig, splits: Splits, recipe: Recipe) -> Pace | None:
    """How fast `evaluate` is with such a network, from a few steps and one measuring; None if it does not fit."""
    train, speed = splits.train, training.speed_of(splits.train, recipe)
    batch = min(recipe.batch_size, len(train))
    try:
        for _ in range(2):  # the first of a process compiles and loads what the others find
            probe = _Trained(config, splits, recipe, 0, speed, lambda _i, _epoch: None, share=1.0)
            start_s, step_s = probe.step_seconds(_PROBED_STEPS[train.labels.device.type])
            started = time.monotonic()
            probe.measure()
            measuring_s = time.monotonic() - started
    except (RuntimeError, MemoryError) as error:
        if not device_memory.is_full(error):
            raise
        return None
    return Pace(step_s / batch, start_s + measuring_s)


class _Trained:
    """A network on its way through training and measuring; what is there when it fails is what it reached."""

    def __init__(
        self,
        config: SpikformerConfig,
        splits: Splits,
        recipe: Recipe,
        seed: int,
        speed: Speed,
        on_epoch: Callable[[int, Epoch], None],
        share: float,
        saved: Path | None = None,
    ) -> None:
        self.config, self.splits, self.recipe, self.seed, self.speed = config, splits, recipe, seed, speed
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
        training.fit(
            self.model, self.splits.train, self.recipe, self.seed, self._record, self.speed, self.share, self.saved
        )

    def step_seconds(self, count: int) -> tuple[float, float]:
        """See `nas.training.fitting.step_seconds`."""
        self.model.to(self.splits.train.labels.device)
        return training.step_seconds(self.model, self.splits.train, self.recipe, self.seed, self.speed, count)

    def measure(self) -> None:
        splits, normalise = self.splits, Normalise(self.splits.train)
        self.measured = measurement.measure(self.model, splits.search_val, normalise)
        self.report_accuracy, self.report_balanced = training.scores(self.model, splits.report_val, normalise)

    def _record(self, i: int, epoch: Epoch) -> None:
        self.history.append(epoch)
        self.on_epoch(i, epoch)


def _run_twice_if_out_of_memory(trained: _Trained) -> None:
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


def _at_target(
    config: SpikformerConfig,
    operations: tuple[Operation, ...],
    image_size: int,
    convention: Convention = energy.MEASURED,
) -> float | None:
    try:
        large = target.for_imagenet(config, image_size)
    except ConfigError:  # its stages halve the grid too often
        return None
    return target.predicted_energy_mj(operations, large, convention)
