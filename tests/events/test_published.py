"""Tiny copies of the four data sets, in the folders of the authors and in those of SpikingJelly."""

import hashlib
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nas import events
from nas.errors import DataError
from nas.events import spikingjelly_datasets
from tests import recordings

_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()


def _arrays(root: Path, folder: str, names: list[str], side: int = 34) -> None:
    for number, name in enumerate(names):
        made = recordings.made(6, side, side, seed=number)
        recordings.write(root / "events_np" / folder / f"{name}.npz", made)


def _cifar10dvs(root: Path, count: int = 11) -> Path:
    for name in _CIFAR10:
        _arrays(root, name, [f"cifar10_{name}_{number}" for number in [*range(count - 1), 100]], side=128)
    return root


def _gestures(root: Path, parts: tuple[str, ...] = ("train", "test")) -> Path:
    for part, users in (("train", ("01", "23")), ("test", ("24",))):
        for label in range(11) if part in parts else ():
            _arrays(root, f"{part}/{label}", [f"user{user}_led_{k}" for user in users for k in range(2)], side=128)
    return root


def _nmnist(root: Path) -> Path:
    for part in ("Train", "Test"):
        for digit in range(10):
            path = root / "extract" / part / str(digit) / f"0000{digit}.bin"
            recordings.write(path, recordings.made(9, 34, 34, seed=digit + 10 * (part == "Test")))
    return root


def _content(part: events.EventSet) -> list[tuple[str, int, list[recordings.Event]]]:
    held = part.recordings
    return [
        (Path(held.name(i)).name, int(held.labels[i]), recordings.events_of(held.recording(i)))
        for i in range(len(held))
    ]


def test_cifar10_dvs_is_cut_by_its_two_splits(tmp_path: Path) -> None:
    """Of 0 to 9 and 100: as text 100 comes behind 1 and 10, so that 9 is the last; TEBN trains on 100 alone."""
    root = _cifar10dvs(tmp_path)
    train, test = (events.find("cifar10dvs", root, "", part) for part in ("train", "test"))
    assert train.classes == tuple(_CIFAR10)
    assert train.sensor == (128, 128)
    assert np.bincount(train.recordings.labels).tolist() == [10] * 10
    assert [name for name, *_ in _content(test)] == [f"cifar10_{name}_9.npz" for name in _CIFAR10]
    tebn = events.find("cifar10dvs", root, "tebn", "train")
    assert [name for name, *_ in _content(tebn)] == [f"cifar10_{name}_100.npz" for name in _CIFAR10]
    assert np.unique(train.recordings.groups).size == len(train.recordings)


def test_links_that_spikingjelly_leaves_are_no_classes(tmp_path: Path) -> None:
    """Its TEBN class puts folders train and test beside the classes; its own labels are wrong from then on."""
    root = _cifar10dvs(tmp_path)
    for part in ("train", "test"):
        (root / "events_np" / part / "airplane").mkdir(parents=True)
    train = events.find("cifar10dvs", root, "", "train")
    assert train.classes[9] == "truck"
    assert train.recordings.labels.max() == 9


def test_gestures_are_numbered_as_by_their_authors(tmp_path: Path) -> None:
    """SpikingJelly numbers the folders as text: 0, 1, 10, 2, ..."""
    train, test = (events.find("dvs128gesture", _gestures(tmp_path / part), "official", part) for part in _PARTS)
    for part in (train, test):
        folders = [int(Path(part.recordings.name(i)).parent.name) for i in range(len(part.recordings))]
        assert part.recordings.labels.tolist() == folders
    assert Counter(train.recordings.groups.tolist()) == {1: 22, 23: 22}
    assert Counter(test.recordings.groups.tolist()) == {24: 22}
    assert (train.classes[0], train.classes[2], train.classes[10]) == (
        "hand clapping",
        "left hand wave",
        "other gestures",
    )
    assert len(train.classes) == 11


