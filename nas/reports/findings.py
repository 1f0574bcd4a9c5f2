"""Sentences on what a study found."""

import math
import statistics
from collections.abc import Sequence

import pandas as pd
from scipy.stats import kendalltau

from nas.costs import MEASURED, BreakEven, Chip, Convention
from nas.reports.units import unit_of
from nas.stats import pareto
from nas.studies import Study, constraints
from nas.training import Candidate, EnergyOf, front_of


def by_size(complete: pd.DataFrame, count: int, column: str = "energy_mj") -> pd.DataFrame:
    """What someone gets who ranks by parameter count alone, smallest first.

    `count` sizes, spread evenly over the ranking from the smallest to the largest; of networks of equal
    size, which the parameter count cannot tell apart, the mean.
    """
    columns = [column, "search_val_accuracy", "report_val_accuracy"]
    sizes = complete.groupby("parameters")[columns].mean().reset_index().sort_values("parameters")
    if count >= len(sizes):
        return sizes
    last = len(sizes) - 1
    return sizes.iloc[[round(i * last / max(1, count - 1)) for i in range(count)]]


def counts(trials: pd.DataFrame) -> str:
    by_status = trials["status"].value_counts()
    listed = ", ".join(f"{count} {status}" for status, count in by_status.items())
    return f"{len(trials)} candidates evaluated: {listed}; {int(trials['on_front'].sum())} on the front."


_NOT_DRAWN = {
    "stopped": "stopped early, after training on a part of the {sample}s",
    "silent": "silent",
    "diverged": "diverged",
    "out_of_memory": "failed for lack of memory",
    "died": "failed because its process died",
}


def drawn(trials: pd.DataFrame, column: str, sample: str = "image") -> str:
    """How many of the networks are points of the front's chart, and why the others are not."""
    if trials.empty:
        return ""
    complete = trials[trials["status"] == "complete"]
    points = complete[complete[column].astype(float) > 0]
    others = trials[trials["status"] != "complete"]["status"].value_counts()
    words = [_NOT_DRAWN.get(str(status), str(status)).format(sample=sample) for status in others.index]
    reasons = [f"{count:,} {word}" for word, count in zip(words, others, strict=True)]
    if len(points) < len(complete):
        reasons.append(f"{len(complete) - len(points):,} without an energy above 0, for which its scale has no place")
    breaking = int((points["constraints"] != "").sum())
    sentences = [
        f"Points of this chart are the networks trained in full: {len(points):,} of {len(trials):,} evaluated",
        f"Not drawn: {'; '.join(reasons)}" if reasons else "",
        f"Points that break a limit, and so cannot be on the front: {breaking:,}" if breaking else "",
    ]
    return "".join(f"{sentence}. " for sentence in sentences if sentence).strip()


def constrained(study: Study, trials: pd.DataFrame) -> list[str]:
    asked = constraints.in_words(study.constraints)
    if not asked:
        return []
    complete = trials[trials["status"] == "complete"]
    count = int((complete["constraints"] == "").sum())
    return [f"Asked for: {asked}. {count} of the {len(complete)} networks trained in full keep that."]


def aimed_at(study: Study, front: pd.DataFrame, column: str) -> list[str]:
    """How much of the front lies beyond the reference point that the search was given."""
    asked = study.hypervolume_from
    if asked is None:
        return []
    beyond = front[(front["search_val_accuracy"] > asked.accuracy) & (front[column] < asked.energy_mj)]
    return [
        f"The last search aimed at networks with more than {100 * asked.accuracy:.1f} % of search-val accuracy and "
        f"less than {unit_of([asked.energy_mj]).text(asked.energy_mj)} per {study.sample}. Number of "
        f"such networks on the front: {len(beyond)} of {len(front)}; others add nothing to hypervolume."
    ]


def optimism(complete: pd.DataFrame, front: pd.DataFrame) -> str:
    best = front.iloc[-1]
    gap = 100 * (best["search_val_accuracy"] - best["report_val_accuracy"])
    mean_gap = 100 * (complete["search_val_accuracy"] - complete["report_val_accuracy"]).mean()
    return (
        f"Selection bias: the network that search-val ranks first reaches {100 * best['search_val_accuracy']:.1f} % "
        f"there and {100 * best['report_val_accuracy']:.1f} % on report-val, a gap of {gap:+.1f} points; over all "
        f"{len(complete)} networks trained in full, chosen or not, the gap is {mean_gap:+.1f} points (one seed each)."
    )


