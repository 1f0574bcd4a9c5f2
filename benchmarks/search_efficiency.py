"""How many epochs does a searcher need? The default searcher against random, Optuna's samplers, MO-ASHA and a screen.

The searcher is the code that real studies run; a table of trained networks (`--fetch` says where it comes from) or a
synthetic conditional space stands in for training. Raw results, one file a method and seed, are kept in `--cache`
and never computed twice.
"""

import argparse
import json
import math
import random
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from header import header, note
from search_methods import METHODS, RUNGS, Ledger, Problem, version
from search_synthetic import Conditional
from search_table import BUDGETS_UJ, FETCH, Noise, Table

from nas import files
from nas.searchers.observations import Record
from nas.searchers.searcher import Searcher
from nas.searching.proposals import settings

matplotlib.use("Agg")
from matplotlib import pyplot as plt

RESULTS = Path(__file__).parent / "results"
GRID = (500, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 7500, 10000, 15000, 20000)
BUDGET = {"searcher": 5000.0, "random": 20000.0, "nsga2": 20000.0, "tpe": 10000.0, "gp": 6000.0, "mo-asha": 6000.0}
BUDGET |= {"tpe+mo-asha": 4000.0, "screen": 4000.0}
SCREENS = (1000.0, 1500.0, 2000.0, 2500.0, 3000.0, 4000.0)  # it must know its budget: a run for each
IN_FULL = ("random", "nsga2", "tpe", "gp")  # they read nothing at the low rungs
SLOW = ("gp", "mo-asha")  # up to a minute a run
TITLES = {
    "searcher": "default searcher",
    "random": "random",
    "nsga2": "Optuna NSGA-II",
    "tpe": "Optuna TPE, multivariate",
    "gp": "Optuna GPSampler",
    "mo-asha": "MO-ASHA, random proposals",
    "tpe+mo-asha": "MO-ASHA, TPE's proposals",
    "screen": "screen at 5 epochs",
}
TARGETS = {"hv0": (0.857, 0.881, 0.907), "hv1": (0.72, 0.77, 0.82)}
Events = list[dict[str, float]]


@dataclass(frozen=True)
class Run:
    """Raw results of one method and seed."""

    events: Events
    asks: list[tuple[int, float]]

    def at(self, epochs: float, key: str) -> float:
        """The last score within a number of epochs; before the first full training NaN for a regret, 0 for others."""
        within = [event[key] for event in self.events if event["epochs"] <= epochs]
        return within[-1] if within else (math.nan if key.startswith("regret") else 0.0)


def run(problem: Problem, method: str, seed: int, budget: float, cache: Path, key: str) -> Run:
    """From the cache, or computed and put there whole."""
    chosen = (settings(RUNGS, None) if method == "searcher" else "", budget, key)
    path = cache / problem.name / f"{method}-{seed}-{version(method, chosen)}.json"
    if not path.exists():
        ledger = Ledger(problem, seed, budget)
        started = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            METHODS[method](ledger)
        raw = {"events": ledger.events, "asks": ledger.asks}
        files.write(path, lambda partial: partial.write_text(json.dumps(raw)))
        note(f"{problem.name} {method} seed {seed} to {budget:.0f} epochs: {time.monotonic() - started:.0f} s")
    raw = json.loads(path.read_text())
    return Run(raw["events"], [tuple(ask) for ask in raw["asks"]])


def runs(problem: Problem, method: str, seeds: Sequence[int], cache: Path, key: str) -> list[Run]:
    if method == "screen":
        return [_screens([run(problem, method, seed, b, cache, key) for b in SCREENS]) for seed in seeds]
    return [run(problem, method, seed, BUDGET[method], cache, key) for seed in seeds]


def _screens(by_budget: list[Run]) -> Run:
    """One curve of the last scores of runs that knew their budgets."""
    return Run([r.events[-1] | {"epochs": b} for b, r in zip(SCREENS, by_budget, strict=True) if r.events], [])


