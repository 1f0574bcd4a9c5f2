"""Do the levers of speed change what is learned? The same networks and seeds, with every lever off and with all on."""

import argparse
import dataclasses
import statistics
import time

import torch
from header import header, note, table

from nas.datasets import loaders as data
from nas.spaces import SearchSpace, load_space
from nas.training import fitting as training
from nas.training.augmentation import Normalise
from nas.training.execution import REFERENCE, ExecutionOptions, options_for
from spikformer import Spikformer

SEEDS = 5


def accuracy(found: SearchSpace, reference: str, splits: data.Splits, seed: int, options: ExecutionOptions) -> float:
    torch.manual_seed(seed)
    model = Spikformer(found.references[reference]).to(splits.train.labels.device)
    training.fit(model, splits.train, found.recipe, seed, options=options)
    return 100 * training.accuracy(model, splits.search_val, Normalise(splits.train))


def compare(found: SearchSpace, splits: data.Splits, fast: ExecutionOptions) -> str:
    rows = [("network", "levers off", "all on", "difference of a seed, mean", "its standard error")]
    for reference in found.references:
        pairs = []
        for seed in range(SEEDS):
            started = time.monotonic()
            pairs.append([accuracy(found, reference, splits, seed, options) for options in (REFERENCE, fast)])
            note(f"{reference}, seed {seed}: {pairs[-1]}, {time.monotonic() - started:.0f} s")
        off, on = zip(*pairs, strict=True)
        differences = [b - a for a, b in pairs]
        error = statistics.stdev(differences) / SEEDS**0.5
        rows.append((reference, _spread(off), _spread(on), f"{statistics.mean(differences):+.2f}", f"{error:.2f}"))
    return table(rows)


def _spread(accuracies: tuple[float, ...]) -> str:
    return f"{statistics.mean(accuracies):.2f} +- {statistics.stdev(accuracies):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="spikformer_tiny")
    parser.add_argument("--data-dir")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--train-images", type=int)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = load_space(arguments.space)
    asked = {"epochs": arguments.epochs, "train_images": arguments.train_images}
    recipe = dataclasses.replace(found.recipe, **{key: value for key, value in asked.items() if value is not None})
    found = dataclasses.replace(found, recipe=recipe)
    splits = data.load(found, arguments.data_dir).to(torch.device(arguments.device))
    fast = options_for(splits.train.labels.device, recipe, 10**12)
    given = "".join(f" --{key.replace('_', '-')} {value}" for key, value in asked.items() if value is not None)
    print(header(f"python benchmarks/levers.py --space {arguments.space}{given}"))
    print(f"\naccuracy on search-val in %, mean and deviation over {SEEDS} seeds; all on: {fast}")
    print(f"{recipe.epochs} epochs of {len(splits.train):,} images, {len(splits.search_val):,} to judge by\n")
    print(compare(found, splits, fast))


if __name__ == "__main__":
    main()
