"""How many networks a study will have, and what people are told about it before it begins."""

import functools
import math

from nas.costs import static_model
from nas.searching.budget import Budget, Plan, affordable
from nas.searching.proposals import reductions
from nas.searching.setup import Setup
from nas.studies import Snapshot
from nas.training import Pace
from spikformer.config import SpikformerConfig


class Forecast:
    """What is to come of a search.

    Args:
        references: how many reference points are evaluated first.
    """

    def __init__(self, begun: Setup, snapshot: Snapshot, references: int) -> None:
        self.setup, self.study, self.goal, self.images = begun, begun.study, begun.goal, begun.images
        self.snapshot, self.references = snapshot, references
        self.per_promotion = reductions(begun.space.recipe.rungs)

    @functools.cached_property
    def base(self) -> SpikformerConfig:
        """The network at the base of the space, which stands for all of them."""
        return SpikformerConfig.from_dict(self.setup.space.base)

    @functools.cached_property
    def pace(self) -> Pace | None:
        """Of the study's trainings, or before there are any of the base network; None if that does not fit."""
        records = [record for _, record in self.study.records_of(self.snapshot.trained)]
        if records:
            return Pace.of([r.images_seen for r in records], [r.provenance["wall_s"] for r in records])
        return self.setup.engine.pace(self.base)

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
            notice(f"Study {name} already has {done} candidates, {asked} were asked for.")
            return
        if done == 0:
            count = f"{asked} candidates" if asked is not None else "candidates"
            notice(f"Study {name}: {count} to evaluate. Ctrl-C loses nothing: the same command goes on.")
        else:
            of = f" of {expected}" if expected is not None else ""
            notice(f"Study {name} continues: {done}{of} candidates are finished.")
        if self.pace is not None and expected is not None:
            plan = Plan.of(expected, self.references, self.images, self.per_promotion)
            for line in plan.lines(self.pace, sum(p.numel() for p in static_model(self.base).parameters())):
                notice(line)

    def _by_time(self) -> int | None:
        """An estimate, which the study keeps so that it stays the same."""
        study, key = self.study.optuna, f"networks in {self.goal.budget.hours:g} h"
        if key not in study.user_attrs and self.pace is not None:
            study.set_user_attr(key, self._affordable(self.pace))
        bought: int | None = study.user_attrs.get(key)
        return bought

    def _affordable(self, pace: Pace) -> int:
        return affordable(self.goal.budget, self.references, self.images, self.per_promotion, pace)


__all__ = ["Forecast"]
