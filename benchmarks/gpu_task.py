"""What every stage of gpu_day.py has in hand: where it runs, how long, and where its findings go."""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

REPOSITORY = Path(__file__).parent.parent
_GRACE_S = 10.0  # in which an interrupted command writes down how far it came


@dataclass(frozen=True)
class Ended:
    """A command that ran.

    Attributes:
        code: its exit code; None where it was interrupted.
    """

    code: int | None
    text: str
    seconds: float

    def line(self, words: str) -> str:
        """The first line with these words, or "" """
        return next((line.strip() for line in self.text.splitlines() if words in line), "")


@dataclass(frozen=True)
class Task:
    """One stage, as its process is told to run it.

    Attributes:
        quick: whether it shall only be seen to run, with tiny sizes.
        out: findings and other results that come back.
        work: all else that it writes.
        data: CIFAR-10; None where the stage reads no images.
        ends: on the clock `time.monotonic`, before the process is killed.
    """

    stage: str
    device: str
    quick: bool
    out: Path
    work: Path
    data: Path | None
    ends: float

    @classmethod
    def read(cls) -> Self:
        """From the command line that gpu_day.py writes."""
        parser = argparse.ArgumentParser()
        parser.add_argument("stage")
        parser.add_argument("--device", required=True)
        parser.add_argument("--quick", action="store_true")
        parser.add_argument("--out", type=Path, required=True)
        parser.add_argument("--work", type=Path, required=True)
        parser.add_argument("--data", type=Path)
        parser.add_argument("--seconds", type=float, required=True)
        a = parser.parse_args()
        return cls(a.stage, a.device, a.quick, a.out, a.work, a.data, time.monotonic() + a.seconds)

    @property
    def on_cuda(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def folder(self) -> Path:
        """Of this stage's own; it comes back, packed."""
        return self.work / self.stage

    def left(self) -> float:
        """Seconds."""
        return self.ends - time.monotonic()

    def tell(self, name: str, /, **values: Any) -> None:
        """A finding: a line that is on disk before anything else happens."""
        line = json.dumps({"stage": self.stage, "name": name, **values}, default=str)
        with (self.out / "findings.jsonl").open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)

    def run(self, *command: str, seconds: float, until: str = "", stop: signal.Signals = signal.SIGTERM) -> Ended:
        """A command of the project, its output shown and kept.

        Args:
            command: arguments of cli.py, or of Python where they begin with "-".
            seconds: after which it is interrupted as by Ctrl-C; never more than are left.
            until: words of a line after which it is interrupted too.
            stop: how; the project's commands then write down how far they came.
        """
        whole = [sys.executable, *(() if command[0].startswith("-") else ("cli.py",)), *command]
        print(f"$ {shlex.join(['python', *whole[1:]])}", flush=True)
        started = time.monotonic()
        process = subprocess.Popen(
            whole, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        lines: list[str] = []
        seen = threading.Event()
        reader = threading.Thread(target=_shown, args=(process, lines, until, seen), daemon=True)
        reader.start()
        ends = started + max(1.0, min(seconds, self.left() - _GRACE_S))
        while time.monotonic() < ends and process.poll() is None and not seen.wait(0.1):
            pass
        interrupted = process.poll() is None
        if interrupted:
            _interrupt(process, stop)
        reader.join(_GRACE_S)
        code = None if interrupted else process.wait()
        return Ended(code, "".join(lines), time.monotonic() - started)


def _shown(process: "subprocess.Popen[str]", lines: list[str], until: str, seen: threading.Event) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
        if until and until in line:
            seen.set()


def _interrupt(process: "subprocess.Popen[str]", stop: signal.Signals) -> None:
    process.send_signal(stop)
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def check_device(device: str) -> None:
    """
    Raises:
        SystemExit: there is no such device.
    """
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit(
            f"Error: --device {device}, but torch {torch.__version__} sees no GPU. Use --device cpu --quick"
        )


def processors() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
