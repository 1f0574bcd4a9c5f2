"""Whether a cheap training ranks networks as the full one does, measured on networks of a space trained by both.

Cheap trainings are shares of the recipe's training, each with a whole schedule of its own, like the rungs of a search.
The measures are those that pruning needs. One is agreement of ranks (Kendall's tau) within classes of cost, because
size alone ranks a whole space well. The other is whether the best networks are among those that would be promoted.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from nas.costs import target
from nas.datasets import Images, check_images, with_images
from nas.errors import StudyError
from nas.progress import Dashboard, Observer
from nas.replicates import runs
from nas.replicates.runs import Place, Run
from nas.replicates.selection import Network, from_papers, spread, stratified
from nas.searching import recipe_of
from nas.spaces import SearchSpace, check_blocks, load_space
from nas.studies import identity as identities
from nas.studies import storage as storages
from nas.training import Candidate
from spikformer.config import SpikformerConfig
from spikformer.fields import PlainTable

if TYPE_CHECKING:
    from nas.datasets import Splits

SHARES = (0.05, 0.1, 0.25, 0.5)
RATES = (0.5, 2.0)  # times the recipe's learning rate
_WHAT = "proxies"
Against = Literal["full", "published"]


class TrainedBefore(Protocol):
    """Networks that were trained already, such as a `nas.tables.Table`."""

    @property
    def name(self) -> str: ...

    @property
    def space(self) -> SearchSpace: ...

    @property
    def networks(self) -> Mapping[str, SpikformerConfig]:
        """config_id -> config."""

    @property
    def shares(self) -> tuple[float, ...]:
        """At which some network was trained."""

    def seeds_of(self, network: str, share: float) -> tuple[int, ...]:
        """Seeds with which a network was trained at a share."""

    def candidate(self, network: str, share: float, seed: int) -> Candidate:
        """The record of a training."""


@dataclass(frozen=True)
class Validation:
    """What was trained.

    Attributes:
        trained: share of the training -> records of all networks, in order.
        again: number of a network -> record of its full training with another seed.
        rates: factor on the learning rate -> number of a network -> record.
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


