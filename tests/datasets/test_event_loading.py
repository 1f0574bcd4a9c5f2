"""The recordings of a search: three parts for any T, and nothing of the test."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nas.datasets import Images, event_loading, loaders, with_images
from nas.errors import DataError, SpaceError
from nas.settings import DataSettings
from nas.spaces import SearchSpace, load_space
from tests import event_folders


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return event_folders.folders(tmp_path / "data")


@pytest.fixture
def space(tmp_path: Path) -> SearchSpace:
    return load_space(event_folders.space(tmp_path))


def _changed(tmp_path: Path, before: str, after: str) -> Path:
    assert before in event_folders.SPACE
    return event_folders.space(tmp_path, event_folders.SPACE.replace(before, after))


def test_all_time_steps_of_a_space_are_found(tmp_path: Path) -> None:
    path = _changed(tmp_path, "[data]", "[references]\nlong = { time_steps = 3, residual = 'ms' }\n\n[data]")
    assert event_loading.time_steps_of(load_space(path)) == [2, 3]
    assert event_loading.time_steps_of(load_space("spikformer_tiny")) == [1, 2, 4]


def test_three_parts_for_each_number_of_time_steps(space: SearchSpace, data: Path) -> None:
    """20 recordings of each of two classes; events of "left" lie in the left half of the sensor."""
    splits = loaders.load(space, data)
    sizes = [(len(part), part.labels.sum().item()) for part in (splits.train, splits.search_val, splits.report_val)]
    assert sizes == [(24, 12), (8, 4), (8, 4)]
    for time_steps in (2, 3, 5):
        at = splits.at(time_steps)
        for part, first in ((at.train, splits.train), (at.search_val, splits.search_val)):
            assert part.images.shape == (len(first), time_steps, 2, 8, 8)
            assert torch.equal(part.labels, first.labels)
            assert (part.images.sum((1, 2, 3, 4)) == 60).all()
            assert torch.equal(part.images.sum((1, 2)), first.images.sum((1, 2)))  # the same recordings
            on_the_left = part.images[..., :4].sum((1, 2, 3, 4)) == 60
            assert torch.equal(on_the_left, part.labels == 0)
    assert splits.at(2) is splits


def test_the_test_is_neither_read_nor_needed(space: SearchSpace, data: Path) -> None:
    before = loaders.load(space, data).fingerprint
    for path in (data / "test").rglob("*.npz"):
        path.write_bytes(b"damaged")
    assert loaders.load(space, data).fingerprint == before


def test_frames_are_made_for_all_time_steps_before_a_search_begins(space: SearchSpace, data: Path) -> None:
    """So that processes which train find them in the cache."""
    told: list[str] = []
    splits = loaders.load(space, data, on_progress=lambda what, _done, _total: told.append(what))
    assert told == ["reading recordings", "making frames, T = 2", "making frames, T = 3"]
    for path in (data / "train").rglob("*.npz"):
        path.touch()  # another time of change
    told.clear()
    assert loaders.load(space, data, on_progress=lambda what, _d, _t: told.append(what)).fingerprint == (
        splits.fingerprint
    )
    assert told == ["reading recordings", "making frames, T = 2", "making frames, T = 3"]


def test_the_simulated_digits_need_no_folder() -> None:
    splits = loaders.load(load_space("dvs_digits_tiny"))
    assert splits.classes == tuple("0123456789")
    assert splits.train.images.shape == (1079, 4, 2, 16, 16)
    assert [len(splits.search_val), len(splits.report_val)] == [359, 359]


def test_a_damaged_recording_is_named(space: SearchSpace, data: Path) -> None:
    path = data / "train" / "left" / "004.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"004\.npz"):
        loaders.load(space, data)


def test_other_classes_than_the_space_says_are_refused(space: SearchSpace, data: Path) -> None:
    (data / "train" / "middle").mkdir()
    np.savez(data / "train" / "middle" / "0.npz", **event_folders.events(0, 5))  # pyrefly: ignore[bad-argument-type]
    for i in range(4):
        np.savez(data / "train" / "middle" / f"{i}.npz", **event_folders.events(0, 500 + i))  # pyrefly: ignore[bad-argument-type]
    with pytest.raises(DataError, match=r"have 3 classes \(left, middle, right...\), but space events says"):
        loaders.load(space, data)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("stem.in_channels = 2", "stem.in_channels = 1", "must be 2 (the polarities of events) or 3"),
        ("sensor = [12, 12]", "sensor = [12]", "[12] must be a width and a height"),
        ("sensor = [12, 12]", 'split = "official"', '"official" is not a split of "event_folder". Remove it: train/'),
        ('"event_folder"', '"nmnist"', 'sensor: has no effect on "nmnist", whose sensor is known'),
        ('"event_folder"\nsensor = [12, 12]', '"cifar10dvs"\nsplit = "tebm"', 'Did you mean "tebn"?'),
        ('"event_folder"\nsensor = [12, 12]', '"dvs_digits"\nsplit = "all"', "report-val is what is tested on"),
        ('"event_folder"\nsensor = [12, 12]', '"cifar10"\nslicing = "time"', "must be 1 (grey) or 3 (colour)"),
        ('"event_folder"', '"events"', "dataset"),
    ],
)
def test_settings_that_do_not_fit_are_named_with_their_line(
    tmp_path: Path, before: str, after: str, words: str
) -> None:
    with pytest.raises(SpaceError) as refused:
        load_space(_changed(tmp_path, before, after))
    assert words in str(refused.value)
    assert ", line " in str(refused.value)


@pytest.mark.parametrize("setting", ['slicing = "time"', "resize_frames = true", 'split = "x"', "sensor = [3, 4]"])
def test_settings_of_recordings_have_no_effect_on_images(tmp_path: Path, setting: str) -> None:
    text = Path("search_spaces/spikformer_tiny.toml").read_text().replace("[data]", f"[data]\n{setting}")
    (tmp_path / "space.toml").write_text(text)
    with pytest.raises(SpaceError, match=r'has no effect on images, such as those of "digits". Remove it'):
        load_space(tmp_path / "space.toml")


def test_moves_of_frames_have_no_place_on_images(tmp_path: Path) -> None:
    text = Path("search_spaces/spikformer_tiny.toml").read_text().replace('"shift"', '"event_wide"')
    (tmp_path / "space.toml").write_text(text)
    with pytest.raises(SpaceError, match=r'"event_wide" moves frames of events, but "digits" has images'):
        load_space(tmp_path / "space.toml")


def test_identities_of_images_do_not_know_of_recordings() -> None:
    """Studies that were made before stay the same."""
    assert set(load_space("spikformer_tiny").identity()["data"]) == {"dataset", "search_val", "report_val", "classes"}
    assert load_space("dvs_digits_tiny").identity()["data"]["slicing"] == "number"


@pytest.mark.parametrize("recorded", [{"sensor": [346, 260]}, {"sensor": (346, 260)}])
def test_recorded_settings_are_read_back(recorded: dict[str, object]) -> None:
    other = {"images": "0123456789ab", "seed": 3, "dataset": "event_folder"}
    assert DataSettings.of(recorded | other) == DataSettings("event_folder", sensor=(346, 260))
    with pytest.raises(TypeError, match='"slicing" is'):
        DataSettings.of({"slicing": "halves"})


def test_a_folder_has_no_effect_on_what_is_bundled(tmp_path: Path) -> None:
    for name in ("digits", "dvs_digits"):
        space = load_space("spikformer_tiny" if name == "digits" else "dvs_digits_tiny")
        with pytest.raises(DataError, match=r"Leave --data-dir /.* out"):
            loaders.load(space, tmp_path)


def test_images_do_not_take_the_place_of_recordings(space: SearchSpace) -> None:
    pairs = [(np.zeros((8, 8), np.uint8), i % 2) for i in range(20)]
    with pytest.raises(DataError, match="is on recordings of events"):
        with_images(space, Images(pairs))
