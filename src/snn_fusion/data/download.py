"""Downloads that can be killed and go on where they were, and that are what they should be."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from snn_fusion import log_lines
from snn_fusion.errors import BadInput, SnnFusionError

BLOCK = 1 << 16
TIMEOUT_S = 15.0
TRIES = 3
WAIT_S = 1.0  # before the second try; doubled before each further one
RETRIED = (408, 429, 500, 502, 503, 504)
LOST = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


class Unreachable(SnnFusionError):
    """The server does not answer, or does not have the file."""


@dataclass(frozen=True)
class Answer:
    """What a server offers: the rest of a file from byte `start`, `total` bytes in all (0 if it does not say)."""

    body: http.client.HTTPResponse
    start: int
    total: int


def download(url: str, target: Path, checksum: str, tries: int = TRIES) -> None:
    """Fetch `url` into `target` and check it against `checksum` (`sha256:...` or `md5:...`).

    What has come lies in `target.part`, and a later call goes on from there. Nothing is fetched if the target is
    there and right. Raises Unreachable if the server cannot be had after some tries, BadInput for a wrong checksum
    (what came is deleted).
    """
    if target.is_file():
        if check(target, checksum) is None:
            return
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with _bar(target.name) as bar:
        _fetch_all(url, part, bar, tries)
    if found := check(part, checksum):
        part.unlink()
        remedy = "what came is deleted; try again, and if it stays so the file at its home has changed"
        raise BadInput(url, f"wrong checksum: expected {checksum}, found {found}", remedy)
    part.replace(target)


def _fetch_all(url: str, part: Path, progress: Callable[[int, int], None], tries: int) -> None:
    """Fetch until all is there; gives up after `tries` failures in a row that brought nothing new."""
    failures = 0
    while True:
        before = _size(part)
        try:
            return _fetch(url, part, progress)
        except LOST as error:
            failures = 1 if _size(part) > before else failures + 1
            if _is_final(error) or failures >= tries:
                raise Unreachable(f"{url}: cannot be fetched: {_reason(error)}") from error
            time.sleep(WAIT_S * 2 ** (failures - 1))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def check(path: Path, checksum: str) -> str | None:
    """None if the file has this checksum, else the one it has."""
    algorithm = checksum.partition(":")[0]
    with path.open("rb") as file:
        found = f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
    return None if found == checksum else found


def _fetch(url: str, part: Path, progress: Callable[[int, int], None]) -> None:
    """Fetch the rest of `part`. Raises one of LOST if the connection breaks."""
    answer = _ask(url, _size(part))
    if answer is None:
        return
    done = answer.start
    with answer.body as body, part.open("ab" if done else "wb") as file:
        while block := body.read(BLOCK):
            file.write(block)
            done += len(block)
            progress(done, answer.total)
    if done < answer.total:
        raise ConnectionError(f"the connection ended after {done} of {answer.total} bytes")


def _ask(url: str, have: int) -> Answer | None:
    """Ask for what is missing; None if nothing is. A server that knows no ranges sends the whole file again."""
    request = urllib.request.Request(url, headers={"User-Agent": "snn-fusion", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        body = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # range not satisfiable: all of it is here, or more than there should be
            raise
        total = error.headers.get("Content-Range", "").rpartition("/")[2]
        return None if total == str(have) else _ask(url, 0)
    resumed = body.status == 206 and body.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    start = have if resumed else 0
    length = int(body.headers.get("Content-Length") or 0)
    return Answer(body, start, start + length if length else 0)


def _is_final(error: Exception) -> bool:
    return isinstance(error, urllib.error.HTTPError) and error.code not in RETRIED


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    return str(error.reason if isinstance(error, urllib.error.URLError) else error) or type(error).__name__


class _bar:  # noqa: N801 - used as a function
    """Progress on stderr: a bar on a terminal, else a line each quarter of the file."""

    def __init__(self, name: str) -> None:
        self.name, self.console, self.quarter = name, log_lines.console(), -1
        columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=self.console, transient=True)
        self.task = self.progress.add_task(f"fetching {name}", total=None)

    def __enter__(self) -> _bar:
        if self.console.is_terminal:
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.progress.stop()

    def __call__(self, done: int, total: int) -> None:
        self.progress.update(self.task, completed=done, total=total or None)
        quarter = 4 * done // total if total else 0
        if not self.console.is_terminal and quarter > self.quarter:
            self.quarter = quarter
            of = f" of {total / 1e6:.1f}" if total else ""
            self.console.print(f"fetching {self.name}: {done / 1e6:.1f}{of} MB", highlight=False)
