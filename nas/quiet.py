"""What libraries say about GPUs does not reach people who have none."""

import logging
import shutil
import warnings
from pathlib import Path

_LOGGERS = (
    "torch.utils.flop_counter",  # that kernels of Triton would not be counted
    "torch.utils.cpp_extension",  # that there is a CUDA toolkit and no GPU
)
_MODULES = r"(torch|triton|spikingjelly|optuna)(\..*)?"
_WORDS = r"(?s).*\b(CUDA|NVIDIA|GPU|cupy|triton)\b"


def about_gpus() -> None:
    """Hush torch, Triton, SpikingJelly and Optuna about CUDA on a machine without a GPU; their other words stay."""
    if has_gpu():
        return
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", _WORDS, module=_MODULES)


def has_gpu() -> bool:
    """Whether the machine has a driver of NVIDIA's; torch would take seconds to say so."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


__all__ = ["about_gpus", "has_gpu"]
