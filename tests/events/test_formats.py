"""Every format gives the events that were written, byte by byte; damaged files are refused with their name."""

import io
import re
import struct
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import DataError
from nas.events import Recording, StoredFrames
from nas.events import formats as formats
from tests import recordings

_EVENTS = recordings.made(20, 20, 10)


def _read(path: Path, width: int = 20, height: int = 10) -> Recording:
    read = formats.read(path, (width, height), is_given=True)
    assert isinstance(read, Recording)
    return read


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".bin", ".dat", ".aedat", ".NPZ"])
def test_every_event_comes_back(tmp_path: Path, suffix: str) -> None:
    path = recordings.write(tmp_path / f"a{suffix.lower()}", _EVENTS).rename(tmp_path / f"a{suffix}")
    recording = _read(path)
    assert recordings.events_of(recording) == _EVENTS
    assert (recording.width, recording.height, recording.name) == (20, 10, str(path))


def test_aedat_2_is_turned_as_spikingjelly_turns_it(tmp_path: Path) -> None:
    """Its own reader is private to CIFAR10DVS, which converts a folder."""
    datasets = pytest.importorskip("spikingjelly.datasets")
    events = recordings.made(50, 128, 128)
    path = tmp_path / "extract" / "cat" / "cifar10_cat_0.aedat"
    path.parent.mkdir(parents=True)
    path.write_bytes(recordings.aedat2(events))
    (tmp_path / "events_np").mkdir()
    datasets.CIFAR10DVS.create_raw_from_extracted(tmp_path / "extract", tmp_path / "events_np")
    converted = tmp_path / "events_np" / "cat" / "cifar10_cat_0.npz"
    assert recordings.events_of(_read(path, 128, 128)) == recordings.events_of(_read(converted, 128, 128)) == events


def test_older_dat_files_have_event_type_0_and_no_size(tmp_path: Path) -> None:
    """As those of N-Cars."""
    content = recordings.dat(_EVENTS, b"% Data file containing N9Chronocam7Event2dE events.\n").replace(
        b"\n\x0c", b"\n\0"
    )
    (tmp_path / "a.dat").write_bytes(content)
    assert recordings.events_of(_read(tmp_path / "a.dat")) == _EVENTS
    assert formats.sensor_of([tmp_path / "a.dat"]) == (max(e[1] for e in _EVENTS) + 1, max(e[2] for e in _EVENTS) + 1)


def test_times_of_aedat_3_continue_where_32_bits_end(tmp_path: Path) -> None:
    """A packet's overflow counts 2^31 microseconds."""
    content = b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + struct.pack("<HHIIIIII", 1, 1, 8, 4, 2, 1, 1, 1)
    (tmp_path / "a.aedat").write_bytes(content + struct.pack("<II", 1 | 5 << 17, 7))
    assert recordings.events_of(_read(tmp_path / "a.aedat")) == [(2 * 2**31 + 7, 5, 0, 0)]


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_ready_made_frames_are_read(tmp_path: Path, suffix: str) -> None:
    frames = np.arange(2 * 2 * 10 * 20, dtype=float).reshape(2, 2, 10, 20)
    path = tmp_path / f"a{suffix}"
    np.savez_compressed(path, frames=frames) if suffix == ".npz" else np.save(path, frames)
    read = formats.read(path, (20, 10), is_given=False)
    assert isinstance(read, StoredFrames)
    assert (read.counts == frames).all()
    assert formats.sensor_of([path]) == (20, 10)
    with pytest.raises(
        DataError, match="is of a sensor of 20 x 10 pixels, but the recordings of its data set are of 9 x"
    ):
        formats.read(path, (9, 9), is_given=True)


def test_the_sensor_is_what_the_first_recording_states(tmp_path: Path) -> None:
    stated = recordings.write(tmp_path / "a.dat", _EVENTS)
    other = recordings.write(tmp_path / "b.aedat", _EVENTS)
    assert formats.sensor_of([stated, other]) == (20, 10)
    assert formats.sensor_of([other, stated]) == (128, 128)
    assert formats.sensor_of([recordings.write(tmp_path / "a.npz", [(0, 30, 0, 1)]), other]) == (128, 128)
    with pytest.raises(DataError, match=r"b\.aedat is of a sensor of 128 x 128 pixels, but .* 20 x 10\. Put"):
        formats.read(other, (20, 10), is_given=False)
    assert recordings.events_of(formats.read(other, (20, 10), is_given=True)) == _EVENTS


def test_else_the_sensor_is_the_smallest_that_holds_all_events(tmp_path: Path) -> None:
    """By hand: the largest column is 6, of the first recording, and the largest row 8, of the second."""
    paths = [tmp_path / "a.npz", tmp_path / "b.bin"]
    for path, events in zip(paths, ([(0, 6, 2, 1)], [(0, 1, 8, 1), (1, 3, 3, 0)]), strict=True):
        recordings.write(path, events)
    assert formats.sensor_of(paths) == (7, 9)


