"""Prior observations of a search, out of studies and tables: their networks that are points of its space.

Readings by the same recipe on the same images are of the same quantities as the search's own, at the rungs that both
have. Of other ones, each network gives the reading at its largest share, and accuracies count by their ranks.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

from nas.errors import SpaceError, StudyError
from nas.searchers import Network, Observation, Prior, Record
from nas.spaces import Choice, SearchSpace, by_axis
from nas.studies import Study, trained_otherwise, trials, warm_start
from nas.training import Candidate, EnergyOf
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.fields import PlainTable

Reading = tuple[float, float]
"""Accuracy, and log10 of the energy in mJ."""


class TrainedNetworks(Protocol):
    """Networks that were trained already: a `nas.tables.Table`."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str:
        """The first 16 hex digits of the SHA-256 of its file."""

    @property
    def identity(self) -> PlainTable:
        """Space, images, recipe and seed, as a study has them."""

    def trainings(self) -> Iterable[tuple[float, Candidate]]:
        """Share of the recipe's images, and record, of each training."""


class Points:
    """The networks of a source that are points of a space, and what they read.

    Args:
        energy_of: whose energy ranks the search.

    Attributes:
        read: how many networks of the source have a reading.
        networks: those that are points of the space, with their readings by share of the images.

    Raises:
        StudyError: the source has no full training, or no point of the space.
    """

    def __init__(self, source: Study | TrainedNetworks, space: SearchSpace, energy_of: EnergyOf) -> None:
        self.name, self.identity = source.name, source.identity
        self.kind: Literal["study", "table"] = "study" if isinstance(source, Study) else "table"
        trainings = _trainings_of(source) if isinstance(source, Study) else source.trainings()
        configs, readings = _read(trainings, energy_of)
        if not any(1.0 in by_share for by_share in readings.values()):
            raise StudyError(f"{self} has no network that was trained in full with a result. Leave it out")
        self.digest = _digest(readings) if isinstance(source, Study) else source.digest
        self.read = len(configs)
        points = {identity: _params(space, config) for identity, config in configs.items()}
        self.networks = [
            (Network(identity, params), readings[identity]) for identity, params in points.items() if params is not None
        ]
        if not self.networks:
            raise StudyError(
                f"none of the {self.read} networks of {self} is a point of space {space.name}: a choice on some axis "
                "or a setting of [base] differs in each. Leave it out, or search its space"
            )

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def sentence(self) -> str:
        """How many of its networks count."""
        if len(self.networks) == self.read:
            return f"All {self.read} networks of {self} are points of this space."
        count = f"{len(self.networks)} of {self.read}"
        return f"{count} networks of {self} are points of this space; the rest are left out."


def gathered(
    sources: Sequence[Study | TrainedNetworks], space: SearchSpace, identity: PlainTable, energy_of: EnergyOf
) -> tuple[warm_start.WarmStart | None, list[str]]:
    """What the sources say of networks of the space, and sentences about them; None without sources.

    Args:
        identity: of the study that begins.

    Raises:
        StudyError: a source is named twice, has no full training, or no point of the space.
    """
    if not sources:
        return None, []
    pool, sentences, counted = _Pool(space.recipe.rungs), list[str](), list[tuple[Points, bool]]()
    for source in sources:
        points = Points(source, space, energy_of)
        if str(points) in [str(other) for other, _ in counted]:
            raise StudyError(f"--warm-start names {points} twice. Name it once")
        differing = _differing(identity, points.identity, energy_of)
        pool.add(points, is_alike=not differing)
        counted.append((points, not differing))
        sentences.append(f"{points.sentence} {_how(differing)}")
    prior = pool.prior()
    used = {record.network.identity for record in prior.records}
    named = [
        warm_start.Source(p.name, p.kind, p.digest, sum(n.identity in used for n, _ in p.networks), is_alike)
        for p, is_alike in counted
    ]
    if len(used) < len(pool.networks):
        sentences.append(f"The search uses {len(used)} of these {len(pool.networks)} networks: the first and the best.")
    return warm_start.WarmStart(tuple(named), prior), sentences


