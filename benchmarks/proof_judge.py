"""The verdicts of a proof, from the files alone that its runs kept: proof.json holds every number of docs/proof.md."""

import csv
import dataclasses
import hashlib
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from header import header
from proof_full import FullTraining, evaluated_at, trainings
from proof_measures import (
    Curve,
    Measured,
    Noise,
    Points,
    accuracy_gain,
    difference,
    energy_gain,
    verdict,
    verdict_of_all,
    verdict_within,
    volume,
)
from proof_networks import Network, chosen_pairs, confirmed, published_and_found
from proof_plan import finished, stored
from proof_studies import STUDIES, Proof, opened

import nas
from nas import files
from nas.costs import MEASURED
from nas.reports import repeats
from nas.stats import Interval, bootstrapped, pareto
from nas.stats.intervals import kendall

RESULT = "proof.json"
POINTS, FACTOR = 1.0, 1.25  # margins of C1 and C2
MOST_OPTIMISM = 3.0  # points, of C5
COMPARED = ("search", "random", "ladder")  # at equal images
Document = dict[str, Any]


def judge(proof: Proof, claims: str) -> Document:
    """Read what is kept, and write what it says.

    Args:
        claims: a digest of the page's claims as they are now.

    Raises:
        SystemExit: the stages up to `confirm` are not finished: some of the networks would say something else than all.
    """
    planned, stages = stored(proof), finished(proof)
    lacking = [name for name in STUDIES if name not in stages]
    if lacking:
        raise SystemExit(f"{proof.kept} has no finished stage {', '.join(lacking)}. Run it first, with --stage")
    with tempfile.TemporaryDirectory() as folder:
        document = _document(dataclasses.replace(proof, results=Path(folder)))
    document = {"claims_as_planned": planned["claims"] == claims, "begun": planned["header"], **document}
    document["stages"] = stages
    text = json.dumps(document, indent=1) + "\n"
    files.write(proof.kept / RESULT, lambda partial: partial.write_text(text))
    return document


def digest(claims: str) -> str:
    """Of the text of the claims."""
    return hashlib.sha256(claims.encode()).hexdigest()[:16]


def _document(proof: Proof) -> Document:
    published, found = published_and_found(proof)
    fronts = {name: confirmed(opened(proof, name), proof.seeds) for name in proof.studies()}
    noise = Noise([network.report for front in fronts.values() for network in front])
    return {
        "judged": header("python benchmarks/proof.py --stage judge").splitlines(),
        "studies": {name: _study(opened(proof, name), fronts[name]) for name in fronts},
        "noise": {"accuracy_sd": _number(noise.accuracy_sd), "log10_energy_sd": _number(noise.energy_sd)}
        | {"degrees_of_freedom": noise.freedom},
        "networks": [_network(n, found, published) for front in fronts.values() for n in front],
        "C1": _claim_1(found, published, noise),
        "C2": _claim_2(found, published, noise),
        "C3": _observation_3(proof, fronts, noise),
        "C4": _claim_4(proof),
        "C5": _claim_5(found, published),
        "C6": _counterparts(opened(proof, "search")),
        "evaluated": _evaluated(proof),
    }


def _study(study: nas.Study, front: Sequence[Network]) -> Document:
    spent = study.spent
    return {
        "networks": len(study.candidates),
        "in_full": sum(c.status == "complete" for c in study.candidates.values()),
        "images": spent.images,
        "hours": spent.hours,
        "front": len(study.front()),
        "confirmed": len(front),
    }


def _network(network: Network, found: Sequence[Network], published: Sequence[Network]) -> Document:
    accuracy, energy = network.report.point
    groups = {"found": found, "published": published}
    own = next((name for name, group in groups.items() if network in group), "other")
    return {
        "study": network.study,
        "trial": network.trial,
        "network": network.words,
        "config_id": network.chosen.config_id,
        "group": own,
        "search_val": 100 * (network.chosen.search_val_accuracy or 0.0),
        "accuracies": list(network.report.accuracies),
        "accuracy": accuracy,
        "energy_mj": 10**energy,
    }


