"""The loop over candidates: the one door to Optuna.

A study is an Optuna study with two objectives, accuracy on search-val (to maximise) and the logarithm of
energy (to minimise). Everything that matters about a trial is in its user attributes:

    candidate      the record (`nas.candidate.Candidate`), once it is finished
    config_id      equal for equal networks
    reference      the name of the reference point that it evaluates
    duplicate_of   the trial that already evaluated an equal network; its values are replayed
    retry_of       the interrupted trial that it repeats

Finished are COMPLETE trials and PRUNED ones (silent, diverged, out of memory: samplers learn to avoid
them). FAIL is an interruption; the next run repeats it.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import math
import os
import random
import re
import typing
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState
from safetensors import SafetensorError

from nas import data
from nas import space as spaces
from nas.candidate import Candidate, EnergyOf, evaluate, front_of
from nas.data import Splits
from nas.errors import StudyError
from nas.progress import Dashboard, Observer, in_words
from nas.space import SearchSpace
from nas.target import IMAGE_SIZE
from spikformer.checkpoints import save_weights
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.fields import nearest

_JOURNAL = "journal.log"
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_DUPLICATES_IN_A_ROW = 10  # then a network that no trial has evaluated is drawn at random
_DRAWS = 2000  # of them, in a space too large to list


@dataclass(frozen=True)
class Study:
    """A study as it is stored: candidates by trial number, the Optuna study, and where its files go."""

    name: str
    folder: Path
    optuna: optuna.Study

    @property
    def candidates(self) -> dict[int, Candidate]:
        """Trial number -> candidate; each network once, under its reference's name if any trial bore one."""
        found = {trial.number: self._read(trial) for trial in _evaluated(self.optuna)}
        for trial in self.optuna.get_trials(deepcopy=False, states=_FINISHED):
            twin, name = trial.user_attrs.get("duplicate_of"), trial.user_attrs.get("reference")
            if name is not None and twin in found and found[twin].reference is None:
                found[twin] = dataclasses.replace(found[twin], reference=name)
        return found

    def _read(self, trial: FrozenTrial) -> Candidate:
        try:
            return Candidate.from_dict(trial.user_attrs["candidate"])
        except (KeyError, TypeError, ConfigError) as error:
            raise StudyError(
                f"trial {trial.number} of study {self.name} was recorded by another version of this program "
                f"({type(error).__name__}: {error}). Go on with that version, or search under another study name"
            ) from error

    @property
    def identity(self) -> dict[str, Any]:
        """Space, data, recipe and seed that its candidates share."""
        return dict(self.optuna.user_attrs.get("identity", {}))

    @property
    def energy_of(self) -> EnergyOf:
        """Whose energy it ranks by."""
        return typing.cast(EnergyOf, self.identity.get("energy_of", "proxy"))

    @property
    def target_image_size(self) -> int:
        """In pixels, of the images of the networks that `export` makes."""
        return int(self.identity.get("target_image_size", IMAGE_SIZE))

    def front(self) -> dict[int, Candidate]:
        """The candidates that no other beats in both search-val accuracy and energy, by rising energy."""
        return front_of(self.candidates, self.energy_of)

    def weights(self, candidate: Candidate) -> Path:
        """Where the trained weights are, if the candidate is on the front."""
        return self.folder / "weights" / f"{candidate.config_id}.safetensors"


