"""The same images and labels, whatever holds them; each seen once an epoch; what cannot be read is named."""

import itertools
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from nas import files
from nas.datasets import decoding
from nas.datasets import sources as sources
from nas.datasets.sources import LabelledImages
from nas.errors import DataError
from nas.full_training import loading, loop
from nas.full_training.process_group import ProcessGroup
from tests import pictures

_ALONE = ProcessGroup(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")


def _pixels(images: LabelledImages, i: int) -> bytes:
    return decoding.decoded(decoding.opened(images.content(i)), "RGB").tobytes()


def _content(images: LabelledImages) -> dict[bytes, int]:
    return {_pixels(images, i): int(images.labels[i]) for i in range(len(images))}


@pytest.mark.parametrize("names", [False, True])
def test_shards_hold_what_the_folders_hold(tmp_path: Path, names: bool) -> None:
    """Pixel by pixel and label by label, with classes in the same order; from the cached index too."""
    folder = pictures.folders(tmp_path / "folders", classes=11)
    shards = pictures.shards(folder, tmp_path / "shards", names=names)
    whole = sources.find(folder)
    assert (whole.kind, whole.test_part, len(whole.train), len(whole.test)) == ("folder", "val", 88, 33)
    for _ in range(2):
        found = sources.find(shards)
        assert found.kind == "shards"
        assert found.classes == whole.classes == tuple(f"class{label:04}" for label in range(11))
        assert _content(found.train) == _content(whole.train)
        assert _content(found.test) == _content(whole.test)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_shards_travel_to_other_processes(tmp_path: Path) -> None:
    found = sources.find(pictures.shards(pictures.folders(tmp_path / "folders"), tmp_path / "shards")).train
    first = found.content(0)
    assert pickle.loads(pickle.dumps(found)).content(0) == first


@pytest.mark.parametrize("runs", [[40], [7, 7, 1, 12, 13]])
def test_an_epoch_has_every_image_once_and_another_order_each_time(runs: list[int]) -> None:
    orders = [loading.order(np.array(runs), 0, epoch) for epoch in range(3)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[1], loading.order(np.array(runs), 0, 1))


def test_images_of_shards_are_mixed_within_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at a time of six shards of ten: the first twenty images of an epoch come from two shards."""
    monkeypatch.setattr(loading, "_SHARDS_MIXED", 2)
    order = loading.order(np.array([10] * 6), 0, 0)
    assert all(len({n // 10 for n in order[i : i + 20]}) == 2 for i in range(0, 60, 20))


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 1), (2, 1), (2, 2), (4, 1)])
def test_processes_share_each_step_of_one_order(tmp_path: Path, processes: int, accumulation: int) -> None:
    """All parts of a step together are the batch of one process; from the middle of an epoch on, too."""
    images = sources.find(pictures.folders(tmp_path / "folders")).train
    own = pictures.recipe(batch_size=16, accumulation=accumulation)
    stem = pictures.network().stem

    def labels(group: ProcessGroup, first: int) -> list[list[int]]:
        loader = loading.TrainLoader(images, own, stem, group)
        parts = [batch.labels.tolist() for batch in loader.epoch(1, first)]
        return [[*itertools.chain(*parts[i : i + accumulation])] for i in range(0, len(parts), accumulation)]

    shares = [labels(ProcessGroup(rank, processes, torch.device("cpu")), 0) for rank in range(processes)]
    together = [[*itertools.chain(*step)] for step in zip(*shares, strict=True)]
    expected = images.labels[loading.order(images.runs, own.seed, 1)].tolist()
    assert together == [expected[:16], expected[16:]]
    assert labels(_ALONE, 1) == together[1:]


def test_an_image_is_augmented_alike_by_any_reader_and_otherwise_in_another_epoch(tmp_path: Path) -> None:
    images = sources.find(pictures.folders(tmp_path / "folders")).train
    stem = pictures.network().stem
    epochs = {}
    for workers in (0, 2):
        own = pictures.recipe(workers=workers, batch_size=32)
        loader = loading.TrainLoader(images, own, stem, _ALONE)
        before = torch.get_rng_state()
        epochs[workers] = [next(loader.epoch(epoch)).images for epoch in (0, 1)]
        assert torch.equal(before, torch.get_rng_state())
    assert all(map(torch.equal, epochs[0], epochs[2]))
    assert not torch.equal(epochs[0][0], epochs[0][1])


def test_the_strongest_augmentation_is_no_error(tmp_path: Path) -> None:
    """timm's Posterize at magnitude 10 of 10 would keep 0 bits, which Pillow refuses: one image in some hundred."""
    images = sources.find(pictures.folders(tmp_path / "folders", classes=20)).train
    own = pictures.recipe(rand_augment="rand-m10-n1-inc1", batch_size=160, rand_augment_ops=["PosterizeIncreasing"])
    batch = next(loading.TrainLoader(images, own, pictures.network().stem, _ALONE).epoch(0))
    assert batch.images.shape == (160, 3, 16, 16)


def test_images_are_normalised_on_the_device(tmp_path: Path) -> None:
    """By hand: (255 - 255 * 0.5) / (255 * 0.25) = 2."""
    own = pictures.recipe(random_erasing=0, mean=[0.5], std=[0.25])
    to_device = loading.ToDevice(own, pictures.network().stem, torch.device("cpu"))
    batch = loading.Batch(torch.full((2, 3, 4, 4), 255, dtype=torch.uint8), torch.tensor([0, 1]), [])
    images, _ = to_device(batch, training=True)
    assert torch.equal(images, torch.full((2, 3, 4, 4), 2.0))


def test_a_corrupt_image_is_named_and_skipped_only_if_asked(tmp_path: Path) -> None:
    folder = pictures.folders(tmp_path / "folders")
    for path in (folder / "train" / "class0001" / "3.jpg", folder / "val" / "class0002" / "1.jpg"):
        path.write_bytes(path.read_bytes()[:100])
    bundle = pictures.bundle(tmp_path, own=pictures.recipe(epochs=1, workers=1))
    with pytest.raises(DataError, match=r"train/class0001/3\.jpg .* is not a readable image.*skip_corrupt=true"):
        loop.train(bundle, folder, tmp_path / "out")
    trained = loop.train(bundle, folder, tmp_path / "out", settings=("skip_corrupt=true",))
    assert trained is not None
    assert trained.scores.images == 11


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("class", r"no images in class0002 .*Fill or remove"),
        ("test class", "are not those of .*1 missing \\['class0001'\\]"),
        ("test", "neither val nor test"),
        ("all", "has no class folders"),
        ("nothing", "does not exist"),
        ("empty", "holds no images that can be read"),
    ],
)
def test_bad_folders_are_one_clear_error(tmp_path: Path, damage: str, message: str) -> None:
    folder = pictures.folders(tmp_path / "folders")
    if damage == "class":
        for path in (folder / "train" / "class0002").iterdir():
            path.unlink()
    elif damage == "test class":
        (folder / "val" / "class0001").rename(tmp_path / "elsewhere")
    elif damage == "test":
        (folder / "val").rename(tmp_path / "elsewhere")
    elif damage == "all":
        (folder / "train").rename(tmp_path / "elsewhere")
        (folder / "train").mkdir()
    elif damage == "nothing":
        folder = tmp_path / "nowhere"
    else:
        folder = tmp_path / "bundle"
        folder.mkdir()
    with pytest.raises(DataError, match=message):
        sources.find(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("label", r"\.cls file holds label 7, but classes.txt names 4 classes"),
        ("unlabelled", "has no .cls beside it"),
        ("cut", "not a readable tar file"),
        ("no test", "neither val nor test"),
    ],
)
def test_bad_shards_are_one_clear_error(tmp_path: Path, damage: str, message: str) -> None:
    shards = pictures.shards(pictures.folders(tmp_path / "folders"), tmp_path / "shards")
    first = shards / "train-0000.tar"
    if damage in ("label", "unlabelled"):
        with tarfile.open(first, "a") as archive:
            pictures._add(archive, "more.jpg", b"")
            if damage == "label":
                pictures._add(archive, "more.cls", b"7")
    elif damage == "cut":
        first.write_bytes(b"no tar file at all")
    else:
        for path in shards.glob("val*"):
            path.unlink()
    with pytest.raises(DataError, match=message):
        sources.find(shards)


