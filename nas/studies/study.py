"""A study as it is stored: the one place that reads candidates out of Optuna's storage.

A study is an Optuna study with two objectives, accuracy on search-val (to maximise) and the logarithm of energy (to
minimise); what its trials say is in `nas.studies.trials`, how they come about in `nas.searching.loop`.
"""

import dataclasses
import math
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial

from nas.costs import IMAGE_SIZE
from nas.costs import chip as chips
from nas.costs import energy as conventions
from nas.costs import memory as memories
from nas.errors import StudyError
from nas.settings import Constraints, ReferencePoint, sample_of
from nas.spaces import SearchSpace
from nas.stats import pareto
from nas.studies import constraints as limits
from nas.studies import handles, records, shown, urls
from nas.studies import storage as storages
from nas.studies.records import FullTraining, RecordReader, Spent, Training
from nas.studies.trials import Snapshot
from nas.training import Candidate, EnergyOf, front_of
from spikformer.fields import PlainTable

if TYPE_CHECKING:
    import pandas as pd

_FULL = "full_training"
_ACCOUNT = "data_account"
_DATA_DIR = "data_dir"
_HYPERVOLUME_FROM = "hypervolume_from"


@dataclass(frozen=True)
class Study:
    """A study as it is stored: candidates by trial number, the Optuna study, and where its files go."""

    name: str
    folder: Path
    optuna: optuna.Study
    _reader: RecordReader = dataclasses.field(default_factory=RecordReader, repr=False, compare=False)

    def __repr__(self) -> str:
        return shown.one_line(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: the front as a table."""
        return shown.as_html(self)

    def snapshot(self) -> Snapshot:
        """Its trials as the storage holds them now."""
        return Snapshot.of(self.optuna)

    @property
    def candidates(self) -> dict[int, Candidate]:
        """Trial number -> candidate; each network once, as it was trained furthest, under its reference's name."""
        return self.candidates_in(self.snapshot())

    def candidates_in(self, snapshot: Snapshot) -> dict[int, Candidate]:
        """As `candidates`, of the moment of a snapshot."""
        names = records.references_in(snapshot)
        by_trial = {}
        for trial, candidate in self.records_of(snapshot.furthest.values(), snapshot.unreadable):
            reference = candidate.reference or names.get(candidate.config_id)
            if reference != candidate.reference:
                candidate = dataclasses.replace(candidate, reference=reference)
            by_trial[trial.number] = candidate
        return dict(sorted(by_trial.items()))

    @property
    def trainings(self) -> list[Training]:
        """All of them, in the order in which they ended."""
        return self.trainings_in(self.snapshot())

    def trainings_in(self, snapshot: Snapshot) -> list[Training]:
        """As `trainings`, up to the moment of a snapshot."""
        every = [records.training_of(trial, record) for trial, record in self.records_of(snapshot.trained)]
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
        raise records.absent(number, self.name, snapshot, candidates)

    def records_of(
        self, trials: Iterable[FrozenTrial], unreadable: Mapping[int, str] = MappingProxyType({})
    ) -> list[tuple[FrozenTrial, Candidate]]:
        """Finished trials with the records that they hold; those that cannot be read are left out, and told of once.

        Args:
            unreadable: trials that are known to be so already, with the reason.
        """
        return self._reader.read(self.name, trials, unreadable)

    @property
    def unreadable(self) -> int:
        """How many trials have records that could not be read so far."""
        return len(self._reader.unreadable)

    @property
    def identity(self) -> PlainTable:
        """Space, data, recipe, seed and version of ids that its candidates share.

        Raises:
            StudyError: it is damaged.
        """
        return records.identity_in(self.name, handles.attributes_of(self.optuna))

    @property
    def space(self) -> SearchSpace:
        """The space that it searched; see `records.space_of`."""
        return records.space_of(self.name, self.identity)

    @property
    def sample(self) -> str:
        """What its data set holds, in a word: "image" or "recording"."""
        return sample_of(self.identity.get("data.dataset"))

    @property
    def account(self) -> tuple[str, ...]:
        """What was read for it and how that was cut, in sentences; empty for studies of earlier versions."""
        return tuple(map(str, handles.attributes_of(self.optuna).get(_ACCOUNT, ())))

    def keep_account(self, sentences: tuple[str, ...]) -> None:
        if self.account != sentences:
            self.optuna.set_user_attr(_ACCOUNT, list(sentences))

    @property
    def data_dir(self) -> str | None:
        """Where the last search that was told so read its images; another machine may have them elsewhere."""
        return typing.cast(str | None, handles.attributes_of(self.optuna).get(_DATA_DIR))

    def keep_data_dir(self, data_dir: str | Path | None) -> None:
        if data_dir is not None and self.data_dir != str(data_dir):
            self.optuna.set_user_attr(_DATA_DIR, str(data_dir))

    @property
    def seed(self) -> int:
        """Of the cut of the data and of its trainings."""
        return int(self.identity.get("seed", 0))

    def trained_otherwise(self, other: "Study") -> tuple[str, ...]:
        """Settings of data and training in which two studies differ: then accuracies do not compare."""
        return records.trained_otherwise(self.identity, other.identity)

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
        """What the last search asked of networks.

        Raises:
            StudyError: it is damaged.
        """
        return records.constraints_in(self.name, handles.attributes_of(self.optuna))

    @property
    def hypervolume_from(self) -> ReferencePoint | None:
        """The reference point that the last search asked for; None where it asked for none.

        Raises:
            StudyError: it is damaged.
        """
        return records.hypervolume_from_in(self.name, handles.attributes_of(self.optuna))

    def keep_hypervolume_from(self, asked: ReferencePoint | None) -> None:
        stored = dataclasses.asdict(asked) if asked is not None else None
        if handles.attributes_of(self.optuna).get(_HYPERVOLUME_FROM) != stored:
            self.optuna.set_user_attr(_HYPERVOLUME_FROM, stored)

    def reference_point(self, points: Sequence[pareto.Point]) -> pareto.Point:
        """Where hypervolume is measured from: the point that its last search asked for, else that of the points.

        Args:
            points: accuracy in per cent and log10 of energy in mJ, at least one.
        """
        asked = self.hypervolume_from
        point = None if asked is None else (100 * asked.accuracy, math.log10(asked.energy_mj))
        return pareto.reference_point(points, point)

    def keeping(self, candidates: dict[int, Candidate]) -> dict[int, Candidate]:
        """Those of them that break no constraint."""
        asked, energy_of = self.constraints, self.energy_of
        return {n: candidate for n, candidate in candidates.items() if not limits.broken(candidate, asked, energy_of)}

    @property
    def spent(self) -> Spent:
        """What its trainings cost, the repeated ones on more images included."""
        return self.spent_in(self.snapshot())

    def spent_in(self, snapshot: Snapshot) -> Spent:
        """As `spent`, up to the moment of a snapshot."""
        return records.spent_on(self.records_of(snapshot.trained))

    def front(self) -> dict[int, Candidate]:
        """The candidates that no other beats in both search-val accuracy and energy, by rising energy.

        Only of those that were trained in full and keep the constraints.
        """
        return front_of(self.keeping(self.candidates), self.energy_of)

    def hypervolume(self) -> float | None:
        """Of the front, in accuracy times decades of energy, from the `reference_point` of its fully trained networks.

        Comparable within a study; between studies only from one reference point. None without a front.
        """
        feasible = self.keeping(self.candidates)
        points = [point for c in feasible.values() if (point := c.point(self.energy_of)) is not None]
        return pareto.hypervolume(points, self.reference_point(points)) if points else None

    def to_dataframe(
        self,
        *,
        convention: str = "measured",
        unit_costs: str = "45nm_fp32",
        chip: str | None = None,
        memory: str | None = None,
    ) -> "pd.DataFrame":
        """A row a network, by the number of its trial: the columns of `trials.csv`, which results/README.md explains.

        A column `choice_*` has the choice of each network on an axis of the space.

        Args:
            convention: under which energies are priced and the front is taken (`nas.costs.energy`).
            unit_costs: energy per operation, by name or from a file.
            chip: a model whose energy, latency and fit become columns of their own.
            memory: a model of memory (`nas.costs.memory`), whose accesses in millijoules become columns of their own.

        Raises:
            CostError: no such convention, preset, chip or model of memory; a record without counts.
        """
        from nas.studies import networks  # pandas, only now

        model = chips.load(chip) if chip is not None else None
        accesses = memories.load(memory) if memory is not None else None
        return networks.dataframe(self, conventions.convention(convention, unit_costs), model, accesses)

    @property
    def full_trainings(self) -> list[FullTraining]:
        """What was trained of it in full, by trial."""
        stored = [value for key, value in handles.attributes_of(self.optuna).items() if key.startswith(_FULL)]
        read, unreadable = records.full_trainings_in(stored)
        if unreadable:
            self._reader.tell(
                f"Records of {unreadable} full training runs of study {self.name} cannot be read and are left out"
            )
        return sorted(read, key=lambda full: (full.trial, full.seed))

    def attach(self, full: FullTraining) -> None:
        """Record a full training; one of the same network, images, epochs and seed is replaced."""
        key = f"{_FULL}:{full.trial}:{full.config_id}:{full.images}:{full.epochs}:{full.seed}"
        self.optuna.set_user_attr(key, dataclasses.asdict(full))

    def weights(self, candidate: Candidate) -> Path:
        """Where the trained weights are, if the candidate is on the front.

        Raises:
            StudyError: its record names a place elsewhere.
        """
        records.check_id(candidate.config_id, self.name)
        return self.folder / "weights" / f"{candidate.config_id}.safetensors"


def load_study(name: str | None = None, *, storage: str | None = None, results_dir: str | Path = "results") -> Study:
    """A study by name; without one, the latest.

    Raises:
        StudyError: there is none, its storage cannot be read, or a newer version of this program searched it.
    """
    results = Path(results_dir)
    with storages.quiet_optuna():
        if storage is not None and storage.startswith("sqlite:///") and not Path(storage[10:]).is_file():
            raise StudyError(f"no database at {urls.redacted(storage)}. Run a search first, or correct --storage")
        database = storages.database(storage)
        known = storages.known_studies(results, database)
        if not known or (name is not None and name not in known):
            raise StudyError(storages.unknown(name, known, results, storage))
        chosen = name or known[-1]
        folder = storages.study_folder(results, chosen, storage)
        try:
            opened = optuna.load_study(study_name=chosen, storage=database or storages.journal(folder))
        except KeyError:  # the journal is older than its study: interrupted at its very start
            raise StudyError(f'study "{chosen}" has not begun. Run the search again') from None
        records.check_schema(chosen, opened.user_attrs)
        return Study(chosen, folder, opened)


__all__ = ["Study", "load_study"]
