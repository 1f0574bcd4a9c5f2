"""Train the networks of a table that replays read: random networks of the demo's space, at several rungs and seeds.

Each training is one of the product's own (`nas.training.evaluate`), with a whole schedule of its own. The split of the
data is the same for all; a seed is of weights, order of images and augmentation. A line is written after each training
and what is there is not trained again, so the command may be interrupted and goes on where it stopped.
"""

import argparse
import csv
import math
import random
import time
from pathlib import Path

import torch
from header import note

from nas.datasets import loaders as data
from nas.datasets.loaders import Splits
from nas.searchers.networks import ConfigSpace, Network
from nas.spaces import load_space
from nas.spaces.space import SearchSpace
from nas.training.candidate import Candidate
from nas.training.evaluation import evaluate

SPACE = "spikformer_tiny"
TABLE = Path(__file__).parent / "results" / "digits_table.csv"
SHARES = (0.05, 0.25, 1.0)
SEEDS = (0, 1)
COLUMNS = ("config_id", "seed", "share", "images", "status", "accuracy", "report_accuracy", "log10_energy_mj")


def networks(source: SearchSpace, count: int) -> list[Network]:
    """Different networks at random, each axis uniform among its choices, as the searcher draws them."""
    rng, configs = random.Random(0), ConfigSpace(source)
    drawn: dict[str, Network] = {}
    while len(drawn) < count:
        network = configs.at(configs.draw(rng))
        if network is not None:
            drawn.setdefault(network.identity, network)
    return list(drawn.values())


def rows(path: Path = TABLE) -> list[dict[str, str]]:
    """The trainings in the table, in the order in which they ended."""
    if not path.exists():
        return []
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def key(row: dict[str, str]) -> tuple[str, int, float]:
    """Of a training: network, seed, share."""
    return row["config_id"], int(row["seed"]), float(row["share"])


def line(network: Network, found: Candidate, share: float) -> dict[str, str]:
    """A training as the table has it: without energy if it gave no reading."""
    ranked = found.is_ranked and bool(found.energy_mj)
    values = {
        "config_id": network.identity,
        "seed": str(found.seed),
        "share": f"{share:g}",
        "images": str(found.images_seen),
        "status": found.status,
        "accuracy": f"{found.search_val_accuracy:.6f}" if found.search_val_accuracy is not None else "",
        "report_accuracy": f"{found.report_val_accuracy:.6f}" if found.report_val_accuracy is not None else "",
        "log10_energy_mj": f"{math.log10(found.energy_mj):.6f}" if ranked and found.energy_mj else "",
    }
    return values | {name: str(choice) for name, choice in network.params.items()}


def fill(path: Path, count: int, splits: Splits, source: SearchSpace) -> None:
    """Train what the table lacks."""
    done = {key(row) for row in rows(path)}
    chosen = networks(source, count)
    lacking = [(n, seed, share) for n in chosen for seed in SEEDS for share in SHARES]
    lacking = [job for job in lacking if (job[0].identity, job[1], job[2]) not in done]
    weight, spent, started = sum(share for _, _, share in lacking), 0.0, time.monotonic()
    is_new = not path.exists()
    with path.open("a", newline="") as lines:
        writer = csv.DictWriter(lines, [*COLUMNS, *ConfigSpace(source).axes], lineterminator="\n")
        if is_new:
            writer.writeheader()
        for i, (network, seed, share) in enumerate(lacking, 1):
            found, _ = evaluate(source.config(dict(network.params)), splits, source.recipe, seed, share=share)
            writer.writerow(line(network, found, share))
            lines.flush()
            spent += share
            left_min = (time.monotonic() - started) / spent * (weight - spent) / 60
            done_so_far = f"{i} of {len(lacking)} trainings, {network.identity} at {share:g}"
            note(f"{done_so_far}: {found.status}; {left_min:.1f} min left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=60)
    parser.add_argument("--table", type=Path, default=TABLE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = load_space(SPACE)
    fill(arguments.table, arguments.networks, data.load(source), source)


if __name__ == "__main__":
    main()
