"""A table of trained networks as one asks it; `nas.tables.load` opens one."""

import functools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nas.costs import chip as chips
from nas.costs import energy
from nas.errors import SpaceError, TableError
from nas.spaces import Choice, SearchSpace, by_axis
from nas.tables.checking import Checked
from nas.tables.contents import Contents, Key, Settings, Signals
from nas.tables.readings import Reading, mean, reading
from nas.tables.records import Records
from nas.training import Candidate
from spikformer.config import SpikformerConfig
from spikformer.fields import PlainTable, nearest

if TYPE_CHECKING:
    import pandas as pd

    from nas.tables.objective import Objective

Network = SpikformerConfig | str
"""A config, or the id of one."""


class Table:
    """Networks that were really trained, by (config id, share of the recipe's images, seed).

    Attributes:
        path: the file.
        names_digits: whether its name carries digits of its SHA-256, which were compared.
    """

    def __init__(self, parts: Checked, path: Path, *, names_digits: bool) -> None:
        self.path, self.names_digits = path, names_digits
        self._header, self._space = parts.header, parts.space
        self._records = Records(parts)

    def __repr__(self) -> str:
        return (
            f"Table({self.name}: {len(self.networks)} networks of {self._space.name}, {len(self.keys)} trainings, "
            f"shares {', '.join(f'{share:g}' for share in self.shares)})"
        )

    @property
    def name(self) -> str:
        """The name under which it was exported."""
        return str(self._header["name"])

    @property
    def licence(self) -> str:
        """Under which the data may be used."""
        return str(self._header["licence"])

    @property
    def card(self) -> PlainTable:
        """What it is, of which images, by which recipe, and on which machines it was trained."""
        return dict(self._header["card"])

    @property
    def space(self) -> SearchSpace:
        """The search space of its networks, with images and recipe; references are not kept."""
        return self._space

    @property
    def settings(self) -> Settings:
        """What all its trainings share."""
        return self._records.settings

    @property
    def networks(self) -> Mapping[str, SpikformerConfig]:
        """config_id -> config."""
        return self._records.configs

    @property
    def keys(self) -> Sequence[Key]:
        """Those of all trainings, sorted."""
        return tuple(self._records.rows)

    @functools.cached_property
    def shares(self) -> tuple[float, ...]:
        """Shares of the recipe's images at which some network was trained, rising."""
        return tuple(sorted({key.share for key in self._records.rows}))

    @functools.cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds with which some network was trained."""
        return tuple(sorted({key.seed for key in self._records.rows}))

    def __contains__(self, network: object) -> bool:
        identity = network.config_id if isinstance(network, SpikformerConfig) else network
        return identity in self._records.configs

    def seeds_of(self, network: Network, share: float = 1.0) -> tuple[int, ...]:
        """Seeds with which a network was trained at a share."""
        return tuple(key.seed for key in self._records.keys_of[self._id(network)] if key.share == share)

    def candidate(self, network: Network, share: float = 1.0, seed: int = 0) -> Candidate:
        """The record of a training, as if it had been trained now; below share 1 without counts of operations.

        Raises:
            TableError: it is not in the table.
        """
        return self._records.record(self._key(network, share, seed))

    def query(
        self,
        network: Network,
        share: float = 1.0,
        seed: int | Literal["mean"] = 0,
        convention: str = "measured",
        chip: str | None = None,
    ) -> Reading:
        """Accuracy and cost of a training.

        Args:
            seed: "mean" averages over all seeds of that network and share.
            convention: under which its operations are priced (`nas.costs.energy`); below share 1 only "measured".
            chip: a model of a chip, such as "loihi", for energy and latency there; at share 1.

        Raises:
            TableError: no such training, or no counts to price.
            CostError: no such convention or chip.
        """
        priced = energy.convention(convention)
        model = chips.load(chip) if chip is not None else None
        seeds = self.seeds_of(network, share) if seed == "mean" else (seed,)
        keys = [self._key(network, share, each) for each in seeds or (0,)]
        readings = [reading(key, self._records.record(key), priced, model) for key in keys]
        return readings[0] if seed != "mean" else mean(readings)

    def signals(self, network: Network) -> Signals:
        """Zero-cost signals of the untrained network; NaN where they were not computed."""
        return self._records.signals(self._id(network))

    def choices(self, network: Network) -> dict[str, Choice]:
        """Axis of the space -> choice of a network; empty for one outside the space, such as a reference."""
        try:
            return by_axis(self._space.params(self._records.configs[self._id(network)]))
        except SpaceError:
            return {}

    def sample_config(self, rng: random.Random) -> SpikformerConfig:
        """A network of the table, each as likely as another."""
        return self._records.configs[rng.choice(self._records.ids)]

    def to_dataframe(self, convention: str = "measured", chip: str | None = None) -> "pd.DataFrame":
        """A row per training: key, accuracies, costs, choices on the axes (`choice_*`), signals (`signal_*`).

        Below share 1, energies other than "measured" are missing.
        """
        from nas.tables import frames  # pandas, only now

        return frames.dataframe(self, convention, chip)

    def objective(
        self,
        kind: Literal["table", "live"] = "table",
        *,
        share: float = 1.0,
        seed: int = 0,
        convention: str = "measured",
        data_dir: str | Path | None = None,
    ) -> "Objective":
        """An Optuna objective over the space of the table: search-val accuracy, and log10 of the energy in mJ.

        Args:
            kind: "table" answers from the table, "live" trains each network now.
            data_dir: of the images that "live" trains on.

        Raises:
            TableError: no such kind, or a share at which no network was trained.
            CostError: no such convention.
            DataError: "live" has other images than the table.
        """
        from nas.tables import objective  # Optuna, only now

        return objective.objective(self, kind, share, seed, convention, data_dir)

    def contents(self) -> Contents:
        """All of it, to be merged and written again."""
        return self._records.contents()

    def _id(self, network: Network) -> str:
        identity = network.config_id if isinstance(network, SpikformerConfig) else network
        if identity not in self._records.configs:
            raise TableError(f"network {identity} is not in table {self.name}. {nearest(identity, self._records.ids)}")
        return identity

    def _key(self, network: Network, share: float, seed: int) -> Key:
        key = Key(self._id(network), share, seed)
        if key not in self._records.rows:
            others = self._records.keys_of[key.config_id][:12]
            listed = ", ".join(f"{other.share:g} with seed {other.seed}" for other in others)
            raise TableError(f"table {self.name} has no training of {key}. It has shares {listed}")
        return key


__all__ = ["Network", "Table"]
