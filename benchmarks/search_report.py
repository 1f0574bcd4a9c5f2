"""What the runs of a replay show, as Markdown and a figure."""

import bisect
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from search_replays import Replay
from search_scores import ACCURACY_QUANTILES, ENERGY_QUANTILE, Floats

from nas import files
from nas.stats import Interval, bootstrapped

matplotlib.use("Agg")
from matplotlib import pyplot as plt

OURS, SIMPLE = "searcher", ("random", "ladder", "screen")
TITLES = {
    OURS: "default searcher",
    "random": "random",
    "ladder": "size ladder",
    "screen": "screen at the lowest share",
    "tpe": "Optuna TPE, multivariate",
    "nsga2": "Optuna NSGA-II",
    "gp": "Optuna GPSampler",
    "mo-asha": "MO-ASHA, TPE's proposals",
}
Rows = list[Sequence[str]]


@dataclass(frozen=True, eq=False)
class Run:
    """What one method did with one seed: see `search_methods.Ledger`."""

    seed: int
    trained: Sequence[tuple[str, float]]
    suggestions: Sequence[tuple[int, float]]

    def count_within(self, spent: float) -> int:
        """How many networks were trained in full by then."""
        return bisect.bisect_right(self.trained, spent + 1e-6, key=lambda pair: pair[1])


class Results:
    """Scores of the runs on one table.

    Args:
        runs: (method, budget in full trainings) -> runs with the seeds 0, 1, ...; methods that do not plan for their
            budget have one run a seed, which is read at every budget.
    """

    def __init__(self, replay: Replay, budgets: Sequence[float], runs: Mapping[tuple[str, float], list[Run]]) -> None:
        self.replay, self.budgets, self.runs = replay, budgets, runs
        self.methods = list(dict.fromkeys(method for method, _ in runs))
        self.rivals = [method for method in self.methods if method != OURS]
        self._known: dict[tuple[Run, str], list[float]] = {}

    @functools.cached_property
    def full(self) -> float:
        """What a full training costs."""
        return self.replay.costs[1.0]

    def volumes(self, method: str, budget: float, reference: str, spent: float | None = None) -> Floats:
        """Relative hypervolume by seed, at the end of a budget or when so much was spent."""
        limit = budget * self.full if spent is None else spent
        runs = self.runs[method, budget]
        return np.array([self._volumes_of(run, reference)[run.count_within(limit)] for run in runs])

    def best(self, method: str, budget: float) -> Floats:
        """Report accuracy of the most accurate network by validation, by seed."""
        limit, accuracies = budget * self.full, []
        for run in self.runs[method, budget]:
            trained = [identity for identity, _ in run.trained[: run.count_within(limit)]]
            accuracies.append(self.replay.judge(run.seed).best(trained))
        return np.array(accuracies)

    def until(self, method: str, budget: float, reference: str, target: float) -> float | None:
        """What is spent until the mean over seeds first reaches a target, in steps of 0.05 full trainings."""
        for step in range(1, round(budget * 20) + 1):
            if self.volumes(method, budget, reference, self.full * step / 20).mean() >= target - 1e-9:
                return self.full * step / 20
        return None

    def _volumes_of(self, run: Run, reference: str) -> list[float]:
        """After 0, 1, 2, ... networks in full."""
        if (run, reference) not in self._known:
            trained, judge = [identity for identity, _ in run.trained], self.replay.judge(run.seed)
            volumes = [judge.volume(trained[:count], reference) for count in range(len(trained) + 1)]
            self._known[run, reference] = volumes
        return self._known[run, reference]


def paired(ours: Floats, rival: Floats) -> Interval:
    """Ours less a rival, seed by seed, over the seeds that both have."""
    count = min(len(ours), len(rival))
    apart = ours[:count] - rival[:count]
    apart = apart[~np.isnan(apart)]
    return bootstrapped(lambda i: float(apart[i].mean()), len(apart)) if len(apart) else Interval(math.nan)


def closed(ours: float, simple: Sequence[float]) -> float:
    """Share of what the best simple method leaves to the choice by validation among all that ours closes."""
    left = 1 - max(simple)
    return (ours - max(simple)) / left if left > 0 else math.nan


