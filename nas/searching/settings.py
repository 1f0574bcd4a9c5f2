"""Settings of a search beside its space and its number of trials, checked when they are made."""

import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from nas.costs import IMAGE_SIZE, memory
from nas.datasets import Images, check_images
from nas.engines import check_places, check_processes
from nas.errors import StudyError
from nas.searching.budget import Budget
from nas.searching.warm_start import TrainedNetworks
from nas.settings import Constraints, ReferencePoint
from nas.studies import Study
from nas.studies import storage as storages
from nas.training import EnergyOf, ranking
from spikformer.fields import nearest

SEARCHER = "searcher"
SAMPLERS = (
    SEARCHER,
    "TPESampler",
    "GPSampler",
    "NSGAIISampler",
    "NSGAIIISampler",
    "RandomSampler",
)
"""What proposes new networks: the searcher, or Optuna's sampler of that name. The searcher promotes them."""


class SearchKeywords(TypedDict, total=False):
    """The fields of `SearchSettings` as keywords, so that a type checker knows those of `search`."""

    budget: str | None
    patience: int | None
    sampler: str
    constraints: Constraints | None
    hypervolume_from: ReferencePoint | None
    study: str | None
    data_dir: str | Path | None
    data: Images | None
    device: str
    seed: int
    storage: str | None
    epochs: int | None
    train_images: int | None
    references: bool
    energy_of: Literal["proxy", "target"]
    rank_by: str
    target_image_size: int
    results_dir: str | Path
    workers: int
    per_gpu: int
    engine: str
    address: str | None
    proxy: str | Path | None
    warm_start: Sequence[Study | TrainedNetworks]


