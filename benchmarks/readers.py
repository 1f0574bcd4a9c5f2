"""How many images does a reader of full training bring per core-second, beside timm's loader on the same folder?

Contestants take turns on JPEGs of quality 90 with the spectrum of photographs, decoded, cropped, mirrored and put
through RandAugment by the recipe `sdt2_imagenet`, and collected into batches of bytes. A core-second is one of the
process's own processor time; with `--workers` there are also images per second of so many processes.
"""

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from header import header, note, table
from PIL import Image
from timm.data import create_dataset, create_loader
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional

from nas.bundles import recipe as recipes
from nas.bundles.recipe import TrainingRecipe
from nas.datasets import sources as sources
from nas.full_training.loading import TrainLoader
from nas.full_training.process_group import ProcessGroup
from spikformer.config import StemConfig

SIZES = ((500, 375), (1000, 750), (2000, 1500))
SHORT = 256  # pixels, of the short side of the images that are stored smaller
PART = 32
PIXELS = 224
ALONE = ProcessGroup(0, 1, torch.device("cpu"))
CLASSES = 1000  # of the listing

Batches = Iterator[int]
"""Images that came, a batch at a time, without an end."""


def photograph(generator: np.random.Generator, width: int, height: int) -> Image.Image:
    """Colours whose amplitudes fall as 1 / frequency (Field, J. Opt. Soc. Am. A 1987), mostly alike in all channels."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = 1 / np.maximum(frequency, 1 / width)

    def field() -> np.ndarray:
        phases = np.exp(2j * np.pi * generator.random(amplitude.shape))
        values = np.fft.irfft2(amplitude * phases, s=(height, width))
        return values / values.std()

    levels = field()[..., None] + 0.4 * np.stack([field() for _ in range(3)], axis=-1)
    return Image.fromarray(np.clip(128 + 55 * levels, 0, 255).astype(np.uint8))


def folders(root: Path, size: tuple[int, int], count: int) -> tuple[Path, Path]:
    """Class folders of such images, and of the same with a short side of `SHORT` pixels."""
    generator = np.random.default_rng(0)
    width, height = size
    small = (round(width * SHORT / height), SHORT)
    places = (root / f"{width}x{height}", root / f"{width}x{height}-small")
    for i in range(count):
        whole = photograph(generator, width, height)
        for place, image in zip(places, (whole, whole.resize(small, Image.Resampling.LANCZOS)), strict=True):
            for part in ("train", "val"):
                path = place / part / f"class{i % 2}" / f"{i}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path, quality=90)
    return places


def reader(folder: Path, recipe: TrainingRecipe) -> Batches:
    """Ours."""
    images = sources.find(folder).train
    loader = TrainLoader(images, dataclasses.replace(recipe, batch_size=PART), StemConfig(image_size=PIXELS), ALONE)
    return (len(batch.labels) for epoch in range(10**6) for batch in loader.epoch(epoch))


def timm_loader(folder: Path, recipe: TrainingRecipe) -> DataLoader[Any]:
    """timm's, up to the bytes that its prefetcher would move to the device."""
    loader = create_loader(
        create_dataset("", root=str(folder / "train")),
        (3, PIXELS, PIXELS),
        PART,
        is_training=True,
        scale=recipe.crop_scale,
        ratio=recipe.crop_ratio,
        hflip=recipe.flip,
        color_jitter=None,
        auto_augment=recipe.rand_augment,
        interpolation=recipe.interpolation,
        num_workers=recipe.workers,
        persistent_workers=recipe.workers > 0,
        device=torch.device("cpu"),
    ).loader
    for operation in loader.dataset.transform.transforms[2].ops:
        operation.magnitude_max = 9.99  # at 10, its Posterize keeps 0 bits, which Pillow refuses
    return loader


def timms(folder: Path, recipe: TrainingRecipe) -> Batches:
    loader = timm_loader(folder, recipe)
    return (len(labels) for _ in range(10**6) for _, labels in loader)