class _Pool:
    """Readings of several sources, network by network.

    Args:
        rungs: shares of the images at each rung of the search.

    Attributes:
        networks: identity -> network, in the order of the sources.
    """

    def __init__(self, rungs: Sequence[float]) -> None:
        self.networks: dict[str, Network] = {}
        self._own = {share: rung for rung, share in enumerate(rungs)}
        self._shares: list[float] = []
        self._studies: list[int] = []
        self._readings: dict[str, dict[int, Reading]] = {}

    def add(self, points: Points, *, is_alike: bool) -> None:
        """Take the readings of a source; where two read the same at one rung, the first counts."""
        every = points.networks if is_alike else [(n, _largest(readings)) for n, readings in points.networks]
        rung_of = self._own if is_alike else self._further({share for _, readings in every for share in readings})
        for network, readings in every:
            known = {rung_of[share]: reading for share, reading in readings.items() if share in rung_of}
            if known:
                self.networks.setdefault(network.identity, network)
                self._readings[network.identity] = known | self._readings.get(network.identity, {})

    def prior(self) -> Prior:
        """All of it, of which `Prior.thinned` keeps what a search can use."""
        records = []
        numbers = itertools.count()
        for identity, network in self.networks.items():
            own = {rung: Observation(*reading, next(numbers)) for rung, reading in self._readings[identity].items()}
            records.append(Record(network, own, max(own)))
        return Prior(records, tuple(self._shares), tuple(self._studies)).thinned()

    def _further(self, shares: Iterable[float]) -> dict[float, int]:
        """Rungs of another study, after those that there are."""
        rung_of = {share: len(self._own) + len(self._shares) + i for i, share in enumerate(sorted(shares))}
        self._shares += rung_of
        self._studies += [max(self._studies, default=0) + 1] * len(rung_of)
        return rung_of


def check_same(study: Study, sources: Sequence[Study | TrainedNetworks]) -> None:
    """Refuse other sources than those that a study began with.

    A study that is a source may have grown since; what was taken of it stays.

    Raises:
        StudyError: they differ.
    """
    began_with = warm_start.sources_of(study)
    kept = {(s.kind, s.name, s.digest if s.kind == "table" else "") for s in began_with}
    asked = {("study", s.name, "") if isinstance(s, Study) else ("table", s.name, s.digest) for s in sources}
    if kept == asked:
        return
    how = f"with --warm-start of {', '.join(map(str, began_with))}" if began_with else "without --warm-start"
    raise StudyError(
        f"study {study.name} began {how}, and cannot take other observations now. Leave out --warm-start to continue "
        "it, or start a new study with --study NAME"
    )


def _trainings_of(study: Study) -> list[tuple[float, Candidate]]:
    shares = study.space.recipe.rungs
    trained = study.records_of(study.snapshot().trained)
    return [(shares[min(trials.rung_of(trial), len(shares) - 1)], record) for trial, record in trained]


def _read(
    trainings: Iterable[tuple[float, Candidate]], energy_of: EnergyOf
) -> tuple[dict[str, SpikformerConfig], dict[str, dict[float, Reading]]]:
    """Configs and readings by share, of the networks that have any; those of several seeds are averaged."""
    configs: dict[str, SpikformerConfig] = {}
    every: dict[str, dict[float, list[Reading]]] = {}
    for share, candidate in trainings:
        energy_mj = candidate.ranked_mj(energy_of) if candidate.is_ranked else None
        if energy_mj and candidate.search_val_accuracy is not None:
            identity = candidate.config.config_id
            configs.setdefault(identity, candidate.config)
            reading = candidate.search_val_accuracy, math.log10(energy_mj)
            every.setdefault(identity, {}).setdefault(share, []).append(reading)
    means = {i: {share: _mean(readings) for share, readings in by_share.items()} for i, by_share in every.items()}
    return configs, means


def _mean(readings: Sequence[Reading]) -> Reading:
    accuracies, energies = zip(*readings, strict=True)
    return math.fsum(accuracies) / len(readings), math.fsum(energies) / len(readings)


def _params(space: SearchSpace, config: SpikformerConfig) -> dict[str, Choice] | None:
    """Axis -> choice of a network; None if it is no point of the space."""
    try:
        params = by_axis(space.params(config))
        point = space.config(dict(params))
    except (SpaceError, ConfigError):
        return None
    return params if point.config_id == config.config_id else None  # axes do not say all of it


def _largest(readings: Mapping[float, Reading]) -> dict[float, Reading]:
    share = max(readings)
    return {share: readings[share]}


def _differing(mine: PlainTable, theirs: PlainTable, energy_of: EnergyOf) -> tuple[str, ...]:
    """Settings in which two studies differ, so that their readings do not compare."""
    differing = trained_otherwise(mine, theirs)
    if energy_of == "target" and mine.get("target_image_size") != theirs.get("target_image_size"):
        differing += ("target_image_size",)
    return differing


def _how(differing: Sequence[str]) -> str:
    if not differing:
        return "They were trained alike, so the search takes their accuracies and energies as they are."
    return (
        f"They were trained otherwise ({', '.join(differing[:3])}), so the search learns how far their ranking holds "
        "for its own networks."
    )


def _digest(readings: Mapping[str, Mapping[float, Reading]]) -> str:
    """16 hex digits of what a study had read."""
    rows = [[i, share, *reading] for i, by_share in readings.items() for share, reading in by_share.items()]
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()[:16]


__all__ = ["TrainedNetworks", "check_same", "gathered"]
