"""The networks of a table, and what is kept of each."""

import functools
import random
from collections.abc import Mapping, Sequence

from nas.errors import SpaceError, TableError
from nas.spaces import Choice, by_axis
from nas.tables.checking import Checked
from nas.tables.contents import Key, Signals
from nas.tables.records import Records
from nas.training import Candidate
from spikformer.config import SpikformerConfig
from spikformer.fields import nearest

Network = SpikformerConfig | str
"""A config, or the id of one."""


class Networks:
    """Networks by config id, and their trainings by (config id, share of the recipe's images, seed)."""

    def __init__(self, parts: Checked) -> None:
        self.name = str(parts.header["name"])
        self.space = parts.space
        self._records = Records(parts)

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

    def signals(self, network: Network) -> Signals:
        """Zero-cost signals of the untrained network; NaN where they were not computed."""
        return self._records.signals(self._id(network))

    def choices(self, network: Network) -> dict[str, Choice]:
        """Axis of the space -> choice of a network; empty for one outside the space, such as a reference."""
        try:
            return by_axis(self.space.params(self._records.configs[self._id(network)]))
        except SpaceError:
            return {}

    def sample_config(self, rng: random.Random) -> SpikformerConfig:
        """A network of the table, each as likely as another."""
        return self._records.configs[rng.choice(self._records.ids)]

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


__all__ = ["Network", "Networks"]