class Torchvisions(Dataset[np.ndarray]):
    """`torchvision.io.decode_jpeg` (deprecated since 0.29), a crop by torchvision, the other operations by timm."""

    def __init__(self, folder: Path, recipe: TrainingRecipe) -> None:
        from torchvision.io import decode_jpeg  # gone in a later torchvision

        self._decode = decode_jpeg
        self._paths = sorted((folder / "train").rglob("*.jpg"))
        self._crop, *self._others, _ = timm_loader(folder, recipe).dataset.transform.transforms

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, i: int) -> np.ndarray:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            image = self._decode(torch.frombuffer(bytearray(self._paths[i].read_bytes()), dtype=torch.uint8))
        box = self._crop.get_params(image, self._crop.scale, self._crop.ratio)
        image = functional.resized_crop(image, *box, [PIXELS] * 2, self._crop.interpolation, antialias=True)
        shown = functional.to_pil_image(image)
        for step in self._others:
            shown = step(shown)
        return np.asarray(shown)


def torchvisions(folder: Path, recipe: TrainingRecipe) -> Batches:
    loader = DataLoader(
        Torchvisions(folder, recipe),
        PART,
        shuffle=True,
        drop_last=True,
        num_workers=recipe.workers,
        collate_fn=np.stack,
        persistent_workers=recipe.workers > 0,
    )
    return (len(images) for _ in range(10**6) for images in loader)


def contestants(whole: Path, small: Path, recipe: TrainingRecipe) -> dict[str, Callable[[], Batches]]:
    drafting = dataclasses.replace(recipe, draft=True)
    return {
        "timm's loader": lambda: timms(whole, recipe),
        "the reader": lambda: reader(whole, recipe),
        "the reader, draft=true": lambda: reader(whole, drafting),
        "torchvision's decode_jpeg": lambda: torchvisions(whole, recipe),
        f"the reader, images stored with a short side of {SHORT}": lambda: reader(small, recipe),
    }


def raced(starts: dict[str, Callable[[], Batches]], rounds: int, count: int, until: float) -> str:
    """Images per core-second, in turns; ratios are of contestants in the same round."""
    running = {}
    for name, start in starts.items():
        try:
            running[name] = start()
            next(running[name])
        except ImportError as error:
            note(f"{name} is not there: {error}")
            running.pop(name, None)
    paces: dict[str, list[float]] = {name: [] for name in running}
    for number in range(rounds):
        if number and time.monotonic() > until:
            note(f"the time limit ends it after {number} of {rounds} rounds")
            break
        for name, batches in running.items():
            started, seen = time.process_time(), 0
            while seen < count:
                seen += next(batches)
            paces[name].append(seen / (time.process_time() - started))
            note(f"round {number + 1}: {name}: {paces[name][-1]:.0f} images per core-second")
    return _table(paces, "images per core-second")


def in_processes(starts: dict[str, Callable[[], Batches]], seconds: float, until: float) -> str:
    """Images per second of the readers' processes, once all are running."""
    paces: dict[str, list[float]] = {}
    for name, start in starts.items():
        if paces and time.monotonic() > until:
            note(f"the time limit leaves out {name}")
            continue
        batches = start()
        ready = time.monotonic() + seconds / 2
        while time.monotonic() < ready:
            next(batches)
        started, seen = time.monotonic(), 0
        while time.monotonic() < started + seconds:
            seen += next(batches)
        paces[name] = [seen / (time.monotonic() - started)]
        note(f"{name}: {paces[name][0]:.0f} images/s")
        del batches  # ends its processes
    return _table(paces, "images per second")


def _table(paces: dict[str, list[float]], unit: str) -> str:
    first = next(iter(paces.values()))
    rows = [("", unit, "lowest, highest", "times timm's")]
    for name, found in paces.items():
        ratios = [a / b for a, b in zip(found, first, strict=False)]
        spread = f"{min(found):.0f}, {max(found):.0f}"
        rows.append((name, f"{statistics.median(found):.0f}", spread, f"{statistics.median(ratios):.2f}"))
    return table(rows)