_PARTS: tuple[events.Part, ...] = ("train", "test")


def test_the_folder_of_the_test_is_not_opened_for_training(tmp_path: Path) -> None:
    root = _gestures(tmp_path, ("train",))
    assert len(events.find("dvs128gesture", root, "", "train").recordings) == 44
    with pytest.raises(DataError, match=r'holds no recordings of the class "hand clapping" for test'):
        events.find("dvs128gesture", root, "", "test")


def test_ncaltech101_has_its_folders_as_classes(tmp_path: Path) -> None:
    names = ["BACKGROUND_Google", "Faces_easy", *(f"class_{number:02}" for number in range(99))]
    for name in names:
        (tmp_path / "events_np" / name).mkdir(parents=True)
        for number in range(1, 11):
            (tmp_path / "events_np" / name / f"image_{number:04}.npz").touch()
    train, test = (events.find("ncaltech101", tmp_path, "", part) for part in _PARTS)
    assert train.classes == tuple(sorted(names))
    assert train.sensor == (240, 180)
    assert {Path(test.recordings.name(i)).name for i in range(101)} == {"image_0010.npz"}
    assert (len(train.recordings), len(test.recordings)) == (909, 101)
    shutil.rmtree(tmp_path / "events_np" / names[1])
    with pytest.raises(DataError, match="has 100 folders of classes, but N-Caltech101 has 101"):
        events.find("ncaltech101", tmp_path, "", "train")


def test_what_the_authors_publish_is_converted_once(tmp_path: Path) -> None:
    """Event by event; nothing but the recordings is left behind, and a second call reads them as they are."""
    root = _nmnist(tmp_path)
    for part in _PARTS:
        expected = [(f"0000{d}.npz", d, recordings.made(9, 34, 34, seed=d + 10 * (part == "test"))) for d in range(10)]
        assert _content(events.find("nmnist", root, "", part)) == expected
    assert sorted(path.name for path in root.iterdir() if path.suffix != ".lock") == ["events_np", "extract"]


def test_gestures_are_cut_out_of_their_recordings(tmp_path: Path) -> None:
    """By the tables beside them: a cut holds start <= t < end, and its class counts from 1."""
    folder = tmp_path / "extract" / "DvsGesture"
    made = recordings.made(220, 128, 128, t_last=1100)
    for name, part in (("user01_led", "train"), ("user24_led", "test")):
        recordings.write(folder / f"{name}.aedat", made)
        rows = [f"{label + 1},{label * 100},{label * 100 + 50}" for label in range(11)]
        (folder / f"{name}_labels.csv").write_text("\n".join(["class,startTime_usec,endTime_usec", *rows]))
        (folder / f"trials_to_{part}.txt").write_text(f"{name}.aedat\n")
    content = _content(events.find("dvs128gesture", tmp_path, "", "train"))
    cuts = [[event for event in made if label * 100 <= event[0] < label * 100 + 50] for label in range(11)]
    assert content == [("user01_led_0.npz", label, cuts[label]) for label in range(11)]


def test_cifar10_dvs_is_converted(tmp_path: Path) -> None:
    """From AEDAT 2.0, with big-endian times."""
    made = recordings.made(30, 128, 128)
    for name in _CIFAR10:
        path = tmp_path / "extract" / name / f"cifar10_{name}_0.aedat"
        path.parent.mkdir(parents=True)
        path.write_bytes(recordings.aedat2(made))
    content = _content(events.find("cifar10dvs", tmp_path, "", "train"))
    assert content == [(f"cifar10_{name}_0.npz", label, made) for label, name in enumerate(_CIFAR10)]


def _zipped(root: Path) -> dict[str, str]:
    """The archives of N-MNIST below `root/download`, and their MD5."""
    (root / "download").mkdir()
    for part in ("Train", "Test"):
        with zipfile.ZipFile(root / "download" / f"{part}.zip", "w") as archive:
            for path in sorted((root / "extract" / part).rglob("*.bin")):
                archive.write(path, path.relative_to(root / "extract"))
    shutil.rmtree(root / "extract")
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in (root / "download").iterdir()}


