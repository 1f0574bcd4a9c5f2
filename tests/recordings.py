"""Tiny recordings of event cameras, written byte by byte as the descriptions of the formats say.

An event is (t, x, y, p), as a reader must return it.
"""

import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nas.events import Recording

Event = tuple[int, int, int, int]


def made(events: int, width: int, height: int, seed: int = 0, t_last: int = 100_000) -> list[Event]:
    """Random events with ascending times."""
    draw = random.Random(seed)
    times = sorted(draw.randrange(t_last) for _ in range(events))
    return [(t, draw.randrange(width), draw.randrange(height), draw.randrange(2)) for t in times]


def events_of(recording: object) -> list[Event]:
    """The events that were read, as plain numbers."""
    assert isinstance(recording, Recording)
    columns = (recording.t, recording.x, recording.y, recording.p)
    return [(int(t), int(x), int(y), int(p)) for t, x, y, p in zip(*columns, strict=True)]


def recording(events: Sequence[Event], width: int, height: int) -> Recording:
    t, x, y, p = (np.array([event[k] for event in events]) for k in range(4))
    return Recording(t, x, y, p, width, height)


def atis(events: Sequence[Event]) -> bytes:
    """ATIS, 40 bits: x; y; bit 7 = polarity and the 7 high bits of t; 2 bytes more of t, big-endian."""
    return b"".join(bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for t, x, y, p in events)


def dat(events: Sequence[Event], header: bytes = b"% Version 2\n% Width 20\n% Height 10\n") -> bytes:
    """Prophesee DAT: header, event type 12, event size 8; then u32 t, u32 with x, y and p from bit 0, 14 and 28."""
    return header + b"\x0c\x08" + b"".join(struct.pack("<II", t, x | y << 14 | p << 28) for t, x, y, p in events)


def aedat2(events: Sequence[Event]) -> bytes:
    """AEDAT 2.0 of a DVS128: big-endian u32 address (bit 0 = 1 - p, bits 1-7 = 127 - y, bits 8-14 = 127 - x), u32 t."""
    header = b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n"
    return header + b"".join(struct.pack(">II", 1 - p | 127 - y << 1 | 127 - x << 8, t) for t, x, y, p in events)


def aedat3(events: Sequence[Event], per_packet: int = 3) -> bytes:
    """AEDAT 3.1: packets of a 28-byte header, and u32 (bit 0 valid, bit 1 p, bits 2-16 y, bits 17-31 x), u32 t.

    A packet of another type, of which nothing is to be read, stands between them.
    """
    content = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
    for start in range(0, len(events), per_packet):
        packet = events[start : start + per_packet]
        content += struct.pack("<HHIIIIII", 0, 1, 8, 4, 0, 1, 1, 1) + b"\xff" * 8
        content += struct.pack("<HHIIIIII", 1, 1, 8, 4, 0, len(packet), len(packet), len(packet))
        content += b"".join(struct.pack("<II", 1 | p << 1 | y << 2 | x << 17, t) for t, x, y, p in packet)
    return content


def write_npz(path: Path, events: Sequence[Event], time_type: str = ">u4") -> None:
    """As SpikingJelly's CIFAR10-DVS does: times big-endian, places unsigned, polarities int64."""
    t, x, y, p = (np.array([event[k] for event in events], dtype=np.int64) for k in range(4))
    np.savez(path, t=t.astype(time_type), x=x.astype(np.uint32), y=y.astype(np.uint32), p=p)


def write_npy(path: Path, events: Sequence[Event]) -> None:
    np.save(path, np.array(list(events), dtype=[("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "?")]))


def write(path: Path, events: Sequence[Event]) -> Path:
    """In the format that the end of the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".npz", ".npy"):
        {".npz": write_npz, ".npy": write_npy}[path.suffix](path, events)
    else:
        path.write_bytes(BINARY[path.suffix](events))
    return path


BINARY: dict[str, Callable[[Sequence[Event]], bytes]] = {".bin": atis, ".dat": dat, ".aedat": aedat3}
