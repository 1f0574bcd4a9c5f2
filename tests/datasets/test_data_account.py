"""The data step says what it read, what it passed over, and how it was cut; the study and its report repeat it."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from nas.datasets import loaders as data
from nas.datasets import tells_imbalance
from nas.datasets.splits import Split
from nas.progress import Observer
from nas.reports import contents
from nas.searching import opening
from nas.settings import Recipe
from nas.spaces import load_space
from nas.training import augmentation
from spikformer.config import StemConfig
from tests.datasets.test_loaders import draw, image_space


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _account(folder: Path, classes: int = 3, image_size: int = 8, in_channels: int = 3, augment: str = "auto") -> str:
    settings = image_space("image_folder", classes, image_size, in_channels)
    recipe = dataclasses.replace(settings.recipe, augment=augment)  # pyrefly: ignore[bad-argument-type]
    return "\n".join(data.load(dataclasses.replace(settings, recipe=recipe), folder).account)


def test_a_plain_folder_is_told_in_one_line(tmp_path: Path) -> None:
    draw(tmp_path / "train", 10)
    for _ in range(2):  # decoded, and from the cache
        assert _account(tmp_path) == (
            "Images per class (train / search-val / report-val): 8 / 1 / 1 of each of 3 classes."
        )
    assert not tells_imbalance([_account(tmp_path)])


def test_classes_and_imbalance_are_told(tmp_path: Path) -> None:
    """The shares are those of tests/datasets/test_splits.py, by hand; 200 of cats is 50 times 4 of owls."""
    for name, count, first in (("cat", 200, 0), ("dog", 20, 200), ("owl", 4, 220)):
        draw(tmp_path / "train", count, (name,), first=first)
    told = _account(tmp_path)
    assert "(train / search-val / report-val): cat 162 / 19 / 19; dog 16 / 2 / 2; owl 2 / 1 / 1." in told
    assert "Class cat has 50.0 times as many images as class owl" in told
    assert tells_imbalance([told])


def test_of_many_classes_the_smallest_and_the_largest_are_named(tmp_path: Path) -> None:
    draw(tmp_path / "train", 10, tuple("abcdefghijkl"), step=20)
    for number in range(5):
        (tmp_path / "train" / "b" / f"00{number}.png").unlink()
    told = _account(tmp_path, 12)
    assert re.search(r": 12 classes, from b \d / 1 / 1 to [ac-l] \d / 1 / 1\.", told)


def test_copies_are_told(tmp_path: Path) -> None:
    draw(tmp_path / "train", 10)
    for number in range(3):
        (tmp_path / "train" / "cat" / f"copy{number}.png").symlink_to(f"00{number % 2}.png")
    (tmp_path / "train" / "dog" / "copy.bmp").write_bytes((tmp_path / "train" / "cat" / "000.png").read_bytes())
    told = _account(tmp_path)
    assert "Copies, pixel by pixel at the network's size: 4, of 2 different images." in told
    assert "Images that are in more than one class: 1." in told


def test_images_left_out_of_val_are_told(tmp_path: Path) -> None:
    """Numbers 8 and 9 of each of three classes."""
    draw(tmp_path / "train", 10)
    draw(tmp_path / "val", 6, first=8)
    (tmp_path / "test").mkdir()
    assert "Images of val/ that are also in train/ and were left out: 6." in _account(tmp_path)


def test_what_was_passed_over_is_told(tmp_path: Path) -> None:
    draw(tmp_path / "train", 10)
    cat = tmp_path / "train" / "cat"
    for name in ("a.heic", "b.HEIC", "notes.txt", "README", "._000.png"):
        (cat / name).write_text("")
    for folder in (cat / ".ipynb_checkpoints", tmp_path / "train" / "__MACOSX"):
        folder.mkdir()
        for number in range(3):
            (folder / f"{number}.png").write_text("")
    (tmp_path / "train" / "loose.png").write_text("")
    (cat / "gone.png").symlink_to("nowhere.png")
    told = _account(tmp_path)
    assert (
        "Skipped: 3 hidden, 2 .heic, 1 .txt, 1 beside the class folders, 1 broken links, 1 without suffix. "
        "Images end in .jpg, .jpeg, " in told
    )


def test_how_images_were_changed_is_told(tmp_path: Path) -> None:
    draw(tmp_path / "train", 10)
    cat = tmp_path / "train" / "cat"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (40, 10), (1, 2, 3)).save(cat / "turned.png", exif=exif)
    Image.new("RGBA", (12, 12), (1, 2, 4, 9)).save(cat / "clear.png")
    Image.new("L", (8, 8), 99).save(cat / "grey.png")
    told = _account(tmp_path)
    assert (
        "Resized by the short side to 8 x 8 pixels and cropped to the centre: 2 from 10 x 12 to 12 x 40 pixels" in told
    )
    assert "\nGrey images, repeated in three equal channels: 1." in told
    assert "\nImages with transparency, placed on white: 1." in told
    assert "\nImages rotated as their EXIF data says: 1." in told
    assert "Colour images, made grey because stem.in_channels = 1: 32." in _account(tmp_path, in_channels=1)


def _grey_folder(folder: Path) -> None:
    for label, name in enumerate(("cat", "dog", "owl")):
        (folder / "train" / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.full((28, 28), 80 * label, np.uint8)
            pixels[number, 0] = 255
            Image.fromarray(pixels).save(folder / "train" / name / f"{number}.png")


@pytest.mark.parametrize("in_channels", [1, 3])
def test_grey_images_are_not_mirrored_unless_asked(tmp_path: Path, in_channels: int) -> None:
    _grey_folder(tmp_path)
    told = _account(tmp_path, 3, 32, in_channels)
    assert "Resized by the short side to 32 x 32 pixels and cropped to the centre: 30 of 28 x 28 pixels." in told
    assert "All images are grey, so training shifts them and does not mirror them." in told
    asked = _account(tmp_path, 3, 32, in_channels, augment="shift_flip")
    assert 'training mirrors them. Set [proxy] augment = "shift"' in asked
    assert "mirrored" not in _account(tmp_path, 3, 32, in_channels, augment="shift")


def test_what_auto_means() -> None:
    """One pixel of one image decides whether images are grey."""
    grey = torch.randint(0, 256, (3000, 1, 4, 4), dtype=torch.uint8).expand(-1, 3, -1, -1).clone()
    colour = grey.clone()
    colour[2999, 2, 3, 3] ^= 1
    labels = torch.zeros(3000, dtype=torch.int64)
    recipe = Recipe()
    assert augmentation.settled(recipe, Split(grey, labels)).augment == "shift"
    assert augmentation.settled(recipe, Split(grey[:, :1], labels)).augment == "shift"
    assert augmentation.settled(recipe, Split(colour, labels)).augment == "shift_flip"
    for kind in ("none", "shift", "shift_flip"):
        told = dataclasses.replace(recipe, augment=kind)
        assert augmentation.settled(told, Split(grey, labels)) is told


def test_digits_and_cifar_need_no_line_more() -> None:
    """Their images have the size that the space asks for: only classes are told."""
    (line,) = data.load(image_space("digits", 10, in_channels=1)).account
    assert line.startswith("Images per class (train / search-val / report-val): 0 142 / 18 / 18; 1 ")


def test_a_search_tells_it_once_and_keeps_it_for_the_report(micro: Path, tmp_path: Path) -> None:
    heard: list[str] = []

    class Listener(Observer):
        def notice(self, text: str) -> None:
            heard.append(text)

    study = opening.search(micro, trials=2, results_dir=tmp_path, observer=Listener())
    expected = data.load(load_space(micro)).account
    assert study.account == expected
    assert [text for text in heard if text in expected] == list(expected)
    assert set(expected) <= set(contents.build(study).methods)


def test_transparency_is_told_of_the_file_not_of_what_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("LA", (8, 8), (7, 0)).save(path)
    image, detail = data._open(data._File(str(path), 0, path), StemConfig(image_size=8))
    assert detail == [8, 8, 1, 1, 0]
    assert (image == 255).all()
