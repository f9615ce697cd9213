"""A web server on this machine that answers as well, or as badly, as a test wants."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """Serves `files`; `asked` lists the Range header of each request ('' if none), `sent` the bytes of its answer."""

    files: dict[str, bytes]
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)  # of each next answer: send so many bytes, then hang up
    statuses: list[int] = field(default_factory=list)  # of each next answer: this status instead of a file
    pause_s: float = 0.0  # after each 16 KiB
    asked: list[str] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    site: FileServer

    def do_GET(self) -> None:
        site, wanted = self.site, self.headers.get("Range", "")
        site.asked.append(wanted)
        site.sent.append(0)
        number = len(site.sent) - 1
        data = site.files.get(self.path)
        status = site.statuses.pop(0) if site.statuses else 200 if data is not None else 404
        if status != 200 or data is None:
            self.send_error(status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and site.ranges else 0
        if start >= len(data) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        if site.cut_after:
            body = body[: site.cut_after.pop(0)]
        for at in range(0, len(body), 1 << 14):
            block = body[at : at + (1 << 14)]
            site.sent[number] += len(block)
            with contextlib.suppress(ConnectionError):
                self.wfile.write(block)
            time.sleep(site.pause_s)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(files: dict[str, bytes]) -> Iterator[FileServer]:
    site = FileServer(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": site}))
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