@pytest.mark.parametrize("links", [1, 2])
def test_links_to_folders_above_are_passed_over(tmp_path: Path, links: int) -> None:
    """With one every image came five times, with two the walk had no end."""
    folder = pictures.folders(tmp_path / "folders")
    for i in range(links):
        (folder / "train" / "class0003" / f"l{i}").symlink_to(folder / "train" / "class0003")
    (folder / "train" / "class0002" / "more").mkdir()
    pictures.image(2, 99).save(folder / "train" / "class0002" / "more" / "99.jpg")
    (folder / "train" / "class0002" / "again").symlink_to(folder / "train" / "class0002" / "more")
    whole = sources.find(folder)
    assert np.bincount(whole.train.labels).tolist() == [8, 8, 9, 8]
    assert f"Skipped: {links + 1} links to folders that were read already." in whole.passed_over[0]


def test_a_class_may_be_a_link_and_hold_links_to_other_places(tmp_path: Path) -> None:
    folder = pictures.folders(tmp_path / "folders")
    elsewhere = pictures.folders(tmp_path / "elsewhere", train=2)
    (folder / "train" / "class0000" / "more").symlink_to(elsewhere / "train" / "class0000")
    (folder / "train" / "class0001").rename(tmp_path / "moved")
    (folder / "train" / "class0001").symlink_to(tmp_path / "moved")
    assert np.bincount(sources.find(folder).train.labels).tolist() == [10, 8, 8, 8]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (
            b"10000000",
            r"a \.cls file holds label 10,000,000, which makes 10,000,001 classes. Without names at most 100,000",
        ),
        (b"999999999999", r"a \.cls file holds label 999,999,999,999"),
        (b"9" * 30, "'9999.*' is not a label"),
        (b"9" * 900_000, "'9999.*' is not a label"),
        (b"", "'' is not a label"),
        (b"cat\ndog", "is not a label"),
        (b"x" * 5000, "is not a label"),
    ],
)
def test_a_label_that_no_class_has_is_named(tmp_path: Path, label: bytes, message: str) -> None:
    shards = pictures.shards(pictures.folders(tmp_path / "folders"), tmp_path / "shards")
    (shards / "classes.txt").unlink()
    with tarfile.open(shards / "train-0000.tar", "a") as archive:
        pictures._add(archive, "more.jpg", b"")
        pictures._add(archive, "more.cls", label)
    with pytest.raises(DataError, match=message):
        sources.find(shards)


