"""What the trainings of a validation say: agreement of ranks, recall, noise, and whether a proxy may prune."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nas.costs import energy
from nas.replicates.validation import Validation
from nas.searching import reductions
from nas.stats import Interval, bootstrapped, deviation, recall, tau_interval
from nas.training import Candidate

GATE_TAU, GATE_RECALL = 0.6, 0.8  # lower bounds that a proxy must pass before it may prune


@dataclass(frozen=True)
class Quality:
    """How a cheap training ranks networks, beside the dear one.

    Attributes:
        share: of the dear training.
        tau: of accuracy, overall.
        tau_within: the same, of pairs within a third of cost only.
        tau_thirds: in each third of cost.
        tau_top: among the third that is best in the end.
        tau_energy: of energy, by convention.
        recall: of the final front among those that would go on, by convention of the energy.
        passes: whether it may prune.
    """

    share: float
    tau: Interval
    tau_within: Interval
    tau_thirds: tuple[Interval, ...]
    tau_top: Interval
    tau_energy: dict[str, Interval]
    recall: dict[str, Interval]
    passes: bool


@dataclass(frozen=True)
class Noise:
    """What another seed does in full: how far any proxy could agree.

    Attributes:
        networks: that were trained twice.
        tau: between the two seeds.
        deviation: of accuracy between seeds.
        flips: pairs that another learning rate orders otherwise, beyond twice the deviation of a difference, and all.
    """

    networks: int
    tau: Interval
    deviation: float
    flips: dict[float, tuple[int, int]]


def thirds(validation: Validation) -> list[int]:
    """Class of cost of each network: 0 to 2."""
    order = np.argsort([network.macs for network in validation.networks], kind="stable")
    third_of = np.zeros(len(order), dtype=int)
    for third, part in enumerate(np.array_split(order, 3)):
        third_of[part] = third
    return [int(third) for third in third_of]


def quality(validation: Validation, share: float) -> Quality:
    """Of a share of the training, against the whole."""
    early, final = (_accuracies(validation.trained[at]) for at in (share, 1.0))
    strata = np.asarray(thirds(validation))
    top = np.argsort(-final, kind="stable")[: max(2, len(final) // 3)]
    tau_energy, recalls = {}, {}
    for convention in energy.names():
        if not all(_is_priced(validation.trained[at], convention) for at in (share, 1.0)):
            tau_energy[convention] = recalls[convention] = Interval(math.nan)
            continue
        cheap, dear = (_log_energies(validation.trained[at], convention) for at in (share, 1.0))
        tau_energy[convention] = tau_interval(cheap, dear)
        recalls[convention] = _recall((early, cheap), (final, dear), promoted_at(share))
    within = tau_interval(early, final, strata)
    passes = within.low >= GATE_TAU and recalls["measured"].low >= GATE_RECALL
    return Quality(
        share,
        tau_interval(early, final),
        within,
        tuple(tau_interval(early[strata == third], final[strata == third]) for third in range(3)),
        tau_interval(early[top], final[top]),
        tau_energy,
        recalls,
        passes,
    )


@dataclass(frozen=True)
class Foretold:
    """How a figure of published networks ranks them, beside the top-1 that papers print.

    Attributes:
        by: the figure: accuracy of a proxy, or a size that needs no training.
        tau: over all networks.
        tau_within: of pairs of one family only.
    """

    by: str
    tau: Interval
    tau_within: Interval


def against_printed(validation: Validation) -> list[Foretold]:
    """The proxies, cheapest first, and what size alone foretells."""
    networks = validation.networks
    figures = {f"{share:.0%} of the training": _accuracies(of) for share, of in validation.trained.items()}
    figures["no training: parameters in print"] = np.asarray([n.parameters_m or math.nan for n in networks])
    figures["no training: dense MACs made small"] = np.asarray([n.macs for n in networks])
    printed = [n.printed or math.nan for n in networks]
    families = np.unique([n.name.partition("_in_")[0] for n in networks], return_inverse=True)[1]
    return [
        Foretold(by, tau_interval(values, printed), tau_interval(values, printed, families))
        for by, values in figures.items()
    ]


def noise(validation: Validation) -> Noise | None:
    """None without replicates."""
    numbers = sorted(validation.again)
    if len(numbers) < 2:
        return None
    first, again = _accuracies([validation.trained[1.0][i] for i in numbers]), _accuracies(validation.again.values())
    spread, _ = deviation([[float(a), float(b)] for a, b in zip(first, again, strict=True)])
    flips = {}
    for factor, records in validation.rates.items():
        other = _accuracies([records[i] for i in numbers])
        flips[factor] = _flips(first, other, 2 * spread * math.sqrt(2)), len(numbers) * (len(numbers) - 1) // 2
    return Noise(len(numbers), tau_interval(first, again), spread, flips)


def _flips(a: np.ndarray, b: np.ndarray, sure: float) -> int:
    i, j = np.triu_indices(len(a), 1)
    x, y = a[i] - a[j], b[i] - b[j]
    return int(((x * y < 0) & (abs(x) > sure) & (abs(y) > sure)).sum())


def recommended(qualities: Sequence[Quality]) -> Quality | None:
    """The cheapest that may prune."""
    return next((q for q in sorted(qualities, key=lambda q: q.share) if q.passes), None)


def proxy_toml(validation: Validation, chosen: Quality | None) -> str:
    """What `search --proxy` reads."""
    if chosen is None:
        why = "No cheaper training passed: every network is trained in full."
        rungs = "[1]"
    else:
        why = f"The cheapest training that passed is {chosen.share:.0%} of it."
        rungs = f"[{chosen.share:g}, 1]"
    return (
        f"# Written by validate-proxy, from {len(validation.networks)} networks of {validation.name}. {why}\n"
        f"# To pass, lower 95 % bounds: Kendall's tau within thirds of cost {GATE_TAU:g}, recall of the front "
        f"{GATE_RECALL:g}.\n\n[proxy]\nepochs = {validation.epochs}\n"
        f"train_images = {validation.train_images}\nrungs = {rungs}\n"
    )


def _accuracies(candidates: Iterable[Candidate]) -> np.ndarray:
    """What failed is as bad as can be."""
    return np.asarray([_accuracy(candidate) for candidate in candidates])


def _accuracy(candidate: Candidate) -> float:
    usable = candidate.is_ranked
    return candidate.search_val_accuracy or 0.0 if usable else 0.0


def energy_mj(candidate: Candidate, convention: str) -> float | None:
    """Of an image; None where nothing was counted, or where a table keeps the energy under "measured" only."""
    if candidate.operations:
        return energy.price(candidate.operations, candidate.counted_images, energy.convention(convention)).energy_mj
    return candidate.energy_mj if convention == energy.MEASURED.name else None


def _is_priced(candidates: Sequence[Candidate], convention: str) -> bool:
    """Whether any of those with a result has an energy."""
    return any(energy_mj(c, convention) is not None for c in candidates) or not any(map(_accuracy, candidates))


def _log_energies(candidates: Sequence[Candidate], convention: str) -> np.ndarray:
    """Of what failed the largest of all: it is on no front."""
    priced = [energy_mj(c, convention) or 0.0 for c in candidates]
    known = [mj for mj, c in zip(priced, candidates, strict=True) if mj > 0 and _accuracy(c) > 0]
    most = max(known, default=1.0)
    return np.log10([mj if mj > 0 and _accuracy(c) > 0 else most for mj, c in zip(priced, candidates, strict=True)])


def promoted_at(share: float) -> float:
    """The part of all networks that a search promotes, whose only rung below the last is that share."""
    return 1 / reductions((share, 1.0))[0]


def _recall(early: tuple[np.ndarray, np.ndarray], final: tuple[np.ndarray, np.ndarray], promoted: float) -> Interval:
    def of(i: np.ndarray) -> float:
        distinct = np.unique(i)  # drawn twice, a network still is one
        points = [list(zip(a[distinct].tolist(), e[distinct].tolist(), strict=True)) for a, e in (early, final)]
        return recall(points[0], points[1], math.ceil(promoted * len(distinct)))

    return bootstrapped(of, len(early[0]))


__all__ = [
    "GATE_RECALL",
    "GATE_TAU",
    "Foretold",
    "Noise",
    "Quality",
    "against_printed",
    "energy_mj",
    "noise",
    "promoted_at",
    "proxy_toml",
    "quality",
    "recommended",
    "thirds",
]
