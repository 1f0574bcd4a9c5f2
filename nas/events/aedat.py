"""Files of iniVation's cameras: AEDAT 2.0 and 3.1 (`.aedat`), and AEDAT 4 (`.aedat4`)."""

import io
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nas.errors import DataError
from nas.events import spikingjelly_datasets
from nas.events.contents import Events, check_clock, check_records
from nas.events.recording import Sensor

_DVS128: Sensor = (128, 128)
_CAMERAS = {"DVS128": _DVS128, "DAVIS240": (240, 180), "DAVIS346": (346, 260)}  # as `#Source` lines of AEDAT 3.1 say
_ADDRESSES = 1 << 15  # of a DVS128: 7 bits of x, 7 of y and the polarity
_PACKET = struct.Struct("<HHIIIIII")  # type, source, size, offset of t, overflow of t, capacity, number, valid
_POLARITY, _EVENT_BYTES = 1, 8
_END = b"#!END-HEADER\r\n"


def check_aedat(path: Path) -> None:
    """Raises DataError: the file is empty, truncated, or of another version."""
    with path.open("rb") as file:
        if _header(path, file)[0].startswith(b"#!AER-DAT2.0"):
            check_records(path, path.stat().st_size - file.tell(), _EVENT_BYTES)
        else:
            _check_packets(path, file)


def read_aedat(path: Path) -> Events:
    """Events of AEDAT 2.0 or 3.1, whichever the first line says.

    AEDAT 2.0 is read as recordings of a DVS128 are in CIFAR10-DVS: 32 bits of address, whose bits are the polarity, 7
    of a and 7 of b, and 32 bits of time, all big-endian. SpikingJelly turns the image (x = 127 - b, y = 127 - a) and
    the polarity (p is 1 where the bit is 0), and so does this function. SpikingJelly's own reader is private to its
    CIFAR10-DVS, and it drops further bits of the address, which other cameras use.

    Raises:
        DataError: the file is empty, truncated, of another version or of another camera.
    """
    check_aedat(path)
    with path.open("rb") as file:
        header = _header(path, file)
        if header[0].startswith(b"#!AER-DAT2.0"):
            return _events_of_version_2(path, file.read())
    arrays = spikingjelly_datasets.read_aedat3(path)
    return Events(arrays["t"], arrays["x"], arrays["y"], arrays["p"], _camera(header))


def read_aedat4(path: Path) -> Events:
    """Events of AEDAT 4, by the package `aedat` of the extra `events`.

    Raises:
        DataError: the package is not installed, or the file is damaged or has not exactly one stream of events.
    """
    try:
        import aedat
    except ImportError:
        raise DataError(
            f"{path} needs the package aedat. Install it with: pip install 'spikformer-nas[events]'"
        ) from None
    try:
        decoder = aedat.Decoder(path)
        sizes = [(s["width"], s["height"]) for s in decoder.id_to_stream().values() if s["type"] == "events"]
        packets = [packet["events"] for packet in decoder if "events" in packet]
    except Exception as error:  # the package raises RuntimeError today, and documents nothing
        raise DataError(f"{path} cannot be read as AEDAT 4: {error}. Copy it again or remove it") from None
    if len(sizes) != 1 or not packets:
        raise DataError(f"{path} has {len(sizes)} streams and {len(packets)} packets of events, but needs one stream")
    events = np.concatenate(packets)
    return Events(events["t"], events["x"], events["y"], events["on"], sizes[0])


def _header(path: Path, file: BinaryIO) -> list[bytes]:
    """The lines of the header; the file is then at the first byte behind it."""
    lines = [file.readline()]
    if not lines[0].startswith((b"#!AER-DAT2.0", b"#!AER-DAT3.1")):
        raise DataError(
            f"{path} does not begin with #!AER-DAT2.0 or #!AER-DAT3.1, as recordings in .aedat do. Convert it to "
            "one of these versions"
        )
    if lines[0].startswith(b"#!AER-DAT3.1"):
        while (line := file.readline()).startswith(b"#"):
            lines.append(line)
            if line == _END:
                return lines
        raise DataError(f"{path} has no line #!END-HEADER, which ends the header of AEDAT 3.1. Copy it again")
    while (line := file.readline()).startswith(b"#"):
        lines.append(line)
    file.seek(-len(line), io.SEEK_CUR)
    return lines


def _check_packets(path: Path, file: BinaryIO) -> None:
    size = path.stat().st_size
    events = 0
    while header := file.read(_PACKET.size):
        if len(header) < _PACKET.size:
            raise _truncated(path, file.tell() - len(header))
        kind, _, event_size, _, _, capacity, number, _ = _PACKET.unpack(header)
        if kind == _POLARITY:
            events += capacity
            if event_size != _EVENT_BYTES or number != capacity:
                raise DataError(
                    f"{path}: a packet of {number} events of {event_size} bytes has room for {capacity}. Packets must "
                    f"be full, of events of {_EVENT_BYTES} bytes. Convert it"
                )
        if file.seek(capacity * event_size, io.SEEK_CUR) > size:
            raise _truncated(path, size)
    if events == 0:
        raise DataError(f"{path} holds no events. Remove it or copy it again")


def _truncated(path: Path, place: int) -> DataError:
    return DataError(
        f"{path} is truncated: its last packet is not complete at byte {place}. Copy it again or remove it"
    )


def _events_of_version_2(path: Path, content: bytes) -> Events:
    address, t = np.frombuffer(content, ">u4").astype(np.int64).reshape(-1, 2).T
    if (address >= _ADDRESSES).any():
        raise DataError(
            f"{path}: the address {address.max():#x} has more than 15 bits, so it is no event of a DVS128, the only "
            "camera whose AEDAT 2.0 files can be read. Convert it to .npz"
        )
    check_clock(path, t, 32)
    return Events(t, 127 - (address >> 8), 127 - (address >> 1 & 127), 1 - (address & 1), _DVS128)


def _camera(header: list[bytes]) -> Sensor | None:
    text = b"".join(header).decode("latin-1")
    return next((sensor for name, sensor in _CAMERAS.items() if f": {name}" in text), None)


__all__ = ["check_aedat", "read_aedat", "read_aedat4"]