@dataclass(frozen=True)
class SearchSettings:
    """Settings of a search, which `nas.search` takes as keywords.

    Attributes:
        budget: the most that the study's trainings may cost in all, instead of or beside a number of trials; see
            `nas.searching.budget.Budget.parse`.
        patience: the search stops when this many networks were evaluated since the front last changed.
        sampler: what proposes new networks, one of `SAMPLERS`.
        constraints: limits on networks; those given replace the space's.
        hypervolume_from: networks beyond this point are what the search aims at; it replaces the space's.
        study: name of the study; the space's by default.
        data_dir: folder that holds the images (`nas.datasets.loaders.load`).
        data: images of your own (`nas.Images`), in place of the space's.
        device: "auto", "cpu", "cuda" or "cuda:1".
        seed: random seed for the data split, every training and the proposals.
        storage: an Optuna storage URL, or grpc://HOST:PORT; by default a journal file in the study's folder.
        epochs, train_images: replace those of the space's recipe.
        references: whether the space's reference points are evaluated first, in full; they count as trials.
        energy_of: which energy ranks networks: the proxy's as counted, or the one predicted for the network that
            `export` makes of it (`nas.costs.target`).
        rank_by: what ranks networks: "energy"; "energy+memory", arithmetic and memory accesses by horowitz64, or
            "energy+NAME" by another model (`nas.costs.memory`); or "chip:NAME", the energy on a chip.
        target_image_size: input resolution of that network, in pixels; a multiple of 32.
        results_dir: directory that holds the studies.
        workers: number of trainings at a time. More than one run in processes of their own, on all GPUs that `device`
            allows or, with one thread each, on the CPU. Other searches may join the study at any time, here or, with a
            storage that is a server, on other machines.
        per_gpu: largest number of workers that share a GPU.
        engine: "local", or "ray": trainings are tasks on a Ray cluster.
        address: address of that cluster, as `ray.init` takes it; by default one is started on this machine.
        proxy: a TOML file whose [proxy] replaces settings of the space's, as `validate-proxy` writes it.
        warm_start: studies (`nas.load_study`) and tables (`nas.tables.load`) whose networks the searcher knows from the
            beginning; they are no results of the study.

    Raises:
        StudyError: on construction, when a setting is out of its range or contradicts another.
        DataError: `data` is not a `nas.Images`, or a folder is given, too.
    """

    budget: str | None = None
    patience: int | None = None
    sampler: str = SEARCHER
    constraints: Constraints | None = None
    hypervolume_from: ReferencePoint | None = None
    study: str | None = None
    data_dir: str | Path | None = None
    data: Images | None = None
    device: str = "auto"
    seed: int = 0
    storage: str | None = None
    epochs: int | None = None
    train_images: int | None = None
    references: bool = True
    energy_of: Literal["proxy", "target"] = "proxy"
    rank_by: str = "energy"
    target_image_size: int = IMAGE_SIZE
    results_dir: str | Path = "results"
    workers: int = 1
    per_gpu: int = 1
    engine: str = "local"
    address: str | None = None
    proxy: str | Path | None = None
    warm_start: Sequence[Study | TrainedNetworks] = ()

    def __post_init__(self) -> None:
        self._check_search()
        self._check_engine()

    @property
    def ranking(self) -> EnergyOf:
        """What ranks networks, under one name."""
        named = f"energy+{memory.DEFAULT}" if self.rank_by == "energy+memory" else self.rank_by
        return self.energy_of if named == "energy" else typing.cast(EnergyOf, named)

    def _check_search(self) -> None:
        check_images(self.data, self.data_dir)
        if self.patience is not None and self.patience < 1:
            raise StudyError(f"patience {self.patience} must be at least 1")
        if self.budget is not None:
            Budget.parse(self.budget)
        if self.sampler not in SAMPLERS:
            raise StudyError(f'sampler "{self.sampler}" is unknown. {nearest(self.sampler, SAMPLERS)}')
        self._check_warm_start()
        if not 0 <= self.seed < 2**32:
            raise StudyError(f"seed {self.seed} must be between 0 and {2**32 - 1}")
        if self.energy_of not in ("proxy", "target"):
            raise StudyError(f'energy_of "{self.energy_of}" is unknown. Use proxy or target')
        known = ("energy", "energy+memory", *ranking.NAMED)
        if self.rank_by not in known:
            raise StudyError(f'rank_by "{self.rank_by}" is unknown. {nearest(self.rank_by, known)}')
        if self.rank_by != "energy" and self.energy_of != "proxy":
            raise StudyError(f"rank_by {self.rank_by} prices the proxy itself. Leave out energy_of {self.energy_of}")
        size = self.target_image_size
        if size < 32 or size % 32:
            raise StudyError(f"target_image_size {size} must be a multiple of 32, such as {IMAGE_SIZE}")

    def _check_warm_start(self) -> None:
        texts = [self.warm_start] if isinstance(self.warm_start, str) else self.warm_start
        named = next((source for source in texts if isinstance(source, str | Path)), None)
        if named is not None:
            raise StudyError(
                f'warm_start has "{named}", which is neither a study nor a table. Give nas.load_study(NAME) or '
                "nas.tables.load(FILE)"
            )
        if self.warm_start and self.sampler != SEARCHER:
            raise StudyError(
                f"{self.sampler} cannot use the networks of --warm-start. Leave out --warm-start or --sampler"
            )

    def _check_engine(self) -> None:
        if self.engine not in ("local", "ray"):
            raise StudyError(f'engine "{self.engine}" is unknown. Use local or ray')
        if self.address is not None and self.engine != "ray":
            raise StudyError(f"{self.address} is the address of a Ray cluster: add --engine ray")
        if self.engine == "local":
            check_processes(self.workers)
        check_places(self.device, self.workers, self.per_gpu)
        if self.workers > 1 and storages.is_single_process(self.storage):
            raise StudyError("SQLite serves one worker only. Leave --storage out, or give a PostgreSQL server's URL")


__all__ = ["SAMPLERS", "SEARCHER", "SearchKeywords", "SearchSettings"]
