"""The loop over candidates: train, measure, record, until the budget is spent."""

import contextlib
import dataclasses
import json
import math
import typing
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState
from safetensors import SafetensorError

from nas import constraints as limits
from nas import data, pareto, trials
from nas import space as spaces
from nas import storage as storages
from nas.budget import Budget, Pace, Plan, affordable
from nas.candidate import Candidate, EnergyOf, evaluate, front_of, pace
from nas.cost import static_model
from nas.data import Splits
from nas.errors import StudyError
from nas.progress import Dashboard, Observer, in_words
from nas.proposals import SAMPLERS, SEARCHER, Proposal, Proposer, settings
from nas.space import Constraints, SearchSpace
from nas.study import Study
from nas.target import IMAGE_SIZE
from nas.training import epochs_of, images_seen
from spikformer.checkpoints import save_weights
from spikformer.config import SpikformerConfig
from spikformer.fields import nearest

_RANKED = ("complete", "stopped")


def search(
    space: str | Path | SearchSpace,
    trials: int | None = None,
    *,
    budget: str | None = None,
    patience: int | None = None,
    sampler: str = SEARCHER,
    constraints: Constraints | None = None,
    study: str | None = None,
    data_dir: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    storage: str | None = None,
    epochs: int | None = None,
    train_images: int | None = None,
    references: bool = True,
    energy_of: EnergyOf = "proxy",
    target_image_size: int = IMAGE_SIZE,
    results_dir: str | Path = "results",
    observer: Observer | None = None,
) -> Study:
    """Evaluate configs of a space until the study holds `trials` different ones; continue where it stopped.

    All networks are trained on the recipe's first rung, a small share of its images; promising ones are trained again
    on more, and the best on all. Only these can be on the front.

    Args:
        space: a name from `nas.space.names()`, a path to a TOML file, or a loaded space.
        trials: different networks that the study shall have evaluated, those of earlier runs included. Then those that
            wait go on until no rung lacks any.
        budget: instead or besides, what the study's trainings may cost in all: see `nas.budget.Budget.parse`.
        patience: stop when so many networks were evaluated since the front last moved.
        sampler: who proposes new networks, of `nas.proposals.SAMPLERS`.
        constraints: those given replace the space's.
        study: its name; the space's by default.
        data_dir: where the images are (`nas.data.load`).
        device: "auto", "cpu", "cuda" or "cuda:1".
        seed: of the cut of the data, of every training and of the proposals.
        storage: an Optuna storage URL; by default a journal file in the study's folder.
        epochs, train_images: instead of the space's recipe.
        references: whether to evaluate the space's reference points first, in full; they count.
        energy_of: whose energy to rank by: the proxy's as counted, or the one predicted for the network that
            `export` makes of it (`nas.target`).
        target_image_size: in pixels, of that network's images; a multiple of 32.
        results_dir: the study's folder lies in it.
        observer: hears of the progress; by default a dashboard in the terminal.

    Raises:
        SpikformerError: of its subclass that names what is wrong with the input.
        KeyboardInterrupt: nothing is lost; the same call goes on.
    """
    _check(trials, budget, patience, sampler, seed, energy_of, target_image_size)
    loaded = space if isinstance(space, SearchSpace) else spaces.load(space)
    loaded = dataclasses.replace(
        loaded,
        recipe=_recipe(loaded, epochs, train_images),
        constraints=_constraints(loaded, constraints),
    )
    on = _device(device)
    name = study or loaded.name
    folder = storages.study_folder(Path(results_dir), name)
    with observer or Dashboard() as watcher:
        splits = data.load(loaded, data_dir, seed, watcher.reading).to(on)
        identity = _identity(loaded) | {"data.images": splits.fingerprint, "seed": seed}
        identity |= {"energy_of": energy_of} if energy_of != "proxy" else {}  # the usual leaves no trace,
        identity |= {"target_image_size": target_image_size} if target_image_size != IMAGE_SIZE else {}  # as ever
        identity = json.loads(json.dumps(identity))
        database = storages.database(storage)
        locked = storages.exclusive(folder), storages.exclusive(storages.database_lock(storage, name))
        with locked[0], locked[1], storages.quiet_optuna():
            storages.repair_journal(folder)
            opened = Study(name, folder, storages.create(name, database or storages.journal(folder)))
            _check_identity(opened, identity)
            opened.optuna.set_user_attr("constraints", dataclasses.asdict(loaded.constraints))
            goal = _Goal(trials, Budget.parse(budget) if budget is not None else Budget(), patience)
            _Loop(opened, loaded, splits, seed, goal, watcher).run(sampler, references)
    return opened