def search(
    space: str | Path | SearchSpace,
    trials: int,
    *,
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

    Args:
        space: a name from `nas.space.names()`, a path to a TOML file, or a loaded space.
        trials: finished candidates that the study shall have, those of earlier runs included.
        study: its name; the space's by default.
        data_dir: where the images are (`nas.data.load`).
        device: "auto", "cpu", "cuda" or "cuda:1".
        seed: of the cut of the data, of every training and of the sampler.
        storage: an Optuna storage URL; by default a journal file in the study's folder.
        epochs, train_images: instead of the space's recipe.
        references: whether to evaluate the space's reference points first; they count.
        energy_of: whose energy to rank by: the proxy's as counted, or the one predicted for the network that
            `export` makes of it (`nas.target`).
        target_image_size: in pixels, of that network's images; a multiple of 32.
        results_dir: the study's folder lies in it.
        observer: hears of the progress; by default a dashboard in the terminal.

    Raises:
        SpikformerError: of its subclass that names what is wrong with the input.
        KeyboardInterrupt: nothing is lost; the same call goes on.
    """
    if trials < 1:
        raise StudyError(f"trials {trials} must be at least 1")
    if not 0 <= seed < 2**32:
        raise StudyError(f"seed {seed} must be between 0 and {2**32 - 1}")
    if energy_of not in typing.get_args(EnergyOf):
        raise StudyError(f'energy_of "{energy_of}" is unknown. Use proxy or target')
    if target_image_size < 32 or target_image_size % 32:
        raise StudyError(f"target_image_size {target_image_size} must be a multiple of 32, such as {IMAGE_SIZE}")
    loaded = space if isinstance(space, SearchSpace) else spaces.load(space)
    loaded = dataclasses.replace(loaded, recipe=_recipe(loaded, epochs, train_images))
    on = _device(device)
    name = study or loaded.name
    folder = _study_folder(Path(results_dir), name)
    with observer or Dashboard() as watcher:
        splits = data.load(loaded, data_dir, seed, watcher.reading).to(on)
        identity = _identity(loaded) | {"data.images": splits.fingerprint, "seed": seed}
        identity |= {"energy_of": energy_of} if energy_of != "proxy" else {}  # the usual leaves no trace,
        identity |= {"target_image_size": target_image_size} if target_image_size != IMAGE_SIZE else {}  # as ever
        identity = json.loads(json.dumps(identity))
        database = _database(storage)
        with _exclusive(folder), _exclusive(_database_lock(storage, name)), _quiet_optuna():
            _repair_journal(folder)
            opened = Study(name, folder, _create(name, database or _journal(folder)))
            _check_identity(opened, identity)
            watcher.notice(_greeting(opened, trials))
            _Search(opened, loaded, splits, seed, references, watcher).run(trials)
    return opened


def load_study(name: str | None = None, *, storage: str | None = None, results_dir: str | Path = "results") -> Study:
    """A study by name; without one, the latest.

    Raises:
        StudyError: there is none, or its storage cannot be read.
    """
    results = Path(results_dir)
    with _quiet_optuna():
        if storage is not None and storage.startswith("sqlite:///") and not Path(storage[10:]).is_file():
            raise StudyError(f"no database at {storage}. Run a search first, or correct --storage")
        database = _database(storage)
        known = _known_studies(results, database)
        if not known:
            raise StudyError(f"no study in {storage or results}. Run a search first, or give --storage")
        if name is not None and name not in known:
            raise StudyError(f'no study "{name}" in {storage or results}. {nearest(name, known)}')
        folder = results / (name or known[-1])
        try:
            opened = optuna.load_study(study_name=folder.name, storage=database or _journal(folder))
        except KeyError:  # the journal is older than its study: interrupted at its very start
            raise StudyError(f'study "{folder.name}" has not begun. Run the search again') from None
        return Study(folder.name, folder, opened)


class _Search:
    """One run of the loop over candidates."""

    def __init__(
        self, study: Study, space: SearchSpace, splits: Splits, seed: int, references: bool, observer: Observer
    ) -> None:
        self.study, self.space, self.splits, self.seed, self.observer = study, space, splits, seed, observer
        self.references = space.references if references else {}
        self.listed: list[SpikformerConfig] | None = None
        self.candidates = list(study.candidates.values())

    def run(self, trials: int) -> None:
        """Evaluate until `trials` candidates are finished or the space is exhausted."""
        self._give_up_interrupted()
        while len(_evaluated(self.study.optuna)) < trials:
            self.observer.counted(len(_evaluated(self.study.optuna)), trials)
            if not self._prepare():
                self.observer.notice(
                    f"The space is exhausted: {len(_evaluated(self.study.optuna))} different networks."
                )
                break
            self.study.optuna.sampler = self._sampler()
            self.study.optuna.optimize(self._objective, n_trials=1)
        self.observer.counted(len(_evaluated(self.study.optuna)), trials)

    def _give_up_interrupted(self) -> None:
        """This run holds the study alone, so whatever is still running was interrupted."""
        for trial in self.study.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.optuna.tell(trial.number, state=TrialState.FAIL)

    def _prepare(self) -> bool:
        """Queue what comes before the sampler's own proposals; False when no network is left."""
        trials = self.study.optuna.get_trials(deepcopy=False)
        if any(trial.state == TrialState.WAITING for trial in trials):
            return True
        # Interrupted before its config was known, a trial has trained nothing: it is proposed again, equally seeded.
        begun = [trial for trial in trials if "config_id" in trial.user_attrs]
        repeated = {trial.user_attrs.get("retry_of") for trial in begun}
        for trial in begun:
            if trial.state == TrialState.FAIL and trial.number not in repeated:
                kept = {key: trial.user_attrs[key] for key in ("reference",) if key in trial.user_attrs}
                self.study.optuna.enqueue_trial(trial.params, user_attrs={**kept, "retry_of": trial.number})
                return True
        seen = {(trial.user_attrs.get("reference"), trial.user_attrs.get("config_id")) for trial in trials}
        for name, config in self.references.items():
            if (name, config.config_id) not in seen:
                self.study.optuna.enqueue_trial(self.space.params(config), user_attrs={"reference": name})
                return True
        last = [trial for trial in trials if trial.state in _FINISHED][-_DUPLICATES_IN_A_ROW:]
        if len(last) < _DUPLICATES_IN_A_ROW or not all("duplicate_of" in trial.user_attrs for trial in last):
            return True
        fresh = self._fresh()
        if fresh is not None:
            self.study.optuna.enqueue_trial(self.space.params(fresh))
        return fresh is not None

    def _fresh(self) -> SpikformerConfig | None:
        """A network that no trial has evaluated, or None when there is none to be found."""
        done = {trial.user_attrs["config_id"] for trial in _evaluated(self.study.optuna)}
        rng = random.Random(self._draw_seed())
        if self.listed is None and self.space.listable:
            self.listed = list(self.space.configs())
        if self.listed is not None:
            rest = [config for config in self.listed if config.config_id not in done]
            return rng.choice(rest) if rest else None
        drawn = (self.space.random(rng) for _ in range(_DRAWS))
        return next((config for config in drawn if config.config_id not in done), None)

    def _sampler(self) -> optuna.samplers.BaseSampler:
        """A new one for each proposal: what it knows is in the storage, so a continued study goes the same way."""
        return optuna.samplers.TPESampler(multivariate=True, group=True, seed=self._draw_seed())

    def _draw_seed(self) -> int:
        """From the number of trials that taught something: an interruption does not change what comes next."""
        taught = sum(trial.state in _FINISHED for trial in self.study.optuna.get_trials(deepcopy=False))
        return int.from_bytes(hashlib.sha256(f"{self.seed} {taught}".encode()).digest()[:4])

    def _objective(self, trial: optuna.Trial) -> tuple[float, float]:
        sampled = self.space.sample(lambda name, choices: _suggest(trial, name, choices))
        reference = trial.user_attrs.get("reference")
        config = self.space.references.get(reference, sampled) if reference else sampled
        trial.set_user_attr("config_id", config.config_id)
        for twin in _evaluated(self.study.optuna):
            if twin.user_attrs["config_id"] == config.config_id:
                return self._replay(trial, twin)
        candidate = self._evaluate(trial.number, config, reference)
        trial.set_user_attr("candidate", candidate.to_dict())
        ranked_mj = candidate.ranked_mj(self.study.energy_of)
        if candidate.status != "complete" or not ranked_mj or candidate.search_val_accuracy is None:
            trial.set_constraint("usable", 1.0)
            raise optuna.TrialPruned(candidate.status if ranked_mj else "no network for ImageNet")
        return candidate.search_val_accuracy, math.log10(ranked_mj)

    def _replay(self, trial: optuna.Trial, twin: FrozenTrial) -> tuple[float, float]:
        trial.set_user_attr("duplicate_of", twin.number)
        if twin.state != TrialState.COMPLETE:
            trial.set_constraint("usable", 1.0)
            raise optuna.TrialPruned("duplicate")
        return twin.values[0], twin.values[1]

    def _evaluate(self, number: int, config: SpikformerConfig, reference: str | None) -> Candidate:
        label = f"trial {number}"
        self.observer.started(label, self.space.recipe.epochs)
        candidate, model = evaluate(
            config,
            self.splits,
            self.space.recipe,
            self.seed,
            reference,
            on_epoch=self.observer.epoch,
            target_image_size=self.study.target_image_size,
        )
        self.candidates.append(candidate)
        self._keep_weights(model, candidate)
        self.observer.finished(f"{label}, {in_words(candidate)}", candidate, self.candidates, self.study.energy_of)
        return candidate

    def _keep_weights(self, model: torch.nn.Module, candidate: Candidate) -> None:
        """Weights of the front's members; those that leave it are deleted."""
        front = front_of(dict(enumerate(self.candidates)), self.study.energy_of)
        kept = {self.study.weights(member) for member in front.values()}
        try:
            if self.study.weights(candidate) in kept:
                save_weights(model, self.study.weights(candidate))
            for path in self.study.weights(candidate).parent.glob("*.safetensors"):
                if path not in kept:
                    path.unlink()
        except (OSError, SafetensorError) as error:  # the record matters more
            self.observer.notice(f"The weights of {candidate.config_id} are not kept: {error}")


def _evaluated(study: optuna.Study) -> list[FrozenTrial]:
    """Finished trials that evaluated a network of their own."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False, states=_FINISHED)
        if "candidate" in trial.user_attrs and "duplicate_of" not in trial.user_attrs
    ]


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


def _study_folder(results: Path, name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", name, re.ASCII):
        raise StudyError(f'study name "{name}" names no folder. Use up to 100 letters, digits, ., - and _ with --study')
    folder = results / name
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise StudyError(f"{folder} cannot be written: {existing} is no writable folder. Give another --results-dir")
    return folder


def _database_lock(storage: str | None, name: str) -> Path | None:
    """Where searches of this machine meet that share a database but not a results folder."""
    if storage is None:
        return None
    return data.cache_folder() / "locks" / hashlib.sha256(f"{storage} {name}".encode()).hexdigest()[:16]


@contextlib.contextmanager
def _exclusive(folder: Path | None) -> Iterator[None]:
    """The study is this process's alone; the system lets go of it however the process ends."""
    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise StudyError(f"{folder} cannot be written: {error.strerror}. Give another --results-dir") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise StudyError(f"{folder} is being searched by {holder}. Wait for it, or name another --study") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}")
        lock.flush()
        yield


