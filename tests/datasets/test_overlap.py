"""Copies of training images among the test images are told, and what shards hold that is no image."""

import io
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from nas.datasets import overlap
from nas.datasets import sources as sources
from nas.datasets.sources import InMemory, Source
from nas.full_training import loop
from tests import pictures

NONE = "No training image is among the test images, byte for byte."


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """32 training images and 12 of val; two of val stand in train too, one of them twice, as other names and a link."""
    root = pictures.folders(tmp_path / "images")
    train, val = root / "train", root / "val"
    shutil.copy(val / "class0000" / "0.jpg", train / "class0000" / "again.jpg")
    shutil.copy(val / "class0001" / "2.jpg", train / "class0003" / "elsewhere.jpg")
    (train / "class0002" / "link.jpg").symlink_to(val / "class0001" / "2.jpg")
    same_size = bytearray((val / "class0002" / "1.jpg").read_bytes())
    same_size[-3] ^= 1
    (train / "class0002" / "other.jpg").write_bytes(same_size)
    return root


def test_copies_are_told_by_hand(copied: Path) -> None:
    """Three training images of 36 are two of the 12 test images; a file of equal size and other content is none."""
    said = overlap.in_words(sources.find(copied))
    assert "among the test images, byte for byte: 3 of 36. They are 2 of the 12 test images (val)" in said
    first = copied / "train" / "class0000" / "again.jpg"
    assert f"{first} is {copied / 'val' / 'class0000' / '0.jpg'}. Nothing was left out" in said


def test_nothing_is_left_out(copied: Path) -> None:
    found = sources.find(copied)
    overlap.in_words(found)
    assert (len(found.train), len(found.test)) == (36, 12)


def test_without_copies_it_says_so(tmp_path: Path) -> None:
    assert overlap.in_words(sources.find(pictures.folders(tmp_path / "images"))) == NONE


def test_copies_in_shards(copied: Path, tmp_path: Path) -> None:
    said = overlap.in_words(sources.find(pictures.shards(copied, tmp_path / "shards")))
    assert "3 of 36. They are 2 of the 12 test images (val)" in said


def test_copies_of_pixels_in_memory() -> None:
    """The first and the third training image are the second test image."""
    train = np.arange(4 * 12, dtype=np.uint8).reshape(4, 2, 2, 3)
    test = np.full((3, 2, 2, 3), 200, dtype=np.uint8)
    train[2] = test[1] = train[0]
    labels = np.zeros(4, dtype=np.int64)
    source = Source(InMemory(train, labels, "a"), InMemory(test, labels[:3], "b"), "test", ("x",), "cifar")
    said = overlap.in_words(source)
    assert "2 of 4. They are 1 of the 3 test images (test)" in said
    assert "a, image 0 is b, image 1" in said


def test_what_would_take_too_long_is_not_begun_and_that_is_told(copied: Path) -> None:
    found = sources.find(copied)
    said = overlap.in_words(found, most_files=47)
    assert "were not searched for copies of training images: 48 files are more than the limit of 47" in said
    assert "were not searched" not in overlap.in_words(found, most_files=48)
    alike = overlap.in_words(found, most_bytes=1)
    assert "images of equal size have 0.0 GB, more than the limit of 1e-09 GB" in alike


def test_only_images_of_equal_size_are_read(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = sources.find(copied)
    sizes = [{Path(part.name(i)).stat().st_size for i in range(len(part))} for part in (found.train, found.test)]
    read: list[str] = []
    content = sources.Folders.content

    def noted(images: sources.Folders, i: int) -> bytes:
        read.append(images.name(i))
        return content(images, i)

    monkeypatch.setattr(sources.Folders, "content", noted)
    overlap.in_words(found)
    assert {Path(name).stat().st_size for name in read} == sizes[0] & sizes[1]


def test_files_that_cannot_be_read_are_left_to_the_readers(copied: Path) -> None:
    """A broken link, an empty file, and a pipe that nobody writes into, on both sides."""
    for part in ("train", "val"):
        folder = copied / part / "class0000"
        (folder / "gone.jpg").symlink_to("nowhere.jpg")
        (folder / "empty.jpg").touch()
        os.mkfifo(folder / "pipe.jpg")
    assert "3 of 39. They are 2 of the 15 test images" in overlap.in_words(sources.find(copied))


def test_a_training_tells_it_before_its_first_step(
    copied: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loop.train(pictures.bundle(tmp_path, own=pictures.recipe(epochs=1)), copied, tmp_path / "out", device="cpu")
    said = capfd.readouterr().err
    assert said.index("They are 2 of the 12 test images (val)") < said.index("step 2 of")


def test_shards_tell_what_they_pass_over(tmp_path: Path) -> None:
    """By hand: two hidden files, a .json, a .seg.png and a file without suffix; labels are data."""
    root = pictures.shards(pictures.folders(tmp_path / "images"), tmp_path / "shards")
    with tarfile.open(next(root.glob("train*.tar")), "a") as archive:
        for name in ("._x.jpg", "__MACOSX/y.jpg", "class0000_0.json", "class0000_0.seg.png", "README"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
    for _ in range(2):  # read, and from the cache
        (told,) = sources.find(root).passed_over
        assert told.startswith("Skipped: 2 hidden, 1 .json, 1 .seg.png, 1 without suffix. Images end in .jpg")
    assert len(sources.find(root).train) == 32


def test_shards_that_pass_nothing_over_say_nothing(tmp_path: Path) -> None:
    root = pictures.shards(pictures.folders(tmp_path / "images"), tmp_path / "shards")
    assert sources.find(root).passed_over == ()
