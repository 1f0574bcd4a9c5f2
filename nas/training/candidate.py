"""The record of an evaluated config: how it was trained, what it achieved and what it costs."""

import dataclasses
import functools
import itertools
import marshal
import math
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from nas.costs import Activity, Convention, Counts, Operation, Overheads, as_dicts, energy, fired, reads_counts, target
from nas.errors import CostError, RecordError
from nas.settings import Recipe
from nas.stats import pareto
from nas.training import wording
from nas.training.epoch import Epoch
from nas.training.ranking import EnergyOf, total_mj
from nas.typed import hold, hold_value
from spikformer import schema
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.fields import PlainTable

Status = Literal["complete", "stopped", "silent", "diverged", "out_of_memory", "died"]
"""Only "complete" ones are ranked; "stopped" ones were trained on fewer images than the recipe gives."""
SCHEMA = 1
"""Of a record in a storage. Those of 0 have no number; the first of them have no rungs and no balanced accuracies."""


@dataclass(frozen=True)
class Candidate:
    """An evaluated config, keyed by (config_id, seed, images_seen).

    Attributes:
        config_id: id that is equal for equal networks, however they are written.
        reference: the name under which the space lists it, if it does.
        status: "complete", or why it has no place in a ranking; `reason` says more.
        train_images: number of images in the train split.
        images_seen: number of images seen while training; an epoch leaves out what does not fill a batch.
        search_val_accuracy: share right on the images that the search ranks by.
        report_val_accuracy: share right on the images that only reports read.
        search_val_balanced, report_val_balanced: mean over classes of each class's share right; it ranks nothing. None
            in records of earlier versions.
        energy_mj, energy_repeated_mj, spike_operations, real_macs: per image, under the convention "measured" (the
            second under "measured+repeat"), counted on all `counted_images` search-val images.
        energy_target_mj: predicted for the network that `export` makes of it for ImageNet, under "measured": its own
            operations at the proxy's rates. None where there is no such network, and for frames of events.
        energy_error: standard error of `energy_mj` over images, as a share of it. The spread over seeds is another,
            larger number.
        dense_macs: per image over all T, padding included.
        operations: whole numbers, from which any convention can be priced.
        overheads: counts of what `operations` leave out.
        firing_rates: by module path of each neuron layer.
        activity: spikes by time step, by module path of each neuron layer; empty in records of earlier versions.
        history: training loss and accuracy by epoch.
        provenance: time, host, device, versions and commit, which may differ between equal runs.
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
    provenance: PlainTable
    # Not compared: a record of an earlier version is equal to that of the same training today.
    search_val_balanced: float | None = dataclasses.field(default=None, compare=False)
    report_val_balanced: float | None = dataclasses.field(default=None, compare=False)
    activity: dict[str, Activity] = dataclasses.field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        """A line: a record whole has pages of operations, which `to_dict` gives."""
        return wording.one_line(self)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return wording.as_html(self)

    @property
    def silent_layers(self) -> list[str]:
        """Paths of the neuron layers that never fired."""
        return [path for path, rate in self.firing_rates.items() if rate == 0]

    @property
    def is_ranked(self) -> bool:
        """Whether its accuracy and energy compare with those of others: it was trained as far as it should be."""
        return self.status in ("complete", "stopped")

    def ranked_mj(self, energy_of: EnergyOf) -> float | None:
        """The energy by which a search ranks it, in millijoules; None where it has none."""
        if energy_of == "proxy":
            return self.energy_mj
        if energy_of == "target":
            return self.energy_target_mj
        if energy_of not in self._totals:
            counted = self.energy_mj and self.operations
            self._totals[energy_of] = total_mj(energy_of, self.energy_mj or 0.0, self.counts) if counted else None
        return self._totals[energy_of]

    @functools.cached_property
    def _totals(self) -> dict[EnergyOf, float | None]:
        """Totals that were asked for: a search asks for those of all its networks again and again."""
        return {}

    @property
    def counts(self) -> Counts:
        """What cost models read of it."""
        spikes = fired(self.config, self.activity, self.firing_rates, self.counted_images)
        return Counts(self.config, self.operations, self.overheads, self.counted_images, spikes)

    def point(self, energy_of: EnergyOf = "proxy") -> pareto.Point | None:
        """Accuracy in per cent and log10 of energy in mJ, if it was trained in full and can be ranked."""
        energy_mj = self.ranked_mj(energy_of)
        if self.status != "complete" or not energy_mj or self.search_val_accuracy is None:
            return None
        return 100 * self.search_val_accuracy, math.log10(energy_mj)

    def to_dict(self) -> PlainTable:
        """Plain values that survive JSON; `from_dict` reads them back."""
        values = {schema.KEY: SCHEMA} | {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return values | {
            "config": self.config.to_dict(),
            "recipe": dataclasses.asdict(self.recipe),
            "operations": as_dicts(self.operations),
            "overheads": dataclasses.asdict(self.overheads),
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
            "activity": {path: dataclasses.asdict(layer) for path, layer in self.activity.items()},
        }

    @classmethod
    def from_dict(cls, values: PlainTable) -> Self:
        """
        Raises:
            RecordError: a value that is missing, unknown or of another type than it should have; a later layout.
        """
        reason = schema.reason_against(values.get(schema.KEY), SCHEMA)
        if reason is not None:
            raise RecordError(reason)
        try:
            fields = values | {
                "config": SpikformerConfig.from_dict(values["config"]),
                "recipe": _recipe(values["recipe"]),
                "operations": tuple(map(Operation.from_dict, values["operations"])),
                "overheads": Overheads(**values["overheads"]),
                "history": tuple(Epoch(**epoch) for epoch in values["history"]),
                "activity": {p: Activity.from_dict(layer) for p, layer in values.get("activity", {}).items()},
            }
            fields.pop(schema.KEY, None)
            candidate = cls(**fields)
            _check(candidate)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError, ConfigError) as error:
            raise RecordError(f"{type(error).__name__}: {error}") from None
        return candidate


def _recipe(values: PlainTable) -> Recipe:
    """As JSON has it, checked; all records of a study share one."""
    return _recipe_of(marshal.dumps(values))


@functools.lru_cache(maxsize=64)
def _recipe_of(values: bytes) -> Recipe:
    """Before there were rungs, all networks were trained in full."""
    plain = marshal.loads(values)  # of bytes that this process has just made
    recipe = Recipe(**plain | {"rungs": tuple(plain.get("rungs", (1.0,)))})
    hold(recipe)
    return recipe


def _check(candidate: Candidate) -> None:
    """
    Raises:
        TypeError, ValueError, KeyError: a value that no training gives.
    """
    hold(candidate)
    hold(candidate.overheads)
    if not _REAL.issuperset(type(value) for epoch in candidate.history for value in (epoch.loss, epoch.accuracy)):
        for epoch in candidate.history:
            hold(epoch)
    _check_operations(candidate.operations)
    _check_activity(candidate.activity.values())
    hold_value("wall_s", candidate.provenance["wall_s"], float)
    hold_value("versions", candidate.provenance.get("versions", {}), dict[str, object])
    for name in _COUNTS:
        if getattr(candidate, name) < 0:
            raise ValueError(f'"{name}" is {getattr(candidate, name)}, but must not be negative')
    for name, most in _FIGURES.items():
        value = getattr(candidate, name)
        if value is not None and not 0 <= value <= most:
            raise ValueError(f'"{name}" is {value}, but must lie between 0 and {most:g}')


_REAL = frozenset({int, float})
_COUNTS = ("seed", "train_images", "images_seen", "parameters", "report_val_images", "counted_images")
_LARGEST = 1e300  # of a figure: infinity and what is no number are above it
_FIGURES = {
    **dict.fromkeys(("search_val_accuracy", "report_val_accuracy", "search_val_balanced", "report_val_balanced"), 1.0),
    **dict.fromkeys(("energy_mj", "energy_repeated_mj", "energy_target_mj", "spike_operations"), _LARGEST),
    **dict.fromkeys(("real_macs", "dense_macs"), _LARGEST),
}


def _check_activity(layers: Collection[Activity]) -> None:
    """As `hold` does, but fast.

    Raises:
        TypeError: a value of another type, or a number that none can have.
    """
    if not _are_possible_layers(layers):
        layer = next(layer for layer in layers if not _are_possible_layers([layer]))
        raise TypeError(f"the activity {layer} must have neurons, and whole numbers of spikes of at least 0")


def _are_possible_layers(layers: Collection[Activity]) -> bool:
    spikes = [*itertools.chain.from_iterable(layer.spikes for layer in layers)]
    neurons = [layer.neurons for layer in layers]
    return (
        _WHOLE.issuperset(map(type, neurons))
        and _WHOLE.issuperset(map(type, spikes))
        and all(layer.neurons > 0 and layer.spikes for layer in layers)
        and min(spikes, default=0) >= 0
    )


def _check_operations(operations: Sequence[Operation]) -> None:
    """As `hold` does, but fast: a study has a hundred thousand operations, and those of a record are checked at once.

    Raises:
        TypeError: a value of another type, or a number that none can have.
    """
    if not _are_possible(operations):
        operation = next(operation for operation in operations if not _are_possible([operation]))
        raise TypeError(
            f"the counts of the operation {operation.path!r} are impossible, so the record was edited or damaged"
        )


def _are_possible(operations: Sequence[Operation]) -> bool:
    numbers = [*itertools.chain.from_iterable(map(_NUMBERS, operations))]
    shapes = itertools.chain.from_iterable(operation.geometry.values() for operation in operations)
    return (
        _WHOLE.issuperset(map(type, numbers))
        and min(numbers, default=0) >= 0
        and _WHOLE.issuperset(map(type, itertools.chain.from_iterable(shapes)))
        and all(
            type(operation.path) is str
            and operation.kind in ("weight", "product", "sum")
            and operation.valid
            and (operation.values or operation.kind == "product")
            for operation in operations
        )
    )


_WHOLE = frozenset({int})  # and no bool, which is an int for isinstance
_NUMBERS = operator.attrgetter(
    *("index", "repeats", "calls", "dense", "valid", "biases", "values", "spikes", "nonzero", "multiplicity", "events")
)


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
    priced = energy.price(candidate.operations, candidate.counted_images, convention)
    target_mj = candidate.energy_target_mj
    if target_image_size is not None:
        target_mj = energy_at_target(candidate.config, candidate.operations, target_image_size, convention)
    return dataclasses.replace(
        candidate,
        energy_target_mj=target_mj,
        energy_mj=priced.energy_mj,
        spike_operations=priced.spike_operations,
        real_macs=priced.real_macs,
    )


def energy_at_target(
    config: SpikformerConfig,
    operations: tuple[Operation, ...],
    image_size: int,
    convention: Convention = energy.MEASURED,
) -> float | None:
    """Predicted energy of an image, in mJ, of the network that `export` makes for ImageNet; None if there is none.

    None too where frames of events were counted: what they say of rates does not hold for images.
    """
    if reads_counts(operations):
        return None
    try:
        large = target.for_imagenet(config, image_size)
    except ConfigError:  # its stages halve the grid too often
        return None
    return target.predicted_energy_mj(operations, large, convention)


__all__ = ["Candidate", "Status", "energy_at_target", "front_of", "repriced"]
