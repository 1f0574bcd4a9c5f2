"""What more seeds say: means with intervals, which differences are real, curves under spike penalties, twins."""

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nas.costs import Convention, counterpart
from nas.replicates import WHAT, Trained, runs
from nas.reports.units import EnergyUnit, unit_of
from nas.stats import Interval, Verdict, deviation, differences, means, verdict
from nas.studies import Study
from nas.training import Candidate, in_words, repriced

_RUNS = ["trial", "what", "seed", "spike_penalty", "status", "search_val_accuracy", "report_val_accuracy", "energy_mj"]
_MEANS = [
    "seeds",
    "failed",
    "search_val_accuracy",
    "search_val_low",
    "search_val_high",
    "energy_mj",
    "energy_low_mj",
    "energy_high_mj",
]
_REPORT = ["report_val_accuracy", "report_val_low", "report_val_high"]
_CONFIRMED = ["trial", "network", *_MEANS, *_REPORT, "beats", "beaten_by", "undecided", "ties"]
CURVES = ["trial", "spike_penalty", *_MEANS]
_TWINS = ["trial", "network", "bits", *_MEANS, *_REPORT, "energy_as_spikes_mj", "verdict", "verdict_as_spikes"]
_TWIN_WINS = "THE TWIN WINS"
_GRID = 33  # energies at which two curves are compared

Row = dict[Hashable, Any]
"""A row of a table, by column, as pandas gives it: of what type a column is it does not say."""


@dataclass(frozen=True)
class Repeats:
    """Of the networks of a study; empty tables where `confirm` was not run.

    Attributes:
        runs: a row a training.
        confirmed: a row a network: means over its further seeds, on search-val and report-val; whom it really beats, is
            beaten by, ties with.
        curves: a row a network and spike penalty.
        twins: a row a quantised network; its energy with a multiplication for each number, and as integer spikes.
        findings: sentences.
    """

    runs: pd.DataFrame
    confirmed: pd.DataFrame
    curves: pd.DataFrame
    twins: pd.DataFrame
    findings: list[str]


@dataclass(frozen=True)
class _Group:
    """Trainings that differ in their seed only: accuracy in per cent, log10 energy of those that gave them."""

    accuracies: list[float]
    log_energies: list[float]
    report: list[float]
    failed: int


def read(study: Study, candidates: dict[int, Candidate], convention: Convention) -> Repeats:
    """What `confirm` left beside a study, priced under a convention."""
    log = runs.beside(study.optuna, WHAT)
    done = list(log.done().values()) if log is not None else []
    number = {c.config_id: n for n, c in candidates.items()}
    known = sorted((t for t in done if t.of in number), key=lambda t: (number[t.of], t.candidate.seed))
    if not known:
        tables = [pd.DataFrame(columns=names) for names in (_RUNS, _CONFIRMED, CURVES, _TWINS)]
        return Repeats(tables[0], tables[1], tables[2], tables[3], [])
    as_macs = dataclasses.replace(convention, counts="mac")
    table = pd.DataFrame([_run_row(number[t.of], t, _mj(t, study, convention)) for t in known], columns=_RUNS)
    own = study.space.recipe.spike_penalty

    def group(trial: int, what: str, penalty: float, how: Convention = convention) -> _Group:
        mine = [
            t for t in known if number[t.of] == trial and t.what == what and t.candidate.recipe.spike_penalty == penalty
        ]
        return _group(mine, study, how)

    trials = list(dict.fromkeys(number[t.of] for t in known))
    plain = {n: group(n, "repeat", own) for n in trials}
    confirmed, findings = _confirmed(candidates, {n: g for n, g in plain.items() if g.accuracies or g.failed})
    penalties = sorted(set(table["spike_penalty"]))
    curves = {n: {p: group(n, "repeat", p) for p in penalties} for n in trials} if len(penalties) > 1 else {}
    curve_table, separations = _curves(curves)
    twins = {
        n: group(n, "twin", own, as_macs) for n in trials if ((table["trial"] == n) & (table["what"] == "twin")).any()
    }
    spikes = {n: group(n, "twin", own) for n in twins}
    twin_table, verdicts = _twins(candidates, twins, spikes, plain, as_macs, study)
    return Repeats(table, confirmed, curve_table, twin_table, [*findings, *separations, *verdicts])


def _run_row(trial: int, trained: Trained, energy_mj: float | None) -> tuple[object, ...]:
    c = trained.candidate
    figures = (c.search_val_accuracy, c.report_val_accuracy, energy_mj)
    return (trial, trained.what, c.seed, c.recipe.spike_penalty, c.status, *figures)


