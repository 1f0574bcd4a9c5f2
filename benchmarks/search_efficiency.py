"""Does the default search win at every budget? Searches replayed on tables of trained networks, as the product pays.

    python benchmarks/search_efficiency.py TABLE... --npz FILE

The searcher runs as `search --budget` does, against random search, a size ladder, a screen, Optuna's samplers and
MO-ASHA. Every training is paid whole, each share anew, and none begins that would exceed the budget. What a run trained
is kept in `--cache`, one file a method, seed, budget and version of the code that decides: an interrupted run goes on.
"""

import argparse
import functools
import hashlib
import importlib.metadata
import itertools
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import search_methods
import search_optuna
import search_replays
import search_report
import torch
from header import header, note
from search_methods import BudgetSpentError, Ledger
from search_replays import FETCH, Replay, SpikeNasBench, TableReplay
from search_report import OURS, Results, Run

import nas.searchers
from nas import files
from nas.searching import budget as budgeting
from nas.searching import proposals
from nas.stats import pareto

RESULTS = Path(__file__).parent / "results"
BUDGETS = (3.0, 5.0, 10.0, 20.0, 40.0)
LONG = 100.0  # also on SpikeNAS-Bench
LARGEST_PART = 0.1  # of the networks of a table: a larger budget would train so many that all methods look alike
PLANS_FOR_BUDGET = (OURS, "ladder", "screen")
GP_SEEDS = 10  # a GPSampler takes up to a minute a run
METHODS: dict[str, Callable[[Ledger], None]] = {
    OURS: search_methods.searcher,
    "random": search_methods.random_search,
    "ladder": search_methods.ladder,
    "screen": search_methods.screen,
    **search_optuna.METHODS,
}
_SECONDS = {OURS: 0.5, "tpe": 0.2, "gp": 5.0, "mo-asha": 1.0}  # of a full training's worth, until one was measured


@dataclass(frozen=True)
class Job:
    """A run of a method with a seed and a budget in full trainings."""

    replay: Replay
    method: str
    seed: int
    budget: float

    @functools.cached_property
    def path(self) -> Path:
        """Of its result, below the cache; another version of the code that decides has another."""
        method, _, _ = self.method.partition(":")
        decided = f"{self.method} {self.budget:g} {self.replay.digest} {_code_of(method)}"
        digest = hashlib.sha256(decided.encode()).hexdigest()[:10]
        return Path(self.replay.name) / f"{self.method.replace(':', '-')}-{self.budget:g}-{self.seed}-{digest}.json"

    def do(self, cache: Path) -> None:
        """Run it, and keep what it trained."""
        method, _, rungs = self.method.partition(":")
        ledger = Ledger(self.replay, self.seed, self.budget)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # samplers warn of what is experimental in them
            try:
                if rungs:
                    search_methods.searcher(ledger, _numbers(rungs))
                else:
                    METHODS[method](ledger)
            except BudgetSpentError:
                pass
        raw = json.dumps({"trained": ledger.trained, "suggestions": ledger.suggestions})
        files.write(cache / self.path, lambda partial: partial.write_text(raw))

    def result(self, cache: Path) -> Run:
        raw = json.loads((cache / self.path).read_text())
        return Run(self.seed, [(i, paid) for i, paid in raw["trained"]], [(n, s) for n, s in raw["suggestions"]])


@functools.cache
def _code_of(method: str) -> str:
    """A digest of the code that decides what a method trains, and of Optuna's version where it does."""
    modules = [search_replays, search_methods]
    if method in search_optuna.METHODS:
        modules.append(search_optuna)
    sources = [Path(str(module.__file__)) for module in modules]
    if method == OURS:
        sources += sorted(Path(nas.searchers.__path__[0]).glob("*.py"))
        sources += [Path(str(module.__file__)) for module in (pareto, proposals, budgeting)]
    versions = importlib.metadata.version("optuna") if method in search_optuna.METHODS else ""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest() + versions


