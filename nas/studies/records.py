"""Records of a study's trials: read from a trial, and what they say together."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from nas.errors import StudyError
from nas.settings import DataSettings, Recipe
from nas.spaces import Axis, Choice, SearchSpace, by_axis
from nas.studies import trials
from nas.studies.trials import Snapshot
from nas.training import Candidate
from spikformer.errors import ConfigError
from spikformer.fields import PlainTable
from spikformer.identity import is_id


@dataclass(frozen=True)
class Spent:
    """What a study's trainings cost in all: networks trained up to each rung, images seen, hours with measuring."""

    networks: tuple[int, ...]
    images: int
    hours: float


@dataclass(frozen=True)
class Training:
    """One that a search did, at any rung.

    Attributes:
        trial: its own; the same network has another at each rung.
        full: whether on all images, with a result that can be ranked.
        accuracy: share of the search-val images; None where the network gave no reading.
        choices: axis -> choice.
    """

    trial: int
    config_id: str
    rung: int
    status: str
    images_seen: int
    accuracy: float | None
    energy_mj: float | None
    full: bool
    choices: dict[str, Choice]
    ended: datetime.datetime | None


@dataclass(frozen=True)
class FullTraining:
    """A network of the study, trained in full.

    Attributes:
        trial: whose candidate it came from.
        config_id: of the network as it was trained.
        images: fingerprint of the training images.
        folder: where the trained network was written.
    """

    trial: int
    config_id: str
    test_top1: float
    test_images: int
    epochs: int
    seed: int
    images: str
    folder: str


def parsed(trial: FrozenTrial, study: str) -> Candidate:
    """The record that a finished trial of a study holds.

    Raises:
        StudyError: another version of this program wrote it.
    """
    try:
        return Candidate.from_dict(trial.user_attrs["candidate"])
    except (KeyError, TypeError, ConfigError) as error:
        raise StudyError(
            f"trial {trial.number} of study {study} was recorded by another version of this program "
            f"({type(error).__name__}: {error}). Go on with that version, or search under another study name"
        ) from error


def absent(number: int, study: str, snapshot: Snapshot, candidates: Mapping[int, Candidate]) -> StudyError:
    """The error that a study has no candidate of a number: it is not there, or was trained further in another trial."""
    every = {trial.number: trial for trial in snapshot.trained}
    last = {candidate.config_id: n for n, candidate in candidates.items()}
    further = last.get(every[number].user_attrs["config_id"]) if number in every else None
    state = "is not there" if further is None else f"was trained further in trial {further}: use that one"
    return StudyError(f"trial {number} of study {study} {state}")


def check_id(config_id: str, study: str) -> None:
    """Refuse a record whose id is no id: it may name a file elsewhere.

    Raises:
        StudyError: it is none.
    """
    if not is_id(config_id):
        raise StudyError(f'study {study} holds a record of network "{config_id}", which is no id of ours')


def training_of(trial: FrozenTrial, record: Candidate) -> Training:
    """A finished trial and its record as a training."""
    return Training(
        trial.number,
        trial.user_attrs["config_id"],
        trials.rung_of(trial),
        record.status,
        record.images_seen,
        record.search_val_accuracy if record.is_ranked else None,
        record.energy_mj if record.is_ranked else None,
        record.status == "complete",
        by_axis(trial.params),
        trial.datetime_complete,
    )


def spent_on(trained: Sequence[tuple[FrozenTrial, Candidate]]) -> Spent:
    """What trainings cost in all."""
    rungs = [trials.rung_of(trial) for trial, _ in trained]
    networks = tuple(rungs.count(rung) for rung in range(max(rungs, default=0) + 1))
    hours = sum(record.provenance["wall_s"] for _, record in trained) / 3600
    return Spent(networks, sum(record.images_seen for _, record in trained), hours)


def references_in(snapshot: Snapshot) -> dict[str | None, str]:
    """config_id -> name, of networks that the space names."""
    named = [t.user_attrs for t in snapshot.trials if t.state in trials.FINISHED and "reference" in t.user_attrs]
    return {attributes.get("config_id"): attributes["reference"] for attributes in reversed(named)}


def space_of(study: str, identity: Mapping[str, object]) -> SearchSpace:
    """The space that a study searched, as far as results depend on it: without references and constraints.

    Raises:
        StudyError: it has not begun, or another version of this program began it.
    """
    parts: dict[str, PlainTable] = {"space": {}, "data": {}, "recipe": {}}
    for key, value in identity.items():
        section, _, name = key.partition(".")
        parts.setdefault(section, {})[name] = tuple(value) if isinstance(value, list) else value
    try:
        axes = [Axis(name, dict(pairs)) for name, pairs in parts["space"]["axes"].items()]
        settings = {name: value for name, value in parts["data"].items() if name != "images"}
        recipe = Recipe(**parts["recipe"])
        return SearchSpace(study, parts["space"]["base"], tuple(axes), {}, DataSettings(**settings), recipe)
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(
            f"study {study} does not say what it searched ({type(error).__name__}: {error}). Search again "
            "under another study name"
        ) from None


def trained_otherwise(mine: Mapping[str, object], theirs: Mapping[str, object]) -> tuple[str, ...]:
    """Settings of data and training in which two identities differ.

    Rungs and space may differ: how many networks are trained in full does not change how.
    """
    keys = {key for key in (*mine, *theirs) if key.startswith(("data.", "recipe."))} - {"recipe.rungs"}
    return tuple(sorted(key for key in keys if mine.get(key) != theirs.get(key)))


__all__ = [
    "FullTraining",
    "Spent",
    "Training",
    "absent",
    "check_id",
    "parsed",
    "references_in",
    "space_of",
    "spent_on",
    "trained_otherwise",
    "training_of",
]