@dataclasses.dataclass(frozen=True)
class _Goal:
    """When a study is done.

    Attributes:
        trials: networks to evaluate; None as many as the budget allows.
        patience: networks evaluated since the front last moved; None goes on.
    """

    trials: int | None
    budget: Budget
    patience: int | None


class _Loop:
    """One run of the loop over candidates."""

    def __init__(
        self, study: Study, space: SearchSpace, splits: Splits, seed: int, goal: _Goal, observer: Observer
    ) -> None:
        self.study, self.space, self.splits, self.seed = study, space, splits, seed
        self.goal, self.observer = goal, observer
        self.candidates = list(study.candidates.values())
        self.images = [images_seen(len(splits.train), space.recipe, share) for share in space.recipe.rungs]
        if len(set(self.images)) < len(self.images):
            raise StudyError(
                f"rungs {list(space.recipe.rungs)} are {self.images} images: some are equal. Set fewer in [proxy] of "
                "the space, such as rungs = [1], or train on more images"
            )

    def run(self, sampler: str, references: bool) -> None:
        """Train until the goal is reached or the space is exhausted."""
        self._give_up_interrupted()
        named = self.space.references if references else {}
        expected = self._expected(len(named))
        self._announce(expected, len(named))
        proposer = Proposer(self.study.optuna, self.space, self.seed, named, self.space.constraints, expected, sampler)
        for name in sorted(named.keys() - proposer.references.keys()):
            self.observer.notice(f"{name} is left out: it is larger than {limits.in_words(self.space.constraints)}.")
        if sampler != SEARCHER and len(self.images) > 1:
            self.observer.notice(f"{sampler} learns from networks trained in full only: see docs/search.md.")
        while (proposal := self._proposal(proposer, expected)) is not None:
            self._train(proposal, proposer)
        if not self.candidates:
            raise StudyError(
                f"study {self.study.name} has no network: none was found in the space, or affordable, within "
                f"{limits.in_words(self.space.constraints) or 'the budget'}. Loosen that"
            )

    def _proposal(self, proposer: Proposer, expected: int | None) -> Proposal | None:
        """The next training, or None at the end, having said why."""
        evaluated = self._count(expected)
        open_ended = self.goal.trials is None or evaluated < self.goal.trials
        still = self._is_still(evaluated, proposer)
        proposal = proposer.next(new=not still and (expected is None or evaluated < expected))
        if proposal is None and open_ended and not still:  # how many the budget buys was an estimate
            proposal = proposer.next(new=True)
        if proposal is None and still:
            self.observer.notice(f"The front has not moved for {self.goal.patience} networks.")
        elif proposal is None and open_ended:
            self.observer.notice(f"The space is exhausted: {evaluated} different networks.")
        if proposal is None or self._affords(proposal):
            return proposal
        self.observer.notice(
            f"The budget is spent, on {evaluated} different networks: no further training fits into it."
        )
        return None

    def _train(self, proposal: Proposal, proposer: Proposer) -> None:
        study = self.study.optuna
        if not proposal.waiting and proposal.params is not None:
            study.enqueue_trial(dict(proposal.params), user_attrs=proposal.attributes)
        study.sampler = proposer.optuna_sampler()
        by = proposal.attributes.get("proposed_by", "enqueued")
        study.optimize(lambda trial: self._objective(trial, proposer, by), n_trials=1)
        self._drop_weights()

    def _count(self, networks: int | None) -> int:
        evaluated = trials.furthest(self.study.optuna)
        fully = sum(trials.rung_of(trial) == len(self.images) - 1 for trial in evaluated.values())
        self.observer.counted(len(evaluated), networks, fully)
        return len(evaluated)

    def _expected(self, references: int) -> int | None:
        """How many networks there will be in all; of a budget in time an estimate, kept so that it stays the same."""
        budget = self.goal.budget
        if budget == Budget():
            return self.goal.trials
        if not math.isinf(budget.hours):
            found = self._by_time(references)
        else:
            found = affordable(budget, references, self.images, self._per_promotion, Pace(0.0, 1.0))
        counts = [count for count in (found, self.goal.trials) if count is not None]
        return min(counts, default=None)

    def _by_time(self, references: int) -> int | None:
        study, key = self.study.optuna, f"networks in {self.goal.budget.hours:g} h"
        measured = self._pace() if key not in study.user_attrs else None
        if measured is not None:
            bought = affordable(self.goal.budget, references, self.images, self._per_promotion, measured)
            study.set_user_attr(key, bought)
        found: int | None = study.user_attrs.get(key)
        return found

    @property
    def _per_promotion(self) -> tuple[float, ...]:
        return settings(self.space.recipe.rungs, None).per_promotion

    def _announce(self, expected: int | None, references: int) -> None:
        """Say what is to come."""
        done, name, asked = len(trials.furthest(self.study.optuna)), self.study.name, self.goal.trials
        if asked is not None and done >= asked:
            self.observer.notice(f"Study {name} already has {done} candidates, {asked} were asked for.")
            return
        if done == 0:
            count = f"{asked} candidates" if asked is not None else "candidates"
            self.observer.notice(f"Study {name}: {count} to evaluate. Ctrl-C loses nothing: the same command goes on.")
        else:
            of = f" of {expected}" if expected is not None else ""
            self.observer.notice(f"Study {name} continues: {done}{of} candidates are finished.")
        measured = self._pace()
        if measured is not None and expected is not None:
            base = static_model(SpikformerConfig.from_dict(self.space.base))
            plan = Plan.of(expected, references, self.images, self._per_promotion)
            for line in plan.lines(measured, sum(p.numel() for p in base.parameters())):
                self.observer.notice(line)

    def _pace(self) -> Pace | None:
        """Of the study's trainings, or before there are any of the base network; None if that does not fit."""
        done = [trial.user_attrs["candidate"] for trial in trials.trained(self.study.optuna)]
        if done:
            return Pace.of([c["images_seen"] for c in done], [c["provenance"]["wall_s"] for c in done])
        return pace(SpikformerConfig.from_dict(self.space.base), self.splits, self.space.recipe)

    def _is_still(self, evaluated: int, proposer: Proposer) -> bool:
        """Not before there were as many networks since the first ones, drawn at random, of which none goes on yet."""
        if self.goal.patience is None:
            return False
        since = max(self._last_move(), proposer.startup)
        return evaluated - since >= self.goal.patience

    def _last_move(self) -> int:
        """How many networks had begun when the front last moved."""
        kept = {candidate.config_id for candidate in self.study.keeping(dict(enumerate(self.candidates))).values()}
        begun: set[str] = set()
        points, moved = [], []
        for trial in trials.trained(self.study.optuna):
            begun.add(trial.user_attrs["config_id"])
            if trial.state == TrialState.COMPLETE and trial.user_attrs["config_id"] in kept:
                points.append((trial.values[0], trial.values[1]))
                moved.append(len(begun))
        return max((moved[i] for i in pareto.front(points)), default=0)

    def _affords(self, proposal: Proposal) -> bool:
        spent = self.study.spent
        return self.goal.budget.allows(spent.images, spent.hours, self.images[proposal.rung])

    def _give_up_interrupted(self) -> None:
        """This run holds the study alone, so whatever is still running was interrupted."""
        for trial in self.study.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.optuna.tell(trial.number, state=TrialState.FAIL)

    def _objective(self, trial: optuna.Trial, proposer: Proposer, proposed_by: str) -> tuple[float, float]:
        sampled = self.space.sample(lambda name, choices: _suggest(trial, name, choices))
        reference, rung = trial.user_attrs.get("reference"), trials.rung_of(trial)
        config = self.space.references.get(reference, sampled) if reference else sampled
        reference = reference if reference in self.space.references else None
        twin = trials.furthest(self.study.optuna).get(config.config_id)
        for name, value in {"rung": rung, "proposed_by": proposed_by}.items():
            if name not in trial.user_attrs:
                trial.set_user_attr(name, value)
        trial.set_user_attr("config_id", config.config_id)
        if twin is not None and trials.rung_of(twin) >= rung:
            return self._replay(trial, twin)
        if not proposer.allowed(config):
            over = proposer.excess(config)
            for name, excess in over.items():
                trial.set_constraint(name, excess)
            exceeded = ", ".join(f"{name} by {excess:.0%}" for name, excess in over.items() if excess > 0)
            raise _pruned(trial, f"not trained: exceeds {exceeded}")
        candidate = self._evaluate(trial.number, rung, config, reference)
        return self._record(trial, candidate, twin)

    def _record(self, trial: optuna.Trial, candidate: Candidate, before: FrozenTrial | None) -> tuple[float, float]:
        """Into the trial: the record, what it showed at each rung, and what that means to samplers."""
        rung = trials.rung_of(trial)
        trial.set_user_attr("candidate", candidate.to_dict())
        for i in range(rung):
            if before is not None and f"rung/{i}" in before.user_attrs:
                trial.set_user_attr(f"rung/{i}", before.user_attrs[f"rung/{i}"])
        ranked_mj = candidate.ranked_mj(self.study.energy_of)
        accuracy = candidate.search_val_accuracy
        if candidate.status not in _RANKED or not ranked_mj or accuracy is None:
            trial.set_constraint("usable", 1.0)
            raise _pruned(trial, candidate.reason if candidate.status not in _RANKED else "no network for ImageNet")
        trial.set_user_attr(f"rung/{rung}", {"accuracy": accuracy, "log10_energy_mj": math.log10(ranked_mj)})
        if rung < len(self.images) - 1:
            raise _pruned(trial, candidate.reason)
        sizes = limits.of_size(candidate.config, self.space.constraints)
        trained = limits.of_training(candidate, self.space.constraints, self.study.energy_of)
        for name, excess in (sizes | trained).items():
            trial.set_constraint(name, excess)
        return accuracy, math.log10(ranked_mj)

    def _replay(self, trial: optuna.Trial, twin: FrozenTrial) -> tuple[float, float]:
        trial.set_user_attr("duplicate_of", twin.number)
        for name, excess in twin.constraints.items():
            trial.set_constraint(name, excess)
        if twin.state != TrialState.COMPLETE:
            raise _pruned(trial, f"the same network as trial {twin.number}")
        return twin.values[0], twin.values[1]

    def _evaluate(self, number: int, rung: int, config: SpikformerConfig, reference: str | None) -> Candidate:
        share = self.space.recipe.rungs[rung]
        label = f"trial {number}"
        label += f" on {self.images[rung]:,} images" if len(self.images) > 1 else ""
        self.observer.started(label, epochs_of(len(self.splits.train), self.space.recipe, share))
        candidate, model = evaluate(
            config,
            self.splits,
            self.space.recipe,
            self.seed,
            reference,
            on_epoch=self.observer.epoch,
            target_image_size=self.study.target_image_size,
            share=share,
        )
        self.candidates.append(candidate)
        kept = self.study.keeping(dict(enumerate(self.candidates)))
        self._keep_weights(model, candidate)
        words, energy_of = f"{label}, {in_words(candidate)}", self.study.energy_of
        self.observer.finished(words, candidate, list(kept.values()), energy_of)
        return candidate

    def _keep_weights(self, model: torch.nn.Module, candidate: Candidate) -> None:
        if candidate.status != "complete" or self.study.weights(candidate) not in self._weights():
            return
        try:
            save_weights(model, self.study.weights(candidate))
        except (OSError, SafetensorError) as error:  # the record matters more
            self.observer.notice(f"The weights of {candidate.config_id} are not kept: {error}")

    def _drop_weights(self) -> None:
        """Those of networks that left the front; once the record of what beat them is stored."""
        wanted = self._weights()
        for path in (self.study.folder / "weights").glob("*.safetensors"):
            if path not in wanted:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _weights(self) -> set[Path]:
        """Files of the front's members, with and without the limits, which may change."""
        every = dict(enumerate(self.candidates))
        energy_of = self.study.energy_of
        fronts = front_of(every, energy_of).values(), front_of(self.study.keeping(every), energy_of).values()
        return {self.study.weights(member) for front in fronts for member in front}