def markdown(rows: Rows) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def title(method: str) -> str:
    """Words for a method; the searcher with other rungs is named by them."""
    name, _, rungs = method.partition(":")
    return f"searcher, rungs {rungs}" if rungs else TITLES[name]


def text(results: Results, figure_name: str) -> str:
    """All tables of a replay, and its figure by name."""
    parts = [f"## {results.replay.name}", _measure(results), f"![hypervolume against budget]({figure_name})"]
    if OURS in results.methods and results.rivals:
        parts += ["### Does the default search win at every budget?", _verdicts(results)]
    for reference in ACCURACY_QUANTILES:
        parts += [f"### Reference {reference}", *_of_reference(results, reference)]
    if "random" in results.methods:
        parts += ["### Best accuracy less that of random search, points", _accuracies(results)]
    return "\n\n".join([*parts, "### Time of a suggestion", _seconds(results)])


def _measure(results: Results) -> str:
    replay = results.replay
    judges = [replay.judge(variant) for variant in range(replay.variants)]
    points = {name: np.mean([judge.references[name] for judge in judges], axis=0) for name in ACCURACY_QUANTILES}
    ceilings = {name: np.mean([judge.ceilings[name] for judge in judges]) for name in ACCURACY_QUANTILES}
    listed = "; ".join(
        f"{name}, report accuracy {100 * points[name][0]:.1f} % (the quantile {100 * q:g} %)"
        for name, q in ACCURACY_QUANTILES.items()
    )
    energy = f"{10 ** points['low'][1]:,.4g} {replay.energy_unit} (the quantile {100 * ENERGY_QUANTILE:g} %)"
    of_front = ", ".join(f"{ceilings[name]:.3f} ({name})" for name in ACCURACY_QUANTILES)
    shares = ", ".join(f"{100 * share:g} % ({replay.costs[share]:,.0f} {replay.unit})" for share in replay.shares)
    return (
        f"{len(replay.networks):,} networks, each trained at {shares}. Reference points have the energy {energy}; "
        f"{listed}. The choice by validation among all networks has the relative hypervolume 1, which is {of_front} of "
        "the hypervolume of the true front."
    )


def _verdicts(results: Results) -> str:
    rows: Rows = [("full trainings", *ACCURACY_QUANTILES)]
    for budget in results.budgets:
        rows.append((f"{budget:g}", *(_verdict(results, budget, reference) for reference in ACCURACY_QUANTILES)))
    return markdown(rows)


def _verdict(results: Results, budget: float, reference: str) -> str:
    """Whether ours is ahead of every rival, and of which that is not shown."""
    ours = results.volumes(OURS, budget, reference)
    others = [rival for rival in results.rivals if not rival.startswith(f"{OURS}:")]
    apart = {rival: paired(ours, results.volumes(rival, budget, reference)) for rival in others}
    behind = [title(rival) for rival, difference in apart.items() if difference.value <= 0]
    unsure = [title(rival) for rival, difference in apart.items() if difference.value > 0 and not difference.low > 0]
    if behind:
        return f"no: not ahead of {', '.join(behind)}"
    return f"ahead of all in the mean, not shown for {', '.join(unsure)}" if unsure else "yes"


def _of_reference(results: Results, reference: str) -> Iterator[str]:
    yield f"Mean relative hypervolume:\n\n{_means(results, reference)}"
    if OURS in results.methods:
        if results.rivals:
            yield f"The default searcher less each rival, by seed (95 % interval):\n\n{_rivals(results, reference)}"
        simple = [method for method in SIMPLE if method in results.methods]
        if simple:
            yield (
                "Share of what the best of random, ladder and screen leaves to the choice by validation that the "
                f"default searcher closes:\n\n{_closed(results, reference, simple)}"
            )
    if "random" in results.methods:
        yield (
            f"Full trainings' worth of {results.replay.unit} until the mean reaches what random search reaches with "
            f"all of the budget; methods that plan for a budget plan for that one:\n\n{_until(results, reference)}"
        )


