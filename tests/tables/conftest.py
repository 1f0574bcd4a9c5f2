"""A table of three networks that are really trained, once for all tests of this folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from nas import tables
from nas.datasets import Splits, loaders
from nas.engines import engine as engines
from nas.progress import Observer
from nas.spaces import SearchSpace, load_space
from nas.tables import Table
from nas.training.candidate import Candidate
from spikformer import Spikformer, SpikformerConfig
from tests.conftest import MICRO

TINY = MICRO.replace("train_images = 200", "train_images = 40")
NETWORKS, SEEDS, SHARES = 3, 2, (0.5, 1.0)


@dataclass(frozen=True)
class Tiny:
    """The table, and what it was made from."""

    folder: Path
    path: Path
    file: Path
    table: Table

    @property
    def space(self) -> SearchSpace:
        return load_space(self.path)

    @property
    def first(self) -> SpikformerConfig:
        return next(iter(self.table.networks.values()))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("table")
    path = folder / "micro.toml"
    path.write_text(TINY)
    place: dict[str, Any] = {"device": "cpu", "results_dir": folder / "results", "observer": Observer()}
    name = tables.run(path, NETWORKS, SEEDS, SHARES, **place)
    file = tables.export(name, folder, results_dir=folder / "results")
    return Tiny(folder, path, file, tables.load(file))


@pytest.fixture(scope="session")
def splits(tiny: Tiny) -> Splits:
    return loaders.load(tiny.space)


@pytest.fixture
def pretended(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, int]]:
    """Trainings whose results are those of the table, at once; the list says which took place."""
    trained: list[tuple[str, float, int]] = []

    def pretend(
        config: SpikformerConfig, _splits: object, recipe: object, seed: int, *_arguments: object, **settings: Any
    ) -> tuple[Candidate, Spikformer]:
        trained.append((config.config_id, settings["share"], seed))
        return tiny.table.candidate(config, settings["share"], seed), Spikformer(config)

    monkeypatch.setattr(engines, "evaluate", pretend)
    return trained
