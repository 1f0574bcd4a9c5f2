"""Real recordings, held to the figures that SpikingJelly's own functions gave for them.

They are read from `~/data/events`, beside `events_expected.json`.
"""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas import events
from nas.events import formats as formats

_FOLDER = Path.home() / "data" / "events"
pytestmark = pytest.mark.skipif(
    not (_FOLDER / "events_expected.json").exists(), reason=f"no real recordings in {_FOLDER}"
)


def _expected() -> Any:
    return json.loads((_FOLDER / "events_expected.json").read_text())["samples"]


def _unpacked(archive: str, target: Path) -> Path:
    with tarfile.open(_FOLDER / archive) as file:
        file.extractall(target, filter="data")
    return target


def _at_full_size(item: Any, slicing: events.Slicing, steps: int) -> bytes:
    """Frames without the border that makes them square, as the figures were made."""
    framed = events.frames(item, steps, slicing, max(item.width, item.height))
    assert framed.saturated == 0
    top, left = (framed.counts.shape[2] - item.height) // 2, (framed.counts.shape[3] - item.width) // 2
    inside = framed.counts[:, :, top : top + item.height, left : left + item.width]
    assert inside.sum() == len(item)
    return inside.astype("<u2").tobytes()


def _check(item: Any, facts: Any) -> None:
    assert [len(item), int((item.p == 0).sum()), int(item.p.sum())] == [facts["events"], facts["p0"], facts["p1"]]
    assert [item.t[0], item.t[-1]] == [facts["t_first"], facts["t_last"]]
    for key, frames in facts["frames"].items():
        slicing, steps = key.split("_")
        assert hashlib.sha256(_at_full_size(item, slicing, int(steps))).hexdigest() == frames["sha256"], key


@pytest.mark.parametrize("name", ["sample_nmnist.bin", "sample_ncars.dat", "sample.aedat4"])
def test_samples_give_the_frames_of_spikingjelly(name: str) -> None:
    if name.endswith("4"):
        pytest.importorskip("aedat", reason="the extra events is not installed")
    facts = _expected()[name]
    _check(formats.read(_FOLDER / name, (facts["W"], facts["H"]), is_given=True), facts)


def test_all_recordings_of_nmnist_give_the_frames_of_spikingjelly(tmp_path: Path) -> None:
    facts = _expected()["nmnist_mini.tar.xz"]
    _unpacked("nmnist_mini.tar.xz", tmp_path / "extract")
    parts = [events.find("nmnist", tmp_path, "", part).recordings for part in ("test", "train")]
    items: list[Any] = [part.recording(i) for part in parts for i in range(len(part))]
    assert sum(map(len, items)) == facts["total_events"]
    for key, digest in facts["sha256_of_all_frames_in_order"].items():
        slicing, steps = key.split("_")
        content = b"".join(_at_full_size(item, slicing, int(steps)) for item in items)
        assert hashlib.sha256(content).hexdigest() == digest, key


@pytest.mark.parametrize(
    ("dataset", "archive"),
    [("cifar10dvs", "cifar10dvs_format.tar.xz"), ("dvs128gesture", "dvs128gesture_format.tar.xz")],
)
def test_events_in_the_formats_of_published_sets_come_back(tmp_path: Path, dataset: str, archive: str) -> None:
    """Counts of every recording, and the frames of one."""
    facts = _expected()[archive]
    _unpacked(archive, tmp_path)
    parts: tuple[events.Part, ...] = ("train", "test") if dataset == "dvs128gesture" else ("train",)
    root = tmp_path / "events_np"
    items: dict[str, Any] = {}
    for part in parts:
        held = events.find(dataset, tmp_path, "", part).recordings
        for i in range(len(held)):
            items[str(Path(held.name(i)).relative_to(root).with_suffix(""))] = held.recording(i)
    plain = {key.removeprefix("extract/").rpartition(".")[0]: key for key in facts["files"]}
    assert sorted(items) == sorted(plain)
    for name, item in items.items():
        counts = [len(item), int((np.asarray(item.p) == 0).sum()), int(item.p.sum())]
        assert counts == facts["files"][plain[name]]
    ((key, frames),) = facts["one_in_full"].items()
    _check(items[key.removeprefix("extract/").rpartition(".")[0]], frames)
