"""What a search begins with: a space, images, and a study that was made with the same settings."""

import contextlib
import dataclasses
import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.datasets import Splits, time_steps_of
from nas.datasets import loaders as data
from nas.engines import Engine, InProcess, OnRay, Processes, Trainer, device_of, places_of
from nas.errors import StudyError
from nas.progress import Observer
from nas.searchers import Prior
from nas.searching.settings import SearchSettings
from nas.searching.stopping import Goal
from nas.searching.warm_start import TrainedNetworks, check_same, gathered
from nas.spaces import SearchSpace, check_blocks
from nas.studies import Study, preview, warm_start
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
        prior: what other studies showed before this one began.
    """

    study: Study
    space: SearchSpace
    trainer: Trainer
    images: tuple[int, ...]
    identity: PlainTable
    prior: Prior
    goal: Goal
    engine: Engine
    observer: Observer


@contextlib.contextmanager
def opened(loaded: SearchSpace, goal: Goal, settings: SearchSettings, observer: Observer) -> Iterator[Setup]:
    """Read the images and open the study. While this is open, no other process searches a storage for one process.

    Args:
        loaded: the space, with the proxy, recipe, constraints and reference point of the settings.

    Raises:
        SpikformerError: its subclass names what is wrong with the input.
    """
    name = settings.study or loaded.name
    check_blocks(loaded)
    if loaded.data.has_events and settings.energy_of == "target":
        raise StudyError(
            f'energy_of "target" predicts the energy on ImageNet, but space {loaded.name} is on frames of events. Rank '
            'by "proxy"'
        )
    folder = storages.study_folder(Path(settings.results_dir), name, settings.storage)
    places_of(settings.device, settings.workers, settings.per_gpu)  # before images are read for them
    with observer as watcher:
        splits = data.load(loaded, settings.data_dir, settings.seed, watcher.reading, images=settings.data)
        loaded = dataclasses.replace(loaded, recipe=settled(loaded.recipe, splits.train))
        with storages.quiet_optuna(), _exclusive(settings.storage, name):
            identity = identities.identity_of(
                loaded, splits.fingerprint, settings.seed, settings.ranking, settings.target_image_size
            )
            given, counted = gathered(settings.warm_start, loaded, identity, settings.ranking)
            study = _study(name, folder, settings.storage, identity, loaded, splits.account)
            study.keep_data_dir(settings.data_dir)
            _keep_frames(study, loaded, splits)
            told = _warmed(study, loaded, settings.warm_start, given)
            for sentence in (*splits.account, *filter(None, [torch_versions(study)]), *counted, *told):
                watcher.notice(sentence)
            trainer = Trainer(splits, loaded.recipe, settings.seed, settings.target_image_size, folder / "unfinished")
            engine, images = _engine(trainer, settings, watcher), _images(splits, loaded)
            prior = warm_start.prior_of(study, loaded.axes)
            yield Setup(study, loaded, trainer, images, identity, prior, goal, engine, watcher)


_CACHE_REMEDY = (
    "Set XDG_CACHE_HOME to a folder that can be written: searches that share a SQLite file keep their lock there"
)


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
    space: SearchSpace,
    account: tuple[str, ...],
) -> Study:
    """The study of that name, begun if it is not there."""
    database = storages.database(storage, waits=True)
    with storages.exclusive_lock(folder):
        study = Study(name, folder, storages.create(name, database or storages.journal(folder)))
        identities.check_identity(study, identity)
        asked = {name: limit for name, limit in dataclasses.asdict(space.constraints).items() if limit is not None}
        study.optuna.set_user_attr("constraints", asked)
        study.keep_hypervolume_from(space.hypervolume_from)
        study.keep_account(account)
    return study


def _keep_frames(study: Study, space: SearchSpace, splits: Splits) -> None:
    """Let a study on recordings keep frames of some of them for its report, of as few time steps as the space has."""
    if splits.frames is not None and not preview.is_kept(study):
        labels, frames = splits.frames.examples(time_steps_of(space)[0], preview.RECORDINGS)
        named = [splits.classes[label] for label in labels.tolist()]
        preview.keep(study, zip(named, frames.numpy(), strict=True))


def _warmed(
    study: Study, space: SearchSpace, sources: Sequence[Study | TrainedNetworks], given: warm_start.WarmStart | None
) -> list[str]:
    """Let a study begin with prior observations, which it keeps; says what it began with.

    Raises:
        StudyError: it began without these.
    """
    if given is not None:
        with storages.exclusive_lock(study.folder):
            if warm_start.sources_of(study) or study.snapshot().trials:
                check_same(study, sources)
            else:
                warm_start.keep(study, given, space.axes)
    return [f"The searcher knows {source.sentence}." for source in warm_start.sources_of(study)]


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


__all__ = ["Setup", "opened", "torch_versions"]