def _claim_1(found: Sequence[Network], published: Sequence[Network], noise: Noise) -> Document:
    def median(first: Points, second: Points) -> float:
        return accuracy_gain(first, second).median

    interval = noise.interval(median, _reports(found), _reports(published))
    curve = accuracy_gain(_points(found), _points(published))
    covered = {"from_mj": _number(10**curve.low), "to_mj": _number(10**curve.high)} if curve.values else {}
    return _decided(interval, POINTS) | _spread(curve) | covered


def _claim_2(found: Sequence[Network], published: Sequence[Network], noise: Noise) -> Document:
    def median(first: Points, second: Points) -> float:
        return 10 ** energy_gain(first, second).median

    interval = noise.interval(median, _reports(found), _reports(published))
    curve = energy_gain(_points(found), _points(published))
    factors = dataclasses.replace(curve, values=tuple(10**value for value in curve.values))
    covered = {"from": curve.low, "to": curve.high} if curve.values else {}
    return _decided(interval, FACTOR) | _spread(factors, one=1.0) | covered


def _reports(networks: Sequence[Network]) -> list[Measured]:
    return [network.report for network in networks]


def _points(networks: Sequence[Network]) -> list[pareto.Point]:
    return [network.report.point for network in networks]


def _decided(interval: Interval, margin: float) -> Document:
    return {"margin": margin, "verdict": verdict(interval, margin)} | _plain(interval)


def _plain(interval: Interval) -> Document:
    return {"value": _number(interval.value), "low": _number(interval.low), "high": _number(interval.high)}


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def _spread(curve: Curve, one: float = 0.0) -> Document:
    """The smallest and the largest difference, and the share of the axis with an advantage.

    Args:
        one: the value of no advantage.
    """
    if not curve.values:
        return {"smallest": None, "largest": None, "share_better": None}
    shifted = dataclasses.replace(curve, values=tuple(value - one for value in curve.values))
    return {"smallest": min(curve.values), "largest": max(curve.values), "share_better": shifted.share_above_zero}


def _observation_3(proof: Proof, fronts: dict[str, list[Network]], noise: Noise) -> Document:
    """Hypervolume of three studies with equal images, and the search less each of the others."""
    every = [c for name in COMPARED for c in opened(proof, name).candidates.values() if c.point() is not None]
    reference = pareto.reference_point(
        [(100 * (c.report_val_accuracy or 0.0), math.log10(c.energy_mj or math.nan)) for c in every]
    )
    sets = {name: _reports(fronts[name]) for name in COMPARED}

    def of(points: Points) -> float:
        return volume(points, reference)

    def less(first: Points, second: Points) -> float:
        return of(first) - of(second)

    return {
        "reference_accuracy": reference[0],
        "reference_mj": 10 ** reference[1],
        "hypervolumes": {name: _plain(noise.interval(of, own)) for name, own in sets.items()},
        "differences": {
            name: _plain(noise.interval(less, sets["search"], own)) for name, own in sets.items() if name != "search"
        },
    }


def _claim_4(proof: Proof) -> Document:
    """Test accuracies of the pairs; undecided where a training is missing."""
    done = {training.network.chosen.config_id: _tested(proof, training.network) for training in trainings(proof)}
    whole = {identity: tested for identity, tested in done.items() if len(tested.accuracies) == proof.seeds}
    noise, rows = Noise(list(whole.values())), []
    for found, partner in chosen_pairs(proof):
        sets = [whole.get(network.chosen.config_id) for network in (found, partner)]
        interval = Interval(math.nan)
        if sets[0] is not None and sets[1] is not None:
            interval = noise.interval(difference, [sets[0]], [sets[1]])
        decided = verdict(interval, 0.0, strict=True)
        row = {"verdict": decided, "found": _trained(found, done), "published": _trained(partner, done)}
        rows.append(row | _plain(interval) | {"needs_more_energy": found.report.point[1] > partner.report.point[1]})
    tau = _rank_survival(proof, whole)
    return {"verdict": verdict_of_all([row["verdict"] for row in rows]), "pairs": rows, "tau": _number(tau)}


