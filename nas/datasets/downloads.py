"""One file from the web: checked by its sum, resumed where it was cut off, whole under its name or not there.

What has arrived lies in `<name>.part` beside the file, from where the next call goes on, in this process or another.
"""

import contextlib
import hashlib
import http.client
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import filelock

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how many MB of it are done, and how many there are; 0 where nobody knows."""

_LOGGER = logging.getLogger(__name__)
_BLOCK = 1 << 16
_MB = 1_000_000
_TOLD_EVERY_S = 1.0
_LOGGED_EVERY_S = 10.0


class DownloadError(Exception):
    """A file that did not arrive; the text says why, how far it came and what helps."""


@dataclass(frozen=True)
class Remote:
    """A file on the web.

    Attributes:
        sha256: hex digits of its checksum.
    """

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """Under which it is kept."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server.

    Attributes:
        stall_s: without a byte, after which the connection counts as lost.
        attempts: connections in a row that bring nothing new, after which the download is given up.
        pause_s: before the second of these; it doubles from one to the next.
    """

    stall_s: float = 30.0
    attempts: int = 3
    pause_s: float = 1.0


def logged() -> OnProgress:
    """Progress as lines of the log: one at the beginning, and one every ten seconds."""
    last = [-_LOGGED_EVERY_S]

    def tell(what: str, done: int, total: int) -> None:
        if time.monotonic() - last[0] >= _LOGGED_EVERY_S:
            last[0] = time.monotonic()
            _LOGGER.warning("%s: %d%s", what, done, f" of {total}" if total else "")

    return tell


def fetch(remote: Remote, folder: Path, on_progress: OnProgress, patience: Patience | None = None) -> Path:
    """The file in a folder, downloaded unless it is there and whole. Of several processes one downloads it.

    Raises:
        DownloadError: it did not arrive, or is another file than it should be.
        OSError: the folder cannot be written.
    """
    path = folder / remote.name
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / f".{remote.name}.lock"):
        if not path.is_file() or _sum_of(path) != remote.sha256:
            part = folder / f"{remote.name}.part"
            _complete(remote, part, _Teller(f"downloading {remote.name}, MB", on_progress), patience or Patience())
            _check(remote, part)
            part.replace(path)
    return path


class _Teller:
    """Tells of progress at once, and then once a second."""

    def __init__(self, what: str, on_progress: OnProgress) -> None:
        self._what, self._on_progress, self._last = what, on_progress, 0.0

    def tell(self, done: int, total: int, *, at_once: bool = False) -> None:
        """In bytes."""
        if at_once or time.monotonic() - self._last >= _TOLD_EVERY_S:
            self._last = time.monotonic()
            self._on_progress(self._what, done // _MB, -(-total // _MB))


def _complete(remote: Remote, part: Path, teller: _Teller, patience: Patience) -> None:
    """Connect until all of it has arrived, or nothing new does."""
    failures = 0
    while True:
        before = _size(part)
        try:
            if _receive(remote, part, teller, patience.stall_s):
                return
            reason = "the connection was cut off"
        except urllib.error.HTTPError as error:
            if 400 <= error.code < 500 and error.code not in (408, 429):
                raise DownloadError(f"the server answers {error.code} {error.reason}") from None
            reason = f"the server answers {error.code} {error.reason}"
        except TimeoutError:
            reason = f"nothing arrived for {patience.stall_s:g} s"
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError) as error:
            reason = str(getattr(error, "reason", "") or error or type(error).__name__)
        failures = 0 if _size(part) > before else failures + 1
        if failures >= patience.attempts:
            raise DownloadError(f"{reason}, {patience.attempts} times in a row, {_so_far(part)}")
        time.sleep(patience.pause_s * 2 ** max(0, failures - 1))


def _so_far(part: Path) -> str:
    size = _size(part)
    return f"after {size / _MB:.1f} MB, which are kept: the same command goes on from there" if size else "at its start"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _receive(remote: Remote, part: Path, teller: _Teller, stall_s: float) -> bool:
    """Add to what is there what one connection brings; whether that is all."""
    begun = _size(part)
    headers = {"User-Agent": "spikformer-nas"} | ({"Range": f"bytes={begun}-"} if begun else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(remote.url, headers=headers), timeout=stall_s)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return True  # no byte is missing, or it is another file: the checksum tells
    with response, _opened(part, begun, response) as file:
        length = response.headers.get("Content-Length")
        total = file.tell() + int(length) if length is not None else 0
        teller.tell(file.tell(), total, at_once=True)
        while block := response.read1(_BLOCK):
            file.write(block)
            teller.tell(file.tell(), total)
        teller.tell(file.tell(), total, at_once=True)
        return not total or file.tell() >= total


@contextlib.contextmanager
def _opened(part: Path, begun: int, response: http.client.HTTPResponse) -> Iterator[BinaryIO]:
    """The part to be added to, or begun anew where the server sends the whole file again."""
    resumes = response.status == http.HTTPStatus.PARTIAL_CONTENT
    if resumes and not response.headers.get("Content-Range", "").startswith(f"bytes {begun}-"):
        raise DownloadError("the server resumed the download at another place than requested")
    with part.open("ab" if resumes else "wb") as file:
        yield file


def _check(remote: Remote, part: Path) -> None:
    digest = _sum_of(part)
    if digest != remote.sha256:
        size = part.stat().st_size
        part.unlink()
        raise DownloadError(
            f"the {size:,} bytes that arrived are another file (SHA-256 {digest[:12]}... instead of "
            f"{remote.sha256[:12]}...), perhaps a proxy's error page, and were deleted"
        )


def _sum_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = ["DownloadError", "OnProgress", "Patience", "Remote", "fetch", "logged"]
