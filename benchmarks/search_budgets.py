"""Is the default search better than random search, at equal images? On tables of trained networks, as the product pays.

The searcher runs as `search --budget` does: it plans for the networks that the budget buys, every rung is a training of
its own, and none begins that would exceed the budget. Random search trains every network in full. Both have the same
seeds. Budgets are in full trainings; scores are hypervolumes over that of the whole table.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from digits_table import TABLE
from header import header, note
from search_digits import Digits
from search_efficiency import Run, curve, interval, markdown
from search_methods import FULL, LADDER, RUNGS, Ledger, Problem, planned, uniform, version
from search_table import Noise, Table

from nas import files
from nas.searchers.acquisition import Settings
from nas.searching.proposals import settings

RESULTS = Path(__file__).parent / "results"
TRIALS = 200
RANDOM = "random, all in full"


@dataclass(frozen=True)
class Way:
    """To search: `chosen` are the settings, None for random search, and `networks` replace the budget."""

    name: str
    chosen: Settings | None
    networks: int | None = None

    def __call__(self, ledger: Ledger) -> None:
        if self.chosen is None:
            uniform(ledger)
        else:
            planned(ledger, self.chosen, self.networks)


def words(chosen: Settings) -> str:
    """The rungs and how many networks are promoted, for people."""
    reductions = " and ".join(f"1 of {n:g}" for n in chosen.reduction_factor)
    return f"{', '.join(f'{share:.0%}' for share in chosen.shares)}; {reductions} promoted"


def runs(problem: Problem, way: Way, fulls: float, seeds: Sequence[int], cache: Path) -> list[Run]:
    """One for each seed, from the cache or computed and put there."""
    return [_run(problem, way, fulls, seed, cache) for seed in seeds]


def _run(problem: Problem, way: Way, fulls: float, seed: int, cache: Path) -> Run:
    method = "random" if way.chosen is None else "planned"
    digest = version(method, (way, fulls, key_of(problem)))
    path = cache / problem.name / f"{method}-{seed}-{digest}.json"
    if not path.exists():
        ledger = Ledger(problem, seed, FULL * fulls)
        way(ledger)
        files.write(path, lambda partial: partial.write_text(json.dumps(ledger.events)))
        note(f"{problem.name}, {way.name}, {fulls:g} full trainings, seed {seed}")
    return Run(json.loads(path.read_text()), [])


def key_of(problem: Problem) -> str:
    """Tells tables of one name apart: what was run on another is not taken for this."""
    return str(len(problem.networks)) if isinstance(problem, Digits) else ""


def compared(
    problem: Problem,
    ways: Sequence[Way],
    budgets: Sequence[float],
    keys: Sequence[str],
    seeds: Sequence[int],
    cache: Path,
) -> str:
    """A row for each budget and way: mean score, and how far it is above random search, seed by seed."""
    rows = [["full trainings", "search", *(f"{key}: mean, less random (95 %), seeds won" for key in keys)]]
    for fulls in budgets:
        base = runs(problem, Way(RANDOM, None), fulls, seeds, cache)
        for way in ways:
            own = runs(problem, way, fulls, seeds, cache)
            rows.append(
                [
                    f"{fulls:g}",
                    way.name,
                    *(_apart(curve(own, key, FULL * fulls), curve(base, key, FULL * fulls)) for key in keys),
                ]
            )
        rows.append([f"{fulls:g}", RANDOM, *(f"{curve(base, key, FULL * fulls).mean():.3f}" for key in keys)])
    return markdown(rows)


def _apart(own: np.ndarray, base: np.ndarray) -> str:
    low, high = interval(own - base)
    return f"{own.mean():.3f}, {(own - base).mean():+.3f} ({low:+.3f} to {high:+.3f}), {(own > base).sum()}"


def long(table: Table, keys: Sequence[str], seeds: Sequence[int], cache: Path) -> str:
    """`search --trials 200` with three rungs and with the default ones, these also at the images of the former."""
    three, default = settings(LADDER, None), settings(RUNGS, None)
    before = runs(table, Way(words(three), three, TRIALS), 40.0, seeds, cache)
    now = runs(table, Way(words(default), default, TRIALS), 50.0, seeds, cache)
    rows = [["search", "full trainings", *(f"{key}: mean, less the first (95 %), seeds won" for key in keys)]]
    rows.append([words(three), "40", *(f"{curve(before, key, 40 * FULL).mean():.3f}" for key in keys)])
    for fulls in (40, 50):
        cells = [_apart(curve(now, key, fulls * FULL), curve(before, key, 40 * FULL)) for key in keys]
        rows.append([words(default), f"{fulls}", *cells])
    return markdown(rows)


def text(arguments: argparse.Namespace) -> str:
    seeds, cache = range(arguments.seeds), arguments.cache
    few = seeds[: arguments.few_seeds]
    command = f"python benchmarks/search_budgets.py --seeds {arguments.seeds} --few-seeds {arguments.few_seeds}"
    default, three = settings(RUNGS, None), settings(LADDER, None)
    ways = [Way(f"searcher, {words(chosen)}", chosen) for chosen in (default, three)]
    digits = Digits(arguments.digits)
    quarter = settings((0.25, 1.0), None)
    on_digits = [*ways, Way(f"searcher, {words(quarter)}", quarter)]
    parts = [
        "# The default search at small budgets",
        f"```\n{header(command + (' --table FILE' if arguments.table else ''))}\n```",
        f"{' '.join((__doc__ or '').split())}\n\nSeeds 0 to {arguments.seeds - 1}, paired.",
        f"## {len(digits.networks)} networks trained on digits\n\n{_DIGITS}",
        compared(digits, ways[:1], (5, 10), ("read", "other", "least"), seeds, cache),
        f"Other rungs, seeds 0 to {len(few) - 1}:",
        compared(digits, on_digits, (5, 10), ("read", "other", "least"), few, cache),
    ]
    if arguments.table:
        table, keys, of = Table(arguments.table, Noise()), ("hv", "hv0", "hv1"), f"seeds 0 to {len(few) - 1}"
        parts += [
            f"## SpikeNAS-Bench, CIFAR-10, {of}\n\n{_SPIKENAS}",
            compared(table, ways[:1], (5, 10, 20), keys, few, cache),
        ]
        parts += [f"## `search --trials {TRIALS}` on SpikeNAS-Bench, {of}", long(table, keys, few, cache)]
    return "\n\n".join(parts) + "\n"


_DIGITS = """\
`digits_table.py` trained them: random networks of `spikformer_tiny`, at 5, 25 and 100 % of the recipe, with two seeds.
A search of an even seed reads the trainings of the first seed, one of an odd seed those of the second. "read" scores an
answer by the accuracies and energies that the search read, "other" by those of the other seed, by which nothing was
chosen. The reference point is that of all networks of the table (`pareto.reference_point`); "least" is "other" from the
least accuracy of all."""
_SPIKENAS = """\
A search reads validation accuracy, test accuracy scores it. Energy at 5 and 25 epochs has the noise of
`search_efficiency.py`. "hv" is measured from the reference point of the whole table, "hv0" from 80 % and 1,100 uJ,
"hv1" from 86 % and 1,100 uJ."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="SpikeNAS-Bench, see search_efficiency.py --fetch")
    parser.add_argument("--digits", type=Path, default=TABLE)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--few-seeds", type=int, default=20, help="of SpikeNAS-Bench and other rungs")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "spikformer-nas" / "search_efficiency")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report = text(arguments)
    files.write(arguments.results / "search_budgets.md", lambda partial: partial.write_text(report))
    print(report)


if __name__ == "__main__":
    main()
