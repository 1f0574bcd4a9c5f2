"""Tables of a study beside that of its networks (`nas.studies.networks`): a row a training, a row a status."""

import math
from collections.abc import Sequence

import pandas as pd

from nas.stats import pareto
from nas.studies import Training


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


__all__ = ["points_of", "rungs_table", "statuses_table", "trajectory_table"]
