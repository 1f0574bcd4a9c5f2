"""How the figures came about, and the checklist of good practice, answered from the record."""

import math
from dataclasses import dataclass

import pandas as pd

from nas.costs import Convention, MemoryModel, UnitCosts, overheads_mj, reads_counts
from nas.datasets import GIVEN
from nas.reports.repeats import Repeats
from nas.reports.units import unit_of
from nas.settings import EVENT_SPLITS
from nas.stats import pareto
from nas.studies import Spent, Study, warm_start
from nas.training import Candidate, provenance
from spikformer.fields import PlainTable


def methods(study: Study, candidates: dict[int, Candidate], convention: Convention, spent: Spent) -> list[str]:
    every = list(candidates.values())
    one = max(every, key=lambda c: c.counted_images)  # a candidate that diverged was not counted
    identity, recipe = study.identity, one.recipe
    versions = sorted({f"{name} {v}" for c in every for name, v in c.provenance["versions"].items()})
    return [
        f"{study.sample.capitalize()}s: {_data(identity)} (fingerprint {identity.get('data.images')}); "
        f"{one.train_images} to train on, {one.counted_images} for search-val, "
        f"{one.report_val_images} for report-val, {_cut(study)}, seed {one.seed}. "
        f"No test {study.sample} was read.",
        *study.account,
        f"Proxy: {recipe.epochs} epochs, {max(c.images_seen for c in every):,} {study.sample}s shown, batch "
        f"{recipe.batch_size}, AdamW, peak learning rate {recipe.learning_rate:g}, augmentation {recipe.augment}; one "
        f"seed ({one.seed}) a candidate, so differences within seed noise are not established.",
        *_rungs(study, spent),
        *_warm_start(study),
        *_energy_methods(every, convention, study.sample),
        *_first_layer(every, convention, study),
        f"Ran on {', '.join(_machines(every))} in {spent.hours:.2f} h of training and measuring; "
        f"{', '.join(versions)}; {_code(every)}.",
    ]


def hypervolume_methods(reference: pareto.Point, is_asked_for: bool, sample: str = "image") -> str:
    """Which reference point hypervolume is measured from, and where the point comes from.

    Args:
        reference: search-val accuracy in per cent and log10 energy in mJ.
        is_asked_for: whether the last search named it.
        sample: what the study's data set holds, in a word (`nas.settings.sample_of`).
    """
    accuracy, energy_mj = reference[0], 10 ** reference[1]
    origin = (
        "The last search of the study asked for this point (--hypervolume-from, or [hypervolume] in its space file)"
        if is_asked_for
        else "This point is derived from the networks: it has the highest energy and the lowest accuracy of all that "
        "were trained in full and keep the limits, where an accuracy far below the others does not count"
    )
    return (
        f"Hypervolume is measured from the reference point of {accuracy:.1f} % of search-val accuracy and "
        f"{unit_of([energy_mj]).text(energy_mj)} per {sample}. {origin}."
    )


def _data(identity: PlainTable) -> str:
    """The data set, and of recordings the split into training and test by which it is known."""
    dataset = str(identity.get("data.dataset"))
    split = identity.get("data.split") or next(iter(EVENT_SPLITS.get(dataset, ())), "")
    return f'{dataset}, split "{split}"' if split else dataset


def _cut(study: Study) -> str:
    """Recordings may be cut by subject, which the account says; images of a class are always spread over the parts."""
    given = study.identity.get("data.dataset") == GIVEN
    cut = f"{'given apart or ' if given else ''}cut from the training {study.sample}s"
    return cut if study.space.data.has_events else f"{cut}, stratified"


def _machines(candidates: list[Candidate]) -> list[str]:
    """Devices with their processors and threads; records of earlier versions name fewer of these."""
    words = set()
    for candidate in candidates:
        record = candidate.provenance
        threads = record.get("threads")
        details = [record.get("processor"), f"{threads} thread(s)" if threads is not None else None]
        named = ", ".join(filter(None, details))
        words.add(f"{record['device']} ({named})" if named else str(record["device"]))
    return sorted(words)


def _code(candidates: list[Candidate]) -> str:
    """The commits or versions that trained them."""
    return ", ".join(sorted({provenance.code_of(c.provenance) for c in candidates})) or "nothing ran yet"