def curve(found: Sequence[Run], key: str, epochs: float) -> np.ndarray:
    return np.array([r.at(epochs, key) for r in found])


def epochs_to(found: Sequence[Run], key: str, target: float, budget: float) -> float | None:
    """The first multiple of 25 epochs at which the mean over runs reaches the target."""
    for epochs in np.arange(25, budget + 1, 25):
        if curve(found, key, float(epochs)).mean() >= target:
            return float(epochs)
    return None


def interval(values: np.ndarray, statistic: Callable[[np.ndarray], Any] = np.mean) -> tuple[float, float]:
    """95 %, by 2,000 bootstrap samples of the runs."""
    rng = np.random.default_rng(0)
    drawn = [statistic(values[rng.integers(len(values), size=len(values))]) for _ in range(2000)]
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def ladder(found: dict[str, list[Run]], key: str) -> str:
    """Epochs until the mean reaches each target, with an interval over seeds for the middle one."""
    targets = TARGETS[key]
    rows = [["method", "seeds", *(f"mean {t}" for t in targets), f"95 % interval for {targets[1]}"]]
    for method, all_runs in found.items():
        budget = BUDGET[method]
        reached = [epochs_to(all_runs, key, target, budget) for target in targets]
        cells = [f"{r:,.0f}" if r else f"> {budget:,.0f}" for r in reached]
        rows.append([TITLES[method], str(len(all_runs)), *cells, _ladder_interval(all_runs, key, targets[1], budget)])
    return markdown(rows)


def _ladder_interval(all_runs: list[Run], key: str, target: float, budget: float) -> str:
    grid = np.arange(25, budget + 1, 25)
    curves_RE = np.array([[r.at(float(e), key) for e in grid] for r in all_runs])
    rng = np.random.default_rng(0)
    first = []
    for _ in range(1000):
        mean_E = curves_RE[rng.integers(len(curves_RE), size=len(curves_RE))].mean(0)
        first.append(float(grid[np.argmax(mean_E >= target)]) if (mean_E >= target).any() else math.inf)
    low, high = np.quantile(first, [0.025, 0.975], method="nearest")
    return " to ".join(f"{v:,.0f}" if math.isfinite(v) else f"> {budget:,.0f}" for v in (low, high))


def levels(found: dict[str, list[Run]], key: str) -> str:
    """Mean (10th to 90th percentile) of the relative hypervolume at budgets."""
    rows = [["method", *(f"{epochs:,}" for epochs in GRID)]]
    for method, all_runs in found.items():
        cells = []
        for epochs in GRID:
            values = curve(all_runs, key, epochs)
            low, high = np.quantile(values, [0.1, 0.9])
            cells.append(f"{values.mean():.3f} ({low:.2f} to {high:.2f})" if epochs <= BUDGET[method] else "")
        rows.append([TITLES[method], *cells])
    return markdown(rows)


def regrets(found: dict[str, list[Run]], epochs: int) -> str:
    rows = [["method", *(f"{uj} uJ" for uj in BUDGETS_UJ)]]
    for method, all_runs in found.items():
        values = [curve(all_runs, f"regret{uj}", epochs) for uj in BUDGETS_UJ]
        rows.append([TITLES[method], *(f"{np.nanmean(v):.2f}" for v in values)])
    return markdown(rows)


def paired(found: dict[str, list[Run]], key: str, epochs: int) -> str:
    """The searcher less the others, seed by seed."""
    rows = [["rival", "seeds", "difference of the mean", "95 % interval", "seeds won"]]
    for method, all_runs in found.items():
        if method == "searcher":
            continue
        n = min(len(all_runs), len(found["searcher"]))
        apart = curve(found["searcher"][:n], key, epochs) - curve(all_runs[:n], key, epochs)
        low, high = interval(apart)
        rows.append(
            [TITLES[method], str(n), f"{apart.mean():+.3f}", f"{low:+.3f} to {high:+.3f}", f"{(apart > 0).sum()}"]
        )
    return markdown(rows)


