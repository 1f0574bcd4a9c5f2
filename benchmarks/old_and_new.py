"""Did a change make training slower? A step of this checkout beside one of another, both on this machine's CPU.

    git worktree add ../before COMMIT && python benchmarks/old_and_new.py ../before

Processes of the two take turns; each trains two epochs of a proxy the fastest way, and the processor time of the second
counts. Printed is how many times as fast the new one is: the median of the pairs, with its 95 % interval by bootstrap.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from header import header, note, table

RUN = """
import sys
import torch
import proxy_speed
try:
    from nas.settings import Recipe
    from nas.training.execution import options_for
except ImportError:  # a checkout from before nas/ had rooms
    from nas.space import Recipe
    from nas.speed import fastest as options_for
torch.set_num_threads(1)
shape, batch, steps = proxy_speed.SHAPES[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
device = torch.device("cpu")
train = proxy_speed.random_images(batch * steps, device)
run = proxy_speed.ours(shape, options_for(device, Recipe(), 10**12))
print(run(train, Recipe(epochs=2, batch_size=batch)))
"""


def seconds(checkout: Path, shape: str, batch: int, steps: int) -> float:
    """Processor time of the second epoch, in a process of its own."""
    paths = os.pathsep.join(map(str, (checkout, checkout / "benchmarks")))
    done = subprocess.run(
        [sys.executable, "-c", RUN, shape, str(batch), str(steps)],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{checkout} cannot train: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.split()[-1])


def interval(ratios: list[float]) -> tuple[float, float]:
    """Of their median: 95 % of those of 10,000 samples with replacement."""
    samples = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    low, high = np.quantile(np.median(samples, axis=1), (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="Checkout of the code as it was before.")
    parser.add_argument("--shapes", nargs="+", default=["d128 L2 T4", "d64 L2 T2"], help="Networks of proxy_speed.py.")
    parser.add_argument("--batch", type=int, default=32, help="Images a step. Default: 32.")
    parser.add_argument("--steps", type=int, default=12, help="Steps an epoch. Default: 12.")
    parser.add_argument("--rounds", type=int, default=7, help="Pairs of runs. Default: 7.")
    arguments = parser.parse_args()
    here, other = Path(__file__).resolve().parent.parent, arguments.other.resolve()
    print(header(f"python benchmarks/old_and_new.py OTHER --rounds {arguments.rounds}"))
    commit = subprocess.run(["git", "-C", other, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    print(f"other     {commit.stdout.strip()}\n")
    rows = [("network", "old, ms a step", "new, ms a step", "new is so many times as fast", "95 % interval")]
    for shape in arguments.shapes:
        pairs = []
        for i in range(arguments.rounds):
            note(f"{shape}, round {i + 1} of {arguments.rounds}")
            pairs.append([seconds(checkout, shape, arguments.batch, arguments.steps) for checkout in (other, here)])
        ratios = [old / new for old, new in pairs]
        low, high = interval(ratios)
        old_ms, new_ms = (f"{1e3 * statistics.median(s) / arguments.steps:.1f}" for s in zip(*pairs, strict=True))
        rows.append((shape, old_ms, new_ms, f"{statistics.median(ratios):.3f}", f"{low:.3f} to {high:.3f}"))
    print(table(rows))


if __name__ == "__main__":
    main()
