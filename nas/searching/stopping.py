"""When a study is done: by its number of networks, its budget, or patience with a front that stands still."""

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import TrialState

from nas.searching.budget import Budget
from nas.stats import pareto
from nas.studies import Snapshot, Study, trials


@dataclass(frozen=True)
class Goal:
    """What a search was asked for.

    Attributes:
        trials: networks to evaluate; None evaluates as many as the budget allows.
        patience: networks evaluated since the front last moved; None goes on.
    """

    trials: int | None
    budget: Budget
    patience: int | None


@dataclass(frozen=True)
class Outlook:
    """What a goal says at one moment.

    Attributes:
        begun: networks that were begun.
        is_open: whether the goal names no number of networks that is reached.
        is_still: whether patience with the front has ended.
        is_short: whether fewer networks have begun than are expected in all.
    """

    begun: int
    is_open: bool
    is_still: bool
    is_short: bool


class StoppingRule:
    """Says whether new networks may begin, and why a study ends.

    Args:
        images: that a training at each rung sees.
        expected: networks that there will be in all; None if that is not known.
        startup: networks drawn at random, before which patience does not count.
    """

    def __init__(self, study: Study, goal: Goal, images: Sequence[int], expected: int | None, startup: int) -> None:
        self.study, self.goal, self.images = study, goal, images
        self.expected, self.startup = expected, startup

    def outlook(self, snapshot: Snapshot) -> Outlook:
        """What the goal says of the trials of a snapshot."""
        begun = len(snapshot.begun)
        return Outlook(
            begun,
            is_open=self.goal.trials is None or begun < self.goal.trials,
            is_still=self._is_still(snapshot, begun),
            is_short=self.expected is None or begun < self.expected,
        )

    def reason(self, outlook: Outlook, rung: int | None, snapshot: Snapshot) -> str:
        """Why nothing more is trained, in a sentence; empty while the search goes on, and at its number of networks.

        Args:
            rung: of the training that is proposed; None without a proposal.
        """
        if rung is not None:
            if self._affords(snapshot, rung):
                return ""
            return f"The budget is spent on {outlook.begun} different networks: no further training fits into it."
        if outlook.is_still:
            return f"The front has not changed for {self.goal.patience} networks."
        return f"The space is exhausted: it has {outlook.begun} different networks." if outlook.is_open else ""

    def _is_still(self, snapshot: Snapshot, begun: int) -> bool:
        """Patience only starts counting after the random start-up networks."""
        if self.goal.patience is None:
            return False
        return begun - max(self._last_move(snapshot), self.startup) >= self.goal.patience

    def _last_move(self, snapshot: Snapshot) -> int:
        """How many networks had begun when the front last moved."""
        feasible = {c.config_id for c in self.study.keeping(self.study.candidates_in(snapshot)).values()}
        begun: set[str] = set()
        points, moves = [], []
        for trial in snapshot.trained:
            begun.add(trial.user_attrs["config_id"])
            if trial.state == TrialState.COMPLETE and trial.user_attrs["config_id"] in feasible:
                points.append(trials.values_of(trial))
                moves.append(len(begun))
        return max((moves[i] for i in pareto.front(points)), default=0)

    def _affords(self, snapshot: Snapshot, rung: int) -> bool:
        if self.goal.budget == Budget():
            return True
        spent = self.study.spent_in(snapshot)
        in_flight = sum(self.images[trials.rung_of(trial)] for trial in snapshot.running)
        return self.goal.budget.allows(spent.images + in_flight, spent.hours, self.images[rung])


__all__ = ["Goal", "Outlook", "StoppingRule"]
