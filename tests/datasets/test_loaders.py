"""Images: every way in gives the same kind of tensors, the cut is honest, damage is named."""

import dataclasses
import hashlib
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nas import files
from nas.datasets import CIFAR10_CLASSES, cifar, downloads
from nas.datasets import loaders as data
from nas.errors import DataError
from nas.settings import DataSettings
from nas.spaces import load_space
from nas.spaces.space import SearchSpace
from tests import pictures

REAL_CIFAR10 = Path.home() / "data" / "cifar10"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def image_space(
    dataset: str, num_classes: int, image_size: int = 8, in_channels: int = 3, **settings: Any
) -> SearchSpace:
    loaded = load_space("spikformer_tiny")
    base = loaded.base | {"head": {"num_classes": num_classes, "neuron": False}}
    base["stem"] = base["stem"] | {"image_size": image_size, "in_channels": in_channels}
    return dataclasses.replace(loaded, base=base, data=DataSettings(dataset, **settings))  # pyrefly: ignore[bad-argument-type]


def draw(
    folder: Path,
    per_class: int,
    classes: tuple[str, ...] = ("cat", "dog", "owl"),
    size: int = 8,
    first: int = 0,
    step: int = 50,
) -> None:
    """Images whose red is their class, in steps, and whose green is their number, from `first` on."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            pixels = np.zeros((size, size, 3), np.uint8)
            pixels[..., 0], pixels[..., 1] = step * label, first + i
            Image.fromarray(pixels).save(folder / name / f"{i:03}.png")


def test_digits_are_cut_in_three_stratified_parts_without_overlap() -> None:
    splits = data.load(image_space("digits", 10, in_channels=1, search_val=0.2, report_val=0.1))
    parts = (splits.train, splits.search_val, splits.report_val)
    assert [len(part) for part in parts] == [1797 - 359 - 180, 359, 180]
    assert splits.train.images.shape[1:] == (1, 8, 8)
    assert splits.train.images.dtype == torch.uint8
    assert splits.train.images.max() == 255
    for part in parts:
        share = torch.bincount(part.labels, minlength=10) / len(part)
        assert (share - 0.1).abs().max() < 0.01
    everything = torch.cat([part.images for part in parts])
    whole = data.load(image_space("digits", 10, in_channels=1)).train.images
    assert len(everything) == 1797
    assert {image.numpy().tobytes() for image in whole} <= {image.numpy().tobytes() for image in everything}


def test_the_cut_depends_on_the_seed_alone() -> None:
    settings = image_space("digits", 10, in_channels=1)
    one, again, other = (data.load(settings, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.search_val.images, again.search_val.images)
    assert not torch.equal(one.search_val.images, other.search_val.images)
    assert one.fingerprint == other.fingerprint  # the images are the same, their cut is not


def test_image_folder_with_a_test_split_is_cut_from_train(tmp_path: Path) -> None:
    draw(tmp_path / "train", 20)
    (tmp_path / "test" / "cat").mkdir(parents=True)
    (tmp_path / "test" / "cat" / "0.png").write_text("sealed: whoever opens this fails")
    splits = data.load(image_space("image_folder", 3, search_val=0.1, report_val=0.2), tmp_path)
    assert splits.classes == ("cat", "dog", "owl")
    assert [len(s) for s in (splits.train, splits.search_val, splits.report_val)] == [42, 6, 12]
    _assert_labels(splits.train)
    seen = [
        tuple(s.images[i, :2, 0, 0].tolist())
        for s in (splits.train, splits.search_val, splits.report_val)
        for i in range(len(s))
    ]
    assert sorted(seen) == sorted((50 * label, i) for label in range(3) for i in range(20))


def _assert_labels(split: data.Split) -> None:
    assert torch.equal(split.images[:, 0, 0, 0].long() // 50, split.labels)


def test_val_is_sealed_without_test_and_validates_with_it(tmp_path: Path) -> None:
    draw(tmp_path / "train", 10)
    draw(tmp_path / "val", 4, first=100)
    settings = image_space("image_folder", 3)
    alone = data.load(settings, tmp_path)
    assert [len(s) for s in (alone.train, alone.search_val, alone.report_val)] == [24, 3, 3]
    (tmp_path / "test").mkdir()
    both = data.load(settings, tmp_path)
    assert [len(s) for s in (both.train, both.search_val, both.report_val)] == [30, 6, 6]
    _assert_labels(both.search_val)


@pytest.mark.parametrize("names", [False, True])
def test_shards_give_a_search_what_the_folders_give(tmp_path: Path, names: bool) -> None:
    """Images, labels, cut and fingerprint, however images are spread over shards; the test's shards stay closed."""
    folder = pictures.folders(tmp_path / "folders")
    settings = image_space("image_folder", 4, image_size=16, search_val=0.2, report_val=0.2)
    expected = data.load(settings, folder)
    for a_shard in (7, 32):
        shards = pictures.shards(folder, tmp_path / f"shards{a_shard}", a_shard, names)
        for sealed in shards.glob("val*.tar"):
            sealed.write_text("sealed: whoever opens this fails")
        for _ in range(2):  # from the cache, too
            splits = data.load(settings, shards)
            assert (splits.classes, splits.fingerprint) == (expected.classes, expected.fingerprint)
            assert splits.account == expected.account
            assert torch.equal(splits.train.images, expected.train.images)
            assert torch.equal(splits.search_val.labels, expected.search_val.labels)


