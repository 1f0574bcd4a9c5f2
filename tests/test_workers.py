"""Several processes at one study: nothing lost, nothing twice, nothing stuck, whatever dies."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

import nas
from nas import trials
from nas.study import Study
from tests.conftest import MICRO

ROOT = Path(__file__).parent.parent
POSTGRES = shutil.which("postgres") or next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))), None)
LARGE = MICRO.replace(
    "\n[references]", "time_steps = [1, 2, 4]\nmlp_ratio = [1, 2, 4]\ndepth = [1, 2, 3]\n\n[references]"
)
"""324 networks by hand: 12 of MICRO times 3 x 3 x 3."""


class Crew:
    """Searches of one study, each a process of its own."""

    def __init__(self, folder: Path, networks: int, *more: str) -> None:
        self.folder, self.networks, self.more = folder, networks, more
        (folder / "large.toml").write_text(LARGE)
        self.members: list[subprocess.Popen[bytes]] = []
        self._study: Study | None = None

    def join(self) -> None:
        """One more."""
        settings = ["--space", "large.toml", "--trials", str(self.networks), "--sampler", "RandomSampler", *self.more]
        log = self.folder / f"{len(self.members)}.err"
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(ROOT / "cli.py"), "search", *settings]
        with log.open("wb") as said:
            self.members.append(
                subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=said, env=one_thread)
            )

    def kill(self, rng: random.Random) -> None:
        """Any of them, and another comes."""
        alive = [member for member in self.members if member.poll() is None]
        if alive:
            rng.choice(alive).kill()
        self.join()

    def finish(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        for member in self.members:
            member.wait(max(1.0, deadline - time.monotonic()))
        codes = Counter(member.returncode for member in self.members)
        said = "\n".join(path.read_text() for path in sorted(self.folder.glob("*.err")))
        assert set(codes) <= {0, -signal.SIGKILL}, said
        assert "Traceback" not in said

    def study(self, storage: str | None = None) -> Study:
        if self._study is None:  # kept: each one opened connects to the server anew
            self._study = nas.load_study("large", results_dir=self.folder / "results", storage=storage)
        return self._study


def _check(study: Study, networks: int, workers: int) -> None:
    """Every network once, every trial accounted for."""
    every = study.optuna.get_trials(deepcopy=False)
    assert networks <= len(study.candidates) <= networks + workers - 1
    done = [(t.user_attrs["config_id"], trials.rung_of(t)) for t in trials.trained(study.optuna)]
    assert max(Counter(done).values()) == 1
    assert {t.state for t in every} <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    assert all(_is_accounted_for(trial, every) for trial in every)


def _is_accounted_for(trial: FrozenTrial, every: list[FrozenTrial]) -> bool:
    """Trained, replayed, repeated by another, or withdrawn before it began."""
    if trial.state != TrialState.FAIL:
        return "candidate" in trial.user_attrs or "duplicate_of" in trial.user_attrs
    repeated = any(other.user_attrs.get("retry_of") == trial.number for other in every)
    return repeated or "stepped_back" in trial.user_attrs


def _wait_for(crew: Crew, finished: int, storage: str | None = None, timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if len(trials.furthest(crew.study(storage).optuna)) >= finished:
                return
        except nas.errors.StudyError:
            pass
        time.sleep(0.2)
    raise AssertionError("the searches did not get there")


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
        stop()
        shutil.rmtree(where, ignore_errors=True)


@pytest.mark.slow
def test_eight_searches_of_which_twenty_are_killed_share_a_journal(tmp_path: Path) -> None:
    _eight_of_which_twenty_are_killed(Crew(tmp_path, 200, "--no-references"), None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # connections left to the collector
def test_eight_searches_of_which_twenty_are_killed_share_a_database(tmp_path: Path, postgresql: dict[str, Any]) -> None:
    """The server restarts in between: they wait, and go on."""
    url = postgresql["url"]
    _eight_of_which_twenty_are_killed(Crew(tmp_path, 200, "--no-references", "--storage", url), postgresql)


def _eight_of_which_twenty_are_killed(crew: Crew, server: dict[str, Any] | None) -> None:
    rng = random.Random(0)
    url = server["url"] if server else None
    for _ in range(8):
        crew.join()
    _wait_for(crew, 10, url)
    for killed in range(20):
        crew.kill(rng)
        time.sleep(rng.uniform(0.5, 3.0))
        if killed == 10 and server is not None:
            server["stop"]()
            time.sleep(2)
            server["start"]()
    crew.finish(600)
    _check(crew.study(url), 200, 8)