def speed(found: dict[str, list[Run]]) -> str:
    rows = [["method", "suggestions", "median, s", "95th percentile, s", "networks known, at most"]]
    for method, all_runs in found.items():
        asks = [ask for r in all_runs for ask in r.asks]
        if asks:
            seconds = np.array([s for _, s in asks])
            q50, q95 = np.quantile(seconds, [0.5, 0.95])
            rows.append([TITLES[method], f"{len(asks):,}", f"{q50:.3f}", f"{q95:.3f}", str(max(n for n, _ in asks))])
    return markdown(rows)


def check(table: Table) -> str:
    """The measure itself: what 200 random networks reach, and what choosing by validation among all reaches.

    Raises:
        SystemExit: they are not what this measure gives on the table.
    """
    rng = np.random.default_rng(0)
    everyone = np.array(table.everyone)
    values = np.array(
        [table.score([str(i) for i in rng.choice(everyone, 200, replace=False)])["hv0"] for _ in range(500)]
    )
    ceiling = table.score([str(i) for i in everyone])["hv0"]
    text = (
        f"200 random networks reach {values.mean():.3f} (sd {values.std():.3f}, 10th percentile "
        f"{np.quantile(values, 0.1):.3f}; 500 draws); choosing by validation accuracy among all reaches {ceiling:.3f}"
    )
    if abs(values.mean() - 0.879) > 0.003 or abs(ceiling - 0.989) > 0.002:
        raise SystemExit(f"the table is not the one that this benchmark was made for: {text}")
    return text


def figure(found: dict[str, list[Run]], problem: str, keys: Sequence[str], path: Path) -> None:
    fig, panels = plt.subplots(1, len(keys), figsize=(6.2 * len(keys), 4.4), squeeze=False)
    for panel, key in zip(panels[0], keys, strict=True):
        for i, (method, all_runs) in enumerate(found.items()):
            grid = np.geomspace(300, BUDGET[method], 60)
            values = np.array([curve(all_runs, key, float(epochs)) for epochs in grid])
            panel.plot(grid, values.mean(1), label=TITLES[method], color=f"C{i}", linewidth=2.2 if i == 0 else 1.2)
            if method in ("searcher", "random"):
                low, high = np.quantile(values, [0.1, 0.9], axis=1)
                panel.fill_between(grid, low, high, color=f"C{i}", alpha=0.15, linewidth=0)
        panel.set_xscale("log")
        panel.set_xlabel("epochs of training, every rung paid anew")
        panel.set_ylabel("relative hypervolume")
        panel.set_title(f"{problem}, reference {keys.index(key) + 1}" if len(keys) > 1 else problem)
        panel.set_ylim(0.5 if key == "hv0" else 0.3, 1)
        panel.grid(alpha=0.3)
    panels[0][0].legend(fontsize=8)
    fig.tight_layout()
    files.write(path, lambda partial: fig.savefig(partial, dpi=130))
    plt.close(fig)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--table", type=Path, help="the .npz that --fetch describes; without it, the synthetic space only"
    )
    parser.add_argument("--fetch", action="store_true", help="say where the table comes from, and end")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first-seed", type=int, default=0, help="settings were chosen on seeds from 1000")
    parser.add_argument("--slow-seeds", type=int, default=10, help=f"of {' and '.join(SLOW)}, at most")
    parser.add_argument("--synthetic-seeds", type=int, default=20)
    parser.add_argument("--sensitivity-seeds", type=int, default=20, help="of what the searcher's result depends on")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--energy-noise",
        type=float,
        nargs=2,
        default=[0.09, 0.04],
        help="sd of ln(energy) at the low rungs; as early_signals.py measured it",
    )
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "spikformer-nas" / "search_efficiency")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.fetch:
        print(FETCH)
        return
    torch.set_num_threads(1)
    report = Report(arguments)
    text = report.text()
    files.write(arguments.results / "search_efficiency.md", lambda partial: partial.write_text(text))
    print(text)


