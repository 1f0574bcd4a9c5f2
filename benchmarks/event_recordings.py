"""Does full training on real recordings of an event camera learn? The whole road, on a few recordings.

    python benchmarks/event_recordings.py FOLDER

FOLDER holds train/<class>/ and test/<class>/ with recordings of a 34 x 34 sensor, such as some of N-MNIST. A short
search picks a network, which is exported and trained in full with three seeds; each is tested once. The intervals are
Wilson's for one seed, and for all seeds together with the recordings as the only chance: seeds see the same ones.
"""

import argparse
from pathlib import Path

import numpy as np
from header import header, table

import nas
from nas.stats import wilson

SPACE = """
[base]
time_steps = 4
residual = "ms"
neuron.threshold = 0.5
neuron.surrogate = "atan"
stem.image_size = 16
stem.in_channels = 2
stem.pool = [false, false, true, true]
head.num_classes = 10
stages = [{ embed_dim = 32, depth = 1, mixer = { num_heads = 2, threshold = 0.25, scale = 0.5 }, mlp = { ratio = 2 } }]

[axes]
embed_dim = [32, 64]
mlp_ratio = [1, 2]
attention = ["ssa", "sdsa"]
time_steps = [4, 8]

[data]
dataset = "event_folder"
sensor = [34, 34]
search_val = 0.2
report_val = 0.2

[proxy]
epochs = 30
batch_size = 16
learning_rate = 4e-3
rungs = [1]
"""
SEEDS = (0, 1, 2)
SETTINGS = ("batch_size=16", "epochs=100", "evaluate_every_epochs=1000")


def row(name: str, share: float, recordings: int) -> tuple[str, ...]:
    low, high = (100 * float(end) for end in wilson(np.array(share), np.array(recordings)))
    return name, f"{100 * share:.1f} %", f"{low:.1f} to {high:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description="Full training on real recordings of an event camera.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    arguments.results_dir.mkdir(parents=True, exist_ok=True)
    space = arguments.results_dir / "event_recordings.toml"
    space.write_text(SPACE)
    study = nas.search(
        space, trials=arguments.trials, data_dir=arguments.folder, results_dir=arguments.results_dir, device="cpu"
    )
    bundle = nas.export(study, "accuracy")[0]
    shares, recordings = [], 0
    for seed in SEEDS:
        out = arguments.results_dir / f"trained-{seed}"
        trained = nas.train(bundle, arguments.folder, out, settings=(*SETTINGS, f"seed={seed}"), device="cpu")
        assert trained is not None
        shares.append(trained.scores.top1)
        recordings = trained.scores.images
    rows = [row(f"seed {seed}", share, recordings) for seed, share in zip(SEEDS, shares, strict=True)]
    rows.append(row("mean", sum(shares) / len(shares), recordings))
    print(header("python benchmarks/event_recordings.py FOLDER"))
    print(f"\n{bundle.name}, tested once on {recordings} recordings\n")
    print(table([("", "test accuracy", "95 % interval"), *rows]))


if __name__ == "__main__":
    main()