def _mj(trained: Trained, study: Study, convention: Convention) -> float | None:
    """Energy that ranks, under a convention; of a twin always its own."""
    if trained.candidate.status != "complete":
        return None
    at_target = study.energy_of == "target" and trained.what == "repeat"
    size = study.target_image_size if at_target else None
    priced = repriced({0: trained.candidate}, convention, size)[0]
    return priced.ranked_mj(study.energy_of) if trained.what == "repeat" else priced.energy_mj


def _group(trained: Sequence[Trained], study: Study, convention: Convention) -> _Group:
    priced = [(t.candidate, _mj(t, study, convention)) for t in trained]
    usable = [(c, mj) for c, mj in priced if mj and c.search_val_accuracy is not None]
    return _Group(
        [100 * (c.search_val_accuracy or 0.0) for c, _ in usable],
        [math.log10(mj) for _, mj in usable],
        [100 * (c.report_val_accuracy or 0.0) for c, _ in usable],
        len(priced) - len(usable),
    )


def _means(groups: Sequence[_Group]) -> list[tuple[object, ...]]:
    """The columns `_MEANS` of each: search-val accuracy as a share, energy the geometric mean."""
    accuracies = means([g.accuracies for g in groups])
    energies = means([g.log_energies for g in groups])
    return [
        (
            len(g.accuracies),
            g.failed,
            *_shares(a),
            *(10**value for value in (e.value, e.low, e.high)),
        )
        for g, a, e in zip(groups, accuracies, energies, strict=True)
    ]


def _means_and_report(groups: Sequence[_Group]) -> list[tuple[object, ...]]:
    """The columns `_MEANS` and `_REPORT` of each."""
    report = means([g.report for g in groups])
    return [(*columns, *_shares(r)) for columns, r in zip(_means(groups), report, strict=True)]


def _shares(percent: Interval) -> tuple[float, float, float]:
    """Value and interval of an accuracy as shares: no accuracy lies below 0 or above 1, whatever Student's t says."""
    low, high = (min(max(end / 100, 0.0), 1.0) if end == end else end for end in (percent.low, percent.high))
    return percent.value / 100, low, high


def _confirmed(candidates: dict[int, Candidate], groups: dict[int, _Group]) -> tuple[pd.DataFrame, list[str]]:
    if not groups:
        return pd.DataFrame(columns=_CONFIRMED), []
    numbers = list(groups)
    verdicts = compared([groups[n].accuracies for n in numbers], [groups[n].log_energies for n in numbers])
    better: dict[int, list[int]] = {n: [] for n in numbers}
    worse: dict[int, list[int]] = {n: [] for n in numbers}
    tied: dict[int, list[int]] = {n: [] for n in numbers}
    undecided: dict[int, list[int]] = {n: [] for n in numbers}
    for (i, j), outcome in verdicts.items():
        a, b = numbers[i], numbers[j]
        if outcome in ("tie", "undecided"):
            relation = tied if outcome == "tie" else undecided
            relation[a].append(b)
            relation[b].append(a)
        elif outcome in ("first", "second"):
            first, second = (a, b) if outcome == "first" else (b, a)
            better[first].append(second)
            worse[second].append(first)
    rows = []
    for n, columns in zip(numbers, _means_and_report(list(groups.values())), strict=True):
        rows.append(
            (
                n,
                in_words(candidates[n]),
                *columns,
                *(_listed(relation[n]) for relation in (better, worse, undecided, tied)),
            )
        )
    table = pd.DataFrame(rows, columns=_CONFIRMED)
    return table, _verdict_sentences(groups, verdicts, worse, undecided, tied)


def compared(
    accuracies: Sequence[Sequence[float]], log_energies: Sequence[Sequence[float]]
) -> dict[tuple[int, int], Verdict]:
    """What can be said of every two networks with repeats."""
    by_accuracy, by_energy = differences(accuracies), differences(log_energies)
    return {pair: verdict(by_accuracy[pair], by_energy[pair]) for pair in by_accuracy if pair in by_energy}


def _listed(numbers: Sequence[int]) -> str:
    return " ".join(map(str, sorted(numbers)))