def trained_in_full(study: Study, candidates: dict[int, Candidate]) -> list[str]:
    """The proxy's report-val accuracy beside that of the network that was made of it."""
    if not study.full_trainings:
        return []
    groups: dict[tuple[int, str, int], list[float]] = {}
    for full in study.full_trainings:
        groups.setdefault((full.trial, full.config_id, full.epochs), []).append(100 * full.test_top1)
    scores: list[str] = []
    pairs: list[tuple[float | None, float | None]] = []
    for (trial, _, epochs), accuracies in groups.items():
        proxy = candidates[trial].report_val_accuracy if trial in candidates else None
        mean = sum(accuracies) / len(accuracies)
        spread = f" +- {statistics.stdev(accuracies):.1f}" if len(accuracies) > 1 else ""
        known = f"{100 * proxy:.1f} %" if proxy is not None else "unknown"
        pairs.append((proxy, mean))
        scores.append(
            f"trial {trial}: {mean:.1f}{spread} % ({len(accuracies)} seed(s), {epochs} epochs), proxy "
            f"{known} of report-val"
        )
    agreement = f" Kendall's tau between both: {_agreement(pairs)}." if len(pairs) > 2 else ""
    return [f"Trained in full, accuracy on test {study.sample}s: {'; '.join(scores)}.{agreement}"]


def against_size(complete: pd.DataFrame, front: pd.DataFrame, column: str, reference: pareto.Point) -> list[str]:
    """What the parameter count alone would have told.

    Args:
        reference: search-val accuracy in per cent and log10 energy from which hypervolume is measured.
    """
    if complete["parameters"].nunique() < 2:
        return ["All candidates have one size, so parameter count cannot rank them."]
    tau_accuracy = kendalltau(complete["parameters"], complete["search_val_accuracy"]).statistic
    tau_energy = kendalltau(complete["parameters"], complete[column]).statistic
    by_count = by_size(complete, len(front), column)
    volumes = [pareto.hypervolume(_points(points, column), reference) for points in (by_count, front)]
    sentences = [
        f"What size alone tells: of {len(complete)} networks trained in full, parameter count ranks search-val "
        f"accuracy with Kendall's tau {tau_accuracy:.2f} and energy with {tau_energy:.2f}."
    ]
    if volumes[1] > 0:
        sentences[0] += (
            f" {len(front)} networks picked by size alone, evenly from small to large, reach "
            f"{100 * volumes[0] / volumes[1]:.0f} % of the front's hypervolume."
        )
    twins = [group for _, group in complete.groupby("parameters") if len(group) > 1]
    if twins:
        widest = max(twins, key=lambda group: _spread(group, column))
        accuracy = 100 * widest["report_val_accuracy"]
        sentences.append(
            f"Equal size, different networks: the {len(widest)} candidates of {widest['parameters'].iloc[0]:,} "
            f"parameters span {accuracy.min():.1f} to {accuracy.max():.1f} % of report-val and a factor "
            f"{_spread(widest, column):.1f} in energy."
        )
    return sentences


def against_target(candidates: dict[int, Candidate]) -> list[str]:
    """Whether cheap proxies are cheap networks."""
    energies_mj = [
        (c.energy_mj, c.energy_target_mj)
        for c in candidates.values()
        if c.status == "complete" and c.energy_mj is not None and c.energy_target_mj is not None
    ]
    if len(energies_mj) < 3:
        return []
    tau = kendalltau([here for here, _ in energies_mj], [target for _, target in energies_mj]).statistic
    return [
        f"If these {len(energies_mj)} networks are exported for ImageNet, their predicted energies rank as the "
        f"energies here do with Kendall's tau {tau:.2f} (convention measured; firing rates as here)."
    ]


def against_measured(
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


def on_chip(stored: dict[int, Candidate], trials: pd.DataFrame, chip: Chip) -> str:
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


def against_quantised(networks: Sequence[tuple[BreakEven, ...]]) -> list[str]:
    """How the networks of the front stand against their quantised counterparts: a sentence for each comparison."""
    sentences = []
    for compared in zip(*filter(None, networks), strict=True):
        rates, bounds = ([getattr(each, name) for each in compared] for name in ("rate", "break_even"))
        sentences.append(
            f"Against quantised counterparts without time, by {compared[0].by}: {sum(each.pays for each in compared)} "
            f"of {len(compared)} networks of the front cost less. A network pays below {_range(bounds)} spikes per "
            f"input of a weight on average, and these have {_range(rates)}."
        )
    return sentences


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


def _agreement(pairs: list[tuple[float | None, float | None]]) -> str:
    known = [(a, b) for a, b in pairs if a is not None and b is not None and not math.isnan(b)]
    if len(known) < 3 or len({b for _, b in known}) < 2:
        return f"without one ({len(known)} candidates, {len({b for _, b in known})} different figures)"
    return f"{kendalltau([a for a, _ in known], [b for _, b in known]).statistic:.3f}"


def _spread(candidates: pd.DataFrame, column: str) -> float:
    return float(candidates[column].max() / candidates[column].min())


def _points(networks: pd.DataFrame, column: str) -> list[pareto.Point]:
    """Search-val accuracy in per cent and log10 energy."""
    return list(zip(100 * networks["search_val_accuracy"], networks[column].map(math.log10), strict=True))


__all__ = [
    "against_measured",
    "against_quantised",
    "against_size",
    "against_target",
    "aimed_at",
    "by_size",
    "constrained",
    "counts",
    "drawn",
    "on_chip",
    "optimism",
    "trained_in_full",
]
