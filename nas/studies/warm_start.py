"""What other studies or tables showed before a study began, as the study keeps it: a search goes on without them.

The attribute `warm_start` of a study says where the observations came from, and which rungs they are of. Attributes
`warm_start/0`, ... hold the networks, a hundred each, because some databases limit the length of one. A network is
[config_id, [place of its choice on each axis], [[rung, accuracy, log10 of the energy in mJ], ...]].
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nas.errors import StudyError
from nas.searchers import Network, Observation, Prior, Record
from nas.spaces import Axis
from nas.studies import handles
from nas.studies.study import Study
from nas.typed import hold

_KEY = "warm_start"
_EACH = 100  # networks in an attribute


@dataclass(frozen=True)
class Source:
    """A study or a table whose observations a search began with.

    Attributes:
        digest: 16 hex digits: of a table the first of its file's SHA-256, of a study of that of what it had read.
        networks: how many of its networks the search uses, of all that are points of its space.
        alike: whether images and recipe are the study's own, so that readings count as they are and not by rank.
    """

    name: str
    kind: Literal["study", "table"]
    digest: str
    networks: int
    alike: bool

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def sentence(self) -> str:
        """For the report."""
        how = "trained alike" if self.alike else "trained otherwise, by their ranks"
        return f"{self.networks} networks of {self} (SHA-256 {self.digest}...), {how}"


@dataclass(frozen=True)
class WarmStart:
    """Where prior observations come from, and what they are."""

    sources: tuple[Source, ...]
    prior: Prior


def sources_of(study: Study) -> tuple[Source, ...]:
    """Those that a study began with.

    Raises:
        StudyError: what the study says of them is damaged.
    """
    header = handles.attributes_of(study.optuna).get(_KEY)
    try:
        sources = tuple(Source(**source) for source in header["sources"]) if header is not None else ()
        for source in sources:
            hold(source)
    except (TypeError, KeyError) as error:
        raise _damaged(study, error) from None
    return sources


def prior_of(study: Study, axes: Sequence[Axis]) -> Prior:
    """The observations that a study began with; empty where it began with none.

    Raises:
        StudyError: they are damaged.
    """
    attributes = handles.attributes_of(study.optuna)
    if _KEY not in attributes:
        return Prior()
    try:
        header = attributes[_KEY]
        parts = [attributes[f"{_KEY}/{i}"] for i in range(header["parts"])]
        numbers = itertools.count()
        records = [_record(entry, axes, numbers) for part in parts for entry in part]
        prior = Prior(records, tuple(map(float, header["shares"])), tuple(map(int, header["studies"])))
        _check(prior, study)
    except (TypeError, LookupError, ValueError, AttributeError) as error:
        raise _damaged(study, error) from None
    return prior


def keep(study: Study, warm_start: WarmStart, axes: Sequence[Axis]) -> None:
    """Store them; the header comes last, so that what is there is whole."""
    entries = [_entry(record, axes) for record in warm_start.prior.records]
    parts = [entries[i : i + _EACH] for i in range(0, len(entries), _EACH)]
    for i, part in enumerate(parts):
        study.optuna.set_user_attr(f"{_KEY}/{i}", part)
    header = {
        "sources": [dataclasses.asdict(source) for source in warm_start.sources],
        "shares": list(warm_start.prior.shares),
        "studies": list(warm_start.prior.studies),
        "parts": len(parts),
    }
    study.optuna.set_user_attr(_KEY, header)


def _entry(record: Record, axes: Sequence[Axis]) -> list[object]:
    places = [axis.choices.index(record.network.params[axis.name]) for axis in axes]
    readings = [[rung, reading.accuracy, reading.log10_energy] for rung, reading in record.observations.items()]
    return [record.network.identity, places, readings]


def _record(entry: Any, axes: Sequence[Axis], numbers: "itertools.count[int]") -> Record:
    """
    Raises:
        TypeError, LookupError, ValueError: the entry is damaged.
    """
    identity, places, readings = entry
    params = {axis.name: axis.choices[place] for axis, place in zip(axes, places, strict=True)}
    observations = {
        int(rung): Observation(float(accuracy), float(energy), next(numbers)) for rung, accuracy, energy in readings
    }
    return Record(Network(str(identity), params), observations, max(observations))


def _check(prior: Prior, study: Study) -> None:
    """
    Raises:
        ValueError: a number is out of its range.
    """
    rungs = len(study.identity.get("recipe.rungs", [1.0])) + len(prior.shares)
    if len(prior.studies) != len(prior.shares) or not all(0 < share <= 1 for share in prior.shares):
        raise ValueError("its rungs do not fit each other")
    if list(prior.studies) != sorted(prior.studies) or min(prior.studies, default=1) < 1:
        raise ValueError("its rungs are not those of other studies")
    for record in prior.records:
        for rung, reading in record.observations.items():
            if not (0 <= rung < rungs and 0 <= reading.accuracy <= 1 and math.isfinite(reading.log10_energy)):
                raise ValueError(f"the readings of network {record.network.identity} are out of range")


def _damaged(study: Study, error: Exception) -> StudyError:
    return StudyError(
        f"the prior observations of study {study.name} are damaged ({type(error).__name__}: {error}). Restore it from "
        "a backup, or search under another name"
    )


__all__ = ["Source", "WarmStart", "keep", "prior_of", "sources_of"]
