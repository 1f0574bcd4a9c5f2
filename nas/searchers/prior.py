"""What other studies showed of networks of the space before the search began: it informs choices and is no result."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from nas.searchers.networks import Network
from nas.searchers.observations import MOST, Record, thinned

FIRST = 40  # networks that are always kept: those of a study began at random, as do those of a table
_FEWEST = 5  # networks that two studies share before their rankings are compared
_SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Prior:
    """Observations that were made before the search.

    Rungs of the study itself come first: readings there are of the same quantities as its own. The rungs of other
    studies follow, such as of those on other images. Of these, accuracies count by their ranks.

    Attributes:
        records: of networks of the space, each once.
        shares: of the images at each rung of the other studies.
        studies: whose each of these rungs is, from 1.
    """

    records: Sequence[Record] = ()
    shares: tuple[float, ...] = ()
    studies: tuple[int, ...] = ()

    def thinned(self) -> Self:
        """What a search can use: at most 500 readings, of the first networks and of the best ranked at each rung."""
        return dataclasses.replace(self, records=thinned(self.records, FIRST, MOST))

    def alike(self, own_rungs: int) -> int:
        """How many networks have readings of the same quantities as the study's own."""
        return sum(min(record.observations) < own_rungs for record in self.records)

    def of_others(self, own_rungs: int) -> list[Network]:
        """Networks that another study has read."""
        return [record.network for record in self.records if max(record.observations) >= own_rungs]

    def agrees(self, records: Sequence[Record], own_rungs: int) -> bool:
        """Whether another study has proved to rank networks as this one does.

        So it is if Kendall's tau between the accuracies of networks that both have read is above zero, by a one-sided
        test at 5 %, for at least five networks at the lowest rung of this study and at one of the other.
        """
        known = {record.network.identity: record.observations for record in self.records}
        pairs = [
            (known[r.network.identity], r.observations[0].accuracy)
            for r in records
            if 0 in r.observations and r.network.identity in known
        ]
        for rung in range(own_rungs, own_rungs + len(self.shares)):
            both = [(of_other[rung].accuracy, own) for of_other, own in pairs if rung in of_other]
            if len(both) >= _FEWEST and _rank_alike(np.array(both)):
                return True
        return False

    def beside(self, records: Sequence[Record], most: int) -> list[Record]:
        """The networks of a study with all that was read of them, then the others: those that a model is fitted to.

        Args:
            most: observations in all, of which the study's own come first; of the others at least a fifth as many.
        """
        room = max(most // 5, most - sum(len(record.observations) for record in records))
        others = {record.network.identity: record for record in thinned(self.records, FIRST, room)}
        own = [_with(record, others.pop(record.network.identity, None)) for record in records]
        return [*own, *others.values()]


NO_PRIOR = Prior()


def _with(record: Record, other: Record | None) -> Record:
    """The record, with what another one says of rungs at which it has not been read."""
    if other is None:
        return record
    return dataclasses.replace(record, observations={**other.observations, **record.observations})


def _rank_alike(pairs_N2: npt.NDArray[np.float64]) -> bool:
    from scipy import stats  # slow to import

    return bool(stats.kendalltau(pairs_N2[:, 0], pairs_N2[:, 1], alternative="greater").pvalue < _SIGNIFICANCE)


__all__ = ["FIRST", "NO_PRIOR", "Prior"]
