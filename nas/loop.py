"""The loop over candidates: train, measure, record, until the budget is spent."""

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
from nas import data, trials
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

    def run(self, sampler: str, references: bool) -> None:
        """Train until the goal is reached or the space is exhausted."""
        self._give_up_interrupted()
        networks = self._greet()
        named = self.space.references if references else {}
        proposer = Proposer(self.study.optuna, self.space, self.seed, named, self.space.constraints, networks, sampler)
        for name in named.keys() - proposer.references.keys():
            self.observer.notice(f"{name} is left out: {limits.in_words(self.space.constraints)}.")
        while True:
            evaluated = self._count(networks)
            if self._is_still(evaluated):
                self.observer.notice(f"The front has not moved for {self.goal.patience} networks.")
                return
            proposal = self._propose(proposer, new=networks is None or evaluated < networks)
            if proposal is None:
                if self.goal.trials is None or evaluated < self.goal.trials:
                    self.observer.notice(f"The space is exhausted: {evaluated} different networks.")
                return
            if not self._affords(proposal):
                self.observer.notice(f"The budget is spent, on {evaluated} different networks.")
                return
            self._train(proposal, proposer)

    def _propose(self, proposer: Proposer, new: bool) -> Proposal | None:
        """Without a number of trials, the budget alone ends the search: how many it buys was an estimate."""
        return proposer.next(new) or (proposer.next(new=True) if self.goal.trials is None else None)

    def _train(self, proposal: Proposal, proposer: Proposer) -> None:
        study = self.study.optuna
        if not proposal.waiting and proposal.params is not None:
            study.enqueue_trial(dict(proposal.params), user_attrs=proposal.attributes)
        study.sampler = proposer.optuna_sampler()
        study.optimize(lambda trial: self._objective(trial, proposer), n_trials=1)

    def _count(self, networks: int | None) -> int:
        evaluated = trials.furthest(self.study.optuna)
        fully = sum(trials.rung_of(trial) == len(self.images) - 1 for trial in evaluated.values())
        self.observer.counted(len(evaluated), networks, fully)
        return len(evaluated)

    def _greet(self) -> int | None:
        """Say what is to come; returns how many networks are expected in all."""
        done, name = len(trials.furthest(self.study.optuna)), self.study.name
        wanted = self.goal.trials
        if wanted is not None and done >= wanted:
            self.observer.notice(f"Study {name} already has {done} candidates, {wanted} were asked for.")
            return wanted
        measured = self._pace()
        per_promotion = settings(self.space.recipe.rungs, None).per_promotion
        if measured is not None and self.goal.budget != Budget():
            bought = affordable(self.goal.budget, self.images, per_promotion, measured)
            wanted = min(bought, wanted or bought)
        if done == 0:
            count = f"{wanted} candidates" if self.goal.trials is not None else "candidates"
            self.observer.notice(f"Study {name}: {count} to evaluate. Ctrl-C loses nothing: the same command goes on.")
        else:
            of = f" of {wanted}" if wanted is not None else ""
            self.observer.notice(f"Study {name} continues: {done}{of} candidates are finished.")
        if measured is not None and wanted is not None:
            base = static_model(SpikformerConfig.from_dict(self.space.base))
            plan = Plan.of(wanted, self.images, per_promotion)
            for line in plan.lines(measured, sum(p.numel() for p in base.parameters())):
                self.observer.notice(line)
        return wanted

    def _pace(self) -> Pace | None:
        """Of the study's trainings, or before there are any of the base network; None if that does not fit."""
        done = [trial.user_attrs["candidate"] for trial in trials.trained(self.study.optuna)]
        if done:
            return Pace.of([c["images_seen"] for c in done], [c["provenance"]["wall_s"] for c in done])
        return pace(SpikformerConfig.from_dict(self.space.base), self.splits, self.space.recipe)

    def _is_still(self, evaluated: int) -> bool:
        if self.goal.patience is None:
            return False
        moved = _last_move(self.study.optuna)
        return moved is not None and evaluated - moved >= self.goal.patience

    def _affords(self, proposal: Proposal) -> bool:
        spent = self.study.spent
        return self.goal.budget.allows(spent.images, spent.hours, self.images[proposal.rung])

    def _give_up_interrupted(self) -> None:
        """This run holds the study alone, so whatever is still running was interrupted."""
        for trial in self.study.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.optuna.tell(trial.number, state=TrialState.FAIL)

    def _objective(self, trial: optuna.Trial, proposer: Proposer) -> tuple[float, float]:
        sampled = self.space.sample(lambda name, choices: _suggest(trial, name, choices))
        reference, rung = trial.user_attrs.get("reference"), trials.rung_of(trial)
        config = self.space.references.get(reference, sampled) if reference else sampled
        twin = trials.furthest(self.study.optuna).get(config.config_id)
        for name, value in {"rung": rung, "proposed_by": proposer.sampler}.items():
            if name not in trial.user_attrs:
                trial.set_user_attr(name, value)
        trial.set_user_attr("config_id", config.config_id)
        if twin is not None and trials.rung_of(twin) >= rung:
            return self._replay(trial, twin)
        if not proposer.allowed(config):
            for name, excess in proposer.excess(config).items():
                trial.set_constraint(name, excess)
            raise _pruned(trial, f"not trained: exceeds {limits.in_words(self.space.constraints)}")
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
        self._keep_weights(model, candidate, kept)
        words, energy_of = f"{label}, {in_words(candidate)}", self.study.energy_of
        self.observer.finished(words, candidate, list(kept.values()), energy_of)
        return candidate

    def _keep_weights(self, model: torch.nn.Module, candidate: Candidate, kept: dict[int, Candidate]) -> None:
        """Weights of the front's members; those that leave it are deleted."""
        front = front_of(kept, self.study.energy_of)
        wanted = {self.study.weights(member) for member in front.values()}
        try:
            if candidate.status == "complete" and self.study.weights(candidate) in wanted:
                save_weights(model, self.study.weights(candidate))
            for path in self.study.weights(candidate).parent.glob("*.safetensors"):
                if path not in wanted:
                    path.unlink()
        except (OSError, SafetensorError) as error:  # the record matters more
            self.observer.notice(f"The weights of {candidate.config_id} are not kept: {error}")


def _pruned(trial: optuna.Trial, reason: str) -> optuna.TrialPruned:
    trial.set_user_attr("reason", reason)
    return optuna.TrialPruned(reason)


def _last_move(study: optuna.Study) -> int | None:
    """How many networks had begun when the front last moved; None before there is one."""
    seen: set[str] = set()
    front: set[tuple[float, ...]] = set()
    moved = None
    best = {tuple(trial.values) for trial in study.best_trials}
    for trial in trials.trained(study):
        seen.add(trial.user_attrs["config_id"])
        if trial.state == TrialState.COMPLETE and tuple(trial.values) in best - front:
            front.add(tuple(trial.values))
            moved = len(seen)
    return moved


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
