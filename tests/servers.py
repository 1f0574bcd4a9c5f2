"""A web server of this machine that behaves well or badly, for tests of downloads."""

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Server:
    """
    Attributes:
        content: what it serves, under any path.
        status: instead of serving.
        cut_after: bytes of an answer, after which the connection is closed; 0 closes none.
        cuts: how many connections are closed so.
        stalls: whether it says nothing more, instead of closing the connection.
        resumes: whether it knows ranges.
        pause_s: between blocks of a tenth.
        asked: the range that each request asked for.
    """

    content: bytes
    status: int = 200
    cut_after: int = 0
    cuts: int = 1
    stalls: bool = False
    resumes: bool = True
    pause_s: float = 0.0
    asked: list[str | None] = field(default_factory=list)
    url: str = ""
    closing: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def serving(server: Server, name: str = "archive.tar.gz") -> Iterator[Server]:
    """The server runs within; its `url` ends in `name`."""

    class Handler(_Handler):
        behaviour = server

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        server.url = f"http://127.0.0.1:{running.server_port}/{name}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            running.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    behaviour: Server

    def do_GET(self) -> None:
        server, asked = self.behaviour, self.headers.get("Range")
        server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.resumes else 0
        if server.status != 200:
            self.send_error(server.status)
        elif start >= len(server.content):
            self.send_error(416)
        else:
            self._send(start)

    def _send(self, start: int) -> None:
        server = self.behaviour
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        cuts = server.cut_after > 0 and len(server.asked) <= server.cuts
        body = server.content[start:][: server.cut_after] if cuts else server.content[start:]
        step = -(-len(body) // 10)
        with contextlib.suppress(ConnectionError):
            for i in range(0, len(body), step):
                self.wfile.write(body[i : i + step])
                self.wfile.flush()
                time.sleep(server.pause_s)
        if cuts and server.stalls:
            server.closing.wait(60)

    def log_message(self, format: str, *arguments: object) -> None:
        """Tests are silent."""
