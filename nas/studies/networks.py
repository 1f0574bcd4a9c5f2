"""The table of a study's networks, a row a candidate: `Study.to_dataframe`, and `trials.csv` of a report.

It stands here and not with the reports, because a study gives it away itself, and a room imports only from those above.
pandas is imported with this module, so `nas.studies` leaves it to those who need the table.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.costs import MEASURED, Chip, Convention, MemoryModel, memory_columns, neurobench
from nas.stats import wilson
from nas.studies import constraints as limits
from nas.studies.records import FullTraining, Training
from nas.training import Candidate, described, front_of, in_words, ranking, repriced, stem_name

if TYPE_CHECKING:
    from nas.studies.study import Study


@dataclass(frozen=True)
class Priced:
    """Candidates with their energies under a convention, by trial number.

    Attributes:
        broken: the limits that each breaks, in words.
        front: trials on the front under that convention, by rising energy.
    """

    candidates: dict[int, Candidate]
    broken: dict[int, list[str]]
    front: list[int]


def price(study: "Study", stored: Mapping[int, Candidate], convention: Convention) -> Priced:
    """The candidates of a study under a convention. Limits are those of the search, so they hold of its own energy.

    Raises:
        CostError: a complete candidate without counted operations.
    """
    asked, energy_of = study.constraints, study.energy_of
    broken = {n: limits.broken(c, asked, energy_of) if c.status == "complete" else [] for n, c in stored.items()}
    ranked_by_target = energy_of == "target" and convention != MEASURED
    candidates = repriced(stored, convention, study.target_image_size if ranked_by_target else None)
    front = list(front_of({n: c for n, c in candidates.items() if not broken[n]}, energy_of))
    return Priced(candidates, broken, front)


def dataframe(
    study: "Study", convention: Convention, chip: Chip | None, memory: MemoryModel | None = None
) -> pd.DataFrame:
    """See `Study.to_dataframe`."""
    priced = price(study, study.candidates, convention)
    return table(study, priced, convention, chip, study.trainings, memory).set_index("trial")


def _row(number: int, candidate: Candidate, on_front: bool, broken: list[str]) -> dict[str, object]:
    config = candidate.config
    with_blocks = [stage for stage in config.stages if stage.depth]
    stage = with_blocks[0]
    rates = list(candidate.firing_rates.values())
    return {
        "trial": number,
        "status": candidate.status,
        "on_front": on_front,
        "constraints": " ".join(broken),
        "reference": candidate.reference or "",
        "network": in_words(candidate),
        "description": described(config),
        "search_val_accuracy": candidate.search_val_accuracy,
        "report_val_accuracy": candidate.report_val_accuracy,
        "search_val_balanced": candidate.search_val_balanced,
        "report_val_balanced": candidate.report_val_balanced,
        "energy_mj": candidate.energy_mj,
        "energy_repeated_mj": candidate.energy_repeated_mj,
        "energy_target_mj": candidate.energy_target_mj,
        "energy_error": candidate.energy_error,
        "spike_operations": candidate.spike_operations,
        "real_macs": candidate.real_macs,
        "dense_macs": candidate.dense_macs,
        **_neurobench(candidate),
        "parameters": candidate.parameters,
        "mean_firing_rate": sum(rates) / len(rates) if rates else None,
        "silent_layers": " ".join(candidate.silent_layers),
        "time_steps": config.time_steps,
        "residual": config.residual,
        "attention": "+".join(dict.fromkeys(s.mixer.kind for s in with_blocks)),
        "embed_dim": stage.embed_dim,
        "depth": sum(s.depth for s in config.stages),
        "num_heads": stage.mixer.num_heads,
        "mlp_ratio": stage.mlp.ratio,
        "neuron": config.neuron.kind,
        "stem": stem_name(config.stem),
        "position": config.stem.position,
        "pool_order": config.stem.pool_order,
        "neuron_on": stage.mixer.neuron_on,
        "head_neuron": config.head.neuron,
        "images_seen": candidate.images_seen,
        "seed": candidate.seed,
        "wall_s": candidate.provenance["wall_s"],
        "config_id": candidate.config_id,
        "reason": candidate.reason,
    }


def _neurobench(candidate: Candidate) -> dict[str, float | None]:
    """NeuroBench's `SynapticOperations` under its names."""
    names = ("Effective_MACs", "Effective_ACs", "Dense")
    if candidate.status != "complete":
        return dict.fromkeys(names)
    return {**neurobench.synaptic_operations(candidate.operations, candidate.counted_images)}


