"""Where, when and with what a network was trained: all that may differ between equal runs."""

import datetime
import importlib.metadata
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from nas.training.execution import ExecutionOptions
from spikformer.fields import PlainTable


def of(device: torch.device, started: float, options: ExecutionOptions | None = None) -> PlainTable:
    """All that may differ between equal runs; `options` of a training that took place.

    Args:
        started: on the monotonic clock, in seconds.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    packages = ("torch", "spikingjelly", "optuna")
    return {
        "wall_s": round(time.monotonic() - started, 3),
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "device": f"{device.type} {name}",
        "threads": torch.get_num_threads(),  # on a CPU, the order of sums and so their rounding depends on it
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "commit": _commit(),
        **({} if options is None else {"speed": str(options), **_precisions(device)}),
    }


def _precisions(device: torch.device) -> dict[str, str]:
    """What float32 was computed in: on CUDA, convolutions round to TF32 while training, and not while measuring."""
    cudnn: Any = torch.backends.cudnn
    training_in = cudnn.conv.fp32_precision if device.type == "cuda" else "fp32"
    return {"fp32_while_training": training_in, "fp32_while_measuring": "fp32"}


def _commit() -> str | None:
    """Commit of the clone that runs, with "+" if it was changed; None for an installed package."""
    folder = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder:
            return None
        return git("rev-parse", "HEAD")[:12] + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


__all__ = ["of"]
