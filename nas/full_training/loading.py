"""Which images make a step, and how they come from disk to the device.

Everything random is drawn from a seed, the epoch and the image's number: how many processes read, and where a
training was interrupted, changes nothing. An image is decoded and augmented in a reading process, travels as
uint8, and is normalised and erased on the device.
"""

import atexit
import multiprocessing
import multiprocessing.context
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

import numpy as np
import torch
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nas.bundles import TrainingRecipe
from nas.datasets import FrameImages, InMemory, LabelledImages, Numbers, decoding
from nas.errors import DataError, TrainingError
from nas.full_training import augmentation
from nas.full_training.augmentation import Pixels, TestTransform, TrainTransform, Transform
from nas.full_training.process_group import ProcessGroup
from nas.full_training.resident import Resident, ResidentFrames, resident_of
from spikformer.config import StemConfig

_LEAVE_S = 0.2  # that each reader has to end by itself, once all were told to
_SHARDS_MIXED = 16  # images of so many shards are mixed: more are read from more places at once


class Batch(NamedTuple):
    """What a process works on at a time.

    Attributes:
        images: [B, C, H, W], uint8, or frames [B, T, C, H, W]; on the device where they stay there, else in the
            host's memory.
        labels: [B]; -1 where an image could not be read.
        broken: what could not be read, and why.
    """

    images: Tensor
    labels: Tensor
    broken: list[str]


@dataclass(frozen=True)
class Steps:
    """How the images of an epoch are dealt out.

    Attributes:
        a_step: images a step, over all processes.
        a_part: images a process runs at a time.
        an_epoch: steps; images that do not fill one are left for another epoch.
    """

    a_step: int
    a_part: int
    an_epoch: int


