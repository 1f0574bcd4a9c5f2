"""Tables of a study: a row a candidate, a row a training, a row a status."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.costs import Chip, Convention
from nas.progress import in_words
from nas.reports.description import described
from nas.stats import pareto, wilson
from nas.studies import FullTraining, Study, Training
from nas.training import Candidate


def _row(number: int, candidate: Candidate, on_front: bool, broken: list[str]) -> dict[str, object]:
    config, stage = candidate.config, candidate.config.stages[0]
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
        "parameters": candidate.parameters,
        "mean_firing_rate": sum(rates) / len(rates) if rates else None,
        "silent_layers": " ".join(candidate.silent_layers),
        "time_steps": config.time_steps,
        "residual": config.residual,
        "attention": "+".join(dict.fromkeys(s.mixer.kind for s in config.stages)),
        "embed_dim": stage.embed_dim,
        "depth": sum(s.depth for s in config.stages),
        "num_heads": stage.mixer.num_heads,
        "mlp_ratio": stage.mlp.ratio,
        "neuron": config.neuron.kind,
        "pool_order": config.stem.pool_order,
        "neuron_on": stage.mixer.neuron_on,
        "head_neuron": config.head.neuron,
        "images_seen": candidate.images_seen,
        "seed": candidate.seed,
        "wall_s": candidate.provenance["wall_s"],
        "config_id": candidate.config_id,
        "reason": candidate.reason,
    }


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
    costs = chip(candidate.config, candidate.operations, candidate.overheads, candidate.counted_images)
    return {"chip_energy_mj": costs.energy_mj, "chip_latency_ms": costs.latency_ms, "chip_fits": costs.fits}


def candidates_table(
    study: Study,
    candidates: dict[int, Candidate],
    front: Sequence[int],
    broken: dict[int, list[str]],
    convention: Convention,
    chip: Chip | None,
    trainings: Sequence[Training],
) -> pd.DataFrame:
    """A row a candidate, by trial number; columns `choice_*` have its choices, one an axis of the space."""
    choices = {training.trial: training.choices for training in trainings}
    on_front, full_trainings = set(front), study.full_trainings
    rows = []
    for n, c in candidates.items():
        row = _row(n, c, n in on_front, broken[n]) | {"convention": convention.label}
        row |= _full_row([full for full in full_trainings if full.trial == n])
        row |= {f"choice_{axis}": choice for axis, choice in choices.get(n, {}).items()}
        rows.append(row | _chip_row(c, chip))
    if not rows:
        return pd.DataFrame(columns=[*_EMPTY, "convention"])
    table = pd.DataFrame(rows)
    for split in ("search_val", "report_val"):
        images = [c.counted_images if split == "search_val" else c.report_val_images for c in candidates.values()]
        _insert_interval(table, split, np.asarray(images, dtype=float))
    return table


def _insert_interval(table: pd.DataFrame, split: str, images: NDArray[np.float64]) -> None:
    """Columns `<split>_low` and `<split>_high` after that split's accuracy: 95 %, over its images."""
    place = table.columns.get_loc(f"{split}_accuracy")
    assert isinstance(place, int)
    low, high = wilson(table[f"{split}_accuracy"].astype(float).to_numpy(), images)
    table.insert(place + 1, f"{split}_low", low)
    table.insert(place + 2, f"{split}_high", high)


_EMPTY = (
    *("trial", "status", "on_front", "constraints", "reference", "network", "description", "search_val_accuracy"),
    *(
        "search_val_low",
        "search_val_high",
        "report_val_accuracy",
        "report_val_low",
        "report_val_high",
        "energy_mj",
        "energy_target_mj",
    ),
    *("spike_operations", "parameters", "images_seen", "seed", "reason"),
)


def rungs_table(trainings: Sequence[Training]) -> pd.DataFrame:
    """A row a training that gave a reading; `last_trial` is where the same network was trained furthest."""
    last: dict[str, Training] = {}
    for training in trainings:
        if training.config_id not in last or training.rung > last[training.config_id].rung:
            last[training.config_id] = training
    columns = ["trial", "last_trial", "rung", "images_seen", "search_val_accuracy"]
    rows = [
        (t.trial, last[t.config_id].trial, t.rung, t.images_seen, t.accuracy)
        for t in trainings
        if t.accuracy is not None
    ]
    return pd.DataFrame(rows, columns=columns)


def trajectory_table(
    trainings: Sequence[Training], points: dict[int, pareto.Point], reference: pareto.Point | None
) -> pd.DataFrame:
    """Hypervolume of the front after each training in full, against the images that all trainings saw by then.

    Args:
        points: accuracy in per cent and log10 energy, of the trials that may be on the front.
        reference: the point from which it is measured.
    """
    seen, members, rows = 0, list[pareto.Point](), []
    for training in trainings:
        seen += training.images_seen
        if training.trial in points and reference is not None:
            joined = [*members, points[training.trial]]
            members = [joined[i] for i in pareto.front(joined)]
            rows.append((training.trial, seen, pareto.hypervolume(members, reference)))
    return pd.DataFrame(rows, columns=["trial", "images", "hypervolume"])


def statuses_table(trials: pd.DataFrame) -> pd.DataFrame:
    """How many candidates ended how, and why; numbers in a reason stand for any."""
    if trials.empty:
        return pd.DataFrame(columns=["status", "reason", "networks"])
    reasons = trials["reason"].fillna("").str.replace(r"\d[\d,.]*", "N", regex=True)
    counted = trials.assign(reason=reasons).groupby(["status", "reason"]).size().rename("networks").reset_index()
    # A reason that all of a status share keeps its numbers.
    for i, row in counted.iterrows():
        exact = trials[(trials["status"] == row["status"]) & (reasons == row["reason"])]["reason"].fillna("").unique()
        if len(exact) == 1:
            counted.loc[i, "reason"] = exact[0]
    return counted.sort_values(["networks", "status"], ascending=[False, True]).reset_index(drop=True)


def points_of(trials: pd.DataFrame, column: str) -> dict[int, pareto.Point]:
    """Search-val accuracy in per cent and log10 energy of the candidates that may be on the front, by trial."""
    if trials.empty:
        return {}
    feasible = trials[(trials["status"] == "complete") & (trials["constraints"] == "") & trials[column].notna()]
    return {
        int(n): (100 * float(accuracy), math.log10(mj))
        for n, accuracy, mj in zip(feasible["trial"], feasible["search_val_accuracy"], feasible[column], strict=True)
        if mj > 0
    }


__all__ = ["candidates_table", "points_of", "rungs_table", "statuses_table", "trajectory_table"]