def listing(root: Path, source: Path, count: int, recipe: TrainingRecipe) -> str:
    """Hard links to `source`'s images in class folders: listed, and the first batch of an epoch read."""
    originals = sorted((source / "train").rglob("*.jpg"))
    folder = root / "listing"
    for label in range(CLASSES):
        for part, images in (("train", count // CLASSES), ("val", 1)):
            place = folder / part / f"n{label:08}"
            place.mkdir(parents=True)
            for i in range(images):
                os.link(originals[(label + i * CLASSES) % len(originals)], place / f"n{label:08}_{i}.JPEG")
    note(f"{count:,} links made")
    started = time.monotonic()
    found = sources.find(folder)
    listed = time.monotonic()
    own = dataclasses.replace(recipe, batch_size=PART, workers=max(1, recipe.workers))
    batches = TrainLoader(found.train, own, StemConfig(image_size=PIXELS), ALONE).epoch(0)
    next(batches)
    first = time.monotonic()
    del batches
    return (
        f"{len(found.train):,} images in {CLASSES} class folders: listed in {listed - started:.1f} s, "
        f"the first batch of {PART} in {first - listed:.1f} s more, with {own.workers} worker(s)"
    )


def cifar(folder: str, recipe: TrainingRecipe, quick: bool) -> str:
    """The images of CIFAR-10 with its authors' recipe, and without RandAugment: read, and kept on the device."""
    images, stem = sources.find(folder, "cifar10").train, StemConfig(image_size=32)
    plain = dataclasses.replace(recipe, rand_augment="")
    started = time.monotonic()
    loader = TrainLoader(images, plain, stem, ALONE)
    rows = [("", "images per core-second"), ("on the device", _pace(loader, len(images)))]
    note(f"{len(images):,} images were taken in {time.monotonic() - started:.1f} s, the epoch included")
    for name, own in (("read", plain), ("read, with RandAugment", recipe)):
        loader = TrainLoader(images, own, stem, ALONE)
        loader.resident = None
        rows.append((name, _pace(loader, 2_000 if quick else 20_000)))
    return f"{len(images):,} images of CIFAR-10, {recipe.batch_size} at a time\n\n{table(rows)}"


def _pace(loader: TrainLoader, count: int) -> str:
    batches, seen = loader.epoch(0), 0
    started = time.process_time()
    for batch in batches:
        seen += len(batch.labels)
        if seen >= count:
            break
    return f"{seen / (time.process_time() - started):,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 measures core-seconds of one reader alone")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds, after which no further round begins")
    parser.add_argument("--quick", action="store_true", help="few images of the first size, one round")
    parser.add_argument("--listing", type=int, default=0, help="links to list as well, such as 1280000")
    parser.add_argument("--cifar", metavar="DIR", help="CIFAR-10, to measure as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    until = time.monotonic() + arguments.limit
    recipe = dataclasses.replace(recipes.read("sdt2_imagenet"), workers=0)
    given = "".join(
        f" --{name} {value}" for name, value in vars(arguments).items() if value != parser.get_default(name)
    ).replace(" --quick True", " --quick")
    given = given.replace(str(arguments.cifar), "DIR")
    print(header(f"python benchmarks/readers.py{given}"), flush=True)
    sizes = SIZES[:1] if arguments.quick else SIZES
    if arguments.cifar:
        own = dataclasses.replace(recipes.read("spikformer_cifar"), workers=0)
        print(f"\n{cifar(arguments.cifar, own, arguments.quick)}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for width, height in sizes:
            count = PART if arguments.quick else max(PART, 128 * SIZES[0][0] // width)
            whole, small = folders(root, (width, height), count)
            kilobytes = statistics.mean(path.stat().st_size for path in (whole / "train").rglob("*.jpg")) / 1e3
            print(f"\n{count} images of {width} x {height} pixels, {kilobytes:.0f} kB each, to {PIXELS} x {PIXELS}\n")
            rounds = 1 if arguments.quick else 9
            print(raced(contestants(whole, small, recipe), rounds, count, until), flush=True)
            if arguments.workers:
                several = dataclasses.replace(recipe, workers=arguments.workers)
                print(f"\nthe same with {arguments.workers} processes on {os.cpu_count()} cores\n")
                seconds = 1.0 if arguments.quick else 6.0
                print(in_processes(contestants(whole, small, several), seconds, until), flush=True)
            if arguments.listing and (width, height) == SIZES[0]:
                reading = dataclasses.replace(recipe, workers=arguments.workers)
                print(f"\n{listing(root, whole, arguments.listing, reading)}", flush=True)


if __name__ == "__main__":
    main()
