"""Fills a table: trains a stratified sample of a space at shares of its recipe and with several seeds."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.costs import target
from nas.datasets import Images, check_images, with_images
from nas.errors import TableError
from nas.progress import Dashboard, Observer
from nas.replicates import runs
from nas.spaces import SearchSpace, check_blocks, load_space
from nas.studies import identity as identities
from nas.studies import storage as storages
from nas.tables import journal, sampling
from nas.tables.contents import Key, Settings
from nas.tables.forecast import Forecast, pace_of
from nas.tables.parts import Parts
from nas.training import Candidate
from spikformer.config import SpikformerConfig

if TYPE_CHECKING:
    from nas.datasets import Splits
    from nas.tables.signals import Probe

SHARES = (0.05, 0.25, 1.0)


def run(
    space: str | Path | SearchSpace,
    networks: int,
    seeds: int = 1,
    shares: Sequence[float] = SHARES,
    *,
    name: str | None = None,
    data_dir: str | Path | None = None,
    data: Images | None = None,
    device: str = "auto",
    seed: int = 0,
    workers: int = 1,
    per_gpu: int = 1,
    results_dir: str | Path = "results",
    parts: str | Path | None = None,
    observer: Observer | None = None,
) -> str:
    """Train what the table lacks; trainings that are there are not repeated.

    The networks are the first of a sample whose order depends on the space alone, so a later call with more networks,
    seeds or shares adds to the table.

    Args:
        space: as in `nas.searching.opening.search`; its recipe is the whole training.
        networks: number of networks, as many from each third of cost.
        seeds: number of seeds of each training, from 0.
        shares: shares of the recipe's training, rising to 1, each a training with a whole schedule of its own.
        name: name of the table; by default that of the space.
        seed: random seed of the split of the images.
        parts: folder to which finished trainings are also written, in files of at most 1 MiB.

    Returns:
        The name of the table.

    Raises:
        SpikformerError: the input is wrong; its subclass and text say what.
        KeyboardInterrupt: nothing is lost; the same call continues.
    """
    check_images(data, data_dir)
    _check(networks, seeds, shares, seed)
    loaded = with_images(space if isinstance(space, SearchSpace) else load_space(space), data)
    name = loaded.name if name is None else name
    place = runs.Place(journal.folder_of(results_dir, name), device, workers, per_gpu)
    check_blocks(loaded)
    place.check()
    _check_folder(parts)
    from nas.datasets import loaders  # torch, only now
    from nas.training import settled

    with observer or Dashboard() as watcher, storages.quiet_optuna():
        splits = loaders.load(loaded, data_dir, seed, watcher.reading, images=data)
        loaded = dataclasses.replace(loaded, recipe=settled(loaded.recipe, splits.train))
        _check_images(loaded, splits, shares)
        for sentence in splits.account:
            watcher.notice(sentence)
        watcher.notice("The sample is drawn by the MACs of the space's networks, which are counted once for a table.")
        macs = sampling.Macs(place.folder / "macs.json", watcher.reading)
        configs = sampling.networks(loaded, networks, macs)
        identity = identities.identity_of(loaded, splits.fingerprint, seed, "proxy", target.IMAGE_SIZE)
        with place.exclusive():
            log = journal.begun(name, place.folder, Settings(loaded.name, identity, splits.account))
            filling = _Filling(name, log, loaded, splits, place, Path(parts) if parts is not None else None, watcher)
            filling.restore()
            filling.train(plan(configs, loaded, seeds, shares), dict(zip(configs, macs.of(configs), strict=True)))
    return name


def _check(networks: int, seeds: int, shares: Sequence[float], seed: int) -> None:
    if networks < 1:
        raise TableError(f"networks {networks} must be at least 1")
    if not 1 <= seeds <= 1000:
        raise TableError(f"seeds {seeds} must be between 1 and 1000")
    if not shares or list(shares) != sorted(set(shares)) or shares[0] <= 0 or shares[-1] != 1:
        raise TableError(
            f"shares {', '.join(f'{share:g}' for share in shares) or 'none'} must be rising numbers above 0, and the "
            "last must be 1, such as 0.05,0.25,1"
        )
    if not 0 <= seed < 2**32 - 1:
        raise TableError(f"seed {seed} must be between 0 and {2**32 - 2}")


def _check_folder(parts: str | Path | None) -> None:
    """
    Raises:
        TableError: parts could not be written at the end of hours of training.
    """
    if parts is not None:
        folder = Path(parts).absolute()
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise TableError(f"{parts} cannot be written: {existing} is not a writable folder. Give another --parts")


def _check_images(space: SearchSpace, splits: "Splits", shares: Sequence[float]) -> None:
    from nas.training import images_seen

    images = [images_seen(len(splits.train), space.recipe, share) for share in shares]
    if len(set(images)) < len(images):
        listed = ", ".join(f"{share:g}" for share in shares)
        raise TableError(f"shares {listed} are {images} images: some are equal. Give fewer with --shares")


def plan(
    configs: Sequence[SpikformerConfig], space: SearchSpace, seeds: int, shares: Sequence[float]
) -> list[runs.Run]:
    """All trainings, network by network, so that a table that is interrupted is a smaller table."""
    return [
        runs.Run(f"{config.config_id}, {share:.0%} of the training, seed {seed}", config, space.recipe, seed, share)
        for config in configs
        for seed in range(seeds)
        for share in shares
    ]


class _Filling:
    """One call that trains what a journal lacks, and writes parts of it.

    Args:
        parts: folder of the parts, if there are to be any.
    """

    def __init__(
        self,
        name: str,
        log: journal.Journal,
        space: SearchSpace,
        splits: "Splits",
        place: runs.Place,
        parts: Path | None,
        observer: Observer,
    ) -> None:
        self.space, self.splits, self.place, self.observer = space, splits, place, observer
        self.log = dataclasses.replace(log, on_added=self._on_added)
        self._signals = dict(log.signals)
        self._parts = Parts(parts, name, log.settings, self._signals.get) if parts is not None else None
        self._forecast: Forecast | None = None

    def restore(self) -> None:
        """Bring what only the parts hold into the journal, and what only the journal holds into the parts."""
        before = self.log.trainings
        if self._parts is not None:
            contents = self._parts.read()
            for identity in contents.signals.keys() - self._signals.keys():
                self._keep_signals(identity, contents.signals[identity])
            lacking = {key: candidate for key, candidate in contents.trainings.items() if key not in before}
            for key, candidate in lacking.items():
                own = dataclasses.replace(candidate, recipe=self.space.recipe)
                runs.Runs.add(self.log, runs.Run(str(key), own.config, own.recipe, key.seed, key.share), own)
            if lacking:
                self.observer.notice(f"{len(lacking)} trainings were read from the parts in {self._parts.folder}.")
            for key in before.keys() - contents.trainings.keys():
                self._parts.add(key, before[key])
        for candidate in self.log.trainings.values():  # a run may have ended between a training and its signals
            self._measure_signals(candidate)

    def train(self, planned: Sequence[runs.Run], macs: dict[SpikformerConfig, int]) -> None:
        """Train those that are not there yet; on any end, parts hold all that is stored."""
        from nas.engines import Trainer
        from nas.replicates import training  # torch, only now
        from nas.training import images_seen

        known = self.log.trainings
        lacking = [run for run in planned if Key(run.config.config_id, run.share, run.seed) not in known]
        images = [images_seen(len(self.splits.train), run.recipe, run.share) for run in lacking]
        self._forecast = Forecast(lacking, images, self.observer)
        if lacking:
            trainer = Trainer(self.splits, self.space.recipe, 0, target.IMAGE_SIZE)
            pace = pace_of(list(known.values()), macs, self.place, trainer)
            self._forecast.announce(len(macs), len(planned), pace, self.place.workers)
        try:
            training.train(planned, self.log, self.splits, self.place, target.IMAGE_SIZE, self.observer)
        finally:
            if self._parts is not None:
                self._parts.flush()

    def _on_added(self, key: Key, candidate: Candidate) -> None:
        self._measure_signals(candidate)
        if self._parts is not None:
            self._parts.add(key, candidate)
        if self._forecast is not None:
            self._forecast.count(candidate.images_seen)

    def _measure_signals(self, candidate: Candidate) -> None:
        """Of the untrained network, once its first training is stored: they do not depend on which comes first."""
        if candidate.config_id in self._signals:
            return
        self._keep_signals(candidate.config_id, self._probe.signals(candidate.config))

    @functools.cached_property
    def _probe(self) -> "Probe":
        from nas.engines import device_of
        from nas.tables import signals  # torch, only now

        return signals.Probe(self.splits, self.space.recipe, device_of(self.place.device))

    def _keep_signals(self, config_id: str, signals: dict[str, float]) -> None:
        self._signals[config_id] = signals
        self.log.keep_signals(config_id, signals)


__all__ = ["SHARES", "plan", "run"]
