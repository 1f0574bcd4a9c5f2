"""Several processes at one study: nothing lost, nothing twice, nothing stuck, whatever dies."""

import contextlib
import dataclasses
import errno
import gc
import json
import multiprocessing
import os
import platform
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import FrozenTrial, TrialState

import nas
from nas.engines import devices, processes
from nas.engines import engine as engines
from nas.errors import StudyError
from nas.searching import opening
from nas.searching.proposals import Proposer, settings
from nas.spaces import load_space
from nas.studies import claims, journal, status, trials, urls
from nas.studies import storage as storages
from nas.studies.study import Study
from nas.studies.trials import Snapshot
from spikformer import SpikformerError
from tests.conftest import MICRO, Run
from tests.helpers import Heard, interruptible

pytestmark = pytest.mark.usefixtures("trained_once")

ROOT = Path(__file__).parents[2]
POSTGRES = shutil.which("postgres") or next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))), None)
LARGE = MICRO.replace(
    "\n[references]", "time_steps = [1, 2, 4]\nmlp_ratio = [1, 2, 4]\ndepth = [1, 2, 3]\n\n[references]"
)
"""324 networks by hand: 12 of MICRO times 3 x 3 x 3."""


class Crew:
    """Searches of one study, each a process of its own; they may pretend to train (`tests.forking`)."""

    def __init__(self, folder: Path, networks: int, *more: str, pretend: bool = False) -> None:
        self.folder, self.networks, self.more = folder, networks, more
        (folder / "large.toml").write_text(LARGE)
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        self._forking = subprocess.Popen(
            [sys.executable, "-m", "tests.forking", *([str(folder / "large.toml")] if pretend else [])],
            cwd=ROOT, env=one_thread, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=interruptible,
        )  # fmt: skip
        self.members: list[int] = []
        self._study: Study | None = None

    def join(self, largest_file: int = -1) -> int:
        """One more, whose files may have so many bytes; its process."""
        settings = ["--space", "large.toml", "--trials", str(self.networks), "--sampler", "RandomSampler", *self.more]
        errors = str(self.folder / f"{len(self.members)}.err")
        assert self._forking.stdin is not None
        assert self._forking.stdout is not None
        self._forking.stdin.write(json.dumps([str(self.folder), errors, largest_file, ["search", *settings]]) + "\n")
        self._forking.stdin.flush()
        self.members.append(int(self._forking.stdout.readline()))
        return self.members[-1]

    def kill(self, rng: random.Random) -> None:
        """Any of them, and another comes."""
        alive = [member for member in self.members if _lives(member)]
        if alive:
            os.kill(rng.choice(alive), signal.SIGKILL)
        self.join()

    def finish(self, timeout_s: float, *ends: int) -> list[int]:
        """Wait for all of them, who end well, were killed, or end with one of these codes; the codes, in order."""
        try:
            codes: list[int] = json.loads(self._forking.communicate(timeout=timeout_s)[0])
        except subprocess.TimeoutExpired:
            for member in filter(_lives, self.members):
                os.kill(member, signal.SIGKILL)
            self._forking.communicate()
            pytest.fail(f"not ended after {timeout_s} s")
        said = "\n".join(path.read_text() for path in sorted(self.folder.glob("*.err")))
        assert set(codes) <= {0, -signal.SIGKILL, *ends}, said
        assert "Traceback" not in said
        return codes

    def study(self, storage: str | None = None) -> Study:
        if self._study is None:  # kept: each one opened connects to the server anew
            self._study = nas.load_study("large", results_dir=self.folder / "results", storage=storage)
        return self._study


def _check(study: Study, networks: int, workers: int) -> None:
    """Every network once, every trial accounted for."""
    every = study.optuna.get_trials(deepcopy=False)
    assert networks <= len(study.candidates) <= networks + workers - 1
    done = [(t.user_attrs["config_id"], trials.rung_of(t)) for t in study.snapshot().trained]
    assert max(Counter(done).values()) == 1
    assert {t.state for t in every} <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    assert all(_is_accounted_for(trial, every) for trial in every)


