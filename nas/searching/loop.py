"""The loop over candidates: propose, train, measure, record, until the budget is spent."""

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from nas import files
from nas.costs import IMAGE_SIZE, static_model
from nas.datasets import loaders as data
from nas.engines import Died, Done, Engine, InProcess, Job, Processes, Trainer, device_of, places_of
from nas.errors import OutputError, StudyError
from nas.progress import Dashboard, Observer, in_words
from nas.searching import artifacts, setup
from nas.searching.budget import Budget, Plan, affordable
from nas.searching.proposals import SEARCHER, Proposal, Proposer, reductions
from nas.spaces import Constraints, SearchSpace
from nas.spaces import space as spaces
from nas.stats import pareto
from nas.studies import DIED, Drawn, Leases, Study, claims, handles, trials
from nas.studies import constraints as limits
from nas.studies import identity as identities
from nas.studies import storage as storages
from nas.training import Candidate, EnergyOf, Pace, died, epochs_of, front_of, images_seen, settled
from spikformer.config import SpikformerConfig

_LOOK_S = 1.0  # between looks at what other processes do
_ATTEMPTS = 3  # trainings that end with their process, before a network counts as the cause
_CLAIMS_LOST = 3  # to other processes, before a look at what they do
_LOST_IN_A_ROW = 4  # networks, besides those of each worker; then it is the machine, or the program


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
    workers: int = 1,
    per_gpu: int = 1,
    engine: str = "local",
    address: str | None = None,
    proxy: str | Path | None = None,
    observer: Observer | None = None,
) -> Study:
    """Evaluate configs of a space until the study holds `trials` different ones; continue where it stopped.

    All networks are trained on the recipe's first rung, a small share of its images; promising ones are trained again
    on more, and the best on all. Only these can be on the front.

    Args:
        space: a name from `nas.spaces.space.names()`, a path to a TOML file, or a loaded space.
        trials: different networks that the study shall have evaluated, those of earlier runs included. Then those that
            wait go on until no rung lacks any.
        budget: instead or besides, what the study's trainings may cost in all: see `nas.searching.budget.Budget.parse`.
        patience: stop when so many networks were evaluated since the front last moved.
        sampler: who proposes new networks, of `nas.searching.proposals.SAMPLERS`.
        constraints: those given replace the space's.
        study: its name; the space's by default.
        data_dir: where the images are (`nas.datasets.loaders.load`).
        device: "auto", "cpu", "cuda" or "cuda:1".
        seed: of the cut of the data, of every training and of the proposals.
        storage: an Optuna storage URL, or grpc://HOST:PORT; by default a journal file in the study's folder.
        epochs, train_images: instead of the space's recipe.
        references: whether to evaluate the space's reference points first, in full; they count.
        energy_of: whose energy to rank by: the proxy's as counted, or the one predicted for the network that
            `export` makes of it (`nas.costs.target`).
        target_image_size: in pixels, of that network's images; a multiple of 32.
        results_dir: the study's folder lies in it.
        workers: trainings at a time. More than one run in processes of their own, on all GPUs that `device` allows or,
            with one thread each, on the CPU. Other searches may join the study at any time, here or, with a storage
            that is a server, on other machines.
        per_gpu: of the workers, at most so many share a GPU.
        engine: "local", or "ray": trainings are tasks on a Ray cluster.
        address: of that cluster, as `ray.init` takes it; by default one is started on this machine.
        proxy: a TOML file whose [proxy] replaces settings of the space's, as `validate-proxy` writes it.
        observer: hears of the progress; by default a dashboard in the terminal.

    Raises:
        SpikformerError: of its subclass that names what is wrong with the input.
        KeyboardInterrupt: nothing is lost; the same call goes on.
    """
    setup.check(trials, budget, patience, sampler, seed, energy_of, target_image_size)
    setup.check_engine(engine, address)
    loaded = space if isinstance(space, SearchSpace) else spaces.load(space)
    loaded = loaded if proxy is None else spaces.with_proxy(loaded, proxy)
    loaded = dataclasses.replace(
        loaded,
        recipe=setup.recipe_of(loaded, epochs, train_images),
        constraints=setup.constraints_of(loaded, constraints),
    )
    on = device_of(device)
    places = places_of(device, workers, per_gpu)
    if workers > 1 and storages.is_for_one(storage):
        raise StudyError("SQLite serves one worker only. Leave --storage out, or give a PostgreSQL server's URL")
    name = study or loaded.name
    folder = storages.study_folder(Path(results_dir), name, storage)
    storages.check_writable(folder)
    with observer or Dashboard() as watcher:
        splits = data.load(loaded, data_dir, seed, watcher.reading)
        loaded = dataclasses.replace(loaded, recipe=settled(loaded.recipe, splits.train))
        identity = identities.identity_of(loaded, splits.fingerprint, seed, energy_of, target_image_size)
        with storages.quiet_optuna(), contextlib.ExitStack() as held:
            if storages.is_for_one(storage):
                held.enter_context(storages.alone(storages.place_of_lock(storage, name), wait_s=0))
            database = storages.database(storage)
            with storages.alone(folder):
                storages.check_journal(folder)
                opened = Study(name, folder, storages.create(name, database or storages.journal(folder)))
                identities.check_identity(opened, identity)
                opened.optuna.set_user_attr("constraints", dataclasses.asdict(loaded.constraints))
                opened.keep_account(splits.account)
            for sentence in splits.account:
                watcher.notice(sentence)
            if (remark := setup.torch_versions(opened)) is not None:
                watcher.notice(remark)
            trainer = Trainer(splits, loaded.recipe, seed, target_image_size, folder / "unfinished")
            goal = _Goal(trials, Budget.parse(budget) if budget is not None else Budget(), patience)
            if engine == "ray":
                from nas.engines import OnRay

                chosen: Engine = OnRay(trainer, address, workers, per_gpu)
            elif workers > 1:
                chosen = Processes(trainer, places, watcher.epoch)
            else:
                chosen = InProcess(trainer.on(str(on)), watcher.epoch)
            _Loop(opened, loaded, trainer, identity, goal, chosen, sampler, references, watcher).run()
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
    """One process's part in a study: it proposes, an engine trains, it records; others may do the same."""

    def __init__(
        self,
        study: Study,
        space: SearchSpace,
        trainer: Trainer,
        identity: dict[str, Any],
        goal: _Goal,
        engine: Engine,
        sampler: str,
        references: bool,
        observer: Observer,
    ) -> None:
        self.study, self.space, self.trainer, self.identity = study, space, trainer, identity
        self.goal, self.engine, self.observer = goal, engine, observer
        images = len(trainer.splits.train)
        self.images = [images_seen(images, space.recipe, share) for share in space.recipe.rungs]
        if len(set(self.images)) < len(self.images):
            raise StudyError(
                f"rungs {list(space.recipe.rungs)} are {self.images} images: some are equal. Set fewer in [proxy] of "
                "the space, such as rungs = [1], or train on more images"
            )
        self.sampler, self.named = sampler, space.references if references else {}
        self.leases = Leases(study.optuna)
        self.flying: dict[int, Job] = {}
        self._deaths = 0
        self._why_it_ends = ""

    def run(self) -> None:
        """Train until the goal is reached or the space is exhausted."""
        with self.engine, self.leases:
            try:
                self.leases.reap()
                self._prepare()
                while self._fill() or self.flying or self._others_work():
                    ended = self.engine.next(_LOOK_S)
                    if isinstance(ended, Done):
                        self._take(ended)
                    elif isinstance(ended, Died):
                        self._bury(ended)
                    elif not self.flying:
                        time.sleep(_LOOK_S)
                    self.leases.reap()
            except BaseException as error:
                self._give_up(error)
                raise
        if self._why_it_ends:
            self.observer.notice(self._why_it_ends)
        if not self.study.candidates:
            raise StudyError(
                f"study {self.study.name} has no network: none was found in the space, or affordable, within "
                f"{limits.in_words(self.space.constraints) or 'the budget'}. Loosen that"
            )

    def _prepare(self) -> None:
        expected = self._expected(len(self.named))
        self._announce(expected, len(self.named))
        study, constraints, seed = self.study.optuna, self.space.constraints, self.trainer.seed
        self.proposer = Proposer(study, self.space, seed, self.named, constraints, expected, self.sampler)
        self.expected = expected
        for name in sorted(self.named.keys() - self.proposer.references.keys()):
            self.observer.notice(f"{name} is left out: it is larger than {limits.in_words(constraints)}.")
        if self.sampler != SEARCHER and len(self.images) > 1:
            self.observer.notice(f"{self.sampler} learns from networks trained in full only: see docs/search.md.")

    def _fill(self) -> bool:
        """Begin as many trainings as the engine takes; whether any was begun."""
        begun, lost = False, 0
        while len(self.flying) < self.engine.slots and lost < _CLAIMS_LOST:
            proposal = self._proposal()
            drawn = self.proposer.draw(proposal) if proposal is not None else None
            if proposal is None or drawn is None:
                break
            number = self._claim(proposal, drawn)
            if number is None:
                lost += 1
                continue
            job = self._job(self.study.optuna.get_trials(deepcopy=False)[number], drawn)
            if self._needs_training(job):
                self.flying[number] = job
                images, recipe = len(self.trainer.splits.train), self.space.recipe
                self.observer.started(job.label, epochs_of(images, recipe, job.share))
                self.engine.submit(job)
                begun = True
        return begun

    def _others_work(self) -> bool:
        """Whether another process trains: what it finds may call for more, and it may die."""
        running = self.study.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if running:
            self.observer.waiting(len(running))
        return bool(running)

    def _proposal(self) -> Proposal | None:
        """The next training, or None while there is none."""
        begun = self._count()
        expected, open_ended = self.expected, self.goal.trials is None or begun < self.goal.trials
        still = self._is_still(begun)
        proposal = self.proposer.next(new=not still and (expected is None or begun < expected))
        if proposal is None and open_ended and not still:  # how many the budget buys was an estimate
            proposal = self.proposer.next(new=True)
        self._why_it_ends = ""
        if proposal is None and still:
            self._why_it_ends = f"The front has not moved for {self.goal.patience} networks."
        elif proposal is None and open_ended:
            self._why_it_ends = f"The space is exhausted: {begun} different networks."
        elif proposal is not None and not self._affords(proposal):
            self._why_it_ends = f"The budget is spent, on {begun} different networks: no further training fits into it."
            return None
        return proposal

    def _count(self) -> int:
        """How many networks were begun."""
        study = self.study.optuna
        evaluated = trials.furthest(study)
        fully = sum(trials.rung_of(trial) == len(self.images) - 1 for trial in evaluated.values())
        self.observer.counted(len(evaluated), self.expected, fully)
        return len(trials.begun(study))

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
        return reductions(self.space.recipe.rungs)

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
        return self.engine.pace(SpikformerConfig.from_dict(self.space.base))

    def _is_still(self, begun: int) -> bool:
        """Not before there were as many networks since the first ones, drawn at random, of which none goes on yet."""
        if self.goal.patience is None:
            return False
        return begun - max(self._last_move(), self.proposer.startup) >= self.goal.patience

    def _last_move(self) -> int:
        """How many networks had begun when the front last moved."""
        kept = {candidate.config_id for candidate in self.study.keeping(self.study.candidates).values()}
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
        running = self.study.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        begun = sum(self.images[trials.rung_of(trial)] for trial in running)
        return self.goal.budget.allows(spent.images + begun, spent.hours, self.images[proposal.rung])

    def _claim(self, proposal: Proposal, drawn: Drawn) -> int | None:
        """The number of a trial that is this process's; None where another was first."""
        said = {"rung": proposal.rung, **proposal.attributes, **self.leases.attributes()}
        if proposal.queued is not None:
            number = claims.take(self.study.optuna, proposal.queued, drawn, said)
        else:
            number = claims.begin(self.study.optuna, drawn, said, self._wanted(proposal))
        if number is not None:
            self.leases.held.add(number)
            identities.check_identity(self.study, self.identity)
        return number

    def _needs_training(self, job: Job) -> bool:
        """Or else its trial is finished at once: evaluated already, too large, or given up."""
        trial = self.study.optuna.get_trials(deepcopy=False)[job.trial]
        twin = trials.furthest(self.study.optuna).get(job.config.config_id)
        if twin is not None and trials.rung_of(twin) >= trials.rung_of(trial):
            self._close(job.trial, lambda: self._replayed(job.trial, twin))
        elif not self.proposer.allowed(job.config):
            self._close(job.trial, lambda: self._refused(job.trial, job.config))
        elif trials.attempt_of(trial) > _ATTEMPTS:
            candidate = self._died(job, trial)
            self._close(job.trial, lambda: self._record(job.trial, candidate))
            self.observer.notice(f"{job.label}: {candidate.reason}")
        else:
            return True
        return False

    def _wanted(self, proposal: Proposal) -> int | None:
        """How many networks there may be with this one: an estimate from a budget is no limit."""
        return self.goal.trials if "retry_of" not in proposal.attributes else None

    def _job(self, trial: FrozenTrial, drawn: Drawn) -> Job:
        reference, rung = trial.user_attrs.get("reference"), trials.rung_of(trial)
        reference = reference if reference in self.space.references else None
        label = f"trial {trial.number}" + (f" on {self.images[rung]:,} images" if len(self.images) > 1 else "")
        return Job(trial.number, label, drawn.config, reference, self.space.recipe.rungs[rung])

    def _died(self, job: Job, trial: FrozenTrial) -> Candidate:
        before = self.study.optuna.get_trials(deepcopy=False)[trial.user_attrs["retry_of"]]
        reason = f"given up after {_ATTEMPTS} attempts, the last: {before.user_attrs.get('reason', DIED)}"
        splits, recipe = self.trainer.splits, self.space.recipe
        return died(job.config, splits, recipe, self.trainer.seed, job.reference, job.share, reason)

    def _take(self, done: Done) -> None:
        """Keep what a training gave."""
        job, candidate = self.flying.pop(done.job.trial), done.candidate
        self._deaths = 0
        self.observer.ended(job.label)
        self._keep_weights(done)
        self._keep_artifacts(done)
        if not self._close(job.trial, lambda: self._record(job.trial, candidate)):
            self.observer.notice(f"{job.label} was taken over by another process, which took this one for dead.")
            return
        self.trainer.forget(job)
        self._drop_weights()
        kept = list(self.study.keeping(self.study.candidates).values())
        self.observer.finished(f"{job.label}, {in_words(candidate)}", candidate, kept, self.study.energy_of)

    def _bury(self, dead: Died) -> None:
        """A training that ended with its process is repeated, unless all end so."""
        job = self.flying.pop(dead.job.trial)
        self._deaths += 1
        self.observer.ended(job.label)
        self.observer.notice(f"{job.label} ended without a result: {dead.why}. It is repeated.")
        self._close(job.trial, lambda: self._failed(job.trial, dead.why))
        if self._deaths >= _ATTEMPTS * (_LOST_IN_A_ROW + self.engine.slots):
            raise StudyError(f"{self._deaths} trainings in a row ended without a result, the last: {dead.why}")

    def _give_up(self, error: BaseException) -> None:
        """At an interruption: what was being trained is repeated by the next run, or by another process."""
        why = None if isinstance(error, KeyboardInterrupt | StudyError) else f"{type(error).__name__}: {error}"
        for number in list(self.leases.held):
            with contextlib.suppress(Exception):  # such as a full disk: then the next run sees that this one ended
                self._close(number, functools.partial(self._failed, number, why))

    def _close(self, number: int, say: Callable[[], "_End"]) -> bool:
        """Finish a trial; False where another process did already."""
        try:
            end = say()
            handles.set_state(self.study.optuna, number, end.state, end.values)
        except UpdateFinishedTrialError:
            return self._is_as_told(number)
        finally:
            self.leases.held.discard(number)
        return True

    def _is_as_told(self, number: int) -> bool:
        """Whether a finished trial has our result: a storage that went away had taken it before."""
        trial = self.study.optuna.get_trials(deepcopy=False)[number]
        return trial.state in trials.FINISHED and trial.user_attrs.get("holder") == self.leases.attributes()["holder"]

    def _say(self, number: int, name: str, value: Any) -> None:
        handles.set_attribute(self.study.optuna, number, name, value)

    def _constrain(self, number: int, excess: Mapping[str, float]) -> None:
        """How far it is from being feasible, for samplers."""
        trial = handles.trial_of(self.study.optuna, number)
        for name, value in excess.items():
            trial.set_constraint(name, value)
        if excess:  # optuna-dashboard 0.21 does not show constraints that have names
            self._say(number, "constraints", {name: round(value, 4) for name, value in excess.items()})

    def _failed(self, number: int, why: str | None) -> "_End":
        if why is not None:
            self._say(number, "reason", why)
        return _End(TrialState.FAIL)

    def _pruned(self, number: int, reason: str) -> "_End":
        self._say(number, "reason", reason)
        return _End(TrialState.PRUNED)

    def _refused(self, number: int, config: SpikformerConfig) -> "_End":
        over = self.proposer.excess(config)
        self._constrain(number, over)
        exceeded = ", ".join(f"{name} by {excess:.0%}" for name, excess in over.items() if excess > 0)
        return self._pruned(number, f"not trained: exceeds {exceeded}")

    def _replayed(self, number: int, twin: FrozenTrial) -> "_End":
        self._say(number, "duplicate_of", twin.number)
        self._constrain(number, twin.constraints)
        if twin.state != TrialState.COMPLETE:
            return self._pruned(number, f"the same network as trial {twin.number}")
        return _End(TrialState.COMPLETE, (twin.values[0], twin.values[1]))

    def _record(self, number: int, candidate: Candidate) -> "_End":
        """Into the trial: the record, what it showed at each rung, and what that means to samplers."""
        before = trials.furthest(self.study.optuna).get(candidate.config_id)
        rung = trials.rung_of(self.study.optuna.get_trials(deepcopy=False)[number])
        self._say(number, "candidate", candidate.to_dict())
        self._say(number, "network", in_words(candidate))  # for people, in a dashboard
        for i in range(rung):
            if before is not None and f"rung/{i}" in before.user_attrs:
                self._say(number, f"rung/{i}", before.user_attrs[f"rung/{i}"])
        ranked_mj = candidate.ranked_mj(self.study.energy_of)
        accuracy = candidate.search_val_accuracy
        if not candidate.is_ranked or not ranked_mj or accuracy is None:
            self._constrain(number, {"usable": 1.0})
            return self._pruned(number, candidate.reason if not candidate.is_ranked else "no network for ImageNet")
        self._say(number, f"rung/{rung}", {"accuracy": accuracy, "log10_energy_mj": math.log10(ranked_mj)})
        if rung < len(self.images) - 1:
            return self._pruned(number, candidate.reason)
        sizes = limits.of_size(candidate.config, self.space.constraints)
        trained = limits.of_training(candidate, self.space.constraints, self.study.energy_of)
        self._constrain(number, sizes | trained)
        return _End(TrialState.COMPLETE, (accuracy, math.log10(ranked_mj)))

    def _keep_weights(self, done: Done) -> None:
        path = self.study.weights(done.candidate)
        if done.weights is None or path not in self._weights([done.candidate]):
            return
        weights = done.weights
        try:
            files.write(path, lambda partial: partial.write_bytes(weights))
        except OutputError as error:  # the record matters more
            self.observer.notice(f"The weights of {done.candidate.config_id} are not kept: {error}")

    def _keep_artifacts(self, done: Done) -> None:
        """What optuna-dashboard shows of a trial: a running one only can be given it."""
        trial = handles.trial_of(self.study.optuna, done.job.trial)
        try:
            artifacts.keep(trial, done.candidate, self.study.folder)
        except UpdateFinishedTrialError:  # taken over by another process
            pass
        except OSError as error:  # the record matters more
            self.observer.notice(f"Card and curve of {done.candidate.config_id} are not kept: {error.strerror}")

    def _drop_weights(self) -> None:
        """Those of networks that left the front; once the record of what beat them is stored."""
        there = list((self.study.folder / "weights").glob("*.safetensors"))  # before reading which are being trained
        running = self.study.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        flying = {trial.user_attrs.get("config_id") for trial in running}
        wanted = self._weights()
        for path in there:
            if path not in wanted and path.stem not in flying:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _weights(self, more: Sequence[Candidate] = ()) -> set[Path]:
        """Files of the front's members, with and without the limits, which may change."""
        every = dict(enumerate([*self.study.candidates.values(), *more]))
        energy_of = self.study.energy_of
        fronts = front_of(every, energy_of).values(), front_of(self.study.keeping(every), energy_of).values()
        return {self.study.weights(member) for front in fronts for member in front}


@dataclasses.dataclass(frozen=True)
class _End:
    """Of a trial, as Optuna has it."""

    state: TrialState
    values: tuple[float, float] | None = None


__all__ = ["search"]
