"""From a study to its report: tables, sentences, and what the pages and figures are drawn from."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from rich.table import Table
from rich.text import Text

from nas.costs import MEASURED, Activity, Chip, Convention, MemoryModel
from nas.datasets import tells_imbalance
from nas.errors import StudyError
from nas.reports import axes, findings, layer_costs, repeats, rows
from nas.reports.layer_costs import Costs
from nas.reports.methods import Check, checklist, hypervolume_methods, memory_methods, methods
from nas.reports.repeats import Repeats, Row
from nas.reports.units import EnergyUnit, unit_of
from nas.settings import Constraints
from nas.stats import pareto
from nas.studies import ShownFrames, Study, networks, preview
from nas.training import Candidate, in_si, ranking
from spikformer.config import SpikformerConfig


@dataclass(frozen=True)
class Member:
    """A network of the front: where its energy goes, and how often its neurons fire.

    Attributes:
        activity: by neuron layer; empty in records of earlier versions.
    """

    trial: int
    config: SpikformerConfig
    costs: Costs
    silent_layers: tuple[str, ...]
    activity: dict[str, Activity]


@dataclass(frozen=True)
class Compared:
    """Another study, in the same frame.

    Attributes:
        trajectory: see `nas.reports.rows.trajectory_table`, from the reference point that all share.
        differs: settings of data and training that are otherwise; then accuracies do not compare.
    """

    name: str
    front: pd.DataFrame
    trajectory: pd.DataFrame
    hypervolume: float
    images: int
    differs: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What a study says.

    Attributes:
        study: its name.
        convention: under which energy is priced and the front taken.
        energy: column by which the front is taken, such as "energy_mj" (`nas.training.ranking`).
        trials: a row a candidate, by trial number.
        front: the rows that no other beats in search-val accuracy and energy, by rising energy.
        knee: trial of the front from which on more energy buys little; None without a front.
        hypervolume: of the front, in points of search-val accuracy times decades of energy, from `reference_point`.
        reference_point: the one that the last search asked for, or else that of all that is shown
            (`nas.stats.pareto`): search-val accuracy in per cent, log10 energy in mJ.
        importance, effects, importance_basis: see `nas.reports.axes`.
        findings: sentences.
        methods: sentences on how the figures were obtained.
        rungs, trajectory, statuses: see `nas.reports.rows`.
        repeats: what `confirm` left.
        members: of the front.
        compared: other studies.
        constraints: what the last search asked for.
        checks: the checklist.
        running: trainings that are under way.
        changed: when the last training ended.
        imbalanced: whether classes differ so much in size that balanced accuracy is shown too.
        images: what it was searched on, in words.
        sample: one of these, in a word: "image" or "recording".
        preview: frames of some recordings; empty where there are only images.
        files: those that were written of it.
    """

    study: str
    convention: str
    energy: str
    trials: pd.DataFrame
    front: pd.DataFrame
    findings: list[str]
    methods: list[str]
    knee: int | None = None
    hypervolume: float | None = None
    reference_point: pareto.Point | None = None
    rungs: pd.DataFrame = field(default_factory=pd.DataFrame)
    trajectory: pd.DataFrame = field(default_factory=pd.DataFrame)
    statuses: pd.DataFrame = field(default_factory=pd.DataFrame)
    importance: pd.DataFrame = field(default_factory=pd.DataFrame)
    effects: pd.DataFrame = field(default_factory=pd.DataFrame)
    importance_basis: str = ""
    repeats: Repeats | None = None
    members: tuple[Member, ...] = ()
    compared: tuple[Compared, ...] = ()
    constraints: Constraints = field(default_factory=Constraints)
    checks: tuple[Check, ...] = ()
    running: int = 0
    changed: str = ""
    imbalanced: bool = False
    images: str = ""
    sample: str = "image"
    preview: tuple[ShownFrames, ...] = ()
    files: tuple[Path, ...] = ()

    def table(self) -> Table:
        """The front for a terminal."""
        table = Table(title=Text(f"Pareto front of {self.study}"), title_justify="left")
        for heading in front_headings(self):
            table.add_column(heading, justify="left" if heading == "network" else "right")
        for cells in front_cells(self):
            table.add_row(*map(Text, cells))
        return table

    @property
    def fed(self) -> str:
        """What networks are shown, in a word."""
        return "frames" if self.sample == "recording" else self.sample

    @functools.cached_property
    def unit(self) -> EnergyUnit:
        """In which energies of the front are written, and on the axes of its figures."""
        table = self.front if not self.front.empty else self.trials[self.trials["status"] == "complete"]
        return unit_of(table[self.energy])

    @functools.cached_property
    def means(self) -> dict[int, Row]:
        """Rows of `repeats.confirmed` that have an interval, by trial, to quote instead of the search's."""
        rows = self.repeats.confirmed.to_dict("records") if self.repeats is not None else []
        return {row["trial"]: row for row in rows if not math.isnan(row["report_val_low"])}

    def quoted(self, row: Row) -> Row:
        """The figures to quote of a row of `front` or `trials`: means over further seeds, where there are any.

        `report_val_accuracy` with `report_val_low` and `report_val_high`, the `energy_mj` by which the study ranks, and
        `seeds`, the number of trainings behind them.
        """
        return self.means.get(row["trial"]) or row | {"energy_mj": row[self.energy], "seeds": 1}


