"""Spaces and data small enough for a search in a second."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import cli
from nas import __main__ as commands
from nas.engines import engine as engines
from nas.searching import forecast
from nas.training import measurement
from spikformer import plugins
from tests import remembered

Run = Callable[..., subprocess.CompletedProcess[str]]
USUAL_BATCHES, USUAL_PACE = measurement._BATCHES, vars(engines)["measured_pace"]
USUAL_SPACE_PACE = vars(forecast)["space_pace"]
MICRO = """
[base]
time_steps = 2
neuron.threshold = 0.5
neuron.surrogate = "atan"
stem.image_size = 8
stem.in_channels = 1
stem.pool = [false, false, true, true]
head.num_classes = 10
stages = [{ embed_dim = 8, depth = 1, mixer = { num_heads = 2, threshold = 0.25, scale = 1 }, mlp = { ratio = 1 } }]

[axes]
embed_dim = [8, 16]
num_heads = [1, 2]
residual = ["sew", "ms"]
attention = ["ssa", "sdsa"]

[references]
"Spikformer miniature" = { residual = "sew", attention = "ssa" }

[data]
dataset = "digits"
search_val = 0.1
report_val = 0.1

[proxy]
epochs = 1
train_images = 200
batch_size = 10
augment = "none"
rungs = [1]
"""
"""12 networks by hand: 2 widths x 2 residuals x (ssa with 2 head counts + sdsa, to which heads mean nothing)."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="Where the tests that train, count or compute run. With cuda, only these are selected. Default: cpu.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that belong to the chosen device, files with slow ones first.

    Several processes that share the tests then end at about the same time. Files stay whole, for the sake of what their
    tests share.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)
    if config.getoption("device") == "cpu":
        _skip(items, "it means something on a GPU only: pytest --device cuda", marker="cuda")
        return
    others = [item for item in items if "device" not in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]
    if not torch.cuda.is_available():
        _skip(items, "torch sees no CUDA device here")


def _skip(items: list[pytest.Item], reason: str, marker: str | None = None) -> None:
    for item in items:
        if marker is None or item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where to train, count and compute: the option `--device`."""
    return torch.device("cuda", 0) if request.config.getoption("device") == "cuda" else torch.device("cpu")


@pytest.fixture(scope="session", autouse=True)
def _unhurried() -> Iterator[None]:
    """A search begins without the trainings that tell how long it will take, and measures in few batches.

    In this process: those that a test starts do neither.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "measured_pace", lambda *_: None)
        patch.setattr(forecast, "space_pace", lambda *_: None)
        patch.setattr(measurement, "_BATCHES", 4)
        yield


@pytest.fixture
def usual_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are measured as in other processes, to the last bit of the standard error."""
    monkeypatch.setattr(measurement, "_BATCHES", USUAL_BATCHES)


@pytest.fixture
def usual_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search begins with the trainings that tell how long it will take."""
    monkeypatch.setattr(engines, "measured_pace", USUAL_PACE)
    monkeypatch.setattr(forecast, "space_pace", USUAL_SPACE_PACE)


@pytest.fixture(scope="module")
def trained_once() -> Iterator[None]:
    """Networks that a test trained before are not trained again: for files about what comes after a training."""
    with remembered.once():
        yield


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # tiny tensors: more threads only wait for each other


@pytest.fixture(autouse=True)
def _no_block_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test allows to be imported, it allows itself alone."""
    monkeypatch.setattr(plugins, "_named", {})


@pytest.fixture
def micro(tmp_path: Path) -> Path:
    """A space file of 12 networks that train in a fraction of a second."""
    path = tmp_path / "micro.toml"
    path.write_text(MICRO)
    return path


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """A command in this process, which has imported torch already."""

    def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        if cwd is not None:
            monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["cli.py", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.run()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(sys.argv, int(end.value.code or 0), said.out, said.err)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # as where one works
    monkeypatch.setattr(commands, "let_threads_sleep", lambda: None)
    yield run
    signal.signal(signal.SIGTERM, before)
    gc.unfreeze()  # `report` leaves all that there is to the end of its process