class Report:
    """What the runs show, as Markdown."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.noise = dict(zip((0.05, 0.25), arguments.energy_noise, strict=True))

    def text(self) -> str:
        a = self.arguments
        seeds = f"--seeds {a.seeds} --synthetic-seeds {a.synthetic_seeds} --sensitivity-seeds {a.sensitivity_seeds}"
        command = f"python benchmarks/search_efficiency.py --table FILE {seeds}"
        parts = ["# Epochs that a searcher needs", f"```\n{header(command)}\n```"]
        if self.arguments.table:
            parts += self._on_table()
        parts += self._on_synthetic()
        return "\n\n".join(parts) + "\n"

    def _seeds(self, method: str) -> list[int]:
        n = min(self.arguments.seeds, self.arguments.slow_seeds) if method in SLOW else self.arguments.seeds
        return list(range(self.arguments.first_seed, self.arguments.first_seed + n))

    def _on_table(self) -> Iterator[str]:
        a = self.arguments
        table = Table(a.table, Noise(self.noise))
        checked = check(table)
        keys = {m: "" if m in IN_FULL else str(self.noise) for m in a.methods}
        found = {m: runs(table, m, self._seeds(m), a.cache, keys[m]) for m in a.methods}
        figure(found, table.name, ["hv0", "hv1"], a.results / "search_efficiency.png")
        missing = [TITLES[m] for m in METHODS if m not in a.methods] + ["PriMO", "NePS"]
        yield _MEASURE.format(
            checked=checked,
            low=self.noise[0.05],
            middle=self.noise[0.25],
            missing=", ".join(missing),
            left_out="; the last table leaves them out of space and oracle" if a.sensitivity_seeds else "",
        )
        yield "![relative hypervolume against epochs](search_efficiency.png)"
        for key, what in (("hv0", "error 20 %"), ("hv1", "error 14 %")):
            yield f"## Epochs to a target: reference {what}, 1,100 uJ\n\n{ladder(found, key)}"
            title = f"Relative hypervolume at budgets: reference {what}; mean (10th to 90th percentile)"
            yield f"## {title}\n\n{levels(found, key)}"
        if "searcher" in found:
            for epochs in (2000, 3000, 5000):
                title = f"The searcher less each rival at {epochs:,} epochs, seed by seed"
                yield f"## {title}\n\n{paired(found, 'hv0', epochs)}"
        yield f"## Accuracy below the oracle's at fixed energies, points, at 3,000 epochs\n\n{regrets(found, 3000)}"
        yield f"## Time of a suggestion\n\n{speed(found)}\n\n{_at_sizes(table)}"
        if a.sensitivity_seeds and "searcher" in found:
            yield self._sensitivity()

    def _sensitivity(self) -> str:
        """The searcher under other noise of the low rungs' energy, and without the networks trained twice as long."""
        a, seeds = self.arguments, self._seeds("searcher")[: self.arguments.sensitivity_seeds]
        rows = [["what differs", "seeds", "mean at 2,000", "10th percentile", "mean at 3,000", "10th percentile"]]
        variants: list[tuple[str, dict[float, float], bool]] = [
            (f"nothing (noise {self.noise[0.05]}, {self.noise[0.25]})", self.noise, True),
            ("energy exact at every rung", {}, True),
            ("noise 0.3, 0.1", {0.05: 0.3, 0.25: 0.1}, True),
            ("without the 690 networks of 200 epochs", self.noise, False),
        ]
        for label, noise, long in variants:
            table = Table(a.table, Noise(noise), long)
            key = str(noise) if long else f"{noise} without long"
            found = runs(table, "searcher", seeds, a.cache, key)
            cells = [f"{s:.3f}" for e in (2000, 3000) for s in _mean_p10(curve(found, "hv0", e))]
            rows.append([label, str(len(seeds)), *cells])
        return f"## What the searcher's result depends on\n\n{markdown(rows)}"

    def _on_synthetic(self) -> Iterator[str]:
        problem, a = Conditional(), self.arguments
        seeds = range(a.first_seed, a.first_seed + min(a.seeds, a.synthetic_seeds))
        methods = [m for m in a.methods if m not in ("gp", "screen")]
        found = {m: runs(problem, m, seeds, a.cache, "") for m in methods}
        if not seeds or not found:
            return
        figure(found, problem.name, ["hv0"], a.results / "search_efficiency_synthetic.png")
        yield f"## A synthetic conditional space: relative hypervolume; mean (10th to 90th percentile)\n\n{_SYNTHETIC}"
        yield f"{levels(found, 'hv0')}\n\n![synthetic](search_efficiency_synthetic.png)"
        if "searcher" in found:
            yield f"The searcher less each rival at 3,000 epochs:\n\n{paired(found, 'hv0', 3000)}"