def _full_row(trained: list[FullTraining]) -> dict[str, object]:
    """Of the longest training, the mean over its seeds."""
    longest = [full for full in trained if full.epochs == max(other.epochs for other in trained)]
    accuracy = sum(full.test_top1 for full in longest) / len(longest) if longest else None
    return {"full_test_accuracy": accuracy, "full_epochs": longest[0].epochs if longest else None}


def _chip_row(candidate: Candidate, chip: Chip | None) -> dict[str, object]:
    if chip is None:
        return {}
    if candidate.status != "complete":
        return {"chip_energy_mj": None, "chip_latency_ms": None, "chip_fits": None}
    costs = chip(candidate.counts)
    return {"chip_energy_mj": costs.energy_mj, "chip_latency_ms": costs.latency_ms, "chip_fits": costs.fits}


def _memory_row(candidate: Candidate, memory: MemoryModel | None) -> dict[str, float | None]:
    if memory is None:
        return {}
    return memory_columns(memory.price(candidate.counts).total if candidate.status == "complete" else None)


def table(
    study: "Study",
    priced: Priced,
    convention: Convention,
    chip: Chip | None,
    trainings: Sequence[Training],
    memory: MemoryModel | None = None,
) -> pd.DataFrame:
    """A row a candidate, by trial number; columns `choice_*` have its choices, one an axis of the space."""
    choices = {training.trial: training.choices for training in trainings}
    candidates, on_front, energy_of = priced.candidates, set(priced.front), study.energy_of
    in_full: dict[int, list[FullTraining]] = defaultdict(list)
    for full in study.full_trainings:
        in_full[full.trial].append(full)
    rows = []
    for n, c in candidates.items():
        row = _row(n, c, n in on_front, priced.broken[n]) | {"convention": convention.label}
        row[ranking.column_of(energy_of)] = c.ranked_mj(energy_of)
        row |= _full_row(in_full[n])
        row |= {f"choice_{axis}": choice for axis, choice in choices.get(n, {}).items()}
        rows.append(row | _chip_row(c, chip) | _memory_row(c, memory))
    if not rows:
        return pd.DataFrame(columns=[*_EMPTY, "convention"])
    frame = pd.DataFrame(rows)
    for split in ("search_val", "report_val"):
        images = [c.counted_images if split == "search_val" else c.report_val_images for c in candidates.values()]
        _insert_interval(frame, split, np.asarray(images, dtype=float))
    return frame


def _insert_interval(frame: pd.DataFrame, split: str, images: NDArray[np.float64]) -> None:
    """Columns `<split>_low` and `<split>_high` after that split's accuracy: 95 %, over its images."""
    place = frame.columns.get_loc(f"{split}_accuracy")
    assert isinstance(place, int)
    low, high = wilson(frame[f"{split}_accuracy"].astype(float).to_numpy(), images)
    frame.insert(place + 1, f"{split}_low", low)
    frame.insert(place + 2, f"{split}_high", high)


_EMPTY = (
    *("trial", "status", "on_front", "constraints", "reference", "network", "description"),
    *("search_val_accuracy", "search_val_low"),
    *("search_val_high", "report_val_accuracy", "report_val_low", "report_val_high", "energy_mj", "energy_target_mj"),
    *("spike_operations", "parameters", "images_seen", "seed", "reason"),
)


__all__ = ["Priced", "dataframe", "price", "table"]
