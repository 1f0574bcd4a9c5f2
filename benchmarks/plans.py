"""How far is the time that a search announces from the time that its trainings take, and what does it cost to know?

The pace of a space is estimated as a search does it before its first training: a + b * MACs, fitted on a few steps of
three networks. Then other networks of the space are drawn, trained and measured on a CPU, and their seconds are added
up, in processor time of one thread. Epochs, training images and validation shares are small, so that this ends within
minutes.
"""

import argparse
import dataclasses
import random
import resource
import statistics
import time
from dataclasses import dataclass

import torch
from header import header, note, table

from nas.datasets import Splits, loaders
from nas.engines import InProcess, Trainer
from nas.searching.speed import drawn, space_pace
from nas.spaces import SearchSpace, load_space
from nas.training import Pace, evaluate, images_seen, settled


@dataclass(frozen=True)
class Case:
    """Trainings that are held against their plan.

    Attributes:
        validation: share of the images in each of the two validation parts; 0 leaves the space's.
        networks: how many are trained.
    """

    space: str
    epochs: int
    train_images: int
    batch_size: int
    validation: float
    networks: int


CASES = (
    Case("spikformer_tiny", epochs=1, train_images=64, batch_size=32, validation=0.0, networks=8),
    Case("spikformer_tiny", epochs=2, train_images=0, batch_size=32, validation=0.0, networks=6),
    Case("cifar10_cpu", epochs=1, train_images=1000, batch_size=50, validation=0.01, networks=5),
    Case("spikformer_small", epochs=1, train_images=128, batch_size=64, validation=0.004, networks=4),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", help="Folder of CIFAR-10; by default it is downloaded.")
    parser.add_argument("--space", help="The cases of this space alone.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    time.monotonic = time.process_time  # estimate and truth: what else the machine does shall not decide
    rows: list[tuple[str, ...]] = [
        ("space", "images", "networks", "estimated / taken", "of one, least to most", "processor s", "peak GB")
    ]
    for case in CASES:
        if arguments.space in (None, case.space):
            rows.append(_row(case, arguments.data_dir))
            note("  ".join(rows[-1]))
    print(header("python benchmarks/plans.py"))
    print("\nestimated seconds over seconds taken, of all networks together, and of each; processor seconds of the")
    print("estimate; peak memory of the process until then\n")
    print(table(rows))


def _row(case: Case, data_dir: str | None) -> tuple[str, ...]:
    space, splits = _prepared(case, data_dir)
    started = time.process_time()
    engine = InProcess(Trainer(splits, space.recipe, 0, 224), lambda *_: None)
    pace = space_pace(drawn(space, 0, lambda _config: True), [], 0.0, engine)
    assert pace is not None
    spent_s, peak_gb = time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    seen, taken = images_seen(len(splits.train), space.recipe), _taken(case, space, splits)
    one_s = _of_one(pace, seen)
    ratios = sorted(one_s / each for each in taken)
    return (
        case.space,
        f"{seen:,}",
        str(case.networks),
        f"{one_s / statistics.mean(taken):.2f}",
        f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
        f"{spent_s:.1f}",
        f"{peak_gb:.1f}",
    )


def _prepared(case: Case, data_dir: str | None) -> tuple[SearchSpace, Splits]:
    space = load_space(case.space)
    recipe = dataclasses.replace(
        space.recipe, epochs=case.epochs, train_images=case.train_images, batch_size=case.batch_size, rungs=(1.0,)
    )
    shares = {"search_val": case.validation, "report_val": case.validation} if case.validation else {}
    space = dataclasses.replace(space, recipe=recipe, data=dataclasses.replace(space.data, **shares))
    splits = loaders.load(space, data_dir)
    return dataclasses.replace(space, recipe=settled(recipe, splits.train)), splits


def _taken(case: Case, space: SearchSpace, splits: Splits) -> list[float]:
    """Seconds of each training with its measuring; other networks than those that are probed."""
    rng = random.Random(1)
    records = [evaluate(space.random(rng), splits, space.recipe)[0] for _ in range(case.networks)]
    return [record.provenance["wall_s"] for record in records]


def _of_one(pace: Pace, images: int) -> float:
    return pace.seconds([1], [images])


if __name__ == "__main__":
    main()
