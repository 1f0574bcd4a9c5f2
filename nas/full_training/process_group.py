"""The processes that train together, one a GPU: `torchrun` starts them, without it there is one."""

import contextlib
import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.parallel import DistributedDataParallel

from nas.engines import device_of
from nas.errors import StudyError, TrainingError
from nas.training import device_memory


@dataclass(frozen=True)
class ProcessGroup:
    """
    Attributes:
        rank: which of them this is, from 0.
        size: how many there are, on all machines.
        device: of this process.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes and tells."""
        return self.rank == 0

    def all_reduce(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    @contextlib.contextmanager
    def main_first(self) -> Iterator[None]:
        """The first process does it, then the others, who find what it left in the cache."""
        if self.size > 1 and not self.is_main:
            dist.barrier()
        yield
        if self.size > 1 and self.is_main:
            dist.barrier()

    def barrier(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()


@contextlib.contextmanager
def initialised(device: str = "auto") -> Iterator[ProcessGroup]:
    """The processes that torchrun's environment names, or a process alone.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:1"; of several processes, each takes the GPU of its number.

    Raises:
        TrainingError: a device that torch does not see, or whose memory is too small for what is done within.
    """
    size, rank, local = (int(os.environ.get(name, default)) for name, default in _TORCHRUN)
    place = _device(device, local if size > 1 else None)
    if place.type == "cuda":
        torch.cuda.set_device(place)  # nothing of this process shall come to lie on another GPU
    if size == 1:
        with _enough_memory(place):
            yield ProcessGroup(0, 1, place)
        return
    dist.init_process_group(
        "nccl" if place.type == "cuda" else "gloo",
        timeout=_PATIENCE,
        device_id=place if place.type == "cuda" else None,
    )
    try:
        with _enough_memory(place):
            yield ProcessGroup(rank, size, place)
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def _enough_memory(place: torch.device) -> Iterator[None]:
    """An error that says so in words, where it is too little."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not device_memory.is_full(error):
            raise
        message = (str(error).splitlines() or ["no more is left"])[0]
        raise TrainingError(
            f"{place} ran out of memory: {message}. Training needs less memory with --set accumulation=4 or --set "
            "checkpointing=true"
        ) from None


_PATIENCE = datetime.timedelta(hours=1)  # while the first process lists the images: a million files on a slow disk
_TORCHRUN = (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))


def _device(name: str, local: int | None) -> torch.device:
    """The device of this process; of several processes, each takes the GPU of its number."""
    try:
        device = device_of(name)
        if device.type == "cuda":
            device = device_of(f"cuda:{local if local is not None else device.index or 0}")
    except StudyError as error:
        raise TrainingError(str(error)) from None
    return device


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, on any device: torch's SyncBatchNorm refuses the CPU.

    [n, C, H, W] -> [n, C, H, W], the same n on each.
    """

    def forward(self, x_nCHW: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x_nCHW)
        world, count = dist.get_world_size(), x_nCHW.numel() // x_nCHW.shape[1]
        x = x_nCHW.float() if x_nCHW.dtype in (torch.bfloat16, torch.float16) else x_nCHW
        mean_C = _all_reduce(x.mean((0, 2, 3))) / world
        centred = x - mean_C[:, None, None]
        variance_C = _all_reduce((centred * centred).mean((0, 2, 3))) / world
        self._move(mean_C.detach(), variance_C.detach(), count * world)
        scale_C = self.weight / (variance_C + self.eps).sqrt()
        y_nCHW: Tensor = centred * scale_C[:, None, None] + self.bias[:, None, None]
        return y_nCHW.to(x_nCHW.dtype)

    @torch.no_grad()
    def _move(self, mean_C: Tensor, variance_C: Tensor, count: int) -> None:
        """The running statistics, as torch does: of the variance, the unbiased one."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean_C.to(self.running_mean), self.momentum)
        self.running_var.lerp_((variance_C * count / (count - 1)).to(self.running_var), self.momentum)


class _AllReduce(torch.autograd.Function):
    """The sum over all processes, whose gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:  # pyrefly: ignore[bad-override]
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def _all_reduce(values: Tensor) -> Tensor:
    total: Tensor = _AllReduce.apply(values)
    return total


def with_synchronised_norms(model: nn.Module, device: torch.device) -> nn.Module:
    """`model` with batch norms over all processes, SyncBatchNorm on CUDA and ours elsewhere, and the same weights."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)  # pyrefly: ignore[no-any-return]
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, _synchronised(child))
    return model


def _synchronised(norm: nn.BatchNorm2d) -> SynchronisedBatchNorm2d:
    ours = SynchronisedBatchNorm2d(norm.num_features, norm.eps, norm.momentum)
    ours._parameters, ours._buffers = norm._parameters, norm._buffers
    return ours


def in_parallel(model: nn.Module, group: ProcessGroup, *, same_buffers: bool) -> nn.Module:
    """DistributedDataParallel, where there is more than one process.

    Args:
        same_buffers: whether all processes have the same running statistics anyway.
    """
    if group.size == 1:
        return model
    ids = [group.device.index] if group.device.type == "cuda" else None
    # Gradients are views of what travels, which saves a copy of them.
    return DistributedDataParallel(
        model, device_ids=ids, broadcast_buffers=not same_buffers, gradient_as_bucket_view=True
    )


__all__ = ["ProcessGroup", "SynchronisedBatchNorm2d", "in_parallel", "initialised", "with_synchronised_norms"]