def _rungs(study: Study, spent: Spent) -> list[str]:
    shares = study.identity.get("recipe.rungs", [1.0])
    if len(shares) == 1:
        return []
    steps = [f"{n} on {share:.0%} of these {study.sample}s" for n, share in zip(spent.networks, shares, strict=False)]
    return [
        f"Rungs: {', '.join(steps)}, each a training of its own with a whole schedule; {spent.images:,} "
        f"{study.sample}s in all. Which networks went on was decided by their search-val accuracy and energy. Only "
        f"those trained on all {study.sample}s can be on the front."
    ]


def _warm_start(study: Study) -> list[str]:
    sources = warm_start.sources_of(study)
    if not sources:
        return []
    named = "; ".join(source.sentence for source in sources)
    return [
        f"Warm start: the searcher knew {named}. None of their results is one of this study: its front, its budget and "
        "its hypervolume are of its own trainings."
    ]


def _energy_methods(candidates: list[Candidate], convention: Convention, sample: str) -> list[str]:
    costs = convention.costs
    errors = [c.energy_error for c in candidates if c.energy_error is not None]
    complete = [c for c in candidates if c.status == "complete"]
    sure = f"; its standard error over {sample}s is at most {100 * max(errors):.2f} %" if errors else ""
    sentences = [
        f"Energy, convention '{convention.label}' (docs/costs.md): {costs.pj_per_ac:g} pJ an accumulate, "
        f"{costs.pj_per_mac:g} pJ a multiplication with its addition ({costs.source}), priced from the operations "
        f"counted on all search-val {sample}s{sure}. The spread between seeds is larger (`confirm` measures it). An "
        "estimate of arithmetic, not a measurement of a chip.",
    ]
    if complete:
        shares = [_overhead_share(c, costs) for c in complete if c.energy_mj]
        sentences.append(
            "Not in it: neuron updates (a multiplication and an addition each), residual additions and pool "
            f"comparisons would add {100 * min(shares):.0f} to {100 * max(shares):.0f} %; batch norm folds; memory "
            "accesses are not in it either."
        )
    return sentences


_COUNTS = {
    "events": "a count of n costs as much as n spikes",
    "single": "a count that is not 0 costs as much as one spike",
    "mac": "a count that is not 0 costs a multiplication with its addition",
}


def _first_layer(candidates: list[Candidate], convention: Convention, study: Study) -> list[str]:
    """What the first layer of networks for frames of events is fed, and what that costs."""
    if not study.space.data.has_events:
        return []
    counted = [c for c in candidates if c.operations]
    if any(not reads_counts(c.operations) for c in counted):
        what = "frames that were resized, which are real numbers: each costs a multiplication with its addition"
    elif convention.exact:
        what = f"counts of events: where it meets a weight, {_COUNTS[convention.counts]}"
    elif convention.counts == "mac":
        what = "counts of events: this convention prices the whole layer as dense multiplications with their additions"
    else:
        what = "counts of events: this convention prices the mean count times the dense accumulates"
    return [
        f"Energy is that of a recording, which is all T of its frames. The first layer computes each frame anew. It is "
        f"fed {what} (docs/events.md)."
    ]


def memory_methods(trials: pd.DataFrame, memory: MemoryModel) -> list[str]:
    """What memory accesses would add, from the columns of the table of networks."""
    complete = trials[(trials["status"] == "complete") & (trials["energy_mj"] > 0)]
    if complete.empty:
        return []
    shares = complete["memory_mj"] / complete["energy_mj"]
    return [
        f"Columns memory_*: accesses by {memory.name}: {memory.summary}. They would be {shares.min():.1f} to "
        f"{shares.max():.1f} times the headline; not in it."
    ]


def _overhead_share(candidate: Candidate, costs: UnitCosts) -> float:
    extra_mj = overheads_mj(candidate.overheads, candidate.counted_images, costs)
    return extra_mj / (candidate.energy_mj or math.inf)


@dataclass(frozen=True)
class Check:
    """A point of the checklist: `answer` is "yes", "no", "partly" or "not recorded", `evidence` what it rests on."""

    question: str
    answer: str
    evidence: str


def checklist(
    study: Study, candidates: dict[int, Candidate], repeats: Repeats, compared: list[Study], spent: Spent
) -> list[Check]:
    """Lindauer & Hutter, "Best Practices for Scientific Research on Neural Architecture Search", JMLR 2020.

    In our words, and as far as the record answers them.
    """
    return [
        *_checks_of_code(study, list(candidates.values())),
        *_checks_of_comparisons(study, compared, spent),
        *_checks_of_seeds(repeats),
        *_checks_of_effort(study, spent),
    ]


