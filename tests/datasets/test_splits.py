"""The cut of a search's images: no copy on two sides, every class in every part, nothing else than before."""

import hashlib
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.model_selection import train_test_split

from nas.datasets import loaders as data
from nas.datasets import splits
from nas.datasets.splits import Copies, Cut, Split
from nas.errors import DataError
from nas.settings import DataSettings
from tests.datasets.test_loaders import draw, image_space

_NAMES = tuple(f"c{label:03}" for label in range(300))


def _numbered(per_class: list[int]) -> Split:
    """Different images: each holds its number."""
    labels = torch.repeat_interleave(torch.arange(len(per_class)), torch.tensor(per_class))
    numbers = np.arange(len(labels), dtype="<u4").view(np.uint8).reshape(-1, 1, 2, 2)
    return Split(torch.from_numpy(numbers.copy()), labels)


def _cut(source: Split, search_val: float = 0.1, report_val: float = 0.1, seed: int = 0, train_images: int = 0) -> Cut:
    settings = DataSettings("image_folder", search_val, report_val)
    return splits.cut(source, None, settings, _NAMES, "photos", seed, train_images)


def _parts(cut: Cut) -> tuple[Split, Split, Split]:
    return cut.train, cut.search_val, cut.report_val


def _counts(cut: Cut, classes: int) -> list[list[int]]:
    return [torch.bincount(part.labels, minlength=classes).tolist() for part in _parts(cut)]


def _pixels(part: Split) -> list[bytes]:
    return [image.numpy().tobytes() for image in part.images]


def test_without_copies_and_rare_classes_the_cut_is_scikit_learns() -> None:
    """The cut that all studies so far were made with."""
    source = _numbered([70, 50, 80])
    labels = source.labels.numpy()
    search, rest = train_test_split(np.arange(200), train_size=20, stratify=labels, random_state=7)
    report, train = train_test_split(rest, train_size=20, stratify=labels[rest], random_state=7)
    cut = _cut(source, seed=7)
    assert cut.plain
    assert cut.copies == Copies()
    for part, indices in zip(_parts(cut), (train, search, report), strict=True):
        assert torch.equal(part.images, source.images[np.sort(indices)])
        assert torch.equal(part.labels, source.labels[np.sort(indices)])


def test_a_rare_class_is_in_every_part() -> None:
    """By hand: 22 of 224 images; shares 19.6, 2.0 and 0.4, where 0.4 becomes 1 and 19.6 gives up for it."""
    for seed in range(5):
        cut = _cut(_numbered([200, 20, 4]), seed=seed)
        assert _counts(cut, 3) == [[162, 16, 2], [19, 2, 1], [19, 2, 1]]
        assert not cut.plain
        assert len({*_pixels(cut.train), *_pixels(cut.search_val), *_pixels(cut.report_val)}) == 224


def test_search_val_leaves_enough_of_a_rare_class_for_the_two_other_parts() -> None:
    """By hand: 55 and 11 of 112 images; a rare class's 1.47 of 3 for search-val must not become 2."""
    for seed in range(5):
        cut = _cut(_numbered([100, 3, 3, 3, 3]), 0.49, 0.1, seed)
        assert _counts(cut, 5) == [[42, 1, 1, 1, 1], [51, 1, 1, 1, 1], [7, 1, 1, 1, 1]]


def test_a_rare_class_is_in_the_images_that_a_proxy_trains_on() -> None:
    cut = _cut(_numbered([200, 20, 4]), train_images=12)
    assert len(cut.train) == 12
    assert min(_counts(cut, 3)[0]) == 1


@pytest.mark.parametrize("copies", [2, 7])
def test_copies_are_on_one_side(copies: int) -> None:
    """Of 300 images, half of them copies that many times: by brute force no two parts share one."""
    generator = np.random.default_rng(copies)
    kinds = _numbered([100, 60, 40])
    chosen = np.concatenate([np.arange(200), generator.permutation(np.repeat(generator.permutation(200)[:60], copies))])
    source = Split(kinds.images[chosen], kinds.labels[chosen])
    for seed in range(5):
        cut = _cut(source, seed=seed)
        train, search, report = (set(_pixels(part)) for part in _parts(cut))
        assert len(train) + len(search) + len(report) == 200
        assert len(train | search | report) == 200
        assert sum(map(len, _parts(cut))) == len(source)
        assert abs(len(cut.search_val) - len(source) / 10) <= 3 * copies
        assert cut.copies == Copies(60 * copies, 60, 0, 0)
        assert min(map(min, _counts(cut, 3))) >= 1


def test_many_copies_of_one_image_do_not_become_the_judge() -> None:
    """50 of 60 images of a class are one: they are trained on, and other images judge."""
    kinds = _numbered([11, 60])
    chosen = torch.tensor([0] * 50 + list(range(1, 71)))
    for seed in range(5):
        cut = _cut(Split(kinds.images[chosen], kinds.labels[chosen]), seed=seed)
        assert _pixels(cut.train).count(kinds.images[0].numpy().tobytes()) == 50


def test_copies_with_other_labels_are_counted_and_on_one_side() -> None:
    source = _numbered([20, 20])
    images = source.images.clone()
    images[[20, 21]] = images[[0, 1]]
    images[39] = images[38]
    cut = _cut(Split(images, source.labels))
    assert cut.copies == Copies(3, 3, 2, 0)
    assert sum(len(set(_pixels(part))) for part in _parts(cut)) == 37