def _by_budget(
    results: Results, methods: Sequence[str], cell: Callable[[str, float], str], head: str = "method"
) -> str:
    rows: Rows = [(head, "seeds", *(f"{budget:g}" for budget in results.budgets))]
    for method in methods:
        seeds = str(len(results.runs[method, results.budgets[0]]))
        rows.append((title(method), seeds, *(cell(method, budget) for budget in results.budgets)))
    return markdown(rows)


def _means(results: Results, reference: str) -> str:
    return _by_budget(
        results, results.methods, lambda method, budget: f"{results.volumes(method, budget, reference).mean():.3f}"
    )


def _rivals(results: Results, reference: str) -> str:
    def cell(rival: str, budget: float) -> str:
        ours, theirs = (results.volumes(method, budget, reference) for method in (OURS, rival))
        difference = paired(ours, theirs)
        return f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"

    return _by_budget(results, results.rivals, cell, "rival")


def _closed(results: Results, reference: str, simple: Sequence[str]) -> str:
    def mean(method: str, budget: float) -> float:
        return float(results.volumes(method, budget, reference).mean())

    shares = [closed(mean(OURS, budget), [mean(method, budget) for method in simple]) for budget in results.budgets]
    return markdown([("full trainings", *(f"{budget:g}" for budget in results.budgets)), ("", *map(_percent, shares))])


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.0f} %"


def _until(results: Results, reference: str) -> str:
    def cell(method: str, budget: float) -> str:
        target = float(results.volumes("random", budget, reference).mean())
        spent = results.until(method, budget, reference, target)
        if spent is None:
            return f"> {budget:g}"
        return f"{spent / results.full:.2f} ({spent:,.0f} {results.replay.unit})"

    return _by_budget(results, results.methods, cell)


def _accuracies(results: Results) -> str:
    """By validation chosen, by report accuracy scored."""

    def cell(method: str, budget: float) -> str:
        difference = paired(100 * results.best(method, budget), 100 * results.best("random", budget))
        return f"{difference.value:+.2f} ({difference.low:+.2f} to {difference.high:+.2f})"

    return _by_budget(results, [method for method in results.methods if method != "random"], cell)


def _seconds(results: Results) -> str:
    rows: Rows = [("method", "suggestions", "median, s", "95th percentile, s", "networks known, at most")]
    for method in results.methods:
        runs = {id(run): run for budget in results.budgets for run in results.runs[method, budget]}
        suggestions = [suggestion for run in runs.values() for suggestion in run.suggestions]
        if suggestions:
            median, most = np.quantile([seconds for _, seconds in suggestions], [0.5, 0.95])
            known = max(count for count, _ in suggestions)
            rows.append((title(method), f"{len(suggestions):,}", f"{median:.3f}", f"{most:.3f}", str(known)))
    return markdown(rows)


def figure(results: Results, path: Path) -> None:
    """Mean relative hypervolume at each budget, a panel for each reference point."""
    drawn, panels = plt.subplots(1, len(ACCURACY_QUANTILES), figsize=(12.4, 4.4))
    for panel, reference in zip(panels, ACCURACY_QUANTILES, strict=True):
        for i, method in enumerate(results.methods):
            means = [results.volumes(method, budget, reference).mean() for budget in results.budgets]
            width = 2.4 if method == OURS else 1.2
            panel.plot(results.budgets, means, marker="o", markersize=3, linewidth=width, color=f"C{i}")
        panel.set_xscale("log")
        panel.set_xticks(results.budgets, [f"{budget:g}" for budget in results.budgets])
        panel.minorticks_off()
        panel.set_xlabel(f"budget, full trainings of {results.full:,.0f} {results.replay.unit}")
        panel.set_ylabel("relative hypervolume, mean over seeds")
        panel.set_title(f"{results.replay.name}, reference {reference}")
        panel.grid(alpha=0.3)
    panels[0].legend([title(method) for method in results.methods], fontsize=8)
    drawn.tight_layout()
    files.write(path, lambda partial: drawn.savefig(partial, dpi=130, format="png"))
    plt.close(drawn)
