"""An Optuna objective over the space of a table, answered by the table or by trainings that take place now."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import optuna

from nas.costs import energy
from nas.errors import DataError, TableError
from nas.spaces import Choice
from nas.training import Candidate
from spikformer.config import SpikformerConfig

if TYPE_CHECKING:
    from nas.datasets import Splits
    from nas.tables.table import Table

Answer = Callable[[SpikformerConfig], Candidate | None]
"""The record of a network, or None where there is none."""


class Objective:
    """Search-val accuracy, to be maximised, and log10 of the energy in mJ, to be minimised.

    Parameters have the names that a search gives them (`nas.spaces.SearchSpace.sample`). A network that the table
    lacks, and one without a result (silent, diverged), is pruned. A trial's attributes `config_id` and `images` say
    which network it asked for and how many images its training saw; one that was asked for before costs none again.

    Attributes:
        images: how many images all trainings saw so far: samplers compare at equal images.
        networks: how many networks were asked for that had a training.
    """

    directions: tuple[Literal["maximize"], Literal["minimize"]] = ("maximize", "minimize")

    def __init__(self, table: "Table", answer: Answer, convention: str) -> None:
        self.images = self.networks = 0
        self._table, self._answer, self._convention = table, answer, energy.convention(convention)
        self._known: dict[str, Candidate | None] = {}

    def __call__(self, trial: optuna.Trial) -> tuple[float, float]:
        """
        Raises:
            optuna.TrialPruned: the table lacks the network, or its training gave no result.
        """
        config = self._table.space.sample(lambda name, choices: cast(Choice, trial.suggest_categorical(name, choices)))
        trial.set_user_attr("config_id", config.config_id)
        candidate, images = self._asked(config)
        trial.set_user_attr("images", images)
        self.images += images
        if candidate is None:
            raise optuna.TrialPruned(f"network {config.config_id} is not in table {self._table.name}")
        if not candidate.is_ranked or candidate.search_val_accuracy is None or not candidate.energy_mj:
            raise optuna.TrialPruned(f"network {config.config_id} has no result: {candidate.status}")
        return candidate.search_val_accuracy, math.log10(self._energy_mj(candidate))

    def _asked(self, config: SpikformerConfig) -> tuple[Candidate | None, int]:
        """The record, and how many images it costs."""
        if config.config_id in self._known:
            return self._known[config.config_id], 0
        candidate = self._known[config.config_id] = self._answer(config)
        self.networks += candidate is not None
        return candidate, candidate.images_seen if candidate is not None else 0

    def _energy_mj(self, candidate: Candidate) -> float:
        if self._convention == energy.MEASURED and candidate.energy_mj is not None:
            return candidate.energy_mj
        return energy.price(candidate.operations, candidate.counted_images, self._convention).energy_mj


def objective(
    table: "Table", kind: str, share: float, seed: int, convention: str, data_dir: str | Path | None
) -> Objective:
    """See `nas.tables.Table.objective`."""
    if kind not in ("table", "live"):
        raise TableError(f'objective "{kind}" is unknown. Use table or live')
    if kind == "table":
        _check_share(table, share, convention)
        return Objective(table, functools.partial(_in_table, table, share, seed), convention)
    return Objective(table, functools.partial(_trained, table, share, seed, _images_of(table, data_dir)), convention)


def _check_share(table: "Table", share: float, convention: str) -> None:
    if share not in table.shares:
        listed = ", ".join(f"{each:g}" for each in table.shares)
        raise TableError(f"table {table.name} has no training at share {share:g}. Use one of {listed}")
    if share < 1 and energy.convention(convention) != energy.MEASURED:
        raise TableError(
            f"the table keeps no counts at share {share:g}: only the convention measured has energies there"
        )


def _in_table(table: "Table", share: float, seed: int, config: SpikformerConfig) -> Candidate | None:
    is_there = config in table and seed in table.seeds_of(config, share)
    return table.candidate(config, share, seed) if is_there else None


def _images_of(table: "Table", data_dir: str | Path | None) -> "Splits":
    """
    Raises:
        DataError: they are not those of the table.
    """
    from nas.datasets import loaders  # torch, only now

    identity = table.settings.identity
    splits = loaders.load(table.space, data_dir, int(identity["seed"]))
    if splits.fingerprint != identity["data.images"]:
        raise DataError(
            f"table {table.name} was trained on images {identity['data.images']}, but these are {splits.fingerprint}. "
            "Give its images with data_dir"
        )
    return splits


def _trained(table: "Table", share: float, seed: int, splits: "Splits", config: SpikformerConfig) -> Candidate:
    from nas.training import evaluate  # torch, only now

    candidate, _ = evaluate(config, splits, table.space.recipe, seed, share=share)
    return candidate


__all__ = ["Objective", "objective"]
