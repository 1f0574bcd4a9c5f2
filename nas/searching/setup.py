"""What a search begins with: a space, images, and a study that was made with the same settings."""

import contextlib
import dataclasses
import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.datasets import Splits
from nas.datasets import loaders as data
from nas.engines import Engine, InProcess, OnRay, Processes, Trainer, device_of, places_of
from nas.errors import StudyError
from nas.progress import Observer
from nas.searching.budget import Budget
from nas.searching.settings import SearchSettings
from nas.searching.stopping import Goal
from nas.settings import Constraints, Recipe
from nas.spaces import SearchSpace, check_blocks, load_space, with_proxy
from nas.studies import Study
from nas.studies import identity as identities
from nas.studies import storage as storages
from nas.training import images_seen, settled
from spikformer.fields import PlainTable


@dataclass(frozen=True)
class Setup:
    """A search that is about to begin.

    Attributes:
        images: that a training at each rung sees.
        identity: what the study's results depend on.
    """

    study: Study
    space: SearchSpace
    trainer: Trainer
    images: tuple[int, ...]
    identity: PlainTable
    goal: Goal
    engine: Engine
    observer: Observer


@contextlib.contextmanager
def opened(
    space: str | Path | SearchSpace, trials: int | None, settings: SearchSettings, observer: Observer
) -> Iterator[Setup]:
    """Read the images and open the study. While this is open, no other process searches a storage for one process.

    Raises:
        SpikformerError: its subclass names what is wrong with the input.
    """
    goal = _goal_of(trials, settings)
    loaded = space_of(space, settings)
    name = settings.study or loaded.name
    check_blocks(loaded)
    folder = storages.study_folder(Path(settings.results_dir), name, settings.storage)
    storages.check_writable(folder)
    with observer as watcher:
        splits = data.load(loaded, settings.data_dir, settings.seed, watcher.reading)
        loaded = dataclasses.replace(loaded, recipe=settled(loaded.recipe, splits.train))
        with storages.quiet_optuna(), _exclusive(settings.storage, name):
            identity = identities.identity_of(
                loaded, splits.fingerprint, settings.seed, settings.energy_of, settings.target_image_size
            )
            study = _study(name, folder, settings.storage, identity, loaded.constraints, splits.account)
            study.keep_data_dir(settings.data_dir)
            for sentence in (*splits.account, *filter(None, [torch_versions(study)])):
                watcher.notice(sentence)
            trainer = Trainer(splits, loaded.recipe, settings.seed, settings.target_image_size, folder / "unfinished")
            engine, images = _engine(trainer, settings, watcher), _images(splits, loaded)
            yield Setup(study, loaded, trainer, images, identity, goal, engine, watcher)


def space_of(space: str | Path | SearchSpace, settings: SearchSettings) -> SearchSpace:
    """The space as it is searched: with the proxy, recipe and constraints of the settings."""
    loaded = space if isinstance(space, SearchSpace) else load_space(space)
    loaded = loaded if settings.proxy is None else with_proxy(loaded, settings.proxy)
    return dataclasses.replace(
        loaded,
        recipe=recipe_of(loaded, settings.epochs, settings.train_images),
        constraints=constraints_of(loaded, settings.constraints),
    )


def _goal_of(trials: int | None, settings: SearchSettings) -> Goal:
    if trials is None and settings.budget is None:
        raise StudyError("how long to search? Give --trials, a number of networks, or --budget, such as 2M or 8h")
    if trials is not None and trials < 1:
        raise StudyError(f"trials {trials} must be at least 1")
    budget = Budget.parse(settings.budget) if settings.budget is not None else Budget()
    return Goal(trials, budget, settings.patience)


_CACHE_REMEDY = "Set XDG_CACHE_HOME to a folder that can be written: searches of one SQLite file meet there"


def _exclusive(storage: str | None, name: str) -> contextlib.AbstractContextManager[None]:
    """A lock on a storage that serves one process only; nothing for others."""
    if not storages.is_single_process(storage):
        return contextlib.nullcontext()
    return storages.exclusive_lock(storages.lock_path(storage, name), wait_s=0, remedy=_CACHE_REMEDY)


def _study(
    name: str,
    folder: Path,
    storage: str | None,
    identity: PlainTable,
    constraints: Constraints,
    account: tuple[str, ...],
) -> Study:
    """The study of that name, begun if it is not there."""
    database = storages.database(storage, waits=True)
    with storages.exclusive_lock(folder):
        study = Study(name, folder, storages.create(name, database or storages.journal(folder)))
        identities.check_identity(study, identity)
        study.optuna.set_user_attr("constraints", dataclasses.asdict(constraints))
        study.keep_account(account)
    return study


def _images(splits: Splits, space: SearchSpace) -> tuple[int, ...]:
    """How many images a training at each rung sees.

    Raises:
        StudyError: two rungs are equal.
    """
    rungs = space.recipe.rungs
    images = [images_seen(len(splits.train), space.recipe, share) for share in rungs]
    if len(set(images)) < len(images):
        raise StudyError(
            f"rungs {list(rungs)} are {images} images: some are equal. Set fewer in [proxy] of the space, such as "
            "rungs = [1], or train on more images"
        )
    return tuple(images)


def _engine(trainer: Trainer, settings: SearchSettings, observer: Observer) -> Engine:
    if settings.engine == "ray":
        return OnRay(trainer, settings.address, settings.workers, settings.per_gpu)
    if settings.workers > 1:
        return Processes(trainer, places_of(settings.device, settings.workers, settings.per_gpu), observer.on_epoch)
    return InProcess(trainer.on(str(device_of(settings.device))), observer.on_epoch)


def constraints_of(space: SearchSpace, overrides: Constraints | None) -> Constraints:
    """The space's constraints, with those that are given in their place."""
    named = {name: limit for name, limit in dataclasses.asdict(overrides or Constraints()).items() if limit is not None}
    return dataclasses.replace(space.constraints, **named)


def recipe_of(space: SearchSpace, epochs: int | None, train_images: int | None) -> Recipe:
    """The space's recipe, with the settings that are given in their place.

    Raises:
        StudyError: one of these is below 1.
    """
    for name, value, low in (("epochs", epochs, 1), ("train_images", train_images, 1)):
        if value is not None and value < low:
            raise StudyError(f"{name} {value} must be at least {low}")
    changed: dict[str, Any] = {"epochs": epochs, "train_images": train_images}
    return dataclasses.replace(space.recipe, **{key: value for key, value in changed.items() if value is not None})


def torch_versions(study: Study) -> str | None:
    """A warning that networks of the study were trained with other versions of torch than this one, if they were.

    Versions may draw the first weights otherwise (torch 2.11 and 2.14 do), so that equal seeds give other networks.
    """
    ours = importlib.metadata.version("torch")
    versions = {str(c.provenance.get("versions", {}).get("torch", ours)) for c in study.candidates.values()}
    others = sorted(versions - {ours})
    if not others:
        return None
    return (
        f"Study {study.name} has networks trained with torch {', '.join(others)}; this is torch {ours}. The same seed "
        f"may give different initial weights in another version, so treat a difference between versions like a "
        f"difference between seeds."
    )


__all__ = ["Setup", "constraints_of", "opened", "recipe_of", "space_of", "torch_versions"]
