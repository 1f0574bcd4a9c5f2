"""Samplers of Optuna, compared on a table of trained networks: nothing is trained.

    python cli.py table run spikformer_tiny --networks 100 --shares 1
    python cli.py table export spikformer_tiny --out tables
    python examples/table_samplers.py tables/spikformer_tiny.*.safetensors

Each sampler may ask for networks until their trainings would have seen as many images as 20 whole ones, or as many as
a number behind the file says. Its front is scored by hypervolume, from the reference point of all networks of the
table, as a share of what the whole table has. Networks that the table lacks are pruned and cost nothing. docs/table.md
explains tables.
"""

import math
import sys

import optuna

from nas import tables
from nas.stats import pareto

TRIALS = 20  # for each whole training: to ask for the same networks again is free, but must end
SEEDS = range(5)
SAMPLERS = {
    "RandomSampler": lambda seed: optuna.samplers.RandomSampler(seed),
    "TPESampler": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "NSGAIISampler": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=10),
}


def main():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = tables.load(sys.argv[1])
    every = table.to_dataframe()
    whole = every[(every["share"] == 1) & (every["seed"] == 0) & (every["status"] == "complete")]
    points = [table_point(table, network) for network in whole["config_id"]]
    reference = pareto.reference_point(points)
    trainings = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    images = trainings * int(whole["images_seen"].max())
    best = pareto.hypervolume(points, reference)
    print(f"{table}\nhypervolume of all networks: {best:.3f}")
    for name, sampler in SAMPLERS.items():
        volumes = [searched(table, sampler(seed), trainings, images, reference) for seed in SEEDS]
        shares = ", ".join(f"{volume / best:.3f}" if best else "0" for volume in volumes)
        print(f"{name:14} {shares} of it, with seeds 0 to {SEEDS[-1]}")


def table_point(table, network):
    """Accuracy in per cent and log10 of the energy, as the objective answers."""
    reading = table.query(network)
    return 100 * reading.accuracy, math.log10(reading.energy_mj)


def searched(table, sampler, trainings, images, reference):
    """Hypervolume of the front that a sampler finds for so many images."""
    objective = table.objective()
    study = optuna.create_study(directions=objective.directions, sampler=sampler)

    def stop(study, _trial):
        if objective.images >= images or objective.networks == len(table.networks):
            study.stop()

    study.optimize(objective, TRIALS * trainings, callbacks=[stop])
    points = [(100 * trial.values[0], trial.values[1]) for trial in study.best_trials]
    return pareto.hypervolume(points, reference) if points else 0.0


if __name__ == "__main__":
    main()