def test_archives_are_unpacked_and_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checksums = _zipped(_nmnist(tmp_path))
    monkeypatch.setattr(spikingjelly_datasets, "checksums", lambda _dataset: checksums)
    assert len(_content(events.find("nmnist", tmp_path, "", "train"))) == 10
    names = sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock")
    assert names == ["download", "events_np", "extract"]


def test_archives_that_are_not_the_authors_are_refused_and_left(tmp_path: Path) -> None:
    """SpikingJelly deletes them. These hold other recordings than the authors' ones, with other MD5s."""
    checksums = _zipped(_nmnist(tmp_path))
    words = rf"Train\.zip is damaged or not the authors' file: its MD5 is {checksums['Train.zip']} instead of 20959b8e"
    with pytest.raises(DataError, match=words):
        events.find("nmnist", tmp_path, "", "train")
    (tmp_path / "download" / "Train.zip").unlink()
    with pytest.raises(
        DataError, match=r"Train\.zip is missing. Download Train\.zip, Test\.zip from https://www\.garr"
    ):
        events.find("nmnist", tmp_path, "", "train")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.suffix != ".lock") == ["Test.zip", "download"]


def test_a_truncated_recording_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    root = _nmnist(tmp_path)
    path = root / "extract" / "Train" / "3" / "00003.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"Train/3/00003\.bin is truncated or of another format: 43 bytes"):
        events.find("nmnist", root, "", "train")
    assert sorted(path.name for path in root.iterdir() if path.suffix != ".lock") == ["extract"]


def test_an_unpacked_folder_of_another_layout_is_refused(tmp_path: Path) -> None:
    root = _nmnist(tmp_path)
    (root / "extract" / "Test").rename(root / "extract" / "test")
    with pytest.raises(
        DataError, match=r"extract cannot be made into .*events_np: FileNotFoundError.*files of N-MNIST"
    ):
        events.find("nmnist", root, "", "train")
    assert not (root / "events_np").exists()


def test_a_preparation_that_broke_off_is_told(tmp_path: Path) -> None:
    _gestures(tmp_path)
    (tmp_path / "events_np.building").touch()
    with pytest.raises(DataError, match=r"events_np\.building marks a preparation .* broke off\. Remove this file"):
        events.find("dvs128gesture", tmp_path, "", "train")


def test_no_data_tell_where_to_get_them(tmp_path: Path) -> None:
    words = (
        rf"{tmp_path} holds no CIFAR10-DVS: .*Download airplane\.zip, .*truck\.zip from https://figshare.*/download/"
    )
    with pytest.raises(DataError, match=words):
        events.find("cifar10dvs", tmp_path, "", "train")
    with pytest.raises(DataError, match=r"DvsGesture\.tar\.gz from https://ibm\.ent\.box\.com/.* into DIR/download/"):
        events.find("dvs128gesture", None, "", "train")


def test_a_recording_that_names_nobody_is_refused(tmp_path: Path) -> None:
    _arrays(_gestures(tmp_path), "train/4", ["somebody_led_0"])
    with pytest.raises(DataError, match=r"somebody_led_0\.npz does not tell by its name whom it shows"):
        events.find("dvs128gesture", tmp_path, "", "train")


@pytest.mark.parametrize("content", [b"", b"PK\3\4 and no more"])
def test_a_damaged_recording_is_named_when_it_is_read(tmp_path: Path, content: bytes) -> None:
    part = events.find("cifar10dvs", _cifar10dvs(tmp_path), "", "train")
    Path(part.recordings.name(3)).write_bytes(content)
    with pytest.raises(DataError, match=Path(part.recordings.name(3)).name):
        part.recordings.recording(3)
    assert len(recordings.events_of(part.recordings.recording(4))) == 6