def _pruned(trial: optuna.Trial, reason: str) -> optuna.TrialPruned:
    trial.set_user_attr("reason", reason)
    return optuna.TrialPruned(reason)


def _check(
    trials: int | None,
    budget: str | None,
    patience: int | None,
    sampler: str,
    seed: int,
    energy_of: str,
    target_image_size: int,
) -> None:
    if trials is None and budget is None:
        raise StudyError("how long to search? Give --trials, a number of networks, or --budget, such as 2M or 8h")
    for name, count in (("trials", trials), ("patience", patience)):
        if count is not None and count < 1:
            raise StudyError(f"{name} {count} must be at least 1")
    if budget is not None:
        Budget.parse(budget)
    if sampler not in SAMPLERS:
        raise StudyError(f'sampler "{sampler}" is unknown. {nearest(sampler, SAMPLERS)}')
    if not 0 <= seed < 2**32:
        raise StudyError(f"seed {seed} must be between 0 and {2**32 - 1}")
    if energy_of not in typing.get_args(EnergyOf):
        raise StudyError(f'energy_of "{energy_of}" is unknown. Use proxy or target')
    if target_image_size < 32 or target_image_size % 32:
        raise StudyError(f"target_image_size {target_image_size} must be a multiple of 32, such as {IMAGE_SIZE}")


