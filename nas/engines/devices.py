"""Devices by name: the one that `--device` means, and how worker processes are spread over them."""

import torch

from nas.errors import StudyError


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


def places_of(device: str, workers: int, per_gpu: int) -> list[str]:
    """Where each of `workers` processes trains: they are spread evenly over the GPUs that `device` allows.

    Raises:
        StudyError: they do not fit there.
    """
    for name, count in (("workers", workers), ("per_gpu", per_gpu)):
        if count < 1:
            raise StudyError(f"{name} {count} must be at least 1")
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


__all__ = ["device_of", "places_of"]
