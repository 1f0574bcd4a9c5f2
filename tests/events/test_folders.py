"""Recordings of one's own: classes, sensor, and an identity that changes with the files."""

import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from nas import events
from nas.errors import DataError
from tests import recordings

_SUFFIXES = (".npz", ".npy", ".bin")


def _folder(root: Path, parts: tuple[str, ...] = ("train", "test")) -> Path:
    for part in parts:
        for name in ("left", "right"):
            for number, suffix in enumerate(_SUFFIXES):
                recordings.write(root / part / name / f"{number}{suffix}", recordings.made(50, 12, 9, seed=number))
    return root


def test_a_folder_is_read_in_the_order_of_its_classes_and_names(tmp_path: Path) -> None:
    root = _folder(tmp_path)
    (root / "train" / "left" / "notes.txt").touch()
    (root / "train" / "left" / ".hidden.npz").touch()
    (root / "train" / ".git").mkdir()
    for part in ("train", "test"):
        found = events.find("event_folder", root, "", part)
        assert found.classes == ("left", "right")
        assert found.recordings.labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert found.recordings.groups.tolist() == list(range(6))
        assert found.recordings.name(4) == str(root / part / "right" / "1.npy")
        for i in range(6):
            assert recordings.events_of(found.recordings.recording(i)) == recordings.made(50, 12, 9, seed=i % 3)


def test_the_test_is_not_needed_for_training(tmp_path: Path) -> None:
    assert len(events.find("event_folder", _folder(tmp_path, ("train",)), "", "train").recordings) == 6


def test_the_sensor_is_that_of_the_training_recordings(tmp_path: Path) -> None:
    """The smallest that holds them; one of the test beyond it is refused, until the sensor is given."""
    root = _folder(tmp_path)
    made = [event for seed in range(3) for event in recordings.made(50, 12, 9, seed=seed)]
    size = max(x for _, x, _, _ in made) + 1, max(y for _, _, y, _ in made) + 1
    recordings.write(root / "test" / "left" / "0.npz", [(0, 14, 3, 1)])
    found = events.find("event_folder", root, "", "test")
    assert found.sensor == size
    with pytest.raises(DataError, match=r"test/left/0\.npz: 1 of 1 events lie outside the sensor"):
        found.recordings.recording(0)
    given = events.find("event_folder", root, "", "test", sensor=(20, 16))
    assert given.sensor == (20, 16)
    assert recordings.events_of(given.recordings.recording(0)) == [(0, 14, 3, 1)]


def test_frames_in_the_place_of_events_are_found_too(tmp_path: Path) -> None:
    for name in ("left", "right"):
        (tmp_path / "train" / name).mkdir(parents=True)
        np.savez(tmp_path / "train" / name / "0.npz", frames=np.ones((4, 2, 6, 8)))
    found = events.find("event_folder", tmp_path, "", "train")
    assert found.sensor == (8, 6)
    assert isinstance(found.recordings.recording(1), events.StoredFrames)


def test_the_digest_changes_with_the_files(tmp_path: Path) -> None:
    """With size, time of change, and the sensor that was given; not with where the program was started."""
    root = _folder(tmp_path)

    def digest(sensor: tuple[int, int] | None = None, folder: Path = root) -> str:
        return events.find("event_folder", folder, "", "train", sensor=sensor).recordings.digest()

    first = digest()
    assert digest() == first == digest(folder=Path(os.path.relpath(root)))
    digests = {first, digest((20, 20)), digest((30, 20))}
    state = (root / "train" / "left" / "0.npz").stat()
    os.utime(root / "train" / "left" / "0.npz", ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    digests.add(digest())
    recordings.write(root / "train" / "left" / "3.npz", recordings.made(5, 3, 3))
    digests.add(digest())
    assert len(digests) == 5
    found = events.find("event_folder", root, "", "train").recordings
    (root / "train" / "left" / "3.npz").unlink()
    with pytest.raises(DataError, match=r"3\.npz cannot be read"):
        found.digest()


def test_recordings_travel_to_other_processes(tmp_path: Path) -> None:
    found = events.find("event_folder", _folder(tmp_path), "", "train").recordings
    again = pickle.loads(pickle.dumps(found))
    assert recordings.events_of(again.recording(2)) == recordings.events_of(found.recording(2))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ([], "train has no class folders. Put recordings (.npz, .npy, .bin, .dat, .aedat, .aedat4) into"),
        (["train/left/a.npz", "test/left/a.txt"], "test/left has no recordings"),
        (["train/left/a.npz", "test/right/a.npz"], "test has the classes right, but"),
        (["train/left/a.npz"], "test has no class folders"),
    ],
)
def test_an_incomplete_folder_is_refused(tmp_path: Path, made: list[str], words: str) -> None:
    for path in made:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    with pytest.raises(DataError, match=re.escape(words)):
        events.find("event_folder", tmp_path, "", "test")
