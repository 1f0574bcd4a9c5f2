"""A table of trained networks as one asks it; `nas.tables.load` opens one."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nas.costs import chip as chips
from nas.costs import energy
from nas.costs import memory as memories
from nas.tables.checking import Checked
from nas.tables.contents import Contents, Settings
from nas.tables.networks import Network, Networks
from nas.tables.readings import Reading, mean, reading
from nas.training import Candidate
from spikformer.fields import PlainTable

if TYPE_CHECKING:
    import pandas as pd

    from nas.tables.objective import Objective


class Table(Networks):
    """Networks that were really trained, by (config id, share of the recipe's images, seed).

    Attributes:
        name: the name under which it was exported.
        space: the search space of its networks, with images and recipe; references are not kept.
        path: the file.
        digest: the first 16 hex digits of the SHA-256 of the file.
        names_digits: whether its name carries these digits, which were compared.
    """

    def __init__(self, parts: Checked, path: Path, digest: str, *, names_digits: bool) -> None:
        super().__init__(parts)
        self.path, self.digest, self.names_digits = path, digest, names_digits
        self._header = parts.header

    def __repr__(self) -> str:
        return (
            f"Table({self.name}: {len(self.networks)} networks of {self.space.name}, {len(self.keys)} trainings, "
            f"shares {', '.join(f'{share:g}' for share in self.shares)})"
        )

    @property
    def licence(self) -> str:
        """Under which the data may be used."""
        return str(self._header["licence"])

    @property
    def card(self) -> PlainTable:
        """What it is, of which images, by which recipe, and on which machines it was trained."""
        return dict(self._header["card"])

    @property
    def settings(self) -> Settings:
        """What all its trainings share."""
        return self._records.settings

    def query(
        self,
        network: Network,
        share: float = 1.0,
        seed: int | Literal["mean"] = 0,
        convention: str = "measured",
        chip: str | None = None,
        memory: str | None = None,
    ) -> Reading:
        """Accuracy and cost of a training.

        Args:
            seed: "mean" averages over all seeds of that network and share.
            convention: under which its operations are priced (`nas.costs.energy`); below share 1 only "measured".
            chip: a model of a chip, such as "loihi", for energy and latency there; at share 1.
            memory: a model of memory, such as "lemaire2022" (`nas.costs.memory`); at share 1.

        Raises:
            TableError: no such training, or no counts to price.
            CostError: no such convention, chip or model of memory.
        """
        priced = energy.convention(convention)
        model = chips.load(chip) if chip is not None else None
        accesses = memories.load(memory) if memory is not None else None
        seeds = self.seeds_of(network, share) if seed == "mean" else (seed,)
        keys = [self._key(network, share, each) for each in seeds or (0,)]
        readings = [reading(key, self._records.record(key), priced, model, accesses) for key in keys]
        return readings[0] if seed != "mean" else mean(readings)

    def to_dataframe(
        self, convention: str = "measured", chip: str | None = None, memory: str | None = None
    ) -> "pd.DataFrame":
        """A row per training: key, accuracies, costs, choices on the axes (`choice_*`), signals (`signal_*`).

        Below share 1, energies other than "measured" are missing.
        """
        from nas.tables import frames  # pandas, only now

        return frames.dataframe(self, convention, chip, memory)

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

    @property
    def identity(self) -> PlainTable:
        """Space, images, recipe and seed of the split, as a study has them."""
        return self.settings.identity

    def trainings(self) -> list[tuple[float, Candidate]]:
        """Share of the recipe's images, and record, of each training."""
        return [(key.share, self._records.record(key)) for key in self.keys]

    def contents(self) -> Contents:
        """All of it, to be merged and written again."""
        return self._records.contents()


__all__ = ["Table"]
