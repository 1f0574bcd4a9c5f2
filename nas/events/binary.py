"""Binary files without packets: ATIS with 40 bits per event (`.bin`), and Prophesee DAT (`.dat`)."""

import re
from pathlib import Path

import numpy as np

from nas.errors import DataError
from nas.events import spikingjelly_datasets
from nas.events.contents import Events, check_clock, check_records

_ATIS_BYTES, _DAT_BYTES = 5, 8
_CHANGES = (0, 12)  # event types of DAT that are changes of brightness: of older cameras, and EVENT_CD


def check_atis(path: Path) -> None:
    """Raises DataError: the file is empty or truncated."""
    check_records(path, path.stat().st_size, _ATIS_BYTES)


def read_atis(path: Path) -> Events:
    """The format of N-MNIST and N-Caltech101: x, y, then a bit of polarity and 23 bits of time, big-endian.

    Raises:
        DataError: the file is empty, truncated, or longer than its clock of 8.4 s.
    """
    check_atis(path)
    arrays = spikingjelly_datasets.read_atis(path)
    check_clock(path, arrays["t"], 23)
    return Events(arrays["t"], arrays["x"], arrays["y"], arrays["p"])


def read_dat(path: Path) -> Events:
    """The format of N-Cars: lines that start with %, event type, event size, then 32 bits each of time and address.

    Bits of the address: 14 of x, 14 of y, 4 of polarity (Prophesee, Metavision SDK, DAT file format). The header may
    give the size of the sensor in lines `% Width` and `% Height`.

    Raises:
        DataError: other events than changes of brightness, or the file is empty or truncated.
    """
    content = path.read_bytes()
    start = 0
    while content.startswith(b"%", start):
        end = content.find(b"\n", start) + 1
        start = end or len(content)
    kind, size = content[start : start + 2].ljust(2, b"\0")
    if kind not in _CHANGES or size != _DAT_BYTES:
        raise DataError(
            f"{path} is no recording in Prophesee's DAT format: events of type {kind} with {size} bytes, but types "
            f"{_CHANGES} with {_DAT_BYTES} bytes can be read. Convert it"
        )
    check_records(path, len(content) - start - 2, _DAT_BYTES)
    t, address = np.frombuffer(content, "<u4", offset=start + 2).reshape(-1, 2).T
    check_clock(path, t, 32)
    sizes = dict(re.findall(r"^% (Width|Height) (\d+)\s*$", content[:start].decode("latin-1"), re.MULTILINE))
    sensor = (int(sizes["Width"]), int(sizes["Height"])) if len(sizes) == 2 else None
    return Events(t, address & 0x3FFF, address >> 14 & 0x3FFF, address >> 28, sensor)


__all__ = ["check_atis", "read_atis", "read_dat"]
