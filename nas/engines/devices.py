"""Devices by name: the one that `--device` means, and how worker processes are spread over them.

Names are checked before torch is imported, which takes seconds.
"""

import re
from typing import TYPE_CHECKING

from nas.errors import StudyError

if TYPE_CHECKING:
    import torch


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
        raise StudyError(f'device "{name}" is not there: torch sees {visible} CUDA devices. Use cpu or auto')
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
        if count < 1:
            raise StudyError(f"{name} {count} must be at least 1")
    check_device(device)


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


__all__ = ["check_device", "check_places", "device_of", "places_of"]
