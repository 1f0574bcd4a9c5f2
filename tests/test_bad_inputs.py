"""Hundreds of invalid inputs: each ends in its exit code and a line, with no traceback and nothing half written.

CI runs some of each kind in its own process; `pytest -m exhaustive tests/test_bad_inputs.py` runs all, each in one
that is forked for it, and counts.
"""

import os
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import cli
from tests.bad_inputs import KINDS, BadInput, inputs, spread, world
from tests.conftest import Run

LIMIT_S = 60.0
TOLD = ("Error", "Warning")
"""How a line begins that says what is wrong."""


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every command reads, in order."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("world")
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        torch.set_num_threads(1)
        return world(folder)


def test_there_are_enough_and_they_stay_the_same() -> None:
    every = inputs()
    counts = Counter(bad.kind for bad in every)
    assert set(counts) == set(KINDS)
    assert min(counts.values()) >= 40, counts
    assert len(every) >= 500
    assert len({bad.name for bad in every}) == len(every)
    assert [bad.name for bad in every] == [bad.name for bad in inputs()]
    assert len(spread(60)) == 60


@pytest.mark.parametrize("bad", spread(60), ids=lambda bad: f"{bad.kind} {bad.name}"[:80])
def test_a_bad_input_is_one_clear_error(
    bad: BadInput, undamaged: Path, tmp_path: Path, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _prepared(bad, undamaged, tmp_path / "work")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = run_here(*bad.arguments, cwd=tmp_path / "work")
    assert _problems(bad, done.returncode, done.stderr, before, _files(tmp_path / "work")) == []


@pytest.mark.exhaustive
def test_every_bad_input_is_one_clear_error(undamaged: Path, tmp_path: Path) -> None:
    wrong: dict[str, list[str]] = {}
    started = time.monotonic()
    for number, bad in enumerate(inputs()):
        if number % 25 == 0:
            print(number, f"{time.monotonic() - started:.0f} s", *wrong.items(), sep="\n", flush=True)
        place = tmp_path / str(number)
        before = _prepared(bad, undamaged, place / "work")
        begun = time.monotonic()
        code = _in_a_fork(lambda place=place, bad=bad: _become(place, bad))
        problems = _problems(bad, code, (place / "stderr").read_text(), before, _files(place / "work"))
        if time.monotonic() - begun > LIMIT_S:
            problems.append("it took too long")
        if problems:
            wrong[f"{bad.kind}: {bad.name}: {' '.join(bad.arguments)[:160]}"] = problems
        shutil.rmtree(place)
    print(f"{len(inputs())} inputs in {time.monotonic() - started:.0f} s, {len(wrong)} of them wrong")
    for name, problems in wrong.items():
        print(name, *problems, sep="\n    ")
    assert wrong == {}


def _prepared(bad: BadInput, undamaged: Path, folder: Path) -> dict[str, bytes]:
    shutil.copytree(undamaged, folder, ignore=shutil.ignore_patterns("cache"), symlinks=True)
    bad.damage(folder)
    return _files(folder)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _problems(bad: BadInput, code: int, said: str, before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """What is wrong with how a command ended."""
    problems = []
    if code != bad.code:
        problems.append(f"exit code {code}, not {bad.code}")
    if "Traceback" in said:
        problems.append("a traceback")
    if bad.code and sum(line.startswith(TOLD) for line in said.splitlines()) != 1:
        problems.append("not one line that begins with Error")
    changed = [name for name in before if after.get(name) != before[name]]
    new = [name for name in after if name not in before]
    half = [name for name in after if ".partial" in name or name.endswith(".old")]
    odd = [name for name in {*changed, *new, *half} if name in half or not name.startswith(bad.writes or ("\0",))]
    if bad.code and odd:
        problems.append(f"it wrote {sorted(odd)[:4]}")
    if problems:
        problems.append(said[-600:])
    return problems


def _in_a_fork(work: Callable[[], int]) -> int:
    """The exit code of work in a process of its own, or the negative signal; one that has no end is killed."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    deadline = time.monotonic() + LIMIT_S
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)


def _become(place: Path, bad: BadInput) -> int:
    """A command as a process of its own runs it."""
    os.chdir(place / "work")
    os.environ["XDG_CACHE_HOME"] = str(place / "cache")
    for name, number in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(place / name, os.O_WRONLY | os.O_CREAT), number)
        setattr(sys, name, os.fdopen(os.dup(number), "w"))
    sys.argv = ["cli.py", *bad.arguments]
    try:
        cli.run()
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stderr.flush()