def validate_proxy(
    space: str | Path | SearchSpace,
    configs: int = 30,
    replicates: int = 8,
    *,
    against: Against = "full",
    shares: Sequence[float] | None = None,
    table: TrainedBefore | None = None,
    full_epochs: int | None = None,
    train_images: int | None = None,
    data_dir: str | Path | None = None,
    data: Images | None = None,
    device: str = "auto",
    seed: int = 0,
    storage: str | None = None,
    results_dir: str | Path = "results",
    workers: int = 1,
    per_gpu: int = 1,
    observer: Observer | None = None,
) -> Validation:
    """Train a stratified set of networks by the whole recipe and by shares of it. Finished trainings are not repeated.

    Args:
        space: as in `nas.searching.opening.search`; its recipe is the full training.
        configs: number of networks. At most a third are the references; the others are spread over cost and axes.
        replicates: how many of them are also trained in full with a second seed and with other learning rates.
        against: "full" compares with the whole recipe; "published" compares published networks, made small, with their
            printed top-1.
        shares: shares of the recipe's training, rising, below 1; by default 0.05, 0.1, 0.25 and 0.5, or those of the
            table.
        table: takes its trainings in place of new ones (`nas.tables.load`). Its networks are those of the same space
            and recipe that were trained at all shares; there are no trainings at other learning rates.
        full_epochs, train_images: replace the recipe's.
        data: images given in Python, in place of the space's.
        results_dir: folder that gets the results in `proxies/<space>`.

    Raises:
        SpikformerError: the input is wrong; its subclass and text say what.
        KeyboardInterrupt: nothing is lost; the same call continues.
    """
    if table is not None:
        _refuse_beside_table(against, full_epochs, train_images, data_dir, data)
        shares = shares if shares is not None else [share for share in table.shares if share < 1]
        _check(configs, replicates, shares, seed, against)
        loaded = space if isinstance(space, SearchSpace) else load_space(space)
        return _from_table(loaded, configs, replicates, tuple(shares), table, seed, Path(results_dir))
    shares = SHARES if shares is None else shares
    check_images(data, data_dir)
    loaded = with_images(space if isinstance(space, SearchSpace) else load_space(space), data)
    loaded = dataclasses.replace(loaded, recipe=recipe_of(loaded, full_epochs, train_images))
    _check(configs, replicates, shares, seed, against)
    check_blocks(loaded)
    name = loaded.name if against == "full" else f"{loaded.name}-published"
    place = Place(Path(results_dir) / "proxies" / name, device, workers, per_gpu)
    place.check()
    from nas.datasets import loaders  # torch, only now
    from nas.training import settled

    with observer or Dashboard() as watcher, storages.quiet_optuna():
        splits = loaders.load(loaded, data_dir, seed, watcher.reading, images=data)
        for sentence in splits.account:
            watcher.notice(sentence)
        loaded = dataclasses.replace(loaded, recipe=settled(loaded.recipe, splits.train))
        if against == "full":
            networks = stratified(loaded, configs, seed, watcher)
            repeated = spread(len(networks), replicates)
        else:
            networks, repeated = from_papers(loaded, configs), []
        plan = _plan(loaded, networks, tuple(shares), repeated, seed)
        identity = identities.identity_of(loaded, splits.fingerprint, seed, "proxy", target.IMAGE_SIZE)
        records = _trained(plan, name, identity, storage, splits, place, watcher)
    return Validation(
        name,
        place.folder,
        against,
        tuple(networks),
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
        raise StudyError(f"shares {', '.join(map(str, shares))} must be rising numbers between 0 and 1")
    if not 0 <= seed < 2**32 - 1:
        raise StudyError(f"seed {seed} must be between 0 and {2**32 - 2}")
    if against not in ("full", "published"):
        raise StudyError(f'against "{against}" is unknown. Use full or published')


def _refuse_beside_table(against: str, *settings: object) -> None:
    """
    Raises:
        StudyError: settings of trainings, though none take place.
    """
    if against != "full" or any(setting is not None for setting in settings):
        raise StudyError(
            "a table holds trainings that took place: against, full_epochs, train_images and images say nothing beside "
            "it. Leave them out, or leave out the table"
        )


def _from_table(
    space: SearchSpace,
    configs: int,
    replicates: int,
    shares: tuple[float, ...],
    table: TrainedBefore,
    seed: int,
    results: Path,
) -> Validation:
    """A validation whose trainings are those of a table with the seed, and with the next one as far as it has them.

    Raises:
        StudyError: the table is of another space, or too few networks were trained at all shares.
    """
    mine, theirs = (json.dumps(each.identity()["space"], sort_keys=True) for each in (space, table.space))
    if mine != theirs:
        raise StudyError(f"table {table.name} is of space {table.space.name}, not of {space.name}. Give its space")
    every = (*shares, 1.0)
    usable = {i: c for i, c in table.networks.items() if all(seed in table.seeds_of(i, share) for share in every)}
    if len(usable) < configs:
        listed = ", ".join(f"{share:g}" for share in every)
        raise StudyError(
            f"table {table.name} has {len(usable)} networks that were trained at shares {listed} with seed {seed}, but "
            f"{configs} were asked for. Ask for fewer, or for other shares; it has "
            f"{', '.join(f'{share:g}' for share in table.shares)}"
        )
    networks = stratified(space, configs, seed, among=usable.values())
    trained = {
        share: tuple(table.candidate(network.config.config_id, share, seed) for network in networks) for share in every
    }
    numbers = [i for i, network in enumerate(networks) if seed + 1 in table.seeds_of(network.config.config_id, 1.0)]
    repeated = [numbers[i] for i in spread(len(numbers), min(replicates, len(numbers)))]
    again = {i: table.candidate(networks[i].config.config_id, 1.0, seed + 1) for i in repeated}
    recipe = table.space.recipe
    place = results / "proxies" / f"{space.name}-table"
    storages.check_writable(place)
    return Validation(
        space.name,
        place,
        "full",
        tuple(networks),
        shares,
        recipe.epochs,
        recipe.train_images,
        trained,
        again,
        {},
    )


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


def _trained(
    plan: _Plan,
    name: str,
    identity: PlainTable,
    storage: str | None,
    splits: "Splits",
    place: Place,
    observer: Observer,
) -> dict[tuple[str, float], dict[int, Candidate]]:
    """The record of each training of the plan; those that a storage holds are not trained again."""
    from nas.replicates import training  # torch, only now

    database = storages.database(storage, waits=True)
    with place.exclusive():
        log = runs.opened(name, _WHAT, database or storages.journal(place.folder), identity)
        trainings = [run for group in plan.values() for run in group.values()]
        training.train(trainings, log, splits, place, target.IMAGE_SIZE, observer)
    done = log.done()
    return {key: {i: done[run.key].candidate for i, run in group.items()} for key, group in plan.items()}


__all__ = ["RATES", "SHARES", "Against", "TrainedBefore", "Validation", "validate_proxy"]
