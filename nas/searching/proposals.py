"""Which training comes next: what was interrupted, references, then the searcher's choice or an Optuna sampler's."""

import dataclasses
import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.searchers import ConfigSpace, Record, Searcher, Settings
from nas.settings import Constraints
from nas.spaces import Choice, SearchSpace
from nas.stats import pareto
from nas.studies import Drawn, claims, trials
from nas.studies import constraints as limits
from spikformer.config import SpikformerConfig

SEARCHER = "searcher"
SAMPLERS = (
    SEARCHER,
    "TPESampler",
    "GPSampler",
    "NSGAIISampler",
    "NSGAIIISampler",
    "RandomSampler",
)
"""Who proposes new networks: ours, or Optuna's of that name. Which of them go on is the searcher's choice."""

_REDUCTION, _LAST_REDUCTION = 5.0, 2.0  # networks at a rung for one at the next; before the last of three or more
_DEAR, _REDUCTION_OF_DEAR = 0.1, 3.5  # share of the images from which on the only low rung promotes more
_FEWEST, _STARTUP = 3, 40  # networks at random, in the smallest studies and in others
_DUPLICATES_IN_A_ROW = 10  # then a network that no trial has evaluated is drawn at random
_DRAWS = 2000  # of them, in a space too large to list


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
    attributes: dict[str, Any] = field(default_factory=dict)
    queued: FrozenTrial | None = None


