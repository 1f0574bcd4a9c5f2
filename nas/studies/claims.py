"""A trial is added atomically; if two processes claim the same training, one withdraws.

A trial is put into the storage running, with its network, rung and owner, in one step: whoever reads it knows what is
being trained. What a sampler of Optuna needs to propose is done on a copy of the study in memory. A storage numbers
trials in the order in which it received them, so among equal trainings the lowest number stands; that needs no lock
and holds for every storage that many processes may share.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from nas.spaces import Choice, SearchSpace
from nas.studies import handles, storage, trials
from nas.studies.trials import Snapshot
from spikformer.config import SpikformerConfig
from spikformer.fields import PlainTable


@dataclass(frozen=True)
class Drawn:
    """A network as a trial names it: `system_attrs` are what the sampler keeps for itself."""

    config: SpikformerConfig
    params: dict[str, Choice]
    distributions: dict[str, BaseDistribution]
    system_attrs: PlainTable


@dataclass(frozen=True)
class Claim:
    """A training that this process has: its trial, and what the storage held once that was certain."""

    trial: FrozenTrial
    snapshot: Snapshot


def draw(
    snapshot: Snapshot,
    space: SearchSpace,
    sampler: optuna.samplers.BaseSampler,
    params: Mapping[str, Choice] | None,
) -> Drawn:
    """A network of the space with these params; the sampler chooses what they leave open, from what the study tells."""
    copy = optuna.create_study(directions=storage.DIRECTIONS, sampler=sampler)
    if params is None and not isinstance(sampler, optuna.samplers.RandomSampler):  # that reads nothing
        known = (trial for trial in snapshot.trials if trial.state != TrialState.WAITING)
        copy.add_trials([_without_records(trial) for trial in known])
    if params is not None:
        copy.enqueue_trial(dict(params))
    trial = copy.ask()
    config = space.sample(lambda name, choices: cast(Choice, trial.suggest_categorical(name, choices)))
    drawn = copy.get_trials(deepcopy=False)[trial.number]
    system = {key: value for key, value in drawn.system_attrs.items() if key != "fixed_params"}
    return Drawn(config, dict(drawn.params), dict(drawn.distributions), system)


def _without_records(trial: FrozenTrial) -> FrozenTrial:
    """What samplers read: no user attributes."""
    bare = optuna.trial.create_trial(
        state=trial.state,
        values=trial.values,
        params=trial.params,
        distributions=trial.distributions,
        system_attrs=trial.system_attrs,
    )
    bare.datetime_start, bare.datetime_complete = trial.datetime_start, trial.datetime_complete
    return bare


def register(study: optuna.Study, drawn: Drawn, attributes: Mapping[str, object], networks: int | None) -> Claim | None:
    """Put a running trial of this process into the study.

    Args:
        attributes: of the trial, its owner among them.
        networks: how many different ones the study is to have; None for as many as there are.

    Returns:
        The claim, or None where another process was first.
    """
    token = uuid.uuid4().hex
    study.add_trial(
        optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=drawn.params,
            distributions=drawn.distributions,
            user_attrs={**attributes, "config_id": drawn.config.config_id, "token": token},
            system_attrs=drawn.system_attrs,
        )
    )
    snapshot = Snapshot.of(study)
    mine, *again = [trial for trial in snapshot.trials if trial.user_attrs.get("token") == token]
    for trial in again:  # the storage went away after it had taken the trial, and was asked again
        _withdraw(study, trial, f"the same as trial {mine.number}")
    before = snapshot.trials[: mine.number]
    other = _conflict(mine, before)
    if other is not None:
        _withdraw(study, mine, f"another process was first, in trial {other.number}")
    elif networks is not None and trials.rung_of(mine) == 0 and _is_one_too_many(mine, before, networks):
        _withdraw(study, mine, f"others began the last of {networks} networks")
    else:
        return Claim(mine, snapshot)
    return None


def claim(study: optuna.Study, queued: FrozenTrial, drawn: Drawn, attributes: Mapping[str, object]) -> Claim | None:
    """Make a queued trial one of this process; None where another was first, or trains that network already."""
    try:
        if not handles.set_state(study, queued.number, TrialState.RUNNING):
            return None
    except UpdateFinishedTrialError:
        return None
    trial = handles.trial_of(study, queued.number)
    for name, distribution in drawn.distributions.items():
        if name not in trial.params:
            handles.set_parameter(study, queued.number, name, drawn.params[name], distribution)
    for name, value in {**attributes, "config_id": drawn.config.config_id}.items():
        if name not in queued.user_attrs:
            trial.set_user_attr(name, value)
    snapshot = Snapshot.of(study)
    mine = snapshot.trials[queued.number]
    if _conflict(mine, [other for other in snapshot.trials if other.number != mine.number]) is None:
        return Claim(mine, snapshot)
    handles.set_state(study, queued.number, TrialState.WAITING)
    return None


def _conflict(mine: FrozenTrial, others: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """A running trial that trains the same network as far."""
    for other in others:
        same = other.user_attrs.get("config_id") == mine.user_attrs["config_id"]
        if same and other.state == TrialState.RUNNING and trials.rung_of(other) >= trials.rung_of(mine):
            return other
    return None


def _is_one_too_many(mine: FrozenTrial, before: Sequence[FrozenTrial], networks: int) -> bool:
    begun = {trial.user_attrs["config_id"] for trial in before if trials.counts(trial)}
    return mine.user_attrs["config_id"] not in begun and len(begun) >= networks


def _withdraw(study: optuna.Study, trial: FrozenTrial, reason: str) -> None:
    handles.set_attribute(study, trial.number, "stepped_back", reason)
    handles.set_attribute(study, trial.number, "reason", f"withdrawn: {reason}")
    handles.set_state(study, trial.number, TrialState.FAIL)


__all__ = ["Claim", "Drawn", "claim", "draw", "register"]