def front_headings(report: Report) -> tuple[str, ...]:
    energy = ranking.words_of(report.energy)
    balanced = ("report-val, balanced",) if report.imbalanced else ()
    return "trial", "report-val", *balanced, "search-val", energy, "spike operations", "parameters", "network"


def front_cells(report: Report) -> list[list[str]]:
    """Report-val accuracy stands first. It and energy are means of further seeds, with an interval, where there are."""
    unit = report.unit
    return [
        [
            str(row["trial"]),
            repeats.interval(report.means[row["trial"]], "report_val")
            if row["trial"] in report.means
            else f"{100 * row['report_val_accuracy']:.1f} %",
            *([_share(row["report_val_balanced"])] if report.imbalanced else []),
            f"{100 * row['search_val_accuracy']:.1f} %",
            unit.text(report.quoted(row)["energy_mj"]),
            in_si(row["spike_operations"], "").strip(),
            f"{row['parameters']:,}",
            row["network"],
        ]
        for row in report.front.to_dict("records")
    ]


def _share(value: float | None) -> str:
    """ "61.2 %"; of a record of an earlier version nothing."""
    return "" if value is None or math.isnan(value) else f"{100 * value:.1f} %"


def build(
    study: Study,
    convention: Convention = MEASURED,
    chip: Chip | None = None,
    memory: MemoryModel | None = None,
    *,
    compare: Sequence[Study] = (),
) -> Report:
    """Read a study into tables and sentences, its energies priced anew from the counts in its records.

    Safe while a search runs; of a study without a finished candidate the report says so.

    Args:
        chip: a model whose energy, latency and fit become columns of their own.
        memory: a model of memory whose terms become columns of their own.
        compare: studies to be drawn beside it.

    Raises:
        CostError: a record without counts, or a model of a chip that fails.
        StudyError: a study to compare with that ranks by another energy.
    """
    snapshot = study.snapshot()
    stored, spent = study.candidates_in(snapshot), study.spent_in(snapshot)
    priced = networks.price(study, stored, convention)
    candidates, broken, front = priced.candidates, priced.broken, priced.front
    column = ranking.column_of(study.energy_of)
    trainings = study.trainings_in(snapshot)
    trials = networks.table(study, priced, convention, chip, trainings, memory)
    points = rows.points_of(trials, column)
    reference, compared = _in_one_frame(study, compare, convention, points, column)
    importance, effects, basis = axes.importance(trainings, study.sample)
    again = repeats.read(study, candidates, convention)
    front_table = trials.set_index("trial", drop=False).loc[front].reset_index(drop=True)
    report = Report(
        study=study.name,
        convention=convention.label,
        energy=column,
        trials=trials,
        front=front_table,
        findings=_findings(study, stored, candidates, broken, trials, front_table, column, reference, convention),
        methods=methods(study, candidates, convention, spent) if candidates else [],
        knee=_knee(front, points),
        hypervolume=pareto.hypervolume(list(points.values()), reference) if reference is not None else None,
        reference_point=reference,
        rungs=rows.rungs_table(trainings),
        trajectory=rows.trajectory_table(trainings, points, reference),
        statuses=rows.statuses_table(trials),
        importance=importance,
        effects=effects,
        importance_basis=basis,
        repeats=again,
        members=tuple(_member(study, n, candidates[n], convention) for n in front),
        compared=compared,
        constraints=study.constraints,
        checks=tuple(checklist(study, candidates, again, list(compare), spent)),
        running=len(snapshot.running),
        imbalanced=tells_imbalance(study.account),
        images=_images_in_words(study, stored),
        sample=study.sample,
        preview=preview.kept_by(study),
        changed=max((t.ended.isoformat(" ", "seconds") for t in trainings if t.ended is not None), default=""),
    )
    against = [layer_costs.comparisons(candidates[n].counts, convention, memory) for n in front]
    report.findings.extend([*again.findings, *findings.against_quantised(against), *_against_others(report)])
    if chip is not None and stored:
        _add_chip(report, stored, chip)
    if reference is not None:
        report.methods.append(hypervolume_methods(reference, study.hypervolume_from is not None, study.sample))
    if memory is not None:
        report.methods.extend(memory_methods(trials, memory))
    return report


