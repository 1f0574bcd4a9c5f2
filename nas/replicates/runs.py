"""Trainings beside a search's own, kept in a storage: repeats of its networks, and what a proxy is held against.

They are an Optuna study of their own, in the same storage as the search's, under a name that no search can have. Each
training is there once, whichever run of the command did it; what was interrupted goes on.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import TrialState

from nas.engines import (
    check_processes,
    places_of,
)
from nas.errors import RecordError, StudyError
from nas.settings import Recipe
from nas.spaces import completed
from nas.studies import handles
from nas.studies import storage as storages
from nas.training import Candidate
from nas.typed import hold
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError, TrustError
from spikformer.fields import PlainTable

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A training to do.

    Attributes:
        label: for people.
        share: of the recipe's images.
        of: config_id of the network that it tells about; of a twin not its own.
        what: it is of it: "repeat" or "twin".
    """

    label: str
    config: SpikformerConfig
    recipe: Recipe
    seed: int
    share: float = 1.0
    of: str = ""
    what: str = "repeat"

    @property
    def key(self) -> str:
        """Equal for equal trainings, whatever they are called."""
        text = json.dumps([self.config.config_id, dataclasses.asdict(self.recipe), self.seed, self.share])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Trained:
    """A run that was done: `of` and `what` as in `Run`, `share` of the recipe's images."""

    candidate: Candidate
    of: str
    what: str
    share: float

    def key(self, stored: str) -> str:
        """That of its run today, so that a record under ids of another version counts.

        Args:
            stored: its key in the record, which stays where the network has a block that may not be imported here.
        """
        candidate = self.candidate
        try:
            return Run("", candidate.config, candidate.recipe, candidate.seed, self.share).key
        except (ConfigError, TrustError):
            return stored


@dataclass(frozen=True)
class Runs:
    """What was trained, in a storage."""

    optuna: optuna.Study

    def done(self) -> dict[str, Trained]:
        """Key of a run -> what came of it; of two, the first."""
        by_key: dict[str, Trained] = {}
        for trial in self.optuna.get_trials(deepcopy=False):
            stored = trial.user_attrs
            if "key" in stored:
                try:
                    trained = _trained(stored)
                except (KeyError, TypeError, RecordError) as error:
                    _LOGGER.warning(
                        "Run %d of %s cannot be read and is left out (%s)", trial.number, self.optuna.study_name, error
                    )
                    continue
                by_key.setdefault(trained.key(str(stored["key"])), trained)
        return by_key

    def add(self, run: Run, candidate: Candidate) -> None:
        """Keep a record: it is there whole, or not at all."""
        values = None
        if candidate.is_ranked and candidate.search_val_accuracy is not None and candidate.energy_mj:
            values = [candidate.search_val_accuracy, candidate.energy_mj]
        self.optuna.add_trial(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE if values else TrialState.PRUNED,
                values=values,
                user_attrs={
                    "key": run.key,
                    "label": run.label,
                    "of": run.of or run.config.config_id,
                    "what": run.what,
                    "share": run.share,
                    "candidate": candidate.to_dict(),
                },
            )
        )


def _trained(stored: PlainTable) -> Trained:
    """
    Raises:
        KeyError, TypeError, RecordError: it is damaged, or another version of this program wrote it.
    """
    trained = Trained(Candidate.from_dict(stored["candidate"]), stored["of"], stored["what"], stored["share"])
    hold(trained)
    return trained


def beside(study: optuna.Study, what: str) -> Runs | None:
    """Those that are kept with a study, if there are any."""
    return existing(study.study_name, what, handles.storage_of(study))


def existing(name: str, what: str, storage: optuna.storages.BaseStorage) -> Runs | None:
    """Those of that name, if they were begun."""
    try:
        with storages.quiet_optuna():
            return Runs(optuna.load_study(study_name=storages.companion(name, what), storage=storage))
    except KeyError:
        return None


def opened(name: str, what: str, storage: optuna.storages.BaseStorage, settings: PlainTable) -> Runs:
    """Those of that name, begun if they are not there.

    Args:
        settings: on which results depend, and that all its runs share.

    Raises:
        StudyError: they were begun with other settings.
    """
    study = optuna.create_study(
        study_name=storages.companion(name, what),
        storage=storage,
        directions=storages.DIRECTIONS,
        load_if_exists=True,
    )
    study.set_metric_names(["search_val_accuracy", "energy_mj"])
    asked = json.loads(json.dumps(settings))
    before = study.user_attrs.get("settings")
    if before is None:
        study.set_user_attr("settings", asked)
    elif (before := completed(before)) != (asked := completed(asked)):
        changed = [key for key in sorted({*before, *asked}) if before.get(key) != asked.get(key)]
        raise StudyError(
            f"{study.study_name} was begun with other settings ({', '.join(changed)} differ): its results would not "
            "be comparable. Restore the settings, or give another name"
        )
    return Runs(study)


@dataclass(frozen=True)
class Place:
    """Where trainings run, and where they leave how far they came.

    Attributes:
        folder: of the study, or of what stands for one.
        workers, per_gpu: see `nas.searching.opening.search`.
    """

    folder: Path
    device: str = "auto"
    workers: int = 1
    per_gpu: int = 1

    def check(self) -> None:
        """
        Raises:
            StudyError: no such device, workers that do not fit or are too many, a folder that cannot be written.
        """
        check_processes(self.workers)
        storages.check_writable(self.folder)
        places_of(self.device, self.workers, self.per_gpu)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the folder, so that no other process of this machine trains its runs."""
        with storages.exclusive_lock(self.folder / "runs", wait_s=0):
            yield


__all__ = ["Place", "Run", "Runs", "Trained", "beside", "existing", "opened"]
