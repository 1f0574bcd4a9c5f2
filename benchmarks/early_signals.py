"""What does a short training tell about a long one? Accuracy, energy and which networks to train on.

Networks drawn from a space, and its references, are trained on a part of the recipe's images, in two ways: each part
with a whole schedule of its own (warm-up, cosine to zero), or as one run at a constant rate, from which a short
cool-down branches at each part and which then goes on. The second is trained here from the start for each part, which
gives the same readings as going on from a checkpoint. Then: how far accuracy and energy still move, and how many of
the networks on the true front survive if the best third goes on, by which signal.
"""

import argparse
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from header import header, note, table
from scipy.stats import kendalltau

from nas import files
from nas.datasets import loaders as data
from nas.spaces import load_space
from nas.spaces.space import Recipe, SearchSpace
from nas.stats import pareto
from nas.training import fitting as training
from nas.training.evaluation import evaluate
from spikformer import SpikformerConfig

SHARES = (0.05, 0.25, 1.0)
COOLING = 0.2  # of a part's steps
KEPT = 1 / 3
FLOOR = 1e-12

Row = dict[str, dict[str, float]]
"""Schedule and share, such as "own 0.05" -> accuracy, energy_mj, loss."""


def networks(source: SearchSpace, count: int) -> list[SpikformerConfig]:
    """The references, and different networks at random."""
    rng, found = random.Random(0), {config.config_id: config for config in source.references.values()}
    while len(found) < count:
        config = source.random(rng)
        found.setdefault(config.config_id, config)
    return list(found.values())


def trunk(recipe_steps: int) -> Callable[[Recipe, int], Callable[[int], float]]:
    """In place of the schedule of `nas.training.fitting`: the same rise and rate for all parts, then a cool-down."""
    rise = max(1, round(SHARES[0] * recipe_steps / 2))

    def schedule(recipe: Recipe, steps: int) -> Callable[[int], float]:
        cool = round(COOLING * steps)
        return lambda step: recipe.learning_rate * min((step + 1) / rise, 1.0, (steps - step) / cool)

    return schedule


def read(config: SpikformerConfig, source: SearchSpace, splits: data.Splits, cache: Path) -> Row:
    """All trainings of a network, from the cache or put there whole."""
    path = cache / f"{source.name}-{config.config_id}.json"
    row: Row = json.loads(path.read_text()) if path.exists() else {}
    steps = training.steps_of(len(splits.train), source.recipe)
    for name, schedule in (("own", training.schedule), ("trunk", trunk(steps))):
        for share in SHARES:
            if f"{name} {share:g}" not in row:
                with mock.patch.object(training, "schedule", schedule):
                    row[f"{name} {share:g}"] = trained(config, source, splits, 0, share)
        if name == "own" and "again" not in row:
            row["again"] = trained(config, source, splits, 1, 1.0)
        files.write(path, lambda partial: partial.write_text(json.dumps(row)))
    return row


def trained(config: SpikformerConfig, source: SearchSpace, splits: data.Splits, seed: int, share: float) -> Any:
    found, _ = evaluate(config, splits, source.recipe, seed, share=share)
    note(f"{config.config_id} {share:g}: {found.search_val_accuracy} {found.energy_mj} {found.status}")
    complete = found.is_ranked
    return {
        "accuracy": found.search_val_accuracy if complete and found.search_val_accuracy else 0.0,
        "log_energy": float(np.log(max(found.energy_mj or FLOOR, FLOOR))),
        "loss": float(np.mean([epoch.loss for epoch in found.history])) if found.history else float("inf"),
        "silent": float(found.status == "silent"),
    }


def promoted(points: Sequence[pareto.Point], count: int) -> set[int]:
    """The best by rank of domination; within a rank those that lie farthest from their neighbours."""
    left, kept = list(range(len(points))), []
    while len(kept) < count:
        layer = [left[i] for i in pareto.front([points[i] for i in left])]
        kept += sorted(layer, key=lambda i: -_room([points[j] for j in layer], points[i]))
        left = [i for i in left if i not in layer]
    return set(kept[:count])


def _room(layer: Sequence[pareto.Point], point: pareto.Point) -> float:
    values = np.array(layer)
    scale = np.ptp(values, axis=0)
    distances = np.abs((values - np.array(point)) / np.where(scale > 0, scale, 1)).sum(1)
    others = distances[distances > 0]
    return float(others.min()) if len(others) else 0.0


def recall(rows: Sequence[Row], early: str, final: str, signal: str) -> float:
    """Share of the final front that is among the early best third, by a signal and energy."""
    sign = {"accuracy": 1.0, "loss": -1.0, "nothing": 0.0}[signal]
    points = [(sign * row[early].get(signal, 0.0), row[early]["log_energy"]) for row in rows]
    truth = pareto.front([(row[final]["accuracy"], row[final]["log_energy"]) for row in rows])
    return len(promoted(points, round(KEPT * len(rows))) & set(truth)) / len(truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="cifar10_cpu")
    parser.add_argument("--data-dir")
    parser.add_argument("--networks", type=int, default=30)
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder of raw results: what is there is not repeated"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = load_space(arguments.space)
    splits = data.load(source, arguments.data_dir).to(torch.device(arguments.device))
    rows = [read(config, source, splits, arguments.cache) for config in networks(source, arguments.networks)]
    print(header(f"python benchmarks/early_signals.py --space {source.name} --networks {len(rows)}"))
    images = training.images_seen(len(splits.train), source.recipe)
    print(f"\n{len(rows)} networks, {images:,} images in full, {len(splits.search_val):,} search-val images\n")
    print(
        table([_HEADINGS, *(_line(rows, name, share) for name in ("own", "trunk") for share in SHARES), _noise(rows)])
    )


_HEADINGS = ("schedule", "share", "mean accuracy", "tau accuracy", "tau loss", "tau energy", "energy moves by (sd)")
_HEADINGS += ("recall by accuracy", "by loss", "by energy alone", "silent early only")


def _line(rows: Sequence[Row], name: str, share: float) -> tuple[str, ...]:
    early, final = f"{name} {share:g}", f"{name} 1"
    values = {key: np.array([[row[which][key] for row in rows] for which in (early, final)]) for key in rows[0][early]}
    drift = values["log_energy"][1] - values["log_energy"][0]
    taus = [kendalltau(values["accuracy"][1], early).statistic for early in (values["accuracy"][0], -values["loss"][0])]
    taus.append(kendalltau(*values["log_energy"]).statistic)
    return (
        name,
        f"{share:g}",
        f"{100 * values['accuracy'][0].mean():.1f} %",
        *(f"{tau:.2f}" for tau in taus),
        f"{np.expm1(np.median(drift)):+.0%} ({drift.std():.2f})",
        *(f"{recall(rows, early, final, signal):.2f}" for signal in ("accuracy", "loss", "nothing")),
        f"{int((values['silent'][0] > values['silent'][1]).sum())}",
    )


def _noise(rows: Sequence[Row]) -> tuple[str, ...]:
    """Another seed, in full: what no signal can beat."""
    return (
        "another seed",
        *_line([{"own 0.05": row["again"], "own 1": row["own 1"]} for row in rows], "own", 0.05)[1:],
    )


if __name__ == "__main__":
    main()