def settings(rungs: Sequence[float], networks: int | None) -> Settings:
    """Of the searcher, for so many networks in all: the fewer, the sooner its model has to choose.

    `benchmarks/search_budgets.py` compares the default with other splits.
    """
    startup = _STARTUP if networks is None else max(_FEWEST, min(_STARTUP, networks // 4))
    return Settings(shares=tuple(rungs), reduction_factor=reductions(rungs), startup=startup)


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
        networks: how many the study is to have, if that is known.
        sampler: of `SAMPLERS`.

    Attributes:
        startup: networks at random before the searcher's model chooses, and any goes on.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: SearchSpace,
        seed: int,
        references: Mapping[str, SpikformerConfig],
        constraints: Constraints,
        networks: int | None,
        sampler: str,
    ) -> None:
        self.study, self.space, self.seed, self.sampler = study, space, seed, sampler
        self.constraints = constraints
        self._excess: dict[str, dict[str, float]] = {}
        self._asked: set[tuple[str, int]] = set()
        self._barred: set[str] = set()
        self.references = {name: config for name, config in references.items() if self.allowed(config)}
        self._listed: list[SpikformerConfig] | None = None
        chosen = settings(space.recipe.rungs, networks)
        self.startup = chosen.startup
        self._searcher = Searcher(ConfigSpace(space, self.allowed), seed, chosen, _limits(constraints))

    def excess(self, config: SpikformerConfig) -> dict[str, float]:
        """By how much it exceeds each limit that needs no training (`nas.studies.constraints`)."""
        if config.config_id not in self._excess:
            self._excess[config.config_id] = limits.of_size(config, self.constraints)
        return self._excess[config.config_id]

    def allowed(self, config: SpikformerConfig) -> bool:
        """Whether a config keeps the limits that need no training."""
        return all(excess <= 0 for excess in self.excess(config).values())

    def next(self, new: bool) -> Proposal | None:
        """What to train, or None when nothing is left.

        Args:
            new: whether networks may still be started; else those that wait go on, as many as are due.
        """
        every = [t for t in self.study.get_trials(deepcopy=False) if "stepped_back" not in t.user_attrs]
        records = self._records()
        return (
            self._queued(every)
            or self._interrupted(every)
            or self._reference(every, records, new)
            or self._chosen(every, records, new)
        )

    def draw(self, proposal: Proposal) -> Drawn | None:
        """The network of a proposal; None if the sampler knows only networks that are being trained."""
        if proposal.params is not None:  # queued ones may leave something open
            drawn = claims.draw(self.study, self.space, self._optuna_sampler("RandomSampler"), proposal.params)
            own = proposal.queued.user_attrs if proposal.queued is not None else proposal.attributes
            named = self.space.references.get(own.get("reference", ""))
            return drawn if named is None else dataclasses.replace(drawn, config=named)  # axes may not say all of it
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        flying = {trial.user_attrs.get("config_id") for trial in running}
        for again in range(_DUPLICATES_IN_A_ROW):
            drawn = claims.draw(self.study, self.space, self._optuna_sampler(self.sampler, again), None)
            if drawn.config.config_id not in flying:
                return drawn
        return None

    def _optuna_sampler(self, name: str, again: int = 0) -> optuna.samplers.BaseSampler:
        """A new one for each proposal: what it knows is in the storage, so a continued study goes the same way."""
        more = {"multivariate": True, "group": True, "constant_liar": True} if name == "TPESampler" else {}
        sampler: optuna.samplers.BaseSampler = getattr(optuna.samplers, name)(seed=self._draw_seed(again), **more)
        return sampler

    def _records(self) -> list[Record]:
        """Those of networks that may not go on are barred: too large by a limit that was not there before."""
        furthest = trials.furthest(self.study) if self.constraints != Constraints() else {}
        too_large = {i for i, t in furthest.items() if limits.of_record(t.user_attrs["candidate"], self.constraints)}
        barred = too_large | self._barred
        return [dataclasses.replace(r, infeasible=r.network.identity in barred) for r in trials.records(self.study)]

    def _queued(self, every: list[FrozenTrial]) -> Proposal | None:
        for trial in every:
            if trial.state == TrialState.WAITING:
                attributes = {"rung": trials.rung_of(trial), "proposed_by": "enqueued"}
                return Proposal(trials.rung_of(trial), trial.system_attrs.get("fixed_params", {}), attributes, trial)
        return None

    def _interrupted(self, every: list[FrozenTrial]) -> Proposal | None:
        # Interrupted before its config was known, a trial has trained nothing: it is proposed again, equally seeded.
        begun = [trial for trial in every if "config_id" in trial.user_attrs]
        repeated = {trial.user_attrs.get("retry_of") for trial in begun}
        flying = {trial.user_attrs["config_id"] for trial in begun if trial.state == TrialState.RUNNING}
        for trial in begun:
            left = trial.state == TrialState.FAIL and trial.number not in repeated
            if left and trial.user_attrs["config_id"] not in flying:
                names = ("reference", "rung", "proposed_by")
                kept = {name: trial.user_attrs[name] for name in names if name in trial.user_attrs}
                kept |= {"retry_of": trial.number, "attempt": trials.attempt_of(trial) + ("reason" in trial.user_attrs)}
                return Proposal(trials.rung_of(trial), trial.params, kept)
        return None

    def _reference(self, every: list[FrozenTrial], records: Sequence[Record], new: bool) -> Proposal | None:
        """Each goes up to the last rung before the next begins: figures of published networks are full ones."""
        done = [
            trial.user_attrs for trial in every if "reason" not in trial.user_attrs or "candidate" in trial.user_attrs
        ]
        done += [trial.user_attrs for trial in every if "duplicate_of" in trial.user_attrs]
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

    def _chosen(self, every: list[FrozenTrial], records: Sequence[Record], new: bool) -> Proposal | None:
        if new and self.sampler != SEARCHER and self._searcher.next_rung(records) == 0:
            if not self._stuck(every):
                return Proposal(0, None, {"proposed_by": self.sampler})
            fresh = self._fresh()
            if fresh is not None:
                return Proposal(0, self.space.params(fresh), {"proposed_by": "RandomSampler"})
        try:
            step = self._searcher.next_step(records, new)
        except LookupError:
            return None
        asked = (step.network.identity, step.rung)
        if asked in self._asked:  # it came to nothing, as where a reference was written anew under its name
            self._barred.add(step.network.identity)
            return self._chosen(every, self._records(), new)
        self._asked.add(asked)
        attributes = {"rung": step.rung, "proposed_by": SEARCHER}
        if step.rung == 0:
            return Proposal(0, self.space.params(self.space.config(dict(step.network.params))), attributes)
        before = trials.furthest(self.study)[step.network.identity]
        named = {"reference": before.user_attrs["reference"]} if "reference" in before.user_attrs else {}
        return Proposal(step.rung, before.params, attributes | named)

    def _stuck(self, every: list[FrozenTrial]) -> bool:
        """Whether an Optuna sampler keeps on proposing what is known or not allowed."""
        last = [trial for trial in every if trial.state in trials.FINISHED][-_DUPLICATES_IN_A_ROW:]
        wasted = ("candidate" not in trial.user_attrs or "duplicate_of" in trial.user_attrs for trial in last)
        return len(last) == _DUPLICATES_IN_A_ROW and all(wasted)

    def _fresh(self) -> SpikformerConfig | None:
        """An allowed network that no trial has begun, or None when there is none to be found."""
        done = trials.begun(self.study)
        rng = random.Random(self._draw_seed())
        if self._listed is None and self.space.listable:
            self._listed = list(self.space.configs())
        if self._listed is not None:
            drawn = iter(rng.sample(self._listed, len(self._listed)))
        else:
            drawn = (self.space.random(rng) for _ in range(_DRAWS))
        return next((config for config in drawn if config.config_id not in done and self.allowed(config)), None)

    def _draw_seed(self, again: int = 0) -> int:
        """From the number of trials that taught something: an interruption does not change what comes next."""
        taught = sum(trial.state in trials.FINISHED for trial in self.study.get_trials(deepcopy=False))
        said = f"{self.seed} {taught}" + (f" {again}" if again else "")
        return int.from_bytes(hashlib.sha256(said.encode()).digest()[:4])


def _limits(constraints: Constraints) -> pareto.Point:
    """Accuracy and log10 energy beyond which a network is of no use."""
    least, most = constraints.min_accuracy, constraints.max_energy_mj
    return (-math.inf if least is None else least, math.inf if most is None else math.log10(most))


__all__ = ["SAMPLERS", "SEARCHER", "Proposal", "Proposer", "reductions", "settings"]
