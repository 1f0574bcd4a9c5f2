"""Images that are given in Python: held to the other ways in, which read the same pixels from elsewhere."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

import nas
from nas import files
from nas.datasets import digits
from nas.datasets import loaders as data
from nas.errors import DataError, StudyError
from nas.progress import Observer
from nas.spaces import load_space
from tests import pictures
from tests.datasets.test_loaders import image_space

Pairs = list[tuple[Any, Any]]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _digits(first: int = 0, last: int | None = None) -> Pairs:
    pixels, labels = digits.images()
    return list(zip(pixels[first:last], labels.tolist()[first:last], strict=True))


@pytest.mark.parametrize(
    "as_given",
    [
        lambda pixels: pixels,
        lambda pixels: pixels[..., None],
        Image.fromarray,
        lambda pixels: Image.fromarray(pixels).convert("RGB"),
        lambda pixels: torch.from_numpy(pixels)[None],
        lambda pixels: torch.from_numpy(pixels)[None].float() / 255,
        lambda pixels: (pixels / 255).astype(np.float64),
    ],
    ids=["array", "array with channels", "PIL", "PIL in colour", "tensor", "float tensor", "float array"],
)
def test_every_kind_of_image_gives_the_pixels_of_the_bundled_digits(as_given: Any) -> None:
    """Also their cut and their fingerprint: it is a hash of the content, whichever way it came."""
    space = image_space("digits", 10, in_channels=1, search_val=0.2, report_val=0.1)
    theirs = data.load(space)
    mine = data.load(space, images=nas.Images([(as_given(pixels), label) for pixels, label in _digits()]))
    for part in ("train", "search_val", "report_val"):
        assert torch.equal(getattr(mine, part).images, getattr(theirs, part).images)
        assert torch.equal(getattr(mine, part).labels, getattr(theirs, part).labels)
    assert mine.fingerprint == theirs.fingerprint
    assert mine.classes == tuple("0123456789")


def test_sizes_and_colours_are_fitted_as_those_of_class_folders(tmp_path: Path) -> None:
    folder = pictures.folders(tmp_path / "folder", classes=3, train=12, size=(20, 18))
    space = image_space("image_folder", 3, image_size=16)
    theirs = data.load(space, folder)
    paths = sorted((folder / "train").rglob("*.jpg"))
    opened = [(Image.open(path), int(path.parent.name[-4:])) for path in paths]
    mine = data.load(image_space("images", 3, image_size=16), images=nas.Images(opened))
    assert torch.equal(mine.train.images, theirs.train.images)
    assert mine.fingerprint == theirs.fingerprint
    assert [line for line in mine.account if "Resized" in line] == [
        line for line in theirs.account if "Resized" in line
    ]


def test_floats_become_whole_numbers_by_one_rule() -> None:
    """By hand: 0, 0.1, 0.5 and 1 times 255 are 0, 25.5, 127.5 and 255; halves go to the even neighbour."""
    image = torch.tensor([[0.0, 0.1], [0.5, 1.0]])
    space = image_space("images", 1, image_size=2, in_channels=1, search_val=0.34, report_val=0.33)
    given = [(image + torch.tensor([[i / 255, 0], [0, 0]]), 0) for i in range(3)]
    splits = data.load(space, images=nas.Images(given))
    everything = torch.cat([splits.train.images, splits.search_val.images, splits.report_val.images])
    assert sorted(everything[:, 0].flatten(1).tolist()) == [[i, 26, 128, 255] for i in range(3)]


def test_parts_that_are_given_stay_whole_and_others_are_cut_by_the_shares() -> None:
    """Of 1,000 training digits a fifth is 200 and a tenth 100."""
    space = image_space("images", 10, in_channels=1, search_val=0.2, report_val=0.1)
    train, val, report = _digits(0, 1000), _digits(1000, 1400), _digits(1400)
    sizes = {
        name: [len(part) for part in (splits.train, splits.search_val, splits.report_val)]
        for name, splits in {
            "train": data.load(space, images=nas.Images(train)),
            "val": data.load(space, images=nas.Images(train, val)),
            "report": data.load(space, images=nas.Images(train, report_val=report)),
            "both": data.load(space, images=nas.Images(train, val, report)),
        }.items()
    }
    assert sizes == {
        "train": [700, 200, 100],
        "val": [900, 400, 100],
        "report": [800, 200, 397],
        "both": [1000, 400, 397],
    }
    fingerprints = {
        data.load(space, images=nas.Images(*parts)).fingerprint  # pyrefly: ignore[bad-argument-type]
        for parts in ((train,), (train, val), (train, None, val), (train, val, report), (train, report, val))
    }
    assert len(fingerprints) == 5  # the same images in other parts are other data


def test_an_image_of_an_earlier_part_is_left_out_of_a_later_one() -> None:
    space = image_space("images", 10, in_channels=1)
    train, val, report = _digits(0, 1000), _digits(1000, 1400), _digits(1400)
    splits = data.load(space, images=nas.Images(train, val + train[:5], report + train[5:7] + val[:3]))
    assert [len(splits.search_val), len(splits.report_val)] == [400, 397]
    assert "were left out: 10" in " ".join(splits.account)


def test_classes_are_named_by_the_user_by_the_data_set_or_by_labels(tmp_path: Path) -> None:
    class Named(Dataset[tuple[Image.Image, int]]):
        classes = ("cat", "dog", "owl")

        def __len__(self) -> int:
            return 30

        def __getitem__(self, i: int) -> tuple[Image.Image, int]:
            return pictures.image(i % 3, i, (8, 8)), i % 3

    space = image_space("images", 3)
    assert data.load(space, images=nas.Images(Named())).classes == ("cat", "dog", "owl")
    assert data.load(space, images=nas.Images(Named(), classes=["a", "b", "c"])).classes == ("a", "b", "c")
    bare = [Named()[i] for i in range(30)]
    assert data.load(space, images=nas.Images(bare)).classes == ("0", "1", "2")


def _grey(count: int = 30, classes: int = 3) -> Pairs:
    return [(np.full((8, 8), i, np.uint8), i % classes) for i in range(count)]


def _first(image: Any, label: Any = 0) -> Pairs:
    return [(image, label), *_grey()]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (_first(np.full((8, 8), 2.5)), r"train, image 0 has floats from 2.5 to 2.5. They must be from 0 to 1"),
        (_first(torch.full((1, 8, 8), -0.5)), r"train, image 0 has floats from -0.5 to -0.5"),
        (_first(np.full((8, 8), np.nan)), r"train, image 0 has floats from nan to nan"),
        (_first(np.zeros((8, 8), np.int64)), r"train, image 0 has values of type int64. Convert it to uint8"),
        (_first(Image.new("I;16", (8, 8))), r"train, image 0 is not a readable image .*more than 8 bits per channel"),
        (
            _first(np.zeros((3, 8, 8), np.uint8)),
            r"the shape \[3, 8, 8\]. A ndarray must be \[H, W, C\] or \[H, W\]",
        ),
        (_first(torch.zeros(8, 8, 3, dtype=torch.uint8)), r"A Tensor must be \[C, H, W\] or \[H, W\], with 1, 3 or 4"),
        (_first("cat.png"), r"train, image 0 is a str. Give a PIL image, a tensor or a numpy array"),
        (_first(np.zeros((8, 8), np.uint8), 0.0), r"train, image 0: the label 0.0 is not a whole number"),
        (_first(np.zeros((8, 8), np.uint8), True), r"train, image 0: the label True is not a whole number"),
        (_first(np.zeros((8, 8), np.uint8), "cat"), r"train, image 0: the label 'cat' is not a whole number"),
        (_first(np.zeros((8, 8), np.uint8), -1), r"train, image 0: the label -1 is not a class"),
        (_first(np.zeros((8, 8), np.uint8), 10**9), r"train has no image of class 3. Number the classes from 0 on"),
        ([{"image": 1, "label": 2}], r"train, image 0: the data set gives a dict, not a pair \(image, label\)"),
        (_grey(30, 4), r"the images have 4 classes \(0, 1, 2, 3...\), but space .* says head.num_classes = 3"),
        (_grey(4), r"train: class 1 has 1 image, but train, search-val and report-val each need at least one"),
    ],
)
def test_what_is_no_image_and_no_label_is_refused(given: Pairs, message: str) -> None:
    with pytest.raises(DataError, match=message):
        data.load(image_space("images", 3), images=nas.Images(given))


def test_parts_that_cannot_be_are_refused(tmp_path: Path) -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            yield 0

    space = image_space("images", 3)
    with pytest.raises(DataError, match=r"val is a Stream, which has no length or no items by number"):
        nas.Images(_grey(), Stream())  # pyrefly: ignore[bad-argument-type]  # which is the point
    with pytest.raises(DataError, match=r"report_val has no images"):
        nas.Images(_grey(), report_val=[])
    with pytest.raises(DataError, match=r"val has no image of class 2 that the parts before it do not have"):
        data.load(space, images=nas.Images(_grey(), [(np.full((8, 8), 200 + i, np.uint8), i) for i in range(2)]))
    with pytest.raises(
        DataError, match=r"report_val is 0.1 of 20 training images, 2, but .* Set the share in \[data\]"
    ):
        data.load(space, images=nas.Images(_grey(20), _grey(60)[30:]))
    with pytest.raises(DataError, match=r"label 2 has no name: 2 classes are named"):
        data.load(space, images=nas.Images(_grey(), classes=["a", "b"]))
    with pytest.raises(TypeError):
        nas.Images(_grey(), test=_grey())  # pyrefly: ignore[unexpected-keyword]  # a search takes no test images


def test_random_augmentation_is_noticed() -> None:
    class Noisy(Dataset[tuple[torch.Tensor, int]]):
        def __len__(self) -> int:
            return 30

        def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
            return torch.rand(3, 8, 8), i % 3

    with pytest.raises(DataError, match=r"train, image 0 differs when it is read twice. Leave random augmentation out"):
        data.load(image_space("images", 3), images=nas.Images(Noisy()))


def test_the_cache_has_what_was_given_and_damage_is_noticed() -> None:
    space = image_space("images", 10, in_channels=1, search_val=0.2, report_val=0.1)
    given = data.load(space, images=nas.Images(_digits(0, 1000), _digits(1000), classes=list("abcdefghij")))
    again = data.load(space, fingerprint=given.fingerprint)
    assert torch.equal(again.report_val.images, given.report_val.images)
    assert again.classes == tuple("abcdefghij")
    assert again.account == given.account
    (path,) = files.cache_folder().glob("given-*.safetensors")
    content = bytearray(path.read_bytes())
    content[-100] ^= 1  # a pixel or a label
    path.write_bytes(content)
    for damage in (lambda: None, lambda: path.write_bytes(b"no tensors"), path.unlink):
        damage()
        with pytest.raises(
            DataError, match=r"They are not in the cache .* Give them again in Python, as data=nas.Images"
        ):
            data.load(space, fingerprint=given.fingerprint)
    with pytest.raises(DataError, match=r'is "images", but no images were given. Give images in Python'):
        data.load(space)


@pytest.mark.exhaustive
def test_a_study_of_given_images_goes_on_with_the_same_ones_alone(micro: Path, tmp_path: Path) -> None:
    """Resumed, repeated with more seeds from the cache, and refused with other images, or without any."""
    results, train = tmp_path / "results", _digits()

    def search(trials: int, pairs: Pairs | None, **settings: Any) -> nas.Study:
        given = None if pairs is None else nas.Images(pairs)
        return nas.search(micro, trials, data=given, results_dir=results, observer=Observer(), **settings)

    theirs = nas.search(micro, 2, results_dir=tmp_path / "theirs", observer=Observer())
    study = search(2, train)
    assert study.identity["data.dataset"] == "images"
    assert study.identity["data.images"] == theirs.identity["data.images"]
    mine = [(c.config_id, c.search_val_accuracy, c.energy_mj) for c in study.candidates.values()]
    assert mine == [(c.config_id, c.search_val_accuracy, c.energy_mj) for c in theirs.candidates.values()]
    assert len(search(3, train).candidates) == 3

    with pytest.raises(StudyError, match=r"made with other settings \(data.images "):
        search(4, train[1:])
    with pytest.raises(StudyError, match=r'data.dataset "images" -> "digits"'):
        search(4, None)
    with pytest.raises(DataError, match=r'"data" and "data_dir" .* are two sources of images'):
        search(4, train, data_dir=tmp_path)
    with pytest.raises(DataError, match=r"data is a list. Give data=nas.Images"):
        nas.search(micro, 1, data=train)  # pyrefly: ignore[bad-argument-type]  # which is the point

    nas.confirm(study, 1, 1, observer=Observer())
    for path in files.cache_folder().glob("given-*"):
        path.unlink()
    with pytest.raises(DataError, match=r"study micro was searched on images that were given in Python"):
        nas.confirm(study, 2, 1, observer=Observer())
    with pytest.raises(DataError, match=r"the given images are \w+. Give those of the search, as data=nas.Images"):
        nas.confirm(study, 2, 1, data=nas.Images(train[1:]), observer=Observer())
    nas.confirm(study, 2, 1, data=nas.Images(train), observer=Observer())
    assert nas.report(study).repeats is not None


@pytest.mark.exhaustive
def test_workers_train_on_given_images_that_no_process_could_be_sent(micro: Path, tmp_path: Path) -> None:
    """A data set of a class within a function cannot be pickled; its pixels are sent."""

    class Own(Dataset[tuple[np.ndarray[Any, Any], int]]):
        pairs = _digits()

        def __len__(self) -> int:
            return len(self.pairs)

        def __getitem__(self, i: int) -> tuple[np.ndarray[Any, Any], int]:
            return self.pairs[i]

    study = nas.search(
        micro, 2, data=nas.Images(Own()), workers=2, device="cpu", results_dir=tmp_path, observer=Observer()
    )
    assert len(study.candidates) == 2


@pytest.mark.exhaustive  # a search and a confirmation on given images are in CI
def test_a_proxy_is_validated_on_given_images(micro: Path, tmp_path: Path) -> None:
    space = dataclasses.replace(load_space(micro), references={})
    asked: dict[str, Any] = {"configs": 6, "replicates": 0, "shares": (0.5,), "results_dir": tmp_path}
    validation = nas.validate_proxy(space, data=nas.Images(_digits()), observer=Observer(), **asked)
    assert [len(records) for records in validation.trained.values()] == [6, 6]
    own = dataclasses.replace(space, data=dataclasses.replace(space.data, dataset="images"))
    with pytest.raises(DataError, match=r"no images were given"):
        nas.validate_proxy(own, observer=Observer(), **asked)