def steps_of(images: int, recipe: TrainingRecipe, group: ProcessGroup) -> Steps:
    """
    Raises:
        TrainingError: a batch that cannot be dealt out evenly, or more than there is.
    """
    shares = group.size * recipe.accumulation
    if recipe.batch_size % shares:
        raise TrainingError(
            f"batch_size {recipe.batch_size} cannot be divided by {group.size} processes times accumulation "
            f"{recipe.accumulation}. Use a multiple of {shares}"
        )
    if images < recipe.batch_size:
        raise TrainingError(
            f"batch_size {recipe.batch_size} is more than the {images} training images. Use a smaller batch_size"
        )
    if recipe.batch_size // shares == 1:
        raise TrainingError(
            f"batch_size {recipe.batch_size} leaves one image per part, but batch norm needs two. Use a larger "
            "batch_size"
        )
    return Steps(recipe.batch_size, recipe.batch_size // shares, images // recipe.batch_size)


def order(runs: Numbers, seed: int, epoch: int) -> Numbers:
    """The numbers of all images in the order of an epoch; of shards, mixed within a few at a time."""
    generator = np.random.default_rng([seed, epoch])
    if len(runs) == 1:
        return generator.permutation(int(runs[0]))
    starts = np.cumsum(runs) - runs
    shards = generator.permutation(len(runs))
    groups = [shards[i : i + _SHARDS_MIXED] for i in range(0, len(shards), _SHARDS_MIXED)]
    pooled = [np.concatenate([np.arange(starts[s], starts[s] + runs[s]) for s in group]) for group in groups]
    return np.concatenate([generator.permutation(pool) for pool in pooled])


class _TrainSampler(Sampler[list[tuple[int, int]]]):
    """(epoch, image) for each part of this process's share, from a step on."""

    def __init__(self, images: LabelledImages, steps: Steps, recipe: TrainingRecipe, group: ProcessGroup) -> None:
        self.epoch = self.first_step = 0
        self._runs, self._steps, self._recipe, self._group = images.runs, steps, recipe, group

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        steps, epoch = self._steps, self.epoch
        numbers = order(self._runs, self._recipe.seed, epoch)
        share = steps.a_step // self._group.size
        for step in range(self.first_step, steps.an_epoch):
            own = numbers[step * steps.a_step :][self._group.rank * share : (self._group.rank + 1) * share]
            for i in range(0, share, steps.a_part):
                yield [(epoch, int(n)) for n in own[i : i + steps.a_part]]

    def __len__(self) -> int:
        return (self._steps.an_epoch - self.first_step) * self._recipe.accumulation


class _TestSampler(Sampler[list[tuple[int, int]]]):
    """Every image once, each by one process."""

    def __init__(self, images: int, part: int, group: ProcessGroup) -> None:
        own = range(group.rank, images, group.size)
        self._parts = [[(-1, n) for n in own[i : i + part]] for i in range(0, len(own), part)]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


class _Item(NamedTuple):
    image: Pixels
    label: int
    broken: str | None


class _Transformed(Dataset[_Item]):
    def __init__(
        self, images: LabelledImages, transform: Transform, stem: StemConfig, seed: int, *, replace: bool
    ) -> None:
        self._images, self._transform, self._seed, self._replace = images, transform, seed, replace
        self._shape = (stem.image_size, stem.image_size, stem.in_channels)

    def __getitems__(self, items: list[tuple[int, int]]) -> list[_Item]:
        """What torch's loader asks for: a part at a time, so that generators are kept and restored once for all."""
        with augmentation.generators_restored():
            return [self._item(epoch, number) for epoch, number in items]

    def _item(self, epoch: int, number: int) -> _Item:
        pixels, broken = self._read(number, epoch)
        if pixels is not None:
            return _Item(pixels, int(self._images.labels[number]), None)
        for other in range(number + 1, number + len(self._images)):
            replaced, _ = self._read(other % len(self._images), epoch) if self._replace else (None, None)
            if replaced is not None:
                return _Item(replaced, int(self._images.labels[other % len(self._images)]), broken)
            if not self._replace:
                break
        return _Item(np.zeros(self._shape, dtype=np.uint8), -1, broken)

    def _read(self, number: int, epoch: int) -> tuple[Pixels | None, str | None]:
        """The augmented image; where it cannot be read, why."""
        augmentation.seed(self._seed, max(0, epoch), number)
        try:
            return self._transform(self._images.content(number)), None
        except (decoding.UnreadableError, OSError) as error:
            return None, f"{self._images.name(number)} ({error})"


def _collate(items: list[_Item]) -> Batch:
    """Channels stay next to each other, as images are decoded: turning them costs a reader more than the device."""
    broken = [item.broken for item in items if item.broken is not None]
    images = torch.from_numpy(np.stack([item.image for item in items])).permute(0, 3, 1, 2)
    return Batch(images, torch.tensor([item.label for item in items]), broken)


class TrainLoader:
    """The parts of this process, epoch after epoch.

    Attributes:
        steps: how they are dealt out.
        resident: the images, where they all stay on the device and nothing is read.

    Raises:
        TrainingError: a batch that cannot be dealt out, or a setting that would change nothing.
    """

    def __init__(self, images: LabelledImages, recipe: TrainingRecipe, stem: StemConfig, group: ProcessGroup) -> None:
        self.steps = steps_of(len(images), recipe, group)
        if recipe.draft and isinstance(images, InMemory):
            raise TrainingError("draft=true needs JPEG files, but these images are already decoded. Remove draft")
        self.resident = resident_of(images, recipe, stem, group.device)
        self._sampler = _TrainSampler(images, self.steps, recipe, group)
        if self.resident is None:
            dataset = _Transformed(images, TrainTransform(recipe, stem), stem, recipe.seed, replace=recipe.skip_corrupt)
            self._loader = _data_loader(dataset, self._sampler, recipe, group, persistent=True)  # pyrefly: ignore[possibly-uninitialized-attribute]

    def epoch(self, number: int, first_step: int = 0) -> Iterator[Batch]:
        """Parts of an epoch from a step on, `accumulation` of them a step."""
        self._sampler.epoch, self._sampler.first_step = number, first_step
        return iter(self._loader) if self.resident is None else self._gathered(self.resident)

    def _gathered(self, resident: Resident | ResidentFrames) -> Iterator[Batch]:
        gather = resident.gathering(self._sampler.epoch)
        for part in self._sampler:
            yield Batch(*gather([number for _, number in part]), [])


def test_loader(
    images: LabelledImages, recipe: TrainingRecipe, stem: StemConfig, group: ProcessGroup, part: int
) -> Iterator[Batch]:
    """This process's share of the test images, in order, `part` at a time."""
    sampler = _TestSampler(len(images), part, group)
    if isinstance(images, FrameImages):
        held = ResidentFrames(images, torch.device("cpu"))
        return (Batch(*held.batch([number for _, number in numbers]), []) for numbers in sampler)
    dataset = _Transformed(images, TestTransform(recipe, stem), stem, 0, replace=False)
    return iter(_data_loader(dataset, sampler, recipe, group, persistent=False))


def _data_loader(
    dataset: _Transformed,
    sampler: Sampler[list[tuple[int, int]]],
    recipe: TrainingRecipe,
    group: ProcessGroup,
    *,
    persistent: bool,
) -> DataLoader[_Item]:
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=recipe.workers,
        collate_fn=_collate,
        pin_memory=group.device.type == "cuda",
        persistent_workers=persistent and recipe.workers > 0,
        generator=torch.Generator(),  # of the readers' base seed, which else moves torch's own on
        worker_init_fn=_as_reader,
        multiprocessing_context=_context(recipe.workers),
    )


