"""Memory of the device that trains: whether an error says that it is full, and whose fault that is."""

import gc
import time
from collections.abc import Iterator

import torch

from nas.errors import DeviceError

_WAIT_S = 300.0  # for a neighbour on the same GPU to give its memory back
_POLL_S = 1.0
_USABLE = 0.95  # of a GPU that several processes share: their contexts and libraries take the rest
_ENOUGH = 0.9  # of a process's share, to find that its neighbours leave it that
_FULL = (
    "out of memory",  # torch, the CUDA driver, Triton
    "can't allocate memory",  # torch's allocators of the CPU
    "not enough memory",
    "could not create a primitive",  # oneDNN, which has no better words for it
    "alloc_failed",  # CUDNN_STATUS_ALLOC_FAILED, CUBLAS_STATUS_ALLOC_FAILED, CUFFT_ALLOC_FAILED
    "allocation_failed",  # cuDNN 9: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED, ..._HOST_ALLOCATION_FAILED
)


def is_full(error: BaseException) -> bool:
    """Whether `error`, or one that it was raised from or in the handling of, says that memory ran out.

    torch has a class of its own for its CUDA allocator only. Drivers, libraries, compilers and oneDNN have messages.
    """
    return any(
        isinstance(cause, torch.OutOfMemoryError | MemoryError)
        or (isinstance(cause, RuntimeError) and any(words in str(cause).lower() for words in _FULL))
        for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__


def free() -> None:
    """Give back all that nothing refers to any more."""
    gc.collect()
    torch.cuda.empty_cache()


def share_between(processes: int, device: torch.device) -> None:
    """Hold this process to its part of a GPU, "cuda:1", that several share.

    Whether a network fits then does not depend on what its neighbours happen to train.
    """
    if processes > 1:
        torch.cuda.set_per_process_memory_fraction(_USABLE / processes, device.index or 0)


def wait_for_share(device: torch.device) -> None:
    """Until other processes leave this one its share of the GPU; on a CPU, at once.

    Raises:
        DeviceError: they still hold it after five minutes.
    """
    if device.type != "cuda":
        return
    deadline = time.monotonic() + _WAIT_S
    while _missing(device) is not None:
        if time.monotonic() > deadline:
            check_share(device)
        time.sleep(_POLL_S)


def check_share(device: torch.device) -> None:
    """
    Raises:
        DeviceError: other processes hold memory of the GPU that is this one's to use.
    """
    missing = _missing(device) if device.type == "cuda" else None
    if missing is not None:
        raise DeviceError(
            f"{device} has too little free memory: {missing}. Free memory or choose another --device, then run the "
            f"same command again to continue"
        )


def _missing(device: torch.device) -> str | None:
    """What other processes hold of this one's share of the GPU, in words."""
    unused, total = torch.cuda.mem_get_info(device)
    share = torch.cuda.get_per_process_memory_fraction(device) * total
    available = unused + torch.cuda.memory_reserved(device)
    if available >= _ENOUGH * share:
        return None
    gib = 2**30
    return (
        f"other processes leave {available / gib:.1f} GiB of the {share / gib:.1f} GiB reserved for this one "
        f"({total / gib:.1f} GiB in total)"
    )


__all__ = ["check_share", "free", "is_full", "share_between", "wait_for_share"]
