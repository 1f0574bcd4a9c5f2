"""A training with readers that is told to end does so within seconds, also where a reader waits for ever."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.full_training import checkpoint, loading, logger
from nas.full_training.stopping import Stop, stopping
from tests import pictures
from tests.helpers import interruptible

ROOT = Path(__file__).parents[2]
_SOON_S = 30.0  # seconds; it takes three on an idle machine, and never ended before


def _started(folder: Path, images: Path, out: Path, epochs: int) -> subprocess.Popen[str]:
    bundle = folder / "bundle"
    if not bundle.exists():
        pictures.bundle(folder, own=pictures.recipe(epochs=50))
    options = [f"epochs={epochs}", "workers=2", "log_every_steps=1", "evaluate_every_epochs=100"]
    settings = [word for option in options for word in ("--set", option)]
    command = [sys.executable, str(ROOT / "cli.py"), "train", str(bundle), "--data-dir", str(images), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--device", "cpu", *settings],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=interruptible,
    )


def _wait_for(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while not there():
        assert process.poll() is None, process.stderr.read() if process.stderr is not None else ""
        assert time.monotonic() < until
        time.sleep(0.05)


def _ended(process: subprocess.Popen[str]) -> str:
    """What it said, once it has ended as an interruption does; else it and its readers are killed."""
    try:
        _, said = process.communicate(timeout=_SOON_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        pytest.fail(f"it did not end within {_SOON_S:g} s")
    assert process.returncode == 130, said
    with pytest.raises(ProcessLookupError):  # no reader is left of its group
        os.killpg(process.pid, 0)
    return said


@pytest.mark.exhaustive
@pytest.mark.parametrize("to_all", [False, True])
def test_it_ends_soon_and_goes_on_at_its_step(to_all: bool, tmp_path: Path) -> None:
    """By a signal to the process alone, as `kill` sends it, or to its readers too, as a scheduler does."""
    images, out = pictures.folders(tmp_path / "images", train=100), tmp_path / "out"
    training = _started(tmp_path, images, out, 50)
    _wait_for(lambda: len(logger.read(out / logger.FILE)) > 5, training)
    (os.killpg if to_all else os.kill)(training.pid, signal.SIGTERM)
    assert "Nothing is lost: the same command continues where it stopped." in _ended(training)
    steps = logger.read(out / logger.FILE)[-1]["step"]
    saved = checkpoint.load(out / checkpoint.FILE).steps
    assert steps <= saved <= steps + 1
    again = _started(tmp_path, images, out, 50)
    _wait_for(lambda: logger.read(out / logger.FILE)[-1]["step"] > saved, again)
    again.send_signal(signal.SIGTERM)
    assert f"continues at step {saved} of 2500" in _ended(again)


@pytest.mark.exhaustive  # the readers of the test below are stuck, too
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a file that never answers")
def test_it_ends_soon_where_a_reader_waits_for_ever(tmp_path: Path) -> None:
    """A pipe that nobody writes into stands for a disk that does not answer. Saved is the step that was done."""
    images, out = pictures.folders(tmp_path / "images", train=20), tmp_path / "out"
    for label in range(4):
        os.mkfifo(images / "train" / f"class{label:04}" / "zz.jpg")
    training = _started(tmp_path, images, out, 50)
    seen = [-1, time.monotonic()]

    def stuck() -> bool:
        done = len(logger.read(out / logger.FILE))
        if done != seen[0]:
            seen[:] = [done, time.monotonic()]
        return (out / logger.FILE).exists() and _readers(training.pid) == 2 and time.monotonic() - seen[1] > 5

    _wait_for(stuck, training)
    training.send_signal(signal.SIGTERM)
    _ended(training)
    assert checkpoint.load(out / checkpoint.FILE).steps == max(seen[0], 0)


def _readers(pid: int) -> int:
    return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


_KEPT = """
import sys, time
from pathlib import Path
import torch
from nas.datasets import sources
from nas.full_training import loading
from nas.full_training.process_group import ProcessGroup
from tests import pictures

source = sources.find(sys.argv[1])
recipe = pictures.recipe(workers=2)
loader = loading.TrainLoader(source.train, recipe, pictures.network().stem, ProcessGroup(0, 1, torch.device("cpu")))
parts = loader.epoch(0)
if sys.argv[2] == "read":
    next(parts)
print(len(loader.epoch.__self__._loader._iterator._workers), flush=True)
kept = [parts, loader]
kept.append(kept)  # a circle, which Python does not resolve before it ends
import builtins
builtins.kept = kept
time.sleep(2)
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("state_of_readers", ["read", "stuck"])
def test_python_ends_with_readers_that_are_still_there(state_of_readers: str, tmp_path: Path) -> None:
    """Python sends its children SIGTERM, which readers ignore, and waits for them."""
    images = pictures.folders(tmp_path / "images")
    if state_of_readers == "stuck":
        for path in (images / "train").rglob("*.jpg"):
            path.unlink()
            os.mkfifo(path)
    command = [sys.executable, "-c", _KEPT, str(images), state_of_readers]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "2", "")


def test_a_signal_is_obeyed_between_steps_or_at_once() -> None:
    stop = Stop()
    stop.ask(signal.SIGTERM, None)
    assert stop.asked
    with pytest.raises(KeyboardInterrupt):  # a second one
        stop.ask(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt), stop.waiting():  # one that came just before it began to wait
        pytest.fail("it waits though it was asked to stop")
    other = Stop()
    with pytest.raises(KeyboardInterrupt), other.waiting():
        other.ask(signal.SIGTERM, None)
    fresh = Stop()
    with fresh.waiting():
        pass
    fresh.ask(signal.SIGTERM, None)  # a step is under way


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping() as stop:
        assert signal.getsignal(signal.SIGTERM) == stop.ask
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_reader_that_is_cut_off_tells_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """A thread of Python's hands what went wrong to the hook for errors; other errors are told as ever."""
    reader = multiprocessing.get_context("fork").Process(target=_cut_off)
    reader.start()
    reader.join()
    assert reader.exitcode == 0
    assert capfd.readouterr().err == "ValueError: a fault\n"


def _cut_off() -> None:
    loading._as_reader(0)
    for error in (ConnectionResetError("the training left"), EOFError(), ValueError("a fault")):
        sys.excepthook(type(error), error, None)