def _rank_survival(proof: Proof, tested: dict[str, Measured]) -> float:
    """Kendall's tau between report-val and test accuracies of the networks that were trained in full."""
    networks = {n.chosen.config_id: n for pair in chosen_pairs(proof) for n in pair if n.chosen.config_id in tested}
    if len(networks) < 2:
        return math.nan
    return kendall([n.report.point[0] for n in networks.values()], [tested[i].point[0] for i in networks])


def _tested(proof: Proof, network: Network) -> Measured:
    """Test accuracies of the seeds whose trainings are done."""
    every = [FullTraining.of(proof, network, seed) for seed in proof.further_seeds]
    results = [training.result() for training in every if training.is_done]
    accuracies = tuple(100 * float(str(result["test_top1"])) for result in results)
    return Measured(accuracies, (), int(str(results[0]["test_images"])) if results else 0)


def _trained(network: Network, done: dict[str, Measured]) -> Document:
    accuracies = done[network.chosen.config_id].accuracies
    confirmed_accuracy, energy = network.report.point
    return {
        "network": network.words,
        "study": network.study,
        "trial": network.trial,
        "confirmed": confirmed_accuracy,
        "energy_mj": 10**energy,
        "parameters": network.chosen.parameters,
        "test": list(accuracies),
        "test_mean": float(np.mean(accuracies)) if accuracies else None,
    }


def _claim_5(found: Sequence[Network], published: Sequence[Network]) -> Document:
    chosen_by = [_by_search_val(network) for network in found]
    gaps = np.array([chosen[0] - n.report.point[0] for chosen, n in zip(chosen_by, found, strict=True)])
    interval = Interval(math.nan)
    if len(found) > 1:
        interval = bootstrapped(lambda i: float(gaps[i].mean()), len(gaps))
    rivals = [_by_search_val(network) for network in published]
    return {
        "verdict": verdict_within(interval, 0.0, MOST_OPTIMISM),
        **_plain(interval),
        "C1_by_search_val": _number(accuracy_gain(chosen_by, rivals).median),
        "C2_by_search_val": _number(10 ** energy_gain(chosen_by, rivals).median),
    }


def _by_search_val(network: Network) -> pareto.Point:
    """Accuracy on search-val and energy of the training that chose it."""
    chosen = network.chosen
    return 100 * (chosen.search_val_accuracy or 0.0), math.log10(chosen.energy_mj or math.nan)


def _counterparts(study: nas.Study) -> list[Document]:
    """Quantised counterparts beside their spiking networks, as a report shows them."""
    read = repeats.read(study, study.candidates, MEASURED)
    spiking = {int(row["trial"]): row for row in read.confirmed.to_dict("records")}
    rows = []
    for twin in read.twins.to_dict("records"):
        own = spiking.get(int(twin["trial"]))
        if own is not None:
            rows.append(
                {
                    "trial": int(twin["trial"]),
                    "network": str(twin["network"]),
                    "bits": int(twin["bits"]),
                    "seeds": int(twin["seeds"]),
                    "points": _number(100 * (twin["report_val_accuracy"] - own["report_val_accuracy"])),
                    "energy_multiplied": _number(twin["energy_mj"] / own["energy_mj"]),
                    "energy_as_spikes": _number(twin["energy_as_spikes_mj"] / own["energy_mj"]),
                }
            )
    return rows


def _evaluated(proof: Proof) -> list[Document]:
    """Trained networks at other numbers of time steps and other image sizes."""
    rows = []
    for training in trainings(proof):
        path = evaluated_at(proof, training)
        if path.exists():
            for row in csv.DictReader(path.read_text().splitlines()):
                figures = {"accuracy": 100 * float(row["top1"]), "energy_mj": float(row["energy_mj"] or "nan")}
                rows.append(
                    {"network": training.network.words, "trained_at": training.network.chosen.config.time_steps}
                    | {"time_steps": int(row["time_steps"]), "image_size": int(row["image_size"])}
                    | {name: _number(value) for name, value in figures.items()}
                )
    return rows
