"""Devices by name: the one that `--device` means, and how worker processes are spread over them."""

import os
import resource

import torch

from nas.errors import StudyError

_MOST = 100_000  # trainings at a time, on any cluster
_LEAST_ALLOWED, _A_CORE = 64, 4  # processes on the CPU: of a small machine, and for each core of a large one
_FILES, _FILES_A_WORKER = 128, 8  # open at a time: libraries, journal, images; pipes and what a start holds


def device_of(name: str) -> torch.device:
    """The device that "auto", "cpu", "cuda" or "cuda:1" names here.

    Raises:
        StudyError: no such device, or torch does not see it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise StudyError(f'device "{name}" is unknown. Use auto, cpu, cuda or cuda:1')
    visible = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= visible:
        raise StudyError(f'device "{name}" is not there: torch sees {visible} CUDA devices. Use cpu or auto')
    return device


def check_processes(workers: int) -> None:
    """
    Raises:
        StudyError: more processes than this machine could start, or than it may hold files open for.
    """
    if workers == 1:
        return
    most = max(_LEAST_ALLOWED, _A_CORE * (os.cpu_count() or 1))
    if workers > most:
        raise StudyError(f"{workers:,} workers are more than this machine runs: at most {most}. Give fewer --workers")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _FILES + _FILES_A_WORKER * workers
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise StudyError(
            f"{workers} workers need {needed} open files, this process may have {hard}. Raise the limit, as by "
            f"`ulimit -n 1024`, or give fewer --workers"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def places_of(device: str, workers: int, per_gpu: int) -> list[str]:
    """Where each of `workers` processes trains: they are spread evenly over the GPUs that `device` allows.

    Raises:
        StudyError: they do not fit there.
    """
    for name, count in (("workers", workers), ("per_gpu", per_gpu)):
        if not 1 <= count <= _MOST:
            raise StudyError(f"{name} {count} must be at least 1" + (f" and at most {_MOST:,}" if count > 1 else ""))
    chosen = device_of(device)
    if chosen.type == "cpu":
        return ["cpu"] * workers
    one = device not in ("auto", "cuda")
    gpus = [str(chosen)] if one else [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if workers > per_gpu * len(gpus):
        raise StudyError(
            f"{workers} workers do not fit on {len(gpus)} GPUs with {per_gpu} on each. Give fewer --workers, or more "
            f"--per-gpu"
        )
    return [gpus[i % len(gpus)] for i in range(workers)]


__all__ = ["check_processes", "device_of", "places_of"]