class Progress:
    """Says after each run how far all are, and about how long the others take.

    Args:
        jobs: all that have to run.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._left, self._count = list(jobs), len(jobs)
        self._spent: dict[tuple[str, str], tuple[float, float]] = {}
        self._said_at = -1e9
        if jobs:
            note(f"{len(jobs)} runs, about {self._minutes():.1f} min by rough figures")

    def done(self, job: Job, seconds: float) -> None:
        self._left.remove(job)
        key = (job.replay.name, job.method)
        earlier, budgets = self._spent.get(key, (0.0, 0.0))
        self._spent[key] = (earlier + seconds, budgets + job.budget)
        if time.monotonic() - self._said_at > 2 or not self._left:
            self._said_at = time.monotonic()
            where = f"{job.replay.name}, {job.method}, seed {job.seed}"
            done = self._count - len(self._left)
            note(f"{done} of {self._count} runs, about {self._minutes():.1f} min left; last: {where}, {seconds:.1f} s")

    def _minutes(self) -> float:
        return sum(job.budget * self._rate(job) for job in self._left) / 60

    def _rate(self, job: Job) -> float:
        """Seconds of a full training's worth."""
        seconds, budgets = self._spent.get((job.replay.name, job.method), (0.0, 0.0))
        return seconds / budgets if budgets else _SECONDS.get(job.method.partition(":")[0], 0.01)


def affordable_budgets(replay: Replay, budgets: Sequence[float]) -> list[float]:
    """Budgets of at most a tenth of the networks.

    Raises:
        SystemExit: none is.
    """
    most = LARGEST_PART * len(replay.networks)
    chosen = [budget for budget in budgets if budget <= most]
    if not chosen:
        asked = ", ".join(f"{budget:g}" for budget in budgets)
        raise SystemExit(
            f"{replay.name} has {len(replay.networks)} networks, and no budget of {asked} "
            f"full trainings is a tenth of them or less. Give --budgets up to {most:g}, or a larger table"
        )
    return chosen


def possible(replay: Replay, methods: Sequence[str]) -> list[str]:
    """Methods whose shares the table has; says which are left out."""
    chosen = []
    for name in methods:
        method, _, rungs = name.partition(":")
        has_shares = set(_numbers(rungs)) <= set(replay.shares) if rungs else True
        if has_shares and (len(replay.shares) > 1 or method not in ("screen", "mo-asha")):
            chosen.append(name)
        else:
            note(f"{replay.name} has no trainings at the shares of {name}, which is left out")
    return chosen


def jobs_of(replay: Replay, methods: Sequence[str], budgets: Sequence[float], seeds: int) -> list[Job]:
    """Seed by seed, so that an interrupted run has as many seeds of all methods."""
    return [
        Job(replay, method, seed, budget)
        for seed, method in itertools.product(range(seeds), methods)
        if method != "gp" or seed < GP_SEEDS
        for budget in (budgets if _plans(method) else [max(budgets)])
    ]


def _plans(method: str) -> bool:
    return method.partition(":")[0] in PLANS_FOR_BUDGET


def results_of(
    replay: Replay, methods: Sequence[str], budgets: Sequence[float], jobs: Sequence[Job], cache: Path
) -> Results:
    """Scores of runs that are in the cache."""
    runs: dict[tuple[str, float], list[Run]] = {(m, budget): [] for m in methods for budget in budgets}
    for job in jobs:
        run = job.result(cache)
        for budget in [job.budget] if _plans(job.method) else budgets:
            runs[job.method, budget].append(run)
    return Results(replay, budgets, runs)


def _numbers(listed: str) -> tuple[float, ...]:
    return tuple(float(number) for number in listed.split(","))


def _method(name: str) -> str:
    """A method's name, checked."""
    method, colon, rungs = name.partition(":")
    if method not in METHODS or (colon and (method != OURS or _numbers(rungs)[-1] != 1)):
        raise argparse.ArgumentTypeError(
            f'"{name}" is no method. Use {", ".join(METHODS)}, or {OURS}:0.05,0.25,1 for other rungs'
        )
    return name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="*", metavar="TABLE", help="tables of trained networks")
    parser.add_argument("--npz", type=Path, help="SpikeNAS-Bench, which --fetch describes")
    parser.add_argument("--fetch", action="store_true", help="say where SpikeNAS-Bench comes from, and end")
    parser.add_argument("--seeds", type=int, default=50, help=f"seeds of each method; of gp {GP_SEEDS} at most")
    parser.add_argument(
        "--budgets",
        type=_numbers,
        help="in full trainings; those above a tenth of a table's networks are left out. By default 3,5,10,20,40, and "
        "100 on SpikeNAS-Bench",
    )
    parser.add_argument(
        "--methods",
        type=_method,
        nargs="+",
        default=list(METHODS),
        metavar="METHOD",
        help=f"{', '.join(METHODS)}; {OURS}:0.05,0.25,1 is the searcher with these rungs",
    )
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "spikformer-nas" / "search_efficiency")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.fetch:
        print(FETCH)
    elif not arguments.tables and arguments.npz is None:
        parser.error("there is nothing to replay. Give a TABLE or --npz FILE")
    else:
        torch.set_num_threads(1)
        _replay(arguments)


