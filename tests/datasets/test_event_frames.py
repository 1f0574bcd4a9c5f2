"""Frames in the cache: made once for each T, of exactly these recordings."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from nas import events, files
from nas.datasets.event_frames import CutFrames, FrameSource
from nas.errors import DataError, OutputError
from nas.events import formats
from nas.settings import DataSettings
from tests import event_folders as recordings

SETTINGS = DataSettings("event_folder", sensor=(12, 12))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path: Path) -> FrameSource:
    return FrameSource(SETTINGS, str(recordings.folders(tmp_path / "data", train=3)), 8)


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on no recording can be read."""

    def refuse(*_arguments: object, **_settings: object) -> None:
        raise AssertionError("a recording was read")

    monkeypatch.setattr(formats, "read", refuse)


def test_frames_are_those_of_each_recording_by_a_plain_loop(source: FrameSource) -> None:
    frames, saturated = source.frames(2)
    assert frames.shape == (6, 2, 2, 8, 8)
    assert frames.dtype == torch.uint8
    assert saturated.tolist() == [0] * 6
    for i in range(6):
        expected = np.zeros((2, 2, 8, 8), np.uint8)
        made = recordings.events(*divmod(i, 3))
        for k in range(60):
            expected[k // 30, made["p"][k], made["y"][k] * 8 // 12, made["x"][k] * 8 // 12] += 1
        assert np.array_equal(frames[i].numpy(), expected)


def test_what_is_in_the_cache_is_not_read_again(source: FrameSource, request: pytest.FixtureRequest) -> None:
    listing, (frames, _) = source.listing(), source.frames(2)
    request.getfixturevalue("unread")
    assert source.listing().fingerprint == listing.fingerprint
    assert torch.equal(source.frames(2)[0], frames)
    with pytest.raises(AssertionError, match="was read"):
        source.frames(3)


def test_a_damaged_file_in_the_cache_is_made_anew(source: FrameSource) -> None:
    frames, listing = source.frames(2)[0], source.listing()
    for path in files.cache_folder().glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:50])
    assert torch.equal(source.frames(2)[0], frames)
    assert source.listing().fingerprint == listing.fingerprint


@pytest.mark.parametrize(
    "change", [{"slicing": "time"}, {"resize_frames": True}], ids=lambda change: next(iter(change))
)
def test_settings_of_frames_have_files_of_their_own(source: FrameSource, change: dict[str, object]) -> None:
    before = source.frames(2)[0]
    other = dataclasses.replace(source, settings=dataclasses.replace(SETTINGS, **change))  # pyrefly: ignore[bad-argument-type]
    after = other.frames(2)[0]
    assert after.shape[-1] == (12 if "resize_frames" in change else 8)
    assert int(before.sum()) == int(after.sum()) == 6 * 60
    assert before.shape != after.shape or not torch.equal(before, after)
    assert torch.equal(source.frames(2)[0], before)


def test_another_recording_makes_other_data(source: FrameSource) -> None:
    before = source.listing()
    path = Path(str(source.data_dir)) / "train" / "left" / "000.npz"
    np.savez(path, **recordings.events(0, 77))  # pyrefly: ignore[bad-argument-type]
    assert source.listing().fingerprint != before.fingerprint
    assert source.frames(2)[0].sum() == 6 * 60


def test_copies_are_known_by_their_events(source: FrameSource) -> None:
    """The file is written anew, under another name and with its arrays in another order."""
    made = recordings.events(0, 1)
    train = Path(str(source.data_dir)) / "train"
    np.savez_compressed(train / "left" / "900.npz", p=made["p"], y=made["y"], x=made["x"], t=made["t"])
    listing = source.listing()
    assert listing.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert listing.same.tolist() == [0, 1, 2, 1, 4, 5, 6]
    assert listing.counts.tolist() == [60] * 7


def test_frames_that_a_file_holds_are_recordings_too(tmp_path: Path) -> None:
    for label, name in enumerate(recordings.CLASSES):
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
        counts = np.full((3, 2, 12, 12), label + 1)
        np.savez(tmp_path / "data" / "train" / name / "a.npz", frames=counts)
    source = FrameSource(SETTINGS, str(tmp_path / "data"), 6)
    assert source.listing().counts.tolist() == [3 * 2 * 144, 2 * 3 * 2 * 144]
    assert source.frames(3)[0].unique().tolist() == [4, 8]
    with pytest.raises(DataError, match="holds 3 frames, but 2 time steps are asked for"):
        source.frames(2)


def test_a_network_larger_than_the_sensor_is_refused(source: FrameSource) -> None:
    with pytest.raises(DataError, match=r"takes frames of 16 x 16 pixels, but the sensor has only 12 x 12. Set stem"):
        dataclasses.replace(source, image_size=16).frames(2)


def test_a_cache_that_cannot_be_written_is_an_error(source: FrameSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes read frames from there."""
    Path(str(source.data_dir), "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path(str(source.data_dir), "file")))
    with pytest.raises(OutputError):
        source.frames(2)


def test_parts_are_the_same_recordings_for_every_t(source: FrameSource) -> None:
    labels = source.listing().labels
    cut = CutFrames(source, labels, (np.array([0, 4]), np.array([1, 3]), np.array([2, 5])))
    for time_steps in (2, 5):
        frames, _ = source.frames(time_steps)
        parts = cut.splits(time_steps, torch.device("cpu"))
        assert [part.labels.tolist() for part in parts] == [[0, 1]] * 3
        for part, numbers in zip(parts, cut.parts, strict=True):
            assert torch.equal(part.images, frames[numbers])


def test_train_alone_is_opened(source: FrameSource) -> None:
    folder = Path(str(source.data_dir))
    for path in (folder / "test").rglob("*.npz"):
        path.write_bytes(b"damaged")
    assert len(source.listing().labels) == 6
    tested = dataclasses.replace(source, part="test")
    with pytest.raises(DataError):
        tested.listing()


def test_names_of_splits_are_those_of_the_room_for_events() -> None:
    from nas.settings import EVENT_DATASETS, EVENT_SPLITS

    assert set(EVENT_DATASETS) == set(events.SPLITS)
    assert {name: tuple(events.SPLITS[name]) for name in EVENT_SPLITS} == EVENT_SPLITS
