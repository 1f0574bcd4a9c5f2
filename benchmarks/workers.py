"""How many more networks do several processes evaluate than one? Real trainings, one thread each, in turns.

python benchmarks/workers.py --workers 2 --data-dir DIR
"""

import argparse
import dataclasses
import statistics
import tempfile
from pathlib import Path

import torch
from header import header, note, table

from nas.progress import Observer
from nas.searching import opening
from nas.spaces import load_space
from nas.studies.study import Study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="cifar10_cpu")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--networks", type=int, default=12)
    parser.add_argument("--train-images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[int, list[float]] = {1: [], a.workers: []}
    records: list[dict[str, object]] = []
    for i in range(a.rounds):
        for workers, rates in found.items():
            rate, record = _searched(a, workers)
            rates.append(rate)
            records.append(record)
            note(f"round {i}, {workers} workers: {rates[-1]:.0f} networks an hour")
    command = f"python benchmarks/workers.py --space {a.space} --workers {a.workers}"
    print(header(command))
    print(
        f"\n{a.networks} networks at random, {a.train_images} training images, median of {a.rounds} rounds in turns\n"
    )
    rows = [("workers", "networks an hour", "range")]
    rows += [(str(n), f"{statistics.median(r):.0f}", f"{min(r):.0f} to {max(r):.0f}") for n, r in found.items()]
    print(table(rows))
    print(f"\nratio {statistics.median(found[a.workers]) / statistics.median(found[1]):.2f}")
    print(f"records of equal networks equal in all runs: {_agree(records)}")


def _searched(a: argparse.Namespace, workers: int) -> tuple[float, dict[str, object]]:
    """Networks an hour, and what was found of each."""
    loaded = load_space(a.space)
    whole = dataclasses.replace(loaded, recipe=dataclasses.replace(loaded.recipe, rungs=(1.0,)))
    with tempfile.TemporaryDirectory() as folder:
        study = opening.search(
            whole,
            a.networks,
            sampler="RandomSampler",
            references=False,
            data_dir=a.data_dir,
            train_images=a.train_images,
            workers=workers,
            results_dir=folder,
            observer=Observer(),
        )
        found = {c.config_id: (c.search_val_accuracy, c.operations) for c in study.candidates.values()}
        return _an_hour(study), dict(found)


def _an_hour(study: Study) -> float:
    """From the first that began to the last that ended, with what it takes processes to come to life."""
    every = study.optuna.get_trials(deepcopy=False)
    began = min(trial.datetime_start for trial in every if trial.datetime_start is not None)
    ended = max(trial.datetime_complete for trial in every if trial.datetime_complete is not None)
    return 3600 * len(study.candidates) / (ended - began).total_seconds()


def _agree(records: list[dict[str, object]]) -> bool:
    first: dict[str, object] = {}
    return all(first.setdefault(key, value) == value for found in records for key, value in found.items())


if __name__ == "__main__":
    main()
