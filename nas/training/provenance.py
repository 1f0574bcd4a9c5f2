"""Where, when and with what a network was trained: all that may differ between equal runs.

Reading a record needs no torch, which is imported where a training is described.
"""

import contextlib
import datetime
import functools
import importlib.metadata
import platform
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.version import VERSION
from spikformer.fields import PlainTable

if TYPE_CHECKING:
    import torch

    from nas.training.execution import ExecutionOptions

_PACKAGE = "spikformer-nas"
_PACKAGES = ("torch", "spikingjelly", "optuna", "numpy", "scikit-learn", "timm")


def of(device: "torch.device", started: float, options: "ExecutionOptions | None" = None) -> PlainTable:
    """All that may differ between equal runs; `options` of a training that took place.

    Args:
        started: on the monotonic clock, in seconds.
    """
    return {
        "wall_s": round(time.monotonic() - started, 3),
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        **machine(device),
        "commit": _commit(),
        **({} if options is None else {"speed": str(options), **_precisions(device)}),
    }


def machine(device: "torch.device") -> PlainTable:
    """The device, the processor and its threads, and the versions on which the last bits of a result depend."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "device": f"{device.type} {name}",
        "processor": _processor(),
        "threads": torch.get_num_threads(),  # on a CPU, the order of sums and so their rounding depends on it
        "versions": _versions(),
    }


@functools.cache
def _processor() -> str:
    """Its model, as the system names it; its kind where the system names none."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if models:
            return models[0]
    if platform.system() == "Darwin":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return platform.processor() or platform.machine()


@functools.cache
def _versions() -> dict[str, str]:
    """Of Python, of this program and of the packages that are installed."""
    versions = {"python": platform.python_version(), _PACKAGE: VERSION}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def code_of(record: PlainTable) -> str:
    """Which code made a record, in words: the commit of a clone, else the version of an installed package."""
    if record["commit"] is not None:
        return f"commit {record['commit']}"
    return f"version {record['versions'].get(_PACKAGE, 'not recorded')}"


def _precisions(device: "torch.device") -> dict[str, str]:
    """What float32 was computed in: on CUDA, convolutions round to TF32 while training, and not while measuring."""
    import torch

    cudnn: Any = torch.backends.cudnn
    training_in = cudnn.conv.fp32_precision if device.type == "cuda" else "fp32"
    return {"fp32_while_training": training_in, "fp32_while_measuring": "fp32"}


def _commit() -> str | None:
    """Commit of the clone that runs, with "+" if it was changed; None for an installed package."""
    folder = Path(__file__).parents[2]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder:
            return None
        return git("rev-parse", "HEAD")[:12] + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


__all__ = ["code_of", "machine", "of"]