def _verdict_sentences(
    groups: dict[int, _Group],
    verdicts: dict[tuple[int, int], Verdict],
    worse: dict[int, list[int]],
    undecided: dict[int, list[int]],
    tied: dict[int, list[int]],
) -> list[str]:
    points, freedom = deviation([g.accuracies for g in groups.values()])
    decades, _ = deviation([g.log_energies for g in groups.values()])
    seeds = sorted({len(g.accuracies) for g in groups.values()})
    many = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    failed = sum(g.failed for g in groups.values())
    sentences = [
        f"More seeds: {len(groups)} networks trained anew with {many} seed(s) that the search did not use"
        + (f", {failed} of these training runs without a result" if failed else "")
        + (
            f"; between seeds search-val accuracy scatters by {points:.2f} points and energy by "
            f"{100 * (10**decades - 1):.1f} % (pooled, {freedom} degrees of freedom)."
            if freedom
            else ". Intervals need at least 2."
        )
    ]
    if not verdicts:
        return sentences
    count = Counter("winner" if outcome in ("first", "second") else outcome for outcome in verdicts.values())
    sentences.append(
        f"Of their {len(verdicts)} pairs, by search-val accuracy and energy, {count['winner']} have a real winner, "
        f"{count['trade']} trade accuracy for energy (both differences are real and point opposite ways), "
        f"{count['undecided']} are undecided (one difference is real; the other points the opposite way, but may be "
        f"chance), and {count['tie']} are ties (neither difference is real). A difference is real if it is larger than "
        f"chance explains, for all pairs together in 95 % of cases (Tukey-Kramer intervals)."
    )
    beaten = [f"trial {n} by {', '.join(map(str, sorted(by)))}" for n, by in worse.items() if by]
    if beaten:
        sentences.append(f"Really beaten: {'; '.join(beaten)}.")
    for words, relation in (("Undecided; more seeds would tell", undecided), ("Ties, which no one wins", tied)):
        later = {n: sorted(m for m in with_ if m > n) for n, with_ in relation.items()}
        pairs = [f"{n} and {', '.join(map(str, with_))}" for n, with_ in later.items() if with_]
        if pairs:
            sentences.append(f"{words}: trial {'; trial '.join(pairs)}.")
    return sentences


def _curves(curves: dict[int, dict[float, _Group]]) -> tuple[pd.DataFrame, list[str]]:
    keys = [(n, p) for n, of in curves.items() for p, g in of.items() if g.accuracies]
    if not keys:
        return pd.DataFrame(columns=CURVES), []
    columns = _means([curves[n][p] for n, p in keys])
    table = pd.DataFrame([(*key, *row) for key, row in zip(keys, columns, strict=True)], columns=CURVES)
    points, freedom = deviation([curves[n][p].accuracies for n, p in keys])
    if not freedom:
        return table, ["Curves under spike penalties are traced; two seeds each are needed to tell them apart."]
    traced = [n for n in curves if sum(1 for m, _ in keys if m == n) > 1]
    better = [
        sentence
        for a, b in itertools.combinations(traced, 2)
        if (sentence := separation(table, a, b, points, freedom)) is not None
    ]
    comparison = "; ".join(better) if better else "no two curves separate: no architecture is better at equal energy"
    return table, [f"Curves under spike penalties, compared at equal energy: {comparison}."] if len(traced) > 1 else []


def separation(curves: pd.DataFrame, a: int, b: int, points: float, freedom: int) -> str | None:
    """Where the curve of one network lies above that of the other by more than both may err, if it does anywhere.

    Between its penalties a curve is straight in accuracy over the logarithm of energy.
    """
    from scipy import stats

    lines = []
    for trial in (a, b):
        rows = curves[curves["trial"] == trial].sort_values("energy_mj")
        lines.append(
            (np.log10(rows["energy_mj"].to_numpy()), 100 * rows["search_val_accuracy"].to_numpy(), rows["seeds"].min())
        )
    low, high = max(line[0][0] for line in lines), min(line[0][-1] for line in lines)
    if not low < high or not freedom:
        return None
    grid = np.linspace(low, high, _GRID)
    difference = np.interp(grid, *lines[0][:2]) - np.interp(grid, *lines[1][:2])
    sure = float(stats.t.ppf(0.975, freedom)) * points * math.sqrt(1 / lines[0][2] + 1 / lines[1][2])
    for sign, first, second in ((1, a, b), (-1, b, a)):
        above = sign * difference > sure
        if above.any() and not (sign * difference < -sure).any():
            where = grid[above]
            ends = [10 ** float(where[i]) for i in (0, -1)]
            unit = unit_of(ends)
            return f"trial {first} above trial {second} from {unit.number(ends[0])} to {unit.text(ends[1])}"
    return None


