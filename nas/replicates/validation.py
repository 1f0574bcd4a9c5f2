"""Does a cheap training rank networks as the dear one does? Networks of a space, trained at both.

Cheap ones are shares of the recipe's training, each with a whole schedule of its own, as a search's rungs are. What is
asked is what pruning needs: agreement of ranks (Kendall's tau) within classes of cost, for size alone ranks a whole
space well, and whether the networks that prove best are among those that would have gone on.
"""

import dataclasses
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from nas.costs import energy, multiplications, scaling, static_model, static_operations, target
from nas.datasets import loaders as data
from nas.errors import StudyError
from nas.progress import Dashboard, Observer
from nas.replicates import runs
from nas.replicates.runs import Place, Run
from nas.searching import reductions, setup
from nas.spaces import SearchSpace, by_axis, load_space
from nas.stats import Interval, bootstrapped, deviation, recall, tau_interval
from nas.studies import storage as storages
from nas.training import Candidate, settled
from spikformer import published
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError

SHARES = (0.05, 0.1, 0.25, 0.5)
RATES = (0.5, 2.0)  # times the recipe's learning rate
GATE_TAU, GATE_RECALL = 0.6, 0.8  # lower bounds that a proxy must pass before it may prune
_POOL = 8  # networks drawn for each that is chosen
_WHAT = "proxies"
Against = Literal["full", "published"]


@dataclass(frozen=True)
class Network:
    """One to be trained at every budget.

    Attributes:
        name: for people.
        macs: dense multiplications of an image, by which networks are cut into classes of cost.
        printed: top-1 of its paper in per cent, where that is what it is held against.
        parameters_m: of the network of the paper, in millions, there too.
    """

    name: str
    config: SpikformerConfig
    macs: int
    printed: float | None = None
    parameters_m: float | None = None


@dataclass(frozen=True)
class Validation:
    """What was trained.

    Attributes:
        trained: share of the training -> record of each network, in order.
        again: record of a network trained in full with another seed, by its number.
        rates: factor on the learning rate -> record by number.
    """

    name: str
    folder: Path
    against: Against
    networks: tuple[Network, ...]
    shares: tuple[float, ...]
    epochs: int
    train_images: int
    trained: dict[float, tuple[Candidate, ...]]
    again: dict[int, Candidate]
    rates: dict[float, dict[int, Candidate]]


def validate(
    space: str | Path | SearchSpace,
    configs: int = 30,
    replicates: int = 8,
    *,
    against: Against = "full",
    shares: Sequence[float] = SHARES,
    full_epochs: int | None = None,
    train_images: int | None = None,
    data_dir: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    storage: str | None = None,
    results_dir: str | Path = "results",
    workers: int = 1,
    per_gpu: int = 1,
    observer: Observer | None = None,
) -> Validation:
    """Train a stratified set of networks by the whole recipe and by shares of it; continue where it stopped.

    Args:
        space: as in `nas.searching.loop.search`; its recipe is the dear training.
        configs: networks: the space's references, at most a third, and others spread over cost and axes.
        replicates: of them, trained in full with a second seed, and with other learning rates.
        against: "full", the whole recipe; or "published": networks of papers, made small, against the top-1 printed.
        shares: of the recipe's training, rising, below 1.
        full_epochs, train_images: instead of the recipe's.
        results_dir: results are kept in `proxies/<space>` within.

    Raises:
        SpikformerError: of its subclass that names what is wrong with the input.
        KeyboardInterrupt: nothing is lost; the same call goes on.
    """
    loaded = space if isinstance(space, SearchSpace) else load_space(space)
    loaded = dataclasses.replace(loaded, recipe=setup.recipe_of(loaded, full_epochs, train_images))
    _check(configs, replicates, shares, seed, against)
    name = loaded.name if against == "full" else f"{loaded.name}-published"
    place = Place(Path(results_dir) / "proxies" / name, device, workers, per_gpu)
    place.check()
    with observer or Dashboard() as watcher, storages.quiet_optuna():
        splits = data.load(loaded, data_dir, seed, watcher.reading)
        for sentence in splits.account:
            watcher.notice(sentence)
        loaded = dataclasses.replace(loaded, recipe=settled(loaded.recipe, splits.train))
        if against == "full":
            chosen = stratified(loaded, configs, seed, watcher)
            repeated = spread(len(chosen), replicates)
        else:
            chosen, repeated = from_papers(loaded, configs), []
        plan = _plan(loaded, chosen, tuple(shares), repeated, seed)
        wanted = [run for group in plan.values() for run in group.values()]
        identity = setup.identity_of(loaded, splits.fingerprint, seed, "proxy", target.IMAGE_SIZE)
        database = storages.database(storage)
        with place.alone():
            kept = runs.opened(name, _WHAT, database or storages.journal(place.folder), identity)
            runs.train(wanted, kept, splits, place, target.IMAGE_SIZE, watcher)
        done = kept.done()
    records = {key: {i: done[run.key].candidate for i, run in group.items()} for key, group in plan.items()}
    return Validation(
        name,
        place.folder,
        against,
        tuple(chosen),
        tuple(shares),
        loaded.recipe.epochs,
        loaded.recipe.train_images,
        {share: tuple(records["share", share].values()) for share in (*shares, 1.0)},
        records["again", 1.0],
        {factor: records["rate", factor] for factor in RATES},
    )