@contextlib.contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Optuna's log lines are ours to print, and the experimental features that we chose need no warning."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _create(name: str, storage: BaseStorage) -> optuna.Study:
    """The study of that name, made if it is not there."""
    study = optuna.create_study(
        study_name=name, storage=storage, directions=["maximize", "minimize"], load_if_exists=True
    )
    if len(study.directions) != 2:
        raise StudyError(
            f'study "{name}" in that storage is not one of ours: it has one objective. Name another --study'
        )
    study.set_metric_names(["val_accuracy", "log10_energy_mj"])
    return study


def _database(url: str | None) -> BaseStorage | None:
    if url is None:
        return None
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:  # whatever its driver raises for a URL, a file or a server that will not do
        raise StudyError(f"storage {url} cannot be opened: {_first_line(error)}") from None


def _journal(folder: Path) -> BaseStorage:
    path = folder.absolute() / _JOURNAL  # absolute: Optuna's lock never recovers on a relative path
    try:
        opened = JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path))))
        opened.get_all_studies()  # reads every record
    except (ValueError, KeyError, TypeError, AssertionError, OSError) as error:
        raise _damaged(path, _first_line(error)) from None
    return opened


def _damaged(path: Path, what: str) -> StudyError:
    return StudyError(
        f"{path} is no record of a study ({what}). Restore the file from a backup, or name another --study"
    )