def _replay(arguments: argparse.Namespace) -> None:
    """Run what the cache lacks, and write the report."""
    replays: list[tuple[Replay, Sequence[float]]] = [(TableReplay(path), BUDGETS) for path in arguments.tables]
    if arguments.npz is not None:
        replays.append((SpikeNasBench(arguments.npz), (*BUDGETS, LONG)))
    plans = [
        (replay, possible(replay, arguments.methods), affordable_budgets(replay, arguments.budgets or budgets))
        for replay, budgets in replays
    ]
    jobs = [jobs_of(*plan, arguments.seeds) for plan in plans]
    lacking = [job for own in jobs for job in own if not (arguments.cache / job.path).exists()]
    progress = Progress(lacking)
    for job in lacking:
        started = time.monotonic()
        job.do(arguments.cache)
        progress.done(job, time.monotonic() - started)
    sections = []
    for plan, own in zip(plans, jobs, strict=True):
        replay = plan[0]
        note(f"scoring {replay.name}")
        results = results_of(*plan, own, arguments.cache)
        picture = f"search_efficiency_{replay.name}.png"
        search_report.figure(results, arguments.results / picture)
        sections.append(search_report.text(results, picture))
    report = "\n\n".join([_opening(arguments), *sections]) + "\n"
    files.write(arguments.results / "search_efficiency.md", lambda partial: partial.write_text(report))
    print(report)


def _opening(arguments: argparse.Namespace) -> str:
    read = [path.name for path in arguments.tables] + ["--npz FILE"] * (arguments.npz is not None)
    command = f"python benchmarks/search_efficiency.py {' '.join(read)} --seeds {arguments.seeds}"
    if arguments.budgets:
        command += f" --budgets {','.join(f'{budget:g}' for budget in arguments.budgets)}"
    if arguments.methods != list(METHODS):
        command += f" --methods {' '.join(arguments.methods)}"
    return f"# The default search against its rivals\n\n```\n{header(command)}\n```\n\n{_MEASURE}"


_MEASURE = f"""\
* **Cost.** Budgets are in full trainings. Each training is paid whole, each share anew, and none begins that would
  exceed the budget.
* **Networks.** All methods are limited to the networks of the table. The searcher, random search, the ladder and the
  screen draw from them. A proposal of Optuna's samplers that is not in the table, or was tried before, is not charged,
  and the sampler proposes again; after {search_optuna.TRIES} of these the nearest network that was not tried is taken.
* **Readings.** With one seed of the replay, a network shows the trainings of one of its seeds in the table; seeds take
  turns. The answer of a search is what is non-dominated by validation accuracy and energy among the networks that it
  trained in full. The report accuracy of the same training scores it. On SpikeNAS-Bench this is test accuracy, and its
  energies before the end of training are the final ones with noise, because only these are known.
* **Hypervolume** is that of (report accuracy, log10 of energy), relative to what the choice by validation among all
  networks of the table reaches.
* **Methods.** *Ladder*: as many networks as the budget buys, evenly over log MACs, all in full. *Screen*: random
  networks at the lowest share, and one in {search_methods.SCREENED_FOR_ONE_IN_FULL} of them in full, the best by
  non-dominated layers. *MO-ASHA* promotes one in four at every share of the table. Optuna's samplers train every
  network in full. TPE and GPSampler propose at random until they know ten results, and NSGA-II until it knows fifty,
  so that they are alike at the smallest budgets. GPSampler has {GP_SEEDS} seeds at most.
* **Intervals** are those of 95 % by bootstrap over seeds, of differences between runs with the same seed."""


if __name__ == "__main__":
    main()
