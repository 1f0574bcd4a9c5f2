"""How many networks a study will have, and what people are told about it before it begins."""

import functools
import math
from collections.abc import Mapping

from nas.costs import static_model
from nas.searching.budget import Budget, Plan, affordable, whole
from nas.searching.proposals import reductions
from nas.searching.setup import Setup
from nas.searching.speed import drawn, space_pace
from nas.studies import Snapshot
from nas.studies import constraints as limits
from nas.training import Pace
from spikformer.config import SpikformerConfig

_TYPICAL = 4  # networks whose mean size is told


class Forecast:
    """What is to come of a search.

    Args:
        references: the points that are evaluated first.
    """

    def __init__(self, begun: Setup, snapshot: Snapshot, references: Mapping[str, SpikformerConfig]) -> None:
        self.setup, self.study, self.goal, self.images = begun, begun.study, begun.goal, begun.images
        self.snapshot, self.references = snapshot, references
        self.per_promotion = self._per_promotion(reductions(begun.space.recipe.rungs))

    def _per_promotion(self, default: tuple[float, ...]) -> tuple[float, ...]:
        """The default where `--trials` ends the search before a budget of images does."""
        trials, budget, references = self.goal.trials, self.goal.budget, len(self.references)
        if trials is not None and Plan.of(trials, references, self.images, default).all_images <= budget.images:
            return default
        return whole(budget, references, self.images, default)

    @functools.cached_property
    def networks(self) -> list[SpikformerConfig]:
        """Some that stand for the space; the base where the constraints allow none of those that are drawn."""
        space = self.setup.space

        def allowed(config: SpikformerConfig) -> bool:
            return limits.is_feasible(limits.size_violations(config, space.constraints))

        return drawn(space, self.setup.trainer.seed, allowed) or [SpikformerConfig.from_dict(space.base)]

    @functools.cached_property
    def pace(self) -> Pace | None:
        """Of the study's trainings, or before there are any of the space's networks; None if none of them fits."""
        records = [record for _, record in self.study.records_of(self.snapshot.trained)]
        if records:
            return Pace.of([r.images_seen for r in records], [r.provenance["wall_s"] for r in records])
        self.setup.observer.notice(
            "Measuring the speed of this machine with a few steps of three networks of the space."
        )
        references = list(self.references.values())
        return space_pace(self.networks, references, self._share_of_references, self.setup.engine)

    @property
    def _share_of_references(self) -> float:
        """Of all images that trainings see; 0 where it is not known how many trainings there will be."""
        if self.goal.trials is None:
            return 0.0
        plan = Plan.of(self.goal.trials, len(self.references), self.images, self.per_promotion)
        return len(self.references) * sum(self.images) / plan.all_images

    def expected(self) -> int | None:
        """How many networks there will be in all, if that is known."""
        if self.goal.budget == Budget():
            return self.goal.trials
        if math.isinf(self.goal.budget.hours):
            bought: int | None = self._affordable(Pace(0.0, 1.0))
        else:
            bought = self._by_time()
        return min((count for count in (bought, self.goal.trials) if count is not None), default=None)

    def announce(self, expected: int | None) -> None:
        """Say what is to come."""
        notice = self.setup.observer.notice
        done, name, asked = len(self.snapshot.furthest), self.study.name, self.goal.trials
        if asked is not None and done >= asked:
            notice(f"Study {name} already has {done} candidates; {asked} were asked for.")
            return
        if done == 0:
            count = f"{asked} candidates" if asked is not None else "candidates"
            notice(f"Study {name}: {count} to evaluate. Ctrl-C loses nothing: the same command continues.")
        else:
            of = f" of {expected}" if expected is not None else ""
            notice(f"Study {name} continues: {done}{of} candidates are finished.")
        if expected is not None and self.pace is not None:
            plan = Plan.of(expected, len(self.references), self.images, self.per_promotion)
            for line in plan.lines(self.pace, self._typical_parameters, self.setup.engine.slots, self.study.sample):
                notice(line)

    @property
    def _typical_parameters(self) -> int:
        """Of a typical network."""
        some = self.networks[:_TYPICAL]
        return sum(p.numel() for config in some for p in static_model(config).parameters()) // len(some)

    def _by_time(self) -> int | None:
        """An estimate, which the study keeps so that it stays the same."""
        study, key = self.study.optuna, f"networks in {self.goal.budget.hours:g} h"
        if key not in study.user_attrs and self.pace is not None:
            study.set_user_attr(key, self._affordable(self.pace))
        bought: int | None = study.user_attrs.get(key)
        return bought

    def _affordable(self, pace: Pace) -> int:
        return affordable(self.goal.budget, len(self.references), self.images, self.per_promotion, pace)


__all__ = ["Forecast"]