@pytest.mark.parametrize(
    ("content", "message"), [(b"a\nb\nb\nc\n", "names the class b twice"), (b"\xff\xfe\n", "cannot be read as text")]
)
def test_bad_names_of_classes_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    shards = pictures.shards(pictures.folders(tmp_path / "folders"), tmp_path / "shards")
    (shards / "classes.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        sources.find(shards)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [100, pytest.param(1000, marks=pytest.mark.exhaustive)])
def test_many_classes_through_folders_and_shards(classes: int, tmp_path: Path) -> None:
    """Class folders of large images: an epoch, with the classes in one order; the same test images."""
    folder = pictures.folders(tmp_path / "folders", classes=classes, train=1, test=1, size=(230, 240))
    shards = pictures.shards(folder, tmp_path / "shards", a_shard=classes // 10)
    config = pictures.network(classes, 64, time_steps=1)
    own = pictures.recipe(epochs=1, batch_size=50, workers=1, evaluate_every_epochs=2, log_every_steps=10)
    trained = [
        loop.train(pictures.bundle(tmp_path / data.name, config, own), data, tmp_path / f"{data.name}-out")
        for data in (folder, shards)
    ]
    assert all(one is not None and one.scores.images == classes for one in trained)
    assert sources.find(folder).classes == sources.find(shards).classes
