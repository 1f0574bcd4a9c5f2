"""The loop over candidates: counting, duplicates, exhaustion, and that nothing is lost."""

import dataclasses
import importlib.metadata
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState

import nas
from nas.costs import energy, loihi, target
from nas.errors import StudyError
from nas.progress import Observer
from nas.reports import contents, figure
from nas.searching import opening
from nas.settings import Constraints
from nas.spaces.space import SearchSpace
from nas.studies import trials
from nas.studies.study import Study
from nas.training import fitting as training
from nas.training import measurement, ranking
from nas.training.candidate import Candidate
from nas.training.fitting import DivergedError
from spikformer import SpikformerError
from tests import remembered
from tests.conftest import MICRO, USUAL_BATCHES, Run
from tests.helpers import Heard, interruptible

pytestmark = pytest.mark.usefixtures("trained_once")
ROOT = Path(__file__).parents[2]


def _search(space: Path, trials: int, **settings: Any) -> Study:
    return opening.search(space, trials, results_dir=space.parent / "results", observer=Observer(), **settings)


def _comparable(study: Study) -> list[dict[str, Any]]:
    """Records in order, without what may differ between equal runs: time, host, commit."""
    records = [c.to_dict() for c in study.candidates.values()]
    for record in records:
        del record["provenance"]
    return records


def _weights(study: Study) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (study.folder / "weights").iterdir()}


def test_trials_counts_different_finished_networks_references_included(micro: Path, device: torch.device) -> None:
    study = _search(micro, 5, device=str(device))
    found = study.candidates
    assert len(found) == 5
    assert len({c.config_id for c in found.values()}) == 5
    assert next(iter(found.values())).reference == "Spikformer miniature"
    assert _search(micro, 5, device=str(device)).candidates == found  # nothing left to do
    assert list(_search(micro, 7, device=str(device)).candidates.values())[:5] == list(found.values())


def test_no_references(micro: Path) -> None:
    assert all(c.reference is None for c in _search(micro, 3, references=False).candidates.values())


def test_it_ends_when_the_space_is_exhausted(micro: Path) -> None:
    """12 networks by hand (tests/conftest.py); asking for 50 finds each once and says so."""

    class Listener(Observer):
        said = ""

        def notice(self, text: str) -> None:
            self.said += text

    listener = Listener()
    study = opening.search(micro, 50, results_dir=micro.parent / "results", observer=listener)
    assert len({c.config_id for c in study.candidates.values()}) == len(study.candidates) == 12
    assert "exhausted: it has 12 different networks" in listener.said
    assert len(_search(micro, 50).candidates) == 12


def test_equal_networks_are_trained_once_and_their_values_replayed(micro: Path) -> None:
    """Heads mean nothing under sdsa: of two spellings, the second is a duplicate and does not count."""
    study = _search(micro, 1)
    for heads in (1, 2):
        params = {"embed_dim": 8, "num_heads": heads, "residual": "ms", "attention": "sdsa"}
        study.optuna.enqueue_trial(params)
    study = _search(micro, 3)
    trials = study.optuna.trials
    assert len(study.candidates) == 3
    assert trials[2].user_attrs["duplicate_of"] == 1
    assert trials[2].values == trials[1].values
    assert 2 not in study.candidates


def test_a_reference_that_was_already_evaluated_keeps_its_name(micro: Path) -> None:
    study = _search(micro, 12, references=False)
    assert all(c.reference is None for c in study.candidates.values())
    study = _search(micro, 13)  # exhausted, but the reference is looked at first
    assert [c.reference for c in study.candidates.values() if c.reference] == ["Spikformer miniature"]
    assert len(study.candidates) == 12


def test_weights_that_cannot_be_written_cost_nothing_else(micro: Path) -> None:
    folder = micro.parent / "results" / "micro"
    folder.mkdir(parents=True)
    (folder / "weights").write_text("in the way")
    assert len(_search(micro, 2).candidates) == 2


