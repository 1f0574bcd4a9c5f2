"""Which axis of a space decides: importance with its uncertainty, and what each choice does on average.

A forest of trees learns accuracy, or the logarithm of energy, from the choices. An axis is as important as the forest's
forecast gets worse when its column is shuffled (Breiman, "Random Forests", 2001), as a share of the variance; a choice
does what the forest forecasts on average if every network had it (Friedman's partial dependence, 2001). Both are
computed on networks drawn with replacement, again and again: the spread of the results is their uncertainty.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from nas.studies import Training

FEWEST = 12  # networks, below which nothing is said
_MOST = 400  # networks: more add seconds and no insight
_ROUNDS, _TREES = 16, 30
_COLUMNS = ["objective", "axis", "importance", "low", "high"]
_EFFECTS = ["objective", "axis", "choice", "mean", "low", "high", "networks"]


def importance(trainings: Sequence[Training]) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Importance of the axes, effects of their choices, and on what both rest.

    Taken is the last rung at which enough networks were measured: accuracies of different rungs do not compare.
    """
    rung, known = _enough(trainings)
    empty = pd.DataFrame(columns=_COLUMNS), pd.DataFrame(columns=_EFFECTS)
    if rung is None:
        return *empty, f"At least {FEWEST} networks with a reading at one rung are needed to tell which axis matters."
    axes = [axis for axis in known[0].choices if len({t.choices.get(axis) for t in known}) > 1]
    if not axes:
        return *empty, "All networks have the same choices."
    rng = np.random.default_rng(0)
    if len(known) > _MOST:
        known = [known[i] for i in sorted(rng.choice(len(known), _MOST, replace=False))]
    choices = {axis: _in_order({t.choices[axis] for t in known if axis in t.choices}) for axis in axes}
    codes = np.asarray([[choices[axis].index(t.choices[axis]) for axis in axes] for t in known], dtype=float)
    tables: tuple[list[pd.DataFrame], list[pd.DataFrame]] = ([], [])
    shares = []
    for objective, values in (
        ("accuracy", [100 * (t.accuracy or 0.0) for t in known]),
        ("energy", [math.log10(t.energy_mj or 1.0) for t in known]),
    ):
        forests = _forests(codes, np.asarray(values), [len(choices[axis]) for axis in axes], rng)
        tables[0].append(_importances(objective, axes, forests[0]))
        tables[1].append(_effects(objective, axes, choices, codes, forests[1]))
        shares.append(f"{100 * max(0.0, forests[2]):.0f} % of the variance of {objective}")
    images = known[0].images_seen
    basis = (
        f"From {len(known)} networks, each trained on {images:,} images; accuracy is that of search-val. "
        "On networks that it had not seen the forest "
        f"explains {' and '.join(shares)}; what it does not explain, no bar shows."
    )
    return pd.concat(tables[0], ignore_index=True), pd.concat(tables[1], ignore_index=True), basis


def _enough(trainings: Sequence[Training]) -> tuple[int | None, list[Training]]:
    """The last rung with several dozen networks, else the one with most."""
    by_rung: dict[int, dict[str, Training]] = {}
    axes = {axis for t in trainings for axis in t.choices}
    for t in trainings:
        if t.accuracy is not None and t.energy_mj and t.choices.keys() >= axes and axes:
            by_rung.setdefault(t.rung, {})[t.config_id] = t
    for rung in sorted(by_rung, reverse=True):
        if len(by_rung[rung]) >= 3 * FEWEST:
            return rung, list(by_rung[rung].values())
    most = max(by_rung, key=lambda rung: len(by_rung[rung]), default=None)
    if most is None or len(by_rung[most]) < FEWEST:
        return None, []
    return most, list(by_rung[most].values())


def _in_order(choices: set[object]) -> list[object]:
    numbers = all(isinstance(choice, int | float) for choice in choices)
    return sorted(choices, key=(lambda c: c) if numbers else str)