def _mean_p10(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(np.quantile(values, 0.1))


def _at_sizes(table: Table) -> str:
    """Seconds of one suggestion with all of its estimation, on a made-up history."""
    rows = [["networks started", "first suggestion, s", "the next, s"]]
    for n in (50, 200, 2000):
        records = _made_up(table, n)
        searcher = Searcher(table, 0)
        seconds = []
        for history in (records, records[:-1]):
            started = time.process_time()
            searcher.next_step(history)
            seconds.append(time.process_time() - started)
        rows.append([f"{n:,}", *(f"{s:.2f}" for s in seconds)])
    return f"A searcher that has just been opened on a history, and then asked again:\n\n{markdown(rows)}"


def _made_up(table: Table, n: int) -> list[Record]:
    """`n` random networks, of which every fifth reached the last rung."""
    rng = random.Random(0)
    networks = list(
        {
            network.identity: network for network in map(table.at, (table.draw(rng) for _ in range(2 * n))) if network
        }.values()
    )[:n]
    records = []
    for i, network in enumerate(networks):
        reached = 1 if i % 5 == 0 else 0
        readings = {rung: table.read(network, RUNGS[rung], 0) for rung in range(reached + 1)}
        records.append(Record(network, readings, reached))
    return records


_MEASURE = """\
Table: the 15,625 networks of SpikeNAS-Bench on CIFAR-10, one training of 100 epochs each. Objectives: error and log10
of energy in uJ. A searcher sees validation accuracy, its answer is what is non-dominated by validation accuracy and
energy among the networks that it trained for 100 epochs, and test accuracy scores it: relative hypervolume is the
answer's over that of the true test front. Check: {checked}.

* **Epochs** are paid as the product trains: every rung is a training of its own, from the start. The searcher's rungs
  are 5 and 100 epochs, MO-ASHA's 5, 25 and 100. What a rung shows is the table's one schedule at that epoch, so
  readings are pessimistic about what short schedules of their own would show.
* **Energy** is in the table for the end of training only. At the low rungs it is read with log-normal noise, sd of
  ln(energy) {low} at 5 epochs and {middle} at 25, drawn once per network, rung and seed; at 100 epochs it is exact.
* **690 networks** were trained for 200 epochs by the table's authors, with every second epoch kept; 8 of the 30 on the
  oracle front are of these. They take part here as they are{left_out}.
* **Seeds**: the searcher's settings were chosen on seeds from 1000 on. One of them, 40 random networks first instead of
  20, was chosen there after a first report on these seeds, which had 0.845 at 2,000 epochs (10th percentile 0.80) and
  0.877 at 3,000 (0.83), all with a noise of 0.3 and 0.1 in place of the one above. Two more, that the random ones are
  spread and that every other network read twice is trained in full, were chosen there after a second report, which had
  0.854 (0.81) and 0.885 (0.84).
* The searcher does not know how many networks it will have, and starts with 40 random ones; `search_budgets.py` runs
  it as `search --budget` and `search --trials` do.
* A rival that proposes a network again is not charged for it. Some ran fewer seeds, as the tables say. Not run:
  {missing}."""
_SYNTHETIC = """\
27 axes, 11 to 18 of them active; true values known, readings noisy and biased at low rungs.
Relative to what the best of 60,000 random networks dominate, so 1 can be passed. The same settings as on the table."""


if __name__ == "__main__":
    main()
