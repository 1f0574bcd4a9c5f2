"""Readers show what timm shows, and the device alone what readers would; a dry run says who sets the pace."""

import dataclasses
import io
import os
import pickle
import random
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from nas.bundles.recipe import TrainingRecipe
from nas.datasets import decoding, shrinking
from nas.datasets import sources as sources
from nas.datasets.sources import InMemory
from nas.errors import DataError, OutputError, TrainingError
from nas.full_training import augmentation, dry_run, loading, resident
from nas.full_training.augmentation import TrainTransform
from nas.full_training.process_group import ProcessGroup
from spikformer.config import StemConfig
from tests import pictures

_ALONE = ProcessGroup(0, 1, torch.device("cpu"))
_HELD = {"rand_augment": "", "crop_scale": [1.0, 1.0], "crop_ratio": [1.0, 1.0]}
"""Of `pictures.recipe`: whatever the device can do alone."""


def _photograph(size: tuple[int, int], kind: str = "jpeg", mode: str = "RGB", grain: int = 8) -> bytes:
    """Noise, smooth over `grain` pixels, as a file; width and height in pixels."""
    levels = np.random.default_rng(0).integers(0, 256, (size[1] // grain, size[0] // grain, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC).convert(mode).save(file, kind, quality=90)
    return file.getvalue()


@pytest.mark.parametrize("changes", [{}, {"color_jitter": 0.4}, {"rand_augment": "", "interpolation": "bilinear"}])
@pytest.mark.parametrize(("kind", "mode"), [("jpeg", "RGB"), ("jpeg", "L"), ("jpeg", "CMYK"), ("png", "RGBA")])
def test_a_reader_shows_what_timm_shows(changes: dict[str, object], kind: str, mode: str) -> None:
    """timm's own pipeline from the same draws; values differ by rounding alone, where another crop differs by 40."""
    own = pictures.recipe(**({"rand_augment": ""} | changes))
    content = _photograph((120, 90), kind, mode)
    theirs = create_transform(
        48,
        is_training=True,
        use_prefetcher=True,
        hflip=own.flip,
        color_jitter=own.color_jitter or None,  # None is its word for none
        interpolation=own.interpolation,
    )
    ours = TrainTransform(own, StemConfig(image_size=48))
    for number in range(20):
        augmentation.seed(number)
        shown = ours(content).transpose(2, 0, 1).astype(int)
        augmentation.seed(number)
        expected = theirs(Image.open(io.BytesIO(content)).convert("RGB")).numpy().astype(int)
        difference = np.abs(shown - expected)
        assert difference.mean() < 0.5
        assert (difference > 2).mean() < 0.01


def test_draft_shows_the_same_crop_of_a_large_photograph_and_decodes_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """From equal draws; by hand: a crop of at least 8 x 48 pixels is decoded at an eighth, 4 x 48 a quarter, ..."""
    own = pictures.recipe(rand_augment="", draft=True)
    content = _photograph((800, 600), grain=50)
    stem = StemConfig(image_size=48)
    seen = []
    decoded = decoding.decoded

    def watched(image: Image.Image, mode: str) -> Image.Image:
        seen.append(image.size)
        return decoded(image, mode)

    monkeypatch.setattr(decoding, "decoded", watched)
    divisors = []
    for number in range(30):
        augmentation.seed(number)
        whole = TrainTransform(dataclasses.replace(own, draft=False), stem)(content).astype(int)
        augmentation.seed(number)
        drafted = TrainTransform(own, stem)(content).astype(int)
        assert np.abs(whole - drafted).mean() < 8  # corners are rounded by up to half a pixel; another crop has 40
        augmentation.seed(number)
        size = Image.new("L", (800, 600))
        *_, height, width = TrainTransform(own, stem)._crop.get_params(size, own.crop_scale, own.crop_ratio)
        divisors.append(8 if min(height, width) >= 384 else 4 if min(height, width) >= 192 else 2)
        assert seen.pop() == (800 // divisors[-1], 600 // divisors[-1])
        assert seen.pop() == (800, 600)
    assert set(divisors) == {2, 4, 8} or set(divisors) == {4, 8}


@pytest.mark.parametrize(("kind", "size"), [("png", (800, 600)), ("jpeg", (90, 60))])
def test_draft_changes_nothing_where_it_cannot(kind: str, size: tuple[int, int]) -> None:
    content = _photograph(size, kind)
    shown = []
    for draft in (False, True):
        augmentation.seed(3)
        shown.append(TrainTransform(pictures.recipe(draft=draft), StemConfig(image_size=48))(content))
    assert np.array_equal(shown[0], shown[1])


def test_draft_is_refused_where_there_are_no_files() -> None:
    images = InMemory(np.zeros((8, 16, 16, 3), dtype=np.uint8), np.arange(8), "noise")
    with pytest.raises(TrainingError, match=r"draft=true needs JPEG files.*Remove draft"):
        loading.TrainLoader(images, pictures.recipe(draft=True), pictures.network().stem, _ALONE)


@pytest.mark.parametrize("smallest", [47, 48])
def test_a_reduced_crop_is_never_smaller_than_the_network_s_image(smallest: int) -> None:
    """Every place and size of crops around the limits, odd and even."""
    for divisor in (2, 4, 8):
        for size in (divisor * smallest, divisor * smallest + 3):
            for start in range(4 * divisor):
                first, last = ((place + divisor // 2) // divisor for place in (start, start + size))
                assert last - first >= smallest


def _in_memory(count: int = 40, size: int = 16) -> InMemory:
    generator = np.random.default_rng(1)
    pixels = generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return InMemory(pixels, generator.integers(0, 4, count), "noise")


def _parts(
    images: sources.LabelledImages, own: TrainingRecipe, group: ProcessGroup, first: int = 0, epoch: int = 1
) -> list[loading.Batch]:
    loader = loading.TrainLoader(images, own, pictures.network().stem, group)
    assert loader.resident is not None
    return list(loader.epoch(epoch, first))


@pytest.mark.parametrize("flip", [0.0, 0.5, 1.0])
def test_images_on_the_device_are_those_of_the_order_mirrored_or_not(flip: float) -> None:
    """Image by image, against the pixels and their mirror image; about half are mirrored, others in another epoch."""
    images, own = _in_memory(), pictures.recipe(**_HELD, flip=flip)
    mirrored = {}
    for epoch in (0, 1):
        shown = [image for batch in _parts(images, own, _ALONE, epoch=epoch) for image in batch.images]
        labels = [int(label) for batch in _parts(images, own, _ALONE, epoch=epoch) for label in batch.labels]
        order = loading.order(images.runs, own.seed, epoch)
        assert labels == images.labels[order].tolist()
        for number, image in zip(order.tolist(), shown, strict=True):
            plain = images.images[number].transpose(2, 0, 1)
            mirrored[epoch, number] = not np.array_equal(image.numpy(), plain)
            assert np.array_equal(image.numpy(), plain[:, :, ::-1] if mirrored[epoch, number] else plain)
    assert sum(mirrored.values()) == {0.0: 0, 0.5: pytest.approx(40, abs=20), 1.0: 80}[flip]
    if flip == 0.5:
        assert any(mirrored[0, number] != mirrored[1, number] for number in range(40))


@pytest.mark.parametrize(("processes", "accumulation"), [(2, 1), (2, 2), (4, 1)])
def test_processes_share_the_images_on_the_device_as_one_would_have_them(processes: int, accumulation: int) -> None:
    """All parts of a step together are the batch of one process; from the middle of an epoch on, too."""
    images, own = _in_memory(), pictures.recipe(**_HELD, batch_size=16, accumulation=accumulation)
    whole = dataclasses.replace(own, accumulation=1)
    alone = [batch.images for batch in _parts(images, whole, _ALONE)]
    shares = [_parts(images, own, ProcessGroup(rank, processes, torch.device("cpu"))) for rank in range(processes)]
    for step, expected in enumerate(alone):
        parts = [batch.images for share in shares for batch in share[step * accumulation : (step + 1) * accumulation]]
        assert torch.equal(torch.cat(parts), expected)
    later = [batch.images for batch in _parts(images, whole, _ALONE, first=1)]
    assert len(later) == len(alone) - 1
    assert all(map(torch.equal, later, alone[1:]))


def test_class_folders_of_small_images_stay_on_the_device_too(tmp_path: Path) -> None:
    """The same pixels as of images in memory, in the same order, mirrored alike."""
    images = sources.find(pictures.folders(tmp_path / "images", size=(16, 16))).train
    own = pictures.recipe(**_HELD)
    pixels = np.stack([np.array(decoding.opened(images.content(i))) for i in range(len(images))])
    expected = _parts(InMemory(pixels, images.labels, "the same"), own, _ALONE)
    found = _parts(images, own, _ALONE)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.labels, theirs.labels)


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({"rand_augment": "rand-m9-n1-mstd0.4-inc1"}, 16),
        ({"color_jitter": 0.1}, 16),
        ({"crop_scale": [0.5, 1.0]}, 16),
        ({"crop_ratio": [0.75, 1.3333]}, 16),
        ({}, 20),
    ],
)
def test_readers_read_what_the_device_cannot_do_alone(changes: dict[str, object], size: int) -> None:
    own = pictures.recipe(**(_HELD | changes))
    assert resident.resident_of(_in_memory(size=size), own, pictures.network().stem, torch.device("cpu")) is None


def test_too_many_or_damaged_images_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 images of 16 x 16 x 3 bytes are 30.7 kB."""
    own, stem, device = pictures.recipe(**_HELD), pictures.network().stem, torch.device("cpu")
    monkeypatch.setattr(resident, "_LARGEST_GB", 31e-6)
    assert resident.resident_of(_in_memory(), own, stem, device) is not None
    monkeypatch.setattr(resident, "_LARGEST_GB", 30e-6)
    assert resident.resident_of(_in_memory(), own, stem, device) is None
    folder = pictures.folders(tmp_path / "images", size=(16, 16))
    path = folder / "train" / "class0001" / "3.jpg"
    path.write_bytes(path.read_bytes()[:100])
    assert resident.resident_of(sources.find(folder).train, own, stem, device) is None


def test_readers_leave_all_generators_as_they_were(tmp_path: Path) -> None:
    images = sources.find(pictures.folders(tmp_path / "images")).train
    before = random.getstate(), pickle.dumps(np.random.get_state()), torch.get_rng_state()
    next(loading.TrainLoader(images, pictures.recipe(), pictures.network().stem, _ALONE).epoch(0))
    after = random.getstate(), pickle.dumps(np.random.get_state()), torch.get_rng_state()
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])


def test_erasing_draws_on_the_gpu_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told "cuda" alone, timm would draw on the first GPU, and open a context there."""
    told = []
    monkeypatch.setattr(loading, "RandomErasing", lambda *_, device, **__: told.append(device))
    tensor = torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda values, device: tensor(values))  # of a GPU that is not there
    loading.ToDevice(pictures.recipe(), pictures.network().stem, torch.device("cuda", 1))
    assert [torch.device(device) for device in told] == [torch.device("cuda", 1)]


def _dry_run(**changes: object) -> dry_run.DryRun:
    values = {field.name: 0 for field in dataclasses.fields(dry_run.DryRun)}
    known = {"name": "n", "config": pictures.network(), "gpu_gb": None, "on": "a card", "processes": 1, "workers": 8}
    return dry_run.DryRun(**(values | {"resident": False, "draft": False} | known | changes))  # pyrefly: ignore[bad-argument-type]


@pytest.mark.parametrize(
    ("changes", "cores", "message"),
    [
        (
            {"loaded_a_s": 600.0, "processes": 2},
            16,
            "the network sets the pace: .* 1,000 images/s, the readers bring 1,200",
        ),
        ({"loaded_a_s": 100.0, "resident": True}, 16, "the network sets the pace: .*waits for no reader"),
        (
            {"loaded_a_s": 800.0},
            16,
            r"the readers set the pace: .* 1,000 images/s, the readers bring 800\. .*workers=10$",
        ),
        ({"loaded_a_s": 400.0}, 16, r"takes workers=20, but this machine has 16 cores.*--set workers=16.*draft=true"),
        (
            {"loaded_a_s": 200.0, "processes": 2, "draft": True},
            16,
            r"takes workers=20, .* 8 cores.*workers=8\) and store.*\)$",
        ),
    ],
)
def test_a_dry_run_says_who_sets_the_pace(
    changes: dict[str, object], cores: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: 8 workers that bring 800 of 1,000 images/s would have to be 10."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: range(cores))
    found = _dry_run(images_a_s=1000.0, **changes)
    verdict = [line for line in found.lines() if "sets the pace" in line or "set the pace" in line]
    assert len(verdict) == 1
    assert re.search(message, verdict[0])


def test_a_dry_run_on_a_gpu_times_ten_steps_after_twelve(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the device, whose clock goes on by a second a step and by 100 while it warms up."""
    clock = [0.0]
    waits: list[torch.device] = []
    steps: list[list[int]] = []

    class Stand:
        group = ProcessGroup(0, 1, torch.device("cuda", 1))
        recipe = pictures.recipe(accumulation=2)

        class loader:  # noqa: N801  # an attribute
            @staticmethod
            def epoch(_number: int) -> list[int]:
                return [0, 1, 2, 3]

        def step(self, parts: list[int]) -> None:
            steps.append(parts)
            clock[0] += 1 if len(steps) > 12 else 100

    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    assert dry_run._timed_step(Stand()) == 1.0  # pyrefly: ignore[bad-argument-type]
    assert steps == [[0, 1], [2, 3]] * 11
    assert waits == [torch.device("cuda", 1)] * 2


@pytest.mark.exhaustive
def test_a_dry_run_on_a_folder_tells_the_pace_of_its_readers(tmp_path: Path) -> None:
    folder = pictures.folders(tmp_path / "images")
    bundle = pictures.bundle(tmp_path, own=pictures.recipe(workers=1))
    found = dry_run.run(bundle, folder, device="cpu")
    assert found is not None
    assert found.loaded_a_s is not None
    assert not found.resident
    assert found.steps == 2
    assert any("per process with workers=1" in line for line in found.lines())
    small = pictures.folders(tmp_path / "small", size=(16, 16))
    held = [f"{key}={value}" for key, value in _HELD.items()]
    found = dry_run.run(bundle, small, settings=tuple(held), device="cpu")
    assert found is not None
    assert found.resident
    assert any("no readers run" in line for line in found.lines())


def test_shrunken_images_are_the_same_ones_with_a_short_side_of_the_size_asked_for(tmp_path: Path) -> None:
    """Brightness is that of Pillow's own resizing; small images keep their files; nothing is written twice."""
    folder = pictures.folders(tmp_path / "folders", classes=2, train=2, size=(60, 40))
    small = folder / "train" / "class0001" / "small.png"
    pictures.image(1, 99, (12, 30)).save(small)
    (folder / "train" / "class0000" / "large.jpg").write_bytes(_photograph((160, 240), grain=20))
    out = shrinking.shrink(folder, tmp_path / "out", side=20)
    whole, shrunken = sources.find(folder), sources.find(out)
    assert shrunken.classes == whole.classes
    assert (len(shrunken.train), len(shrunken.test)) == (6, 6)
    order = np.random.default_rng(0).permutation(6)
    for number in range(6):
        content = whole.train.content(int(order[number]))
        assert isinstance(content, bytes)
        assert shrunken.train.labels[number] == whole.train.labels[order[number]]
        if content == small.read_bytes():
            assert shrunken.train.content(number) == content
            continue
        image = decoding.opened(shrunken.train.content(number))
        assert image.size == (20, 30)
        expected = Image.open(io.BytesIO(content)).resize((20, 30), Image.Resampling.LANCZOS)
        grey, expected_grey = (np.asarray(one.convert("L"), dtype=int) for one in (image, expected))
        assert np.abs(grey - expected_grey).mean() < 4
    written = [(path, path.stat().st_mtime_ns) for path in out.glob("*.tar")]
    shrinking.shrink(folder, out, side=20)
    assert [(path, path.stat().st_mtime_ns) for path in out.glob("*.tar")] == written
    with pytest.raises(OutputError, match=r"holds other shards, such as train-20px-000000\.tar"):
        shrinking.shrink(folder, out, side=10)
    pictures.image(1, 98, (12, 30)).save(folder / "train" / "class0001" / "one_more.png")
    with pytest.raises(OutputError, match="holds shards of different images"):
        shrinking.shrink(folder, out, side=20)


@pytest.mark.exhaustive
def test_shrinking_names_a_damaged_image(tmp_path: Path) -> None:
    folder = pictures.folders(tmp_path / "folders")
    path = folder / "train" / "class0001" / "3.jpg"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"class0001/3\.jpg is not a readable image .*Replace it or move it elsewhere"):
        shrinking.shrink(folder, tmp_path / "out", side=10)
    with pytest.raises(DataError, match="side is 0 and workers is 1; both must be at least 1"):
        shrinking.shrink(folder, tmp_path / "out", side=0)