def _checks_of_code(study: Study, candidates: list[Candidate]) -> list[Check]:
    """Whether all networks were trained alike, and can be again."""
    commits = sorted({str(c.provenance["commit"]) for c in candidates})
    machines = _machines(candidates)
    changed = any(commit.endswith("+") or commit == "None" for commit in commits)
    retrained = {full.trial for full in study.full_trainings}
    nothing = not candidates
    return [
        Check(
            "Can the search and the training be run again: code, space, settings, seeds?",
            "not recorded" if nothing else "partly" if changed else "yes",
            _code(candidates)
            + (", a working tree with changes of its own or no clone" if changed else "")
            + f"; space, data, recipe and seed {study.seed} are stored with the study",
        ),
        Check(
            f"Were all candidates trained alike: {study.sample}s, recipe, code?",
            "not recorded" if nothing else "yes" if len(commits) == 1 else "partly",
            f"one space, one cut of the {study.sample}s and one recipe, which a study refuses to change; "
            f"{len(commits)} commit(s)",
        ),
        Check(
            "Is hardware the same for all, and named?",
            "not recorded" if nothing else "yes" if len(machines) == 1 else "partly",
            ", ".join(machines) or "nothing ran yet",
        ),
        Check(
            "Were the final networks trained by the full recipe, and their test accuracy told?",
            "yes" if retrained else "no",
            f"{len(retrained)} networks of this study, by `train --study`" if retrained else "export, train --study",
        ),
        Check(
            f"Was nothing chosen by test {study.sample}s?",
            "yes",
            "a search cannot open them; report-val chooses nothing",
        ),
    ]


def _checks_of_comparisons(study: Study, compared: list[Study], spent: Spent) -> list[Check]:
    """Whether the search method was held against others."""
    random = [other.name for other in compared if _is_random(other)]
    same = not any(study.trained_otherwise(other) for other in compared)
    return [
        Check(
            "Is there a random search beside it, on equal terms?",
            "yes" if random and same else "no",
            f"{', '.join(random)}, by --compare" if random else "search --sampler RandomSampler, report --compare",
        ),
        Check(
            "Is there an ablation of the search method?",
            "partly" if compared and not random else "no",
            f"compared with {', '.join(other.name for other in compared)}" if compared else "not for this study",
        ),
        Check(
            "Is performance told over time, not only at the end?",
            "yes" if spent.images else "no",
            f"hypervolume against trained {study.sample}s, above",
        ),
    ]


def _checks_of_seeds(repeats: Repeats) -> list[Check]:
    """Whether chance was measured."""
    seeds = repeats.confirmed["seeds"].max() if not repeats.confirmed.empty else 0
    return [
        Check(
            "Was the search itself run more than once?",
            "no",
            "one study is one run; several seeds are several studies, which --compare sets side by side",
        ),
        Check(
            "Were the networks trained with several seeds?",
            "yes" if seeds > 1 else "no",
            f"{len(repeats.confirmed)} networks, {int(seeds)} further seeds" if seeds else "confirm",
        ),
    ]


def _checks_of_effort(study: Study, spent: Spent) -> list[Check]:
    """What it took to come to these networks."""
    samplers = {str(t.user_attrs.get("proposed_by")) for t in study.optuna.get_trials(deepcopy=False)}
    return [
        Check(
            "How were the settings of search and recipe chosen, and at what cost?",
            "not recorded",
            "they stand in the space file; what was tried before it is known to its author only",
        ),
        Check(
            "What did it cost from end to end?",
            "yes" if spent.images else "no",
            f"{spent.images:,} {study.sample}s, {spent.hours:.2f} h of training and measuring; repeats and full "
            "training runs apart",
        ),
        Check(
            "Who proposed networks?",
            "yes" if samplers - {"None"} else "not recorded",
            ", ".join(sorted(samplers - {"None"})) or "nothing proposed yet",
        ),
    ]


def _is_random(study: Study) -> bool:
    """Whether chance proposed its networks; which of them go on to the next rung the searcher always decides."""
    every = study.optuna.get_trials(deepcopy=False)
    new = {t.user_attrs.get("proposed_by") for t in every if t.user_attrs.get("rung", 0) == 0}
    return "RandomSampler" in new and "searcher" not in new


__all__ = ["Check", "checklist", "hypervolume_methods", "memory_methods", "methods"]
