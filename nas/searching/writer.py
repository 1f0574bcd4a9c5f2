"""What a search writes into trials: claims at their beginning, and at their end a record or a reason."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from nas.searching.proposals import Proposal
from nas.settings import Constraints
from nas.studies import Claim, Drawn, Leases, Study, claims, handles, trials
from nas.studies import constraints as limits
from nas.studies import identity as identities
from nas.training import Candidate, EnergyOf, in_words
from spikformer.fields import PlainTable


@dataclass(frozen=True)
class Ending:
    """How a trial ends, as Optuna stores it.

    Attributes:
        attributes: to write on the trial, in this order.
        violations: of constraints, for samplers; 0 or less is feasible.
    """

    state: TrialState
    values: tuple[float, float] | None = None
    attributes: Mapping[str, object] = field(default_factory=dict)
    violations: Mapping[str, float] = field(default_factory=dict)


def failed(reason: str) -> Ending:
    """A training that was interrupted: it is repeated."""
    return Ending(TrialState.FAIL, attributes={"reason": reason})


def refused(violations: Mapping[str, float], misfit: str | None = None) -> Ending:
    """A network that is too large to be trained.

    Args:
        misfit: why it does not fit on the chip that is asked for, if that is so.
    """
    exceeded = [f"{name} by {violations[name]:.0%}" for name in limits.violated(violations) if name != "fits"]
    reason = f"exceeds {', '.join(exceeded)}" if exceeded else f"does not fit: {misfit}"
    attributes = {"reason": f"not trained: {reason}"}
    return Ending(TrialState.PRUNED, attributes=attributes, violations=violations)


def replayed(equal: FrozenTrial) -> Ending:
    """A network that another trial has trained as far: its values are written again."""
    attributes: dict[str, object] = {"duplicate_of": equal.number}
    if equal.state == TrialState.COMPLETE:
        return Ending(TrialState.COMPLETE, trials.values_of(equal), attributes, equal.constraints)
    attributes["reason"] = f"the same network as trial {equal.number}"
    return Ending(TrialState.PRUNED, None, attributes, equal.constraints)


def recorded(
    candidate: Candidate,
    rung: int,
    is_last: bool,
    before: FrozenTrial | None,
    constraints: Constraints,
    energy_of: EnergyOf,
) -> Ending:
    """A record, what the network showed at each rung, and what that means to samplers.

    Args:
        rung: to which the network was trained; `is_last` of the recipe's.
        before: the trial that trained the same network, less far.
    """
    attributes: dict[str, object] = {"candidate": candidate.to_dict(), "network": in_words(candidate)}
    if before is not None:
        lower = (f"rung/{i}" for i in range(rung))
        attributes |= {name: before.user_attrs[name] for name in lower if name in before.user_attrs}
    ranked_mj, accuracy = candidate.ranked_mj(energy_of), candidate.search_val_accuracy
    if not candidate.is_ranked or not ranked_mj or accuracy is None:
        attributes["reason"] = "no network for ImageNet" if candidate.is_ranked else candidate.reason
        return Ending(TrialState.PRUNED, None, attributes, {"usable": 1.0})
    attributes[f"rung/{rung}"] = {"accuracy": accuracy, "log10_energy_mj": math.log10(ranked_mj)}
    if not is_last:
        return Ending(TrialState.PRUNED, None, attributes | {"reason": candidate.reason})
    violations = limits.size_violations(candidate.config, constraints)
    violations |= limits.training_violations(candidate, constraints, energy_of)
    return Ending(TrialState.COMPLETE, (accuracy, math.log10(ranked_mj)), attributes, violations)


class TrialWriter:
    """Claims trials of a study for this process, and ends them.

    Args:
        identity: what the study's results depend on; another process may have begun it with other settings.
        leases: of this process, which hold what it has claimed.
    """

    def __init__(self, study: Study, identity: PlainTable, leases: Leases) -> None:
        self.study, self.identity, self.leases = study, identity, leases

    def claim(self, proposal: Proposal, drawn: Drawn, networks: int | None) -> Claim | None:
        """A trial that is this process's, or None where another was first.

        Args:
            networks: how many the study is to have; None sets no limit.
        """
        attributes = {"rung": proposal.rung, **proposal.attributes, **self.leases.attributes()}
        if proposal.queued is not None:
            claim = claims.claim(self.study.optuna, proposal.queued, drawn, attributes)
        else:
            claim = claims.register(self.study.optuna, drawn, attributes, networks)
        if claim is not None:
            self.leases.held.add(claim.trial.number)
            identities.check_identity(self.study, self.identity)
        return claim

    def close(self, number: int, ending: Ending) -> bool:
        """End a trial; False where another process did already."""
        try:
            self._write(number, ending)
        except UpdateFinishedTrialError:
            return self._is_ours(number)
        finally:
            self.leases.held.discard(number)
        return True

    def _write(self, number: int, ending: Ending) -> None:
        study = self.study.optuna
        for name, value in ending.attributes.items():
            handles.set_attribute(study, number, name, value)
        for name, value in ending.violations.items():
            handles.trial_of(study, number).set_constraint(name, value)
        if ending.violations:  # optuna-dashboard 0.21 does not show constraints that have names
            shown = {name: round(value, 4) for name, value in ending.violations.items()}
            handles.set_attribute(study, number, "constraints", shown)
        handles.set_state(study, number, ending.state, ending.values)

    def _is_ours(self, number: int) -> bool:
        """Whether a finished trial has our result: a storage that went away had taken it before."""
        trial = self.study.snapshot().trials[number]
        return trial.state in trials.FINISHED and self.leases.owns(trial)


__all__ = ["Ending", "TrialWriter", "failed", "recorded", "refused", "replayed"]