class _Reader(multiprocessing.context.ForkProcess):
    """A process that reads, and that nobody waits for: a disk that does not answer must not keep a training alive.

    It is deaf to the SIGTERM by which torch and Python would end it, and so is killed; it holds nothing but memory.
    """

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout if timeout is None else min(timeout, _LEAVE_S))

    def terminate(self) -> None:
        self.kill()


class _Readers(multiprocessing.context.ForkContext):
    Process = _Reader


def _context(workers: int) -> _Readers | None:
    """How readers are started; torch's way where that is not a fork."""
    return _Readers() if workers and multiprocessing.get_start_method() == "fork" else None


@atexit.register
def _end_readers() -> None:
    """Before Python waits for its children, and without torch's alarm about readers that die."""
    readers = [child for child in multiprocessing.active_children() if isinstance(child, _Reader)]
    if readers:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for reader in readers:
        reader.kill()


def _as_reader(_worker: int) -> None:
    """One thread, and deaf to Ctrl-C, which reaches all processes: the training needs its readers until it stops.

    A job scheduler's SIGTERM reaches all of them too.
    """
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.excepthook = _tell_unless_cut_off


def _tell_unless_cut_off(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A training that ends while a reader hands images over cuts it off, of which a thread of Python's would tell.

    Errors of reading itself go to the training and not here.
    """
    if not issubclass(kind, OSError | EOFError):
        sys.__excepthook__(kind, error, trace)


class ToDevice:
    """uint8 to normalised floats on the device, with rectangles erased while training."""

    def __init__(self, recipe: TrainingRecipe, stem: StemConfig, device: torch.device) -> None:
        mean, std = (self._channels(values, stem.in_channels, name) for name, values in _levels(recipe))
        self._mean = 255 * torch.tensor(mean, device=device)[:, None, None]
        self._std = 255 * torch.tensor(std, device=device)[:, None, None]
        self._format = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self._device = device
        self._erase = RandomErasing(recipe.random_erasing, mode=recipe.random_erasing_mode, device=device)
        self._erases = recipe.random_erasing > 0

    @staticmethod
    def _channels(values: tuple[float, ...], channels: int, name: str) -> tuple[float, ...]:
        if len(values) not in (1, channels):
            raise TrainingError(
                f"{name} has {len(values)} values, but the images have {channels} channels. Give one value per channel"
            )
        return values if len(values) == channels else values * channels

    def __call__(self, batch: Batch, *, training: bool) -> tuple[Tensor, Tensor]:
        """Images [B, C, H, W] and labels [B] on the device."""
        images = batch.images.to(self._device, non_blocking=True)
        labels = batch.labels.to(self._device, non_blocking=True)
        images = ((images.float() - self._mean) / self._std).contiguous(memory_format=self._format)
        return (self._erase(images) if training and self._erases else images), labels


def _levels(recipe: TrainingRecipe) -> list[tuple[str, tuple[float, ...]]]:
    return [("mean", recipe.mean), ("std", recipe.std)]


def check_readable(batch: Batch, recipe: TrainingRecipe) -> None:
    """
    Raises:
        DataError: an image could not be read, and none may be skipped.
    """
    if batch.broken and not recipe.skip_corrupt:
        raise DataError(
            f"{batch.broken[0]} is not a readable image. Replace it, or skip such images: --set skip_corrupt=true"
        )


__all__ = ["Batch", "Steps", "ToDevice", "TrainLoader", "check_readable", "order", "steps_of", "test_loader"]
