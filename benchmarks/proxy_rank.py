"""Does a cheaper proxy rank networks like the dearer one, and does the learning rate decide who wins?

Networks drawn from a space are trained by the space's recipe, by a cheaper one, and by the dearer one at half and at
twice its learning rate. Two trainings disagree on a pair if they order it otherwise, each by more than twice the
deviation between seeds of a difference. Energy is not looked at: it hardly depends on either.
"""

import argparse
import dataclasses
import itertools
import random
import statistics

import torch
from header import header, note, table
from scipy.stats import kendalltau

from nas.datasets import loaders as data
from nas.datasets.loaders import Splits
from nas.settings import Recipe
from nas.spaces import load_space
from nas.spaces.space import SearchSpace
from nas.training import fitting as training
from nas.training.augmentation import Normalise
from spikformer import Spikformer, SpikformerConfig

NETWORKS = 12
SEEDS = 4
RATES = (0.5, 1.0, 2.0)  # times the recipe's learning rate
TOLERATED = 0.1  # of the pairs


def networks(source: SearchSpace) -> list[SpikformerConfig]:
    """Half of them of each residual, where the space has several."""
    rng = random.Random(0)
    found: dict[str, SpikformerConfig] = {}
    for _ in range(1000):
        config = source.random(rng)
        same = sum(other.residual == config.residual for other in found.values())
        if len(found) < NETWORKS and 2 * same < NETWORKS:
            found.setdefault(config.config_id, config)
    return list(found.values())


def accuracy(config: SpikformerConfig, splits: Splits, recipe: Recipe, seed: int = 0) -> float:
    torch.manual_seed(seed)
    model = Spikformer(config).to(splits.train.labels.device)
    training.fit(model, splits.train, recipe, seed)
    found = 100 * training.accuracy(model, splits.search_val, Normalise(splits.train))
    note(f"{recipe.epochs} epochs at {recipe.learning_rate:g}, seed {seed}: {found:.2f} % of {config.config_id}")
    return found


def disagreeing(a: list[float], b: list[float], deviation: float) -> float:
    """Share of the pairs that a and b order otherwise, each beyond seed noise."""
    sure = 2 * deviation * 2**0.5
    pairs = list(itertools.combinations(range(len(a)), 2))
    flips = [
        (a[i] - a[j]) * (b[i] - b[j]) < 0 and abs(a[i] - a[j]) > sure and abs(b[i] - b[j]) > sure for i, j in pairs
    ]
    return sum(flips) / len(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="spikformer_tiny")
    parser.add_argument("--data-dir")
    parser.add_argument("--cheaper", type=float, default=1 / 3, help="share of the epochs")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = load_space(arguments.space)
    splits = data.load(source, arguments.data_dir).to(torch.device(arguments.device))
    configs, recipe = networks(source), source.recipe
    cheaper = dataclasses.replace(recipe, epochs=max(1, round(arguments.cheaper * recipe.epochs)))
    at = {
        factor: [
            accuracy(c, splits, dataclasses.replace(recipe, learning_rate=factor * recipe.learning_rate))
            for c in configs
        ]
        for factor in RATES
    }
    cheap = [accuracy(c, splits, cheaper) for c in configs]
    again = [[at[1.0][i], *(accuracy(configs[i], splits, recipe, s) for s in range(1, SEEDS))] for i in (0, 1, 2)]
    deviation = statistics.mean(statistics.variance(values) for values in again) ** 0.5
    print(header(f"python benchmarks/proxy_rank.py --space {arguments.space} --cheaper {arguments.cheaper:.2f}"))
    print(f"\n{len(configs)} networks, {recipe.epochs} epochs of {len(splits.train):,} images; deviation between seeds")
    print(f"{deviation:.2f} points (3 networks, {SEEDS} seeds each)\n")
    rows = [("against the recipe", "Kendall tau", "pairs that disagree beyond seed noise")]
    others = {f"{cheaper.epochs} epochs": cheap} | {f"learning rate x {f:g}": at[f] for f in RATES if f != 1.0}
    for name, found in others.items():
        tau = kendalltau(at[1.0], found).statistic
        rows.append((name, f"{tau:.2f}", f"{disagreeing(at[1.0], found, deviation):.1%}"))
    print(table(rows))
    flips = max(disagreeing(at[a], at[b], deviation) for a, b in itertools.combinations(RATES, 2))
    print(f"\nBetween any two of the learning rates at most {flips:.1%} of the pairs disagree beyond seed noise:")
    print("one rate for all is fair." if flips <= TOLERATED else f"more than {TOLERATED:.0%}: {_rule(configs, at)}")


def _rule(configs: list[SpikformerConfig], at: dict[float, list[float]]) -> str:
    """The factor on the learning rate that suits each residual best."""
    found = []
    for residual in sorted({config.residual for config in configs}):
        mine = [i for i, config in enumerate(configs) if config.residual == residual]
        best = max(RATES, key=lambda factor: sum(at[factor][i] for i in mine))
        found.append(f"{residual} x {best:g}")
    return "give each residual the rate that suits it, " + ", ".join(found)


if __name__ == "__main__":
    main()
