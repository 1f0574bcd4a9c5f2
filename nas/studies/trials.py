"""What an Optuna trial says: it is one training of a network, up to one rung.

What matters is in its user attributes:

    config_id      equal for equal networks
    rung           to which it trains, from 0; the last is the recipe's whole training
    proposed_by    "reference", "searcher" or an Optuna sampler
    candidate      the record (`nas.training.candidate.Candidate`), once it is trained
    rung/0, ...    what the network showed there, and at the rungs below: accuracy, log10_energy_mj
    reason         why it has no values, if it has none
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

from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.searchers import Network, Observation, Record
from nas.spaces import by_axis

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def trained(study: optuna.Study) -> list[FrozenTrial]:
    """Finished trials with a training of their own, in the order in which they began."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False, states=FINISHED)
        if "candidate" in trial.user_attrs and "duplicate_of" not in trial.user_attrs
    ]


def furthest(study: optuna.Study) -> dict[str, FrozenTrial]:
    """config_id -> the trial that trained it furthest; in the order in which networks began."""
    found: dict[str, FrozenTrial] = {}
    for trial in trained(study):
        before = found.get(trial.user_attrs["config_id"])
        if before is None or rung_of(trial) > rung_of(before):
            found[trial.user_attrs["config_id"]] = trial
    return found


def rung_of(trial: FrozenTrial | optuna.Trial) -> int:
    """To which it trains."""
    return int(trial.user_attrs.get("rung", 0))


def counts(trial: FrozenTrial) -> bool:
    """Whether a network is evaluated by this trial, or will be."""
    if trial.state == TrialState.RUNNING:
        return "config_id" in trial.user_attrs
    return trial.state in FINISHED and "candidate" in trial.user_attrs


def begun(study: optuna.Study) -> set[str]:
    """config_ids of the networks that were evaluated, or are being."""
    return {trial.user_attrs["config_id"] for trial in study.get_trials(deepcopy=False) if counts(trial)}


def attempt_of(trial: FrozenTrial) -> int:
    """Which training it is of those that ended with their process, from 1."""
    return int(trial.user_attrs.get("attempt", 1))


def records(study: optuna.Study) -> list[Record]:
    """What the searcher knows: a record a network, in the order in which they began, trainings in flight included."""
    networks: dict[str, Network] = {}
    readings: dict[str, dict[int, Observation]] = {}
    reached: dict[str, int] = {}
    count = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, *FINISHED)):
        own = trial.user_attrs
        if "config_id" not in own or "duplicate_of" in own or (trial.state.is_finished() and "candidate" not in own):
            continue
        identity, rung = own["config_id"], rung_of(trial)
        networks.setdefault(identity, Network(identity, by_axis(trial.params)))
        readings.setdefault(identity, {})
        reached[identity] = max(reached.get(identity, 0), rung)
        seen = _reading(trial)
        if seen is not None:
            readings[identity][rung] = Observation(*seen, number=count)
            count += 1
    unfinished = _in_flight(study)
    return [
        Record(network, readings[i], reached[i], failed=reached[i] not in readings[i] and i not in unfinished)
        for i, network in networks.items()
    ]


def _reading(trial: FrozenTrial) -> tuple[float, float] | None:
    """Accuracy and log10 of energy, if it gave them."""
    if trial.state == TrialState.COMPLETE:
        return trial.values[0], trial.values[1]
    seen: dict[str, Any] | None = trial.user_attrs.get(f"rung/{rung_of(trial)}")
    return (seen["accuracy"], seen["log10_energy_mj"]) if seen is not None else None


def _in_flight(study: optuna.Study) -> set[str]:
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return {trial.user_attrs["config_id"] for trial in running if "config_id" in trial.user_attrs}


__all__ = ["FINISHED", "attempt_of", "begun", "counts", "furthest", "records", "rung_of", "trained"]