def test_copies_are_found_by_brute_force() -> None:
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.integers(0, 2, (60, 1, 2, 2), dtype=np.uint8))
    expected = [min(j for j in range(60) if torch.equal(images[i], images[j])) for i in range(60)]
    assert splits.first_alike(images).tolist() == expected


def test_fifty_thousand_cifar_images_are_compared_in_a_second_or_two() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (50_000, 3, 32, 32), dtype=np.uint8))
    started = time.process_time()
    assert splits.first_alike(images)[-1] == 49_999
    assert time.process_time() - started < 4


def test_many_small_classes_are_refused_with_the_share_needed() -> None:
    """300 classes of 4 images: 300 of 1200 is 0.25."""
    with pytest.raises(
        DataError,
        match=r"photos: search_val = 0\.1 of 1200 images is 120, fewer than the 300 classes.*class c000 has 4 in all"
        r".*Set \[data\] search_val to at least 0\.25$",
    ):
        _cut(_numbered([4] * 300))
    with pytest.raises(DataError, match=r"report_val = 0\.1 of 1200 .* Set \[data\] report_val to at least 0\.25$"):
        _cut(_numbered([4] * 300), search_val=0.25)
    assert _counts(_cut(_numbered([4] * 300), 0.25, 0.25), 300) == [[2] * 300, [1] * 300, [1] * 300]


@pytest.mark.parametrize("classes", [7, 400])
def test_the_share_that_is_asked_for_suffices(classes: int) -> None:
    """Of classes of 3 images each part gets one."""
    names = tuple(map(str, range(classes)))
    settings = DataSettings("image_folder", 0.01, 0.3334)
    with pytest.raises(DataError, match=r"search_val to at least 0\.3334$"):
        splits.cut(_numbered([3] * classes), None, settings, names, "photos", 0)
    cut = splits.cut(_numbered([3] * classes), None, DataSettings("image_folder", 0.3334, 0.3334), names, "photos", 0)
    assert _counts(cut, classes) == [[1] * classes] * 3


def test_shares_that_leave_too_little_to_train_on_are_refused() -> None:
    with pytest.raises(DataError, match=r"leave 4 of 40 images to train on, fewer than the 5 classes"):
        _cut(_numbered([8] * 5), 0.5, 0.4)


def test_a_class_of_two_different_images_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"photos: class c001 has 2 different images, but train, search-val"):
        _cut(_numbered([20, 2]))
    kinds = _numbered([20, 2])
    again = torch.tensor([*range(22), 20, 21, 20])
    with pytest.raises(DataError, match=r"class c001 has 2 different images"):
        _cut(Split(kinds.images[again], kinds.labels[again]))


def test_a_validation_folder_does_not_hold_training_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 6 a class, 2 are in train/ too: 4 are left, halved."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    draw(tmp_path / "train", 10)
    draw(tmp_path / "val", 6, first=8)
    (tmp_path / "test").mkdir()
    loaded = data.load(image_space("image_folder", 3), tmp_path)
    assert [len(s) for s in (loaded.train, loaded.search_val, loaded.report_val)] == [30, 6, 6]
    assert not set(_pixels(loaded.train)) & {*_pixels(loaded.search_val), *_pixels(loaded.report_val)}
    draw(tmp_path / "more" / "train", 10)
    draw(tmp_path / "more" / "val", 6, first=5)
    (tmp_path / "more" / "test").mkdir()
    with pytest.raises(DataError, match=r"more: class cat has 1 image in val/ that train/ does not have"):
        data.load(image_space("image_folder", 3), tmp_path / "more")


def test_only_a_folder_with_copies_has_another_fingerprint_than_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was that of all images and labels; a study whose copies were cut apart must not go on with another cut."""

    def before() -> str:
        """Images in the order of their paths."""
        paths = sorted((tmp_path / "train").rglob("*.png"))
        images = b"".join(np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes() for path in paths)
        labels = np.array([["cat", "dog", "owl"].index(path.parent.name) for path in paths], np.int64)
        return hashlib.sha256(images + labels.tobytes()).hexdigest()[:12]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    draw(tmp_path / "train", 10)
    assert data.load(image_space("image_folder", 3), tmp_path).fingerprint == before()
    (tmp_path / "train" / "cat" / "again.png").symlink_to("000.png")
    assert data.load(image_space("image_folder", 3), tmp_path).fingerprint != before()


def test_a_split_of_frames_tells_its_time_steps() -> None:
    labels = torch.arange(3)
    frames = Split(torch.zeros(3, 4, 2, 8, 6, dtype=torch.uint8), labels)
    assert (frames.time_steps, frames.pixels, len(frames)) == (4, 48, 3)
    assert frames.take(np.array([2, 0])).images.shape == (2, 4, 2, 8, 6)
    images = Split(torch.zeros(3, 1, 8, 6, dtype=torch.uint8), labels)
    assert (images.time_steps, images.pixels) == (None, 48)


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 1, 4, 2, 8, 8), (4, 4, 2, 8, 8)])
def test_a_split_holds_images_or_frames_with_a_label_each(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"images \[n, C, H, W\] or frames \[n, T, C, H, W\] with a label each"):
        Split(torch.zeros(shape, dtype=torch.uint8), torch.arange(3))