def test_one_database_cannot_be_searched_from_two_folders_at_once(
    micro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = f"sqlite:///{tmp_path / 'studies.db'}"

    class Second(Observer):
        error: StudyError | None = None

        def on_training_start(self, label: str, epochs: int) -> None:
            try:
                opening.search(micro, 1, storage=url, results_dir=tmp_path / "elsewhere", observer=Observer())
            except StudyError as error:
                self.error = error

    second = Second()
    opening.search(micro, 1, storage=url, results_dir=tmp_path / "here", observer=second)
    assert "is in use by process" in str(second.error)


def test_somebody_elses_study_is_refused(micro: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    optuna.create_study(study_name="micro", storage=url)
    with pytest.raises(StudyError, match="has one objective"):
        _search(micro, 1, storage=url)
    with pytest.raises(StudyError, match="no database at"):
        nas.load_study(storage=f"sqlite:///{tmp_path / 'typo.db'}")
    assert not (tmp_path / "typo.db").exists()


def test_same_seed_same_candidates_in_every_field(micro: Path, tmp_path: Path) -> None:
    """And the same weights, which holds as well where these tests remember a training (`tests.remembered`)."""
    one, two = (_search(micro, 4, study=name) for name in ("trained", "remembered"))
    with remembered.anew():
        other = opening.search(micro, 4, results_dir=tmp_path / "again", observer=Observer())
    assert _comparable(one) == _comparable(two) == _comparable(other)
    assert _weights(one) == _weights(two) == _weights(other)
    different = opening.search(micro, 2, seed=1, results_dir=tmp_path / "seed", observer=Observer())
    assert _comparable(different)[0] != _comparable(one)[0]


def test_a_record_survives_its_storage(micro: Path, device: torch.device) -> None:
    for candidate in _search(micro, 2, device=str(device)).candidates.values():
        assert Candidate.from_dict(json.loads(json.dumps(candidate.to_dict()))) == candidate
        assert candidate.status == "complete"
        assert candidate.images_seen == 200
        assert candidate.counted_images == round(0.1 * 1797)
        assert candidate.provenance["versions"]["optuna"] == optuna.__version__
        assert candidate.provenance["device"].startswith(device.type)
        assert candidate.provenance["fp32_while_training"] == ("tf32" if device.type == "cuda" else "fp32")
        assert candidate.provenance["fp32_while_measuring"] == "fp32"


def test_a_study_that_another_torch_began_says_so(micro: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal seeds give other weights there: torch 2.11 and 2.14 truncate normal numbers differently."""
    heard = Heard()
    opening.search(micro, 1, results_dir=micro.parent / "results", observer=heard)
    opening.search(micro, 2, results_dir=micro.parent / "results", observer=heard)
    assert "torch" not in heard.text
    ours, version = importlib.metadata.version("torch"), importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.11.0" if name == "torch" else version(name))
    opening.search(micro, 2, results_dir=micro.parent / "results", observer=heard)
    assert f"trained with torch {ours}; this is torch 2.11.0" in heard.text


@pytest.fixture(scope="module")
def never_interrupted(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """All trained in this process; in the test the process that is killed trains the first ones."""
    torch.set_num_threads(1)  # as the processes that it is compared with
    folder = tmp_path_factory.mktemp("whole")
    (folder / "micro.toml").write_text(MICRO)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurement, "_BATCHES", USUAL_BATCHES)
        return _comparable(opening.search(folder / "micro.toml", 4, epochs=3, results_dir=folder, observer=Observer()))


@pytest.mark.parametrize(
    "how",
    [signal.SIGKILL, *(pytest.param(how, marks=pytest.mark.exhaustive) for how in (signal.SIGINT, signal.SIGTERM))],
)
def test_interrupted_anywhere_the_same_command_goes_on(
    micro: Path,
    tmp_path: Path,
    how: signal.Signals,
    never_interrupted: list[dict[str, Any]],
    run_here: Run,
    usual_batches: None,
) -> None:
    """A process is really killed in the middle of a training; the study ends as if it never had been."""
    settings = ["--space", str(micro), "--trials", "4", "--epochs", "3", "--results-dir", str(tmp_path / "killed")]
    command = [sys.executable, str(ROOT / "cli.py"), "search", *settings]
    journal = tmp_path / "killed" / "micro" / "journal.log"
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # sums in another order round otherwise
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=one_thread, preexec_fn=interruptible
    )
    _wait_for(journal, lambda trials: _in_state(trials, TrialState.RUNNING) and len(trials) >= 2)
    process.send_signal(how)
    said = process.communicate(timeout=60)[1]
    if how is not signal.SIGKILL:
        assert process.returncode == 130
        assert "Nothing is lost" in said
        assert "Traceback" not in said
    interrupted = nas.load_study("micro", results_dir=tmp_path / "killed")
    assert len(interrupted.candidates) < 4  # early, so that what comes after is compared
    done = run_here("search", *settings)
    assert done.returncode == 0, done.stderr
    assert "continues" in done.stderr
    study = nas.load_study("micro", results_dir=tmp_path / "killed")
    assert len({c.config_id for c in study.candidates.values()}) == len(study.candidates) == 4
    assert {trial.state for trial in study.optuna.trials} <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    assert sum(trial.state == TrialState.FAIL for trial in study.optuna.trials) == 1
    assert _comparable(study) == never_interrupted


def test_an_interrupted_reference_is_repeated_under_its_name(micro: Path) -> None:
    class Impatient(Observer):
        def on_training_start(self, label: str, epochs: int) -> None:
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            opening.search(micro, 1, results_dir=micro.parent / "results", observer=Impatient())
    study = _search(micro, 3)
    assert [c.reference for c in study.candidates.values()] == ["Spikformer miniature", None, None]
    assert [t.user_attrs.get("retry_of") for t in study.optuna.trials] == [None, 0, 1, None, None]


def test_interrupted_while_the_sampler_proposes(micro: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Half a proposal is nowhere: the next run makes the whole of it again."""
    _search(micro, 2, sampler="TPESampler")
    sample, calls = SearchSpace.sample, 0

    def stops(space: SearchSpace, suggest: Any) -> Any:
        nonlocal calls

        def counted(name: str, choices: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise KeyboardInterrupt
            return suggest(name, choices)

        return sample(space, counted)

    monkeypatch.setattr(SearchSpace, "sample", stops)
    with pytest.raises(KeyboardInterrupt):
        _search(micro, 4, sampler="TPESampler")
    study = _search(micro, 4, sampler="TPESampler")
    assert not _in_state(study.optuna.trials, TrialState.FAIL)
    whole = opening.search(micro, 4, sampler="TPESampler", results_dir=tmp_path / "w", observer=Observer())
    assert _comparable(study) == _comparable(whole)


def _wait_for(journal: Path, condition: Any, timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if journal.exists():
            try:
                trials = nas.load_study("micro", results_dir=journal.parent.parent).optuna.trials
            except StudyError:
                trials = []
            if condition(trials):
                return
        time.sleep(0.1)
    raise AssertionError("the search did not get there")


def _in_state(trials: list[Any], state: TrialState) -> bool:
    return any(trial.state == state for trial in trials)


def test_a_torn_last_record_is_cut_off(micro: Path) -> None:
    """What a power cut in the middle of an append leaves."""
    study = _search(micro, 2)
    journal = study.folder / "journal.log"
    with journal.open("a") as file:
        file.write('{"op_code": 5, "wor')
    assert len(_search(micro, 3).candidates) == 3
    assert len(nas.load_study("micro", results_dir=study.folder.parent).candidates) == 3


@pytest.mark.parametrize("content", [b"no journal\n", b"\x00\xff\xfe", b"[]\n", b'{"op_code": 99}\n'])
def test_a_corrupt_journal_is_named_and_left_alone(micro: Path, content: bytes) -> None:
    folder = micro.parent / "results" / "micro"
    folder.mkdir(parents=True)
    (folder / "journal.log").write_bytes(content)
    with pytest.raises(StudyError, match=r"journal\.log.*is not a readable record of a study"):
        _search(micro, 1)
    assert (folder / "journal.log").read_bytes() == content


@pytest.mark.parametrize(("changed", "named"), [({"seed": 1}, "seed 0 -> 1"), ({"epochs": 2}, "recipe.epochs 1 -> 2")])
def test_other_settings_under_the_same_name_are_refused(micro: Path, changed: dict[str, Any], named: str) -> None:
    _search(micro, 1)
    with pytest.raises(StudyError) as caught:
        _search(micro, 2, **changed)
    assert named in str(caught.value)
    assert "--study" in str(caught.value)
    assert len(_search(micro, 2, **changed, study="other").candidates) == 2


def test_a_changed_space_is_refused(micro: Path) -> None:
    _search(micro, 1)
    micro.write_text(micro.read_text().replace("embed_dim = [8, 16]", "embed_dim = [8, 16, 24]"))
    with pytest.raises(StudyError, match=r"space\.axes"):
        _search(micro, 2)


@pytest.mark.parametrize("status", ["diverged", pytest.param("out_of_memory", marks=pytest.mark.exhaustive), "silent"])
def test_networks_that_fail_count_and_stay_off_the_front(
    micro: Path, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second network fails; the sampler is told that it is infeasible, not that it never was."""
    calls = 0
    fit, measure = training.fit, measurement.measure

    def unlucky(model: Any, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % 2 == 0 and status == "diverged":
            raise DivergedError("the training loss is nan in epoch 1")
        if calls % 3 != 1 and status == "out_of_memory":  # tried twice
            raise torch.OutOfMemoryError("no memory")
        return fit(model, *arguments)

    def quiet(*arguments: Any) -> Any:
        found = measure(*arguments)
        return dataclasses.replace(found, silent="it says nothing") if calls % 2 == 0 and status == "silent" else found

    monkeypatch.setattr(training, "fit", unlucky)
    monkeypatch.setattr(measurement, "measure", quiet)
    study = _search(micro, 4)
    assert [c.status for c in study.candidates.values()] == ["complete", status, "complete", status]
    assert all(c.status == "complete" for c in study.front().values())
    failed = [t for t in study.optuna.trials if t.state == TrialState.PRUNED]
    assert len(failed) == 2
    assert all(t.constraints == {"usable": 1.0} for t in failed)


@pytest.mark.exhaustive
def test_a_network_that_runs_out_of_memory_is_tried_once_more(micro: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier network left behind may have been to blame; the second training is as the first would be."""
    undisturbed = _comparable(_search(micro, 2))
    fit, calls = training.fit, 0

    def unlucky(model: Any, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            fit(model, *arguments)
            raise torch.OutOfMemoryError("no memory")
        return fit(model, *arguments)

    monkeypatch.setattr(training, "fit", unlucky)
    assert _comparable(_search(micro, 2, study="again")) == undisturbed
    assert calls == 3


def test_weights_are_kept_of_the_front_only(micro: Path) -> None:
    study = _search(micro, 6)
    kept = {path.stem for path in (study.folder / "weights").glob("*")}
    assert kept == {c.config_id for c in study.front().values()}


def test_optunas_own_tools_work_on_a_study(micro: Path) -> None:
    study = _search(micro, 4).optuna
    front = {trials.values_of(t) for t in study.best_trials}
    ours = _search(micro, 4).front().values()
    assert len(front) == len(ours)
    assert study.trials_dataframe()["values_search_val_accuracy"].max() == max(c.search_val_accuracy or 0 for c in ours)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trials": 0}, "trials 0 must be at least 1"),
        ({"device": "cuda:9"}, "does not exist: torch sees"),
        ({"device": "tpu"}, 'device "tpu" is unknown'),
        ({"epochs": 0}, "epochs 0 must be at least 1"),
        ({"train_images": 10**6}, "train_images 1000000 is more than"),
        ({"study": "../x"}, "cannot name a folder"),
        ({"study": "x" * 300}, "cannot name a folder"),
        ({"study": "q[b]x"}, "cannot name a folder"),
        ({"seed": -1}, "seed -1 must be between 0"),
        ({"train_images": 1430}, "Use 10 to 1427, or all 1437"),
        ({"storage": "nosuch://x"}, "storage nosuch://x cannot be opened"),
    ],
)
def test_bad_arguments(micro: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpikformerError) as caught:
        _search(micro, **{"trials": 1, **settings})
    assert message in str(caught.value)


def test_load_study_names_the_nearest_and_takes_the_latest(micro: Path) -> None:
    results = micro.parent / "results"
    with pytest.raises(StudyError, match="Run a search first"):
        nas.load_study(results_dir=results)
    _search(micro, 1)
    _search(micro, 1, study="second")
    assert nas.load_study(results_dir=results).name == "second"
    with pytest.raises(StudyError, match='Did you mean "second"'):
        nas.load_study("secnd", results_dir=results)


def test_a_database_holds_a_study_too(micro: Path) -> None:
    url = f"sqlite:///{micro.parent / 'studies.db'}"
    study = _search(micro, 3, storage=url)
    loaded = nas.load_study("micro", storage=url, results_dir=micro.parent / "results")
    assert loaded.candidates == study.candidates
    assert not (study.folder / "journal.log").exists()


def test_a_search_can_rank_by_the_energy_predicted_for_imagenet(micro: Path) -> None:
    """Objective, front, weights and report all take the prediction, at the image size that was asked for."""
    study = _search(micro, 6, energy_of="target", target_image_size=64)
    found = study.candidates
    for number, candidate in found.items():
        large = target.for_imagenet(candidate.config, 64)
        assert large.stem.image_size == 64
        assert candidate.energy_target_mj == target.predicted_energy_mj(candidate.operations, large)
        assert trials.values_of(study.optuna.trials[number])[1] == math.log10(candidate.energy_target_mj)
    points = {n: (c.search_val_accuracy or 0.0, c.energy_target_mj or 0.0) for n, c in found.items()}
    front = {
        n
        for n, (accuracy, mj) in points.items()
        if not any(other != (accuracy, mj) and other[0] >= accuracy and other[1] <= mj for other in points.values())
    }
    assert set(study.front()) == front
    assert all(study.weights(candidate).is_file() == (n in front) for n, candidate in found.items())
    report = contents.build(study, energy.convention("paper"))
    for row in report.trials.to_dict("records"):
        large = target.for_imagenet(found[row["trial"]].config, 64)
        paper_mj = target.predicted_energy_mj(found[row["trial"]].operations, large, energy.convention("paper"))
        assert row["energy_target_mj"] == paper_mj
    assert set(contents.build(study).front["trial"]) == front
    assert "predicted energy on ImageNet" in figure.figure(report).axes[0].get_xlabel()
    with pytest.raises(StudyError, match=r'energy_of "target" -> null'):
        _search(micro, 6)


@pytest.mark.parametrize(
    "rank_by",
    [
        "energy+lemaire2022",
        "chip:loihi",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in ("energy+memory", "energy+step", "chip:digital")
        ),
    ],
)
def test_a_search_can_rank_by_a_named_total(micro: Path, rank_by: str) -> None:
    """Objective, front, weights and report take the total, and pricing the records anew gives the same ranking."""
    limits = Constraints(fits="loihi", max_latency_ms=10.0)
    study = _search(micro, 4, rank_by=rank_by, constraints=limits)
    name = "energy+horowitz64" if rank_by == "energy+memory" else rank_by
    assert study.energy_of == name
    again = nas.load_study("micro", results_dir=micro.parent / "results").candidates
    for number, candidate in again.items():
        total_mj = ranking.total_mj(study.energy_of, candidate.energy_mj or 0.0, candidate.counts)
        assert candidate.ranked_mj(study.energy_of) == total_mj
        assert trials.values_of(study.optuna.trials[number])[1] == math.log10(total_mj or 0.0)
    report = contents.build(study)
    assert report.energy == f"{name}_mj"
    assert set(report.front["trial"]) == set(study.front())
    assert all(study.weights(c).is_file() == (n in study.front()) for n, c in study.candidates.items())
    with pytest.raises(StudyError, match=r"energy_of .* -> null"):
        _search(micro, 4, constraints=limits)


def test_networks_that_do_not_fit_are_not_trained(micro: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason in the trial names the layer and what it needs."""
    monkeypatch.setattr(loihi, "CORES", 13)  # ssa has one operation more than sdsa, and needs 14
    study = _search(micro, 6, constraints=Constraints(fits="loihi"), sampler="RandomSampler")
    reasons = [str(trial.user_attrs.get("reason", "")) for trial in study.optuna.trials]
    told = [reason for reason in reasons if "does not fit" in reason]
    fitting = {c.config_id for c in study.candidates.values()}
    assert fitting
    assert {c.config.stages[0].mixer.kind for c in study.candidates.values()} == {"sdsa"}
    assert told
    assert all(re.match(r"not trained: does not fit: \S+ needs \d+ cores?, and the network \d+, but", r) for r in told)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"energy_of": "chip"}, 'energy_of "chip" is unknown. Use proxy or target'),
        ({"target_image_size": 100}, "target_image_size 100 must be a multiple of 32, such as 224"),
    ],
)
def test_bad_objectives_are_refused(micro: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        _search(micro, 2, **settings)
