"""From a study to tables and figures: the one door to pandas and matplotlib.

`results/<study>/` gets `trials.csv` (every candidate), `front.csv`, `front.png` and `report.md`; under another
convention than the search's, `front-paper.csv` and so on. All of it is derived: it can be deleted and written again
from the study's storage.
"""

import itertools
import math
import re
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text
from scipy.stats import kendalltau

from nas import constraints, files, pareto
from nas.candidate import Candidate, EnergyOf, front_of, repriced
from nas.chip import Chip
from nas.energy import MEASURED, Convention, UnitCosts, overheads_mj
from nas.errors import StudyError
from nas.memory import MODEL as MEMORY_MODEL
from nas.memory import memory_mj
from nas.progress import in_si, in_words
from nas.study import FullTraining, Spent, Study

matplotlib.use("agg")  # files only: no display is needed


@dataclass(frozen=True)
class Report:
    """What a study says.

    Attributes:
        study: its name.
        convention: under which energy is priced and the front taken.
        energy: column by which the front is taken, "energy_mj" or "energy_target_mj".
        trials: a row a candidate, by trial number.
        front: the rows that no other beats in search-val accuracy and energy, by rising energy.
        findings: sentences.
        methods: sentences on how the figures were obtained.
    """

    study: str
    convention: str
    energy: str
    trials: pd.DataFrame
    front: pd.DataFrame
    findings: list[str]
    methods: list[str]

    def table(self) -> Table:
        """The front for a terminal."""
        table = Table(title=Text(f"Pareto front of {self.study}"), title_justify="left")
        for heading in _front_headings(self.energy):
            table.add_column(heading, justify="left" if heading == "network" else "right")
        for cells in _front_cells(self.front, self.energy):
            table.add_row(*map(Text, cells))
        return table


def _front_headings(column: str) -> tuple[str, ...]:
    energy = "energy" if column == "energy_mj" else "energy on ImageNet"
    return "trial", "search-val", "report-val", energy, "spike operations", "parameters", "network"


def build(study: Study, convention: Convention = MEASURED, chip: Chip | None = None, *, memory: bool = False) -> Report:
    """Read a study into tables and sentences, its energies priced anew from the counts in its records.

    Args:
        chip: a model whose energy, latency and fit become columns of their own.
        memory: whether the methods say what memory accesses would add.

    Raises:
        StudyError: no candidate is finished yet.
        CostError: a record without counts, or a model of a chip that fails.
    """
    stored = study.candidates
    if not stored:
        raise StudyError(f"study {study.name} has no finished candidate yet. Run the search on")
    candidates = _priced(study, stored, convention)
    asked, energy_of = study.constraints, study.energy_of
    broken = {n: constraints.broken(c, asked, energy_of) if c.status == "complete" else [] for n, c in stored.items()}
    front_numbers = list(front_of({n: c for n, c in candidates.items() if not broken[n]}, study.energy_of))
    column = "energy_mj" if study.energy_of == "proxy" else "energy_target_mj"
    trials = pd.DataFrame(
        [
            _row(n, c, n in front_numbers, broken[n])
            | {"convention": convention.label}
            | _full_row([full for full in study.full_trainings if full.trial == n])
            | _chip_row(c, chip)
            for n, c in candidates.items()
        ]
    )
    front = trials.set_index("trial", drop=False).loc[front_numbers].reset_index(drop=True)
    complete = trials[(trials["status"] == "complete") & trials[column].notna()]
    findings = [_counts(trials), *_constrained(study, trials)]
    if not front.empty:
        kept = complete[complete["constraints"] == ""]
        findings += [_optimism(complete, front), *_against_size(kept, front, column), *_against_target(stored)]
    if convention != MEASURED:
        kept_of = [{n: c for n, c in of.items() if not broken[n]} for of in (stored, candidates)]
        findings += _against_measured(kept_of[0], kept_of[1], study.energy_of, convention)
    findings += _trained_in_full(study, stored)
    methods = _methods(study, candidates, convention)
    if chip is not None:
        findings.append(_on_chip(stored, trials, chip))
        methods.append(f'Columns chip_*: the model "{chip.name}", of the same counts. {chip.summary}'.strip())
    if memory:
        methods += _memory_methods(candidates)
    return Report(study.name, convention.label, column, trials, front, findings, methods)