def _is_accounted_for(trial: FrozenTrial, every: list[FrozenTrial]) -> bool:
    """Trained, replayed, repeated by another, or withdrawn before it began."""
    if trial.state != TrialState.FAIL:
        return "candidate" in trial.user_attrs or "duplicate_of" in trial.user_attrs
    repeated = any(other.user_attrs.get("retry_of") == trial.number for other in every)
    return repeated or "stepped_back" in trial.user_attrs


def _search(folder: Path, networks: int, **settings: Any) -> Study:
    """In this process; on the large space unless told otherwise."""
    if not (folder / "large.toml").exists():
        (folder / "large.toml").write_text(LARGE)
    usual = {"sampler": "RandomSampler", "observer": Heard(), "results_dir": folder / "results"}
    settings = dict[str, Any](usual) | settings
    return opening.search(settings.pop("space", folder / "large.toml"), networks, **settings)


def _records(study: Study) -> dict[str, dict[str, Any]]:
    """By network, without what may differ between equal runs."""
    found = {c.config_id: c.to_dict() for c in study.candidates.values()}
    for record in found.values():
        del record["provenance"]
    return found


def _wait_for(crew: Crew, finished: int, storage: str | None = None, timeout_s: float = 300) -> None:
    def finishes() -> bool:
        try:
            return len(crew.study(storage).snapshot().furthest) >= finished
        except StudyError:
            return False

    _wait_until(finishes, timeout_s)


