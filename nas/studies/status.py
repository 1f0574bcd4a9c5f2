"""What studies there are, and who works on them; reading them disturbs nobody."""

import datetime
import time
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import TrialState

from nas.errors import StudyError
from nas.spaces import by_axis
from nas.studies import starting, trials
from nas.studies import storage as storages
from nas.studies.leases import Owner, owner_of
from nas.studies.study import Study, load_study


@dataclass(frozen=True)
class Overview:
    """A study in a line.

    Attributes:
        evaluated, fully: networks, and those of them on all images.
        running: trainings.
        hypervolume: of the front (`nas.studies.study.Study.hypervolume`).
        changed: when a trial last began or ended; None before the first.
        trouble: why it cannot be read, if so.
    """

    name: str
    evaluated: int = 0
    fully: int = 0
    running: int = 0
    front: int = 0
    hypervolume: float | None = None
    changed: datetime.datetime | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Work:
    """A training that runs, or a search that begins.

    Attributes:
        trial: None of a search that has no training yet.
        network: its choices in the space, or its name as a reference.
        attempt: which one it is, from 1, if earlier ones ended with their process.
        since: when it began.
        owner: the process that trains it; None for a trial that somebody else's program began.
        heartbeat_s: seconds since the owner last showed life, by the two machines' clocks.
        alive: whether it lives; None where this machine cannot tell.
    """

    trial: int | None
    rung: int
    network: str
    attempt: int
    since: datetime.datetime | None
    owner: Owner | None
    heartbeat_s: float | None
    alive: bool | None


def overview(results: Path, storage: str | None, study: str | None = None) -> list[Overview]:
    """All studies of a results folder or a storage, the latest last.

    Args:
        study: name of the only one that is asked for.

    Raises:
        StudyError: the storage cannot be opened, or has no such study.
    """
    with storages.quiet_optuna():
        known = storages.known_studies(results, storages.database(storage))
    if study is not None and study not in known:
        raise StudyError(storages.unknown(study, known, results, storage))
    return [_overview(name, results, storage) for name in known if study in (None, name)]


def _overview(name: str, results: Path, storage: str | None) -> Overview:
    try:
        study = load_study(name, storage=storage, results_dir=results)
        candidates = study.candidates
        front, hypervolume = study.front(), study.hypervolume()
    except StudyError as error:
        return Overview(name, trouble=str(error))
    every = study.snapshot().trials
    times = [moment for t in every for moment in (t.datetime_start, t.datetime_complete) if moment is not None]
    return Overview(
        name,
        evaluated=len(candidates),
        fully=sum(candidate.status == "complete" for candidate in candidates.values()),
        running=sum(trial.state == TrialState.RUNNING for trial in every),
        front=len(front),
        hypervolume=hypervolume,
        changed=max(times, default=None),
        trouble=f"unreadable records: {study.unreadable}" if study.unreadable else "",
    )


def work(study: Study) -> list[Work]:
    """Searches that begin, and what is being trained, each in the order in which it began."""
    trainings = [_beginning(start) for start in starting.starts(study.optuna)]
    for trial in study.snapshot().running:
        attributes, owner = trial.user_attrs, owner_of(trial)
        choices = " ".join(f"{axis}={choice}" for axis, choice in by_axis(trial.params).items())
        trainings.append(
            Work(
                trial.number,
                trials.rung_of(trial),
                attributes.get("reference", choices),
                trials.attempt_of(trial),
                trial.datetime_start,
                owner,
                time.time() - attributes["beat"] if "beat" in attributes else None,
                not owner.has_ended() if owner is not None and owner.is_here() else None,
            )
        )
    return trainings


def _beginning(start: starting.Start) -> Work:
    since = datetime.datetime.fromtimestamp(start.since)
    alive = True if start.owner.is_here() else None
    return Work(None, 0, "starting: measures its speed", 1, since, start.owner, None, alive)


__all__ = ["Overview", "Work", "overview", "work"]