def _priced(study: Study, stored: dict[int, Candidate], convention: Convention) -> dict[int, Candidate]:
    ranked_by_target = study.energy_of == "target" and convention != MEASURED
    return repriced(stored, convention, study.target_image_size if ranked_by_target else None)


def write(report: Report, folder: Path) -> list[Path]:
    """Write the report's files into the study's folder; each appears whole."""
    text = markdown(report)
    return [
        files.write(folder / _file(report, "trials.csv"), lambda path: report.trials.to_csv(path, index=False)),
        files.write(folder / _file(report, "front.csv"), lambda path: report.front.to_csv(path, index=False)),
        files.write(folder / _file(report, "front.png"), lambda path: figure(report).savefig(path, dpi=150)),
        files.write(folder / _file(report, "report.md"), lambda path: path.write_text(text)),
    ]


def _file(report: Report, name: str) -> str:
    """A report under another convention leaves that of the search alone."""
    if report.convention == MEASURED.label:
        return name
    stem, _, suffix = name.partition(".")
    return f"{stem}-{re.sub(r'[^A-Za-z0-9.+_-]+', '_', report.convention)}.{suffix}"


def figure(report: Report) -> Figure:
    """Accuracy against energy: all candidates, the front, references by name, and what size alone would choose."""
    column = report.energy
    complete = report.trials[(report.trials["status"] == "complete") & report.trials[column].notna()]
    whose = "energy" if column == "energy_mj" else "predicted energy on ImageNet"
    fig = Figure(figsize=(8, 5.4), layout="constrained")
    axes = fig.add_subplot()
    axes.set(
        xscale="log",
        xlabel=f"{whose} per image (mJ, convention '{report.convention}')",
        ylabel="search-val accuracy (%)",
    )
    axes.set_title(f"{report.study}: {len(complete)} candidates", loc="left", parse_math=False)
    axes.grid(alpha=0.25, which="both")
    percent = 100 * complete["search_val_accuracy"]
    axes.scatter(complete[column], percent, s=22, color="#9aa5b1", label="candidates", zorder=2)
    if not report.front.empty:
        sizes = by_size(complete[complete["constraints"] == ""], len(report.front), column)
        pairs = list(zip(sizes["search_val_accuracy"], sizes[column], strict=True))
        best = sizes.iloc[pareto.front(pairs)]
        _staircase(axes, best, column, "#b45309", "x", "--", "best of rank by parameter count")
        _staircase(axes, report.front, column, "#1d4ed8", "o", "-", "front")
    named = complete[complete["reference"] != ""].sort_values(column)
    for row, marker in zip(named.to_dict("records"), itertools.cycle("Ds^vP*"), strict=False):
        axes.scatter(
            row[column],
            100 * row["search_val_accuracy"],
            label=row["reference"].replace("$", r"\$"),
            marker=marker,
            s=75,
            facecolor="none",
            edgecolor="#047857",
            linewidth=1.6,
            zorder=6,
        )
    axes.legend(loc="lower right", framealpha=0.9, fontsize=9)
    return fig


def _staircase(axes: Axes, points: pd.DataFrame, column: str, color: str, marker: str, line: str, label: str) -> None:
    percent = 100 * points["search_val_accuracy"]
    axes.step(points[column], percent, where="post", color=color, lw=1.4, ls=line, zorder=4)
    axes.scatter(points[column], percent, s=36, color=color, marker=marker, label=label, zorder=5)


