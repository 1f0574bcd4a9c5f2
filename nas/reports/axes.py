"""Which axis of a space decides: importance with its uncertainty, and what each choice does on average.

A forest of trees learns accuracy, or the logarithm of energy, from the choices. What it forecasts on networks whose
choices are drawn independently of each other splits into a part for each axis and a rest, the interactions, whose
variances add up (functional ANOVA: Hutter, Hoos and Leyton-Brown, ICML 2014). The importance of an axis is its part of
the variance, times the share that the forest explains on networks that it did not see: all shares, with those of the
interactions and of what is not explained, add up to 1. What a forecast loses when a column is shuffled (Breiman, 2001)
does not add up: it has the variance of a lone axis twice, and an interaction once for each of its axes. A choice does
what the forest forecasts on average over the other choices. All is computed on networks drawn with replacement, again
and again: the spread of the results is their uncertainty.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nas.studies import Training

FEWEST = 12  # networks, below which nothing is said
_MOST = 400  # networks: more add seconds and no insight
_ROUNDS, TREES = 16, 30
_SAMPLE = 100  # networks with independent choices, on which forecasts are averaged
INTERACTIONS, UNEXPLAINED = "(interactions)", "(not explained)"  # what no single axis does; no axis has such a name
_COLUMNS = ["objective", "axis", "importance", "low", "high"]
_EFFECTS = ["objective", "axis", "choice", "mean", "low", "high", "networks"]


def importance(trainings: Sequence[Training], sample: str = "image") -> tuple[pd.DataFrame, pd.DataFrame, str]:
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
    importances, effects, explained = list[pd.DataFrame](), list[pd.DataFrame](), list[str]()
    for objective, values in (
        ("accuracy", [100 * (t.accuracy or 0.0) for t in known]),
        ("energy", [math.log10(t.energy_mj or 1.0) for t in known]),
    ):
        rounds = _forests(codes, np.asarray(values), [len(choices[axis]) for axis in axes], rng)
        importances.append(_importances(objective, axes, rounds))
        effects.append(_effects(objective, axes, choices, codes, rounds.effects))
        explained.append(f"{100 * (1 - rounds.unexplained.mean()):.0f} % of the variance of {objective}")
    images = known[0].images_seen
    basis = (
        f"From {len(known)} networks, each trained on {images:,} {sample}s; accuracy is that of search-val. "
        f"On networks that it did not see the forest explains {' and '.join(explained)}. The shares of the axes, of "
        "their interactions and of what is not explained add up to 100 %."
    )
    return pd.concat(importances, ignore_index=True), pd.concat(effects, ignore_index=True), basis


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


@dataclass(frozen=True)
class _Rounds:
    """What the forests say, round by round.

    Attributes:
        shares: of the forecasts' variance, [rounds, axes]; the interactions have the rest up to 1.
        effects: of each axis, [rounds, choices]: the mean forecast if all networks had that choice.
        unexplained: share of the variance that a forest does not explain on unseen networks, [rounds].
    """

    shares: np.ndarray
    effects: list[np.ndarray]
    unexplained: np.ndarray


def _forests(codes: np.ndarray, values: np.ndarray, counts: list[int], rng: np.random.Generator) -> _Rounds:
    encoded, weights = _encoded(codes, counts), _weights(codes, counts)
    shares, effects = np.zeros((_ROUNDS, len(counts))), [np.zeros((_ROUNDS, count)) for count in counts]
    residual, total = np.zeros(_ROUNDS), np.zeros(_ROUNDS)
    for i in range(_ROUNDS):
        drawn = rng.integers(0, len(values), len(values))
        unseen = np.setdiff1d(np.arange(len(values)), drawn)
        sample = np.column_stack([rng.choice(column, _SAMPLE) for column in codes.T])
        asked = [codes[unseen], sample, *_everywhere(sample, counts)]
        whole = forecast(encoded[drawn], values[drawn], _encoded(np.concatenate(asked), counts), i)
        forecasts = iter(np.split(whole, _ends(asked)))
        residual[i] = _squares(next(forecasts), values[unseen])
        total[i] = _squares(np.full(len(unseen), values[drawn].mean()), values[unseen])
        of_sample = next(forecasts)
        for axis, count in enumerate(counts):
            effects[axis][i] = [next(forecasts).mean() for _ in range(count)]
        shares[i] = _shares(of_sample, sample, [of[i] for of in effects], weights)
    # Of one round few networks are unseen: their variance is taken from all rounds.
    unexplained = np.clip(residual / total.mean(), 0.0, 1.0) if total.mean() > 0 else np.ones(_ROUNDS)
    return _Rounds(shares, effects, unexplained)


def forecast(encoded: np.ndarray, values: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
    """What a forest that is grown on some networks forecasts of others.

    It is scikit-learn's `ExtraTreesRegressor`, tree by tree: that copies and checks each tree's settings, which takes
    longer than growing it.
    """
    from sklearn import config_context
    from sklearn.tree import ExtraTreeRegressor
    from sklearn.utils import check_random_state

    fed, target, unknown = encoded.astype(np.float32), values[:, None], asked.astype(np.float32)
    total = np.zeros(len(asked))
    with config_context(skip_parameter_validation=True):
        for state in check_random_state(seed).randint(np.iinfo(np.int32).max, size=TREES):
            tree = ExtraTreeRegressor(min_samples_leaf=2, max_features=1.0, random_state=state)
            total += tree.fit(fed, target, check_input=False).predict(unknown, check_input=False)
    return total / TREES


def _weights(codes: np.ndarray, counts: list[int]) -> list[np.ndarray]:
    """How frequent each choice of each axis is."""
    columns = zip(codes.T, counts, strict=True)
    return [np.bincount(column.astype(int), minlength=count) / len(codes) for column, count in columns]


def _shares(
    forecasts: np.ndarray, sample: np.ndarray, effects: list[np.ndarray], weights: list[np.ndarray]
) -> np.ndarray:
    """Each axis's share of the variance of forecasts on networks whose choices are independent.

    The variance is the sum of the parts: of each axis, and of what the sum of the axes' effects leaves of a forecast.
    """
    centred = [effect - weight @ effect for effect, weight in zip(effects, weights, strict=True)]
    parts = np.asarray([weight @ effect**2 for effect, weight in zip(centred, weights, strict=True)])
    additive = sum(effect[column.astype(int)] for effect, column in zip(centred, sample.T, strict=True))
    interactions = (forecasts - additive).var()
    whole = parts.sum() + interactions
    return np.asarray(parts / whole if whole > 0 else parts)


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


def _importances(objective: str, axes: list[str], rounds: _Rounds) -> pd.DataFrame:
    """Shares of the variance with what 95 % of the rounds say: axes by importance, then the two rests."""
    explained = 1 - rounds.unexplained
    single = rounds.shares * explained[:, None]
    every = np.column_stack([single, explained - single.sum(1), rounds.unexplained])
    low, high = np.quantile(every, [0.025, 0.975], axis=0)
    figures = np.column_stack([every.mean(0), low, high])
    ranked = sorted(range(len(axes)), key=lambda i: -figures[i, 0])
    names = [*axes, INTERACTIONS, UNEXPLAINED]
    order = [*ranked, len(axes), len(axes) + 1]
    return pd.DataFrame([(objective, names[i], *map(float, figures[i])) for i in order], columns=_COLUMNS)


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


__all__ = ["FEWEST", "INTERACTIONS", "TREES", "UNEXPLAINED", "forecast", "importance"]