def _wait_until(holds: Callable[[], bool], timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "the searches did not get there"
        time.sleep(0.2)


def _in_state(study: Study, state: TrialState) -> list[FrozenTrial]:
    return study.optuna.get_trials(deepcopy=False, states=(state,))


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A server of one's own, on this machine; and how to stop and start it."""
    if POSTGRES is None:
        pytest.skip("no PostgreSQL server is installed")
    pytest.importorskip("psycopg")
    bin_folder = Path(POSTGRES).resolve().parent
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = Path("/tmp") / f"pg-{os.getpid()}-{port}"
    user = ["setpriv", "--reuid=nobody", "--clear-groups"] if os.getuid() == 0 else []
    where.mkdir(mode=0o700)
    if user:
        shutil.chown(where, "nobody")

    def pg(*arguments: str) -> None:
        subprocess.run([*user, *arguments], check=True, cwd="/tmp", capture_output=True, timeout=60)

    def start() -> None:
        options = f"-h 127.0.0.1 -p {port} -k {where} -c fsync=off"
        pg(f"{bin_folder}/pg_ctl", "-D", f"{where}/data", "-o", options, "-l", f"{where}/log", "-w", "start")

    def stop() -> None:
        pg(f"{bin_folder}/pg_ctl", "-D", f"{where}/data", "-m", "fast", "-w", "stop")

    pg(f"{bin_folder}/initdb", "-D", f"{where}/data", "-U", "nas", "--auth=trust")
    start()
    try:
        yield {"url": f"postgresql+psycopg://nas:very-secret@127.0.0.1:{port}/postgres", "start": start, "stop": stop}
    finally:
        gc.collect()  # connections are left to the collector, and say so: here, where it is expected
        stop()
        shutil.rmtree(where, ignore_errors=True)


# Networks, searches, and how many of these are killed.
CREWS = [
    (20, 2, 2),
    (200, 8, 20),
]


@pytest.mark.exhaustive  # a journal with one search is in CI
@pytest.mark.parametrize(("networks", "searches", "kills"), CREWS)
def test_searches_of_which_some_are_killed_share_a_journal(
    tmp_path: Path, networks: int, searches: int, kills: int
) -> None:
    _some_are_killed(Crew(tmp_path, networks, "--no-references", pretend=True), None, searches, kills)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("networks", "searches", "kills"), CREWS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_searches_of_which_some_are_killed_share_a_database(
    tmp_path: Path, postgresql: dict[str, Any], networks: int, searches: int, kills: int
) -> None:
    """The server restarts in between: they wait, and go on."""
    crew = Crew(tmp_path, networks, "--no-references", "--storage", postgresql["url"], pretend=True)
    _some_are_killed(crew, postgresql, searches, kills)


def _some_are_killed(crew: Crew, server: dict[str, Any] | None, searches: int, kills: int) -> None:
    rng = random.Random(0)
    url = server["url"] if server else None
    for _ in range(searches):
        crew.join()
    _wait_for(crew, 5, url)
    for killed in range(kills):
        crew.kill(rng)
        time.sleep(rng.uniform(0.5, 1.5))
        if killed == (kills - 1) // 2 and server is not None:
            server["stop"]()
            time.sleep(1)
            server["start"]()
    crew.finish(600)
    _check(crew.study(url), crew.networks, searches)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the short training that tells how long a search will take."""
    monkeypatch.setattr(engines, "measured_pace", lambda *_: None)


@pytest.mark.exhaustive
def test_two_searches_that_begin_a_study_at_the_same_moment_make_one(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 12, pretend=True)
    crew.join()
    crew.join()
    crew.finish(300)
    _check(crew.study(), 12, 2)
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"large"}


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_also_on_an_empty_server_whose_password_nobody_ever_sees(tmp_path: Path, postgresql: dict[str, Any]) -> None:
    crew = Crew(tmp_path, 12, "--storage", postgresql["url"], pretend=True)
    crew.join()
    crew.join()
    crew.finish(300)
    _check(crew.study(postgresql["url"]), 12, 2)
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "report", "--study", "large", "--storage", postgresql["url"]],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "nas:***@127.0.0.1" in done.stdout
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    stored = subprocess.run(
        ["pg_dump", "-w", postgresql["url"].replace("+psycopg", "")], capture_output=True, check=True
    )
    assert len(stored.stdout) > 100_000
    for text in (*written, stored.stdout, done.stdout.encode(), done.stderr.encode()):
        assert b"very-secret" not in text


@pytest.mark.slow
def test_processes_give_what_one_process_gives(tmp_path: Path, usual_batches: None) -> None:
    """The same list of networks, queued; every field of every record."""
    spellings = [
        {"embed_dim": 8, "num_heads": 1, "residual": residual, "attention": "ssa", "time_steps": steps, "mlp_ratio": 1}
        | {"depth": depth}
        for residual, steps, depth in (("sew", 1, 2), ("ms", 2, 1))
    ]  # fmt: skip
    one, two = (_search(tmp_path, 1, study=name) for name in ("one", "two"))
    for study in (one, two):
        for params in spellings:
            study.optuna.enqueue_trial(params)
    one, two = _search(tmp_path, 3, study="one"), _search(tmp_path, 3, study="two", workers=2)
    assert _records(one) == _records(two)
    assert {t.user_attrs["holder"]["pid"] for t in two.optuna.trials} == {os.getpid()}
    assert one.front().keys()
    assert {c.config_id for c in one.front().values()} == {p.stem for p in (two.folder / "weights").iterdir()}


@pytest.mark.cuda
def test_two_workers_on_one_gpu_train_what_one_does(tmp_path: Path, unhurried: None, device: torch.device) -> None:
    """The same networks, each on its share of the memory; accuracies may differ by rounding."""
    one, two = (
        _search(tmp_path, 6, study=name, device=str(device), workers=workers, per_gpu=2)
        for name, workers in (("one", 1), ("two", 2))
    )
    assert _records(one).keys() == _records(two).keys()
    assert {c.status for c in two.candidates.values()} <= {"complete", "silent", "stopped"}


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_a_repetition(tmp_path: Path, unhurried: None, device: torch.device) -> None:
    class Killer(Heard):
        """Kills the first process that is at its second epoch."""

        killed = 0

        def on_epoch(self, label: str, number: int, epoch: Any) -> None:
            if number == 2 and self.killed < 2:
                self.killed += 1
                os.kill(max(process.pid or 0 for process in multiprocessing.active_children()), signal.SIGKILL)

    killer = Killer()
    study = _search(tmp_path, 4, workers=2, per_gpu=2, epochs=3, observer=killer, device=str(device))
    _check(study, 4, 1)
    assert killer.text.count("ended without a result: its process ended with SIGKILL") == 2
    failed = [t for t in study.optuna.trials if t.state == TrialState.FAIL]
    assert [t.user_attrs["reason"] for t in failed] == ["its process ended with SIGKILL"] * 2
    assert max(trials.attempt_of(t) for t in study.optuna.trials) >= 2
    assert not multiprocessing.active_children()


@pytest.mark.exhaustive
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_search_that_ends_takes_its_processes_with_it(tmp_path: Path, how: signal.Signals) -> None:
    crew = Crew(tmp_path, 300, "--workers", "2", "--epochs", "4")
    search = crew.join()
    _wait_for(crew, 1)
    workers = _descendants(search)
    assert len(workers) >= 3  # with the process that forks them
    _wait_until(lambda: len(_in_state(crew.study(), TrialState.RUNNING)) == 2)
    os.kill(search, how)
    crew.finish(30, 130)
    deadline = time.monotonic() + 20
    while any(map(_lives, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_lives, workers))
    said = (tmp_path / "0.err").read_text()
    assert "Traceback" not in said
    assert ("Nothing is lost" in said) == (how == signal.SIGINT)
    given_up, running = (_in_state(crew.study(), state) for state in (TrialState.FAIL, TrialState.RUNNING))
    if how == signal.SIGINT:
        assert 1 <= len(given_up) <= 2  # two were being trained just before
        assert not running
    else:
        assert running
        assert not given_up
    assert {trial.user_attrs["reason"] for trial in given_up} <= {
        "interrupted"
    }  # who interrupts is no fault of a network


def _descendants(pid: int) -> list[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            told = path.read_text()
            parents[int(path.parent.name)] = int(told[told.rindex(")") + 2 :].split()[1])
    children = [child for child, parent in parents.items() if parent == pid]
    return children + [descendant for child in children for descendant in _descendants(child)]


def _lives(pid: int) -> bool:
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return told[told.rindex(")") + 2] != "Z"


POISON = """
import os

from torch import nn

from spikformer.layers import conv_bn, fed_by_stream


class Mixer(nn.Module):
    def __init__(self, dim, config):
        super().__init__()
        self.conv = conv_bn(dim, dim, 1, fed=fed_by_stream(config))

    def forward(self, x):
        os._exit(9)
"""


@pytest.mark.slow
def test_a_network_that_ends_every_process_is_given_up_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unhurried: None
) -> None:
    (tmp_path / "poison.py").write_text(POISON)
    monkeypatch.syspath_prepend(str(tmp_path))
    poisoned = MICRO.replace('attention = ["ssa", "sdsa"]', 'attention = ["ssa", "poison:Mixer"]')
    (tmp_path / "poisoned.toml").write_text(poisoned.replace("num_heads = [1, 2]\n", ""))
    heard = Heard()
    study = _search(tmp_path, 8, space=tmp_path / "poisoned.toml", workers=2, observer=heard)
    found = study.candidates.values()
    assert len(found) == 8  # 2 widths x 2 residuals x 2 mixers
    gone = [c for c in found if c.status == "died"]
    assert {c.config.stages[0].mixer.kind for c in gone} == {"poison:Mixer"}
    assert len(gone) == 4
    assert {c.reason for c in gone} == {"given up after 3 attempts, the last: its process ended with code 9"}
    assert all(c.status == "complete" for c in found if c not in gone)
    attempts = Counter(t.user_attrs["config_id"] for t in study.optuna.trials if t.state == TrialState.FAIL)
    assert set(attempts.values()) == {3}


def test_a_block_that_cannot_be_built_ends_a_search_of_several_as_it_ends_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unhurried: None
) -> None:
    (tmp_path / "broken.py").write_text("class Mixer:\n    def __init__(self):\n        pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken.toml").write_text(
        MICRO.replace('attention = ["ssa", "sdsa"]', 'attention = ["ssa", "broken:Mixer"]')
    )
    for workers in (1, 2):
        with pytest.raises(SpikformerError, match='kind "broken:Mixer" cannot be built'):
            _search(tmp_path, 8, space=tmp_path / "broken.toml", workers=workers, references=False, study=f"w{workers}")


@pytest.mark.exhaustive
def test_the_process_that_forks_workers_touches_no_gpu() -> None:
    """CUDA cannot be used by forks of a process that has used it, if only to ask whether it is there."""
    refuses = (
        "import torch\n"
        "def refuse(*_): raise AssertionError\n"
        "for name in ('is_available', 'device_count', 'init', '_lazy_init', 'get_device_capability'):\n"
        "    setattr(torch.cuda, name, refuse)\n"
        "import nas.engines.processes"
    )
    subprocess.run([sys.executable, "-c", refuses], cwd=ROOT, check=True)


def test_workers_that_do_not_come_to_life_end_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unhurried: None
) -> None:
    monkeypatch.setattr(processes, "_work", _stillborn)
    with pytest.raises(StudyError, match=r"a worker on cpu failed to start: its process ended with code 3"):
        _search(tmp_path, 2, workers=2)
    assert not multiprocessing.active_children()


def _stillborn(*_arguments: Any) -> None:
    os._exit(3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "workers 0 must be at least 1"),
        ({"per_gpu": 0}, "per_gpu 0 must be at least 1"),
        ({"workers": 2, "storage": "sqlite:///x.db"}, "SQLite serves one worker only"),
        ({"engine": "slurm"}, 'engine "slurm" is unknown. Use local or ray'),
        ({"address": "auto"}, "auto is the address of a Ray cluster: add --engine ray"),
        ({"storage": "postgresql+psycopg://me:very-secret@127.0.0.1:1/x"}, "me:***@127.0.0.1:1/x cannot be opened"),
        ({"storage": "postgresql+psycopg://me:very-sec/ret@nowhere:port/x"}, "me:***@nowhere:port/x cannot be opened"),
    ],
)
def test_bad_arguments(tmp_path: Path, settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "_AWAY_BEFORE_SEARCH_S", 0.0)
    with pytest.raises(StudyError) as caught:
        _search(tmp_path, 1, **settings)
    assert message in str(caught.value)
    assert "very-sec" not in str(caught.value)


def test_places_are_spread_over_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert devices.places_of("auto", 4, 2) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert devices.places_of("cuda:1", 2, 2) == ["cuda:1", "cuda:1"]
    assert devices.places_of("cpu", 3, 1) == ["cpu"] * 3
    with pytest.raises(StudyError, match="3 workers do not fit on 2 GPUs with 1 on each"):
        devices.places_of("cuda", 3, 1)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:secret@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("mysql://me:p@ss:w/rd@host/db", "mysql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=secret&a=b", "postgresql://host/db?user=me&password=***&a=b"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
        ("grpc://host:13000", "grpc://host:13000"),
        ("grpc://me:secret@host:13000", "grpc://me:***@host:13000"),
        ("postgresql://me:p@ss@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:secret@/db", "postgresql://me:***@/db"),
        ("postgresql://me:secret@", "postgresql://me:***@"),
        ("postgresql://:secret@host/db", "postgresql://:***@host/db"),
        ("postgresql://me:secret", "postgresql://me:***"),
        ("postgresql://me:123456", "postgresql://me:***"),
        ("postgresql://me:pa?pass=x@host/db", "postgresql://me:***"),
        ("postgresql:/me:secret@host/db", "postgresql:***@host/db"),
        ("postgresql:me:secret@host/db", "postgresql:***@host/db"),
        ("me:secret@host/db", "me:***@host/db"),
        ("me:secret", "me:***"),
        ("//me:secret@host/db", "//me:***@host/db"),
        ("postgresql://me:a//b@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host:5432/db?password=p@ss", "postgresql://host:5432/db?password=***"),
        ("postgresql://host/db?password=se&cret&a=b", "postgresql://host/db?password=***&a=b"),
        ("mysql://host/db?a=b;PWD=secret", "mysql://host/db?a=b;PWD=***"),
        ("mysql://host/db?ssl_key_password=secret", "mysql://host/db?ssl_key_password=***"),
        ("localhost:5432/db", "localhost:5432/db"),
        ("sqlite:////tmp/a:b@c.db", "sqlite:////tmp/a:b@c.db"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert urls.redacted(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:zq7@zq8@127.0.0.1:1/x",
        "postgresql+psycopg://me:zq7/zq8@127.0.0.1:1/x",
        "postgresql+psycopg://me:zq7:zq8@/x?port=1",
        "postgresql+psycopg://me:zq7zq8",
        "postgresql+psycopg://me:%7aq7zq8@127.0.0.1:1/x",
        "postgresql+psycopg://me@127.0.0.1:1/x?password=zq7&zq8",
        "postgresql+psycopg:me:zq7zq8@127.0.0.1:1/x",
        "me:zq7zq8@127.0.0.1/x",
        "grpc://me:zq7zq8@127.0.0.1:1",
        "grpc://127.0.0.1:zq7zq8",
        "zq7://me:zq7@host",
    ],
)
def test_no_error_holds_a_piece_of_a_password(
    tmp_path: Path, url: str, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drivers split a malformed URL elsewhere, and quote what they found."""
    monkeypatch.setattr(storages, "_AWAY_AT_START_S", 0.0)
    done = run_here("report", "--storage", url, cwd=tmp_path)
    assert done.returncode == 1
    said = done.stderr.replace("zq7://", "")
    assert "***" in said
    assert "cannot be opened" in said
    assert "zq7" not in said
    assert "zq8" not in said


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "a/b", ".", "..", "-x"])
def test_a_hostile_study_of_a_database_has_its_folder_among_the_others(tmp_path: Path, name: str) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    optuna.create_study(study_name=name, storage=url, directions=["maximize", "minimize"])
    found = nas.load_study(storage=url, results_dir=tmp_path / "results")
    assert found.name == name
    assert found.folder.parent == tmp_path / "results"
    assert re.fullmatch("[A-Za-z0-9_]+(-[0-9a-f]{12})?", found.folder.name)
    assert [(row.name, row.trouble) for row in status.overview(tmp_path / "results", url)] == [(name, "")]


