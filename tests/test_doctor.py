"""`doctor` tells what there is, what is missing and what helps; GPUs are stood in for by what torch would say."""

import importlib.metadata
import json
import shutil
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nas import doctor, quiet
from nas.doctor import Finding
from spikformer import spiking
from tests.conftest import Run

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _found(topic: str, tmp_path: Path) -> list[Finding]:
    return [finding for finding in doctor.examine(tmp_path / "results") if finding.topic == topic]


def test_this_machine_is_ready(tmp_path: Path, run_here: Run) -> None:
    """Otherwise no test would run. One page, a word on every topic, and nothing is written."""
    done = run_here("doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert lines[-1] == "Ready: nothing needed is missing."
    assert len(lines) < 50
    assert max(map(len, lines)) <= 110
    topics = ("program", "libraries", "device", "training", "threads", "disk", "caches", "images", "browser")
    assert {line.split()[1] for line in lines[:-1] if not line.startswith(" ")} >= set(topics)
    assert f"torch {importlib.metadata.version('torch')}" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_programs_read_it_as_json(tmp_path: Path, run_here: Run) -> None:
    done = run_here("doctor", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert told["ready"]
    assert told.keys() == {"version", "ready", "findings"}
    assert all(finding.keys() == {"topic", "state", "text", "remedy"} for finding in told["findings"])


def test_every_note_that_can_be_mended_says_how(tmp_path: Path) -> None:
    """Only the want of a GPU is nobody's fault."""
    notes = [finding for finding in doctor.examine(tmp_path) if finding.state != "ok"]
    assert all(finding.remedy for finding in notes if not finding.text.startswith("no GPU"))


def test_what_is_missing_or_too_old_is_broken(tmp_path: Path, run_here: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_required", lambda: {"optuna": "99.1", "no-such-library": "2", "numpy": "1.0"})
    done = run_here("doctor", cwd=tmp_path)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout
    assert "is older than 99.1" in done.stdout
    assert "-> pip install 'no-such-library>=2'" in done.stdout
    assert done.stdout.splitlines()[-1] == "Broken: 2. Mend what is marked so."


def test_lowest_versions_are_those_of_the_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extras are not asked for: they are missing on purpose."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], 'ray>=2.40; extra == "ray"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda _name: lines)
    required = doctor._required()
    assert len(required) == len(project["dependencies"])
    assert (required["optuna"], required["torch"]) == ("5", "2.9")


@pytest.mark.parametrize(
    ("older", "newer"), [("2.9", "2.14.1+cu130"), ("0.1.5", "0.1.5.post20221221"), ("5", "5.0.0"), ("4.9", "4.10")]
)
def test_versions_are_compared_by_number(older: str, newer: str) -> None:
    assert doctor._numbers(older) <= doctor._numbers(newer)
    assert doctor._numbers("2.8.9") < doctor._numbers("2.9")


def test_an_installation_that_cannot_be_examined_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a torch whose libraries are not found; the other topics are examined still."""

    def fail() -> Iterator[Finding]:
        raise ImportError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr(doctor, "_devices", fail)
    (finding,) = _found("device", tmp_path)
    assert finding.state == "broken"
    assert "libcudart.so.13" in finding.text
    assert "pip install" in finding.remedy
    assert _found("caches", tmp_path)


@pytest.mark.parametrize(
    ("built_for", "words"), [(None, "torch is built for CPUs alone"), ("13.0", "built for CUDA 13.0, sees no GPU")]
)
def test_a_gpu_that_torch_does_not_see_is_a_note(
    built_for: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet, "has_gpu", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (finding,) = _found("device", tmp_path)
    assert (finding.state, words in finding.text) == ("note", True)
    assert finding.remedy


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch would say of two, of which others use the second."""
    properties = types.SimpleNamespace(name="NVIDIA H100", major=9, minor=0)
    stand_ins: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_properties": lambda _index: properties,
        "get_device_capability": lambda _device: (9, 0),
        "mem_get_info": lambda index: ((80, 10)[index] * 10**9, 85 * 10**9),
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)

    def prepare(device: torch.device) -> None:
        if device.index == 1:
            spiking._log.warning("neurons run step by step on %s, slower: Triton's kernels fail on it", device)

    monkeypatch.setattr(spiking, "prepare", prepare)


def test_gpus_are_named_with_their_memory_and_kernels(
    two_gpus: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A CPU cannot capture graphs, which is told as it would be of a GPU; the log stays silent."""
    first, second = _found("device", tmp_path)
    assert (first.state, second.state) == ("ok", "note")
    assert "cuda:0 is NVIDIA H100, capability 9.0, 85 GB of memory, 80 GB free" in first.text
    assert "give another --device" in second.remedy
    assert caplog.messages == []


def test_kernels_that_fail_are_told_with_the_reason(two_gpus: None) -> None:
    fused, stepwise = (doctor._neurons(torch.device("cuda", i)) for i in range(2))
    assert (fused.state, stepwise.state) == ("ok", "note")
    assert "fused by Triton on cuda:0" in fused.text
    assert stepwise.text == "neurons run step by step on cuda:1, slower: Triton's kernels fail on it"
    assert stepwise.remedy


@pytest.mark.cuda
def test_a_gpu_of_this_machine_is_examined(device: torch.device, tmp_path: Path) -> None:
    assert any(f"cuda:{device.index}" in finding.text for finding in _found("device", tmp_path))
    assert {finding.state for finding in _found("kernels", tmp_path)} == {"ok"}


def test_more_threads_than_cores_are_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1000)
    (finding,) = _found("threads", tmp_path)
    assert finding.state == "note"
    assert finding.remedy.startswith("Set OMP_NUM_THREADS=")


def test_a_disk_that_is_full_or_closed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: types.SimpleNamespace(free=1e9))
    assert [finding.state for finding in _found("disk", tmp_path)] == ["note", "note"]
    (tmp_path / "results").write_text("a file")
    results, _ = _found("disk", tmp_path)
    assert (results.state, results.remedy) == ("broken", "Give another --results-dir")


def test_caches_are_measured_by_what_they_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache" / "spikformer-nas"
    (folder / "cifar-10-batches-py").mkdir(parents=True)
    for name, size in (("cifar-10-batches-py/test_batch", 30), ("images-0.safetensors", 50), ("locks", 20)):
        (folder / name).write_bytes(bytes(size * 1_000_000))
    (finding,) = _found("caches", tmp_path)
    assert finding.text.endswith("holds 0.10 GB: downloads 0.03 GB, decoded images 0.05 GB, others 0.02 GB")
    assert any("cifar10 is in" in image.text for image in _found("images", tmp_path))
    monkeypatch.setattr(doctor, "_MUCH_GB", 0.05)
    (finding,) = _found("caches", tmp_path)
    assert f"rm -r {folder}" in finding.remedy