def _twins(
    candidates: dict[int, Candidate],
    twins: dict[int, _Group],
    as_spikes: dict[int, _Group],
    plain: dict[int, _Group],
    as_macs: Convention,
    study: Study,
) -> tuple[pd.DataFrame, list[str]]:
    if not twins:
        return pd.DataFrame(columns=_TWINS), []
    rows = []
    for (n, g), columns in zip(twins.items(), _means_and_report(list(twins.values())), strict=True):
        verdicts = ["not compared: the study ranks by another energy"] * 2
        if study.energy_of == "proxy":
            verdicts = [_twin_verdict(of, plain[n]) for of in (g, as_spikes[n])]
        spikes_mj = 10 ** float(np.mean(as_spikes[n].log_energies)) if as_spikes[n].log_energies else math.nan
        width = counterpart.bits(candidates[n].config.time_steps)
        rows.append((n, in_words(candidates[n]), width, *columns, spikes_mj, *verdicts))
    table = pd.DataFrame(rows, columns=_TWINS)
    return table, _twin_sentences(table, twins, as_spikes, plain, as_macs) if study.energy_of == "proxy" else []


def _twin_sentences(
    table: pd.DataFrame,
    twins: dict[int, _Group],
    as_spikes: dict[int, _Group],
    plain: dict[int, _Group],
    as_macs: Convention,
) -> list[str]:
    """Over all of them, then how many win, lose or tie."""
    both = [n for n, g in twins.items() if g.accuracies and plain[n].accuracies]
    if not both:
        return ["Quantised twins without time: none of them and its spiking network both gave a result."]
    (report,) = means([[float(np.mean(twins[n].report) - np.mean(plain[n].report)) for n in both]])
    (chosen_by,) = means([[float(np.mean(twins[n].accuracies) - np.mean(plain[n].accuracies)) for n in both]])
    around = "" if math.isnan(report.low) else f" (95 % {report.low:+.1f} to {report.high:+.1f}, network by network)"
    times = [
        [10 ** float(np.mean(of[n].log_energies) - np.mean(plain[n].log_energies)) for n in both]
        for of in (twins, as_spikes)
    ]
    ranges = [f"{min(of):.2f} to {max(of):.2f} times the energy" for of in times]
    costs = as_macs.costs
    sentences = [
        f"Quantised twins without time, {len(both)} of them, have {report.value:+.1f} points of report-val "
        f"accuracy{around}, {chosen_by.value:+.1f} of search-val, at {ranges[0]} where each number that is not "
        f"zero costs a multiplication ({costs.pj_per_mac:g} pJ; of so few bits it costs less: --unit-costs), and "
        f"at {ranges[1]} as integer spikes ({costs.pj_per_ac:g} pJ each)."
    ]
    for words, column in (("with multiplications", "verdict"), ("as integer spikes", "verdict_as_spikes")):
        counted = Counter(outcome.partition(",")[0] for outcome in table[column])
        listed = ", ".join(f"{count} {outcome}" for outcome, count in counted.items())
        won = table[table[column].str.startswith(_TWIN_WINS)]["trial"]
        sentences.append(
            f"Twins one by one by search-val accuracy, {words}: {listed}"
            + (f". {_TWIN_WINS}: trial {', '.join(map(str, won))}." if len(won) else ".")
        )
    return sentences


def _twin_verdict(twin: _Group, spiking: _Group) -> str:
    """Whether the twin is really better, from both groups' seeds."""
    accuracy = differences([twin.accuracies, spiking.accuracies]).get((0, 1))
    log_energy = differences([twin.log_energies, spiking.log_energies]).get((0, 1))
    if accuracy is None or log_energy is None:
        return "two seeds each are needed to compare"
    words = {"first": _TWIN_WINS, "second": "the spiking network wins"}
    outcome = verdict(accuracy, log_energy)
    sure = ["" if real else " (not established)" for real in (accuracy.excludes_zero, log_energy.excludes_zero)]
    figures = (
        f"{accuracy.value:+.1f} points of search-val{sure[0]} at {10**log_energy.value:.2f} times the energy{sure[1]}"
    )
    return f"{words.get(outcome, outcome)}, {figures}"


def interval(row: Row, split: str) -> str:
    """A row's accuracy in words: "61.2 % (60.1 to 62.3)", or without an interval "61.2 %".

    Args:
        split: "report_val" or "search_val".
    """
    value, low, high = (100 * float(row[f"{split}_{name}"]) for name in ("accuracy", "low", "high"))
    if value != value:
        return "no result"
    return f"{value:.1f} %" + (f" ({low:.1f} to {high:.1f})" if low == low else "")


def energy_interval(row: Row, unit: EnergyUnit) -> str:
    """ "1.2 mJ (1.1 to 1.3)"."""
    value, low, high = (float(row[key]) for key in ("energy_mj", "energy_low_mj", "energy_high_mj"))
    if value != value:
        return "no result"
    around = f" ({unit.number(low)} to {unit.number(high)})" if low == low else ""
    return f"{unit.text(value)}{around}"


__all__ = ["CURVES", "Repeats", "Row", "compared", "energy_interval", "interval", "read", "separation"]