def test_a_study_without_a_name_is_refused_and_listed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    optuna.create_study(study_name="", storage=url, directions=["maximize", "minimize"])
    with pytest.raises(StudyError, match="must have 1 to 500 characters"):
        nas.load_study(storage=url, results_dir=tmp_path / "results")
    assert [row.trouble[:10] for row in status.overview(tmp_path / "results", url)] == ["study name"]


def test_a_hostile_record_names_no_file_elsewhere(tmp_path: Path, unhurried: None) -> None:
    study = _search(tmp_path, 1)
    (candidate,) = study.candidates.values()
    assert study.weights(candidate).is_file()
    with pytest.raises(StudyError, match="which is not the id of a network"):
        study.weights(dataclasses.replace(candidate, config_id="../../escaped"))


def test_nothing_is_added_behind_a_record_that_was_cut_short(tmp_path: Path) -> None:
    """By another process, while this one has the journal open."""
    study = _search(tmp_path, 1)
    path = study.folder / "journal.log"
    with path.open("ab") as file:
        file.write(b'{"op_code":8,"worker_id":"x","trial_')
    study.optuna.set_user_attr("said", "whole")
    assert all(map(json.loads, path.read_text().splitlines()))
    assert nas.load_study("large", results_dir=tmp_path / "results").optuna.user_attrs["said"] == "whole"