def _check(configs: int, replicates: int, shares: Sequence[float], seed: int, against: str) -> None:
    if configs < 6:
        raise StudyError(f"configs {configs} must be at least 6: two in each class of cost. 30 give usable intervals")
    if not 0 <= replicates <= configs:
        raise StudyError(f"replicates {replicates} must be between 0 and the {configs} configs")
    if not shares or list(shares) != sorted(set(shares)) or not 0 < shares[0] <= shares[-1] < 1:
        raise StudyError(f"shares {', '.join(map(str, shares))} must rise, from above 0 to below 1")
    if not 0 <= seed < 2**32 - 1:
        raise StudyError(f"seed {seed} must be between 0 and {2**32 - 2}")
    if against not in ("full", "published"):
        raise StudyError(f'against "{against}" is unknown. Use full or published')


def stratified(space: SearchSpace, count: int, seed: int, observer: Observer | None = None) -> list[Network]:
    """References and networks of the space, as many in each third of cost, those of a third unlike each other."""
    rng = random.Random(seed)
    named = {config.config_id: (name, config) for name, config in list(space.references.items())[: count // 3]}
    drawn: dict[str, SpikformerConfig] = {identity: config for identity, (_, config) in named.items()}
    for _ in range(20 * _POOL * count):
        if len(drawn) >= _POOL * count:
            break
        config = space.random(rng)
        drawn.setdefault(config.config_id, config)
    if len(drawn) < count:
        raise StudyError(f"space {space.name} has {len(drawn)} networks that could be found, {count} were asked for")
    pool = []
    for number, (identity, config) in enumerate(drawn.items(), start=1):
        name = named[identity][0] if identity in named else identity
        pool.append(Network(name, config, _macs(config)))
        (observer or Observer()).reading("counting operations", number, len(drawn))
    pool.sort(key=lambda network: (network.macs, network.name))
    found: list[Network] = []
    for third, part in enumerate(np.array_split(np.arange(len(pool)), 3)):
        wanted = count * (third + 1) // 3 - count * third // 3
        found += _unlike(space, [pool[i] for i in part], wanted, set(named))
    return sorted(found, key=lambda network: network.macs)


def _unlike(space: SearchSpace, pool: list[Network], count: int, first: set[str]) -> list[Network]:
    """References of the pool, then each time the network that shares least choices with its likest chosen one."""
    chosen = [network for network in pool if network.config.config_id in first][:count]
    rest = [network for network in pool if network not in chosen]
    points = {network.name: by_axis(space.params(network.config)) for network in pool}
    while len(chosen) < min(count, len(pool)):

        def distance(network: Network) -> int:
            mine = points[network.name]
            others = [points[other.name] for other in chosen]
            return min((sum(mine[axis] != other.get(axis) for axis in mine) for other in others), default=0)

        chosen.append(max(rest, key=distance))
        rest.remove(chosen[-1])
    return chosen


def _macs(config: SpikformerConfig) -> int:
    return multiplications(static_operations(config))


def from_papers(space: SearchSpace, count: int) -> list[Network]:
    """Published ImageNet networks with a printed accuracy, for the space's images, all made narrower alike.

    One factor for all, so that who is wider stays wider: that which brings the median network to the parameters of the
    space's base. Widths shrink by it and depths by its square, as `export` makes them grow (`nas.costs.scaling`).

    Raises:
        StudyError: the space's images are no colour images.
    """
    if space.base["stem"]["in_channels"] != 3:
        raise StudyError(f"published networks see colours, the images of space {space.name} have none")
    small = {}
    for name in published.names():
        if published.figures(name).accuracy is not None and "_in_" in name and not name.endswith("_kd"):
            small[name] = _on_images_of(space, published.config(name))
    evenly = [list(small)[i] for i in np.linspace(0, len(small) - 1, min(count, len(small))).round().astype(int)]
    base = _parameter_count(SpikformerConfig.from_dict(space.base))
    factor = 1.0
    while factor > 1 / 64 and np.median([_parameter_count(scaling.scaled(small[n], factor)) for n in evenly]) > base:
        factor /= 2**0.5
    networks = []
    for name in evenly:
        config, printed = scaling.scaled(small[name], factor), published.figures(name)
        networks.append(Network(name, config, _macs(config), printed.accuracy, printed.parameters_m))
    return sorted(networks, key=lambda network: network.macs)


def _on_images_of(space: SearchSpace, config: SpikformerConfig) -> SpikformerConfig:
    """With a token for 4 x 4 pixels, as the networks that papers print for CIFAR have, or for as many as it must."""
    stem, classes = space.base["stem"], space.base["head"]["num_classes"]
    for halvings in (2, 3, 4):
        try:
            return target.for_images(config, stem["image_size"], stem["in_channels"], classes, halvings)
        except ConfigError as error:
            last = error
    raise last


def _parameter_count(config: SpikformerConfig) -> int:
    return sum(p.numel() for p in static_model(config).parameters())


def spread(count: int, chosen: int) -> list[int]:
    """`chosen` of `count` numbers, evenly."""
    return sorted({int(i) for i in np.linspace(0, count - 1, chosen).round()}) if chosen else []


_Plan = dict[tuple[str, float], dict[int, Run]]


def _plan(
    space: SearchSpace, networks: Sequence[Network], shares: tuple[float, ...], repeated: list[int], seed: int
) -> _Plan:
    """The cheapest first, so that an early end has something to say."""
    recipe = space.recipe

    def runs_of(numbers: Sequence[int], share: float, words: str, factor: float = 1.0, more: int = 0) -> dict[int, Run]:
        changed = dataclasses.replace(recipe, learning_rate=factor * recipe.learning_rate)
        return {
            i: Run(f"{networks[i].name}, {words}", networks[i].config, changed, seed + more, share) for i in numbers
        }

    every = range(len(networks))
    plan: _Plan = {("share", share): runs_of(every, share, f"{share:.0%} of the training") for share in shares}
    plan["share", 1.0] = runs_of(every, 1.0, "in full")
    plan["again", 1.0] = runs_of(repeated, 1.0, "in full, another seed", more=1)
    for factor in RATES:
        plan["rate", factor] = runs_of(repeated, 1.0, f"in full, learning rate x {factor:g}", factor)
    return plan


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
    found = np.zeros(len(order), dtype=int)
    for third, part in enumerate(np.array_split(order, 3)):
        found[part] = third
    return [int(third) for third in found]


def quality(validation: Validation, share: float) -> Quality:
    """Of a share of the training, against the whole."""
    early, final = (_accuracies(validation.trained[at]) for at in (share, 1.0))
    strata = np.asarray(thirds(validation))
    top = np.argsort(-final, kind="stable")[: max(2, len(final) // 3)]
    tau_energy, recalls = {}, {}
    for convention in energy.names():
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
    return next((found for found in sorted(qualities, key=lambda q: q.share) if found.passes), None)


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
    usable = candidate.status in ("complete", "stopped")
    return candidate.search_val_accuracy or 0.0 if usable else 0.0


def _log_energies(candidates: Sequence[Candidate], convention: str) -> np.ndarray:
    """Of what failed the largest of all: it is on no front."""
    priced = [
        energy.price(c.operations, c.counted_images, energy.convention(convention)).energy_mj if c.operations else 0.0
        for c in candidates
    ]
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
    "SHARES",
    "Foretold",
    "Network",
    "Noise",
    "Quality",
    "Validation",
    "against_printed",
    "from_papers",
    "noise",
    "promoted_at",
    "proxy_toml",
    "quality",
    "recommended",
    "spread",
    "stratified",
    "thirds",
    "validate",
]