class _Decoder:
    """The package's, with two packets of events of one stream, and one of something else."""

    def __init__(self, path: Path) -> None:
        kinds = [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")]
        self._packets = [np.array(_EVENTS[:12], dtype=kinds), None, np.array(_EVENTS[12:], dtype=kinds)]

    def id_to_stream(self) -> dict[int, dict[str, Any]]:
        return {0: {"type": "events", "width": 20, "height": 10}, 2: {"type": "imus"}}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter([{"imus": None} if packet is None else {"events": packet} for packet in self._packets])


def test_aedat_4_is_read_by_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here by a stand-in; `test_real_recordings.py` has a real file."""
    (tmp_path / "a.aedat4").touch()
    monkeypatch.setitem(sys.modules, "aedat", types.SimpleNamespace(Decoder=_Decoder))
    assert recordings.events_of(formats.read(tmp_path / "a.aedat4", (20, 10), is_given=False)) == _EVENTS
    assert formats.sensor_of([tmp_path / "a.aedat4"]) == (20, 10)


def test_aedat_4_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.aedat4").touch()
    monkeypatch.setitem(sys.modules, "aedat", None)
    with pytest.raises(DataError, match=r"a\.aedat4 needs the package aedat.*spikformer-nas\[events\]"):
        _read(tmp_path / "a.aedat4")


def test_a_damaged_aedat_4_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package says RuntimeError of truncated and of changed files."""

    def fail(path: Path) -> None:
        raise RuntimeError("failed to fill whole buffer")

    (tmp_path / "a.aedat4").touch()
    monkeypatch.setitem(sys.modules, "aedat", types.SimpleNamespace(Decoder=fail))
    with pytest.raises(DataError, match=r"a\.aedat4 cannot be read as AEDAT 4: failed to fill whole buffer"):
        _read(tmp_path / "a.aedat4")


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _zip(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("t.npy", content)
    return file.getvalue()


_OBJECTS = np.array([{"a": 1}], dtype=object)
_WRAPPED = [(2**23 - 1, 0, 0, 1), (3, 0, 0, 1)]
_HEADER_3 = b"#!AER-DAT3.1\r\n#!END-HEADER\r\n"


@pytest.mark.parametrize(
    ("suffix", "content", "words"),
    [
        (".npz", b"", "cannot be read as an array"),
        (".npz", b"no zip file", "cannot be read as an array"),
        (".npz", _npz(t=[1], x=[1])[:-30], "cannot be read as an array"),
        (".npz", _npy(np.zeros(3)), "cannot be read as an array"),
        (".npz", _npz(t=_OBJECTS, x=_OBJECTS, y=_OBJECTS, p=_OBJECTS), "cannot be read as an array"),
        (".npz", _zip(b"\x93NUMPY"), "cannot be read as an array"),
        (".npz", _npz(t=[1], x=[1]), "holds the arrays ['t', 'x'], which are no recording"),
        (".npz", _npz(t=[1], x=[1], y=[1], p=[5]), "polarities [5]"),
        (".npz", _npz(frames=np.ones((2, 2, 4))), "shape (2, 2, 4)"),
        (".npz", _npz(t=[], x=[], y=[], p=[]), "t is an array of float64"),
        (".npy", b"", "cannot be read as an array"),
        (".npy", _npy(np.zeros((4, 2, 10, 20)))[:500], "cannot be read as an array"),
        (".npy", _npy(_OBJECTS), "cannot be read as an array"),
        (".npy", _npz(t=[1]), "cannot be read as an array"),
        (".npy", _npy(np.zeros(3)), "shape (3,)"),
        (".npy", _npy(np.zeros(3, dtype=[("t", int), ("x", int)])), "fields ['t', 'x'], which are no recording"),
        (".bin", b"", "holds no events"),
        (".bin", recordings.atis(_EVENTS)[:-2], "98 bytes of events are no multiple of 5"),
        (".bin", recordings.atis(_WRAPPED), "the clock of 23 bits began again after event 0"),
        (".bin", recordings.atis([(0, 20, 0, 1)]), "1 of 1 events lie outside the sensor of 20 x 10"),
        (".dat", b"", "events of type 0 with 0 bytes"),
        (".dat", b"% only a header", "events of type 0 with 0 bytes"),
        (".dat", b"% Version 2\n\x0e\x08", "events of type 14 with 8 bytes"),
        (".dat", recordings.dat([]), "holds no events"),
        (".dat", recordings.dat(_EVENTS)[:-1], "159 bytes of events are no multiple of 8"),
        (".dat", recordings.dat([(2**32 - 1, 0, 0, 1), (3, 0, 0, 1)]), "the clock of 32 bits began again"),
        (".aedat", b"", "does not begin with #!AER-DAT2.0 or #!AER-DAT3.1"),
        (".aedat", b"#!AER-DAT1.0\r\n", "does not begin with #!AER-DAT2.0 or #!AER-DAT3.1"),
        (".aedat", recordings.aedat2([]), "holds no events"),
        (".aedat", recordings.aedat2(_EVENTS)[:-3], "no multiple of 8"),
        (".aedat", b"#!AER-DAT2.0\r\n" + struct.pack(">II", 1 << 15, 0), "the address 0x8000 has more than 15 bits"),
        (".aedat", _HEADER_3, "holds no events"),
        (".aedat", b"#!AER-DAT3.1\r\n\0\0", "has no line #!END-HEADER"),
        (".aedat", _HEADER_3.replace(b"\r", b""), "has no line #!END-HEADER"),
        (".aedat", recordings.aedat3(_EVENTS)[:-8], "is truncated"),
        (".aedat", recordings.aedat3(_EVENTS) + b"\0", "is truncated"),
        (".aedat", _HEADER_3 + struct.pack("<HHIIIIII", 1, 1, 8, 4, 0, 2, 1, 1) + bytes(16), "has room for 2"),
        (".aedat", _HEADER_3 + struct.pack("<HHIIIIII", 1, 1, 9, 4, 0, 1, 1, 1) + bytes(9), "events of 9 bytes"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str, content: bytes, words: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(words)) as error:
        _read(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    for suffix in (".bin", ".dat", ".aedat"):
        with pytest.raises(DataError, match=rf"a\{suffix} cannot be read: No such file or directory"):
            _read(tmp_path / f"a{suffix}")
