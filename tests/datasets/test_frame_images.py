"""What full training and its test are given of recordings."""

from pathlib import Path

import pytest
import torch

from nas.datasets import frame_images, loaders, overlap, sources
from nas.errors import DataError
from nas.settings import DataSettings
from nas.spaces import load_space
from spikformer.config import SpikformerConfig, StemConfig
from tests import event_folders

NETWORK = SpikformerConfig(time_steps=3, stem=StemConfig(in_channels=2, image_size=8))
SETTINGS = DataSettings("event_folder", sensor=(12, 12))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_all_of_train_and_all_of_test_as_frames_for_the_network(tmp_path: Path) -> None:
    data = event_folders.folders(tmp_path / "data", train=4, test=2)
    source = sources.find(data, "event_folder", cut=(SETTINGS, 0), network=NETWORK)
    assert (source.kind, source.test_part, source.classes) == ("events", "test", ("left", "right"))
    assert source.train.labels.tolist() == [0] * 4 + [1] * 4
    assert source.test.labels.tolist() == [0, 0, 1, 1]
    for part in (source.train, source.test):
        assert isinstance(part, frame_images.FrameImages)
        assert part.frames.shape == (len(part), 3, 2, 8, 8)
        assert part.content(1).sum() == 60
        assert part.runs.tolist() == [len(part)]
    assert source.test.name(3).endswith("test/right/1001.npz")
    assert overlap.in_words(source) == "No training recording is among the test recordings, event by event."


def test_a_recording_that_is_in_both_is_told(tmp_path: Path) -> None:
    data = event_folders.folders(tmp_path / "data", train=4, test=2)
    (data / "train" / "left" / "a.npz").write_bytes((data / "test" / "left" / "1000.npz").read_bytes())
    source = sources.find(data, "event_folder", cut=(SETTINGS, 0), network=NETWORK)
    words = overlap.in_words(source)
    assert words.startswith("Training recordings that are among the test recordings, event by event: 1 of 9.")
    assert "1 of the 4 test recordings (test), so the test accuracy is optimistic" in words


def test_the_simulated_digits_are_tested_on_what_chose_nothing() -> None:
    """Train and search-val of the search are trained on, report-val is the test: by their frames, the same ones."""
    space = load_space("dvs_digits_tiny")
    network = SpikformerConfig.from_dict(space.base)
    searched = loaders.load(space, seed=3)
    source = sources.find(None, "dvs_digits", cut=(space.data, 3), network=network)
    assert source.test_part == "report-val"
    assert isinstance(source.test, frame_images.FrameImages)
    assert isinstance(source.train, frame_images.FrameImages)
    assert torch.equal(source.test.frames, searched.report_val.images)
    both = torch.cat([searched.train.images, searched.search_val.images]).flatten(1).sum(1).sort().values
    assert torch.equal(source.train.frames.flatten(1).sum(1).sort().values, both)


def test_recordings_that_are_not_there_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="event_folder needs a data folder"):
        sources.find(None, "event_folder", cut=(SETTINGS, 0), network=NETWORK)
    with pytest.raises(DataError, match="does not exist"):
        sources.find(tmp_path / "nowhere", "event_folder", cut=(SETTINGS, 0), network=NETWORK)


def test_a_network_for_events_does_not_take_images(tmp_path: Path) -> None:
    """As that of a checkpoint, which does not say of which recordings its frames were."""
    with pytest.raises(DataError, match="takes frames of events, but nothing says of which recordings"):
        sources.find(tmp_path, "", network=NETWORK)
