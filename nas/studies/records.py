"""Records of a study's trials: read from a trial, and what they say together."""

import datetime
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from nas.errors import RecordError, SpaceError, StudyError
from nas.settings import Constraints, DataSettings, Recipe, ReferencePoint
from nas.spaces import Axis, Choice, SearchSpace, by_axis
from nas.studies import trials
from nas.studies.trials import Snapshot
from nas.training import Candidate, EnergyOf
from nas.typed import hold, hold_value
from spikformer import schema
from spikformer.fields import PlainTable
from spikformer.identity import is_id

_LOGGER = logging.getLogger(__name__)


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


def parsed(trial: FrozenTrial) -> Candidate:
    """The record that a finished trial of a study holds.

    Raises:
        RecordError: it is damaged, or another version of this program wrote it.
    """
    candidate = Candidate.from_dict(trial.user_attrs["candidate"])
    if not is_id(candidate.config_id):
        raise RecordError(f'"{candidate.config_id}" is not the id of a network')
    if candidate.config_id != trial.user_attrs["config_id"]:
        raise RecordError(
            f"the record describes network {candidate.config_id}, but the trial is of network "
            f"{trial.user_attrs['config_id']}: one of them was edited or damaged"
        )
    return candidate


class RecordReader:
    """Reads the records of a study. A finished trial never changes, so each is parsed once.

    A record that cannot be read is left out, and a line in the log says so once. The others are still read.

    Attributes:
        unreadable: number of a trial -> reason why its record cannot be read.
    """

    def __init__(self) -> None:
        self.unreadable: dict[int, str] = {}
        self._known: dict[int, Candidate] = {}
        self._told: set[str] = set()

    def read(
        self, study: str, trials: Iterable[FrozenTrial], unreadable: Mapping[int, str]
    ) -> list[tuple[FrozenTrial, Candidate]]:
        """Finished trials with their records.

        Args:
            unreadable: trials that are known to be so already, with the reason.
        """
        readable = []
        reasons = {number: why for number, why in unreadable.items() if number not in self.unreadable}
        for trial in trials:
            if trial.number not in self._known and trial.number not in self.unreadable:
                try:
                    self._known[trial.number] = parsed(trial)
                except RecordError as error:
                    reasons[trial.number] = self.unreadable[trial.number] = str(error)
            if trial.number in self._known:
                readable.append((trial, self._known[trial.number]))
        if reasons:
            self.unreadable.update(reasons)
            self.tell(left_out(study, reasons))
        return readable

    def tell(self, line: str) -> None:
        """Say something once: on stderr, unless the program logs elsewhere."""
        if line not in self._told:
            self._told.add(line)
            _LOGGER.warning("%s", line)


def left_out(study: str, reasons: Mapping[int, str]) -> str:
    """A line on trials whose records cannot be read.

    Args:
        reasons: why, by the number of the trial.
    """
    first = min(reasons)
    which = f"The record of trial {first}" if len(reasons) == 1 else f"The records of {len(reasons)} trials"
    of_first = reasons[first] if len(reasons) == 1 else f"of trial {first}: {reasons[first]}"
    return (
        f"{which} of study {study} cannot be read and {'is' if len(reasons) == 1 else 'are'} left out ({of_first}). "
        "The study is damaged, or another version of this program wrote it: use that version, or restore the file"
    )


def absent(number: int, study: str, snapshot: Snapshot, candidates: Mapping[int, Candidate]) -> StudyError:
    """The error that a study has no candidate of a number: it is not there, or was trained further in another trial."""
    every = {trial.number: trial for trial in snapshot.trained}
    last = {candidate.config_id: n for n, candidate in candidates.items()}
    further = last.get(every[number].user_attrs["config_id"]) if number in every else None
    state = "does not exist" if further is None else f"was trained further in trial {further}: use that one"
    return StudyError(f"trial {number} of study {study} {state}")