def _findings(
    study: Study,
    stored: dict[int, Candidate],
    candidates: dict[int, Candidate],
    broken: dict[int, list[str]],
    trials: pd.DataFrame,
    front: pd.DataFrame,
    column: str,
    reference: pareto.Point | None,
    convention: Convention,
) -> list[str]:
    if trials.empty:
        return [f"Study {study.name} has no finished candidate yet."]
    complete = trials[(trials["status"] == "complete") & trials[column].notna()]
    sentences = [findings.counts(trials), *findings.constrained(study, trials)]
    if complete.empty:
        sentences.append("No candidate is trained in full yet: there is no front.")
    if not front.empty and reference is not None:
        feasible = complete[complete["constraints"] == ""]
        sentences += findings.aimed_at(study, front, column)
        sentences += [findings.optimism(complete, front), *findings.against_size(feasible, front, column, reference)]
        sentences += findings.against_target(stored)
    if convention != MEASURED:
        feasible_of = [{n: c for n, c in of.items() if not broken[n]} for of in (stored, candidates)]
        sentences += findings.against_measured(feasible_of[0], feasible_of[1], study.energy_of, convention)
    return sentences + findings.trained_in_full(study, stored)


def _knee(front: Sequence[int], points: dict[int, pareto.Point]) -> int | None:
    return front[pareto.knee([points[n] for n in front])] if front else None


def _member(study: Study, number: int, candidate: Candidate, convention: Convention) -> Member:
    costs = layer_costs.costs_of(f"{study.name}, trial {number}", candidate, convention, study.sample)
    return Member(number, candidate.config, costs, tuple(candidate.silent_layers), candidate.activity)


def _add_chip(report: Report, stored: dict[int, Candidate], chip: Chip) -> None:
    report.findings.append(findings.on_chip(stored, report.trials, chip))
    report.methods.append(f'Columns chip_*: the model "{chip.name}", of the same counts. {chip.summary}'.strip())


_Other = tuple[pd.DataFrame, dict[int, pareto.Point]]


def _images_in_words(study: Study, stored: Mapping[int, Candidate]) -> str:
    """Such as "digits of 8 x 8 pixels"."""
    name = str(study.identity.get("data.dataset", "images")).replace("_", " ")
    size = next((c.config.stem.image_size for c in stored.values()), None)
    return f"{name} of {size} x {size} pixels" if size else name


def _in_one_frame(
    study: Study, compare: Sequence[Study], convention: Convention, points: dict[int, pareto.Point], column: str
) -> tuple[pareto.Point | None, tuple[Compared, ...]]:
    """The reference point of the study, or of all studies together if it asked for none, and the others from it."""
    others = [_other(study, other, convention) for other in compare]
    everywhere = [*points.values(), *(point for _, its in others for point in its.values())]
    reference = study.reference_point(everywhere) if everywhere else None
    return reference, tuple(
        _compared(study, other, frame, reference, column) for other, frame in zip(compare, others, strict=True)
    )


def _other(study: Study, other: Study, convention: Convention) -> _Other:
    if other.energy_of != study.energy_of:
        raise StudyError(
            f"study {other.name} ranks by the energy of the {other.energy_of}, {study.name} by that of the "
            f"{study.energy_of}, so their fronts cannot be compared. Leave out study {other.name}"
        )
    column = ranking.column_of(study.energy_of)
    priced = networks.price(other, other.candidates, convention)
    trials = networks.table(other, priced, convention, None, other.trainings)
    return trials, rows.points_of(trials, column)


def _compared(study: Study, other: Study, frame: _Other, reference: pareto.Point | None, column: str) -> Compared:
    trials, points = frame
    front = trials[trials["on_front"].astype(bool)].sort_values(column, ignore_index=True)
    return Compared(
        other.name,
        front,
        rows.trajectory_table(other.trainings, points, reference),
        pareto.hypervolume(list(points.values()), reference) if reference is not None else 0.0,
        other.spent.images,
        study.trained_otherwise(other),
    )


def _against_others(report: Report) -> list[str]:
    if not report.compared or report.hypervolume is None:
        return []
    others = [
        f"{other.name} {other.hypervolume:.2f} with {other.images:,} {report.sample}s"
        + (f" (NOT comparable: {', '.join(other.differs[:3])} differ)" if other.differs else "")
        for other in report.compared
    ]
    return [
        f"Hypervolume, points of search-val accuracy times decades of energy from one reference point for all: "
        f"{report.study} "
        f"{report.hypervolume:.2f}; {'; '.join(others)}."
    ]


__all__ = ["Compared", "Member", "Report", "build", "front_cells", "front_headings"]