def test_what_is_no_record_at_the_end_is_not_cut_off(tmp_path: Path) -> None:
    study = _search(tmp_path, 1)
    path = study.folder / "journal.log"
    with path.open("ab") as file:
        file.write(b"somebody's notes")
    with pytest.raises(StudyError, match="the last line is not a record"):
        study.optuna.set_user_attr("said", "whole")
    assert path.read_bytes().endswith(b"somebody's notes")


def test_locks_of_dead_processes_block_nobody(tmp_path: Path, unhurried: None) -> None:
    """That of Optuna's own kind is a file, which an earlier version may have left; ours the system lets go of."""
    study = _search(tmp_path, 1)
    (study.folder / "journal.log.lock").touch()
    path = study.folder / "journal.log"
    holds = f"import fcntl; f = open({str(path)!r}); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
    began = time.monotonic()
    study.optuna.set_user_attr("said", "soon")
    assert time.monotonic() - began < 10  # Optuna's waits 30 s


def test_a_relative_results_folder_is_one_place_whatever_becomes_of_the_working_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unhurried: None
) -> None:
    monkeypatch.chdir(tmp_path)

    class Moves(Heard):
        def on_training_start(self, label: str, epochs: int) -> None:
            (tmp_path / "elsewhere").mkdir(exist_ok=True)
            monkeypatch.chdir(tmp_path / "elsewhere")

    study = _search(tmp_path, 2, results_dir="results", observer=Moves())
    assert len(study.candidates) == 2
    assert len(nas.load_study("large", results_dir=tmp_path / "results").candidates) == 2