def markdown(report: Report) -> str:
    """The report as Markdown."""
    lines = [
        f"# {report.study}",
        "",
        *report.findings,
        "",
        f"![front]({_file(report, 'front.png')})",
        "",
        "## Front",
        "",
    ]
    headings = _front_headings(report.energy)
    lines += [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    rows = [[cell.replace("|", r"\|") for cell in cells] for cells in _front_cells(report.front, report.energy)]
    lines += [f"| {' | '.join(cells)} |" for cells in rows]
    lines += ["", "The search ranks by search-val; report-val was not used to choose, so it is the figure to quote."]
    lines += ["", "## How", "", *(f"* {sentence}" for sentence in report.methods), ""]
    return "\n".join(lines)


def by_size(complete: pd.DataFrame, count: int, column: str = "energy_mj") -> pd.DataFrame:
    """What someone gets who ranks by parameter count alone, smallest first.

    `count` sizes, spread evenly over the ranking from the smallest to the largest; of networks of equal
    size, which the parameter count cannot tell apart, the mean.
    """
    columns = [column, "search_val_accuracy"]
    sizes = complete.groupby("parameters")[columns].mean().reset_index().sort_values("parameters")
    if count >= len(sizes):
        return sizes
    last = len(sizes) - 1
    return sizes.iloc[[round(i * last / max(1, count - 1)) for i in range(count)]]


def _row(number: int, candidate: Candidate, on_front: bool, broken: list[str]) -> dict[str, Any]:
    config, stage = candidate.config, candidate.config.stages[0]
    rates = list(candidate.firing_rates.values())
    return {
        "trial": number,
        "status": candidate.status,
        "on_front": on_front,
        "constraints": " ".join(broken),
        "reference": candidate.reference or "",
        "network": in_words(candidate),
        "search_val_accuracy": candidate.search_val_accuracy,
        "report_val_accuracy": candidate.report_val_accuracy,
        "energy_mj": candidate.energy_mj,
        "energy_repeated_mj": candidate.energy_repeated_mj,
        "energy_target_mj": candidate.energy_target_mj,
        "energy_error": candidate.energy_error,
        "spike_operations": candidate.spike_operations,
        "real_macs": candidate.real_macs,
        "dense_macs": candidate.dense_macs,
        "parameters": candidate.parameters,
        "mean_firing_rate": sum(rates) / len(rates) if rates else None,
        "silent_layers": " ".join(candidate.silent_layers),
        "time_steps": config.time_steps,
        "residual": config.residual,
        "attention": "+".join(dict.fromkeys(s.mixer.kind for s in config.stages)),
        "embed_dim": stage.embed_dim,
        "depth": sum(s.depth for s in config.stages),
        "num_heads": stage.mixer.num_heads,
        "mlp_ratio": stage.mlp.ratio,
        "neuron": config.neuron.kind,
        "pool_order": config.stem.pool_order,
        "neuron_on": stage.mixer.neuron_on,
        "head_neuron": config.head.neuron,
        "images_seen": candidate.images_seen,
        "seed": candidate.seed,
        "wall_s": candidate.provenance["wall_s"],
        "config_id": candidate.config_id,
        "reason": candidate.reason,
    }


def _full_row(trained: list[FullTraining]) -> dict[str, Any]:
    """Of the longest training, the mean over its seeds."""
    longest = [full for full in trained if full.epochs == max(other.epochs for other in trained)]
    accuracy = sum(full.test_top1 for full in longest) / len(longest) if longest else None
    return {"full_test_accuracy": accuracy, "full_epochs": longest[0].epochs if longest else None}


def _chip_row(candidate: Candidate, chip: Chip | None) -> dict[str, Any]:
    if chip is None:
        return {}
    if candidate.status != "complete":
        return {"chip_energy_mj": None, "chip_latency_ms": None, "chip_fits": None}
    found = chip(candidate.config, candidate.operations, candidate.overheads, candidate.counted_images)
    return {"chip_energy_mj": found.energy_mj, "chip_latency_ms": found.latency_ms, "chip_fits": found.fits}


def _front_cells(front: pd.DataFrame, column: str) -> list[list[str]]:
    return [
        [
            str(row["trial"]),
            f"{100 * row['search_val_accuracy']:.1f} %",
            f"{100 * row['report_val_accuracy']:.1f} %",
            in_si(row[column] * 1e-3, "J"),
            in_si(row["spike_operations"], "").strip(),
            f"{row['parameters']:,}",
            row["network"],
        ]
        for row in front.to_dict("records")
    ]


def _counts(trials: pd.DataFrame) -> str:
    by_status = trials["status"].value_counts()
    listed = ", ".join(f"{count} {status}" for status, count in by_status.items())
    return f"{len(trials)} candidates evaluated: {listed}; {int(trials['on_front'].sum())} on the front."


def _constrained(study: Study, trials: pd.DataFrame) -> list[str]:
    asked = constraints.in_words(study.constraints)
    if not asked:
        return []
    complete = trials[trials["status"] == "complete"]
    kept = int((complete["constraints"] == "").sum())
    return [f"Asked for: {asked}. {kept} of the {len(complete)} networks trained in full keep that."]


def _optimism(complete: pd.DataFrame, front: pd.DataFrame) -> str:
    best = front.iloc[-1]
    gap = 100 * (best["search_val_accuracy"] - best["report_val_accuracy"])
    mean_gap = 100 * (complete["search_val_accuracy"] - complete["report_val_accuracy"]).mean()
    return (
        f"Optimism of having chosen: the best by search-val reaches {100 * best['search_val_accuracy']:.1f} % there "
        f"and {100 * best['report_val_accuracy']:.1f} % on report-val, a gap of {gap:+.1f} points; over all "
        f"{len(complete)} complete candidates, chosen or not, it is {mean_gap:+.1f} points."
    )


def _trained_in_full(study: Study, candidates: dict[int, Candidate]) -> list[str]:
    """The proxy's accuracy beside that of the network that was made of it."""
    if not study.full_trainings:
        return []
    groups: dict[tuple[int, str, int], list[float]] = {}
    for full in study.full_trainings:
        groups.setdefault((full.trial, full.config_id, full.epochs), []).append(100 * full.test_top1)
    found: list[str] = []
    pairs: list[tuple[float | None, float | None]] = []
    for (trial, _, epochs), accuracies in groups.items():
        proxy = candidates[trial].search_val_accuracy if trial in candidates else None
        mean = sum(accuracies) / len(accuracies)
        spread = f" +- {statistics.stdev(accuracies):.1f}" if len(accuracies) > 1 else ""
        known = f"{100 * proxy:.1f} %" if proxy is not None else "unknown"
        pairs.append((proxy, mean))
        found.append(f"trial {trial}: {mean:.1f}{spread} % ({len(accuracies)} seed(s), {epochs} epochs), proxy {known}")
    agreement = f" Kendall's tau between both: {_agreement(pairs)}." if len(pairs) > 2 else ""
    return [f"Trained in full, accuracy on test images: {'; '.join(found)}.{agreement}"]


def _against_size(complete: pd.DataFrame, front: pd.DataFrame, column: str) -> list[str]:
    """What the parameter count alone would have told."""
    if complete["parameters"].nunique() < 2:
        return ["All candidates have one size, so parameter count cannot rank them."]
    tau_accuracy = kendalltau(complete["parameters"], complete["search_val_accuracy"]).statistic
    tau_energy = kendalltau(complete["parameters"], complete[column]).statistic
    by_count = by_size(complete, len(front), column)
    share = _hypervolume(by_count, complete, column) / _hypervolume(front, complete, column)
    sentences = [
        f"Rank by parameter count, for comparison: Kendall's tau {tau_accuracy:.2f} with accuracy and "
        f"{tau_energy:.2f} with energy; as many networks spread evenly over the sizes, the mean of each size, reach "
        f"{100 * share:.0f} % of the front's hypervolume."
    ]
    twins = [group for _, group in complete.groupby("parameters") if len(group) > 1]
    if twins:
        widest = max(twins, key=lambda group: _spread(group, column))
        accuracy = 100 * widest["search_val_accuracy"]
        sentences.append(
            f"Equal size, different networks: the {len(widest)} candidates of {widest['parameters'].iloc[0]:,} "
            f"parameters span {accuracy.min():.1f} to {accuracy.max():.1f} % and a factor "
            f"{_spread(widest, column):.1f} in energy."
        )
    return sentences


def _against_target(candidates: dict[int, Candidate]) -> list[str]:
    """Whether cheap proxies are cheap networks."""
    known = [c for c in candidates.values() if c.status == "complete" and c.energy_target_mj is not None]
    if len(known) < 3:
        return []
    tau = kendalltau([c.energy_mj for c in known], [c.energy_target_mj for c in known]).statistic
    return [
        f"Energy of the {len(known)} networks that export makes of them for ImageNet, predicted from their own "
        f"operations and the proxies' rates, ranks as the proxies' with Kendall's tau {tau:.2f} (convention measured)."
    ]


def _against_measured(
    measured: dict[int, Candidate], candidates: dict[int, Candidate], energy_of: EnergyOf, convention: Convention
) -> list[str]:
    """What another convention changes: the search ranked by "measured"."""
    before, after = set(front_of(measured, energy_of)), set(front_of(candidates, energy_of))
    complete = [n for n, c in candidates.items() if c.ranked_mj(energy_of) is not None and c.status == "complete"]

    def listed(numbers: set[int]) -> str:
        return "trial " + ", ".join(map(str, sorted(numbers))) if numbers else "nobody"

    sentence = (
        f"Under the convention {convention.label}, unlike under {MEASURED.label}, by which the search chose: "
        f"{listed(after - before)} enters the front, {listed(before - after)} leaves it."
    )
    if len(complete) < 3:
        return [sentence]
    energies = [[of[n].ranked_mj(energy_of) or 0.0 for n in complete] for of in (measured, candidates)]
    tau = kendalltau(energies[0], energies[1]).statistic
    return [sentence, f"The two rank the {len(complete)} complete candidates by energy with Kendall's tau {tau:.3f}."]


def _on_chip(stored: dict[int, Candidate], trials: pd.DataFrame, chip: Chip) -> str:
    """Whether the chip ranks as the search did."""
    rows = [row for row in trials.to_dict("records") if row["status"] == "complete"]
    fits = [row["chip_fits"] for row in rows if row["chip_fits"] is not None]
    fitting = f"{sum(fits)} of the {len(fits)} complete candidates fit" if fits else "which candidates fit is not said"
    measured = {n: c.energy_mj for n, c in stored.items()}
    agreements = [
        f"{name} {_agreement([(measured[row['trial']], row[column]) for row in rows])}"
        for name, column in (("energy", "chip_energy_mj"), ("latency", "chip_latency_ms"))
    ]
    return (
        f'On the chip "{chip.name}" {fitting}. Rank agreement with the energy under {MEASURED.label}, by which the '
        f"search chose, in Kendall's tau: {', '.join(agreements)}."
    )


def _agreement(pairs: list[tuple[float | None, float | None]]) -> str:
    known = [(a, b) for a, b in pairs if a is not None and b is not None and not math.isnan(b)]
    if len(known) < 3 or len({b for _, b in known}) < 2:
        return f"without one ({len(known)} candidates, {len({b for _, b in known})} different figures)"
    return f"{kendalltau([a for a, _ in known], [b for _, b in known]).statistic:.3f}"


def _spread(candidates: pd.DataFrame, column: str) -> float:
    return float(candidates[column].max() / candidates[column].min())


def _hypervolume(points: pd.DataFrame, complete: pd.DataFrame, column: str) -> float:
    """In accuracy times decades of energy, above the least accuracy and below the largest energy of all."""
    reference = (complete["search_val_accuracy"].min(), math.log10(complete[column].max()) + 1e-6)
    pairs = zip(points["search_val_accuracy"], points[column].map(math.log10), strict=True)
    return max(pareto.hypervolume(list(pairs), reference), 1e-12)


def _methods(study: Study, candidates: dict[int, Candidate], convention: Convention) -> list[str]:
    every = list(candidates.values())
    one = max(every, key=lambda c: c.counted_images)  # a candidate that diverged was not counted
    identity, recipe = study.identity, one.recipe
    devices = sorted({str(c.provenance["device"]) for c in every})
    commits = sorted({str(c.provenance["commit"]) for c in every})
    versions = sorted({f"{name} {v}" for c in every for name, v in c.provenance["versions"].items()})
    spent = study.spent
    return [
        f"Images: {identity.get('data.dataset')} (fingerprint {identity.get('data.images')}); "
        f"{one.train_images} to train on, {one.counted_images} for search-val, "
        f"{one.report_val_images} for report-val, cut from the training images, stratified, seed {one.seed}. "
        "No test image was read.",
        f"Proxy: {recipe.epochs} epochs, {max(c.images_seen for c in every):,} images, batch {recipe.batch_size}, "
        f"AdamW, peak learning rate {recipe.learning_rate:g}, augmentation {recipe.augment}; one seed ({one.seed}) a "
        "candidate, so differences within seed noise are not established.",
        *_rungs(study, spent),
        *_energy_methods(every, convention),
        f"Ran on {', '.join(devices)} in {spent.hours:.2f} h of training and measuring; {', '.join(versions)}; "
        f"commit {', '.join(commits)}.",
    ]


def _rungs(study: Study, spent: Spent) -> list[str]:
    shares = study.identity.get("recipe.rungs", [1.0])
    if len(shares) == 1:
        return []
    steps = [f"{n} on {share:.0%} of these images" for n, share in zip(spent.networks, shares, strict=False)]
    return [
        f"Rungs: {', '.join(steps)}, each a training of its own with a whole schedule; {spent.images:,} images in all. "
        "Which networks went on was decided by their search-val accuracy and energy. Only those trained on all images "
        "can be on the front."
    ]


def _energy_methods(candidates: list[Candidate], convention: Convention) -> list[str]:
    costs = convention.costs
    errors = [c.energy_error for c in candidates if c.energy_error is not None]
    complete = [c for c in candidates if c.status == "complete"]
    sure = f"; its standard error over images is at most {100 * max(errors):.2f} %" if errors else ""
    sentences = [
        f"Energy, convention '{convention.label}' (docs/costs.md): {costs.pj_per_ac:g} pJ an accumulate, "
        f"{costs.pj_per_mac:g} pJ a multiplication with its addition ({costs.source}), priced from the operations "
        f"counted on all search-val images{sure}. The spread between seeds is larger and was not measured. An estimate "
        "of arithmetic, not a measurement of a chip.",
    ]
    if complete:
        shares = [_overhead_share(c, costs) for c in complete if c.energy_mj]
        sentences.append(
            "Not in it: neuron updates (a multiplication and an addition each), residual additions and pool "
            f"comparisons would add {100 * min(shares):.0f} to {100 * max(shares):.0f} %; batch norm folds; memory "
            "accesses are not in it either."
        )
    return sentences


def _memory_methods(candidates: dict[int, Candidate]) -> list[str]:
    complete = [c for c in candidates.values() if c.status == "complete" and c.energy_mj]
    shares = [
        memory_mj(c.operations, c.overheads, c.counted_images, c.config.time_steps) / (c.energy_mj or math.inf)
        for c in complete
    ]
    if not shares:
        return []
    return [
        f"Memory accesses, by {MEMORY_MODEL}, would be {min(shares):.1f} to {max(shares):.1f} times the headline; not "
        "in it."
    ]


def _overhead_share(candidate: Candidate, costs: UnitCosts) -> float:
    extra_mj = overheads_mj(candidate.overheads, candidate.counted_images, costs)
    return extra_mj / (candidate.energy_mj or math.inf)


__all__ = ["Report", "build", "by_size", "figure", "markdown", "write"]
