"""The command for a GPU machine: its runner on stages of two lines, and every stage to its end on a CPU."""

import importlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, str(REPOSITORY / "benchmarks/gpu_day.py")]
SLEEPER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
time.sleep(600)
"""
BRISK = 'print("what it says")'
BROKEN = "raise SystemExit(3)"


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module("gpu_day")


def run(day: Any, monkeypatch: pytest.MonkeyPatch, out: Path, scripts: dict[str, tuple[str, float]]) -> tuple[int, str]:
    """Exit code and log of stages that are these scripts, each with its limit in seconds."""
    stages = {}
    for name, (text, limit_s) in scripts.items():
        path = out.parent / f"{name}.py"
        path.write_text(text)
        stages[name] = day.Stage(str(path), limit_s, "nothing")
    monkeypatch.setattr(day, "STAGES", stages)
    monkeypatch.setattr(sys, "argv", ["gpu_day.py", "--device", "cpu", "--out", str(out)])
    with pytest.raises(SystemExit) as end:
        day.main()
    return int(end.value.code or 0), (out / "day.log").read_text()


def test_a_stage_that_overruns_is_killed_with_its_children_and_the_next_one_runs(
    day: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, log = run(day, monkeypatch, tmp_path / "out", {"slow": (SLEEPER, 2.0), "brisk": (BRISK, 60.0)})
    assert code == 1
    assert re.search(r"^\[ +\d+\.\d s\] END slow after \d\.\d s: killed at its limit$", log, re.M)
    assert "what it says\n" in log
    assert re.search(r"END brisk after \d+\.\d s: done$", log, re.M)
    child = re.search(r"^child (\d+)$", log, re.M)
    assert child is not None
    assert ended(int(child[1]))


def ended(process: int) -> bool:
    """Whether it is gone, or dead and not yet fetched by who adopted it."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_stage_that_fails_is_told_and_the_next_one_runs(
    day: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, log = run(day, monkeypatch, tmp_path / "out", {"broken": (BROKEN, 60.0), "brisk": (BRISK, 60.0)})
    assert code == 1
    assert "failed, exit code 3" in log
    assert "what it says\n" in log


def test_an_unknown_stage_is_one_clear_error() -> None:
    done = subprocess.run([*COMMAND, "--stages", "chekcs"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "invalid choice: 'chekcs'" in done.stderr
    assert "train_published" in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_limits_are_those_that_were_promised(day: Any) -> None:
    """A piece of GPU time is a quarter of an hour, machine start included: six minutes by default, four for a stage."""
    assert sum(stage.limit_s for stage in day.STAGES.values() if not stage.alone) <= 360
    assert all(stage.limit_s <= 240 for stage in day.STAGES.values())


def test_archives_in_parts_come_back_whole(day: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A training whose checkpoint is larger than a file may be goes on in the next call."""
    monkeypatch.setattr(day, "_PART_BYTES", 1000)
    content = os.urandom(5000)  # cannot be compressed: six parts
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    options = day.argparse.Namespace(out=tmp_path / "out", carried=None, quick=True, stages=[])
    first, second = (day.Day(options, folder) for folder in folders)
    (folders[0] / "train_published").mkdir()
    (folders[0] / "train_published" / "checkpoint.pt").write_bytes(content)
    first._pack("train_published", (".pt",))
    assert len(list((tmp_path / "out").glob("train_published.tar.gz.*"))) == 6
    second.bring_earlier(tmp_path / "out")
    assert (folders[1] / "train_published" / "checkpoint.pt").read_bytes() == content


@pytest.mark.exhaustive
def test_every_stage_runs_to_its_end_on_a_cpu(day: Any, tmp_path: Path) -> None:
    """All stages in one call, so that `train_found` finds what `study` exported."""
    out = tmp_path / "out"
    command = [*COMMAND, "--device", "cpu", "--quick", "--out", str(out), "--stages", *day.STAGES]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + (out / "day.log").read_text(errors="replace")[-5000:]
    findings = [json.loads(line) for line in (out / "findings.jsonl").read_text().splitlines()]
    assert {finding["stage"] for finding in findings} == set(day.STAGES)
    for name in ("train_published", "train_found", "study"):
        tested = next(one for one in findings if one["stage"] == name and one["name"] == "test")
        assert tested["images"] == 20, "two of each of ten classes"
    assert "ours" in (out / "profile.txt").read_text()