@pytest.mark.exhaustive
def test_a_full_disk_is_a_clear_stop_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """No file may grow beyond 60 kB: an append is cut in its middle, as on a full disk."""
    crew = Crew(tmp_path, 6, pretend=True)
    first = crew.join(largest_file=60_000)
    _wait_until(lambda: not _lives(first))
    said = (tmp_path / "0.err").read_text()
    assert "journal.log cannot be written: File too large. Free some space; the same command then continues" in said
    evaluated = len(crew.study().candidates)
    assert 0 < evaluated < 6
    crew._study = None
    crew.join()
    assert crew.finish(300, 1) == [1, 0]
    _check(crew.study(), 6, 1)


def test_a_folder_that_becomes_read_only_is_a_clear_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unhurried: None
) -> None:
    """The journal's own file system refuses, as after an error of its disk."""
    acquire, calls = journal._Lock.acquire, 0

    def refused(lock: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls > 30:
            raise OSError(errno.EROFS, "Read-only file system")
        return acquire(lock)

    monkeypatch.setattr(journal._Lock, "acquire", refused)
    with pytest.raises(StudyError, match=r"journal\.log cannot be written: Read-only file system\. Free some space"):
        _search(tmp_path, 20)
    monkeypatch.setattr(journal._Lock, "acquire", acquire)
    before = len(nas.load_study("large", results_dir=tmp_path / "results").candidates)
    assert 0 < before < 20
    assert len(_search(tmp_path, before + 1).candidates) == before + 1


def _number(claim: claims.Claim | None) -> int | None:
    return claim.trial.number if claim is not None else None


def test_of_two_that_claim_one_training_the_first_has_it(tmp_path: Path, unhurried: None) -> None:
    study = _search(tmp_path, 1).optuna
    loaded = load_space(tmp_path / "large.toml")
    drawn = claims.draw(Snapshot.of(study), loaded, optuna.samplers.RandomSampler(seed=1), None)
    assert _number(claims.register(study, drawn, {"rung": 0}, None)) == 1
    assert _number(claims.register(study, drawn, {"rung": 0}, None)) is None
    assert study.trials[2].state == TrialState.FAIL
    assert study.trials[2].user_attrs["stepped_back"] == "another process was first, in trial 1"
    assert study.trials[2].user_attrs["reason"] == "withdrawn: another process was first, in trial 1"
    other = claims.draw(Snapshot.of(study), loaded, optuna.samplers.RandomSampler(seed=2), None)
    assert _number(claims.register(study, other, {"rung": 0}, 2)) is None  # one is evaluated, one is being trained
    assert study.trials[3].user_attrs["stepped_back"] == "others began the last of 2 networks"
    assert _number(claims.register(study, other, {"rung": 0}, 3)) == 4


def test_what_another_process_trains_is_not_repeated_beside_it(tmp_path: Path, unhurried: None) -> None:
    """Its first training died; somebody who did not know began another, as from the queue."""
    searched = _search(tmp_path, 1)
    study = searched.optuna
    loaded = load_space(tmp_path / "large.toml")
    drawn = claims.draw(Snapshot.of(study), loaded, optuna.samplers.RandomSampler(seed=1), None)
    died = _number(claims.register(study, drawn, {"rung": 0}, None))
    assert died is not None
    study.tell(died, state=TrialState.FAIL)
    proposer = Proposer(searched, loaded, 0, {}, settings(loaded.recipe.rungs, None), "searcher")
    proposal = proposer.next(searched.snapshot(), new=False)
    assert proposal is not None
    assert proposal.attributes["retry_of"] == died
    assert _number(claims.register(study, drawn, {"rung": 0}, None)) is not None
    assert proposer.next(searched.snapshot(), new=False) is None


def test_a_queued_network_that_is_being_trained_stays_in_the_queue(tmp_path: Path, unhurried: None) -> None:
    study = _search(tmp_path, 1).optuna
    loaded = load_space(tmp_path / "large.toml")
    drawn = claims.draw(Snapshot.of(study), loaded, optuna.samplers.RandomSampler(seed=1), None)
    assert _number(claims.register(study, drawn, {"rung": 0}, None)) == 1
    study.enqueue_trial(drawn.params)
    assert _number(claims.claim(study, study.trials[2], drawn, {"rung": 0})) is None
    assert study.trials[2].state == TrialState.WAITING
    study.tell(1, state=TrialState.FAIL)
    assert _number(claims.claim(study, study.trials[2], drawn, {"rung": 0})) == 2
    assert study.trials[2].params == drawn.params


def test_who_was_taken_for_dead_loses_the_training_and_nothing_else(tmp_path: Path, unhurried: None) -> None:
    """As a laptop that slept: another machine repeats what it held."""

    class Sleeper(Heard):
        study: Study | None = None

        def on_epoch(self, label: str, number: int, epoch: Any) -> None:
            if self.study is None:
                self.study = nas.load_study("large", results_dir=tmp_path / "results")
                self.study.optuna.tell(0, state=TrialState.FAIL)

    sleeper = Sleeper()
    study = _search(tmp_path, 2, observer=sleeper)
    assert "trial 0 was taken over by another process" in sleeper.text
    assert [t.user_attrs.get("retry_of") for t in study.optuna.trials] == [None, 0, None]
    assert [t.state.name for t in study.optuna.trials] == ["FAIL", "COMPLETE", "COMPLETE"]


def test_status_tells_who_works_on_what(tmp_path: Path, run_here: Run, unhurried: None) -> None:
    class Looks(Heard):
        found: list[status.Work]

        def on_epoch(self, label: str, number: int, epoch: Any) -> None:
            self.found = status.work(nas.load_study("large", results_dir=tmp_path / "results"))
            self.line = status.overview(tmp_path / "results", None)[0]

    looks = Looks()
    study = _search(tmp_path, 2, observer=looks)
    (work,) = looks.found
    assert (work.trial, work.rung, work.attempt, work.alive) == (1, 0, 1, True)
    assert work.owner is not None
    assert (work.owner.host, work.owner.pid) == (platform.node(), os.getpid())
    assert "attention=" in work.network
    assert (looks.line.evaluated, looks.line.running) == (1, 1)
    assert status.work(study) == []
    done = run_here("studies", "--results-dir", str(tmp_path / "results"), "--json")
    (row,) = json.loads(done.stdout)
    assert (row["name"], row["evaluated"], row["fully"], row["running"], row["trouble"]) == ("large", 2, 2, 0, "")


@pytest.mark.exhaustive
def test_on_a_ray_cluster_a_killed_worker_costs_a_repetition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers of a cluster of this machine; in a process of its own, which Ray leaves threads in."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # Ray's 15 would let all that runs beside it go first
    crew = Crew(tmp_path, 4, "--engine", "ray", "--workers", "2", "--epochs", "8")
    crew.join()
    deadline = time.monotonic() + 120
    while not (busy := _ray_tasks()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(busy[0], signal.SIGKILL)
    crew.finish(300)
    _check(crew.study(), 4, 1)
    assert [t.user_attrs["attempt"] for t in crew.study().optuna.trials if "attempt" in t.user_attrs] == [2]
    assert "ended without a result" in (tmp_path / "0.err").read_text()
    assert not _ray_tasks()


def _ray_tasks() -> list[int]:
    """Processes that train for Ray."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(b"ray::_train"):
                found.append(int(path.parent.name))
    return found


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_grpc_proxy_stands_before_the_server(tmp_path: Path, postgresql: dict[str, Any]) -> None:
    pytest.importorskip("grpc")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serves = (
        "from optuna.storages import get_storage, run_grpc_proxy_server; "
        f"run_grpc_proxy_server(get_storage({postgresql['url']!r}), host='127.0.0.1', port={port})"
    )
    server = subprocess.Popen([sys.executable, "-c", serves], stderr=subprocess.DEVNULL)
    try:
        crew = Crew(tmp_path, 10, "--storage", f"grpc://127.0.0.1:{port}", pretend=True)
        for _ in range(2):
            crew.join()
        crew.finish(300)
        _check(crew.study(postgresql["url"]), 10, 2)
    finally:
        server.kill()
        server.wait()