def _repair_journal(folder: Path) -> None:
    """After a crash; only while this process holds the study alone.

    A lock file of a killed process would block for 30 s. A record that was cut short would, without its
    line end, make the file unreadable at the next one.
    """
    path = folder.absolute() / _JOURNAL
    Path(f"{path}.lock").unlink(missing_ok=True)
    if path.exists():
        with path.open("rb+") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if content[whole:].startswith(b"{"):  # the beginning of a record; anything else is not ours to cut
                file.truncate(whole)
        _check_journal(path)  # Optuna takes a bad last line for a torn one, and would write behind it


def _check_journal(path: Path) -> None:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            json.loads(line)
        except ValueError as error:
            raise _damaged(path, f"line {number}: {error}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _known_studies(results: Path, database: BaseStorage | None) -> list[str]:
    """Names, the latest last."""
    if database is not None:
        summaries = optuna.get_all_study_summaries(storage=database)
        started = sorted(summaries, key=lambda s: s.datetime_start.timestamp() if s.datetime_start else 0.0)
        return [summary.study_name for summary in started]
    journals = sorted(results.glob(f"*/{_JOURNAL}"), key=lambda path: path.stat().st_mtime)
    return [path.parent.name for path in journals]


def _identity(space: SearchSpace) -> dict[str, Any]:
    """What results depend on, flat, so that a difference can be named."""
    flat: dict[str, Any] = {}
    for section, values in space.identity().items():
        flat |= {f"{section}.{key}": value for key, value in values.items()}
    return flat


def _check_identity(study: Study, identity: dict[str, Any]) -> None:
    stored = study.identity
    if not stored:
        study.optuna.set_user_attr("identity", identity)
        return
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


def _greeting(study: Study, trials: int) -> str:
    done = len(_evaluated(study.optuna))
    if done == 0:
        return f"Study {study.name}: {trials} candidates to evaluate. Ctrl-C loses nothing: the same command goes on."
    if done >= trials:
        return f"Study {study.name} already has {done} candidates, {trials} were asked for."
    return f"Study {study.name} continues: {done} of {trials} candidates are finished."


__all__ = ["Study", "load_study", "search"]
