"""Devices by name: the one that `--device` means, and how worker processes are spread over them.

Names are checked before torch is imported, which takes seconds.
"""

import os
import re
import resource
from typing import TYPE_CHECKING

from nas.errors import StudyError

if TYPE_CHECKING:
    import torch

_MOST = 100_000  # trainings at a time, on any cluster
_LEAST_ALLOWED, _A_CORE = 64, 4  # processes on the CPU: of a small machine, and for each core of a large one
_FILES, _FILES_A_WORKER = 128, 8  # open at a time: libraries, journal, images; pipes and what a start holds


def device_of(name: str) -> "torch.device":
    """The device that "auto", "cpu", "cuda" or "cuda:1" names here.

    Raises:
        StudyError: no such device, or torch does not see it.
    """
    check_device(name)
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    visible = torch.cuda.device_count() if kind == "cuda" else 0
    if kind == "cuda" and int(index or 0) >= visible:
        raise StudyError(f'device "{name}" does not exist: torch sees {visible} CUDA devices. Use cpu or auto')
    return torch.device(name)


def check_device(name: str) -> None:
    """
    Raises:
        StudyError: no device has that name anywhere.
    """
    if re.fullmatch(r"auto|cpu(:0)?|cuda(:\d+)?", name, re.ASCII) is None:
        raise StudyError(f'device "{name}" is unknown. Use auto, cpu, cuda or cuda:1')


def check_places(device: str, workers: int, per_gpu: int) -> None:
    """
    Raises:
        StudyError: no machine has such places.
    """
    for name, count in (("workers", workers), ("per_gpu", per_gpu)):
        if not 1 <= count <= _MOST:
            raise StudyError(f"{name} {count} must be at least 1" + (f" and at most {_MOST:,}" if count > 1 else ""))
    check_device(device)


def check_processes(workers: int) -> None:
    """
    Raises:
        StudyError: more processes than this machine could start, or than it may hold files open for.
    """
    if workers == 1:
        return
    most = max(_LEAST_ALLOWED, _A_CORE * (os.cpu_count() or 1))
    if workers > most:
        raise StudyError(
            f"{workers:,} workers are more than this machine can run: at most {most}. Give fewer --workers"
        )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _FILES + _FILES_A_WORKER * workers
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise StudyError(
            f"{workers} workers need {needed} open files, but this process may have {hard}. Raise the limit, for "
            "example with `ulimit -n 1024`, or give fewer --workers"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def places_of(device: str, workers: int, per_gpu: int) -> list[str]:
    """Where each of `workers` processes trains: they are spread evenly over the GPUs that `device` allows.

    Raises:
        StudyError: they do not fit there.
    """
    check_places(device, workers, per_gpu)
    chosen = device_of(device)
    if chosen.type == "cpu":
        return ["cpu"] * workers
    one = device not in ("auto", "cuda")
    gpus = [str(chosen)] if one else [f"cuda:{i}" for i in range(_visible())]
    if workers > per_gpu * len(gpus):
        raise StudyError(
            f"{workers} workers do not fit on {len(gpus)} GPUs with {per_gpu} on each. Give fewer --workers, or more "
            f"--per-gpu"
        )
    return [gpus[i % len(gpus)] for i in range(workers)]


def _visible() -> int:
    import torch

    return torch.cuda.device_count()


__all__ = ["check_device", "check_places", "check_processes", "device_of", "places_of"]