def check_id(config_id: str, study: str) -> None:
    """Refuse a record whose id is no id: it may name a file elsewhere.

    Raises:
        StudyError: it is none.
    """
    if not is_id(config_id):
        raise StudyError(
            f'study {study} holds a record of network "{config_id}", which is not the id of a network. Restore its file'
        )


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
    """The space that a study searched, as far as results depend on it: without references and what was asked for.

    Raises:
        StudyError: it has not begun, or another version of this program began it.
    """
    parts: dict[str, PlainTable] = {"space": {}, "data": {}, "recipe": {}}
    for key, value in identity.items():
        section, _, name = key.partition(".")
        parts.setdefault(section, {})[name] = tuple(value) if isinstance(value, list) else value
    try:
        axes = [Axis(name, dict(pairs)) for name, pairs in parts["space"]["axes"].items()]
        recipe = Recipe(**parts["recipe"])
        return SearchSpace(study, parts["space"]["base"], tuple(axes), {}, DataSettings.of(parts["data"]), recipe)
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(
            f"study {study} does not say what it searched ({type(error).__name__}: {error}). Search again "
            "under another study name"
        ) from None


def identity_in(study: str, attributes: Mapping[str, object]) -> PlainTable:
    """What a study's results depend on, by its attributes; empty before it begins.

    Raises:
        StudyError: it is damaged.
    """
    identity = attributes.get("identity", {})
    try:
        hold_value("identity", identity, dict[str, object])
        assert isinstance(identity, dict)
        for name, kind in _IDENTITY.items():
            if name in identity:
                hold_value(name, identity[name], kind)
    except TypeError as error:
        raise _damaged(study, error) from None
    return dict(identity)


_IDENTITY: dict[str, object] = {
    "seed": int,
    "energy_of": EnergyOf,
    "target_image_size": int,
    "data.dataset": str,
    "data.images": str,
    "recipe.epochs": int,
    "recipe.train_images": int,
}


SCHEMA = 1
"""Of a study: which attributes it has and what they mean. Studies of 0 have no number, and are read and continued."""


def check_schema(study: str, attributes: Mapping[str, object]) -> None:
    """
    Raises:
        StudyError: a newer version of this program searched it.
    """
    reason = schema.reason_against(attributes.get(schema.KEY), SCHEMA)
    if reason is not None:
        raise StudyError(f"study {study}: {reason}")


def constraints_in(study: str, attributes: Mapping[str, object]) -> Constraints:
    """What the last search of a study asked of networks, by its attributes.

    Raises:
        StudyError: it is damaged.
    """
    stored = attributes.get("constraints", {})
    try:
        hold_value("constraints", stored, dict[str, object])
        assert isinstance(stored, dict)
        constraints = Constraints(**stored)
        hold(constraints)
    except (TypeError, SpaceError) as error:
        raise _damaged(study, error) from None
    return constraints


def hypervolume_from_in(study: str, attributes: Mapping[str, object]) -> ReferencePoint | None:
    """The reference point that the last search of a study asked for, by its attributes.

    Raises:
        StudyError: it is damaged.
    """
    stored = attributes.get("hypervolume_from")
    if stored is None:
        return None
    try:
        hold_value("hypervolume_from", stored, dict[str, float])
        assert isinstance(stored, dict)
        return ReferencePoint(**stored)
    except (TypeError, SpaceError) as error:
        raise _damaged(study, error) from None


def _damaged(study: str, error: Exception) -> StudyError:
    return StudyError(
        f"the settings of study {study} are damaged ({error}). Restore it from a backup, or search under another name"
    )


def full_trainings_in(stored: Iterable[object]) -> tuple[list[FullTraining], int]:
    """The full trainings among attributes of a study, and how many of these are none."""
    read, unreadable = [], 0
    for values in stored:
        try:
            hold_value("full_training", values, dict[str, object])
            assert isinstance(values, dict)
            full = FullTraining(**values)
            hold(full)
            read.append(full)
        except TypeError:
            unreadable += 1
    return read, unreadable


def trained_otherwise(mine: Mapping[str, object], theirs: Mapping[str, object]) -> tuple[str, ...]:
    """Settings of data and training in which two identities differ.

    Rungs and space may differ: how many networks are trained in full does not change how.
    """
    keys = {key for key in (*mine, *theirs) if key.startswith(("data.", "recipe."))} - {"recipe.rungs"}
    return tuple(sorted(key for key in keys if mine.get(key) != theirs.get(key)))


__all__ = [
    "SCHEMA",
    "FullTraining",
    "RecordReader",
    "Spent",
    "Training",
    "absent",
    "check_id",
    "check_schema",
    "constraints_in",
    "full_trainings_in",
    "hypervolume_from_in",
    "identity_in",
    "left_out",
    "parsed",
    "references_in",
    "space_of",
    "spent_on",
    "trained_otherwise",
    "training_of",
]
