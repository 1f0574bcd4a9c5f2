"""What an Optuna trial says: it is one training of a network, up to one rung.

What matters is in its user attributes:

    config_id      equal for equal networks
    rung           to which it trains, from 0; the last is the recipe's whole training
    proposed_by    "reference", "searcher" or an Optuna sampler
    candidate      the record (`nas.training.candidate.Candidate`), once it is trained
    rung/0, ...    what the network showed there, and at the rungs below: accuracy, log10_energy_mj
    reason         why it has no values, if it has none; of a trial that failed, what became of its training
    reference      the name of the reference point that it evaluates
    duplicate_of   the trial that already trained an equal network as far; its values are replayed
    retry_of       the interrupted trial that it repeats
    attempt        how many trainings of it have begun, this one included, if others ended with their process
    holder, beat   whose it is, and when that process last showed life (`nas.studies.leases`)
    stepped_back   another process was first with the same training

COMPLETE are trainings at the last rung: only these have values. PRUNED are those below it, which may have gone on in a
later trial; networks that cannot be ranked (silent, diverged, out of memory), whose constraint "usable" is broken; and
networks that are too large, which were not trained. FAIL is an interruption, which is repeated, or a trial that stepped
back, which is not.
"""

import copy
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.searchers import Network, Observation, Record
from nas.typed import hold_value

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Snapshot:
    """The trials of a study at one moment: the storage is read once, whoever asks.

    Attributes:
        trials: all of them, by number. One whose attributes cannot be read stands there as a failed one without any.
        unreadable: why, by the number of such a trial.
    """

    trials: tuple[FrozenTrial, ...]
    unreadable: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, study: optuna.Study) -> Self:
        """The trials as the storage holds them now."""
        trials = study.get_trials(deepcopy=False)
        unreadable = {trial.number: reason for trial in trials if (reason := reason_against(trial)) is not None}
        return cls(tuple(_emptied(trial) if trial.number in unreadable else trial for trial in trials), unreadable)

    @functools.cached_property
    def running(self) -> list[FrozenTrial]:
        """Trials that run, or whose process ended without a word."""
        return [trial for trial in self.trials if trial.state == TrialState.RUNNING]

    @functools.cached_property
    def in_flight(self) -> set[str]:
        """config_ids of the networks that are being trained."""
        return {trial.user_attrs["config_id"] for trial in self.running if "config_id" in trial.user_attrs}

    @functools.cached_property
    def trained(self) -> list[FrozenTrial]:
        """Finished trials with a training of their own, in the order in which they began."""
        return [
            trial
            for trial in self.trials
            if trial.state in FINISHED and "candidate" in trial.user_attrs and "duplicate_of" not in trial.user_attrs
        ]

    @functools.cached_property
    def furthest(self) -> dict[str, FrozenTrial]:
        """config_id -> the trial that trained it furthest; in the order in which networks began."""
        by_network: dict[str, FrozenTrial] = {}
        for trial in self.trained:
            before = by_network.get(trial.user_attrs["config_id"])
            if before is None or rung_of(trial) > rung_of(before):
                by_network[trial.user_attrs["config_id"]] = trial
        return by_network

    @functools.cached_property
    def begun(self) -> set[str]:
        """config_ids of the networks that were evaluated, or are being."""
        return {trial.user_attrs["config_id"] for trial in self.trials if counts(trial)}

    @functools.cached_property
    def records(self) -> list[Record]:
        """What the searcher knows: a record of each network, in the order in which they began."""
        networks: dict[str, Network] = {}
        observations: dict[str, dict[int, Observation]] = {}
        reached: dict[str, int] = {}
        count = 0
        for trial in filter(_tells, self.trials):
            identity, rung = trial.user_attrs["config_id"], rung_of(trial)
            choices = {name.split("{")[0]: choice for name, choice in trial.params.items()}
            networks.setdefault(identity, Network(identity, choices))
            observations.setdefault(identity, {})
            reached[identity] = max(reached.get(identity, 0), rung)
            shown = _shown(trial)
            if shown is not None:
                observations[identity][rung] = Observation(*shown, number=count)
                count += 1
        return [
            Record(
                network,
                observations[i],
                reached[i],
                failed=reached[i] not in observations[i] and i not in self.in_flight,
            )
            for i, network in networks.items()
        ]


