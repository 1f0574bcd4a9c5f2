"""Both readers take the same files for images, and show what a person who opens them sees."""

import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from nas import files
from nas.datasets import decoding
from nas.datasets import loaders as data
from nas.datasets import sources as sources
from nas.full_training import loop
from nas.full_training.augmentation import TestTransform
from spikformer.config import StemConfig
from tests import pictures
from tests.datasets.test_loaders import image_space

_RED, _BLUE = (200, 10, 10), (10, 10, 200)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")


def _file(image: Image.Image, kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def _read(content: bytes, suffix: str, folder: Path, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [8, 8, C] of one file, as a search and as a full training read it."""
    path = folder / f"image{suffix}"
    path.write_bytes(content)
    searched, _ = data._open(data._File(str(path), 0, path), StemConfig(image_size=8, in_channels=channels))
    trained = np.asarray(decoding.decoded(decoding.opened(content), decoding.mode_of(channels)))
    return searched.permute(1, 2, 0).numpy(), trained.reshape(8, 8, channels)


def _half_transparent(mode: str) -> Image.Image:
    """The left half opaque: red, or grey of 100; the right half transparent, with black below."""
    if mode == "LA":
        levels = np.zeros((8, 8, 2), np.uint8)
        levels[:, :4] = 100, 255
        return Image.fromarray(levels)
    levels = np.zeros((8, 8, 4), np.uint8)
    levels[:, :4] = *_RED, 255
    return Image.fromarray(levels)


def _palette() -> tuple[Image.Image, dict[str, Any]]:
    indices = np.zeros((8, 8), np.uint8)
    indices[:, :4] = 1
    image = Image.fromarray(indices)
    image = image.convert("P")
    image.putpalette([0, 0, 0, *_RED])
    image.putdata(indices.flatten().tolist())
    return image, {"transparency": 0}


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "GIF", "WEBP"])
def test_transparent_pixels_are_white(kind: str, tmp_path: Path) -> None:
    """By hand: alpha 0 shows the background alone, alpha 255 the pixel alone."""
    if kind in ("P", "GIF"):
        image, settings = _palette()
        content, suffix = _file(image, "PNG" if kind == "P" else "GIF", **settings), ".gif" if kind == "GIF" else ".png"
    elif kind == "WEBP":
        content, suffix = _file(_half_transparent("RGBA"), "WEBP", lossless=True), ".webp"
    else:
        content, suffix = _file(_half_transparent(kind), "PNG"), ".png"
    for pixels in _read(content, suffix, tmp_path):
        assert (pixels[:, :4] == (100 if kind == "LA" else _RED)).all()
        assert (pixels[:, 4:] == 255).all()
    for pixels in _read(content, suffix, tmp_path, channels=1):
        assert (pixels[:, 4:] == 255).all()


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    """By hand: 0.4 of black on white is 153."""
    content = _file(Image.new("RGBA", (8, 8), (0, 0, 0, 102)), "PNG")
    for pixels in _read(content, ".png", tmp_path):
        assert (pixels == 153).all()


def _upper_half(colour: tuple[int, int, int]) -> np.ndarray:
    pixels = np.full((8, 8, 3), 255, np.uint8)
    pixels[:4] = colour
    pixels[:4, :4] = _BLUE
    return pixels


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_images_are_shown_as_they_were_held(orientation: int, kind: str, tmp_path: Path) -> None:
    """EXIF 2.3: where row 0 and column 0 of the stored pixels lie; numpy undoes it."""
    upright = _upper_half(_RED)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    settings = {"lossless": True} if kind == "WEBP" else {}
    content = _file(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **settings)
    for pixels in _read(content, f".{kind.lower()}", tmp_path):
        np.testing.assert_array_equal(pixels, upright)


def test_a_turned_photograph_has_its_height_where_its_width_was() -> None:
    """The crop of a test image is taken of the upright image: 30 x 10 pixels, held on its side."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photograph = pictures.image(0, 0, (10, 30))
    assert photograph.size == (30, 10)
    content = _file(photograph, "PNG", exif=exif)
    assert decoding.opened(content).size == (10, 30)
    plain = _file(photograph.transpose(Image.Transpose.ROTATE_270), "PNG")
    show = TestTransform(pictures.recipe(), pictures.network().stem)
    np.testing.assert_array_equal(show(content), show(plain))


def test_only_an_image_that_is_to_be_turned_is_decoded_early() -> None:
    plain = decoding.opened(_file(pictures.image(0, 0), "JPEG"))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1
    tagged = decoding.opened(_file(pictures.image(0, 0), "JPEG", exif=exif))
    assert plain.format == tagged.format == "JPEG"


def _littered(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal folders of images, the second with what file managers and notebooks leave there."""
    clean = pictures.folders(tmp_path / "clean")
    littered = tmp_path / "littered"
    shutil.copytree(clean, littered)
    for part in ("train", "val"):
        first = littered / part / "class0000"
        for folder in (
            first / ".ipynb_checkpoints",
            littered / part / ".ipynb_checkpoints",
            littered / part / "__MACOSX",
        ):
            folder.mkdir()
            pictures.image(3, 7000).save(folder / "0000-checkpoint.png")
        (first / "deep" / "__MACOSX" / "more").mkdir(parents=True)
        pictures.image(3, 7001).save(first / "deep" / "__MACOSX" / "more" / "x.png")
        (first / "._0.jpg").write_bytes(b"no image")
    return clean, littered


def test_hidden_files_are_no_data_to_a_search(tmp_path: Path) -> None:
    clean, littered = _littered(tmp_path)
    space = image_space("image_folder", 4, search_val=0.25, report_val=0.25)
    expected, found = data.load(space, clean), data.load(space, littered)
    assert found.classes == expected.classes
    assert found.fingerprint == expected.fingerprint
    assert torch.equal(found.train.images, expected.train.images)


def test_hidden_files_are_no_data_to_a_full_training(tmp_path: Path) -> None:
    clean, littered = _littered(tmp_path)
    expected, found = sources.find(clean), sources.find(littered)
    assert expected.passed_over == ()
    assert found.passed_over[0].startswith("Skipped: 10 hidden. Images end in ")
    assert found.classes == expected.classes
    for theirs, ours in ((expected.train, found.train), (expected.test, found.test)):
        assert [Path(ours.name(i)).name for i in range(len(ours))] == [
            Path(theirs.name(i)).name for i in range(len(theirs))
        ]


def test_a_full_training_tells_what_it_passes_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = pictures.folders(tmp_path / "folders")
    for name in ("a.heic", "deep.b.heic", "README"):
        (folder / "train" / "class0001" / name).write_text("")
    (folder / "val" / "loose.png").write_text("")
    told = "Skipped: 2 .heic, 1 beside the class folders, 1 without suffix. Images end in .jpg, "
    assert sources.find(folder).passed_over[0].startswith(told)
    loop.train(pictures.bundle(tmp_path, own=pictures.recipe(epochs=1)), folder, tmp_path / "out")
    heard = capsys.readouterr()
    assert (heard.out + heard.err).count(told) == 1


def test_hidden_files_are_no_data_in_shards_nor_are_hidden_shards(tmp_path: Path) -> None:
    """And a member called ./NAME, as tar writes it of a folder, is not hidden."""
    folder = pictures.shards(pictures.folders(tmp_path / "folders"), tmp_path / "shards")
    before = len(sources.find(folder).train)
    with tarfile.open(folder / "train-0000.tar", "a") as archive:
        for name in ("._more.jpg", "__MACOSX/more.jpg", ".hidden/more.jpg"):
            pictures._add(archive, name, b"no image")
        pictures._add(archive, "./plain.jpg", _file(pictures.image(0, 99), "JPEG"))
        pictures._add(archive, "./plain.cls", b"0")
    (folder / "._train-0000.tar").write_bytes(b"no tar file")
    assert len(sources.find(folder).train) == before + 1


def test_a_data_folder_below_a_hidden_one_is_read(tmp_path: Path) -> None:
    folder = pictures.folders(tmp_path / ".data")
    assert len(data.load(image_space("image_folder", 4, search_val=0.25, report_val=0.25), folder).train) == 16
    assert len(sources.find(folder).train) == 32


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".jfif", "JPEG"), (".JPE", "JPEG"), (".gif", "GIF"), (".pbm", "PPM"), (".pnm", "PPM")]
)
def test_other_suffixes_that_pillow_reads_are_images(tmp_path: Path, suffix: str, kind: str) -> None:
    folder = pictures.folders(tmp_path / "folders")
    content = _file(pictures.image(0, 5000).convert("1" if suffix == ".pbm" else "RGB"), kind)
    (folder / "train" / "class0000" / f"x{suffix}").write_bytes(content)
    splits = data.load(image_space("image_folder", 4, search_val=0.25, report_val=0.25), folder)
    assert sum(map(len, (splits.train, splits.search_val, splits.report_val))) == 33
    assert len(sources.find(folder).train) == 33


def test_a_gif_shows_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (_RED, _BLUE)]
    content = _file(frames[0], "GIF", save_all=True, append_images=frames[1:])
    for pixels in _read(content, ".gif", tmp_path):
        assert (pixels == _RED).all()