def test_val_shards_validate_where_there_are_test_shards(tmp_path: Path) -> None:
    shards = pictures.shards(pictures.folders(tmp_path / "folders"), tmp_path / "shards", a_shard=100)
    (shards / "test-0000.tar").write_text("sealed: whoever opens this fails")
    splits = data.load(image_space("image_folder", 4, image_size=16), shards)
    assert [len(part) for part in (splits.train, splits.search_val, splits.report_val)] == [32, 6, 6]


def test_a_damaged_image_in_a_shard_is_named(tmp_path: Path) -> None:
    folder = pictures.folders(tmp_path / "folders")
    (folder / "train" / "class0001" / "3.jpg").write_text("woof")
    shards = pictures.shards(folder, tmp_path / "shards", a_shard=100)
    with pytest.raises(DataError, match=r"train-0000\.tar, class0001_3 is not a readable image \(cannot identify"):
        data.load(image_space("image_folder", 4, image_size=16), shards)


def test_images_of_other_sizes_and_colours_are_fitted(tmp_path: Path) -> None:
    draw(tmp_path / "train", 10, size=20)
    (tmp_path / "train" / "cat" / "wide.jpg").parent.mkdir(exist_ok=True)
    Image.new("L", (40, 24), 0).save(tmp_path / "train" / "cat" / "wide.jpg")
    splits = data.load(image_space("image_folder", 3, image_size=16), tmp_path)
    assert splits.train.images.shape[1:] == (3, 16, 16)
    assert data.load(image_space("image_folder", 3, in_channels=1), tmp_path).train.images.shape[1:] == (1, 8, 8)


def test_the_cache_gives_the_same_and_notices_a_change(tmp_path: Path) -> None:
    draw(tmp_path / "train", 10)
    settings = image_space("image_folder", 3)
    decoded = data.load(settings, tmp_path)
    (cache,) = files.cache_folder().iterdir()
    assert data.load(settings, tmp_path).fingerprint == decoded.fingerprint
    Image.new("RGB", (8, 8), (0, 99, 255)).save(tmp_path / "train" / "cat" / "000.png")
    assert data.load(settings, tmp_path).fingerprint != decoded.fingerprint
    cache.write_bytes(b"damaged")
    Image.new("RGB", (8, 8), (0, 0, 0)).save(tmp_path / "train" / "cat" / "000.png")
    assert data.load(settings, tmp_path).fingerprint == decoded.fingerprint


def test_a_text_file_named_jpg_is_named(tmp_path: Path) -> None:
    draw(tmp_path / "train", 3)
    (tmp_path / "train" / "dog" / "x.jpg").write_text("woof")
    with pytest.raises(DataError, match=r"dog/x\.jpg is not a readable image"):
        data.load(image_space("image_folder", 3), tmp_path)


