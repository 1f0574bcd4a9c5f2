"""Does full training on real recordings of an event camera learn? The whole road, on a few recordings.

    python benchmarks/event_recordings.py FOLDER

FOLDER holds train/<class>/ and test/<class>/ with recordings of a 34 x 34 sensor, such as some of N-MNIST. A short
search picks a network, which is exported and trained in full with three seeds; each is tested once. The intervals are
Wilson's for one seed, and for all seeds together with the recordings as the only chance: seeds see the same ones.
"""

import argparse
import math
from pathlib import Path

import nas

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


def wilson(share: float, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share of so many independent trials (Wilson, 1927)."""
    z2 = 1.959964**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * (share * (1 - share) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    return middle - half, middle + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
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
    accuracies = []
    for seed in SEEDS:
        out = arguments.results_dir / f"trained-{seed}"
        trained = nas.train(bundle, arguments.folder, out, settings=(*SETTINGS, f"seed={seed}"), device="cpu")
        assert trained is not None
        low, high = wilson(trained.scores.top1, trained.scores.images)
        accuracies.append(trained.scores.top1)
        print(
            f"seed {seed}: {100 * trained.scores.top1:.1f} % of {trained.scores.images} test recordings, 95 % interval "
            f"{100 * low:.1f} to {100 * high:.1f} %"
        )
    mean = sum(accuracies) / len(accuracies)
    low, high = wilson(mean, trained.scores.images)
    print(f"mean of {len(SEEDS)} seeds: {100 * mean:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f} %")


if __name__ == "__main__":
    main()
