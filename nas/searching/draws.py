"""Draws networks of a space: by a sampler of Optuna's, at given choices, or at random."""

import hashlib
import random
from collections.abc import Callable, Mapping

import optuna

from nas.spaces import Choice, SearchSpace
from nas.studies import Drawn, Snapshot, claims, trials
from spikformer.config import SpikformerConfig

_DUPLICATES_IN_A_ROW = 10  # then a network that no trial has evaluated is drawn at random
_DRAWS = 2000  # of these, in a space too large to list


class Draws:
    """Draws networks for a study, from what its trials say and the seed alone."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space, self.seed = space, seed
        self._listed: list[SpikformerConfig] | None = None

    def at(self, snapshot: Snapshot, params: Mapping[str, Choice]) -> Drawn:
        """The network with these params; what they leave open, as queued trials may, is drawn at random."""
        return claims.draw(snapshot, self.space, self._sampler(snapshot, "RandomSampler"), params)

    def sampled(self, snapshot: Snapshot, sampler: str) -> Drawn | None:
        """A network that is not being trained, by a sampler of Optuna's; None if it knows no other."""
        for again in range(_DUPLICATES_IN_A_ROW):
            drawn = claims.draw(snapshot, self.space, self._sampler(snapshot, sampler, again), None)
            if drawn.config.config_id not in snapshot.in_flight:
                return drawn
        return None

    def fresh(self, snapshot: Snapshot, allowed: Callable[[SpikformerConfig], bool]) -> SpikformerConfig | None:
        """An allowed network that no trial has begun, or None when there is none to be found."""
        rng = random.Random(self._seed(snapshot))
        if self._listed is None and self.space.listable:
            self._listed = list(self.space.configs())
        if self._listed is not None:
            drawn = iter(rng.sample(self._listed, len(self._listed)))
        else:
            drawn = (self.space.random(rng) for _ in range(_DRAWS))
        new = (config for config in drawn if config.config_id not in snapshot.begun)
        return next(filter(allowed, new), None)

    def _sampler(self, snapshot: Snapshot, name: str, again: int = 0) -> optuna.samplers.BaseSampler:
        """A new one for each proposal: what it knows is in the storage, so a continued study goes the same way."""
        options: dict[str, bool] = {"multivariate": True, "group": True, "constant_liar": True}
        options = options if name == "TPESampler" else {}
        seed = self._seed(snapshot, again)
        sampler: optuna.samplers.BaseSampler = getattr(optuna.samplers, name)(seed=seed, **options)
        return sampler

    def _seed(self, snapshot: Snapshot, again: int = 0) -> int:
        """From the number of trials that taught something: an interruption does not change what comes next."""
        taught = sum(trial.state in trials.FINISHED for trial in snapshot.trials)
        text = f"{self.seed} {taught}" + (f" {again}" if again else "")
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def is_stuck(snapshot: Snapshot) -> bool:
    """Whether a sampler keeps on proposing what is known or not allowed."""
    last = [trial for trial in snapshot.trials if trial.state in trials.FINISHED][-_DUPLICATES_IN_A_ROW:]
    wasted = ("candidate" not in trial.user_attrs or "duplicate_of" in trial.user_attrs for trial in last)
    return len(last) == _DUPLICATES_IN_A_ROW and all(wasted)


__all__ = ["Draws", "is_stuck"]