def test_images_of_more_than_8_bits_are_refused_not_ruined(tmp_path: Path) -> None:
    draw(tmp_path / "train", 3)
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 900).save(tmp_path / "train" / "dog" / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png.*more than 8 bits"):
        data.load(image_space("image_folder", 3), tmp_path)


def test_a_cut_off_image_is_named(tmp_path: Path) -> None:
    draw(tmp_path / "train", 3, size=64)
    path = tmp_path / "train" / "owl" / "001.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"owl/001\.png is not a readable image"):
        data.load(image_space("image_folder", 3), tmp_path)


@pytest.mark.parametrize("dataset", ["cifar10", "image_folder"])
def test_folders_that_hold_nothing_are_named(tmp_path: Path, dataset: str) -> None:
    settings = image_space(dataset, 10)
    with pytest.raises(DataError, match="does not exist"):
        data.load(settings, tmp_path / "missing")
    with pytest.raises(DataError, match="train/<class>/"):
        data.load(settings, tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="no class folders"):
        data.load(settings, tmp_path)
    (tmp_path / "train" / "cat").mkdir()
    with pytest.raises(DataError, match="no images in cat"):
        data.load(settings, tmp_path)


def test_classes_must_agree_with_the_space(tmp_path: Path) -> None:
    draw(tmp_path / "train", 10)
    with pytest.raises(DataError, match=r"missing .*airplane"):
        data.load(image_space("cifar10", 10), tmp_path)
    with pytest.raises(DataError, match="have 3 classes"):
        data.load(image_space("image_folder", 4), tmp_path)
    with pytest.raises(DataError, match=r"unknown \['owl'\]"):
        data.load(image_space("image_folder", 3, classes=("cat", "cow", "dog")), tmp_path)


def test_too_few_images_to_cut_is_an_error(tmp_path: Path) -> None:
    draw(tmp_path / "train", 1)
    with pytest.raises(DataError, match="each need at least one"):
        data.load(image_space("image_folder", 3), tmp_path)


def _fake_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The original files' layout with 60 drawn images, and their MD5 sums in place of the real ones."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    sums = []
    for i in range(1, 6):
        pixels = rng.integers(0, 256, (12, 3072), np.uint8)
        labels = [(12 * (i - 1) + j) % 10 for j in range(12)]
        content = pickle.dumps({"data": pixels, "labels": labels}, protocol=3)  # the first with bytes
        (folder / f"data_batch_{i}").write_bytes(content)
        sums.append((f"data_batch_{i}", hashlib.md5(content).hexdigest()))
    source = cifar.DATASETS["cifar10"]
    monkeypatch.setitem(
        cifar.DATASETS, "cifar10", dataclasses.replace(source, batches=source.batches | {"train": tuple(sums)})
    )
    return folder


def test_original_cifar_files_give_the_same_kind_of_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without `test_batch`: the test images are never opened."""
    folder = _fake_cifar10(tmp_path, monkeypatch)
    settings = image_space("cifar10", 10, image_size=32, search_val=0.2, report_val=0.2)
    splits = data.load(settings, tmp_path)
    assert [len(s) for s in (splits.train, splits.search_val, splits.report_val)] == [36, 12, 12]
    assert splits.classes == CIFAR10_CLASSES
    assert splits.train.images.dtype == torch.uint8
    assert splits.train.images.shape[1:] == (3, 32, 32)
    assert data.load(settings, folder).fingerprint == splits.fingerprint  # the inner folder names the same
    first = pickle.loads((folder / "data_batch_1").read_bytes())["data"][0].reshape(3, 32, 32)
    every = torch.cat([splits.train.images, splits.search_val.images, splits.report_val.images])
    assert any(np.array_equal(image.numpy(), first) for image in every)


def test_a_truncated_cifar_batch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = _fake_cifar10(tmp_path, monkeypatch) / "data_batch_3"
    batch.write_bytes(batch.read_bytes()[:100])
    with pytest.raises(DataError, match="data_batch_3 missing or damaged"):
        data.load(image_space("cifar10", 10, image_size=32), tmp_path)


def test_a_failed_download_says_what_else_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_settings: Any) -> None:
        raise downloads.DownloadError("no network")

    monkeypatch.setattr(cifar, "fetch", refuse)
    with pytest.raises(DataError, match=r"could not be downloaded.*no network.*Give a folder"):
        data.load(image_space("cifar10", 10, image_size=32))


def test_a_subset_is_stratified() -> None:
    split = data.Split(torch.zeros(100, 1, 1, 1, dtype=torch.uint8), torch.tensor([0] * 50 + [1] * 50))
    assert torch.bincount(data.subset(split, 20, seed=0).labels).tolist() == [10, 10]
    assert data.subset(split, 0, seed=0) is split


@pytest.mark.slow
@pytest.mark.skipif(not REAL_CIFAR10.is_dir(), reason=f"needs CIFAR-10 as an image folder in {REAL_CIFAR10}")
def test_real_cifar10_as_an_image_folder() -> None:
    settings = image_space("cifar10", 10, image_size=32)
    splits = data.load(settings, REAL_CIFAR10)
    assert [len(s) for s in (splits.train, splits.search_val, splits.report_val)] == [40000, 5000, 5000]
    mean = splits.train.images.double().mean((0, 2, 3)) / 255
    torch.testing.assert_close(mean, torch.tensor([0.4914, 0.4822, 0.4465]).double(), atol=5e-3, rtol=0)


def test_random_order_of_files_on_disk_does_not_matter(tmp_path: Path) -> None:
    draw(tmp_path / "one" / "train", 10)
    draw(tmp_path / "two" / "train", 10)
    files = sorted((tmp_path / "two" / "train").rglob("*.png"))
    random.Random(0).shuffle(files)
    for path in files:  # written again in another order
        path.write_bytes(path.read_bytes())
    settings = image_space("image_folder", 3)
    assert data.load(settings, tmp_path / "one").fingerprint == data.load(settings, tmp_path / "two").fingerprint
