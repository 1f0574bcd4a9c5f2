"""What a table holds: trainings under their keys, signals of untrained networks, and what all of them share."""

import dataclasses
from dataclasses import dataclass

from nas.costs import Overheads
from nas.spaces import completed
from nas.training import Candidate
from spikformer.fields import PlainTable

Signals = dict[str, float]
"""Name of a zero-cost signal (`nas.tables.signals`) -> its value; NaN where it has none."""
SIGNALS = (
    *("gradient_l1", "gradient_l2", "parameters", "macs", "spikes", "firing_rate", "naswot", "sahd"),  # in this order
)
_NOT_SHARED = ("recipe.rungs",)  # how many networks a search trains in full does not change how


@dataclass(frozen=True, order=True)
class Key:
    """Which training: of a network, on a share of the recipe's images, with a seed."""

    config_id: str
    share: float
    seed: int

    def __str__(self) -> str:
        return f"network {self.config_id}, share {self.share:g}, seed {self.seed}"


@dataclass(frozen=True)
class Settings:
    """What all trainings of a table share.

    Attributes:
        space: name of the search space.
        identity: space, images, recipe and seed of the split, flat (`nas.studies.identity.identity_of`).
        account: what was read and how it was cut, in sentences.
    """

    space: str
    identity: PlainTable
    account: tuple[str, ...] = ()

    def differences(self, other: "Settings") -> tuple[str, ...]:
        """Settings in which two differ, so that their trainings do not compare."""
        mine, theirs = completed(self.identity), completed(other.identity)
        keys = {*mine, *theirs} - {*_NOT_SHARED, "ids"}
        return tuple(sorted(key for key in keys if mine.get(key) != theirs.get(key)))


@dataclass(frozen=True)
class Contents:
    """All of a table.

    Attributes:
        trainings: the record of each, as `kept` leaves it.
        signals: config_id -> signals of the untrained network.
    """

    settings: Settings
    trainings: dict[Key, Candidate]
    signals: dict[str, Signals]


def kept(candidate: Candidate, share: float) -> Candidate:
    """What a table keeps of a record: counts of a training in full only, and of none its activity by time step.

    The name of the machine is its owner's, and goes too; device, processor and versions stay. The id is that of today,
    because a record may have been written by a version that named networks otherwise.

    Raises:
        TrustError: the network has a block of a module that the user did not name.
    """
    provenance = {key: value for key, value in candidate.provenance.items() if key != "host"}
    kept_of_all = dataclasses.replace(
        candidate, config_id=candidate.config.config_id, reference=None, activity={}, provenance=provenance
    )
    if share == 1.0:
        return kept_of_all
    return dataclasses.replace(kept_of_all, operations=(), overheads=Overheads(), firing_rates={})


__all__ = ["SIGNALS", "Contents", "Key", "Settings", "Signals", "kept"]