def _constraints(space: SearchSpace, given: Constraints | None) -> Constraints:
    named = {name: limit for name, limit in dataclasses.asdict(given or Constraints()).items() if limit is not None}
    return dataclasses.replace(space.constraints, **named)


def _suggest(trial: optuna.Trial, name: str, choices: list[spaces.Choice]) -> spaces.Choice:
    return typing.cast(spaces.Choice, trial.suggest_categorical(name, choices))


def _recipe(space: SearchSpace, epochs: int | None, train_images: int | None) -> spaces.Recipe:
    for name, value, low in (("epochs", epochs, 1), ("train_images", train_images, 1)):
        if value is not None and value < low:
            raise StudyError(f"{name} {value} must be at least {low}")
    changed: dict[str, Any] = {"epochs": epochs, "train_images": train_images}
    return dataclasses.replace(space.recipe, **{key: value for key, value in changed.items() if value is not None})


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise StudyError(f'device "{name}" is unknown. Use auto, cpu, cuda or cuda:1')
    visible = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= visible:
        raise StudyError(f'device "{name}" is not there: torch sees {visible} CUDA devices. Use cpu or auto')
    return device


def _identity(space: SearchSpace) -> dict[str, Any]:
    """What results depend on, flat, so that a difference can be named."""
    flat: dict[str, Any] = {}
    for section, values in space.identity().items():
        flat |= {f"{section}.{key}": value for key, value in values.items()}
    return flat


def _check_identity(study: Study, identity: dict[str, Any]) -> None:
    if not study.identity:
        study.optuna.set_user_attr("identity", identity)
        return
    stored = {"recipe.rungs": [1.0]} | study.identity  # before there were rungs, all networks were trained in full
    changed = [key for key in sorted({*stored, *identity}) if stored.get(key) != identity.get(key)]
    if changed:
        listed = "; ".join(f"{key} {_short(stored.get(key))} -> {_short(identity.get(key))}" for key in changed[:3])
        raise StudyError(
            f"study {study.name} was made with other settings ({listed}). Its results would not compare. "
            f"Restore the settings, or start a new study with --study NAME"
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


__all__ = ["search"]