def _forests(
    codes: np.ndarray, values: np.ndarray, counts: list[int], rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray], float]:
    """Importances, [rounds, axes]; effects of each axis, [rounds, choices]; variance explained on unseen networks."""
    from sklearn.ensemble import ExtraTreesRegressor

    encoded = _encoded(codes, counts)
    importances, effects = np.zeros((_ROUNDS, len(counts))), [np.zeros((_ROUNDS, count)) for count in counts]
    residual = total = 0.0
    for i in range(_ROUNDS):
        drawn = rng.integers(0, len(values), len(values))
        unseen = np.setdiff1d(np.arange(len(values)), drawn)
        forest = ExtraTreesRegressor(_TREES, min_samples_leaf=2, random_state=i).fit(encoded[drawn], values[drawn])
        if len(unseen) == 0:
            continue
        sample = codes[rng.choice(len(codes), min(100, len(codes)), replace=False)]
        asked = [codes[unseen], *_shuffled(codes[unseen], rng), *_everywhere(sample, counts)]
        forecasts = iter(np.split(forest.predict(_encoded(np.concatenate(asked), counts)), _ends(asked)))
        error = _squares(next(forecasts), values[unseen])
        residual += error
        total += _squares(np.full(len(unseen), values[drawn].mean()), values[unseen])
        spread = max(_squares(np.full(len(unseen), values[unseen].mean()), values[unseen]), 1e-12)
        for axis in range(len(counts)):
            importances[i, axis] = (_squares(next(forecasts), values[unseen]) - error) / spread
        for axis, count in enumerate(counts):
            effects[axis][i] = [next(forecasts).mean() for _ in range(count)]
    return importances, effects, 1 - residual / total if total else 0.0


def _shuffled(codes: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The same networks with one axis shuffled, axis by axis."""
    for axis in range(codes.shape[1]):
        changed = codes.copy()
        changed[:, axis] = rng.permutation(changed[:, axis])
        yield changed


def _everywhere(codes: np.ndarray, counts: list[int]) -> Iterator[np.ndarray]:
    """The same networks all with one choice, axis by axis and choice by choice."""
    for axis, count in enumerate(counts):
        for choice in range(count):
            changed = codes.copy()
            changed[:, axis] = choice
            yield changed


def _ends(parts: list[np.ndarray]) -> np.ndarray:
    return np.cumsum([len(part) for part in parts])[:-1]


def _squares(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).sum())


def _encoded(codes: np.ndarray, counts: list[int]) -> np.ndarray:
    """A column a choice: names have no order."""
    return np.concatenate([codes[:, [i]] == np.arange(count) for i, count in enumerate(counts)], axis=1).astype(float)


def _importances(objective: str, axes: list[str], importances: np.ndarray) -> pd.DataFrame:
    low, mean, high = (
        np.quantile(importances, 0.025, axis=0),
        importances.mean(0),
        np.quantile(importances, 0.975, axis=0),
    )
    rows = [(objective, axis, *map(float, row)) for axis, *row in zip(axes, mean, low, high, strict=True)]
    return pd.DataFrame(rows, columns=_COLUMNS).sort_values("importance", ascending=False, ignore_index=True)


def _effects(
    objective: str, axes: list[str], choices: dict[str, list[object]], codes: np.ndarray, effects: list[np.ndarray]
) -> pd.DataFrame:
    rows = []
    for i, axis in enumerate(axes):
        low, high = np.quantile(effects[i], [0.025, 0.975], axis=0)
        for j, choice in enumerate(choices[axis]):
            values = [float(v[j]) for v in (effects[i].mean(0), low, high)]
            if objective == "energy":  # from the logarithm back to mJ
                values = [10**value for value in values]
            rows.append((objective, axis, str(choice), *values, int((codes[:, i] == j).sum())))
    return pd.DataFrame(rows, columns=_EFFECTS)


__all__ = ["FEWEST", "importance"]
