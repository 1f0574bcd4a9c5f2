"""Which training comes next: what was interrupted, references, then the searcher's choice or an Optuna sampler's."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from nas.searchers import NO_PRIOR, ConfigSpace, Prior, Record, Searcher, Settings
from nas.searching.draws import Draws, is_stuck
from nas.searching.settings import SEARCHER
from nas.settings import Constraints, ReferencePoint
from nas.spaces import Choice, SearchSpace
from nas.stats import pareto
from nas.studies import INTERRUPTED, Drawn, Snapshot, Study, trials
from nas.studies import constraints as limits
from spikformer.config import SpikformerConfig

_REDUCTION, _LAST_REDUCTION = 5.0, 2.0  # networks at a rung for one at the next; before the last of three or more
_DEAR, _REDUCTION_OF_DEAR = 0.1, 3.5  # share of the images from which on the only low rung promotes more
_FEWEST, _STARTUP = 3, 40  # networks at random, in the smallest studies and in others


@dataclass(frozen=True)
class Proposal:
    """A training to do.

    Attributes:
        rung: up to which.
        params: of the trial; None leaves them to the Optuna sampler.
        attributes: of the trial.
        queued: the trial of the study's queue that it is, if it is one.
    """

    rung: int
    params: Mapping[str, Choice] | None = None
    attributes: Mapping[str, object] = field(default_factory=dict)
    queued: FrozenTrial | None = None


def settings(rungs: Sequence[float], networks: int | None, per_promotion: Sequence[float] | None = None) -> Settings:
    """Of the searcher, for so many networks in all: the fewer, the sooner its model has to choose.

    `benchmarks/search_efficiency.py` compares the default with other rungs.

    Args:
        per_promotion: how many networks at each rung make up for one at the next; by default `reductions`.
    """
    startup = _STARTUP if networks is None else max(_FEWEST, min(_STARTUP, networks // 4))
    factors = reductions(rungs) if per_promotion is None else tuple(per_promotion)
    return Settings(shares=tuple(rungs), reduction_factor=factors, startup=startup)


def reductions(rungs: Sequence[float]) -> tuple[float, ...]:
    """How many networks at each rung but the last make up for one at the next.

    With one rung below the last, one network in five is trained in full, or one in 3.5 if that rung is a tenth of the
    images or more, which costs more and tells more. With several, one in five is promoted from each, and every other
    one of those that come to the last but one is trained in full.
    """
    between = len(rungs) - 1
    if between == 1:
        return (_REDUCTION if rungs[0] < _DEAR else _REDUCTION_OF_DEAR,)
    return (_REDUCTION,) * (between - 1) + (_LAST_REDUCTION,) * (between > 1)


class Proposer:
    """Proposes trainings for a study, from what its storage says and the seed alone.

    Args:
        references: names and configs to train in full before anything else.
        chosen: settings of the searcher.
        sampler: of `nas.searching.settings.SAMPLERS`.
        prior: what other studies showed before this one began.

    Attributes:
        startup: networks at random before the searcher's model chooses, and any goes on.
    """

    def __init__(
        self,
        study: Study,
        space: SearchSpace,
        seed: int,
        references: Mapping[str, SpikformerConfig],
        chosen: Settings,
        sampler: str,
        prior: Prior = NO_PRIOR,
    ) -> None:
        self.study, self.space, self.sampler = study, space, sampler
        self.constraints = space.constraints
        self._violations: dict[str, dict[str, float]] = {}
        self._asked: set[tuple[str, int]] = set()
        self._barred: set[str] = set()
        self.references = {name: config for name, config in references.items() if self.allowed(config)}
        self._draws = Draws(space, seed)
        self.startup = chosen.startup
        configs, aim = ConfigSpace(space, self.allowed), _reference(space.hypervolume_from)
        self._searcher = Searcher(configs, seed, chosen, _limits(space.constraints), aim, prior)

    def violations(self, config: SpikformerConfig) -> dict[str, float]:
        """The violation of each limit that needs no training (`nas.studies.constraints`)."""
        if config.config_id not in self._violations:
            self._violations[config.config_id] = limits.size_violations(config, self.constraints)
        return self._violations[config.config_id]

    def allowed(self, config: SpikformerConfig) -> bool:
        """Whether a config keeps the limits that need no training."""
        return limits.is_feasible(self.violations(config))

    def next(self, snapshot: Snapshot, new: bool) -> Proposal | None:
        """What to train, or None when nothing is left.

        Args:
            snapshot: of the study, which says what is known.
            new: whether networks may still be started; else those that wait go on, as many as are due.
        """
        current = Snapshot(tuple(t for t in snapshot.trials if "stepped_back" not in t.user_attrs))
        records = self._records(snapshot)
        return (
            self._queued(current)
            or self._interrupted(current)
            or self._reference(current, records, new)
            or self._chosen(current, records, new)
        )

    def draw(self, snapshot: Snapshot, proposal: Proposal) -> Drawn | None:
        """The network of a proposal; None if the sampler knows only networks that are being trained."""
        if proposal.params is None:
            return self._draws.sampled(snapshot, self.sampler)
        drawn = self._draws.at(snapshot, proposal.params)
        own: Mapping[str, Any] = proposal.queued.user_attrs if proposal.queued is not None else proposal.attributes
        named = self.space.references.get(own.get("reference", ""))
        return drawn if named is None else dataclasses.replace(drawn, config=named)  # axes may not say all of it

    def _records(self, snapshot: Snapshot) -> list[Record]:
        """Records of networks that may not go on are barred: such as those that break a limit which is new."""
        too_large = set()
        if self.constraints != Constraints():
            candidates = self.study.candidates_in(snapshot).values()
            too_large = {c.config_id for c in candidates if limits.broken_by_size(c, self.constraints)}
        barred = too_large | self._barred
        return [dataclasses.replace(r, infeasible=r.network.identity in barred) for r in snapshot.records]

    def _queued(self, snapshot: Snapshot) -> Proposal | None:
        for trial in snapshot.trials:
            if trial.state == TrialState.WAITING:
                attributes = {"rung": trials.rung_of(trial), "proposed_by": "enqueued"}
                return Proposal(trials.rung_of(trial), trial.system_attrs.get("fixed_params", {}), attributes, trial)
        return None

    def _interrupted(self, snapshot: Snapshot) -> Proposal | None:
        # Interrupted before its config was known, a trial has trained nothing: it is proposed again, equally seeded.
        begun = [trial for trial in snapshot.trials if "config_id" in trial.user_attrs]
        repeated = {trial.user_attrs.get("retry_of") for trial in begun}
        for trial in begun:
            left = trial.state == TrialState.FAIL and trial.number not in repeated
            if left and trial.user_attrs["config_id"] not in snapshot.in_flight:
                names = ("reference", "rung", "proposed_by")
                attributes = {name: trial.user_attrs[name] for name in names if name in trial.user_attrs}
                reason = trial.user_attrs.get("reason", INTERRUPTED)  # trials of earlier versions say nothing
                attempt = trials.attempt_of(trial) + (reason != INTERRUPTED)
                attributes |= {"retry_of": trial.number, "attempt": attempt}
                return Proposal(trials.rung_of(trial), trial.params, attributes)
        return None

    def _reference(self, snapshot: Snapshot, records: Sequence[Record], new: bool) -> Proposal | None:
        """Each goes up to the last rung before the next begins: figures of published networks are full ones."""
        every = [trial.user_attrs for trial in snapshot.trials]
        done = [own for own in every if "reason" not in own or "candidate" in own or "duplicate_of" in own]
        named = {(attributes.get("reference"), attributes.get("config_id")) for attributes in done}
        known = {record.network.identity: record for record in records}
        for name, config in self.references.items():
            attributes = {"reference": name, "proposed_by": "reference"}
            if (name, config.config_id) not in named:
                if not new:
                    continue
                return Proposal(0, self.space.params(config), attributes | {"rung": 0})
            record = known.get(config.config_id)
            if record is not None and record.promotable and record.highest_rung + 1 < len(self.space.recipe.rungs):
                rung = record.highest_rung + 1
                return Proposal(rung, self.space.params(config), attributes | {"rung": rung})
        return None

    def _chosen(self, snapshot: Snapshot, records: Sequence[Record], new: bool) -> Proposal | None:
        if new and self.sampler != SEARCHER and self._searcher.next_rung(records) == 0:
            if not is_stuck(snapshot):
                return Proposal(0, None, {"proposed_by": self.sampler})
            fresh = self._draws.fresh(snapshot, self.allowed)
            if fresh is not None:
                return Proposal(0, self.space.params(fresh), {"proposed_by": "RandomSampler"})
        try:
            step = self._searcher.next_step(records, new)
        except LookupError:
            return None
        asked = (step.network.identity, step.rung)
        if asked in self._asked:  # it came to nothing, as where a reference was written anew under its name
            self._barred.add(step.network.identity)
            return self._chosen(snapshot, self._records(snapshot), new)
        self._asked.add(asked)
        attributes = {"rung": step.rung, "proposed_by": SEARCHER}
        if step.rung == 0:
            return Proposal(0, self.space.params(self.space.config(dict(step.network.params))), attributes)
        before = snapshot.furthest[step.network.identity]
        named = {"reference": before.user_attrs["reference"]} if "reference" in before.user_attrs else {}
        return Proposal(step.rung, before.params, attributes | named)


def _limits(constraints: Constraints) -> pareto.Point:
    """Accuracy and log10 energy beyond which a network is of no use."""
    least, most = constraints.min_accuracy, constraints.max_energy_mj
    return (-math.inf if least is None else least, math.inf if most is None else math.log10(most))


def _reference(asked: ReferencePoint | None) -> pareto.Point | None:
    """Accuracy and log10 energy of the user's reference point."""
    return None if asked is None else (asked.accuracy, math.log10(asked.energy_mj))


__all__ = ["Proposal", "Proposer", "reductions", "settings"]
