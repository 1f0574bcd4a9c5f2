"""How far is the time that a search announces from the time that its trainings take, and what does it cost to know?

The pace of a space is estimated as a search does it before its first training: a + b * MACs, fitted on a few steps of
three networks. Other networks of the space are trained and measured on a CPU, and their seconds are added up, in
processor time of one thread; the estimate is the line at their mean size. Epochs, training images and validation shares
are small, so that this ends within minutes.
"""

import argparse
import dataclasses
import random
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from header import header, note, table

from nas.datasets import Splits, loaders
from nas.engines import InProcess, Trainer
from nas.searching.speed import drawn, space_pace
from nas.spaces import SearchSpace, load_space
from nas.training import evaluate, images_seen, settled
from spikformer.config import SpikformerConfig


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
    Case("spikformer_small", epochs=1, train_images=64, batch_size=64, validation=0.004, networks=2),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", help="Folder of CIFAR-10; by default it is downloaded.")
    parser.add_argument("--space", help="The cases of this space alone.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    time.monotonic = time.process_time  # estimate and truth: what else the machine does shall not decide
    rows: list[tuple[str, ...]] = [("space", "images", "networks", "estimated / taken", "processor s", "peak GB")]
    for case in CASES:
        if arguments.space in (None, case.space):
            rows.append(_row(case, arguments.data_dir))
            note("  ".join(rows[-1]))
    print(header("python benchmarks/plans.py"))
    print("\nestimated seconds over seconds taken; processor seconds of the estimate; peak memory until it was there\n")
    print(table(rows))


def _row(case: Case, data_dir: str | None) -> tuple[str, ...]:
    space, splits = _prepared(case, data_dir)
    started = time.process_time()
    rng = random.Random(1)
    trained = [space.random(rng) for _ in range(case.networks)]
    engine = InProcess(Trainer(splits, space.recipe, 0, 224), lambda *_: None)
    pace = space_pace(drawn(space, 0, lambda _config: True), trained, 1.0, engine)
    assert pace is not None
    spent_s, peak_gb = time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    seen, taken = images_seen(len(splits.train), space.recipe), _taken(trained, space, splits)
    return (
        case.space,
        f"{seen:,}",
        str(case.networks),
        f"{pace.seconds([len(taken)], [seen]) / sum(taken):.2f}",
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


def _taken(networks: Sequence[SpikformerConfig], space: SearchSpace, splits: Splits) -> list[float]:
    """Seconds of each training with its measuring."""
    records = [evaluate(config, splits, space.recipe)[0] for config in networks]
    return [record.provenance["wall_s"] for record in records]


if __name__ == "__main__":
    main()