_ATTRIBUTES: dict[str, type] = {
    **dict.fromkeys(("config_id", "proposed_by", "reason", "reference", "stepped_back", "token", "network"), str),
    **dict.fromkeys(("rung", "attempt", "duplicate_of", "retry_of"), int),
    **dict.fromkeys(("candidate", "holder"), dict),
    "beat": float,
}
"""What is written on a trial, and of which type it is."""
_MOST_RUNGS = 1000


def reason_against(trial: FrozenTrial) -> str | None:
    """Why what is written on a trial is none of ours, damaged or made by hand; None where all is well."""
    attributes = trial.user_attrs
    if not isinstance(attributes, dict) or not isinstance(trial.system_attrs, dict):
        return "the attributes of the trial are not a table"
    try:
        for name, kind in _ATTRIBUTES.items():
            if name in attributes and (type(attributes[name]) is not kind or kind is float):
                hold_value(name, attributes[name], kind)
        for name in attributes:
            if name.startswith("rung/"):
                hold_value(name, attributes[name], dict[str, float])
        if trial.state == TrialState.COMPLETE:
            hold_value("values", trial.values, list[float])
        if "candidate" in attributes and "config_id" not in attributes:
            raise TypeError('the trial has a record, but no "config_id"')
        for name, (least, limit) in {"rung": (0, _MOST_RUNGS), "attempt": (1, math.inf)}.items():
            if not least <= attributes.get(name, least) < limit:
                raise TypeError(f'"{name}" is {attributes[name]}, but must be at least {least} and below {limit:g}')
        for name in ("duplicate_of", "retry_of"):
            if not 0 <= attributes.get(name, 0) <= trial.number:
                raise TypeError(f'"{name}" is {attributes[name]}, but must be the number of an earlier trial')
    except TypeError as error:
        return str(error)
    return None


def _emptied(trial: FrozenTrial) -> FrozenTrial:
    empty = copy.copy(trial)
    empty.user_attrs, empty.system_attrs, empty.state, empty.values = {}, {}, TrialState.FAIL, None
    return empty


def rung_of(trial: FrozenTrial | optuna.Trial) -> int:
    """The rung to which a trial trains."""
    return int(trial.user_attrs.get("rung", 0))


def values_of(trial: FrozenTrial) -> tuple[float, float]:
    """Accuracy and log10 of energy of a complete trial."""
    assert trial.values is not None
    return trial.values[0], trial.values[1]


def counts(trial: FrozenTrial) -> bool:
    """Whether a network is evaluated by this trial, or will be."""
    if trial.state == TrialState.RUNNING:
        return "config_id" in trial.user_attrs
    return trial.state in FINISHED and "candidate" in trial.user_attrs


def attempt_of(trial: FrozenTrial) -> int:
    """Which training it is of those that ended with their process, from 1."""
    return int(trial.user_attrs.get("attempt", 1))


def _tells(trial: FrozenTrial) -> bool:
    """Whether a trial tells the searcher something: it is a training of its own, which runs or has a record."""
    attributes = trial.user_attrs
    if "config_id" not in attributes or "duplicate_of" in attributes:
        return False
    return trial.state == TrialState.RUNNING or (trial.state in FINISHED and "candidate" in attributes)


def _shown(trial: FrozenTrial) -> tuple[float, float] | None:
    """Accuracy and log10 of energy, if the trial gave them."""
    if trial.state == TrialState.COMPLETE:
        return values_of(trial)
    reading: dict[str, float] | None = trial.user_attrs.get(f"rung/{rung_of(trial)}")
    return (reading["accuracy"], reading["log10_energy_mj"]) if reading is not None else None


__all__ = ["FINISHED", "Snapshot", "attempt_of", "counts", "rung_of"]
