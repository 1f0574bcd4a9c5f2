"""A study as it is stored: the one place that reads candidates out of Optuna's storage.

A study is an Optuna study with two objectives, accuracy on search-val (to maximise) and the logarithm of energy (to
minimise); what its trials say is in `nas.studies.trials`, how they come about in `nas.searching.loop`.
"""

import dataclasses
import datetime
import typing
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from nas.costs import IMAGE_SIZE
from nas.errors import StudyError
from nas.settings import Constraints, DataSettings, Recipe
from nas.spaces import Axis, Choice, SearchSpace
from nas.stats import pareto
from nas.studies import constraints as limits
from nas.studies import storage as storages
from nas.studies import trials, urls
from nas.studies.trials import Snapshot
from nas.training import Candidate, EnergyOf, front_of
from spikformer.errors import ConfigError
from spikformer.fields import PlainTable, nearest
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


_FULL = "full_training"
_ACCOUNT = "data_account"


@dataclass(frozen=True)
class Study:
    """A study as it is stored: candidates by trial number, the Optuna study, and where its files go."""

    name: str
    folder: Path
    optuna: optuna.Study
    _known: dict[int, Candidate] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def snapshot(self) -> Snapshot:
        """Its trials as the storage holds them now."""
        return Snapshot.of(self.optuna)

    @property
    def candidates(self) -> dict[int, Candidate]:
        """Trial number -> candidate; each network once, as it was trained furthest, under its reference's name."""
        return self.candidates_in(self.snapshot())

    def candidates_in(self, snapshot: Snapshot) -> dict[int, Candidate]:
        """As `candidates`, of the moment of a snapshot."""
        own = [t.user_attrs for t in snapshot.trials if t.state in trials.FINISHED and "reference" in t.user_attrs]
        names = {attributes.get("config_id"): attributes["reference"] for attributes in reversed(own)}
        by_trial = {}
        for identity, trial in snapshot.furthest.items():
            candidate = self.record_of(trial)
            reference = candidate.reference or names.get(identity)
            by_trial[trial.number] = dataclasses.replace(candidate, reference=reference)
        return dict(sorted(by_trial.items()))

    @property
    def trainings(self) -> list[Training]:
        """All of them, in the order in which they ended."""
        every = [self._training(trial) for trial in self.snapshot().trained]
        return sorted(every, key=lambda t: (t.ended.timestamp() if t.ended is not None else 0.0, t.trial))

    def candidate(self, number: int) -> Candidate:
        """That of a trial.

        Raises:
            StudyError: no such trial, or its network was trained further in another.
        """
        snapshot = self.snapshot()
        candidates = self.candidates_in(snapshot)
        if number in candidates:
            return candidates[number]
        every = {trial.number: trial for trial in snapshot.trained}
        last = {c.config_id: n for n, c in candidates.items()}
        further = last.get(every[number].user_attrs["config_id"]) if number in every else None
        state = "is not there" if further is None else f"was trained further in trial {further}: use that one"
        raise StudyError(f"trial {number} of study {self.name} {state}")

    def record_of(self, trial: FrozenTrial) -> Candidate:
        """The record that a finished trial holds. A finished trial never changes, so it is parsed once.

        Raises:
            StudyError: another version of this program wrote it.
        """
        if trial.number not in self._known:
            self._known[trial.number] = self._parsed(trial)
        return self._known[trial.number]

    def _parsed(self, trial: FrozenTrial) -> Candidate:
        try:
            return Candidate.from_dict(trial.user_attrs["candidate"])
        except (KeyError, TypeError, ConfigError) as error:
            raise StudyError(
                f"trial {trial.number} of study {self.name} was recorded by another version of this program "
                f"({type(error).__name__}: {error}). Go on with that version, or search under another study name"
            ) from error

    @property
    def identity(self) -> PlainTable:
        """Space, data, recipe, seed and version of ids that its candidates share."""
        return dict(self.optuna.user_attrs.get("identity", {}))

    @property
    def space(self) -> SearchSpace:
        """That it searched, as far as results depend on it: without references and constraints.

        Raises:
            StudyError: it has not begun, or another version of this program began it.
        """
        parts: dict[str, PlainTable] = {"space": {}, "data": {}, "recipe": {}}
        for key, value in self.identity.items():
            section, _, name = key.partition(".")
            parts.setdefault(section, {})[name] = tuple(value) if isinstance(value, list) else value
        try:
            axes = [Axis(name, dict(pairs)) for name, pairs in parts["space"]["axes"].items()]
            settings = {name: value for name, value in parts["data"].items() if name != "images"}
            recipe = Recipe(**parts["recipe"])
            base = parts["space"]["base"]
            return SearchSpace(self.name, base, tuple(axes), {}, DataSettings(**settings), recipe)
        except (KeyError, TypeError, ValueError) as error:
            raise StudyError(
                f"study {self.name} does not say what it searched ({type(error).__name__}: {error}). Search again "
                "under another study name"
            ) from None

    @property
    def account(self) -> tuple[str, ...]:
        """What was read for it and how that was cut, in sentences; empty for studies of earlier versions."""
        return tuple(self.optuna.user_attrs.get(_ACCOUNT, ()))

    def keep_account(self, sentences: tuple[str, ...]) -> None:
        if self.account != sentences:
            self.optuna.set_user_attr(_ACCOUNT, list(sentences))

    @property
    def seed(self) -> int:
        """Of the cut of the data and of its trainings."""
        return int(self.identity.get("seed", 0))

    def trained_otherwise(self, other: "Study") -> tuple[str, ...]:
        """Settings of data and training in which two studies differ: then accuracies do not compare.

        Rungs and space may differ: how many networks are trained in full does not change how.
        """
        mine, theirs = self.identity, other.identity
        keys = {key for key in (*mine, *theirs) if key.startswith(("data.", "recipe."))} - {"recipe.rungs"}
        return tuple(sorted(key for key in keys if mine.get(key) != theirs.get(key)))

    @property
    def energy_of(self) -> EnergyOf:
        """Whose energy it ranks by."""
        return typing.cast(EnergyOf, self.identity.get("energy_of", "proxy"))

    @property
    def target_image_size(self) -> int:
        """In pixels, of the images of the networks that `export` makes."""
        return int(self.identity.get("target_image_size", IMAGE_SIZE))

    @property
    def constraints(self) -> Constraints:
        """What the last search asked of networks."""
        return Constraints(**self.optuna.user_attrs.get("constraints", {}))

    def keeping(self, candidates: dict[int, Candidate]) -> dict[int, Candidate]:
        """Those of them that break no constraint."""
        asked, energy_of = self.constraints, self.energy_of
        return {n: candidate for n, candidate in candidates.items() if not limits.broken(candidate, asked, energy_of)}

    @property
    def running(self) -> int:
        """Trainings that are under way, or whose process ended without a word."""
        return len(self.snapshot().running)

    @property
    def spent(self) -> Spent:
        """What its trainings cost, the repeated ones on more images included."""
        return self.spent_in(self.snapshot())

    def spent_in(self, snapshot: Snapshot) -> Spent:
        """As `spent`, up to the moment of a snapshot."""
        records = [self.record_of(trial) for trial in snapshot.trained]
        rungs = [trials.rung_of(trial) for trial in snapshot.trained]
        networks = tuple(rungs.count(rung) for rung in range(max(rungs, default=0) + 1))
        hours = sum(record.provenance["wall_s"] for record in records) / 3600
        return Spent(networks, sum(record.images_seen for record in records), hours)

    def front(self) -> dict[int, Candidate]:
        """The candidates that no other beats in both search-val accuracy and energy, by rising energy.

        Only of those that were trained in full and keep the constraints.
        """
        return front_of(self.keeping(self.candidates), self.energy_of)

    def hypervolume(self) -> float | None:
        """Of the front, in accuracy times decades of energy, from the reference point of its fully trained networks.

        Comparable within a study; between studies only from one reference point. None without a front.
        """
        kept = self.keeping(self.candidates)
        points = [point for c in kept.values() if (point := c.point(self.energy_of)) is not None]
        return pareto.hypervolume(points, pareto.reference_point(points)) if points else None

    @property
    def full_trainings(self) -> list[FullTraining]:
        """What was trained of it in full, by trial."""
        found = [value for key, value in self.optuna.user_attrs.items() if key.startswith(_FULL)]
        return sorted((FullTraining(**value) for value in found), key=lambda full: (full.trial, full.seed))

    def attach(self, full: FullTraining) -> None:
        """Record a full training; one of the same network, images, epochs and seed is replaced."""
        key = f"{_FULL}:{full.trial}:{full.config_id}:{full.images}:{full.epochs}:{full.seed}"
        self.optuna.set_user_attr(key, dataclasses.asdict(full))

    def weights(self, candidate: Candidate) -> Path:
        """Where the trained weights are, if the candidate is on the front.

        Raises:
            StudyError: its record names a place elsewhere.
        """
        if not is_id(candidate.config_id):
            raise StudyError(
                f'study {self.name} holds a record of network "{candidate.config_id}", which is no id of ours'
            )
        return self.folder / "weights" / f"{candidate.config_id}.safetensors"

    def _training(self, trial: FrozenTrial) -> Training:
        record = self.record_of(trial)
        return Training(
            trial.number,
            trial.user_attrs["config_id"],
            trials.rung_of(trial),
            record.status,
            record.images_seen,
            record.search_val_accuracy if record.is_ranked else None,
            record.energy_mj if record.is_ranked else None,
            record.status == "complete",
            {name.split("{")[0]: choice for name, choice in trial.params.items()},
            trial.datetime_complete,
        )


def load_study(name: str | None = None, *, storage: str | None = None, results_dir: str | Path = "results") -> Study:
    """A study by name; without one, the latest.

    Raises:
        StudyError: there is none, or its storage cannot be read.
    """
    results = Path(results_dir)
    with storages.quiet_optuna():
        if storage is not None and storage.startswith("sqlite:///") and not Path(storage[10:]).is_file():
            raise StudyError(f"no database at {urls.hidden(storage)}. Run a search first, or correct --storage")
        database = storages.database(storage)
        known = storages.known_studies(results, database)
        where = urls.hidden(storage) if storage else results
        if not known:
            raise StudyError(f"no study in {where}. Run a search first, or give --storage")
        if name is not None and name not in known:
            raise StudyError(f'no study "{name}" in {where}. {nearest(name, known)}')
        chosen = name or known[-1]
        folder = storages.study_folder(results, chosen, storage)
        try:
            opened = optuna.load_study(study_name=chosen, storage=database or storages.journal(folder))
        except KeyError:  # the journal is older than its study: interrupted at its very start
            raise StudyError(f'study "{chosen}" has not begun. Run the search again') from None
        return Study(chosen, folder, opened)


__all__ = ["FullTraining", "Spent", "Study", "Training", "load_study"]
