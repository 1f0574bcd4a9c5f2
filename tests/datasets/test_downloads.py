"""A download arrives whole or not at all, tells how far it is and never waits for ever: from a server of our own."""

import hashlib
import logging
import random
import socket
import threading
import time
from pathlib import Path

import pytest

from nas.datasets import downloads
from nas.datasets.downloads import DownloadError, Patience, Remote
from tests.servers import Server, serving

CONTENT = random.Random(0).randbytes(3_000_000)
QUICK = Patience(stall_s=0.5, pause_s=0.01)


class Told:
    """Keeps what a download said, and when."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str, int, int]] = []
        self._begun = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        self.lines.append((time.monotonic() - self._begun, what, done, total))


def _remote(server: Server, content: bytes = CONTENT) -> Remote:
    return Remote(server.url, hashlib.sha256(content).hexdigest())


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_a_good_server_is_asked_once(tmp_path: Path) -> None:
    """And not at all where the file is there already, whole."""
    told = Told()
    with serving(Server(CONTENT)) as server:
        path = downloads.fetch(_remote(server), tmp_path / "cache", told, QUICK)
        assert downloads.fetch(_remote(server), tmp_path / "cache", told, QUICK) == path
    assert path.read_bytes() == CONTENT
    assert server.asked == [None]
    assert _names(tmp_path / "cache") == {"archive.tar.gz"}
    assert told.lines[0][1:] == ("downloading archive.tar.gz, MB", 0, 3)
    assert told.lines[-1][2:] == (3, 3)


def test_a_connection_that_is_cut_off_is_resumed(tmp_path: Path) -> None:
    with serving(Server(CONTENT, cut_after=1_000_000, cuts=2)) as server:
        path = downloads.fetch(_remote(server), tmp_path, Told(), QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000000-", "bytes=2000000-"]


def test_what_has_arrived_is_kept_for_the_next_call(tmp_path: Path) -> None:
    """A server that dies in the middle: the error says how much is there, and nothing has the file's name."""
    with serving(Server(CONTENT, cut_after=1_000_000)) as server:
        remote = _remote(server)
        (tmp_path / "archive.tar.gz.part").write_bytes(CONTENT[:1_500_000])
    with pytest.raises(DownloadError, match=r"after 1\.5 MB, which are kept: the same command goes on"):
        downloads.fetch(remote, tmp_path, Told(), QUICK)
    assert _names(tmp_path) == {"archive.tar.gz.part"}
    with serving(Server(CONTENT)) as server:
        assert downloads.fetch(_remote(server), tmp_path, Told(), QUICK).read_bytes() == CONTENT
    assert server.asked == ["bytes=1500000-"]
    assert _names(tmp_path) == {"archive.tar.gz"}


def test_a_server_without_ranges_begins_anew(tmp_path: Path) -> None:
    with serving(Server(CONTENT, cut_after=1_000_000, resumes=False)) as server:
        path = downloads.fetch(_remote(server), tmp_path, Told(), QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000000-"]


def test_a_server_that_always_cuts_off_is_given_up(tmp_path: Path) -> None:
    with (
        serving(Server(CONTENT, cut_after=1_000_000, cuts=99, resumes=False)) as server,
        pytest.raises(DownloadError, match=r"the connection was cut off, 3 times in a row, after 1\.0 MB"),
    ):
        downloads.fetch(_remote(server), tmp_path, Told(), QUICK)
    assert len(server.asked) == 4


def test_another_file_is_refused_and_deleted(tmp_path: Path) -> None:
    """As a page that a proxy puts in its place; the next call begins anew."""
    with serving(Server(b"<html>Please log in</html>")) as server:
        with pytest.raises(DownloadError, match=r"the 26 bytes that arrived are another file .* were deleted"):
            downloads.fetch(_remote(server), tmp_path, Told(), QUICK)
        assert _names(tmp_path) == set()


def test_a_damaged_file_of_that_name_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "archive.tar.gz").write_bytes(CONTENT[:-1])
    with serving(Server(CONTENT)) as server:
        assert downloads.fetch(_remote(server), tmp_path, Told(), QUICK).read_bytes() == CONTENT


def test_parts_of_another_file_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "archive.tar.gz.part").write_bytes(CONTENT + b"more")
    with serving(Server(CONTENT)) as server:
        with pytest.raises(DownloadError, match="another file"):
            downloads.fetch(_remote(server), tmp_path, Told(), QUICK)
        assert downloads.fetch(_remote(server), tmp_path, Told(), QUICK).read_bytes() == CONTENT


def test_a_slow_server_is_waited_for_and_told_about_at_once(tmp_path: Path) -> None:
    """The pauses add up to more than a stall, which counts from byte to byte."""
    told = Told()
    with serving(Server(CONTENT, pause_s=0.15)) as server:
        downloads.fetch(_remote(server), tmp_path, told, Patience(stall_s=1.0))
    assert told.lines[0][0] < 1.0
    assert len({done for _, _, done, _ in told.lines}) >= 2


def test_a_server_that_falls_silent_is_an_error_in_time(tmp_path: Path) -> None:
    begun = time.monotonic()
    with (
        serving(Server(CONTENT, cut_after=1_000_000, cuts=99, stalls=True, resumes=False)) as server,
        pytest.raises(DownloadError, match=r"nothing arrived for 0\.5 s, 3 times in a row, after 1\.0 MB"),
    ):
        downloads.fetch(_remote(server), tmp_path, Told(), QUICK)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (503, 3)])
def test_an_answer_that_is_an_error_is_told(status: int, requests: int, tmp_path: Path) -> None:
    """What may pass is asked for again, what is not there is not."""
    with (
        serving(Server(CONTENT, status=status)) as server,
        pytest.raises(DownloadError, match=f"the server answers {status}"),
    ):
        downloads.fetch(_remote(server), tmp_path, Told(), QUICK)
    assert len(server.asked) == requests


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        remote = Remote(f"http://127.0.0.1:{taken.getsockname()[1]}/archive.tar.gz", "0" * 64)
        with pytest.raises(DownloadError, match=r"refused.*, 3 times in a row, at its start"):
            downloads.fetch(remote, tmp_path, Told(), QUICK)


def test_of_two_that_want_a_file_one_downloads_it(tmp_path: Path) -> None:
    with serving(Server(CONTENT, pause_s=0.02)) as server:
        remote = _remote(server)
        threads = [threading.Thread(target=downloads.fetch, args=(remote, tmp_path, Told(), QUICK)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert server.asked == [None]
    assert (tmp_path / "archive.tar.gz").read_bytes() == CONTENT


def test_without_a_dashboard_lines_of_the_log_tell(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(Server(CONTENT)) as server, caplog.at_level(logging.WARNING):
        downloads.fetch(_remote(server), tmp_path, downloads.logged(), QUICK)
    assert caplog.messages == ["downloading archive.tar.gz, MB: 0 of 3"]
