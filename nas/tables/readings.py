"""What a table says of a training, or of the mean of several seeds."""

import dataclasses
import functools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass

from nas.costs import Accesses, Chip, ChipCosts, Convention, MemoryModel, energy
from nas.errors import TableError
from nas.tables.contents import Key
from nas.training import Candidate, Epoch
from spikformer.fields import PlainTable


@dataclass(frozen=True)
class Reading:
    """A training of the table, or the mean over the seeds of a network at one share.

    Attributes:
        seeds: those that it is of.
        status: "complete", "stopped" (below the whole recipe), or why there is no result; of several, the worst.
        accuracy, report_accuracy: share right on the search-val and on the report-val images.
        energy_mj, spike_operations, real_macs: per image, under `convention`.
        images_seen: number of images seen while training, of all seeds together.
        seconds: wall time of training and measuring, of all seeds together.
        curve: training loss and accuracy by epoch.
        chip: energy and latency by a model of a chip, where one was asked for.
        memory: accesses of an image in millijoules, by a model of memory, where one was asked for.
    """

    config_id: str
    share: float
    seeds: tuple[int, ...]
    status: str
    convention: str
    accuracy: float | None
    report_accuracy: float | None
    balanced_accuracy: float | None
    report_balanced_accuracy: float | None
    energy_mj: float | None
    spike_operations: float | None
    real_macs: float | None
    parameters: int
    images_seen: int
    seconds: float
    curve: tuple[Epoch, ...]
    chip: ChipCosts | None = None
    memory: Accesses | None = None


def reading(
    key: Key, record: Candidate, convention: Convention, chip: Chip | None, memory: MemoryModel | None = None
) -> Reading:
    """What a record says.

    Raises:
        TableError: it has no counts, from which that convention, a chip or memory could be priced.
    """
    energy_mj, spike_operations, real_macs = _priced(key, record, convention)
    costs = None
    if chip is not None and record.search_val_accuracy is not None:
        _check_counted(key, record, f"chip {chip.name}")
        costs = chip(record.counts)
    accesses = None
    if memory is not None and record.search_val_accuracy is not None:
        _check_counted(key, record, f"memory {memory.name}")
        accesses = memory.price(record.counts).total
    return Reading(
        key.config_id,
        key.share,
        (key.seed,),
        record.status,
        convention.label,
        record.search_val_accuracy,
        record.report_val_accuracy,
        record.search_val_balanced,
        record.report_val_balanced,
        energy_mj,
        spike_operations,
        real_macs,
        record.parameters,
        record.images_seen,
        record.provenance["wall_s"],
        record.history,
        costs,
        accesses,
    )


_Priced = tuple[float | None, float | None, float | None]


def _priced(key: Key, record: Candidate, convention: Convention) -> _Priced:
    if convention == energy.MEASURED or record.energy_mj is None:
        return record.energy_mj, record.spike_operations, record.real_macs
    _check_counted(key, record, f"convention {convention.label}")
    priced = energy.price(record.operations, record.counted_images, convention)
    return priced.energy_mj, priced.spike_operations, priced.real_macs


def _check_counted(key: Key, record: Candidate, what: str) -> None:
    if not record.operations:
        raise TableError(
            f"the table keeps no counts of {key}, so {what} cannot be priced. Ask for share 1, or for the convention "
            "measured"
        )


def mean(readings: Sequence[Reading]) -> Reading:
    """The mean over seeds; a figure that one of them lacks is missing, and a curve where all are equally long."""
    first = readings[0]
    lengths = {len(each.curve) for each in readings}
    epochs = zip(*(each.curve for each in readings), strict=True) if len(lengths) == 1 else ()
    figures: PlainTable = {name: _mean_of(readings, name) for name in _AVERAGED}
    return dataclasses.replace(
        first,
        seeds=tuple(seed for each in readings for seed in each.seeds),
        status=next((each.status for each in readings if each.status not in ("complete", "stopped")), first.status),
        images_seen=sum(each.images_seen for each in readings),
        seconds=math.fsum(each.seconds for each in readings),
        curve=tuple(Epoch(_mean([e.loss for e in of]), _mean([e.accuracy for e in of])) for of in epochs),
        chip=_mean_costs([each.chip for each in readings]),
        memory=_mean_accesses([each.memory for each in readings]),
        **figures,
    )


_AVERAGED = (
    *("accuracy", "report_accuracy", "balanced_accuracy", "report_balanced_accuracy"),
    *("energy_mj", "spike_operations", "real_macs"),
)


def _mean_of(parts: Sequence[object], name: str) -> float | None:
    values = [getattr(part, name) for part in parts]
    return None if None in values else _mean(values)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _mean_accesses(accesses: Sequence[Accesses | None]) -> Accesses | None:
    known = [each for each in accesses if each is not None]
    if len(known) < len(accesses):
        return None
    return functools.reduce(operator.add, known).times(1 / len(known))


def _mean_costs(costs: Sequence[ChipCosts | None]) -> ChipCosts | None:
    known = [each for each in costs if each is not None]
    if len(known) < len(costs):
        return None
    fits = None if any(each.fits is None for each in known) else all(each.fits for each in known)
    return ChipCosts(_mean_of(known, "energy_mj"), _mean_of(known, "latency_ms"), fits, known[0].note)


__all__ = ["Reading", "mean", "reading"]
